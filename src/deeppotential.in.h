/* deeppotential.h - from a snapshot of stars to the potential they move in, in C
 *
 * Learns the distribution function f(x, v) of stars from their positions and velocities, then the
 * gravitational potential that keeps it stationary: Deep Potential (Green & Ting 2020,
 * arXiv:2011.04673; Green, Ting & Kamdar 2023, ApJ 942, 26). No symmetry, no model of the mass and
 * no assumption that the stars make the field are needed; that the system is stationary, is.
 *
 * Licence: MIT, see the file LICENSE.
 *
 * DO THIS
 *
 *     In ONE C or C++ file, with actionfinder.h beside it:
 *
 *         #define ACTIONFINDER_IMPLEMENTATION
 *         #define DEEPPOTENTIAL_IMPLEMENTATION
 *         #include "deeppotential.h"
 *
 *     Everywhere else only the include. The two implementations may also stand in different files.
 *     BUILD LINES, OPTIONS, ERRORS, THREADS and MEMORY are those of actionfinder.h.
 *
 * A WHOLE PROGRAM
 *
 *     From a table of stars (x, y, z in kpc, vx, vy, vz in km/s) to the acceleration and the
 *     density at a point.
 *
 *     ```c
 *     #define ACTIONFINDER_IMPLEMENTATION
 *     #define DEEPPOTENTIAL_IMPLEMENTATION
 *     #include "deeppotential.h"
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *
 *     int main(int argc, char **argv) {
 *         af_context *c = NULL;
 *         dp_sample *stars = NULL;
 *         dp_df *df = NULL;
 *         dp_potential *potential = NULL;
 *         dp_points points = {0};
 *         double *gradient, x[3] = {1.0, 0.0, 0.0}, phi, a[3], rho;
 *         if (argc < 2 || af_context_create(NULL, &c) != AF_OK) return 1;
 *         if (dp_sample_read(c, argv[1], NULL, &stars) != AF_OK) goto failed; // CSV or NPY
 *         points.n = dp_sample_count(stars);
 *         points.eta = dp_sample_eta(stars);
 *         points.gradient = gradient = (double *)malloc(6 * points.n * sizeof(double));
 *         if (!gradient || dp_df_create(stars, NULL, &df) != AF_OK ||      // NULL: all defaults
 *             dp_df_fit(df, stars, NULL, NULL) != AF_OK ||                 // minutes
 *             dp_df_evaluate(df, points.n, points.eta, NULL, gradient) != AF_OK ||
 *             dp_potential_create(c, NULL, &points, &potential) != AF_OK ||
 *             dp_potential_fit(potential, &points, NULL, NULL, NULL) != AF_OK ||
 *             dp_potential_evaluate(potential, 1, x, &phi, a, &rho) != AF_OK)
 *             goto failed;
 *         printf("acceleration %g %g %g (km/s)^2/kpc, density %g Msun/kpc^3\n", a[0], a[1], a[2],
 *                rho);
 *         return 0;
 *     failed:
 *         fprintf(stderr, "%s\n", af_error(c));
 *         return 1;
 *     }
 *     ```
 *
 * SAMPLES
 *
 *     A dp_sample holds stars (x, y, z, vx, vy, vz), weights and errors if there are any, and the
 *     volume within which it is complete. dp_sample_read takes NPY of shape (n,6) or (n,7), CSV and
 *     ECSV; stars outside the volume are left out, and bad ones are named. A volume with sharp
 *     edges is no harm to the method, which uses f only locally. Places within a sphere or cylinder
 *     are widened to all of space before f is learned (dp_widen.c), so that there is no edge to
 *     smooth; but near it few stars tell the gradients: leave out its last few per cent when the
 *     potential is fitted (dp_sample_cut). The hole of a shell stays an edge.
 *
 *     Mock samples come with the truth: dp_mock_plummer and dp_mock_plummer_gradient, an isotropic
 *     Plummer sphere with its ln f and gradients; dp_mock_disc, near-circular orbits in a
 *     Miyamoto-Nagai disc followed for 128 dynamical times as in the paper (8 for its
 *     non-stationary mock); dp_mock_bar, stars in a turning logarithmic bar. dp_mock_errors
 *     measures any of these as section 4.1 does. All are functions of a seed, to the same bits for
 *     any number of threads.
 *
 * DISTRIBUTION FUNCTIONS
 *
 *     All kinds have one interface: ln f, its gradients, draws, files. The default is a score: a
 *     scalar network for ln f that is trained by denoising. It gives the best gradients a minute,
 *     and nothing else is needed for the potential; it neither draws stars nor knows its
 *     normalisation (dp_df_normalise, with a flow). DP_DF_MATCHING is a continuous flow for
 *     likelihoods and draws; DP_DF_SPLINE and DP_DF_FFJORD are those of the papers, the spline flow
 *     being the quickest to train and to draw from.
 *
 *     ```c
 *     dp_sample *stars;
 *     dp_df *score, *flow;
 *     dp_df_desc desc = {0};
 *     dp_df_report report;
 *     if (dp_sample_read(context, "stars.csv", NULL, &stars) != AF_OK) return;
 *     if (dp_df_create(stars, NULL, &score) != AF_OK) return;
 *     if (dp_df_fit(score, stars, NULL, &report) != AF_OK) return;
 *     desc.kind = DP_DF_SPLINE;
 *     if (dp_df_create(stars, &desc, &flow) != AF_OK) return;
 *     if (dp_df_fit(flow, stars, NULL, &report) != AF_OK) return;
 *     dp_df_normalise(score, flow, 100000, 1, NULL); // ln f of the score is right now
 *     dp_df_save(score, "f.safetensors");
 *     ```
 *
 *     The score stretches positions until their density is nearly normal, and takes velocities from
 *     the local mean in units of the local dispersion, both found first: a thin disc and the core
 *     of a galaxy are then as smooth as anything. Its network gets radii and the components of
 *     velocities along and about them beside the coordinates: no symmetry is imposed by that, but
 *     nearly symmetric functions are near. All noise levels are learned together, as a polynomial
 *     that ends at no noise; it is evaluated there, or at the level that is best on stars held out,
 *     by the objective mean(|s|^2/2 + div s) (Hyvarinen 2005), which orders candidates as their
 *     true mean errors would. Measurement errors of the sample are taken out of the frame: f keeps
 *     its shape in units of the spread of places, the local mean and dispersion of velocities, and
 *     these are found by a likelihood that knows each star's errors; exact for a normal f. Flows
 *     learn f with the errors in it.
 *
 *     Several functions count as one in dp_ensemble_evaluate: their df/d eta are averaged, robustly
 *     if wanted, and `spread` says how much they differ. Eight scores of an eighth of the time each
 *     are better than one, which learns more of the stars' scatter. For the uncertainty from the
 *     number of stars, multiply the weights by dp_bootstrap_weights and fit again.
 *
 * POTENTIALS
 *
 *     dp_potential_create takes points with gradients d ln f/d(x, v), from any source, and makes a
 *     tanh network on (x, y, z), (R, z) or r, or a sum of analytic parts. dp_potential_fit finds
 *     the Phi that makes f stationary, by default with d ln f/dt, in which all regions count alike;
 *     DP_LOSS_DF is the papers' form. Densities below zero are penalised. Parts are fitted by
 *     L-BFGS to all points at once; for a loss surface call dp_potential_set_parts, then
 *     dp_potential_loss.
 *
 *     The frame in which f is stationary may move and turn (frame), and be found with the potential
 *     (free_frame); a pattern speed needs a system that is not axisymmetric. The paper's eqs. 14
 *     and 15 take Omega x u for the fictitious acceleration. Velocities turn, too: it is Omega x (v
 *     - u0), and the two agree only where f depends on v through |v - u| alone.
 *
 *     Without selection function: density_net lets dp_potential_fit find beside the potential what
 *     selecting stars by their place took from ln f (Kalda & Green 2025). That can be all of the
 *     density: a score with conditional = 1 learns p(v|x) alone. But velocities tell potential and
 *     density apart only where they are not normally distributed at each place; the f of the stars
 *     as they are, with what it lacks being smooth, does far better.
 *
 *     A check that has no model of the potential: dp_local_accelerations solves v . d ln f/dx = -a
 *     . d ln f/dv at one place by least squares over velocities. Noise of a relative size s in d ln
 *     f/dv makes a too small by s^2. dp_circular_velocity, dp_surface_density and dp_sphere_density
 *     say what a potential means; dp_map averages any value over cells of two coordinates: with
 *     dp_potential_residual it gives maps of non-stationarity. dp_force_create makes a force for an
 *     N-body code: one point a call, thread-safe, without allocation.
 *
 * FORMULAS
 *
 *     A dp_vocabulary lists symbols (variables, fixed numbers, constants to be found) with their
 *     units, and the operators that may be used; a dp_formula is an expression in it.
 *
 *     ```c
 *     dp_symbol symbols[4] = {{"r", DP_VARIABLE, {{1}}, 0}, {"b", DP_FREE, {{1}}, 1},
 *                             {"GM", DP_FREE, {{3, -2}}, 1}, {"1", DP_FIXED, {{0}}, 1}};
 *     dp_vocabulary words = {0};
 *     dp_formula formula;
 *     words.symbols = symbols;
 *     words.symbol_count = 4;
 *     words.target.power[0] = 2; // a potential: length^2 time^-2
 *     words.target.power[1] = -2;
 *     if (dp_formula_parse(context, &words, "-GM/(b+sqrt(b^2+r^2))", &formula) != AF_OK) return;
 *     if (dp_formula_units(context, &words, &formula, NULL, NULL) != AF_OK) return;
 *     ```
 *
 *     dp_formula_text writes it as plain text that is read back as the same, as LaTeX, or as a C
 *     function; dp_formula_units checks units from the leaves up and names the part that does not
 *     fit; dp_reach tells which units can be made with how many tokens, and why a target cannot.
 *     dp_formula_evaluate and dp_formula_tangents give values and derivatives; nothing is
 *     protected: the logarithm of a negative number is NaN. dp_formula_fit finds the constants by
 *     Levenberg-Marquardt, those that are linear in closed form, from several starts, over one or
 *     several data sets, with constants of each set if wanted; its error is rms/std(y). For many
 *     formulas on the same data make a dp_fitter, one for each thread.
 *
 *     dp_symbolic_search tries every formula up to a number of tokens, shortest first. Units reduce
 *     it to y = A p f(x1, x2, ...) + C with dimensionless x; equal functions are tried once, A and
 *     C are solved for, scales found by Levenberg-Marquardt, and units are put back with few
 *     tokens. The result is a front of error against length, and the entry of least description
 *     length. Give few operators: each token takes 4 to 8 times longer; exp and log cost the most.
 *     DP_AMPLITUDE_OFFSET for potentials, a DP_SPECIFIC offset for streams of different energies,
 *     `norms` for flattened potentials. `filter` takes any criterion, also one that has no
 *     derivative; `clock` with `seconds`, and `progress`, end the search with the front so far. A
 *     request that units make impossible is refused with what is missing.
 *
 *     For longer formulas of measured quantities alone (numbers are found) set `combine`: as the
 *     list grows, sums, quotients and products of two or three of all functions found so far are
 *     solved for by linear least squares, with powers and numbers, for y, 1/y, y^2, y - 1, ... It
 *     is made for exact data: of 116 Feynman problems both together find 114, most in a second.
 *     With noise the choice among 64 points can fall on a neighbour of the right form. `evolve`
 *     goes on from the functions of all lengths: MAP-Elites keeps the best of each length and kind,
 *     changes and crosses them; also with constants inside, where enumeration takes too long.
 *
 *     dp_policy_search is Phi-SO's search: an LSTM writes formulas token by token, constants are
 *     fitted, and the network learns from the best 5 % of each batch. Units are right by
 *     construction. `filter` is the same function. It can settle on a simpler form that is nearly
 *     right: try several seeds, or a larger batch. For formulas of up to nine tokens or so
 *     dp_symbolic_search is the quicker and surer way.
 *
 * A POTENTIAL THROUGH ACTIONS
 *
 *     dp_recover finds a spherical potential from stars with positions and velocities. Stars whose
 *     phases are mixed have f(x, v) = f(J)/(2 pi)^3, so it makes the actions as likely as it can
 *     under a free-form potential (positive density, a layer of tanh units) and a free-form density
 *     of (J_r, L), a spline. Give dp_recover_desc.streams where stars belong to streams: they share
 *     their actions, and say more than many of the field. dp_recovered_evaluate gives Phi, force
 *     and density at radii with standard errors from the Fisher information, the density of actions
 *     being free; dp_recovered_untrained the potential that the fit began with. The constant of Phi
 *     is not observable: Phi comes less its mean over the stars between the 1 and 99 % radii, and
 *     the report has the value that would make it zero at infinity. Do not cut the stars in space,
 *     since orbits cross the cut; cut in energy or actions. If the report says converged = 0, do
 *     not trust the error bars.
 *
 *     dp_recover_axisymmetric does the same for discs, through J_r, J_z and L_z of the Staeckel
 *     fudge. The potential is a sum of analytic parts that you give with first guesses (parts), of
 *     which all numbers are learned that `fixed` does not keep; without any, two Miyamoto-Nagai
 *     discs and a sphere. dp_axisymmetric_parts is the result, ready for af_potential_value, and
 *     dp_axisymmetric_errors the relative errors of its numbers; where parts can stand for each
 *     other these are large, and the errors of forces, from dp_axisymmetric_evaluate at (R, z), are
 *     what counts. They do not know of phases that are not mixed, nor of the fudge's own error.
 *     dp_axisymmetric_save and _load keep it, dp_axisymmetric_field hands it to dp_distill.
 *
 * END TO END
 *
 *     dp_chain_create is the whole chain of Tenachi et al. (2023) as one expression: stars followed
 *     in a network's potential, actions by the isochrone's map whose GM and b are learned, a
 *     mixture of normal distributions of (ln J_r, ln L), and the likelihood, differentiated
 *     together and minimised by L-BFGS. By default f(x, v) = f(J)/(2 pi)^3; DP_CHAIN_KERNEL draws
 *     orbits and angles, inverts the map and smooths with a kernel, as the paper does: slower,
 *     noisier, and biased by some per cent. The map holds for isochrones, so the stars should be
 *     those of one; for other spherical potentials take dp_recover, or a map that was learned. The
 *     network is held to the map by `tie`; with tie < 0 by nothing but that the stars stay
 *     distributed as they are. `flow` has a spline flow in the mixture's place: with two layers it
 *     fits better than four clumps.
 *
 *     `model` takes a trained ActionFinder as the map, in kpc and km/s and with the same centre. It
 *     stays as it is: the potential is that in which orbits keep the actions that it gives, so it
 *     is as true as the finder. Stars that the finder has no actions for are left out and counted
 *     (left_out). The constant of Phi is the toy's then and means nothing. Not with
 *     DP_CHAIN_KERNEL, which needs the way back. Shears take the least time.
 *
 * FROM A FIELD TO A FORMULA
 *
 *     dp_distill takes anything that has a value at a place (dp_field: a callback, or
 *     dp_potential_field, dp_recovered_field, dp_axisymmetric_field, dp_accel_field,
 *     dp_koopman_field) and gives formulas for it, in one call. Whether a potential is spherical or
 *     axisymmetric is found; it is averaged over directions at radii, or at R and z, and weighted
 *     by the field's errors. Of R and z norms such as sqrt(R^2 + z^2) count as one operator, so
 *     that a Miyamoto-Nagai disc is found by itself. What is called the best is the shortest
 *     description, where the smooth errors of a network count as few points: `independent`. Take
 *     all radii that the stars reach: over a short range several formulas agree. `force_error` is a
 *     check that was not fitted.
 *     dp_formula_tidy writes formulas in the order people do.
 *
 * LIMITS
 *
 *     All six coordinates must be known. The stars must be stationary in some frame: what is not
 *     ends up in the residual, and in part in the potential. The constant of the potential is not
 *     observable. GPUs: see GPU and LIMITS in actionfinder.h. */
#ifndef DEEPPOTENTIAL_H
#define DEEPPOTENTIAL_H

#ifndef ACTIONFINDER_H
#  include "actionfinder.h"
#endif

/* Both headers have one version and are released together. */
#define DP_VERSION AF_VERSION

/* The version of the implementation, to compare with DP_VERSION of the header. */
AF_API const char *dp_version(void);

#include "dp/dp_sample.h"
#include "dp/dp_mock.h"
#include "dp/dp_train.h"
#include "dp/dp_df.h"
#include "dp/dp_ensemble.h"
#include "dp/dp_potential.h"
#include "dp/dp_local.h"
#include "dp/dp_products.h"
#include "dp/dp_formula.h"
#include "dp/dp_symbolic.h"
#include "dp/dp_policy.h"
#include "dp/dp_recover.h"
#include "dp/dp_axisymmetric.h"
#include "dp/dp_chain.h"
#include "dp/dp_distill.h"

#endif /* DEEPPOTENTIAL_H */

#if defined(DEEPPOTENTIAL_IMPLEMENTATION) && !defined(DEEPPOTENTIAL_IMPLEMENTATION_DONE)
#define DEEPPOTENTIAL_IMPLEMENTATION_DONE

#include "dp/dp_base.c"
/* stars */
#include "dp/dp_sample.c"
#include "dp/dp_mock.c"
/* fits */
#include "dp/dp_rows.c"
#include "dp/dp_train.c"
/* distribution functions: what all share, the kinds, the interface */
#include "dp/dp_widen.c"
#include "dp/dp_df.c"
#include "dp/dp_spline.c"
#include "dp/dp_cnf.c"
#include "dp/dp_matching.c"
#include "dp/dp_ffjord.c"
#include "dp/dp_score_places.c"
#include "dp/dp_score.c"
#include "dp/dp_score_frame.c"
#include "dp/dp_score_fit.c"
#include "dp/dp_df_api.c"
#include "dp/dp_ensemble.c"
/* potentials: expressions, fit, interface; without a model; what they give */
#include "dp/dp_potential.c"
#include "dp/dp_potential_fit.c"
#include "dp/dp_potential_api.c"
#include "dp/dp_force.c"
#include "dp/dp_local.c"
#include "dp/dp_products.c"
/* formulas: what they are, and the search for them */
#include "dp/dp_formula.c"
#include "dp/dp_formula_units.c"
#include "dp/dp_reach.c"
#include "dp/dp_formula_parse.c"
#include "dp/dp_formula_text.c"
#include "dp/dp_formula_tidy.c"
#include "dp/dp_formula_fit.c"
#include "dp/dp_symbolic.c"
#include "dp/dp_symbolic_fit.c"
#include "dp/dp_enumerate.c"
#include "dp/dp_enrich.c"
#include "dp/dp_redimension.c"
#include "dp/dp_symbolic_data.c"
#include "dp/dp_symbolic_screen.c"
#include "dp/dp_combine.c"
#include "dp/dp_diversity.c"
#include "dp/dp_symbolic_search.c"
#include "dp/dp_policy.c"
#include "dp/dp_policy_net.c"
#include "dp/dp_policy_search.c"
/* a potential through actions */
#include "dp/dp_recover_table.c"
#include "dp/dp_recover_family.c"
#include "dp/dp_recover_density.c"
#include "dp/dp_recover_model.c"
#include "dp/dp_recover.c"
#include "dp/dp_recover_fit.c"
#include "dp/dp_recover_api.c"
#include "dp/dp_recover_evaluate.c"
#include "dp/dp_axisymmetric.c"
#include "dp/dp_axisymmetric_api.c"
#include "dp/dp_axisymmetric_file.c"
/* end to end: a potential by differentiating through orbits and actions */
#include "dp/dp_chain_map.c"
#include "dp/dp_chain_model.c"
#include "dp/dp_chain_flow.c"
#include "dp/dp_chain_mixture.c"
#include "dp/dp_chain.c"
#include "dp/dp_chain_fit.c"
#include "dp/dp_chain_api.c"
/* from a field to a formula */
#include "dp/dp_distill.c"

#endif /* DEEPPOTENTIAL_IMPLEMENTATION */
