/* ---- the derivatives of a finder's map ----------------------------------------------------------
 *
 * One compiled function has the toy, the generating function and the point transformation, with six
 * tangents carried through all of them. J' is an input; its derivative is that of one Newton step
 * (af__implicit). Each star is a lane of its own, (.,1,B). */

struct af_mapper {
    const af_finder *finder;
    af__arena arena;
    size_t stars, block;           /* stars of a stream that share J'; stars computed at a time */
    af_evaluator *shared, *single; /* solve for J'; shared NULL: stars = 1 */
    af_func *map;
    af_workspace *work;
    double toy[2];                 /* G M, b */
    double *guess;                 /* (block,3): J' of the streams of a chunk; then of one */
    unsigned *flags;               /* (block) */
    double *xv, *jp;               /* (6,1,block), (3,1,block) */
    double *out[4];                /* J'', theta'' (3,1,block), their derivatives (6,3,1,block) */
    int *bad;                      /* (block) */
};

AF_API void af_mapper_destroy(af_mapper *m) {
    af_allocator allocator;
    if (!m) return;
    allocator = m->arena.allocator;
    af_workspace_destroy(m->work);
    af_func_destroy(m->map);
    af_evaluator_destroy(m->shared);
    af_evaluator_destroy(m->single);
    af__arena_free(&m->arena);
    allocator.release(m, sizeof *m, allocator.user);
}

/* ---- the function ---- */

/* J' as the solution of lack = 0 sees (theta, J) change: `old` and a Newton step from it. */
static af_expr af__mapper_actions(const af__generator *g, af_expr theta, af_expr j, af_expr old) {
    af_context *c = g->c;
    af_expr one = af_full(c, 0, NULL, 1.0), slope, stacked, step, units = af__units3(c, old);
    af__matrix3 a;
    slope = af__mean_gradient(g, theta, one, old, af__none);
    if (af_jvp(c, 1, &slope, 1, &old, &units, &stacked) != AF_OK) return af__none;
    a = af__one_plus(c, af_stop(c, stacked), 0);
    step = af__solve3(c, &a, af_sub(c, af_sub(c, j, slope), old), NULL);
    return af_add(c, old, af_sub(c, step, af_stop(c, step)));
}

/* Unit tangents along the six components of xv (6,1,B): (6,6,1,B). */
static af_expr af__units6(af_context *c, size_t block) {
    double identity[36];
    size_t i, dims[4];
    af_expr units;
    for (i = 0; i < 36; i++) identity[i] = i % 7 == 0 ? 1.0 : 0.0;
    dims[0] = dims[1] = 6;
    dims[2] = dims[3] = 1;
    units = af_constant_array(c, 4, dims, identity);
    dims[3] = block;
    return af_broadcast(c, units, 4, dims);
}

static af_status af__mapper_compile(af_mapper *m, int threads) {
    const af__generator *g = &m->finder->g;
    af_context *c = g->c;
    af_expr in[5], j, theta, out[4], units = af__units6(c, m->block);
    af_func_desc d = AF__ZERO;
    af__map map;
    size_t dims[3];
    dims[0] = 6;
    dims[1] = 1;
    dims[2] = m->block;
    in[0] = af_params_input(g->params);
    in[1] = af_input(c, "G M", 0, NULL);
    in[2] = af_input(c, "b", 0, NULL);
    in[3] = af_input(c, "xv", 3, dims);
    dims[0] = 3;
    in[4] = af_input(c, "J'", 3, dims);
    if (af_isochrone_expr(c, in[1], in[2], in[3], &j, &theta) != AF_OK) return c->status;
    j = af_scale(c, j, 1.0 / g->action_scale);
    map = af__map_of(g, theta, j, g->shears ? in[4] : af__mapper_actions(g, theta, j, in[4]),
                     af__none);
    out[0] = map.action;
    out[1] = map.angle;
    if (af_jvp(c, 2, out, 1, &in[3], &units, out + 2) != AF_OK) return c->status;
    d.inputs = in;
    d.input_count = 5;
    d.outputs = out;
    d.output_count = 4;
    d.label = "derivatives of the map";
    if (af_compile(c, &d, &m->map) != AF_OK) return c->status;
    return af_context_workspace(c, m->map, threads, &m->work);
}

static af_status af__mapper_memory(af_mapper *m) {
    size_t i, n = m->block;
    int good;
    m->guess = AF__ARRAY(&m->arena, double, 3 * n);
    m->flags = AF__ARRAY(&m->arena, unsigned, n);
    m->xv = AF__ARRAY(&m->arena, double, 6 * n);
    m->jp = AF__ARRAY(&m->arena, double, 3 * n);
    m->bad = AF__ARRAY(&m->arena, int, n);
    good = m->guess && m->flags && m->xv && m->jp && m->bad;
    for (i = 0; i < 4; i++) {
        m->out[i] = AF__ARRAY(&m->arena, double, n * (i < 2 ? 3 : 18));
        good = good && m->out[i];
    }
    return good ? AF_OK : af__fail_memory(m->finder->context, "a mapper");
}

AF_API af_status af_mapper_create(const af_finder *f, size_t stars, size_t block, int threads,
                                  af_mapper **out) {
    af_context *c = f->context;
    af_isochrone toy = af_finder_toy(f);
    af_mapper *m;
    af_status s;
    *out = NULL;
    if (stars == 0 || block == 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "mapper: stars and block must be positive");
    m = (af_mapper *)c->allocator.allocate(sizeof *m, c->allocator.user);
    if (!m) return af__fail_memory(c, "a mapper");
    memset(m, 0, sizeof *m);
    m->finder = f;
    m->arena.allocator = c->allocator;
    m->stars = stars;
    m->block = af__round_up(block, stars); /* whole streams */
    m->toy[0] = AF_GRAVITY * toy.mass;
    m->toy[1] = toy.scale;
    s = af__mapper_memory(m);
    if (s == AF_OK && stars > 1)
        s = af_evaluator_create(f, stars, m->block / stars, threads, &m->shared);
    if (s == AF_OK) s = af_evaluator_create(f, 1, m->block, threads, &m->single);
    if (s == AF_OK) s = af__mapper_compile(m, threads);
    if (s != AF_OK) {
        af_mapper_destroy(m);
        return s;
    }
    *out = m;
    return AF_OK;
}

/* ---- evaluation ---- */

/* The caller's arrays. */
typedef struct af__mapping {
    size_t stars;
    const double *xv;
    const size_t *count;
    double *out[4]; /* j, theta, dj, dtheta */
} af__mapping;

/* J' of `n` streams from `first` on into m->guess, m->flags (n, stars of e). */
static void af__mapper_solve(af_mapper *m, af_evaluator *e, const double *xv, const size_t *count,
                             size_t n) {
    af__request r = AF__ZERO;
    size_t i;
    for (i = 0; i < 3 * n; i++) m->guess[i] = NAN;
    r.streams = n;
    r.xv = xv;
    r.count = count;
    r.guess = m->guess;
    r.flags = m->flags;
    r.most_steps = (size_t)AF__SOLVE_STEPS;
    af__evaluate_request(e, &r);
}

/* A star into lane i; an orbit that does no harm where it has failed. */
static void af__mapper_fill(af_mapper *m, size_t i, const double *xv, const double *jp, int bad) {
    static const double idle[6] = {8.0, 0.0, 1.0, 20.0, 180.0, 30.0};
    size_t k;
    m->bad[i] = bad;
    for (k = 0; k < 6; k++) m->xv[k * m->block + i] = bad ? idle[k] : xv[k];
    for (k = 0; k < 3; k++) m->jp[k * m->block + i] = bad ? 1.0 : jp[k];
}

/* Lane i into row `to` of the caller's arrays. Returns 1 for a star without an answer. */
static size_t af__mapper_take(const af_mapper *m, const af__mapping *r, size_t i, size_t to) {
    size_t k, q, n = m->block;
    double scale = m->finder->g.action_scale;
    int bad = m->bad[i];
    for (q = 0; q < 2; q++)
        for (k = 0; k < 18; k++) bad = bad || !af__is_finite(m->out[2 + q][k * n + i]);
    for (q = 0; q < 2; q++) {
        double unit = q == 0 ? scale : 1.0;
        for (k = 0; k < 3 && r->out[q]; k++) {
            double x = m->out[q][k * n + i];
            r->out[q][3 * to + k] = bad ? NAN : q == 0 ? unit * x : af__wrap(x);
        }
        for (k = 0; k < 18 && r->out[2 + q]; k++) /* (6,3) -> (3,6) */
            r->out[2 + q][18 * to + 6 * (k % 3) + k / 3] =
                bad ? NAN : unit * m->out[2 + q][k * n + i];
    }
    return bad ? 1 : 0;
}

static void af__mapper_run(af_mapper *m) {
    const void *in[5];
    void *out[4];
    size_t i;
    in[0] = af_params_data(m->finder->g.params);
    in[1] = &m->toy[0];
    in[2] = &m->toy[1];
    in[3] = m->xv;
    in[4] = m->jp;
    for (i = 0; i < 4; i++) out[i] = m->out[i];
    af_run(m->map, m->work, in, out);
}

static size_t af__mapper_take_all(af_mapper *m, const af__mapping *r, size_t first, size_t n) {
    size_t i, failed = 0;
    for (i = n; i < m->block; i++) af__mapper_fill(m, i, NULL, NULL, 1);
    af__mapper_run(m);
    for (i = 0; i < n; i++) {
        size_t failure = af__mapper_take(m, r, i, first + i);
        if (!r->count || (first + i) % r->stars < r->count[(first + i) / r->stars])
            failed += failure;
    }
    return failed;
}

enum { AF__MAPPER_BAD = AF_ORBIT_FAILED | AF_STAR_UNCONVERGED };

/* `n` stars from row `first` on, each alone. */
static size_t af__mapper_alone(af_mapper *m, const af__mapping *r, size_t first, size_t n) {
    size_t i;
    af__mapper_solve(m, m->single, r->xv + 6 * first, NULL, n);
    for (i = 0; i < n; i++) {
        size_t row = first + i;
        int missing = r->count && row % r->stars >= r->count[row / r->stars];
        af__mapper_fill(m, i, r->xv + 6 * row, m->guess + 3 * i,
                        missing || (m->flags[i] & AF__MAPPER_BAD) != 0);
    }
    return af__mapper_take_all(m, r, first, n);
}

/* `n` streams from `first` on, each with one J'. */
static size_t af__mapper_together(af_mapper *m, const af__mapping *r, size_t first, size_t n) {
    size_t i, stars = r->stars;
    af__mapper_solve(m, m->shared, r->xv + 6 * first * stars, r->count ? r->count + first : NULL,
                     n);
    for (i = 0; i < n * stars; i++) {
        int missing = r->count && i % stars >= r->count[first + i / stars];
        af__mapper_fill(m, i, r->xv + 6 * (first * stars + i), m->guess + 3 * (i / stars),
                        missing || (m->flags[i] & AF__MAPPER_BAD) != 0);
    }
    return af__mapper_take_all(m, r, first * stars, n * stars);
}

static size_t af__mapper_evaluate(size_t streams, size_t stars, const double *xv,
                                  const size_t *count, double *j, double *theta, double *dj,
                                  double *dtheta, void *user) {
    af_mapper *m = (af_mapper *)user;
    int together = m->shared && stars == m->stars;
    size_t i, failed = 0, step = together ? m->block / stars : m->block;
    size_t all = together ? streams : streams * stars;
    af__mapping r;
    r.stars = stars;
    r.xv = xv;
    r.count = count;
    r.out[0] = j;
    r.out[1] = theta;
    r.out[2] = dj;
    r.out[3] = dtheta;
    for (i = 0; i < all; i += step) {
        size_t n = all - i < step ? all - i : step;
        failed += together ? af__mapper_together(m, &r, i, n) : af__mapper_alone(m, &r, i, n);
    }
    return failed;
}

AF_API af_phase_map af_mapper_map(af_mapper *m) {
    af_phase_map map;
    map.evaluate = af__mapper_evaluate;
    map.user = m;
    return map;
}
