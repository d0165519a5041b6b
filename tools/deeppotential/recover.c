/* deeppotential recover: a spherical or axisymmetric potential from stars, through actions. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "recover";

enum {
    RECOVER_COLUMNS = 13, /* at most */
    RECOVER_RADII = 60,
    RECOVER_PLANE_RADII = 20, /* by default, of R, at each of ... */
    RECOVER_HEIGHTS = 4       /* ... heights */
};

typedef struct recover_settings {
    const char *output, *model, *radii, *heights, *check, *streams, *centre, *start;
    deep_source source;
    size_t threads, units, bins, steps;
    int quiet, on_terminal, axisymmetric;
    deep_range range, height;
    dp_recover_desc desc;
    af_potential parts[DEEP_PARTS], begin[DEEP_PARTS];
    unsigned fixed[DEEP_PARTS];
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

/* ---- what is written ---- */

/* What was found, at places. */
typedef struct recover_values {
    const char *const *name;
    size_t n, columns;
    double *rows;                       /* (n,columns): the table */
    double *x;                          /* (n,3) */
    double *phi[2], *a[2], *density[2]; /* (n), (n,3), (n): found, and where the fit began */
    double *error;                      /* (n): relative, of the force */
} recover_values;

static void recover_values_make(recover_values *v, size_t n, const char *const *name,
                                size_t columns) {
    double *m = (double *)cli_allocate((14 + columns) * n, sizeof *m);
    size_t k;
    v->n = n;
    v->name = name;
    v->columns = columns;
    v->x = m;
    v->error = m + 3 * n;
    for (k = 0; k < 2; k++) {
        v->phi[k] = m + (4 + k) * n;
        v->a[k] = m + (6 + 3 * k) * n;
        v->density[k] = m + (12 + k) * n;
    }
    v->rows = m + 14 * n;
}

/* By equal factors. */
static double recover_radius(const recover_settings *o, const dp_recover_report *p, size_t i,
                             size_t n) {
    double low = o->radii ? o->range.low : p->inner, high = o->radii ? o->range.high : p->outer;
    return low * pow(high / low, (double)i / (double)(n > 1 ? n - 1 : 1));
}

static int recover_sphere_values(af_context *c, const recover_settings *o, const dp_recovered *r,
                                 recover_values *to) {
    static const char *const name[9] = {
        "r", "phi", "phi_error", "force", "force_error", "density", "density_error",
        "untrained_phi", "untrained_force"};
    dp_recover_report p = dp_recovered_report(r);
    size_t n = o->radii ? o->range.count : (size_t)RECOVER_RADII, i, k;
    double *radius = (double *)cli_allocate(n, sizeof *radius);
    dp_radial *v = (dp_radial *)cli_allocate(2 * n, sizeof *v);
    int good;
    recover_values_make(to, n, name, 9);
    for (i = 0; i < n; i++) radius[i] = recover_radius(o, &p, i, n);
    good = dp_recovered_evaluate(r, n, radius, v) == AF_OK &&
           dp_recovered_untrained(r, n, radius, v + n) == AF_OK;
    for (i = 0; i < n && good; i++) {
        double *row = to->rows + 9 * i;
        row[0] = to->x[3 * i] = radius[i];
        memcpy(row + 1, v + i, sizeof *v); /* six numbers in this order */
        row[7] = v[n + i].phi;
        row[8] = v[n + i].force;
        to->error[i] = -v[i].force_error / v[i].force;
        for (k = 0; k < 2; k++) {
            to->phi[k][i] = v[k * n + i].phi;
            to->a[k][3 * i] = v[k * n + i].force;
            to->density[k][i] = v[k * n + i].density;
        }
    }
    free(v);
    free(radius);
    return good ? CLI_OK : cli_fail_library(c);
}

/* R and z of place i: for each R all heights. */
static void recover_place(const recover_settings *o, const dp_recover_report *p, size_t i,
                          double place[2]) {
    place[0] = recover_radius(o, p, i / o->height.count,
                              o->radii ? o->range.count : (size_t)RECOVER_PLANE_RADII);
    place[1] = deep_range_at(&o->height, i % o->height.count);
}

static int recover_disc_values(af_context *c, const recover_settings *o, const dp_axisymmetric *r,
                               recover_values *to) {
    static const char *const name[RECOVER_COLUMNS] = {
        "R", "z", "phi", "phi_error", "force_R", "force_z", "force_R_error", "force_z_error",
        "density", "density_error", "untrained_phi", "untrained_force_R", "untrained_force_z"};
    dp_recover_report p = dp_axisymmetric_report(r);
    size_t n = o->height.count * (o->radii ? o->range.count : (size_t)RECOVER_PLANE_RADII), i, k;
    double *place = (double *)cli_allocate(2 * n, sizeof *place);
    dp_meridional *v = (dp_meridional *)cli_allocate(2 * n, sizeof *v);
    int good;
    recover_values_make(to, n, name, RECOVER_COLUMNS);
    for (i = 0; i < n; i++) recover_place(o, &p, i, place + 2 * i);
    good = dp_axisymmetric_evaluate(r, n, place, v) == AF_OK &&
           dp_axisymmetric_untrained(r, n, place, v + n) == AF_OK;
    for (i = 0; i < n && good; i++) {
        double *row = to->rows + RECOVER_COLUMNS * i;
        memcpy(row, place + 2 * i, 2 * sizeof *row);
        memcpy(row + 2, v + i, sizeof *v); /* eight numbers in this order */
        row[10] = v[n + i].phi;
        memcpy(row + 11, v[n + i].force, sizeof v[n + i].force);
        to->error[i] = hypot(v[i].force_error[0], v[i].force_error[1]) /
                       hypot(v[i].force[0], v[i].force[1]);
        to->x[3 * i] = row[0];
        to->x[3 * i + 2] = row[1];
        for (k = 0; k < 2; k++) {
            to->phi[k][i] = v[k * n + i].phi;
            to->a[k][3 * i] = v[k * n + i].force[0];
            to->a[k][3 * i + 2] = v[k * n + i].force[1];
            to->density[k][i] = v[k * n + i].density;
        }
    }
    free(v);
    free(place);
    return good ? CLI_OK : cli_fail_library(c);
}

/* Errors of the result and of the start beside a known potential. */
static void recover_check(const recover_settings *o, const recover_values *v) {
    deep_errors e[2];
    size_t k;
    for (k = 0; k < 2; k++)
        e[k] = deep_errors_of(v->n, v->x, v->phi[k], v->a[k], v->density[k], o->parts,
                              o->part_count);
    deep_errors_print(e, e + 1, v->n);
}

static void recover_report(const recover_settings *o, const dp_recover_report *p, size_t n,
                           double error) {
    printf("%lu stars, %lu parameters of the potential, %lu steps%s\n"
           "-mean ln p(%s): untrained %.5f, trained %.5f\n"
           "radii that hold 1 to 99 %% of the stars: %g to %g\n"
           "median relative error bar of the force there: %.2g %%\n",
           (unsigned long)p->stars, (unsigned long)p->parameters, (unsigned long)p->steps,
           p->converged ? "" : "; it has not converged, do not trust the error bars",
           o->axisymmetric ? "J_r, J_z, L_z" : "J_r, L", p->untrained, p->loss, p->inner,
           p->outer, 100.0 * error);
    printf("FIGURE loss %.9g\nFIGURE untrained %.9g\nFIGURE converged %d\nFIGURE %s %lu\n",
           p->loss, p->untrained, p->converged, o->axisymmetric ? "places" : "radii",
           (unsigned long)n);
}

/* ---- the command ---- */

typedef struct recover_result { /* one of the two */
    dp_recovered *sphere;
    dp_axisymmetric *disc;
} recover_result;

static int recover_write(af_context *c, const recover_settings *o, const recover_result *r) {
    dp_recover_report p = r->disc ? dp_axisymmetric_report(r->disc)
                                  : dp_recovered_report(r->sphere);
    recover_values v;
    size_t parts = 0;
    int code = r->disc ? recover_disc_values(c, o, r->disc, &v)
                       : recover_sphere_values(c, o, r->sphere, &v);
    if (code == CLI_OK)
        code = deep_write_rows(c, o->output, "kpc, (km/s)^2, (km/s)^2/kpc, Msun/kpc^3", v.name,
                               v.columns, v.n, v.rows);
    if (code == CLI_OK && o->model &&
        (r->disc ? dp_axisymmetric_save(r->disc, o->model)
                 : dp_recovered_save(r->sphere, o->model)) != AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK && !o->quiet)
        recover_report(o, &p, v.n, deep_quantile(v.error, v.n, 0.5));
    if (code == CLI_OK && !o->quiet && r->disc) {
        const af_potential *part = dp_axisymmetric_parts(r->disc, &parts);
        deep_parts_print(part, dp_axisymmetric_errors(r->disc), parts);
    }
    if (code == CLI_OK && o->check) recover_check(o, &v);
    if (code == CLI_OK && !o->quiet) printf("wrote %s\n", o->output);
    free(v.x);
    return code;
}

/* Heights, by default up to where nine in ten stars are. */
static void recover_heights(recover_settings *o, const dp_sample *s) {
    const double *eta = dp_sample_eta(s);
    size_t n = dp_sample_count(s), i;
    double *z;
    if (o->heights) return;
    z = (double *)cli_allocate(n, sizeof *z);
    for (i = 0; i < n; i++) z[i] = fabs(eta[6 * i + 2] - o->desc.centre[2]);
    o->height.low = 0.0;
    o->height.high = deep_quantile(z, n, 0.9);
    o->height.count = RECOVER_HEIGHTS;
    free(z);
}

static int recover_all(af_context *c, recover_settings *o, const char *path) {
    dp_sample *s = NULL;
    recover_result r = {NULL, NULL};
    af_status status = AF_OK;
    int code = deep_read_stars(c, NAME, path, &o->source, o->quiet, &s);
    if (code == CLI_OK) deep_check_stars(path, s, 0);
    if (code == CLI_OK && o->streams)
        code = recover_read_streams(c, o, path, dp_sample_count(s));
    if (code == CLI_OK) {
        cli_catch_stop();
        status = o->axisymmetric ? dp_recover_axisymmetric(s, &o->desc, &r.disc)
                                 : dp_recover(s, &o->desc, &r.sphere);
        if (o->on_terminal && !o->quiet) fputc('\n', stderr);
        if (status == AF_STOPPED) fprintf(stderr, "stopped; the best so far is kept\n");
        if (status != AF_OK && status != AF_STOPPED) code = deep_fail(c, path);
    }
    if (code == CLI_OK) {
        recover_heights(o, s);
        code = recover_write(c, o, &r);
    }
    dp_recovered_destroy(r.sphere);
    dp_axisymmetric_destroy(r.disc);
    dp_sample_destroy(s);
    free(o->stream);
    return code;
}

/* What goes with --axisymmetric, and what does not. Returns like cli_parse. */
static int recover_check_symmetry(recover_settings *o) {
    int code;
    if (o->axisymmetric && (o->units || o->streams))
        return cli_usage(NAME, "--units and --streams do not go with --axisymmetric");
    if (!o->axisymmetric && (o->start || o->heights))
        return cli_usage(NAME, "--parts and --heights go with --axisymmetric");
    code = deep_parts(NAME, "parts", o->start, o->begin, o->fixed, &o->desc.part_count);
    if (code < 0) code = deep_heights_of(NAME, o->heights, &o->height);
    if (code < 0 && o->desc.part_count) {
        o->desc.parts = o->begin;
        o->desc.fixed = o->fixed;
    }
    return code;
}

/* What was said, into the desc. Returns like cli_parse. */
static int recover_check_options(recover_settings *o, const char *const *path) {
    const char *outputs[2];
    size_t count;
    int code = deep_parts(NAME, "check", o->check, o->parts, NULL, &o->part_count);
    if (code < 0) code = deep_range_of(NAME, "radii", o->radii, &o->range);
    if (code < 0) code = recover_check_symmetry(o);
    if (code < 0) code = cli_check_table(NAME, o->output);
    if (code >= 0) return code;
    if (o->radii && !(o->range.low > 0.0))
        return cli_usage(NAME, "--radii begins at %g, which must be above 0", o->range.low);
    if (o->centre && !deep_numbers(o->centre, 6, 6, o->desc.centre, &count, NULL))
        return cli_usage(NAME, "--centre takes X,Y,Z,VX,VY,VZ, not '%s'", o->centre);
    outputs[0] = o->output;
    outputs[1] = o->model;
    if ((code = cli_check_outputs(outputs, 2, path, 1)) != CLI_OK) return code;
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
            {"axisymmetric", CLI_FLAG, &o.axisymmetric, NULL,
             "a disc: of R and z, the same above and below the plane"},
            {"parts", CLI_TEXT, &o.start, "SUM",
             "with it: of what form, and where the fit begins; ! behind numbers that stay"},
            {"radii", CLI_TEXT, &o.radii, "FROM:TO:N",
             "where, by equal factors; default those of 1 to 99 % of the stars, 60; of R 20"},
            {"heights", CLI_TEXT, &o.heights, "FROM:TO:N",
             "and z, evenly; default 4 from 0 to where nine in ten stars are"},
            {"centre", CLI_TEXT, &o.centre, "X,Y,Z,VX,VY,VZ", "of the system; default 0"},
            {"streams", CLI_TEXT, &o.streams, "COLUMN",
             "of STARS: the number of each star's stream, 0 for none"},
            {"check", CLI_TEXT, &o.check, "SUM",
             "compares with a known potential, as in eval, beside the start"},
            {"units", CLI_COUNT, &o.units, "N", "of the potential; default 24"},
            {"bins", CLI_COUNT, &o.bins, "N",
             "of the density of actions, each way; default 12, of a disc 5"},
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
