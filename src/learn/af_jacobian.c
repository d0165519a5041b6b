/* ---- derivatives of residuals by all parameters, as expressions ---------------------------------
 *
 * J (P,n) holds the derivatives of n residuals by P parameters. What a minimiser of squares needs
 * of it are the normal equations J J^T (P,P) and J r (P). */

/* Unit tangents for every element of a view: the identity (size, dims of the view). */
static af_expr af__unit_directions(af_context *c, const af__view *v) {
    size_t i, dims[AF_RANK_MAX];
    af__arena scratch = AF__ZERO;
    double *identity;
    af_expr e = af__none;
    scratch.allocator = c->allocator;
    if (v->rank + 1 > AF_RANK_MAX) {
        af__fail(c, AF_ERROR_SHAPE,
                 "minimiser: parameters '%s' have %lu axes, forward derivatives take at most %d; "
                 "choose AF_JACOBIAN_REVERSE",
                 v->name, (unsigned long)v->rank, AF_RANK_MAX - 1);
        return af__none;
    }
    dims[0] = v->size;
    for (i = 0; i < v->rank; i++) dims[i + 1] = v->dim[i];
    identity = AF__ARRAY(&scratch, double, v->size * v->size);
    if (!identity) af__fail_memory(c, "the tangents of a minimiser");
    for (i = 0; identity && i < v->size; i++) identity[i * v->size + i] = 1.0;
    if (identity) e = af_constant_array(c, v->rank + 1, dims, identity);
    af__arena_free(&scratch);
    return e;
}

/* True where r takes numbers from the whole vector of parameters and not from a view. */
static int af__uses_vector(af_params *p, af_expr r, af_expr *x, af_expr *g) {
    af_context *c = p->context;
    size_t i, count = AF__LENGTH(p->view);
    for (i = 0; i < count; i++) x[i] = af_params_expr(p, i);
    x[count] = af_params_input(p);
    if (x[0].id == x[count].id) return 0; /* the only view is the vector */
    if (af_vjp(c, r, r, count + 1, x, g) != AF_OK) return 0;
    return !af__is_value(c, g[count], 0.0);
}

/* J (P,n) of r (n) by tangents carried forward from each view: what stands before a layer is not
 * passed by the layer's own. */
static af_expr af__jacobian_rows(af_params *p, af_expr r, af_expr *x, af_expr *rows) {
    af_context *c = p->context;
    size_t i, count = AF__LENGTH(p->view), dims[2];
    int whole = af__uses_vector(p, r, x, rows);
    af__view all = AF__ZERO;
    all.name = "all";
    all.rank = 1;
    all.size = all.dim[0] = AF__LENGTH(p->data);
    dims[1] = af_size(c, r);
    for (i = 0; i < (whole ? 1 : count); i++) {
        af_expr from = whole ? af_params_input(p) : x[i];
        af_expr unit = af__unit_directions(c, whole ? &all : &p->view[i]);
        if (af_jvp(c, 1, &r, 1, &from, &unit, &rows[i]) != AF_OK) return af__none;
        dims[0] = whole ? all.size : p->view[i].size;
        rows[i] = af_broadcast(c, rows[i], 2, dims);
    }
    return whole ? rows[0] : af_concat(c, 0, count, rows);
}

static af_expr af__jacobian(af_params *p, af_expr r) {
    size_t count = AF__LENGTH(p->view) + 1;
    af__arena scratch = AF__ZERO;
    af_expr *x, *rows, jacobian = af__none;
    scratch.allocator = p->arena.allocator;
    x = AF__ARRAY(&scratch, af_expr, count);
    rows = AF__ARRAY(&scratch, af_expr, count);
    if (!x || !rows) af__fail_memory(p->context, "the derivatives of residuals");
    else jacobian = af__jacobian_rows(p, r, x, rows);
    af__arena_free(&scratch);
    return jacobian;
}

/* rho and its derivative for x = |r|^2 / s^2. */
static void af__robust(af_context *c, af_robust kind, af_expr x, af_expr *rho, af_expr *weight) {
    af_expr one = af_constant(c, 1.0), root;
    switch (kind) {
    case AF_ROBUST_HUBER:
        root = af_sqrt(c, af_maximum(c, x, one));
        *rho = af_where(c, af_less(c, x, one), x, af_offset(c, af_scale(c, root, 2.0), -1.0));
        *weight = af_reciprocal(c, root);
        break;
    case AF_ROBUST_ROOT:
        root = af_sqrt(c, af_offset(c, x, 1.0));
        *rho = af_div(c, af_scale(c, x, 2.0), af_offset(c, root, 1.0)); /* 2 (root - 1) */
        *weight = af_reciprocal(c, root);
        break;
    case AF_ROBUST_CAUCHY:
        *rho = af_log1p(c, x);
        *weight = af_reciprocal(c, af_offset(c, x, 1.0));
        break;
    case AF_ROBUST_NONE:
    default:
        *rho = x;
        *weight = one;
    }
}

/* F of residuals r of any shape; r flat (n); the roots of the weights (n), or 1. */
static af_expr af__sum_of_squares(af_context *c, const af_minimiser_desc *d, af_expr r,
                                  af_expr *flat, af_expr *root) {
    size_t n = af_size(c, r), group = d->robust_group ? d->robust_group : 1, dims[2];
    double s = d->robust_scale > 0.0 ? d->robust_scale : 1.0;
    af_expr x, rho, weight;
    *flat = af_reshape(c, r, 1, &n);
    *root = af_constant(c, 1.0);
    if (d->robust == AF_ROBUST_NONE) return af_scale(c, af_sum(c, af_square(c, *flat)), 0.5);
    dims[0] = n / group;
    dims[1] = group;
    x = af_sum_axis(c, af_square(c, af_reshape(c, *flat, 2, dims)), 1);
    af__robust(c, d->robust, af_scale(c, x, 1.0 / (s * s)), &rho, &weight);
    *root = af_reshape(c, af_broadcast(c, af_sqrt(c, weight), 2, dims), 1, &n);
    return af_scale(c, af_sum(c, rho), 0.5 * s * s);
}

/* out[0] = J W J^T (P,P), out[1] = J W r (P,1), from J (P,n), r (n) and the roots of W. */
static void af__normal_equations(af_context *c, af_expr jacobian, af_expr r, af_expr root,
                                 af_expr out[2]) {
    size_t dims[2];
    dims[0] = af_size(c, r);
    dims[1] = 1;
    jacobian = af_mul(c, jacobian, root);
    out[0] = af_matmul(c, jacobian, af_transpose(c, jacobian));
    out[1] = af_matmul(c, jacobian, af_reshape(c, af_mul(c, r, root), 2, dims));
}
