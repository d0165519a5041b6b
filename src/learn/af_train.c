/* ---- training -------------------------------------------------------------------------------- */

#include <errno.h>

/* An array that comes in pieces: (outer, pieces, inner); one piece is (outer, inner). */
typedef struct af__cut {
    size_t outer, inner;
    int whole; /* not cut */
} af__cut;

/* What one thread needs to compute pieces. */
typedef struct af__worker {
    af_workspace *workspace;
    const void **inputs; /* the parameters, then one piece of each input ... */
    void **outputs;      /* gradient, loss, one piece of each of the caller's outputs */
    void **own;          /* ... copied here; NULL where the caller's array is used */
    void *gradient;      /* (size), in the precision of the function ... */
    void *loss;          /* ... and so is this number */
    af_status status;
} af__worker;

struct af_trainer {
    af_context *context;
    af__arena arena;
    af_trainer_desc desc;
    af_func *func;
    af_adam *adam;
    af__cut *in, *out;        /* of the caller's inputs and outputs */
    double **output;          /* where the caller's outputs go */
    af__worker *worker;
    size_t pieces, workers, sums; /* pieces s, s + sums, ... are added to sum s, whoever does it */
    const void *const *batch; /* of the step */
    float *single;            /* the parameters in f32 */
    double *losses;           /* (pieces) */
    double *sum;              /* (sums - 1, size): gradients; the first sum is `gradient` */
    double *gradient;         /* (size), then the loss */
    double *best;             /* parameters of the best validation */
    double *average;          /* moving average of the parameters, after `averaged` steps; NULL:
                                 none */
    uint64_t averaged;
    double rate;
};

enum {
    AF__SUMS = 16,         /* gradients that are summed side by side, at most */
    AF__SUM_ELEMENTS = 1 << 24 /* and their elements together: larger networks take the threads
                                  for each operation */
};

AF_API void af_trainer_destroy(af_trainer *t) {
    af_allocator allocator;
    size_t i;
    if (!t) return;
    allocator = t->arena.allocator;
    for (i = 0; t->worker && i < t->workers; i++) af_workspace_destroy(t->worker[i].workspace);
    af_func_destroy(t->func);
    af_adam_destroy(t->adam);
    af__arena_free(&t->arena);
    allocator.release(t, sizeof *t, allocator.user);
}

static af_status af__trainer_compile(af_trainer *t) {
    af_context *c = t->context;
    af_func_desc d = AF__ZERO;
    af_expr *in = AF__ARRAY(&t->arena, af_expr, t->desc.input_count + 1);
    af_expr *out = AF__ARRAY(&t->arena, af_expr, t->desc.output_count + 2);
    size_t i;
    if (!in || !out) return af__fail_memory(c, "a trainer");
    in[0] = af_params_input(t->desc.params);
    for (i = 0; i < t->desc.input_count; i++) in[i + 1] = t->desc.inputs[i];
    out[0] = af_params_grad(t->desc.params, t->desc.loss);
    out[1] = t->desc.loss;
    for (i = 0; i < t->desc.output_count; i++) out[i + 2] = t->desc.outputs[i];
    d.inputs = in;
    d.input_count = t->desc.input_count + 1;
    d.outputs = out;
    d.output_count = t->desc.output_count + 2;
    d.precision = t->desc.precision;
    d.label = "training step";
    return af_compile(c, &d, &t->func);
}

/* ---- pieces ---- */

static size_t af__trainer_real(const af_trainer *t) {
    return t->desc.precision == AF_F32 ? sizeof(float) : sizeof(double);
}

static af_status af__cut_of(af_trainer *t, const char *what, size_t i, af_expr x, const int *axes,
                            int may_be_whole, af__cut *cut) {
    size_t d[AF_RANK_MAX], rank = af_shape(t->context, x, d), k;
    int axis = axes ? axes[i] : 0;
    cut->outer = cut->inner = 1;
    cut->whole = t->pieces == 1 || (axis == -1 && may_be_whole);
    if (!cut->whole && (axis < 0 || (size_t)axis > rank || (axis > 0 && (size_t)axis == rank)))
        return af__fail(t->context, AF_ERROR_ARGUMENT,
                        "trainer: %s %lu has %lu axes, it cannot be cut along axis %d", what,
                        (unsigned long)i, (unsigned long)rank, axis);
    for (k = 0; k < rank; k++) *(!cut->whole && (int)k < axis ? &cut->outer : &cut->inner) *= d[k];
    return AF_OK;
}

static af_status af__trainer_cuts(af_trainer *t) {
    const af_trainer_desc *d = &t->desc;
    af_status s = AF_OK;
    size_t i;
    t->in = AF__ARRAY(&t->arena, af__cut, d->input_count + 1);
    t->out = AF__ARRAY(&t->arena, af__cut, d->output_count + 1);
    t->output = AF__ARRAY(&t->arena, double *, d->output_count + 1);
    if (!t->in || !t->out || !t->output) return af__fail_memory(t->context, "a trainer");
    for (i = 0; i < d->output_count; i++) t->output[i] = (double *)d->output_data[i];
    for (i = 0; i < d->input_count && s == AF_OK; i++)
        s = af__cut_of(t, "input", i, d->inputs[i], d->input_axes, 1, &t->in[i]);
    for (i = 0; i < d->output_count && s == AF_OK; i++)
        s = af__cut_of(t, "output", i, d->outputs[i], d->output_axes, 0, &t->out[i]);
    return s;
}

/* Memory for a piece of an array; the caller's own serves when it has the same form. */
static int af__piece_memory(af_trainer *t, const af__cut *cut, void **own) {
    *own = NULL;
    if (cut->whole && t->desc.precision == AF_F64) return 1;
    *own = AF__ARRAY(&t->arena, double, cut->outer * cut->inner);
    return *own != NULL;
}

static af_status af__worker_create(af_trainer *t, af__worker *w, int threads) {
    size_t i, n = af_params_size(t->desc.params);
    int good;
    w->inputs = AF__ARRAY(&t->arena, const void *, t->desc.input_count + 1);
    w->own = AF__ARRAY(&t->arena, void *, t->desc.input_count + 1);
    w->outputs = AF__ARRAY(&t->arena, void *, t->desc.output_count + 2);
    w->loss = AF__ARRAY(&t->arena, double, 1);
    good = w->inputs && w->own && w->outputs && w->loss;
    if (t->pieces > t->sums || t->desc.precision == AF_F32)
        good = good && (w->gradient = AF__ARRAY(&t->arena, double, n)) != NULL;
    for (i = 0; i < t->desc.input_count && good; i++)
        good = af__piece_memory(t, &t->in[i], &w->own[i]);
    for (i = 0; i < t->desc.output_count && good; i++) {
        good = af__piece_memory(t, &t->out[i], &w->outputs[i + 2]);
        if (good && !w->outputs[i + 2]) w->outputs[i + 2] = t->output[i];
    }
    if (good && af_workspace_create(t->func, threads, &w->workspace) == AF_OK) return AF_OK;
    return af__fail_memory(t->context, "a training step's workspace");
}

static af_status af__trainer_memory(af_trainer *t) {
    size_t i, n = af_params_size(t->desc.params);
    int threads = t->context->threads;
    af_status s;
    t->sums = af__clamp(AF__SUM_ELEMENTS / (n + 1), 1, af__clamp(t->pieces, 1, AF__SUMS));
    t->workers = af__clamp((size_t)af__threads(threads), 1, t->sums);
    t->worker = AF__ARRAY(&t->arena, af__worker, t->workers);
    t->losses = AF__ARRAY(&t->arena, double, t->pieces);
    t->sum = AF__ARRAY(&t->arena, double, (t->sums - 1) * n + 1);
    t->gradient = AF__ARRAY(&t->arena, double, n + 1);
    t->best = AF__ARRAY(&t->arena, double, n);
    if (t->desc.average > 0.0) t->average = AF__ARRAY(&t->arena, double, n);
    if (t->desc.precision == AF_F32) t->single = AF__ARRAY(&t->arena, float, n);
    if (!t->worker || !t->losses || !t->sum || !t->gradient || !t->best ||
        (t->desc.average > 0.0 && !t->average) || (t->desc.precision == AF_F32 && !t->single))
        return af__fail_memory(t->context, "a trainer");
    for (i = 0; i < t->workers; i++) {
        s = af__worker_create(t, &t->worker[i], t->sums > 1 ? 1 : threads);
        if (s != AF_OK) return s;
    }
    return af_adam_create(t->context, &t->desc.adam, n, &t->adam);
}

/* to[i] = from[i] in the precision of the function; and back. */
static void af__to_precision(af_precision precision, void *to, const double *from, size_t n) {
    size_t i;
    if (precision == AF_F64) memcpy(to, from, n * sizeof *from);
    else for (i = 0; i < n; i++) ((float *)to)[i] = (float)from[i];
}

static void af__from_precision(af_precision precision, double *to, const void *from, size_t n) {
    size_t i;
    if (precision == AF_F64) memcpy(to, from, n * sizeof *to);
    else for (i = 0; i < n; i++) to[i] = (double)((const float *)from)[i];
}

static void af__piece_in(const af_trainer *t, af__worker *w, size_t piece) {
    size_t i, o;
    for (i = 0; i < t->desc.input_count; i++) {
        const af__cut *cut = &t->in[i];
        const double *from = (const double *)t->batch[i];
        w->inputs[i + 1] = w->own[i] ? w->own[i] : t->batch[i];
        for (o = 0; o < cut->outer && w->own[i]; o++)
            af__to_precision(t->desc.precision,
                             (char *)w->own[i] + o * cut->inner * af__trainer_real(t),
                             from + (cut->whole ? 0 : o * t->pieces + piece) * cut->inner,
                             cut->inner);
    }
}

static void af__piece_out(const af_trainer *t, const af__worker *w, size_t piece) {
    size_t i, o;
    for (i = 0; i < t->desc.output_count; i++) {
        const af__cut *cut = &t->out[i];
        double *to = t->output[i];
        for (o = 0; o < cut->outer && w->outputs[i + 2] != (void *)to; o++)
            af__from_precision(t->desc.precision, to + (o * t->pieces + piece) * cut->inner,
                               (const char *)w->outputs[i + 2] +
                                   o * cut->inner * af__trainer_real(t),
                               cut->inner);
    }
    af__from_precision(t->desc.precision, t->losses + piece, w->loss, 1);
}

/* Computes one piece; its gradient becomes `sum`, or is added to it. */
static af_status af__piece_run(af_trainer *t, af__worker *w, size_t piece, double *sum, int add) {
    size_t i, n = af_params_size(t->desc.params);
    int direct = !add && t->desc.precision == AF_F64;
    w->inputs[0] = t->single ? (const void *)t->single : af_params_data(t->desc.params);
    w->outputs[0] = direct ? sum : w->gradient;
    w->outputs[1] = w->loss;
    af__piece_in(t, w, piece);
    if (af_run(t->func, w->workspace, w->inputs, w->outputs) != AF_OK) return AF_ERROR_BACKEND;
    af__piece_out(t, w, piece);
    if (direct) return AF_OK;
    if (!add) memset(sum, 0, n * sizeof *sum);
    if (t->single) for (i = 0; i < n; i++) sum[i] += (double)((const float *)w->gradient)[i];
    else for (i = 0; i < n; i++) sum[i] += ((const double *)w->gradient)[i];
    return AF_OK;
}

/* All pieces of the sums that are this worker's. */
static void af__worker_run(size_t number, void *user) {
    af_trainer *t = (af_trainer *)user;
    af__worker *w = &t->worker[number];
    size_t s, piece, n = af_params_size(t->desc.params);
    w->status = AF_OK;
    for (s = number; s < t->sums; s += t->workers) {
        double *sum = s ? t->sum + (s - 1) * n : t->gradient;
        for (piece = s; piece < t->pieces && w->status == AF_OK; piece += t->sums)
            w->status = af__piece_run(t, w, piece, sum, piece > s);
    }
}

enum { AF__SUM_CHUNK = 8192 };

/* Elements of the gradient: the mean over all pieces. */
static void af__gradient_chunk(size_t chunk, void *user) {
    af_trainer *t = (af_trainer *)user;
    size_t n = af_params_size(t->desc.params), begin = chunk * AF__SUM_CHUNK, s, i;
    size_t end = n - begin < AF__SUM_CHUNK ? n : begin + AF__SUM_CHUNK;
    double share = 1.0 / (double)t->pieces;
    for (s = 1; s < t->sums; s++)
        for (i = begin; i < end; i++) t->gradient[i] += t->sum[(s - 1) * n + i];
    for (i = begin; i < end; i++) t->gradient[i] *= share;
}

/* Loss and gradient of the batch. */
static af_status af__trainer_compute(af_trainer *t) {
    size_t i, n = af_params_size(t->desc.params);
    double loss = 0.0;
    if (t->single) af__to_precision(AF_F32, t->single, af_params_data(t->desc.params), n);
    af__parallel((int)t->workers, t->workers, af__worker_run, t);
    for (i = 0; i < t->workers; i++)
        if (t->worker[i].status != AF_OK)
            return af__fail(t->context, AF_ERROR_BACKEND, "training: the backend failed");
    if (t->pieces > 1)
        af__parallel(t->context->threads, (n + AF__SUM_CHUNK - 1) / AF__SUM_CHUNK,
                     af__gradient_chunk, t);
    for (i = 0; i < t->pieces; i++) loss += t->losses[i];
    t->gradient[n] = loss / (double)t->pieces;
    return AF_OK;
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
    t->pieces = desc->pieces ? desc->pieces : 1;
    status = af__trainer_cuts(t);
    if (status == AF_OK) status = af__trainer_compile(t);
    if (status == AF_OK) status = af__trainer_memory(t);
    if (status != AF_OK) {
        af_trainer_destroy(t);
        return status;
    }
    *out = t;
    return AF_OK;
}

/* The first steps are averaged over fewer: (1 + k)/(10 + k) after k of them. */
static void af__trainer_average(af_trainer *t, const double *x) {
    double k = (double)t->averaged++, keep = (1.0 + k) / (10.0 + k);
    size_t i, n = af_params_size(t->desc.params);
    if (keep > t->desc.average) keep = t->desc.average;
    for (i = 0; i < n; i++)
        t->average[i] = k > 0.0 ? t->average[i] + (1.0 - keep) * (x[i] - t->average[i]) : x[i];
}

AF_API af_status af_trainer_step(af_trainer *t, const void *const *inputs, double progress,
                                 double *loss) {
    size_t n = af_params_size(t->desc.params);
    double *x = af_params_data(t->desc.params);
    af_status status;
    t->batch = inputs;
    status = af__trainer_compute(t);
    if (status != AF_OK) return status;
    if (t->desc.allreduce) {
        status = t->desc.allreduce(t->gradient, n + 1, t->desc.allreduce_user);
        if (status != AF_OK) return af__fail(t->context, status, "training: allreduce failed");
    }
    if (loss) *loss = t->gradient[n];
    if (!af__is_finite(t->gradient[n]))
        return af__fail(t->context, AF_ERROR_NONFINITE,
                        "training: the loss is not finite; lower the learning rate");
    t->rate = af_schedule_rate(&t->desc.schedule, progress);
    status = af_adam_step(t->adam, x, t->gradient, t->rate);
    if (status == AF_OK && t->average) af__trainer_average(t, x);
    return status;
}

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
