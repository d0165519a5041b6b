#include "h5_stars.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "h5_file.h"

#ifdef AF_HDF5

/* ---- volumes: attributes of eta ---- */

/* 1/parallax where the distance is not there. */
static double h5_radius(const deep_h5 *h, const char *name, const char *key, const char *inverse) {
    double v = 0.0;
    if (deep_h5_number(h, name, key, 1, &v)) return v;
    return deep_h5_number(h, name, inverse, 1, &v) && v > 0.0 ? 1.0 / v : 0.0;
}

static void h5_read_volume(const deep_h5 *h, const char *name, dp_volume *v) {
    char kind[32];
    memset(v, 0, sizeof *v);
    if (!deep_h5_text(h, name, "volume_type", sizeof kind, kind)) return;
    deep_h5_number(h, name, "centre", 3, v->centre);
    if (strcmp(kind, "sphere") == 0) {
        v->inner = h5_radius(h, name, "r_in", "parallax_max");
        v->outer = h5_radius(h, name, "r_out", "parallax_min");
        if (v->outer > 0.0) v->kind = DP_VOLUME_SPHERE;
    } else if (strcmp(kind, "cylinder") == 0) {
        deep_h5_number(h, name, "R_out", 1, &v->outer);
        deep_h5_number(h, name, "H_out", 1, &v->height);
        deep_h5_number(h, name, "R_in", 1, &v->inner);
        deep_h5_number(h, name, "H_in", 1, &v->hole);
        if (!(v->inner > 0.0) && h5_radius(h, name, "r_in", "parallax_max") > 0.0)
            printf("the spherical hole (r_in) of the cylinder is not taken into account\n");
        if (v->outer > 0.0 && v->height > 0.0) v->kind = DP_VOLUME_CYLINDER;
    }
}

static int h5_write_volume(deep_h5 *h, const char *name, const dp_volume *v) {
    int sphere = v->kind == DP_VOLUME_SPHERE, code;
    if (v->kind == DP_VOLUME_ALL) return CLI_OK;
    code = deep_h5_put_text(h, name, "volume_type", sphere ? "sphere" : "cylinder");
    if (code == CLI_OK) code = deep_h5_put_number(h, name, "centre", 3, v->centre);
    if (code == CLI_OK)
        code = deep_h5_put_number(h, name, sphere ? "r_in" : "R_in", 1, &v->inner);
    if (code == CLI_OK)
        code = deep_h5_put_number(h, name, sphere ? "r_out" : "R_out", 1, &v->outer);
    if (sphere) return code;
    if (code == CLI_OK) code = deep_h5_put_number(h, name, "H_out", 1, &v->height);
    if (code == CLI_OK) code = deep_h5_put_number(h, name, "H_in", 1, &v->hole);
    return code;
}

/* ---- stars ---- */

/* An array of n rows, if it is there. */
static int h5_rows(deep_h5 *h, const char *path, const char *name, size_t columns, size_t n,
                   double **out) {
    size_t rows = 0;
    int code;
    *out = NULL;
    if (!deep_h5_has(h, name)) return CLI_OK;
    code = deep_h5_get(h, name, columns, &rows, out);
    if (code == CLI_OK && rows != n)
        code = cli_fail("'%s': the array '%s' has %lu rows, but eta has %lu", path, name,
                        (unsigned long)rows, (unsigned long)n);
    return code;
}

/* eta NAME, weights and errors of one part of the stars ("", "_train", "_val"). */
static int h5_part(deep_h5 *h, const char *path, const char *part, deep_columns *out) {
    char name[32];
    int code;
    memset(out, 0, sizeof *out);
    snprintf(name, sizeof name, "eta%s", part);
    code = deep_h5_get(h, name, 6, &out->n, &out->eta);
    if (code == CLI_OK) h5_read_volume(h, name, &out->volume);
    snprintf(name, sizeof name, "weights%s", part);
    if (code == CLI_OK) code = h5_rows(h, path, name, 0, out->n, &out->weights);
    snprintf(name, sizeof name, "errors%s", part);
    if (code == CLI_OK) code = h5_rows(h, path, name, 6, out->n, &out->errors);
    return code;
}

static void h5_free(deep_columns *a) {
    free(a->eta);
    free(a->weights);
    free(a->errors);
}

static double *h5_join(const double *a, const double *b, size_t n, size_t m, size_t width) {
    double *out;
    if (!a || !b) return NULL;
    out = (double *)cli_allocate((n + m) * width, sizeof *out);
    memcpy(out, a, n * width * sizeof *out);
    memcpy(out + n * width, b, m * width * sizeof *out);
    return out;
}

int deep_h5_read_stars(const char *path, deep_columns *out) {
    deep_columns train, held;
    deep_h5 *h;
    int code = deep_h5_open(path, &h);
    memset(out, 0, sizeof *out);
    memset(&train, 0, sizeof train);
    memset(&held, 0, sizeof held);
    if (code == CLI_OK && (deep_h5_has(h, "eta") || !deep_h5_has(h, "eta_train"))) {
        code = h5_part(h, path, "", out);
    } else if (code == CLI_OK) {
        code = h5_part(h, path, "_train", &train);
        if (code == CLI_OK) code = h5_part(h, path, "_val", &held);
        if (code == CLI_OK) {
            out->n = train.n + held.n;
            out->eta = h5_join(train.eta, held.eta, train.n, held.n, 6);
            out->weights = h5_join(train.weights, held.weights, train.n, held.n, 1);
            out->errors = h5_join(train.errors, held.errors, train.n, held.n, 6);
            out->volume = train.volume;
        }
        h5_free(&train);
        h5_free(&held);
    }
    deep_h5_close(h, 0);
    if (code != CLI_OK) h5_free(out);
    return code;
}

int deep_h5_write_stars(const char *path, size_t n, const double *eta, const double *weights,
                        const double *errors, const dp_volume *volume) {
    deep_h5 *h;
    int code = deep_h5_create(path, &h), closed;
    if (code == CLI_OK) code = deep_h5_put(h, "eta", n, 6, eta);
    if (code == CLI_OK && volume) code = h5_write_volume(h, "eta", volume);
    if (code == CLI_OK && weights) code = deep_h5_put(h, "weights", n, 0, weights);
    if (code == CLI_OK && errors) code = deep_h5_put(h, "errors", n, 6, errors);
    closed = deep_h5_close(h, code == CLI_OK);
    return code == CLI_OK ? closed : code;
}

/* ---- points with gradients ---- */

/* f and df/d eta, of older programs of the authors, become ln f and d ln f/d eta. */
static int h5_older(deep_h5 *h, const char *path, deep_points *p) {
    size_t i;
    int code = h5_rows(h, path, "f", 0, p->n, &p->ln_f);
    if (code == CLI_OK && (!p->ln_f || !deep_h5_has(h, "df_deta")))
        code = cli_fail("'%s' has neither dlnf_deta and lnf, nor df_deta and f", path);
    if (code == CLI_OK) code = h5_rows(h, path, "df_deta", 6, p->n, &p->gradient);
    for (i = 0; code == CLI_OK && i < 6 * p->n; i++) p->gradient[i] /= p->ln_f[i / 6];
    for (i = 0; code == CLI_OK && i < p->n; i++) p->ln_f[i] = log(p->ln_f[i]);
    return code;
}

int deep_h5_read_points(const char *path, deep_points *p) {
    deep_h5 *h;
    int code = deep_h5_open(path, &h);
    memset(p, 0, sizeof *p);
    if (code == CLI_OK) code = deep_h5_get(h, "eta", 6, &p->n, &p->eta);
    if (code == CLI_OK && deep_h5_has(h, "dlnf_deta") && deep_h5_has(h, "lnf")) {
        code = h5_rows(h, path, "lnf", 0, p->n, &p->ln_f);
        if (code == CLI_OK) code = h5_rows(h, path, "dlnf_deta", 6, p->n, &p->gradient);
    } else if (code == CLI_OK) {
        code = h5_older(h, path, p);
    }
    if (code == CLI_OK) code = h5_rows(h, path, "weights", 0, p->n, &p->weights);
    deep_h5_close(h, 0);
    if (code != CLI_OK) deep_points_free(p);
    return code;
}

int deep_h5_write_points(const char *path, const deep_points *p) {
    deep_h5 *h;
    int code = deep_h5_create(path, &h), closed;
    if (code == CLI_OK) code = deep_h5_put(h, "eta", p->n, 6, p->eta);
    if (code == CLI_OK) code = deep_h5_put(h, "dlnf_deta", p->n, 6, p->gradient);
    if (code == CLI_OK) code = deep_h5_put(h, "lnf", p->n, 0, p->ln_f);
    if (code == CLI_OK && p->weights) code = deep_h5_put(h, "weights", p->n, 0, p->weights);
    closed = deep_h5_close(h, code == CLI_OK);
    return code == CLI_OK ? closed : code;
}

#else

static int h5_absent(const char *path) {
    return cli_fail("'%s': this program was built without HDF5; install libhdf5-dev and make it "
                    "again, or use .npy or .csv", path);
}

int deep_h5_read_stars(const char *path, deep_columns *out) {
    (void)out;
    return h5_absent(path);
}
int deep_h5_write_stars(const char *path, size_t n, const double *eta, const double *weights,
                        const double *errors, const dp_volume *volume) {
    (void)n;
    (void)eta;
    (void)weights;
    (void)errors;
    (void)volume;
    return h5_absent(path);
}
int deep_h5_read_points(const char *path, deep_points *out) {
    (void)out;
    return h5_absent(path);
}
int deep_h5_write_points(const char *path, const deep_points *p) {
    (void)p;
    return h5_absent(path);
}

#endif
