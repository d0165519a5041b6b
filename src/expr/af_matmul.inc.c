/* ---- kernels: matrix products ---- */

#if AF__ISA == AF__ISA_AVX512 || defined(__aarch64__)
#  define AF__NV 4 /* vectors in a row of the register block: 24 sums in 32 registers */
#else
#  define AF__NV 2 /* 12 sums in 16 registers */
#endif
#define AF__NR (AF__NV * AF__LANES)

/* A block of A (rows; strides `row`, `column`) and one of B (vectors; stride `step` from row to
 * row), to be multiplied into a block of C. */
typedef struct AF__N(block) {
    size_t depth;
    const AF__REAL *a, *b;
    size_t row, column, step;
    AF__REAL *c;
    size_t stride, width; /* of C; columns that are there */
    int add;              /* to C, or instead of it */
} AF__N(block);

#define AF__FOR_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define AF__ROW_ZERO(i) AF__V c##i##0 = zero, c##i##1 = zero, c##i##2 = zero, c##i##3 = zero;
#define AF__ROW_ADD(i)                                        \
    if (i < rows) {                                           \
        AF__V x = AF__N(splat)(a[i * row]);                   \
        c##i##0 = AF__N(fma)(x, b0, c##i##0);                 \
        if (vectors > 1) c##i##1 = AF__N(fma)(x, b1, c##i##1); \
        if (vectors > 2) c##i##2 = AF__N(fma)(x, b2, c##i##2); \
        if (vectors > 3) c##i##3 = AF__N(fma)(x, b3, c##i##3); \
    }
#define AF__ROW_PUT(i)                                                             \
    if (i < rows) {                                                                \
        AF__N(put_sum)(c, k->width, c##i##0, k->add);                              \
        if (vectors > 1) AF__N(put_sum)(c + n, k->width - n, c##i##1, k->add);     \
        if (vectors > 2) AF__N(put_sum)(c + 2 * n, k->width - 2 * n, c##i##2, k->add); \
        if (vectors > 3) AF__N(put_sum)(c + 3 * n, k->width - 3 * n, c##i##3, k->add); \
        c += k->stride;                                                            \
    }

AF__INLINE void AF__N(put_sum)(AF__REAL *c, size_t left, AF__V sum, int add) {
    if (add) sum = sum + AF__N(get)(c, left);
    AF__N(set)(c, left, sum);
}

/* `rows` and `vectors` are constants where this is called: what they exclude is not compiled. */
AF__INLINE void AF__N(multiply)(const AF__N(block) *k, const int rows, const int vectors) {
    const AF__V zero = AF__N(splat)((AF__REAL)0);
    const AF__REAL *a = k->a, *b = k->b;
    const size_t n = AF__LANES, row = k->row, column = k->column, step = k->step;
    AF__REAL *c = k->c;
    size_t i;
    AF__FOR_ROWS(AF__ROW_ZERO)
    for (i = 0; i < (size_t)rows; i++) { /* C arrives while the sums grow */
        size_t j;
        for (j = 0; j < (size_t)vectors * n; j += 64 / sizeof *c)
            __builtin_prefetch(c + i * k->stride + j, 1);
    }
    for (i = k->depth; i-- > 0; a += column, b += step) {
        AF__V b0 = AF__N(load)(b), b1 = zero, b2 = zero, b3 = zero;
        if (vectors > 1) b1 = AF__N(load)(b + n);
        if (vectors > 2) b2 = AF__N(load)(b + 2 * n);
        if (vectors > 3) b3 = AF__N(load)(b + 3 * n);
        if (rows == AF__MR && i % (64 / sizeof *a) < AF__MR) /* each line of the next rows */
            __builtin_prefetch(a + (AF__MR + i % (64 / sizeof *a)) * row);
        AF__FOR_ROWS(AF__ROW_ADD)
    }
    AF__FOR_ROWS(AF__ROW_PUT)
}

#undef AF__FOR_ROWS
#undef AF__ROW_ZERO
#undef AF__ROW_ADD
#undef AF__ROW_PUT

#if AF__NV == 4
#  define AF__MULTIPLY(rows)                                                   \
      static void AF__N(multiply##rows)(const AF__N(block) *k) {               \
          if (k->width > 3 * AF__LANES) AF__N(multiply)(k, rows, 4);           \
          else if (k->width > 2 * AF__LANES) AF__N(multiply)(k, rows, 3);      \
          else if (k->width > AF__LANES) AF__N(multiply)(k, rows, 2);          \
          else AF__N(multiply)(k, rows, 1);                                    \
      }
#else
#  define AF__MULTIPLY(rows)                                                   \
      static void AF__N(multiply##rows)(const AF__N(block) *k) {               \
          if (k->width > AF__LANES) AF__N(multiply)(k, rows, 2);               \
          else AF__N(multiply)(k, rows, 1);                                    \
      }
#endif
AF__MULTIPLY(6)
AF__MULTIPLY(4)
AF__MULTIPLY(2)
AF__MULTIPLY(1)
#undef AF__MULTIPLY

/* Multiplies the first rows of the block, as many as one kernel takes; returns their number. */
static size_t AF__N(multiply_rows)(const AF__N(block) *k, size_t rows) {
    if (rows >= 6) {
        AF__N(multiply6)(k);
        return 6;
    }
    if (rows >= 4) {
        AF__N(multiply4)(k);
        return 4;
    }
    if (rows >= 2) {
        AF__N(multiply2)(k);
        return 2;
    }
    AF__N(multiply1)(k);
    return 1;
}

/* Whole squares of a panel whose columns lie in rows: x (width, depth). Returns the depth done. */
static size_t AF__N(pack_squares)(const AF__REAL *x, size_t column, size_t depth, size_t width,
                                  size_t wide, AF__REAL *out) {
    size_t k, j, i, whole = width == wide ? depth / AF__LANES * AF__LANES : 0;
    for (j = 0; j < wide && whole; j += AF__LANES)
        for (k = 0; k < whole; k += AF__LANES) {
            AF__V square[AF__LANES];
            AF__UNROLL
            for (i = 0; i < AF__LANES; i++) square[i] = AF__N(load)(x + (j + i) * column + k);
            AF__N(transpose)(square);
            AF__UNROLL
            for (i = 0; i < AF__LANES; i++) AF__N(put)(out + (k + i) * wide + j, square[i]);
        }
    return whole;
}

/* out (depth, wide) = x (depth, width), zeros in the columns that are missing. */
static void AF__N(pack_b)(const AF__REAL *x, size_t row, size_t column, size_t depth, size_t width,
                          size_t wide, AF__REAL *out) {
    size_t k, j, first;
    if (column == 1 && wide == width) {
        for (k = 0; k < depth; k++, out += wide, x += row)
            for (j = 0; j < wide; j += AF__LANES) {
                __builtin_prefetch(x + AF__AHEAD * row + j);
                AF__N(put)(out + j, AF__N(load)(x + j));
            }
        return;
    }
    first = row == 1 ? AF__N(pack_squares)(x, column, depth, width, wide, out) : 0;
    for (j = 0; j < wide; j++) {
        if (j < width) for (k = first; k < depth; k++) out[k * wide + j] = x[k * row + j * column];
        else for (k = first; k < depth; k++) out[k * wide + j] = 0;
    }
}

/* out (panels, depth, AF__MR): the rows of A in panels, whose last may be short. */
static void AF__N(pack_a)(const AF__REAL *x, size_t row, size_t column, size_t rows, size_t depth,
                          AF__REAL *out) {
    size_t i, k, r, whole = row == 1 ? rows / AF__MR * AF__MR : 0;
    for (k = 0; k < depth; k++, out += AF__MR, x += column) {
        for (i = 0; i < whole; i += AF__MR) {
            __builtin_prefetch(x + AF__AHEAD * column + i);
            memcpy(out + i * depth, x + i, AF__MR * sizeof *out);
        }
        for (; i < rows; i += AF__MR)
            for (r = i; r < rows && r < i + AF__MR; r++) out[i * depth + r - i] = x[r * row];
    }
}

/* Columns of the panel that begins at column j, and those that it has when filled up. */
static size_t AF__N(panel_width)(const af__product *g, size_t j) {
    return g->n - j < AF__NR ? g->n - j : AF__NR;
}

static size_t AF__N(panel_wide)(size_t width) {
    return (width + AF__LANES - 1) / AF__LANES * AF__LANES;
}

static void AF__N(product_pack)(size_t panel, void *user) {
    const af__product *g = (const af__product *)user;
    size_t j = panel * AF__NR, width = AF__N(panel_width)(g, j);
    AF__N(pack_b)((const AF__REAL *)g->b + j * g->b_column, g->b_row, g->b_column, g->k, width,
                  AF__N(panel_wide)(width), (AF__REAL *)g->packed + j * g->k);
}

/* Sets the block's panel of B, from row k of it: packed before, or where it is, or packed now. */
static void AF__N(find_panel)(const af__product *g, size_t j, size_t k, AF__N(block) *block,
                              AF__REAL *memory) {
    const AF__REAL *b = (const AF__REAL *)g->b + k * g->b_row + j * g->b_column;
    size_t wide;
    block->width = AF__N(panel_width)(g, j);
    wide = AF__N(panel_wide)(block->width);
    block->step = wide;
    if (g->pack) {
        block->b = (const AF__REAL *)g->packed + j * g->k + k * wide;
    } else if (g->b_column == 1 && wide == block->width &&
               (g->m <= AF__MR || g->b_row * sizeof *b <= AF__NEAR)) {
        block->b = b;
        block->step = g->b_row;
    } else {
        AF__N(pack_b)(b, g->b_row, g->b_column, block->depth, block->width, wide, memory);
        block->b = memory;
    }
}

/* All rows of a unit times one panel of B; meanwhile the next panel is fetched. */
static void AF__N(product_panel)(AF__N(block) *block, size_t rows, size_t panel,
                                 const AF__REAL *next) {
    size_t i, line, calls = (rows + AF__MR - 1) / AF__MR;
    size_t share = block->depth * AF__NR * sizeof(AF__REAL) / calls;
    for (i = 0; i < rows;) {
        size_t done;
        if (next)
            for (line = 0; line < share; line += 64)
                __builtin_prefetch((const char *)next + i / AF__MR * share + line, 0, 2);
        done = AF__N(multiply_rows)(block, rows - i);
        i += done;
        block->c += done * block->stride;
        block->a += done == AF__MR ? panel : done * block->row;
    }
}

static void AF__N(product_unit)(size_t unit, void *user) {
    const af__product *g = (const af__product *)user;
    AF__REAL packed_a[AF__UNIT_ROWS_MAX * AF__DEPTH] __attribute__((aligned(64)));
    AF__REAL packed_b[AF__NR * AF__DEPTH] __attribute__((aligned(64)));
    AF__N(block) block;
    size_t part = unit % g->parts, i0 = unit / g->parts % g->row_blocks * g->block_rows;
    size_t j0 = unit / g->parts / g->row_blocks * g->block_columns;
    size_t j1 = j0 + g->block_columns < g->n ? j0 + g->block_columns : g->n;
    size_t k0 = part * g->part_depth, k1 = k0 + g->part_depth < g->k ? k0 + g->part_depth : g->k;
    size_t rows = g->m - i0 < g->block_rows ? g->m - i0 : g->block_rows, k, j, panel;
    AF__REAL *c = g->parts > 1 ? (AF__REAL *)g->partial + part * g->m * g->n : (AF__REAL *)g->c;
    for (k = k0; k < k1; k += block.depth) {
        const AF__REAL *a = (const AF__REAL *)g->a + i0 * g->a_row + k * g->a_column;
        block.depth = k1 - k < AF__DEPTH ? k1 - k : (size_t)AF__DEPTH;
        block.row = g->a_row;
        block.column = g->a_column;
        block.stride = g->n;
        block.add = k > k0;
        panel = AF__MR * g->a_row;
        if (g->a_column * sizeof *a > AF__NEAR && rows > AF__MR) { /* columns are far apart */
            AF__N(pack_a)(a, g->a_row, g->a_column, rows, block.depth, packed_a);
            a = packed_a;
            block.row = 1;
            block.column = AF__MR;
            panel = AF__MR * block.depth;
        }
        for (j = j0; j < j1; j += AF__NR) {
            AF__N(find_panel)(g, j, k, &block, packed_b);
            block.a = a;
            block.c = c + i0 * g->n + j;
            AF__N(product_panel)(&block, rows, panel,
                                 g->pack && j + 2 * AF__NR <= j1 ? block.b + AF__NR * g->k : NULL);
        }
    }
    if (g->then) g->cpu->kernels->tile(g->cpu, g->then, i0 * g->n, (i0 + rows) * g->n);
}

/* One row times a matrix: four of its rows at a time are added to C. */
static void AF__N(product_row)(const af__product *g) {
    const AF__REAL *a = (const AF__REAL *)g->a, *b = (const AF__REAL *)g->b;
    const size_t step = g->b_row;
    AF__REAL *c = (AF__REAL *)g->c;
    size_t k, j;
    memset(c, 0, g->n * sizeof *c);
    for (k = 0; k + 4 <= g->k; k += 4, b += 4 * step) {
        const AF__V a0 = AF__N(splat)(a[k * g->a_column]);
        const AF__V a1 = AF__N(splat)(a[(k + 1) * g->a_column]);
        const AF__V a2 = AF__N(splat)(a[(k + 2) * g->a_column]);
        const AF__V a3 = AF__N(splat)(a[(k + 3) * g->a_column]);
        for (j = 0; j < g->n; j += AF__LANES) {
            size_t left = g->n - j;
            AF__V sum = AF__N(get)(c + j, left);
            sum = AF__N(fma)(a0, AF__N(get)(b + j, left), sum);
            sum = AF__N(fma)(a1, AF__N(get)(b + step + j, left), sum);
            sum = AF__N(fma)(a2, AF__N(get)(b + 2 * step + j, left), sum);
            sum = AF__N(fma)(a3, AF__N(get)(b + 3 * step + j, left), sum);
            AF__N(set)(c + j, left, sum);
        }
    }
    for (; k < g->k; k++, b += step)
        for (j = 0; j < g->n; j++) c[j] += a[k * g->a_column] * b[j];
}

/* Few rows times rows of a matrix (B is its transpose): sums along the depth, four at a time. */
static void AF__N(product_dots)(const af__product *g) {
    const AF__REAL *a = (const AF__REAL *)g->a, *b = (const AF__REAL *)g->b;
    AF__REAL *c = (AF__REAL *)g->c, part[AF__LANES];
    size_t whole = g->k / AF__LANES * AF__LANES, i, j, k, q, l;
    for (j = 0; j < g->n; j += 4)
        for (i = 0; i < g->m; i++) {
            const AF__REAL *x = a + i * g->a_row, *y[4];
            AF__V sum[4];
            for (q = 0; q < 4; q++) {
                y[q] = b + (j + q < g->n ? j + q : j) * g->b_column;
                sum[q] = AF__N(splat)((AF__REAL)0);
            }
            for (k = 0; k < whole; k += AF__LANES) {
                AF__V xk = AF__N(load)(x + k);
                sum[0] = AF__N(fma)(xk, AF__N(load)(y[0] + k), sum[0]);
                sum[1] = AF__N(fma)(xk, AF__N(load)(y[1] + k), sum[1]);
                sum[2] = AF__N(fma)(xk, AF__N(load)(y[2] + k), sum[2]);
                sum[3] = AF__N(fma)(xk, AF__N(load)(y[3] + k), sum[3]);
            }
            for (q = 0; q < 4 && j + q < g->n; q++) {
                AF__REAL total = 0;
                AF__N(put)(part, sum[q]);
                for (l = 0; l < AF__LANES; l++) total += part[l];
                for (k = whole; k < g->k; k++) total += x[k] * y[q][k];
                c[i * g->n + j + q] = total;
            }
        }
}

/* Products too small for that. */
static void AF__N(product_tiny)(const af__product *g) {
    const AF__REAL *a = (const AF__REAL *)g->a, *b = (const AF__REAL *)g->b;
    AF__REAL *c = (AF__REAL *)g->c;
    size_t i, j, k;
    for (i = 0; i < g->m; i++, a += g->a_row, c += g->n)
        for (j = 0; j < g->n; j++) {
            AF__REAL sum = 0;
            for (k = 0; k < g->k; k++)
                sum += a[k * g->a_column] * b[k * g->b_row + j * g->b_column];
            c[j] = sum;
        }
}

