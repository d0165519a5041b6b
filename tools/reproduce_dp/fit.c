/* Stars, fits and what they cost. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L /* clock_gettime */
#endif
#include "reproduce_dp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double dpr_cpu(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static dpr_cost fit_start(void) {
    dpr_cost c;
    c.cpu = -dpr_cpu();
    c.wall = -cli_clock();
    return c;
}

/* Adds what it took since. */
static void fit_end(dpr_cost since, dpr_cost *to) {
    to->cpu += since.cpu + dpr_cpu();
    to->wall += since.wall + cli_clock();
}

static double fit_clock(void *user) {
    (void)user;
    return cli_clock();
}

static dp_fit_desc fit_desc(const dpr *r, double seconds, size_t epochs, uint64_t seed) {
    dp_fit_desc d;
    memset(&d, 0, sizeof d);
    d.seed = 1 + seed;
    d.epochs = epochs;
    if (r->epochs) return d;
    d.clock = fit_clock;
    d.seconds = seconds;
    return d;
}

int dpr_fit_df(dpr *r, const char *what, const dp_sample *s, const dp_df_desc *d, double seconds,
               dp_df **out, dpr_cost *cost) {
    dp_fit_desc fit = fit_desc(r, seconds, r->epochs, d->seed);
    dp_df_report report;
    dpr_cost since = fit_start();
    memset(&report, 0, sizeof report);
    if (dp_df_create(s, d, out) != AF_OK || dp_df_fit(*out, s, &fit, &report) != AF_OK)
        return cli_fail("%s: %s", what, af_error(r->c));
    fit_end(since, cost);
    fprintf(stderr, "fitted %s to %lu stars: loss %.5g, held out %.5g (untrained %.5g), noise %g\n",
            what, (unsigned long)dp_sample_count(s), report.loss, report.validation,
            report.untrained, report.noise);
    return CLI_OK;
}

void dpr_score_free(dpr_score *score) {
    size_t k;
    for (k = 0; k < (size_t)DPR_MEMBERS; k++) {
        dp_df_destroy(score->member[k]);
        score->member[k] = NULL;
    }
}

int dpr_fit_score(dpr *r, const char *what, const dp_sample *s, const dp_df_desc *desc,
                  size_t members, double seconds, dpr_score *out, dpr_cost *cost) {
    dp_df_desc d = *desc;
    size_t k;
    int code = CLI_OK;
    dpr_score_free(out);
    out->count = members;
    for (k = 0; k < members && code == CLI_OK; k++) {
        d.seed = k;
        code = dpr_fit_df(r, what, s, &d, seconds / (double)members, &out->member[k], cost);
    }
    return code;
}

enum { PASSES = 16 }; /* over the points, for one over the stars: those are quicker */

int dpr_fit_potential(dpr *r, const char *what, const dp_potential_desc *d, const deep_points *p,
                      double seconds, dp_potential **out, dpr_cost *cost,
                      dp_potential_report *report) {
    dp_fit_desc fit = fit_desc(r, seconds, PASSES * r->epochs, 0);
    dp_potential_report own;
    dp_points view = deep_points_view(p);
    dpr_cost since = fit_start();
    if (!report) report = &own;
    memset(report, 0, sizeof *report);
    if (dp_potential_create(r->c, d, &view, out) != AF_OK ||
        dp_potential_fit(*out, &view, NULL, &fit, report) != AF_OK)
        return cli_fail("%s: %s", what, af_error(r->c));
    fit_end(since, cost);
    fprintf(stderr, "fitted %s to %lu points: loss %.5g, held out %.5g (untrained %.5g)\n", what,
            (unsigned long)p->n, report->loss, report->validation, report->untrained);
    return CLI_OK;
}

af_status dpr_score_at(const dpr_score *score, size_t n, const double *eta, double *ln_f,
                       double *gradient) {
    return dp_ensemble_evaluate(score->count, score->member, 0, n, eta, ln_f, gradient, NULL);
}

int dpr_gradients(dpr *r, const dpr_score *score, deep_points *p, dpr_cost *cost) {
    dpr_cost since = fit_start();
    if (dpr_score_at(score, p->n, p->eta, p->ln_f, p->gradient) != AF_OK)
        return cli_fail_library(r->c);
    fit_end(since, cost);
    return CLI_OK;
}

/* ---- stars ---- */

static int fit_read(dpr *r, const char *path, dpr_row *row) {
    FILE *file = fopen(path, "rb");
    af_array *a = NULL;
    int good;
    if (!file) return 0;
    fclose(file);
    if (af_npy_read(r->c, path, &a) != AF_OK) {
        af_error_clear(r->c);
        return 0;
    }
    good = a->rank == 2 && a->dims[0] == row->n && a->dims[1] == 6;
    if (good) memcpy(row->eta, a->data, 6 * row->n * sizeof *row->eta);
    af_array_destroy(a);
    return good;
}

int dpr_stars(dpr *r, dpr_row *row, const char *name,
              af_status (*make)(af_context *c, const dpr_row *row, double *eta)) {
    char path[DPR_PATH];
    size_t dims[2];
    snprintf(path, sizeof path, "%s/%s_%lu.npy", r->output, name,
             (unsigned long)row->n);
    dims[0] = row->n;
    dims[1] = 6;
    row->eta = (double *)cli_allocate(6 * row->n, sizeof *row->eta);
    if (fit_read(r, path, row)) return CLI_OK;
    if (make(r->c, row, row->eta) != AF_OK ||
        af_npy_write(r->c, path, 2, dims, row->eta) != AF_OK)
        return cli_fail_library(r->c);
    fprintf(stderr, "made %s\n", path);
    return CLI_OK;
}

void dpr_choose(dpr_row *row, const double *eta) {
    enum { PLACES = 16384 };
    uint32_t *order = (uint32_t *)cli_allocate(row->n, sizeof *order);
    size_t i, n = 0;
    af_random_permutation(3, 0, row->n, order);
    deep_points_make(&row->points, row->points_n, 0);
    row->places = (double *)cli_allocate(3 * PLACES, sizeof *row->places);
    for (i = 0; i < row->n; i++) {
        const double *at = eta + 6 * order[i], *truth = row->eta + 6 * order[i];
        if (n < row->points_n && dp_volume_holds(&row->inside, at))
            memcpy(row->points.eta + 6 * n++, at, 6 * sizeof *at);
        if (row->places_n < (size_t)PLACES && dp_volume_holds(&row->inside, truth))
            memcpy(row->places + 3 * row->places_n++, truth, 3 * sizeof *truth);
    }
    row->points.n = n;
    free(order);
}
