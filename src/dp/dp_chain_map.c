/* ---- the chain: actions of the isochrone, and back, as expressions ------------------------------
 *
 * The formulas of af_isochrone.h for what a spherical potential cares about: the radius r, the
 * radial momentum x.v and L; J_r, L and the angle theta_r. The other actions and angles say how the
 * orbit lies in space. All arrays broadcast. */

/* ln L below this, in units of the typical r v, counts as this: radial orbits. */
#define DP__CHAIN_LEAST 1e-6

/* Iterations of Newton's method for Kepler's equation: from Danby's start six reach 1e-15 up to an
 * eccentricity of 0.99. */
enum { DP__CHAIN_KEPLER = 6 };

/* Of a star below this part of its potential's depth no orbit is asked for: as a trial potential
 * may leave stars unbound, and the loss has to say so by finite numbers. */
#define DP__CHAIN_BOUND 0.01

typedef struct dp__chain_map {
    af_expr gm, b; /* one number each */
} dp__chain_map;

/* What a star is: r^2, v^2, x.v and L. */
typedef struct dp__chain_star {
    af_expr r2, v2, xv, l;
} dp__chain_star;

/* x and v (n,3); the results are (n,1). L^2 is a sum of squares: nothing cancels. */
static dp__chain_star dp__chain_star_of(af_context *c, af_expr x, af_expr v) {
    dp__chain_star s;
    af_expr p[3], q[3], l2 = DP__ZERO;
    size_t i;
    for (i = 0; i < 3; i++) {
        p[i] = af_slice(c, x, 1, i, 1);
        q[i] = af_slice(c, v, 1, i, 1);
    }
    for (i = 0; i < 3; i++) {
        size_t k = (i + 1) % 3;
        af_expr cross = af_square(c, af_sub(c, af_mul(c, p[i], q[k]), af_mul(c, p[k], q[i])));
        l2 = i == 0 ? cross : af_add(c, l2, cross);
    }
    s.r2 = af_sum_axis(c, af_square(c, x), 1);
    s.v2 = af_sum_axis(c, af_square(c, v), 1);
    s.xv = af_sum_axis(c, af_mul(c, x, v), 1);
    s.l = af_sqrt(c, af_offset(c, l2, DP__CHAIN_LEAST * DP__CHAIN_LEAST));
    return s;
}

/* sqrt(L^2 + 4 GM b). */
static af_expr dp__chain_root(af_context *c, const dp__chain_map *m, af_expr l) {
    return af_sqrt(c, af_add(c, af_square(c, l), af_scale(c, af_mul(c, m->gm, m->b), 4.0)));
}

/* 1/(L_c + L) + 1/(D_c + D): J_r = (e L_c)^2/2 times this. */
static af_expr dp__chain_factor(af_context *c, const dp__chain_map *m, af_expr l, af_expr l_c) {
    af_expr d = af_add(c, dp__chain_root(c, m, l), dp__chain_root(c, m, l_c));
    return af_add(c, af_reciprocal(c, af_add(c, l, l_c)), af_reciprocal(c, d));
}

/* J_r >= 0 of stars. */
static af_expr dp__chain_action(af_context *c, const dp__chain_map *m, const dp__chain_star *s) {
    af_expr root = af_sqrt(c, af_add(c, af_square(c, m->b), s->r2));
    af_expr depth = af_div(c, m->gm, af_add(c, m->b, root)), a, big, w, l_c, e_cos, e2;
    a = af_sub(c, depth, af_scale(c, s->v2, 0.5)); /* -E */
    a = af_maximum(c, a, af_scale(c, depth, DP__CHAIN_BOUND));
    a = af_div(c, af_scale(c, m->gm, 0.5), a);
    big = af_sub(c, a, m->b); /* the papers' c */
    w = af_div(c, s->r2, af_add(c, m->b, root));
    l_c = af_mul(c, big, af_sqrt(c, af_div(c, m->gm, a)));
    e_cos = af_mul(c, l_c, af_sub(c, af_constant(c, 1.0), af_div(c, w, big)));
    e2 = af_add(c, af_square(c, e_cos), af_square(c, s->xv)); /* (e L_c)^2 */
    return af_scale(c, af_mul(c, e2, dp__chain_factor(c, m, s->l, l_c)), 0.5);
}

/* eta with theta = eta - k sin eta, 0 <= k < 1. The steps are constants for differentiation but for
 * one, which leaves eta and carries the derivatives: the implicit function theorem. */
static af_expr dp__chain_kepler(af_context *c, af_expr theta, af_expr k) {
    af_expr still = af_stop(c, k), from = af_stop(c, theta), eta, slope, rest;
    int i;
    eta = af_mul(c, still, af_sign(c, af_sin(c, from)));
    eta = af_add(c, from, af_scale(c, eta, 0.85)); /* Danby 1988, section 6.6 */
    for (i = 0; i < DP__CHAIN_KEPLER; i++) {
        rest = af_sub(c, af_sub(c, eta, af_mul(c, still, af_sin(c, eta))), from);
        slope = af_sub(c, af_constant(c, 1.0), af_mul(c, still, af_cos(c, eta)));
        eta = af_sub(c, eta, af_div(c, rest, slope));
    }
    eta = af_stop(c, eta);
    rest = af_sub(c, af_sub(c, eta, af_mul(c, k, af_sin(c, eta))), theta);
    slope = af_sub(c, af_constant(c, 1.0), af_mul(c, still, af_cos(c, eta)));
    return af_sub(c, eta, af_div(c, rest, slope));
}

/* The inverse map: *ln_r and *xv of J_r, L and theta_r. */
static void dp__chain_place(af_context *c, const dp__chain_map *m, af_expr j, af_expr l,
                            af_expr theta, af_expr *ln_r, af_expr *xv) {
    af_expr a, big, l_c, e, eta, w, twice;
    a = af_add(c, j, af_scale(c, af_add(c, l, dp__chain_root(c, m, l)), 0.5)); /* sqrt(GM a) */
    a = af_div(c, af_square(c, a), m->gm);
    big = af_sub(c, a, m->b);
    l_c = af_mul(c, big, af_sqrt(c, af_div(c, m->gm, a)));
    e = af_div(c, af_scale(c, j, 2.0), dp__chain_factor(c, m, l, l_c));
    e = af_div(c, af_sqrt(c, e), l_c);
    eta = dp__chain_kepler(c, theta, af_div(c, af_mul(c, big, e), a));
    w = af_sub(c, af_constant(c, 1.0), af_mul(c, e, af_cos(c, eta)));
    w = af_mul(c, big, w);
    twice = af_add(c, w, af_scale(c, m->b, 2.0));
    *ln_r = af_scale(c, af_log(c, af_mul(c, w, twice)), 0.5);
    *xv = af_mul(c, af_mul(c, e, l_c), af_sin(c, eta));
}
