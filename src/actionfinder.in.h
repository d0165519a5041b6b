/* actionfinder.h - galactic dynamics by deep learning, in C
 *
 * Learns the actions and angles of stars from pieces of their orbits, without being told the
 * potential; and the action-angle coordinates, frequencies and Hamiltonian of other systems from
 * their trajectories; with the expressions, derivatives, networks and training that this takes.
 *
 * Version 0.1.0. Licence: MIT, see the file LICENSE.
 *
 * DO THIS
 *
 *     In ONE C or C++ file, before the include:
 *
 *         #define ACTIONFINDER_IMPLEMENTATION
 *         #include "actionfinder.h"
 *
 *     Everywhere else only the include. The one dependency is stb_ds.h, see BUILD LINES.
 *
 * A WHOLE PROGRAM
 *
 *     Fits a model to the orbits in a file, and prints the actions and angles of its first star.
 *
 *     ```c
 *     #define ACTIONFINDER_IMPLEMENTATION
 *     #include "actionfinder.h"
 *     #include <stdio.h>
 *
 *     int main(int argc, char **argv) {
 *         af_context *c = NULL;
 *         af_orbits *orbits = NULL;
 *         af_finder *finder = NULL;
 *         af_evaluator *one = NULL;
 *         double j[3], theta[3];
 *         if (argc < 2 || af_context_create(NULL, &c) != AF_OK) return 1;
 *         if (af_orbits_read(c, argv[1], &orbits) != AF_OK ||            // CSV or NPY
 *             af_finder_create(c, orbits, NULL, &finder) != AF_OK ||     // NULL: all defaults
 *             af_finder_fit(finder, orbits, NULL) != AF_OK ||            // a minute or more
 *             af_evaluator_create(finder, 1, 1, 1, &one) != AF_OK) {     // for one star at a time
 *             fprintf(stderr, "%s\n", af_error(c));
 *             return 1;
 *         }
 *         af_evaluate(one, 1, af_orbits_xv(orbits, 0), NULL, j, theta, NULL);
 *         printf("J_phi, J_z, J_r = %g %g %g km/s kpc\n", j[0], j[1], j[2]);
 *         printf("theta_phi, theta_z, theta_r = %g %g %g rad\n", theta[0], theta[1], theta[2]);
 *         af_evaluator_destroy(one);
 *         af_finder_destroy(finder);
 *         af_orbits_destroy(orbits);
 *         af_context_destroy(c);
 *         return 0;
 *     }
 *     ```
 *
 * CONTENTS (search for the upper-case words)
 *
 *     BUILD LINES          compiling, OpenMP, CBLAS, where stb_ds.h comes from
 *     OPTIONS              macros and the files they act on; desc structs
 *     THE FIVE CONCEPTS    context, expression, function and workspace, parameters, trainer
 *     DIFFERENTIATION      reverse, forward, Laplacian, any order, implicit steps
 *     SMALL MODELS         Levenberg-Marquardt, L-BFGS, symplectic maps
 *     ACTIONFINDER         data, the map, what is learned, conventions, evaluation
 *     KOOPMAN              the symplectic autoencoder: trajectories in, J, theta, Omega, H out
 *     DYNAMICS             units, potentials, orbits, the isochrone
 *     GPU                  the same programs on a device
 *     ERRORS               status and sentence
 *     MEMORY               who owns what, allocators
 *     THREADS              what may be shared
 *     DETERMINISM          what gives the same bits
 *     FILES                safetensors, NPY, CSV
 *     LIMITS               what it cannot do
 *     WHERE TO READ MORE   papers
 *
 *     The declarations follow floor by floor: base, expressions, learning, dynamics, ActionFinder.
 *     Each function says there what it takes, in which shapes and units, and how it fails.
 *
 * BUILD LINES
 *
 *     plain         cc -O2 program.c -lm
 *     OpenMP        cc -O2 -fopenmp program.c -lm
 *     CBLAS         cc -O2 -fopenmp -DAF_CBLAS program.c -lopenblas -lm
 *     C++           c++ -O2 -fopenmp program.cc -lm
 *     CUDA          nvcc -O2 -arch=native -c af_cuda.cu
 *                   cc -O2 -fopenmp -DAF_CUDA program.c af_cuda.o -lcudart -lcublas -lstdc++ -lm
 *
 *     C99 or later, or C++11 or later, gcc or clang. The kernels are compiled for AVX-512, AVX2 and
 *     plain vectors, and chosen when the program runs: no -march is needed. That takes some ten
 *     seconds, in the one file that has the implementation; AF_NO_AVX leaves the first two out.
 *     Without -fopenmp there is one thread. Where other programs want the same cores, run with
 *     OMP_WAIT_POLICY=passive: threads that spin delay each other. Do not use -ffast-math: NaN
 *     would not be noticed.
 *
 *     stb_ds.h (arrays, github.com/nothings/stb) is needed by the implementation alone: Debian and
 *     Ubuntu have it in libstb-dev (apt-get install libstb-dev). From elsewhere: -I/its/folder, or
 *     its full name in AF_STB_DS_H, quotes included:
 *
 *         cc -DAF_STB_DS_H='"/home/me/stb/stb_ds.h"' program.c -lm
 *
 *     It is isolated: a program may use its own stb_ds before or after it, or in another file.
 *
 * OPTIONS
 *
 *     Macros, to be defined before the include. None changes a public struct.
 *
 *     ACTIONFINDER_IMPLEMENTATION   this file gets the functions' bodies. One file only ...
 *     AF_STATIC       ... unless this is defined, with the above, in each file that wants a private
 *                     copy: all functions are static then
 *     AF_API          what stands before each public function; default: extern, extern "C" in C++.
 *                     The same in all files, e.g. for a shared library made from C:
 *                     -DAF_API='__attribute__((visibility("default")))'
 *     AF_CBLAS        matrix products through <cblas.h>. Implementation only
 *     AF_CUDA         declares af_backend_cuda, which is in af_cuda.cu: see GPU
 *     AF_NO_AVX       no kernels for AVX2 and AVX-512: compiles in half the time, for debugging.
 *                     Implementation only
 *     AF_STB_DS_H     the name of stb_ds.h, with its quotes or brackets. Implementation only
 *
 *     Everything else is chosen at run time, in desc structs: zero means the default for every
 *     field, and a NULL desc means all defaults. Set a desc to zero before filling it (memset, or =
 *     {0} in C, = {} in C++): canaries at both ends notice when that was forgotten.
 *
 *     ```c
 *     af_fit_desc fit = {0};
 *     fit.epochs = 300;
 *     fit.schedule.rate = 1e-3;
 *     fit.checkpoint = "fit.safetensors";
 *     fit.resume = 1; // goes on where a killed run was, to the same bits
 *     ```
 *
 * THE FIVE CONCEPTS
 *
 *     1. A CONTEXT (af_context) owns the expressions and remembers the first error.
 *
 *     2. An EXPRESSION (af_expr) is a handle to a node of a graph in the context. Building computes
 *     nothing but shapes. Rows are samples, elementwise operations broadcast as in numpy. What
 *     fails gives the handle 0, which every builder takes and passes on, so a long formula is
 *     checked once.
 *
 *     3. A FUNCTION (af_func) is compiled from expressions, in double or single precision: what is
 *     not needed or already there is dropped, elementwise operations are fused, memory is planned.
 *     It never changes. Numbers live in a WORKSPACE (af_workspace), one for each thread.
 *
 *     ```c
 *     size_t dims[2] = {100, 3};
 *     static double points[100][3], value[100], gradient[100][3];
 *     const void *in[1] = {points};
 *     void *out[2] = {value, gradient};
 *     af_expr x = af_input(context, "x", 2, dims), y[2];
 *     af_func_desc desc = {0};
 *     af_func *f;
 *     af_workspace *w;
 *     y[0] = af_sqrt(context, af_sum_axis(context, af_square(context, x), -1));
 *     af_grad(context, af_sum(context, y[0]), 1, &x, &y[1]);
 *     desc.inputs = &x;
 *     desc.input_count = 1;
 *     desc.outputs = y;
 *     desc.output_count = 2;
 *     if (af_compile(context, &desc, &f) != AF_OK) return; // af_error(context) says why
 *     if (af_workspace_create(f, 1, &w) == AF_OK) af_run(f, w, in, out);
 *     af_workspace_destroy(w);
 *     af_func_destroy(f);
 *     ```
 *
 *     4. PARAMETERS (af_params) are all numbers that are learned, in one flat vector with named
 *     views. Networks (af_net) declare views and become expressions of them.
 *
 *     5. A TRAINER (af_trainer) owns a compiled loss with its gradient, and an optimiser. A step
 *     takes one batch of data; af_train loops over epochs, keeps the best validation, writes
 *     checkpoints.
 *
 *     ```c
 *     size_t dims[2] = {64, 1};
 *     double x[64] = {0}, y[64] = {0}, loss;
 *     const void *batch[2] = {x, y};
 *     af_expr data[2], no_dropout = {0};
 *     af_net_desc shape = {0};
 *     af_trainer_desc desc = {0};
 *     af_params *params;
 *     af_net *net;
 *     af_trainer *trainer;
 *     shape.inputs = shape.outputs = 1; // two hidden layers of 64, SiLU
 *     if (af_params_create(context, 1, &params) != AF_OK) return;
 *     if (af_net_create(params, &shape, &net) != AF_OK) return;
 *     data[0] = af_input(context, "x", 2, dims);
 *     data[1] = af_input(context, "y", 2, dims);
 *     desc.params = params;
 *     desc.inputs = data;
 *     desc.input_count = 2;
 *     desc.loss = af_mean(context, af_square(context, af_sub(context,
 *                     af_net_apply(net, data[0], no_dropout), data[1])));
 *     if (af_trainer_create(context, &desc, &trainer) != AF_OK) return;
 *     af_trainer_step(trainer, batch, 0.0, &loss); // fill x and y, step again; 0.0: the beginning
 *     af_trainer_destroy(trainer);
 *     af_net_destroy(net);
 *     af_params_destroy(params);
 *     ```
 *
 * DIFFERENTIATION
 *
 *     Derivatives are expressions, made from expressions; the set of operations (AF_OPS) is closed
 *     under differentiation, so they can be taken again, to any order.
 *
 *     af_grad        a scalar by many inputs or parameters: reverse, some two to four times the
 *                    work of the scalar, whatever their number
 *     af_vjp         the same for an array, with a weight for each element
 *     af_jvp         forward, along one direction or a few carried together: for few inputs. A
 *                    loss that holds derivatives by inputs takes these forward, and then its own
 *                    gradient by the parameters in reverse
 *     af_laplacian   gradient and Laplacian by the three coordinates of points, carried together
 *     af_stop        the value goes through, the derivative does not
 *
 *     Derivatives of tanh, sigmoid, softplus are written with sech2 and sigmoid(-x), not as 1 -
 *     tanh^2, which loses its digits in the tails. At a kink (abs, relu, where) the derivative is
 *     that of one side; sign, floor, less and random have derivative 0.
 *
 *     What is found by iteration is differentiated by the implicit function theorem, not through
 *     the iterations: solve outside, feed the solution in, and add one Newton step whose slope is
 *     frozen. At the solution the step is zero, and its first derivative is exactly that of the
 *     solution; second derivatives are not. Kepler's equation eta - e sin(eta) = M, for d eta/de:
 *
 *     ```c
 *     af_expr e = af_input(context, "e", 0, NULL), m = af_input(context, "M", 0, NULL);
 *     af_expr old = af_input(context, "eta", 0, NULL); // solved for before
 *     af_expr left = af_sub(context, old, af_mul(context, e, af_sin(context, old)));
 *     af_expr slope = af_sub(context, af_constant(context, 1.0),
 *                            af_mul(context, e, af_cos(context, old)));
 *     af_expr eta = af_add(context, old, af_div(context, af_sub(context, m, left),
 *                                               af_stop(context, slope)));
 *     af_expr by_e;
 *     af_grad(context, eta, 1, &e, &by_e);
 *     ```
 *
 * SMALL MODELS
 *
 *     Where some ten to some thousand parameters can be exact, Adam is slow and stops early. An
 *     af_minimiser sees all data at once: Levenberg-Marquardt takes residuals, any expression, and
 *     carries the tangents of all parameters forward (or goes in reverse, residual by residual,
 *     where there are fewer of these); L-BFGS takes residuals or a scalar loss. Robust weights
 *     (af_minimiser_desc.robust) keep outliers from leading; a stage function may change the data
 *     between steps, which is all that a curriculum is.
 *
 *     ```c
 *     size_t four = 4, one = 1, a, b; // y = a exp(-b t) through four points
 *     const double t[4] = {0.0, 1.0, 2.0, 3.0}, y[4] = {2.0, 1.2, 0.8, 0.4};
 *     af_minimiser_desc desc = {0};
 *     af_minimise_desc run = {0};
 *     af_minimise_report report;
 *     af_params *params;
 *     af_minimiser *minimiser;
 *     af_expr model;
 *     if (af_params_create(context, 0, &params) != AF_OK) return;
 *     if (af_params_add(params, "a", 1, &one, AF_INIT_CONSTANT, 1.0, &a) != AF_OK ||
 *         af_params_add(params, "b", 1, &one, AF_INIT_CONSTANT, 1.0, &b) != AF_OK) return;
 *     model = af_mul(context, af_params_expr(params, b), af_constant_array(context, 1, &four, t));
 *     model = af_mul(context, af_params_expr(params, a), af_exp(context, af_neg(context, model)));
 *     desc.params = params;
 *     desc.residuals = af_sub(context, model, af_constant_array(context, 1, &four, y));
 *     run.steps = 50;
 *     if (af_minimiser_create(context, &desc, &minimiser) != AF_OK) return;
 *     af_minimise(minimiser, &run, &report); // the parameters are in af_params_data(params)
 *     af_minimiser_destroy(minimiser);
 *     af_params_destroy(params);
 *     ```
 *
 *     An af_shear is a canonical map (q,p) -> (Q,P) in up to eight degrees of freedom, made of
 *     kicks and drifts whose potentials are sums of ridge functions: symplectic and invertible to
 *     rounding whatever its parameters are. Pairs may be Cartesian, angle and action, or Poincare
 *     pairs sqrt(2J) sin, cos, regular at J = 0.
 *
 * ACTIONFINDER
 *
 *     Data. Streams: sets of stars known to be on one and the same orbit (streams proper, or pieces
 *     of orbits), two stars or more each, in Galactocentric coordinates [kpc, km/s]. Files: NPY of
 *     shape (S,N,6), or CSV with the columns stream, x, y, z, vx, vy, vz. Stars as they are
 *     observed (sky position, distance or parallax, proper motions, velocity, with their errors)
 *     are read by af_observed_read; it draws from the errors, and can fill in what is missing.
 *
 *     The map. A toy isochrone gives (theta,J) of each star in closed form. A generating function
 *     of type 2 changes them to (theta',J'):
 *
 *         J = J' + dG/dtheta,    theta' = theta + dG/dJ'        G = G(theta,J'), eqs. 5 and 6
 *
 *     which is canonical whatever G is. J' is one vector for each stream, solved for (Newton) so
 *     that it is the mean over the stars of J - dG/dtheta. G is, as default, a Fourier series in
 *     theta whose coefficients come from a small network of J'; or a network of (cos theta, sin
 *     theta, J') as in eq. 9 (AF_GENERATOR_NETWORK). An optional point transformation theta'' =
 *     P(theta') (eqs. 7, 8) follows.
 *
 *     Learning. Actions are constant along orbits, so the spread of J'' within streams is what is
 *     made small. Default: the mean over streams of (s^2/softening^2 + 1)^(1/4), s being the rms
 *     spread, so that streams that no map fits lose their weight; AF_SPREAD_ABSOLUTE is eqs. 12 and
 *     19. The gradient follows J' through its equation (see DIFFERENTIATION); hold_actions = 1 does
 *     not. Streams held back validate, and the best validation is kept. The potential is never
 *     told, nor are the true actions.
 *
 *     Without G. AF_GENERATOR_SHEARS takes the toy's coordinates through an af_shear instead: no J'
 *     to solve for, so that a star costs less. Levenberg-Marquardt trains it on all streams at
 *     once, in some ten steps. It is for disc orbits (README.md has figures); for halo orbits take
 *     the Fourier series.
 *
 *     Toy. Chosen from the orbits so that all stars are bound in it, or given (af_finder_desc.toy),
 *     and then fixed or learned too (free_toy). An untrained finder is its toy.
 *
 *     Symmetries. Whether L_z is conserved is seen from the data (axisymmetric; then J_phi = L_z
 *     exactly); symmetry about the plane z = 0 is supposed. Both can be set.
 *
 *     Conventions. J = (J_phi, J_z, J_r) [km/s kpc]: J_phi = L_z, positive for counter-clockwise
 *     orbits; J_z and J_r >= 0 in the toy. theta = (theta_phi, theta_z, theta_r) [rad] in [0, 2
 *     pi): theta_r = 0 at pericentre, theta_z = 0 at the upward crossing of the plane. Special
 *     orbits (planar, circular, ...): af_isochrone_actions. A map that keeps J constant is not
 *     unique: the one found is that which is reached from the toy.
 *
 *     Evaluation. An af_evaluator is made once for `stars` stars a stream: with stars = 1 each star
 *     stands alone, with more the stars of a stream share one J', as in training. Single stars are
 *     fastest in blocks of some hundreds (`build/bench --rows evaluate`). af_evaluate allocates
 *     nothing; af_finder_evaluate does all orbits at once. Make evaluators after training. Flags
 *     say what happened to a star: AF_ORBIT_UNBOUND (NaN), AF_ORBIT_PLANAR, ...,
 *     AF_STAR_UNCONVERGED (J' did not settle; take care).
 *
 *     ```c
 *     static double xv[1000][6], j[1000][3], theta[1000][3]; // fill xv
 *     static unsigned flags[1000];
 *     af_finder *finder;
 *     af_evaluator *one;
 *     size_t failed;
 *     if (af_finder_load(context, "model.safetensors", &finder) != AF_OK) return;
 *     if (af_evaluator_create(finder, 1, 64, 1, &one) != AF_OK) return; // 64 stars a block
 *     failed = af_evaluate(one, 1000, xv[0], NULL, j[0], theta[0], flags);
 *     af_evaluator_destroy(one);
 *     af_finder_destroy(finder);
 *     ```
 *
 *     As an expression. af_finder_expr gives the map of places that are expressions themselves, to
 *     be differentiated by them and by the finder's numbers (af_finder_params): a trained finder as
 *     a part of a larger model.
 *
 *     ```c
 *     size_t dims[2] = {6, 100};
 *     af_expr in[2], j, none = {0}, slope; // d(sum of all J_r)/d(x,v), (6,100)
 *     af_finder *finder;
 *     if (af_finder_load(context, "model.safetensors", &finder) != AF_OK) return;
 *     in[0] = af_input(context, "xv", 2, dims);
 *     in[1] = af_params_input(af_finder_params(finder)); // fed af_params_data of the same
 *     if (af_finder_expr(finder, in[0], none, 0, &j, NULL) != AF_OK) return;
 *     af_grad(context, af_sum(context, af_slice(context, j, 0, 2, 1)), 1, in, &slope);
 *     ```
 *
 *     Forces. The stars of a stream have one energy, too, and these equations are linear in the
 *     potential: af_mass_model_fit solves them by least squares, in a second, with no map. Where
 *     the data are good it is by far the best field. Another way needs only a trained finder
 *     (af_accel.h): actions are conserved, so that dJ/dx.v + dJ/dv.a = 0 for every star (eq. 15).
 *
 *     Longer orbits. In that field short arcs can be followed as far as one likes. af_orbits_extend
 *     makes orbits like those given, with stars all along them; for halo orbits a finder trained on
 *     them is better than one trained on arcs (README.md has figures). `actionfinder fit` does that
 *     where the energies agree.
 *
 *     ```c
 *     af_orbits *orbits, *longer;
 *     af_finder *finder;
 *     if (af_orbits_read(context, "stars.csv", &orbits) != AF_OK) return;
 *     if (af_orbits_extend(context, orbits, NULL, NULL, &longer) != AF_OK) return; // not for noise
 *     if (af_finder_create(context, longer, NULL, &finder) != AF_OK) return;
 *     if (af_finder_fit(finder, longer, NULL) != AF_OK) return;
 *     ```
 *
 *     The slow and accurate way. af_orbit_actions in the field of a mass model follows the orbit of
 *     each star: some hundredths of a second, and the most accurate actions, angles and frequencies
 *     that there are here (`actionfinder field actions`). A finder is the fast way.
 *
 *     Frequencies. In a static field the energies of stars are a function of their actions alone,
 *     H(J), and Omega = dH/dJ. af_finder_fit_frequencies learns H, an isochrone and a small
 *     network, from the finder's actions and the energies of streams, in a field given or in that
 *     which their own energies tell; it is kept in the model's file, and forgotten when the map is
 *     trained on. af_frequencies gives Omega and H for actions, without allocating.
 *
 *     The way back. af_inverter_create and af_invert take (theta'',J'') to (x,v) by undoing the
 *     map: shears layer by layer, a generating function by Newton's method. What was evaluated star
 *     by star comes back as accurately as its J' was solved for, unless the map is folded there:
 *     then two stars have the same actions and angles, either is returned, and no flag tells. Stars
 *     without an answer are NaN and flagged. The way back is as true as the map: errors of its
 *     angles become errors of position. af_inverse is the paper's network (eq. 18), faster and only
 *     approximate; give it draws, or it learns its stars by heart.
 *
 *     Judging. af_quality says without the truth what a finder does not fit. Stars are solved one
 *     by one; each stream's relative spread is compared with those of the reference streams (what
 *     the finder was trained on) nearest in action space. A rank is the fraction of held-back
 *     reference streams that are as bad: AF_STREAM_MISFIT (another family, a resonance, not one
 *     orbit) and AF_STAR_APART hit about 2 % of streams and stars like the reference's, or as many
 *     as false_alarm says; so does AF_STAR_OUTSIDE (unlike anything trained on).
 *
 *     Uncertainties. An af_ensemble evaluates several finders, one with units of its networks
 *     dropped, or stars drawn from their errors of observation, and gives mean or median and
 *     standard deviation of J and theta. Only what differs is seen: finders that differ by seed
 *     agree far better than they are right, and their mean is hardly nearer to the truth than one
 *     of them; bootstrap samples make them differ more.
 *
 *     Accuracy. On mock halo orbits in a disc and a halo (`make demo`): the median error of a
 *     stream's actions is 1.0 km/s kpc, 43 for the untrained toy; the mean 5.2, 60 for the toy,
 *     carried by a few weakly bound orbits; trained on arcs alone. README.md has more.
 *
 * KOOPMAN
 *
 *     From trajectories of a Hamiltonian system, one degree of freedom or more, in any units, an
 *     af_koopman learns an encoder (an af_shear) whose output psi = p + i q = sqrt(2J) exp(i theta)
 *     turns uniformly on circles; H(J); and Omega = dH/dJ. The decoder is the exact inverse. J has
 *     no freedom of scale or shape: it is the true action as far as psi turns uniformly. theta = 0
 *     where an orbit crosses q = 0 with p > 0. Samples may be uneven in time; between two of them
 *     no pair may turn by half a circle.
 *
 *     What is minimised is, as default, the distance of psi exp(-i Omega t) from its mean over the
 *     orbit (af_koopman_weights.phase), by Levenberg-Marquardt, orbits being cut into eighths,
 *     quarters and halves first; the losses of the published model (one step, rollout,
 *     reconstruction, actions, a second network for Omega) are there, and L-BFGS and Adam.
 *
 *     ```c
 *     const double start[2] = {1.0, 0.0}; // z, v_z
 *     double j, theta, omega, time[3] = {0.0, 1.0, 2.0}, ahead[3][2];
 *     af_trajectories *orbits;
 *     af_koopman *model;
 *     af_koopman_evaluator *one;
 *     if (af_trajectories_read(context, "orbits.csv", NULL, &orbits) != AF_OK) return;
 *     if (af_koopman_create(context, orbits, NULL, &model) != AF_OK) return;
 *     if (af_koopman_fit(model, orbits, NULL) != AF_OK) return; // a second or two
 *     if (af_koopman_evaluator_create(model, 1, &one) != AF_OK) return;
 *     af_koopman_encode(one, 1, start, &j, &theta, &omega, NULL);
 *     af_koopman_rollout(one, &j, &theta, 3, time, ahead[0]); // where it will be
 *     af_koopman_evaluator_destroy(one);
 *     af_koopman_destroy(model);
 *     af_trajectories_destroy(orbits);
 *     ```
 *
 *     A system that does not look the same under (q,p) -> (-q,-p) needs asymmetric = 1. A large
 *     final loss says that orbits are not of one family: a resonance, chaos, a separatrix between
 *     them, or an asymmetry that the model was told not to have.
 *
 * DYNAMICS
 *
 *     kpc, km/s, solar masses and Gyr everywhere. Frequencies are in km/s/kpc, af_rad_per_gyr
 *     converts. Potentials (isochrone, Plummer, Miyamoto-Nagai, logarithmic, NFW) are values that
 *     add up, with acceleration and density in closed form. Orbits: leapfrog and a sixth-order
 *     symplectic integrator, in these potentials or in a force of the caller's. The isochrone has
 *     actions, angles and frequencies, and the way back, for special orbits too.
 *
 *     ```c
 *     const double start[6] = {8.0, 0.0, 0.1, 10.0, 230.0, 5.0};
 *     static double orbit[101][6];
 *     af_potential parts[2];
 *     af_potential_sum galaxy;
 *     parts[0] = af_potential_miyamoto_nagai(6.8e10, 3.0, 0.28);
 *     parts[1] = af_potential_nfw(8.0e11, 16.0);
 *     galaxy.parts = parts;
 *     galaxy.count = 2;
 *     af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_potential(&galaxy), start,
 *                        0.01, 10, 101, orbit[0]); // 1 Gyr, a row every 10 Myr, steps of 1 Myr
 *     ```
 *
 *     af_galaxy_create makes the Galaxies of Dehnen & Binney (1998, model 1) and Piffl et al.
 *     (2014), or another one of discs and spheroids, by multipoles. Take short steps (0.1 Myr)
 *     across their thin gas discs. af_sky.h turns observed stars into Galactocentric ones and back.
 *
 *     Where an axisymmetric potential is known, actions, angles and frequencies come from it: by
 *     the Staeckel fudge (af_fudge_actions), approximately and fast, or from the orbit itself
 *     (af_orbit_actions), accurately, with an error estimate, which takes very much longer;
 *     af_orbit_actions_of does many orbits on all threads. Orbits are followed in steps of their
 *     own choice, so that the thin discs of the two galaxies cost little. af_field_table makes any
 *     such field fast: a table, smooth enough for integrators.
 *
 *     af_orbit_point is the way back: the point (x,v) at which af_orbit_actions gives (J,theta), in
 *     any axisymmetric field, as in that of a mass model. It starts from a guess (af_invert's, or
 *     its own) and costs several orbits; AF_ORBIT_UNSETTLED marks points where it did not get
 *     there, mostly near resonances or with small L_z or J_z.
 *
 *     Chaos. af_orbit_chaos follows an orbit in any static force with an infinitesimal
 *     displacement, and gives MEGNO (about 2 on regular orbits, growing with time on chaotic ones),
 *     the drift of the leading frequencies between halves, the largest Lyapunov exponent a period,
 *     and one score made of the first two; above 4 the orbit is flagged. Chaos that sets in later
 *     than one looks is not seen. In a field that was fitted (af_mass_model) the orbit is that of
 *     the fit: where it comes nearer to the centre than any star (`nearest`), or the misfit exceeds
 *     1e-3, chaos may be the field's. `actionfinder judge --chaos 100` does it for streams.
 *
 *     ```c
 *     const double xv[6] = {8.0, 0.0, 0.1, 10.0, 230.0, 5.0};
 *     double j[3], theta[3], omega[3], error[3];
 *     unsigned flags;
 *     af_potential halo = af_potential_nfw(1.2e12, 20.0);
 *     af_potential_sum sum;
 *     af_fudge fudge = {0};
 *     sum.parts = &halo;
 *     sum.count = 1;
 *     fudge.field = af_field_of_potential(&sum);
 *     flags = af_fudge_actions(&fudge, xv, j, theta, omega);
 *     if (af_orbit_actions(context, &fudge.field, xv, NULL, j, theta, omega, error, &flags))
 *         return; // af_error(context) says why
 *     ```
 *
 * GPU
 *
 *     A context's backend runs what is compiled in it: fits, evaluators, functions of one's own.
 *     af_cuda.cu, compiled by nvcc (CUDA 12 or newer, with its cuBLAS) and linked, has one for
 *     NVIDIA's devices. af_backend_cuda() is NULL where there is none, and NULL is the CPU, so that
 *     the lines below ask for a GPU if there is one; af_error_cuda() says why there is not.
 *
 *     ```c
 *     af_context_desc desc = {0};
 *     #ifdef AF_CUDA
 *     desc.backend = af_backend_cuda();
 *     #endif
 *     if (af_context_create(&desc, &context) != AF_OK) return;
 *     ```
 *
 *     Programs, numbers and files are the same as on the CPU, up to rounding; random numbers are
 *     the same to the bit. Inputs and outputs cross to the device and back at each run, unless they
 *     are in device or managed memory. A training with more than 65536 parameters keeps them, the
 *     gradient and the moments there, in double precision even where the loss is in single, and
 *     makes its steps there; batches are not cut into pieces. The device is the one that is the
 *     thread's (cudaSetDevice) when a workspace is made, and the thread's own stays what it is;
 *     several devices, or machines, train together by af_trainer_desc.allreduce,
 *     see examples/nccl_train.c and mpi_train.c. One star at a time is faster on the CPU: load the
 *     model in a context without backend. A device that fails ends a fit with AF_ERROR_BACKEND and
 *     its sentence; an evaluator without a status gives NaN, and af_error_cuda() says why. Tools
 *     built by `make CUDA=1` take --device cuda.
 *
 * ERRORS
 *
 *     What can fail returns an af_status. The sentence, with names, numbers and what to do, is
 *     af_error(context). The FIRST error is kept until af_error_clear, and nothing is compiled in a
 *     context that holds one: clear it to go on after a failure. *out is NULL when a create or read
 *     function fails, destroy functions take NULL. AF_STOPPED is not an error. The library never
 *     prints, exits or aborts. Pointers to objects are not checked for NULL.
 *
 * MEMORY
 *
 *     af_thing_create and af_thing_read make an object, af_thing_destroy frees it with all that
 *     belongs to it; pointers got from an object belong to it. Objects made with another one are
 *     destroyed before it: evaluator, finder, orbits, then context. Descs, strings and data are
 *     copied, unless the declaration says that they must stay. Expressions live as long as their
 *     context; each fit and each evaluator adds some, so a program that makes thousands gives each
 *     its own context.
 *
 *     af_context_desc.allocator replaces malloc and free, for everything. Sizes are checked; when
 *     memory ends the call fails with AF_ERROR_MEMORY and nothing is lost that was there before.
 *     af_run, af_trainer_step, af_evaluate, the isochrone, potentials and orbits allocate nothing.
 *
 * THREADS
 *
 *     With OpenMP the library uses the threads OpenMP would, or af_context_desc.threads. Inside
 *     threads of your own give 1 to af_workspace_create and af_evaluator_create.
 *
 *     One thread at a time for a context and for all that uses it to build or to report: creating,
 *     compiling, reading, writing, training. Different contexts are independent. An af_func, a
 *     trained af_finder and af_orbits may be shared for reading; each thread has its own
 *     af_workspace or af_evaluator. The functions of dynamics and of random numbers have no state
 *     at all.
 *
 * DETERMINISM
 *
 *     The same program on the same machine gives the same bits for any number of threads: work is
 *     cut by the problem, not by the threads, and partial sums are added in a fixed order. Random
 *     numbers are a function of (seed, stream, index), and no seed comes from a clock. A training
 *     resumed from a checkpoint gives the bits of one that was never interrupted, unless a time
 *     limit (af_fit_desc.fraction) answers otherwise. Another compiler, a processor with another
 *     instruction set (af_backend_cpu_set), a GPU, pieces of another size or AF_CBLAS give
 *     other roundings; with AF_CBLAS the rest is that library's promise. On one kind of GPU a run
 *     gives the same bits each time: nothing is added by atomic operations.
 *
 * FILES
 *
 *     Models and checkpoints are safetensors files: `safetensors.numpy.load_file` opens them in
 *     Python. Arrays: NPY (numpy.save). Tables: CSV and ECSV with a header. Readers check every
 *     length, and their sentences name the file and the line. Writers write another file beside,
 *     and rename it when it is complete: what was there before is never half overwritten.
 *
 * LIMITS
 *
 *     - Stars of a stream must be on one orbit: a mistake in membership, or errors of distance and
 *       velocity, are taken for physics: the fit has no error model.
 *     - Every star must be bound in the toy. One star near escape makes the toy heavy for all:
 *       leave it out.
 *     - Resonantly trapped and chaotic orbits have no actions that this map could find. Their
 *       weight is reduced; the numbers they get mean little.
 *     - Triaxial potentials: box orbits do not have the topology of the toy and are not covered;
 *       tubes need axisymmetric = AF_SYMMETRY_NO and are little tested. No rotating frames, no
 *       bars.
 *     - Actions far from those of the training streams are extrapolated; af_quality warns of it.
 *     - A mass model, and longer orbits in it, want data whose energies agree to a thousandth; with
 *       errors of some km/s it is still a better field than the toy's, but only that.
 *     - A Fourier G takes ten microseconds a star; what asks for a million a second is a map of
 *       shears, or the fudge.
 *     - The GPU backend has never run on a GPU yet: its kernels are tested on the host, beside the
 *       CPU's, and nvcc compiles them for sm_75, 80 and 90. How fast it is is not known. Fused runs
 *       are interpreted, one kernel each; products go to cuBLAS without epilogues.
 *       Levenberg-Marquardt and L-BFGS solve on the CPU. Host
 *       and device must be able to use managed memory at once: Linux, not Windows.
 *     - Levenberg-Marquardt holds a matrix of parameters x parameters, and solves it at each step:
 *       some thousand parameters are its limit.
 *     - A Koopman model covers one family of orbits around one centre, such as libration in a well:
 *       no separatrix may lie between its orbits. Noise in the samples biases small actions.
 *     - In double precision without AVX2 some elementary functions are slower than libm's, which
 *       are less regular but not vectors.
 *     - Arrays have at most six axes, whole numbers in them at most 2^53.
 *
 * WHERE TO READ MORE
 *
 *     The examples, one file an idea, and the test of each part.
 *     Ibata, Diakogiannis, Famaey & Monari 2021, ApJ 915, 5 (arXiv:2012.05250): ActionFinder; the
 *         numbers of equations are this paper's. (Eq. 4 has J_r misprinted, see af_isochrone.h.)
 *     Binney & Tremaine 2008, Galactic Dynamics, 2nd edition: actions, angles, isochrone (3.5).
 *     McGill & Binney 1990, MNRAS 244, 634, and Sanders & Binney 2014, MNRAS 441, 3284: generating
 *         functions from a toy, by fitting orbits in a known potential.
 *     Sanders & Binney 2016, MNRAS 457, 2107: methods to compute actions, compared.
 *     Jin, Zhang, Zhu, Tang & Karniadakis 2020, Neural Networks 132, 166: symplectic maps from
 *         shears.
 *     Lusch, Kutz & Brunton 2018, Nature Communications 9, 4950: Koopman autoencoders.
 *     Nocedal & Wright 2006, Numerical Optimization, 2nd edition: the minimisers.
 *     Griewank & Walther 2008, Evaluating Derivatives: differentiation of programs. */
#ifndef ACTIONFINDER_H
#define ACTIONFINDER_H

/* base: visibility, status, context; random numbers */
#include "base/af_base.h"
#include "base/af_rng.h"
/* expr: expressions, their derivatives, compiled functions */
#include "expr/af_expr.h"
#include "expr/af_diff.h"
#include "expr/af_program.h"
#include "expr/af_func.h"
/* learn: files, parameters, networks, optimisers, training */
#include "learn/af_tensors.h"
#include "learn/af_npy.h"
#include "learn/af_table.h"
#include "learn/af_param.h"
#include "learn/af_net.h"
#include "learn/af_adam.h"
#include "learn/af_train.h"
#include "learn/af_minimise.h"
#include "learn/af_shear.h"
/* dyn: units, potentials, orbits, actions in the isochrone and in known potentials */
#include "dyn/af_units.h"
#include "dyn/af_potential.h"
#include "dyn/af_orbit.h"
#include "dyn/af_isochrone.h"
#include "dyn/af_sky.h"
#include "dyn/af_fudge.h"
#include "dyn/af_orbit_actions.h"
#include "dyn/af_orbit_point.h"
#include "dyn/af_chaos.h"
#include "dyn/af_multipole.h"
#include "dyn/af_galaxy.h"
#include "dyn/af_field_table.h"
/* action: ActionFinder */
#include "action/af_orbits.h"
#include "action/af_observed.h"
#include "action/af_toy.h"
#include "action/af_generator.h"
#include "action/af_finder.h"
#include "action/af_mass_model.h"
#include "action/af_extend.h"
#include "action/af_frequency.h"
#include "action/af_inverse.h"
#include "action/af_quality.h"
#include "action/af_ensemble.h"
#include "action/af_accel.h"
#include "action/af_trajectory.h"
#include "action/af_koopman.h"

#endif /* ACTIONFINDER_H */

#if defined(ACTIONFINDER_IMPLEMENTATION) && !defined(ACTIONFINDER_IMPLEMENTATION_DONE)
#define ACTIONFINDER_IMPLEMENTATION_DONE

/* base: context, stb_ds, arenas, random numbers, parallel loops */
#include "base/af_base.c"
#include "base/af_stb.c"
#include "base/af_arena.c"
#include "base/af_rng.c"
#include "base/af_par.c"
/* expr: graph, derivatives, compiler, CPU backend */
#include "expr/af_expr.c"
#include "expr/af_diff.c"
#include "expr/af_program.c"
#include "expr/af_plan.c"
#include "expr/af_merge.c"
#include "expr/af_func.c"
#include "expr/af_kernels.c"
/* its kernels: this file includes itself for each instruction set and precision, see its end */
#define AF__ISA AF__ISA_PLAIN
#include "actionfinder.in.h"
#undef AF__ISA
#ifdef AF__HAVE_AVX
#define AF__ISA AF__ISA_AVX2
#include "actionfinder.in.h"
#undef AF__ISA
#define AF__ISA AF__ISA_AVX512
#include "actionfinder.in.h"
#undef AF__ISA
#endif
#include "expr/af_cpu.c"
/* learn: files, parameters, networks, optimisers, training */
#include "learn/af_number.c"
#include "learn/af_file.c"
#include "learn/af_tensors.c"
#include "learn/af_npy.c"
#include "learn/af_table.c"
#include "learn/af_param.c"
#include "learn/af_net.c"
#include "learn/af_update.c"
#include "learn/af_adam.c"
#include "learn/af_batch.c"
#include "learn/af_train.c"
#include "learn/af_cholesky.c"
#include "learn/af_lbfgs.c"
#include "learn/af_jacobian.c"
#include "learn/af_minimise.c"
#include "learn/af_shear.c"
/* dyn */
#include "dyn/af_units.c"
#include "dyn/af_potential.c"
#include "dyn/af_orbit.c"
#include "dyn/af_isochrone.c"
#include "dyn/af_sky.c"
#include "dyn/af_fudge.c"
#include "dyn/af_follow.c"
#include "dyn/af_orbit_actions.c"
#include "dyn/af_orbit_point.c"
#include "dyn/af_chaos.c"
#include "dyn/af_multipole.c"
#include "dyn/af_galaxy.c"
#include "dyn/af_field_table.c"
/* action: orbits, toy, generating function, evaluation, training, model files */
#include "action/af_orbits.c"
#include "action/af_observed.c"
#include "action/af_observed_read.c"
#include "action/af_observed_fill.c"
#include "action/af_toy.c"
#include "action/af_generator.c"
#include "action/af_hamiltonian.c"
#include "action/af_finder.c"
#include "action/af_fast.c"
#include "action/af_fast_solve.c"
#include "action/af_evaluate.c"
#include "action/af_fit.c"
#include "action/af_finder_expr.c"
#include "action/af_model.c"
#include "action/af_inverse.c"
#include "action/af_inverse_net.c"
#include "action/af_inverse_fit.c"
#include "action/af_quality.c"
#include "action/af_ensemble.c"
#include "action/af_accel.c"
#include "action/af_mass_model.c"
#include "action/af_extend.c"
#include "action/af_frequency.c"
#include "action/af_mapper.c"
#include "action/af_accel_fit.c"
#include "action/af_accel_linear.c"
#include "action/af_known.c"
#include "action/af_trajectory.c"
#include "action/af_koopman.c"
#include "action/af_koopman_fit.c"
#include "action/af_koopman_evaluate.c"

#include "base/af_stb_end.c" /* keep last */

#endif /* ACTIONFINDER_IMPLEMENTATION */

/* The kernels of the CPU backend, when this file includes itself. */
#if defined(AF__ISA) && !defined(AF__BITS)
#  ifdef __clang__
#    if AF__ISA == AF__ISA_AVX512
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma"))), apply_to = function)
#    elif AF__ISA == AF__ISA_AVX2
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#    endif
#  else
#pragma GCC push_options
#    if AF__ISA == AF__ISA_AVX512
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,fma")
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion" /* without optimisation intrinsics are macros */
#    elif AF__ISA == AF__ISA_AVX2
#pragma GCC target("avx2,fma")
#    endif
#  endif
#  define AF__BITS 64
#include "actionfinder.in.h"
#  undef AF__BITS
#  define AF__BITS 32
#include "actionfinder.in.h"
#  undef AF__BITS
#  ifndef __clang__
#    if AF__ISA == AF__ISA_AVX512
#pragma GCC diagnostic pop
#    endif
#pragma GCC pop_options
#  elif AF__ISA != AF__ISA_PLAIN
#pragma clang attribute pop
#  endif
#elif defined(AF__ISA)
#include "expr/af_vector.inc.c"
#include "expr/af_elementary.inc.c"
#include "expr/af_tile.inc.c"
#include "expr/af_reduce.inc.c"
#include "expr/af_matmul.inc.c"
#include "expr/af_optimise.inc.c"
#include "expr/af_set.inc.c"
#include "expr/af_vector_end.inc.c"
#endif
