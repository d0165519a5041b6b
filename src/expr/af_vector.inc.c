/* ---- vectors of one precision and one instruction set ------------------------------------------
 *
 * Compiled for AF__BITS 64 (double) and 32 (float) times AF__ISA AF__ISA_PLAIN, AF__ISA_AVX2 and
 * AF__ISA_AVX512. Vectors are the compiler's (gcc and clang): + - * / work on them, and between
 * them and a number. Everything is inline: vectors never pass through a call. */

#if AF__ISA == AF__ISA_PLAIN /* the others' functions are declared outside their region */
#  if defined(__aarch64__)
#    include <arm_neon.h>
#  elif defined(__FMA__)
#    include <immintrin.h>
#  elif defined(__SSE2__)
#    include <emmintrin.h>
#  endif
#endif

#define AF__JOIN(name, bits, set) af__##name##_f##bits##_##set
#define AF__JOINED(name, bits, set) AF__JOIN(name, bits, set)
#define AF__N(name) AF__JOINED(name, AF__BITS, AF__SET)

#if AF__BITS == 64
#  define AF__C(function) function
#  define AF__REAL double
#  define AF__UNSIGNED uint64_t
#  define AF__MANTISSA 52
#  define AF__BIAS 1023
#  define AF__SMALLEST 2.2250738585072014e-308 /* the smallest normal number */
#else
#  define AF__C(function) function##f
#  define AF__REAL float
#  define AF__UNSIGNED uint32_t
#  define AF__MANTISSA 23
#  define AF__BIAS 127
#  define AF__SMALLEST 1.17549435e-38
#endif

#if AF__ISA == AF__ISA_AVX512
#  define AF__SET avx512
#  define AF__VECTOR_BYTES 64
#elif AF__ISA == AF__ISA_AVX2
#  define AF__SET avx2
#  define AF__VECTOR_BYTES 32
#else
#  define AF__SET plain
#  define AF__VECTOR_BYTES 16
#endif
#define AF__LANES (AF__VECTOR_BYTES / sizeof(AF__REAL))
#define AF__V AF__N(vector)
#define AF__U AF__N(unsigned_bits)
#define AF__M AF__N(mask)
#define AF__R(number) ((AF__REAL)(number))

typedef AF__REAL AF__V __attribute__((vector_size(AF__VECTOR_BYTES)));
typedef AF__UNSIGNED AF__U __attribute__((vector_size(AF__VECTOR_BYTES)));

/* AF__FUSED: fma rounds once. AF__X(name): the set's own function for packed reals. */
#if AF__ISA == AF__ISA_AVX512 && AF__BITS == 64
#  define AF__FUSED 1
#  define AF__X(name) _mm512_##name##_pd
typedef __mmask8 AF__M;
#elif AF__ISA == AF__ISA_AVX512
#  define AF__FUSED 1
#  define AF__X(name) _mm512_##name##_ps
typedef __mmask16 AF__M;
#else
typedef AF__U AF__M; /* all ones or all zeros in each lane */
#  if AF__ISA == AF__ISA_AVX2 && AF__BITS == 64
#    define AF__FUSED 1
#    define AF__X(name) _mm256_##name##_pd
#  elif AF__ISA == AF__ISA_AVX2
#    define AF__FUSED 1
#    define AF__X(name) _mm256_##name##_ps
#  elif defined(__aarch64__) && AF__BITS == 64
#    define AF__FUSED 1
#    define AF__NEON(name) name##_f64
#  elif defined(__aarch64__)
#    define AF__FUSED 1
#    define AF__NEON(name) name##_f32
#  elif defined(__SSE2__) && AF__BITS == 64
#    define AF__X(name) _mm_##name##_pd
#  elif defined(__SSE2__)
#    define AF__X(name) _mm_##name##_ps
#  endif
#  if AF__ISA == AF__ISA_PLAIN && defined(__SSE2__) && defined(__FMA__)
#    define AF__FUSED 1
#  endif
#endif
#ifndef AF__FUSED
#  define AF__FUSED 0
#endif

/* Of AVX-512 the functions that set masked lanes to zero, with all lanes: the others start from an
 * undefined vector, about which g++ warns. */
#if AF__ISA == AF__ISA_AVX512
#  define AF__CALL(name, ...) AF__X(maskz_##name)((AF__M)-1, __VA_ARGS__)
#elif defined(AF__X)
#  define AF__CALL(name, ...) AF__X(name)(__VA_ARGS__)
#endif

/* ---- memory ---- */

AF__INLINE AF__V AF__N(load)(const AF__REAL *p) {
    AF__V v;
    memcpy(&v, p, sizeof v);
    return v;
}

AF__INLINE void AF__N(put)(AF__REAL *p, AF__V v) { memcpy(p, &v, sizeof v); }

AF__INLINE AF__V AF__N(splat)(AF__REAL x) {
    AF__V zero = {0};
    return x - zero; /* -0 - 0 is -0, but 0 + -0 is 0 */
}

/* The first left < AF__LANES lanes, 1 elsewhere: 1 is harmless in every operation. */
AF__INLINE AF__V AF__N(load_part)(const AF__REAL *p, size_t left) {
    AF__V v = AF__N(splat)(AF__R(1));
#if AF__ISA == AF__ISA_AVX512
    v = AF__X(mask_loadu)(v, (AF__M)((1u << left) - 1), p);
#else
    memcpy(&v, p, left * sizeof(AF__REAL));
#endif
    return v;
}

AF__INLINE void AF__N(put_part)(AF__REAL *p, size_t left, AF__V v) {
#if AF__ISA == AF__ISA_AVX512
    AF__X(mask_storeu)(p, (AF__M)((1u << left) - 1), v);
#else
    memcpy(p, &v, left * sizeof(AF__REAL));
#endif
}

AF__INLINE AF__V AF__N(get)(const AF__REAL *p, size_t left) {
    return left >= AF__LANES ? AF__N(load)(p) : AF__N(load_part)(p, left);
}

AF__INLINE void AF__N(set)(AF__REAL *p, size_t left, AF__V v) {
    if (left >= AF__LANES) AF__N(put)(p, v);
    else AF__N(put_part)(p, left, v);
}

/* ---- arithmetic ---- */

/* a b + c. */
AF__INLINE AF__V AF__N(fma)(AF__V a, AF__V b, AF__V c) {
#if AF__FUSED && defined(AF__X)
    return AF__X(fmadd)(a, b, c);
#elif AF__FUSED
    return AF__NEON(vfmaq)(c, a, b);
#else
    return a * b + c;
#endif
}

/* c - a b. */
AF__INLINE AF__V AF__N(fnma)(AF__V a, AF__V b, AF__V c) {
#if AF__FUSED && defined(AF__X)
    return AF__X(fnmadd)(a, b, c);
#elif AF__FUSED
    return AF__NEON(vfmsq)(c, a, b);
#else
    return c - a * b;
#endif
}

/* a b rounded on its own: the compiler may fuse a * b with the sum it enters, but not this. */
AF__INLINE AF__V AF__N(product)(AF__V a, AF__V b) {
    return AF__N(fma)(a, b, AF__N(splat)(AF__R(0)));
}

AF__INLINE AF__V AF__N(vsqrt)(AF__V x) {
#if defined(AF__X)
    return AF__CALL(sqrt, x);
#elif defined(AF__NEON)
    return AF__NEON(vsqrtq)(x);
#else
    size_t i;
    for (i = 0; i < AF__LANES; i++) x[i] = AF__C(sqrt)(x[i]);
    return x;
#endif
}

/* ---- signs ---- */

AF__INLINE AF__U AF__N(sign_bit)(void) { return (AF__U)AF__N(splat)(AF__R(-0.0)); }

AF__INLINE AF__V AF__N(fabs)(AF__V x) { return (AF__V)((AF__U)x & ~AF__N(sign_bit)()); }

/* |x| with the sign of s. */
AF__INLINE AF__V AF__N(with_sign)(AF__V x, AF__V s) {
    AF__U sign = AF__N(sign_bit)();
    return (AF__V)(((AF__U)x & ~sign) | ((AF__U)s & sign));
}

/* x with its sign changed where s is negative. */
AF__INLINE AF__V AF__N(flip)(AF__V x, AF__V s) {
    return (AF__V)((AF__U)x ^ ((AF__U)s & AF__N(sign_bit)()));
}

/* ---- masks ---- */

#if AF__ISA == AF__ISA_AVX512
#  if AF__BITS == 64
#    define AF__COMPARE(a, b, how) _mm512_cmp_pd_mask(a, b, how)
#    define AF__TEST(a, b) _mm512_test_epi64_mask((__m512i)(a), (__m512i)(b))
#    define AF__FIXUP(y, x, kinds) _mm512_fixupimm_pd(y, x, _mm512_set1_epi64(kinds), 0)
#  else
#    define AF__COMPARE(a, b, how) _mm512_cmp_ps_mask(a, b, how)
#    define AF__TEST(a, b) _mm512_test_epi32_mask((__m512i)(a), (__m512i)(b))
#    define AF__FIXUP(y, x, kinds) _mm512_fixupimm_ps(y, x, _mm512_set1_epi32(kinds), 0)
#  endif
#else
#  define AF__TEST(a, b) ((AF__M)(((a) & (b)) == (b)))
#endif

/* a < b; false for NaN. */
AF__INLINE AF__M AF__N(less)(AF__V a, AF__V b) {
#if AF__ISA == AF__ISA_AVX512
    return AF__COMPARE(a, b, _CMP_LT_OQ);
#else
    return (AF__M)(a < b);
#endif
}

/* a == b; false for NaN. */
AF__INLINE AF__M AF__N(equal)(AF__V a, AF__V b) {
#if AF__ISA == AF__ISA_AVX512
    return AF__COMPARE(a, b, _CMP_EQ_OQ);
#else
    return (AF__M)(a == b);
#endif
}

AF__INLINE AF__M AF__N(and)(AF__M a, AF__M b) { return (AF__M)(a & b); }

AF__INLINE AF__M AF__N(or)(AF__M a, AF__M b) { return (AF__M)(a | b); }

AF__INLINE AF__M AF__N(not)(AF__M a) { return (AF__M)~a; }

AF__INLINE AF__M AF__N(differ)(AF__M a, AF__M b) { return (AF__M)(a ^ b); }

/* The sign bit of x, -0 and NaN included. */
AF__INLINE AF__M AF__N(negative)(AF__V x) { return AF__TEST((AF__U)x, AF__N(sign_bit)()); }

AF__INLINE int AF__N(any)(AF__M a) {
#if AF__ISA == AF__ISA_AVX512
    return a != 0;
#elif AF__ISA == AF__ISA_AVX2 || (AF__ISA == AF__ISA_PLAIN && defined(AF__X))
    return AF__X(movemask)((AF__V)a) != 0;
#else
    AF__UNSIGNED all = 0;
    size_t i;
    for (i = 0; i < AF__LANES; i++) all |= a[i];
    return all != 0;
#endif
}

/* mask ? a : b. */
AF__INLINE AF__V AF__N(choose)(AF__M mask, AF__V a, AF__V b) {
#if AF__ISA == AF__ISA_AVX512
    return AF__X(mask_blend)(mask, b, a);
#elif AF__ISA == AF__ISA_AVX2
    return AF__X(blendv)(b, a, (AF__V)mask);
#else
    return (AF__V)((mask & (AF__U)a) | (~mask & (AF__U)b));
#endif
}

/* The larger of x and low, the smaller of x and high; NaN stays. */
AF__INLINE AF__V AF__N(at_least)(AF__V x, AF__REAL low) {
    AF__V l = AF__N(splat)(low);
#if defined(AF__X)
    return AF__CALL(max, l, x); /* gives its second argument for NaN */
#else
    return AF__N(choose)(AF__N(less)(x, l), l, x);
#endif
}

AF__INLINE AF__V AF__N(at_most)(AF__V x, AF__REAL high) {
    AF__V h = AF__N(splat)(high);
#if defined(AF__X)
    return AF__CALL(min, h, x);
#else
    return AF__N(choose)(AF__N(less)(h, x), h, x);
#endif
}

/* ---- whole numbers and powers of two ---- */

/* Adding 1.5 * 2^mantissa leaves the nearest whole number in the low bits. */
AF__INLINE AF__V AF__N(magic)(void) {
    return AF__N(splat)(AF__R(1.5 * (double)((int64_t)1 << AF__MANTISSA)));
}

/* The whole number nearest to x * unit, give or take a rounding error of the product, in the low
 * bits of a number; as that number and as itself. */
AF__INLINE AF__V AF__N(nearest_bits)(AF__V x, AF__REAL unit) {
    return AF__N(fma)(x, AF__N(splat)(unit), AF__N(magic)());
}

AF__INLINE AF__V AF__N(nearest)(AF__V x, AF__REAL unit) {
    return AF__N(nearest_bits)(x, unit) - AF__N(magic)();
}

/* The lowest bit as a mask. */
AF__INLINE AF__M AF__N(odd)(AF__V bits) {
    AF__U one = (AF__U)AF__N(splat)(AF__R(0)) + 1;
    return AF__TEST((AF__U)bits, one);
}

/* Bit `place` moved to the sign. */
AF__INLINE AF__V AF__N(raise)(AF__V bits, int place) {
    return (AF__V)((AF__U)bits << (AF__BITS - 1 - place));
}

/* 2^n for whole n within the normal range. */
AF__INLINE AF__V AF__N(two_to)(AF__V n) {
#if AF__ISA == AF__ISA_AVX512
    return AF__CALL(scalef, AF__N(splat)(AF__R(1)), n);
#else
    return (AF__V)((AF__U)(n + (AF__N(magic)() + AF__R(AF__BIAS))) << AF__MANTISSA);
#endif
}

/* x 2^n for whole n with |n| < 2.1 times the bias; x near 1, so that one rounding is made. */
AF__INLINE AF__V AF__N(scale)(AF__V x, AF__V n) {
#if AF__ISA == AF__ISA_AVX512
    return AF__CALL(scalef, x, n);
#else
    AF__V half = AF__N(nearest)(n, AF__R(0.5));
    return x * AF__N(two_to)(half) * AF__N(two_to)(n - half);
#endif
}

/* x = 2^e m with 3/4 <= m < 3/2, for positive finite x, denormal ones too. */
AF__INLINE AF__V AF__N(split)(AF__V x, AF__V *e) {
#if AF__ISA == AF__ISA_AVX512
    AF__V one = AF__N(splat)(AF__R(1));
    AF__V m = AF__CALL(getmant, x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_src);
    *e = AF__CALL(getexp, x);
    *e = AF__X(mask_add)(*e, AF__N(less)(m, one), *e, one);
    return m;
#else
    /* the biased exponent of 4 x / 3 is found by integers and made real in the mantissa of 2^52
     * (2^23 in float) */
    const AF__V whole = AF__N(splat)(AF__R((int64_t)1 << AF__MANTISSA));
    const AF__U unit = (AF__U)AF__N(splat)(AF__R(1)); /* bias << mantissa */
    AF__M small = AF__N(less)(x, AF__N(splat)(AF__R(AF__SMALLEST)));
    AF__U bits = (AF__U)AF__N(choose)(small, x * whole, x);
    AF__U power = (bits + (unit - (AF__U)AF__N(splat)(AF__R(0.75)))) >> AF__MANTISSA;
    *e = (AF__V)(power | (AF__U)whole) - (whole + AF__R(AF__BIAS));
    *e -= (AF__V)(small & (AF__U)AF__N(splat)(AF__R(AF__MANTISSA)));
    return (AF__V)(bits - (power << AF__MANTISSA) + unit);
#endif
}

AF__INLINE AF__V AF__N(vfloor)(AF__V x) {
#if AF__ISA == AF__ISA_AVX512
    return AF__CALL(roundscale, x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif AF__ISA == AF__ISA_AVX2
    return AF__CALL(floor, x);
#else
    /* from 2^mantissa on all numbers are whole */
    const AF__V whole = AF__N(splat)(AF__R((int64_t)1 << AF__MANTISSA));
    AF__V a = AF__N(fabs)(x), n = AF__N(with_sign)((a + whole) - whole, x);
    n = AF__N(choose)(AF__N(less)(x, n), n - AF__R(1), n);
    return AF__N(choose)(AF__N(less)(a, whole), n, x);
#endif
}

/* ---- transposition ---- */

/* a0 b0 a1 b1 ... of the lower halves of a and b, and of the upper ones. */
#if AF__VECTOR_BYTES * 8 / AF__BITS == 2
#  define AF__LOWER 0, 2
#  define AF__UPPER 1, 3
#elif AF__VECTOR_BYTES * 8 / AF__BITS == 4
#  define AF__LOWER 0, 4, 1, 5
#  define AF__UPPER 2, 6, 3, 7
#elif AF__VECTOR_BYTES * 8 / AF__BITS == 8
#  define AF__LOWER 0, 8, 1, 9, 2, 10, 3, 11
#  define AF__UPPER 4, 12, 5, 13, 6, 14, 7, 15
#else
#  define AF__LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#  define AF__UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif
#ifdef __clang__
#  define AF__UNROLL _Pragma("unroll")
#else
#  define AF__UNROLL _Pragma("GCC unroll 16")
#endif

AF__INLINE AF__V AF__N(interleave_lower)(AF__V a, AF__V b) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, AF__LOWER);
#else
    const AF__U from = {AF__LOWER};
    return __builtin_shuffle(a, b, from);
#endif
}

AF__INLINE AF__V AF__N(interleave_upper)(AF__V a, AF__V b) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, AF__UPPER);
#else
    const AF__U from = {AF__UPPER};
    return __builtin_shuffle(a, b, from);
#endif
}

/* Turns the rows of a square into its columns: after each interleaving of the first half of the
 * rows with the second one bit of the column has become one of the row. */
AF__INLINE void AF__N(transpose)(AF__V row[AF__LANES]) {
    AF__V next[AF__LANES];
    size_t step, i;
    AF__UNROLL
    for (step = 1; step < AF__LANES; step *= 2) {
        AF__UNROLL
        for (i = 0; i < AF__LANES / 2; i++) {
            next[2 * i] = AF__N(interleave_lower)(row[i], row[i + AF__LANES / 2]);
            next[2 * i + 1] = AF__N(interleave_upper)(row[i], row[i + AF__LANES / 2]);
        }
        AF__UNROLL
        for (i = 0; i < AF__LANES; i++) row[i] = next[i];
    }
}

#undef AF__LOWER
#undef AF__UPPER
