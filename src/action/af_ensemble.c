/* ---- ActionFinder: uncertainties --------------------------------------------------------------
 *
 * A finder with units dropped is a copy of it with other numbers: dropping a unit is a row of zeros
 * in the next layer's weights. So evaluators need not know of dropout. */

typedef struct af__member {
    const af_finder *finder;
    af_finder *thin; /* a copy whose parameters are changed from answer to answer, or NULL */
    af_evaluator *evaluator; /* of the copy, if there is one */
} af__member;

struct af_ensemble {
    af_context *context;
    af__arena arena;
    af_ensemble_desc desc; /* defaults resolved */
    size_t members, answers, chunk; /* chunk: streams whose answers are kept at a time */
    af__member *member;
    double *j, *theta; /* (answers, chunk, stars, 3) */
    unsigned *flags;   /* (answers, chunk, stars) */
    double *norms;     /* (2, widest layer) */
    double *value;     /* (answers) */
    size_t *use;       /* (answers) */
};

/* Streams that are solved together, over those of a block: lanes run empty only at the end. */
enum { AF__ENSEMBLE_CHUNK = 4, AF__ENSEMBLE_BLOCK = 256 };

AF_API void af_ensemble_destroy(af_ensemble *e) {
    af_allocator allocator;
    size_t i;
    if (!e) return;
    allocator = e->arena.allocator;
    for (i = 0; e->member && i < e->members; i++) {
        af_evaluator_destroy(e->member[i].evaluator);
        af_finder_destroy(e->member[i].thin);
    }
    af__arena_free(&e->arena);
    allocator.release(e, sizeof *e, allocator.user);
}

AF_API size_t af_ensemble_answers(const af_ensemble *e) { return e->answers; }

/* ---- dropout ---- */

/* The widest block of which units are dropped in training, 0: none. */
static size_t af__droppable(const af_net *net) {
    const af_net_desc *d;
    size_t i, widest = 0;
    if (!net || net->desc.architecture != AF_RESDENSE || net->desc.dropout == 0.0) return 0;
    d = &net->desc;
    for (i = 0; i <= 2 * d->depth; i++) {
        size_t width = af__block_width(d, i);
        if (width > d->dropout_above && width > widest) widest = width;
    }
    return widest;
}

/* The network of G that loses units in training: a Fourier G's does not. */
static const af_net *af__dropping(const af_finder *f) {
    return f->g.desc.generator == AF_GENERATOR_NETWORK ? f->g.net : NULL;
}

/* Which answer of which member: what is dropped depends on nothing else. */
typedef struct af__thinning {
    uint64_t seed, answer;
    double *norms;
    double *all; /* the parameters */
} af__thinning;

/* Drops units among the inputs of a layer (width,width) and scales the others up. A layer with
 * weight norm keeps the weights that the others had: its gains follow the norms. */
static void af__thin_layer(const af_net *net, size_t layer, size_t width, size_t place,
                           const af__thinning *t) {
    const af__dense *d = &net->dense[layer];
    const double *begin = af_params_data(net->params);
    double *weight = t->all + (af_params_view(net->params, d->weight) - begin);
    double *before = t->norms, *after = t->norms + width;
    uint64_t stream = (net->dropout_stream << 16) + place;
    size_t in, out;
    for (out = 0; out < 2 * width; out++) t->norms[out] = 0.0;
    for (in = 0; in < width; in++) {
        double u = af_random_uniform(t->seed, stream, t->answer * width + in), drop;
        drop = net->desc.dropout;
        for (out = 0; out < width; out++) {
            double *w = weight + in * width + out;
            before[out] += *w * *w;
            *w *= u < drop ? 0.0 : 1.0 / (1.0 - drop);
            after[out] += *w * *w;
        }
    }
    for (out = 0; out < width && d->has_gain; out++) {
        double *gain = t->all + (af_params_view(net->params, d->gain) - begin) + out;
        if (before[out] > 0.0) *gain *= sqrt(after[out] / before[out]);
        if (!(after[out] > 0.0)) weight[out] = 1.0; /* all dropped: any direction, of length 0 */
    }
}

static void af__thin_net(const af_net *net, const af__thinning *t) {
    const af_net_desc *d = &net->desc;
    size_t i, layer = 0, width = d->inputs;
    for (i = 0; i <= 2 * d->depth; i++) { /* the order of af__apply_resdense */
        size_t next = af__block_width(d, i);
        if (af__has_entry(i, width, next)) layer++;
        if (next > d->dropout_above) {
            af__thin_layer(net, layer, next, 2 * i, t);
            af__thin_layer(net, layer + 1, next, 2 * i + 1, t);
        }
        layer += 2;
        width = next;
    }
}

/* Makes the copy's parameters those of one answer. */
static void af__thin(const af_ensemble *e, size_t i, size_t answer) {
    const af__member *m = &e->member[i];
    const af_params *from = m->finder->g.params;
    af__thinning t;
    t.seed = e->desc.seed;
    t.answer = (uint64_t)(i * e->desc.dropout + answer);
    t.norms = e->norms;
    t.all = af_params_data(m->thin->g.params);
    memcpy(t.all, af_params_data(m->finder->g.params), af_params_size(from) * sizeof *t.all);
    if (af__droppable(af__dropping(m->thin))) af__thin_net(m->thin->g.net, &t);
    if (af__droppable(m->thin->g.point)) af__thin_net(m->thin->g.point, &t);
}

/* A copy of the finder with parameters of its own; the tables remain the finder's. */
static af_status af__finder_copy(const af_finder *f, af_finder **out) {
    af_finder *copy = af__finder_new(f->context);
    *out = copy;
    if (!copy) return AF_ERROR_MEMORY;
    copy->toy = f->toy;
    copy->g = f->g;
    copy->g.params = NULL;
    copy->g.net = copy->g.point = NULL;
    copy->g.shears = NULL;
    return af__finder_networks(copy);
}

/* ---- making ---- */

static af_status af__ensemble_member(af_ensemble *e, size_t i, size_t *widest) {
    af__member *m = &e->member[i];
    const af_ensemble_desc *d = &e->desc;
    size_t width = af__droppable(af__dropping(m->finder));
    size_t point = af__droppable(m->finder->g.point);
    af_context *c = m->finder->context;
    af_status s = AF_OK;
    if (point > width) width = point;
    if (width > *widest) *widest = width;
    if (d->dropout > 0 && width == 0)
        return af__fail(e->context, AF_ERROR_ARGUMENT,
                        "ensemble: finder %lu was not trained with dropout, so that it cannot be "
                        "sampled by it; train several with other seeds instead",
                        (unsigned long)i + 1);
    if (d->dropout > 0) s = af__finder_copy(m->finder, &m->thin);
    if (s == AF_OK)
        s = af_evaluator_create(m->thin ? m->thin : m->finder, d->stars, d->block, d->threads,
                                &m->evaluator);
    if (s != AF_OK && c != e->context)
        af__fail(e->context, s, "ensemble: finder %lu: %s", (unsigned long)i + 1, af_error(c));
    return s;
}

static af_status af__ensemble_memory(af_ensemble *e, size_t widest) {
    size_t n = e->chunk * e->desc.stars;
    af__arena *a = &e->arena;
    if (n / e->chunk != e->desc.stars || n > SIZE_MAX / 64 / e->answers)
        return af__fail_memory(e->context, "an ensemble");
    e->j = AF__ARRAY(a, double, e->answers * n * 3);
    e->theta = AF__ARRAY(a, double, e->answers * n * 3);
    e->flags = AF__ARRAY(a, unsigned, e->answers * n);
    e->norms = AF__ARRAY(a, double, 2 * widest);
    e->value = AF__ARRAY(a, double, e->answers);
    e->use = AF__ARRAY(a, size_t, e->answers);
    if (e->j && e->theta && e->flags && e->norms && e->value && e->use) return AF_OK;
    return af__fail_memory(e->context, "an ensemble");
}

static af_status af__ensemble_fill(af_ensemble *e, size_t count, af_finder *const *finders) {
    size_t i, widest = 0;
    af_status s = AF_OK;
    e->member = AF__ARRAY(&e->arena, af__member, count);
    if (!e->member || (e->desc.dropout > 0 && count > SIZE_MAX / e->desc.dropout))
        return af__fail_memory(e->context, "an ensemble");
    e->members = count;
    e->answers = e->desc.dropout > 0 ? count * e->desc.dropout : count;
    for (i = 0; i < count && s == AF_OK; i++) {
        e->member[i].finder = finders[i];
        s = af__ensemble_member(e, i, &widest);
    }
    return s == AF_OK ? af__ensemble_memory(e, widest) : s;
}

AF_API af_status af_ensemble_create(af_context *c, size_t count, af_finder *const *finders,
                                    const af_ensemble_desc *desc, af_ensemble **out) {
    af_ensemble_desc none = AF__ZERO;
    af_ensemble *e;
    af_status s;
    *out = NULL;
    if (!desc) desc = &none;
    if (desc->start_canary != 0 || desc->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "ensemble: af_ensemble_desc was not initialised to zero");
    if (count == 0) return af__fail(c, AF_ERROR_ARGUMENT, "ensemble: it needs a finder or more");
    e = (af_ensemble *)c->allocator.allocate(sizeof *e, c->allocator.user);
    if (!e) return af__fail_memory(c, "an ensemble");
    memset(e, 0, sizeof *e);
    e->context = c;
    e->arena.allocator = c->allocator;
    e->desc = *desc;
    if (e->desc.stars == 0) e->desc.stars = 1;
    if (e->desc.block == 0) e->desc.block = AF__ENSEMBLE_BLOCK;
    e->chunk = e->desc.block * AF__ENSEMBLE_CHUNK;
    s = e->chunk / AF__ENSEMBLE_CHUNK == e->desc.block ? af__ensemble_fill(e, count, finders)
                                                      : af__fail_memory(c, "an ensemble");
    if (s != AF_OK) {
        af_ensemble_destroy(e);
        return s;
    }
    *out = e;
    return AF_OK;
}

/* ---- from answers to one ---- */

/* Mean or median of x (n), which gets sorted for the latter, and the standard deviation. */
static void af__center(double *x, size_t n, int median, double *center, double *error) {
    double mean = 0.0, square = 0.0;
    size_t i;
    for (i = 0; i < n; i++) { /* Welford: no cancellation */
        double away = x[i] - mean;
        mean += away / (double)(i + 1);
        square += away * (x[i] - mean);
    }
    *error = n > 1 ? sqrt(square / (double)(n - 1)) : NAN;
    *center = mean;
    if (!median || n == 0) return;
    qsort(x, n, sizeof *x, af__compare_doubles);
    *center = af__quantile(x, n, 0.5);
}

/* The same of angles, about their circular mean. */
static void af__angle_center(double *x, size_t n, int median, double *center, double *error) {
    double first = x[0], s = 0.0, c = 0.0, mean;
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] -= first;
        s += sin(x[i]);
        c += cos(x[i]);
    }
    mean = atan2(s, c);
    for (i = 0; i < n; i++) x[i] = remainder(x[i] - mean, 2.0 * AF__PI);
    af__center(x, n, median, center, error);
    *center = af__wrap(first + mean + (median ? *center : 0.0));
}

/* The answers that count for star `at` of the chunk (stars in it: n): their numbers in e->use. */
static size_t af__counting(const af_ensemble *e, size_t n, size_t at, unsigned *flags) {
    size_t i, used = 0, pass;
    *flags = 0;
    for (pass = 0; pass < 2 && used == 0; pass++) {
        unsigned bad = AF_ORBIT_FAILED;
        if (pass == 0) bad |= (unsigned)AF_STAR_UNCONVERGED;
        for (i = 0; i < e->answers; i++) {
            unsigned flag = e->flags[i * n + at];
            if (flag & bad) continue;
            e->use[used++] = i;
            *flags |= flag;
        }
    }
    for (i = 0; i < e->answers && used == 0; i++) *flags |= e->flags[i * n + at];
    return used;
}

/* Star `at` of the chunk becomes star `to` of the result. True when it has an answer. */
static int af__ensemble_star(af_ensemble *e, size_t n, size_t at, const af_estimate *out,
                             size_t to) {
    unsigned flags;
    size_t used = af__counting(e, n, at, &flags), k, i;
    for (k = 0; k < 3; k++) {
        double j = NAN, theta = NAN, j_error = NAN, theta_error = NAN;
        for (i = 0; i < used; i++) e->value[i] = e->j[3 * (e->use[i] * n + at) + k];
        if (used) af__center(e->value, used, e->desc.median, &j, &j_error);
        for (i = 0; i < used; i++) e->value[i] = e->theta[3 * (e->use[i] * n + at) + k];
        if (used) af__angle_center(e->value, used, e->desc.median, &theta, &theta_error);
        if (out->j) out->j[3 * to + k] = j;
        if (out->theta) out->theta[3 * to + k] = theta;
        if (out->j_error) out->j_error[3 * to + k] = j_error;
        if (out->theta_error) out->theta_error[3 * to + k] = theta_error;
    }
    if (out->flags) out->flags[to] = flags;
    return used > 0;
}

AF_API size_t af_ensemble_evaluate(af_ensemble *e, size_t streams, const double *xv,
                                   const size_t *count, const af_estimate *out) {
    size_t first, stars = e->desc.stars, i, failed = 0;
    for (first = 0; first < streams; first += e->chunk) {
        size_t some = streams - first < e->chunk ? streams - first : e->chunk, n = some * stars;
        for (i = 0; i < e->answers; i++) {
            size_t m = e->desc.dropout ? i / e->desc.dropout : i;
            if (e->desc.dropout) af__thin(e, m, i % e->desc.dropout);
            af_evaluate(e->member[m].evaluator, some, xv + 6 * first * stars,
                        count ? count + first : NULL, e->j + 3 * i * n, e->theta + 3 * i * n,
                        e->flags + i * n);
        }
        for (i = 0; i < n; i++) {
            int there = !count || i % stars < count[first + i / stars];
            if (!af__ensemble_star(e, n, i, out, first * stars + i) && there) failed++;
        }
    }
    return failed;
}

/* ---- orbits as a whole ---- */

/* NaN where a stream has no star. */
static void af__blank(const af_orbits *o, const af_estimate *out) {
    size_t s, i, k;
    for (s = 0; s < o->streams; s++)
        for (i = o->count[s]; i < o->stars; i++) {
            size_t at = s * o->stars + i;
            if (out->flags) out->flags[at] = AF_ORBIT_INVALID;
            for (k = 0; k < 3; k++) {
                if (out->j) out->j[3 * at + k] = NAN;
                if (out->theta) out->theta[3 * at + k] = NAN;
                if (out->j_error) out->j_error[3 * at + k] = NAN;
                if (out->theta_error) out->theta_error[3 * at + k] = NAN;
            }
        }
}

AF_API af_status af_ensemble_orbits(af_ensemble *e, const af_orbits *o, const af_estimate *out) {
    if (e->desc.stars == 1)
        af_ensemble_evaluate(e, o->streams * o->stars, o->xv, NULL, out);
    else if (e->desc.stars == o->stars)
        af_ensemble_evaluate(e, o->streams, o->xv, o->count, out);
    else
        return af__fail(e->context, AF_ERROR_SHAPE,
                        "ensemble: it was made for streams of %lu stars, these have up to %lu",
                        (unsigned long)e->desc.stars, (unsigned long)o->stars);
    af__blank(o, out);
    return AF_OK;
}

/* ---- stars as observed ---- */

/* Draws of n stars: what the last one gave, and mean and sum of squares of what j and theta were
 * away from the star as observed. */
typedef struct af__drawn {
    af__arena arena;
    size_t n, lost;
    double *j, *theta, *away, *square; /* (n,3), (n,3), (n,6), (n,6) */
    unsigned *flags;
    size_t *good; /* draws that count */
    af_estimate center; /* the stars as observed */
} af__drawn;

static af_status af__drawn_memory(af_context *c, af__drawn *d, const af_estimate *out) {
    size_t n = d->n;
    af__arena *a = &d->arena;
    d->j = AF__ARRAY(a, double, 3 * n);
    d->theta = AF__ARRAY(a, double, 3 * n);
    d->away = AF__ARRAY(a, double, 6 * n);
    d->square = AF__ARRAY(a, double, 6 * n);
    d->flags = AF__ARRAY(a, unsigned, n);
    d->good = AF__ARRAY(a, size_t, n);
    d->center = *out;
    if (!out->j) d->center.j = AF__ARRAY(a, double, 3 * n);
    if (!out->theta) d->center.theta = AF__ARRAY(a, double, 3 * n);
    if (d->j && d->theta && d->away && d->square && d->flags && d->good && d->center.j &&
        d->center.theta)
        return AF_OK;
    return af__fail_memory(c, "draws");
}

static void af__drawn_add(af__drawn *d, size_t i) {
    size_t k;
    if (!af__is_finite(d->center.j[3 * i])) return;
    if (d->flags[i] & (AF_ORBIT_FAILED | (unsigned)AF_STAR_UNCONVERGED)) {
        d->lost++;
        return;
    }
    d->good[i]++;
    for (k = 0; k < 6; k++) {
        size_t at = 3 * i + k % 3;
        double *mean = d->away + 6 * i + k, x, step;
        x = k < 3 ? d->j[at] - d->center.j[at]
                  : remainder(d->theta[at] - d->center.theta[at], 2.0 * AF__PI);
        step = x - *mean;
        *mean += step / (double)d->good[i];
        d->square[6 * i + k] += step * (x - *mean);
    }
}

/* Adds the draws' variance to that of the ensemble's answers. */
static void af__drawn_finish(const af__drawn *d, int alone, const af_estimate *out) {
    size_t i, k;
    for (i = 0; i < 6 * d->n; i++) {
        size_t star = i / 6;
        double *error = i % 6 < 3 ? out->j_error : out->theta_error, own, variance = NAN;
        k = 3 * star + i % 3;
        if (!error) continue;
        if (d->good[star] > 1) variance = d->square[i] / (double)(d->good[star] - 1);
        own = alone && af__is_finite(d->center.j[k]) ? 0.0 : error[k];
        error[k] = sqrt(own * own + variance);
    }
}

static af_status af__draw_once(af_ensemble *e, const af_observed *o, uint64_t seed, af__drawn *d) {
    af_estimate one = AF__ZERO;
    af_orbits *orbits;
    size_t i;
    af_status s = af_observed_draws(o, 1, seed, 0, &orbits);
    if (s != AF_OK) return s;
    one.j = d->j;
    one.theta = d->theta;
    one.flags = d->flags;
    s = af_ensemble_orbits(e, orbits, &one);
    for (i = 0; i < d->n && s == AF_OK; i++) af__drawn_add(d, i);
    af_orbits_destroy(orbits);
    return s;
}

AF_API af_status af_ensemble_observed(af_ensemble *e, const af_observed *o, size_t draws,
                                      uint64_t seed, const af_estimate *out, size_t *lost) {
    af__drawn d = AF__ZERO;
    af_orbits *orbits;
    size_t k;
    af_status s;
    if (draws < 2)
        return af__fail(e->context, AF_ERROR_ARGUMENT,
                        "ensemble: %lu draws tell of no spread, two or more do",
                        (unsigned long)draws);
    s = af_observed_orbits(o, 0, &orbits);
    if (s != AF_OK) return s;
    d.arena.allocator = e->context->allocator;
    d.n = orbits->streams * orbits->stars;
    s = af__drawn_memory(e->context, &d, out);
    if (s == AF_OK) s = af_ensemble_orbits(e, orbits, &d.center);
    for (k = 0; k < draws && s == AF_OK; k++) s = af__draw_once(e, o, seed + k, &d);
    if (s == AF_OK) af__drawn_finish(&d, e->answers == 1, out);
    if (lost) *lost = d.lost;
    af__arena_free(&d.arena);
    af_orbits_destroy(orbits);
    return s;
}

/* ---- bootstrap ---- */

AF_API af_status af_orbits_bootstrap(af_context *c, const af_orbits *from, size_t train,
                                     uint64_t seed, af_orbits **out) {
    size_t s, size = from->stars * 6;
    af_orbits *o;
    *out = NULL;
    if (train == 0 || train > from->streams)
        return af__fail(c, AF_ERROR_ARGUMENT, "bootstrap: %lu streams to be drawn, there are %lu",
                        (unsigned long)train, (unsigned long)from->streams);
    if (af_orbits_part(c, from, 0, from->streams, &o) != AF_OK) return c->status;
    for (s = 0; s < train; s++) {
        size_t k = (size_t)(af_random_uniform(seed, 0, s) * (double)train);
        if (k >= train) k = train - 1;
        memcpy(o->xv + s * size, from->xv + k * size, size * sizeof *o->xv);
        o->count[s] = from->count[k];
    }
    *out = o;
    return AF_OK;
}
