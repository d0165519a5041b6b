/* ---- score: its frame, and stars with measurement errors ----------------------------------------
 *
 * The frame (the spread of X, the local mean and dispersion of velocities) is found by the
 * likelihood of a normal distribution of z. Where stars come with errors it is found twice: from
 * the stars as measured, and by a likelihood that knows each star's errors. f is learned in the
 * first and evaluated in the second: it keeps its shape in units of the local mean and dispersion,
 * and these lose the errors. Exact for a normal f; errors of distances, which blur the mean of
 * velocities where it changes, are most of what there is to lose.
 *
 * To second order in the errors e_k, z of the truth is
 *
 *     z - sum_k g_k xi_k + (1/2) sum_k d^2z/dy_k^2 e_k^2,    g_k = e_k dz/dy_k,
 *
 * for normal xi, so that the third term is added and 1 + sum_k g_k g_k^T is the covariance. In g
 * the matrix of u = A (v - m) is held: with its slope the scatter of velocities would count as a
 * part of the errors. Velocities enter linearly then: only places have second terms. */

/* z . M^(-1) z + ln det M (b,1), M = 1 + sum_k g_k g_k^T, of g (count of b,6) and z = g[count]: one
 * term of the sum after the other (Sherman & Morrison 1950). a_k is g_k, times the inverse of the
 * sum before it. */
static af_expr dp__frame_square(af_context *c, size_t count, const af_expr *g) {
    af_expr a[DP__COORDINATES + 1], sum = af_constant(c, 0.0);
    size_t j, k;
    memcpy(a, g, (count + 1) * sizeof *a);
    for (k = 0; k < count; k++) {
        af_expr d = af_offset(c, af_sum_axis(c, af_mul(c, g[k], a[k]), -1), 1.0);
        d = af_maximum(c, d, af_constant(c, 1.0)); /* as it is, but for rounding */
        sum = af_add(c, sum, af_log(c, d));
        for (j = k + 1; j <= count; j++) {
            af_expr along = af_sum_axis(c, af_mul(c, a[k], g[j]), -1);
            a[j] = af_sub(c, a[j], af_mul(c, a[k], af_div(c, along, d)));
        }
    }
    return af_add(c, sum, af_sum_axis(c, af_mul(c, a[count], g[count]), -1));
}

/* dz (b,6) for slopes of X before its spread and of what u is linear in (4 of them: X, away). */
static af_expr dp__frame_slope(const dp__score *s, af_expr z, const af_expr away[3],
                               const af_expr slope[4]) {
    af_context *c = s->df->c;
    af_expr parts[2], u = af_slice(c, z, -1, 3, 3);
    af_jvp(c, 1, &u, 3, away, slope + 1, &parts[1]);
    parts[0] = af_mul(c, slope[0],
                      af_exp(c, af_slice(c, af_params_expr(s->frame, s->spread), 0, 0, 3)));
    return af_concat(c, -1, 2, parts);
}

/* g (6 of b,6) of rows (b, DP__ROW), and the second terms, which *z gets; z is of y, away and place
 * as dp__score_parts gave them. */
static void dp__frame_errors(const dp__score *s, af_expr rows, af_expr y, af_expr place,
                             const af_expr away[3], af_expr *z, af_expr *g) {
    af_context *c = s->df->c;
    af_expr errors = af_slice(c, rows, -1, 7, 6), of = *z, at[4], second[4], tangent;
    size_t k;
    at[0] = place;
    memcpy(at + 1, away, 3 * sizeof *away);
    for (k = 0; k < (size_t)DP__COORDINATES; k++) {
        af_expr slope[4];
        tangent = af_pad(c, af_slice(c, errors, -1, k, 1), -1, k, DP__COORDINATES);
        if (!s->local_net) {
            af_jvp(c, 1, &of, 1, &y, &tangent, &g[k]);
            continue;
        }
        af_jvp(c, 4, at, 1, &y, &tangent, slope);
        g[k] = dp__frame_slope(s, of, away, slope);
        if (k >= 3) continue;
        af_jvp(c, 4, slope, 1, &y, &tangent, second);
        *z = af_add(c, *z, af_scale(c, dp__frame_slope(s, of, away, second), 0.5));
    }
}

/* Minus the logarithm of the likelihood of rows (b, DP__ROW), without its constant. */
static af_expr dp__frame_loss(void *user, af_expr rows, af_expr seed) {
    const dp__score *s = (const dp__score *)user;
    af_context *c = s->df->c;
    af_expr y = af_slice(c, rows, -1, 0, 6), g[DP__COORDINATES + 1], away[3], place, z, log_det,
            each;
    size_t count = s->errors ? (size_t)DP__COORDINATES : 0;
    (void)seed;
    place = y;
    z = dp__score_parts(s, y, &log_det, &place, away);
    if (s->errors) dp__frame_errors(s, rows, y, place, away, &z, g);
    g[count] = z;
    each = af_sub(c, af_scale(c, dp__frame_square(c, count, g), 0.5), log_det);
    return af_mean(c, af_mul(c, each, af_slice(c, rows, -1, 6, 1)));
}

/* To a likelihood that hardly changes any more, which takes longer the more stars there are to tell
 * of it: what the frame misses by a tenth, f does not make good. */
enum { DP__FRAME_LEAST = 2000, DP__FRAME_MOST = 6000, DP__FRAME_STARS = 64 /* a step */ };

static af_status dp__frame_fit(dp__score *s, const dp__data *stars, const dp_fit_desc *d) {
    dp__training t = DP__ZERO;
    dp__trained out;
    dp_fit_desc fit = DP__ZERO;
    size_t steps = stars->n / DP__FRAME_STARS;
    if (steps < (size_t)DP__FRAME_LEAST) steps = DP__FRAME_LEAST;
    if (steps > (size_t)DP__FRAME_MOST) steps = DP__FRAME_MOST;
    fit.seed = d->seed;
    fit.validation = d->validation;
    fit.epochs = steps / (stars->n / 1024 + 1) + 1; /* the same where a fit is resumed */
    t.label = "the local mean and dispersion of velocities";
    t.params = s->frame;
    t.rows = stars->rows;
    t.n = stars->n;
    t.width = stars->width;
    t.loss = dp__frame_loss;
    t.user = s;
    t.batch = 1024;
    t.rate = 3e-3;
    t.clip = 5.0;
    t.average = 0.99;
    return dp__train(s->df->c, &t, &fit, &out);
}

/* Whether there is something to learn without the errors: AF_ERROR_DATA where the median star's are
 * above three times the spread that the frame is left with. */
static af_status dp__frame_judge(dp__score *s, const dp__data *stars) {
    static const char *const name[6] = {"x", "y", "z", "vx", "vy", "vz"};
    af_context *c = s->df->c;
    const size_t dims[2] = {DP__SCORE_ROWS, DP__ROW};
    af_expr in = af_input(c, "stars", 2, dims), y = af_slice(c, in, -1, 0, 6), g[DP__COORDINATES],
            away[3], place = y, log_det, z, sum = af_constant(c, 0.0);
    dp__arena arena = dp__arena_open(c);
    double *square = DP__ARRAY(&arena, double, 6 * stars->n);
    double *one = DP__ARRAY(&arena, double, stars->n);
    dp__rows r = DP__ZERO;
    af_func *f = NULL;
    size_t i, k;
    af_status status;
    z = dp__score_parts(s, y, &log_det, &place, away);
    dp__frame_errors(s, in, y, place, away, &z, g);
    for (k = 0; k < (size_t)DP__COORDINATES; k++) sum = af_add(c, sum, af_square(c, g[k]));
    status = square && one ? dp__score_compile(s, &sum, 1, in, &f) :
                             dp__fail_memory(c, "the errors of stars");
    if (status == AF_OK) {
        dp__score_rows(s, f, stars->n, stars->rows, &r);
        r.in_width[0] = DP__ROW;
        r.out_count = 1;
        r.out[0] = square;
        r.out_width[0] = DP__COORDINATES;
        status = dp__rows_all(c, &r);
    }
    for (k = 0; k < (size_t)DP__COORDINATES && status == AF_OK; k++) {
        double middle;
        for (i = 0; i < stars->n; i++) one[i] = square[6 * i + k];
        middle = sqrt(dp__median(one, stars->n));
        if (!(middle < 3.0))
            status = af_fail(c, AF_ERROR_DATA,
                             "score: the measurement errors along %s are %.3g times the spread of "
                             "the stars without them; such stars tell nothing of it: leave the "
                             "worst out, or give no errors",
                             name[k], middle);
    }
    af_func_destroy(f);
    dp__arena_free(&arena);
    return status;
}
