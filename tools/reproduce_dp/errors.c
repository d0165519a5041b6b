/* How far potentials and gradients are from the truth. */
#include "reproduce_dp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void dpr_vector_errors(size_t n, const double *g, const double *truth, size_t first,
                       double out[2]) {
    double *room = (double *)cli_allocate(n, sizeof *room);
    size_t i, k;
    for (i = 0; i < n; i++) {
        double away = 0.0, length = 0.0;
        for (k = first; k < first + 3; k++) {
            double d = g[6 * i + k] - truth[6 * i + k];
            away += d * d;
            length += truth[6 * i + k] * truth[6 * i + k];
        }
        room[i] = 100.0 * sqrt(away / length);
    }
    out[0] = deep_quantile(room, n, 0.5);
    out[1] = deep_quantile(room, n, 0.9);
    free(room);
}

/* ---- where the density counts ---- */

static int errors_is_disc(const dpr_row *row) {
    return row->truth[0].kind == AF_POTENTIAL_MIYAMOTO_NAGAI;
}

/* Places of the row in r < 2, for the sphere; all of them for others. x (n,3); returns n. */
static size_t errors_dense(const dpr_row *row, double *x) {
    const double far = row->truth[0].kind == AF_POTENTIAL_PLUMMER ? 2.0 : HUGE_VAL;
    size_t i, n = 0;
    for (i = 0; i < row->places_n; i++) {
        const double *at = row->places + 3 * i;
        if (sqrt(at[0] * at[0] + at[1] * at[1] + at[2] * at[2]) < far)
            memcpy(x + 3 * n++, at, 3 * sizeof *at);
    }
    return n;
}

enum { PLANE_CELLS = 100 }; /* along x and y */

/* Places in the plane, evenly in area, where the density is above a tenth of its largest, inside
 * the volume. x (PLANE_CELLS^2,3); returns how many. */
static size_t errors_plane(const dpr_row *row, double *x) {
    const double reach = 4.0, origin[3] = {0.0, 0.0, 0.0};
    double least = 0.1 * af_potential_density(row->truth, row->truth_count, origin);
    size_t i, n = 0;
    for (i = 0; i < (size_t)(PLANE_CELLS * PLANE_CELLS); i++) {
        double *at = x + 3 * n;
        at[0] = reach * (2.0 * ((double)(i / PLANE_CELLS) + 0.5) / PLANE_CELLS - 1.0);
        at[1] = reach * (2.0 * ((double)(i % PLANE_CELLS) + 0.5) / PLANE_CELLS - 1.0);
        at[2] = 0.0;
        if (af_potential_density(row->truth, row->truth_count, at) >= least &&
            dp_volume_holds(&row->inside, at))
            n++;
    }
    return n;
}

/* ---- lines of the table ---- */

static void errors_cell(dpr *r, const dpr_row *row, dpr_column column, const char *quantity,
                        const deep_errors *e, size_t k) {
    dpr_pair(dpr_cell_of(r, row, quantity, column), 100.0 * e->median[k], 100.0 * e->ninety[k]);
}

/* phi (n), acceleration (n,3), density (n) of p (NULL: zero) at x (n,3), one after the other. */
static int errors_values(dpr *r, dp_potential *p, size_t n, const double *x, double *values) {
    memset(values, 0, 5 * n * sizeof *values);
    if (p && dp_potential_evaluate(p, n, x, values, values + n, values + 4 * n) != AF_OK)
        return cli_fail_library(r->c);
    return CLI_OK;
}

int dpr_judge(dpr *r, const dpr_row *row, dp_potential *p, dpr_column column) {
    const size_t plane = (size_t)(PLANE_CELLS * PLANE_CELLS);
    size_t n = row->places_n, room = n > plane ? n : plane;
    double *x = (double *)cli_allocate(8 * room, sizeof *x), *values = x + 3 * room;
    deep_errors e;
    int code = errors_values(r, p, n, row->places, values);
    if (code == CLI_OK) {
        e = deep_errors_of(n, row->places, values, values + n, values + 4 * n, row->truth,
                           row->truth_count);
        if (row->truth[0].kind != AF_POTENTIAL_LOGARITHMIC) /* whose zero is nowhere special */
            errors_cell(r, row, column, "potential", &e, 0);
        errors_cell(r, row, column, "force", &e, 1);
        n = errors_dense(row, x);
        code = errors_values(r, p, n, x, values);
    }
    if (code == CLI_OK) {
        e = deep_errors_of(n, x, NULL, NULL, values + 4 * n, row->truth, row->truth_count);
        errors_cell(r, row, column, "density", &e, 2);
        n = errors_is_disc(row) ? errors_plane(row, x) : 0;
        code = errors_values(r, p, n, x, values);
    }
    if (code == CLI_OK && n > 0) {
        e = deep_errors_of(n, x, NULL, NULL, values + 4 * n, row->truth, row->truth_count);
        errors_cell(r, row, column, "plane", &e, 2);
    }
    free(x);
    return code;
}

void dpr_judge_untrained(dpr *r, const dpr_row *row) {
    (void)dpr_judge(r, row, NULL, DPR_UNTRAINED); /* nothing that fails is called */
}
