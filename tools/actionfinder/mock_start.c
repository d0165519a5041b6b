/* Where mock orbits begin. */
#include "mock_start.h"

#include <math.h>
#include <string.h>

#include "cli.h"

static const double MOCK_TURN = 6.283185307179586;

/* ---- potentials ---- */

static const double PLUMMER_MASS = 5e5, PLUMMER_SCALE = 0.02;

int mock_galaxy_make(af_context *c, mock_galaxy *g, mock_potential potential) {
    af_galaxy_desc desc;
    memset(g, 0, sizeof *g);
    memset(&desc, 0, sizeof desc);
    g->potential = potential;
    if (potential == MOCK_DB98 || potential == MOCK_PJM14) {
        if (potential == MOCK_DB98) af_galaxy_desc_dehnen_binney_1(&desc);
        else af_galaxy_desc_piffl_2014(&desc);
        if (af_galaxy_create(c, &desc, &g->model) != AF_OK) return cli_fail_library(c);
        g->field = af_field_of_galaxy(g->model);
        return CLI_OK;
    }
    g->sum.parts = g->parts;
    g->field = af_field_of_potential(&g->sum);
    g->sum.count = 1;
    if (potential == MOCK_ISOCHRONE) {
        g->isochrone.mass = 3.334e11;
        g->isochrone.scale = 5.0;
        g->parts[0] = af_isochrone_potential(&g->isochrone);
    } else if (potential == MOCK_PLUMMER) {
        g->parts[0] = af_potential_plummer(PLUMMER_MASS, PLUMMER_SCALE);
    } else if (potential == MOCK_TRIAXIAL) {
        g->parts[0] = af_potential_logarithmic(220.0, 1.0, 0.9, 0.8);
    } else {
        g->parts[0] = af_potential_miyamoto_nagai(4.6e10, 3.0, 0.28);
        g->parts[1] = af_potential_miyamoto_nagai(1.1e10, 2.5, 0.9);
        g->parts[2] = af_potential_plummer(0.9e10, 0.4);
        g->parts[3] = af_potential_nfw(6.6e11, 17.0);
        g->sum.count = 4;
    }
    return CLI_OK;
}

static double circular_speed(const mock_galaxy *g, double radius) {
    if (g->model) return af_galaxy_circular_speed(g->model, radius);
    return af_potential_circular_speed(g->sum.parts, g->sum.count, radius);
}

/* ---- random numbers ---- */

double mock_uniform(mock_dice *d) { return af_random_uniform(d->seed, d->stream, d->index++); }
static double normal(mock_dice *d) { return af_random_normal(d->seed, d->stream, d->index++); }

static void direction(mock_dice *d, double length, double out[3]) {
    double z = 2.0 * mock_uniform(d) - 1.0, phi = MOCK_TURN * mock_uniform(d),
           across = sqrt(1.0 - z * z);
    out[0] = length * across * cos(phi);
    out[1] = length * across * sin(phi);
    out[2] = length * z;
}

/* ---- kinds of orbits ---- */

/* A point in the plane. */
static void place(double radius, double phi, double outward, double around, double up,
                  double xv[6]) {
    xv[0] = radius * cos(phi);
    xv[1] = radius * sin(phi);
    xv[2] = 0.0;
    xv[3] = outward * cos(phi) - around * sin(phi);
    xv[4] = outward * sin(phi) + around * cos(phi);
    xv[5] = up;
}

/* Section 6.1 of the paper: radius uniform in 6 to 16 kpc in a random direction, speed |N(0, 150
 * km/s)| in a random direction. */
static void halo_start(mock_dice *d, double xv[6]) {
    direction(d, 6.0 + 10.0 * mock_uniform(d), xv);
    direction(d, 150.0 * fabs(normal(d)), xv + 3);
}

/* Disc stars: R uniform in 5 to 13 kpc, in the plane, the circular speed and on top of it normal
 * velocities with 35, 25 and 20 km/s in R, phi and z. */
static void disc_start(const mock_galaxy *g, mock_dice *d, double xv[6]) {
    double radius = 5.0 + 8.0 * mock_uniform(d), phi = MOCK_TURN * mock_uniform(d);
    double outward = 35.0 * normal(d), around = 25.0 * normal(d), up = 20.0 * normal(d);
    place(radius, phi, outward, around + circular_speed(g, radius), up, xv);
}

/* Section 6.5: the distribution function of the Plummer sphere (Aarseth, Henon & Wielen 1974): mass
 * within r is (1 + (b/r)^2)^(-3/2), the speed over that of escape has the density
 * q^2 (1 - q^2)^(7/2), which is below 0.1. */
static void plummer_start(mock_dice *d, double xv[6]) {
    double r = PLUMMER_SCALE / sqrt(pow(mock_uniform(d), -2.0 / 3.0) - 1.0), q, escape;
    do q = mock_uniform(d);
    while (0.1 * mock_uniform(d) > q * q * pow(1.0 - q * q, 3.5));
    escape = sqrt(2.0 * AF_GRAVITY * PLUMMER_MASS / hypot(r, PLUMMER_SCALE));
    direction(d, r, xv);
    direction(d, q * escape, xv + 3);
}

/* ---- cold discs: orbits of given actions ---- */

/* Where a circular orbit has L_z = l; 0 where it is inside 5 kpc or outside 60. */
static double guiding_radius(const mock_galaxy *g, double l) {
    double low = 5.0, high = 60.0;
    int i;
    if (low * circular_speed(g, low) > l || high * circular_speed(g, high) < l) return 0.0;
    for (i = 0; i < 50; i++) {
        double middle = 0.5 * (low + high);
        if (middle * circular_speed(g, middle) < l) low = middle;
        else high = middle;
    }
    return low;
}

/* The smallest |x| in five radial periods, in steps a hundredth as long. */
static double least_radius(const mock_galaxy *g, const double start[6], double period) {
    double path[500][6], least = HUGE_VAL;
    int i;
    if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_field(&g->field), start,
                           0.01 * period, 4, 500, path[0]) != AF_OK)
        return 0.0;
    for (i = 0; i < 500; i++)
        least = fmin(least, sqrt(path[i][0] * path[i][0] + path[i][1] * path[i][1] +
                                 path[i][2] * path[i][2]));
    return least;
}

/* Velocities in the plane at the guiding radius at which the fudge has the actions j: J grows
 * nearly with the square of the velocity. Returns 0 when they do not come out to 1e-6 of them. */
static int with_actions(const mock_galaxy *g, double phi, const double j[3], double xv[6],
                        double *period) {
    double radius = guiding_radius(g, j[0]), outward = 30.0, up = 30.0, found[3], omega[3];
    double off = 1.0;
    af_fudge fudge;
    int i;
    memset(&fudge, 0, sizeof fudge);
    fudge.field = g->field;
    if (radius == 0.0) return 0;
    for (i = 0; i < 30 && off > 1e-6; i++) {
        place(radius, phi, outward, j[0] / radius, up, xv);
        if (af_fudge_actions(&fudge, xv, found, NULL, omega) & AF_ORBIT_FAILED) return 0;
        if (!(found[1] > 0.0 && found[2] > 0.0)) return 0;
        off = fabs(found[1] - j[1]) / j[1] + fabs(found[2] - j[2]) / j[2];
        up *= sqrt(j[1] / found[1]);
        outward *= sqrt(j[2] / found[2]);
    }
    *period = af_gyr_from_time(MOCK_TURN / omega[2]);
    return off <= 1e-6;
}

/* Section 6.3: J_r and J_z uniform in 0 to 50, J_phi in 0 to 3000 km/s kpc, pericentre beyond 5
 * kpc. Orbits of the fudge's actions, which are good to some 0.1 there. */
static void cold_disc_start(const mock_galaxy *g, mock_dice *d, double xv[6], double *period) {
    for (;;) {
        double j[3], phi = MOCK_TURN * mock_uniform(d);
        j[0] = 3000.0 * mock_uniform(d);
        j[1] = 50.0 * mock_uniform(d);
        j[2] = 50.0 * mock_uniform(d);
        if (with_actions(g, phi, j, xv, period) && least_radius(g, xv, *period) > 5.0) return;
    }
}

void mock_start(const mock_galaxy *g, mock_kind kind, mock_dice *d, double xv[6], double *period) {
    *period = 0.0;
    for (;;) {
        double e;
        if (kind == MOCK_COLD_DISC) cold_disc_start(g, d, xv, period);
        else if (kind == MOCK_SNAPSHOT) plummer_start(d, xv);
        else if (kind == MOCK_DISC) disc_start(g, d, xv);
        else halo_start(d, xv);
        e = g->field.value(xv, g->field.user) +
            0.5 * (xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]);
        if (e < 0.0 || g->potential == MOCK_TRIAXIAL) return; /* a logarithm binds all */
    }
}
