/* ---- training -------------------------------------------------------------------------------- */

#include <errno.h>

struct af_trainer {
    af_context *context;
    af__arena arena;
    af_trainer_desc desc;
    af__batch batch;  /* sums: the gradient, then the loss */
    af_adam *adam;
    double *best;     /* parameters of the best validation */
    double *average;  /* moving average of the parameters, after `averaged` steps; NULL: none */
    uint64_t averaged;
    af__arena resident; /* of the average, when it is the backend's; then it is made by: */
    af__update averaging;
    double loss;         /* of the last step */
    double rate, factor; /* of it; of all rates */
};

AF_API void af_trainer_destroy(af_trainer *t) {
    af_allocator allocator;
    if (!t) return;
    allocator = t->arena.allocator;
    af__batch_close(&t->batch);
    af_adam_destroy(t->adam);
    af__update_close(&t->averaging);
    af__arena_free(&t->resident);
    af__arena_free(&t->arena);
    allocator.release(t, sizeof *t, allocator.user);
}

/* average, x, (1 - keep) -> the average after a step */
static af_status af__average_compile(af_trainer *t, size_t n) {
    af_context *c = t->context;
    af_expr in[3], out;
    in[0] = af_input(c, "average", 1, &n);
    in[1] = af_input(c, "parameters", 1, &n);
    in[2] = af_input(c, "share", 0, NULL);
    out = af_add(c, in[0], af_mul(c, in[2], af_sub(c, in[1], in[0])));
    return af__update_open(c, "the average of the parameters", 3, in, 1, &out, 1, &t->averaging);
}

/* Where the parameters and what goes with them live, and the optimiser. */
static af_status af__trainer_state(af_trainer *t) {
    const af_trainer_desc *d = &t->desc;
    size_t n = af_params_size(d->params);
    int resident = t->batch.pieces == 1 && af__is_resident(t->context, n);
    af_status s = AF_OK;
    t->resident.allocator = af__memory_of(t->context, resident);
    t->best = AF__ARRAY(&t->arena, double, n);
    if (d->average > 0.0) t->average = AF__ARRAY(&t->resident, double, n);
    if (!t->best || (d->average > 0.0 && !t->average))
        return af__fail_memory(t->context, "a trainer");
    if (resident) s = af__params_move(d->params, t->resident.allocator);
    if (s == AF_OK && resident && t->average) s = af__average_compile(t, n);
    return s == AF_OK ? af__adam_create(t->context, &d->adam, n, resident, &t->adam) : s;
}

static af_status af__trainer_open(af_trainer *t) {
    const af_trainer_desc *d = &t->desc;
    size_t pieces = d->pieces ? d->pieces : 1;
    af__batch_desc b = AF__ZERO;
    af_expr sums[2];
    af_status s;
    sums[0] = af_params_grad(d->params, d->loss);
    sums[1] = d->loss;
    b.label = "training step";
    b.params = d->params;
    b.inputs = d->inputs;
    b.input_count = d->input_count;
    b.input_axes = d->input_axes;
    b.sums = sums;
    b.sum_count = 2;
    b.share = 1.0 / (double)pieces;
    b.last = &t->loss;
    b.outputs = d->outputs;
    b.output_data = d->output_data;
    b.output_count = d->output_count;
    b.output_axes = d->output_axes;
    b.pieces = pieces;
    b.precision = d->precision;
    s = af__batch_open(t->context, &t->arena, &b, &t->batch);
    return s == AF_OK ? af__trainer_state(t) : s;
}

/* ---- the trainer ---- */

static af_status af__trainer_check(af_context *c, const af_trainer_desc *d) {
    const af_schedule *s = &d->schedule;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "trainer: af_trainer_desc was not initialised to zero");
    if (!d->params || !d->loss.id)
        return af__fail(c, AF_ERROR_ARGUMENT, "trainer: it needs parameters and a loss");
    if (!(d->average >= 0.0 && d->average < 1.0))
        return af__fail(c, AF_ERROR_ARGUMENT, "trainer: an average of %g is not in [0,1)",
                        d->average);
    if ((int)s->kind < AF_SCHEDULE_COSINE || (int)s->kind > AF_SCHEDULE_STEP)
        return af__fail(c, AF_ERROR_ARGUMENT, "trainer: there is no schedule %d", (int)s->kind);
    if (!(s->rate >= 0.0 && s->last >= 0.0 && s->warmup <= 1.0))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "trainer: a schedule with rate %g, last %g and warmup %g is not possible",
                        s->rate, s->last, s->warmup);
    return AF_OK;
}

AF_API af_status af_trainer_create(af_context *c, const af_trainer_desc *desc, af_trainer **out) {
    af_trainer *t;
    af_status status;
    *out = NULL;
    status = af__trainer_check(c, desc);
    if (status != AF_OK) return status;
    t = (af_trainer *)c->allocator.allocate(sizeof *t, c->allocator.user);
    if (!t) return af__fail_memory(c, "a trainer");
    memset(t, 0, sizeof *t);
    t->context = c;
    t->arena.allocator = c->allocator;
    t->desc = *desc;
    t->factor = 1.0;
    status = af__trainer_open(t);
    if (status != AF_OK) {
        af_trainer_destroy(t);
        return status;
    }
    *out = t;
    return AF_OK;
}

/* The first steps are averaged over fewer: (1 + k)/(10 + k) after k of them. */
static af_status af__trainer_average(af_trainer *t, const double *x) {
    double k = (double)t->averaged++, keep = (1.0 + k) / (10.0 + k), share;
    size_t i, n = af_params_size(t->desc.params);
    const void *in[3];
    void *out[1];
    if (keep > t->desc.average) keep = t->desc.average;
    share = k > 0.0 ? 1.0 - keep : 1.0;
    if (t->averaging.func) {
        in[0] = out[0] = t->average;
        in[1] = x;
        in[2] = &share;
        return af__update_run(t->context, &t->averaging, in, out);
    }
    for (i = 0; i < n; i++)
        t->average[i] = k > 0.0 ? t->average[i] + share * (x[i] - t->average[i]) : x[i];
    return AF_OK;
}

AF_API af_status af_trainer_step(af_trainer *t, const void *const *inputs, double progress,
                                 double *loss) {
    size_t n = af_params_size(t->desc.params);
    double *x = af_params_data(t->desc.params), *gradient = t->batch.total;
    af_status status = af__batch_run(&t->batch, inputs);
    if (status != AF_OK) return status;
    if (t->desc.allreduce) {
        gradient[n] = t->loss;
        status = t->desc.allreduce(gradient, n + 1, t->desc.allreduce_user);
        if (status != AF_OK) return af__fail(t->context, status, "training: allreduce failed");
        t->loss = gradient[n];
    }
    if (loss) *loss = t->loss;
    if (!af__is_finite(t->loss))
        return af__fail(t->context, AF_ERROR_NONFINITE,
                        "training: the loss is not finite; lower the learning rate");
    t->rate = t->factor * af_schedule_rate(&t->desc.schedule, progress);
    status = af_adam_step(t->adam, x, gradient, t->rate);
    if (status == AF_OK && t->average) status = af__trainer_average(t, x);
    return status;
}

AF_API void af_trainer_scale_rate(af_trainer *t, double factor) { t->factor = factor; }

/* Exchanges the parameters and their average. */
static void af__trainer_swap(af_trainer *t) {
    double *x = af_params_data(t->desc.params);
    size_t i, n = af_params_size(t->desc.params);
    for (i = 0; t->averaged > 0 && i < n; i++) {
        double swapped = x[i];
        x[i] = t->average[i];
        t->average[i] = swapped;
    }
}

/* ---- checkpoints ---- */

#define AF__CHECKPOINT_FORMAT "actionfinder checkpoint 1"

static af_status af__checkpoint_fill(const af_trainer *t, const af_train_desc *d,
                                     const af_progress *p, af_tensors *to) {
    size_t n = af_params_size(t->desc.params);
    af_status s = af_tensors_set_text(to, "format", AF__CHECKPOINT_FORMAT);
    if (s == AF_OK) s = af_params_save(t->desc.params, to, "");
    if (s == AF_OK) s = af_adam_save(t->adam, to);
    if (s == AF_OK) s = af_tensors_add(to, "train.best", AF_DTYPE_F64, 1, &n, t->best);
    if (s == AF_OK && t->average)
        s = af_tensors_add(to, "train.average", AF_DTYPE_F64, 1, &n, t->average);
    if (s == AF_OK) s = af_tensors_set_whole(to, "train.averaged", t->averaged);
    if (s == AF_OK) s = af_tensors_set_whole(to, "train.epoch", p->epoch);
    if (s == AF_OK) s = af_tensors_set_whole(to, "train.best_epoch", p->best_epoch);
    if (s == AF_OK) s = af_tensors_set_number(to, "train.best_validation", p->best_validation);
    if (s == AF_OK && d->save) s = d->save(to, d->user);
    return s;
}

static af_status af__checkpoint_write(const af_trainer *t, const af_train_desc *d,
                                      const af_progress *p) {
    af_tensors *set;
    af_status s = af_tensors_create(t->context, &set);
    if (s != AF_OK) return s;
    s = af__checkpoint_fill(t, d, p, set);
    if (s == AF_OK) s = af_tensors_write(set, d->checkpoint);
    af_tensors_destroy(set);
    return s;
}

static af_status af__checkpoint_take(af_trainer *t, const af_train_desc *d, const af_tensors *from,
                                     af_progress *p) {
    size_t n = af_params_size(t->desc.params);
    uint64_t epoch = 0, best_epoch = 0;
    const char *format = af_tensors_text(from, "format");
    af_status s;
    if (!format || strcmp(format, AF__CHECKPOINT_FORMAT) != 0)
        return af__fail(
            t->context, AF_ERROR_FORMAT,
            "'%s' is not a checkpoint of this library; remove it or choose another name",
            d->checkpoint);
    s = af_tensors_whole(from, "train.epoch", &epoch);
    if (s == AF_OK) s = af_tensors_whole(from, "train.best_epoch", &best_epoch);
    if (s == AF_OK) s = af_tensors_number(from, "train.best_validation", &p->best_validation);
    if (s == AF_OK) s = af_tensors_get(from, "train.best", 1, &n, t->best);
    if (s == AF_OK && t->average) s = af_tensors_get(from, "train.average", 1, &n, t->average);
    if (s == AF_OK) s = af_tensors_whole(from, "train.averaged", &t->averaged);
    if (s == AF_OK) s = af_adam_load(t->adam, from);
    if (s == AF_OK && d->load) s = d->load(from, d->user);
    if (s == AF_OK) s = af_params_load(t->desc.params, from, "");
    p->epoch = (size_t)epoch;
    p->best_epoch = (size_t)best_epoch;
    return s;
}

static af_status af__checkpoint_read(af_trainer *t, const af_train_desc *d, af_progress *p) {
    af_tensors *set;
    af_status s;
    FILE *there;
    errno = 0;
    there = fopen(d->checkpoint, "rb");
    if (!there && (errno == ENOENT || errno == 0)) return AF_OK; /* nothing to resume: begin */
    if (there) fclose(there);
    s = af_tensors_read(t->context, d->checkpoint, &set);
    if (s != AF_OK) return s;
    s = af__checkpoint_take(t, d, set, p);
    af_tensors_destroy(set);
    if (s == AF_OK)
        af__log(t->context, "training: '%s' is resumed after epoch %lu", d->checkpoint,
                (unsigned long)p->epoch);
    return s;
}

#undef AF__CHECKPOINT_FORMAT

/* ---- the loop ---- */

static double af__train_fraction(const af_train_desc *d, size_t epoch) {
    if (d->fraction) return d->fraction(epoch, d->user);
    return (double)epoch / (double)d->epochs;
}

/* NaN and infinity are worse than any number. */
static int af__train_is_better(const af_progress *p) {
    if (p->best_epoch == 0) return 1;
    if (!af__is_finite(p->validation)) return 0;
    return !af__is_finite(p->best_validation) || p->validation < p->best_validation;
}

static af_status af__train_epoch(af_trainer *t, const af_train_desc *d, af_progress *p,
                                 double first) {
    size_t n = af_params_size(t->desc.params);
    double last = af__train_fraction(d, p->epoch + 1);
    af_status s = d->epoch(t, p->epoch, first, last > 1.0 ? 1.0 : last, &p->loss, d->user);
    if (s != AF_OK) return s;
    af__trainer_swap(t);
    if (d->validate) s = d->validate(t, p->epoch, &p->validation, d->user);
    p->epoch++;
    p->rate = t->rate;
    if (s == AF_OK && (!d->validate || af__train_is_better(p))) {
        p->best_validation = p->validation;
        p->best_epoch = p->epoch;
        memcpy(t->best, af_params_data(t->desc.params), n * sizeof *t->best);
    }
    af__trainer_swap(t);
    return s;
}

AF_API af_status af_train(af_trainer *t, const af_train_desc *d) {
    af_progress p = AF__ZERO;
    af_status s = AF_OK;
    double fraction;
    size_t n = af_params_size(t->desc.params), written;
    size_t every = d->checkpoint_every ? d->checkpoint_every : 1;
    int stop = 0;
    if (d->start_canary != 0 || d->end_canary != 0 || !d->epoch || d->epochs == 0)
        return af__fail(t->context, AF_ERROR_ARGUMENT,
                        "train: af_train_desc was not initialised, or has no epochs");
    p.epochs = d->epochs;
    p.loss = p.validation = p.best_validation = NAN;
    memcpy(t->best, af_params_data(t->desc.params), n * sizeof *t->best);
    if (d->checkpoint && d->resume) s = af__checkpoint_read(t, d, &p);
    written = p.epoch;
    while (s == AF_OK && !stop && p.epoch < d->epochs) {
        fraction = af__train_fraction(d, p.epoch);
        if (fraction >= 1.0) break;
        s = af__train_epoch(t, d, &p, fraction);
        if (s == AF_OK && d->checkpoint && p.epoch % every == 0) {
            s = af__checkpoint_write(t, d, &p);
            written = p.epoch;
        }
        if (s == AF_OK && d->progress) stop = d->progress(&p, d->user) != 0;
    }
    if (s == AF_OK && d->checkpoint && written != p.epoch) s = af__checkpoint_write(t, d, &p);
    if (s == AF_OK || s == AF_STOPPED)
        memcpy(af_params_data(t->desc.params), t->best, n * sizeof *t->best);
    return s == AF_OK && stop ? AF_STOPPED : s;
}
