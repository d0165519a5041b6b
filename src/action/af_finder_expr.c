/* ---- ActionFinder: the map as an expression -----------------------------------------------------
 *
 * Each star alone. J' comes from Newton's steps that are constants for differentiation, but for
 * one more, which carries the derivatives: the implicit function theorem. */

enum { AF__EXPR_STEPS = 8, AF__EXPR_STEPS_MOST = 64 };

static af__lack af__expr_lack(const af__generator *g, const af__inputs *in, af_expr jp) {
    if (g->desc.generator == AF_GENERATOR_FOURIER) return af__row_lack(g, in->theta, in->j, jp);
    return af__lack_of(g, in->theta, in->j, in->weight, jp, af__none);
}

/* jp with J_z and J_r not below zero, held; and the toy's J_phi, not held, where that is J'_phi:
 * af__row_lack does not carry its tangent. */
static af_expr af__expr_kept(const af__generator *g, const af__inputs *in, af_expr jp) {
    af_context *c = g->c;
    int given = g->desc.generator == AF_GENERATOR_FOURIER &&
                g->desc.axisymmetric == AF_SYMMETRY_YES;
    af_expr part[2];
    part[0] = given ? af__component(c, in->j, 0) : af_stop(c, af__component(c, jp, 0));
    part[1] = af_maximum(c, af_stop(c, af_slice(c, jp, 0, 1, 2)), af_constant(c, 0.0));
    return af_concat(c, 0, 2, part);
}

/* J' (3,1,n). */
static af_expr af__expr_solve(const af__generator *g, const af__inputs *in, size_t steps) {
    af_context *c = g->c;
    af__inputs held = *in;
    af_expr jp = in->old;
    af__lack l;
    held.theta = af_stop(c, in->theta);
    held.j = af_stop(c, in->j);
    while (steps-- > 0) {
        jp = af__expr_kept(g, &held, jp);
        l = af__expr_lack(g, &held, jp);
        jp = af__newton(g, &l, jp);
    }
    jp = af__expr_kept(g, in, jp);
    l = af__expr_lack(g, in, jp);
    return af_add(c, jp, l.step);
}

/* theta, J (3,1,n) of the toy; the rest of what the map asks for. */
static af_status af__expr_toy(const af_finder *f, af_expr xv, size_t n, af__inputs *in) {
    af_context *c = f->context;
    size_t dims[3];
    dims[0] = 6;
    dims[1] = 1;
    dims[2] = n;
    xv = af_reshape(c, xv, 3, dims);
    dims[0] = 1;
    in->weight = af_full(c, 3, dims, 1.0);
    if (f->g.desc.free_toy) return af__free_toy(f, xv, in);
    if (af_isochrone_expr(c, af_constant(c, AF_GRAVITY * f->toy.mass),
                          af_constant(c, f->toy.scale), xv, &in->j, &in->theta) != AF_OK)
        return c->status;
    in->j = af_scale(c, in->j, 1.0 / f->g.action_scale);
    return AF_OK;
}

/* What is wrong with xv (6,n) and from (3,n); *n gets their length. */
static af_status af__expr_check(const af_finder *f, af_expr xv, af_expr from, size_t steps,
                                size_t *n) {
    af_context *c = f->context;
    size_t d[AF_RANK_MAX] = {0}, other[AF_RANK_MAX] = {0}, rank = af_shape(c, xv, d);
    if (!xv.id) return c->status == AF_OK ? AF_ERROR_ARGUMENT : c->status;
    *n = d[1];
    if (rank != 2 || d[0] != 6)
        return af__fail(c, AF_ERROR_SHAPE, "finder: the expression of stars must be (6,n), not of "
                        "rank %lu with %lu rows", (unsigned long)rank, (unsigned long)d[0]);
    if (from.id && (af_shape(c, from, other) != 2 || other[0] != 3 || other[1] != *n))
        return af__fail(c, AF_ERROR_SHAPE, "finder: the actions that the search for J' begins with "
                        "must be (3,%lu)", (unsigned long)*n);
    if (steps > AF__EXPR_STEPS_MOST)
        return af__fail(c, AF_ERROR_ARGUMENT, "finder: %lu steps to find J' are too many for an "
                        "expression, at most %d", (unsigned long)steps, (int)AF__EXPR_STEPS_MOST);
    return AF_OK;
}

AF_API af_status af_finder_expr(const af_finder *f, af_expr xv, af_expr from, size_t steps,
                                af_expr *j, af_expr *theta) {
    const af__generator *g = &f->g;
    af_context *c = f->context;
    af__inputs in = AF__ZERO;
    af_expr jp = af__none;
    af__map m;
    size_t n = 0, dims[3];
    af_status s = af__expr_check(f, xv, from, steps, &n);
    if (j) *j = af__none;
    if (theta) *theta = af__none;
    if (s == AF_OK) s = af__expr_toy(f, xv, n, &in);
    if (s != AF_OK) return s;
    dims[0] = 3;
    dims[1] = 1;
    dims[2] = n;
    in.old = from.id ? af_scale(c, af_reshape(c, from, 3, dims), 1.0 / g->action_scale) : in.j;
    m.action = m.angle = af__none;
    if (!g->shears) m.action = jp = af__expr_solve(g, &in, steps ? steps : (size_t)AF__EXPR_STEPS);
    if (theta || g->shears || g->point) /* otherwise J'' is J' */
        m = g->desc.generator == AF_GENERATOR_FOURIER ?
                af__row_map(g, in.theta, in.j, jp) : af__map_of(g, in.theta, in.j, jp, af__none);
    dims[1] = n;
    if (j) *j = af_reshape(c, af_scale(c, m.action, g->action_scale), 2, dims);
    if (theta) *theta = af_reshape(c, m.angle, 2, dims);
    return c->status;
}

AF_API af_params *af_finder_params(const af_finder *f) { return f->g.params; }
