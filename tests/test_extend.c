/* Longer orbits: they conserve what their field conserves, go on where the given ones were, and
 * stay among them. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "extend"
#include "af_mock.h"

enum { STREAMS = 60, STARS = 4, LONGER = 150 };

static heap memory;
static af_context *c;
static af_potential isochrone;
static af_potential_sum sum;
static af_field field;

static af_orbits *extend(const af_orbits *o, uint64_t seed, int threads) {
    af_extend_desc d = AF__ZERO;
    af_orbits *out = NULL;
    d.streams = LONGER;
    d.stars = 6;
    d.seed = seed;
    d.threads = threads;
    CHECK(af_orbits_extend(c, o, &field, &d, &out) == AF_OK);
    return out;
}

/* Largest scatter of the true actions within the streams, relative to their sum, and the median
 * range of theta_r. */
static void scatter(const af_orbits *o, double *worst, double *range) {
    af_isochrone iso = mock_truth();
    static double ranges[LONGER];
    size_t s, i, k, n = af_orbits_streams(o);
    *worst = 0.0;
    for (s = 0; s < n; s++) {
        double first[3], j[3], theta[3], low = 7.0, high = 0.0;
        af_isochrone_actions(&iso, af_orbits_xv(o, s), first, NULL, NULL);
        for (i = 0; i < af_orbits_count(o, s); i++) {
            af_isochrone_actions(&iso, af_orbits_xv(o, s) + 6 * i, j, theta, NULL);
            for (k = 0; k < 3; k++)
                *worst = fmax(*worst, fabs(j[k] - first[k]) / (fabs(j[0]) + j[1] + j[2]));
            low = fmin(low, theta[2]);
            high = fmax(high, theta[2]);
        }
        ranges[s] = high - low;
    }
    *range = median(ranges, n);
}

/* In the isochrone its exact actions are conserved to what an energy error of 1e-6 gives, and stars
 * are all along the orbits: the expected range of six angles is 5/7 of a turn. */
TEST(actions_are_conserved) {
    af_orbits *given = mock_orbits(c, 3, STREAMS, STARS), *longer = extend(given, 1, 1);
    double worst, range, before;
    scatter(given, &worst, &before);
    scatter(longer, &worst, &range);
    CHECK(af_orbits_streams(longer) == LONGER && af_orbits_stars(longer) == 6);
    printf("  worst %.1e, range %.2f, of those given %.2f\n", worst, range, before);
    CHECK(worst < 1e-4);
    CHECK(range > 3.5);
    CHECK(before < range - 1.0);
    af_orbits_destroy(longer);
    af_orbits_destroy(given);
}

/* The first streams go on where those given are; the others are like them, but new. */
TEST(goes_on_from_those_given) {
    af_orbits *given = mock_orbits(c, 4, STREAMS, STARS), *longer = extend(given, 2, 1);
    af_isochrone iso = mock_truth();
    size_t s, t, old_ones = 0, new_ones = 0;
    double farthest = 0.0;
    for (s = 0; s < STREAMS * STARS; s++)
        farthest = fmax(farthest, norm3(af_orbits_xv(given, 0) + 6 * s));
    for (s = 0; s < LONGER; s++) {
        double j[3], old[3], nearest = HUGE_VAL;
        af_isochrone_actions(&iso, af_orbits_xv(longer, s), j, NULL, NULL);
        for (t = 0; t < STREAMS; t++) {
            af_isochrone_actions(&iso, af_orbits_xv(given, t), old, NULL, NULL);
            nearest = fmin(nearest,
                           fabs(old[0] - j[0]) + fabs(old[1] - j[1]) + fabs(old[2] - j[2]));
        }
        old_ones += s < STREAMS && nearest < 0.05;
        new_ones += s >= STREAMS && nearest > 0.05;
        for (t = 0; t < 6; t++)
            CHECK(norm3(af_orbits_xv(longer, s) + 6 * t) < 2.0 * farthest);
    }
    CHECK(old_ones + 3 >= STREAMS);                    /* but those that go too far */
    CHECK(new_ones >= (size_t)(LONGER - STREAMS) * 4 / 5); /* a star may draw its own velocity */
    af_orbits_destroy(longer);
    af_orbits_destroy(given);
}

/* Turning the velocity with the azimuth leaves L_z and energy what they are at equal distances from
 * the axis; the mirror turns v_z. */
TEST(velocities_are_turned) {
    const double x[3] = {3.0, 4.0, 1.0}, v[3] = {10.0, -20.0, 30.0}, to[3] = {-5.0, 0.0, -1.0};
    double out[3];
    test_turn_velocity(x, v, to, 1, out);
    CHECK_CLOSE(to[0] * out[1] - to[1] * out[0], x[0] * v[1] - x[1] * v[0], 1e-14);
    CHECK_CLOSE(to[0] * out[0] + to[1] * out[1], x[0] * v[0] + x[1] * v[1], 1e-14);
    CHECK(out[2] == -30.0);
}

/* Without being told the field: nearly the same orbits. In no axisymmetric field: a sentence. */
TEST(field_from_the_energies) {
    af_orbits *given = mock_orbits(c, 10, 2 * STREAMS, STARS), *out = NULL;
    af_extend_desc d = AF__ZERO;
    double worst, range, *xv = (double *)malloc(2 * STREAMS * STARS * 6 * sizeof *xv);
    size_t i, n = (size_t)2 * STREAMS * STARS * 6;
    d.streams = LONGER;
    CHECK(af_orbits_extend(c, given, NULL, &d, &out) == AF_OK);
    if (out) scatter(out, &worst, &range);
    if (out) printf("  energies: worst %.1e, range %.2f\n", worst, range);
    CHECK(out && worst < 0.02 && range > 3.5); /* the weakly bound ones leave the stars' region */
    af_orbits_destroy(out);
    memcpy(xv, af_orbits_xv(given, 0), n * sizeof *xv);
    for (i = 0; i < n; i++)
        if (i % 6 > 2) xv[i] += 20.0 * af_random_normal(1, 1, i);
    af_orbits_destroy(given);
    CHECK(af_orbits_create(c, (size_t)2 * STREAMS, STARS, xv, NULL, &given) == AF_OK);
    CHECK(af_orbits_extend(c, given, NULL, &d, &out) == AF_ERROR_DATA && !out);
    CHECK_TEXT(af_error(c), "the data have errors");
    af_error_clear(c);
    free(xv);
    af_orbits_destroy(given);
}

TEST(seeds_and_threads) {
    af_orbits *given = mock_orbits(c, 5, STREAMS, STARS);
    af_orbits *one = extend(given, 7, 1), *two = extend(given, 7, 3), *other = extend(given, 8, 1);
    size_t bytes = (size_t)LONGER * 36 * sizeof(double);
    CHECK(memcmp(af_orbits_xv(one, 0), af_orbits_xv(two, 0), bytes) == 0);
    CHECK(memcmp(af_orbits_xv(one, 0), af_orbits_xv(other, 0), bytes) != 0);
    af_orbits_destroy(one);
    af_orbits_destroy(two);
    af_orbits_destroy(other);
    af_orbits_destroy(given);
}

/* ---- what cannot be done ---- */

static void no_force(const double x[3], double a[3], void *user) {
    (void)x;
    (void)user;
    a[0] = a[1] = a[2] = 0.0;
}

TEST(refuses) {
    af_orbits *given = mock_orbits(c, 6, 4, STARS), *out = given;
    af_extend_desc d = AF__ZERO;
    af_field none = field;
    d.end_canary = 1;
    CHECK(af_orbits_extend(c, given, &field, &d, &out) == AF_ERROR_ARGUMENT && !out);
    CHECK_TEXT(af_error(c), "initialised to zero");
    af_error_clear(c);
    d.end_canary = 0;
    d.periods = -1.0;
    CHECK(af_orbits_extend(c, given, &field, &d, &out) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "periods -1");
    af_error_clear(c);
    d.periods = 2.0;
    none.acceleration = NULL;
    CHECK(af_orbits_extend(c, given, &none, &d, &out) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "no acceleration");
    af_error_clear(c);
    none.acceleration = no_force;
    d.streams = 10;
    CHECK(af_orbits_extend(c, given, &none, &d, &out) == AF_ERROR_DATA && !out);
    CHECK_TEXT(af_error(c), "only 0 of 10 orbits");
    af_error_clear(c);
    af_orbits_destroy(given);
}

/* Memory that ends at the k-th call, for every k. */
static long fails_at(const af_orbits *given, const af_field *in, long k) {
    af_extend_desc d = AF__ZERO;
    af_orbits *out = NULL;
    long calls = memory.calls, live = memory.live, made;
    af_status status;
    d.streams = 4;
    d.threads = 1;
    memory.fail_at = calls + k;
    status = af_orbits_extend(c, given, in, &d, &out);
    memory.fail_at = 0;
    made = memory.calls - calls;
    CHECK(made < k ? status == AF_OK : status == AF_ERROR_MEMORY && !out);
    af_orbits_destroy(out);
    af_error_clear(c);
    CHECK(memory.live == live);
    return made;
}

TEST(out_of_memory) {
    af_orbits *given = mock_orbits(c, 9, 40, STARS);
    long k;
    for (k = 1; fails_at(given, &field, k) >= k && !test_broken; k++) continue;
    CHECK(k > 3);
    for (k = 1; fails_at(given, NULL, k) >= k && !test_broken; k++) continue;
    CHECK(k > 10);
    af_orbits_destroy(given);
}

int main(void) {
    af_isochrone iso = mock_truth();
    isochrone = af_isochrone_potential(&iso);
    sum.parts = &isochrone;
    sum.count = 1;
    field = af_field_of_potential(&sum);
    c = heap_context(&memory, 1);
    RUN(actions_are_conserved);
    RUN(goes_on_from_those_given);
    RUN(velocities_are_turned);
    RUN(field_from_the_energies);
    RUN(seeds_and_threads);
    RUN(refuses);
    RUN(out_of_memory);
    af_context_destroy(c);
    if (memory.live != 0) {
        printf("  %ld pieces of memory are left\n", memory.live);
        test_failed++;
    }
    return test_report();
}
