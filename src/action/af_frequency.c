/* ---- ActionFinder: frequencies --------------------------------------------------------------- */

AF_API int af_finder_has_frequencies(const af_finder *f) { return f->hamiltonian != NULL; }

AF_API double af_finder_frequency_misfit(const af_finder *f) {
    return f->hamiltonian ? f->hamiltonian->misfit : NAN;
}

/* ---- evaluation ---- */

struct af_frequency_evaluator {
    const af__hamiltonian *hamiltonian;
    af__arena arena;
    size_t block;
    af_func *slopes, *values; /* h and dh/dj; h alone */
    af_workspace *slopes_work, *values_work;
    double *rows, *h, *dh; /* (block,3), (block), (block,3) */
};

AF_API void af_frequency_evaluator_destroy(af_frequency_evaluator *e) {
    af_allocator allocator;
    if (!e) return;
    allocator = e->arena.allocator;
    af_workspace_destroy(e->slopes_work);
    af_workspace_destroy(e->values_work);
    af_func_destroy(e->slopes);
    af_func_destroy(e->values);
    af__arena_free(&e->arena);
    allocator.release(e, sizeof *e, allocator.user);
}

static af_status af__frequency_compile(af_frequency_evaluator *e, int threads) {
    const af__hamiltonian *h = e->hamiltonian;
    af_context *c = h->context;
    af_func_desc d = AF__ZERO;
    af_expr in[2], out[2];
    size_t dims[2];
    dims[0] = e->block;
    dims[1] = 3;
    e->rows = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->h = AF__ARRAY(&e->arena, double, e->block);
    e->dh = AF__ARRAY(&e->arena, double, 3 * e->block);
    if (!e->rows || !e->h || !e->dh) return af__fail_memory(c, "an evaluator of frequencies");
    in[0] = af_params_input(h->params);
    in[1] = af_input(c, "actions", 2, dims);
    out[0] = af__hamiltonian_expr(h, in[1]);
    af_grad(c, af_sum(c, out[0]), 1, &in[1], &out[1]);
    d.inputs = in;
    d.input_count = 2;
    d.outputs = out;
    d.output_count = 2;
    d.label = "frequencies";
    if (af_compile(c, &d, &e->slopes) != AF_OK) return c->status;
    d.output_count = 1;
    if (af_compile(c, &d, &e->values) != AF_OK) return c->status;
    if (af_context_workspace(c, e->slopes, threads, &e->slopes_work) != AF_OK) return c->status;
    return af_context_workspace(c, e->values, threads, &e->values_work);
}

static af_status af__frequency_evaluator_of(const af__hamiltonian *h, size_t block, int threads,
                                            af_frequency_evaluator **out) {
    af_context *c = h->context;
    af_frequency_evaluator *e =
        (af_frequency_evaluator *)c->allocator.allocate(sizeof *e, c->allocator.user);
    af_status s;
    *out = NULL;
    if (!e) return af__fail_memory(c, "an evaluator of frequencies");
    memset(e, 0, sizeof *e);
    e->hamiltonian = h;
    e->arena.allocator = c->allocator;
    e->block = block;
    s = af__frequency_compile(e, threads);
    if (s == AF_OK) *out = e;
    else af_frequency_evaluator_destroy(e);
    return s;
}

AF_API af_status af_frequency_evaluator_create(const af_finder *f, size_t block, int threads,
                                               af_frequency_evaluator **out) {
    *out = NULL;
    if (!f->hamiltonian)
        return af__fail(f->context, AF_ERROR_ARGUMENT,
                        "frequencies: this finder has none; af_finder_fit_frequencies learns them "
                        "from streams and a field, and af_finder_save keeps them");
    if (block == 0)
        return af__fail(f->context, AF_ERROR_ARGUMENT, "frequencies: block must be positive");
    return af__frequency_evaluator_of(f->hamiltonian, block, threads, out);
}

/* Computes the rows; their h, and dh/dj when `slopes`. */
static void af__frequency_run(const af_frequency_evaluator *e, int slopes) {
    const void *in[2];
    void *out[2];
    in[0] = af_params_data(e->hamiltonian->params);
    in[1] = e->rows;
    out[0] = e->h;
    out[1] = e->dh;
    if (slopes) af_run(e->slopes, e->slopes_work, in, out);
    else af_run(e->values, e->values_work, in, out);
}

AF_API size_t af_frequencies(af_frequency_evaluator *e, size_t n, const double *j, double *omega,
                             double *energy) {
    const af__hamiltonian *h = e->hamiltonian;
    double unit = h->energy / h->action;
    size_t first, i, k, failed = 0;
    for (first = 0; first < n; first += e->block) {
        size_t count = n - first < e->block ? n - first : e->block;
        const double *from = j + 3 * first;
        for (i = 0; i < count; i++) af__hamiltonian_row(h, from + 3 * i, e->rows + 3 * i);
        for (; i < e->block; i++) memcpy(e->rows + 3 * i, e->rows, 3 * sizeof *e->rows);
        af__frequency_run(e, omega != NULL);
        for (i = 0; i < count; i++) {
            int known = af__all_finite(from + 3 * i, 3);
            double *to = omega ? omega + 3 * (first + i) : NULL;
            failed += !known;
            for (k = 0; k < 3 && to; k++) to[k] = known ? unit * e->dh[3 * i + k] : NAN;
            if (to && from[3 * i] < 0.0) to[0] = -to[0];
            if (energy) energy[first + i] = known ? h->energy * e->h[i] : NAN;
        }
    }
    return failed;
}

/* ---- training data: a stream is one pair of actions and energy ---- */

enum { AF__FREQUENCY_LEAST = 16, AF__FREQUENCY_PIECE = 256, AF__FREQUENCY_ROUNDS = 3 };
#define AF__FREQUENCY_RIDGE 1e-4  /* in the first round: stiff enough to begin with */
#define AF__FREQUENCY_OUTLIER 5.0 /* medians: where the weight is half, see af__frequency_reweigh */

typedef struct af__frequency_fit {
    af_finder *finder;
    af__hamiltonian *h;
    af_frequency_desc desc; /* defaults resolved */
    af__arena arena;
    size_t train, streams;  /* pairs, those trained on first */
    size_t pieces, padded;  /* of the training pairs */
    double *row, *energy, *scale; /* (streams,3), (streams), (streams): r = (h - e) scale */
    double *weight;         /* (padded): of the residuals, scale times what robustness leaves */
    double *residual;       /* (streams): |r|, and room to sort it */
    double *best;           /* the parameters of the best validation ... */
    double best_misfit;     /* ... and that */
    double ridge;           /* times the parameters: residuals, too */
    af_frequency_evaluator *judge;
    af_minimiser *minimiser;
} af__frequency_fit;

/* Means over the stars of a stream that have them; 0 where none has. */
static int af__frequency_pair(const af_field *field, const double *xv, const double *j,
                              const unsigned *flags, size_t count, double mean[3],
                              double *energy) {
    size_t i, k, n = 0;
    memset(mean, 0, 3 * sizeof *mean);
    *energy = 0.0;
    for (i = 0; i < count; i++) {
        const double *x = xv + 6 * i;
        double e = 0.5 * af__dot3(x + 3, x + 3) + field->value(x, field->user);
        if (flags[i] & (AF_ORBIT_FAILED | AF_STAR_UNCONVERGED) || !af__is_finite(e)) continue;
        n++;
        *energy += (e - *energy) / (double)n;
        for (k = 0; k < 3; k++) mean[k] += (j[3 * i + k] - mean[k]) / (double)n;
    }
    return n > 0 && af__all_finite(mean, 3) && fabs(mean[0]) + mean[1] + mean[2] > 0.0;
}

/* All pairs, rows still in km/s kpc. */
static af_status af__frequency_pairs(af__frequency_fit *t, const af_orbits *o,
                                     const af_field *field) {
    size_t s, n = o->streams * o->stars;
    double *j = AF__ARRAY(&t->arena, double, 3 * n);
    unsigned *flags = AF__ARRAY(&t->arena, unsigned, n);
    af_status status;
    t->row = AF__ARRAY(&t->arena, double, 3 * o->streams);
    t->energy = AF__ARRAY(&t->arena, double, o->streams);
    t->scale = AF__ARRAY(&t->arena, double, o->streams);
    t->residual = AF__ARRAY(&t->arena, double, 2 * o->streams);
    if (!j || !flags || !t->row || !t->energy || !t->scale || !t->residual)
        return af__fail_memory(t->finder->context, "the energies of streams");
    status = af_finder_evaluate(t->finder, o, j, NULL, flags);
    if (status != AF_OK) return status;
    for (s = 0; s < o->streams; s++) {
        size_t at = s * o->stars;
        t->streams += (size_t)af__frequency_pair(field, af_orbits_xv(o, s), j + 3 * at, flags + at,
                                                 o->count[s], t->row + 3 * t->streams,
                                                 t->energy + t->streams);
        if (s + 1 == t->desc.train) t->train = t->streams;
    }
    if (t->train >= AF__FREQUENCY_LEAST) return AF_OK;
    return af__fail(t->finder->context, AF_ERROR_DATA,
                    "frequencies: %lu training streams have actions and energies, at least %d are "
                    "needed",
                    (unsigned long)t->train, (int)AF__FREQUENCY_LEAST);
}

/* Whitening of a feature of the training pairs: its range goes to [-1.7,1.7]. */
static void af__frequency_whiten(af__frequency_fit *t, size_t k) {
    double low, high, feature[3];
    size_t s;
    for (s = 0; s < t->train; s++) {
        af__hamiltonian_features(t->row + 3 * s, feature);
        t->residual[s] = feature[k];
    }
    qsort(t->residual, t->train, sizeof *t->residual, af__compare_doubles);
    low = af__quantile(t->residual, t->train, 0.005);
    high = af__quantile(t->residual, t->train, 0.995);
    t->h->center[k] = 0.5 * (low + high);
    t->h->spread[k] = high - low > 1e-9 ? (high - low) / 3.4 : 1.0;
}

/* Units: the finder's of actions, the rms deviation of the energies. */
static void af__frequency_units(af__frequency_fit *t) {
    af__hamiltonian *h = t->h;
    af_isochrone toy = af_finder_toy(t->finder);
    double gm = AF_GRAVITY * toy.mass, mean = 0.0, square = 0.0, row[3];
    size_t s, k;
    for (s = 0; s < t->train; s++) { /* Welford */
        double away = t->energy[s] - mean;
        mean += away / (double)(s + 1);
        square += away * (t->energy[s] - mean);
    }
    h->action = t->finder->g.action_scale;
    h->energy = sqrt(square / (double)t->train);
    if (!(h->energy > 1e-12 * fabs(mean))) h->energy = fabs(mean) + DBL_MIN;
    h->well = 0.5 * gm * gm / (h->action * h->action * h->energy);
    h->core = 4.0 * gm * toy.scale / (h->action * h->action);
    for (s = 0; s < t->streams; s++) {
        memcpy(row, t->row + 3 * s, sizeof row);
        af__hamiltonian_row(h, row, t->row + 3 * s);
        t->energy[s] /= h->energy;
    }
    for (k = 0; k < 3; k++) af__frequency_whiten(t, k);
}

/* Where the isochrone begins, and the weights: residuals are errors of the actions over their
 * size. */
static af_status af__frequency_begin(af__frequency_fit *t) {
    af__hamiltonian *h = t->h;
    double offset = 0.0, slope;
    size_t s;
    h->width = t->desc.width;
    h->depth = t->desc.depth;
    if (af__hamiltonian_network(h, t->desc.seed) != AF_OK) return h->context->status;
    t->pieces = (t->train + AF__FREQUENCY_PIECE - 1) / AF__FREQUENCY_PIECE;
    t->padded = t->pieces * AF__FREQUENCY_PIECE;
    t->weight = AF__ARRAY(&t->arena, double, t->padded);
    t->best = AF__ARRAY(&t->arena, double, af_params_size(h->params));
    if (!t->weight || !t->best) return af__fail_memory(h->context, "the energies of streams");
    for (s = 0; s < t->streams; s++) {
        const double *row = t->row + 3 * s;
        double away = t->energy[s] - af__hamiltonian_toy(h, row, &slope);
        if (s < t->train) offset += (away - offset) / (double)(s + 1);
        t->scale[s] = 1.0 / (slope * (row[0] + row[1] + row[2]));
    }
    memcpy(t->weight, t->scale, t->train * sizeof *t->weight);
    af_params_view(h->params, h->toy_view)[2] = offset;
    memcpy(t->best, af_params_data(h->params), af_params_size(h->params) * sizeof *t->best);
    return AF_OK;
}

/* ---- training ---- */

/* Median of |r| over the pairs [first, first + count); |r| is left in t->residual. */
static double af__frequency_median(af__frequency_fit *t, size_t first, size_t count) {
    af_frequency_evaluator *e = t->judge;
    double *sorted = t->residual + t->streams;
    size_t at, i;
    for (at = first; at < first + count; at += e->block) {
        size_t n = first + count - at < e->block ? first + count - at : e->block;
        memcpy(e->rows, t->row + 3 * at, 3 * n * sizeof *e->rows);
        af__frequency_run(e, 0);
        for (i = 0; i < n; i++)
            t->residual[at + i] = fabs(e->h[i] - t->energy[at + i]) * t->scale[at + i];
    }
    memcpy(sorted, t->residual + first, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, af__compare_doubles);
    return af__quantile(sorted, count, 0.5);
}

/* Streams whose energy their actions do not tell lose their weight (Cauchy): chaotic and resonant
 * ones, and those whose actions are wrong. And the ridge, which takes the parameters for about 1
 * and the residuals for errors of the size of their median. */
static void af__frequency_reweigh(af__frequency_fit *t) {
    double median = af__frequency_median(t, 0, t->train), limit = AF__FREQUENCY_OUTLIER * median;
    size_t s;
    if (t->desc.ridge > 0.0) t->ridge = t->desc.ridge * median;
    for (s = 0; s < t->train && limit > 0.0; s++) {
        double x = t->residual[s] / limit;
        t->weight[s] = t->scale[s] / sqrt(1.0 + x * x);
    }
}

/* Keeps the best validation. */
static void af__frequency_keep(af__frequency_fit *t) {
    const double *p = af_params_data(t->h->params);
    size_t held = t->streams - t->train;
    double misfit = held ? af__frequency_median(t, t->train, held)
                         : af__frequency_median(t, 0, t->train);
    if (!(misfit < t->best_misfit)) return;
    t->best_misfit = misfit;
    memcpy(t->best, p, af_params_size(t->h->params) * sizeof *p);
}

static int af__frequency_progress(const af_minimise_report *report, void *user) {
    af__frequency_fit *t = (af__frequency_fit *)user;
    af__frequency_keep(t);
    return t->desc.progress ? t->desc.progress(report, t->desc.user) : 0;
}

static af_status af__frequency_minimiser(af__frequency_fit *t) {
    static const int axes[4] = {0, 0, 0, -1};
    af_context *c = t->h->context;
    af_minimiser_desc d = AF__ZERO;
    af_expr in[4], part[2];
    size_t dims[2], flat = AF__FREQUENCY_PIECE;
    dims[0] = AF__FREQUENCY_PIECE;
    dims[1] = 3;
    in[0] = af_input(c, "actions", 2, dims);
    dims[1] = 1;
    in[1] = af_input(c, "energies", 2, dims);
    in[2] = af_input(c, "weights", 2, dims);
    part[0] = af_mul(c, in[2], af_sub(c, af__hamiltonian_expr(t->h, in[0]), in[1]));
    in[3] = af_input(c, "ridge", 0, NULL);
    part[0] = af_reshape(c, part[0], 1, &flat);
    part[1] = af_scale(c, af_params_input(t->h->params), 1.0 / sqrt((double)t->pieces));
    part[1] = af_mul(c, in[3], part[1]); /* each piece has its part of it */
    d.params = t->h->params;
    d.residuals = af_concat(c, 0, 2, part);
    d.inputs = in;
    d.input_count = 4;
    d.input_axes = axes;
    d.pieces = t->pieces;
    return af_minimiser_create(c, &d, &t->minimiser);
}

static af_status af__frequency_run_fit(af__frequency_fit *t) {
    af_minimise_desc d = AF__ZERO;
    const void *in[4];
    double *rows = AF__ARRAY(&t->arena, double, 4 * t->padded), *energy;
    size_t s, round;
    af_status status = AF_OK;
    if (!rows) return af__fail_memory(t->h->context, "the energies of streams");
    energy = rows + 3 * t->padded;
    for (s = 0; s < t->padded; s++) { /* the last ones have no weight */
        size_t from = s < t->train ? s : 0;
        memcpy(rows + 3 * s, t->row + 3 * from, 3 * sizeof *rows);
        energy[s] = t->energy[from];
    }
    in[0] = rows;
    in[1] = energy;
    in[2] = t->weight;
    in[3] = &t->ridge;
    d.inputs = in;
    d.progress = af__frequency_progress;
    d.user = t;
    d.tolerance = 1e-4; /* a thousandth in ten steps */
    status = af__frequency_minimiser(t);
    for (round = 0; round < AF__FREQUENCY_ROUNDS && status == AF_OK; round++) {
        if (round) af__frequency_reweigh(t);
        d.steps = (t->desc.steps + AF__FREQUENCY_ROUNDS - 1 - round) / AF__FREQUENCY_ROUNDS;
        if (d.steps == 0) continue;
        af_minimiser_restart(t->minimiser);
        status = af_minimise(t->minimiser, &d, NULL);
    }
    if (status != AF_OK && status != AF_STOPPED) return status;
    memcpy(af_params_data(t->h->params), t->best, af_params_size(t->h->params) * sizeof *t->best);
    t->h->misfit = t->best_misfit;
    return status;
}

static af_status af__frequency_fit_run(af__frequency_fit *t, const af_orbits *o,
                                       const af_field *field) {
    af_context *c = t->finder->context;
    af_status s = af__frequency_pairs(t, o, field);
    if (s != AF_OK) return s;
    t->h = af__hamiltonian_new(c);
    if (!t->h) return c->status;
    af__frequency_units(t);
    s = af__frequency_begin(t);
    if (s == AF_OK)
        s = af__frequency_evaluator_of(t->h, AF__FREQUENCY_PIECE, c->threads, &t->judge);
    if (s != AF_OK) return s;
    t->best_misfit = HUGE_VAL;
    af__frequency_keep(t);
    if (!af__is_finite(t->best_misfit))
        return af__fail(c, AF_ERROR_NONFINITE, "frequencies: the energies of the streams overflow");
    return af__frequency_run_fit(t);
}

static af_status af__frequency_check(const af_finder *f, const af_orbits *o, const af_field *field,
                                     const af_frequency_desc *d) {
    af_context *c = f->context;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "frequencies: af_frequency_desc was not initialised to zero");
    if (field && !field->value)
        return af__fail(c, AF_ERROR_ARGUMENT, "frequencies: the field has no potential");
    if (d->width > AF__HAMILTONIAN_WIDEST || d->depth > AF__HAMILTONIAN_DEEPEST ||
        !af__is_finite(d->ridge) || !(d->misfit >= 0.0))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "frequencies: width %lu (at most %d), depth %lu (at most %d), ridge %g or "
                        "misfit %g is not possible",
                        (unsigned long)d->width, (int)AF__HAMILTONIAN_WIDEST,
                        (unsigned long)d->depth, (int)AF__HAMILTONIAN_DEEPEST, d->ridge,
                        d->misfit);
    if (d->train > o->streams)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "frequencies: %lu training streams were asked for, there are %lu",
                        (unsigned long)d->train, (unsigned long)o->streams);
    return AF_OK;
}

/* With the field given, or that of the orbits' energies. */
static af_status af__frequency_fit_in(af__frequency_fit *t, const af_orbits *o,
                                      const af_field *field) {
    af_mass_model_desc d = AF__ZERO;
    af_mass_model *m;
    af_field own;
    af_status s;
    if (field) return af__frequency_fit_run(t, o, field);
    d.axisymmetric = t->finder->g.desc.axisymmetric;
    s = af_mass_model_fit(t->finder->context, o, &d, &m);
    if (s != AF_OK) return s;
    own = af_field_of_mass_model(m);
    if (af_mass_model_misfit(m) <= t->desc.misfit) s = af__frequency_fit_run(t, o, &own);
    else
        s = af__fail(t->finder->context, AF_ERROR_DATA,
                     "frequencies: the energies of a stream differ by %.2g of their kinetic "
                     "energies in the best field, more than %g: the data have errors, or are in no "
                     "such field",
                     af_mass_model_misfit(m), t->desc.misfit);
    af_mass_model_destroy(m);
    return s;
}

AF_API af_status af_finder_fit_frequencies(af_finder *f, const af_orbits *orbits,
                                           const af_field *field, const af_frequency_desc *desc) {
    af__frequency_fit t = AF__ZERO;
    af_status s;
    if (desc) t.desc = *desc;
    s = af__frequency_check(f, orbits, field, &t.desc);
    if (s != AF_OK) return s;
    if (t.desc.width == 0) t.desc.width = 16;
    if (t.desc.depth == 0) t.desc.depth = 2;
    if (t.desc.steps == 0) t.desc.steps = 80;
    if (t.desc.train == 0) t.desc.train = orbits->streams - orbits->streams / 8;
    if (t.desc.ridge == 0.0) t.desc.ridge = 1.0;
    if (t.desc.misfit == 0.0) t.desc.misfit = 1e-3;
    if (t.desc.ridge > 0.0) t.ridge = AF__FREQUENCY_RIDGE * t.desc.ridge;
    t.finder = f;
    t.arena.allocator = f->context->allocator;
    s = af__frequency_fit_in(&t, orbits, field);
    af_minimiser_destroy(t.minimiser);
    af_frequency_evaluator_destroy(t.judge);
    af__arena_free(&t.arena);
    if (s != AF_OK && s != AF_STOPPED) {
        af__hamiltonian_destroy(t.h);
        return s;
    }
    af__hamiltonian_destroy(f->hamiltonian);
    f->hamiltonian = t.h;
    return s;
}

#undef AF__FREQUENCY_RIDGE
#undef AF__FREQUENCY_OUTLIER
