/* The field of the training streams' energies, and actions in it by following orbits. */
#include "reproduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Orbits that are followed for a row, at most: each takes some hundredths of a second. */
static const size_t FIELD_ORBITS = 1100;

int redo_field_make(redo *r, const af_orbits *orbits, size_t train, redo_field *out) {
    af_mass_model_desc md;
    af_field_table_desc td;
    af_field plain;
    af_orbits *part = NULL;
    double begin = redo_cpu();
    af_status s = af_orbits_part(r->context, orbits, 0, train, &part);
    memset(out, 0, sizeof *out);
    memset(&md, 0, sizeof md);
    memset(&td, 0, sizeof td);
    md.axisymmetric = AF_SYMMETRY_YES;
    if (s == AF_OK) s = af_mass_model_fit(r->context, part, &md, &out->model);
    af_orbits_destroy(part);
    if (s == AF_OK) {
        plain = af_field_of_mass_model(out->model);
        td.radius = af_mass_model_radius(out->model);
        s = af_field_table_create(r->context, &plain, &td, &out->table);
    }
    if (s != AF_OK) {
        redo_field_free(out);
        return cli_fail_library(r->context);
    }
    out->field = af_field_of_table(out->table);
    out->cpu = redo_cpu() - begin;
    return CLI_OK;
}

void redo_field_free(redo_field *f) {
    af_field_table_destroy(f->table);
    af_mass_model_destroy(f->model);
    memset(f, 0, sizeof *f);
}

/* Which stars of a stream are followed: every so many. */
static size_t field_step(const af_orbits *o) {
    size_t n = af_orbits_stars(o), streams = af_orbits_streams(o);
    size_t stars = FIELD_ORBITS / streams;
    if (streams == 1) return n > 40 ? n / 40 : 1; /* one long orbit */
    if (stars < 1) stars = 1;
    return stars >= n ? 1 : n / stars;
}

/* Copies what was chosen, or puts it back. */
static void field_gather(const af_orbits *o, size_t step, double *xv) {
    size_t n = af_orbits_stars(o), s, i, at = 0;
    for (s = 0; s < af_orbits_streams(o); s++)
        for (i = 0; i < n; i += step, at++)
            memcpy(xv + 6 * at, af_orbits_xv(o, s) + 6 * i, 6 * sizeof *xv);
}

static void field_scatter(const double *j, const double *theta, const unsigned *flags, size_t step,
                          cli_map *out) {
    size_t s, i, k, at = 0;
    for (s = 0; s < out->streams; s++)
        for (i = 0; i < out->stars; i++) {
            size_t to = s * out->stars + i;
            int there = i % step == 0;
            for (k = 0; k < 3; k++) {
                out->j[3 * to + k] = there ? j[3 * at + k] : NAN;
                out->theta[3 * to + k] = there ? theta[3 * at + k] : NAN;
            }
            out->flags[to] = there ? flags[at] : AF_ORBIT_INVALID;
            at += there ? 1u : 0u;
        }
}

/* Where the orbit tells nothing, the fudge in the same field does. */
static void field_fill(const redo_field *f, size_t n, const double *xv, double *j, double *theta,
                       unsigned *flags) {
    af_fudge fudge;
    size_t i;
    memset(&fudge, 0, sizeof fudge);
    fudge.field = f->field;
    for (i = 0; i < n; i++)
        if (!isfinite(j[3 * i] + j[3 * i + 1] + j[3 * i + 2]))
            flags[i] = af_fudge_actions(&fudge, xv + 6 * i, j + 3 * i, theta + 3 * i, NULL);
}

int redo_field_map(redo *r, const redo_field *f, int spherical, const af_orbits *o, cli_map *out) {
    size_t step = spherical ? 1 : field_step(o), streams = af_orbits_streams(o);
    size_t stars = af_orbits_stars(o), n = streams * ((stars + step - 1) / step), all, i;
    double *xv = (double *)cli_allocate(12 * n, sizeof *xv), *j = xv + 6 * n, *theta = j + 3 * n;
    unsigned *flags = (unsigned *)cli_allocate(n, sizeof *flags);
    af_status s = AF_OK;
    all = streams * stars;
    out->streams = streams;
    out->stars = stars;
    out->j = (double *)cli_allocate(3 * all, sizeof *out->j);
    out->theta = (double *)cli_allocate(3 * all, sizeof *out->theta);
    out->flags = (unsigned *)cli_allocate(all, sizeof *out->flags);
    field_gather(o, step, xv);
    for (i = 0; i < 3 * n; i++) j[i] = NAN;
    if (!spherical)
        s = af_orbit_actions_of(r->context, &f->field, n, xv, NULL, j, theta, NULL, NULL, flags);
    field_fill(f, n, xv, j, theta, flags);
    field_scatter(j, theta, flags, step, out);
    free(flags);
    free(xv);
    return s == AF_OK ? CLI_OK : cli_fail_library(r->context);
}
