/* ---- dimensional analysis -----------------------------------------------------------------------
 *
 * Buckingham's theorem in exact fractions: some of the quantities are a basis of all units there
 * are; the others, divided by products of powers of these, are the arguments ("leaves") of a
 * dimensionless function. */

typedef struct dp__ratio {
    int64_t up, down; /* without common factor, down > 0 */
} dp__ratio;

static dp__ratio dp__ratio_of(int64_t up, int64_t down) {
    dp__ratio r;
    int64_t a = up < 0 ? -up : up, b = down < 0 ? -down : down;
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    if (down < 0) a = -a;
    r.up = up / a;
    r.down = down / a;
    return r;
}

static dp__ratio dp__ratio_times(dp__ratio a, dp__ratio b) {
    return dp__ratio_of(a.up * b.up, a.down * b.down);
}

static dp__ratio dp__ratio_minus(dp__ratio a, dp__ratio b) {
    return dp__ratio_of(a.up * b.down - b.up * a.down, a.down * b.down);
}

static double dp__ratio_value(dp__ratio a) { return (double)a.up / (double)a.down; }

/* The fraction with the smallest denominator within 1e-6, the tolerance of units; 0: there is none
 * up to twelfths. */
static int dp__ratio_from(double x, dp__ratio *out) {
    int64_t down;
    if (!(fabs(x) <= 100.0)) return 0;
    for (down = 1; down <= 12; down++) {
        double up = floor(x * (double)down + 0.5);
        if (fabs(up / (double)down - x) > 1e-6) continue;
        *out = dp__ratio_of((int64_t)up, down);
        return 1;
    }
    return 0;
}

enum { DP__EQUATIONS = DP_SYMBOLS_MAX + 1 };

/* sum_k x_k a_k = b for vectors a_k (count, rows) and b (rows) by Gauss-Jordan elimination;
 * unknowns that are free are 0. Returns 0 when there is no solution. */
static int dp__ratio_solve(size_t rows, size_t count, const dp__ratio *a, const dp__ratio *b,
                           dp__ratio *x) {
    dp__ratio m[DP__EQUATIONS][DP__EQUATIONS + 1];
    size_t pivot[DP__EQUATIONS], r, k, i, used = 0;
    for (r = 0; r < rows; r++) {
        for (k = 0; k < count; k++) m[r][k] = a[k * rows + r];
        m[r][count] = b[r];
    }
    for (k = 0; k < count; k++) {
        dp__ratio inverse;
        x[k] = dp__ratio_of(0, 1);
        for (r = used; r < rows && !m[r][k].up; r++) {}
        if (r == rows) continue;
        for (i = 0; i <= count; i++) {
            dp__ratio swap = m[r][i];
            m[r][i] = m[used][i];
            m[used][i] = swap;
        }
        inverse = dp__ratio_of(m[used][k].down, m[used][k].up);
        for (i = 0; i <= count; i++) m[used][i] = dp__ratio_times(m[used][i], inverse);
        for (r = 0; r < rows; r++) {
            dp__ratio factor = m[r][k];
            if (r == used || !factor.up) continue;
            for (i = 0; i <= count; i++)
                m[r][i] = dp__ratio_minus(m[r][i], dp__ratio_times(factor, m[used][i]));
        }
        pivot[used++] = k;
    }
    for (r = used; r < rows; r++)
        if (m[r][count].up) return 0;
    for (r = 0; r < used; r++) x[pivot[r]] = m[r][count];
    return 1;
}

/* ---- the plan of a search ---- */

#define DP__NONE ((size_t)-1)

enum { DP__LEAVES = DP_SYMBOLS_MAX + 1 };

/* symbol / product over j of basis_j^power_j; symbol DP__NONE: the number one. */
typedef struct dp__leaf {
    size_t symbol;
    dp__ratio power[DP_UNITS];
} dp__leaf;

typedef struct dp__plan {
    dp_symbol symbols[DP_SYMBOLS_MAX]; /* the caller's, then those added */
    dp_vocabulary v;
    dp__ratio units[DP_SYMBOLS_MAX][DP_UNITS], target_units[DP_UNITS];
    size_t basis[DP_UNITS], basis_count;
    dp__ratio target[DP_UNITS]; /* powers of the basis: p */
    dp__leaf leaf[DP__LEAVES];
    size_t leaf_count;
    size_t one, offset;              /* symbols; DP__NONE */
    size_t amplitude, number;        /* the symbol that follows from A; a dimensionless A itself */
    size_t scale[DP_SCALES_MAX], scale_count; /* symbols searched; others are at their start */
    double power[DP__LEAVES][DP_SCALES_MAX]; /* d ln(leaf)/d ln(scale) */
    double target_power[DP_SCALES_MAX];      /* d ln(p)/d ln(scale) */
    /* ln of all constants moves along `along` when only A changes, ln A by `stretch` for one unit;
     * among the scales, and 1 for the amplitude. */
    double along[DP_SCALES_MAX], stretch;
} dp__plan;

static int dp__is_constant(const dp_symbol *s) {
    return s->kind == DP_FREE || s->kind == DP_SPECIFIC;
}

static double dp__start_value(const dp_symbol *s) {
    return s->kind == DP_FIXED || s->value > 0.0 ? s->value : 1.0;
}

static int dp__no_ratios(const dp__ratio *a, size_t n) {
    size_t k;
    for (k = 0; k < n; k++)
        if (a[k].up) return 0;
    return 1;
}

/* Whether the units can be made of the basis, and with which powers (DP_UNITS). */
static int dp__plan_powers(const dp__plan *p, const dp__ratio *units, dp__ratio *power) {
    dp__ratio a[DP_UNITS * DP_UNITS];
    size_t j;
    for (j = 0; j < p->basis_count; j++)
        memcpy(a + j * DP_UNITS, p->units[p->basis[j]], sizeof p->units[0]);
    for (j = p->basis_count; j < DP_UNITS; j++) power[j] = dp__ratio_of(0, 1);
    return dp__ratio_solve(DP_UNITS, p->basis_count, a, units, power);
}

/* d ln(leaf)/d ln(symbol), and of p. */
static dp__ratio dp__leaf_power(const dp__plan *p, size_t leaf, size_t symbol) {
    dp__ratio sum = dp__ratio_of(p->leaf[leaf].symbol == symbol, 1);
    size_t j;
    for (j = 0; j < p->basis_count; j++)
        if (p->basis[j] == symbol) sum = dp__ratio_minus(sum, p->leaf[leaf].power[j]);
    return sum;
}

static dp__ratio dp__target_power(const dp__plan *p, size_t symbol) {
    size_t j;
    for (j = 0; j < p->basis_count; j++)
        if (p->basis[j] == symbol) return p->target[j];
    return dp__ratio_of(0, 1);
}

/* Greedy: a quantity whose units are not made of those before it joins the basis; constants to be
 * found first, so that scales are theirs, then fixed ones, then variables. */
static void dp__plan_basis(dp__plan *p) {
    static const dp_symbol_kind order[4] = {DP_FREE, DP_SPECIFIC, DP_FIXED, DP_VARIABLE};
    dp__ratio power[DP_UNITS];
    size_t pass, i;
    p->basis_count = 0;
    for (pass = 0; pass < 4; pass++)
        for (i = 0; i < p->v.symbol_count; i++) {
            if (p->symbols[i].kind != order[pass] || i == p->offset) continue;
            if (!dp__plan_powers(p, p->units[i], power)) p->basis[p->basis_count++] = i;
        }
}

static af_status dp__plan_add(af_context *c, dp__plan *p, const char *const *names,
                              dp_symbol_kind kind, size_t *out) {
    size_t i, k, n = p->v.symbol_count;
    if (n == DP_SYMBOLS_MAX)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "the vocabulary has %zu symbols, and the search needs one more of its own "
                       "(%s): leave one out", n, names[0]);
    for (k = 0; names[k]; k++) {
        for (i = 0; i < n && strcmp(p->symbols[i].name, names[k]) != 0; i++) {}
        if (i == n) break;
    }
    if (!names[k])
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "the search adds a symbol of its own, but %s is in the vocabulary already: "
                       "call that something else", names[0]);
    memset(&p->symbols[n], 0, sizeof p->symbols[n]);
    p->symbols[n].name = names[k];
    p->symbols[n].kind = kind;
    p->symbols[n].value = 1.0;
    for (k = 0; k < DP_UNITS; k++) p->units[n][k] = dp__ratio_of(0, 1);
    p->v.symbol_count = n + 1;
    *out = n;
    return AF_OK;
}

static af_status dp__plan_units(af_context *c, dp__plan *p) {
    size_t i, k;
    for (i = 0; i < p->v.symbol_count; i++)
        for (k = 0; k < DP_UNITS; k++) {
            p->units[i][k] = dp__ratio_of(0, 1);
            if (!p->v.no_units && !dp__ratio_from(p->symbols[i].units.power[k], &p->units[i][k]))
                return af_fail(c, AF_ERROR_ARGUMENT,
                               "%s has base unit %zu to the power %g; the search needs fractions "
                               "with denominators up to 12", p->symbols[i].name, k + 1,
                               p->symbols[i].units.power[k]);
        }
    for (k = 0; k < DP_UNITS; k++) {
        p->target_units[k] = dp__ratio_of(0, 1);
        if (!p->v.no_units && !dp__ratio_from(p->v.target.power[k], &p->target_units[k]))
            return af_fail(c, AF_ERROR_ARGUMENT,
                           "the result has base unit %zu to the power %g; the search needs "
                           "fractions with denominators up to 12", k + 1, p->v.target.power[k]);
    }
    return AF_OK;
}

/* The constant that is added to the result: a caller's with its units, as long as the result's
 * units can be made without it, before one of our own. */
static af_status dp__plan_offset(af_context *c, dp__plan *p) {
    static const char *const names[] = {"C", "C_0", "offset", NULL};
    dp__ratio power[DP_UNITS];
    int pass, specific = 0;
    size_t i;
    af_status s;
    for (pass = 0; pass < 2; pass++)
        for (i = 0; i < p->v.symbol_count; i++) {
            if (p->symbols[i].kind != (pass ? DP_FREE : DP_SPECIFIC)) continue;
            specific |= !pass;
            if (memcmp(p->units[i], p->target_units, sizeof p->target_units) != 0) continue;
            p->offset = i;
            dp__plan_basis(p);
            if (dp__plan_powers(p, p->target_units, power)) return AF_OK;
            p->offset = DP__NONE;
        }
    s = dp__plan_add(c, p, names, specific ? DP_SPECIFIC : DP_FREE, &p->offset);
    if (s != AF_OK) return s;
    memcpy(p->units[p->offset], p->target_units, sizeof p->target_units);
    p->symbols[p->offset].units = p->v.target;
    return AF_OK;
}

static af_status dp__plan_impossible(af_context *c, const dp__plan *p) {
    char target[96], unit[DP_UNITS * 4 + 8], one[96], list[400];
    size_t k, i, used = 0;
    list[0] = 0;
    dp_units_text(&p->v.target, p->v.bases, p->v.base_count, target, sizeof target);
    for (i = 0; i < p->v.symbol_count && used < sizeof list - 128; i++) {
        if (dp__no_ratios(p->units[i], DP_UNITS) || i == p->offset) continue;
        dp_units_text(&p->symbols[i].units, p->v.bases, p->v.base_count, one, sizeof one);
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.20s [%s]", used ? ", " : "",
                                 p->symbols[i].name, one);
    }
    for (k = 0; k < DP_UNITS; k++) {
        for (i = 0; i < p->v.symbol_count && (i == p->offset || !p->units[i][k].up); i++) {}
        if (p->target_units[k].up && i == p->v.symbol_count) break;
    }
    if (k == DP_UNITS)
        return af_fail(c, AF_ERROR_DATA,
                       "no expression of %s has the units %s of the result: give a constant that "
                       "completes them", list, target);
    if (k < p->v.base_count && p->v.bases)
        snprintf(unit, sizeof unit, "%.20s", p->v.bases[k]);
    else
        snprintf(unit, sizeof unit, "u%zu", k + 1);
    return af_fail(c, AF_ERROR_DATA,
                   "no expression of %s has the units %s of the result: give a constant that has "
                   "%s in it", used ? list : "dimensionless symbols", target, unit);
}

static void dp__plan_leaves(dp__plan *p) {
    size_t i, j;
    p->leaf_count = 0;
    for (i = 0; i < p->v.symbol_count; i++) {
        dp__leaf *leaf = &p->leaf[p->leaf_count];
        for (j = 0; j < p->basis_count && p->basis[j] != i; j++) {}
        if (j < p->basis_count || i == p->offset || i == p->one || i == p->number) continue;
        leaf->symbol = i;
        dp__plan_powers(p, p->units[i], leaf->power);
        p->leaf_count++;
    }
    p->leaf[p->leaf_count].symbol = DP__NONE;
    for (j = 0; j < DP_UNITS; j++) p->leaf[p->leaf_count].power[j] = dp__ratio_of(0, 1);
    p->leaf_count++;
}

/* A column of powers of one constant in the leaves. */
static void dp__plan_column(const dp__plan *p, size_t symbol, dp__ratio *column) {
    size_t l;
    for (l = 0; l < p->leaf_count; l++) column[l] = dp__leaf_power(p, l, symbol);
}

/* The constants that move leaves independently, but `without`: they are searched. Returns 0 when
 * there are too many. */
static int dp__plan_scales(dp__plan *p, size_t without) {
    dp__ratio a[DP_SCALES_MAX * DP__LEAVES], column[DP__LEAVES], x[DP_SCALES_MAX];
    size_t i, k;
    p->scale_count = 0;
    for (i = 0; i < p->v.symbol_count; i++) {
        if (!dp__is_constant(&p->symbols[i]) || i == without || i == p->offset || i == p->number)
            continue;
        dp__plan_column(p, i, column);
        for (k = 0; k < p->scale_count; k++)
            dp__plan_column(p, p->scale[k], a + k * p->leaf_count);
        if (dp__ratio_solve(p->leaf_count, p->scale_count, a, column, x)) continue;
        if (p->scale_count == DP_SCALES_MAX) return 0;
        p->scale[p->scale_count++] = i;
    }
    return 1;
}

/* Whether this constant can follow from A: with some change of the scales it leaves all arguments
 * as they are and stretches the result. */
static int dp__plan_amplitude(dp__plan *p, size_t symbol, int alone) {
    dp__ratio a[DP_SCALES_MAX * DP__LEAVES], column[DP__LEAVES], x[DP_SCALES_MAX];
    size_t k;
    memset(a, 0, sizeof a);
    dp__plan_column(p, symbol, column);
    if (dp__no_ratios(column, p->leaf_count) != alone || !dp__plan_scales(p, symbol)) return 0;
    for (k = 0; k < p->scale_count; k++) dp__plan_column(p, p->scale[k], a + k * p->leaf_count);
    if (!dp__ratio_solve(p->leaf_count, p->scale_count, a, column, x)) return 0;
    p->stretch = dp__ratio_value(dp__target_power(p, symbol));
    for (k = 0; k < p->scale_count; k++) {
        p->along[k] = -dp__ratio_value(x[k]);
        p->stretch += p->along[k] * dp__ratio_value(dp__target_power(p, p->scale[k]));
    }
    if (fabs(p->stretch) < 1e-9) return 0;
    p->amplitude = symbol;
    return 1;
}

/* Which constant is the amplitude, which are searched. A dimensionless one multiplies when units
 * give no amplitude. */
static af_status dp__plan_constants(af_context *c, dp__plan *p, dp_affine affine) {
    static const char *const names[] = {"A", "A_0", "amplitude", NULL};
    size_t i, k;
    int pass;
    af_status s = AF_OK;
    p->amplitude = p->number = DP__NONE;
    for (pass = 0; pass < 4 && p->amplitude == DP__NONE; pass++)
        for (i = 0; i < p->v.symbol_count && p->amplitude == DP__NONE; i++)
            if (p->symbols[i].kind == (pass % 2 ? DP_FREE : DP_SPECIFIC) && i != p->offset)
                dp__plan_amplitude(p, i, pass < 2);
    for (pass = 0; pass < 2 && p->amplitude == DP__NONE && affine != DP_EXACT; pass++)
        for (i = 0; i < p->v.symbol_count && p->number == DP__NONE; i++)
            if (p->symbols[i].kind == (pass ? DP_FREE : DP_SPECIFIC) && i != p->offset &&
                dp__no_ratios(p->units[i], DP_UNITS)) p->number = i;
    if (p->amplitude == DP__NONE && p->number == DP__NONE && affine != DP_EXACT)
        s = dp__plan_add(c, p, names, DP_FREE, &p->number);
    if (s != AF_OK) return s;
    dp__plan_leaves(p);
    if (!dp__plan_scales(p, p->amplitude))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "more than %d free constants are not amplitudes or offsets: fix some",
                       (int)DP_SCALES_MAX);
    for (k = 0; k < p->scale_count; k++)
        if (p->symbols[p->scale[k]].kind == DP_SPECIFIC)
            return af_fail(c, AF_ERROR_ARGUMENT,
                           "%s would be searched inside the formula for each data set by itself; "
                           "only an amplitude and an offset may differ between sets: make it "
                           "DP_FREE", p->symbols[p->scale[k]].name);
    for (k = 0; k < p->scale_count; k++) {
        p->target_power[k] = dp__ratio_value(dp__target_power(p, p->scale[k]));
        for (i = 0; i < p->leaf_count; i++)
            p->power[i][k] = dp__ratio_value(dp__leaf_power(p, i, p->scale[k]));
    }
    return AF_OK;
}

static af_status dp__plan_make(af_context *c, const dp_vocabulary *v, dp_affine affine,
                               dp__plan *p) {
    static const char *const names[] = {"1", "one", "unity", NULL};
    size_t i;
    int each;
    af_status s = dp_vocabulary_check(c, v);
    if (s != AF_OK) return s;
    memset(p, 0, sizeof *p);
    p->v = *v;
    memcpy(p->symbols, v->symbols, v->symbol_count * sizeof *v->symbols);
    p->v.symbols = p->symbols;
    p->one = p->offset = p->number = DP__NONE;
    if ((s = dp__plan_units(c, p)) != AF_OK) return s;
    for (i = 0; i < p->v.symbol_count && p->one == DP__NONE; i++)
        if (p->symbols[i].kind == DP_FIXED && p->symbols[i].value == 1.0 &&
            dp__no_ratios(p->units[i], DP_UNITS)) p->one = i;
    if (p->one == DP__NONE) s = dp__plan_add(c, p, names, DP_FIXED, &p->one);
    if (s == AF_OK && affine == DP_AMPLITUDE_OFFSET) s = dp__plan_offset(c, p);
    if (s != AF_OK) return s;
    dp__plan_basis(p);
    if (!dp__plan_powers(p, p->target_units, p->target)) return dp__plan_impossible(c, p);
    dp__plan_leaves(p);
    if ((s = dp__plan_constants(c, p, affine)) != AF_OK) return s;
    i = p->amplitude != DP__NONE ? p->amplitude : p->number;
    each = i != DP__NONE && p->symbols[i].kind == DP_SPECIFIC;
    if (each && p->offset != DP__NONE && p->symbols[p->offset].kind == DP_FREE)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "%s is for each data set and %s for all: make %s DP_SPECIFIC, too",
                       p->symbols[i].name, p->symbols[p->offset].name, p->symbols[p->offset].name);
    p->v.operators = dp_vocabulary_operators(v) | 1u << DP_ADD | 1u << DP_SUB | 1u << DP_MUL |
                     1u << DP_DIV | 1u << DP_NEG | 1u << DP_SQUARE | 1u << DP_SQRT;
    return AF_OK;
}
