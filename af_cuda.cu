/* af_cuda.cu - the programs of actionfinder.h on a GPU
 *
 * The third file of the library: a backend (af_backend_cuda) that runs compiled functions with the
 * CUDA runtime and cuBLAS. Compile it by itself and link it, or include it after the header in a
 * file that nvcc compiles:
 *
 *     nvcc -O2 -arch=native -c af_cuda.cu
 *     cc -O2 -fopenmp -DAF_CUDA program.c af_cuda.o -lcudart -lcublas -lstdc++ -lm
 *
 * A run is issued instruction by instruction the first time; the second time it is recorded as a
 * CUDA graph, which is launched from then on, with one copy of all inputs before it and one of all
 * outputs after it. Arrays in device or managed memory are used where they are.
 *
 * No kernel adds with atomic operations: sums are made in an order that depends on the shapes
 * alone, so that a run gives the same bits each time on one kind of device.
 *
 * Products go to cuBLAS, in parts where few elements are sums over all stars. An epilogue of
 * cublasLt adds a bias and applies ReLU or GELU, in f32 and shorter; the networks here are mostly
 * tanh, and f64 has no epilogues. Where a product is trained through, the fused run after it
 * writes the activation's derivative, too, and has to read the product in any case: an epilogue
 * would spare it the addition of the bias, not the pass.
 *
 * The parameters of a training are f64 in any precision. Where it is f32, they and the gradient are
 * converted on the device, by the first and the last kernels of a run (af_buffer, wide).
 *
 * A kernel is a struct with thread(): what one thread does in one phase. Between phases all threads
 * of a block wait for each other. That is all a kernel may assume, so that the tests run the same
 * source without a GPU: AF_CUDA_HOST, when defined, names a file that stands in for CUDA.
 *
 * Licence: MIT, see the file LICENSE. */
#ifndef AF_CUDA
#  define AF_CUDA
#endif
#include "actionfinder.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#ifdef AF_CUDA_HOST
#  include AF_CUDA_HOST
#else
#  include <cublas_v2.h>
#  include <cuda_pipeline.h>
#  include <cuda_runtime.h>
#endif

#define AF__DEVICE static __host__ __device__ inline

enum {
    AF__CUDA_THREADS = 256,         /* of a block, at most */
    AF__CUDA_WARP = 32,
    AF__CUDA_SHARED = 48 << 10,     /* bytes a block may have everywhere without asking */
    AF__CUDA_EACH = 4,              /* elements a thread of a fused run has: a micro operation is
                                       fetched once for them. To be measured, as all that follow */
    AF__CUDA_ONE_EACH = 1 << 17,    /* a run of no more has one: all run side by side */
    AF__CUDA_ALIGNMENT = 256,       /* as cudaMalloc's */
    AF__CUDA_SUM_THREADS = 1 << 18, /* threads a sum would like to have, and ... */
    AF__CUDA_SUM_EACH = 16,         /* ... what each should add at least */
    AF__CUDA_SORT_THREADS = 512,    /* of a block that sorts; it has two keys for each */
    AF__CUDA_PRODUCT_SIDE = 128,    /* a block of cuBLAS makes so many rows and columns, and ... */
    AF__CUDA_PRODUCT_BLOCKS = 256,  /* ... a device would like so many: else a product is cut ... */
    AF__CUDA_PRODUCT_DEPTH = 256,   /* ... in parts with no less to add ... */
    AF__CUDA_PRODUCT_PARTS = 64,    /* ... and no more of them */
    AF__CUDA_BLAS_SMALL = 4 << 20,  /* bytes of workspace of cuBLAS */
    AF__CUDA_BLAS_LARGE = 32 << 20, /* what its manual wants on Hopper */
    AF__CUDA_SENTENCE = 400
};

/* ---- launching ------------------------------------------------------------------------------- */

typedef struct af__cuda_grid {
    size_t blocks;
    int threads, phases;
    size_t shared; /* bytes of memory that a block shares */
} af__cuda_grid;

#ifdef AF_CUDA_HOST
template <class kernel>
static cudaError_t af__cuda_launch(cudaStream_t stream, af__cuda_grid g, const kernel &k) {
    return cuda_host_launch(stream, g.blocks, g.threads, g.phases, g.shared, k);
}

static cudaError_t af__cuda_find_kernels(void) { return cuda_host_find_kernels(); }
#else
template <class kernel>
static __global__ void af__cuda_threads(const kernel k, int phases) {
    extern __shared__ double af__cuda_shared[];
    for (int phase = 0; phase < phases; phase++) {
        if (phase > 0) __syncthreads();
        k.thread(phase, (size_t)blockIdx.x, (int)threadIdx.x, (int)blockDim.x, af__cuda_shared);
    }
}

template <class kernel>
static cudaError_t af__cuda_launch(cudaStream_t stream, af__cuda_grid g, const kernel &k) {
    void *arguments[2] = {const_cast<kernel *>(&k), &g.phases};
    if (g.blocks > (size_t)INT_MAX) return cudaErrorInvalidConfiguration;
    /* Unlike <<<>>> it returns its own error, not one of an earlier call. */
    return cudaLaunchKernel((const void *)af__cuda_threads<kernel>, dim3((unsigned)g.blocks),
                            dim3((unsigned)g.threads), arguments, g.shared, stream);
}

static cudaError_t af__cuda_find_kernels(void);
#endif

AF__DEVICE size_t af__cuda_ratio(size_t a, size_t b) { return (a + b - 1) / b; }

/* So many threads, in blocks, each with its own element. */
static af__cuda_grid af__cuda_flat(size_t threads) {
    af__cuda_grid g;
    g.blocks = af__cuda_ratio(threads, AF__CUDA_THREADS);
    g.threads = AF__CUDA_THREADS;
    g.phases = 1;
    g.shared = 0;
    return g;
}

/* ---- elementwise operations ------------------------------------------------------------------ */

/* As af_random_uniform (af_rng.c), to the bit: Philox 4x32-10 with key = seed and counter = (index,
 * stream), 53 bits of the first two words. */
AF__DEVICE double af__cuda_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    double u;
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    u = ((double)((((uint64_t)c0 << 32) | c1) >> 11) + 0.5) * (1.0 / 9007199254740992.0);
    return u < 1.0 ? u : 1.0 - 1.0 / 9007199254740992.0;
}

template <typename real>
AF__DEVICE real af__cuda_random(real seed, uint64_t stream, size_t index) {
    const real limit = (real)9223372036854775808.0; /* 2^63 */
    uint64_t key = seed > -limit && seed < limit ? (uint64_t)(int64_t)seed : 0;
    real u = (real)af__cuda_uniform(key, stream, index);
    return u < (real)1 ? u : (real)0.5; /* a float may round up to 1 */
}

/* 1/cosh(x)^2 = 4 e/(1 + e)^2 with e = exp(-2|x|), which is small, but no difference */
template <typename real> AF__DEVICE real af__cuda_sech2(real x) {
    real e = exp((real)-2 * fabs(x)), s = (real)2 / ((real)1 + e);
    return e * s * s;
}

template <typename real> AF__DEVICE real af__cuda_sigmoid(real x) {
    real e = exp(-fabs(x));
    return (x < (real)0 ? e : (real)1) / ((real)1 + e);
}

template <typename real> AF__DEVICE real af__cuda_softplus(real x) {
    real y = log1p(exp(-fabs(x)));
    return x > (real)0 ? x + y : y; /* NaN stays */
}

template <typename real> AF__DEVICE real af__cuda_sign(real x) {
    if (x > (real)0) return (real)1;
    return x < (real)0 ? (real)-1 : x == x ? (real)0 : x;
}

/* ---- fused runs ------------------------------------------------------------------------------ */

/* Begins to copy an element of an array into the memory of a block; af__cuda_arrive waits for all
 * that the thread has begun, which are under way together. */
template <typename real> AF__DEVICE void af__cuda_fetch(real *to, const real *from) {
#if defined(__CUDA_ARCH__)
    __pipeline_memcpy_async(to, from, sizeof(real)); /* before sm_80 it copies at once */
#else
    *to = *from;
#endif
}

AF__DEVICE void af__cuda_arrive(void) {
#if defined(__CUDA_ARCH__)
    __pipeline_commit();
    __pipeline_wait_prior(0);
    asm volatile("" ::: "memory"); /* no load may be moved ahead of it */
#endif
}

/* Position of element `linear` of axes [first, last), in elements of the array. */
AF__DEVICE size_t af__cuda_position(const size_t *dim, const size_t *stride, size_t first,
                                    size_t last, size_t linear) {
    size_t at = 0, axis;
    if (first == last) return 0;
    for (axis = last; --axis > first; linear /= dim[axis]) at += linear % dim[axis] * stride[axis];
    return at + linear * stride[first];
}

/* An array that a fused run reads or writes. */
typedef struct af__cuda_array {
    void *at;
    size_t stride[AF_RANK_MAX];
    int flat; /* the elements lie in the order of the run, without gaps */
} af__cuda_array;

/* Each thread has `each` elements, and for each of them registers of its own in the memory of the
 * block, where no other thread looks: an interpreter of the micro operations. */
template <typename real, size_t each> struct af__cuda_tile {
    const af__cuda_array *array; /* loads, then stores */
    const af_micro *micro;
    const uint16_t *store;
    size_t total, dim[AF_RANK_MAX], rank, loads, stores, micros;
    int flat; /* all arrays are */

    /* Of all axes but the last one, and of that. */
    __host__ __device__ void split(size_t linear, size_t *row, size_t *column) const {
        const size_t n = dim[rank - 1];
        if (total <= UINT32_MAX) *row = (uint32_t)linear / (uint32_t)n; /* longer ones are dear */
        else *row = linear / n;
        *column = linear - *row * n;
    }

    /* More than two axes, which are rare, take divisions for each array. */
    __host__ __device__ size_t place(const af__cuda_array &a, size_t linear, size_t row,
                                     size_t column) const {
        if (a.flat) return linear;
        return af__cuda_position(dim, a.stride, 0, rank - 1, row) + column * a.stride[rank - 1];
    }

/* An operation on the thread's elements; its arguments are X, Y and Z. A store in between would
 * hold up the next load. */
#define AF__EACH(OP, value)                                        \
    case AF_OP_##OP: {                                             \
        real result[each];                                         \
        for (size_t e = 0; e < each; e++) result[e] = value;       \
        for (size_t e = 0; e < each; e++) out[e * span] = result[e]; \
        break;                                                     \
    }
#define X a[e * span]
#define Y b[e * span]
#define Z c[e * span]

    /* first: the thread's first element; the next is `span` further */
    __host__ __device__ void operate(const af_micro &m, real *reg, size_t span,
                                     size_t first) const {
        const size_t step = each * span;
        const real *a = reg + m.in[0] * step, *b = reg + m.in[1] * step, *c = reg + m.in[2] * step;
        real *out = reg + m.out * step;
        switch (m.op) { /* without a default: an operation that is missing does not compile */
            AF__EACH(CONSTANT, (real)m.value)
            AF__EACH(NEG, -X)
            AF__EACH(EXP, exp(X))
            AF__EACH(EXPM1, expm1(X))
            AF__EACH(LOG, log(X))
            AF__EACH(LOG1P, log1p(X))
            AF__EACH(SQRT, sqrt(X))
            AF__EACH(RECIPROCAL, (real)1 / X)
            AF__EACH(SIN, sin(X))
            AF__EACH(COS, cos(X))
            AF__EACH(TANH, tanh(X))
            AF__EACH(SECH2, af__cuda_sech2(X))
            AF__EACH(SIGMOID, af__cuda_sigmoid(X))
            AF__EACH(SOFTPLUS, af__cuda_softplus(X))
            AF__EACH(ATAN, atan(X))
            AF__EACH(ABS, fabs(X))
            AF__EACH(SIGN, af__cuda_sign(X))
            AF__EACH(FLOOR, floor(X))
            AF__EACH(ADD, X + Y)
            AF__EACH(SUB, X - Y)
            AF__EACH(MUL, X * Y)
            AF__EACH(ATAN2, atan2(X, Y))
            AF__EACH(LESS, X < Y ? (real)1 : (real)0)
            AF__EACH(WHERE, X == (real)0 ? Z : Y)
            AF__EACH(RANDOM, af__cuda_random(X, m.stream, first + e * span))
        case AF_OP_INPUT: case AF_OP_TENSOR: case AF_OP_STOP: case AF_OP_RESHAPE:
        case AF_OP_PERMUTE: case AF_OP_BROADCAST: case AF_OP_SLICE: case AF_OP_PAD:
        case AF_OP_CONCAT: case AF_OP_SUM: case AF_OP_GATHER: case AF_OP_SCATTER:
        case AF_OP_MATMUL: case AF_OP_COUNT: break; /* never in a fused run */
        }
    }
#undef X
#undef Y
#undef Z
#undef AF__EACH

    __host__ __device__ void thread(int, size_t block, int thread, int threads,
                                    void *shared) const {
        real *reg = (real *)shared + thread; /* (register, element, thread) */
        const size_t span = (size_t)threads, step = each * span;
        const size_t first = block * step + (size_t)thread;
        size_t linear[each], row[each], column[each];
        for (size_t e = 0; e < each; e++) {
            size_t i = first + e * span; /* beyond the end the last is done again */
            linear[e] = i < total ? i : total - 1;
            row[e] = column[e] = 0;
            if (!flat) split(linear[e], &row[e], &column[e]);
        }
        for (size_t i = 0; i < loads; i++) {
            const real *from[each];
            for (size_t e = 0; e < each; e++)
                from[e] = (const real *)array[i].at + place(array[i], linear[e], row[e], column[e]);
            for (size_t e = 0; e < each; e++) af__cuda_fetch(reg + i * step + e * span, from[e]);
        }
        af__cuda_arrive();
        for (size_t i = 0; i < micros; i++) operate(micro[i], reg, span, first);
        for (size_t i = 0; i < stores; i++) {
            const af__cuda_array &a = array[loads + i];
            real value[each];
            for (size_t e = 0; e < each; e++) value[e] = reg[store[i] * step + e * span];
            for (size_t e = 0; e < each; e++)
                if (first + e * span < total)
                    ((real *)a.at)[place(a, linear[e], row[e], column[e])] = value[e];
        }
    }
};

/* ---- sums ------------------------------------------------------------------------------------ */

/* How a sum is cut, by its shape alone: a block makes `wide` outputs with `deep` threads each, and
 * of the inner elements one of `parts` ranges. */
typedef struct af__cuda_sum_shape {
    size_t outer, inner, wide, deep, parts;
    int columns; /* neighbouring threads have neighbouring outputs, not inner elements */
} af__cuda_sum_shape;

template <typename real> struct af__cuda_sum {
    enum { AHEAD = 4 };
    const real *x, *y; /* y NULL: one factor */
    real *out;         /* (parts, outer) */
    af__cuda_sum_shape shape;
    size_t dim[AF_RANK_MAX], stride_x[AF_RANK_MAX], stride_y[AF_RANK_MAX], kept, rank;

    __host__ __device__ real term(const real *p, const real *q, size_t i) const {
        real v = p[af__cuda_position(dim, stride_x, kept, rank, i)];
        return q ? v * q[af__cuda_position(dim, stride_y, kept, rank, i)] : v;
    }

    __host__ __device__ real range(size_t output, size_t low, size_t high) const {
        const real *p = x + af__cuda_position(dim, stride_x, 0, kept, output);
        const real *q = y ? y + af__cuda_position(dim, stride_y, 0, kept, output) : y;
        const size_t step = shape.deep;
        real total = (real)0;
        size_t i = low;
        for (; i + (AHEAD - 1) * step < high; i += AHEAD * step) {
            real v[AHEAD]; /* loads that are under way together */
            for (size_t e = 0; e < AHEAD; e++) v[e] = term(p, q, i + e * step);
            for (size_t e = 0; e < AHEAD; e++) total += v[e];
        }
        for (; i < high; i += step) total += term(p, q, i);
        return total;
    }

    /* Phase 0: each thread its elements; phase k: the lower half of what is left adds the upper. */
    __host__ __device__ void thread(int phase, size_t block, int thread, int, void *shared) const {
        size_t blocks = af__cuda_ratio(shape.outer, shape.wide), t = (size_t)thread;
        size_t part = block / blocks, w = shape.columns ? t % shape.wide : t / shape.deep;
        size_t d = shape.columns ? t / shape.wide : t % shape.deep, half = shape.deep >> phase;
        size_t output = block % blocks * shape.wide + w;
        real *sum = (real *)shared + w;
        if (output >= shape.outer || (phase > 0 && d >= half)) return;
        if (phase > 0) sum[d * shape.wide] += sum[(d + half) * shape.wide];
        else
            sum[d * shape.wide] = range(output, shape.inner * part / shape.parts + d,
                                        shape.inner * (part + 1) / shape.parts);
        if (half == 1) out[part * shape.outer + output] = sum[0];
    }
};

/* ---- rows ------------------------------------------------------------------------------------ */

/* Never out of bounds. */
template <typename real> AF__DEVICE size_t af__cuda_row(real index, size_t rows) {
    return index >= (real)0 && index < (real)rows ? (size_t)index : 0;
}

template <typename real> struct af__cuda_gather {
    const real *x, *index;
    real *out;
    size_t count, length, rows;

    __host__ __device__ void thread(int, size_t block, int thread, int threads, void *) const {
        size_t i = block * (size_t)threads + (size_t)thread;
        if (i >= count * length) return;
        out[i] = x[af__cuda_row(index[i / length], rows) * length + i % length];
    }
};

/* A scatter sorts the keys (row, i), so that what a row gets lies side by side in the order of i,
 * whatever the order of the threads. Keys beyond `count`, up to a power of two, are the largest. */
template <typename real> struct af__cuda_keys {
    const real *index;
    uint64_t *key;
    size_t count, keys, rows;

    __host__ __device__ void thread(int, size_t block, int thread, int threads, void *) const {
        size_t i = block * (size_t)threads + (size_t)thread;
        if (i >= keys) return;
        key[i] = i < count ? (uint64_t)af__cuda_row(index[i], rows) << 32 | i : UINT64_MAX;
    }
};

/* Steps of a bitonic sort (Batcher 1968): runs of `run` keys are merged by comparing keys that are
 * `apart` from each other, then half of it, and so on. A block does all steps, one a phase, with
 * that stay within its own keys, from `run` on; or it does one step, apart by more than that. */
struct af__cuda_sort {
    uint64_t *key;
    size_t run, apart; /* apart 0: the block's own keys */

    __host__ __device__ void thread(int phase, size_t block, int thread, int threads,
                                    void *) const {
        size_t t = block * (size_t)threads + (size_t)thread, r = run, a = apart, i;
        uint64_t low;
        if (apart == 0) /* the step of this phase */
            for (;; r *= 2) {
                for (a = r / 2 < (size_t)threads ? r / 2 : (size_t)threads; a > 0 && phase > 0;
                     a /= 2)
                    phase--;
                if (a > 0) break;
            }
        i = t / a * 2 * a + t % a;
        low = key[i];
        if ((low > key[i + a]) != ((i & r) != 0)) {
            key[i] = key[i + a];
            key[i + a] = low;
        }
    }
};

/* The thread at the first key of a row adds all that the row gets. */
template <typename real> struct af__cuda_scatter {
    const uint64_t *key;
    const real *x;
    real *out;
    size_t count, length;

    __host__ __device__ void thread(int, size_t block, int thread, int threads, void *) const {
        size_t t = block * (size_t)threads + (size_t)thread, p = t / length, j = t % length;
        uint64_t row;
        real total = (real)0;
        if (p >= count) return;
        row = key[p] >> 32;
        if (p > 0 && key[p - 1] >> 32 == row) return;
        for (; p < count && key[p] >> 32 == row; p++)
            total += x[(size_t)(uint32_t)key[p] * length + j];
        out[(size_t)row * length + j] = total;
    }
};

/* ---- matrices -------------------------------------------------------------------------------- */

/* Copies matrices (count, rows, columns) with any strides, so that cuBLAS can read them. */
template <typename real> struct af__cuda_pack {
    const real *from;
    real *to;
    size_t total, rows, columns, stride[3];

    __host__ __device__ void thread(int, size_t block, int thread, int threads, void *) const {
        size_t i = block * (size_t)threads + (size_t)thread, row = i / columns;
        if (i >= total) return;
        to[i] = from[row / rows * stride[0] + row % rows * stride[1] + i % columns * stride[2]];
    }
};

/* Copies numbers into another precision. */
template <typename source, typename target> struct af__cuda_convert {
    const source *from;
    target *to;
    size_t n;

    __host__ __device__ void thread(int, size_t block, int thread, int threads, void *) const {
        size_t i = block * (size_t)threads + (size_t)thread;
        if (i < n) to[i] = (target)from[i];
    }
};

#ifndef AF_CUDA_HOST
/* Whether this file was compiled for the device: any kernel serves. */
static cudaError_t af__cuda_find_kernels(void) {
    cudaFuncAttributes a;
    return cudaFuncGetAttributes(&a, (const void *)af__cuda_threads<af__cuda_sort>);
}
#endif

/* ---- failures -------------------------------------------------------------------------------- */

/* Why the last call on this thread failed. */
static thread_local char af__cuda_sentence[AF__CUDA_SENTENCE];

AF_API const char *af_error_cuda(void) { return af__cuda_sentence; }

/* AF_OK, or the sentence of an error: what was done, what CUDA calls it, what to do. */
static af_status af__cuda_check(cudaError_t error, const char *what, size_t bytes) {
    const char *todo = "";
    if (error == cudaSuccess) return AF_OK;
    cudaGetLastError(); /* else the next call reports it again */
    if (error == cudaErrorMemoryAllocation)
        todo = "; use smaller batches, more pieces or single precision";
    if (error == cudaErrorNoDevice) todo = "; the CPU is the default backend";
    if (error == cudaErrorInsufficientDriver)
        todo = "; install a driver for this CUDA or newer, or compile with an older CUDA";
    if (error == cudaErrorNoKernelImageForDevice)
        todo = "; compile af_cuda.cu for this device: nvcc -arch=native";
    if (bytes)
        snprintf(af__cuda_sentence, sizeof af__cuda_sentence, "CUDA: %s of %lu bytes: %s%s", what,
                 (unsigned long)bytes, cudaGetErrorString(error), todo);
    else
        snprintf(af__cuda_sentence, sizeof af__cuda_sentence, "CUDA: %s: %s%s", what,
                 cudaGetErrorString(error), todo);
    return AF_ERROR_BACKEND;
}

static af_status af__cuda_check_blas(cublasStatus_t status, const char *what) {
    if (status == CUBLAS_STATUS_SUCCESS) return AF_OK;
    snprintf(af__cuda_sentence, sizeof af__cuda_sentence, "cuBLAS: %s: %s", what,
             cublasGetStatusString(status));
    return AF_ERROR_BACKEND;
}

/* ---- workspaces ------------------------------------------------------------------------------ */

/* What one run after the other needs. */
typedef struct af__cuda {
    const af_program *program;
    af_allocator allocator;
    int device;
    size_t real; /* bytes of an element */
    cudaStream_t stream;
    cublasHandle_t blas; /* NULL: no products */
    char *memory;        /* on the device: work buffers, tensors, scratch, then: */
    char *scratch;
    af_micro *micro;     /* the program's, on the device */
    uint16_t *store;
    af__cuda_array *array, *array_host; /* by operand: what fused runs read and write */
    void *blas_memory;
    size_t blas_bytes;
    void **base;        /* by buffer: where it is on the device */
    const void **given; /* by input, then output: the caller's array on the device, else NULL */
    /* The other inputs, then the other outputs; on the device then those in another precision. */
    char *staged, *staged_host;
    size_t staged_in, staged_ends, staged_bytes; /* where inputs, outputs and all end */
    size_t *staged_at;  /* by input, then output */
    cudaGraphExec_t graph;
    int runs;            /* whether there was one with the arrays where they are */
    int unrecorded;      /* recording failed: kernels are launched one by one */
} af__cuda;

static size_t af__cuda_align(size_t bytes) {
    return af__cuda_ratio(bytes, AF__CUDA_ALIGNMENT) * AF__CUDA_ALIGNMENT;
}

static void *af__cuda_at(const af__cuda *cuda, const af_operand *o) {
    return (char *)cuda->base[o->buffer] + o->offset * cuda->real;
}

/* ---- geometry: what instructions need, from their shapes alone ---- */

static size_t af__cuda_product_of(const size_t *dim, size_t first, size_t last) {
    size_t n = 1, i;
    for (i = first; i < last; i++) n *= dim[i];
    return n;
}

static int af__cuda_is_flat(const af_instr *instr, const size_t *stride) {
    size_t i, step = 1;
    for (i = instr->rank; i-- > 0; step *= instr->dim[i])
        if (instr->dim[i] > 1 && stride[i] != step) return 0;
    return 1;
}

static size_t af__cuda_power_of_two(size_t n) { /* at least n */
    size_t p = 1;
    while (p < n) p *= 2;
    return p;
}

static af__cuda_sum_shape af__cuda_cut(size_t outer, size_t inner, int columns) {
    af__cuda_sum_shape s;
    size_t each, threads;
    s.outer = outer;
    s.inner = inner;
    s.columns = columns;
    s.deep = af__cuda_power_of_two(af__cuda_ratio(inner, AF__CUDA_SUM_EACH));
    if (columns && outer >= AF__CUDA_WARP) { /* warps read neighbours */
        if (s.deep > AF__CUDA_THREADS / AF__CUDA_WARP) s.deep = AF__CUDA_THREADS / AF__CUDA_WARP;
    } else if (s.deep > AF__CUDA_THREADS) {
        s.deep = AF__CUDA_THREADS;
    }
    s.wide = AF__CUDA_THREADS / s.deep;
    each = af__cuda_ratio(inner, s.deep);
    threads = outer * s.deep;
    s.parts = threads < AF__CUDA_SUM_THREADS ? AF__CUDA_SUM_THREADS / threads : 1;
    if (s.parts > each / AF__CUDA_SUM_EACH) s.parts = each / AF__CUDA_SUM_EACH;
    if (s.parts < 1) s.parts = 1;
    return s;
}

static af__cuda_sum_shape af__cuda_shape_of(const af_program *p, const af_instr *instr) {
    const af_operand *x = p->operand + instr->operand;
    size_t kept = instr->rank - instr->inner;
    return af__cuda_cut(af__cuda_product_of(instr->dim, 0, kept),
                        af__cuda_product_of(instr->dim, kept, instr->rank),
                        kept > 0 && x->stride[kept - 1] == 1 && x->stride[instr->rank - 1] != 1);
}

/* A factor of a product as cuBLAS reads it: rows `pitch` apart, transposed or not; or to be packed
 * first. */
typedef struct af__cuda_factor {
    size_t rows, columns, stride[3]; /* between matrices, rows, columns */
    size_t pitch;
    int transposed, packed;
} af__cuda_factor;

static af__cuda_factor af__cuda_factor_of(const af_instr *instr, const af_operand *o, int second) {
    size_t axes = instr->rank - 3;
    const size_t *dim = instr->dim + axes;
    af__cuda_factor f;
    size_t row, column;
    f.rows = second ? dim[2] : dim[0];
    f.columns = second ? dim[1] : dim[2];
    f.stride[0] = axes > 0 ? o->stride[axes - 1] : 0;
    row = f.stride[1] = o->stride[axes];
    column = f.stride[2] = o->stride[axes + 1];
    if (f.columns == 1) column = 1; /* there is no next one */
    if (f.rows == 1) row = column == 1 ? f.columns : 1;
    f.transposed = column != 1 || row < f.columns;
    if (f.transposed && f.columns == 1) column = f.rows;
    f.pitch = f.transposed ? column : row;
    f.packed = f.transposed && (row != 1 || column < f.rows);
    if (f.packed) {
        f.transposed = 0;
        f.pitch = f.columns;
    }
    return f;
}

/* Elements that packing a factor takes: of all matrices along the last batch axis. */
static size_t af__cuda_pack_size(const af_instr *instr, const af__cuda_factor *f) {
    if (!f->packed) return 0;
    return f->rows * f->columns * (f->stride[0] ? instr->dim[instr->rank - 4] : 1);
}

/* In how many parts the sums of a product are made, by its shape alone. A gradient by weights adds
 * over all stars and has few elements: left whole it would be work for a few blocks. */
static size_t af__cuda_product_parts(const af_instr *instr) {
    size_t axes = instr->rank - 3, k = instr->dim[axes + 2], parts, most;
    size_t blocks = af__cuda_ratio(instr->dim[axes], AF__CUDA_PRODUCT_SIDE) *
                    af__cuda_ratio(instr->dim[axes + 1], AF__CUDA_PRODUCT_SIDE);
    if (af__cuda_product_of(instr->dim, 0, axes) > 1) return 1;
    most = k / AF__CUDA_PRODUCT_DEPTH;
    if (most > AF__CUDA_PRODUCT_BLOCKS / blocks) most = AF__CUDA_PRODUCT_BLOCKS / blocks;
    if (most > AF__CUDA_PRODUCT_PARTS) most = AF__CUDA_PRODUCT_PARTS;
    for (parts = most; parts > most / 2; parts--) /* rather than leave a rest */
        if (k % parts == 0) return parts;
    return most > 1 ? most : 1;
}

/* Keys that a scatter sorts. */
static size_t af__cuda_key_count(const af_instr *instr) {
    size_t keys = af__cuda_power_of_two(instr->dim[0]);
    return keys > 2 * AF__CUDA_SORT_THREADS ? keys : (size_t)2 * AF__CUDA_SORT_THREADS;
}

/* Bytes of scratch memory of an instruction. */
static size_t af__cuda_scratch(const af_program *p, const af_instr *instr, size_t real) {
    const af_operand *o = p->operand + instr->operand;
    switch (instr->kind) { /* without a default: a kind that is missing does not compile */
    case AF_INSTR_SUM: {
        af__cuda_sum_shape s = af__cuda_shape_of(p, instr);
        return s.parts > 1 ? s.parts * s.outer * real : 0;
    }
    case AF_INSTR_MATMUL: {
        af__cuda_factor a = af__cuda_factor_of(instr, &o[0], 0);
        af__cuda_factor b = af__cuda_factor_of(instr, &o[1], 1);
        size_t axes = instr->rank - 3, parts = af__cuda_product_parts(instr);
        return af__cuda_align(af__cuda_pack_size(instr, &a) * real) +
               af__cuda_align(af__cuda_pack_size(instr, &b) * real) +
               (parts > 1 ? parts * instr->dim[axes] * instr->dim[axes + 1] * real : 0);
    }
    case AF_INSTR_SCATTER: return af__cuda_key_count(instr) * sizeof(uint64_t);
    case AF_INSTR_TILE: case AF_INSTR_ZERO: case AF_INSTR_GATHER: break;
    }
    return 0;
}

/* ---- instructions ---- */

static af_status af__cuda_launched(cudaError_t error, const char *what) {
    return af__cuda_check(error, what, 0);
}

template <typename real, size_t each>
static af_status af__cuda_run_tile(const af__cuda *cuda, const af_instr *instr, int threads) {
    const size_t reals = instr->registers * each * sizeof(real);
    af__cuda_tile<real, each> k;
    af__cuda_grid g;
    size_t i;
    k.array = cuda->array + instr->operand;
    k.micro = cuda->micro + instr->micro;
    k.store = cuda->store + instr->store_register;
    k.total = af__cuda_product_of(instr->dim, 0, instr->rank);
    memcpy(k.dim, instr->dim, sizeof k.dim);
    k.rank = instr->rank;
    k.loads = instr->loads;
    k.stores = instr->stores;
    k.micros = instr->micros;
    k.flat = 1;
    for (i = 0; i < instr->loads + instr->stores; i++)
        k.flat = k.flat && cuda->array_host[instr->operand + i].flat;
    g.blocks = af__cuda_ratio(k.total, each * (size_t)threads);
    g.threads = threads;
    g.phases = 1;
    g.shared = reals * (size_t)threads;
    return af__cuda_launched(af__cuda_launch(cuda->stream, g, k), "a fused run");
}

/* As many threads, in warps, as the memory of a block has registers for; 0: not one warp. */
static int af__cuda_tile_threads(const af_instr *instr, size_t bytes) {
    size_t n = AF__CUDA_SHARED / (instr->registers * bytes) / AF__CUDA_WARP * AF__CUDA_WARP;
    return n < AF__CUDA_THREADS ? (int)n : AF__CUDA_THREADS;
}

template <typename real>
static af_status af__cuda_tile_of(const af__cuda *cuda, const af_instr *instr) {
    int threads = af__cuda_tile_threads(instr, AF__CUDA_EACH * sizeof(real));
    if (threads > 0 && af__cuda_product_of(instr->dim, 0, instr->rank) > AF__CUDA_ONE_EACH)
        return af__cuda_run_tile<real, AF__CUDA_EACH>(cuda, instr, threads);
    return af__cuda_run_tile<real, 1>(cuda, instr, af__cuda_tile_threads(instr, sizeof(real)));
}

template <typename real>
static af_status af__cuda_launch_sum(const af__cuda *cuda, const af__cuda_sum<real> &k) {
    af__cuda_grid g;
    size_t deep;
    g.blocks = af__cuda_ratio(k.shape.outer, k.shape.wide) * k.shape.parts;
    g.threads = (int)(k.shape.wide * k.shape.deep);
    g.shared = (size_t)g.threads * sizeof(real);
    for (g.phases = 1, deep = k.shape.deep; deep > 1; deep /= 2) g.phases++;
    return af__cuda_launched(af__cuda_launch(cuda->stream, g, k), "a sum");
}

/* out (n) is the sum of `part` (parts, n). */
template <typename real>
static af_status af__cuda_add_parts(const af__cuda *cuda, const real *part, real *out, size_t n,
                                    size_t parts) {
    af__cuda_sum<real> k = {};
    k.shape = af__cuda_cut(n, parts, 1);
    k.shape.parts = 1;
    k.x = part;
    k.out = out;
    k.kept = 1;
    k.rank = 2;
    k.dim[0] = k.stride_x[1] = n;
    k.dim[1] = parts;
    k.stride_x[0] = 1;
    return af__cuda_launch_sum(cuda, k);
}

template <typename real>
static af_status af__cuda_sum_of(const af__cuda *cuda, const af_instr *instr) {
    const af_operand *o = cuda->program->operand + instr->operand;
    real *out = (real *)af__cuda_at(cuda, &o[2]);
    af__cuda_sum<real> k = {};
    af_status s;
    k.shape = af__cuda_shape_of(cuda->program, instr);
    k.x = (const real *)af__cuda_at(cuda, &o[0]);
    k.y = instr->factors > 1 ? (const real *)af__cuda_at(cuda, &o[1]) : NULL;
    k.out = k.shape.parts > 1 ? (real *)cuda->scratch : out;
    k.kept = instr->rank - instr->inner;
    k.rank = instr->rank;
    memcpy(k.dim, instr->dim, sizeof k.dim);
    memcpy(k.stride_x, o[0].stride, sizeof k.stride_x);
    memcpy(k.stride_y, o[1].stride, sizeof k.stride_y);
    s = af__cuda_launch_sum(cuda, k);
    if (s != AF_OK || k.shape.parts == 1) return s;
    return af__cuda_add_parts(cuda, (const real *)k.out, out, k.shape.outer, k.shape.parts);
}

template <typename real>
static af_status af__cuda_gather_of(const af__cuda *cuda, const af_instr *instr) {
    const af_operand *o = cuda->program->operand + instr->operand;
    af__cuda_gather<real> k;
    k.x = (const real *)af__cuda_at(cuda, &o[0]);
    k.index = (const real *)af__cuda_at(cuda, &o[1]);
    k.out = (real *)af__cuda_at(cuda, &o[2]);
    k.count = instr->dim[0];
    k.length = instr->dim[1];
    k.rows = instr->dim[2];
    return af__cuda_launched(
        af__cuda_launch(cuda->stream, af__cuda_flat(k.count * k.length), k), "a gather");
}

static af_status af__cuda_zero(const af__cuda *cuda, void *at, size_t bytes) {
    return af__cuda_check(cudaMemsetAsync(at, 0, bytes, cuda->stream), "zeros", bytes);
}

/* Sorts the keys (a power of two of them, at least two a thread of a block). */
static af_status af__cuda_sort_keys(const af__cuda *cuda, uint64_t *key, size_t keys) {
    const size_t own = (size_t)2 * AF__CUDA_SORT_THREADS;
    size_t levels = 0;
    af__cuda_sort k;
    af__cuda_grid g;
    cudaError_t error;
    while ((size_t)1 << levels < own) levels++;
    k.key = key;
    g.blocks = keys / own;
    g.threads = AF__CUDA_SORT_THREADS;
    g.shared = 0;
    g.phases = (int)(levels * (levels + 1) / 2); /* runs of 2, 4, .., own */
    k.run = 2;
    k.apart = 0;
    error = af__cuda_launch(cuda->stream, g, k);
    for (k.run = 2 * own; k.run <= keys && error == cudaSuccess; k.run *= 2) {
        g.phases = 1;
        for (k.apart = k.run / 2; k.apart >= own && error == cudaSuccess; k.apart /= 2)
            error = af__cuda_launch(cuda->stream, g, k);
        g.phases = (int)levels;
        k.apart = 0;
        if (error == cudaSuccess) error = af__cuda_launch(cuda->stream, g, k);
    }
    return af__cuda_launched(error, "sorting the rows of a scatter");
}

template <typename real>
static af_status af__cuda_scatter_of(const af__cuda *cuda, const af_instr *instr) {
    const af_operand *o = cuda->program->operand + instr->operand;
    af__cuda_keys<real> keys;
    af__cuda_scatter<real> k;
    af_status s;
    keys.index = (const real *)af__cuda_at(cuda, &o[1]);
    k.key = keys.key = (uint64_t *)cuda->scratch;
    k.count = keys.count = instr->dim[0];
    keys.keys = af__cuda_key_count(instr);
    keys.rows = instr->dim[2];
    k.x = (const real *)af__cuda_at(cuda, &o[0]);
    k.out = (real *)af__cuda_at(cuda, &o[2]);
    k.length = instr->dim[1];
    s = af__cuda_zero(cuda, k.out, keys.rows * k.length * sizeof(real));
    if (s == AF_OK)
        s = af__cuda_launched(af__cuda_launch(cuda->stream, af__cuda_flat(keys.keys), keys),
                              "the rows of a scatter");
    if (s == AF_OK) s = af__cuda_sort_keys(cuda, keys.key, keys.keys);
    if (s != AF_OK) return s;
    return af__cuda_launched(
        af__cuda_launch(cuda->stream, af__cuda_flat(k.count * k.length), k), "a scatter");
}

/* ---- products ---- */

typedef struct af__cuda_product {
    cublasOperation_t first, second;
    int m, n, k, pitch_first, pitch_second, count;
    long long stride_first, stride_second;
    int add; /* to what is there */
} af__cuda_product;

/* cuBLAS counts by columns: it sees the transposes, and C' = B' A'. */
static cublasStatus_t af__cuda_multiply(cublasHandle_t blas, const af__cuda_product &p,
                                        const double *a, const double *b, double *c) {
    const double one = 1.0, keep = p.add;
    return cublasDgemmStridedBatched(blas, p.second, p.first, p.n, p.m, p.k, &one, b,
                                     p.pitch_second, p.stride_second, a, p.pitch_first,
                                     p.stride_first, &keep, c, p.n, (long long)p.m * p.n, p.count);
}

static cublasStatus_t af__cuda_multiply(cublasHandle_t blas, const af__cuda_product &p,
                                        const float *a, const float *b, float *c) {
    const float one = 1.0f, keep = (float)p.add;
    return cublasSgemmStridedBatched(blas, p.second, p.first, p.n, p.m, p.k, &one, b,
                                     p.pitch_second, p.stride_second, a, p.pitch_first,
                                     p.stride_first, &keep, c, p.n, (long long)p.m * p.n, p.count);
}

/* One product, in parts: cuBLAS makes them as if they were so many products; what is left of the
 * inner dimension is added to the last one. */
template <typename real>
static af_status af__cuda_product_in_parts(const af__cuda *cuda, af__cuda_product p, size_t parts,
                                           const real *a, const real *b, real *part, real *c) {
    const size_t n = (size_t)p.m * (size_t)p.n;
    const int depth = p.k / (int)parts, rest = p.k % (int)parts;
    cublasStatus_t status;
    p.k = depth;
    p.count = (int)parts;
    p.stride_first = (long long)depth * (p.first == CUBLAS_OP_T ? p.pitch_first : 1);
    p.stride_second = (long long)depth * (p.second == CUBLAS_OP_T ? 1 : p.pitch_second);
    status = af__cuda_multiply(cuda->blas, p, a, b, part);
    if (rest > 0 && status == CUBLAS_STATUS_SUCCESS) {
        p.k = rest;
        p.count = p.add = 1;
        status = af__cuda_multiply(cuda->blas, p, a + p.stride_first * (long long)parts,
                                   b + p.stride_second * (long long)parts, part + (parts - 1) * n);
    }
    if (status != CUBLAS_STATUS_SUCCESS) return af__cuda_check_blas(status, "a matrix product");
    return af__cuda_add_parts(cuda, (const real *)part, c, n, parts);
}

/* The factor as cuBLAS shall read it, and the distance between its matrices. */
template <typename real>
static af_status af__cuda_factor_at(const af__cuda *cuda, const af__cuda_factor *f, size_t count,
                                    size_t scratch, const real **at, long long *stride) {
    size_t matrices = f->stride[0] ? count : 1, size = f->rows * f->columns;
    af__cuda_pack<real> k;
    *stride = (long long)(f->packed && f->stride[0] ? size : f->stride[0]);
    if (!f->packed) return AF_OK;
    k.from = *at;
    k.to = (real *)(cuda->scratch + scratch);
    *at = k.to;
    k.total = matrices * size;
    k.rows = f->rows;
    k.columns = f->columns;
    memcpy(k.stride, f->stride, sizeof k.stride);
    return af__cuda_launched(af__cuda_launch(cuda->stream, af__cuda_flat(k.total), k),
                             "packing a matrix");
}

/* The products along the last batch axis, as one call of cuBLAS. */
template <typename real>
static af_status af__cuda_products(const af__cuda *cuda, const af_instr *instr, const real *a,
                                   const real *b, real *c) {
    const af_operand *o = cuda->program->operand + instr->operand;
    af__cuda_factor fa = af__cuda_factor_of(instr, &o[0], 0);
    af__cuda_factor fb = af__cuda_factor_of(instr, &o[1], 1);
    size_t count = instr->rank > 3 ? instr->dim[instr->rank - 4] : 1;
    size_t second = af__cuda_align(af__cuda_pack_size(instr, &fa) * sizeof(real));
    size_t third = second + af__cuda_align(af__cuda_pack_size(instr, &fb) * sizeof(real));
    size_t parts = af__cuda_product_parts(instr);
    af__cuda_product p;
    af_status s = af__cuda_factor_at(cuda, &fa, count, 0, &a, &p.stride_first);
    if (s == AF_OK) s = af__cuda_factor_at(cuda, &fb, count, second, &b, &p.stride_second);
    if (s != AF_OK) return s;
    p.first = fa.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    p.second = fb.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    p.m = (int)fa.rows;
    p.n = (int)fb.columns;
    p.k = (int)fa.columns;
    p.pitch_first = (int)fa.pitch;
    p.pitch_second = (int)fb.pitch;
    p.count = (int)count;
    p.add = 0;
    if (parts > 1)
        return af__cuda_product_in_parts(cuda, p, parts, a, b, (real *)(cuda->scratch + third), c);
    return af__cuda_check_blas(af__cuda_multiply(cuda->blas, p, a, b, c), "a matrix product");
}

template <typename real>
static af_status af__cuda_matmul_of(const af__cuda *cuda, const af_instr *instr) {
    const af_operand *o = cuda->program->operand + instr->operand;
    size_t axes = instr->rank - 3, outer = axes > 1 ? axes - 1 : 0;
    size_t count = af__cuda_product_of(instr->dim, 0, outer), i, q;
    af_status s = AF_OK;
    for (i = 0; i < count && s == AF_OK; i++) { /* mostly once */
        size_t at[3];
        for (q = 0; q < 3; q++) at[q] = af__cuda_position(instr->dim, o[q].stride, 0, outer, i);
        s = af__cuda_products(cuda, instr, (const real *)af__cuda_at(cuda, &o[0]) + at[0],
                              (const real *)af__cuda_at(cuda, &o[1]) + at[1],
                              (real *)af__cuda_at(cuda, &o[2]) + at[2]);
    }
    return s;
}

template <typename real>
static af_status af__cuda_instr(const af__cuda *cuda, const af_instr *instr) {
    const af_operand *o = cuda->program->operand + instr->operand;
    switch (instr->kind) { /* without a default */
    case AF_INSTR_TILE: return af__cuda_tile_of<real>(cuda, instr);
    case AF_INSTR_SUM: return af__cuda_sum_of<real>(cuda, instr);
    case AF_INSTR_MATMUL: return af__cuda_matmul_of<real>(cuda, instr);
    case AF_INSTR_GATHER: return af__cuda_gather_of<real>(cuda, instr);
    case AF_INSTR_SCATTER: return af__cuda_scatter_of<real>(cuda, instr);
    case AF_INSTR_ZERO:
        return af__cuda_zero(cuda, cuda->base[o->buffer],
                             cuda->program->buffer[o->buffer].size * cuda->real);
    }
    return AF_OK;
}

/* Where an input or output is while the program runs. */
typedef enum af__cuda_where {
    AF__CUDA_STAGED_IN,  /* an array of the host's is copied */
    AF__CUDA_STAGED_OUT,
    AF__CUDA_CONVERTED,  /* the caller's array on the device has another precision */
    AF__CUDA_GIVEN       /* it is used where it is */
} af__cuda_where;

/* Its number among inputs and outputs. */
static size_t af__cuda_end(const af__cuda *cuda, const af_buffer *b) {
    return b->index + (b->kind == AF_BUFFER_OUTPUT ? cuda->program->input_count : 0);
}

static af__cuda_where af__cuda_where_of(const af__cuda *cuda, const af_buffer *b) {
    if (!cuda->given[af__cuda_end(cuda, b)])
        return b->kind == AF_BUFFER_INPUT ? AF__CUDA_STAGED_IN : AF__CUDA_STAGED_OUT;
    return b->wide ? AF__CUDA_CONVERTED : AF__CUDA_GIVEN;
}

/* The wide inputs, or outputs, that are on the device: from or to the caller's arrays. */
static af_status af__cuda_convert_ends(const af__cuda *cuda, af_buffer_kind kind) {
    const af_program *p = cuda->program;
    af__cuda_convert<double, float> in;
    af__cuda_convert<float, double> out;
    cudaError_t error = cudaSuccess;
    for (size_t i = 0; i < p->buffer_count && error == cudaSuccess; i++) {
        const af_buffer *b = &p->buffer[i];
        if (b->kind != kind || af__cuda_where_of(cuda, b) != AF__CUDA_CONVERTED) continue;
        in.n = out.n = b->size;
        in.from = out.to = (double *)const_cast<void *>(cuda->given[af__cuda_end(cuda, b)]);
        out.from = in.to = (float *)cuda->base[i];
        error = kind == AF_BUFFER_INPUT
                    ? af__cuda_launch(cuda->stream, af__cuda_flat(b->size), in)
                    : af__cuda_launch(cuda->stream, af__cuda_flat(b->size), out);
    }
    return af__cuda_launched(error, "another precision");
}

/* Copies the staged inputs, runs the program, copies the staged outputs back; all in the stream. */
static af_status af__cuda_issue(const af__cuda *cuda) {
    const af_program *p = cuda->program;
    size_t in = cuda->staged_in, out = cuda->staged_ends - in, i;
    af_status s = AF_OK;
    if (in > 0)
        s = af__cuda_check(cudaMemcpyAsync(cuda->staged, cuda->staged_host, in,
                                           cudaMemcpyHostToDevice, cuda->stream),
                           "copying the inputs", in);
    if (s == AF_OK) s = af__cuda_convert_ends(cuda, AF_BUFFER_INPUT);
    for (i = 0; i < p->instr_count && s == AF_OK; i++)
        s = p->precision == AF_F64 ? af__cuda_instr<double>(cuda, &p->instr[i])
                                   : af__cuda_instr<float>(cuda, &p->instr[i]);
    if (s == AF_OK) s = af__cuda_convert_ends(cuda, AF_BUFFER_OUTPUT);
    if (s == AF_OK && out > 0)
        s = af__cuda_check(cudaMemcpyAsync(cuda->staged_host + in, cuda->staged + in, out,
                                           cudaMemcpyDeviceToHost, cuda->stream),
                           "copying the outputs", out);
    return s;
}

static af_status af__cuda_wait(const af__cuda *cuda) {
    return af__cuda_check(cudaStreamSynchronize(cuda->stream), "running", 0);
}

/* ---- opening and closing ---- */

/* Operands, micro operations and stores that the program's instructions refer to. */
typedef struct af__cuda_counts {
    size_t operands, micros, stores;
} af__cuda_counts;

static void af__cuda_most(size_t *most, size_t n) {
    if (n > *most) *most = n;
}

static af__cuda_counts af__cuda_count(const af_program *p) {
    af__cuda_counts n = {0, 0, 0};
    size_t i;
    for (i = 0; i < p->instr_count; i++) {
        const af_instr *instr = &p->instr[i];
        if (instr->kind != AF_INSTR_TILE) continue;
        af__cuda_most(&n.operands, instr->operand + instr->loads + instr->stores);
        af__cuda_most(&n.micros, instr->micro + instr->micros);
        af__cuda_most(&n.stores, instr->store_register + instr->stores);
    }
    return n;
}

static size_t af__cuda_ends(const af_program *p) { return p->input_count + p->output_count; }

/* Bytes of what a workspace keeps on the host: base, given, staged_at, array_host. */
static size_t af__cuda_host_bytes(const af_program *p) {
    return p->buffer_count * sizeof(void *) +
           af__cuda_ends(p) * (sizeof(const void *) + sizeof(size_t)) +
           af__cuda_count(p).operands * sizeof(af__cuda_array);
}

/* The thread works on the program's device from here to af__cuda_leave, then on its own again.
 * Mostly both are the same, and none is set: to set a device also wakes it up. */
static af_status af__cuda_enter(const af__cuda *cuda, int *before) {
    af_status s;
    *before = cuda->device;
    s = af__cuda_check(cudaGetDevice(before), "finding the device", 0);
    if (s != AF_OK || *before == cuda->device) return s;
    return af__cuda_check(cudaSetDevice(cuda->device), "choosing the device", 0);
}

static void af__cuda_leave(const af__cuda *cuda, int before) {
    if (before != cuda->device) cudaSetDevice(before);
}

static void af__cuda_close(const af_program *p, void *state) {
    af__cuda *cuda = (af__cuda *)state;
    af_allocator allocator = cuda->allocator;
    int before;
    af__cuda_enter(cuda, &before); /* all is freed in any case */
    if (cuda->graph) cudaGraphExecDestroy(cuda->graph);
    if (cuda->blas) cublasDestroy(cuda->blas);
    if (cuda->staged) cudaFree(cuda->staged);
    if (cuda->staged_host) cudaFreeHost(cuda->staged_host);
    if (cuda->memory) cudaFree(cuda->memory);
    if (cuda->stream) cudaStreamDestroy(cuda->stream);
    af__cuda_leave(cuda, before);
    allocator.release(cuda, sizeof *cuda + af__cuda_host_bytes(p), allocator.user);
}

/* cuBLAS and the sort count in 31 and 32 bits. */
static af_status af__cuda_check_program(const af_program *p) {
    size_t i, real = p->precision == AF_F64 ? sizeof(double) : sizeof(float);
    const char *wrong = NULL;
    for (i = 0; i < p->instr_count && !wrong; i++) {
        const af_instr *instr = &p->instr[i];
        if (instr->kind == AF_INSTR_TILE && af__cuda_tile_threads(instr, real) == 0)
            wrong = "a fused run with more registers than a block has";
        if (instr->kind == AF_INSTR_SCATTER && (instr->dim[0] | instr->dim[2]) > UINT32_MAX >> 1)
            wrong = "a scatter of more rows than 2^31";
        if (instr->kind == AF_INSTR_MATMUL) {
            const af_operand *o = p->operand + instr->operand;
            size_t most = af__cuda_factor_of(instr, &o[0], 0).pitch, k;
            af__cuda_most(&most, af__cuda_factor_of(instr, &o[1], 1).pitch);
            for (k = instr->rank > 3 ? instr->rank - 4 : 0; k < instr->rank; k++)
                af__cuda_most(&most, instr->dim[k]);
            if (most > (size_t)INT_MAX) wrong = "a matrix product with more rows than 2^31";
        }
    }
    if (!wrong) return AF_OK;
    snprintf(af__cuda_sentence, sizeof af__cuda_sentence,
             "CUDA: the function has %s; use the CPU or smaller batches", wrong);
    return AF_ERROR_BACKEND;
}

/* The workspace of cuBLAS: its own choice would not be the same for all streams, nor its results.
 * 0: there are no products. */
static size_t af__cuda_blas_bytes(const af_program *p) {
    size_t i, bytes = 0;
    for (i = 0; i < p->instr_count; i++) {
        if (p->instr[i].kind != AF_INSTR_MATMUL) continue;
        af__cuda_most(&bytes, AF__CUDA_BLAS_SMALL);
        if (af__cuda_product_of(p->instr[i].dim, 0, p->instr[i].rank) > (size_t)1 << 24)
            af__cuda_most(&bytes, AF__CUDA_BLAS_LARGE);
    }
    return bytes;
}

/* To the device; waits, as `from` may go. */
static af_status af__cuda_upload(const af__cuda *cuda, void *to, const void *from, size_t bytes) {
    af_status s;
    if (bytes == 0) return AF_OK;
    s = af__cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cuda->stream),
                       "copying a program", bytes);
    return s == AF_OK ? af__cuda_wait(cuda) : s;
}

/* Constant data in the program's precision. */
static af_status af__cuda_tensor(const af__cuda *cuda, const af_buffer *b, void *to) {
    size_t bytes = b->size * sizeof(float), i;
    af_status s;
    float *single;
    if (cuda->program->precision == AF_F64)
        return af__cuda_upload(cuda, to, b->data, b->size * sizeof(double));
    single = (float *)cuda->allocator.allocate(bytes, cuda->allocator.user);
    if (!single) return AF_ERROR_MEMORY;
    for (i = 0; i < b->size; i++) single[i] = (float)b->data[i];
    s = af__cuda_upload(cuda, to, single, bytes);
    cuda->allocator.release(single, bytes, cuda->allocator.user);
    return s;
}

/* Takes `bytes` of the device's memory: adds them to *top, and where there is memory returns where
 * they begin. */
static char *af__cuda_take(const af__cuda *cuda, size_t bytes, size_t *top) {
    char *at = cuda->memory ? cuda->memory + *top : NULL;
    *top += af__cuda_align(bytes);
    return at;
}

/* Where everything lies on the device; called first without memory, to count its bytes. */
static size_t af__cuda_layout(af__cuda *cuda) {
    const af_program *p = cuda->program;
    af__cuda_counts n = af__cuda_count(p);
    size_t i, top = 0, scratch = 0;
    char *work = af__cuda_take(cuda, p->work_size * cuda->real, &top);
    for (i = 0; i < p->buffer_count; i++) {
        const af_buffer *b = &p->buffer[i];
        if (b->kind == AF_BUFFER_WORK && work) cuda->base[i] = work + b->offset * cuda->real;
        if (b->kind == AF_BUFFER_TENSOR)
            cuda->base[i] = af__cuda_take(cuda, b->size * cuda->real, &top);
    }
    for (i = 0; i < p->instr_count; i++)
        af__cuda_most(&scratch, af__cuda_scratch(p, &p->instr[i], cuda->real));
    cuda->scratch = af__cuda_take(cuda, scratch, &top);
    cuda->micro = (af_micro *)(void *)af__cuda_take(cuda, n.micros * sizeof(af_micro), &top);
    cuda->store = (uint16_t *)(void *)af__cuda_take(cuda, n.stores * sizeof(uint16_t), &top);
    cuda->array = (af__cuda_array *)(void *)af__cuda_take(
        cuda, n.operands * sizeof(af__cuda_array), &top);
    cuda->blas_memory = af__cuda_take(cuda, cuda->blas_bytes, &top);
    return top;
}

/* Allocates the device's memory and puts into it what never changes. */
static af_status af__cuda_fill(af__cuda *cuda) {
    const af_program *p = cuda->program;
    af__cuda_counts n = af__cuda_count(p);
    size_t bytes = af__cuda_layout(cuda), i;
    af_status s = af__cuda_check(cudaMalloc((void **)&cuda->memory, bytes + 1),
                                 "allocating the memory of a function", bytes);
    if (s != AF_OK) return s;
    af__cuda_layout(cuda);
    s = af__cuda_upload(cuda, cuda->micro, p->micro, n.micros * sizeof *p->micro);
    if (s == AF_OK)
        s = af__cuda_upload(cuda, cuda->store, p->store, n.stores * sizeof *p->store);
    for (i = 0; i < p->buffer_count && s == AF_OK; i++)
        if (p->buffer[i].kind == AF_BUFFER_TENSOR)
            s = af__cuda_tensor(cuda, &p->buffer[i], cuda->base[i]);
    return s;
}

static af_status af__cuda_begin(af__cuda *cuda) {
    af_status s = af__cuda_check(cudaGetDevice(&cuda->device), "finding the device", 0);
    if (s == AF_OK) s = af__cuda_check_program(cuda->program);
    cuda->blas_bytes = af__cuda_blas_bytes(cuda->program);
    if (s == AF_OK)
        s = af__cuda_check(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking),
                           "creating a stream", 0);
    if (s == AF_OK) s = af__cuda_fill(cuda);
    if (s != AF_OK || cuda->blas_bytes == 0) return s;
    s = af__cuda_check_blas(cublasCreate(&cuda->blas), "beginning");
    if (s == AF_OK) s = af__cuda_check_blas(cublasSetStream(cuda->blas, cuda->stream), "a stream");
    if (s == AF_OK)
        s = af__cuda_check_blas(
            cublasSetWorkspace(cuda->blas, cuda->blas_memory, cuda->blas_bytes), "a workspace");
    return s;
}

static af_status af__cuda_open(const af_program *p, const af_allocator *allocator, int threads,
                               void **state) {
    size_t bytes = sizeof(af__cuda) + af__cuda_host_bytes(p);
    af__cuda *cuda = (af__cuda *)allocator->allocate(bytes, allocator->user);
    af_status s;
    (void)threads;
    *state = NULL;
    af__cuda_sentence[0] = 0;
    if (!cuda) return AF_ERROR_MEMORY;
    memset((void *)cuda, 0, bytes);
    cuda->program = p;
    cuda->allocator = *allocator;
    cuda->real = p->precision == AF_F64 ? sizeof(double) : sizeof(float);
    cuda->array_host = (af__cuda_array *)(void *)(cuda + 1);
    cuda->base = (void **)(void *)(cuda->array_host + af__cuda_count(p).operands);
    cuda->given = (const void **)(void *)(cuda->base + p->buffer_count);
    cuda->staged_at = (size_t *)(void *)(cuda->given + af__cuda_ends(p));
    s = af__cuda_begin(cuda);
    if (s == AF_OK) *state = cuda;
    else af__cuda_close(p, cuda);
    return s;
}

/* ---- running ---- */

/* The array's place on the device, NULL for the host's memory. */
static const void *af__cuda_resident(const void *array) {
    cudaPointerAttributes a;
    if (cudaPointerGetAttributes(&a, array) != cudaSuccess) {
        cudaGetLastError();
        return NULL;
    }
    return a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged ? a.devicePointer
                                                                            : NULL;
}

/* Notes which arrays are on the device; 1 when that is not as it was at the last run. */
static int af__cuda_look(af__cuda *cuda, const void *const *inputs, void *const *outputs) {
    size_t inputs_count = cuda->program->input_count, i;
    int changed = 0;
    for (i = 0; i < af__cuda_ends(cuda->program); i++) {
        const void *array = i < inputs_count ? inputs[i] : outputs[i - inputs_count];
        const void *at = af__cuda_resident(array);
        changed = changed || at != cuda->given[i];
        cuda->given[i] = at;
    }
    return changed;
}

/* Memory for the inputs and outputs that are not used where they are: for each a place on the
 * device, for the host's another in its pinned memory, from which copies are fast and need not be
 * waited for. */
static af_status af__cuda_stage(af__cuda *cuda) {
    const af_program *p = cuda->program;
    size_t top[AF__CUDA_GIVEN], bytes = 0, i;
    int place;
    af_status s;
    for (place = 0; place < (int)AF__CUDA_GIVEN; place++) {
        for (i = 0; i < p->buffer_count; i++) {
            const af_buffer *b = &p->buffer[i];
            if (b->kind != AF_BUFFER_INPUT && b->kind != AF_BUFFER_OUTPUT) continue;
            if ((int)af__cuda_where_of(cuda, b) != place) continue;
            cuda->staged_at[af__cuda_end(cuda, b)] = bytes;
            bytes += af__cuda_align(b->size * cuda->real);
        }
        top[place] = bytes;
    }
    cuda->staged_in = top[AF__CUDA_STAGED_IN];
    if (bytes == cuda->staged_bytes && cuda->staged_ends == top[AF__CUDA_STAGED_OUT]) return AF_OK;
    cuda->staged_ends = top[AF__CUDA_STAGED_OUT];
    if (cuda->staged) cudaFree(cuda->staged);
    if (cuda->staged_host) cudaFreeHost(cuda->staged_host);
    cuda->staged = cuda->staged_host = NULL;
    cuda->staged_bytes = 0;
    if (bytes == 0) return AF_OK;
    s = af__cuda_check(cudaMalloc((void **)&cuda->staged, bytes),
                       "allocating memory for inputs and outputs", bytes);
    if (s == AF_OK && cuda->staged_ends > 0)
        s = af__cuda_check(cudaMallocHost((void **)&cuda->staged_host, cuda->staged_ends),
                           "allocating pinned memory for inputs and outputs", cuda->staged_ends);
    if (s == AF_OK) cuda->staged_bytes = bytes;
    return s;
}

/* Tells everything where the inputs and outputs are. */
static af_status af__cuda_place(af__cuda *cuda) {
    const af_program *p = cuda->program;
    size_t i, k, operands = af__cuda_count(p).operands;
    af_status s = af__cuda_stage(cuda);
    for (i = 0; i < p->buffer_count && s == AF_OK; i++) {
        const af_buffer *b = &p->buffer[i];
        size_t end = af__cuda_end(cuda, b);
        if (b->kind != AF_BUFFER_INPUT && b->kind != AF_BUFFER_OUTPUT) continue;
        cuda->base[i] = af__cuda_where_of(cuda, b) == AF__CUDA_GIVEN
                            ? const_cast<void *>(cuda->given[end])
                            : cuda->staged + cuda->staged_at[end];
    }
    for (i = 0; i < p->instr_count && s == AF_OK; i++) {
        const af_instr *instr = &p->instr[i];
        if (instr->kind != AF_INSTR_TILE) continue;
        for (k = instr->operand; k < instr->operand + instr->loads + instr->stores; k++) {
            af__cuda_array *a = &cuda->array_host[k];
            a->at = af__cuda_at(cuda, &p->operand[k]);
            memcpy(a->stride, p->operand[k].stride, sizeof a->stride);
            a->flat = af__cuda_is_flat(instr, a->stride);
        }
    }
    if (s != AF_OK) return s;
    return af__cuda_upload(cuda, cuda->array, cuda->array_host, operands * sizeof *cuda->array);
}

/* Records what af__cuda_issue does as a graph. Other threads may use CUDA meanwhile. Where it fails
 * the function is slower, no more; af_error_cuda tells why. */
static af_status af__cuda_record(af__cuda *cuda) {
    cudaGraph_t graph = NULL;
    af_status s = af__cuda_check(
        cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal), "recording", 0);
    cudaError_t end;
    if (s != AF_OK) return s;
    s = af__cuda_issue(cuda);
    end = cudaStreamEndCapture(cuda->stream, &graph); /* also after a failure, of which it tells */
    if (s == AF_OK) s = af__cuda_check(end, "recording", 0);
    else cudaGetLastError();
    if (s == AF_OK)
        s = af__cuda_check(cudaGraphInstantiate(&cuda->graph, graph, 0), "recording", 0);
    if (graph) cudaGraphDestroy(graph);
    return s;
}

/* An element of the caller's array. */
static size_t af__cuda_real_of(const af__cuda *cuda, const af_buffer *b) {
    return b->wide ? sizeof(double) : cuda->real;
}

/* Between the caller's arrays of the host and the staged ones. */
static void af__cuda_copy(const af__cuda *cuda, af_buffer_kind kind, const void *const *inputs,
                          void *const *outputs) {
    const af_program *p = cuda->program;
    size_t i, k;
    for (i = 0; i < p->buffer_count; i++) {
        const af_buffer *b = &p->buffer[i];
        char *staged;
        if (b->kind != kind || cuda->given[af__cuda_end(cuda, b)]) continue;
        staged = cuda->staged_host + cuda->staged_at[af__cuda_end(cuda, b)];
        if (kind == AF_BUFFER_INPUT && b->wide)
            for (k = 0; k < b->size; k++)
                ((float *)(void *)staged)[k] = (float)((const double *)inputs[b->index])[k];
        else if (b->wide)
            for (k = 0; k < b->size; k++)
                ((double *)outputs[b->index])[k] = (double)((const float *)(void *)staged)[k];
        else if (kind == AF_BUFFER_INPUT)
            memcpy(staged, inputs[b->index], b->size * cuda->real);
        else
            memcpy(outputs[b->index], staged, b->size * cuda->real);
    }
}

/* All bits set, NaN, in the outputs that are the host's; arrays of the device, the parameters of a
 * training among them, stay as they are. */
static void af__cuda_spoil(const af__cuda *cuda, void *const *outputs) {
    const af_program *p = cuda->program;
    size_t i;
    for (i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].kind == AF_BUFFER_OUTPUT &&
            !cuda->given[af__cuda_end(cuda, &p->buffer[i])])
            memset(outputs[p->buffer[i].index], 0xff,
                   p->buffer[i].size * af__cuda_real_of(cuda, &p->buffer[i]));
}

static af_status af__cuda_try(af__cuda *cuda, const void *const *inputs, void *const *outputs) {
    af_status s = AF_OK;
    if (cuda->runs == 0) {
        if (cuda->graph) cudaGraphExecDestroy(cuda->graph);
        cuda->graph = NULL;
        cuda->unrecorded = 0;
        s = af__cuda_place(cuda);
        if (s != AF_OK) return s;
    }
    af__cuda_copy(cuda, AF_BUFFER_INPUT, inputs, outputs);
    if (cuda->runs > 0 && !cuda->graph && !cuda->unrecorded)
        cuda->unrecorded = af__cuda_record(cuda) != AF_OK;
    if (cuda->graph) s = af__cuda_check(cudaGraphLaunch(cuda->graph, cuda->stream), "running", 0);
    else s = af__cuda_issue(cuda);
    if (s == AF_OK) s = af__cuda_wait(cuda);
    if (s == AF_OK) {
        af__cuda_copy(cuda, AF_BUFFER_OUTPUT, inputs, outputs);
        cuda->runs = 1;
    } else {
        cudaStreamSynchronize(cuda->stream); /* what was queued still uses the arrays */
    }
    return s;
}

static af_status af__cuda_run(const af_program *p, void *state, const void *const *inputs,
                              void *const *outputs) {
    af__cuda *cuda = (af__cuda *)state;
    int before;
    af_status s = af__cuda_enter(cuda, &before);
    (void)p;
    if (af__cuda_look(cuda, inputs, outputs)) cuda->runs = 0;
    if (s == AF_OK) s = af__cuda_try(cuda, inputs, outputs);
    if (s != AF_OK) af__cuda_spoil(cuda, outputs);
    af__cuda_leave(cuda, before);
    return s;
}

/* Memory of the device that the host can use: pages go where they are used. */
static void *af__cuda_allocate(size_t bytes, void *) {
    void *at = NULL;
    af_status s = af__cuda_check(cudaMallocManaged(&at, bytes, cudaMemAttachGlobal),
                                 "allocating memory for parameters", bytes);
    return s == AF_OK ? at : NULL;
}

static void af__cuda_release(void *at, size_t, void *) {
    if (at) cudaFree(at);
}

/* Whether the host may read memory that it shares with a device while another thread computes. */
static int af__cuda_shares(void) {
    int device = 0, shares = 0;
    if (cudaGetDevice(&device) == cudaSuccess &&
        cudaDeviceGetAttribute(&shares, cudaDevAttrConcurrentManagedAccess, device) == cudaSuccess)
        return shares;
    cudaGetLastError();
    return 0;
}

AF_API const af_backend *af_backend_cuda(void) {
    static const af_allocator memory = {af__cuda_allocate, af__cuda_release, NULL};
    static const af_backend cuda[2] = {
        {"cuda", af__cuda_open, af__cuda_run, af__cuda_close, af_error_cuda, NULL, 1},
        {"cuda", af__cuda_open, af__cuda_run, af__cuda_close, af_error_cuda, &memory, 1}};
    int count = 0;
    af_status s = af__cuda_check(cudaGetDeviceCount(&count), "looking for a device", 0);
    if (s == AF_OK && count == 0)
        s = af__cuda_check(cudaErrorNoDevice, "looking for a device", 0);
    if (s == AF_OK) s = af__cuda_check(af__cuda_find_kernels(), "looking for the kernels", 0);
    return s == AF_OK ? &cuda[af__cuda_shares() != 0] : NULL;
}
