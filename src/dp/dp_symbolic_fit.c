/* ---- fitting y = A p f(leaves) + C --------------------------------------------------------------
 *
 * A and C by projection, the scales inside f by Levenberg-Marquardt on what the projection leaves
 * (variable projection: Golub & Pereyra 1973), in ln(scale), derivatives by differences. */

enum {
    DP__STEP_LEAF = DP_OPERATORS, DP__STEP_CACHED, /* steps that are no operators */
    DP__STEP_NORM,                       /* sqrt(a^2 + b^2), written out in formulas */
    DP__SHEET_BLOCK = 64,                      /* rows evaluated at a time */
    DP__DEPTH = 24,                      /* of f: 20 tokens nest 10 deep, an added norm 4 more */
    DP__STEPS = 96,                      /* of f with norms written out */
    DP__FORM_A = 1, DP__FORM_C = 2, DP__FORMS = 4 /* bits: A is fitted, C is fitted */
};

/* Postfix. */
typedef struct dp__program {
    uint8_t op[DP__STEPS];
    uint32_t at[DP__STEPS]; /* the leaf, or the node whose values are cached */
    size_t length;
} dp__program;

/* Some rows of the data, filled up to whole blocks with rows of weight 0. */
typedef struct dp__sheet {
    size_t rows, sets;
    size_t *start;  /* (sets + 1) */
    double *leaf;   /* (leaf_count, rows), with searched constants at 1 */
    double *prefactor, *y, *weight;
    double unit;    /* cost of NRMSE 1: sum of weights times the variance of all y */
} dp__sheet;

static size_t dp__operator_arguments(size_t op) {
    return op <= DP_POW || op == DP__STEP_NORM ? 2 : 1;
}

/* out may be a. b: of operators with two arguments. */
static void dp__apply(size_t op, size_t n, const double *a, const double *b, double *out) {
    size_t i;
    if (op != DP__STEP_NORM) dp__operate(op, n, a, b, out);
    else for (i = 0; i < n; i++) out[i] = sqrt(a[i] * a[i] + b[i] * b[i]);
}

/* f at one block of rows: leaves (leaf_count, stride), each times its factor; cached + node * step
 * are values that are there already. */
static void dp__program_run(const dp__program *p, const double *leaf, size_t stride,
                            const double *factor, const double *cached, size_t step, double *out) {
    double stack[DP__DEPTH][DP__SHEET_BLOCK];
    size_t k, i, top = 0;
    for (k = 0; k < p->length; k++) {
        size_t op = p->op[k], at = p->at[k];
        if (op == DP__STEP_LEAF) {
            const double *from = leaf + at * stride;
            for (i = 0; i < DP__SHEET_BLOCK; i++) stack[top][i] = from[i] * factor[at];
            top++;
        } else if (op == DP__STEP_CACHED) {
            memcpy(stack[top++], cached + at * step, sizeof stack[0]);
        } else if (dp__operator_arguments(op) == 2) {
            top--;
            dp__apply(op, DP__SHEET_BLOCK, stack[top - 1], stack[top], stack[top - 1]);
        } else {
            dp__apply(op, DP__SHEET_BLOCK, stack[top - 1], NULL, stack[top - 1]);
        }
    }
    memcpy(out, stack[0], sizeof stack[0]);
}

/* One function on one sheet, with what is found. */
typedef struct dp__scales_fit {
    const dp__plan *plan;
    const dp__sheet *sheet;
    const dp__program *program;
    int form;
    double *value;              /* (rows): p f */
    double *residual, *next;    /* (rows) */
    double *jacobian;           /* (scale_count, rows) */
    double *a, *c;              /* (sets): A with all constants in it, C */
    double theta[DP_SCALES_MAX]; /* ln(scale) */
} dp__scales_fit;

static size_t dp__scales_size(const dp__plan *p, const dp__sheet *s) {
    return (3 + p->scale_count) * s->rows + 2 * s->sets;
}

static void dp__scales_open(dp__scales_fit *f, const dp__plan *p, const dp__sheet *s,
                            double *memory) {
    memset(f, 0, sizeof *f);
    f->plan = p;
    f->sheet = s;
    f->value = memory;
    f->residual = f->value + s->rows;
    f->next = f->residual + s->rows;
    f->jacobian = f->next + s->rows;
    f->a = f->jacobian + p->scale_count * s->rows;
    f->c = f->a + s->sets;
}

/* exp(sum over scales of power theta) for each leaf; the return value: for p. */
static double dp__factors(const dp__plan *p, const double *theta, double *factor) {
    double sum = 0.0;
    size_t l, k;
    for (l = 0; l < p->leaf_count; l++) {
        double s = 0.0;
        for (k = 0; k < p->scale_count; k++) s += theta[k] * p->power[l][k];
        factor[l] = s == 0.0 ? 1.0 : exp(s);
    }
    for (k = 0; k < p->scale_count; k++) sum += theta[k] * p->target_power[k];
    return exp(sum);
}

typedef struct dp__sums {
    double w, g, y, gg, gy;
} dp__sums;

static dp__sums dp__sums_of(const dp__scales_fit *f, size_t first, size_t last, double g0,
                            double y0) {
    const dp__sheet *s = f->sheet;
    dp__sums sum = DP__ZERO;
    size_t i;
    for (i = first; i < last; i++) {
        double w = s->weight[i], g = f->value[i] - g0, y = s->y[i] - y0;
        sum.w += w;
        sum.g += w * g;
        sum.y += w * y;
        sum.gg += w * g * g;
        sum.gy += w * g * y;
    }
    return sum;
}

/* A and C of the rows [first,last) of sets [set,end): about the means, for accuracy. */
static int dp__project(dp__scales_fit *f, size_t set, size_t end, double gain) {
    const dp__sheet *s = f->sheet;
    const dp_symbol *offset = &f->plan->symbols[f->plan->offset != DP__NONE ? f->plan->offset : 0];
    int with_c = f->form & DP__FORM_C, each = with_c && offset->kind == DP_SPECIFIC;
    double gg = 0.0, gy = 0.0, raw = 0.0, a;
    size_t d, step = each ? 1 : end - set;
    for (d = set; d < end; d += step) {
        dp__sums m = dp__sums_of(f, s->start[d], s->start[d + step], 0.0, 0.0), k = m;
        if (with_c && m.w > 0.0)
            k = dp__sums_of(f, s->start[d], s->start[d + step], m.g / m.w, m.y / m.w);
        gg += k.gg;
        gy += k.gy;
        raw += m.gg;
        f->a[d] = m.w > 0.0 ? m.g / m.w : 0.0;
        f->c[d] = m.w > 0.0 ? m.y / m.w : 0.0;
    }
    if (!dp__is_finite(gg) || !(raw > 0.0) || (with_c && gg < 1e-20 * raw)) return 0;
    a = f->form & DP__FORM_A ? gy / gg : gain;
    for (d = set; d < end; d += step) {
        double c = with_c ? f->c[d] - a * f->a[d] : 0.0;
        size_t i;
        for (i = d; i < d + step; i++) {
            f->a[i] = a;
            f->c[i] = c;
        }
    }
    return dp__is_finite(a);
}

/* The sum of squares that the best A and C leave at theta, and the residuals; HUGE_VAL where f is
 * not finite. */
static double dp__scales_cost(dp__scales_fit *f, const double *theta, double *residual) {
    const dp__sheet *s = f->sheet;
    const dp__plan *p = f->plan;
    double factor[DP__LEAVES], cost = 0.0, gain = dp__factors(p, theta, factor);
    size_t symbol = p->amplitude != DP__NONE ? p->amplitude : p->number, b, d, i;
    int each = (f->form & DP__FORM_A) && p->symbols[symbol].kind == DP_SPECIFIC;
    for (b = 0; b < s->rows; b += DP__SHEET_BLOCK) {
        dp__program_run(f->program, s->leaf + b, s->rows, factor, NULL, 0, f->value + b);
        for (i = b; i < b + DP__SHEET_BLOCK; i++) f->value[i] *= s->prefactor[i];
    }
    for (d = 0; d < s->sets; d += each ? 1 : s->sets)
        if (!dp__project(f, d, each ? d + 1 : s->sets, gain)) return HUGE_VAL;
    for (d = 0; d < s->sets; d++)
        for (i = s->start[d]; i < s->start[d + 1]; i++) {
            residual[i] = sqrt(s->weight[i]) * (s->y[i] - f->a[d] * f->value[i] - f->c[d]);
            cost += residual[i] * residual[i];
        }
    return dp__is_finite(cost) ? cost : HUGE_VAL;
}

/* Solves (m + lambda diag m) x = b, n <= DP_SCALES_MAX. */
static int dp__solve_damped(size_t n, const double *m, double lambda, const double *b, double *x) {
    double l[DP_SCALES_MAX * DP_SCALES_MAX];
    size_t i;
    memcpy(l, m, n * n * sizeof *l);
    for (i = 0; i < n; i++) l[i * n + i] *= 1.0 + lambda;
    if (!dp__factorise(n, l)) return 0;
    memcpy(x, b, n * sizeof *x);
    dp__factor_solve(n, l, x);
    return 1;
}

/* Gradient and normal matrix of the projected residual by forward differences: 1e-6 is where their
 * truncation (1e-6) still is above rounding (1e-10). A scale that f does not feel gets a 1 on the
 * diagonal. */
static int dp__scales_normal(dp__scales_fit *f, double *matrix, double *gradient) {
    size_t n = f->plan->scale_count, rows = f->sheet->rows, i, j, k;
    const double step = 1e-6;
    for (k = 0; k < n; k++) {
        double theta[DP_SCALES_MAX], *column = f->jacobian + k * rows;
        memcpy(theta, f->theta, sizeof theta);
        theta[k] += step;
        if (dp__scales_cost(f, theta, column) == HUGE_VAL) return 0;
        for (i = 0; i < rows; i++) column[i] = (column[i] - f->residual[i]) / step;
    }
    for (k = 0; k < n; k++) {
        gradient[k] = 0.0;
        for (i = 0; i < rows; i++) gradient[k] -= f->jacobian[k * rows + i] * f->residual[i];
        for (j = 0; j <= k; j++) {
            double s = 0.0;
            for (i = 0; i < rows; i++) s += f->jacobian[k * rows + i] * f->jacobian[j * rows + i];
            matrix[k * n + j] = matrix[j * n + k] = s;
        }
    }
    for (k = 0; k < n; k++)
        if (matrix[k * n + k] < 1e-20 * f->sheet->unit) matrix[k * n + k] = 1.0;
    return 1;
}

/* From theta to a minimum nearby; the NRMSE. Given up when it is 30 times `wanted` after a step, 3
 * times after more, and does not fall as where Gauss-Newton converges quadratically. */
static double dp__scales_refine(dp__scales_fit *f, double wanted, size_t iterations) {
    size_t n = f->plan->scale_count, it, k, rows = f->sheet->rows;
    double matrix[DP_SCALES_MAX * DP_SCALES_MAX], gradient[DP_SCALES_MAX], x[DP_SCALES_MAX];
    double lambda = 1e-3, cost = dp__scales_cost(f, f->theta, f->residual), wanted_cost;
    wanted_cost = wanted * wanted * f->sheet->unit;
    for (it = 0; it < iterations && n && cost < HUGE_VAL && cost > 0.0; it++) {
        double before = cost, largest = 0.0;
        int tries;
        if (!dp__scales_normal(f, matrix, gradient)) break;
        for (tries = 0; tries < 6; tries++, lambda *= 10.0) {
            double theta[DP_SCALES_MAX], now;
            if (!dp__solve_damped(n, matrix, lambda, gradient, x)) continue;
            for (k = 0; k < n; k++) {
                x[k] = fmax(-1.5, fmin(1.5, x[k])); /* a factor of 4.5 at most */
                theta[k] = f->theta[k] + x[k];
            }
            now = dp__scales_cost(f, theta, f->next);
            if (!(now < cost)) continue;
            memcpy(f->theta, theta, n * sizeof *theta);
            memcpy(f->residual, f->next, rows * sizeof *f->next);
            cost = now;
            lambda *= 0.1;
            break;
        }
        for (k = 0; k < n; k++) largest = fmax(largest, fabs(x[k]));
        if (tries == 6 || largest < 1e-10 || cost > before * (1.0 - 1e-9)) break;
        if (cost > (it ? 9.0 : 900.0) * wanted_cost && cost > (it ? 0.3 : 0.1) * before) break;
    }
    cost = dp__scales_cost(f, f->theta, f->residual); /* A and C are those of theta again */
    return cost < HUGE_VAL ? sqrt(cost / f->sheet->unit) : HUGE_VAL;
}
