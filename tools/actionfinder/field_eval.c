/* actionfinder field eval, field check: what a field says at places. */
#include "field.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- eval ---- */

/* Places x (n,3), and where they came from. */
typedef struct eval_places {
    size_t n;
    double *x, *id; /* id NULL: no column stream */
    int rank;
    size_t dims[AF_FILE_RANK];
} eval_places;

static int eval_read_npy(af_context *c, const char *path, eval_places *p) {
    af_array *a;
    size_t width, i, k;
    if (af_npy_read(c, path, &a) != AF_OK) return cli_fail_library(c);
    width = a->rank ? a->dims[a->rank - 1] : 0;
    if (width != 3 && width != 6) {
        af_array_destroy(a);
        return cli_fail("'%s' must have 3 or 6 numbers for each place, the last length of its "
                        "shape: x, y, z, and velocities",
                        path);
    }
    p->n = a->count / width;
    p->rank = a->rank;
    memcpy(p->dims, a->dims, sizeof p->dims);
    p->x = (double *)cli_allocate(3 * p->n, sizeof *p->x);
    for (i = 0; i < p->n; i++)
        for (k = 0; k < 3; k++) p->x[3 * i + k] = a->data[width * i + k];
    af_array_destroy(a);
    return CLI_OK;
}

static int eval_read_table(af_context *c, const char *path, eval_places *p) {
    static const char *const name[3] = {"x", "y", "z"};
    af_table_desc d;
    af_table *t;
    size_t k;
    int code = CLI_OK;
    memset(&d, 0, sizeof d);
    d.allow_missing = 1;
    if (af_table_read(c, path, &d, &t) != AF_OK) return cli_fail_library(c);
    for (k = 0; k < 3 && code == CLI_OK; k++)
        if (!af_table_column(t, name[k])) code = cli_fail("'%s' has no column %s", path, name[k]);
    if (code == CLI_OK) {
        const double *id = af_table_column(t, "stream");
        p->n = af_table_rows(t);
        p->x = (double *)cli_allocate(3 * p->n, sizeof *p->x);
        if (af_table_gather(t, name, 3, p->x) != AF_OK) code = cli_fail_library(c);
        if (id) {
            p->id = (double *)cli_allocate(p->n, sizeof *id);
            memcpy(p->id, id, p->n * sizeof *id);
        }
    }
    af_table_destroy(t);
    return code;
}

/* Rows (n,4): accelerations and Phi. */
static af_status eval_write(af_context *c, const char *path, eval_places *p, const double *rows) {
    static const char *const name[4] = {"ax", "ay", "az", "Phi"};
    af_table *t;
    size_t k, dims[2];
    af_status s;
    dims[0] = p->n;
    dims[1] = 4;
    if (!cli_ends_with(path, ".csv")) {
        if (!p->rank) return af_npy_write(c, path, 2, dims, rows);
        p->dims[p->rank - 1] = 4;
        return af_npy_write(c, path, p->rank, p->dims, rows);
    }
    s = af_table_create(c, &t);
    if (s == AF_OK) s = af_table_comment(t, "(km/s)^2/kpc; Phi: (km/s)^2");
    if (s == AF_OK && p->id) s = af_table_add(t, "stream", p->n, p->id, 1);
    for (k = 0; k < 4 && s == AF_OK; k++) s = af_table_add(t, name[k], p->n, rows + k, 4);
    if (s == AF_OK) s = af_table_write(t, path);
    af_table_destroy(t);
    return s;
}

static int eval_all(af_context *c, const char *const path[2], const char *output, int threads) {
    field_any f;
    eval_places p;
    double *a = NULL, *phi = NULL, *rows = NULL;
    size_t i;
    int code = field_open(c, path[0], threads, &f);
    memset(&p, 0, sizeof p);
    if (code == CLI_OK)
        code = cli_ends_with(path[1], ".npy") ? eval_read_npy(c, path[1], &p)
                                              : eval_read_table(c, path[1], &p);
    if (code == CLI_OK) {
        a = (double *)cli_allocate(3 * p.n, sizeof *a);
        phi = (double *)cli_allocate(p.n, sizeof *phi);
        rows = (double *)cli_allocate(4 * p.n, sizeof *rows);
        field_ask(&f, p.n, p.x, a, phi);
        for (i = 0; i < p.n; i++) {
            memcpy(rows + 4 * i, a + 3 * i, 3 * sizeof *a);
            rows[4 * i + 3] = phi[i];
        }
        if (eval_write(c, output, &p, rows) != AF_OK) code = cli_fail_library(c);
    }
    if (code == CLI_OK) printf("%lu places\nwrote %s\n", (unsigned long)p.n, output);
    free(a);
    free(phi);
    free(rows);
    free(p.x);
    free(p.id);
    field_close(&f);
    return code;
}

int field_eval(const cli_command *command, int count, char **words) {
    const char *path[2], *output = NULL;
    size_t threads = 0;
    af_context *c;
    int code;
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &output, "FILE", "A.npy or A.csv"},
            {"threads", CLI_COUNT, &threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code >= 0) return code;
    if ((code = cli_check_table("field eval", output)) >= 0) return code;
    if ((code = cli_check_output(output, path, 2)) != CLI_OK) return code;
    if ((code = cli_context(threads, &c)) != CLI_OK) return code;
    code = eval_all(c, path, output, (int)threads);
    af_context_destroy(c);
    return code;
}

/* ---- check ---- */

typedef struct fcheck_run {
    const char *accelerations;
    size_t skip, threads;
    cli_sky sky;
    af_observed_desc observed;
} fcheck_run;

static double fcheck_error(const double a[3], const double truth[3]) {
    double away = 0.0, size = 0.0;
    size_t k;
    for (k = 0; k < 3; k++) {
        away += (a[k] - truth[k]) * (a[k] - truth[k]);
        size += truth[k] * truth[k];
    }
    return size > 0.0 ? sqrt(away / size) : NAN;
}

static int fcheck_less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Errors in per cent of n stars, which get sorted, as a row of the table and as FIGURE lines. */
static void fcheck_row(const char *title, const char *name, double *error, size_t n, char *figure,
                       size_t room) {
    double mean = 0.0, median = NAN, most = NAN;
    size_t i;
    for (i = 0; i < n; i++) mean += error[i] / (double)n;
    if (n) {
        qsort(error, n, sizeof *error, fcheck_less);
        median = error[n / 2];
        most = error[n * 9 / 10];
    }
    printf("%-14s %12.4g %12.4g %12.4g\n", title, mean, median, most);
    snprintf(figure, room, "FIGURE %s_mean %.6g\nFIGURE %s_median %.6g\nFIGURE %s_90 %.6g\n", name,
             mean, name, median, name, most);
}

/* The toy that an af_accel would begin with. */
static int fcheck_toy(af_context *c, const af_orbits *o, af_potential *toy) {
    af_accel *a;
    af_isochrone iso;
    if (af_accel_create(c, o, NULL, &a) != AF_OK) return cli_fail_library(c);
    iso = af_accel_toy(a);
    *toy = af_isochrone_potential(&iso);
    af_accel_destroy(a);
    return CLI_OK;
}

/* Errors [%] of field and toy for the stars that count, error (2,S N). Returns how many. */
static size_t fcheck_stars(const fcheck_run *r, const field_any *f, const af_potential *toy,
                           const af_orbits *o, const double *truth, double *error) {
    size_t stars = af_orbits_stars(o), all = af_orbits_streams(o) * stars, s, i, n = 0;
    for (s = r->skip; s < af_orbits_streams(o); s++)
        for (i = 0; i < af_orbits_count(o, s); i++) {
            const double *x = af_orbits_xv(o, s) + 6 * i;
            double a[3], of_toy[3], e;
            field_ask(f, 1, x, a, NULL);
            af_potential_acceleration(toy, 1, x, of_toy);
            e = fcheck_error(a, truth + 3 * (s * stars + i));
            if (!isfinite(e)) continue;
            error[n] = 100.0 * e;
            error[all + n++] = 100.0 * fcheck_error(of_toy, truth + 3 * (s * stars + i));
        }
    return n;
}

static int fcheck_report(const fcheck_run *r, const field_any *f, const af_potential *toy,
                         const af_orbits *o, const af_array *truth) {
    size_t streams = af_orbits_streams(o), all = streams * af_orbits_stars(o), n;
    double *error = (double *)cli_allocate(2 * all, sizeof *error);
    double misfit = field_misfit(f, o, r->skip, streams - r->skip);
    char figure[2][160];
    n = fcheck_stars(r, f, toy, o, truth->data, error);
    if (n == 0) {
        free(error);
        return cli_fail("no star has a true acceleration that is finite and not 0");
    }
    printf("%lu stars of %lu streams; |a - truth|/|truth| in %%\n%-14s %12s %12s %12s\n",
           (unsigned long)n, (unsigned long)(streams - r->skip), "", "mean", "median", "90 %");
    fcheck_row("toy", "toy", error + all, n, figure[0], sizeof figure[0]);
    fcheck_row(f->mass ? "mass model" : "network", "field", error, n, figure[1], sizeof figure[1]);
    printf("misfit %.3e\n%s%sFIGURE misfit %.6g\nFIGURE stars %lu\n", misfit, figure[0], figure[1],
           misfit, (unsigned long)n);
    free(error);
    return CLI_OK;
}

static int fcheck_all(af_context *c, fcheck_run *r, const char *const path[2]) {
    af_orbits *o = NULL;
    af_array *truth = NULL;
    af_potential toy;
    field_any f;
    int code = field_open(c, path[0], (int)r->threads, &f);
    if (code == CLI_OK) code = cli_read_orbits(c, path[1], &r->observed, 0, &o);
    if (code == CLI_OK && r->skip >= af_orbits_streams(o))
        code = cli_fail("'%s' has %lu streams: --skip %lu leaves no stream", path[1],
                        (unsigned long)af_orbits_streams(o), (unsigned long)r->skip);
    if (code == CLI_OK) code = cli_read_truth(c, r->accelerations, o, 1, &truth);
    if (code == CLI_OK) code = fcheck_toy(c, o, &toy);
    if (code == CLI_OK) code = fcheck_report(r, &f, &toy, o, truth);
    af_array_destroy(truth);
    af_orbits_destroy(o);
    field_close(&f);
    return code;
}

int field_check(const cli_command *command, int count, char **words) {
    fcheck_run r;
    const char *path[2];
    af_context *c;
    int code;
    memset(&r, 0, sizeof r);
    {
        const cli_option options[] = {
            {"accelerations", CLI_TEXT, &r.accelerations, "ACC.npy", "the truth (S,N,3)"},
            {"skip", CLI_SEED, &r.skip, "N", "leaves out the first N streams (trained on)"},
            CLI_SKY_OPTIONS(r.sky),
            {"threads", CLI_COUNT, &r.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code < 0) code = cli_sky_desc("field check", &r.sky, &r.observed);
    if (code >= 0) return code;
    if (!r.accelerations)
        return cli_usage("field check", "--accelerations ACC.npy is missing: the truth");
    if ((code = cli_context(r.threads, &c)) != CLI_OK) return code;
    code = fcheck_all(c, &r, path);
    af_context_destroy(c);
    return code;
}
