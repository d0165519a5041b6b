/* ---- dyn: actions and angles of the isochrone --------------------------------------------------
 *
 * Henon's isochrone Phi = -GM / (b + sqrt(b^2 + r^2)) is the one potential between the point mass
 * (b = 0) and the harmonic oscillator (r << b) in which (x,v) <-> (theta,J) is elementary in both
 * directions. It is the toy model that ActionFinder starts from.
 *
 * Conventions, everywhere in the library:
 *   xv     (6)  x, y, z [kpc], vx, vy, vz [km/s]: Galactocentric, right-handed, inertial
 *   J      (3)  J_phi = L_z (signed), J_z = L - |L_z| >= 0, J_r >= 0 [km/s kpc]
 *   theta  (3)  theta_phi, theta_z, theta_r in [0, 2 pi): theta_r = 0 at pericentre, theta_z = 0 at
 *               the upward crossing of z = 0 (for J_r = 0, or at pericentre), theta = 0 is the
 *               pericentre on the +x axis, moving upwards
 *   Omega  (3)  d theta / dt [km/s/kpc]; af_rad_per_gyr makes it rad/Gyr. Omega_phi has the sign of
 *               L_z, the others are positive
 *
 * Source: Binney & Tremaine (2008) section 3.5.2, written so that nothing cancels: with
 * a = GM/(-2E), c = a - b, w = sqrt(b^2+r^2) - b = c (1 - e cos eta),
 *   e cos eta = 1 - w/c,  e sin eta = x.v / L_c,  L_c = c sqrt(GM/a) (of the circular orbit),
 *   J_r = sqrt(GM a) - (L + sqrt(L^2 + 4 G M b))/2
 *       = (e L_c)^2/2 (1/(L_c + L) + 1/(D_c + D)),  D = sqrt(L^2 + 4 G M b), D_c = that of L_c,
 *   theta_r = eta - (c/a) e sin eta,  Omega_r = sqrt(GM/a^3),  Omega_z = (1 + L/D)/2 Omega_r.
 * (Equation 4 of the ActionFinder paper has the sign and the bracket of J_r misprinted.)
 *
 * Special orbits. Where an angle has no meaning there is a convention, a flag says so, and nothing
 * is NaN. An orbit within 1e-14 (relative) of a special one is taken to be exactly special:
 *   planar    J_z = 0 exactly; node on the +x axis, so theta_z = psi measured from there
 *   polar     J_phi = 0 exactly; counts as L_z > 0: Omega_phi = +Omega_z
 *   radial    J_phi = J_z = 0 exactly; lies in the polar plane whose node has longitude in [0, pi)
 *   circular  J_r = 0 exactly; theta_r = 0 always, theta_z = angle from the node
 *   at rest   in the centre: J = 0, theta = 0
 * All of them go through af_isochrone_position and back.
 *
 * The functions are stateless, thread-safe and allocate nothing (af_isochrone_fit apart). */

/* mass [Msun] > 0, scale b [kpc] >= 0; b = 0 is the Kepler problem. */
typedef struct af_isochrone {
    double mass;
    double scale;
} af_isochrone;

/* What was met; 0 is an ordinary bound orbit. */
enum {
    AF_ORBIT_UNBOUND = 1,   /* E >= 0: no angles. All outputs are NaN */
    AF_ORBIT_INVALID = 2,   /* input not finite or out of range, Kepler's centre. All NaN */
    AF_ORBIT_PLANAR = 4,    /* in the plane z = 0 */
    AF_ORBIT_POLAR = 8,     /* L_z = 0 */
    AF_ORBIT_RADIAL = 16,   /* L = 0; comes with neither PLANAR nor POLAR */
    AF_ORBIT_CIRCULAR = 32, /* J_r = 0 */
    AF_ORBIT_AT_REST = 64   /* in the centre; comes alone */
};
#define AF_ORBIT_FAILED (AF_ORBIT_UNBOUND | AF_ORBIT_INVALID) /* the outputs are NaN */

/* (x,v) -> J (3), theta (3), Omega (3); each output may be NULL (without theta it is several times
 * faster). Returns AF_ORBIT_ flags. Accuracy: a few roundings of the largest term, for nearly
 * circular, planar, polar and radial orbits too. */
AF_API unsigned af_isochrone_actions(const af_isochrone *isochrone, const double xv[6], double j[3],
                                     double theta[3], double omega[3]);

/* (J,theta) -> xv (6), Omega (3); each output may be NULL. Any real angles, J_z >= 0, J_r >= 0.
 * Returns AF_ORBIT_ flags; negative J_z or J_r: AF_ORBIT_INVALID and NaN. */
AF_API unsigned af_isochrone_position(const af_isochrone *isochrone, const double j[3],
                                      const double theta[3], double xv[6], double omega[3]);

/* The same for n stars, row after row: xv (n,6), j, theta, omega (n,3), flags (n). Outputs may be
 * NULL. Returns how many stars failed (flags & AF_ORBIT_FAILED). */
AF_API size_t af_isochrone_actions_of(const af_isochrone *isochrone, size_t n, const double *xv,
                                      double *j, double *theta, double *omega, unsigned *flags);
AF_API size_t af_isochrone_positions_of(const af_isochrone *isochrone, size_t n, const double *j,
                                        const double *theta, double *xv, double *omega,
                                        unsigned *flags);

/* The isochrone as a potential (af_potential.h). */
AF_API af_potential af_isochrone_potential(const af_isochrone *isochrone);

/* Chooses a toy for streams xv (streams, stars, 6): the isochrone in which the stars of a stream
 * agree best on J_r (J_phi and J_z do not depend on it) and every stream is bound, except at most
 * the fraction `unbound` of them. 0 binds every star, as ActionFinder asks; one star near escape
 * can then enlarge the mass for all, and 0.01 can halve the spread at the price of those streams.
 * The spread of a stream is the mean over its stars of |J_r - mean J_r|. What is minimised is its
 * median over the streams (over 256 of them, evenly taken, when there are more), on a grid in log b
 * and in log(M/M_bound - 1), then by a simplex search from the best point. Deterministic; b stays
 * within 1e-3 and 1e2 of the median radius. *spread [km/s kpc] gets the minimum, NULL is fine.
 * Fails with AF_ERROR_ARGUMENT (no streams, unbound not in [0, 0.5)), AF_ERROR_DATA (fewer than two
 * stars a stream, a number that is not finite, all at rest or most in the centre), AF_ERROR_MEMORY;
 * *out is untouched then. */
AF_API af_status af_isochrone_fit(af_context *context, const double *xv, size_t streams,
                                  size_t stars, double unbound, af_isochrone *out, double *spread);
