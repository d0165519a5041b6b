/* ---- samples of stars ------------------------------------------------------------------------ */

struct dp_sample {
    af_context *context;
    dp__arena arena;
    size_t n;
    double *eta;     /* (n,6) */
    double *weights; /* (n) or NULL */
    double *errors;  /* (n,6) or NULL */
    dp_volume volume;
};

/* The columns of a table: what must be there, then the weight, then errors. */
static const char *const dp__columns[13] = {
    "x",      "y",       "z",       "vx",      "vy",       "vz",      "weight",
    "x_error", "y_error", "z_error", "vx_error", "vy_error", "vz_error"};

/* ---- volumes ---- */

AF_API int dp_volume_holds(const dp_volume *volume, const double x[3]) {
    double dx = x[0] - volume->centre[0], dy = x[1] - volume->centre[1];
    double z = fabs(x[2] - volume->centre[2]), cylinder = hypot(dx, dy), r = hypot(cylinder, z);
    if (volume->kind == DP_VOLUME_SPHERE) return r >= volume->inner && r < volume->outer;
    if (volume->kind == DP_VOLUME_CYLINDER)
        return cylinder < volume->outer && z < volume->height &&
               !(cylinder < volume->inner && (volume->hole == 0.0 || z < volume->hole));
    return 1;
}

/* Comparisons are written so that NaN fails. An outer radius or a height may be infinite. */
static af_status dp__volume_check(af_context *c, const dp_volume *v) {
    int k;
    if ((int)v->kind < (int)DP_VOLUME_ALL || (int)v->kind > (int)DP_VOLUME_CYLINDER)
        return af_fail(c, AF_ERROR_ARGUMENT, "there is no kind %d of volume", (int)v->kind);
    if (v->kind == DP_VOLUME_ALL) return AF_OK;
    for (k = 0; k < 3; k++)
        if (!dp__is_finite(v->centre[k]))
            return af_fail(c, AF_ERROR_ARGUMENT, "the volume's centre has %s = %g",
                           dp__columns[k], v->centre[k]);
    if (!(v->inner >= 0.0 && v->outer > v->inner))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "the volume is empty: its radii go from inner = %g to outer = %g", v->inner,
                       v->outer);
    if (v->kind == DP_VOLUME_CYLINDER && !(v->height > 0.0 && v->hole >= 0.0))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "the cylinder needs a height above 0 and a hole that is not negative, not "
                       "height = %g, hole = %g",
                       v->height, v->hole);
    return AF_OK;
}

/* ---- making samples ---- */

/* Where stars come from, for the copy and for its sentences. */
typedef struct dp__stars {
    af_context *context;
    const char *path; /* NULL: arrays of the caller */
    size_t n;
    const double *eta, *weights, *errors;
} dp__stars;

static af_status dp__star_fail(const dp__stars *from, size_t i, const char *name, double value,
                               const char *wrong) {
    if (from->path)
        return af_fail(from->context, AF_ERROR_DATA, "'%.200s', row %zu: %s is %g, %s", from->path,
                       i + 1, name, value, wrong);
    return af_fail(from->context, AF_ERROR_DATA, "sample, star %zu: %s is %g, %s", i, name, value,
                   wrong);
}

static af_status dp__star_check(const dp__stars *from, size_t i) {
    static const char finite[] = "not a finite number; leave the star out or repair it";
    static const char sign[] = "not zero or above; leave the star out or repair it";
    size_t k;
    for (k = 0; k < 6; k++)
        if (!dp__is_finite(from->eta[6 * i + k]))
            return dp__star_fail(from, i, dp__columns[k], from->eta[6 * i + k], finite);
    if (from->weights && !(from->weights[i] >= 0.0 && from->weights[i] <= DBL_MAX))
        return dp__star_fail(from, i, dp__columns[6], from->weights[i], sign);
    for (k = 0; k < 6 && from->errors; k++)
        if (!(from->errors[6 * i + k] >= 0.0 && from->errors[6 * i + k] <= DBL_MAX))
            return dp__star_fail(from, i, dp__columns[7 + k], from->errors[6 * i + k], sign);
    return AF_OK;
}

/* Checks all stars, and counts those within the volume. */
static af_status dp__stars_check(const dp__stars *from, const dp_volume *volume, size_t *kept) {
    size_t i, weighted = 0;
    *kept = 0;
    for (i = 0; i < from->n; i++) {
        af_status s = dp__star_check(from, i);
        if (s != AF_OK) return s;
        if (!dp_volume_holds(volume, from->eta + 6 * i)) continue;
        weighted += !from->weights || from->weights[i] > 0.0;
        ++*kept;
    }
    if (weighted > 0) return AF_OK;
    return af_fail(from->context, AF_ERROR_DATA,
                   "%s%.200s%s: of %zu stars, %zu are within the volume, and none has a weight "
                   "above 0", from->path ? "'" : "", from->path ? from->path : "sample",
                   from->path ? "'" : "", from->n, *kept);
}

AF_API void dp_sample_destroy(dp_sample *s) {
    dp__arena arena;
    if (!s) return;
    arena = s->arena; /* the object lies in its own arena */
    dp__arena_free(&arena);
}

static dp_sample *dp__sample_new(const dp__stars *from, size_t n) {
    dp__arena arena = dp__arena_open(from->context);
    dp_sample *s = DP__NEW(&arena, dp_sample);
    if (s) {
        s->context = from->context;
        s->n = n;
        s->eta = DP__ARRAY(&arena, double, 6 * n);
        if (from->weights) s->weights = DP__ARRAY(&arena, double, n);
        if (from->errors) s->errors = DP__ARRAY(&arena, double, 6 * n);
        s->arena = arena;
        if (s->eta && (s->weights || !from->weights) && (s->errors || !from->errors)) return s;
    }
    dp__arena_free(&arena);
    dp__fail_memory(from->context, "a sample of stars");
    return NULL;
}

static af_status dp__sample_fill(const dp__stars *from, const dp_volume *volume, dp_sample **out) {
    dp_volume v = DP__ZERO;
    size_t i, n, at = 0;
    af_status status;
    dp_sample *s;
    *out = NULL;
    if (volume) v = *volume;
    status = dp__volume_check(from->context, &v);
    if (status == AF_OK) status = dp__stars_check(from, &v, &n);
    if (status != AF_OK) return status;
    s = dp__sample_new(from, n);
    if (!s) return AF_ERROR_MEMORY;
    s->volume = v;
    for (i = 0; i < from->n; i++) {
        if (!dp_volume_holds(&v, from->eta + 6 * i)) continue;
        memcpy(s->eta + 6 * at, from->eta + 6 * i, 6 * sizeof(double));
        if (s->weights) s->weights[at] = from->weights[i];
        if (s->errors) memcpy(s->errors + 6 * at, from->errors + 6 * i, 6 * sizeof(double));
        at++;
    }
    *out = s;
    return AF_OK;
}

AF_API af_status dp_sample_create(af_context *c, size_t n, const double *eta,
                                  const double *weights, const double *errors,
                                  const dp_volume *volume, dp_sample **out) {
    dp__stars from = DP__ZERO;
    from.context = c;
    from.n = n;
    from.eta = eta;
    from.weights = weights;
    from.errors = errors;
    return dp__sample_fill(&from, volume, out);
}

AF_API af_status dp_sample_cut(const dp_sample *s, const dp_volume *volume, dp_sample **out) {
    return dp_sample_create(s->context, s->n, s->eta, s->weights, s->errors,
                            volume ? volume : &s->volume, out);
}

/* ---- files ---- */

static af_status dp__sample_npy(af_context *c, const char *path, const dp_volume *volume,
                                dp_sample **out) {
    dp__arena scratch = dp__arena_open(c);
    dp__stars from = DP__ZERO;
    af_array *a;
    double *split;
    size_t i;
    af_status s = af_npy_read(c, path, &a);
    if (s != AF_OK) return s;
    from.context = c;
    from.path = path;
    from.n = a->rank == 2 ? a->dims[0] : 0;
    if (a->rank != 2 || (a->dims[1] != 6 && a->dims[1] != 7)) {
        s = af_fail(c, AF_ERROR_SHAPE,
                    "'%.200s' has %d axes, the last of length %zu; stars have shape (n,6): x, y, "
                    "z, vx, vy, vz, or (n,7) with weights last",
                    path, a->rank, a->rank > 0 ? a->dims[a->rank - 1] : (size_t)0);
    } else if (a->dims[1] == 6) {
        from.eta = a->data;
        s = dp__sample_fill(&from, volume, out);
    } else if ((split = DP__ARRAY(&scratch, double, 7 * from.n)) == NULL) {
        s = dp__fail_memory(c, "the stars of a file");
    } else {
        for (i = 0; i < from.n; i++) {
            memcpy(split + 6 * i, a->data + 7 * i, 6 * sizeof(double));
            split[6 * from.n + i] = a->data[7 * i + 6];
        }
        from.eta = split;
        from.weights = split + 6 * from.n;
        s = dp__sample_fill(&from, volume, out);
    }
    dp__arena_free(&scratch);
    af_array_destroy(a);
    return s;
}

/* *there: 1 unless the file is a table without this column; other faults of the file are left to
 * the reader, whose sentence is the caller's. A table refuses to read a column twice before it
 * reads any row, so this looks at the header alone. A context of its own keeps the refusal from the
 * caller's. */
static af_status dp__table_has(af_context *c, const char *path, const char *name, int *there) {
    const char *twice[2];
    af_table_desc d = DP__ZERO;
    af_context_desc own = DP__ZERO;
    af_context *probe;
    af_table *t;
    af_status s;
    own.allocator = af_context_allocator(c);
    if (af_context_create(&own, &probe) != AF_OK) return dp__fail_memory(c, "reading a table");
    twice[0] = twice[1] = name;
    d.columns = twice;
    d.column_count = 2;
    d.any_capitals = 1;
    s = af_table_read(probe, path, &d, &t);
    *there = !strstr(af_error(probe), "' has no column '");
    af_table_destroy(t);
    af_context_destroy(probe);
    return s == AF_ERROR_MEMORY ? dp__fail_memory(c, "reading a table") : AF_OK;
}

/* Names the columns to read in wanted (13): the six, then those of the others that are there; if
 * any error is, all. */
static af_status dp__table_wanted(af_context *c, const char *path, const char **wanted,
                                  int *weights, int *errors) {
    size_t k, count = 6;
    af_status s = dp__table_has(c, path, dp__columns[6], weights);
    *errors = 0;
    for (k = 7; k < 13 && s == AF_OK && !*errors; k++)
        s = dp__table_has(c, path, dp__columns[k], errors);
    for (k = 0; k < 6; k++) wanted[k] = dp__columns[k];
    if (*weights) wanted[count++] = dp__columns[6];
    for (k = 7; k < 13; k++)
        if (*errors) wanted[count++] = dp__columns[k];
    return s;
}

/* The rows of a table that holds all columns asked for. */
static af_status dp__table_stars(const af_table *t, int errors, dp__arena *scratch,
                                 dp__stars *from) {
    double *eta, *sigma = NULL;
    from->n = af_table_rows(t);
    from->weights = af_table_column(t, dp__columns[6]);
    eta = DP__ARRAY(scratch, double, 6 * from->n);
    if (errors) sigma = DP__ARRAY(scratch, double, 6 * from->n);
    if (!eta || (errors && !sigma)) return dp__fail_memory(from->context, "the stars of a table");
    from->eta = eta;
    from->errors = sigma;
    if (errors && af_table_gather(t, dp__columns + 7, 6, sigma) != AF_OK) return AF_ERROR_ARGUMENT;
    return af_table_gather(t, dp__columns, 6, eta);
}

static af_status dp__sample_table(af_context *c, const char *path, const dp_volume *volume,
                                  dp_sample **out) {
    const char *wanted[13];
    dp__arena scratch = dp__arena_open(c);
    dp__stars from = DP__ZERO;
    af_table_desc d = DP__ZERO;
    af_table *t;
    int weights = 0, errors = 0;
    af_status s = dp__table_wanted(c, path, wanted, &weights, &errors);
    if (s != AF_OK) return s;
    d.columns = wanted;
    d.column_count = (size_t)(6 + weights + 6 * errors);
    d.any_capitals = 1;
    s = af_table_read(c, path, &d, &t);
    if (s != AF_OK) return s;
    from.context = c;
    from.path = path;
    s = dp__table_stars(t, errors, &scratch, &from);
    if (s == AF_OK) s = dp__sample_fill(&from, volume, out);
    dp__arena_free(&scratch);
    af_table_destroy(t);
    return s;
}

AF_API af_status dp_sample_read(af_context *c, const char *path, const dp_volume *volume,
                                dp_sample **out) {
    size_t n = strlen(path);
    *out = NULL;
    if (n >= 4 && strcmp(path + n - 4, ".npy") == 0) return dp__sample_npy(c, path, volume, out);
    return dp__sample_table(c, path, volume, out);
}

AF_API size_t dp_sample_count(const dp_sample *s) { return s->n; }
AF_API const double *dp_sample_eta(const dp_sample *s) { return s->eta; }
AF_API const double *dp_sample_weights(const dp_sample *s) { return s->weights; }
AF_API const double *dp_sample_errors(const dp_sample *s) { return s->errors; }
AF_API dp_volume dp_sample_volume(const dp_sample *s) { return s->volume; }
AF_API af_context *dp_sample_context(const dp_sample *s) { return s->context; }
