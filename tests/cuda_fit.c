/* af_cuda.cu beside the CPU: large programs, bits, arrays on the device, failures, the training of
 * an ActionFinder and of distribution functions, steps of Adam; cuda_models.h has more. C99, linked
 * with af_cuda.cu as an object of its own: with CUDA_HOST it runs on the host, by cuda_host.h,
 * otherwise on a device. See cuda.sh. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#ifndef AF_CUDA
#  define AF_CUDA
#endif
#include "deeppotential.in.h"
#include "af_test.h"
#define MOCK_NAME "cuda"
#include "af_mock.h"
#ifdef CUDA_HOST
#  include "cuda_host_test.h"
#endif

/* ---- programs ---- */

enum { INPUTS = 4, OUTPUTS = 16, RUNS = 4 };

/* A function to compare on backends. */
typedef struct program {
    af_context *c;
    af_expr in[INPUTS], out[OUTPUTS];
    void *data[INPUTS]; /* in the precision of the function */
    size_t inputs, outputs;
    af_precision precision;
} program;

static size_t real_of(const program *p) {
    return p->precision == AF_F64 ? sizeof(double) : sizeof(float);
}

static double value_of(const program *p, const void *x, size_t i) {
    return p->precision == AF_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static void begin(program *p, af_precision precision) {
    memset(p, 0, sizeof *p);
    p->precision = precision;
    CHECK(af_context_create(NULL, &p->c) == AF_OK);
    af_context_set_threads(p->c, 1);
}

static void end(program *p) {
    size_t i;
    CHECK_TEXT(af_error(p->c), "");
    for (i = 0; i < p->inputs; i++) free(p->data[i]);
    af_context_destroy(p->c);
}

/* An input with numbers between the limits; whole: whole numbers. */
static af_expr input(program *p, size_t rank, const size_t *dims, double low, double high,
                     int whole) {
    af_expr x = p->in[p->inputs] = af_input(p->c, "input", rank, dims);
    size_t i, n = af_size(p->c, x);
    void *data = p->data[p->inputs] = malloc(n * real_of(p));
    for (i = 0; i < n; i++) {
        double v = low + (high - low) * af_random_uniform(7, p->inputs, i);
        if (whole) v = floor(v);
        if (p->precision == AF_F64) ((double *)data)[i] = v;
        else ((float *)data)[i] = (float)v;
    }
    p->inputs++;
    return x;
}

static void output(program *p, af_expr x) { p->out[p->outputs++] = x; }

static af_func *compile(const program *p, const af_backend *backend) {
    af_func_desc d;
    af_func *f = NULL;
    memset(&d, 0, sizeof d);
    d.inputs = p->in;
    d.input_count = p->inputs;
    d.outputs = p->out;
    d.output_count = p->outputs;
    d.precision = p->precision;
    d.backend = backend;
    d.label = "a program";
    CHECK(af_compile(p->c, &d, &f) == AF_OK);
    return f;
}

static void results_new(const program *p, void **to) {
    size_t i;
    for (i = 0; i < p->outputs; i++) to[i] = calloc(af_size(p->c, p->out[i]), real_of(p));
}

static void results_free(const program *p, void **to) {
    size_t i;
    for (i = 0; i < p->outputs; i++) free(to[i]);
}

/* Runs it; for other runs than the first the outputs are those of the first, to the bit. */
static void run(const program *p, const af_backend *backend, int runs, void **to) {
    af_func *f = compile(p, backend);
    af_workspace *w = NULL;
    void *again[OUTPUTS];
    int k;
    size_t i;
    results_new(p, again);
    CHECK(f && af_context_workspace(p->c, f, 1, &w) == AF_OK);
    for (k = 0; k < runs && w; k++) {
        CHECK(af_run(f, w, (const void *const *)p->data, k ? again : to) == AF_OK);
        for (i = 0; i < p->outputs && k > 0; i++)
            CHECK(memcmp(again[i], to[i], af_size(p->c, p->out[i]) * real_of(p)) == 0);
    }
    af_workspace_destroy(w);
    af_func_destroy(f);
    results_free(p, again);
}

/* The largest difference, relative to the largest number of the output. */
static double apart(const program *p, void *const *a, void *const *b) {
    double worst = 0.0;
    size_t i, k;
    for (i = 0; i < p->outputs; i++) {
        double largest = 1e-300, most = 0.0;
        for (k = 0; k < af_size(p->c, p->out[i]); k++) {
            double x = value_of(p, a[i], k), y = value_of(p, b[i], k);
            if (!(fabs(x - y) <= most)) most = fabs(x - y); /* NaN, too */
            if (fabs(y) > largest) largest = fabs(y);
        }
        if (!(most / largest <= worst)) worst = most / largest;
    }
    return worst;
}

/* The device agrees with the CPU within this, and with itself to the bit: in later runs, which are
 * recorded, and in another workspace. */
static void compare(program *p, double within) {
    const af_backend *cuda = af_backend_cuda();
    void *cpu[OUTPUTS], *one[OUTPUTS], *two[OUTPUTS];
    size_t i;
    double away;
    CHECK(cuda != NULL);
    results_new(p, cpu);
    results_new(p, one);
    results_new(p, two);
    run(p, af_backend_cpu(), 1, cpu);
    run(p, cuda, RUNS, one);
    CHECK(strcmp(af_error_cuda(), "") == 0); /* also that recording went well */
    run(p, cuda, 1, two);
    for (i = 0; i < p->outputs; i++)
        CHECK(memcmp(one[i], two[i], af_size(p->c, p->out[i]) * real_of(p)) == 0);
    away = apart(p, one, cpu);
    SAY("apart by %.1e\n", away);
    CHECK(away <= within);
    results_free(p, cpu);
    results_free(p, one);
    results_free(p, two);
}

static double within_of(const program *p) { return p->precision == AF_F64 ? 1e-12 : 1e-5; }

/* Sums whose inner elements are cut in parts, summed by columns, by rows, of products. */
static void sums(af_precision precision) {
    size_t d[3] = {3, 40000, 2}, wide[2] = {6000, 100}, all[2] = {100, 5000}, one[1] = {50001};
    program p;
    af_expr x;
    begin(&p, precision);
    x = input(&p, 3, d, 0.0, 1.0, 0);
    output(&p, af_sum(p.c, x));
    output(&p, af_sum_axis(p.c, x, 0));
    output(&p, af_sum_axis(p.c, x, 1));
    output(&p, af_sum_axis(p.c, af_sum_axis(p.c, x, 0), 1));
    x = input(&p, 2, wide, 0.0, 1.0, 0);
    output(&p, af_sum_axis(p.c, x, 0));
    output(&p, af_sum_axis(p.c, x, 1));
    output(&p, af_sum(p.c, af_mul(p.c, x, x)));
    output(&p, af_sum_axis(p.c, af_transpose(p.c, x), 0));
    x = input(&p, 2, all, 0.0, 1.0, 0);
    output(&p, af_sum_axis(p.c, af_mul(p.c, x, af_broadcast(p.c, af_slice(p.c, x, 0, 3, 1), 2,
                                                            all)), 1));
    x = input(&p, 1, one, 0.0, 1.0, 0);
    output(&p, af_mean(p.c, af_slice(p.c, x, 0, 17, 49979)));
    compare(&p, within_of(&p));
    end(&p);
}

TEST(large_sums) {
    sums(AF_F64);
    sums(AF_F32);
}

/* Products with factors as they are, transposed, broadcast, of batches along one and two axes. */
static void products(af_precision precision) {
    size_t a[4] = {3, 4, 33, 17}, b[2] = {17, 29}, v[2] = {1, 33}, swap[4] = {1, 0, 2, 3};
    size_t row[4] = {3, 4, 33, 17};
    program p;
    af_expr x, y, z, one;
    begin(&p, precision);
    x = input(&p, 4, a, -1.0, 1.0, 0);
    y = input(&p, 2, b, -1.0, 1.0, 0);
    z = input(&p, 2, v, -1.0, 1.0, 0);
    output(&p, af_matmul(p.c, x, y));
    output(&p, af_matmul(p.c, z, x));
    output(&p, af_matmul(p.c, x, af_transpose(p.c, x)));
    output(&p, af_matmul(p.c, af_transpose(p.c, x), x));
    output(&p, af_matmul(p.c, af_permute(p.c, x, swap), y));
    output(&p, af_matmul(p.c, af_transpose(p.c, af_permute(p.c, x, swap)),
                         af_permute(p.c, x, swap)));
    one = af_broadcast(p.c, af_slice(p.c, x, 2, 5, 1), 4, row); /* every row the same: packed */
    output(&p, af_matmul(p.c, one, y));
    output(&p, af_matmul(p.c, x, af_broadcast(p.c, af_slice(p.c, y, 1, 2, 1), 2, b)));
    output(&p, af_matmul(p.c, af_transpose(p.c, y), y));
    output(&p, af_matmul(p.c, z, af_transpose(p.c, z)));
    output(&p, af_matmul(p.c, af_transpose(p.c, z), z));
    compare(&p, within_of(&p));
    end(&p);
}

TEST(products_of_any_layout) {
    products(AF_F64);
    products(AF_F32);
}

/* Products that are made in parts, with a rest and without, of factors in any layout. */
static void long_products(af_precision precision) {
    size_t a[2] = {5, 1031}, b[2] = {1031, 7}, even[2] = {3, 20480}, many[2] = {20001, 2};
    program p;
    af_expr x, y, z, same;
    begin(&p, precision);
    x = input(&p, 2, a, -1.0, 1.0, 0);
    y = input(&p, 2, b, -1.0, 1.0, 0);
    same = af_broadcast(p.c, af_slice(p.c, x, 0, 3, 1), 2, a); /* packed */
    output(&p, af_matmul(p.c, x, y));
    output(&p, af_matmul(p.c, af_transpose(p.c, y), y));
    output(&p, af_matmul(p.c, x, af_transpose(p.c, x)));
    output(&p, af_matmul(p.c, af_transpose(p.c, y), af_transpose(p.c, x)));
    output(&p, af_matmul(p.c, same, y));
    output(&p, af_matmul(p.c, same, af_transpose(p.c, same)));
    z = input(&p, 2, even, -1.0, 1.0, 0);
    output(&p, af_matmul(p.c, z, af_transpose(p.c, z)));
    z = input(&p, 2, many, -1.0, 1.0, 0);
    output(&p, af_matmul(p.c, af_transpose(p.c, z), z));
    compare(&p, within_of(&p));
    end(&p);
}

TEST(products_in_parts) {
    long_products(AF_F64);
    long_products(AF_F32);
}

/* Fused runs in which a thread has several elements: with gaps at the end, of arrays in any layout,
 * of random numbers. */
static void large_runs(af_precision precision) {
    size_t d[2] = {401, 333}, row[2] = {1, 333};
    program p;
    af_expr x, y, u;
    begin(&p, precision);
    x = input(&p, 2, d, -1.0, 1.0, 0);
    y = input(&p, 2, row, 0.1, 1.0, 0);
    u = af_random(p.c, 2, d, af_constant(p.c, 5.0), 9);
    output(&p, af_tanh(p.c, x));
    output(&p, af_transpose(p.c, af_div(p.c, af_exp(p.c, x), y)));
    output(&p, af_where(p.c, af_less(p.c, x, u), af_sin(p.c, x), af_mul(p.c, x, y)));
    output(&p, af_add(p.c, x, af_slice(p.c, af_concat(p.c, 0, 2, (af_expr[2]){y, x}), 0, 0, 401)));
    compare(&p, within_of(&p));
    end(&p);
}

TEST(runs_of_many_elements) {
    large_runs(AF_F64);
    large_runs(AF_F32);
}

/* More rows than one block sorts, rows that get none, one, many; indices outside. */
static void rows(af_precision precision) {
    size_t n[1] = {5000}, x[3] = {5000, 2, 3}, few[2] = {300, 7}, count[1] = {300};
    program p;
    af_expr index, values;
    begin(&p, precision);
    index = input(&p, 1, n, -3.0, 1203.0, 1);
    values = input(&p, 3, x, -1.0, 1.0, 0);
    output(&p, af_scatter(p.c, values, index, 1200));
    output(&p, af_scatter(p.c, values, af_scale(p.c, index, 0.0), 3));
    output(&p, af_gather(p.c, values, index));
    output(&p, af_gather(p.c, values, af_sub(p.c, index, index)));
    values = input(&p, 2, few, -1.0, 1.0, 0);
    index = input(&p, 1, count, 0.0, 299.0, 1);
    output(&p, af_scatter(p.c, values, index, 299));
    compare(&p, within_of(&p));
    end(&p);
}

TEST(scatter_and_gather) {
    rows(AF_F64);
    rows(AF_F32);
}

/* Random numbers are the CPU's to the bit, in any layout. */
static void randoms(af_precision precision) {
    size_t d[3] = {5, 700, 3};
    program p;
    af_expr seed;
    begin(&p, precision);
    seed = input(&p, 0, NULL, 100.0, 200.0, 1);
    output(&p, af_random(p.c, 3, d, seed, 12345678901234567u));
    output(&p, af_random(p.c, 1, d + 1, af_scale(p.c, seed, -1.0), 3));
    output(&p, af_transpose(p.c, af_random(p.c, 2, d, af_constant(p.c, 1e300), 4)));
    compare(&p, 0.0);
    end(&p);
}

TEST(random_numbers_to_the_bit) {
    randoms(AF_F64);
    randoms(AF_F32);
}

/* ---- arrays on the device ---- */

#ifdef CUDA_HOST
#  define managed cuda_host_managed
#  define managed_free cuda_host_managed_free
#else
#  include <cuda_runtime_api.h>
static void *managed(size_t bytes) {
    void *at = NULL;
    return cudaMallocManaged(&at, bytes, cudaMemAttachGlobal) == cudaSuccess ? at : NULL;
}
static void managed_free(void *at) { cudaFree(at); }
#endif

/* Inputs and outputs in memory that the device shares are used there; the function follows them
 * when they move, and from there to the host's memory and back. */
TEST(arrays_on_the_device) {
    size_t d[1] = {1000}, i;
    double *x = (double *)managed(sizeof(double) * 1000), *y = (double *)managed(sizeof(double));
    double *z = (double *)managed(sizeof(double) * 1000), host[1000], total[1];
    program p;
    af_func *f;
    af_workspace *w = NULL;
    int round;
    begin(&p, AF_F64);
    output(&p, af_sum(p.c, af_square(p.c, input(&p, 1, d, 0.0, 1.0, 0))));
    f = compile(&p, af_backend_cuda());
    CHECK(af_context_workspace(p.c, f, 1, &w) == AF_OK);
    for (round = 0; round < 12 && w; round++) {
        double *from = round / 2 % 3 == 0 ? x : round / 2 % 3 == 1 ? host : z;
        double *to = round / 3 % 2 ? y : total;
        const void *in[1];
        void *out[1];
        for (i = 0; i < 1000; i++) from[i] = round + 1.0;
        in[0] = from;
        out[0] = to;
        CHECK(af_run(f, w, in, out) == AF_OK);
        CHECK(*to == 1000.0 * (round + 1.0) * (round + 1.0));
    }
    af_workspace_destroy(w);
    af_func_destroy(f);
    end(&p);
    managed_free(x);
    managed_free(y);
    managed_free(z);
}

/* Arrays in f64 of a function in f32 (af_buffer, wide), on the host and on the device: as the
 * parameters and the gradient of a training are. */
TEST(arrays_of_another_precision) {
    size_t d[1] = {1000}, i;
    double *x = (double *)managed(sizeof(double) * 1000);
    double *y = (double *)managed(sizeof(double) * 1000), host_x[1000], host_y[1000];
    program p;
    af_func *f;
    af_workspace *w = NULL;
    int round;
    begin(&p, AF_F32);
    output(&p, af_scale(p.c, input(&p, 1, d, 0.0, 1.0, 0), 3.0));
    f = compile(&p, af_backend_cuda());
    for (i = 0; i < af_func_program(f)->buffer_count; i++)
        ((af_buffer *)(uintptr_t)&af_func_program(f)->buffer[i])->wide = 1;
    CHECK(af_context_workspace(p.c, f, 1, &w) == AF_OK);
    for (round = 0; round < 12 && w; round++) {
        double *from = round / 3 % 2 ? x : host_x, *to = round / 6 ? y : host_y;
        const void *in[1];
        void *out[1];
        for (i = 0; i < 1000; i++) from[i] = sqrt((double)(i + (size_t)round));
        in[0] = from;
        out[0] = to;
        CHECK(af_run(f, w, in, out) == AF_OK);
        for (i = 0; i < 1000; i++) CHECK(to[i] == (double)(3.0f * (float)from[i]));
    }
    af_workspace_destroy(w);
    af_func_destroy(f);
    end(&p);
    managed_free(x);
    managed_free(y);
}

/* ---- failures ---- */

#ifdef CUDA_HOST
TEST(devices_that_are_not_there) {
    cuda_host_device(CUDA_HOST_NONE);
    CHECK(af_backend_cuda() == NULL);
    CHECK_TEXT(af_error_cuda(), "no CUDA-capable device");
    cuda_host_device(CUDA_HOST_OLD_DRIVER);
    CHECK(af_backend_cuda() == NULL);
    CHECK_TEXT(af_error_cuda(), "install a driver");
    cuda_host_device(CUDA_HOST_OTHER_DEVICE);
    CHECK(af_backend_cuda() == NULL);
    CHECK_TEXT(af_error_cuda(), "nvcc -arch=native");
    cuda_host_device(CUDA_HOST_READY);
    CHECK(af_backend_cuda() != NULL);
    CHECK_TEXT(af_error_cuda(), "");
}

/* Something of everything. */
static void all_kinds(program *p) {
    size_t d[2] = {150, 20}, line[2] = {1, 3000};
    af_expr x = input(p, 2, d, 0.0, 1.0, 0), rows_of;
    rows_of = input(p, 1, d, 0.0, 150.0, 1);
    output(p, af_matmul(p->c, af_transpose(p->c, x), af_tanh(p->c, x)));
    output(p, af_sum(p->c, af_pad(p->c, af_scatter(p->c, x, rows_of, 150), 0, 3, 160)));
    output(p, af_matmul(p->c, af_broadcast(p->c, af_slice(p->c, x, 0, 3, 1), 2, d),
                        af_transpose(p->c, x)));
    x = af_reshape(p->c, x, 2, line);
    output(p, af_matmul(p->c, x, af_transpose(p->c, x))); /* in parts, with a rest */
}

/* Opens, runs four times, closes; what failed. */
static af_status attempt(const program *p, const af_func *f, void *const *to) {
    af_workspace *w = NULL;
    af_status s = af_workspace_create(f, 1, &w);
    int k;
    CHECK((s == AF_OK) == (w != NULL));
    for (k = 0; k < RUNS && s == AF_OK; k++) {
        s = af_run(f, w, (const void *const *)p->data, to);
        if (s != AF_OK) CHECK(isnan(value_of(p, to[1], 0)));
        if (s != AF_OK) /* the next run is as if nothing had been */
            CHECK(af_run(f, w, (const void *const *)p->data, to) == AF_OK);
    }
    af_workspace_destroy(w);
    return s;
}

/* Each call of CUDA fails once: that has a sentence, frees everything, and leaves the function fit
 * for use. */
TEST(each_call_of_cuda_fails) {
    program p;
    af_func *f;
    void *to[OUTPUTS], *right[OUTPUTS];
    long k, failed = 0, unrecorded = 0, calls;
    begin(&p, AF_F64);
    all_kinds(&p);
    results_new(&p, to);
    results_new(&p, right);
    f = compile(&p, af_backend_cuda());
    calls = cuda_host_count().calls;
    CHECK(attempt(&p, f, right) == AF_OK);
    calls = cuda_host_count().calls - calls;
    for (k = 1; k <= calls; k++) {
        af_status s;
        cuda_host_fail_after(k);
        s = attempt(&p, f, to);
        cuda_host_fail_after(0);
        CHECK(cuda_host_count().live == 0);
        if (s == AF_OK) { /* a function that cannot be recorded runs */
            unrecorded += af_error_cuda()[0] != 0;
            CHECK(apart(&p, to, right) == 0.0);
            continue;
        }
        failed++;
        CHECK(s == AF_ERROR_BACKEND);
        CHECK(strncmp(af_func_error(f), "cu", 2) == 0 || strncmp(af_func_error(f), "CU", 2) == 0);
    }
    CHECK(unrecorded > 1 && failed + unrecorded == calls); /* the last one is made in closing */
    CHECK(attempt(&p, f, to) == AF_OK && apart(&p, to, right) == 0.0);
    af_func_destroy(f);
    results_free(&p, to);
    results_free(&p, right);
    end(&p);
}

/* Arrays of the device are not lost with a run that fails: the host could not write to all of them,
 * and the parameters of a training are among them. */
TEST(arrays_on_the_device_outlive_failures) {
    size_t d[1] = {100}, i;
    double *x = (double *)managed(sizeof(double) * 100);
    double *y = (double *)managed(sizeof(double) * 100);
    program p;
    af_func *f;
    long k;
    af_status s = AF_ERROR_BACKEND;
    begin(&p, AF_F64);
    output(&p, af_square(p.c, input(&p, 1, d, 0.0, 1.0, 0)));
    output(&p, af_sum(p.c, af_square(p.c, p.in[0])));
    f = compile(&p, af_backend_cuda());
    for (i = 0; i < 100; i++) y[i] = 4.0;
    for (k = 1; k < 100 && s != AF_OK; k++) {
        double total = 0.0;
        const void *in[1];
        void *out[2];
        af_workspace *w = NULL;
        for (i = 0; i < 100; i++) x[i] = 2.0;
        in[0] = x;
        out[0] = y;
        out[1] = &total;
        CHECK(af_context_workspace(p.c, f, 1, &w) == AF_OK);
        cuda_host_fail_after(k);
        s = af_run(f, w, in, out);
        cuda_host_fail_after(0);
        CHECK(s == AF_OK ? total == 400.0 : isnan(total));
        CHECK(y[0] == 4.0 && y[99] == 4.0);
        af_workspace_destroy(w);
    }
    CHECK(s == AF_OK && k > 5);
    af_func_destroy(f);
    end(&p);
    managed_free(x);
    managed_free(y);
}

/* A function stays on the device that its workspace was made on, and the thread's own is as it was
 * after each call, also one that fails. */
TEST(the_device_of_the_thread_is_left_alone) {
    program p;
    af_func *f;
    af_workspace *w = NULL;
    void *to[OUTPUTS];
    int before = cuda_host_use(1), k;
    begin(&p, AF_F64);
    all_kinds(&p);
    results_new(&p, to);
    f = compile(&p, af_backend_cuda());
    CHECK(af_context_workspace(p.c, f, 1, &w) == AF_OK);
    CHECK(cuda_host_use(0) == 1);
    for (k = 0; k < RUNS; k++) {
        cuda_host_fail_after(k == 0 ? 7 : 0);
        CHECK(af_run(f, w, (const void *const *)p.data, to) ==
              (k == 0 ? AF_ERROR_BACKEND : AF_OK));
        CHECK(cuda_host_use(0) == 0);
    }
    af_workspace_destroy(w);
    CHECK(cuda_host_use(before) == 0);
    af_func_destroy(f);
    results_free(&p, to);
    end(&p);
}

TEST(the_host_is_out_of_memory) {
    heap memory;
    long k, calls = 1000;
    for (k = 0; k <= calls; k++) { /* 0: none fails */
        size_t d[1] = {10};
        double data[10] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0};
        af_context *c = NULL;
        af_func_desc desc;
        af_expr x, y;
        af_func *f = NULL;
        af_workspace *w = NULL;
        if (heap_open(&memory, 0, 1, &c) != AF_OK) continue;
        memset(&desc, 0, sizeof desc);
        x = af_input(c, "x", 1, d);
        y = af_sum(c, af_mul(c, x, af_constant_array(c, 1, d, data)));
        desc.inputs = &x;
        desc.outputs = &y;
        desc.input_count = desc.output_count = 1;
        desc.precision = AF_F32; /* whose constants are converted */
        desc.backend = af_backend_cuda();
        CHECK(af_compile(c, &desc, &f) == AF_OK);
        memory.calls = 0;
        memory.fail_at = k;
        CHECK((af_context_workspace(c, f, 1, &w) == AF_OK) == (k == 0));
        if (k == 0) calls = memory.calls;
        else CHECK(af_error_status(c) == AF_ERROR_MEMORY);
        af_workspace_destroy(w);
        af_func_destroy(f);
        af_context_destroy(c);
        CHECK(memory.live == 0 && cuda_host_count().live == 0);
    }
    CHECK(calls == 3);
}
#endif

/* ---- fits ---- */

enum { EPOCHS = 8 };

/* The losses of a fit's epochs. */
typedef struct history {
    double loss[EPOCHS];
    size_t epochs;
} history;

static int note(const af_progress *progress, void *user) {
    history *h = (history *)user;
    if (h->epochs < (size_t)EPOCHS) h->loss[h->epochs++] = progress->loss;
    return 0;
}

static af_context *context_of(const af_backend *backend, int threads) {
    af_context_desc d;
    af_context *c = NULL;
    memset(&d, 0, sizeof d);
    d.backend = backend;
    d.threads = threads;
    CHECK(af_context_create(&d, &c) == AF_OK);
    return c;
}

/* The same losses within this; they have fallen, where they are not mostly noise. */
static void check_histories(const history *a, const history *b, size_t epochs, double within,
                            int falls) {
    size_t i;
    CHECK(a->epochs == epochs && b->epochs == epochs);
    for (i = 0; i < epochs; i++) {
        SAY("%.15g %.15g\n", a->loss[i], b->loss[i]);
        CHECK(fabs(a->loss[i] - b->loss[i]) <= within * fabs(b->loss[i]));
    }
    CHECK(!falls || a->loss[epochs - 1] < a->loss[0]);
}

enum { STREAMS = 64, STARS = 8 };

/* A short fit and the actions of all stars. */
static history fit_finder(const af_backend *backend, int threads, double *j) {
    af_context *c = context_of(backend, threads);
    af_orbits *o = mock_orbits(c, 3, STREAMS, STARS);
    af_finder *f = NULL;
    af_finder_desc d;
    af_fit_desc fit;
    history h;
    memset(&h, 0, sizeof h);
    memset(&d, 0, sizeof d);
    memset(&fit, 0, sizeof fit);
    d.toy.mass = 4e11;
    d.toy.scale = 6.0;
    d.net.width = d.point_net.width = 16;
    d.point_transformation = 1;
    d.harmonics_r = 3;
    d.harmonics_z = 2;
    d.harmonics_phi = 1;
    fit.epochs = EPOCHS;
    fit.piece = 8;
    fit.progress = note;
    fit.user = &h;
    CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
    CHECK(f && af_finder_fit(f, o, &fit) == AF_OK);
    CHECK(f && af_finder_evaluate(f, o, j, NULL, NULL) == AF_OK);
    CHECK_TEXT(af_error(c), "");
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
    return h;
}

TEST(an_action_finder_is_trained) {
    static double cpu[3 * STREAMS * STARS], cuda[3 * STREAMS * STARS], two[3 * STREAMS * STARS];
    history a = fit_finder(af_backend_cuda(), 1, cuda), b = fit_finder(NULL, 1, cpu), again;
    size_t i;
    check_histories(&a, &b, EPOCHS, 1e-9, 1);
    for (i = 0; i < 3 * STREAMS * STARS; i++) CHECK_CLOSE(cuda[i], cpu[i], 1e-7);
    again = fit_finder(af_backend_cuda(), 2, two); /* threads, each with its stream */
    CHECK(memcmp(&a, &again, sizeof a) == 0 && memcmp(cuda, two, sizeof two) == 0);
}

enum { LOOKED_AT = 100, NUMBERS = 7 * LOOKED_AT };

/* Stars of two clumps: after a short fit ln f of some, then its gradient. */
static history fit_df(const af_backend *backend, dp_df_kind kind, int double_precision,
                      double found[NUMBERS]) {
    enum { N = 1200 };
    static double eta[N][6];
    af_context *c = context_of(backend, 1);
    dp_sample *sample = NULL;
    dp_df *df = NULL;
    dp_df_desc d;
    dp_fit_desc fit;
    history h;
    size_t i, k;
    memset(&h, 0, sizeof h);
    memset(&d, 0, sizeof d);
    memset(&fit, 0, sizeof fit);
    for (i = 0; i < N; i++)
        for (k = 0; k < 6; k++) eta[i][k] = (i % 3 ? 1.0 : -1.5) + af_random_normal(2, k, i);
    d.kind = kind;
    d.transforms = 2;
    d.width = 8;
    d.depth = 2;
    d.seed = 2;
    d.noise = 0.3;
    d.plain_coordinates = 1; /* else a network for them is trained first, for long */
    fit.epochs = 3;
    fit.batch = 256;
    fit.double_precision = double_precision;
    fit.schedule.rate = 1e-2;
    fit.progress = note;
    fit.user = &h;
    CHECK(dp_sample_create(c, N, eta[0], NULL, NULL, NULL, &sample) == AF_OK);
    CHECK(dp_df_create(sample, &d, &df) == AF_OK);
    CHECK(df && dp_df_fit(df, sample, &fit, NULL) == AF_OK);
    CHECK(df && dp_df_evaluate(df, LOOKED_AT, eta[0], found, found + LOOKED_AT) == AF_OK);
    CHECK_TEXT(af_error(c), "");
    dp_df_destroy(df);
    dp_sample_destroy(sample);
    af_context_destroy(c);
    return h;
}

static void compare_dfs(dp_df_kind kind, int double_precision, double losses, double values) {
    double cpu[NUMBERS], cuda[NUMBERS], most = 0.0;
    history a = fit_df(af_backend_cuda(), kind, double_precision, cuda);
    history b = fit_df(NULL, kind, double_precision, cpu);
    size_t i;
    check_histories(&a, &b, 3, losses, kind != DP_DF_MATCHING);
    for (i = 0; i < NUMBERS; i++)
        if (!(fabs(cuda[i] - cpu[i]) <= most)) most = fabs(cuda[i] - cpu[i]);
    SAY("apart by %.1e\n", most);
    CHECK(most <= values);
}

/* In single precision the paths of a training part, step by step. */
TEST(a_spline_flow_is_trained) {
    compare_dfs(DP_DF_SPLINE, 1, 1e-9, 1e-6);
    compare_dfs(DP_DF_SPLINE, 0, 1e-3, 1e-2);
}

/* The rates of these are computed in f32, and points take steps by their errors. */
TEST(continuous_flows_are_trained) {
    compare_dfs(DP_DF_FFJORD, 1, 1e-9, 1e-4);
    compare_dfs(DP_DF_MATCHING, 1, 1e-9, 1e-4);
}

TEST(a_score_is_trained) { compare_dfs(DP_DF_SCORE, 1, 1e-9, 1e-6); }

#include "cuda_models.h"

/* ---- the optimiser on the device ---- */

enum { ROWS = 16, UPDATES = 8, WIDTH = 260 }; /* more than 65536 parameters */

/* Some steps of a wide network; the parameters, their average after af_train, and the losses. */
typedef struct wide {
    af_params *params;
    af_net *net;
    af_trainer *trainer;
    double x[ROWS][2], y[ROWS], loss[UPDATES];
    size_t steps;
    af_status status;
} wide;

static af_status wide_epoch(af_trainer *trainer, size_t epoch, double first, double last,
                            double *loss, void *user) {
    wide *w = (wide *)user;
    const void *in[2];
    (void)first;
    (void)last;
    in[0] = w->x;
    in[1] = w->y;
    if (epoch == 5) w->y[0] = 1e200; /* its gradient's square is infinite */
    w->status = af_trainer_step(trainer, in, 0.3, loss);
    if (w->status != AF_OK) return w->status;
    w->loss[w->steps++] = *loss;
    return AF_OK;
}

static void wide_open(wide *w, af_context *c, af_optimiser method, af_precision precision) {
    af_net_desc d;
    af_trainer_desc t;
    af_expr in[2], none = {0};
    size_t dims[2] = {ROWS, 2}, i;
    memset(w, 0, sizeof *w);
    memset(&d, 0, sizeof d);
    memset(&t, 0, sizeof t);
    for (i = 0; i < ROWS; i++) {
        w->x[i][0] = af_random_uniform(3, 1, i);
        w->x[i][1] = af_random_uniform(3, 2, i);
        w->y[i] = 3.0 * w->x[i][0] * w->x[i][1];
    }
    d.inputs = 2;
    d.outputs = 1;
    d.width = WIDTH;
    d.random_last = 1;
    CHECK(af_params_create(c, 1, &w->params) == AF_OK);
    CHECK(af_net_create(w->params, &d, &w->net) == AF_OK);
    in[0] = af_input(c, "x", 2, dims);
    dims[1] = 1;
    in[1] = af_input(c, "y", 2, dims);
    t.params = w->params;
    t.loss = af_mean(c, af_square(c, af_sub(c, af_net_apply(w->net, in[0], none), in[1])));
    t.inputs = in;
    t.input_count = 2;
    t.adam.method = method;
    t.precision = precision;
    t.adam.clip = 0.5;
    t.adam.weight_decay = 0.01;
    t.average = 0.9;
    CHECK(af_trainer_create(c, &t, &w->trainer) == AF_OK);
}

/* The parameters, averaged, after five steps; then a step fails and leaves all as it was. */
static double *wide_train(const af_backend *backend, af_optimiser method, af_precision precision,
                          wide *w, size_t *n) {
    af_context *c = context_of(backend, 1);
    af_train_desc train;
    double *x, *held;
#ifdef CUDA_HOST
    long copied;
#endif
    memset(&train, 0, sizeof train);
    wide_open(w, c, method, precision);
    *n = af_params_size(w->params);
    x = (double *)malloc(*n * sizeof *x);
    held = (double *)malloc(*n * sizeof *held);
#ifdef CUDA_HOST
    CHECK(cuda_host_is_shared(af_params_data(w->params)) == (backend && backend->memory));
#endif
    train.epochs = 5;
    train.epoch = wide_epoch;
    train.user = w;
#ifdef CUDA_HOST
    copied = cuda_host_count().copied;
#endif
    CHECK(af_train(w->trainer, &train) == AF_OK && w->status == AF_OK);
#ifdef CUDA_HOST /* batches and losses, but not a byte for each parameter */
    CHECK(cuda_host_count().copied - copied < (long)*n || !backend->memory);
#endif
    memcpy(x, af_params_data(w->params), *n * sizeof *x); /* the average */
    CHECK(wide_epoch(w->trainer, 4, 0.0, 1.0, &w->loss[5], w) == AF_OK);
    memcpy(held, af_params_data(w->params), *n * sizeof *x);
    CHECK(wide_epoch(w->trainer, 5, 0.0, 1.0, &w->loss[6], w) == AF_ERROR_NONFINITE);
    CHECK(memcmp(held, af_params_data(w->params), *n * sizeof *x) == 0);
    af_error_clear(c);
    free(held);
    af_trainer_destroy(w->trainer);
    af_net_destroy(w->net);
    af_params_destroy(w->params);
    af_context_destroy(c);
    return x;
}

/* The root mean square of the differences counts: Adam makes a whole step of a gradient that is
 * nothing but rounding. */
static void compare_updates(af_optimiser method, af_precision precision, double within) {
    static wide a, b;
    size_t n, i, m;
    double *cuda = wide_train(af_backend_cuda(), method, precision, &a, &n), away = 0.0;
    double *cpu = wide_train(NULL, method, precision, &b, &m);
    CHECK(n == m && n > 65536);
    for (i = 0; i < n; i++) away += (cuda[i] - cpu[i]) * (cuda[i] - cpu[i]) / (double)n;
    SAY("%lu parameters apart by %.1e\n", (unsigned long)n, sqrt(away));
    CHECK(sqrt(away) <= within);
    CHECK(a.steps == 6 && b.steps == 6);
    for (i = 0; i < 6; i++) {
        SAY("%.15g %.15g\n", a.loss[i], b.loss[i]);
        CHECK(fabs(a.loss[i] - b.loss[i]) <= within * b.loss[0]);
    }
    CHECK(a.loss[5] < a.loss[0]);
    free(cuda);
    free(cpu);
}

TEST(steps_of_adam_on_the_device) {
    compare_updates(AF_ADAM, AF_F64, 1e-11);
    compare_updates(AF_RADAM, AF_F64, 1e-11);
    compare_updates(AF_RADAM, AF_F32, 1e-5);
#ifdef CUDA_HOST
    cuda_host_device(CUDA_HOST_ALONE);
    CHECK(!af_backend_cuda()->memory);
    compare_updates(AF_ADAM, AF_F64, 1e-11);
    cuda_host_device(CUDA_HOST_READY);
    CHECK(af_backend_cuda()->memory != NULL);
#endif
}

#ifdef CUDA_HOST
/* A device that fails in the middle ends the fit with its own sentence. */
TEST(a_device_that_fails_in_training) {
    af_context *c = context_of(af_backend_cuda(), 1);
    af_orbits *o = mock_orbits(c, 3, STREAMS, STARS);
    af_finder *f = NULL;
    af_fit_desc fit;
    memset(&fit, 0, sizeof fit);
    fit.epochs = 20;
    CHECK(af_finder_create(c, o, NULL, &f) == AF_OK);
    cuda_host_fail_after(150);
    CHECK(f && af_finder_fit(f, o, &fit) == AF_ERROR_BACKEND);
    cuda_host_fail_after(0);
    CHECK_TEXT(af_error(c), "CUDA: ");
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
}
#endif

/* `kernels`: the programs alone, `nothing`: none, which still finds the device. */
int main(int count, char **words) {
    const char *which = count > 1 ? words[1] : "all";
    if (!af_backend_cuda()) {
        printf("%s\n0 passed, 1 failed\n", af_error_cuda());
        return 1;
    }
    if (strcmp(which, "nothing") == 0) return 0;
    RUN(large_sums);
    RUN(products_of_any_layout);
    RUN(products_in_parts);
    RUN(runs_of_many_elements);
    RUN(scatter_and_gather);
    RUN(random_numbers_to_the_bit);
    RUN(arrays_on_the_device);
    RUN(arrays_of_another_precision);
    if (strcmp(which, "kernels") == 0) return test_report();
    RUN(an_action_finder_is_trained);
    RUN(a_spline_flow_is_trained);
    RUN(continuous_flows_are_trained);
    RUN(a_score_is_trained);
    RUN(a_potential_is_trained);
    RUN(the_parts_of_a_potential_are_fitted);
    RUN(levenberg_marquardt_and_lbfgs);
    RUN(koopman_models_are_trained);
    RUN(steps_of_adam_on_the_device);
#ifdef CUDA_HOST
    RUN(devices_that_are_not_there);
    RUN(each_call_of_cuda_fails);
    RUN(arrays_on_the_device_outlive_failures);
    RUN(the_device_of_the_thread_is_left_alone);
    RUN(the_host_is_out_of_memory);
    RUN(a_device_that_fails_in_training);
    RUN(a_distribution_function_on_a_device_that_breaks);
    RUN(evaluators_on_a_device_that_breaks);
    CHECK(cuda_host_count().live == 0 && cuda_host_count().wrong == 0);
    test_failed += cuda_host_count().wrong != 0 || cuda_host_count().live != 0;
#endif
    return test_report();
}
