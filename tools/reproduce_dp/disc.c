/* Sections 3.2 and 4: the Miyamoto-Nagai disc, ideal, cut, measured with errors, not yet mixed; and
 * an unknown selection, which the paper leaves to future work. */
#include "reproduce_dp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double DISPERSION = 0.05; /* of the velocities, v_c being at most about 0.6 */

static int disc_is(const dpr_row *row, const char *name) {
    return strcmp(row->setting->name, name) == 0;
}

static af_status disc_make(af_context *c, const dpr_row *row, double *eta) {
    dp_mock_disc_desc d;
    memset(&d, 0, sizeof d);
    d.volume = row->volume;
    if (disc_is(row, "nonstationary")) d.times = 8.0;
    return dp_mock_disc(c, &d, row->n, 1, eta);
}

/* The sphere of section 4.2. Points stay 3 % inside it: the smoothed f has no sharp edge. */
static void disc_sphere(dpr_row *row) {
    row->volume.kind = DP_VOLUME_SPHERE;
    memcpy(row->volume.centre, DPR_OBSERVER, sizeof row->volume.centre);
    row->volume.outer = 1.0;
    row->inside = row->volume;
    row->inside.outer = 0.97;
}

static void disc_truth(dpr_row *row) {
    row->truth_count = 1;
    row->truth[0] = af_potential_miyamoto_nagai(DPR_MASS, 1.0, 0.1);
}

/* ---- fits ---- */

/* The row's score, of stars eta (n,6), and its gradients at the row's points. */
static int disc_score(dpr *r, dpr_row *row, const char *what, const double *eta,
                      const double *errors, int conditional, dpr_column column) {
    char text[96];
    dp_df_desc d;
    dp_sample *s = NULL;
    dpr_cost cost = {0.0, 0.0};
    int code;
    memset(&d, 0, sizeof d);
    d.conditional = conditional;
    snprintf(text, sizeof text, "%s: %s", row->setting->name, what);
    if (dp_sample_create(r->c, row->n, eta, NULL, errors, &row->volume, &s) != AF_OK)
        return cli_fail_library(r->c);
    code = dpr_fit_score(r, text, s, &d, DPR_MEMBERS, row->df_seconds,
                         &row->score, &cost);
    if (code == CLI_OK) code = dpr_gradients(r, &row->score, &row->points, &cost);
    dp_sample_destroy(s);
    dpr_cost_cell(r, row, "df_cost", column, &cost);
    return code;
}

static int disc_potential(dpr *r, dpr_row *row, const char *what, const dp_potential_desc *d,
                          dpr_column column, dp_potential **out) {
    char text[96];
    dp_potential *p = NULL;
    dpr_cost cost = {0.0, 0.0};
    int code;
    snprintf(text, sizeof text, "%s: %s", row->setting->name, what);
    code = dpr_fit_potential(r, text, d, &row->points, row->potential_seconds, &p, &cost, NULL);
    if (code == CLI_OK) code = dpr_judge(r, row, p, column);
    dpr_cost_cell(r, row, "potential_cost", column, &cost);
    if (out) *out = p;
    else dp_potential_destroy(p);
    return code;
}

static int disc_network(dpr *r, dpr_row *row, const char *what, dp_inputs inputs,
                        dpr_column column, dp_potential **out) {
    dp_potential_desc d;
    memset(&d, 0, sizeof d);
    d.inputs = inputs;
    return disc_potential(r, row, what, &d, column, out);
}

/* Figure 8: a and b by the same loss, beginning at 1.5 and 0.2; the mass known, or fitted from 0.7
 * of it. */
static int disc_fitted(dpr *r, dpr_row *row, int free_mass, dpr_column column, double best[2]) {
    const unsigned fixed = free_mass ? 0u : (unsigned)DP_FIX_MASS;
    const char *quantity = free_mass ? "fitted_free" : "fitted";
    dp_potential_desc d;
    dp_potential *p = NULL;
    af_potential start = row->truth[0];
    dpr_cost cost = {0.0, 0.0};
    int code;
    memset(&d, 0, sizeof d);
    start.length = 1.5;
    start.height = 0.2;
    if (free_mass) start.mass *= 0.7;
    d.parts = &start;
    d.part_count = 1;
    d.fixed = &fixed;
    dpr_pair(dpr_cell_of(r, row, quantity, DPR_UNTRAINED), start.length, start.height);
    if (free_mass) dpr_number(dpr_cell_of(r, row, "fitted_mass", DPR_UNTRAINED), 0.7);
    code = dpr_fit_potential(r, "a Miyamoto-Nagai disc", &d, &row->points, row->potential_seconds,
                             &p, &cost, NULL);
    if (code == CLI_OK) {
        const af_potential *found = dp_potential_parts(p, NULL);
        best[0] = found->length;
        best[1] = found->height;
        dpr_pair(dpr_cell_of(r, row, quantity, column), best[0], best[1]);
        if (free_mass)
            dpr_number(dpr_cell_of(r, row, "fitted_mass", column), found->mass / DPR_MASS);
    }
    dp_potential_destroy(p);
    return code;
}

/* The same fits to the exact gradients of another f that is stationary in the truth. */
static int disc_from_truth(dpr *r, dpr_row *row) {
    double *own = row->points.gradient, unused[2];
    int code;
    row->points.gradient = (double *)cli_allocate(6 * row->points.n, sizeof *own);
    dpr_stationary_gradients(row->truth, row->truth_count, DISPERSION, row->points.n,
                             row->points.eta, row->points.gradient);
    code = disc_network(r, row, "the potential of true gradients", DP_INPUTS_XYZ, DPR_TRUTH, NULL);
    if (code == CLI_OK) code = disc_fitted(r, row, 0, DPR_TRUTH, unused);
    if (code == CLI_OK) code = disc_fitted(r, row, 1, DPR_TRUTH, unused);
    free(row->points.gradient);
    row->points.gradient = own;
    return code;
}

/* A flow beside the score, for its draws (figure 11). */
static int disc_flow(dpr *r, dpr_row *row, const double *eta) {
    dp_df_desc d;
    dp_sample *s = NULL;
    dpr_cost cost = {0.0, 0.0};
    int code;
    memset(&d, 0, sizeof d);
    d.kind = DP_DF_MATCHING;
    if (dp_sample_create(r->c, row->n, eta, NULL, NULL, &row->volume, &s) != AF_OK)
        return cli_fail_library(r->c);
    code = dpr_fit_df(r, "nonstationary: the flow", s, &d, row->flow_seconds, &row->flow, &cost);
    dp_sample_destroy(s);
    dpr_cost_cell(r, row, "flow_cost", DPR_OURS, &cost);
    return code;
}

/* ---- rows ---- */

/* Stars without errors, and with them, when those are ignored: first, so that what stays are the
 * gradients that are right. */
static int disc_noisy(dpr *r, dpr_row *row) {
    double *noisy = (double *)cli_allocate(12 * row->n, sizeof *noisy);
    double *errors = noisy + 6 * row->n;
    int code;
    dp_mock_errors(DPR_OBSERVER, 0.0015, 0.00015, row->n, row->eta, 5, noisy, errors);
    dpr_choose(row, noisy);
    code = disc_score(r, row, "the score, errors ignored", noisy, NULL, 0, DPR_WITHOUT);
    if (code == CLI_OK)
        code = disc_network(r, row, "the potential, errors ignored", DP_INPUTS_XYZ, DPR_WITHOUT,
                            NULL);
    if (code == CLI_OK)
        code = disc_score(r, row, "the score", noisy, errors, 0, DPR_OURS);
    free(noisy);
    return code;
}

int dpr_disc(dpr *r, dpr_row *row) {
    double unused[2];
    int code;
    disc_truth(row);
    if (disc_is(row, "selection")) disc_sphere(row);
    code = dpr_stars(r, row, row->setting->name, disc_make);
    if (code != CLI_OK) return code;
    if (r->only) {
        dpr_choose(row, row->eta);
        dpr_judge_untrained(r, row);
        return disc_from_truth(r, row);
    }
    if (disc_is(row, "errors")) {
        code = disc_noisy(r, row);
    } else {
        dpr_choose(row, row->eta);
        code = disc_score(r, row, "the score", row->eta, NULL, 0, DPR_OURS);
    }
    if (code == CLI_OK) dpr_judge_untrained(r, row);
    if (code == CLI_OK)
        code = disc_network(r, row, "the potential", DP_INPUTS_XYZ, DPR_OURS, &row->potential);
    if (code == CLI_OK)
        code = disc_network(r, row, "Phi(R, z)", DP_INPUTS_RZ, DPR_SYMMETRIC, NULL);
    if (code == CLI_OK) code = disc_from_truth(r, row);
    if (code == CLI_OK) code = disc_fitted(r, row, 0, DPR_OURS, row->best);
    if (code == CLI_OK) code = disc_fitted(r, row, 1, DPR_OURS, unused);
    if (code == CLI_OK && row->flow_seconds > 0.0) code = disc_flow(r, row, row->eta);
    return code;
}

/* ---- a selection that is not complete anywhere ---- */

/* Keeps a star with the probability exp(-d^2/(2 0.6^2)), d from the observer: a quarter at the
 * edge. */
static void disc_thin(dpr_row *row) {
    enum { STREAM = 1 };
    size_t i, n = 0;
    for (i = 0; i < row->n; i++) {
        const double *at = row->eta + 6 * i;
        double d2 = 0.0;
        size_t k;
        for (k = 0; k < 3; k++) d2 += (at[k] - DPR_OBSERVER[k]) * (at[k] - DPR_OBSERVER[k]);
        if (af_random_uniform(6, STREAM, i) < exp(-0.5 * d2 / 0.36))
            memmove(row->eta + 6 * n++, at, 6 * sizeof *at);
    }
    row->n = n;
}

/* What the selection takes away is learned with the potential: from the f of the stars that are
 * left, thinned, or from p(v|x) alone, conditional. */
int dpr_thinned(dpr *r, dpr_row *row) {
    const int conditional = disc_is(row, "conditional");
    dp_potential_desc d;
    int code;
    disc_truth(row);
    disc_sphere(row);
    code = dpr_stars(r, row, "selection", disc_make);
    if (code != CLI_OK) return code;
    disc_thin(row);
    dpr_choose(row, row->eta);
    dpr_judge_untrained(r, row);
    if (r->only) return disc_from_truth(r, row);
    code = disc_score(r, row, conditional ? "the score of p(v|x)" : "the score", row->eta, NULL,
                      conditional, DPR_OURS);
    if (code == CLI_OK && !conditional)
        code = disc_network(r, row, "the potential, as if complete", DP_INPUTS_XYZ, DPR_WITHOUT,
                            NULL);
    memset(&d, 0, sizeof d);
    d.density_net = 1;
    if (code == CLI_OK)
        code = disc_potential(r, row, "the potential and n(x)", &d, DPR_OURS, &row->potential);
    d.inputs = DP_INPUTS_RZ;
    if (code == CLI_OK)
        code = disc_potential(r, row, "Phi(R, z) and n(x)", &d, DPR_SYMMETRIC, NULL);
    return code == CLI_OK ? disc_from_truth(r, row) : code;
}
