/* The samples of the paper's tests, made by the library itself: orbits, true actions, angles and
 * accelerations. */
#include "reproduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#  include <omp.h>
#endif

/* Kinds of orbits, and the four that are given. */
enum { SAMPLE_ORBITS = MOCK_KINDS, SAMPLE_KINDS };

/* True actions take longest and only streams that are scored need them: the last `known` ones. */
typedef struct sample_recipe {
    const char *name;
    int kind;
    size_t streams, known, quick_streams, quick_known;
    double span;   /* the stars are at random times in 0 to this [Gyr; disc: radial periods] */
    size_t stars;
    double energy; /* the largest relative change of energy that is let pass */
} sample_recipe;

/* Sections 6.1, 6.2, 6.3, 6.4, 6.5. */
static const sample_recipe SAMPLE[] = {
    {"isochrone_halo", MOCK_HALO, 1536, 512, 96, 32, 0.1, 8, 1e-7},
    {"db98_halo", MOCK_HALO, 1536, 512, 96, 12, 0.1, 8, 1e-6},
    {"pjm14_halo", MOCK_HALO, 1536, 512, 96, 12, 0.1, 8, 1e-6},
    {"pjm14_disk", MOCK_COLD_DISC, 2304, 256, 96, 12, 10.0, 8, 1e-6},
    {"four_orbits", SAMPLE_ORBITS, REDO_ORBITS, REDO_ORBITS, REDO_ORBITS, REDO_ORBITS, 0.0,
     REDO_ORBIT_POINTS, 1e-5},
    {"plummer_nbody", MOCK_SNAPSHOT, 1024, 1024, 96, 96, 0.07, 8, 1e-7},
};
enum { SAMPLE_COUNT = sizeof SAMPLE / sizeof *SAMPLE };

static const double SAMPLE_TURN = 6.283185307179586;
static const uint64_t SAMPLE_SEED = 6; /* any would do */

/* Steps [Gyr], short enough for the thin gas discs, 0.08 kpc thick, which stars cross at some 100
 * km/s in the halo and 20 in the disc; and for 1/200 of a dynamical time of the Plummer sphere. */
static double sample_step(int kind) {
    if (kind == MOCK_SNAPSHOT) return 1e-5;
    return kind == MOCK_HALO ? 4e-5 : kind == MOCK_COLD_DISC ? 2e-4 : 1e-4;
}

const char *const REDO_ORBIT_NAME[REDO_ORBITS] = {"thin", "thick", "halo", "stream"};

/* Sanders & Binney (2016, MNRAS 457, 2107), section 4.1 [kpc, km/s]. */
static const double SAMPLE_ORBIT[REDO_ORBITS][6] = {
    {8.29, 0.1, 0.1, 30.22, 211.1, 19.22},
    {8.29, 0.1, 0.1, 50.22, 187.1, 54.22},
    {8.29, 0.1, 0.1, 100.22, 109.1, 101.22},
    {26.0, 0.1, 0.1, 0.1, 141.8, 83.1},
};
static const double SAMPLE_ORBIT_STEP = 0.9777e-3; /* [Gyr] between outputs, section 6.4 */

/* What is being made. Arrays as in redo_set; truths of which nothing is known are NaN. */
typedef struct sample_run {
    const sample_recipe *recipe;
    const mock_galaxy *galaxy;
    size_t streams, known, stars;
    double *xv, *j, *error, *theta, *acceleration;
} sample_run;

static const sample_recipe *sample_of(const char *name) {
    size_t i;
    for (i = 0; i < SAMPLE_COUNT; i++)
        if (strcmp(SAMPLE[i].name, name) == 0) return &SAMPLE[i];
    return NULL;
}

size_t redo_sample_streams(const redo *r, const char *name) {
    const sample_recipe *recipe = sample_of(name);
    if (!recipe) return 0;
    return r->quick ? recipe->quick_streams : recipe->streams;
}

/* ---- potentials ---- */

int redo_galaxy_make(redo *r, const char *set, mock_galaxy *out) {
    mock_potential potential = MOCK_PJM14;
    if (strncmp(set, "isochrone", 9) == 0) potential = MOCK_ISOCHRONE;
    if (strncmp(set, "plummer", 7) == 0) potential = MOCK_PLUMMER;
    if (strncmp(set, "db98", 4) == 0) potential = MOCK_DB98;
    return mock_galaxy_make(r->context, out, potential);
}

int redo_spherical(const mock_galaxy *g) {
    return g->potential == MOCK_ISOCHRONE || g->potential == MOCK_PLUMMER;
}

static double sample_energy(const mock_galaxy *g, const double xv[6]) {
    return g->field.value(xv, g->field.user) +
           0.5 * (xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]);
}

/* ---- one stream ---- */

static int sample_earlier(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sample_times(const sample_run *r, mock_dice *d, double period, double *time) {
    double span = r->recipe->span * (period > 0.0 ? period : 1.0);
    size_t i, n = r->stars;
    for (i = 0; i < n; i++) {
        if (r->recipe->kind == SAMPLE_ORBITS) time[i] = SAMPLE_ORBIT_STEP * (double)i;
        else if (r->recipe->kind == MOCK_SNAPSHOT)
            time[i] = span * (double)i / (double)(n - 1);
        else time[i] = span * mock_uniform(d);
    }
    qsort(time, n, sizeof *time, sample_earlier);
}

/* The points of the orbit at these times; 0 where the energy is not kept, as on orbits through the
 * very centre. */
static int sample_orbit(const sample_run *r, const double start[6], const double *time,
                        double *xv) {
    af_force force = af_force_of_field(&r->galaxy->field);
    double pair[12], now = 0.0, e = sample_energy(r->galaxy, start);
    size_t i;
    memcpy(pair, start, 6 * sizeof *pair);
    for (i = 0; i < r->stars; i++) {
        size_t steps = 1 + (size_t)((time[i] - now) / sample_step(r->recipe->kind));
        if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, force, pair, time[i] - now, steps, 2,
                               pair) != AF_OK)
            return 0;
        memcpy(pair, pair + 6, 6 * sizeof *pair);
        memcpy(xv + 6 * i, pair, 6 * sizeof *pair);
        now = time[i];
        if (!(fabs(sample_energy(r->galaxy, pair) - e) < r->recipe->energy * fabs(e))) return 0;
    }
    return 1;
}

/* J, theta at the start, frequencies and the error of J; 0 for lack of memory. */
static int sample_actions(const sample_run *r, const double start[6], double value[4][3]) {
    af_context *c = NULL; /* contexts are not shared by threads */
    af_fudge fudge;
    int good;
    memset(value, 0, 4 * sizeof *value);
    if (r->galaxy->isochrone.mass > 0.0) {
        af_isochrone_actions(&r->galaxy->isochrone, start, value[0], value[1], value[2]);
        return 1;
    }
    if (redo_spherical(r->galaxy)) { /* where the fudge is exact */
        memset(&fudge, 0, sizeof fudge);
        fudge.field = r->galaxy->field;
        fudge.focus = AF_FOCUS_GIVEN;
        af_fudge_actions(&fudge, start, value[0], value[1], value[2]);
        return 1;
    }
    good = af_context_create(NULL, &c) == AF_OK &&
           af_orbit_actions(c, &r->galaxy->field, start, NULL, value[0], value[1], value[2],
                            value[3], NULL) == AF_OK;
    af_context_destroy(c);
    return good;
}

/* Everything that is known of the stars beside where they are. */
static int sample_truth(const sample_run *r, size_t s, const double start[6], const double *time) {
    double value[4][3];
    size_t i, k, n = r->stars;
    for (i = 0; i < n; i++) {
        size_t at = s * n + i;
        r->galaxy->field.acceleration(r->xv + 6 * at, r->acceleration + 3 * at,
                                     r->galaxy->field.user);
    }
    for (k = 0; k < 3; k++) value[0][k] = value[1][k] = value[2][k] = value[3][k] = NAN;
    if (s + r->known >= r->streams && !sample_actions(r, start, value)) return 0;
    for (k = 0; k < 3; k++) {
        r->j[3 * s + k] = value[0][k];
        r->error[3 * s + k] = value[3][k];
        for (i = 0; i < n; i++) {
            double theta = fmod(value[1][k] + value[2][k] * af_time_from_gyr(time[i]), SAMPLE_TURN);
            r->theta[3 * (s * n + i) + k] = theta < 0.0 ? theta + SAMPLE_TURN : theta;
        }
    }
    return 1;
}

static int sample_stream(const sample_run *r, size_t s) {
    double start[6], period = 0.0, *time = (double *)malloc(r->stars * sizeof *time);
    mock_dice dice;
    int good = time != NULL, tries = 0, fixed = r->recipe->kind == SAMPLE_ORBITS;
    dice.seed = SAMPLE_SEED;
    dice.stream = s;
    dice.index = 0;
    while (good) {
        if (fixed) memcpy(start, SAMPLE_ORBIT[s], sizeof start);
        else mock_start(r->galaxy, (mock_kind)r->recipe->kind, &dice, start, &period);
        sample_times(r, &dice, period, time);
        if (sample_orbit(r, start, time, r->xv + 6 * s * r->stars)) break;
        if (fixed || ++tries == 1000) good = 0;
    }
    good = good && sample_truth(r, s, start, time);
    free(time);
    return good;
}

/* ---- all streams ---- */

static int sample_all(const sample_run *r) {
    long s, n = (long)r->streams, lost = 0;
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1) reduction(+ : lost)
#endif
    for (s = n - 1; s >= 0; s--) lost += !sample_stream(r, (size_t)s); /* slow ones first */
    return lost == 0;
}

static int sample_write_one(af_context *c, const char *folder, const char *name, int rank,
                            const sample_run *r, size_t last, const double *data) {
    char path[REDO_PATH];
    size_t dims[3];
    dims[0] = r->streams;
    dims[1] = rank == 3 ? r->stars : last;
    dims[2] = last;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return af_npy_write(c, path, rank, dims, data) == AF_OK ? CLI_OK : cli_fail_library(c);
}

static int sample_write(const redo *r, const sample_run *s, const char *folder) {
    int code = sample_write_one(r->context, folder, "J.npy", 2, s, 3, s->j);
    if (code == CLI_OK)
        code = sample_write_one(r->context, folder, "J_err.npy", 2, s, 3, s->error);
    if (code == CLI_OK)
        code = sample_write_one(r->context, folder, "theta.npy", 3, s, 3, s->theta);
    if (code == CLI_OK)
        code = sample_write_one(r->context, folder, "acc.npy", 3, s, 3, s->acceleration);
    if (code == CLI_OK) /* last: its presence says that the set is complete */
        code = sample_write_one(r->context, folder, "xv.npy", 3, s, 6, s->xv);
    return code;
}

static void sample_say(const sample_run *s, double seconds) {
    size_t i, found = 0;
    for (i = 0; i < s->streams; i++) found += isfinite(s->j[3 * i + 1]) ? 1u : 0u;
    fprintf(stderr, "made %s: %lu streams, actions of %lu of %lu (%.0f s of CPU time)\n",
            s->recipe->name, (unsigned long)s->streams, (unsigned long)found,
            (unsigned long)s->known, seconds);
}

int redo_sample_make(redo *r, const char *name, const char *folder) {
    sample_run s;
    mock_galaxy galaxy;
    double begin = redo_cpu();
    int code;
    memset(&s, 0, sizeof s);
    s.recipe = sample_of(name);
    s.streams = redo_sample_streams(r, name);
    s.known = r->quick ? s.recipe->quick_known : s.recipe->known;
    s.stars = s.recipe->stars;
    s.galaxy = &galaxy;
    if ((code = redo_galaxy_make(r, name, &galaxy)) != CLI_OK) return code;
    s.xv = (double *)cli_allocate(s.streams * s.stars * 6, sizeof *s.xv);
    s.j = (double *)cli_allocate(s.streams * 3, sizeof *s.j);
    s.error = (double *)cli_allocate(s.streams * 3, sizeof *s.error);
    s.theta = (double *)cli_allocate(s.streams * s.stars * 3, sizeof *s.theta);
    s.acceleration = (double *)cli_allocate(s.streams * s.stars * 3, sizeof *s.acceleration);
    code = sample_all(&s) ? sample_write(r, &s, folder)
                          : cli_fail("the sample %s cannot be made: out of memory, or orbits do "
                                     "not keep their energy", name);
    if (code == CLI_OK) sample_say(&s, redo_cpu() - begin);
    free(s.xv);
    free(s.j);
    free(s.error);
    free(s.theta);
    free(s.acceleration);
    af_galaxy_destroy(galaxy.model);
    return code;
}
