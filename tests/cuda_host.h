/* CUDA and cuBLAS as far as af_cuda.cu uses them, on the host: blocks and threads are loops,
 * streams are queues that run when they are waited for, graphs are lists of what was queued. It is
 * strict where the device would be: arguments are checked, memory begins as NaN, copies must lie in
 * memory of their kind. The functions cuda_host_... are for the tests: cuda_host_test.h. */
#ifndef CUDA_HOST_H
#define CUDA_HOST_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "cuda_host_test.h"

#define __host__
#define __device__

typedef enum cudaError_t {
    cudaSuccess,
    cudaErrorInvalidValue,
    cudaErrorMemoryAllocation,
    cudaErrorInvalidConfiguration,
    cudaErrorInsufficientDriver,
    cudaErrorNoDevice,
    cudaErrorNoKernelImageForDevice,
    cudaErrorIllegalAddress,
    cudaErrorStreamCaptureUnsupported
} cudaError_t;

typedef enum cudaMemoryType {
    cudaMemoryTypeUnregistered,
    cudaMemoryTypeHost,
    cudaMemoryTypeDevice,
    cudaMemoryTypeManaged
} cudaMemoryType;

typedef struct cudaPointerAttributes {
    cudaMemoryType type;
    void *devicePointer;
} cudaPointerAttributes;

typedef enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost } cudaMemcpyKind;

typedef enum cudaDeviceAttr { cudaDevAttrConcurrentManagedAccess = 89 } cudaDeviceAttr;

enum { cudaStreamNonBlocking = 1, cudaStreamCaptureModeThreadLocal = 1, cudaMemAttachGlobal = 1 };

typedef std::vector<std::function<void()> > cuda_host_queue;

typedef struct cuda_host_stream {
    cuda_host_queue queue, graph;
    int capturing, device;
} *cudaStream_t;

typedef cuda_host_queue *cudaGraph_t, *cudaGraphExec_t;

/* ---- failures ---- */

typedef struct cuda_host_state {
    std::mutex lock;
    std::map<const char *, std::pair<size_t, cudaMemoryType> > memory;
    long until_failure; /* calls; 0: none fails */
    long calls, launches, replays, copied, streams, handles, graphs, wrong;
    cudaError_t device; /* of looking for one */
    bool alone;
    std::atomic<unsigned> turn;
} cuda_host_state;

static cuda_host_state cuda_host;
static thread_local cudaError_t cuda_host_last;
static thread_local int cuda_host_current; /* the thread's device, of two */

/* Counts a call that may fail; true when this one shall. */
static bool cuda_host_fails(void) {
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.calls++;
    if (cuda_host.device == cudaErrorIllegalAddress) return true;
    return cuda_host.until_failure > 0 && --cuda_host.until_failure == 0;
}

/* On a device that broke all errors are the same one. */
static cudaError_t cuda_host_error(cudaError_t error) {
    if (cuda_host.device == cudaErrorIllegalAddress) error = cudaErrorIllegalAddress;
    cuda_host_last = error;
    return error;
}

/* What should never be done, whatever the state of the device. */
static cudaError_t cuda_host_wrong(const char *what) {
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.wrong++;
    fprintf(stderr, "cuda_host: %s\n", what);
    return cuda_host_error(cudaErrorInvalidValue);
}

static const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorNoKernelImageForDevice:
        return "no kernel image is available for execution on the device";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    }
    return "unknown error";
}

static cudaError_t cudaGetLastError(void) {
    cudaError_t error = cuda_host_last;
    cuda_host_last = cudaSuccess;
    return error;
}

/* ---- devices, memory ---- */

static cudaError_t cudaGetDeviceCount(int *count) {
    *count = cuda_host.device != cudaErrorNoDevice &&
             cuda_host.device != cudaErrorInsufficientDriver;
    return *count ? cudaSuccess : cuda_host.device;
}

static cudaError_t cuda_host_find_kernels(void) {
    return cuda_host.device == cudaErrorNoKernelImageForDevice ? cuda_host.device : cudaSuccess;
}

static cudaError_t cudaGetDevice(int *device) {
    if (cuda_host_fails()) return cuda_host_error(cudaErrorInvalidValue);
    *device = cuda_host_current;
    return cudaSuccess;
}

static cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int) {
    *value = !cuda_host.alone;
    return cudaSuccess;
}

static cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device > 1) return cuda_host_wrong("there are two devices");
    cuda_host_current = device;
    return cudaSuccess;
}

static cudaError_t cuda_host_allocate(void **at, size_t bytes, cudaMemoryType type) {
    char *memory = cuda_host_fails() ? NULL : (char *)malloc(bytes);
    *at = memory;
    if (!memory) return cuda_host_error(cudaErrorMemoryAllocation);
    memset(memory, 0xff, bytes); /* NaN */
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.memory[memory] = std::make_pair(bytes, type);
    return cudaSuccess;
}

static cudaError_t cuda_host_release(void *at, cudaMemoryType type) {
    {
        std::lock_guard<std::mutex> hold(cuda_host.lock);
        std::map<const char *, std::pair<size_t, cudaMemoryType> >::iterator i =
            cuda_host.memory.find((const char *)at);
        if (i != cuda_host.memory.end() && (i->second.second == type ||
                                            (i->second.second == cudaMemoryTypeManaged &&
                                             type == cudaMemoryTypeDevice))) { /* cudaFree's */
            cuda_host.memory.erase(i);
            free(at);
            return cudaSuccess;
        }
    }
    return cuda_host_wrong("memory is freed that is none of this kind");
}

static cudaError_t cudaMalloc(void **at, size_t bytes) {
    return cuda_host_allocate(at, bytes, cudaMemoryTypeDevice);
}
static cudaError_t cudaMallocHost(void **at, size_t bytes) {
    return cuda_host_allocate(at, bytes, cudaMemoryTypeHost);
}
static cudaError_t cudaMallocManaged(void **at, size_t bytes, unsigned) {
    return cuda_host_allocate(at, bytes, cudaMemoryTypeManaged);
}
static cudaError_t cudaFree(void *at) { return cuda_host_release(at, cudaMemoryTypeDevice); }
static cudaError_t cudaFreeHost(void *at) { return cuda_host_release(at, cudaMemoryTypeHost); }

/* The kind of memory that [at, at + bytes) lies in; -1 where it begins in one and ends outside. */
static int cuda_host_kind(const void *at, size_t bytes) {
    const char *p = (const char *)at;
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    std::map<const char *, std::pair<size_t, cudaMemoryType> >::iterator i =
        cuda_host.memory.upper_bound(p);
    if (i == cuda_host.memory.begin()) return cudaMemoryTypeUnregistered;
    --i;
    if (p >= i->first + i->second.first) return cudaMemoryTypeUnregistered;
    return p + bytes <= i->first + i->second.first ? i->second.second : -1;
}

static bool cuda_host_on_device(const void *at, size_t bytes) {
    int kind = cuda_host_kind(at, bytes);
    return kind == cudaMemoryTypeDevice || kind == cudaMemoryTypeManaged;
}

static cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *a, const void *at) {
    int kind = cuda_host_kind(at, 1);
    a->type = (cudaMemoryType)kind;
    a->devicePointer = const_cast<void *>(at);
    return cudaSuccess;
}

/* ---- streams and graphs ---- */

static cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    *stream = cuda_host_fails() ? NULL : new cuda_host_stream();
    if (!*stream) return cuda_host_error(cudaErrorMemoryAllocation);
    (*stream)->device = cuda_host_current;
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.streams++;
    return cudaSuccess;
}

static cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete stream;
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.streams--;
    return cudaSuccess;
}

static cudaError_t cuda_host_push(cudaStream_t stream, const std::function<void()> &what) {
    if (stream->device != cuda_host_current)
        return cuda_host_wrong("a stream is used while another device is the thread's");
    if (cuda_host_fails()) return cuda_host_error(cudaErrorInvalidValue);
    (stream->capturing ? stream->graph : stream->queue).push_back(what);
    return cudaSuccess;
}

static cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    size_t i;
    if (stream->capturing) return cuda_host_error(cudaErrorStreamCaptureUnsupported);
    if (cuda_host_fails()) return cuda_host_error(cudaErrorInvalidValue);
    for (i = 0; i < stream->queue.size(); i++) stream->queue[i]();
    stream->queue.clear();
    return cudaSuccess;
}

static cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int) {
    if (cuda_host_fails()) return cuda_host_error(cudaErrorInvalidValue);
    stream->graph.clear();
    stream->capturing = 1;
    return cudaSuccess;
}

static cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    stream->capturing = 0;
    if (cuda_host_fails()) return cuda_host_error(cudaErrorStreamCaptureUnsupported);
    *graph = new cuda_host_queue(stream->graph);
    return cudaSuccess;
}

static cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}

static cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned) {
    if (cuda_host_fails()) return cuda_host_error(cudaErrorMemoryAllocation);
    *exec = new cuda_host_queue(*graph);
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.graphs++;
    return cudaSuccess;
}

static cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.graphs--;
    return cudaSuccess;
}

static cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    cuda_host_queue::const_iterator i;
    if (cuda_host_fails()) return cuda_host_error(cudaErrorInvalidValue);
    for (i = exec->begin(); i != exec->end(); ++i) stream->queue.push_back(*i);
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.replays++;
    return cudaSuccess;
}

/* ---- copies ---- */

static cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream) {
    bool up = kind == cudaMemcpyHostToDevice;
    if (!cuda_host_on_device(up ? to : from, bytes) || cuda_host_on_device(up ? from : to, bytes))
        return cuda_host_wrong("a copy between memory of other kinds than it says");
    return cuda_host_push(stream, [=]() {
        memcpy(to, from, bytes);
        std::lock_guard<std::mutex> hold(cuda_host.lock);
        cuda_host.copied += (long)bytes;
    });
}

static cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t stream) {
    if (!cuda_host_on_device(at, bytes)) return cuda_host_wrong("zeros outside the device");
    return cuda_host_push(stream, [=]() { memset(at, value, bytes); });
}

/* ---- kernels ---- */

/* The memory of a block, NaN at first. */
static char *cuda_host_shared(size_t bytes) {
    char *memory = (char *)malloc(bytes);
    memset(memory, 0xff, bytes);
    return memory;
}

#ifdef CUDA_HOST_THREADS
/* By so many real threads, to which those of all blocks are dealt; they wait for each other between
 * phases alone. Slow, and meant for ThreadSanitizer: it sees when two of them meet. */
template <class kernel>
static void cuda_host_blocks(const kernel &k, size_t blocks, int threads, int phases,
                             size_t shared) {
    std::vector<char *> memory(blocks);
    for (size_t block = 0; block < blocks; block++) memory[block] = cuda_host_shared(shared);
    for (int phase = 0; phase < phases; phase++) {
        std::vector<std::thread> real;
        for (size_t first = 0; first < CUDA_HOST_THREADS; first++)
            real.push_back(std::thread([&, first]() {
                for (size_t i = first; i < blocks * (size_t)threads; i += CUDA_HOST_THREADS)
                    k.thread(phase, i / (size_t)threads, (int)(i % (size_t)threads), threads,
                             memory[i / (size_t)threads]);
            }));
        for (size_t i = 0; i < real.size(); i++) real[i].join();
    }
    for (size_t block = 0; block < blocks; block++) free(memory[block]);
}
#else
/* The order must not matter: it is another one every time. */
template <class kernel>
static void cuda_host_blocks(const kernel &k, size_t blocks, int threads, int phases,
                             size_t shared) {
    bool back = cuda_host.turn.fetch_add(1) % 2;
    for (size_t i = 0; i < blocks; i++) {
        char *memory = cuda_host_shared(shared);
        for (int phase = 0; phase < phases; phase++)
            for (int t = 0; t < threads; t++)
                k.thread(phase, back ? blocks - 1 - i : i, phase % 2 ? t : threads - 1 - t,
                         threads, memory);
        free(memory);
    }
}
#endif

/* The limits of any device: threads of a block, and its memory without asking for more. */
template <class kernel>
static cudaError_t cuda_host_launch(cudaStream_t stream, size_t blocks, int threads, int phases,
                                    size_t shared, const kernel &given) {
    kernel k = given;
    if (blocks == 0 || blocks > INT_MAX || threads < 1 || threads > 1024 || shared > 48 << 10)
        return cuda_host_error(cudaErrorInvalidConfiguration);
    {
        std::lock_guard<std::mutex> hold(cuda_host.lock);
        cuda_host.launches++;
    }
    return cuda_host_push(stream,
                          [=]() { cuda_host_blocks(k, blocks, threads, phases, shared); });
}

/* ---- cuBLAS ---- */

typedef enum cublasStatus_t {
    CUBLAS_STATUS_SUCCESS,
    CUBLAS_STATUS_ALLOC_FAILED,
    CUBLAS_STATUS_INVALID_VALUE
} cublasStatus_t;

typedef enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T } cublasOperation_t;

typedef struct cuda_host_blas {
    cudaStream_t stream;
} *cublasHandle_t;

static const char *cublasGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_ALLOC_FAILED ? "the resource allocation failed"
                                                : "an unsupported value was passed";
}

static cublasStatus_t cublasCreate(cublasHandle_t *blas) {
    *blas = cuda_host_fails() ? NULL : new cuda_host_blas();
    if (!*blas) return CUBLAS_STATUS_ALLOC_FAILED;
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.handles++;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t cublasDestroy(cublasHandle_t blas) {
    delete blas;
    std::lock_guard<std::mutex> hold(cuda_host.lock);
    cuda_host.handles--;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t cublasSetStream(cublasHandle_t blas, cudaStream_t stream) {
    blas->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t cublasSetWorkspace(cublasHandle_t, void *at, size_t bytes) {
    if ((uintptr_t)at % 16 == 0 && cuda_host_on_device(at, bytes)) return CUBLAS_STATUS_SUCCESS;
    cuda_host_wrong("a workspace of cuBLAS that is not the device's");
    return CUBLAS_STATUS_INVALID_VALUE;
}

/* C = op(A) op(B), all by columns; op(A) is (m,k), op(B) is (k,n). */
template <typename real>
static cublasStatus_t cuda_host_multiply(cublasHandle_t blas, cublasOperation_t oa,
                                         cublasOperation_t ob, int m, int n, int k, const real *a,
                                         int lda, long long step_a, const real *b, int ldb,
                                         long long step_b, real keep, real *c, int ldc,
                                         long long step_c, int count) {
    if (m < 0 || n < 0 || k < 0 || count < 0 || lda < (oa == CUBLAS_OP_N ? m : k) || lda < 1 ||
        ldb < (ob == CUBLAS_OP_N ? k : n) || ldb < 1 || ldc < m || ldc < 1) {
        cuda_host_wrong("a matrix product with a leading dimension that is too short");
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    cudaError_t pushed = cuda_host_push(blas->stream, [=]() {
        for (long long q = 0; q < count; q++)
            for (long long j = 0; j < n; j++)
                for (long long i = 0; i < m; i++) {
                    real sum = 0, *to = &c[q * step_c + j * ldc + i];
                    for (long long l = 0; l < k; l++)
                        sum += a[q * step_a + (oa == CUBLAS_OP_N ? l * lda + i : i * lda + l)] *
                               b[q * step_b + (ob == CUBLAS_OP_N ? j * ldb + l : l * ldb + j)];
                    *to = keep == 0 ? sum : keep * *to + sum; /* NaN * 0 is not kept either */
                }
    });
    return pushed == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

static cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t blas, cublasOperation_t oa,
                                                cublasOperation_t ob, int m, int n, int k,
                                                const double *, const double *a, int lda,
                                                long long step_a, const double *b, int ldb,
                                                long long step_b, const double *keep, double *c,
                                                int ldc, long long step_c, int count) {
    return cuda_host_multiply(blas, oa, ob, m, n, k, a, lda, step_a, b, ldb, step_b, *keep, c,
                              ldc, step_c, count);
}

static cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t blas, cublasOperation_t oa,
                                                cublasOperation_t ob, int m, int n, int k,
                                                const float *, const float *a, int lda,
                                                long long step_a, const float *b, int ldb,
                                                long long step_b, const float *keep, float *c,
                                                int ldc, long long step_c, int count) {
    return cuda_host_multiply(blas, oa, ob, m, n, k, a, lda, step_a, b, ldb, step_b, *keep, c,
                              ldc, step_c, count);
}

/* ---- for the tests ---- */

extern "C" void cuda_host_fail_after(long calls) { cuda_host.until_failure = calls; }

extern "C" void cuda_host_device(cuda_host_device_state state) {
    static const cudaError_t error[] = {cudaSuccess, cudaErrorNoDevice, cudaErrorInsufficientDriver,
                                        cudaErrorNoKernelImageForDevice,
                                        cudaErrorIllegalAddress, cudaSuccess};
    cuda_host.device = error[state];
    cuda_host.alone = state == CUDA_HOST_ALONE;
}

extern "C" int cuda_host_use(int device) {
    int before = cuda_host_current;
    cudaSetDevice(device);
    return before;
}

extern "C" cuda_host_counts cuda_host_count(void) {
    cuda_host_counts n;
    n.calls = cuda_host.calls;
    n.launches = cuda_host.launches;
    n.replays = cuda_host.replays;
    n.copied = cuda_host.copied;
    n.live = (long)cuda_host.memory.size() + cuda_host.streams + cuda_host.handles +
             cuda_host.graphs;
    n.wrong = cuda_host.wrong;
    return n;
}

extern "C" void *cuda_host_managed(size_t bytes) {
    void *at = NULL;
    return cudaMallocManaged(&at, bytes, cudaMemAttachGlobal) == cudaSuccess ? at : NULL;
}

extern "C" void cuda_host_managed_free(void *at) { cudaFree(at); }

extern "C" int cuda_host_is_shared(const void *at) {
    return cuda_host_kind(at, 1) == cudaMemoryTypeManaged;
}

#endif
