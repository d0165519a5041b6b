/* From actions and angles to points: against the isochrone, against the orbits' own actions in a
 * galaxy, and special orbits. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "orbit_point"
#include "af_mock.h"

/* Disc, bulge and halo: v_c(8 kpc) = 230 km/s. */
static af_field galaxy(void) {
    static af_potential part[3];
    static af_potential_sum sum;
    part[0] = af_potential_miyamoto_nagai(5.7e10, 3.0, 0.4);
    part[1] = af_potential_plummer(9e9, 0.4);
    part[2] = af_potential_nfw(6.6e11, 17.0);
    sum.parts = part;
    sum.count = 3;
    return af_field_of_potential(&sum);
}

static const af_isochrone round_mass = {3.3e11, 5.0};

static af_field isochrone(void) {
    static af_potential part;
    static af_potential_sum sum;
    part = af_isochrone_potential(&round_mass);
    sum.parts = &part;
    sum.count = 1;
    return af_field_of_potential(&sum);
}

static af_context *new_context(void) {
    af_context *c = NULL;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    return c;
}

/* Distances of points [kpc], and of their velocities [km/s]. */
static double apart(const double a[6], const double b[6], int from) {
    double d[3];
    int i;
    for (i = 0; i < 3; i++) d[i] = a[from + i] - b[from + i];
    return af__norm3(d);
}

static const double halo[5][6] = {{8.0, 1.0, 4.0, 60.0, 80.0, 90.0},
                                  {10.0, 0.0, -3.0, -50.0, 120.0, 30.0},
                                  {0.0, 12.0, 2.0, -100.0, 30.0, 80.0},
                                  {6.0, -5.0, 5.0, 40.0, 150.0, 60.0},
                                  {8.0, 0.0, 0.1, 30.0, 211.0, 19.0}};

/* ---- closed form ---- */

/* Its circular orbit has the isochrone's own speed and shear: the first guess is the answer. */
TEST(guess_is_exact_in_an_isochrone) {
    af_field field = isochrone();
    af_isochrone toy;
    double l;
    for (l = 200.0; l < 2e4; l *= 3.0) { /* outside of its core, where all are alike */
        CHECK(af__op_toy(&field, l, &toy));
        CHECK_CLOSE(toy.mass / round_mass.mass, 1.0, 1e-2);
        CHECK_CLOSE(toy.scale / round_mass.scale, 1.0, 1e-2);
    }
}

TEST(isochrone_from_a_wrong_guess) {
    af_field field = isochrone();
    af_context *c = new_context();
    const double j[3] = {-900.0, 500.0, 300.0}, theta[3] = {7.0, -2.0, 4.0};
    double guess[6], truth[6], xv[6], error[2];
    af_isochrone wrong = round_mass;
    af_orbit_point_desc d = AF__ZERO;
    unsigned flags = 77;
    wrong.mass *= 1.2;
    d.tolerance = 1e-8;
    af_isochrone_position(&wrong, j, theta, guess, NULL);
    af_isochrone_position(&round_mass, j, theta, truth, NULL);
    CHECK(apart(guess, truth, 0) > 0.3);
    CHECK(af_orbit_point(c, &field, j, theta, guess, &d, xv, error, &flags) == AF_OK);
    CHECK(flags == 0 && error[0] < 1e-8 * 1700.0 && error[1] < 1e-7);
    CHECK(apart(xv, truth, 0) < 1e-5 && apart(xv, truth, 3) < 1e-4);
    af_context_destroy(c);
}

/* ---- in a galaxy ---- */

/* Back to where the orbits' actions and angles came from; without a guess and with a bad one, on
 * any number of threads, and each as alone. */
TEST(back_in_a_galaxy) {
    af_field field = galaxy();
    af_context *c = new_context();
    double j[5][3], theta[5][3], guess[5][6], xv[3][5][6], error[5][2], one[6];
    unsigned flags[5];
    size_t i, k, n = AF__COUNT(halo);
    CHECK(af_orbit_actions_of(c, &field, n, halo[0], NULL, j[0], theta[0], NULL, NULL, flags) ==
          AF_OK);
    for (i = 0; i < n; i++)
        for (k = 0; k < 6; k++) guess[i][k] = halo[i][k] * (k % 2 ? 1.05 : 0.96);
    for (i = 0; i < 5; i++) guess[3][i] = NAN; /* as where af_invert fails: there is none */
    for (k = 0; k < 3; k++) {
        af_context_set_threads(c, k == 2 ? 3 : 1);
        CHECK(af_orbit_point_of(c, &field, n, j[0], theta[0], k ? guess[0] : NULL, NULL, xv[k][0],
                                error[0], flags) == AF_OK);
        for (i = 0; i < n; i++) {
            SAY("%d.%d: flags %u, J %.1e, theta %.1e, x %.1e kpc, v %.1e km/s\n", (int)k, (int)i,
                flags[i], error[i][0], error[i][1], apart(xv[k][i], halo[i], 0),
                apart(xv[k][i], halo[i], 3));
            CHECK(flags[i] == 0);
            CHECK(error[i][0] <= 1e-5 * (fabs(j[i][0]) + j[i][1] + j[i][2]));
            CHECK(apart(xv[k][i], halo[i], 0) < 2e-3 && apart(xv[k][i], halo[i], 3) < 0.05);
        }
    }
    CHECK(memcmp(xv[1], xv[2], sizeof xv[1]) == 0);
    CHECK(memcmp(xv[0][3], xv[1][3], sizeof xv[0][3]) == 0);
    CHECK(memcmp(xv[0][0], xv[1][0], sizeof xv[0][0]) != 0);
    CHECK(af_orbit_point(c, &field, j[1], theta[1], guess[1], NULL, one, NULL, NULL) == AF_OK);
    CHECK(memcmp(one, xv[1][1], sizeof one) == 0);
    CHECK(af_orbit_point_of(c, &field, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL) == AF_OK);
    af_context_destroy(c);
}

/* Along an orbit J stays and the angles grow evenly: the series leads from its beginning to the
 * points after it; without the series one gets elsewhere. */
TEST(series_maps_the_torus) {
    af_field field = galaxy();
    af_context *c = new_context();
    af__arena arena = AF__ZERO;
    af__oa_result found = AF__ZERO;
    af_fudge fudge;
    af__op_torus *t = (af__op_torus *)calloc(1, sizeof *t);
    af__oa_work *w;
    double dj[3] = {0.0, 0.0, 0.0}, dtheta[3], xv[6], interval, time, most[2] = {0.0, 0.0};
    size_t i, k, plain;
    arena.allocator = c->allocator;
    w = af__oa_room(&arena, (size_t)AF__OA_SAMPLES * AF__OA_PERIODS);
    w->field = &field;
    memset(&fudge, 0, sizeof fudge);
    fudge.field = field;
    CHECK(af_fudge_actions(&fudge, halo[3], NULL, NULL, dtheta) == 0);
    interval = 2.0 * AF__PI / dtheta[2] / (int)AF__OA_SAMPLES;
    CHECK(af__oa_run(c, w, halo[3], 0, &found) == 0 && af__op_keep(w, &found, halo[3], t));
    for (k = 1; k < 3 * AF__OA_SAMPLES; k++) {
        const double *there = w->xv + 6 * k;
        time = interval * (double)k;
        for (i = 0; i < 3; i++) dtheta[i] = found.omega[i] * time;
        for (plain = 0; plain < 2; plain++) {
            CHECK(af__op_move(t, (int)plain, dj, dtheta, xv));
            most[plain] = fmax(most[plain], apart(xv, there, 0));
        }
    }
    SAY("along the orbit: %.1e kpc, without the series %.1e\n", most[0], most[1]);
    CHECK(most[0] < 0.03 && most[1] > 10.0 * most[0]);
    af__arena_free(&arena);
    free(t);
    af_context_destroy(c);
}

/* ---- special and impossible ones ---- */

TEST(planar_orbit) {
    af_field field = galaxy();
    af_context *c = new_context();
    const double start[6] = {8.0, 1.0, 0.0, 30.0, 150.0, 0.0};
    double j[3], theta[3], xv[6];
    unsigned flags = 77;
    CHECK(af_orbit_actions(c, &field, start, NULL, j, theta, NULL, NULL, NULL) == AF_OK);
    CHECK(j[1] == 0.0);
    CHECK(af_orbit_point(c, &field, j, theta, NULL, NULL, xv, NULL, &flags) == AF_OK);
    SAY("planar: %u, x %.1e kpc\n", flags, apart(xv, start, 0));
    CHECK(flags == 0 && xv[2] == 0.0 && xv[5] == 0.0);
    CHECK(apart(xv, start, 0) < 2e-3 && apart(xv, start, 3) < 0.05);
    af_context_destroy(c);
}

/* Not enough orbits: the best so far, and how far it is. A box has no actions of this kind. */
TEST(unsettled) {
    af_field field = galaxy();
    af_context *c = new_context();
    const double box[3] = {0.0, 1e-9, 500.0}, wrong[6] = {8.0, 1.0, 4.0, 70.0, 90.0, 80.0};
    double j[3], theta[3], a[3], xv[6], error[2];
    af_orbit_point_desc d = AF__ZERO;
    unsigned flags = 77;
    d.orbits = 1;
    CHECK(af_orbit_actions(c, &field, halo[0], NULL, j, theta, NULL, NULL, NULL) == AF_OK);
    CHECK(af_orbit_actions(c, &field, wrong, NULL, a, NULL, NULL, NULL, NULL) == AF_OK);
    CHECK(af_orbit_point(c, &field, j, theta, wrong, &d, xv, error, &flags) == AF_OK);
    CHECK(flags == AF_ORBIT_UNSETTLED && memcmp(xv, wrong, sizeof xv) == 0);
    CHECK(error[0] >= fabs(a[1] - j[1]) && error[0] >= fabs(a[2] - j[2]) && error[1] > 0.0);
    CHECK(af_orbit_point(c, &field, box, theta, NULL, &d, xv, error, &flags) == AF_OK);
    CHECK(flags == AF_ORBIT_UNSETTLED);
    af_context_destroy(c);
}

TEST(impossible) {
    af_field field = galaxy();
    af_context *c = new_context();
    double j[5][3] = {{500.0, -1.0, 10.0},
                      {500.0, 1.0, -10.0},
                      {0.0, 0.0, 0.0},
                      {500.0, 1.0, 10.0},
                      {500.0, 1.0, 10.0}};
    double theta[5][3], xv[5][6], error[5][2];
    unsigned flags[5];
    size_t i;
    memset(theta, 0, sizeof theta);
    j[3][0] = NAN;
    theta[4][2] = INFINITY;
    CHECK(af_orbit_point_of(c, &field, 5, j[0], theta[0], NULL, NULL, xv[0], error[0], flags) ==
          AF_OK);
    for (i = 0; i < 5; i++)
        CHECK(flags[i] == AF_ORBIT_INVALID && xv[i][0] != xv[i][0] && error[i][1] != error[i][1]);
    CHECK(af_error_status(c) == AF_OK);
    af_context_destroy(c);
}

/* ---- arguments and memory ---- */

TEST(arguments) {
    af_field field = galaxy();
    af_context *c = new_context();
    const double j[3] = {900.0, 100.0, 100.0}, theta[3] = {1.0, 2.0, 3.0};
    double xv[6] = {-1.0};
    af_orbit_point_desc d = AF__ZERO;
    int i;
    for (i = 0; i < 6; i++) {
        memset(&d, 0, sizeof d);
        if (i == 0) d.end_canary = 1;
        if (i == 1) d.periods = 3;
        if (i == 2) d.order = 17;
        if (i == 3) d.orbits = 1001;
        if (i == 4) d.tolerance = -1.0;
        if (i == 5) field.value = NULL;
        CHECK(af_orbit_point(c, &field, j, theta, NULL, &d, xv, NULL, NULL) == AF_ERROR_ARGUMENT);
        CHECK_TEXT(af_error(c), i == 3 ? "1001 orbits" : i == 4 ? "tolerance -1" : "orbit");
        CHECK(xv[0] == -1.0);
        af_error_clear(c);
    }
    af_context_destroy(c);
}

/* The k-th allocation fails, for every k. */
TEST(memory) {
    af_field field = isochrone();
    const double j[3] = {900.0, 100.0, 100.0}, theta[3] = {1.0, 2.0, 3.0};
    af_orbit_point_desc d = AF__ZERO;
    long k, failures = 0;
    d.periods = 8;
    d.order = 4;
    for (k = 2; k < 100; k++) { /* the first one is the context's */
        heap h = AF__ZERO;
        af_context *c = heap_context(&h, 1);
        double xv[6] = {-1.0};
        af_status status;
        h.fail_at = k;
        status = af_orbit_point(c, &field, j, theta, NULL, &d, xv, NULL, NULL);
        if (status == AF_ERROR_MEMORY) {
            failures++;
            CHECK_TEXT(af_error(c), "out of memory");
            CHECK(xv[0] == -1.0);
        } else {
            CHECK(status == AF_OK && xv[0] != -1.0);
        }
        CHECK(h.live == 1);
        af_context_destroy(c);
        if (status == AF_OK) break;
    }
    CHECK(failures >= 1 && k < 100);
}

int main(void) {
    RUN(guess_is_exact_in_an_isochrone);
    RUN(isochrone_from_a_wrong_guess);
    RUN(back_in_a_galaxy);
    RUN(series_maps_the_torus);
    RUN(planar_orbit);
    RUN(unsettled);
    RUN(impossible);
    RUN(arguments);
    RUN(memory);
    return test_report();
}
