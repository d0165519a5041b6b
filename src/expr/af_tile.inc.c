/* ---- kernels: fused elementwise runs ---- */

/* ---- one elementwise operation over n elements ---- */

/* The whole number nearest to zero beside x; 0 for what is none. */
static uint64_t AF__N(seed)(AF__REAL x) {
    const AF__REAL limit = (AF__REAL)9223372036854775808.0; /* 2^63 */
    return x > -limit && x < limit ? (uint64_t)(int64_t)x : 0;
}

static void AF__N(random)(AF__REAL *out, const AF__REAL *seed, uint64_t stream, size_t first,
                          size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        AF__REAL u = (AF__REAL)af_random_uniform(AF__N(seed)(seed[i]), stream, first + i);
        out[i] = u < (AF__REAL)1 ? u : (AF__REAL)0.5; /* a float may round up to 1 */
    }
}

#define AF__MAP1(OP, value)                                         \
    case AF_OP_##OP:                                                \
        for (i = 0; i < n; i += AF__LANES) {                        \
            AF__V x = AF__N(get)(a + i, n - i);                     \
            AF__N(set)(out + i, n - i, value);                      \
        }                                                           \
        break;
#define AF__MAP2(OP, value)                                         \
    case AF_OP_##OP:                                                \
        for (i = 0; i < n; i += AF__LANES) {                        \
            AF__V x = AF__N(get)(a + i, n - i);                     \
            AF__V y = AF__N(get)(b + i, n - i);                     \
            AF__N(set)(out + i, n - i, value);                      \
        }                                                           \
        break;
#define AF__MAP3(OP, value)                                         \
    case AF_OP_##OP:                                                \
        for (i = 0; i < n; i += AF__LANES) {                        \
            AF__V x = AF__N(get)(a + i, n - i);                     \
            AF__V y = AF__N(get)(b + i, n - i);                     \
            AF__V z = AF__N(get)(c + i, n - i);                     \
            AF__N(set)(out + i, n - i, value);                      \
        }                                                           \
        break;

static void AF__N(micro)(const af_micro *m, AF__REAL *const *reg, size_t first, size_t n) {
    const AF__REAL *a = reg[m->in[0]], *b = reg[m->in[1]], *c = reg[m->in[2]];
    AF__REAL *out = reg[m->out];
    const AF__V one = AF__N(splat)((AF__REAL)1), zero = AF__N(splat)((AF__REAL)0);
    size_t i;
    switch (m->op) {
        AF__MAP1(NEG, -x)
        AF__MAP1(EXP, AF__N(vexp)(x))
        AF__MAP1(EXPM1, AF__N(vexpm1)(x))
        AF__MAP1(LOG, AF__N(vlog)(x))
        AF__MAP1(LOG1P, AF__N(vlog1p)(x))
        AF__MAP1(SQRT, AF__N(vsqrt)(x))
        AF__MAP1(RECIPROCAL, one / x)
    case AF_OP_SIN: AF__N(sines)(out, a, n, 0); break;
    case AF_OP_COS: AF__N(sines)(out, a, n, 1); break;
        AF__MAP1(TANH, AF__N(vtanh)(x))
        AF__MAP1(SECH2, AF__N(vsech2)(x))
        AF__MAP1(SIGMOID, AF__N(vsigmoid)(x))
        AF__MAP1(SOFTPLUS, AF__N(vsoftplus)(x))
        AF__MAP1(ATAN, AF__N(vatan2)(x, one))
        AF__MAP1(ABS, AF__N(fabs)(x))
        AF__MAP1(SIGN, AF__N(vsign)(x))
        AF__MAP1(FLOOR, AF__N(vfloor)(x))
        AF__MAP2(ADD, x + y)
        AF__MAP2(SUB, x - y)
        AF__MAP2(MUL, x * y)
        AF__MAP2(ATAN2, AF__N(vatan2)(x, y))
        AF__MAP2(LESS, AF__N(choose)(AF__N(less)(x, y), one, zero))
        AF__MAP3(WHERE, AF__N(choose)(AF__N(equal)(x, zero), z, y))
    case AF_OP_RANDOM: AF__N(random)(out, a, m->stream, first, n); break;
    default: break;
    }
}

#undef AF__MAP1
#undef AF__MAP2
#undef AF__MAP3

static AF__REAL *AF__N(base)(const af__cpu *cpu, const af_operand *o) {
    return (AF__REAL *)cpu->base[o->buffer] + o->offset;
}

static void AF__N(fill)(AF__REAL *to, size_t n, AF__REAL value) {
    const AF__V v = AF__N(splat)(value);
    size_t i;
    for (i = 0; i < n; i += AF__LANES) AF__N(set)(to + i, n - i, v);
}

/* Elements [first, first + n) of the iteration space, read through strides into `out`; or written
 * from it when `store`. */
static void AF__N(walk)(const af_instr *instr, const af_operand *o, AF__REAL *array, size_t first,
                        size_t n, AF__REAL *tile, int store) {
    size_t index[AF_RANK_MAX] = {0}, axis, rest = first, last = instr->rank - 1;
    size_t step = o->stride[last], i;
    for (axis = instr->rank; axis-- > 0;) {
        index[axis] = rest % instr->dim[axis];
        rest /= instr->dim[axis];
    }
    while (n > 0) {
        size_t run = instr->dim[last] - index[last], at = 0;
        AF__REAL *p;
        if (run > n) run = n;
        for (axis = 0; axis <= last; axis++) at += index[axis] * o->stride[axis];
        p = array + at;
        if (store) for (i = 0; i < run; i++) p[i * step] = tile[i];
        else if (step == 0) AF__N(fill)(tile, run, *p);
        else if (step == 1) memcpy(tile, p, run * sizeof *p);
        else for (i = 0; i < run; i++) tile[i] = p[i * step];
        tile += run;
        n -= run;
        index[last] += run;
        for (axis = last; axis > 0 && index[axis] == instr->dim[axis]; axis--) {
            index[axis] = 0;
            index[axis - 1]++;
        }
    }
}

/* The same elements where they are, if they lie side by side; otherwise read into `own`. */
static AF__REAL *AF__N(find)(const af_instr *instr, const af_operand *o, AF__REAL *array,
                             size_t first, size_t n, AF__REAL *own) {
    size_t axis = instr->rank - 1, at, rest;
    if (o->stride[axis] != 1 || first % instr->dim[axis] + n > instr->dim[axis]) {
        AF__N(walk)(instr, o, array, first, n, own, 0);
        return own;
    }
    at = first % instr->dim[axis];
    for (rest = first / instr->dim[axis]; axis-- > 0; rest /= instr->dim[axis])
        at += rest % instr->dim[axis] * o->stride[axis];
    return array + at;
}

typedef enum AF__N(layout) {
    AF__N(strided),
    AF__N(flat),    /* the elements lie in the order of the run, without gaps */
    AF__N(repeated) /* each tile has the same elements */
} AF__N(layout);

/* Where the arrays and the registers of a fused run are. */
typedef struct AF__N(run) {
    size_t length; /* of a tile */
    AF__REAL *array[AF__OPERANDS];
    AF__REAL *own[AF__REGISTERS], *reg[AF__REGISTERS]; /* a register's memory; where it is now */
    AF__N(layout) layout[AF__OPERANDS];
    uint16_t direct[AF__OPERANDS]; /* by store: the register that is computed in the array itself */
} AF__N(run);

enum { AF__N(indirect) = AF__REGISTERS }; /* no register: the store copies */

/* A flat store's register lies in the array, unless it is a load, a constant or another store's. */
static void AF__N(run_stores)(const af_program *p, const af_instr *instr, AF__N(run) *r) {
    const af_micro *micro = p->micro + instr->micro;
    char free[AF__REGISTERS] = {0};
    size_t i;
    for (i = 0; i < instr->micros; i++) free[micro[i].out] = micro[i].op != AF_OP_CONSTANT;
    for (i = 0; i < instr->stores; i++) {
        uint16_t from = p->store[instr->store_register + i];
        int flat = r->layout[instr->loads + i] == AF__N(flat);
        int direct = flat && from >= instr->loads && free[from];
        r->direct[i] = direct ? from : (uint16_t)AF__N(indirect);
        if (direct) free[from] = 0;
    }
}

/* Tiles that begin with a row have the same elements of an operand that all rows share. */
static AF__N(layout) AF__N(layout_of)(const af_instr *instr, const af_operand *o, int aligned) {
    size_t axis;
    if (af__is_contiguous(instr->rank, instr->dim, o->stride)) return AF__N(flat);
    for (axis = 0; axis + 1 < instr->rank; axis++)
        if (o->stride[axis]) return AF__N(strided);
    return aligned || o->stride[axis] == 0 ? AF__N(repeated) : AF__N(strided);
}

/* Prepares the run of elements [begin, end). */
static void AF__N(run_begin)(const af__cpu *cpu, const af_instr *instr, size_t begin, size_t end,
                             AF__REAL *memory, AF__N(run) *r) {
    const af_operand *operand = cpu->program->operand + instr->operand;
    const af_micro *micro = cpu->program->micro + instr->micro;
    size_t length = AF__TILE_BYTES / sizeof(AF__REAL) / instr->registers / 16 * 16, i;
    size_t row = instr->dim[instr->rank - 1];
    int aligned;
    if (length > AF__TILE_MAX) length = AF__TILE_MAX;
    aligned = begin % row == 0 && row <= length;
    r->length = aligned ? length / row * row : length;
    for (i = 0; i < instr->registers; i++) r->reg[i] = r->own[i] = memory + i * length;
    for (i = 0; i < instr->loads + instr->stores; i++) {
        r->array[i] = AF__N(base)(cpu, &operand[i]);
        r->layout[i] = AF__N(layout_of)(instr, &operand[i], aligned);
        if (r->layout[i] == AF__N(repeated) && i < instr->loads)
            AF__N(walk)(instr, &operand[i], r->array[i], begin,
                        end - begin < r->length ? end - begin : r->length, r->own[i], 0);
    }
    AF__N(run_stores)(cpu->program, instr, r);
    for (i = 0; i < instr->micros; i++)
        if (micro[i].op == AF_OP_CONSTANT)
            AF__N(fill)(r->own[micro[i].out], length, (AF__REAL)micro[i].value);
}

/* Elements [begin, end) of a fused run, tile by tile. */
static void AF__N(tile)(const af__cpu *cpu, const af_instr *instr, size_t begin, size_t end) {
    const af_program *p = cpu->program;
    const af_operand *operand = p->operand + instr->operand;
    const af_micro *micro = p->micro + instr->micro;
    AF__REAL memory[AF__TILE_BYTES / sizeof(AF__REAL)] __attribute__((aligned(64)));
    AF__N(run) r;
    size_t i, first;
    AF__N(run_begin)(cpu, instr, begin, end, memory, &r);
    for (first = begin; first < end; first += r.length) {
        size_t n = end - first < r.length ? end - first : r.length;
        for (i = 0; i < instr->loads; i++) {
            if (r.layout[i] == AF__N(flat)) r.reg[i] = r.array[i] + first;
            else if (r.layout[i] == AF__N(strided))
                r.reg[i] = AF__N(find)(instr, &operand[i], r.array[i], first, n, r.own[i]);
        }
        for (i = 0; i < instr->stores; i++)
            if (r.direct[i] != AF__N(indirect))
                r.reg[r.direct[i]] = r.array[instr->loads + i] + first;
        for (i = 0; i < instr->micros; i++)
            if (micro[i].op != AF_OP_CONSTANT) AF__N(micro)(&micro[i], r.reg, first, n);
        for (i = 0; i < instr->stores; i++) {
            size_t at = instr->loads + i;
            AF__REAL *from = r.reg[p->store[instr->store_register + i]];
            if (r.direct[i] != AF__N(indirect)) continue;
            if (r.layout[at] == AF__N(flat)) memcpy(r.array[at] + first, from, n * sizeof *from);
            else AF__N(walk)(instr, &operand[at], r.array[at], first, n, from, 1);
        }
    }
}
