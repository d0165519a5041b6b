/* The chain: map and inverse, mixture by two routes, kernel, gradient, recovery, bad questions. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#include "af_heap.h"

enum { N = 512 };

static heap memory;
static af_context *c;

static af_isochrone unit_isochrone(void) {
    af_isochrone iso;
    iso.mass = 1.0 / AF_GRAVITY;
    iso.scale = 1.0;
    return iso;
}

/* n stars of one clump of (ln J_r, ln L), angles and inclinations at random: stationary in the
 * isochrone GM = b = 1. */
static void make_stars(size_t n, uint64_t seed, double *eta) {
    af_isochrone iso = unit_isochrone();
    uint64_t i;
    size_t m;
    for (i = 0; i < n; i++) {
        double l = exp(0.2 * af_random_normal(seed, 3, i)), j[3], theta[3];
        double up = 2.0 * af_random_uniform(seed, 4, i) - 1.0;
        j[2] = 0.25 * exp(0.3 * af_random_normal(seed, 2, i));
        for (m = 0; m < 3; m++) theta[m] = 2.0 * DP__PI * af_random_uniform(seed, 5 + m, i);
        j[0] = l * up;
        j[1] = l - fabs(l * up);
        af_isochrone_position(&iso, j, theta, eta + 6 * i, NULL);
    }
}

static dp_sample *make_sample(af_context *context, size_t n, uint64_t seed) {
    double *eta = (double *)malloc(6 * n * sizeof(double));
    dp_sample *s = NULL;
    if (eta) make_stars(n, seed, eta);
    if (eta) dp_sample_create(context, n, eta, NULL, NULL, NULL, &s);
    free(eta);
    return s;
}

static void run_once(size_t inputs, const af_expr *in, size_t outputs, const af_expr *out,
                     const void *const *from, void *const *to) {
    af_func_desc d = DP__ZERO;
    af_func *f = NULL;
    af_workspace *w = NULL;
    d.inputs = in;
    d.input_count = inputs;
    d.outputs = out;
    d.output_count = outputs;
    CHECK(af_compile(c, &d, &f) == AF_OK);
    CHECK(f && af_workspace_create(f, 1, &w) == AF_OK);
    if (w) CHECK(af_run(f, w, from, to) == AF_OK);
    af_workspace_destroy(w);
    af_func_destroy(f);
}

static dp__chain_map constant_map(double gm, double b) {
    dp__chain_map m;
    size_t one = 1;
    m.gm = af_full(c, 1, &one, gm);
    m.b = af_full(c, 1, &one, b);
    return m;
}

/* Against the library's own, and the inverse map of the map. */
TEST(map_and_inverse) {
    static double eta[6 * N], x[3 * N], v[3 * N], angle[N], j[N], ln_r[N], xv[N];
    af_isochrone iso = unit_isochrone();
    dp__chain_map m = constant_map(1.0, 1.0);
    dp__chain_star s;
    af_expr in[3], out[3];
    const void *from[3];
    void *to[3];
    size_t i, k;
    make_stars(N, 3, eta);
    for (i = 0; i < (size_t)N; i++) {
        double actions[3], theta[3];
        af_isochrone_actions(&iso, eta + 6 * i, actions, theta, NULL);
        angle[i] = theta[2];
        for (k = 0; k < 3; k++) {
            x[3 * i + k] = eta[6 * i + k];
            v[3 * i + k] = eta[6 * i + 3 + k];
        }
    }
    in[0] = dp__chain_input(c, "x", N, 3);
    in[1] = dp__chain_input(c, "v", N, 3);
    in[2] = dp__chain_input(c, "theta", N, 1);
    s = dp__chain_star_of(c, in[0], in[1]);
    out[0] = dp__chain_action(c, &m, &s);
    dp__chain_place(c, &m, out[0], s.l, in[2], &out[1], &out[2]);
    from[0] = x;
    from[1] = v;
    from[2] = angle;
    to[0] = j;
    to[1] = ln_r;
    to[2] = xv;
    run_once(3, in, 3, out, from, to);
    for (i = 0; i < (size_t)N; i++) {
        const double *a = x + 3 * i, *b = v + 3 * i;
        double actions[3];
        af_isochrone_actions(&iso, eta + 6 * i, actions, NULL, NULL);
        CHECK_CLOSE(j[i], actions[2], 1e-10); /* ln L is smoothed by 1e-12 */
        CHECK_CLOSE(ln_r[i], 0.5 * log(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]), 1e-9);
        CHECK_CLOSE(xv[i], a[0] * b[0] + a[1] * b[1] + a[2] * b[2], 1e-9);
    }
}

/* The derivative of the inverse map by J_r: through Kepler's equation. */
TEST(derivative_of_the_inverse) {
    double j[3] = {0.3, 0.3 + 1e-6, 0.3 - 1e-6}, ln_r[3], slope[3];
    dp__chain_map m = constant_map(1.3, 0.8);
    af_expr in, out[2], xv, l = af_constant(c, 0.9), theta = af_constant(c, 2.2);
    const void *from[1];
    void *to[2];
    in = dp__chain_input(c, "j", 3, 1);
    dp__chain_place(c, &m, in, l, theta, &out[0], &xv);
    CHECK(af_grad(c, af_sum(c, out[0]), 1, &in, &out[1]) == AF_OK);
    from[0] = j;
    to[0] = ln_r;
    to[1] = slope;
    run_once(1, &in, 2, out, from, to);
    CHECK_CLOSE(slope[0], (ln_r[1] - ln_r[2]) / 2e-6, 1e-8);
}

static const double two_clumps[DP__CHAIN_ROWS * 2] = {0.3,  -0.2, -1.5, -0.4, 0.1,   0.9,
                                                      -1.2, -1.6, -1.4, -1.9, -0.05, 0.1};

/* Draws of a mixture as expressions, and the mixture that expectation and maximisation finds in
 * them; its ln density by both routes. */
TEST(mixture_by_two_routes) {
    enum { S = 8000 };
    static double z[2][S], y[2][2 * S], pairs[4 * S], weight[2 * S], ln_p[2 * S];
    double p[DP__CHAIN_ROWS * 2], part[DP__CHAIN_CLUMPS];
    size_t i, k, dims[2] = {DP__CHAIN_ROWS, 2}, n = 0;
    dp__chain_clumps m = dp__chain_clumps_of(c, af_constant_array(c, 2, dims, two_clumps), 2);
    af_expr in[2], out[2];
    const void *from[2];
    void *to[2];
    int first;
    in[0] = dp__chain_input(c, "z1", S, 1);
    in[1] = dp__chain_input(c, "z2", S, 1);
    for (i = 0; i < (size_t)S; i++)
        for (k = 0; k < 2; k++) z[k][i] = af_random_normal(4, k, i);
    dp__chain_draw(c, &m, in[0], in[1], &out[0], &out[1]);
    for (k = 0; k < 2; k++) {
        from[k] = z[k];
        to[k] = y[k];
    }
    run_once(2, in, 2, out, from, to);
    for (i = 0; i < 2 * (size_t)S; i++, n++) { /* as many of each clump: the weights differ */
        pairs[2 * n] = y[0][i];
        pairs[2 * n + 1] = y[1][i];
        weight[n] = exp(two_clumps[i % 2]) / (exp(0.3) + exp(-0.2)) / S;
    }
    CHECK(dp__chain_em(c, n, pairs, weight, 2, 1, p) == AF_OK);
    first = p[DP__CHAIN_M1 * 2] < -1.0 ? 0 : 1; /* which is which */
    for (k = 1; k < (size_t)DP__CHAIN_ROWS; k++) {
        CHECK_CLOSE(p[k * 2 + (size_t)first], two_clumps[2 * k], 0.05);
        CHECK_CLOSE(p[k * 2 + 1 - (size_t)first], two_clumps[2 * k + 1], 0.05);
    }
    CHECK_CLOSE(p[first] - p[1 - first], 0.5, 0.05);
    in[0] = dp__chain_input(c, "y1", 2 * S, 1);
    in[1] = dp__chain_input(c, "y2", 2 * S, 1);
    out[0] = dp__chain_density(c, &m, in[0], in[1]);
    from[0] = y[0];
    from[1] = y[1];
    to[0] = ln_p;
    run_once(2, in, 1, out, from, to);
    for (i = 0; i < 100; i++)
        CHECK_CLOSE(ln_p[i], dp__chain_parts(2, two_clumps, pairs + 2 * i, part) - pairs[2 * i],
                    1e-12);
}

/* ---- the loss ---- */

typedef struct bench {
    dp__chain_fit f;
    dp_sample *sample;
} bench;

/* A chain before it learns. */
static void bench_open(bench *b, const dp_chain_desc *d) {
    memset(b, 0, sizeof *b);
    b->sample = make_sample(c, N, 5);
    b->f.c = c;
    b->f.arena = dp__arena_open(c);
    CHECK(b->sample && dp__chain_new(c, d, &b->f.chain) == AF_OK);
    CHECK(dp__chain_open(&b->f, b->sample) == AF_OK);
    CHECK(dp__chain_stars(&b->f, b->sample) == AF_OK);
    CHECK(dp__chain_parameters(b->f.chain) == AF_OK);
    dp__chain_scales(&b->f);
    dp__chain_draws(&b->f);
    dp__chain_first_map(&b->f);
    CHECK(dp__chain_first_mixture(&b->f) == AF_OK);
    dp__chain_times(&b->f);
}

static void bench_close(bench *b) {
    dp__arena_free(&b->f.arena);
    dp_chain_destroy(b->f.chain);
    dp_sample_destroy(b->sample);
}

/* The whole chain, with its random numbers frozen: the gradient against differences. */
static void gradient_of(dp_chain_density density) {
    dp_chain_desc d = DP__ZERO;
    bench b;
    af_expr in[DP__CHAIN_INPUTS + 1], out[2];
    const void *from[DP__CHAIN_INPUTS + 1];
    void *to[2];
    double loss, change, *p, *gradient;
    size_t i, n;
    d.density = density;
    d.orbit_steps = 2;
    d.samples = 256;
    d.clumps = 2;
    d.width = 4;
    d.tie = 0.5;
    bench_open(&b, &d);
    n = b.f.chain->report.parameters;
    p = af_params_data(b.f.chain->params);
    gradient = DP__ARRAY(&b.f.arena, double, n);
    for (i = 0; i < n; i++) p[i] += 0.02 * af_random_normal(6, 0, i);
    dp__chain_inputs(&b.f, in, from);
    in[DP__CHAIN_INPUTS] = af_params_input(b.f.chain->params);
    from[DP__CHAIN_INPUTS] = p;
    out[0] = dp__chain_loss(&b.f, 2, in);
    out[1] = af_params_grad(b.f.chain->params, out[0]);
    to[0] = &loss;
    to[1] = gradient;
    run_once(DP__CHAIN_INPUTS + 1, in, 2, out, from, to);
    for (i = 0; i < n; i += i < 14 ? 2 : 5) {
        double unused[64], up, was = p[i];
        CHECK(n <= 64);
        to[1] = unused;
        to[0] = &up;
        p[i] = was + 1e-5;
        run_once(DP__CHAIN_INPUTS + 1, in, 2, out, from, to);
        to[0] = &change;
        p[i] = was - 1e-5;
        run_once(DP__CHAIN_INPUTS + 1, in, 2, out, from, to);
        p[i] = was;
        CHECK_CLOSE(gradient[i], (up - change) / 2e-5, 1e-5 * (1.0 + fabs(gradient[i])));
    }
    bench_close(&b);
}

TEST(gradient_of_the_canonical_loss) { gradient_of(DP_CHAIN_CANONICAL); }
TEST(gradient_of_the_kernel_loss) { gradient_of(DP_CHAIN_KERNEL); }

/* The kernel density integrates to one over ln r, x.v and ln L, as a sum over a lattice. */
TEST(kernel_density_is_a_density) {
    enum { G = 24, ALL = G * G * G };
    static double r2[ALL], xv[ALL], l[ALL], ln_f[ALL];
    static const double blur[3] = {0.0, 0.0, 0.0};
    dp_chain_desc d = DP__ZERO;
    dp__chain_map map = constant_map(1.0, 1.0);
    dp__chain_clumps m;
    dp__chain_star s = DP__ZERO;
    af_expr in[4], population[4], out;
    const void *from[4];
    void *to[1];
    size_t i, dims[2] = {1, 3}, shape[2] = {DP__CHAIN_ROWS, 1};
    double sum = 0.0, p[DP__CHAIN_ROWS] = {0.0, -1.5, 0.0, -1.2, -1.6, 0.05};
    bench b;
    d.clumps = 1;
    d.samples = 64;
    d.kernel = 1.0;
    bench_open(&b, &d);
    m = dp__chain_clumps_of(c, af_constant_array(c, 2, shape, p), 1);
    in[0] = dp__chain_input(c, "r2", ALL, 1);
    in[1] = dp__chain_input(c, "xv", ALL, 1);
    in[2] = dp__chain_input(c, "l", ALL, 1);
    in[3] = dp__chain_input(c, "draw", b.f.draws, 3);
    s.r2 = in[0];
    s.xv = in[1];
    s.l = in[2];
    dp__chain_population(&b.f, &map, &m, in[3], population);
    out = dp__chain_smooth(&b.f, population, &s, af_constant_array(c, 2, dims, blur));
    for (i = 0; i < (size_t)ALL; i++) { /* 6 kernels to each side of zero, half a kernel a step */
        r2[i] = exp(2.0 * (b.f.width[0] * (0.5 * (double)(i % G) - 6.0) + 0.6));
        xv[i] = b.f.width[1] * (0.5 * (double)(i / G % G) - 6.0);
        l[i] = exp(b.f.width[2] * (0.5 * (double)(i / G / G) - 6.0));
    }
    from[0] = r2;
    from[1] = xv;
    from[2] = l;
    from[3] = b.f.draw;
    to[0] = ln_f;
    run_once(4, in, 1, &out, from, to);
    for (i = 0; i < (size_t)ALL; i++)
        sum += exp(ln_f[i]) * 0.125 * b.f.width[0] * b.f.width[1] * b.f.width[2];
    CHECK_CLOSE(sum, 1.0, 0.01);
    bench_close(&b);
}

/* ---- learning ---- */

TEST(a_potential_from_stars) {
    static const double r[5] = {1.0, 1.5, 2.0, 3.0, 4.0};
    double phi[5], before[5], force[5], ahead[1], at = 2.0 + 1e-5, error = 0.0, first = 0.0;
    dp_sample *s = make_sample(c, N, 8);
    dp_chain_desc d = DP__ZERO;
    dp_chain *t = NULL;
    dp_chain_report report;
    size_t i;
    d.steps = 10;
    d.orbit_steps = 8;
    d.width = 8;
    d.clumps = 1;
    CHECK(dp_chain_create(s, &d, &t) == AF_OK);
    if (!t) return;
    report = dp_chain_describe(t);
    CHECK(dp_chain_evaluate(t, 5, r, phi, force) == AF_OK);
    CHECK(dp_chain_evaluate_untrained(t, 5, r, before, NULL) == AF_OK);
    for (i = 0; i < 5; i++) {
        double truth = -1.0 / (1.0 + sqrt(1.0 + r[i] * r[i]));
        error += fabs(phi[i] / truth - 1.0) / 5;
        first += fabs(before[i] / truth - 1.0) / 5;
    }
    CHECK(first > 0.05);
    CHECK(error < 0.03);
    CHECK_CLOSE(report.gm, 1.0, 0.05);
    CHECK_CLOSE(report.b, 1.0, 0.1);
    CHECK(report.loss < report.untrained);
    CHECK(dp_chain_evaluate(t, 1, &at, ahead, NULL) == AF_OK);
    CHECK_CLOSE(force[2], -(ahead[0] - phi[2]) / 1e-5, 1e-4);
    dp_chain_destroy(t);
    dp_sample_destroy(s);
}

TEST(bad_questions) {
    static double eta[6 * N];
    static const double zero[1] = {0.0};
    double phi[1];
    dp_chain_desc d = DP__ZERO;
    dp_chain *t = NULL;
    dp_sample *s = make_sample(c, N, 8), *few = make_sample(c, 100, 8), *none = NULL;
    dp_volume cut = DP__ZERO;
    d.end_canary = 1;
    CHECK_FAILS(dp_chain_create(s, &d, &t), AF_ERROR_ARGUMENT, "not initialised");
    d.end_canary = 0;
    d.clumps = 100;
    CHECK_FAILS(dp_chain_create(s, &d, &t), AF_ERROR_ARGUMENT, "100 clumps");
    d.clumps = 1;
    CHECK_FAILS(dp_chain_create(few, &d, &t), AF_ERROR_DATA, "100 stars are too few");
    CHECK(t == NULL);
    make_stars(N, 8, eta);
    memset(eta + 6 * 7, 0, 3 * sizeof(double));
    CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &none) == AF_OK);
    CHECK_FAILS(dp_chain_create(none, &d, &t), AF_ERROR_DATA, "star 7 is in the centre");
    dp_sample_destroy(none);
    cut.kind = DP_VOLUME_SPHERE;
    cut.outer = 3.0;
    CHECK(dp_sample_cut(s, &cut, &none) == AF_OK);
    CHECK_FAILS(dp_chain_create(none, &d, &t), AF_ERROR_ARGUMENT, "cut in space");
    dp_sample_destroy(none);
    d.begin = d.steps = 1;
    d.orbit_steps = 1;
    CHECK(dp_chain_create(s, &d, &t) == AF_OK);
    if (t) CHECK_FAILS(dp_chain_evaluate(t, 1, zero, phi, NULL), AF_ERROR_ARGUMENT, "radius 0");
    dp_chain_destroy(t);
    dp_sample_destroy(s);
    dp_sample_destroy(few);
}

/* Every allocation fails once, in steps that reach all stages. */
TEST(memory_that_fails) {
    heap h;
    long k, failed = 0;
    for (k = 1; k < 100000; k += k < 40 ? 2 : k / 3) {
        af_context *own = NULL;
        dp_sample *s = NULL;
        dp_chain *t = NULL;
        dp_chain_desc d = DP__ZERO;
        af_status status = heap_open(&h, k, 1, &own);
        d.density = DP_CHAIN_KERNEL;
        d.width = d.steps = d.begin = d.orbit_steps = d.clumps = 1;
        d.samples = 16;
        if (status == AF_OK) {
            s = make_sample(own, 200, 9);
            status = s ? dp_chain_create(s, &d, &t) : AF_ERROR_MEMORY;
        }
        CHECK(status == AF_OK || status == AF_ERROR_MEMORY);
        CHECK((status == AF_OK) == (t != NULL));
        dp_chain_destroy(t);
        dp_sample_destroy(s);
        af_context_destroy(own);
        CHECK(h.live == 0);
        if (status == AF_OK) break;
        failed++;
    }
    CHECK(failed > 20);
}

int main(void) {
    c = heap_context(&memory, 2);
    RUN(map_and_inverse);
    RUN(derivative_of_the_inverse);
    RUN(mixture_by_two_routes);
    RUN(gradient_of_the_canonical_loss);
    RUN(gradient_of_the_kernel_loss);
    RUN(kernel_density_is_a_density);
    RUN(a_potential_from_stars);
    RUN(bad_questions);
    RUN(memory_that_fails);
    af_context_destroy(c);
    if (memory.live) printf("%ld blocks are still out\n", memory.live);
    return test_report() || memory.live != 0;
}
