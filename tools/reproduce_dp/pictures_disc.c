/* Figures 5, 6, 7, 9, 10 and 13: potential, forces and density of the discs, and their residuals.
 */
#include "pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = PICTURE_CELLS * PICTURE_CELLS };

/* What the maps show. */
typedef enum disc_field { PHI = 0, F_Z, F_R, F_PHI, RHO, FIELDS } disc_field;

static const char *const FIELD_NAME[FIELDS] = {"Potential", "F_z", "F_R", "F_phi", "Density"};

static const double REACH = 3.0, HEIGHT = 0.5; /* of the stars: nine tenths of them and more */

/* (n) of each field, of the potential found and of the truth. */
typedef struct disc_values {
    size_t n;
    double *found[FIELDS], *truth[FIELDS];
} disc_values;

/* Phi, the components of a along z, R and phi at x, and the density. */
static void disc_split(const double x[3], const double a[3], double fields[FIELDS]) {
    double radius = hypot(x[0], x[1]), cosine = radius > 0.0 ? x[0] / radius : 1.0;
    double sine = radius > 0.0 ? x[1] / radius : 0.0;
    fields[F_Z] = a[2];
    fields[F_R] = cosine * a[0] + sine * a[1];
    fields[F_PHI] = cosine * a[1] - sine * a[0];
}

/* phi (n), a (n,3), rho (n) of the potential, one after the other. To be freed. */
static double *disc_evaluate(dpr *r, const dpr_row *row, size_t n, const double *x) {
    double *v = (double *)cli_allocate(5 * n, sizeof *v);
    if (dp_potential_evaluate(row->potential, n, x, v, v + n, v + 4 * n) == AF_OK) return v;
    free(v);
    (void)cli_fail_library(r->c);
    return NULL;
}

/* The median of found - true potential at places of stars. */
static int disc_offset(dpr *r, const dpr_row *row, double *offset) {
    size_t n = row->places_n, i;
    double *v = disc_evaluate(r, row, n, row->places);
    if (!v) return CLI_FAILED;
    for (i = 0; i < n; i++)
        v[i] -= af_potential_value(row->truth, row->truth_count, row->places + 3 * i);
    *offset = deep_quantile(v, n, 0.5);
    free(v);
    return CLI_OK;
}

static void disc_values_free(disc_values *d) {
    free(d->found[0]);
    memset(d, 0, sizeof *d);
}

/* At x (n times m,3): means over m places each, that follow one another. */
static int disc_values_make(dpr *r, const dpr_row *row, size_t n, size_t m, const double *x,
                            disc_values *d) {
    double offset = 0.0, *v = disc_evaluate(r, row, n * m, x), *all;
    size_t i, k;
    memset(d, 0, sizeof *d);
    if (!v || disc_offset(r, row, &offset) != CLI_OK) {
        free(v);
        return CLI_FAILED;
    }
    all = (double *)cli_allocate(2 * FIELDS * n, sizeof *all);
    d->n = n;
    for (k = 0; k < (size_t)FIELDS; k++) {
        d->found[k] = all + k * n;
        d->truth[k] = all + (FIELDS + k) * n;
    }
    for (i = 0; i < n * m; i++) {
        double a[3], one[2][FIELDS];
        disc_split(x + 3 * i, v + n * m + 3 * i, one[0]);
        one[0][PHI] = v[i] - offset;
        one[0][RHO] = v[4 * n * m + i];
        af_potential_acceleration(row->truth, row->truth_count, x + 3 * i, a);
        disc_split(x + 3 * i, a, one[1]);
        one[1][PHI] = af_potential_value(row->truth, row->truth_count, x + 3 * i);
        one[1][RHO] = af_potential_density(row->truth, row->truth_count, x + 3 * i);
        for (k = 0; k < (size_t)FIELDS; k++) {
            d->found[k][i / m] += one[0][k] / (double)m;
            d->truth[k][i / m] += one[1][k] / (double)m;
        }
    }
    free(v);
    return CLI_OK;
}

/* Found minus true, relative: forces to the length of the true one. */
static double disc_residual(const disc_values *d, disc_field field, size_t i) {
    double scale = fabs(d->truth[field][i]);
    if (field == F_Z || field == F_R || field == F_PHI)
        scale = hypot(d->truth[F_R][i], hypot(d->truth[F_Z][i], d->truth[F_PHI][i]));
    return (d->found[field][i] - d->truth[field][i]) / scale;
}

/* ---- places ---- */

/* The middle and half the width of the maps of the plane. */
static void disc_frame(const dpr_row *row, double centre[2], double *reach) {
    int cut = row->volume.kind != DP_VOLUME_ALL;
    centre[0] = cut ? row->volume.centre[0] : 0.0;
    centre[1] = cut ? row->volume.centre[1] : 0.0;
    *reach = cut ? row->volume.outer : REACH;
}

static double disc_cell(size_t i, double low, double high) {
    return low + (high - low) * ((double)i + 0.5) / PICTURE_CELLS;
}

static void disc_plane(const dpr_row *row, double *x) {
    double centre[2], reach;
    size_t i;
    disc_frame(row, centre, &reach);
    for (i = 0; i < (size_t)CELLS; i++) {
        x[3 * i] = disc_cell(i / PICTURE_CELLS, centre[0] - reach, centre[0] + reach);
        x[3 * i + 1] = disc_cell(i % PICTURE_CELLS, centre[1] - reach, centre[1] + reach);
        x[3 * i + 2] = 0.0;
    }
}

enum { AZIMUTHS = 12 };

static void disc_meridian(double *x) {
    const double two_pi = 6.283185307179586;
    size_t i, k;
    for (i = 0; i < (size_t)CELLS; i++)
        for (k = 0; k < (size_t)AZIMUTHS; k++) {
            double radius = disc_cell(i / PICTURE_CELLS, 0.0, REACH);
            double *at = x + 3 * (i * AZIMUTHS + k), angle = two_pi * (double)k / AZIMUTHS;
            at[0] = radius * cos(angle);
            at[1] = radius * sin(angle);
            at[2] = disc_cell(i % PICTURE_CELLS, -HEIGHT, HEIGHT);
        }
}

/* Values on one of the two maps. */
static int disc_map(dpr *r, const dpr_row *row, int meridian, disc_values *d) {
    size_t m = meridian ? (size_t)AZIMUTHS : 1;
    double *x = (double *)cli_allocate(3 * m * CELLS, sizeof *x);
    int code;
    if (meridian) disc_meridian(x);
    else disc_plane(row, x);
    code = disc_values_make(r, row, CELLS, m, x, d);
    free(x);
    return code;
}

static svg_axis disc_axis(const dpr_row *row, int up) {
    double centre[2], reach;
    disc_frame(row, centre, &reach);
    return picture_axis(up ? "y" : "x", centre[up] - reach, centre[up] + reach);
}

/* ---- figure 5 ---- */

static void five_column(picture *p, int column, const char *title, svg_axis x, svg_axis y,
                        disc_field field, disc_values *d) {
    const char *label = field == RHO ? "lg rho" : "Phi";
    svg_axis range;
    size_t i;
    for (i = 0; i < d->n && field == RHO; i++) {
        d->found[RHO][i] = d->found[RHO][i] > 0.0 ? log10(d->found[RHO][i] / DPR_MASS) : NAN;
        d->truth[RHO][i] = log10(d->truth[RHO][i] / DPR_MASS);
    }
    range = picture_range(label, d->truth[field], d->n, 0.005, 0);
    picture_map(p, column, 0, title, x, y, label, d->found[field], &range, SVG_RISING);
    picture_map(p, column, 1, "the truth", x, y, label, d->truth[field], &range, SVG_RISING);
}

static int five(dpr *r, const dpr_row *row) {
    disc_values plane, meridian;
    svg_axis radius = picture_axis("R", 0.0, REACH), z = picture_axis("z", -HEIGHT, HEIGHT);
    svg_axis x = disc_axis(row, 0), y = disc_axis(row, 1);
    picture p;
    int code = disc_map(r, row, 0, &plane);
    if (code != CLI_OK) return code;
    code = disc_map(r, row, 1, &meridian);
    if (code == CLI_OK) {
        p = picture_begin(4, 2, 230.0, 230.0);
        five_column(&p, 0, "Potential, z = 0", x, y, PHI, &plane);
        five_column(&p, 1, "Density, z = 0", x, y, RHO, &plane);
        five_column(&p, 2, "Potential", radius, z, PHI, &meridian);
        five_column(&p, 3, "Density", radius, z, RHO, &meridian);
        code = picture_end(r, &p, 5);
    }
    disc_values_free(&plane);
    disc_values_free(&meridian);
    return code;
}

/* ---- figures 6, 9, 13: residuals in the plane ---- */

static int plane(dpr *r, const dpr_row *row, int number) {
    static const disc_field order[FIELDS] = {PHI, F_Z, F_R, F_PHI, RHO};
    disc_values d;
    double residual[CELLS], x[3];
    picture p;
    size_t i, k;
    double centre[2], reach;
    int code = disc_map(r, row, 0, &d);
    if (code != CLI_OK) return code;
    disc_frame(row, centre, &reach);
    p = picture_begin(FIELDS, 1, 260.0, 260.0);
    for (k = 0; k < (size_t)FIELDS; k++) {
        for (i = 0; i < (size_t)CELLS; i++) {
            x[0] = disc_cell(i / PICTURE_CELLS, centre[0] - reach, centre[0] + reach);
            x[1] = disc_cell(i % PICTURE_CELLS, centre[1] - reach, centre[1] + reach);
            x[2] = 0.0;
            residual[i] = dp_volume_holds(&row->inside, x)
                              ? 100.0 * disc_residual(&d, order[k], i) : NAN;
        }
        picture_map(&p, (int)k, 0, FIELD_NAME[order[k]], disc_axis(row, 0), disc_axis(row, 1), "%",
                    residual, NULL, SVG_PASSING);
    }
    disc_values_free(&d);
    return picture_end(r, &p, number);
}

/* ---- figures 7 and 10: residuals at stars, and in R and z ---- */

static int at_stars(dpr *r, picture *p, int column, const dpr_row *row) {
    static const disc_field order[3] = {PHI, F_Z, RHO};
    disc_values d;
    double *x, *y;
    size_t i, k, n = row->places_n;
    int code = disc_values_make(r, row, n, 1, row->places, &d);
    if (code != CLI_OK) return code;
    x = (double *)cli_allocate(2 * n, sizeof *x);
    y = x + n;
    for (k = 0; k < 3; k++) {
        char title[96];
        for (i = 0; i < n; i++) {
            x[i] = d.truth[order[k]][i];
            y[i] = d.found[order[k]][i] - x[i];
            if (order[k] != RHO) continue;
            x[i] /= DPR_MASS;
            y[i] /= DPR_MASS;
        }
        snprintf(title, sizeof title, "%s: %s", row->setting->name, FIELD_NAME[order[k]]);
        picture_residuals(p, column, (int)k, title, "truth", "found - truth", n, x, y);
    }
    free(x);
    disc_values_free(&d);
    return CLI_OK;
}

/* The cell in the plane next to the centre; where the density is below this share of that there,
 * relative errors mean nothing. */
enum { CENTRE = PICTURE_CELLS / 2 };
static const double EMPTY = 0.01;

static int seven(dpr *r, const dpr_row *row) {
    static const disc_field order[4] = {PHI, F_Z, F_R, RHO};
    picture p = picture_begin(3, 3, 300.0, 200.0);
    disc_values d;
    double residual[CELLS];
    size_t i, k;
    int code = at_stars(r, &p, 0, row);
    if (code == CLI_OK) code = disc_map(r, row, 1, &d);
    if (code != CLI_OK) {
        free(p.f.text);
        return code;
    }
    for (k = 0; k < 4; k++) {
        for (i = 0; i < (size_t)CELLS; i++) {
            int empty = order[k] == RHO && d.truth[RHO][i] < EMPTY * d.truth[RHO][CENTRE];
            residual[i] = empty ? NAN : 100.0 * disc_residual(&d, order[k], i);
        }
        picture_map(&p, 1 + (int)(k / 2), (int)(k % 2), FIELD_NAME[order[k]],
                    picture_axis("R", 0.0, REACH), picture_axis("z", -HEIGHT, HEIGHT), "%",
                    residual, NULL, SVG_PASSING);
    }
    disc_values_free(&d);
    return picture_end(r, &p, 7);
}

static int ten(dpr *r) {
    static const char *const name[3] = {"selection", "errors", "nonstationary"};
    picture p;
    int k, code = CLI_OK, columns = 0;
    for (k = 0; k < 3; k++) columns += dpr_row_of(r, name[k])->done;
    if (!columns) return CLI_OK;
    p = picture_begin(columns, 3, 300.0, 200.0);
    for (k = columns = 0; k < 3 && code == CLI_OK; k++)
        if (dpr_row_of(r, name[k])->done) code = at_stars(r, &p, columns++, dpr_row_of(r, name[k]));
    if (code == CLI_OK) return picture_end(r, &p, 10);
    free(p.f.text);
    return code;
}

int dpr_pictures_disc(dpr *r) {
    const dpr_row *disc = dpr_row_of(r, "disc"), *selection = dpr_row_of(r, "selection");
    const dpr_row *young = dpr_row_of(r, "nonstationary");
    int code = CLI_OK;
    if (disc->done) code = five(r, disc);
    if (code == CLI_OK && disc->done) code = plane(r, disc, 6);
    if (code == CLI_OK && disc->done) code = seven(r, disc);
    if (code == CLI_OK && selection->done) code = plane(r, selection, 9);
    if (code == CLI_OK) code = ten(r);
    if (code == CLI_OK && young->done) code = plane(r, young, 13);
    return code;
}
