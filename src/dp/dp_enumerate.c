/* ---- all expressions, shortest first ------------------------------------------------------------
 *
 * A node is an operator with one or two earlier nodes. Its values at a few points, rounded to 36
 * bits, say whether the function is new. */

enum {
    DP__SAMPLES = 8,
    DP__HAS_VARIABLE = 1, DP__HAS_EXP = 2, DP__HAS_LOG = 4, DP__HAS_TRIG = 8 /* flags */
};

typedef struct dp__nodes {
    dp__arena arena;
    size_t count, room;
    uint8_t *op, *flags;
    uint32_t *left, *right; /* left: the leaf of a DP__STEP_LEAF */
    double *value;          /* (room, DP__SAMPLES) */
} dp__nodes;

/* Numbers that have been seen; 0 is an empty place. */
typedef struct dp__seen {
    dp__arena arena;
    uint64_t *key;
    size_t count, room; /* room: a power of two */
} dp__seen;

enum { DP__NODE_BYTES = 2 + 8 + 8 * DP__SAMPLES };

static af_status dp__nodes_grow(const af_context *c, dp__nodes *n, size_t room) {
    dp__nodes m = DP__ZERO;
    m.arena = dp__arena_open(c);
    m.op = DP__ARRAY(&m.arena, uint8_t, room);
    m.flags = DP__ARRAY(&m.arena, uint8_t, room);
    m.left = DP__ARRAY(&m.arena, uint32_t, room);
    m.right = DP__ARRAY(&m.arena, uint32_t, room);
    m.value = DP__ARRAY(&m.arena, double, room * DP__SAMPLES);
    if (!m.op || !m.flags || !m.left || !m.right || !m.value) {
        dp__arena_free(&m.arena);
        return AF_ERROR_MEMORY;
    }
    if (n->count) {
        memcpy(m.op, n->op, n->count);
        memcpy(m.flags, n->flags, n->count);
        memcpy(m.left, n->left, n->count * sizeof *n->left);
        memcpy(m.right, n->right, n->count * sizeof *n->right);
        memcpy(m.value, n->value, n->count * DP__SAMPLES * sizeof *n->value);
    }
    m.count = n->count;
    m.room = room;
    dp__arena_free(&n->arena);
    *n = m;
    return AF_OK;
}

static size_t dp__seen_place(const dp__seen *s, uint64_t key) {
    size_t at = (size_t)(key >> 7) & (s->room - 1);
    while (s->key[at] && s->key[at] != key) at = (at + 1) & (s->room - 1);
    return at;
}

static af_status dp__seen_grow(const af_context *c, dp__seen *s, size_t room) {
    dp__seen t = DP__ZERO;
    size_t i;
    t.arena = dp__arena_open(c);
    t.room = room;
    t.count = s->count;
    t.key = DP__ARRAY(&t.arena, uint64_t, room);
    if (!t.key) {
        dp__arena_free(&t.arena);
        return AF_ERROR_MEMORY;
    }
    for (i = 0; i < s->room; i++)
        if (s->key[i]) t.key[dp__seen_place(&t, s->key[i])] = s->key[i];
    dp__arena_free(&s->arena);
    *s = t;
    return AF_OK;
}

/* 1 when the key is new; it has been seen then. There must be room. */
static int dp__seen_add(dp__seen *s, uint64_t key) {
    size_t at;
    key = key ? key : 1;
    at = dp__seen_place(s, key);
    if (s->key[at]) return 0;
    s->key[at] = key;
    s->count++;
    return 1;
}

/* ---- what is the same function ---- */

static uint64_t dp__mix(uint64_t h, uint64_t x) { /* the finaliser of MurmurHash3 (Appleby) */
    h = (h ^ x) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

/* Of (value - shift) / scale, in `bits` bits of the mantissa. */
static uint64_t dp__hash(const double *value, double shift, double scale, int bits, uint64_t salt) {
    uint64_t h = salt;
    int i, drop = 52 - bits;
    for (i = 0; i < DP__SAMPLES; i++) {
        double x = (value[i] - shift) / scale;
        uint64_t u;
        x = dp__is_finite(x) ? x + 0.0 : 0.5 * DBL_MAX; /* one NaN is as another; no -0 */
        memcpy(&u, &x, sizeof u);
        h = dp__mix(h, (u + ((uint64_t)1 << (drop - 1))) >> drop);
    }
    return h;
}

static int dp__has_finite(const double *value) {
    int i, n = 0;
    for (i = 0; i < DP__SAMPLES; i++) n += dp__is_finite(value[i]);
    return n >= 3; /* fewer do not tell functions apart */
}

/* Values that are what rounding left of zero become zero; 0 when all are. */
static int dp__clean(double *value, const double *a, const double *b) {
    int i, some = 0;
    for (i = 0; i < DP__SAMPLES; i++) {
        if (b && fabs(value[i]) < 1e-13 * (fabs(a[i]) + fabs(b[i]))) value[i] = 0.0;
        some |= value[i] != 0.0 && fabs(value[i]) < 1e100;
    }
    return some;
}

/* The first finite value that is not 0 (from sample *at on, less `shift`). */
static double dp__first_value(const double *value, double shift, int *at) {
    for (; *at < DP__SAMPLES; ++*at) {
        double x = value[*at] - shift;
        if (dp__is_finite(x) && fabs(x) > 1e-9 * fabs(shift)) return x;
    }
    return 0.0;
}

/* Whether A f, and A f + C, are new families: the bits of DP__FORM_A | DP__FORM_C as a set. Whether
 * f itself is new is known. */
static unsigned dp__new_forms(dp__seen *seen, const double *value, unsigned allowed) {
    unsigned forms = allowed & (1u << 0 | 1u << DP__FORM_C);
    int at = 0;
    double first = dp__first_value(value, 0.0, &at), step;
    if (first == 0.0) return 0;
    if (allowed & 1u << DP__FORM_A && dp__seen_add(seen, dp__hash(value, 0.0, first, 36, 2)))
        forms |= 1u << DP__FORM_A;
    if (!(allowed & 1u << (DP__FORM_A | DP__FORM_C))) return forms;
    for (at = 0; at < DP__SAMPLES && !dp__is_finite(value[at]); at++) {}
    first = value[at];
    step = dp__first_value(value, first, &at);
    if (step != 0.0 && dp__seen_add(seen, dp__hash(value, first, step, 28, 3)))
        forms |= 1u << (DP__FORM_A | DP__FORM_C); /* 28 bits: 8 may cancel */
    return forms;
}

/* ---- what is not worth trying ---- */

static unsigned dp__op_flag(size_t op) {
    switch (op) {
    case DP_EXP: case DP_SINH: case DP_COSH: case DP_TANH: return DP__HAS_EXP;
    case DP_LOG: return DP__HAS_LOG;
    case DP_SIN: case DP_COS: case DP_TAN: case DP_ASIN: case DP_ACOS: case DP_ATAN:
        return DP__HAS_TRIG;
    default: return 0;
    }
}

/* Functions of constants, and exp in exp, log in log, sin in cos, are left out, and signs of signs;
 * constants enter by + - * / and squares. */
static int dp__useful(const dp__nodes *n, size_t op, size_t a, size_t b) {
    unsigned flag = dp__op_flag(op);
    size_t inner = n->op[a];
    if (op <= DP_DIV) return op != DP_SUB && op != DP_DIV ? 1 : a != b;
    if (op == DP__STEP_NORM && a == b) return 0;
    if (dp__operator_arguments(op) == 2)
        return ((n->flags[a] | n->flags[b]) & DP__HAS_VARIABLE) != 0;
    if (flag & n->flags[a]) return 0;
    if ((op == DP_NEG || op == DP_INV) && (inner == DP_NEG || inner == DP_INV)) return 0;
    return (n->flags[a] & DP__HAS_VARIABLE) || op == DP_NEG || op == DP_INV || op == DP_SQUARE;
}

/* Writes the node's values at nodes->count, without keeping it; 0 when it is nothing new. */
static int dp__node_try(dp__nodes *n, dp__seen *seen, size_t op, size_t a, size_t b) {
    double *value = n->value + n->count * DP__SAMPLES;
    const double *x = n->value + a * DP__SAMPLES, *y = n->value + b * DP__SAMPLES;
    int sum = op == DP_ADD || op == DP_SUB;
    size_t k = n->count;
    dp__apply(op, DP__SAMPLES, x, y, value);
    if (!dp__clean(value, x, sum ? y : NULL) || !dp__has_finite(value)) return 0;
    if (!dp__seen_add(seen, dp__hash(value, 0.0, 1.0, 36, 1))) return 0;
    n->op[k] = (uint8_t)op;
    n->left[k] = (uint32_t)a;
    n->right[k] = (uint32_t)b;
    n->flags[k] = (uint8_t)(n->flags[a] | dp__op_flag(op) |
                            (dp__operator_arguments(op) == 2 ? n->flags[b] : 0u));
    return 1;
}

/* Postfix steps of a node; nodes before `cached` are not written out. 0 when it is too long. */
static int dp__node_program(const dp__nodes *n, size_t node, size_t cached, dp__program *p) {
    size_t op = n->op[node];
    int known = op != DP__STEP_LEAF && node < cached;
    if (op != DP__STEP_LEAF && !known) {
        if (!dp__node_program(n, n->left[node], cached, p)) return 0;
        if (dp__operator_arguments(op) == 2 &&
            !dp__node_program(n, n->right[node], cached, p)) return 0;
    }
    if (p->length == DP__STEPS) return 0;
    p->op[p->length] = (uint8_t)(known ? (size_t)DP__STEP_CACHED : op);
    p->at[p->length++] = op == DP__STEP_LEAF ? n->left[node] : (uint32_t)node;
    return 1;
}
