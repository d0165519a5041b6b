/* Matrix products: af_matmul against OpenBLAS, which is loaded at run time. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "bench.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum product_kind { PRODUCT_XW, PRODUCT_XTY, PRODUCT_YWT } product_kind;

/* (m,k) (k,n) -> (m,n); the first or the second factor lies transposed in memory. */
typedef struct product {
    product_kind kind;
    size_t m, n, k;
    int f32, threads;
    double seconds;
} product;

/* The same numbers for both sides, uniform in (-0.5,0.5). */
static void *product_factor(const product *p, size_t count, uint64_t stream) {
    double *x = bench_numbers(count);
    float *narrow = (float *)x; /* in place: element i is read before it is overwritten */
    size_t i;
    for (i = 0; i < count; i++) x[i] = af_random_uniform(1, stream, i) - 0.5;
    for (i = 0; i < count && p->f32; i++) {
        float value = (float)x[i];
        memcpy(narrow + i, &value, sizeof value);
    }
    return x;
}

/* Sum of all elements with changing weights: what both sides must agree on. */
static double product_sum(const product *p, const void *c) {
    size_t i;
    double sum = 0.0;
    for (i = 0; i < p->m * p->n; i++)
        sum += (double)(i % 7) *
               (p->f32 ? (double)((const float *)c)[i] : ((const double *)c)[i]);
    return sum;
}

/* ---- ours ---- */

/* value: seconds, floating point operations, sum. */
static void product_ours(const void *arg, bench_result *result) {
    const product *p = (const product *)arg;
    af_context *c = NULL;
    af_expr in[2], x[2], y;
    bench_func f;
    size_t dims[2];
    memset(&f, 0, sizeof f);
    if (af_context_create(NULL, &c) != AF_OK) bench_die("no context");
    dims[0] = p->kind == PRODUCT_XTY ? p->k : p->m;
    dims[1] = p->kind == PRODUCT_XTY ? p->m : p->k;
    x[0] = in[0] = af_input(c, "a", 2, dims);
    dims[0] = p->kind == PRODUCT_YWT ? p->n : p->k;
    dims[1] = p->kind == PRODUCT_YWT ? p->k : p->n;
    x[1] = in[1] = af_input(c, "b", 2, dims);
    if (p->kind == PRODUCT_XTY) x[0] = af_transpose(c, x[0]);
    if (p->kind == PRODUCT_YWT) x[1] = af_transpose(c, x[1]);
    y = af_matmul(c, x[0], x[1]);
    bench_compile(c, &f, 2, in, 1, &y, p->f32, p->threads);
    f.in[0] = product_factor(p, p->m * p->k, 1);
    f.in[1] = product_factor(p, p->k * p->n, 2);
    f.out[0] = bench_numbers(p->m * p->n);
    result->value[0] = bench_time(bench_run, &f, p->seconds);
    result->value[1] = af_func_matmul_flops(f.func);
    result->value[2] = product_sum(p, f.out[0]);
}

/* ---- OpenBLAS ---- */

/* The values of cblas.h. */
enum { BLAS_ROWS = 101, BLAS_PLAIN = 111, BLAS_TRANSPOSED = 112 };

typedef void (*blas_dgemm)(int order, int ta, int tb, int m, int n, int k, double alpha,
                           const double *a, int lda, const double *b, int ldb, double beta,
                           double *c, int ldc);
typedef void (*blas_sgemm)(int order, int ta, int tb, int m, int n, int k, float alpha,
                           const float *a, int lda, const float *b, int ldb, float beta, float *c,
                           int ldc);

typedef struct blas_job {
    blas_dgemm dgemm;
    blas_sgemm sgemm;
    const product *p;
    void *a, *b, *c;
} blas_job;

static void *blas_open(void) {
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so",
                                        "libopenblasp.so.0", "libopenblas.0.dylib",
                                        "libopenblas.dylib"};
    void *library = NULL;
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

/* C99 has no conversion from an object's address to a function's. */
static void blas_symbol(void *library, const char *name, void *function) {
    void *symbol = library ? dlsym(library, name) : NULL;
    memcpy(function, &symbol, sizeof symbol);
}

static void blas_call(void *data) {
    const blas_job *j = (const blas_job *)data;
    int m = (int)j->p->m, n = (int)j->p->n, k = (int)j->p->k;
    int ta = j->p->kind == PRODUCT_XTY ? BLAS_TRANSPOSED : BLAS_PLAIN;
    int tb = j->p->kind == PRODUCT_YWT ? BLAS_TRANSPOSED : BLAS_PLAIN;
    int lda = j->p->kind == PRODUCT_XTY ? m : k, ldb = j->p->kind == PRODUCT_YWT ? k : n;
    if (j->p->f32)
        j->sgemm(BLAS_ROWS, ta, tb, m, n, k, 1.0f, (const float *)j->a, lda,
                 (const float *)j->b, ldb, 0.0f, (float *)j->c, n);
    else
        j->dgemm(BLAS_ROWS, ta, tb, m, n, k, 1.0, (const double *)j->a, lda,
                 (const double *)j->b, ldb, 0.0, (double *)j->c, n);
}

/* value: seconds (NaN: no OpenBLAS), sum; text: its version and processor. */
static void product_blas(const void *arg, bench_result *result) {
    blas_job j;
    void (*set_threads)(int threads);
    char *(*config)(void);
    void *library = blas_open();
    memset(&j, 0, sizeof j);
    j.p = (const product *)arg;
    result->value[0] = NAN;
    blas_symbol(library, "cblas_dgemm", &j.dgemm);
    blas_symbol(library, "cblas_sgemm", &j.sgemm);
    blas_symbol(library, "openblas_set_num_threads", &set_threads);
    blas_symbol(library, "openblas_get_config", &config);
    if (!j.dgemm || !j.sgemm || !set_threads) return;
    if (config) snprintf(result->text, sizeof result->text, "%s", config());
    set_threads(j.p->threads);
    j.a = product_factor(j.p, j.p->m * j.p->k, 1);
    j.b = product_factor(j.p, j.p->k * j.p->n, 2);
    j.c = bench_numbers(j.p->m * j.p->n);
    result->value[0] = bench_time(blas_call, &j, j.p->seconds);
    result->value[1] = product_sum(j.p, j.c);
}

/* ---- rows ---- */

static void product_row(bench *b, const product *p) {
    static const char *const names[] = {"X W", "X^T Y", "Y W^T"};
    bench_result ours, blas;
    bench_row row = bench_new_row("OpenBLAS", "matmul %s %lux%lux%lu %s %d thread%s",
                                  names[p->kind], (unsigned long)p->m, (unsigned long)p->k,
                                  (unsigned long)p->n, p->f32 ? "f32" : "f64", p->threads,
                                  p->threads > 1 ? "s" : "");
    double tolerance;
    if (!bench_wanted(b, row.name)) return;
    bench_child(product_ours, p, &ours);
    bench_child(product_blas, p, &blas);
    row.ours = ours.value[0];
    row.other = blas.value[0];
    row.flops = ours.value[1];
    row.peak = b->peak[p->f32][p->threads > 1];
    if (!isfinite(row.other)) row.peer = "no OpenBLAS";
    /* rounding of a sum of m n k products of size 1/12, weights 3: random signs */
    tolerance = (p->f32 ? 1e-6 : 1e-14) * 10.0 * sqrt((double)p->m * (double)p->n * (double)p->k);
    if (isfinite(row.other) && !(fabs(ours.value[2] - blas.value[1]) <= tolerance))
        bench_note(&row, "THE RESULTS DIFFER: sums %.10g and %.10g", ours.value[2],
                   blas.value[1]);
    bench_report(b, &row);
}

static void product_rows(bench *b, product_kind kind, size_t m, size_t k, size_t n, int which) {
    product p;
    int f32, many;
    p.kind = kind;
    p.m = m;
    p.k = k;
    p.n = n;
    p.seconds = bench_seconds(b);
    for (f32 = 0; f32 < 2; f32++)
        for (many = 0; many < 2; many++) {
            if (!(which >> many & 1) || (many && b->threads == 1)) continue;
            p.f32 = f32;
            p.threads = many ? b->threads : 1;
            product_row(b, &p);
        }
}

/* ---- which OpenBLAS ---- */

/* OpenBLAS takes processors that are younger than it for older ones, and the environment may have
 * chosen for another program: the fastest of these is the peer.
 * value: seconds of a product; text: the version. */
typedef struct blas_core {
    const char *variable; /* OPENBLAS_CORETYPE; NULL: not set */
} blas_core;

static void blas_set(const char *core) {
    if (core) setenv("OPENBLAS_CORETYPE", core, 1);
    else unsetenv("OPENBLAS_CORETYPE");
}

static void blas_try(const void *arg, bench_result *result) {
    product p;
    memset(&p, 0, sizeof p);
    p.m = p.n = p.k = 512;
    p.threads = 1;
    p.seconds = 0.1;
    blas_set(((const blas_core *)arg)->variable);
    product_blas(&p, result);
}

static const char *blas_choose(void) {
    static char remark[3 * BENCH_TEXT];
    blas_core cores[3];
    size_t i, count = 2, best = 0;
    double least = INFINITY;
    char version[BENCH_TEXT] = "no OpenBLAS";
    cores[0].variable = getenv("OPENBLAS_CORETYPE");
    cores[1].variable = NULL;
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f")) cores[count++].variable = "SKYLAKEX";
#endif
    for (i = 0; i < count; i++) {
        bench_result result;
        if (!bench_child(blas_try, &cores[i], &result) || !(result.value[0] < least)) continue;
        least = result.value[0];
        best = i;
        snprintf(version, sizeof version, "%s", result.text);
    }
    if (!isfinite(least)) best = 1;
    snprintf(remark, sizeof remark, "    peer: %s%s%.64s\n", version,
             cores[best].variable ? ", OPENBLAS_CORETYPE=" : "",
             cores[best].variable ? cores[best].variable : "");
    blas_set(cores[best].variable);
    return remark;
}

void bench_matmul(bench *b) {
    static const size_t widths[] = {64, 256, 512, 1024};
    enum { ONE = 1, ALL = 2, BOTH = 3 };
    size_t i;
    bench_head("matrix products", blas_choose());
    for (i = 0; i < 4; i++) {
        if (b->quick && i != 0 && i != 2) continue;
        product_rows(b, PRODUCT_XW, 8192, widths[i], widths[i], BOTH);
    }
    for (i = 1; i < 4; i += 2) {
        if (b->quick && i != 1) continue;
        product_rows(b, PRODUCT_XTY, widths[i], 8192, widths[i], ALL);
        product_rows(b, PRODUCT_YWT, 8192, widths[i], widths[i], ALL);
    }
    product_rows(b, PRODUCT_XW, 8, 64, 64, ONE);
    product_rows(b, PRODUCT_XW, 1, 256, 256, ONE);
}
