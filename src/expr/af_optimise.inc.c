/* ---- kernels: optimisers ---- */

#if AF__BITS == 64
/* Elements [begin, end) of a step of Adam or RAdam, see af_adam.c. */
static void AF__N(adam)(const af__adam_step *s, size_t begin, size_t end) {
    size_t i;
    for (i = begin; i < end; i += AF__LANES) {
        size_t left = end - i;
        AF__V x = AF__N(get)(s->x + i, left), g = AF__N(get)(s->gradient + i, left) * s->scale;
        AF__V first = AF__N(get)(s->first + i, left), second = AF__N(get)(s->second + i, left);
        first = first + (g - first) * (1.0 - s->beta1);
        second = second + (g * g - second) * (1.0 - s->beta2);
        AF__N(set)(s->first + i, left, first);
        AF__N(set)(s->second + i, left, second);
        x = x - x * s->decay;
        g = first * s->length;
        if (s->rectified > 0.0)
            g = g * s->rectified / (AF__N(vsqrt)(second / s->correction) + s->epsilon);
        AF__N(set)(s->x + i, left, x - g);
    }
}

static double AF__N(square_sum)(const double *x, size_t n) {
    AF__V sum[4];
    double part[AF__LANES], total = 0.0;
    size_t i, k;
    for (k = 0; k < 4; k++) sum[k] = AF__N(splat)(0.0);
    for (i = 0; i + 4 * AF__LANES <= n; i += 4 * AF__LANES)
        for (k = 0; k < 4; k++) {
            AF__V v = AF__N(load)(x + i + k * AF__LANES);
            sum[k] = AF__N(fma)(v, v, sum[k]);
        }
    AF__N(put)(part, (sum[0] + sum[1]) + (sum[2] + sum[3]));
    for (k = 0; k < AF__LANES; k++) total += part[k];
    for (; i < n; i++) total += x[i] * x[i];
    return total;
}

/* ---- Cholesky, see af__factor ---- */

#if AF__ISA == AF__ISA_AVX512 || defined(__aarch64__)
#  define AF__FACTOR_ROWS 8 /* times 3 vectors: 24 sums in 32 registers */
#else
#  define AF__FACTOR_ROWS 4 /* 12 sums in 16 registers */
#endif
#define AF__PART (3 * AF__LANES) /* columns of a strip that are worked on at a time */

/* y = T^-T y, T being a triangle of `rows` rows. */
AF__INLINE void AF__N(factor_triangle)(AF__V (*y)[3], const double *t, size_t stride,
                                       const size_t rows) {
    size_t i, k, v;
    AF__UNROLL
    for (k = 0; k < rows; k++, t += stride) {
        double over = 1.0 / t[k];
        AF__UNROLL
        for (v = 0; v < 3; v++) y[k][v] = y[k][v] * over;
        AF__UNROLL
        for (i = k + 1; i < rows; i++)
            AF__UNROLL
            for (v = 0; v < 3; v++) y[i][v] = AF__N(fnma)(AF__N(splat)(t[i]), y[k][v], y[i][v]);
    }
}

/* c (rows,AF__PART) -= left^T right, left being (depth,rows) and right (depth,AF__PART); then, if
 * asked, c = T^-T c with the triangle T that follows below left. `rows` is a constant. */
AF__INLINE void AF__N(factor_tile)(size_t depth, const double *left, size_t stride,
                                   const double *right, double *c, const size_t rows, int solve) {
    AF__V y[AF__FACTOR_ROWS][3];
    size_t i, k, v;
    AF__UNROLL
    for (i = 0; i < rows; i++)
        AF__UNROLL
        for (v = 0; v < 3; v++) y[i][v] = AF__N(load)(c + i * AF__STRIP + v * AF__LANES);
    for (k = 0; k < depth; k++, left += stride, right += AF__STRIP) {
        AF__V b[3];
        AF__UNROLL
        for (v = 0; v < 3; v++) b[v] = AF__N(load)(right + v * AF__LANES);
        AF__UNROLL
        for (i = 0; i < rows; i++) {
            AF__V x = AF__N(splat)(left[i]);
            AF__UNROLL
            for (v = 0; v < 3; v++) y[i][v] = AF__N(fnma)(x, b[v], y[i][v]);
        }
    }
    if (solve) AF__N(factor_triangle)(y, left, stride, rows);
    AF__UNROLL
    for (i = 0; i < rows; i++)
        AF__UNROLL
        for (v = 0; v < 3; v++) AF__N(put)(c + i * AF__STRIP + v * AF__LANES, y[i][v]);
}

/* Rows that cross the diagonal at column `at` of their strip. Columns before it, which are not
 * part of R, are taken along. */
static int AF__N(factor_pivots)(double *c, size_t at) {
    size_t i, k, j;
    for (k = 0; k < AF__FACTOR_ROWS; k++) {
        double *row = c + k * AF__STRIP, pivot = row[at + k], root = sqrt(pivot);
        if (!(pivot > 0.0 && pivot <= DBL_MAX)) return 0;
        for (j = 0; j < AF__STRIP; j += AF__LANES)
            AF__N(put)(row + j, AF__N(load)(row + j) * (1.0 / root));
        row[at + k] = root;
        for (i = k + 1; i < AF__FACTOR_ROWS; i++) {
            double *other = c + i * AF__STRIP;
            AF__V x = AF__N(splat)(row[at + i]);
            for (j = 0; j < AF__STRIP; j += AF__LANES)
                AF__N(put)(other + j, AF__N(fnma)(x, AF__N(load)(row + j), AF__N(load)(other + j)));
        }
    }
    return 1;
}

/* Rows [begin,end) of a strip, which is named by its first column: those of the panel become R,
 * those below lose what the panel takes from them. 0: not positive definite. */
static int AF__N(factor_rows)(const af__factor *f, size_t strip, size_t begin, size_t end) {
    const double *right = af__factor_at(f, f->first, strip);
    size_t i = begin, j, rows;
    for (; i < end; i += rows) {
        size_t depth = (i < f->last ? i : f->last) - f->first, stride = af__factor_stride(f, i);
        const double *left = af__factor_at(f, f->first, i);
        double *c = af__factor_at(f, i, strip);
        int solve = i < f->last && i < strip;
        rows = i >= f->head || i + AF__FACTOR_ROWS <= f->head ? AF__FACTOR_ROWS : 1;
        for (j = 0; j < AF__STRIP; j += AF__PART) {
            if (rows == 1) AF__N(factor_tile)(depth, left, stride, right + j, c + j, 1, solve);
            else if (solve)
                AF__N(factor_tile)(depth, left, stride, right + j, c + j, AF__FACTOR_ROWS, 1);
            else AF__N(factor_tile)(depth, left, stride, right + j, c + j, AF__FACTOR_ROWS, 0);
        }
        if (i < f->last && !solve && !AF__N(factor_pivots)(c, i - strip)) return 0;
    }
    return 1;
}

/* The strip's elements of x = R^-T x, those before being done. */
static void AF__N(factor_forward)(const af__factor *f, size_t strip, double *x) {
    size_t i, j, k, v;
    for (j = 0; j < AF__STRIP; j += AF__PART) {
        const double *r = af__factor_at(f, 0, strip) + j;
        AF__V sum[4][3];
        for (k = 0; k < 4; k++)
            for (v = 0; v < 3; v++) sum[k][v] = AF__N(splat)(0.0);
        for (i = 0; i < strip; i += 4, r += 4 * AF__STRIP)
            AF__UNROLL
            for (k = 0; k < 4; k++) {
                AF__V w = AF__N(splat)(i + k < strip ? x[i + k] : 0.0);
                AF__UNROLL
                for (v = 0; v < 3; v++)
                    sum[k][v] = AF__N(fma)(w, AF__N(load)(r + k * AF__STRIP + v * AF__LANES),
                                           sum[k][v]);
            }
        for (v = 0; v < 3; v++) {
            double *y = x + strip + j + v * AF__LANES;
            AF__N(put)(y, AF__N(load)(y) - ((sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v])));
        }
    }
    for (i = strip; i < strip + AF__STRIP; i++) {
        const double *r = af__factor_at(f, i, strip);
        x[i] /= r[i - strip];
        for (j = i + 1; j < strip + AF__STRIP; j++) x[j] -= r[j - strip] * x[i];
    }
}

/* The strip's elements of x = R^-1 x, those behind being done; what they take from those before. */
static void AF__N(factor_back)(const af__factor *f, size_t strip, double *x) {
    const double *r = af__factor_at(f, 0, strip);
    double part[AF__LANES];
    size_t i, j;
    for (i = strip + AF__STRIP; i-- > strip;) {
        const double *row = af__factor_at(f, i, strip);
        for (j = i + 1; j < strip + AF__STRIP; j++) x[i] -= row[j - strip] * x[j];
        x[i] /= row[i - strip];
    }
    for (i = 0; i < strip; i++, r += AF__STRIP) {
        AF__V sum = AF__N(splat)(0.0);
        double total = 0.0;
        for (j = 0; j < AF__STRIP; j += AF__LANES)
            sum = AF__N(fma)(AF__N(load)(r + j), AF__N(load)(x + strip + j), sum);
        AF__N(put)(part, sum);
        for (j = 0; j < AF__LANES; j++) total += part[j];
        x[i] -= total;
    }
}

#undef AF__FACTOR_ROWS
#undef AF__PART
#endif
