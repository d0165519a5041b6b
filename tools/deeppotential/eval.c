/* deeppotential eval, local: what a potential gives at places; accelerations without one. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "eval";

typedef struct eval_settings {
    const char *output, *rotation, *rotation_output, *check;
    double surface, sphere, within;
    size_t threads;
    deep_range radii;
    af_potential parts[DEEP_PARTS];
    size_t part_count;
} eval_settings;

static size_t eval_options(eval_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"o", CLI_TEXT, &o->output, "FILE", "a table (.csv) or .npy of what is at POINTS"},
        {"rotation-curve", CLI_TEXT, &o->rotation_output, "FILE.csv",
         "circular velocity in the plane z = 0 ..."},
        {"radii", CLI_TEXT, &o->rotation, "FROM:TO:N", "... at these radii"},
        {"surface-density", CLI_NUMBER, &o->surface, "H",
         "another column: within |z| < H at each point's x, y"},
        {"sphere-density", CLI_NUMBER, &o->sphere, "R",
         "another column: the mean in spheres of radius R, from forces alone"},
        {"check", CLI_TEXT, &o->check, "SUM",
         "compares with a known potential, like plummer:1e11,1; see below"},
        {"within", CLI_NUMBER, &o->within, "R", "only at points with |x| < R"},
        {"threads", CLI_COUNT, &o->threads, "N", "default: all cores"},
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

size_t deep_eval_options(cli_option *out) {
    static eval_settings nowhere;
    return eval_options(&nowhere, out);
}

/* ---- several potentials ---- */

enum { EVAL_MOST = 7 }; /* phi, ax, ay, az, density, surface density, sphere density */

enum { EVAL_BLOCK = 512 }; /* places between two lines of progress */

/* The columns that take long. */
static af_status eval_around(const eval_settings *o, dp_potential *p, size_t n, const double *x,
                             const double *xy, double *sigma, double *sphere) {
    af_status s = AF_OK;
    size_t i, m;
    if (!(o->surface > 0.0) && !(o->sphere > 0.0)) return AF_OK;
    for (i = 0; i < n && s == AF_OK; i += m) {
        m = n - i < (size_t)EVAL_BLOCK ? n - i : (size_t)EVAL_BLOCK;
        cli_progress("densities around places", i, n);
        if (o->surface > 0.0)
            s = dp_surface_density(p, m, xy + 2 * i, o->surface, 0, sigma + i);
        if (s == AF_OK && o->sphere > 0.0)
            s = dp_sphere_density(p, m, x + 3 * i, o->sphere, 0, sphere + i);
    }
    cli_progress("", n, n);
    return s;
}

static int eval_one(af_context *c, const eval_settings *o, dp_potential *p, size_t n,
                    const double *x, double *columns) {
    double *phi = (double *)cli_allocate(9 * n, sizeof *phi), *a = phi + n, *density = phi + 4 * n;
    double *xy = phi + 5 * n, *sigma = phi + 7 * n, *sphere = phi + 8 * n;
    size_t i, k, width = EVAL_MOST;
    af_status s = dp_potential_evaluate(p, n, x, phi, a, density);
    for (i = 0; i < 2 * n; i++) xy[i] = x[3 * (i / 2) + i % 2];
    if (s == AF_OK) s = eval_around(o, p, n, x, xy, sigma, sphere);
    for (i = 0; s == AF_OK && i < n; i++) {
        columns[width * i] = phi[i];
        for (k = 0; k < 3; k++) columns[width * i + 1 + k] = a[3 * i + k];
        columns[width * i + 4] = density[i];
        columns[width * i + 5] = sigma[i];
        columns[width * i + 6] = sphere[i];
    }
    free(phi);
    return s == AF_OK ? CLI_OK : cli_fail_library(c);
}

/* The mean over the potentials and the standard deviation of one, (n,EVAL_MOST) each. Potentials of
 * an ensemble differ by constants: their means over the places are made the same. */
static int eval_mean(af_context *c, const eval_settings *o, size_t count, dp_potential **p,
                     size_t n, const double *x, double *mean, double *error) {
    size_t size = n * EVAL_MOST, i, k;
    double *one = (double *)cli_allocate(size, sizeof *one), first = 0.0;
    int code = CLI_OK;
    for (k = 0; k < count && code == CLI_OK; k++) {
        double level = 0.0;
        code = eval_one(c, o, p[k], n, x, one);
        for (i = 0; i < n; i++) level += one[EVAL_MOST * i] / (double)n;
        if (k == 0) first = level;
        for (i = 0; i < n; i++) one[EVAL_MOST * i] -= level - first;
        for (i = 0; i < size; i++) { /* Welford */
            double away = one[i] - mean[i];
            mean[i] += away / (double)(k + 1);
            error[i] += away * (one[i] - mean[i]);
        }
    }
    for (i = 0; i < size && count > 1; i++) error[i] = sqrt(error[i] / (double)(count - 1));
    free(one);
    return code;
}

/* ---- output ---- */

static int eval_write(af_context *c, const eval_settings *o, size_t count, size_t n,
                      const double *x, const double *mean, const double *error) {
    static const char *const names[EVAL_MOST] = {
        "phi", "ax", "ay", "az", "density", "surface_density", "sphere_density"};
    static const char *const errors[EVAL_MOST] = {
        "phi_error",           "ax_error",      "ay_error", "az_error", "density_error",
        "surface_density_error", "sphere_density_error"};
    const char *name[3 + 2 * EVAL_MOST] = {"x", "y", "z"};
    size_t used[EVAL_MOST], fields = 0, width, i, k;
    double *rows;
    int code;
    for (k = 0; k < (size_t)EVAL_MOST; k++)
        if (k < 5 || (k == 5 && o->surface > 0.0) || (k == 6 && o->sphere > 0.0))
            used[fields++] = k;
    width = 3 + fields * (count > 1 ? 2u : 1u);
    rows = (double *)cli_allocate(n * width, sizeof *rows);
    for (k = 0; k < fields; k++) {
        name[3 + k] = names[used[k]];
        if (count > 1) name[3 + fields + k] = errors[used[k]];
    }
    for (i = 0; i < n; i++) {
        memcpy(rows + width * i, x + 3 * i, 3 * sizeof *rows);
        for (k = 0; k < fields; k++) {
            rows[width * i + 3 + k] = mean[EVAL_MOST * i + used[k]];
            if (count > 1) rows[width * i + 3 + fields + k] = error[EVAL_MOST * i + used[k]];
        }
    }
    code = deep_write_rows(c, o->output, "kpc, (km/s)^2, (km/s)^2/kpc, Msun/kpc^3, Msun/kpc^2",
                           name, width, n, rows);
    free(rows);
    if (code == CLI_OK) printf("%lu places\nwrote %s\n", (unsigned long)n, o->output);
    return code;
}

static int eval_rotation(af_context *c, const eval_settings *o, size_t count, dp_potential **p) {
    static const char *const name[3] = {"R", "v_circ", "v_circ_error"};
    size_t m = o->radii.count, i, k;
    double *radii, *speed, *rows;
    int code = CLI_OK;
    if (!o->rotation_output) return CLI_OK;
    radii = (double *)cli_allocate(5 * m, sizeof *radii);
    speed = radii + m;
    rows = radii + 2 * m;
    for (i = 0; i < m; i++) radii[i] = rows[3 * i] = deep_range_at(&o->radii, i);
    for (k = 0; k < count && code == CLI_OK; k++) {
        if (dp_circular_velocity(p[k], m, radii, 0, speed) != AF_OK) code = cli_fail_library(c);
        for (i = 0; i < m; i++) { /* Welford */
            double away = speed[i] - rows[3 * i + 1];
            rows[3 * i + 1] += away / (double)(k + 1);
            rows[3 * i + 2] += away * (speed[i] - rows[3 * i + 1]);
        }
    }
    for (i = 0; i < m && count > 1; i++)
        rows[3 * i + 2] = sqrt(rows[3 * i + 2] / (double)(count - 1));
    for (i = 0; i < m && count == 1; i++) memmove(rows + 2 * i, rows + 3 * i, 2 * sizeof *rows);
    if (code == CLI_OK)
        code = deep_write_rows(c, o->rotation_output, "kpc, km/s", name, count > 1 ? 3 : 2, m,
                               rows);
    if (code == CLI_OK) printf("wrote %s\n", o->rotation_output);
    free(radii);
    return code;
}

/* ---- check ---- */

static int eval_check(const eval_settings *o, size_t n, const double *x, const double *mean) {
    double *at = (double *)cli_allocate(8 * n, sizeof *at), *phi = at + 3 * n, *a = at + 4 * n;
    double *density = at + 7 * n, *zero = (double *)cli_allocate(3 * n, sizeof *zero);
    deep_errors e, untrained;
    size_t i, m = 0;
    for (i = 0; i < n; i++) {
        const double *y = x + 3 * i;
        if (o->within > 0.0 && !(y[0] * y[0] + y[1] * y[1] + y[2] * y[2] < o->within * o->within))
            continue;
        memcpy(at + 3 * m, y, 3 * sizeof *at);
        phi[m] = mean[EVAL_MOST * i];
        memcpy(a + 3 * m, mean + EVAL_MOST * i + 1, 3 * sizeof *at);
        density[m++] = mean[EVAL_MOST * i + 4];
    }
    e = deep_errors_of(m, at, phi, a, density, o->parts, o->part_count);
    untrained = deep_errors_of(m, at, zero, zero, zero, o->parts, o->part_count);
    if (m) deep_errors_print(&e, &untrained, m);
    free(at);
    free(zero);
    return m ? CLI_OK : cli_fail("no point lies inside --within %g", o->within);
}

/* ---- the command ---- */

static int eval_points(af_context *c, const eval_settings *o, size_t count, dp_potential **p,
                       const char *path) {
    size_t n = 0;
    double *x = NULL, *mean;
    int code = deep_read_places(c, path, &n, &x);
    if (code == CLI_OK) {
        mean = (double *)cli_allocate(2 * n * EVAL_MOST, sizeof *mean);
        code = eval_mean(c, o, count, p, n, x, mean, mean + n * EVAL_MOST);
        if (code == CLI_OK && o->output)
            code = eval_write(c, o, count, n, x, mean, mean + n * EVAL_MOST);
        if (code == CLI_OK && o->check) code = eval_check(o, n, x, mean);
        free(mean);
    }
    free(x);
    return code;
}

static int eval_all(af_context *c, const eval_settings *o, size_t given, const char *const *path) {
    int places = o->output || o->check;
    size_t count = places ? given - 1 : given, k;
    dp_potential **p = (dp_potential **)cli_allocate(count, sizeof *p);
    int code = CLI_OK;
    for (k = 0; k < count && code == CLI_OK; k++) code = deep_open_potential(c, path[k], &p[k]);
    if (code == CLI_OK && count > 1) printf("mean of %lu potentials\n", (unsigned long)count);
    if (code == CLI_OK && places) code = eval_points(c, o, count, p, path[given - 1]);
    if (code == CLI_OK) code = eval_rotation(c, o, count, p);
    for (k = 0; k < count; k++) dp_potential_destroy(p[k]);
    free(p);
    return code;
}

static int eval_conflicts(eval_settings *o, size_t given) {
    int places = o->output || o->check, code;
    if (!places && !o->rotation_output)
        return cli_usage(NAME, "-o FILE.csv, --check or --rotation-curve is missing");
    if (places && given < 2) return cli_usage(NAME, "it takes PHI... and POINTS");
    if (!places && (o->surface > 0.0 || o->sphere > 0.0 || o->within > 0.0))
        return cli_usage(NAME, "columns at points need POINTS and -o FILE.csv");
    if (o->within > 0.0 && !o->check) return cli_usage(NAME, "--within goes with --check");
    if ((o->rotation_output != NULL) != (o->rotation != NULL))
        return cli_usage(NAME, "--rotation-curve FILE.csv and --radii FROM:TO:N come together");
    if (o->output && (code = cli_check_table(NAME, o->output)) >= 0) return code;
    if ((code = deep_range_of(NAME, "radii", o->rotation, &o->radii)) >= 0) return code;
    return deep_parts(NAME, "check", o->check, o->parts, NULL, &o->part_count);
}

/* Returns like cli_parse. */
static int eval_parse(const cli_command *command, int count, char **words, eval_settings *o,
                      const char **path, size_t *given) {
    cli_option options[DEEP_OPTIONS];
    int code;
    memset(o, 0, sizeof *o);
    code = cli_parse(command, options, eval_options(o, options), count, words, path, -1);
    while (path[*given]) ++*given;
    return code < 0 ? eval_conflicts(o, *given) : code;
}

int deep_eval_check(const cli_command *command, int count, char **words) {
    const char **path = (const char **)cli_allocate((size_t)count + 1, sizeof *path);
    eval_settings o;
    size_t given = 0;
    int code = eval_parse(command, count, words, &o, path, &given);
    free(path);
    return code;
}

int deep_eval(const cli_command *command, int count, char **words) {
    const char **path = (const char **)cli_allocate((size_t)count + 1, sizeof *path);
    eval_settings o;
    size_t given = 0;
    const char *outputs[2];
    af_context *c = NULL;
    int code = eval_parse(command, count, words, &o, path, &given);
    if (code < 0) {
        outputs[0] = o.output;
        outputs[1] = o.rotation_output;
        code = cli_check_outputs(outputs, 2, path, given);
        if (code == CLI_OK) code = cli_context(o.threads, &c);
        if (code == CLI_OK) code = eval_all(c, &o, given, path);
    }
    af_context_destroy(c);
    free(path);
    return code;
}
