/* What the benchmark needs on a device: its ceiling, which is cuBLAS's own rate, and contexts. */
#include "bench.h"

#include <math.h>
#include <string.h>

static int device_wanted;

void bench_use_device(void) { device_wanted = 1; }

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

/* A product of the wide layers: (M,N) x (N,N). */
enum { M = 16384, N = 512 };

typedef struct device_product {
    cublasHandle_t blas;
    void *a, *b, *c;
    int f32;
} device_product;

static void device_multiply(void *data) {
    const device_product *p = (const device_product *)data;
    const double one = 1.0, none = 0.0;
    const float one_f = 1.0f, none_f = 0.0f;
    if (p->f32)
        cublasSgemm(p->blas, CUBLAS_OP_N, CUBLAS_OP_N, N, M, N, &one_f, (const float *)p->b, N,
                    (const float *)p->a, N, &none_f, (float *)p->c, N);
    else
        cublasDgemm(p->blas, CUBLAS_OP_N, CUBLAS_OP_N, N, M, N, &one, (const double *)p->b, N,
                    (const double *)p->a, N, &none, (double *)p->c, N);
    if (cudaDeviceSynchronize() != cudaSuccess) bench_die("cuBLAS failed");
}

/* value: FLOP/s in f64 and f32. text: the device. */
static void device_work(const void *arg, bench_result *result) {
    const bench *b = (const bench *)arg;
    struct cudaDeviceProp facts;
    device_product p;
    size_t real = sizeof(double);
    if (!af_backend_cuda()) bench_die(af_error_cuda());
    if (cudaGetDeviceProperties(&facts, 0) != cudaSuccess ||
        cublasCreate(&p.blas) != CUBLAS_STATUS_SUCCESS ||
        cudaMalloc(&p.a, M * N * real) != cudaSuccess ||
        cudaMalloc(&p.b, N * N * real) != cudaSuccess ||
        cudaMalloc(&p.c, M * N * real) != cudaSuccess)
        bench_die("the device has no memory for a matrix product");
    cudaMemset(p.a, 0, M * N * real);
    cudaMemset(p.b, 0, N * N * real);
    for (p.f32 = 0; p.f32 < 2; p.f32++)
        result->value[p.f32] =
            2.0 * M * N * N / bench_time(device_multiply, &p, bench_seconds(b));
    snprintf(result->text, sizeof result->text, "%.120s", facts.name);
}

int bench_device_peak(bench *b) {
    bench_result r;
    int f32, all;
    if (!bench_child(device_work, b, &r)) return 0;
    printf("device: %s; cuBLAS %.4g and %.4g TFLOP/s in f64 and f32 (%d x %d x %d)\n", r.text,
           1e-12 * r.value[0], 1e-12 * r.value[1], M, N, N);
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
