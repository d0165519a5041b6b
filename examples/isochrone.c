/* cc -O2 -I. examples/isochrone.c -o isochrone -lm
 *
 * Actions and angles of a star in an isochrone; the star a Gyr later, where the angles have grown
 * by Omega t and nothing else has changed; and the same by integrating its orbit. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <math.h>
#include <stdio.h>

int main(void) {
    const double now[6] = {8.1, -1.3, 2.4, -61.0, 170.0, 55.0}; /* [kpc, km/s] */
    double j[3], theta[3], omega[3], later[6], orbit[2][6], away = 0.0;
    af_isochrone isochrone;
    af_potential potential;
    af_potential_sum galaxy;
    unsigned flags;
    int k;
    isochrone.mass = 3.334e11; /* [Msun] */
    isochrone.scale = 5.0;     /* [kpc] */
    flags = af_isochrone_actions(&isochrone, now, j, theta, omega);
    if (flags & AF_ORBIT_FAILED) return 1;
    printf("J_phi, J_z, J_r             %9.3f %9.3f %9.3f km/s kpc\n", j[0], j[1], j[2]);
    printf("theta_phi, theta_z, theta_r %9.6f %9.6f %9.6f rad\n", theta[0], theta[1], theta[2]);
    for (k = 0; k < 3; k++) omega[k] = af_rad_per_gyr(omega[k]);
    printf("frequencies                 %9.5f %9.5f %9.5f rad/Gyr\n", omega[0], omega[1], omega[2]);

    for (k = 0; k < 3; k++) theta[k] += omega[k] * 1.0; /* one Gyr later */
    af_isochrone_position(&isochrone, j, theta, later, NULL);

    potential = af_isochrone_potential(&isochrone);
    galaxy.parts = &potential;
    galaxy.count = 1;
    if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_potential(&galaxy), now, 1.0, 2000,
                           2, orbit[0]) != AF_OK)
        return 1;
    printf("a Gyr later, by angles      %9.6f %9.6f %9.6f kpc\n", later[0], later[1], later[2]);
    printf("             by integration %9.6f %9.6f %9.6f kpc\n", orbit[1][0], orbit[1][1],
           orbit[1][2]);
    for (k = 0; k < 3; k++) away = hypot(away, later[k] - orbit[1][k]);
    printf("distance between the two: %.1e kpc\n", away);
    return away < 1e-9 ? 0 : 1;
}
