/* Elementary functions over their whole range, and matrix products, against long double. Prints the
 * largest error of each function in units of the last place. */
#include "actionfinder.in.h"

#include "af_test.h"

#include "af_reference.h"

typedef af_expr (*builder)(af_context *c, af_expr x);
typedef long double (*truth)(long double x);

static long double true_reciprocal(long double x) { return 1 / x; }
static long double true_sech2(long double x) { return reference_unary(AF_OP_SECH2, x); }
static long double true_sigmoid(long double x) { return reference_unary(AF_OP_SIGMOID, x); }
static long double true_softplus(long double x) { return reference_softplus(x); }

typedef struct function {
    const char *name;
    builder build;
    truth value;
    double bound64, bound32; /* allowed error [units of the last place] */
    double low, high;        /* where it has finite values */
} function;

/* The bounds are the measured errors of all instruction sets with some room. */
static const function functions[] = {
    {"exp", af_exp, expl, 1.0, 1.0, -800, 710},
    {"expm1", af_expm1, expm1l, 1.4, 1.4, -800, 710},
    {"log", af_log, logl, 1.0, 1.0, 0, 1e308},
    {"log1p", af_log1p, log1pl, 1.1, 1.1, -1, 1e308},
    {"sqrt", af_sqrt, sqrtl, 0.501, 0.501, 0, 1e308},
    {"reciprocal", af_reciprocal, true_reciprocal, 0.501, 0.501, -1e308, 1e308},
    {"sin", af_sin, sinl, 1.0, 1.0, -1e15, 1e15},
    {"cos", af_cos, cosl, 1.0, 1.0, -1e15, 1e15},
    {"tanh", af_tanh, tanhl, 1.1, 1.1, -800, 800},
    {"sech2", af_sech2, true_sech2, 1.0, 1.0, -400, 400},
    {"sigmoid", af_sigmoid, true_sigmoid, 1.2, 1.2, -800, 800},
    {"softplus", af_softplus, true_softplus, 1.25, 1.25, -800, 800},
    {"atan", af_atan, atanl, 1.3, 1.3, -1e308, 1e308},
    {"abs", af_abs, fabsl, 0.0, 0.0, -1e308, 1e308},
    {"floor", af_floor, floorl, 0.0, 0.0, -1e308, 1e308},
};

/* One function of n numbers; the numbers must be representable in `precision`. */
static double *apply(builder build, af_precision precision, size_t n, const double *x) {
    af_context *c = test_context(NULL);
    af_expr in = af_input(c, "x", 1, &n), out = build(c, in);
    double *y = NULL;
    test_compute(c, precision, 1, 1, &in, &x, 1, &out, &y);
    af_context_destroy(c);
    return y;
}

/* The distance to the next number of the precision beyond |x|, denormals included. */
static long double unit_of(af_precision precision, long double x) {
    int exponent, digits = precision == AF_F64 ? 53 : 24,
                  least = precision == AF_F64 ? -1074 : -149;
    frexpl(x, &exponent);
    if (x == 0 || exponent - digits < least) return ldexpl(1, least);
    return ldexpl(1, exponent - digits);
}

static double error_in_units(af_precision precision, double y, long double exact) {
    double rounded = precision == AF_F64 ? (double)exact : (double)(float)exact;
    if (y != y && rounded != rounded) return 0;
    if (y == rounded) return 0;
    if (fabs(rounded) > (precision == AF_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38))
        return INFINITY;
    if (!(fabs(y) <= 1.7976931348623157e308)) return INFINITY;
    return (double)(fabsl(y - exact) / unit_of(precision, exact));
}

/* Arguments of all magnitudes, near 0, near 1, near multiples of pi/2 and pi/4, and uniform ones.
 */
static double argument(const function *f, af_precision precision, uint64_t i) {
    double u = af_random_uniform(3, i % 8, i), v = af_random_uniform(4, i % 8, i), x;
    double sign = i % 16 < 8 ? 1 : -1, range = precision == AF_F64 ? 300 : 36;
    switch (i % 8) {
    case 0: x = sign * pow(10.0, (2 * u - 1) * range); break; /* any magnitude */
    case 1: x = sign * pow(10.0, 6 * u - 3); break;
    case 2: x = 1 + sign * pow(10.0, -16 * u); break;
    case 3: x = floor(u * 1000) * 1.57079632679489661923 * (1 + (v - 0.5) * 1e-15) * sign; break;
    case 4: x = floor(u * 60000) * 0.78539816339744830962 * sign; break;
    case 5: x = (u - 0.5) * 40; break;
    case 6: x = (u - 0.5) * 4; break;
    default: x = f->low < -1000 ? (u - 0.5) * 2e5 : f->low + u * (fmin(f->high, 1000) - f->low);
    }
    x = precision == AF_F64 ? x : (double)(float)x;
    return x < f->low || x > f->high ? 0.5 : x;
}

static double worst_error(const function *f, af_precision precision, double *where) {
    enum { ARGUMENTS = 80000 };
    double *x = test_array(ARGUMENTS), *y, worst = 0;
    size_t i;
    for (i = 0; i < ARGUMENTS; i++) x[i] = argument(f, precision, i);
    y = apply(f->build, precision, ARGUMENTS, x);
    for (i = 0; i < ARGUMENTS; i++) {
        double e = error_in_units(precision, y[i], f->value(x[i]));
        if (e > worst) {
            worst = e;
            *where = x[i];
        }
    }
    free(x);
    free(y);
    return worst;
}

TEST(accuracy) {
    size_t i;
    for (i = 0; i < AF__COUNT(functions); i++) {
        const function *f = &functions[i];
        double x64 = 0, x32 = 0, e64 = worst_error(f, AF_F64, &x64),
               e32 = worst_error(f, AF_F32, &x32);
        printf("  %-10s %6.2f ulp in f64 (at %.17g), %6.2f ulp in f32 (at %.9g)\n", f->name, e64,
               x64, e32, x32);
        CHECK(e64 <= f->bound64);
        CHECK(e32 <= f->bound32);
    }
}

/* Every f32 exponent and sign, against double: no hole in the range. */
TEST(single_precision_over_all_exponents) {
    enum { N = 1 << 16 };
    double *x = test_array(N), *y, worst;
    size_t i, k;
    for (k = 0; k < AF__COUNT(functions); k++) {
        const function *f = &functions[k];
        size_t n = 0;
        for (i = 0; i < N; i++) {
            uint32_t bits = (uint32_t)i << 16 | (uint32_t)(i * 2654435761u >> 16 & 0xffff);
            float value;
            memcpy(&value, &bits, sizeof value);
            if ((double)value >= f->low && (double)value <= f->high) x[n++] = (double)value;
        }
        y = apply(f->build, AF_F32, n, x);
        worst = 0;
        for (i = 0; i < n; i++) {
            double e = error_in_units(AF_F32, y[i], f->value(x[i]));
            if (e > worst) worst = e;
        }
        if (worst > f->bound32) printf("  %s: %g ulp\n", f->name, worst);
        CHECK(worst <= f->bound32);
        free(y);
    }
    free(x);
}

/* ---- special values ---- */

static double bits_of_sign(double x) { return x < 0 || (x == 0 && 1 / x < 0) ? -1 : 1; }

/* Equal as numbers, both NaN, or both the zero of one sign. */
static int same(double a, double b) {
    if (a != a || b != b) return a != a && b != b;
    return a == b && (a != 0 || bits_of_sign(a) == bits_of_sign(b));
}

typedef struct special {
    const char *name;
    builder build;
    double minus_infinity, infinity, minus_zero, zero;
} special;

TEST(special_values) {
    const double inf = INFINITY, nan_ = NAN;
    const special specials[] = {
        {"neg", af_neg, inf, -inf, 0.0, -0.0},
        {"exp", af_exp, 0, inf, 1, 1},
        {"expm1", af_expm1, -1, inf, -0.0, 0.0},
        {"log", af_log, nan_, inf, -inf, -inf},
        {"log1p", af_log1p, nan_, inf, -0.0, 0.0},
        {"sqrt", af_sqrt, nan_, inf, -0.0, 0.0},
        {"reciprocal", af_reciprocal, -0.0, 0.0, -inf, inf},
        {"sin", af_sin, nan_, nan_, -0.0, 0.0},
        {"cos", af_cos, nan_, nan_, 1, 1},
        {"tanh", af_tanh, -1, 1, -0.0, 0.0},
        {"sech2", af_sech2, 0, 0, 1, 1},
        {"sigmoid", af_sigmoid, 0, 1, 0.5, 0.5},
        {"softplus", af_softplus, 0, inf, 0.69314718055994530942, 0.69314718055994530942},
        {"atan", af_atan, -1.57079632679489661923, 1.57079632679489661923, -0.0, 0.0},
        {"abs", af_abs, inf, inf, 0.0, 0.0},
        {"sign", af_sign, -1, 1, 0.0, 0.0},
        {"floor", af_floor, -inf, inf, -0.0, 0.0},
    };
    const double x[5] = {-INFINITY, INFINITY, -0.0, 0.0, NAN};
    size_t i, k;
    int p;
    for (p = 0; p < 2; p++)
        for (i = 0; i < AF__COUNT(specials); i++) {
            const special *s = &specials[i];
            double want[5], *y = apply(s->build, p ? AF_F32 : AF_F64, 5, x);
            want[0] = s->minus_infinity;
            want[1] = s->infinity;
            want[2] = s->minus_zero;
            want[3] = s->zero;
            want[4] = NAN;
            for (k = 0; k < 5; k++) {
                double w = p ? (double)(float)want[k] : want[k];
                if (same(y[k], w)) continue;
                printf("  %s(%g) in f%d is %.17g, expected %.17g\n", s->name, x[k], p ? 32 : 64,
                       y[k], w);
                test_broken++;
            }
            free(y);
        }
}

TEST(limits_and_denormals) {
    static const double x[] = {5e-324, -5e-324, 2.2e-308, 1e-310, 709.78,
                               709.79, -745.1,  -745.2,   -708.5};
    size_t i;
    double *y;
    y = apply(af_exp, AF_F64, 9, x);
    CHECK(y[4] < INFINITY && y[5] == INFINITY && y[6] == 5e-324 && y[7] == 0);
    CHECK(y[8] == exp(-708.5) || fabs(y[8] / exp(-708.5) - 1) < 1e-14); /* denormal results */
    free(y);
    y = apply(af_log, AF_F64, 4, x);
    CHECK_CLOSE(y[0], -744.44007192138126231, 1e-15);
    CHECK(y[1] != y[1]);
    CHECK_CLOSE(y[3], log(1e-310), 1e-15);
    free(y);
    y = apply(af_sin, AF_F64, 4, x);
    for (i = 0; i < 4; i++) CHECK(y[i] == x[i]);
    free(y);
    y = apply(af_expm1, AF_F64, 4, x);
    for (i = 0; i < 4; i++) CHECK(y[i] == x[i]);
    free(y);
    y = apply(af_tanh, AF_F64, 4, x);
    for (i = 0; i < 4; i++) CHECK(y[i] == x[i]);
    free(y);
    y = apply(af_log1p, AF_F64, 4, x);
    for (i = 0; i < 4; i++) CHECK(y[i] == x[i]);
    free(y);
    y = apply(af_atan, AF_F64, 4, x);
    for (i = 0; i < 4; i++) CHECK(y[i] == x[i]);
    free(y);
}

TEST(huge_arguments_of_sine_and_cosine) {
    static const double x[] = {1e5,  99999.5, 1e6,   1e10, 1e15,  4503599627370497.5, 1e18,
                               1e22, 1e100,   1e300, -1e7, -1e22, 12345678.9};
    size_t i, n = AF__COUNT(x);
    double *s = apply(af_sin, AF_F64, n, x), *k = apply(af_cos, AF_F64, n, x);
    for (i = 0; i < n; i++) {
        CHECK_CLOSE(s[i], sin(x[i]), 3e-16);
        CHECK_CLOSE(k[i], cos(x[i]), 3e-16);
    }
    CHECK_CLOSE(s[7], -0.8522008497671888, 1e-15); /* sin(1e22), the classical test */
    free(s);
    free(k);
}

TEST(floors_of_large_numbers) {
    static const double x[] = {4503599627370496.5,
                               2251799813685248.5,
                               2251799813685249.5,
                               -2251799813685248.5,
                               -4503599627370495.5,
                               4503599627370495.5,
                               0.5,
                               1.5,
                               -0.5,
                               -1e-300,
                               1e-300,
                               9007199254740993.0,
                               8388607.5,
                               -8388607.5};
    size_t i, n = AF__COUNT(x);
    double *y = apply(af_floor, AF_F64, n, x), *z = apply(af_floor, AF_F32, n, x);
    for (i = 0; i < n; i++) {
        CHECK(same(y[i], floor(x[i])));
        CHECK(same(z[i], (double)floorf((float)x[i])));
    }
    free(y);
    free(z);
}

TEST(arctangent_of_two_arguments) {
    static const double v[] = {
        0.0,   -0.0,   1,        -1,        3,   -3,     1e-300,  -1e-300,
        1e300, -1e300, INFINITY, -INFINITY, NAN, 5e-324, -5e-324, 0.41421356237309503,
        1e-20};
    enum { N = 17 };
    size_t i, n = N * N;
    double *y = test_array(n), *x = test_array(n), *got[1];
    const double *data[2];
    af_context *c = test_context(NULL);
    af_expr in[2], out;
    int p;
    in[0] = af_input(c, "y", 1, &n);
    in[1] = af_input(c, "x", 1, &n);
    out = af_atan2(c, in[0], in[1]);
    for (p = 0; p < 2; p++) {
        for (i = 0; i < n; i++) {
            y[i] = p ? (double)(float)v[i / N] : v[i / N];
            x[i] = p ? (double)(float)v[i % N] : v[i % N];
        }
        data[0] = y;
        data[1] = x;
        test_compute(c, p ? AF_F32 : AF_F64, 1, 2, in, data, 1, &out, got);
        for (i = 0; i < n; i++) {
            long double want = atan2l(y[i], x[i]);
            double rounded = p ? (double)(float)want : (double)want;
            if (same(got[0][i], rounded)) continue;
            if (rounded != 0 && error_in_units(p ? AF_F32 : AF_F64, got[0][i], want) <= 2) continue;
            printf("  atan2(%g, %g) in f%d is %.17g, expected %.17g\n", y[i], x[i], p ? 32 : 64,
                   got[0][i], rounded);
            test_broken++;
        }
        free(got[0]);
    }
    free(y);
    free(x);
    af_context_destroy(c);
}

TEST(accuracy_of_arctangents_in_all_quadrants) {
    size_t i, n = 40000;
    double *y = test_array(n), *x = test_array(n), *got[1], worst = 0;
    const double *data[2];
    af_context *c = test_context(NULL);
    af_expr in[2], out;
    in[0] = af_input(c, "y", 1, &n);
    in[1] = af_input(c, "x", 1, &n);
    out = af_atan2(c, in[0], in[1]);
    for (i = 0; i < n; i++) {
        double magnitude = pow(10.0, 40 * af_random_uniform(1, 0, i) - 20);
        y[i] = (i & 1u ? 1 : -1) * magnitude * af_random_uniform(1, 1, i);
        x[i] = (i & 2u ? 1 : -1) * af_random_uniform(1, 2, i) * (i & 4u ? magnitude : 1);
    }
    data[0] = y;
    data[1] = x;
    test_compute(c, AF_F64, 1, 2, in, data, 1, &out, got);
    for (i = 0; i < n; i++) {
        double e = error_in_units(AF_F64, got[0][i], atan2l(y[i], x[i]));
        if (e > worst) worst = e;
    }
    printf("  atan2      %6.2f ulp in f64\n", worst);
    CHECK(worst <= 2);
    free(got[0]);
    free(y);
    free(x);
    af_context_destroy(c);
}

TEST(comparisons_with_nan_and_zero) {
    static const double a[] = {NAN, 1, 0.0, -0.0, -INFINITY, 2, 1},
                        b[] = {1, NAN, -0.0, 0.0, 0, 2, 2};
    static const double want[] = {0, 0, 0, 0, 1, 0, 1};
    size_t n = 7, i;
    const double *data[2];
    double *got[3];
    af_context *c = test_context(NULL);
    af_expr in[2], out[3];
    data[0] = a;
    data[1] = b;
    in[0] = af_input(c, "a", 1, &n);
    in[1] = af_input(c, "b", 1, &n);
    out[0] = af_less(c, in[0], in[1]);
    out[1] = af_where(c, in[0], af_constant(c, 3.0), af_constant(c, 4.0));
    out[2] = af_sign(c, in[0]);
    test_compute(c, AF_F64, 1, 2, in, data, 3, out, got);
    for (i = 0; i < n; i++) {
        CHECK(got[0][i] == want[i]);
        CHECK(got[1][i] == (a[i] != 0 ? 3.0 : 4.0)); /* NaN is not zero */
        CHECK(same(got[2][i], a[i] != a[i] ? a[i] : a[i] > 0 ? 1 : a[i] < 0 ? -1 : 0.0));
    }
    test_free(3, got);
    af_context_destroy(c);
}

TEST(wrapped_angles) {
    size_t n = 20000, i;
    double *x = test_array(n), *y;
    for (i = 0; i < n; i++) x[i] = 200 * (af_random_uniform(1, 1, i) - 0.5);
    y = apply(af_wrap, AF_F64, n, x);
    for (i = 0; i < n; i++) {
        CHECK(y[i] >= -AF__PI - 1e-13 && y[i] < AF__PI + 1e-13);
        CHECK_CLOSE(sin(y[i]), sin(x[i]), 1e-13);
        CHECK_CLOSE(cos(y[i]), cos(x[i]), 1e-13);
    }
    free(x);
    free(y);
}

TEST(random_numbers_lie_inside_the_unit_interval) {
    size_t n = 300000, i;
    double *got[1], seed = 7, mean = 0;
    const double *data = &seed;
    int p;
    for (p = 0; p < 2; p++) {
        af_context *c = test_context(NULL);
        af_expr in = af_input(c, "seed", 0, NULL), out = af_random(c, 1, &n, in, 5);
        test_compute(c, p ? AF_F32 : AF_F64, 2, 1, &in, &data, 1, &out, got);
        for (i = 0; i < n; i++) {
            double u = af_random_uniform(7, 5, i);
            CHECK(got[0][i] > 0 && got[0][i] < 1);
            CHECK(p ? fabs(got[0][i] - u) < 1e-7 : got[0][i] == u);
            mean += u / (double)n;
        }
        free(got[0]);
        af_context_destroy(c);
    }
    CHECK_CLOSE(mean, 1.0, 0.01); /* two runs of mean 1/2 */
}

/* ---- matrix products ---- */

/* (batch, m, k) times (batch, k, n) with either one transposed, or one for the whole batch. */
static void product(size_t batch, size_t m, size_t k, size_t n, int transposed, int shared,
                    af_precision precision) {
    af_context *c = test_context(NULL);
    af_expr in[2], a, b, out;
    double *data[2], *got[1], worst = 0;
    size_t s, i, j, l, da[3], db[3];
    da[0] = db[0] = batch;
    da[1] = transposed & 1 ? k : m;
    da[2] = transposed & 1 ? m : k;
    db[1] = transposed & 2 ? n : k;
    db[2] = transposed & 2 ? k : n;
    in[0] = a = af_input(c, "a", shared & 1 ? 2 : 3, shared & 1 ? da + 1 : da);
    in[1] = b = af_input(c, "b", shared & 2 ? 2 : 3, shared & 2 ? db + 1 : db);
    for (i = 0; i < 2; i++) {
        data[i] = test_array(af_size(c, in[i]));
        for (j = 0; j < af_size(c, in[i]); j++)
            data[i][j] = (double)(float)(af_random_uniform(i, m * k + n, j) - 0.5);
    }
    if (transposed & 1) a = af_transpose(c, a);
    if (transposed & 2) b = af_transpose(c, b);
    out = af_matmul(c, a, b);
    if (test_compute(c, precision, 1 + (int)(m % 3), 2, in, (const double *const *)data, 1, &out,
                     got))
        for (s = 0; s < batch; s++)
            for (i = 0; i < m; i++)
                for (j = 0; j < n; j++) {
                    const double *x = data[0] + (shared & 1 ? 0 : s * m * k);
                    const double *y = data[1] + (shared & 2 ? 0 : s * k * n);
                    long double sum = 0;
                    double e;
                    for (l = 0; l < k; l++)
                        sum += (long double)x[transposed & 1 ? l * m + i : i * k + l] *
                               y[transposed & 2 ? j * k + l : l * n + j];
                    e = fabs((double)(got[0][(s * m + i) * n + j] - sum)) / sqrt((double)k);
                    if (!(e <= worst)) worst = e;
                }
    if (!(worst <= (precision == AF_F64 ? 2e-15 : 1e-6))) {
        printf("  (%lu,%lu,%lu) x (%lu), transposed %d, shared %d, f%d: error %g\n",
               (unsigned long)m, (unsigned long)k, (unsigned long)n, (unsigned long)batch,
               transposed, shared, precision == AF_F64 ? 64 : 32, worst);
        test_broken++;
    }
    free(got[0]);
    test_free(2, data);
    af_context_destroy(c);
}

TEST(products_of_awkward_sizes) {
    static const size_t sizes[] = {1,  2,  3,  4,  5,  7,  8,  9,   16,  23,  24,  25, 31,
                                   33, 47, 48, 49, 63, 64, 65, 100, 129, 255, 257, 300};
    size_t t, count = AF__COUNT(sizes);
    for (t = 0; t < 260; t++) {
        size_t m = sizes[(size_t)(af_random_uniform(9, 0, t) * (double)count)];
        size_t k = sizes[(size_t)(af_random_uniform(9, 1, t) * (double)count)];
        size_t n = sizes[(size_t)(af_random_uniform(9, 2, t) * (double)count)];
        if (m * n * k > 2000000) k = 1 + k % 25;
        product(1, m, k, n, (int)(t % 4), 0, t % 3 ? AF_F64 : AF_F32);
    }
    product(1, 300, 257, 129, 0, 0, AF_F64);
    product(1, 129, 300, 255, 3, 0, AF_F32);
}

TEST(tall_deep_and_wide_products) {
    int transposed;
    product(1, 5000, 64, 64, 0, 0, AF_F64);
    product(1, 5000, 64, 3, 0, 0, AF_F32);
    for (transposed = 0; transposed < 4; transposed++)
        product(1, 64, 8192, 64, transposed, 0, AF_F64);
    product(1, 65, 8191, 30, 1, 0, AF_F32);
    product(1, 5, 5000, 7, 0, 0, AF_F64);
    product(1, 3, 7000, 1500, 2, 0, AF_F64); /* few rows: not packed, several blocks of columns */
    product(1, 70, 30, 1300, 0, 0, AF_F64);  /* several blocks of packed columns */
    product(1, 1, 100000, 1, 3, 0, AF_F64);
    product(1, 800, 70, 66, 2, 0, AF_F64); /* packed before, in squares and what is left of them */
    product(1, 130, 300, 90, 3, 0, AF_F32);
    for (transposed = 0; transposed < 4; transposed++) { /* few rows: along rows or columns of B */
        product(1, 1, 203, 45, transposed, 0, AF_F64);
        product(1, 8, 101, 37, transposed, 0, AF_F64);
        product(1, 2, 66, 129, transposed, 0, AF_F32);
    }
    product(1, 4000, 1, 4, 0, 0, AF_F64);
}

TEST(batches_of_products) {
    int transposed, shared;
    for (transposed = 0; transposed < 4; transposed++)
        for (shared = 0; shared < 3; shared++) {
            product(5, 7, 9, 11, transposed, shared, AF_F64);
            product(300, 3, 4, 2, transposed, shared, AF_F64);
            product(3, 50, 40, 30, transposed, shared, AF_F64);
            product(1, 6, 5, 4, transposed, shared, AF_F64);
            product(3, 9, 1100, 17, transposed, shared, AF_F32);
            product(4, 1, 3, 1, transposed, shared, AF_F32);
        }
}

/* Slices, repeats and permuted batches of larger arrays, against the interpreter. */
TEST(products_of_views) {
    af_context *c = test_context(NULL);
    size_t d[4] = {3, 20, 4, 30}, order[4] = {2, 0, 3, 1}, db[4] = {4, 3, 20, 30}, n = 0;
    af_expr in[1], x, p, out[8];
    double *data[1];
    in[0] = x = af_input(c, "x", 4, d);
    data[0] = test_array(af_size(c, x));
    for (n = 0; n < af_size(c, x); n++) data[0][n] = af_random_uniform(1, 1, n) - 0.5;
    n = 0;
    p = af_permute(c, x, order); /* (4,3,30,20) */
    out[n++] = af_matmul(c, p, af_transpose(c, p));
    out[n++] = af_matmul(c, af_transpose(c, p), p);
    out[n++] =
        af_matmul(c, af_slice(c, p, 2, 3, 20), af_slice(c, af_slice(c, p, 2, 0, 20), 3, 1, 7));
    out[n++] = af_matmul(c, p, af_broadcast(c, af_slice(c, af_transpose(c, p), 1, 0, 1), 4, db));
    out[n++] = af_transpose(c, af_matmul(c, p, af_full(c, 2, d + 1, 0.5)));
    test_agree(c, AF_F64, 1, 1, in, (const double *const *)data, n, out, 1e-13);
    test_free(1, data);
    af_context_destroy(c);
}

/* A dense layer in and out of its activation, as in a network and its derivative: the fused run is
 * computed on blocks of rows of the product. Some of the products are cut in depth. */
static void layer(size_t m, size_t n, size_t k, af_precision precision) {
    af_context *c = test_context(NULL);
    size_t dx[2], dw[2], db = n, i, follows = 0;
    af_expr in[4], product, z, out[5];
    double *data[4];
    af_func_desc d = AF__ZERO;
    af_func *f = NULL;
    dx[0] = m;
    dx[1] = dw[0] = k;
    dw[1] = n;
    in[0] = af_input(c, "x", 2, dx);
    in[1] = af_input(c, "w", 2, dw);
    in[2] = af_input(c, "b", 1, &db);
    dx[1] = n;
    in[3] = af_input(c, "r", 2, dx);
    for (i = 0; i < 4; i++) {
        size_t e, size = af_size(c, in[i]);
        data[i] = test_array(size);
        for (e = 0; e < size; e++)
            data[i][e] = (af_random_uniform(8, i, e) - 0.5) * (i == 1 ? 2.0 / sqrt((double)k) : 1);
    }
    product = af_matmul(c, in[0], in[1]);
    z = af_add(c, product, in[2]);
    out[0] = af_add(c, af_tanh(c, z), in[3]);
    out[1] = af_mul(c, af_sech2(c, z), in[3]);
    out[2] = product; /* stays readable */
    out[3] = af_sum_axis(c, z, 0);
    out[4] = af_transpose(c, af_silu(c, z));
    test_agree(c, precision, 3, 4, in, (const double *const *)data, 5, out,
               precision == AF_F64 ? 1e-13 : 1e-5);
    d.inputs = in;
    d.input_count = 4;
    d.outputs = out;
    d.output_count = 1;
    CHECK(af_compile(c, &d, &f) == AF_OK);
    for (i = 0; f && i < af_func_program(f)->instr_count; i++)
        follows += (size_t)af_func_program(f)->instr[i].follows;
    CHECK(follows == 1);
    af_func_destroy(f);
    test_free(4, data);
    af_context_destroy(c);
}

TEST(layers) {
    static const size_t sizes[][3] = {{1, 5, 7},     {7, 33, 40},   {97, 64, 64},  {300, 70, 50},
                                      {800, 40, 30}, {96, 17, 128}, {200, 513, 9}, {40, 50, 3000},
                                      {1, 64, 64},   {769, 8, 129}, {192, 31, 400}};
    size_t i;
    for (i = 0; i < AF__COUNT(sizes); i++) {
        layer(sizes[i][0], sizes[i][1], sizes[i][2], AF_F64);
        layer(sizes[i][0], sizes[i][1], sizes[i][2], AF_F32);
    }
}

TEST(instruction_sets) {
    CHECK(af_backend_cpu_set(AF_SET_BEST) == af_backend_cpu());
    CHECK(af_backend_cpu_set(AF_SET_PLAIN) != NULL);
    CHECK(af_backend_cpu_set((af_instruction_set)4) == NULL);
    CHECK(af_backend_cpu_set((af_instruction_set)-1) == NULL);
    CHECK(!af_backend_cpu_set(AF_SET_AVX512) == !test_avx512());
}

static void kernels(void) {
    RUN(accuracy);
    RUN(single_precision_over_all_exponents);
    RUN(special_values);
    RUN(limits_and_denormals);
    RUN(huge_arguments_of_sine_and_cosine);
    RUN(floors_of_large_numbers);
    RUN(arctangent_of_two_arguments);
    RUN(accuracy_of_arctangents_in_all_quadrants);
    RUN(comparisons_with_nan_and_zero);
    RUN(wrapped_angles);
    RUN(random_numbers_lie_inside_the_unit_interval);
    RUN(products_of_awkward_sizes);
    RUN(tall_deep_and_wide_products);
    RUN(batches_of_products);
    RUN(products_of_views);
    RUN(layers);
}

int main(void) {
    RUN(instruction_sets);
    each_instruction_set(kernels);
    return test_report();
}
