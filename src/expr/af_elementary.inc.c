/* ---- elementary functions of vectors -----------------------------------------------------------
 *
 * Argument reduction, a polynomial, and sums kept in two parts where a rounding would show. All
 * sets and both precisions take the same way; only the polynomials are shorter in float.
 *
 * The polynomials are minimax: Remez exchange in 50 digits for the smallest relative error of the
 * function, rounded to the precision. With g for the polynomial, and the relative error in double
 * and in float:
 *     exp(r) = 1 + r + r^2 g(r),             |r| <= ln(2)/2         2^-55, 2^-26 (of exp(r) - 1)
 *     log(1 + f) = f - f^2/2 + f^3 g(f),     -1/4 <= f <= 1/2       2^-57, 2^-30
 *     sin(r) = r + r^3 g(r^2),               |r| <= pi/4            2^-58, 2^-28
 *     cos(r) = 1 - r^2/2 + r^4 g(r^2),       |r| <= pi/4            2^-64, 2^-33
 *     atan(s) = s + s^3 g(s^2),              |s| <= tan(pi/8)       2^-59, 2^-30
 * They are evaluated by pairs of coefficients, which halves the chain of dependent steps at the
 * price of x^2, mostly at hand. */

/* a + b x + c x^2 + ... of AF__Pn coefficients, given x2 = x^2 */
#define AF__P1(x, x2, a) AF__N(splat)(AF__R(a))
#define AF__P2(x, x2, a, b) AF__N(fma)(AF__P1(x, x2, b), x, AF__P1(x, x2, a))
#define AF__P3(x, x2, a, b, c) AF__N(fma)(AF__P1(x, x2, c), x2, AF__P2(x, x2, a, b))
#define AF__P4(x, x2, a, b, ...) \
    AF__N(fma)(AF__P2(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P5(x, x2, a, b, ...) \
    AF__N(fma)(AF__P3(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P6(x, x2, a, b, ...) \
    AF__N(fma)(AF__P4(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P7(x, x2, a, b, ...) \
    AF__N(fma)(AF__P5(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P8(x, x2, a, b, ...) \
    AF__N(fma)(AF__P6(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P9(x, x2, a, b, ...) \
    AF__N(fma)(AF__P7(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P10(x, x2, a, b, ...) \
    AF__N(fma)(AF__P8(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P11(x, x2, a, b, ...) \
    AF__N(fma)(AF__P9(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P13(x, x2, a, b, ...) \
    AF__N(fma)(AF__P11(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P15(x, x2, a, b, ...) \
    AF__N(fma)(AF__P13(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P17(x, x2, a, b, ...) \
    AF__N(fma)(AF__P15(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))
#define AF__P19(x, x2, a, b, ...) \
    AF__N(fma)(AF__P17(x, x2, __VA_ARGS__), x2, AF__P2(x, x2, a, b))

#if AF__BITS == 64
#  define AF__LN2_HIGH 0.6931471805601177           /* 40 bits: times an exponent it is exact */
#  define AF__LN2_LOW -1.7239444525614835e-13
#  define AF__EXP_HIGH 710.0                        /* above it exp is infinite */
#  define AF__EXP_LOW -746.0                        /* below it exp is 0 */
#  define AF__LOST 40.0                             /* exp(-40) is lost beside 1 */
#  define AF__HALF_PI_1 1.570796325802803           /* 53 bits of pi/2, as 27 and 26 */
#  define AF__HALF_PI_1_REST 9.920935184482005e-10
#  define AF__HALF_PI_2 6.123234014771656e-17       /* the next 53 */
#  define AF__HALF_PI_2_REST -1.9034889470454776e-25
#  define AF__HALF_PI_3 -1.4973849048591698e-33
#  define AF__TURN_LIMIT 1e5                        /* n < 2^17: times 27 or 26 bits it is exact */
#  define AF__QUARTER_PI_HIGH 0.7853981633974483    /* 50 bits: up to 4 times it is exact */
#  define AF__QUARTER_PI_LOW 3.061616997868383e-17
#  define AF__HUGE 3.273390607896142e150            /* 2^500: sums and reciprocals are normal */
#  define AF__SHRINK 6.223015277861142e-61          /* 2^-200 */
#  define AF__MINUTE 1.4996968138956309e-241        /* 2^-800: so are exact products */
#  define AF__GROW 2.037035976334486e90             /* 2^300 */
#  define AF__EXP(x, x2) AF__P10(x, x2, 0.5, 0.1666666666666668, 0.04166666666661954, \
       0.008333333333318965, 0.0013888888920710386, 0.00019841269894328438, \
       2.4801516070089656e-05, 2.755723512964482e-06, 2.7622345668962734e-07, \
       2.511236467632832e-08)
#  define AF__LOG(x, x2) AF__P19(x, x2, 0.3333333333333364, -0.2500000000001114, \
       0.19999999999889498, -0.1666666666371611, 0.1428571429524355, -0.12500000291102073, \
       0.11111111036617935, -0.09999985934266326, 0.09090885373478536, -0.08333682147645248, \
       0.07693493157844622, -0.07139094012492576, 0.06643039846613703, -0.06244673072670569, \
       0.06075961213718601, -0.05982381718926393, 0.05122706052475021, -0.029987651585271988, \
       0.0083338700660734)
#  define AF__SIN(x, x2) AF__P6(x, x2, -0.16666666666666632, 0.00833333333332237, \
       -0.00019841269829771143, 2.7557313678657864e-06, -2.5050755960234538e-08, \
       1.5896666442185514e-10)
#  define AF__COS(x, x2) AF__P6(x, x2, 0.0416666666666666, -0.0013888888888874064, \
       2.4801587289443465e-05, -2.7557314340655437e-07, 2.0875721623225418e-09, \
       -1.135955930698334e-11)
#  define AF__ATAN(x, x2) AF__P11(x, x2, -0.333333333333332, 0.19999999999953874, \
       -0.14285714280226325, 0.11111110784978498, -0.0909089780182059, 0.07692061000326703, \
       -0.06663112928596485, 0.05847953210750414, -0.05039588389918098, 0.03807164254764649, \
       -0.017914815401158208)
#else
#  define AF__LN2_HIGH 0.69317626953125             /* 14 bits */
#  define AF__LN2_LOW -2.9088971e-05
#  define AF__EXP_HIGH 89.0
#  define AF__EXP_LOW -104.0
#  define AF__LOST 20.0
#  define AF__HALF_PI_1 1.57080078125               /* 24 bits of pi/2, as 12 and 12 */
#  define AF__HALF_PI_1_REST -4.4107437e-06
#  define AF__HALF_PI_2 -4.3713953e-08
#  define AF__HALF_PI_2_REST 2.5650593e-12
#  define AF__HALF_PI_3 -1.7151245e-15
#  define AF__TURN_LIMIT 1e3                        /* n < 2^10 */
#  define AF__QUARTER_PI_HIGH 0.785398006439209     /* 21 bits */
#  define AF__QUARTER_PI_LOW 1.5695823663008923e-07
#  define AF__HUGE 1.8014399e16                     /* 2^54 */
#  define AF__SHRINK 9.094947e-13                   /* 2^-40 */
#  define AF__MINUTE 1.2924697e-26                  /* 2^-86 */
#  define AF__GROW 1.1529215e18                     /* 2^60 */
#  define AF__EXP(x, x2) AF__P5(x, x2, 0.5, 0.16666545, 0.0416664034, 0.00836645719, \
       0.00139405613)
#  define AF__LOG(x, x2) AF__P9(x, x2, 0.333333373, -0.250001669, 0.199998438, -0.166555658, \
       0.142705277, -0.127147868, 0.117358848, -0.0925257355, 0.0388068445)
#  define AF__SIN(x, x2) AF__P3(x, x2, -0.166666552, 0.00833217613, -0.000195169778)
#  define AF__COS(x, x2) AF__P3(x, x2, 0.0416666456, -0.00138873642, 2.44380917e-05)
#  define AF__ATAN(x, x2) AF__P5(x, x2, -0.333333164, 0.199984863, -0.142437935, 0.105955712, \
       -0.0608230531)
#endif

/* ---- numbers in two parts ---- */

/* high + low, low about the rounding error of high. */
typedef struct AF__N(pair) {
    AF__V high, low;
} AF__N(pair);

/* a + b for |a| >= |b.high|, or a = 0. */
AF__INLINE AF__N(pair) AF__N(sum)(AF__V a, AF__N(pair) b) {
    AF__N(pair) y;
    y.high = a + b.high;
    y.low = (b.high - (y.high - a)) + b.low;
    return y;
}

/* (1 + a) + b for |b.high| <= |1 + a|, or a = -1. */
AF__INLINE AF__N(pair) AF__N(one_plus)(AF__V a, AF__N(pair) b) {
    AF__V whole = a + AF__R(1);
    b.low += a - (whole - AF__R(1));
    return AF__N(sum)(whole, b);
}

/* c - a b, rounded once if c is near a b. Without fused operations the product is made of halves:
 * the upper ones have half the bits, so that their products are exact. */
AF__INLINE AF__V AF__N(remainder)(AF__V a, AF__V b, AF__V c) {
#if AF__FUSED
    return AF__N(fnma)(a, b, c);
#else
    const AF__UNSIGNED lower = ((AF__UNSIGNED)1 << (AF__MANTISSA / 2 + 1)) - 1;
    AF__V a1 = (AF__V)((AF__U)a & ~lower), b1 = (AF__V)((AF__U)b & ~lower);
    AF__V a2 = a - a1, b2 = b - b1;
    return (((c - a1 * b1) - a1 * b2) - a2 * b1) - a2 * b2;
#endif
}

/* The same for a whole number n and b = high + low whose products with n are exact. */
AF__INLINE AF__V AF__N(less_turns)(AF__V n, AF__REAL high, AF__REAL low, AF__V c) {
#if AF__FUSED
    return AF__N(fnma)(n, AF__N(splat)(high + low), c);
#else
    return (c - n * high) - n * low;
#endif
}

/* a / b: the quotient, wrong by a few roundings, and from the remainder what those have lost. */
AF__INLINE AF__N(pair) AF__N(ratio)(AF__N(pair) a, AF__N(pair) b) {
    AF__N(pair) q;
    AF__V r = AF__R(1) / b.high, rest;
    q.high = AF__N(product)(a.high, r);
    rest = AF__N(remainder)(q.high, b.high, a.high) + AF__N(fnma)(q.high, b.low, a.low);
    q.low = rest * r;
    return q;
}

/* ---- exponentials ---- */

/* exp(x) = 2^n (1 + s), |s| < 0.42, for AF__EXP_LOW <= x <= -AF__EXP_LOW; n = 0 for |x| < ln(2)/2.
 * Returns s, of which n ln(2) is taken in two parts. */
AF__INLINE AF__N(pair) AF__N(exp_parts)(AF__V x, AF__V *n) {
    AF__V whole = AF__N(nearest)(x, AF__R(1.44269504088896340736)); /* 1 / ln 2 */
    AF__V first = AF__N(fnma)(whole, AF__N(splat)(AF__R(AF__LN2_HIGH)), x);
    AF__V second = whole * AF__R(AF__LN2_LOW), r = first - second, r2 = r * r;
    AF__N(pair) s;
    second = AF__N(fma)(r2, AF__EXP(r, r2), -second);
    s.high = first + second;
    s.low = second - (s.high - first);
    *n = whole;
    return s;
}

/* 2^-n, or what is as small beside 1. */
AF__INLINE AF__V AF__N(shrunk)(AF__V n) { return AF__N(two_to)(AF__N(at_least)(-n, AF__R(-100))); }

AF__INLINE AF__V AF__N(vexp)(AF__V x) {
    AF__V n;
    x = AF__N(at_least)(AF__N(at_most)(x, AF__R(AF__EXP_HIGH)), AF__R(AF__EXP_LOW));
    x = AF__N(exp_parts)(x, &n).high + AF__R(1);
    return AF__N(scale)(x, n);
}

/* 2^n ((1 - 2^-n) + s). */
AF__INLINE AF__V AF__N(vexpm1)(AF__V x) {
    AF__V n, a = AF__N(at_least)(AF__N(at_most)(x, AF__R(AF__EXP_HIGH)), AF__R(-AF__LOST));
    AF__N(pair) y = AF__N(exp_parts)(a, &n);
    y = AF__N(one_plus)(-AF__N(shrunk)(n), y);
    return AF__N(with_sign)(AF__N(scale)(y.high + y.low, n), x); /* the sign of zero */
}

/* With exp(2|x|) = 2^n (1 + s) and u = 2^-n: ((1 - u) + s) / ((1 + u) + s). Where 1 + u is 1, the
 * numerator is 1 - 2 u + s, for the same quotient. */
AF__INLINE AF__V AF__N(vtanh)(AF__V x) {
    AF__V n, u, whole;
    AF__N(pair) s;
    s = AF__N(exp_parts)(AF__N(at_most)(AF__N(fabs)(x) * AF__R(2), AF__R(AF__LOST)), &n);
    u = AF__N(two_to)(-n);
    whole = u + AF__R(1);
    s = AF__N(ratio)(AF__N(sum)(whole - u * AF__R(2), s), AF__N(sum)(whole, s));
    return AF__N(flip)(s.high + s.low, x);
}

/* 1/cosh(x)^2, with the same n, s and u: 4 u (1 + s) / ((1 + u) + s)^2. */
AF__INLINE AF__V AF__N(vsech2)(AF__V x) {
    const AF__V one = AF__N(splat)(AF__R(1));
    AF__V n;
    AF__N(pair) s, b, square;
    /* a little further than exp: the factor 4 */
    s = AF__N(exp_parts)(AF__N(at_most)(AF__N(fabs)(x) * AF__R(2), AF__R(4 - AF__EXP_LOW)), &n);
    b = AF__N(one_plus)(AF__N(shrunk)(n), s);
    square.high = AF__N(product)(b.high, b.high);
    square.low = b.high * b.low * AF__R(2) - AF__N(remainder)(b.high, b.high, square.high);
    s = AF__N(ratio)(AF__N(sum)(one, s), square);
    return AF__N(scale)(s.high + s.low, AF__R(2) - n);
}

/* With exp(|x|) = 2^n (1 + s) and u = 2^-n: (1 + s) / ((1 + u) + s), or u / ((1 + u) + s). Where
 * 1 + u is 1, the numerators are 1 - u + s and u (1 - u). */
AF__INLINE AF__V AF__N(vsigmoid)(AF__V x) {
    const AF__V zero = AF__N(splat)(AF__R(0));
    AF__M below = AF__N(less)(x, zero);
    AF__V n, u, whole;
    AF__N(pair) s, a;
    s = AF__N(exp_parts)(AF__N(at_most)(AF__N(fabs)(x), AF__R(-AF__EXP_LOW)), &n);
    u = AF__N(shrunk)(n);
    whole = u + AF__R(1);
    u = whole - u;
    a = AF__N(sum)(u, s);
    a.high = AF__N(choose)(below, u, a.high);
    a.low = AF__N(choose)(below, zero, a.low);
    s = AF__N(ratio)(a, AF__N(sum)(whole, s));
    return AF__N(scale)(s.high + s.low, AF__N(choose)(below, -n, zero));
}

/* ---- logarithms ---- */

/* log(2^e m) + rest, for 3/4 <= m < 3/2 and a small rest. */
AF__INLINE AF__V AF__N(log_parts)(AF__V m, AF__V e, AF__V rest) {
    AF__V f = m - AF__R(1), f2 = f * f, whole = e * AF__R(AF__LN2_HIGH);
    AF__V small = AF__N(fma)(f * f2, AF__LOG(f, f2), f2 * AF__R(-0.5)), high, low;
    small = AF__N(fma)(e, AF__N(splat)(AF__R(AF__LN2_LOW)), small + rest);
    high = whole + f;
    low = f - (high - whole);
    return high + (low + small);
}

/* The logarithm y of x where that is not positive and finite. */
AF__INLINE AF__V AF__N(log_limits)(AF__V x, AF__V y) {
#if AF__ISA == AF__ISA_AVX512
    /* by kinds of x, from the right: NaN, NaN: NaN; 0: -infinity; 1: y; -infinity: NaN;
     * infinity: infinity; negative: NaN; positive: y */
    return AF__FIXUP(y, x, 0x03530422);
#else
    const AF__V infinity = AF__N(splat)(AF__R(INFINITY)), zero = AF__N(splat)(AF__R(0));
    y = AF__N(choose)(AF__N(less)(x, infinity), y, x);
    y = AF__N(choose)(AF__N(less)(x, zero), AF__N(splat)(AF__R(NAN)), y);
    return AF__N(choose)(AF__N(equal)(x, zero), -infinity, y);
#endif
}

AF__INLINE AF__V AF__N(vlog)(AF__V x) {
    AF__V e, m = AF__N(split)(x, &e);
    return AF__N(log_limits)(x, AF__N(log_parts)(m, e, AF__N(splat)(AF__R(0))));
}

/* log(1 + x) = log(u) + what rounding u = 1 + x has lost, divided by u. */
AF__INLINE AF__V AF__N(vlog1p)(AF__V x) {
    AF__V u = x + AF__R(1), lost = x - (u - AF__R(1)), e, m = AF__N(split)(u, &e);
    m = AF__N(log_limits)(u, AF__N(log_parts)(m, e, lost / u));
    return AF__N(with_sign)(m, x); /* the sign of zero */
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + p (1 + s)), with exp(-|x|) = p (1 + s) and p = 2^n. */
AF__INLINE AF__V AF__N(vsoftplus)(AF__V x) {
    const AF__V one = AF__N(splat)(AF__R(1)), zero = AF__N(splat)(AF__R(0));
    AF__V n, p, m, e;
    AF__M upper;
    AF__N(pair) u;
    u = AF__N(exp_parts)(AF__N(at_least)(-AF__N(fabs)(x), AF__R(AF__EXP_LOW)), &n);
    p = AF__N(scale)(one, n);
    u.high *= p;
    u.low *= p;
    u = AF__N(one_plus)(p, u);
    upper = AF__N(less)(AF__N(splat)(AF__R(1.5)), u.high);
    m = AF__N(choose)(upper, u.high * AF__R(0.5), u.high);
    e = AF__N(choose)(upper, one, zero);
    return AF__N(at_least)(x, AF__R(0)) + AF__N(log_parts)(m, e, u.low / u.high);
}

/* ---- circular functions ---- */

/* x = n pi/2 + r, |r| <= pi/4, for |x| <= AF__TURN_LIMIT; n in the low bits of *bits. The first
 * step is exact; of the second, what its two roundings lose is kept. The product of the second is
 * a fused one, with 0: the compiler must not fuse it with the difference. */
AF__INLINE AF__N(pair) AF__N(turn)(AF__V x, AF__V *bits) {
    AF__V n, first, second;
    AF__N(pair) r;
    *bits = AF__N(nearest_bits)(x, AF__R(0.63661977236758134308)); /* 2 / pi */
    n = *bits - AF__N(magic)();
    first = AF__N(less_turns)(n, AF__R(AF__HALF_PI_1), AF__R(AF__HALF_PI_1_REST), x);
    second = AF__N(less_turns)(n, AF__R(-AF__HALF_PI_2), AF__R(-AF__HALF_PI_2_REST),
                               AF__N(splat)(AF__R(0)));
    r.high = first - second;
    r.low = (first - r.high) - second;
    second = AF__N(less_turns)(n, AF__R(AF__HALF_PI_2), AF__R(AF__HALF_PI_2_REST), second);
    r.low += AF__N(fnma)(n, AF__N(splat)(AF__R(AF__HALF_PI_3)), second);
    return r;
}

/* sin(x + quarter pi/2), quarter 0 or 1, for |x| <= AF__TURN_LIMIT: that of |x|, whose quadrant
 * chooses the series and the sign. */
AF__INLINE AF__V AF__N(sine_near)(AF__V x, int quarter) {
    const AF__V one = AF__N(splat)(AF__R(1)), half = AF__N(splat)(AF__R(0.5));
    AF__V size = AF__N(fabs)(x), bits, z, z2, s, c, y;
    AF__N(pair) r = AF__N(turn)(size, &bits);
    z = r.high * r.high;
    z2 = z * z;
    s = r.high + AF__N(fma)(r.high * z, AF__SIN(z, z2), r.low);
    y = AF__N(fnma)(z, half, one);
    c = AF__N(fnma)(r.high, r.low, AF__N(fnma)(z, half, one - y));
    c = y + AF__N(fma)(z2, AF__COS(z, z2), c);
    if (quarter) bits = bits + one;
    y = AF__N(choose)(AF__N(odd)(bits), c, s);
    y = AF__N(flip)(y, AF__N(raise)(bits, 1));
    if (!quarter) y = AF__N(flip)(y, x);
    return y;
}

/* The others, or none at all, go to the C library one by one. */
static __attribute__((noinline)) void AF__N(sines_far)(AF__REAL *y, const AF__REAL *x, size_t n,
                                                       int quarter) {
    size_t i;
    for (i = 0; i < n; i++)
        if (!(AF__C(fabs)(x[i]) < AF__R(AF__TURN_LIMIT)))
            y[i] = quarter ? AF__C(cos)(x[i]) : AF__C(sin)(x[i]);
}

AF__INLINE AF__M AF__N(is_near)(AF__V x) {
    return AF__N(less)(AF__N(fabs)(x), AF__N(splat)(AF__R(AF__TURN_LIMIT)));
}

/* Many at once, out of place: the call is not in the loop, where it would cost the constants their
 * registers. */
AF__INLINE void AF__N(sines)(AF__REAL *out, const AF__REAL *a, size_t n, int quarter) {
    AF__M near = AF__N(is_near)(AF__N(splat)(AF__R(0)));
    size_t i;
    for (i = 0; i < n; i += AF__LANES) {
        AF__V x = AF__N(get)(a + i, n - i);
        near = AF__N(and)(near, AF__N(is_near)(x));
        AF__N(set)(out + i, n - i, AF__N(sine_near)(x, quarter));
    }
    if (AF__N(any)(AF__N(not)(near))) AF__N(sines_far)(out, a, n, quarter);
}

/* Moves low <= high into the range where neither their sum nor the rounding errors of their
 * quotient leave the normal numbers; zeros and infinities become numbers of the same quotient,
 * and NaN stays. */
AF__INLINE void AF__N(quotient_range)(AF__V *low, AF__V *high) {
    const AF__V one = AF__N(splat)(AF__R(1)), zero = AF__N(splat)(AF__R(0));
    const AF__V infinity = AF__N(splat)(AF__R(INFINITY));
    AF__M none = AF__N(equal)(*high, zero), both = AF__N(equal)(*low, infinity);
    AF__M endless = AF__N(equal)(*high, infinity);
    AF__V factor = AF__N(choose)(AF__N(less)(*low, AF__N(splat)(AF__R(AF__MINUTE))),
                                 AF__N(splat)(AF__R(AF__GROW)), one);
    factor = AF__N(choose)(AF__N(less)(AF__N(splat)(AF__R(AF__HUGE)), *high),
                           AF__N(splat)(AF__R(AF__SHRINK)), factor);
    *low = AF__N(choose)(endless, AF__N(choose)(both, one, *low - *low), *low * factor);
    *high = AF__N(choose)(AF__N(or)(endless, none), one, *high * factor);
}

/* With low/high the smaller of |y/x|, |x/y|: its arctangent is that of s = low/high up to
 * tan(pi/8), pi/4 + that of s = (low - high)/(low + high) above; the octants of x and y make it
 * k pi/4 +- that of s. Its derivative 1/(1 + s^2) is 1 - s^2 for what the quotient has lost. */
AF__INLINE AF__V AF__N(vatan2)(AF__V y, AF__V x) {
    const AF__V one = AF__N(splat)(AF__R(1)), zero = AF__N(splat)(AF__R(0));
    AF__V ay = AF__N(fabs)(y), ax = AF__N(fabs)(x), low, high, k, z, z2;
    AF__M steep = AF__N(less)(ax, ay), left = AF__N(negative)(x), ordinary;
    AF__N(pair) s, a, b;
    low = AF__N(choose)(steep, ax, ay);
    high = AF__N(choose)(steep, ay, ax);
    ordinary = AF__N(and)(AF__N(less)(high, AF__N(splat)(AF__R(AF__HUGE))),
                          AF__N(less)(AF__N(splat)(AF__R(AF__MINUTE)), low));
    if (AF__N(any)(AF__N(not)(ordinary))) AF__N(quotient_range)(&low, &high);
    k = AF__N(choose)(AF__N(less)(high * AF__R(0.41421356237309504880), low), one, zero);
    a.high = AF__N(fnma)(k, high, low);
    a.low = zero;
    b.high = AF__N(fma)(k, low, high);
    b.low = AF__N(fma)(k, low, high - b.high);
    k = AF__N(choose)(steep, AF__R(2) - k, k);
    k = AF__N(choose)(left, AF__R(4) - k, k);
    a.high = AF__N(choose)(AF__N(differ)(steep, left), -a.high, a.high);
    s = AF__N(ratio)(a, b);
    z = s.high * s.high;
    z2 = z * z;
    s.low = AF__N(fma)(k, AF__N(splat)(AF__R(AF__QUARTER_PI_LOW)), AF__N(fnma)(s.low, z, s.low));
    s.low = AF__N(fma)(s.high * z, AF__ATAN(z, z2), s.low);
    s = AF__N(sum)(k * AF__R(AF__QUARTER_PI_HIGH), s);
    return AF__N(with_sign)(s.high + s.low, y);
}

/* ---- steps ---- */

AF__INLINE AF__V AF__N(vsign)(AF__V x) {
    const AF__V zero = AF__N(splat)(AF__R(0)), one = AF__N(splat)(AF__R(1));
    AF__V s = AF__N(choose)(AF__N(less)(x, zero), -one, AF__N(choose)(AF__N(equal)(x, x), zero, x));
    return AF__N(choose)(AF__N(less)(zero, x), one, s);
}
