/* deeppotential local: accelerations at places from a distribution function alone. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "local";

enum { LOCAL_COLUMNS = 10 }; /* x, a, error, leftover */

typedef struct local_settings {
    const char *output, *at, *frame, *check;
    deep_source source;
    size_t velocities, threads;
    int robust;
    dp_local_desc desc;
    af_potential parts[DEEP_PARTS];
    size_t part_count;
} local_settings;

static int local_write(af_context *c, const local_settings *o, size_t m, const double *x,
                       const double *a, const double *error, const double *leftover) {
    static const char *const name[LOCAL_COLUMNS] = {"x",        "y",        "z",        "ax",
                                                    "ay",       "az",       "ax_error", "ay_error",
                                                    "az_error", "leftover"};
    double *rows = (double *)cli_allocate(LOCAL_COLUMNS * m, sizeof *rows);
    size_t i;
    int code;
    for (i = 0; i < m; i++) {
        double *row = rows + LOCAL_COLUMNS * i;
        memcpy(row, x + 3 * i, 3 * sizeof *row);
        memcpy(row + 3, a + 3 * i, 3 * sizeof *row);
        memcpy(row + 6, error + 3 * i, 3 * sizeof *row);
        row[9] = leftover[i];
    }
    code = deep_write_rows(c, o->output, "kpc, (km/s)^2/kpc, km/s/kpc", name, LOCAL_COLUMNS, m,
                           rows);
    free(rows);
    if (code == CLI_OK) printf("%lu places\nwrote %s\n", (unsigned long)m, o->output);
    return code;
}

static int local_solve(af_context *c, const local_settings *o, dp_df *df, const dp_sample *s,
                       size_t m, const double *x) {
    double *a = (double *)cli_allocate(10 * m, sizeof *a), *error = a + 3 * m;
    double *leftover = a + 6 * m, *zero = a + 7 * m;
    deep_errors e, untrained;
    int code = CLI_OK;
    if (dp_local_accelerations(df, s, &o->desc, m, x, a, error, leftover) != AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK) code = local_write(c, o, m, x, a, error, leftover);
    if (code == CLI_OK && o->check) {
        e = deep_errors_of(m, x, NULL, a, NULL, o->parts, o->part_count);
        untrained = deep_errors_of(m, x, NULL, zero, NULL, o->parts, o->part_count);
        deep_errors_print(&e, &untrained, m);
    }
    free(a);
    return code;
}

static int local_all(af_context *c, const local_settings *o, const char *const path[2]) {
    dp_df *df = NULL;
    dp_sample *s = NULL;
    double *x = NULL;
    size_t m = 0;
    int code = deep_open_df(c, path[0], &df);
    if (code == CLI_OK) code = deep_read_stars(c, NAME, path[1], &o->source, 0, &s);
    if (code == CLI_OK) code = deep_read_places(c, o->at, &m, &x);
    if (code == CLI_OK) code = local_solve(c, o, df, s, m, x);
    free(x);
    dp_sample_destroy(s);
    dp_df_destroy(df);
    return code;
}

int deep_local(const cli_command *command, int count, char **words) {
    local_settings o;
    const char *path[3];
    af_context *c;
    int code;
    memset(&o, 0, sizeof o);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &o.output, "FILE", "a table (.csv) or .npy"},
            {"at", CLI_TEXT, &o.at, "POINTS", "the places"},
            {"velocities", CLI_COUNT, &o.velocities, "N",
             "at each place: those of the nearest stars; default 256"},
            {"robust", CLI_FLAG, &o.robust, NULL, "outliers among them count less"},
            {"frame", CLI_TEXT, &o.frame, "LIST", "as in fit-potential"},
            {"check", CLI_TEXT, &o.check, "SUM", "compares with a known potential, as in eval"},
            DEEP_SOURCE_OPTIONS(&o.source),
            {"threads", CLI_COUNT, &o.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code < 0) code = deep_frame(NAME, o.frame, &o.desc.frame);
    if (code < 0) code = deep_parts(NAME, "check", o.check, o.parts, NULL, &o.part_count);
    if (code >= 0) return code;
    if (!o.at) return cli_usage(NAME, "--at POINTS is missing: where");
    if ((code = cli_check_table(NAME, o.output)) >= 0) return code;
    o.desc.velocities = o.velocities;
    o.desc.robust = o.robust;
    path[2] = o.at;
    if ((code = cli_check_output(o.output, path, 3)) != CLI_OK) return code;
    if ((code = cli_context(o.threads, &c)) != CLI_OK) return code;
    code = local_all(c, &o, path);
    af_context_destroy(c);
    return code;
}
