/* actionfinder koopman mock: trajectories to try the Koopman autoencoder with. */
#include "koopman.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "koopman mock";

typedef enum kmock_system { KMOCK_OSCILLATOR, KMOCK_SLAB, KMOCK_COUPLED } kmock_system;

typedef struct kmock_options {
    const char *output;
    size_t orbits, samples, seed;
    double span, noise;
    int irregular;
    kmock_system system;
} kmock_options;

/* An isothermal slab of sigma = 1 in each of the first `count` coordinates. */
typedef struct kmock_slabs {
    double height[2];
    int count;
} kmock_slabs;

/* Phi = 2 ln cosh(s/2h) */
static void kmock_pull(const double x[3], double acceleration[3], void *user) {
    const kmock_slabs *slabs = (const kmock_slabs *)user;
    int i;
    for (i = 0; i < 3; i++) acceleration[i] = 0.0;
    for (i = 0; i < slabs->count; i++)
        acceleration[i] = -tanh(0.5 * x[i] / slabs->height[i]) / slabs->height[i];
}

/* The numbers of one orbit come one after the other from its own sequence. */
typedef struct kmock_dice {
    uint64_t seed, orbit, index;
} kmock_dice;

static double kmock_uniform(kmock_dice *d) {
    return af_random_uniform(d->seed, d->orbit, d->index++);
}

static int kmock_earlier(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void kmock_times(const kmock_options *o, kmock_dice *d, double *time) {
    size_t i, n = o->samples;
    for (i = 0; i < n; i++)
        time[i] = o->irregular ? o->span * kmock_uniform(d)
                               : o->span * (double)i / (double)(n - 1);
    qsort(time, n, sizeof *time, kmock_earlier);
}

/* Amplitudes cover 0.3 to 2.5 evenly; the first coordinate goes through them in order, the second
 * takes any. xv is (x,y,z,vx,vy,vz). */
static void kmock_start(const kmock_options *o, kmock_dice *d, const kmock_slabs *slabs,
                        double xv[6]) {
    int i;
    memset(xv, 0, 6 * sizeof *xv);
    for (i = 0; i < slabs->count; i++) {
        double place = kmock_uniform(d), phase = 6.283185307179586 * kmock_uniform(d), size;
        if (i == 0) place = ((double)d->orbit + place) / (double)o->orbits;
        size = 0.3 + 2.2 * place;
        /* about an ellipse: the slab's frequency at its middle is 1/(sqrt(2) h) */
        xv[i] = size * sin(phase);
        xv[3 + i] = size * cos(phase) * 0.7071 / slabs->height[i];
        if (o->system == KMOCK_OSCILLATOR) xv[3 + i] = 0.5 * size * cos(phase);
    }
}

/* The state after `time`, in steps of at most 0.005: the sixth-order method is then exact to 1e-13
 * over some ten units. The integrator counts times in Gyr. */
static int kmock_move(const kmock_options *o, kmock_slabs *slabs, double time, double xv[6]) {
    const double longest = 0.005;
    double pair[12], q = xv[0], p = xv[3];
    af_force force;
    if (o->system == KMOCK_OSCILLATOR) { /* Omega = 1/2 */
        xv[0] = q * cos(0.5 * time) + 2.0 * p * sin(0.5 * time);
        xv[3] = p * cos(0.5 * time) - 0.5 * q * sin(0.5 * time);
        return 1;
    }
    force.acceleration = kmock_pull;
    force.user = slabs;
    if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, force, xv, time / af_time_from_gyr(1.0),
                           1 + (size_t)(time / longest), 2, pair) != AF_OK)
        return 0;
    memcpy(xv, pair + 6, 6 * sizeof *xv);
    return 1;
}

/* (t, q, p) of a state; the axes of the coupled slabs are turned by 30 degrees. */
static void kmock_row(const kmock_options *o, kmock_dice *d, double time, const double xv[6],
                      double *row) {
    const double c = 0.86602540378443865, s = 0.5;
    size_t i, n = o->system == KMOCK_COUPLED ? 2 : 1;
    row[0] = time;
    for (i = 0; i < 2; i++) { /* positions, velocities */
        const double *x = xv + 3 * i;
        row[1 + n * i] = n == 2 ? c * x[0] - s * x[1] : x[0];
        if (n == 2) row[2 + n * i] = s * x[0] + c * x[1];
    }
    for (i = 1; i <= 2 * n && o->noise > 0.0; i++)
        row[i] += o->noise * af_random_normal(d->seed, d->orbit, d->index++);
}

static int kmock_orbit(const kmock_options *o, size_t orbit, double *time, double *rows) {
    kmock_slabs slabs = {{1.0, 0.7}, 1};
    kmock_dice dice = {0, 0, 0};
    double xv[6], now = 0.0;
    size_t i, columns = o->system == KMOCK_COUPLED ? 5 : 3;
    if (o->system == KMOCK_COUPLED) slabs.count = 2;
    dice.seed = o->seed;
    dice.orbit = orbit;
    kmock_start(o, &dice, &slabs, xv);
    kmock_times(o, &dice, time);
    for (i = 0; i < o->samples; i++) {
        if (!kmock_move(o, &slabs, time[i] - now, xv)) return 0;
        now = time[i];
        kmock_row(o, &dice, now, xv, rows + columns * i);
    }
    return 1;
}

static int kmock_write(af_context *c, const kmock_options *o, const double *data) {
    static const char *const one[4] = {"orbit", "t", "z", "vz"};
    static const char *const two[6] = {"orbit", "t", "x", "y", "vx", "vy"};
    static const char *const comment[3] = {
        "Phi = z^2/8", "Phi = 2 ln cosh(z/2)",
        "Phi = 2 ln cosh(s/2) + 2 ln cosh(r/1.4) along axes s, r turned by 30 degrees"};
    size_t i, rows = o->orbits * o->samples, dims[3], columns = o->system == KMOCK_COUPLED ? 5 : 3;
    double *table;
    int code;
    dims[0] = o->orbits;
    dims[1] = o->samples;
    dims[2] = columns;
    if (cli_ends_with(o->output, ".npy"))
        return af_npy_write(c, o->output, 3, dims, data) == AF_OK ? CLI_OK : cli_fail_library(c);
    table = (double *)cli_allocate(rows * (columns + 1), sizeof *table);
    for (i = 0; i < rows; i++) {
        table[(columns + 1) * i] = (double)(i / o->samples);
        memcpy(table + (columns + 1) * i + 1, data + columns * i, columns * sizeof *table);
    }
    code = koopman_write(c, o->output, comment[o->system],
                         o->system == KMOCK_COUPLED ? two : one, columns + 1, rows, table);
    free(table);
    return code;
}

static int kmock_run(const kmock_options *o) {
    size_t orbit, columns = o->system == KMOCK_COUPLED ? 5 : 3;
    double *time = (double *)cli_allocate(o->samples, sizeof *time);
    double *data = (double *)cli_allocate(o->orbits * o->samples, columns * sizeof *data);
    af_context *c = NULL;
    int code = cli_context(1, &c);
    for (orbit = 0; orbit < o->orbits && code == CLI_OK; orbit++)
        if (!kmock_orbit(o, orbit, time, data + orbit * o->samples * columns))
            code = cli_fail("orbit %lu leaves the finite numbers; a shorter --span may help",
                            (unsigned long)orbit);
    if (code == CLI_OK) code = kmock_write(c, o, data);
    if (code == CLI_OK)
        printf("%lu orbits of %lu samples within %g\nwrote %s\n", (unsigned long)o->orbits,
               (unsigned long)o->samples, o->span, o->output);
    free(time);
    free(data);
    af_context_destroy(c);
    return code;
}

int koopman_mock(const cli_command *command, int count, char **words) {
    static const char *const system[3] = {"oscillator", "slab", "coupled"};
    kmock_options o;
    const char *which[1];
    size_t i;
    int code, found = -1;
    memset(&o, 0, sizeof o);
    o.orbits = 16;
    o.samples = 32;
    o.span = 12.0;
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &o.output, "FILE", "TRAJ.csv or TRAJ.npy"},
            {"orbits", CLI_COUNT, &o.orbits, "N", "default 16"},
            {"samples", CLI_COUNT, &o.samples, "N", "of an orbit, at least 2; default 32"},
            {"span", CLI_NUMBER, &o.span, "T", "from the first to the last; default 12"},
            {"noise", CLI_NUMBER, &o.noise, "S", "normal noise of this size on q and p"},
            {"irregular", CLI_FLAG, &o.irregular, NULL, "random times; default even ones"},
            {"seed", CLI_SEED, &o.seed, "K", "default 0"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, which,
                         1);
    }
    if (code < 0) code = cli_check_table(NAME, o.output);
    if (code >= 0) return code;
    for (i = 0; i < 3; i++)
        if (strcmp(which[0], system[i]) == 0) found = (int)i;
    if (found < 0)
        return cli_usage(NAME, "the system is oscillator, slab or coupled, not '%s'", which[0]);
    if (o.samples < 2) return cli_usage(NAME, "--samples takes a whole number from 2 on");
    o.system = (kmock_system)found;
    code = cli_check_output(o.output, NULL, 0);
    return code == CLI_OK ? kmock_run(&o) : code;
}
