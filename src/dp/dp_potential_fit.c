/* ---- the potential: residuals, losses, fits ----------------------------------------------------
 *
 * A point becomes a row of numbers without units, so that f32 loses nothing by cancellation: with
 * A = d ln f/dv, B = d ln f/dx, L = length, T = time, U = unit,
 *
 *     xi (3)    a = A U T/L (3)    b = B L (3)    v T/L (3)    drift = T v.B
 *     turn = x By - y Bx + vx Ay - vy Ax        weight (mean 1)   factor of r: 1, or f/median f
 *
 * and the frame's omega T, c = centre/L, u = u0 T/L, T d ln f/dt with w = Omega z x (v - u0) is
 *
 *     grad Phi . a - drift + u . b + omega (turn + cy bx - cx by + kappa (uy ax - ux ay)),
 *
 * kappa = L^2/(U T^2); with q = ln n to learn there is - (v - u(x)) . grad q beside. */

enum {
    DP__POINT_XI = 0, DP__POINT_A = 3, DP__POINT_B = 6, DP__POINT_V = 9, DP__POINT_DRIFT = 12,
    DP__POINT_TURN, DP__POINT_WEIGHT, DP__POINT_FACTOR, DP__POINT_ROW
};

/* A loss with its defaults filled in; time in units of the potential's. */
typedef struct dp__objective {
    const dp_potential *p;
    dp_loss_desc d;
} dp__objective;

static double dp__or(double value, double otherwise) { return value != 0.0 ? value : otherwise; }

static af_status dp__objective_open(const dp_potential *p, const dp_loss_desc *desc,
                                    dp__objective *o) {
    dp_loss_desc *d = &o->d;
    memset(o, 0, sizeof *o);
    o->p = p;
    if (desc) *d = *desc;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(p->c, AF_ERROR_ARGUMENT, "loss: dp_loss_desc was not initialised to zero");
    if ((int)d->loss < (int)DP_LOSS_DLNF || (int)d->loss > (int)DP_LOSS_DF)
        return af_fail(p->c, AF_ERROR_ARGUMENT, "loss: there is no loss %d", (int)d->loss);
    if (!(d->alpha >= 0.0 && d->beta >= 0.0 && d->rounding >= 0.0 && d->l2 >= 0.0 &&
          d->time >= 0.0) ||
        !dp__is_finite(d->alpha + d->beta + d->rounding + d->l2 + d->time + d->lambda))
        return af_fail(p->c, AF_ERROR_ARGUMENT,
                       "loss: alpha %g, beta %g, rounding %g, l2 %g and time %g must be finite and "
                       "not negative",
                       d->alpha, d->beta, d->rounding, d->l2, d->time);
    d->alpha = dp__or(d->alpha, 1.0);
    d->beta = dp__or(d->beta, 1.0);
    d->lambda = dp__or(d->lambda, 1.0);
    d->time = d->time > 0.0 ? d->time / p->time : 1.0;
    return AF_OK;
}

/* ---- rows ---- */

static af_status dp__points_check(const dp_potential *p, const dp_points *points, int need_f) {
    size_t i, k;
    double sum = 0.0;
    if (points->n == 0 || !points->eta || !points->gradient || (need_f && !points->ln_f))
        return af_fail(p->c, AF_ERROR_ARGUMENT, "potential: there are no %s",
                       points->n == 0 ? "points" : !points->eta ? "positions of the points"
                       : !points->gradient ? "gradients at the points" : "ln f at the points");
    for (i = 0; i < points->n; i++) {
        double w = points->weights ? points->weights[i] : 1.0;
        double all = need_f ? points->ln_f[i] : 0.0;
        for (k = 0; k < 6; k++) all += points->eta[6 * i + k] + points->gradient[6 * i + k];
        if (!dp__is_finite(all))
            return af_fail(p->c, AF_ERROR_DATA,
                           "potential: point %lu or its gradient is not finite; leave it out",
                           (unsigned long)i);
        if (!(w >= 0.0) || !dp__is_finite(w))
            return af_fail(p->c, AF_ERROR_DATA, "potential: point %lu has the weight %g",
                           (unsigned long)i, w);
        sum += w;
    }
    if (!(sum > 0.0)) return af_fail(p->c, AF_ERROR_DATA, "potential: all weights are zero");
    return AF_OK;
}

/* All but weight and factor. */
static void dp__point_row(const dp_potential *p, const double *eta, const double *gradient,
                          double *row) {
    const double *x = eta, *v = eta + 3, *b = gradient, *a = gradient + 3;
    size_t k;
    row[DP__POINT_DRIFT] = 0.0;
    for (k = 0; k < 3; k++) {
        row[DP__POINT_XI + k] = (x[k] - p->mean[k]) / p->length;
        row[DP__POINT_A + k] = a[k] * (p->unit * p->time / p->length);
        row[DP__POINT_B + k] = b[k] * p->length;
        row[DP__POINT_V + k] = v[k] * (p->time / p->length);
        row[DP__POINT_DRIFT] += p->time * v[k] * b[k];
    }
    row[DP__POINT_TURN] = x[0] * b[1] - x[1] * b[0] + v[0] * a[1] - v[1] * a[0];
}

/* Rows (n, DP__POINT_ROW) of the points. */
static af_status dp__point_rows(const dp__objective *o, const dp_points *points, dp__arena *arena,
                                double **rows) {
    const dp_potential *p = o->p;
    int need_f = o->d.loss == DP_LOSS_DF;
    double sum = 0.0, median = 0.0, *scratch;
    size_t i, n = points->n;
    af_status s = dp__points_check(p, points, need_f);
    if (s != AF_OK) return s;
    *rows = DP__ARRAY(arena, double, n *DP__POINT_ROW);
    scratch = DP__ARRAY(arena, double, need_f ? n : 0);
    if (!*rows || !scratch) return dp__fail_memory(p->c, "the points of a potential's fit");
    if (need_f) {
        memcpy(scratch, points->ln_f, n * sizeof *scratch);
        median = dp__median(scratch, n);
    }
    for (i = 0; i < n; i++) sum += points->weights ? points->weights[i] : 1.0;
    for (i = 0; i < n; i++) {
        double *row = *rows + i * DP__POINT_ROW;
        dp__point_row(p, points->eta + 6 * i, points->gradient + 6 * i, row);
        row[DP__POINT_WEIGHT] = (points->weights ? points->weights[i] : 1.0) * (double)n / sum;
        row[DP__POINT_FACTOR] = need_f ? exp(points->ln_f[i] - median) : 1.0;
    }
    return AF_OK;
}

/* ---- residual and loss as expressions ---- */

/* Three columns of rows as (3,b). */
static af_expr dp__columns3(af_context *c, af_expr rows, size_t first) {
    return af_transpose(c, af_slice(c, rows, -1, first, 3));
}

/* The sum over the first axis of x y, both (3,b), as (b). */
static af_expr dp__dot3(af_context *c, af_expr x, af_expr y) {
    size_t dims[AF_RANK_MAX] = {0};
    af_shape(c, x, dims);
    return af_reshape(c, af_sum_axis(c, af_mul(c, x, y), 0), 1, dims + 1);
}

/* The gradient (3,b,1) of (b,1) as (3,b). */
static af_expr dp__flat3(af_context *c, af_expr gradient) {
    size_t dims[AF_RANK_MAX] = {0};
    af_shape(c, gradient, dims);
    return af_reshape(c, gradient, 2, dims);
}

/* u . b + omega (turn + cy bx - cx by + kappa (uy ax - ux ay)), (b). */
static af_expr dp__frame_terms(const dp_potential *p, af_expr rows, af_expr frame) {
    af_context *c = p->c;
    double kappa = p->length * p->length / (p->unit * p->time * p->time);
    af_expr f[DP__FRAME], a[2], b[3], sum, turn;
    size_t k;
    for (k = 0; k < (size_t)DP__FRAME; k++) f[k] = dp__element(c, frame, k);
    for (k = 0; k < 2; k++) a[k] = dp__column(c, rows, DP__POINT_A + k);
    for (k = 0; k < 3; k++) b[k] = dp__column(c, rows, DP__POINT_B + k);
    turn = af_sub(c, af_mul(c, f[4], a[0]), af_mul(c, f[3], a[1]));
    turn = af_add(c, dp__column(c, rows, DP__POINT_TURN), af_scale(c, turn, kappa));
    turn = af_add(c, turn, af_sub(c, af_mul(c, f[2], b[0]), af_mul(c, f[1], b[1])));
    sum = af_mul(c, f[0], turn);
    for (k = 0; k < 3; k++) sum = af_add(c, sum, af_mul(c, f[3 + k], b[k]));
    return sum;
}

/* (v - u(x)) . grad ln n (b). */
static af_expr dp__density_term(const dp_potential *p, af_expr rows, af_expr xi, af_expr frame) {
    af_context *c = p->c;
    af_expr gradient, v[3], g, sum;
    size_t k, b = 0, dims[AF_RANK_MAX] = {0};
    af_laplacian(c, dp__ln_n(p, xi), xi, &gradient, NULL);
    g = dp__flat3(c, gradient);
    af_shape(c, rows, dims);
    b = dims[0];
    for (k = 0; k < 3; k++)
        v[k] = af_sub(c, dp__column(c, rows, DP__POINT_V + k), dp__element(c, frame, 3 + k));
    for (k = 0; k < 2; k++) { /* - omega z x (x - centre) */
        af_expr x = af_offset(c, dp__column(c, xi, 1 - k), p->mean[1 - k] / p->length);
        x = af_sub(c, x, dp__element(c, frame, 2 - k));
        x = af_mul(c, dp__element(c, frame, 0), x);
        v[k] = k == 0 ? af_add(c, v[k], x) : af_sub(c, v[k], x);
    }
    sum = af_constant(c, 0.0);
    for (k = 0; k < 3; k++)
        sum = af_add(c, sum, af_mul(c, v[k], af_reshape(c, af_slice(c, g, 0, k, 1), 1, &b)));
    return sum;
}

/* T d ln f/dt (b), eqs. 7 and 15, and the Laplacian times T^2 (b). */
static af_expr dp__residual(const dp_potential *p, af_expr rows, af_expr *laplacian) {
    af_context *c = p->c;
    af_expr xi = af_slice(c, rows, -1, DP__POINT_XI, 3), frame = dp__frame_expr(p);
    af_expr gradient, r, l;
    size_t dims[AF_RANK_MAX] = {0};
    double kappa = p->length * p->length / (p->unit * p->time * p->time);
    af_laplacian(c, dp__phi(p, xi), xi, &gradient, &l);
    r = dp__dot3(c, dp__flat3(c, gradient), dp__columns3(c, rows, DP__POINT_A));
    r = af_sub(c, r, dp__column(c, rows, DP__POINT_DRIFT));
    r = af_add(c, r, dp__frame_terms(p, rows, frame));
    if (p->density) r = af_sub(c, r, dp__density_term(p, rows, xi, frame));
    af_shape(c, l, dims);
    *laplacian = af_scale(c, af_reshape(c, l, 1, dims), 1.0 / kappa);
    return r;
}

/* asinh(s x)/s for x >= 0, without the loss of digits of ln(x + ...) at small x. */
static af_expr dp__asinh(af_context *c, af_expr x, double s) {
    af_expr x2 = af_square(c, x = af_scale(c, x, s));
    af_expr root = af_sqrt(c, af_offset(c, x2, 1.0));
    x2 = af_div(c, x2, af_offset(c, root, 1.0));
    return af_scale(c, af_log1p(c, af_add(c, x, x2)), 1.0 / s);
}

/* |x|; rounded off where |x| is not far above `rounding`, if that is not 0. */
static af_expr dp__abs(af_context *c, af_expr x, double rounding) {
    af_expr x2 = af_square(c, x), root;
    if (!(rounding > 0.0)) return af_abs(c, x);
    root = af_sqrt(c, af_offset(c, x2, rounding * rounding));
    return af_div(c, x2, af_offset(c, root, rounding));
}

/* Weight times the brackets of eq. 9 for rows (b, DP__POINT_ROW): (b). */
static af_expr dp__loss_rows(const dp__objective *o, af_expr rows) {
    af_context *c = o->p->c;
    const dp_loss_desc *d = &o->d;
    af_expr l, r = dp__residual(o->p, rows, &l), loss;
    r = af_scale(c, af_mul(c, r, dp__column(c, rows, DP__POINT_FACTOR)), d->time);
    loss = dp__asinh(c, dp__abs(c, r, d->rounding), d->alpha);
    l = dp__asinh(c, af_relu(c, af_scale(c, l, -d->time * d->time)), d->beta);
    if (d->lambda > 0.0) loss = af_add(c, loss, af_scale(c, l, d->lambda));
    return af_mul(c, loss, dp__column(c, rows, DP__POINT_WEIGHT));
}

static int dp__is_weight(const char *name) {
    size_t n = strlen(name), tail = strlen(".weight");
    return n > tail && strcmp(name + n - tail, ".weight") == 0;
}

/* The mean square of the elements of all weight matrices (eq. 13). */
static af_expr dp__mean_square(const dp_potential *p) {
    af_context *c = p->c;
    size_t i, count = 0;
    af_expr sum = af_constant(c, 0.0);
    for (i = 0; i < af_params_count(p->params); i++) {
        af_expr w;
        if (!dp__is_weight(af_params_name(p->params, i))) continue;
        w = af_params_expr(p->params, i);
        sum = af_add(c, sum, af_sum(c, af_square(c, w)));
        count += af_size(c, w);
    }
    return count ? af_scale(c, sum, 1.0 / (double)count) : sum;
}

/* The loss of a batch (eqs. 9 to 13), as dp__training wants it. */
static af_expr dp__potential_loss(void *user, af_expr rows, af_expr seed) {
    const dp__objective *o = (const dp__objective *)user;
    af_context *c = o->p->c;
    af_expr loss = af_mean(c, dp__loss_rows(o, rows));
    (void)seed;
    if (o->d.log_loss) loss = af_log(c, loss);
    if (o->d.l2 > 0.0) loss = af_add(c, loss, af_scale(c, dp__mean_square(o->p), o->d.l2));
    return loss;
}

/* ---- the same in numbers ---- */

/* x (n,3) of rows. */
static double *dp__rows_positions(const dp_potential *p, dp__arena *arena, size_t n,
                                  const double *rows) {
    double *x = DP__ARRAY(arena, double, 3 * n);
    size_t i, k;
    for (i = 0; x && i < n; i++)
        for (k = 0; k < 3; k++)
            x[3 * i + k] = p->mean[k] + p->length * rows[i * DP__POINT_ROW + k];
    return x;
}

/* T d ln f/dt of one row with acceleration a and, unless NULL, grad ln n (3). */
static double dp__row_residual(const dp_potential *p, const double *row, const double a[3],
                               const double *grad) {
    const double *f = af_params_view(p->params, p->frame), *b = row + DP__POINT_B;
    double kappa = p->length * p->length / (p->unit * p->time * p->time), r, turn;
    double u[3];
    size_t k;
    turn = row[DP__POINT_TURN] + f[2] * b[0] - f[1] * b[1] +
           kappa * (f[4] * row[DP__POINT_A] - f[3] * row[DP__POINT_A + 1]);
    r = f[0] * turn - row[DP__POINT_DRIFT];
    for (k = 0; k < 3; k++)
        r += f[3 + k] * b[k] - a[k] * p->length / p->unit * row[DP__POINT_A + k];
    if (!grad) return r;
    for (k = 0; k < 3; k++) u[k] = f[3 + k];
    u[0] -= f[0] * (row[1] + p->mean[1] / p->length - f[2]);
    u[1] += f[0] * (row[0] + p->mean[0] / p->length - f[1]);
    for (k = 0; k < 3; k++) r -= (row[DP__POINT_V + k] - u[k]) * grad[k] * p->length;
    return r;
}

/* T d ln f/dt (n) and T^2 Laplacian (n; NULL: not wanted) of rows. */
static af_status dp__rows_residuals(dp_potential *p, size_t n, const double *rows, double *r,
                                    double *laplacian) {
    dp__arena arena = dp__arena_open(p->c);
    double *x = dp__rows_positions(p, &arena, n, rows), *a = DP__ARRAY(&arena, double, 3 * n);
    double *grad = p->density ? DP__ARRAY(&arena, double, 3 * n) : NULL;
    af_status s = x && a && (grad || !p->density) ? AF_OK : dp__fail_memory(p->c, "residuals");
    size_t i;
    if (s == AF_OK) s = dp_potential_evaluate(p, n, x, NULL, a, laplacian);
    if (s == AF_OK && grad) s = dp__ln_n_evaluate(p, n, x, NULL, grad);
    for (i = 0; s == AF_OK && i < n; i++) {
        r[i] = dp__row_residual(p, rows + i * DP__POINT_ROW, a + 3 * i, grad ? grad + 3 * i : NULL);
        if (laplacian) laplacian[i] *= 4.0 * DP__PI * AF_GRAVITY * p->time * p->time;
    }
    dp__arena_free(&arena);
    return s;
}

/* The loss of rows, in f64; the same as dp__potential_loss. */
static af_status dp__rows_loss(dp_potential *p, const dp__objective *o, size_t n,
                               const double *rows, double *loss) {
    const dp_loss_desc *d = &o->d;
    dp__arena arena = dp__arena_open(p->c);
    double *r = DP__ARRAY(&arena, double, 2 * n), sum = 0.0, square = 0.0, t2 = d->time * d->time;
    af_status s = r ? AF_OK : dp__fail_memory(p->c, "a loss");
    size_t i, k, view, count = 0;
    if (s == AF_OK) s = dp__rows_residuals(p, n, rows, r, d->lambda > 0.0 ? r + n : NULL);
    for (i = 0; s == AF_OK && i < n; i++) {
        const double *row = rows + i * DP__POINT_ROW;
        double one = d->time * fabs(r[i] * row[DP__POINT_FACTOR]);
        if (d->rounding > 0.0) one *= one / (hypot(one, d->rounding) + d->rounding);
        one = asinh(d->alpha * one) / d->alpha;
        if (d->lambda > 0.0)
            one += d->lambda * asinh(d->beta * t2 * fmax(-r[n + i], 0.0)) / d->beta;
        sum += row[DP__POINT_WEIGHT] * one;
    }
    for (view = 0; view < af_params_count(p->params); view++) {
        const double *w = af_params_view(p->params, view);
        size_t size = af_size(p->c, af_params_expr(p->params, view));
        if (!dp__is_weight(af_params_name(p->params, view))) continue;
        for (k = 0; k < size; k++) square += w[k] * w[k];
        count += size;
    }
    dp__arena_free(&arena);
    if (s != AF_OK) return s;
    *loss = d->log_loss ? log(sum / (double)n) : sum / (double)n;
    if (count) *loss += d->l2 * square / (double)count;
    return AF_OK;
}

/* ---- fits of parts: all points at once ---- */

/* |r| below this counts less than it would: far below the errors of any gradient, but the minimum
 * of perfect ones is not a kink then. */
#define DP__ROUNDING 1e-4

enum {
    DP__PARTS_PIECE = 1024, /* rows that a thread computes at a time */
    DP__PARTS_STEPS = 200   /* at most: some ten parameters need a few tens */
};

typedef struct dp__descent {
    const dp_fit_desc *d;
    double started, rows;
    size_t steps;
    int stopped;
} dp__descent;

static int dp__descent_progress(const af_minimise_report *report, void *user) {
    dp__descent *run = (dp__descent *)user;
    const dp_fit_desc *d = run->d;
    af_progress p = DP__ZERO;
    p.epoch = p.best_epoch = report->step;
    p.epochs = run->steps;
    p.loss = report->loss;
    p.validation = p.best_validation = NAN;
    if (d->progress && d->progress(&p, d->user)) return run->stopped = 1;
    return d->clock && d->seconds > 0.0 && d->clock(d->user) - run->started > d->seconds;
}

/* Minimises the mean over rows (n), a multiple of DP__PARTS_PIECE of which `real` count. */
static af_status dp__parts_descend(dp_potential *p, const dp__objective *o, const double *rows,
                                   size_t n, size_t real, dp__descent *run) {
    af_minimiser_desc d = DP__ZERO;
    af_minimise_desc m = DP__ZERO;
    af_minimiser *minimiser;
    size_t dims[2];
    af_expr in;
    const void *inputs[1];
    af_status s;
    dims[0] = DP__PARTS_PIECE;
    dims[1] = DP__POINT_ROW;
    in = af_input(p->c, "rows", 2, dims);
    d.method = AF_LBFGS;
    d.params = p->params;
    d.loss = af_scale(p->c, af_sum(p->c, dp__loss_rows(o, in)), 1.0 / (double)real);
    d.inputs = &in;
    d.input_count = 1;
    d.pieces = n / DP__PARTS_PIECE;
    if (af_error_status(p->c) != AF_OK) return af_error_status(p->c);
    s = af_minimiser_create(p->c, &d, &minimiser);
    if (s != AF_OK) return s;
    inputs[0] = rows;
    m.steps = run->steps;
    m.inputs = inputs;
    m.progress = dp__descent_progress;
    m.user = run;
    s = af_minimise(minimiser, &m, NULL);
    af_minimiser_destroy(minimiser);
    return s == AF_STOPPED && !run->stopped ? AF_OK : s;
}

/* The factors found go into the parts. */
static void dp__parts_take(dp_potential *p) {
    double *factor = af_params_view(p->params, p->factors);
    size_t i, k;
    for (i = 0; i < p->desc.part_count; i++) {
        double value[DP__PART];
        dp__part_values(&p->parts[i], value);
        for (k = 0; k < (size_t)DP__PART; k++) {
            value[k] *= exp(factor[i * DP__PART + k]);
            factor[i * DP__PART + k] = 0.0;
        }
        dp__part_set(&p->parts[i], value);
    }
}

/* Rows in the random order of dp__train, those held out first; after them copies of the first row
 * that do not count, up to whole pieces of the training rows. */
static double *dp__parts_rows(dp__arena *arena, uint64_t seed, size_t n, size_t total,
                              const double *rows) {
    uint32_t *order = DP__ARRAY(arena, uint32_t, n);
    double *sorted = DP__ARRAY(arena, double, total *DP__POINT_ROW);
    size_t i;
    if (!order || !sorted) return NULL;
    af_random_permutation(seed, 1, n, order);
    for (i = 0; i < total; i++)
        memcpy(sorted + i * DP__POINT_ROW, rows + (i < n ? order[i] : 0) * (size_t)DP__POINT_ROW,
               DP__POINT_ROW * sizeof *rows);
    for (; i-- > n;) sorted[i * DP__POINT_ROW + DP__POINT_WEIGHT] = 0.0;
    return sorted;
}

static af_status dp__parts_fit(dp_potential *p, dp__objective *o, dp__arena *arena, size_t n,
                               const double *rows, const dp_fit_desc *d, dp__trained *out) {
    dp__descent run = DP__ZERO;
    double part = d->validation > 0.0 ? d->validation : 0.1, given = o->d.rounding, *sorted;
    size_t held = (size_t)(part * (double)n), train = n - held, padded;
    af_status s = AF_OK, stopped;
    if (part >= 1.0)
        return af_fail(p->c, AF_ERROR_ARGUMENT,
                       "potential: a fraction %g of the points cannot be held out", part);
    padded = (train + DP__PARTS_PIECE - 1) / DP__PARTS_PIECE * DP__PARTS_PIECE;
    sorted = dp__parts_rows(arena, d->seed, n, held + padded, rows);
    if (!sorted) return dp__fail_memory(p->c, "the points of a potential's fit");
    run.d = d;
    run.started = d->clock ? d->clock(d->user) : 0.0;
    run.steps = d->epochs ? d->epochs : (size_t)DP__PARTS_STEPS;
    out->untrained = out->validation = NAN;
    if (held) s = dp__rows_loss(p, o, held, sorted, &out->untrained);
    if (s != AF_OK) return s;
    o->d.rounding = fmax(given, DP__ROUNDING);
    stopped = dp__parts_descend(p, o, sorted + held * DP__POINT_ROW, padded, train, &run);
    o->d.rounding = given;
    dp__parts_take(p);
    if (stopped != AF_OK && stopped != AF_STOPPED) return stopped;
    s = dp__rows_loss(p, o, train, sorted + held * DP__POINT_ROW, &out->loss);
    if (s == AF_OK && held) s = dp__rows_loss(p, o, held, sorted, &out->validation);
    return s == AF_OK ? stopped : s;
}

#undef DP__ROUNDING

/* ---- fits ---- */

static af_status dp__network_fit(dp_potential *p, dp__objective *o, size_t n, const double *rows,
                                 const dp_fit_desc *d, dp__trained *out) {
    dp__training t = DP__ZERO;
    af_status s;
    t.label = "the fit of a potential";
    t.params = p->params;
    t.rows = rows;
    t.n = n;
    t.width = DP__POINT_ROW;
    t.loss = dp__potential_loss;
    t.user = o;
    t.epochs = 64;
    t.batch = 512; /* a quarter of the paper's time for the same errors, beside 2048 */
    t.whole = o->d.log_loss;
    t.rate = 3e-3;
    t.clip = 1.0;
    t.average = 0.99; /* over a hundred steps: the noise of the batches */
    s = dp__train(p->c, &t, d, out);
    if (p->parts) dp__parts_take(p);
    return s;
}

/* The constant of Phi, and the fraction of the points with negative density. */
static af_status dp__potential_close_fit(dp_potential *p, const dp_points *points,
                                         double *negative) {
    dp__arena arena = dp__arena_open(p->c);
    size_t i, k, n = points->n, below = 0;
    double *x = DP__ARRAY(&arena, double, 3 * n), *phi = DP__ARRAY(&arena, double, 2 * n);
    double sum = 0.0;
    af_status s = x && phi ? AF_OK : dp__fail_memory(p->c, "the constant of a potential");
    for (i = 0; s == AF_OK && i < n; i++)
        for (k = 0; k < 3; k++) x[3 * i + k] = points->eta[6 * i + k];
    if (s == AF_OK) s = dp_potential_evaluate(p, n, x, phi, NULL, phi + n);
    for (i = 0; s == AF_OK && i < n; i++) {
        sum += phi[i];
        below += phi[n + i] < 0.0;
    }
    if (s == AF_OK && !p->parts) p->constant -= sum / (double)n;
    *negative = (double)below / (double)n;
    dp__arena_free(&arena);
    return s;
}

AF_API af_status dp_potential_fit(dp_potential *p, const dp_points *points,
                                  const dp_loss_desc *loss, const dp_fit_desc *fit,
                                  dp_potential_report *report) {
    dp_fit_desc d = DP__ZERO;
    dp__objective o;
    dp__trained trained = DP__ZERO;
    dp_potential_report found = DP__ZERO;
    dp__arena arena = dp__arena_open(p->c);
    double *rows = NULL;
    af_status s = dp__objective_open(p, loss, &o), stopped;
    if (fit) d = *fit;
    if (s == AF_OK && (d.start_canary != 0 || d.end_canary != 0))
        s = af_fail(p->c, AF_ERROR_ARGUMENT, "fit: dp_fit_desc was not initialised to zero");
    if (s == AF_OK) s = dp__point_rows(&o, points, &arena, &rows);
    if (s != AF_OK)
        stopped = s;
    else if (p->parts && !p->density)
        stopped = dp__parts_fit(p, &o, &arena, points->n, rows, &d, &trained);
    else
        stopped = dp__network_fit(p, &o, points->n, rows, &d, &trained);
    dp__arena_free(&arena);
    if (stopped != AF_OK && stopped != AF_STOPPED) return stopped;
    s = dp__potential_close_fit(p, points, &found.negative);
    found.loss = trained.loss;
    found.validation = trained.validation;
    found.untrained = trained.untrained;
    if (s == AF_OK && report) *report = found;
    return s == AF_OK ? stopped : s;
}
