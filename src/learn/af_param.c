/* ---- parameters ------------------------------------------------------------------------------------ */

typedef struct af__view {
    const char *name;
    size_t rank, dim[AF_RANK_MAX], offset, size;
    af_expr expr;
} af__view;

struct af_params {
    af_context *context;
    af__arena arena;
    uint64_t seed;
    double *data;   /* stb_ds array */
    af__view *view; /* stb_ds array */
    af_expr input;
};

AF_API af_status af_params_create(af_context *c, uint64_t seed, af_params **out) {
    af_params *p = (af_params *)c->allocator.allocate(sizeof *p, c->allocator.user);
    *out = NULL;
    if (!p) return af__fail_memory(c, "a parameter store");
    memset(p, 0, sizeof *p);
    p->context = c;
    p->arena.allocator = c->allocator;
    p->seed = seed;
    *out = p;
    return AF_OK;
}

AF_API void af_params_destroy(af_params *p) {
    af_allocator allocator;
    if (!p) return;
    allocator = p->arena.allocator;
    af__arena_free(&p->arena);
    allocator.release(p, sizeof *p, allocator.user);
}

static af_status af__params_fill(af_params *p, const af__view *v, af_init init, double scale) {
    size_t i;
    for (i = 0; i < v->size; i++) {
        uint64_t at = v->offset + i;
        double x = init == AF_INIT_NORMAL ? scale * af_random_normal(p->seed, 0, at) : scale;
        if (!AF__PUSH(&p->arena, p->data, x)) return af__fail_memory(p->context, "parameters");
    }
    return AF_OK;
}

AF_API af_status af_params_add(af_params *p, const char *name, size_t rank, const size_t *dims,
                               af_init init, double scale, size_t *view) {
    af__view v = AF__ZERO;
    size_t i;
    if (!af__shape_valid(p->context, name, rank, dims)) return p->context->status;
    if (p->input.id)
        return af__fail(p->context, AF_ERROR_ARGUMENT,
                        "parameters '%s': declare all views before using any as an expression", name);
    for (i = 0; i < AF__LENGTH(p->view); i++)
        if (strcmp(p->view[i].name, name) == 0)
            return af__fail(p->context, AF_ERROR_ARGUMENT, "parameters '%s': the name is taken", name);
    v.rank = rank;
    v.size = 1;
    for (i = 0; i < rank; i++) v.size *= v.dim[i] = dims[i];
    v.offset = AF__LENGTH(p->data);
    v.name = af__arena_text(&p->arena, name);
    if (!v.name || !AF__PUSH(&p->arena, p->view, v)) return af__fail_memory(p->context, "parameters");
    if (view) *view = AF__LENGTH(p->view) - 1;
    return af__params_fill(p, &v, init, scale);
}

AF_API af_expr af_params_input(af_params *p) {
    size_t size = AF__LENGTH(p->data);
    if (!p->input.id && size > 0) p->input = af_input(p->context, "parameters", 1, &size);
    if (size == 0) af__fail(p->context, AF_ERROR_ARGUMENT, "parameters: none were declared");
    return p->input;
}

AF_API af_expr af_params_expr(af_params *p, size_t view) {
    af__view *v = &p->view[view];
    if (!v->expr.id) {
        af_expr flat = af_slice(p->context, af_params_input(p), 0, v->offset, v->size);
        v->expr = af_reshape(p->context, flat, v->rank, v->dim);
    }
    return v->expr;
}

AF_API af_expr af_params_grad(af_params *p, af_expr loss) {
    size_t i, count = AF__LENGTH(p->view);
    af__arena scratch = AF__ZERO;
    af_expr *x, *g, whole = af__none;
    scratch.allocator = p->arena.allocator;
    x = AF__ARRAY(&scratch, af_expr, count);
    g = AF__ARRAY(&scratch, af_expr, count);
    if (!x || !g) {
        af__fail_memory(p->context, "the gradient");
    } else {
        for (i = 0; i < count; i++) x[i] = af_params_expr(p, i);
        if (af_grad(p->context, loss, count, x, g) == AF_OK) {
            for (i = 0; i < count; i++) g[i] = af_reshape(p->context, g[i], 1, &p->view[i].size);
            whole = af_concat(p->context, 0, count, g);
        }
    }
    af__arena_free(&scratch);
    return whole;
}

AF_API size_t af_params_size(const af_params *p) { return AF__LENGTH(p->data); }
AF_API double *af_params_data(af_params *p) { return p->data; }
AF_API size_t af_params_count(const af_params *p) { return AF__LENGTH(p->view); }
AF_API const char *af_params_name(const af_params *p, size_t view) { return p->view[view].name; }
AF_API double *af_params_view(af_params *p, size_t view) { return p->data + p->view[view].offset; }
AF_API af_context *af_params_context(af_params *p) { return p->context; }

/* prefix + name in `text`; false when it is too long. */
static int af__join(char *text, size_t size, const char *prefix, const char *name) {
    int n = snprintf(text, size, "%s%s", prefix, name);
    return n > 0 && (size_t)n < size;
}

AF_API af_status af_params_save(const af_params *p, af_tensors *to, const char *prefix) {
    size_t i;
    char name[256];
    for (i = 0; i < AF__LENGTH(p->view); i++) {
        const af__view *v = &p->view[i];
        af_status status;
        if (!af__join(name, sizeof name, prefix, v->name))
            return af__fail(p->context, AF_ERROR_ARGUMENT, "parameters '%s': the name is too long",
                            v->name);
        status = af_tensors_add(to, name, AF_DTYPE_F64, (int)v->rank, v->dim, p->data + v->offset);
        if (status != AF_OK) return status;
    }
    return AF_OK;
}

AF_API af_status af_params_load(af_params *p, const af_tensors *from, const char *prefix) {
    size_t i;
    char name[256];
    for (i = 0; i < AF__LENGTH(p->view); i++) {
        const af__view *v = &p->view[i];
        af_status status;
        if (!af__join(name, sizeof name, prefix, v->name))
            return af__fail(p->context, AF_ERROR_ARGUMENT, "parameters '%s': the name is too long",
                            v->name);
        status = af_tensors_get(from, name, (int)v->rank, v->dim, p->data + v->offset);
        if (status != AF_OK) return status;
    }
    return AF_OK;
}
