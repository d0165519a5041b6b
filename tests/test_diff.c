/* Derivatives: identities on random graphs, closed forms, Laplacians, third order. */
#include "actionfinder.in.h"

#include "af_test.h"

#include "af_reference.h"

typedef af_expr (*unary_builder)(af_context *c, af_expr x);

static const double *const *readable(double **data) { return (const double *const *)data; }

static af_expr zeros_like(af_context *c, af_expr x) { return af_scale(c, x, 0.0); }

/* A constant array of random numbers in the shape of x. */
static af_expr noise_like(af_context *c, af_expr x, uint64_t seed) {
    size_t i, n = af_size(c, x), dims[AF_RANK_MAX], rank = af_shape(c, x, dims);
    double *data = test_array(n);
    af_expr made;
    for (i = 0; i < n; i++) data[i] = 2 * af_random_uniform(seed, 11, i) - 1;
    made = af_constant_array(c, rank, dims, data);
    free(data);
    return made;
}

static af_expr inner_product(af_context *c, af_expr a, af_expr b) {
    return af_sum(c, af_mul(c, a, b));
}

/* The two numbers agree relative to `scale`, the sum of the absolute terms. */
static void agree(const char *what, uint64_t seed, double a, double b, double scale,
                  double tolerance) {
    if (fabs(a - b) <= tolerance * (1 + scale)) return;
    printf("  %s, seed %lu: %.17g and %.17g (scale %g)\n", what, (unsigned long)seed, a, b, scale);
    test_broken++;
}

/* ---- random graphs ---- */

/* Three inputs and some outputs y; the graph is the same function of the seed in every context. */
typedef struct problem {
    test_pool pool;
    af_expr in[3], y[3];
    double *data[3];
} problem;

static void problem_begin(problem *p, uint64_t seed, int smooth, size_t steps) {
    af_context *c = test_context(NULL);
    size_t i;
    pool_begin(&p->pool, c, seed, 3, p->in, p->data);
    p->pool.smooth = smooth;
    for (i = 0; i < steps; i++) pool_step(&p->pool);
    for (i = 0; i < 3; i++) p->y[i] = p->pool.x[p->pool.count - 1 - 2 * i];
}

static void problem_end(problem *p) {
    CHECK(af_error_status(p->pool.c) == AF_OK);
    if (af_error_status(p->pool.c) != AF_OK) printf("  %s\n", af_error(p->pool.c));
    test_free(3, p->data);
    af_context_destroy(p->pool.c);
}

/* <u, J v> = <J^T u, v> for the outputs together and all inputs together; and the compiled numbers
 * are those of the interpreter. */
TEST(forward_and_reverse_are_adjoint) {
    uint64_t seed;
    for (seed = 0; seed < 300; seed++) {
        problem p;
        af_context *c;
        af_expr v[3], u[3], jv[3], ju[3], left = {0}, right = {0}, scale, out[9];
        size_t i, k;
        double *got[9];
        problem_begin(&p, seed, 0, 10 + (size_t)(seed % 60));
        c = p.pool.c;
        left = right = scale = af_constant(c, 0.0);
        for (i = 0; i < 3; i++) v[i] = noise_like(c, p.in[i], 100 + i);
        for (i = 0; i < 3; i++) u[i] = noise_like(c, p.y[i], 200 + i);
        af_jvp(c, 3, p.y, 3, p.in, v, jv);
        for (i = 0; i < 3; i++) {
            left = af_add(c, left, inner_product(c, u[i], jv[i]));
            scale = af_add(c, scale, af_sum(c, af_abs(c, af_mul(c, u[i], jv[i]))));
            af_vjp(c, p.y[i], u[i], 3, p.in, ju);
            for (k = 0; k < 3; k++) right = af_add(c, right, inner_product(c, ju[k], v[k]));
            out[3 + i] = jv[i];
            out[6 + i] = ju[i];
        }
        out[0] = left;
        out[1] = right;
        out[2] = scale;
        if (test_compute(c, AF_F64, 1, 3, p.in, readable(p.data), 9, out, got)) {
            agree("adjoint", seed, got[0][0], got[1][0], got[2][0], 1e-11);
            test_free(9, got);
        }
        if (seed % 3 == 0 && !test_agree(c, AF_F64, 1, 3, p.in, readable(p.data), 9, out, 1e-9))
            printf("  seed %lu\n", (unsigned long)seed);
        problem_end(&p);
    }
}

/* J v against central differences of the compiled function. */
TEST(forward_agrees_with_differences) {
    const double h = 1e-5; /* errors of h^2 and of rounding / h are alike */
    uint64_t seed;
    for (seed = 1000; seed < 1150; seed++) {
        problem p;
        af_context *c;
        af_expr v[3], jv[3];
        double *exact[3], *plus[3], *minus[3], *tangent[3];
        size_t i, k;
        problem_begin(&p, seed, 1, 6 + (size_t)(seed % 30));
        c = p.pool.c;
        for (i = 0; i < 3; i++) v[i] = noise_like(c, p.in[i], 100 + i);
        af_jvp(c, 3, p.y, 3, p.in, v, jv);
        test_compute(c, AF_F64, 1, 3, p.in, readable(p.data), 3, jv, exact);
        test_compute(c, AF_F64, 1, 3, p.in, readable(p.data), 3, v, tangent);
        for (i = 0; i < 3; i++)
            for (k = 0; k < af_size(c, p.in[i]); k++) p.data[i][k] += h * tangent[i][k];
        test_compute(c, AF_F64, 1, 3, p.in, readable(p.data), 3, p.y, plus);
        for (i = 0; i < 3; i++)
            for (k = 0; k < af_size(c, p.in[i]); k++) p.data[i][k] -= 2 * h * tangent[i][k];
        test_compute(c, AF_F64, 1, 3, p.in, readable(p.data), 3, p.y, minus);
        for (i = 0; i < 3; i++)
            for (k = 0; k < af_size(c, p.y[i]); k++)
                agree("difference", seed, exact[i][k], (plus[i][k] - minus[i][k]) / (2 * h),
                      fabs(exact[i][k]), 2e-4);
        test_free(3, exact);
        test_free(3, plus);
        test_free(3, minus);
        test_free(3, tangent);
        problem_end(&p);
    }
}

TEST(stacked_tangents_equal_separate_ones) {
    uint64_t seed;
    for (seed = 2000; seed < 2150; seed++) {
        problem p;
        af_context *c;
        af_expr v[2][3], stacked[3], jv[2][3], both[3], out[12];
        size_t i, k, n = 0, dims[AF_RANK_MAX + 1], rank;
        double *got[12];
        problem_begin(&p, seed, 0, 10 + (size_t)(seed % 40));
        c = p.pool.c;
        for (i = 0; i < 3; i++) {
            af_expr pair[2];
            rank = af_shape(c, p.in[i], dims + 1);
            dims[0] = 1;
            for (k = 0; k < 2; k++) v[k][i] = noise_like(c, p.in[i], 100 + 10 * k + i);
            for (k = 0; k < 2; k++)
                pair[k] = rank < AF_RANK_MAX ? af_reshape(c, v[k][i], rank + 1, dims) : v[k][i];
            stacked[i] = af_concat(c, 0, 2, pair);
        }
        for (k = 0; k < 2; k++) af_jvp(c, 3, p.y, 3, p.in, v[k], jv[k]);
        CHECK(af_error_status(c) == AF_OK);
        if (af_jvp(c, 3, p.y, 3, p.in, stacked, both) == AF_OK) { /* else: more than six axes */
            for (i = 0; i < 3; i++)
                for (k = 0; k < 2; k++) {
                    rank = af_shape(c, p.y[i], dims);
                    out[n++] = jv[k][i];
                    out[n++] = af_reshape(c, af_slice(c, both[i], 0, k, 1), rank, dims);
                }
            test_compute(c, AF_F64, 1, 3, p.in, readable(p.data), n, out, got);
            for (i = 0; i < n; i += 2) {
                double d = test_difference(got[i], got[i + 1], af_size(c, out[i]));
                if (!(d <= 1e-10)) printf("  seed %lu, %g\n", (unsigned long)seed, d);
                CHECK(d <= 1e-10);
            }
            test_free(n, got);
        } else {
            CHECK(af_error_status(c) == AF_ERROR_SHAPE);
            af_error_clear(c);
        }
        problem_end(&p);
    }
}

/* u^T H v = v^T H u, reverse over reverse; and H v forward over reverse is the same. */
TEST(second_derivatives_are_symmetric) {
    uint64_t seed;
    for (seed = 3000; seed < 3100; seed++) {
        problem p;
        af_context *c;
        af_expr u[3], v[3], g[3], hv[3], hu[3], fv[3], scalar, dot, out[4];
        double *got[4];
        size_t i;
        problem_begin(&p, seed, 0, 8 + (size_t)(seed % 30));
        c = p.pool.c;
        scalar = inner_product(c, noise_like(c, p.y[0], 5), p.y[0]);
        af_grad(c, scalar, 3, p.in, g);
        for (i = 0; i < 3; i++) u[i] = noise_like(c, p.in[i], 10 + i);
        for (i = 0; i < 3; i++) v[i] = noise_like(c, p.in[i], 20 + i);
        dot = af_constant(c, 0.0);
        for (i = 0; i < 3; i++) dot = af_add(c, dot, inner_product(c, g[i], v[i]));
        af_grad(c, dot, 3, p.in, hv);
        dot = af_constant(c, 0.0);
        for (i = 0; i < 3; i++) dot = af_add(c, dot, inner_product(c, g[i], u[i]));
        af_grad(c, dot, 3, p.in, hu);
        af_jvp(c, 3, g, 3, p.in, v, fv);
        for (i = 0; i < 4; i++) out[i] = af_constant(c, 0.0);
        for (i = 0; i < 3; i++) {
            out[0] = af_add(c, out[0], inner_product(c, u[i], hv[i]));
            out[1] = af_add(c, out[1], inner_product(c, v[i], hu[i]));
            out[2] = af_add(c, out[2], inner_product(c, u[i], fv[i]));
            out[3] = af_add(c, out[3], af_sum(c, af_abs(c, af_mul(c, u[i], fv[i]))));
        }
        if (test_compute(c, AF_F64, 1, 3, p.in, readable(p.data), 4, out, got)) {
            agree("symmetry", seed, got[0][0], got[1][0], got[3][0], 1e-10);
            agree("forward over reverse", seed, got[0][0], got[2][0], got[3][0], 1e-10);
            test_free(4, got);
        }
        problem_end(&p);
    }
}

/* ---- derivatives by nodes that are not inputs ---- */

/* x = view(z) is used through further views and signs that cancel its own: it must still be seen.
 */
static af_expr through_views(af_context *c, af_expr x, int which) {
    size_t d23[2] = {2, 3}, d16[2] = {1, 6}, d426[3] = {4, 2, 3}, order[2] = {1, 0}, d6 = 6;
    switch (which) {
    case 0: return af_sin(c, af_neg(c, x));
    case 1: return af_sin(c, af_reshape(c, x, 1, &d6));
    case 2: return af_sin(c, af_permute(c, x, order));
    case 3: return af_sin(c, af_broadcast(c, x, 3, d426));
    case 4: return af_sigmoid(c, af_neg(c, x));
    case 5:
        return af_add(c, af_sin(c, x), af_reshape(c, af_exp(c, af_reshape(c, x, 2, d16)), 2, d23));
    case 6: return af_matmul(c, af_transpose(c, x), x);
    default: return af_sub(c, af_constant(c, 0.0), x);
    }
}

TEST(derivatives_by_views_and_negations) {
    static const double numbers[6] = {0.3, -1.2, 0.7, 2.0, -0.4, 1.1};
    int which, how;
    for (which = 0; which < 8; which++)
        for (how = 0; how < 4; how++) {
            af_context *c = test_context(NULL);
            size_t d23[2] = {2, 3}, d32[2] = {3, 2}, d6 = 6, order[2] = {1, 0}, i;
            af_expr z[1], x, leaf, y[2], g[2], one, out[8];
            double *data[1], *got[8];
            z[0] = af_input(c, "z", 1, &d6);
            data[0] = test_array(6);
            memcpy(data[0], numbers, sizeof numbers);
            x = af_reshape(c, z[0], 2, d23);
            if (how == 1) x = af_neg(c, x);
            if (how == 2) x = af_permute(c, af_reshape(c, z[0], 2, d32), order);
            if (how == 3) x = af_broadcast(c, af_slice(c, x, 0, 0, 1), 2, d23);
            { /* the same numbers in a leaf: what the derivatives must be */
                double *value[1];
                test_compute(c, AF_F64, 1, 1, z, readable(data), 1, &x, value);
                leaf = af_constant_array(c, 2, d23, value[0]);
                free(value[0]);
            }
            for (i = 0; i < 2; i++) {
                af_expr at = i ? leaf : x, s;
                y[i] = af_sum(c, af_square(c, through_views(c, at, which)));
                af_grad(c, y[i], 1, &at, &g[i]);
                one = af_full(c, 2, d23, 1.0);
                s = af_sum(c, af_square(c, g[i]));
                out[4 * i] = g[i];
                af_jvp(c, 1, &y[i], 1, &at, &one, &out[4 * i + 1]);
                af_grad(c, s, 1, &at, &out[4 * i + 2]);
                af_laplacian(c, through_views(c, at, which == 3 || which == 6 ? 5 : which), at,
                             NULL, &out[4 * i + 3]);
                if (which == 1 || which == 2) out[4 * i + 3] = s; /* mixes the points */
            }
            test_compute(c, AF_F64, 1, 1, z, readable(data), 8, out, got);
            for (i = 0; i < 4; i++) {
                double d = test_difference(got[i], got[4 + i], af_size(c, out[i]));
                if (d > 1e-12)
                    printf("  case %d, view %d, output %d: off by %g\n", which, how, (int)i, d);
                CHECK(d <= 1e-12);
            }
            test_free(8, got);
            test_free(1, data);
            CHECK(af_error_status(c) == AF_OK);
            af_context_destroy(c);
        }
}

/* ---- every elementwise operation: derivatives of order 1 to 3 in closed form ---- */

typedef void (*closed_form)(long double x, long double d[4]);

static void form_neg(long double x, long double d[4]) {
    (void)x;
    d[1] = -1;
    d[2] = d[3] = 0;
}
static void form_exp(long double x, long double d[4]) { d[1] = d[2] = d[3] = expl(x); }
static void form_log(long double x, long double d[4]) {
    d[1] = 1 / x;
    d[2] = -1 / (x * x);
    d[3] = 2 / (x * x * x);
}
static void form_log1p(long double x, long double d[4]) { form_log(1 + x, d); }
static void form_sqrt(long double x, long double d[4]) {
    d[1] = 0.5L / sqrtl(x);
    d[2] = -d[1] / (2 * x);
    d[3] = -1.5L * d[2] / x;
}
static void form_reciprocal(long double x, long double d[4]) {
    d[1] = -1 / (x * x);
    d[2] = 2 / (x * x * x);
    d[3] = -6 / (x * x * x * x);
}
static void form_sin(long double x, long double d[4]) {
    d[1] = cosl(x);
    d[2] = -sinl(x);
    d[3] = -cosl(x);
}
static void form_cos(long double x, long double d[4]) {
    d[1] = -sinl(x);
    d[2] = -cosl(x);
    d[3] = sinl(x);
}
static void form_tanh(long double x, long double d[4]) {
    long double t = tanhl(x), s = 1 / (coshl(x) * coshl(x));
    d[1] = s;
    d[2] = -2 * t * s;
    d[3] = s * (4 * t * t - 2 * s);
}
static void form_sech2(long double x, long double d[4]) {
    long double t = tanhl(x), s = 1 / (coshl(x) * coshl(x));
    d[1] = -2 * t * s;
    d[2] = s * (4 * t * t - 2 * s);
    d[3] = 8 * t * s * (2 * s - t * t);
}
/* with p = sigmoid(x), q = sigmoid(-x): p' = pq, (pq)' = pq (q - p) */
static void form_sigmoid(long double x, long double d[4]) {
    long double p = reference_unary(AF_OP_SIGMOID, x), q = reference_unary(AF_OP_SIGMOID, -x);
    d[1] = p * q;
    d[2] = p * q * (q - p);
    d[3] = p * q * ((q - p) * (q - p) - 2 * p * q);
}
static void form_softplus(long double x, long double d[4]) {
    long double s[4];
    form_sigmoid(x, s);
    d[1] = reference_unary(AF_OP_SIGMOID, x);
    d[2] = s[1];
    d[3] = s[2];
}
static void form_atan(long double x, long double d[4]) {
    long double r = 1 / (1 + x * x);
    d[1] = r;
    d[2] = -2 * x * r * r;
    d[3] = (6 * x * x - 2) * r * r * r;
}
static void form_abs(long double x, long double d[4]) {
    d[1] = x < 0 ? -1 : 1;
    d[2] = d[3] = 0;
}
static void form_flat(long double x, long double d[4]) {
    (void)x;
    d[1] = d[2] = d[3] = 0;
}

typedef struct formula {
    const char *name;
    unary_builder build;
    closed_form form;
    double low, high;
} formula;

static const formula formulas[] = {
    {"neg", af_neg, form_neg, -3, 3},
    {"exp", af_exp, form_exp, -5, 5},
    {"expm1", af_expm1, form_exp, -5, 5},
    {"log", af_log, form_log, 0.1, 9},
    {"log1p", af_log1p, form_log1p, -0.8, 9},
    {"sqrt", af_sqrt, form_sqrt, 0.1, 9},
    {"reciprocal", af_reciprocal, form_reciprocal, 0.3, 9},
    {"reciprocal", af_reciprocal, form_reciprocal, -9, -0.3},
    {"sin", af_sin, form_sin, -9, 9},
    {"cos", af_cos, form_cos, -9, 9},
    {"tanh", af_tanh, form_tanh, -25, 25},
    {"sech2", af_sech2, form_sech2, -25, 25},
    {"sigmoid", af_sigmoid, form_sigmoid, -40, 40},
    {"softplus", af_softplus, form_softplus, -40, 40},
    {"atan", af_atan, form_atan, -9, 9},
    {"abs", af_abs, form_abs, 0.1, 3},
    {"abs", af_abs, form_abs, -3, -0.1},
    {"sign", af_sign, form_flat, 0.1, 3},
    {"floor", af_floor, form_flat, 0.1, 0.9},
    {"stop", af_stop, form_flat, -3, 3},
};

enum { POINTS = 203 };

static void check_formula(const formula *f) {
    af_context *c = test_context(NULL);
    size_t n = POINTS, i, k;
    af_expr x = af_input(c, "x", 1, &n), one = af_full(c, 1, &n, 1.0), y, r, out[6];
    double *data = test_array(n), *got[6];
    const double *from = data;
    y = r = f->build(c, x);
    for (k = 0; k < 3; k++) { /* forward, and reverse, of each order */
        af_jvp(c, 1, &y, 1, &x, &one, &y);
        out[k] = y;
        af_vjp(c, r, one, 1, &x, &r);
        out[3 + k] = r;
    }
    for (i = 0; i < n; i++) data[i] = f->low + (f->high - f->low) * ((double)i + 0.5) / (double)n;
    CHECK(test_compute(c, AF_F64, 1, 1, &x, &from, 6, out, got));
    for (i = 0; i < n; i++) {
        long double d[4];
        f->form(data[i], d);
        for (k = 0; k < 6; k++) {
            /* relative to the value: also where it is tiny; the third order cancels near its zeros
             */
            double want = (double)d[1 + k % 3],
                   allowed = 1e-14 * fabs(want) + 2e-14 * (double)fabsl(d[1]);
            if (fabs(got[k][i] - want) <= allowed) continue;
            if (fabs(got[k][i] - want) <= 20 * allowed && fabs(data[i]) < 1) continue;
            printf("  %s, order %d, x = %g: %.17g, expected %.17g\n", f->name, (int)(1 + k % 3),
                   data[i], got[k][i], want);
            test_broken++;
        }
    }
    test_free(6, got);
    free(data);
    CHECK(af_error_status(c) == AF_OK);
    af_context_destroy(c);
}

TEST(closed_forms_to_third_order) {
    size_t i;
    for (i = 0; i < AF__COUNT(formulas); i++) check_formula(&formulas[i]);
}

/* atan2(y(t), x(t)) on the curve x = 2 + sin t, y = cos 2t, and the products and quotients of
 * these. */
TEST(two_argument_operations_along_a_curve) {
    af_context *c = test_context(NULL);
    size_t n = 50, i;
    af_expr t = af_input(c, "t", 1, &n), x, y, out[6], one = af_full(c, 1, &n, 1.0), f[3], df[3];
    double *data = test_array(n), *got[6];
    const double *from = data;
    x = af_offset(c, af_sin(c, t), 2.0);
    y = af_cos(c, af_scale(c, t, 2.0));
    f[0] = af_atan2(c, y, x);
    f[1] = af_mul(c, x, y);
    f[2] = af_div(c, y, x);
    af_jvp(c, 3, f, 1, &t, &one, df);
    af_jvp(c, 3, df, 1, &t, &one, out + 3);
    for (i = 0; i < 3; i++) out[i] = df[i];
    for (i = 0; i < n; i++) data[i] = 0.13 * (double)i - 3;
    test_compute(c, AF_F64, 1, 1, &t, &from, 6, out, got);
    for (i = 0; i < n; i++) {
        long double s = data[i], X = 2 + sinl(s), Y = cosl(2 * s), X1 = cosl(s),
                    Y1 = -2 * sinl(2 * s);
        long double X2 = -sinl(s), Y2 = -4 * cosl(2 * s), r2 = X * X + Y * Y;
        CHECK_CLOSE(got[0][i], (X * Y1 - Y * X1) / r2, 1e-14);
        CHECK_CLOSE(got[1][i], X1 * Y + X * Y1, 1e-14);
        CHECK_CLOSE(got[2][i], (Y1 * X - Y * X1) / (X * X), 1e-14);
        CHECK_CLOSE(got[3][i],
                    (X * Y2 - Y * X2) / r2 - 2 * (X * Y1 - Y * X1) * (X * X1 + Y * Y1) / (r2 * r2),
                    1e-13);
        CHECK_CLOSE(got[4][i], X2 * Y + 2 * X1 * Y1 + X * Y2, 1e-13);
        CHECK_CLOSE(got[5][i],
                    Y2 / X - 2 * Y1 * X1 / (X * X) - Y * X2 / (X * X) +
                        2 * Y * X1 * X1 / (X * X * X),
                    1e-13);
    }
    test_free(6, got);
    free(data);
    af_context_destroy(c);
}

/* Siblings keep their accuracy where 1 - tanh^2 has none. */
TEST(derivatives_far_out_are_accurate) {
    static const double x[4] = {19, 25, 40, 300};
    af_context *c = test_context(NULL);
    size_t n = 4, i;
    af_expr in = af_input(c, "x", 1, &n), one = af_full(c, 1, &n, 1.0), f[3], out[3];
    double *got[3];
    const double *data = x;
    f[0] = af_tanh(c, in);
    f[1] = af_sigmoid(c, in);
    f[2] = af_softplus(c, af_neg(c, in));
    af_jvp(c, 3, f, 1, &in, &one, out);
    test_compute(c, AF_F64, 1, 1, &in, &data, 3, out, got);
    for (i = 0; i < n; i++) {
        CHECK_CLOSE(got[0][i] / (double)(1 / (coshl(x[i]) * coshl(x[i]))), 1, 1e-14);
        CHECK_CLOSE(got[1][i] / (double)(1 / (2 + 2 * coshl(x[i]))), 1, 1e-14);
        CHECK_CLOSE(got[2][i] / (double)(-1 / (1 + expl(x[i]))), 1, 1e-14);
    }
    test_free(3, got);
    af_context_destroy(c);
}

/* ---- derivatives through chosen, stopped and moved values ---- */

/* The branch that is not taken may be infinite: its derivative must not leak, in any mode. */
TEST(where_does_not_leak_the_other_branch) {
    static const double x[4] = {-4.0, 0.0, 4.0, 9.0};
    af_context *c = test_context(NULL);
    size_t n = 4, i, k;
    af_expr in = af_input(c, "x", 1, &n), one = af_full(c, 1, &n, 1.0), positive, y[2], out[6];
    double *got[6];
    const double *data = x;
    positive = af_less(c, af_constant(c, 0.0), in);
    y[0] = af_where(c, positive, af_sqrt(c, in), af_constant(c, 0.0));
    y[1] =
        af_where(c, af_sub(c, af_constant(c, 1.0), positive), af_constant(c, 0.0), af_sqrt(c, in));
    af_jvp(c, 2, y, 1, &in, &one, out);
    for (k = 0; k < 2; k++) {
        af_expr safe =
            af_where(c, positive, in, af_constant(c, 1.0)); /* the usual guard for reverse */
        af_expr s = af_where(c, positive, af_sqrt(c, safe), af_constant(c, 0.0));
        if (k) s = af_where(c, positive, af_mul(c, s, one), af_mul(c, in, af_constant(c, 0.0)));
        af_vjp(c, s, one, 1, &in, &out[2 + k]);
        af_jvp(c, 1, &s, 1, &in, &one, &out[4 + k]);
    }
    test_compute(c, AF_F64, 1, 1, &in, &data, 6, out, got);
    for (k = 0; k < 6; k++)
        for (i = 0; i < n; i++) CHECK_CLOSE(got[k][i], x[i] > 0 ? 0.5 / sqrt(x[i]) : 0.0, 1e-15);
    test_free(6, got);
    af_context_destroy(c);
}

TEST(stop_gather_scatter_concat) {
    static const double x[6] = {1, 2, 3, 4, 5, 6}, places[4] = {2, 0, 2, 7};
    af_context *c = test_context(NULL);
    size_t d[2] = {3, 2}, four = 4, i;
    af_expr in = af_input(c, "x", 2, d), index = af_constant_array(c, 1, &four, places), y[5], g[5],
            two[2];
    double *got[5];
    const double *data = x;
    static const double want[5][6] = {{1, 2, 3, 4, 5, 6},   /* x stop(x) */
                                      {4, 8, 0, 0, 20, 24}, /* rows 2, 0, 2, 0, squared */
                                      {0, 0, 0, 0, 0, 0},   /* below */
                                      {3, 5, 7, 9, 11, 13}, /* x^2 + x, through concat */
                                      {0, 0, 0, 0, 0, 0}};
    y[0] = af_sum(c, af_mul(c, in, af_stop(c, in)));
    y[1] = af_sum(c, af_square(c, af_gather(c, in, index)));
    y[2] = af_sum(
        c,
        af_square(
            c, af_scatter(c, in, af_slice(c, af_constant_array(c, 1, &four, places), 0, 0, 3), 3)));
    two[0] = in;
    two[1] = af_square(c, in);
    y[3] = af_sum(c, af_concat(c, 1, 2, two));
    y[4] = af_sum(c, af_floor(c, af_random(c, 2, d, af_sum(c, in), 3)));
    for (i = 0; i < 5; i++) af_grad(c, y[i], 1, &in, &g[i]);
    test_compute(c, AF_F64, 1, 1, &in, &data, 5, g, got);
    for (i = 0; i < 6; i++) {
        CHECK(got[0][i] == want[0][i]);
        CHECK(got[1][i] == want[1][i]);
        /* rows 0 and 2 go to row 2, row 1 to row 0: d/dx of the squared sums */
        CHECK(got[2][i] == (i / 2 == 1 ? 2 * x[i] : 2 * (x[i % 2] + x[4 + i % 2])));
        CHECK(got[3][i] == want[3][i]);
        CHECK(got[4][i] == want[4][i]);
    }
    test_free(5, got);
    af_context_destroy(c);
}

/* ---- Laplacians by three routes ---- */

/* A function of points x (N, D) that uses most operations; each row is its own point. */
static af_expr field(af_context *c, af_expr x, int which, const af_expr *w) {
    af_expr a, b, part[3];
    size_t dims[AF_RANK_MAX], rank = af_shape(c, x, dims);
    int axis = (int)rank - 1;
    a = af_slice(c, x, axis, 0, 1);
    b = af_slice(c, x, axis, 1, 1);
    switch (which) {
    case 0: return af_log(c, af_offset(c, af_sum_axis(c, af_square(c, x), -1), 0.7));
    case 1: return af_atan2(c, af_sin(c, a), af_offset(c, af_exp(c, b), 1.0));
    case 2: return af_matmul(c, af_tanh(c, af_matmul(c, x, w[0])), w[1]);
    case 3: return af_mul(c, af_sigmoid(c, af_neg(c, a)), af_softplus(c, af_mul(c, a, b)));
    case 4:
        part[0] = af_square(c, a);
        part[1] = af_div(c, a, af_offset(c, af_square(c, b), 1.0));
        part[2] = af_sqrt(c, af_offset(c, af_square(c, b), 2.0));
        return af_sum_axis(c, af_sin(c, af_concat(c, axis, 3, part)), -1);
    case 5: return af_where(c, af_less(c, a, b), af_power(c, a, 3), af_reciprocal(c, af_exp(c, b)));
    case 6: return af_maximum(c, af_abs(c, a), af_silu(c, b));
    case 7: /* a product of two matrices that both depend on x: (N,2,D) (N,D,1) */
        dims[rank] = 1;
        part[0] = af_reshape(c, x, rank + 1, dims);
        part[1] = af_cos(c, af_pad(c, af_transpose(c, part[0]), (int)rank - 1, 1, 2));
        part[0] = af_sum_axis(c, af_exp(c, af_matmul(c, part[1], af_sin(c, part[0]))), -2);
        dims[rank - 1] = 1;
        return af_reshape(c, part[0], rank, dims);
    default: return af_mul(c, af_atan(c, a), af_log1p(c, af_expm1(c, af_square(c, af_cos(c, b)))));
    }
}

static af_expr unit_direction(af_context *c, af_expr x, size_t axis) {
    size_t dims[AF_RANK_MAX], rank = af_shape(c, x, dims), width = dims[rank - 1];
    dims[rank - 1] = 1;
    return af_pad(c, af_full(c, rank, dims, 1.0), (int)rank - 1, axis, width);
}

static void check_laplacian(int which, size_t rank, size_t width) {
    af_context *c = test_context(NULL);
    size_t dx[3] = {2, 5, 3}, dw[2], dv[2] = {7, 1}, i;
    af_expr x, w[2], y, lap, gradient, nested, reverse, g, unit, once, out[6];
    double *data, *got[6];
    const double *from;
    dx[2] = dw[0] = width;
    dw[1] = 7;
    x = af_input(c, "x", rank, dx + 3 - rank);
    w[0] = noise_like(c, af_full(c, 2, dw, 0.0), 1);
    w[1] = noise_like(c, af_full(c, 2, dv, 0.0), 2);
    y = field(c, x, which, w);
    CHECK(af_laplacian(c, y, x, &gradient, &lap) == AF_OK);
    nested = reverse = zeros_like(c, y);
    af_grad(c, af_sum(c, y), 1, &x, &g);
    for (i = 0; i < width; i++) {
        af_expr twice;
        unit = unit_direction(c, x, i);
        af_jvp(c, 1, &y, 1, &x, &unit, &once);
        af_jvp(c, 1, &once, 1, &x, &unit, &twice);
        nested = af_add(c, nested, twice);
        af_grad(c, af_sum(c, once), 1, &x, &g);
        reverse = af_add(c, reverse, af_slice(c, g, -1, i, 1));
        if (i == 1) {
            size_t dims[AF_RANK_MAX], r = af_shape(c, y, dims);
            out[3] = once;
            out[4] = af_reshape(c, af_slice(c, gradient, 0, 1, 1), r, dims);
        }
    }
    out[0] = lap;
    out[1] = nested;
    out[2] = reverse;
    data = test_array(af_size(c, x));
    for (i = 0; i < af_size(c, x); i++) data[i] = 2 * af_random_uniform(1, 2, i) - 1;
    from = data;
    test_compute(c, AF_F64, 1, 1, &x, &from, 5, out, got);
    CHECK(test_difference(got[0], got[1], af_size(c, y)) < 1e-11);
    CHECK(test_difference(got[0], got[2], af_size(c, y)) < 1e-11);
    CHECK(test_difference(got[3], got[4], af_size(c, y)) < 1e-12);
    test_free(5, got);
    free(data);
    CHECK(af_error_status(c) == AF_OK);
    if (test_broken)
        printf("  field %d, rank %d, width %d: %s\n", which, (int)rank, (int)width, af_error(c));
    af_context_destroy(c);
}

TEST(three_routes_to_the_laplacian) {
    int which;
    size_t rank, width;
    for (which = 0; which < 9; which++)
        for (rank = 1; rank <= 3; rank++)
            for (width = 2; width <= 4; width++)
                if (rank > 1 || which != 2) check_laplacian(which, rank, width);
}

/* Nodes of six axes that depend on x but not on the way to y do not disturb. */
TEST(laplacian_looks_only_at_what_y_needs) {
    af_context *c = test_context(NULL);
    size_t d[2] = {3, 2}, d6[6] = {1, 1, 1, 1, 3, 2};
    af_expr x = af_input(c, "x", 2, d), y, lap;
    af_exp(c, af_reshape(c, x, 6, d6));
    y = af_sum_axis(c, af_square(c, x), 1);
    CHECK(af_laplacian(c, y, x, NULL, &lap) == AF_OK);
    y = af_exp(c, af_reshape(c, x, 6, d6));
    CHECK(af_laplacian(c, y, x, NULL, &lap) == AF_ERROR_SHAPE);
    CHECK_TEXT(af_error(c), "axes");
    af_context_destroy(c);
}

/* laplacian of r^2 is 2 D, of 1/r in three dimensions 0, of log r in two 0, of exp(k x) k^2 exp(k
 * x). */
TEST(laplacians_with_known_values) {
    af_context *c = test_context(NULL);
    size_t d3[2] = {4, 3}, i;
    static const double x[12] = {1, 2, 3, -0.5, 0.2, 0.9, 2, -1, 0.1, 0.3, 0.3, -0.4};
    af_expr in = af_input(c, "x", 2, d3), r2, y[3], lap[4], g;
    double *got[4];
    const double *data = x;
    r2 = af_sum_axis(c, af_square(c, in), 1);
    y[0] = r2;
    y[1] = af_reciprocal(c, af_sqrt(c, r2));
    y[2] = af_exp(c, af_scale(c, af_sum_axis(c, in, 1), 2.0));
    for (i = 0; i < 3; i++) af_laplacian(c, y[i], in, &g, &lap[i]);
    af_laplacian(c, in, in, NULL, &lap[3]);
    test_compute(c, AF_F64, 1, 1, &in, &data, 4, lap, got);
    for (i = 0; i < 4; i++) {
        CHECK_CLOSE(got[0][i], 6.0, 1e-14);
        CHECK_CLOSE(got[1][i], 0.0, 1e-12);
        CHECK_CLOSE(got[2][i], 12 * exp(2 * (x[3 * i] + x[3 * i + 1] + x[3 * i + 2])), 1e-13);
    }
    for (i = 0; i < 12; i++) CHECK(got[3][i] == 0);
    test_free(4, got);
    af_context_destroy(c);
}

/* ---- third order: the gradient by the weights of a loss of the Laplacian of a network ---- */

enum { PARAMETERS = 5 };

static af_expr laplacian_loss(af_context *c, const af_expr *w, af_expr x) {
    af_expr h, y, g, lap;
    h = af_tanh(c, af_add(c, af_matmul(c, x, w[0]), w[1]));
    h = af_tanh(c, af_add(c, af_matmul(c, h, w[2]), w[3]));
    y = af_matmul(c, h, w[4]);
    af_laplacian(c, y, x, &g, &lap);
    return af_add(c, af_mean(c, af_square(c, lap)),
                  af_mean(c, af_softplus(c, af_sum_axis(c, g, 0))));
}

TEST(weights_gradient_of_a_laplacian_loss) {
    static const size_t shapes[PARAMETERS][2] = {{3, 5}, {1, 5}, {5, 4}, {1, 4}, {4, 1}};
    const double h = 1e-4;
    af_context *c = test_context(NULL);
    size_t dx[2] = {6, 3}, i, k;
    af_expr in[PARAMETERS], x, loss, out[PARAMETERS + 1];
    double *data[PARAMETERS], *got[PARAMETERS + 1], *side[2];
    for (i = 0; i < PARAMETERS; i++) {
        in[i] = af_input(c, "w", 2, shapes[i]);
        data[i] = test_array(af_size(c, in[i]));
        for (k = 0; k < af_size(c, in[i]); k++) data[i][k] = 1.6 * af_random_uniform(4, i, k) - 0.8;
    }
    x = noise_like(c, af_full(c, 2, dx, 0.0), 3);
    loss = laplacian_loss(c, in, x);
    CHECK(af_grad(c, loss, PARAMETERS, in, out) == AF_OK);
    out[PARAMETERS] = loss;
    test_compute(c, AF_F64, 1, PARAMETERS, in, readable(data), PARAMETERS + 1, out, got);
    for (i = 0; i < PARAMETERS; i++)
        for (k = 0; k < af_size(c, in[i]); k += 3) {
            data[i][k] += h;
            test_compute(c, AF_F64, 1, PARAMETERS, in, readable(data), 1, &loss, &side[0]);
            data[i][k] -= 2 * h;
            test_compute(c, AF_F64, 1, PARAMETERS, in, readable(data), 1, &loss, &side[1]);
            data[i][k] += h;
            CHECK_CLOSE(got[i][k], (side[0][0] - side[1][0]) / (2 * h), 1e-6);
            test_free(2, side);
        }
    test_free(PARAMETERS + 1, got);
    test_free(PARAMETERS, data);
    af_context_destroy(c);
}

/* ---- matrix products of batches, with both factors moving ---- */

TEST(stacked_tangents_of_batches) {
    af_context *c = test_context(NULL);
    size_t da[4] = {2, 3, 4, 5}, db[4] = {2, 3, 5, 2}, one[5] = {1, 0, 0, 0, 0},
           shape[5] = {1, 2, 3, 4, 2}, i;
    af_expr in[2], t[2], s[2], y, both, single, pair[2];
    double *data[2], *got[2];
    in[0] = af_input(c, "a", 4, da);
    in[1] = af_input(c, "b", 4, db);
    for (i = 0; i < 2; i++) {
        size_t k;
        data[i] = test_array(af_size(c, in[i]));
        for (k = 0; k < af_size(c, in[i]); k++) data[i][k] = af_random_uniform(1, i, k);
        t[i] = noise_like(c, in[i], 40 + i);
        for (k = 0; k < 4; k++) one[k + 1] = i ? db[k] : da[k];
        pair[0] = af_reshape(c, t[i], 5, one);
        pair[1] = af_scale(c, pair[0], 2.0);
        s[i] = af_concat(c, 0, 2, pair);
    }
    y = af_matmul(c, in[0], in[1]);
    CHECK(af_jvp(c, 1, &y, 2, in, t, &single) == AF_OK);
    CHECK(af_jvp(c, 1, &y, 2, in, s, &both) == AF_OK);
    single = af_scale(c, af_reshape(c, single, 5, shape), 2.0);
    both = af_slice(c, both, 0, 1, 1);
    pair[0] = single;
    pair[1] = both;
    test_compute(c, AF_F64, 1, 2, in, readable(data), 2, pair, got);
    CHECK(test_difference(got[0], got[1], 48) < 1e-13);
    test_free(2, got);
    test_free(2, data);
    af_context_destroy(c);
}

/* ---- what is asked wrongly ---- */

TEST(errors_of_differentiation) {
    af_context *c = test_context(NULL);
    size_t d[2] = {3, 4}, d5 = 5;
    af_expr x = af_input(c, "x", 2, d), w = af_input(c, "w", 1, &d5),
            y = af_label(c, af_exp(c, x), "energy"), out, lap;
    CHECK(af_grad(c, y, 1, &x, &out) == AF_ERROR_SHAPE && out.id == 0);
    CHECK_TEXT(af_error(c), "grad: y must be a scalar, it is (3,4) 'energy'");
    af_error_clear(c);
    CHECK(af_vjp(c, y, w, 1, &x, &out) == AF_ERROR_SHAPE && out.id == 0);
    CHECK_TEXT(af_error(c), "vjp: y (3,4) 'energy' with a weight (5)");
    af_error_clear(c);
    CHECK(af_jvp(c, 1, &y, 1, &x, &w, &out) == AF_ERROR_SHAPE && out.id == 0);
    CHECK_TEXT(af_error(c), "jvp: x (3,4) has a tangent (5)");
    af_error_clear(c);
    CHECK(af_laplacian(c, y, af_sum(c, x), NULL, &lap) == AF_ERROR_SHAPE && lap.id == 0);
    CHECK_TEXT(af_error(c), "laplacian: x must have 1 to 5 axes");
    af_error_clear(c);
    /* no dependence: zeros in the shape of the argument */
    CHECK(af_grad(c, af_sum(c, y), 1, &w, &out) == AF_OK);
    CHECK(out.id == af_full(c, 1, &d5, 0.0).id);
    CHECK(af_jvp(c, 1, &y, 1, &w, &w, &out) == AF_OK);
    CHECK(out.id == af_full(c, 2, d, 0.0).id);
    /* y is x itself, and one x twice */
    CHECK(af_vjp(c, x, x, 1, &x, &out) == AF_OK && out.id == x.id);
    CHECK(af_jvp(c, 1, &x, 1, &x, &y, &out) == AF_OK && out.id == y.id);
    af_context_destroy(c);
}

int main(void) {
    RUN(forward_and_reverse_are_adjoint);
    RUN(forward_agrees_with_differences);
    RUN(stacked_tangents_equal_separate_ones);
    RUN(second_derivatives_are_symmetric);
    RUN(derivatives_by_views_and_negations);
    RUN(closed_forms_to_third_order);
    RUN(two_argument_operations_along_a_curve);
    RUN(derivatives_far_out_are_accurate);
    RUN(where_does_not_leak_the_other_branch);
    RUN(stop_gather_scatter_concat);
    RUN(three_routes_to_the_laplacian);
    RUN(laplacian_looks_only_at_what_y_needs);
    RUN(laplacians_with_known_values);
    RUN(weights_gradient_of_a_laplacian_loss);
    RUN(stacked_tangents_of_batches);
    RUN(errors_of_differentiation);
    return test_report();
}
