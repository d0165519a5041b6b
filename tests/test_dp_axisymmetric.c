/* An axisymmetric potential from a snapshot: responses of actions, the fit, failures. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#include "af_heap.h"

#include <stdlib.h>

static heap memory;
static af_context *c;

#define GM (1.0 / AF_GRAVITY) /* the mass of G M = 1 */

static dp_sample *disc(af_context *context, size_t n, uint64_t seed) {
    double *eta = (double *)malloc(6 * n * sizeof(double));
    dp_sample *s = NULL;
    if (eta && dp_mock_disc(context, NULL, n, seed, eta) == AF_OK)
        dp_sample_create(context, n, eta, NULL, NULL, NULL, &s);
    free(eta);
    return s;
}

/* What the quadratures say that actions answer is what they do answer when the potential changes,
 * star by star; a constant changes nothing. */
TEST(responses_of_actions) {
    static const double xv[4][6] = {{1.0, 0.3, 0.1, 0.2, 0.6, 0.15}, {0.5, 0, 0.2, -0.1, 0.5, -0.2},
                                    {2.0, -1.0, -0.5, 0.1, 0.3, 0.1}, {1.0, 0, 0, 0.1, 0.5, 0.0}};
    af_potential part = af_potential_miyamoto_nagai(GM, 1.0, 0.1);
    af_potential_sum sum;
    af_fudge fudge;
    size_t i, k, m;
    memset(&sum, 0, sizeof sum);
    memset(&fudge, 0, sizeof fudge);
    sum.parts = &part;
    sum.count = 1;
    fudge.field = af_field_of_potential(&sum);
    fudge.focus = AF_FOCUS_GIVEN;
    fudge.delta = 0.7;
    for (i = 0; i < 4; i++)
        for (m = 0; m < 2; m++) { /* by the mass, by the height */
            double *number = m ? &part.height : &part.mass, kept = *number, e = 1e-5;
            double j[2][3], same[3], total[2] = {0.0, 0.0}, change[2] = {0.0, 0.0};
            af_fudge_response a;
            CHECK((af_fudge_respond(&fudge, xv[i], same, &a) & AF_ORBIT_FAILED) == 0);
            CHECK(a.count > 1 && a.place[0][0] == hypot(xv[i][0], xv[i][1]));
            for (k = 0; k < a.count; k++) {
                double x[3] = {0.0, 0.0, 0.0}, by;
                x[0] = a.place[k][0];
                x[2] = a.place[k][1];
                *number = kept * (1.0 + e);
                by = af_potential_value(&part, 1, x);
                *number = kept * (1.0 - e);
                by = (by - af_potential_value(&part, 1, x)) / (2.0 * e);
                total[0] += a.weight[k][0];
                total[1] += a.weight[k][1];
                change[0] += a.weight[k][0] * by;
                change[1] += a.weight[k][1] * by;
            }
            *number = kept;
            af_fudge_actions(&fudge, xv[i], j[0], NULL, NULL);
            CHECK(j[0][0] == same[0] && j[0][1] == same[1] && j[0][2] == same[2]);
            *number = kept * (1.0 + e);
            af_fudge_actions(&fudge, xv[i], j[0], NULL, NULL);
            *number = kept * (1.0 - e);
            af_fudge_actions(&fudge, xv[i], j[1], NULL, NULL);
            *number = kept;
            for (k = 0; k < 2; k++) {
                CHECK_CLOSE(total[k], 0.0, 1e-10);
                CHECK_CLOSE(change[k], (j[0][k + 1] - j[1][k + 1]) / (2.0 * e), 2e-6);
            }
            CHECK(fabs(change[1]) > 1e-3);
        }
}

enum { BINS = 2, COUNT = 125 };

static double cube_p[COUNT], cube_mean[COUNT];

static void one_cube(dp__family *f) {
    size_t i, k;
    memset(f, 0, sizeof *f);
    f->axes = 3;
    f->bins = BINS;
    f->side = BINS + 3;
    f->count = COUNT;
    f->p = cube_p;
    f->mean = cube_mean;
    for (k = 0; k < 3; k++) dp__axis_open(f->axis + k, BINS, 0, NULL);
    for (i = 0; i < COUNT; i++) cube_p[i] = sin(1.0 + 3.0 * (double)i);
    dp__family_integrate(f, NULL);
}

/* The spline of three numbers: its integral over the cube by the midpoint rule. */
TEST(a_density_of_three_actions) {
    enum { N = 24 };
    dp__family f;
    double sum = 0.0, x[3], total = 0.0;
    size_t i;
    one_cube(&f);
    for (i = 0; i < N * N * N; i++) {
        x[0] = ((double)(i % N) + 0.5) / N;
        x[1] = ((double)(i / N % N) + 0.5) / N;
        x[2] = ((double)(i / N / N) + 0.5) / N;
        sum += exp(dp__family_at(&f, x).value - f.ln_z) / (N * N * N);
    }
    CHECK_CLOSE(sum, 1.0, 2e-3);
    for (i = 0; i < COUNT; i++) total += cube_mean[i];
    CHECK_CLOSE(total, 1.0, 1e-12);
}

/* Slopes and scores by differences. */
TEST(scores_of_that_density) {
    dp__family f;
    double sum = 0.0, x[3] = {0.3, 0.6, 0.85}, e = 1e-5, value[DP__FAMILY_TERMS];
    size_t i, k, at[DP__FAMILY_TERMS], terms;
    dp__point o;
    one_cube(&f);
    o = dp__family_at(&f, x);
    terms = dp__family_terms(&f, o.along, at, value);
    CHECK(terms == 64);
    for (i = 0; i < terms; i++) sum += cube_p[at[i]] * value[i];
    CHECK_CLOSE(sum, o.value, 1e-13);
    for (k = 0; k < 3; k++) {
        double kept = x[k], up;
        x[k] = kept + e;
        up = dp__family_at(&f, x).value;
        x[k] = kept - e;
        CHECK_CLOSE(o.slope[k], (up - dp__family_at(&f, x).value) / (2.0 * e), 1e-6);
        x[k] = kept;
    }
    for (i = 0; i < terms; i += 7) {
        double kept = cube_p[at[i]], up, score = value[i] - cube_mean[at[i]];
        cube_p[at[i]] = kept + e;
        dp__family_integrate(&f, NULL);
        up = dp__family_at(&f, x).value - f.ln_z;
        cube_p[at[i]] = kept - e;
        dp__family_integrate(&f, NULL);
        CHECK_CLOSE(score, (up - dp__family_at(&f, x).value + f.ln_z) / (2.0 * e), 1e-7);
        cube_p[at[i]] = kept;
        dp__family_integrate(&f, NULL);
    }
}

/* Mass and lengths of a Miyamoto-Nagai disc come back within their error bars, from twice the mass
 * and lengths that are 1.7 and 2.5 times too long. */
TEST(the_disc_of_known_form) {
    enum { N = 2500 };
    af_potential start = af_potential_miyamoto_nagai(2.0 * GM, 1.7, 0.25), truth;
    dp_sample *s = disc(c, N, 4);
    dp_recover_desc d;
    dp_axisymmetric *r = NULL;
    dp_recover_report report;
    dp_meridional v, first;
    const af_potential *part;
    const double *error;
    double place[2] = {1.2, 0.1}, x[3] = {1.2, 0.0, 0.1}, a[3];
    size_t count;
    truth = af_potential_miyamoto_nagai(GM, 1.0, 0.1);
    memset(&d, 0, sizeof d);
    d.parts = &start;
    d.part_count = 1;
    d.bins = 3; /* for time */
    CHECK(dp_recover_axisymmetric(s, &d, &r) == AF_OK);
    report = dp_axisymmetric_report(r);
    part = dp_axisymmetric_parts(r, &count);
    error = dp_axisymmetric_errors(r);
    printf("  %d stars, %lu steps: GM %.4f +- %.4f, a %.4f +- %.4f, b %.4f +- %.4f\n", (int)N,
           (unsigned long)report.steps, part->mass / GM, part->mass / GM * error[0], part->length,
           part->length * error[1], part->height, part->height * error[2]);
    CHECK(report.converged && report.loss < report.untrained && count == 1);
    CHECK(error[0] > 0.0 && error[0] < 0.01 && error[1] < 0.02 && error[2] < 0.2);
    CHECK(fabs(log(part->mass / GM)) < 4.0 * error[0]);
    CHECK(fabs(log(part->length)) < 4.0 * error[1]);
    CHECK(fabs(log(part->height / 0.1)) < 4.0 * error[2]);
    CHECK(dp_axisymmetric_evaluate(r, 1, place, &v) == AF_OK);
    CHECK(dp_axisymmetric_untrained(r, 1, place, &first) == AF_OK);
    af_potential_acceleration(&truth, 1, x, a);
    printf("  force at R = 1.2, z = 0.1: R %.4f +- %.4f (true %.4f, untrained %.4f), z %.4f +- "
           "%.4f (%.4f, %.4f)\n", v.force[0], v.force_error[0], a[0], first.force[0], v.force[1],
           v.force_error[1], a[2], first.force[1]);
    CHECK(fabs(v.force[0] - a[0]) < 4.0 * v.force_error[0]);
    CHECK(fabs(v.force[1] - a[2]) < 4.0 * v.force_error[1]);
    CHECK(fabs(v.force[0] - a[0]) < 0.1 * fabs(first.force[0] - a[0]));
    CHECK(first.force_error[0] == 0.0 && v.density > 0.0 && v.density_error > 0.0);
    af_potential_acceleration(part, 1, x, a);
    CHECK(v.force[0] == a[0] && v.force[1] == a[2]);
    CHECK(fabs(v.phi + report.constant - af_potential_value(part, 1, x)) < 1e-12);
    place[0] = -1.0;
    CHECK_FAILS(dp_axisymmetric_evaluate(r, 1, place, &v), AF_ERROR_ARGUMENT, "place 0 is R = -1");
    dp_axisymmetric_destroy(r);
    dp_sample_destroy(s);
}

/* Without a word about its form the force of the disc is found to some per cent. */
TEST(the_disc_of_free_form) {
    enum { N = 1000 };
    static const double places[4][2] = {{0.6, 0.05}, {0.6, 0.3}, {1.8, 0.1}, {3.0, 0.1}};
    af_potential truth = af_potential_miyamoto_nagai(GM, 1.0, 0.1);
    dp_sample *s = disc(c, N, 5);
    dp_recover_desc d;
    dp_axisymmetric *r = NULL;
    dp_meridional v[4], first[4];
    double wrong = 0.0, untrained = 0.0, pull = 0.0;
    size_t i, count;
    memset(&d, 0, sizeof d);
    d.bins = 2; /* for time */
    CHECK(dp_recover_axisymmetric(s, &d, &r) == AF_OK);
    CHECK(dp_axisymmetric_evaluate(r, 4, *places, v) == AF_OK);
    CHECK(dp_axisymmetric_untrained(r, 4, *places, first) == AF_OK);
    for (i = 0; i < 4; i++) {
        double x[3] = {0.0, 0.0, 0.0}, a[3], size;
        x[0] = places[i][0];
        x[2] = places[i][1];
        af_potential_acceleration(&truth, 1, x, a);
        size = hypot(a[0], a[2]);
        wrong += hypot(v[i].force[0] - a[0], v[i].force[1] - a[2]) / size / 4.0;
        untrained += hypot(first[i].force[0] - a[0], first[i].force[1] - a[2]) / size / 4.0;
        pull = fmax(pull, fabs(v[i].force[0] - a[0]) / v[i].force_error[0]);
        pull = fmax(pull, fabs(v[i].force[1] - a[2]) / v[i].force_error[1]);
        CHECK(v[i].density > 0.0);
    }
    dp_axisymmetric_parts(r, &count);
    printf("  %d stars, %lu parts, %lu steps: force wrong by %.3f, untrained %.3f, worst pull "
           "%.1f\n", (int)N, (unsigned long)count, (unsigned long)dp_axisymmetric_report(r).steps, wrong,
           untrained, pull);
    CHECK(wrong < 0.06 && wrong < 0.2 * untrained && pull < 5.0);
    dp_axisymmetric_destroy(r);
    dp_sample_destroy(s);
}

/* Other units, another centre and other threads give the same; a fixed number stays. */
TEST(centre_units_threads) {
    enum { N = 400 };
    static double eta[6 * N];
    double length = 8.0, speed = 220.0, place[2] = {1.0, 0.2}, far[2];
    af_potential start = af_potential_miyamoto_nagai(2.0 * GM, 1.7, 0.25);
    unsigned fixed = DP_FIX_HEIGHT;
    dp_recover_desc d;
    dp_meridional v[3];
    size_t i, k, count;
    memset(&d, 0, sizeof d);
    d.parts = &start;
    d.part_count = 1;
    d.fixed = &fixed;
    d.steps = 3;
    d.bins = 2;
    CHECK(dp_mock_disc(c, NULL, N, 3, eta) == AF_OK);
    for (k = 0; k < 3; k++) {
        dp_sample *s = NULL;
        dp_axisymmetric *r = NULL;
        af_context_set_threads(c, k ? 2 : 1);
        if (k == 2) {
            for (i = 0; i < 6; i++) d.centre[i] = 1.0 + (double)i;
            for (i = 0; i < 6 * N; i++)
                eta[i] = eta[i] * (i % 6 < 3 ? length : speed) + d.centre[i % 6];
            start.mass *= length * speed * speed;
            start.length *= length;
            start.height *= length;
        }
        far[0] = place[0] * (k == 2 ? length : 1.0);
        far[1] = place[1] * (k == 2 ? length : 1.0);
        CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &s) == AF_OK);
        CHECK(dp_recover_axisymmetric(s, &d, &r) == AF_OK);
        CHECK(dp_axisymmetric_report(r).parameters == 2 && !dp_axisymmetric_report(r).converged);
        CHECK(dp_axisymmetric_parts(r, &count)->height == start.height);
        CHECK(dp_axisymmetric_errors(r)[2] == 0.0);
        CHECK(dp_axisymmetric_evaluate(r, 1, far, v + k) == AF_OK);
        dp_axisymmetric_destroy(r);
        dp_sample_destroy(s);
    }
    CHECK(memcmp(v, v + 1, sizeof *v) == 0);
    CHECK_CLOSE(v[2].phi / (speed * speed * v[0].phi), 1.0, 1e-6);
    CHECK_CLOSE(v[2].force[1] / (speed * speed / length * v[0].force[1]), 1.0, 1e-6);
    CHECK_CLOSE(v[2].force_error[0] / (speed * speed / length * v[0].force_error[0]), 1.0, 1e-5);
    CHECK_CLOSE(v[2].density / (speed * speed / (length * length) * v[0].density), 1.0, 1e-6);
}

/* ---- files, fields ---- */

static int same_numbers(const dp_axisymmetric *a, const dp_axisymmetric *b) {
    dp_recover_report p = dp_axisymmetric_report(a), q = dp_axisymmetric_report(b);
    size_t n, m, i;
    const af_potential *x = dp_axisymmetric_parts(a, &n), *y = dp_axisymmetric_parts(b, &m);
    int same = n == m && p.stars == q.stars && p.steps == q.steps && p.rejected == q.rejected &&
               p.parameters == q.parameters && p.untrained == q.untrained && p.loss == q.loss &&
               p.inner == q.inner && p.outer == q.outer && p.constant == q.constant &&
               p.converged == q.converged;
    for (i = 0; i < n && same; i++)
        same = x[i].kind == y[i].kind && x[i].mass == y[i].mass && x[i].length == y[i].length &&
               x[i].height == y[i].height && x[i].speed == y[i].speed && x[i].p == y[i].p &&
               x[i].q == y[i].q;
    return same && memcmp(dp_axisymmetric_errors(a), dp_axisymmetric_errors(b),
                          3 * n * sizeof(double)) == 0;
}

/* The field is the potential about its centre, with its force and its error. */
static void check_field(const dp_axisymmetric *r, const double *centre) {
    enum { N = 3 };
    static const double from[N][3] = {{1.0, 0.5, 0.2}, {-0.3, 2.0, -0.1}, {0.0, 0.0, 0.7}};
    dp_field f = dp_axisymmetric_field(r);
    double x[3 * N], value[N], a[3 * N], error[N];
    size_t i, k;
    CHECK(f.inputs == 3 && f.symmetry == DP_AXISYMMETRIC);
    for (i = 0; i < 3 * N; i++) x[i] = from[i / 3][i % 3] + centre[i % 3];
    CHECK(f.evaluate(&f, N, x, value, a, error) == AF_OK);
    for (i = 0; i < N; i++) {
        double place[2], u[3], expected[3];
        dp_meridional v;
        size_t count;
        const af_potential *part = dp_axisymmetric_parts(r, &count);
        for (k = 0; k < 3; k++) u[k] = x[3 * i + k] - centre[k];
        place[0] = hypot(u[0], u[1]);
        place[1] = u[2];
        CHECK(dp_axisymmetric_evaluate(r, 1, place, &v) == AF_OK);
        CHECK(value[i] == v.phi && error[i] == v.phi_error && error[i] > 0.0);
        af_potential_acceleration(part, count, u, expected);
        for (k = 0; k < 3; k++) CHECK_CLOSE(a[3 * i + k], expected[k], 1e-12);
    }
}

/* Every allocation of a reader fails once. */
static void load_without_memory(const char *path) {
    af_status status = AF_ERROR_MEMORY;
    heap h;
    long k;
    for (k = 1; k < 1000 && status == AF_ERROR_MEMORY; k++) {
        af_context *own = NULL;
        dp_axisymmetric *q = NULL;
        status = heap_open(&h, k, 1, &own);
        if (status == AF_OK) status = dp_axisymmetric_load(own, path, &q);
        CHECK(status == AF_OK || status == AF_ERROR_MEMORY);
        CHECK((status == AF_OK) == (q != NULL));
        dp_axisymmetric_destroy(q);
        af_context_destroy(own);
        CHECK(h.live == 0);
    }
    CHECK(status == AF_OK && k > 10);
}

TEST(files_and_fields) {
    enum { N = 300 };
    static const char *path = "test_dp_axisymmetric.safetensors";
    static double eta[6 * N];
    static const double places[2][2] = {{1.0, 0.2}, {0.4, -0.1}};
    af_potential start[2];
    unsigned fixed[2] = {DP_FIX_HEIGHT, DP_FIX_LENGTH};
    dp_sample *s = NULL;
    dp_recover_desc d;
    dp_axisymmetric *r = NULL, *q = NULL;
    dp_recovered *sphere = NULL;
    dp_meridional one[2], two[2];
    size_t i;
    FILE *f;
    memset(&d, 0, sizeof d);
    start[0] = af_potential_miyamoto_nagai(1.5 * GM, 1.2, 0.15);
    start[1] = af_potential_logarithmic(0.2, 1.0, 1.0, 0.9);
    d.parts = start;
    d.part_count = 2;
    d.fixed = fixed;
    d.steps = 3;
    d.bins = 2;
    for (i = 0; i < 6; i++) d.centre[i] = 0.1 * (double)i;
    CHECK(dp_mock_disc(c, NULL, N, 3, eta) == AF_OK);
    for (i = 0; i < 6 * N; i++) eta[i] += d.centre[i % 6];
    CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &s) == AF_OK);
    CHECK(dp_recover_axisymmetric(s, &d, &r) == AF_OK);
    check_field(r, d.centre);
    CHECK(dp_axisymmetric_save(r, path) == AF_OK);
    CHECK_FAILS(dp_recovered_load(c, path, &sphere), AF_ERROR_FORMAT, "a recovered potential");
    CHECK(dp_axisymmetric_load(c, path, &q) == AF_OK);
    CHECK(same_numbers(r, q) && dp_axisymmetric_report(q).parameters == 3);
    CHECK(dp_axisymmetric_evaluate(r, 2, *places, one) == AF_OK);
    CHECK(dp_axisymmetric_evaluate(q, 2, *places, two) == AF_OK);
    CHECK(memcmp(one, two, sizeof one) == 0 && one[0].phi_error > 0.0);
    CHECK(dp_axisymmetric_untrained(r, 2, *places, one) == AF_OK);
    CHECK(dp_axisymmetric_untrained(q, 2, *places, two) == AF_OK);
    CHECK(memcmp(one, two, sizeof one) == 0 && one[0].phi != 0.0);
    check_field(q, d.centre);
    dp_axisymmetric_destroy(q);
    dp_axisymmetric_destroy(r);
    dp_sample_destroy(s);
    load_without_memory(path);
    f = fopen(path, "wb");
    if (f) fclose(f);
    CHECK_FAILS(dp_axisymmetric_load(c, path, &q), AF_ERROR_FORMAT, "test_dp_axisymmetric");
    CHECK(q == NULL);
    remove(path);
}

/* Every number of a file that makes no sense is refused: a sentence, no potential. */
TEST(files_that_are_damaged) {
    static const char *path = "test_dp_axisymmetric.safetensors";
    static const struct {
        const char *name, *words;
        size_t at;
        double value;
    } damage[6] = {{"start", "part 0", 0, 9.0},       {"start", "part 0", 2, -1.0},
                   {"start", "nothing to learn", 7, 7.0}, {"untrained", "part 0", 1, NAN},
                   {"covariance", "damaged", 0, -1.0},  {"potential", "damaged", 0, 1e9}};
    enum { N = 300 };
    static double eta[6 * N];
    af_potential start = af_potential_miyamoto_nagai(1.5 * GM, 1.2, 0.15);
    dp_sample *s = NULL;
    dp_recover_desc d;
    dp_axisymmetric *r = NULL, *q = NULL;
    size_t i, k;
    memset(&d, 0, sizeof d);
    d.parts = &start;
    d.part_count = d.steps = d.bins = 1;
    CHECK(dp_mock_disc(c, NULL, N, 3, eta) == AF_OK);
    CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &s) == AF_OK);
    CHECK(dp_recover_axisymmetric(s, &d, &r) == AF_OK);
    for (i = 0; i < 6; i++) {
        af_tensors *from = NULL, *to = NULL;
        CHECK(dp_axisymmetric_save(r, path) == AF_OK);
        CHECK(af_tensors_read(c, path, &from) == AF_OK);
        CHECK(af_tensors_create(c, &to) == AF_OK);
        CHECK(af_tensors_set_text(to, "format", af_tensors_text(from, "format")) == AF_OK);
        for (k = 0; k < af_tensors_count(from); k++) {
            const af_tensor *t = af_tensors_at(from, k);
            double x[32];
            CHECK(t->count <= 32);
            memcpy(x, t->data, t->count * sizeof *x);
            if (strcmp(t->name, damage[i].name) == 0) x[damage[i].at] = damage[i].value;
            CHECK(af_tensors_add(to, t->name, t->dtype, t->rank, t->dims, x) == AF_OK);
        }
        CHECK(af_tensors_write(to, path) == AF_OK);
        af_tensors_destroy(from);
        af_tensors_destroy(to);
        CHECK_FAILS(dp_axisymmetric_load(c, path, &q), AF_ERROR_FORMAT, damage[i].words);
        CHECK(q == NULL);
    }
    dp_axisymmetric_destroy(r);
    dp_sample_destroy(s);
    remove(path);
}

/* ---- failures ---- */

static af_status recover_these(size_t n, const double *eta, const dp_recover_desc *d,
                               const dp_volume *volume) {
    dp_sample *s = NULL;
    dp_axisymmetric *r = NULL;
    af_status status = dp_sample_create(c, n, eta, NULL, NULL, volume, &s);
    if (status == AF_OK) status = dp_recover_axisymmetric(s, d, &r);
    CHECK(r == NULL);
    dp_axisymmetric_destroy(r);
    dp_sample_destroy(s);
    return status;
}

TEST(bad_questions) {
    enum { N = 300 };
    static double eta[6 * N];
    static uint32_t streams[N];
    unsigned fixed = DP_FIX_MASS | DP_FIX_LENGTH | DP_FIX_HEIGHT;
    af_potential part = af_potential_miyamoto_nagai(GM, 1.0, 0.1);
    dp_recover_desc zero, d;
    dp_volume volume;
    size_t k;
    memset(&zero, 0, sizeof zero);
    memset(&volume, 0, sizeof volume);
    CHECK(dp_mock_disc(c, NULL, N, 8, eta) == AF_OK);
    CHECK_FAILS(recover_these(100, eta, NULL, NULL), AF_ERROR_DATA, "100 stars are too few");
    d = zero;
    d.units = 3;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "units and streams are for");
    d = zero;
    d.streams = streams;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "units and streams are for");
    d = zero;
    d.bins = 9;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "at most 8 bins");
    d = zero;
    d.part_count = 1;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "go together");
    d.parts = &part;
    d.fixed = &fixed;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "nothing to learn");
    part.mass = -1.0;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "part 0 has the mass");
    part.mass = 1e-3 * GM; /* fixed, and too light */
    fixed = DP_FIX_MASS;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_NONFINITE, "stars are not bound");
    part = af_potential_logarithmic(1.0, 1.0, 0.9, 0.9);
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "axisymmetric with p = 1");
    volume.kind = DP_VOLUME_SPHERE;
    volume.outer = 1e3;
    CHECK_FAILS(recover_these(N, eta, NULL, &volume), AF_ERROR_ARGUMENT, "cut in space");
    for (k = 0; k < 3; k++) eta[6 * 9 + 3 + k] *= 200.0;
    CHECK_FAILS(recover_these(N, eta, NULL, NULL), AF_ERROR_DATA, "leave out stars");
    for (k = 0; k < 3; k++) eta[6 * 9 + k] = 0.0;
    CHECK_FAILS(recover_these(N, eta, NULL, NULL), AF_ERROR_DATA, "star 9 (counted from 0) is in the centre");
}

/* Every allocation fails once, in steps that reach all of them in the end of each stage. */
TEST(memory_that_fails) {
    static const char *path = "test_dp_axisymmetric.safetensors";
    heap h;
    af_potential part = af_potential_miyamoto_nagai(GM, 1.0, 0.1);
    static double eta[6 * 200];
    long k, failed = 0;
    CHECK(dp_mock_disc(c, NULL, 200, 9, eta) == AF_OK);
    for (k = 1; k < 100000; k += k < 40 ? 1 : k / 12) {
        af_context *own = NULL;
        dp_sample *s = NULL;
        dp_axisymmetric *r = NULL, *q = NULL;
        dp_recover_desc d;
        double place[2] = {1.0, 0.1};
        dp_meridional v;
        af_status status = heap_open(&h, k, 1, &own);
        memset(&d, 0, sizeof d);
        d.steps = d.bins = 1;
        d.parts = &part;
        d.part_count = k % 2 ? 1 : 0;
        if (!d.part_count) d.parts = NULL;
        if (status == AF_OK) status = dp_sample_create(own, 200, eta, NULL, NULL, NULL, &s);
        if (status == AF_OK) status = dp_recover_axisymmetric(s, &d, &r);
        CHECK((status == AF_OK) == (r != NULL));
        if (status == AF_OK) status = dp_axisymmetric_evaluate(r, 1, place, &v);
        if (status == AF_OK) status = dp_axisymmetric_save(r, path);
        if (status == AF_OK) status = dp_axisymmetric_load(own, path, &q);
        CHECK(status == AF_OK || status == AF_ERROR_MEMORY);
        CHECK((status == AF_OK) == (q != NULL));
        dp_axisymmetric_destroy(q);
        dp_axisymmetric_destroy(r);
        dp_sample_destroy(s);
        af_context_destroy(own);
        CHECK(h.live == 0);
        if (status == AF_OK && k > 200) break;
        failed += status != AF_OK;
    }
    remove(path);
    CHECK(failed > 40);
}

int main(void) {
    c = heap_context(&memory, 2);
    RUN(responses_of_actions);
    RUN(a_density_of_three_actions);
    RUN(scores_of_that_density);
    RUN(the_disc_of_known_form);
    RUN(the_disc_of_free_form);
    RUN(centre_units_threads);
    RUN(files_and_fields);
    RUN(files_that_are_damaged);
    RUN(bad_questions);
    RUN(memory_that_fails);
    af_context_destroy(c);
    if (memory.live) printf("%ld blocks are still out\n", memory.live);
    return test_report() || memory.live != 0;
}
