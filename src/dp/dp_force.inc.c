/* ---- one point through a network, for one instruction set --------------------------------------
 *
 * Compiled for DP__SET plain, avx2 and avx512. Value and three derivatives of every unit are carried
 * from layer to layer together: each weight is loaded once for four products, and it is loading
 * that takes the time. */

#define DP__LANES_OF_V (sizeof(DP__V) / sizeof(double))

/* z (4, DP__FORCE_WIDTH) of the last layer -> out (4, ...): W^T z, and for the value + bias. Two
 * vectors of columns at a time make eight sums, as many as hide the time that one takes. */
DP__TARGET static void DP__N(layer)(const dp__force_layer *l, const double *z, double *out) {
    size_t j, i, s;
    for (j = 0; j < l->padded; j += 2 * DP__LANES_OF_V) {
        const double *w = l->weight + j;
        DP__V sum[4][2];
        for (s = 0; s < 4; s++) sum[s][0] = sum[s][1] = DP__ZERO_V;
        for (i = 0; i < l->in; i++, w += l->padded) {
            DP__V w0 = *(const DP__V *)w, w1 = *(const DP__V *)(w + DP__LANES_OF_V);
            for (s = 0; s < 4; s++) {
                DP__V x = DP__SPREAD(z[s * DP__FORCE_WIDTH + i]);
                sum[s][0] = DP__FMA(x, w0, sum[s][0]);
                sum[s][1] = DP__FMA(x, w1, sum[s][1]);
            }
        }
        sum[0][0] += *(const DP__V *)(l->bias + j);
        sum[0][1] += *(const DP__V *)(l->bias + j + DP__LANES_OF_V);
        for (s = 0; s < 4; s++) {
            *(DP__V *)(out + s * DP__FORCE_WIDTH + j) = sum[s][0];
            *(DP__V *)(out + s * DP__FORCE_WIDTH + j + DP__LANES_OF_V) = sum[s][1];
        }
    }
}

/* exp(x) for -40 <= x <= 0 to 2e-16: x = n ln 2 + r, the Taylor series of exp(r) up to r^12 (|r| <
 * 0.35: the next term is 2e-16), and n added to the exponent. 1.5 x 2^52 rounds to whole numbers,
 * whose low bits are then n; ln 2 is in two parts, the first of which times n is exact. */
#define DP__EXP(result, x)                                                                   \
    do {                                                                                     \
        DP__V rounded = (x) * 1.4426950408889634074 + 6755399441055744.0, n, r, sum;         \
        n = rounded - 6755399441055744.0;                                                    \
        r = (x) - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10;           \
        sum = r * (1.0 / 479001600.0) + 1.0 / 39916800.0;                                    \
        sum = sum * r + 1.0 / 3628800.0;                                                     \
        sum = sum * r + 1.0 / 362880.0;                                                      \
        sum = sum * r + 1.0 / 40320.0;                                                       \
        sum = sum * r + 1.0 / 5040.0;                                                        \
        sum = sum * r + 1.0 / 720.0;                                                         \
        sum = sum * r + 1.0 / 120.0;                                                         \
        sum = sum * r + 1.0 / 24.0;                                                          \
        sum = sum * r + 1.0 / 6.0;                                                           \
        sum = sum * r + 0.5;                                                                 \
        sum = sum * r * r + r + 1.0;                                                         \
        result = sum * (DP__V)(((DP__U)rounded + 1023u) << 52);                              \
    } while (0)

/* z -> tanh z, its derivatives times 1 - tanh^2 = 4 e/(1 + e)^2, e = exp(-2 |z|). tanh is good to
 * 2e-16 of one, which is what the next layer sees. Beyond |z| = 20 it is one. */
DP__TARGET static void DP__N(activate)(size_t padded, double *z) {
    size_t j, s;
    for (j = 0; j < padded; j += DP__LANES_OF_V) {
        DP__V x = *(DP__V *)(z + j), e, size, over, slope;
        DP__U sign = (DP__U)x & (DP__U)(DP__ZERO_V - 0.0), low;
        size = (DP__V)((DP__U)x ^ sign) * -2.0;
        low = (DP__U)(size > DP__ZERO_V - 40.0);
        size = (DP__V)(((DP__U)size & low) | ((DP__U)(DP__ZERO_V - 40.0) & ~low));
        DP__EXP(e, size);
        over = 1.0 / (1.0 + e);
        slope = 4.0 * e * over * over;
        *(DP__V *)(z + j) = (DP__V)((DP__U)((1.0 - e) * over) | sign);
        for (s = 1; s < 4; s++) *(DP__V *)(z + s * DP__FORCE_WIDTH + j) *= slope;
    }
}

/* Inputs in z[0], the result in column 0 of the return value. */
DP__TARGET static const double *DP__N(net)(const dp_force *f, double *z, double *other) {
    size_t k;
    for (k = 0; k < f->layers; k++) {
        double *swap = z;
        DP__N(layer)(&f->layer[k], z, other);
        if (k + 1 < f->layers) DP__N(activate)(f->layer[k].padded, other);
        z = other;
        other = swap;
    }
    return z;
}

#undef DP__EXP
#undef DP__LANES_OF_V
#undef DP__V
#undef DP__U
#undef DP__N
#undef DP__FMA
#undef DP__SPREAD
#undef DP__ZERO_V
#undef DP__TARGET
