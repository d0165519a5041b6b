/* ---- expressions ----------------------------------------------------------------------------- */

#include <math.h>

typedef enum af__class { AF__LEAF, AF__ELEMENTWISE, AF__VIEW, AF__LINEAR, AF__BILINEAR } af__class;

typedef struct af__op_facts {
    const char *text;
    af__class kind;
    size_t arity;
} af__op_facts;

static const af__op_facts af__ops[AF_OP_COUNT] = {
#define AF__X(name, text, kind, arity) {text, AF__##kind, arity},
    AF_OPS(AF__X)
#undef AF__X
};

/* What an operation needs beside its arguments:
 *   CONSTANT value;  TENSOR data, number = their hash;  INPUT number = its own
 *   RANDOM   number = stream
 *   PERMUTE  number = axes, 4 bits each;  SUM number = mask of the summed axes
 *   SLICE, PAD number = start, axis;  CONCAT axis;  SCATTER its shape */
typedef struct af__node {
    af_op op;
    uint32_t rank;
    size_t dim[AF_RANK_MAX];
    uint32_t arg[3];
    uint32_t axis;
    uint64_t number;
    double value;
    const double *data;
    const char *label;
} af__node;

typedef struct af__graph {
    af__node *node;  /* stb_ds array; node 0 is none */
    uint32_t *table; /* open addressing, ids; the graph's equal nodes are one node */
    size_t table_size;
} af__graph;

static const af_expr af__none = {0};

static af__node *af__at(const af_context *c, af_expr x) { return &c->graph->node[x.id]; }

static size_t af__node_size(const af__node *n) {
    size_t i, size = 1;
    for (i = 0; i < n->rank; i++) size *= n->dim[i];
    return size;
}

/* "(3,8,1024)" for error sentences. */
typedef struct af__dims_text {
    char text[136]; /* six numbers of 20 digits, or a label */
} af__dims_text;

static af__dims_text af__show_dims(size_t rank, const size_t *dim) {
    af__dims_text s;
    size_t i, used = 1;
    s.text[0] = '(';
    for (i = 0; i < rank; i++) {
        int n = snprintf(s.text + used, sizeof s.text - used, i ? ",%lu" : "%lu",
                         (unsigned long)dim[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    snprintf(s.text + used, sizeof s.text - used, ")");
    return s;
}

static af__dims_text af__show(const af_context *c, af_expr x) {
    af__node *n = af__at(c, x);
    return af__show_dims(n->rank, n->dim);
}

/* " 'label'" or "". */
static af__dims_text af__show_label(const af_context *c, af_expr x) {
    af__dims_text s;
    const char *label = af__at(c, x)->label;
    s.text[0] = 0;
    if (label) snprintf(s.text, sizeof s.text, " '%.80s'", label);
    return s;
}

/* ---- nodes: one for each distinct value ---- */

static uint64_t af__mix(uint64_t h, uint64_t v) {
    h ^= v + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2);
    return h * 0xFF51AFD7ED558CCDu;
}

static uint64_t af__bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint64_t af__node_hash(const af__node *n) {
    size_t i;
    uint64_t h = af__mix((uint64_t)n->op, n->rank);
    for (i = 0; i < n->rank; i++) h = af__mix(h, n->dim[i]);
    for (i = 0; i < 3; i++) h = af__mix(h, n->arg[i]);
    h = af__mix(h, n->axis);
    h = af__mix(h, n->number);
    return af__mix(h, af__bits(n->value));
}

static int af__node_equal(const af__node *a, const af__node *b) {
    size_t i;
    if (a->op != b->op || a->rank != b->rank || a->axis != b->axis || a->number != b->number)
        return 0;
    if (af__bits(a->value) != af__bits(b->value) || !a->data != !b->data) return 0;
    for (i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return 0;
    if (a->data && memcmp(a->data, b->data, af__node_size(a) * sizeof *a->data) != 0) return 0;
    for (i = 0; i < 3; i++)
        if (a->arg[i] != b->arg[i]) return 0;
    return 1;
}

static uint32_t *af__table_slot(af__graph *g, const af__node *n) {
    size_t i = (size_t)af__node_hash(n) & (g->table_size - 1);
    while (g->table[i] && !af__node_equal(&g->node[g->table[i]], n))
        i = (i + 1) & (g->table_size - 1);
    return &g->table[i];
}

static int af__table_grow(af_context *c) {
    af__graph *g = c->graph;
    size_t i, size = g->table_size ? g->table_size * 2 : 1024;
    uint32_t *table = AF__ARRAY(&c->arena, uint32_t, size);
    if (!table) return 0;
    g->table = table;
    g->table_size = size;
    for (i = 1; i < AF__LENGTH(g->node); i++) *af__table_slot(g, &g->node[i]) = (uint32_t)i;
    return 1;
}

static int af__graph_ready(af_context *c) {
    af__node none = AF__ZERO;
    if (c->graph) return 1;
    c->graph = AF__NEW(&c->arena, af__graph);
    if (!c->graph || !AF__PUSH(&c->arena, c->graph->node, none) || !af__table_grow(c)) {
        c->graph = NULL;
        return 0;
    }
    return 1;
}

static int af__shape_valid(af_context *c, const char *what, size_t rank, const size_t *dims) {
    size_t i, size = 1;
    if (rank > AF_RANK_MAX) {
        af__fail(c, AF_ERROR_SHAPE, "%s: %lu axes, at most %d are possible", what,
                 (unsigned long)rank, AF_RANK_MAX);
        return 0;
    }
    for (i = 0; i < rank; i++) {
        if (dims[i] == 0 || dims[i] > (SIZE_MAX / 64) / size) {
            af__fail(c, AF_ERROR_SHAPE, "%s: shape %s has an empty axis or is too large", what,
                     af__show_dims(rank, dims).text);
            return 0;
        }
        size *= dims[i];
    }
    return 1;
}

/* The handle of the node equal to *n, made now if it is new. */
static af_expr af__intern(af_context *c, const af__node *n) {
    af_expr x = {0};
    uint32_t *slot;
    if (!af__shape_valid(c, af__ops[n->op].text, n->rank, n->dim)) return x;
    if (!af__graph_ready(c)) {
        af__fail_memory(c, "the expression graph");
        return x;
    }
    if (AF__LENGTH(c->graph->node) * 2 > c->graph->table_size && !af__table_grow(c)) {
        af__fail_memory(c, "the expression graph");
        return x;
    }
    slot = af__table_slot(c->graph, n);
    if (*slot) {
        x.id = *slot;
        return x;
    }
    if (!AF__PUSH(&c->arena, c->graph->node, *n)) {
        af__fail_memory(c, "the expression graph");
        return x;
    }
    x.id = (uint32_t)(AF__LENGTH(c->graph->node) - 1);
    *slot = x.id;
    return x;
}

static af__node af__make(af_op op, size_t rank, const size_t *dims) {
    af__node n = AF__ZERO;
    size_t i;
    n.op = op;
    n.rank = (uint32_t)rank;
    for (i = 0; i < rank; i++) n.dim[i] = dims[i];
    return n;
}

/* A node of op with x's shape. */
static af__node af__like(const af_context *c, af_op op, af_expr x) {
    af__node *n = af__at(c, x);
    af__node made = af__make(op, n->rank, n->dim);
    made.arg[0] = x.id;
    return made;
}

/* ---- leaves ---- */

AF_API af_expr af_input(af_context *c, const char *label, size_t rank, const size_t *dims) {
    af__node n;
    af_expr x;
    if (!af__shape_valid(c, label ? label : "input", rank, dims)) return af__none;
    n = af__make(AF_OP_INPUT, rank, dims);
    n.number = c->graph ? AF__LENGTH(c->graph->node) : 0; /* no two inputs are the same */
    x = af__intern(c, &n);
    return af_label(c, x, label);
}

AF_API af_expr af_full(af_context *c, size_t rank, const size_t *dims, double value) {
    af__node n;
    if (!af__shape_valid(c, "full", rank, dims)) return af__none;
    n = af__make(AF_OP_CONSTANT, rank, dims);
    n.value = value;
    return af__intern(c, &n);
}

AF_API af_expr af_constant(af_context *c, double value) { return af_full(c, 0, NULL, value); }

AF_API af_expr af_constant_array(af_context *c, size_t rank, const size_t *dims,
                                 const double *data) {
    af__node n;
    double *copy;
    size_t i;
    if (!af__shape_valid(c, "tensor", rank, dims)) return af__none;
    n = af__make(AF_OP_TENSOR, rank, dims);
    copy = AF__ARRAY(&c->arena, double, af__node_size(&n));
    if (!copy) {
        af__fail_memory(c, "a constant tensor");
        return af__none;
    }
    for (i = 0; i < af__node_size(&n); i++) {
        copy[i] = data[i];
        n.number = af__mix(n.number, af__bits(data[i]));
    }
    n.data = copy;
    return af__intern(c, &n);
}

AF_API af_expr af_label(af_context *c, af_expr x, const char *label) {
    if (!x.id || !label || af__at(c, x)->label) return x;
    af__at(c, x)->label = af__arena_text(&c->arena, label);
    if (!af__at(c, x)->label) af__fail_memory(c, "a label");
    return x;
}

AF_API size_t af_shape(const af_context *c, af_expr x, size_t dims[AF_RANK_MAX]) {
    size_t i;
    if (!x.id) return 0;
    for (i = 0; i < af__at(c, x)->rank; i++) dims[i] = af__at(c, x)->dim[i];
    return af__at(c, x)->rank;
}

AF_API size_t af_size(const af_context *c, af_expr x) {
    return x.id ? af__node_size(af__at(c, x)) : 0;
}

static int af__is_constant(const af_context *c, af_expr x) {
    return af__at(c, x)->op == AF_OP_CONSTANT;
}

static int af__is_value(const af_context *c, af_expr x, double value) {
    return af__is_constant(c, x) && af__at(c, x)->value == value;
}

/* ---- elementwise ---- */

/* Constants of one argument are folded with the C library; the others stay in the graph. */
static int af__fold(af_op op, double x, double *y) {
    switch (op) {
    case AF_OP_NEG: *y = -x; return 1;
    case AF_OP_EXP: *y = exp(x); return 1;
    case AF_OP_LOG: *y = log(x); return 1;
    case AF_OP_SQRT: *y = sqrt(x); return 1;
    case AF_OP_RECIPROCAL: *y = 1.0 / x; return 1;
    case AF_OP_SIN: *y = sin(x); return 1;
    case AF_OP_COS: *y = cos(x); return 1;
    case AF_OP_ABS: *y = fabs(x); return 1;
    case AF_OP_SIGN: *y = x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0; return 1;
    default: return 0;
    }
}

static af_expr af__unary(af_context *c, af_op op, af_expr x) {
    af__node n;
    double folded;
    if (!x.id) return x;
    n = af__like(c, op, x);
    if (af__is_constant(c, x) && af__fold(op, af__at(c, x)->value, &folded))
        return af_full(c, n.rank, n.dim, folded);
    return af__intern(c, &n);
}

#define AF__UNARY(function, OP) \
    AF_API af_expr function(af_context *c, af_expr x) { return af__unary(c, AF_OP_##OP, x); }
AF__UNARY(af_neg, NEG)
AF__UNARY(af_exp, EXP)
AF__UNARY(af_expm1, EXPM1)
AF__UNARY(af_log, LOG)
AF__UNARY(af_log1p, LOG1P)
AF__UNARY(af_sqrt, SQRT)
AF__UNARY(af_reciprocal, RECIPROCAL)
AF__UNARY(af_sin, SIN)
AF__UNARY(af_cos, COS)
AF__UNARY(af_tanh, TANH)
AF__UNARY(af_sech2, SECH2)
AF__UNARY(af_sigmoid, SIGMOID)
AF__UNARY(af_softplus, SOFTPLUS)
AF__UNARY(af_atan, ATAN)
AF__UNARY(af_abs, ABS)
AF__UNARY(af_sign, SIGN)
AF__UNARY(af_floor, FLOOR)
#undef AF__UNARY

/* The common shape of up to three arguments by numpy's rule; false when they do not fit. */
static int af__common_shape(af_context *c, const char *what, size_t count, const af_expr *x,
                            size_t *rank, size_t dims[AF_RANK_MAX]) {
    size_t i, k;
    *rank = 0;
    for (k = 0; k < count; k++)
        if (af__at(c, x[k])->rank > *rank) *rank = af__at(c, x[k])->rank;
    for (i = 0; i < *rank; i++) dims[i] = 1;
    for (k = 0; k < count; k++) {
        const af__node *n = af__at(c, x[k]);
        size_t shift = *rank - n->rank;
        for (i = 0; i < n->rank; i++) {
            if (n->dim[i] == dims[shift + i] || n->dim[i] == 1) continue;
            if (dims[shift + i] != 1) {
                af__fail(c, AF_ERROR_SHAPE, "%s: shapes %s%s and %s%s do not fit together", what,
                         af__show(c, x[0]).text, af__show_label(c, x[0]).text,
                         af__show(c, x[k]).text, af__show_label(c, x[k]).text);
                return 0;
            }
            dims[shift + i] = n->dim[i];
        }
    }
    return 1;
}

static af_expr af__elementwise(af_context *c, af_op op, size_t count, const af_expr *x) {
    size_t k, rank, dims[AF_RANK_MAX];
    af__node n;
    for (k = 0; k < count; k++)
        if (!x[k].id) return af__none;
    if (!af__common_shape(c, af__ops[op].text, count, x, &rank, dims)) return af__none;
    n = af__make(op, rank, dims);
    for (k = 0; k < count; k++) {
        af_expr full = af_broadcast(c, x[k], rank, dims);
        if (!full.id) return full;
        n.arg[k] = full.id;
    }
    return af__intern(c, &n);
}

static af_expr af__binary(af_context *c, af_op op, af_expr a, af_expr b) {
    af_expr x[2];
    x[0] = a;
    x[1] = b;
    return af__elementwise(c, op, 2, x);
}

/* x with the shape of x combined with `other`: what x + 0 is when the zero has the larger shape. */
static af_expr af__as_combined(af_context *c, af_expr x, af_expr other, const char *what) {
    size_t rank, dims[AF_RANK_MAX];
    af_expr both[2];
    both[0] = x;
    both[1] = other;
    if (!af__common_shape(c, what, 2, both, &rank, dims)) return af__none;
    return af_broadcast(c, x, rank, dims);
}

/* Two constants make one. */
static int af__fold_two(af_context *c, af_expr a, af_expr b, af_op op, af_expr *out) {
    double x, y, z;
    if (!af__is_constant(c, a) || !af__is_constant(c, b)) return 0;
    x = af__at(c, a)->value;
    y = af__at(c, b)->value;
    z = op == AF_OP_ADD ? x + y : op == AF_OP_SUB ? x - y : x * y;
    *out = af__as_combined(c, af_constant(c, z), a, af__ops[op].text);
    if (out->id) *out = af__as_combined(c, *out, b, af__ops[op].text);
    return 1;
}

AF_API af_expr af_add(af_context *c, af_expr a, af_expr b) {
    af_expr folded;
    if (!a.id || !b.id) return af__none;
    if (af__fold_two(c, a, b, AF_OP_ADD, &folded)) return folded;
    if (af__is_value(c, a, 0.0)) return af__as_combined(c, b, a, "add");
    if (af__is_value(c, b, 0.0)) return af__as_combined(c, a, b, "add");
    if (a.id > b.id) { /* one order for equal sums */
        af_expr swap = a;
        a = b;
        b = swap;
    }
    return af__binary(c, AF_OP_ADD, a, b);
}

AF_API af_expr af_sub(af_context *c, af_expr a, af_expr b) {
    af_expr folded;
    if (!a.id || !b.id) return af__none;
    if (af__fold_two(c, a, b, AF_OP_SUB, &folded)) return folded;
    if (af__is_value(c, a, 0.0)) return af__as_combined(c, af_neg(c, b), a, "sub");
    if (af__is_value(c, b, 0.0)) return af__as_combined(c, a, b, "sub");
    return af__binary(c, AF_OP_SUB, a, b);
}

AF_API af_expr af_mul(af_context *c, af_expr a, af_expr b) {
    af_expr folded;
    if (!a.id || !b.id) return af__none;
    if (af__fold_two(c, a, b, AF_OP_MUL, &folded)) return folded;
    if (af__is_constant(c, b) || (a.id > b.id && !af__is_constant(c, a))) { /* constant first */
        af_expr swap = a;
        a = b;
        b = swap;
    }
    if (af__is_value(c, a, 0.0)) return af__as_combined(c, a, b, "mul");
    if (af__is_value(c, a, 1.0)) return af__as_combined(c, b, a, "mul");
    if (af__is_value(c, a, -1.0)) return af__as_combined(c, af_neg(c, b), a, "mul");
    return af__binary(c, AF_OP_MUL, a, b);
}

AF_API af_expr af_div(af_context *c, af_expr a, af_expr b) {
    return af_mul(c, a, af_reciprocal(c, b));
}

AF_API af_expr af_atan2(af_context *c, af_expr y, af_expr x) {
    return af__binary(c, AF_OP_ATAN2, y, x);
}

AF_API af_expr af_less(af_context *c, af_expr a, af_expr b) {
    return af__binary(c, AF_OP_LESS, a, b);
}

AF_API af_expr af_where(af_context *c, af_expr condition, af_expr a, af_expr b) {
    af_expr x[3];
    if (a.id && a.id == b.id && condition.id) return af__as_combined(c, a, condition, "where");
    x[0] = condition;
    x[1] = a;
    x[2] = b;
    return af__elementwise(c, AF_OP_WHERE, 3, x);
}

AF_API af_expr af_scale(af_context *c, af_expr x, double factor) {
    return af_mul(c, af_constant(c, factor), x);
}

AF_API af_expr af_offset(af_context *c, af_expr x, double term) {
    return af_add(c, af_constant(c, term), x);
}

AF_API af_expr af_square(af_context *c, af_expr x) { return af_mul(c, x, x); }

AF_API af_expr af_power(af_context *c, af_expr x, unsigned exponent) {
    af_expr half;
    if (!x.id) return x;
    if (exponent == 0) return af__as_combined(c, af_constant(c, 1.0), x, "power");
    if (exponent == 1) return x;
    half = af_power(c, x, exponent / 2);
    half = af_mul(c, half, half);
    return exponent % 2 ? af_mul(c, half, x) : half;
}

AF_API af_expr af_maximum(af_context *c, af_expr a, af_expr b) {
    return af_where(c, af_less(c, a, b), b, a);
}

AF_API af_expr af_minimum(af_context *c, af_expr a, af_expr b) {
    return af_where(c, af_less(c, a, b), a, b);
}

AF_API af_expr af_relu(af_context *c, af_expr x) {
    return af_where(c, af_less(c, x, af_constant(c, 0.0)), af_constant(c, 0.0), x); /* NaN stays */
}

AF_API af_expr af_silu(af_context *c, af_expr x) { return af_mul(c, x, af_sigmoid(c, x)); }

AF_API af_expr af_wrap(af_context *c, af_expr x) {
    af_expr turns = af_floor(c, af_offset(c, af_scale(c, x, 0.5 / AF__PI), 0.5));
    return af_sub(c, x, af_scale(c, turns, 2.0 * AF__PI));
}

AF_API af_expr af_random(af_context *c, size_t rank, const size_t *dims, af_expr seed,
                         uint64_t stream) {
    af__node n;
    if (!seed.id || !af__shape_valid(c, "random", rank, dims)) return af__none;
    if (af_size(c, seed) != 1) {
        af__fail(c, AF_ERROR_SHAPE, "random: the seed must be a scalar, it is %s",
                 af__show(c, seed).text);
        return af__none;
    }
    seed = af_broadcast(c, af_reshape(c, seed, 0, NULL), rank, dims);
    if (!seed.id) return seed;
    n = af__make(AF_OP_RANDOM, rank, dims);
    n.arg[0] = seed.id;
    n.number = stream;
    return af__intern(c, &n);
}

/* ---- shapes ---- */

static int af__axis(af_context *c, const char *what, af_expr x, int axis, size_t *out) {
    int rank = (int)af__at(c, x)->rank;
    int found = axis < 0 ? axis + rank : axis;
    if (found < 0 || found >= rank) {
        af__fail(c, AF_ERROR_SHAPE, "%s: no axis %d in shape %s%s", what, axis,
                 af__show(c, x).text, af__show_label(c, x).text);
        return 0;
    }
    *out = (size_t)found;
    return 1;
}

static int af__same_dims(const af__node *n, size_t rank, const size_t *dims) {
    size_t i;
    if (n->rank != rank) return 0;
    for (i = 0; i < rank; i++)
        if (n->dim[i] != dims[i]) return 0;
    return 1;
}

AF_API af_expr af_stop(af_context *c, af_expr x) {
    af__node n;
    if (!x.id) return x;
    if (af__is_constant(c, x) || af__at(c, x)->op == AF_OP_STOP) return x;
    n = af__like(c, AF_OP_STOP, x);
    return af__intern(c, &n);
}

AF_API af_expr af_reshape(af_context *c, af_expr x, size_t rank, const size_t *dims) {
    af__node n;
    if (!x.id || !af__shape_valid(c, "reshape", rank, dims)) return af__none;
    n = af__make(AF_OP_RESHAPE, rank, dims);
    if (af__node_size(&n) != af_size(c, x)) {
        af__fail(c, AF_ERROR_SHAPE, "reshape: %s%s has %lu elements, %s has %lu",
                 af__show(c, x).text, af__show_label(c, x).text, (unsigned long)af_size(c, x),
                 af__show_dims(rank, dims).text, (unsigned long)af__node_size(&n));
        return af__none;
    }
    if (af__same_dims(af__at(c, x), rank, dims)) return x;
    if (af__is_constant(c, x)) return af_full(c, rank, dims, af__at(c, x)->value);
    n.arg[0] = x.id;
    return af__intern(c, &n);
}

AF_API af_expr af_permute(af_context *c, af_expr x, const size_t *axes) {
    af__node n, *from;
    size_t i, seen = 0, moved = 0;
    if (!x.id) return x;
    from = af__at(c, x);
    n = af__make(AF_OP_PERMUTE, from->rank, from->dim);
    for (i = 0; i < n.rank; i++) {
        size_t axis = axes[i];
        if (axis >= n.rank || (seen >> axis & 1u)) {
            af__fail(c, AF_ERROR_SHAPE, "permute: the axes are not an order of those of %s",
                     af__show(c, x).text);
            return af__none;
        }
        seen |= (size_t)1 << axis;
        moved |= axis ^ i;
        n.dim[i] = from->dim[axis];
        n.number |= (uint64_t)axis << (4 * i);
    }
    if (!moved) return x;
    if (from->op == AF_OP_CONSTANT) return af_full(c, n.rank, n.dim, from->value);
    n.arg[0] = x.id;
    return af__intern(c, &n);
}

AF_API af_expr af_transpose(af_context *c, af_expr x) {
    size_t i, rank, axes[AF_RANK_MAX];
    if (!x.id) return x;
    rank = af__at(c, x)->rank;
    if (rank < 2) {
        af__fail(c, AF_ERROR_SHAPE, "transpose: %s has fewer than two axes", af__show(c, x).text);
        return af__none;
    }
    for (i = 0; i < rank; i++) axes[i] = i;
    axes[rank - 1] = rank - 2;
    axes[rank - 2] = rank - 1;
    return af_permute(c, x, axes);
}

AF_API af_expr af_broadcast(af_context *c, af_expr x, size_t rank, const size_t *dims) {
    af__node n, *from;
    size_t i, shift, own[AF_RANK_MAX];
    if (!x.id || !af__shape_valid(c, "broadcast", rank, dims)) return af__none;
    from = af__at(c, x);
    if (af__same_dims(from, rank, dims)) return x;
    shift = rank >= from->rank ? rank - from->rank : 0;
    for (i = 0; i < rank; i++) own[i] = i < shift ? 1 : from->dim[i - shift];
    for (i = 0; i < rank; i++) {
        if (rank < from->rank || (own[i] != dims[i] && own[i] != 1)) {
            af__fail(c, AF_ERROR_SHAPE, "broadcast: %s%s cannot be repeated to %s",
                     af__show(c, x).text, af__show_label(c, x).text,
                     af__show_dims(rank, dims).text);
            return af__none;
        }
    }
    if (from->op == AF_OP_CONSTANT) return af_full(c, rank, dims, from->value);
    x = af_reshape(c, x, rank, own);
    if (!x.id || af__same_dims(af__at(c, x), rank, dims)) return x;
    n = af__make(AF_OP_BROADCAST, rank, dims);
    n.arg[0] = x.id;
    return af__intern(c, &n);
}

AF_API af_expr af_slice(af_context *c, af_expr x, int axis, size_t start, size_t count) {
    af__node n;
    size_t a, length;
    if (!x.id || !af__axis(c, "slice", x, axis, &a)) return af__none;
    length = af__at(c, x)->dim[a];
    if (count == 0 || start > length || count > length - start) {
        af__fail(c, AF_ERROR_SHAPE, "slice: %lu elements from %lu do not lie in axis %d of %s%s",
                 (unsigned long)count, (unsigned long)start, axis, af__show(c, x).text,
                 af__show_label(c, x).text);
        return af__none;
    }
    if (count == length) return x;
    n = af__like(c, AF_OP_SLICE, x);
    n.dim[a] = count;
    n.axis = (uint32_t)a;
    n.number = start;
    if (af__is_constant(c, x)) return af_full(c, n.rank, n.dim, af__at(c, x)->value);
    return af__intern(c, &n);
}

AF_API af_expr af_pad(af_context *c, af_expr x, int axis, size_t start, size_t total) {
    af__node n;
    size_t a;
    if (!x.id || !af__axis(c, "pad", x, axis, &a)) return af__none;
    if (start > total || af__at(c, x)->dim[a] > total - start) {
        af__fail(c, AF_ERROR_SHAPE, "pad: axis %d of %s does not fit at %lu of %lu", axis,
                 af__show(c, x).text, (unsigned long)start, (unsigned long)total);
        return af__none;
    }
    if (af__at(c, x)->dim[a] == total) return x;
    n = af__like(c, AF_OP_PAD, x);
    n.dim[a] = total;
    n.axis = (uint32_t)a;
    n.number = start;
    if (af__is_value(c, x, 0.0)) return af_full(c, n.rank, n.dim, 0.0);
    return af__intern(c, &n);
}

static af_expr af__concat_two(af_context *c, size_t axis, af_expr a, af_expr b) {
    af__node n, *na = af__at(c, a), *nb = af__at(c, b);
    size_t i;
    for (i = 0; i < na->rank || i < nb->rank; i++) {
        if (na->rank == nb->rank && (i == axis || na->dim[i] == nb->dim[i])) continue;
        af__fail(c, AF_ERROR_SHAPE, "concat: shapes %s%s and %s%s differ outside axis %lu",
                 af__show(c, a).text, af__show_label(c, a).text, af__show(c, b).text,
                 af__show_label(c, b).text, (unsigned long)axis);
        return af__none;
    }
    n = af__like(c, AF_OP_CONCAT, a);
    n.arg[1] = b.id;
    n.axis = (uint32_t)axis;
    n.dim[axis] = na->dim[axis] + nb->dim[axis];
    return af__intern(c, &n);
}

/* A left-deep tree of pairs; af_compile lays a whole tree out as one buffer. */
AF_API af_expr af_concat(af_context *c, int axis, size_t count, const af_expr *parts) {
    af_expr all;
    size_t k, a;
    if (count == 0) {
        af__fail(c, AF_ERROR_ARGUMENT, "concat: there are no parts");
        return af__none;
    }
    all = parts[0];
    if (!all.id || !af__axis(c, "concat", all, axis, &a)) return af__none;
    for (k = 1; k < count && all.id; k++) {
        if (!parts[k].id) return af__none;
        all = af__concat_two(c, a, all, parts[k]);
    }
    return all;
}

AF_API af_expr af_gather(af_context *c, af_expr x, af_expr index) {
    af__node n;
    if (!x.id || !index.id) return af__none;
    if (af__at(c, x)->rank == 0 || af__at(c, index)->rank != 1) {
        af__fail(c, AF_ERROR_SHAPE, "gather: rows of %s%s by an index of shape %s",
                 af__show(c, x).text, af__show_label(c, x).text, af__show(c, index).text);
        return af__none;
    }
    n = af__like(c, AF_OP_GATHER, x);
    n.arg[1] = index.id;
    n.dim[0] = af__at(c, index)->dim[0];
    return af__intern(c, &n);
}

AF_API af_expr af_scatter(af_context *c, af_expr x, af_expr index, size_t rows) {
    af__node n;
    if (!x.id || !index.id) return af__none;
    if (af__at(c, x)->rank == 0 || af__at(c, index)->rank != 1 || rows == 0 ||
        af__at(c, index)->dim[0] != af__at(c, x)->dim[0]) {
        af__fail(c, AF_ERROR_SHAPE, "scatter: rows of %s%s by an index of shape %s into %lu rows",
                 af__show(c, x).text, af__show_label(c, x).text, af__show(c, index).text,
                 (unsigned long)rows);
        return af__none;
    }
    n = af__like(c, AF_OP_SCATTER, x);
    n.arg[1] = index.id;
    n.dim[0] = rows;
    return af__intern(c, &n);
}

/* ---- sums and products ---- */

/* Sums the axes of the mask; they stay with length 1. */
static af_expr af__sum_mask(af_context *c, af_expr x, unsigned mask) {
    af__node n;
    size_t i, count = 1;
    if (!x.id) return x;
    n = af__like(c, AF_OP_SUM, x);
    for (i = 0; i < n.rank; i++) {
        if (!(mask >> i & 1u)) continue;
        count *= n.dim[i];
        n.dim[i] = 1;
    }
    n.number = mask;
    if (count == 1) return af_reshape(c, x, n.rank, n.dim);
    if (af__is_constant(c, x))
        return af_full(c, n.rank, n.dim, af__at(c, x)->value * (double)count);
    return af__intern(c, &n);
}

AF_API af_expr af_sum_axis(af_context *c, af_expr x, int axis) {
    size_t a;
    if (!x.id || !af__axis(c, "sum_axis", x, axis, &a)) return af__none;
    return af__sum_mask(c, x, 1u << a);
}

AF_API af_expr af_mean_axis(af_context *c, af_expr x, int axis) {
    size_t a;
    if (!x.id || !af__axis(c, "mean_axis", x, axis, &a)) return af__none;
    return af_scale(c, af__sum_mask(c, x, 1u << a), 1.0 / (double)af__at(c, x)->dim[a]);
}

AF_API af_expr af_sum(af_context *c, af_expr x) {
    if (!x.id) return x;
    return af_reshape(c, af__sum_mask(c, x, (1u << af__at(c, x)->rank) - 1u), 0, NULL);
}

AF_API af_expr af_mean(af_context *c, af_expr x) {
    if (!x.id) return x;
    return af_scale(c, af_sum(c, x), 1.0 / (double)af_size(c, x));
}

static af_expr af__matmul_fail(af_context *c, af_expr a, af_expr b, const char *why) {
    af__fail(c, AF_ERROR_SHAPE, "matmul: %s, %s%s times %s%s", why, af__show(c, a).text,
             af__show_label(c, a).text, af__show(c, b).text, af__show_label(c, b).text);
    return af__none;
}

/* (..., M, K) times one matrix (K, N): the leading axes become rows. */
static af_expr af__matmul_rows(af_context *c, af_expr a, af_expr b) {
    size_t i, rank, dims[AF_RANK_MAX], flat[2];
    rank = af_shape(c, a, dims);
    flat[0] = 1;
    for (i = 0; i + 1 < rank; i++) flat[0] *= dims[i];
    flat[1] = dims[rank - 1];
    a = af_matmul(c, af_reshape(c, a, 2, flat), b);
    if (!a.id) return a;
    dims[rank - 1] = af__at(c, a)->dim[1];
    return af_reshape(c, a, rank, dims);
}

AF_API af_expr af_matmul(af_context *c, af_expr a, af_expr b) {
    af__node n, *na, *nb;
    size_t i, rank;
    if (!a.id || !b.id) return af__none;
    na = af__at(c, a);
    nb = af__at(c, b);
    if (na->rank < 2 || nb->rank < 2) return af__matmul_fail(c, a, b, "fewer than two axes");
    if (na->dim[na->rank - 1] != nb->dim[nb->rank - 2])
        return af__matmul_fail(c, a, b, "inner sizes differ");
    if (nb->rank == 2 && na->rank > 2) return af__matmul_rows(c, a, b);
    if (na->rank == 2 && nb->rank > 2) { /* one matrix for all: repeated without a copy */
        size_t dims[AF_RANK_MAX];
        rank = af_shape(c, b, dims);
        dims[rank - 2] = na->dim[0];
        dims[rank - 1] = na->dim[1];
        return af_matmul(c, af_broadcast(c, a, rank, dims), b);
    }
    rank = na->rank;
    for (i = 0; i + 2 < rank || i + 2 < nb->rank; i++)
        if (rank != nb->rank || na->dim[i] != nb->dim[i])
            return af__matmul_fail(c, a, b, "leading axes differ");
    if (af__is_value(c, a, 0.0) || af__is_value(c, b, 0.0)) {
        n = af__like(c, AF_OP_MATMUL, a);
        n.dim[rank - 1] = nb->dim[rank - 1];
        return af_full(c, rank, n.dim, 0.0);
    }
    n = af__like(c, AF_OP_MATMUL, a);
    n.arg[1] = b.id;
    n.dim[rank - 1] = nb->dim[rank - 1];
    return af__intern(c, &n);
}
