/* ---- ActionFinder: training the network of eq. 18 -------------------------------------------- */

typedef struct af__inverse_fit {
    af_inverse *inverse;
    const af_finder *finder;
    const af_orbits *orbits;
    af_inverse_fit_desc desc;
    af__arena arena;
    size_t inputs, outputs;
    size_t train, held;      /* stars: the first are trained on, those behind them validate */
    size_t room;             /* for stars */
    double *row, *target, *matrix; /* (room, inputs), (room, outputs), (room, 6, outputs) */
    size_t batch, pieces;
    double *in[4];           /* of a batch: rows, targets, matrices, seeds of the dropout */
    uint32_t *order;
    double unit[2];          /* rms distance [kpc] and speed [km/s] */
    af_inverse_evaluator *judge;
} af__inverse_fit;

enum { AF__INVERSE_PIECE = 64, AF__INVERSE_BLOCK = 256, AF__INVERSE_DRAWS = 1 << 24 };
#define AF__INVERSE_SOFTENING 1e-2 /* of the loss; errors below it do not count */

/* ---- data ---- */

/* d(x/X, v/V) / d(outputs) of the toy at (theta,J), by differences, (6, outputs). Steps of 1e-5 are
 * good to 1e-8. Actions that would become negative are counted from a step above 0. */
static void af__inverse_matrix(const af__inverse_fit *t, const double toy_j[3],
                               const double toy_theta[3], const double j[3], double *matrix) {
    const af_inverse *i = t->inverse;
    double size = af__inverse_size(j), step = 1e-5;
    size_t o, k, shift = i->axisymmetric ? 2 : 3;
    for (o = 0; o < t->outputs; o++) {
        double place[2][6];
        int side;
        for (side = 0; side < 2; side++) {
            double a[3], q[3], move = side ? step : -step;
            for (k = 0; k < 3; k++) {
                a[k] = toy_j[k];
                q[k] = toy_theta[k];
            }
            if (o < 3) {
                q[o] += move * (o == 0 ? af__inverse_sense(i, j) : 1.0);
            } else {
                k = o - shift;
                if (k > 0 && a[k] < step * size) a[k] = step * size;
                a[k] += move * size;
            }
            af_isochrone_position(&i->toy, a, q, place[side], NULL);
        }
        for (k = 0; k < 6; k++)
            matrix[t->outputs * k + o] =
                (place[1][k] - place[0][k]) / (2.0 * step * t->unit[k / 3]);
    }
}

/* A star as the next one of the data, unless it is of no use. */
static void af__inverse_add(af__inverse_fit *t, const double xv[6], const double j[3],
                            const double theta[3], unsigned flag, size_t *count) {
    const af_inverse *i = t->inverse;
    double toy_j[3], toy_theta[3], *matrix = t->matrix + 6 * t->outputs * *count;
    if (flag & (AF_ORBIT_FAILED | AF_STAR_UNCONVERGED) || !af__inverse_takes(j, theta) ||
        !(af__inverse_size(j) > 0.0) ||
        af_isochrone_actions(&i->toy, xv, toy_j, toy_theta, NULL) & AF_ORBIT_FAILED)
        return;
    af__inverse_row(i, j, theta, t->row + t->inputs * *count);
    af__inverse_target(i, j, theta, toy_j, toy_theta, t->target + t->outputs * *count);
    af__inverse_matrix(t, toy_j, toy_theta, j, matrix);
    if (af__all_finite(matrix, 6 * t->outputs)) ++*count;
}

static void af__inverse_units(af__inverse_fit *t) {
    const af_orbits *o = t->orbits;
    double square[2] = {0.0, 0.0};
    size_t i, k, n = o->streams * o->stars;
    for (i = 0; i < n; i++)
        for (k = 0; k < 6; k++) {
            double x = af_orbits_xv(o, 0)[6 * i + k];
            square[k / 3] += x * x / (double)n;
        }
    for (k = 0; k < 2; k++) t->unit[k] = square[k] > 0.0 ? sqrt(square[k]) : 1.0;
}

/* Stars with the actions of those trained on, anywhere on their orbits: j (n,3) of the first
 * `streams` streams. */
static af_status af__inverse_draw(af__inverse_fit *t, const double *j, const unsigned *flags,
                                  size_t streams, size_t *count) {
    af_context *c = t->inverse->context;
    af_inverter *v = NULL;
    uint64_t seed = t->inverse->seed;
    size_t i, k, stars = streams * t->orbits->stars, draws = t->desc.draws;
    double *drawn = AF__ARRAY(&t->arena, double, 3 * draws + 1);
    double *theta = AF__ARRAY(&t->arena, double, 3 * draws + 1);
    double *xv = AF__ARRAY(&t->arena, double, 6 * draws + 1);
    unsigned *met = AF__ARRAY(&t->arena, unsigned, draws + 1);
    af_status s = AF_OK;
    if (!drawn || !theta || !xv || !met) return af__fail_memory(c, "the training data");
    for (i = 0; i < draws; i++) {
        size_t star = (size_t)((double)stars * af_random_uniform(seed, 10, i));
        int good = !(flags[star] & (AF_ORBIT_FAILED | AF_STAR_UNCONVERGED));
        for (k = 0; k < 3; k++) {
            drawn[3 * i + k] = good ? j[3 * star + k] : NAN;
            theta[3 * i + k] = 2.0 * AF__PI * af_random_uniform(seed, 11 + k, i);
        }
    }
    if (draws) s = af_inverter_create(t->finder, AF__INVERSE_BLOCK, c->threads, &v);
    if (s != AF_OK) return s;
    if (draws) af_invert(v, draws, drawn, theta, xv, met);
    for (i = 0; i < draws; i++)
        af__inverse_add(t, xv + 6 * i, drawn + 3 * i, theta + 3 * i, met[i], count);
    af_inverter_destroy(v);
    return AF_OK;
}

static af_status af__inverse_data(af__inverse_fit *t) {
    af_context *c = t->inverse->context;
    const af_orbits *o = t->orbits;
    size_t s, i, k, n = o->streams * o->stars, count = 0;
    double *j = AF__ARRAY(&t->arena, double, 3 * n), *theta = AF__ARRAY(&t->arena, double, 3 * n);
    unsigned *flags = AF__ARRAY(&t->arena, unsigned, n);
    af_evaluator *e = NULL;
    af_status status;
    if (!j || !theta || !flags) return af__fail_memory(c, "the training data");
    af__inverse_units(t);
    status = af_evaluator_create(t->finder, 1, AF__INVERSE_BLOCK, c->threads, &e);
    if (status != AF_OK) return status;
    af_evaluate(e, n, af_orbits_xv(o, 0), NULL, j, theta, flags);
    af_evaluator_destroy(e);
    for (k = 0; k < 2; k++) {
        for (s = k ? t->desc.train : 0; s < (k ? o->streams : t->desc.train); s++)
            for (i = 0; i < o->count[s]; i++) {
                size_t at = s * o->stars + i;
                af__inverse_add(t, af_orbits_xv(o, 0) + 6 * at, j + 3 * at, theta + 3 * at,
                                flags[at], &count);
            }
        if (k) break;
        status = af__inverse_draw(t, j, flags, t->desc.train, &count);
        if (status != AF_OK) return status;
        t->train = count;
    }
    t->held = count - t->train;
    if (t->train && t->held) return AF_OK;
    return af__fail(c, AF_ERROR_DATA,
                    "inverse: %lu stars to train on and %lu to validate on have actions, both "
                    "are needed",
                    (unsigned long)t->train, (unsigned long)t->held);
}

static af_status af__inverse_memory(af__inverse_fit *t) {
    const af_orbits *o = t->orbits;
    t->inputs = af__inverse_inputs(t->inverse);
    t->outputs = af__inverse_outputs(t->inverse);
    t->room = o->streams * o->stars + t->desc.draws + 1;
    t->row = AF__ARRAY(&t->arena, double, t->room * t->inputs);
    t->target = AF__ARRAY(&t->arena, double, t->room * t->outputs);
    t->matrix = AF__ARRAY(&t->arena, double, t->room * 6 * t->outputs);
    t->order = AF__ARRAY(&t->arena, uint32_t, t->room);
    if (t->row && t->target && t->matrix && t->order) return AF_OK;
    return af__fail_memory(t->inverse->context, "the training data");
}

/* The batch: whole pieces, as many as there are stars for. */
static af_status af__inverse_batch(af__inverse_fit *t) {
    const af_backend *backend = t->inverse->context->backend;
    size_t piece = backend && backend->whole_batches
                       ? t->desc.batch
                       : af__clamp(t->desc.batch, 1, AF__INVERSE_PIECE);
    if (piece > t->train) piece = t->train;
    t->pieces = af__clamp(t->desc.batch / piece, 1, t->train / piece);
    t->batch = piece * t->pieces;
    t->in[0] = AF__ARRAY(&t->arena, double, t->batch * t->inputs);
    t->in[1] = AF__ARRAY(&t->arena, double, t->batch * t->outputs);
    t->in[2] = AF__ARRAY(&t->arena, double, t->batch * 6 * t->outputs);
    t->in[3] = AF__ARRAY(&t->arena, double, t->pieces);
    if (t->in[0] && t->in[1] && t->in[2] && t->in[3]) return AF_OK;
    return af__fail_memory(t->inverse->context, "the training data");
}

/* ---- the loss ---- */

static af_status af__inverse_trainer(const af__inverse_fit *t, af_trainer **out) {
    const af_inverse *i = t->inverse;
    af_context *c = i->context;
    af_trainer_desc d = AF__ZERO;
    af_expr in[4], error;
    size_t dims[3], piece = t->batch / t->pieces;
    dims[0] = piece;
    dims[1] = t->inputs;
    in[0] = af_input(c, "angles and actions", 2, dims);
    dims[1] = t->outputs;
    in[1] = af_input(c, "targets", 2, dims);
    dims[1] = 6;
    dims[2] = t->outputs;
    in[2] = af_input(c, "slopes", 3, dims);
    in[3] = af_input(c, "seed", 0, NULL);
    error = af_net_apply(i->net, in[0], i->net_desc.dropout > 0.0 ? in[3] : af__none);
    dims[1] = 1;
    error = af_reshape(c, af_sub(c, error, in[1]), 3, dims);
    error = af_sum_axis(c, af_mul(c, in[2], error), 2); /* (piece, 6, 1) */
    error = af_sum_axis(c, af_square(c, error), 1);
    error = af_offset(c, error, AF__INVERSE_SOFTENING * AF__INVERSE_SOFTENING);
    d.params = i->params;
    d.loss = af_mean(c, af_sqrt(c, error));
    d.inputs = in;
    d.input_count = 4;
    d.pieces = t->pieces;
    d.adam = t->desc.adam;
    d.schedule = t->desc.schedule;
    d.average = t->desc.average > 0.0 ? t->desc.average : 0.0;
    return af_trainer_create(c, &d, out);
}

static void af__inverse_gather(af__inverse_fit *t, size_t step) {
    size_t b, n = 6 * t->outputs;
    for (b = 0; b < t->batch; b++) {
        size_t star = t->order[step * t->batch + b];
        memcpy(t->in[0] + b * t->inputs, t->row + star * t->inputs, t->inputs * sizeof *t->row);
        memcpy(t->in[1] + b * t->outputs, t->target + star * t->outputs,
               t->outputs * sizeof *t->row);
        memcpy(t->in[2] + b * n, t->matrix + star * n, n * sizeof *t->row);
    }
}

static af_status af__inverse_epoch(af_trainer *trainer, size_t epoch, double first, double last,
                                   double *loss, void *user) {
    af__inverse_fit *t = (af__inverse_fit *)user;
    size_t b, step, steps = t->train / t->batch;
    const void *in[4];
    double sum = 0.0, one = 0.0;
    af_random_permutation(t->inverse->seed, 1 + epoch, t->train, t->order);
    for (b = 0; b < 4; b++) in[b] = t->in[b];
    for (step = 0; step < steps; step++) {
        af_status s;
        af__inverse_gather(t, step);
        for (b = 0; b < t->pieces; b++)
            t->in[3][b] = (double)((epoch * steps + step) * t->pieces + b);
        s = af_trainer_step(trainer, in, first + (last - first) * (double)step / (double)steps,
                            &one);
        if (s != AF_OK) return s;
        sum += one;
    }
    *loss = sum / (double)steps;
    return AF_OK;
}

/* The loss of one star, from the network's outputs. */
static double af__inverse_loss(const af__inverse_fit *t, size_t star, const double *out) {
    const double *target = t->target + t->outputs * star;
    double square = AF__INVERSE_SOFTENING * AF__INVERSE_SOFTENING;
    size_t k, o;
    for (k = 0; k < 6; k++) {
        const double *row = t->matrix + t->outputs * (6 * star + k);
        double x = 0.0;
        for (o = 0; o < t->outputs; o++) x += row[o] * (out[o] - target[o]);
        square += x * x;
    }
    return sqrt(square);
}

static af_status af__inverse_validate(af_trainer *trainer, size_t epoch, double *validation,
                                      void *user) {
    af__inverse_fit *t = (af__inverse_fit *)user;
    af_inverse_evaluator *e = t->judge;
    size_t first, s;
    double sum = 0.0;
    (void)trainer;
    *validation = NAN;
    if (epoch % t->desc.validate_every != 0 && epoch + 1 != t->desc.epochs) return AF_OK;
    for (first = 0; first < t->held; first += e->block) {
        size_t count = t->held - first < e->block ? t->held - first : e->block;
        memcpy(e->rows, t->row + t->inputs * (t->train + first),
               count * t->inputs * sizeof *e->rows);
        af__inverse_run(e);
        for (s = 0; s < count; s++)
            sum += af__inverse_loss(t, t->train + first + s, e->out + t->outputs * s);
    }
    *validation = sum / (double)t->held;
    return AF_OK;
}

/* ---- the fit ---- */

static double af__inverse_fraction(size_t epoch, void *user) {
    const af__inverse_fit *t = (const af__inverse_fit *)user;
    double own = (double)epoch / (double)t->desc.epochs;
    double clock = t->desc.fraction ? t->desc.fraction(epoch, t->desc.user) : 0.0;
    return clock > own ? clock : own;
}

static int af__inverse_progress(const af_progress *progress, void *user) {
    const af__inverse_fit *t = (const af__inverse_fit *)user;
    return t->desc.progress ? t->desc.progress(progress, t->desc.user) : 0;
}

static af_status af__inverse_run_fit(af__inverse_fit *t) {
    af_context *c = t->inverse->context;
    af_train_desc d = AF__ZERO;
    af_trainer *trainer = NULL;
    af_status s = af__inverse_memory(t);
    if (s == AF_OK) s = af__inverse_data(t);
    if (s == AF_OK) s = af__inverse_batch(t);
    if (s == AF_OK)
        s = af_inverse_evaluator_create(t->inverse, AF__INVERSE_BLOCK, c->threads, &t->judge);
    if (s == AF_OK) s = af__inverse_trainer(t, &trainer);
    d.epochs = t->desc.epochs;
    d.epoch = af__inverse_epoch;
    d.validate = af__inverse_validate;
    d.fraction = af__inverse_fraction;
    d.progress = af__inverse_progress;
    d.user = t;
    if (s == AF_OK) s = af_train(trainer, &d);
    af_trainer_destroy(trainer);
    return s;
}

static void af__inverse_defaults(af_inverse_fit_desc *d, const af_orbits *o) {
    if (d->train == 0) d->train = o->streams - (o->streams + 7) / 8;
    if (d->epochs == 0) d->epochs = 500;
    if (d->batch == 0) d->batch = 256;
    if (d->validate_every == 0) d->validate_every = 5;
    if (d->adam.clip == 0.0) d->adam.clip = 10.0;
    if (d->schedule.rate == 0.0) d->schedule.rate = 3e-3;
    if (d->average == 0.0) d->average = 0.99;
}

AF_API af_status af_inverse_fit(af_inverse *i, const af_finder *f, const af_orbits *orbits,
                                const af_inverse_fit_desc *desc) {
    af_context *c = i->context;
    af_isochrone toy = af_finder_toy(f);
    af__inverse_fit t = AF__ZERO;
    af_status s;
    if (desc) t.desc = *desc;
    if (t.desc.start_canary != 0 || t.desc.end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "inverse: af_inverse_fit_desc was not initialised to zero");
    if (t.desc.draws > AF__INVERSE_DRAWS)
        return af__fail(c, AF_ERROR_ARGUMENT, "inverse: %lu draws, at most %lu are possible",
                        (unsigned long)t.desc.draws, (unsigned long)AF__INVERSE_DRAWS);
    if (toy.mass != i->toy.mass || toy.scale != i->toy.scale ||
        i->axisymmetric != af_finder_is_axisymmetric(f))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "inverse: this is not the finder that the inverse was created for");
    af__inverse_defaults(&t.desc, orbits);
    if (t.desc.train >= orbits->streams)
        return af__fail(c, AF_ERROR_DATA,
                        "inverse: %lu streams to train on of %lu leave none to validate on",
                        (unsigned long)t.desc.train, (unsigned long)orbits->streams);
    t.inverse = i;
    t.finder = f;
    t.orbits = orbits;
    t.arena.allocator = c->allocator;
    s = af__inverse_run_fit(&t);
    af_inverse_evaluator_destroy(t.judge);
    af__arena_free(&t.arena);
    return s;
}

#undef AF__INVERSE_SOFTENING
