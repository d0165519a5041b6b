/* ---- score: a scalar network for ln f, trained by denoising -------------------------------------
 *
 * The network E(z, ln sigma) is ln of f smoothed by the noise sigma, up to a constant; its gradient
 * s = dE/dz, the score, is free of curl by construction. Denoising score matching (Vincent 2011):
 * with noise n of variance one the mean of |sigma s(z + sigma n) + n|^2 over stars and noise is
 * smallest for the score of f smoothed by sigma. Every star is seen with n and with -n, which takes
 * out the largest part of the scatter. What is left of the smoothing goes as a polynomial in
 * sigma^2, whose first terms two or three levels of noise take out: 2 s(sigma) - s(sqrt(2) sigma).
 *
 * The coordinates z = (x, u) take velocities from the mean m(x) of the stars around, in units of
 * their dispersion: u = A(x) (v - m(x)), A symmetric, so that it does not turn directions. A disc
 * that is cold and turns is then as smooth as a hot sphere. m and A are a network, trained first,
 * by the likelihood of a normal distribution.
 *
 * Beside z the network gets what stars in galaxies are sorted by: radii and the components of u
 * along and about them. No symmetry is imposed by that, but nearly symmetric functions are near. */

typedef struct dp__score {
    dp_df *df;
    af_params *local;  /* m(x) and A(x); NULL: plain coordinates */
    af_net *local_net, *net;
    double noise;      /* of the evaluation */
    int order;         /* of the extrapolation to no noise: 0, 1 or 2 */
    double from_errors; /* > 0: the stars' own errors are part of the noise, from this level on */
    af_func *evaluate, *divergence, *transform;
} dp__score;

enum { DP__LOCAL = 9, DP__FEATURES = 7, DP__SCORE_ROWS = 256 };

static dp__score *dp__score_of(const dp_df *df) { return (dp__score *)df->state; }

static void dp__score_forget(dp__score *s) {
    af_func_destroy(s->evaluate);
    af_func_destroy(s->divergence);
    af_func_destroy(s->transform);
    s->evaluate = s->divergence = s->transform = NULL;
}

static void dp__score_close(dp_df *df) {
    dp__score *s = dp__score_of(df);
    if (!s) return;
    dp__score_forget(s);
    af_net_destroy(s->net);
    af_net_destroy(s->local_net);
    af_params_destroy(s->local);
}

static void dp__score_defaults(dp_df_desc *d, const char **text) {
    if (d->width == 0) d->width = 64;
    if (d->depth == 0) d->depth = 3;
    if (!(d->noise_low > 0.0)) d->noise_low = 0.05;
    if (!(d->noise_high > 0.0)) d->noise_high = 0.7;
    if (!(d->noise_high > 1.5 * d->noise_low)) *text = "the range of its noise is empty";
    if (!(d->noise >= 0.0)) *text = "its noise is negative";
}

static af_status dp__score_declare(dp_df *df) {
    dp__score *s = DP__NEW(&df->arena, dp__score);
    af_net_desc net = DP__ZERO;
    af_status status = AF_OK;
    df->state = s;
    if (!s) return dp__fail_memory(df->c, "a score");
    s->df = df;
    s->noise = df->desc.noise > 0.0 ? df->desc.noise : df->desc.noise_low;
    if (!df->desc.plain_coordinates) {
        net.name = "local";
        net.inputs = 3;
        net.outputs = DP__LOCAL;
        status = af_params_create(df->c, df->desc.seed + 1, &s->local);
        if (status == AF_OK) status = af_net_create(s->local, &net, &s->local_net);
        if (status != AF_OK) return status;
    }
    net.name = "energy";
    net.inputs = (size_t)DP__COORDINATES + 1 + (df->desc.plain_inputs ? 0 : (size_t)DP__FEATURES);
    net.outputs = 1;
    net.width = df->desc.width;
    net.depth = df->desc.depth;
    net.activation = df->desc.activation;
    return af_net_create(df->params, &net, &s->net);
}

/* ---- local coordinates ---- */

/* u (b,3) of x (b,3) and v (b,3); *log_det (b,1), unless NULL, gets ln |det du/dv|. A = L L^T with
 * the network's lower triangle L, the logarithms of its diagonal at places 3 to 5. */
static af_expr dp__local_apply(const dp__score *s, af_expr x, af_expr v, af_expr *log_det) {
    af_context *c = s->df->c;
    af_expr none = DP__ZERO, out, low[3][3], away[3], half[3], u[3], log_scale;
    size_t i, k, next = 6;
    out = af_net_apply(s->local_net, x, none);
    v = af_sub(c, v, af_slice(c, out, -1, 0, 3));
    log_scale = af_slice(c, out, -1, 3, 3);
    for (k = 0; k < 3; k++) {
        away[k] = af_slice(c, v, -1, k, 1);
        low[k][k] = af_exp(c, af_slice(c, log_scale, -1, k, 1));
        for (i = 0; i < k; i++) low[k][i] = af_slice(c, out, -1, next++, 1);
    }
    for (k = 0; k < 3; k++) { /* L^T away */
        half[k] = af_mul(c, low[k][k], away[k]);
        for (i = k + 1; i < 3; i++) half[k] = af_add(c, half[k], af_mul(c, low[i][k], away[i]));
    }
    for (k = 0; k < 3; k++) {
        u[k] = af_mul(c, low[k][k], half[k]);
        for (i = 0; i < k; i++) u[k] = af_add(c, u[k], af_mul(c, low[k][i], half[i]));
    }
    if (log_det) *log_det = af_scale(c, af_sum_axis(c, log_scale, -1), 2.0);
    return af_concat(c, -1, 3, u);
}

/* Minus the likelihood of a normal distribution of u, without its constant. */
static af_expr dp__local_loss(void *user, af_expr rows, af_expr seed) {
    const dp__score *s = (const dp__score *)user;
    af_context *c = s->df->c;
    af_expr log_det, u, each;
    (void)seed;
    u = dp__local_apply(s, af_slice(c, rows, -1, 0, 3), af_slice(c, rows, -1, 3, 3), &log_det);
    each = af_sub(c, af_scale(c, af_sum_axis(c, af_square(c, u), -1), 0.5), log_det);
    return af_mean(c, af_mul(c, each, af_slice(c, rows, -1, 6, 1)));
}

/* z (b,6) = (x, u) of y (b,6). */
static af_expr dp__score_coordinates(const dp__score *s, af_expr y, af_expr *log_det) {
    af_context *c = s->df->c;
    af_expr parts[2];
    *log_det = af_constant(c, 0.0);
    if (!s->local) return y;
    parts[0] = af_slice(c, y, -1, 0, 3);
    parts[1] = dp__local_apply(s, parts[0], af_slice(c, y, -1, 3, 3), log_det);
    return af_concat(c, -1, 2, parts);
}

/* ---- the energy ---- */

/* sqrt(a^2 + softening): a length that is smooth where it vanishes. */
static af_expr dp__length(af_context *c, af_expr square) {
    return af_sqrt(c, af_offset(c, square, 0.01)); /* 0.1 standard deviations, as the noise */
}

/* The features of z (b,6): r, R, |z|, u along r, u along and about R, |u|^2. Positions are from the
 * origin, in units of their spread. */
static void dp__features(const dp__score *s, af_expr z, af_expr out[DP__FEATURES]) {
    af_context *c = s->df->c;
    const double *mean = s->df->mean, *scale = s->df->scale;
    double plane = sqrt(0.5 * (scale[0] * scale[0] + scale[1] * scale[1]));
    af_expr x[3], u[3], along, r, radius, square = af_constant(c, 0.0), dot = square;
    size_t k;
    for (k = 0; k < 3; k++) {
        double unit = k < 2 ? plane : scale[2];
        x[k] = af_offset(c, af_scale(c, af_slice(c, z, -1, k, 1), scale[k] / unit), mean[k] / unit);
        u[k] = af_slice(c, z, -1, 3 + k, 1);
        square = af_add(c, square, af_square(c, u[k]));
        dot = af_add(c, dot, af_mul(c, x[k], u[k]));
    }
    along = af_add(c, af_square(c, x[0]), af_square(c, x[1]));
    radius = dp__length(c, along);
    r = dp__length(c, af_add(c, along, af_square(c, x[2])));
    out[0] = r;
    out[1] = radius;
    out[2] = dp__length(c, af_square(c, x[2]));
    out[3] = af_div(c, dot, r);
    out[4] = af_div(c, af_add(c, af_mul(c, x[0], u[0]), af_mul(c, x[1], u[1])), radius);
    out[5] = af_div(c, af_sub(c, af_mul(c, x[0], u[1]), af_mul(c, x[1], u[0])), radius);
    out[6] = af_scale(c, square, 0.25); /* of the order of one */
}

/* E (b,1) at z (b,6) with noise sigma (b,1) or a scalar: the network beside what a normal f of
 * variance one would give. */
static af_expr dp__energy(const dp__score *s, af_expr z, af_expr sigma) {
    af_context *c = s->df->c;
    af_expr none = DP__ZERO, parts[2 + DP__FEATURES], backbone;
    size_t dims[AF_RANK_MAX];
    const dp_df_desc *d = &s->df->desc;
    double low = log(d->noise_low), high = log(d->noise_high);
    af_shape(c, z, dims);
    dims[1] = 1;
    parts[0] = z;
    parts[1] = af_broadcast(
        c, af_scale(c, af_offset(c, af_log(c, sigma), -0.5 * (low + high)), 2.0 / (high - low)), 2,
        dims);
    if (!d->plain_inputs) dp__features(s, z, parts + 2);
    backbone = af_div(c, af_sum_axis(c, af_square(c, z), -1),
                      af_scale(c, af_offset(c, af_square(c, sigma), 1.0), -2.0));
    z = af_concat(c, -1, d->plain_inputs ? 2 : 2 + DP__FEATURES, parts);
    return af_add(c, af_net_apply(s->net, z, none), backbone);
}

/* ---- evaluation ---- */

/* ln f's part that depends on the point, as it is evaluated, (b,1) at y (b,6): from noise levels
 * whose squares double, the polynomial of that order in the square taken at none. */
static af_expr dp__score_value(const dp__score *s, af_expr z, double noise, int order) {
    static const double weight[3][3] = {{1.0, 0.0, 0.0}, {2.0, -1.0, 0.0},
                                        {8.0 / 3.0, -2.0, 1.0 / 3.0}};
    af_context *c = s->df->c;
    af_expr sum = af_constant(c, 0.0);
    int k;
    for (k = 0; k <= order; k++) {
        af_expr level = af_constant(c, noise * pow(2.0, 0.5 * k));
        sum = af_add(c, sum, af_scale(c, dp__energy(s, z, level), weight[order][k]));
    }
    return sum;
}

static af_status dp__score_compile(dp__score *s, const af_expr *out, size_t count, af_expr y,
                                   af_func **f) {
    af_func_desc d = DP__ZERO;
    af_expr in[3];
    in[0] = y;
    in[1] = af_params_input(s->df->params);
    if (s->local) in[2] = af_params_input(s->local);
    d.inputs = in;
    d.input_count = s->local ? 3 : 2;
    d.outputs = out;
    d.output_count = count;
    d.label = "score";
    return af_compile(s->df->c, &d, f);
}

static af_expr dp__score_input(const dp__score *s) {
    size_t dims[2];
    dims[0] = DP__SCORE_ROWS;
    dims[1] = DP__COORDINATES;
    return af_input(s->df->c, "points", 2, dims);
}

static af_status dp__score_open(dp__score *s) {
    af_context *c = s->df->c;
    af_expr y = dp__score_input(s), z, log_det, out[2];
    if (s->evaluate) return AF_OK;
    z = dp__score_coordinates(s, y, &log_det);
    out[0] = af_add(c, dp__score_value(s, z, s->noise, s->order), log_det);
    af_grad(c, af_sum(c, out[0]), 1, &y, &out[1]);
    return dp__score_compile(s, out, 2, y, &s->evaluate);
}

static void dp__score_rows(const dp__score *s, const af_func *f, size_t n, const double *y,
                           dp__rows *r) {
    r->f = f;
    r->rows = DP__SCORE_ROWS;
    r->n = n;
    r->in_count = 1;
    r->in[0] = y;
    r->in_width[0] = DP__COORDINATES;
    r->fixed_count = s->local ? 2 : 1;
    r->fixed[0] = af_params_data(s->df->params);
    if (s->local) r->fixed[1] = af_params_data(s->local);
}

static af_status dp__score_evaluate(dp_df *df, size_t n, const double *y, double *ln_f,
                                    double *gradient) {
    dp__score *s = dp__score_of(df);
    dp__arena arena = dp__arena_open(df->c);
    dp__rows r = DP__ZERO;
    af_status status = dp__score_open(s);
    dp__score_rows(s, s->evaluate, n, y, &r);
    r.out_count = 2;
    r.out[0] = ln_f ? ln_f : DP__ARRAY(&arena, double, n);
    r.out_width[0] = 1;
    r.out[1] = gradient ? gradient : DP__ARRAY(&arena, double, 6 * n);
    r.out_width[1] = DP__COORDINATES;
    if (status == AF_OK && (!r.out[0] || !r.out[1])) status = dp__fail_memory(df->c, "gradients");
    if (status == AF_OK) status = dp__rows_all(df->c, &r);
    dp__arena_free(&arena);
    return status;
}
