/* The way back of ActionFinder: its map undone exactly, and the network of eq. 18. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "inverse"
#include "af_mock.h"

enum { STREAMS = 24, STARS = 4, N = STREAMS * STARS, KINDS = 9 };

/* Kinds of models, small ones: Fourier, network and shears, with and without symmetries and a point
 * transformation. */
static af_finder_desc kind_of(size_t kind) {
    af_finder_desc d = AF__ZERO;
    d.toy.mass = 4e11;
    d.toy.scale = 6.0;
    d.harmonics_r = 3;
    d.harmonics_z = 2;
    d.harmonics_phi = 1;
    d.net.width = d.point_net.width = 8;
    d.net.depth = 2;
    d.net.random_last = d.point_net.random_last = 0;
    d.axisymmetric = AF_SYMMETRY_YES;
    if (kind == 3 || kind == 4 || kind == 5) d.generator = AF_GENERATOR_NETWORK;
    if (kind >= 6) d.generator = AF_GENERATOR_SHEARS;
    d.point_transformation = kind == 2 || kind == 4;
    if (kind == 1 || kind == 5 || kind == 8)
        d.axisymmetric = d.plane_symmetric = d.time_symmetric = AF_SYMMETRY_NO;
    if (kind >= 6) d.layers = 6;
    if (kind >= 6) d.width = 4;
    d.chart = kind == 6 ? AF_CHART_DISC : AF_CHART_HALO;
    if (kind < 6) d.chart = AF_CHART_AUTO;
    return d;
}

typedef struct world {
    heap memory;
    af_context *c;
    af_orbits *o;
    af_finder *f;
    af_evaluator *e;
    af_inverter *v;
    double j[N][3], theta[N][3], xv[N][6];
    unsigned seen[N], flags[N];
} world;

/* A finder of that kind, `size` of random numbers in its parameters. */
static void open_world(world *w, size_t kind, double size, size_t block) {
    af_finder_desc d = kind_of(kind);
    memset(w, 0, sizeof *w);
    w->c = heap_context(&w->memory, 1);
    w->o = mock_orbits(w->c, 3, STREAMS, STARS);
    CHECK(af_finder_create(w->c, w->o, &d, &w->f) == AF_OK);
    shake(w->f, kind, size);
    CHECK(af_evaluator_create(w->f, 1, 16, 1, &w->e) == AF_OK);
    CHECK(af_inverter_create(w->f, block, 1, &w->v) == AF_OK);
    af_evaluate(w->e, N, af_orbits_xv(w->o, 0), NULL, w->j[0], w->theta[0], w->seen);
}

static void close_world(world *w) {
    af_inverter_destroy(w->v);
    af_evaluator_destroy(w->e);
    af_finder_destroy(w->f);
    af_orbits_destroy(w->o);
    af_context_destroy(w->c);
    CHECK(w->memory.live == 0);
}

static double apart(const double *a, const double *b, size_t n) {
    double most = 0.0;
    size_t i;
    for (i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= most)) most = fabs(a[i] - b[i]); /* NaN is the most */
    return most;
}

/* ---- exact ---- */

/* Before training G vanishes: the inverse is the toy's. */
TEST(untrained_is_the_toy) {
    size_t kind, i;
    for (kind = 0; kind < 6; kind++) {
        world w;
        af_isochrone toy;
        open_world(&w, kind, 0.0, 16);
        toy = af_finder_toy(w.f);
        CHECK(af_invert(w.v, N, w.j[0], w.theta[0], w.xv[0], w.flags) == 0);
        for (i = 0; i < N; i++) {
            double xv[6];
            CHECK(af_isochrone_position(&toy, w.j[i], w.theta[i], xv, NULL) == w.flags[i]);
            CHECK(apart(w.xv[i], xv, 6) < 1e-10);
        }
        close_world(&w);
    }
}

/* (x,v) -> (theta'',J'') -> (x,v). The finder is content with J' to 1e-10 of a typical action, and
 * where a coefficient of G changes fast with J' as much as that matters; most stars come back to
 * rounding. */
TEST(round_trip) {
    size_t kind, i;
    for (kind = 0; kind < KINDS; kind++) {
        world w;
        double away[N], most = 0.0;
        size_t n = 0, bad = 0, moved = 0;
        open_world(&w, kind, kind >= 6 ? 0.003 : 0.03, 16);
        af_invert(w.v, N, w.j[0], w.theta[0], w.xv[0], w.flags);
        for (i = 0; i < N; i++) {
            double toy[3];
            int negative = w.j[i][1] < 0.0 || w.j[i][2] < 0.0;
            if (w.seen[i] & AF_STAR_UNCONVERGED) continue;
            if (negative) CHECK(w.flags[i] == AF_ORBIT_INVALID);
            if (negative) continue;
            bad += (w.flags[i] & (AF_ORBIT_FAILED | AF_STAR_UNCONVERGED)) != 0;
            away[n] = apart(w.xv[i], af_orbits_xv(w.o, 0) + 6 * i, 6);
            if (away[n] > most) most = away[n];
            af_isochrone_actions(&w.v->toy, w.xv[i], toy, NULL, NULL);
            moved += apart(toy, w.j[i], 3) > 1.0;
            n++;
        }
        CHECK(n > 9 * N / 10 && bad == 0);
        CHECK(moved > N / 3); /* the map does something, km/s kpc */
        CHECK(most < (kind >= 3 ? 1e-10 : 1e-6));
        CHECK(median(away, n) < 1e-10);
        if (getenv("AF_VERBOSE"))
            printf("  kind %d: %d stars, %d moved, median %.2g, most %.2g\n", (int)kind, (int)n,
                   (int)moved, away[n / 2], most);
        close_world(&w);
    }
}

/* Numbers do not depend on the block, on what else is in it, on threads or turns of the angles. */
TEST(block_and_turns) {
    static const size_t block[] = {1, 7, 200};
    size_t kind, i, k, q;
    for (kind = 0; kind < KINDS; kind += 2) {
        world w;
        open_world(&w, kind, 0.02, 16);
        af_invert(w.v, N, w.j[0], w.theta[0], w.xv[0], w.flags);
        for (k = 0; k < AF__COUNT(block); k++) {
            af_inverter *v = NULL;
            double xv[N][6];
            CHECK(af_inverter_create(w.f, block[k], 1 + (int)k, &v) == AF_OK);
            af_invert(v, N, w.j[0], w.theta[0], xv[0], NULL);
            for (i = 0; i < N; i++)
                CHECK(apart(xv[i], w.xv[i], 6) < 1e-9 || w.flags[i] & (3 | AF_STAR_UNCONVERGED));
            for (i = 0; i < N; i++)
                for (q = 0; q < 3; q++) w.theta[i][q] += 2.0 * AF__PI * (double)(q + i % 2);
            af_invert(v, N, w.j[0], w.theta[0], xv[0], NULL);
            for (i = 0; i < N; i++)
                CHECK(apart(xv[i], w.xv[i], 6) < 1e-9 || w.flags[i] & (3 | AF_STAR_UNCONVERGED));
            af_inverter_destroy(v);
        }
        close_world(&w);
    }
}

/* Stars that have no orbit are NaN and flagged, and the others are as without them. */
TEST(invalid) {
    static const size_t kinds[] = {0, 2, 3, 6, 7};
    size_t q, i;
    for (q = 0; q < AF__COUNT(kinds); q++) {
        world w;
        double xv[N][6];
        unsigned flags[N];
        size_t failed, before;
        open_world(&w, kinds[q], 0.003, 8);
        before = af_invert(w.v, N, w.j[0], w.theta[0], w.xv[0], w.flags);
        for (i = 0; i < 5; i++) before -= (w.flags[i] & AF_ORBIT_FAILED) != 0;
        w.j[0][1] = -1.0;
        w.j[1][2] = -1e-3;
        w.j[2][0] = NAN;
        w.theta[3][1] = INFINITY;
        w.j[4][0] = w.j[4][1] = w.j[4][2] = INFINITY;
        failed = af_invert(w.v, N, w.j[0], w.theta[0], xv[0], flags);
        CHECK(failed == before + 5);
        for (i = 0; i < N; i++) {
            if (i < 5) CHECK(flags[i] == AF_ORBIT_INVALID && xv[i][0] != xv[i][0]);
            else CHECK(flags[i] == w.flags[i] && (flags[i] || apart(xv[i], w.xv[i], 6) < 1e-9));
        }
        w.j[5][1] = -1e-12 * w.f->g.action_scale; /* rounding */
        af_invert(w.v, 1, w.j[5], w.theta[5], xv[0], flags);
        CHECK(!(flags[0] & AF_ORBIT_INVALID) || kinds[q] >= 6);
        CHECK(af_invert(w.v, 0, NULL, NULL, NULL, NULL) == 0);
        close_world(&w);
    }
}

/* A map that folds: what is found fulfils eqs. 5 and 6, the rest is flagged and NaN. */
TEST(folded) {
    size_t i, k, kind;
    for (kind = 0; kind < 4; kind += 3) {
        world w;
        size_t failed, flagged = 0, unconverged = 0, good = 0;
        open_world(&w, kind, kind ? 1.0 : 0.6, 16);
        failed = af_invert(w.v, N, w.j[0], w.theta[0], w.xv[0], w.flags);
        for (i = 0; i < N; i++) {
            const double unit = w.f->g.action_scale;
            double j[3], theta[3], residual = 0.0;
            void *out[4];
            if (w.flags[i] & (AF_ORBIT_FAILED | AF_STAR_UNCONVERGED)) {
                flagged++;
                unconverged += (w.flags[i] & AF_STAR_UNCONVERGED) != 0;
                for (k = 0; k < 6; k++) CHECK(w.xv[i][k] != w.xv[i][k]);
                continue;
            }
            af_isochrone_actions(&w.v->toy, w.xv[i], j, theta, NULL);
            for (k = 0; k < 3; k++) {
                w.v->x[16 * k] = theta[k];
                w.v->action[16 * k] = w.j[i][k] / unit;
                w.v->target[16 * k] = w.theta[i][k];
            }
            w.v->amount[0] = 1.0;
            out[0] = w.v->next;
            out[1] = w.v->lack;
            out[2] = w.v->determinant;
            out[3] = w.v->toy_action;
            af__invert_run(w.v, &w.v->step, out);
            for (k = 0; k < 3; k++)
                residual += fabs(angle_between(w.v->lack[16 * k], 0.0)) +
                            fabs(w.v->toy_action[16 * k] - j[k] / unit);
            CHECK(residual < 1e-6 && w.v->determinant[0] > 0.0);
            good++;
        }
        CHECK(failed == flagged && good > N / 4 && unconverged > 0);
        if (getenv("AF_VERBOSE"))
            printf("  kind %d: %d good, %d flagged, %d unconverged\n", (int)kind, (int)good,
                   (int)flagged, (int)unconverged);
        close_world(&w);
    }
}

TEST(allocates_nothing) {
    world w;
    af_inverter *none = NULL;
    long calls;
    open_world(&w, 2, 0.02, 16);
    calls = w.memory.calls;
    af_invert(w.v, N, w.j[0], w.theta[0], w.xv[0], w.flags);
    CHECK(w.memory.calls == calls);
    CHECK(af_inverter_create(w.f, 0, 1, &none) == AF_ERROR_ARGUMENT && !none);
    close_world(&w);
}

/* ---- the network of eq. 18 ---- */

/* A finder trained for a moment on orbits in the true isochrone, from a toy 20 % too heavy, and a
 * network for it. */
typedef struct lesson {
    heap memory;
    af_context *c;
    af_orbits *o;
    af_finder *f;
    af_inverse *i;
} lesson;

enum { LESSON = 96, LESSON_STARS = 6, LESSON_N = LESSON * LESSON_STARS };

static void open_lesson(lesson *w, int symmetric, size_t epochs) {
    af_finder_desc d = kind_of(symmetric ? 0 : 1);
    af_inverse_desc e = AF__ZERO;
    af_fit_desc fit = AF__ZERO;
    memset(w, 0, sizeof *w);
    w->c = heap_context(&w->memory, 2);
    w->o = mock_orbits(w->c, 5, LESSON, LESSON_STARS);
    d.toy.mass = 1.2 * mock_truth().mass;
    d.toy.scale = 1.2 * mock_truth().scale;
    fit.epochs = epochs;
    fit.batch = 16;
    e.net.width = 16;
    e.net.depth = 2;
    e.harmonics = 2;
    CHECK(af_finder_create(w->c, w->o, &d, &w->f) == AF_OK);
    if (epochs) CHECK(af_finder_fit(w->f, w->o, &fit) == AF_OK);
    CHECK(af_inverse_create(w->f, w->o, &e, &w->i) == AF_OK);
}

static void close_lesson(lesson *w) {
    af_inverse_destroy(w->i);
    af_finder_destroy(w->f);
    af_orbits_destroy(w->o);
    af_context_destroy(w->c);
    CHECK(w->memory.live == 0);
}

/* Mean distance [kpc] between the stars and what the network, or the toy (i NULL), makes of their
 * actions and angles; streams from `first` on. */
static double distance(const lesson *w, const af_inverse *i, size_t first) {
    static double j[LESSON_N][3], theta[LESSON_N][3], xv[LESSON_N][6];
    static unsigned flags[LESSON_N];
    af_isochrone toy = af_finder_toy(w->f);
    af_evaluator *e = NULL;
    af_inverse_evaluator *n = NULL;
    double sum = 0.0, count = 0.0;
    size_t s;
    CHECK(af_evaluator_create(w->f, 1, 64, 1, &e) == AF_OK);
    af_evaluate(e, LESSON_N, af_orbits_xv(w->o, 0), NULL, j[0], theta[0], flags);
    if (i) {
        CHECK(af_inverse_evaluator_create(i, 50, 1, &n) == AF_OK);
        af_inverse_evaluate(n, LESSON_N, j[0], theta[0], xv[0], NULL);
    } else {
        af_isochrone_positions_of(&toy, LESSON_N, j[0], theta[0], xv[0], NULL, NULL);
    }
    for (s = first * LESSON_STARS; s < LESSON_N; s++) {
        const double *x = af_orbits_xv(w->o, 0) + 6 * s;
        double away = sqrt((x[0] - xv[s][0]) * (x[0] - xv[s][0]) +
                           (x[1] - xv[s][1]) * (x[1] - xv[s][1]) +
                           (x[2] - xv[s][2]) * (x[2] - xv[s][2]));
        if (flags[s] & AF_STAR_UNCONVERGED || !af__is_finite(away)) continue;
        sum += away;
        count += 1.0;
    }
    af_inverse_evaluator_destroy(n);
    af_evaluator_destroy(e);
    CHECK(count > 0.9 * (double)(LESSON_N - first * LESSON_STARS));
    return sum / count;
}

/* It starts as the toy; it learns, for streams that it has not seen, and from draws alone too. */
static void check_lesson(int symmetric) {
    lesson w;
    af_inverse_fit_desc fit = AF__ZERO;
    double toy, before, after;
    open_lesson(&w, symmetric, 60);
    toy = distance(&w, NULL, 72);
    before = distance(&w, w.i, 72);
    CHECK_CLOSE(before, toy, 1e-9);
    fit.train = 72;
    fit.epochs = 150;
    fit.draws = 1000;
    fit.batch = 32;
    CHECK(af_inverse_fit(w.i, w.f, w.o, &fit) == AF_OK);
    after = distance(&w, w.i, 72);
    if (getenv("AF_VERBOSE")) printf("  %g kpc, the toy %g\n", after, toy);
    CHECK(toy > 0.1);
    CHECK(after < (symmetric ? 0.5 : 0.8) * toy);
    close_lesson(&w);
}

TEST(learns) { check_lesson(1); }
TEST(learns_without_symmetry) { check_lesson(0); }

/* An axisymmetric inverse turns with theta_phi, keeps L_z, and is its own mirror image. */
TEST(symmetries_of_the_network) {
    lesson w;
    af_inverse_evaluator *e = NULL;
    double j[4][3] = {{900.0, 700.0, 300.0}, {900.0, 700.0, 300.0}, {-900.0, 700.0, 300.0},
                      {900.0, 700.0, 300.0}};
    double theta[4][3] = {{0.4, 1.0, 2.0}, {0.9, 1.0, 2.0}, {-0.4, 1.0, 2.0},
                          {0.4, 1.0 + AF__PI, 2.0}};
    double xv[4][6], *p, turn = 0.5;
    unsigned flags[4];
    size_t k;
    open_lesson(&w, 1, 0);
    p = af_params_data(w.i->params);
    for (k = 0; k < af_inverse_parameters(w.i); k++) p[k] += 0.1 * af_random_normal(1, 1, k);
    CHECK(af_inverse_evaluator_create(w.i, 3, 1, &e) == AF_OK);
    CHECK(af_inverse_evaluate(e, 4, j[0], theta[0], xv[0], flags) == 0);
    for (k = 0; k < 6; k += 3) {
        CHECK_CLOSE(xv[1][k], cos(turn) * xv[0][k] - sin(turn) * xv[0][k + 1], 1e-12);
        CHECK_CLOSE(xv[1][k + 1], sin(turn) * xv[0][k] + cos(turn) * xv[0][k + 1], 1e-12);
        CHECK_CLOSE(xv[1][k + 2], xv[0][k + 2], 1e-12);
        CHECK_CLOSE(xv[2][k], xv[0][k], 1e-12);
        CHECK_CLOSE(xv[2][k + 1], -xv[0][k + 1], 1e-12);
        CHECK_CLOSE(xv[2][k + 2], xv[0][k + 2], 1e-12);
        CHECK_CLOSE(xv[3][k], xv[0][k], 1e-12);
        CHECK_CLOSE(xv[3][k + 1], xv[0][k + 1], 1e-12);
        CHECK_CLOSE(xv[3][k + 2], -xv[0][k + 2], 1e-12);
    }
    CHECK_CLOSE(xv[0][0] * xv[0][4] - xv[0][1] * xv[0][3], 900.0, 1e-12);
    j[0][1] = -1.0;
    j[1][2] = NAN;
    theta[2][0] = INFINITY;
    CHECK(af_inverse_evaluate(e, 4, j[0], theta[0], xv[0], flags) == 3);
    CHECK(flags[0] == AF_ORBIT_INVALID && flags[1] == AF_ORBIT_INVALID && xv[2][5] != xv[2][5]);
    CHECK(!(flags[3] & AF_ORBIT_FAILED) && af__is_finite(xv[3][0]));
    af_inverse_evaluator_destroy(e);
    close_lesson(&w);
}

/* The same bits from the file; nonsense is refused with a sentence. */
TEST(file) {
    static const char *const absurd[][2] = {
        {"format", "actionfinder model 1"}, {"toy.mass_msun", "-1"}, {"harmonics", "0"},
        {"harmonics", "100000"},            {"axisymmetric", "2"},   {"even", "2"},
        {"width.1", "0"},                   {"center.0", "nan"},     {"net.width", "16384"},
        {"net.architecture", "7"},          {"net.activation", "9"}, {"harmonics", "3"}};
    const char *path = scratch_file("inverse.safetensors"), *bad = scratch_file("bad.safetensors");
    lesson w;
    af_inverse *copy = NULL;
    af_tensors *set = NULL;
    size_t k;
    double *p;
    open_lesson(&w, 1, 0);
    p = af_params_data(w.i->params);
    for (k = 0; k < af_inverse_parameters(w.i); k++) p[k] += 0.1 * af_random_normal(1, 1, k);
    CHECK(af_inverse_save(w.i, path) == AF_OK);
    CHECK(af_inverse_load(w.c, path, &copy) == AF_OK);
    if (copy) {
        double one = distance(&w, w.i, 0), two = distance(&w, copy, 0);
        CHECK(memcmp(&one, &two, sizeof one) == 0);
        CHECK(af_inverse_save(copy, bad) == AF_OK);
    }
    af_inverse_destroy(copy);
    for (k = 0; k < AF__COUNT(absurd); k++) {
        CHECK(af_tensors_read(w.c, path, &set) == AF_OK);
        CHECK(af_tensors_set_text(set, absurd[k][0], absurd[k][1]) == AF_OK);
        CHECK(af_tensors_write(set, bad) == AF_OK);
        af_tensors_destroy(set);
        CHECK(af_inverse_load(w.c, bad, &copy) != AF_OK && !copy);
        if (copy) printf("  %s = %s was taken\n", absurd[k][0], absurd[k][1]);
        CHECK_TEXT(af_error(w.c), bad);
        af_error_clear(w.c);
    }
    CHECK(af_inverse_save(w.i, "/no/such/folder/i.safetensors") == AF_ERROR_IO);
    af_error_clear(w.c);
    remove(bad);
    CHECK(af_inverse_load(w.c, bad, &copy) == AF_ERROR_IO);
    close_lesson(&w);
    remove(path);
}

static int stop_at_once(const af_progress *progress, void *user) {
    (void)user;
    return progress->epoch >= 2;
}

TEST(arguments) {
    lesson w, other;
    af_inverse_desc d = AF__ZERO;
    af_inverse_fit_desc fit = AF__ZERO;
    af_inverse *none = NULL;
    af_inverse_evaluator *e = NULL;
    open_lesson(&w, 1, 0);
    open_lesson(&other, 0, 0);
    d.end_canary = 1;
    CHECK(af_inverse_create(w.f, w.o, &d, &none) == AF_ERROR_ARGUMENT && !none);
    af_error_clear(w.c);
    d.end_canary = 0;
    d.harmonics = 1000;
    CHECK(af_inverse_create(w.f, w.o, &d, &none) == AF_ERROR_ARGUMENT && !none);
    af_error_clear(w.c);
    CHECK(af_inverse_evaluator_create(w.i, 0, 1, &e) == AF_ERROR_ARGUMENT && !e);
    af_error_clear(w.c);
    fit.train = LESSON;
    CHECK(af_inverse_fit(w.i, w.f, w.o, &fit) == AF_ERROR_DATA);
    af_error_clear(w.c);
    CHECK(af_inverse_fit(w.i, other.f, w.o, NULL) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(w.c), "not the finder");
    af_error_clear(w.c);
    fit.train = 0;
    fit.draws = (size_t)1 << 30;
    CHECK(af_inverse_fit(w.i, w.f, w.o, &fit) == AF_ERROR_ARGUMENT);
    af_error_clear(w.c);
    fit.draws = 0;
    fit.epochs = 50;
    fit.progress = stop_at_once;
    CHECK(af_inverse_fit(w.i, w.f, w.o, &fit) == AF_STOPPED);
    close_lesson(&other);
    close_lesson(&w);
}

/* ---- memory that ends at the k-th call ---- */

static af_status whole_life(af_context *c, size_t kind, const char *path) {
    static double xv[3 * 2 * 6];
    af_finder_desc d = kind_of(kind);
    af_inverse_desc n = AF__ZERO;
    af_inverse_fit_desc fit = AF__ZERO;
    double j[3] = {900.0, 700.0, 300.0}, theta[3] = {1.0, 2.0, 3.0}, back[6];
    af_orbits *o = NULL;
    af_finder *f = NULL;
    af_inverter *v = NULL;
    af_inverse *i = NULL, *loaded = NULL;
    af_inverse_evaluator *e = NULL;
    af_status s;
    mock_streams(3, 3, 2, xv, NULL, NULL);
    d.harmonics_r = d.harmonics_z = 1;
    n.net.width = 4;
    n.net.depth = 1;
    fit.epochs = 1;
    fit.draws = 3;
    s = af_orbits_create(c, 3, 2, xv, NULL, &o);
    if (s == AF_OK) s = af_finder_create(c, o, &d, &f);
    if (s == AF_OK) s = af_inverter_create(f, 2, 1, &v);
    if (s == AF_OK) af_invert(v, 1, j, theta, back, NULL);
    if (s == AF_OK) s = af_inverse_create(f, o, &n, &i);
    if (s == AF_OK) s = af_inverse_fit(i, f, o, &fit);
    if (s == AF_OK) s = af_inverse_save(i, path);
    if (s == AF_OK) s = af_inverse_load(c, path, &loaded);
    if (s == AF_OK) s = af_inverse_evaluator_create(loaded, 1, 1, &e);
    af_inverse_evaluator_destroy(e);
    af_inverse_destroy(loaded);
    af_inverse_destroy(i);
    af_inverter_destroy(v);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    return s;
}

static void check_memory(size_t kind) {
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
        s = whole_life(c, kind, path);
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

TEST(memory_point) { check_memory(2); }
TEST(memory_shears) { check_memory(6); }

int main(void) {
    RUN(untrained_is_the_toy);
    RUN(round_trip);
    RUN(block_and_turns);
    RUN(invalid);
    RUN(folded);
    RUN(allocates_nothing);
    RUN(learns);
    RUN(learns_without_symmetry);
    RUN(symmetries_of_the_network);
    RUN(file);
    RUN(arguments);
    RUN(memory_point);
    RUN(memory_shears);
    return test_report();
}
