/* actionfinder eval: actions, angles and frequencies of stars. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct eval_options {
    const char *output;
    size_t threads, dropout, draws, seed;
    int per_star, per_stream, skip_unbound, median, frequencies;
    cli_sky sky;
    af_observed_desc observed;
    const char **model, *orbits;
    size_t models;
} eval_options;

/* The names of the columns; errors and frequencies come where there are some. */
enum { EVAL_GROUPS = 5, EVAL_MOST = 3 * EVAL_GROUPS };
static const char *const EVAL_NAME[EVAL_GROUPS][3] = {
    {"J_phi", "J_z", "J_r"},
    {"theta_phi", "theta_z", "theta_r"},
    {"J_phi_error", "J_z_error", "J_r_error"},
    {"theta_phi_error", "theta_z_error", "theta_r_error"},
    {"Omega_phi", "Omega_z", "Omega_r"}};

/* What was found, (S,N,3) each. */
typedef struct eval_answer {
    cli_map map;
    double *j_error, *theta_error; /* NULL: not known */
    double *omega;                 /* NULL: not asked for */
    size_t answers, lost;          /* lost: draws that do not count */
} eval_answer;

/* Group g of the columns, (S,N,3) or NULL. */
static const double *eval_group(const eval_answer *a, size_t g) {
    const double *group[EVAL_GROUPS];
    group[0] = a->map.j;
    group[1] = a->map.theta;
    group[2] = a->j_error;
    group[3] = a->theta_error;
    group[4] = a->omega;
    return group[g];
}

/* The row of a star, and the names of its columns (NULL: not wanted); returns how many. */
static size_t eval_row(const eval_answer *a, size_t at, double *row, const char **name) {
    size_t g, k, n = 0;
    for (g = 0; g < EVAL_GROUPS; g++)
        for (k = 0; k < 3 && eval_group(a, g); k++) {
            row[n] = eval_group(a, g)[3 * at + k];
            if (name) name[n] = EVAL_NAME[g][k];
            n++;
        }
    return n;
}

/* (S,N,6) or more columns, in the order of EVAL_NAME. */
static af_status eval_npy(af_context *c, const eval_answer *a, const char *path) {
    size_t n = a->map.streams * a->map.stars, width, i, dims[3];
    double one[EVAL_MOST], *rows;
    af_status s;
    width = n ? eval_row(a, 0, one, NULL) : 0;
    rows = (double *)cli_allocate(n * width, sizeof *rows);
    for (i = 0; i < n; i++) eval_row(a, i, rows + width * i, NULL);
    dims[0] = a->map.streams;
    dims[1] = a->map.stars;
    dims[2] = width;
    s = af_npy_write(c, path, 3, dims, rows);
    free(rows);
    return s;
}

/* One row a star, in the order of the input. */
static af_status eval_csv(af_context *c, const af_orbits *o, const eval_answer *a,
                          const char *path) {
    const char *name[EVAL_MOST];
    double one[EVAL_MOST], *data;
    size_t s, i, k, rows = 0, columns = eval_row(a, 0, one, name), width = columns + 1;
    af_table *t;
    af_status status;
    data = (double *)cli_allocate(a->map.streams * a->map.stars * width, sizeof *data);
    for (s = 0; s < a->map.streams; s++)
        for (i = 0; i < af_orbits_count(o, s); i++) {
            double *row = data + width * af_orbits_row(o, s, i);
            rows++;
            row[0] = af_orbits_id(o, s);
            eval_row(a, s * a->map.stars + i, row + 1, NULL);
        }
    status = af_table_create(c, &t);
    if (status == AF_OK)
        status = af_table_comment(t, a->omega ? "J [km/s kpc], theta [rad] in [0, 2 pi), Omega "
                                                "[km/s/kpc]"
                                              : "J [km/s kpc], theta [rad] in [0, 2 pi)");
    if (status == AF_OK) status = af_table_add(t, "stream", rows, data, width);
    for (k = 0; k < columns && status == AF_OK; k++)
        status = af_table_add(t, name[k], rows, data + 1 + k, width);
    if (status == AF_OK) status = af_table_write(t, path);
    af_table_destroy(t);
    free(data);
    return status;
}

static void eval_count(const cli_map *m, const af_orbits *o, size_t *stars, size_t *unbound,
                       size_t *unsettled) {
    size_t s, i;
    *stars = *unbound = *unsettled = 0;
    for (s = 0; s < m->streams; s++)
        for (i = 0; i < af_orbits_count(o, s); i++) {
            unsigned flag = m->flags[s * m->stars + i];
            (*stars)++;
            if (flag & AF_ORBIT_FAILED)
                (*unbound)++;
            else if (flag & AF_STAR_UNCONVERGED)
                (*unsettled)++;
        }
}

/* ---- the answers ---- */

static void eval_allocate(const af_orbits *o, int errors, eval_answer *a) {
    size_t n;
    a->map.streams = af_orbits_streams(o);
    a->map.stars = af_orbits_stars(o);
    n = a->map.streams * a->map.stars;
    a->map.j = (double *)cli_allocate(n * 3, sizeof(double));
    a->map.theta = (double *)cli_allocate(n * 3, sizeof(double));
    a->map.flags = (unsigned *)cli_allocate(n, sizeof(unsigned));
    if (!errors) return;
    a->j_error = (double *)cli_allocate(n * 3, sizeof(double));
    a->theta_error = (double *)cli_allocate(n * 3, sizeof(double));
}

static void eval_free(eval_answer *a) {
    cli_map_free(&a->map);
    free(a->j_error);
    free(a->theta_error);
    free(a->omega);
}

/* The file again, with its errors this time. */
static int eval_observed(af_context *c, const eval_options *e, af_ensemble *all, eval_answer *a,
                         const af_estimate *to) {
    af_observed *stars = NULL;
    int code = CLI_OK;
    if (af_observed_read(c, e->orbits, &e->observed, &stars) != AF_OK)
        code = cli_fail("--draws needs stars as observed, with errors, in a file that can be read "
                        "twice: %s", af_error(c));
    else if (af_ensemble_observed(all, stars, e->draws, e->seed, to, &a->lost) != AF_OK)
        code = cli_fail("'%s': %s", e->orbits, af_error(c));
    af_observed_destroy(stars);
    return code;
}

static int eval_answers(af_context *c, const eval_options *e, af_finder *const *f,
                        const af_orbits *o, eval_answer *a) {
    af_ensemble_desc d;
    af_ensemble *all;
    af_estimate to;
    size_t s, i;
    int code = CLI_OK;
    memset(&d, 0, sizeof d);
    d.stars = e->per_stream ? af_orbits_stars(o) : 1;
    d.threads = (int)e->threads;
    d.dropout = e->dropout;
    d.seed = e->seed;
    d.median = e->median;
    if (af_ensemble_create(c, e->models, f, &d, &all) != AF_OK) return cli_fail_library(c);
    a->answers = af_ensemble_answers(all);
    eval_allocate(o, a->answers > 1 || e->draws, a);
    to.j = a->map.j;
    to.theta = a->map.theta;
    to.j_error = a->j_error;
    to.theta_error = a->theta_error;
    to.flags = a->map.flags;
    if (e->draws) code = eval_observed(c, e, all, a, &to);
    else if (af_ensemble_orbits(all, o, &to) != AF_OK) code = cli_fail_library(c);
    for (s = 0; s < a->map.streams; s++) /* no star, no fault */
        for (i = af_orbits_count(o, s); i < a->map.stars; i++)
            a->map.flags[s * a->map.stars + i] = 0;
    af_ensemble_destroy(all);
    return code;
}

/* dH/dJ at the answers' J: the mean over the models. */
static int eval_frequencies(af_context *c, const eval_options *e, af_finder *const *f,
                            eval_answer *a) {
    size_t n = a->map.streams * a->map.stars, i, k;
    double *one = (double *)cli_allocate(n * 3, sizeof *one);
    int code = CLI_OK;
    a->omega = (double *)cli_allocate(n * 3, sizeof *a->omega);
    for (i = 0; i < e->models && code == CLI_OK; i++) {
        af_frequency_evaluator *v;
        if (af_frequency_evaluator_create(f[i], 256, (int)e->threads, &v) != AF_OK) {
            code = cli_fail_library(c);
            break;
        }
        af_frequencies(v, n, a->map.j, one, NULL);
        for (k = 0; k < 3 * n; k++) a->omega[k] += one[k] / (double)e->models;
        af_frequency_evaluator_destroy(v);
    }
    free(one);
    return code;
}

static void eval_say(const eval_options *e, const af_orbits *o, const eval_answer *a) {
    size_t stars, unbound, unsettled;
    eval_count(&a->map, o, &stars, &unbound, &unsettled);
    printf("%lu stars in %lu streams, %s: %lu did not converge, %lu are not bound in the toy\n",
           (unsigned long)stars, (unsigned long)a->map.streams,
           e->per_stream ? "one J' a stream" : "each on its own", (unsigned long)unsettled,
           (unsigned long)unbound);
    if (a->answers > 1)
        printf("%s of %lu answers, errors are their standard deviation%s\n",
               e->median ? "median" : "mean", (unsigned long)a->answers,
               e->draws ? " and that of the draws" : "");
    if (e->draws)
        printf("%lu draws of each star: %lu of all were not bound or did not converge, and do not "
               "count\n", (unsigned long)e->draws, (unsigned long)a->lost);
    printf("wrote %s\n", e->output);
}

static int eval_load(af_context *c, const eval_options *e, af_finder **f) {
    size_t i;
    for (i = 0; i < e->models; i++) {
        if (af_finder_load(c, e->model[i], f + i) != AF_OK) return cli_fail_model(c, e->model[i]);
        if (e->frequencies && !af_finder_has_frequencies(f[i]))
            return cli_fail("'%s' knows no frequencies: it was fitted without the field that tells "
                            "them", e->model[i]);
    }
    return CLI_OK;
}

static int eval_run(af_context *c, const eval_options *e) {
    af_finder **f = (af_finder **)cli_allocate(e->models, sizeof *f);
    af_orbits *o = NULL;
    eval_answer a;
    size_t i, stars, unbound, unsettled;
    int code;
    memset(&a, 0, sizeof a);
    code = eval_load(c, e, f);
    if (code == CLI_OK) code = cli_read_orbits(c, e->orbits, &e->observed, 0, &o);
    if (code == CLI_OK) code = eval_answers(c, e, f, o, &a);
    if (code == CLI_OK && e->frequencies) code = eval_frequencies(c, e, f, &a);
    if (code == CLI_OK) {
        eval_count(&a.map, o, &stars, &unbound, &unsettled);
        if (unbound && !e->skip_unbound) code = cli_fail_unbound(f[0], o, e->orbits, &a.map);
    }
    if (code == CLI_OK && (cli_ends_with(e->output, ".csv") ? eval_csv(c, o, &a, e->output)
                                                            : eval_npy(c, &a, e->output)) != AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK) eval_say(e, o, &a);
    eval_free(&a);
    af_orbits_destroy(o);
    for (i = 0; i < e->models; i++) af_finder_destroy(f[i]);
    free(f);
    return code;
}

static int eval_check(const eval_options *e) {
    size_t i, k;
    int code;
    if ((code = cli_check_table("eval", e->output)) >= 0) return code;
    if (e->per_star && e->per_stream)
        return cli_usage("eval", "--per-star and --per-stream exclude each other");
    if (e->draws == 1) return cli_usage("eval", "--draws 1 tells of no spread, take some ten");
    for (i = 0; i < e->models; i++)
        for (k = 0; k < i; k++)
            if (cli_same_file(e->model[i], e->model[k]))
                return cli_fail("'%s' is given twice: several models are to differ, as those of "
                                "`fit --ensemble` do", e->model[i]);
    code = cli_check_output(e->output, e->model, e->models);
    return code != CLI_OK ? code : cli_check_output(e->output, &e->orbits, 1);
}

static int eval_parse(const cli_command *command, eval_options *e, int count, char **words) {
    const cli_option options[] = {
        {"o", CLI_TEXT, &e->output, "FILE", "OUT.npy or OUT.csv"},
        {"per-star", CLI_FLAG, &e->per_star, NULL,
         "each star is solved on its own (the default)"},
        {"per-stream", CLI_FLAG, &e->per_stream, NULL,
         "the stars of a stream share one J', as in the paper"},
        {"median", CLI_FLAG, &e->median, NULL, "of several models, not the mean"},
        {"frequencies", CLI_FLAG, &e->frequencies, NULL,
         "Omega_phi, Omega_z, Omega_r [km/s/kpc] as well, where fit has learned them"},
        {"dropout", CLI_COUNT, &e->dropout, "N",
         "N answers of each model with units dropped, where it was trained so"},
        {"draws", CLI_COUNT, &e->draws, "N",
         "draws of each star as observed from its errors"},
        {"seed", CLI_SEED, &e->seed, "K", "of --dropout and --draws; default 0"},
        {"skip-unbound", CLI_FLAG, &e->skip_unbound, NULL,
         "NaN for stars that are not bound in the toy"},
        CLI_SKY_OPTIONS(e->sky),
        {"threads", CLI_COUNT, &e->threads, "N", "default: all cores"},
    };
    return cli_parse(command, options, sizeof options / sizeof *options, count, words, e->model,
                     -2);
}

static int eval_start(const eval_options *e) {
    af_context *c;
    int code = eval_check(e);
    if (code != CLI_OK) return code;
    if ((code = cli_context(e->threads, &c)) != CLI_OK) return code;
    code = eval_run(c, e);
    af_context_destroy(c);
    return code;
}

int cli_eval(const cli_command *command, int count, char **words) {
    eval_options e;
    int code;
    memset(&e, 0, sizeof e);
    e.model = (const char **)cli_allocate((size_t)count + 1, sizeof *e.model);
    code = eval_parse(command, &e, count, words);
    while (e.model[e.models]) e.models++;
    if (code < 0) e.orbits = e.model[--e.models]; /* the last word */
    if (code < 0) code = cli_sky_desc("eval", &e.sky, &e.observed);
    if (code < 0) code = eval_start(&e);
    free(e.model);
    return code;
}
