/* nvcc -O2 -arch=native -c af_cuda.cu && cc -O2 -fopenmp -I. -I/usr/local/cuda/include examples/nccl_train.c af_cuda.o -L/usr/local/cuda/lib64 -lcudart -lcublas -lnccl -lstdc++ -lm
 *
 * Data parallel training on all GPUs of a machine: a thread for each, with a context of its own,
 * and an allreduce by NCCL. With several machines each process gets its number and the id of the
 * group from MPI, see mpi_train.c and NCCL's manual; nothing else changes. */

#define AF_CUDA
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "wave.h"

enum { DEVICES = 16 };

typedef struct group {
    ncclComm_t comm;
    cudaStream_t stream;
    double *values; /* on the device */
    size_t room;
} group;

/* values[0..n) become their mean over all devices; they may be in the host's memory. */
static af_status mean_of_all(double *values, size_t n, void *user) {
    group *g = (group *)user;
    if (g->room < n) {
        cudaFree(g->values);
        if (cudaMalloc((void **)&g->values, n * sizeof *values) != cudaSuccess)
            return AF_ERROR_BACKEND;
        g->room = n;
    }
    if (cudaMemcpyAsync(g->values, values, n * sizeof *values, cudaMemcpyDefault, g->stream) !=
            cudaSuccess ||
        ncclAllReduce(g->values, g->values, n, ncclDouble, ncclAvg, g->comm, g->stream) !=
            ncclSuccess ||
        cudaMemcpyAsync(values, g->values, n * sizeof *values, cudaMemcpyDefault, g->stream) !=
            cudaSuccess ||
        cudaStreamSynchronize(g->stream) != cudaSuccess)
        return AF_ERROR_BACKEND;
    return AF_OK;
}

/* Device i of `count`: backends use the device that is the thread's. */
static int train_on(int i, int count, ncclComm_t comm, wave *w) {
    group g;
    int good;
    memset(&g, 0, sizeof g);
    memset(w, 0, sizeof *w);
    g.comm = comm;
    w->machine = (size_t)i;
    w->machines = (size_t)count;
    w->allreduce = mean_of_all;
    w->user = &g;
    if (cudaSetDevice(i) != cudaSuccess || cudaStreamCreate(&g.stream) != cudaSuccess) return 0;
    w->backend = af_backend_cuda();
    good = w->backend && wave_train(w);
    cudaFree(g.values);
    cudaStreamDestroy(g.stream);
    return good;
}

int main(void) {
    static wave w[DEVICES];
    ncclComm_t comm[DEVICES];
    int count = 0, good = 0, i;
    if (!af_backend_cuda()) {
        fprintf(stderr, "%s\n", af_error_cuda());
        return 1;
    }
    cudaGetDeviceCount(&count);
    if (count > DEVICES) count = DEVICES;
    while (ROWS % count != 0) count--;
    if (ncclCommInitAll(comm, count, NULL) != ncclSuccess) {
        fprintf(stderr, "NCCL does not begin on %d devices\n", count);
        return 1;
    }
#pragma omp parallel for num_threads(count) schedule(static, 1) reduction(+ : good)
    for (i = 0; i < count; i++) good += train_on(i, count, comm[i], &w[i]);
    for (i = 0; i < count; i++) ncclCommDestroy(comm[i]);
    for (i = 1; i < count; i++)
        if (w[i].square != w[0].square) good = 0; /* they have parted */
    printf("mean square of the parameters %.12f\n", w[0].square);
    printf("loss on %d devices %.1e\n", count, w[0].loss);
    return good == count && w[0].loss < 1e-3 ? 0 : 1;
}
