/* The chain: map and inverse, mixture by two routes, flow, kernel, a trained ActionFinder as the
 * map, gradient, recovery, files, bad questions. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#define MOCK_NAME "chain"
#include "af_mock.h"

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
    dp__chain_clumps m = dp__chain_clumps_of(c, af_constant_array(c, 2, dims, two_clumps), 2, NULL);
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

/* ---- the flow ---- */

/* Two layers with random numbers: their density by expressions integrates to one, and draws come
 * back to where they were drawn from. */
TEST(flow_and_inverse) {
    enum { G = 200, ALL = G * G };
    static double z[2][ALL], y[2][ALL], ln_p[ALL], back[2][ALL];
    static const double clump[DP__CHAIN_ROWS] = {0.0, -1.5, 0.1, -1.2, -1.6, 0.2};
    size_t i, k, dims[2] = {DP__CHAIN_ROWS, 1}, n;
    af_params *p = NULL;
    dp__chain_flow flow = DP__ZERO;
    dp__chain_clumps m;
    af_expr in[3], out[3], bent[2];
    const void *from[3];
    void *to[3];
    double sum = 0.0, step[2], moved = 0.0;
    CHECK(af_params_create(c, 1, &p) == AF_OK);
    CHECK(dp__chain_flow_create(p, 2, &flow) == AF_OK);
    n = af_params_size(p);
    for (i = 0; i < n; i++) af_params_data(p)[i] += 0.15 * af_random_normal(3, 0, i);
    m = dp__chain_clumps_of(c, af_constant_array(c, 2, dims, clump), 1, &flow);
    step[0] = 16.0 * (DP__CHAIN_WIDTH + exp(clump[DP__CHAIN_S1])) / G; /* 8 widths to each side */
    step[1] = 16.0 * (DP__CHAIN_WIDTH + exp(clump[DP__CHAIN_S2]) + 0.2) / G;
    for (i = 0; i < (size_t)ALL; i++) {
        y[0][i] = clump[DP__CHAIN_M1] + step[0] * ((double)(i % G) - 0.5 * (G - 1));
        y[1][i] = clump[DP__CHAIN_M2] + step[1] * ((double)(i / G) - 0.5 * (G - 1));
        for (k = 0; k < 2; k++) z[k][i] = 1.5 * af_random_normal(4, k, i);
    }
    in[0] = dp__chain_input(c, "y1", ALL, 1);
    in[1] = dp__chain_input(c, "y2", ALL, 1);
    in[2] = af_params_input(p);
    out[0] = dp__chain_density(c, &m, in[0], in[1]);
    from[0] = y[0];
    from[1] = y[1];
    from[2] = af_params_data(p);
    to[0] = ln_p;
    run_once(3, in, 1, out, from, to);
    for (i = 0; i < (size_t)ALL; i++) sum += exp(ln_p[i] + y[0][i]) * step[0] * step[1];
    CHECK_CLOSE(sum, 1.0, 1e-3); /* slopes jump at the ends of the splines */
    from[0] = z[0];
    from[1] = z[1];
    for (k = 0; k < 2; k++) out[k] = af_transpose(c, in[k]);
    dp__chain_unbend(c, &flow, out);
    bent[0] = out[0];
    bent[1] = out[1];
    (void)dp__chain_bend(c, &flow, bent);
    to[0] = back[0];
    to[1] = back[1];
    run_once(3, in, 2, bent, from, to);
    to[0] = y[0];
    to[1] = y[1];
    run_once(3, in, 2, out, from, to);
    for (k = 0; k < 2; k++)
        for (i = 0; i < (size_t)ALL; i++) {
            CHECK_CLOSE(back[k][i], z[k][i], 1e-9);
            moved = fmax(moved, fabs(y[k][i] - z[k][i]));
        }
    CHECK(moved > 0.2);
    dp__chain_flow_destroy(&flow);
    af_params_destroy(p);
}

/* ---- a model ---- */

/* A finder for the stars' isochrone that begins with another one, trained for so many steps on 64
 * streams of eight stars, all around their orbits. */
static af_finder *make_finder(af_context *context, size_t epochs) {
    enum { STREAMS = 64, STARS = 8 };
    static double start[STREAMS][6], xv[STREAMS][STARS][6];
    af_isochrone iso = unit_isochrone();
    af_finder_desc d = DP__ZERO;
    af_fit_desc fit = DP__ZERO;
    af_orbits *o = NULL;
    af_finder *f = NULL;
    size_t i, k, m;
    make_stars(STREAMS, 77, start[0]);
    for (i = 0; i < (size_t)STREAMS; i++) {
        double j[3], at[3], theta[3], omega[3];
        af_isochrone_actions(&iso, start[i], j, at, omega);
        for (k = 0; k < (size_t)STARS; k++) {
            double time = 2.0 * DP__PI / omega[2] * ((double)k / STARS);
            for (m = 0; m < 3; m++) theta[m] = at[m] + omega[m] * time;
            af_isochrone_position(&iso, j, theta, xv[i][k], NULL);
        }
    }
    d.toy.mass = 1.2 / AF_GRAVITY;
    d.toy.scale = 0.8;
    d.axisymmetric = AF_SYMMETRY_YES;
    d.harmonics_r = 4;
    d.harmonics_z = 1;
    d.net.width = 16;
    d.net.depth = 2;
    fit.epochs = epochs;
    if (af_orbits_create(context, STREAMS, STARS, xv[0][0], NULL, &o) == AF_OK &&
        af_finder_create(context, o, &d, &f) == AF_OK && epochs)
        CHECK(af_finder_fit(f, o, &fit) == AF_OK);
    af_orbits_destroy(o);
    return f;
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
    if (d->model) CHECK(dp__chain_evaluate_model(&b->f) == AF_OK);
    if (d->model) CHECK(dp__chain_slopes(&b->f) == AF_OK);
    CHECK(dp__chain_first_mixture(&b->f) == AF_OK);
    dp__chain_times(&b->f);
}

static void bench_close(bench *b) {
    dp__arena_free(&b->f.arena);
    dp_chain_destroy(b->f.chain);
    dp_sample_destroy(b->sample);
}

/* The whole chain, with its random numbers frozen: the gradient against differences. */
static void gradient_of(dp_chain_density density, size_t flow, const af_finder *model) {
    dp_chain_desc d = DP__ZERO;
    bench b;
    af_expr in[DP__CHAIN_INPUTS + 1], out[2];
    const void *from[DP__CHAIN_INPUTS + 1];
    void *to[2];
    double loss, change, *p, *gradient;
    size_t i, n, own;
    d.density = density;
    d.flow = flow;
    d.model = model;
    d.orbit_steps = model ? 4 : 2; /* the search for J' goes from place to place */
    d.samples = 256;
    d.clumps = flow ? 1 : 2;
    d.width = 4;
    d.tie = 0.5;
    bench_open(&b, &d);
    n = b.f.chain->report.parameters;
    p = af_params_data(b.f.chain->params);
    gradient = DP__ARRAY(&b.f.arena, double, n);
    for (i = 0; i < n; i++) p[i] += 0.02 * af_random_normal(6, 0, i);
    dp__chain_inputs(&b.f, in, from);
    own = dp__chain_input_count(b.f.chain);
    in[own] = af_params_input(b.f.chain->params);
    from[own] = p;
    out[0] = dp__chain_loss(&b.f, d.orbit_steps, in);
    out[1] = af_params_grad(b.f.chain->params, out[0]);
    to[0] = &loss;
    to[1] = gradient;
    run_once(own + 1, in, 2, out, from, to);
    for (i = 0; i < n; i += i < 14 ? 2 : 5 + n / 20) {
        static double unused[600];
        double up, was = p[i];
        CHECK(n <= 600);
        to[1] = unused;
        to[0] = &up;
        p[i] = was + 1e-5;
        run_once(own + 1, in, 2, out, from, to);
        to[0] = &change;
        p[i] = was - 1e-5;
        run_once(own + 1, in, 2, out, from, to);
        p[i] = was;
        CHECK_CLOSE(gradient[i], (up - change) / 2e-5, 1e-5 * (1.0 + fabs(gradient[i])));
    }
    bench_close(&b);
}

TEST(gradient_of_the_canonical_loss) {
    gradient_of(DP_CHAIN_CANONICAL, 0, NULL);
    gradient_of(DP_CHAIN_CANONICAL, 1, NULL);
}
TEST(gradient_of_the_kernel_loss) {
    gradient_of(DP_CHAIN_KERNEL, 0, NULL);
    gradient_of(DP_CHAIN_KERNEL, 1, NULL);
}
TEST(gradient_of_a_models_loss) {
    af_finder *f = make_finder(c, 0);
    if (f) shake(f, 5, 0.01); /* J' of all settles */
    gradient_of(DP_CHAIN_CANONICAL, 0, f);
    af_finder_destroy(f);
}

/* A model's residuals without orbits against the actions of stars that are moved a little. */
TEST(drift_of_actions) {
    dp_chain_desc d = DP__ZERO;
    bench b;
    af_evaluator *one = NULL;
    af_finder *model = make_finder(c, 0);
    af_expr in[DP__CHAIN_INPUTS + 1], out;
    const void *from[DP__CHAIN_INPUTS + 1];
    static double drift[2 * N], none[N], force[N];
    void *to[1];
    double worst = 0.0, size = 0.0, h = 1e-4;
    size_t i, k;
    if (model) shake(model, 5, 0.02);
    d.model = model;
    d.width = 4;
    bench_open(&b, &d);
    CHECK(af_evaluator_create(model, 1, 1, 1, &one) == AF_OK);
    dp__chain_inputs(&b.f, in, from);
    in[DP__CHAIN_INPUTS] = af_params_input(b.f.chain->params);
    from[DP__CHAIN_INPUTS] = af_params_data(b.f.chain->params);
    out = dp__chain_drift(&b.f, in);
    to[0] = drift;
    run_once(DP__CHAIN_INPUTS + 1, in, 1, &out, from, to);
    for (i = 0; i < 50; i++) {
        const double *x = b.f.x + 3 * i, *v = b.f.v + 3 * i;
        double r = sqrt(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]), j[2][3], change[2], scale;
        int side;
        CHECK(dp__chain_values(b.f.chain, af_params_data(b.f.chain->params), 1, &r, none, force) ==
              AF_OK);
        for (side = 0; side < 2; side++) {
            double xv[6], step = side ? -h : h;
            for (k = 0; k < 3; k++) {
                xv[k] = b.f.chain->length * (x[k] + step * v[k]);
                xv[k + 3] = b.f.chain->speed * (v[k] + step * force[0] * x[k] / r);
            }
            af_evaluate(one, 1, xv, NULL, j[side], NULL, NULL);
        }
        change[0] = j[0][2] - j[1][2];
        change[1] = fabs(j[0][0]) + j[0][1] - fabs(j[1][0]) - j[1][1];
        for (k = 0; k < 2; k++) {
            scale = b.f.dt[i] * (double)b.f.chain->desc.orbit_steps / b.f.tie[k] /
                    (b.f.chain->length * b.f.chain->speed);
            worst = fmax(worst, fabs(drift[2 * i + k] - scale * change[k] / (2.0 * h)));
            size = fmax(size, fabs(drift[2 * i + k]));
        }
    }
    CHECK(size > 1.0);
    CHECK(worst < 1e-5 * size);
    af_evaluator_destroy(one);
    bench_close(&b);
    af_finder_destroy(model);
}

/* The stars that come first are a fair sample of a file that is sorted by radius. */
TEST(stars_in_random_order) {
    static double eta[6 * N];
    double r[N], first = 0.0;
    dp_chain_desc d = DP__ZERO;
    dp__chain_fit f = DP__ZERO;
    dp_sample *s = NULL;
    size_t i, k;
    make_stars(N, 5, eta);
    for (i = 0; i < (size_t)N; i++) /* no star's coordinates matter, but its radius */
        for (k = 0; k < 3; k++) eta[6 * i + k] = k == 0 ? 1.0 + (double)i / N : 0.0;
    CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &s) == AF_OK);
    f.c = c;
    f.arena = dp__arena_open(c);
    CHECK(dp__chain_new(c, &d, &f.chain) == AF_OK && dp__chain_open(&f, s) == AF_OK);
    CHECK(dp__chain_copy(&f, s, r) == AF_OK);
    for (i = 0; i < (size_t)N / 4; i++) first += f.x[3 * i] / (N / 4);
    CHECK_CLOSE(first, 1.5, 0.1); /* 4 of 1/sqrt(12 N/4); in the file's order it would be 1.125 */
    CHECK_CLOSE(dp__median(r, N), 1.5, 0.002);
    dp__arena_free(&f.arena);
    dp_chain_destroy(f.chain);
    dp_sample_destroy(s);
}

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
    m = dp__chain_clumps_of(c, af_constant_array(c, 2, shape, p), 1, NULL);
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

/* Mean relative error of the force, which knows no constant. */
static double force_error(size_t n, const double *r, const double *force) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < n; i++) {
        double s = sqrt(1.0 + r[i] * r[i]), truth = -r[i] / (s * (1.0 + s) * (1.0 + s));
        sum += fabs(force[i] / truth - 1.0) / (double)n;
    }
    return sum;
}

/* With a finder that has learned the map from orbits, and a flow. What is saved comes back. */
TEST(a_potential_with_a_model) {
    static const double r[4] = {1.5, 2.0, 3.0, 4.0};
    double phi[4], force[4], before[4], again[2][4];
    const char *path = scratch_file("chain.safetensors");
    dp_sample *s = make_sample(c, N, 8);
    af_finder *f = make_finder(c, 250);
    dp_chain_desc d = DP__ZERO;
    dp_chain *t = NULL, *loaded = NULL;
    dp_chain_report report, other;
    d.model = f;
    d.flow = 1;
    d.steps = 2;
    d.begin = 10;
    d.orbit_steps = 2;
    d.width = 6;
    CHECK(dp_chain_create(s, &d, &t) == AF_OK);
    CHECK_TEXT(af_error(c), "");
    if (!t) return;
    af_finder_destroy(f);
    report = dp_chain_describe(t);
    CHECK(dp_chain_evaluate(t, 4, r, phi, force) == AF_OK);
    CHECK(dp_chain_evaluate_untrained(t, 4, r, NULL, before) == AF_OK);
    SAY("force: untrained %.3f, trained %.3f\n", force_error(4, r, before),
        force_error(4, r, force));
    CHECK(force_error(4, r, before) > 0.2);
    CHECK(force_error(4, r, force) < 0.15);
    CHECK(report.loss < report.untrained);
    CHECK(report.left_out < 26 && report.steps > 0);
    CHECK_CLOSE(report.gm, 1.2, 1e-12); /* the toy's */
    CHECK(dp_chain_save(t, path) == AF_OK && dp_chain_load(c, path, &loaded) == AF_OK);
    if (loaded) {
        CHECK(dp_chain_evaluate(loaded, 4, r, again[0], again[1]) == AF_OK);
        CHECK(memcmp(again[0], phi, sizeof phi) == 0 && memcmp(again[1], force, sizeof phi) == 0);
        CHECK(dp_chain_evaluate_untrained(loaded, 4, r, NULL, again[0]) == AF_OK);
        CHECK(memcmp(again[0], before, sizeof before) == 0);
        other = dp_chain_describe(loaded);
        CHECK(other.steps == report.steps && other.parameters == report.parameters);
        CHECK(other.loss == report.loss && other.b == report.b && other.stars == report.stars);
    }
    dp_chain_destroy(loaded);
    dp_chain_destroy(t);
    dp_sample_destroy(s);
    remove(path);
}

/* Files that are no chain, and a chain's with numbers that no chain has. */
TEST(bad_files) {
    const char *path = scratch_file("bad.safetensors");
    double x[DP__CHAIN_NUMBERS + DP__CHAIN_WHOLES];
    size_t count = DP__CHAIN_NUMBERS + DP__CHAIN_WHOLES, k;
    af_tensors *set = NULL;
    dp_chain *t = NULL;
    write_text(path, "no tensors");
    CHECK(dp_chain_load(c, path, &t) == AF_ERROR_FORMAT);
    af_error_clear(c);
    for (k = 0; k < count; k++) x[k] = 1.0;
    x[DP__CHAIN_NUMBERS] = 1e9; /* the width */
    CHECK(af_tensors_create(c, &set) == AF_OK);
    CHECK(af_tensors_write(set, path) == AF_OK);
    CHECK_FAILS(dp_chain_load(c, path, &t), AF_ERROR_FORMAT, "does not hold a chain");
    CHECK(af_tensors_set_text(set, "format", "deeppotential chain 1") == AF_OK);
    CHECK(af_tensors_add(set, "numbers", AF_DTYPE_F64, 1, &count, x) == AF_OK);
    CHECK(af_tensors_write(set, path) == AF_OK);
    CHECK_FAILS(dp_chain_load(c, path, &t), AF_ERROR_FORMAT, "are damaged");
    CHECK(t == NULL);
    af_tensors_destroy(set);
    remove(path);
}

/* What a model cannot do. */
TEST(bad_models) {
    static double eta[6 * N];
    heap own = DP__ZERO;
    dp_chain_desc d = DP__ZERO;
    dp_chain *t = NULL;
    dp_sample *s = make_sample(c, N, 8), *fast = NULL;
    af_context *other = heap_context(&own, 1);
    af_finder *f = make_finder(c, 0), *foreign = make_finder(other, 0);
    size_t i, k;
    d.model = foreign;
    CHECK_FAILS(dp_chain_create(s, &d, &t), AF_ERROR_ARGUMENT, "another context");
    d.model = f;
    d.density = DP_CHAIN_KERNEL;
    CHECK_FAILS(dp_chain_create(s, &d, &t), AF_ERROR_ARGUMENT, "the way back");
    d.density = DP_CHAIN_CANONICAL;
    d.flow = 2;
    d.clumps = 3;
    CHECK_FAILS(dp_chain_create(s, &d, &t), AF_ERROR_ARGUMENT, "2 layers and 3 clumps");
    d.clumps = 0;
    d.flow = 9;
    CHECK_FAILS(dp_chain_create(s, &d, &t), AF_ERROR_ARGUMENT, "9 layers");
    d.flow = 0;
    make_stars(N, 8, eta);
    for (i = 0; i < (size_t)N / 4; i++) /* a quarter is unbound in the toy */
        for (k = 3; k < 6; k++) eta[6 * i + k] *= 5.0;
    CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &fast) == AF_OK);
    CHECK_FAILS(dp_chain_create(fast, &d, &t), AF_ERROR_DATA, "no actions for 1");
    CHECK(t == NULL);
    dp_sample_destroy(fast);
    dp_sample_destroy(s);
    af_finder_destroy(f);
    af_finder_destroy(foreign);
    af_context_destroy(other);
    CHECK(own.live == 0);
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
    d.begin = d.steps = d.orbit_steps = d.width = 1;
    CHECK(dp_chain_create(s, &d, &t) == AF_OK);
    if (t) CHECK_FAILS(dp_chain_evaluate(t, 1, zero, phi, NULL), AF_ERROR_ARGUMENT, "radius 0");
    dp_chain_destroy(t);
    dp_sample_destroy(s);
    dp_sample_destroy(few);
}

/* Every allocation fails once, in steps that reach all stages; what is learned is saved and loaded,
 * too. */
static void memory_of(int with_model) {
    heap h;
    long k, failed = 0;
    const char *path = scratch_file("memory.safetensors");
    for (k = 1; k < 200000; k += k < 40 ? 2 : k / 3) {
        af_context *own = NULL;
        af_finder *f = NULL;
        dp_sample *s = NULL;
        dp_chain *t = NULL, *loaded = NULL;
        dp_chain_desc d = DP__ZERO;
        af_status status = heap_open(&h, k, 1, &own);
        d.density = with_model ? DP_CHAIN_CANONICAL : DP_CHAIN_KERNEL;
        d.width = d.steps = d.begin = d.orbit_steps = d.clumps = d.flow = 1;
        d.samples = 16;
        if (status == AF_OK && with_model) {
            f = make_finder(own, 0);
            status = f ? AF_OK : AF_ERROR_MEMORY;
            d.model = f;
        }
        if (status == AF_OK) {
            s = make_sample(own, 200, 9);
            status = s ? dp_chain_create(s, &d, &t) : AF_ERROR_MEMORY;
        }
        CHECK(status == AF_OK || status == AF_ERROR_MEMORY);
        CHECK((status == AF_OK) == (t != NULL));
        if (status == AF_OK) status = dp_chain_save(t, path);
        if (status == AF_OK) status = dp_chain_load(own, path, &loaded);
        CHECK(status == AF_OK || status == AF_ERROR_MEMORY);
        CHECK((status == AF_OK) == (loaded != NULL));
        dp_chain_destroy(loaded);
        dp_chain_destroy(t);
        dp_sample_destroy(s);
        af_finder_destroy(f);
        af_context_destroy(own);
        CHECK(h.live == 0);
        if (status == AF_OK) break;
        failed++;
    }
    CHECK(failed > 20);
    remove(path);
}

TEST(memory_that_fails) {
    memory_of(0);
    memory_of(1);
}

int main(void) {
    c = heap_context(&memory, 2);
    RUN(map_and_inverse);
    RUN(derivative_of_the_inverse);
    RUN(mixture_by_two_routes);
    RUN(flow_and_inverse);
    RUN(gradient_of_the_canonical_loss);
    RUN(gradient_of_the_kernel_loss);
    RUN(gradient_of_a_models_loss);
    RUN(drift_of_actions);
    RUN(stars_in_random_order);
    RUN(kernel_density_is_a_density);
    RUN(a_potential_from_stars);
    RUN(a_potential_with_a_model);
    RUN(bad_files);
    RUN(bad_models);
    RUN(bad_questions);
    RUN(memory_that_fails);
    af_context_destroy(c);
    if (memory.live) printf("%ld blocks are still out\n", memory.live);
    return test_report() || memory.live != 0;
}
