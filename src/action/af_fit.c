/* ---- ActionFinder: training ------------------------------------------------------------------ */

/* A fit in progress: the streams' toy coordinates, and one batch of them in the order the graph
 * wants. */
typedef struct af__fit {
    af_finder *f;
    const af_orbits *orbits;
    af_fit_desc desc;
    af__arena arena;
    af_trainer *trainer;
    af_evaluator *judge; /* of the validation streams */
    size_t train, batch, pieces, validate_every;
    size_t held;                      /* first stream that validates */
    double *judged, *verdict; /* J' (streams - held, 3) and actions of the validation streams */
    double *warm;                     /* J' of every training stream (S,3), from its last visit */
    uint32_t *order;                  /* (train) */
    size_t *member;                   /* streams of the batch (B) */
    double *theta, *j, *weight, *old; /* the batch */
    double *xv;                       /* (6,N,B) for a free toy */
    double *lack;                     /* (3,1,B): mean(J - dG/dtheta) - J' */
    double *seed;                     /* of the dropout, (pieces) */
} af__fit;

enum { AF__STEPS_A_VALIDATION = 50 };

/* ---- the loss as an expression ---- */

/* The toy of a free M and b: theta and J of the batch from xv. */
static af_status af__free_toy(const af_finder *f, af_expr xv, af__inputs *in) {
    af_context *c = f->context;
    af_expr view = af_params_expr(f->g.params, f->g.toy_view), mass, scale, j;
    mass = af_exp(c, af_reshape(c, af_slice(c, view, 0, 0, 1), 0, NULL));
    scale = af_exp(c, af_reshape(c, af_slice(c, view, 0, 1, 1), 0, NULL));
    mass = af_scale(c, mass, AF_GRAVITY * f->toy.mass);
    scale = af_scale(c, scale, f->toy.scale);
    if (af_isochrone_expr(c, mass, scale, xv, &j, &in->theta) != AF_OK) return c->status;
    in->j = af_scale(c, j, 1.0 / f->g.action_scale);
    return AF_OK;
}

static af_status af__fit_compile(af__fit *t) {
    const af__generator *g = &t->f->g;
    af_context *c = g->c;
    static const int axes[] = {2, 2, 0, 2, 2}; /* streams come last */
    af__inputs in = af__finder_inputs(c, t->orbits->stars, t->batch / t->pieces);
    af_expr inputs[5], dropout = af_input(c, "dropout seed", 0, NULL), jp;
    af_trainer_desc d = AF__ZERO;
    af__lack l;
    void *watched[1];
    af__map m;
    size_t dims[3];
    dims[0] = 6;
    dims[1] = t->orbits->stars;
    dims[2] = t->batch / t->pieces;
    inputs[0] = in.weight;
    inputs[1] = in.old;
    inputs[2] = dropout;
    inputs[3] = g->desc.free_toy ? af_input(c, "xv", 3, dims) : in.theta;
    inputs[4] = in.j;
    if (g->desc.free_toy && af__free_toy(t->f, inputs[3], &in) != AF_OK) return c->status;
    l = af__lack_of(g, in.theta, af__stream_mean(c, in.weight, in.j), in.weight, in.old, dropout);
    jp = g->desc.hold_actions ? in.old : af__implicit(g, &l, in.old);
    m = af__map_of(g, in.theta, in.j, jp, dropout);
    d.params = g->params;
    d.loss = af__loss(g, &m, in.weight, jp, dropout);
    if (!d.loss.id) return c->status;
    d.inputs = inputs;
    d.input_count = g->desc.free_toy ? 4 : 5;
    d.outputs = &l.lack;
    d.output_count = 1;
    watched[0] = t->lack;
    d.output_data = watched;
    d.pieces = t->pieces;
    d.input_axes = d.output_axes = axes;
    d.adam = t->desc.adam;
    d.schedule = t->desc.schedule;
    d.average = t->desc.average > 0.0 ? t->desc.average : 0.0;
    return af_trainer_create(c, &d, &t->trainer);
}

/* ---- one epoch ---- */

static void af__fit_gather(af__fit *t, const af_isochrone *toy) {
    size_t b, i, k, n = t->orbits->stars, block = t->batch;
    for (b = 0; b < block; b++) {
        size_t s = t->member[b];
        const double *xv = af_orbits_xv(t->orbits, s);
        af__fill_stream(toy, t->f->g.action_scale, xv, n, t->orbits->count[s], b, block, t->theta,
                        t->j, t->weight, NULL);
        for (k = 0; k < 3; k++) t->old[k * block + b] = t->warm[3 * s + k];
        if (!t->xv) continue;
        for (i = 0; i < n; i++)
            for (k = 0; k < 6; k++) t->xv[(k * n + i) * block + b] = xv[6 * i + k];
    }
}

/* J' follows the parameters from visit to visit by half steps of the plain iteration, which stays
 * near the toy's actions where Newton's would go astray. */
static void af__fit_keep_warm(af__fit *t) {
    size_t b, k, block = t->batch;
    for (b = 0; b < block; b++) {
        for (k = 0; k < 3; k++) t->old[k * block + b] += 0.5 * t->lack[k * block + b];
        af__keep_positive(t->old, block, b);
        for (k = 0; k < 3; k++) t->warm[3 * t->member[b] + k] = t->old[k * block + b];
    }
}

/* A free toy must keep every star bound: the mass stays above what binds them all. */
static void af__fit_bind(af__fit *t) {
    double *change = af_params_view(t->f->g.params, t->f->g.toy_view), least;
    least = AF__TOY_MARGIN * af__binding_mass(t->orbits, t->f->toy.scale * exp(change[1]));
    if (t->f->toy.mass * exp(change[0]) < least) change[0] = log(least / t->f->toy.mass);
}

static af_status af__fit_epoch(af_trainer *trainer, size_t epoch, double first, double last,
                               double *loss, void *user) {
    af__fit *t = (af__fit *)user;
    size_t step, b, steps = t->train / t->batch;
    const void *inputs[5];
    double sum = 0.0, one = 0.0;
    af_random_permutation(t->f->g.desc.seed, 1 + epoch, t->train, t->order);
    inputs[0] = t->weight;
    inputs[1] = t->old;
    inputs[2] = t->seed;
    inputs[3] = t->xv ? t->xv : t->theta;
    inputs[4] = t->j;
    for (step = 0; step < steps; step++) {
        af_isochrone toy = af_finder_toy(t->f);
        af_status s;
        for (b = 0; b < t->batch; b++) t->member[b] = t->order[step * t->batch + b];
        af__fit_gather(t, &toy);
        for (b = 0; b < t->pieces; b++)
            t->seed[b] = (double)((epoch * steps + step) * t->pieces + b);
        s = af_trainer_step(trainer, inputs, first + (last - first) * (double)step / (double)steps,
                            &one);
        if (s != AF_OK) return s;
        af__fit_keep_warm(t);
        if (t->xv) af__fit_bind(t);
        sum += one;
    }
    *loss = sum / (double)steps;
    return AF_OK;
}

/* ---- validation: the spread of streams not trained on, with J' solved for ---- */

/* Steps from the last validation's J'; the first validation gets all that it needs. */
enum { AF__VALIDATION_STEPS = 5 };

/* Spread of one stream's actions j (count,3), as in the loss. */
static double af__spread_of_stream(const af_finder_desc *d, const double *j, size_t count,
                                   double action_scale) {
    size_t i, k;
    double square = 0.0, absolute = 0.0, n = (double)count;
    for (k = 0; k < 3; k++) {
        double mean = 0.0;
        for (i = 0; i < count; i++) mean += j[3 * i + k] / n;
        for (i = 0; i < count; i++) {
            double away = j[3 * i + k] - mean;
            square += away * away / n / 3.0;
            absolute += fabs(away) / n / 3.0;
        }
    }
    if (d->spread == AF_SPREAD_ABSOLUTE) return absolute / action_scale;
    return sqrt(sqrt(square / (d->softening * d->softening) + 1.0));
}

static af_status af__fit_validate(af_trainer *trainer, size_t epoch, double *validation,
                                  void *user) {
    af__fit *t = (af__fit *)user;
    size_t s, stars = t->orbits->stars, count = t->orbits->streams - t->held;
    double sum = 0.0;
    af__request r = AF__ZERO;
    (void)trainer;
    *validation = NAN;
    if (epoch % t->validate_every != 0 && epoch + 1 != t->desc.epochs) return AF_OK;
    t->judge->toy = af_finder_toy(t->f);
    r.streams = count;
    r.xv = af_orbits_xv(t->orbits, t->held);
    r.count = t->orbits->count + t->held;
    r.guess = t->judged;
    r.j = t->verdict;
    r.most_steps = (size_t)AF__SOLVE_STEPS;
    if (af__is_finite(t->judged[0])) r.most_steps = (size_t)AF__VALIDATION_STEPS;
    af__evaluate_request(t->judge, &r);
    for (s = 0; s < count; s++)
        sum += af__spread_of_stream(&t->f->g.desc, t->verdict + 3 * s * stars, r.count[s],
                                    t->f->g.action_scale);
    *validation = sum / (double)count;
    return AF_OK;
}

/* ---- shears: all training streams at once ---- */

/* What the steps of a fit by Levenberg-Marquardt are judged by. */
typedef struct af__shears_fit {
    af__fit *t;
    af_progress progress;
    double *best; /* parameters of the best validation */
    int over;     /* the caller's clock has run out */
} af__shears_fit;

static int af__shears_step(const af_minimise_report *r, void *user) {
    af__shears_fit *f = (af__shears_fit *)user;
    af__fit *t = f->t;
    af_params *params = t->f->g.params;
    f->progress.epoch = r->step;
    f->progress.loss = r->loss;
    f->progress.rate = r->damping;
    if (af__fit_validate(NULL, 0, &f->progress.validation, t) != AF_OK) return 1;
    if (af__train_is_better(&f->progress)) {
        f->progress.best_validation = f->progress.validation;
        f->progress.best_epoch = f->progress.epoch;
        memcpy(f->best, af_params_data(params), af_params_size(params) * sizeof *f->best);
    }
    if (t->desc.progress && t->desc.progress(&f->progress, t->desc.user)) return 1;
    f->over = t->desc.fraction && t->desc.fraction(r->step, t->desc.user) >= 1.0;
    return f->over;
}

static af_status af__shears_save(af_tensors *to, void *user) {
    const af__shears_fit *f = (const af__shears_fit *)user;
    size_t dims[2], n = af_params_size(f->t->f->g.params);
    af_status s = af_tensors_add(to, "train.best", AF_DTYPE_F64, 1, &n, f->best);
    dims[0] = f->t->orbits->streams - f->t->held;
    dims[1] = 3;
    if (s == AF_OK) s = af_tensors_add(to, "fit.judged", AF_DTYPE_F64, 2, dims, f->t->judged);
    if (s == AF_OK) s = af_tensors_set_whole(to, "train.best_epoch", f->progress.best_epoch);
    if (s != AF_OK) return s;
    return af_tensors_set_number(to, "train.best_validation", f->progress.best_validation);
}

static af_status af__shears_load(const af_tensors *from, void *user) {
    af__shears_fit *f = (af__shears_fit *)user;
    size_t dims[2], n = af_params_size(f->t->f->g.params);
    uint64_t best_epoch = 0;
    af_status s = af_tensors_whole(from, "train.best_epoch", &best_epoch);
    f->progress.best_epoch = (size_t)best_epoch;
    dims[0] = f->t->orbits->streams - f->t->held;
    dims[1] = 3;
    if (s == AF_OK)
        s = af_tensors_number(from, "train.best_validation", &f->progress.best_validation);
    if (s == AF_OK) s = af_tensors_get(from, "train.best", 1, &n, f->best);
    return s == AF_OK ? af_tensors_get(from, "fit.judged", 2, dims, f->t->judged) : s;
}

static af_status af__shears_compile(const af__fit *t, af_minimiser **out) {
    const af__generator *g = &t->f->g;
    static const int axes[] = {2, 2, 2}; /* streams come last */
    af__inputs in = af__finder_inputs(g->c, t->orbits->stars, t->batch / t->pieces);
    af_minimiser_desc d = AF__ZERO;
    af_expr inputs[3];
    inputs[0] = in.theta;
    inputs[1] = in.j;
    inputs[2] = in.weight;
    d.params = g->params;
    d.residuals = af__shears_residuals(g, in.theta, in.j, in.weight);
    d.inputs = inputs;
    d.input_count = 3;
    d.input_axes = axes;
    d.pieces = t->pieces;
    d.robust = AF_ROBUST_ROOT;
    d.robust_group = 3 * t->orbits->stars + 3;
    d.robust_scale = g->desc.softening / g->action_scale;
    return af_minimiser_create(g->c, &d, out);
}

enum { AF__ZERO_STREAMS = 128, AF__ZERO_FIT_STEPS = 30 };

/* Chooses F on some of the streams; the other parameters have no part in it. */
static af_status af__shears_set_zero(af__fit *t) {
    const af__generator *g = &t->f->g;
    size_t k, i, stars = t->orbits->stars, some = af__clamp(t->batch, 1, AF__ZERO_STREAMS);
    af__inputs in = af__finder_inputs(g->c, stars, some);
    af_minimiser_desc m = AF__ZERO;
    af_minimise_desc d = AF__ZERO;
    af_minimiser *minimiser = NULL;
    af_expr inputs[2];
    const void *data[2];
    double *theta = AF__ARRAY(&t->arena, double, 3 * stars * some);
    double *j = AF__ARRAY(&t->arena, double, 3 * stars * some);
    af_status s;
    if (!theta || !j) return af__fail_memory(g->c, "the zero of the angles");
    for (k = 0; k < 3 * stars; k++)
        for (i = 0; i < some; i++) {
            theta[k * some + i] = t->theta[k * t->batch + i];
            j[k * some + i] = t->j[k * t->batch + i];
        }
    inputs[0] = in.theta;
    inputs[1] = in.j;
    m.params = g->params;
    m.residuals = af__shears_reversal(g, in.theta, in.j);
    m.inputs = inputs;
    m.input_count = 2;
    m.robust = AF_ROBUST_ROOT;
    m.robust_scale = 0.05; /* rad: single stars may be far off */
    m.jacobian = AF_JACOBIAN_FORWARD;
    data[0] = theta;
    data[1] = j;
    d.inputs = data;
    d.steps = AF__ZERO_FIT_STEPS;
    d.tolerance = 1e-3;
    s = af_minimiser_create(g->c, &m, &minimiser);
    if (s == AF_OK) s = af_minimise(minimiser, &d, NULL);
    af_minimiser_destroy(minimiser);
    return s;
}

static af_status af__shears_run(af__fit *t) {
    af_params *params = t->f->g.params;
    af_isochrone toy = af_finder_toy(t->f);
    af__shears_fit f = AF__ZERO;
    af_minimise_desc d = AF__ZERO;
    af_minimiser *m = NULL;
    const void *inputs[3];
    size_t b, n = af_params_size(params);
    af_status s;
    f.t = t;
    f.progress.epochs = t->desc.epochs;
    f.progress.best_validation = NAN;
    f.best = AF__ARRAY(&t->arena, double, n);
    if (!f.best) return af__fail_memory(t->f->context, "the best parameters");
    s = af__shears_compile(t, &m);
    for (b = 0; b < t->batch; b++) t->member[b] = b;
    af__fit_gather(t, &toy);
    inputs[0] = t->theta;
    inputs[1] = t->j;
    inputs[2] = t->weight;
    d.steps = t->desc.epochs;
    d.inputs = inputs;
    d.tolerance = 1e-4; /* ten steps that together bring a thousandth */
    d.progress = af__shears_step;
    d.save = af__shears_save;
    d.load = af__shears_load;
    d.user = &f;
    d.checkpoint = t->desc.checkpoint;
    d.checkpoint_every = t->desc.checkpoint_every;
    d.resume = t->desc.resume;
    if (s == AF_OK) s = af_minimise(m, &d, NULL);
    af_minimiser_destroy(m);
    if ((s == AF_OK || s == AF_STOPPED) && f.progress.best_epoch > 0)
        memcpy(af_params_data(params), f.best, n * sizeof *f.best);
    if (s == AF_STOPPED && f.over) s = AF_OK;
    if ((s == AF_OK || s == AF_STOPPED) && t->f->g.desc.time_symmetric == AF_SYMMETRY_YES) {
        af_status zero = af__shears_set_zero(t);
        if (zero != AF_OK) return zero;
    }
    return s;
}

/* ---- af_finder_fit ---- */

/* Measured on halo and disc orbits: with more of both the spread of the training streams still
 * falls, but the actions of others get worse. */
enum { AF__USEFUL_EPOCHS = 1000, AF__USEFUL_STEPS = 4000 };

static double af__fit_fraction(size_t epoch, void *user) {
    const af__fit *t = (const af__fit *)user;
    double passes = (double)epoch / (double)t->desc.epochs;
    double caller = t->desc.fraction ? t->desc.fraction(epoch, t->desc.user) : 0.0;
    return caller > passes ? caller : passes;
}

static int af__fit_progress(const af_progress *progress, void *user) {
    const af__fit *t = (const af__fit *)user;
    return t->desc.progress ? t->desc.progress(progress, t->desc.user) : 0;
}

static af_status af__fit_save(af_tensors *to, void *user) {
    const af__fit *t = (const af__fit *)user;
    size_t dims[2];
    af_status s;
    dims[0] = t->train;
    dims[1] = 3;
    s = af_tensors_add(to, "fit.actions", AF_DTYPE_F64, 2, dims, t->warm);
    dims[0] = t->orbits->streams - t->held;
    return s == AF_OK ? af_tensors_add(to, "fit.judged", AF_DTYPE_F64, 2, dims, t->judged) : s;
}

static af_status af__fit_load(const af_tensors *from, void *user) {
    const af__fit *t = (const af__fit *)user;
    size_t dims[2];
    af_status s;
    dims[0] = t->train;
    dims[1] = 3;
    s = af_tensors_get(from, "fit.actions", 2, dims, t->warm);
    dims[0] = t->orbits->streams - t->held;
    return s == AF_OK ? af_tensors_get(from, "fit.judged", 2, dims, t->judged) : s;
}

static af_status af__finder_fit_check(const af_finder *f, const af_orbits *o,
                                      const af_fit_desc *d) {
    af_context *c = f->context;
    af_isochrone toy = af_finder_toy(f);
    size_t s, i;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "fit: af_fit_desc was not initialised to zero");
    if (d->train > o->streams)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "fit: %lu training streams were asked for, there are %lu",
                        (unsigned long)d->train, (unsigned long)o->streams);
    for (s = 0; s < o->streams; s++) {
        if (o->count[s] < 2)
            return af__fail(
                c, AF_ERROR_DATA,
                "stream %.15g has one star; two on the same orbit are needed to learn from it: in "
                "a table the column 'stream' tells which they are",
                o->id[s]);
        for (i = 0; i < o->count[s]; i++)
            if (af_isochrone_actions(&toy, af_orbits_xv(o, s) + 6 * i, NULL, NULL, NULL) &
                AF_ORBIT_FAILED)
                return af__unbound_star(c, o, s, i);
    }
    return AF_OK;
}

enum { AF__FIT_PIECE = 32 }; /* measured: fastest from 16 to 64 */
enum { AF__SHEARS_STEPS = 60 }; /* more still help a little */

static void af__fit_defaults(af__fit *t) {
    af_fit_desc *d = &t->desc;
    size_t n = t->orbits->streams;
    t->train = d->train ? d->train : n - n / 8;
    t->batch = d->batch ? d->batch : 256;
    if (t->batch > t->train || t->f->g.shears) t->batch = t->train;
    if (d->piece == 0) {
        d->piece = AF__FIT_PIECE;
        /* the threads share each operation of a large network, and so does a device */
        if (af_params_size(t->f->g.params) > AF__SUM_ELEMENTS / 2 ||
            (t->f->context->backend && t->f->context->backend->whole_batches))
            d->piece = t->batch;
    }
    t->pieces = (t->batch + d->piece - 1) / d->piece;
    while (t->batch % t->pieces != 0) t->pieces++;
    t->held = n > t->train ? t->train : 0; /* nothing held out: the training streams judge */
    if (d->epochs == 0 && t->f->g.shears) d->epochs = AF__SHEARS_STEPS;
    if (d->epochs == 0)
        d->epochs = af__clamp(AF__USEFUL_STEPS * t->batch / t->train, AF__USEFUL_EPOCHS,
                              AF__USEFUL_STEPS);
    if (d->adam.clip == 0.0) d->adam.clip = 10.0;
    if (d->schedule.rate == 0.0) d->schedule.rate = 3e-3;
    if (d->average == 0.0) d->average = 0.999;
    t->validate_every = d->validate_every;
    if (t->validate_every == 0)
        t->validate_every = af__clamp(AF__STEPS_A_VALIDATION * t->batch / t->train, 1, 1000);
}

static af_status af__fit_memory(af__fit *t) {
    size_t n = t->orbits->stars * t->batch, s, i, k, judges = t->orbits->streams - t->held;
    af_isochrone toy = af_finder_toy(t->f);
    t->warm = AF__ARRAY(&t->arena, double, 3 * t->train);
    t->order = AF__ARRAY(&t->arena, uint32_t, t->train);
    t->member = AF__ARRAY(&t->arena, size_t, t->batch);
    t->theta = AF__ARRAY(&t->arena, double, 3 * n);
    t->j = AF__ARRAY(&t->arena, double, 3 * n);
    t->weight = AF__ARRAY(&t->arena, double, n);
    t->old = AF__ARRAY(&t->arena, double, 3 * t->batch);
    t->seed = AF__ARRAY(&t->arena, double, t->pieces);
    t->lack = AF__ARRAY(&t->arena, double, 3 * t->batch);
    t->judged = AF__ARRAY(&t->arena, double, 3 * judges);
    t->verdict = AF__ARRAY(&t->arena, double, 3 * judges * t->orbits->stars);
    if (t->f->g.desc.free_toy) t->xv = AF__ARRAY(&t->arena, double, 6 * n);
    if (!t->warm || !t->order || !t->member || !t->theta || !t->j || !t->weight || !t->old ||
        !t->seed || !t->lack || !t->judged || !t->verdict || (t->f->g.desc.free_toy && !t->xv))
        return af__fail_memory(t->f->context, "the training data");
    for (s = 0; s < 3 * judges; s++) t->judged[s] = NAN;
    for (s = 0; s < t->train; s++)
        for (i = 0; i < t->orbits->count[s]; i++) {
            double j[3];
            af_isochrone_actions(&toy, af_orbits_xv(t->orbits, s) + 6 * i, j, NULL, NULL);
            for (k = 0; k < 3; k++)
                t->warm[3 * s + k] += j[k] / t->f->g.action_scale / (double)t->orbits->count[s];
        }
    return AF_OK;
}

static af_status af__fit_run(af__fit *t) {
    af_train_desc d = AF__ZERO;
    size_t judges = t->orbits->streams - t->held;
    size_t block = af__clamp(judges, 1, AF__EVALUATE_BLOCK);
    af_status s = af__fit_memory(t);
    if (s == AF_OK)
        s = af_evaluator_create(t->f, t->orbits->stars, block, t->f->context->threads, &t->judge);
    if (s == AF_OK && t->f->g.shears) return af__shears_run(t);
    if (s == AF_OK) s = af__fit_compile(t);
    if (s != AF_OK) return s;
    d.epochs = t->desc.epochs;
    d.epoch = af__fit_epoch;
    d.validate = af__fit_validate;
    d.fraction = af__fit_fraction;
    d.progress = af__fit_progress;
    d.save = af__fit_save;
    d.load = af__fit_load;
    d.user = t;
    d.checkpoint = t->desc.checkpoint;
    d.checkpoint_every = t->desc.checkpoint_every;
    d.resume = t->desc.resume;
    return af_train(t->trainer, &d);
}

AF_API af_status af_finder_fit(af_finder *f, const af_orbits *orbits, const af_fit_desc *desc) {
    af_fit_desc none = AF__ZERO;
    af__fit t = AF__ZERO;
    af_status s;
    if (!desc) desc = &none;
    if (af__finder_fit_check(f, orbits, desc) != AF_OK) return f->context->status;
    t.f = f;
    t.orbits = orbits;
    t.desc = *desc;
    t.arena.allocator = f->context->allocator;
    af__finder_forget(f);
    af__fit_defaults(&t);
    s = af__fit_run(&t);
    af_trainer_destroy(t.trainer);
    af_evaluator_destroy(t.judge);
    af__arena_free(&t.arena);
    return s;
}
