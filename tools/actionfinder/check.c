/* actionfinder check: errors against the truth. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct check_options {
    const char *truth, *truth_error, *angles;
    double max_error;
    size_t skip, threads;
    int by_energy, by_action;
    cli_sky sky;
    af_observed_desc observed;
} check_options;

/* What the commands' maps are compared with, and the streams that count. */
typedef struct check_run {
    check_options o;
    const af_orbits *orbits;
    const af_array *truth, *angles;
    char *counts; /* (S) */
    size_t streams, stars, used;
    af_isochrone toy;
} check_run;

enum { CHECK_COLUMNS = 4 }; /* J_phi, J_z, J_r, and the mean of the three */
static const char *const check_action[CHECK_COLUMNS] = {"_j_phi", "_j_z", "_j_r", ""};
static const char *const check_angle[CHECK_COLUMNS] = {"_theta_phi", "_theta_z", "_theta_r", ""};
static const double DEGREE = 57.295779513082321;
static const double TURN = 6.283185307179586;

/* Errors of one kind: values (CHECK_COLUMNS, n). */
typedef struct check_errors {
    size_t n, room;
    double *value;
} check_errors;

static void check_add(check_errors *e, const double error[3]) {
    size_t k;
    for (k = 0; k < 3; k++) e->value[k * e->room + e->n] = error[k];
    e->value[3 * e->room + e->n] = (error[0] + error[1] + error[2]) / 3.0;
    e->n++;
}

static check_errors check_errors_new(size_t room) {
    check_errors e;
    e.n = 0;
    e.room = room;
    e.value = (double *)cli_allocate(CHECK_COLUMNS * room, sizeof *e.value);
    return e;
}

/* One row of the table and its FIGURE lines are made together, the lines printed later. */
typedef struct check_table {
    const char *const *column; /* endings of the names */
    char text[16384];
    size_t length;
} check_table;

static void check_figure(check_table *t, const char *name, const char *what, const char *column,
                         double value) {
    int n = snprintf(t->text + t->length, sizeof t->text - t->length, "FIGURE %s_%s%s %.6g\n", name,
                     what, column, value);
    if (n > 0 && t->length + (size_t)n < sizeof t->text) t->length += (size_t)n;
}

static void check_number(double value) { printf(value < 999.5 ? "%8.2f" : "%8.2g", value); }

static void check_row(check_table *t, const char *title, const char *name, check_errors *e) {
    cli_summary s[CHECK_COLUMNS];
    size_t k;
    for (k = 0; k < CHECK_COLUMNS; k++) s[k] = cli_summarise(e->value + k * e->room, e->n);
    printf("  %-26s", title);
    for (k = 0; k < CHECK_COLUMNS; k++) {
        printf(" |");
        check_number(s[k].mean);
        check_number(s[k].median);
        check_number(s[k].trimmed);
        check_figure(t, name, "mean", t->column[k], s[k].mean);
        check_figure(t, name, "median", t->column[k], s[k].median);
        check_figure(t, name, "trimmed", t->column[k], s[k].trimmed);
    }
    printf("\n");
    free(e->value);
}

static void check_header(const char *title, const char *const *column) {
    size_t k;
    printf("\n%-28s", title);
    for (k = 0; k < CHECK_COLUMNS; k++) printf(" |%16s%8s", column[k], "");
    printf("\n%-28s", "");
    for (k = 0; k < CHECK_COLUMNS; k++) printf(" |%8s%8s%8s", "mean", "median", "98 %");
    printf("\n");
}

/* ---- errors of a map ---- */

/* Mean or median over the stars of a stream that could be mapped; NaN without any. */
static double check_middle(const cli_map *m, size_t s, size_t k, int median, double *scratch) {
    size_t i;
    cli_summary sum;
    for (i = 0; i < m->stars; i++) scratch[i] = m->j[3 * (s * m->stars + i) + k];
    sum = cli_summarise(scratch, m->stars);
    return median ? sum.median : sum.mean;
}

static check_errors check_streams(const check_run *r, const cli_map *m, int median) {
    check_errors e = check_errors_new(r->streams);
    double *scratch = (double *)cli_allocate(m->stars, sizeof *scratch), error[3];
    size_t s, k;
    for (s = 0; s < r->streams; s++) {
        if (!r->counts[s]) continue;
        for (k = 0; k < 3; k++)
            error[k] = fabs(check_middle(m, s, k, median, scratch) - r->truth->data[3 * s + k]);
        check_add(&e, error);
    }
    free(scratch);
    return e;
}

static check_errors check_stars(const check_run *r, const cli_map *m) {
    check_errors e = check_errors_new(r->streams * m->stars);
    size_t s, i, k;
    for (s = 0; s < r->streams; s++)
        for (i = 0; i < m->stars && r->counts[s]; i++) {
            double error[3];
            if (!cli_map_good(m, s, i)) continue;
            for (k = 0; k < 3; k++)
                error[k] = fabs(m->j[3 * (s * m->stars + i) + k] - r->truth->data[3 * s + k]);
            check_add(&e, error);
        }
    return e;
}

static check_errors check_spreads(const check_run *r, const cli_map *m) {
    check_errors e = check_errors_new(r->streams);
    double spread[3];
    size_t s;
    for (s = 0; s < r->streams; s++) {
        if (!r->counts[s]) continue;
        cli_spread(m, s, spread);
        check_add(&e, spread);
    }
    return e;
}

static check_errors check_angle_errors(const check_run *r, const cli_map *m) {
    check_errors e = check_errors_new(r->streams * m->stars);
    size_t s, i, k;
    for (s = 0; s < r->streams; s++)
        for (i = 0; i < m->stars && r->counts[s]; i++) {
            double error[3];
            size_t at = 3 * (s * m->stars + i);
            if (!cli_map_good(m, s, i)) continue;
            for (k = 0; k < 3; k++)
                error[k] =
                    DEGREE * fabs(remainder(m->theta[at + k] - r->angles->data[at + k], TURN));
            check_add(&e, error);
        }
    return e;
}

/* ---- the tables ---- */

/* ---- by energy, by action ---- */

/* What streams are sorted by: the median over the stars, NaN for a stream that has none. */
typedef double (*check_key)(const af_isochrone *toy, const double *xv, const double j[3]);

static double check_energy(const af_isochrone *toy, const double *xv, const double j[3]) {
    af_potential p = af_isochrone_potential(toy);
    (void)j;
    return 0.5 * (xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]) + af_potential_value(&p, 1, xv);
}

static double check_action_sum(const af_isochrone *toy, const double *xv, const double j[3]) {
    (void)toy;
    (void)xv;
    return fabs(j[0]) + j[1] + j[2];
}

/* The keys (S) of the streams; sorted gets those of the streams that count. Returns how many. */
static size_t check_keys(const check_run *r, const cli_map *m, check_key of, double *key,
                         double *sorted) {
    double *scratch = (double *)cli_allocate(m->stars, sizeof *scratch);
    size_t s, i, n = 0;
    for (s = 0; s < r->streams; s++) {
        const double *xv = af_orbits_xv(r->orbits, s);
        for (i = 0; i < m->stars; i++)
            scratch[i] = cli_map_good(m, s, i)
                             ? of(&r->toy, xv + 6 * i, m->j + 3 * (s * m->stars + i))
                             : NAN;
        key[s] = cli_summarise(scratch, m->stars).median;
        if (r->counts[s] && isfinite(key[s])) sorted[n++] = key[s];
    }
    free(scratch);
    if (n) cli_summarise(sorted, n);
    return n;
}

/* Mean, median and trimmed mean over the streams of the mean of the three components. */
static void check_cell(check_table *t, const char *name, const char *what, check_errors e) {
    cli_summary s = cli_summarise(e.value + 3 * e.room, e.n);
    char figure[64];
    printf(" |");
    check_number(s.mean);
    check_number(s.median);
    check_number(s.trimmed);
    snprintf(figure, sizeof figure, "%s_%s", name, what);
    check_figure(t, figure, "mean", "", s.mean);
    check_figure(t, figure, "median", "", s.median);
    check_figure(t, figure, "trimmed", "", s.trimmed);
    free(e.value);
}

static void check_bins_header(const char *title, const char *const *column) {
    size_t k;
    printf("\n%-28s", title);
    for (k = 0; column[k]; k++) printf(" |%24s", column[k]);
    printf("\n%10s %10s%7s", "from", "to", "number");
    for (k = 0; column[k]; k++) printf(" |%8s%8s%8s", "mean", "median", "98 %");
    printf("\n");
}

enum { CHECK_BINS = 5 };

/* A table with a row for each fifth of the streams. map[0] is the toy's. */
static void check_bins(const check_run *r, check_table *t, const char *title, const char *name,
                       check_key of, const cli_map *const map[2]) {
    static const char *const truth[] = {"toy: |J - truth|", "model: |J - truth|", "model: spread",
                                        NULL};
    static const char *const spread[] = {"toy: spread", "model: spread", NULL};
    check_run part = *r;
    double *key = (double *)cli_allocate(r->streams, sizeof *key);
    double *sorted = (double *)cli_allocate(r->streams, sizeof *sorted);
    size_t b, s, n = check_keys(r, map[1], of, key, sorted);
    part.counts = (char *)cli_allocate(r->streams, 1);
    check_bins_header(title, r->truth ? truth : spread);
    for (b = 0; b < CHECK_BINS && n >= CHECK_BINS; b++) {
        size_t first = b * n / CHECK_BINS, last = (b + 1) * n / CHECK_BINS - 1;
        char bin[32];
        for (s = 0; s < r->streams; s++)
            part.counts[s] = (char)(r->counts[s] && key[s] >= sorted[first] &&
                                    key[s] <= sorted[last]);
        snprintf(bin, sizeof bin, "%s_%lu", name, (unsigned long)b + 1);
        printf("%10.4g %10.4g%7lu", sorted[first], sorted[last], (unsigned long)(last - first + 1));
        check_cell(t, bin, r->truth ? "toy_stream_mean" : "toy_spread",
                   r->truth ? check_streams(&part, map[0], 0) : check_spreads(&part, map[0]));
        if (r->truth) check_cell(t, bin, "test_stream_mean", check_streams(&part, map[1], 0));
        check_cell(t, bin, "test_spread", check_spreads(&part, map[1]));
        printf("\n");
    }
    free(part.counts);
    free(sorted);
    free(key);
}

static void check_print(const check_run *r, const cli_map *toy, const cli_map *alone,
                        const cli_map *shared) {
    static const char *const action[CHECK_COLUMNS] = {"J_phi", "J_z", "J_r", "mean of 3"};
    static const char *const angle[CHECK_COLUMNS] = {"theta_phi", "theta_z", "theta_r",
                                                     "mean of 3"};
    const cli_map *map[2];
    check_table t;
    check_errors e;
    map[0] = toy;
    map[1] = alone;
    t.column = check_action;
    t.length = 0;
    t.text[0] = 0;
    printf("%lu of %lu streams count\n", (unsigned long)r->used, (unsigned long)r->streams);
    if (r->truth) {
        check_header("|J - truth| [km/s kpc]", action);
        e = check_streams(r, toy, 0),
        check_row(&t, "toy: mean of the stars", "toy_stream_mean", &e);
        e = check_streams(r, toy, 1),
        check_row(&t, "toy: median of the stars", "toy_stream_median", &e);
        e = check_stars(r, toy), check_row(&t, "toy: each star", "toy_star", &e);
        e = check_streams(r, alone, 0),
        check_row(&t, "model: mean of the stars", "test_stream_mean", &e);
        e = check_streams(r, alone, 1),
        check_row(&t, "model: median of the stars", "test_stream_median", &e);
        e = check_stars(r, alone), check_row(&t, "model: each star", "test_star", &e);
        e = check_streams(r, shared, 0), check_row(&t, "model: one J' a stream", "test_shared", &e);
    }
    check_header("spread of J in a stream", action);
    e = check_spreads(r, toy), check_row(&t, "toy", "toy_spread", &e);
    e = check_spreads(r, alone), check_row(&t, "model: each star alone", "test_spread", &e);
    e = check_spreads(r, shared), check_row(&t, "model: one J' a stream", "test_shared_spread", &e);
    if (r->angles) {
        check_header("|theta - truth| [degrees]", angle);
        t.column = check_angle;
        e = check_angle_errors(r, toy), check_row(&t, "toy", "toy_angle", &e);
        e = check_angle_errors(r, alone), check_row(&t, "model: each star alone", "test_angle", &e);
    }
    if (r->o.by_energy)
        check_bins(r, &t, "by energy in the toy", "energy", check_energy, map);
    if (r->o.by_action)
        check_bins(r, &t, "by |J_phi| + J_z + J_r", "action", check_action_sum, map);
    printf("\nFIGURE streams %lu\n%s", (unsigned long)r->used, t.text);
}

/* ---- which streams count ---- */

static void check_select(check_run *r, const af_array *error) {
    size_t s, k;
    for (s = 0; s < r->streams; s++) {
        int good = s >= r->o.skip;
        for (k = 0; k < 3 && r->truth; k++) good = good && isfinite(r->truth->data[3 * s + k]);
        for (k = 0; k < 3 && error; k++)
            good = good && fabs(error->data[3 * s + k]) < r->o.max_error;
        r->counts[s] = (char)good;
        r->used += good ? 1u : 0u;
    }
}

static int check_compare(af_context *c, check_run *r, const af_finder *f) {
    int threads = (int)r->o.threads, code;
    cli_map toy, alone, shared;
    memset(&toy, 0, sizeof toy);
    memset(&alone, 0, sizeof alone);
    memset(&shared, 0, sizeof shared);
    code = cli_map_make(c, f, r->orbits, CLI_TOY, threads, &toy);
    if (code == CLI_OK) code = cli_map_make(c, f, r->orbits, CLI_ALONE, threads, &alone);
    if (code == CLI_OK) code = cli_map_make(c, f, r->orbits, CLI_SHARED, threads, &shared);
    if (code == CLI_OK) {
        size_t s, i, stars = 0, lost = 0, unsettled = 0, n = toy.streams * toy.stars;
        for (s = 0; s < toy.streams; s++) stars += af_orbits_count(r->orbits, s);
        for (i = 0; i < n; i++) {
            lost += toy.flags[i] & AF_ORBIT_FAILED ? 1u : 0u;
            unsettled += !(toy.flags[i] & AF_ORBIT_FAILED) && (alone.flags[i] & AF_STAR_UNCONVERGED)
                             ? 1u
                             : 0u;
        }
        printf("%lu stars: %lu are not bound in the toy and are left out, %lu did not converge\n",
               (unsigned long)stars, (unsigned long)lost, (unsigned long)unsettled);
        check_print(r, &toy, &alone, &shared);
    }
    cli_map_free(&toy);
    cli_map_free(&alone);
    cli_map_free(&shared);
    return code;
}

static int check_run_all(af_context *c, check_run *r, const char *const path[2]) {
    af_finder *f = NULL;
    af_orbits *o = NULL;
    af_array *truth = NULL, *error = NULL, *angles = NULL;
    int code = CLI_OK;
    if (af_finder_load(c, path[0], &f) != AF_OK)
        code = cli_fail_model(c, path[0]);
    else
        code = cli_read_orbits(c, path[1], &r->o.observed, 0, &o);
    if (code == CLI_OK && r->o.truth) code = cli_read_truth(c, r->o.truth, o, 0, &truth);
    if (code == CLI_OK && r->o.truth_error)
        code = cli_read_truth(c, r->o.truth_error, o, 0, &error);
    if (code == CLI_OK && r->o.angles) code = cli_read_truth(c, r->o.angles, o, 1, &angles);
    if (code == CLI_OK) {
        r->orbits = o;
        r->truth = truth;
        r->angles = angles;
        r->streams = af_orbits_streams(o);
        r->toy = af_finder_toy(f);
        r->counts = (char *)cli_allocate(r->streams, 1);
        check_select(r, error);
        code = r->used ? check_compare(c, r, f)
                       : cli_fail("no stream of '%s' is left to check", path[1]);
        free(r->counts);
    }
    af_array_destroy(truth);
    af_array_destroy(error);
    af_array_destroy(angles);
    af_orbits_destroy(o);
    af_finder_destroy(f);
    return code;
}

int cli_check(const cli_command *command, int count, char **words) {
    check_run r;
    const char *path[2];
    af_context *c;
    int code;
    memset(&r, 0, sizeof r);
    {
        const cli_option options[] = {
            {"truth", CLI_TEXT, &r.o.truth, "J.npy",
             "true actions (S,3); NaN: unknown. Without: spreads only"},
            {"truth-error", CLI_TEXT, &r.o.truth_error, "E.npy",
             "how wrong the truth may be (S,3)"},
            {"max-error", CLI_NUMBER, &r.o.max_error, "E",
             "leaves out streams with a larger one; default 0.1"},
            {"angles", CLI_TEXT, &r.o.angles, "T.npy", "true angles (S,N,3) [rad]"},
            {"skip", CLI_SEED, &r.o.skip, "N", "leaves out the first N streams (those trained on)"},
            {"by-energy", CLI_FLAG, &r.o.by_energy, NULL,
             "errors by energy in the toy too, a fifth of the streams each"},
            {"by-action", CLI_FLAG, &r.o.by_action, NULL, "errors by |J_phi| + J_z + J_r too"},
            CLI_SKY_OPTIONS(r.o.sky),
            {"threads", CLI_COUNT, &r.o.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code < 0) code = cli_sky_desc("check", &r.o.sky, &r.o.observed);
    if (code >= 0) return code;
    if (r.o.truth_error && !r.o.truth)
        return cli_usage("check", "--truth-error needs --truth J.npy, whose error it is");
    if (r.o.max_error > 0.0 && !r.o.truth_error)
        return cli_usage("check", "--max-error needs --truth-error E.npy, to compare with");
    if (!(r.o.max_error > 0.0)) r.o.max_error = 0.1;
    if ((code = cli_context(r.o.threads, &c)) != CLI_OK) return code;
    code = check_run_all(c, &r, path);
    af_context_destroy(c);
    return code;
}
