/* Figures 2, 3 and 4: Plummer's sphere. */
#include "pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const svg_style FOUND = {"#0072b2", 2.0, 0.5, NULL};
static const svg_style TRUE_LINE = {"#111111", 1.4, 1.0, "6 4"};

enum { CELLS = PICTURE_CELLS * PICTURE_CELLS };

/* ---- figure 2: stars in radius and speed ---- */

enum { DRAWS = 1 << 17, TIMES = 8 }; /* of the flow; the truth has so many times more */

static af_status two_counts(dpr *r, const dpr_row *row, dp_map_axis axes[2], double *found,
                            double *truth) {
    size_t n = (size_t)fmax(4096.0, r->scale * (double)DRAWS);
    double *eta = (double *)cli_allocate(6 * TIMES * n, sizeof *eta);
    af_status s = dp_df_draw(row->flow, n, 7, eta);
    if (s == AF_OK) s = dp_map(r->c, axes, n, eta, NULL, NULL, found, NULL, NULL);
    if (s == AF_OK) s = dp_mock_plummer(r->c, DPR_MASS, 1.0, 10.0, TIMES * n, 8, eta);
    if (s == AF_OK) s = dp_map(r->c, axes, TIMES * n, eta, NULL, NULL, truth, NULL, NULL);
    free(eta);
    return s;
}

static int two(dpr *r, const dpr_row *row) {
    double found[CELLS], truth[CELLS], excess[CELLS];
    dp_map_axis axes[2] = {{DP_COORDINATE_R, PICTURE_CELLS, 0.0, 4.0},
                           {DP_COORDINATE_V, PICTURE_CELLS, 0.0, 1.5}};
    svg_axis x = picture_axis("r", 0.0, 4.0), y = picture_axis("v", 0.0, 1.5), range;
    picture p;
    size_t i;
    if (two_counts(r, row, axes, found, truth) != AF_OK) return cli_fail_library(r->c);
    dp_map_significance(CELLS, found, truth, excess);
    for (i = 0; i < (size_t)CELLS; i++) {
        if (!(truth[i] > 0.0) && !(found[i] > 0.0)) excess[i] = NAN;
        truth[i] = truth[i] > 0.0 ? log10(truth[i] / TIMES) : NAN;
        found[i] = found[i] > 0.0 ? log10(found[i]) : NAN;
    }
    p = picture_begin(3, 1, 260.0, 260.0);
    range = picture_range("lg n", truth, CELLS, 0.01, 0);
    picture_map(&p, 0, 0, "Truth", x, y, "lg n", truth, &range, SVG_RISING);
    picture_map(&p, 1, 0, "Draws of the flow", x, y, "lg n", found, &range, SVG_RISING);
    range = picture_axis("sigma", -5.0, 5.0);
    picture_map(&p, 2, 0, "Poisson significance", x, y, "sigma", excess, &range, SVG_PASSING);
    return picture_end(r, &p, 2);
}

/* ---- figure 3: potential and density ---- */

enum { DOTS = 4096, CURVE = 200 };

typedef struct three_values {
    size_t n;
    double x[3 * DOTS], r[DOTS], phi[DOTS], rho[DOTS], room[DOTS];
    double curve_r[CURVE], curve_phi[CURVE], curve_rho[CURVE];
    double grid[3 * CELLS], map_phi[CELLS], map_rho[CELLS];
    double offset;
} three_values;

static int three_fill(dpr *r, const dpr_row *row, three_values *t) {
    size_t i;
    t->n = row->places_n < (size_t)DOTS ? row->places_n : (size_t)DOTS;
    memcpy(t->x, row->places, 3 * t->n * sizeof *t->x);
    for (i = 0; i < (size_t)CELLS; i++) {
        t->grid[3 * i] = 6.0 * (((double)(i / PICTURE_CELLS) + 0.5) / PICTURE_CELLS - 0.5);
        t->grid[3 * i + 1] = 6.0 * (((double)(i % PICTURE_CELLS) + 0.5) / PICTURE_CELLS - 0.5);
    }
    for (i = 0; i < (size_t)CURVE; i++) {
        double at[3] = {0.0, 0.0, 0.0};
        at[0] = t->curve_r[i] = 10.0 * (double)(i + 1) / CURVE;
        t->curve_phi[i] = af_potential_value(row->truth, 1, at);
        t->curve_rho[i] = log10(af_potential_density(row->truth, 1, at) / DPR_MASS);
    }
    if (dp_potential_evaluate(row->potential, t->n, t->x, t->phi, NULL, t->rho) != AF_OK ||
        dp_potential_evaluate(row->potential, CELLS, t->grid, t->map_phi, NULL, t->map_rho) !=
            AF_OK)
        return cli_fail_library(r->c);
    for (i = 0; i < t->n; i++) {
        t->r[i] = sqrt(pow(t->x[3 * i], 2) + pow(t->x[3 * i + 1], 2) + pow(t->x[3 * i + 2], 2));
        t->room[i] = t->phi[i] - af_potential_value(row->truth, 1, t->x + 3 * i);
    }
    t->offset = deep_quantile(t->room, t->n, 0.5);
    return CLI_OK;
}

/* One panel of dots over the radius, with the truth. */
static void three_panel(picture *p, int row, const char *title, svg_axis y, const three_values *t,
                        const double *dots, const double *curve) {
    svg_panel panel = picture_panel(p, 0, row, title, picture_axis("r", 0.0, 6.0), y);
    svg_dots(&panel, t->n, t->r, dots, FOUND);
    svg_line(&panel, CURVE, t->curve_r, curve, TRUE_LINE);
    svg_legend(&panel, "found, at stars", FOUND, 0);
    svg_legend(&panel, "truth", TRUE_LINE, 0);
}

static void three_draw(picture *p, const dpr_row *row, three_values *t) {
    svg_axis x = picture_axis("x", -3.0, 3.0), y = picture_axis("y", -3.0, 3.0);
    double none[CURVE] = {0.0};
    size_t i;
    for (i = 0; i < t->n; i++) {
        double truth = af_potential_density(row->truth, 1, t->x + 3 * i);
        t->phi[i] -= t->offset;
        t->room[i] = t->rho[i] / truth - 1.0;
        t->rho[i] = t->rho[i] > 0.0 ? log10(t->rho[i] / DPR_MASS) : NAN;
    }
    for (i = 0; i < (size_t)CELLS; i++) {
        t->map_phi[i] -= t->offset;
        t->map_rho[i] = t->map_rho[i] > 0.0 ? log10(t->map_rho[i] / DPR_MASS) : NAN;
    }
    three_panel(p, 0, "Potential", picture_axis("Phi", -1.05, 0.0), t, t->phi, t->curve_phi);
    three_panel(p, 1, "Density", picture_axis("lg rho", -5.0, 0.0), t, t->rho, t->curve_rho);
    three_panel(p, 2, "Density, found/truth - 1", picture_axis("", -0.5, 0.5), t, t->room, none);
    picture_map(p, 1, 0, "Potential, z = 0", x, y, "Phi", t->map_phi, NULL, SVG_RISING);
    picture_map(p, 1, 1, "Density, z = 0", x, y, "lg rho", t->map_rho, NULL, SVG_RISING);
}

static int three(dpr *r, const dpr_row *row) {
    three_values *t = (three_values *)cli_allocate(1, sizeof *t);
    picture p;
    int code = three_fill(r, row, t);
    if (code == CLI_OK) {
        p = picture_begin(2, 3, 300.0, 230.0);
        three_draw(&p, row, t);
        code = picture_end(r, &p, 3);
    }
    free(t);
    return code;
}

/* ---- figure 4: gradients beside the true ones ---- */

static int four(dpr *r, const dpr_row *row) {
    static const char *const title[2] = {"d ln f/dx", "d ln f/dv"};
    size_t n = row->points.n, i, k;
    double *truth = (double *)cli_allocate(12 * n, sizeof *truth), *x = truth + 6 * n;
    double *y = x + 3 * n;
    picture p = picture_begin(2, 1, 320.0, 260.0);
    int half;
    if (dp_mock_plummer_gradient(r->c, DPR_MASS, 1.0, 10.0, n, row->points.eta, NULL, truth) !=
        AF_OK)
        return cli_fail_library(r->c);
    for (half = 0; half < 2; half++) {
        for (i = 0; i < n; i++)
            for (k = 0; k < 3; k++) {
                size_t at = 6 * i + 3 * (size_t)half + k;
                x[3 * i + k] = truth[at];
                y[3 * i + k] = row->points.gradient[at] - truth[at];
            }
        picture_residuals(&p, half, 0, title[half], "truth", "found - truth", 3 * n, x, y);
    }
    free(truth);
    return picture_end(r, &p, 4);
}

int dpr_pictures_plummer(dpr *r, dpr_row *row) {
    int code = two(r, row);
    if (code == CLI_OK) code = three(r, row);
    if (code == CLI_OK) code = four(r, row);
    return code;
}
