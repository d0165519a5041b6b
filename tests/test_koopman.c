/* The Koopman symplectic autoencoder: against closed forms and quadrature, its identities, its
 * losses, files, bad input, memory that ends. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "koopman"
#include "af_mock.h"

enum { MOST = 40 * 64 };

/* ---- systems ---- */

/* A potential of one degree of freedom and its force: the isothermal slab Phi = 2 log cosh(z/2), or
 * the oscillator z^2/8, moved so that it rests at `rest`. */
typedef struct well {
    int slab;
    double rest;
} well;

static double well_potential(const well *w, double z) {
    z -= w->rest;
    return w->slab ? 2.0 * log(cosh(0.5 * z)) : 0.125 * z * z;
}

static double well_force(const well *w, double z) {
    z -= w->rest;
    return w->slab ? -tanh(0.5 * z) : -0.25 * z;
}

/* Runge-Kutta of order four; its error is below 1e-11 at this step. */
static void well_move(const well *w, double x[2], double time) {
    int n = (int)(fabs(time) / 4e-3) + 1, i;
    double h = time / n;
    for (i = 0; i < n; i++) {
        double k[4], l[4];
        k[0] = x[1];
        l[0] = well_force(w, x[0]);
        k[1] = x[1] + 0.5 * h * l[0];
        l[1] = well_force(w, x[0] + 0.5 * h * k[0]);
        k[2] = x[1] + 0.5 * h * l[1];
        l[2] = well_force(w, x[0] + 0.5 * h * k[1]);
        k[3] = x[1] + h * l[2];
        l[3] = well_force(w, x[0] + h * k[2]);
        x[0] += h / 6.0 * (k[0] + 2.0 * k[1] + 2.0 * k[2] + k[3]);
        x[1] += h / 6.0 * (l[0] + 2.0 * l[1] + 2.0 * l[2] + l[3]);
    }
}

/* Action and frequency of the orbit that turns at `rest` + top. In z = top sin(phi) the integrands
 * are smooth and periodic, and the midpoint rule converges geometrically. */
static void well_truth(const well *w, double top, double *j, double *omega) {
    double area = 0.0, time = 0.0, energy = well_potential(w, w->rest + top), turn = acos(-1.0);
    int i, n = 400;
    for (i = 0; i < n; i++) {
        double phi = (i + 0.5) * turn / n - 0.5 * turn, z = top * sin(phi);
        double v = sqrt(2.0 * (energy - well_potential(w, w->rest + z)));
        area += v * top * cos(phi) / n;
        time += top * cos(phi) / v / n;
    }
    *j = area;
    *omega = 1.0 / time;
}

/* `uneven`: times and numbers of samples differ; noise on both coordinates. */
static af_trajectories *well_orbits(af_context *c, const well *w, size_t orbits, size_t samples,
                                    int uneven, double noise) {
    static double time[MOST], qp[2 * MOST];
    size_t count[64], o, s, at = 0;
    af_trajectories *t = NULL;
    for (o = 0; o < orbits; o++) {
        double x[2], now = uneven ? 3.0 * (double)o : 0.0;
        x[0] = w->rest + 0.32 + (4.0 - 0.32) * (double)o / (double)(orbits - 1);
        x[1] = 0.0;
        count[o] = uneven ? samples - o % 3 * 4 : samples;
        for (s = 0; s < count[o]; s++, at++) {
            double step = 12.0 / (double)samples;
            if (uneven) step *= 0.5 + af_random_uniform(5, o, s);
            time[at] = now;
            qp[2 * at] = x[0] + noise * af_random_normal(6, o, 2 * s);
            qp[2 * at + 1] = x[1] + noise * af_random_normal(6, o, 2 * s + 1);
            well_move(w, x, step);
            now += step;
        }
    }
    CHECK(af_trajectories_create(c, 1, orbits, count, time, qp, &t) == AF_OK);
    return t;
}

/* Largest errors of J and Omega, and of orbits from an action-angle point, over orbits that were
 * not trained on. */
typedef struct errors {
    double j, omega, rollout, inverse, zero; /* zero: theta where q passes rest upwards */
} errors;

static void worse(double *largest, double x) {
    if (!(fabs(x) <= *largest)) *largest = fabs(x);
}

static errors well_errors(const well *w, const af_koopman *k) {
    errors e = AF__ZERO;
    af_koopman_evaluator *one = NULL;
    size_t o, s;
    CHECK(af_koopman_evaluator_create(k, 3, &one) == AF_OK);
    for (o = 0; o < 12 && one; o++) {
        double top = 0.4 + 3.5 * ((double)o + 0.37) / 12.0, j, omega, x[2], first[2];
        well_truth(w, top, &j, &omega);
        x[0] = w->rest;
        x[1] = sqrt(2.0 * (well_potential(w, w->rest + top) - well_potential(w, w->rest)));
        af_koopman_encode(one, 1, x, NULL, first, NULL, NULL);
        worse(&e.zero, sin(first[0]) + (cos(first[0]) < 0.0));
        x[0] = w->rest + top;
        x[1] = 0.0;
        for (s = 0; s < 9; s++) {
            double got[2], theta, rate, back[2], time = 1.7 * (double)s;
            af_koopman_encode(one, 1, x, &got[0], &theta, &rate, NULL);
            if (s == 0) {
                first[0] = got[0];
                first[1] = theta;
            }
            worse(&e.j, got[0] - j);
            worse(&e.omega, rate - omega);
            af_koopman_decode(one, 1, &got[0], &theta, back);
            worse(&e.inverse, back[0] - x[0]);
            worse(&e.inverse, back[1] - x[1]);
            af_koopman_rollout(one, &first[0], &first[1], 1, &time, back);
            worse(&e.rollout, back[0] - x[0]);
            well_move(w, x, 1.7);
        }
    }
    af_koopman_evaluator_destroy(one);
    return e;
}

static af_koopman *well_model(af_context *c, const af_trajectories *t, const af_koopman_desc *d) {
    af_koopman *k = NULL;
    CHECK(af_koopman_create(c, t, d, &k) == AF_OK);
    if (!k) printf("  %s\n", af_error(c));
    return k;
}

static af_context *quiet_context(int threads) {
    af_context_desc d = AF__ZERO;
    af_context *c = NULL;
    d.threads = threads;
    if (af_context_create(&d, &c) != AF_OK) abort();
    return c;
}

/* ---- accuracy ---- */

TEST(oscillator) {
    well w = AF__ZERO;
    af_context *c = quiet_context(1);
    af_trajectories *t = well_orbits(c, &w, 8, 16, 0, 0.0);
    af_koopman_desc d = AF__ZERO;
    af_koopman_fit_desc fit = AF__ZERO;
    af_koopman *k;
    errors before, after;
    d.width = 3;
    d.frequency_width = 1;
    k = well_model(c, t, &d);
    before = well_errors(&w, k);
    fit.steps = 120;
    CHECK(af_koopman_fit(k, t, &fit) == AF_OK);
    after = well_errors(&w, k);
    CHECK(after.j < 1e-5 && after.omega < 3e-6); /* mean squares below 1e-10, 1e-11 */
    CHECK(after.rollout < 1e-3 && after.inverse < 1e-14 && after.zero < 1e-4);
    CHECK(after.j < 1e-2 * before.j);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

static void check_slab(int uneven, af_ridge ridge, double j, double omega) {
    well w = AF__ZERO;
    af_context *c = quiet_context(1);
    af_koopman_desc d = AF__ZERO;
    af_koopman_fit_desc fit = AF__ZERO;
    af_trajectories *t;
    af_koopman *k;
    errors before, after;
    w.slab = 1;
    t = well_orbits(c, &w, 12, 24, uneven, 0.0);
    d.frequency_width = 3;
    d.ridge = ridge;
    k = well_model(c, t, &d);
    before = well_errors(&w, k);
    fit.steps = SHORT ? 20 : 120;
    CHECK(af_koopman_fit(k, t, &fit) == AF_OK);
    after = well_errors(&w, k);
    if (!SHORT && !(after.j < j && after.omega < omega))
        printf("  %g %g\n", after.j, after.omega);
    CHECK(after.inverse < 1e-13 && after.j < before.j);
    CHECK_FIT(after.j < j && after.omega < omega && after.zero < 2e-3);
    CHECK_FIT(after.j < 0.05 * before.j && after.omega < 0.05 * before.omega);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

TEST(slab) { check_slab(0, AF_RIDGE_TANH, 3e-3, 2e-4); }
TEST(slab_sampled_unevenly) { check_slab(1, AF_RIDGE_TANH, 3e-3, 3e-4); }
TEST(slab_with_sines) { check_slab(0, AF_RIDGE_SIN, 5e-3, 1e-3); }

/* Noise of a hundredth: errors of its size, however many parameters there are. */
TEST(noise) {
    well w = AF__ZERO;
    af_context *c = quiet_context(1);
    af_koopman_desc d = AF__ZERO;
    af_koopman_fit_desc fit = AF__ZERO;
    af_trajectories *t;
    af_koopman *k;
    errors e;
    w.slab = 1;
    t = well_orbits(c, &w, 24, 48, 0, 0.01);
    d.width = 4;
    d.frequency_width = 2;
    k = well_model(c, t, &d);
    fit.steps = 60;
    CHECK(af_koopman_fit(k, t, &fit) == AF_OK);
    e = well_errors(&w, k);
    CHECK(e.j < 0.05 && e.omega < 5e-3);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

/* A few samples are elsewhere: plain squares suffer, robust ones hardly. */
TEST(outliers) {
    well w = AF__ZERO;
    af_context *c = quiet_context(1);
    af_koopman_desc d = AF__ZERO;
    af_koopman_fit_desc fit = AF__ZERO;
    af_trajectories *t;
    errors e[2];
    size_t i;
    w.slab = 1;
    t = well_orbits(c, &w, 12, 24, 0, 0.0);
    for (i = 0; i < af_trajectories_total(t); i += 29)
        ((double *)(uintptr_t)af_trajectories_qp(t, 0))[2 * i] += 0.5;
    d.frequency_width = 3;
    fit.steps = 100;
    for (i = 0; i < 2; i++) {
        af_koopman *k = well_model(c, t, &d);
        fit.robust = i ? AF_ROBUST_CAUCHY : AF_ROBUST_NONE;
        CHECK(af_koopman_fit(k, t, &fit) == AF_OK);
        e[i] = well_errors(&w, k);
        af_koopman_destroy(k);
    }
    CHECK(e[1].j < 0.2 * e[0].j && e[1].j < 0.05);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

/* A well that does not rest at 0 needs the shift. */
TEST(asymmetric) {
    well w = AF__ZERO;
    af_context *c = quiet_context(1);
    af_koopman_desc d = AF__ZERO;
    af_koopman_fit_desc fit = AF__ZERO;
    af_trajectories *t;
    af_koopman *k;
    errors e;
    w.slab = 1;
    w.rest = 1.3;
    t = well_orbits(c, &w, 12, 24, 0, 0.0);
    d.asymmetric = 1;
    d.width = 4;
    d.frequency_width = 3;
    k = well_model(c, t, &d);
    fit.steps = 120;
    CHECK(af_koopman_fit(k, t, &fit) == AF_OK);
    e = well_errors(&w, k);
    CHECK(e.j < 0.01 && e.omega < 1e-3 && e.inverse < 1e-13 && e.zero < 0.02);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

/* ---- two degrees of freedom: two slabs along axes turned by 30 degrees ---- */

static const double heights[2] = {1.0, 0.7};

static void turned(const double x[2], double u[2]) {
    const double cosine = 0.8660254037844386, sine = 0.5;
    u[0] = cosine * x[0] + sine * x[1];
    u[1] = -sine * x[0] + cosine * x[1];
}

static void coupled_slope(const double x[4], double dx[4]) {
    const double cosine = 0.8660254037844386, sine = 0.5;
    double u[2], f[2];
    size_t i;
    turned(x, u);
    for (i = 0; i < 2; i++) f[i] = -tanh(0.5 * u[i] / heights[i]) / heights[i];
    dx[0] = x[2];
    dx[1] = x[3];
    dx[2] = cosine * f[0] - sine * f[1];
    dx[3] = sine * f[0] + cosine * f[1];
}

static void coupled_move(double x[4], double time) {
    int n = (int)(time / 8e-3) + 1, i;
    double h = time / n, k[4][4], y[4];
    size_t j, s;
    for (i = 0; i < n; i++) {
        for (s = 0; s < 4; s++) {
            double f = s == 0 ? 0.0 : s == 3 ? h : 0.5 * h;
            for (j = 0; j < 4; j++) y[j] = x[j] + (s ? f * k[s - 1][j] : 0.0);
            coupled_slope(y, k[s]);
        }
        for (j = 0; j < 4; j++)
            x[j] += h / 6.0 * (k[0][j] + 2.0 * k[1][j] + 2.0 * k[2][j] + k[3][j]);
    }
}

/* The slab of height h is that of height 1 in units of h: J = h J_1, Omega = Omega_1 / h. */
static void coupled_truth(const double x[4], double j[2], double omega[2]) {
    well w = AF__ZERO;
    double u[2], v[2];
    size_t i;
    w.slab = 1;
    turned(x, u);
    turned(x + 2, v);
    for (i = 0; i < 2; i++) {
        double energy = 0.5 * v[i] * v[i] + 2.0 * log(cosh(0.5 * u[i] / heights[i]));
        double y = exp(0.5 * energy), top = 2.0 * log(y + sqrt(y * y - 1.0));
        well_truth(&w, top, &j[i], &omega[i]);
        j[i] *= heights[i];
        omega[i] /= heights[i];
    }
}

static af_trajectories *coupled_orbits(af_context *c) {
    enum { ORBITS = 40, SAMPLES = 24 };
    static double time[ORBITS * SAMPLES], qp[ORBITS * SAMPLES * 4];
    size_t count[ORBITS], o, s, i;
    af_trajectories *t = NULL;
    for (o = 0; o < ORBITS; o++) {
        double x[4];
        for (i = 0; i < 4; i++) x[i] = 1.2 * (2.0 * af_random_uniform(9, i, o) - 1.0);
        count[o] = SAMPLES;
        for (s = 0; s < SAMPLES; s++) {
            time[o * SAMPLES + s] = 0.6 * (double)s;
            memcpy(qp + 4 * (o * SAMPLES + s), x, sizeof x);
            coupled_move(x, 0.6);
        }
    }
    CHECK(af_trajectories_create(c, 2, ORBITS, count, time, qp, &t) == AF_OK);
    return t;
}

/* Largest errors of J and Omega; which learned pair is which slab is seen from the frequencies. */
static errors coupled_errors(const af_koopman *k) {
    errors e = AF__ZERO;
    af_koopman_evaluator *one = NULL;
    size_t o, i;
    CHECK(af_koopman_evaluator_create(k, 1, &one) == AF_OK);
    for (o = 0; o < 20 && one; o++) {
        double x[4], j[2], omega[2], got[2], rate[2];
        size_t swap;
        for (i = 0; i < 4; i++) x[i] = 1.05 * (2.0 * af_random_uniform(10, i, o) - 1.0);
        coupled_truth(x, j, omega);
        af_koopman_encode(one, 1, x, got, NULL, rate, NULL);
        swap = fabs(rate[0] - omega[1]) < fabs(rate[0] - omega[0]);
        for (i = 0; i < 2; i++) {
            worse(&e.j, got[i ^ swap] - j[i]);
            worse(&e.omega, rate[i ^ swap] - omega[i]);
        }
    }
    af_koopman_evaluator_destroy(one);
    return e;
}

TEST(coupled) {
    af_context *c = quiet_context(2);
    af_trajectories *t = coupled_orbits(c);
    af_koopman_desc d = AF__ZERO;
    af_koopman_fit_desc fit = AF__ZERO;
    af_koopman *k;
    errors before, after;
    d.width = 4;
    d.frequency_width = 4;
    k = well_model(c, t, &d);
    before = coupled_errors(k);
    fit.steps = SHORT ? 12 : 70;
    fit.stage_steps = SHORT ? 2 : 8;
    CHECK(af_koopman_fit(k, t, &fit) == AF_OK);
    after = coupled_errors(k);
    if (!SHORT && !(after.j < 0.02)) printf("  %g, before %g\n", after.j, before.j);
    CHECK(before.j > 0.2);
    CHECK_FIT(after.j < 0.02 && after.omega < 5e-3);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

/* ---- identities of any model, trained or not ---- */

/* A model with numbers far from a fit's beginning. */
static af_koopman *shaken(af_context *c, const af_trajectories *t, const af_koopman_desc *d) {
    af_koopman *k = well_model(c, t, d);
    double *x = af_params_data(k->params);
    size_t i;
    for (i = 0; i < af_params_size(k->params); i++) x[i] += 0.2 * af_random_normal(3, 0, i);
    return k;
}

static af_trajectories *slab_orbits(af_context *c) {
    well w = AF__ZERO;
    w.slab = 1;
    return well_orbits(c, &w, 6, 17, 1, 0.0);
}

/* {theta, J} = 1 and dH/dJ = Omega, by differences; H(0) = 0. */
TEST(canonical) {
    af_context *c = quiet_context(1);
    af_trajectories *t = slab_orbits(c);
    af_koopman *k = shaken(c, t, NULL);
    af_koopman_evaluator *e = NULL;
    size_t i, s;
    CHECK(af_koopman_evaluator_create(k, 5, &e) == AF_OK);
    for (i = 0; i < 10; i++) {
        double x[10], j[5], theta[5], h = 1e-4, bracket, action, energy[2], omega, zero = 0.0;
        for (s = 0; s < 5; s++) {
            x[2 * s] = 0.3 + 0.2 * (double)i + (s == 1 ? h : s == 2 ? -h : 0.0);
            x[2 * s + 1] = 0.4 - 0.1 * (double)i + (s == 3 ? h : s == 4 ? -h : 0.0);
        }
        af_koopman_encode(e, 5, x, j, theta, NULL, NULL);
        for (s = 1; s < 5; s++) /* no jump of the angle between neighbours */
            theta[s] -= AF__TWO_PI * floor((theta[s] - theta[0]) / AF__TWO_PI + 0.5);
        bracket = ((theta[1] - theta[2]) * (j[3] - j[4]) - (theta[3] - theta[4]) * (j[1] - j[2])) /
                  (4.0 * h * h);
        CHECK_CLOSE(bracket, 1.0, 1e-5);
        CHECK(theta[0] >= 0.0 && theta[0] < AF__TWO_PI && j[0] >= 0.0);
        for (s = 0; s < 2; s++) {
            action = j[0] + (s ? h : -h);
            af_koopman_frequencies(e, 1, &action, NULL, &energy[s]);
        }
        af_koopman_frequencies(e, 1, &j[0], &omega, NULL);
        CHECK_CLOSE((energy[1] - energy[0]) / (2.0 * h), omega, 1e-7);
        af_koopman_frequencies(e, 1, &zero, NULL, &energy[0]);
        CHECK_CLOSE(energy[0], 0.0, 1e-15);
    }
    af_koopman_evaluator_destroy(e);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

/* Encode, decode, rollout and frequencies agree, whatever the block; a symmetric model is odd. */
TEST(evaluation) {
    enum { N = 11 };
    af_context *c = quiet_context(1);
    af_trajectories *t = slab_orbits(c);
    af_koopman *k = shaken(c, t, NULL);
    af_koopman_evaluator *e = NULL, *wide = NULL;
    double x[2 * N], back[2 * N], j[N], theta[N], omega[N], energy[N], other[N], time[N], turned_by;
    size_t i;
    CHECK(af_koopman_evaluator_create(k, 4, &e) == AF_OK);
    CHECK(af_koopman_evaluator_create(k, 64, &wide) == AF_OK);
    for (i = 0; i < 2 * N; i++) x[i] = 2.0 * af_random_normal(1, 2, i);
    af_koopman_encode(e, N, x, j, theta, omega, energy);
    af_koopman_encode(wide, N, x, other, NULL, NULL, NULL);
    CHECK(memcmp(j, other, sizeof j) == 0);
    af_koopman_frequencies(e, N, j, other, NULL);
    for (i = 0; i < N; i++) CHECK_CLOSE(other[i], omega[i], 1e-14);
    af_koopman_decode(e, N, j, theta, back);
    for (i = 0; i < 2 * N; i++) CHECK_CLOSE(back[i], x[i], 3e-14);
    for (i = 0; i < N; i++) time[i] = 0.7 * (double)i;
    af_koopman_rollout(e, j, theta, N, time, back);
    for (i = 0; i < N; i++) {
        turned_by = theta[0] + omega[0] * time[i];
        af_koopman_decode(wide, 1, j, &turned_by, x);
        CHECK_CLOSE(back[2 * i], x[0], 1e-13);
        CHECK_CLOSE(back[2 * i + 1], x[1], 1e-13);
    }
    for (i = 0; i < 2; i++) back[i] = -x[i];
    af_koopman_encode(e, 1, x, j, theta, NULL, NULL);
    af_koopman_encode(e, 1, back, j + 1, theta + 1, NULL, NULL);
    CHECK(j[0] == j[1]);
    CHECK_CLOSE(cos(theta[1] - theta[0]), -1.0, 1e-14);
    j[0] = -1.0;
    af_koopman_decode(e, 1, j, theta, back);
    CHECK(back[0] != back[0]);
    x[0] = NAN;
    af_koopman_encode(e, 1, x, j, theta, NULL, NULL);
    CHECK(j[0] != j[0]);
    af_koopman_evaluator_destroy(e);
    af_koopman_evaluator_destroy(wide);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

/* ---- the residuals ---- */

/* The mean square of the residuals of one kind at the model as it is. */
static double loss_of(af_koopman *k, const af_trajectories *t, const af_koopman_weights *w,
                      int no_stages, double *slope, af_koopman_method method) {
    af__koopman_fit f = AF__ZERO;
    const void *inputs[AF__KOOPMAN_INPUTS];
    double loss = NAN;
    size_t i;
    f.k = k;
    f.t = t;
    f.desc.weights = *w;
    f.desc.method = method;
    f.desc.no_stages = no_stages;
    f.arena.allocator = k->context->allocator;
    af__koopman_fit_defaults(&f);
    CHECK(af__koopman_memory(&f) == AF_OK && af__koopman_compile(&f) == AF_OK);
    for (i = 0; i < AF__KOOPMAN_INPUTS; i++) inputs[i] = f.data[i];
    af__koopman_stage(0, &f);
    CHECK(af_minimiser_loss(f.minimiser, inputs, &loss) == AF_OK);
    if (slope) { /* along a direction, from J r or from the gradient */
        size_t n = af_params_size(k->params);
        const double *g;
        CHECK(af__batch_run(&f.minimiser->slope, inputs) == AF_OK);
        g = f.minimiser->slope.total + (method == AF_KOOPMAN_LM ? n * n : 0);
        for (*slope = 0.0, i = 0; i < n; i++) *slope += g[i] * af_random_normal(8, 0, i);
    }
    af_minimiser_destroy(f.minimiser);
    af__arena_free(&f.arena);
    return 2.0 * loss;
}

/* Each kind of loss against its meaning, computed with the evaluator sample by sample. */
static void check_losses(size_t cuts) {
    af_context *c = quiet_context(2);
    af_trajectories *t = slab_orbits(c);
    af_koopman_desc d = AF__ZERO;
    af_koopman *k;
    af_koopman_evaluator *e = NULL;
    double want[5] = {0}, got, unit[2];
    size_t o, s, kind, n = af_trajectories_total(t);
    d.asymmetric = 1; /* what fills up the arrays is not mapped to zero */
    k = shaken(c, t, &d);
    memset(af_params_view(k->params, k->zero_ridge[0]), 0, AF__ZERO_WIDTH * sizeof(double));
    CHECK(af_koopman_evaluator_create(k, 1, &e) == AF_OK);
    unit[0] = k->length[0];
    unit[1] = k->action_unit / k->length[0];
    for (o = 0; o < af_trajectories_orbits(t); o++) {
        size_t count = af_trajectories_samples(t, o), piece;
        const double *x = af_trajectories_qp(t, o), *time = af_trajectories_time(t, o);
        for (piece = 0; piece < cuts; piece++) {
            size_t begin = count * piece / cuts, end = count * (piece + 1) / cuts, i;
            double j[64], theta[64], omega, mean_j = 0.0, mean[2] = {0}, y[2], span;
            for (s = begin; s < end; s++) {
                af_koopman_encode(e, 1, x + 2 * s, &j[s], &theta[s], NULL, NULL);
                mean_j += j[s] / (double)(end - begin);
            }
            af_koopman_frequencies(e, 1, &mean_j, &omega, NULL);
            for (i = 0; i < 2; i++) /* first the means, then what is left */
                for (s = begin; s < end; s++) {
                    double angle = theta[s] - omega * (time[s] - time[0]);
                    double r = sqrt(2.0 * j[s] / k->action_unit);
                    if (i == 0) {
                        mean[0] += r * cos(angle) / (double)(end - begin);
                        mean[1] += r * sin(angle) / (double)(end - begin);
                    } else {
                        want[0] += pow(r * cos(angle) - mean[0], 2.0) / (double)n;
                        want[0] += pow(r * sin(angle) - mean[1], 2.0) / (double)n;
                        want[1] += pow((j[s] - mean_j) / k->action_unit, 2.0) / (double)n;
                    }
                }
            for (s = begin; s < end; s++) {
                if (s > begin) {
                    span = time[s] - time[s - 1];
                    af_koopman_rollout(e, &j[s - 1], &theta[s - 1], 1, &span, y);
                    for (i = 0; i < 2; i++)
                        want[2] += pow((y[i] - x[2 * s + i]) / unit[i], 2.0) / (double)n;
                }
                span = time[s] - time[begin];
                af_koopman_rollout(e, &j[begin], &theta[begin], 1, &span, y);
                for (i = 0; i < 2; i++)
                    want[3] += pow((y[i] - x[2 * s + i]) / unit[i], 2.0) / (double)n;
            }
        }
    }
    for (kind = 0; kind < 5; kind++) {
        af_koopman_weights w = AF__ZERO;
        double *const weight[5] = {&w.phase, &w.action, &w.one_step, &w.rollout, &w.reconstruction};
        *weight[kind] = 1.0;
        got = loss_of(k, t, &w, cuts == 1, NULL, AF_KOOPMAN_LM);
        if (kind == 4) CHECK(got < 1e-27);
        else CHECK_CLOSE(got / want[kind], 1.0, 1e-11);
    }
    af_koopman_evaluator_destroy(e);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

TEST(losses_of_whole_orbits) { check_losses(1); }
TEST(losses_of_pieces) { check_losses(8); }

/* What Levenberg-Marquardt takes for the gradient (frozen slopes, forward) is L-BFGS's (exact,
 * reverse), with all losses together and both relations. */
TEST(gradients_agree) {
    int relation;
    for (relation = 0; relation < 2; relation++) {
        af_context *c = quiet_context(1);
        af_trajectories *t = slab_orbits(c);
        af_koopman_desc d = AF__ZERO;
        af_koopman_weights w = AF__ZERO;
        af_koopman *k;
        double a, b, lm, lbfgs;
        w.phase = w.action = w.one_step = w.rollout = w.reconstruction = 1.0;
        d.relation = (af_relation)relation;
        d.frequency_width = 5;
        d.asymmetric = relation;
        k = shaken(c, t, &d);
        lm = loss_of(k, t, &w, 1, &a, AF_KOOPMAN_LM);
        lbfgs = loss_of(k, t, &w, 1, &b, AF_KOOPMAN_LBFGS);
        CHECK_CLOSE(lm / lbfgs, 1.0, 1e-13);
        CHECK_CLOSE(a / b, 1.0, 1e-10);
        CHECK(fabs(a) > 1e-3);
        af_koopman_destroy(k);
        af_trajectories_destroy(t);
        af_context_destroy(c);
    }
}

/* An exact oscillator makes every loss vanish. */
TEST(exact_model_has_no_loss) {
    well w = AF__ZERO;
    af_context *c = quiet_context(1);
    af_trajectories *t = well_orbits(c, &w, 5, 16, 0, 0.0);
    af_koopman_weights all = AF__ZERO;
    af_koopman *k = well_model(c, t, NULL);
    double *x = af_params_data(k->params);
    memset(x, 0, af_params_size(k->params) * sizeof *x); /* the identity in the model's units ... */
    k->length[0] = sqrt(2.0 * k->action_unit); /* ... in which p = v and q = omega z are alike */
    af_params_view(k->params, k->base)[0] = 0.5 * k->time_unit;
    all.phase = all.action = all.one_step = all.rollout = all.reconstruction = 1.0;
    CHECK(loss_of(k, t, &all, 1, NULL, AF_KOOPMAN_LM) < 1e-20);
    x[0] = 0.1; /* and a stretch does not */
    CHECK(loss_of(k, t, &all, 1, NULL, AF_KOOPMAN_LM) > 1e-4);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

/* ---- ways of training ---- */

static int count_progress(const af_koopman_progress *p, void *user) {
    double *last = (double *)user;
    last[0] = p->loss;
    last[1] += 1.0;
    return p->step == 7 && last[2] > 0.0;
}

TEST(methods_and_relations) {
    int method, relation;
    well w = AF__ZERO;
    w.slab = 1;
    for (method = 0; method < 3; method++)
        for (relation = 0; relation < 2; relation++) {
            af_context *c = quiet_context(1);
            af_trajectories *t = well_orbits(c, &w, 8, 16, 0, 0.0);
            af_koopman_desc d = AF__ZERO;
            af_koopman_fit_desc fit = AF__ZERO;
            double last[3] = {0};
            errors before, after;
            af_koopman *k;
            d.relation = (af_relation)relation;
            d.width = 3;
            d.frequency_width = relation ? 6 : 3;
            k = well_model(c, t, &d);
            before = well_errors(&w, k);
            fit.method = (af_koopman_method)method;
            fit.weights.phase = fit.weights.one_step = 1.0;
            fit.steps = method == AF_KOOPMAN_LM ? 80 : 1200;
            fit.progress = count_progress;
            fit.user = last;
            CHECK(af_koopman_fit(k, t, &fit) == AF_OK);
            after = well_errors(&w, k);
            if (!(after.omega < 0.1 * before.omega))
                printf("  method %d relation %d: %g %g, before %g %g\n", method, relation, after.j,
                       after.omega, before.j, before.omega);
            CHECK(after.omega < 0.1 * before.omega && after.j < 0.5 * before.j);
            CHECK(last[1] > 20.0 && last[0] < 1e-3);
            af_koopman_destroy(k);
            af_trajectories_destroy(t);
            af_context_destroy(c);
        }
}

TEST(stops_and_goes_on) {
    af_context *c = quiet_context(1);
    af_trajectories *t = slab_orbits(c);
    af_koopman_fit_desc fit = AF__ZERO;
    af_koopman *k = well_model(c, t, NULL);
    double last[3] = {0, 0, 1}, first;
    fit.progress = count_progress;
    fit.user = last;
    CHECK(af_koopman_fit(k, t, &fit) == AF_STOPPED && last[1] == 7.0);
    first = last[0];
    last[1] = last[2] = 0.0;
    fit.steps = 5;
    fit.no_stages = 1;
    CHECK(af_koopman_fit(k, t, &fit) == AF_OK && last[1] == 5.0 && last[0] < 100.0 * first);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

TEST(same_bits_on_threads) {
    static const int threads[3] = {1, 2, 3};
    double *first = NULL;
    size_t n = 0;
    int i;
    for (i = 0; i < 3; i++) {
        af_context *c = quiet_context(threads[i]);
        af_trajectories *t = coupled_orbits(c);
        af_koopman_fit_desc fit = AF__ZERO;
        af_koopman *k = well_model(c, t, NULL);
        fit.steps = 3;
        CHECK(af_koopman_fit(k, t, &fit) == AF_OK);
        if (i == 0) {
            n = af_params_size(k->params);
            first = (double *)malloc(n * sizeof *first);
            if (!first) abort();
            memcpy(first, af_params_data(k->params), n * sizeof *first);
        }
        CHECK(memcmp(first, af_params_data(k->params), n * sizeof *first) == 0);
        af_koopman_destroy(k);
        af_trajectories_destroy(t);
        af_context_destroy(c);
    }
    free(first);
}

/* ---- files ---- */

TEST(files) {
    const char *path = scratch_file("model.safetensors");
    int kind;
    for (kind = 0; kind < 2; kind++) {
        af_context *c = quiet_context(1);
        af_trajectories *t = slab_orbits(c);
        af_koopman_desc d = AF__ZERO;
        af_koopman *k, *back = NULL;
        af_koopman_evaluator *e[2] = {NULL, NULL};
        double x[2] = {0.7, -0.4}, j[2][2];
        d.asymmetric = kind;
        d.relation = (af_relation)kind;
        d.ridge = kind ? AF_RIDGE_SIN : AF_RIDGE_TANH;
        d.layers = 5;
        k = shaken(c, t, &d);
        CHECK(af_koopman_save(k, path) == AF_OK && af_koopman_load(c, path, &back) == AF_OK);
        CHECK(af_koopman_evaluator_create(k, 1, &e[0]) == AF_OK);
        CHECK(af_koopman_evaluator_create(back, 1, &e[1]) == AF_OK);
        af_koopman_encode(e[0], 1, x, &j[0][0], NULL, &j[0][1], NULL);
        af_koopman_encode(e[1], 1, x, &j[1][0], NULL, &j[1][1], NULL);
        CHECK(memcmp(j[0], j[1], sizeof j[0]) == 0);
        CHECK(af_koopman_settings(back)->layers == 5 && af_koopman_settings(back)->width == 6);
        CHECK(af_koopman_freedoms(back) == 1);
        af_koopman_evaluator_destroy(e[0]);
        af_koopman_evaluator_destroy(e[1]);
        af_koopman_destroy(back);
        af_koopman_destroy(k);
        af_trajectories_destroy(t);
        af_context_destroy(c);
    }
    remove(path);
}

/* Files with one thing wrong: a sentence, never a crash or a huge request. */
TEST(damaged_files) {
    static const char *const key[] = {"freedoms", "layers",      "width",     "ridge",
                                      "relation", "action_unit", "time_unit", "frequency_width"};
    static const char *const value[] = {"0", "99999999", "-1", "9", "nan", "1e400", "x"};
    const char *path = scratch_file("damaged.safetensors");
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_trajectories *t = slab_orbits(c);
    af_koopman *k = well_model(c, t, NULL), *back = NULL;
    size_t i, m;
    for (i = 0; i < AF__COUNT(key); i++)
        for (m = 0; m < AF__COUNT(value); m++) {
            af_tensors *set = NULL;
            CHECK(af_koopman_save(k, path) == AF_OK && af_tensors_read(c, path, &set) == AF_OK);
            CHECK(af_tensors_set_text(set, key[i], value[m]) == AF_OK);
            CHECK(af_tensors_write(set, path) == AF_OK);
            af_tensors_destroy(set);
            memory.largest = 0;
            if (strcmp(key[i], "ridge") == 0 && m == 0) continue; /* 0 is a good choice */
            if (strcmp(key[i], "relation") == 0 && m == 0) continue;
            if (strncmp(key[i] + 1, "ction_unit", 10) == 0 && (m == 1 || m == 3)) continue;
            if (strncmp(key[i] + 1, "ime_unit", 8) == 0 && (m == 1 || m == 3)) continue;
            if (af_koopman_load(c, path, &back) == AF_OK)
                printf("  %s = %s is taken\n", key[i], value[m]);
            CHECK(back == NULL && strlen(af_error(c)) > 10 && memory.largest < 1 << 24);
            af_koopman_destroy(back);
            back = NULL;
            af_error_clear(c);
        }
    CHECK(af_koopman_load(c, "/no/such/file", &back) == AF_ERROR_IO && !back);
    af_error_clear(c);
    {
        af_tensors *set = NULL;
        CHECK(af_tensors_create(c, &set) == AF_OK && af_tensors_write(set, path) == AF_OK);
        af_tensors_destroy(set);
        CHECK(af_koopman_load(c, path, &back) == AF_ERROR_FORMAT);
        CHECK_TEXT(af_error(c), "not a Koopman model");
    }
    af_error_clear(c);
    remove(path);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

/* ---- bad input ---- */

TEST(bad_input) {
    af_context *c = quiet_context(1);
    af_trajectories *t = slab_orbits(c), *still = NULL, *two = coupled_orbits(c);
    static const double time[3] = {0, 1, 2}, qp[6] = {1, 0, 1, 0, 1, 0};
    const size_t count = 3;
    af_koopman_desc d = AF__ZERO;
    af_koopman_fit_desc fit = AF__ZERO;
    af_koopman *k = NULL;
    CHECK(af_trajectories_create(c, 1, 1, &count, time, qp, &still) == AF_OK);
    CHECK(af_koopman_create(c, still, NULL, &k) == AF_ERROR_DATA && !k);
    CHECK_TEXT(af_error(c), "p_1 has the same value");
    af_error_clear(c);
    d.layers = 5000;
    CHECK(af_koopman_create(c, t, &d, &k) == AF_ERROR_ARGUMENT && !k);
    CHECK_TEXT(af_error(c), "5000 layers");
    af_error_clear(c);
    d.layers = 0;
    d.end_canary = 1;
    CHECK(af_koopman_create(c, t, &d, &k) == AF_ERROR_ARGUMENT);
    af_error_clear(c);
    k = well_model(c, t, NULL);
    CHECK(af_koopman_fit(k, two, NULL) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "1 degrees of freedom, the trajectories 2");
    af_error_clear(c);
    fit.weights.phase = -1.0;
    CHECK(af_koopman_fit(k, t, &fit) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "negative");
    af_error_clear(c);
    fit.weights.phase = 0.0;
    fit.method = (af_koopman_method)7;
    CHECK(af_koopman_fit(k, t, &fit) == AF_ERROR_ARGUMENT);
    af_error_clear(c);
    fit.method = AF_KOOPMAN_LM;
    fit.start_canary = 3;
    CHECK(af_koopman_fit(k, t, &fit) == AF_ERROR_ARGUMENT);
    af_error_clear(c);
    af_params_data(k->params)[1] = NAN;
    CHECK(af_koopman_fit(k, t, NULL) == AF_ERROR_NONFINITE);
    af_error_clear(c);
    af_koopman_destroy(k);
    af_trajectories_destroy(still);
    af_trajectories_destroy(two);
    af_trajectories_destroy(t);
    af_context_destroy(c);
}

/* ---- memory that ends at the k-th call ---- */

static af_status whole_life(af_context *c, const char *path, int kind) {
    static const double time[6] = {0, 1, 2, 0, 1, 2.5};
    static const double qp[12] = {1, 0, 0.5, 0.5, 0, 1, 2, 0, 1.1, 0.9, 0, 1.9};
    static const size_t count[2] = {3, 3};
    af_trajectories *t = NULL;
    af_koopman *k = NULL, *back = NULL;
    af_koopman_evaluator *e = NULL;
    af_koopman_desc d = AF__ZERO;
    af_koopman_fit_desc fit = AF__ZERO;
    af_status s = af_trajectories_create(c, 1, 2, count, time, qp, &t);
    d.layers = d.width = d.frequency_width = 1;
    d.relation = (af_relation)(kind == 1);
    fit.method = (af_koopman_method)kind;
    fit.steps = 1;
    if (kind == 0) fit.weights.one_step = fit.weights.phase = 1.0;
    if (s == AF_OK) s = af_koopman_create(c, t, &d, &k);
    if (s == AF_OK) s = af_koopman_fit(k, t, &fit);
    if (s == AF_OK) s = af_koopman_save(k, path);
    if (s == AF_OK) s = af_koopman_load(c, path, &back);
    if (s == AF_OK) s = af_koopman_evaluator_create(back, 2, &e);
    af_koopman_evaluator_destroy(e);
    af_koopman_destroy(back);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    return s;
}

TEST(memory_ends) {
    const char *path = scratch_file("life.safetensors");
    int kind;
    for (kind = 0; kind < 3; kind++) {
        long k, calls = 0;
        int ended = 0;
        for (k = 1; !ended && k < 100000; k += 1 + k / 40) {
            heap memory = AF__ZERO;
            af_context *c = heap_context(&memory, 1);
            af_status s;
            memory.fail_at = memory.calls + k;
            s = whole_life(c, path, kind);
            ended = memory.calls < memory.fail_at;
            calls = memory.calls;
            CHECK(ended ? s == AF_OK : s == AF_ERROR_MEMORY && strlen(af_error(c)) > 5);
            af_context_destroy(c);
            CHECK(memory.live == 0);
        }
        CHECK(ended && calls > 50);
    }
    remove(path);
}

int main(void) {
    RUN(oscillator);
    RUN(slab);
    RUN(slab_sampled_unevenly);
    RUN(slab_with_sines);
    RUN(noise);
    RUN(outliers);
    RUN(asymmetric);
    RUN(coupled);
    RUN(canonical);
    RUN(evaluation);
    RUN(losses_of_whole_orbits);
    RUN(losses_of_pieces);
    RUN(gradients_agree);
    RUN(exact_model_has_no_loss);
    RUN(methods_and_relations);
    RUN(stops_and_goes_on);
    RUN(same_bits_on_threads);
    RUN(files);
    RUN(damaged_files);
    RUN(bad_input);
    RUN(memory_ends);
    return test_report();
}
