/* ---- score: a scalar network for ln f, trained by denoising -------------------------------------
 *
 * The network E(z, ln sigma) is ln of f smoothed by the noise sigma, up to a constant; its gradient
 * s = dE/dz, the score, is free of curl by construction. Denoising score matching (Vincent 2011):
 * with noise n of variance one the mean of |sigma s(z + sigma n) + n|^2 over stars and noise is
 * smallest for the score of f smoothed by sigma. Every star is seen with n and with -n, which takes
 * out the largest part of the scatter. With the noise E changes smoothly: the network gives the
 * terms of a polynomial in t = sigma^2/(1 + sigma^2), in which a normal f is linear, and all levels
 * of noise together tell the first, which is ln f without noise.
 *
 * The coordinates z = (X, u) are places stretched to X(x), dp_score_places.c, and velocities from
 * the mean m of the stars around, in units of their dispersion: u = A (v - m). A disc that is cold
 * and turns is then as smooth as a hot sphere. m and A are a small network of R and z along and
 * about the axis, and beside it a linear part of m and one matrix in A; all is found first, by the
 * likelihood of a normal distribution (dp_score_frame.c). What they miss is left to f; but f would
 * have to take out again what scatter they had themselves.
 *
 * The network gets what stars in galaxies are sorted by: radii and the components of u along and
 * about them; and z itself, scaled down. No symmetry is imposed by that, but nearly symmetric
 * functions are near. */

typedef struct dp__score {
    dp_df *df;
    af_params *frame;   /* spread, m and A */
    dp__places places;
    double *anchor;     /* the network's first parameters */
    af_net *local_net, *net; /* the former NULL: plain coordinates */
    size_t spread;      /* view (6): ln of factors, of X alone in local coordinates */
    size_t shear, even; /* views: m's linear part (3,3); A's matrix less 1 (6) */
    size_t stars;       /* of the fit */
    int errors;         /* whether the frame is found from stars with errors, as such */
    double noise;       /* of the evaluation: 0 or more */
    af_func *evaluate, *divergence, *transform;
} dp__score;

enum { DP__LOCAL = 7, DP__FEATURES = 7, DP__NOISE_TERMS = 3, DP__SCORE_ROWS = 256 };

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
    af_params_destroy(s->frame);
}

static void dp__score_defaults(dp_df_desc *d, const char **text) {
    if (d->width == 0) d->width = 64;
    if (d->depth == 0) d->depth = 3;
    if (!(d->noise_low > 0.0)) d->noise_low = 0.1;
    if (!(d->noise_high > 0.0)) d->noise_high = 0.7;
    if (!(d->noise_high > 1.5 * d->noise_low)) *text = "the range of its noise is empty";
    if (!(d->noise >= 0.0)) *text = "its noise is negative";
}

static af_status dp__score_declare(dp_df *df) {
    dp__score *s = DP__NEW(&df->arena, dp__score);
    af_net_desc net = DP__ZERO, none = DP__ZERO;
    size_t square[2] = {3, 3}, six = 6;
    af_status status;
    df->state = s;
    if (!s) return dp__fail_memory(df->c, "a score");
    s->df = df;
    s->noise = df->desc.noise;
    dp__places_open(&s->places);
    status = af_params_create(df->c, df->desc.seed + 1, &s->frame);
    if (status == AF_OK)
        status = af_params_add(s->frame, "spread", 1, &six, AF_INIT_CONSTANT, 0.0, &s->spread);
    if (status == AF_OK && !df->desc.plain_coordinates) {
        net.name = "local";
        net.inputs = 3;
        net.outputs = DP__LOCAL;
        net.width = 32;
        net.depth = 2;
        status = af_net_create(s->frame, &net, &s->local_net);
        if (status == AF_OK)
            status = af_params_add(s->frame, "shear", 2, square, AF_INIT_CONSTANT, 0.0, &s->shear);
        if (status == AF_OK)
            status = af_params_add(s->frame, "even", 1, &six, AF_INIT_CONSTANT, 0.0, &s->even);
    }
    if (status != AF_OK) return status;
    net = none;
    net.name = "energy";
    net.inputs = (size_t)DP__COORDINATES + (df->desc.plain_inputs ? 0 : (size_t)DP__FEATURES);
    net.outputs = DP__NOISE_TERMS;
    net.width = df->desc.width;
    net.depth = df->desc.depth;
    net.activation = df->desc.activation;
    status = af_net_create(df->params, &net, &s->net);
    if (status != AF_OK) return status;
    s->anchor = DP__ARRAY(&df->arena, double, af_params_size(df->params));
    if (!s->anchor) return dp__fail_memory(df->c, "a score");
    memcpy(s->anchor, af_params_data(df->params), af_params_size(df->params) * sizeof(double));
    return AF_OK;
}

/* ---- local coordinates ---- */

/* The components of places (b,3) from the origin of the sample's coordinates; x and y in the same
 * units. Stretched ones, X, are taken for what is not: nearness of the features to what they are
 * named after is what counts then; but the edge of a volume is no direction from the origin. */
static void dp__from_origin(const dp__score *s, af_expr place, int stretched, af_expr x[3]) {
    const double *mean = s->df->mean, *scale = s->df->scale;
    const dp_volume *volume = &s->df->volume;
    double unit[3];
    af_context *c = s->df->c;
    af_expr z;
    size_t k;
    for (k = 0; k < 3; k++)
        x[k] = af_offset(c, af_scale(c, af_slice(c, place, -1, k, 1), scale[k]), mean[k]);
    z = x[2];
    stretched = stretched && volume->kind == DP_VOLUME_SPHERE && dp__is_widened(volume);
    if (stretched) x[2] = af_constant(c, mean[2]);
    dp__widen_back_expr(c, volume, x);
    if (stretched) /* X has z as it was */
        x[2] = af_offset(c, af_scale(c, z, dp__widen_unit(volume, 2)), volume->centre[2]);
    unit[0] = unit[1] = sqrt(0.5 * (scale[0] * scale[0] + scale[1] * scale[1]));
    unit[2] = scale[2];
    for (k = 0; k < 3; k++)
        x[k] = af_scale(c, x[k], 1.0 / (unit[k] * dp__widen_unit(&s->df->volume, k)));
}

/* sqrt(a^2 + softening): a length that is smooth where it vanishes. */
static af_expr dp__length(af_context *c, af_expr square) {
    return af_sqrt(c, af_offset(c, square, 0.01)); /* 0.1 standard deviations, as the noise */
}

/* v (b,3) in terms of the unit vectors along and about the axis and along z; back: of such. */
static void dp__turn(af_context *c, const af_expr unit[2], const af_expr v[3], int back,
                     af_expr out[3]) {
    af_expr cross = af_mul(c, unit[1], v[1]);
    out[0] = af_mul(c, unit[0], v[0]);
    out[0] = back ? af_sub(c, out[0], cross) : af_add(c, out[0], cross);
    cross = af_mul(c, unit[1], v[0]);
    out[1] = af_mul(c, unit[0], v[1]);
    out[1] = back ? af_add(c, out[1], cross) : af_sub(c, out[1], cross);
    out[2] = v[2];
}

/* w (b,3) of place (b,3) and v (b,3), and ln |det dw/dv|, a scalar: the mean's part that is
 * linear in the place is taken off, and what is left times 1 + E, one symmetric matrix
 * everywhere. */
static af_expr dp__shear_apply(const dp__score *s, af_expr place, af_expr v, af_expr *log_det) {
    static const size_t next[6] = {0, 1, 2, 0, 1, 2}, across[3] = {5, 3, 4};
    af_context *c = s->df->c;
    af_expr shear = af_params_expr(s->frame, s->shear);
    af_expr even = af_params_expr(s->frame, s->even), e[6], w[3], part[3], det;
    size_t k;
    v = af_sub(c, v, af_matmul(c, place, shear));
    for (k = 0; k < 6; k++) e[k] = af_slice(c, even, 0, k, 1); /* xx yy zz xy yz zx */
    for (k = 0; k < 3; k++) {
        e[k] = af_offset(c, e[k], 1.0);
        w[k] = af_slice(c, v, -1, k, 1);
    }
    for (k = 0; k < 3; k++) {
        part[k] = af_add(c, af_mul(c, e[k], w[k]), af_mul(c, e[3 + k], w[next[k + 1]]));
        part[k] = af_add(c, part[k], af_mul(c, e[across[k]], w[next[k + 2]]));
    }
    det = af_mul(c, e[0], af_mul(c, e[1], e[2]));
    det = af_add(c, det, af_scale(c, af_mul(c, e[3], af_mul(c, e[4], e[5])), 2.0));
    for (k = 0; k < 3; k++)
        det = af_sub(c, det, af_mul(c, e[k], af_square(c, e[3 + next[k + 1]])));
    *log_det = af_scale(c, af_log(c, af_square(c, det)), 0.5);
    return af_concat(c, -1, 3, part);
}

/* u (b,3) of place (b,3) and v (b,3); *log_det (b,1) gets ln |det du/dv|, away (3 of b,1) what u
 * is linear in. Along and about the axis and along z the network gives the mean (3), the logarithms
 * of 1/dispersion (3) and the tilt of R against z; what tells the first two directions apart
 * vanishes on the axis. */
static af_expr dp__local_apply(const dp__score *s, af_expr place, af_expr v, af_expr *log_det,
                               af_expr away[3]) {
    af_context *c = s->df->c;
    af_expr none = DP__ZERO, x[3], in[3], out[DP__LOCAL], unit[2], square, rise, all, u[3], about,
            along, up, tilt;
    size_t k;
    dp__from_origin(s, place, 0, x);
    square = af_add(c, af_square(c, x[0]), af_square(c, x[1]));
    in[0] = dp__length(c, square);
    in[1] = x[2];
    in[2] = dp__length(c, af_square(c, x[2]));
    all = af_net_apply(s->local_net, af_concat(c, -1, 3, in), none);
    for (k = 0; k < (size_t)DP__LOCAL; k++) out[k] = af_slice(c, all, -1, k, 1);
    square = af_offset(c, square, 1e-8);
    for (k = 0; k < 2; k++) unit[k] = af_div(c, x[k], af_sqrt(c, square));
    rise = af_div(c, square, af_offset(c, square, 0.1));
    v = dp__shear_apply(s, place, v, log_det);
    for (k = 0; k < 2; k++) out[k] = af_mul(c, af_sqrt(c, rise), out[k]);
    dp__turn(c, unit, out, 1, u);
    for (k = 0; k < 3; k++) away[k] = af_sub(c, af_slice(c, v, -1, k, 1), u[k]);
    dp__turn(c, unit, away, 0, x);
    about = af_exp(c, out[3]);
    along = af_exp(c, af_add(c, out[3], af_mul(c, rise, out[4])));
    up = af_exp(c, out[5]);
    tilt = af_mul(c, af_sqrt(c, rise), out[6]);
    /* L L^T with L = ((along, 0), (tilt, up)) in the plane of R and z */
    u[0] = af_add(c, af_mul(c, along, x[0]), af_mul(c, tilt, x[2]));
    u[2] = af_add(c, af_mul(c, tilt, u[0]), af_mul(c, af_square(c, up), x[2]));
    u[0] = af_mul(c, along, u[0]);
    u[1] = af_mul(c, af_square(c, about), x[1]);
    dp__turn(c, unit, u, 1, x);
    square = af_add(c, af_add(c, af_scale(c, out[3], 2.0), af_mul(c, rise, out[4])), out[5]);
    *log_det = af_add(c, af_scale(c, square, 2.0), *log_det);
    return af_concat(c, -1, 3, x);
}

/* z (b,6) = (X, u) of y (b,6), and ln |det dz/dy| (b,1). In local coordinates place (b,3) gets X
 * before its spread and away (3 of b,1) what u is linear in. m and A are functions of X, which has
 * no far outskirts; within a volume, of the place as it was, whose directions are the galaxy's. */
static af_expr dp__score_parts(const dp__score *s, af_expr y, af_expr *log_det, af_expr *place,
                               af_expr away[3]) {
    af_context *c = s->df->c;
    af_expr spread = af_params_expr(s->frame, s->spread), parts[2], of_velocity, at;
    if (!s->local_net) {
        *log_det = af_sum(c, spread);
        return af_mul(c, y, af_exp(c, spread));
    }
    *place = dp__places_apply(s->df, &s->places, af_slice(c, y, -1, 0, 3), log_det);
    at = dp__is_widened(&s->df->volume) ? af_slice(c, y, -1, 0, 3) : *place;
    parts[1] = dp__local_apply(s, at, af_slice(c, y, -1, 3, 3), &of_velocity, away);
    spread = af_slice(c, spread, 0, 0, 3);
    parts[0] = af_mul(c, *place, af_exp(c, spread));
    *log_det = af_add(c, af_add(c, *log_det, of_velocity), af_sum(c, spread));
    return af_concat(c, -1, 2, parts);
}

static af_expr dp__score_coordinates(const dp__score *s, af_expr y, af_expr *log_det) {
    af_expr place, away[3];
    return dp__score_parts(s, y, log_det, &place, away);
}

/* ---- the energy ---- */

/* The features of z (b,6): r, R, |z|, u along r, u along and about R, |u|^2. Positions are from the
 * origin, in units of their spread. */
static void dp__features(const dp__score *s, af_expr z, af_expr out[DP__FEATURES]) {
    af_context *c = s->df->c;
    af_expr x[3], u[3], along, r, radius, square = af_constant(c, 0.0), dot = square;
    size_t k;
    dp__from_origin(s, z, s->local_net != NULL, x);
    for (k = 0; k < 3; k++) {
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

/* E (b,1) at z (b,6) with noise sigma (b,1) or a scalar: what a normal f would give, and the
 * network's outputs as the terms of a polynomial in t, which is one at the highest noise. */
static af_expr dp__energy(const dp__score *s, af_expr z, af_expr sigma) {
    af_context *c = s->df->c;
    af_expr none = DP__ZERO, parts[1 + DP__FEATURES], out, square, sum, t,
            power = af_constant(c, 1.0);
    double high = s->df->desc.noise_high * s->df->desc.noise_high;
    int plain = s->df->desc.plain_inputs;
    size_t k;
    square = af_square(c, sigma);
    t = af_div(c, af_scale(c, square, (1.0 + high) / high), af_offset(c, square, 1.0));
    square = af_offset(c, square, 1.0); /* the variance of z with the noise */
    sum = af_scale(c, af_div(c, af_sum_axis(c, af_square(c, z), -1), square), -0.5);
    if (!plain) dp__features(s, z, parts);
    parts[DP__FEATURES] = af_scale(c, z, 0.3); /* heard less than what nearly sorts the stars */
    out = af_net_apply(s->net, plain ? z : af_concat(c, -1, 1 + DP__FEATURES, parts), none);
    for (k = 0; k < (size_t)DP__NOISE_TERMS; k++) {
        sum = af_add(c, sum, af_mul(c, af_slice(c, out, -1, k, 1), power));
        power = af_mul(c, power, t);
    }
    return sum;
}

/* ---- evaluation ---- */

static af_status dp__score_compile(dp__score *s, const af_expr *out, size_t count, af_expr y,
                                   af_func **f) {
    af_func_desc d = DP__ZERO;
    af_expr in[3];
    in[0] = y;
    in[1] = af_params_input(s->df->params);
    in[2] = af_params_input(s->frame);
    d.inputs = in;
    d.input_count = 3;
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
    out[0] = af_add(c, dp__energy(s, z, af_constant(c, s->noise)), log_det);
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
    r->fixed_count = 2;
    r->fixed[0] = af_params_data(s->df->params);
    r->fixed[1] = af_params_data(s->frame);
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
