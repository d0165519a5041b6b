/* The mass model from energies of streams, and fields in tables: against closed forms, differences,
 * and orbits whose potential is known. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "mass_model"
#include "af_mock.h"

/* ---- galaxies and streams ---- */

enum { TRAIN = 160, TEST_STREAMS = 40, STREAMS = TRAIN + TEST_STREAMS, STARS = 6 };
enum { NUMBERS = STREAMS * STARS * 6, HELD = TEST_STREAMS * STARS };

/* A disc and a halo; lengths and heights are not on any grid, and the halo is no disc. */
static const af_potential *galaxy(void) {
    static af_potential part[2];
    part[0] = af_potential_miyamoto_nagai(6.3e10, 2.9, 0.37);
    part[1] = af_potential_nfw(6.1e11, 15.7);
    return part;
}

static void galaxy_pull(const double x[3], double a[3], void *user) {
    (void)user;
    af_potential_acceleration(galaxy(), 2, x, a);
}

static double galaxy_value(const double x[3], void *user) {
    (void)user;
    return af_potential_value(galaxy(), 2, x);
}

static af_field galaxy_field(void) {
    af_field f;
    f.value = galaxy_value;
    f.acceleration = galaxy_pull;
    f.user = NULL;
    return f;
}

/* STREAMS halo orbits in the sum of the parts, xv (STREAMS, STARS, 6), every 40 Myr. */
static void integrate_streams(const af_potential *parts, size_t count, uint64_t seed, double *xv) {
    af_potential_sum sum;
    double start[6];
    size_t s;
    sum.parts = parts;
    sum.count = count;
    for (s = 0; s < STREAMS; s++) {
        mock_star(seed, s, start);
        CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_potential(&sum), start, 0.04,
                                 40, STARS, xv + 6 * STARS * s) == AF_OK);
    }
}

/* Those of the galaxy, made once. */
static const double *streams(void) {
    static double xv[NUMBERS];
    if (xv[0] == 0.0) integrate_streams(galaxy(), 2, 11, xv);
    return xv;
}

static af_mass_model *fit(af_context *c, const double *xv, const af_mass_model_desc *d) {
    af_orbits *o = NULL;
    af_mass_model *m = NULL;
    CHECK(af_orbits_create(c, TRAIN, STARS, xv, NULL, &o) == AF_OK);
    if (!o) return NULL;
    if (af_mass_model_fit(c, o, d, &m) != AF_OK) printf("  %s\n", af_error(c));
    CHECK(m != NULL);
    af_orbits_destroy(o);
    return m;
}

/* |a - truth|/|truth| at the stars that were not trained on, sorted. */
static void field_errors(const af_field *f, const af_potential *parts, size_t count,
                         const double *xv, double error[HELD]) {
    size_t i, k;
    for (i = 0; i < HELD; i++) {
        const double *x = xv + 6 * (TRAIN * STARS + i);
        double a[3], truth[3], away = 0.0, size = 0.0;
        f->acceleration(x, a, f->user);
        af_potential_acceleration(parts, count, x, truth);
        for (k = 0; k < 3; k++) {
            away += (a[k] - truth[k]) * (a[k] - truth[k]);
            size += truth[k] * truth[k];
        }
        error[i] = sqrt(away / size);
    }
    qsort(error, HELD, sizeof *error, mock_less);
}

static double median_error(const af_mass_model *m, const double *xv) {
    af_field f = af_field_of_mass_model(m);
    double error[HELD];
    field_errors(&f, galaxy(), 2, xv, error);
    return error[HELD / 2];
}

/* Median error of the toy that the library would choose for the streams. */
static double toy_error(af_context *c, const double *xv) {
    af_isochrone toy;
    af_potential part;
    af_potential_sum sum;
    af_field f;
    double error[HELD];
    if (af_isochrone_fit(c, xv, TRAIN, STARS, 0.01, &toy, NULL) != AF_OK) return NAN;
    part = af_isochrone_potential(&toy);
    sum.parts = &part;
    sum.count = 1;
    f = af_field_of_potential(&sum);
    field_errors(&f, galaxy(), 2, xv, error);
    return error[HELD / 2];
}

/* A point at some kpc, near the plane as often as not. */
static void somewhere(uint64_t i, double x[3]) {
    size_t k;
    for (k = 0; k < 3; k++) x[k] = 6.0 * af_random_normal(21, k, i);
    if (i % 2) x[2] *= 0.02;
}

/* ---- the field of a model ---- */

TEST(gradient_and_density) {
    af_context *c = NULL;
    af_mass_model *m;
    uint64_t i;
    size_t k, n;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    m = fit(c, streams(), NULL);
    if (!m) return;
    for (i = 0; i < 40; i++) {
        double x[3], a[3], slope[3], laplacian = 0.0, size = 0.0, sum = 0.0, rho = 0.0;
        somewhere(i, x);
        af_mass_model_acceleration(m, x, a);
        for (k = 0; k < 3; k++) {
            double h = 1e-3 * (fabs(x[k]) + 0.02), at = x[k], above[3], below[3], phi;
            x[k] = at + h;
            phi = af_mass_model_value(m, x);
            af_mass_model_acceleration(m, x, above);
            x[k] = at - h;
            phi -= af_mass_model_value(m, x);
            af_mass_model_acceleration(m, x, below);
            x[k] = at;
            slope[k] = -phi / (2.0 * h);
            laplacian -= (above[k] - below[k]) / (2.0 * h);
            size += fabs(above[k] - below[k]) / (2.0 * h);
        }
        for (k = 0; k < 3; k++) CHECK_CLOSE(slope[k] / 1e3, a[k] / 1e3, 2e-5);
        CHECK_CLOSE(4.0 * AF__PI * AF_GRAVITY * af_mass_model_density(m, x) / size,
                    laplacian / size, 1e-4);
        for (n = 0; n < af_mass_model_count(m); n++) { /* the parts, one by one */
            af_potential part = af_mass_model_part(m, n);
            sum += af_potential_value(&part, 1, x);
            rho += af_potential_density(&part, 1, x);
        }
        CHECK_CLOSE(af_mass_model_value(m, x), sum, 1e-9);
        CHECK_CLOSE(af_mass_model_density(m, x), rho, 1e-9);
    }
    af_mass_model_destroy(m);
    af_context_destroy(c);
}

TEST(force_and_field) {
    af_context *c = NULL;
    af_mass_model *m;
    af_field f;
    af_force force;
    double x[3] = {3.0, -4.0, 1.0}, a[3], b[3], mirror[3];
    size_t k;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    m = fit(c, streams(), NULL);
    if (!m) return;
    f = af_field_of_mass_model(m);
    force = af_force_of_mass_model(m);
    af_mass_model_acceleration(m, x, a);
    force.acceleration(x, b, force.user);
    for (k = 0; k < 3; k++) CHECK(a[k] == b[k]);
    CHECK(f.value(x, f.user) == af_mass_model_value(m, x));
    CHECK_CLOSE(a[0] / x[0], a[1] / x[1], 1e-14);
    x[2] = -x[2];
    f.acceleration(x, mirror, f.user);
    CHECK(mirror[0] == a[0] && mirror[2] == -a[2]);
    CHECK(f.value(x, f.user) == af_mass_model_value(m, x));
    x[0] = x[1] = x[2] = 0.0;
    f.acceleration(x, a, f.user);
    CHECK(a[0] == 0.0 && a[1] == 0.0 && a[2] == 0.0);
    CHECK(isfinite(f.value(x, f.user)) && isfinite(af_mass_model_density(m, x)));
    af_mass_model_destroy(m);
    af_context_destroy(c);
}

/* ---- what it finds ---- */

/* Accelerations of stars of streams left out, beside the toy's. */
TEST(recovers_the_field) {
    af_context *c = NULL;
    af_mass_model *m;
    af_field f;
    double error[HELD], toy;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    m = fit(c, streams(), NULL);
    if (!m) return;
    f = af_field_of_mass_model(m);
    field_errors(&f, galaxy(), 2, streams(), error);
    toy = toy_error(c, streams());
    SAY("held out: median %.2e, 90 %% %.2e; toy's median %.2e; misfit %.2e, ridge %.1e\n",
        error[HELD / 2], error[HELD * 9 / 10], toy, af_mass_model_misfit(m),
        test_mass_model_ridge(m));
    CHECK(error[HELD / 2] < 1e-3 && error[HELD * 9 / 10] < 1e-2);
    CHECK(toy > 0.05 && toy > 50.0 * error[HELD / 2]);
    CHECK(af_mass_model_misfit(m) < 1e-3 && af_mass_model_misfit(m) > 0.0);
    af_mass_model_destroy(m);
    af_context_destroy(c);
}

/* A tenth of the streams have their second half from another orbit. */
TEST(mixed_streams) {
    static double xv[NUMBERS];
    af_context *c = NULL;
    af_mass_model *m[3];
    af_mass_model_desc d = AF__ZERO;
    double clean, robust, equal;
    size_t s, half = 6 * STARS / 2;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    memcpy(xv, streams(), sizeof xv);
    for (s = 0; s < TRAIN; s += 10)
        memcpy(xv + 6 * STARS * s + half, streams() + 6 * STARS * (s + 1) + half,
               half * sizeof *xv);
    m[0] = fit(c, streams(), NULL);
    d.rounds = 10;
    m[1] = fit(c, xv, &d);
    d.rounds = 1;
    m[2] = fit(c, xv, &d);
    if (!m[0] || !m[1] || !m[2]) return;
    clean = median_error(m[0], streams());
    robust = median_error(m[1], streams());
    equal = median_error(m[2], streams());
    SAY("mixed: clean %.2e, ten rounds %.2e, one %.2e\n", clean, robust, equal);
    CHECK(robust < 3.0 * clean);
    CHECK(equal > 5.0 * robust);
    CHECK(af_mass_model_misfit(m[1]) < 3.0 * af_mass_model_misfit(m[0])); /* a median */
    for (s = 0; s < 3; s++) af_mass_model_destroy(m[s]);
    af_context_destroy(c);
}

/* A galaxy scaled down to 20 pc and 5 km/s: Phi goes as v^2, a as v^2/r. */
TEST(any_size) {
    static double xv[NUMBERS];
    const double length = 0.0019, speed = 0.047;
    af_context *c = NULL;
    af_mass_model *m[2];
    size_t i, k;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    for (i = 0; i < NUMBERS; i++) xv[i] = streams()[i] * (i % 6 < 3 ? length : speed);
    m[0] = fit(c, streams(), NULL);
    m[1] = fit(c, xv, NULL);
    if (!m[0] || !m[1]) return;
    CHECK(test_mass_model_ridge(m[0]) == test_mass_model_ridge(m[1]));
    CHECK_CLOSE(af_mass_model_misfit(m[1]) / af_mass_model_misfit(m[0]), 1.0, 1e-4);
    for (i = TRAIN * STARS; i < STREAMS * STARS; i++) {
        const double *x = streams() + 6 * i;
        double a[3], b[3], size = 0.0;
        af_mass_model_acceleration(m[0], x, a);
        af_mass_model_acceleration(m[1], xv + 6 * i, b);
        for (k = 0; k < 3; k++) size += fabs(a[k]);
        for (k = 0; k < 3; k++)
            CHECK_CLOSE(b[k] * length / (speed * speed * size), a[k] / size, 1e-5);
        CHECK_CLOSE(af_mass_model_value(m[1], xv + 6 * i) / (speed * speed),
                    af_mass_model_value(m[0], x), 1e-5);
    }
    af_mass_model_destroy(m[0]);
    af_mass_model_destroy(m[1]);
    af_context_destroy(c);
}

/* A model of streams in a logarithmic potential with this axis ratio y/x; its median relative error
 * of the acceleration of the streams not fitted. */
static af_mass_model *of_ratio(af_context *c, double p, af_symmetry axisymmetric, double *error) {
    static double xv[NUMBERS];
    double each[STREAMS * STARS];
    af_potential part = af_potential_logarithmic(220.0, 1.0, p, 0.8);
    af_mass_model_desc d = AF__ZERO;
    af_mass_model *m;
    size_t i, k, n = 0;
    d.axisymmetric = axisymmetric;
    integrate_streams(&part, 1, 13, xv);
    m = fit(c, xv, &d);
    for (i = TRAIN * STARS; m && i < STREAMS * STARS; i++) {
        double a[3], b[3], away = 0.0, size = 0.0;
        af_mass_model_acceleration(m, xv + 6 * i, a);
        af_potential_acceleration(&part, 1, xv + 6 * i, b);
        for (k = 0; k < 3; k++) {
            away += (a[k] - b[k]) * (a[k] - b[k]);
            size += b[k] * b[k];
        }
        each[n++] = sqrt(away / size);
    }
    *error = m ? median(each, n) : NAN;
    return m;
}

/* Discs are chosen where L_z is conserved, ellipsoids where it is not; discs do not do there. */
TEST(triaxial) {
    af_context *c = NULL;
    af_mass_model *m[3];
    double error[3];
    size_t i;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    m[0] = of_ratio(c, 1.0, AF_SYMMETRY_AUTO, error);
    m[1] = of_ratio(c, 0.9, AF_SYMMETRY_AUTO, error + 1);
    m[2] = of_ratio(c, 0.9, AF_SYMMETRY_YES, error + 2);
    if (!m[0] || !m[1] || !m[2]) return;
    for (i = 0; i < 3; i++)
        SAY("log potential %lu: misfit %.2e, error %.2e\n", (unsigned long)i,
            af_mass_model_misfit(m[i]), error[i]);
    CHECK(af_mass_model_is_axisymmetric(m[0]) && !af_mass_model_is_axisymmetric(m[1]));
    CHECK(af_mass_model_count(m[0]) > 0 && af_mass_model_count(m[1]) == 0);
    CHECK(af_mass_model_misfit(m[0]) < 1e-3 && af_mass_model_misfit(m[1]) < 1e-3);
    CHECK(af_mass_model_misfit(m[2]) > 1e-2);
    CHECK(error[0] < 2e-3 && error[1] < 2e-3);
    CHECK(error[2] > 20.0 * error[1]);
    for (i = 0; i < 3; i++) af_mass_model_destroy(m[i]);
    af_context_destroy(c);
}

/* Of ellipsoids: -grad Phi and the Laplacian against differences, and the way through a file. */
TEST(ellipsoids) {
    const char *path = scratch_file("ellipsoids");
    const double x[3] = {5.0, -4.0, 3.0}, h = 1e-3;
    af_context *c = NULL;
    af_mass_model *m, *again = NULL;
    double unused, a[3], b[3], up[3], down[3], sum = 0.0;
    size_t k;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    m = of_ratio(c, 0.9, AF_SYMMETRY_AUTO, &unused);
    if (!m) return;
    af_mass_model_acceleration(m, x, a);
    for (k = 0; k < 3; k++) {
        double y[3], phi;
        memcpy(y, x, sizeof y);
        y[k] += h;
        phi = af_mass_model_value(m, y);
        af_mass_model_acceleration(m, y, up);
        y[k] -= 2.0 * h;
        CHECK_CLOSE((af_mass_model_value(m, y) - phi) / (2.0 * h), a[k], 1e-6);
        af_mass_model_acceleration(m, y, down);
        sum += (down[k] - up[k]) / (2.0 * h);
    }
    CHECK_CLOSE(af_mass_model_density(m, x) * 4.0 * AF__PI * AF_GRAVITY / sum, 1.0, 1e-5);
    CHECK(af_mass_model_save(m, path) == AF_OK && af_mass_model_load(c, path, &again) == AF_OK);
    if (again) {
        af_mass_model_acceleration(again, x, b);
        CHECK(memcmp(a, b, sizeof a) == 0 && !af_mass_model_is_axisymmetric(again));
    }
    remove(path);
    af_mass_model_destroy(again);
    af_mass_model_destroy(m);
    af_context_destroy(c);
}

/* Errors of 1, 5, 10 km/s in each velocity: the figures of af_mass_model.h. */
TEST(noise) {
    static double xv[NUMBERS];
    static const double sigma[3] = {1.0, 5.0, 10.0}, most[3] = {0.01, 0.03, 0.04};
    af_context *c = NULL;
    size_t n, i;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    for (n = 0; n < 3; n++) {
        af_mass_model *m;
        double error, toy;
        memcpy(xv, streams(), sizeof xv);
        for (i = 0; i < NUMBERS; i++)
            if (i % 6 > 2) xv[i] += sigma[n] * af_random_normal(31, n, i);
        m = fit(c, xv, NULL);
        if (!m) return;
        error = median_error(m, streams());
        toy = toy_error(c, xv);
        SAY("%.0f km/s: median error %.4f, toy %.4f, misfit %.4f, ridge %.1e\n", sigma[n], error,
            toy, af_mass_model_misfit(m), test_mass_model_ridge(m));
        CHECK(error < most[n] && toy > 0.1);
        CHECK(af_mass_model_misfit(m) > 1e-3);
        CHECK(af_mass_model_is_axisymmetric(m)); /* though L_z is not conserved */
        af_mass_model_destroy(m);
    }
    af_context_destroy(c);
}

/* Streams of unequal numbers, of one star, at rest, with stars in the centre. */
TEST(odd_streams) {
    static double xv[NUMBERS];
    static size_t count[TRAIN];
    af_context *c = NULL;
    af_orbits *o = NULL;
    af_mass_model *m = NULL;
    double clean;
    size_t s;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    memcpy(xv, streams(), sizeof xv);
    for (s = 0; s < TRAIN; s++) count[s] = 1 + s % STARS;
    memset(xv + 6 * STARS * 3, 0, 6 * sizeof *xv); /* at rest in the centre */
    CHECK(af_orbits_create(c, TRAIN, STARS, xv, count, &o) == AF_OK);
    CHECK(af_mass_model_fit(c, o, NULL, &m) == AF_OK);
    if (!m) return;
    clean = median_error(m, streams());
    SAY("odd streams: %.2e\n", clean);
    CHECK(clean < 5e-3);
    af_mass_model_destroy(m);
    af_orbits_destroy(o);
    af_context_destroy(c);
}

/* ---- errors ---- */

static void refused(const double *xv, size_t n, const size_t *count, const af_mass_model_desc *d,
                    af_status status, const char *words) {
    af_context *c = NULL;
    af_orbits *o = NULL;
    af_mass_model *m = (af_mass_model *)&c; /* to see that it becomes NULL */
    CHECK(af_context_create(NULL, &c) == AF_OK);
    CHECK(af_orbits_create(c, n, STARS, xv, count, &o) == AF_OK);
    CHECK(af_mass_model_fit(c, o, d, &m) == status);
    CHECK(m == NULL);
    CHECK_TEXT(af_error(c), words);
    af_orbits_destroy(o);
    af_context_destroy(c);
}

TEST(errors) {
    static double xv[NUMBERS];
    static size_t one[STREAMS];
    af_mass_model_desc d = AF__ZERO;
    size_t s;
    refused(streams(), 7, NULL, NULL, AF_ERROR_DATA, "7 streams");
    for (s = 0; s < STREAMS; s++) one[s] = 1;
    refused(streams(), STREAMS, one, NULL, AF_ERROR_DATA, "0 streams");
    one[3] = 2;
    refused(streams(), STREAMS, one, NULL, AF_ERROR_DATA, "1 streams");
    d.start_canary = 1;
    refused(streams(), TRAIN, NULL, &d, AF_ERROR_ARGUMENT, "zero");
    d.start_canary = 0;
    d.end_canary = 7;
    refused(streams(), TRAIN, NULL, &d, AF_ERROR_ARGUMENT, "zero");
    d.end_canary = 0;
    d.ridge = -1.0;
    refused(streams(), TRAIN, NULL, &d, AF_ERROR_ARGUMENT, "ridge -1");
    d.ridge = NAN;
    refused(streams(), TRAIN, NULL, &d, AF_ERROR_ARGUMENT, "ridge");
    d.ridge = HUGE_VAL;
    refused(streams(), TRAIN, NULL, &d, AF_ERROR_ARGUMENT, "ridge inf");
    d.ridge = 0.0;
    d.axisymmetric = (af_symmetry)3;
    refused(streams(), TRAIN, NULL, &d, AF_ERROR_ARGUMENT, "af_symmetry 3");
    d.axisymmetric = AF_SYMMETRY_AUTO;
    d.rounds = 1001;
    refused(streams(), TRAIN, NULL, &d, AF_ERROR_ARGUMENT, "1001");
    refused(xv, TRAIN, NULL, NULL, AF_ERROR_DATA, "centre");
    for (s = 0; s < NUMBERS; s++) xv[s] = 1.0 + (double)(s / 6 / STARS); /* no stream moves */
    refused(xv, TRAIN, NULL, NULL, AF_ERROR_DATA, "do not determine");
    for (s = 0; s < NUMBERS; s++) xv[s] = streams()[s] * (s % 6 < 3 ? 1.0 : 1e160);
    refused(xv, TRAIN, NULL, NULL, AF_ERROR_NONFINITE, "overflow");
}

/* ---- files ---- */

TEST(file_round_trip) {
    af_context *c = NULL;
    af_mass_model *m, *again = NULL;
    const char *path = scratch_file("model.safetensors");
    double x[3] = {5.0, -2.0, 1.5};
    CHECK(af_context_create(NULL, &c) == AF_OK);
    m = fit(c, streams(), NULL);
    if (!m) return;
    CHECK(af_mass_model_save(m, path) == AF_OK);
    CHECK(af_mass_model_load(c, path, &again) == AF_OK);
    if (again) {
        CHECK(test_mass_models_equal(m, again));
        CHECK(af_mass_model_misfit(m) == af_mass_model_misfit(again));
        CHECK(af_mass_model_value(m, x) == af_mass_model_value(again, x));
    }
    CHECK(af_mass_model_save(m, "/nowhere/m.safetensors") == AF_ERROR_IO);
    remove(path);
    af_mass_model_destroy(again);
    af_mass_model_destroy(m);
    af_context_destroy(c);
}

static void load_refused(const char *path, af_status status, const char *words) {
    af_context *c = NULL;
    af_mass_model *m = (af_mass_model *)&c;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    CHECK(af_mass_model_load(c, path, &m) == status);
    CHECK(m == NULL);
    CHECK_TEXT(af_error(c), words);
    if (words != path) CHECK_TEXT(af_error(c), strrchr(path, '/') + 1);
    af_context_destroy(c);
}

/* A set like that of a model, but for one thing. */
static void write_set(const char *path, int change) {
    af_context *c = NULL;
    af_tensors *set = NULL;
    double height[32], length[32], gm[32 * 32];
    size_t dims[2], i;
    test_mass_model_parts(&dims[0], &dims[1]);
    CHECK(dims[0] <= 32 && dims[1] <= 32);
    for (i = 0; i < dims[0]; i++) height[i] = 0.1 + (double)i;
    for (i = 0; i < dims[1]; i++) length[i] = (double)i;
    for (i = 0; i < dims[0] * dims[1]; i++) gm[i] = 1e4;
    if (change == 1) dims[0]--;
    if (change == 2) gm[7] = NAN;
    if (change == 3) height[0] = 0.0;
    if (change == 4) length[4] = length[3];
    if (change == 5) height[5] = HUGE_VAL;
    if (change == 6) length[0] = -0.1;
    CHECK(af_context_create(NULL, &c) == AF_OK && af_tensors_create(c, &set) == AF_OK);
    af_tensors_set_text(set, "format",
                        change == 7 ? "actionfinder model 1" : "actionfinder mass model 1");
    if (change != 8) af_tensors_set_number(set, "misfit", change == 9 ? -1.0 : 1e-3);
    if (change != 12) af_tensors_set_text(set, "parts", change == 13 ? "rings" : "discs");
    if (change == 14) af_tensors_set_text(set, "parts", "ellipsoids"); /* with lengths */
    af_tensors_set_number(set, "ridge", change == 10 ? NAN : 1e-3);
    af_tensors_add(set, "height_kpc", AF_DTYPE_F64, 1, dims, height);
    if (change != 11) af_tensors_add(set, "length_kpc", AF_DTYPE_F64, 1, dims + 1, length);
    af_tensors_add(set, "gm_kpc_kms2", AF_DTYPE_F64, 2, dims, gm);
    CHECK(af_tensors_write(set, path) == AF_OK);
    af_tensors_destroy(set);
    af_context_destroy(c);
}

TEST(file_errors) {
    static const char *const words[15] = {
        "", "height_kpc", "make no sense", "make no sense", "make no sense", "make no sense",
        "make no sense", "is not a mass model (format 'actionfinder model 1'", "misfit",
        "make no sense", "make no sense", "length_kpc", "parts of the mass model are 'none'",
        "'rings'", "make no sense"};
    const char *path = scratch_file("bad.safetensors"), *cut = scratch_file("cut.safetensors");
    unsigned char *bytes;
    size_t n, i;
    int change;
    for (change = 1; change < 15; change++) {
        write_set(path, change);
        load_refused(path, change == 1 ? AF_ERROR_SHAPE : AF_ERROR_FORMAT, words[change]);
    }
    load_refused("/nowhere/none.safetensors", AF_ERROR_IO, "none.safetensors");
    write_text(path, "R, Phi\n1.0, 2.0\n");
    load_refused(path, AF_ERROR_FORMAT, "bad.safetensors");
    write_set(path, 0);
    bytes = read_bytes(path, &n);
    CHECK(n > 1000);
    for (i = 0; i < n; i += i < 400 ? 7 : 97) {
        write_bytes(cut, bytes, i);
        load_refused(cut, AF_ERROR_FORMAT, "cut.safetensors");
    }
    free(bytes);
    remove(path);
    remove(cut);
}

/* ---- fields in tables ---- */

static af_field_table *tabulate(af_context *c, const af_field *f, size_t knots) {
    af_field_table *t = NULL;
    af_field_table_desc d = AF__ZERO;
    d.radius = 9.0;
    d.knots_r = d.knots_z = knots;
    if (af_field_table_create(c, f, &d, &t) != AF_OK) printf("  %s\n", af_error(c));
    CHECK(t != NULL);
    return t;
}

static double difference(const double a[3], const double b[3]) {
    double away = 0.0, size = 0.0;
    size_t k;
    for (k = 0; k < 3; k++) {
        away += (a[k] - b[k]) * (a[k] - b[k]);
        size += b[k] * b[k];
    }
    return sqrt(away / size);
}

TEST(table_inside) {
    af_context *c = NULL;
    af_field f = galaxy_field(), in;
    af_field_table *t;
    double worst = 0.0, x[3], a[3], b[3];
    uint64_t i;
    size_t k;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    t = tabulate(c, &f, 0);
    if (!t) return;
    in = af_field_of_table(t);
    for (i = 0; i < 500; i++) {
        double wide = pow(10.0, 3.0 * af_random_uniform(23, 1, i) - 2.0); /* 0.06 to 60 kpc */
        somewhere(i, x);
        for (k = 0; k < 3; k++) x[k] *= wide;
        if (norm3(x) < 0.05) continue; /* the halo's cusp is not tabulated */
        in.acceleration(x, a, in.user);
        f.acceleration(x, b, f.user);
        if (difference(a, b) > worst) worst = difference(a, b);
        CHECK_CLOSE(in.value(x, in.user), f.value(x, f.user), 1e-6);
        x[2] = -x[2]; /* above and below */
        in.acceleration(x, b, in.user);
        CHECK(a[0] == b[0] && a[1] == b[1] && a[2] == -b[2]);
    }
    SAY("table: worst relative error %.1e\n", worst);
    CHECK(worst < 1e-4 && worst > 0.0);
    af_field_table_destroy(t);
    af_context_destroy(c);
}

TEST(table_special_places) {
    af_context *c = NULL;
    af_field f = galaxy_field(), in;
    af_field_table *t;
    double x[3] = {0.0, 0.0, 0.0}, a[3], b[3], z;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    t = tabulate(c, &f, 0);
    if (!t) return;
    in = af_field_of_table(t);
    in.acceleration(x, a, in.user);
    CHECK(a[0] == 0.0 && a[1] == 0.0 && a[2] == 0.0);
    CHECK_CLOSE(in.value(x, in.user), f.value(x, f.user), 1e-5);
    for (z = -30.0; z < 31.0; z += 2.5) { /* on the axis, and in the plane */
        x[0] = 0.0;
        x[2] = z != 0.0 ? z : 0.01;
        in.acceleration(x, a, in.user);
        f.acceleration(x, b, f.user);
        CHECK(a[0] == 0.0 && a[1] == 0.0 && difference(a, b) < 1e-4);
        x[0] = x[2];
        x[2] = 0.0;
        in.acceleration(x, a, in.user);
        f.acceleration(x, b, f.user);
        CHECK(a[1] == 0.0 && a[2] == 0.0 && difference(a, b) < 1e-4);
        CHECK_CLOSE(in.value(x, in.user), f.value(x, f.user), 1e-6);
    }
    af_field_table_destroy(t);
    af_context_destroy(c);
}

/* The last knot is at 1000 times the radius: the field itself beyond, without a step. */
TEST(table_edge) {
    af_context *c = NULL;
    af_field f = galaxy_field(), in;
    af_field_table *t;
    double x[3] = {0.0, 0.0, 0.0}, a[3], b[3];
    size_t k;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    t = tabulate(c, &f, 0);
    if (!t) return;
    in = af_field_of_table(t);
    for (k = 0; k < 4; k++) {
        size_t along = k % 2 ? 2 : 0;
        x[0] = x[1] = x[2] = 0.0;
        x[2 - along] = k < 2 ? 0.0 : 40.0;
        x[along] = 9000.0 * (1.0 + 1e-9);
        in.acceleration(x, a, in.user);
        f.acceleration(x, b, f.user);
        CHECK(difference(a, b) == 0.0 && in.value(x, in.user) == f.value(x, f.user));
        x[along] = 9000.0 * (1.0 - 1e-9);
        in.acceleration(x, b, in.user);
        CHECK(difference(b, a) < 1e-7 && difference(b, a) > 0.0);
        CHECK_CLOSE(in.value(x, in.user), f.value(x, f.user), 1e-8);
    }
    x[0] = NAN;
    CHECK(!isfinite(in.value(x, in.user)));
    af_field_table_destroy(t);
    af_context_destroy(c);
}

/* The acceleration is the gradient of the value, and has no step at the knots: a coarse table is
 * another field, but one with an energy. */
TEST(table_energy) {
    static double orbit[101 * 6];
    const double start[6] = {8.0, 0.0, 0.3, 60.0, 150.0, 70.0};
    af_context *c = NULL;
    af_field f = galaxy_field(), in;
    af_field_table *t;
    size_t i, k;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    t = tabulate(c, &f, 30);
    if (!t) return;
    in = af_field_of_table(t);
    for (i = 0; i < 60; i++) {
        double x[3], a[3], phi, h;
        somewhere(i, x);
        in.acceleration(x, a, in.user);
        for (k = 0; k < 3; k++) {
            double at = x[k];
            h = 1e-5 * (fabs(at) + 0.02);
            x[k] = at + h;
            phi = in.value(x, in.user);
            x[k] = at - h;
            phi -= in.value(x, in.user);
            x[k] = at;
            CHECK_CLOSE(-phi / (2.0 * h) / 1e3, a[k] / 1e3, 1e-5);
        }
    }
    CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_field(&in), start, 0.02, 400, 101,
                             orbit) == AF_OK);
    {
        double first = 0.0, worst = 0.0;
        for (i = 0; i < 101; i++) {
            const double *xv = orbit + 6 * i;
            double e = in.value(xv, in.user) +
                       0.5 * (xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]);
            if (i == 0) first = e;
            if (fabs(e / first - 1.0) > worst) worst = fabs(e / first - 1.0);
        }
        SAY("energy in a coarse table, 2 Gyr: %.1e\n", worst);
        CHECK(worst < 3e-7);
    }
    af_field_table_destroy(t);
    af_context_destroy(c);
}

/* Actions from the orbit in the table of a fitted model: those of the true potential. */
TEST(table_of_a_model) {
    af_context *c = NULL;
    af_mass_model *m;
    af_field exact = galaxy_field(), f, in;
    af_field_table *t;
    double error[HELD], j[2][3];
    size_t i, k;
    unsigned flags;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    m = fit(c, streams(), NULL);
    if (!m) return;
    f = af_field_of_mass_model(m);
    t = tabulate(c, &f, 0);
    if (!t) return;
    in = af_field_of_table(t);
    field_errors(&in, galaxy(), 2, streams(), error);
    CHECK(error[HELD / 2] < 1e-3);
    for (i = 0; i < 2; i++) {
        CHECK(af_orbit_actions(c, i ? &in : &exact, streams(), NULL, j[i], NULL, NULL, NULL,
                               &flags) == AF_OK);
    }
    SAY("actions %g %g %g, %g %g %g\n", j[0][0], j[0][1], j[0][2], j[1][0], j[1][1], j[1][2]);
    for (k = 0; k < 3; k++) CHECK_CLOSE(j[1][k], j[0][k], 5e-3);
    af_field_table_destroy(t);
    af_mass_model_destroy(m);
    af_context_destroy(c);
}

static void nowhere_pull(const double x[3], double a[3], void *user) {
    (void)user;
    a[0] = a[1] = a[2] = x[0] > 5.0 ? NAN : 0.0;
}

static void table_refused(const af_field *f, const af_field_table_desc *d, af_status status,
                          const char *words) {
    af_context *c = NULL;
    af_field_table *t = (af_field_table *)&c;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    CHECK(af_field_table_create(c, f, d, &t) == status);
    CHECK(t == NULL);
    CHECK_TEXT(af_error(c), words);
    af_context_destroy(c);
}

TEST(table_errors) {
    af_field f = galaxy_field();
    af_field_table_desc good = AF__ZERO, d;
    good.radius = 8.0;
    d = good;
    d.start_canary = 1;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "zero");
    d = good;
    d.end_canary = 1;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "zero");
    d = good;
    d.radius = 0.0;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "radius 0");
    d.radius = NAN;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "radius");
    d.radius = HUGE_VAL;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "radius inf");
    d = good;
    d.fine_r = -1.0;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "fine_r -1");
    d = good;
    d.fine_z = -1.0;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "fine_z -1");
    d = good;
    d.knots_r = 1;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "knots");
    d = good;
    d.knots_z = 1000000;
    table_refused(&f, &d, AF_ERROR_ARGUMENT, "knots");
    f.value = NULL;
    table_refused(&f, &good, AF_ERROR_ARGUMENT, "function");
    f = galaxy_field();
    f.acceleration = NULL;
    table_refused(&f, &good, AF_ERROR_ARGUMENT, "function");
    f.acceleration = nowhere_pull;
    table_refused(&f, &good, AF_ERROR_NONFINITE, "not finite near R =");
    af_field_table_destroy(NULL);
    af_mass_model_destroy(NULL);
}

/* A point mass: the centre is not asked. */
TEST(table_of_a_point) {
    af_context *c = NULL;
    af_potential part = af_potential_isochrone(1e10, 0.0);
    af_potential_sum sum;
    af_field f, in;
    af_field_table *t;
    double x[3] = {1.0, 2.0, -2.0}, a[3], b[3];
    sum.parts = &part;
    sum.count = 1;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    f = af_field_of_potential(&sum);
    t = tabulate(c, &f, 0);
    if (!t) return;
    in = af_field_of_table(t);
    in.acceleration(x, a, in.user);
    f.acceleration(x, b, f.user);
    CHECK(difference(a, b) < 1e-4);
    af_field_table_destroy(t);
    af_context_destroy(c);
}

/* ---- memory that ends at the k-th call ---- */

static af_status everything(af_context *c, const char *path) {
    af_orbits *o = NULL;
    af_mass_model *m = NULL, *again = NULL;
    af_field_table *t = NULL;
    af_field_table_desc d = AF__ZERO;
    af_field f;
    af_status s = af_orbits_create(c, 12, STARS, streams(), NULL, &o);
    d.radius = 8.0;
    d.knots_r = d.knots_z = 5;
    if (s == AF_OK) s = af_mass_model_fit(c, o, NULL, &m);
    if (s == AF_OK) s = af_mass_model_save(m, path);
    if (s == AF_OK) s = af_mass_model_load(c, path, &again);
    if (s == AF_OK) {
        f = af_field_of_mass_model(again);
        s = af_field_table_create(c, &f, &d, &t);
    }
    af_field_table_destroy(t);
    af_mass_model_destroy(again);
    af_mass_model_destroy(m);
    af_orbits_destroy(o);
    return s;
}

TEST(memory_ends) {
    const char *path = scratch_file("memory.safetensors");
    heap h = AF__ZERO;
    long calls, k;
    af_context *c = heap_context(&h, 1);
    CHECK(everything(c, path) == AF_OK);
    af_context_destroy(c);
    CHECK(h.live == 0);
    calls = h.calls;
    CHECK(calls > 12 && calls < 2000);
    for (k = 1; k <= calls; k++) {
        h.calls = 0;
        h.fail_at = k;
        c = heap_context(&h, 1);
        if (!c) continue;
        CHECK(everything(c, path) == AF_ERROR_MEMORY);
        CHECK(af_error_status(c) == AF_ERROR_MEMORY);
        af_context_destroy(c);
        CHECK(h.live == 0);
    }
    remove(path);
}

int main(void) {
    RUN(gradient_and_density);
    RUN(force_and_field);
    RUN(recovers_the_field);
    RUN(mixed_streams);
    RUN(any_size);
    RUN(triaxial);
    RUN(ellipsoids);
    RUN(noise);
    RUN(odd_streams);
    RUN(errors);
    RUN(file_round_trip);
    RUN(file_errors);
    RUN(table_inside);
    RUN(table_special_places);
    RUN(table_edge);
    RUN(table_energy);
    RUN(table_of_a_model);
    RUN(table_errors);
    RUN(table_of_a_point);
    RUN(memory_ends);
    return test_report();
}
