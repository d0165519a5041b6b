/* ---- ActionFinder: evaluation -------------------------------------------------------------------
 *
 * Streams are solved for J' in the lanes of a block: a lane whose stream has settled hands it on
 * and takes the next one, so that a few hard streams do not keep the others waiting. Settled
 * streams collect in a second block, which is mapped to actions and angles when it is full. Stars
 * that stand alone come here when they are special or hard (af_fast.c). */

enum {
    AF__NEWTON_STEPS = 25, /* most orbits need 3 to 6 */
    AF__NEWTON_CUTS = 5,   /* times that a step is shortened before it is given up */
    AF__PLAIN_STEPS = 30,  /* damped plain iterations before a second try of Newton's */
    AF__SOLVE_STEPS = 2 * AF__NEWTON_STEPS + AF__PLAIN_STEPS,
    AF__HARD_LANES = 32     /* for what af__fast leaves: few, and some take all steps */
};

/* A block of streams in the order that the programs want: (3,N,B), (1,N,B), (3,1,B). */
typedef struct af__block_of {
    double *theta, *j, *weight, *jp;
    unsigned *flags;  /* (N,B) */
    size_t *stream;   /* (B): which stream is in the lane; SIZE_MAX: none */
    double *residual; /* (B) */
} af__block_of;

struct af_evaluator {
    const af_finder *finder;
    af_isochrone toy;
    af__arena arena;
    size_t stars, block;
    af_func *step, *map; /* J' -> next J', residual (NULL for shears);  J' -> J'', theta'' */
    af_workspace *step_work, *map_work;
    af__block_of solving, solved;
    size_t solved_count;
    double *start, *best;   /* (3,1,B): first J' and the one with the least residual */
    double *base, *base_residual; /* where the last Newton step began: (3,1,B), (B) */
    size_t *steps, *cuts;   /* (B) */
    double *next, *lack;    /* (3,1,B): what the step program gives */
    double *action, *angle; /* (3,N,B): what the map program gives */
    af__fast *fast;         /* for many single stars, or NULL */
};

AF_API void af_evaluator_destroy(af_evaluator *e) {
    af_allocator allocator;
    if (!e) return;
    allocator = e->arena.allocator;
    af__fast_destroy(e->fast);
    af_workspace_destroy(e->step_work);
    af_workspace_destroy(e->map_work);
    af_func_destroy(e->step);
    af_func_destroy(e->map);
    af__arena_free(&e->arena);
    allocator.release(e, sizeof *e, allocator.user);
}

/* ---- programs ---- */

/* The inputs that training and evaluation share. */
typedef struct af__inputs {
    af_expr theta, j, weight, old;
} af__inputs;

static af__inputs af__finder_inputs(af_context *c, size_t stars, size_t block) {
    af__inputs in;
    size_t d[3];
    d[0] = 3;
    d[1] = stars;
    d[2] = block;
    in.theta = af_input(c, "theta", 3, d);
    in.j = af_input(c, "J", 3, d);
    d[0] = 1;
    in.weight = af_input(c, "weight", 3, d);
    d[0] = 3;
    d[1] = 1;
    in.old = af_input(c, "J'", 3, d);
    return in;
}

static af_expr af__stream_mean(af_context *c, af_expr weight, af_expr x) {
    return af_sum_axis(c, af_mul(c, weight, x), 1);
}

static af_status af__evaluator_compile(af_evaluator *e, int threads) {
    const af__generator *g = &e->finder->g;
    af_context *c = g->c;
    af__inputs in = af__finder_inputs(c, e->stars, e->block);
    af_expr inputs[5], outputs[2];
    af_func_desc d = AF__ZERO;
    af__map m;
    int alone = e->stars == 1 && g->desc.generator == AF_GENERATOR_FOURIER;
    m = alone ? af__row_map(g, in.theta, in.j, in.old)
              : af__map_of(g, in.theta, in.j, in.old, af__none);
    inputs[0] = af_params_input(g->params);
    inputs[1] = in.theta;
    inputs[2] = in.j;
    inputs[3] = in.weight;
    inputs[4] = in.old;
    d.inputs = inputs;
    d.input_count = 5;
    d.outputs = outputs;
    d.output_count = 2;
    if (!g->shears) { /* which need no J' */
        af__lack l = alone ? af__row_lack(g, in.theta, in.j, in.old)
                           : af__lack_of(g, in.theta, af__stream_mean(c, in.weight, in.j),
                                         in.weight, in.old, af__none);
        outputs[0] = af__newton(g, &l, in.old);
        outputs[1] = l.lack;
        d.label = "J' step";
        if (af_compile(c, &d, &e->step) != AF_OK) return c->status;
    }
    outputs[0] = m.action;
    outputs[1] = m.angle;
    d.label = "actions and angles";
    if (af_compile(c, &d, &e->map) != AF_OK) return c->status;
    if (e->step && af_context_workspace(c, e->step, threads, &e->step_work) != AF_OK)
        return c->status;
    return af_context_workspace(c, e->map, threads, &e->map_work);
}

static void af__run_block(const af_evaluator *e, const af_func *f, af_workspace *w,
                          const af__block_of *block, double *first, double *second) {
    const void *in[5];
    void *out[2];
    in[0] = af_params_data(e->finder->g.params);
    in[1] = block->theta;
    in[2] = block->j;
    in[3] = block->weight;
    in[4] = block->jp;
    out[0] = first;
    out[1] = second;
    af_run(f, w, in, out);
}

/* ---- memory ---- */

static int af__block_memory(af_evaluator *e, af__block_of *block) {
    size_t n = e->stars * e->block, i;
    block->theta = AF__ARRAY(&e->arena, double, 3 * n);
    block->j = AF__ARRAY(&e->arena, double, 3 * n);
    block->weight = AF__ARRAY(&e->arena, double, n);
    block->jp = AF__ARRAY(&e->arena, double, 3 * e->block);
    block->flags = AF__ARRAY(&e->arena, unsigned, n);
    block->stream = AF__ARRAY(&e->arena, size_t, e->block);
    block->residual = AF__ARRAY(&e->arena, double, e->block);
    if (!block->theta || !block->j || !block->weight || !block->jp || !block->flags ||
        !block->stream || !block->residual)
        return 0;
    for (i = 0; i < 3 * n; i++) block->j[i] = 1.0; /* idle lanes compute some valid orbit */
    for (i = 0; i < 3 * e->block; i++) block->jp[i] = 1.0;
    return 1;
}

static af_status af__evaluator_memory(af_evaluator *e) {
    size_t n = e->stars * e->block;
    e->start = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->best = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->base = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->base_residual = AF__ARRAY(&e->arena, double, e->block);
    e->steps = AF__ARRAY(&e->arena, size_t, e->block);
    e->cuts = AF__ARRAY(&e->arena, size_t, e->block);
    e->next = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->lack = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->action = AF__ARRAY(&e->arena, double, 3 * n);
    e->angle = AF__ARRAY(&e->arena, double, 3 * n);
    if (e->start && e->best && e->base && e->base_residual && e->steps && e->cuts && e->next &&
        e->lack && e->action && e->angle && af__block_memory(e, &e->solving) &&
        af__block_memory(e, &e->solved))
        return AF_OK;
    return af__fail_memory(e->finder->context, "an evaluator");
}

AF_API af_status af_evaluator_create(const af_finder *f, size_t stars, size_t block, int threads,
                                     af_evaluator **out) {
    af_context *c = f->context;
    af_evaluator *e;
    af_status s;
    *out = NULL;
    if (stars == 0 || block == 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "evaluator: stars and block must be positive");
    e = (af_evaluator *)c->allocator.allocate(sizeof *e, c->allocator.user);
    if (!e) return af__fail_memory(c, "an evaluator");
    memset(e, 0, sizeof *e);
    e->finder = f;
    e->toy = af_finder_toy(f);
    e->arena.allocator = c->allocator;
    e->stars = stars;
    e->block = block;
    s = stars == 1 ? af__fast_create(f, block, threads, &e->fast) : AF_OK;
    if (e->fast && block > AF__HARD_LANES) e->block = AF__HARD_LANES;
    if (s == AF_OK) s = af__evaluator_memory(e);
    if (s == AF_OK) s = af__evaluator_compile(e, threads);
    if (s != AF_OK) {
        af_evaluator_destroy(e);
        return s;
    }
    *out = e;
    return AF_OK;
}

/* ---- one stream in and out of a lane ---- */

/* Puts one stream's toy coordinates into lane b of the arrays (3,N,B); stars that fail or are
 * missing take those of a good one and weight 0. Returns the good stars. */
static size_t af__fill_stream(const af_isochrone *toy, double action_scale, const double *xv,
                              size_t stars, size_t count, size_t b, size_t block, double *theta,
                              double *j, double *weight, unsigned *flags) {
    size_t i, k, good = 0, last = 0, n = stars * block;
    for (i = 0; i < stars; i++) {
        double action[3], angle[3];
        size_t at = i * block + b;
        unsigned flag = AF_ORBIT_INVALID;
        if (i < count) flag = af_isochrone_actions(toy, xv + 6 * i, action, angle, NULL);
        if (flags) flags[at] = flag;
        weight[at] = flag & AF_ORBIT_FAILED ? 0.0 : 1.0;
        if (flag & AF_ORBIT_FAILED) continue;
        for (k = 0; k < 3; k++) {
            theta[k * n + at] = angle[k];
            j[k * n + at] = action[k] / action_scale;
        }
        last = i;
        good++;
    }
    for (i = 0; i < stars; i++) {
        size_t at = i * block + b, from = last * block + b;
        if (weight[at] > 0.0) {
            weight[at] = 1.0 / (double)good;
            continue;
        }
        for (k = 0; k < 3; k++) { /* (1, 1, 1) when there is no good star: any valid orbit */
            theta[k * n + at] = good ? theta[k * n + from] : 0.0;
            j[k * n + at] = good ? j[k * n + from] : 1.0;
        }
    }
    if (good == 0) weight[b] = 1.0;
    return good;
}

/* The stars' mean of the toy's actions in lane b. */
static void af__lane_mean(const double *j, const double *weight, size_t stars, size_t block,
                          size_t b, double mean[3]) {
    size_t i, k;
    for (k = 0; k < 3; k++) {
        mean[k] = 0.0;
        for (i = 0; i < stars; i++)
            mean[k] += weight[i * block + b] * j[(k * stars + i) * block + b];
    }
}

static void af__lane_begin(af_evaluator *e, const af__request *r, size_t b, size_t s) {
    af__block_of *block = &e->solving;
    double mean[3];
    const double *guess = r->guess ? r->guess + 3 * s : NULL;
    size_t k;
    af__fill_stream(&e->toy, e->finder->g.action_scale, r->xv + s * e->stars * 6, e->stars,
                    r->count ? r->count[s] : e->stars, b, e->block, block->theta, block->j,
                    block->weight, block->flags);
    af__lane_mean(block->j, block->weight, e->stars, e->block, b, mean);
    block->stream[b] = s;
    block->residual[b] = INFINITY;
    e->steps[b] = e->cuts[b] = 0;
    e->base_residual[b] = INFINITY;
    for (k = 0; k < 3; k++) {
        e->start[k * e->block + b] = mean[k];
        if (guess && af__is_finite(guess[k])) mean[k] = guess[k];
        block->jp[k * e->block + b] = e->best[k * e->block + b] = e->base[k * e->block + b] =
            mean[k];
    }
}

/* Moves lane b, with its best J', to the solved block. */
static void af__lane_hand_on(af_evaluator *e, size_t b) {
    const af__block_of *from = &e->solving;
    af__block_of *to = &e->solved;
    size_t i, a = e->solved_count++, n = e->block;
    for (i = 0; i < 3 * e->stars; i++) {
        to->theta[i * n + a] = from->theta[i * n + b];
        to->j[i * n + a] = from->j[i * n + b];
    }
    for (i = 0; i < e->stars; i++) {
        to->weight[i * n + a] = from->weight[i * n + b];
        to->flags[i * n + a] = from->flags[i * n + b];
    }
    for (i = 0; i < 3; i++) to->jp[i * n + a] = e->best[i * n + b];
    to->stream[a] = from->stream[b];
    to->residual[a] = from->residual[b];
}

/* Copies lane b of the mapped block into the caller's arrays. */
static void af__lane_take(const af_evaluator *e, af__request *r, size_t b) {
    const af__block_of *block = &e->solved;
    size_t i, k, s = block->stream[b], n = e->stars * e->block;
    size_t count = r->count ? r->count[s] : e->stars;
    unsigned unsettled =
        block->residual[b] < AF__SOLVE_TOLERANCE ? 0u : (unsigned)AF_STAR_UNCONVERGED;
    for (k = 0; k < 3 && r->guess; k++) r->guess[3 * s + k] = block->jp[k * e->block + b];
    for (i = 0; i < e->stars; i++) {
        size_t at = i * e->block + b, to = s * e->stars + i;
        unsigned flag = block->flags[at];
        int bad = i >= count || (flag & AF_ORBIT_FAILED);
        if (i < count && bad) r->failed++;
        if (r->flags) r->flags[to] = bad ? flag : flag | unsettled;
        for (k = 0; k < 3; k++) {
            if (r->j)
                r->j[3 * to + k] = bad ? NAN : e->action[k * n + at] * e->finder->g.action_scale;
            if (r->theta) r->theta[3 * to + k] = bad ? NAN : af__wrap(e->angle[k * n + at]);
        }
    }
}

static void af__map_solved(af_evaluator *e, af__request *r) {
    size_t b;
    if (e->solved_count == 0) return;
    af__run_block(e, e->map, e->map_work, &e->solved, e->action, e->angle);
    for (b = 0; b < e->solved_count; b++) af__lane_take(e, r, b);
    e->solved_count = 0;
}

/* ---- solving ---- */

/* J_z and J_r are not negative. */
static void af__keep_positive(double *j, size_t block, size_t b) {
    if (j[block + b] < 0.0) j[block + b] = 0.0;
    if (j[2 * block + b] < 0.0) j[2 * block + b] = 0.0;
}

/* Newton's step from lane b's J' if that is better than what the last step began from; otherwise
 * 0.4 of the last step. False when no part of a step is better any more. */
static int af__lane_newton(af_evaluator *e, size_t b, double residual) {
    size_t k, n = e->block;
    int better = residual < e->base_residual[b];
    if (better) {
        e->base_residual[b] = residual;
        e->cuts[b] = 0;
    } else if (++e->cuts[b] > AF__NEWTON_CUTS) {
        return 0;
    }
    for (k = 0; k < 3; k++) {
        double *j = e->solving.jp + k * n + b, *base = e->base + k * n + b;
        if (better) {
            *base = *j;
            *j = e->next[k * n + b];
        } else {
            *j = *base + 0.4 * (*j - *base);
        }
        if (!af__is_finite(*j)) *j = *base;
    }
    return 1;
}

/* The next J' of lane b: Newton's steps from the toy's actions; when these fail, half steps of the
 * plain iteration from there, then Newton's again. False when all is tried. */
static int af__lane_move(af_evaluator *e, size_t b, double residual) {
    size_t k, n = e->block, *step = &e->steps[b];
    if (*step < AF__NEWTON_STEPS) {
        if (af__lane_newton(e, b, residual)) return 1;
        *step = AF__NEWTON_STEPS;
    }
    if (*step >= AF__NEWTON_STEPS + AF__PLAIN_STEPS) return af__lane_newton(e, b, residual);
    for (k = 0; k < 3; k++) {
        double *j = e->solving.jp + k * n + b;
        *j = *step == AF__NEWTON_STEPS ? e->start[k * n + b] : *j + 0.5 * e->lack[k * n + b];
        if (!af__is_finite(*j)) *j = e->start[k * n + b];
    }
    e->base_residual[b] = INFINITY;
    e->cuts[b] = 0;
    return 1;
}

/* After a step: true when lane b is done, settled or given up. */
static int af__lane_done(af_evaluator *e, const af__request *r, size_t b) {
    double residual = 0.0;
    size_t k, n = e->block;
    if (!e->step) {
        e->solving.residual[b] = 0.0;
        return 1;
    }
    for (k = 0; k < 3; k++) residual += fabs(e->lack[k * n + b]);
    if (residual < e->solving.residual[b]) {
        e->solving.residual[b] = residual;
        for (k = 0; k < 3; k++) e->best[k * n + b] = e->solving.jp[k * n + b];
    }
    if (residual < AF__SOLVE_TOLERANCE || !af__lane_move(e, b, residual)) return 1;
    af__keep_positive(e->solving.jp, n, b);
    return ++e->steps[b] >= r->most_steps;
}

static void af__evaluate_lanes(af_evaluator *e, af__request *r) {
    size_t b, busy;
    for (b = 0; b < e->block; b++) e->solving.stream[b] = SIZE_MAX;
    e->solved_count = 0;
    for (;;) {
        for (b = 0, busy = 0; b < e->block; b++) {
            if (e->solving.stream[b] == SIZE_MAX && r->next < r->streams) {
                af__lane_begin(e, r, b, r->index ? r->index[r->next] : r->next);
                r->next++;
            }
            busy += e->solving.stream[b] != SIZE_MAX;
        }
        if (busy == 0) break;
        if (e->step) af__run_block(e, e->step, e->step_work, &e->solving, e->next, e->lack);
        for (b = 0; b < e->block; b++) {
            if (e->solving.stream[b] == SIZE_MAX || !af__lane_done(e, r, b)) continue;
            af__lane_hand_on(e, b);
            e->solving.stream[b] = SIZE_MAX;
            if (e->solved_count == e->block) af__map_solved(e, r);
        }
    }
    af__map_solved(e, r);
}

static void af__evaluate_request(af_evaluator *e, af__request *r) {
    size_t first, end;
    if (!e->fast || r->most_steps < AF__SOLVE_STEPS || (r->guess && !e->step)) {
        af__evaluate_lanes(e, r);
        return;
    }
    for (first = 0; first < r->streams; first = end) {
        af__request hard = *r;
        end = af__fast_run(e->fast, &e->toy, r, first);
        hard.streams = e->fast->left_count;
        hard.index = e->fast->left;
        hard.next = hard.failed = 0;
        af__evaluate_lanes(e, &hard);
        r->failed += hard.failed;
    }
}

AF_API size_t af_evaluate(af_evaluator *e, size_t streams, const double *xv, const size_t *count,
                          double *j, double *theta, unsigned *flags) {
    af__request r = AF__ZERO;
    r.streams = streams;
    r.xv = xv;
    r.count = count;
    r.j = j;
    r.theta = theta;
    r.flags = flags;
    r.most_steps = AF__SOLVE_STEPS;
    af__evaluate_request(e, &r);
    return r.failed;
}

/* ---- orbits as a whole ---- */

enum { AF__EVALUATE_BLOCK = 256 };

/* The component-wise median of the stars' own solutions (N,3) as the stream's J'; `sorted` has room
 * for N. */
static void af__median_guess(const double *j, size_t stars, double scale, double *sorted,
                             double guess[3]) {
    size_t i, k, n;
    for (k = 0; k < 3; k++) {
        for (i = 0, n = 0; i < stars; i++)
            if (af__is_finite(j[3 * i + k])) sorted[n++] = j[3 * i + k] / scale;
        if (n == 0) return;
        qsort(sorted, n, sizeof *sorted, af__compare_doubles);
        guess[k] = af__quantile(sorted, n, 0.5);
    }
}

/* Streams whose common J' did not settle get the median of what their stars give one by one. */
static void af__evaluate_hard(af_evaluator *e, af_evaluator *single, const af_orbits *o, size_t s,
                              double *scratch, double *j, double *theta, unsigned *flags) {
    size_t n = o->stars;
    double guess[3];
    af__request r = AF__ZERO;
    guess[0] = guess[1] = guess[2] = NAN;
    af_evaluate(single, o->count[s], af_orbits_xv(o, s), NULL, scratch, NULL, NULL);
    af__median_guess(scratch, o->count[s], e->finder->g.action_scale, scratch + 3 * n, guess);
    r.streams = 1;
    r.xv = af_orbits_xv(o, s);
    r.count = o->count + s;
    r.guess = guess;
    r.j = j ? j + 3 * s * n : NULL;
    r.theta = theta ? theta + 3 * s * n : NULL;
    r.flags = flags + s * n;
    r.most_steps = 1; /* the median is not a solution: it is taken as it is */
    af__evaluate_request(e, &r);
}

static int af__stream_unsettled(const unsigned *flags, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if (flags[i] & AF_STAR_UNCONVERGED) return 1;
    return 0;
}

AF_API af_status af_finder_evaluate(const af_finder *f, const af_orbits *o, double *j,
                                    double *theta, unsigned *flags) {
    af__arena scratch = AF__ZERO;
    af_evaluator *e = NULL, *single = NULL;
    size_t s, n = o->stars, block = af__clamp(o->streams, 1, AF__EVALUATE_BLOCK);
    unsigned *own;
    double *work;
    af_status status;
    scratch.allocator = f->context->allocator;
    own = AF__ARRAY(&scratch, unsigned, o->streams * n);
    work = AF__ARRAY(&scratch, double, 4 * n);
    status = own && work ? af_evaluator_create(f, n, block, f->context->threads, &e)
                         : af__fail_memory(f->context, "an evaluation");
    if (status == AF_OK && n > 1)
        status = af_evaluator_create(f, 1, n, f->context->threads, &single);
    if (status == AF_OK) {
        af_evaluate(e, o->streams, o->xv, o->count, j, theta, own);
        for (s = 0; s < o->streams && single; s++)
            if (af__stream_unsettled(own + s * n, o->count[s]))
                af__evaluate_hard(e, single, o, s, work, j, theta, own);
        if (flags) memcpy(flags, own, o->streams * n * sizeof *flags);
    }
    af_evaluator_destroy(single);
    af_evaluator_destroy(e);
    af__arena_free(&scratch);
    return status;
}
