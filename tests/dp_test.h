/* What tests of deeppotential.h share; their context is `c`. Included after af_test.h. */
#ifndef DP_TEST_H
#define DP_TEST_H

/* Fails with this status and words, and the context goes on. */
#define CHECK_FAILS(call, status, words)     \
    do {                                     \
        CHECK((call) == (status));           \
        CHECK_TEXT(af_error(c), (words));    \
        af_error_clear(c);                   \
    } while (0)

#endif
