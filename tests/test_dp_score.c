/* The score: its coordinates, gradients, training, noise, errors of measurement, files; and what
 * all kinds of distribution functions share. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "af_heap.h"
#include <unistd.h>

enum { STARS = 3000, MORE = 6000 };

static heap memory;
static af_context *c;
static double eta[MORE][6], errors[STARS][6], gradient[STARS][6], truth[STARS][6], ln_f[STARS];

static void begin(void) { CHECK(heap_open(&memory, 0, 1, &c) == AF_OK); }

static void end(void) {
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

static const char *file_name(char out[64]) {
    snprintf(out, 64, "/tmp/test_dp_score.%ld.safetensors", (long)getpid());
    return out;
}

/* A cold disc of normal positions that turns: v = 2 z x X + normal numbers of 0.3, but for those
 * along X, which are one of two normals of 0.2 at -0.4 and 0.4. `true_x` has mean 1, -1, 0.5. */
static void disc(uint64_t seed, size_t n, double (*star)[6]) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        double side = af_random_uniform(seed, 9, i) < 0.5 ? -0.4 : 0.4;
        for (k = 0; k < 6; k++) star[i][k] = af_random_normal(seed, k, i) * (k == 2 ? 0.1 : 1.0);
        star[i][3] = -2.0 * star[i][1] + side + 0.2 * star[i][3];
        star[i][4] = 2.0 * star[i][0] + 0.3 * star[i][4];
        star[i][5] *= 0.3;
    }
}

static void disc_truth(const double star[6], double g[6]) {
    double u = star[3] + 2.0 * star[1], w = star[4] - 2.0 * star[0];
    double tilt = tanh(0.4 * u / 0.04);
    g[3] = -(u - 0.4 * tilt) / 0.04;
    g[4] = -w / 0.09;
    g[5] = -star[5] / 0.09;
    g[0] = -star[0] - 2.0 * g[4];
    g[1] = -star[1] + 2.0 * g[3];
    g[2] = -star[2] / 0.01;
}

static double median(double *values, size_t n) {
    size_t i, j;
    for (i = 0; i < n; i++) /* few */
        for (j = i + 1; j < n; j++)
            if (values[j] < values[i]) {
                double swap = values[i];
                values[i] = values[j];
                values[j] = swap;
            }
    return values[n / 2];
}

/* The median of |g - truth|/|truth| over components [first, first + 3) of n stars. */
static double error_of(size_t n, size_t first) {
    static double all[STARS];
    size_t i, k;
    for (i = 0; i < n; i++) {
        double away = 0.0, size = 0.0;
        for (k = first; k < first + 3; k++) {
            away += pow(gradient[i][k] - truth[i][k], 2.0);
            size += pow(truth[i][k], 2.0);
        }
        all[i] = sqrt(away / size);
    }
    return median(all, n);
}

static dp_df *make(const dp_df_desc *d, size_t n, const double (*e)[6], dp_sample **sample) {
    dp_df *df = NULL;
    CHECK(dp_sample_create(c, n, &eta[0][0], NULL, e ? &e[0][0] : NULL, NULL, sample) == AF_OK);
    CHECK(dp_df_create(*sample, d, &df) == AF_OK);
    return df;
}

static void unmake(dp_df *df, dp_sample *sample) {
    dp_df_destroy(df);
    dp_sample_destroy(sample);
}

static void small(dp_df_desc *d, dp_fit_desc *f) {
    memset(d, 0, sizeof *d);
    memset(f, 0, sizeof *f);
    d->width = 24;
    d->depth = 2;
    d->seed = 3;
    f->epochs = SHORT ? 8 : 80;
    f->batch = 128;
    f->seed = 5;
    f->schedule.rate = 5e-3;
}

/* Random numbers instead of those from the beginning, so that nothing is zero. */
static void shake(af_params *p, double size) {
    size_t i;
    for (i = 0; i < af_params_size(p); i++)
        af_params_data(p)[i] += size * af_random_normal(7, 7, i);
}

TEST(gradients_are_those_of_ln_f) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    size_t i, k;
    int kind;
    begin();
    small(&d, &f);
    disc(1, 300, eta);
    for (kind = 0; kind < 4; kind++) {
        d.plain_coordinates = kind & 1;
        d.plain_inputs = kind >> 1;
        df = make(&d, 300, NULL, &sample);
        shake(df->params, 0.2);
        shake(dp__score_of(df)->frame, 0.2);
        dp__score_of(df)->noise = kind & 1 ? 0.2 : 0.0;
        CHECK(dp_df_evaluate(df, 10, &eta[0][0], NULL, &gradient[0][0]) == AF_OK);
        for (i = 0; i < 10; i++)
            for (k = 0; k < 6; k++) {
                double step = 1e-5, pair[2][6], value[2];
                memcpy(pair[0], eta[i], sizeof pair[0]);
                memcpy(pair[1], eta[i], sizeof pair[1]);
                pair[0][k] -= step;
                pair[1][k] += step;
                CHECK(dp_df_evaluate(df, 2, pair[0], value, NULL) == AF_OK);
                CHECK_CLOSE(gradient[i][k], (value[1] - value[0]) / (2.0 * step), 1e-6);
            }
        unmake(df, sample);
    }
    end();
}

static void stretch_by_hand(dp__places *p) {
    size_t k;
    for (k = 0; k < (size_t)DP__PLACES_TERMS; k++) {
        p->radius[k] = 0.1 + 0.1 * (double)k;
        p->height[k] = 0.3;
        p->thickness[k] = 0.2 - 0.07 * (double)k;
    }
    for (k = 0; k < (size_t)DP__PLACES_SCALES; k++)
        p->radius_scale[k] = p->height_scale[k] = p->thickness_scale[k] = 0.3 * (double)(k + 1);
}

/* By elimination with pivots; a is lost. */
static double determinant(double a[6][6]) {
    double product = 1.0;
    size_t i, j, k;
    for (i = 0; i < 6; i++) {
        size_t best = i;
        for (j = i; j < 6; j++)
            if (fabs(a[j][i]) > fabs(a[best][i])) best = j;
        if (best != i) product = -product;
        for (k = 0; k < 6; k++) {
            double swap = a[i][k];
            a[i][k] = a[best][k];
            a[best][k] = swap;
        }
        product *= a[i][i];
        for (j = i + 1; j < 6; j++) {
            double by = a[j][i] / a[i][i];
            for (k = i; k < 6; k++) a[j][k] -= by * a[i][k];
        }
    }
    return product;
}

/* ln |det dz/dy| as given, by differences; places do not depend on velocities. In all of space, and
 * in a sphere beside the origin. */
TEST(local_coordinates) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    dp__score *s;
    size_t dims[2] = {256, 6}, i, k;
    af_expr in, z, out[2];
    static double y[256][6], value[256][6], log_det[256];
    double a[6][6], step = 1e-5;
    int bounded;
    begin();
    small(&d, &f);
    for (bounded = 0; bounded < 2; bounded++) {
        af_func *func = NULL;
        dp__rows r = AF__ZERO;
        disc(1, 300, eta);
        df = make(&d, 300, NULL, &sample);
        s = dp__score_of(df);
        if (bounded) {
            df->volume.kind = DP_VOLUME_SPHERE;
            df->volume.centre[0] = 0.7;
            df->volume.centre[2] = 0.05;
            df->volume.outer = 1.3;
        }
        stretch_by_hand(&s->places);
        shake(s->frame, 0.3);
        in = af_input(c, "y", 2, dims);
        z = dp__score_coordinates(s, in, &out[1]);
        out[0] = z;
        CHECK(dp__score_compile(s, out, 2, in, &func) == AF_OK);
        for (i = 0; i < 13; i++) memcpy(y[i], eta[5], sizeof y[i]);
        for (i = 0; i < 6; i++) {
            y[2 * i + 1][i] += step;
            y[2 * i + 2][i] -= step;
        }
        dp__score_rows(s, func, 256, &y[0][0], &r);
        r.out_count = 2;
        r.out[0] = &value[0][0];
        r.out_width[0] = 6;
        r.out[1] = log_det;
        r.out_width[1] = 1;
        CHECK(dp__rows_all(c, &r) == AF_OK);
        for (i = 0; i < 6; i++)
            for (k = 0; k < 6; k++)
                a[k][i] = (value[2 * i + 1][k] - value[2 * i + 2][k]) / (2.0 * step);
        for (i = 0; i < 3; i++)
            for (k = 0; k < 3; k++) CHECK(a[i][3 + k] == 0.0);
        CHECK_CLOSE(log_det[0], log(determinant(a)), 1e-8);
        af_func_destroy(func);
        unmake(df, sample);
    }
    end();
}

/* Star i of a Plummer sphere of radius 1, or of an exponential disc that flares. */
static void place_of(int kind, uint64_t i, double *x) {
    double m = af_random_uniform(11, 0, i), turn = 2.0 * DP__PI * af_random_uniform(11, 1, i);
    double cosine = 2.0 * af_random_uniform(11, 2, i) - 1.0, r, plane;
    r = 1.0 / sqrt(pow(0.001 + 0.998 * m, -2.0 / 3.0) - 1.0);
    plane = r * sqrt(1.0 - cosine * cosine);
    x[2] = r * cosine;
    if (kind > 0) {
        plane = -log(m * af_random_uniform(11, 3, i));
        x[2] = 0.1 * exp(0.3 * plane) * af_random_normal(11, 4, i);
    }
    x[0] = plane * cos(turn);
    x[1] = plane * sin(turn);
}

/* A Plummer sphere becomes one normal distribution; so does a disc that flares, and, in z, the part
 * of it within 0.9 of (1, 0, 0). */
TEST(places_become_normal) {
    static double rows[20000][DP__ROW];
    enum { N = 20000 };
    dp_df df = AF__ZERO;
    dp__data stars = AF__ZERO;
    size_t dims[2] = {256, 3}, i, k;
    int kind;
    dp__places p;
    begin();
    df.c = c;
    for (k = 0; k < 3; k++) df.scale[k] = 1.0;
    for (kind = 0; kind < 3; kind++) {
        double sum[3] = {0.0}, square[3] = {0.0}, fourth[3] = {0.0}, cross = 0.0, r2;
        double (*x)[3] = (double (*)[3])malloc(sizeof *x * N), (*at)[3];
        af_expr in = af_input(c, "x", 2, dims), log_det, out;
        af_func_desc fd = AF__ZERO;
        af_func *func = NULL;
        dp__rows r = AF__ZERO;
        at = (double (*)[3])malloc(sizeof *at * N);
        if (kind == 2) {
            df.volume.kind = DP_VOLUME_SPHERE;
            df.volume.centre[0] = 1.0;
            df.volume.outer = 0.9;
        }
        for (i = 0; i < N; i++) {
            uint64_t star = i;
            do place_of(kind, star, rows[i]);
            while (star += N, !dp_volume_holds(&df.volume, rows[i]));
            dp__widen(&df.volume, rows[i], NULL);
        }
        stars.n = N;
        stars.width = DP__ROW;
        stars.rows = &rows[0][0];
        CHECK(dp__places_fit(&df, &stars, &p) == AF_OK);
        out = dp__places_apply(&df, &p, in, &log_det);
        fd.inputs = &in;
        fd.input_count = 1;
        fd.outputs = &out;
        fd.output_count = 1;
        CHECK(af_compile(c, &fd, &func) == AF_OK);
        for (i = 0; i < N; i++) memcpy(x[i], rows[i], sizeof x[i]);
        r.f = func;
        r.rows = 256;
        r.n = N;
        r.in_count = 1;
        r.in[0] = &x[0][0];
        r.in_width[0] = 3;
        r.out_count = 1;
        r.out[0] = &at[0][0];
        r.out_width[0] = 3;
        CHECK(dp__rows_all(c, &r) == AF_OK);
        for (i = 0; i < N; i++) {
            for (k = 0; k < 3; k++) {
                sum[k] += at[i][k] / N;
                square[k] += at[i][k] * at[i][k] / N;
                fourth[k] += pow(at[i][k], 4.0) / N;
            }
            r2 = at[i][0] * at[i][0] + at[i][1] * at[i][1];
            cross += (r2 - 2.0) * (at[i][2] * at[i][2] - 1.0) / N;
        }
        for (k = kind == 2 ? 2 : 0; k < 3; k++) { /* mean 0, variance 1, kurtosis 3 */
            CHECK(fabs(sum[k]) < 0.03);
            CHECK(fabs(square[k] - 1.0) < 0.1);
            CHECK(fabs(fourth[k] / (square[k] * square[k]) - 3.0) < 0.35);
        }
        CHECK(kind == 2 || fabs(cross) < 0.15); /* R and z apart */
        af_func_destroy(func);
        free(x);
        free(at);
    }
    end();
}

/* With a network of zeros f is normal: |s|^2/2 + div s has a known mean. */
TEST(the_objective_has_its_closed_form) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    dp__candidate one = {0.3, 0.0}, two = {0.0, 0.0};
    double mean = 0.0, v = 1.0 / 1.09, w = 1.0, weight[512], weights = 0.0;
    size_t i, k;
    begin();
    small(&d, &f);
    d.plain_coordinates = 1;
    disc(1, 512, eta);
    df = make(&d, 512, NULL, &sample);
    for (i = 0; i < 512; i++) weights += weight[i] = i % 3 == 0 ? 0.0 : 2.5;
    for (i = 0; i < 512; i++)
        for (k = 0; k < 6; k++) mean += weight[i] * eta[i][k] * eta[i][k] / weights;
    CHECK(dp__score_objective(dp__score_of(df), 512, &eta[0][0], weight, &one) == AF_OK);
    CHECK(dp__score_objective(dp__score_of(df), 512, &eta[0][0], weight, &two) == AF_OK);
    CHECK_CLOSE(one.objective, 0.5 * v * v * mean - 6.0 * v, 1e-12);
    CHECK_CLOSE(two.objective, 0.5 * w * w * mean - 6.0 * w, 1e-12);
    unmake(df, sample);
    end();
}

TEST(a_cold_disc_is_learned) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_df_report report;
    dp_sample *sample;
    dp_df *df;
    double x, v, before;
    size_t i;
    begin();
    small(&d, &f);
    f.epochs = SHORT ? 16 : 320;
    disc(1, STARS, eta);
    df = make(&d, STARS, NULL, &sample);
    disc(2, 400, eta);
    for (i = 0; i < 400; i++) disc_truth(eta[i], truth[i]);
    CHECK(dp_df_evaluate(df, 400, &eta[0][0], NULL, &gradient[0][0]) == AF_OK);
    before = error_of(400, 3);
    disc(1, STARS, eta);
    CHECK(dp_df_fit(df, sample, &f, &report) == AF_OK);
    CHECK(report.stars == 2700 && report.held_out == 300);
    CHECK(report.validation < report.untrained);
    CHECK(report.noise >= 0.0);
    CHECK_FIT(report.noise < 0.7);
    disc(2, 400, eta);
    CHECK(dp_df_evaluate(df, 400, &eta[0][0], ln_f, &gradient[0][0]) == AF_OK);
    x = error_of(400, 0);
    v = error_of(400, 3);
    if (!SHORT && !(x < 0.33 && v < 0.36 && before > 0.8))
        printf("  untrained v %g, x %g, v %g\n", before, x, v);
    CHECK(before > 0.8); /* the spread of all velocities is none of those at one place */
    CHECK_FIT(x < 0.33);
    CHECK_FIT(v < 0.36);
    unmake(df, sample);
    end();
}

/* f_out (256,width) of rows (256,13) by the frame and the network of s. */
static void run_rows(const dp__score *s, af_expr in, af_expr out, size_t width, const double *rows,
                     double *f_out) {
    af_func_desc d = AF__ZERO;
    af_expr inputs[2];
    af_func *func = NULL;
    dp__rows r = AF__ZERO;
    inputs[0] = in;
    inputs[1] = af_params_input(s->frame);
    d.inputs = inputs;
    d.input_count = 2;
    d.outputs = &out;
    d.output_count = 1;
    CHECK(af_compile(c, &d, &func) == AF_OK);
    r.f = func;
    r.rows = r.n = 256;
    r.in_count = r.out_count = r.fixed_count = 1;
    r.in[0] = rows;
    r.in_width[0] = DP__ROW;
    r.fixed[0] = af_params_data(s->frame);
    r.out[0] = f_out;
    r.out_width[0] = width;
    CHECK(dp__rows_all(c, &r) == AF_OK);
    af_func_destroy(func);
}

/* z . M^(-1) z + ln det M of M = 1 + sum_k g_k g_k^T, with w = M^(-1) z put into M w = z. */
TEST(frame_square_is_a_solve) {
    static double rows[256][DP__ROW], out[256];
    size_t dims[2] = {1, 6}, i, j, k, count;
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    begin();
    small(&d, &f);
    disc(1, 300, eta);
    df = make(&d, 300, NULL, &sample);
    for (count = 0; count <= 6; count += 3) {
        double g[6][6], w[6], z[6], m[6][6], expected = 0.0;
        af_expr in[7], stars;
        size_t row_dims[2] = {256, DP__ROW};
        for (i = 0; i < 6; i++) {
            w[i] = af_random_normal(31, 9, i);
            for (k = 0; k < 6; k++) g[k][i] = af_random_normal(31, k, i) * (k == 1 ? 3.0 : 1.0);
        }
        for (i = 0; i < 6; i++) {
            z[i] = 0.0;
            for (j = 0; j < 6; j++) {
                m[i][j] = i == j;
                for (k = 0; k < count; k++) m[i][j] += g[k][i] * g[k][j];
                z[i] += m[i][j] * w[j];
            }
            expected += w[i] * z[i];
        }
        expected += log(determinant(m));
        stars = af_input(c, "rows", 2, row_dims);
        for (k = 0; k < count; k++) in[k] = af_constant_array(c, 2, dims, g[k]);
        in[count] = af_constant_array(c, 2, dims, z);
        for (k = 0; k <= count; k++) /* rows of zeros */
            in[k] = af_add(c, in[k], af_slice(c, stars, -1, 0, 6));
        run_rows(dp__score_of(df), stars, dp__frame_square(c, count, in), 1, &rows[0][0], out);
        CHECK_CLOSE(out[0], expected, 1e-10 * fabs(expected));
    }
    unmake(df, sample);
    end();
}

/* What u is linear in, at the place of row i: A^(-1) u from rows i to i + 3, whose velocities are
 * v and v + unit vectors; z (256,6). */
static void away_of(double (*z)[6], size_t i, double a[3][3], double away[3]) {
    double inverse[3][3], det = 0.0;
    size_t j, k;
    for (j = 0; j < 3; j++)
        for (k = 0; k < 3; k++) a[k][j] = z[i + 1 + j][3 + k] - z[i][3 + k];
    for (j = 0; j < 3; j++)
        for (k = 0; k < 3; k++) {
            size_t p = (j + 1) % 3, q = (j + 2) % 3, r = (k + 1) % 3, t = (k + 2) % 3;
            inverse[k][j] = a[p][r] * a[q][t] - a[p][t] * a[q][r];
        }
    for (k = 0; k < 3; k++) det += a[0][k] * inverse[k][0];
    for (j = 0; j < 3; j++) {
        away[j] = 0.0;
        for (k = 0; k < 3; k++) away[j] += inverse[j][k] * z[i][3 + k] / det;
    }
}

/* g_k, and the second terms, by differences of X and of v - m(x) with the matrix A held. */
TEST(frame_errors_are_derivatives) {
    static double rows[256][DP__ROW], g_out[6][256][6], more[256][6], z_out[256][6];
    const double step = 2e-3, base[6] = {0.7, -0.4, 0.03, 0.5, 1.2, -0.1};
    size_t dims[2] = {256, DP__ROW}, i, j, k;
    af_expr in, y, z, log_det, place, away[3], g[6], grown;
    double matrix[3][3], at[7][3], other[3][3];
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    dp__score *s;
    begin();
    small(&d, &f);
    disc(1, 300, eta);
    df = make(&d, 300, NULL, &sample);
    s = dp__score_of(df);
    stretch_by_hand(&s->places);
    shake(s->frame, 0.3);
    for (i = 0; i < 28; i++) { /* at a place, and at six around it */
        memcpy(rows[i], base, sizeof base);
        if (i >= 4) rows[i][(i / 4 - 1) / 2] += i / 4 % 2 ? step : -step;
        if (i % 4 > 0) rows[i][2 + i % 4] += 1.0;
        for (k = 0; k < 6; k++) rows[i][7 + k] = 0.1 * (double)(k + 1);
    }
    in = af_input(c, "rows", 2, dims);
    y = af_slice(c, in, -1, 0, 6);
    z = dp__score_parts(s, y, &log_det, &place, away);
    grown = z;
    dp__frame_errors(s, in, y, place, away, &grown, g);
    run_rows(s, in, z, 6, &rows[0][0], &z_out[0][0]);
    run_rows(s, in, af_sub(c, grown, z), 6, &rows[0][0], &more[0][0]);
    for (k = 0; k < 6; k++) run_rows(s, in, g[k], 6, &rows[0][0], &g_out[k][0][0]);
    for (i = 0; i < 7; i++) away_of(z_out, 4 * i, i == 0 ? matrix : other, at[i]);
    for (k = 0; k < 3; k++) { /* velocities: A */
        for (j = 0; j < 3; j++) CHECK(g_out[3 + k][0][j] == 0.0);
        for (j = 0; j < 3; j++)
            CHECK_CLOSE(g_out[3 + k][0][3 + j], rows[0][10 + k] * matrix[j][k], 1e-9);
    }
    for (j = 0; j < 6; j++) {
        double second = 0.0;
        for (k = 0; k < 3; k++) {
            double e = 0.1 * (double)(k + 1), first = 0.0, two = 0.0;
            if (j < 3) {
                first = z_out[8 * k + 4][j] - z_out[8 * k + 8][j];
                two = z_out[8 * k + 4][j] + z_out[8 * k + 8][j] - 2.0 * z_out[0][j];
            } else {
                for (i = 0; i < 3; i++) {
                    first += matrix[j - 3][i] * (at[2 * k + 1][i] - at[2 * k + 2][i]);
                    two += matrix[j - 3][i] *
                           (at[2 * k + 1][i] + at[2 * k + 2][i] - 2.0 * at[0][i]);
                }
            }
            CHECK_CLOSE(g_out[k][0][j], e * first / (2.0 * step), 1e-3);
            second += 0.5 * e * e * two / (step * step);
        }
        CHECK_CLOSE(more[0][j], second, 3e-3);
    }
    unmake(df, sample);
    end();
}

/* Normal stars of dispersion 1 measured with errors of 0.3 to 0.5, in plain coordinates; or a disc
 * of normal velocities that turns, whose places have errors of 0.15, which make its dispersion of
 * 0.3 seem 0.42. f of the truth is normal, and known. out gets the medians of the errors of
 * gradients by places and by velocities. */
static void normal_gradients(int turning, int with, double out[2]) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    size_t i, k;
    small(&d, &f);
    d.plain_coordinates = !turning;
    for (i = 0; i < STARS; i++) {
        double y[6];
        for (k = 0; k < 6; k++) y[k] = af_random_normal(2, k, i);
        if (turning) {
            y[2] *= 0.1;
            for (k = 3; k < 6; k++) y[k] *= 0.3;
            y[3] -= 2.0 * y[1];
            y[4] += 2.0 * y[0];
        }
        for (k = 0; k < 6; k++) {
            errors[i][k] = 0.3 + 0.2 * af_random_uniform(1, k, i);
            if (turning) errors[i][k] = k < 2 ? 0.15 : 0.01;
            eta[i][k] = y[k] + errors[i][k] * af_random_normal(3, k, i);
            truth[i][k] = -eta[i][k];
        }
        if (turning) {
            truth[i][3] = -(eta[i][3] + 2.0 * eta[i][1]) / 0.09;
            truth[i][4] = -(eta[i][4] - 2.0 * eta[i][0]) / 0.09;
            truth[i][5] = -eta[i][5] / 0.09;
            truth[i][0] -= 2.0 * truth[i][4];
            truth[i][1] += 2.0 * truth[i][3];
            truth[i][2] = -eta[i][2] / 0.01;
        }
    }
    df = make(&d, STARS, with ? (const double (*)[6])errors : NULL, &sample);
    CHECK(dp_df_fit(df, sample, &f, NULL) == AF_OK);
    CHECK(dp_df_evaluate(df, 1000, &eta[0][0], NULL, &gradient[0][0]) == AF_OK);
    out[0] = error_of(1000, 0);
    out[1] = error_of(1000, 3);
    unmake(df, sample);
}

TEST(measurement_errors_are_taken_out) {
    double with[2], without[2];
    int turning;
    begin();
    for (turning = 0; turning < 2; turning++) {
        normal_gradients(turning, 0, without);
        normal_gradients(turning, 1, with);
        CHECK_FIT(without[0] > (turning ? 0.4 : 0.13)); /* 1 - 1/(1 + error^2/dispersion^2) */
        CHECK_FIT(without[1] > (turning ? 0.4 : 0.13));
        CHECK_FIT(with[0] < (turning ? 0.25 : 0.12));
        CHECK_FIT(with[1] < (turning ? 0.2 : 0.12));
    }
    end();
}

/* p(v|x) alone: stars thinned by position give the same gradients by v. */
TEST(conditional_gradients_see_no_selection) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    double v;
    size_t i, n = 0;
    begin();
    small(&d, &f);
    d.conditional = 1;
    f.epochs = SHORT ? 12 : 240;
    disc(1, MORE, eta);
    for (i = 0; i < MORE; i++)
        if (af_random_uniform(4, 0, i) < 1.0 / (1.0 + exp(-3.0 * eta[i][0]))) {
            if (n != i) memcpy(eta[n], eta[i], sizeof eta[n]);
            n++;
        }
    df = make(&d, n, NULL, &sample);
    CHECK(dp_df_fit(df, sample, &f, NULL) == AF_OK);
    disc(2, 400, eta);
    for (i = 0; i < 400; i++) {
        eta[i][4] += 2.0 * (fabs(eta[i][0]) - eta[i][0]); /* moved to where stars were left */
        eta[i][0] = fabs(eta[i][0]);
        disc_truth(eta[i], truth[i]);
    }
    CHECK(dp_df_evaluate(df, 400, &eta[0][0], NULL, &gradient[0][0]) == AF_OK);
    v = error_of(400, 3);
    if (!SHORT && !(v < 0.4)) printf("  v %g\n", v);
    CHECK_FIT(v < 0.4);
    unmake(df, sample);
    end();
}

TEST(errors_in_one_fit_only) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample, *without;
    dp_df *df;
    size_t i;
    begin();
    small(&d, &f);
    f.epochs = 1;
    disc(1, 400, eta);
    memset(errors, 0, sizeof errors);
    for (i = 0; i < 400; i++) errors[i][2] = 0.02;
    df = make(&d, 400, (const double (*)[6])errors, &sample);
    CHECK(dp_sample_create(c, 400, &eta[0][0], NULL, NULL, NULL, &without) == AF_OK);
    CHECK(dp_df_fit(df, sample, &f, NULL) == AF_OK);
    CHECK(dp_df_fit(df, without, &f, NULL) == AF_OK);
    dp_df_destroy(df);
    d.conditional = 1;
    CHECK(dp_df_create(sample, &d, &df) == AF_OK);
    CHECK(dp_df_fit(df, sample, &f, NULL) == AF_OK);
    dp_sample_destroy(without);
    unmake(df, sample);
    for (i = 0; i < 400; i++) errors[i][4] = 5.0; /* the spread along y, around, is 0.3 */
    d.conditional = 0;
    df = make(&d, 400, (const double (*)[6])errors, &sample);
    CHECK(dp_df_fit(df, sample, &f, NULL) == AF_ERROR_DATA);
    CHECK_TEXT(af_error(c), "the measurement errors along v");
    af_error_clear(c);
    unmake(df, sample);
    end();
}

/* ---- what all kinds share ---- */

/* The first and the last epoch that a training tells of. */
static size_t first_epoch, epochs_seen;

static int count_epochs(const af_progress *p, void *user) {
    (void)user;
    if (first_epoch == 0) first_epoch = p->epoch;
    epochs_seen = p->epoch;
    return 0;
}

/* The same fit, whole; in two parts with a checkpoint between; with other threads; from a file. */
TEST(the_same_bits) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    char name[64];
    static double again[400][6];
    int pass;
    begin();
    small(&d, &f);
    d.width = 8;
    f.batch = 32;
    disc(1, 400, eta);
    for (pass = 0; pass < 4; pass++) {
        f.checkpoint = pass == 1 || pass == 2 ? file_name(name) : NULL;
        f.resume = pass == 2;
        f.progress = count_epochs;
        first_epoch = 0;
        f.epochs = 12;
        f.schedule.kind = AF_SCHEDULE_CONSTANT;
        f.schedule.rate = 1e-3;
        f.schedule.warmup = -1.0;
        if (pass == 1) f.epochs = 6;
        af_context_set_threads(c, pass == 3 ? 3 : 1);
        df = make(&d, 400, NULL, &sample);
        CHECK(dp_df_fit(df, sample, &f, NULL) == AF_OK);
        CHECK(dp_df_evaluate(df, 400, &eta[0][0], NULL, pass ? &again[0][0] : &gradient[0][0]) ==
              AF_OK);
        if (pass >= 2) CHECK(memcmp(again, gradient, sizeof again) == 0);
        CHECK(first_epoch == (pass == 2 ? 7u : 1u) && epochs_seen == (pass == 1 ? 6u : 12u));
        if (pass == 3) CHECK(dp_df_save(df, name) == AF_OK);
        unmake(df, sample);
    }
    CHECK(dp_df_load(c, name, &df) == AF_OK);
    CHECK(dp_df_evaluate(df, 400, &eta[0][0], NULL, &again[0][0]) == AF_OK);
    CHECK(memcmp(again, gradient, sizeof again) == 0);
    CHECK(dp_df_describe(df).width == 8 && dp_df_describe(df).kind == DP_DF_SCORE);
    dp_df_destroy(df);
    remove(name);
    end();
}

TEST(stars_far_out_and_wrong_settings_are_named) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    size_t i;
    begin();
    small(&d, &f);
    disc(1, 200, eta);
    CHECK(dp_sample_create(c, 50, &eta[0][0], NULL, NULL, NULL, &sample) == AF_OK);
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_DATA && !df);
    CHECK_TEXT(af_error(c), "50 stars are too few");
    af_error_clear(c);
    dp_sample_destroy(sample);
    for (i = 0; i < 200; i++) eta[i][4] = 1.0;
    CHECK(dp_sample_create(c, 200, &eta[0][0], NULL, NULL, NULL, &sample) == AF_OK);
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_DATA && !df);
    CHECK_TEXT(af_error(c), "do not spread along vy");
    af_error_clear(c);
    dp_sample_destroy(sample);
    disc(1, 200, eta);
    CHECK(dp_sample_create(c, 200, &eta[0][0], NULL, NULL, NULL, &sample) == AF_OK);
    d.noise_low = 0.7;
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_ARGUMENT && !df);
    CHECK_TEXT(af_error(c), "range of its noise");
    af_error_clear(c);
    small(&d, &f);
    d.end_canary = 1;
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_ARGUMENT && !df);
    CHECK_TEXT(af_error(c), "initialised");
    af_error_clear(c);
    small(&d, &f);
    d.kind = (dp_df_kind)9;
    CHECK(dp_df_create(sample, &d, &df) == AF_ERROR_ARGUMENT && !df);
    af_error_clear(c);
    small(&d, &f);
    CHECK(dp_df_create(sample, &d, &df) == AF_OK);
    CHECK(dp_df_draw(df, 10, 1, &gradient[0][0]) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "gives no samples");
    af_error_clear(c);
    eta[3][2] = NAN;
    CHECK(dp_df_evaluate(df, 10, &eta[0][0], ln_f, NULL) == AF_ERROR_NONFINITE);
    CHECK_TEXT(af_error(c), "point 3");
    af_error_clear(c);
    f.validation = 1.5;
    CHECK(dp_df_fit(df, sample, &f, NULL) == AF_ERROR_ARGUMENT);
    af_error_clear(c);
    unmake(df, sample);
    CHECK(dp_df_load(c, "/nowhere/at/all", &df) == AF_ERROR_IO && !df);
    end();
}

static double late(void *user) {
    double *now = (double *)user;
    return *now += 10.0;
}

TEST(a_time_limit_before_the_first_step_is_an_error) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    double now = 0.0;
    begin();
    small(&d, &f);
    disc(1, 400, eta);
    df = make(&d, 400, NULL, &sample);
    f.clock = late;
    f.user = &now;
    f.seconds = 1.0;
    CHECK(dp_df_fit(df, sample, &f, NULL) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "over before the first step");
    af_error_clear(c);
    unmake(df, sample);
    end();
}

TEST(a_plateau_ends_the_training) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df;
    begin();
    small(&d, &f);
    disc(1, 400, eta);
    df = make(&d, 400, NULL, &sample);
    f.epochs = 100;
    f.plateau = 1e9; /* no fall is as deep: halved every second epoch */
    f.patience = 2;
    f.progress = count_epochs;
    CHECK(dp_df_fit(df, sample, &f, NULL) == AF_OK);
    CHECK(epochs_seen == 9); /* the first is the best so far, then four times two */
    unmake(df, sample);
    end();
}

/* A flow whose density is known: a normal of dispersion 1.3 about 0.1 in y. */
static af_status known_evaluate(dp_df *df, size_t n, const double *y, double *value, double *g) {
    size_t i, k;
    (void)df;
    (void)g;
    for (i = 0; i < n; i++) {
        value[i] = -6.0 * log(1.3) - 3.0 * log(2.0 * DP__PI);
        for (k = 0; k < 6; k++) value[i] -= 0.5 * pow((y[6 * i + k] - 0.1) / 1.3, 2.0);
    }
    return AF_OK;
}

static af_status known_draw(dp_df *df, size_t n, uint64_t seed, double *y) {
    size_t i;
    (void)df;
    for (i = 0; i < 6 * n; i++) y[i] = 0.1 + 1.3 * af_random_normal(seed, 0, i);
    return AF_OK;
}

TEST(a_score_is_normalised_by_a_flow) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df, *flow;
    dp__engine known;
    double error, value, volume = 0.0, sigma2;
    size_t k;
    begin();
    small(&d, &f);
    d.plain_coordinates = 1; /* a network of zeros: a normal of variance 1 */
    disc(1, 400, eta);
    df = make(&d, 400, NULL, &sample);
    CHECK(dp_df_create(sample, &d, &flow) == AF_OK);
    known = *flow->engine;
    known.evaluate = known_evaluate;
    known.draw = known_draw;
    flow->engine = &known;
    CHECK(dp_df_normalise(df, flow, 20000, 1, &error) == AF_OK);
    sigma2 = 1.0;
    CHECK(dp_df_evaluate(df, 1, df->mean, &value, NULL) == AF_OK);
    for (k = 0; k < 6; k++) volume += log(df->scale[k]);
    CHECK(error > 0.0 && error < 0.02);
    CHECK_CLOSE(value, -3.0 * log(2.0 * DP__PI * sigma2) - volume, 4.0 * error);
    flow->engine = &dp__score_engine;
    dp_df_destroy(flow);
    unmake(df, sample);
    end();
}

/* Numbers of a file that would divide by zero are told when it is read. */
TEST(damaged_coordinates_are_named) {
    dp_df_desc d;
    dp_fit_desc f;
    dp_sample *sample;
    dp_df *df, *read;
    af_tensors *file;
    double *number[2], kept;
    char name[64];
    size_t k;
    begin();
    small(&d, &f);
    disc(1, 400, eta);
    df = make(&d, 400, NULL, &sample);
    file_name(name);
    number[0] = &dp__score_of(df)->places.radius_scale[2];
    number[1] = &dp__score_of(df)->places.thickness[6];
    for (k = 0; k < 2; k++) {
        kept = *number[k];
        *number[k] = k == 1 ? NAN : 0.0;
        CHECK(dp_df_save(df, name) == AF_OK);
        CHECK(dp_df_load(c, name, &read) == AF_ERROR_FORMAT && !read);
        CHECK_TEXT(af_error(c), "damaged");
        af_error_clear(c);
        *number[k] = kept;
    }
    CHECK(dp_df_save(df, name) == AF_OK && dp_df_load(c, name, &read) == AF_OK);
    dp_df_destroy(read);
    CHECK(af_tensors_read(c, name, &file) == AF_OK);
    for (k = 0; k < 2; k++) {
        CHECK(af_tensors_set_text(file, "format",
                                  k ? "a potential" : "deeppotential distribution function 1") ==
              AF_OK);
        CHECK(af_tensors_write(file, name) == AF_OK);
        CHECK(dp_df_load(c, name, &read) == AF_ERROR_FORMAT && !read);
        CHECK_TEXT(af_error(c), k ? "does not hold" : "another version of the library");
        af_error_clear(c);
    }
    af_tensors_destroy(file);
    remove(name);
    unmake(df, sample);
    end();
}

/* Memory that runs out at any call: a sentence, nothing lost, nothing kept. */
TEST(no_memory) {
    dp_df_desc d;
    dp_fit_desc f;
    long at;
    int done = 0, with;
    small(&d, &f);
    memset(errors, 0, sizeof errors);
    d.width = 4;
    d.depth = 1;
    f.epochs = 1;
    disc(1, 120, eta);
    for (with = 0; with < 2; with++, done = 0) {
        d.plain_coordinates = !with;
        for (at = 1; !done && at < 4000; at += with ? (SHORT ? 301 : 101) : at < 60 ? 1 : 11) {
            dp_sample *sample = NULL;
            dp_df *df = NULL;
            af_status s = heap_open(&memory, at, 1, &c);
            if (s != AF_OK) continue;
            s = dp_sample_create(c, 120, &eta[0][0], NULL, with ? &errors[0][0] : NULL, NULL,
                                 &sample);
            if (s == AF_OK) s = dp_df_create(sample, &d, &df);
            if (s == AF_OK) s = dp_df_fit(df, sample, &f, NULL);
            if (s == AF_OK) s = dp_df_evaluate(df, 5, &eta[0][0], ln_f, &gradient[0][0]);
            if (s != AF_OK) {
                CHECK(s == AF_ERROR_MEMORY);
                CHECK_TEXT(af_error(c), "memory");
            }
            done = s == AF_OK;
            unmake(df, sample);
            af_context_destroy(c);
            CHECK(memory.live == 0);
        }
        CHECK(done);
    }
}

int main(void) {
    RUN(gradients_are_those_of_ln_f);
    RUN(local_coordinates);
    RUN(places_become_normal);
    RUN(the_objective_has_its_closed_form);
    RUN(a_cold_disc_is_learned);
    RUN(measurement_errors_are_taken_out);
    RUN(frame_square_is_a_solve);
    RUN(frame_errors_are_derivatives);
    RUN(conditional_gradients_see_no_selection);
    RUN(errors_in_one_fit_only);
    RUN(the_same_bits);
    RUN(stars_far_out_and_wrong_settings_are_named);
    RUN(a_time_limit_before_the_first_step_is_an_error);
    RUN(a_plateau_ends_the_training);
    RUN(a_score_is_normalised_by_a_flow);
    RUN(damaged_coordinates_are_named);
    RUN(no_memory);
    return test_report();
}
