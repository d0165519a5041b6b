/* The library as one object, for the tests that need nothing private of it but what stands in
 * af_private.h: compiled once plain and once sanitised. */
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"

#include <stdio.h>
#include <stdlib.h>

#include "af_private.h"
#include "af_interpreter.h"

af_params *test_finder_params(af_finder *f) { return f->g.params; }
af_params *test_accel_params(af_accel *a) { return a->params; }
const double *test_adam_first(const af_adam *a) { return a->first; }
const double *test_adam_second(const af_adam *a) { return a->second; }
size_t test_adam_step(const af_adam *a) { return (size_t)a->step; }
const af_isochrone *test_toy(const af_evaluator *e) { return &e->toy; }
size_t test_error_room(void) { return AF__ERROR_CAPACITY; }
double test_action_scale(const af_finder *f) { return f->g.action_scale; }

void test_evaluate(af_evaluator *e, size_t streams, const double *xv, double *guess, double *j,
                   double *theta, unsigned *flags) {
    af__request r = AF__ZERO;
    r.streams = streams;
    r.xv = xv;
    r.guess = guess;
    r.j = j;
    r.theta = theta;
    r.flags = flags;
    r.most_steps = AF__SOLVE_STEPS;
    af__evaluate_request(e, &r);
}

void test_mass_model_parts(size_t *heights, size_t *lengths) {
    *heights = AF__MM_HEIGHTS;
    *lengths = AF__MM_LENGTHS;
}

int test_mass_models_equal(const af_mass_model *a, const af_mass_model *b) {
    return memcmp(a->gm, b->gm, sizeof a->gm) == 0 &&
           memcmp(a->length, b->length, sizeof a->length) == 0 &&
           memcmp(a->height, b->height, sizeof a->height) == 0 && a->ridge == b->ridge;
}

double test_mass_model_ridge(const af_mass_model *m) { return m->ridge; }

test_number test_number_read(const char *text, double *value) {
    switch (af__number_read(text, text + strlen(text), value)) {
        case AF__NUMBER_FINE: return TEST_NUMBER_FINE;
        case AF__NUMBER_EMPTY: return TEST_NUMBER_EMPTY;
        case AF__NUMBER_NAN: return TEST_NUMBER_NAN;
        case AF__NUMBER_INFINITE: return TEST_NUMBER_INFINITE;
        case AF__NUMBER_LARGE: return TEST_NUMBER_LARGE;
        case AF__NUMBER_BAD: return TEST_NUMBER_BAD;
    }
    return TEST_NUMBER_UNKNOWN;
}

size_t test_number_write(double value, char text[TEST_NUMBER_ROOM]) {
    return af__number_write(value, text);
}

af_expr test_dropout(const af_net *net, af_expr x, size_t width, size_t place, af_expr seed) {
    return af__dropout(net, x, width, place, seed);
}

double test_kepler_solve(double m, double f, double left) { return af__kepler_solve(m, f, left); }
double test_nfw_mass_over_u2(double u) { return af__nfw_mass_over_u2(u); }
double test_median(double *values, size_t n) { return af__median(values, n); }

void test_turn_velocity(const double x[3], const double v[3], const double to[3], int mirror,
                        double out[3]) {
    af__turn_velocity(x, v, to, mirror, out);
}

af_expr test_sum_mask(af_context *c, af_expr x, unsigned mask) { return af__sum_mask(c, x, mask); }

int test_avx512(void) {
#ifdef AF__HAVE_AVX
    return __builtin_cpu_supports("avx512dq") != 0;
#else
    return 0;
#endif
}
