/* ---- dyn: actions and angles in a known potential, by the Staeckel fudge ------------------------
 *
 * In a static potential that is axisymmetric and the same above and below the plane, the potential
 * along the two coordinate lines through the star is taken for that of a Staeckel potential, in
 * which (x,v) -> (J,theta) is a matter of quadratures (Binney 2012, MNRAS 426, 1324; Sanders &
 * Binney 2016, MNRAS 457, 2107). No orbit is integrated: a star takes some 60 values of the
 * potential, and 40 more, and 36 accelerations, for a focal distance of its own. Exact in Staeckel
 * potentials when the focal distance is right, and in spherical ones. In models of the Milky Way
 * J_z and J_r of disc stars are good to a few 0.1 km/s kpc, those of halo stars to a percent or two
 * of |L_z| + J_z + J_r, worst for small |L_z| and near resonances. af_orbit_actions is the slow and
 * accurate way.
 *
 * The coordinates are (s, v): R = s sin v, z = sqrt(s^2 + Delta^2) cos v, confocal ellipses with
 * foci at z = +-Delta. s = Delta sinh u of the papers; Delta = 0 gives spherical coordinates.
 *
 * Conventions (order, signs, zero points of the angles, flags) are those of af_isochrone.h. */

/* A static potential of the caller's. `value` is Phi(x) [(km/s)^2], x (3) in kpc; `acceleration`
 * writes -grad Phi (3) [(km/s)^2/kpc]. Both get `user`. Threads may share it when the functions
 * allow that. */
typedef struct af_field {
    double (*value)(const double x[3], void *user);
    void (*acceleration)(const double x[3], double acceleration[3], void *user);
    void *user;
} af_field;

/* The field of *sum, which must live as long as the field is used; and the field's force. */
AF_API af_field af_field_of_potential(const af_potential_sum *sum);
AF_API af_force af_force_of_field(const af_field *field);

/* Where the focal distance Delta comes from. In a Staeckel potential both estimates are exact at
 * every point. */
typedef enum af_focus {
    AF_FOCUS_ORBIT = 0, /* for each star, a mean over the region that its orbit fills */
    AF_FOCUS_POINT,     /* for each star, from the derivatives where it is; twice as fast */
    AF_FOCUS_GIVEN      /* one for all: af_fudge.delta */
} af_focus;

/* A plain value: set it to zero, fill in the field. */
typedef struct af_fudge {
    af_field field;
    af_focus focus;
    double delta; /* [kpc] >= 0, read with AF_FOCUS_GIVEN alone; 0: spherical coordinates */
} af_fudge;

/* (x,v) -> J (3), theta (3), Omega (3); each output may be NULL. Returns AF_ORBIT_ flags:
 *   unbound   no outer turning point within e^32 times the star's distance
 *   invalid   xv or the potential not finite, a moving star exactly in the centre
 *   planar    z = 0 and v_z = 0: J_z = 0; theta_z as in af_isochrone.h, Omega_z is that of small
 *             oscillations
 *   circular  J_r = 0, theta_r = 0: s varies by less than 1e-7 of itself
 *   polar     L_z = 0; the limit of small L_z > 0, on radial orbits too. A star nearer to the axis
 *             than 1e-5 r is taken to be at that distance, on its way out
 *   at rest   in the centre: J = theta = 0, Omega = NaN
 * The prolate case (Delta^2 < 0) is taken as Delta = 0. */
AF_API unsigned af_fudge_actions(const af_fudge *fudge, const double xv[6], double j[3],
                                 double theta[3], double omega[3]);

/* The same for n stars, row after row: xv (n,6), j, theta, omega (n,3), flags (n). Outputs may be
 * NULL. Returns how many stars failed (flags & AF_ORBIT_FAILED). */
AF_API size_t af_fudge_actions_of(const af_fudge *fudge, size_t n, const double *xv, double *j,
                                  double *theta, double *omega, unsigned *flags);

/* The focal distance [kpc] that a star gets. AF_FOCUS_POINT: Delta^2 = z^2 - R^2 + [3 z Phi_R -
 * 3 R Phi_z + R z (Phi_RR - Phi_zz)]/Phi_Rz (Sanders 2012, MNRAS 426, 128, eq. 8), with second
 * derivatives by differences of the acceleration. AF_FOCUS_ORBIT: the Delta^2 that makes the same
 * condition hold best, in the sense of least squares, at points all over the region between the
 * turning points. Negative ones give 0, and NaN a star that failed. */
AF_API double af_fudge_delta(const af_fudge *fudge, const double xv[6]);

enum { AF_FUDGE_PLACES = 89 };

/* Where a star's actions feel the potential, and how much. */
typedef struct af_fudge_response {
    size_t count;                       /* of places */
    double place[AF_FUDGE_PLACES][2];   /* R, |z| [kpc]; the first is the star's own */
    double weight[AF_FUDGE_PLACES][2];  /* of J_z and J_r [kpc/(km/s)]; each adds up to zero */
} af_fudge_response;

/* J (3) as af_fudge_actions gives it, and what a small change of the potential, dPhi(R,z), makes of
 * it to first order while Delta stays: dJ_z = sum_k weight[k][0] dPhi(place[k]), dJ_r likewise.
 * These are the quadratures of J themselves: dp_u^2/2 = (s^2 + Delta^2 sin^2 v0) [dPhi(star) -
 * dPhi(s,v0)], dp_v^2/2 the same with (s0,v), and turning points add nothing. Returns flags;
 * response->count is 0 where they say failed or at rest. */
AF_API unsigned af_fudge_respond(const af_fudge *fudge, const double xv[6], double j[3],
                                 af_fudge_response *response);
