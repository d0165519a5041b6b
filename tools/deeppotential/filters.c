/* What formulas must be besides close to the data: --filter of `symbolic` and `distill`. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILTER_ZERO = 0, FILTER_FINITE, FILTER_INCREASING, FILTER_DECREASING, FILTER_POSITIVE,
    FILTER_NEGATIVE, FILTER_DENSITY,
    FILTERS,
    FILTER_ROWS = 32 /* of a data set at which formulas are looked at */
};

static const char *const FILTER_NAME[FILTERS] = {
    "zero-at-infinity", "finite-at-infinity", "increasing", "decreasing", "positive", "negative",
    "density"};

static size_t filters_variables(const deep_formulas *f) {
    size_t i, count = 0;
    for (i = 0; i < f->v.symbol_count; i++) count += f->v.symbols[i].kind == DP_VARIABLE;
    return count;
}

int deep_filters(deep_formulas *f, const char *command) {
    const char *at = f->filter;
    size_t k, variables = 0;
    for (k = 0; k < f->v.symbol_count; k++) variables += f->symbol[k].kind == DP_VARIABLE;
    while (at) {
        size_t length = strcspn(at, ",");
        for (k = 0; k < FILTERS; k++)
            if (strlen(FILTER_NAME[k]) == length && strncmp(FILTER_NAME[k], at, length) == 0) break;
        if (k == FILTERS)
            return cli_usage(command, "--filter knows zero-at-infinity, finite-at-infinity, "
                             "increasing, decreasing, positive, negative and density, not '%.*s'",
                             (int)length, at);
        f->filters |= 1u << k;
        at = at[length] ? at + length + 1 : NULL;
    }
    if (f->filters >> FILTER_DENSITY & 1u && variables != 1 && variables != 2)
        return cli_usage(command, "--filter density takes the Laplacian of one variable, r, or of "
                         "two, R and z; there are %lu", (unsigned long)variables);
    return -1;
}

/* ---- a formula away from the data ---- */

/* Rows of a data set, those of the first variable's units multiplied by a factor, or moved. */
typedef struct filters_place {
    const dp_symbolic_candidate *candidate;
    const dp_data_set *set;
    double constants[DP_SYMBOLS_MAX];
    size_t n, variables;
    double column[DP_SYMBOLS_MAX][FILTER_ROWS];
    const double *columns[DP_SYMBOLS_MAX];
    double value[FILTER_ROWS];
    double slope[DP_SYMBOLS_MAX * FILTER_ROWS]; /* (variables, n) */
} filters_place;

static void filters_open(const deep_formulas *f, const dp_symbolic_candidate *candidate,
                         size_t set, filters_place *p) {
    size_t common = dp_vocabulary_count(candidate->vocabulary, DP_FREE), k;
    size_t own = dp_vocabulary_count(candidate->vocabulary, DP_SPECIFIC);
    p->candidate = candidate;
    p->set = &f->sets[set];
    p->n = p->set->n < (size_t)FILTER_ROWS ? p->set->n : (size_t)FILTER_ROWS;
    p->variables = filters_variables(f);
    for (k = 0; k < p->variables; k++) p->columns[k] = p->column[k];
    memcpy(p->constants, candidate->constants, common * sizeof *p->constants);
    memcpy(p->constants + common, candidate->constants + common + set * own,
           own * sizeof *p->constants);
}

/* Evaluates at factor times the data. 0 where something is not finite. */
static int filters_at(const deep_formulas *f, filters_place *p, double factor) {
    const dp_units *first = NULL;
    size_t s, i, k = 0;
    for (s = 0; s < f->v.symbol_count; s++) {
        double scale;
        if (f->symbol[s].kind != DP_VARIABLE) continue;
        if (!first) first = &f->symbol[s].units;
        scale = dp_units_equal(first, &f->symbol[s].units) ? factor : 1.0;
        for (i = 0; i < p->n; i++)
            p->column[k][i] = scale * p->set->columns[k][i * p->set->n / p->n];
        k++;
    }
    dp_formula_tangents(p->candidate->vocabulary, p->candidate->formula, p->n, p->columns,
                        p->constants, p->value, NULL, p->slope);
    for (i = 0; i < p->n; i++)
        if (!isfinite(p->value[i])) return 0;
    return 1;
}

/* ---- the filters ---- */

/* The largest |y|, and how far y reaches. */
static void filters_size(const dp_data_set *set, double *size, double *range) {
    double low = set->y[0], high = low;
    size_t i;
    for (i = 1; i < set->n; i++) {
        low = fmin(low, set->y[i]);
        high = fmax(high, set->y[i]);
    }
    *size = fmax(fabs(low), fabs(high));
    *range = high - low;
}

/* At 1e8 times the data even 1/sqrt(r) is a ten-thousandth. */
static int filters_limit(const deep_formulas *f, filters_place *p, double size, double range) {
    double far[FILTER_ROWS];
    size_t i;
    if (!(f->filters & (1u << FILTER_ZERO | 1u << FILTER_FINITE))) return 1;
    if (!filters_at(f, p, 1e8)) return 0;
    memcpy(far, p->value, sizeof far);
    for (i = 0; i < p->n && f->filters >> FILTER_ZERO & 1u; i++)
        if (fabs(far[i]) > 1e-3 * size) return 0;
    if (!(f->filters >> FILTER_FINITE & 1u)) return 1;
    if (!filters_at(f, p, 1e10)) return 0;
    for (i = 0; i < p->n; i++)
        if (fabs(p->value[i] - far[i]) > 1e-3 * range) return 0;
    return 1;
}

/* Signs of the value and of the slope by the first variable, to rounding. */
static int filters_signs(const deep_formulas *f, const filters_place *p, double range) {
    size_t i;
    for (i = 0; i < p->n; i++) {
        double y = p->value[i], rise = p->slope[i] * fabs(p->column[0][i]);
        double zero = 1e-9 * (fabs(y) + range);
        if (f->filters >> FILTER_INCREASING & 1u && !(rise >= -zero)) return 0;
        if (f->filters >> FILTER_DECREASING & 1u && !(rise <= zero)) return 0;
        if (f->filters >> FILTER_POSITIVE & 1u && !(y >= -zero)) return 0;
        if (f->filters >> FILTER_NEGATIVE & 1u && !(y <= zero)) return 0;
    }
    return 1;
}

/* The second derivative by variable k: a difference of the exact first ones, h (n) to both sides,
 * good to (h/x)^2. */
static void filters_second(filters_place *p, size_t k, const double *h, double *out) {
    size_t i, side;
    for (i = 0; i < p->n; i++) out[i] = 0.0;
    for (side = 0; side < 2; side++) {
        double sign = side ? -1.0 : 1.0;
        for (i = 0; i < p->n; i++) p->column[k][i] += sign * h[i];
        dp_formula_tangents(p->candidate->vocabulary, p->candidate->formula, p->n, p->columns,
                            p->constants, p->value, NULL, p->slope);
        for (i = 0; i < p->n; i++) {
            out[i] += sign * p->slope[k * p->n + i] / (2.0 * h[i]);
            p->column[k][i] -= sign * h[i];
        }
    }
}

/* f'' + 2 f'/r of r, or f_RR + f_R/R + f_zz, not below zero. */
static int filters_density(const deep_formulas *f, filters_place *p) {
    double sum[FILTER_ROWS], terms[FILTER_ROWS], h[FILTER_ROWS], second[FILTER_ROWS];
    size_t i, k;
    if (!(f->filters >> FILTER_DENSITY & 1u)) return 1;
    for (i = 0; i < p->n; i++) {
        double r = p->column[0][i];
        sum[i] = (p->variables == 2 ? 1.0 : 2.0) * p->slope[i] / r;
        terms[i] = fabs(sum[i]);
        h[i] = 1e-4 * (p->variables == 2 ? hypot(r, p->column[1][i]) : fabs(r));
    }
    for (k = 0; k < p->variables; k++) {
        filters_second(p, k, h, second);
        for (i = 0; i < p->n; i++) {
            sum[i] += second[i];
            terms[i] += fabs(second[i]);
        }
    }
    for (i = 0; i < p->n; i++) /* on the axis f_R/R is 0/0: left to the other places */
        if (p->column[0][i] * p->column[0][i] > 0.0 && !(sum[i] >= -1e-6 * terms[i])) return 0;
    return 1;
}

static int filters_near(const deep_formulas *f, filters_place *p, double range) {
    static const double factor[5] = {0.01, 0.1, 1.0, 10.0, 100.0};
    size_t k;
    for (k = 0; k < 5; k++)
        if (!filters_at(f, p, factor[k]) || !filters_signs(f, p, range) || !filters_density(f, p))
            return 0;
    return 1;
}

double deep_filter(const dp_symbolic_candidate *candidate, void *formulas) {
    const deep_formulas *f = (const deep_formulas *)formulas;
    size_t set;
    int good = 1;
    filters_place *p = (filters_place *)cli_allocate(1, sizeof *p);
    for (set = 0; set < f->set_count && good; set++) {
        double size, range;
        filters_open(f, candidate, set, p);
        filters_size(p->set, &size, &range);
        good = filters_limit(f, p, size, range);
        if (good && f->filters >> FILTER_INCREASING) good = filters_near(f, p, range);
    }
    free(p);
    return good ? 1.0 : -1.0;
}
