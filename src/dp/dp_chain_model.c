/* ---- the chain: a trained ActionFinder as its map -----------------------------------------------
 *
 * The map is canonical whatever potential it was made for, and it does not change here: what the
 * chain asks is in which potential orbits keep their actions in it. dJ/dt = v.dJ/dx + a.dJ/dv = 0
 * is linear in the accelerations (Ibata et al. 2021, eq. 15). */

/* Newton's steps for J' from the actions at the place before. */
enum { DP__CHAIN_NEWTON = 3 };

/* J_r below this, in units of the typical r v, counts as this: a map that is not exact may make it
 * negative. */
#define DP__CHAIN_LEAST_J 1e-4

typedef struct dp__chain_model {
    const af_finder *finder; /* NULL: the isochrone is the map */
    double length, speed;    /* units of the chain, in those of the finder */
} dp__chain_model;

/* Actions: what is asked for (n,1), and all three as the finder has them (3,n) [km/s kpc]. */
typedef struct dp__chain_actions {
    af_expr j, l, all;
} dp__chain_actions;

/* J_r and L = |J_phi| + J_z of all three. */
static dp__chain_actions dp__chain_actions_of(af_context *c, const dp__chain_model *m,
                                              af_expr all) {
    dp__chain_actions a;
    double unit = 1.0 / (m->length * m->speed);
    a.all = all;
    all = af_scale(c, all, unit);
    a.j = af_transpose(c, af_slice(c, all, 0, 2, 1));
    a.l = af_add(c, af_abs(c, af_slice(c, all, 0, 0, 1)), af_slice(c, all, 0, 1, 1));
    a.l = af_transpose(c, af_maximum(c, a.l, af_constant(c, DP__CHAIN_LEAST_J)));
    return a;
}

/* Actions at x and v (n,3), as those `before` (3,n) lead to. Stars that are hardly bound in the
 * toy, or not, count as slower, as in dp__chain_action. */
static dp__chain_actions dp__chain_model_actions(af_context *c, const dp__chain_model *m,
                                                 const dp__chain_map *toy, af_expr x, af_expr v,
                                                 af_expr before) {
    af_expr part[2], depth, bound, none = DP__ZERO;
    depth = af_sum_axis(c, af_square(c, x), 1);
    depth = af_add(c, toy->b, af_sqrt(c, af_add(c, depth, af_square(c, toy->b))));
    depth = af_scale(c, af_div(c, toy->gm, depth), 2.0 * (1.0 - DP__CHAIN_BOUND));
    bound = af_offset(c, af_sum_axis(c, af_square(c, v), 1), DP__CHAIN_LEAST);
    bound = af_sqrt(c, af_minimum(c, af_div(c, depth, bound), af_constant(c, 1.0)));
    part[0] = af_scale(c, x, m->length);
    part[1] = af_scale(c, af_mul(c, v, bound), m->speed);
    part[0] = af_transpose(c, af_concat(c, 1, 2, part));
    if (af_finder_expr(m->finder, part[0], before, DP__CHAIN_NEWTON, &depth, NULL) != AF_OK)
        depth = none;
    return dp__chain_actions_of(c, m, depth);
}
