/* Section 2.3: a bar that turns, whose pattern speed is found with the potential. */
#include "reproduce_dp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double OMEGA = 28.2, START = 0.7; /* the latter: of the former */

static af_status bar_make(af_context *c, const dpr_row *row, double *eta) {
    return dp_mock_bar(c, NULL, row->n, 1, eta);
}

/* Least squares: all stars tell of one pattern speed, which the errors of their gradients bias
 * less than the median's way of counting them. */
static int bar_potential(dpr *r, dpr_row *row, const char *what, double omega, unsigned free_frame,
                         dpr_column column, dp_potential **out) {
    dp_potential_desc d;
    dp_loss_desc loss;
    dp_potential_report report;
    dpr_cost cost = {0.0, 0.0};
    double found;
    int code;
    memset(&d, 0, sizeof d);
    memset(&loss, 0, sizeof loss);
    loss.rounding = 1.0;
    d.frame.omega = omega;
    d.free_frame = free_frame;
    code = dpr_fit_potential(r, what, &d, &row->points, &loss, row->potential_seconds, out,
                             &cost, &report);
    if (code != CLI_OK) return code;
    found = dp_potential_frame(*out).omega;
    dpr_cost_cell(r, row, "potential_cost", column, &cost);
    dpr_number(dpr_cell_of(r, row, "omega", column), found);
    dpr_number(dpr_cell_of(r, row, "omega_error", column), 100.0 * fabs(found / OMEGA - 1.0));
    dpr_number(dpr_cell_of(r, row, "loss", column), report.validation);
    return dpr_judge(r, row, *out, column);
}

/* Local coordinates are for what is nearly axially symmetric: a bar's stars are learned with three
 * quarters of the error without. */
static int bar_score(dpr *r, dpr_row *row) {
    dp_df_desc d;
    dp_sample *s = NULL;
    dpr_cost cost = {0.0, 0.0};
    int code;
    memset(&d, 0, sizeof d);
    d.plain_coordinates = 1;
    if (dp_sample_create(r->c, row->n, row->eta, NULL, NULL, NULL, &s) != AF_OK)
        return cli_fail_library(r->c);
    code = dpr_fit_score(r, "bar: the score", s, &d, DPR_MEMBERS, row->df_seconds,
                         &row->score, &cost);
    dp_sample_destroy(s);
    dpr_choose(row, row->eta);
    if (code == CLI_OK) code = dpr_gradients(r, &row->score, &row->points, &cost);
    dpr_cost_cell(r, row, "df_cost", DPR_OURS, &cost);
    return code;
}

/* The same fit to the exact gradients of another f that turns with the bar. */
static int bar_from_truth(dpr *r, dpr_row *row) {
    const double dispersion = 60.0;
    double *own = row->points.gradient;
    dp_potential *p = NULL;
    int code;
    row->points.gradient = (double *)cli_allocate(6 * row->points.n, sizeof *own);
    dpr_turning_gradients(row->truth, row->truth_count, dispersion, OMEGA, row->points.n,
                          row->points.eta, row->points.gradient);
    code = bar_potential(r, row, "bar: the potential of true gradients", START * OMEGA,
                         (unsigned)DP_FREE_OMEGA, DPR_TRUTH, &p);
    dp_potential_destroy(p);
    free(row->points.gradient);
    row->points.gradient = own;
    return code;
}

int dpr_bar(dpr *r, dpr_row *row) {
    dp_potential *fixed = NULL;
    int code;
    row->truth_count = 1;
    row->truth[0] = af_potential_logarithmic(200.0, 1.0, 0.8, 0.7); /* dp_mock_bar's defaults */
    code = dpr_stars(r, row, "bar", bar_make);
    if (code == CLI_OK && r->only) dpr_choose(row, row->eta);
    else if (code == CLI_OK) code = bar_score(r, row);
    if (code != CLI_OK) return code;
    dpr_judge_untrained(r, row);
    dpr_number(dpr_cell_of(r, row, "omega", DPR_UNTRAINED), START * OMEGA);
    dpr_number(dpr_cell_of(r, row, "omega_error", DPR_UNTRAINED), 100.0 * (1.0 - START));
    if (r->only) return bar_from_truth(r, row);
    code = bar_potential(r, row, "bar: the potential, and how it turns", START * OMEGA,
                         (unsigned)DP_FREE_OMEGA, DPR_OURS, &row->potential);
    if (code == CLI_OK)
        code = bar_potential(r, row, "bar: the potential in the wrong frame", START * OMEGA, 0,
                             DPR_WITHOUT, &fixed);
    dp_potential_destroy(fixed);
    return code == CLI_OK ? bar_from_truth(r, row) : code;
}
