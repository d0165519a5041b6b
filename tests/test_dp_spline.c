/* Spline flows: splines by hand, inverses, determinants, normalisation, fits, draws, files. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "af_heap.h"
#include <unistd.h>

#define SAY(...)                                            \
    do {                                                    \
        if (getenv("AF_VERBOSE")) printf("  " __VA_ARGS__); \
    } while (0)

enum { ROWS = DP__SPLINE_ROWS, MANY = 20000, STARS = 8000 };

#define SHAKE 0.1

static heap memory;
static af_context *c;
static double y[MANY][6], z[MANY][6], back[MANY][6], gradient[MANY][6], ln_f[MANY], truth[MANY];

static double normal(uint64_t seed, uint64_t stream, uint64_t i) {
    return af_random_normal(seed, stream, i);
}

/* A flow in standardised coordinates, its parameters moved by normal numbers of this size. */
static dp_df *make_flow(const dp_df_desc *desc, double size) {
    dp_df_desc d = *desc;
    dp_df *df = NULL;
    size_t i;
    d.kind = DP_DF_SPLINE;
    CHECK(dp__df_open(c, &d, &df) == AF_OK);
    for (i = 0; df && i < af_params_size(df->params); i++)
        af_params_data(df->params)[i] += size * normal(5, 7, i);
    return df;
}

static dp_df *small_flow(double size) {
    dp_df_desc d = DP__ZERO;
    d.seed = 3;
    d.transforms = 3;
    return make_flow(&d, size);
}

static af_expr points(size_t n, size_t width) {
    size_t dims[2];
    dims[0] = n;
    dims[1] = width;
    return af_input(c, "points", 2, dims);
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

/* z and ln of the determinant at ROWS points. */
static void forward(const dp_df *df, const double *from, double *to, double *log_det) {
    af_expr in[2], out[2];
    const void *inputs[2];
    void *outputs[2];
    in[0] = points(ROWS, 6);
    in[1] = af_params_input(df->params);
    out[0] = af_transpose(c, dp__spline_forward(df, af_transpose(c, in[0]), &out[1]));
    inputs[0] = from;
    inputs[1] = af_params_data(df->params);
    outputs[0] = to;
    outputs[1] = log_det;
    run_once(2, in, 2, out, inputs, outputs);
}

static double determinant(double a[6][6]) {
    double product = 1.0;
    int i, k, j, best;
    for (k = 0; k < 6; k++) {
        for (best = i = k; i < 6; i++)
            if (fabs(a[i][k]) > fabs(a[best][k])) best = i;
        if (best != k) product = -product;
        for (j = 0; j < 6; j++) {
            double x = a[k][j];
            a[k][j] = a[best][j];
            a[best][j] = x;
        }
        product *= a[k][k];
        for (i = k + 1; i < 6; i++)
            for (j = 5; j >= k; j--) a[i][j] -= a[i][k] / a[k][k] * a[k][j];
    }
    return product;
}

/* ---- one spline, by the book ---- */

enum { COLUMNS = 300 };

static dp_df one_spline(size_t bins, double bound) {
    dp_df df = DP__ZERO;
    df.c = c;
    df.desc.bins = bins;
    df.desc.bound = bound;
    return df;
}

/* Widths or heights, and the slopes, of a spline with these numbers (eq. numbers of Durkan et al.:
 * knots, softmax, shifted softplus), all in units of x. */
static void book_knots(size_t bins, double bound, const double *logit, double *knot) {
    double sum = 0.0;
    size_t k;
    for (k = 0; k < bins; k++) sum += exp(logit[k]);
    knot[0] = -bound;
    for (k = 0; k < bins; k++)
        knot[k + 1] = knot[k] + 2.0 * bound *
                                    (1e-3 + (1.0 - 1e-3 * (double)bins) * exp(logit[k]) / sum);
}

static double book_slope(double raw) {
    return 1e-3 + log(1.0 + exp(raw) * (exp(1.0 - 1e-3) - 1.0));
}

/* Value and derivative at x; raw: 3 bins - 1. */
static double book_spline(size_t bins, double bound, const double *raw, double x, double *slope) {
    double x_knot[65], y_knot[65], d0, d1, s, t, q, under, h;
    size_t k = 0;
    book_knots(bins, bound, raw, x_knot);
    book_knots(bins, bound, raw + bins, y_knot);
    *slope = 1.0;
    if (fabs(x) >= bound) return x;
    while (k + 1 < bins && x > x_knot[k + 1]) k++;
    d0 = k == 0 ? 1.0 : book_slope(raw[2 * bins + k - 1]);
    d1 = k + 1 == bins ? 1.0 : book_slope(raw[2 * bins + k]);
    h = y_knot[k + 1] - y_knot[k];
    s = h / (x_knot[k + 1] - x_knot[k]);
    t = (x - x_knot[k]) / (x_knot[k + 1] - x_knot[k]);
    q = t * (1.0 - t);
    under = s + (d1 + d0 - 2.0 * s) * q;
    *slope = s * s * (d1 * t * t + 2.0 * s * q + d0 * (1.0 - t) * (1.0 - t)) / (under * under);
    return y_knot[k] + h * (s * t * t + d0 * q) / under;
}

/* The splines of three coordinates at COLUMNS points each: (3,COLUMNS) arrays. */
typedef struct spline_case {
    double raw[3 * 191 * COLUMNS];
    double x[3 * COLUMNS], value[3 * COLUMNS], log_slope[3 * COLUMNS], back[3 * COLUMNS];
} spline_case;

static spline_case one;

static void bend(size_t bins, double bound) {
    dp_df df = one_spline(bins, bound);
    dp__spline_kind kind;
    af_expr in[2], out[3];
    const void *inputs[2];
    void *outputs[3];
    in[0] = points(3 * (3 * bins - 1), COLUMNS);
    in[1] = points(3, COLUMNS);
    kind = dp__spline_kind_of(&df);
    out[0] = dp__spline_bend(&kind, in[0], in[1], &out[1]);
    out[2] = dp__spline_unbend(&kind, in[0], out[0]);
    inputs[0] = one.raw;
    inputs[1] = one.x;
    outputs[0] = one.value;
    outputs[1] = one.log_slope;
    outputs[2] = one.back;
    run_once(2, in, 3, out, inputs, outputs);
}

/* The numbers of coordinate i are raw[i] in every column. */
static void fill(size_t bins, double raw[3][191]) {
    size_t i, k, j;
    for (k = 0; k < 3 * bins - 1; k++)
        for (i = 0; i < 3; i++)
            for (j = 0; j < COLUMNS; j++) one.raw[(3 * k + i) * COLUMNS + j] = raw[i][k];
}

/* Value, slope and inverse on a grid that reaches beyond the bound, against the book. */
TEST(spline_by_the_book) {
    static const size_t bins[4] = {2, 3, 8, 64};
    static double raw[3][191];
    size_t b, i, j, k;
    for (b = 0; b < 4; b++) {
        double bound = 1.5 + (double)b;
        for (i = 0; i < 3; i++)
            for (k = 0; k < 3 * bins[b] - 1; k++) raw[i][k] = 1.5 * normal(b, i, k);
        for (j = 0; j < 3 * COLUMNS; j++)
            one.x[j] = 1.3 * bound * (2.0 * (double)(j % COLUMNS) / (COLUMNS - 1) - 1.0);
        fill(bins[b], raw);
        bend(bins[b], bound);
        for (j = 0; j < 3 * COLUMNS; j++) {
            double slope, value = book_spline(bins[b], bound, raw[j / COLUMNS], one.x[j], &slope);
            CHECK_CLOSE(one.value[j], value, 1e-12);
            CHECK_CLOSE(one.log_slope[j], log(slope), 1e-11);
            CHECK_CLOSE(one.back[j], one.x[j], 1e-12);
        }
    }
}

/* Left and right of each knot and of the bound: values and slopes go on; the slope at knots is the
 * one that the spline was given; zeros give the identity. */
TEST(spline_is_smooth) {
    enum { BINS = 8 };
    static double raw[3][191];
    double knot[BINS + 1];
    size_t i, k, j;
    for (i = 0; i < 3; i++)
        for (k = 0; k < 3 * BINS - 1; k++) raw[i][k] = normal(9, i, k);
    fill(BINS, raw);
    for (i = 0; i < 3; i++) {
        book_knots(BINS, 4.0, raw[i], knot);
        for (j = 0; j < COLUMNS; j++)
            one.x[i * COLUMNS + j] = knot[j / 2 % (BINS + 1)] + (j % 2 ? 1e-11 : -1e-11);
    }
    bend(BINS, 4.0);
    for (j = 0; j < 3 * COLUMNS; j += 2) {
        size_t at = j % COLUMNS / 2 % (BINS + 1);
        double slope =
            at == 0 || at == BINS ? 1.0 : book_slope(raw[j / COLUMNS][2 * BINS + at - 1]);
        CHECK_CLOSE(one.value[j + 1] - one.value[j], 2e-11 * slope, 1e-14);
        CHECK_CLOSE(one.log_slope[j], log(slope), 1e-7); /* second derivatives reach 1e3 */
        CHECK_CLOSE(one.log_slope[j + 1], log(slope), 1e-7);
    }
    memset(raw, 0, sizeof raw);
    fill(BINS, raw);
    for (j = 0; j < 3 * COLUMNS; j++) one.x[j] = 3.0 * normal(10, 0, j);
    bend(BINS, 4.0);
    for (j = 0; j < 3 * COLUMNS; j++) {
        CHECK_CLOSE(one.value[j], one.x[j], 1e-15);
        CHECK_CLOSE(one.log_slope[j], 0.0, 1e-15);
    }
}

/* Logits far beyond exp's range, and points far away. */
TEST(spline_survives_large_numbers) {
    enum { BINS = 4 };
    static double raw[3][191];
    size_t i, k, j;
    for (i = 0; i < 3; i++)
        for (k = 0; k < 3 * BINS - 1; k++) raw[i][k] = 2000.0 * normal(12, i, k);
    fill(BINS, raw);
    for (j = 0; j < 3 * COLUMNS; j++) one.x[j] = j % 3 ? 5.0 * normal(13, 0, j) : 1e12;
    bend(BINS, 4.0);
    for (j = 0; j < 3 * COLUMNS; j++) {
        CHECK(dp__is_finite(one.log_slope[j]));
        CHECK(fabs(one.x[j]) < 4.0 ? fabs(one.value[j]) <= 4.0 : one.value[j] == one.x[j]);
    }
}

/* ---- the linear map ---- */

TEST(linear_map) {
    dp_df_desc d = DP__ZERO;
    dp_df *df;
    double w[6][6] = {{0}}, map[6][6], in_lower[6][6], *a, sum = 0.0;
    static double x[36], got[36], again[36];
    dp__linear l;
    af_expr in[2], out[2];
    const void *inputs[2];
    void *outputs[2];
    size_t i, j, k;
    d.transforms = 1;
    d.seed = 8;
    df = make_flow(&d, 0.4);
    a = af_params_view(df->params, dp__spline_of(df)->step[0].linear);
    for (i = 0; i < 6; i++)
        for (j = 0; j < 6; j++)
            for (k = 0; k < 6; k++) { /* L S U */
                double lower = k < i ? a[6 * i + k] : k == i ? 1.0 : 0.0;
                double upper = j > k ? a[6 * k + j] : k == j ? 1.0 : 0.0;
                w[i][j] += lower * exp(a[6 * k + k]) * upper;
            }
    for (i = 0; i < 6; i++) {
        const double *row = dp__spline_of(df)->step[0].permutation + 6 * i;
        double ones = 0.0;
        for (j = 0; j < 6; j++) {
            for (map[i][j] = 0.0, k = 0; k < 6; k++) map[i][j] += row[k] * w[k][j];
            ones += row[j];
            CHECK(row[j] == 0.0 || row[j] == 1.0);
        }
        CHECK(ones == 1.0);
        sum += a[7 * i];
    }
    for (i = 0; i < 36; i++) x[i] = i % 7 == 0 ? 1.0 : 0.0;
    in[0] = points(6, 6);
    in[1] = af_params_input(df->params);
    l = dp__linear_of(df, &dp__spline_of(df)->step[0]);
    out[0] = dp__linear_apply(c, &l, in[0]);
    out[1] = dp__linear_invert(c, &l, out[0]);
    inputs[0] = x;
    inputs[1] = af_params_data(df->params);
    outputs[0] = got;
    outputs[1] = again;
    run_once(2, in, 2, out, inputs, outputs);
    for (i = 0; i < 36; i++) {
        CHECK_CLOSE(got[i], map[i / 6][i % 6], 1e-14);
        CHECK_CLOSE(again[i], x[i], 1e-13);
    }
    memcpy(in_lower, map, sizeof map);
    CHECK_CLOSE(log(fabs(determinant(in_lower))), sum, 1e-13);
    dp_df_destroy(df);
}

/* ---- the flow ---- */

TEST(untrained_is_normal) {
    dp_df_desc d = DP__ZERO;
    dp_df *df = make_flow(&d, 0.0);
    size_t i, k;
    CHECK(df->desc.width == 16 && df->desc.depth == 3 && df->desc.transforms == 4);
    CHECK(df->desc.bins == 5 && df->desc.bound == 4.0);
    /* 4 linear maps, and 8 networks 3-16-16-16-42 */
    CHECK(dp_df_parameters(df) == 4 * 36 + 8 * (4 * 16 + 2 * 17 * 16 + 17 * 42));
    for (i = 0; i < 300; i++)
        for (k = 0; k < 6; k++) y[i][k] = 2.0 * normal(1, k, i);
    CHECK(dp__spline_evaluate(df, 300, y[0], ln_f, gradient[0]) == AF_OK);
    for (i = 0; i < 300; i++) {
        double sum = -3.0 * log(2.0 * DP__PI);
        for (k = 0; k < 6; k++) sum -= y[i][k] * y[i][k] / 2.0;
        CHECK_CLOSE(ln_f[i], sum, 1e-13);
        for (k = 0; k < 6; k++) CHECK_CLOSE(gradient[i][k], -y[i][k], 1e-12);
    }
    dp_df_destroy(df);
}

/* Drawn y goes back to the normal numbers it came from; ln f is made of them and the
 * determinant. */
static void check_inverse(dp_df *df, double *det) {
    double worst = 0.0;
    size_t i, k;
    CHECK(dp__spline_draw(df, ROWS, 17, y[0]) == AF_OK);
    forward(df, y[0], z[0], det);
    CHECK(dp__spline_evaluate(df, ROWS, y[0], ln_f, NULL) == AF_OK);
    for (i = 0; i < ROWS; i++) {
        double sum = det[i] - 3.0 * log(2.0 * DP__PI);
        for (k = 0; k < 6; k++) {
            worst = fmax(worst, fabs(z[i][k] - normal(17, DP__SPLINE_STREAM, 6 * i + k)));
            sum -= z[i][k] * z[i][k] / 2.0;
        }
        CHECK_CLOSE(ln_f[i], sum, 1e-13);
    }
    SAY("inverse to %g\n", worst);
    CHECK(worst < 1e-12);
}

/* The determinant is that of central differences. */
TEST(inverse_and_determinant) {
    dp_df *df = small_flow(SHAKE);
    static double det[ROWS], moved[ROWS][6], of_moved[ROWS][6], unused[ROWS];
    double h = 1e-5;
    size_t i, j, k;
    check_inverse(df, det);
    for (i = 0; i + 12 <= ROWS; i += 12) /* 12 rows: each coordinate of a point to both sides */
        for (j = 0; j < 12; j++)
            for (k = 0; k < 6; k++)
                moved[i + j][k] = y[i][k] + (k == j / 2 ? (j % 2 ? h : -h) : 0.0);
    forward(df, moved[0], of_moved[0], unused);
    for (i = 0; i + 12 <= ROWS; i += 12) {
        double jacobian[6][6];
        for (j = 0; j < 6; j++)
            for (k = 0; k < 6; k++)
                jacobian[k][j] = (of_moved[i + 2 * j + 1][k] - of_moved[i + 2 * j][k]) / (2.0 * h);
        /* a second derivative that jumps at a knot within h counts as h */
        CHECK_CLOSE(log(fabs(determinant(jacobian))), det[i], 1e-4);
    }
    dp_df_destroy(df);
}

TEST(gradient_by_differences) {
    dp_df *df = small_flow(SHAKE);
    static double moved[600][6], value[600];
    double h = 1e-6;
    size_t i, k;
    CHECK(dp__spline_draw(df, 50, 18, y[0]) == AF_OK);
    CHECK(dp__spline_evaluate(df, 50, y[0], NULL, gradient[0]) == AF_OK);
    for (i = 0; i < 600; i++) {
        memcpy(moved[i], y[i / 12], sizeof moved[i]);
        moved[i][i / 2 % 6] += i % 2 ? h : -h;
    }
    CHECK(dp__spline_evaluate(df, 600, moved[0], value, NULL) == AF_OK);
    for (i = 0; i < 50; i++)
        for (k = 0; k < 6; k++)
            CHECK_CLOSE(gradient[i][k],
                        (value[12 * i + 2 * k + 1] - value[12 * i + 2 * k]) / (2.0 * h), 1e-6);
    dp_df_destroy(df);
}

/* The integral of f is the mean of f/q over draws of q, and that of q is the mean of q/f over draws
 * of f; q is a normal distribution about the mean of draws of f, at first a little wider than they
 * are along each axis, then narrower. */
TEST(normalisation) {
    dp_df *df = small_flow(SHAKE);
    double mean[6] = {0}, square[6] = {0};
    int way;
    size_t i, k;
    CHECK(dp__spline_draw(df, STARS, 19, z[0]) == AF_OK);
    for (i = 0; i < STARS; i++)
        for (k = 0; k < 6; k++) {
            mean[k] += z[i][k] / (double)STARS;
            square[k] += z[i][k] * z[i][k] / (double)STARS;
        }
    for (way = 0; way < 2; way++) {
        double sum = 0.0, squares = 0.0, error, q, width[6];
        for (k = 0; k < 6; k++)
            width[k] = (way ? 0.6 : 1.3) * sqrt(square[k] - mean[k] * mean[k]);
        for (i = 0; i < STARS; i++)
            for (k = 0; k < 6; k++)
                y[i][k] = way ? z[i][k] : mean[k] + width[k] * normal(20, k, i);
        CHECK(dp__spline_evaluate(df, STARS, y[0], ln_f, NULL) == AF_OK);
        for (i = 0; i < STARS; i++) {
            for (q = -3.0 * log(2.0 * DP__PI), k = 0; k < 6; k++) {
                double away = (y[i][k] - mean[k]) / width[k];
                q -= away * away / 2.0 + log(width[k]);
            }
            q = exp(way ? q - ln_f[i] : ln_f[i] - q);
            sum += q / (double)STARS;
            squares += q * q / (double)STARS;
        }
        error = sqrt((squares - sum * sum) / (double)STARS);
        SAY("integral %.4f +- %.4f\n", sum, error);
        CHECK(error < 0.04);
        CHECK(fabs(sum - 1.0) < 4.0 * error);
    }
    dp_df_destroy(df);
}

/* Any number of points gives what each gives alone, on any number of threads; a shorter draw is the
 * beginning of a longer one; new parameters count at once, without another function. */
TEST(any_number_of_points) {
    static const size_t counts[5] = {1, 2, 255, 257, 700};
    dp_df *df = small_flow(SHAKE);
    const af_func *before;
    double first;
    size_t i, k;
    CHECK(dp__spline_draw(df, 700, 21, y[0]) == AF_OK);
    CHECK(dp__spline_evaluate(df, 700, y[0], truth, z[0]) == AF_OK);
    for (k = 0; k < 5; k++) {
        af_context_set_threads(c, k % 2 ? 3 : 1);
        CHECK(dp__spline_evaluate(df, counts[k], y[0], ln_f, gradient[0]) == AF_OK);
        CHECK(memcmp(ln_f, truth, counts[k] * sizeof *ln_f) == 0);
        CHECK(memcmp(gradient, z, counts[k] * sizeof *z) == 0);
        CHECK(dp__spline_draw(df, counts[k], 21, back[0]) == AF_OK);
        CHECK(memcmp(back, y, counts[k] * sizeof *y) == 0);
    }
    af_context_set_threads(c, 1);
    CHECK(dp__spline_draw(df, 0, 21, back[0]) == AF_OK);
    CHECK(dp__spline_evaluate(df, 0, y[0], ln_f, gradient[0]) == AF_OK);
    CHECK(dp__spline_evaluate(df, 1, y[0], NULL, NULL) == AF_OK);
    CHECK(dp__spline_draw(df, 700, 22, back[0]) == AF_OK);
    CHECK(memcmp(back, y, sizeof y[0]) != 0);
    CHECK(dp__spline_evaluate(df, 700, y[0], ln_f, NULL) == AF_OK);
    for (i = 0; i < 700; i++) CHECK_CLOSE(ln_f[i], truth[i], 1e-13); /* two functions, one value */
    before = dp__spline_of(df)->value;
    first = ln_f[0];
    af_params_view(df->params, dp__spline_of(df)->step[0].linear)[0] += 0.5;
    CHECK(dp__spline_evaluate(df, 1, y[0], ln_f, NULL) == AF_OK);
    CHECK(ln_f[0] != first && dp__spline_of(df)->value == before);
    dp_df_destroy(df);
}

TEST(far_away) {
    dp_df *df = small_flow(SHAKE);
    size_t i, k;
    for (i = 0; i < 6; i++)
        for (k = 0; k < 6; k++) y[i][k] = k == i ? 1e6 : 0.3;
    CHECK(dp__spline_evaluate(df, 6, y[0], ln_f, gradient[0]) == AF_OK);
    for (i = 0; i < 6; i++) {
        CHECK(dp__is_finite(ln_f[i]) && ln_f[i] < -1e9);
        for (k = 0; k < 6; k++) CHECK(dp__is_finite(gradient[i][k]));
    }
    dp_df_destroy(df);
}

/* The loss over rows is -mean of weight times ln f. */
TEST(loss_by_hand) {
    dp_df *df = small_flow(SHAKE);
    static double rows[ROWS][DP__ROW];
    double sum = 0.0, loss = 0.0;
    af_expr in[2], out;
    const void *inputs[2];
    void *output = &loss;
    size_t i, k;
    for (i = 0; i < ROWS; i++) {
        for (k = 0; k < 6; k++) rows[i][k] = y[i][k] = normal(23, k, i);
        rows[i][6] = af_random_uniform(23, 6, i);
        for (k = 7; k < DP__ROW; k++) rows[i][k] = 1e3; /* not looked at */
    }
    CHECK(dp__spline_evaluate(df, ROWS, y[0], ln_f, NULL) == AF_OK);
    for (i = 0; i < ROWS; i++) sum -= rows[i][6] * ln_f[i] / (double)ROWS;
    in[0] = points(ROWS, DP__ROW);
    in[1] = af_params_input(df->params);
    out = dp__spline_loss(df, in[0], af_constant(c, 0.0));
    inputs[0] = rows;
    inputs[1] = af_params_data(df->params);
    run_once(2, in, 1, &out, inputs, &output);
    CHECK_CLOSE(loss, sum, 1e-13);
    dp_df_destroy(df);
}

/* ---- fits ---- */

/* A mixture of two normal distributions, 30 % and 70 %, apart along x + vy, of other widths. */
static double mixture_ln_f(const double *e) {
    double f = 0.0;
    int m, k;
    for (m = 0; m < 2; m++) {
        double width = m ? 3.0 : 1.5, ln = log(m ? 0.7 : 0.3) - 6.0 * log(width);
        for (k = 0; k < 6; k++) {
            double away = e[k] - (k == 0 || k == 4 ? (m ? -2.5 : 5.0) : (double)k);
            ln -= away * away / (2.0 * width * width);
        }
        f += exp(ln - 3.0 * log(2.0 * DP__PI));
    }
    return log(f);
}

static void mixture(uint64_t seed, size_t n, double (*eta)[6]) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        int m = af_random_uniform(seed, 0, i) > 0.3;
        for (k = 0; k < 6; k++)
            eta[i][k] = (k == 0 || k == 4 ? (m ? -2.5 : 5.0) : (double)k) +
                        (m ? 3.0 : 1.5) * normal(seed, k + 1, i);
    }
}

/* -mean ln of the normal distribution with the mean and covariance of these stars. */
static double normal_entropy(size_t n, double (*eta)[6]) {
    double mean[6] = {0}, cov[6][6] = {{0}};
    size_t i, k, j;
    for (i = 0; i < n; i++)
        for (k = 0; k < 6; k++) mean[k] += eta[i][k] / (double)n;
    for (i = 0; i < n; i++)
        for (k = 0; k < 6; k++)
            for (j = 0; j < 6; j++)
                cov[k][j] += (eta[i][k] - mean[k]) * (eta[i][j] - mean[j]) / (double)n;
    return 3.0 * log(2.0 * DP__PI) + 3.0 + log(determinant(cov)) / 2.0;
}

static double mean_of(size_t n, const double *x) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < n; i++) sum += x[i] / (double)n;
    return sum;
}

/* Mean, second moments, and the fraction at x + vy > 3 of draws, beside those of the stars. */
static void compare_moments(size_t n, double (*a)[6], double (*b)[6]) {
    double left = 0.0;
    size_t i, k, j;
    for (k = 0; k < 6; k++)
        for (j = 0; j <= k; j++) {
            double one_a = 0.0, one_b = 0.0, two = 0.0;
            for (i = 0; i < n; i++) {
                one_a += (a[i][k] - b[i][k]) / (double)n;
                two += (a[i][k] * a[i][j] - b[i][k] * b[i][j]) / (double)n;
                one_b += (b[i][k] * b[i][k]) / (double)n;
            }
            CHECK(fabs(one_a) < 0.07 * sqrt(one_b)); /* sqrt(2/n) is 0.016 */
            CHECK(fabs(two) < 0.08 * one_b + 0.2);
        }
    for (i = 0; i < n; i++) left += ((a[i][0] + a[i][4] > 3.0) - (b[i][0] + b[i][4] > 3.0));
    CHECK(fabs(left / (double)n) < 0.02);
}

/* 12 epochs of 70 steps. */
static dp_df *fit_mixture(dp_df_report *report, dp_sample **sample) {
    dp_df_desc d = DP__ZERO;
    dp_fit_desc fit = DP__ZERO;
    dp_df *df = NULL;
    mixture(1, MANY, y);
    d.kind = DP_DF_SPLINE;
    d.transforms = 2;
    d.width = 8;
    d.depth = 2;
    d.bins = 4;
    d.seed = 2;
    fit.epochs = 12;
    fit.batch = 256;
    fit.schedule.rate = 1e-2; /* few steps */
    CHECK(dp_sample_create(c, MANY, y[0], NULL, NULL, NULL, sample) == AF_OK);
    CHECK(dp_df_create(*sample, &d, &df) == AF_OK);
    CHECK(dp_df_fit(df, *sample, &fit, report) == AF_OK);
    return df;
}

/* Held-out stars are almost as likely as in truth, by far likelier than in one normal distribution;
 * draws have the moments of stars; the file gives it all back to the same bits. */
TEST(fit_of_a_mixture) {
    char path[600];
    const char *folder = getenv("TMPDIR");
    dp_sample *sample = NULL;
    dp_df_report report = DP__ZERO;
    dp_df *df = fit_mixture(&report, &sample), *again = NULL;
    double best, found, one_normal;
    size_t i;
    mixture(2, STARS, z);
    one_normal = normal_entropy(STARS, z);
    for (i = 0; i < STARS; i++) truth[i] = mixture_ln_f(z[i]);
    CHECK(dp_df_evaluate(df, STARS, z[0], ln_f, gradient[0]) == AF_OK);
    best = mean_of(STARS, truth);
    found = mean_of(STARS, ln_f);
    SAY("mean ln f: truth %.4f, flow %.4f, one normal distribution %.4f\n", best, found,
        -one_normal);
    CHECK(found > best - 0.05 && found < best + 0.02);
    CHECK(found > -one_normal + 0.1);
    CHECK(report.held_out == 2000 && report.stars == 18000);
    CHECK(report.validation < report.untrained - 0.2);
    CHECK(dp_df_draw(df, STARS, 3, back[0]) == AF_OK);
    compare_moments(STARS, back, z);
    check_inverse(df, truth);
    snprintf(path, sizeof path, "%.400s/dp_spline_%ld.safetensors", folder ? folder : "/tmp",
             (long)getpid());
    CHECK(dp_df_save(df, path) == AF_OK);
    CHECK(dp_df_load(c, path, &again) == AF_OK);
    CHECK(again && dp_df_evaluate(again, 500, z[0], truth, y[0]) == AF_OK);
    CHECK(dp_df_evaluate(df, 500, z[0], ln_f, gradient[0]) == AF_OK);
    CHECK(memcmp(truth, ln_f, 500 * sizeof *truth) == 0);
    CHECK(memcmp(y, gradient, 500 * sizeof *y) == 0);
    CHECK(again && dp_df_draw(again, 500, 3, y[0]) == AF_OK);
    CHECK(memcmp(y, back, 500 * sizeof *y) == 0);
    remove(path);
    dp_df_destroy(again);
    dp_df_destroy(df);
    dp_sample_destroy(sample);
}

/* ---- what is refused; memory ---- */

static void refuse(const dp_df_desc *desc, const char *words) {
    dp_df_desc d = *desc;
    dp_df *df = NULL;
    d.kind = DP_DF_SPLINE;
    CHECK(dp__df_open(c, &d, &df) == AF_ERROR_ARGUMENT && df == NULL);
    CHECK_TEXT(af_error(c), words);
    af_error_clear(c);
}

TEST(complaints) {
    static const double bounds[3] = {-1.0, HUGE_VAL, NAN};
    dp_df_desc d = DP__ZERO;
    size_t k;
    d.bins = 1;
    refuse(&d, "2 to 64 bins");
    d.bins = 65;
    refuse(&d, "2 to 64 bins");
    d.bins = 64;
    d.transforms = 65;
    refuse(&d, "1 to 64 transforms");
    d.transforms = 64;
    for (k = 0; k < 3; k++) {
        d.bound = bounds[k];
        refuse(&d, "the bound of a spline must be a positive number");
    }
}

/* Makes, fits, evaluates and draws; 1 when a request failed. */
static int all_of_it(heap *h, long fail_at) {
    af_context *context = NULL;
    dp_sample *sample = NULL;
    dp_df *df = NULL;
    dp_df_desc d = DP__ZERO;
    dp_fit_desc fit = DP__ZERO;
    af_status s = heap_open(h, fail_at, 1, &context);
    if (s != AF_OK) return 1;
    d.kind = DP_DF_SPLINE;
    d.transforms = d.depth = 1;
    d.width = d.bins = 2;
    fit.epochs = 1;
    s = dp_sample_create(context, 120, y[0], NULL, NULL, NULL, &sample);
    if (s == AF_OK) s = dp_df_create(sample, &d, &df);
    if (s == AF_OK) s = dp_df_fit(df, sample, &fit, NULL);
    if (s == AF_OK) s = dp_df_evaluate(df, 3, y[0], ln_f, NULL);
    if (s == AF_OK) s = dp_df_evaluate(df, 3, y[0], NULL, gradient[0]);
    if (s == AF_OK) s = dp_df_draw(df, 3, 1, back[0]);
    CHECK(s == AF_OK || af_error_status(context) == AF_ERROR_MEMORY);
    CHECK(s == AF_OK || af_error(context)[0]);
    dp_df_destroy(df);
    dp_sample_destroy(sample);
    af_context_destroy(context);
    return s != AF_OK;
}

TEST(out_of_memory) {
    heap h = DP__ZERO;
    long calls, at;
    mixture(4, 120, y);
    CHECK(!all_of_it(&h, 0) && h.live == 0);
    calls = h.calls;
    SAY("%ld allocations\n", calls);
    for (at = 1; at <= calls && !test_broken; at++) {
        all_of_it(&h, at);
        CHECK(h.live == 0);
    }
}

int main(void) {
    c = heap_context(&memory, 1);
    RUN(spline_by_the_book);
    RUN(spline_is_smooth);
    RUN(spline_survives_large_numbers);
    RUN(linear_map);
    RUN(untrained_is_normal);
    RUN(inverse_and_determinant);
    RUN(gradient_by_differences);
    RUN(normalisation);
    RUN(any_number_of_points);
    RUN(far_away);
    RUN(loss_by_hand);
    RUN(fit_of_a_mixture);
    RUN(complaints);
    RUN(out_of_memory);
    af_context_destroy(c);
    if (memory.live) printf("FAILED %ld blocks are left\n", memory.live);
    return test_report() || memory.live;
}
