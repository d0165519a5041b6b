/* ---- matrix products: geometry ------------------------------------------------------------------
 *
 * Vectors are as wide as the target of the compilation allows; the register block AF__MR x (AF__NV
 * vectors) fills its registers. */

#if defined(__AVX512F__)
#  define AF__VECTOR_BYTES 64
#  define AF__MR 8
#elif defined(__AVX__)
#  define AF__VECTOR_BYTES 32
#  define AF__MR 4
#elif defined(__aarch64__)
#  define AF__VECTOR_BYTES 16
#  define AF__MR 8
#else
#  define AF__VECTOR_BYTES 16
#  define AF__MR 4
#endif
#if AF__MR == 8
#  define AF__ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#else
#  define AF__ROWS(X) X(0) X(1) X(2) X(3)
#endif

enum {
    AF__NV = 3,           /* vectors in a row of the register block */
    AF__GEMM_ROWS = 64,   /* rows of A packed at a time: with the depth 128 kB, second cache */
    AF__GEMM_DEPTH = 256,
    AF__GEMM_COLUMNS = 512,
    AF__GEMM_UNITS = 8,   /* fewer units of work than this: the depth is cut too */
    AF__GEMM_SMALL = 16384, /* products below this are done without packing */
    AF__GEMM_SHARED = 1 << 21 /* and below this by one thread: waking others costs more */
};

typedef struct af__gemm {
    const void *a, *b;
    void *c, *packed, *partial;
    size_t m, n, k;
    size_t a_row, a_column, b_row, b_column; /* strides */
    size_t row_blocks, block_columns, column_blocks, parts, part_depth;
    int small;
} af__gemm;

/* How the product of reals of `real` bytes is cut; a function of its shape alone, so that results
 * are too. */
static void af__gemm_cut(size_t real, af__gemm *g) {
    size_t lanes = AF__VECTOR_BYTES / real;
    size_t nr = AF__NV * lanes, units;
    g->small = g->m < 4 || g->m * g->n * g->k <= AF__GEMM_SMALL;
    g->block_columns = g->small ? 1024 : af__round_up(AF__GEMM_COLUMNS, nr);
    g->column_blocks = (g->n + g->block_columns - 1) / g->block_columns;
    g->row_blocks = (g->m + AF__GEMM_ROWS - 1) / AF__GEMM_ROWS;
    units = g->row_blocks * g->column_blocks;
    g->parts = 1;
    if (!g->small && units < AF__GEMM_UNITS && g->k >= 4 * AF__GEMM_DEPTH)
        g->parts = af__clamp(g->k / (2 * AF__GEMM_DEPTH), 1, 16);
    g->part_depth = af__round_up((g->k + g->parts - 1) / g->parts, AF__GEMM_DEPTH);
    g->parts = (g->k + g->part_depth - 1) / g->part_depth;
}

/* Parts of the depth, and elements of scratch memory: packed B, then the parts' results. */
static void af__gemm_plan(size_t real, size_t m, size_t n, size_t depth, size_t *parts,
                          size_t *scratch) {
    af__gemm g = AF__ZERO;
    size_t lanes = AF__VECTOR_BYTES / real;
    g.m = m;
    g.n = n;
    g.k = depth;
    af__gemm_cut(real, &g);
    *parts = g.parts;
    *scratch = g.small ? 0 : depth * af__round_up(n, AF__NV * lanes);
    if (g.parts > 1) *scratch += g.parts * m * n;
}
