/* ActionFinder, many single stars: the same as stars of streams of one, by the other programs. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "fast"
#include "af_mock.h"

enum { STARS = 300, KINDS = 8 };

/* The kinds of finders, and how much their parameters are shaken. */
static double kind_desc(size_t kind, af_finder_desc *d) {
    memset(d, 0, sizeof *d);
    d->toy.mass = 4e11; /* not that of the orbits */
    d->toy.scale = 6.0;
    d->harmonics_r = 3;
    d->harmonics_z = 2;
    d->harmonics_phi = 1;
    d->net.random_last = d->point_net.random_last = 1;
    d->net.width = 16;
    d->net.depth = 2;
    d->point_net.width = 12;
    switch (kind) {
    case 0: d->axisymmetric = AF_SYMMETRY_YES; return 0.2;
    case 1: d->axisymmetric = AF_SYMMETRY_NO; return 0.1;
    case 2: d->axisymmetric = AF_SYMMETRY_YES; d->time_symmetric = AF_SYMMETRY_NO; return 0.1;
    case 3: d->point_transformation = 1; return 0.03;
    case 4: d->plane_symmetric = AF_SYMMETRY_NO; d->free_toy = 1; return 0.1;
    case 5: d->generator = AF_GENERATOR_NETWORK; return 0.02;
    case 6: d->generator = AF_GENERATOR_SHEARS; d->chart = AF_CHART_DISC; return 0.02;
    default: d->generator = AF_GENERATOR_SHEARS; d->chart = AF_CHART_HALO; return 0.02;
    }
}

typedef struct scene {
    heap memory;
    af_context *c;
    af_finder *f;
    double xv[STARS][6];
} scene;

typedef struct answer {
    double j[STARS][3], theta[STARS][3];
    unsigned flags[STARS];
    size_t failed;
} answer;

static af_finder *kind_finder(af_context *c, size_t kind) {
    af_orbits *o = mock_orbits(c, 17, 24, 4);
    af_finder_desc d;
    af_finder *f = NULL;
    double random = kind_desc(kind, &d);
    if (o && af_finder_create(c, o, &d, &f) == AF_OK) shake(f, 5, random);
    af_orbits_destroy(o);
    return f;
}

static void scene_open(scene *s, size_t kind) {
    memset(s, 0, sizeof *s);
    s->c = heap_context(&s->memory, 1);
    s->f = kind_finder(s->c, kind);
    CHECK(s->f != NULL);
    mock_streams(4711, STARS, 1, s->xv[0], NULL, NULL);
}

static void scene_close(scene *s) {
    af_finder_destroy(s->f);
    af_context_destroy(s->c);
    CHECK(s->memory.live == 0);
}

static void ask(scene *s, size_t block, const size_t *count, int angles, answer *a) {
    af_evaluator *e = NULL;
    memset(a, 0, sizeof *a);
    CHECK(af_evaluator_create(s->f, 1, block, 1, &e) == AF_OK);
    if (e)
        a->failed = af_evaluate(e, STARS, s->xv[0], count, a->j[0], angles ? a->theta[0] : NULL,
                                a->flags);
    af_evaluator_destroy(e);
}

/* As streams of two stars of which one is missing. */
static void ask_streams(scene *s, const size_t *count, answer *a) {
    static double xv[STARS][2][6], j[STARS][2][3], theta[STARS][2][3];
    static unsigned flags[STARS][2];
    static size_t one[STARS];
    af_evaluator *e = NULL;
    size_t i;
    memset(a, 0, sizeof *a);
    for (i = 0; i < STARS; i++) {
        memcpy(xv[i][0], s->xv[i], sizeof xv[i][0]);
        memset(xv[i][1], 0, sizeof xv[i][1]);
        one[i] = count ? count[i] : 1;
    }
    CHECK(af_evaluator_create(s->f, 2, 50, 1, &e) == AF_OK);
    if (e) a->failed = af_evaluate(e, STARS, xv[0][0], one, j[0][0], theta[0][0], flags[0]);
    for (i = 0; i < STARS; i++) {
        memcpy(a->j[i], j[i][0], sizeof j[i][0]);
        memcpy(a->theta[i], theta[i][0], sizeof theta[i][0]);
        a->flags[i] = flags[i][0];
    }
    af_evaluator_destroy(e);
}

/* What lacks J' of both is within AF__SOLVE_TOLERANCE, J' itself a few times that; angles change
 * with J' as quickly as the smallest action tells. Where J' is hard to solve for, one way may find
 * it and the other not. */
static void check_same(const scene *s, const answer *a, const answer *b, int angles) {
    double unit = s->f->g.action_scale, worst[2] = {0.0, 0.0};
    size_t i, k, unsettled = 0, worse = 0;
    CHECK(a->failed == b->failed);
    for (i = 0; i < STARS; i++) {
        double least = fmin(fabs(b->j[i][0]), fmin(b->j[i][1], b->j[i][2])) / unit;
        unsettled += (b->flags[i] & AF_STAR_UNCONVERGED) != 0;
        CHECK((a->flags[i] | AF_STAR_UNCONVERGED) == (b->flags[i] | AF_STAR_UNCONVERGED));
        worse += a->flags[i] > b->flags[i];
        if ((a->flags[i] | b->flags[i]) & AF_STAR_UNCONVERGED) continue;
        for (k = 0; k < 3; k++) {
            double p = a->j[i][k], q = b->j[i][k], away;
            CHECK(isnan(p) == isnan(q));
            if (isnan(q)) continue;
            worst[0] = fmax(worst[0], fabs(p - q) / unit);
            if (!angles) continue;
            away = fabs(angle_between(a->theta[i][k], b->theta[i][k]));
            CHECK(a->theta[i][k] >= 0.0 && a->theta[i][k] < 2.0 * AF__PI);
            worst[1] = fmax(worst[1], away * fmin(1.0, fmax(least, 1e-12)));
        }
    }
    CHECK_CLOSE(worst[0], 0.0, 1e-8);
    CHECK_CLOSE(worst[1], 0.0, 1e-8);
    CHECK(unsettled < STARS / 10 && worse <= STARS / 100);
}

/* The map is not the toy's, and most stars do not go the slow way. */
static void check_changes(scene *s, const answer *a, size_t kind) {
    af_isochrone toy = af_finder_toy(s->f);
    double change = 0.0, j[3];
    size_t i;
    for (i = 0; i < STARS; i++)
        if (a->flags[i] == 0 && !af_isochrone_actions(&toy, s->xv[i], j, NULL, NULL))
            change += fabs(a->j[i][2] - j[2]) / s->f->g.action_scale / STARS;
    CHECK(change > 1e-4);
    if (change <= 1e-4) printf("  kind %d: change %g\n", (int)kind, change);
}

static void check_left(scene *s, size_t kind) {
    af_evaluator *e = NULL;
    static answer a;
    af__request r = AF__ZERO;
    size_t end;
    CHECK(af_evaluator_create(s->f, 1, 64, 1, &e) == AF_OK);
    if (!e) return;
    CHECK((e->fast == NULL) == (kind == 5));
    r.streams = STARS;
    r.xv = s->xv[0];
    r.j = a.j[0];
    r.theta = a.theta[0];
    if (e->fast) {
        end = af__fast_run(e->fast, &e->toy, &r, 0);
        CHECK(end == STARS);
        CHECK(e->fast->left_count < STARS / 5);
    }
    af_evaluator_destroy(e);
}

TEST(kinds) {
    static scene s;
    static answer streams, fast, single, actions;
    static const size_t blocks[4] = {8, 13, 64, 1000};
    size_t kind, i;
    for (kind = 0; kind < KINDS; kind++) {
        scene_open(&s, kind);
        if (s.f) {
            ask_streams(&s, NULL, &streams);
            ask(&s, 1, NULL, 1, &single);
            check_same(&s, &single, &streams, 1);
            for (i = 0; i < 4; i++) {
                ask(&s, blocks[i], NULL, 1, &fast);
                check_same(&s, &fast, &streams, 1);
            }
            ask(&s, 64, NULL, 0, &actions);
            check_same(&s, &actions, &fast, 0);
            check_changes(&s, &fast, kind);
            check_left(&s, kind);
        }
        scene_close(&s);
    }
}

/* ---- special orbits among ordinary ones ---- */

static void put(double xv[6], double x, double y, double z, double u, double v, double w) {
    xv[0] = x;
    xv[1] = y;
    xv[2] = z;
    xv[3] = u;
    xv[4] = v;
    xv[5] = w;
}

static void make_special(scene *s) {
    af_isochrone toy = af_finder_toy(s->f);
    double circle[3] = {1500.0, 0.0, 0.0}, zero[3] = {1.0, 2.0, 3.0};
    put(s->xv[3], 8.0, 0.0, 0.0, 20.0, 180.0, 0.0);    /* planar */
    put(s->xv[4], 8.0, 0.0, 1.0, 20.0, 0.0, 150.0);    /* polar */
    put(s->xv[5], 8.0, 0.0, 1.0, 80.0, 0.0, 10.0);     /* radial */
    put(s->xv[6], 8.0, 0.0, 1.0, 2000.0, 0.0, 10.0);   /* unbound */
    put(s->xv[7], NAN, 0.0, 1.0, 20.0, 0.0, 10.0);
    put(s->xv[8], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);       /* at rest */
    put(s->xv[9], 8.0, 0.0, 1e-9, 20.0, -180.0, 1e-7); /* nearly planar */
    put(s->xv[10], 1e200, 0.0, 1.0, 20.0, 0.0, 10.0);
    put(s->xv[11], 8.0, 0.0, 1.0, 20.0, 1e-7, 150.0);  /* nearly polar */
    put(s->xv[12], 8.0, 0.0, 1.0, 80.0, 1e-5, 10.0);   /* nearly radial */
    af_isochrone_position(&toy, circle, zero, s->xv[13], NULL);
    circle[1] = 100.0;
    circle[2] = 1e-6;
    af_isochrone_position(&toy, circle, zero, s->xv[14], NULL);
}

TEST(special) {
    static scene s;
    static answer streams, fast;
    static size_t count[STARS];
    size_t kind, i;
    for (i = 0; i < STARS; i++) count[i] = i != 40 && i != STARS - 1;
    for (kind = 0; kind < KINDS; kind++) {
        scene_open(&s, kind);
        if (s.f) {
            make_special(&s);
            ask_streams(&s, count, &streams);
            ask(&s, 64, count, 1, &fast);
            CHECK(fast.flags[3] & AF_ORBIT_PLANAR);
            CHECK(fast.flags[4] & AF_ORBIT_POLAR);
            CHECK(fast.flags[6] == AF_ORBIT_UNBOUND && isnan(fast.j[6][0]));
            CHECK(fast.flags[7] == AF_ORBIT_INVALID && isnan(fast.theta[7][2]));
            CHECK(fast.flags[40] == AF_ORBIT_INVALID && isnan(fast.j[40][1]));
            CHECK(fast.failed == 3);
            check_same(&s, &fast, &streams, 1);
        }
        scene_close(&s);
    }
}

/* So many that are left that they are done in several goes. */
TEST(all_special) {
    static scene s;
    static double j[3000][3], xv[3000][6];
    static unsigned flags[3000];
    size_t kind, i, wrong = 0;
    for (kind = 0; kind < KINDS; kind += 6) {
        af_evaluator *e = NULL;
        scene_open(&s, kind);
        CHECK(s.f && af_evaluator_create(s.f, 1, 64, 1, &e) == AF_OK);
        for (i = 0; i < 3000; i++) {
            memcpy(xv[i], s.xv[i % STARS], sizeof xv[i]);
            if (i % 16) xv[i][2] = xv[i][5] = 0.0;
        }
        if (e) CHECK(af_evaluate(e, 3000, xv[0], NULL, j[0], NULL, flags) == 0);
        for (i = 0; i < 3000 && e; i++)
            wrong += !af__is_finite(j[i][2]) || (flags[i] & AF_ORBIT_PLANAR) == (i % 16 == 0) ||
                     fabs(j[i][2] - j[i % 1200][2]) > 1e-7 * s.f->g.action_scale;
        CHECK(wrong == 0);
        af_evaluator_destroy(e);
        scene_close(&s);
    }
}

/* ---- the toy ---- */

TEST(ordinary_toy) {
    enum { MANY = 400 };
    static double xv[6 * MANY], good[MANY], j[3 * MANY], theta[3 * MANY];
    af_isochrone toy = mock_truth();
    double mass_g = AF_GRAVITY * toy.mass, worst[2] = {0.0, 0.0};
    const void *values[3];
    void *to[3];
    size_t i, k, d[3] = {6, 1, MANY}, ordinary = 0;
    af_context *c = NULL;
    af_expr in[3], out[3];
    af_func_desc desc = AF__ZERO;
    af_func *f = NULL;
    af_workspace *w = NULL;
    af__ordinary o;
    af_context_create(NULL, &c);
    in[0] = af_input(c, "G M", 0, NULL);
    in[1] = af_input(c, "b", 0, NULL);
    in[2] = af_input(c, "xv", 3, d);
    o = af__ordinary_toy(c, in[0], in[1], in[2]);
    out[0] = o.good;
    out[1] = o.j;
    out[2] = af__wrap_turns(c, o.theta);
    desc.inputs = in;
    desc.input_count = 3;
    desc.outputs = out;
    desc.output_count = 3;
    CHECK(af_compile(c, &desc, &f) == AF_OK && af_workspace_create(f, 1, &w) == AF_OK);
    for (i = 0; i < MANY; i++) {
        double star[6];
        mock_star(31, i, star);
        if (i % 4 == 1) star[2] = star[5] = 0.0; /* planar */
        if (i % 8 == 2) star[5] *= 20.0;         /* many unbound */
        for (k = 0; k < 6; k++) xv[k * MANY + i] = star[k];
    }
    values[0] = &mass_g;
    values[1] = &toy.scale;
    values[2] = xv;
    to[0] = good;
    to[1] = j;
    to[2] = theta;
    if (w) af_run(f, w, values, to);
    for (i = 0; i < MANY && w; i++) {
        double star[6], action[3], angle[3];
        unsigned flags;
        for (k = 0; k < 6; k++) star[k] = xv[k * MANY + i];
        flags = af_isochrone_actions(&toy, star, action, angle, NULL);
        CHECK(good[i] == 0.0 || flags == 0); /* every special orbit is known as one */
        if (good[i] == 0.0) continue;
        ordinary++;
        for (k = 0; k < 3; k++) {
            double away = fabs(j[k * MANY + i] - action[k]) / fabs(action[k]);
            worst[0] = fmax(worst[0], away);
            worst[1] = fmax(worst[1], fabs(angle_between(theta[k * MANY + i], angle[k])));
        }
    }
    CHECK(ordinary > MANY / 2 && ordinary < MANY * 3 / 4 + 1);
    CHECK_CLOSE(worst[0], 0.0, 1e-10);
    CHECK_CLOSE(worst[1], 0.0, 1e-10);
    af_workspace_destroy(w);
    af_func_destroy(f);
    af_context_destroy(c);
}

/* ---- memory ---- */

TEST(allocates_nothing) {
    static scene s;
    static answer a;
    size_t kind;
    for (kind = 0; kind < KINDS; kind++) {
        af_evaluator *e = NULL;
        long calls;
        scene_open(&s, kind);
        CHECK(s.f && af_evaluator_create(s.f, 1, 64, 1, &e) == AF_OK);
        calls = s.memory.calls;
        if (e) af_evaluate(e, STARS, s.xv[0], NULL, a.j[0], a.theta[0], a.flags);
        CHECK(s.memory.calls == calls);
        af_evaluator_destroy(e);
        scene_close(&s);
    }
}

/* Memory that ends at the k-th call while an evaluator is made. */
static void check_memory(size_t kind) {
    long k, calls = 1, begun;
    for (k = 0; k <= calls; k += k == 0 ? 1 : 1 + calls / 200) {
        heap memory;
        af_context *c;
        af_finder *f;
        af_evaluator *e = NULL;
        af_status status;
        memset(&memory, 0, sizeof memory);
        c = heap_context(&memory, 1);
        f = kind_finder(c, kind);
        CHECK(f != NULL);
        if (!f) break;
        begun = memory.calls;
        if (k) memory.fail_at = begun + k;
        status = af_evaluator_create(f, 1, 64, 1, &e);
        if (k == 0) calls = memory.calls - begun;
        CHECK(status == (k ? AF_ERROR_MEMORY : AF_OK));
        CHECK((e != NULL) == (status == AF_OK));
        af_evaluator_destroy(e);
        af_finder_destroy(f);
        af_context_destroy(c);
        CHECK(memory.live == 0);
        if (memory.live) printf("  kind %d, call %ld of %ld\n", (int)kind, k, calls);
    }
    CHECK(calls > 20);
}

TEST(memory_fourier) { check_memory(1); }
TEST(memory_shears) { check_memory(6); }

int main(void) {
    RUN(kinds);
    RUN(special);
    RUN(all_special);
    RUN(ordinary_toy);
    RUN(allocates_nothing);
    RUN(memory_fourier);
    RUN(memory_shears);
    return test_report();
}
