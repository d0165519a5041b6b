/* A test program in one header. Include it after the library with its implementation:
 *
 *     TEST(name) { CHECK(condition); CHECK_CLOSE(value, expected, tolerance); }
 *     int main(void) { RUN(name); return test_report(); }
 *
 * A test passes when all of its checks hold. The last line printed is `N passed, N failed`. */
#ifndef AF_TEST_H
#define AF_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_passed, test_failed, test_broken;

/* Tests that do not include the implementation are linked with it (library.c, af_private.h); these
 * few private names they have here. */
#ifndef AF__ZERO
#  ifdef __cplusplus
#    define AF__ZERO {}
#  else
#    define AF__ZERO {0}
#  endif
#  define AF__PI 3.14159265358979323846264338327950288
#endif

/* Under the sanitisers, which look at memory and arithmetic, fits are a tenth as fast: they are
 * short there, and what they find is not looked at. */
#if defined(__SANITIZE_ADDRESS__)
#  define SHORT 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define SHORT 1
#  endif
#endif
#ifndef SHORT
#  define SHORT 0
#endif

#define CHECK_FIT(condition) CHECK(SHORT || (condition))

/* Elements of an array. */
#define AF__COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define TEST(name) static void test_##name(void)

#define RUN(name) test_run(#name, test_##name)

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            test_broken++;                                                        \
            printf("  %s:%d: not true: %s\n", __FILE__, __LINE__, #condition);    \
        }                                                                         \
    } while (0)

/* |value - expected| <= tolerance * max(1, |expected|); NaN fails. */
#define CHECK_CLOSE(value, expected, tolerance) \
    test_close(__FILE__, __LINE__, #value, (double)(value), (double)(expected), (tolerance))

/* The text contains the words. */
#define CHECK_TEXT(text, words)                                                                \
    do {                                                                                       \
        if (!strstr((text), (words))) {                                                        \
            test_broken++;                                                                     \
            printf("  %s:%d: '%s' is not in '%s'\n", __FILE__, __LINE__, (words), (text));     \
        }                                                                                      \
    } while (0)

static inline double dot3(const double a[3], const double b[3]) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static inline double norm3(const double a[3]) { return sqrt(dot3(a, a)); }

static inline int all_finite(const double *x, size_t n) {
    size_t i;
    for (i = 0; i < n; i++)
        if (!isfinite(x[i])) return 0;
    return 1;
}

static inline void test_close(const char *file, int line, const char *what, double value,
                              double expected, double tolerance) {
    double scale = fabs(expected) > 1.0 ? fabs(expected) : 1.0;
    if (fabs(value - expected) <= tolerance * scale) return;
    test_broken++;
    printf("  %s:%d: %s is %.17g, expected %.17g within %g\n", file, line, what, value, expected,
           tolerance);
}

static inline void test_run(const char *name, void (*run)(void)) {
    test_broken = 0;
    run();
    if (test_broken) {
        test_failed++;
        printf("FAILED %s\n", name);
    } else {
        test_passed++;
    }
    fflush(stdout);
}

static inline int test_report(void) {
    printf("%d passed, %d failed\n", test_passed, test_failed);
    return test_failed != 0 || test_passed == 0;
}

#endif
