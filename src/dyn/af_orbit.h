/* ---- dyn: orbits in a static field -------------------------------------------------------------
 *
 * Symplectic, time-reversible integrators with a constant step. A phase-space point xv (6) is
 * (x, y, z, vx, vy, vz) in kpc and km/s, times are in Gyr (negative: backwards). Nothing here
 * allocates; threads may share a force if its function allows it. */

/* Where the acceleration comes from. `acceleration` gets x (3) in kpc and writes the acceleration
 * (3) in (km/s)^2/kpc; it must depend on x alone. */
typedef struct af_force {
    void (*acceleration)(const double x[3], double acceleration[3], void *user);
    void *user;
} af_force;

/* An array of potentials for af_force_of_potential; the caller keeps the array. */
typedef struct af_potential_sum {
    const af_potential *parts;
    size_t count;
} af_potential_sum;

/* The force of *sum, which must live as long as the force is used. */
AF_API af_force af_force_of_potential(const af_potential_sum *sum);

typedef enum af_integrator {
    AF_INTEGRATOR_YOSHIDA6 = 0, /* sixth order, 7 accelerations a step: Yoshida (1990) solution A */
    AF_INTEGRATOR_LEAPFROG      /* second order, 1 acceleration a step: kick, drift, kick */
} af_integrator;

/* One step of `gyr` from xv, in place. One acceleration more than a step inside af_orbit_integrate,
 * which carries the last one over. */
AF_API void af_orbit_step(af_integrator integrator, af_force force, double gyr, double xv[6]);

/* Writes trajectory (outputs, 6): row k is the point at time k * interval, row 0 is `start` itself.
 * An interval [Gyr] is made of `steps` equal steps. `start` may be the first row of `trajectory`.
 * Returns AF_OK; AF_ERROR_ARGUMENT when steps is 0, force.acceleration is NULL or interval is not
 * finite (nothing is written then); AF_ERROR_NONFINITE when the orbit leaves the finite numbers:
 * that row and the following ones are NaN then. */
AF_API af_status af_orbit_integrate(af_integrator integrator, af_force force, const double start[6],
                                    double interval, size_t steps, size_t outputs,
                                    double *trajectory);
