/* ---- dyn: actions and angles in a known potential, from the orbit itself ------------------------
 *
 * The orbit through a point is followed for many radial periods, turned into the actions J and
 * angles theta of an isochrone that fits it, and the generating function between this toy and the
 * truth is found by linear least squares (Sanders & Binney 2014, MNRAS 441, 3284):
 *
 *     J_i = J'_i + 2 sum_n n_i S_n cos(n.theta)                                        i = z, r
 *     theta_i + 2 sum_n dS_n/dJ'_i sin(n.theta) = theta'_i(0) + Omega_i t
 *
 * while L_z = J_phi is conserved. It takes a thousand times as long as the fudge (af_fudge.h), and
 * converges to the truth for regular orbits that are not trapped in a resonance. The potential must
 * be static, axisymmetric, and the same above and below the plane. The orbit is followed in steps
 * of its own choice, so that thin discs cost little. */

/* Zero means default for every field. */
typedef struct af_orbit_actions_desc {
    uint32_t start_canary;
    size_t periods; /* radial periods of each half of the orbit, 4 to 10000; 0: 40 */
    int order;      /* |n_r| + |n_z| at most, 2 to 16; 0: the one of 16, 12, 8 at which the two
                       halves agree best */
    uint32_t end_canary;
} af_orbit_actions_desc;

/* Besides the flags of af_isochrone.h. All NaN: the orbit could not be followed to 1e-5 of its
 * energy, or the fit makes no sense: chaotic, resonant or nearly radial orbits. */
enum { AF_ORBIT_UNSETTLED = 512 };

/* Actions J (3), angles theta (3) at the start and frequencies Omega (3) of the orbit through start
 * (6), in the conventions of af_isochrone.h, and error (3): |difference| of the actions that the
 * first and the second half of the orbit give; J, theta, Omega are those of the first half. Where
 * the error exceeds some 0.1 it is a lower bound. Each output may be NULL. *flags gets AF_ORBIT_
 * flags, of which those of the fudge; where they say unbound, invalid or unsettled all outputs are
 * NaN. Planar orbits: J_z = 0, Omega_z is that of small oscillations, theta_z is theirs and has no
 * meaning. Circular ones: J_r = 0, Omega_r likewise, theta_r = 0. Orbits with L_z = 0 on which L
 * goes through 0 have no good toy and are unsettled.
 * AF_ERROR_ARGUMENT: canaries, desc out of range, a field without its functions; AF_ERROR_MEMORY.
 * The outputs are untouched then. desc NULL: all defaults. */
AF_API af_status af_orbit_actions(af_context *context, const af_field *field, const double start[6],
                                  const af_orbit_actions_desc *desc, double j[3], double theta[3],
                                  double omega[3], double error[3], unsigned *flags);

/* The same for n orbits, row after row: xv (n,6), j, theta, omega, error (n,3), flags (n), on all
 * threads of the context, which share the field. Outputs may be NULL; they do not depend on the
 * number of threads. The status says nothing of single orbits: look at their flags. */
AF_API af_status af_orbit_actions_of(af_context *context, const af_field *field, size_t n,
                                     const double *xv, const af_orbit_actions_desc *desc, double *j,
                                     double *theta, double *omega, double *error, unsigned *flags);
