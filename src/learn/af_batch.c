/* ---- batches in pieces --------------------------------------------------------------------------
 *
 * What trainers and minimisers share: a compiled function of parameters and data is computed for
 * the pieces of a batch side by side, and some of its outputs are summed over the pieces. */

typedef struct af__batch_desc {
    const char *label;
    af_params *params;
    const af_expr *inputs; /* data of one piece, and along which axes they are cut: af_train.h */
    size_t input_count;
    const int *input_axes;
    const af_expr *sums; /* summed over the pieces, times `share` */
    size_t sum_count;
    double share;
    double *last;        /* NULL, or where the last sum is wanted, one element. `total` may be without
                            it then: the host would fetch a page of the device's memory for it */
    const af_expr *outputs; /* gathered from the pieces */
    void *const *output_data;
    size_t output_count;
    const int *output_axes;
    size_t pieces;
    af_precision precision;
} af__batch_desc;

/* An array that comes in pieces: (outer, pieces, inner); one piece is (outer, inner). */
typedef struct af__cut {
    size_t outer, inner;
    int whole; /* not cut */
} af__cut;

/* What one thread needs to compute pieces. */
typedef struct af__worker {
    af_workspace *workspace;
    const void **inputs; /* the parameters, then one piece of each input ... */
    void **outputs;      /* sums, one piece of each of the caller's outputs */
    void **own;          /* ... copied here; NULL where the caller's array is used */
    void *sum;           /* (size), in the precision of the function */
    af_status status;
    char error[AF__ERROR_CAPACITY]; /* the backend's sentence */
} af__worker;

typedef struct af__batch {
    af_context *context;
    af__arena *arena;
    af__arena resident; /* of the total */
    int elsewhere; /* `total` is in memory of the backend's */
    int wide; /* the function takes the parameters and gives the sums in f64: in that precision, or
                 the backend converts them */
    af__batch_desc desc;
    af_func *func;
    af__cut *in, *out; /* of the caller's inputs and outputs */
    double **output;   /* where the caller's outputs go */
    af__worker *worker;
    size_t size;       /* of all sums together */
    size_t *offset;    /* of each in them */
    size_t pieces, workers, sums; /* pieces s, s + sums, ... are added to sum s, whoever does it */
    const void *const *inputs;    /* of this run */
    float *single;     /* the parameters in f32; NULL: wide */
    double *sum;       /* (sums - 1, size); the first sum is `total` */
    double *total;     /* (size): the result */
} af__batch;

enum {
    AF__SUMS = 16,         /* sums that are made side by side, at most */
    AF__SUM_ELEMENTS = 1 << 24 /* and their elements together: larger networks take the threads
                                  for each operation */
};

static void af__batch_close(af__batch *b) {
    size_t i;
    for (i = 0; b->worker && i < b->workers; i++) af_workspace_destroy(b->worker[i].workspace);
    af_func_destroy(b->func);
    af__arena_free(&b->resident);
}

static af_status af__batch_compile(af__batch *b) {
    const af__batch_desc *d = &b->desc;
    af_context *c = b->context;
    af_func_desc f = AF__ZERO;
    af_expr *in = AF__ARRAY(b->arena, af_expr, d->input_count + 1);
    af_expr *out = AF__ARRAY(b->arena, af_expr, d->sum_count + d->output_count);
    size_t i;
    b->offset = AF__ARRAY(b->arena, size_t, d->sum_count);
    if (!in || !out || !b->offset) return af__fail_memory(c, d->label);
    in[0] = af_params_input(d->params);
    for (i = 0; i < d->input_count; i++) in[i + 1] = d->inputs[i];
    for (i = 0; i < d->sum_count; i++) {
        out[i] = d->sums[i];
        b->offset[i] = b->size;
        b->size += af_size(c, d->sums[i]);
    }
    for (i = 0; i < d->output_count; i++) out[d->sum_count + i] = d->outputs[i];
    f.inputs = in;
    f.input_count = d->input_count + 1;
    f.outputs = out;
    f.output_count = d->sum_count + d->output_count;
    f.precision = d->precision;
    f.label = d->label;
    return af_compile(c, &f, &b->func);
}

static size_t af__batch_real(const af__batch *b) {
    return b->desc.precision == AF_F32 ? sizeof(float) : sizeof(double);
}

static af_status af__cut_of(af__batch *b, const char *what, size_t i, af_expr x, const int *axes,
                            int may_be_whole, af__cut *cut) {
    size_t d[AF_RANK_MAX], rank = af_shape(b->context, x, d), k;
    int axis = axes ? axes[i] : 0;
    cut->outer = cut->inner = 1;
    cut->whole = b->pieces == 1 || (axis == -1 && may_be_whole);
    if (!cut->whole && (axis < 0 || (size_t)axis > rank || (axis > 0 && (size_t)axis == rank)))
        return af__fail(b->context, AF_ERROR_ARGUMENT,
                        "%s: %s %lu has %lu axes, it cannot be cut along axis %d", b->desc.label,
                        what, (unsigned long)i, (unsigned long)rank, axis);
    for (k = 0; k < rank; k++) *(!cut->whole && (int)k < axis ? &cut->outer : &cut->inner) *= d[k];
    return AF_OK;
}

static af_status af__batch_cuts(af__batch *b) {
    const af__batch_desc *d = &b->desc;
    af_status s = AF_OK;
    size_t i;
    b->in = AF__ARRAY(b->arena, af__cut, d->input_count + 1);
    b->out = AF__ARRAY(b->arena, af__cut, d->output_count + 1);
    b->output = AF__ARRAY(b->arena, double *, d->output_count + 1);
    if (!b->in || !b->out || !b->output) return af__fail_memory(b->context, d->label);
    for (i = 0; i < d->output_count; i++) b->output[i] = (double *)d->output_data[i];
    for (i = 0; i < d->input_count && s == AF_OK; i++)
        s = af__cut_of(b, "input", i, d->inputs[i], d->input_axes, 1, &b->in[i]);
    for (i = 0; i < d->output_count && s == AF_OK; i++)
        s = af__cut_of(b, "output", i, d->outputs[i], d->output_axes, 0, &b->out[i]);
    return s;
}

/* Memory for a piece of an array; the caller's own serves when it has the same form. */
static int af__piece_memory(af__batch *b, const af__cut *cut, void **own) {
    *own = NULL;
    if (cut->whole && b->desc.precision == AF_F64) return 1;
    *own = AF__ARRAY(b->arena, double, cut->outer * cut->inner);
    return *own != NULL;
}

static af_status af__worker_create(af__batch *b, af__worker *w, int threads) {
    const af__batch_desc *d = &b->desc;
    void **output;
    size_t i;
    int good;
    w->inputs = AF__ARRAY(b->arena, const void *, d->input_count + 1);
    w->own = AF__ARRAY(b->arena, void *, d->input_count + 1);
    w->outputs = AF__ARRAY(b->arena, void *, d->sum_count + d->output_count + 1);
    good = w->inputs && w->own && w->outputs;
    if (b->pieces > b->sums || b->single)
        good = good && (w->sum = AF__ARRAY(b->arena, double, b->size)) != NULL;
    for (i = 0; i < d->input_count && good; i++)
        good = af__piece_memory(b, &b->in[i], &w->own[i]);
    output = good ? w->outputs + d->sum_count : NULL;
    for (i = 0; i < d->output_count && good; i++) {
        good = af__piece_memory(b, &b->out[i], &output[i]);
        if (good && !output[i]) output[i] = b->output[i];
    }
    if (!good) return af__fail_memory(b->context, d->label);
    return af_context_workspace(b->context, b->func, threads, &w->workspace);
}

static af_status af__batch_memory(af__batch *b) {
    size_t i, n = af_params_size(b->desc.params);
    int threads = b->context->threads, resident = b->pieces == 1 && af__is_resident(b->context, n);
    af_status s;
    b->sums = af__clamp(AF__SUM_ELEMENTS / (b->size + 1), 1, af__clamp(b->pieces, 1, AF__SUMS));
    b->workers = af__clamp((size_t)af__threads(threads), 1, b->sums);
    b->worker = AF__ARRAY(b->arena, af__worker, b->workers);
    b->sum = AF__ARRAY(b->arena, double, (b->sums - 1) * b->size + 1);
    if (resident) af__func_widen(b->func, 1, b->desc.sum_count);
    b->elsewhere = resident;
    b->wide = resident || b->desc.precision == AF_F64;
    b->resident.allocator = af__memory_of(b->context, resident);
    b->total = AF__ARRAY(&b->resident, double, b->size);
    if (!b->wide) b->single = AF__ARRAY(b->arena, float, n);
    if (!b->worker || !b->sum || !b->total || (!b->wide && !b->single))
        return af__fail_memory(b->context, b->desc.label);
    for (i = 0; i < b->workers; i++) {
        s = af__worker_create(b, &b->worker[i], b->sums > 1 ? 1 : threads);
        if (s != AF_OK) return s;
    }
    return AF_OK;
}

/* Compiles the sums and outputs; all memory is the arena's, but for what af__batch_close frees,
 * which is to be called after a failure too. Of the desc's arrays only those must stay that
 * output_data points to. */
static af_status af__batch_open(af_context *c, af__arena *arena, const af__batch_desc *desc,
                                af__batch *b) {
    af_status s;
    memset(b, 0, sizeof *b);
    b->context = c;
    b->arena = arena;
    b->desc = *desc;
    b->pieces = desc->pieces ? desc->pieces : 1;
    s = af__batch_cuts(b);
    if (s == AF_OK) s = af__batch_compile(b);
    return s == AF_OK ? af__batch_memory(b) : s;
}

/* ---- running ---- */

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

static void af__piece_in(const af__batch *b, af__worker *w, size_t piece) {
    size_t i, o;
    for (i = 0; i < b->desc.input_count; i++) {
        const af__cut *cut = &b->in[i];
        const double *from = (const double *)b->inputs[i];
        w->inputs[i + 1] = w->own[i] ? w->own[i] : b->inputs[i];
        for (o = 0; o < cut->outer && w->own[i]; o++)
            af__to_precision(b->desc.precision,
                             (char *)w->own[i] + o * cut->inner * af__batch_real(b),
                             from + (cut->whole ? 0 : o * b->pieces + piece) * cut->inner,
                             cut->inner);
    }
}

static void af__piece_out(const af__batch *b, const af__worker *w, size_t piece) {
    size_t i, o;
    for (i = 0; i < b->desc.output_count; i++) {
        const af__cut *cut = &b->out[i];
        const char *from = (const char *)w->outputs[b->desc.sum_count + i];
        double *to = b->output[i];
        for (o = 0; o < cut->outer && from != (const char *)to; o++)
            af__from_precision(b->desc.precision, to + (o * b->pieces + piece) * cut->inner,
                               from + o * cut->inner * af__batch_real(b), cut->inner);
    }
}

/* Computes one piece; its sums become `sum`, or are added to it. */
static af_status af__piece_run(af__batch *b, af__worker *w, size_t piece, double *sum, int add) {
    size_t i, n = b->size;
    int direct = !add && b->wide;
    char *to = (char *)(direct ? (void *)sum : w->sum);
    w->inputs[0] = b->single ? (const void *)b->single : af_params_data(b->desc.params);
    for (i = 0; i < b->desc.sum_count; i++)
        w->outputs[i] = to + b->offset[i] * (direct ? sizeof *sum : af__batch_real(b));
    if (b->elsewhere && b->desc.last) w->outputs[b->desc.sum_count - 1] = b->desc.last;
    af__piece_in(b, w, piece);
    if (af_run(b->func, w->workspace, w->inputs, w->outputs) != AF_OK) {
        snprintf(w->error, sizeof w->error, "%s", af_func_error(b->func)); /* this thread's */
        return AF_ERROR_BACKEND;
    }
    af__piece_out(b, w, piece);
    if (direct) return AF_OK;
    if (!add) memset(sum, 0, n * sizeof *sum);
    if (b->single) for (i = 0; i < n; i++) sum[i] += (double)((const float *)w->sum)[i];
    else for (i = 0; i < n; i++) sum[i] += ((const double *)w->sum)[i];
    return AF_OK;
}

/* All pieces of the sums that are this worker's. */
static void af__worker_run(size_t number, void *user) {
    af__batch *b = (af__batch *)user;
    af__worker *w = &b->worker[number];
    size_t s, piece;
    w->status = AF_OK;
    for (s = number; s < b->sums; s += b->workers) {
        double *sum = s ? b->sum + (s - 1) * b->size : b->total;
        for (piece = s; piece < b->pieces && w->status == AF_OK; piece += b->sums)
            w->status = af__piece_run(b, w, piece, sum, piece > s);
    }
}

enum { AF__SUM_CHUNK = 8192 };

/* Elements of the total. */
static void af__total_chunk(size_t chunk, void *user) {
    af__batch *b = (af__batch *)user;
    size_t n = b->size, begin = chunk * AF__SUM_CHUNK, s, i;
    size_t end = n - begin < AF__SUM_CHUNK ? n : begin + AF__SUM_CHUNK;
    for (s = 1; s < b->sums; s++)
        for (i = begin; i < end; i++) b->total[i] += b->sum[(s - 1) * n + i];
    for (i = begin; i < end; i++) b->total[i] *= b->desc.share;
}

/* The sums of the batch, into b->total and *desc.last. */
static af_status af__batch_run(af__batch *b, const void *const *inputs) {
    size_t i, n = af_params_size(b->desc.params);
    b->inputs = inputs;
    if (b->single) af__to_precision(AF_F32, b->single, af_params_data(b->desc.params), n);
    af__parallel((int)b->workers, b->workers, af__worker_run, b);
    for (i = 0; i < b->workers; i++)
        if (b->worker[i].status != AF_OK)
            return af__fail(b->context, AF_ERROR_BACKEND, "%s: %s", b->desc.label,
                            b->worker[i].error);
    if (b->sums > 1 || b->desc.share != 1.0)
        af__parallel(b->context->threads, (b->size + AF__SUM_CHUNK - 1) / AF__SUM_CHUNK,
                     af__total_chunk, b);
    if (b->desc.last && !b->elsewhere) *b->desc.last = b->total[b->size - 1];
    return AF_OK;
}
