/* ---- functions that evolve ----------------------------------------------------------------------
 *
 * MAP-Elites (Mouret & Clune 2015, arXiv:1504.04909; for formulas Bruneton 2025, arXiv:2503.19043):
 * of each length, kind of operators, and kind of fit the best function is kept; parents are drawn
 * from all of them alike, so that what is odd has children as well as what is good. Functions are
 * dimensionless ones of the leaves, as in the enumeration: units are right whatever is changed. */

enum {
    DP__GENES = 20,   /* steps of a function at most */
    DP__CONTENTS = 16, /* with or without exp or log, trigonometry, a root, a sum */
    DP__KINDS = 2 * DP__GENES * DP__CONTENTS,
    DP__CHANGES = 5
};

/* Postfix, as dp__program. */
typedef struct dp__genome {
    uint8_t op[DP__GENES], at[DP__GENES];
    size_t length;
} dp__genome;

typedef struct dp__elite {
    dp__genome genome;
    double error; /* HUGE_VAL: there is none */
} dp__elite;

typedef struct dp__archive {
    dp__elite cell[DP__KINDS];
    uint16_t filled[DP__KINDS];
    size_t count;
    size_t leaves;
    uint8_t one[DP_OPERATORS], two[DP_OPERATORS]; /* operators that may be used, by arguments */
    size_t ones, twos;
    uint64_t seed, child, draw; /* the next random number is (seed, child, draw) */
} dp__archive;

static void dp__archive_open(dp__archive *a, uint32_t operators, size_t leaves, uint64_t seed) {
    size_t k;
    memset(a, 0, sizeof *a);
    for (k = 0; k < (size_t)DP__KINDS; k++) a->cell[k].error = HUGE_VAL;
    for (k = 0; k < DP_OPERATORS; k++) {
        if (!(operators >> k & 1u)) continue;
        if (k < DP_POW) a->two[a->twos++] = (uint8_t)k;
        else if (k > DP_POW) a->one[a->ones++] = (uint8_t)k;
    }
    a->leaves = leaves;
    a->seed = seed;
}

static size_t dp__archive_draw(dp__archive *a, size_t n) {
    size_t k = (size_t)(af_random_uniform(a->seed, a->child, a->draw++) * (double)n);
    return k < n ? k : n - 1;
}

/* ---- the archive ---- */

static size_t dp__archive_cell(const dp__genome *g, int product) {
    size_t content = 0, k;
    for (k = 0; k < g->length; k++) {
        unsigned flag = g->op[k] < DP_OPERATORS ? dp__op_flag(g->op[k]) : 0u;
        content |= flag & (DP__HAS_EXP | DP__HAS_LOG) ? 1u : 0u;
        content |= flag & DP__HAS_TRIG ? 2u : 0u;
        content |= g->op[k] == DP_SQRT || g->op[k] == DP__STEP_NORM ? 4u : 0u;
        content |= g->op[k] == DP_ADD || g->op[k] == DP_SUB ? 8u : 0u;
    }
    return (content * DP__GENES + g->length - 1) * 2 + (product ? 1u : 0u);
}

/* Its cell when it is the best of its kind, otherwise DP__NONE. */
static size_t dp__archive_put(dp__archive *a, const dp__program *p, double error, int product) {
    dp__genome g = DP__ZERO;
    dp__elite *e;
    size_t k, cell;
    if (p->length > (size_t)DP__GENES || !(error < HUGE_VAL)) return DP__NONE;
    g.length = p->length;
    for (k = 0; k < p->length; k++) {
        g.op[k] = p->op[k];
        g.at[k] = p->op[k] == DP__STEP_LEAF ? (uint8_t)p->at[k] : (uint8_t)0;
    }
    cell = dp__archive_cell(&g, product);
    e = &a->cell[cell];
    if (!(error < e->error)) return DP__NONE;
    if (e->error == HUGE_VAL) a->filled[a->count++] = (uint16_t)cell;
    e->genome = g;
    e->error = error;
    return cell;
}

/* ---- children ---- */

/* Where the part begins that ends with step `last`. */
static size_t dp__genome_first(const dp__genome *g, size_t last) {
    size_t open = 1, k = last + 1;
    while (open) {
        k--;
        open--;
        if (g->op[k] != DP__STEP_LEAF) open += dp__operator_arguments(g->op[k]);
    }
    return k;
}

static void dp__genome_put(dp__genome *g, size_t op, size_t at) {
    if (g->length == (size_t)DP__GENES) return;
    g->op[g->length] = (uint8_t)op;
    g->at[g->length++] = (uint8_t)at;
}

static void dp__genome_copy(dp__genome *to, const dp__genome *from, size_t first, size_t end) {
    for (; first < end; first++) dp__genome_put(to, from->op[first], from->at[first]);
}

/* A function of one to three operators. */
static void dp__genome_grow(dp__archive *a, dp__genome *g, size_t operators) {
    size_t kind = operators ? dp__archive_draw(a, a->ones + a->twos) : 0;
    if (!operators) {
        dp__genome_put(g, DP__STEP_LEAF, dp__archive_draw(a, a->leaves));
        return;
    }
    dp__genome_grow(a, g, operators - 1);
    if (kind >= a->ones) dp__genome_grow(a, g, dp__archive_draw(a, 2));
    dp__genome_put(g, kind < a->ones ? a->one[kind] : a->two[kind - a->ones], 0);
}

/* What comes in place of steps [first, last] of g. */
static void dp__genome_change(dp__archive *a, size_t change, const dp__genome *g, size_t first,
                              size_t last, dp__genome *out) {
    const dp__genome *other = &a->cell[a->filled[dp__archive_draw(a, a->count)]].genome;
    size_t end = dp__archive_draw(a, other->length), op = g->op[last];
    switch (change) {
    case 0: /* a part of another one */
        dp__genome_copy(out, other, dp__genome_first(other, end), end + 1);
        break;
    case 1: dp__genome_grow(a, out, dp__archive_draw(a, 3)); break;
    case 2: /* another operator or leaf */
        dp__genome_copy(out, g, first, last);
        if (op == DP__STEP_LEAF) dp__genome_put(out, op, dp__archive_draw(a, a->leaves));
        else if (dp__operator_arguments(op) == 2)
            dp__genome_put(out, a->two[dp__archive_draw(a, a->twos)], 0);
        else dp__genome_put(out, a->one[dp__archive_draw(a, a->ones)], 0);
        break;
    case 3: /* a function of it, or it with something small */
        dp__genome_copy(out, g, first, last + 1);
        if (dp__archive_draw(a, 2)) {
            dp__genome_put(out, a->one[dp__archive_draw(a, a->ones)], 0);
            break;
        }
        dp__genome_grow(a, out, dp__archive_draw(a, 2));
        dp__genome_put(out, a->two[dp__archive_draw(a, a->twos)], 0);
        break;
    default: /* a part of itself */
        end = first + dp__archive_draw(a, last + 1 - first);
        dp__genome_copy(out, g, dp__genome_first(g, end), end + 1);
    }
}

/* The next child; 0 when it is too long, or there are no parents. */
static int dp__archive_child(dp__archive *a, dp__genome *out) {
    const dp__genome *g;
    size_t first, last, change;
    memset(out, 0, sizeof *out);
    a->child++;
    a->draw = 0;
    if (!a->count || !a->ones || !a->twos) return 0;
    g = &a->cell[a->filled[dp__archive_draw(a, a->count)]].genome;
    last = dp__archive_draw(a, g->length);
    first = dp__genome_first(g, last);
    change = dp__archive_draw(a, DP__CHANGES);
    dp__genome_copy(out, g, 0, first);
    dp__genome_change(a, change, g, first, last, out);
    dp__genome_copy(out, g, last + 1, g->length);
    return out->length < (size_t)DP__GENES;
}

/* ---- as nodes ---- */

/* Adds nodes for all steps but the last, whose operator and arguments are given back; 0 when it is
 * of no use, or only a leaf. There must be room for DP__GENES nodes. */
static int dp__genome_plant(dp__nodes *n, const dp__genome *g, size_t *op, size_t *a, size_t *b) {
    size_t stack[DP__GENES], top = 0, k, at = n->count;
    for (k = 0; k < g->length; k++) {
        *op = g->op[k];
        if (*op == DP__STEP_LEAF) {
            stack[top++] = g->at[k];
            continue;
        }
        *b = stack[top - 1];
        if (dp__operator_arguments(*op) == 2) top--;
        *a = stack[top - 1];
        if (!dp__useful(n, *op, *a, *b)) break;
        if (k + 1 == g->length) return 1;
        stack[top - 1] = dp__part(n, *op, *a, *b);
        n->flags[stack[top - 1]] |= (uint8_t)dp__op_flag(*op);
    }
    n->count = at;
    return 0;
}
