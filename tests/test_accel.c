/* The acceleration field: derivatives of the map, eqs. 14 to 17, the solve without a network,
 * training in a known field. The toy being the truth, the map is exact. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "accel"
#include "af_mock.h"

enum { STREAMS = 40, STARS = 4, ALL = STREAMS * STARS };

static af_isochrone wrong_toy(void) {
    af_isochrone toy = mock_truth();
    toy.mass *= 1.3;
    toy.scale = 6.5;
    return toy;
}

/* Orbits in the true isochrone, and the map of an untrained finder, whose toy it is. */
typedef struct world {
    af_context *c;
    af_orbits *o;
    af_finder *f;
    af_mapper *m;
    af_phase_map map;
} world;

static int world_open(world *w, const af_isochrone *toy) {
    af_finder_desc d = AF__ZERO;
    memset(w, 0, sizeof *w);
    d.toy = *toy;
    d.net.width = 8;
    d.net.depth = 1;
    d.harmonics_r = d.harmonics_z = 2;
    d.plane_symmetric = AF_SYMMETRY_YES;
    CHECK(af_context_create(NULL, &w->c) == AF_OK);
    w->o = mock_orbits(w->c, 5, STREAMS, STARS);
    if (!w->o || af_finder_create(w->c, w->o, &d, &w->f) != AF_OK ||
        af_mapper_create(w->f, STARS, 32, 1, &w->m) != AF_OK) {
        CHECK(w->m != NULL);
        printf("  %s\n", af_error(w->c));
        return 0;
    }
    w->map = af_mapper_map(w->m);
    return 1;
}

static void world_close(world *w) {
    af_mapper_destroy(w->m);
    af_finder_destroy(w->f);
    af_orbits_destroy(w->o);
    af_context_destroy(w->c);
}

static void true_acceleration(const double *x, double a[3]) {
    af_isochrone truth = mock_truth();
    af_potential part = af_isochrone_potential(&truth);
    af_potential_acceleration(&part, 1, x, a);
}

static void truth_force(const double x[3], double a[3], void *user) {
    (void)user;
    true_acceleration(x, a);
}

static double relative_error(const double *a, const double *b) {
    double d = 0.0, n = 0.0;
    size_t k;
    for (k = 0; k < 3; k++) {
        d += (a[k] - b[k]) * (a[k] - b[k]);
        n += b[k] * b[k];
    }
    return sqrt(d / n);
}

static void places(const af_orbits *o, double *x) {
    size_t i, k;
    for (i = 0; i < ALL; i++)
        for (k = 0; k < 3; k++) x[3 * i + k] = af_orbits_xv(o, 0)[6 * i + k];
}

/* Median relative error of a field at the stars. */
static double field_error(const af_accel *a, const af_orbits *o) {
    static double x[3 * ALL], y[3 * ALL], error[ALL];
    af_accel_evaluator *e;
    size_t i;
    if (af_accel_evaluator_create(a, 64, 1, &e) != AF_OK) return NAN;
    places(o, x);
    af_accel_evaluate(e, ALL, x, y, NULL);
    for (i = 0; i < ALL; i++) {
        double truth[3];
        true_acceleration(x + 3 * i, truth);
        error[i] = relative_error(y + 3 * i, truth);
    }
    af_accel_evaluator_destroy(e);
    return median(error, ALL);
}

/* ---- the map's derivatives ---- */

/* The largest departure from {theta_i,J_k} = delta_ik, {J_i,J_k} = {theta_i,theta_k} = 0 of one
 * star; J and v in units of 100. */
static double asymplectic(const double *dj, const double *dtheta) {
    double row[6][6], worst = 0.0;
    size_t i, k, m;
    for (i = 0; i < 3; i++)
        for (m = 0; m < 6; m++) {
            double unit = m < 3 ? 0.1 : 10.0; /* x and v: the product of the units is 1 */
            row[i][m] = dtheta[6 * i + m] / unit;
            row[3 + i][m] = dj[6 * i + m] / unit;
        }
    for (i = 0; i < 6; i++)
        for (k = 0; k < 6; k++) {
            double bracket = 0.0, scale = 1.0, away;
            double expected = k == i + 3 ? 1.0 : i == k + 3 ? -1.0 : 0.0;
            for (m = 0; m < 3; m++) {
                bracket += row[i][m] * row[k][3 + m] - row[i][3 + m] * row[k][m];
                scale += fabs(row[i][m] * row[k][3 + m]) + fabs(row[i][3 + m] * row[k][m]);
            }
            away = fabs(bracket - expected) / scale;
            if (!(away < worst)) worst = away;
        }
    return worst;
}

static void check_differences(const af_phase_map *map, const double *xv, const double *dj,
                              const double *dtheta) {
    size_t k, q;
    for (k = 0; k < 6; k++) {
        double at[2][6], j[2][3], theta[2][3], h = k < 3 ? 1e-4 : 1e-3;
        memcpy(at[0], xv, sizeof at[0]);
        memcpy(at[1], xv, sizeof at[1]);
        at[0][k] += h;
        at[1][k] -= h;
        CHECK(map->evaluate(2, 1, at[0], NULL, j[0], theta[0], NULL, NULL, map->user) == 0);
        for (q = 0; q < 3; q++) {
            double slope = angle_between(theta[0][q], theta[1][q]) / (2.0 * h);
            CHECK_CLOSE((j[0][q] - j[1][q]) / (2.0 * h), dj[6 * q + k], 2e-5);
            CHECK_CLOSE(10.0 * slope, 10.0 * dtheta[6 * q + k], 2e-5);
        }
    }
}

/* A finder of this kind with random coefficients: canonical whatever they are. */
static void check_map(size_t kind) {
    af_finder_desc d = AF__ZERO;
    af_context *c = NULL;
    af_orbits *o;
    af_finder *f = NULL;
    af_mapper *m = NULL;
    static double j[3 * 24], theta[3 * 24], dj[18 * 24], dtheta[18 * 24];
    size_t i, failed;
    af_phase_map map;
    d.toy = wrong_toy();
    d.net.width = d.point_net.width = 8;
    d.net.depth = 1;
    d.harmonics_r = d.harmonics_z = 2;
    d.harmonics_phi = 1;
    d.generator = kind == 2 ? AF_GENERATOR_NETWORK : AF_GENERATOR_FOURIER;
    d.axisymmetric = kind == 0 ? AF_SYMMETRY_YES : AF_SYMMETRY_NO;
    d.point_transformation = kind == 1;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    o = mock_orbits(c, 7, 24, 2);
    CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
    shake(f, kind, kind == 2 ? 0.003 : 0.03);
    CHECK(af_mapper_create(f, 1, 16, 1, &m) == AF_OK);
    map = af_mapper_map(m);
    failed = map.evaluate(12, 2, af_orbits_xv(o, 0), NULL, j, theta, dj, dtheta, map.user);
    CHECK(failed < 4);
    for (i = 0; i < 24; i++) {
        if (!(j[3 * i] == j[3 * i])) continue;
        CHECK(asymplectic(dj + 18 * i, dtheta + 18 * i) < 1e-8);
        if (i >= 8) continue;
        check_differences(&map, af_orbits_xv(o, 0) + 6 * i, dj + 18 * i, dtheta + 18 * i);
    }
    af_mapper_destroy(m);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
}

TEST(derivatives_fourier) { check_map(0); }
TEST(derivatives_point) { check_map(1); }
TEST(derivatives_network) { check_map(2); }

/* Streams together, star by star, a short stream, an unbound and a planar star. */
TEST(mapper_rows) {
    world w;
    af_isochrone truth = mock_truth();
    static double xv[2 * STARS * 6], j[2 * STARS * 3], dj[2 * STARS * 18], one[3], alone[18];
    size_t count[2] = {STARS, 2}, i, k;
    af_mapper *none = NULL;
    if (!world_open(&w, &truth)) return;
    memcpy(xv, af_orbits_xv(w.o, 0), sizeof xv);
    xv[6 + 3] = 5000.0;
    xv[12 + 2] = xv[12 + 5] = 0.0;
    CHECK(w.map.evaluate(2, STARS, xv, count, j, NULL, dj, NULL, w.map.user) == 2);
    for (i = 0; i < 2 * STARS; i++) {
        int bad = i == 1 || i == 2 || i >= STARS + 2;
        CHECK((j[3 * i] != j[3 * i]) == bad && (dj[18 * i] != dj[18 * i]) == bad);
        if (bad) continue;
        CHECK(w.map.evaluate(1, 1, xv + 6 * i, NULL, one, NULL, alone, NULL, w.map.user) == 0);
        for (k = 0; k < 18; k++) CHECK_CLOSE(dj[18 * i + k], alone[k], 1e-10);
        CHECK_CLOSE(j[3 * i], one[0], 1e-12);
    }
    CHECK(af_mapper_create(w.f, 0, 1, 1, &none) == AF_ERROR_ARGUMENT && none == NULL);
    af_mapper_destroy(none);
    world_close(&w);
}

/* ---- the solve without a network ---- */

/* Eq. 15 solved at each star, in units of another toy. */
TEST(linear_exact) {
    world w;
    af_isochrone truth = mock_truth();
    af_accel_linear_desc d = AF__ZERO;
    static double x[3 * ALL], a[3 * ALL], misfit[ALL], error[ALL];
    size_t i;
    if (!world_open(&w, &truth)) return;
    places(w.o, x);
    d.toy = wrong_toy();
    CHECK(af_accel_linear(w.c, w.o, &w.map, &d, ALL, x, a, misfit) == AF_OK);
    for (i = 0; i < ALL; i++) {
        double t[3];
        true_acceleration(x + 3 * i, t);
        error[i] = relative_error(a + 3 * i, t);
        CHECK(error[i] < 1e-7); /* nearly planar and circular orbits are ill-conditioned */
        CHECK(misfit[i] < 1e-9);
    }
    CHECK(median(error, ALL) < 1e-10);
    world_close(&w);
}

/* Where there is no star; the toy being true, nothing is left to find. */
TEST(linear_neighbours) {
    world w;
    af_isochrone truth = mock_truth();
    af_accel_linear_desc d = AF__ZERO;
    double x[6] = {8.0, 1.0, 2.0, -3.0, 7.0, -4.0}, a[6], t[3], error[2];
    size_t k;
    if (!world_open(&w, &truth)) return;
    d.neighbours = 12;
    for (k = 0; k < 4; k++) {
        d.gradient = k & 1;
        d.axisymmetric = k & 2 ? AF_SYMMETRY_NO : AF_SYMMETRY_YES;
        d.toy = truth;
        CHECK(af_accel_linear(w.c, w.o, &w.map, &d, 2, x, a, NULL) == AF_OK);
        true_acceleration(x, t);
        CHECK(relative_error(a, t) < 1e-7);
        d.toy = wrong_toy();
        CHECK(af_accel_linear(w.c, w.o, &w.map, &d, 2, x, a, NULL) == AF_OK);
        error[0] = relative_error(a, t);
        true_acceleration(x + 3, t);
        error[1] = relative_error(a + 3, t);
        if (getenv("AF_VERBOSE")) printf("  %d: %.4f %.4f\n", (int)k, error[0], error[1]);
        CHECK(error[0] < (k & 2 ? 0.12 : 0.04) && error[1] < (k & 2 ? 0.12 : 0.04));
    }
    d.neighbours = ALL + 1;
    CHECK(af_accel_linear(w.c, w.o, &w.map, &d, 2, x, a, NULL) == AF_ERROR_DATA);
    CHECK_TEXT(af_error(w.c), "neighbours");
    world_close(&w);
}

/* ---- frequencies ---- */

TEST(frequencies) {
    world w;
    af_isochrone truth = mock_truth();
    af_accel_desc d = AF__ZERO;
    af_accel *a = NULL;
    static double omega[3 * ALL], stream[3 * STREAMS];
    size_t i, k;
    if (!world_open(&w, &truth)) return;
    d.toy = truth; /* the untrained field is the toy's */
    CHECK(af_accel_create(w.c, w.o, &d, &a) == AF_OK);
    CHECK(af_accel_frequencies(a, w.o, &w.map, omega, stream) == AF_OK);
    for (i = 0; i < ALL; i++) {
        double expected[3];
        af_isochrone_actions(&truth, af_orbits_xv(w.o, 0) + 6 * i, NULL, NULL, expected);
        for (k = 0; k < 3; k++) CHECK_CLOSE(omega[3 * i + k], expected[k], 1e-8);
        for (k = 0; k < 3; k++) CHECK_CLOSE(stream[3 * (i / STARS) + k], expected[k], 1e-8);
    }
    af_accel_destroy(a);
    world_close(&w);
}

/* ---- the network ---- */

/* Phi and its gradient agree; symmetric where it says so. */
TEST(potential_gradient) {
    world w;
    af_isochrone truth = mock_truth();
    size_t kind, i, k;
    if (!world_open(&w, &truth)) return;
    for (kind = 0; kind < 4; kind++) {
        af_accel_desc d = AF__ZERO;
        af_accel *a = NULL;
        af_accel_evaluator *e = NULL;
        double x[3] = {4.0, -5.0, 1.2}, pull[3], phi[2], at[6], there[6], *p;
        d.toy = wrong_toy();
        d.axisymmetric = kind & 1 ? AF_SYMMETRY_NO : AF_SYMMETRY_YES;
        d.plane_symmetric = kind & 2 ? AF_SYMMETRY_NO : AF_SYMMETRY_YES;
        d.net.random_last = 1;
        CHECK(af_accel_create(w.c, w.o, &d, &a) == AF_OK);
        CHECK(af_accel_is_axisymmetric(a) == !(kind & 1));
        p = af_params_data(test_accel_params(a));
        for (i = 0; i < af_accel_parameters(a); i++) p[i] += 0.1 * af_random_normal(3, kind, i);
        CHECK(af_accel_evaluator_create(a, 3, 1, &e) == AF_OK);
        af_accel_evaluate(e, 1, x, pull, NULL);
        for (k = 0; k < 3; k++) {
            memcpy(at, x, sizeof x);
            memcpy(at + 3, x, sizeof x);
            at[k] += 1e-4;
            at[3 + k] -= 1e-4;
            af_accel_evaluate(e, 2, at, NULL, phi);
            CHECK_CLOSE(-(phi[0] - phi[1]) / 2e-4, pull[k], 1e-5);
        }
        memcpy(at, x, sizeof x);
        at[2] = -x[2];
        at[3] = -x[1];
        at[4] = x[0];
        at[5] = x[2];
        af_accel_evaluate(e, 2, at, there, NULL);
        CHECK((fabs(there[2] + pull[2]) < 1e-9 * fabs(pull[2])) == !(kind & 2));
        CHECK((fabs(there[3] + pull[1]) < 1e-9 * fabs(pull[1])) == !(kind & 1));
        af_accel_evaluator_destroy(e);
        af_accel_destroy(a);
    }
    world_close(&w);
}

static double fitted(world *w, const af_accel_desc *d, const af_phase_map *map,
                     const af_accel_fit_desc *fit, double *untrained) {
    af_accel *a = NULL;
    double error = NAN;
    af_status s = af_accel_create(w->c, w->o, d, &a);
    if (s == AF_OK) {
        *untrained = field_error(a, w->o);
        s = af_accel_fit(a, w->o, map, fit);
    }
    CHECK(s == AF_OK);
    if (s == AF_OK) error = field_error(a, w->o);
    else printf("  %s\n", af_error(w->c));
    af_accel_destroy(a);
    return error;
}

/* From an exact map: each term, and each model, finds the field. */
TEST(fit_exact) {
    world w;
    af_isochrone truth = mock_truth();
    size_t kind;
    static const double most[5] = {0.005, 0.01, 0.02, 0.11, 0.02};
    if (!world_open(&w, &truth)) return;
    for (kind = 0; kind < 5; kind++) {
        af_accel_desc d = AF__ZERO;
        af_accel_fit_desc fit = AF__ZERO;
        double before = 0.0, after;
        d.toy = wrong_toy();
        d.net.width = 12;
        fit.steps = 300;
        if (kind == 1) fit.action_weight = -1.0; /* the energy alone, without a map */
        if (kind == 2) {
            fit.energy_weight = -1.0;
            fit.frequency_weight = 1.0;
        }
        if (kind == 3) {
            d.model = AF_ACCEL_FREE;
            d.net.width = 24;
            fit.symmetry_weight = 1.0;
            fit.steps = 600;
        }
        if (kind == 4) fit.energy_weight = -1.0; /* eq. 15 alone */
        after = fitted(&w, &d, kind == 1 ? NULL : &w.map, &fit, &before);
        if (getenv("AF_VERBOSE")) printf("  %d: %.4f -> %.5f\n", (int)kind, before, after);
        CHECK(before > 0.05);
        CHECK(after < most[kind]);
    }
    world_close(&w);
}

/* A small trained map finds a field better than the toy it came from. */
TEST(fit_trained) {
    world w;
    af_isochrone toy = wrong_toy();
    af_fit_desc train = AF__ZERO;
    af_accel_desc d = AF__ZERO;
    af_accel_fit_desc fit = AF__ZERO;
    double before = 0.0, after;
    if (!world_open(&w, &toy)) return;
    train.epochs = 1500;
    CHECK(af_finder_fit(w.f, w.o, &train) == AF_OK);
    af_mapper_destroy(w.m);
    w.m = NULL;
    CHECK(af_mapper_create(w.f, STARS, 32, 1, &w.m) == AF_OK);
    w.map = af_mapper_map(w.m);
    d.toy = toy;
    d.net.width = 12;
    fit.steps = 300;
    fit.energy_weight = -1.0;
    after = fitted(&w, &d, &w.map, &fit, &before);
    if (getenv("AF_VERBOSE")) printf("  %.4f -> %.5f\n", before, after);
    CHECK(after < 0.3 * before);
    world_close(&w);
}

/* ---- files and arguments ---- */

TEST(files) {
    world w;
    af_isochrone truth = mock_truth();
    size_t kind, n;
    const char *path = scratch_file("field.safetensors"), *bad = scratch_file("bad.safetensors");
    unsigned char *bytes;
    af_accel *b = NULL;
    if (!world_open(&w, &truth)) return;
    for (kind = 0; kind < 2; kind++) {
        af_accel_desc d = AF__ZERO;
        af_accel *a = NULL;
        d.toy = wrong_toy();
        d.model = kind ? AF_ACCEL_FREE : AF_ACCEL_POTENTIAL;
        d.net.random_last = 1;
        CHECK(af_accel_create(w.c, w.o, &d, &a) == AF_OK);
        CHECK(af_accel_save(a, path) == AF_OK);
        CHECK(af_accel_load(w.c, path, &b) == AF_OK);
        if (b) {
            CHECK(field_error(a, w.o) == field_error(b, w.o));
            CHECK(af_accel_parameters(a) == af_accel_parameters(b));
            CHECK(af_accel_toy(b).mass == d.toy.mass && af_accel_toy(b).scale == d.toy.scale);
        }
        af_accel_destroy(b);
        af_accel_destroy(a);
    }
    bytes = read_bytes(path, &n);
    write_bytes(bad, bytes, n / 2);
    CHECK(af_accel_load(w.c, bad, &b) == AF_ERROR_FORMAT && b == NULL);
    free(bytes);
    af_error_clear(w.c);
    CHECK(af_finder_save(w.f, bad) == AF_OK);
    CHECK(af_accel_load(w.c, bad, &b) == AF_ERROR_FORMAT && b == NULL);
    CHECK_TEXT(af_error(w.c), "not an acceleration field");
    af_error_clear(w.c);
    CHECK(af_accel_load(w.c, "/nowhere/at/all", &b) == AF_ERROR_IO && b == NULL);
    remove(path);
    remove(bad);
    world_close(&w);
}

static void check_refused(af_context *c, af_status s, const char *words) {
    CHECK(s == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), words);
    af_error_clear(c);
}

TEST(arguments) {
    world w;
    af_isochrone truth = mock_truth();
    af_accel_desc d = AF__ZERO;
    af_accel_fit_desc fit = AF__ZERO;
    af_accel_linear_desc l = AF__ZERO;
    af_accel *a = NULL;
    af_accel_evaluator *e = NULL;
    af_force none = AF__ZERO;
    double x[3] = {8, 0, 1};
    int unknown = 2;
    if (!world_open(&w, &truth)) return;
    d.end_canary = 1;
    check_refused(w.c, af_accel_create(w.c, w.o, &d, &a), "zero");
    d.end_canary = 0;
    d.model = (af_accel_model)unknown;
    check_refused(w.c, af_accel_create(w.c, w.o, &d, &a), "model");
    d.model = AF_ACCEL_FREE;
    d.toy.mass = -1.0;
    check_refused(w.c, af_accel_create(w.c, w.o, &d, &a), "mass");
    d.toy = truth;
    CHECK(af_accel_create(w.c, w.o, &d, &a) == AF_OK);
    fit.energy_weight = 1.0;
    check_refused(w.c, af_accel_fit(a, w.o, &w.map, &fit), "energy");
    fit.energy_weight = 0.0;
    check_refused(w.c, af_accel_fit(a, w.o, NULL, &fit), "map");
    fit.start_canary = 1;
    check_refused(w.c, af_accel_fit(a, w.o, &w.map, &fit), "zero");
    check_refused(w.c, af_accel_evaluator_create(a, 0, 1, &e), "block");
    l.start_canary = 1;
    check_refused(w.c, af_accel_linear(w.c, w.o, &w.map, &l, 1, x, x, NULL), "zero");
    check_refused(w.c, af_finder_fit_known(w.f, w.o, none, 1.0, NULL), "force");
    af_accel_destroy(a);
    world_close(&w);
}

/* ---- a known field ---- */

/* Median over the stars of |dJ/dt| in the true field over Omega_r, by the map's derivatives. */
static double drift_of(world *w) {
    static double dj[18 * ALL], all[ALL];
    af_isochrone truth = mock_truth();
    size_t i, k, q, n = 0;
    w->map.evaluate(STREAMS, STARS, af_orbits_xv(w->o, 0), NULL, NULL, NULL, dj, NULL, w->map.user);
    for (i = 0; i < ALL; i++) {
        const double *xv = af_orbits_xv(w->o, 0) + 6 * i;
        double a[3], omega[3], sum = 0.0;
        if (!(dj[18 * i] == dj[18 * i])) continue;
        true_acceleration(xv, a);
        af_isochrone_actions(&truth, xv, NULL, NULL, omega);
        for (q = 0; q < 3; q++) {
            double rate = 0.0;
            for (k = 0; k < 3; k++) rate += dj[18 * i + 6 * q + k] * xv[3 + k];
            for (k = 0; k < 3; k++) rate += dj[18 * i + 6 * q + 3 + k] * a[k];
            sum += fabs(rate / omega[2]);
        }
        all[n++] = sum;
    }
    return median(all, n);
}

static double known_drift(int free_toy, double weight) {
    world w;
    af_isochrone toy = wrong_toy();
    af_fit_desc train = AF__ZERO;
    af_force force;
    double drift = NAN;
    af_finder_desc d = AF__ZERO;
    force.acceleration = truth_force;
    force.user = NULL;
    if (!world_open(&w, &toy)) return NAN;
    af_mapper_destroy(w.m);
    af_finder_destroy(w.f);
    w.m = NULL;
    d.toy = toy;
    d.free_toy = free_toy;
    d.net.width = 24;
    d.harmonics_r = 6;
    d.harmonics_z = 4;
    CHECK(af_finder_create(w.c, w.o, &d, &w.f) == AF_OK);
    train.epochs = 600;
    train.schedule.rate = 1e-2;
    if (weight < 0.0) CHECK(af_finder_fit(w.f, w.o, &train) == AF_OK);
    if (weight > 0.0) CHECK(af_finder_fit_known(w.f, w.o, force, weight, &train) == AF_OK);
    af_mapper_destroy(w.m);
    w.m = NULL;
    CHECK(af_mapper_create(w.f, STARS, 32, 1, &w.m) == AF_OK);
    w.map = af_mapper_map(w.m);
    drift = drift_of(&w);
    world_close(&w);
    return drift;
}

TEST(known_field) {
    double before = known_drift(0, 0.0), fixed = known_drift(0, 1.0), moved = known_drift(1, 1.0);
    double unknown = known_drift(0, -1.0);
    if (getenv("AF_VERBOSE"))
        printf("  %.2f -> %.2f, %.2f; not known: %.2f\n", before, fixed, moved, unknown);
    CHECK(fixed < 0.5 * before && fixed < 0.9 * unknown);
    CHECK(moved < 0.2 * before);
}

TEST(known_refuses) {
    static double xv[2 * 2 * 6];
    af_context *c = NULL;
    af_orbits *o = NULL;
    af_finder *f = NULL;
    af_finder_desc d = AF__ZERO;
    af_force force;
    force.acceleration = truth_force;
    force.user = NULL;
    mock_streams(3, 2, 2, xv, NULL, NULL);
    xv[2] = xv[5] = 0.0; /* in the plane */
    d.toy = wrong_toy();
    CHECK(af_context_create(NULL, &c) == AF_OK);
    CHECK(af_orbits_create(c, 2, 2, xv, NULL, &o) == AF_OK);
    CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
    CHECK(af_finder_fit_known(f, o, force, 0.0, NULL) == AF_ERROR_DATA);
    CHECK_TEXT(af_error(c), "planar");
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
}

/* ---- memory that ends at the k-th call ---- */

static af_status field_life(af_context *c, const af_orbits *o, const af_phase_map *map,
                            const char *path) {
    af_accel_desc d = AF__ZERO;
    af_accel_fit_desc fit = AF__ZERO;
    af_accel_linear_desc l = AF__ZERO;
    af_accel *a = NULL, *b = NULL;
    double x[3] = {8.0, 0.0, 1.0}, y[3], omega[12];
    af_status s;
    d.net.width = 4;
    d.net.depth = 1;
    fit.steps = 2;
    fit.frequency_weight = 1.0;
    l.neighbours = 2;
    s = af_accel_create(c, o, &d, &a);
    if (s == AF_OK) s = af_accel_fit(a, o, map, &fit);
    if (s == AF_OK) s = af_accel_frequencies(a, o, map, omega, NULL);
    if (s == AF_OK) s = af_accel_save(a, path);
    if (s == AF_OK) s = af_accel_load(c, path, &b);
    if (s == AF_OK) s = af_accel_linear(c, o, map, &l, 1, x, y, NULL);
    af_accel_destroy(b);
    af_accel_destroy(a);
    return s;
}

static af_status whole_life(af_context *c, const char *path) {
    static double xv[2 * 2 * 6];
    af_finder_desc d = AF__ZERO;
    af_fit_desc fit = AF__ZERO;
    af_orbits *o = NULL;
    af_finder *f = NULL;
    af_mapper *m = NULL;
    af_force force;
    af_phase_map map;
    af_status s;
    force.acceleration = truth_force;
    force.user = NULL;
    mock_streams(3, 2, 2, xv, NULL, NULL);
    d.toy = wrong_toy();
    d.net.width = 4;
    d.net.depth = 1;
    d.harmonics_r = d.harmonics_z = 1;
    fit.epochs = 1;
    s = af_orbits_create(c, 2, 2, xv, NULL, &o);
    if (s == AF_OK) s = af_finder_create(c, o, &d, &f);
    if (s == AF_OK) s = af_finder_fit_known(f, o, force, 0.0, &fit);
    if (s == AF_OK) s = af_mapper_create(f, 2, 4, 1, &m);
    if (s == AF_OK) {
        map = af_mapper_map(m);
        s = field_life(c, o, &map, path);
    }
    af_mapper_destroy(m);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    return s;
}

TEST(memory) {
    const char *path = scratch_file("life.safetensors");
    heap memory;
    long k, calls = 1;
    for (k = 0; k <= calls; k += k == 0 ? 1 : 1 + calls / 150) {
        af_context *c;
        af_status s;
        memset(&memory, 0, sizeof memory);
        memory.fail_at = k;
        c = heap_context(&memory, 1);
        if (!c) continue;
        s = whole_life(c, path);
        CHECK(s == (k ? AF_ERROR_MEMORY : AF_OK) || (k && s == AF_OK && memory.calls < k));
        if (k == 0) calls = memory.calls;
        if (k) CHECK(s == AF_OK || strstr(af_error(c), "memory"));
        if (s != (k ? AF_ERROR_MEMORY : AF_OK))
            printf("  call %ld of %ld: status %d %s\n", k, calls, (int)s, af_error(c));
        af_context_destroy(c);
        CHECK(memory.live == 0);
    }
    CHECK(calls > 20);
    remove(path);
}

int main(void) {
    RUN(derivatives_fourier);
    RUN(derivatives_point);
    RUN(derivatives_network);
    RUN(mapper_rows);
    RUN(linear_exact);
    RUN(linear_neighbours);
    RUN(frequencies);
    RUN(potential_gradient);
    RUN(fit_exact);
    RUN(fit_trained);
    RUN(files);
    RUN(arguments);
    RUN(known_field);
    RUN(known_refuses);
    RUN(memory);
    return test_report();
}
