/* ---- the chain: expressions ---------------------------------------------------------------------
 *
 * Inside, lengths are in units of the stars' median radius and speeds in that of their rms. */

enum {
    DP__CHAIN_FEWEST = 200, /* stars */
    DP__CHAIN_STEPS = 256,  /* of an orbit, at most */
    DP__CHAIN_PIECE = 512,  /* stars computed together: with 4096 samples 16 MB of kernels */
    DP__CHAIN_FEW = 2,      /* pieces that the network is prepared with */
    DP__CHAIN_PREPARE = 15, /* steps of Levenberg-Marquardt, along short orbits */
    DP__CHAIN_VIEWS = 3     /* map, mixture, base; the networks' follow */
};

struct dp_chain {
    af_context *c;
    dp__arena arena;
    dp_chain_desc desc;
    dp_chain_report report;
    af_params *params;
    af_net *net;
    dp__chain_flow flow;
    dp__chain_model model;
    size_t map, mixture, base; /* views: (2) ln GM, ln b, with a model those of its toy, which stay;
                                  (ROWS,clumps); (1) factor of the base */
    double length, speed;      /* units of the sample */
    double middle, spread;     /* of the stars' u, for the network */
    double flat;               /* the base: Phi = flat u, the square of a rotation speed */
    double constant;           /* of Phi, and that of the untrained potential */
    double untrained_constant;
    double *first;             /* the parameters that learning began with */
};

/* Stars as they are computed, and all that learning needs besides. Rows of n stars in random order,
 * so that a piece is a fair sample, padded with stars of weight 0 to whole pieces. */
typedef struct dp__chain_fit {
    af_context *c;
    dp_chain *chain;
    dp__arena arena;
    size_t n, rows, piece, pieces;
    double *x, *v, *weight, *dt; /* (rows,3), (rows,3), (rows,1), (rows,1): an orbit's time step */
    double *blur;                /* (rows,6): draws from the kernel for both ends of an orbit */
    double *draw;                /* (samples of a clump, 3): unit normal z1, z2, angle theta_r */
    size_t draws;
    double width[3];             /* of the kernel in ln r, x.v, ln L */
    double tie[2];               /* the ties of J_r and L, as actions; 0: none */
    double *actions;             /* a model's: (rows,3) [km/s kpc] ... */
    double *slope;               /* ... (rows,8): for J_r and for L, v.dJ/dx and dJ/dv */
} dp__chain_fit;

/* Those from J on are there with a model alone. */
enum { DP__CHAIN_X, DP__CHAIN_V, DP__CHAIN_WEIGHT, DP__CHAIN_DT, DP__CHAIN_BLUR, DP__CHAIN_DRAW,
       DP__CHAIN_J, DP__CHAIN_SLOPE, DP__CHAIN_FINDER, DP__CHAIN_INPUTS };

static size_t dp__chain_input_count(const dp_chain *t) {
    return t->model.finder ? (size_t)DP__CHAIN_INPUTS : (size_t)DP__CHAIN_J;
}

/* u = ln(1 + r^2)/2 (n,1) of r^2: smooth in the centre, ln r far out. */
static af_expr dp__chain_u(af_context *c, af_expr r2) {
    return af_scale(c, af_log1p(c, r2), 0.5);
}

/* Phi (n,1) of u: a logarithmic potential with a factor that is learned, and a network that begins
 * with 0. */
static af_expr dp__chain_phi(const dp_chain *t, af_expr u) {
    af_context *c = t->c;
    af_expr none = DP__ZERO, seen, factor = af_params_expr(t->params, t->base);
    seen = af_scale(c, af_offset(c, u, -t->middle), 1.0 / t->spread);
    return af_add(c, af_net_apply(t->net, seen, none),
                  af_mul(c, af_scale(c, u, t->flat), af_exp(c, factor)));
}

/* d Phi/d(r^2) times 2 (n,1): the force at x is this times -x. u' = 1/(1 + r^2) of r^2/2. */
static af_expr dp__chain_pull(const dp_chain *t, af_expr r2) {
    af_context *c = t->c;
    size_t dims[AF_RANK_MAX], rank = af_shape(c, r2, dims);
    af_expr u = dp__chain_u(c, r2), phi = dp__chain_phi(t, u), slope = DP__ZERO;
    af_expr along = af_full(c, rank, dims, 1.0);
    (void)af_jvp(c, 1, &phi, 1, &u, &along, &slope);
    return af_div(c, slope, af_offset(c, r2, 1.0));
}

static af_expr dp__chain_acceleration(const dp_chain *t, af_expr x) {
    af_context *c = t->c;
    af_expr r2 = af_sum_axis(c, af_square(c, x), 1);
    return af_neg(c, af_mul(c, dp__chain_pull(t, r2), x));
}

/* One step of Nystroem's method of fourth order for x'' = a(x) (Abramowitz & Stegun 25.5.22). */
static void dp__chain_step(const dp_chain *t, af_expr dt, af_expr *x, af_expr *v) {
    af_context *c = t->c;
    af_expr k1, k2, k3, at, dt2 = af_square(c, dt), way = af_mul(c, dt, *v);
    k1 = dp__chain_acceleration(t, *x);
    at = af_add(c, af_scale(c, way, 0.5), af_scale(c, af_mul(c, dt2, k1), 0.125));
    k2 = dp__chain_acceleration(t, af_add(c, *x, at));
    at = af_add(c, way, af_scale(c, af_mul(c, dt2, k2), 0.5));
    k3 = dp__chain_acceleration(t, af_add(c, *x, at));
    at = af_scale(c, af_add(c, k1, af_scale(c, k2, 2.0)), 1.0 / 6.0);
    *x = af_add(c, *x, af_add(c, way, af_mul(c, dt2, at)));
    at = af_add(c, af_add(c, k1, k3), af_scale(c, k2, 4.0));
    *v = af_add(c, *v, af_scale(c, af_mul(c, dt, at), 1.0 / 6.0));
}

static dp__chain_map dp__chain_map_of(const dp_chain *t, int held) {
    af_expr p = af_params_expr(t->params, t->map);
    dp__chain_map m;
    if (held) p = af_stop(t->c, p);
    m.gm = af_exp(t->c, af_slice(t->c, p, 0, 0, 1));
    m.b = af_exp(t->c, af_slice(t->c, p, 0, 1, 1));
    return m;
}

/* The orbits drawn: ln r, x.v, ln L and ln weight, each (1, draws clumps); the weights add up to
 * one. */
static void dp__chain_population(const dp__chain_fit *f, const dp__chain_map *map,
                                 const dp__chain_clumps *m, af_expr draw, af_expr out[4]) {
    af_context *c = f->c;
    af_expr z[3], j, l;
    size_t i, dims[2], row[2];
    dims[0] = f->draws;
    dims[1] = m->count;
    row[0] = 1;
    row[1] = f->draws * m->count;
    for (i = 0; i < 3; i++) z[i] = af_slice(c, draw, 1, i, 1);
    dp__chain_draw(c, m, z[0], z[1], &j, &l);
    dp__chain_place(c, map, af_exp(c, j), af_exp(c, l), z[2], &out[0], &out[1]);
    out[2] = l;
    out[3] = af_offset(c, m->ln_share, -log((double)f->draws));
    out[3] = af_broadcast(c, out[3], 2, dims);
    for (i = 0; i < 4; i++) out[i] = af_reshape(c, out[i], 2, row);
}

/* ln of the kernel density of the population in (ln r, x.v, ln L) at stars (n,1). blur (n,3) is
 * added to the stars. No star counts as less likely than e^-50: where no sample is. */
static af_expr dp__chain_smooth(const dp__chain_fit *f, const af_expr population[4],
                                const dp__chain_star *s, af_expr blur) {
    af_context *c = f->c;
    af_expr at[3], sum = population[3], far;
    size_t i;
    at[0] = af_scale(c, af_log(c, s->r2), 0.5);
    at[1] = s->xv;
    at[2] = af_log(c, s->l);
    for (i = 0; i < 3; i++) {
        at[i] = af_add(c, at[i], af_slice(c, blur, 1, i, 1));
        far = af_scale(c, af_sub(c, at[i], population[i]), sqrt(0.5) / f->width[i]);
        sum = af_sub(c, sum, af_square(c, far));
    }
    sum = af_offset(c, af_sum_axis(c, af_exp(c, sum), 1), exp(-50.0));
    return af_offset(c, af_log(c, sum), -1.5 * log(2.0 * DP__PI) -
                                            log(f->width[0] * f->width[1] * f->width[2]));
}

/* Actions at a place; those `before` on the orbit, none: it is the first. */
static dp__chain_actions dp__chain_actions_at(const dp_chain *t, const dp__chain_map *map,
                                              const dp__chain_star *s, af_expr x, af_expr v,
                                              af_expr before, const af_expr *in) {
    af_context *c = t->c;
    dp__chain_actions a = DP__ZERO;
    if (t->model.finder && !before.id) /* neither stars nor map change: they are known */
        return dp__chain_actions_of(c, &t->model, af_transpose(c, in[DP__CHAIN_J]));
    if (t->model.finder) return dp__chain_model_actions(c, &t->model, map, x, v, before);
    a.j = dp__chain_action(c, map, s);
    a.l = s->l;
    return a;
}

/* ln f (n,1) by the actions, over J_r, theta_r and ln L: what the kernel density is of. A model's L
 * is not quite the star's, and it is the volume of the model's actions, 2 L dL for all J_phi, in
 * which f is normalised. */
static af_expr dp__chain_exact(const dp__chain_fit *f, const dp__chain_clumps *m,
                               const dp__chain_actions *a, const dp__chain_star *s) {
    af_context *c = f->c;
    af_expr ln_j = f->chain->model.finder ?
                       af_maximum(c, a->j, af_constant(c, DP__CHAIN_LEAST_J)) :
                       af_offset(c, a->j, DP__CHAIN_LEAST * DP__CHAIN_LEAST);
    af_expr ln_l = af_log(c, a->l);
    ln_j = dp__chain_density(c, m, af_log(c, ln_j), ln_l);
    if (f->chain->model.finder)
        ln_j = af_sub(c, ln_j, af_scale(c, af_sub(c, ln_l, af_log(c, s->l)), 2.0));
    return af_offset(c, ln_j, -log(2.0 * DP__PI));
}

/* Half the square of how far actions are from the first, over the ties (n,1). */
static af_expr dp__chain_far(const dp__chain_fit *f, const dp__chain_actions *a,
                             const dp__chain_actions *first) {
    af_context *c = f->c;
    af_expr far = af_scale(c, af_sub(c, a->j, first->j), 1.0 / f->tie[0]), other;
    far = af_square(c, far);
    if (f->chain->model.finder) { /* the isochrone's L stays exactly */
        other = af_scale(c, af_sub(c, a->l, first->l), 1.0 / f->tie[1]);
        far = af_add(c, far, af_square(c, other));
    }
    return af_scale(c, far, 0.5);
}

/* Sum of the squares of the networks' numbers. */
static af_expr dp__chain_prior(const dp_chain *t) {
    af_context *c = t->c;
    af_expr sum = af_constant(c, 0.0);
    size_t i;
    for (i = DP__CHAIN_VIEWS; i < af_params_count(t->params); i++)
        sum = af_add(c, sum, af_sum(c, af_square(c, af_params_expr(t->params, i))));
    return sum;
}

/* How far J_r goes from its first value along the orbits, over the tie: (n,steps), weighted so that
 * half the sum of squares is the tie's part of the loss times the number of stars. The map is kept
 * as it is. */
static af_expr dp__chain_residuals(const dp__chain_fit *f, size_t steps, const af_expr *in) {
    const dp_chain *t = f->chain;
    af_context *c = f->c;
    dp__chain_map map = dp__chain_map_of(t, 1);
    af_expr x = in[DP__CHAIN_X], v = in[DP__CHAIN_V], first = DP__ZERO, far[DP__CHAIN_STEPS];
    size_t i;
    for (i = 0; i <= steps; i++) {
        dp__chain_star s = dp__chain_star_of(c, x, v);
        af_expr j = dp__chain_action(c, &map, &s);
        if (i == 0) first = j;
        else far[i - 1] = af_sub(c, j, first);
        if (i < steps) dp__chain_step(t, in[DP__CHAIN_DT], &x, &v);
    }
    first = af_sqrt(c, af_scale(c, in[DP__CHAIN_WEIGHT], (double)f->n / (double)steps));
    return af_scale(c, af_mul(c, af_concat(c, 1, steps, far), first), 1.0 / f->tie[0]);
}

/* The same to first order in time, for a model: dJ/dt times the orbit's, over the ties, (n,2). */
static af_expr dp__chain_drift(const dp__chain_fit *f, const af_expr *in) {
    const dp_chain *t = f->chain;
    af_context *c = f->c;
    af_expr a = dp__chain_acceleration(t, in[DP__CHAIN_X]), part[2], weight;
    int k;
    for (k = 0; k < 2; k++) {
        af_expr slope = af_slice(c, in[DP__CHAIN_SLOPE], 1, (size_t)(4 * k), 4);
        part[k] = af_mul(c, a, af_slice(c, slope, 1, 1, 3));
        part[k] = af_add(c, af_sum_axis(c, part[k], 1), af_slice(c, slope, 1, 0, 1));
        part[k] = af_scale(c, part[k], (double)t->desc.orbit_steps / f->tie[k]);
    }
    weight = af_sqrt(c, af_scale(c, in[DP__CHAIN_WEIGHT], (double)f->n));
    weight = af_mul(c, weight, in[DP__CHAIN_DT]);
    return af_mul(c, af_concat(c, 1, 2, part), weight);
}

/* The loss of a piece: the weighted sum over its stars of
 *
 *     the mean of -ln f over the places along `steps` steps of their orbits (canonical: after each
 *     step; kernel: both ends),
 *
 *     and half the mean square of how far J_r goes from its first value, over the tie; with a
 *     model ln(1 + q)/2, q being the mean square with that of L: the few orbits that a map fits
 *     badly lose their weight, as if departures were distributed as Cauchy's,
 *
 * and the piece's part of the networks' prior, weights of order one. */
static af_expr dp__chain_loss(const dp__chain_fit *f, size_t steps, const af_expr *in) {
    const dp_chain *t = f->chain;
    af_context *c = f->c;
    dp__chain_map map = dp__chain_map_of(t, t->model.finder != NULL);
    dp__chain_clumps m = dp__chain_clumps_of(c, af_params_expr(t->params, t->mixture),
                                             t->desc.clumps, &t->flow);
    af_expr x = in[DP__CHAIN_X], v = in[DP__CHAIN_V], sum = af_constant(c, 0.0), population[4];
    af_expr here, far = af_constant(c, 0.0);
    dp__chain_actions first = DP__ZERO, now = DP__ZERO;
    int kernel = t->desc.density == DP_CHAIN_KERNEL;
    double places = steps == 0 ? 1.0 : kernel ? 2.0 : (double)(steps + 1);
    size_t i;
    if (kernel) dp__chain_population(f, &map, &m, in[DP__CHAIN_DRAW], population);
    for (i = 0; i <= steps; i++) {
        dp__chain_star s = dp__chain_star_of(c, x, v);
        now = dp__chain_actions_at(t, &map, &s, x, v, now.all, in);
        if (!kernel || i == 0 || i == steps) {
            af_expr blur = af_slice(c, in[DP__CHAIN_BLUR], 1, i == 0 ? 0 : 3, 3);
            here = kernel ? dp__chain_smooth(f, population, &s, blur)
                          : dp__chain_exact(f, &m, &now, &s);
            sum = af_sub(c, sum, af_scale(c, here, 1.0 / places));
        }
        if (i == 0) first = now;
        else far = af_add(c, far, af_scale(c, dp__chain_far(f, &now, &first), 1.0 / (double)steps));
        if (i < steps) dp__chain_step(t, in[DP__CHAIN_DT], &x, &v);
    }
    if (t->model.finder) far = af_scale(c, af_log1p(c, af_scale(c, far, 2.0)), 0.5);
    if (t->desc.tie > 0.0) sum = af_add(c, sum, far);
    sum = af_sum(c, af_mul(c, in[DP__CHAIN_WEIGHT], sum));
    if (steps == 0) return sum; /* no potential in it; the prior alone would empty it */
    here = af_scale(c, dp__chain_prior(t), 0.5 / ((double)f->n * (double)f->pieces));
    return af_add(c, sum, here);
}
