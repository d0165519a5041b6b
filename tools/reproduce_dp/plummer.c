/* Section 3.1: Plummer's sphere, where everything is known in closed form. */
#include "reproduce_dp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRESH = 16384 }; /* true stars that were not trained on, at most */

static const double R_MAX = 10.0;

static af_status plummer_make(af_context *c, const dpr_row *row, double *eta) {
    return dp_mock_plummer(c, DPR_MASS, 1.0, R_MAX, row->n, 1, eta);
}

/* Gradients and ln f beside the truth, at fresh stars. */
typedef struct plummer_fresh {
    size_t n;
    double eta[6 * FRESH], ln_f[FRESH], gradient[6 * FRESH];
    double own_ln_f[FRESH], own_gradient[6 * FRESH];
} plummer_fresh;

static double plummer_below(const plummer_fresh *f) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < f->n; i++) sum += f->ln_f[i] - f->own_ln_f[i];
    return sum / (double)f->n;
}

static void plummer_gradients(dpr *r, const dpr_row *row, const plummer_fresh *f,
                              dpr_column column) {
    double e[2];
    dpr_vector_errors(f->n, f->own_gradient, f->gradient, 0, e);
    dpr_pair(dpr_cell_of(r, row, "gradient_x", column), e[0], e[1]);
    dpr_vector_errors(f->n, f->own_gradient, f->gradient, 3, e);
    dpr_pair(dpr_cell_of(r, row, "gradient_v", column), e[0], e[1]);
}

static int plummer_density(dpr *r, dpr_row *row, plummer_fresh *f) {
    double below, error = 0.0;
    size_t k;
    if (dp_mock_plummer(r->c, DPR_MASS, 1.0, R_MAX, f->n, 2, f->eta) != AF_OK ||
        dp_mock_plummer_gradient(r->c, DPR_MASS, 1.0, R_MAX, f->n, f->eta, f->ln_f,
                                 f->gradient) != AF_OK ||
        dpr_score_at(&row->score, f->n, f->eta, NULL, f->own_gradient) != AF_OK)
        return cli_fail_library(r->c);
    plummer_gradients(r, row, f, DPR_OURS);
    if (dp_df_evaluate(row->flow, f->n, f->eta, f->own_ln_f, NULL) != AF_OK)
        return cli_fail_library(r->c);
    below = plummer_below(f);
    dpr_number(dpr_cell_of(r, row, "likelihood_flow", DPR_OURS), below);
    for (k = 0; k < row->score.count; k++)
        if (dp_df_normalise(row->score.member[k], row->flow, f->n, 4, &error) != AF_OK)
            return cli_fail_library(r->c);
    if (dpr_score_at(&row->score, f->n, f->eta, f->own_ln_f, NULL) != AF_OK)
        return cli_fail_library(r->c);
    below = plummer_below(f);
    dpr_number(dpr_cell_of(r, row, "likelihood_score", DPR_OURS), below);
    fprintf(stderr, "the score's constant is known to %.2g\n", error);
    dpr_normal(row->n, row->eta, f->n, f->eta, f->own_ln_f, f->own_gradient);
    plummer_gradients(r, row, f, DPR_UNTRAINED);
    below = plummer_below(f);
    dpr_number(dpr_cell_of(r, row, "likelihood_flow", DPR_UNTRAINED), below);
    dpr_number(dpr_cell_of(r, row, "likelihood_score", DPR_UNTRAINED), below);
    return CLI_OK;
}

static int plummer_flows(dpr *r, dpr_row *row) {
    dp_df_desc d;
    dp_sample *s = NULL;
    dpr_cost df = {0.0, 0.0}, flow = {0.0, 0.0};
    int code;
    memset(&d, 0, sizeof d);
    if (dp_sample_create(r->c, row->n, row->eta, NULL, NULL, NULL, &s) != AF_OK)
        return cli_fail_library(r->c);
    code = dpr_fit_score(r, "plummer: the score", s, &d, DPR_MEMBERS, row->df_seconds,
                         &row->score, &df);
    d.kind = DP_DF_MATCHING;
    if (code == CLI_OK)
        code = dpr_fit_df(r, "plummer: the flow", s, &d, row->flow_seconds, &row->flow, &flow);
    dp_sample_destroy(s);
    dpr_choose(row, row->eta);
    if (code == CLI_OK) code = dpr_gradients(r, &row->score, &row->points, &df);
    dpr_cost_cell(r, row, "df_cost", DPR_OURS, &df);
    dpr_cost_cell(r, row, "flow_cost", DPR_OURS, &flow);
    return code;
}

static int plummer_fit(dpr *r, dpr_row *row, dp_inputs inputs, const char *what,
                       dpr_column column, dp_potential **out) {
    dp_potential_desc d;
    dpr_cost cost = {0.0, 0.0};
    int code;
    memset(&d, 0, sizeof d);
    d.inputs = inputs;
    code = dpr_fit_potential(r, what, &d, &row->points, row->potential_seconds, out, &cost, NULL);
    dpr_cost_cell(r, row, "potential_cost", column, &cost);
    return code == CLI_OK ? dpr_judge(r, row, *out, column) : code;
}

static int plummer_from_truth(dpr *r, dpr_row *row) {
    dp_potential *other = NULL;
    double *own = row->points.gradient;
    int code = CLI_OK;
    row->points.gradient = (double *)cli_allocate(6 * row->points.n, sizeof *own);
    if (dp_mock_plummer_gradient(r->c, DPR_MASS, 1.0, R_MAX, row->points.n, row->points.eta, NULL,
                                 row->points.gradient) != AF_OK)
        code = cli_fail_library(r->c);
    if (code == CLI_OK)
        code = plummer_fit(r, row, DP_INPUTS_XYZ, "plummer: the potential of true gradients",
                           DPR_TRUTH, &other);
    dp_potential_destroy(other);
    free(row->points.gradient);
    row->points.gradient = own;
    return code;
}

static int plummer_potentials(dpr *r, dpr_row *row) {
    dp_potential *other = NULL;
    int code = plummer_fit(r, row, DP_INPUTS_XYZ, "plummer: the potential", DPR_OURS,
                           &row->potential);
    if (code == CLI_OK)
        code = plummer_fit(r, row, DP_INPUTS_R, "plummer: Phi(r)", DPR_SYMMETRIC, &other);
    dp_potential_destroy(other);
    return code == CLI_OK ? plummer_from_truth(r, row) : code;
}

int dpr_plummer(dpr *r, dpr_row *row) {
    plummer_fresh *fresh;
    int code;
    row->truth_count = 1;
    row->truth[0] = af_potential_plummer(DPR_MASS, 1.0);
    code = dpr_stars(r, row, "plummer", plummer_make);
    if (code != CLI_OK) return code;
    if (r->only) {
        dpr_choose(row, row->eta);
        dpr_judge_untrained(r, row);
        return plummer_from_truth(r, row);
    }
    code = plummer_flows(r, row);
    fresh = (plummer_fresh *)cli_allocate(1, sizeof *fresh);
    fresh->n = row->points_n / 4 < (size_t)FRESH ? row->points_n / 4 : (size_t)FRESH;
    if (code == CLI_OK) code = plummer_density(r, row, fresh);
    free(fresh);
    if (code == CLI_OK) dpr_judge_untrained(r, row);
    if (code == CLI_OK) code = plummer_potentials(r, row);
    return code;
}
