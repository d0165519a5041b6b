/* ---- ActionFinder: model files ------------------------------------------------------------------
 *
 * A safetensors file: the views of the parameters, the tables `harmonic` (K,3), `amplitude` (K) and
 * `whitening` (2,4), and all choices as texts in the metadata. */

#define AF__MODEL_FORMAT "actionfinder model 1"

/* A field of the description and its key; numbers are written with 17 digits. */
typedef struct af__model_field {
    const char *key;
    double *number;
    size_t *whole;
    int *choice;
} af__model_field;

enum { AF__FIELDS = 40 };

typedef struct af__model_table {
    af__model_field field[AF__FIELDS];
    size_t count;
} af__model_table;

static void af__add_number(af__model_table *t, const char *key, double *number) {
    af__model_field f = AF__ZERO;
    f.key = key;
    f.number = number;
    t->field[t->count++] = f;
}

static void af__add_whole(af__model_table *t, const char *key, size_t *whole) {
    af__model_field f = AF__ZERO;
    f.key = key;
    f.whole = whole;
    t->field[t->count++] = f;
}

static void af__add_choice(af__model_table *t, const char *key, int *choice) {
    af__model_field f = AF__ZERO;
    f.key = key;
    f.choice = choice;
    t->field[t->count++] = f;
}

/* Enumerations as integers, for the table of fields. */
typedef struct af__choices {
    int generator, chart, axisymmetric, plane_symmetric, time_symmetric, spread;
    int architecture[2], activation[2];
} af__choices;

static void af__choices_take(af__choices *k, const af_finder_desc *d) {
    k->generator = (int)d->generator;
    k->chart = (int)d->chart;
    k->axisymmetric = (int)d->axisymmetric;
    k->plane_symmetric = (int)d->plane_symmetric;
    k->time_symmetric = (int)d->time_symmetric;
    k->spread = (int)d->spread;
    k->architecture[0] = (int)d->net.architecture;
    k->architecture[1] = (int)d->point_net.architecture;
    k->activation[0] = (int)d->net.activation;
    k->activation[1] = (int)d->point_net.activation;
}

static void af__choices_give(const af__choices *k, af_finder_desc *d) {
    d->generator = (af_generator_kind)k->generator;
    d->chart = (af_chart)k->chart;
    d->axisymmetric = (af_symmetry)k->axisymmetric;
    d->plane_symmetric = (af_symmetry)k->plane_symmetric;
    d->time_symmetric = (af_symmetry)k->time_symmetric;
    d->spread = (af_spread_kind)k->spread;
    d->net.architecture = (af_architecture)k->architecture[0];
    d->point_net.architecture = (af_architecture)k->architecture[1];
    d->net.activation = (af_activation)k->activation[0];
    d->point_net.activation = (af_activation)k->activation[1];
}

static void af__net_fields(af__model_table *t, const char *const key[6], af_net_desc *d,
                           int *architecture, int *activation) {
    af__add_choice(t, key[0], architecture);
    af__add_choice(t, key[1], activation);
    af__add_whole(t, key[2], &d->width);
    af__add_whole(t, key[3], &d->depth);
    af__add_whole(t, key[4], &d->max_width);
    af__add_choice(t, key[5], &d->weight_norm);
}

static const char *const af__dropout_keys[2][2] = {{"net.dropout", "net.dropout_above"},
                                                   {"point.dropout", "point.dropout_above"}};

static void af__dropout_fields(af__model_table *t, const char *const key[2], af_net_desc *d) {
    if (d->dropout == 0.0) return;
    af__add_number(t, key[0], &d->dropout);
    af__add_whole(t, key[1], &d->dropout_above);
}

/* Whether a file has fields of dropout: any number but 0, to be replaced by the file's. */
static double af__has_dropout(const af_tensors *from, const char *const key[2]) {
    return af_tensors_text(from, key[0]) || af_tensors_text(from, key[1]) ? 0.5 : 0.0;
}

/* Everything that a loaded finder must know; of the dropout only where there is some, as older
 * files have nothing of it. */
static void af__model_fields(af__model_table *t, af_finder *f, af__choices *k) {
    static const char *const net[6] = {"net.architecture", "net.activation", "net.width",
                                       "net.depth", "net.max_width", "net.weight_norm"};
    static const char *const point[6] = {"point.architecture", "point.activation", "point.width",
                                         "point.depth", "point.max_width", "point.weight_norm"};
    af_finder_desc *d = &f->g.desc;
    af__add_number(t, "toy.mass_msun", &f->toy.mass);
    af__add_number(t, "toy.scale_kpc", &f->toy.scale);
    af__add_choice(t, "toy.free", &d->free_toy);
    af__add_number(t, "action_scale_kms_kpc", &f->g.action_scale);
    af__add_choice(t, "generator", &k->generator);
    af__add_whole(t, "features", &f->g.features);
    af__add_whole(t, "harmonics", &f->g.harmonics);
    af__add_choice(t, "axisymmetric", &k->axisymmetric);
    af__add_choice(t, "plane_symmetric", &k->plane_symmetric);
    af__add_choice(t, "time_symmetric", &k->time_symmetric);
    af__add_choice(t, "point_transformation", &d->point_transformation);
    af__add_choice(t, "spread", &k->spread);
    af__add_number(t, "softening_kms_kpc", &d->softening);
    af__add_number(t, "coefficient_penalty", &d->coefficient_penalty);
    af__add_number(t, "negative_weight", &d->negative_weight);
    af__add_number(t, "angle_weight", &d->angle_weight);
    if (k->generator == AF_GENERATOR_SHEARS) {
        af__add_choice(t, "chart", &k->chart);
        af__add_whole(t, "layers", &d->layers);
        af__add_whole(t, "width", &d->width);
        af__add_whole(t, "angle_harmonics", &d->angle_harmonics);
        af__add_number(t, "anchor", &d->anchor);
    }
    af__net_fields(t, net, &d->net, &k->architecture[0], &k->activation[0]);
    af__net_fields(t, point, &d->point_net, &k->architecture[1], &k->activation[1]);
    af__dropout_fields(t, af__dropout_keys[0], &d->net);
    af__dropout_fields(t, af__dropout_keys[1], &d->point_net);
}

static af_status af__write_fields(af_tensors *to, const af__model_table *t) {
    size_t i;
    af_status s = AF_OK;
    for (i = 0; i < t->count && s == AF_OK; i++) {
        const af__model_field *f = &t->field[i];
        if (f->number) s = af_tensors_set_number(to, f->key, *f->number);
        if (f->whole) s = af_tensors_set_whole(to, f->key, *f->whole);
        if (f->choice) s = af_tensors_set_whole(to, f->key, (uint64_t)*f->choice);
    }
    return s;
}

static af_status af__read_fields(const af_tensors *from, const af__model_table *t) {
    size_t i;
    af_status s = AF_OK;
    for (i = 0; i < t->count && s == AF_OK; i++) {
        const af__model_field *f = &t->field[i];
        uint64_t whole = 0;
        if (f->number) {
            s = af_tensors_number(from, f->key, f->number);
            continue;
        }
        s = af_tensors_whole(from, f->key, &whole);
        if (f->whole) *f->whole = (size_t)(whole < 1u << 24 ? whole : 1u << 24);
        if (f->choice) *f->choice = (int)(whole < 1u << 24 ? whole : 1u << 24);
    }
    return s;
}

static af_status af__write_arrays(af_tensors *to, const af__generator *g) {
    size_t dims[2];
    double whitening[8];
    af_status s;
    memcpy(whitening, g->center, sizeof g->center);
    memcpy(whitening + 4, g->width, sizeof g->width);
    dims[0] = 2;
    dims[1] = 4;
    s = af_tensors_add(to, "whitening", AF_DTYPE_F64, 2, dims, whitening);
    dims[0] = 13;
    if (s == AF_OK && g->shears) s = af_tensors_add(to, "chart", AF_DTYPE_F64, 1, dims, g->chart);
    if (s != AF_OK || g->harmonics == 0) return s;
    dims[0] = g->harmonics;
    dims[1] = 3;
    s = af_tensors_add(to, "harmonic", AF_DTYPE_F64, 2, dims, g->harmonic);
    return s == AF_OK ? af_tensors_add(to, "amplitude", AF_DTYPE_F64, 1, dims, g->amplitude) : s;
}

AF_API af_status af_finder_save(const af_finder *f, const char *path) {
    af_finder copy = *f; /* the table of fields points into it */
    af__model_table fields = AF__ZERO;
    af__choices choices;
    af_tensors *set;
    af_status s = af_tensors_create(f->context, &set);
    if (s != AF_OK) return s;
    af__choices_take(&choices, &f->g.desc);
    af__model_fields(&fields, &copy, &choices);
    s = af_tensors_set_text(set, "format", AF__MODEL_FORMAT);
    if (s == AF_OK)
        s = af_tensors_set_text(
            set, "conventions",
            "actions J_phi J_z J_r in km/s kpc, angles in rad, kpc, km/s, Msun");
    if (s == AF_OK) s = af__write_fields(set, &fields);
    if (s == AF_OK) s = af__write_arrays(set, &f->g);
    if (s == AF_OK) s = af_params_save(f->g.params, set, "");
    if (s == AF_OK && f->hamiltonian) s = af__hamiltonian_save(f->hamiltonian, set);
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

/* ---- reading: nothing in the file is believed before it is checked ---- */

static int af__choices_sane(const af__choices *k) {
    int i;
    for (i = 0; i < 2; i++)
        if (!af__within(k->architecture[i], AF_RESDENSE) || !af__within(k->activation[i], AF_RELU))
            return 0;
    return af__within(k->generator, AF_GENERATOR_SHEARS) && af__within(k->chart, AF_CHART_HALO) &&
           af__within(k->spread, AF_SPREAD_ABSOLUTE) &&
           af__within(k->axisymmetric, AF_SYMMETRY_NO) &&
           af__within(k->plane_symmetric, AF_SYMMETRY_NO) &&
           af__within(k->time_symmetric, AF_SYMMETRY_NO);
}

static int af__positive(double x) { return af__is_finite(x) && x > 0.0; }

static int af__model_sane(const af_finder *f, const af__choices *k) {
    const af_finder_desc *d = &f->g.desc;
    size_t features = af__feature_count((af_symmetry)k->axisymmetric);
    int shears = k->generator == AF_GENERATOR_SHEARS;
    int fourier = k->generator == AF_GENERATOR_FOURIER;
    if (!af__choices_sane(k) || !af__net_sane(&d->net) || !af__net_sane(&d->point_net)) return 0;
    if (!(d->net.dropout >= 0.0 && d->net.dropout < 1.0) ||
        !(d->point_net.dropout >= 0.0 && d->point_net.dropout < 1.0))
        return 0;
    if (shears && (d->layers - 1 >= 256 || d->width - 1 >= 4096 ||
                   d->angle_harmonics - 1 >= AF__HIGHEST_HARMONIC || d->free_toy ||
                   d->point_transformation || !af__is_finite(d->anchor)))
        return 0;
    if (f->g.features != features || fourier != (f->g.harmonics > 0) ||
        f->g.harmonics > AF__MOST_HARMONICS)
        return 0;
    return af__positive(f->toy.mass) && af__is_finite(f->toy.scale) && f->toy.scale >= 0.0 &&
           af__positive(f->g.action_scale) && af__positive(d->softening) &&
           af__is_finite(d->coefficient_penalty) && af__is_finite(d->negative_weight) &&
           af__is_finite(d->angle_weight);
}

/* A network has at least so many parameters: its square matrices and its last layer. */
static uint64_t af__net_least(const af_net_desc *d, uint64_t outputs) {
    af_net_desc net = *d;
    uint64_t least = 0, last;
    size_t i;
    af__net_defaults(&net);
    for (i = 0; i <= 2 * net.depth && net.architecture == AF_RESDENSE; i++) {
        uint64_t width = af__block_width(&net, i);
        least += 2 * width * width;
    }
    last = net.architecture == AF_RESDENSE ? af__block_width(&net, 0) : net.width;
    if (net.architecture == AF_MLP) least = (net.depth - 1) * last * last;
    return least + outputs * last;
}

/* True when the file is large enough for the networks that it announces: before they take
 * memory. */
static int af__model_fits(const af_finder *f, const af_tensors *from) {
    const af_finder_desc *d = &f->g.desc;
    uint64_t numbers = 0, least = af__net_least(&d->net, f->g.harmonics ? f->g.harmonics : 1);
    size_t i;
    if (d->generator == AF_GENERATOR_SHEARS) least = (uint64_t)d->layers * d->width;
    if (d->point_transformation) least += af__net_least(&d->point_net, 3);
    for (i = 0; i < af_tensors_count(from); i++) numbers += af_tensors_at(from, i)->count;
    return least <= numbers;
}

/* Whitening, harmonics (whole, so that G is periodic), amplitudes and parameters. */
static int af__arrays_sane(const af_finder *f) {
    const af__generator *g = &f->g;
    size_t i, whitened = g->harmonics ? g->features : 3;
    for (i = 0; i < whitened; i++)
        if (!af__is_finite(g->center[i]) || !af__positive(g->width[i])) return 0;
    for (i = 0; i < 6 && g->shears; i++)
        if (!af__is_finite(g->chart[i]) || !af__positive(g->chart[6 + i])) return 0;
    if (g->shears && !af__positive(g->chart[12])) return 0;
    for (i = 0; i < 3 * g->harmonics; i++)
        if (!(fabs(g->harmonic[i]) <= (double)AF__HIGHEST_HARMONIC) ||
            floor(g->harmonic[i]) != g->harmonic[i])
            return 0;
    return af__all_finite(g->amplitude, g->harmonics) &&
           af__all_finite(af_params_data(g->params), af_params_size(g->params));
}

static af_status af__read_arrays(const af_tensors *from, af_finder *f) {
    af__generator *g = &f->g;
    size_t dims[2];
    double whitening[8];
    af_status s;
    dims[0] = 2;
    dims[1] = 4;
    s = af_tensors_get(from, "whitening", 2, dims, whitening);
    if (s != AF_OK) return s;
    memcpy(g->center, whitening, sizeof g->center);
    memcpy(g->width, whitening + 4, sizeof g->width);
    dims[0] = 13;
    if (g->desc.generator == AF_GENERATOR_SHEARS)
        return af_tensors_get(from, "chart", 1, dims, g->chart);
    if (g->desc.generator != AF_GENERATOR_FOURIER) return AF_OK;
    g->harmonic = AF__ARRAY(&f->arena, double, 3 * g->harmonics);
    g->amplitude = AF__ARRAY(&f->arena, double, g->harmonics);
    if (!g->harmonic || !g->amplitude) return af__fail_memory(f->context, "a model");
    dims[0] = g->harmonics;
    dims[1] = 3;
    s = af_tensors_get(from, "harmonic", 2, dims, g->harmonic);
    return s == AF_OK ? af_tensors_get(from, "amplitude", 1, dims, g->amplitude) : s;
}

static af_status af__model_take(af_finder *f, const af_tensors *from, const char *path) {
    af__model_table fields = AF__ZERO;
    af__choices choices = AF__ZERO;
    const char *format = af_tensors_text(from, "format");
    uint64_t generator = 0;
    af_status s;
    if (!format || strcmp(format, AF__MODEL_FORMAT) != 0)
        return af__fail(f->context, AF_ERROR_FORMAT,
                        "'%s' is not an ActionFinder model (format '%.40s', expected '%s')", path,
                        format ? format : "none", AF__MODEL_FORMAT);
    s = af_tensors_whole(from, "generator", &generator); /* it tells which fields there are */
    choices.generator = generator == (uint64_t)AF_GENERATOR_SHEARS ? AF_GENERATOR_SHEARS : 0;
    f->g.desc.net.dropout = af__has_dropout(from, af__dropout_keys[0]);
    f->g.desc.point_net.dropout = af__has_dropout(from, af__dropout_keys[1]);
    af__model_fields(&fields, f, &choices);
    if (s == AF_OK) s = af__read_fields(from, &fields);
    if (s != AF_OK) return s;
    af__choices_give(&choices, &f->g.desc);
    if (!af__model_sane(f, &choices) || !af__model_fits(f, from))
        return af__fail(f->context, AF_ERROR_FORMAT, "'%s': the model's metadata make no sense",
                        path);
    s = af__read_arrays(from, f);
    if (s == AF_OK) s = af__finder_networks(f);
    if (s == AF_OK) s = af_params_load(f->g.params, from, "");
    if (s == AF_OK && !af__arrays_sane(f))
        s = af__fail(f->context, AF_ERROR_FORMAT, "'%s': the model's numbers are not finite", path);
    if (s == AF_OK) s = af__hamiltonian_load(f->context, from, path, &f->hamiltonian);
    return s;
}

AF_API af_status af_finder_load(af_context *c, const char *path, af_finder **out) {
    af_tensors *set;
    af_finder *f;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    f = af__finder_new(c);
    s = f ? af__model_take(f, set, path) : c->status;
    af_tensors_destroy(set);
    if (s != AF_OK) {
        af_finder_destroy(f);
        return s;
    }
    *out = f;
    return AF_OK;
}

#undef AF__MODEL_FORMAT
