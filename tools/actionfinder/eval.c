/* actionfinder eval: actions and angles of stars. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct eval_options {
    const char *output;
    size_t threads;
    int per_star, per_stream, skip_unbound;
    cli_sky sky;
    af_observed_desc observed;
} eval_options;

enum { EVAL_COLUMNS = 6 };

/* (S,N,6): J_phi, J_z, J_r, theta_phi, theta_z, theta_r. */
static af_status eval_npy(af_context *c, const cli_map *m, const char *path) {
    size_t n = m->streams * m->stars, i, dims[3];
    double *rows = (double *)cli_allocate(n * EVAL_COLUMNS, sizeof *rows);
    af_status s;
    for (i = 0; i < n; i++) {
        memcpy(rows + 6 * i, m->j + 3 * i, 3 * sizeof *rows);
        memcpy(rows + 6 * i + 3, m->theta + 3 * i, 3 * sizeof *rows);
    }
    dims[0] = m->streams;
    dims[1] = m->stars;
    dims[2] = EVAL_COLUMNS;
    s = af_npy_write(c, path, 3, dims, rows);
    free(rows);
    return s;
}

/* One row a star, in the order of the input. */
static af_status eval_csv(af_context *c, const af_orbits *o, const cli_map *m, const char *path) {
    static const char *const name[EVAL_COLUMNS] = {"J_phi",     "J_z",     "J_r",
                                                   "theta_phi", "theta_z", "theta_r"};
    enum { WIDTH = EVAL_COLUMNS + 1 };
    size_t s, i, k, rows = 0;
    double *data = (double *)cli_allocate(m->streams * m->stars * WIDTH, sizeof *data);
    af_table *t;
    af_status status;
    for (s = 0; s < m->streams; s++)
        for (i = 0; i < af_orbits_count(o, s); i++) {
            double *row = data + WIDTH * af_orbits_row(o, s, i);
            size_t at = s * m->stars + i;
            rows++;
            row[0] = af_orbits_id(o, s);
            memcpy(row + 1, m->j + 3 * at, 3 * sizeof *row);
            memcpy(row + 4, m->theta + 3 * at, 3 * sizeof *row);
        }
    status = af_table_create(c, &t);
    if (status == AF_OK) status = af_table_comment(t, "J [km/s kpc], theta [rad] in [0, 2 pi)");
    if (status == AF_OK) status = af_table_add(t, "stream", rows, data, WIDTH);
    for (k = 0; k < EVAL_COLUMNS && status == AF_OK; k++)
        status = af_table_add(t, name[k], rows, data + 1 + k, WIDTH);
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

static int eval_run(af_context *c, const eval_options *e, const char *const path[2]) {
    af_finder *f = NULL;
    af_orbits *o = NULL;
    cli_map m;
    size_t stars, unbound, unsettled;
    af_status s = AF_OK;
    int code = CLI_OK;
    memset(&m, 0, sizeof m);
    if (af_finder_load(c, path[0], &f) != AF_OK)
        code = cli_fail_model(c, path[0]);
    else
        code = cli_read_orbits(c, path[1], &e->observed, 0, &o);
    if (code == CLI_OK)
        code = cli_map_make(c, f, o, e->per_stream ? CLI_SHARED : CLI_ALONE, (int)e->threads, &m);
    if (code == CLI_OK) {
        eval_count(&m, o, &stars, &unbound, &unsettled);
        if (unbound && !e->skip_unbound) code = cli_fail_unbound(f, o, path[1], &m);
    }
    if (code == CLI_OK) {
        s = cli_ends_with(e->output, ".csv") ? eval_csv(c, o, &m, e->output)
                                             : eval_npy(c, &m, e->output);
        if (s != AF_OK) code = cli_fail_library(c);
    }
    if (code == CLI_OK) {
        printf("%lu stars in %lu streams, %s: %lu did not converge, %lu are not bound in the toy\n",
               (unsigned long)stars, (unsigned long)m.streams,
               e->per_stream ? "one J' a stream" : "each on its own", (unsigned long)unsettled,
               (unsigned long)unbound);
        printf("wrote %s\n", e->output);
    }
    cli_map_free(&m);
    af_orbits_destroy(o);
    af_finder_destroy(f);
    return code;
}

int cli_eval(const cli_command *command, int count, char **words) {
    eval_options e;
    const char *path[2];
    af_context_desc cd;
    af_context *c;
    int code;
    memset(&e, 0, sizeof e);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &e.output, "FILE", "OUT.npy or OUT.csv"},
            {"per-star", CLI_FLAG, &e.per_star, NULL,
             "each star is solved on its own (the default)"},
            {"per-stream", CLI_FLAG, &e.per_stream, NULL,
             "the stars of a stream share one J', as in the paper"},
            {"skip-unbound", CLI_FLAG, &e.skip_unbound, NULL,
             "NaN for stars that are not bound in the toy"},
            CLI_SKY_OPTIONS(e.sky),
            {"threads", CLI_COUNT, &e.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code < 0) code = cli_sky_desc("eval", &e.sky, &e.observed);
    if (code >= 0) return code;
    if (!e.output)
        return cli_usage("eval", "-o OUT.npy or -o OUT.csv is missing: where the actions go");
    if (e.per_star && e.per_stream)
        return cli_usage("eval", "--per-star and --per-stream exclude each other");
    if (!cli_ends_with(e.output, ".csv") && !cli_ends_with(e.output, ".npy") &&
        strncmp(e.output, "/dev/", 5) != 0)
        return cli_usage("eval", "'%s' should end in .npy or .csv, which says what to write",
                         e.output);
    if ((code = cli_check_output(e.output, path, 2)) != CLI_OK) return code;
    memset(&cd, 0, sizeof cd);
    cd.threads = (int)e.threads;
    if (af_context_create(&cd, &c) != AF_OK) return cli_fail("out of memory");
    code = eval_run(c, &e, path);
    af_context_destroy(c);
    return code;
}
