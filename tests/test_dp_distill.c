/* From a field to a formula: symmetry, places, errors, the choice, fields of what is learned. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#include "af_heap.h"

static af_context *c;

/* ---- fields ---- */

/* The sum of parts, with errors and noise of `sigma`, and a bend that no short formula has. */
typedef struct known {
    af_potential part;
    double sigma, bend;
    int broken; /* NaN at the place of this number, less 1 */
} known;

static af_status known_evaluate(const dp_field *f, size_t n, const double *x, double *value,
                                double *acceleration, double *error) {
    const known *k = (const known *)f->user;
    size_t i;
    for (i = 0; i < n; i++) {
        double r = sqrt(x[3 * i] * x[3 * i] + x[3 * i + 1] * x[3 * i + 1] +
                        x[3 * i + 2] * x[3 * i + 2]);
        value[i] = af_potential_value(&k->part, 1, x + 3 * i);
        af_potential_acceleration(&k->part, 1, x + 3 * i, acceleration + 3 * i);
        value[i] += k->bend * sin(6.0 * log(r)) + k->sigma * af_random_normal(4, 0, i);
        if (k->sigma > 0.0) error[i] = k->sigma;
        if (k->broken == (int)i + 1) value[i] = HUGE_VAL - HUGE_VAL;
    }
    return AF_OK;
}

static dp_field known_field(known *k, af_potential part) {
    dp_field f;
    memset(&f, 0, sizeof f);
    memset(k, 0, sizeof *k);
    k->part = part;
    f.evaluate = known_evaluate;
    f.user = k;
    f.inputs = 3;
    return f;
}

static dp_distill_desc radii(double low, double high) {
    dp_distill_desc d;
    memset(&d, 0, sizeof d);
    d.low[0] = low;
    d.high[0] = high;
    return d;
}

/* Up to so many tokens, with an offset. */
static dp_symbolic_desc up_to(size_t tokens) {
    dp_symbolic_desc d;
    memset(&d, 0, sizeof d);
    d.affine = DP_AMPLITUDE_OFFSET;
    d.max_tokens = tokens;
    return d;
}

/* The best formula's text. */
static const char *best(const dp_distilled *d) {
    static char text[512];
    dp_formula_text(c, &d->result.vocabulary, &d->result.front[d->result.best].formula,
                    DP_TEXT_PLAIN, text, sizeof text);
    return text;
}

/* ---- what is found ---- */

TEST(symmetries) {
    static const double flat[3] = {0.97, 0.9, 0.6};
    known k;
    dp_field f = known_field(&k, af_potential_isochrone(8e10, 3.0));
    dp_symmetry s;
    size_t i;
    CHECK(dp_field_symmetry(c, &f, 0.5, 10.0, &s) == AF_OK && s == DP_SPHERICAL);
    f.symmetry = DP_AXISYMMETRIC; /* known by construction */
    CHECK(dp_field_symmetry(c, &f, 0.5, 10.0, &s) == AF_OK && s == DP_AXISYMMETRIC);
    for (i = 0; i < 3; i++) {
        f = known_field(&k, af_potential_logarithmic(200.0, 0.5, 1.0, flat[i]));
        CHECK(dp_field_symmetry(c, &f, 0.5, 10.0, &s) == AF_OK);
        CHECK(s == (i ? DP_AXISYMMETRIC : DP_SPHERICAL));
    }
    f = known_field(&k, af_potential_miyamoto_nagai(6e10, 3.0, 0.3));
    CHECK(dp_field_symmetry(c, &f, 0.5, 10.0, &s) == AF_OK && s == DP_AXISYMMETRIC);
    f.inputs = 2;
    CHECK(dp_field_symmetry(c, &f, 0.5, 10.0, &s) == AF_OK && s == DP_NO_SYMMETRY);
    f.inputs = 3;
    CHECK_FAILS(dp_field_symmetry(c, &f, 3.0, 2.0, &s), AF_ERROR_ARGUMENT, "from 3 to 2");
}

TEST(a_spherical_potential) {
    known k;
    dp_field f = known_field(&k, af_potential_isochrone(8e10, 3.0));
    dp_distill_desc d = radii(0.3, 15.0);
    dp_symbolic_desc search;
    dp_distilled *out;
    const dp_symbolic_entry *e;
    CHECK(dp_distill(c, &f, &d, &out) == AF_OK);
    e = &out->result.front[out->result.best];
    CHECK(strcmp(best(out), "-GM/(b + sqrt(b^2 + r^2))") == 0);
    CHECK_CLOSE(e->constants[0] / (AF_GRAVITY * 8e10), 1.0, 1e-9);
    CHECK_CLOSE(e->constants[1] / 3.0, 1.0, 1e-9);
    CHECK(out->symmetry == DP_SPHERICAL && out->data.n == 200 && !out->data.weights);
    CHECK(out->scatter < 1e-12 && out->independent > 100.0);
    CHECK(out->force_error[out->result.best] < 1e-9);
    CHECK(out->force_error[0] > 0.1 && out->result.front[0].error > 0.1);
    CHECK_CLOSE(out->data.columns[0][199], 15.0, 1e-12);
    CHECK(out->acceleration[0] < 0.0);
    dp_distilled_destroy(out);
    search = up_to(5);
    d.search = &search;
    f.centre[1] = 7.0; /* the field's own is elsewhere: it is not symmetric there */
    CHECK(dp_distill(c, &f, &d, &out) == AF_OK && out->scatter > 0.1);
    dp_distilled_destroy(out);
}

/* Of R and z: with few operators, and through both rounds. */
TEST(axisymmetric_potentials) {
    known k;
    dp_field f = known_field(&k, af_potential_miyamoto_nagai(6e10, 3.0, 0.5));
    dp_distill_desc d = radii(0.2, 12.0);
    dp_symbolic_desc search;
    dp_vocabulary v;
    dp_distilled *out;
    memset(&v, 0, sizeof v);
    v.symbols = dp__axisymmetric_symbols;
    v.symbol_count = 5;
    v.target.power[1] = 2.0;
    v.target.power[2] = -2.0;
    v.operators = 1u << DP_ADD | 1u << DP_MUL | 1u << DP_INV;
    d.vocabulary = &v;
    CHECK(dp_distill(c, &f, &d, &out) == AF_OK);
    CHECK(out->symmetry == DP_AXISYMMETRIC && out->data.n == 24 * 17);
    CHECK_CLOSE(out->data.columns[1][0], -6.0, 1e-12); /* half of the largest R */
    CHECK(strcmp(best(out), "-GM/sqrt(R^2 + (a + sqrt(b^2 + z^2))^2)") == 0 ||
          strcmp(best(out), "-GM/sqrt(R^2 + (b + sqrt(a^2 + z^2))^2)") == 0);
    CHECK(out->result.front[out->result.best].error < 1e-9);
    CHECK(out->force_error[out->result.best] < 1e-9);
    dp_distilled_destroy(out);
    search = up_to(6);
    d.search = &search;
    d.vocabulary = NULL;
    d.count[0] = d.count[1] = 10;
    d.symmetry = DP_AXISYMMETRIC;
    f = known_field(&k, af_potential_logarithmic(200.0, 2.0, 1.0, 1.0));
    CHECK(dp_distill(c, &f, &d, &out) == AF_OK); /* log is of the second round */
    CHECK(out->result.front[out->result.best].error < 1e-9 && strstr(best(out), "log("));
    dp_distilled_destroy(out);
}

/* Independent errors are all counted, smooth ones are few; neither is fitted. */
TEST(the_choice) {
    known k;
    dp_field f = known_field(&k, af_potential_plummer(8e10, 3.0));
    dp_distill_desc d = radii(0.3, 30.0);
    dp_symbolic_desc search = up_to(7);
    dp_distilled *out;
    d.search = &search;
    k.sigma = 0.01 * AF_GRAVITY * 8e10 / 3.0;
    f.symmetry = DP_SPHERICAL;
    CHECK(dp_distill(c, &f, &d, &out) == AF_OK);
    CHECK(strcmp(best(out), "-GM/sqrt(b^2 + r^2)") == 0);
    CHECK(out->independent > 120.0 && out->data.weights);
    CHECK_CLOSE(out->data.weights[3] * k.sigma * k.sigma, 1.0, 1e-12);
    dp_distilled_destroy(out);
    f = known_field(&k, af_potential_plummer(8e10, 3.0));
    k.bend = 0.003 * AF_GRAVITY * 8e10 / 3.0;
    CHECK(dp_distill(c, &f, &d, &out) == AF_OK);
    CHECK(strstr(best(out), "GM/sqrt(b^2 + r^2)") != NULL);
    CHECK(out->independent > 4.0 && out->independent < 40.0); /* 8.8 waves of the sine */
    dp_distilled_destroy(out);
}

/* The errors of a network at many places in any order are as few as on a grid: what is found does
 * not become the shorter the more places there are. */
TEST(many_places) {
    enum { N = 20000 };
    static double x[3 * N];
    static const dp_symmetry symmetry[2] = {DP_SPHERICAL, DP_AXISYMMETRIC};
    known k;
    dp_field f = known_field(&k, af_potential_plummer(8e10, 3.0));
    dp_distill_desc d = radii(0.0, 0.0);
    dp_symbolic_desc search;
    dp_distilled *out;
    size_t i, way;
    for (i = 0; i < N; i++) {
        double r = 0.3 * pow(100.0, af_random_uniform(5, 0, i));
        double up = 2.0 * af_random_uniform(5, 1, i) - 1.0, turn = af_random_uniform(5, 2, i);
        x[3 * i] = r * sqrt(1.0 - up * up) * cos(6.283185307179586 * turn);
        x[3 * i + 1] = r * sqrt(1.0 - up * up) * sin(6.283185307179586 * turn);
        x[3 * i + 2] = r * up;
    }
    k.bend = 0.003 * AF_GRAVITY * 8e10 / 3.0;
    d.search = &search;
    d.places = x;
    d.place_count = N;
    for (way = 0; way < 2; way++) {
        d.symmetry = symmetry[way];
        search = up_to(way ? 5 : 7);
        CHECK(dp_distill(c, &f, &d, &out) == AF_OK);
        CHECK(strstr(best(out), way ? "GM/sqrt(b^2 + R^2 + z^2)" : "GM/sqrt(b^2 + r^2)") != NULL);
        CHECK(out->independent > 4.0 && out->independent < 100.0);
        printf("%s: %g points\n", best(out), out->independent);
        dp_distilled_destroy(out);
    }
}

/* ---- what is learned, as a field ---- */

/* A field of accelerations that has not been trained is its toy's, an isochrone. */
TEST(an_acceleration_field) {
    enum { STREAMS = 8, STARS = 4 };
    double xv[STREAMS * STARS * 6];
    af_orbits *orbits;
    af_accel *a;
    af_accel_evaluator *e;
    af_isochrone toy;
    dp_distill_desc d = radii(0.3, 15.0);
    dp_field f;
    dp_distilled *out;
    size_t i;
    toy.mass = 8e10;
    toy.scale = 3.0;
    for (i = 0; i < (size_t)(STREAMS * STARS); i++) {
        double theta[3], j[3], unit = sqrt(AF_GRAVITY * toy.mass * toy.scale);
        size_t k;
        for (k = 0; k < 3; k++) {
            j[k] = unit * (0.1 + 0.5 * af_random_uniform(3, k, i / STARS)); /* of the stream */
            theta[k] = 6.28 * af_random_uniform(3, 3 + k, i);
        }
        af_isochrone_position(&toy, j, theta, xv + 6 * i, NULL);
    }
    CHECK(af_orbits_create(c, STREAMS, STARS, xv, NULL, &orbits) == AF_OK);
    CHECK(af_accel_create(c, orbits, NULL, &a) == AF_OK);
    CHECK(af_accel_evaluator_create(a, 64, 1, &e) == AF_OK);
    toy = af_accel_toy(a);
    f = dp_accel_field(e);
    CHECK(dp_distill(c, &f, &d, &out) == AF_OK);
    CHECK(strstr(best(out), "GM/(b + sqrt(b^2 + r^2))") != NULL);
    CHECK_CLOSE(out->result.front[out->result.best].constants[1] / toy.scale, 1.0, 1e-3);
    CHECK(out->force_error[out->result.best] < 1e-3);
    dp_distilled_destroy(out);
    af_accel_evaluator_destroy(e);
    af_accel_destroy(a);
    af_orbits_destroy(orbits);
}

/* A Hamiltonian of one action: H = omega J of an oscillator, before training nearly. */
TEST(a_koopman_hamiltonian) {
    enum { N = 200 };
    static const dp_symbol symbols[2] = {{"J", DP_VARIABLE, {{2, -1}}, 0},
                                         {"w", DP_FREE, {{0, -1}}, 0}};
    size_t samples = N, i;
    double time[N], qp[2 * N], j[2] = {0.3, 0.7}, energy[2], omega[2], value[2], a[2], error[2];
    af_trajectories *t;
    af_koopman *k;
    af_koopman_evaluator *e;
    dp_vocabulary v;
    dp_distill_desc d = radii(0.1, 1.0);
    dp_symbolic_desc search = up_to(5);
    dp_field f;
    dp_distilled *out;
    for (i = 0; i < N; i++) {
        time[i] = 0.1 * (double)i;
        qp[2 * i] = cos(2.0 * time[i]);
        qp[2 * i + 1] = -2.0 * sin(2.0 * time[i]);
    }
    CHECK(af_trajectories_create(c, 1, 1, &samples, time, qp, &t) == AF_OK);
    CHECK(af_koopman_create(c, t, NULL, &k) == AF_OK);
    CHECK(af_koopman_evaluator_create(k, 16, &e) == AF_OK);
    f = dp_koopman_field(e, 1);
    af_koopman_frequencies(e, 2, j, omega, energy);
    CHECK(f.evaluate(&f, 2, j, value, a, error) == AF_OK);
    for (i = 0; i < 2; i++) CHECK(value[i] == energy[i] && a[i] == -omega[i]);
    memset(&v, 0, sizeof v);
    v.symbols = symbols;
    v.symbol_count = 2;
    v.target.power[0] = 2.0;
    v.target.power[1] = -2.0;
    d.vocabulary = &v;
    d.symmetry = DP_NO_SYMMETRY;
    d.search = &search;
    CHECK(dp_distill(c, &f, &d, &out) == AF_OK);
    CHECK(out->symmetry == DP_NO_SYMMETRY && out->data.n == 200 && out->result.count > 0);
    CHECK(out->force_error[out->result.count - 1] < 0.1);
    dp_distilled_destroy(out);
    af_koopman_evaluator_destroy(e);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
}

/* ---- stops, memory, bad input ---- */

static int stop_at_once(const dp_symbolic_result *so_far, void *user) {
    (void)so_far;
    ++*(int *)user;
    return 1;
}

TEST(stop) {
    known k;
    dp_field f = known_field(&k, af_potential_miyamoto_nagai(6e10, 3.0, 0.5));
    dp_distill_desc d = radii(0.2, 12.0);
    dp_symbolic_desc search;
    dp_distilled *out;
    int calls = 0;
    memset(&search, 0, sizeof search);
    search.progress = stop_at_once;
    search.user = &calls;
    d.search = &search;
    CHECK(dp_distill(c, &f, &d, &out) == AF_STOPPED);
    CHECK(out && calls == 1); /* no second round */
    dp_distilled_destroy(out);
}

TEST(memory) {
    af_context *keep = c;
    heap h;
    long fail;
    for (fail = 2;; fail++) {
        known k;
        dp_field f = known_field(&k, af_potential_plummer(8e10, 3.0));
        dp_distill_desc d = radii(0.3, 15.0);
        dp_symbolic_desc search;
        dp_distilled *out;
        af_status s;
        CHECK(heap_open(&h, 0, 1, &c) == AF_OK);
        memset(&search, 0, sizeof search);
        search.memory = (size_t)8 << 20;
        search.max_tokens = 4;
        d.search = &search;
        d.count[0] = 20;
        h.fail_at = h.calls + fail - 1;
        s = dp_distill(c, &f, &d, &out);
        if (s == AF_ERROR_MEMORY) CHECK(!out && strstr(af_error(c), "memory"));
        dp_distilled_destroy(out);
        af_context_destroy(c);
        CHECK(h.live == 0);
        if (s == AF_OK || fail > 400) break;
        CHECK(s == AF_ERROR_MEMORY);
    }
    CHECK(fail > 40 && fail < 400);
    c = keep;
    dp_distilled_destroy(NULL);
}

TEST(refused) {
    known k;
    dp_field f = known_field(&k, af_potential_plummer(8e10, 3.0));
    dp_distill_desc d = radii(0.3, 15.0);
    dp_distilled *out;
    double x[3] = {1.0, 2.0, 3.0};
    d.end_canary = 1;
    CHECK_FAILS(dp_distill(c, &f, &d, &out), AF_ERROR_ARGUMENT, "not zeroed");
    CHECK(out == NULL);
    d = radii(0.0, 15.0);
    d.symmetry = DP_SPHERICAL;
    CHECK_FAILS(dp_distill(c, &f, &d, &out), AF_ERROR_ARGUMENT, "variable 1 goes from 0 to 15");
    d = radii(0.3, 15.0);
    d.symmetry = DP_NO_SYMMETRY;
    d.high[1] = d.high[2] = 1.0;
    CHECK_FAILS(dp_distill(c, &f, &d, &out), AF_ERROR_ARGUMENT, "no default vocabulary");
    d.symmetry = DP_SYMMETRY_AUTO;
    d.places = x;
    d.place_count = 1;
    CHECK_FAILS(dp_distill(c, &f, &d, &out), AF_ERROR_ARGUMENT, "say which it is");
    d.symmetry = DP_SPHERICAL;
    d.place_count = 0;
    CHECK_FAILS(dp_distill(c, &f, &d, &out), AF_ERROR_ARGUMENT, "place_count is 0");
    d = radii(0.3, 15.0);
    d.vocabulary = NULL;
    f.inputs = 4;
    CHECK_FAILS(dp_distill(c, &f, &d, &out), AF_ERROR_ARGUMENT, "4 inputs");
    f.inputs = 3;
    k.broken = 5;
    CHECK_FAILS(dp_distill(c, &f, &d, &out), AF_ERROR_NONFINITE, "the field is");
    CHECK(out == NULL);
}

int main(void) {
    if (af_context_create(NULL, &c) != AF_OK) return 1;
    RUN(symmetries);
    RUN(a_spherical_potential);
    RUN(axisymmetric_potentials);
    RUN(the_choice);
    RUN(many_places);
    RUN(an_acceleration_field);
    RUN(a_koopman_hamiltonian);
    RUN(stop);
    RUN(memory);
    RUN(refused);
    af_context_destroy(c);
    return test_report();
}
