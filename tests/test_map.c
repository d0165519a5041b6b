/* ActionFinder's map: the toy as an expression, canonicity (eqs. 5 to 8), the J' solve, evaluation. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid, threads */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "map"
#include "af_mock.h"

#ifdef _OPENMP
#  include <omp.h>
#endif

/* Of an orbit in the Galaxy: kpc and km/s are brought to order one by them. */
static const double size_of[6] = {8.0, 8.0, 8.0, 150.0, 150.0, 150.0};
#define ACTION (8.0 * 150.0)

/* ---- the toy as an expression ---- */

enum { MANY = 4096, FEW = 64 };

typedef struct toy_test {
    af_context *c;
    af_expr mass, scale, xv, j, theta;
} toy_test;

static toy_test toy_build(size_t n) {
    toy_test t;
    size_t dims[2] = {6, 0};
    dims[1] = n;
    af_context_create(NULL, &t.c);
    t.mass = af_input(t.c, "GM", 0, NULL);
    t.scale = af_input(t.c, "b", 0, NULL);
    t.xv = af_input(t.c, "xv", 2, dims);
    CHECK(af_isochrone_expr(t.c, t.mass, t.scale, t.xv, &t.j, &t.theta) == AF_OK);
    return t;
}

static void toy_run(const toy_test *t, size_t outputs, const af_expr *out, double mass, double scale,
                    const double *xv, double *const *to) {
    af_func_desc d = AF__ZERO;
    af_expr inputs[3];
    const void *in[3];
    void *given[4];
    af_func *f = NULL;
    af_workspace *w = NULL;
    size_t i;
    inputs[0] = t->mass;
    inputs[1] = t->scale;
    inputs[2] = t->xv;
    in[0] = &mass;
    in[1] = &scale;
    in[2] = xv;
    for (i = 0; i < outputs; i++) given[i] = to[i];
    d.inputs = inputs;
    d.input_count = 3;
    d.outputs = out;
    d.output_count = outputs;
    CHECK(af_compile(t->c, &d, &f) == AF_OK);
    CHECK_TEXT(af_error(t->c), "");
    if (f && af_workspace_create(f, 1, &w) == AF_OK) CHECK(af_run(f, w, in, given) == AF_OK);
    af_workspace_destroy(w);
    af_func_destroy(f);
}

/* Bound stars from nearly circular to nearly radial, (6,n). */
static void toy_stars(const af_isochrone *toy, uint64_t seed, size_t n, double *xv) {
    size_t i, k;
    uint64_t draw = 0;
    for (i = 0; i < n; i++) {
        double star[6], j[3], tilt;
        for (;;) {
            mock_star(seed, draw++, star);
            if (af_isochrone_actions(toy, star, j, NULL, NULL) != 0) continue;
            tilt = fabs(j[0]) / (fabs(j[0]) + j[1]); /* planar and polar ones lose digits */
            if (tilt > 0.02 && tilt < 0.98 && fabs(j[0]) + j[1] > 20.0 && j[2] > 1.0) break;
        }
        for (k = 0; k < 6; k++) xv[k * n + i] = star[k];
    }
}

TEST(toy_values) {
    static double xv[6 * MANY], j[3 * MANY], theta[3 * MANY];
    static const double scales[4] = {5.0, 0.0, 1e-3, 40.0};
    toy_test t = toy_build(MANY);
    double *to[2];
    af_expr out[2];
    size_t i, k, n, prograde = 0;
    to[0] = j;
    to[1] = theta;
    out[0] = t.j;
    out[1] = t.theta;
    for (n = 0; n < 4; n++) {
        af_isochrone toy;
        double worst_j = 0.0, worst_theta = 0.0;
        toy.mass = 3.334e11 * (1.0 + scales[n] / 5.0);
        toy.scale = scales[n];
        toy_stars(&toy, 11 + n, MANY, xv);
        toy_run(&t, 2, out, AF_GRAVITY * toy.mass, toy.scale, xv, to);
        for (i = 0; i < MANY; i++) {
            double star[6], action[3], angle[3];
            for (k = 0; k < 6; k++) star[k] = xv[k * MANY + i];
            af_isochrone_actions(&toy, star, action, angle, NULL);
            prograde += action[0] > 0.0;
            for (k = 0; k < 3; k++) {
                worst_j = fmax(worst_j, fabs(j[k * MANY + i] - action[k]) / ACTION);
                worst_theta = fmax(worst_theta, fabs(angle_between(theta[k * MANY + i], angle[k])));
                if (!(fabs(theta[k * MANY + i]) < 1e3)) worst_theta = INFINITY; /* NaN */
            }
        }
        CHECK_CLOSE(worst_j, 0.0, 1e-12);
        CHECK_CLOSE(worst_theta, 0.0, 1e-10);
    }
    CHECK(prograde > MANY && prograde < 3 * MANY);
    af_context_destroy(t.c);
}

/* d(theta,J)/d(x,v) is symplectic: {theta_i, J_k} = delta, the other brackets vanish. */
TEST(toy_symplectic) {
    static double xv[6 * FEW], dj[6 * 3 * FEW], dtheta[6 * 3 * FEW];
    static double identity[36];
    af_isochrone toy = mock_truth();
    toy_test t = toy_build(FEW);
    size_t dims[3] = {6, 6, 1}, i, a, b, k;
    af_expr y[2], out[2], units;
    double *to[2], worst = 0.0;
    for (k = 0; k < 6; k++) identity[7 * k] = size_of[k];
    toy_stars(&toy, 21, FEW, xv);
    units = af_constant_array(t.c, 3, dims, identity);
    dims[2] = FEW;
    units = af_broadcast(t.c, units, 3, dims);
    y[0] = t.j;
    y[1] = t.theta;
    CHECK(af_jvp(t.c, 2, y, 1, &t.xv, &units, out) == AF_OK);
    to[0] = dj; /* (6,3,n): direction, component */
    to[1] = dtheta;
    toy_run(&t, 2, out, AF_GRAVITY * toy.mass, toy.scale, xv, to);
    for (i = 0; i < FEW; i++)
        for (a = 0; a < 6; a++)
            for (b = 0; b < 6; b++) { /* dtheta ^ dJ = dx ^ dv along directions a and b */
                double sum = 0.0, expected = b == a + 3 ? 1.0 : a == b + 3 ? -1.0 : 0.0;
                for (k = 0; k < 3; k++)
                    sum += (dtheta[(3 * a + k) * FEW + i] * dj[(3 * b + k) * FEW + i] -
                            dtheta[(3 * b + k) * FEW + i] * dj[(3 * a + k) * FEW + i]) / ACTION;
                worst = fmax(worst, fabs(sum - expected));
            }
    CHECK_CLOSE(worst, 0.0, 1e-9);
    af_context_destroy(t.c);
}

TEST(toy_by_mass_and_scale) {
    static double xv[6 * FEW], value[8][2][3 * FEW], slope[2][2][3 * FEW];
    af_isochrone toy = mock_truth();
    toy_test t = toy_build(FEW);
    double mass = AF_GRAVITY * toy.mass, *to[2], h, worst = 0.0, largest = 0.0;
    af_expr y[2], out[2], one = af_constant(t.c, 1.0), *by[2];
    size_t p, i, m;
    by[0] = &t.mass;
    by[1] = &t.scale;
    y[0] = t.j;
    y[1] = t.theta;
    toy_stars(&toy, 31, FEW, xv);
    for (p = 0; p < 2; p++) {
        double at = p ? toy.scale : mass;
        h = 3e-4 * at;
        CHECK(af_jvp(t.c, 2, y, 1, by[p], &one, out) == AF_OK);
        to[0] = slope[p][0];
        to[1] = slope[p][1];
        toy_run(&t, 2, out, mass, toy.scale, xv, to);
        for (m = 0; m < 4; m++) { /* +h, -h, +2h, -2h */
            double moved = at + h * (m < 2 ? 1.0 : 2.0) * (m % 2 ? -1.0 : 1.0);
            to[0] = value[m][0];
            to[1] = value[m][1];
            toy_run(&t, 2, y, p ? mass : moved, p ? moved : toy.scale, xv, to);
        }
        for (i = 0; i < 2 * 3 * FEW; i++) {
            const double *v[4], *s = slope[p][0] + i;
            double d1, d2, expected, error;
            for (m = 0; m < 4; m++) v[m] = value[m][0] + i;
            d1 = *v[0] - *v[1];
            d2 = *v[2] - *v[3];
            if (i >= 3 * FEW) { /* angles */
                d1 = angle_between(d1, 0.0);
                d2 = angle_between(d2, 0.0);
            }
            expected = (8.0 * d1 - d2) / 12.0 / 3e-4; /* by the logarithm */
            expected /= i < 3 * FEW ? ACTION : 1.0;
            error = fabs(*s * at / (i < 3 * FEW ? ACTION : 1.0) - expected);
            worst = fmax(worst, error / (1.0 + fabs(expected)));
            largest = fmax(largest, fabs(expected));
        }
    }
    CHECK_CLOSE(worst, 0.0, 1e-7);
    CHECK(largest > 0.1);
    af_context_destroy(t.c);
}

TEST(toy_arguments) {
    toy_test t = toy_build(2);
    size_t dims[2] = {5, 2};
    af_expr bad = af_input(t.c, "bad", 2, dims), j, theta;
    CHECK(af_isochrone_expr(t.c, t.mass, t.scale, t.xv, NULL, &theta) == AF_OK && theta.id);
    CHECK(af_isochrone_expr(t.c, t.mass, t.scale, t.xv, &j, NULL) == AF_OK && j.id);
    CHECK(af_isochrone_expr(t.c, t.mass, t.scale, bad, &j, &theta) == AF_ERROR_SHAPE);
    CHECK(!j.id && !theta.id);
    CHECK_TEXT(af_error(t.c), "6 components");
    af_context_destroy(t.c);
}

/* Unbound stars are NaN in the expression as in the function. */
TEST(toy_unbound) {
    double xv[6] = {8.0, 1.0, 1.0, 900.0, 1.0, 1.0}, j[3], theta[3], *to[2];
    toy_test t = toy_build(1);
    af_expr out[2];
    to[0] = j;
    to[1] = theta;
    out[0] = t.j;
    out[1] = t.theta;
    toy_run(&t, 2, out, AF_GRAVITY * 3.334e11, 5.0, xv, to);
    CHECK(isnan(j[2]) && isnan(theta[0]) && isnan(theta[1]) && isnan(theta[2]));
    af_context_destroy(t.c);
}

/* ---- the map is canonical ---- */

/* A finder for 32 mock streams with a toy of its own, its parameters random. */
static af_finder *finder_of(af_context *c, af_finder_desc *d, double random) {
    af_orbits *o = mock_orbits(c, 77, 32, 4);
    af_finder *f = NULL;
    d->toy.mass = 4e11;
    d->toy.scale = 4.0;
    if (d->harmonics_r == 0) d->harmonics_r = 3;
    if (d->harmonics_z == 0) d->harmonics_z = 2;
    if (d->harmonics_phi == 0) d->harmonics_phi = 1;
    d->net.random_last = d->point_net.random_last = 1;
    if (d->net.width == 0) d->net.width = 16;
    d->net.depth = 2;
    d->point_net.width = 12;
    CHECK(o && af_finder_create(c, o, d, &f) == AF_OK);
    CHECK_TEXT(af_error(c), "");
    if (f) shake(f, 5, random);
    af_orbits_destroy(o);
    return f;
}

/* d(theta,J)/d(x,v) at one star, columns 6 directions in units of size_of; by central differences
 * with steps h and h/2, Richardson. Also how far the map is from the toy's. */
static int jacobian(af_evaluator *e, const double star[6], double h, double m[6][6], double *change) {
    double xv[25][6], j[25][3], theta[25][3], toy[3];
    unsigned flags[25];
    size_t a, b, k;
    for (a = 0; a < 25; a++) {
        memcpy(xv[a], star, sizeof xv[a]);
        if (a < 24) xv[a][a / 4] += size_of[a / 4] * h * (a % 4 < 2 ? 1.0 : 0.5) * (a % 2 ? -1.0 : 1.0);
    }
    af_evaluate(e, 25, xv[0], NULL, j[0], theta[0], flags);
    for (a = 0; a < 25; a++)
        if (flags[a]) return 0;
    for (a = 0; a < 6; a++)
        for (k = 0; k < 3; k++) {
            double d[2];
            for (b = 0; b < 2; b++)
                d[b] = angle_between(theta[4 * a + 2 * b][k], theta[4 * a + 2 * b + 1][k]);
            m[k][a] = (4.0 * d[1] / h - d[0] / (2.0 * h)) / 3.0;
            for (b = 0; b < 2; b++) d[b] = (j[4 * a + 2 * b][k] - j[4 * a + 2 * b + 1][k]) / ACTION;
            m[3 + k][a] = (4.0 * d[1] / h - d[0] / (2.0 * h)) / 3.0;
        }
    af_isochrone_actions(&e->toy, star, toy, NULL, NULL);
    *change = fabs(j[24][2] - toy[2]) / ACTION;
    return 1;
}

static double symplectic_error(double m[6][6]) {
    double worst = 0.0;
    size_t a, b, k;
    for (a = 0; a < 6; a++)
        for (b = 0; b < 6; b++) {
            double sum = 0.0, expected = b == a + 3 ? 1.0 : a == b + 3 ? -1.0 : 0.0;
            for (k = 0; k < 3; k++) sum += m[k][a] * m[3 + k][b] - m[k][b] * m[3 + k][a];
            worst = fmax(worst, fabs(sum - expected));
        }
    return worst;
}

static void check_canonical(af_finder_desc *d, double random, double least_change) {
    af_context *c;
    af_finder *f;
    af_evaluator *e = NULL;
    double error[40], change[40], m[6][6];
    size_t n = 0;
    uint64_t draw = 0;
    af_context_create(NULL, &c);
    f = finder_of(c, d, random);
    CHECK(f && af_evaluator_create(f, 1, 25, 1, &e) == AF_OK);
    while (e && n < 40 && draw < 400) {
        double star[6], j[3];
        mock_star(909, draw++, star);
        if (af_isochrone_actions(&e->toy, star, j, NULL, NULL) != 0) continue;
        /* nearly planar, polar, radial and circular ones want shorter steps than rounding allows */
        if (fabs(j[0]) < 300.0 || j[1] < 300.0 || j[2] < 100.0) continue;
        if (!jacobian(e, star, 2e-3, m, &change[n])) continue;
        error[n++] = symplectic_error(m);
    }
    CHECK(n == 40);
    if (getenv("AF_VERBOSE") && n == 40) {
        double sorted[40];
        memcpy(sorted, error, sizeof sorted);
        printf("  canonical: median %.2g", median(sorted, n));
        printf(" 90 %% %.2g", sorted[36]);
        memcpy(sorted, change, sizeof sorted);
        printf(" change %.2g, draws %d\n", median(sorted, n), (int)draw);
    }
    if (n == 40) {
        CHECK(median(change, n) > least_change);
        CHECK_CLOSE(median(error, n), 0.0, 1e-9);
        CHECK_CLOSE(error[36], 0.0, 1e-8); /* sorted: a few may lie at a kink of the features */
    }
    af_evaluator_destroy(e);
    af_finder_destroy(f);
    af_context_destroy(c);
}

TEST(canonical_fourier) {
    af_finder_desc d = AF__ZERO;
    d.axisymmetric = AF_SYMMETRY_YES;
    check_canonical(&d, 0.05, 0.003);
}
TEST(canonical_fourier_general) {
    af_finder_desc d = AF__ZERO;
    d.axisymmetric = AF_SYMMETRY_NO;
    check_canonical(&d, 0.05, 0.003);
}
TEST(canonical_fourier_no_symmetry) {
    af_finder_desc d = AF__ZERO;
    d.axisymmetric = d.plane_symmetric = d.time_symmetric = AF_SYMMETRY_NO;
    check_canonical(&d, 0.05, 0.003);
}
TEST(canonical_fourier_cosines) {
    af_finder_desc d = AF__ZERO;
    d.axisymmetric = AF_SYMMETRY_YES;
    d.time_symmetric = AF_SYMMETRY_NO;
    check_canonical(&d, 0.05, 0.003);
}
TEST(canonical_network) {
    af_finder_desc d = AF__ZERO;
    d.generator = AF_GENERATOR_NETWORK;
    check_canonical(&d, 0.02, 0.003);
}
TEST(canonical_resdense) {
    af_finder_desc d = AF__ZERO;
    d.generator = AF_GENERATOR_NETWORK;
    d.net.architecture = AF_RESDENSE;
    d.net.activation = AF_TANH;
    d.net.width = 4;
    d.net.max_width = 8;
    d.net.weight_norm = 1;
    d.net.dropout = 0.5; /* must not act in evaluation */
    d.net.dropout_above = 4;
    check_canonical(&d, 0.02, 0.003);
}
TEST(canonical_point_fourier) {
    af_finder_desc d = AF__ZERO;
    d.point_transformation = 1;
    d.axisymmetric = AF_SYMMETRY_NO;
    check_canonical(&d, 0.03, 0.003);
}
TEST(canonical_point_network) {
    af_finder_desc d = AF__ZERO;
    d.point_transformation = 1;
    d.generator = AF_GENERATOR_NETWORK;
    check_canonical(&d, 0.02, 0.003);
}

int main(void) {
    RUN(toy_values);
    RUN(toy_symplectic);
    RUN(toy_by_mass_and_scale);
    RUN(toy_arguments);
    RUN(toy_unbound);
    RUN(canonical_fourier);
    RUN(canonical_fourier_general);
    RUN(canonical_fourier_no_symmetry);
    RUN(canonical_fourier_cosines);
    RUN(canonical_network);
    RUN(canonical_resdense);
    RUN(canonical_point_fourier);
    RUN(canonical_point_network);
    return test_report();
}
