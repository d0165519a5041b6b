/* ---- kernels: sums, rows ---- */

/* ---- sums ---- */

/* Sum of x, or of x times y when y is not NULL. */
static AF__REAL AF__N(sum_run)(const AF__REAL *x, size_t step_x, const AF__REAL *y, size_t step_y,
                               size_t n) {
    AF__V sum[4];
    AF__REAL total = 0, part[AF__LANES];
    size_t i = 0, k;
    if (step_x == 1 && (!y || step_y == 1) && n >= 4 * AF__LANES) {
        for (k = 0; k < 4; k++) sum[k] = AF__N(splat)((AF__REAL)0);
        for (; i + 4 * AF__LANES <= n; i += 4 * AF__LANES)
            for (k = 0; k < 4; k++) {
                AF__V v = AF__N(load)(x + i + k * AF__LANES);
                if (y) sum[k] = AF__N(fma)(v, AF__N(load)(y + i + k * AF__LANES), sum[k]);
                else sum[k] += v;
            }
        AF__N(put)(part, (sum[0] + sum[1]) + (sum[2] + sum[3]));
        for (k = 0; k < AF__LANES; k++) total += part[k];
    }
    if (y) for (; i < n; i++) total += x[i * step_x] * y[i * step_y];
    else for (; i < n; i++) total += x[i * step_x];
    return total;
}

/* Position of element `linear` of axes [first, last) in units of the operand's elements. */
static size_t AF__N(position)(const af_instr *instr, const size_t *stride, size_t first,
                              size_t last, size_t linear) {
    size_t at = 0, axis;
    for (axis = last; axis-- > first;) {
        at += linear % instr->dim[axis] * stride[axis];
        linear /= instr->dim[axis];
    }
    return at;
}

/* What a sum reads: one array, or two whose product is summed. */
typedef struct AF__N(terms) {
    const af_instr *instr;
    const af_operand *o;
    const AF__REAL *x, *y; /* y NULL: there is one */
} AF__N(terms);

/* out[j] for outputs [begin, end), summing the inner elements [low, high), output after output. */
static void AF__N(sum_rows)(const AF__N(terms) *t, AF__REAL *out, size_t begin, size_t end,
                            size_t low, size_t high) {
    const af_instr *instr = t->instr;
    const size_t *sx = t->o[0].stride, *sy = t->o[1].stride;
    size_t outer = instr->rank - instr->inner, last = instr->rank - 1, j, i;
    for (j = begin; j < end; j++) {
        const AF__REAL *x = t->x + AF__N(position)(instr, sx, 0, outer, j), *y = t->y;
        AF__REAL total = 0;
        if (y) y += AF__N(position)(instr, sy, 0, outer, j);
        for (i = low; i < high;) {
            size_t run = instr->dim[last] - i % instr->dim[last];
            if (run > high - i) run = high - i;
            total += AF__N(sum_run)(x + AF__N(position)(instr, sx, outer, last + 1, i), sx[last],
                                    y ? y + AF__N(position)(instr, sy, outer, last + 1, i) : NULL,
                                    sy[last], run);
            i += run;
        }
        out[j] = total;
    }
}

/* out += x, or x y; y's elements are neighbours, or all one. */
static void AF__N(add_row)(AF__REAL *out, const AF__REAL *x, const AF__REAL *y, size_t step_y,
                           size_t n) {
    size_t k;
    AF__V one = AF__N(splat)(y && step_y == 0 ? *y : (AF__REAL)1);
    for (k = 0; k < n; k += AF__LANES) {
        AF__V v = AF__N(get)(x + k, n - k), sum = AF__N(get)(out + k, n - k);
        if (!y) sum += v;
        else sum = AF__N(fma)(v, step_y ? AF__N(get)(y + k, n - k) : one, sum);
        AF__N(set)(out + k, n - k, sum);
    }
}

/* The same where neighbouring outputs are neighbours in x: runs of outputs are summed together. */
static void AF__N(sum_columns)(const AF__N(terms) *t, AF__REAL *out, size_t begin, size_t end,
                               size_t low, size_t high) {
    const af_instr *instr = t->instr;
    const size_t *sx = t->o[0].stride, *sy = t->o[1].stride;
    size_t outer = instr->rank - instr->inner, width = instr->dim[outer - 1], j, i, k;
    for (j = begin; j < end;) {
        size_t run = width - j % width;
        const AF__REAL *x = t->x + AF__N(position)(instr, sx, 0, outer, j), *y = t->y;
        if (y) y += AF__N(position)(instr, sy, 0, outer, j);
        if (run > end - j) run = end - j;
        if (run > 512) run = 512; /* the sums stay in the first-level cache */
        for (k = 0; k < run; k++) out[j + k] = 0;
        for (i = low; i < high; i++)
            AF__N(add_row)(out + j, x + AF__N(position)(instr, sx, outer, instr->rank, i),
                           y ? y + AF__N(position)(instr, sy, outer, instr->rank, i) : NULL,
                           sy[outer - 1], run);
        j += run;
    }
}

static void AF__N(sum_chunk)(size_t chunk, void *user) {
    const af__job *job = (const af__job *)user;
    const af_instr *instr = job->instr;
    const af_operand *o = job->cpu->program->operand + instr->operand;
    size_t part = chunk % instr->chunks, block = chunk / instr->chunks;
    size_t begin = block * job->chunk, end = begin + job->chunk, outer = instr->rank - instr->inner;
    size_t low = job->depth * part / instr->chunks, high = job->depth * (part + 1) / instr->chunks;
    AF__REAL *out = AF__N(base)(job->cpu, &o[2]);
    AF__N(terms) t;
    t.instr = instr;
    t.o = o;
    t.x = AF__N(base)(job->cpu, &o[0]);
    t.y = instr->factors > 1 ? AF__N(base)(job->cpu, &o[1]) : NULL;
    if (instr->chunks > 1) out = (AF__REAL *)job->cpu->base[instr->scratch] + part * job->total;
    if (end > job->total) end = job->total;
    if (outer > 0 && o[0].stride[outer - 1] == 1 && o[0].stride[instr->rank - 1] != 1 &&
        o[1].stride[outer - 1] <= 1)
        AF__N(sum_columns)(&t, out, begin, end, low, high);
    else AF__N(sum_rows)(&t, out, begin, end, low, high);
}

/* Adds the partial sums in the order of the chunks. */
static void AF__N(sum_parts)(void *sums, const void *parts_of_them, size_t n, size_t parts) {
    const AF__REAL *part = (const AF__REAL *)parts_of_them;
    AF__REAL *out = (AF__REAL *)sums;
    size_t i, k;
    for (i = 0; i < n; i++) out[i] = part[i];
    for (k = 1; k < parts; k++)
        for (i = 0; i < n; i++) out[i] += part[k * n + i];
}

/* ---- rows ---- */

static void AF__N(rows)(const af__cpu *cpu, const af_instr *instr) {
    const af_operand *o = cpu->program->operand + instr->operand;
    const AF__REAL *x = AF__N(base)(cpu, &o[0]), *index = AF__N(base)(cpu, &o[1]);
    AF__REAL *out = AF__N(base)(cpu, &o[2]);
    size_t i, j, n = instr->dim[1];
    if (instr->kind == AF_INSTR_SCATTER) memset(out, 0, n * instr->dim[2] * sizeof *out);
    for (i = 0; i < instr->dim[0]; i++) {
        AF__REAL r = index[i];
        /* never out of bounds */
        size_t row = r >= 0 && r < (AF__REAL)instr->dim[2] ? (size_t)r : 0;
        if (instr->kind == AF_INSTR_GATHER) memcpy(out + i * n, x + row * n, n * sizeof *out);
        else for (j = 0; j < n; j++) out[row * n + j] += x[i * n + j];
    }
}
