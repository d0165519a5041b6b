/* ---- differentiation ----------------------------------------------------------------------------
 *
 * Every operation is linear (its adjoint is another operation of the set), bilinear (two products)
 * or elementwise (its derivative is an expression): one function below for each kind and
 * direction. */

/* ---- the derivative of each elementwise operation, as an expression ---- */

/* df/dx of the one-argument operation y = f(x), at node y. */
static af_expr af__slope(af_context *c, af_op op, af_expr x, af_expr y) {
    switch (op) {
    case AF_OP_NEG: return af_constant(c, -1.0);
    case AF_OP_EXP: return y;
    case AF_OP_EXPM1: return af_exp(c, x);
    case AF_OP_LOG: return af_reciprocal(c, x);
    case AF_OP_LOG1P: return af_reciprocal(c, af_offset(c, x, 1.0));
    case AF_OP_SQRT: return af_scale(c, af_reciprocal(c, y), 0.5);
    case AF_OP_RECIPROCAL: return af_neg(c, af_square(c, y));
    case AF_OP_SIN: return af_cos(c, x);
    case AF_OP_COS: return af_neg(c, af_sin(c, x));
    case AF_OP_TANH: return af_sech2(c, x);
    case AF_OP_SECH2: return af_scale(c, af_mul(c, af_tanh(c, x), y), -2.0);
    case AF_OP_SIGMOID: return af_mul(c, y, af_sigmoid(c, af_neg(c, x)));
    case AF_OP_SOFTPLUS: return af_sigmoid(c, x);
    case AF_OP_ATAN: return af_reciprocal(c, af_offset(c, af_square(c, x), 1.0));
    case AF_OP_ABS: return af_sign(c, x);
    default: return af_constant(c, 0.0); /* sign, floor, random: constant almost everywhere */
    }
}

/* Partial derivatives of atan2(y, x): (x, -y) / (x^2 + y^2). */
static af_expr af__atan2_slope(af_context *c, af_expr y, af_expr x, int which) {
    af_expr r2 = af_add(c, af_square(c, x), af_square(c, y));
    return which == 0 ? af_div(c, x, r2) : af_neg(c, af_div(c, y, r2));
}

/* The factor that argument k's tangent gets in an elementwise operation other than where. */
static af_expr af__partial(af_context *c, af_expr node, size_t k) {
    const af__node *n = af__at(c, node);
    af_op op = n->op;
    af_expr a, b;
    a.id = n->arg[0];
    b.id = n->arg[1];
    switch (op) {
    case AF_OP_ADD: return af_constant(c, 1.0);
    case AF_OP_SUB: return af_constant(c, k == 0 ? 1.0 : -1.0);
    case AF_OP_MUL: return k == 0 ? b : a;
    case AF_OP_ATAN2: return af__atan2_slope(c, a, b, (int)k);
    case AF_OP_LESS: return af_constant(c, 0.0);
    default: return af__slope(c, op, a, node);
    }
}

/* ---- the linear operations; `extra` axes lead: 0, or 1 for stacked tangents ---- */

static af_expr af__linear(af_context *c, af_expr node, af_expr t, size_t extra) {
    af__node n = *af__at(c, node);
    size_t i, dims[AF_RANK_MAX], axes[AF_RANK_MAX], lead = 0;
    if (n.rank + extra > AF_RANK_MAX) {
        af__fail(c, AF_ERROR_SHAPE, "jvp: %s with stacked tangents has more than %d axes",
                 af__ops[n.op].text, AF_RANK_MAX);
        return af__none;
    }
    if (extra) lead = af__at(c, t)->dim[0];
    if (extra) dims[0] = lead;
    for (i = 0; i < n.rank; i++) dims[extra + i] = n.dim[i];
    switch (n.op) {
    case AF_OP_RESHAPE: return af_reshape(c, t, n.rank + extra, dims);
    case AF_OP_BROADCAST: return af_broadcast(c, t, n.rank + extra, dims);
    case AF_OP_PERMUTE:
        if (extra) axes[0] = 0;
        for (i = 0; i < n.rank; i++)
            axes[extra + i] = ((size_t)(n.number >> (4 * i)) & 15u) + extra;
        return af_permute(c, t, axes);
    case AF_OP_SLICE:
        return af_slice(c, t, (int)(n.axis + extra), (size_t)n.number, n.dim[n.axis]);
    case AF_OP_PAD: return af_pad(c, t, (int)(n.axis + extra), (size_t)n.number, n.dim[n.axis]);
    case AF_OP_SUM: return af__sum_mask(c, t, (unsigned)n.number << extra);
    default: return af__none;
    }
}

/* gather and scatter work on axis 0: stacked tangents go through with that axis in front. */
static af_expr af__linear_rows(af_context *c, af_expr node, af_expr t, size_t extra) {
    af__node n = *af__at(c, node);
    size_t i, axes[AF_RANK_MAX];
    af_expr index, moved;
    index.id = n.arg[1];
    for (i = 0; i < n.rank + extra && i < AF_RANK_MAX; i++) axes[i] = i;
    if (extra) {
        axes[0] = 1;
        axes[1] = 0;
        t = af_permute(c, t, axes);
    }
    moved = n.op == AF_OP_GATHER ? af_gather(c, t, index) : af_scatter(c, t, index, n.dim[0]);
    return extra ? af_permute(c, moved, axes) : moved;
}

/* ---- forward ---- */

/* A tangent per node: 0 where it vanishes. */
typedef struct af__tangents {
    uint32_t *id;
    size_t count;
    size_t extra; /* leading axes of the tangents */
    size_t lead;  /* D */
} af__tangents;

static af_expr af__tangent_of(const af__tangents *t, uint32_t id) {
    af_expr x;
    x.id = id < t->count ? t->id[id] : 0;
    return x;
}

/* Zeros in the shape of a tangent of x. */
static af_expr af__tangent_zero(af_context *c, const af__tangents *t, af_expr x) {
    size_t i, dims[AF_RANK_MAX + 1];
    const af__node *n = af__at(c, x);
    if (t->extra) dims[0] = t->lead;
    for (i = 0; i < n->rank; i++) dims[t->extra + i] = n->dim[i];
    return af_full(c, n->rank + t->extra, dims, 0.0);
}

static af_expr af__add_some(af_context *c, af_expr a, af_expr b) {
    return a.id == 0 ? b : b.id == 0 ? a : af_add(c, a, b);
}

/* Chosen, not multiplied by 0 or 1: a branch that is not taken may have an infinite tangent. */
static af_expr af__forward_where(af_context *c, const af__tangents *t, af_expr node) {
    af__node n = *af__at(c, node);
    af_expr condition, a = af__tangent_of(t, n.arg[1]), b = af__tangent_of(t, n.arg[2]);
    condition.id = n.arg[0];
    if (!a.id && !b.id) return af__none;
    if (!a.id) a = af_constant(c, 0.0);
    if (!b.id) b = af_constant(c, 0.0);
    return af_where(c, condition, a, b);
}

static af_expr af__forward_elementwise(af_context *c, const af__tangents *t, af_expr node) {
    af_expr sum = af__none;
    size_t k;
    af_op op = af__at(c, node)->op;
    if (op == AF_OP_WHERE) return af__forward_where(c, t, node);
    for (k = 0; k < af__ops[op].arity; k++) {
        af_expr tangent = af__tangent_of(t, af__at(c, node)->arg[k]);
        if (tangent.id) sum = af__add_some(c, sum, af_mul(c, af__partial(c, node, k), tangent));
    }
    return sum;
}

static af_expr af__forward_concat(af_context *c, const af__tangents *t, af_expr node) {
    size_t k;
    af_expr part[2];
    uint32_t axis = af__at(c, node)->axis;
    for (k = 0; k < 2; k++) {
        af_expr x;
        x.id = af__at(c, node)->arg[k];
        part[k] = af__tangent_of(t, x.id);
        if (!part[k].id) part[k] = af__tangent_zero(c, t, x);
    }
    return af_concat(c, (int)(axis + t->extra), 2, part);
}

/* A batch of matrices beside stacked tangents: repeated for every direction. One matrix needs no
 * repetition. */
static af_expr af__for_directions(af_context *c, const af__tangents *t, af_expr x) {
    size_t i, dims[AF_RANK_MAX + 1];
    const af__node *n = af__at(c, x);
    if (!t->extra || n->rank <= 2) return x;
    dims[0] = t->lead;
    for (i = 0; i < n->rank; i++) dims[1 + i] = n->dim[i];
    return af_broadcast(c, x, n->rank + 1, dims);
}

static af_expr af__forward_matmul(af_context *c, const af__tangents *t, af_expr node) {
    af_expr a, b, ta, tb, sum = af__none;
    a.id = af__at(c, node)->arg[0];
    b.id = af__at(c, node)->arg[1];
    ta = af__tangent_of(t, a.id);
    tb = af__tangent_of(t, b.id);
    if (ta.id) sum = af_matmul(c, ta, af__for_directions(c, t, b));
    if (tb.id) sum = af__add_some(c, sum, af_matmul(c, af__for_directions(c, t, a), tb));
    return sum;
}

/* The tangent of one node from those of its arguments. */
static af_expr af__forward(af_context *c, const af__tangents *t, af_expr node) {
    af_op op = af__at(c, node)->op;
    af_expr first = af__tangent_of(t, af__at(c, node)->arg[0]);
    if (op == AF_OP_STOP) return af__none;
    if (af__ops[op].kind == AF__ELEMENTWISE) return af__forward_elementwise(c, t, node);
    if (op == AF_OP_MATMUL) return af__forward_matmul(c, t, node);
    if (op == AF_OP_CONCAT) return af__forward_concat(c, t, node);
    if (!first.id) return af__none;
    if (op == AF_OP_GATHER || op == AF_OP_SCATTER) return af__linear_rows(c, node, first, t->extra);
    return af__linear(c, node, first, t->extra);
}

/* Temporary arrays of differentiation come from an arena of their own. */
static uint32_t *af__scratch_ids(af_context *c, af__arena *scratch, size_t count) {
    uint32_t *ids;
    scratch->allocator = c->allocator;
    ids = AF__ARRAY(scratch, uint32_t, count);
    if (!ids) af__fail_memory(c, "differentiation");
    return ids;
}

/* Sets all results to none; returns `status`. Results may lie in the array of the arguments, so
 * they are not written before the end. */
static af_status af__give_none(size_t count, af_expr *out, af_status status) {
    size_t i;
    for (i = 0; i < count; i++) out[i] = af__none;
    return status;
}

static af_status af__fail_none(af_context *c, const char *what, size_t count, af_expr *out) {
    if (c->status == AF_OK) af__fail(c, AF_ERROR_ARGUMENT, "%s: an expression is none", what);
    return af__give_none(count, out, c->status);
}

static int af__any_zero(size_t count, const af_expr *x) {
    size_t i;
    for (i = 0; i < count; i++)
        if (x[i].id == 0) return 1;
    return 0;
}

/* Marks the nodes up to `last` that depend on one of the xs (the xs themselves too). */
static void af__mark_dependent(af_context *c, size_t last, size_t count, const af_expr *xs,
                               uint32_t *mark) {
    size_t i, k;
    for (i = 0; i < count; i++) mark[xs[i].id] = 1;
    for (i = 1; i <= last; i++) {
        const af__node *n = &c->graph->node[i];
        if (mark[i] || n->op == AF_OP_STOP) continue;
        for (k = 0; k < af__ops[n->op].arity; k++)
            if (mark[n->arg[k]]) mark[i] = 1;
    }
}

/* Marks the nodes that the roots need. */
static void af__mark_needed(af_context *c, size_t count, const af_expr *roots, size_t last,
                            uint32_t *mark) {
    size_t i, k;
    for (i = 0; i < count; i++) mark[roots[i].id] = 1;
    for (i = last; i > 0; i--) {
        const af__node *n = &c->graph->node[i];
        if (!mark[i]) continue;
        for (k = 0; k < af__ops[n->op].arity; k++) mark[n->arg[k]] = 1;
    }
}

static size_t af__last_id(size_t count, const af_expr *x) {
    size_t i, last = 0;
    for (i = 0; i < count; i++)
        if (x[i].id > last) last = x[i].id;
    return last;
}

static int af__tangent_shapes(af_context *c, size_t count, const af_expr *xs,
                              const af_expr *tangents, af__tangents *t) {
    size_t i;
    for (i = 0; i < count; i++) {
        const af__node *x = af__at(c, xs[i]), *v = af__at(c, tangents[i]);
        size_t extra = v->rank == x->rank + 1 ? 1 : 0;
        size_t lead = extra ? v->dim[0] : 0;
        if (i == 0) {
            t->extra = extra;
            t->lead = lead;
        }
        if (extra == t->extra && lead == t->lead &&
            af__same_dims(x, v->rank - extra, v->dim + extra))
            continue;
        af__fail(c, AF_ERROR_SHAPE, "jvp: x %s has a tangent %s (must be equal, or D in front)",
                 af__show(c, xs[i]).text, af__show(c, tangents[i]).text);
        return 0;
    }
    return 1;
}

AF_API af_status af_jvp(af_context *c, size_t y_count, const af_expr *ys, size_t x_count,
                        const af_expr *xs, const af_expr *tangents, af_expr *out) {
    af__arena scratch = AF__ZERO;
    af__tangents t = AF__ZERO;
    uint32_t *dependent, *needed;
    size_t i, last;
    if (af__any_zero(y_count, ys) || af__any_zero(x_count, xs) || af__any_zero(x_count, tangents))
        return af__fail_none(c, "jvp", y_count, out);
    last = af__last_id(y_count, ys);
    t.count = (last > af__last_id(x_count, xs) ? last : af__last_id(x_count, xs)) + 1;
    t.id = af__scratch_ids(c, &scratch, 3 * t.count);
    if (!t.id || !af__tangent_shapes(c, x_count, xs, tangents, &t)) {
        af__arena_free(&scratch);
        return af__give_none(y_count, out, c->status);
    }
    dependent = t.id + t.count;
    needed = dependent + t.count;
    af__mark_dependent(c, last, x_count, xs, dependent);
    af__mark_needed(c, y_count, ys, last, needed);
    for (i = 0; i < x_count; i++) t.id[xs[i].id] = tangents[i].id;
    for (i = 1; i <= last; i++) {
        af_expr node;
        node.id = (uint32_t)i;
        if (dependent[i] && needed[i] && !t.id[i]) t.id[i] = af__forward(c, &t, node).id;
    }
    for (i = 0; i < y_count; i++) {
        af_expr tangent = af__tangent_of(&t, ys[i].id);
        out[i] = tangent.id ? tangent : af__tangent_zero(c, &t, ys[i]);
    }
    af__arena_free(&scratch);
    return c->status == AF_OK ? AF_OK : af__give_none(y_count, out, c->status);
}

/* ---- reverse ---- */

/* What argument k of a linear node receives when the node receives g. */
static af_expr af__adjoint_linear(af_context *c, af_expr node, af_expr g, size_t k) {
    af__node n = *af__at(c, node), x;
    af_expr index;
    size_t i, axes[AF_RANK_MAX];
    unsigned mask = 0;
    x = c->graph->node[n.arg[k]];
    index.id = n.arg[1];
    switch (n.op) {
    case AF_OP_RESHAPE: return af_reshape(c, g, x.rank, x.dim);
    case AF_OP_PERMUTE:
        for (i = 0; i < n.rank; i++) axes[(n.number >> (4 * i)) & 15u] = i;
        return af_permute(c, g, axes);
    case AF_OP_BROADCAST:
        for (i = 0; i < n.rank; i++)
            if (x.dim[i] == 1 && n.dim[i] != 1) mask |= 1u << i;
        return af__sum_mask(c, g, mask);
    case AF_OP_SUM: return af_broadcast(c, g, x.rank, x.dim);
    case AF_OP_SLICE: return af_pad(c, g, (int)n.axis, (size_t)n.number, x.dim[n.axis]);
    case AF_OP_PAD: return af_slice(c, g, (int)n.axis, (size_t)n.number, x.dim[n.axis]);
    case AF_OP_CONCAT:
        return k == 0 ? af_slice(c, g, (int)n.axis, 0, x.dim[n.axis])
                      : af_slice(c, g, (int)n.axis, n.dim[n.axis] - x.dim[n.axis], x.dim[n.axis]);
    case AF_OP_GATHER: return k == 0 ? af_scatter(c, g, index, x.dim[0]) : af__none;
    case AF_OP_SCATTER: return k == 0 ? af_gather(c, g, index) : af__none;
    default: return af__none;
    }
}

/* C = A B: A receives g B^T, B receives A^T g. */
static af_expr af__adjoint_matmul(af_context *c, af_expr node, af_expr g, size_t k) {
    af_expr a, b;
    a.id = af__at(c, node)->arg[0];
    b.id = af__at(c, node)->arg[1];
    return k == 0 ? af_matmul(c, g, af_transpose(c, b)) : af_matmul(c, af_transpose(c, a), g);
}

static af_expr af__adjoint(af_context *c, af_expr node, af_expr g, size_t k) {
    af_op op = af__at(c, node)->op;
    if (op == AF_OP_MATMUL) return af__adjoint_matmul(c, node, g, k);
    if (af__ops[op].kind != AF__ELEMENTWISE) return af__adjoint_linear(c, node, g, k);
    if (op == AF_OP_WHERE) {
        af_expr condition, zero = af_constant(c, 0.0);
        condition.id = af__at(c, node)->arg[0];
        return k == 1 ? af_where(c, condition, g, zero) : af_where(c, condition, zero, g);
    }
    return af_mul(c, g, af__partial(c, node, k));
}

/* Elementwise operations that stop derivatives. */
static int af__is_flat(af_op op, size_t k) {
    return op == AF_OP_STOP || op == AF_OP_LESS || op == AF_OP_SIGN || op == AF_OP_FLOOR ||
           op == AF_OP_RANDOM || (op == AF_OP_WHERE && k == 0) ||
           ((op == AF_OP_GATHER || op == AF_OP_SCATTER) && k == 1);
}

/* Sweeps from y down; received[i] is what node i has received so far. */
static void af__reverse(af_context *c, af_expr y, const uint32_t *dependent, const uint32_t *is_x,
                        uint32_t *received) {
    size_t i, k;
    for (i = y.id; i > 0; i--) {
        af__node n = c->graph->node[i];
        af_expr node, g;
        node.id = (uint32_t)i;
        g.id = received[i];
        if (!g.id || !dependent[i] || is_x[i]) continue;
        for (k = 0; k < af__ops[n.op].arity; k++) {
            af_expr sum;
            if (!dependent[n.arg[k]] || af__is_flat(n.op, k)) continue;
            sum.id = received[n.arg[k]];
            received[n.arg[k]] = af__add_some(c, sum, af__adjoint(c, node, g, k)).id;
        }
    }
}

AF_API af_status af_vjp(af_context *c, af_expr y, af_expr weight, size_t count, const af_expr *xs,
                        af_expr *out) {
    af__arena scratch = AF__ZERO;
    uint32_t *dependent, *is_x, *received;
    size_t i, nodes;
    if (!y.id || !weight.id || af__any_zero(count, xs)) return af__fail_none(c, "vjp", count, out);
    if (!af__same_dims(af__at(c, y), af__at(c, weight)->rank, af__at(c, weight)->dim))
        return af__give_none(count, out,
                             af__fail(c, AF_ERROR_SHAPE, "vjp: y %s%s with a weight %s",
                                      af__show(c, y).text, af__show_label(c, y).text,
                                      af__show(c, weight).text));
    nodes = (y.id > af__last_id(count, xs) ? y.id : af__last_id(count, xs)) + (size_t)1;
    dependent = af__scratch_ids(c, &scratch, 3 * nodes);
    if (!dependent) return af__give_none(count, out, c->status);
    is_x = dependent + nodes;
    received = is_x + nodes;
    for (i = 0; i < count; i++) is_x[xs[i].id] = 1;
    af__mark_dependent(c, y.id, count, xs, dependent);
    received[y.id] = weight.id;
    af__reverse(c, y, dependent, is_x, received);
    for (i = 0; i < count; i++) {
        const af__node *x = af__at(c, xs[i]);
        af_expr sum;
        sum.id = received[xs[i].id];
        out[i] = sum.id ? sum : af_full(c, x->rank, x->dim, 0.0);
    }
    af__arena_free(&scratch);
    return c->status == AF_OK ? AF_OK : af__give_none(count, out, c->status);
}

AF_API af_status af_grad(af_context *c, af_expr y, size_t count, const af_expr *xs, af_expr *out) {
    size_t dims[AF_RANK_MAX], rank = af_shape(c, y, dims);
    if (!y.id) return af__fail_none(c, "grad", count, out);
    if (af_size(c, y) != 1)
        return af__give_none(count, out,
                             af__fail(c, AF_ERROR_SHAPE, "grad: y must be a scalar, it is %s%s",
                                      af__show(c, y).text, af__show_label(c, y).text));
    return af_vjp(c, y, af_full(c, rank, dims, 1.0), count, xs, out);
}

/* ---- Laplacian: (tangents, Laplacian) carried together through every node ---- */

static af_expr af__sum_directions(af_context *c, af_expr stacked) {
    size_t i, rank, dims[AF_RANK_MAX], rest[AF_RANK_MAX];
    stacked = af_sum_axis(c, stacked, 0);
    rank = af_shape(c, stacked, dims);
    for (i = 1; i < rank; i++) rest[i - 1] = dims[i];
    return stacked.id ? af_reshape(c, stacked, rank - 1, rest) : stacked;
}

/* f''(x) of a one-argument elementwise operation: the tangent of its slope along 1. */
static af_expr af__curvature(af_context *c, af_op op, af_expr x, af_expr y) {
    af_expr slope = af__slope(c, op, x, y), one, second;
    const af__node *n = af__at(c, x);
    one = af_full(c, n->rank, n->dim, 1.0);
    if (af_jvp(c, 1, &slope, 1, &x, &one, &second) != AF_OK) return af__none;
    return second;
}

/* The part of an elementwise node's Laplacian that is quadratic in the tangents. */
static af_expr af__quadratic(af_context *c, const af__tangents *t, af_expr node) {
    af_op op = af__at(c, node)->op;
    af_expr a, b, ta, tb;
    a.id = af__at(c, node)->arg[0];
    b.id = af__at(c, node)->arg[1];
    ta = af__tangent_of(t, a.id);
    tb = b.id ? af__tangent_of(t, b.id) : af__none;
    if (op == AF_OP_MUL) {
        if (!ta.id || !tb.id) return af__none;
        return af_scale(c, af__sum_directions(c, af_mul(c, ta, tb)), 2.0);
    }
    if (op == AF_OP_ATAN2) { /* d/ds of (x ty - y tx)/r2 along the same line */
        af_expr r2 = af_add(c, af_square(c, a), af_square(c, b));
        af_expr zero = af__tangent_zero(c, t, a), turn, stretch;
        if (!ta.id) ta = zero;
        if (!tb.id) tb = zero;
        turn = af_sub(c, af_mul(c, b, ta), af_mul(c, a, tb));
        stretch = af_add(c, af_mul(c, a, ta), af_mul(c, b, tb));
        return af_scale(
            c, af_div(c, af__sum_directions(c, af_mul(c, turn, stretch)), af_square(c, r2)), -2.0);
    }
    if (af__ops[op].arity != 1 || !ta.id) return af__none;
    return af_mul(c, af__curvature(c, op, a, node), af__sum_directions(c, af_square(c, ta)));
}

static af_expr af__laplacian_matmul(af_context *c, const af__tangents *t, const af__tangents *l,
                                    af_expr node) {
    af_expr a, b, ta, tb, sum;
    sum = af__forward_matmul(c, l, node);
    a.id = af__at(c, node)->arg[0];
    b.id = af__at(c, node)->arg[1];
    ta = af__tangent_of(t, a.id);
    tb = af__tangent_of(t, b.id);
    if (!ta.id || !tb.id) return sum;
    return af__add_some(c, sum, af_scale(c, af__sum_directions(c, af_matmul(c, ta, tb)), 2.0));
}

/* The identity (D, 1.., D) repeated to (D, shape of x): unit tangents along the last axis of x. */
static af_expr af__unit_tangents(af_context *c, af_expr x) {
    size_t i, rank, dims[AF_RANK_MAX], full[AF_RANK_MAX + 1], unit[AF_RANK_MAX + 1], d;
    af__arena scratch = AF__ZERO;
    double *identity;
    af_expr e;
    rank = af_shape(c, x, dims);
    if (rank == 0 || rank + 1 > AF_RANK_MAX) {
        af__fail(c, AF_ERROR_SHAPE, "laplacian: x must have 1 to %d axes, it is %s",
                 AF_RANK_MAX - 1, af__show(c, x).text);
        return af__none;
    }
    d = dims[rank - 1];
    full[0] = unit[0] = d;
    for (i = 0; i < rank; i++) {
        full[i + 1] = dims[i];
        unit[i + 1] = i + 1 == rank ? d : 1;
    }
    scratch.allocator = c->allocator;
    identity = AF__ARRAY(&scratch, double, d * d);
    if (!identity) {
        af__fail_memory(c, "the Laplacian's tangents");
        return af__none;
    }
    for (i = 0; i < d; i++) identity[i * d + i] = 1.0;
    e = af_broadcast(c, af_constant_array(c, rank + 1, unit, identity), rank + 1, full);
    af__arena_free(&scratch);
    return e;
}

static void af__carry(af_context *c, af__tangents *t, af__tangents *l, af_expr node) {
    af_op op = af__at(c, node)->op;
    t->id[node.id] = af__forward(c, t, node).id;
    if (op == AF_OP_MATMUL) {
        l->id[node.id] = af__laplacian_matmul(c, t, l, node).id;
        return;
    }
    l->id[node.id] = af__forward(c, l, node).id;
    if (af__ops[op].kind == AF__ELEMENTWISE) {
        af_expr sum;
        sum.id = l->id[node.id];
        l->id[node.id] = af__add_some(c, sum, af__quadratic(c, t, node)).id;
    }
}

AF_API af_status af_laplacian(af_context *c, af_expr y, af_expr x, af_expr *gradient,
                              af_expr *laplacian) {
    af__arena scratch = AF__ZERO;
    af__tangents t = AF__ZERO, l = AF__ZERO;
    uint32_t *dependent, *needed;
    af_expr unit, node;
    if (gradient) *gradient = af__none;
    if (laplacian) *laplacian = af__none;
    if (!x.id || !y.id)
        return c->status == AF_OK
                   ? af__fail(c, AF_ERROR_ARGUMENT, "laplacian: an expression is none")
                   : c->status;
    unit = af__unit_tangents(c, x);
    if (!unit.id) return c->status;
    t.count = l.count = (y.id > x.id ? y.id : x.id) + (size_t)1;
    t.id = af__scratch_ids(c, &scratch, 4 * t.count);
    if (!t.id) return c->status;
    l.id = t.id + t.count;
    dependent = l.id + t.count;
    needed = dependent + t.count;
    t.extra = 1;
    t.lead = af__at(c, unit)->dim[0];
    t.id[x.id] = unit.id;
    af__mark_dependent(c, y.id, 1, &x, dependent);
    af__mark_needed(c, 1, &y, y.id, needed);
    for (node.id = x.id + 1; node.id <= y.id; node.id++)
        if (dependent[node.id] && needed[node.id]) af__carry(c, &t, &l, node);
    if (gradient && c->status == AF_OK) {
        *gradient = af__tangent_of(&t, y.id);
        if (!gradient->id) *gradient = af__tangent_zero(c, &t, y);
    }
    if (laplacian && c->status == AF_OK) {
        *laplacian = af__tangent_of(&l, y.id);
        if (!laplacian->id) *laplacian = af__tangent_zero(c, &l, y);
    }
    af__arena_free(&scratch);
    return c->status;
}
