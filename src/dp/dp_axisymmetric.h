/* ---- an axisymmetric potential from a snapshot, through actions ---------------------------------
 *
 * What dp_recover does, for potentials that are axisymmetric about the z axis and the same above
 * and below the plane: f(x, v) = f(J)/(2 pi)^3 of (J_r, J_z, L_z). The potential is a sum of parts
 * of af_potential whose masses (speeds), lengths and heights are learned: those of the desc, where
 * the form is known or guessed, or else two Miyamoto-Nagai discs and a sphere, whose density is
 * positive whatever is learned: enough for the forces of simple galaxies, not for details.
 * The density of actions is exp of a spline in all three. Actions are those of the Staeckel fudge
 * (af_fudge.h), their derivatives the response of its quadratures; each star's focal distance
 * stays for a series of steps and is then found anew. What is told of dp_recover holds: stars must
 * be all there are of their orbits, and error bars come from the Fisher information, the density of
 * actions being free. They cover if phases are mixed: from stars of dp_mock_disc, 20,000 that begin
 * near their apocentres, the mass comes out too large by 0.21 % after the default 128 dynamical
 * times, 1.5 error bars (mean of six mocks); followed further, by 0.02 +- 0.06 % (six), and errors
 * are 1.0 times the error bars (rms). The fudge's own error is a bias too: there less than 0.05 %
 * of the mass, more for halos. */

typedef struct dp_axisymmetric dp_axisymmetric;

/* Recovers. Of the desc, units and streams must be zero, and bins, of each of the three actions, is
 * 5 by default and at most 8. Parts that do not bind all stars are made heavier until they do;
 * their masses must be positive. The report's radii are spherical; `constant` is to add to phi,
 * which is zero at infinity then where that of the parts is. *out is there after AF_OK and
 * AF_STOPPED, else NULL. Fails as dp_recover does. */
AF_API af_status dp_recover_axisymmetric(const dp_sample *sample, const dp_recover_desc *desc,
                                         dp_axisymmetric **out);
AF_API void dp_axisymmetric_destroy(dp_axisymmetric *r); /* NULL is fine */
AF_API dp_recover_report dp_axisymmetric_report(const dp_axisymmetric *r);

/* The potential that was found, about desc.centre: *count parts (count NULL: it is known) for
 * af_potential_value, af_fudge_actions and so on. They belong to r. */
AF_API const af_potential *dp_axisymmetric_parts(const dp_axisymmetric *r, size_t *count);

/* The relative standard errors of their masses (speeds), lengths and heights, (count,3): of ln, so
 * that they may be large where several parts can stand for each other. 0: not learned. */
AF_API const double *dp_axisymmetric_errors(const dp_axisymmetric *r);

/* The potential at one place, each with its standard error, in the units of dp_radial. */
typedef struct dp_meridional {
    double phi, phi_error;             /* less its mean over the stars */
    double force[2], force_error[2];   /* along R and z */
    double density, density_error;     /* of mass */
} dp_meridional;

/* out (n) at R >= 0 and z (n,2), from the centre. AF_ERROR_ARGUMENT names a place that makes no
 * sense; AF_ERROR_MEMORY. */
AF_API af_status dp_axisymmetric_evaluate(const dp_axisymmetric *r, size_t n, const double *places,
                                          dp_meridional *out);

/* The same of the potential that the fit began with; errors are zero. */
AF_API af_status dp_axisymmetric_untrained(const dp_axisymmetric *r, size_t n,
                                           const double *places, dp_meridional *out);

/* Everything in one safetensors file, and back. AF_ERROR_IO, AF_ERROR_FORMAT, AF_ERROR_MEMORY. */
AF_API af_status dp_axisymmetric_save(const dp_axisymmetric *r, const char *path);
AF_API af_status dp_axisymmetric_load(af_context *c, const char *path, dp_axisymmetric **out);
