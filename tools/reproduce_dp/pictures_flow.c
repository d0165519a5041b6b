/* Figure 8: the loss over a and b; figures 11 and 12: a disc that is not stationary, its stars
 * beside draws of the flow, and where its f changes. */
#include "pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = PICTURE_CELLS * PICTURE_CELLS };

/* ---- figure 8 ---- */

enum { SIDE = 24, LOSS_POINTS = 8192 }; /* along a and b */

static const double A_LOW = 0.8, A_HIGH = 1.2, B_LOW = 0.05, B_HIGH = 0.17;

/* ln of the loss (SIDE,SIDE), by a first. */
static int loss_surface(dpr *r, const dpr_row *row, double *ln_loss) {
    const unsigned fixed = DP_FIX_MASS;
    dp_points points = deep_points_view(&row->points);
    dp_potential_desc d;
    dp_potential *p = NULL;
    af_potential part = row->truth[0];
    size_t i;
    int code = CLI_OK;
    if (points.n > (size_t)LOSS_POINTS) points.n = LOSS_POINTS;
    memset(&d, 0, sizeof d);
    d.parts = &part;
    d.part_count = 1;
    d.fixed = &fixed;
    if (dp_potential_create(r->c, &d, &points, &p) != AF_OK) return cli_fail_library(r->c);
    for (i = 0; i < (size_t)(SIDE * SIDE) && code == CLI_OK; i++) {
        part.length = A_LOW + (A_HIGH - A_LOW) * ((double)(i / SIDE) + 0.5) / SIDE;
        part.height = B_LOW + (B_HIGH - B_LOW) * ((double)(i % SIDE) + 0.5) / SIDE;
        if (dp_potential_set_parts(p, &part) != AF_OK ||
            dp_potential_loss(p, &points, NULL, &ln_loss[i]) != AF_OK)
            code = cli_fail_library(r->c);
        ln_loss[i] = log(ln_loss[i]);
    }
    dp_potential_destroy(p);
    return code;
}

static int loss_panel(dpr *r, picture *p, int column, const dpr_row *row) {
    static const svg_style cross = {"#ffffff", 1.0, 1.0, NULL};
    static const svg_style dot = {"#ffffff", 9.0, 1.0, NULL};
    double ln_loss[SIDE * SIDE], ends[2], level[2];
    svg_axis range;
    svg_panel panel;
    int code = loss_surface(r, row, ln_loss);
    if (code != CLI_OK) return code;
    range = picture_range("ln L", ln_loss, SIDE * SIDE, 0.0, 0);
    panel = picture_panel(p, column, 0, row->setting->name, picture_axis("a", A_LOW, A_HIGH),
                          picture_axis("b", B_LOW, B_HIGH));
    svg_cells(&panel, SIDE, SIDE, ln_loss, &range, SVG_RISING);
    svg_colour_bar(&panel, &range, SVG_RISING);
    ends[0] = A_LOW;
    ends[1] = A_HIGH;
    level[0] = level[1] = row->truth[0].height;
    svg_line(&panel, 2, ends, level, cross);
    ends[0] = B_LOW;
    ends[1] = B_HIGH;
    level[0] = level[1] = row->truth[0].length;
    svg_line(&panel, 2, level, ends, cross);
    svg_dots(&panel, 1, &row->best[0], &row->best[1], dot);
    return CLI_OK;
}

int dpr_pictures_loss(dpr *r) {
    static const char *const name[4] = {"disc", "selection", "errors", "nonstationary"};
    picture p;
    int k, columns = 0, code = CLI_OK;
    for (k = 0; k < 4; k++) columns += dpr_row_of(r, name[k])->done;
    if (!columns) return CLI_OK;
    p = picture_begin(columns, 1, 260.0, 260.0);
    for (k = columns = 0; k < 4 && code == CLI_OK; k++)
        if (dpr_row_of(r, name[k])->done)
            code = loss_panel(r, &p, columns++, dpr_row_of(r, name[k]));
    if (code == CLI_OK) return picture_end(r, &p, 8);
    free(p.f.text);
    return code;
}

/* ---- figures 11 and 12 ---- */

enum { VIEWS = 3 };

static const dp_map_axis VIEW[VIEWS][2] = {
    {{DP_COORDINATE_CYLINDER_R, PICTURE_CELLS, 0.0, 3.0},
     {DP_COORDINATE_V_PHI, PICTURE_CELLS, 0.0, 0.8}},
    {{DP_COORDINATE_CYLINDER_R, PICTURE_CELLS, 0.0, 3.0},
     {DP_COORDINATE_V_R, PICTURE_CELLS, -0.25, 0.25}},
    {{DP_COORDINATE_Z, PICTURE_CELLS, -0.3, 0.3}, {DP_COORDINATE_VZ, PICTURE_CELLS, -0.15, 0.15}},
};

static svg_axis view_axis(int view, int k) {
    const dp_map_axis *a = &VIEW[view][k];
    return picture_axis(dp_coordinate_name(a->coordinate), a->low, a->high);
}

static int eleven_row(dpr *r, picture *p, int view, const dpr_row *row, size_t draws,
                      const double *drawn) {
    double stars[CELLS], flow[CELLS], excess[CELLS], share = (double)draws / (double)row->n;
    dp_map_axis axes[2];
    svg_axis range, x = view_axis(view, 0), y = view_axis(view, 1);
    size_t i;
    memcpy(axes, VIEW[view], sizeof axes);
    if (dp_map(r->c, axes, row->n, row->eta, NULL, NULL, stars, NULL, NULL) != AF_OK ||
        dp_map(r->c, axes, draws, drawn, NULL, NULL, flow, NULL, NULL) != AF_OK)
        return cli_fail_library(r->c);
    dp_map_significance(CELLS, flow, stars, excess);
    for (i = 0; i < (size_t)CELLS; i++) {
        if (!(stars[i] > 0.0) && !(flow[i] > 0.0)) excess[i] = NAN;
        stars[i] = stars[i] > 0.0 ? log10(share * stars[i]) : NAN;
        flow[i] = flow[i] > 0.0 ? log10(flow[i]) : NAN;
    }
    range = picture_range("lg n", stars, CELLS, 0.01, 0);
    picture_map(p, 0, view, "Stars", x, y, "lg n", stars, &range, SVG_RISING);
    picture_map(p, 1, view, "Draws of the flow", x, y, "lg n", flow, &range, SVG_RISING);
    range = picture_axis("sigma", -5.0, 5.0);
    picture_map(p, 2, view, "Poisson significance", x, y, "sigma", excess, &range, SVG_PASSING);
    return CLI_OK;
}

static int eleven(dpr *r, const dpr_row *row) {
    size_t n = row->n / 4; /* draws take their time */
    double *drawn = (double *)cli_allocate(6 * n, sizeof *drawn);
    picture p = picture_begin(3, VIEWS, 260.0, 220.0);
    int view, code = CLI_OK;
    if (dp_df_draw(row->flow, n, 7, drawn) != AF_OK) code = cli_fail_library(r->c);
    for (view = 0; view < (int)VIEWS && code == CLI_OK; view++)
        code = eleven_row(r, &p, view, row, n, drawn);
    free(drawn);
    if (code == CLI_OK) return picture_end(r, &p, 11);
    free(p.f.text);
    return code;
}

/* df/dt, projected: the sum of d ln f/dt over the stars of a cell, asinh of it in units in which a
 * tenth of the largest is one. */
static int twelve_panel(dpr *r, picture *p, int view, const dp_points *points,
                        const double *residual) {
    double count[CELLS], mean[CELLS], most;
    dp_map_axis axes[2];
    svg_axis range;
    size_t i;
    memcpy(axes, VIEW[view], sizeof axes);
    if (dp_map(r->c, axes, points->n, points->eta, NULL, residual, count, mean, NULL) != AF_OK)
        return cli_fail_library(r->c);
    for (i = 0; i < (size_t)CELLS; i++) mean[i] = count[i] > 0.0 ? mean[i] * count[i] : NAN;
    range = picture_range("", mean, CELLS, 0.005, 1);
    most = range.high;
    for (i = 0; i < (size_t)CELLS; i++) mean[i] = asinh(10.0 * mean[i] / most);
    range = picture_axis("asinh", -3.0, 3.0);
    picture_map(p, view, 0, "df/dt", view_axis(view, 0), view_axis(view, 1), "asinh", mean, &range,
                SVG_PASSING);
    return CLI_OK;
}

static int twelve(dpr *r, const dpr_row *row) {
    dp_points points = deep_points_view(&row->points);
    double *residual = (double *)cli_allocate(points.n, sizeof *residual);
    picture p = picture_begin(VIEWS, 1, 260.0, 220.0);
    int view, code = CLI_OK;
    if (dp_potential_residual(row->potential, &points, residual) != AF_OK)
        code = cli_fail_library(r->c);
    for (view = 0; view < (int)VIEWS && code == CLI_OK; view++)
        code = twelve_panel(r, &p, view, &points, residual);
    free(residual);
    if (code == CLI_OK) return picture_end(r, &p, 12);
    free(p.f.text);
    return code;
}

int dpr_pictures_flow(dpr *r, dpr_row *row) {
    int code = eleven(r, row);
    return code == CLI_OK ? twelve(r, row) : code;
}
