/* ---- the chain: expressions ---------------------------------------------------------------------
 *
 * Inside, lengths are in units of the stars' median radius and speeds in that of their rms. */

enum {
    DP__CHAIN_FEWEST = 200, /* stars */
    DP__CHAIN_STEPS = 256,  /* of an orbit, at most */
    DP__CHAIN_PIECE = 512,  /* stars computed together: with 4096 samples 16 MB of kernels */
    DP__CHAIN_FEW = 2,      /* pieces that the network is prepared with */
    DP__CHAIN_PREPARE = 15, /* steps of Levenberg-Marquardt, along short orbits */
    DP__CHAIN_VIEWS = 3     /* map, mixture, base; the network's follow */
};

struct dp_chain {
    af_context *c;
    dp__arena arena;
    dp_chain_desc desc;
    dp_chain_report report;
    af_params *params;
    af_net *net;
    size_t map, mixture, base; /* views: (2) ln GM, ln b; (ROWS,clumps); (1) factor of the base */
    double length, speed;      /* units of the sample */
    double middle, spread;     /* of the stars' u, for the network */
    double flat;               /* the base: Phi = flat u, the square of a rotation speed */
    double constant;           /* of Phi, and that of the untrained potential */
    double untrained_constant;
    double *first;             /* the parameters that learning began with */
};

/* Stars as they are computed, and all that learning needs besides. Rows of n stars, padded with
 * stars of weight 0 to whole pieces. */
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
    double tie;                  /* the tie, as an action; 0: none */
} dp__chain_fit;

enum { DP__CHAIN_X, DP__CHAIN_V, DP__CHAIN_WEIGHT, DP__CHAIN_DT, DP__CHAIN_BLUR, DP__CHAIN_DRAW,
       DP__CHAIN_INPUTS };

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

/* ln f (n,1) by the actions, over J_r, theta_r and ln L: what the kernel density is of. */
static af_expr dp__chain_exact(const dp__chain_fit *f, const dp__chain_clumps *m, af_expr j,
                               af_expr l) {
    af_context *c = f->c;
    af_expr ln_j = af_log(c, af_offset(c, j, DP__CHAIN_LEAST * DP__CHAIN_LEAST));
    return af_offset(c, dp__chain_density(c, m, ln_j, af_log(c, l)), -log(2.0 * DP__PI));
}

/* Sum of the squares of the network's numbers. */
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
    return af_scale(c, af_mul(c, af_concat(c, 1, steps, far), first), 1.0 / f->tie);
}

/* The loss of a piece: the weighted sum over its stars of
 *
 *     the mean of -ln f over the places along `steps` steps of their orbits (canonical: after each
 *     step; kernel: both ends),
 *
 *     and half the mean square of how far J_r goes from its first value, over the tie,
 *
 * and the piece's part of the network's prior, weights of order one. */
static af_expr dp__chain_loss(const dp__chain_fit *f, size_t steps, const af_expr *in) {
    const dp_chain *t = f->chain;
    af_context *c = f->c;
    dp__chain_map map = dp__chain_map_of(t, 0);
    dp__chain_clumps m = dp__chain_clumps_of(c, af_params_expr(t->params, t->mixture),
                                             t->desc.clumps);
    af_expr x = in[DP__CHAIN_X], v = in[DP__CHAIN_V], sum = af_constant(c, 0.0), population[4];
    af_expr first = DP__ZERO, j, here;
    int kernel = t->desc.density == DP_CHAIN_KERNEL;
    double places = steps == 0 ? 1.0 : kernel ? 2.0 : (double)(steps + 1);
    size_t i;
    if (kernel) dp__chain_population(f, &map, &m, in[DP__CHAIN_DRAW], population);
    for (i = 0; i <= steps; i++) {
        dp__chain_star s = dp__chain_star_of(c, x, v);
        j = dp__chain_action(c, &map, &s);
        if (!kernel || i == 0 || i == steps) {
            af_expr blur = af_slice(c, in[DP__CHAIN_BLUR], 1, i == 0 ? 0 : 3, 3);
            here = kernel ? dp__chain_smooth(f, population, &s, blur)
                          : dp__chain_exact(f, &m, j, s.l);
            sum = af_sub(c, sum, af_scale(c, here, 1.0 / places));
        }
        if (i == 0) first = j;
        here = af_square(c, af_scale(c, af_sub(c, j, first), 1.0 / f->tie));
        if (i > 0 && t->desc.tie > 0.0)
            sum = af_add(c, sum, af_scale(c, here, 0.5 / (double)steps));
        if (i < steps) dp__chain_step(t, in[DP__CHAIN_DT], &x, &v);
    }
    sum = af_sum(c, af_mul(c, in[DP__CHAIN_WEIGHT], sum));
    if (steps == 0) return sum; /* no network in it; the prior alone would empty it */
    here = af_scale(c, dp__chain_prior(t), 0.5 / ((double)f->n * (double)f->pieces));
    return af_add(c, sum, here);
}
