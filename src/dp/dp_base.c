/* ---- base: memory of objects, errors -------------------------------------------------------- */

#include <float.h>
#include <math.h>
#include <string.h>

#ifdef __cplusplus
#  define DP__ZERO {}
#else
#  define DP__ZERO {0}
#endif

#if defined(__GNUC__) || defined(__clang__)
#  define DP__UNUSED __attribute__((unused))
#else
#  define DP__UNUSED
#endif

#define DP__PI 3.14159265358979323846

/* All that an object owns, freed in one call. */
typedef struct dp__block {
    struct dp__block *next;
    size_t bytes;
} dp__block;

typedef struct dp__arena {
    af_allocator allocator;
    dp__block *blocks;
} dp__arena;

enum { DP__ALIGNMENT = 64 };

/* Zeroed, 64-byte aligned memory for count elements, also for none; NULL when there is none. */
static void *dp__alloc(dp__arena *arena, size_t count, size_t size) {
    size_t bytes, header = sizeof(dp__block) + DP__ALIGNMENT, misfit;
    dp__block *block;
    char *memory;
    if (count > (SIZE_MAX / 4 - header) / size) return NULL;
    bytes = header + (count ? count : 1) * size;
    block = (dp__block *)arena->allocator.allocate(bytes, arena->allocator.user);
    if (!block) return NULL;
    block->bytes = bytes;
    block->next = arena->blocks;
    arena->blocks = block;
    memory = (char *)block + sizeof *block;
    misfit = (size_t)((uintptr_t)memory % DP__ALIGNMENT);
    memory += misfit ? DP__ALIGNMENT - misfit : 0;
    memset(memory, 0, (count ? count : 1) * size);
    return memory;
}

#define DP__NEW(arena, type) ((type *)dp__alloc((arena), 1, sizeof(type)))
#define DP__ARRAY(arena, type, count) ((type *)dp__alloc((arena), (count), sizeof(type)))

static void dp__arena_free(dp__arena *arena) {
    while (arena->blocks) {
        dp__block *block = arena->blocks;
        arena->blocks = block->next;
        arena->allocator.release(block, block->bytes, arena->allocator.user);
    }
}

static dp__arena dp__arena_open(const af_context *c) {
    dp__arena arena = DP__ZERO;
    arena.allocator = af_context_allocator(c);
    return arena;
}

DP__UNUSED static af_status dp__fail_memory(af_context *c, const char *what) {
    return af_fail(c, AF_ERROR_MEMORY, "out of memory: %s", what);
}

/* x - x is NaN for NaN and for infinity; -ffast-math is not supported. */
DP__UNUSED static int dp__is_finite(double x) { return x - x == 0.0; }

/* Orders rows (n,width) about the k-th smallest of a column, k < n: no row before it is larger
 * there, none after it smaller (Hoare's quickselect). */
static void dp__select(double *rows, size_t n, size_t width, size_t column, size_t k) {
    size_t low = 0, high = n, w; /* the k-th lies in [low, high) */
    while (high - low > 1) {
        double pivot = rows[(low + (high - low) / 2) * width + column];
        size_t i = low, j = high; /* none before i is larger than the pivot, none from j smaller */
        while (i < j) {
            while (rows[i * width + column] < pivot) i++;
            while (rows[(j - 1) * width + column] > pivot) j--;
            if (i >= j) break;
            for (w = 0; w < width; w++) {
                double swap = rows[i * width + w];
                rows[i * width + w] = rows[(j - 1) * width + w];
                rows[(j - 1) * width + w] = swap;
            }
            i++;
            j--;
        }
        if (k < j) high = j;
        else if (k >= i) low = i;
        else return;
    }
}

/* The median of n > 0 values, whose order changes. */
static double dp__median(double *values, size_t n) {
    double below = -HUGE_VAL;
    size_t i;
    dp__select(values, n, 1, 0, n / 2);
    if (n % 2) return values[n / 2];
    for (i = 0; i < n / 2; i++) below = fmax(below, values[i]);
    return 0.5 * (below + values[n / 2]);
}

/* For qsort: by the first number of each element. */
static int dp__ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Cholesky: L L^T = l (n,n) in its place, lower triangles; 0 when it is not positive. */
static int dp__factorise(size_t n, double *l) {
    size_t i, j, k;
    for (i = 0; i < n; i++)
        for (j = 0; j <= i; j++) {
            const double *a = l + i * n, *b = l + j * n;
            double sum = a[j];
            for (k = 0; k < j; k++) sum -= a[k] * b[k];
            if (i == j && !(sum > 0.0)) return 0;
            l[i * n + j] = i == j ? sqrt(sum) : sum / b[j];
        }
    return 1;
}

/* x (n) becomes (L L^T)^-1 x. */
static void dp__factor_solve(size_t n, const double *l, double *x) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        for (k = 0; k < i; k++) x[i] -= l[i * n + k] * x[k];
        x[i] /= l[i * n + i];
    }
    for (i = n; i-- > 0;) {
        x[i] /= l[i * n + i];
        for (k = 0; k < i; k++) x[k] -= l[i * n + k] * x[i];
    }
}

AF_API const char *dp_version(void) { return DP_VERSION; }
