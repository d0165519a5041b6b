/* actionfinder mock: orbits in a known potential, and their true actions. */
#include "cli.h"
#include "mock_truth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#  include <omp.h>
#endif

typedef enum mock_kind { MOCK_DISC_HALO = 0, MOCK_ISOCHRONE, MOCK_DB98, MOCK_PJM14 } mock_kind;

/* The galaxy: a Milky-Way-like sum with v_c(8 kpc) = 229 km/s; the isochrone of the shared test
 * sets, in which actions are exact; or a mass model of discs and spheroids. Documented in the
 * command's help. */
typedef struct mock_galaxy {
    af_potential parts[4];
    af_potential_sum sum;
    af_isochrone isochrone; /* mass 0: not one */
    af_galaxy *model;       /* NULL: the sum instead */
    af_field field;         /* of the one or the other */
} mock_galaxy;

static int mock_galaxy_make(af_context *c, mock_galaxy *g, mock_kind kind) {
    af_galaxy_desc desc;
    memset(g, 0, sizeof *g);
    memset(&desc, 0, sizeof desc);
    if (kind == MOCK_DB98 || kind == MOCK_PJM14) {
        if (kind == MOCK_DB98) af_galaxy_desc_dehnen_binney_1(&desc);
        else af_galaxy_desc_piffl_2014(&desc);
        if (af_galaxy_create(c, &desc, &g->model) != AF_OK) return cli_fail_library(c);
        g->field = af_field_of_galaxy(g->model);
        return CLI_OK;
    }
    g->sum.parts = g->parts;
    g->field = af_field_of_potential(&g->sum);
    if (kind == MOCK_ISOCHRONE) {
        g->isochrone.mass = 3.334e11;
        g->isochrone.scale = 5.0;
        g->parts[0] = af_isochrone_potential(&g->isochrone);
        g->sum.count = 1;
        return CLI_OK;
    }
    g->parts[0] = af_potential_miyamoto_nagai(4.6e10, 3.0, 0.28);
    g->parts[1] = af_potential_miyamoto_nagai(1.1e10, 2.5, 0.9);
    g->parts[2] = af_potential_plummer(0.9e10, 0.4);
    g->parts[3] = af_potential_nfw(6.6e11, 17.0);
    g->sum.count = 4;
    return CLI_OK;
}

static double mock_circular_speed(const mock_galaxy *g, double radius) {
    if (g->model) return af_galaxy_circular_speed(g->model, radius);
    return af_potential_circular_speed(g->sum.parts, g->sum.count, radius);
}

typedef struct mock_options {
    const char *output, *truth, *truth_error, *angles, *potential, *kind;
    size_t streams, stars, seed, threads;
    double span; /* Gyr */
    int even, disc;
    mock_kind galaxy;
} mock_options;

typedef struct mock_run {
    mock_options o;
    mock_galaxy galaxy;
    double *xv, *j, *error,
        *theta; /* (S,N,6), (S,3), (S,3), (S,N,3); the last three NULL: not wanted */
} mock_run;

static const double MOCK_TURN = 6.283185307179586;

/* ---- where orbits begin ---- */

/* The numbers of one stream come one after the other from its own sequence. */
typedef struct mock_dice {
    uint64_t seed, stream, index;
} mock_dice;

static double mock_uniform(mock_dice *d) {
    return af_random_uniform(d->seed, d->stream, d->index++);
}
static double mock_normal(mock_dice *d) { return af_random_normal(d->seed, d->stream, d->index++); }

static void mock_direction(mock_dice *d, double length, double out[3]) {
    double z = 2.0 * mock_uniform(d) - 1.0, phi = MOCK_TURN * mock_uniform(d),
           across = sqrt(1.0 - z * z);
    out[0] = length * across * cos(phi);
    out[1] = length * across * sin(phi);
    out[2] = length * z;
}

/* Section 6.1 of the paper: radius uniform in 6 to 16 kpc in a random direction, speed |N(0, 150
 * km/s)| in a random direction. */
static void mock_halo_start(mock_dice *d, double xv[6]) {
    mock_direction(d, 6.0 + 10.0 * mock_uniform(d), xv);
    mock_direction(d, 150.0 * fabs(mock_normal(d)), xv + 3);
}

/* Disc stars: R uniform in 5 to 13 kpc, in the plane, the circular speed and on top of it normal
 * velocities with 35, 25 and 20 km/s in R, phi and z. */
static void mock_disc_start(const mock_galaxy *g, mock_dice *d, double xv[6]) {
    double radius = 5.0 + 8.0 * mock_uniform(d), phi = MOCK_TURN * mock_uniform(d);
    double outward = 35.0 * mock_normal(d), around = 25.0 * mock_normal(d),
           up = 20.0 * mock_normal(d);
    around += mock_circular_speed(g, radius);
    xv[0] = radius * cos(phi);
    xv[1] = radius * sin(phi);
    xv[2] = 0.0;
    xv[3] = outward * cos(phi) - around * sin(phi);
    xv[4] = outward * sin(phi) + around * cos(phi);
    xv[5] = up;
}

static void mock_start(const mock_run *r, mock_dice *d, double xv[6]) {
    for (;;) {
        double e;
        if (r->o.disc)
            mock_disc_start(&r->galaxy, d, xv);
        else
            mock_halo_start(d, xv);
        e = r->galaxy.field.value(xv, r->galaxy.field.user) +
            0.5 * (xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]);
        if (e < 0.0) return;
    }
}

/* ---- one stream ---- */

static int mock_earlier(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void mock_times(const mock_run *r, mock_dice *d, double *time) {
    size_t i, n = r->o.stars;
    for (i = 0; i < n; i++)
        time[i] = r->o.even ? r->o.span * (double)i / (double)(n > 1 ? n - 1 : 1)
                            : r->o.span * mock_uniform(d);
    qsort(time, n, sizeof *time, mock_earlier);
}

/* The points of the orbit at these times, each reached in steps of at most 0.1 Myr: the energy is
 * kept to 1e-9 even where the orbit passes the centre, in the models with thin discs to 2e-7. */
static int mock_orbit(const mock_run *r, const double start[6], const double *time, double *xv) {
    af_force force = af_force_of_field(&r->galaxy.field);
    double pair[12], now = 0.0;
    size_t i;
    memcpy(pair, start, 6 * sizeof *pair);
    for (i = 0; i < r->o.stars; i++) {
        size_t steps = 1 + (size_t)((time[i] - now) / 1e-4);
        if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, force, pair, time[i] - now, steps, 2,
                               pair) != AF_OK)
            return 0;
        memcpy(pair, pair + 6, 6 * sizeof *pair);
        memcpy(xv + 6 * i, pair, 6 * sizeof *pair);
        now = time[i];
    }
    return 1;
}

static int mock_true_values(const mock_run *r, af_context *c, size_t s, const double start[6],
                            const double *time) {
    mock_truth t;
    size_t i, k, n = r->o.stars;
    memset(&t, 0, sizeof t);
    if (r->galaxy.isochrone.mass > 0.0)
        af_isochrone_actions(&r->galaxy.isochrone, start, t.j, t.theta, t.omega);
    else if (!mock_truth_in_field(c, &r->galaxy.field, start, &t))
        return 0;
    for (k = 0; k < 3; k++) {
        r->j[3 * s + k] = t.j[k];
        r->error[3 * s + k] = t.error[k];
        for (i = 0; i < n; i++) {
            double theta = fmod(t.theta[k] + t.omega[k] * af_time_from_gyr(time[i]), MOCK_TURN);
            r->theta[3 * (s * n + i) + k] = theta < 0.0 ? theta + MOCK_TURN : theta;
        }
    }
    return 1;
}

static int mock_stream(const mock_run *r, size_t s) {
    mock_dice dice;
    double start[6], *time = (double *)malloc(r->o.stars * sizeof *time);
    af_context *c = NULL; /* one a stream: contexts are not shared by threads */
    int good = time && af_context_create(NULL, &c) == AF_OK;
    dice.seed = r->o.seed;
    dice.stream = s;
    dice.index = 0;
    if (good) {
        do { /* an orbit through the very centre may not come out finite: another one */
            mock_start(r, &dice, start);
            mock_times(r, &dice, time);
        } while (!mock_orbit(r, start, time, r->xv + 6 * s * r->o.stars));
        if (r->j) good = mock_true_values(r, c, s, start, time);
    }
    af_context_destroy(c);
    free(time);
    return good;
}

/* ---- all streams ---- */

static int mock_all(mock_run *r) {
    long s, n = (long)r->o.streams, lost = 0;
#ifdef _OPENMP
    int threads = r->o.threads ? (int)r->o.threads : omp_get_max_threads();
#  pragma omp parallel for schedule(dynamic, 1) num_threads(threads) reduction(+ : lost)
#endif
    for (s = 0; s < n; s++) lost += !mock_stream(r, (size_t)s);
    return lost == 0;
}

static void mock_say(const mock_run *r) {
    size_t s, good = 0, gold = 0;
    for (s = 0; s < r->o.streams && r->j; s++) {
        double worst = fmax(r->error[3 * s + 1], r->error[3 * s + 2]);
        good += isfinite(r->j[3 * s + 1]) ? 1u : 0u;
        gold += worst < 0.1 ? 1u : 0u;
    }
    printf("%lu streams of %lu stars within %g Gyr\n", (unsigned long)r->o.streams,
           (unsigned long)r->o.stars, r->o.span);
    if (r->j)
        printf("true actions of %lu streams; of %lu the two halves of the orbit agree to "
               "0.1 km/s kpc\n",
               (unsigned long)good, (unsigned long)gold);
}

static int mock_write(af_context *c, const char *path, int rank, const size_t *dims,
                      const double *data) {
    if (!path) return CLI_OK;
    if (af_npy_write(c, path, rank, dims, data) != AF_OK) return cli_fail_library(c);
    printf("wrote %s\n", path);
    return CLI_OK;
}

static int mock_write_all(const mock_run *r, af_context *c) {
    size_t d[3], flat[2];
    int code;
    d[0] = flat[0] = r->o.streams;
    d[1] = r->o.stars;
    d[2] = 6;
    flat[1] = 3;
    code = mock_write(c, r->o.output, 3, d, r->xv);
    d[2] = 3;
    if (code == CLI_OK) code = mock_write(c, r->o.truth, 2, flat, r->j);
    if (code == CLI_OK) code = mock_write(c, r->o.truth_error, 2, flat, r->error);
    if (code == CLI_OK) code = mock_write(c, r->o.angles, 3, d, r->theta);
    return code;
}

static int mock_run_all(mock_run *r) {
    af_context *c;
    size_t s = r->o.streams, n = r->o.stars;
    int code;
    if (af_context_create(NULL, &c) != AF_OK) return cli_fail("out of memory");
    if ((code = mock_galaxy_make(c, &r->galaxy, r->o.galaxy)) != CLI_OK) {
        af_context_destroy(c);
        return code;
    }
    r->xv = (double *)cli_allocate(s * n * 6, sizeof *r->xv);
    if (r->o.truth || r->o.truth_error || r->o.angles) {
        r->j = (double *)cli_allocate(s * 3, sizeof *r->j);
        r->error = (double *)cli_allocate(s * 3, sizeof *r->error);
        r->theta = (double *)cli_allocate(s * n * 3, sizeof *r->theta);
    }
    code = mock_all(r) ? CLI_OK : cli_fail("out of memory");
    if (code == CLI_OK) mock_say(r);
    if (code == CLI_OK) code = mock_write_all(r, c);
    free(r->xv);
    free(r->j);
    free(r->error);
    free(r->theta);
    af_galaxy_destroy(r->galaxy.model);
    af_context_destroy(c);
    return code;
}

static int mock_check_options(mock_run *r) {
    static const char *const potential[4] = {"disc-halo", "isochrone", "db98", "pjm14"};
    mock_options *o = &r->o;
    const char *path[4];
    size_t i;
    int code, word;
    if (!o->output) return cli_usage("mock", "-o xv.npy is missing: where the orbits go");
    if ((code = cli_word("mock", "potential", o->potential, potential, 4, &word)) >= 0) return code;
    o->galaxy = (mock_kind)word;
    code = CLI_OK;
    o->disc = o->kind && strcmp(o->kind, "disc") == 0;
    if (o->kind && !o->disc && strcmp(o->kind, "halo") != 0)
        return cli_usage("mock", "--kind is halo or disc, not '%s'", o->kind);
    if (!(o->span > 0.0)) o->span = o->disc ? 3.0 : 0.1;
    path[0] = o->output;
    path[1] = o->truth;
    path[2] = o->truth_error;
    path[3] = o->angles;
    for (i = 0; i < 4 && code == CLI_OK; i++) code = cli_check_output(path[i], NULL, 0);
    return code;
}

int cli_mock(const cli_command *command, int count, char **words) {
    mock_run r;
    const char *none[1];
    int code;
    memset(&r, 0, sizeof r);
    r.o.streams = 1024;
    r.o.stars = 8;
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &r.o.output, "FILE.npy", "the orbits, (S,N,6) [kpc, km/s]"},
            {"streams", CLI_COUNT, &r.o.streams, "N", "default 1024"},
            {"stars", CLI_COUNT, &r.o.stars, "N", "of a stream; default 8"},
            {"seed", CLI_SEED, &r.o.seed, "K", "default 0"},
            {"potential", CLI_TEXT, &r.o.potential, "WORD", 
             "disc-halo (default), isochrone, db98 or pjm14"},
            {"kind", CLI_TEXT, &r.o.kind, "WORD", "halo (default) or disc: which orbits"},
            {"span", CLI_NUMBER, &r.o.span, "GYR",
             "times of the stars are in 0 to this; default 0.1, disc 3"},
            {"even", CLI_FLAG, &r.o.even, NULL, "evenly spaced times; default random ones"},
            {"truth", CLI_TEXT, &r.o.truth, "J.npy", "true actions (S,3) [km/s kpc]"},
            {"truth-error", CLI_TEXT, &r.o.truth_error, "E.npy", "their own error (S,3)"},
            {"angles", CLI_TEXT, &r.o.angles, "T.npy", "true angles (S,N,3) [rad]"},
            {"threads", CLI_COUNT, &r.o.threads, "N",
             "default: all cores; results do not depend on it"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, none, 0);
    }
    if (code >= 0) return code;
    code = mock_check_options(&r);
    return code == CLI_OK ? mock_run_all(&r) : code;
}
