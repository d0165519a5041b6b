/* ---- kernels: sums, rows ---- */

/* ---- sums ---- */

static AF__REAL AF__N(sum_run)(const AF__REAL *x, size_t n, size_t step) {
    AF__V sum[4];
    AF__REAL total = 0, part[AF__LANES];
    size_t i = 0, k;
    if (step == 1) {
        for (k = 0; k < 4; k++) sum[k] = AF__N(splat)((AF__REAL)0);
        for (; i + 4 * AF__LANES <= n; i += 4 * AF__LANES)
            for (k = 0; k < 4; k++) sum[k] += AF__N(load)(x + i + k * AF__LANES);
        AF__N(put)(part, (sum[0] + sum[1]) + (sum[2] + sum[3]));
        for (k = 0; k < AF__LANES; k++) total += part[k];
    }
    for (; i < n; i++) total += x[i * step];
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

/* out[j] for outputs [begin, end), summing the inner elements [low, high), output after output. */
static void AF__N(sum_rows)(const af_instr *instr, const af_operand *o, const AF__REAL *x,
                            AF__REAL *out, size_t begin, size_t end, size_t low, size_t high) {
    size_t outer = instr->rank - instr->inner, last = instr->rank - 1, j, i;
    for (j = begin; j < end; j++) {
        const AF__REAL *row = x + AF__N(position)(instr, o->stride, 0, outer, j);
        AF__REAL total = 0;
        for (i = low; i < high;) {
            size_t run = instr->dim[last] - i % instr->dim[last];
            if (run > high - i) run = high - i;
            total += AF__N(sum_run)(row + AF__N(position)(instr, o->stride, outer, last + 1, i),
                                    run, o->stride[last]);
            i += run;
        }
        out[j] = total;
    }
}

/* The same where neighbouring outputs are neighbours in x: runs of outputs are summed together. */
static void AF__N(sum_columns)(const af_instr *instr, const af_operand *o, const AF__REAL *x,
                               AF__REAL *out, size_t begin, size_t end, size_t low, size_t high) {
    size_t outer = instr->rank - instr->inner, width = instr->dim[outer - 1], j, i, k;
    for (j = begin; j < end;) {
        size_t run = width - j % width;
        const AF__REAL *column = x + AF__N(position)(instr, o->stride, 0, outer, j);
        if (run > end - j) run = end - j;
        if (run > 512) run = 512; /* the sums stay in the first-level cache */
        for (k = 0; k < run; k++) out[j + k] = 0;
        for (i = low; i < high; i++) {
            const AF__REAL *row = column + AF__N(position)(instr, o->stride, outer, instr->rank, i);
            for (k = 0; k + AF__LANES <= run; k += AF__LANES)
                AF__N(put)(out + j + k, AF__N(load)(out + j + k) + AF__N(load)(row + k));
            for (; k < run; k++) out[j + k] += row[k];
        }
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
    const AF__REAL *x = AF__N(base)(job->cpu, &o[0]);
    AF__REAL *out = AF__N(base)(job->cpu, &o[1]);
    int columns = outer > 0 && o[0].stride[outer - 1] == 1 && o[0].stride[instr->rank - 1] != 1;
    if (instr->chunks > 1) out = (AF__REAL *)job->cpu->base[instr->scratch] + part * job->total;
    if (end > job->total) end = job->total;
    if (columns) AF__N(sum_columns)(instr, &o[0], x, out, begin, end, low, high);
    else AF__N(sum_rows)(instr, &o[0], x, out, begin, end, low, high);
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
