/* Places in bounded volumes, widened to all of space: the map against its inverse and differences,
 * and distribution functions that end at an edge. */
#include "actionfinder.in.h"
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static af_context *c;

static dp_volume volume_of(dp_volume_kind kind, double outer, double height) {
    dp_volume v = AF__ZERO;
    v.kind = kind;
    v.centre[0] = 1.0;
    v.centre[1] = -0.5;
    v.centre[2] = 0.25;
    v.outer = outer;
    v.height = height;
    return v;
}

/* The kinds, and a cylinder of all heights. */
static dp_volume volume_number(int which) {
    if (which == 0) return volume_of(DP_VOLUME_SPHERE, 2.0, 0.0);
    if (which == 1) return volume_of(DP_VOLUME_CYLINDER, 2.0, 0.5);
    if (which == 2) return volume_of(DP_VOLUME_CYLINDER, 2.0, HUGE_VAL);
    return volume_of(DP_VOLUME_ALL, 0.0, 0.0);
}

/* The place i of many in the volume, some of them close to its edge. */
static void place(const dp_volume *v, uint64_t i, double x[3]) {
    double reach[3];
    uint64_t k;
    reach[0] = reach[1] = v->kind == DP_VOLUME_ALL ? 3.0 : v->outer;
    reach[2] = v->kind == DP_VOLUME_CYLINDER && v->height < 10.0 ? v->height : reach[0];
    do {
        for (k = 0; k < 3; k++)
            x[k] = v->centre[k] + reach[k] * (2.0 * af_random_uniform(1, k, i) - 1.0);
        i += 100000;
    } while (!dp_volume_holds(v, x));
}

TEST(the_way_back) {
    int which;
    uint64_t i;
    for (which = 0; which < 4; which++) {
        dp_volume v = volume_number(which);
        for (i = 0; i < 1000; i++) {
            double x[3], o[3];
            size_t k;
            place(&v, i, x);
            memcpy(o, x, sizeof o);
            dp__widen(&v, o, NULL);
            dp__widen_back(&v, o);
            for (k = 0; k < 3; k++) CHECK_CLOSE(o[k], x[k], 1e-12);
        }
    }
}

static double determinant(double a[3][3]) {
    return a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1]) -
           a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0]) +
           a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
}

/* do/dx by central differences, against the determinant and the deviations. */
TEST(determinant_and_deviations_by_differences) {
    const double h = 1e-6, e[3] = {0.3, 0.2, 0.5};
    int which;
    uint64_t i;
    for (which = 0; which < 4; which++) {
        dp_volume v = volume_number(which);
        for (i = 0; i < 200; i++) {
            double x[3], slope[3][3], o[3], s[3], log_det;
            size_t j, k;
            place(&v, i, x);
            for (k = 0; k < 3; k++) /* not so near the edge that a step leaves */
                x[k] = v.centre[k] + 0.97 * (x[k] - v.centre[k]);
            for (j = 0; j < 3; j++) {
                double up[3], down[3];
                memcpy(up, x, sizeof up);
                memcpy(down, x, sizeof down);
                up[j] += h;
                down[j] -= h;
                dp__widen(&v, up, NULL);
                dp__widen(&v, down, NULL);
                for (k = 0; k < 3; k++) slope[k][j] = (up[k] - down[k]) / (2.0 * h);
            }
            memcpy(o, x, sizeof o);
            memcpy(s, e, sizeof s);
            log_det = dp__widen(&v, o, s);
            CHECK_CLOSE(log_det, log(determinant(slope)), 1e-6);
            for (k = 0; k < 3; k++) {
                double square = 0.0;
                for (j = 0; j < 3; j++) square += slope[k][j] * slope[k][j] * e[j] * e[j];
                CHECK_CLOSE(s[k] / sqrt(square), 1.0, 1e-6);
            }
        }
    }
}

/* ln f(o) = a.o - |o|^2/3, and the logarithm of the determinant. */
static double sloping(const dp_volume *v, const double *x, double *gradient) {
    static const double a[3] = {0.7, -0.4, 0.2};
    double o[3], value;
    size_t k;
    memcpy(o, x, sizeof o);
    value = dp__widen(v, o, NULL);
    for (k = 0; k < 3; k++) {
        value += (a[k] - o[k] / 3.0) * o[k];
        if (gradient) gradient[k] = a[k] - 2.0 / 3.0 * o[k];
    }
    return value;
}

TEST(gradient_by_differences) {
    const double h = 1e-6;
    int which;
    uint64_t i;
    for (which = 0; which < 4; which++) {
        dp_volume v = volume_number(which);
        for (i = 0; i < 200; i++) {
            double x[3], g[3];
            size_t k;
            place(&v, i, x);
            for (k = 0; k < 3; k++) x[k] = v.centre[k] + 0.97 * (x[k] - v.centre[k]);
            sloping(&v, x, g);
            dp__widen_gradient(&v, x, g);
            for (k = 0; k < 3; k++) {
                double up[3], down[3], slope;
                memcpy(up, x, sizeof up);
                memcpy(down, x, sizeof down);
                up[k] += h;
                down[k] -= h;
                slope = (sloping(&v, up, NULL) - sloping(&v, down, NULL)) / (2.0 * h);
                CHECK_CLOSE(g[k], slope, 1e-5 * (1.0 + fabs(slope)));
            }
        }
    }
}

/* The expression of the way back against the numbers. */
TEST(the_way_back_as_an_expression) {
    int which;
    for (which = 0; which < 4; which++) {
        dp_volume v = volume_number(which);
        size_t dims[2] = {100, 3}, k, i;
        double in[300], out[300];
        const void *inputs[1];
        void *outputs[1];
        af_expr o = af_input(c, "o", 2, dims), x[3], whole;
        af_func_desc d = AF__ZERO;
        af_workspace *w = NULL;
        af_func *f = NULL;
        for (k = 0; k < 3; k++) x[k] = af_slice(c, o, -1, k, 1);
        dp__widen_back_expr(c, &v, x);
        whole = af_concat(c, -1, 3, x);
        d.inputs = &o;
        d.input_count = 1;
        d.outputs = &whole;
        d.output_count = 1;
        for (i = 0; i < 300; i++) in[i] = 3.0 * af_random_normal(4, 0, i);
        inputs[0] = in;
        outputs[0] = out;
        CHECK(af_compile(c, &d, &f) == AF_OK && af_workspace_create(f, 1, &w) == AF_OK &&
              af_run(f, w, inputs, outputs) == AF_OK);
        for (i = 0; i < 100; i++) dp__widen_back(&v, in + 3 * i);
        for (i = 0; i < 300; i++) CHECK_CLOSE(out[i], in[i], 1e-12);
        af_workspace_destroy(w);
        af_func_destroy(f);
    }
}

/* ---- distribution functions ---- */

enum { STARS = 8000 };

static double eta[STARS][6], gradient[STARS][6];

/* An even density in the volume, normal velocities. */
static dp_sample *even(const dp_volume *v) {
    dp_sample *s = NULL;
    size_t i, k;
    for (i = 0; i < STARS; i++) {
        place(v, i, eta[i]);
        for (k = 3; k < 6; k++) eta[i][k] = af_random_normal(2, k, i);
    }
    CHECK(dp_sample_create(c, STARS, eta[0], NULL, NULL, v, &s) == AF_OK);
    return s;
}

static dp_df *fitted(const dp_sample *s, dp_df_kind kind, size_t epochs) {
    dp_df_desc d = AF__ZERO;
    dp_fit_desc fit = AF__ZERO;
    dp_df *df = NULL;
    d.kind = kind;
    d.width = 16;
    d.depth = 2;
    fit.epochs = epochs;
    CHECK(dp_df_create(s, &d, &df) == AF_OK);
    CHECK(dp_df_fit(df, s, &fit, NULL) == AF_OK);
    return df;
}

/* The root of the mean square of d ln f/dx outer, truly 0, between .85 and .97 of the radius, where
 * a quarter of the stars is; nearer to the edge few stars tell. */
static double slope_at_the_edge(const dp_volume *v, dp_df *df) {
    double sum = 0.0;
    size_t i, k, n = 0;
    CHECK(dp_df_evaluate(df, STARS, eta[0], NULL, gradient[0]) == AF_OK);
    for (i = 0; i < STARS; i++) {
        double r2 = 0.0;
        for (k = 0; k < 3; k++) r2 += (eta[i][k] - v->centre[k]) * (eta[i][k] - v->centre[k]);
        r2 /= v->outer * v->outer;
        if (r2 < 0.85 * 0.85 || r2 > 0.97 * 0.97) continue;
        for (k = 0; k < 3; k++) sum += gradient[i][k] * gradient[i][k];
        n++;
    }
    return v->outer * sqrt(sum / (double)n);
}

/* Known of the edge, and not known: then f falls towards it. */
TEST(an_even_density_up_to_its_edge) {
    dp_volume v = volume_number(0), all = volume_number(3);
    dp_sample *s = even(&v), *open = NULL;
    dp_df *df = fitted(s, DP_DF_SCORE, 60);
    double known = slope_at_the_edge(&v, df), unknown;
    dp_df_destroy(df);
    CHECK(dp_sample_create(c, STARS, eta[0], NULL, NULL, &all, &open) == AF_OK);
    df = fitted(open, DP_DF_SCORE, 60);
    unknown = slope_at_the_edge(&v, df);
    printf("slope at the edge: %.3g, %.3g where it is not known\n", known, unknown);
    CHECK(known < 3.0 && unknown > 2.0 * known);
    dp_df_destroy(df);
    dp_sample_destroy(s);
    dp_sample_destroy(open);
}

TEST(draws_stay_inside) {
    dp_volume v = volume_number(1);
    dp_sample *s = even(&v);
    dp_df *df = fitted(s, DP_DF_MATCHING, 4);
    size_t i, k, inside = 0;
    double mean[3] = {0.0, 0.0, 0.0};
    CHECK(dp_df_draw(df, 2000, 1, gradient[0]) == AF_OK);
    for (i = 0; i < 2000; i++) {
        inside += (size_t)dp_volume_holds(&v, gradient[i]);
        for (k = 0; k < 3; k++) mean[k] += gradient[i][k] / 2000.0;
    }
    CHECK(inside == 2000);
    for (k = 0; k < 3; k++) CHECK_CLOSE(mean[k], v.centre[k], 0.3);
    dp_df_destroy(df);
    dp_sample_destroy(s);
}

/* What has no edge has none after a file, either. */
TEST(files_of_a_cylinder_of_all_heights) {
    static const char *const name = "/tmp/test_dp_widen_high.safetensors";
    dp_volume v = volume_number(2);
    dp_sample *s = even(&v);
    dp_df *df = fitted(s, DP_DF_SCORE, 1), *again = NULL;
    double high[6] = {1.0, -0.5, 9.0, 0.0, 0.0, 0.0}, first, second = 0.0;
    CHECK(dp_df_save(df, name) == AF_OK && dp_df_load(c, name, &again) == AF_OK);
    CHECK(dp_df_evaluate(df, 1, high, &first, NULL) == AF_OK);
    if (again) CHECK(dp_df_evaluate(again, 1, high, &second, NULL) == AF_OK);
    CHECK(first == second);
    remove(name);
    dp_df_destroy(df);
    dp_df_destroy(again);
    dp_sample_destroy(s);
}

TEST(files_and_points_outside) {
    static const char *const name = "/tmp/test_dp_widen.safetensors";
    dp_volume v = volume_number(1);
    dp_sample *s = even(&v);
    dp_df *df = fitted(s, DP_DF_SCORE, 1), *again = NULL;
    double one[6] = {1.0, -0.5, 0.76, 0.0, 0.0, 0.0}, first[2], second[2];
    CHECK(dp_df_save(df, name) == AF_OK && dp_df_load(c, name, &again) == AF_OK);
    CHECK(dp_df_evaluate(df, 2, eta[0], first, NULL) == AF_OK);
    CHECK(dp_df_evaluate(again, 2, eta[0], second, NULL) == AF_OK);
    CHECK(first[0] == second[0] && first[1] == second[1]);
    CHECK(dp_df_evaluate(df, 1, one, first, NULL) == AF_ERROR_DATA);
    CHECK_TEXT(af_error(c), "point 0 at (1, -0.5, 0.76) lies outside the volume");
    remove(name);
    dp_df_destroy(df);
    dp_df_destroy(again);
    dp_sample_destroy(s);
}

int main(void) {
    if (af_context_create(NULL, &c) != AF_OK) return 1;
    RUN(the_way_back);
    RUN(determinant_and_deviations_by_differences);
    RUN(gradient_by_differences);
    RUN(the_way_back_as_an_expression);
    RUN(an_even_density_up_to_its_edge);
    RUN(draws_stay_inside);
    RUN(files_of_a_cylinder_of_all_heights);
    RUN(files_and_points_outside);
    af_context_destroy(c);
    return test_report();
}
