/* ActionFinder's symplectic model: canonical, symmetric, better than its toy, saved and loaded. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "symplectic"
#include "af_mock.h"

enum { STREAMS = 96, STARS = 6 };

/* Orbits in an isochrone, from near the plane (`disc`) or in any direction; stars at random angles.
 * truth (S,3). */
static af_orbits *make_orbits(af_context *c, int disc, double truth[][3]) {
    static double xv[STREAMS][STARS][6];
    af_isochrone iso = mock_truth();
    af_orbits *o = NULL;
    size_t s, i, k;
    for (s = 0; s < STREAMS; s++) {
        double j[3], theta[3], size = 1500.0 + 1500.0 * af_random_uniform(4, 0, s);
        double a = af_random_uniform(4, 1, s), b = af_random_uniform(4, 2, s);
        double tilt = disc ? 0.03 * a : a, sense = !disc && s % 2 ? -1.0 : 1.0;
        j[1] = size * tilt;
        j[0] = sense * size * (1.0 - tilt);
        j[2] = size * (disc ? 0.05 : 0.6) * b;
        for (k = 0; k < 3; k++) truth[s][k] = j[k];
        for (i = 0; i < STARS; i++) {
            for (k = 0; k < 3; k++)
                theta[k] = 2.0 * AF__PI * af_random_uniform(5, k, STARS * s + i);
            CHECK(af_isochrone_position(&iso, j, theta, xv[s][i], NULL) == 0);
        }
    }
    CHECK(af_orbits_create(c, STREAMS, STARS, xv[0][0], NULL, &o) == AF_OK);
    return o;
}

/* A finder whose toy is wrong by a tenth, and small shears. */
static af_finder *make_finder(af_context *c, const af_orbits *o, int disc) {
    af_finder_desc d = AF__ZERO;
    af_finder *f = NULL;
    d.generator = AF_GENERATOR_SHEARS;
    d.chart = disc ? AF_CHART_DISC : AF_CHART_HALO;
    d.toy.mass = 1.1 * mock_truth().mass;
    d.toy.scale = 1.1 * mock_truth().scale;
    d.layers = 6;
    d.width = 4;
    CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
    if (!f) printf("  %s\n", af_error(c));
    return f;
}

/* Mean over streams not trained on of |mean J'' - truth|; the mean |theta'' - theta| of the true
 * isochrone [rad]. */
static double action_error(const af_finder *f, const af_orbits *o, double truth[][3],
                           double *angle) {
    static double j[STREAMS][STARS][3], theta[STREAMS][STARS][3];
    af_isochrone iso = mock_truth();
    double error = 0.0, turned = 0.0;
    size_t s, i, k, n = 0;
    CHECK(af_finder_evaluate(f, o, j[0][0], theta[0][0], NULL) == AF_OK);
    for (s = 3 * STREAMS / 4; s < STREAMS; s++) {
        for (k = 0; k < 3; k++) {
            double mean = 0.0;
            for (i = 0; i < STARS; i++) mean += j[s][i][k] / STARS;
            error += fabs(mean - truth[s][k]) / 3.0;
        }
        for (i = 0; i < STARS; i++) {
            double exact[3];
            af_isochrone_actions(&iso, af_orbits_xv(o, s) + 6 * i, NULL, exact, NULL);
            for (k = 0; k < 3; k++) {
                double away = theta[s][i][k] - exact[k];
                turned += fabs(away - 2.0 * AF__PI * floor(away / (2.0 * AF__PI) + 0.5)) / 3.0;
            }
            n++;
        }
    }
    *angle = turned / (double)n;
    return error / (STREAMS / 4);
}

static void check_learning(int disc) {
    static double truth[STREAMS][3];
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 2);
    af_orbits *o = make_orbits(c, disc, truth);
    af_finder *f = make_finder(c, o, disc);
    af_fit_desc fit = AF__ZERO;
    double before, after, angle[2];
    before = action_error(f, o, truth, &angle[0]);
    fit.train = 3 * STREAMS / 4;
    fit.epochs = 30;
    CHECK(af_finder_fit(f, o, &fit) == AF_OK);
    after = action_error(f, o, truth, &angle[1]);
    if (!(after < 0.3 * before && angle[1] < (disc ? 0.7 : 1.5) * angle[0]))
        printf("  J %g, before %g; theta %g, before %g\n", after, before, angle[1], angle[0]);
    CHECK(after < 0.3 * before && angle[1] < (disc ? 0.7 : 1.5) * angle[0]);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

TEST(learns_discs) { check_learning(1); }
TEST(learns_halos) { check_learning(0); }

/* ---- identities of any map ---- */

static void jiggle(af_finder *f) {
    double *x = af_params_data(MOCK_PARAMS(f));
    size_t i;
    for (i = 0; i < af_params_size(MOCK_PARAMS(f)); i++) x[i] += 0.03 * af_random_normal(2, 7, i);
}

/* (theta'', J'') of one star. */
static void map_star(af_evaluator *e, const double *xv, double z[6]) {
    CHECK(af_evaluate(e, 1, xv, NULL, z + 3, z, NULL) == 0);
}

/* The Jacobian by (x,v), from differences, is symplectic: J'' and theta'' are canonical. */
static void check_map(int disc) {
    static double truth[STREAMS][3];
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = make_orbits(c, disc, truth);
    af_finder *f = make_finder(c, o, disc);
    af_evaluator *e = NULL;
    double m[6][6];
    size_t s, i, k, l;
    jiggle(f);
    CHECK(af_evaluator_create(f, 1, 1, 1, &e) == AF_OK);
    for (s = 0; s < 6; s++) {
        const double *star = af_orbits_xv(o, 7 * s);
        double back[6], here[6], there[6], xv[6], z[2][6];
        for (i = 0; i < 6; i++) {
            double h = i < 3 ? 1e-4 : 2e-3;
            for (k = 0; k < 2; k++) {
                memcpy(xv, star, sizeof xv);
                xv[i] += k ? h : -h;
                map_star(e, xv, z[k]);
            }
            for (k = 0; k < 6; k++) {
                double away = z[1][k] - z[0][k];
                if (k < 3) away -= 2.0 * AF__PI * floor(away / (2.0 * AF__PI) + 0.5);
                m[k][i] = away / (2.0 * h);
            }
        }
        for (i = 0; i < 6; i++) /* sum over pairs of dtheta ^ dJ = dx ^ dv */
            for (k = 0; k < 6; k++) {
                double form = 0.0, want = k == i + 3 ? 1.0 : i == k + 3 ? -1.0 : 0.0;
                for (l = 0; l < 3; l++) form += m[l][i] * m[l + 3][k] - m[l + 3][i] * m[l][k];
                CHECK_CLOSE(form, want, i < 3 && k < 3 ? 2e-2 : 1e-3);
            }
        map_star(e, star, here);
        CHECK_CLOSE(here[3], star[0] * star[4] - star[1] * star[3], 1e-11); /* axisymmetric */
        memcpy(back, star, sizeof back);
        back[2] = -back[2];
        back[5] = -back[5];
        map_star(e, back, there);
        for (k = 3; k < 6; k++) CHECK_CLOSE(there[k] - here[k], 0.0, 1e-8); /* the plane */
    }
    af_evaluator_destroy(e);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

TEST(canonical_disc) { check_map(1); }
TEST(canonical_halo) { check_map(0); }

/* ---- files, threads, refusals ---- */

TEST(save_and_load) {
    static double truth[STREAMS][3], j[2][STREAMS * STARS * 3], theta[2][STREAMS * STARS * 3];
    const char *path = scratch_file("shears.safetensors");
    heap memory = AF__ZERO;
    int disc;
    for (disc = 0; disc < 2; disc++) {
        af_context *c = heap_context(&memory, 1);
        af_orbits *o = make_orbits(c, disc, truth);
        af_finder *f = make_finder(c, o, disc), *g = NULL;
        jiggle(f);
        CHECK(af_finder_save(f, path) == AF_OK && af_finder_load(c, path, &g) == AF_OK);
        CHECK(af_finder_evaluate(f, o, j[0], theta[0], NULL) == AF_OK);
        CHECK(g && af_finder_evaluate(g, o, j[1], theta[1], NULL) == AF_OK);
        CHECK(memcmp(j[0], j[1], sizeof j[0]) == 0);
        CHECK(memcmp(theta[0], theta[1], sizeof theta[0]) == 0);
        af_finder_destroy(g);
        af_finder_destroy(f);
        af_orbits_destroy(o);
        af_context_destroy(c);
    }
    remove(path);
    CHECK(memory.live == 0);
}

TEST(same_bits_on_threads) {
    static double truth[STREAMS][3], first[2000];
    int threads;
    for (threads = 1; threads <= 3; threads++) {
        heap memory = AF__ZERO;
        af_context *c = heap_context(&memory, threads);
        af_orbits *o = make_orbits(c, 1, truth);
        af_finder *f = make_finder(c, o, 1);
        af_fit_desc fit = AF__ZERO;
        size_t n = af_finder_parameters(f);
        fit.epochs = 3;
        CHECK(af_finder_fit(f, o, &fit) == AF_OK && n < AF__COUNT(first));
        if (threads == 1) memcpy(first, af_params_data(MOCK_PARAMS(f)), n * sizeof *first);
        CHECK(memcmp(first, af_params_data(MOCK_PARAMS(f)), n * sizeof *first) == 0);
        af_finder_destroy(f);
        af_orbits_destroy(o);
        af_context_destroy(c);
        CHECK(memory.live == 0);
    }
}

static int stop_at_three(const af_progress *p, void *user) {
    *(size_t *)user = p->epoch;
    return p->epoch == 3;
}

static int stop_at_step(const af_progress *p, void *user) {
    return p->epoch == *(const size_t *)user;
}

/* Eight steps, stopped after `stop` of them (0: not at all); the parameters in x, how many of them
 * there are. */
static size_t fit_with_checkpoint(const af_orbits *o, af_context *c, const char *path, size_t stop,
                                  double *x) {
    af_finder *f = make_finder(c, o, 1);
    af_fit_desc fit = AF__ZERO;
    size_t n = af_finder_parameters(f);
    fit.epochs = 8;
    fit.checkpoint = path;
    fit.checkpoint_every = 3;
    fit.resume = 1;
    fit.progress = stop_at_step;
    fit.user = &stop;
    CHECK(af_finder_fit(f, o, &fit) == (stop ? AF_STOPPED : AF_OK));
    memcpy(x, af_params_data(MOCK_PARAMS(f)), n * sizeof *x);
    af_finder_destroy(f);
    return n;
}

/* Stopped and resumed, twice: the bits of a fit that was not. */
TEST(resumes) {
    static double truth[STREAMS][3], x[2000], y[2000];
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 2);
    af_orbits *o = make_orbits(c, 1, truth);
    const char *path = scratch_file("state");
    size_t n = fit_with_checkpoint(o, c, NULL, 0, x);
    remove(path);
    fit_with_checkpoint(o, c, path, 2, y);
    CHECK(memcmp(x, y, n * sizeof *x) != 0);
    fit_with_checkpoint(o, c, path, 5, y);
    fit_with_checkpoint(o, c, path, 0, y);
    CHECK(memcmp(x, y, n * sizeof *x) == 0);
    fit_with_checkpoint(o, c, path, 0, y); /* there is nothing left to do */
    CHECK(memcmp(x, y, n * sizeof *x) == 0);
    remove(path);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

TEST(stops_and_refuses) {
    static double truth[STREAMS][3];
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = make_orbits(c, 1, truth);
    af_finder *f = make_finder(c, o, 1), *none = NULL;
    af_finder_desc d = AF__ZERO;
    af_fit_desc fit = AF__ZERO;
    size_t steps = 0;
    fit.progress = stop_at_three;
    fit.user = &steps;
    CHECK(af_finder_fit(f, o, &fit) == AF_STOPPED && steps == 3);
    d.generator = AF_GENERATOR_SHEARS;
    d.free_toy = 1;
    CHECK(af_finder_create(c, o, &d, &none) == AF_ERROR_ARGUMENT && !none);
    CHECK_TEXT(af_error(c), "free toy");
    af_error_clear(c);
    d.free_toy = 0;
    d.layers = 1000;
    CHECK(af_finder_create(c, o, &d, &none) == AF_ERROR_ARGUMENT && !none);
    CHECK_TEXT(af_error(c), "1000 layers");
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

int main(void) {
    RUN(learns_discs);
    RUN(learns_halos);
    RUN(canonical_disc);
    RUN(canonical_halo);
    RUN(save_and_load);
    RUN(same_bits_on_threads);
    RUN(resumes);
    RUN(stops_and_refuses);
    return test_report();
}
