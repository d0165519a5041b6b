/* deeppotential recover: a spherical potential from stars, through their actions. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "recover";

enum { RECOVER_COLUMNS = 9, RECOVER_RADII = 60 };

typedef struct recover_settings {
    const char *output, *model, *radii, *check, *streams, *centre;
    deep_source source;
    size_t threads, units, bins, steps;
    int quiet, on_terminal;
    deep_range range;
    dp_recover_desc desc;
    af_potential parts[DEEP_PARTS];
    size_t part_count;
    uint32_t *stream; /* of each star */
    double last_line;
} recover_settings;

/* The column of the table of stars that says of which stream each is. */
static int recover_read_streams(af_context *c, recover_settings *o, const char *path, size_t n) {
    af_table_desc desc;
    af_table *t = NULL;
    const double *column;
    size_t i;
    int code = CLI_OK;
    memset(&desc, 0, sizeof desc);
    desc.columns = &o->streams;
    desc.column_count = 1;
    if (!cli_ends_with(path, ".csv") && !cli_ends_with(path, ".ecsv"))
        return cli_fail("--streams names a column: '%s' must be a table, .csv or .ecsv", path);
    if (af_table_read(c, path, &desc, &t) != AF_OK) return deep_fail(c, path);
    column = af_table_column(t, o->streams);
    o->stream = (uint32_t *)cli_allocate(n, sizeof *o->stream);
    if (af_table_rows(t) != n)
        code = cli_fail("'%s': stars were left out, so that --streams does not fit them", path);
    for (i = 0; i < n && code == CLI_OK; i++) {
        if (!(column[i] >= 0.0 && column[i] < 1e6 && column[i] == floor(column[i])))
            code = cli_fail("'%s', star %lu (counted from 0): a stream is a whole number, 0 for "
                            "none, not %g", path,
                            (unsigned long)i, column[i]);
        else o->stream[i] = (uint32_t)column[i];
    }
    af_table_destroy(t);
    o->desc.streams = o->stream;
    return code;
}

static int recover_progress(const dp_recover_progress *p, void *user) {
    recover_settings *o = (recover_settings *)user;
    double now = cli_clock();
    if (!o->quiet && now - o->last_line >= cli_line_interval(o->on_terminal)) {
        fprintf(stderr, "%sstep %3lu  %lu stars  loss %.6f  gain %-12.4g%s",
                o->on_terminal ? "\r" : "", (unsigned long)p->step, (unsigned long)p->stars,
                p->loss, p->gain, o->on_terminal ? "" : "\n");
        o->last_line = now;
    }
    return cli_stopped();
}

static double recover_radius(const recover_settings *o, const dp_recover_report *p, size_t i,
                             size_t *n) {
    double low = o->radii ? o->range.low : p->inner, high = o->radii ? o->range.high : p->outer;
    *n = o->radii ? o->range.count : RECOVER_RADII;
    return low * pow(high / low, (double)i / (double)(*n > 1 ? *n - 1 : 1));
}

/* Errors of the result and of the start beside a known potential. */
static void recover_check(const recover_settings *o, size_t n, const double *radius,
                          const dp_radial *v, const dp_radial *start) {
    double *m = (double *)cli_allocate(8 * n, sizeof *m), *x = m + 5 * n;
    double *phi = m, *a = m + n, *rho = m + 4 * n;
    deep_errors e[2];
    size_t i, k;
    for (k = 0; k < 2; k++) {
        const dp_radial *from = k ? start : v;
        for (i = 0; i < n; i++) {
            phi[i] = from[i].phi;
            rho[i] = from[i].density;
            a[3 * i] = from[i].force;
            a[3 * i + 1] = a[3 * i + 2] = x[3 * i + 1] = x[3 * i + 2] = 0.0;
            x[3 * i] = radius[i];
        }
        e[k] = deep_errors_of(n, x, phi, a, rho, o->parts, o->part_count);
    }
    deep_errors_print(e, e + 1, n);
    free(m);
}

static void recover_report(const dp_recover_report *p, size_t bound, double error) {
    printf("%lu stars, %lu parameters of the potential, %lu steps%s\n"
           "-mean ln p(J_r, L): untrained %.5f, trained %.5f\n"
           "radii that hold 1 to 99 %% of the stars: %g to %g\n"
           "median relative error bar of the force there: %.2g %%\n",
           (unsigned long)p->stars, (unsigned long)p->parameters, (unsigned long)p->steps,
           p->converged ? "" : "; it has not converged, do not trust the error bars",
           p->untrained, p->loss, p->inner, p->outer, 100.0 * error);
    printf("FIGURE loss %.9g\nFIGURE untrained %.9g\nFIGURE converged %d\nFIGURE radii %lu\n",
           p->loss, p->untrained, p->converged, (unsigned long)bound);
}

static int recover_write(af_context *c, const recover_settings *o, const dp_recovered *r) {
    static const char *const name[RECOVER_COLUMNS] = {
        "r", "phi", "phi_error", "force", "force_error", "density", "density_error",
        "untrained_phi", "untrained_force"};
    dp_recover_report p = dp_recovered_report(r);
    size_t n, i;
    double *m, *radius, *error, *rows;
    dp_radial *v;
    int code = CLI_OK;
    recover_radius(o, &p, 0, &n);
    m = (double *)cli_allocate((2 + RECOVER_COLUMNS) * n, sizeof *m);
    v = (dp_radial *)cli_allocate(2 * n, sizeof *v);
    radius = m;
    error = m + n;
    rows = m + 2 * n;
    for (i = 0; i < n; i++) radius[i] = recover_radius(o, &p, i, &n);
    if (dp_recovered_evaluate(r, n, radius, v) != AF_OK ||
        dp_recovered_untrained(r, n, radius, v + n) != AF_OK)
        code = cli_fail_library(c);
    for (i = 0; i < n && code == CLI_OK; i++) {
        double *row = rows + RECOVER_COLUMNS * i;
        row[0] = radius[i];
        memcpy(row + 1, v + i, sizeof *v); /* six numbers in this order */
        row[7] = v[n + i].phi;
        row[8] = v[n + i].force;
        error[i] = -v[i].force_error / v[i].force;
    }
    if (code == CLI_OK)
        code = deep_write_rows(c, o->output, "kpc, (km/s)^2, (km/s)^2/kpc, Msun/kpc^3", name,
                               RECOVER_COLUMNS, n, rows);
    if (code == CLI_OK && o->model && dp_recovered_save(r, o->model) != AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK && !o->quiet) recover_report(&p, n, deep_quantile(error, n, 0.5));
    if (code == CLI_OK && o->check) recover_check(o, n, radius, v, v + n);
    if (code == CLI_OK && !o->quiet) printf("wrote %s\n", o->output);
    free(v);
    free(m);
    return code;
}

static int recover_all(af_context *c, recover_settings *o, const char *path) {
    dp_sample *s = NULL;
    dp_recovered *r = NULL;
    af_status status = AF_OK;
    int code = deep_read_stars(c, NAME, path, &o->source, o->quiet, &s);
    if (code == CLI_OK && o->streams)
        code = recover_read_streams(c, o, path, dp_sample_count(s));
    if (code == CLI_OK) {
        cli_catch_stop();
        status = dp_recover(s, &o->desc, &r);
        if (o->on_terminal && !o->quiet) fputc('\n', stderr);
        if (status == AF_STOPPED) fprintf(stderr, "stopped; the best so far is kept\n");
        if (status != AF_OK && status != AF_STOPPED) code = deep_fail(c, path);
    }
    if (code == CLI_OK) code = recover_write(c, o, r);
    dp_recovered_destroy(r);
    dp_sample_destroy(s);
    free(o->stream);
    return code;
}

/* What was said, into the desc. Returns like cli_parse. */
static int recover_check_options(recover_settings *o, const char *const *path) {
    const char *outputs[2];
    size_t count, i;
    int code = deep_parts(NAME, "check", o->check, o->parts, NULL, &o->part_count);
    if (code < 0) code = deep_range_of(NAME, "radii", o->radii, &o->range);
    if (code < 0) code = cli_check_table(NAME, o->output);
    if (code >= 0) return code;
    if (o->radii && !(o->range.low > 0.0))
        return cli_usage(NAME, "--radii begins at %g, which must be above 0", o->range.low);
    if (o->centre && !deep_numbers(o->centre, 6, 6, o->desc.centre, &count, NULL))
        return cli_usage(NAME, "--centre takes X,Y,Z,VX,VY,VZ, not '%s'", o->centre);
    outputs[0] = o->output;
    outputs[1] = o->model;
    for (i = 0; i < 2; i++)
        if ((code = cli_check_output(outputs[i], path, 1)) != CLI_OK) return code;
    o->desc.units = o->units;
    o->desc.bins = o->bins;
    o->desc.steps = o->steps;
    o->desc.progress = recover_progress;
    o->desc.user = o;
    o->on_terminal = isatty(STDERR_FILENO) == 1;
    o->source.no_errors = 1;
    return -1;
}

int deep_recover(const cli_command *command, int count, char **words) {
    recover_settings o;
    const char *path[1];
    af_context *c;
    int code;
    memset(&o, 0, sizeof o);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &o.output, "TABLE", "the potential: a table (.csv) or .npy"},
            {"model", CLI_TEXT, &o.model, "FILE.safetensors", "keeps the model, for programs"},
            {"radii", CLI_TEXT, &o.radii, "FROM:TO:N",
             "where, by equal factors; default those of 1 to 99 % of the stars, 60"},
            {"centre", CLI_TEXT, &o.centre, "X,Y,Z,VX,VY,VZ", "of the system; default 0"},
            {"streams", CLI_TEXT, &o.streams, "COLUMN",
             "of STARS: the number of each star's stream, 0 for none"},
            {"check", CLI_TEXT, &o.check, "SUM",
             "compares with a known potential, as in eval, beside the start"},
            {"units", CLI_COUNT, &o.units, "N", "of the potential; default 24"},
            {"bins", CLI_COUNT, &o.bins, "N", "of the density of actions, each way; default 12"},
            {"steps", CLI_COUNT, &o.steps, "N", "at most; default 200"},
            {"weights", CLI_TEXT, &o.source.weights, "W.npy",
             "a weight for each star, instead of the file's"},
            {"no-weights", CLI_FLAG, &o.source.no_weights, NULL, "all stars count alike"},
            {"threads", CLI_COUNT, &o.threads, "N", "default: all cores"},
            {"quiet", CLI_FLAG, &o.quiet, NULL, "prints nothing but errors"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
    }
    if (code < 0) code = recover_check_options(&o, path);
    if (code >= 0) return code;
    if ((code = cli_context(o.threads, &c)) != CLI_OK) return code;
    code = recover_all(c, &o, path[0]);
    af_context_destroy(c);
    return code;
}
