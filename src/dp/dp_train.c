/* ---- training on rows --------------------------------------------------------------------------
 *
 * What distribution functions and potentials share: a loss that is a mean over rows, a random split
 * into rows to train on and rows held out, batches in a new order each epoch, a validation of the
 * whole held-out part with the same random numbers each time, the plateau rule, a time limit. */

typedef struct dp__training {
    const char *label;   /* "the distribution function" */
    af_params *params;
    const double *rows;  /* (n, width) */
    size_t n, width;
    /* The mean over the rows (b, width) of the loss; seed: a scalar, new at each call. */
    af_expr (*loss)(void *user, af_expr rows, af_expr seed);
    void *user;
    size_t epochs, batch; /* where the desc says nothing */
    int whole;           /* the loss is no mean over rows: a batch is one piece */
    double rate, clip;
    double average;      /* as in af_trainer_desc */
} dp__training;

typedef struct dp__trained {
    size_t stars, held_out;
    double loss, validation, untrained;
} dp__trained;

enum {
    DP__PIECE = 256,      /* rows that a thread computes at a time: they stay in its caches */
    DP__CHECKED = 8192,   /* rows of those held out that a validation takes, at most */
    DP__HALVINGS = 4,     /* without gain that end a training by the plateau rule */
    DP__SEEDS = 1 << 24   /* whole numbers that f32 holds */
};

typedef struct dp__loop {
    af_context *c;
    const dp__training *t;
    const dp_fit_desc *d;
    dp__arena arena;
    af_trainer *trainer;
    af_func *check;          /* the loss of one piece, in f64 */
    af_workspace *work[DP__LANES];
    size_t piece, pieces, train, held_out;
    uint32_t *order;         /* rows: held-out ones first, then the others */
    uint32_t *shuffle;       /* of the training rows in this epoch */
    double *rows, *seeds;    /* (pieces * piece, width), (pieces) of one step */
    double *held, *losses;   /* (held pieces, piece, width) and the loss of each */
    double seed_of_piece[DP__LANES];
    dp__called called[DP__LANES];
    size_t held_pieces;
    double best, factor;     /* the plateau rule: best loss so far, of the rate */
    size_t waited, halvings; /* epochs since, halvings without gain */
    size_t steps;            /* taken so far */
    double started;
    dp__trained out;
} dp__loop;

/* ---- one epoch ---- */

static void dp__loop_fill(dp__loop *l, size_t step, size_t epoch, size_t steps) {
    size_t w = l->t->width, batch = l->piece * l->pieces, i;
    for (i = 0; i < batch; i++) {
        size_t at = (step * batch + i) % l->train;
        const double *row = l->t->rows + l->order[l->held_out + l->shuffle[at]] * w;
        memcpy(l->rows + i * w, row, w * sizeof *row);
    }
    for (i = 0; i < l->pieces; i++)
        l->seeds[i] = (double)(((epoch * steps + step) * l->pieces + i) % DP__SEEDS);
}

static double dp__loop_time(const dp__loop *l) { return l->d->clock(l->d->user) - l->started; }

static af_status dp__loop_epoch(af_trainer *trainer, size_t epoch, double first, double last,
                                double *loss, void *user) {
    dp__loop *l = (dp__loop *)user;
    size_t batch = l->piece * l->pieces, steps = l->train / batch, step, done = 0;
    double sum = 0.0;
    if (steps == 0) steps = 1;
    af_random_permutation(l->d->seed, 2 + epoch, l->train, l->shuffle);
    for (step = 0; step < steps; step++) {
        const void *in[2];
        double one, progress = first + (last - first) * (double)step / (double)steps;
        af_status s;
        if (l->d->clock && l->d->seconds > 0.0) {
            progress = dp__loop_time(l) / l->d->seconds;
            if (progress > 1.0) break;
        }
        in[0] = l->rows;
        in[1] = l->seeds;
        dp__loop_fill(l, step, epoch, steps);
        s = af_trainer_step(trainer, in, progress, &one);
        if (s != AF_OK) return s;
        sum += one;
        done++;
        l->steps++;
    }
    *loss = done ? sum / (double)done : NAN;
    l->out.loss = *loss;
    return AF_OK;
}

/* ---- validation ---- */

static void dp__loop_lane(size_t lane, void *user) {
    dp__loop *l = (dp__loop *)user;
    size_t p;
    for (p = lane; p < l->held_pieces && l->called[lane].status == AF_OK; p += DP__LANES) {
        const void *in[3];
        void *out[1];
        l->seed_of_piece[lane] = (double)(DP__SEEDS - 1 - (p % (DP__SEEDS / 2)));
        in[0] = af_params_data(l->t->params);
        in[1] = l->held + p * l->piece * l->t->width;
        in[2] = &l->seed_of_piece[lane];
        out[0] = &l->losses[p];
        dp__call(&l->called[lane], l->check, l->work[lane], in, out);
    }
}

/* The mean loss of the rows held out; NaN when there are none. */
static af_status dp__loop_check(dp__loop *l, double *loss) {
    size_t p;
    double sum = 0.0;
    af_status s;
    af_parallel(l->c, DP__LANES, dp__loop_lane, l);
    s = dp__call_check(l->c, l->called, DP__LANES, "the loss of a validation");
    if (s != AF_OK) return s;
    for (p = 0; p < l->held_pieces; p++) sum += l->losses[p];
    *loss = l->held_pieces ? sum / (double)l->held_pieces : NAN;
    return AF_OK;
}

static af_status dp__loop_validate(af_trainer *trainer, size_t epoch, double *validation,
                                   void *user) {
    dp__loop *l = (dp__loop *)user;
    double judged;
    af_status s = dp__loop_check(l, validation);
    (void)epoch;
    if (s != AF_OK || !(l->d->plateau > 0.0)) return s;
    judged = dp__is_finite(*validation) ? *validation : l->out.loss;
    if (!(judged > l->best - l->d->plateau)) {
        l->best = judged;
        l->waited = l->halvings = 0;
    } else if (++l->waited >= (l->d->patience ? l->d->patience : 8)) {
        l->waited = 0;
        l->halvings++;
        l->factor /= 2.0;
        af_trainer_scale_rate(trainer, l->factor);
    }
    return AF_OK;
}

/* ---- what af_train asks ---- */

static double dp__loop_fraction(size_t epoch, void *user) {
    dp__loop *l = (dp__loop *)user;
    if (l->halvings >= DP__HALVINGS) return 1.0;
    if (l->d->clock && l->d->seconds > 0.0) return dp__loop_time(l) / l->d->seconds;
    return (double)epoch / (double)(l->d->epochs ? l->d->epochs : l->t->epochs);
}

static int dp__loop_progress(const af_progress *p, void *user) {
    dp__loop *l = (dp__loop *)user;
    l->out.validation = p->best_validation;
    return l->d->progress ? l->d->progress(p, l->d->user) : 0;
}

static af_status dp__loop_save(af_tensors *to, void *user) {
    const dp__loop *l = (const dp__loop *)user;
    double state[4];
    size_t four = 4;
    state[0] = l->best;
    state[1] = l->factor;
    state[2] = (double)l->waited;
    state[3] = (double)l->halvings;
    return af_tensors_add(to, "plateau", AF_DTYPE_F64, 1, &four, state);
}

static af_status dp__loop_load(const af_tensors *from, void *user) {
    dp__loop *l = (dp__loop *)user;
    double state[4];
    size_t four = 4;
    af_status s = af_tensors_get(from, "plateau", 1, &four, state);
    if (s != AF_OK) return s;
    l->best = state[0];
    l->factor = state[1];
    l->waited = (size_t)state[2];
    l->halvings = (size_t)state[3];
    af_trainer_scale_rate(l->trainer, l->factor);
    return AF_OK;
}

/* ---- opening ---- */

static af_status dp__loop_sizes(dp__loop *l) {
    const dp__training *t = l->t;
    const af_backend *backend = af_context_backend(l->c);
    size_t batch = l->d->batch ? l->d->batch : t->batch;
    int whole = t->whole || (backend && backend->whole_batches);
    double held = l->d->validation > 0.0 ? l->d->validation : 0.1;
    if (held >= 1.0 || t->n < 2)
        return af_fail(l->c, AF_ERROR_ARGUMENT,
                       "%s: of %lu rows a fraction %g cannot be held out of the training", t->label,
                       (unsigned long)t->n, held);
    if (t->n > 0xffffffffu)
        return af_fail(l->c, AF_ERROR_ARGUMENT, "%s: more than 2^32 rows", t->label);
    l->piece = batch < DP__PIECE || whole ? batch : (size_t)DP__PIECE;
    l->held_out = (size_t)(held * (double)t->n);
    l->train = t->n - l->held_out;
    if (l->piece > l->train) l->piece = l->train;
    l->pieces = batch / l->piece;
    while (l->pieces > 1 && l->pieces * l->piece > l->train) l->pieces--;
    l->held_pieces = l->held_out < DP__CHECKED ? l->held_out : (size_t)DP__CHECKED;
    l->held_pieces = (l->held_pieces + l->piece - 1) / l->piece;
    l->out.stars = l->train;
    l->out.held_out = l->held_out;
    return AF_OK;
}

static af_status dp__loop_memory(dp__loop *l) {
    size_t w = l->t->width, i;
    l->order = DP__ARRAY(&l->arena, uint32_t, l->t->n);
    l->shuffle = DP__ARRAY(&l->arena, uint32_t, l->train);
    l->rows = DP__ARRAY(&l->arena, double, l->pieces * l->piece * w);
    l->seeds = DP__ARRAY(&l->arena, double, l->pieces);
    l->held = DP__ARRAY(&l->arena, double, l->held_pieces * l->piece * w);
    l->losses = DP__ARRAY(&l->arena, double, l->held_pieces);
    if (!l->order || !l->shuffle || !l->rows || !l->seeds || !l->held || !l->losses)
        return dp__fail_memory(l->c, l->t->label);
    af_random_permutation(l->d->seed, 1, l->t->n, l->order);
    for (i = 0; i < l->held_pieces * l->piece; i++) /* the last piece is filled from the first */
        memcpy(l->held + i * w, l->t->rows + l->order[i % l->held_out] * w, w * sizeof *l->held);
    return AF_OK;
}

static af_status dp__loop_check_open(dp__loop *l, af_expr loss, const af_expr in[2]) {
    af_func_desc f = DP__ZERO;
    af_expr inputs[3];
    af_status s;
    size_t lane;
    inputs[0] = af_params_input(l->t->params);
    inputs[1] = in[0];
    inputs[2] = in[1];
    f.inputs = inputs;
    f.input_count = 3;
    f.outputs = &loss;
    f.output_count = 1;
    f.label = l->t->label;
    s = af_compile(l->c, &f, &l->check);
    for (lane = 0; lane < (size_t)DP__LANES && s == AF_OK; lane++)
        s = af_context_workspace(l->c, l->check, 1, &l->work[lane]);
    return s;
}

static af_schedule dp__loop_schedule(const dp__loop *l) {
    af_schedule schedule = l->d->schedule;
    if (!(schedule.rate > 0.0)) schedule.rate = l->t->rate;
    if (l->d->plateau > 0.0) schedule.kind = AF_SCHEDULE_CONSTANT;
    return schedule;
}

static af_status dp__loop_open(dp__loop *l) {
    af_trainer_desc d = DP__ZERO;
    size_t dims[2];
    af_expr in[2];
    af_status s;
    dims[0] = l->piece;
    dims[1] = l->t->width;
    in[0] = af_input(l->c, "rows", 2, dims);
    in[1] = af_input(l->c, "seed", 0, NULL);
    d.params = l->t->params;
    d.inputs = in;
    d.input_count = 2;
    d.loss = l->t->loss(l->t->user, in[0], in[1]);
    if (af_error_status(l->c) != AF_OK) return af_error_status(l->c);
    d.pieces = l->pieces;
    d.precision = l->d->double_precision ? AF_F64 : AF_F32;
    d.adam.clip = l->d->clip > 0.0 ? l->d->clip : l->t->clip;
    d.adam.method = AF_RADAM;
    d.schedule = dp__loop_schedule(l);
    d.average = l->t->average;
    s = af_trainer_create(l->c, &d, &l->trainer);
    if (s == AF_OK) s = dp__loop_check_open(l, d.loss, in);
    return s;
}

static void dp__loop_close(dp__loop *l) {
    size_t lane;
    for (lane = 0; lane < (size_t)DP__LANES; lane++) af_workspace_destroy(l->work[lane]);
    af_func_destroy(l->check);
    af_trainer_destroy(l->trainer);
    dp__arena_free(&l->arena);
}

static af_status dp__loop_run(dp__loop *l) {
    af_train_desc d = DP__ZERO;
    af_status s = dp__loop_check(l, &l->out.untrained);
    if (s != AF_OK) return s;
    d.epochs = l->d->epochs ? l->d->epochs : l->t->epochs;
    if (l->d->clock && l->d->seconds > 0.0 && l->d->epochs == 0) d.epochs = (size_t)1 << 30;
    d.epoch = dp__loop_epoch;
    d.validate = dp__loop_validate;
    d.fraction = dp__loop_fraction;
    d.progress = dp__loop_progress;
    d.save = dp__loop_save;
    d.load = dp__loop_load;
    d.user = l;
    d.checkpoint = l->d->checkpoint;
    d.checkpoint_every = l->d->checkpoint_every;
    d.resume = l->d->resume;
    return af_train(l->trainer, &d);
}

/* Trains; *out gets what was found, also after AF_STOPPED. */
static af_status dp__train(af_context *c, const dp__training *t, const dp_fit_desc *d,
                           dp__trained *out) {
    dp__loop l = DP__ZERO;
    af_status s;
    l.c = c;
    l.t = t;
    l.d = d;
    l.arena = dp__arena_open(c);
    l.best = HUGE_VAL;
    l.factor = 1.0;
    l.started = d->clock ? d->clock(d->user) : 0.0;
    l.out.loss = l.out.validation = l.out.untrained = NAN;
    s = dp__loop_sizes(&l);
    if (s == AF_OK) s = dp__loop_memory(&l);
    if (s == AF_OK) s = dp__loop_open(&l);
    if (s == AF_OK) s = dp__loop_run(&l);
    if (s == AF_OK && l.steps == 0 && d->clock && !d->resume)
        s = af_fail(c, AF_ERROR_ARGUMENT, "%s: its %g seconds were over before the first step",
                    t->label, d->seconds);
    *out = l.out;
    dp__loop_close(&l);
    return s;
}
