/* ---- Adam and RAdam, learning-rate schedules ------------------------------------------------- */

enum { AF__ADAM_CHUNK = 16384 }; /* parameters that are worth a thread's attention */

struct af_adam {
    af_context *context;
    af__arena arena;
    af_adam_desc desc;
    size_t size;
    uint64_t step;
    double *first, *second; /* moments (size) */
    double *part;           /* sums of chunks */
    int resident;           /* they are the backend's, and so is the step: */
    af__update update;
};

static af_status af__adam_check(af_context *c, const af_adam_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "Adam: af_adam_desc was not initialised to zero");
    if (d->method != AF_ADAM && d->method != AF_RADAM)
        return af__fail(c, AF_ERROR_ARGUMENT, "Adam: there is no method %d", (int)d->method);
    if (!(d->beta1 >= 0.0 && d->beta1 < 1.0 && d->beta2 >= 0.0 && d->beta2 < 1.0))
        return af__fail(c, AF_ERROR_ARGUMENT, "Adam: beta1 %g and beta2 %g must lie in [0,1)",
                        d->beta1, d->beta2);
    if (!(d->epsilon >= 0.0 && d->weight_decay >= 0.0 && d->clip >= 0.0))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "Adam: epsilon %g, weight_decay %g and clip %g must not be negative",
                        d->epsilon, d->weight_decay, d->clip);
    return AF_OK;
}

static af_status af__adam_compile(af_adam *adam);

/* resident: x and the gradient of its steps are in the backend's memory. */
static af_status af__adam_create(af_context *c, const af_adam_desc *desc, size_t size, int resident,
                                 af_adam **out) {
    af_adam_desc d = AF__ZERO;
    af_status s;
    af_adam *adam;
    *out = NULL;
    if (desc) d = *desc;
    if (af__adam_check(c, &d) != AF_OK) return AF_ERROR_ARGUMENT;
    if (d.beta1 == 0.0) d.beta1 = 0.9;
    if (d.beta2 == 0.0) d.beta2 = 0.999;
    if (d.epsilon == 0.0) d.epsilon = 1e-8;
    adam = (af_adam *)c->allocator.allocate(sizeof *adam, c->allocator.user);
    if (!adam) return af__fail_memory(c, "the optimiser's state");
    memset(adam, 0, sizeof *adam);
    adam->context = c;
    adam->arena.allocator = af__memory_of(c, resident);
    adam->resident = resident;
    adam->desc = d;
    adam->size = size;
    adam->first = AF__ARRAY(&adam->arena, double, size);
    adam->second = AF__ARRAY(&adam->arena, double, size);
    adam->part = AF__ARRAY(&adam->arena, double, size / AF__ADAM_CHUNK + 1);
    if (!adam->first || !adam->second || !adam->part) {
        af_adam_destroy(adam);
        return af__fail_memory(c, "the optimiser's state");
    }
    s = resident ? af__adam_compile(adam) : AF_OK;
    if (s == AF_OK) *out = adam;
    else af_adam_destroy(adam);
    return s;
}

AF_API af_status af_adam_create(af_context *c, const af_adam_desc *desc, size_t size,
                                af_adam **out) {
    return af__adam_create(c, desc, size, 0, out);
}

AF_API void af_adam_destroy(af_adam *adam) {
    af_allocator allocator;
    if (!adam) return;
    allocator = adam->context->allocator;
    af__update_close(&adam->update);
    af__arena_free(&adam->arena);
    allocator.release(adam, sizeof *adam, allocator.user);
}

/* What the threads do with chunks of the arrays. */
typedef struct af__adam_job {
    const af__kernels *kernels;
    const af__adam_step *step;
    const double *v;
    double *part; /* sums of squares */
    size_t size;
} af__adam_job;

static size_t af__adam_end(const af__adam_job *job, size_t chunk) {
    size_t begin = chunk * AF__ADAM_CHUNK;
    return job->size - begin < AF__ADAM_CHUNK ? job->size : begin + AF__ADAM_CHUNK;
}

static void af__square_chunk(size_t chunk, void *user) {
    const af__adam_job *job = (const af__adam_job *)user;
    size_t begin = chunk * AF__ADAM_CHUNK;
    job->part[chunk] = job->kernels->square_sum(job->v + begin, af__adam_end(job, chunk) - begin);
}

static void af__adam_chunk(size_t chunk, void *user) {
    const af__adam_job *job = (const af__adam_job *)user;
    job->kernels->adam(job->step, chunk * AF__ADAM_CHUNK, af__adam_end(job, chunk));
}

/* sqrt(sum v^2), also where the squares overflow; not finite when an element is not. */
static double af__norm(const af_adam *adam, const double *v) {
    double sum = 0.0, largest = 0.0;
    size_t i, n = adam->size, chunks = (n + AF__ADAM_CHUNK - 1) / AF__ADAM_CHUNK;
    af__adam_job job = AF__ZERO;
    job.kernels = af__find_kernels(AF_SET_BEST, AF_F64);
    job.v = v;
    job.part = adam->part;
    job.size = n;
    af__parallel(adam->context->threads, chunks, af__square_chunk, &job);
    for (i = 0; i < chunks; i++) sum += adam->part[i];
    if (af__is_finite(sum)) return sqrt(sum);
    for (i = 0; i < n; i++) {
        if (!af__is_finite(v[i])) return v[i];
        if (fabs(v[i]) > largest) largest = fabs(v[i]);
    }
    for (i = 0, sum = 0.0; i < n; i++) sum += (v[i] / largest) * (v[i] / largest);
    return largest * sqrt(sum);
}

/* How far the step is rectified: 1 for Adam, 0 while RAdam still uses the first moment alone, which
 * is while the average is shorter than 5 (Liu et al.'s algorithm says 4, their program 5). */
static double af__rectification(const af_adam *adam, double *second_correction) {
    double b2 = adam->desc.beta2, t = (double)adam->step, power = pow(b2, t);
    double longest = 2.0 / (1.0 - b2) - 1.0, length = longest - 2.0 * t * power / (1.0 - power);
    *second_correction = 1.0 - power;
    if (adam->desc.method == AF_ADAM) return 1.0;
    if (length <= 5.0) return 0.0;
    return sqrt((length - 4.0) * (length - 2.0) * longest /
                ((longest - 4.0) * (longest - 2.0) * length));
}

static af_status af__adam_nonfinite(const af_adam *adam) {
    return af__fail(adam->context, AF_ERROR_NONFINITE,
                    "Adam: the gradient, or its square, is not finite at step %lu; lower the "
                    "learning rate",
                    (unsigned long)adam->step + 1);
}

/* ---- the step as a function, for a device ---- */

enum { AF__ADAM_CLIP, AF__ADAM_LENGTH, AF__ADAM_CORRECTION, AF__ADAM_RECTIFIED, AF__ADAM_DECAY,
       AF__ADAM_NUMBERS };

/* Squares of gradients whose sum is not below this count as not finite; so does NaN. */
#define AF__ADAM_MOST 1e300

static af_expr af__adam_number(af_context *c, af_expr numbers, size_t which) {
    return af_reshape(c, af_slice(c, numbers, 0, which, 1), 0, NULL);
}

/* x, first, second, gradient, numbers -> the first three after the step, unless it is not finite;
 * sum of the squares of the gradient. As in af_optimise.inc.c. */
static af_status af__adam_compile(af_adam *adam) {
    af_context *c = adam->context;
    const af_adam_desc *d = &adam->desc;
    size_t dims[1], count[1] = {AF__ADAM_NUMBERS}, i;
    af_expr in[5], out[4], s[AF__ADAM_NUMBERS], good, norm, g, first, second, x, over;
    dims[0] = adam->size;
    for (i = 0; i < 5; i++) in[i] = af_input(c, "state of Adam", 1, i < 4 ? dims : count);
    for (i = 0; i < AF__ADAM_NUMBERS; i++) s[i] = af__adam_number(c, in[4], i);
    out[3] = af_sum(c, af_square(c, in[3]));
    good = af_less(c, out[3], af_constant(c, AF__ADAM_MOST));
    norm = af_sqrt(c, out[3]);
    g = af_where(c, af_less(c, s[AF__ADAM_CLIP], norm), af_div(c, s[AF__ADAM_CLIP], norm),
                 af_constant(c, 1.0));
    g = af_mul(c, in[3], g);
    first = af_add(c, in[1], af_scale(c, af_sub(c, g, in[1]), 1.0 - d->beta1));
    second = af_add(c, in[2], af_scale(c, af_sub(c, af_square(c, g), in[2]), 1.0 - d->beta2));
    over = af_offset(c, af_sqrt(c, af_div(c, second, s[AF__ADAM_CORRECTION])), d->epsilon);
    over = af_where(c, s[AF__ADAM_RECTIFIED], af_div(c, s[AF__ADAM_RECTIFIED], over),
                    af_constant(c, 1.0));
    x = af_sub(c, in[0], af_mul(c, in[0], s[AF__ADAM_DECAY]));
    x = af_sub(c, x, af_mul(c, af_mul(c, first, s[AF__ADAM_LENGTH]), over));
    out[0] = af_where(c, good, x, in[0]);
    out[1] = af_where(c, good, first, in[1]);
    out[2] = af_where(c, good, second, in[2]);
    return af__update_open(c, "a step of Adam", 5, in, 4, out, 3, &adam->update);
}

static af_status af__adam_run(af_adam *adam, const af__adam_step *step, double *sum) {
    double numbers[AF__ADAM_NUMBERS];
    const void *in[5];
    void *out[4];
    numbers[AF__ADAM_CLIP] = adam->desc.clip > 0.0 ? adam->desc.clip : AF__ADAM_MOST;
    numbers[AF__ADAM_LENGTH] = step->length;
    numbers[AF__ADAM_CORRECTION] = step->correction;
    numbers[AF__ADAM_RECTIFIED] = step->rectified;
    numbers[AF__ADAM_DECAY] = step->decay;
    in[0] = out[0] = step->x;
    in[1] = out[1] = step->first;
    in[2] = out[2] = step->second;
    in[3] = step->gradient;
    in[4] = numbers;
    out[3] = sum;
    return af__update_run(adam->context, &adam->update, in, out);
}

/* ---- af_adam_step ---- */

/* The numbers of the step to come; its scale is the caller's. */
static af__adam_step af__adam_next(af_adam *adam, double *x, const double *gradient, double rate) {
    const af_adam_desc *d = &adam->desc;
    af__adam_step step = AF__ZERO;
    adam->step++;
    step.rectified = af__rectification(adam, &step.correction);
    step.x = x;
    step.first = adam->first;
    step.second = adam->second;
    step.gradient = gradient;
    step.beta1 = d->beta1;
    step.beta2 = d->beta2;
    step.epsilon = d->epsilon;
    step.length = rate / (1.0 - pow(d->beta1, (double)adam->step));
    step.decay = rate * d->weight_decay;
    return step;
}

static af_status af__adam_resident(af_adam *adam, double *x, const double *gradient, double rate) {
    af__adam_step step = af__adam_next(adam, x, gradient, rate);
    double sum = 0.0;
    af_status s = af__adam_run(adam, &step, &sum);
    if (s == AF_OK && sum < AF__ADAM_MOST) return AF_OK;
    adam->step--;
    return s == AF_OK ? af__adam_nonfinite(adam) : s;
}

#undef AF__ADAM_MOST

AF_API af_status af_adam_step(af_adam *adam, double *x, const double *gradient, double rate) {
    const af_adam_desc *d = &adam->desc;
    double norm, scale = 1.0;
    af__adam_step step;
    af__adam_job job = AF__ZERO;
    if (adam->resident) return af__adam_resident(adam, x, gradient, rate);
    norm = af__norm(adam, gradient);
    if (d->clip > 0.0 && norm > d->clip) scale = d->clip / norm;
    if (!af__is_finite(norm) || !af__is_finite((norm * scale) * (norm * scale)))
        return af__adam_nonfinite(adam);
    step = af__adam_next(adam, x, gradient, rate);
    step.scale = scale;
    job.kernels = af__find_kernels(AF_SET_BEST, AF_F64);
    job.step = &step;
    job.size = adam->size;
    af__parallel(adam->context->threads, (adam->size + AF__ADAM_CHUNK - 1) / AF__ADAM_CHUNK,
                 af__adam_chunk, &job);
    return AF_OK;
}

AF_API af_status af_adam_save(const af_adam *adam, af_tensors *to) {
    af_status status = af_tensors_add(to, "adam.first", AF_DTYPE_F64, 1, &adam->size, adam->first);
    if (status == AF_OK)
        status = af_tensors_add(to, "adam.second", AF_DTYPE_F64, 1, &adam->size, adam->second);
    return status == AF_OK ? af_tensors_set_whole(to, "adam.step", adam->step) : status;
}

AF_API af_status af_adam_load(af_adam *adam, const af_tensors *from) {
    size_t size = adam->size;
    af__arena scratch = AF__ZERO;
    double *moments;
    af_status status;
    scratch.allocator = adam->context->allocator;
    moments = AF__ARRAY(&scratch, double, 2 * size);
    if (!moments) return af__fail_memory(adam->context, "the optimiser's state from a file");
    status = af_tensors_get(from, "adam.first", 1, &size, moments);
    if (status == AF_OK) status = af_tensors_get(from, "adam.second", 1, &size, moments + size);
    if (status == AF_OK) status = af_tensors_whole(from, "adam.step", &adam->step);
    if (status == AF_OK) {
        memcpy(adam->first, moments, size * sizeof *moments);
        memcpy(adam->second, moments + size, size * sizeof *moments);
    }
    af__arena_free(&scratch);
    return status;
}

AF_API double af_schedule_rate(const af_schedule *schedule, double progress) {
    double rate = schedule->rate == 0.0 ? 1e-3 : schedule->rate;
    double last = schedule->last == 0.0 ? 1e-2 : schedule->last;
    double warmup = schedule->warmup == 0.0 ? 0.02 : schedule->warmup;
    double u = progress > 0.0 ? progress < 1.0 ? progress : 1.0 : 0.0, fall = 1.0; /* NaN: 0 */
    if (warmup > 0.0 && u < warmup) return rate * (1e-3 + (1.0 - 1e-3) * u / warmup);
    if (warmup > 0.0 && warmup < 1.0) u = (u - warmup) / (1.0 - warmup);
    if (schedule->kind == AF_SCHEDULE_COSINE)
        fall = last + (1.0 - last) * 0.5 * (1.0 + cos(AF__PI * u));
    if (schedule->kind == AF_SCHEDULE_EXPONENTIAL) fall = pow(last, u);
    if (schedule->kind == AF_SCHEDULE_STEP) {
        double left = 1.0 - u;
        while (left <= 0.5 && fall > last && fall > 0.0) {
            left *= 2.0;
            fall *= 0.5;
        }
        if (fall < last) fall = last;
    }
    return rate * fall;
}
