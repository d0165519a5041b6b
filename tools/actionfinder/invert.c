/* actionfinder invert: positions and velocities of stars from their actions and angles. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Stars as rows: actions and angles (n,6), then positions and velocities (n,6) in their place. */
typedef struct invert_stars {
    size_t n;
    double *rows, *id; /* id NULL: no column stream */
    int rank;
    size_t dims[AF_FILE_RANK];
    unsigned *flags;
} invert_stars;

enum { INVERT_COLUMNS = 6, INVERT_BLOCK = 256 };

static int invert_read_npy(af_context *c, const char *path, invert_stars *s) {
    af_array *a;
    if (af_npy_read(c, path, &a) != AF_OK) return cli_fail_library(c);
    if (a->rank < 1 || a->dims[a->rank - 1] != INVERT_COLUMNS) {
        af_array_destroy(a);
        return cli_fail("'%s' must have 6 numbers for each star, J_phi, J_z, J_r, theta_phi, "
                        "theta_z, theta_r: the last length of its shape, as eval writes it",
                        path);
    }
    s->n = a->count / INVERT_COLUMNS;
    s->rank = a->rank;
    memcpy(s->dims, a->dims, sizeof s->dims);
    s->rows = (double *)cli_allocate(a->count, sizeof *s->rows);
    memcpy(s->rows, a->data, a->count * sizeof *s->rows);
    af_array_destroy(a);
    return CLI_OK;
}

static int invert_read_table(af_context *c, const char *path, invert_stars *s) {
    static const char *const name[INVERT_COLUMNS] = {"J_phi",     "J_z",     "J_r",
                                                     "theta_phi", "theta_z", "theta_r"};
    af_table_desc d;
    af_table *t;
    size_t k;
    int code = CLI_OK;
    memset(&d, 0, sizeof d);
    d.allow_missing = 1;
    if (af_table_read(c, path, &d, &t) != AF_OK) return cli_fail_library(c);
    for (k = 0; k < INVERT_COLUMNS && code == CLI_OK; k++)
        if (!af_table_column(t, name[k]))
            code = cli_fail("'%s' has no column %s; eval writes such tables", path, name[k]);
    if (code == CLI_OK) {
        const double *id = af_table_column(t, "stream");
        s->n = af_table_rows(t);
        s->rows = (double *)cli_allocate(s->n * INVERT_COLUMNS, sizeof *s->rows);
        if (af_table_gather(t, name, INVERT_COLUMNS, s->rows) != AF_OK) code = cli_fail_library(c);
        if (id) {
            s->id = (double *)cli_allocate(s->n, sizeof *id);
            memcpy(s->id, id, s->n * sizeof *id);
        }
    }
    af_table_destroy(t);
    return code;
}

static af_status invert_write(af_context *c, const char *path, const invert_stars *s) {
    size_t dims[2];
    dims[0] = s->n;
    dims[1] = INVERT_COLUMNS;
    if (cli_ends_with(path, ".csv")) return cli_write_stars(c, path, s->n, s->id, s->rows);
    return af_npy_write(c, path, s->rank ? s->rank : 2, s->rank ? s->dims : dims, s->rows);
}

static int invert_missing(const double *row) {
    size_t k;
    for (k = 0; k < INVERT_COLUMNS; k++)
        if (!isfinite(row[k])) return 1;
    return 0;
}

/* Positions into the rows, and what became of the stars. */
static int invert_stars_of(af_context *c, const af_finder *f, int threads, invert_stars *s) {
    af_inverter *inverter;
    size_t i, k, missing = 0, invalid = 0, unsettled = 0;
    double *j, *theta;
    if (af_inverter_create(f, INVERT_BLOCK, threads, &inverter) != AF_OK)
        return cli_fail_library(c);
    j = (double *)cli_allocate(3 * s->n + 1, sizeof *j);
    theta = (double *)cli_allocate(3 * s->n + 1, sizeof *theta);
    s->flags = (unsigned *)cli_allocate(s->n + 1, sizeof *s->flags);
    for (i = 0; i < s->n; i++) {
        missing += (size_t)invert_missing(s->rows + INVERT_COLUMNS * i);
        for (k = 0; k < 3; k++) {
            j[3 * i + k] = s->rows[INVERT_COLUMNS * i + k];
            theta[3 * i + k] = s->rows[INVERT_COLUMNS * i + 3 + k];
        }
    }
    af_invert(inverter, s->n, j, theta, s->rows, s->flags);
    for (i = 0; i < s->n; i++) {
        invalid += (s->flags[i] & AF_ORBIT_FAILED) != 0;
        unsettled += (s->flags[i] & AF_STAR_UNCONVERGED) != 0;
    }
    printf("%lu stars: %lu without actions, %lu with actions of no orbit, %lu did not converge\n",
           (unsigned long)s->n, (unsigned long)missing, (unsigned long)(invalid - missing),
           (unsigned long)unsettled);
    af_inverter_destroy(inverter);
    free(j);
    free(theta);
    return CLI_OK;
}

static int invert_run(af_context *c, const char *const path[2], const char *output, int threads) {
    af_finder *f = NULL;
    invert_stars s;
    int code;
    memset(&s, 0, sizeof s);
    if (af_finder_load(c, path[0], &f) != AF_OK) return cli_fail_model(c, path[0]);
    code = cli_ends_with(path[1], ".npy") ? invert_read_npy(c, path[1], &s)
                                          : invert_read_table(c, path[1], &s);
    if (code == CLI_OK) code = invert_stars_of(c, f, threads, &s);
    if (code == CLI_OK && invert_write(c, output, &s) != AF_OK) code = cli_fail_library(c);
    if (code == CLI_OK) printf("wrote %s\n", output);
    free(s.rows);
    free(s.id);
    free(s.flags);
    af_finder_destroy(f);
    return code;
}

int cli_invert(const cli_command *command, int count, char **words) {
    const char *path[2], *output = NULL;
    size_t threads = 0;
    af_context *c;
    int code;
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &output, "FILE", "XV.npy or XV.csv"},
            {"threads", CLI_COUNT, &threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code >= 0) return code;
    if ((code = cli_check_table("invert", output)) >= 0) return code;
    if ((code = cli_check_output(output, path, 2)) != CLI_OK) return code;
    if ((code = cli_context(threads, &c)) != CLI_OK) return code;
    code = invert_run(c, path, output, (int)threads);
    af_context_destroy(c);
    return code;
}
