/* ---- the toy isochrone as an expression ------------------------------------------------------ */

static af_expr af__component(af_context *c, af_expr x, size_t i) { return af_slice(c, x, 0, i, 1); }

/* p q - r s. */
static af_expr af__cross(af_context *c, af_expr p, af_expr q, af_expr r, af_expr s) {
    return af_sub(c, af_mul(c, p, q), af_mul(c, r, s));
}

static af_expr af__hypot(af_context *c, af_expr a, af_expr b) {
    return af_sqrt(c, af_add(c, af_square(c, a), af_square(c, b)));
}

/* The letters of af_isochrone.h. */
typedef struct af__toy_orbit {
    af_expr mu, b, a, c;     /* GM, scale, a, c */
    af_expr lx, ly, lz, l;   /* angular momentum and its length */
    af_expr d;               /* sqrt(L^2 + 4 GM b) */
    af_expr cosine, sine, e; /* e cos eta, e sin eta, e */
    af_expr slow;            /* sqrt(a/GM) */
} af__toy_orbit;

static af__toy_orbit af__toy_orbit_of(af_context *c, af_expr mu, af_expr b, af_expr xv) {
    af__toy_orbit o;
    af_expr x[6], r2, v2, xv_dot, s, pull, twice_e;
    size_t i;
    for (i = 0; i < 6; i++) x[i] = af__component(c, xv, i);
    o.mu = mu;
    o.b = b;
    o.lx = af__cross(c, x[1], x[5], x[2], x[4]);
    o.ly = af__cross(c, x[2], x[3], x[0], x[5]);
    o.lz = af__cross(c, x[0], x[4], x[1], x[3]);
    o.l = af_sqrt(c,
                  af_add(c, af_add(c, af_square(c, o.lx), af_square(c, o.ly)), af_square(c, o.lz)));
    r2 = af_add(c, af_add(c, af_square(c, x[0]), af_square(c, x[1])), af_square(c, x[2]));
    v2 = af_add(c, af_add(c, af_square(c, x[3]), af_square(c, x[4])), af_square(c, x[5]));
    xv_dot =
        af_add(c, af_add(c, af_mul(c, x[0], x[3]), af_mul(c, x[1], x[4])), af_mul(c, x[2], x[5]));
    s = af_sqrt(c, af_add(c, r2, af_square(c, b)));
    pull = af_mul(c, mu, af_div(c, r2, af_square(c, af_add(c, b, s))));
    twice_e = af_sub(c, af_scale(c, af_div(c, mu, af_add(c, b, s)), 2.0), v2); /* -2E */
    o.c = af_div(c, af_add(c, af_mul(c, b, v2), pull), twice_e);
    o.a = af_add(c, o.c, b);
    o.slow = af_sqrt(c, af_div(c, o.a, mu));
    o.cosine = af_div(c, af_sub(c, af_mul(c, s, v2), pull), af_add(c, af_mul(c, b, v2), pull));
    o.sine = af_div(c, af_mul(c, xv_dot, o.slow), o.c);
    o.e = af__hypot(c, o.cosine, o.sine);
    o.d = af_sqrt(c, af_add(c, af_square(c, o.l), af_scale(c, af_mul(c, mu, b), 4.0)));
    return o;
}

/* J_r = (e L_c)^2/2 (1/(L_c + L) + 1/(D_c + D)). */
static af_expr af__toy_actions(af_context *c, const af__toy_orbit *o) {
    af_expr j[3], lc = af_div(c, o->c, o->slow), dc = af_div(c, af_add(c, o->a, o->b), o->slow);
    af_expr swing = af_square(c, af_mul(c, o->e, lc));
    j[0] = o->lz;
    j[1] = af_sub(c, o->l, af_abs(c, o->lz));
    j[2] = af_add(c, af_reciprocal(c, af_add(c, lc, o->l)), af_reciprocal(c, af_add(c, dc, o->d)));
    j[2] = af_scale(c, af_mul(c, swing, j[2]), 0.5);
    return af_concat(c, 0, 3, j);
}

static af_expr af__toy_angles(af_context *c, const af__toy_orbit *o, af_expr xv) {
    af_expr theta[3], eta = af_atan2(c, o->sine, o->cosine), half = af_scale(c, eta, 0.5);
    af_expr s = af_sin(c, half), k = af_cos(c, half), ratio = af_div(c, o->l, o->d);
    af_expr wide = af_mul(c, o->c, af_offset(c, o->e, 1.0)), kepler, core, psi, node, turn;
    af_expr x = af__component(c, xv, 0), y = af__component(c, xv, 1), z = af__component(c, xv, 2);
    theta[2] = af_sub(c, eta, af_mul(c, af_div(c, o->c, o->a), o->sine));
    kepler = af_atan2(c, af_mul(c, wide, s), af_mul(c, af_mul(c, o->slow, o->l), k));
    core = af_atan2(c, af_mul(c, af_add(c, wide, af_scale(c, o->b, 2.0)), s),
                    af_mul(c, af_mul(c, o->slow, o->d), k));
    turn = af_add(c, kepler, af_mul(c, ratio, core));
    turn = af_sub(c, turn, af_mul(c, af_scale(c, af_offset(c, ratio, 1.0), 0.5), theta[2]));
    psi = af_atan2(c, af_mul(c, z, o->l), af__cross(c, y, o->lx, x, o->ly));
    node = af_atan2(c, o->lx, af_neg(c, o->ly));
    theta[1] = af_sub(c, psi, turn);
    theta[0] = af_add(c, node, af_mul(c, af_sign(c, o->lz), theta[1]));
    return af_concat(c, 0, 3, theta);
}

AF_API af_status af_isochrone_expr(af_context *c, af_expr mass_g, af_expr scale, af_expr xv,
                                   af_expr *j, af_expr *theta) {
    size_t dims[AF_RANK_MAX];
    af__toy_orbit o;
    if (j) *j = af__none;
    if (theta) *theta = af__none;
    if (!mass_g.id || !scale.id || !xv.id || af_shape(c, xv, dims) == 0 || dims[0] != 6)
        return c->status == AF_OK ? af__fail(c, AF_ERROR_SHAPE,
                                             "isochrone: xv must have 6 components along axis 0")
                                  : c->status;
    o = af__toy_orbit_of(c, mass_g, scale, xv);
    if (j) *j = af__toy_actions(c, &o);
    if (theta) *theta = af__toy_angles(c, &o, xv);
    return c->status;
}
