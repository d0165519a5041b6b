/* ---- one form for equal values -------------------------------------------------------------------
 *
 * Building looks through no node, since any may be one to differentiate by. When a function is
 * compiled nothing is differentiated any more: pairs of negations and views become one, stops
 * go. */

/* Slices are differentiated into pads; the sum of neighbouring pads is the pad of their
 * concatenation, so that cutting an array into pieces costs one copy in reverse. */
static af_expr af__join_pads(af_context *c, af_expr a, af_expr b) {
    const af__node *na = af__at(c, a), *nb = af__at(c, b);
    af_expr xa, xb, both;
    size_t total, start;
    if (na->op != AF_OP_PAD || nb->op != AF_OP_PAD || na->axis != nb->axis) return af__none;
    if (!af__same_dims(na, nb->rank, nb->dim)) return af__none;
    if (nb->number < na->number) return af__join_pads(c, b, a);
    xa.id = na->arg[0];
    xb.id = nb->arg[0];
    if (na->number + af__at(c, xa)->dim[na->axis] != nb->number) return af__none;
    total = na->dim[na->axis];
    start = (size_t)na->number;
    both = af__concat_two(c, na->axis, xa, xb);
    if (!both.id) return both;
    return af_pad(c, both, (int)af__at(c, both)->axis, start, total);
}

static af_expr af__merge_permutations(af_context *c, af__node n, const af__node *inner) {
    af_expr x;
    uint64_t axes = 0;
    size_t i, moved = 0;
    for (i = 0; i < n.rank; i++) {
        uint64_t axis = inner->number >> (4 * ((n.number >> (4 * i)) & 15u)) & 15u;
        axes |= axis << (4 * i);
        moved |= (size_t)axis ^ i;
    }
    x.id = n.arg[0] = inner->arg[0];
    n.number = axes;
    return moved ? af__intern(c, &n) : x;
}

/* The node, whose arguments are in their one form already, in its own. */
static af_expr af__merge(af_context *c, af__node n) {
    af__node inner = c->graph->node[n.arg[0]];
    af_expr x, y;
    x.id = n.arg[0];
    y.id = inner.arg[0];
    if (n.op == AF_OP_STOP) return x;
    if (n.op == AF_OP_ADD) {
        y.id = n.arg[1];
        y = af__join_pads(c, x, y);
        if (y.id) return y;
    }
    if ((n.op == AF_OP_ADD || n.op == AF_OP_MUL) && n.arg[0] > n.arg[1]) {
        n.arg[0] = n.arg[1];
        n.arg[1] = x.id;
    }
    if (n.op != inner.op) return af__intern(c, &n);
    if (n.op == AF_OP_NEG) return y;
    if (n.op == AF_OP_RESHAPE) return af_reshape(c, y, n.rank, n.dim);
    if (n.op == AF_OP_PERMUTE) return af__merge_permutations(c, n, &inner);
    if (n.op == AF_OP_BROADCAST) n.arg[0] = y.id;
    return af__intern(c, &n);
}

/* The outputs in their one form; NULL when memory is out. */
static af_expr *af__merge_all(af__compiler *k, size_t count, const af_expr *roots) {
    size_t i, a, last = af__last_id(count, roots);
    uint32_t *needed = AF__ARRAY(&k->scratch, uint32_t, last + 1);
    uint32_t *form = AF__ARRAY(&k->scratch, uint32_t, last + 1);
    af_expr *outputs = AF__ARRAY(&k->scratch, af_expr, count);
    if (!needed || !form || !outputs) {
        af__compile_memory(k);
        return NULL;
    }
    af__mark_needed(k->c, count, roots, last, needed);
    for (i = 1; i <= last; i++) {
        af__node n = k->c->graph->node[i];
        form[i] = (uint32_t)i;
        if (!needed[i] || af__ops[n.op].kind == AF__LEAF) continue;
        for (a = 0; a < af__ops[n.op].arity; a++) n.arg[a] = form[n.arg[a]];
        form[i] = af__merge(k->c, n).id;
        if (!form[i]) {
            af__compile_memory(k);
            return NULL;
        }
    }
    for (i = 0; i < count; i++) outputs[i].id = form[roots[i].id];
    return outputs;
}
