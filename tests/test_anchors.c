/* Actions in known potentials: the Staeckel fudge, and generating functions from orbits. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"

#define MOCK_NAME "anchors"
#include "af_mock.h"

/* ---- potentials ---- */

/* Kuzmin & Kutuzov (1962), the Staeckel potential -GM/(sqrt(lambda) + sqrt(nu)) with the focal
 * distance sqrt(a^2 - c^2); lambda + nu = R^2 + z^2 + a^2 + c^2, lambda nu = a^2 c^2 + c^2 R^2 +
 * a^2 z^2 (Dejonghe & de Zeeuw 1988). */
typedef struct kuzmin {
    double gm, a, c;
} kuzmin;

static double kuzmin_value(const double x[3], void *user) {
    const kuzmin *k = (const kuzmin *)user;
    double a2 = k->a * k->a, c2 = k->c * k->c, r2 = x[0] * x[0] + x[1] * x[1], z2 = x[2] * x[2];
    return -k->gm / sqrt(r2 + z2 + a2 + c2 + 2.0 * sqrt(a2 * c2 + c2 * r2 + a2 * z2));
}

static void kuzmin_acceleration(const double x[3], double a[3], void *user) {
    const kuzmin *k = (const kuzmin *)user;
    double a2 = k->a * k->a, c2 = k->c * k->c, r2 = x[0] * x[0] + x[1] * x[1], z2 = x[2] * x[2];
    double root = sqrt(a2 * c2 + c2 * r2 + a2 * z2), square = r2 + z2 + a2 + c2 + 2.0 * root;
    double pull = -k->gm / (square * sqrt(square));
    a[0] = pull * x[0] * (1.0 + c2 / root);
    a[1] = pull * x[1] * (1.0 + c2 / root);
    a[2] = pull * x[2] * (1.0 + a2 / root);
}

static kuzmin oblate = {8e5, 5.0, 2.0};

static af_fudge oblate_fudge(af_focus focus) {
    af_fudge f = AF__ZERO;
    f.field.value = kuzmin_value;
    f.field.acceleration = kuzmin_acceleration;
    f.field.user = &oblate;
    f.focus = focus;
    f.delta = sqrt(21.0);
    return f;
}

/* Disc, bulge and halo: v_c(8 kpc) = 230 km/s. */
static const af_potential_sum *galaxy(void) {
    static af_potential part[3];
    static af_potential_sum sum;
    part[0] = af_potential_miyamoto_nagai(5.7e10, 3.0, 0.4);
    part[1] = af_potential_plummer(9e9, 0.4);
    part[2] = af_potential_nfw(6.6e11, 17.0);
    sum.parts = part;
    sum.count = 3;
    return &sum;
}

static af_fudge fudge_of(const af_potential_sum *sum, af_focus focus, double delta) {
    af_fudge f = AF__ZERO;
    f.field = af_field_of_potential(sum);
    f.focus = focus;
    f.delta = delta;
    return f;
}

static af_context *new_context(void) {
    af_context *c = NULL;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    return c;
}

/* A star somewhere within some 15 kpc, at some 150 km/s. */
static void random_star(uint64_t i, double xv[6]) {
    uint64_t k;
    for (k = 0; k < 3; k++) {
        xv[k] = 6.0 * af_random_normal(21, k, i);
        xv[3 + k] = 90.0 * af_random_normal(22, k, i);
    }
}

static double total(const double j[3]) { return fabs(j[0]) + j[1] + j[2]; }

/* ---- the fudge where it is exact ---- */

/* Spherical: Delta is found to be 0, and everything is that of the isochrone. */
TEST(fudge_in_the_isochrone) {
    af_isochrone iso = {3.334e11, 5.0};
    af_potential part = af_isochrone_potential(&iso);
    af_potential_sum sum = {&part, 1};
    int focus;
    uint64_t i, k, found = 0;
    for (focus = AF_FOCUS_ORBIT; focus <= AF_FOCUS_GIVEN; focus++) {
        af_fudge f = fudge_of(&sum, (af_focus)focus, 0.0);
        for (i = 0; i < 300; i++) {
            double xv[6], j[3], theta[3], omega[3], a[3], b[3], w[3];
            random_star(i, xv);
            if (af_isochrone_actions(&iso, xv, j, theta, omega) != 0) continue;
            found++;
            CHECK(af_fudge_actions(&f, xv, a, b, w) == 0);
            CHECK(af_fudge_delta(&f, xv) == 0.0);
            for (k = 0; k < 3; k++) {
                CHECK(fabs(a[k] - j[k]) < 1e-10 * total(j));
                CHECK(fabs(angle_between(b[k], theta[k])) < 1e-7);
                CHECK_CLOSE(w[k] / omega[k], 1.0, 1e-8);
            }
        }
    }
    CHECK(found > 800);
}

/* p_u^2 and p_v^2 in the oblate potential, in closed form: lambda = s^2 + a^2, nu = c^2 + Delta^2
 * cos^2 v, and (lambda - nu) Phi = -GM (sqrt(lambda) - sqrt(nu)). */
typedef struct staeckel {
    double e, lz2, k, d2;
    int vertical;
} staeckel;

static double momentum_square(const staeckel *q, double at) {
    double a2 = oblate.a * oblate.a, c2 = oblate.c * oblate.c, y = cos(at), n = sin(at) * sin(at);
    if (q->vertical)
        return 2.0 * q->e * q->d2 * n - 2.0 * oblate.gm * sqrt(c2 + q->d2 * y * y) - q->lz2 / n +
               2.0 * q->k;
    return 2.0 * q->e * at * at + 2.0 * oblate.gm * sqrt(at * at + a2) -
           q->lz2 * q->d2 / (at * at) - 2.0 * q->k;
}

/* Where it vanishes between `in`, where it is positive, and `out`. */
static double momentum_zero(const staeckel *q, double in, double out) {
    int i;
    for (i = 0; i < 200; i++) {
        double at = 0.5 * (in + out);
        if (momentum_square(q, at) > 0.0) in = at;
        else out = at;
    }
    return in;
}

/* 1/pi int p du, du = dv or ds/sqrt(s^2 + Delta^2), from one turning point to the other; the sine
 * takes the square roots away. */
static double momentum_integral(const staeckel *q, double from, double to) {
    double sum = 0.0;
    int i, n = 4000;
    for (i = 0; i < n; i++) {
        double turn = AF__PI * ((i + 0.5) / n - 0.5);
        double at = 0.5 * (from + to) + 0.5 * (to - from) * sin(turn);
        double p = sqrt(fmax(momentum_square(q, at), 0.0));
        sum += p * 0.5 * (to - from) * cos(turn) / n / (q->vertical ? 1.0 : hypot(at, sqrt(q->d2)));
    }
    return sum;
}

/* J_z and J_r by this way. */
static void staeckel_actions(const double xv[6], double j[3]) {
    staeckel q = AF__ZERO;
    double d2 = 21.0, r = hypot(xv[0], xv[1]), far2 = r * r + xv[2] * xv[2], s, c, v, pv;
    double lz = xv[0] * xv[4] - xv[1] * xv[3], out = (xv[0] * xv[3] + xv[1] * xv[4]) / r;
    s = sqrt(0.5 * (far2 - d2 + sqrt((far2 - d2) * (far2 - d2) + 4.0 * d2 * r * r)));
    c = sqrt(s * s + d2);
    v = atan2(r / s, xv[2] / c);
    pv = s * cos(v) * out - c * sin(v) * xv[5];
    q.e = kuzmin_value(xv, &oblate) + 0.5 * af__dot3(xv + 3, xv + 3);
    q.lz2 = lz * lz;
    q.d2 = d2;
    q.vertical = 1;
    q.k = 0.5 * (pv * pv - momentum_square(&q, v));
    j[0] = lz;
    v = momentum_zero(&q, fmin(v, AF__PI - v), 1e-9);
    j[1] = momentum_integral(&q, v, AF__PI - v);
    q.vertical = 0;
    j[2] = momentum_integral(&q, momentum_zero(&q, s, 1e-9), momentum_zero(&q, s, 1e4));
}

TEST(fudge_in_a_staeckel_potential) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    uint64_t i, k, found = 0;
    for (i = 0; i < 100; i++) {
        double xv[6], j[3], a[3];
        random_star(i, xv);
        if (af_fudge_actions(&f, xv, j, NULL, NULL) != 0) continue;
        found++;
        staeckel_actions(xv, a);
        for (k = 0; k < 3; k++) CHECK(fabs(a[k] - j[k]) < 1e-8 * total(j));
    }
    CHECK(found > 90);
}

/* Along orbits there J is constant and the angles grow by Omega t: values, derivatives and zero
 * points belong together. */
TEST(fudge_along_staeckel_orbits) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    enum { ROWS = 20 };
    uint64_t i, t, k, found = 0;
    for (i = 0; i < 40; i++) {
        double path[ROWS][6], j[3], theta[3], omega[3], a[3], b[3], w[3];
        random_star(i, path[0]);
        path[0][2] *= 0.7;
        if (fabs(path[0][0] * path[0][4] - path[0][1] * path[0][3]) < 150.0) continue;
        if (af_fudge_actions(&f, path[0], j, theta, omega) != 0) continue;
        CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_field(&f.field), path[0], 0.03,
                                 300, ROWS, path[0]) == AF_OK);
        found++;
        for (t = 1; t < ROWS; t++) {
            CHECK(af_fudge_actions(&f, path[t], a, b, w) == 0);
            for (k = 0; k < 3; k++) {
                double later = theta[k] + omega[k] * af_time_from_gyr(0.03 * (double)t);
                CHECK(fabs(a[k] - j[k]) < 1e-8 * total(j));
                CHECK_CLOSE(w[k] / omega[k], 1.0, 1e-8);
                CHECK(fabs(angle_between(b[k], later)) < 1e-6);
            }
        }
    }
    CHECK(found > 20);
}

/* Both ways find the focal distance of a Staeckel potential everywhere, in the plane too. */
TEST(fudge_focal_distance) {
    af_fudge orbit = oblate_fudge(AF_FOCUS_ORBIT), point = oblate_fudge(AF_FOCUS_POINT);
    af_potential prolate = af_potential_logarithmic(220.0, 1.0, 1.0, 1.2);
    af_potential_sum sum = {&prolate, 1};
    af_fudge long_axis = fudge_of(&sum, AF_FOCUS_ORBIT, 0.0);
    uint64_t i;
    for (i = 0; i < 60; i++) {
        double xv[6];
        random_star(i, xv);
        if (i % 3 == 0) xv[2] = xv[5] = 0.0;
        if (af_fudge_actions(&orbit, xv, NULL, NULL, NULL) & AF_ORBIT_FAILED) continue;
        CHECK_CLOSE(af_fudge_delta(&orbit, xv), sqrt(21.0), 1e-4);
        CHECK_CLOSE(af_fudge_delta(&point, xv), sqrt(21.0), 1e-4);
        CHECK(af_fudge_delta(&long_axis, xv) == 0.0);
    }
}

/* ---- the fudge in a galaxy ---- */

/* Mock stars of a thick disc and of the halo, bound. */
static int galaxy_star(uint64_t i, int halo, double xv[6]) {
    const af_potential_sum *sum = galaxy();
    double r = 6.0 + 8.0 * af_random_uniform(31, 0, i);
    if (halo) {
        mock_star(32, i, xv);
    } else {
        xv[0] = r;
        xv[1] = 0.0;
        xv[2] = 0.5 * af_random_normal(31, 1, i);
        xv[3] = 40.0 * af_random_normal(31, 2, i);
        xv[4] = af_potential_circular_speed(sum->parts, sum->count, r) +
                25.0 * af_random_normal(31, 3, i);
        xv[5] = 25.0 * af_random_normal(31, 4, i);
    }
    return af_potential_value(sum->parts, sum->count, xv) + 0.5 * af__dot3(xv + 3, xv + 3) < 0.0;
}

/* The mean over orbits of the rms of J_z and J_r along them, relative to J_z + J_r + |L_z|. */
static double galaxy_spread(const af_fudge *f, int halo) {
    enum { ROWS = 40, STARS = 60 };
    static double path[ROWS][6];
    double sum = 0.0;
    uint64_t i, t, k, found = 0;
    for (i = 0; i < STARS; i++) {
        double mean[3] = {0.0, 0.0, 0.0}, square = 0.0, j[ROWS][3];
        if (!galaxy_star(i, halo, path[0])) continue;
        if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_field(&f->field), path[0], 0.02,
                               100, ROWS, path[0]) != AF_OK)
            continue;
        found++;
        CHECK(af_fudge_actions_of(f, ROWS, path[0], j[0], NULL, NULL, NULL) == 0);
        for (t = 0; t < ROWS; t++)
            for (k = 0; k < 3; k++) mean[k] += j[t][k] / (int)ROWS;
        for (t = 0; t < ROWS; t++)
            for (k = 1; k < 3; k++) square += (j[t][k] - mean[k]) * (j[t][k] - mean[k]) / (int)ROWS;
        sum += sqrt(0.5 * square) / total(mean);
    }
    CHECK(found > STARS / 2);
    return sum / (double)found;
}

TEST(fudge_along_galaxy_orbits) {
    af_fudge orbit = fudge_of(galaxy(), AF_FOCUS_ORBIT, 0.0);
    af_fudge point = fudge_of(galaxy(), AF_FOCUS_POINT, 0.0);
    af_fudge sphere = fudge_of(galaxy(), AF_FOCUS_GIVEN, 0.0);
    double best = galaxy_spread(&orbit, 1);
    CHECK(galaxy_spread(&orbit, 0) < 1e-4); /* 2e-5 */
    CHECK(galaxy_spread(&point, 0) < 1e-4);
    CHECK(best < 0.015); /* 0.012; 0.020 and 0.029 for the other two */
    CHECK(galaxy_spread(&point, 1) > 1.2 * best);
    CHECK(galaxy_spread(&sphere, 1) > 1.8 * best);
}

/* Nothing is unbound in a logarithmic potential, whose zero is not at infinity. */
TEST(fudge_in_a_logarithmic_potential) {
    af_potential part = af_potential_logarithmic(220.0, 1.0, 1.0, 0.9);
    af_potential_sum sum = {&part, 1};
    af_fudge f = fudge_of(&sum, AF_FOCUS_ORBIT, 0.0);
    double xv[6] = {8.0, 0.0, 3.0, 20.0, 700.0, 100.0}, path[2][6], j[3], a[3], omega[3];
    CHECK(af_fudge_actions(&f, xv, j, NULL, omega) == 0);
    CHECK_CLOSE(j[0], 5600.0, 1e-14);
    CHECK(omega[2] > omega[0] && omega[0] > 0.0);
    CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_field(&f.field), xv, 1.0, 4000, 2,
                             path[0]) == AF_OK);
    CHECK(af_fudge_actions(&f, path[1], a, NULL, NULL) == 0);
    CHECK(fabs(a[1] - j[1]) < 0.02 * total(j) && fabs(a[2] - j[2]) < 0.02 * total(j));
    xv[4] = 1500.0;
    CHECK(af_fudge_actions(&f, xv, j, NULL, NULL) == 0 && j[2] > 10000.0);
}

/* ---- special stars ---- */

static int near_to(const double *a, const double *b, double size, double tolerance) {
    int k;
    for (k = 0; k < 3; k++)
        if (!(fabs(a[k] - b[k]) <= tolerance * size)) return 0;
    return 1;
}

static int near_angles(const double a[3], const double b[3], double tolerance) {
    int k;
    for (k = 0; k < 3; k++)
        if (!(fabs(angle_between(a[k], b[k])) <= tolerance)) return 0;
    return 1;
}

/* The mirror images of a star: y -> -y turns L_z over, z -> -z is half a vertical turn, the reverse
 * of velocity and L_z runs the angles backwards. */
TEST(fudge_mirrors) {
    af_fudge f = fudge_of(galaxy(), AF_FOCUS_ORBIT, 0.0);
    uint64_t i;
    for (i = 0; i < 50; i++) {
        double xv[6], j[3], theta[3], omega[3], a[3], b[3], w[3];
        if (!galaxy_star(i, 1, xv)) continue;
        CHECK(af_fudge_actions(&f, xv, j, theta, omega) == 0);
        xv[1] = -xv[1];
        xv[4] = -xv[4];
        CHECK(af_fudge_actions(&f, xv, a, b, w) == 0);
        a[0] = -a[0];
        b[0] = -b[0];
        w[0] = -w[0];
        CHECK(near_to(a, j, total(j), 1e-10) && near_angles(b, theta, 1e-8));
        CHECK(near_to(w, omega, omega[2], 1e-10));
        CHECK(omega[0] * j[0] > 0.0 && omega[1] > 0.0 && omega[2] > 0.0);
        xv[1] = -xv[1];
        xv[4] = -xv[4];
        xv[2] = -xv[2];
        xv[5] = -xv[5];
        CHECK(af_fudge_actions(&f, xv, a, b, w) == 0);
        b[1] -= AF__PI;
        b[0] += j[0] > 0.0 ? -AF__PI : AF__PI; /* the node is on the other side */
        b[0] -= AF__PI;
        CHECK(near_to(a, j, total(j), 1e-10) && near_to(w, omega, omega[2], 1e-10));
        CHECK(near_angles(b, theta, 1e-8));
    }
}

TEST(fudge_planar_and_circular) {
    af_fudge f = fudge_of(galaxy(), AF_FOCUS_ORBIT, 0.0);
    double planar[6] = {8.0, 1.0, 0.0, 30.0, 200.0, 0.0}, circle[6] = {0.0, 8.0, 0.0};
    double j[3], theta[3], omega[3], a[3], b[3], w[3], speed, slope, wide;
    const af_potential_sum *g = galaxy();
    CHECK(af_fudge_actions(&f, planar, j, theta, omega) == AF_ORBIT_PLANAR);
    CHECK(j[1] == 0.0 && j[2] > 0.0);
    planar[2] = 1e-5; /* continuous, but for theta_z */
    CHECK(af_fudge_actions(&f, planar, a, b, w) == 0);
    CHECK(near_to(a, j, total(j), 1e-7) && near_to(w, omega, omega[2], 1e-5));
    CHECK(fabs(angle_between(b[2], theta[2])) < 1e-6);
    speed = af_potential_circular_speed(g->parts, g->count, 8.0);
    circle[3] = -speed;
    CHECK(af_fudge_actions(&f, circle, j, theta, omega) == (AF_ORBIT_PLANAR | AF_ORBIT_CIRCULAR));
    CHECK(j[1] == 0.0 && j[2] == 0.0 && theta[2] == 0.0);
    CHECK_CLOSE(omega[0], speed / 8.0, 1e-8);
    /* epicycles: kappa^2 = (2 v/R) (v/R + dv/dR), nu^2 = -a_z/z */
    slope = (af_potential_circular_speed(g->parts, g->count, 8.001) -
             af_potential_circular_speed(g->parts, g->count, 7.999)) / 0.002;
    CHECK_CLOSE(omega[2], sqrt(2.0 * speed / 8.0 * (speed / 8.0 + slope)), 1e-5);
    circle[2] = 1e-5;
    f.field.acceleration(circle, a, f.field.user);
    CHECK_CLOSE(omega[1], sqrt(-a[2] / 1e-5), 1e-5);
    /* just off: J_r = kappa x^2/2 for an amplitude x */
    circle[2] = 0.0;
    wide = 1e-3;
    circle[4] = wide * omega[2]; /* outwards */
    CHECK(af_fudge_actions(&f, circle, a, b, w) == AF_ORBIT_PLANAR);
    CHECK_CLOSE(a[2] / (0.5 * omega[2] * wide * wide), 1.0, 1e-3);
    CHECK(fabs(angle_between(b[2], 0.5 * AF__PI)) < 1e-3);
}

/* A star just at its turning points gives what a star a little later gives. */
TEST(fudge_at_turning_points) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    const double start[3][6] = {{8.0, 0.0, 0.0, 0.0, 100.0, 100.0},  /* apocentre */
                                {5.0, 0.0, 0.0, 0.0, 330.0, 100.0},  /* pericentre */
                                {6.0, 0.0, 3.0, 0.0, 130.0, 0.0}};   /* both turn */
    int i, k;
    for (i = 0; i < 3; i++) {
        double path[2][6], j[3], theta[3], omega[3], a[3], b[3], w[3], exact[3];
        CHECK(af_fudge_actions(&f, start[i], j, theta, omega) == 0);
        CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_field(&f.field), start[i],
                                 0.01, 100, 2, path[0]) == AF_OK);
        CHECK(af_fudge_actions(&f, path[1], a, b, w) == 0);
        for (k = 0; k < 3; k++) theta[k] += omega[k] * af_time_from_gyr(0.01);
        CHECK(near_to(a, j, total(j), 1e-9) && near_angles(b, theta, 1e-6));
        CHECK(near_to(w, omega, omega[2], 1e-8));
        staeckel_actions(path[1], exact);
        CHECK(near_to(exact, j, total(j), 1e-8));
    }
}

/* L_z = 0 is the limit of small L_z, on loops and on boxes, on the axis and at rest. */
TEST(fudge_without_spin) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    const double start[4][6] = {{8.0, 0.0, 1.0, 30.0, 0.0, 150.0},  /* loop */
                                {8.0, 0.0, 1.0, 50.0, 0.0, 20.0},   /* box */
                                {0.0, 0.0, 6.0, 120.0, 0.0, 30.0},  /* on the axis */
                                {6.0, 0.0, 3.0, 0.0, 0.0, 0.0}};    /* at rest */
    double centre[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    int i, k;
    for (i = 0; i < 4; i++) {
        double xv[6], j[3], theta[3], omega[3], a[3], w[3];
        memcpy(xv, start[i], sizeof xv);
        CHECK(af_fudge_actions(&f, xv, j, theta, omega) == AF_ORBIT_POLAR);
        CHECK(j[0] == 0.0 && af__all_finite(theta, 3) && af__all_finite(omega, 3));
        if (i == 2) xv[1] += 1e-5; /* L_z < 0 */
        else xv[4] += 1e-5;
        CHECK(af_fudge_actions(&f, xv, a, NULL, w) == 0);
        CHECK(near_to(a, j, total(j), i == 2 ? 1e-4 : 1e-6));
        for (k = 1; k < 3; k++) CHECK_CLOSE(w[k] / omega[k], 1.0, 1e-4);
    }
    CHECK(af_fudge_actions(&f, centre, NULL, NULL, NULL) == AF_ORBIT_AT_REST);
    centre[3] = 10.0;
    CHECK(af_fudge_actions(&f, centre, NULL, NULL, NULL) == AF_ORBIT_INVALID);
}

TEST(fudge_failures) {
    af_fudge f = fudge_of(galaxy(), AF_FOCUS_ORBIT, 0.0);
    double xv[3][6] = {{8.0, 0.0, 1.0, 0.0, 220.0, 10.0},
                       {8.0, 0.0, 1.0, 0.0, 2200.0, 10.0},
                       {8.0, 0.0, 1.0, 0.0, 220.0, 10.0}};
    double j[3][3], theta[3][3], omega[3][3], one[3];
    unsigned flags[3];
    int k;
    xv[2][4] = NAN;
    CHECK(af_fudge_actions_of(&f, 3, xv[0], j[0], theta[0], omega[0], flags) == 2);
    CHECK(flags[0] == 0 && flags[1] == AF_ORBIT_UNBOUND && flags[2] == AF_ORBIT_INVALID);
    for (k = 0; k < 3; k++) {
        CHECK(j[0][k] == j[0][k] && theta[0][k] == theta[0][k] && omega[0][k] == omega[0][k]);
        CHECK(j[1][k] != j[1][k] && theta[1][k] != theta[1][k] && omega[1][k] != omega[1][k]);
        CHECK(j[2][k] != j[2][k] && theta[2][k] != theta[2][k] && omega[2][k] != omega[2][k]);
    }
    CHECK(af_fudge_actions(&f, xv[0], one, NULL, NULL) == 0 && near_to(one, j[0], 1.0, 0.0));
    CHECK(af_fudge_actions(&f, xv[0], NULL, NULL, one) == 0 && near_to(one, omega[0], 1.0, 0.0));
    CHECK(af_fudge_actions_of(&f, 3, xv[0], NULL, NULL, NULL, NULL) == 2);
    CHECK(!(af_fudge_delta(&f, xv[1]) == af_fudge_delta(&f, xv[1])));
}

/* ---- actions from orbits ---- */

TEST(orbit_agrees_with_an_exact_fudge) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    af_context *c = new_context();
    const double start[3][6] = {{8.0, 1.0, 2.0, 30.0, 150.0, 60.0},
                                {8.0, 1.0, -2.0, 30.0, -150.0, 60.0},
                                {-3.0, 6.0, 0.5, 20.0, 190.0, 100.0}};
    int i;
    for (i = 0; i < 3; i++) {
        double j[3], theta[3], omega[3], error[3], a[3], b[3], w[3];
        unsigned flags = 77;
        CHECK(af_fudge_actions(&f, start[i], a, b, w) == 0);
        CHECK(af_orbit_actions(c, &f.field, start[i], NULL, j, theta, omega, error, &flags) ==
              AF_OK);
        CHECK(flags == 0 && j[0] == a[0] && error[0] == 0.0);
        CHECK(error[1] < 1e-3 && error[2] < 1e-3);
        CHECK(near_to(j, a, total(a), 1e-6) && near_to(omega, w, w[2], 1e-6));
        CHECK(near_angles(theta, b, 1e-4));
    }
    af_context_destroy(c);
}

/* Fewer periods and harmonics are less exact, and the two halves say so. */
TEST(orbit_desc) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    af_context *c = new_context();
    const double xv[6] = {8.0, 1.0, 2.0, 60.0, 100.0, 60.0};
    double j[3], a[3], error[3], rough[3];
    af_orbit_actions_desc d = AF__ZERO;
    CHECK(af_orbit_actions(c, &f.field, xv, NULL, j, NULL, NULL, error, NULL) == AF_OK);
    d.order = 4;
    d.periods = 10;
    CHECK(af_orbit_actions(c, &f.field, xv, &d, a, NULL, NULL, rough, NULL) == AF_OK);
    CHECK(rough[1] + rough[2] > 10.0 * (error[1] + error[2]));
    CHECK(near_to(a, j, total(j), 0.01));
    af_context_destroy(c);
}

/* An orbit that comes near the bulge needs shorter steps. */
TEST(orbit_near_the_centre) {
    af_field field = af_field_of_potential(galaxy());
    af_context *c = new_context();
    const double xv[6] = {8.0, 0.0, 2.0, 20.0, 40.0, 50.0};
    double j[3], error[3];
    unsigned flags;
    CHECK(af_orbit_actions(c, &field, xv, NULL, j, NULL, NULL, error, &flags) == AF_OK);
    CHECK(flags == 0 && error[1] < 10.0 && error[2] < 10.0);
    af_context_destroy(c);
}

/* ---- the orbit behind them ---- */

/* The energy's relative change over 20 periods, and the actions' along the points in between. */
static double followed(const af_isochrone *toy, double tolerance, double *spread) {
    const double start[6] = {8.0, 0.0, 2.0, 20.0, 60.0, 50.0};
    af_potential part = af_isochrone_potential(toy);
    af_potential_sum sum = {NULL, 1};
    double first[3], j[3], *xv = (double *)calloc(6 * 1280, sizeof *xv), before, after;
    af_field field;
    af__follow f;
    size_t i;
    sum.parts = &part;
    field = af_field_of_potential(&sum);
    af__follow_begin(&f, af_force_of_field(&field), start, 1e-3, tolerance);
    CHECK(af__follow_points(&f, 0.003, 1280, 100000, xv));
    CHECK(xv[0] == 8.0 && xv[5] == 50.0);
    *spread = 0.0;
    for (i = 0; i < 1280; i++) {
        CHECK(af_isochrone_actions(toy, xv + 6 * i, j, NULL, NULL) == 0);
        if (i == 0) memcpy(first, j, sizeof j);
        *spread = fmax(*spread, fmax(fabs(j[1] - first[1]), fabs(j[2] - first[2])));
    }
    before = field.value(start, field.user) + 0.5 * (20.0 * 20.0 + 60.0 * 60.0 + 50.0 * 50.0);
    after = field.value(f.xv, field.user) + 0.5 * af__dot3(f.xv + 3, f.xv + 3);
    CHECK(!af__follow_points(&f, 0.003, 1280, f.tries + 10, xv)); /* too few steps */
    free(xv);
    return fabs(after / before - 1.0);
}

TEST(follow_conserves) {
    const af_isochrone toy = {3e11, 4.0};
    double rough, fine, rough_spread, fine_spread;
    rough = followed(&toy, 1e-6, &rough_spread);
    fine = followed(&toy, 1e-10, &fine_spread);
    CHECK(rough < 1e-3 && fine < 1e-7 && fine < 1e-2 * rough);
    CHECK(fine_spread < 1e-2 && fine_spread < 0.1 * rough_spread);
}

/* Order 8: a step half as long is 2^9 times as exact. The pendulum here is sin t in x, cos t in y;
 * the estimates fall with a power less. */
static void spring(const double x[3], double a[3], void *user) {
    int i;
    (void)user;
    for (i = 0; i < 3; i++) a[i] = -x[i];
}

TEST(follow_order) {
    const double start[6] = {0.0, 1.0, 0.0, 1.0, 0.0, 0.0};
    af_force force = AF__ZERO;
    double error[2], estimate[2], within[6];
    int i;
    force.acceleration = spring;
    for (i = 0; i < 2; i++) {
        double end[6], h = i ? 0.5 : 1.0;
        af__follow f;
        af__follow_begin(&f, force, start, h, 1.0);
        af__follow_stages(&f, h, end);
        estimate[i] = af__follow_error(&f, h);
        error[i] = hypot(end[0] - sin(h), end[1] - cos(h));
        CHECK(af__follow_step(&f) && f.taken == h);
        af__follow_within(&f, 1.0, within);
        CHECK(fabs(within[0] - f.xv[0]) < 1e-14 && fabs(within[4] - f.xv[4]) < 1e-14);
        af__follow_within(&f, 0.5, within);
        CHECK(fabs(within[0] - sin(0.5 * h)) < 3e-5 && fabs(within[3] - cos(0.5 * h)) < 3e-4);
    }
    CHECK(error[0] < 1e-6 && error[0] > 300.0 * error[1]);
    CHECK(estimate[0] > error[0] && estimate[0] > 100.0 * estimate[1]);
}

/* Halo orbits through the thin discs of the Milky Way get their actions, on any number of threads
 * the same ones, and each the one that it gets alone; nearly radial ones (0 and 3) are chaotic. */
TEST(orbits_through_thin_discs) {
    af_context *c = new_context();
    af_galaxy_desc d = AF__ZERO;
    af_orbit_actions_desc fast = AF__ZERO;
    af_galaxy *model = NULL;
    af_field field;
    double xv[5][6] = {{8.0, 1.0, 4.0, 60.0, 80.0, 90.0},
                       {10.0, 0.0, -3.0, -50.0, 120.0, 30.0},
                       {0.0, 12.0, 2.0, 100.0, 30.0, 80.0},
                       {-4.0, 9.0, 6.0, 20.0, 40.0, 10.0},
                       {8.0, 0.0, 1.0, 0.0, 2000.0, 0.0}};
    double j[2][5][3], theta[2][5][3], omega[5][3], error[5][3], one[3];
    unsigned flags[2][5] = {{9, 9, 9, 9, 9}, {9, 9, 9, 9, 9}};
    size_t i;
    fast.periods = 20;
    af_galaxy_desc_piffl_2014(&d);
    CHECK(af_galaxy_create(c, &d, &model) == AF_OK);
    field = af_field_of_galaxy(model);
    for (i = 0; i < 2; i++) {
        af_context_set_threads(c, i ? 3 : 1);
        CHECK(af_orbit_actions_of(c, &field, 5, xv[0], &fast, j[i][0], theta[i][0], omega[0],
                                  error[0], flags[i]) == AF_OK);
    }
    for (i = 0; i < 5; i++) {
        CHECK(flags[0][i] == flags[1][i]);
        CHECK(flags[0][i] == (i == 4 ? AF_ORBIT_UNBOUND : 0u));
        if (i == 4) continue;
        CHECK(memcmp(j[0][i], j[1][i], sizeof one) == 0);
        CHECK(memcmp(theta[0][i], theta[1][i], sizeof one) == 0);
        CHECK(error[i][1] < (i % 3 ? 0.1 : 30.0) && error[i][2] < (i % 3 ? 0.1 : 30.0));
        CHECK(af_orbit_actions(c, &field, xv[i], &fast, one, NULL, NULL, NULL, NULL) == AF_OK);
        CHECK(memcmp(j[0][i], one, sizeof one) == 0);
    }
    CHECK(af_orbit_actions_of(c, &field, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL) == AF_OK);
    af_galaxy_destroy(model);
    af_context_destroy(c);
}

/* In a galaxy the fudge is within a percent of the orbit's truth. */
TEST(orbit_and_fudge_in_a_galaxy) {
    af_fudge f = fudge_of(galaxy(), AF_FOCUS_ORBIT, 0.0);
    af_context *c = new_context();
    double sum = 0.0;
    uint64_t i, found = 0;
    for (i = 0; i < 8; i++) {
        double xv[6], j[3], theta[3], omega[3], error[3], a[3], b[3], w[3];
        unsigned flags;
        if (!galaxy_star(i, i >= 4, xv)) continue;
        CHECK(af_orbit_actions(c, &f.field, xv, NULL, j, theta, omega, error, &flags) == AF_OK);
        if (flags || !(error[1] < 1.0 && error[2] < 1.0)) continue;
        found++;
        CHECK(af_fudge_actions(&f, xv, a, b, w) == 0);
        CHECK(near_to(a, j, total(j), i < 4 ? 1e-3 : 0.05));
        CHECK(near_to(w, omega, omega[2], i < 4 ? 5e-3 : 0.3));
        CHECK(near_angles(b, theta, i < 4 ? 0.02 : 0.6));
        sum += (fabs(a[1] - j[1]) + fabs(a[2] - j[2])) / total(j);
    }
    CHECK(found >= 5);
    CHECK(sum < 0.01 * (double)found);
    af_context_destroy(c);
}

TEST(orbit_special) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    af_context *c = new_context();
    double planar[6] = {8.0, 1.0, 0.0, 30.0, 150.0, 0.0}, circle[6] = {8.0};
    double away[6] = {8.0, 0.0, 1.0, 0.0, 2000.0, 0.0}, box[6] = {8.0, 0.0, 1.0, 50.0, 0.0, 20.0};
    double axis[6] = {0.0, 0.0, 5.0, 0.0, 0.0, 100.0};
    double j[3], theta[3], omega[3], error[3], a[3], b[3], w[3];
    unsigned flags;
    CHECK(af_fudge_actions(&f, planar, a, b, w) == AF_ORBIT_PLANAR);
    CHECK(af_orbit_actions(c, &f.field, planar, NULL, j, theta, omega, error, &flags) == AF_OK);
    CHECK(flags == AF_ORBIT_PLANAR && j[1] == 0.0);
    CHECK(near_to(j, a, total(a), 1e-6) && near_to(omega, w, w[2], 1e-5));
    CHECK(fabs(angle_between(theta[2], b[2])) < 1e-4);
    kuzmin_acceleration(circle, a, &oblate);
    circle[4] = sqrt(-8.0 * a[0]);
    CHECK(af_fudge_actions(&f, circle, a, b, w) == (AF_ORBIT_PLANAR | AF_ORBIT_CIRCULAR));
    CHECK(af_orbit_actions(c, &f.field, circle, NULL, j, theta, omega, error, &flags) == AF_OK);
    CHECK(flags == (AF_ORBIT_PLANAR | AF_ORBIT_CIRCULAR) && j[1] == 0.0 && j[2] == 0.0);
    CHECK(near_to(omega, w, w[2], 1e-5));
    CHECK(af_orbit_actions(c, &f.field, away, NULL, j, theta, omega, error, &flags) == AF_OK);
    CHECK(flags == AF_ORBIT_UNBOUND && j[0] != j[0] && error[2] != error[2]);
    CHECK(af_orbit_actions(c, &f.field, box, NULL, j, theta, omega, error, &flags) == AF_OK);
    CHECK(flags == (AF_ORBIT_POLAR | AF_ORBIT_UNSETTLED) && j[2] != j[2]);
    CHECK(af_orbit_actions(c, &f.field, axis, NULL, j, theta, omega, error, &flags) == AF_OK);
    CHECK(flags == (AF_ORBIT_POLAR | AF_ORBIT_UNSETTLED) && j[1] != j[1]);
    CHECK(af_error_status(c) == AF_OK);
    af_context_destroy(c);
}

/* A toy's plane turns over where L goes through 0: no toy for that orbit. */
TEST(orbit_through_the_centre) {
    const af_isochrone toy = {3e11, 4.0};
    double xv[2][6] = {{5.0, 0.0, 5.0, 50.0, 0.0, -50.0}, {5.0, 0.0, 5.0, 50.0, 0.0, 60.0}};
    double j[2][3], theta[2][3];
    af__oa_half *h = (af__oa_half *)calloc(1, sizeof *h);
    h->points = 2;
    h->j = j[0];
    h->theta = theta[0];
    CHECK(af__oa_toy_coordinates(&toy, xv[0], h));
    CHECK(j[1][1] < 0.2 * j[0][1] && theta[1][2] != theta[0][2]);
    xv[1][5] = 50.0; /* L = 0 */
    CHECK(!af__oa_toy_coordinates(&toy, xv[0], h));
    xv[1][4] = xv[0][4] = 30.0; /* L_z keeps it away */
    CHECK(af__oa_toy_coordinates(&toy, xv[0], h));
    free(h);
}

TEST(orbit_arguments) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    af_context *c = new_context();
    const double xv[6] = {8.0, 1.0, 2.0, 30.0, 150.0, 60.0};
    af_orbit_actions_desc d = AF__ZERO;
    double j[3] = {1.0, 2.0, 3.0};
    af_status bad = AF_ERROR_ARGUMENT;
    d.end_canary = 1;
    CHECK(af_orbit_actions(c, &f.field, xv, &d, j, NULL, NULL, NULL, NULL) == bad);
    CHECK_TEXT(af_error(c), "zero");
    af_error_clear(c);
    d.end_canary = 0;
    d.order = 17;
    CHECK(af_orbit_actions(c, &f.field, xv, &d, j, NULL, NULL, NULL, NULL) == bad);
    CHECK_TEXT(af_error(c), "order 17");
    af_error_clear(c);
    d.order = 0;
    d.periods = 3;
    CHECK(af_orbit_actions(c, &f.field, xv, &d, j, NULL, NULL, NULL, NULL) == bad);
    af_error_clear(c);
    f.field.value = NULL;
    CHECK(af_orbit_actions(c, &f.field, xv, NULL, j, NULL, NULL, NULL, NULL) == bad);
    CHECK_TEXT(af_error(c), "value");
    CHECK(j[0] == 1.0 && j[2] == 3.0);
    af_context_destroy(c);
}

/* The k-th allocation fails, for every k. */
TEST(orbit_memory) {
    af_fudge f = oblate_fudge(AF_FOCUS_GIVEN);
    af_orbit_actions_desc d = AF__ZERO;
    const double xv[6] = {8.0, 1.0, 2.0, 30.0, 150.0, 60.0};
    long k, failures = 0;
    d.periods = 6;
    d.order = 4;
    for (k = 2; k < 100; k++) { /* the first one is the context's */
        heap h = AF__ZERO;
        af_context *c = heap_context(&h, 1);
        double j[3] = {-1.0, -1.0, -1.0};
        af_status status;
        h.fail_at = k;
        status = af_orbit_actions(c, &f.field, xv, &d, j, NULL, NULL, NULL, NULL);
        if (status == AF_ERROR_MEMORY) {
            failures++;
            CHECK_TEXT(af_error(c), "out of memory");
            CHECK(j[0] == -1.0);
        } else {
            CHECK(status == AF_OK && j[0] == 1170.0);
        }
        CHECK(h.live == 1);
        af_context_destroy(c);
        CHECK(h.live == 0);
        if (status == AF_OK) break;
    }
    CHECK(failures > 1 && k < 100);
}

int main(void) {
    RUN(fudge_in_the_isochrone);
    RUN(fudge_in_a_staeckel_potential);
    RUN(fudge_along_staeckel_orbits);
    RUN(fudge_focal_distance);
    RUN(fudge_along_galaxy_orbits);
    RUN(fudge_in_a_logarithmic_potential);
    RUN(fudge_mirrors);
    RUN(fudge_planar_and_circular);
    RUN(fudge_at_turning_points);
    RUN(fudge_without_spin);
    RUN(fudge_failures);
    RUN(orbit_agrees_with_an_exact_fudge);
    RUN(orbit_desc);
    RUN(orbit_near_the_centre);
    RUN(follow_conserves);
    RUN(follow_order);
    RUN(orbits_through_thin_discs);
    RUN(orbit_and_fudge_in_a_galaxy);
    RUN(orbit_special);
    RUN(orbit_through_the_centre);
    RUN(orbit_arguments);
    RUN(orbit_memory);
    return test_report();
}
