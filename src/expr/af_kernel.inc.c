/* ---- CPU kernels for one precision --------------------------------------------------------------
 *
 * This part is compiled twice, with AF__BITS 64 (double) and 32 (float). Vectors are the compiler's
 * (gcc and clang), as wide as the target allows. */

#if AF__BITS == 64
#  define AF__N(name) af__##name##_f64
#  define AF__C(function) function
#  define AF__REAL double
#  define AF__INTEGER int64_t
#  define AF__UNSIGNED uint64_t
#  define AF__MANTISSA 52
#  define AF__BIAS 1023
#  define AF__LN2_HIGH 0.6931471805592082091607     /* 40 bits */
#  define AF__LN2_LOW 7.371002565167798901834e-13
#  define AF__EXP_HIGH 709.782712893383973096
#  define AF__EXP_LOW -746.0
#  define AF__TINY 2.2250738585072014e-308          /* the smallest normal number */
#  define AF__TINY_POWER 54
#  define AF__HALF_PI_1 1.570796326734125614166     /* three times 34 bits, the rest */
#  define AF__HALF_PI_2 6.077100506303965976596e-11
#  define AF__HALF_PI_3 2.022266248711166455796e-21
#  define AF__HALF_PI_4 8.478427660368899643959e-32
#  define AF__TURN_LIMIT 1e5                        /* n < 2^17 keeps the products exact */
#else
#  define AF__N(name) af__##name##_f32
#  define AF__C(function) function##f
#  define AF__REAL float
#  define AF__INTEGER int32_t
#  define AF__UNSIGNED uint32_t
#  define AF__MANTISSA 23
#  define AF__BIAS 127
#  define AF__LN2_HIGH 0.693115234375               /* 14 bits */
#  define AF__LN2_LOW 3.194618494530941723212e-05
#  define AF__EXP_HIGH 88.72283172607421875
#  define AF__EXP_LOW -104.0
#  define AF__TINY 1.17549435e-38
#  define AF__TINY_POWER 25
#  define AF__HALF_PI_1 1.5703125                   /* three times 12 bits, the rest */
#  define AF__HALF_PI_2 0.0004837512969970703125
#  define AF__HALF_PI_3 7.54953362047672271728515625e-08
#  define AF__HALF_PI_4 2.563344151594518788182e-12
#  define AF__TURN_LIMIT 1e3
#endif

#define AF__LANES (AF__VECTOR_BYTES / sizeof(AF__REAL))
#define AF__V AF__N(vector)
#define AF__I AF__N(bits)
#define AF__U AF__N(unsigned_bits)

typedef AF__REAL AF__V __attribute__((vector_size(AF__VECTOR_BYTES)));
typedef AF__INTEGER AF__I __attribute__((vector_size(AF__VECTOR_BYTES)));
typedef AF__UNSIGNED AF__U __attribute__((vector_size(AF__VECTOR_BYTES)));

/* ---- vectors ---- */

static inline AF__V AF__N(load)(const AF__REAL *p) {
    AF__V v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void AF__N(put)(AF__REAL *p, AF__V v) { memcpy(p, &v, sizeof v); }

static inline AF__V AF__N(splat)(AF__REAL x) {
    AF__V zero = {0};
    return x - zero; /* -0 - 0 is -0, but 0 + -0 is 0 */
}

/* The first `left` lanes, 1 elsewhere: 1 is harmless in every operation. */
static AF__V AF__N(load_part)(const AF__REAL *p, size_t left) {
    AF__V v = AF__N(splat)((AF__REAL)1);
    memcpy(&v, p, left * sizeof(AF__REAL));
    return v;
}

static inline AF__V AF__N(get)(const AF__REAL *p, size_t left) {
    return left >= AF__LANES ? AF__N(load)(p) : AF__N(load_part)(p, left);
}

static inline void AF__N(set)(AF__REAL *p, size_t left, AF__V v) {
    memcpy(p, &v, (left >= AF__LANES ? AF__LANES : left) * sizeof(AF__REAL));
}

static inline AF__V AF__N(choose)(AF__I mask, AF__V a, AF__V b) {
    return (AF__V)((mask & (AF__I)a) | (~mask & (AF__I)b));
}

static inline AF__V AF__N(fabs)(AF__V x) {
    return (AF__V)((AF__I)x & (AF__I)(~(AF__I)AF__N(splat)((AF__REAL)-0.0)));
}

/* |x| with the sign of s. */
static inline AF__V AF__N(with_sign)(AF__V x, AF__V s) {
    AF__I sign = (AF__I)AF__N(splat)((AF__REAL)-0.0);
    return (AF__V)(((AF__I)x & ~sign) | ((AF__I)s & sign));
}

static inline AF__V AF__N(vsqrt)(AF__V x) {
    size_t i;
    for (i = 0; i < AF__LANES; i++) x[i] = AF__C(sqrt)(x[i]);
    return x;
}

/* Nearest integer, exact for |x| < 2^51 (2^22 in float): adding and removing 1.5 * 2^mantissa. */
static inline AF__V AF__N(nearest)(AF__V x) {
    const AF__REAL magic = (AF__REAL)(1.5 * (double)((int64_t)1 << AF__MANTISSA));
    return (x + magic) - magic;
}

/* 2^n for whole n within the normal range. */
static inline AF__V AF__N(two_to)(AF__V n) {
    const AF__REAL magic = (AF__REAL)(1.5 * (double)((int64_t)1 << AF__MANTISSA));
    AF__I bits = (AF__I)(n + (magic + (AF__REAL)AF__BIAS));
    return (AF__V)((AF__U)bits << AF__MANTISSA);
}

/* ---- elementary functions ----
 *
 * Argument reduction, then the Taylor series carried until its next term is below half an ulp of
 * double on the reduced range. */

/* exp(r) - 1 for |r| <= ln(2)/2: r + r^2 (1/2! + r/3! + ... + r^11/13!). */
static inline AF__V AF__N(expm1_core)(AF__V r) {
    AF__V p = AF__N(splat)((AF__REAL)(1.0 / 6227020800.0));
    p = p * r + (AF__REAL)(1.0 / 479001600.0);
    p = p * r + (AF__REAL)(1.0 / 39916800.0);
    p = p * r + (AF__REAL)(1.0 / 3628800.0);
    p = p * r + (AF__REAL)(1.0 / 362880.0);
    p = p * r + (AF__REAL)(1.0 / 40320.0);
    p = p * r + (AF__REAL)(1.0 / 5040.0);
    p = p * r + (AF__REAL)(1.0 / 720.0);
    p = p * r + (AF__REAL)(1.0 / 120.0);
    p = p * r + (AF__REAL)(1.0 / 24.0);
    p = p * r + (AF__REAL)(1.0 / 6.0);
    p = p * r + (AF__REAL)0.5;
    return p * r * r + r;
}

/* x = n ln 2 + r; ln 2 in two parts, the first with enough trailing zeros that n times it is
 * exact. */
static inline AF__V AF__N(exp_reduce)(AF__V x, AF__V *r) {
    AF__V n = AF__N(nearest)(x * (AF__REAL)1.44269504088896340736);
    *r = (x - n * (AF__REAL)AF__LN2_HIGH) - n * (AF__REAL)AF__LN2_LOW;
    return n;
}

/* Outside [low, high] exp is 0 or infinity; the power of two is applied in two steps so that
 * denormal results come out right. NaN passes. */
static inline AF__V AF__N(vexp)(AF__V x) {
    const AF__V high = AF__N(splat)((AF__REAL)AF__EXP_HIGH);
    const AF__V low = AF__N(splat)((AF__REAL)AF__EXP_LOW);
    AF__V bounded = AF__N(choose)(x > high, high, AF__N(choose)(x < low, low, x)), r, n, half;
    n = AF__N(exp_reduce)(bounded, &r);
    half = AF__N(nearest)(n * (AF__REAL)0.5);
    r = (AF__N(expm1_core)(r) + (AF__REAL)1) * AF__N(two_to)(half) * AF__N(two_to)(n - half);
    r = AF__N(choose)(x > high, AF__N(splat)((AF__REAL)INFINITY), r);
    return AF__N(choose)(x != x, x, r);
}

/* 2^n (exp(r) - 1) + (2^n - 1), for -60 <= x <= 700; n = 0 where |x| < ln(2)/2. */
static inline AF__V AF__N(expm1_middle)(AF__V x) {
    AF__V r, n = AF__N(exp_reduce)(x, &r), power = AF__N(two_to)(n);
    return AF__N(expm1_core)(r) * power + (power - (AF__REAL)1);
}

/* Below -60 exp(x) is lost beside 1; above 60 the 1 is lost beside exp(x). */
static inline AF__V AF__N(vexpm1)(AF__V x) {
    AF__V high = AF__N(splat)((AF__REAL)60), low = -high, y;
    y = AF__N(expm1_middle)(AF__N(choose)(x > high, high, AF__N(choose)(x < low, low, x)));
    y = AF__N(choose)(x == (AF__REAL)0, x, y); /* keeps the sign of zero */
    return AF__N(choose)((x > high) | (x != x), AF__N(vexp)(x), y);
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1)/(m + 1). */
static inline AF__V AF__N(vlog)(AF__V x) {
    const AF__REAL tiny = (AF__REAL)AF__TINY;
    const AF__REAL grown = (AF__REAL)((int64_t)1 << AF__TINY_POWER);
    AF__I small = x < tiny;
    AF__V scaled = AF__N(choose)(small, x * grown, x), m, e, f, s, z, p, whole;
    AF__U bits = (AF__U)scaled;
    /* the exponent of x / sqrt(1/2), as a difference of bit patterns */
    AF__I power =
        (AF__I)(bits - (AF__U)AF__N(splat)((AF__REAL)0.70710678118654752440)) >> AF__MANTISSA;
    e = __builtin_convertvector(power, AF__V);
    m = (AF__V)(bits - ((AF__U)power << AF__MANTISSA));
    e = e - AF__N(choose)(small, AF__N(splat)((AF__REAL)AF__TINY_POWER), AF__N(splat)((AF__REAL)0));
    f = m - (AF__REAL)1;
    s = f / (m + (AF__REAL)1);
    z = s * s;
    p = AF__N(splat)((AF__REAL)(2.0 / 23.0));
    p = p * z + (AF__REAL)(2.0 / 21.0);
    p = p * z + (AF__REAL)(2.0 / 19.0);
    p = p * z + (AF__REAL)(2.0 / 17.0);
    p = p * z + (AF__REAL)(2.0 / 15.0);
    p = p * z + (AF__REAL)(2.0 / 13.0);
    p = p * z + (AF__REAL)(2.0 / 11.0);
    p = p * z + (AF__REAL)(2.0 / 9.0);
    p = p * z + (AF__REAL)(2.0 / 7.0);
    p = p * z + (AF__REAL)(2.0 / 5.0);
    p = p * z + (AF__REAL)(2.0 / 3.0);
    /* 2s + s z p = f - s (f - z p): f is exact, so its rounding does not spoil small logarithms */
    p = f - s * (f - z * p);
    whole = e * (AF__REAL)AF__LN2_HIGH + (p + e * (AF__REAL)AF__LN2_LOW);
    whole = AF__N(choose)(x == (AF__REAL)0, AF__N(splat)((AF__REAL)-INFINITY), whole);
    whole = AF__N(choose)(x < (AF__REAL)0, AF__N(splat)((AF__REAL)NAN), whole);
    return AF__N(choose)((x != x) | (x == (AF__REAL)INFINITY), x, whole);
}

/* log(1 + x) = log(u) + what rounding u = 1 + x has lost, divided by u. */
static inline AF__V AF__N(vlog1p)(AF__V x) {
    AF__V u = x + (AF__REAL)1, lost = x - (u - (AF__REAL)1);
    AF__V y = AF__N(vlog)(u) + lost / u;
    y = AF__N(choose)(x == (AF__REAL)0, x, y); /* keeps the sign of zero */
    return AF__N(choose)((x == (AF__REAL)INFINITY) | (x == (AF__REAL)-1), AF__N(vlog)(u), y);
}

/* x = n pi/2 + r, pi/2 in four parts. The first three products and the first difference are exact;
 * what the other two differences lose is taken off with the last part. */
static inline AF__V AF__N(turn)(AF__V x, AF__V *n) {
    AF__V first, second, third, second_part, third_part, lost;
    *n = AF__N(nearest)(x * (AF__REAL)0.63661977236758134308);
    first = x - *n * (AF__REAL)AF__HALF_PI_1;
    second_part = *n * (AF__REAL)AF__HALF_PI_2;
    third_part = *n * (AF__REAL)AF__HALF_PI_3;
    second = first - second_part;
    third = second - third_part;
    lost = ((first - second) - second_part) + ((second - third) - third_part);
    return third - (*n * (AF__REAL)AF__HALF_PI_4 - lost);
}

static inline AF__V AF__N(sin_core)(AF__V r) {
    AF__V z = r * r, p = AF__N(splat)((AF__REAL)(1.0 / 355687428096000.0));
    p = p * z - (AF__REAL)(1.0 / 1307674368000.0);
    p = p * z + (AF__REAL)(1.0 / 6227020800.0);
    p = p * z - (AF__REAL)(1.0 / 39916800.0);
    p = p * z + (AF__REAL)(1.0 / 362880.0);
    p = p * z - (AF__REAL)(1.0 / 5040.0);
    p = p * z + (AF__REAL)(1.0 / 120.0);
    p = p * z - (AF__REAL)(1.0 / 6.0);
    return p * z * r + r;
}

static inline AF__V AF__N(cos_core)(AF__V r) {
    AF__V z = r * r, p = AF__N(splat)((AF__REAL)(1.0 / 20922789888000.0));
    p = p * z - (AF__REAL)(1.0 / 87178291200.0);
    p = p * z + (AF__REAL)(1.0 / 479001600.0);
    p = p * z - (AF__REAL)(1.0 / 3628800.0);
    p = p * z + (AF__REAL)(1.0 / 40320.0);
    p = p * z - (AF__REAL)(1.0 / 720.0);
    p = p * z + (AF__REAL)(1.0 / 24.0);
    return (p * z - (AF__REAL)0.5) * z + (AF__REAL)1;
}

/* sin(x + quarter pi/2): the quadrant chooses the series and the sign. */
static inline AF__V AF__N(sine)(AF__V x, int quarter) {
    AF__V n, r = AF__N(turn)(x, &n), y;
    const AF__REAL magic = (AF__REAL)(1.5 * (double)((int64_t)1 << AF__MANTISSA));
    AF__I quadrant = (AF__I)(n + (magic + (AF__REAL)quarter));
    AF__I none = {0}, one = none + 1;
    y = AF__N(choose)((quadrant & one) == one, AF__N(cos_core)(r), AF__N(sin_core)(r));
    y = AF__N(choose)((quadrant & (one << 1)) == (one << 1), -y, y);
    return quarter ? y : AF__N(choose)(x == (AF__REAL)0, x, y); /* keeps the sign of zero */
}

/* A tile of sines or cosines; arguments too large for the reduction go to the C library one by
 * one. */
static void AF__N(sines)(AF__REAL *out, const AF__REAL *a, size_t n, int quarter) {
    AF__I large = {0};
    AF__INTEGER any[AF__LANES], all = 0;
    size_t i;
    for (i = 0; i < n; i += AF__LANES) {
        AF__V x = AF__N(get)(a + i, n - i);
        large |= ~(AF__N(fabs)(x) < (AF__REAL)AF__TURN_LIMIT);
        AF__N(set)(out + i, n - i, quarter ? AF__N(sine)(x, 1) : AF__N(sine)(x, 0));
    }
    memcpy(any, &large, sizeof any);
    for (i = 0; i < AF__LANES; i++) all |= any[i];
    if (!all) return;
    for (i = 0; i < n; i++)
        if (!(AF__C(fabs)(a[i]) < (AF__REAL)AF__TURN_LIMIT))
            out[i] = quarter ? AF__C(cos)(a[i]) : AF__C(sin)(a[i]);
}

/* atan(t) for 0 <= t <= 1: t is moved to the nearest of 0, tan(pi/8), 1, then the series. */
static inline AF__V AF__N(atan_core)(AF__V t) {
    const AF__REAL c1 = (AF__REAL)0.41421356237309504880, a1 = (AF__REAL)0.39269908169872415481;
    AF__I middle = t > (AF__REAL)0.19891236737965800691;
    AF__I upper = t > (AF__REAL)0.66817863791929891999;
    AF__V zero = AF__N(splat)((AF__REAL)0), one = AF__N(splat)((AF__REAL)1);
    AF__V c = AF__N(choose)(upper, one, AF__N(choose)(middle, zero + c1, zero));
    AF__V a =
        AF__N(choose)(upper, zero + (AF__REAL)(AF__PI / 4), AF__N(choose)(middle, zero + a1, zero));
    AF__V s = (t - c) / (one + t * c), z = s * s;
    AF__V p = AF__N(splat)((AF__REAL)(1.0 / 25.0));
    p = p * z - (AF__REAL)(1.0 / 23.0);
    p = p * z + (AF__REAL)(1.0 / 21.0);
    p = p * z - (AF__REAL)(1.0 / 19.0);
    p = p * z + (AF__REAL)(1.0 / 17.0);
    p = p * z - (AF__REAL)(1.0 / 15.0);
    p = p * z + (AF__REAL)(1.0 / 13.0);
    p = p * z - (AF__REAL)(1.0 / 11.0);
    p = p * z + (AF__REAL)(1.0 / 9.0);
    p = p * z - (AF__REAL)(1.0 / 7.0);
    p = p * z + (AF__REAL)(1.0 / 5.0);
    p = p * z - (AF__REAL)(1.0 / 3.0);
    return a + (p * z * s + s);
}

static AF__V AF__N(vatan2)(AF__V y, AF__V x) {
    AF__V ay = AF__N(fabs)(y), ax = AF__N(fabs)(x), zero = AF__N(splat)((AF__REAL)0);
    AF__I steep = ay > ax;
    AF__V low = AF__N(choose)(steep, ax, ay), high = AF__N(choose)(steep, ay, ax), t;
    AF__I none = {0};
    t = low / high;
    t = AF__N(choose)(high == (AF__REAL)0, zero, t);                     /* atan2(0, 0) = 0 or pi */
    /* infinities */
    t = AF__N(choose)((low == high) & (high != (AF__REAL)0), zero + (AF__REAL)1, t);
    t = AF__N(atan_core)(t);
    t = AF__N(choose)(steep, (zero + (AF__REAL)(AF__PI / 2)) - t, t);
    t = AF__N(choose)((AF__I)x < none, (zero + (AF__REAL)AF__PI) - t, t); /* sign bit of x */
    t = AF__N(with_sign)(t, y);
    return AF__N(choose)((x != x) | (y != y), x + y, t);
}

/* tanh |x| = m / (m + 2), m = expm1(2 |x|). */
static inline AF__V AF__N(vtanh)(AF__V x) {
    AF__V a = AF__N(fabs)(x), m;
    a = AF__N(choose)(a > (AF__REAL)22, AF__N(splat)((AF__REAL)22), a);
    m = AF__N(expm1_middle)(a * (AF__REAL)2);
    return AF__N(choose)(x != x, x, AF__N(with_sign)(m / (m + (AF__REAL)2), x));
}

/* 1/cosh(x)^2 = 4 e / (1 + e)^2, e = exp(-2 |x|). */
static inline AF__V AF__N(vsech2)(AF__V x) {
    AF__V e = AF__N(vexp)(AF__N(fabs)(x) * (AF__REAL)-2), d = e + (AF__REAL)1;
    return e * (AF__REAL)4 / (d * d);
}

static inline AF__V AF__N(vsigmoid)(AF__V x) {
    AF__V e = AF__N(vexp)(-AF__N(fabs)(x)), one = AF__N(splat)((AF__REAL)1);
    return AF__N(choose)(x < (AF__REAL)0, e, one) / (e + one);
}

static inline AF__V AF__N(vsoftplus)(AF__V x) {
    AF__V zero = AF__N(splat)((AF__REAL)0);
    AF__V y = AF__N(choose)(x > zero, x, zero) + AF__N(vlog1p)(AF__N(vexp)(-AF__N(fabs)(x)));
    return AF__N(choose)(x != x, x, y);
}

static inline AF__V AF__N(vfloor)(AF__V x) {
    /* from here on all numbers are whole */
    const AF__REAL whole = (AF__REAL)((int64_t)1 << AF__MANTISSA);
    AF__V a = AF__N(fabs)(x), one = AF__N(splat)((AF__REAL)1);
    AF__V n = AF__N(with_sign)((a + whole) - whole, x);
    n = AF__N(choose)(n > x, n - one, n);
    return AF__N(choose)(a < whole, n, x);
}

static inline AF__V AF__N(vsign)(AF__V x) {
    AF__V zero = AF__N(splat)((AF__REAL)0), one = AF__N(splat)((AF__REAL)1);
    AF__V s = AF__N(choose)(x > zero, one, AF__N(choose)(x < zero, -one, zero));
    return AF__N(choose)(x != x, x, s);
}

/* ---- tiles: one elementwise operation over n elements ---- */

/* The whole number nearest to zero beside x; 0 for what is none. */
static uint64_t AF__N(seed)(AF__REAL x) {
    const AF__REAL limit = (AF__REAL)9223372036854775808.0; /* 2^63 */
    return x > -limit && x < limit ? (uint64_t)(int64_t)x : 0;
}

static void AF__N(random)(AF__REAL *out, const AF__REAL *seed, uint64_t stream, size_t first,
                          size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        AF__REAL u = (AF__REAL)af_random_uniform(AF__N(seed)(seed[i]), stream, first + i);
        out[i] = u < (AF__REAL)1 ? u : (AF__REAL)0.5; /* a float may round up to 1 */
    }
}

#define AF__MAP1(OP, value)                                         \
    case AF_OP_##OP:                                                \
        for (i = 0; i < n; i += AF__LANES) {                        \
            AF__V x = AF__N(get)(a + i, n - i);                     \
            AF__N(set)(out + i, n - i, value);                      \
        }                                                           \
        break;
#define AF__MAP2(OP, value)                                         \
    case AF_OP_##OP:                                                \
        for (i = 0; i < n; i += AF__LANES) {                        \
            AF__V x = AF__N(get)(a + i, n - i);                     \
            AF__V y = AF__N(get)(b + i, n - i);                     \
            AF__N(set)(out + i, n - i, value);                      \
        }                                                           \
        break;
#define AF__MAP3(OP, value)                                         \
    case AF_OP_##OP:                                                \
        for (i = 0; i < n; i += AF__LANES) {                        \
            AF__V x = AF__N(get)(a + i, n - i);                     \
            AF__V y = AF__N(get)(b + i, n - i);                     \
            AF__V z = AF__N(get)(c + i, n - i);                     \
            AF__N(set)(out + i, n - i, value);                      \
        }                                                           \
        break;

static void AF__N(micro)(const af_micro *m, AF__REAL *const *reg, size_t first, size_t n) {
    const AF__REAL *a = reg[m->in[0]], *b = reg[m->in[1]], *c = reg[m->in[2]];
    AF__REAL *out = reg[m->out];
    const AF__V one = AF__N(splat)((AF__REAL)1), zero = AF__N(splat)((AF__REAL)0);
    size_t i;
    switch (m->op) {
        AF__MAP1(NEG, -x)
        AF__MAP1(EXP, AF__N(vexp)(x))
        AF__MAP1(EXPM1, AF__N(vexpm1)(x))
        AF__MAP1(LOG, AF__N(vlog)(x))
        AF__MAP1(LOG1P, AF__N(vlog1p)(x))
        AF__MAP1(SQRT, AF__N(vsqrt)(x))
        AF__MAP1(RECIPROCAL, one / x)
    case AF_OP_SIN: AF__N(sines)(out, a, n, 0); break;
    case AF_OP_COS: AF__N(sines)(out, a, n, 1); break;
        AF__MAP1(TANH, AF__N(vtanh)(x))
        AF__MAP1(SECH2, AF__N(vsech2)(x))
        AF__MAP1(SIGMOID, AF__N(vsigmoid)(x))
        AF__MAP1(SOFTPLUS, AF__N(vsoftplus)(x))
        AF__MAP1(ATAN, AF__N(vatan2)(x, one))
        AF__MAP1(ABS, AF__N(fabs)(x))
        AF__MAP1(SIGN, AF__N(vsign)(x))
        AF__MAP1(FLOOR, AF__N(vfloor)(x))
        AF__MAP2(ADD, x + y)
        AF__MAP2(SUB, x - y)
        AF__MAP2(MUL, x * y)
        AF__MAP2(ATAN2, AF__N(vatan2)(x, y))
        AF__MAP2(LESS, AF__N(choose)(x < y, one, zero))
        AF__MAP3(WHERE, AF__N(choose)(x != zero, y, z))
    case AF_OP_RANDOM: AF__N(random)(out, a, m->stream, first, n); break;
    default: break;
    }
}

#undef AF__MAP1
#undef AF__MAP2
#undef AF__MAP3

static AF__REAL *AF__N(base)(const af__cpu *cpu, const af_operand *o) {
    return (AF__REAL *)cpu->base[o->buffer] + o->offset;
}

/* Elements [first, first + n) of the iteration space, read through strides into `out`; or written
 * from it when `store`. */
static void AF__N(walk)(const af_instr *instr, const af_operand *o, AF__REAL *array, size_t first,
                        size_t n, AF__REAL *tile, int store) {
    size_t index[AF_RANK_MAX] = {0}, axis, rest = first, last = instr->rank - 1;
    size_t step = o->stride[last], i;
    for (axis = instr->rank; axis-- > 0;) {
        index[axis] = rest % instr->dim[axis];
        rest /= instr->dim[axis];
    }
    while (n > 0) {
        size_t run = instr->dim[last] - index[last], at = 0;
        AF__REAL *p;
        if (run > n) run = n;
        for (axis = 0; axis <= last; axis++) at += index[axis] * o->stride[axis];
        p = array + at;
        if (store) for (i = 0; i < run; i++) p[i * step] = tile[i];
        else if (step == 0) for (i = 0; i < run; i++) tile[i] = *p;
        else if (step == 1) memcpy(tile, p, run * sizeof *p);
        else for (i = 0; i < run; i++) tile[i] = p[i * step];
        tile += run;
        n -= run;
        index[last] += run;
        for (axis = last; axis > 0 && index[axis] == instr->dim[axis]; axis--) {
            index[axis] = 0;
            index[axis - 1]++;
        }
    }
}

/* Runs one chunk of a fused elementwise run, tile by tile. Contiguous arrays are read in place. */
static void AF__N(tile_chunk)(size_t chunk, void *user) {
    const af__job *job = (const af__job *)user;
    const af_program *p = job->cpu->program;
    const af_instr *instr = job->instr;
    const af_operand *operand = p->operand + instr->operand;
    const af_micro *micro = p->micro + instr->micro;
    size_t length = job->tile, begin = chunk * job->chunk, end = begin + job->chunk, i, first;
    AF__REAL *reg[AF__REGISTERS], *own[AF__REGISTERS], *array[AF__OPERANDS];
    AF__REAL memory[AF__TILE_BYTES / sizeof(AF__REAL)] __attribute__((aligned(64)));
    if (end > job->total) end = job->total;
    for (i = 0; i < instr->registers; i++) reg[i] = own[i] = memory + i * length;
    for (i = 0; i < instr->loads + instr->stores; i++)
        array[i] = AF__N(base)(job->cpu, &operand[i]);
    for (i = 0; i < instr->micros; i++) {
        size_t j;
        if (micro[i].op != AF_OP_CONSTANT) continue;
        for (j = 0; j < length; j++) own[micro[i].out][j] = (AF__REAL)micro[i].value;
    }
    for (first = begin; first < end; first += length) {
        size_t n = end - first < length ? end - first : length;
        for (i = 0; i < instr->loads; i++) {
            if (instr->rank == 1 && operand[i].stride[0] == 1) reg[i] = array[i] + first;
            else AF__N(walk)(instr, &operand[i], array[i], first, n, own[i], 0);
        }
        for (i = 0; i < instr->micros; i++)
            if (micro[i].op != AF_OP_CONSTANT) AF__N(micro)(&micro[i], reg, first, n);
        for (i = 0; i < instr->stores; i++) {
            const af_operand *o = &operand[instr->loads + i];
            AF__REAL *from = reg[p->store[instr->store_register + i]];
            AF__REAL *to = array[instr->loads + i];
            if (instr->rank == 1 && o->stride[0] == 1) memcpy(to + first, from, n * sizeof *from);
            else AF__N(walk)(instr, o, to, first, n, from, 1);
        }
    }
}

/* ---- sums ---- */

static AF__REAL AF__N(sum_run)(const AF__REAL *x, size_t n, size_t step) {
    AF__V sum[4];
    AF__REAL total = 0, part[AF__LANES];
    size_t i = 0, k;
    if (step == 1) {
        for (k = 0; k < 4; k++) sum[k] = AF__N(splat)((AF__REAL)0);
        for (; i + 4 * AF__LANES <= n; i += 4 * AF__LANES)
            for (k = 0; k < 4; k++) sum[k] += AF__N(load)(x + i + k * AF__LANES);
        AF__N(put)(part, (sum[0] + sum[1]) + (sum[2] + sum[3]));
        for (k = 0; k < AF__LANES; k++) total += part[k];
    }
    for (; i < n; i++) total += x[i * step];
    return total;
}

/* Position of element `linear` of axes [first, last) in units of the operand's elements. */
static size_t AF__N(position)(const af_instr *instr, const size_t *stride, size_t first,
                              size_t last, size_t linear) {
    size_t at = 0, axis;
    for (axis = last; axis-- > first;) {
        at += linear % instr->dim[axis] * stride[axis];
        linear /= instr->dim[axis];
    }
    return at;
}

/* out[j] for outputs [begin, end), summing the inner elements [low, high), output after output. */
static void AF__N(sum_rows)(const af_instr *instr, const af_operand *o, const AF__REAL *x,
                            AF__REAL *out, size_t begin, size_t end, size_t low, size_t high) {
    size_t outer = instr->rank - instr->inner, last = instr->rank - 1, j, i;
    for (j = begin; j < end; j++) {
        const AF__REAL *row = x + AF__N(position)(instr, o->stride, 0, outer, j);
        AF__REAL total = 0;
        for (i = low; i < high;) {
            size_t run = instr->dim[last] - i % instr->dim[last];
            if (run > high - i) run = high - i;
            total += AF__N(sum_run)(row + AF__N(position)(instr, o->stride, outer, last + 1, i),
                                    run, o->stride[last]);
            i += run;
        }
        out[j] = total;
    }
}

/* The same where neighbouring outputs are neighbours in x: runs of outputs are summed together. */
static void AF__N(sum_columns)(const af_instr *instr, const af_operand *o, const AF__REAL *x,
                               AF__REAL *out, size_t begin, size_t end, size_t low, size_t high) {
    size_t outer = instr->rank - instr->inner, width = instr->dim[outer - 1], j, i, k;
    for (j = begin; j < end;) {
        size_t run = width - j % width;
        const AF__REAL *column = x + AF__N(position)(instr, o->stride, 0, outer, j);
        if (run > end - j) run = end - j;
        if (run > 512) run = 512; /* the sums stay in the first-level cache */
        for (k = 0; k < run; k++) out[j + k] = 0;
        for (i = low; i < high; i++) {
            const AF__REAL *row = column + AF__N(position)(instr, o->stride, outer, instr->rank, i);
            for (k = 0; k + AF__LANES <= run; k += AF__LANES)
                AF__N(put)(out + j + k, AF__N(load)(out + j + k) + AF__N(load)(row + k));
            for (; k < run; k++) out[j + k] += row[k];
        }
        j += run;
    }
}

static void AF__N(sum_chunk)(size_t chunk, void *user) {
    const af__job *job = (const af__job *)user;
    const af_instr *instr = job->instr;
    const af_operand *o = job->cpu->program->operand + instr->operand;
    size_t part = chunk % instr->chunks, block = chunk / instr->chunks;
    size_t begin = block * job->chunk, end = begin + job->chunk, outer = instr->rank - instr->inner;
    size_t low = job->depth * part / instr->chunks, high = job->depth * (part + 1) / instr->chunks;
    const AF__REAL *x = AF__N(base)(job->cpu, &o[0]);
    AF__REAL *out = AF__N(base)(job->cpu, &o[1]);
    int columns = outer > 0 && o[0].stride[outer - 1] == 1 && o[0].stride[instr->rank - 1] != 1;
    if (instr->chunks > 1) out = (AF__REAL *)job->cpu->base[instr->scratch] + part * job->total;
    if (end > job->total) end = job->total;
    if (columns) AF__N(sum_columns)(instr, &o[0], x, out, begin, end, low, high);
    else AF__N(sum_rows)(instr, &o[0], x, out, begin, end, low, high);
}

/* Adds the partial sums in the order of the chunks. */
static void AF__N(sum_parts)(AF__REAL *out, const AF__REAL *part, size_t n, size_t parts) {
    size_t i, k;
    for (i = 0; i < n; i++) out[i] = part[i];
    for (k = 1; k < parts; k++)
        for (i = 0; i < n; i++) out[i] += part[k * n + i];
}

/* ---- matrix products: C (M,N) = A (M,K) B (K,N), any strides for A and B ----
 *
 * B is packed once into panels of AF__NR columns, A by each unit of work into panels of AF__MR
 * rows; the kernel keeps an AF__MR x AF__NR block of C in registers. A unit is a block of rows
 * times a block of columns times a part of the depth; parts are added in order afterwards. */

#define AF__NR (AF__NV * AF__LANES)

static void AF__N(pack)(const AF__REAL *x, size_t lines, size_t line_stride, size_t depth,
                        size_t depth_stride, size_t width, AF__REAL *out) {
    size_t k, i;
    for (k = 0; k < depth; k++) {
        const AF__REAL *from = x + k * depth_stride;
        for (i = 0; i < lines; i++) out[k * width + i] = from[i * line_stride];
        for (; i < width; i++) out[k * width + i] = 0;
    }
}

#define AF__ROW_DECLARE(i) AF__V c##i##0 = zero, c##i##1 = zero, c##i##2 = zero;
#define AF__ROW_ADD(i)               \
    av = AF__N(splat)(a[i]);         \
    c##i##0 += av * b0;              \
    c##i##1 += av * b1;              \
    c##i##2 += av * b2;
#define AF__ROW_PUT(i)                              \
    AF__N(put)(out + i * AF__NR, c##i##0);          \
    AF__N(put)(out + i * AF__NR + AF__LANES, c##i##1); \
    AF__N(put)(out + i * AF__NR + 2 * AF__LANES, c##i##2);

/* out (MR, NR) = sum over depth of a column of A times a row of B. */
static void AF__N(gemm_kernel)(size_t depth, const AF__REAL *a, const AF__REAL *b, AF__REAL *out) {
    const AF__V zero = AF__N(splat)((AF__REAL)0);
    size_t k;
    AF__ROWS(AF__ROW_DECLARE)
    for (k = 0; k < depth; k++) {
        AF__V b0 = AF__N(load)(b), b1 = AF__N(load)(b + AF__LANES);
        AF__V b2 = AF__N(load)(b + 2 * AF__LANES);
        AF__V av;
        AF__ROWS(AF__ROW_ADD)
        a += AF__MR;
        b += AF__NR;
    }
    AF__ROWS(AF__ROW_PUT)
}

#undef AF__ROW_DECLARE
#undef AF__ROW_ADD
#undef AF__ROW_PUT

static void AF__N(gemm_block)(AF__REAL *c, size_t stride, size_t rows, size_t columns,
                              const AF__REAL *block, int add) {
    size_t i, j;
    for (i = 0; i < rows; i++, c += stride, block += AF__NR) {
        if (add) for (j = 0; j < columns; j++) c[j] += block[j];
        else for (j = 0; j < columns; j++) c[j] = block[j];
    }
}

static void AF__N(gemm_pack_chunk)(size_t panel, void *user) {
    const af__gemm *g = (const af__gemm *)user;
    size_t first = panel * AF__NR, columns = g->n - first < AF__NR ? g->n - first : AF__NR;
    AF__N(pack)((const AF__REAL *)g->b + first * g->b_column, columns, g->b_column, g->k, g->b_row,
                AF__NR, (AF__REAL *)g->packed + panel * AF__NR * g->k);
}

static void AF__N(gemm_chunk)(size_t unit, void *user) {
    const af__gemm *g = (const af__gemm *)user;
    AF__REAL a[AF__GEMM_ROWS * AF__GEMM_DEPTH] __attribute__((aligned(64)));
    AF__REAL block[AF__MR * AF__NR] __attribute__((aligned(64)));
    size_t part = unit % g->parts, row = unit / g->parts % g->row_blocks;
    size_t column = unit / g->parts / g->row_blocks;
    size_t i0 = row * AF__GEMM_ROWS, i1 = i0 + AF__GEMM_ROWS < g->m ? i0 + AF__GEMM_ROWS : g->m;
    size_t j0 = column * g->block_columns;
    size_t j1 = j0 + g->block_columns < g->n ? j0 + g->block_columns : g->n;
    size_t k0 = part * g->part_depth, k1 = k0 + g->part_depth < g->k ? k0 + g->part_depth : g->k;
    AF__REAL *c = g->parts > 1 ? (AF__REAL *)g->partial + part * g->m * g->n : (AF__REAL *)g->c;
    size_t k, i, j;
    for (k = k0; k < k1; k += AF__GEMM_DEPTH) {
        size_t depth = af__clamp(k1 - k, 0, AF__GEMM_DEPTH);
        for (i = i0; i < i1; i += AF__MR)
            AF__N(pack)((const AF__REAL *)g->a + i * g->a_row + k * g->a_column,
                        i1 - i < AF__MR ? i1 - i : AF__MR, g->a_row, depth, g->a_column, AF__MR,
                        a + (i - i0) * depth);
        for (j = j0; j < j1; j += AF__NR)
            for (i = i0; i < i1; i += AF__MR) {
                AF__N(gemm_kernel)(depth, a + (i - i0) * depth,
                                   (const AF__REAL *)g->packed + j * g->k + k * AF__NR, block);
                AF__N(gemm_block)(c + i * g->n + j, g->n, i1 - i < AF__MR ? i1 - i : AF__MR,
                                  j1 - j < AF__NR ? j1 - j : AF__NR, block, k > k0);
            }
    }
}

/* Small products, without packing: one block of columns. */
static void AF__N(gemm_small)(size_t unit, void *user) {
    const af__gemm *g = (const af__gemm *)user;
    const AF__REAL *a = (const AF__REAL *)g->a, *b = (const AF__REAL *)g->b;
    size_t j0 = unit * g->block_columns, i, j, k;
    size_t n = g->n - j0 < g->block_columns ? g->n - j0 : g->block_columns;
    for (i = 0; i < g->m; i++) {
        AF__REAL *row = (AF__REAL *)g->c + i * g->n + j0;
        for (j = 0; j < n; j++) row[j] = 0;
        for (k = 0; k < g->k; k++) {
            AF__REAL x = a[i * g->a_row + k * g->a_column];
            const AF__REAL *from = b + k * g->b_row + j0 * g->b_column;
            if (g->b_column != 1) {
                for (j = 0; j < n; j++) row[j] += x * from[j * g->b_column];
                continue;
            }
            for (j = 0; j + AF__LANES <= n; j += AF__LANES)
                AF__N(put)(row + j, AF__N(load)(row + j) + AF__N(load)(from + j) * x);
            for (; j < n; j++) row[j] += x * from[j];
        }
    }
}

/* ---- rows ---- */

static void AF__N(rows)(const af__cpu *cpu, const af_instr *instr) {
    const af_operand *o = cpu->program->operand + instr->operand;
    const AF__REAL *x = AF__N(base)(cpu, &o[0]), *index = AF__N(base)(cpu, &o[1]);
    AF__REAL *out = AF__N(base)(cpu, &o[2]);
    size_t i, j, n = instr->dim[1];
    if (instr->kind == AF_INSTR_SCATTER) memset(out, 0, n * instr->dim[2] * sizeof *out);
    for (i = 0; i < instr->dim[0]; i++) {
        AF__REAL r = index[i];
        /* never out of bounds */
        size_t row = r >= 0 && r < (AF__REAL)instr->dim[2] ? (size_t)r : 0;
        if (instr->kind == AF_INSTR_GATHER) memcpy(out + i * n, x + row * n, n * sizeof *out);
        else for (j = 0; j < n; j++) out[row * n + j] += x[i * n + j];
    }
}

#undef AF__NR
#undef AF__LANES
#undef AF__V
#undef AF__I
#undef AF__U
#undef AF__N
#undef AF__C
#undef AF__REAL
#undef AF__INTEGER
#undef AF__UNSIGNED
#undef AF__MANTISSA
#undef AF__BIAS
#undef AF__LN2_HIGH
#undef AF__LN2_LOW
#undef AF__EXP_HIGH
#undef AF__EXP_LOW
#undef AF__TINY
#undef AF__TINY_POWER
#undef AF__HALF_PI_1
#undef AF__HALF_PI_2
#undef AF__HALF_PI_3
#undef AF__HALF_PI_4
#undef AF__TURN_LIMIT
