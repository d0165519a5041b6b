/* ---- the acceleration field: the model ------------------------------------------------------- */

struct af_accel {
    af_context *context;
    af__arena arena;
    af_accel_desc desc;       /* defaults resolved */
    double length, strength;  /* units of x [kpc] and a: medians of r and of the toy's |a| */
    af_params *params;
    af_net *net;
};

AF_API void af_accel_destroy(af_accel *a) {
    af_allocator allocator;
    if (!a) return;
    allocator = a->arena.allocator;
    af_net_destroy(a->net);
    af_params_destroy(a->params);
    af__arena_free(&a->arena);
    allocator.release(a, sizeof *a, allocator.user);
}

static af_accel *af__accel_new(af_context *c) {
    af_accel *a = (af_accel *)c->allocator.allocate(sizeof *a, c->allocator.user);
    if (!a) {
        af__fail_memory(c, "an acceleration field");
        return NULL;
    }
    memset(a, 0, sizeof *a);
    a->context = c;
    a->arena.allocator = c->allocator;
    return a;
}

AF_API af_isochrone af_accel_toy(const af_accel *a) { return a->desc.toy; }
AF_API size_t af_accel_parameters(const af_accel *a) { return af_params_size(a->params); }

/* ---- what is seen from the orbits ---- */

static af_status af__accel_toy_of(af_context *c, const af_orbits *o, af_isochrone *toy) {
    if (!(toy->mass >= 0.0) || !(toy->scale >= 0.0) || !af__is_finite(toy->mass) ||
        !af__is_finite(toy->scale))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: toy mass %g and scale %g must be positive and finite",
                        toy->mass, toy->scale);
    if (toy->mass > 0.0) return AF_OK;
    if (o->stars < 2)
        return af__fail(c, AF_ERROR_DATA,
                        "acceleration: the streams have one star each; give a toy");
    return af_isochrone_fit(c, o->xv, o->streams, o->stars, 0.0, toy, NULL);
}

/* Whether L_z is conserved in the streams to a hundredth of L, by the median. */
static int af__lz_is_conserved(const af_orbits *o, double *sorted) {
    size_t s, i, used = 0;
    for (s = 0; s < o->streams; s++) {
        double mean = 0.0, square = 0.0, l = 0.0;
        for (i = 0; i < o->count[s]; i++) {
            const double *x = af_orbits_xv(o, s) + 6 * i;
            double lx = x[1] * x[5] - x[2] * x[4], ly = x[2] * x[3] - x[0] * x[5];
            double lz = x[0] * x[4] - x[1] * x[3], away = lz - mean;
            mean += away / (double)(i + 1);
            square += away * (lz - mean);
            l += sqrt(lx * lx + ly * ly + lz * lz) / (double)o->count[s];
        }
        if (o->count[s] < 2) continue;
        sorted[used++] = l > 0.0 ? sqrt(square / (double)o->count[s]) / l : 0.0;
    }
    if (used == 0) return 1;
    qsort(sorted, used, sizeof *sorted, af__compare_doubles);
    return af__quantile(sorted, used, 0.5) < 0.01;
}

static double af__radius(const double x[3]) {
    return sqrt(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]);
}

static void af__toy_acceleration(const af_isochrone *toy, const double x[3], double a[3]) {
    af_potential part = af_isochrone_potential(toy);
    af_potential_acceleration(&part, 1, x, a);
}

/* Units: medians over the streams' first stars. */
static void af__accel_units(af_accel *a, const af_orbits *o, double *sorted) {
    size_t s;
    double pull[3];
    for (s = 0; s < o->streams; s++) sorted[s] = af__radius(af_orbits_xv(o, s));
    qsort(sorted, o->streams, sizeof *sorted, af__compare_doubles);
    a->length = af__quantile(sorted, o->streams, 0.5);
    for (s = 0; s < o->streams; s++) {
        af__toy_acceleration(&a->desc.toy, af_orbits_xv(o, s), pull);
        sorted[s] = af__radius(pull);
    }
    qsort(sorted, o->streams, sizeof *sorted, af__compare_doubles);
    a->strength = af__quantile(sorted, o->streams, 0.5);
}

/* ---- creation ---- */

static int af__accel_axisymmetric(const af_accel_desc *d) {
    return d->model == AF_ACCEL_POTENTIAL && d->axisymmetric == AF_SYMMETRY_YES;
}

static int af__accel_mirrored(const af_accel_desc *d) {
    return d->model == AF_ACCEL_POTENTIAL && d->plane_symmetric == AF_SYMMETRY_YES;
}

AF_API int af_accel_is_axisymmetric(const af_accel *a) {
    return af__accel_axisymmetric(&a->desc);
}

/* Features of the place, af__accel_features. */
static size_t af__accel_inputs(const af_accel_desc *d) {
    return (size_t)4 + (af__accel_axisymmetric(d) ? 0 : 1) + (af__accel_mirrored(d) ? 0 : 1);
}

static af_status af__accel_check(af_context *c, const af_accel_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: af_accel_desc was not initialised to zero");
    if (!af__within((int)d->model, AF_ACCEL_FREE) ||
        !af__within((int)d->axisymmetric, AF_SYMMETRY_NO) ||
        !af__within((int)d->plane_symmetric, AF_SYMMETRY_NO))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: there is no model %d, or a symmetry is neither auto, yes "
                        "nor no",
                        (int)d->model);
    if (!af__net_sane(&d->net))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: the network is wider than %d or deeper than %d",
                        (int)AF__WIDEST_NET, (int)AF__DEEPEST_NET);
    return AF_OK;
}

/* Declares the network; desc is final here. */
static af_status af__accel_network(af_accel *a) {
    af_net_desc net = a->desc.net;
    af_status s = af_params_create(a->context, a->desc.seed, &a->params);
    if (s != AF_OK) return s;
    net.name = "acceleration";
    net.inputs = af__accel_inputs(&a->desc);
    net.outputs = a->desc.model == AF_ACCEL_FREE ? 3 : 1;
    return af_net_create(a->params, &net, &a->net);
}

static af_status af__accel_setup(af_accel *a, const af_orbits *o) {
    af_context *c = a->context;
    af_accel_desc *d = &a->desc;
    af__arena scratch = AF__ZERO;
    double *sorted;
    af_status s;
    scratch.allocator = c->allocator;
    sorted = AF__ARRAY(&scratch, double, o->streams);
    s = sorted ? af__accel_toy_of(c, o, &d->toy) : af__fail_memory(c, "an acceleration field");
    if (s == AF_OK) {
        if (d->axisymmetric == AF_SYMMETRY_AUTO)
            d->axisymmetric = af__lz_is_conserved(o, sorted) ? AF_SYMMETRY_YES : AF_SYMMETRY_NO;
        if (d->plane_symmetric == AF_SYMMETRY_AUTO) d->plane_symmetric = AF_SYMMETRY_YES;
        if (d->net.width == 0 && d->net.architecture == AF_MLP) d->net.width = 32;
        af__accel_units(a, o, sorted);
        if (!(a->length > 0.0) || !(a->strength > 0.0))
            s = af__fail(c, AF_ERROR_DATA, "acceleration: most stars are in the centre");
    }
    af__arena_free(&scratch);
    return s == AF_OK ? af__accel_network(a) : s;
}

AF_API af_status af_accel_create(af_context *c, const af_orbits *orbits, const af_accel_desc *desc,
                                 af_accel **out) {
    af_accel_desc none = AF__ZERO;
    af_accel *a;
    af_status s;
    *out = NULL;
    if (!desc) desc = &none;
    if (af__accel_check(c, desc) != AF_OK) return c->status;
    a = af__accel_new(c);
    if (!a) return c->status;
    a->desc = *desc;
    s = af__accel_setup(a, orbits);
    if (s != AF_OK) {
        af_accel_destroy(a);
        return s;
    }
    af__log(c, "acceleration: %s, toy of %g Msun and %g kpc, %saxisymmetric, %lu parameters",
            a->desc.model == AF_ACCEL_FREE ? "free field" : "potential", a->desc.toy.mass,
            a->desc.toy.scale, af__accel_axisymmetric(&a->desc) ? "" : "not ",
            (unsigned long)af_accel_parameters(a));
    *out = a;
    return AF_OK;
}

/* ---- the field as an expression ----
 *
 * Points are rows, x (n,3) [kpc]; accelerations (n,3) in units of `strength`, Phi (n,1) in units of
 * length strength. */

typedef struct af__gravity {
    af_expr acceleration, potential; /* potential none for a free field */
} af__gravity;

static af_expr af__coordinate(af_context *c, af_expr x, size_t i) {
    return af_slice(c, x, -1, i, 1);
}

/* log sqrt(x^2 + core^2). */
static af_expr af__log_length(af_context *c, af_expr square, double core) {
    return af_scale(c, af_log(c, af_offset(c, square, core * core)), 0.5);
}

/* Where features flatten, in units of length: 0.1 for r and R; two lengths for z, since discs are
 * thin. */
#define AF__CORE 0.1
#define AF__CORE_THIN 0.03
#define AF__CORE_THICK 0.3

/* Smooth functions of the place with the potential's symmetries, (n, inputs), of order one. */
static af_expr af__accel_features(const af_accel *a, af_expr x) {
    af_context *c = a->context;
    af_expr f[8], part[3], r2, big2, z2, r;
    size_t k, n = 0;
    for (k = 0; k < 3; k++) part[k] = af_scale(c, af__coordinate(c, x, k), 1.0 / a->length);
    z2 = af_square(c, part[2]);
    big2 = af_add(c, af_square(c, part[0]), af_square(c, part[1]));
    r2 = af_add(c, big2, z2);
    r = af_sqrt(c, af_offset(c, r2, AF__CORE * AF__CORE));
    f[n++] = af__log_length(c, r2, AF__CORE);
    f[n++] = af_offset(c, af__log_length(c, z2, AF__CORE_THIN), 1.0);
    f[n++] = af__log_length(c, z2, AF__CORE_THICK);
    if (af__accel_axisymmetric(&a->desc)) {
        f[n++] = af__log_length(c, big2, AF__CORE);
    } else {
        f[n++] = af_div(c, part[0], r);
        f[n++] = af_div(c, part[1], r);
    }
    if (!af__accel_mirrored(&a->desc)) { /* which side of a thin disc */
        z2 = af_sqrt(c, af_offset(c, z2, AF__CORE_THIN * AF__CORE_THIN));
        f[n++] = af_div(c, part[2], z2);
    }
    return af_concat(c, -1, n, f);
}

/* The toy: -GM/(b + s) and its gradient -GM x/(s (b + s)^2), s^2 = b^2 + r^2. */
static af__gravity af__toy_field(const af_accel *a, af_expr x) {
    af_context *c = a->context;
    double mu = AF_GRAVITY * a->desc.toy.mass, b = a->desc.toy.scale;
    af_expr s = af_sqrt(c, af_offset(c, af_sum_axis(c, af_square(c, x), -1), b * b));
    af_expr wide = af_offset(c, s, b);
    af__gravity f;
    f.potential = af_scale(c, af_reciprocal(c, wide), -mu / (a->length * a->strength));
    f.acceleration = af_mul(c, s, af_square(c, wide));
    f.acceleration = af_scale(c, af_div(c, x, f.acceleration), -mu / a->strength);
    return f;
}

/* d y/dx (n,3) of y (n,1), which treats points one by one. */
static af_expr af__point_gradient(af_context *c, af_expr y, af_expr x) {
    static const double identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    size_t d[AF_RANK_MAX], dims[3];
    af_expr units, slope;
    if (af_shape(c, x, d) != 2) return af__none;
    dims[0] = 3;
    dims[1] = 1;
    dims[2] = 3;
    units = af_constant_array(c, 3, dims, identity);
    dims[1] = d[0];
    units = af_broadcast(c, units, 3, dims);
    if (af_jvp(c, 1, &y, 1, &x, &units, &slope) != AF_OK) return af__none; /* (3,n,1) */
    dims[0] = 3;
    dims[1] = d[0];
    return af_transpose(c, af_reshape(c, slope, 2, dims));
}

static af__gravity af__accel_field(const af_accel *a, af_expr x) {
    af_context *c = a->context;
    af__gravity f = af__toy_field(a, x);
    af_expr pull, out;
    out = af_net_apply(a->net, af__accel_features(a, x), af__none);
    if (a->desc.model == AF_ACCEL_FREE) { /* relative: the field spans powers of ten */
        pull = af_sqrt(c, af_sum_axis(c, af_square(c, f.acceleration), -1));
        f.acceleration = af_add(c, f.acceleration, af_mul(c, pull, out));
        f.potential = af__none;
        return f;
    }
    f.potential = af_add(c, f.potential, out);
    out = af_scale(c, af__point_gradient(c, out, x), a->length);
    f.acceleration = af_sub(c, f.acceleration, out);
    return f;
}

/* ---- evaluation ---- */

struct af_accel_evaluator {
    const af_accel *field;
    af__arena arena;
    size_t block;
    af_func *function;
    af_workspace *work;
    double *x, *a, *phi; /* (block,3), (block,3), (block) */
};

AF_API void af_accel_evaluator_destroy(af_accel_evaluator *e) {
    af_allocator allocator;
    if (!e) return;
    allocator = e->arena.allocator;
    af_workspace_destroy(e->work);
    af_func_destroy(e->function);
    af__arena_free(&e->arena);
    allocator.release(e, sizeof *e, allocator.user);
}

static af_status af__accel_evaluator_setup(af_accel_evaluator *e, int threads) {
    const af_accel *a = e->field;
    af_context *c = a->context;
    af_func_desc d = AF__ZERO;
    af_expr in[2], out[2];
    size_t dims[2];
    af__gravity f;
    dims[0] = e->block;
    dims[1] = 3;
    e->x = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->a = AF__ARRAY(&e->arena, double, 3 * e->block);
    e->phi = AF__ARRAY(&e->arena, double, e->block);
    if (!e->x || !e->a || !e->phi) return af__fail_memory(c, "an evaluator");
    in[0] = af_params_input(a->params);
    in[1] = af_input(c, "x", 2, dims);
    f = af__accel_field(a, in[1]);
    out[0] = f.acceleration;
    out[1] = f.potential;
    d.inputs = in;
    d.input_count = 2;
    d.outputs = out;
    d.output_count = a->desc.model == AF_ACCEL_FREE ? 1 : 2;
    d.label = "acceleration field";
    if (af_compile(c, &d, &e->function) != AF_OK) return c->status;
    return af_context_workspace(c, e->function, threads, &e->work);
}

AF_API af_status af_accel_evaluator_create(const af_accel *a, size_t block, int threads,
                                           af_accel_evaluator **out) {
    af_context *c = a->context;
    af_accel_evaluator *e;
    af_status s;
    *out = NULL;
    if (block == 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "acceleration: block must be positive");
    e = (af_accel_evaluator *)c->allocator.allocate(sizeof *e, c->allocator.user);
    if (!e) return af__fail_memory(c, "an evaluator");
    memset(e, 0, sizeof *e);
    e->field = a;
    e->arena.allocator = c->allocator;
    e->block = block;
    s = af__accel_evaluator_setup(e, threads);
    if (s != AF_OK) {
        af_accel_evaluator_destroy(e);
        return s;
    }
    *out = e;
    return AF_OK;
}

AF_API void af_accel_evaluate(af_accel_evaluator *e, size_t points, const double *x,
                              double *acceleration, double *potential) {
    const af_accel *a = e->field;
    const void *in[2];
    void *out[2];
    size_t first, i, n;
    in[0] = af_params_data(a->params);
    in[1] = e->x;
    out[0] = e->a;
    out[1] = e->phi;
    for (first = 0; first < points; first += n) {
        n = points - first < e->block ? points - first : e->block;
        memcpy(e->x, x + 3 * first, 3 * n * sizeof *x);
        for (i = 3 * n; i < 3 * e->block; i++) e->x[i] = a->length;
        af_run(e->function, e->work, in, out);
        for (i = 0; i < 3 * n && acceleration; i++)
            acceleration[3 * first + i] = a->strength * e->a[i];
        for (i = 0; i < n && potential; i++)
            potential[first + i] = a->desc.model == AF_ACCEL_FREE
                                       ? NAN
                                       : a->strength * a->length * e->phi[i];
    }
}

static void af__accel_pull(const double x[3], double acceleration[3], void *user) {
    af_accel_evaluate((af_accel_evaluator *)user, 1, x, acceleration, NULL);
}

AF_API af_force af_accel_force(af_accel_evaluator *e) {
    af_force force;
    force.acceleration = af__accel_pull;
    force.user = e;
    return force;
}

/* ---- frequencies ---- */

/* dtheta/dt of one star from dtheta (3,6), v and a. */
static void af__star_frequencies(const double *dtheta, const double *v, const double *a,
                                 double omega[3]) {
    size_t i, k;
    for (i = 0; i < 3; i++) {
        omega[i] = 0.0;
        for (k = 0; k < 3; k++)
            omega[i] += dtheta[6 * i + k] * v[k] + dtheta[6 * i + 3 + k] * a[k];
    }
}

static void af__stream_frequencies(const double *omega, size_t stars, double *sorted,
                                   double median[3]) {
    size_t i, k, n;
    for (k = 0; k < 3; k++) {
        for (i = 0, n = 0; i < stars; i++)
            if (af__is_finite(omega[3 * i + k])) sorted[n++] = omega[3 * i + k];
        qsort(sorted, n, sizeof *sorted, af__compare_doubles);
        median[k] = n ? af__quantile(sorted, n, 0.5) : NAN;
    }
}

enum { AF__FREQUENCY_STREAMS = 64 }; /* at a time */

/* Memory: dtheta (64 N,3,6), x and a (64 N,3), one stream sorted. */
static af_status af__accel_frequencies_by(af_accel_evaluator *e, const af_orbits *o,
                                          const af_phase_map *map, double *omega,
                                          double *omega_stream, af__arena *scratch) {
    size_t s, i, k, n = o->stars, most = (size_t)AF__FREQUENCY_STREAMS * n;
    double *dtheta = AF__ARRAY(scratch, double, 18 * most);
    double *a = AF__ARRAY(scratch, double, 3 * most), *x = AF__ARRAY(scratch, double, 3 * most);
    double *sorted = AF__ARRAY(scratch, double, n);
    if (!dtheta || !a || !x || !sorted)
        return af__fail_memory(e->field->context, "the frequencies");
    for (s = 0; s < o->streams; s += (size_t)AF__FREQUENCY_STREAMS) {
        size_t m = af__clamp(o->streams - s, 1, (size_t)AF__FREQUENCY_STREAMS);
        const double *xv = af_orbits_xv(o, s);
        map->evaluate(m, n, xv, o->count + s, NULL, NULL, NULL, dtheta, map->user);
        for (i = 0; i < m * n; i++)
            for (k = 0; k < 3; k++) x[3 * i + k] = xv[6 * i + k];
        af_accel_evaluate(e, m * n, x, a, NULL);
        for (i = 0; i < m * n; i++)
            af__star_frequencies(dtheta + 18 * i, xv + 6 * i + 3, a + 3 * i,
                                 omega + 3 * (s * n + i));
        for (i = 0; i < m && omega_stream; i++)
            af__stream_frequencies(omega + 3 * (s + i) * n, n, sorted, omega_stream + 3 * (s + i));
    }
    return AF_OK;
}

AF_API af_status af_accel_frequencies(const af_accel *a, const af_orbits *orbits,
                                      const af_phase_map *map, double *omega,
                                      double *omega_stream) {
    af_context *c = a->context;
    af__arena scratch = AF__ZERO;
    af_accel_evaluator *e;
    af_status s = af_accel_evaluator_create(a, 256, c->threads, &e);
    if (s != AF_OK) return s;
    scratch.allocator = c->allocator;
    s = af__accel_frequencies_by(e, orbits, map, omega, omega_stream, &scratch);
    af__arena_free(&scratch);
    af_accel_evaluator_destroy(e);
    return s;
}

/* ---- files: safetensors, choices as texts, as in af_model.c ---- */

#define AF__ACCEL_FORMAT "actionfinder acceleration 1"

static void af__accel_fields(af__model_table *t, af_accel *a, int choice[5]) {
    static const char *const net[6] = {"net.architecture", "net.activation", "net.width",
                                       "net.depth", "net.max_width", "net.weight_norm"};
    af__add_choice(t, "model", &choice[0]);
    af__add_choice(t, "axisymmetric", &choice[1]);
    af__add_choice(t, "plane_symmetric", &choice[2]);
    af__add_number(t, "toy.mass_msun", &a->desc.toy.mass);
    af__add_number(t, "toy.scale_kpc", &a->desc.toy.scale);
    af__add_number(t, "length_kpc", &a->length);
    af__add_number(t, "strength_kms2_kpc", &a->strength);
    af__net_fields(t, net, &a->desc.net, &choice[3], &choice[4]);
}

AF_API af_status af_accel_save(const af_accel *a, const char *path) {
    af_accel copy = *a; /* the table of fields points into it */
    af__model_table fields = AF__ZERO;
    int choice[5];
    af_tensors *set;
    af_status s = af_tensors_create(a->context, &set);
    if (s != AF_OK) return s;
    choice[0] = (int)a->desc.model;
    choice[1] = (int)a->desc.axisymmetric;
    choice[2] = (int)a->desc.plane_symmetric;
    choice[3] = (int)a->desc.net.architecture;
    choice[4] = (int)a->desc.net.activation;
    af__accel_fields(&fields, &copy, choice);
    s = af_tensors_set_text(set, "format", AF__ACCEL_FORMAT);
    if (s == AF_OK) s = af__write_fields(set, &fields);
    if (s == AF_OK) s = af_params_save(a->params, set, "");
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

static int af__accel_sane(const af_accel *a, const int choice[5], const af_tensors *from) {
    uint64_t numbers = 0;
    size_t i;
    for (i = 0; i < af_tensors_count(from); i++) numbers += af_tensors_at(from, i)->count;
    return af__within(choice[0], AF_ACCEL_FREE) && af__within(choice[1], AF_SYMMETRY_NO) &&
           af__within(choice[2], AF_SYMMETRY_NO) && af__within(choice[3], AF_RESDENSE) &&
           af__within(choice[4], AF_RELU) && af__net_sane(&a->desc.net) &&
           af__positive(a->desc.toy.mass) && af__is_finite(a->desc.toy.scale) &&
           a->desc.toy.scale >= 0.0 && af__positive(a->length) && af__positive(a->strength) &&
           af__net_least(&a->desc.net, choice[0] == AF_ACCEL_FREE ? 3 : 1) <= numbers;
}

static af_status af__accel_take(af_accel *a, const af_tensors *from, const char *path) {
    af__model_table fields = AF__ZERO;
    int choice[5] = {0, 0, 0, 0, 0};
    const char *format = af_tensors_text(from, "format");
    af_status s;
    if (!format || strcmp(format, AF__ACCEL_FORMAT) != 0)
        return af__fail(a->context, AF_ERROR_FORMAT,
                        "'%s' is not an acceleration field (format '%.40s', expected '%s')", path,
                        format ? format : "none", AF__ACCEL_FORMAT);
    af__accel_fields(&fields, a, choice);
    s = af__read_fields(from, &fields);
    if (s != AF_OK) return s;
    if (choice[3] == (int)AF_RESDENSE) a->desc.net.architecture = AF_RESDENSE; /* af__net_least */
    if (!af__accel_sane(a, choice, from))
        return af__fail(a->context, AF_ERROR_FORMAT,
                        "'%s': the field's metadata make no sense", path);
    a->desc.model = (af_accel_model)choice[0];
    a->desc.axisymmetric = (af_symmetry)choice[1];
    a->desc.plane_symmetric = (af_symmetry)choice[2];
    a->desc.net.activation = (af_activation)choice[4];
    s = af__accel_network(a);
    if (s == AF_OK) s = af_params_load(a->params, from, "");
    if (s == AF_OK && !af__all_finite(af_params_data(a->params), af_params_size(a->params)))
        s = af__fail(a->context, AF_ERROR_FORMAT, "'%s': the field's numbers are not finite", path);
    return s;
}

AF_API af_status af_accel_load(af_context *c, const char *path, af_accel **out) {
    af_tensors *set;
    af_accel *a;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    a = af__accel_new(c);
    s = a ? af__accel_take(a, set, path) : c->status;
    af_tensors_destroy(set);
    if (s != AF_OK) {
        af_accel_destroy(a);
        return s;
    }
    *out = a;
    return AF_OK;
}

#undef AF__ACCEL_FORMAT
#undef AF__CORE
#undef AF__CORE_THIN
#undef AF__CORE_THICK
