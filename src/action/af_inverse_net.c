/* ---- ActionFinder: the network of eq. 18 ----------------------------------------------------- */

enum { AF__INVERSE_FEATURES = 4 };

struct af_inverse {
    af_context *context;
    af__arena arena;
    af_isochrone toy;
    af_net_desc net_desc;
    size_t harmonics;
    uint64_t seed;
    int axisymmetric; /* theta_phi is no input, J_phi stays */
    int even;         /* only even multiples of theta_z */
    double center[AF__INVERSE_FEATURES], width[AF__INVERSE_FEATURES];
    af_params *params;
    af_net *net;
};

AF_API void af_inverse_destroy(af_inverse *i) {
    af_allocator allocator;
    if (!i) return;
    allocator = i->arena.allocator;
    af_net_destroy(i->net);
    af_params_destroy(i->params);
    af__arena_free(&i->arena);
    allocator.release(i, sizeof *i, allocator.user);
}

static af_inverse *af__inverse_new(af_context *c) {
    af_inverse *i = (af_inverse *)c->allocator.allocate(sizeof *i, c->allocator.user);
    if (!i) {
        af__fail_memory(c, "an inverse");
        return NULL;
    }
    memset(i, 0, sizeof *i);
    i->context = c;
    i->arena.allocator = c->allocator;
    return i;
}

AF_API size_t af_inverse_parameters(const af_inverse *i) { return af_params_size(i->params); }

/* ---- inputs and outputs ---- */

static size_t af__inverse_inputs(const af_inverse *i) {
    return (size_t)(i->axisymmetric ? 4 : 6) * i->harmonics + AF__INVERSE_FEATURES;
}

/* Three angles, then J_phi unless it stays, J_z, J_r over the size of the orbit. */
static size_t af__inverse_outputs(const af_inverse *i) { return i->axisymmetric ? 5 : 6; }

static double af__inverse_size(const double j[3]) { return fabs(j[0]) + j[1] + j[2]; }

/* The features of the actions, as they are. */
static void af__inverse_shape(const af_inverse *i, const double j[3],
                              double out[AF__INVERSE_FEATURES]) {
    double l = fabs(j[0]) + j[1], size = l + j[2];
    double tilt = l > 0.0 ? j[0] / l : 0.0;
    out[0] = log(size + 1e-300);
    out[1] = size > 0.0 ? sqrt(j[2] / size) : 0.0;
    out[2] = size > 0.0 ? sqrt(j[1] / size) : 0.0;
    out[3] = i->axisymmetric ? fabs(tilt) : tilt;
}

/* The network's inputs for a star. */
static void af__inverse_row(const af_inverse *i, const double j[3], const double theta[3],
                            double *row) {
    double shape[AF__INVERSE_FEATURES];
    size_t k, m, n = 0;
    for (k = i->axisymmetric ? 1 : 0; k < 3; k++)
        for (m = 1; m <= i->harmonics; m++) {
            double phase = (k == 1 && i->even ? 2.0 : 1.0) * (double)m * theta[k];
            row[n++] = cos(phase);
            row[n++] = sin(phase);
        }
    af__inverse_shape(i, j, shape);
    for (k = 0; k < (size_t)AF__INVERSE_FEATURES; k++)
        row[n++] = (shape[k] - i->center[k]) / i->width[k];
}

/* theta_phi runs backwards where J_phi < 0, so that one network serves both senses. */
static double af__inverse_sense(const af_inverse *i, const double j[3]) {
    return i->axisymmetric && j[0] < 0.0 ? -1.0 : 1.0;
}

/* The toy's coordinates from the network's outputs. */
static void af__inverse_apply(const af_inverse *i, const double *out, const double j[3],
                              const double theta[3], double toy_j[3], double toy_theta[3]) {
    size_t k, shift = i->axisymmetric ? 2 : 3;
    double size = af__inverse_size(j);
    for (k = 0; k < 3; k++) toy_theta[k] = theta[k] + out[k];
    toy_theta[0] = theta[0] + af__inverse_sense(i, j) * out[0];
    toy_j[0] = i->axisymmetric ? j[0] : j[0] + size * out[3];
    for (k = 1; k < 3; k++) {
        toy_j[k] = j[k] + size * out[shift + k];
        if (toy_j[k] < 0.0) toy_j[k] = 0.0;
    }
}

/* What the network should have given: the other way round, angles on the shortest way. */
static void af__inverse_target(const af_inverse *i, const double j[3], const double theta[3],
                               const double toy_j[3], const double toy_theta[3], double *out) {
    size_t k, shift = i->axisymmetric ? 2 : 3;
    double size = af__inverse_size(j);
    for (k = 0; k < 3; k++) out[k] = remainder(toy_theta[k] - theta[k], 2.0 * AF__PI);
    out[0] *= af__inverse_sense(i, j);
    for (k = i->axisymmetric ? 1 : 0; k < 3; k++) out[shift + k] = (toy_j[k] - j[k]) / size;
}

/* ---- creation ---- */

/* Inputs and outputs are known. */
static af_status af__inverse_network(af_inverse *i) {
    af_net_desc net = i->net_desc;
    af_status s = af_params_create(i->context, i->seed, &i->params);
    if (s != AF_OK) return s;
    net.name = "inverse";
    net.inputs = af__inverse_inputs(i);
    net.outputs = af__inverse_outputs(i);
    return af_net_create(i->params, &net, &i->net);
}

enum { AF__INVERSE_HARMONICS = 64 };

static af_status af__inverse_check(af_context *c, const af_inverse_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "inverse: af_inverse_desc was not initialised to zero");
    if (d->harmonics > AF__INVERSE_HARMONICS || !af__net_sane(&d->net))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "inverse: %lu harmonics, at most %d are possible; or a network wider than "
                        "%d or deeper than %d",
                        (unsigned long)d->harmonics, (int)AF__INVERSE_HARMONICS,
                        (int)AF__WIDEST_NET, (int)AF__DEEPEST_NET);
    return AF_OK;
}

/* Means and standard deviations of the features over the stars that have actions j (n,3). */
static size_t af__inverse_whiten(af_inverse *i, const double *j, const unsigned *flags, size_t n) {
    double mean[AF__INVERSE_FEATURES] = AF__ZERO, square[AF__INVERSE_FEATURES] = AF__ZERO;
    size_t s, k, used = 0;
    for (s = 0; s < n; s++) {
        double shape[AF__INVERSE_FEATURES];
        if (flags[s] & (AF_ORBIT_FAILED | AF_STAR_UNCONVERGED) || !(j[3 * s + 1] >= 0.0) ||
            !(j[3 * s + 2] >= 0.0) || !(af__inverse_size(j + 3 * s) > 0.0))
            continue;
        used++;
        af__inverse_shape(i, j + 3 * s, shape);
        for (k = 0; k < (size_t)AF__INVERSE_FEATURES; k++) {
            double away = shape[k] - mean[k]; /* Welford */
            mean[k] += away / (double)used;
            square[k] += away * (shape[k] - mean[k]);
        }
    }
    for (k = 0; k < (size_t)AF__INVERSE_FEATURES && used; k++) {
        double width = sqrt(square[k] / (double)used);
        i->center[k] = mean[k];
        i->width[k] = width > 1e-6 ? width : 1.0;
    }
    return used;
}

static af_status af__inverse_look(af_inverse *i, const af_finder *f, const af_orbits *o) {
    af_context *c = i->context;
    af__arena scratch = AF__ZERO;
    af_evaluator *e = NULL;
    size_t n = o->streams * o->stars;
    double *j;
    unsigned *flags;
    af_status s;
    scratch.allocator = c->allocator;
    j = AF__ARRAY(&scratch, double, 3 * n);
    flags = AF__ARRAY(&scratch, unsigned, n);
    s = j && flags ? af_evaluator_create(f, 1, 256, c->threads, &e)
                   : af__fail_memory(c, "an inverse");
    if (s == AF_OK) {
        af_evaluate(e, n, af_orbits_xv(o, 0), NULL, j, NULL, flags);
        if (af__inverse_whiten(i, j, flags, n) == 0)
            s = af__fail(c, AF_ERROR_DATA, "inverse: the finder has actions for none of the stars");
    }
    af_evaluator_destroy(e);
    af__arena_free(&scratch);
    return s;
}

AF_API af_status af_inverse_create(const af_finder *f, const af_orbits *orbits,
                                   const af_inverse_desc *desc, af_inverse **out) {
    af_context *c = f->context;
    af_inverse_desc none = AF__ZERO;
    af_inverse *i;
    af_status s;
    *out = NULL;
    if (!desc) desc = &none;
    if (af__inverse_check(c, desc) != AF_OK) return c->status;
    i = af__inverse_new(c);
    if (!i) return c->status;
    i->toy = af_finder_toy(f);
    i->net_desc = desc->net;
    if (i->net_desc.depth == 0 && i->net_desc.architecture == AF_MLP) i->net_desc.depth = 3;
    i->harmonics = desc->harmonics ? desc->harmonics : 4;
    i->seed = desc->seed;
    i->axisymmetric = af_finder_is_axisymmetric(f);
    i->even = i->axisymmetric && f->g.desc.plane_symmetric == AF_SYMMETRY_YES;
    s = af__inverse_look(i, f, orbits);
    if (s == AF_OK) s = af__inverse_network(i);
    if (s != AF_OK) {
        af_inverse_destroy(i);
        return s;
    }
    *out = i;
    return AF_OK;
}

/* ---- evaluation ---- */

struct af_inverse_evaluator {
    const af_inverse *inverse;
    af__arena arena;
    size_t block;
    af_func *func;
    af_workspace *work;
    double *rows, *out; /* (block, inputs), (block, outputs) */
};

AF_API void af_inverse_evaluator_destroy(af_inverse_evaluator *e) {
    af_allocator allocator;
    if (!e) return;
    allocator = e->arena.allocator;
    af_workspace_destroy(e->work);
    af_func_destroy(e->func);
    af__arena_free(&e->arena);
    allocator.release(e, sizeof *e, allocator.user);
}

static af_status af__inverse_compile(af_inverse_evaluator *e, int threads) {
    const af_inverse *i = e->inverse;
    af_context *c = i->context;
    af_func_desc d = AF__ZERO;
    af_expr in[2], out;
    size_t dims[2];
    dims[0] = e->block;
    dims[1] = af__inverse_inputs(i);
    e->rows = AF__ARRAY(&e->arena, double, dims[0] * dims[1]);
    e->out = AF__ARRAY(&e->arena, double, dims[0] * af__inverse_outputs(i));
    if (!e->rows || !e->out) return af__fail_memory(c, "an evaluator");
    in[0] = af_params_input(i->params);
    in[1] = af_input(c, "angles and actions", 2, dims);
    out = af_net_apply(i->net, in[1], af__none);
    d.inputs = in;
    d.input_count = 2;
    d.outputs = &out;
    d.output_count = 1;
    d.label = "inverse";
    if (af_compile(c, &d, &e->func) != AF_OK) return c->status;
    return af_context_workspace(c, e->func, threads, &e->work);
}

AF_API af_status af_inverse_evaluator_create(const af_inverse *i, size_t block, int threads,
                                             af_inverse_evaluator **out) {
    af_context *c = i->context;
    af_inverse_evaluator *e;
    af_status s;
    *out = NULL;
    if (block == 0) return af__fail(c, AF_ERROR_ARGUMENT, "inverse: block must be positive");
    e = (af_inverse_evaluator *)c->allocator.allocate(sizeof *e, c->allocator.user);
    if (!e) return af__fail_memory(c, "an evaluator");
    memset(e, 0, sizeof *e);
    e->inverse = i;
    e->arena.allocator = c->allocator;
    e->block = block;
    s = af__inverse_compile(e, threads);
    if (s != AF_OK) {
        af_inverse_evaluator_destroy(e);
        return s;
    }
    *out = e;
    return AF_OK;
}

static void af__inverse_run(const af_inverse_evaluator *e) {
    const void *in[2];
    void *out[1];
    in[0] = af_params_data(e->inverse->params);
    in[1] = e->rows;
    out[0] = e->out;
    af_run(e->func, e->work, in, out);
}

static int af__inverse_takes(const double j[3], const double theta[3]) {
    return af__all_finite(j, 3) && af__all_finite(theta, 3) && j[1] >= 0.0 && j[2] >= 0.0;
}

AF_API size_t af_inverse_evaluate(af_inverse_evaluator *e, size_t n, const double *j,
                                  const double *theta, double *xv, unsigned *flags) {
    const af_inverse *i = e->inverse;
    size_t first, s, k, failed = 0, inputs = af__inverse_inputs(i);
    for (first = 0; first < n; first += e->block) {
        size_t count = n - first < e->block ? n - first : e->block;
        for (s = 0; s < count; s++)
            if (af__inverse_takes(j + 3 * (first + s), theta + 3 * (first + s)))
                af__inverse_row(i, j + 3 * (first + s), theta + 3 * (first + s),
                                e->rows + inputs * s);
        af__inverse_run(e);
        for (s = 0; s < count; s++) {
            size_t at = 3 * (first + s);
            double toy_j[3], toy_theta[3];
            unsigned flag = AF_ORBIT_INVALID;
            if (af__inverse_takes(j + at, theta + at)) {
                af__inverse_apply(i, e->out + af__inverse_outputs(i) * s, j + at, theta + at, toy_j,
                                  toy_theta);
                flag = af_isochrone_position(&i->toy, toy_j, toy_theta, xv + 2 * at, NULL);
            }
            for (k = 0; k < 6 && (flag & AF_ORBIT_FAILED); k++) xv[2 * at + k] = NAN;
            failed += (flag & AF_ORBIT_FAILED) != 0;
            if (flags) flags[first + s] = flag;
        }
    }
    return failed;
}

/* ---- files: safetensors, choices as texts, as in af_model.c ---- */

#define AF__INVERSE_FORMAT "actionfinder inverse 1"

static void af__inverse_fields(af__model_table *t, af_inverse *i, int choice[2]) {
    static const char *const net[6] = {"net.architecture", "net.activation", "net.width",
                                       "net.depth", "net.max_width", "net.weight_norm"};
    static const char *const center[AF__INVERSE_FEATURES] = {"center.0", "center.1", "center.2",
                                                             "center.3"};
    static const char *const width[AF__INVERSE_FEATURES] = {"width.0", "width.1", "width.2",
                                                            "width.3"};
    size_t k;
    af__add_number(t, "toy.mass_msun", &i->toy.mass);
    af__add_number(t, "toy.scale_kpc", &i->toy.scale);
    af__add_whole(t, "harmonics", &i->harmonics);
    af__add_choice(t, "axisymmetric", &i->axisymmetric);
    af__add_choice(t, "even", &i->even);
    for (k = 0; k < (size_t)AF__INVERSE_FEATURES; k++) {
        af__add_number(t, center[k], &i->center[k]);
        af__add_number(t, width[k], &i->width[k]);
    }
    af__net_fields(t, net, &i->net_desc, &choice[0], &choice[1]);
}

AF_API af_status af_inverse_save(const af_inverse *i, const char *path) {
    af_inverse copy = *i; /* the table of fields points into it */
    af__model_table fields = AF__ZERO;
    int choice[2];
    af_tensors *set;
    af_status s = af_tensors_create(i->context, &set);
    if (s != AF_OK) return s;
    choice[0] = (int)i->net_desc.architecture;
    choice[1] = (int)i->net_desc.activation;
    af__inverse_fields(&fields, &copy, choice);
    s = af_tensors_set_text(set, "format", AF__INVERSE_FORMAT);
    if (s == AF_OK) s = af__write_fields(set, &fields);
    if (s == AF_OK) s = af_params_save(i->params, set, "");
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

static int af__inverse_sane(const af_inverse *i, const int choice[2], const af_tensors *from) {
    uint64_t numbers = 0;
    size_t k;
    for (k = 0; k < af_tensors_count(from); k++) numbers += af_tensors_at(from, k)->count;
    for (k = 0; k < (size_t)AF__INVERSE_FEATURES; k++)
        if (!af__is_finite(i->center[k]) || !af__positive(i->width[k])) return 0;
    return af__within(choice[0], AF_RESDENSE) && af__within(choice[1], AF_RELU) &&
           i->harmonics >= 1 && i->harmonics <= AF__INVERSE_HARMONICS &&
           af__within(i->axisymmetric, 1) && af__within(i->even, i->axisymmetric) &&
           af__net_sane(&i->net_desc) && af__positive(i->toy.mass) &&
           af__is_finite(i->toy.scale) && i->toy.scale >= 0.0 &&
           af__net_least(&i->net_desc, af__inverse_outputs(i)) <= numbers;
}

static af_status af__inverse_take(af_inverse *i, const af_tensors *from, const char *path) {
    af__model_table fields = AF__ZERO;
    int choice[2] = {0, 0};
    const char *format = af_tensors_text(from, "format");
    af_status s;
    if (!format || strcmp(format, AF__INVERSE_FORMAT) != 0)
        return af__fail(i->context, AF_ERROR_FORMAT,
                        "'%s' is not an inverse (format '%.40s', expected '%s')", path,
                        format ? format : "none", AF__INVERSE_FORMAT);
    af__inverse_fields(&fields, i, choice);
    s = af__read_fields(from, &fields);
    if (s != AF_OK) return s;
    if (choice[0] == (int)AF_RESDENSE) i->net_desc.architecture = AF_RESDENSE; /* af__net_least */
    if (!af__inverse_sane(i, choice, from))
        return af__fail(i->context, AF_ERROR_FORMAT,
                        "'%s': the inverse's metadata make no sense", path);
    i->net_desc.activation = (af_activation)choice[1];
    s = af__inverse_network(i);
    if (s == AF_OK) s = af_params_load(i->params, from, "");
    if (s == AF_OK && !af__all_finite(af_params_data(i->params), af_params_size(i->params)))
        s = af__fail(i->context, AF_ERROR_FORMAT, "'%s': the inverse's numbers are not finite",
                     path);
    return s;
}

AF_API af_status af_inverse_load(af_context *c, const char *path, af_inverse **out) {
    af_tensors *set;
    af_inverse *i;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    i = af__inverse_new(c);
    s = i ? af__inverse_take(i, set, path) : c->status;
    af_tensors_destroy(set);
    if (s != AF_OK) {
        af_inverse_destroy(i);
        return s;
    }
    *out = i;
    return AF_OK;
}

#undef AF__INVERSE_FORMAT
