/* ActionFinder's map: the toy as an expression, canonicity (eqs. 5 to 8), the J' solve,
 * evaluation. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid, threads */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "map"
#include "af_mock.h"

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

static void toy_run(const toy_test *t, size_t outputs, const af_expr *out, double mass,
                    double scale, const double *xv, double *const *to) {
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
static int jacobian(af_evaluator *e, const double star[6], double h, double m[6][6],
                    double *change) {
    double xv[25][6], j[25][3], theta[25][3], toy[3];
    unsigned flags[25];
    size_t a, b, k;
    for (a = 0; a < 25; a++) {
        memcpy(xv[a], star, sizeof xv[a]);
        if (a < 24)
            xv[a][a / 4] += size_of[a / 4] * h * (a % 4 < 2 ? 1.0 : 0.5) * (a % 2 ? -1.0 : 1.0);
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
    af_isochrone_actions(test_toy(e), star, toy, NULL, NULL);
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
        if (af_isochrone_actions(test_toy(e), star, j, NULL, NULL) != 0) continue;
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

/* ---- the map as an expression ---- */

enum { PLACES = 40 };

/* Ordinary stars (PLACES,6), the answers of an evaluator, and derivatives by differences. */
typedef struct places {
    af_context *c;
    af_finder *f;
    af_evaluator *e;
    double xv[PLACES][6], j[PLACES][3], theta[PLACES][3];
} places;

static void places_open(places *p, af_finder_desc *d, double random) {
    uint64_t draw = 0;
    size_t n = 0;
    memset(p, 0, sizeof *p);
    af_context_create(NULL, &p->c);
    p->f = finder_of(p->c, d, random);
    CHECK(p->f && af_evaluator_create(p->f, 1, 1, 1, &p->e) == AF_OK);
    while (p->e && n < PLACES && draw < 400) {
        double j[3];
        unsigned flag;
        mock_star(910, draw++, p->xv[n]);
        if (af_isochrone_actions(test_toy(p->e), p->xv[n], j, NULL, NULL) != 0) continue;
        if (fabs(j[0]) < 300.0 || j[1] < 300.0 || j[2] < 100.0) continue;
        af_evaluate(p->e, 1, p->xv[n], NULL, p->j[n], p->theta[n], &flag);
        if (!flag) n++;
    }
    CHECK(n == PLACES);
}

static void places_close(places *p) {
    af_evaluator_destroy(p->e);
    af_finder_destroy(p->f);
    af_context_destroy(p->c);
}

/* j, theta (3,PLACES) by the expression, and the gradient (6,PLACES) of the sum of all j/ACTION and
 * theta, each with a weight of its own. start: J' is sought by two steps from j (3,PLACES). */
static const double place_weight[6] = {0.7, -1.1, 0.9, 0.4, -0.6, 1.3};
static void places_run(places *p, int start, double *j, double *theta, double *gradient) {
    af_context *c = p->c;
    size_t dims[2] = {6, PLACES}, i, k;
    double xv[6][PLACES], from[3][PLACES];
    af_expr in[3], out[3], weight, none = AF__ZERO, sum;
    const void *given[3];
    void *to[3];
    af_func_desc d = AF__ZERO;
    af_func *func = NULL;
    af_workspace *w = NULL;
    for (i = 0; i < PLACES; i++) {
        for (k = 0; k < 6; k++) xv[k][i] = p->xv[i][k];
        for (k = 0; k < 3; k++) from[k][i] = p->j[i][k] * 1.002 + 0.1;
    }
    in[0] = af_params_input(af_finder_params(p->f));
    in[1] = af_input(c, "xv", 2, dims);
    dims[0] = 3;
    in[2] = af_input(c, "from", 2, dims);
    CHECK(af_finder_expr(p->f, in[1], start ? in[2] : none, start ? 2 : 0, &out[0], &out[1]) ==
          AF_OK);
    dims[1] = 1;
    weight = af_constant_array(c, 2, dims, place_weight);
    sum = af_sum(c, af_mul(c, af_scale(c, out[0], 1.0 / ACTION), weight));
    weight = af_constant_array(c, 2, dims, place_weight + 3);
    sum = af_add(c, sum, af_sum(c, af_mul(c, out[1], weight)));
    CHECK(af_grad(c, sum, 1, &in[1], &out[2]) == AF_OK);
    given[0] = af_params_data(af_finder_params(p->f));
    given[1] = xv;
    given[2] = from;
    to[0] = j;
    to[1] = theta;
    to[2] = gradient;
    d.inputs = in;
    d.input_count = start ? 3 : 2;
    d.outputs = out;
    d.output_count = 3;
    CHECK(af_compile(c, &d, &func) == AF_OK);
    CHECK_TEXT(af_error(c), "");
    if (func && af_workspace_create(func, 1, &w) == AF_OK)
        CHECK(af_run(func, w, given, to) == AF_OK);
    af_workspace_destroy(w);
    af_func_destroy(func);
}

/* The same sum's change from the evaluator at a and b. */
static double place_change(places *p, const double *a, const double *b) {
    double j[2][3], theta[2][3], sum = 0.0;
    size_t k;
    af_evaluate(p->e, 1, a, NULL, j[0], theta[0], NULL);
    af_evaluate(p->e, 1, b, NULL, j[1], theta[1], NULL);
    for (k = 0; k < 3; k++) {
        sum += place_weight[k] * (j[0][k] - j[1][k]) / ACTION;
        sum += place_weight[3 + k] * angle_between(theta[0][k], theta[1][k]);
    }
    return sum;
}

static double place_slope(places *p, size_t i, size_t k) {
    double at[2][6], change[2], h = 2e-3 * size_of[k];
    size_t b;
    for (b = 0; b < 2; b++, h *= 0.5) {
        memcpy(at[0], p->xv[i], sizeof at[0]);
        memcpy(at[1], p->xv[i], sizeof at[1]);
        at[0][k] += h;
        at[1][k] -= h;
        change[b] = place_change(p, at[0], at[1]) / (2.0 * h);
    }
    return (4.0 * change[1] - change[0]) / 3.0;
}

/* Values equal the evaluator's, derivatives the differences of its values. `least` is how far the
 * map must be from the toy's. */
static void check_expression(af_finder_desc *d, double random, double least) {
    static double j[3][PLACES], theta[3][PLACES], gradient[6][PLACES];
    double worst[2] = {0.0, 0.0}, error[6 * PLACES], change = 0.0, toy[3];
    size_t i, k;
    int start;
    places p;
    places_open(&p, d, random);
    for (start = 0; start < 2 && p.e; start++) {
        places_run(&p, start, j[0], theta[0], gradient[0]);
        for (i = 0; i < PLACES; i++) {
            af_isochrone_actions(test_toy(p.e), p.xv[i], toy, NULL, NULL);
            change = fmax(change, fabs(p.j[i][2] - toy[2]) / ACTION);
            for (k = 0; k < 3; k++) {
                worst[0] = fmax(worst[0], fabs(j[k][i] - p.j[i][k]) / ACTION);
                worst[1] = fmax(worst[1], fabs(angle_between(theta[k][i], p.theta[i][k])));
            }
            for (k = 0; k < 6; k++) {
                double slope = place_slope(&p, i, k) * size_of[k];
                error[6 * i + k] = fabs(gradient[k][i] * size_of[k] - slope);
            }
        }
        SAY("expression: j %.2g theta %.2g, median error of slopes %.2g", worst[0], worst[1],
            median(error, 6 * PLACES));
        SAY("90 %% %.2g, change %.2g\n", error[6 * PLACES * 9 / 10], change);
        CHECK(worst[0] < 1e-8);
        CHECK(worst[1] < 1e-7);
        CHECK(change > least);
        CHECK(median(error, 6 * PLACES) < 1e-8);
        CHECK(error[6 * PLACES * 9 / 10] < 1e-6); /* sorted: a few lie at a kink of the features */
    }
    places_close(&p);
}

TEST(expression_fourier) {
    af_finder_desc d = AF__ZERO;
    d.axisymmetric = AF_SYMMETRY_YES;
    check_expression(&d, 0.05, 0.003);
    d.free_toy = 1;
    d.axisymmetric = d.plane_symmetric = d.time_symmetric = AF_SYMMETRY_NO;
    check_expression(&d, 0.03, 0.003);
}
TEST(expression_point) {
    af_finder_desc d = AF__ZERO;
    d.point_transformation = 1;
    d.axisymmetric = AF_SYMMETRY_NO;
    check_expression(&d, 0.03, 0.003);
}
TEST(expression_network) {
    af_finder_desc d = AF__ZERO;
    d.generator = AF_GENERATOR_NETWORK;
    check_expression(&d, 0.02, 0.003);
}
TEST(expression_shears) {
    af_finder_desc d = AF__ZERO;
    d.generator = AF_GENERATOR_SHEARS;
    check_expression(&d, 0.02, 0.003);
}

/* By the finder's numbers, along a random direction. */
TEST(expression_by_parameters) {
    size_t dims[2] = {6, PLACES}, i, k, n;
    double xv[6][PLACES], value[3], *slope, *data, along = 0.0, h = 1e-5, *way;
    af_finder_desc d = AF__ZERO;
    af_expr in[2], out[2], none = AF__ZERO, j, theta;
    const void *given[2];
    void *to[2];
    af_func_desc fd = AF__ZERO;
    af_func *func = NULL;
    af_workspace *w = NULL;
    places p;
    d.free_toy = 1;
    places_open(&p, &d, 0.03);
    n = af_params_size(af_finder_params(p.f));
    data = af_params_data(af_finder_params(p.f));
    slope = (double *)malloc(2 * n * sizeof *slope);
    way = slope + n;
    for (i = 0; i < PLACES; i++)
        for (k = 0; k < 6; k++) xv[k][i] = p.xv[i][k];
    in[0] = af_params_input(af_finder_params(p.f));
    in[1] = af_input(p.c, "xv", 2, dims);
    CHECK(af_finder_expr(p.f, in[1], none, 0, &j, &theta) == AF_OK);
    out[0] = af_add(p.c, af_scale(p.c, af_sum(p.c, j), 1.0 / ACTION), af_sum(p.c, theta));
    out[1] = af_params_grad(af_finder_params(p.f), out[0]);
    given[0] = data;
    given[1] = xv;
    to[0] = value;
    to[1] = slope;
    fd.inputs = in;
    fd.input_count = fd.output_count = 2;
    fd.outputs = out;
    CHECK(af_compile(p.c, &fd, &func) == AF_OK && af_workspace_create(func, 1, &w) == AF_OK);
    CHECK(w && af_run(func, w, given, to) == AF_OK);
    for (i = 0; i < n; i++) along += slope[i] * (way[i] = af_random_normal(3, 3, i));
    to[1] = slope; /* not used any more */
    for (k = 0; k < 2 && w; k++) {
        for (i = 0; i < n; i++) data[i] += (k ? -2.0 : 1.0) * h * way[i];
        to[0] = value + k;
        CHECK(af_run(func, w, given, to) == AF_OK);
    }
    CHECK_CLOSE((value[0] - value[1]) / (2.0 * h), along, 1e-5 * fabs(along));
    free(slope);
    af_workspace_destroy(w);
    af_func_destroy(func);
    places_close(&p);
}

/* Every allocation fails once. */
TEST(expression_without_memory) {
    long k;
    for (k = 1; k < 1000000; k += 1 + k / 3) {
        heap h;
        af_context *c = NULL;
        af_finder *f = NULL;
        af_finder_desc d = AF__ZERO;
        size_t dims[2] = {6, 4}, before;
        af_expr j = AF__ZERO, none = AF__ZERO;
        af_status s = heap_open(&h, 0, 1, &c);
        d.net.width = 4;
        f = finder_of(c, &d, 0.05);
        before = (size_t)h.calls;
        h.fail_at = (long)before + k;
        s = af_finder_expr(f, af_input(c, "xv", 2, dims), none, 0, &j, NULL);
        CHECK(s == AF_OK || s == AF_ERROR_MEMORY);
        CHECK((s == AF_OK) == (j.id != 0));
        af_finder_destroy(f);
        af_context_destroy(c);
        CHECK(h.live == 0);
        if (s == AF_OK) break;
    }
    CHECK(k > 3);
}

TEST(expression_arguments) {
    size_t dims[2] = {6, PLACES};
    af_finder_desc d = AF__ZERO;
    af_expr xv, j, none = AF__ZERO;
    places p;
    places_open(&p, &d, 0.05);
    xv = af_input(p.c, "xv", 2, dims);
    CHECK(af_finder_expr(p.f, xv, xv, 0, &j, NULL) == AF_ERROR_SHAPE);
    CHECK_TEXT(af_error(p.c), "(3,40)");
    CHECK(j.id == 0);
    af_error_clear(p.c);
    CHECK(af_finder_expr(p.f, xv, none, 65, &j, NULL) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(p.c), "65 steps");
    af_error_clear(p.c);
    CHECK(af_finder_expr(p.f, af_transpose(p.c, xv), none, 0, NULL, &j) == AF_ERROR_SHAPE);
    CHECK_TEXT(af_error(p.c), "with 40 rows");
    af_error_clear(p.c);
    CHECK(af_finder_expr(p.f, none, none, 0, &j, NULL) != AF_OK);
    places_close(&p);
}

/* ---- J' and evaluation ---- */

enum { STREAMS = 50, STARS = 5 };

typedef struct scene {
    heap memory;
    af_context *c;
    af_finder *f;
    double xv[STREAMS][STARS][6];
} scene;

typedef struct answer {
    double j[STREAMS][STARS][3], theta[STREAMS][STARS][3];
    unsigned flags[STREAMS][STARS];
    size_t failed;
} answer;

static void scene_open(scene *s, af_generator_kind kind, double random) {
    af_finder_desc d = AF__ZERO;
    memset(s, 0, sizeof *s);
    s->c = heap_context(&s->memory, 1);
    d.generator = kind;
    s->f = finder_of(s->c, &d, random);
    mock_streams(4711, STREAMS, STARS, s->xv[0][0], NULL, NULL);
}

static void scene_close(scene *s) {
    af_finder_destroy(s->f);
    af_context_destroy(s->c);
    CHECK(s->memory.live == 0);
}

static void ask(scene *s, size_t block, const size_t *count, answer *a) {
    af_evaluator *e = NULL;
    memset(a, 0, sizeof *a);
    CHECK(af_evaluator_create(s->f, STARS, block, 1, &e) == AF_OK);
    if (e)
        a->failed =
            af_evaluate(e, STREAMS, s->xv[0][0], count, a->j[0][0], a->theta[0][0], a->flags[0]);
    af_evaluator_destroy(e);
}

/* Largest difference of stream s of a and stream t of b: actions over ACTION, angles. NaN are
 * equal. */
static double stream_difference(const answer *a, size_t s, const answer *b, size_t t,
                                size_t stars) {
    double worst = 0.0;
    size_t i, k;
    for (i = 0; i < stars; i++) {
        if (a->flags[s][i] != b->flags[t][i]) return INFINITY;
        for (k = 0; k < 3; k++) {
            double p = a->j[s][i][k], q = b->j[t][i][k];
            if (isnan(p) != isnan(q)) return INFINITY;
            if (isnan(p)) continue;
            worst = fmax(worst, fabs(p - q) / ACTION);
            worst = fmax(worst, fabs(angle_between(a->theta[s][i][k], b->theta[t][i][k])));
        }
    }
    return worst;
}

static double difference(const answer *a, const answer *b) {
    double worst = 0.0;
    size_t s;
    for (s = 0; s < STREAMS; s++) worst = fmax(worst, stream_difference(a, s, b, s, STARS));
    return worst;
}

/* J' is the mean over the stars of J - dG/dtheta, which is what they get; and angles are in
 * range. */
static void check_residual(af_generator_kind kind, double random) {
    static scene s;
    static answer a;
    double guess[STREAMS][3], worst = 0.0;
    af_evaluator *e = NULL;
    size_t i, k, n, settled = 0;
    scene_open(&s, kind, random);
    memset(guess, 0xff, sizeof guess); /* NaN */
    CHECK(af_evaluator_create(s.f, STARS, 16, 1, &e) == AF_OK);
    if (e)
        test_evaluate(e, STREAMS, s.xv[0][0], guess[0], a.j[0][0], a.theta[0][0], a.flags[0]);
    for (n = 0; n < STREAMS && e; n++) {
        if (a.flags[n][0]) continue;
        settled++;
        for (k = 0; k < 3; k++) {
            double mean = 0.0;
            for (i = 0; i < STARS; i++) {
                mean += a.j[n][i][k] / STARS;
                CHECK(a.theta[n][i][k] >= 0.0 && a.theta[n][i][k] < 2.0 * AF__PI);
            }
            worst = fmax(worst, fabs(mean / test_action_scale(s.f) - guess[n][k]));
        }
    }
    CHECK(settled >= STREAMS - 5);
    CHECK_CLOSE(worst, 0.0, 2e-10);
    af_evaluator_destroy(e);
    scene_close(&s);
}

TEST(residual_fourier) { check_residual(AF_GENERATOR_FOURIER, 0.05); }
TEST(residual_network) { check_residual(AF_GENERATOR_NETWORK, 0.02); }

TEST(lanes_and_order) {
    static const size_t block[] = {1, 3, 7, STREAMS, 64};
    static scene s;
    static answer first, a;
    static double kept[STREAMS][STARS][6];
    uint32_t order[STREAMS];
    size_t i, kind;
    double worst = 0.0;
    for (kind = 0; kind < 2; kind++) {
        scene_open(&s, (af_generator_kind)kind, kind ? 0.02 : 0.05);
        ask(&s, 16, NULL, &first);
        for (i = 0; i < AF__COUNT(block); i++) {
            ask(&s, block[i], NULL, &a);
            CHECK_CLOSE(difference(&a, &first), 0.0, 1e-9);
        }
        af_random_permutation(3, 3, STREAMS, order);
        memcpy(kept, s.xv, sizeof kept);
        for (i = 0; i < STREAMS; i++) memcpy(s.xv[i], kept[order[i]], sizeof kept[0]);
        ask(&s, 5, NULL, &a);
        for (i = 0; i < STREAMS; i++)
            worst = fmax(worst, stream_difference(&a, i, &first, order[i], STARS));
        CHECK_CLOSE(worst, 0.0, 1e-9);
        scene_close(&s);
    }
}

/* One star of a stream with room for five is a star by itself; numbers beyond the count do not
 * matter. */
TEST(counts) {
    static scene s;
    static answer a, b, single;
    size_t count[STREAMS], i, k, n, missing = 0;
    double worst = 0.0;
    af_evaluator *e = NULL;
    scene_open(&s, AF_GENERATOR_FOURIER, 0.05);
    for (n = 0; n < STREAMS; n++) count[n] = 1 + n % STARS;
    ask(&s, 8, count, &a);
    for (n = 0; n < STREAMS; n++)
        for (i = count[n]; i < STARS; i++) {
            for (k = 0; k < 6; k++) s.xv[n][i][k] = n % 2 ? NAN : 1e9;
            for (k = 0; k < 3; k++) CHECK(isnan(a.j[n][i][k]) && isnan(a.theta[n][i][k]));
            missing++;
        }
    ask(&s, 8, count, &b);
    CHECK(a.failed == 0 && b.failed == 0 && missing > 0);
    CHECK(memcmp(a.flags, b.flags, sizeof a.flags) == 0 && difference(&a, &b) == 0.0);
    CHECK(af_evaluator_create(s.f, 1, 4, 1, &e) == AF_OK);
    for (n = 0; n < STREAMS && e; n += STARS) {
        af_evaluate(e, 1, s.xv[n][0], NULL, single.j[n][0], single.theta[n][0], single.flags[n]);
        worst = fmax(worst, stream_difference(&a, n, &single, n, 1));
    }
    CHECK_CLOSE(worst, 0.0, 1e-9);
    af_evaluator_destroy(e);
    scene_close(&s);
}

/* Stars that are unbound or nonsense are NaN and told; their streams are solved without them. */
TEST(unbound_stars) {
    static scene s;
    static answer good, a, rest;
    static double kept[STREAMS][STARS][6];
    size_t n, i, count[STREAMS];
    scene_open(&s, AF_GENERATOR_FOURIER, 0.05);
    memcpy(kept, s.xv, sizeof kept);
    ask(&s, 8, NULL, &good);
    for (n = 0; n < STREAMS; n++) count[n] = STARS;
    for (n = 0; n < STREAMS; n += 3) { /* the last star, or all */
        for (i = n % 2 ? 0 : STARS - 1; i < STARS; i++) s.xv[n][i][3] = i % 2 ? 5000.0 : NAN;
        count[n] = n % 2 ? 0 : STARS - 1;
    }
    ask(&s, 8, NULL, &a);
    memcpy(s.xv, kept, sizeof kept);
    ask(&s, 8, count, &rest);
    for (n = 0; n < STREAMS; n++) {
        if (n % 3) {
            CHECK(stream_difference(&a, n, &good, n, STARS) < 1e-9);
            continue;
        }
        CHECK(stream_difference(&a, n, &rest, n, count[n]) < 1e-9);
        for (i = count[n]; i < STARS; i++) {
            CHECK(a.flags[n][i] ==
                  (i % 2 ? (unsigned)AF_ORBIT_UNBOUND : (unsigned)AF_ORBIT_INVALID));
            CHECK(isnan(a.j[n][i][0]) && isnan(a.j[n][i][2]) && isnan(a.theta[n][i][1]));
        }
    }
    n = 0;
    for (i = 0; i < STREAMS; i += 3) n += STARS - count[i];
    CHECK(a.failed == n);
    scene_close(&s);
}

/* A wild map: what does not settle says so, what says nothing has settled. */
TEST(unsettled) {
    static scene s;
    static answer a, b;
    size_t n, i, k, unsettled = 0;
    scene_open(&s, AF_GENERATOR_FOURIER, 3.0);
    ask(&s, 8, NULL, &a);
    ask(&s, 13, NULL, &b);
    for (n = 0; n < STREAMS; n++) {
        unsettled += (a.flags[n][0] & AF_STAR_UNCONVERGED) != 0;
        for (i = 0; i < STARS; i++) {
            CHECK(a.flags[n][i] == 0 || a.flags[n][i] == AF_STAR_UNCONVERGED);
            CHECK(a.flags[n][i] == a.flags[n][0]);
            for (k = 0; k < 3; k++) CHECK(isfinite(a.j[n][i][k]) && isfinite(a.theta[n][i][k]));
        }
    }
    CHECK(unsettled > STREAMS / 10 && unsettled < STREAMS);
    CHECK(a.failed == 0 && b.failed == 0);
    scene_close(&s);
}

/* The whole set at once: hard streams fall back on their stars' median and keep their flag. */
TEST(orbits_at_once) {
    static scene s;
    static answer a, all;
    size_t n, flagged = 0, kind;
    for (kind = 0; kind < 2; kind++) {
        af_orbits *o = NULL;
        scene_open(&s, AF_GENERATOR_FOURIER, kind ? 3.0 : 0.05);
        CHECK(af_orbits_create(s.c, STREAMS, STARS, s.xv[0][0], NULL, &o) == AF_OK);
        memset(&all, 0, sizeof all);
        CHECK(af_finder_evaluate(s.f, o, all.j[0][0], all.theta[0][0], all.flags[0]) == AF_OK);
        CHECK(af_finder_evaluate(s.f, o, NULL, NULL, NULL) == AF_OK);
        ask(&s, STREAMS, NULL, &a);
        for (n = 0; n < STREAMS; n++) {
            CHECK(memcmp(a.flags[n], all.flags[n], sizeof a.flags[n]) == 0);
            flagged += a.flags[n][0] != 0;
            if (a.flags[n][0] == 0) CHECK(stream_difference(&a, n, &all, n, STARS) < 1e-9);
            CHECK(isfinite(all.j[n][0][2]) && isfinite(all.theta[n][STARS - 1][0]));
        }
        af_orbits_destroy(o);
        scene_close(&s);
    }
    CHECK(flagged > 0);
}

TEST(allocates_nothing) {
    static scene s;
    static answer a;
    af_evaluator *e = NULL;
    long calls;
    scene_open(&s, AF_GENERATOR_NETWORK, 0.02);
    CHECK(af_evaluator_create(s.f, STARS, 8, 1, &e) == AF_OK);
    calls = s.memory.calls;
    s.memory.fail_at = calls + 1;
    if (e)
        CHECK(af_evaluate(e, STREAMS, s.xv[0][0], NULL, a.j[0][0], a.theta[0][0], a.flags[0]) == 0);
    if (e) CHECK(af_evaluate(e, STREAMS, s.xv[0][0], NULL, NULL, NULL, NULL) == 0);
    if (e) CHECK(af_evaluate(e, 0, NULL, NULL, NULL, NULL, NULL) == 0);
    CHECK(s.memory.calls == calls);
    s.memory.fail_at = 0;
    af_evaluator_destroy(e);
    af_evaluator_destroy(NULL);
    scene_close(&s);
}

TEST(two_threads) {
    static scene s;
    static answer a[2], first;
    af_evaluator *e[2] = {NULL, NULL};
    int t, round;
    scene_open(&s, AF_GENERATOR_FOURIER, 0.05);
    ask(&s, 8, NULL, &first);
    for (t = 0; t < 2; t++) CHECK(af_evaluator_create(s.f, STARS, 8, 1, &e[t]) == AF_OK);
#ifdef _OPENMP
#  pragma omp parallel for num_threads(2) schedule(static, 1) private(round)
#endif
    for (t = 0; t < 2; t++)
        for (round = 0; round < 20; round++)
            a[t].failed = af_evaluate(e[t], STREAMS, s.xv[0][0], NULL, a[t].j[0][0],
                                      a[t].theta[0][0], a[t].flags[0]);
    for (t = 0; t < 2; t++) {
        CHECK(memcmp(&a[t], &first, sizeof first) == 0);
        af_evaluator_destroy(e[t]);
    }
    scene_close(&s);
}

/* Any number of threads inside gives the same bits. */
TEST(threads_inside) {
    static scene s;
    static answer a, first;
    int threads;
    scene_open(&s, AF_GENERATOR_NETWORK, 0.02);
    ask(&s, 16, NULL, &first);
    for (threads = 2; threads < 4; threads++) {
        af_evaluator *e = NULL;
        CHECK(af_evaluator_create(s.f, STARS, 16, threads, &e) == AF_OK);
        if (e)
            a.failed =
                af_evaluate(e, STREAMS, s.xv[0][0], NULL, a.j[0][0], a.theta[0][0], a.flags[0]);
        CHECK(memcmp(&a, &first, sizeof a) == 0);
        af_evaluator_destroy(e);
    }
    scene_close(&s);
}

/* Planar, polar, radial, circular orbits and rest in the centre: numbers, whatever the map. */
TEST(special_orbits) {
    static const double star[5][6] = {{8, 0, 0, 0, 150, 0},
                                      {8, 0, 1, 10, 0, 120},
                                      {8, 2, 1, 80, 20, 10},
                                      {0, 0, 0, 0, 0, 0},
                                      {8, 0, 0, 30, 100, 0}};
    double j[5][3], theta[5][3];
    unsigned flags[5];
    static scene s;
    size_t i, k, kind;
    for (kind = 0; kind < 2; kind++) {
        af_evaluator *e = NULL;
        scene_open(&s, (af_generator_kind)kind, kind ? 0.02 : 0.05);
        CHECK(af_evaluator_create(s.f, 1, 2, 1, &e) == AF_OK);
        if (e) CHECK(af_evaluate(e, 5, star[0], NULL, j[0], theta[0], flags) == 0);
        for (i = 0; i < 5; i++)
            for (k = 0; k < 3; k++) CHECK(isfinite(j[i][k]) && isfinite(theta[i][k]));
        CHECK(flags[0] & AF_ORBIT_PLANAR);
        CHECK(flags[1] & AF_ORBIT_POLAR);
        CHECK(flags[2] & AF_ORBIT_RADIAL);
        CHECK(flags[3] & AF_ORBIT_AT_REST);
        if (kind == 0)
            CHECK_CLOSE(j[0][1], 0.0, 1e-3); /* harmonics of theta_z vanish on planar orbits */
        af_evaluator_destroy(e);
        scene_close(&s);
    }
}

TEST(evaluator_arguments) {
    static scene s;
    af_evaluator *e;
    scene_open(&s, AF_GENERATOR_FOURIER, 0.0);
    e = (af_evaluator *)&s;
    CHECK(af_evaluator_create(s.f, 0, 1, 1, &e) == AF_ERROR_ARGUMENT && !e);
    CHECK_TEXT(af_error(s.c), "must be positive");
    af_error_clear(s.c);
    e = (af_evaluator *)&s;
    CHECK(af_evaluator_create(s.f, 1, 0, 1, &e) == AF_ERROR_ARGUMENT && !e);
    af_error_clear(s.c);
    scene_close(&s);
}

int main(void) {
    RUN(residual_fourier);
    RUN(residual_network);
    RUN(lanes_and_order);
    RUN(counts);
    RUN(unbound_stars);
    RUN(unsettled);
    RUN(orbits_at_once);
    RUN(allocates_nothing);
    RUN(two_threads);
    RUN(threads_inside);
    RUN(special_orbits);
    RUN(evaluator_arguments);
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
    RUN(expression_fourier);
    RUN(expression_point);
    RUN(expression_network);
    RUN(expression_shears);
    RUN(expression_by_parameters);
    RUN(expression_without_memory);
    RUN(expression_arguments);
    return test_report();
}
