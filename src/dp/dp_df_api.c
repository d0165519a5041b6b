/* ---- distribution functions: the interface --------------------------------------------------- */

#include <stdio.h>

static const dp__engine *dp__engine_of(dp_df_kind kind) {
    switch (kind) {
    case DP_DF_SCORE: return &dp__score_engine;
    case DP_DF_MATCHING: return &dp__matching_engine;
    case DP_DF_SPLINE: return &dp__spline_engine;
    case DP_DF_FFJORD: return &dp__ffjord_engine;
    default: return NULL;
    }
}

AF_API const char *dp_df_name(dp_df_kind kind) {
    const dp__engine *engine = dp__engine_of(kind);
    return engine ? engine->name : "none";
}

AF_API dp_df_desc dp_df_describe(const dp_df *df) { return df->desc; }

AF_API size_t dp_df_parameters(const dp_df *df) { return af_params_size(df->params); }

AF_API void dp_df_destroy(dp_df *df) {
    dp__arena arena;
    if (!df) return;
    if (df->engine && df->engine->close) df->engine->close(df);
    af_params_destroy(df->params);
    arena = df->arena; /* df itself lies in it */
    dp__arena_free(&arena);
}

/* A distribution function without scales. */
static af_status dp__df_open(af_context *c, const dp_df_desc *desc, dp_df **out) {
    dp__arena arena = dp__arena_open(c);
    dp_df *df = DP__NEW(&arena, dp_df);
    const char *complaint = NULL;
    af_status s;
    *out = NULL;
    if (!df) return dp__fail_memory(c, "a distribution function");
    df->c = c;
    df->arena = arena;
    if (desc) df->desc = *desc;
    df->engine = dp__engine_of(df->desc.kind);
    if (df->desc.start_canary != 0 || df->desc.end_canary != 0)
        complaint = "dp_df_desc was not initialised to zero";
    else if (!df->engine)
        complaint = "there is no such kind";
    else
        df->engine->defaults(&df->desc, &complaint);
    if (complaint)
        s = af_fail(c, AF_ERROR_ARGUMENT, "distribution function: %s", complaint);
    else
        s = af_params_create(c, df->desc.seed, &df->params);
    if (s == AF_OK) s = df->engine->declare(df);
    if (s != AF_OK) {
        if (complaint) df->engine = NULL; /* nothing of its own to close */
        dp_df_destroy(df);
        return s;
    }
    *out = df;
    return AF_OK;
}

static double dp__weight(const dp_sample *s, size_t i) {
    const double *weights = dp_sample_weights(s);
    return weights ? weights[i] : 1.0;
}

/* Weighted means and standard deviations of o. */
static af_status dp__df_scales(dp_df *df, const dp_sample *s) {
    double square[DP__COORDINATES] = {0}, sum = 0.0, o[DP__COORDINATES];
    size_t i, k, n = dp_sample_count(s);
    for (i = 0; i < n; i++) { /* Welford, weighted */
        double w = dp__weight(s, i);
        if (!(w > 0.0)) continue;
        memcpy(o, dp_sample_eta(s) + 6 * i, sizeof o);
        dp__widen(&df->volume, o, NULL);
        sum += w;
        for (k = 0; k < (size_t)DP__COORDINATES; k++) {
            double away = o[k] - df->mean[k];
            df->mean[k] += away * w / sum;
            square[k] += w * away * (o[k] - df->mean[k]);
        }
    }
    for (k = 0; k < (size_t)DP__COORDINATES; k++) {
        df->scale[k] = sum > 0.0 ? sqrt(square[k] / sum) : 0.0;
        if (!(df->scale[k] > 0.0) || !dp__is_finite(df->scale[k]))
            return af_fail(df->c, AF_ERROR_DATA,
                           "distribution function: the stars do not spread along %s",
                           k == 0 ? "x" : k == 1 ? "y" : k == 2 ? "z" : k == 3 ? "vx"
                           : k == 4 ? "vy" : "vz");
    }
    return AF_OK;
}

AF_API af_status dp_df_create(const dp_sample *sample, const dp_df_desc *desc, dp_df **out) {
    af_context *c = dp_sample_context(sample);
    af_status s;
    *out = NULL;
    if (dp_sample_count(sample) < (size_t)DP__FEWEST_STARS)
        return af_fail(c, AF_ERROR_DATA,
                       "distribution function: %lu stars are too few; at least %d are needed",
                       (unsigned long)dp_sample_count(sample), (int)DP__FEWEST_STARS);
    s = dp__df_open(c, desc, out);
    if (s != AF_OK) return s;
    (*out)->volume = dp_sample_volume(sample);
    s = dp__df_scales(*out, sample);
    if (s != AF_OK) {
        dp_df_destroy(*out);
        *out = NULL;
    }
    return s;
}

/* ---- training ---- */

enum { DP__USUAL_STARS = 1 << 17 };

static af_status dp__data_fill(dp_df *df, const dp_sample *s, dp__arena *arena,
                                dp__data *stars) {
    const double *eta = dp_sample_eta(s), *errors = dp_sample_errors(s);
    size_t i, k, n = dp_sample_count(s);
    double sum = 0.0;
    stars->n = n;
    stars->width = DP__ROW;
    stars->arena = arena;
    stars->errors = errors != NULL;
    stars->rows = DP__ARRAY(arena, double, n *DP__ROW);
    if (!stars->rows) return dp__fail_memory(df->c, "the rows of a distribution function's fit");
    for (i = 0; i < n; i++) sum += dp__weight(s, i);
    for (i = 0; i < n; i++) {
        double *row = stars->rows + i * DP__ROW;
        for (k = 0; k < (size_t)DP__COORDINATES; k++) row[7 + k] = errors ? errors[6 * i + k] : 0.0;
        dp__standardise(df, eta + 6 * i, row, row + 7);
        row[6] = dp__weight(s, i) * (double)n / sum;
        for (k = 0; k < (size_t)DP__COORDINATES; k++)
            if (!(fabs(row[k]) < 1e6))
                return af_fail(df->c, AF_ERROR_DATA,
                               "distribution function: star %lu lies %g standard deviations out; "
                               "leave it out, or cut the sample to a volume",
                               (unsigned long)i, row[k]);
    }
    return AF_OK;
}

AF_API af_status dp_df_fit(dp_df *df, const dp_sample *sample, const dp_fit_desc *desc,
                           dp_df_report *report) {
    dp_fit_desc d = DP__ZERO;
    dp_df_report found = DP__ZERO;
    dp__training t = DP__ZERO;
    dp__trained trained = DP__ZERO;
    dp__data stars = DP__ZERO;
    dp__arena arena = dp__arena_open(df->c);
    af_status s, stopped = AF_OK;
    if (desc) d = *desc;
    if (d.start_canary != 0 || d.end_canary != 0)
        return af_fail(df->c, AF_ERROR_ARGUMENT, "fit: dp_fit_desc was not initialised to zero");
    t.label = "the fit of a distribution function";
    t.params = df->params;
    t.loss = df->engine->loss;
    t.user = df;
    t.batch = df->engine->batch;
    t.rate = df->engine->rate;
    t.average = df->engine->average;
    t.clip = 5.0;
    s = dp__data_fill(df, sample, &arena, &stars);
    if (s == AF_OK && df->engine->begin) s = df->engine->begin(df, &stars, &d);
    t.rows = stars.rows;
    t.n = stars.n;
    t.epochs = df->engine->epochs; /* as many steps as for 2^17 stars, at least */
    if (stars.n > 0 && stars.n < DP__USUAL_STARS)
        t.epochs = t.epochs * DP__USUAL_STARS / stars.n;
    t.width = stars.width;
    if (s == AF_OK) s = dp__train(df->c, &t, &d, &trained);
    if (s == AF_STOPPED) {
        stopped = s;
        s = AF_OK;
    }
    found.stars = trained.stars;
    found.held_out = trained.held_out;
    found.loss = trained.loss;
    found.validation = trained.validation;
    found.untrained = trained.untrained;
    if (s == AF_OK && df->engine->end) s = df->engine->end(df, &stars, &d, &found);
    dp__arena_free(&arena);
    if (s == AF_OK && report) *report = found;
    return s == AF_OK ? stopped : s;
}

/* ---- evaluation ---- */

static af_status dp__df_finite(dp_df *df, size_t n, const double *values, size_t width) {
    size_t i;
    for (i = 0; values && i < n * width; i++)
        if (!dp__is_finite(values[i]))
            return af_fail(df->c, AF_ERROR_NONFINITE,
                           "distribution function: it is not finite at point %lu",
                           (unsigned long)(i / width));
    return AF_OK;
}

/* y (n,6) of eta (n,6), and the determinant's part of ln f (n). */
static af_status dp__df_places(dp_df *df, size_t n, const double *eta, double *y, double *volume) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (!dp__widen_holds(&df->volume, eta + 6 * i))
            return af_fail(df->c, AF_ERROR_DATA,
                           "distribution function: point %lu at (%g, %g, %g) lies outside the "
                           "volume of the sample it was fitted to, where nothing is known of it",
                           (unsigned long)i, eta[6 * i], eta[6 * i + 1], eta[6 * i + 2]);
        volume[i] = dp__standardise(df, eta + 6 * i, y + 6 * i, NULL) + df->constant;
    }
    return AF_OK;
}

AF_API af_status dp_df_evaluate(dp_df *df, size_t n, const double *eta, double *ln_f,
                                double *gradient) {
    dp__arena arena = dp__arena_open(df->c);
    double *y, *volume;
    size_t i, k;
    af_status s = dp__df_finite(df, n, eta, DP__COORDINATES);
    if (s != AF_OK || n == 0) return s;
    y = DP__ARRAY(&arena, double, n *DP__COORDINATES);
    volume = DP__ARRAY(&arena, double, n);
    s = y && volume ? dp__df_places(df, n, eta, y, volume)
                    : dp__fail_memory(df->c, "points of a distribution function");
    if (s == AF_OK) s = df->engine->evaluate(df, n, y, ln_f, gradient);
    for (i = 0; s == AF_OK && ln_f && i < n; i++) ln_f[i] += volume[i];
    for (i = 0; s == AF_OK && gradient && i < n; i++) {
        for (k = 0; k < (size_t)DP__COORDINATES; k++) gradient[6 * i + k] /= df->scale[k];
        dp__widen_gradient(&df->volume, eta + 6 * i, gradient + 6 * i);
    }
    dp__arena_free(&arena);
    if (s == AF_OK) s = dp__df_finite(df, n, ln_f, 1);
    if (s == AF_OK) s = dp__df_finite(df, n, gradient, DP__COORDINATES);
    return s;
}

AF_API af_status dp_df_draw(dp_df *df, size_t n, uint64_t seed, double *eta) {
    af_status s;
    if (!df->engine->draw)
        return af_fail(df->c, AF_ERROR_ARGUMENT,
                       "distribution function: a %s gives no samples; fit a flow (matching, spline "
                       "or ffjord) to the same stars", df->engine->name);
    s = df->engine->draw(df, n, seed, eta);
    if (s == AF_OK) s = dp__df_finite(df, n, eta, DP__COORDINATES);
    if (s == AF_OK) dp__unstandardise(df, n, eta);
    return s;
}

/* Z = <exp(ln f) / q> over draws of q; the largest ratio is taken out of the exponential. */
static double dp__importance(size_t n, const double *ln_f, const double *ln_q, double *error) {
    double top = -HUGE_VAL, sum = 0.0, square = 0.0, mean;
    size_t i;
    for (i = 0; i < n; i++) top = fmax(top, ln_f[i] - ln_q[i]);
    for (i = 0; i < n; i++) {
        double r = exp(ln_f[i] - ln_q[i] - top);
        sum += r;
        square += r * r;
    }
    mean = sum / (double)n;
    *error = sqrt(fmax(square / (double)n - mean * mean, 0.0) / (double)n) / mean;
    return top + log(mean);
}

AF_API af_status dp_df_normalise(dp_df *df, dp_df *flow, size_t n, uint64_t seed, double *error) {
    dp__arena arena = dp__arena_open(df->c);
    double *eta, *ln_f, scatter = 0.0, shift;
    af_status s;
    if (n < 2 || df->desc.conditional)
        return af_fail(df->c, AF_ERROR_ARGUMENT,
                       "normalise: it takes two draws or more, and not a conditional function");
    eta = DP__ARRAY(&arena, double, 6 * n);
    ln_f = DP__ARRAY(&arena, double, 2 * n);
    s = eta && ln_f ? AF_OK : dp__fail_memory(df->c, "draws to normalise a distribution function");
    if (s == AF_OK) s = dp_df_draw(flow, n, seed, eta);
    if (s == AF_OK) s = dp_df_evaluate(flow, n, eta, ln_f + n, NULL);
    if (s == AF_OK) s = dp_df_evaluate(df, n, eta, ln_f, NULL);
    if (s == AF_OK) {
        shift = dp__importance(n, ln_f, ln_f + n, &scatter);
        df->constant -= shift;
        df->normalised = 1;
        if (error) *error = scatter;
    }
    dp__arena_free(&arena);
    return s;
}

/* ---- files ---- */

#define DP__DF_FORMAT "deeppotential distribution function" /* and a number */
#define DP__DF_VERSION DP__DF_FORMAT " 4"

static af_status dp__df_save_desc(const dp_df_desc *d, af_tensors *to) {
    af_status s = af_tensors_set_text(to, "kind", dp_df_name(d->kind));
    if (s == AF_OK) s = af_tensors_set_whole(to, "seed", d->seed);
    if (s == AF_OK) s = af_tensors_set_whole(to, "width", d->width);
    if (s == AF_OK) s = af_tensors_set_whole(to, "depth", d->depth);
    if (s == AF_OK) s = af_tensors_set_whole(to, "activation", (uint64_t)d->activation);
    if (s == AF_OK) s = af_tensors_set_whole(to, "transforms", d->transforms);
    if (s == AF_OK) s = af_tensors_set_whole(to, "bins", d->bins);
    if (s == AF_OK) s = af_tensors_set_whole(to, "steps", d->steps);
    if (s == AF_OK) s = af_tensors_set_number(to, "bound", d->bound);
    if (s == AF_OK) s = af_tensors_set_number(to, "kinetic", d->kinetic);
    if (s == AF_OK) s = af_tensors_set_number(to, "jacobian", d->jacobian);
    if (s == AF_OK) s = af_tensors_set_number(to, "noise_low", d->noise_low);
    if (s == AF_OK) s = af_tensors_set_number(to, "noise_high", d->noise_high);
    if (s == AF_OK) s = af_tensors_set_number(to, "noise", d->noise);
    if (s == AF_OK) s = af_tensors_set_whole(to, "plain_coordinates", d->plain_coordinates != 0);
    if (s == AF_OK) s = af_tensors_set_whole(to, "plain_inputs", d->plain_inputs != 0);
    if (s == AF_OK) s = af_tensors_set_whole(to, "conditional", d->conditional != 0);
    return s;
}

static af_status dp__whole(const af_tensors *from, const char *key, size_t *out) {
    uint64_t value = 0;
    af_status s = af_tensors_whole(from, key, &value);
    if (s == AF_OK) *out = (size_t)value;
    return s;
}

static af_status dp__df_load_kind(af_context *c, const af_tensors *from, dp_df_desc *d) {
    const char *format = af_tensors_text(from, "format"), *kind = af_tensors_text(from, "kind");
    int k;
    if (!format || !kind || strncmp(format, DP__DF_FORMAT, strlen(DP__DF_FORMAT)) != 0)
        return af_fail(c, AF_ERROR_FORMAT, "this file does not hold a distribution function");
    if (strcmp(format, DP__DF_VERSION) != 0)
        return af_fail(c, AF_ERROR_FORMAT,
                       "this is a '%s', of another version of the library, which has '%s': fit it "
                       "again",
                       format, DP__DF_VERSION);
    for (k = (int)DP_DF_SCORE; k <= (int)DP_DF_FFJORD; k++)
        if (strcmp(kind, dp_df_name((dp_df_kind)k)) == 0) {
            d->kind = (dp_df_kind)k;
            return AF_OK;
        }
    return af_fail(c, AF_ERROR_FORMAT, "there is no kind '%s' of distribution function", kind);
}

static af_status dp__df_load_desc(af_context *c, const af_tensors *from, dp_df_desc *d) {
    size_t activation = 0, plain = 0, inputs = 0, conditional = 0;
    af_status s = dp__df_load_kind(c, from, d);
    if (s == AF_OK) s = af_tensors_whole(from, "seed", &d->seed);
    if (s == AF_OK) s = dp__whole(from, "width", &d->width);
    if (s == AF_OK) s = dp__whole(from, "depth", &d->depth);
    if (s == AF_OK) s = dp__whole(from, "activation", &activation);
    if (s == AF_OK) s = dp__whole(from, "transforms", &d->transforms);
    if (s == AF_OK) s = dp__whole(from, "bins", &d->bins);
    if (s == AF_OK) s = dp__whole(from, "steps", &d->steps);
    if (s == AF_OK) s = af_tensors_number(from, "bound", &d->bound);
    if (s == AF_OK) s = af_tensors_number(from, "kinetic", &d->kinetic);
    if (s == AF_OK) s = af_tensors_number(from, "jacobian", &d->jacobian);
    if (s == AF_OK) s = af_tensors_number(from, "noise_low", &d->noise_low);
    if (s == AF_OK) s = af_tensors_number(from, "noise_high", &d->noise_high);
    if (s == AF_OK) s = af_tensors_number(from, "noise", &d->noise);
    if (s == AF_OK) s = dp__whole(from, "plain_coordinates", &plain);
    if (s == AF_OK) s = dp__whole(from, "plain_inputs", &inputs);
    if (s == AF_OK) s = dp__whole(from, "conditional", &conditional);
    d->activation = (af_activation)activation;
    d->plain_coordinates = plain != 0;
    d->plain_inputs = inputs != 0;
    d->conditional = conditional != 0;
    return s;
}

/* The volume as numbers in a file. An outer radius or a height may be infinite. */
enum { DP__VOLUME_NUMBERS = 8 };

static void dp__volume_numbers(const dp_volume *v, double number[DP__VOLUME_NUMBERS]) {
    number[0] = (double)(int)v->kind;
    memcpy(number + 1, v->centre, sizeof v->centre);
    number[4] = v->inner;
    number[5] = v->outer;
    number[6] = v->height;
    number[7] = v->hole;
}

static int dp__volume_of(const double number[DP__VOLUME_NUMBERS], dp_volume *v) {
    size_t k;
    int kind = DP_VOLUME_ALL;
    while (kind <= (int)DP_VOLUME_CYLINDER && number[0] != (double)kind) kind++;
    for (k = 0; k < (size_t)DP__VOLUME_NUMBERS; k++)
        if (!dp__is_finite(number[k]) && !((k == 5 || k == 6) && number[k] > 0.0)) return 0;
    v->kind = (dp_volume_kind)kind;
    memcpy(v->centre, number + 1, sizeof v->centre);
    v->inner = number[4];
    v->outer = number[5];
    v->height = number[6];
    v->hole = number[7];
    return kind <= (int)DP_VOLUME_CYLINDER && (kind == (int)DP_VOLUME_ALL || v->outer > 0.0) &&
           (kind != (int)DP_VOLUME_CYLINDER || v->height > 0.0);
}

static af_status dp__df_fill(const dp_df *df, af_tensors *to) {
    size_t six = DP__COORDINATES, numbers = DP__VOLUME_NUMBERS;
    double volume[DP__VOLUME_NUMBERS];
    af_status s = af_tensors_set_text(to, "format", DP__DF_VERSION);
    if (s == AF_OK) s = dp__df_save_desc(&df->desc, to);
    if (s == AF_OK) s = af_tensors_set_number(to, "constant", df->constant);
    if (s == AF_OK) s = af_tensors_set_whole(to, "normalised", df->normalised != 0);
    dp__volume_numbers(&df->volume, volume);
    if (s == AF_OK) s = af_tensors_add(to, "volume", AF_DTYPE_F64, 1, &numbers, volume);
    if (s == AF_OK) s = af_tensors_add(to, "mean", AF_DTYPE_F64, 1, &six, df->mean);
    if (s == AF_OK) s = af_tensors_add(to, "scale", AF_DTYPE_F64, 1, &six, df->scale);
    if (s == AF_OK) s = af_params_save(df->params, to, "df.");
    if (s == AF_OK && df->engine->save) s = df->engine->save(df, to);
    return s;
}

AF_API af_status dp_df_save(const dp_df *df, const char *path) {
    af_tensors *set;
    af_status s = af_tensors_create(df->c, &set);
    if (s != AF_OK) return s;
    s = dp__df_fill(df, set);
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

static af_status dp__df_take(dp_df *df, const af_tensors *from) {
    size_t six = DP__COORDINATES, numbers = DP__VOLUME_NUMBERS, k, normalised = 0;
    double volume[DP__VOLUME_NUMBERS];
    af_status s = af_tensors_number(from, "constant", &df->constant);
    if (s == AF_OK) s = dp__whole(from, "normalised", &normalised);
    if (s == AF_OK) s = af_tensors_get(from, "volume", 1, &numbers, volume);
    if (s == AF_OK && !dp__volume_of(volume, &df->volume))
        s = af_fail(df->c, AF_ERROR_FORMAT,
                    "the volume of the distribution function is damaged");
    if (s == AF_OK) s = af_tensors_get(from, "mean", 1, &six, df->mean);
    if (s == AF_OK) s = af_tensors_get(from, "scale", 1, &six, df->scale);
    if (s == AF_OK) s = af_params_load(df->params, from, "df.");
    if (s == AF_OK && df->engine->load) s = df->engine->load(df, from);
    df->normalised = normalised != 0;
    for (k = 0; s == AF_OK && k < six; k++)
        if (!(df->scale[k] > 0.0) || !dp__is_finite(df->mean[k]))
            s = af_fail(df->c, AF_ERROR_FORMAT,
                        "the scales of the distribution function are damaged");
    return s;
}

AF_API af_status dp_df_load(af_context *c, const char *path, dp_df **out) {
    dp_df_desc d = DP__ZERO;
    af_tensors *set;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    s = dp__df_load_desc(c, set, &d);
    if (s == AF_OK) s = dp__df_open(c, &d, out);
    if (s == AF_OK) s = dp__df_take(*out, set);
    af_tensors_destroy(set);
    if (s != AF_OK) {
        dp_df_destroy(*out);
        *out = NULL;
    }
    return s;
}

#undef DP__DF_FORMAT
#undef DP__DF_VERSION
