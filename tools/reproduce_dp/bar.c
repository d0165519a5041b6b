/* Section 2.3: a bar that turns, whose pattern speed is found with the potential. */
#include "reproduce_dp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double OMEGA = 28.2, START = 0.7; /* the latter: of the former */

static af_status bar_make(af_context *c, const dpr_row *row, double *eta) {
    return dp_mock_bar(c, NULL, row->n, 1, eta);
}

static int bar_potential(dpr *r, dpr_row *row, const char *what, double omega, unsigned free_frame,
                         dpr_column column, dp_potential **out) {
    dp_potential_desc d;
    dp_potential_report report;
    dpr_cost cost = {0.0, 0.0};
    double found;
    int code;
    memset(&d, 0, sizeof d);
    d.frame.omega = omega;
    d.free_frame = free_frame;
    code = dpr_fit_potential(r, what, &d, &row->points, row->potential_seconds, out, &cost,
                             &report);
    if (code != CLI_OK) return code;
    found = dp_potential_frame(*out).omega;
    dpr_cost_cell(r, row, "potential_cost", column, &cost);
    dpr_number(dpr_cell_of(r, row, "omega", column), found);
    dpr_number(dpr_cell_of(r, row, "omega_error", column), 100.0 * fabs(found / OMEGA - 1.0));
    dpr_number(dpr_cell_of(r, row, "loss", column), report.validation);
    return dpr_judge(r, row, *out, column);
}

/* Local coordinates are for what is nearly axially symmetric. */
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

/* ---- what the stars themselves tell of the pattern speed ---- */

/* The mean of d phi/dt over the stars vanishes for any phi(x, v) in the frame that turns with them:
 * <D phi> + omega <T phi> = 0, D with the potential known and T of a turn. The phi are x y, vx vy,
 * x vx and y vy times exp(-r^2/2 s^2), s = 1, 2, 4; their combination is the one of least variance.
 * Nothing is learned: how far off this is is the stars' own scatter. */
enum { BAR_MOMENTS = 12 };

/* A phi, D phi, T phi. */
typedef struct bar_phi {
    double value, flow, turn;
} bar_phi;

static bar_phi bar_product(bar_phi a, bar_phi b) {
    bar_phi p;
    p.value = a.value * b.value;
    p.flow = a.flow * b.value + a.value * b.flow;
    p.turn = a.turn * b.value + a.value * b.turn;
    return p;
}

static bar_phi bar_of(double value, double flow, double turn) {
    bar_phi p;
    p.value = value;
    p.flow = flow;
    p.turn = turn;
    return p;
}

static void bar_phis(const dpr_row *row, const double eta[6], bar_phi phi[BAR_MOMENTS]) {
    const double *v = eta + 3, r2 = eta[0] * eta[0] + eta[1] * eta[1] + eta[2] * eta[2];
    const double outward = eta[0] * v[0] + eta[1] * v[1] + eta[2] * v[2];
    bar_phi x = bar_of(eta[0], v[0], eta[1]), y = bar_of(eta[1], v[1], -eta[0]), vx, vy;
    double a[3], s = 1.0;
    size_t k;
    af_potential_acceleration(row->truth, row->truth_count, eta, a);
    vx = bar_of(v[0], a[0], v[1]);
    vy = bar_of(v[1], a[1], -v[0]);
    for (k = 0; k < (size_t)BAR_MOMENTS; k += 4, s *= 2.0) {
        double near = exp(-0.5 * r2 / (s * s));
        bar_phi w = bar_of(near, -near * outward / (s * s), 0.0);
        phi[k] = bar_product(w, bar_product(x, y));
        phi[k + 1] = bar_product(w, bar_product(vx, vy));
        phi[k + 2] = bar_product(w, bar_product(x, vx));
        phi[k + 3] = bar_product(w, bar_product(y, vy));
    }
}

/* Sums over the stars, with covariances at the given omega. */
typedef struct bar_sums {
    double flow[BAR_MOMENTS], turn[BAR_MOMENTS], covariance[BAR_MOMENTS][BAR_MOMENTS];
} bar_sums;

static void bar_sum(const dpr_row *row, double omega, bar_sums *s) {
    bar_phi phi[BAR_MOMENTS];
    size_t i, k, l;
    memset(s, 0, sizeof *s);
    for (i = 0; i < row->n; i++) {
        bar_phis(row, row->eta + 6 * i, phi);
        for (k = 0; k < (size_t)BAR_MOMENTS; k++) {
            s->flow[k] += phi[k].flow;
            s->turn[k] += phi[k].turn;
            for (l = 0; l <= k; l++)
                s->covariance[k][l] += (phi[k].flow + omega * phi[k].turn) *
                                       (phi[l].flow + omega * phi[l].turn);
        }
    }
}

/* omega and its standard error, by Cholesky's factors of the covariance. */
static void bar_combine(bar_sums *s, double *omega, double *error) {
    double above = 0.0, below = 0.0;
    size_t i, k, l;
    for (k = 0; k < (size_t)BAR_MOMENTS; k++) {
        for (l = 0; l <= k; l++) {
            double sum = s->covariance[k][l];
            for (i = 0; i < l; i++) sum -= s->covariance[k][i] * s->covariance[l][i];
            s->covariance[k][l] = k == l ? sqrt(sum) : sum / s->covariance[l][l];
        }
        for (l = 0; l < k; l++) {
            s->flow[k] -= s->covariance[k][l] * s->flow[l];
            s->turn[k] -= s->covariance[k][l] * s->turn[l];
        }
        s->flow[k] /= s->covariance[k][k];
        s->turn[k] /= s->covariance[k][k];
        above -= s->flow[k] * s->turn[k];
        below += s->turn[k] * s->turn[k];
    }
    *omega = above / below;
    *error = 1.0 / sqrt(below);
}

static void bar_moments(dpr *r, dpr_row *row) {
    bar_sums sums;
    double omega = START * OMEGA, error = 0.0;
    int pass;
    for (pass = 0; pass < 3; pass++) {
        bar_sum(row, omega, &sums);
        bar_combine(&sums, &omega, &error);
    }
    dpr_pair(dpr_cell_of(r, row, "omega_moments", DPR_TRUTH), omega, error);
}

/* ---- the row ---- */

int dpr_bar(dpr *r, dpr_row *row) {
    dp_potential *fixed = NULL;
    int code;
    row->truth_count = 1;
    row->truth[0] = af_potential_logarithmic(200.0, 1.0, 0.8, 0.7); /* dp_mock_bar's defaults */
    code = dpr_stars(r, row, "bar", bar_make);
    if (code == CLI_OK) bar_moments(r, row);
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
