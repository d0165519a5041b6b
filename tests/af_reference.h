/* Programs beside the naive interpreter of library.c, random graphs: what the tests of the
 * expression floor share. Include it after the library and af_test.h. */
#ifndef AF_REFERENCE_H
#define AF_REFERENCE_H

#include "af_heap.h"
#include "af_private.h"

/* NULL: the default allocator. */
static inline af_context *test_context(heap *memory) {
    af_context *c = NULL;
    if (memory) return heap_context(memory, 0);
    af_context_create(NULL, &c);
    return c;
}

/* ---- running: numbers in and out as double, arithmetic in `precision` ---- */

enum { TEST_OUTPUTS = 512, TEST_INPUTS = 16 };

static inline void *test_convert(af_precision precision, const double *x, size_t n) {
    size_t i;
    float *f;
    double *d = test_array(n);
    f = (float *)d;
    for (i = 0; i < n; i++) {
        if (precision == AF_F64) d[i] = x ? x[i] : NAN;
        else f[i] = x ? (float)x[i] : (float)NAN;
    }
    return d;
}

/* What test_compute compiles for; NULL: the best that the processor has. */
static const af_backend *test_backend;

/* Calls run() for the kernels of each instruction set that the processor has; compiled for CUDA,
 * for those of af_cuda.cu instead. */
static inline void each_instruction_set(void (*run)(void)) {
#ifdef AF_CUDA
    test_backend = af_backend_cuda();
    printf("  -- %s\n", test_backend ? test_backend->name : af_error_cuda());
    if (test_backend) run();
    else test_failed++;
#else
    int set;
    for (set = AF_SET_PLAIN; set <= AF_SET_AVX512; set++) {
        test_backend = af_backend_cpu_set((af_instruction_set)set);
        if (!test_backend) continue;
        printf("  -- %s\n", test_backend->name);
        run();
    }
#endif
    test_backend = NULL;
}

/* Compiles and runs; results[i] is allocated here. False when that fails. */
static inline int test_compute(af_context *c, af_precision precision, int threads, size_t inputs,
                               const af_expr *in, const double *const *data, size_t outputs,
                               const af_expr *out, double **results) {
    af_func_desc desc;
    af_func *f = NULL;
    af_workspace *w = NULL;
    void *from[TEST_INPUTS], *to[TEST_OUTPUTS];
    size_t i, k;
    af_status status;
    memset(&desc, 0, sizeof desc);
    desc.inputs = in;
    desc.input_count = inputs;
    desc.outputs = out;
    desc.output_count = outputs;
    desc.precision = precision;
    desc.backend = test_backend;
    for (i = 0; i < outputs; i++) results[i] = test_array(af_size(c, out[i]));
    status = af_compile(c, &desc, &f);
    if (status == AF_OK) status = af_workspace_create(f, threads, &w);
    if (status != AF_OK) {
        printf("  compile: %s\n", af_error(c));
        test_broken++;
        af_func_destroy(f);
        return 0;
    }
    for (i = 0; i < inputs; i++) from[i] = test_convert(precision, data[i], af_size(c, in[i]));
    for (i = 0; i < outputs; i++) to[i] = test_convert(precision, NULL, af_size(c, out[i]));
    for (k = 0; k < 2; k++) status = af_run(f, w, (const void *const *)from, to); /* again: reuse */
    for (i = 0; i < outputs; i++)
        for (k = 0; k < af_size(c, out[i]); k++)
            results[i][k] =
                precision == AF_F64 ? ((double *)to[i])[k] : (double)((float *)to[i])[k];
    for (i = 0; i < inputs; i++) free(from[i]);
    for (i = 0; i < outputs; i++) free(to[i]);
    af_workspace_destroy(w);
    af_func_destroy(f);
    CHECK(status == AF_OK);
    return status == AF_OK;
}

static inline void test_free(size_t count, double **x) {
    size_t i;
    for (i = 0; i < count; i++) free(x[i]);
}

/* The largest |a - b| / max(1, |b|); infinity where only one of them is NaN. */
static inline double test_difference(const double *a, const double *b, size_t n) {
    size_t i;
    double worst = 0;
    for (i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]) / (fabs(b[i]) > 1 ? fabs(b[i]) : 1);
        if (a[i] != a[i] && b[i] != b[i]) continue;
        if (a[i] == b[i]) continue;
        if (!(d <= worst)) worst = d == d ? d : INFINITY;
    }
    return worst;
}

/* Compiled program against the naive interpreter; prints and counts what differs. */
static inline int test_agree(af_context *c, af_precision precision, int threads, size_t inputs,
                             const af_expr *in, const double *const *data, size_t outputs,
                             const af_expr *out, double tolerance) {
    double *got[TEST_OUTPUTS], *want[TEST_OUTPUTS];
    size_t i;
    int good = 1;
    reference_compute(c, inputs, in, data, outputs, out, want);
    if (test_compute(c, precision, threads, inputs, in, data, outputs, out, got)) {
        for (i = 0; i < outputs; i++) {
            double d = test_difference(got[i], want[i], af_size(c, out[i]));
            if (d <= tolerance) continue;
            printf("  output %lu, node %lu (", (unsigned long)i, (unsigned long)out[i].id);
            reference_print(c, out[i]);
            printf(") is off by %g (allowed %g)\n", d, tolerance);
            good = 0;
        }
    } else {
        good = 0;
    }
    if (!good) test_broken++;
    test_free(outputs, got);
    test_free(outputs, want);
    return good;
}

/* ---- random graphs ----
 *
 * Values stay below 4 (sines tame what would grow), so that errors do not; discontinuous operations
 * are applied to exact values only: inputs, whose values are multiples of 1/64, and views of them.
 */

enum { POOL_SIZE = 96, POOL_ELEMENTS = 3000 };

typedef struct test_pool {
    af_context *c;
    af_expr x[POOL_SIZE];
    double bound[POOL_SIZE];
    int exact[POOL_SIZE];
    size_t count;
    uint64_t seed, at;
    int smooth; /* only operations that are differentiable everywhere */
} test_pool;

static inline double pool_draw(test_pool *p) { return af_random_uniform(p->seed, 7, p->at++); }

static inline size_t pool_pick(test_pool *p, size_t n) {
    return (size_t)(pool_draw(p) * (double)n);
}

static inline void pool_add(test_pool *p, af_expr x, double bound, int exact) {
    if (p->count == POOL_SIZE) return;
    if (!x.id) {
        printf("  seed %lu: %s\n", (unsigned long)p->seed, af_error(p->c));
        test_broken++;
        return;
    }
    if (af_size(p->c, x) > POOL_ELEMENTS) return;
    if (bound > 4) {
        x = af_sin(p->c, x);
        bound = 1;
        exact = 0;
    }
    p->x[p->count] = x;
    p->bound[p->count] = bound;
    p->exact[p->count++] = exact;
}

/* dims with the given product: its factors, dealt out, and some ones. */
static inline size_t pool_dims(test_pool *p, size_t size, size_t *dims) {
    size_t i, f, rank = 1 + pool_pick(p, AF_RANK_MAX);
    for (i = 0; i < rank; i++) dims[i] = 1;
    for (f = 2; size > 1; f++)
        for (; size % f == 0; size /= f) dims[pool_pick(p, rank)] *= f;
    return rank;
}

/* x cut to length 1 along the axes that do not fit `with`. */
static inline af_expr pool_fit(test_pool *p, af_expr x, af_expr with) {
    size_t a[AF_RANK_MAX], b[AF_RANK_MAX], ra = af_shape(p->c, x, a), rb = af_shape(p->c, with, b),
                                           i;
    for (i = 0; i < ra && i < rb; i++) {
        size_t length = a[ra - 1 - i], other = b[rb - 1 - i];
        if (length != other && length != 1 && other != 1)
            x = af_slice(p->c, x, -1 - (int)i, pool_pick(p, length), 1);
    }
    return x;
}

static inline size_t pool_join_size(af_context *c, af_expr x, af_expr y) {
    size_t a[AF_RANK_MAX], b[AF_RANK_MAX], ra = af_shape(c, x, a), rb = af_shape(c, y, b), i;
    size_t size = 1;
    for (i = 0; i < ra || i < rb; i++) {
        size_t la = i < ra ? a[ra - 1 - i] : 1, lb = i < rb ? b[rb - 1 - i] : 1;
        size *= la > lb ? la : lb;
    }
    return size;
}

/* x reshaped to n elements: cut or padded. */
static inline af_expr pool_resize(test_pool *p, af_expr x, size_t rank, const size_t *dims) {
    size_t i, size = af_size(p->c, x), n = 1;
    for (i = 0; i < rank; i++) n *= dims[i];
    x = af_reshape(p->c, x, 1, &size);
    if (size > n) x = af_slice(p->c, x, 0, pool_pick(p, size - n + 1), n);
    if (size < n) x = af_pad(p->c, x, 0, pool_pick(p, n - size + 1), n);
    return af_reshape(p->c, x, rank, dims);
}

static inline void pool_unary(test_pool *p, af_expr x, double b) {
    af_context *c = p->c;
    af_expr positive = af_offset(c, af_square(c, x), 1.0);
    switch (pool_pick(p, 16)) {
    case 0: pool_add(p, af_neg(c, x), b, 0); break;
    case 1: pool_add(p, af_exp(c, x), exp(b), 0); break;
    case 2: pool_add(p, af_expm1(c, x), exp(b), 0); break;
    case 3: pool_add(p, af_tanh(c, x), 1, 0); break;
    case 4: pool_add(p, af_sech2(c, x), 1, 0); break;
    case 5: pool_add(p, af_sigmoid(c, x), 1, 0); break;
    case 6: pool_add(p, af_softplus(c, x), b + 1, 0); break;
    case 7: pool_add(p, af_sin(c, x), 1, 0); break;
    case 8: pool_add(p, af_cos(c, x), 1, 0); break;
    case 9: pool_add(p, af_atan(c, x), 2, 0); break;
    case 10: pool_add(p, af_log(c, positive), 3, 0); break;
    case 11: pool_add(p, af_log1p(c, af_square(c, x)), 3, 0); break;
    case 12: pool_add(p, af_sqrt(c, positive), b + 1, 0); break;
    case 13: pool_add(p, af_reciprocal(c, positive), 1, 0); break;
    case 14: pool_add(p, af_silu(c, x), b, 0); break;
    default: pool_add(p, af_power(c, x, (unsigned)pool_pick(p, 4)), b * b * b + 1, 0);
    }
}

static inline void pool_jumps(test_pool *p, size_t i, size_t j) {
    af_context *c = p->c;
    af_expr x = p->x[i], y = pool_fit(p, p->x[j], p->x[i]);
    if (p->smooth) return;
    if (pool_join_size(c, x, y) > POOL_ELEMENTS) return;
    switch (pool_pick(p, 8)) {
    case 0:
        if (p->exact[i]) pool_add(p, af_sign(c, x), 1, 1);
        break;
    case 1:
        if (p->exact[i]) pool_add(p, af_floor(c, x), 5, 0);
        break;
    case 2:
        if (p->exact[i] && p->exact[j]) pool_add(p, af_less(c, x, y), 1, 1);
        break;
    case 3: pool_add(p, af_abs(c, x), p->bound[i], p->exact[i]); break;
    case 4: pool_add(p, af_maximum(c, x, y), 4, 0); break;
    case 5: pool_add(p, af_minimum(c, x, y), 4, 0); break;
    case 6: pool_add(p, af_relu(c, x), 4, 0); break;
    default: pool_add(p, af_stop(c, x), p->bound[i], p->exact[i]);
    }
}

static inline void pool_binary(test_pool *p, size_t i, size_t j) {
    af_context *c = p->c;
    af_expr x = p->x[i], y = pool_fit(p, p->x[j], p->x[i]), s;
    double a = p->bound[i], b = p->bound[j];
    if (pool_join_size(c, x, y) > POOL_ELEMENTS) return;
    switch (pool_pick(p, 6)) {
    case 0: pool_add(p, af_add(c, x, y), a + b, 0); break;
    case 1: pool_add(p, af_sub(c, x, y), a + b, 0); break;
    case 2: pool_add(p, af_mul(c, x, y), a * b, 0); break;
    case 3: pool_add(p, af_atan2(c, x, af_offset(c, y, 5.0)), 2, 0); break;
    case 4: pool_add(p, af_div(c, x, af_offset(c, y, 5.0)), a, 0); break;
    default:
        s = pool_fit(p, p->x[0], x); /* an input: exact */
        s = pool_fit(p, s, y);
        if (pool_join_size(c, s, x) > POOL_ELEMENTS || pool_join_size(c, s, y) > POOL_ELEMENTS)
            return;
        if (!p->smooth) pool_add(p, af_where(c, af_sign(c, s), x, y), a > b ? a : b, 0);
        else pool_add(p, af_mul(c, af_mul(c, x, y), y), a * b * b, 0);
    }
}

static inline void pool_view(test_pool *p, size_t i) {
    af_context *c = p->c;
    af_expr x = p->x[i];
    size_t dims[AF_RANK_MAX], axes[AF_RANK_MAX], rank = af_shape(c, x, dims), k, a, n;
    switch (pool_pick(p, 6)) {
    case 0:
        rank = pool_dims(p, af_size(c, x), dims);
        pool_add(p, af_reshape(c, x, rank, dims), p->bound[i], p->exact[i]);
        break;
    case 1:
    case 2:
        for (k = 0; k < rank; k++) axes[k] = k;
        for (k = rank; k > 1; k--) {
            a = pool_pick(p, k);
            n = axes[k - 1];
            axes[k - 1] = axes[a];
            axes[a] = n;
        }
        pool_add(p, af_permute(c, x, axes), p->bound[i], p->exact[i]);
        break;
    case 3:
        for (k = 0; k < rank; k++)
            if (dims[k] == 1 && af_size(c, x) < 500) dims[k] = 1 + pool_pick(p, 4);
        if (rank < AF_RANK_MAX && af_size(c, x) < 500 && pool_draw(p) < 0.5) {
            for (k = rank++; k > 0; k--) dims[k] = dims[k - 1];
            dims[0] = 1 + pool_pick(p, 3);
        }
        pool_add(p, af_broadcast(c, x, rank, dims), p->bound[i], p->exact[i]);
        break;
    case 4:
        if (rank == 0) break;
        a = pool_pick(p, rank);
        n = 1 + pool_pick(p, dims[a]);
        pool_add(p, af_slice(c, x, (int)a, pool_pick(p, dims[a] - n + 1), n), p->bound[i],
                 p->exact[i]);
        break;
    default:
        if (rank == 0) break;
        a = pool_pick(p, rank);
        n = dims[a] + pool_pick(p, 4);
        pool_add(p, af_pad(c, x, (int)a, pool_pick(p, n - dims[a] + 1), n), p->bound[i],
                 p->exact[i]);
    }
}

static inline void pool_linear(test_pool *p, size_t i, size_t j) {
    static const double places[5] = {2, 0, 1, 2, 3};
    af_context *c = p->c;
    af_expr x = p->x[i], part[4];
    size_t dims[AF_RANK_MAX], rank = af_shape(c, x, dims), k, n, five = 5;
    double size = (double)af_size(c, x);
    switch (rank == 0 ? 6 : pool_pick(p, 8)) {
    case 0: /* parts of different lengths, one of them not x itself */
    case 1:
        n = pool_pick(p, rank);
        for (k = 0; k < 4; k++) {
            size_t shape[AF_RANK_MAX];
            af_shape(c, x, shape);
            shape[n] = 1 + pool_pick(p, 3);
            part[k] = k % 2 ? x : pool_resize(p, p->x[j], rank, shape);
        }
        if (pool_draw(p) < 0.5) part[0] = af_concat(c, (int)n, 2, part + 1);
        pool_add(p, af_concat(c, (int)n, 2 + pool_pick(p, 3), part), 4, 0);
        break;
    case 2:
        n = pool_pick(p, rank);
        pool_add(p, af_sum_axis(c, x, (int)n), p->bound[i] * (double)dims[n], 0);
        break;
    case 3: pool_add(p, af_mean_axis(c, x, -1), p->bound[i], 0); break;
    case 4: {
        size_t dim = dims[0];
        part[0] = af_constant_array(c, 1, &five, places);
        if (dim >= 4) pool_add(p, af_gather(c, x, part[0]), p->bound[i], p->exact[i]);
        break;
    }
    case 5:
        dims[0] = 5;
        part[0] = af_constant_array(c, 1, &five, places);
        pool_add(p, af_scatter(c, pool_resize(p, x, rank, dims), part[0], 4 + pool_pick(p, 2)), 8,
                 0);
        break;
    case 6: pool_add(p, af_sum(c, x), p->bound[i] * size, 0); break;
    default:
        pool_add(p, test_sum_mask(c, x, (unsigned)pool_pick(p, (size_t)1 << rank)),
                 p->bound[i] * size, 0);
    }
}

static inline void pool_matmul(test_pool *p, size_t i, size_t j) {
    af_context *c = p->c;
    af_expr x = p->x[i], y = p->x[j];
    size_t dims[AF_RANK_MAX], one[2], rank = af_shape(c, x, dims), k, swap;
    double bound;
    if (rank < 2) return;
    bound = p->bound[i] * p->bound[j] * (double)dims[rank - 1];
    swap = dims[rank - 2];
    dims[rank - 2] = dims[rank - 1];
    dims[rank - 1] = pool_draw(p) < 0.3 ? swap : 1 + pool_pick(p, 9);
    k = pool_draw(p) < 0.5 ? rank - 2 : 0; /* one matrix for all, or a batch */
    if (dims[rank - 1] * af_size(c, x) > 20 * POOL_ELEMENTS) return;
    if (pool_draw(p) < 0.5) {
        y = pool_resize(p, y, rank - k, dims + k);
    } else { /* through a transpose */
        size_t keep = dims[rank - 1];
        dims[rank - 1] = dims[rank - 2];
        dims[rank - 2] = keep;
        y = af_transpose(c, pool_resize(p, y, rank - k, dims + k));
    }
    pool_add(p, af_matmul(c, x, y), bound, 0);
    if (k == 0 && rank > 2) { /* the single matrix on the left */
        af_shape(c, x, dims);
        one[0] = 1 + pool_pick(p, 4);
        one[1] = dims[rank - 2];
        pool_add(p, af_matmul(c, pool_resize(p, p->x[j], 2, one), x), 4 * (double)one[1], 0);
    }
}

static inline void pool_step(test_pool *p) {
    size_t i = pool_pick(p, p->count), j = pool_pick(p, p->count);
    double what = pool_draw(p);
    if (pool_draw(p) < 0.5 && p->count > 6) i = p->count - 1 - pool_pick(p, 5); /* deep graphs */
    if (what < 0.25) pool_unary(p, p->x[i], p->bound[i]);
    else if (what < 0.45) pool_binary(p, i, j);
    else if (what < 0.55) pool_jumps(p, i, j);
    else if (what < 0.75) pool_view(p, i);
    else if (what < 0.9) pool_linear(p, i, j);
    else pool_matmul(p, i, j);
}

/* Numbers for the inputs: multiples of 1/64 in [-2, 2). */
static inline double *pool_numbers(test_pool *p, size_t n) {
    double *x = test_array(n);
    size_t i;
    for (i = 0; i < n; i++) x[i] = floor(pool_draw(p) * 256.0) / 64.0 - 2.0;
    return x;
}

/* Leaves of random shapes: `inputs` inputs, then a constant array and filled constants. */
static inline void pool_begin(test_pool *p, af_context *c, uint64_t seed, size_t inputs,
                              af_expr *in, double **data) {
    size_t i, dims[AF_RANK_MAX], rank;
    double *tensor;
    memset(p, 0, sizeof *p);
    p->c = c;
    p->seed = seed;
    for (i = 0; i < inputs; i++) {
        rank = pool_dims(p, 1 + pool_pick(p, 60), dims);
        in[i] = af_input(c, "in", rank, dims);
        data[i] = pool_numbers(p, af_size(c, in[i]));
        pool_add(p, in[i], 2, 1);
    }
    rank = pool_dims(p, 24, dims);
    tensor = pool_numbers(p, 24);
    pool_add(p, af_constant_array(c, rank, dims, tensor), 2, 1);
    free(tensor);
    pool_add(p, af_full(c, rank, dims, pool_draw(p)), 1, 0);
    pool_add(p, af_random(c, rank, dims, af_constant(c, 5.0), 3), 1, 0);
}

#endif
