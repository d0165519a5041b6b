/* ---- dyn: analytic potentials ------------------------------------------------------------------
 *
 * A potential is an array of parts that add up; one part is a plain value:
 *
 *     af_potential galaxy[2];
 *     galaxy[0] = af_potential_miyamoto_nagai(6.8e10, 3.0, 0.28);
 *     galaxy[1] = af_potential_nfw(5.4e11, 15.6);
 *     phi = af_potential_value(galaxy, 2, x);
 *
 * Positions x (3) in kpc, values in (km/s)^2, accelerations in (km/s)^2/kpc, densities in
 * Msun/kpc^3; the z axis is the axis of symmetry. All functions are thread-safe, allocate nothing
 * and do not fail: parameters that af_potential_check refuses, and the singular points named below,
 * give values that are not finite. Formulas: Binney & Tremaine (2008), sections 2.2 and 2.3. */

typedef enum af_potential_kind {
    AF_POTENTIAL_ISOCHRONE = 1,
    AF_POTENTIAL_PLUMMER,
    AF_POTENTIAL_MIYAMOTO_NAGAI,
    AF_POTENTIAL_LOGARITHMIC,
    AF_POTENTIAL_NFW
} af_potential_kind;

/* One part. Make it with a function below; fields that a kind does not use are zero. */
typedef struct af_potential {
    af_potential_kind kind;
    double mass;   /* [Msun]; NFW: the mass scale 4 pi rho0 rs^3 */
    double length; /* [kpc] b of isochrone, Plummer; a of Miyamoto-Nagai; rs of NFW; core radius */
    double height; /* [kpc] b of Miyamoto-Nagai */
    double speed;  /* [km/s] of the logarithmic potential */
    double p, q;   /* axis ratios y/x and z/x of the equipotentials of the logarithmic potential */
} af_potential;

/* Phi = -GM / (b + sqrt(b^2 + r^2)) (Henon 1959); b = 0 is a point mass, singular at the origin. */
AF_API af_potential af_potential_isochrone(double mass, double b);

/* Phi = -GM / sqrt(r^2 + b^2). */
AF_API af_potential af_potential_plummer(double mass, double b);

/* Phi = -GM / sqrt(R^2 + (a + sqrt(z^2 + b^2))^2) (Miyamoto & Nagai 1975). b = 0 is Kuzmin's sheet:
 * its density is given as 0, the acceleration in the plane has no z component. */
AF_API af_potential af_potential_miyamoto_nagai(double mass, double a, double b);

/* Phi = v^2/2 ln(core^2 + x^2 + (y/p)^2 + (z/q)^2), lengths in kpc; p = 1 for an axisymmetric one.
 * The zero of this potential is not at infinity: nothing is unbound. The density may be negative
 * when q or p is far from 1. */
AF_API af_potential af_potential_logarithmic(double speed, double core, double p, double q);

/* Phi = -GM ln(1 + r/rs) / r (Navarro, Frenk & White 1997), where M = 4 pi rho0 rs^3 is the mass
 * scale: the mass inside r is M (ln(1+r/rs) - r/(r+rs)). At r = 0 the acceleration is given as 0
 * (its mean over directions) and the density is infinite. */
AF_API af_potential af_potential_nfw(double mass, double rs);

/* AF_OK when every part has a known kind and parameters in range (finite; lengths >= 0, and > 0 for
 * Plummer and NFW; a + b > 0; speed finite; axis ratios > 0; masses may be negative: holes are
 * made that way), otherwise AF_ERROR_ARGUMENT with a sentence. */
AF_API af_status af_potential_check(af_context *context, const af_potential *parts, size_t count);

/* Phi(x) [(km/s)^2]. */
AF_API double af_potential_value(const af_potential *parts, size_t count, const double x[3]);

/* acceleration = -grad Phi [(km/s)^2/kpc]; may not overlap x. */
AF_API void af_potential_acceleration(const af_potential *parts, size_t count, const double x[3],
                                      double acceleration[3]);

/* rho = Laplacian of Phi / (4 pi G) [Msun/kpc^3], in closed form, without cancellation. */
AF_API double af_potential_density(const af_potential *parts, size_t count, const double x[3]);

/* sqrt(-x . acceleration) at (R, 0, 0) [km/s]; 0 where the force points outwards. */
AF_API double af_potential_circular_speed(const af_potential *parts, size_t count, double radius);
