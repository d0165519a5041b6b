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

enum {
    AF__EQUATION_ROWS = 96, /* of J J^T that are computed together, at least: a product's unit */
    AF__EQUATION_BLOCKS = 8
};

/* The lower triangle of J J^T, J (P,n), in blocks of rows as long as they are needed; what is above
 * the blocks on the diagonal is 0. */
static af_expr af__lower_square(af_context *c, af_expr jacobian) {
    size_t dims[AF_RANK_MAX], i, count, p;
    af_expr rows[AF__EQUATION_BLOCKS];
    af_shape(c, jacobian, dims);
    p = dims[0];
    count = af__clamp(p / AF__EQUATION_ROWS, 1, AF__EQUATION_BLOCKS);
    for (i = 0; i < count && jacobian.id; i++) {
        size_t begin = p * i / count, end = p * (i + 1) / count;
        af_expr left = af_slice(c, jacobian, 0, begin, end - begin);
        af_expr right = af_transpose(c, af_slice(c, jacobian, 0, 0, end));
        rows[i] = af_pad(c, af_matmul(c, left, right), 1, 0, p);
    }
    return jacobian.id ? af_concat(c, 0, count, rows) : jacobian;
}
