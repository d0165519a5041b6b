/* ---- a mass model from the energies of streams --------------------------------------------------
 *
 * In a static potential the stars of a stream have one energy: v^2/2 + Phi(x) is the same for all
 * of them, whatever their actions are. For a potential that is a sum of given parts these equations
 * are linear, and least squares finds it at once, with no map and no start. The parts are
 * Miyamoto-Nagai discs (BT eq. 2.69)
 *
 *     Phi = -sum_jk G M_jk / sqrt(R^2 + (a_j + sqrt(z^2 + b_k^2))^2)
 *
 * on a grid of lengths a_j (a_0 = 0: spheres) and heights b_k, of masses of either sign, held back
 * by a ridge that is chosen so that streams left out are predicted best. Near the orbits this
 * represents any axisymmetric galaxy with a plane of symmetry; far from them it means nothing, and
 * the density may be negative. Only differences of energies are seen, so the zero of Phi at
 * infinity and the total mass are extrapolations.
 *
 * Where L_z is not conserved the parts are ellipsoids instead, of heights b_k and axis
 * ratios p and q between 0.72 and 1.18,
 *
 *     Phi = -sum_jk G M_jk / sqrt(b_k^2 + x^2 + (y/p_j)^2 + (z/q_j)^2),
 *
 * for smooth triaxial potentials whose axes are those of the coordinates.
 *
 * Errors of the velocities that are alike for all stars add the same to all kinetic energies, which
 * cancels within a stream; what scatters averages out. With 1, 5 and 10 km/s in each component the
 * accelerations of tests/test_mass_model.c (160 streams of six) are good to 1, 3 and 4 % or better,
 * the median, those of the toy to 14 %; without errors to 0.1 %. Errors of distances, and of
 * velocities that differ from star to star, leave a bias that least squares does not know of. */

typedef struct af_mass_model af_mass_model;

/* Zero means default for every field. */
typedef struct af_mass_model_desc {
    uint32_t start_canary;
    size_t rounds; /* in which streams that contradict the others lose weight (Cauchy, scale: five
                      times the median); default 3; 1 round has equal weights */
    af_symmetry axisymmetric; /* discs, or else ellipsoids. AUTO: discs when L_z is conserved in
                                 the streams to a hundredth of L; otherwise what has the smaller
                                 misfit */
    double ridge;  /* relative to the size of the equations; default: chosen from 0.1 to 1e-6 by
                      leaving out a quarter of the streams at a time */
    uint32_t end_canary;
} af_mass_model_desc;

/* Streams of one star say nothing; stars in the centre do not matter. AF_ERROR_ARGUMENT;
 * AF_ERROR_DATA when fewer than eight streams have two stars, or their energies do not determine a
 * model; AF_ERROR_NONFINITE when they overflow; AF_ERROR_MEMORY; *out is NULL then. desc NULL: all
 * defaults. The orbits are not kept. */
AF_API af_status af_mass_model_fit(af_context *c, const af_orbits *orbits,
                                   const af_mass_model_desc *desc, af_mass_model **out);
AF_API void af_mass_model_destroy(af_mass_model *m); /* NULL is fine */

/* Scatter of the energies that streams left out of the fit keep, over that of their kinetic
 * energies; the median over the streams. Small (below 1e-3) says that the streams are in one static
 * potential, which is axisymmetric if the model is. */
AF_API double af_mass_model_misfit(const af_mass_model *m);

/* The median distance of the stars from the centre [kpc], the unit of the grid. */
AF_API double af_mass_model_radius(const af_mass_model *m);

/* One safetensors file. Fail as af_finder_save and af_finder_load do. */
AF_API af_status af_mass_model_save(const af_mass_model *m, const char *path);
AF_API af_status af_mass_model_load(af_context *c, const char *path, af_mass_model **out);

/* Phi(x) [(km/s)^2], -grad Phi [(km/s)^2/kpc], rho(x) [Msun/kpc^3]; x (3) in kpc. Thread-safe; they
 * allocate nothing. */
AF_API double af_mass_model_value(const af_mass_model *m, const double x[3]);
AF_API void af_mass_model_acceleration(const af_mass_model *m, const double x[3],
                                       double acceleration[3]);
AF_API double af_mass_model_density(const af_mass_model *m, const double x[3]);

/* 1 when the parts are discs. */
AF_API int af_mass_model_is_axisymmetric(const af_mass_model *m);

/* The parts, for programs that know Miyamoto-Nagai discs: how many there are, and part i. None of a
 * triaxial model. */
AF_API size_t af_mass_model_count(const af_mass_model *m);
AF_API af_potential af_mass_model_part(const af_mass_model *m, size_t i);

/* For af_orbit_integrate, af_fudge and af_orbit_actions; the model must live as long. */
AF_API af_force af_force_of_mass_model(const af_mass_model *m);
AF_API af_field af_field_of_mass_model(const af_mass_model *m);
