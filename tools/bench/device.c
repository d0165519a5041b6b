/* What the benchmark needs on a device: its ceiling, which is cuBLAS's own rate, and contexts. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int device_wanted;

void bench_use_device(int wanted) { device_wanted = wanted; }

int bench_on_device(void) { return device_wanted; }

af_context *bench_context(void) {
    af_context_desc d;
    af_context *c = NULL;
    memset(&d, 0, sizeof d);
#ifdef AF_CUDA
    if (device_wanted) {
        d.backend = af_backend_cuda();
        if (!d.backend) bench_die(af_error_cuda());
    }
#endif
    if (af_context_create(&d, &c) != AF_OK) bench_die("no context");
    return c;
}

#ifdef AF_CUDA
#  include <cublas_v2.h>
#  include <cuda_runtime_api.h>

/* A product of the wide layers: (M,N) x (N,N). COPIED: bytes, many times the caches. TIMES: in a
 * row, so that to begin and to wait do not count. */
enum { M = 16384, N = 512, COPIED = 1 << 29, TIMES = 16 };

typedef struct device_product {
    cublasHandle_t blas;
    void *a, *b, *c;
    int f32;
} device_product;

/* `count` normal numbers on the device, as the rows have them: of zeros a product is faster, since
 * the device then draws less power. */
static void *device_numbers(size_t count, int f32) {
    size_t bytes = count * (f32 ? sizeof(float) : sizeof(double)), i;
    double *x = bench_numbers(count);
    void *at = NULL;
    for (i = 0; i < count; i++) {
        double v = af_random_normal(7, 0, i);
        if (f32) ((float *)(void *)x)[i] = (float)v;
        else x[i] = v;
    }
    if (cudaMalloc(&at, bytes) != cudaSuccess ||
        cudaMemcpy(at, x, bytes, cudaMemcpyHostToDevice) != cudaSuccess)
        bench_die("the device has no memory for a matrix product");
    free(x);
    return at;
}

static void device_multiply(void *data) {
    const device_product *p = (const device_product *)data;
    const double one = 1.0, none = 0.0;
    const float one_f = 1.0f, none_f = 0.0f;
    int i;
    for (i = 0; i < TIMES && p->f32; i++)
        cublasSgemm(p->blas, CUBLAS_OP_N, CUBLAS_OP_N, N, M, N, &one_f, (const float *)p->b, N,
                    (const float *)p->a, N, &none_f, (float *)p->c, N);
    for (i = 0; i < TIMES && !p->f32; i++)
        cublasDgemm(p->blas, CUBLAS_OP_N, CUBLAS_OP_N, N, M, N, &one, (const double *)p->b, N,
                    (const double *)p->a, N, &none, (double *)p->c, N);
    if (cudaDeviceSynchronize() != cudaSuccess) bench_die("cuBLAS failed");
}

static void device_copy(void *data) {
    const device_product *p = (const device_product *)data;
    int i;
    for (i = 0; i < TIMES; i++) cudaMemcpyAsync(p->b, p->a, COPIED, cudaMemcpyDeviceToDevice, 0);
    if (cudaDeviceSynchronize() != cudaSuccess) bench_die("a copy failed");
}

/* Bytes a second, those read and those written. */
static double device_bandwidth(const bench *b) {
    device_product p;
    double seconds;
    memset(&p, 0, sizeof p);
    if (cudaMalloc(&p.a, COPIED) != cudaSuccess || cudaMalloc(&p.b, COPIED) != cudaSuccess ||
        cudaMemset(p.a, 1, COPIED) != cudaSuccess)
        bench_die("the device has no memory for a copy");
    seconds = bench_time(device_copy, &p, bench_seconds(b));
    cudaFree(p.a);
    cudaFree(p.b);
    return 2.0 * COPIED * TIMES / seconds;
}

/* value: FLOP/s in f64 and f32, bytes/s. text: the device. */
static void device_work(const void *arg, bench_result *result) {
    const bench *b = (const bench *)arg;
    struct cudaDeviceProp facts;
    device_product p;
    int driver = 0, runtime = 0;
    if (!af_backend_cuda()) bench_die(af_error_cuda());
    if (cudaGetDeviceProperties(&facts, 0) != cudaSuccess ||
        cublasCreate(&p.blas) != CUBLAS_STATUS_SUCCESS)
        bench_die("the device does not work");
    for (p.f32 = 0; p.f32 < 2; p.f32++) {
        p.a = device_numbers((size_t)M * N, p.f32);
        p.b = device_numbers((size_t)N * N, p.f32);
        p.c = device_numbers((size_t)M * N, p.f32);
        result->value[p.f32] =
            2.0 * M * N * N * TIMES / bench_time(device_multiply, &p, bench_seconds(b));
        cudaFree(p.a);
        cudaFree(p.b);
        cudaFree(p.c);
    }
    result->value[2] = device_bandwidth(b);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    snprintf(result->text, sizeof result->text, "%.90s, driver for CUDA %d.%d, runtime %d.%d",
             facts.name, driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
}

int bench_device_peak(bench *b) {
    bench_result r;
    int f32, all;
    if (!bench_child(device_work, b, &r)) return 0;
    printf("device: %s\n", r.text);
    printf("cuBLAS %.4g and %.4g TFLOP/s in f64 and f32 (%d x %d x %d), copies %.4g TB/s\n",
           1e-12 * r.value[0], 1e-12 * r.value[1], M, N, N, 1e-12 * r.value[2]);
    printf("ours copies the batch to the device at each step and waits for the loss; PyTorch has its\n"
           "batch there, and waits once for many steps\n");
    for (f32 = 0; f32 < 2; f32++)
        for (all = 0; all < 2; all++) b->peak[f32][all] = r.value[f32];
    return 1;
}
#else
int bench_device_peak(bench *b) {
    (void)b;
    printf("this program was built without CUDA: make bench-cuda\n");
    return 0;
}
#endif
