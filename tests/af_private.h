/* What tests that are linked with the library ask of its private parts; library.c answers. Tests
 * that need more include the implementation. */
#ifndef AF_PRIVATE_H
#define AF_PRIVATE_H

/* The parameters themselves. */
af_params *test_finder_params(af_finder *f);
af_params *test_accel_params(af_accel *a);

/* The moments of an optimiser, and the steps it has made. */
const double *test_adam_first(const af_adam *a);
const double *test_adam_second(const af_adam *a);
size_t test_adam_step(const af_adam *a);

const af_isochrone *test_toy(const af_evaluator *e);

/* The unit of the finder's actions, km/s kpc. */
double test_action_scale(const af_finder *f);

/* af__evaluate_request with a guess of each stream's J' in that unit, NaN for none, (streams,3),
 * which becomes the J' found. */
void test_evaluate(af_evaluator *e, size_t streams, const double *xv, double *guess, double *j,
                   double *theta, unsigned *flags);

/* How many heights and lengths a mass model's parts have; whether two models are the same to the
 * last bit; and what held a model's weights down. */
void test_mass_model_parts(size_t *heights, size_t *lengths);
int test_mass_models_equal(const af_mass_model *a, const af_mass_model *b);
double test_mass_model_ridge(const af_mass_model *m);

/* Bytes of an error sentence that is cut, its end included. */
size_t test_error_room(void);

/* af__number_read and af__number_write, which needs room for 40 characters. */
enum { TEST_NUMBER_ROOM = 64 };
typedef enum test_number {
    TEST_NUMBER_FINE,
    TEST_NUMBER_EMPTY,
    TEST_NUMBER_BAD,
    TEST_NUMBER_LARGE,
    TEST_NUMBER_NAN,
    TEST_NUMBER_INFINITE,
    TEST_NUMBER_UNKNOWN
} test_number;
test_number test_number_read(const char *text, double *value);
size_t test_number_write(double value, char text[TEST_NUMBER_ROOM]);

/* The private functions of these names. */
af_expr test_dropout(const af_net *net, af_expr x, size_t width, size_t place, af_expr seed);
double test_kepler_solve(double m, double f, double left);
double test_nfw_mass_over_u2(double u);
double test_median(double *values, size_t n);
void test_turn_velocity(const double x[3], const double v[3], const double to[3], int mirror,
                        double out[3]);
af_expr test_sum_mask(af_context *c, af_expr x, unsigned mask);

/* Whether the processor has what AF_SET_AVX512 needs, and the library was compiled for it. */
int test_avx512(void);

/* The naive interpreter, af_interpreter.h: operations; the values of outputs in arrays of malloc;
 * prints the operation and the shape of a node. */
long double reference_softplus(long double x);
long double reference_unary(af_op op, long double x);
void reference_compute(af_context *c, size_t inputs, const af_expr *in, const double *const *data,
                       size_t outputs, const af_expr *out, double **results);
void reference_print(const af_context *c, af_expr x);

#endif
