/* Continuous flows: rates against finite differences, whole flows against closed forms and a solver
 * and networks written here, fits of a mixture of two normal distributions, memory that ends. */
#include "actionfinder.in.h"
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#define MOCK_NAME "dp_cnf"
#include "af_mock.h"

enum { MANY = 20000, HELD = 4000, FEW = 40 };

static heap memory;
static af_context *c;
static double eta[MANY][6], held[HELD][6], weight[MANY], other[MANY][6];
static double ln_f[HELD], gradient[HELD][6];

static void begin(int threads) { CHECK(heap_open(&memory, 0, threads, &c) == AF_OK); }

static void end(void) {
    CHECK(af_error_status(c) == AF_OK);
    if (af_error_status(c) != AF_OK) printf("  %s\n", af_error(c));
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

/* ---- the mixture: normal distributions A and B around +-1.2 along x, of widths 1 and 0.7, with
 * shares 0.6 and 0.4 ---- */

static double ln_normal(const double *x, double mean, double s) {
    double sum = 0.0;
    size_t k;
    for (k = 0; k < 6; k++) {
        double u = (x[k] - (k == 0 ? mean : 0.0)) / s;
        sum -= 0.5 * u * u + log(s * sqrt(2.0 * DP__PI));
    }
    return sum;
}

static double ln_mixture(const double *x) {
    return log(0.6 * exp(ln_normal(x, 1.2, 1.0)) + 0.4 * exp(ln_normal(x, -1.2, 0.7)));
}

static void draw_mixture(uint64_t seed, size_t n, double (*x)[6], double *in_a) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        int a = af_random_uniform(seed, 1, i) < 0.6;
        for (k = 0; k < 6; k++)
            x[i][k] = (a ? 1.0 : 0.7) * af_random_normal(seed, 2, 6 * i + k) +
                      (k == 0 ? (a ? 1.2 : -1.2) : 0.0);
        if (in_a) in_a[i] = a ? 1.0 : 0.0;
    }
}

/* A flow for n stars of the mixture. */
static dp_df *make(size_t n, const double *weights, const dp_df_desc *d, dp_sample **sample) {
    dp_df *df = NULL;
    draw_mixture(1, n, eta, weight);
    CHECK(dp_sample_create(c, n, eta[0], weights, NULL, NULL, sample) == AF_OK);
    CHECK(dp_df_create(*sample, d, &df) == AF_OK);
    return df;
}

/* Coordinates are those of the network. */
static void plain_scales(dp_df *df) {
    size_t k;
    for (k = 0; k < 6; k++) {
        df->mean[k] = 0.0;
        df->scale[k] = 1.0;
    }
}

/* A small flow with random parameters. */
static dp_df *random_flow(dp_df_kind kind, size_t width, size_t depth, size_t transforms) {
    dp_df_desc d = AF__ZERO;
    dp_sample *sample;
    dp_df *df;
    size_t i;
    d.kind = kind;
    d.width = width;
    d.depth = depth;
    d.transforms = transforms;
    df = make(DP__FEWEST_STARS, NULL, &d, &sample);
    dp_sample_destroy(sample);
    plain_scales(df);
    for (i = 0; i < dp_df_parameters(df); i++)
        af_params_data(df->params)[i] = 0.3 * af_random_normal(7, 0, i);
    return df;
}

/* ---- networks and a solver written here, in f64 ---- */

static double activate(const dp_df *df, double x) {
    return df->desc.activation == AF_TANH ? tanh(x) : x / (1.0 + exp(-x));
}

/* v of field k at t, y; depth <= 3, width <= 16. */
static void velocity(const dp_df *df, size_t k, double t, const double *y, double *v) {
    size_t width = df->desc.width, depth = df->desc.depth, in = 7, layer, i, j;
    const double *p = af_params_data(df->params) + k * (dp_df_parameters(df) / df->desc.transforms);
    double x[16], next[16];
    x[0] = t;
    for (i = 0; i < 6; i++) x[1 + i] = y[i];
    for (layer = 0; layer <= depth; layer++) {
        size_t out = layer == depth ? 6 : width;
        for (j = 0; j < out; j++) {
            next[j] = p[in * out + j];
            for (i = 0; i < in; i++) next[j] += x[i] * p[i * out + j];
        }
        for (j = 0; j < out; j++) x[j] = layer == depth ? next[j] : activate(df, next[j]);
        p += in * out + out;
        in = out;
    }
    for (i = 0; i < 6; i++) v[i] = x[i];
}

/* dv_i/dy_j by central differences. */
static void jacobian(const dp_df *df, size_t k, double t, const double *y, double jac[6][6]) {
    double up[6], down[6], at[6], h = 1e-5;
    size_t i, j;
    memcpy(at, y, sizeof at);
    for (j = 0; j < 6; j++) {
        at[j] = y[j] + h;
        velocity(df, k, t, at, up);
        at[j] = y[j] - h;
        velocity(df, k, t, at, down);
        at[j] = y[j];
        for (i = 0; i < 6; i++) jac[i][j] = (up[i] - down[i]) / (2.0 * h);
    }
}

static double divergence(const dp_df *df, size_t k, double t, const double *y) {
    double jac[6][6], sum = 0.0;
    size_t i;
    jacobian(df, k, t, y, jac);
    for (i = 0; i < 6; i++) sum += jac[i][i];
    return sum;
}

/* State: y, and the integrals of div v, |v|^2 and |dv/dy|^2. */
static void state_rate(const dp_df *df, size_t k, double t, const double *z, double *rate) {
    double jac[6][6];
    size_t i, j;
    velocity(df, k, t, z, rate);
    jacobian(df, k, t, z, jac);
    rate[6] = rate[7] = rate[8] = 0.0;
    for (i = 0; i < 6; i++) {
        rate[6] += jac[i][i];
        rate[7] += rate[i] * rate[i];
        for (j = 0; j < 6; j++) rate[8] += jac[i][j] * jac[i][j];
    }
}

/* From the data back to the normal: 40 steps of Runge and Kutta's method a field. */
static void state_back(const dp_df *df, const double *y, double *z) {
    double r[4][9], at[9], h = -1.0 / 40.0;
    size_t k, step, i;
    memcpy(z, y, 6 * sizeof *z);
    z[6] = z[7] = z[8] = 0.0;
    for (k = df->desc.transforms; k-- > 0;)
        for (step = 0; step < 40; step++) {
            double t = 1.0 + h * (double)step;
            state_rate(df, k, t, z, r[0]);
            for (i = 0; i < 9; i++) at[i] = z[i] + 0.5 * h * r[0][i];
            state_rate(df, k, t + 0.5 * h, at, r[1]);
            for (i = 0; i < 9; i++) at[i] = z[i] + 0.5 * h * r[1][i];
            state_rate(df, k, t + 0.5 * h, at, r[2]);
            for (i = 0; i < 9; i++) at[i] = z[i] + h * r[2][i];
            state_rate(df, k, t + h, at, r[3]);
            for (i = 0; i < 9; i++)
                z[i] += h / 6.0 * (r[0][i] + 2.0 * r[1][i] + 2.0 * r[2][i] + r[3][i]);
        }
}

static double ln_f_here(const dp_df *df, const double *y) {
    double z[9];
    state_back(df, y, z);
    return ln_normal(z, 0.0, 1.0) + z[6]; /* z[6] was summed with negative steps */
}

/* ---- rates ---- */

static void check_rates(dp_df_kind kind, size_t depth) {
    dp_df *df;
    af_workspace *w;
    float params[4000], t[DP__SLOTS], z[DP__SLOTS * DP__STATE], rate[DP__SLOTS * DP__STATE];
    const void *in[3];
    void *out[1];
    size_t i, k, j, p;
    begin(1);
    df = random_flow(kind, 9, depth, kind == DP_DF_FFJORD ? 2 : 0);
    for (i = 0; i < dp_df_parameters(df); i++) params[i] = (float)af_params_data(df->params)[i];
    for (i = 0; i < DP__SLOTS * DP__STATE; i++) z[i] = (float)af_random_normal(3, 0, i);
    for (i = 0; i < DP__SLOTS; i++) t[i] = (float)af_random_uniform(3, 1, i);
    in[0] = params;
    in[1] = t;
    in[2] = z;
    out[0] = rate;
    for (k = 0; k < df->desc.transforms; k++) {
        af_func *f;
        CHECK(dp__rate_compile(df, k, DP__Y_LN_F_S) == AF_OK);
        f = ((dp__cnf *)df->state)->rate[k][DP__Y_LN_F_S];
        CHECK(af_workspace_create(f, 1, &w) == AF_OK);
        CHECK(af_run(f, w, in, out) == AF_OK);
        af_workspace_destroy(w);
        for (p = 0; p < DP__SLOTS; p++) {
            double y[6], v[6], jac[6][6], h = 1e-3;
            const float *s = z + p * DP__STATE + 7, *r = rate + p * DP__STATE;
            for (i = 0; i < 6; i++) y[i] = (double)z[p * DP__STATE + i];
            velocity(df, k, (double)t[p], y, v);
            jacobian(df, k, (double)t[p], y, jac);
            for (i = 0; i < 6; i++) CHECK_CLOSE(r[i], v[i], 3e-6);
            CHECK_CLOSE(r[6], -divergence(df, k, (double)t[p], y), 1e-5);
            for (j = 0; j < 6; j++) {
                double expected, at = y[j];
                y[j] = at + h;
                expected = -divergence(df, k, (double)t[p], y);
                y[j] = at - h;
                expected += divergence(df, k, (double)t[p], y);
                y[j] = at;
                expected /= 2.0 * h;
                for (i = 0; i < 6; i++) expected -= jac[i][j] * (double)s[i];
                CHECK_CLOSE(r[7 + j], expected, 3e-5);
            }
        }
    }
    dp_df_destroy(df);
    end();
}

TEST(rates) {
    check_rates(DP_DF_MATCHING, 1);
    check_rates(DP_DF_MATCHING, 3);
    check_rates(DP_DF_FFJORD, 2);
}

/* ---- whole flows ---- */

/* silu(x) - silu(-x) = x: a network that is linear in (t, y) exactly. v = A y + b + g t, where A
 * has blocks ((a, k), (0, a)), carries the unit normal to one with covariance e^2a
 * ((1 + k^2, k), (k, 1)) in each block; b and g, given to the last axis, where k = 0, move its mean
 * to b (e^a - 1)/a + g (e^a - 1 - a)/a^2. */
static const double lin_a[3] = {0.7, -0.5, 0.3}, lin_k[3] = {0.8, -1.1, 0.0};
static const double lin_b = 0.6, lin_g = -0.9;

static dp_df *linear_flow(void) {
    dp_df *df = random_flow(DP_DF_MATCHING, 14, 1, 0);
    double *p = af_params_data(df->params);
    size_t i, j;
    memset(p, 0, dp_df_parameters(df) * sizeof *p);
    for (i = 0; i < 7; i++) { /* weights (7,14): x and -x */
        p[i * 14 + 2 * i] = 1.0;
        p[i * 14 + 2 * i + 1] = -1.0;
    }
    p += 7 * 14 + 14; /* weights (14,6) */
    for (i = 0; i < 2; i++) {
        double sign = i ? -1.0 : 1.0;
        for (j = 0; j < 6; j++) p[(2 * (1 + j) + i) * 6 + j] = sign * lin_a[j / 2];
        for (j = 0; j < 6; j += 2) p[(2 * (2 + j) + i) * 6 + j] = sign * lin_k[j / 2];
        p[i * 6 + 5] = sign * lin_g;
    }
    p[14 * 6 + 5] = lin_b;
    return df;
}

TEST(linear_flow_is_normal) {
    enum { N = 100 };
    double mean = lin_b * expm1(lin_a[2]) / lin_a[2] +
                  lin_g * (expm1(lin_a[2]) - lin_a[2]) / (lin_a[2] * lin_a[2]);
    dp_df *df;
    size_t i, j;
    begin(1);
    df = linear_flow();
    for (i = 0; i < N; i++)
        for (j = 0; j < 6; j++) held[i][j] = 2.0 * af_random_normal(5, j, i);
    CHECK(dp_df_evaluate(df, N, held[0], ln_f, gradient[0]) == AF_OK);
    for (i = 0; i < N; i++) {
        double sum = -3.0 * log(2.0 * DP__PI);
        for (j = 0; j < 3; j++) { /* inverse covariance ((1, -k), (-k, 1 + k^2)) e^-2a */
            double e = exp(lin_a[j]), k = lin_k[j], x = held[i][2 * j] / e;
            double y = (held[i][2 * j + 1] - (j == 2 ? mean : 0.0)) / e;
            double gx = -(x - k * y), gy = k * x - (1.0 + k * k) * y;
            sum += 0.5 * (x * gx + y * gy) - 2.0 * lin_a[j];
            CHECK_CLOSE(gradient[i][2 * j], gx / e, 1e-4);
            CHECK_CLOSE(gradient[i][2 * j + 1], gy / e, 1e-4);
        }
        CHECK_CLOSE(ln_f[i], sum, 1e-4);
    }
    dp_df_destroy(df);
    end();
}

/* A chain of random fields against networks and a solver written here; gradients against finite
 * differences of that. ln f alone and with gradients come from different integrations. */
TEST(chain_against_another_solver) {
    dp_df *df;
    double alone[FEW];
    size_t i, k;
    begin(1);
    df = random_flow(DP_DF_FFJORD, 10, 2, 3);
    draw_mixture(6, FEW, held, NULL);
    CHECK(dp_df_evaluate(df, FEW, held[0], alone, NULL) == AF_OK);
    CHECK(dp_df_evaluate(df, FEW, held[0], ln_f, gradient[0]) == AF_OK);
    for (i = 0; i < FEW; i++) {
        CHECK_CLOSE(alone[i], ln_f_here(df, held[i]), 1e-4);
        CHECK_CLOSE(ln_f[i], alone[i], 1e-4);
        for (k = 0; k < 6 && i < 5; k++) {
            double at = held[i][k], h = 1e-3, slope;
            held[i][k] = at + h;
            slope = ln_f_here(df, held[i]);
            held[i][k] = at - h;
            slope -= ln_f_here(df, held[i]);
            held[i][k] = at;
            CHECK_CLOSE(gradient[i][k], slope / (2.0 * h), 3e-4);
        }
    }
    dp_df_destroy(df);
    end();
}

/* There and back; the scales' part of ln f and of the gradients. */
TEST(reversible_and_scaled) {
    dp_df *df;
    double back[FEW][6];
    size_t i, k;
    begin(1);
    df = random_flow(DP_DF_FFJORD, 10, 2, 3);
    CHECK(dp_df_draw(df, FEW, 9, held[0]) == AF_OK);
    memcpy(back, held, sizeof back);
    CHECK(dp__cnf_move(df, DP__Y, 0, FEW, back[0]) == AF_OK);
    for (i = 0; i < FEW; i++)
        for (k = 0; k < 6; k++)
            CHECK_CLOSE(back[i][k], af_random_normal(9, 0, 6 * i + k), 1e-3);
    CHECK(dp_df_evaluate(df, FEW, held[0], ln_f, gradient[0]) == AF_OK);
    for (k = 0; k < 6; k++) {
        df->scale[k] = 1.0 + (double)k;
        df->mean[k] = 0.5 * (double)k;
    }
    for (i = 0; i < FEW; i++)
        for (k = 0; k < 6; k++) held[i][k] = df->mean[k] + df->scale[k] * held[i][k];
    CHECK(dp_df_evaluate(df, FEW, held[0], ln_f + FEW, gradient[FEW]) == AF_OK);
    for (i = 0; i < FEW; i++) {
        CHECK_CLOSE(ln_f[FEW + i], ln_f[i] - log(720.0), 1e-4);
        for (k = 0; k < 6; k++)
            CHECK_CLOSE(gradient[FEW + i][k] * df->scale[k], gradient[i][k], 1e-4);
    }
    dp_df_destroy(df);
    end();
}

/* The mean of p/f over draws of f is one for any density p; here a normal narrower than f. It needs
 * that draws and ln f are those of the same function. */
TEST(normalised) {
    dp_df *df;
    double sum = 0.0, square = 0.0, n = HELD;
    size_t i;
    begin(1);
    df = random_flow(DP_DF_FFJORD, 10, 2, 2);
    for (i = 0; i < dp_df_parameters(df); i++) af_params_data(df->params)[i] *= 0.7;
    CHECK(dp_df_draw(df, HELD, 11, held[0]) == AF_OK);
    CHECK(dp_df_evaluate(df, HELD, held[0], ln_f, NULL) == AF_OK);
    for (i = 0; i < HELD; i++) {
        double r = exp(ln_normal(held[i], 0.0, 0.6) - ln_f[i]);
        sum += r;
        square += r * r;
    }
    sum /= n;
    square = sqrt((square / n - sum * sum) / n);
    CHECK(square < 0.1);
    CHECK_CLOSE(sum, 1.0, 4.0 * square);
    dp_df_destroy(df);
    end();
}

/* Results are the same bits for any threads, and whatever the neighbours are. */
TEST(points_are_independent) {
    dp_df *df;
    double one, g[6];
    size_t i, k;
    int threads;
    begin(1);
    df = random_flow(DP_DF_MATCHING, 12, 2, 0);
    draw_mixture(12, 100, held, NULL);
    for (threads = 1; threads <= 3; threads += 2) {
        af_context_set_threads(c, threads);
        CHECK(dp_df_evaluate(df, 100, held[0], ln_f + (threads > 1 ? 100 : 0),
                             gradient[threads > 1 ? 100 : 0]) == AF_OK);
        CHECK(dp_df_draw(df, 100, 3, eta[threads > 1 ? 100 : 0]) == AF_OK);
    }
    CHECK(memcmp(ln_f, ln_f + 100, 100 * sizeof *ln_f) == 0);
    CHECK(memcmp(gradient, gradient + 100, 100 * sizeof *gradient) == 0);
    CHECK(memcmp(eta, eta + 100, 100 * sizeof *eta) == 0);
    for (i = 7; i < 100; i += 30) {
        CHECK(dp_df_evaluate(df, 1, held[i], &one, g) == AF_OK);
        CHECK(one == ln_f[i]);
        for (k = 0; k < 6; k++) CHECK(g[k] == gradient[i][k]);
    }
    CHECK(dp_df_draw(df, 50, 4, eta[0]) == AF_OK);
    CHECK(memcmp(eta, eta + 100, 50 * sizeof *eta) != 0); /* another seed */
    dp_df_destroy(df);
    end();
}

/* ---- losses ---- */

/* The value of an engine's loss of rows, in f64. */
static double loss_of(dp_df *df, size_t n, const double *rows) {
    af_func_desc d = AF__ZERO;
    af_func *f = NULL;
    af_workspace *w = NULL;
    af_expr in[3], loss;
    size_t dims[2];
    double value = NAN, seed = 5.0;
    const void *from[3];
    void *to[1];
    dims[0] = n;
    dims[1] = DP__ROW;
    in[0] = af_params_input(df->params);
    in[1] = af_input(c, "rows", 2, dims);
    in[2] = af_input(c, "seed", 0, NULL);
    loss = df->engine->loss(df, in[1], in[2]);
    d.inputs = in;
    d.input_count = 3;
    d.outputs = &loss;
    d.output_count = 1;
    CHECK(af_compile(c, &d, &f) == AF_OK);
    CHECK(af_workspace_create(f, 1, &w) == AF_OK);
    from[0] = af_params_data(df->params);
    from[1] = rows;
    from[2] = &seed;
    to[0] = &value;
    CHECK(af_run(f, w, from, to) == AF_OK);
    af_workspace_destroy(w);
    af_func_destroy(f);
    return value;
}

static void fill_rows(size_t n, double *rows) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        for (k = 0; k < DP__ROW; k++) rows[i * DP__ROW + k] = 0.0;
        for (k = 0; k < 6; k++) rows[i * DP__ROW + k] = held[i][k];
        rows[i * DP__ROW + 6] = 0.5 + (double)i / (double)n;
    }
}

/* The loss in a few fixed steps is that of the solver here, part by part. */
TEST(ffjord_loss_part_by_part) {
    const double kinetic[3] = {-1.0, 0.3, -1.0}, stretch[3] = {-1.0, -1.0, 0.2};
    double rows[10 * DP__ROW], z[9];
    size_t part, i;
    for (part = 0; part < 3; part++) {
        dp_df *df;
        double expected = 0.0;
        begin(1);
        df = random_flow(DP_DF_FFJORD, 8, 2, 2);
        df->desc.kinetic = kinetic[part];
        df->desc.jacobian = stretch[part];
        df->desc.steps = 6;
        draw_mixture(14, 10, held, NULL);
        fill_rows(10, rows);
        for (i = 0; i < 10; i++) {
            double cost = -ln_f_here(df, held[i]);
            state_back(df, held[i], z);
            if (part == 1) cost += 0.3 * -z[7] / 6.0;
            if (part == 2) cost += 0.2 * -z[8] / 6.0;
            expected += 0.1 * rows[i * DP__ROW + 6] * cost;
        }
        CHECK_CLOSE(loss_of(df, 10, rows), expected, 1e-5);
        dp_df_destroy(df);
        end();
    }
}

/* Of one step the error is 5th order in its length: halving it takes it down by 2^5. */
TEST(ffjord_steps_are_of_fifth_order) {
    double rows[10 * DP__ROW], value[4];
    size_t i;
    begin(1);
    for (i = 0; i < 4; i++) {
        dp_df *df = random_flow(DP_DF_FFJORD, 8, 2, 1);
        df->desc.steps = i == 3 ? 32 : (size_t)2 << i;
        draw_mixture(14, 10, held, NULL);
        fill_rows(10, rows);
        value[i] = loss_of(df, 10, rows);
        dp_df_destroy(df);
    }
    CHECK(fabs(value[0] - value[3]) > 20.0 * fabs(value[1] - value[3]));
    CHECK(fabs(value[1] - value[3]) > 20.0 * fabs(value[2] - value[3]));
    end();
}

/* With v = 0 the loss is the mean of w |x1 - x0|^2: w (6 + |x1|^2) in the mean over the noise. */
TEST(matching_loss_without_velocity) {
    enum { N = 20000 };
    double *rows = (double *)calloc((size_t)N * DP__ROW, sizeof *rows), expected = 0.0;
    dp_df *df;
    size_t i, k;
    begin(1);
    df = random_flow(DP_DF_MATCHING, 8, 2, 0);
    memset(af_params_data(df->params), 0, dp_df_parameters(df) * sizeof(double));
    for (i = 0; rows && i < N; i++) {
        double w = rows[i * DP__ROW + 6] = i % 2 ? 1.5 : 0.5, square = 0.0;
        for (k = 0; k < 6; k++) rows[i * DP__ROW + k] = i % 2 ? 2.0 : 0.5 * (double)k;
        for (k = 0; k < 6; k++) square += rows[i * DP__ROW + k] * rows[i * DP__ROW + k];
        expected += w * (6.0 + square) / (double)N;
    }
    if (rows) CHECK_CLOSE(loss_of(df, N, rows), expected, 0.01);
    dp_df_destroy(df);
    free(rows);
    end();
}

/* ---- fits ---- */

static dp_df_report fit(dp_df *df, const dp_sample *sample, size_t epochs, size_t batch,
                        double rate) {
    dp_fit_desc d = AF__ZERO;
    dp_df_report report = AF__ZERO;
    d.epochs = epochs;
    d.batch = batch;
    d.schedule.rate = rate;
    CHECK(dp_df_fit(df, sample, &d, &report) == AF_OK);
    CHECK(report.validation < report.untrained);
    return report;
}

/* Stars not seen in the fit: ln f against the truth, gradients against the truth, draws. */
static void check_mixture(dp_df *df, double nats, double gradients) {
    double miss = 0.0, a = 0.0, x = 0.0, square = 0.0, error = 0.0, size = 0.0;
    size_t i, k, few = HELD / 8;
    draw_mixture(99, HELD, held, NULL);
    CHECK(dp_df_evaluate(df, HELD, held[0], ln_f, NULL) == AF_OK);
    for (i = 0; i < HELD; i++) miss += (ln_mixture(held[i]) - ln_f[i]) / (double)HELD;
    CHECK(miss > -0.02 && miss < nats);
    CHECK(dp_df_evaluate(df, few, held[0], NULL, gradient[0]) == AF_OK);
    for (i = 0; i < few; i++) {
        double in_a = 0.6 * exp(ln_normal(held[i], 1.2, 1.0) - ln_mixture(held[i]));
        for (k = 0; k < 6; k++) {
            double u = held[i][k], m = k == 0 ? 1.2 : 0.0;
            double g = -in_a * (u - m) - (1.0 - in_a) * (u + m) / 0.49;
            error += (gradient[i][k] - g) * (gradient[i][k] - g);
            size += g * g;
        }
    }
    CHECK(sqrt(error / size) < gradients);
    CHECK(dp_df_draw(df, HELD, 21, other[0]) == AF_OK);
    for (i = 0; i < HELD; i++) {
        a += (other[i][0] > 0.0 ? 1.0 : 0.0) / (double)HELD;
        x += other[i][0] / (double)HELD;
        square += other[i][3] * other[i][3] / (double)HELD;
    }
    CHECK_CLOSE(a, 0.6 * 0.88493 + 0.4 * 0.04323, 0.03); /* above 0: 1.2 sigma, 1.2/0.7 sigma */
    CHECK_CLOSE(x, 0.24, 0.1); /* 3 standard errors are 0.07 */
    CHECK_CLOSE(square, 0.6 + 0.4 * 0.49, 0.08);
    if (test_broken) printf("  %s: %g nats, gradients %g, above 0 %g, mean %g, square %g\n",
                            df->engine->name, miss, sqrt(error / size), a, x, square);
}

TEST(matching_fits_a_mixture) {
    dp_df_desc d = AF__ZERO;
    dp_sample *sample;
    dp_df *df;
    begin(1);
    d.kind = DP_DF_MATCHING;
    d.width = 64;
    d.depth = 2;
    df = make(MANY, NULL, &d, &sample);
    fit(df, sample, 40, 512, 2e-2);
    check_mixture(df, 0.05, 0.3);
    dp_df_destroy(df);
    dp_sample_destroy(sample);
    end();
}

TEST(ffjord_fits_a_mixture) {
    dp_df_desc d = AF__ZERO;
    dp_df_report report;
    dp_sample *sample;
    dp_df *df;
    double sum = 0.0;
    size_t i;
    begin(1);
    d.kind = DP_DF_FFJORD;
    d.width = 16;
    d.depth = 2;
    d.transforms = 2;
    d.steps = 1;
    df = make(MANY, NULL, &d, &sample);
    report = fit(df, sample, 8, 128, 2e-2);
    check_mixture(df, 0.05, 0.3);
    for (i = 0; i < HELD; i++) sum -= ln_f[i] / (double)HELD;
    for (i = 0; i < 6; i++) sum -= log(df->scale[i]);
    CHECK_CLOSE(report.validation, sum, 0.1); /* -mean ln f, of other stars */
    dp_df_destroy(df);
    dp_sample_destroy(sample);
    end();
}

/* Weights that leave A alone leave A's normal distribution. */
TEST(weights_count) {
    dp_df_desc d = AF__ZERO;
    dp_sample *sample;
    dp_df *df;
    double x = 0.0;
    size_t i;
    begin(1);
    d.kind = DP_DF_MATCHING;
    d.width = 16;
    d.depth = 2;
    df = make(4000, weight, &d, &sample);
    CHECK_CLOSE(df->mean[0], 1.2, 0.1);
    fit(df, sample, 10, 256, 1e-2);
    CHECK(dp_df_draw(df, 2000, 21, other[0]) == AF_OK);
    for (i = 0; i < 2000; i++) x += other[i][0] / 2000.0;
    CHECK_CLOSE(x, 1.2, 0.1);
    dp_df_destroy(df);
    dp_sample_destroy(sample);
    end();
}

/* The kinetic term takes down the mean of the integral of |v|^2 along the ways of the stars. */
TEST(kinetic_term_slows_the_flow) {
    double energy[2] = {0.0, 0.0}, z[9];
    size_t strong, i;
    begin(1);
    for (strong = 0; strong < 2; strong++) {
        dp_df_desc d = AF__ZERO;
        dp_sample *sample;
        dp_df *df;
        d.kind = DP_DF_FFJORD;
        d.width = 12;
        d.depth = 2;
        d.transforms = 1;
        d.kinetic = strong ? 2.0 : -1.0;
        d.jacobian = -1.0;
        df = make(4000, NULL, &d, &sample);
        fit(df, sample, 10, 128, 2e-2);
        for (i = 0; i < 50; i++) {
            double y[6];
            dp__standardise(df, eta[i], y, NULL);
            state_back(df, y, z);
            energy[strong] -= z[7] / 50.0;
        }
        dp_df_destroy(df);
        dp_sample_destroy(sample);
    }
    CHECK(energy[0] > 0.02 && energy[1] < 0.8 * energy[0]);
    if (test_broken) printf("  %g %g\n", energy[0], energy[1]);
    end();
}

/* ---- what goes wrong ---- */

TEST(refuses) {
    dp_df_desc d = AF__ZERO;
    dp_sample *sample;
    dp_df *df;
    size_t i;
    begin(1);
    d.kind = DP_DF_MATCHING;
    d.width = 4;
    d.depth = 1;
    df = make(DP__FEWEST_STARS, NULL, &d, &sample);
    for (i = 0; i < dp_df_parameters(df); i++) af_params_data(df->params)[i] = NAN;
    CHECK(dp_df_evaluate(df, 3, eta[0], ln_f, NULL) == AF_ERROR_NONFINITE);
    CHECK_TEXT(af_error(c), "not finite at point 0");
    af_error_clear(c);
    /* too steep for any solver: the points are given up, not waited for */
    for (i = 0; i < dp_df_parameters(df); i++)
        af_params_data(df->params)[i] = 1e4 * af_random_normal(1, 0, i);
    CHECK(dp_df_evaluate(df, 3, eta[0], NULL, gradient[0]) == AF_ERROR_NONFINITE);
    af_error_clear(c);
    CHECK(dp_df_evaluate(df, 0, NULL, NULL, NULL) == AF_OK);
    dp_df_destroy(df);
    d.activation = AF_RELU;
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_ARGUMENT && !df);
    CHECK_TEXT(af_error(c), "second derivatives");
    af_error_clear(c);
    d.kind = DP_DF_FFJORD;
    d.transforms = DP__FIELDS + 1;
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_ARGUMENT && !df);
    CHECK_TEXT(af_error(c), "up to 16 transforms");
    af_error_clear(c);
    d.transforms = 0;
    d.steps = 65;
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_ARGUMENT && !df);
    CHECK_TEXT(af_error(c), "up to 64 steps");
    af_error_clear(c);
    d.steps = 0;
    d.kinetic = NAN;
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_ARGUMENT && !df);
    CHECK_TEXT(af_error(c), "regularisation");
    af_error_clear(c);
    dp_sample_destroy(sample);
    end();
}

/* A file brings back the same flow. */
TEST(saved_and_loaded) {
    const char *path = scratch_file("flow.safetensors");
    const dp_df_kind kind[2] = {DP_DF_MATCHING, DP_DF_FFJORD};
    size_t i;
    for (i = 0; i < 2; i++) {
        dp_df *df, *again = NULL;
        begin(1);
        df = random_flow(kind[i], 8, 2, i == 0 ? 0 : 2);
        df->desc.kinetic = -1.0;
        draw_mixture(3, FEW, held, NULL);
        CHECK(dp_df_save(df, path) == AF_OK);
        CHECK(dp_df_load(c, path, &again) == AF_OK);
        remove(path);
        CHECK(dp_df_evaluate(df, FEW, held[0], ln_f, gradient[0]) == AF_OK);
        if (again)
            CHECK(dp_df_evaluate(again, FEW, held[0], ln_f + FEW, gradient[FEW]) == AF_OK);
        CHECK(memcmp(ln_f, ln_f + FEW, FEW * sizeof *ln_f) == 0);
        CHECK(memcmp(gradient, gradient + FEW, FEW * sizeof *gradient) == 0);
        CHECK(again && dp_df_describe(again).kinetic == -1.0);
        dp_df_destroy(again);
        dp_df_destroy(df);
        end();
    }
}

/* Everything that a flow does, with memory that ends at one call. */
static af_status all_of_it(dp_df_kind kind) {
    dp_df_desc d = AF__ZERO;
    dp_fit_desc f = AF__ZERO;
    dp_sample *sample = NULL;
    dp_df *df = NULL;
    af_status s;
    d.kind = kind;
    d.width = 3;
    d.depth = 1;
    d.transforms = 2;
    d.steps = 1;
    f.epochs = 1;
    f.batch = 50;
    s = dp_sample_create(c, DP__FEWEST_STARS, eta[0], NULL, NULL, NULL, &sample);
    if (s == AF_OK) s = dp_df_create(sample, &d, &df);
    if (s == AF_OK) s = dp_df_fit(df, sample, &f, NULL);
    if (s == AF_OK) s = dp_df_evaluate(df, 2, eta[0], ln_f, NULL);
    if (s == AF_OK) s = dp_df_evaluate(df, 2, eta[0], ln_f, gradient[0]);
    if (s == AF_OK) s = dp_df_draw(df, 2, 1, other[0]);
    dp_df_destroy(df);
    dp_sample_destroy(sample);
    return s;
}

static void check_memory(dp_df_kind kind) {
    long k, calls = 1 << 30;
    draw_mixture(1, DP__FEWEST_STARS, eta, NULL);
    for (k = 0; k <= calls && !test_broken; k++) {
        c = NULL;
        if (heap_open(&memory, k, 1, &c) == AF_OK) {
            af_status s = all_of_it(kind);
            if (k == 0) calls = memory.calls;
            CHECK(s == (k == 0 ? AF_OK : AF_ERROR_MEMORY));
            CHECK(k == 0 || af_error_status(c) == AF_ERROR_MEMORY);
        }
        af_context_destroy(c);
        CHECK(memory.live == 0);
    }
    CHECK(k > 100);
}

TEST(out_of_memory) {
    check_memory(DP_DF_MATCHING);
    check_memory(DP_DF_FFJORD);
}

int main(void) {
    RUN(rates);
    RUN(linear_flow_is_normal);
    RUN(chain_against_another_solver);
    RUN(reversible_and_scaled);
    RUN(normalised);
    RUN(points_are_independent);
    RUN(ffjord_loss_part_by_part);
    RUN(ffjord_steps_are_of_fifth_order);
    RUN(matching_loss_without_velocity);
    RUN(weights_count);
    /* weights_count and out_of_memory run the same code */
    if (!SHORT) RUN(matching_fits_a_mixture);
    if (!SHORT) RUN(ffjord_fits_a_mixture);
    if (!SHORT) RUN(kinetic_term_slows_the_flow);
    RUN(refuses);
    RUN(saved_and_loaded);
    RUN(out_of_memory);
    return test_report();
}
