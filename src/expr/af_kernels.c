/* ---- the CPU backend: what its kernels share ----------------------------------------------------
 *
 * The kernels are compiled for each instruction set that the compiler can make, whatever it was
 * told about the target, and chosen when a workspace is made. */

#include <float.h>

#ifdef __CUDACC__ /* its front end does not know GCC's pragmas; the compiler behind it does */
#  pragma nv_diagnostic push
#  pragma nv_diag_suppress 1675
#endif

#define AF__ISA_PLAIN 0  /* vectors of 16 bytes: SSE2 on x86-64, NEON on aarch64 */
#define AF__ISA_AVX2 1   /* with fused multiply-add */
#define AF__ISA_AVX512 2 /* F, DQ, BW, VL */

#if defined(__x86_64__) && !defined(AF_NO_AVX)
#  define AF__HAVE_AVX
#  include <immintrin.h>
#endif

#define AF__INLINE static inline __attribute__((always_inline, unused))

enum {
    AF__TILE_BYTES = 32768, /* the tile registers of a fused run, in the first-level cache */
    AF__TILE_MAX = 1024,    /* elements of a tile */
    AF__REGISTERS = AF__GROUP_LOADS + AF__GROUP_MICROS,
    AF__OPERANDS = AF__GROUP_LOADS + AF__GROUP_STORES + AF__GROUP_MICROS, /* of a fused run */
    AF__CHUNK = 32768       /* elements of a fused run that are worth a chunk of their own */
};

typedef struct af__kernels af__kernels;

/* A workspace of the CPU backend. */
typedef struct af__cpu {
    const af_program *program;
    const af__kernels *kernels; /* of the instruction set and the program's precision */
    af_allocator allocator;
    int threads;
    void *memory;  /* work buffers, scratch, then the tensors in the program's precision */
    void *scratch; /* of matrix products: packed panels, then partial results */
    size_t bytes;
    void **base;   /* where each buffer begins; inputs and outputs are set at each run */
} af__cpu;

/* One instruction being run in chunks. */
typedef struct af__job {
    const af__cpu *cpu;
    const af_instr *instr;
    size_t total; /* elements, or outputs of a sum */
    size_t chunk; /* of them a chunk */
    size_t depth; /* elements summed for one output */
} af__job;

/* ---- matrix products: geometry ----
 *
 * C (M,N) = A (M,K) B (K,N), any strides for A and B. The kernel keeps a block of AF__MR rows and a
 * few vectors of C in registers. A unit of work is a block of rows times a block of columns times a
 * part of the depth; parts are added in order afterwards. */

enum {
    AF__MR = 6,            /* rows in registers: with 4 vectors a row 24 of 32 registers add up */
    AF__UNIT_ROWS = 96,    /* rows of a unit: a panel of B is read once for all of them */
    AF__UNIT_ROWS_MAX = 192, /* where A and B are deep and each unit packs B for itself */
    AF__ROWS_TO_PACK = 768,  /* more rows than this: all of B is packed first, once */
    AF__UNIT_COLUMNS = 512,
    AF__UNITS = 24,        /* fewer units of work than this: the depth is cut too ... */
    AF__PART_DEPTH = 512,  /* ... in parts of at least this */
    AF__DEPTH = 128,       /* a panel of B, at most 32 kB, stays in the first-level cache */
    AF__AHEAD = 8,         /* rows that are fetched ahead while packing */
    AF__NEAR = 1024,       /* bytes: what is not farther apart is multiplied where it is */
    AF__PRODUCT_TINY = 512,  /* multiplications; below, loops cost less than kernels */
    AF__PRODUCT_ROWS = 8,    /* rows of A for which it does not pay to transpose B */
    AF__PRODUCT_SHARED = 1 << 20 /* below this one thread: waking others costs more */
};

typedef struct af__product {
    const af__cpu *cpu;
    const void *a, *b;
    void *c, *packed, *partial;
    size_t m, n, k;
    size_t a_row, a_column, b_row, b_column; /* strides */
    size_t block_rows, row_blocks, block_columns, column_blocks, parts, part_depth;
    int pack;             /* B is packed before, once; else by each unit that needs it */
    const af_instr *then; /* a fused run on each block of finished rows, or NULL */
} af__product;

/* One step of an optimiser (af_adam.c). */
typedef struct af__adam_step {
    double *x, *first, *second;
    const double *gradient;
    double scale;        /* of the gradient */
    double beta1, beta2, epsilon;
    double length;       /* rate / correction of the first moment */
    double correction;   /* of the second moment */
    double rectified;    /* 0: the second moment is not used */
    double decay;
} af__adam_step;

/* A Cholesky factor being made (af_cholesky.c): R^T R = A, the upper triangle of R in strips of
 * AF__STRIP columns, (n,AF__STRIP) each, one after the other. The head stands before them: the
 * columns that are too many, (n,head). */
enum { AF__STRIP = 24 }; /* in registers: 8 rows of 3 vectors of 8, or 4 of half of it */

typedef struct af__factor {
    double *r;
    size_t n, head;     /* head < AF__STRIP, n - head is a multiple of it */
    size_t first, last; /* rows of the panel that is made, or taken from what is below it */
} af__factor;

static size_t af__factor_stride(const af__factor *f, size_t column) {
    return column < f->head ? f->head : (size_t)AF__STRIP;
}

static double *af__factor_at(const af__factor *f, size_t row, size_t column) {
    size_t within = column < f->head ? column : (column - f->head) % AF__STRIP;
    return f->r + (column - within) * f->n + row * af__factor_stride(f, column) + within;
}

/* The kernels of one instruction set and one precision. */
struct af__kernels {
    size_t real;    /* bytes of an element */
    size_t lanes;   /* elements of a vector */
    size_t columns; /* of the register block */
    void (*tile)(const af__cpu *cpu, const af_instr *instr, size_t begin, size_t end);
    void (*sum)(size_t chunk, void *job);
    void (*sum_parts)(void *out, const void *part, size_t n, size_t parts);
    void (*rows)(const af__cpu *cpu, const af_instr *instr);
    void (*adam)(const af__adam_step *step, size_t begin, size_t end); /* f64 alone */
    double (*square_sum)(const double *x, size_t n);
    int (*factor_rows)(const af__factor *f, size_t strip, size_t begin, size_t end);
    void (*factor_forward)(const af__factor *f, size_t strip, double *x);
    void (*factor_back)(const af__factor *f, size_t strip, double *x);
    void (*product_tiny)(const af__product *g);
    void (*product_row)(const af__product *g);
    void (*product_dots)(const af__product *g);
    void (*product_pack)(size_t panel, void *product);
    void (*product_unit)(size_t unit, void *product);
};

/* Elements of packed B: its columns are filled up to whole vectors. */
static size_t af__packed_size(const af__kernels *kernels, const af__product *g) {
    return g->pack ? g->k * af__round_up(g->n, kernels->lanes) : 0;
}

/* How a product is cut: a function of its shape alone, so that results are too. Rows that a fused
 * run follows stay whole. */
static void af__product_cut(const af__kernels *kernels, af__product *g) {
    size_t units;
    g->pack = g->m > AF__ROWS_TO_PACK && g->m >= g->k;
    g->block_rows = g->k > g->m ? AF__UNIT_ROWS_MAX : AF__UNIT_ROWS;
    units = (g->m + g->block_rows - 1) / g->block_rows; /* of equal heights */
    g->block_rows = af__round_up((g->m + units - 1) / units, AF__MR);
    g->block_columns = g->then ? g->n : af__round_up(AF__UNIT_COLUMNS, kernels->columns);
    g->column_blocks = (g->n + g->block_columns - 1) / g->block_columns;
    g->row_blocks = (g->m + g->block_rows - 1) / g->block_rows;
    units = g->row_blocks * g->column_blocks;
    g->parts = 1;
    if (!g->then && units < AF__UNITS && g->k >= 2 * AF__PART_DEPTH)
        g->parts = af__clamp((AF__UNITS + units - 1) / units, 1, g->k / AF__PART_DEPTH);
    g->part_depth = af__round_up((g->k + g->parts - 1) / g->parts, AF__DEPTH);
    g->parts = (g->k + g->part_depth - 1) / g->part_depth;
}
