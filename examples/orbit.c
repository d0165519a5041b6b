/* cc -O2 -I. examples/orbit.c -o orbit -lm
 *
 * Ten Gyr of the Sun's orbit in a Miyamoto-Nagai disc and an NFW halo, with both integrators. A
 * symplectic integrator does not let the energy run away: its error swings, and stays. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <math.h>
#include <stdio.h>

enum { OUTPUTS = 1001, STEPS = 10 }; /* every 10 Myr, with steps of 1 Myr */

static double energy(const af_potential_sum *galaxy, const double xv[6]) {
    double kinetic = 0.5 * (xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]);
    return kinetic + af_potential_value(galaxy->parts, galaxy->count, xv);
}

/* The largest relative error of the energy along the orbit. */
static double drift(const af_potential_sum *galaxy, af_integrator integrator) {
    static double orbit[OUTPUTS][6];
    const double sun[6] = {8.122, 0.0, 0.0208, 12.9, 245.6, 7.78}; /* [kpc, km/s] */
    double start = energy(galaxy, sun), worst = 0.0, low = 1e9, high = 0.0;
    int i;
    if (af_orbit_integrate(integrator, af_force_of_potential(galaxy), sun, 0.01, STEPS, OUTPUTS,
                           orbit[0]) != AF_OK)
        return 1.0;
    for (i = 0; i < OUTPUTS; i++) {
        double error = fabs(energy(galaxy, orbit[i]) / start - 1.0);
        double radius = hypot(orbit[i][0], orbit[i][1]);
        if (error > worst) worst = error;
        if (radius < low) low = radius;
        if (radius > high) high = radius;
    }
    printf("R from %.3f to %.3f kpc, energy to %.1e\n", low, high, worst);
    return worst;
}

int main(void) {
    af_potential parts[2];
    af_potential_sum galaxy;
    double leapfrog, sixth;
    parts[0] = af_potential_miyamoto_nagai(6.8e10, 3.0, 0.28); /* [Msun, kpc, kpc] */
    parts[1] = af_potential_nfw(8.0e11, 16.0);
    galaxy.parts = parts;
    galaxy.count = 2;
    printf("circular speed at the Sun: %.1f km/s\n", af_potential_circular_speed(parts, 2, 8.122));
    printf("leapfrog:    ");
    leapfrog = drift(&galaxy, AF_INTEGRATOR_LEAPFROG);
    printf("sixth order: ");
    sixth = drift(&galaxy, AF_INTEGRATOR_YOSHIDA6);
    printf("relative error of the energy in 10 Gyr, sixth order: %.1e\n", sixth);
    return leapfrog < 1e-4 && sixth < 1e-10 ? 0 : 1;
}
