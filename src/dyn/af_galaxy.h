/* ---- dyn: galaxies of discs and spheroids -------------------------------------------------------
 *
 * A galaxy is a sum of discs and spheroids, given by their densities as in mass models of the Milky
 * Way (Dehnen & Binney 1998, MNRAS 294, 429; McMillan 2017, MNRAS 465, 76):
 *
 *     disc       rho = Sigma(R) h(z),  Sigma(R) = surface_density exp(-hole/R - R/length)
 *                h(z) = exp(-|z|/height)/(2 height)  or  sech^2(z/(2 height))/(4 height)
 *     spheroid   rho = density (m/scale)^-inner (1 + m/scale)^(inner-outer) exp(-(m/cutoff)^2),
 *                m^2 = R^2 + (z/flattening)^2
 *
 * The potential is that of Dehnen & Binney (1998, section 2.3): with h = d2H/dz2, H(0) = H'(0) = 0,
 * each disc has 4 pi G Sigma(r) H(z), r being the spherical radius, which takes up what is thin.
 * The density that is left is smooth and goes with the spheroids into one multipole expansion, see
 * af_multipole.h. The density is given by the formulae above. Units as in af_potential.h. */

typedef enum af_profile {
    AF_PROFILE_EXPONENTIAL = 0, /* exp(-|z|/height) */
    AF_PROFILE_SECH2            /* sech^2(z/(2 height)): isothermal */
} af_profile;

typedef struct af_disc {
    double surface_density; /* [Msun/kpc^2] any sign */
    double length;          /* [kpc] > 0 */
    double height;          /* [kpc] >= 0; 0 is a sheet: its own density is given as 0 */
    double hole;            /* [kpc] >= 0; 0: none */
    af_profile profile;
} af_disc;

typedef struct af_spheroid {
    double density;    /* [Msun/kpc^3] any sign */
    double scale;      /* [kpc] > 0 */
    double inner;      /* < 3, may be negative */
    double outer;      /* > 2, or any when there is a cutoff */
    double flattening; /* axis ratio z/R > 0; 0 means 1 */
    double cutoff;     /* [kpc]; 0: none */
} af_spheroid;

/* Zero means default for every field. */
typedef struct af_galaxy_desc {
    uint32_t start_canary;
    const af_disc *discs;
    size_t disc_count;
    const af_spheroid *spheroids;
    size_t spheroid_count;
    size_t degree;            /* of the multipoles, even, at most 126; default 64 */
    size_t knots;             /* of their grid; default: 20 in each power of ten */
    double smallest, largest; /* [kpc] of their grid; default: from the parts */
    uint32_t end_canary;
} af_galaxy_desc;

/* Two models of the Milky Way, with v_c = 221.9 and 240.2 km/s at 8.122 kpc. They fill in the parts
 * of a desc, which the caller has set to zero or not: nothing else of it is touched. The parts are
 * constants of the library.
 *
 *     af_galaxy_desc desc = {0};
 *     af_galaxy_desc_dehnen_binney_1(&desc);
 *     if (af_galaxy_create(context, &desc, &galaxy) != AF_OK) ...
 *
 * Dehnen & Binney (1998), model 1, with the heights 0.18 and 0.04 kpc of the thin and the gas disc
 * as in their program GalPot: thin, thick, gas disc (exponential), bulge, halo. */
AF_API void af_galaxy_desc_dehnen_binney_1(af_galaxy_desc *desc);

/* Piffl et al. (2014, MNRAS 445, 3133): thin, thick, gas disc (exponential), bulge, NFW halo. */
AF_API void af_galaxy_desc_piffl_2014(af_galaxy_desc *desc);

typedef struct af_galaxy af_galaxy;

/* Takes some 0.05 s. Relative errors of the acceleration in the two models are a few times 1e-6, up
 * to 4e-5 near thin discs; the degree decides (16: 1e-3 there, 32: 2e-4, 126: 5e-6). The parts are
 * copied. AF_ERROR_ARGUMENT when there are no parts or one is out of range, otherwise as
 * af_multipole_create; *out is NULL then. */
AF_API af_status af_galaxy_create(af_context *context, const af_galaxy_desc *desc, af_galaxy **out);
AF_API void af_galaxy_destroy(af_galaxy *galaxy);

/* Phi(x), 0 at infinity; -grad Phi (may not overlap x); rho(x). Thread-safe; they allocate nothing.
 * In the centre the acceleration is given as 0. */
AF_API double af_galaxy_value(const af_galaxy *galaxy, const double x[3]);
AF_API void af_galaxy_acceleration(const af_galaxy *galaxy, const double x[3],
                                   double acceleration[3]);
AF_API double af_galaxy_density(const af_galaxy *galaxy, const double x[3]);

/* sqrt(-x . acceleration) at (R, 0, 0) [km/s]; 0 where the force points outwards. */
AF_API double af_galaxy_circular_speed(const af_galaxy *galaxy, double radius);

/* For af_orbit_integrate and af_fudge; the galaxy must live as long as they are used. A step of an
 * orbit should be well below the time in which it crosses the thinnest disc: 0.1 Myr in the two
 * models keeps the energy of halo orbits to 2e-7, 0.5 Myr to 4e-5, and of thin disc orbits to
 * 2e-8. */
AF_API af_force af_force_of_galaxy(const af_galaxy *galaxy);
AF_API af_field af_field_of_galaxy(const af_galaxy *galaxy);
