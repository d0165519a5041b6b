/* ---- score: a scalar network for ln f, trained by denoising -------------------------------------
 *
 * The network E(z, ln sigma) is ln of f smoothed by the noise sigma, up to a constant; its gradient
 * s = dE/dz, the score, is free of curl by construction. Denoising score matching (Vincent 2011):
 * with noise n of variance one the mean of |sigma s(z + sigma n) + n|^2 over stars and noise is
 * smallest for the score of f smoothed by sigma. Every star is seen with n and with -n, which takes
 * out the largest part of the scatter. What is left of the smoothing is of second order in sigma,
 * and 2 s(sigma) - s(sqrt(2) sigma) has none of it.
 *
 * The coordinates z = (x, u) take velocities from the mean m(x) of the stars around, in units of
 * their dispersion: u = A(x) (v - m(x)), A symmetric, so that it does not turn directions. A disc
 * that is cold and turns is then as smooth as a hot sphere. m and A are a network, trained first, by
 * the likelihood of a normal distribution.
 *
 * Beside z the network gets what stars in galaxies are sorted by: radii and the components of u
 * along and about them. No symmetry is imposed by that, but nearly symmetric functions are near. */

typedef struct dp__score {
    dp_df *df;
    af_params *local;  /* m(x) and A(x); NULL: plain coordinates */
    af_net *local_net, *net;
    double noise;      /* of the evaluation */
    int extrapolate;   /* 1: from noise and sqrt(2) noise */
    double from_errors; /* the stars' own errors are part of the noise, from this level on */
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
    if (d->width == 0) d->width = 256;
    if (d->depth == 0) d->depth = 4;
    if (!(d->noise_low > 0.0)) d->noise_low = 0.05;
    if (!(d->noise_high > 0.0)) d->noise_high = 0.6;
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

/* ---- the loss ---- */

/* Normal numbers by the formula of Box & Muller (1958). */
static af_expr dp__normals(af_context *c, size_t rank, const size_t *dims, af_expr seed,
                           uint64_t stream) {
    af_expr r = af_random(c, rank, dims, seed, stream);
    af_expr angle = af_random(c, rank, dims, seed, stream + 1);
    return af_mul(c, af_sqrt(c, af_scale(c, af_log(c, r), -2.0)),
                  af_cos(c, af_scale(c, angle, 2.0 * DP__PI)));
}

/* |sigma s(z + sign sigma n) + sign n|^2 for both signs, over rows (b, DP__ROW). */
static af_expr dp__score_loss(void *user, af_expr rows, af_expr seed) {
    const dp__score *s = dp__score_of((dp_df *)user);
    const dp_df_desc *d = &s->df->desc;
    af_context *c = s->df->c;
    af_expr z = af_slice(c, rows, -1, 0, 6), weight = af_slice(c, rows, -1, 6, 1);
    af_expr n, sigma, both[2], zz, nn, ss, ww, score;
    size_t dims[AF_RANK_MAX], one[2];
    af_shape(c, z, dims);
    one[0] = dims[0];
    one[1] = 1;
    n = dp__normals(c, 2, dims, seed, 2);
    sigma = af_exp(c, af_offset(c, af_scale(c, af_random(c, 2, one, seed, 1),
                                            log(d->noise_high / d->noise_low)),
                                log(d->noise_low)));
    both[0] = n;
    both[1] = af_neg(c, n);
    nn = af_concat(c, 0, 2, both);
    both[0] = both[1] = sigma;
    ss = af_concat(c, 0, 2, both);
    both[0] = both[1] = z;
    zz = af_add(c, af_concat(c, 0, 2, both), af_mul(c, ss, nn));
    both[0] = both[1] = weight;
    ww = af_concat(c, 0, 2, both);
    af_grad(c, af_sum(c, dp__energy(s, zz, ss)), 1, &zz, &score);
    score = af_sum_axis(c, af_square(c, af_add(c, af_mul(c, ss, score), nn)), -1);
    return af_mean(c, af_mul(c, ww, score));
}

/* ---- evaluation ---- */

/* ln f's part that depends on the point, as it is evaluated: (b,1) at y (b,6). */
static af_expr dp__score_value(const dp__score *s, af_expr z, double noise, int extrapolate) {
    af_context *c = s->df->c;
    af_expr e = dp__energy(s, z, af_constant(c, noise));
    if (!extrapolate) return e;
    return af_sub(c, af_scale(c, e, 2.0), dp__energy(s, z, af_constant(c, noise * sqrt(2.0))));
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
    out[0] = af_add(c, dp__score_value(s, z, s->noise, s->extrapolate), log_det);
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

/* ---- before and after the training ---- */

/* rows (n, width) begin with y and end with z. */
static af_status dp__score_transform(dp__score *s, dp__data *stars) {
    af_context *c = s->df->c;
    af_expr y = dp__score_input(s), log_det, z;
    double *from = DP__ARRAY(stars->arena, double, 6 * stars->n), *to;
    dp__rows r = DP__ZERO;
    size_t i;
    af_status status = AF_OK;
    to = DP__ARRAY(stars->arena, double, 6 * stars->n);
    if (!from || !to) return dp__fail_memory(c, "local coordinates");
    z = dp__score_coordinates(s, y, &log_det);
    if (!s->transform) status = dp__score_compile(s, &z, 1, y, &s->transform);
    if (status != AF_OK) return status;
    for (i = 0; i < stars->n; i++)
        memcpy(from + 6 * i, stars->rows + i * stars->width, 6 * sizeof *from);
    dp__score_rows(s, s->transform, stars->n, from, &r);
    r.out_count = 1;
    r.out[0] = to;
    r.out_width[0] = DP__COORDINATES;
    status = dp__rows_all(c, &r);
    for (i = 0; i < stars->n; i++)
        memcpy(stars->rows + i * stars->width, to + 6 * i, 6 * sizeof *to);
    return status;
}

static af_status dp__score_begin(dp_df *df, dp__data *stars, const dp_fit_desc *d) {
    dp__score *s = dp__score_of(df);
    dp__training t = DP__ZERO;
    dp__trained out;
    dp_fit_desc fit = DP__ZERO;
    af_status status;
    dp__score_forget(s);
    if (!s->local) return AF_OK;
    fit.seed = d->seed;
    fit.validation = d->validation;
    fit.clock = d->clock;
    fit.user = d->user;
    fit.seconds = 0.05 * d->seconds; /* it is small beside the energy's network */
    t.label = "the local mean and dispersion of velocities";
    t.params = s->local;
    t.rows = stars->rows;
    t.n = stars->n;
    t.width = stars->width;
    t.loss = dp__local_loss;
    t.user = s;
    t.epochs = 16;
    t.batch = 1024;
    t.rate = 3e-3;
    t.clip = 5.0;
    t.average = 0.99;
    status = dp__train(df->c, &t, &fit, &out);
    return status == AF_OK ? dp__score_transform(s, stars) : status;
}

/* The held-out mean of |s|^2/2 + div s (Hyvarinen 2005) in the coordinates z, whose order among
 * candidates is that of their true mean squared errors. */
enum { DP__CANDIDATES = 12, DP__JUDGES = 4096 }; /* differences are between the same stars */

typedef struct dp__candidate {
    double noise;
    int extrapolate;
    double objective;
} dp__candidate;

static af_status dp__score_objective(dp__score *s, size_t n, const double *z,
                                     dp__candidate *candidate) {
    af_context *c = s->df->c;
    af_expr in = dp__score_input(s), score, laplacian, out, gradient, squared;
    dp__arena arena = dp__arena_open(c);
    double *values = DP__ARRAY(&arena, double, n), sum = 0.0;
    dp__rows r = DP__ZERO;
    af_func *f = NULL;
    size_t i;
    af_status status;
    if (!values) return dp__fail_memory(c, "the noise of a score");
    score = dp__score_value(s, in, candidate->noise, candidate->extrapolate);
    af_laplacian(c, score, in, &gradient, &laplacian); /* gradient (6, b, 1) */
    squared = af_sum_axis(c, af_square(c, gradient), 0);
    {
        size_t dims[2];
        dims[0] = DP__SCORE_ROWS;
        dims[1] = 1;
        squared = af_reshape(c, squared, 2, dims);
    }
    out = af_add(c, af_scale(c, squared, 0.5), laplacian);
    status = dp__score_compile(s, &out, 1, in, &f);
    if (status == AF_OK) {
        dp__score_rows(s, f, n, z, &r);
        r.out_count = 1;
        r.out[0] = values;
        r.out_width[0] = 1;
        status = dp__rows_all(c, &r);
    }
    for (i = 0; i < n; i++) sum += values[i];
    candidate->objective = sum / (double)n;
    af_func_destroy(f);
    dp__arena_free(&arena);
    return status;
}

/* Noise levels from the lowest of the training on, each alone and extrapolated to none. */
static size_t dp__score_candidates(const dp__score *s, dp__candidate out[DP__CANDIDATES]) {
    const dp_df_desc *d = &s->df->desc;
    size_t k, n = 0;
    for (k = 0; k < 6; k++) {
        double noise = d->noise > 0.0 ? d->noise : d->noise_low * pow(2.0, 0.5 * (double)k);
        if (noise * sqrt(2.0) > d->noise_high * 1.001) break;
        out[n].noise = noise;
        out[n++].extrapolate = 0;
        out[n].noise = noise;
        out[n++].extrapolate = 1;
        if (d->noise > 0.0) break;
    }
    return n;
}

static af_status dp__score_end(dp_df *df, const dp__data *stars, const dp_fit_desc *d,
                               dp_df_report *report) {
    dp__score *s = dp__score_of(df);
    dp__candidate all[DP__CANDIDATES];
    dp__arena arena = dp__arena_open(df->c);
    size_t n = report->held_out < DP__JUDGES ? report->held_out : (size_t)DP__JUDGES, k, i, count, best = 0;
    uint32_t *order = DP__ARRAY(&arena, uint32_t, stars->n);
    double *z = DP__ARRAY(&arena, double, 6 * n);
    af_status status = order && z ? AF_OK : dp__fail_memory(df->c, "the noise of a score");
    count = dp__score_candidates(s, all);
    if (status == AF_OK) {
        af_random_permutation(d->seed, 1, stars->n, order); /* the training's: held out first */
        for (i = 0; i < n; i++)
            memcpy(z + 6 * i, stars->rows + order[i] * stars->width, 6 * sizeof *z);
    }
    for (k = 0; k < count && status == AF_OK && n > 0; k++) {
        status = dp__score_objective(s, n, z, &all[k]);
        if (all[k].objective < all[best].objective) best = k;
    }
    dp__arena_free(&arena);
    if (status != AF_OK) return status;
    s->noise = all[best].noise;
    s->extrapolate = all[best].extrapolate;
    report->noise = s->noise;
    report->objective = n > 0 ? all[best].objective : NAN;
    dp__score_forget(s);
    return AF_OK;
}

/* ---- files ---- */

static af_status dp__score_save(const dp_df *df, af_tensors *to) {
    const dp__score *s = dp__score_of(df);
    af_status status = af_tensors_set_number(to, "score.noise", s->noise);
    if (status == AF_OK) status = af_tensors_set_whole(to, "score.extrapolate", s->extrapolate != 0);
    if (status == AF_OK && s->local) status = af_params_save(s->local, to, "df.");
    return status;
}

static af_status dp__score_load(dp_df *df, const af_tensors *from) {
    dp__score *s = dp__score_of(df);
    uint64_t extrapolate = 0;
    af_status status = af_tensors_number(from, "score.noise", &s->noise);
    if (status == AF_OK) status = af_tensors_whole(from, "score.extrapolate", &extrapolate);
    if (status == AF_OK && s->local) status = af_params_load(s->local, from, "df.");
    s->extrapolate = extrapolate != 0;
    if (status == AF_OK && !(s->noise > 0.0 && s->noise < 10.0))
        return af_fail(df->c, AF_ERROR_FORMAT, "the noise of the score is damaged");
    return status;
}

static const dp__engine dp__score_engine = {"score", dp__score_defaults, dp__score_declare,
                                            dp__score_close, 30, 1024, 2e-3, 0.999,
                                            dp__score_loss, dp__score_begin, dp__score_end,
                                            dp__score_evaluate, NULL, dp__score_save,
                                            dp__score_load};
