/* ---- dyn: orbits in a static field ---------------------------------------------------------- */

#include <math.h>
#include <string.h>

static void af__potential_sum_acceleration(const double x[3], double a[3], void *user) {
    const af_potential_sum *sum = (const af_potential_sum *)user;
    af_potential_acceleration(sum->parts, sum->count, x, a);
}

AF_API af_force af_force_of_potential(const af_potential_sum *sum) {
    af_force force = AF__ZERO;
    force.acceleration = af__potential_sum_acceleration;
    force.user = (void *)sum; /* only read */
    return force;
}

/* Kick, drift, kick over `time` [kpc/(km/s)]; a holds the acceleration at the point, before and
 * after. */
static void af__kick_drift_kick(af_force force, double time, double xv[6], double a[3]) {
    int i;
    for (i = 0; i < 3; i++) {
        xv[3 + i] += 0.5 * time * a[i];
        xv[i] += time * xv[3 + i];
    }
    force.acceleration(xv, a, force.user);
    for (i = 0; i < 3; i++) xv[3 + i] += 0.5 * time * a[i];
}

/* Yoshida (1990, Phys. Lett. A 150, 262) table 1, solution A, to more digits: lengths w3 w2 w1 w0
 * w1 w2 w3 of the leapfrogs, with w0 = 1 - 2 (w1 + w2 + w3). They make the sums of the cubes and of
 * the fifth powers vanish. */
static void af__orbit_advance(af_integrator integrator, af_force force, double time, double xv[6],
                              double a[3]) {
    static const double w[7] = {
        0.78451361047755726382,  0.23557321335935813368, -1.17767998417887100695,
        1.31518632068391121889,  -1.17767998417887100695, 0.23557321335935813368,
        0.78451361047755726382};
    int k;
    if (integrator == AF_INTEGRATOR_LEAPFROG)
        af__kick_drift_kick(force, time, xv, a);
    else
        for (k = 0; k < 7; k++) af__kick_drift_kick(force, w[k] * time, xv, a);
}

AF_API void af_orbit_step(af_integrator integrator, af_force force, double gyr, double xv[6]) {
    double a[3];
    force.acceleration(xv, a, force.user);
    af__orbit_advance(integrator, force, af_time_from_gyr(gyr), xv, a);
}

AF_API af_status af_orbit_integrate(af_integrator integrator, af_force force, const double start[6],
                                    double interval, size_t steps, size_t outputs,
                                    double *trajectory) {
    double xv[6], a[3], time = af_time_from_gyr(interval) / (double)(steps ? steps : 1);
    size_t k, j;
    if (steps == 0 || !force.acceleration || !af__all_finite(&interval, 1))
        return AF_ERROR_ARGUMENT;
    memcpy(xv, start, sizeof xv);
    force.acceleration(xv, a, force.user);
    for (k = 0; k < outputs; k++) {
        if (k > 0)
            for (j = 0; j < steps; j++) af__orbit_advance(integrator, force, time, xv, a);
        if (!af__all_finite(xv, 6)) break;
        memcpy(trajectory + 6 * k, xv, sizeof xv);
    }
    if (k == outputs) return AF_OK;
    for (j = 6 * k; j < 6 * outputs; j++) trajectory[j] = NAN;
    return AF_ERROR_NONFINITE;
}
