/* actionfinder mock: orbits in a known potential, and their true actions. */
#include "cli.h"
#include "mock_start.h"
#include "mock_truth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#  include <omp.h>
#endif

typedef struct mock_options {
    const char *output, *truth, *truth_error, *angles, *frequencies, *accelerations;
    const char *potential_word, *kind_word;
    size_t streams, stars, seed, threads;
    double span; /* Gyr; 0: MOCK_PERIODS of the orbit's radial periods */
    int even;
    mock_potential potential;
    mock_kind kind;
} mock_options;

typedef struct mock_run {
    mock_options o;
    mock_galaxy galaxy;
    double *xv, *acceleration;         /* (S,N,6), (S,N,3); the second may be NULL: not wanted */
    double *j, *error, *omega, *theta; /* (S,3) and (S,N,3); all NULL: not wanted */
} mock_run;

static const double MOCK_TURN = 6.283185307179586;
static const double MOCK_PERIODS = 30.0;

/* ---- one stream ---- */

static int mock_earlier(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void mock_times(const mock_run *r, double period, mock_dice *d, double *time) {
    double span = r->o.span > 0.0 ? r->o.span : MOCK_PERIODS * period;
    size_t i, n = r->o.stars;
    for (i = 0; i < n; i++)
        time[i] = r->o.even ? span * (double)i / (double)(n > 1 ? n - 1 : 1)
                            : span * mock_uniform(d);
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

/* In spheres the fudge with both foci in the centre is exact. */
static int mock_truth_of(const mock_run *r, af_context *c, const double start[6], mock_truth *t) {
    af_fudge sphere;
    memset(&sphere, 0, sizeof sphere);
    memset(t, 0, sizeof *t);
    sphere.field = r->galaxy.field;
    sphere.focus = AF_FOCUS_GIVEN;
    if (r->o.potential == MOCK_ISOCHRONE)
        af_isochrone_actions(&r->galaxy.isochrone, start, t->j, t->theta, t->omega);
    else if (r->o.potential == MOCK_PLUMMER)
        af_fudge_actions(&sphere, start, t->j, t->theta, t->omega);
    else
        return mock_truth_in_field(c, &r->galaxy.field, start, t);
    return 1;
}

static int mock_true_values(const mock_run *r, af_context *c, size_t s, const double start[6],
                            const double *time) {
    mock_truth t;
    size_t i, k, n = r->o.stars;
    if (!mock_truth_of(r, c, start, &t)) return 0;
    for (k = 0; k < 3; k++) {
        r->j[3 * s + k] = t.j[k];
        r->error[3 * s + k] = t.error[k];
        r->omega[3 * s + k] = t.omega[k];
        for (i = 0; i < n; i++) {
            double theta = fmod(t.theta[k] + t.omega[k] * af_time_from_gyr(time[i]), MOCK_TURN);
            r->theta[3 * (s * n + i) + k] = theta < 0.0 ? theta + MOCK_TURN : theta;
        }
    }
    return 1;
}

static void mock_accelerations(const mock_run *r, size_t s) {
    size_t i;
    for (i = s * r->o.stars; i < (s + 1) * r->o.stars && r->acceleration; i++)
        r->galaxy.field.acceleration(r->xv + 6 * i, r->acceleration + 3 * i, r->galaxy.field.user);
}

static int mock_stream(const mock_run *r, size_t s) {
    mock_dice dice;
    double start[6], period, *time = (double *)malloc(r->o.stars * sizeof *time);
    af_context *c = NULL; /* one a stream: contexts are not shared by threads */
    int good = time && af_context_create(NULL, &c) == AF_OK;
    dice.seed = r->o.seed;
    dice.stream = s;
    dice.index = 0;
    if (good) {
        do { /* an orbit through the very centre may not come out finite: another one */
            mock_start(&r->galaxy, r->o.kind, &dice, start, &period);
            mock_times(r, period, &dice, time);
        } while (!mock_orbit(r, start, time, r->xv + 6 * s * r->o.stars));
        mock_accelerations(r, s);
        if (r->j) good = mock_true_values(r, c, s, start, time);
    }
    af_context_destroy(c);
    free(time);
    return good;
}

/* ---- all streams ---- */

static int mock_all(mock_run *r) {
    long s, n = (long)r->o.streams, lost = 0, done = 0;
    cli_progress("makes streams", 0, (size_t)n);
#ifdef _OPENMP
    int threads = r->o.threads ? (int)r->o.threads : omp_get_max_threads();
#  pragma omp parallel for schedule(dynamic, 1) num_threads(threads) reduction(+ : lost)
#endif
    for (s = 0; s < n; s++) {
        lost += !mock_stream(r, (size_t)s);
#ifdef _OPENMP
#  pragma omp critical
#endif
        cli_progress("makes streams", (size_t)++done, (size_t)n);
    }
    return lost == 0;
}

static void mock_say(const mock_run *r) {
    size_t s, good = 0, gold = 0;
    for (s = 0; s < r->o.streams && r->j; s++) {
        double worst = fmax(r->error[3 * s + 1], r->error[3 * s + 2]);
        good += isfinite(r->j[3 * s + 1]) ? 1u : 0u;
        gold += worst < 0.1 ? 1u : 0u;
    }
    printf("%lu streams of %lu stars within %g %s\n", (unsigned long)r->o.streams,
           (unsigned long)r->o.stars, r->o.span > 0.0 ? r->o.span : MOCK_PERIODS,
           r->o.span > 0.0 ? "Gyr" : "radial periods");
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

static int mock_write_orbits(const mock_run *r, af_context *c, const size_t *dims) {
    size_t n = r->o.streams * r->o.stars, i;
    double *id;
    af_status status;
    if (!cli_ends_with(r->o.output, ".csv")) return mock_write(c, r->o.output, 3, dims, r->xv);
    id = (double *)cli_allocate(n, sizeof *id);
    for (i = 0; i < n; i++) id[i] = (double)(i / r->o.stars);
    status = cli_write_stars(c, r->o.output, n, id, r->xv);
    free(id);
    if (status != AF_OK) return cli_fail_library(c);
    printf("wrote %s\n", r->o.output);
    return CLI_OK;
}

static int mock_write_all(const mock_run *r, af_context *c) {
    size_t d[3], flat[2];
    int code;
    d[0] = flat[0] = r->o.streams;
    d[1] = r->o.stars;
    d[2] = 6;
    flat[1] = 3;
    code = mock_write_orbits(r, c, d);
    d[2] = 3;
    if (code == CLI_OK) code = mock_write(c, r->o.truth, 2, flat, r->j);
    if (code == CLI_OK) code = mock_write(c, r->o.truth_error, 2, flat, r->error);
    if (code == CLI_OK) code = mock_write(c, r->o.frequencies, 2, flat, r->omega);
    if (code == CLI_OK) code = mock_write(c, r->o.angles, 3, d, r->theta);
    if (code == CLI_OK) code = mock_write(c, r->o.accelerations, 3, d, r->acceleration);
    return code;
}

static int mock_wants_truth(const mock_options *o) {
    return o->truth || o->truth_error || o->angles || o->frequencies;
}

static void mock_allocate(mock_run *r) {
    size_t s = r->o.streams, n = r->o.stars;
    r->xv = (double *)cli_allocate(s * n * 6, sizeof *r->xv);
    if (r->o.accelerations) r->acceleration = (double *)cli_allocate(s * n * 3, sizeof(double));
    if (!mock_wants_truth(&r->o)) return;
    r->j = (double *)cli_allocate(s * 3, sizeof *r->j);
    r->error = (double *)cli_allocate(s * 3, sizeof *r->error);
    r->omega = (double *)cli_allocate(s * 3, sizeof *r->omega);
    r->theta = (double *)cli_allocate(s * n * 3, sizeof *r->theta);
}

static int mock_run_all(mock_run *r) {
    af_context *c;
    int code;
    if (af_context_create(NULL, &c) != AF_OK) return cli_fail("out of memory");
    if ((code = mock_galaxy_make(c, &r->galaxy, r->o.potential)) != CLI_OK) {
        af_context_destroy(c);
        return code;
    }
    mock_allocate(r);
    code = mock_all(r) ? CLI_OK : cli_fail("out of memory");
    if (code == CLI_OK) mock_say(r);
    if (code == CLI_OK) code = mock_write_all(r, c);
    free(r->xv);
    free(r->acceleration);
    free(r->j);
    free(r->error);
    free(r->omega);
    free(r->theta);
    af_galaxy_destroy(r->galaxy.model);
    af_context_destroy(c);
    return code;
}

/* What goes with what, and the span: a snapshot each 0.01 Gyr. */
static int mock_check_kind(mock_options *o) {
    if (o->potential == MOCK_PLUMMER && !o->kind_word) o->kind = MOCK_SNAPSHOT;
    if ((o->potential == MOCK_PLUMMER) != (o->kind == MOCK_SNAPSHOT))
        return cli_usage("mock", "--kind snapshot and --potential plummer belong together");
    if (o->potential == MOCK_TRIAXIAL && o->kind != MOCK_HALO)
        return cli_usage("mock", "there are no discs in a triaxial potential: --kind halo");
    if (o->potential == MOCK_TRIAXIAL && mock_wants_truth(o))
        return cli_usage("mock", "in a triaxial potential there is no way to the true actions");
    if (o->kind == MOCK_SNAPSHOT) {
        o->even = 1;
        if (!(o->span > 0.0)) o->span = 0.01 * (double)(o->stars > 1 ? o->stars - 1 : 1);
    }
    if (!(o->span > 0.0) && o->kind != MOCK_COLD_DISC) o->span = o->kind == MOCK_DISC ? 3.0 : 0.1;
    return CLI_OK;
}

static int mock_check_options(mock_run *r) {
    static const char *const potential[MOCK_POTENTIALS] = {"disc-halo", "isochrone", "db98",
                                                           "pjm14", "plummer", "triaxial"};
    static const char *const kind[MOCK_KINDS] = {"halo", "disc", "cold-disc", "snapshot"};
    mock_options *o = &r->o;
    const char *path[6];
    size_t i;
    int code, word;
    if ((code = cli_check_table("mock", o->output)) >= 0) return code;
    code = cli_word("mock", "potential", o->potential_word, potential, MOCK_POTENTIALS, &word);
    if (code >= 0) return code;
    o->potential = (mock_potential)word;
    code = cli_word("mock", "kind", o->kind_word, kind, MOCK_KINDS, &word);
    if (code >= 0) return code;
    o->kind = (mock_kind)word;
    code = mock_check_kind(o);
    path[0] = o->output;
    path[1] = o->truth;
    path[2] = o->truth_error;
    path[3] = o->angles;
    path[4] = o->frequencies;
    path[5] = o->accelerations;
    for (i = 1; i < 6 && code == CLI_OK; i++)
        if (cli_check_ending("mock", path[i], ".npy") >= 0) return CLI_USAGE;
    return code == CLI_OK ? cli_check_outputs(path, 6, NULL, 0) : code;
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
            {"o", CLI_TEXT, &r.o.output, "FILE",
             "the orbits [kpc, km/s]: XV.npy (S,N,6), or XV.csv, a row a star"},
            {"streams", CLI_COUNT, &r.o.streams, "N", "default 1024"},
            {"stars", CLI_COUNT, &r.o.stars, "N", "of a stream; default 8"},
            {"seed", CLI_SEED, &r.o.seed, "K", "default 0"},
            {"potential", CLI_TEXT, &r.o.potential_word, "WORD",
             "disc-halo (default), isochrone, db98, pjm14, plummer or triaxial"},
            {"kind", CLI_TEXT, &r.o.kind_word, "WORD",
             "halo (default), disc, cold-disc or snapshot: which orbits"},
            {"span", CLI_NUMBER, &r.o.span, "GYR",
             "times of the stars are in 0 to this; default 0.1, disc 3, others below"},
            {"even", CLI_FLAG, &r.o.even, NULL, "evenly spaced times; default random ones"},
            {"truth", CLI_TEXT, &r.o.truth, "J.npy", "true actions (S,3) [km/s kpc]"},
            {"truth-error", CLI_TEXT, &r.o.truth_error, "E.npy", "their own error (S,3)"},
            {"angles", CLI_TEXT, &r.o.angles, "T.npy", "true angles (S,N,3) [rad]"},
            {"frequencies", CLI_TEXT, &r.o.frequencies, "W.npy",
             "true frequencies (S,3) [km/s/kpc]"},
            {"accelerations", CLI_TEXT, &r.o.accelerations, "A.npy",
             "true accelerations (S,N,3) [(km/s)^2/kpc]"},
            {"threads", CLI_COUNT, &r.o.threads, "N",
             "default: all cores; results do not depend on it"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, none, 0);
    }
    if (code >= 0) return code;
    code = mock_check_options(&r);
    return code == CLI_OK ? mock_run_all(&r) : code;
}
