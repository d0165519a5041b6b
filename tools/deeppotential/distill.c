/* deeppotential distill: formulas for the potential that a network has learned. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "distill";

enum { DISTILL_DIRECTIONS = 64 }; /* a potential is averaged over so many at each place */

typedef struct distill_settings {
    const char *inputs, *radii, *heights, *at;
    size_t n;
    deep_range radius, height;
    int plane; /* R and z, not r */
    deep_formulas f;
} distill_settings;

static size_t distill_options(distill_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"inputs", CLI_TEXT, &o->inputs, "WORD", "variables of the formula: r (default) or rz"},
        {"radii", CLI_TEXT, &o->radii, "FROM:TO:N", "where: r, by equal factors; or R, evenly"},
        {"heights", CLI_TEXT, &o->heights, "FROM:TO:N", "with --inputs rz: z, evenly"},
        {"at", CLI_TEXT, &o->at, "POINTS", "instead: at these places, like the stars"},
        {"n", CLI_COUNT, &o->n, "N", "of POINTS the first N"},
        DEEP_FORMULAS_OPTIONS(&o->f),
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

/* ---- places ---- */

/* Rows of the formula's data: variables r, or R and z; phi; the acceleration a_r, or a_R and a_z;
 * each the mean over `each` points. */
typedef struct distill_data {
    size_t n, each, variables;
    double *x;                 /* (n, each, 3), about the centre */
    double *variable[2], *phi, *force[2]; /* (n) */
    double scatter;            /* rms of phi over the points of a row, over the range of phi */
    double *memory;
} distill_data;

static void distill_data_make(distill_data *d, size_t n, size_t each, size_t variables) {
    double *m = (double *)cli_allocate(n * (5 + 3 * each), sizeof *m);
    memset(d, 0, sizeof *d);
    d->n = n;
    d->each = each;
    d->variables = variables;
    d->memory = m;
    d->variable[0] = m;
    d->variable[1] = m + n;
    d->phi = m + 2 * n;
    d->force[0] = m + 3 * n;
    d->force[1] = m + 4 * n;
    d->x = m + 5 * n;
}

/* Direction k: evenly about the axis; over the sphere by the golden angle (a Fibonacci lattice). */
static void distill_direction(int plane, size_t k, double u[3]) {
    const double pi = acos(-1.0);
    double turn = plane ? 1.0 / DISTILL_DIRECTIONS : 0.5 * (3.0 - sqrt(5.0));
    double z = plane ? 0.0 : 1.0 - (2.0 * (double)k + 1.0) / DISTILL_DIRECTIONS;
    double s = sqrt(1.0 - z * z), angle = 2.0 * pi * turn * (double)k;
    u[0] = s * cos(angle);
    u[1] = s * sin(angle);
    u[2] = z;
}

static void distill_grid(const distill_settings *o, distill_data *d) {
    size_t heights = o->plane ? o->height.count : 1, i, k, j;
    distill_data_make(d, o->radius.count * heights, DISTILL_DIRECTIONS, o->plane ? 2 : 1);
    for (i = 0; i < d->n; i++) {
        double part = (double)(i / heights) / (double)(o->radius.count - 1);
        double r = o->plane ? deep_range_at(&o->radius, i / heights)
                            : o->radius.low * pow(o->radius.high / o->radius.low, part);
        double z = o->plane ? deep_range_at(&o->height, i % heights) : 0.0;
        d->variable[0][i] = r;
        d->variable[1][i] = z;
        for (k = 0; k < d->each; k++) {
            double u[3], *x = d->x + 3 * (i * d->each + k);
            distill_direction(o->plane, k, u);
            for (j = 0; j < 3; j++) x[j] = r * u[j] + (j == 2 ? z : 0.0);
        }
    }
}

static int distill_places(af_context *c, const distill_settings *o, const double centre[2],
                          distill_data *d) {
    double *x;
    size_t n, i, j;
    int code = deep_read_places(c, o->at, &n, &x);
    if (code == CLI_OK) {
        if (o->n && o->n < n) n = o->n;
        distill_data_make(d, n, 1, o->plane ? 2 : 1);
        for (i = 0; i < n; i++) {
            double *to = d->x + 3 * i;
            for (j = 0; j < 3; j++) to[j] = x[3 * i + j] - (j < 2 ? centre[j] : 0.0);
            d->variable[0][i] = hypot(to[0], to[1]);
            d->variable[1][i] = to[2];
            if (!o->plane) d->variable[0][i] = hypot(d->variable[0][i], to[2]);
        }
    }
    free(x);
    return code;
}

/* ---- the potential there ---- */

/* Adds 1/count of a potential's values at all points: phi (points), force (2, points). */
static int distill_evaluate(af_context *c, dp_potential *p, const distill_data *d,
                            const double centre[2], double share, double *phi, double *force) {
    size_t m = d->n * d->each, i, j;
    double *x = (double *)cli_allocate(7 * m, sizeof *x), *value = x + 3 * m, *a = x + 4 * m;
    double level = 0.0;
    int code = CLI_OK;
    for (i = 0; i < m; i++)
        for (j = 0; j < 3; j++) x[3 * i + j] = d->x[3 * i + j] + (j < 2 ? centre[j] : 0.0);
    if (dp_potential_evaluate(p, m, x, value, a, NULL) != AF_OK) code = cli_fail_library(c);
    for (i = 0; i < m; i++) level += value[i] / (double)m;
    for (i = 0; i < m && code == CLI_OK; i++) {
        const double *at = d->x + 3 * i, *ai = a + 3 * i;
        double across = at[0] * ai[0] + at[1] * ai[1], radius = hypot(at[0], at[1]);
        phi[i] += share * (value[i] - (share < 1.0 ? level : 0.0)); /* an ensemble's offsets */
        if (d->variables == 1) {
            across += at[2] * ai[2];
            radius = hypot(radius, at[2]);
        }
        force[i] += radius > 0.0 ? share * across / radius : 0.0;
        force[m + i] += share * ai[2];
    }
    free(x);
    return code;
}

/* Means over the points of each row. */
static void distill_mean(distill_data *d, const double *phi, const double *force) {
    size_t m = d->n * d->each, i, k;
    double square = 0.0, low = HUGE_VAL, high = -HUGE_VAL;
    for (i = 0; i < d->n; i++) {
        for (k = i * d->each; k < (i + 1) * d->each; k++) {
            d->phi[i] += phi[k] / (double)d->each;
            d->force[0][i] += force[k] / (double)d->each;
            d->force[1][i] += force[m + k] / (double)d->each;
        }
        for (k = i * d->each; k < (i + 1) * d->each; k++)
            square += (phi[k] - d->phi[i]) * (phi[k] - d->phi[i]) / (double)m;
        low = fmin(low, d->phi[i]);
        high = fmax(high, d->phi[i]);
    }
    d->scatter = sqrt(square) / (high - low);
}

static int distill_sample(af_context *c, const distill_settings *o, size_t count,
                          const char *const *path, distill_data *d) {
    dp_potential *p = NULL;
    dp_frame frame;
    double *phi = NULL, centre[2] = {0.0, 0.0};
    size_t k, m = 0;
    int code = CLI_OK;
    for (k = 0; k < count && code == CLI_OK; k++) {
        code = deep_open_potential(c, path[k], &p);
        if (code == CLI_OK && k == 0) {
            frame = dp_potential_frame(p);
            memcpy(centre, frame.centre, sizeof centre);
            if (o->at) code = distill_places(c, o, centre, d);
            else distill_grid(o, d);
            m = d->n * d->each;
            phi = (double *)cli_allocate(3 * m, sizeof *phi);
        }
        if (code == CLI_OK)
            code = distill_evaluate(c, p, d, centre, 1.0 / (double)count, phi, phi + m);
        dp_potential_destroy(p);
        p = NULL;
    }
    if (code == CLI_OK) distill_mean(d, phi, phi + m);
    free(phi);
    return code;
}

/* ---- the force of a formula ---- */

/* rms of the vector -grad f - a over that of a, for each formula of the front. */
static double *distill_forces(const deep_formulas *f, const distill_data *d) {
    const dp_symbolic_result *r = f->result;
    double *error = (double *)cli_allocate(r->count, sizeof *error);
    double *value = (double *)cli_allocate(3 * d->n, sizeof *value), *slope = value + d->n;
    size_t e, i, k;
    for (e = 0; e < r->count; e++) {
        double constants[DP_SYMBOLS_MAX], off = 0.0, all = 0.0;
        deep_formulas_constants(f, &r->front[e], 0, constants);
        dp_formula_tangents(&r->vocabulary, &r->front[e].formula, d->n, f->sets[0].columns,
                            constants, value, NULL, slope);
        for (k = 0; k < d->variables; k++)
            for (i = 0; i < d->n; i++) {
                double a = d->force[k][i], away = slope[k * d->n + i] + a;
                if (!isfinite(away)) continue; /* on the axis, where the mean force is none */
                off += away * away;
                all += a * a;
            }
        error[e] = sqrt(off / all);
    }
    free(value);
    return error;
}

/* ---- the command ---- */

/* Heights, which may be negative. */
static int distill_heights(distill_settings *o) {
    deep_range *h = &o->height;
    unsigned n = 0;
    char rest;
    if (!o->heights) return -1;
    if (sscanf(o->heights, "%lf:%lf:%u%c", &h->low, &h->high, &n, &rest) != 3 ||
        !(h->high > h->low) || !isfinite(h->high - h->low) || n < 2 || n > 1000000)
        return cli_usage(NAME, "--heights takes FROM:TO:N, like -3:3:15, not '%s'", o->heights);
    h->count = n;
    return -1;
}

static int distill_places_check(distill_settings *o) {
    static const char *const inputs[2] = {"r", "rz"};
    int code = cli_word(NAME, "inputs", o->inputs, inputs, 2, &o->plane);
    if (code >= 0) return code;
    if ((o->at != NULL) == (o->radii != NULL))
        return cli_usage(NAME, "--radii FROM:TO:N or --at POINTS says where it is taken");
    if (o->n && !o->at) return cli_usage(NAME, "-n goes with --at POINTS");
    if (o->heights && (!o->plane || o->at))
        return cli_usage(NAME, "--heights goes with --inputs rz and --radii");
    if (o->plane && o->radii && !o->heights)
        return cli_usage(NAME, "--inputs rz needs --heights FROM:TO:N, too");
    if ((code = deep_range_of(NAME, "radii", o->radii, &o->radius)) >= 0) return code;
    if (o->radii && !o->plane && !(o->radius.low > 0.0))
        return cli_usage(NAME, "--radii begins at 0; with factors between radii it must be above");
    return distill_heights(o);
}

/* kpc and km/s; by default two lengths in the plane, one otherwise, and an offset. */
static int distill_check(distill_settings *o) {
    int code = distill_places_check(o);
    if (code >= 0) return code;
    if (!o->f.constants)
        o->f.constants = o->plane ? "GM:kpc*km^2/s^2,a:kpc,b:kpc" : "GM:kpc*km^2/s^2,b:kpc";
    if (!o->f.affine) o->f.affine = "offset"; /* a network's constant is arbitrary */
    deep_formulas_fitted(&o->f, "phi:km^2/s^2");
    code = deep_formulas_add(&o->f, NAME, "inputs", DP_VARIABLE,
                             o->plane ? "R:kpc,z:kpc" : "r:kpc");
    return code < 0 ? deep_formulas_options(&o->f, NAME) : code;
}

static int distill_run(af_context *c, distill_settings *o, size_t count, const char *const *path) {
    distill_data d;
    dp_data_set set;
    const double *columns[2];
    double *forces;
    int code;
    memset(&d, 0, sizeof d);
    memset(&set, 0, sizeof set);
    code = distill_sample(c, o, count, path, &d);
    columns[0] = d.variable[0];
    columns[1] = d.variable[1];
    set.n = d.n;
    set.columns = columns;
    set.y = d.phi;
    if (code == CLI_OK && !o->f.quiet) {
        printf("potential at %lu places", (unsigned long)d.n);
        if (d.each > 1)
            printf(", each the mean of %lu directions, among which it scatters by\n"
                   "%.3g %% of its range", (unsigned long)d.each, 100.0 * d.scatter);
        printf("\n");
    }
    if (code == CLI_OK) code = deep_formulas_search(c, &o->f, &set, 1);
    if (code == CLI_OK) {
        forces = distill_forces(&o->f, &d);
        code = deep_formulas_report(c, &o->f, "of force", forces);
        free(forces);
    }
    free(d.memory);
    return code;
}

int deep_distill(const cli_command *command, int count, char **words) {
    const char **path = (const char **)cli_allocate((size_t)count + 1, sizeof *path);
    cli_option options[DEEP_OPTIONS];
    distill_settings o;
    size_t given = 0;
    af_context *c = NULL;
    int code;
    memset(&o, 0, sizeof o);
    code = cli_parse(command, options, distill_options(&o, options), count, words, path, -1);
    while (path[given]) given++;
    if (code < 0) code = distill_check(&o);
    if (code < 0) {
        code = cli_check_output(o.f.output, path, given);
        if (code == CLI_OK) code = cli_check_output(o.f.c_path, path, given);
        if (code == CLI_OK) code = cli_check_output(o.f.latex, path, given);
        if (code == CLI_OK) code = cli_context(o.f.threads, &c);
        if (code == CLI_OK) code = distill_run(c, &o, given, path);
    }
    deep_formulas_free(&o.f);
    af_context_destroy(c);
    free(path);
    return code;
}
