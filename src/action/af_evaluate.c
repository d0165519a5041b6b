/* ---- ActionFinder: evaluation ------------------------------------------------------------------------- */

enum {
    AF__NEWTON_STEPS = 25, /* most orbits need 3 to 6 */
    AF__PLAIN_STEPS = 40   /* damped plain iterations before a second try of Newton's */
};
#define AF__SOLVE_TOLERANCE 1e-10 /* residual of J' over action_scale at which it has settled */

struct af_evaluator {
    const af_finder *finder;
    af_isochrone toy;
    af__arena arena;
    size_t stars, block;
    af_func *step, *map; /* J' -> next J';  J' -> J'', theta'' */
    af_workspace *step_work, *map_work;
    double *theta, *j;     /* (3,N,B) */
    double *weight;        /* (1,N,B) */
    double *start, *old, *next, *lack; /* (3,1,B): toy means, J', its next value and its residual */
    double *best, *least;  /* J' (3,1,B) with the least residual (B) so far */
    double *action, *angle;/* (3,N,B) */
    unsigned *flags;       /* (N,B) */
};

AF_API void af_evaluator_destroy(af_evaluator *e) {
    af_allocator allocator;
    if (!e) return;
    allocator = e->arena.allocator;
    af_workspace_destroy(e->step_work);
    af_workspace_destroy(e->map_work);
    af_func_destroy(e->step);
    af_func_destroy(e->map);
    af__arena_free(&e->arena);
    allocator.release(e, sizeof *e, allocator.user);
}

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
    outputs[0] = af__newton(g, in.theta, af__stream_mean(c, in.weight, in.j), in.weight, in.old,
                            af__none, &outputs[1]);
    m = af__map_of(g, in.theta, in.j, in.old, af__none);
    inputs[0] = af_params_input(g->params);
    inputs[1] = in.theta;
    inputs[2] = in.j;
    inputs[3] = in.weight;
    inputs[4] = in.old;
    d.inputs = inputs;
    d.input_count = 5;
    d.outputs = outputs;
    d.output_count = 2;
    d.label = "J' step";
    if (af_compile(c, &d, &e->step) != AF_OK) return c->status;
    outputs[0] = m.action;
    outputs[1] = m.angle;
    d.label = "actions and angles";
    if (af_compile(c, &d, &e->map) != AF_OK) return c->status;
    if (af_workspace_create(e->step, threads, &e->step_work) != AF_OK ||
        af_workspace_create(e->map, threads, &e->map_work) != AF_OK)
        return af__fail_memory(c, "an evaluator");
    return AF_OK;
}

static af_status af__evaluator_memory(af_evaluator *e) {
    size_t n = e->stars * e->block;
    e->theta = AF__ARRAY(&e->arena, double, 3 * n);
    e->j = AF__ARRAY(&e->arena, double, 3 * n);
    e->weight = AF__ARRAY(&e->arena, double, n);
    e->old = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->next = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->action = AF__ARRAY(&e->arena, double, 3 * n);
    e->angle = AF__ARRAY(&e->arena, double, 3 * n);
    e->flags = AF__ARRAY(&e->arena, unsigned, n);
    e->start = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->lack = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->best = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->least = AF__ARRAY(&e->arena, double, e->block);
    if (e->theta && e->j && e->weight && e->old && e->next && e->action && e->angle && e->flags &&
        e->start && e->lack && e->best && e->least)
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
    s = af__evaluator_memory(e);
    if (s == AF_OK) s = af__evaluator_compile(e, threads);
    if (s != AF_OK) {
        af_evaluator_destroy(e);
        return s;
    }
    *out = e;
    return AF_OK;
}

/* Puts one stream's toy coordinates into column b of the arrays (3,N,B); stars that fail or are
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
        flags[at] = flag;
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

static void af__mean_actions(const double *j, const double *weight, size_t stars, size_t block,
                             double *mean) {
    size_t i, k, b;
    for (k = 0; k < 3; k++)
        for (b = 0; b < block; b++) {
            double sum = 0.0;
            for (i = 0; i < stars; i++)
                sum += weight[i * block + b] * j[(k * stars + i) * block + b];
            mean[k * block + b] = sum;
        }
}

static void af__keep_positive(double *j, size_t block, size_t b) {
    if (j[block + b] < 0.0) j[block + b] = 0.0;
    if (j[2 * block + b] < 0.0) j[2 * block + b] = 0.0;
}

/* One step for the streams that have not settled: Newton's, or half of the plain one. Returns how many
 * are left. */
static size_t af__solve_step(af_evaluator *e, int newton) {
    const void *in[5];
    void *out[2];
    size_t b, k, left = 0, n = e->block;
    in[0] = af_params_data(e->finder->g.params);
    in[1] = e->theta;
    in[2] = e->j;
    in[3] = e->weight;
    in[4] = e->old;
    out[0] = e->next;
    out[1] = e->lack;
    af_run(e->step, e->step_work, in, out);
    for (b = 0; b < n; b++) {
        double residual = 0.0;
        if (e->least[b] < AF__SOLVE_TOLERANCE) continue;
        for (k = 0; k < 3; k++) residual += fabs(e->lack[k * n + b]);
        if (residual < e->least[b]) {
            e->least[b] = residual;
            for (k = 0; k < 3; k++) e->best[k * n + b] = e->old[k * n + b];
        }
        if (residual < AF__SOLVE_TOLERANCE) continue;
        left++;
        for (k = 0; k < 3; k++) {
            double *j = e->old + k * n + b;
            double next = newton ? e->next[k * n + b] : *j + 0.5 * e->lack[k * n + b];
            *j = af__is_finite(next) ? next : e->start[k * n + b];
        }
        af__keep_positive(e->old, n, b);
    }
    return left;
}

/* Solves for J' from the toy's actions in e->start: Newton; where that fails, plain iterations first;
 * the best J' met is kept. Then computes J'' and theta''. */
static void af__evaluate_block(af_evaluator *e) {
    const void *in[5];
    void *out[2];
    size_t step, b, bytes = 3 * e->block * sizeof *e->old, left = 1;
    for (b = 0; b < e->block; b++) e->least[b] = INFINITY;
    memcpy(e->old, e->start, bytes);
    memcpy(e->best, e->start, bytes);
    for (step = 0; step < AF__NEWTON_STEPS && left; step++) left = af__solve_step(e, 1);
    if (left) memcpy(e->old, e->start, bytes);
    for (step = 0; step < AF__PLAIN_STEPS && left; step++) left = af__solve_step(e, 0);
    for (step = 0; step < AF__NEWTON_STEPS && left; step++) left = af__solve_step(e, 1);
    in[0] = af_params_data(e->finder->g.params);
    in[1] = e->theta;
    in[2] = e->j;
    in[3] = e->weight;
    in[4] = e->best;
    out[0] = e->action;
    out[1] = e->angle;
    af_run(e->map, e->map_work, in, out);
}

/* Copies stream b of the block into the caller's arrays; returns the stars that failed. */
static size_t af__take_stream(const af_evaluator *e, size_t b, size_t count, double *j, double *theta,
                              unsigned *flags) {
    size_t i, k, failed = 0, n = e->stars * e->block;
    for (i = 0; i < e->stars; i++) {
        size_t at = i * e->block + b;
        unsigned flag = e->flags[at] | (e->least[b] < AF__SOLVE_TOLERANCE ? 0u : (unsigned)AF_STAR_UNCONVERGED);
        int bad = i >= count || (flag & AF_ORBIT_FAILED);
        if (i < count && bad) failed++;
        if (flags) flags[i] = flag;
        for (k = 0; k < 3; k++) {
            if (j) j[3 * i + k] = bad ? NAN : e->action[k * n + at] * e->finder->g.action_scale;
            if (theta) theta[3 * i + k] = bad ? NAN : af__wrap(e->angle[k * n + at]);
        }
    }
    return failed;
}

AF_API size_t af_evaluate(af_evaluator *e, size_t streams, const double *xv, const size_t *count,
                          double *j, double *theta, unsigned *flags) {
    size_t first, b, failed = 0, n = e->stars;
    for (first = 0; first < streams; first += e->block) {
        size_t some = streams - first < e->block ? streams - first : e->block;
        for (b = 0; b < e->block; b++) { /* a part block is filled up with its last stream */
            size_t s = first + (b < some ? b : some - 1);
            af__fill_stream(&e->toy, e->finder->g.action_scale, xv + s * n * 6, n, count ? count[s] : n,
                            b, e->block, e->theta, e->j, e->weight, e->flags);
        }
        af__mean_actions(e->j, e->weight, n, e->block, e->start);
        af__evaluate_block(e);
        for (b = 0; b < some; b++) {
            size_t s = first + b, at = s * n;
            failed += af__take_stream(e, b, count ? count[s] : n, j ? j + 3 * at : NULL,
                                      theta ? theta + 3 * at : NULL, flags ? flags + at : NULL);
        }
    }
    return failed;
}

AF_API af_status af_finder_evaluate(const af_finder *f, const af_orbits *o, double *j, double *theta,
                                    unsigned *flags) {
    af_evaluator *e;
    size_t block = o->streams < 256 ? o->streams : 256;
    af_status s = af_evaluator_create(f, o->stars, block, f->context->threads, &e);
    if (s != AF_OK) return s;
    af_evaluate(e, o->streams, o->xv, o->count, j, theta, flags);
    af_evaluator_destroy(e);
    return AF_OK;
}
