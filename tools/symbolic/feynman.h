/* The Feynman symbolic regression database: 100 equations of the Feynman Lectures on Physics, 20
 * "bonus" ones from other books (Udrescu & Tegmark 2020, Science Advances 6, eaay2631), restated:
 * no file is read. Physical constants are variables, drawn from ranges of order one. */
#ifndef FEYNMAN_H
#define FEYNMAN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FEYNMAN_PROBLEMS = 120, /* the lectures' in their order, then the bonus ones */
    FEYNMAN_PROTOCOL = 116, /* those without FEYNMAN_LEFT_OUT */
    FEYNMAN_VARIABLES = 9   /* of a problem at most */
};

/* Bits of `flags`. */
enum {
    FEYNMAN_BONUS = 1,
    FEYNMAN_LEFT_OUT = 2 /* by SRBench (La Cava et al. 2021), so by Phi-SO: three with asin or acos,
                            and II.11.17 */
};

typedef struct feynman_variable {
    const char *name, *units; /* units: powers of m, s, kg, K and V, "m^2 s^-2 kg"; "1": none */
    double low, high;         /* uniform between them */
} feynman_variable;

typedef struct feynman_problem {
    const char *name;    /* volume, chapter, equation: "I.6.20a"; "test_1" for bonus ones */
    const char *formula; /* of the variables, whole numbers and pi; + - * / ^ sqrt exp ... */
    const char *result, *units;
    char level;          /* 'e', 'm', 'h': easy, medium, hard in SRSD (Matsubara et al. 2022), which
                            draws the variables from other, realistic ranges */
    unsigned flags;
    size_t count;        /* of variables */
    double (*value)(const double *x); /* the formula by hand; x in the order of the variables */
    feynman_variable variable[FEYNMAN_VARIABLES];
} feynman_problem;

/* Problem i < FEYNMAN_PROBLEMS. */
const feynman_problem *feynman_get(size_t i);

/* By name, also by that of AI Feynman's and SRBench's files ("I.6.2a" for I.6.20a; I.6.2, I.6.2b,
 * I.15.1, I.34.1, I.39.1, I.48.2 likewise); NULL when there is none. */
const feynman_problem *feynman_find(const char *name);

/* The true value from variables (count); 1 when it is finite, otherwise 0. */
int feynman_value(const feynman_problem *p, const double *variables, double *result);

/* n points: columns[i] (n) is variable i, y (n) the true values. Point k of variable i is
 * af_random_uniform(seed, i, k) in its range: more points leave the first ones as they were. 1 when
 * all of y is finite, otherwise 0. */
int feynman_sample(const feynman_problem *p, uint64_t seed, size_t n, double *const *columns,
                   double *y);

#ifdef __cplusplus
}
#endif

#endif
