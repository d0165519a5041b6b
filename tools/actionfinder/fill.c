/* actionfinder fill: distances and line-of-sight velocities that were not measured. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct fill_options {
    const char *output, *distances, *velocities;
    size_t grid, threads;
    cli_sky sky;
    af_observed_desc observed;
    af_fill_desc desc;
} fill_options;

/* Columns of the answer; the first are those of a table of stars as observed. */
enum { FILL_COLUMNS = 12, FILL_BLOCK = 256 };
static const char *const FILL_NAME[FILL_COLUMNS] = {
    "stream", "ra", "dec", "distance", "pmra", "pmdec", "radial_velocity", "missing", "misfit",
    "rival_distance", "rival_velocity", "rival_misfit"};

static const double FILL_ALIKE = 1.0; /* misfits that differ by less do not tell answers apart */

typedef struct fill_stars {
    af_observed *o;
    unsigned *missing; /* of each row, before anything is filled in */
    size_t rows, kind[4], filled, left, alike; /* kind: rows with those bits */
} fill_stars;

static void fill_actions(size_t count, const double *xv, double *j, void *user) {
    af_evaluate((af_evaluator *)user, count, xv, NULL, j, NULL, NULL);
}

static int fill_read(af_context *c, const char *path, const af_observed_desc *d, fill_stars *a) {
    size_t s, i;
    if (af_observed_read(c, path, d, &a->o) != AF_OK) return cli_fail_sky(c);
    for (s = 0; s < af_observed_streams(a->o); s++) a->rows += af_observed_count(a->o, s);
    a->missing = (unsigned *)cli_allocate(a->rows, sizeof *a->missing);
    for (s = 0; s < af_observed_streams(a->o); s++)
        for (i = 0; i < af_observed_count(a->o, s); i++) {
            unsigned missing = af_observed_missing(a->o, s, i);
            a->missing[af_observed_row(a->o, s, i)] = missing;
            a->kind[missing & 3]++;
        }
    return CLI_OK;
}

static void fill_row(fill_stars *a, size_t s, size_t i, double *data) {
    size_t at = af_observed_row(a->o, s, i);
    af_filled answer = af_observed_filled(a->o, s, i);
    double *row = data + FILL_COLUMNS * at;
    a->alike += answer.rival_misfit - answer.misfit < FILL_ALIKE;
    row[0] = af_observed_id(a->o, s);
    af_observed_sky(a->o, s, i, row + 1);
    row[7] = a->missing[at];
    row[8] = answer.misfit;
    row[9] = answer.rival_distance;
    row[10] = answer.rival_velocity;
    row[11] = answer.rival_misfit;
}

/* One row a star, in the order of the input. */
static af_status fill_write(af_context *c, fill_stars *a, const char *path) {
    size_t s, i, k;
    double *data = (double *)cli_allocate(a->rows * FILL_COLUMNS, sizeof *data);
    af_table *t;
    af_status status;
    for (s = 0; s < af_observed_streams(a->o); s++)
        for (i = 0; i < af_observed_count(a->o, s); i++) fill_row(a, s, i, data);
    status = af_table_create(c, &t);
    if (status == AF_OK)
        status = af_table_comment(t, "missing: 1 the distance, 2 the velocity, 3 both were not "
                                     "measured, and are from the actions of the stream");
    for (k = 0; k < FILL_COLUMNS && status == AF_OK; k++)
        status = af_table_add(t, FILL_NAME[k], a->rows, data + k, FILL_COLUMNS);
    if (status == AF_OK) status = af_table_write(t, path);
    af_table_destroy(t);
    free(data);
    return status;
}

static void fill_say(const fill_stars *a, const char *output) {
    printf("%lu stars: %lu without distance, %lu without velocity, %lu without both\n",
           (unsigned long)a->rows, (unsigned long)a->kind[AF_MISSING_DISTANCE],
           (unsigned long)a->kind[AF_MISSING_VELOCITY],
           (unsigned long)a->kind[AF_MISSING_DISTANCE | AF_MISSING_VELOCITY]);
    printf("%lu filled in, %lu of them with another answer nearly as good; %lu left: no complete "
           "star in their stream, or no orbit in the range\n",
           (unsigned long)a->filled, (unsigned long)a->alike, (unsigned long)a->left);
    printf("wrote %s\n", output);
}

static int fill_run(af_context *c, fill_options *o, const char *const path[2]) {
    af_finder *f = NULL;
    af_evaluator *e = NULL;
    fill_stars a;
    int code;
    memset(&a, 0, sizeof a);
    if (af_finder_load(c, path[0], &f) != AF_OK) return cli_fail_model(c, path[0]);
    code = fill_read(c, path[1], &o->observed, &a);
    if (code == CLI_OK && af_evaluator_create(f, 1, FILL_BLOCK, (int)o->threads, &e) != AF_OK)
        code = cli_fail_library(c);
    o->desc.actions = fill_actions;
    o->desc.user = e;
    cli_progress("looks for what was not measured", 0, 1);
    if (code == CLI_OK && (af_observed_fill(a.o, &o->desc, &a.filled, &a.left) != AF_OK ||
                           fill_write(c, &a, o->output) != AF_OK))
        code = cli_fail_library(c);
    cli_progress("", 1, 1);
    if (code == CLI_OK) fill_say(&a, o->output);
    af_evaluator_destroy(e);
    af_observed_destroy(a.o);
    free(a.missing);
    af_finder_destroy(f);
    return code;
}

/* "LOW,HIGH"; returns like cli_parse. */
static int fill_range(const char *option, const char *text, double out[2]) {
    char rest;
    if (!text) return -1;
    if (sscanf(text, "%lf,%lf%c", &out[0], &out[1], &rest) != 2 || !isfinite(out[0]) ||
        !isfinite(out[1]) || !(out[0] < out[1]))
        return cli_usage("fill", "--%s takes two numbers, the lower one first, not '%s'", option,
                         text);
    return -1;
}

static int fill_check(fill_options *o, const char *const path[2]) {
    int code;
    if (!o->output) return cli_usage("fill", "-o OUT.csv is missing: where the stars go");
    if ((code = cli_check_ending("fill", o->output, ".csv")) >= 0) return code;
    if ((code = fill_range("distances", o->distances, o->desc.distance)) >= 0) return code;
    if ((code = fill_range("velocities", o->velocities, o->desc.velocity)) >= 0) return code;
    if ((code = cli_sky_desc("fill", &o->sky, &o->observed)) >= 0) return code;
    o->desc.grid = o->grid;
    return cli_check_output(o->output, path, 2);
}

int cli_fill(const cli_command *command, int count, char **words) {
    const char *path[2];
    fill_options o;
    af_context *c;
    int code;
    memset(&o, 0, sizeof o);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &o.output, "FILE", "OUT.csv"},
            {"distances", CLI_TEXT, &o.distances, "LOW,HIGH",
             "searched for what is missing [kpc]; default 0.1,200"},
            {"velocities", CLI_TEXT, &o.velocities, "LOW,HIGH",
             "the same, heliocentric [km/s]; default -1000,1000"},
            {"grid", CLI_COUNT, &o.grid, "N", "steps of the first look; default 100"},
            CLI_SKY_OPTIONS(o.sky),
            {"threads", CLI_COUNT, &o.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code >= 0) return code;
    if ((code = fill_check(&o, path)) != CLI_OK) return code;
    if ((code = cli_context(o.threads, &c)) != CLI_OK) return code;
    code = fill_run(c, &o, path);
    af_context_destroy(c);
    return code;
}
