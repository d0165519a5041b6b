/* ---- one form for equal values ------------------------------------------------------------------
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

/* What is being merged: the form of each node that is needed, and how often it is used. */
typedef struct af__merging {
    af_context *c;
    uint32_t *form, *uses;
} af__merging;

static af_expr af__merged_transpose(af_context *c, af_expr x) {
    af_expr t = af_transpose(c, x);
    return t.id ? af__merge(c, *af__at(c, t)) : t;
}

static int af__is_transpose(const af__node *n) {
    uint64_t axes = 0;
    size_t i;
    for (i = 0; i < n->rank; i++)
        axes |= (uint64_t)(i + 2 < n->rank ? i : 2 * n->rank - 3 - i) << (4 * i);
    return n->op == AF_OP_PERMUTE && n->rank > 1 && n->number == axes;
}

/* The transpose of a node, where it is used by no other: (A B)^T = B^T A^T costs nothing, while
 * reading a result against its order does. Gradients of weights are such sums of products. */
static af_expr af__transposed(const af__merging *m, uint32_t id) {
    const af__node n = m->c->graph->node[id];
    af_expr a, b;
    if (m->uses[id] == 1 && n.op == AF_OP_ADD) {
        a = af__transposed(m, n.arg[0]);
        b = af__transposed(m, n.arg[1]);
        return a.id && b.id ? af_add(m->c, a, b) : af__none;
    }
    a.id = m->form[n.arg[0]];
    b.id = m->form[n.arg[1]];
    if (m->uses[id] == 1 && n.op == AF_OP_MATMUL)
        return af_matmul(m->c, af__merged_transpose(m->c, b), af__merged_transpose(m->c, a));
    a.id = m->form[id];
    return af__merged_transpose(m->c, a);
}

static af_expr af__merged(const af__merging *m, size_t id) {
    af__node n = m->c->graph->node[id];
    size_t a;
    if (af__is_transpose(&n)) {
        af_op op = m->c->graph->node[n.arg[0]].op;
        if (op == AF_OP_ADD || op == AF_OP_MATMUL) return af__transposed(m, n.arg[0]);
    }
    for (a = 0; a < af__ops[n.op].arity; a++) n.arg[a] = m->form[n.arg[a]];
    return af__merge(m->c, n);
}

static void af__count_uses(const af_context *c, size_t count, const af_expr *roots, size_t last,
                           const uint32_t *needed, uint32_t *uses) {
    size_t i, a;
    for (i = 1; i <= last; i++) {
        const af__node *n = &c->graph->node[i];
        for (a = 0; needed[i] && a < af__ops[n->op].arity; a++) uses[n->arg[a]]++;
    }
    for (i = 0; i < count; i++) uses[roots[i].id]++;
}

/* The outputs in their one form; NULL when memory is out. */
static af_expr *af__merge_all(af__compiler *k, size_t count, const af_expr *roots) {
    size_t i, last = af__last_id(count, roots);
    uint32_t *needed = AF__ARRAY(&k->scratch, uint32_t, last + 1);
    af_expr *outputs = AF__ARRAY(&k->scratch, af_expr, count);
    af__merging m;
    m.c = k->c;
    m.form = AF__ARRAY(&k->scratch, uint32_t, last + 1);
    m.uses = AF__ARRAY(&k->scratch, uint32_t, last + 1);
    if (!needed || !m.form || !m.uses || !outputs) {
        af__compile_memory(k);
        return NULL;
    }
    af__mark_needed(k->c, count, roots, last, needed);
    af__count_uses(k->c, count, roots, last, needed, m.uses);
    for (i = 1; i <= last; i++) {
        m.form[i] = (uint32_t)i;
        if (!needed[i] || af__ops[k->c->graph->node[i].op].kind == AF__LEAF) continue;
        m.form[i] = af__merged(&m, i).id;
        if (!m.form[i]) {
            af__compile_memory(k);
            return NULL;
        }
    }
    for (i = 0; i < count; i++) outputs[i].id = m.form[roots[i].id];
    return outputs;
}
