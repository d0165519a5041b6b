/* Elementwise functions against loops over libm's, 1 thread, arrays that stay in the second-level
 * cache. A function is applied once in a compiled function: the call costs less than a percent of
 * 16384 elements. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ELEMENTS = 16384 };

static double exact_sech2(double x) { return 1.0 / (cosh(x) * cosh(x)); }

#define ELEMENT_LOOP(name, of_double, of_float)                                                \
    static void name##_f64(const void *px, const void *pz, void *py) {                         \
        const double *x = (const double *)px, *z = (const double *)pz;                         \
        double *y = (double *)py;                                                              \
        size_t i;                                                                              \
        (void)z;                                                                               \
        for (i = 0; i < ELEMENTS; i++) y[i] = of_double;                                       \
    }                                                                                          \
    static void name##_f32(const void *px, const void *pz, void *py) {                         \
        const float *x = (const float *)px, *z = (const float *)pz;                            \
        float *y = (float *)py;                                                                \
        size_t i;                                                                              \
        (void)z;                                                                               \
        for (i = 0; i < ELEMENTS; i++) y[i] = of_float;                                        \
    }

static float cosh2(float x) {
    float c = coshf(x);
    return c * c;
}

ELEMENT_LOOP(loop_exp, exp(x[i]), expf(x[i]))
ELEMENT_LOOP(loop_log, log(x[i]), logf(x[i]))
ELEMENT_LOOP(loop_tanh, tanh(x[i]), tanhf(x[i]))
ELEMENT_LOOP(loop_sech2, exact_sech2(x[i]), 1.0f / cosh2(x[i]))
ELEMENT_LOOP(loop_sigmoid, 1.0 / (1.0 + exp(-x[i])), 1.0f / (1.0f + expf(-x[i])))
ELEMENT_LOOP(loop_softplus, log1p(exp(x[i])), log1pf(expf(x[i])))
ELEMENT_LOOP(loop_sin, sin(x[i]), sinf(x[i]))
ELEMENT_LOOP(loop_cos, cos(x[i]), cosf(x[i]))
ELEMENT_LOOP(loop_sqrt, sqrt(x[i]), sqrtf(x[i]))
ELEMENT_LOOP(loop_atan2, atan2(x[i], z[i]), atan2f(x[i], z[i]))

typedef void (*element_loop)(const void *x, const void *z, void *y);

typedef struct element {
    const char *name;
    double low, high; /* of the arguments, evenly distributed */
    af_expr (*one)(af_context *c, af_expr x);
    af_expr (*two)(af_context *c, af_expr x, af_expr z);
    element_loop loop[2]; /* f64, f32 */
} element;

static const element elements[] = {
    {"exp", -10.0, 10.0, af_exp, NULL, {loop_exp_f64, loop_exp_f32}},
    {"log", 0.01, 100.0, af_log, NULL, {loop_log_f64, loop_log_f32}},
    {"tanh", -4.0, 4.0, af_tanh, NULL, {loop_tanh_f64, loop_tanh_f32}},
    {"sech2", -4.0, 4.0, af_sech2, NULL, {loop_sech2_f64, loop_sech2_f32}},
    {"sigmoid", -8.0, 8.0, af_sigmoid, NULL, {loop_sigmoid_f64, loop_sigmoid_f32}},
    {"softplus", -8.0, 8.0, af_softplus, NULL, {loop_softplus_f64, loop_softplus_f32}},
    {"sin", -10.0, 10.0, af_sin, NULL, {loop_sin_f64, loop_sin_f32}},
    {"cos", -10.0, 10.0, af_cos, NULL, {loop_cos_f64, loop_cos_f32}},
    {"sqrt", 0.01, 100.0, af_sqrt, NULL, {loop_sqrt_f64, loop_sqrt_f32}},
    {"atan2", -4.0, 4.0, NULL, af_atan2, {loop_atan2_f64, loop_atan2_f32}},
};

typedef struct element_job {
    const element *e;
    int f32;
    double seconds;
    const void *x, *z;
    void *y;
} element_job;

static void element_call(void *data) {
    const element_job *j = (const element_job *)data;
    j->e->loop[j->f32](j->x, j->z, j->y);
}

static void *element_arguments(const element_job *j, uint64_t stream) {
    double *x = bench_numbers(ELEMENTS);
    float *narrow = (float *)calloc(ELEMENTS, sizeof *narrow);
    size_t i;
    if (!narrow) bench_die("out of memory");
    for (i = 0; i < ELEMENTS; i++) {
        x[i] = j->e->low + (j->e->high - j->e->low) * af_random_uniform(1, stream, i);
        narrow[i] = (float)x[i];
    }
    return j->f32 ? (void *)narrow : (void *)x;
}

/* The largest |a - b| over 1 + |b|. */
static double element_difference(int f32, const void *a, const void *b) {
    double most = 0.0;
    size_t i;
    for (i = 0; i < ELEMENTS; i++) {
        double x = f32 ? (double)((const float *)a)[i] : ((const double *)a)[i];
        double y = f32 ? (double)((const float *)b)[i] : ((const double *)b)[i];
        double away = fabs(x - y) / (1.0 + fabs(y));
        if (!(away <= most)) most = away;
    }
    return most;
}

/* value: seconds of ours and of libm's, largest difference. */
static void element_work(const void *arg, bench_result *result) {
    element_job j = *(const element_job *)arg;
    size_t dims[1] = {ELEMENTS};
    af_context *c = NULL;
    af_expr in[2], y;
    bench_func f;
    memset(&f, 0, sizeof f);
    if (af_context_create(NULL, &c) != AF_OK) bench_die("no context");
    in[0] = af_input(c, "x", 1, dims);
    in[1] = af_input(c, "z", 1, dims);
    y = j.e->one ? j.e->one(c, in[0]) : j.e->two(c, in[0], in[1]);
    bench_compile(c, &f, 2, in, 1, &y, j.f32, 1);
    f.in[0] = j.x = element_arguments(&j, 1);
    f.in[1] = j.z = element_arguments(&j, 2);
    f.out[0] = bench_numbers(ELEMENTS);
    j.y = bench_numbers(ELEMENTS);
    result->value[0] = bench_time(bench_run, &f, j.seconds);
    result->value[1] = bench_time(element_call, &j, j.seconds);
    result->value[2] = element_difference(j.f32, f.out[0], j.y);
}

void bench_elements(bench *b) {
    size_t i;
    int f32;
    bench_head("elementwise, 16384 elements, 1 thread", NULL);
    for (f32 = 0; f32 < 2; f32++)
        for (i = 0; i < sizeof elements / sizeof *elements; i++) {
            element_job j;
            bench_result result;
            bench_row row = bench_new_row("libm", "elementwise %s %s 1 thread", elements[i].name,
                                          f32 ? "f32" : "f64");
            if (!bench_wanted(b, row.name)) continue;
            memset(&j, 0, sizeof j);
            j.e = &elements[i];
            j.f32 = f32;
            j.seconds = b->quick ? 0.05 : 0.3;
            bench_child(element_work, &j, &result);
            row.ours = result.value[0];
            row.other = result.value[1];
            row.elements = ELEMENTS;
            if (result.value[2] > (f32 ? 1e-6 : 2e-15))
                bench_note(&row, "THE RESULTS DIFFER by %.2g", result.value[2]);
            bench_report(b, &row);
        }
}
