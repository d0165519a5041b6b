/* ---- expressions lowered to instructions ----------------------------------------------------- */

/* Where the value of a node is while compiling. */
typedef enum af__place_kind {
    AF__NOWHERE,
    AF__CONSTANT, /* a filled array, never stored */
    AF__ARRAY_AT, /* at `operand`, complete after instruction `ready` */
    AF__REGISTER  /* register `value` of tile group `group` */
} af__place_kind;

typedef struct af__location {
    af__place_kind kind;
    double constant;
    af_operand operand;
    size_t ready; /* 0: from the start; otherwise instruction index + 1 */
    size_t group;
    uint16_t value;
} af__location;

/* A fused run of elementwise operations, still growing. Values are numbered in order of creation:
 * loads and results alike; registers are assigned at the end. */
typedef struct af__group {
    size_t rank, dim[AF_RANK_MAX];
    size_t instr;
    af_operand *load;     /* stb_ds arrays */
    uint16_t *load_value;
    af_micro *micro;
    af_operand *store;
    uint16_t *store_value;
    uint16_t values;
} af__group;

typedef struct af__compiler {
    af_context *c;
    af__arena scratch;
    af__arena *arena; /* of the function */
    af__location *place; /* by node id */
    af_instr *instr;
    af_operand *operand;
    af_micro *micro;
    uint16_t *store;
    af_buffer *buffer;
    size_t *last_use; /* by buffer: instruction index */
    size_t *first_use;
    af__group *group;
    af_precision precision;
    af__dims_text label; /* of the function, for sentences */
    int failed;
} af__compiler;

enum {
    AF__GROUP_MICROS = 96,  /* longer runs gain nothing: the tiles no longer fit the cache */
    AF__GROUP_LOADS = 32,
    AF__GROUP_STORES = 64,  /* beside one for each value */
    AF__GROUPS_BACK = 24    /* how many groups back an operation may join */
};

static void af__compile_memory(af__compiler *k) {
    k->failed = 1;
    af__fail_memory(k->c, "compiling a function");
}

#define AF__ADD_IN(k, arena, array, value)                               \
    do {                                                                 \
        if (!AF__PUSH((arena), (array), (value))) af__compile_memory(k); \
    } while (0)
#define AF__ADD_TO(k, array, value) AF__ADD_IN(k, (k)->arena, array, value)        /* stays */
#define AF__ADD_SCRATCH(k, array, value) AF__ADD_IN(k, &(k)->scratch, array, value) /* goes */

static void af__contiguous(size_t rank, const size_t *dim, size_t *stride) {
    size_t i, step = 1;
    for (i = 0; i < AF_RANK_MAX; i++) stride[i] = 0;
    for (i = rank; i-- > 0;) {
        stride[i] = dim[i] == 1 ? 0 : step;
        step *= dim[i];
    }
}

static int af__is_contiguous(size_t rank, const size_t *dim, const size_t *stride) {
    size_t i, step = 1;
    for (i = rank; i-- > 0;) {
        if (dim[i] == 1) continue;
        if (stride[i] != step) return 0;
        step *= dim[i];
    }
    return 1;
}

static size_t af__new_buffer(af__compiler *k, af_buffer_kind kind, size_t index, size_t size) {
    af_buffer b = AF__ZERO;
    b.kind = kind;
    b.index = index;
    b.size = size;
    AF__ADD_TO(k, k->buffer, b);
    return k->failed ? 0 : AF__LENGTH(k->buffer) - 1;
}

static af_operand af__whole(size_t buffer, size_t rank, const size_t *dim) {
    af_operand o = AF__ZERO;
    o.buffer = buffer;
    af__contiguous(rank, dim, o.stride);
    return o;
}

/* Appends an instruction; 0 when memory is out (the caller sees k->failed). */
static size_t af__emit(af__compiler *k, const af_instr *instr) {
    AF__ADD_TO(k, k->instr, *instr);
    return k->failed ? 0 : AF__LENGTH(k->instr) - 1;
}

static void af__emit_operand(af__compiler *k, const af_operand *o) {
    AF__ADD_TO(k, k->operand, *o);
}

/* ---- tile groups ---- */

static size_t af__group_new(af__compiler *k, size_t rank, const size_t *dim) {
    af__group g = AF__ZERO;
    af_instr instr = AF__ZERO;
    size_t i;
    instr.kind = AF_INSTR_TILE;
    g.rank = rank;
    for (i = 0; i < rank; i++) g.dim[i] = dim[i];
    g.instr = af__emit(k, &instr);
    AF__ADD_SCRATCH(k, k->group, g);
    return k->failed ? 0 : AF__LENGTH(k->group) - 1;
}

static int af__operand_equal(const af_operand *a, const af_operand *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* The value number of an array loaded into the group. */
static uint16_t af__group_load(af__compiler *k, size_t group, const af_operand *o) {
    af__group *g = &k->group[group];
    size_t i;
    for (i = 0; i < AF__LENGTH(g->load); i++)
        if (af__operand_equal(&g->load[i], o)) return g->load_value[i];
    AF__ADD_SCRATCH(k, g->load, *o);
    AF__ADD_SCRATCH(k, g->load_value, g->values);
    return g->values++;
}

static uint16_t af__group_micro(af__compiler *k, size_t group, af_micro m) {
    af__group *g = &k->group[group];
    m.out = g->values++;
    AF__ADD_SCRATCH(k, g->micro, m);
    return m.out;
}

static uint16_t af__group_constant(af__compiler *k, size_t group, double value) {
    af__group *g = &k->group[group];
    af_micro m = AF__ZERO;
    size_t i;
    for (i = 0; i < AF__LENGTH(g->micro); i++)
        if (g->micro[i].op == AF_OP_CONSTANT && af__bits(g->micro[i].value) == af__bits(value))
            return g->micro[i].out;
    m.op = AF_OP_CONSTANT;
    m.value = value;
    return af__group_micro(k, group, m);
}

static void af__group_store(af__compiler *k, size_t group, uint16_t value, const af_operand *o) {
    af__group *g = &k->group[group];
    AF__ADD_SCRATCH(k, g->store, *o);
    AF__ADD_SCRATCH(k, g->store_value, value);
}

/* Gives a register value an array of its own, so that other instructions can read it. */
static void af__materialize(af__compiler *k, af__location *p) {
    af__group *g;
    size_t i, size = 1;
    if (p->kind != AF__REGISTER) return;
    g = &k->group[p->group];
    for (i = 0; i < g->rank; i++) size *= g->dim[i];
    p->operand = af__whole(af__new_buffer(k, AF_BUFFER_WORK, 0, size), g->rank, g->dim);
    p->kind = AF__ARRAY_AT;
    p->ready = g->instr + 1;
    af__group_store(k, p->group, p->value, &p->operand);
}

/* An array of the node's shape for instructions that cannot work with registers or constants. */
static af_operand af__as_array(af__compiler *k, uint32_t id) {
    af__location *p = &k->place[id], filled = AF__ZERO;
    const af__node *n = &k->c->graph->node[id];
    if (p->kind == AF__CONSTANT) {
        filled.group = af__group_new(k, n->rank, n->dim);
        if (k->failed) return filled.operand;
        filled.value = af__group_constant(k, filled.group, p->constant);
        filled.kind = AF__REGISTER;
        p = &filled;
    }
    af__materialize(k, p);
    return p->operand;
}

/* The same, with the elements in C order without gaps. */
static af_operand af__as_contiguous(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id];
    af_operand from = af__as_array(k, id), to;
    size_t group;
    if (k->failed || af__is_contiguous(n->rank, n->dim, from.stride)) return from;
    group = af__group_new(k, n->rank, n->dim);
    to = af__whole(af__new_buffer(k, AF_BUFFER_WORK, 0, af__node_size(n)), n->rank, n->dim);
    if (!k->failed) af__group_store(k, group, af__group_load(k, group, &from), &to);
    return to;
}

/* A value that this group has stored is still in its register here. */
static int af__stored_here(const af__compiler *k, size_t group, const af__location *p,
                           uint16_t *value) {
    const af__group *g = &k->group[group];
    size_t i;
    if (p->kind != AF__ARRAY_AT || p->ready != g->instr + 1) return 0;
    for (i = 0; i < AF__LENGTH(g->store); i++) {
        if (!af__operand_equal(&g->store[i], &p->operand)) continue;
        *value = g->store_value[i];
        return 1;
    }
    return 0;
}

/* Can an operation with these arguments run in this group? Arrays must be complete before it, and
 * registers of other groups must have been computed by earlier ones. */
static int af__group_fits(const af__compiler *k, size_t group, const af__node *n, size_t arity) {
    const af__group *g = &k->group[group];
    size_t i;
    uint16_t value;
    if (!af__same_dims(n, g->rank, g->dim)) return 0;
    if (AF__LENGTH(g->micro) + 4 > AF__GROUP_MICROS || AF__LENGTH(g->load) + 3 > AF__GROUP_LOADS)
        return 0;
    for (i = 0; i < arity; i++) {
        const af__location *p = &k->place[n->arg[i]];
        if (p->kind == AF__ARRAY_AT && p->ready > g->instr && !af__stored_here(k, group, p, &value))
            return 0;
        if (p->kind == AF__REGISTER && p->group != group && k->group[p->group].instr >= g->instr)
            return 0;
    }
    return 1;
}

static size_t af__group_for(af__compiler *k, const af__node *n, size_t arity) {
    size_t i, count = AF__LENGTH(k->group);
    for (i = count; i-- > 0 && count - i <= AF__GROUPS_BACK;)
        if (af__group_fits(k, i, n, arity)) return i;
    return af__group_new(k, n->rank, n->dim);
}

static uint16_t af__group_value(af__compiler *k, size_t group, uint32_t id) {
    af__location *p = &k->place[id];
    uint16_t value;
    if (p->kind == AF__CONSTANT) return af__group_constant(k, group, p->constant);
    if (p->kind == AF__REGISTER && p->group == group) return p->value;
    if (af__stored_here(k, group, p, &value)) return value;
    af__materialize(k, p);
    return af__group_load(k, group, &p->operand);
}

static void af__lower_elementwise(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id];
    size_t i, arity = af__ops[n->op].arity;
    size_t group = af__group_for(k, n, arity);
    af_micro m = AF__ZERO;
    if (k->failed) return;
    m.op = n->op;
    m.stream = n->number;
    for (i = 0; i < arity; i++) m.in[i] = af__group_value(k, group, n->arg[i]);
    k->place[id].kind = AF__REGISTER;
    k->place[id].group = group;
    k->place[id].value = af__group_micro(k, group, m);
}

/* ---- views ---- */

/* Strides of a reshaped view without a copy, where the layout allows it: axes are matched in runs
 * of equal size, and each run of the old shape must be evenly spaced. */
static int af__reshape_strides(const af__node *from, const size_t *stride, const af__node *to,
                               size_t *out) {
    size_t dim[AF_RANK_MAX], step[AF_RANK_MAX], rank = 0, i, j = 0, k;
    for (i = 0; i < AF_RANK_MAX; i++) out[i] = 0;
    for (i = 0; i < from->rank; i++) {
        if (from->dim[i] == 1) continue;
        dim[rank] = from->dim[i];
        step[rank++] = stride[i];
    }
    for (i = 0; i < rank;) {
        size_t first = j, left = dim[i++], right = to->dim[j++], next;
        while (left != right) {
            if (right < left) {
                right *= to->dim[j++];
                continue;
            }
            if (step[i - 1] != step[i] * dim[i]) return 0;
            left *= dim[i++];
        }
        next = step[i - 1];
        for (k = j; k-- > first;) {
            out[k] = next;
            next *= to->dim[k];
        }
    }
    return 1;
}

static void af__lower_view(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id];
    const af__node *from = &k->c->graph->node[n->arg[0]];
    af__location *p = &k->place[id], *q = &k->place[n->arg[0]];
    af_operand o;
    size_t i;
    if (q->kind == AF__CONSTANT) {
        *p = *q; /* the same constant in another shape */
        return;
    }
    af__materialize(k, q);
    o = q->operand;
    p->kind = AF__ARRAY_AT;
    p->ready = q->ready;
    switch (n->op) {
    case AF_OP_BROADCAST:
        for (i = 0; i < n->rank; i++)
            if (from->dim[i] != n->dim[i]) o.stride[i] = 0;
        break;
    case AF_OP_SLICE: o.offset += (size_t)n->number * o.stride[n->axis]; break;
    case AF_OP_PERMUTE:
        for (i = 0; i < n->rank; i++) o.stride[i] = q->operand.stride[(n->number >> (4 * i)) & 15u];
        break;
    default: /* RESHAPE */
        if (!af__reshape_strides(from, q->operand.stride, n, o.stride)) {
            o = af__as_contiguous(k, n->arg[0]);
            p->ready = AF__LENGTH(k->instr);
            af__contiguous(n->rank, n->dim, o.stride);
        }
    }
    for (i = 0; i < n->rank; i++)
        if (n->dim[i] == 1) o.stride[i] = 0;
    p->operand = o;
}

/* ---- the other instructions ---- */

static void af__place_result(af__compiler *k, uint32_t id, const af_operand *o) {
    k->place[id].kind = AF__ARRAY_AT;
    k->place[id].operand = *o;
    k->place[id].ready = AF__LENGTH(k->instr);
}

static af_operand af__result(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id];
    return af__whole(af__new_buffer(k, AF_BUFFER_WORK, 0, af__node_size(n)), n->rank, n->dim);
}

/* Merges neighbouring axes [first, last) that every operand walks evenly, drops those of length 1;
 * returns the number of axes left. */
static size_t af__collapse(size_t first, size_t last, size_t *dim, size_t count,
                           af_operand *operand) {
    size_t i, k, out = first;
    for (i = first; i < last; i++) {
        int merge = out > first;
        if (dim[i] == 1) continue;
        for (k = 0; k < count && merge; k++)
            if (operand[k].stride[out - 1] != operand[k].stride[i] * dim[i]) merge = 0;
        if (merge) out--;
        dim[out] = merge ? dim[out] * dim[i] : dim[i];
        for (k = 0; k < count; k++) operand[k].stride[out] = operand[k].stride[i];
        out++;
    }
    return out;
}

enum { AF__SUM_WORK = 65536 }; /* additions that are worth a chunk of their own */

/* Outputs that one chunk of a sum makes. */
static size_t af__sum_block(size_t inner) {
    return af__clamp(AF__SUM_WORK / inner, 1, AF__SUM_WORK);
}

/* Parts of a long reduction to few outputs: at most 64, of about AF__SUM_WORK additions each. */
static size_t af__sum_chunks(size_t outer, size_t inner) {
    if (outer / af__sum_block(inner) >= 8) return 1; /* the outputs give enough chunks */
    return af__clamp(outer * inner / AF__SUM_WORK, 1, inner < 64 ? inner : 64);
}

/* A product that is summed and used nowhere else is not lowered itself (af__skip_summed). */
static size_t af__sum_operands(af__compiler *k, uint32_t id, af_operand *o) {
    const af__node *n = &k->c->graph->node[id];
    if (n->op != AF_OP_MUL || k->place[id].kind != AF__NOWHERE) {
        o[0] = o[1] = af__as_array(k, id);
        return 1;
    }
    o[0] = af__as_array(k, n->arg[0]);
    o[1] = af__as_array(k, n->arg[1]);
    return 2;
}

/* Axes of x that are summed, or those that are not, appended to the instruction's. */
static void af__sum_axes(af_instr *instr, const af__node *from, uint64_t axes, int summed,
                         const af_operand *x, af_operand *o, size_t *length) {
    size_t i, q;
    for (i = 0; i < from->rank; i++) {
        if ((int)(axes >> i & 1u) != summed) continue;
        instr->dim[instr->rank] = from->dim[i];
        for (q = 0; q < 3; q++)
            o[q].stride[instr->rank] = q == 2 && summed ? 0 : x[q].stride[i];
        *length *= from->dim[i];
        instr->rank++;
    }
}

static void af__lower_sum(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id];
    const af__node *from = &k->c->graph->node[n->arg[0]];
    af_operand x[3], o[3];
    af_instr instr = AF__ZERO;
    size_t kept, outer = 1, inner = 1, i;
    instr.kind = AF_INSTR_SUM;
    instr.factors = af__sum_operands(k, n->arg[0], x);
    x[2] = af__result(k, id);
    for (i = 0; i < 3; i++) o[i] = x[i];
    af__sum_axes(&instr, from, n->number, 0, x, o, &outer); /* kept axes first */
    kept = instr.rank = af__collapse(0, instr.rank, instr.dim, 3, o);
    af__sum_axes(&instr, from, n->number, 1, x, o, &inner);
    instr.rank = af__collapse(kept, instr.rank, instr.dim, 3, o);
    instr.inner = instr.rank - kept;
    instr.chunks = af__sum_chunks(outer, inner);
    instr.scratch = AF_NO_BUFFER;
    if (instr.chunks > 1)
        instr.scratch = af__new_buffer(k, AF_BUFFER_WORK, 0, instr.chunks * outer);
    instr.operand = AF__LENGTH(k->operand);
    for (i = 0; i < 3; i++) af__emit_operand(k, &o[i]);
    af__emit(k, &instr);
    af__place_result(k, id, &x[2]);
}

static void af__lower_matmul(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id];
    size_t i, b = n->rank - 2;
    af_operand x[3], result = af__result(k, id);
    af_instr instr = AF__ZERO;
    x[0] = af__as_array(k, n->arg[0]);
    x[1] = af__as_array(k, n->arg[1]);
    x[2] = result;
    for (i = 0; i < b; i++) instr.dim[i] = n->dim[i];
    if (b > 0) { /* batch axes are merged, those of the matrices stay behind them */
        size_t s0[2], s1[2], s2[2];
        s0[0] = x[0].stride[b]; s0[1] = x[0].stride[b + 1];
        s1[0] = x[1].stride[b]; s1[1] = x[1].stride[b + 1];
        s2[0] = x[2].stride[b]; s2[1] = x[2].stride[b + 1];
        b = af__collapse(0, b, instr.dim, 3, x);
        x[0].stride[b] = s0[0]; x[0].stride[b + 1] = s0[1];
        x[1].stride[b] = s1[0]; x[1].stride[b + 1] = s1[1];
        x[2].stride[b] = s2[0]; x[2].stride[b + 1] = s2[1];
    }
    instr.kind = AF_INSTR_MATMUL;
    instr.rank = b + 3;
    instr.dim[b] = n->dim[n->rank - 2];
    instr.dim[b + 1] = n->dim[n->rank - 1];
    instr.dim[b + 2] = k->c->graph->node[n->arg[0]].dim[n->rank - 1];
    instr.operand = AF__LENGTH(k->operand);
    for (i = 0; i < 3; i++) af__emit_operand(k, &x[i]);
    af__emit(k, &instr);
    af__place_result(k, id, &result);
}

/* Copies a node's value into a part of an array that exists already. */
static void af__copy_into(af__compiler *k, uint32_t id, const af_operand *to) {
    const af__node *n = &k->c->graph->node[id];
    af__location *p = &k->place[id];
    size_t group;
    if (p->kind == AF__REGISTER) {
        if (AF__LENGTH(k->group[p->group].store) < AF__GROUP_STORES) {
            af__group_store(k, p->group, p->value, to);
            return;
        }
        af__materialize(k, p);
    }
    group = af__group_new(k, n->rank, n->dim);
    if (k->failed) return;
    if (p->kind == AF__CONSTANT)
        af__group_store(k, group, af__group_constant(k, group, p->constant), to);
    else
        af__group_store(k, group, af__group_load(k, group, &p->operand), to);
}

static void af__lower_pad(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id];
    af_operand all = af__result(k, id), part = all;
    af_instr zero = AF__ZERO;
    if (k->place[n->arg[0]].kind == AF__REGISTER) af__materialize(k, &k->place[n->arg[0]]);
    zero.kind = AF_INSTR_ZERO;
    zero.operand = AF__LENGTH(k->operand);
    af__emit_operand(k, &all);
    af__emit(k, &zero);
    part.offset += (size_t)n->number * all.stride[n->axis];
    af__copy_into(k, n->arg[0], &part);
    af__place_result(k, id, &all);
}

/* A left-deep tree of concatenations along one axis is laid out in one buffer. */
static void af__lower_concat(af__compiler *k, uint32_t id) {
    const af__node *node = k->c->graph->node, *n = &node[id];
    af_operand all = af__result(k, id), part;
    size_t end = n->dim[n->axis];
    uint32_t tree = id;
    while (!k->failed) {
        uint32_t right = node[tree].arg[1], left = node[tree].arg[0];
        part = all;
        end -= node[right].dim[n->axis];
        part.offset += end * all.stride[n->axis];
        af__copy_into(k, right, &part);
        if (node[left].op != AF_OP_CONCAT || node[left].axis != n->axis) {
            af__copy_into(k, left, &all);
            break;
        }
        tree = left;
    }
    af__place_result(k, id, &all);
}

static void af__lower_rows(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id], *from = &k->c->graph->node[n->arg[0]];
    af_operand x = af__as_contiguous(k, n->arg[0]), index = af__as_contiguous(k, n->arg[1]);
    af_operand o = af__result(k, id);
    af_instr instr = AF__ZERO;
    size_t i, length = 1, rows = n->op == AF_OP_GATHER ? from->dim[0] : n->dim[0];
    if (k->precision == AF_F32 && rows > (size_t)1 << 24) { /* not every whole number is a float */
        k->failed = 1;
        af__fail(k->c, AF_ERROR_SHAPE, "compile%s: %s: %lu rows, an index in f32 reaches 16777216",
                 k->label.text, af__ops[n->op].text, (unsigned long)rows);
        return;
    }
    for (i = 1; i < n->rank; i++) length *= n->dim[i];
    instr.kind = n->op == AF_OP_GATHER ? AF_INSTR_GATHER : AF_INSTR_SCATTER;
    instr.rank = 3;
    instr.dim[0] = k->c->graph->node[n->arg[1]].dim[0];
    instr.dim[1] = length;
    instr.dim[2] = rows;
    instr.operand = AF__LENGTH(k->operand);
    af__emit_operand(k, &x);
    af__emit_operand(k, &index);
    af__emit_operand(k, &o);
    af__emit(k, &instr);
    af__place_result(k, id, &o);
}
