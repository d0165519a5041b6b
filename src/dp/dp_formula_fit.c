/* ---- formulas: constants from data --------------------------------------------------------------
 *
 * Levenberg-Marquardt on F = sum of w (y - f)^2. The normal equations (J^T w J) step = J^T w (y -
 * f) have the form of an arrow: constants of one data set meet the free ones, not those of other
 * sets; they are eliminated set by set. Matrices are scaled to a diagonal of one before they are
 * decomposed, and damped there (Marquardt). Constants in which f is linear are not damped, and
 * after each step they are solved for with the others as they are: steps of the others are then
 * those of variable projection (Ruhe & Wedin 1980, algorithm 2; Kaufman 1975). */

enum { DP__FIT_MOST = DP_SYMBOLS_MAX }; /* constants of one set */

/* Normal equations at one point: f free constants, s specific ones of each of m sets. */
typedef struct dp__fit_normal {
    double loss;
    double *ff, *fs, *ss; /* (f,f), (m,s,f), (m,s,s) */
    double *g;            /* (f + m s): J^T w (y - f) */
} dp__fit_normal;

struct dp_fitter {
    dp__arena arena;
    const dp_vocabulary *v;
    const dp_data_set *sets;
    dp_fitter_desc d;
    size_t m, f, s, count; /* sets, free, specific constants, f + m s */
    double weight, scale;  /* sum of weights, standard deviation of y */
    double *start;         /* (count), none of them zero unless the caller's are */
    double *here, *trial, *step, *best, *size; /* (count); size: diagonal before scaling */
    dp__fit_normal normal[2];
    double *l, *w, *z, *inverse; /* (m,s,s), (m,s,f), (m,s), (m,s): the sets' decompositions */
};

/* One formula. */
typedef struct dp__fit_task {
    dp_fitter *fitter;
    dp__tape tape;
    uint64_t all, linear; /* constants that occur; that are solved for in closed form */
    int needed[DP_FORMULA_MAX], needed_linear[DP_FORMULA_MAX];
    size_t iterations;
} dp__fit_task;

static size_t dp__fit_place(const dp_fitter *x, size_t set, size_t j) {
    return j < x->f ? j : x->f + set * x->s + (j - x->f);
}

/* ---- sums over the data ---- */

static double dp__fit_dot(const double *a, const double *b, size_t n) {
    double s[4] = {0.0, 0.0, 0.0, 0.0};
    size_t k = 0;
    for (; k + 4 <= n; k += 4) {
        s[0] += a[k] * b[k];
        s[1] += a[k + 1] * b[k + 1];
        s[2] += a[k + 2] * b[k + 2];
        s[3] += a[k + 3] * b[k + 3];
    }
    for (; k < n; k++) s[0] += a[k] * b[k];
    return s[0] + s[1] + (s[2] + s[3]);
}

/* Sums of one set. */
typedef struct dp__fit_sums {
    size_t count, index[DP__FIT_MOST]; /* active constants */
    double loss, g[DP__FIT_MOST], h[DP__FIT_MOST][DP__FIT_MOST];
    double slope[DP__FIT_MOST][DP__TAPE_ROWS], weighted[DP__TAPE_ROWS];
    double residual[DP__TAPE_ROWS];
    dp__tape_work work;
} dp__fit_sums;

/* Adds n rows, whose slopes are known. A row whose slope is not finite, as that of sqrt(b x) at x =
 * 0, does not count for this constant. */
static void dp__fit_add(dp__fit_sums *s, size_t n, const double *weight) {
    size_t a, b, k;
    for (a = 0; a < s->count; a++) {
        double *slope = s->slope[s->index[a]], sum;
        for (k = 0; k < n; k++) s->weighted[k] = weight ? weight[k] * slope[k] : slope[k];
        sum = dp__fit_dot(s->weighted, slope, n);
        if (!dp__is_finite(sum)) {
            for (k = 0; k < n; k++) {
                if (!dp__is_finite(slope[k])) slope[k] = 0.0;
                s->weighted[k] = weight ? weight[k] * slope[k] : slope[k];
            }
            sum = dp__fit_dot(s->weighted, slope, n);
        }
        s->h[a][a] += sum;
        s->g[a] += dp__fit_dot(s->weighted, s->residual, n);
        for (b = 0; b < a; b++)
            s->h[a][b] += dp__fit_dot(s->weighted, s->slope[s->index[b]], n);
    }
}

/* One set; 0 when the formula is not finite at a point. */
static int dp__fit_set(const dp__fit_task *task, const dp_data_set *set, const double *constants,
                       const int *needed, dp__fit_sums *s) {
    size_t first, k, a;
    for (first = 0; first < set->n; first += DP__TAPE_ROWS) {
        size_t n = set->n - first < (size_t)DP__TAPE_ROWS ? set->n - first : (size_t)DP__TAPE_ROWS;
        const double *weight = set->weights ? set->weights + first : NULL, *value;
        double sum = 0.0;
        dp__tape_block(&task->tape, first, n, set->columns, constants, &s->work);
        value = s->work.at[0];
        for (k = 0; k < n; k++) {
            double r = set->y[first + k] - value[k];
            s->residual[k] = r;
            sum += weight ? weight[k] * r * r : r * r;
        }
        if (!dp__is_finite(sum)) return 0;
        s->loss += sum;
        if (s->count == 0) continue;
        for (a = 0; a < s->count; a++) memset(s->slope[s->index[a]], 0, n * sizeof(double));
        dp__tape_descend(&task->tape, n, needed, &s->work);
        dp__tape_collect(&task->tape, n, needed, &s->work, s->slope[0], NULL, DP__TAPE_ROWS);
        dp__fit_add(s, n, weight);
    }
    return 1;
}

/* Puts the sums of a set where they belong. */
static void dp__fit_scatter(const dp_fitter *x, size_t set, const dp__fit_sums *s,
                            dp__fit_normal *to) {
    size_t a, b;
    to->loss += s->loss;
    for (a = 0; a < s->count; a++) {
        size_t i = s->index[a];
        to->g[dp__fit_place(x, set, i)] += s->g[a];
        for (b = 0; b <= a; b++) {
            size_t j = s->index[b]; /* j <= i */
            double h = s->h[a][b];
            if (i < x->f) to->ff[i * x->f + j] += h;
            else if (j < x->f) to->fs[(set * x->s + i - x->f) * x->f + j] += h;
            else to->ss[(set * x->s + i - x->f) * x->s + j - x->f] += h;
        }
    }
}

/* The normal equations for the constants in `active`; 0 when the formula is not finite. */
static int dp__fit_sum(const dp__fit_task *task, const double *constants, uint64_t active,
                       dp__fit_normal *to) {
    const dp_fitter *x = task->fitter;
    const int *needed = active == task->all ? task->needed : task->needed_linear;
    double local[DP__FIT_MOST];
    dp__fit_sums s;
    size_t set, j, a;
    to->loss = 0.0;
    memset(to->ff, 0, x->f * x->f * sizeof *to->ff);
    memset(to->fs, 0, x->m * x->s * x->f * sizeof *to->fs);
    memset(to->ss, 0, x->m * x->s * x->s * sizeof *to->ss);
    memset(to->g, 0, x->count * sizeof *to->g);
    s.count = 0;
    for (j = 0; j < x->f + x->s; j++)
        if (active >> j & 1) s.index[s.count++] = j;
    for (set = 0; set < x->m; set++) {
        for (j = 0; j < x->f + x->s; j++) local[j] = constants[dp__fit_place(x, set, j)];
        s.loss = 0.0;
        memset(s.g, 0, sizeof s.g);
        for (a = 0; a < s.count; a++) memset(s.h[a], 0, (a + 1) * sizeof s.h[a][0]);
        if (!dp__fit_set(task, x->sets + set, local, needed, &s)) return 0;
        dp__fit_scatter(x, set, &s, to);
    }
    return dp__is_finite(to->loss);
}

/* ---- the arrow ---- */

/* L L^T = m (p,p; lower half, replaced), inverse (p): of L's diagonal. Where the squared sine of a
 * column to those before it is below 1e-13, rounding decides: the inverse 0 keeps its step 0. */
static void dp__fit_decompose(double *m, size_t p, double *inverse) {
    size_t i, j, k;
    for (j = 0; j < p; j++)
        for (i = j; i < p; i++) {
            double sum = m[i * p + j];
            for (k = 0; k < j; k++) sum -= m[i * p + k] * m[j * p + k];
            if (i == j) inverse[j] = sum > 1e-13 ? 1.0 / sqrt(sum) : 0.0;
            m[i * p + j] = sum * inverse[j];
        }
}

static void dp__fit_forward(const double *l, size_t p, const double *inverse, double *x,
                            size_t stride) {
    size_t i, k;
    for (i = 0; i < p; i++) {
        for (k = 0; k < i; k++) x[i * stride] -= l[i * p + k] * x[k * stride];
        x[i * stride] *= inverse[i];
    }
}

static void dp__fit_back(const double *l, size_t p, const double *inverse, double *x) {
    size_t i, k;
    for (i = p; i-- > 0;) {
        for (k = i + 1; k < p; k++) x[i] -= l[k * p + i] * x[k];
        x[i] *= inverse[i];
    }
}

/* The roots of the diagonal into size, 1 where there is nothing. */
static void dp__fit_sizes(dp_fitter *x, const dp__fit_normal *e) {
    size_t i;
    for (i = 0; i < x->count; i++) {
        size_t k = i < x->f ? 0 : i - x->f;
        double diagonal = i < x->f ? e->ff[i * x->f + i] : e->ss[k * x->s + k % x->s];
        x->size[i] = diagonal > 0.0 ? sqrt(diagonal) : 1.0;
    }
}

/* The diagonal of the scaled matrix for local constant j; one that is not there has none of its
 * own, and needs 1. */
static double dp__fit_diagonal(const dp__fit_task *task, double own, size_t j, double damping) {
    double more = task->linear >> j & 1 ? 0.0 : damping;
    return own > 0.0 ? 1.0 + more : 1.0;
}

/* Eliminates the constants of a set: w, z and its part of the free constants' matrix and vector. */
static void dp__fit_eliminate(const dp__fit_task *task, const dp__fit_normal *e, size_t set,
                              double damping, double *matrix, double *vector) {
    const dp_fitter *x = task->fitter;
    size_t f = x->f, s = x->s, i, j, k;
    double *l = x->l + set * s * s, *w = x->w + set * s * f, *z = x->z + set * s;
    double *inverse = x->inverse + set * s;
    const double *ss = e->ss + set * s * s, *size = x->size + f + set * s;
    for (i = 0; i < s; i++) {
        for (j = 0; j < i; j++) l[i * s + j] = ss[i * s + j] / (size[i] * size[j]);
        l[i * s + i] = dp__fit_diagonal(task, ss[i * s + i], f + i, damping);
        for (j = 0; j < f; j++)
            w[i * f + j] = e->fs[(set * s + i) * f + j] / (size[i] * x->size[j]);
        z[i] = e->g[f + set * s + i] / size[i];
    }
    dp__fit_decompose(l, s, inverse);
    dp__fit_forward(l, s, inverse, z, 1);
    for (j = 0; j < f; j++) dp__fit_forward(l, s, inverse, w + j, f);
    for (k = 0; k < s; k++)
        for (i = 0; i < f; i++) {
            vector[i] -= w[k * f + i] * z[k];
            for (j = 0; j <= i; j++) matrix[i * f + j] -= w[k * f + i] * w[k * f + j];
        }
}

/* Solves for x->step with this damping; returns by how much F falls if f were linear. */
static double dp__fit_solve(const dp__fit_task *task, const dp__fit_normal *e, double damping) {
    dp_fitter *x = task->fitter;
    double matrix[DP__FIT_MOST * DP__FIT_MOST], inverse[DP__FIT_MOST], *step = x->step;
    double fall = 0.0;
    size_t f = x->f, s = x->s, i, j, set;
    dp__fit_sizes(x, e);
    for (i = 0; i < f; i++) {
        for (j = 0; j < i; j++) matrix[i * f + j] = e->ff[i * f + j] / (x->size[i] * x->size[j]);
        matrix[i * f + i] = dp__fit_diagonal(task, e->ff[i * f + i], i, damping);
        step[i] = e->g[i] / x->size[i];
    }
    for (set = 0; set < x->m && s > 0; set++)
        dp__fit_eliminate(task, e, set, damping, matrix, step);
    dp__fit_decompose(matrix, f, inverse);
    dp__fit_forward(matrix, f, inverse, step, 1);
    dp__fit_back(matrix, f, inverse, step);
    for (set = 0; set < x->m && s > 0; set++) {
        double *z = step + f + set * s;
        for (i = 0; i < s; i++) {
            z[i] = x->z[set * s + i];
            for (j = 0; j < f; j++) z[i] -= x->w[(set * s + i) * f + j] * step[j];
        }
        dp__fit_back(x->l + set * s * s, s, x->inverse + set * s, z);
    }
    for (i = 0; i < x->count; i++) {
        size_t local = i < f ? i : f + (i - f) % s;
        double damped = task->linear >> local & 1 ? 0.0 : damping * step[i] * step[i];
        fall += damped + step[i] * e->g[i] / x->size[i];
        step[i] /= x->size[i];
    }
    return fall;
}

/* ---- one start ---- */

/* Solves for the linear constants, with the others as they are; 0 when the formula is not finite.
 * A constant that is large by chance costs digits: the second solution has them back. */
static int dp__fit_project(dp__fit_task *task, double *constants, dp__fit_normal *e, int twice) {
    dp_fitter *x = task->fitter;
    size_t i;
    int round;
    for (round = 0; round < 1 + twice && task->linear; round++) {
        if (!dp__fit_sum(task, constants, task->linear, e)) return 0;
        dp__fit_solve(task, e, 0.0);
        for (i = 0; i < x->count; i++) constants[i] += x->step[i];
    }
    return 1;
}

static double dp__fit_nrmse(const dp_fitter *x, double loss) {
    return sqrt(loss / x->weight) / x->scale;
}

enum { DP__FIT_FAILED = 0, DP__FIT_ENDED, DP__FIT_CONVERGED };

/* From x->here down; *loss is F there. The damping's rule: Nielsen's, in Madsen et al. (2004). */
static int dp__fit_descend(dp__fit_task *task, double *loss) {
    dp_fitter *x = task->fitter;
    dp__fit_normal *e = &x->normal[0], *next = &x->normal[1];
    double damping = 1e-3, growth = 2.0;
    size_t i, iteration;
    if (!dp__fit_project(task, x->here, next, 1) || !dp__fit_sum(task, x->here, task->all, e))
        return DP__FIT_FAILED;
    for (iteration = 0; iteration < x->d.iterations; iteration++) {
        double fall = dp__fit_solve(task, e, damping), gain, fallen = -1.0;
        dp__fit_normal *swap = e;
        *loss = e->loss;
        if (fall <= x->d.tolerance * e->loss && damping < 1.0) return DP__FIT_CONVERGED;
        task->iterations++;
        for (i = 0; i < x->count; i++) x->trial[i] = x->here[i] + x->step[i];
        if ((task->linear == task->all || dp__fit_project(task, x->trial, next, 0)) &&
            dp__fit_sum(task, x->trial, task->all, next))
            fallen = e->loss - next->loss;
        if (!(fallen > 0.0)) {
            if (dp__fit_nrmse(x, e->loss) < x->d.enough) return DP__FIT_CONVERGED;
            damping *= growth;
            growth *= 2.0;
            if (damping > 1e12) return DP__FIT_CONVERGED; /* no step leads down */
            continue;
        }
        gain = 2.0 * fallen / fmax(fall, DBL_MIN) - 1.0;
        damping *= fmax(1.0 / 3.0, 1.0 - gain * gain * gain);
        growth = 2.0;
        e = next;
        next = swap;
        memcpy(x->here, x->trial, x->count * sizeof *x->here);
        *loss = e->loss;
        if (fallen <= x->d.tolerance * (fallen + e->loss)) return DP__FIT_CONVERGED;
    }
    return DP__FIT_ENDED;
}

/* ---- starts ---- */

/* Constants in which the tree at node i is linear, of those that occur once: of a product, on the
 * side that has more of them. */
static uint64_t dp__fit_linear(const dp__tape *t, size_t i, uint64_t once, size_t *count) {
    size_t left = 0, right = 0;
    uint64_t a, b;
    *count = 0;
    if (t->token[i] >= (size_t)DP_OPERATORS) {
        int constant = t->kind[i] == DP_FREE || t->kind[i] == DP_SPECIFIC;
        *count = constant && (once >> t->leaf[i] & 1);
        return *count ? (uint64_t)1 << t->leaf[i] : 0;
    }
    if (t->token[i] != (size_t)DP_NEG && t->token[i] > (size_t)DP_DIV) return 0;
    a = dp__fit_linear(t, i + 1, once, &left);
    *count = left;
    if (t->token[i] == (size_t)DP_NEG || t->token[i] == (size_t)DP_DIV) return a;
    b = dp__fit_linear(t, t->right[i], once, &right);
    *count = t->token[i] != (size_t)DP_MUL ? left + right : left >= right ? left : right;
    return t->token[i] != (size_t)DP_MUL ? a | b : left >= right ? a : b;
}

static int dp__fit_open(dp__fit_task *task, dp_fitter *x, const dp_formula *f) {
    uint64_t once = 0, more = 0;
    size_t i, at;
    task->fitter = x;
    task->iterations = 0;
    if (dp__tape_open(&task->tape, x->v, f, &at)) return 0;
    for (i = 0; i < task->tape.length; i++) {
        uint64_t bit;
        if (task->tape.token[i] < (size_t)DP_OPERATORS || task->tape.kind[i] == DP_VARIABLE ||
            task->tape.kind[i] == DP_FIXED)
            continue;
        bit = (uint64_t)1 << task->tape.leaf[i];
        more |= once & bit;
        once |= bit;
    }
    task->all = once;
    task->linear = dp__fit_linear(&task->tape, 0, once & ~more, &at);
    dp__tape_mark(&task->tape, task->all, 0, task->needed);
    dp__tape_mark(&task->tape, task->linear, 0, task->needed_linear);
    return 1;
}

/* The constants of start number `number` into here. */
static void dp__fit_begin(const dp__fit_task *task, uint64_t number) {
    const dp_fitter *x = task->fitter;
    uint64_t vary = number > 0 ? task->all & ~task->linear : 0;
    size_t i;
    for (i = 0; i < x->count; i++) {
        size_t local = i < x->f ? i : x->f + (i - x->f) % x->s;
        x->here[i] = x->start[i];
        if (!(vary >> local & 1)) continue;
        x->here[i] *= exp(x->d.spread * af_random_normal(x->d.seed, 2 * number, i));
        if (af_random_uniform(x->d.seed, 2 * number + 1, i) < 0.25) x->here[i] = -x->here[i];
    }
}

AF_API af_status dp_fitter_run(dp_fitter *x, const dp_formula *f, double *constants,
                               dp_fit_report *report) {
    dp__fit_task task;
    dp_fit_report r = DP__ZERO;
    double lowest = HUGE_VAL;
    size_t starts;
    if (!dp__fit_open(&task, x, f)) return AF_ERROR_ARGUMENT;
    starts = task.all == task.linear ? 1 : x->d.starts;
    while (r.starts < starts && !(dp__fit_nrmse(x, lowest) < x->d.enough)) {
        double loss = HUGE_VAL;
        int end;
        dp__fit_begin(&task, r.starts++);
        end = dp__fit_descend(&task, &loss);
        if (end == DP__FIT_FAILED || !(loss < lowest)) continue;
        lowest = loss;
        r.converged = end == DP__FIT_CONVERGED;
        memcpy(x->best, x->here, x->count * sizeof *x->best);
    }
    if (lowest == HUGE_VAL) return AF_ERROR_NONFINITE;
    r.iterations = task.iterations;
    r.chi2 = lowest;
    r.nrmse = dp__fit_nrmse(x, lowest);
    memcpy(constants, x->best, x->count * sizeof *constants);
    if (report) *report = r;
    return AF_OK;
}

/* ---- the object ---- */

static af_status dp__fit_check_set(af_context *c, const dp_vocabulary *v, const dp_data_set *set,
                                   size_t number) {
    size_t variables = dp_vocabulary_count(v, DP_VARIABLE), i, k;
    if (set->n > 0 && (!set->y || (variables && !set->columns)))
        return af_fail(c, AF_ERROR_ARGUMENT, "fit of a formula: data set %lu lacks y or columns",
                       (unsigned long)number);
    for (i = 0; i < set->n; i++) {
        double sum = set->y[i] + (set->weights ? set->weights[i] : 0.0);
        for (k = 0; k < variables && dp__is_finite(sum); k++)
            if (!dp__is_finite(set->columns[k][i])) sum = set->columns[k][i];
        if (!dp__is_finite(sum))
            return af_fail(c, AF_ERROR_DATA,
                           "fit of a formula: point %lu of data set %lu is not finite",
                           (unsigned long)i, (unsigned long)number);
        if (set->weights && set->weights[i] < 0.0)
            return af_fail(c, AF_ERROR_DATA,
                           "fit of a formula: the weight of point %lu of data set %lu is below "
                           "zero",
                           (unsigned long)i, (unsigned long)number);
    }
    return AF_OK;
}

/* The sum of weights and the standard deviation of y. */
static af_status dp__fit_scale(af_context *c, dp_fitter *x) {
    double mean = 0.0, square = 0.0;
    size_t set, i, pass;
    for (pass = 0; pass < 2; pass++)
        for (set = 0; set < x->m; set++)
            for (i = 0; i < x->sets[set].n; i++) {
                double w = x->sets[set].weights ? x->sets[set].weights[i] : 1.0;
                double y = x->sets[set].y[i];
                if (pass == 0) x->weight += w;
                if (pass == 0) mean += w * y;
                else square += w * (y - mean / x->weight) * (y - mean / x->weight);
            }
    if (!(x->weight > 0.0))
        return af_fail(c, AF_ERROR_DATA, "fit of a formula: no point has a weight");
    x->scale = sqrt(square / x->weight);
    /* below the rounding of the mean nothing is left to be fitted */
    if (!(x->scale > 4.0 * DBL_EPSILON * fabs(mean / x->weight)) || !dp__is_finite(x->scale))
        return af_fail(c, AF_ERROR_DATA, "fit of a formula: y is the same at all points");
    return AF_OK;
}

static void dp__fit_defaults(dp_fitter *x) {
    const double *start = x->d.start;
    size_t i, k, free_one = 0, specific = 0;
    if (x->d.starts == 0) x->d.starts = 5;
    if (x->d.iterations == 0) x->d.iterations = 60;
    if (x->d.spread == 0.0) x->d.spread = 1.5;
    if (x->d.tolerance == 0.0) x->d.tolerance = 1e-10;
    if (x->d.enough == 0.0) x->d.enough = 1e-9;
    for (i = 0; i < x->v->symbol_count; i++) {
        const dp_symbol *s = x->v->symbols + i;
        double value = s->value == 0.0 ? 1.0 : s->value;
        if (s->kind == DP_FREE) x->start[free_one++] = value;
        if (s->kind != DP_SPECIFIC) continue;
        for (k = 0; k < x->m; k++) x->start[x->f + k * x->s + specific] = value;
        specific++;
    }
    if (start) memcpy(x->start, start, x->count * sizeof *x->start);
    x->d.start = NULL;
}

static int dp__fit_memory(dp_fitter *x) {
    dp__arena *arena = &x->arena;
    size_t f = x->f, s = x->s, m = x->m, k;
    double **vectors[6];
    vectors[0] = &x->start;
    vectors[1] = &x->here;
    vectors[2] = &x->trial;
    vectors[3] = &x->step;
    vectors[4] = &x->best;
    vectors[5] = &x->size;
    for (k = 0; k < 6; k++)
        if (!(*vectors[k] = DP__ARRAY(arena, double, x->count))) return 0;
    for (k = 0; k < 2; k++) {
        dp__fit_normal *e = &x->normal[k];
        if (!(e->ff = DP__ARRAY(arena, double, f * f)) ||
            !(e->fs = DP__ARRAY(arena, double, m * s * f)) ||
            !(e->ss = DP__ARRAY(arena, double, m * s * s)) ||
            !(e->g = DP__ARRAY(arena, double, x->count)))
            return 0;
    }
    return (x->l = DP__ARRAY(arena, double, m * s * s)) != NULL &&
           (x->w = DP__ARRAY(arena, double, m * s * f)) != NULL &&
           (x->z = DP__ARRAY(arena, double, m * s)) != NULL &&
           (x->inverse = DP__ARRAY(arena, double, m * s)) != NULL;
}

static af_status dp__fit_create(af_context *c, dp_fitter *x) {
    size_t set, i;
    af_status s = AF_OK;
    for (set = 0; set < x->m && s == AF_OK; set++)
        s = dp__fit_check_set(c, x->v, x->sets + set, set);
    if (s == AF_OK) s = dp__fit_scale(c, x);
    if (s != AF_OK) return s;
    if (!dp__fit_memory(x)) return dp__fail_memory(c, "the fit of a formula");
    dp__fit_defaults(x);
    for (i = 0; i < x->count; i++)
        if (!dp__is_finite(x->start[i]))
            return af_fail(c, AF_ERROR_ARGUMENT,
                           "fit of a formula: the start of constant %lu is not finite",
                           (unsigned long)i);
    return AF_OK;
}

AF_API af_status dp_fitter_create(af_context *c, const dp_vocabulary *v, const dp_data_set *sets,
                                  size_t set_count, const dp_fitter_desc *desc, dp_fitter **out) {
    dp__arena arena = dp__arena_open(c);
    dp_fitter *x;
    af_status s = dp_vocabulary_check(c, v);
    *out = NULL;
    if (s != AF_OK) return s;
    if (desc && (desc->start_canary != 0 || desc->end_canary != 0))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "fit of a formula: dp_fitter_desc was not initialised to zero");
    if (desc && !(desc->spread >= 0.0 && desc->tolerance >= 0.0 && desc->enough >= 0.0))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "fit of a formula: spread, tolerance and enough must not be below zero");
    x = DP__NEW(&arena, dp_fitter);
    if (!x) return dp__fail_memory(c, "the fit of a formula");
    x->arena = arena;
    x->v = v;
    x->sets = sets;
    x->m = set_count;
    x->f = dp_vocabulary_count(v, DP_FREE);
    x->s = dp_vocabulary_count(v, DP_SPECIFIC);
    x->count = x->f + x->m * x->s;
    if (desc) x->d = *desc;
    s = dp__fit_create(c, x);
    if (s == AF_OK) *out = x;
    else dp_fitter_destroy(x);
    return s;
}

AF_API void dp_fitter_destroy(dp_fitter *x) {
    dp__arena arena;
    if (!x) return;
    arena = x->arena;
    dp__arena_free(&arena);
}

/* Other constants to begin with. */
static void dp__fitter_start(dp_fitter *x, const double *start) {
    memcpy(x->start, start, x->count * sizeof *start);
}

AF_API size_t dp_fitter_constants(const dp_fitter *x) { return x->count; }

AF_API af_status dp_formula_fit(af_context *c, const dp_vocabulary *v, const dp_formula *f,
                                const dp_data_set *sets, size_t set_count,
                                const dp_fitter_desc *desc, double *constants,
                                dp_fit_report *report) {
    dp_fitter *x;
    char text[160];
    dp__tape t;
    size_t at;
    af_status s = dp_formula_check(c, v, f);
    if (s != AF_OK) return s;
    s = dp_fitter_create(c, v, sets, set_count, desc, &x);
    if (s != AF_OK) return s;
    s = dp_fitter_run(x, f, constants, report);
    if (s == AF_ERROR_NONFINITE) {
        dp__tape_open(&t, v, f, &at);
        dp__formula_part_text(v, &t, 0, text, sizeof text);
        s = af_fail(c, s,
                    "fit of a formula: %s is not finite at all points for any of %lu starts; give "
                    "values for its constants from which it is",
                    text, (unsigned long)x->d.starts);
    }
    dp_fitter_destroy(x);
    return s;
}
