/* ---- functions ------------------------------------------------------------------------------- */

struct af_func {
    af__arena arena;
    af_program program;
    af_buffer *buffer; /* the program's */
    const af_backend *backend;
    af__dims_text label; /* for sentences */
};

struct af_workspace {
    af_allocator allocator;
    const af_func *func;
    void *state;
};

/* " 'label'" or "". */
static af__dims_text af__func_label(const af_func_desc *d) {
    af__dims_text s;
    s.text[0] = 0;
    if (d->label) snprintf(s.text, sizeof s.text, " '%.80s'", d->label);
    return s;
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
    case AF__BILINEAR: af__lower_matmul(k, id); break;
    default:
        if (op == AF_OP_SUM) af__lower_sum(k, id);
        else if (op == AF_OP_PAD) af__lower_pad(k, id);
        else if (op == AF_OP_CONCAT) af__lower_concat(k, id);
        else af__lower_rows(k, id);
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

/* Whether a factor of a product is an array in any case: not a constant, nor a value that would be
 * stored for its sake. */
static int af__is_array_anyway(const af_context *c, uint32_t id, const uint32_t *uses) {
    const af__node *node = c->graph->node;
    if (af__ops[node[id].op].kind == AF__ELEMENTWISE) return uses[id] > 1;
    while (af__ops[node[id].op].kind == AF__VIEW) id = node[id].arg[0];
    return node[id].op != AF_OP_CONSTANT;
}

/* A product of such factors whose only use is a sum is summed as it is made. */
static void af__skip_summed(const af_context *c, size_t last, uint32_t *needed,
                            const uint32_t *uses) {
    const af__node *node = c->graph->node;
    size_t i;
    for (i = 1; i <= last; i++) {
        const af__node *m = &node[node[i].arg[0]];
        if (!needed[i] || node[i].op != AF_OP_SUM || m->op != AF_OP_MUL) continue;
        if (uses[node[i].arg[0]] == 1 && af__is_array_anyway(c, m->arg[0], uses) &&
            af__is_array_anyway(c, m->arg[1], uses))
            needed[node[i].arg[0]] = 0;
    }
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

/* ---- af_compile ---- */

static void af__compile_nodes(af__compiler *k, const af_func_desc *d) {
    af_expr *outputs = af__merge_all(k, d->output_count, d->outputs);
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
    af__skip_summed(k->c, last, needed, uses);
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
    f->program.buffer = f->buffer = k->buffer;
    f->program.instr_count = AF__LENGTH(k->instr);
    f->program.buffer_count = AF__LENGTH(k->buffer);
    f->program.input_count = d->input_count;
    f->program.output_count = d->output_count;
    f->program.precision = d->precision;
    f->label = k->label;
    f->backend = d->backend ? d->backend : k->c->backend;
    if (!f->backend) f->backend = af_backend_cpu();
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
    k.precision = desc->precision;
    k.label = af__func_label(desc);
    k.arena = &f->arena;
    k.scratch.allocator = c->allocator;
    af__compile_nodes(&k, desc);
    if (!k.failed) af__find_followers(&k);
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

/* The caller's first inputs and outputs are f64 even where the function's precision is f32, for a
 * backend with memory of its own; before there are workspaces. */
static void af__func_widen(af_func *f, size_t inputs, size_t outputs) {
    size_t i;
    for (i = 0; i < f->program.buffer_count && f->program.precision == AF_F32; i++) {
        af_buffer *b = &f->buffer[i];
        if (b->kind == AF_BUFFER_INPUT) b->wide = b->index < inputs;
        if (b->kind == AF_BUFFER_OUTPUT) b->wide = b->index < outputs;
    }
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

AF_API af_status af_context_workspace(af_context *c, const af_func *f, int threads,
                                      af_workspace **out) {
    af_status s = af_workspace_create(f, threads, out);
    if (s == AF_ERROR_MEMORY) return af__fail_memory(c, "the memory a function works in");
    if (s != AF_OK) return af__fail(c, s, "function%s: %s", f->label.text, af_func_error(f));
    return AF_OK;
}

AF_API void af_workspace_destroy(af_workspace *w) {
    af_allocator allocator;
    if (!w) return;
    allocator = w->allocator;
    w->func->backend->close(&w->func->program, w->state);
    allocator.release(w, sizeof *w, allocator.user);
}

AF_API const char *af_func_error(const af_func *f) {
    return f->backend->error ? f->backend->error() : "";
}

AF_API af_status af_run(const af_func *f, af_workspace *w, const void *const *inputs,
                        void *const *outputs) {
    const af_program *p = &f->program;
    size_t i, real = p->precision == AF_F64 ? sizeof(double) : sizeof(float);
    af_status s;
    if (w->func != f) return AF_ERROR_ARGUMENT;
    s = f->backend->run(p, w->state, inputs, outputs);
    if (s == AF_OK || f->backend->memory) return s; /* outputs may be where the host cannot write */
    for (i = 0; i < p->buffer_count; i++)           /* all bits set: NaN */
        if (p->buffer[i].kind == AF_BUFFER_OUTPUT)
            memset(outputs[p->buffer[i].index], 0xff, p->buffer[i].size * real);
    return s;
}
