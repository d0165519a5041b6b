/* Levenberg-Marquardt and L-BFGS through their public interface. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#include "af_reference.h"
#if defined(__unix__) || defined(__APPLE__)
#  include <unistd.h>
#else
#  define getpid() 0
#endif

static heap memory;
static af_context *context;
static af_params *store;
static af_minimiser *minimiser;
static af_minimiser_desc desc; /* of the minimiser that make() creates */

static void begin(void) {
    memset(&memory, 0, sizeof memory);
    memset(&desc, 0, sizeof desc);
    minimiser = NULL;
    context = test_context(&memory);
    if (!context || af_params_create(context, 7, &store) != AF_OK) abort();
    af_context_set_threads(context, 1);
    desc.params = store;
}

static void drop(void) {
    af_minimiser_destroy(minimiser);
    minimiser = NULL;
}

/* Nothing may be left. */
static void end(void) {
    drop();
    af_params_destroy(store);
    af_context_destroy(context);
    CHECK(memory.live == 0);
}

/* The call fails with the status and a sentence that holds the words; clears the error. */
#define FAILS(call, status, words)                   \
    do {                                             \
        CHECK((call) == (status));                   \
        CHECK(af_error_status(context) == (status)); \
        CHECK_TEXT(af_error(context), words);        \
        af_error_clear(context);                     \
    } while (0)

static int make(void) {
    drop();
    if (af_minimiser_create(context, &desc, &minimiser) == AF_OK) return 1;
    printf("  %s\n", af_error(context));
    CHECK(minimiser != NULL);
    return 0;
}

static double normal(uint64_t stream, size_t i) { return af_random_normal(5, stream, i); }

static double *at(void) { return af_params_data(store); }

/* One vector of parameters, with its values. */
static af_expr vector(size_t n, const double *values) {
    size_t view = 0;
    CHECK(af_params_add(store, "b", 1, &n, AF_INIT_NORMAL, 1.0, &view) == AF_OK);
    if (values) memcpy(at(), values, n * sizeof *values);
    return af_params_expr(store, view);
}

/* Element i of a vector, as a scalar. */
static af_expr element(af_expr v, size_t i) {
    return af_reshape(context, af_slice(context, v, 0, i, 1), 0, NULL);
}

static af_expr array(size_t rows, size_t columns, const double *data) {
    size_t dims[2];
    dims[0] = rows;
    dims[1] = columns;
    return af_constant_array(context, columns ? 2 : 1, dims, data);
}

/* A run to its end; each step goes down from where the last one ended. */
static size_t descend(size_t most, const void *const *inputs) {
    af_minimise_report r = AF__ZERO;
    double last = NAN, before[64];
    size_t k, n = af_params_size(store);
    for (k = 0; k < most && !r.converged; k++) {
        if (n <= 64) memcpy(before, at(), n * sizeof *before);
        if (af_minimiser_step(minimiser, inputs, &r) != AF_OK) {
            printf("  %s\n", af_error(context)); /* and it has not converged */
            break;
        }
        CHECK(k == 0 || r.before == last);
        CHECK(r.converged ? r.loss == r.before : r.loss <= r.before + 1e-13 * fabs(r.before));
        if (r.converged && n <= 64) CHECK(memcmp(before, at(), n * sizeof *before) == 0);
        last = r.loss;
    }
    CHECK(r.converged);
    return k;
}

/* Solves A x = b (n,n) by elimination; A and b are lost. */
static void eliminate(size_t n, long double *a, long double *b) {
    size_t i, j, k;
    for (k = 0; k < n; k++)
        for (i = 0; i < n; i++) {
            long double factor = i == k ? 0.0L : a[i * n + k] / a[k * n + k];
            for (j = k; j < n && i != k; j++) a[i * n + j] -= factor * a[k * n + j];
            b[i] -= factor * b[k];
        }
    for (k = 0; k < n; k++) b[k] /= a[k * n + k];
}

/* ---- Levenberg-Marquardt ---- */

enum { ROWS = 7, COLUMNS = 3 };

/* r = A b - y, in 7 rows of A or, for more parameters than residuals, in its first two. */
static void linear(size_t rows, double a[ROWS * COLUMNS], double y[ROWS]) {
    size_t i;
    af_expr b;
    for (i = 0; i < ROWS * COLUMNS; i++) a[i] = normal(1, i);
    for (i = 0; i < ROWS; i++) y[i] = normal(2, i);
    b = vector(COLUMNS, NULL);
    b = af_sum_axis(context, af_mul(context, array(rows, COLUMNS, a), b), 1);
    desc.residuals = af_sub(context, b, array(rows, 1, y));
}

static void check_linear(void) {
    double a[ROWS * COLUMNS], y[ROWS], f = 0.0, largest = 0.0, r[ROWS], left = 0.0;
    long double m[COLUMNS * COLUMNS] = {0}, g[COLUMNS] = {0}, x[COLUMNS] = {0};
    af_minimise_report report = AF__ZERO;
    size_t i, j, k;
    linear(ROWS, a, y);
    desc.damping = 1e-13;
    if (!make()) return;
    for (i = 0; i < ROWS; i++) {
        for (r[i] = -y[i], j = 0; j < COLUMNS; j++) r[i] += a[i * COLUMNS + j] * at()[j];
        f += 0.5 * r[i] * r[i];
        for (j = 0; j < COLUMNS; j++) {
            g[j] += (long double)a[i * COLUMNS + j] * r[i];
            x[j] += (long double)a[i * COLUMNS + j] * y[i];
            for (k = 0; k < COLUMNS; k++)
                m[j * COLUMNS + k] += (long double)a[i * COLUMNS + j] * a[i * COLUMNS + k];
        }
    }
    for (j = 0; j < COLUMNS; j++) largest = fmax(largest, fabs((double)g[j]));
    eliminate(COLUMNS, m, x);
    CHECK(af_minimiser_step(minimiser, NULL, &report) == AF_OK);
    for (j = 0; j < COLUMNS; j++) CHECK_CLOSE(at()[j], x[j], 1e-11);
    for (i = 0; i < ROWS; i++) {
        for (r[i] = -y[i], j = 0; j < COLUMNS; j++) r[i] += a[i * COLUMNS + j] * (double)x[j];
        left += 0.5 * r[i] * r[i];
    }
    CHECK_CLOSE(report.before, f, 1e-14);
    CHECK_CLOSE(report.loss, left, 1e-13);
    CHECK_CLOSE(report.gradient, largest, 1e-14);
    CHECK_CLOSE(report.gain, 1.0, 1e-9);
    CHECK_CLOSE(report.damping, 1e-14, 1e-20); /* a tenth: the model was right */
    CHECK(report.evaluations == 2 && report.converged == 0 && report.step == 0);
    descend(10, NULL);
    for (j = 0; j < COLUMNS; j++) CHECK_CLOSE(at()[j], x[j], 1e-12);
}

TEST(lm_linear_in_one_step) {
    int i;
    for (i = 0; i < 4; i++) {
        begin();
        desc.damping_of = i & 1 ? AF_DAMPING_DIAGONAL : AF_DAMPING_EVEN;
        desc.jacobian = i & 2 ? AF_JACOBIAN_REVERSE : AF_JACOBIAN_FORWARD;
        check_linear();
        end();
    }
}

/* Two equations for three unknowns: AUTO goes in reverse. */
TEST(lm_fewer_residuals_than_parameters) {
    double a[ROWS * COLUMNS], y[ROWS], f = NAN;
    size_t i, j;
    begin();
    linear(2, a, y);
    if (make()) {
        CHECK(minimiser->reverse == 1);
        descend(50, NULL);
        for (i = 0; i < 2; i++) {
            double r = -y[i];
            for (j = 0; j < COLUMNS; j++) r += a[i * COLUMNS + j] * at()[j];
            CHECK_CLOSE(r, 0.0, 1e-14);
        }
        CHECK(af_minimiser_loss(minimiser, NULL, &f) == AF_OK && f < 1e-28);
    }
    end();
}

/* 10 (y - x^2), 1 - x: half of Rosenbrock's valley. */
static void rosenbrock(int as_loss) {
    static const double start[2] = {-1.2, 1.0};
    af_expr v = vector(2, start), r[2], x = element(v, 0), one = af_constant(context, 1.0);
    size_t n = 1;
    r[0] = af_scale(context, af_sub(context, element(v, 1), af_square(context, x)), 10.0);
    r[1] = af_sub(context, one, x);
    if (as_loss) {
        desc.loss = af_add(context, af_square(context, r[0]), af_square(context, r[1]));
        desc.loss = af_scale(context, desc.loss, 0.5);
        return;
    }
    r[0] = af_reshape(context, r[0], 1, &n);
    r[1] = af_reshape(context, r[1], 1, &n);
    desc.residuals = af_concat(context, 0, 2, r);
}

TEST(lm_rosenbrock) {
    int i;
    for (i = 0; i < 4; i++) {
        begin();
        desc.damping_of = i & 1 ? AF_DAMPING_DIAGONAL : AF_DAMPING_EVEN;
        desc.jacobian = i & 2 ? AF_JACOBIAN_REVERSE : AF_JACOBIAN_AUTO;
        rosenbrock(0);
        if (make()) {
            CHECK(descend(100, NULL) < 60);
            CHECK_CLOSE(at()[0], 1.0, 1e-14);
            CHECK_CLOSE(at()[1], 1.0, 1e-14);
        }
        end();
    }
}

/* y = b0 exp(-b1 t) + b2 exp(-b3 t), t = 0, 1/4, ...; further parameters change nothing. */
static void exponentials(size_t points, size_t n, const double *start, const double *truth) {
    double t[64], y[64];
    size_t i;
    af_expr v = vector(n, start), x, r;
    for (i = 0; i < points; i++) {
        t[i] = 0.25 * (double)i;
        y[i] = truth[0] * exp(-truth[1] * t[i]) + truth[2] * exp(-truth[3] * t[i]);
    }
    x = af_neg(context, array(points, 0, t));
    r = af_mul(context, element(v, 0), af_exp(context, af_mul(context, element(v, 1), x)));
    r = af_add(context, r, af_mul(context, element(v, 2),
                                  af_exp(context, af_mul(context, element(v, 3), x))));
    desc.residuals = af_sub(context, r, array(points, 0, y));
}

TEST(lm_exponentials) {
    static const double truth[4] = {3.0, 1.9, 0.5, 0.1}, start[4] = {1.0, 1.0, 1.0, 0.0};
    int i;
    for (i = 0; i < 4; i++) {
        size_t k;
        begin();
        desc.damping_of = i & 1 ? AF_DAMPING_DIAGONAL : AF_DAMPING_EVEN;
        desc.jacobian = i & 2 ? AF_JACOBIAN_REVERSE : AF_JACOBIAN_AUTO;
        exponentials(60, 4, start, truth);
        if (make()) {
            descend(300, NULL);
            for (k = 0; k < 4; k++) CHECK_CLOSE(at()[k], truth[k], 2e-14);
        }
        end();
    }
}

/* b4 changes nothing, and b0, b5 matter as a sum alone. */
TEST(lm_rank_deficient) {
    static const double truth[4] = {3.0, 1.9, 0.5, 0.1};
    static const double start[6] = {1.0, 1.0, 1.0, 0.0, 42.0, 0.5};
    int i;
    for (i = 0; i < 4; i++) {
        af_expr v, more;
        double t[60];
        size_t k;
        begin();
        desc.damping_of = i & 1 ? AF_DAMPING_DIAGONAL : AF_DAMPING_EVEN;
        desc.jacobian = i & 2 ? AF_JACOBIAN_REVERSE : AF_JACOBIAN_AUTO;
        exponentials(60, 6, start, truth);
        v = af_params_expr(store, 0);
        for (k = 0; k < 60; k++) t[k] = -0.25 * (double)k;
        more = af_exp(context, af_mul(context, element(v, 1), array(60, 0, t)));
        more = af_mul(context, element(v, 5), more);
        desc.residuals = af_add(context, desc.residuals, more);
        if (make()) {
            descend(300, NULL);
            CHECK_CLOSE(at()[0] + at()[5], truth[0], 1e-12);
            CHECK_CLOSE(at()[0] - at()[5], 0.5, 1e-3); /* along which nothing pulls */
            for (k = 1; k < 4; k++) CHECK_CLOSE(at()[k], truth[k], 1e-12);
            CHECK(at()[4] == 42.0);
        }
        end();
    }
}

/* ---- problems of NIST (Statistical Reference Datasets, nonlinear regression) ---- */

static const double misra_x[14] = {77.6,  114.9, 141.1, 190.8, 239.9, 289.0, 332.8,
                                   378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0};
static const double misra_y[14] = {10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02,
                                   44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78};

static const double thurber_x[37] = {
    -3.067, -2.981, -2.921, -2.912, -2.840, -2.797, -2.702, -2.699, -2.633, -2.481,
    -2.363, -2.322, -1.501, -1.460, -1.274, -1.212, -1.100, -1.046, -0.915, -0.714,
    -0.566, -0.545, -0.400, -0.309, -0.109, -0.103, 0.010,  0.119,  0.377,  0.790,
    0.963,  1.006,  1.115,  1.572,  1.841,  2.047,  2.200};
static const double thurber_y[37] = {
    80.574,   84.248,   87.264,   87.195,   89.076,   89.608,   89.868,   90.101,
    92.405,   95.854,   100.696,  101.060,  401.672,  390.724,  567.534,  635.316,
    733.054,  759.087,  894.206,  990.785,  1090.109, 1080.914, 1122.643, 1178.351,
    1260.531, 1273.514, 1288.339, 1327.543, 1353.863, 1414.509, 1425.208, 1421.384,
    1442.962, 1464.350, 1468.705, 1447.894, 1457.628};

/* b0 (1 - exp(-b1 x)) - y. */
static void misra(const double *start) {
    af_expr v = vector(2, start), x = array(14, 0, misra_x), y = array(14, 0, misra_y);
    x = af_neg(context, af_expm1(context, af_neg(context, af_mul(context, element(v, 1), x))));
    desc.residuals = af_sub(context, af_mul(context, element(v, 0), x), y);
}

/* (b0 + b1 x + b2 x^2 + b3 x^3) / (1 + b4 x + b5 x^2 + b6 x^3) - y. */
static void thurber(const double *start) {
    af_expr v = vector(7, start), x = array(37, 0, thurber_x), y = array(37, 0, thurber_y);
    af_expr up = element(v, 3), down = element(v, 6);
    int k;
    for (k = 2; k >= 0; k--) {
        up = af_add(context, af_mul(context, up, x), element(v, (size_t)k));
        down = af_mul(context, down, x);
        down = k ? af_add(context, down, element(v, (size_t)k + 3)) : af_offset(context, down, 1.0);
    }
    desc.residuals = af_sub(context, af_div(context, up, down), y);
}

static void check_certified(size_t n, const double *certified, double squares) {
    double f = NAN;
    size_t i;
    if (!make()) return;
    descend(1000, NULL);
    for (i = 0; i < n; i++) CHECK_CLOSE(at()[i] / certified[i], 1.0, 1e-10);
    CHECK(af_minimiser_loss(minimiser, NULL, &f) == AF_OK);
    CHECK_CLOSE(2.0 * f / squares, 1.0, 1e-10); /* all the digits that are given */
}

TEST(lm_certified_values) {
    static const double misra_start[2][2] = {{500, 0.0001}, {250, 0.0005}};
    static const double misra_certified[2] = {2.3894212918e+02, 5.5015643181e-04};
    static const double thurber_start[2][7] = {{1000, 1000, 400, 40, 0.7, 0.3, 0.03},
                                               {1300, 1500, 500, 75, 1.0, 0.4, 0.05}};
    static const double thurber_certified[7] = {1.2881396800e+03, 1.4910792535e+03,
                                                5.8323836877e+02, 7.5416644291e+01,
                                                9.6629502864e-01, 3.9797285797e-01,
                                                4.9727297349e-02};
    int i;
    for (i = 0; i < 8; i++) {
        begin();
        desc.damping_of = AF_DAMPING_DIAGONAL; /* units differ by a factor of a million */
        desc.jacobian = i & 2 ? AF_JACOBIAN_REVERSE : AF_JACOBIAN_AUTO;
        if (i & 4) {
            thurber(thurber_start[i & 1]);
            check_certified(7, thurber_certified, 5.6427082397e+03);
        } else {
            misra(misra_start[i & 1]);
            check_certified(2, misra_certified, 1.2455138894e-01);
        }
        end();
    }
}

/* ---- where F is not finite ---- */

/* log(b) + 2: the full step from 5 ends where there is no logarithm. */
TEST(not_finite_on_the_way) {
    int method;
    for (method = AF_LEVENBERG_MARQUARDT; method <= AF_LBFGS; method++) {
        static const double start[1] = {5.0};
        begin();
        desc.method = (af_method)method;
        desc.damping = 1e-12;
        desc.residuals = af_offset(context, af_log(context, vector(1, start)), 2.0);
        if (make()) {
            descend(100, NULL);
            CHECK_CLOSE(at()[0], exp(-2.0), 1e-15);
        }
        end();
    }
}

static void check_not_finite(const double bad[2], const double good[2], double expected) {
    af_minimise_report r = AF__ZERO, same = AF__ZERO;
    int again;
    if (!make()) return;
    r.loss = same.loss = 77.0;
    for (again = 0; again < 2; again++) {
        memcpy(at(), bad, 2 * sizeof *bad);
        FAILS(af_minimiser_step(minimiser, NULL, &r), AF_ERROR_NONFINITE, "not finite");
        CHECK(memcmp(at(), bad, 2 * sizeof *bad) == 0 && memcmp(&r, &same, sizeof r) == 0);
    }
    memcpy(at(), good, 2 * sizeof *good); /* and now without a restart */
    descend(200, NULL);
    CHECK_CLOSE(at()[0], expected, 1e-7);
}

TEST(not_finite_at_the_start) {
    static const double negative[2] = {-1.0, 0.5}, zero[2] = {0.0, 0.5}, good[2] = {2.0, 0.5};
    static const double huge[2] = {2.0, 1e200};
    int i;
    for (i = 0; i < 6; i++) {
        af_expr v, r[2];
        begin();
        desc.method = i < 3 ? AF_LEVENBERG_MARQUARDT : AF_LBFGS;
        v = vector(2, good);
        r[0] = i % 3 == 0 ? af_log(context, v) : af_sqrt(context, v); /* at 0 F alone is finite */
        r[0] = af_offset(context, af_slice(context, r[0], 0, 0, 1), -1.0);
        r[1] = af_slice(context, v, 0, 1, 1);
        desc.residuals = af_concat(context, 0, 2, r);
        if (i % 3 == 0) check_not_finite(negative, good, exp(1.0));
        else check_not_finite(i % 3 == 1 ? zero : huge, good, 1.0);
        end();
    }
}

/* F = sum of 1e160 b: finite, but the square of its gradient is not. */
TEST(lbfgs_gradient_too_large) {
    static const double start[2] = {1.0, 2.0};
    begin();
    desc.method = AF_LBFGS;
    desc.loss = af_scale(context, af_sum(context, vector(2, start)), 1e160);
    if (make()) {
        FAILS(af_minimiser_step(minimiser, NULL, NULL), AF_ERROR_NONFINITE, "not finite");
        CHECK(at()[0] == 1.0 && at()[1] == 2.0);
    }
    end();
}

/* ---- both Jacobians ---- */

/* Views of each rank, one of which stays unused; or a single view that is the vector itself. */
static size_t add_views(int single) {
    static const size_t dims[3] = {2, 3, 4};
    size_t n = 14;
    af_status s = AF_OK;
    if (single) return vector(n, NULL).id ? n : 0;
    s = af_params_add(store, "scalar", 0, NULL, AF_INIT_NORMAL, 1.0, NULL);
    if (s == AF_OK) s = af_params_add(store, "row", 1, dims + 2, AF_INIT_NORMAL, 1.0, NULL);
    if (s == AF_OK) s = af_params_add(store, "unused", 1, dims, AF_INIT_NORMAL, 1.0, NULL);
    if (s == AF_OK) s = af_params_add(store, "matrix", 2, dims + 1, AF_INIT_NORMAL, 0.5, NULL);
    if (s == AF_OK) s = af_params_add(store, "block", 3, dims, AF_INIT_NORMAL, 0.5, NULL);
    CHECK(s == AF_OK);
    return af_params_size(store);
}

/* (2,3,4) of all views that are used. */
static af_expr mixture(af_expr x) {
    af_context *c = context;
    af_expr scalar = af_params_expr(store, 0), row = af_params_expr(store, 1);
    af_expr matrix = af_params_expr(store, 3), block = af_params_expr(store, 4), product;
    product = af_matmul(c, matrix, af_transpose(c, af_tanh(c, block)));   /* (2,3,3) */
    product = af_matmul(c, product, af_sin(c, af_mul(c, matrix, scalar))); /* (2,3,4) */
    product = af_add(c, product, af_div(c, block, af_offset(c, af_square(c, row), 1.0)));
    return af_mul(c, product, af_exp(c, af_mul(c, scalar, x)));
}

enum { SHAPES = 6, ALL = 43 /* parameters in all views */ };

static af_expr residual_of_shape(int shape, af_expr x) {
    static const size_t turned[3] = {2, 0, 1};
    af_context *c = context;
    size_t n = 24;
    af_expr part[2], all;
    if (shape == 5) {
        all = af_params_expr(store, 0);
        return af_mul(c, af_sin(c, af_slice(c, all, 0, 1, 13)), af_slice(c, all, 0, 0, 13));
    }
    part[0] = mixture(x);
    if (shape == 0) return part[0];
    if (shape == 1) return af_sum(c, af_square(c, part[0]));
    if (shape == 2) return af_slice(c, af_permute(c, part[0], turned), 0, 1, 2);
    all = af_params_input(store);
    if (shape == 3) { /* a penalty on all parameters, the unused ones too */
        part[0] = af_reshape(c, part[0], 1, &n);
        part[1] = af_scale(c, all, 0.3);
        return af_concat(c, 0, 2, part);
    }
    return af_mul(c, part[0], af_sum(c, af_square(c, all)));
}

/* Residuals at the parameters as they are. */
static void run_residuals(const af_func *f, af_workspace *w, const double *x, double *out) {
    const void *in[2];
    void *to[1];
    in[0] = at();
    in[1] = x;
    to[0] = out;
    CHECK(af_run(f, w, in, to) == AF_OK);
}

/* J (P,n) by central differences, error some 1e-9. */
static void jacobian_by_differences(af_expr x, const double *data, size_t n, double *r, double *j) {
    af_func_desc d = AF__ZERO;
    af_func *f = NULL;
    af_workspace *w = NULL;
    af_expr in[2];
    double *high = test_array(n), *low = test_array(n), h = 1e-5;
    size_t i, k, p = af_params_size(store);
    in[0] = af_params_input(store);
    in[1] = x;
    d.inputs = in;
    d.input_count = 2;
    d.outputs = &desc.residuals;
    d.output_count = 1;
    CHECK(af_compile(context, &d, &f) == AF_OK && af_workspace_create(f, 1, &w) == AF_OK);
    for (i = 0; w && i < p; i++) {
        double kept = at()[i];
        at()[i] = kept + h;
        run_residuals(f, w, data, high);
        at()[i] = kept - h;
        run_residuals(f, w, data, low);
        at()[i] = kept;
        for (k = 0; k < n; k++) j[i * n + k] = (high[k] - low[k]) / (2.0 * h);
    }
    if (w) run_residuals(f, w, data, r);
    af_workspace_destroy(w);
    af_func_destroy(f);
    free(high);
    free(low);
}

static double largest_of(size_t n, const double *v) {
    double most = 0.0;
    size_t i;
    for (i = 0; i < n; i++) most = fmax(most, fabs(v[i]));
    return most;
}

/* J J^T, then J r. */
static double *equations_by_differences(af_expr x, const double *data) {
    size_t n = af_size(context, desc.residuals), p = af_params_size(store), a, b, k;
    double *j = test_array(p * n), *r = test_array(n), *e = test_array(p * p + p);
    jacobian_by_differences(x, data, n, r, j);
    for (a = 0; a < p; a++)
        for (b = 0; b <= p; b++) {
            double sum = 0.0;
            for (k = 0; k < n; k++) sum += j[a * n + k] * (b < p ? j[b * n + k] : r[k]);
            e[b < p ? a * p + b : p * p + a] = sum;
        }
    free(j);
    free(r);
    return e;
}

static void check_jacobians(int shape) {
    double x[1] = {0.4}, *expected, *forward, scale, worst = 0.0, rough = 0.0, loss[2];
    const void *inputs[1];
    af_expr in = af_input(context, "x", 0, NULL);
    size_t p = add_views(shape == 5), total = p * p + p, i, k;
    inputs[0] = x;
    desc.inputs = &in;
    desc.input_count = 1;
    desc.residuals = residual_of_shape(shape, in);
    expected = equations_by_differences(in, x);
    forward = test_array(total);
    for (k = 0; k < 2; k++) {
        desc.jacobian = k ? AF_JACOBIAN_REVERSE : AF_JACOBIAN_FORWARD;
        if (!make()) break;
        CHECK(af__minimiser_equations(minimiser, inputs, &loss[k]) == AF_OK);
        if (k == 0) memcpy(forward, minimiser->equations, total * sizeof *forward);
    }
    scale = largest_of(total, forward);
    for (i = 0; k == 2 && i < total; i++) {
        worst = fmax(worst, fabs(minimiser->equations[i] - forward[i]));
        rough = fmax(rough, fabs(expected[i] - forward[i]));
    }
    CHECK_CLOSE(worst / scale, 0.0, 1e-14);
    CHECK_CLOSE(rough / scale, 0.0, 1e-8);
    CHECK(loss[0] == loss[1] && scale > 0.1);
    free(expected);
    free(forward);
}

TEST(jacobians_agree) {
    int shape;
    for (shape = 0; shape < SHAPES; shape++) {
        begin();
        check_jacobians(shape);
        end();
    }
}

/* Random graphs: differentiation itself is tested elsewhere, here that no path is left out. */
static af_expr random_residuals(uint64_t stream, af_expr x) {
    af_context *c = context;
    af_expr pool[12];
    size_t count = 6, i;
    for (i = 0; i < 5; i++) pool[i] = i == 2 ? x : af_params_expr(store, i);
    pool[3] = af_sum_axis(c, pool[3], 0); /* (1,4) */
    pool[5] = element(af_params_input(store), 3 + (size_t)stream % 20);
    while (count < 12) {
        double u = af_random_uniform(6, stream, count);
        af_expr a = pool[(size_t)(u * 1000) % count], b = pool[(size_t)(u * 1e6) % count];
        switch ((int)(u * 1e9) % 5) {
        case 0: pool[count++] = af_add(c, a, af_sin(c, b)); break;
        case 1: pool[count++] = af_mul(c, a, af_tanh(c, b)); break;
        case 2: pool[count++] = af_div(c, a, af_offset(c, af_square(c, b), 2.0)); break;
        case 3: pool[count++] = af_where(c, af_less(c, a, b), af_scale(c, a, 2.0), b); break;
        default: pool[count++] = af_sub(c, af_stop(c, a), b);
        }
    }
    return af_add(c, pool[11], af_mul(c, pool[10], pool[stream % 6]));
}

TEST(jacobians_agree_for_random_expressions) {
    uint64_t stream;
    for (stream = 0; stream < 12; stream++) {
        double x[1] = {0.4}, *forward = test_array(ALL * ALL + ALL), worst = 0.0, f[2] = {0, 0};
        const void *inputs[1];
        af_expr in;
        size_t p, i, k;
        begin();
        p = add_views(0);
        in = af_input(context, "x", 0, NULL);
        inputs[0] = x;
        desc.inputs = &in;
        desc.input_count = 1;
        desc.residuals = random_residuals(stream, in);
        for (k = 0; k < 2 && p == ALL; k++) {
            desc.jacobian = k ? AF_JACOBIAN_REVERSE : AF_JACOBIAN_FORWARD;
            if (!make()) break;
            CHECK(af__minimiser_equations(minimiser, inputs, &f[k]) == AF_OK);
            if (k == 0) memcpy(forward, minimiser->equations, (p * p + p) * sizeof *forward);
        }
        CHECK(k == 2 && f[0] == f[1]);
        for (i = 0; k == 2 && i < ALL * ALL + ALL; i++)
            worst = fmax(worst, fabs(minimiser->equations[i] - forward[i]));
        CHECK_CLOSE(worst / fmax(1.0, largest_of(ALL * ALL + ALL, forward)), 0.0, 1e-13);
        free(forward);
        end();
    }
}

/* Tangents need an axis more than parameters have. */
TEST(jacobian_of_six_axes) {
    static const size_t dims[6] = {1, 2, 1, 2, 1, 1}, square[2] = {2, 2};
    size_t i;
    begin();
    CHECK(af_params_add(store, "deep", 6, dims, AF_INIT_NORMAL, 1.0, NULL) == AF_OK);
    CHECK(af_params_add(store, "flat", 1, dims, AF_INIT_NORMAL, 1.0, NULL) == AF_OK);
    desc.residuals = af_reshape(context, af_params_expr(store, 0), 2, square);
    desc.residuals = af_offset(context, desc.residuals, 3.0);
    desc.jacobian = AF_JACOBIAN_FORWARD;
    FAILS(af_minimiser_create(context, &desc, &minimiser), AF_ERROR_SHAPE, "'deep' have 6 axes");
    CHECK(minimiser == NULL);
    desc.jacobian = AF_JACOBIAN_REVERSE;
    if (make()) descend(50, NULL);
    for (i = 0; i < 4; i++) CHECK_CLOSE(at()[i], -3.0, 1e-14);
    end();
}

/* ---- pieces ---- */

enum { SAMPLES = 48 };

static double cut_x[SAMPLES * 2], cut_turned[2 * SAMPLES], cut_y[SAMPLES], cut_factor[1];
static const void *const cut_data[4] = {cut_x, cut_turned, cut_y, cut_factor};

/* r = factor tanh(x w) + sin(v turned) - y, for the samples of one piece. */
static void cut_problem(size_t pieces) {
    static const int axes[4] = {0, 1, 0, -1};
    af_context *c = context;
    size_t d[2] = {SAMPLES / pieces, 2}, back[2] = {2, SAMPLES / pieces}, i;
    static af_expr in[4];
    af_expr w = af_params_expr(store, 0), v = af_params_expr(store, 1), r;
    for (i = 0; i < SAMPLES * 2; i++) cut_x[i] = normal(20, i);
    for (i = 0; i < SAMPLES * 2; i++) cut_turned[i] = normal(21, i);
    for (i = 0; i < SAMPLES; i++) cut_y[i] = normal(22, i);
    cut_factor[0] = 1.3;
    in[0] = af_input(c, "x", 2, d);
    in[1] = af_input(c, "turned", 2, back);
    in[2] = af_input(c, "y", 1, d);
    in[3] = af_input(c, "factor", 0, NULL);
    r = af_reshape(c, af_matmul(c, in[0], w), 1, d);
    r = af_mul(c, in[3], af_tanh(c, r));
    r = af_add(c, r, af_reshape(c, af_sin(c, af_matmul(c, v, in[1])), 1, d));
    desc.residuals = af_sub(c, r, in[2]);
    desc.inputs = in;
    desc.input_count = 4;
    desc.input_axes = axes;
    desc.pieces = pieces;
}

static void begin_cut(void) {
    static const size_t column[2] = {2, 1}, row[2] = {1, 2};
    begin();
    CHECK(af_params_add(store, "w", 2, column, AF_INIT_NORMAL, 1.0, NULL) == AF_OK);
    CHECK(af_params_add(store, "v", 2, row, AF_INIT_NORMAL, 1.0, NULL) == AF_OK);
}

typedef struct outcome {
    double f, equations[20], after[4];
    af_minimise_report report;
} outcome;

/* F, the derivatives and where three steps lead. */
static outcome run_cut(size_t pieces, int threads) {
    outcome o;
    double start[4];
    int k;
    memset(&o, 0, sizeof o);
    memcpy(start, at(), sizeof start);
    af_context_set_threads(context, threads);
    cut_problem(pieces);
    if (!make()) return o;
    if (desc.method == AF_LBFGS) {
        CHECK(af__batch_run(&minimiser->slope, cut_data) == AF_OK);
        memcpy(o.equations, minimiser->slope.total, 5 * sizeof(double));
        CHECK(af_minimiser_loss(minimiser, cut_data, &o.f) == AF_OK);
        CHECK_CLOSE(o.f, o.equations[4], 1e-15);
    } else {
        CHECK(af__minimiser_equations(minimiser, cut_data, &o.f) == AF_OK);
        memcpy(o.equations, minimiser->equations, sizeof o.equations);
    }
    for (k = 0; k < 3; k++)
        CHECK(af_minimiser_step(minimiser, cut_data, &o.report) == AF_OK && !o.report.converged);
    memcpy(o.after, at(), sizeof o.after);
    memcpy(at(), start, sizeof start);
    return o;
}

static void check_cut(size_t pieces) {
    outcome whole = run_cut(1, 1), cut = run_cut(pieces, 1);
    size_t i;
    int threads;
    CHECK_CLOSE(cut.f, whole.f, 1e-13);
    for (i = 0; i < 20; i++) CHECK_CLOSE(cut.equations[i], whole.equations[i], 1e-13);
    for (i = 0; i < 4; i++) CHECK_CLOSE(cut.after[i], whole.after[i], 1e-10);
    CHECK_CLOSE(cut.report.loss, whole.report.loss, 1e-12);
    for (threads = 2; threads <= 3; threads++) {
        outcome same = run_cut(pieces, threads);
        CHECK(memcmp(&same, &cut, sizeof same) == 0);
    }
}

TEST(pieces) {
    static const size_t counts[6] = {2, 3, 4, 12, 16, 24};
    size_t i, k;
    for (k = 0; k < 3; k++)
        for (i = 0; i < AF__COUNT(counts); i++) {
            begin_cut();
            desc.method = k == 2 ? AF_LBFGS : AF_LEVENBERG_MARQUARDT;
            desc.robust = k ? AF_ROBUST_ROOT : AF_ROBUST_NONE;
            desc.robust_group = k && SAMPLES / counts[i] % 2 == 0 ? 2 : 1;
            desc.robust_scale = 0.8;
            check_cut(counts[i]);
            end();
        }
}

/* One piece in reverse has axes too, and they say nothing. */
TEST(pieces_in_reverse) {
    outcome forward, reverse;
    size_t i;
    begin_cut();
    desc.jacobian = AF_JACOBIAN_FORWARD;
    forward = run_cut(1, 1);
    desc.jacobian = AF_JACOBIAN_REVERSE;
    reverse = run_cut(1, 1);
    for (i = 0; i < 20; i++) CHECK_CLOSE(reverse.equations[i], forward.equations[i], 1e-13);
    for (i = 0; i < 4; i++) CHECK_CLOSE(reverse.after[i], forward.after[i], 1e-12);
    CHECK(reverse.report.evaluations == forward.report.evaluations);
    end();
}

TEST(pieces_refuse) {
    int axes[4] = {0, 2, 0, -1}; /* `turned` has no axis 2 */
    begin_cut();
    cut_problem(2);
    desc.input_axes = axes;
    FAILS(af_minimiser_create(context, &desc, &minimiser), AF_ERROR_ARGUMENT, "input 1 has 2 axes");
    CHECK(minimiser == NULL);
    axes[1] = -2;
    FAILS(af_minimiser_create(context, &desc, &minimiser), AF_ERROR_ARGUMENT, "axis -2");
    desc.input_axes = NULL; /* axis 0 for all */
    if (make()) CHECK(minimiser->value.in[1].outer == 1);
    end();
}

/* ---- robust weights ---- */

static double rho_of(af_robust kind, double x) {
    switch (kind) {
    case AF_ROBUST_HUBER: return x < 1.0 ? x : 2.0 * sqrt(x) - 1.0;
    case AF_ROBUST_ROOT: return 2.0 * (sqrt(1.0 + x) - 1.0);
    case AF_ROBUST_CAUCHY: return log(1.0 + x);
    default: return x;
    }
}

static double weight_of(af_robust kind, double x) {
    switch (kind) {
    case AF_ROBUST_HUBER: return x < 1.0 ? 1.0 : 1.0 / sqrt(x);
    case AF_ROBUST_ROOT: return 1.0 / sqrt(1.0 + x);
    case AF_ROBUST_CAUCHY: return 1.0 / (1.0 + x);
    default: return 1.0;
    }
}

enum { MEMBERS = 3, GROUPS = 5, TOGETHER = MEMBERS * GROUPS };

/* r = b in groups, of which some lie within the scale: F and the equations are known. */
static void check_weights(void) {
    double values[TOGETHER], x[GROUPS] = {0}, f = 0.0, scale = 0.7, got = NAN, high, low, h = 1e-5;
    size_t i, k, n = TOGETHER;
    for (i = 0; i < n; i++) values[i] = 0.3 * normal(30, i) * (double)(1 + i / MEMBERS);
    for (i = 0; i < n; i++) x[i / MEMBERS] += values[i] * values[i] / (scale * scale);
    for (k = 0; k < GROUPS; k++) f += 0.5 * scale * scale * rho_of(desc.robust, x[k]);
    CHECK(x[0] < 1.0 && x[GROUPS - 1] > 1.0);
    desc.residuals = vector(n, values);
    desc.robust_scale = scale;
    desc.robust_group = MEMBERS;
    if (!make()) return;
    CHECK(af__minimiser_equations(minimiser, NULL, &got) == AF_OK);
    CHECK_CLOSE(got, f, 1e-14);
    for (i = 0; i < n; i++) {
        double w = weight_of(desc.robust, x[i / MEMBERS]);
        for (k = 0; k < n; k++)
            CHECK_CLOSE(minimiser->equations[i * n + k], i == k ? w : 0.0, 1e-14);
        CHECK_CLOSE(minimiser->equations[n * n + i], w * values[i], 1e-14);
        at()[i] = values[i] + h;
        CHECK(af_minimiser_loss(minimiser, NULL, &high) == AF_OK);
        at()[i] = values[i] - h;
        CHECK(af_minimiser_loss(minimiser, NULL, &low) == AF_OK);
        at()[i] = values[i];
        CHECK_CLOSE((high - low) / (2.0 * h), w * values[i], 1e-8);
    }
    desc.method = AF_LBFGS;
    if (!make()) return;
    CHECK(af__batch_run(&minimiser->slope, NULL) == AF_OK);
    for (i = 0; i < n; i++)
        CHECK_CLOSE(minimiser->slope.total[i],
                    weight_of(desc.robust, x[i / MEMBERS]) * values[i], 1e-14);
    CHECK_CLOSE(minimiser->slope.total[n], f, 1e-14);
}

TEST(robust_weights) {
    int kind, jacobian;
    for (kind = AF_ROBUST_NONE; kind <= AF_ROBUST_CAUCHY; kind++)
        for (jacobian = AF_JACOBIAN_FORWARD; jacobian <= AF_JACOBIAN_REVERSE; jacobian++) {
            begin();
            desc.robust = (af_robust)kind;
            desc.jacobian = (af_jacobian)jacobian;
            check_weights();
            end();
        }
}

/* A residual that is not a number must not hide behind a weight. */
TEST(robust_not_finite) {
    int kind;
    for (kind = AF_ROBUST_NONE; kind <= AF_ROBUST_CAUCHY; kind++) {
        static const double start[2] = {-1.0, 1.0};
        double f = 0.0;
        begin();
        desc.robust = (af_robust)kind;
        desc.residuals = af_log(context, vector(2, start));
        if (make()) {
            CHECK(af_minimiser_loss(minimiser, NULL, &f) == AF_OK && f != f);
            FAILS(af_minimiser_step(minimiser, NULL, NULL), AF_ERROR_NONFINITE, "not finite");
        }
        end();
    }
}

/* y = 1.5 x - 0.4, and every fifth point far above it. */
TEST(robust_line) {
    int kind;
    for (kind = AF_ROBUST_NONE; kind <= AF_ROBUST_CAUCHY; kind++) {
        double x[50], y[50], off;
        af_expr v, r;
        size_t i;
        begin();
        for (i = 0; i < 50; i++) {
            x[i] = 0.1 * (double)i;
            y[i] = 1.5 * x[i] - 0.4 + 0.01 * normal(31, i) + (i % 5 == 3 ? 5.0 + x[i] : 0.0);
        }
        v = vector(2, NULL);
        r = af_add(context, af_mul(context, element(v, 0), array(50, 0, x)), element(v, 1));
        desc.residuals = af_sub(context, r, array(50, 0, y));
        desc.robust = (af_robust)kind;
        desc.robust_scale = 0.03;
        if (make()) {
            descend(500, NULL);
            off = fmax(fabs(at()[0] - 1.5), fabs(at()[1] + 0.4));
            CHECK(kind == AF_ROBUST_NONE ? off > 0.5 : off < 0.02);
        }
        end();
    }
}

/* ---- L-BFGS ---- */

TEST(lbfgs_rosenbrock) {
    int as_loss;
    for (as_loss = 0; as_loss < 2; as_loss++) {
        begin();
        desc.method = AF_LBFGS;
        desc.memory = as_loss ? 5 : 0;
        rosenbrock(as_loss);
        if (make()) {
            CHECK(minimiser->lbfgs.memory == (as_loss ? 5 : 20));
            descend(500, NULL);
            CHECK_CLOSE(at()[0], 1.0, 1e-9);
            CHECK_CLOSE(at()[1], 1.0, 1e-9);
        }
        end();
    }
}

/* 400 residuals u + sin(u) / 10 - y of u = A b, 200 parameters: both methods find one minimum. */
TEST(methods_agree_for_200_parameters) {
    enum { N = 400, P = 200 };
    double *a = test_array(N * P), *y = test_array(N), *zero = test_array(P), found[P], f[2];
    size_t i, flat = N, column[2] = {P, 1};
    af_expr u;
    begin();
    for (i = 0; i < N * P; i++) a[i] = normal(40, i) / sqrt((double)N);
    for (i = 0; i < N; i++) y[i] = normal(41, i);
    u = af_reshape(context, vector(P, zero), 2, column);
    u = af_reshape(context, af_matmul(context, array(N, P, a), u), 1, &flat);
    u = af_add(context, u, af_scale(context, af_sin(context, u), 0.1));
    desc.residuals = af_sub(context, u, array(N, 0, y));
    if (make()) CHECK(descend(50, NULL) < 20);
    CHECK(af_minimiser_loss(minimiser, NULL, &f[0]) == AF_OK);
    memcpy(found, at(), sizeof found);
    memset(at(), 0, sizeof found);
    desc.method = AF_LBFGS;
    if (make()) descend(500, NULL);
    CHECK(af_minimiser_loss(minimiser, NULL, &f[1]) == AF_OK);
    CHECK_CLOSE(f[1] / f[0], 1.0, 1e-13);
    for (i = 0; i < P; i++) CHECK_CLOSE(at()[i], found[i], 1e-7);
    CHECK(largest_of(P, found) > 0.1);
    end();
    free(a);
    free(y);
    free(zero);
}

/* r = b - target in three parameters, a bent one behind them. */
static void target_problem(af_expr *input) {
    static const double start[3] = {1.0, -2.0, 0.5};
    size_t three = 3;
    af_expr v = vector(3, start), r;
    *input = af_input(context, "target", 1, &three);
    r = af_sub(context, v, *input);
    desc.residuals = af_add(context, r, af_power(context, r, 3));
    desc.inputs = input;
    desc.input_count = 1;
}

/* After a restart a minimiser is as new: the same steps to the bit; and with other data it finds
 * their minimum. */
TEST(restart) {
    int method;
    for (method = AF_LEVENBERG_MARQUARDT; method <= AF_LBFGS; method++) {
        double target[3] = {3.0, 4.0, -1.0}, start[3], first[3];
        const void *inputs[1];
        af_expr in;
        size_t i, k;
        begin();
        desc.method = (af_method)method;
        inputs[0] = target;
        target_problem(&in);
        memcpy(start, at(), sizeof start);
        for (k = 0; k < 2 && (k || make()); k++) {
            for (i = 0; i < 4; i++) CHECK(af_minimiser_step(minimiser, inputs, NULL) == AF_OK);
            if (k) CHECK(memcmp(first, at(), sizeof first) == 0);
            memcpy(first, at(), sizeof first);
            memcpy(at(), start, sizeof start);
            af_minimiser_restart(minimiser);
        }
        for (k = 0; k < 3 && minimiser; k++) {
            target[k] += 2.5;
            af_minimiser_restart(minimiser);
            descend(100, inputs);
            for (i = 0; i < 3; i++) CHECK_CLOSE(at()[i], target[i], 1e-7);
        }
        end();
    }
}

/* ---- several machines ---- */

typedef struct machines {
    int calls, fail_at;
} machines;

/* Two machines with the same data. */
static af_status twice(double *values, size_t n, void *user) {
    machines *m = (machines *)user;
    size_t i;
    if (++m->calls == m->fail_at) return AF_ERROR_IO;
    for (i = 0; i < n; i++) values[i] *= 2.0;
    return AF_OK;
}

static void check_machines(void) {
    af_minimise_report one = AF__ZERO, two = AF__ZERO;
    machines count = AF__ZERO;
    double start[2], there[2];
    af_expr both[2];
    int k;
    rosenbrock(0);
    memcpy(start, at(), sizeof start);
    both[0] = both[1] = desc.residuals;
    desc.allreduce = twice;
    desc.allreduce_user = &count;
    if (!make()) return;
    for (k = 0; k < 6; k++) CHECK(af_minimiser_step(minimiser, NULL, &one) == AF_OK);
    memcpy(there, at(), sizeof there);
    memcpy(at(), start, sizeof start);
    CHECK(count.calls > 6);
    desc.allreduce = NULL;
    desc.residuals = af_concat(context, 0, 2, both);
    if (!make()) return;
    for (k = 0; k < 6; k++) CHECK(af_minimiser_step(minimiser, NULL, &two) == AF_OK);
    for (k = 0; k < 2; k++) CHECK_CLOSE(at()[k], there[k], 1e-11);
    CHECK_CLOSE(one.loss, two.loss, 1e-11);
    CHECK_CLOSE(one.before, two.before, 1e-11);
    CHECK_CLOSE(one.gradient, two.gradient, 1e-10);
    CHECK_CLOSE(one.gain, two.gain, 1e-10);
    CHECK(one.evaluations == two.evaluations);
}

TEST(allreduce_as_with_twice_the_data) {
    int i;
    for (i = 0; i < 4; i++) {
        begin();
        desc.method = i == 3 ? AF_LBFGS : AF_LEVENBERG_MARQUARDT;
        desc.jacobian = i == 1 ? AF_JACOBIAN_REVERSE : AF_JACOBIAN_FORWARD;
        desc.robust = i == 2 ? AF_ROBUST_CAUCHY : AF_ROBUST_NONE;
        check_machines();
        end();
    }
}

/* A call that fails ends the step; the parameters stay where the last good step left them. */
TEST(allreduce_fails) {
    int method, fail_at;
    for (method = AF_LEVENBERG_MARQUARDT; method <= AF_LBFGS; method++)
        for (fail_at = 1; fail_at < 12; fail_at++) {
            machines count = AF__ZERO;
            double before[2];
            af_status s = AF_OK;
            size_t k;
            begin();
            desc.method = (af_method)method;
            rosenbrock(0);
            count.fail_at = fail_at;
            desc.allreduce = twice;
            desc.allreduce_user = &count;
            for (k = 0; k < 12 && s == AF_OK && (k || make()); k++) {
                memcpy(before, at(), sizeof before);
                s = af_minimiser_step(minimiser, NULL, NULL);
            }
            CHECK(s == AF_ERROR_IO && count.calls == fail_at);
            CHECK_TEXT(af_error(context), "allreduce");
            CHECK(memcmp(before, at(), sizeof before) == 0);
            af_error_clear(context);
            af_minimiser_restart(minimiser);
            descend(200, NULL);
            CHECK_CLOSE(at()[0], 1.0, 1e-9);
            end();
        }
}

/* ---- the loop ---- */

typedef struct story {
    size_t stages, steps, stop_at, stage_every, last_step;
    double *target, loss;
} story;

/* The target moves now and then. */
static int next_stage(size_t step, void *user) {
    story *s = (story *)user;
    size_t i;
    CHECK(step == s->stages);
    s->stages++;
    if (step == 0 || step % s->stage_every != 0) return 0;
    for (i = 0; i < 3; i++) {
        CHECK_CLOSE(at()[i], s->target[i], 1e-7);
        s->target[i] += 1.0;
    }
    return 1;
}

static int watch(const af_minimise_report *r, void *user) {
    story *s = (story *)user;
    s->steps++;
    CHECK(r->step > s->last_step && r->step <= (s->stages ? s->stages : r->step));
    s->last_step = r->step;
    s->loss = r->loss;
    return s->steps == s->stop_at;
}

TEST(minimise_in_stages) {
    int method;
    for (method = AF_LEVENBERG_MARQUARDT; method <= AF_LBFGS; method++) {
        double target[3] = {3.0, 4.0, -1.0};
        const void *inputs[1];
        af_minimise_desc d = AF__ZERO;
        af_minimise_report r = AF__ZERO;
        story s = AF__ZERO;
        af_expr in;
        size_t i;
        begin();
        desc.method = (af_method)method;
        target_problem(&in);
        inputs[0] = target;
        s.target = target;
        s.stage_every = 60;
        d.steps = 180;
        d.inputs = inputs;
        d.stage = next_stage;
        d.progress = watch;
        d.user = &s;
        if (make()) {
            CHECK(af_minimise(minimiser, &d, &r) == AF_OK);
            CHECK(s.stages == 180 && s.steps < 120); /* converged stages pass */
            CHECK(s.last_step > 120 && r.step == s.last_step && r.converged == 1);
            CHECK(target[0] == 5.0 && r.loss == s.loss);
            for (i = 0; i < 3; i++) CHECK_CLOSE(at()[i], target[i], 1e-7);
        }
        end();
    }
}

/* ---- checkpoints ---- */

/* The first target moves before every seventh step; `calls` counts what is asked. */
typedef struct course {
    double target[3], memory;
    size_t calls, stop_at;
} course;

static int course_stage(size_t step, void *user) {
    course *c = (course *)user;
    CHECK(step == c->calls++);
    if (step % 7 != 0) return 0;
    c->target[0] = 3.0 + (double)step;
    return step > 0;
}

static int course_progress(const af_minimise_report *r, void *user) {
    course *c = (course *)user;
    c->memory += (double)r->step;
    return r->step == c->stop_at;
}

static af_status course_save(af_tensors *to, void *user) {
    return af_tensors_set_number(to, "memory", ((course *)user)->memory);
}

static af_status course_load(const af_tensors *from, void *user) {
    return af_tensors_number(from, "memory", &((course *)user)->memory);
}

/* Runs to step `stop_at` (0: the end) with a new minimiser and new parameters; the parameters and
 * the memory in x, and the report. */
static af_status course_run(const char *path, size_t stop_at, size_t every, double x[4],
                            af_minimise_report *r) {
    af_minimise_desc d = AF__ZERO;
    course c = AF__ZERO;
    const void *inputs[1];
    af_status s = AF_ERROR_MEMORY;
    af_expr in;
    begin();
    target_problem(&in);
    c.target[1] = 4.0;
    c.target[2] = -1.0;
    c.stop_at = stop_at;
    inputs[0] = c.target;
    d.steps = 40;
    d.inputs = inputs;
    d.stage = course_stage;
    d.progress = course_progress;
    d.save = course_save;
    d.load = course_load;
    d.user = &c;
    d.checkpoint = path;
    d.checkpoint_every = every;
    d.resume = 1;
    memset(r, 0, sizeof *r);
    if (make()) s = af_minimise(minimiser, &d, r);
    memcpy(x, at(), 3 * sizeof *x);
    x[3] = c.memory;
    end();
    return s;
}

/* A file of this process. */
static const char *state_file(void) {
    static char path[600];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.400s/af_minimise_%ld_state", folder ? folder : "/tmp",
             (long)getpid());
    return path;
}

TEST(minimise_resumes) {
    const char *path = state_file();
    af_minimise_report whole, part;
    double x[4], y[4];
    size_t k, stopped = 0;
    CHECK(course_run(NULL, 0, 0, x, &whole) == AF_OK && whole.step > 30);
    for (k = 1; k < 36; k++) {
        remove(path);
        stopped += course_run(path, k, 1 + k % 5, y, &part) == AF_STOPPED; /* not in passed steps */
        CHECK(course_run(path, 0, 3, y, &part) == AF_OK);
        CHECK(memcmp(x, y, sizeof x) == 0);
        CHECK(part.step == whole.step && part.loss == whole.loss && part.gain == whole.gain);
        CHECK(part.damping == whole.damping && part.evaluations == whole.evaluations);
        CHECK(course_run(path, 0, 3, y, &part) == AF_OK); /* there is nothing left to do */
        CHECK(memcmp(x, y, sizeof x) == 0 && part.evaluations == whole.evaluations);
    }
    CHECK(stopped > 20);
    remove(path);
}

TEST(minimise_refuses_checkpoints) {
    const char *path = state_file();
    static const double start[2] = {-1.2, 1.0};
    af_minimise_desc d = AF__ZERO;
    af_tensors *other = NULL;
    begin();
    rosenbrock(0);
    d.steps = 5;
    d.checkpoint = path;
    d.resume = 1;
    CHECK(af_tensors_create(context, &other) == AF_OK);
    CHECK(af_tensors_set_text(other, "format", "something else") == AF_OK);
    CHECK(af_tensors_write(other, path) == AF_OK);
    af_tensors_destroy(other);
    if (make()) {
        FAILS(af_minimise(minimiser, &d, NULL), AF_ERROR_FORMAT, "not a checkpoint");
        CHECK(memcmp(start, at(), sizeof start) == 0);
        remove(path);
        CHECK(af_minimise(minimiser, &d, NULL) == AF_OK); /* there is no file: it begins */
        d.checkpoint = "no/such/folder/state";
        FAILS(af_minimise(minimiser, &d, NULL), AF_ERROR_IO, "no/such/folder");
    }
    desc.method = AF_LBFGS;
    if (make()) FAILS(af_minimise(minimiser, &d, NULL), AF_ERROR_ARGUMENT, "L-BFGS");
    end();
    remove(path);
}

TEST(minimise_ends) {
    int method;
    for (method = AF_LEVENBERG_MARQUARDT; method <= AF_LBFGS; method++) {
        static const double start[2] = {-1.2, 1.0};
        af_minimise_desc d = AF__ZERO;
        af_minimise_report r = AF__ZERO;
        story s = AF__ZERO;
        begin();
        desc.method = (af_method)method;
        rosenbrock(0);
        d.progress = watch;
        d.user = &s;
        s.stop_at = 3;
        d.steps = 1000;
        if (make()) {
            CHECK(af_minimise(minimiser, &d, &r) == AF_STOPPED && r.step == 3 && s.steps == 3);
            CHECK(af_error_status(context) == AF_OK);
            d.progress = NULL;
            CHECK(af_minimise(minimiser, &d, &r) == AF_OK); /* goes on */
            CHECK(r.converged == 1 && r.step < 200);
            CHECK_CLOSE(at()[0], 1.0, 1e-9);
            memcpy(at(), start, sizeof start);
            af_minimiser_restart(minimiser);
            d.tolerance = 1.0; /* every decrease is small then */
            CHECK(af_minimise(minimiser, &d, &r) == AF_OK && r.step == 10 && r.converged == 0);
            d.steps = 4;
            CHECK(af_minimise(minimiser, &d, &r) == AF_OK && r.step == 4);
            CHECK(af_minimise(minimiser, &d, NULL) == AF_OK);
        }
        end();
    }
}

/* A loss below zero has decreases of its own size all the same. */
TEST(minimise_tolerance_below_zero) {
    af_minimise_desc d = AF__ZERO;
    af_minimise_report r = AF__ZERO;
    begin();
    desc.method = AF_LBFGS;
    rosenbrock(1);
    desc.loss = af_offset(context, desc.loss, -1000.0);
    d.steps = 1000;
    d.tolerance = 1.0;
    if (make()) CHECK(af_minimise(minimiser, &d, &r) == AF_OK && r.step == 10 && r.loss < -990.0);
    end();
}

/* The report is that of the last good step. */
TEST(minimise_fails) {
    machines count = AF__ZERO;
    af_minimise_desc d = AF__ZERO;
    af_minimise_report r = AF__ZERO;
    story s = AF__ZERO;
    begin();
    rosenbrock(0);
    desc.allreduce = twice;
    desc.allreduce_user = &count;
    count.fail_at = 20;
    d.steps = 100;
    d.progress = watch;
    d.user = &s;
    if (make()) FAILS(af_minimise(minimiser, &d, &r), AF_ERROR_IO, "allreduce");
    CHECK(s.steps > 2 && r.step == s.steps && r.loss == s.loss);
    d.steps = 0;
    FAILS(af_minimise(minimiser, &d, &r), AF_ERROR_ARGUMENT, "no steps");
    d.steps = 1;
    d.end_canary = 1;
    FAILS(af_minimise(minimiser, &d, &r), AF_ERROR_ARGUMENT, "not initialised");
    d.end_canary = 0;
    d.start_canary = 1;
    FAILS(af_minimise(minimiser, &d, &r), AF_ERROR_ARGUMENT, "not initialised");
    end();
}

/* ---- damping ---- */

/* Ten steps of the fit of exponentials with the decay b1 in another unit; where they lead. */
static void run_in_unit(af_damping damping, double unit, double out[4]) {
    static const double truth[4] = {3.0, 1.9, 0.5, 0.1};
    double start[4] = {1.0, 1.0, 1.0, 0.0}, t[40], y[40];
    af_expr v, x, r;
    size_t i;
    begin();
    desc.damping_of = damping;
    start[1] /= unit;
    v = vector(4, start);
    for (i = 0; i < 40; i++) {
        t[i] = -0.25 * (double)i;
        y[i] = truth[0] * exp(truth[1] * t[i]) + truth[2] * exp(truth[3] * t[i]);
    }
    x = af_scale(context, af_mul(context, element(v, 1), array(40, 0, t)), unit);
    r = af_mul(context, element(v, 0), af_exp(context, x));
    x = af_exp(context, af_mul(context, element(v, 3), array(40, 0, t)));
    r = af_add(context, r, af_mul(context, element(v, 2), x));
    desc.residuals = af_sub(context, r, array(40, 0, y));
    for (i = 0; i < 5 && (i || make()); i++)
        CHECK(af_minimiser_step(minimiser, NULL, NULL) == AF_OK);
    memcpy(out, at(), 4 * sizeof *out);
    out[1] *= unit;
    end();
}

TEST(damping_and_units) {
    double plain[4], scaled[4], worst;
    size_t i;
    run_in_unit(AF_DAMPING_DIAGONAL, 1.0, plain);
    run_in_unit(AF_DAMPING_DIAGONAL, 300.0, scaled);
    for (i = 0; i < 4; i++) CHECK_CLOSE(scaled[i], plain[i], 1e-11);
    run_in_unit(AF_DAMPING_EVEN, 1.0, plain);
    run_in_unit(AF_DAMPING_EVEN, 300.0, scaled);
    for (worst = 0.0, i = 0; i < 4; i++) worst = fmax(worst, fabs(scaled[i] - plain[i]));
    CHECK(worst > 1e-3);
}

/* One parameter, r = b^2 - 1 from b = 2 by hand: J = 4, r = 3, J r = 12, step = -12 / 16 (1 + d);
 * a damping of 1 halves it. */
TEST(damping_by_hand) {
    static const double start[1] = {2.0};
    int i;
    for (i = 0; i < 2; i++) {
        af_minimise_report r = AF__ZERO;
        double b, f, foretold, gain, factor;
        begin();
        desc.damping_of = i ? AF_DAMPING_DIAGONAL : AF_DAMPING_EVEN;
        desc.damping = 1.0;
        desc.residuals = af_offset(context, af_square(context, vector(1, start)), -1.0);
        if (make()) {
            CHECK(af_minimiser_step(minimiser, NULL, &r) == AF_OK);
            b = 2.0 - 0.375;
            f = 0.5 * (b * b - 1.0) * (b * b - 1.0);
            foretold = 0.375 * 12.0 - 0.5 * 0.375 * 0.375 * 16.0;
            gain = (4.5 - f) / foretold;
            factor = 1.0 - pow(2.0 * gain - 1.0, 3.0);
            CHECK_CLOSE(at()[0], b, 1e-15);
            CHECK(r.before == 4.5 && r.gradient == 12.0 && r.converged == 0);
            CHECK_CLOSE(r.loss, f, 1e-15);
            CHECK_CLOSE(r.gain, gain, 1e-14);
            CHECK_CLOSE(r.damping, factor > 0.1 ? factor : 0.1, 1e-14);
        }
        end();
    }
}

/* ---- what is refused ---- */

static void refuse(af_status status, const char *words) {
    minimiser = (af_minimiser *)&memory; /* anything but NULL */
    FAILS(af_minimiser_create(context, &desc, &minimiser), status, words);
    CHECK(minimiser == NULL);
    minimiser = NULL;
}

static void refuse_number(double *number) {
    static const double values[4] = {-1.0, NAN, INFINITY, -INFINITY};
    int i;
    for (i = 0; i < 4; i++) {
        *number = values[i];
        refuse(AF_ERROR_ARGUMENT, "not possible");
    }
    *number = 0.0;
}

TEST(minimiser_refuses) {
    static const double start[6] = {1, 2, 3, 4, 5, 6};
    af_params *empty = NULL;
    af_expr v;
    int kind;
    begin();
    desc.residuals = v = vector(6, start);
    desc.start_canary = 1;
    refuse(AF_ERROR_ARGUMENT, "not initialised to zero");
    desc.start_canary = 0;
    desc.end_canary = 1;
    refuse(AF_ERROR_ARGUMENT, "not initialised to zero");
    desc.end_canary = 0;
    desc.params = NULL;
    refuse(AF_ERROR_ARGUMENT, "no parameters");
    CHECK(af_params_create(context, 1, &empty) == AF_OK);
    desc.params = empty;
    refuse(AF_ERROR_ARGUMENT, "no parameters");
    af_params_destroy(empty);
    desc.params = store;
    desc.loss = af_sum(context, v);
    refuse(AF_ERROR_ARGUMENT, "either residuals or a loss");
    desc.residuals = af__none;
    refuse(AF_ERROR_ARGUMENT, "needs residuals, not a loss");
    desc.loss = af__none;
    refuse(AF_ERROR_ARGUMENT, "either residuals or a loss");
    desc.residuals = v;
#define KIND(field, type, most, words)                                                  \
    for (kind = -1; kind <= (most) + 1; kind += (most) + 2) {                           \
        desc.field = (type)kind;                                                        \
        refuse(AF_ERROR_ARGUMENT, kind < 0 ? "-1" : (words));                           \
    }                                                                                   \
    desc.field = (type)0
    KIND(method, af_method, AF_LBFGS, "method 2");
    KIND(robust, af_robust, AF_ROBUST_CAUCHY, "robust 4");
    KIND(jacobian, af_jacobian, AF_JACOBIAN_REVERSE, "jacobian 3");
    KIND(damping_of, af_damping, AF_DAMPING_DIAGONAL, "damping_of 2");
#undef KIND
    refuse_number(&desc.robust_scale);
    refuse_number(&desc.damping);
    desc.robust_group = 4;
    refuse(AF_ERROR_SHAPE, "6 residuals cannot be grouped by 4");
    desc.robust_group = 3;
    desc.jacobian = AF_JACOBIAN_REVERSE;
    desc.pieces = 2;
    refuse(AF_ERROR_ARGUMENT, "one piece");
    desc.pieces = 1;
    if (make()) descend(50, NULL);
    end();
    af_minimiser_destroy(NULL);
}

/* What went wrong while building, whatever it was, and what the compiler finds. */
TEST(minimiser_refuses_expressions) {
    size_t two = 2, three = 3;
    af_expr v, x;
    begin();
    v = vector(3, NULL);
    x = af_input(context, "x", 1, &three);
    desc.residuals = v;
    (void)af_add(context, v, af_input(context, "short", 1, &two));
    refuse(AF_ERROR_SHAPE, "(2)");
    desc.residuals = af_sub(context, v, x); /* which is not listed */
    refuse(AF_ERROR_ARGUMENT, "'x'");
    desc.residuals = af__none;
    desc.method = AF_LBFGS;
    desc.loss = v;
    refuse(AF_ERROR_SHAPE, "");
    end();
}

/* ---- memory ---- */

/* Everything from the context to two steps, which allocate nothing. */
static af_status build_and_step(int variant) {
    double a[ROWS * COLUMNS], y[ROWS];
    af_status s;
    long calls;
    int k;
    memset(&desc, 0, sizeof desc);
    store = NULL;
    minimiser = NULL;
    s = af_params_create(context, 7, &store);
    desc.params = store;
    if (s == AF_OK) {
        size_t n = COLUMNS, rows = variant == 1 ? 2 : ROWS;
        af_expr b, r = af__none;
        for (k = 0; k < ROWS * COLUMNS; k++) a[k] = normal(1, (size_t)k);
        for (k = 0; k < ROWS; k++) y[k] = normal(2, (size_t)k);
        s = af_params_add(store, "b", 1, &n, AF_INIT_NORMAL, 1.0, NULL);
        if (s == AF_OK) s = af_params_add(store, "c", 0, NULL, AF_INIT_NORMAL, 1.0, NULL);
        b = s == AF_OK ? af_params_expr(store, 0) : af__none;
        if (b.id) r = af_sum_axis(context, af_mul(context, array(rows, COLUMNS, a), b), 1);
        if (r.id) r = af_mul(context, r, af_exp(context, af_params_expr(store, 1)));
        desc.residuals = r.id ? af_sub(context, r, array(rows, 1, y)) : r;
    }
    desc.robust = AF_ROBUST_HUBER;
    desc.method = variant == 2 ? AF_LBFGS : AF_LEVENBERG_MARQUARDT;
    if (s == AF_OK) s = af_minimiser_create(context, &desc, &minimiser);
    CHECK((s == AF_OK) == (minimiser != NULL));
    calls = memory.calls;
    for (k = 0; k < 3 && s == AF_OK; k++) s = af_minimiser_step(minimiser, NULL, NULL);
    if (s == AF_OK) af_minimiser_restart(minimiser);
    if (s == AF_OK) s = af_minimiser_step(minimiser, NULL, NULL);
    CHECK(memory.calls == calls);
    drop();
    af_params_destroy(store);
    return s;
}

TEST(memory_fails_at_every_call) {
    int variant;
    for (variant = 0; variant < 3; variant++) { /* forward, reverse, L-BFGS */
        af_status s = AF_ERROR_MEMORY;
        long k;
        for (k = 1; s != AF_OK && k < 10000; k++) {
            memset(&memory, 0, sizeof memory);
            memory.fail_at = k;
            context = test_context(&memory);
            CHECK(context || k == 1);
            if (context) {
                af_context_set_threads(context, 1);
                s = build_and_step(variant);
                CHECK(s == AF_OK || s == AF_ERROR_MEMORY);
                if (s != AF_OK) CHECK_TEXT(af_error(context), "out of memory");
                CHECK(s != AF_OK || memory.calls < k); /* no failure was swallowed */
                af_context_destroy(context);
            }
            CHECK(memory.live == 0);
        }
        CHECK(s == AF_OK && k > 10);
    }
}

int main(void) {
    RUN(lm_linear_in_one_step);
    RUN(lm_fewer_residuals_than_parameters);
    RUN(lm_rosenbrock);
    RUN(lm_exponentials);
    RUN(lm_rank_deficient);
    RUN(lm_certified_values);
    RUN(not_finite_on_the_way);
    RUN(not_finite_at_the_start);
    RUN(lbfgs_gradient_too_large);
    RUN(jacobians_agree);
    RUN(jacobians_agree_for_random_expressions);
    RUN(jacobian_of_six_axes);
    RUN(pieces);
    RUN(pieces_in_reverse);
    RUN(pieces_refuse);
    RUN(robust_weights);
    RUN(robust_not_finite);
    RUN(robust_line);
    RUN(lbfgs_rosenbrock);
    RUN(methods_agree_for_200_parameters);
    RUN(restart);
    RUN(allreduce_as_with_twice_the_data);
    RUN(allreduce_fails);
    RUN(minimise_in_stages);
    RUN(minimise_resumes);
    RUN(minimise_refuses_checkpoints);
    RUN(minimise_ends);
    RUN(minimise_tolerance_below_zero);
    RUN(minimise_fails);
    RUN(damping_and_units);
    RUN(damping_by_hand);
    RUN(minimiser_refuses);
    RUN(minimiser_refuses_expressions);
    RUN(memory_fails_at_every_call);
    return test_report();
}
