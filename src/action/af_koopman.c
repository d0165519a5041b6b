/* ---- the Koopman symplectic autoencoder: the model ---------------------------------------------
 *
 * Inside, positions are in units of a length, momenta of action unit / length, times of a unit that
 * makes the fastest pair turn by about one radian; all are of order one. */

#define AF__TWO_PI (2.0 * AF__PI)

struct af_koopman {
    af_context *context;
    af__arena arena;
    af_koopman_desc desc; /* defaults filled in */
    size_t freedoms;      /* n */
    double action_unit, time_unit, length[AF_FREEDOMS_MAX];
    af_params *params;
    af_shear *map;
    size_t base;          /* view (n): Omega = base + ..., H = base.J + ... */
    size_t ridge[3];      /* tied: views of the ridge functions of H */
    af_net *frequency_net, *energy_net;  /* AF_RELATION_LOSS */
    size_t zero, zero_ridge[3]; /* views of the same kind: theta is counted from dF/dJ */
};

AF_API size_t af_koopman_freedoms(const af_koopman *k) { return k->freedoms; }
AF_API af_params *af_koopman_params(af_koopman *k) { return k->params; }
AF_API const af_koopman_desc *af_koopman_settings(const af_koopman *k) { return &k->desc; }

AF_API void af_koopman_destroy(af_koopman *k) {
    af_allocator allocator;
    if (!k) return;
    allocator = k->arena.allocator;
    af_net_destroy(k->energy_net);
    af_net_destroy(k->frequency_net);
    af_shear_destroy(k->map);
    af_params_destroy(k->params);
    af__arena_free(&k->arena);
    allocator.release(k, sizeof *k, allocator.user);
}

static af_koopman *af__koopman_new(af_context *c) {
    af_koopman *k = (af_koopman *)c->allocator.allocate(sizeof *k, c->allocator.user);
    if (!k) {
        af__fail_memory(c, "a model");
        return NULL;
    }
    memset(k, 0, sizeof *k);
    k->context = c;
    k->arena.allocator = c->allocator;
    return k;
}

/* ---- parameters ---- */

enum { AF__ZERO_WIDTH = 6 }; /* ridge functions of F */

static void af__koopman_defaults(af_koopman_desc *d) {
    if (d->layers == 0) d->layers = 8;
    if (d->width == 0) d->width = 6;
    if (d->frequency_width == 0) d->frequency_width = d->relation == AF_RELATION_TIED ? 6 : 32;
}

/* The numbers of a description, also of one from a file. */
static int af__koopman_sane(size_t freedoms, const af_koopman_desc *d) {
    return freedoms >= 1 && freedoms <= (size_t)AF_FREEDOMS_MAX &&
           af__within((int)d->ridge, AF_RIDGE_SIN) &&
           af__within((int)d->relation, AF_RELATION_LOSS) && d->layers <= 4096 &&
           d->width <= 65536 && d->frequency_width <= 65536 &&
           (d->asymmetric == 0 || d->asymmetric == 1);
}

/* Ridge functions of J: NAME.amplitude (width), NAME.direction (width,n), NAME.offset (width). */
static af_status af__koopman_ridges(af_koopman *k, const char *name, size_t width, double start,
                                    size_t view[3]) {
    static const char *const what[3] = {"amplitude", "direction", "offset"};
    char full[64];
    size_t i, dims[2];
    af_status s = AF_OK;
    dims[0] = width;
    dims[1] = k->freedoms;
    for (i = 0; i < 3 && s == AF_OK; i++) {
        snprintf(full, sizeof full, "%s.%s", name, what[i]);
        s = af_params_add(k->params, full, i == 1 ? 2 : 1, dims, AF_INIT_NORMAL,
                          i == 0 ? start : 1.0, &view[i]);
    }
    return s;
}

static af_status af__koopman_nets(af_koopman *k) {
    af_net_desc net = AF__ZERO;
    af_status s;
    net.name = "frequency";
    net.inputs = net.outputs = k->freedoms;
    net.activation = AF_TANH;
    net.width = k->desc.frequency_width;
    net.depth = 1;
    s = af_net_create(k->params, &net, &k->frequency_net);
    if (s != AF_OK) return s;
    net.name = "energy";
    net.outputs = 1;
    return af_net_create(k->params, &net, &k->energy_net);
}

/* Declares all parameters. */
static af_status af__koopman_declare(af_koopman *k) {
    af_shear_desc map = AF__ZERO;
    af_status s = af_params_create(k->context, k->desc.seed, &k->params);
    if (s != AF_OK) return s;
    map.name = "encoder";
    map.freedoms = k->freedoms;
    map.layers = k->desc.layers;
    map.width = k->desc.width;
    map.ridge = k->desc.ridge;
    map.odd = !k->desc.asymmetric;
    s = af_shear_create(k->params, &map, &k->map);
    if (s == AF_OK)
        s = af_params_add(k->params, "frequency.base", 1, &k->freedoms, AF_INIT_CONSTANT, 1.0,
                          &k->base);
    if (s == AF_OK)
        s = af_params_add(k->params, "zero.base", 1, &k->freedoms, AF_INIT_CONSTANT, 0.0, &k->zero);
    if (s == AF_OK) s = af__koopman_ridges(k, "zero", AF__ZERO_WIDTH, 0.0, k->zero_ridge);
    if (s != AF_OK) return s;
    if (k->desc.relation == AF_RELATION_LOSS) return af__koopman_nets(k);
    return af__koopman_ridges(k, "frequency", k->desc.frequency_width, 0.01, k->ridge);
}

/* ---- what the data tell: units, the centre, the first frequencies ---- */

/* Mean and size (root mean square about the centre) of coordinate i. */
static void af__koopman_extent(const af_trajectories *t, size_t i, int centred, double *mean,
                               double *size) {
    size_t o, s, n = 2 * af_trajectories_freedoms(t);
    double count = (double)af_trajectories_total(t), square = 0.0;
    *mean = 0.0;
    for (o = 0; o < af_trajectories_orbits(t) && centred; o++)
        for (s = 0; s < af_trajectories_samples(t, o); s++)
            *mean += af_trajectories_qp(t, o)[n * s + i] / count;
    for (o = 0; o < af_trajectories_orbits(t); o++)
        for (s = 0; s < af_trajectories_samples(t, o); s++) {
            double away = af_trajectories_qp(t, o)[n * s + i] - *mean;
            square += away * away / count;
        }
    *size = sqrt(square);
}

static af_status af__koopman_units(af_koopman *k, const af_trajectories *t, double center[]) {
    size_t i, n = k->freedoms;
    double size[2 * AF_FREEDOMS_MAX];
    for (i = 0; i < 2 * n; i++) {
        af__koopman_extent(t, i, k->desc.asymmetric, &center[i], &size[i]);
        if (!(size[i] > 0.0 && af__is_finite(size[i])))
            return af__fail(k->context, AF_ERROR_DATA,
                            "trajectories: %s_%lu has the same value in all samples, or one too "
                            "large; there is no motion to learn",
                            i < n ? "q" : "p", (unsigned long)(i % n + 1));
    }
    for (i = 0; i < n; i++) k->action_unit += size[i] * size[n + i] / (double)n;
    for (i = 0; i < n; i++) k->length[i] = sqrt(k->action_unit * size[i] / size[n + i]);
    return AF_OK;
}

/* Median over neighbouring samples of the angle turned, in the ellipse's own plane, by time. */
static double af__koopman_turning(const af_koopman *k, const af_trajectories *t, size_t i,
                                  const double center[], double *rate) {
    size_t o, s, n = k->freedoms, count = 0;
    for (o = 0; o < af_trajectories_orbits(t); o++) {
        const double *time = af_trajectories_time(t, o), *x = af_trajectories_qp(t, o);
        double before = 0.0;
        for (s = 0; s < af_trajectories_samples(t, o); s++, x += 2 * n) {
            double q = (x[i] - center[i]) / k->length[i];
            double p = (x[n + i] - center[n + i]) * k->length[i] / k->action_unit;
            double angle = atan2(q, p), turned = angle - before;
            turned -= AF__TWO_PI * floor(turned / AF__TWO_PI + 0.5);
            if (s > 0) rate[count++] = turned / (time[s] - time[s - 1]);
            before = angle;
        }
    }
    qsort(rate, count, sizeof *rate, af__compare_doubles);
    return rate[count / 2];
}

static af_status af__koopman_begin(af_koopman *k, const af_trajectories *t) {
    size_t i, n = k->freedoms;
    double center[2 * AF_FREEDOMS_MAX], rate[AF_FREEDOMS_MAX], fastest = 0.0, *room, *shift;
    af__arena scratch = AF__ZERO;
    af_status s = af__koopman_units(k, t, center);
    if (s != AF_OK) return s;
    scratch.allocator = k->context->allocator;
    room = AF__ARRAY(&scratch, double, af_trajectories_total(t));
    if (!room) return af__fail_memory(k->context, "a model");
    for (i = 0; i < n; i++) {
        rate[i] = af__koopman_turning(k, t, i, center, room);
        if (fabs(rate[i]) > fastest) fastest = fabs(rate[i]);
    }
    af__arena_free(&scratch);
    if (!(fastest > 0.0 && af__is_finite(fastest)))
        return af__fail(k->context, AF_ERROR_DATA,
                        "trajectories: q and p do not turn about %s; asymmetric = 1 looks for "
                        "another centre",
                        k->desc.asymmetric ? "their means" : "(0,0)");
    k->time_unit = 1.0 / fastest;
    s = af__koopman_declare(k);
    if (s != AF_OK) return s;
    for (i = 0; i < n; i++) af_params_view(k->params, k->base)[i] = rate[i] / fastest;
    shift = af_params_view(k->params, k->map->shift);
    for (i = 0; i < n && k->desc.asymmetric; i++) {
        shift[i] = -center[i] / k->length[i];
        shift[n + i] = -center[n + i] * k->length[i] / k->action_unit;
    }
    return AF_OK;
}

AF_API af_status af_koopman_create(af_context *c, const af_trajectories *t,
                                   const af_koopman_desc *desc, af_koopman **out) {
    af_koopman_desc none = AF__ZERO;
    af_koopman *k;
    af_status s;
    *out = NULL;
    if (!desc) desc = &none;
    if (desc->start_canary != 0 || desc->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "koopman: af_koopman_desc was not initialised to zero");
    if (!af__koopman_sane(af_trajectories_freedoms(t), desc))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "koopman: %lu layers of width %lu, or one of the choices, are not possible",
                        (unsigned long)desc->layers, (unsigned long)desc->width);
    k = af__koopman_new(c);
    if (!k) return c->status;
    k->desc = *desc;
    k->freedoms = af_trajectories_freedoms(t);
    af__koopman_defaults(&k->desc);
    s = af__koopman_begin(k, t);
    if (s == AF_OK) *out = k;
    else af_koopman_destroy(k);
    return s;
}

/* ---- expressions ---- */

/* A point of phase space, or psi: one expression for each degree of freedom, all of one shape. */
typedef struct af__plane {
    af_expr q[AF_FREEDOMS_MAX], p[AF_FREEDOMS_MAX];
} af__plane;

/* Rows (n, samples) of one expression of any shape for each degree of freedom; and back. */
static af_expr af__stack_freedoms(const af_koopman *k, const af_expr *x) {
    af_context *c = k->context;
    af_expr rows[AF_FREEDOMS_MAX];
    size_t i, dims[2];
    dims[0] = 1;
    dims[1] = af_size(c, x[0]);
    for (i = 0; i < k->freedoms; i++) rows[i] = af_reshape(c, x[i], 2, dims);
    return af_concat(c, 0, k->freedoms, rows);
}

static void af__split_freedoms(const af_koopman *k, af_expr rows, size_t rank, const size_t *dims,
                               af_expr *x) {
    af_context *c = k->context;
    size_t i;
    for (i = 0; i < k->freedoms; i++)
        x[i] = af_reshape(c, af_slice(c, rows, 0, i, 1), rank, dims);
}

/* J of psi. */
static void af__plane_actions(const af_koopman *k, const af__plane *psi, af_expr *j) {
    af_context *c = k->context;
    size_t i;
    for (i = 0; i < k->freedoms; i++)
        j[i] = af_scale(c, af_add(c, af_square(c, psi->q[i]), af_square(c, psi->p[i])), 0.5);
}

/* psi turned by the angles, each of the shape of psi or one that is repeated to it. */
static af__plane af__plane_turn(const af_koopman *k, const af__plane *psi, const af_expr *angle) {
    af_context *c = k->context;
    af__plane out;
    size_t i;
    for (i = 0; i < k->freedoms; i++) {
        af_expr cosine = af_cos(c, angle[i]), sine = af_sin(c, angle[i]);
        out.p[i] = af_sub(c, af_mul(c, psi->p[i], cosine), af_mul(c, psi->q[i], sine));
        out.q[i] = af_add(c, af_mul(c, psi->p[i], sine), af_mul(c, psi->q[i], cosine));
    }
    return out;
}

static af_expr af__base_column(const af_koopman *k, size_t view) {
    size_t dims[2];
    dims[0] = k->freedoms;
    dims[1] = 1;
    return af_reshape(k->context, af_params_expr(k->params, view), 2, dims);
}

/* base + the gradient of the ridge functions: j (n,M) -> (n,M). */
static af_expr af__ridge_slope(const af_koopman *k, size_t base, const size_t view[3], af_expr j) {
    af_context *c = k->context;
    af_expr slope = af_ridge_gradient(c, AF_RIDGE_TANH, j, af_params_expr(k->params, view[0]),
                                      af_params_expr(k->params, view[1]),
                                      af_params_expr(k->params, view[2]));
    return af_add(c, af__base_column(k, base), slope);
}

/* log cosh, exact at 0 and without overflow. */
static af_expr af__log_cosh(af_context *c, af_expr x) {
    af_expr a = af_abs(c, x), far = af_expm1(c, af_scale(c, a, -2.0));
    return af_add(c, a, af_log1p(c, af_scale(c, far, 0.5))); /* |x| + log((1 + exp(-2|x|))/2) */
}

/* H(J) - H(0) of the tied network, j (n,M) -> (1,M). */
static af_expr af__ridge_energy(const af_koopman *k, af_expr j) {
    af_context *c = k->context;
    size_t column[2], row[2];
    af_expr offset, inside, sum;
    column[0] = row[1] = k->desc.frequency_width;
    column[1] = row[0] = 1;
    offset = af_reshape(c, af_params_expr(k->params, k->ridge[2]), 2, column);
    inside = af_add(c, af_matmul(c, af_params_expr(k->params, k->ridge[1]), j), offset);
    sum = af_sub(c, af__log_cosh(c, inside), af__log_cosh(c, offset));
    sum = af_matmul(c, af_reshape(c, af_params_expr(k->params, k->ridge[0]), 2, row), sum);
    return af_add(c, sum, af_sum_axis(c, af_mul(c, af__base_column(k, k->base), j), 0));
}

static af_expr af__net_energy(const af_koopman *k, af_expr j) {
    af_context *c = k->context;
    af_expr none = AF__ZERO, zero, sum;
    size_t dims[2];
    dims[0] = 1;
    dims[1] = k->freedoms;
    zero = af_net_apply(k->energy_net, af_full(c, 2, dims, 0.0), none);
    sum = af_transpose(c, af_sub(c, af_net_apply(k->energy_net, af_transpose(c, j), none), zero));
    return af_add(c, sum, af_sum_axis(c, af_mul(c, af__base_column(k, k->base), j), 0));
}

/* H (1,M) and Omega (n,M) of actions j (n,M), all in the model's units. */
static af_expr af__koopman_energy(const af_koopman *k, af_expr j) {
    return k->desc.relation == AF_RELATION_TIED ? af__ridge_energy(k, j) : af__net_energy(k, j);
}

static af_expr af__koopman_omega(const af_koopman *k, af_expr j) {
    af_context *c = k->context;
    af_expr none = AF__ZERO, change;
    if (k->desc.relation == AF_RELATION_TIED) return af__ridge_slope(k, k->base, k->ridge, j);
    change = af_transpose(c, af_net_apply(k->frequency_net, af_transpose(c, j), none));
    return af_add(c, af__base_column(k, k->base), change);
}

/* Omega at actions of one shape for each degree of freedom. */
static void af__koopman_frequencies(const af_koopman *k, const af_expr *j, af_expr *omega) {
    size_t dims[AF_RANK_MAX], rank = af_shape(k->context, j[0], dims);
    af__split_freedoms(k, af__koopman_omega(k, af__stack_freedoms(k, j)), rank, dims, omega);
}

/* Where theta is counted from: dF/dJ. The trajectories do not fix it, and counting from elsewhere
 * is canonical; a fit ends with choosing F. */
static void af__koopman_zero(const af_koopman *k, const af_expr *j, af_expr *angle) {
    size_t dims[AF_RANK_MAX], rank = af_shape(k->context, j[0], dims);
    af_expr slope = af__ridge_slope(k, k->zero, k->zero_ridge, af__stack_freedoms(k, j));
    af__split_freedoms(k, slope, rank, dims, angle);
}

/* ---- files ---- */

#define AF__KOOPMAN_FORMAT "actionfinder koopman model 1"

static void af__koopman_fields(af__model_table *t, af_koopman *k, int *ridge, int *relation) {
    af__add_whole(t, "freedoms", &k->freedoms);
    af__add_choice(t, "asymmetric", &k->desc.asymmetric);
    af__add_whole(t, "layers", &k->desc.layers);
    af__add_whole(t, "width", &k->desc.width);
    af__add_choice(t, "ridge", ridge);
    af__add_choice(t, "relation", relation);
    af__add_whole(t, "frequency_width", &k->desc.frequency_width);
    af__add_number(t, "action_unit", &k->action_unit);
    af__add_number(t, "time_unit", &k->time_unit);
}

AF_API af_status af_koopman_save(const af_koopman *k, const char *path) {
    af_koopman copy = *k; /* the table of fields points into it */
    af__model_table fields = AF__ZERO;
    int ridge = (int)k->desc.ridge, relation = (int)k->desc.relation;
    af_tensors *set;
    af_status s = af_tensors_create(k->context, &set);
    if (s != AF_OK) return s;
    af__koopman_fields(&fields, &copy, &ridge, &relation);
    s = af_tensors_set_text(set, "format", AF__KOOPMAN_FORMAT);
    if (s == AF_OK)
        s = af_tensors_set_text(set, "conventions",
                                "psi = p + i q = sqrt(2J) exp(i theta), units of the trajectories");
    if (s == AF_OK) s = af__write_fields(set, &fields);
    if (s == AF_OK)
        s = af_tensors_add(set, "length", AF_DTYPE_F64, 1, &k->freedoms, k->length);
    if (s == AF_OK) s = af_params_save(k->params, set, "");
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

/* Nothing in the file is believed before it is checked. */
static int af__koopman_units_sane(const af_koopman *k) {
    size_t i;
    for (i = 0; i < k->freedoms; i++)
        if (!af__positive(k->length[i])) return 0;
    return af__positive(k->action_unit) && af__positive(k->time_unit) &&
           af__all_finite(af_params_data(k->params), af_params_size(k->params));
}

/* The file is at least as large as the map that it announces: before that takes memory. */
static int af__koopman_fits(const af_koopman *k, const af_tensors *from) {
    uint64_t numbers = 0, least = (uint64_t)k->desc.layers * k->desc.width * (k->freedoms + 1);
    size_t i;
    for (i = 0; i < af_tensors_count(from); i++) numbers += af_tensors_at(from, i)->count;
    return least + k->desc.frequency_width <= numbers;
}

static af_status af__koopman_take(af_koopman *k, const af_tensors *from, const char *path) {
    af__model_table fields = AF__ZERO;
    const char *format = af_tensors_text(from, "format");
    int ridge = 0, relation = 0;
    af_status s;
    if (!format || strcmp(format, AF__KOOPMAN_FORMAT) != 0)
        return af__fail(k->context, AF_ERROR_FORMAT,
                        "'%s' is not a Koopman model (format '%.40s', expected '%s')", path,
                        format ? format : "none", AF__KOOPMAN_FORMAT);
    af__koopman_fields(&fields, k, &ridge, &relation);
    s = af__read_fields(from, &fields);
    if (s != AF_OK) return s;
    k->desc.ridge = (af_ridge)ridge;
    k->desc.relation = (af_relation)relation;
    if (!af__koopman_sane(k->freedoms, &k->desc) || k->desc.layers == 0 || k->desc.width == 0 ||
        k->desc.frequency_width == 0 || !af__koopman_fits(k, from))
        return af__fail(k->context, AF_ERROR_FORMAT, "'%s': the model's metadata make no sense",
                        path);
    s = af_tensors_get(from, "length", 1, &k->freedoms, k->length);
    if (s == AF_OK) s = af__koopman_declare(k);
    if (s == AF_OK) s = af_params_load(k->params, from, "");
    if (s == AF_OK && !af__koopman_units_sane(k))
        s = af__fail(k->context, AF_ERROR_FORMAT, "'%s': the model's numbers are not finite", path);
    return s;
}

AF_API af_status af_koopman_load(af_context *c, const char *path, af_koopman **out) {
    af_tensors *set;
    af_koopman *k;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    k = af__koopman_new(c);
    s = k ? af__koopman_take(k, set, path) : c->status;
    af_tensors_destroy(set);
    if (s == AF_OK) *out = k;
    else af_koopman_destroy(k);
    return s;
}

#undef AF__KOOPMAN_FORMAT
