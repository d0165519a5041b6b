/* ---- dyn: from actions and angles to a point, in a known potential ------------------------------
 *
 * The way back from af_orbit_actions (af_orbit_actions.h), to which it is the inverse: the point xv
 * at which that gives (J, theta). From a guess an orbit is followed; its generating function S_n
 * and dS_n/dJ map the torus of that orbit, and to first order those beside it, to the toy's
 * coordinates, and tell by how much the point is to be moved in them. The next orbit begins there,
 * until the actions and angles are those asked for. A step after which they are further off is made
 * shorter. At the end nothing remains of the approximation but what af_orbit_actions itself has. */

/* Zero means default for every field. */
typedef struct af_orbit_point_desc {
    uint32_t start_canary;
    size_t periods;   /* of each half of an orbit, as in af_orbit_actions_desc */
    int order;        /* likewise */
    size_t orbits;    /* followed for a point at most, 1 to 1000; default 16 */
    double tolerance; /* of the actions, relative to |J_phi| + J_z + J_r, and of the angles, those
                         of z and r times sqrt(J_i) of the same; 1e-12 to 0.1, default 1e-5 */
    uint32_t end_canary;
} af_orbit_point_desc;

/* J (3), theta (3, any number of turns) -> xv (6), in the conventions of af_isochrone.h. guess (6),
 * or NULL: a point near it, as af_invert of a finder gives; where it is NULL, not finite, or its
 * orbit has no actions, an isochrone is the guess that has the field's speed and shear of the
 * circular orbit of angular momentum |J_phi| + J_z + J_r. error (2): what remains, the largest
 * |difference| of the actions [km/s kpc] and of the angles [rad] at xv. *flags:
 *   AF_ORBIT_INVALID     J_z < 0, J_r < 0, all three 0, or a number that is not finite: NaN
 *   AF_ORBIT_UNSETTLED   the tolerance was not reached: near resonances and on chaotic or nearly
 *                        radial orbits actions are not that well defined, or there are none. xv is
 *                        the best that was found, with its error; NaN when no orbit had any
 * J_z = 0 gives a planar orbit, theta_z is of no account then. xv, error, flags: each may be NULL.
 * AF_ERROR_ARGUMENT: canaries, desc out of range, a field without its functions; AF_ERROR_MEMORY.
 * The outputs are untouched then. desc NULL: all defaults. */
AF_API af_status af_orbit_point(af_context *context, const af_field *field, const double j[3],
                                const double theta[3], const double guess[6],
                                const af_orbit_point_desc *desc, double xv[6], double error[2],
                                unsigned *flags);

/* The same for n points: j, theta (n,3), guess (n,6) or NULL, xv (n,6), error (n,2), flags (n), on
 * all threads of the context, which share the field. Outputs do not depend on the number of
 * threads; xv may be guess. The status says nothing of single points: look at their flags. */
AF_API af_status af_orbit_point_of(af_context *context, const af_field *field, size_t n,
                                   const double *j, const double *theta, const double *guess,
                                   const af_orbit_point_desc *desc, double *xv, double *error,
                                   unsigned *flags);
