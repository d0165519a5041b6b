/* ---- learn: numbers as text -------------------------------------------------------------------
 *
 * strtod and printf follow the locale: in a German one "1.5" ends at the point. What is here reads
 * and writes a decimal point always, and reads exactly rounded: 19 digits and powers of ten up to
 * 27 by integer arithmetic (that covers what simulations write), the rest by strtod. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum af__number_kind {
    AF__NUMBER_FINE,
    AF__NUMBER_EMPTY,
    AF__NUMBER_NAN,
    AF__NUMBER_INFINITE,
    AF__NUMBER_LARGE, /* finite as text, infinite as a double */
    AF__NUMBER_BAD
} af__number_kind;

/* A subnormal written out in full has 767 digits; longer text is refused, not truncated. */
enum { AF__NUMBER_LENGTH = 1000, AF__NUMBER_TEXT = 40, AF__FIVES = 27 };

/* (-1)^negative * digits * 10^exponent, without the nonzero digits that were dropped */
typedef struct af__decimal {
    uint64_t digits;
    int exponent;
    int negative;
    int dropped;
} af__decimal;

/* By its exponent bits, so that -ffast-math cannot assume the answer. */
static int af__is_finite(double value) { return (af__bits(value) >> 52 & 0x7FFu) != 0x7FFu; }

static double af__number_of_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int af__is_digit(char c) { return c >= '0' && c <= '9'; }

/* Reads an optional sign and digits that must reach `end`, clamped to +-100000. */
static int af__exponent_scan(const char *p, const char *end, int *exponent) {
    int negative = 0, value = 0;
    if (p < end && (*p == '+' || *p == '-')) negative = *p++ == '-';
    if (p == end) return 0;
    for (; p < end; p++) {
        if (!af__is_digit(*p)) return 0;
        if (value < 10000) value = value * 10 + (*p - '0');
    }
    *exponent = negative ? -value : value;
    return 1;
}

/* [sign] digits [. digits] [e|E|d|D [sign] digits]; Fortran writes D. */
static int af__decimal_scan(const char *p, const char *end, af__decimal *d) {
    int seen = 0, point = 0, exponent = 0;
    if (p < end && (*p == '+' || *p == '-')) d->negative = *p++ == '-';
    for (; p < end; p++) {
        if (*p == '.' && !point) {
            point = 1;
        } else if (!af__is_digit(*p)) {
            break;
        } else if (d->digits < 1000000000000000000u) { /* one more digit stays below 2^64 */
            d->digits = d->digits * 10 + (uint64_t)(*p - '0');
            d->exponent -= point;
            seen = 1;
        } else {
            d->exponent += !point;
            d->dropped |= *p != '0';
        }
    }
    if (!seen) return 0;
    if (p == end) return 1;
    if (*p != 'e' && *p != 'E' && *p != 'd' && *p != 'D') return 0;
    if (!af__exponent_scan(p + 1, end, &exponent)) return 0;
    d->exponent += exponent;
    return 1;
}

static int af__leading_zeros(uint64_t x) {
    int step, zeros = 0;
    for (step = 32; step > 0; step /= 2) {
        if (x >> (64 - step)) continue;
        x <<= step;
        zeros += step;
    }
    return zeros;
}

/* a * b = high 2^64 + low */
static void af__multiply_wide(uint64_t a, uint64_t b, uint64_t *high, uint64_t *low) {
    uint64_t a0 = a & 0xFFFFFFFFu, a1 = a >> 32, b0 = b & 0xFFFFFFFFu, b1 = b >> 32;
    uint64_t middle = a1 * b0 + ((a0 * b0) >> 32);
    uint64_t other = a0 * b1 + (middle & 0xFFFFFFFFu);
    *low = a * b;
    *high = a1 * b1 + (middle >> 32) + (other >> 32);
}

/* (high 2^64 + low) / d for high < d and d >= 2^63, schoolbook in two 32-bit digits; the remainder
 * goes to *rest. */
static uint64_t af__divide_wide(uint64_t high, uint64_t low, uint64_t d, uint64_t *rest) {
    uint64_t d1 = d >> 32, d0 = d & 0xFFFFFFFFu, quotient = 0;
    int digit;
    for (digit = 0; digit < 2; digit++) {
        uint64_t next = low >> 32;
        uint64_t q = high / d1, r = high % d1;
        while (r <= 0xFFFFFFFFu && (q > 0xFFFFFFFFu || q * d0 > (r << 32 | next))) {
            q--;
            r += d1;
        }
        high = (high << 32 | next) - q * d; /* modulo 2^64: the true value is below d */
        low <<= 32;
        quotient = quotient << 32 | q;
    }
    *rest = high;
    return quotient;
}

/* m 2^exponent, a little more when `sticky`, rounded to nearest, ties to even */
static double af__round_to_double(uint64_t m, int exponent, int sticky) {
    int zeros = af__leading_zeros(m);
    uint64_t top, below;
    m <<= zeros;
    top = m >> 11; /* 64 - 53 bits */
    below = m & 0x7FF;
    if (below > 0x400 || (below == 0x400 && (sticky || (top & 1)))) top++;
    return ldexp((double)top, exponent - zeros + 11);
}

static uint64_t af__power_of_five(int n) {
    uint64_t power = 1, factor = 5;
    for (; n > 0; n /= 2) {
        if (n & 1) power *= factor;
        factor *= factor;
    }
    return power;
}

/* w 10^n for w > 0 and |n| <= AF__FIVES: 5^27 is the last that fits in 64 bits. */
static double af__decimal_exact(uint64_t w, int n) {
    uint64_t high, low;
    int shift, half, scale;
    if (n >= 0) {
        af__multiply_wide(w, af__power_of_five(n), &high, &low);
        if (high == 0) return af__round_to_double(low, n, 0);
        shift = af__leading_zeros(high);
        if (shift > 0) high = high << shift | low >> (64 - shift);
        return af__round_to_double(high, n + 64 - shift, (low << shift) != 0);
    }
    low = af__power_of_five(-n);
    shift = af__leading_zeros(low);
    low <<= shift;
    scale = shift - af__leading_zeros(w);
    w <<= af__leading_zeros(w);
    half = w >= low; /* the quotient must stay below 2^64 */
    high = half ? af__divide_wide(w >> 1, w << 63, low, &w) : af__divide_wide(w, 0, low, &w);
    return af__round_to_double(high, scale + n - 64 + half, w != 0);
}

/* Through strtod, with the point and the exponent letter it wants. */
static double af__decimal_by_library(const char *p, const char *end) {
    char text[AF__NUMBER_LENGTH + AF__NUMBER_TEXT], sample[AF__NUMBER_TEXT];
    char *out = text;
    size_t point;
    snprintf(sample, sizeof sample, "%.1f", 0.5); /* "0,5" in a locale with a comma */
    point = strlen(sample) - 2;
    for (; p < end; p++) {
        if (*p == '.') {
            memcpy(out, sample + 1, point);
            out += point;
        } else {
            *out++ = *p == 'd' || *p == 'D' ? 'e' : *p;
        }
    }
    *out = 0;
    return strtod(text, NULL);
}

static char af__small_letter(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Equal but for capitals. */
static int af__same_word(const char *p, const char *end, const char *word) {
    for (; p < end && *word; p++, word++)
        if (af__small_letter(*p) != af__small_letter(*word)) return 0;
    return p == end && *word == 0;
}

static int af__same_name(const char *a, const char *b) {
    return af__same_word(a, a + strlen(a), b);
}

static af__number_kind af__number_special(const char *p, const char *end, double *value) {
    int negative = p < end && *p == '-';
    if (p < end && (*p == '+' || *p == '-')) p++;
    if (af__same_word(p, end, "nan")) {
        *value = af__number_of_bits(0x7FF8000000000000u);
        return AF__NUMBER_NAN;
    }
    if (!af__same_word(p, end, "inf") && !af__same_word(p, end, "infinity")) return AF__NUMBER_BAD;
    *value = af__number_of_bits(negative ? 0xFFF0000000000000u : 0x7FF0000000000000u);
    return AF__NUMBER_INFINITE;
}

/* Nothing, or what tables of databases and of astropy write for it. */
static int af__number_is_missing(const char *p, const char *end) {
    return p == end || af__same_word(p, end, "null") || af__same_word(p, end, "--");
}

/* Reads the whole of [p, end); *value is set unless the kind is EMPTY or BAD. */
static af__number_kind af__number_read(const char *p, const char *end, double *value) {
    af__decimal d = AF__ZERO;
    if (af__number_is_missing(p, end)) return AF__NUMBER_EMPTY;
    if (end - p > AF__NUMBER_LENGTH) return AF__NUMBER_BAD;
    if (!af__decimal_scan(p, end, &d)) return af__number_special(p, end, value);
    if (d.digits == 0) {
        *value = af__number_of_bits((uint64_t)d.negative << 63); /* -0 even with -ffast-math */
    } else if (!d.dropped && d.exponent >= -AF__FIVES && d.exponent <= AF__FIVES) {
        *value = af__decimal_exact(d.digits, d.exponent);
        if (d.negative) *value = -*value;
    } else {
        *value = af__decimal_by_library(p, end);
    }
    return af__is_finite(*value) ? AF__NUMBER_FINE : AF__NUMBER_LARGE;
}

/* 17 digits, enough to come back to the same double; returns the length. */
static size_t af__number_write(double value, char text[AF__NUMBER_TEXT]) {
    size_t i, n = 0;
    int length = snprintf(text, AF__NUMBER_TEXT, "%.17g", value);
    if (!af__is_finite(value)) return (size_t)length; /* nan, inf, -inf */
    for (i = 0; i < (size_t)length; i++) {
        int plain = af__is_digit(text[i]) || strchr("+-e", text[i]) != NULL;
        if (plain) text[n++] = text[i];
        else if (n == 0 || text[n - 1] != '.') text[n++] = '.'; /* the locale's point */
    }
    text[n] = 0;
    return n;
}

/* Reads decimal digits from p on; NULL when there are none, a needless zero leads, or more than
 * `limit`. */
static const char *af__whole_scan(const char *p, const char *end, uint64_t limit, uint64_t *out) {
    const char *start = p;
    uint64_t value = 0;
    for (; p < end && af__is_digit(*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (value > (limit - digit) / 10) return NULL;
        value = value * 10 + digit;
    }
    if (p == start || (*start == '0' && p > start + 1)) return NULL;
    *out = value;
    return p;
}

/* The digits of a whole number, within `text`. */
static const char *af__whole_write(uint64_t value, char text[AF__NUMBER_TEXT]) {
    char *p = text + AF__NUMBER_TEXT - 1;
    *p = 0;
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return p;
}
