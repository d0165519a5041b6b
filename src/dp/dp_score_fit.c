/* ---- score: its training ------------------------------------------------------------------- */

/* ---- the loss ---- */

static af_expr dp__twice(af_context *c, af_expr a, af_expr b) {
    af_expr both[2];
    both[0] = a;
    both[1] = b;
    return af_concat(c, 0, 2, both);
}

/* xi (b,6): none in x where p(v|x) is learned. */
static af_expr dp__score_noise(const dp__score *s, size_t b, af_expr seed) {
    af_context *c = s->df->c;
    af_expr n = dp__normals(c, b, seed, 2);
    return s->df->desc.conditional ? af_pad(c, af_slice(c, n, -1, 0, 3), -1, 3, 6) : n;
}

/* What draws the network's parameters to where they began: without it a score learns the scatter of
 * its stars, the longer the more. Members of an ensemble begin at other places, so that their mean
 * is drawn less (anchored ensembles; Pearce et al. 2020). Stronger, single gradients scatter less,
 * and the potential of all of them is biased more. */
static af_expr dp__score_anchored(const dp__score *s) {
    af_context *c = s->df->c;
    size_t n = af_params_size(s->df->params);
    af_expr away = af_sub(c, af_params_input(s->df->params),
                          af_constant_array(c, 1, &n, s->anchor));
    return af_scale(c, af_sum(c, af_square(c, away)), 0.05 / sqrt((double)s->stars));
}

/* (|sigma s(z + sign sigma n) + sign n|^2 - |n|^2)/sigma^2 for both signs, over rows (b, width).
 * The two together are 2 |s|^2 + 4 n . (ds/dz) n in the limit of little noise: all levels count
 * alike. */
static af_expr dp__score_loss(void *user, af_expr rows, af_expr seed) {
    const dp__score *s = dp__score_of((dp_df *)user);
    const dp_df_desc *d = &s->df->desc;
    af_context *c = s->df->c;
    af_expr z = af_slice(c, rows, -1, 0, 6), weight = af_slice(c, rows, -1, 6, 1);
    af_expr xi, sigma, added, zz, score;
    size_t dims[AF_RANK_MAX];
    af_shape(c, z, dims);
    xi = dp__score_noise(s, dims[0], seed);
    dims[1] = 1;
    sigma = af_exp(c, af_offset(c, af_scale(c, af_random(c, 2, dims, seed, 1),
                                            log(d->noise_high / d->noise_low)),
                                log(d->noise_low)));
    added = af_mul(c, sigma, xi);
    zz = dp__twice(c, af_add(c, z, added), af_sub(c, z, added));
    sigma = dp__twice(c, sigma, sigma);
    af_grad(c, af_sum(c, dp__energy(s, zz, sigma)), 1, &zz, &score);
    score = af_mul(c, sigma, score);
    /* (a + n)^2 - n^2 = a (a + 2 n) */
    score = af_mul(c, score, af_add(c, score, af_scale(c, dp__twice(c, xi, af_neg(c, xi)), 2.0)));
    if (d->conditional) score = af_slice(c, score, -1, 3, 3);
    score = af_div(c, af_sum_axis(c, score, -1), af_square(c, sigma));
    score = af_mean(c, af_mul(c, dp__twice(c, weight, weight), score));
    score = af_add(c, score, dp__score_anchored(s));
    return af_scale(c, score, d->noise_low * d->noise_high); /* of the order of one, for clips */
}

/* ---- before and after the training ---- */

/* z (6 n) of the stars' y. */
static af_status dp__score_transform(dp__score *s, const dp__data *stars, double *to) {
    af_context *c = s->df->c;
    af_expr y = dp__score_input(s), log_det, z = dp__score_coordinates(s, y, &log_det);
    dp__arena arena = dp__arena_open(c);
    double *from = DP__ARRAY(&arena, double, 6 * stars->n);
    dp__rows r = DP__ZERO;
    size_t i;
    af_status status = from ? AF_OK : dp__fail_memory(c, "local coordinates");
    if (status == AF_OK && !s->transform)
        status = dp__score_compile(s, &z, 1, y, &s->transform);
    if (status == AF_OK) {
        for (i = 0; i < stars->n; i++)
            memcpy(from + 6 * i, stars->rows + i * stars->width, 6 * sizeof *from);
        dp__score_rows(s, s->transform, stars->n, from, &r);
        r.out_count = 1;
        r.out[0] = to;
        r.out_width[0] = DP__COORDINATES;
        status = dp__rows_all(c, &r);
    }
    dp__arena_free(&arena);
    return status;
}

/* rows begin with y and end with z in the frame of the stars as measured; the frame is then that
 * without their errors. */
static af_status dp__score_begin(dp_df *df, dp__data *stars, const dp_fit_desc *d) {
    dp__score *s = dp__score_of(df);
    double *z = DP__ARRAY(stars->arena, double, 6 * stars->n);
    size_t i;
    af_status status = z ? AF_OK : dp__fail_memory(df->c, "local coordinates");
    dp__score_forget(s);
    s->stars = stars->n;
    s->errors = 0;
    memset(af_params_view(s->frame, s->spread), 0, 6 * sizeof(double));
    if (status == AF_OK && s->local_net) status = dp__places_fit(df, stars, &s->places);
    if (status == AF_OK && s->local_net) status = dp__frame_fit(s, stars, d);
    if (status == AF_OK) status = dp__score_transform(s, stars, z);
    if (status == AF_OK && stars->errors) {
        s->errors = 1;
        status = dp__frame_fit(s, stars, d);
        if (status == AF_OK) status = dp__frame_judge(s, stars);
    }
    for (i = 0; i < stars->n && status == AF_OK; i++)
        memcpy(stars->rows + i * stars->width, z + 6 * i, 6 * sizeof *z);
    return status;
}

/* The held-out mean of |s|^2/2 + div s (Hyvarinen 2005) in the coordinates z, whose order among
 * candidates is that of their true mean squared errors. */
enum { DP__CANDIDATES = 6, DP__JUDGES = 16384 }; /* differences are between the same stars */

typedef struct dp__candidate {
    double noise;
    double objective;
} dp__candidate;

static af_status dp__score_objective(dp__score *s, size_t n, const double *stars,
                                     const double *weight, dp__candidate *candidate) {
    af_context *c = s->df->c;
    af_expr in = dp__score_input(s), parts[2], by, z, value, laplacian, out, gradient, squared;
    size_t dims[2];
    dp__arena arena = dp__arena_open(c);
    double *values = DP__ARRAY(&arena, double, n), sum = 0.0, weights = 0.0;
    dp__rows r = DP__ZERO;
    af_func *f = NULL;
    size_t i;
    af_status status;
    if (!values) return dp__fail_memory(c, "the noise of a score");
    parts[0] = af_slice(c, in, -1, 0, 3);
    parts[1] = af_slice(c, in, -1, 3, 3);
    by = s->df->desc.conditional ? parts[1] : in;
    z = s->df->desc.conditional ? af_concat(c, -1, 2, parts) : in;
    value = dp__energy(s, z, af_constant(c, candidate->noise));
    af_laplacian(c, value, by, &gradient, &laplacian); /* gradient (6 or 3, b, 1) */
    dims[0] = DP__SCORE_ROWS;
    dims[1] = 1;
    squared = af_reshape(c, af_sum_axis(c, af_square(c, gradient), 0), 2, dims);
    out = af_add(c, af_scale(c, squared, 0.5), laplacian);
    status = dp__score_compile(s, &out, 1, in, &f);
    if (status == AF_OK) {
        dp__score_rows(s, f, n, stars, &r);
        r.out_count = 1;
        r.out[0] = values;
        r.out_width[0] = 1;
        status = dp__rows_all(c, &r);
    }
    for (i = 0; i < n; i++) {
        sum += weight[i] * values[i];
        weights += weight[i];
    }
    candidate->objective = sum / weights;
    af_func_destroy(f);
    dp__arena_free(&arena);
    return status;
}

/* No noise, and levels from the lowest of the training on. */
static size_t dp__score_candidates(const dp__score *s, dp__candidate out[DP__CANDIDATES]) {
    const dp_df_desc *d = &s->df->desc;
    size_t k;
    out[0].noise = d->noise;
    if (d->noise > 0.0) return 1;
    for (k = 1; k < (size_t)DP__CANDIDATES; k++) {
        out[k].noise = d->noise_low * pow(2.0, 0.5 * (double)(k - 1));
        if (out[k].noise > d->noise_high) break;
    }
    return k;
}

static af_status dp__score_end(dp_df *df, const dp__data *stars, const dp_fit_desc *d,
                               dp_df_report *report) {
    dp__score *s = dp__score_of(df);
    dp__candidate all[DP__CANDIDATES];
    dp__arena arena = dp__arena_open(df->c);
    size_t n = report->held_out < DP__JUDGES ? report->held_out : (size_t)DP__JUDGES;
    size_t k, i, count, best = 0;
    uint32_t *order = DP__ARRAY(&arena, uint32_t, stars->n);
    double *z = DP__ARRAY(&arena, double, 6 * n), *weight = DP__ARRAY(&arena, double, n);
    af_status status = AF_OK;
    if (!order || !z || !weight) status = dp__fail_memory(df->c, "the noise of a score");
    count = dp__score_candidates(s, all);
    if (status == AF_OK) {
        af_random_permutation(d->seed, 1, stars->n, order); /* the training's: held out first */
        for (i = 0; i < n; i++) {
            memcpy(z + 6 * i, stars->rows + order[i] * stars->width, 6 * sizeof *z);
            weight[i] = stars->rows[order[i] * stars->width + 6];
        }
    }
    for (k = 0; k < count && status == AF_OK && n > 0; k++) {
        status = dp__score_objective(s, n, z, weight, &all[k]);
        if (all[k].objective < all[best].objective) best = k;
    }
    dp__arena_free(&arena);
    if (status != AF_OK) return status;
    s->noise = all[best].noise;
    report->noise = s->noise;
    report->objective = n > 0 ? all[best].objective : NAN;
    dp__score_forget(s);
    return AF_OK;
}

/* ---- files ---- */

static af_status dp__score_save(const dp_df *df, af_tensors *to) {
    const dp__score *s = dp__score_of(df);
    size_t numbers = DP__PLACES_NUMBERS;
    af_status status = af_tensors_set_number(to, "score.noise", s->noise);
    if (status == AF_OK) status = af_params_save(s->frame, to, "df.");
    if (status == AF_OK && s->local_net)
        status = af_tensors_add(to, "score.places", AF_DTYPE_F64, 1, &numbers, &s->places);
    return status;
}

static af_status dp__score_load(dp_df *df, const af_tensors *from) {
    dp__score *s = dp__score_of(df);
    size_t numbers = DP__PLACES_NUMBERS;
    af_status status = af_tensors_number(from, "score.noise", &s->noise);
    if (status == AF_OK) status = af_params_load(s->frame, from, "df.");
    if (status == AF_OK && s->local_net)
        status = af_tensors_get(from, "score.places", 1, &numbers, (double *)&s->places);
    if (status == AF_OK &&
        !(s->noise >= 0.0 && s->noise < 10.0 && dp__places_valid(&s->places)))
        return af_fail(df->c, AF_ERROR_FORMAT,
                       "the noise or the stretched places of the score are damaged");
    return status;
}

static const dp__engine dp__score_engine = {"score", dp__score_defaults, dp__score_declare,
                                            dp__score_close, 60, 1024, 5e-3, 0.999,
                                            dp__score_loss, dp__score_begin, dp__score_end,
                                            dp__score_evaluate, NULL, dp__score_save,
                                            dp__score_load};
