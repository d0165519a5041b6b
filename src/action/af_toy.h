/* ---- the toy isochrone as an expression ---------------------------------------------------------
 *
 * The same map as af_isochrone_actions, differentiable by mass and scale as well as by position and
 * velocity. Formulas and conventions: af_isochrone.h. */

/* xv (6, ...): x y z vx vy vz [kpc, km/s] along axis 0. mass_g = G M [kpc (km/s)^2] and scale = b
 * [kpc] are scalars. j and theta get (3, ...): J_phi J_z J_r [km/s kpc] and the angles [rad], not
 * reduced to [0, 2 pi). For ordinary bound orbits; planar and radial ones have no finite
 * derivatives, unbound ones give NaN. Either output may be NULL. */
AF_API af_status af_isochrone_expr(af_context *c, af_expr mass_g, af_expr scale, af_expr xv,
                                   af_expr *j, af_expr *theta);
