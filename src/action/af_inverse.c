/* ---- ActionFinder: the exact inverse ------------------------------------------------------------
 *
 * Stars go through stages, each over all of them, and their rows (6) of the caller's xv hold what
 * is known so far: angles, then actions in units of action_scale; NaN for stars that have failed.
 * Equations x + f(x) = target are solved in the lanes of a block: a lane whose star is done takes
 * the next one, so that a few hard stars do not keep the others waiting. */

enum {
    AF__INVERT_STEPS = 25, /* of Newton's method; most stars need 3 to 6 */
    AF__INVERT_CUTS = 6,   /* times that a step is shortened before it is given up */
    AF__INVERT_TRIES = 24  /* other angles to start from, when all else has failed */
};
#define AF__INVERT_SETTLED 1e-8 /* rad: the next step leaves its square */
#define AF__INVERT_LEAST 1e-10  /* over action_scale: smaller negative actions are 0 */
#define AF__INVERT_STRIDE 0.25  /* of the amplitude, first, ... */
#define AF__INVERT_STRIDE_LEAST (1.0 / 128.0) /* ... and least */

/* One star that is being solved for: x + amount f(x) = target, amount being 1 unless that had
 * failed. */
typedef struct af__invert_lane {
    size_t star; /* SIZE_MAX: none */
    double base[3], residual; /* where the last step began, and what was lacking there */
    double start[3], reached; /* the solution for this amount; reached < 0: not tried yet */
    double stride;
    size_t steps, cuts, tries;
} af__invert_lane;

typedef struct af__invert_program {
    af_func *func;
    af_workspace *work;
} af__invert_program;

struct af_inverter {
    const af_finder *finder;
    af_isochrone toy;
    af__arena arena;
    size_t block;
    af__invert_program turn;     /* solves theta'' -> theta'; NULL without a point transformation */
    af__invert_program momentum; /* theta', J'' -> J'; the same */
    af__invert_program step;     /* solves theta' -> theta; NULL for shears */
    af__invert_program toy_of;   /* theta, J' -> theta, J; of shears theta'', J'' -> theta, J */
    af__invert_lane *lane;                                  /* (block) */
    double *x, *action, *target, *amount;                   /* inputs (3,1,B), amount (1,1,B) */
    double *next, *lack, *determinant, *toy_action;         /* outputs, the same */
};

static void af__invert_close(af__invert_program *p) {
    af_workspace_destroy(p->work);
    af_func_destroy(p->func);
}

AF_API void af_inverter_destroy(af_inverter *i) {
    af_allocator allocator;
    if (!i) return;
    allocator = i->arena.allocator;
    af__invert_close(&i->turn);
    af__invert_close(&i->momentum);
    af__invert_close(&i->step);
    af__invert_close(&i->toy_of);
    af__arena_free(&i->arena);
    allocator.release(i, sizeof *i, allocator.user);
}

/* ---- programs ---- */

enum { AF__INVERT_INPUTS = 5 };

/* Parameters, then x, action, target (3,1,B), amount (1,1,B). */
static void af__invert_inputs(const af_inverter *i, af_expr in[AF__INVERT_INPUTS]) {
    const af__generator *g = &i->finder->g;
    size_t dims[3];
    dims[0] = 3;
    dims[1] = 1;
    dims[2] = i->block;
    in[0] = af_params_input(g->params);
    in[1] = af_input(g->c, "theta", 3, dims);
    in[2] = af_input(g->c, "J", 3, dims);
    in[3] = af_input(g->c, "target", 3, dims);
    dims[0] = 1;
    in[4] = af_input(g->c, "amount", 3, dims);
}

static af_status af__invert_compile(const af_inverter *i, const af_expr *in, const af_expr *out,
                                    size_t outputs, int threads, af__invert_program *p) {
    af_context *c = i->finder->context;
    af_func_desc d = AF__ZERO;
    d.inputs = in;
    d.input_count = AF__INVERT_INPUTS;
    d.outputs = out;
    d.output_count = outputs;
    d.label = "inverse";
    if (af_compile(c, &d, &p->func) != AF_OK) return c->status;
    return af_context_workspace(c, p->func, threads, &p->work);
}

/* Of x + amount f(x) = target: x after a step of Newton's method, what is lacking, and the
 * determinant of I + amount df/dx; a step of the plain iteration where that is nearly singular. And
 * the toy's actions at x. */
static af_status af__invert_step(const af_inverter *i, const af_expr *in, af_expr f, af_expr j,
                                 int threads, af__invert_program *p) {
    af_context *c = i->finder->context;
    af_expr units = af__units3(c, in[1]), stacked, step, out[4];
    af__matrix3 a;
    if (af_jvp(c, 1, &f, 1, &in[1], &units, &stacked) != AF_OK) return c->status;
    a = af__one_plus(c, af_mul(c, in[4], stacked), 0);
    out[1] = af_sub(c, af_sub(c, in[3], in[1]), af_mul(c, in[4], f));
    step = af__solve3(c, &a, out[1], &out[2]);
    step = af_where(c, af_less(c, af_constant(c, 0.01), out[2]), step, out[1]);
    out[0] = af_add(c, in[1], step);
    out[3] = j;
    return af__invert_compile(i, in, out, 4, threads, p);
}

/* (d theta''/d theta')^T J'': af__point_transformation backwards. */
static af_status af__invert_momentum(const af_inverter *i, const af_expr *in, af_expr turn,
                                     int threads, af__invert_program *p) {
    af_context *c = i->finder->context;
    af_expr units = af__units3(c, in[1]), stacked, row[3], all;
    af__matrix3 a;
    size_t k, q;
    if (af_jvp(c, 1, &turn, 1, &in[1], &units, &stacked) != AF_OK) return c->status;
    a = af__one_plus(c, stacked, 1);
    for (k = 0; k < 3; k++) {
        row[k] = af_mul(c, a.m[k][0], af__component(c, in[2], 0));
        for (q = 1; q < 3; q++)
            row[k] = af_add(c, row[k], af_mul(c, a.m[k][q], af__component(c, in[2], q)));
    }
    all = af_concat(c, 0, 3, row);
    return af__invert_compile(i, in, &all, 1, threads, p);
}

/* af__shears_map backwards: entering the chart undoes leaving it. */
static af_status af__invert_shears(af_inverter *i, const af_expr *in, int threads) {
    const af__generator *g = &i->finder->g;
    af_context *c = g->c;
    af_expr q[3], p[3], out[2], angle = af_add(c, in[1], af__shears_zero(g, in[2]));
    af__chart_enter(g, angle, in[2], q, p);
    if (af_shear_invert(g->shears, AF_SLOPES_EXACT, q, p, q, p) != AF_OK) return c->status;
    af__chart_leave(g, q, p);
    out[0] = af_concat(c, 0, 3, p);
    out[1] = af_concat(c, 0, 3, q);
    return af__invert_compile(i, in, out, 2, threads, &i->toy_of);
}

static af_expr af__invert_turn(const af__generator *g, af_expr theta) {
    af_context *c = g->c;
    af_expr part[2];
    size_t d[AF_RANK_MAX];
    if (af_shape(c, theta, d) != 3) return af__none;
    part[0] = af_cos(c, theta);
    part[1] = af_sin(c, theta);
    theta = af_net_apply(g->point, af__to_rows(c, af_concat(c, 0, 2, part)), af__none);
    return af__from_rows(c, theta, d[1], d[2]);
}

static af_status af__invert_programs(af_inverter *i, int threads) {
    const af__generator *g = &i->finder->g;
    af_expr in[AF__INVERT_INPUTS], j;
    af_status s = AF_OK;
    af__invert_inputs(i, in);
    if (g->shears) return af__invert_shears(i, in, threads);
    if (g->point) {
        af_expr turn = af__invert_turn(g, in[1]);
        s = af__invert_step(i, in, turn, af_abs(g->c, in[2]), threads, &i->turn); /* any will do */
        if (s == AF_OK) s = af__invert_momentum(i, in, turn, threads, &i->momentum);
    }
    if (s != AF_OK) return s;
    j = af_add(g->c, in[2], af__gradient(g, in[1], in[2], af__none)); /* eq. 5 */
    s = af__invert_step(i, in, af__shift(g, in[1], in[2], af__none), j, threads, &i->step);
    if (s != AF_OK) return s;
    return af__invert_compile(i, in, &j, 1, threads, &i->toy_of);
}

/* ---- memory ---- */

static af_status af__invert_memory(af_inverter *i) {
    size_t k, n = 3 * i->block;
    i->lane = AF__ARRAY(&i->arena, af__invert_lane, i->block);
    i->x = AF__ARRAY(&i->arena, double, n);
    i->action = AF__ARRAY(&i->arena, double, n);
    i->target = AF__ARRAY(&i->arena, double, n);
    i->amount = AF__ARRAY(&i->arena, double, i->block);
    i->next = AF__ARRAY(&i->arena, double, n);
    i->lack = AF__ARRAY(&i->arena, double, n);
    i->determinant = AF__ARRAY(&i->arena, double, i->block);
    i->toy_action = AF__ARRAY(&i->arena, double, n);
    if (!i->lane || !i->x || !i->action || !i->target || !i->amount || !i->next || !i->lack ||
        !i->determinant || !i->toy_action)
        return af__fail_memory(i->finder->context, "an inverter");
    for (k = 0; k < n; k++) i->action[k] = 1.0; /* idle lanes compute some valid orbit */
    return AF_OK;
}

AF_API af_status af_inverter_create(const af_finder *f, size_t block, int threads,
                                    af_inverter **out) {
    af_context *c = f->context;
    af_inverter *i;
    af_status s;
    *out = NULL;
    if (block == 0) return af__fail(c, AF_ERROR_ARGUMENT, "inverter: block must be positive");
    i = (af_inverter *)c->allocator.allocate(sizeof *i, c->allocator.user);
    if (!i) return af__fail_memory(c, "an inverter");
    memset(i, 0, sizeof *i);
    i->finder = f;
    i->toy = af_finder_toy(f);
    i->arena.allocator = c->allocator;
    i->block = block;
    s = af__invert_memory(i);
    if (s == AF_OK) s = af__invert_programs(i, threads);
    if (s != AF_OK) {
        af_inverter_destroy(i);
        return s;
    }
    *out = i;
    return AF_OK;
}

/* ---- stages ---- */

/* The caller's arrays. */
typedef struct af__inversion {
    size_t n;
    const double *j, *theta;
    double *xv;
    unsigned *flags;
    size_t failed;
} af__inversion;

static void af__invert_fail(af__inversion *r, size_t star, unsigned flag) {
    size_t k;
    for (k = 0; k < 6; k++) r->xv[6 * star + k] = NAN;
    if (r->flags) r->flags[star] = flag;
    r->failed++;
}

static int af__invert_alive(const af__inversion *r, size_t star) {
    return af__is_finite(r->xv[6 * star]);
}

/* J_z and J_r are not negative but for rounding, which is taken off. */
static int af__invert_positive(double *j, double least) {
    size_t k;
    for (k = 1; k < 3; k++) {
        if (!(j[k] >= -least)) return 0;
        if (j[k] < 0.0) j[k] = 0.0;
    }
    return 1;
}

static void af__invert_begin(const af_inverter *i, af__inversion *r) {
    double scale = i->finder->g.action_scale;
    size_t s, k;
    for (s = 0; s < r->n; s++) {
        double *row = r->xv + 6 * s;
        int known = af__all_finite(r->theta + 3 * s, 3); /* which wrapping would hide */
        for (k = 0; k < 3; k++) {
            row[k] = af__wrap(r->theta[3 * s + k]);
            row[3 + k] = r->j[3 * s + k] / scale;
        }
        if (!known || !af__all_finite(row, 6) || !af__invert_positive(row + 3, AF__INVERT_LEAST))
            af__invert_fail(r, s, AF_ORBIT_INVALID);
    }
}

static void af__invert_run(const af_inverter *i, const af__invert_program *p, void *const *out) {
    const void *in[AF__INVERT_INPUTS];
    in[0] = af_params_data(i->finder->g.params);
    in[1] = i->x;
    in[2] = i->action;
    in[3] = i->target;
    in[4] = i->amount;
    af_run(p->func, p->work, in, out);
}

/* ---- the equation of a star ---- */

/* Lane b goes on from its last solution, for an amplitude that is larger by its stride. */
static void af__invert_restart(af_inverter *i, size_t b) {
    af__invert_lane *lane = &i->lane[b];
    double amount = lane->reached < 0.0 ? 1.0 : lane->reached + lane->stride;
    size_t k;
    i->amount[b] = amount < 1.0 ? amount : 1.0;
    for (k = 0; k < 3; k++) i->x[k * i->block + b] = lane->base[k] = lane->start[k];
    lane->residual = INFINITY;
    lane->steps = lane->cuts = 0;
}

static void af__invert_take(af_inverter *i, const af__inversion *r, size_t b, size_t star) {
    af__invert_lane *lane = &i->lane[b];
    const double *row = r->xv + 6 * star;
    size_t k;
    lane->star = star;
    lane->reached = -1.0;
    lane->stride = AF__INVERT_STRIDE;
    lane->tries = 0;
    for (k = 0; k < 3; k++) {
        i->target[k * i->block + b] = lane->start[k] = row[k];
        i->action[k * i->block + b] = row[3 + k];
    }
    af__invert_restart(i, b);
}

/* The next x of lane b: Newton's step, at most a radian, if that is better than where the last one
 * began, otherwise 0.4 of the last. False when no part of it is. */
static int af__invert_move(af_inverter *i, size_t b, double residual) {
    af__invert_lane *lane = &i->lane[b];
    int better = residual < lane->residual;
    double length = 0.0;
    size_t k, n = i->block;
    if (++lane->steps > AF__INVERT_STEPS || (!better && ++lane->cuts > AF__INVERT_CUTS)) return 0;
    for (k = 0; k < 3; k++) length += fabs(i->next[k * n + b] - i->x[k * n + b]);
    for (k = 0; k < 3; k++) {
        double *x = i->x + k * n + b;
        if (!better) {
            *x = lane->base[k] + 0.4 * (*x - lane->base[k]);
            continue;
        }
        lane->base[k] = *x;
        *x += (i->next[k * n + b] - *x) / (length > 1.0 ? length : 1.0);
    }
    if (better) {
        lane->residual = residual;
        lane->cuts = 0;
    }
    return af__is_finite(i->x[b]) && af__is_finite(i->x[n + b]) && af__is_finite(i->x[2 * n + b]);
}

/* What comes next when x was not found: the amplitude of f from 0 to 1, in smaller strides, other
 * angles to start from, within a radian and a half. False when all is tried. */
static int af__invert_retry(af_inverter *i, size_t b) {
    af__invert_lane *lane = &i->lane[b];
    size_t k;
    if (lane->reached < 0.0 && lane->tries == 0) {
        lane->reached = 0.0;
    } else if (lane->reached >= 0.0 && lane->stride > AF__INVERT_STRIDE_LEAST) {
        lane->stride *= 0.5;
    } else {
        if (lane->tries++ == (size_t)AF__INVERT_TRIES) return 0;
        lane->reached = -1.0;
        for (k = 0; k < 3; k++)
            lane->start[k] = i->target[k * i->block + b] - 1.5 +
                             3.0 * af_random_uniform(0, k, (uint64_t)lane->tries);
    }
    af__invert_restart(i, b);
    return 1;
}

/* Whether x may be the solution: where the determinant is negative it lies beyond a fold, and the
 * toy does not lead there; and the toy must have such an orbit. */
static int af__invert_fits(const af_inverter *i, size_t b) {
    double limit = -10.0 * AF__INVERT_SETTLED; /* x is not sharp yet */
    const double *j = i->toy_action + b;
    return i->determinant[b] > 0.0 && j[i->block] >= limit && j[2 * i->block] >= limit;
}

/* After a run: true when lane b is done, with its angles in the star's row, or the star failed. */
static int af__invert_done(af_inverter *i, af__inversion *r, size_t b) {
    af__invert_lane *lane = &i->lane[b];
    double residual = 0.0;
    size_t k, n = i->block;
    for (k = 0; k < 3; k++) residual += fabs(i->lack[k * n + b]);
    if (residual < AF__INVERT_SETTLED && (i->amount[b] < 1.0 || af__invert_fits(i, b))) {
        for (k = 0; k < 3; k++) lane->start[k] = i->next[k * n + b];
        if (i->amount[b] >= 1.0) {
            for (k = 0; k < 3; k++) r->xv[6 * lane->star + k] = lane->start[k];
            return 1;
        }
        lane->reached = i->amount[b];
        lane->stride *= 2.0;
        af__invert_restart(i, b);
    } else if (!af__invert_move(i, b, residual) && !af__invert_retry(i, b)) {
        af__invert_fail(r, lane->star, AF_STAR_UNCONVERGED);
        return 1;
    }
    return 0;
}

/* x + f(x) = target for all stars, the target being the angles in their rows. */
static void af__invert_solve(af_inverter *i, const af__invert_program *p, af__inversion *r) {
    size_t b, busy, next = 0;
    void *out[4];
    out[0] = i->next;
    out[1] = i->lack;
    out[2] = i->determinant;
    out[3] = i->toy_action;
    for (b = 0; b < i->block; b++) i->lane[b].star = SIZE_MAX;
    for (;;) {
        for (b = 0, busy = 0; b < i->block; b++) {
            while (next < r->n && !af__invert_alive(r, next)) next++;
            if (i->lane[b].star == SIZE_MAX && next < r->n) af__invert_take(i, r, b, next++);
            busy += i->lane[b].star != SIZE_MAX;
        }
        if (busy == 0) return;
        af__invert_run(i, p, out);
        for (b = 0; b < i->block; b++)
            if (i->lane[b].star != SIZE_MAX && af__invert_done(i, r, b))
                i->lane[b].star = SIZE_MAX;
    }
}

/* ---- what needs no solving ---- */

static void af__invert_fill(af_inverter *i, const af__inversion *r, size_t lane, size_t star) {
    int alive = af__invert_alive(r, star);
    const double *row = r->xv + 6 * star;
    size_t k;
    for (k = 0; k < 3; k++) {
        i->x[k * i->block + lane] = alive ? row[k] : 0.0;
        i->action[k * i->block + lane] = alive ? row[3 + k] : 1.0;
    }
}

/* New actions, and angles where there are any, into the rows of all stars. */
static void af__invert_pass(af_inverter *i, const af__invert_program *p, int angles,
                            af__inversion *r) {
    size_t first, s, k, n = i->block;
    void *out[2];
    out[0] = i->next;
    out[1] = i->lack;
    for (first = 0; first < r->n; first += n) {
        size_t count = r->n - first < n ? r->n - first : n;
        for (s = 0; s < count; s++) af__invert_fill(i, r, s, first + s);
        af__invert_run(i, p, out);
        for (s = 0; s < count; s++) {
            double *row = r->xv + 6 * (first + s);
            if (!af__invert_alive(r, first + s)) continue;
            for (k = 0; k < 3; k++) {
                row[3 + k] = i->next[k * n + s];
                if (angles) row[k] = i->lack[k * n + s];
            }
            if (!af__all_finite(row, 6)) af__invert_fail(r, first + s, AF_ORBIT_INVALID);
        }
    }
}

/* The toy's inverse. */
static void af__invert_end(const af_inverter *i, af__inversion *r) {
    size_t s, k;
    for (s = 0; s < r->n; s++) {
        double *row = r->xv + 6 * s, j[3], theta[3];
        unsigned flag = AF_ORBIT_INVALID;
        if (!af__invert_alive(r, s)) continue;
        for (k = 0; k < 3; k++) {
            theta[k] = row[k];
            j[k] = row[3 + k];
        }
        if (af__invert_positive(j, AF__INVERT_LEAST)) {
            for (k = 0; k < 3; k++) j[k] *= i->finder->g.action_scale;
            flag = af_isochrone_position(&i->toy, j, theta, row, NULL);
        }
        if (flag & AF_ORBIT_FAILED) af__invert_fail(r, s, flag);
        else if (r->flags) r->flags[s] = flag;
    }
}

AF_API size_t af_invert(af_inverter *i, size_t n, const double *j, const double *theta, double *xv,
                        unsigned *flags) {
    af__inversion r = AF__ZERO;
    r.n = n;
    r.j = j;
    r.theta = theta;
    r.xv = xv;
    r.flags = flags;
    af__invert_begin(i, &r);
    if (i->turn.func) {
        af__invert_solve(i, &i->turn, &r);
        af__invert_pass(i, &i->momentum, 0, &r);
    }
    if (i->step.func) af__invert_solve(i, &i->step, &r);
    af__invert_pass(i, &i->toy_of, i->finder->g.shears != NULL, &r);
    af__invert_end(i, &r);
    return r.failed;
}

#undef AF__INVERT_SETTLED
#undef AF__INVERT_LEAST
#undef AF__INVERT_STRIDE
#undef AF__INVERT_STRIDE_LEAST
