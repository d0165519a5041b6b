/* Stars and points with gradients: files, and where gradients are taken. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "h5_stars.h"

static const char *const DEEP_ETA[6] = {"x", "y", "z", "vx", "vy", "vz"};

int deep_is_hdf5(const char *path) {
    return cli_ends_with(path, ".h5") || cli_ends_with(path, ".hdf5");
}

int deep_check_data(const char *command, const char *path) {
    if (!path) return cli_usage(command, "-o FILE.npy, FILE.csv or FILE.h5 is missing");
    if (deep_is_hdf5(path) || cli_ends_with(path, ".csv") || cli_ends_with(path, ".npy") ||
        strncmp(path, "/dev/", 5) == 0)
        return -1;
    return cli_usage(command, "'%s' should end in .npy, .csv or .h5, which says what to write",
                     path);
}

int deep_write_rows(af_context *c, const char *path, const char *comment,
                    const char *const *names, size_t columns, size_t n, const double *rows) {
    af_table *t;
    size_t k, dims[2];
    af_status s;
    dims[0] = n;
    dims[1] = columns;
    if (cli_ends_with(path, ".npy"))
        return af_npy_write(c, path, 2, dims, rows) == AF_OK ? CLI_OK : cli_fail_library(c);
    s = af_table_create(c, &t);
    if (s == AF_OK && comment) s = af_table_comment(t, comment);
    for (k = 0; k < columns && s == AF_OK; k++)
        s = af_table_add(t, names[k], n, rows + k, columns);
    if (s == AF_OK) s = af_table_write(t, path);
    af_table_destroy(t);
    return s == AF_OK ? CLI_OK : cli_fail_library(c);
}

int deep_fail(const af_context *c, const char *path) {
    const char *error = af_error(c);
    int named = path && error[0] == '\'' && strncmp(error + 1, path, strlen(path)) == 0;
    return path && !named && af_error_status(c) == AF_ERROR_DATA
               ? cli_fail("'%s': %s", path, error)
               : cli_fail_library(c);
}

/* Whether a file begins as safetensors do: the length of the header, which begins with {. */
static int data_is_model(const char *path) {
    unsigned char begin[9];
    struct stat facts;
    FILE *file;
    size_t n;
    if (stat(path, &facts) != 0 || !S_ISREG(facts.st_mode)) return 0; /* not to eat from a pipe */
    file = fopen(path, "rb");
    if (!file) return 0;
    n = fread(begin, 1, sizeof begin, file);
    fclose(file);
    return n == sizeof begin && begin[8] == '{' && !begin[5] && !begin[6] && !begin[7];
}

/* Fails where a model was given instead of data. */
static int data_check(const char *path, const char *wanted) {
    if (!data_is_model(path)) return CLI_OK;
    return cli_fail("'%s' is a model; there should be %s", path, wanted);
}

/* ---- stars ---- */

/* The weights of --weights, one for each star of the file. */
static int stars_weights(af_context *c, const char *path, const char *stars, size_t n,
                         af_array **out) {
    *out = NULL;
    if (!path) return CLI_OK;
    if (af_npy_read(c, path, out) != AF_OK) return cli_fail_library(c);
    if ((*out)->rank == 1 && (*out)->dims[0] == n) return CLI_OK;
    return cli_fail("'%s' must have the shape (%lu): a weight for each star of '%s'", path,
                    (unsigned long)n, stars);
}

/* The sample once more, with what the options change. */
static int stars_change(af_context *c, const char *path, const deep_source *o,
                        const dp_volume *volume, dp_sample **sample) {
    dp_sample *old = *sample;
    const double *weights = o->no_weights ? NULL : dp_sample_weights(old);
    dp_volume own = dp_sample_volume(old);
    af_array *given;
    int code = stars_weights(c, o->weights, path, dp_sample_count(old), &given);
    if (given) weights = given->data;
    if (code == CLI_OK &&
        dp_sample_create(c, dp_sample_count(old), dp_sample_eta(old), weights,
                         o->no_errors ? NULL : dp_sample_errors(old),
                         volume->kind == DP_VOLUME_ALL ? &own : volume, sample) != AF_OK)
        code = deep_fail(c, path);
    if (code == CLI_OK) dp_sample_destroy(old);
    af_array_destroy(given);
    return code;
}

static int stars_h5(af_context *c, const char *path, dp_sample **out) {
    deep_columns k;
    int code = deep_h5_read_stars(path, &k);
    if (code != CLI_OK) return code;
    if (dp_sample_create(c, k.n, k.eta, k.weights, k.errors, &k.volume, out) != AF_OK)
        code = deep_fail(c, path);
    free(k.eta);
    free(k.weights);
    free(k.errors);
    return code;
}

/* A table or NPY. */
static int stars_read(af_context *c, const char *path, dp_sample **out) {
    char sentence[1024];
    af_observed *observed = NULL;
    int sky;
    if (dp_sample_read(c, path, NULL, out) == AF_OK) return CLI_OK;
    if (!strstr(af_error(c), "' has no column '")) return deep_fail(c, path);
    snprintf(sentence, sizeof sentence, "%s", af_error(c));
    af_error_clear(c);
    sky = af_observed_read(c, path, NULL, &observed) == AF_OK;
    af_observed_destroy(observed);
    return sky ? cli_fail("'%s' has stars as observed: `deeppotential convert %s --observed -o "
                          "STARS` makes positions and velocities of them", path, path)
               : cli_fail("%s", sentence);
}

int deep_read_stars(af_context *c, const char *command, const char *path,
                    const deep_source *o, int quiet, dp_sample **out) {
    dp_volume volume;
    int code = deep_volume(command, "volume", o->volume, &volume);
    *out = NULL;
    if (code >= 0) return code;
    if ((code = data_check(path, "STARS, a table, NPY or HDF5")) != CLI_OK) return code;
    code = deep_is_hdf5(path) ? stars_h5(c, path, out) : stars_read(c, path, out);
    if (code == CLI_OK && (o->volume || o->weights || o->no_weights || o->no_errors))
        code = stars_change(c, path, o, &volume, out);
    if (code == CLI_OK && !quiet)
        printf("%s: %lu stars%s%s%s\n", path, (unsigned long)dp_sample_count(*out),
               dp_sample_volume(*out).kind == DP_VOLUME_ALL ? "" : " inside the volume",
               dp_sample_weights(*out) ? ", with weights" : "",
               dp_sample_errors(*out) ? ", with errors" : "");
    fflush(stdout);
    return code;
}

enum { STARS_COLUMNS = 13 }; /* eta, weight, errors */

static int stars_table(af_context *c, const char *path, size_t n, const double *eta,
                       const double *weights, const double *errors) {
    static const char *const error[6] = {"x_error",  "y_error",  "z_error",
                                         "vx_error", "vy_error", "vz_error"};
    const char *name[STARS_COLUMNS];
    size_t width = 6 + (weights ? 1u : 0u) + (errors ? 6u : 0u), i, k;
    double *rows = (double *)cli_allocate(n * width, sizeof *rows);
    int code;
    for (k = 0; k < 6; k++) name[k] = DEEP_ETA[k];
    if (weights) name[6] = "weight";
    for (k = 0; k < 6 && errors; k++) name[width - 6 + k] = error[k];
    for (i = 0; i < n; i++) {
        memcpy(rows + width * i, eta + 6 * i, 6 * sizeof *rows);
        if (weights) rows[width * i + 6] = weights[i];
        if (errors) memcpy(rows + width * (i + 1) - 6, errors + 6 * i, 6 * sizeof *rows);
    }
    code = deep_write_rows(c, path, NULL, name, width, n, rows);
    free(rows);
    return code;
}

int deep_write_stars(af_context *c, const char *path, size_t n, const double *eta,
                     const double *weights, const double *errors, const dp_volume *volume) {
    if (deep_is_hdf5(path)) return deep_h5_write_stars(path, n, eta, weights, errors, volume);
    return stars_table(c, path, n, eta, weights, cli_ends_with(path, ".npy") ? NULL : errors);
}

/* ---- places ---- */

/* The first `width` of each row. */
static double *places_copy(const double *rows, size_t n, size_t stride, size_t width) {
    double *out = (double *)cli_allocate(n * width, sizeof *out);
    size_t i;
    for (i = 0; i < n; i++) memcpy(out + width * i, rows + stride * i, width * sizeof *out);
    return out;
}

static int places_npy(af_context *c, const char *path, size_t *n, double **x) {
    af_array *a;
    size_t last;
    int code = CLI_OK;
    if (af_npy_read(c, path, &a) != AF_OK) return cli_fail_library(c);
    last = a->rank ? a->dims[a->rank - 1] : 0;
    if (a->rank < 1 || last < 3 || a->count == 0)
        code = cli_fail("'%s' must hold rows of 3 numbers (x, y, z) or more", path);
    else
        *x = places_copy(a->data, *n = a->count / last, last, 3);
    af_array_destroy(a);
    return code;
}

static int places_table(af_context *c, const char *path, size_t *n, double **x) {
    af_table_desc d;
    af_table *t;
    int code = CLI_OK;
    memset(&d, 0, sizeof d);
    d.columns = DEEP_ETA;
    d.column_count = 3;
    d.any_capitals = 1;
    if (af_table_read(c, path, &d, &t) != AF_OK) return cli_fail_library(c);
    *n = af_table_rows(t);
    *x = (double *)cli_allocate(3 * *n, sizeof **x);
    if (af_table_gather(t, DEEP_ETA, 3, *x) != AF_OK) code = cli_fail_library(c);
    af_table_destroy(t);
    return code;
}

int deep_read_places(af_context *c, const char *path, size_t *n, double **x) {
    dp_sample *s;
    size_t i;
    int code;
    *x = NULL;
    *n = 0;
    if ((code = data_check(path, "POINTS after the models, like the stars")) != CLI_OK)
        return code;
    if (deep_is_hdf5(path)) {
        code = stars_h5(c, path, &s);
        if (code != CLI_OK) return code;
        *x = places_copy(dp_sample_eta(s), *n = dp_sample_count(s), 6, 3);
        dp_sample_destroy(s);
    } else {
        code = cli_ends_with(path, ".npy") ? places_npy(c, path, n, x)
                                           : places_table(c, path, n, x);
    }
    for (i = 0; code == CLI_OK && i < 3 * *n; i++)
        if (!isfinite((*x)[i]))
            code = cli_fail("'%s': row %lu (counted from 0) is not finite", path,
                            (unsigned long)(i / 3));
    return code == CLI_OK && *n == 0 ? cli_fail("'%s' holds no places", path) : code;
}

/* ---- points with gradients ---- */

enum { POINTS_COLUMNS = 14 }; /* eta, gradient, ln f, weight */

static const char *const POINTS_NAME[POINTS_COLUMNS] = {
    "x",       "y",       "z",        "vx",       "vy",       "vz",   "dlnf_dx",
    "dlnf_dy", "dlnf_dz", "dlnf_dvx", "dlnf_dvy", "dlnf_dvz", "ln_f", "weight"};

void deep_points_make(deep_points *p, size_t n, int weighted) {
    p->n = n;
    p->eta = (double *)cli_allocate(6 * n, sizeof *p->eta);
    p->gradient = (double *)cli_allocate(6 * n, sizeof *p->gradient);
    p->ln_f = (double *)cli_allocate(n, sizeof *p->ln_f);
    p->weights = weighted ? (double *)cli_allocate(n, sizeof *p->weights) : NULL;
}

void deep_points_free(deep_points *p) {
    free(p->eta);
    free(p->gradient);
    free(p->ln_f);
    free(p->weights);
    memset(p, 0, sizeof *p);
}

dp_points deep_points_view(const deep_points *p) {
    dp_points v;
    v.n = p->n;
    v.eta = p->eta;
    v.gradient = p->gradient;
    v.ln_f = p->ln_f;
    v.weights = p->weights;
    return v;
}

void deep_points_cut(deep_points *p, const dp_volume *volume) {
    size_t i, n = 0;
    for (i = 0; i < p->n; i++) {
        if (!dp_volume_holds(volume, p->eta + 6 * i)) continue;
        memmove(p->eta + 6 * n, p->eta + 6 * i, 6 * sizeof *p->eta);
        memmove(p->gradient + 6 * n, p->gradient + 6 * i, 6 * sizeof *p->gradient);
        p->ln_f[n] = p->ln_f[i];
        if (p->weights) p->weights[n] = p->weights[i];
        n++;
    }
    p->n = n;
}

int deep_points_write(af_context *c, const char *path, const deep_points *p) {
    size_t width = p->weights ? POINTS_COLUMNS : POINTS_COLUMNS - 1, i;
    double *rows;
    int code;
    if (deep_is_hdf5(path)) return deep_h5_write_points(path, p);
    rows = (double *)cli_allocate(p->n * width, sizeof *rows);
    for (i = 0; i < p->n; i++) {
        memcpy(rows + width * i, p->eta + 6 * i, 6 * sizeof *rows);
        memcpy(rows + width * i + 6, p->gradient + 6 * i, 6 * sizeof *rows);
        rows[width * i + 12] = p->ln_f[i];
        if (p->weights) rows[width * i + 13] = p->weights[i];
    }
    code = deep_write_rows(c, path, NULL, POINTS_NAME, width, p->n, rows);
    free(rows);
    return code;
}

static void points_take(deep_points *p, const double *rows, size_t n, size_t width) {
    size_t i;
    deep_points_make(p, n, width == (size_t)POINTS_COLUMNS);
    for (i = 0; i < n; i++) {
        memcpy(p->eta + 6 * i, rows + width * i, 6 * sizeof *rows);
        memcpy(p->gradient + 6 * i, rows + width * i + 6, 6 * sizeof *rows);
        p->ln_f[i] = rows[width * i + 12];
        if (p->weights) p->weights[i] = rows[width * i + 13];
    }
}

static int points_npy(af_context *c, const char *path, deep_points *p) {
    af_array *a;
    int code = CLI_OK;
    if (af_npy_read(c, path, &a) != AF_OK) return cli_fail_library(c);
    if (a->rank == 2 && a->dims[0] > 0 && (a->dims[1] == 13 || a->dims[1] == 14))
        points_take(p, a->data, a->dims[0], a->dims[1]);
    else
        code = cli_fail("'%s' must have the shape (n, 13) or (n, 14), as `deeppotential gradients` "
                        "writes it", path);
    af_array_destroy(a);
    return code;
}

static int points_table(af_context *c, const char *path, deep_points *p) {
    af_table *t;
    double *rows;
    size_t width, n;
    int code = CLI_OK;
    if (af_table_read(c, path, NULL, &t) != AF_OK) return cli_fail_library(c);
    n = af_table_rows(t);
    width = af_table_column(t, "weight") ? POINTS_COLUMNS : POINTS_COLUMNS - 1;
    rows = (double *)cli_allocate(n * width, sizeof *rows);
    if (af_table_gather(t, POINTS_NAME, width, rows) != AF_OK)
        code = cli_fail("'%s' lacks one of the columns x ... vz, dlnf_dx ... dlnf_dvz, ln_f that "
                        "`deeppotential gradients` writes", path);
    else
        points_take(p, rows, n, width);
    free(rows);
    af_table_destroy(t);
    return code;
}

int deep_points_read(af_context *c, const char *path, deep_points *p) {
    size_t i;
    int code;
    memset(p, 0, sizeof *p);
    if ((code = data_check(path, "GRADS, or STARS after a model")) != CLI_OK) return code;
    if (deep_is_hdf5(path)) code = deep_h5_read_points(path, p);
    else code = cli_ends_with(path, ".npy") ? points_npy(c, path, p) : points_table(c, path, p);
    for (i = 0; code == CLI_OK && i < 6 * p->n; i++)
        if (!isfinite(p->eta[i]) || !isfinite(p->gradient[i]))
            code = cli_fail("'%s': row %lu (counted from 0) holds a number that is not finite",
                            path, (unsigned long)(i / 6));
    return code;
}
