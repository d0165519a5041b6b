/* ---- functions ------------------------------------------------------------------------------- */

struct af_func {
    af__arena arena;
    af_program program;
    const af_backend *backend;
};

struct af_workspace {
    af_allocator allocator;
    const af_func *func;
    void *state;
};

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
    int failed;
} af__compiler;

enum {
    AF__GROUP_MICROS = 96,  /* longer runs gain nothing: the tiles no longer fit the cache */
    AF__GROUP_LOADS = 32,
    AF__GROUP_STORES = 64,  /* beside one for each value */
    AF__GROUPS_BACK = 24    /* how many groups back an operation may join */
};

/* " 'label'" or "". */
static af__dims_text af__func_label(const af_func_desc *d) {
    af__dims_text s;
    s.text[0] = 0;
    if (d->label) snprintf(s.text, sizeof s.text, " '%.80s'", d->label);
    return s;
}

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

static void af__lower_sum(af__compiler *k, uint32_t id) {
    const af__node *n = &k->c->graph->node[id];
    const af__node *from = &k->c->graph->node[n->arg[0]];
    af_operand x = af__as_array(k, n->arg[0]), o = af__result(k, id), two[2];
    af_instr instr = AF__ZERO;
    size_t i, axis = 0, outer_end, outer = 1, inner = 1;
    two[0] = x;
    two[1] = o;
    for (i = 0; i < from->rank; i++) { /* kept axes first */
        if (n->number >> i & 1u) continue;
        instr.dim[axis] = from->dim[i];
        two[0].stride[axis] = x.stride[i];
        two[1].stride[axis++] = o.stride[i];
        outer *= from->dim[i];
    }
    outer_end = af__collapse(0, axis, instr.dim, 2, two);
    axis = outer_end;
    for (i = 0; i < from->rank; i++) {
        if (!(n->number >> i & 1u)) continue;
        instr.dim[axis] = from->dim[i];
        two[0].stride[axis] = x.stride[i];
        two[1].stride[axis++] = 0;
        inner *= from->dim[i];
    }
    instr.rank = af__collapse(outer_end, axis, instr.dim, 2, two);
    instr.kind = AF_INSTR_SUM;
    instr.inner = instr.rank - outer_end;
    instr.chunks = af__sum_chunks(outer, inner);
    instr.scratch = AF_NO_BUFFER;
    if (instr.chunks > 1)
        instr.scratch = af__new_buffer(k, AF_BUFFER_WORK, 0, instr.chunks * outer);
    instr.operand = AF__LENGTH(k->operand);
    af__emit_operand(k, &two[0]);
    af__emit_operand(k, &two[1]);
    af__emit(k, &instr);
    af__place_result(k, id, &o);
}

static void af__lower_matmul(af__compiler *k, uint32_t id, af_precision precision) {
    const af__node *n = &k->c->graph->node[id];
    size_t i, b = n->rank - 2, size;
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
    af__gemm_plan(precision == AF_F64 ? sizeof(double) : sizeof(float), instr.dim[b],
                  instr.dim[b + 1], instr.dim[b + 2], &instr.chunks, &size);
    instr.scratch = AF_NO_BUFFER;
    if (size) instr.scratch = af__new_buffer(k, AF_BUFFER_WORK, 0, size);
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

static void af__lower_rows(af__compiler *k, uint32_t id, const af_func_desc *d) {
    const af__node *n = &k->c->graph->node[id], *from = &k->c->graph->node[n->arg[0]];
    af_operand x = af__as_contiguous(k, n->arg[0]), index = af__as_contiguous(k, n->arg[1]);
    af_operand o = af__result(k, id);
    af_instr instr = AF__ZERO;
    size_t i, length = 1, rows = n->op == AF_OP_GATHER ? from->dim[0] : n->dim[0];
    if (d->precision == AF_F32 && rows > (size_t)1 << 24) { /* not every whole number is a float */
        k->failed = 1;
        af__fail(k->c, AF_ERROR_SHAPE, "compile%s: %s: %lu rows, an index in f32 reaches 16777216",
                 af__func_label(d).text, af__ops[n->op].text, (unsigned long)rows);
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

/* ---- the passes ---- */

static void af__lower_leaf(af__compiler *k, uint32_t id, const af_func_desc *d) {
    const af__node *n = &k->c->graph->node[id];
    af__location *p = &k->place[id];
    size_t buffer;
    if (n->op == AF_OP_CONSTANT) {
        p->kind = AF__CONSTANT;
        p->constant = n->value;
    } else if (n->op == AF_OP_TENSOR) {
        double *copy = AF__ARRAY(k->arena, double, af__node_size(n));
        buffer = af__new_buffer(k, AF_BUFFER_TENSOR, 0, af__node_size(n));
        if (!copy) af__compile_memory(k);
        if (k->failed) return;
        memcpy(copy, n->data, af__node_size(n) * sizeof *copy);
        k->buffer[buffer].data = copy;
        p->operand = af__whole(buffer, n->rank, n->dim);
        p->kind = AF__ARRAY_AT;
    } else if (p->kind == AF__NOWHERE) {
        k->failed = 1;
        af__fail(k->c, AF_ERROR_ARGUMENT,
                 "compile%s: the input '%s' %s is used but is not in the list of inputs",
                 af__func_label(d).text, n->label ? n->label : "without label",
                 af__show_dims(n->rank, n->dim).text);
    }
}

static void af__lower(af__compiler *k, uint32_t id, const af_func_desc *d) {
    af_op op = k->c->graph->node[id].op;
    switch (af__ops[op].kind) {
    case AF__LEAF: af__lower_leaf(k, id, d); break;
    case AF__ELEMENTWISE: af__lower_elementwise(k, id); break;
    case AF__VIEW: af__lower_view(k, id); break;
    case AF__BILINEAR: af__lower_matmul(k, id, d->precision); break;
    default:
        if (op == AF_OP_SUM) af__lower_sum(k, id);
        else if (op == AF_OP_PAD) af__lower_pad(k, id);
        else if (op == AF_OP_CONCAT) af__lower_concat(k, id);
        else af__lower_rows(k, id, d);
    }
}

/* A concatenation inside another one along the same axis gets no buffer of its own. */
static void af__skip_inner_concats(const af_context *c, size_t last, uint32_t *needed,
                                   uint32_t *uses, size_t outputs, const af_expr *output) {
    size_t i, k;
    for (i = 1; i <= last; i++) {
        const af__node *n = &c->graph->node[i];
        if (!needed[i]) continue;
        for (k = 0; k < af__ops[n->op].arity; k++)
            if (!(k == 0 && n->op == AF_OP_CONCAT && c->graph->node[n->arg[0]].op == AF_OP_CONCAT &&
                  c->graph->node[n->arg[0]].axis == n->axis))
                uses[n->arg[k]]++;
    }
    for (i = 0; i < outputs; i++) uses[output[i].id]++;
    for (i = 1; i <= last; i++)
        if (c->graph->node[i].op == AF_OP_CONCAT && uses[i] == 0) needed[i] = 0;
}

static void af__bind_inputs(af__compiler *k, const af_func_desc *d) {
    size_t i;
    for (i = 0; i < d->input_count && !k->failed; i++) {
        const af__node *n = af__at(k->c, d->inputs[i]);
        af__location *p = &k->place[d->inputs[i].id];
        if (n->op != AF_OP_INPUT || p->kind != AF__NOWHERE) {
            k->failed = 1;
            af__fail(k->c, AF_ERROR_ARGUMENT, "compile%s: input %lu of the list is %s",
                     af__func_label(d).text, (unsigned long)i,
                     n->op != AF_OP_INPUT ? "not made by af_input" : "there twice");
            return;
        }
        p->kind = AF__ARRAY_AT;
        p->operand = af__whole(af__new_buffer(k, AF_BUFFER_INPUT, i, af__node_size(n)), n->rank,
                               n->dim);
    }
}

/* An output is written where it is made if its array is its own; otherwise it is copied. */
static void af__bind_output(af__compiler *k, af_expr x, size_t index) {
    const af__node *n = af__at(k->c, x);
    af__location *p = &k->place[x.id];
    af_operand to;
    if (p->kind == AF__ARRAY_AT && k->buffer[p->operand.buffer].kind == AF_BUFFER_WORK &&
        p->operand.offset == 0 && k->buffer[p->operand.buffer].size == af__node_size(n) &&
        af__is_contiguous(n->rank, n->dim, p->operand.stride)) {
        k->buffer[p->operand.buffer].kind = AF_BUFFER_OUTPUT;
        k->buffer[p->operand.buffer].index = index;
        return;
    }
    to = af__whole(af__new_buffer(k, AF_BUFFER_OUTPUT, index, af__node_size(n)), n->rank, n->dim);
    if (!k->failed) af__copy_into(k, x.id, &to);
}

/* Registers of a group by last use; the loads come first. */
static void af__assign_registers(af__compiler *k, af__group *g, af_instr *instr) {
    size_t i, a, loads = AF__LENGTH(g->load), micros = AF__LENGTH(g->micro), used = loads;
    uint16_t *reg = AF__ARRAY(&k->scratch, uint16_t, (size_t)g->values + 1);
    size_t *last = AF__ARRAY(&k->scratch, size_t, (size_t)g->values + 1);
    uint16_t *free_list = AF__ARRAY(&k->scratch, uint16_t, (size_t)g->values + 1);
    size_t free_count = 0;
    if (!reg || !last || !free_list) {
        af__compile_memory(k);
        return;
    }
    for (i = 0; i < micros; i++)
        for (a = 0; a < af__ops[g->micro[i].op].arity; a++) last[g->micro[i].in[a]] = i;
    for (i = 0; i < AF__LENGTH(g->store); i++) last[g->store_value[i]] = SIZE_MAX;
    for (i = 0; i < loads; i++) {
        reg[g->load_value[i]] = (uint16_t)i;
        /* a load may be the caller's memory: never overwritten */
        last[g->load_value[i]] = SIZE_MAX;
    }
    for (i = 0; i < micros; i++) {
        af_micro *m = &g->micro[i];
        uint16_t out = m->out;
        size_t arity = af__ops[m->op].arity;
        if (m->op == AF_OP_CONSTANT) last[out] = SIZE_MAX; /* filled once for all tiles */
        /* a constant is there before the first operation: its register is its own */
        reg[out] =
            free_count && m->op != AF_OP_CONSTANT ? free_list[--free_count] : (uint16_t)used++;
        for (a = 0; a < arity; a++) {
            uint16_t v = m->in[a];
            size_t b, again = 0;
            for (b = 0; b < a; b++) again |= (size_t)(m->in[b] == v);
            if (last[v] == i && !again) free_list[free_count++] = reg[v];
        }
        for (a = 0; a < arity; a++) m->in[a] = reg[m->in[a]];
        m->out = reg[out];
    }
    for (i = 0; i < AF__LENGTH(g->store); i++) g->store_value[i] = reg[g->store_value[i]];
    instr->registers = used;
}

/* Writes a finished group into its instruction. */
static void af__finish_group(af__compiler *k, af__group *g) {
    af_instr *instr = &k->instr[g->instr];
    size_t i, loads = AF__LENGTH(g->load), stores = AF__LENGTH(g->store);
    af_operand *all = AF__ARRAY(&k->scratch, af_operand, loads + stores);
    if (!all) {
        af__compile_memory(k);
        return;
    }
    af__assign_registers(k, g, instr);
    for (i = 0; i < loads; i++) all[i] = g->load[i];
    for (i = 0; i < stores; i++) all[loads + i] = g->store[i];
    for (i = 0; i < g->rank; i++) instr->dim[i] = g->dim[i];
    instr->rank = af__collapse(0, g->rank, instr->dim, loads + stores, all);
    if (instr->rank == 0) {
        instr->rank = 1;
        instr->dim[0] = 1;
        for (i = 0; i < loads + stores; i++) all[i].stride[0] = 1;
    }
    instr->operand = AF__LENGTH(k->operand);
    instr->loads = loads;
    instr->stores = stores;
    instr->micro = AF__LENGTH(k->micro);
    instr->micros = AF__LENGTH(g->micro);
    instr->store_register = AF__LENGTH(k->store);
    for (i = 0; i < loads + stores; i++) af__emit_operand(k, &all[i]);
    for (i = 0; i < instr->micros; i++) AF__ADD_TO(k, k->micro, g->micro[i]);
    for (i = 0; i < stores; i++) AF__ADD_TO(k, k->store, g->store_value[i]);
}

/* ---- memory by last use ---- */

static size_t af__operand_count(const af_instr *instr) {
    switch (instr->kind) {
    case AF_INSTR_TILE: return instr->loads + instr->stores;
    case AF_INSTR_SUM: return 2;
    case AF_INSTR_ZERO: return 1;
    default: return 3;
    }
}

static void af__note_use(af__compiler *k, size_t buffer, size_t at) {
    if (k->first_use[buffer] == SIZE_MAX) k->first_use[buffer] = at;
    k->last_use[buffer] = at;
}

static void af__find_uses(af__compiler *k) {
    size_t i, j, buffers = AF__LENGTH(k->buffer);
    k->first_use = AF__ARRAY(&k->scratch, size_t, buffers);
    k->last_use = AF__ARRAY(&k->scratch, size_t, buffers);
    if (!k->first_use || !k->last_use) {
        af__compile_memory(k);
        return;
    }
    for (i = 0; i < buffers; i++) k->first_use[i] = SIZE_MAX;
    for (i = 0; i < AF__LENGTH(k->instr); i++) {
        const af_instr *instr = &k->instr[i];
        for (j = 0; j < af__operand_count(instr); j++)
            af__note_use(k, k->operand[instr->operand + j].buffer, i);
        if ((instr->kind == AF_INSTR_SUM || instr->kind == AF_INSTR_MATMUL) &&
            instr->scratch != AF_NO_BUFFER)
            af__note_use(k, instr->scratch, i);
    }
}

typedef struct af__hole {
    size_t offset, size;
} af__hole;

/* Takes the tightest hole that fits, or the end of memory. Sizes are multiples of 64 bytes in
 * f32. */
static size_t af__take_hole(af__hole *hole, size_t *holes, size_t size, size_t *top) {
    size_t i, best = *holes, offset;
    for (i = 0; i < *holes; i++)
        if (hole[i].size >= size && (best == *holes || hole[i].size < hole[best].size)) best = i;
    if (best == *holes) {
        offset = *top;
        *top += size;
        return offset;
    }
    offset = hole[best].offset;
    hole[best].offset += size;
    hole[best].size -= size;
    if (hole[best].size == 0) hole[best] = hole[--*holes];
    return offset;
}

static void af__return_hole(af__hole *hole, size_t *holes, size_t offset, size_t size) {
    size_t i;
    for (i = 0; i < *holes;) { /* merge with the neighbours */
        if (hole[i].offset + hole[i].size == offset || offset + size == hole[i].offset) {
            if (hole[i].offset < offset) offset = hole[i].offset;
            size += hole[i].size;
            hole[i] = hole[--*holes];
            i = 0;
        } else {
            i++;
        }
    }
    hole[*holes].offset = offset;
    hole[(*holes)++].size = size;
}

static size_t af__plan_memory(af__compiler *k) {
    size_t i, at, holes = 0, top = 0, buffers = AF__LENGTH(k->buffer);
    af__hole *hole = AF__ARRAY(&k->scratch, af__hole, buffers + 1);
    if (!hole) {
        af__compile_memory(k);
        return 0;
    }
    for (at = 0; at < AF__LENGTH(k->instr); at++) {
        for (i = 0; i < buffers; i++)
            if (k->buffer[i].kind == AF_BUFFER_WORK && k->first_use[i] == at)
                k->buffer[i].offset =
                    af__take_hole(hole, &holes, af__round_up(k->buffer[i].size, 16), &top);
        if (top > SIZE_MAX / 64) { /* no machine has it; bytes must not overflow */
            af__compile_memory(k);
            return 0;
        }
        for (i = 0; i < buffers; i++)
            if (k->buffer[i].kind == AF_BUFFER_WORK && k->first_use[i] != SIZE_MAX &&
                k->last_use[i] == at)
                af__return_hole(hole, &holes, k->buffer[i].offset,
                                af__round_up(k->buffer[i].size, 16));
    }
    return top;
}

/* ---- one form for equal values ----
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
static af_expr *af__merge_all(af__compiler *k, const af_func_desc *d) {
    size_t i, a, last = af__last_id(d->output_count, d->outputs);
    uint32_t *needed = AF__ARRAY(&k->scratch, uint32_t, last + 1);
    uint32_t *form = AF__ARRAY(&k->scratch, uint32_t, last + 1);
    af_expr *outputs = AF__ARRAY(&k->scratch, af_expr, d->output_count);
    if (!needed || !form || !outputs) {
        af__compile_memory(k);
        return NULL;
    }
    af__mark_needed(k->c, d->output_count, d->outputs, last, needed);
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
    for (i = 0; i < d->output_count; i++) outputs[i].id = form[d->outputs[i].id];
    return outputs;
}

/* ---- af_compile ---- */

static void af__compile_nodes(af__compiler *k, const af_func_desc *d) {
    af_expr *outputs = af__merge_all(k, d);
    uint32_t *needed, *uses;
    size_t i, last, nodes = AF__LENGTH(k->c->graph->node);
    if (!outputs) return;
    /* never NULL: backends add offsets to them */
    if (!AF__RESERVE(k->arena, k->micro, 1) || !AF__RESERVE(k->arena, k->store, 1)) {
        af__compile_memory(k);
        return;
    }
    last = af__last_id(d->output_count, outputs);
    k->place = AF__ARRAY(&k->scratch, af__location, nodes);
    needed = AF__ARRAY(&k->scratch, uint32_t, nodes);
    uses = AF__ARRAY(&k->scratch, uint32_t, nodes);
    if (!k->place || !needed || !uses) {
        af__compile_memory(k);
        return;
    }
    af__mark_needed(k->c, d->output_count, outputs, last, needed);
    af__skip_inner_concats(k->c, last, needed, uses, d->output_count, outputs);
    af__bind_inputs(k, d);
    for (i = 1; i <= last && !k->failed; i++)
        if (needed[i]) af__lower(k, (uint32_t)i, d);
    for (i = 0; i < d->output_count && !k->failed; i++) af__bind_output(k, outputs[i], i);
    for (i = 0; i < AF__LENGTH(k->group) && !k->failed; i++) af__finish_group(k, &k->group[i]);
}

static af_status af__check_desc(af_context *c, const af_func_desc *d) {
    size_t i;
    if (c->status != AF_OK) return c->status; /* the first error made while building */
    if (!d) return af__fail(c, AF_ERROR_ARGUMENT, "compile: there is no af_func_desc");
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "compile: af_func_desc was not initialised to zero");
    if (d->output_count == 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "compile%s: there are no outputs",
                        af__func_label(d).text);
    for (i = 0; i < d->output_count; i++)
        if (!d->outputs[i].id)
            return af__fail(c, AF_ERROR_ARGUMENT, "compile%s: output %lu is none",
                            af__func_label(d).text, (unsigned long)i);
    for (i = 0; i < d->input_count; i++)
        if (!d->inputs[i].id)
            return af__fail(c, AF_ERROR_ARGUMENT, "compile%s: input %lu is none",
                            af__func_label(d).text, (unsigned long)i);
    return AF_OK;
}

static void af__publish(af__compiler *k, const af_func_desc *d, af_func *f) {
    f->program.instr = k->instr;
    f->program.operand = k->operand;
    f->program.micro = k->micro;
    f->program.store = k->store;
    f->program.buffer = k->buffer;
    f->program.instr_count = AF__LENGTH(k->instr);
    f->program.buffer_count = AF__LENGTH(k->buffer);
    f->program.input_count = d->input_count;
    f->program.output_count = d->output_count;
    f->program.precision = d->precision;
    f->backend = d->backend ? d->backend : af_backend_cpu();
}

AF_API af_status af_compile(af_context *c, const af_func_desc *desc, af_func **out) {
    af__compiler k = AF__ZERO;
    af_func *f;
    *out = NULL;
    if (af__check_desc(c, desc) != AF_OK) return c->status;
    f = (af_func *)c->allocator.allocate(sizeof *f, c->allocator.user);
    if (!f) return af__fail_memory(c, "compiling a function");
    memset(f, 0, sizeof *f);
    f->arena.allocator = c->allocator;
    k.c = c;
    k.arena = &f->arena;
    k.scratch.allocator = c->allocator;
    af__compile_nodes(&k, desc);
    if (!k.failed) af__find_uses(&k);
    if (!k.failed) f->program.work_size = af__plan_memory(&k);
    af__arena_free(&k.scratch);
    if (k.failed) {
        af_func_destroy(f);
        return c->status;
    }
    af__publish(&k, desc, f);
    *out = f;
    return AF_OK;
}

AF_API void af_func_destroy(af_func *f) {
    af_allocator allocator;
    if (!f) return;
    allocator = f->arena.allocator;
    af__arena_free(&f->arena);
    allocator.release(f, sizeof *f, allocator.user);
}

AF_API const af_program *af_func_program(const af_func *f) { return &f->program; }

AF_API size_t af_func_work_size(const af_func *f) { return f->program.work_size; }

AF_API double af_func_matmul_flops(const af_func *f) {
    size_t i, a;
    double total = 0.0;
    for (i = 0; i < f->program.instr_count; i++) {
        const af_instr *instr = &f->program.instr[i];
        double flops = 2.0;
        if (instr->kind != AF_INSTR_MATMUL) continue;
        for (a = 0; a < instr->rank; a++) flops *= (double)instr->dim[a];
        total += flops;
    }
    return total;
}

AF_API af_status af_workspace_create(const af_func *f, int threads, af_workspace **out) {
    af_allocator allocator = f->arena.allocator;
    af_workspace *w = (af_workspace *)allocator.allocate(sizeof *w, allocator.user);
    af_status status;
    *out = NULL;
    if (!w) return AF_ERROR_MEMORY;
    w->allocator = allocator;
    w->func = f;
    w->state = NULL;
    status = f->backend->open(&f->program, &w->allocator, threads, &w->state);
    if (status != AF_OK) {
        allocator.release(w, sizeof *w, allocator.user);
        return status;
    }
    *out = w;
    return AF_OK;
}

AF_API void af_workspace_destroy(af_workspace *w) {
    af_allocator allocator;
    if (!w) return;
    allocator = w->allocator;
    w->func->backend->close(&w->func->program, w->state);
    allocator.release(w, sizeof *w, allocator.user);
}

AF_API af_status af_run(const af_func *f, af_workspace *w, const void *const *inputs,
                        void *const *outputs) {
    if (w->func != f) return AF_ERROR_ARGUMENT;
    return f->backend->run(&f->program, w->state, inputs, outputs);
}
