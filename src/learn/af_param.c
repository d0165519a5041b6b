/* ---- parameters ------------------------------------------------------------------------------ */

typedef struct af__view {
    const char *name;
    size_t rank, dim[AF_RANK_MAX], offset, size;
    af_expr expr;
} af__view;

struct af_params {
    af_context *context;
    af__arena arena;
    af__arena resident; /* what data was moved to, if it was */
    uint64_t seed;
    double *data;   /* (size) an stb_ds array, or where it was moved to */
    size_t size;
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
    af__arena_free(&p->resident);
    af__arena_free(&p->arena);
    allocator.release(p, sizeof *p, allocator.user);
}

/* Appends the view and its values, or nothing when memory is out. */
static af_status af__params_append(af_params *p, const af__view *v, af_init init, double scale) {
    size_t i;
    if (!AF__RESERVE(&p->arena, p->data, v->size) || !AF__PUSH(&p->arena, p->view, *v))
        return af__fail_memory(p->context, "parameters");
    for (i = 0; i < v->size; i++) {
        uint64_t at = v->offset + i;
        double x = init == AF_INIT_NORMAL ? scale * af_random_normal(p->seed, 0, at) : scale;
        (void)AF__PUSH(&p->arena, p->data, x); /* there is room */
    }
    p->size += v->size;
    return AF_OK;
}

AF_API af_status af_params_add(af_params *p, const char *name, size_t rank, const size_t *dims,
                               af_init init, double scale, size_t *view) {
    af__view v = AF__ZERO;
    af_status status;
    size_t i;
    if (!name || !name[0])
        return af__fail(p->context, AF_ERROR_ARGUMENT, "parameters: a view needs a name");
    if (!af__shape_valid(p->context, name, rank, dims)) return AF_ERROR_SHAPE;
    if (p->input.id)
        return af__fail(p->context, AF_ERROR_ARGUMENT,
                        "parameters '%s': declare all views before using any as an expression",
                        name);
    for (i = 0; i < AF__LENGTH(p->view); i++)
        if (strcmp(p->view[i].name, name) == 0)
            return af__fail(p->context, AF_ERROR_ARGUMENT, "parameters '%s': the name is taken",
                            name);
    v.rank = rank;
    v.size = 1;
    for (i = 0; i < rank; i++) v.size *= v.dim[i] = dims[i];
    v.offset = p->size;
    v.name = af__arena_text(&p->arena, name);
    if (!v.name) return af__fail_memory(p->context, "parameters");
    status = af__params_append(p, &v, init, scale);
    if (status == AF_OK && view) *view = AF__LENGTH(p->view) - 1;
    return status;
}

AF_API af_expr af_params_input(af_params *p) {
    if (!p->input.id && p->size > 0) p->input = af_input(p->context, "parameters", 1, &p->size);
    if (p->size == 0) af__fail(p->context, AF_ERROR_ARGUMENT, "parameters: none were declared");
    return p->input;
}

AF_API af_expr af_params_expr(af_params *p, size_t view) {
    af__view *v;
    if (view >= AF__LENGTH(p->view)) {
        af__fail(p->context, AF_ERROR_ARGUMENT, "parameters: there is no view %lu, there are %lu",
                 (unsigned long)view, (unsigned long)AF__LENGTH(p->view));
        return af__none;
    }
    v = &p->view[view];
    if (!v->expr.id) {
        af_expr flat = af_slice(p->context, af_params_input(p), 0, v->offset, v->size);
        v->expr = af_reshape(p->context, flat, v->rank, v->dim);
    }
    return v->expr;
}

/* By the views, side by side, and by the vector itself where the loss uses that (a penalty on all
 * parameters, say): af_grad takes them as independent, so the two parts add up. */
static af_expr af__params_grad_of(af_params *p, af_expr loss, af_expr *x, af_expr *g) {
    af_context *c = p->context;
    size_t i, count = AF__LENGTH(p->view);
    af_expr whole;
    x[count] = af_params_input(p);
    if (!x[count].id) return af__none;
    for (i = 0; i < count; i++) x[i] = af_params_expr(p, i);
    if (x[0].id == x[count].id) /* the only view is the vector */
        return af_grad(c, loss, 1, x, g) == AF_OK ? g[0] : af__none;
    if (af_grad(c, loss, count + 1, x, g) != AF_OK) return af__none;
    for (i = 0; i < count; i++) g[i] = af_reshape(c, g[i], 1, &p->view[i].size);
    whole = af_concat(c, 0, count, g);
    return af_add(c, whole, g[count]);
}

AF_API af_expr af_params_grad(af_params *p, af_expr loss) {
    size_t count = AF__LENGTH(p->view) + 1;
    af__arena scratch = AF__ZERO;
    af_expr *x, *g, gradient = af__none;
    scratch.allocator = p->arena.allocator;
    x = AF__ARRAY(&scratch, af_expr, count);
    g = AF__ARRAY(&scratch, af_expr, count);
    if (!x || !g) af__fail_memory(p->context, "the gradient");
    else gradient = af__params_grad_of(p, loss, x, g);
    af__arena_free(&scratch);
    return gradient;
}

AF_API size_t af_params_size(const af_params *p) { return p->size; }
AF_API double *af_params_data(af_params *p) { return p->data; }
AF_API size_t af_params_count(const af_params *p) { return AF__LENGTH(p->view); }
AF_API const char *af_params_name(const af_params *p, size_t view) { return p->view[view].name; }
AF_API double *af_params_view(af_params *p, size_t view) { return p->data + p->view[view].offset; }
/* Moves the vector into other memory; no views can be declared any more. */
static af_status af__params_move(af_params *p, af_allocator memory) {
    double *moved;
    if (p->resident.blocks) return AF_OK;
    p->resident.allocator = memory;
    moved = AF__ARRAY(&p->resident, double, p->size);
    if (!moved) return af__fail_memory(p->context, "parameters");
    memcpy(moved, p->data, p->size * sizeof *moved);
    p->data = moved;
    return AF_OK;
}

AF_API af_context *af_params_context(af_params *p) { return p->context; }

enum { AF__KEY = 256 }; /* room for prefix + name */

static af_status af__params_key(const af_params *p, const af__view *v, const char *prefix,
                                char key[AF__KEY]) {
    int n = snprintf(key, AF__KEY, "%s%s", prefix ? prefix : "", v->name);
    if (n > 0 && n < AF__KEY) return AF_OK;
    return af__fail(p->context, AF_ERROR_ARGUMENT,
                    "parameters '%s': with its prefix the name is longer than %d", v->name,
                    AF__KEY - 1);
}

AF_API af_status af_params_save(const af_params *p, af_tensors *to, const char *prefix) {
    size_t i;
    char key[AF__KEY];
    af_status status = AF_OK;
    for (i = 0; i < AF__LENGTH(p->view) && status == AF_OK; i++) {
        const af__view *v = &p->view[i];
        status = af__params_key(p, v, prefix, key);
        if (status == AF_OK)
            status = af_tensors_add(to, key, AF_DTYPE_F64, (int)v->rank, v->dim,
                                    p->data + v->offset);
    }
    return status;
}

AF_API af_status af_params_load(af_params *p, const af_tensors *from, const char *prefix) {
    size_t i, size = p->size;
    char key[AF__KEY];
    af_status status = AF_OK;
    af__arena scratch = AF__ZERO;
    double *values;
    scratch.allocator = p->arena.allocator;
    values = AF__ARRAY(&scratch, double, size);
    if (!values) return af__fail_memory(p->context, "parameters from a file");
    for (i = 0; i < AF__LENGTH(p->view) && status == AF_OK; i++) {
        const af__view *v = &p->view[i];
        status = af__params_key(p, v, prefix, key);
        if (status == AF_OK)
            status = af_tensors_get(from, key, (int)v->rank, v->dim, values + v->offset);
    }
    if (status == AF_OK && size > 0) memcpy(p->data, values, size * sizeof *values);
    af__arena_free(&scratch);
    return status;
}
