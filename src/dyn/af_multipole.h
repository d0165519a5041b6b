/* ---- dyn: the potential of any axisymmetric density --------------------------------------------
 *
 * Solves Poisson's equation by multipoles (Binney & Tremaine 2008, section 2.4):
 *
 *     Phi(r,theta) = sum_l Phi_l(r) P_l(cos theta),                   l = 0, 2, 4 ... degree
 *     Phi_l(r) = -4 pi G/(2l+1) [r^-(l+1) int_0^r rho_l s^(l+2) ds + r^l int_r^oo rho_l s^(1-l) ds]
 *
 * Phi_l is tabulated on a grid in ln r with its first and second derivatives, which the integrals
 * give too, and interpolated by polynomials of degree 5 between: the acceleration is the exact
 * gradient of the potential and has continuous derivatives. Below and above the grid rho_l goes on
 * as a power of r. Units as in af_potential.h. */

typedef struct af_multipole af_multipole;

/* Zero means default for every field but the density and the two radii. */
typedef struct af_multipole_desc {
    uint32_t start_canary;
    /* rho [Msun/kpc^3] at distances R > 0 from the axis and z > 0 from the plane [kpc]; it must be
     * the same below the plane. May be negative. Called by af_multipole_create alone. */
    double (*density)(double radius, double z, void *user);
    void *user;
    double smallest, largest; /* [kpc] the grid's ends: far inside and outside all structure */
    size_t degree;            /* largest l, even, 126 at most; default 32. 2 means l = 0 and 2 */
    int spherical;            /* 1: l = 0 alone, whatever degree is */
    size_t knots;             /* of the grid, 2 or more; default: 20 in each power of ten */
    uint32_t end_canary;
} af_multipole_desc;

/* Takes (knots * 7) * (2 degree + 32) densities, and some milliseconds of its own. Nothing of the
 * desc is kept. AF_ERROR_ARGUMENT; AF_ERROR_NONFINITE where a density is not finite;
 * AF_ERROR_DATA when the mass in the centre is not finite (rho steeper than r^-3) or the potential
 * at infinity is not (not steeper than r^-2); AF_ERROR_MEMORY. *out is NULL then. */
AF_API af_status af_multipole_create(af_context *context, const af_multipole_desc *desc,
                                     af_multipole **out);
AF_API void af_multipole_destroy(af_multipole *multipole);

/* Phi(x), 0 at infinity; -grad Phi (may not overlap x); and the Laplacian / (4 pi G): the density
 * as the expansion has it. Thread-safe; they allocate nothing. In the centre the acceleration is
 * given as 0. */
AF_API double af_multipole_value(const af_multipole *multipole, const double x[3]);
AF_API void af_multipole_acceleration(const af_multipole *multipole, const double x[3],
                                      double acceleration[3]);
AF_API double af_multipole_density(const af_multipole *multipole, const double x[3]);

/* The mass inside the sphere of that radius [Msun]: r^2/G dPhi_0/dr. */
AF_API double af_multipole_mass(const af_multipole *multipole, double radius);

/* For af_orbit_integrate and af_fudge; the multipole must live as long as they are used. */
AF_API af_force af_force_of_multipole(const af_multipole *multipole);
AF_API af_field af_field_of_multipole(const af_multipole *multipole);
