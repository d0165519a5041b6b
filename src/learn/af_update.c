/* ---- updates on a device ------------------------------------------------------------------------
 *
 * Large arrays that are read and written at each step of a training (parameters, gradient, moments)
 * live in the memory of the context's backend, if it has its own, and what changes them is compiled
 * as any function is: nothing of them crosses to the host. They are f64 whatever the precision of
 * the loss, which the backend converts from and to (af_buffer, wide). */

/* Numbers for which that pays: fewer cross to the host sooner than a page of shared memory moves.
 * To be measured. */
enum { AF__RESIDENT = 1 << 16 };

static int af__is_resident(const af_context *c, size_t n) {
    return n >= AF__RESIDENT && c->backend && c->backend->memory;
}

/* The allocator of such arrays, or the context's. */
static af_allocator af__memory_of(const af_context *c, int resident) {
    return resident ? *c->backend->memory : c->allocator;
}

/* A function whose first outputs take the place of its first inputs. */
typedef struct af__update {
    af_func *func;
    af_workspace *work;
} af__update;

static void af__update_close(af__update *u) {
    af_workspace_destroy(u->work);
    af_func_destroy(u->func);
}

/* Whether input i is not read after output i has begun to be written, i < count. A fused run reads
 * all of an element's arguments before it writes: backends with memory of their own promise it. */
static int af__is_in_place(const af_program *p, size_t count) {
    size_t written[4] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX}, i, k;
    for (i = 0; i < p->instr_count; i++) {
        const af_instr *instr = &p->instr[i];
        for (k = 0; k < af__operand_count(instr); k++) {
            const af_buffer *b = &p->buffer[p->operand[instr->operand + k].buffer];
            if (b->kind == AF_BUFFER_OUTPUT && b->index < count && written[b->index] > i)
                written[b->index] = i;
            if (b->kind == AF_BUFFER_INPUT && b->index < count && written[b->index] < i) return 0;
        }
    }
    return 1;
}

static af_status af__update_open(af_context *c, const char *label, size_t inputs, const af_expr *in,
                                 size_t outputs, const af_expr *out, size_t in_place,
                                 af__update *u) {
    af_func_desc d = AF__ZERO;
    af_status s;
    d.inputs = in;
    d.input_count = inputs;
    d.outputs = out;
    d.output_count = outputs;
    d.label = label;
    s = af_compile(c, &d, &u->func);
    if (s != AF_OK) return s;
    if (!af__is_in_place(&u->func->program, in_place))
        return af__fail(c, AF_ERROR_BACKEND, "%s: it was not compiled to one fused run", label);
    return af_context_workspace(c, u->func, c->threads, &u->work);
}

static af_status af__update_run(af_context *c, const af__update *u, const void *const *in,
                                void *const *out) {
    if (af_run(u->func, u->work, in, out) == AF_OK) return AF_OK;
    return af__fail(c, AF_ERROR_BACKEND, "function%s: %s", u->func->label.text,
                    af_func_error(u->func));
}
