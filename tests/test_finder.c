/* ActionFinder's training: gradients of the loss, what is learned from mock orbits, determinism. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "finder"
#include "af_mock.h"

/* ---- gradients ---- */

enum { STREAMS = 12, STARS = 5 };

/* A fit that has not begun: white box. */
typedef struct bench {
    af_context *c;
    af_orbits *o;
    af_finder *f;
    af__fit t;
} bench;

/* Mock orbits, every third stream with fewer stars. */
static af_orbits *ragged_orbits(af_context *c, uint64_t seed, size_t streams, size_t stars) {
    double *xv = (double *)malloc(streams * stars * 6 * sizeof *xv);
    size_t *count = (size_t *)malloc(streams * sizeof *count), s;
    af_orbits *o = NULL;
    mock_streams(seed, streams, stars, xv, NULL, NULL);
    for (s = 0; s < streams; s++) count[s] = s % 3 ? stars : 2 + s % (stars - 1);
    CHECK(af_orbits_create(c, streams, stars, xv, count, &o) == AF_OK);
    free(xv);
    free(count);
    return o;
}

static void bench_open(bench *b, const af_finder_desc *desc, double random) {
    af_finder_desc d = *desc;
    size_t s;
    memset(b, 0, sizeof *b);
    af_context_create(NULL, &b->c);
    af_context_set_threads(b->c, 1);
    b->o = ragged_orbits(b->c, 99, STREAMS, STARS);
    d.toy.mass = 4e11;
    d.toy.scale = 6.0;
    d.harmonics_r = 3;
    d.harmonics_z = 2;
    d.harmonics_phi = 1;
    d.net.random_last = d.point_net.random_last = 1;
    if (!d.net.width) d.net.width = 8;
    d.net.depth = 2;
    d.point_net.width = 8;
    CHECK(af_finder_create(b->c, b->o, &d, &b->f) == AF_OK);
    CHECK_TEXT(af_error(b->c), "");
    if (!b->f) return;
    shake(b->f, 8, random);
    b->t.f = b->f;
    b->t.orbits = b->o;
    b->t.arena.allocator = b->c->allocator;
    b->t.desc.train = STREAMS;
    b->t.desc.piece = STREAMS / 2;
    af__fit_defaults(&b->t);
    CHECK(af__fit_memory(&b->t) == AF_OK);
    CHECK(af_evaluator_create(b->f, STARS, STREAMS, 1, &b->t.judge) == AF_OK);
    CHECK(af__fit_compile(&b->t) == AF_OK);
    CHECK_TEXT(af_error(b->c), "");
    for (s = 0; s < STREAMS; s++) b->t.member[s] = s;
    for (s = 0; s < b->t.pieces; s++) b->t.seed[s] = 17.0 + (double)s;
}

static void bench_close(bench *b) {
    af_trainer_destroy(b->t.trainer);
    af_evaluator_destroy(b->t.judge);
    af__arena_free(&b->t.arena);
    af_finder_destroy(b->f);
    af_orbits_destroy(b->o);
    af_context_destroy(b->c);
}

/* J' solved for every stream into `warm`, to the last bit. */
static void bench_solve(bench *b) {
    double guess[3 * STREAMS];
    unsigned flags[STREAMS * STARS];
    size_t s, k, round;
    af_evaluator *e = NULL;
    af__request r = AF__ZERO;
    b->t.judge->toy = af_finder_toy(b->f);
    memset(guess, 0xff, sizeof guess); /* NaN */
    r.streams = STREAMS;
    r.xv = af_orbits_xv(b->o, 0);
    r.count = b->o->count;
    r.guess = guess;
    r.flags = flags;
    r.most_steps = AF__SOLVE_STEPS;
    af__evaluate_request(b->t.judge, &r);
    for (round = 0; round < 3; round++) { /* stream s is in lane s */
        e = b->t.judge;
        memcpy(e->solving.jp, e->best, 3 * STREAMS * sizeof *guess);
        af__run_block(e, e->step, e->step_work, &e->solving, e->next, e->lack);
        memcpy(e->best, e->next, 3 * STREAMS * sizeof *guess);
    }
    for (s = 0; s < STREAMS; s++) {
        CHECK(flags[s * STARS] == 0);
        for (k = 0; k < 3; k++) {
            CHECK_CLOSE(guess[3 * s + k], e->best[k * STREAMS + s], 1e-9);
            b->t.warm[3 * s + k] = e->best[k * STREAMS + s];
        }
    }
}

/* The loss at the parameters as they are; the gradient is in t.trainer->batch.total. */
static double bench_loss(bench *b) {
    const void *in[5];
    af_isochrone toy = af_finder_toy(b->f);
    af__fit_gather(&b->t, &toy);
    in[0] = b->t.weight;
    in[1] = b->t.old;
    in[2] = b->t.seed;
    in[3] = b->t.xv ? b->t.xv : b->t.theta;
    in[4] = b->t.j;
    CHECK(af__batch_run(&b->t.trainer->batch, in) == AF_OK);
    return b->t.trainer->batch.total[af_params_size(b->f->g.params)];
}

/* The gradient along random directions is what differences of the loss are; `solve`: with J' solved
 * for at each point (the implicit gradient), otherwise at the same J'. */
static void check_gradient(const af_finder_desc *desc, double random, int solve, double tolerance) {
    af_finder_desc held = *desc, *d = &held;
    bench b;
    size_t i, n, side, round;
    held.hold_actions = !solve;
    bench_open(&b, d, random);
    n = b.f ? af_params_size(b.f->g.params) : 0;
    for (i = 0; i < 3 * STREAMS && !solve && b.t.trainer; i++) /* any J' will do: near the toy's */
        b.t.warm[i] *= 1.0 + 0.02 * af_random_normal(4, 4, i);
    for (round = 0; round < 4 && b.t.trainer; round++) {
        double *w = af_params_data(b.f->g.params), h = 1e-5, loss[4], along = 0.0, expected,
               size = 0.0;
        double *direction = (double *)malloc(n * sizeof *direction);
        for (i = 0; i < n; i++) {
            direction[i] = af_random_normal(7, round, i);
            if (d->free_toy && round == 3 && i + 2 < n)
                direction[i] = 0.0; /* M and b are the last */
            size += direction[i] * direction[i];
        }
        for (i = 0; i < n; i++) direction[i] *= 3.0 / sqrt(size);
        if (solve) bench_solve(&b);
        bench_loss(&b);
        for (i = 0; i < n; i++) along += b.t.trainer->batch.total[i] * direction[i];
        for (side = 0; side < 4; side++) {
            double s = h * (side < 2 ? 1.0 : 2.0) * (side % 2 ? -1.0 : 1.0);
            for (i = 0; i < n; i++) w[i] += s * direction[i];
            if (solve) bench_solve(&b);
            loss[side] = bench_loss(&b);
            for (i = 0; i < n; i++) w[i] -= s * direction[i];
        }
        expected = (8.0 * (loss[0] - loss[1]) - (loss[2] - loss[3])) / (12.0 * h);
        if (getenv("AF_VERBOSE")) printf("  along %.12g differences %.12g\n", along, expected);
        CHECK_CLOSE(along / fabs(expected), expected / fabs(expected), tolerance);
        free(direction);
    }
    bench_close(&b);
}

/* The options one by one and together; random parameters, and networks that are rough enough. */
TEST(gradient_fourier) {
    af_finder_desc d = AF__ZERO;
    check_gradient(&d, 0.05, 0, 1e-6);
    d.axisymmetric = d.plane_symmetric = d.time_symmetric = AF_SYMMETRY_NO;
    d.negative_weight = 1.0;
    d.angle_weight = 0.3;
    check_gradient(&d, 0.05, 0, 1e-6);
}
TEST(gradient_absolute) {
    af_finder_desc d = AF__ZERO;
    d.spread = AF_SPREAD_ABSOLUTE;
    d.coefficient_penalty = -1.0;
    check_gradient(&d, 0.05, 0, 1e-6);
    d.coefficient_penalty = 0.0;
    d.time_symmetric = AF_SYMMETRY_NO;
    check_gradient(&d, 0.3, 0, 1e-6);
}
TEST(gradient_network) {
    af_finder_desc d = AF__ZERO;
    d.generator = AF_GENERATOR_NETWORK;
    d.net.activation = AF_TANH;
    check_gradient(&d, 0.02, 0, 1e-6);
    d.spread = AF_SPREAD_ABSOLUTE;
    check_gradient(&d, 0.04, 0, 1e-6);
}
TEST(gradient_resdense_dropout) {
    af_finder_desc d = AF__ZERO;
    d.generator = AF_GENERATOR_NETWORK;
    d.net.architecture = AF_RESDENSE;
    d.net.width = 4;
    d.net.max_width = 8;
    d.net.weight_norm = 1;
    d.net.dropout = 0.5;
    d.net.dropout_above = 4;
    check_gradient(&d, 0.02, 0, 1e-6);
}
TEST(gradient_point) {
    af_finder_desc d = AF__ZERO;
    d.point_transformation = 1;
    check_gradient(&d, 0.03, 0, 1e-6);
    d.generator = AF_GENERATOR_NETWORK;
    d.spread = AF_SPREAD_ABSOLUTE;
    check_gradient(&d, 0.02, 0, 1e-6);
}
TEST(gradient_free_toy) {
    af_finder_desc d = AF__ZERO;
    d.free_toy = 1;
    check_gradient(&d, 0.03, 0, 1e-6);
    d.generator = AF_GENERATOR_NETWORK;
    d.point_transformation = 1;
    check_gradient(&d, 0.02, 0, 1e-6);
}
TEST(gradient_implicit) {
    af_finder_desc d = AF__ZERO;
    d.coefficient_penalty = -1.0; /* its J' is held by intention */
    check_gradient(&d, 0.05, 1, 1e-5);
    d.axisymmetric = d.time_symmetric = AF_SYMMETRY_NO;
    check_gradient(&d, 0.05, 1, 1e-5);
    d.free_toy = 1;
    d.point_transformation = 1;
    check_gradient(&d, 0.02, 1, 1e-5);
    d.generator = AF_GENERATOR_NETWORK;
    d.spread = AF_SPREAD_ABSOLUTE;
    check_gradient(&d, 0.02, 1, 1e-5);
}
/* The loss is the same with and without it (dG/dtheta is taken at constant J'), its gradient
 * another one: the check above can fail. */
TEST(gradient_held) {
    af_finder_desc d = AF__ZERO;
    bench b;
    double *held, dot = 0.0, own = 0.0, loss[2];
    size_t i, n, kind;
    d.coefficient_penalty = -1.0;
    held = NULL;
    for (kind = 0; kind < 2; kind++) {
        d.hold_actions = kind == 0;
        bench_open(&b, &d, 0.05);
        n = af_params_size(b.f->g.params);
        bench_solve(&b);
        loss[kind] = bench_loss(&b);
        if (!held) {
            held = (double *)malloc(n * sizeof *held);
            memcpy(held, b.t.trainer->batch.total, n * sizeof *held);
        }
        for (i = 0; i < n && kind; i++) {
            double away = b.t.trainer->batch.total[i] - held[i];
            dot += away * away;
            own += held[i] * held[i];
        }
        bench_close(&b);
    }
    CHECK_CLOSE(loss[0], loss[1], 1e-12);
    CHECK(sqrt(dot / own) > 1e-3);
    free(held);
}

/* What stands in the places of missing stars does not matter: one stream, alone and beside a longer
 * one, has the same loss. */
TEST(loss_ignores_padding) {
    static double xv[2][6][6];
    static const size_t stars[2] = {3, 6}, count[1] = {3};
    double loss[2] = {0.0, 1.0};
    size_t k;
    mock_streams(31, 1, 3, xv[0][0], NULL, NULL);
    memcpy(xv[1][0], xv[0][0], 3 * 6 * sizeof(double));
    for (k = 0; k < 2; k++) {
        af_finder_desc d = AF__ZERO;
        af_context *c = NULL;
        bench b;
        memset(&b, 0, sizeof b);
        af_context_create(NULL, &c);
        b.c = c;
        CHECK(af_orbits_create(c, 1, stars[k], xv[k][0], count, &b.o) == AF_OK);
        d.toy.mass = 4e11;
        d.toy.scale = 6.0;
        d.negative_weight = d.angle_weight = 1.0;
        d.net.random_last = 1;
        CHECK(af_finder_create(c, b.o, &d, &b.f) == AF_OK);
        shake(b.f, 3, 0.5); /* wild enough for negative actions */
        b.t.f = b.f;
        b.t.orbits = b.o;
        b.t.arena.allocator = c->allocator;
        af__fit_defaults(&b.t);
        CHECK(af__fit_memory(&b.t) == AF_OK && af__fit_compile(&b.t) == AF_OK);
        loss[k] = bench_loss(&b);
        bench_close(&b);
    }
    CHECK_CLOSE(loss[0], loss[1], 1e-12);
}

/* ---- learning ---- */

enum { LEARN = 128, HELD = 48, SAMPLE = 8 };

typedef struct lesson {
    af_context *c;
    af_orbits *o;
    double *xv, *j, *theta;
} lesson;

static void lesson_open(lesson *l) {
    size_t n = LEARN + HELD;
    l->xv = (double *)malloc(n * SAMPLE * 6 * sizeof(double));
    l->j = (double *)malloc(n * 3 * sizeof(double));
    l->theta = (double *)malloc(n * SAMPLE * 3 * sizeof(double));
    mock_streams(2021, n, SAMPLE, l->xv, l->j, l->theta);
    af_context_create(NULL, &l->c);
    CHECK(af_orbits_create(l->c, n, SAMPLE, l->xv, NULL, &l->o) == AF_OK);
}

static void lesson_close(lesson *l) {
    af_orbits_destroy(l->o);
    af_context_destroy(l->c);
    free(l->xv);
    free(l->j);
    free(l->theta);
}

/* Median errors of the held-out streams: of the mean action (summed over the components) and of the
 * angles. */
static void lesson_errors(const lesson *l, const af_finder *f, double *action, double *angle) {
    static double j[(LEARN + HELD) * SAMPLE * 3], theta[(LEARN + HELD) * SAMPLE * 3];
    double ej[HELD], et[HELD * SAMPLE];
    size_t s, i, k;
    CHECK(af_finder_evaluate(f, l->o, j, theta, NULL) == AF_OK);
    for (s = 0; s < HELD; s++) {
        const double *truth = l->j + 3 * (LEARN + s);
        ej[s] = 0.0;
        for (k = 0; k < 3; k++) {
            double mean = 0.0;
            for (i = 0; i < SAMPLE; i++) mean += j[((LEARN + s) * SAMPLE + i) * 3 + k] / SAMPLE;
            ej[s] += fabs(mean - truth[k]);
        }
        for (i = 0; i < SAMPLE; i++) {
            size_t at = ((LEARN + s) * SAMPLE + i) * 3;
            et[s * SAMPLE + i] = 0.0;
            for (k = 0; k < 3; k++)
                et[s * SAMPLE + i] += fabs(angle_between(theta[at + k], l->theta[at + k]));
        }
    }
    *action = median(ej, HELD);
    *angle = median(et, HELD * SAMPLE);
}

static void check_learning(af_finder_desc *d, size_t epochs, double actions, double angles) {
    lesson l;
    af_finder *f = NULL;
    af_fit_desc fit = AF__ZERO;
    double before[2], after[2];
    lesson_open(&l);
    d->toy.mass = 1.2 * mock_truth().mass;
    d->toy.scale = 1.2 * mock_truth().scale;
    CHECK(af_finder_create(l.c, l.o, d, &f) == AF_OK);
    CHECK(af_finder_is_axisymmetric(f) == (d->generator == AF_GENERATOR_FOURIER));
    lesson_errors(&l, f, &before[0], &before[1]);
    fit.train = LEARN;
    fit.batch = LEARN / 2;
    fit.epochs = epochs;
    fit.schedule.rate = 1e-2;
    CHECK(af_finder_fit(f, l.o, &fit) == AF_OK);
    CHECK_TEXT(af_error(l.c), "");
    lesson_errors(&l, f, &after[0], &after[1]);
    if (getenv("AF_VERBOSE"))
        printf("  actions %.4g -> %.4g, angles %.4g -> %.4g\n", before[0], after[0], before[1],
               after[1]);
    CHECK(after[0] * actions < before[0]);
    CHECK(after[1] * angles < before[1]);
    af_finder_destroy(f);
    lesson_close(&l);
}

TEST(learns_fourier) {
    af_finder_desc d = AF__ZERO;
    d.harmonics_r = 6;
    d.harmonics_z = 2;
    d.net.width = 32;
    d.net.depth = 2;
    check_learning(&d, 150, 5.0, 2.0);
}

TEST(learns_free_toy) {
    af_finder_desc d = AF__ZERO;
    d.free_toy = 1;
    d.harmonics_r = 3;
    d.harmonics_z = 2;
    d.net.width = 16;
    d.net.depth = 2;
    check_learning(&d, 150, 5.0, 2.0);
}

TEST(learns_network) {
    af_finder_desc d = AF__ZERO;
    d.generator = AF_GENERATOR_NETWORK;
    d.net.width = 32;
    d.net.depth = 2;
    check_learning(&d, 100, 2.0, 1.0);
}

/* Where the toy is exact the map stays the identity. */
TEST(exact_toy_stays) {
    lesson l;
    af_finder *f = NULL;
    af_finder_desc d = AF__ZERO;
    af_fit_desc fit = AF__ZERO;
    double action, angle;
    lesson_open(&l);
    d.toy = mock_truth();
    d.harmonics_r = 3;
    d.harmonics_z = 2;
    CHECK(af_finder_create(l.c, l.o, &d, &f) == AF_OK);
    CHECK(af_finder_is_axisymmetric(f));
    lesson_errors(&l, f, &action, &angle);
    CHECK_CLOSE(action / 1000.0, 0.0, 1e-9);
    CHECK_CLOSE(angle, 0.0, 1e-8);
    fit.train = LEARN;
    fit.epochs = 10;
    CHECK(af_finder_fit(f, l.o, &fit) == AF_OK);
    lesson_errors(&l, f, &action, &angle);
    CHECK_CLOSE(action / 1000.0, 0.0, 1e-6);
    CHECK_CLOSE(angle, 0.0, 1e-5);
    af_finder_destroy(f);
    lesson_close(&l);
}

/* ---- symmetries ---- */

static af_orbits *logarithmic_orbits(af_context *c, double p, size_t streams, size_t stars) {
    double *xv = (double *)malloc(streams * stars * 6 * sizeof *xv);
    af_potential part = af_potential_logarithmic(220.0, 1.0, p, 0.8);
    af_potential_sum sum;
    af_orbits *o = NULL;
    size_t s;
    uint64_t draw = 0;
    sum.parts = &part;
    sum.count = 1;
    for (s = 0; s < streams; s++) {
        double start[6];
        do mock_star(55, draw++, start);
        while (fabs(start[0] * start[4] - start[1] * start[3]) < 800.0); /* tubes */
        CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_potential(&sum), start, 0.05,
                                 20, stars, xv + s * stars * 6) == AF_OK);
    }
    CHECK(af_orbits_create(c, streams, stars, xv, NULL, &o) == AF_OK);
    free(xv);
    return o;
}

TEST(symmetries) {
    static const double p[2] = {1.0, 0.9};
    size_t i;
    for (i = 0; i < 2; i++) {
        af_context *c = NULL;
        af_finder *f = NULL;
        af_orbits *o;
        double j[40 * 10 * 3], toy[3], worst = 0.0;
        size_t n, harmonics[2];
        af_context_create(NULL, &c);
        o = logarithmic_orbits(c, p[i], 40, 10);
        CHECK(af_finder_create(c, o, NULL, &f) == AF_OK);
        CHECK_TEXT(af_error(c), "");
        CHECK(af_finder_is_axisymmetric(f) == (i == 0));
        harmonics[0] = af_finder_harmonics(f);
        shake(f, 1, 0.02);
        CHECK(af_finder_evaluate(f, o, j, NULL, NULL) == AF_OK);
        for (n = 0; n < 400; n++) {
            af_isochrone iso = af_finder_toy(f);
            af_isochrone_actions(&iso, af_orbits_xv(o, 0) + 6 * n, toy, NULL, NULL);
            worst = fmax(worst, fabs(j[3 * n] - toy[0]) / 1000.0);
        }
        if (i == 0) CHECK_CLOSE(worst, 0.0, 1e-12); /* J_phi = L_z */
        else CHECK(worst > 1e-4);
        af_finder_destroy(f);
        {
            af_finder_desc d = AF__ZERO;
            d.axisymmetric = i ? AF_SYMMETRY_YES : AF_SYMMETRY_NO; /* against the data */
            CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
            CHECK(af_finder_is_axisymmetric(f) == (i == 1));
            harmonics[1] = af_finder_harmonics(f);
            CHECK((harmonics[0] < harmonics[1]) == (i == 0));
            af_finder_destroy(f);
        }
        af_orbits_destroy(o);
        af_context_destroy(c);
    }
}

/* ---- fits: what goes in, what comes out ---- */

typedef struct watch {
    size_t calls, stop_at;
    af_progress last;
    double least; /* validation */
} watch;

static int watch_progress(const af_progress *p, void *user) {
    watch *w = (watch *)user;
    w->calls++;
    w->last = *p;
    if (w->calls == 1 || p->validation < w->least) w->least = p->validation;
    return w->stop_at && w->calls >= w->stop_at;
}

typedef struct run {
    heap memory;
    af_context *c;
    af_orbits *o;
    af_finder *f;
    watch w;
} run;

static void run_open(run *r, const af_finder_desc *desc, int threads) {
    af_finder_desc d = AF__ZERO;
    if (desc) d = *desc;
    memset(r, 0, sizeof *r);
    r->c = heap_context(&r->memory, threads);
    r->o = ragged_orbits(r->c, 5, 24, 4);
    d.toy.mass = 4e11;
    d.toy.scale = 6.0;
    d.harmonics_r = 3;
    d.harmonics_z = 2;
    d.net.width = 8;
    d.net.depth = 2;
    CHECK(af_finder_create(r->c, r->o, &d, &r->f) == AF_OK);
}

static void run_close(run *r) {
    af_finder_destroy(r->f);
    af_orbits_destroy(r->o);
    af_context_destroy(r->c);
    CHECK(r->memory.live == 0);
}

static af_fit_desc run_fit(run *r, size_t epochs) {
    af_fit_desc d = AF__ZERO;
    d.epochs = epochs;
    d.batch = 8;
    d.validate_every = 1;
    d.progress = watch_progress;
    d.user = &r->w;
    return d;
}

/* A copy of the parameters, to be freed. */
static double *parameters(const run *r) {
    size_t bytes = af_finder_parameters(r->f) * sizeof(double);
    double *copy = (double *)malloc(bytes);
    memcpy(copy, af_params_data(r->f->g.params), bytes);
    return copy;
}

static double *fitted(const af_finder_desc *d, int threads, size_t epochs, size_t *size) {
    run r;
    af_fit_desc fit;
    double *result;
    run_open(&r, d, threads);
    fit = run_fit(&r, epochs);
    CHECK(af_finder_fit(r.f, r.o, &fit) == AF_OK);
    result = parameters(&r);
    *size = af_finder_parameters(r.f) * sizeof(double);
    run_close(&r);
    return result;
}

TEST(same_bits_for_any_threads) {
    size_t kind, size = 0;
    for (kind = 0; kind < 2; kind++) {
        af_finder_desc d = AF__ZERO;
        double *one, *other;
        int threads;
        d.generator = (af_generator_kind)kind;
        d.free_toy = 1;
        one = fitted(&d, 1, 6, &size);
        for (threads = 2; threads < 4; threads++) {
            other = fitted(&d, threads, 6, &size);
            CHECK(memcmp(one, other, size) == 0);
            free(other);
        }
        d.seed = 1;
        other = fitted(&d, 1, 6, &size);
        CHECK(memcmp(one, other, size) != 0);
        free(other);
        free(one);
    }
}

/* Mean spread of the streams from `first` on, as the finder is now. */
static double spread_of(const run *r, size_t first) {
    double j[24 * 4 * 3], sum = 0.0;
    size_t s;
    CHECK(af_finder_evaluate(r->f, r->o, j, NULL, NULL) == AF_OK);
    for (s = first; s < 24; s++)
        sum += af__spread_of_stream(&r->f->g.desc, j + 12 * s, af_orbits_count(r->o, s),
                                    r->f->g.action_scale);
    return sum / (double)(24 - first);
}

/* At the end and after a stop the parameters are those of the best validation. */
TEST(best_validation) {
    static const size_t stop[3] = {0, 7, 1};
    af_finder_desc d = AF__ZERO;
    size_t k, train;
    d.hold_actions = 1; /* the maps stay tame, so that each J' has one solution to compare */
    for (train = 0; train < 2; train++)
        for (k = 0; k < 3; k++) {
            run r;
            af_fit_desc fit;
            run_open(&r, &d, 1);
            fit = run_fit(&r, 12);
            fit.train = train ? 24 : 0; /* 24: the training streams judge */
            fit.schedule.kind = AF_SCHEDULE_CONSTANT;
            fit.schedule.rate = 0.3; /* rough: not each epoch is better */
            r.w.stop_at = stop[k];
            CHECK(af_finder_fit(r.f, r.o, &fit) == (stop[k] ? AF_STOPPED : AF_OK));
            CHECK(af_error_status(r.c) == AF_OK);
            CHECK(r.w.calls == (stop[k] ? stop[k] : 12));
            CHECK(isfinite(r.w.last.validation) && r.w.last.best_validation == r.w.least);
            if (k == 0) CHECK(r.w.last.best_epoch < 12);
            CHECK_CLOSE(spread_of(&r, train ? 0 : 21), r.w.least, 1e-6);
            run_close(&r);
        }
}

/* What validates is the spread of the streams held out, as an evaluator gives it. */
TEST(validation_is_spread) {
    run r;
    af_fit_desc fit;
    double sum[2] = {0.0, 0.0};
    size_t side;
    for (side = 0; side < 2; side++) { /* 3 streams held out; none */
        run_open(&r, NULL, 1);
        fit = run_fit(&r, 1);
        if (side) fit.train = 24;
        CHECK(af_finder_fit(r.f, r.o, &fit) == AF_OK);
        sum[side] = spread_of(&r, side ? 0 : 21);
        CHECK_CLOSE(r.w.last.validation, sum[side], 1e-6);
        run_close(&r);
    }
    CHECK(fabs(sum[0] - sum[1]) > 1e-3);
}

/* The last epoch is judged, however rarely the others are. */
TEST(last_epoch_is_judged) {
    run r;
    af_fit_desc fit;
    run_open(&r, NULL, 1);
    fit = run_fit(&r, 30);
    fit.validate_every = 1000;
    CHECK(af_finder_fit(r.f, r.o, &fit) == AF_OK);
    CHECK(isfinite(r.w.last.validation));
    CHECK(r.w.last.best_epoch == (r.w.last.validation == r.w.least ? 30u : 1u));
    run_close(&r);
}

/* Stopped and resumed gives the bits of a run without a stop. */
TEST(resume) {
    size_t kind, size = 0;
    const char *path = scratch_file("checkpoint.safetensors");
    for (kind = 0; kind < 3; kind++) {
        af_finder_desc d = AF__ZERO;
        double *whole, *now;
        run r;
        af_fit_desc fit;
        d.generator = kind == 1 ? AF_GENERATOR_NETWORK : AF_GENERATOR_FOURIER;
        d.free_toy = kind == 2;
        d.net.dropout = kind == 1 ? 0.3 : 0.0;
        d.net.architecture = kind == 1 ? AF_RESDENSE : AF_MLP;
        d.net.max_width = 8;
        d.net.dropout_above = 4;
        whole = fitted(&d, 1, 10, &size);
        run_open(&r, &d, 1);
        fit = run_fit(&r, 10);
        fit.checkpoint = path;
        r.w.stop_at = 4;
        CHECK(af_finder_fit(r.f, r.o, &fit) == AF_STOPPED);
        run_close(&r);
        run_open(&r, &d, 1);
        fit = run_fit(&r, 10);
        fit.checkpoint = path;
        fit.resume = 1;
        CHECK(af_finder_fit(r.f, r.o, &fit) == AF_OK);
        CHECK(r.w.calls == 6);
        now = parameters(&r);
        CHECK(memcmp(now, whole, size) == 0);
        free(now);
        free(whole);
        run_close(&r);
        remove(path);
    }
}

/* A checkpoint of another fit is refused and changes nothing. */
TEST(resume_refused) {
    const char *path = scratch_file("other.safetensors");
    run r;
    af_fit_desc fit;
    double *before, *after;
    size_t bytes;
    run_open(&r, NULL, 1);
    fit = run_fit(&r, 2);
    fit.checkpoint = path;
    CHECK(af_finder_fit(r.f, r.o, &fit) == AF_OK);
    before = parameters(&r);
    bytes = af_finder_parameters(r.f) * sizeof(double);
    shake(r.f, 2, 0.1);
    free(before);
    before = parameters(&r);
    fit.train = 20;
    fit.resume = 1;
    CHECK(af_finder_fit(r.f, r.o, &fit) == AF_ERROR_SHAPE);
    CHECK_TEXT(af_error(r.c), path);
    after = parameters(&r);
    CHECK(memcmp(before, after, bytes) == 0);
    free(before);
    free(after);
    run_close(&r);
    remove(path);
}

static void check_fit_fails(run *r, const af_orbits *o, const af_fit_desc *fit, af_status status,
                            const char *words) {
    double *before = parameters(r), *after;
    CHECK(af_finder_fit(r->f, o, fit) == status);
    CHECK_TEXT(af_error(r->c), words);
    af_error_clear(r->c);
    after = parameters(r);
    CHECK(memcmp(before, after, af_finder_parameters(r->f) * sizeof(double)) == 0);
    free(before);
    free(after);
}

TEST(fit_errors) {
    run r;
    af_fit_desc fit = AF__ZERO;
    af_orbits *o = NULL;
    double xv[3][2][6];
    size_t count[3] = {2, 1, 2};
    const char *path = scratch_file("ids.csv");
    run_open(&r, NULL, 1);
    fit.train = 25;
    check_fit_fails(&r, r.o, &fit, AF_ERROR_ARGUMENT,
                    "25 training streams were asked for, there are 24");
    fit.train = 0;
    fit.end_canary = 1;
    check_fit_fails(&r, r.o, &fit, AF_ERROR_ARGUMENT, "not initialised");
    mock_streams(9, 3, 2, xv[0][0], NULL, NULL);
    CHECK(af_orbits_create(r.c, 3, 2, xv[0][0], count, &o) == AF_OK);
    check_fit_fails(&r, o, NULL, AF_ERROR_DATA, "stream 1 has one star");
    af_orbits_destroy(o);
    xv[2][1][4] = 2000.0;
    CHECK(af_orbits_create(r.c, 3, 2, xv[0][0], NULL, &o) == AF_OK);
    check_fit_fails(&r, o, NULL, AF_ERROR_DATA, "stream 2, star 1");
    check_fit_fails(&r, o, NULL, AF_ERROR_DATA, "unbound in the toy");
    af_orbits_destroy(o);
    /* of a table the stream's own number is told */
    write_text(path, "stream,x,y,z,vx,vy,vz\n1234567,8,0,1,0,200,50\n42,8,0,1,0,200,50\n"
                     "1234567,8,0,1,0,2000,50\n42,8,0,1,0,200,50\n");
    CHECK(af_orbits_read(r.c, path, &o) == AF_OK);
    check_fit_fails(&r, o, NULL, AF_ERROR_DATA, "stream 1234567, star 1");
    af_orbits_destroy(o);
    write_text(path, "stream,x,y,z,vx,vy,vz\n1234567,8,0,1,0,200,50\n42,8,0,1,0,200,50\n"
                     "42,8,0,1,0,200,50\n");
    CHECK(af_orbits_read(r.c, path, &o) == AF_OK);
    check_fit_fails(&r, o, NULL, AF_ERROR_DATA, "stream 1234567 has one star");
    af_orbits_destroy(o);
    fit.end_canary = 0;
    fit.adam.beta1 = 2.0;
    check_fit_fails(&r, r.o, &fit, AF_ERROR_ARGUMENT, "beta");
    run_close(&r);
    remove(path);
}

static void check_create_fails(af_context *c, const af_orbits *o, const af_finder_desc *d,
                               af_status status, const char *words) {
    af_finder *f = (af_finder *)&f;
    CHECK(af_finder_create(c, o, d, &f) == status);
    CHECK(f == NULL);
    CHECK_TEXT(af_error(c), words);
    af_error_clear(c);
}

TEST(create_errors) {
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = mock_orbits(c, 3, 4, 3), *one = mock_orbits(c, 3, 4, 1);
    const af_finder_desc none = AF__ZERO;
    af_finder_desc d = none;
    d.start_canary = 1;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "not initialised");
    d = none;
    d.toy.mass = -1.0;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "toy mass -1");
    d.toy.mass = NAN;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "toy mass");
    d.toy.mass = INFINITY;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "toy mass");
    d.toy.mass = 1e9;
    d.toy.scale = 5.0;
    check_create_fails(c, o, &d, AF_ERROR_DATA, "stream 0, star 0");
    d = none;
    d.harmonics_z = 65;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "harmonics above 64");
    d = none;
    d.harmonics_budget = -1.0;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "budget");
    d.harmonics_budget = NAN;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "budget");
    d = none;
    d.generator = (af_generator_kind)3;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "generator 3");
    d = none;
    d.spread = (af_spread_kind)-1;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "spread -1");
    d = none;
    d.axisymmetric = (af_symmetry)3;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "symmetr");
    check_create_fails(c, one, NULL, AF_ERROR_DATA, "one star each");
    af_orbits_destroy(o);
    af_orbits_destroy(one);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

TEST(create_refuses_numbers) {
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = mock_orbits(c, 3, 4, 3);
    const af_finder_desc none = AF__ZERO;
    af_finder_desc d = none;
    d.softening = -1.0;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "softening");
    d.softening = NAN;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "softening");
    d = none;
    d.angle_weight = INFINITY;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "weight of the loss");
    d = none;
    d.net.width = 16385;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "wider than 16384");
    d = none;
    d.harmonics_r = d.harmonics_z = d.harmonics_phi = 64;
    d.axisymmetric = AF_SYMMETRY_NO;
    d.harmonics_budget = 3.0;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "1 to 65536 are possible");
    d = none;
    d.net.dropout = 1.5;
    check_create_fails(c, o, &d, AF_ERROR_ARGUMENT, "dropout");
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

static void keep_sentence(const char *sentence, void *user) {
    snprintf((char *)user, 256, "%s", sentence);
}

/* A logger hears what a finder has chosen. */
TEST(create_reports) {
    char heard[256] = "";
    af_context_desc desc = AF__ZERO;
    af_context *c;
    af_orbits *o;
    af_finder *f;
    desc.logger.log = keep_sentence;
    desc.logger.user = heard;
    CHECK(af_context_create(&desc, &c) == AF_OK);
    o = mock_orbits(c, 3, 4, 3);
    CHECK(af_finder_create(c, o, NULL, &f) == AF_OK);
    CHECK_TEXT(heard, "finder: toy of");
    CHECK_TEXT(heard, "axisymmetric");
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
}

/* A free toy that is pushed towards lightness stays above what binds every star, and the parameters
 * stay finite; planar, polar and radial stars do not break it. */
TEST(free_toy_binds) {
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = NULL;
    af_finder *f = NULL;
    af_finder_desc d = AF__ZERO;
    af_fit_desc fit = AF__ZERO;
    af_isochrone toy;
    double xv[16][4][6];
    size_t i;
    mock_streams(6, 16, 4, xv[0][0], NULL, NULL);
    xv[3][0][2] = xv[3][0][5] = 0.0;                      /* planar */
    for (i = 0; i < 3; i++) xv[4][1][3 + i] = xv[4][1][i]; /* radial */
    xv[5][2][3] = xv[5][2][0];                            /* polar */
    xv[5][2][4] = xv[5][2][1];
    for (i = 0; i < 3; i++) xv[6][3][3 + i] *= 1.5; /* nearly unbound */
    CHECK(af_orbits_create(c, 16, 4, xv[0][0], NULL, &o) == AF_OK);
    d.free_toy = 1;
    d.harmonics_r = 3;
    d.harmonics_z = 2;
    d.net.width = 8;
    CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
    fit.epochs = 60;
    fit.schedule.rate = 0.3; /* rough on purpose */
    CHECK(af_finder_fit(f, o, &fit) == AF_OK);
    CHECK_TEXT(af_error(c), "");
    toy = af_finder_toy(f);
    CHECK(isfinite(toy.mass) && isfinite(toy.scale));
    for (i = 0; i < 64; i++)
        CHECK((af_isochrone_actions(&toy, xv[i / 4][i % 4], NULL, NULL, NULL) & AF_ORBIT_FAILED) ==
              0);
    CHECK(toy.mass >= 1.2 * 0.999999 * af__binding_mass(o, toy.scale));
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

/* The smallest problem: one stream of two stars. */
TEST(two_stars) {
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = mock_orbits(c, 8, 1, 2);
    af_finder *f = NULL;
    af_fit_desc fit = AF__ZERO;
    double j[6], theta[6];
    unsigned flags[2];
    CHECK(af_finder_create(c, o, NULL, &f) == AF_OK);
    fit.epochs = 2;
    CHECK(af_finder_fit(f, o, &fit) == AF_OK);
    CHECK(af_finder_evaluate(f, o, j, theta, flags) == AF_OK);
    CHECK(isfinite(j[0] + j[5] + theta[0] + theta[5]));
    CHECK_TEXT(af_error(c), "");
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

int main(void) {
    RUN(gradient_fourier);
    RUN(gradient_absolute);
    RUN(gradient_network);
    RUN(gradient_resdense_dropout);
    RUN(gradient_point);
    RUN(gradient_free_toy);
    RUN(gradient_implicit);
    RUN(gradient_held);
    RUN(loss_ignores_padding);
    RUN(learns_fourier);
    RUN(learns_free_toy);
    RUN(learns_network);
    RUN(exact_toy_stays);
    RUN(symmetries);
    RUN(same_bits_for_any_threads);
    RUN(best_validation);
    RUN(validation_is_spread);
    RUN(last_epoch_is_judged);
    RUN(resume);
    RUN(resume_refused);
    RUN(fit_errors);
    RUN(create_errors);
    RUN(create_refuses_numbers);
    RUN(create_reports);
    RUN(free_toy_binds);
    RUN(two_stars);
    return test_report();
}
