/* ---- the potential: values, files ------------------------------------------------------------ */

AF_API af_status dp_potential_create(af_context *c, const dp_potential_desc *desc,
                                     const dp_points *points, dp_potential **out) {
    af_status s = dp__potential_open(c, desc, out);
    dp_frame frame;
    if (s != AF_OK) return s;
    s = dp__points_check(*out, points, 0);
    if (s == AF_OK) s = dp__potential_scales(*out, points);
    if (s == AF_OK) {
        frame = (*out)->desc.frame;
        dp__frame_set(*out, &frame);
        return AF_OK;
    }
    dp_potential_destroy(*out);
    *out = NULL;
    return s;
}

/* ---- values ---- */

/* Compiles y (b,1) of xi (b,3), its gradient (b,3) and, if wanted, its Laplacian (b). */
static af_status dp__field_compile(dp_potential *p, const char *label, af_expr xi, af_expr y,
                                   int second, af_func **out) {
    af_func_desc f = DP__ZERO;
    af_expr in[2], result[3], gradient, laplacian;
    size_t b = DP__FIELD_ROWS;
    af_laplacian(p->c, y, xi, &gradient, &laplacian);
    result[0] = af_reshape(p->c, y, 1, &b);
    result[1] = af_transpose(p->c, dp__flat3(p->c, gradient));
    result[2] = af_reshape(p->c, laplacian, 1, &b);
    in[0] = xi;
    in[1] = af_params_input(p->params);
    f.inputs = in;
    f.input_count = 2;
    f.outputs = result;
    f.output_count = second ? 3 : 2;
    f.label = label;
    return af_compile(p->c, &f, out);
}

/* A network over x (n,3): value (n), gradient by xi (n,3), Laplacian by xi (n; NULL for ln n). */
static af_status dp__field_run(dp_potential *p, const af_func *f, size_t n, const double *x,
                               double *value, double *gradient, double *laplacian) {
    dp__arena arena = dp__arena_open(p->c);
    double *xi = DP__ARRAY(&arena, double, 3 * n);
    dp__rows r = DP__ZERO;
    af_status s;
    size_t i;
    if (!xi) return dp__fail_memory(p->c, "points of a potential");
    for (i = 0; i < 3 * n; i++) xi[i] = (x[i] - p->mean[i % 3]) / p->length;
    r.f = f;
    r.rows = DP__FIELD_ROWS;
    r.n = n;
    r.in_count = r.fixed_count = 1;
    r.in[0] = xi;
    r.in_width[0] = r.out_width[1] = 3;
    r.fixed[0] = af_params_data(p->params);
    r.out_count = laplacian ? 3 : 2;
    r.out[0] = value;
    r.out[1] = gradient;
    r.out[2] = laplacian;
    r.out_width[0] = r.out_width[2] = 1;
    s = dp__rows_all(p->c, &r);
    dp__arena_free(&arena);
    return s;
}

static af_status dp__points_input(dp_potential *p, af_expr *xi) {
    size_t dims[2];
    dims[0] = DP__FIELD_ROWS;
    dims[1] = 3;
    *xi = af_input(p->c, "xi", 2, dims);
    return af_error_status(p->c);
}

static af_status dp__net_evaluate(dp_potential *p, size_t n, const double *x, double *phi,
                                  double *a, double *density) {
    dp__arena arena = dp__arena_open(p->c);
    double *room = DP__ARRAY(&arena, double, 5 * n);
    af_status s = room ? AF_OK : dp__fail_memory(p->c, "values of a potential");
    double *value = room, *laplacian = room + n, *gradient = room + 2 * n;
    double per2 = p->unit / (p->length * p->length);
    size_t i;
    af_expr xi;
    if (s == AF_OK && !p->field) {
        s = dp__points_input(p, &xi);
        if (s == AF_OK)
            s = dp__field_compile(p, "potential", xi, dp__phi(p, xi), 1, &p->field);
    }
    if (s == AF_OK) s = dp__field_run(p, p->field, n, x, value, gradient, laplacian);
    for (i = 0; s == AF_OK && i < n; i++) {
        if (phi) phi[i] = p->unit * value[i] + p->constant;
        if (density) density[i] = laplacian[i] * per2 / (4.0 * DP__PI * AF_GRAVITY);
    }
    for (i = 0; s == AF_OK && a && i < 3 * n; i++) a[i] = -gradient[i] * p->unit / p->length;
    dp__arena_free(&arena);
    return s;
}

/* ln n (n) and its gradient by x (n,3); either may be NULL. */
static af_status dp__ln_n_evaluate(dp_potential *p, size_t n, const double *x, double *ln_n,
                                   double *gradient) {
    dp__arena arena = dp__arena_open(p->c);
    double *room = DP__ARRAY(&arena, double, 4 * n);
    af_status s = room ? AF_OK : dp__fail_memory(p->c, "values of ln n");
    size_t i;
    af_expr xi;
    if (s == AF_OK && !p->ln_n) {
        s = dp__points_input(p, &xi);
        if (s == AF_OK) s = dp__field_compile(p, "ln n", xi, dp__ln_n(p, xi), 0, &p->ln_n);
    }
    if (s == AF_OK) s = dp__field_run(p, p->ln_n, n, x, room, room + n, NULL);
    for (i = 0; s == AF_OK && ln_n && i < n; i++) ln_n[i] = room[i];
    for (i = 0; s == AF_OK && gradient && i < 3 * n; i++) gradient[i] = room[n + i] / p->length;
    dp__arena_free(&arena);
    return s;
}

typedef struct dp__parts_task {
    const dp_potential *p;
    size_t n;
    const double *x;
    double *phi, *a, *density;
} dp__parts_task;

static void dp__parts_chunk(size_t chunk, void *user) {
    const dp__parts_task *t = (const dp__parts_task *)user;
    const af_potential *parts = t->p->parts;
    size_t count = t->p->desc.part_count, i = chunk * DP__PARTS_PIECE;
    size_t end = i + DP__PARTS_PIECE < t->n ? i + DP__PARTS_PIECE : t->n;
    for (; i < end; i++) {
        const double *x = t->x + 3 * i;
        if (t->phi) t->phi[i] = af_potential_value(parts, count, x);
        if (t->a) af_potential_acceleration(parts, count, x, t->a + 3 * i);
        if (t->density) t->density[i] = af_potential_density(parts, count, x);
    }
}

static af_status dp__values_finite(const dp_potential *p, size_t n, const double *values,
                                   size_t width, const char *what) {
    size_t i;
    for (i = 0; values && i < n * width; i++)
        if (!dp__is_finite(values[i]))
            return af_fail(p->c, AF_ERROR_NONFINITE, "potential: %s is not finite at point %lu",
                           what, (unsigned long)(i / width));
    return AF_OK;
}

AF_API af_status dp_potential_evaluate(dp_potential *p, size_t n, const double *x, double *phi,
                                       double *acceleration, double *density) {
    af_status s = dp__values_finite(p, n, x, 3, "the position");
    dp__parts_task t;
    if (s != AF_OK || n == 0) return s;
    t.p = p;
    t.n = n;
    t.x = x;
    t.phi = phi;
    t.a = acceleration;
    t.density = density;
    if (p->parts)
        af_parallel(p->c, (n + DP__PARTS_PIECE - 1) / DP__PARTS_PIECE, dp__parts_chunk, &t);
    else
        s = dp__net_evaluate(p, n, x, phi, acceleration, density);
    if (s == AF_OK) s = dp__values_finite(p, n, phi, 1, "Phi");
    if (s == AF_OK) s = dp__values_finite(p, n, acceleration, 3, "the acceleration");
    return s == AF_OK ? dp__values_finite(p, n, density, 1, "the density") : s;
}

AF_API af_status dp_potential_ln_density(dp_potential *p, size_t n, const double *x,
                                         double *ln_n) {
    af_status s;
    if (!p->density)
        return af_fail(p->c, AF_ERROR_ARGUMENT,
                       "potential: it has no network for ln n; set density_net in its desc");
    s = dp__values_finite(p, n, x, 3, "the position");
    if (s != AF_OK || n == 0) return s;
    s = dp__ln_n_evaluate(p, n, x, ln_n, NULL);
    return s == AF_OK ? dp__values_finite(p, n, ln_n, 1, "ln n") : s;
}

AF_API af_status dp_potential_residual(dp_potential *p, const dp_points *points,
                                       double *dlnf_dt) {
    dp__arena arena = dp__arena_open(p->c);
    dp__objective o;
    double *rows;
    size_t i;
    af_status s = dp__objective_open(p, NULL, &o);
    if (s == AF_OK) s = dp__point_rows(&o, points, &arena, &rows);
    if (s == AF_OK) s = dp__rows_residuals(p, points->n, rows, dlnf_dt, NULL);
    for (i = 0; s == AF_OK && i < points->n; i++) dlnf_dt[i] /= p->time;
    dp__arena_free(&arena);
    return s;
}

AF_API af_status dp_potential_loss(dp_potential *p, const dp_points *points,
                                   const dp_loss_desc *desc, double *loss) {
    dp__arena arena = dp__arena_open(p->c);
    dp__objective o;
    double *rows;
    af_status s = dp__objective_open(p, desc, &o);
    if (s == AF_OK) s = dp__point_rows(&o, points, &arena, &rows);
    if (s == AF_OK) s = dp__rows_loss(p, &o, points->n, rows, loss);
    dp__arena_free(&arena);
    return s;
}

/* ---- parts ---- */

AF_API const af_potential *dp_potential_parts(const dp_potential *p, size_t *count) {
    if (count) *count = p->desc.part_count;
    return p->parts;
}

AF_API af_status dp_potential_set_parts(dp_potential *p, const af_potential *parts) {
    size_t i, n = p->desc.part_count;
    af_status s;
    if (!p->parts)
        return af_fail(p->c, AF_ERROR_ARGUMENT, "potential: it is a network and has no parts");
    s = af_potential_check(p->c, parts, n);
    for (i = 0; s == AF_OK && i < n; i++)
        if (parts[i].kind != p->parts[i].kind)
            s = af_fail(p->c, AF_ERROR_ARGUMENT, "potential: part %lu is of another kind",
                        (unsigned long)i);
    for (i = 0; s == AF_OK && i < n; i++) p->parts[i] = parts[i];
    return s;
}

/* ---- files ---- */

#define DP__POTENTIAL_FORMAT "deeppotential potential 1"

enum { DP__PART_NUMBERS = 8, DP__SCALES = 8 }; /* of a part in a file; lengths, units, constant */

/* Parts and, unless NULL, bits of what is fixed, as an array (n,DP__PART_NUMBERS). */
static af_status dp__parts_save(af_context *c, const char *name, size_t n,
                                const af_potential *parts, const unsigned *fixed, af_tensors *to) {
    dp__arena arena = dp__arena_open(c);
    size_t i, dims[2];
    double *numbers = DP__ARRAY(&arena, double, n *DP__PART_NUMBERS);
    af_status s;
    if (!numbers) return dp__fail_memory(c, "the parts of a potential");
    for (i = 0; i < n; i++) {
        const af_potential *a = &parts[i];
        double *to_numbers = numbers + i * DP__PART_NUMBERS;
        to_numbers[0] = (double)a->kind;
        to_numbers[1] = a->mass;
        to_numbers[2] = a->length;
        to_numbers[3] = a->height;
        to_numbers[4] = a->speed;
        to_numbers[5] = a->p;
        to_numbers[6] = a->q;
        to_numbers[7] = fixed ? (double)fixed[i] : 0.0;
    }
    dims[0] = n;
    dims[1] = DP__PART_NUMBERS;
    s = af_tensors_add(to, name, AF_DTYPE_F64, 2, dims, numbers);
    dp__arena_free(&arena);
    return s;
}

/* And back, into the arena; none where there is no such array. */
static af_status dp__parts_load(af_context *c, const char *name, const af_tensors *from,
                                dp__arena *arena, size_t *count, af_potential **parts,
                                unsigned **fixed) {
    const af_tensor *t = af_tensors_find(from, name);
    size_t i, n = t && t->rank == 2 ? t->dims[0] : 0, dims[2];
    double *numbers = DP__ARRAY(arena, double, n *DP__PART_NUMBERS);
    af_status s;
    *parts = DP__ARRAY(arena, af_potential, n);
    *fixed = DP__ARRAY(arena, unsigned, n);
    *count = n;
    if (!t) return AF_OK;
    if (!numbers || !*parts || !*fixed) return dp__fail_memory(c, "the parts of a potential");
    dims[0] = n;
    dims[1] = DP__PART_NUMBERS;
    s = af_tensors_get(from, name, 2, dims, numbers);
    for (i = 0; s == AF_OK && i < n; i++) {
        const double *number = numbers + i * DP__PART_NUMBERS;
        af_potential *part = *parts + i;
        if (!(number[0] >= 1.0 && number[0] <= 5.0 && number[7] >= 0.0 && number[7] <= 7.0))
            return af_fail(c, AF_ERROR_FORMAT, "part %lu of the potential is damaged",
                           (unsigned long)i);
        part->kind = (af_potential_kind)(int)number[0];
        part->mass = number[1];
        part->length = number[2];
        part->height = number[3];
        part->speed = number[4];
        part->p = number[5];
        part->q = number[6];
        (*fixed)[i] = (unsigned)number[7];
    }
    return s;
}

static af_status dp__potential_fill(const dp_potential *p, af_tensors *to) {
    const dp_potential_desc *d = &p->desc;
    double scale[DP__SCALES];
    size_t count = DP__SCALES, k;
    af_status s = af_tensors_set_text(to, "format", DP__POTENTIAL_FORMAT);
    for (k = 0; k < 3; k++) scale[k] = p->mean[k];
    scale[3] = p->length;
    scale[4] = p->height;
    scale[5] = p->time;
    scale[6] = p->unit;
    scale[7] = p->constant;
    if (s == AF_OK) s = af_tensors_set_whole(to, "inputs", (uint64_t)d->inputs);
    if (s == AF_OK) s = af_tensors_set_whole(to, "width", d->width);
    if (s == AF_OK) s = af_tensors_set_whole(to, "depth", d->depth);
    if (s == AF_OK) s = af_tensors_set_whole(to, "seed", d->seed);
    if (s == AF_OK) s = af_tensors_set_whole(to, "free_frame", d->free_frame);
    if (s == AF_OK) s = af_tensors_set_whole(to, "density_net", d->density_net != 0);
    if (s == AF_OK) s = af_tensors_add(to, "scales", AF_DTYPE_F64, 1, &count, scale);
    if (s == AF_OK && p->parts)
        s = dp__parts_save(p->c, "parts", d->part_count, p->parts, d->fixed, to);
    return s == AF_OK ? af_params_save(p->params, to, "potential.") : s;
}

AF_API af_status dp_potential_save(const dp_potential *p, const char *path) {
    af_tensors *set;
    af_status s = af_tensors_create(p->c, &set);
    if (s != AF_OK) return s;
    s = dp__potential_fill(p, set);
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

static af_status dp__potential_load_desc(af_context *c, const af_tensors *from, dp__arena *arena,
                                         dp_potential_desc *d) {
    const char *format = af_tensors_text(from, "format");
    size_t inputs = 0, bits = 0, density = 0;
    af_potential *parts = NULL;
    unsigned *fixed = NULL;
    af_status s;
    if (!format || strcmp(format, DP__POTENTIAL_FORMAT) != 0)
        return af_fail(c, AF_ERROR_FORMAT, "this file does not hold a potential");
    s = dp__whole(from, "inputs", &inputs);
    if (s == AF_OK) s = dp__whole(from, "width", &d->width);
    if (s == AF_OK) s = dp__whole(from, "depth", &d->depth);
    if (s == AF_OK) s = af_tensors_whole(from, "seed", &d->seed);
    if (s == AF_OK) s = dp__whole(from, "free_frame", &bits);
    if (s == AF_OK) s = dp__whole(from, "density_net", &density);
    if (s == AF_OK) s = dp__parts_load(c, "parts", from, arena, &d->part_count, &parts, &fixed);
    if (d->part_count) {
        d->parts = parts;
        d->fixed = fixed;
    }
    if (s == AF_OK && (inputs > (size_t)DP_INPUTS_GUIDED || bits > 7 || d->width > 65536 ||
                       d->depth > 1024))
        return af_fail(c, AF_ERROR_FORMAT, "the description of the potential is damaged");
    d->inputs = (dp_inputs)inputs;
    d->free_frame = (unsigned)bits;
    d->density_net = density != 0;
    return s;
}

static af_status dp__potential_take(dp_potential *p, const af_tensors *from) {
    double scale[DP__SCALES];
    size_t count = DP__SCALES, k;
    af_status s = af_tensors_get(from, "scales", 1, &count, scale);
    if (s == AF_OK) s = af_params_load(p->params, from, "potential.");
    for (k = 0; s == AF_OK && k < count; k++)
        if (!dp__is_finite(scale[k]) || (k > 2 && k < 7 && !(scale[k] > 0.0)))
            s = af_fail(p->c, AF_ERROR_FORMAT, "the scales of the potential are damaged");
    if (s != AF_OK) return s;
    for (k = 0; k < 3; k++) p->mean[k] = scale[k];
    p->length = scale[3];
    p->height = scale[4];
    p->time = scale[5];
    p->unit = scale[6];
    p->constant = scale[7];
    p->desc.frame = dp_potential_frame(p);
    return AF_OK;
}

AF_API af_status dp_potential_load(af_context *c, const char *path, dp_potential **out) {
    dp_potential_desc d = DP__ZERO;
    dp__arena arena = dp__arena_open(c);
    af_tensors *set;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    s = dp__potential_load_desc(c, set, &arena, &d);
    if (s == AF_OK) s = dp__potential_open(c, &d, out);
    if (s == AF_OK) s = dp__potential_take(*out, set);
    af_tensors_destroy(set);
    dp__arena_free(&arena);
    if (s != AF_OK) {
        dp_potential_destroy(*out);
        *out = NULL;
    }
    return s;
}

#undef DP__POTENTIAL_FORMAT
