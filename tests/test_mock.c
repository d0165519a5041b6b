/* The true actions of mock orbits (tools/actionfinder/mock_truth.c) against closed forms and
 * against themselves from another place on the same orbit. */
#include "actionfinder.in.h"

#include "../tools/actionfinder/mock_truth.c"
#include "af_test.h"

static const double start_of[3][6] = {{8.0, 1.0, 4.0, 30.0, 150.0, 60.0},
                                      {-6.0, 7.0, 3.0, 60.0, 90.0, -40.0}, /* L_z < 0 */
                                      {9.0, 0.0, 0.0, -20.0, 215.0, 25.0}};

static af_context *context(void) {
    af_context *c = NULL;
    CHECK(af_context_create(NULL, &c) == AF_OK);
    return c;
}

static double angle_between(double p, double q) { return fabs(remainder(p - q, 2.0 * AF__PI)); }

/* The method in the isochrone, where everything is known. */
TEST(truth_in_the_isochrone) {
    af_context *c = context();
    af_isochrone iso = {3.334e11, 5.0};
    af_potential part = af_isochrone_potential(&iso);
    af_potential_sum sum;
    mock_truth t;
    size_t i, k;
    sum.parts = &part;
    sum.count = 1;
    for (i = 0; i < 3; i++) {
        double j[3], theta[3], omega[3];
        CHECK(mock_truth_find(c, &sum, start_of[i], &t));
        af_isochrone_actions(&iso, start_of[i], j, theta, omega);
        for (k = 0; k < 3; k++) {
            CHECK_CLOSE(t.j[k], j[k], 1e-5);
            CHECK_CLOSE(t.omega[k], omega[k], 1e-5);
            CHECK(angle_between(t.theta[k], theta[k]) < 1e-4);
            CHECK(t.error[k] < 1e-3);
        }
    }
    af_context_destroy(c);
}

/* J_r = 1/pi times the integral of the radial speed from pericentre to apocentre, in a Plummer
 * sphere. r = middle + half sin(u) takes away the square roots at the ends. */
static double radial_action(const af_potential *part, double e, double l, double inner,
                            double outer) {
    size_t i, n = 4000;
    double sum = 0.0;
    for (i = 0; i < n; i++) {
        double u = AF__PI * (((double)i + 0.5) / (double)n - 0.5);
        double r = 0.5 * (inner + outer) + 0.5 * (outer - inner) * sin(u), x[3] = {0.0, 0.0, 0.0},
               square;
        x[0] = r;
        square = 2.0 * (e - af_potential_value(part, 1, x)) - l * l / (r * r);
        if (square > 0.0) sum += sqrt(square) * 0.5 * (outer - inner) * cos(u) / (double)n;
    }
    return sum;
}

/* Where the radial speed vanishes, between a radius inside the orbit and one outside. */
static double turning_radius(const af_potential *part, double e, double l, double inside,
                             double outside) {
    int i;
    for (i = 0; i < 200; i++) {
        double r = 0.5 * (inside + outside), x[3] = {0.0, 0.0, 0.0};
        x[0] = r;
        if (2.0 * (e - af_potential_value(part, 1, x)) - l * l / (r * r) > 0.0)
            inside = r;
        else
            outside = r;
    }
    return inside;
}

TEST(truth_in_a_plummer_sphere) {
    af_context *c = context();
    af_potential part = af_potential_plummer(4e11, 6.0);
    af_potential_sum sum;
    mock_truth t;
    size_t i;
    sum.parts = &part;
    sum.count = 1;
    for (i = 0; i < 3; i++) {
        const double *x = start_of[i], *v = x + 3;
        double lz = x[0] * v[1] - x[1] * v[0], lx = x[1] * v[2] - x[2] * v[1],
               ly = x[2] * v[0] - x[0] * v[2];
        double l = sqrt(lx * lx + ly * ly + lz * lz),
               r = sqrt(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]);
        double e =
            af_potential_value(&part, 1, x) + 0.5 * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        double inner = turning_radius(&part, e, l, r, 1e-3),
               outer = turning_radius(&part, e, l, r, 1e3);
        CHECK(mock_truth_find(c, &sum, x, &t));
        CHECK_CLOSE(t.j[0], lz, 1e-12);
        CHECK_CLOSE(t.j[1], l - fabs(lz), 1e-5);
        CHECK_CLOSE(t.j[2], radial_action(&part, e, l, inner, outer), 1e-4);
    }
    af_context_destroy(c);
}

/* In a disc and a halo: from a later point of the orbit (another toy, other samples) the actions
 * and frequencies are the same and the angles have grown by Omega t. */
TEST(truth_along_an_orbit) {
    af_context *c = context();
    af_potential part[3];
    af_potential_sum sum;
    mock_truth a, b;
    size_t i, k;
    double gyr = 0.777;
    part[0] = af_potential_miyamoto_nagai(5.7e10, 3.0, 0.4);
    part[1] = af_potential_plummer(9e9, 0.4);
    part[2] = af_potential_nfw(6.6e11, 17.0);
    sum.parts = part;
    sum.count = 3;
    for (i = 0; i < 3; i++) {
        double path[12];
        CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_potential(&sum), start_of[i],
                                 gyr, 8000, 2, path) == AF_OK);
        CHECK(mock_truth_find(c, &sum, start_of[i], &a));
        CHECK(mock_truth_find(c, &sum, path + 6, &b));
        for (k = 0; k < 3; k++) {
            double limit = 0.05 + 3.0 * (a.error[k] + b.error[k]); /* [km/s kpc] of 500 to 2000 */
            CHECK(fabs(a.j[k] - b.j[k]) < limit);
            CHECK(limit < 1.0);
            CHECK_CLOSE(a.omega[k], b.omega[k], 1e-3);
            CHECK(angle_between(a.theta[k] + a.omega[k] * af_time_from_gyr(gyr), b.theta[k]) <
                  0.02);
        }
    }
    af_context_destroy(c);
}

/* A star that leaves has no actions: NaN, no failure. */
TEST(truth_of_an_unbound_star) {
    af_context *c = context();
    af_isochrone iso = {3.334e11, 5.0};
    af_potential part = af_isochrone_potential(&iso);
    af_potential_sum sum;
    mock_truth t;
    double xv[6] = {8.0, 0.0, 0.0, 0.0, 3000.0, 0.0};
    sum.parts = &part;
    sum.count = 1;
    CHECK(mock_truth_find(c, &sum, xv, &t));
    CHECK(t.j[2] != t.j[2] && t.theta[2] != t.theta[2]);
    af_context_destroy(c);
}

int main(void) {
    RUN(truth_in_the_isochrone);
    RUN(truth_in_a_plummer_sphere);
    RUN(truth_along_an_orbit);
    RUN(truth_of_an_unbound_star);
    return test_report();
}
