/* ---- ActionFinder -------------------------------------------------------------------------------
 *
 * Learns the canonical map (x,v) -> (theta'',J'') from orbits (Ibata et al. 2021, ApJ 915, 5). A
 * toy isochrone gives (theta,J); a generating function G(theta,J') of type 2 changes them:
 *
 *     J = J' + dG/dtheta (eq. 5),   theta' = theta + dG/dJ' (eq. 6)
 *
 * with one J' for each stream, solved for so that it is the mean over the stars of J - dG/dtheta;
 * an optional point transformation theta'' = P(theta') (eqs. 7, 8) follows. What is minimised is
 * the spread of J'' within streams; the potential is never told.
 *
 * J = (J_phi, J_z, J_r) [km/s kpc], theta = (theta_phi, theta_z, theta_r) [rad] in [0, 2 pi), with
 * the zero points and signs of af_isochrone.h: theta_r = 0 at pericentre, theta_z = 0 at the upward
 * crossing of the plane, J_phi = L_z > 0 for counter-clockwise orbits. */

/* How training goes; zero means default. */
typedef struct af_fit_desc {
    uint32_t start_canary;
    size_t train;      /* the first `train` streams are trained on, the others validate; default
                          7/8 of them */
    size_t epochs;     /* passes over the training streams; default 1000, or 4000 steps if more;
                          shears: steps of Levenberg-Marquardt, default 60, all streams in each */
    size_t batch;      /* streams a step; default 256 */
    size_t piece;      /* streams computed at a time, at most (af_trainer_desc, pieces); default
                          32, all of them for a large network */
    size_t validate_every; /* epochs; default: about every 50 steps */
    af_adam_desc adam; /* clip 0 means 10 here */
    af_schedule schedule; /* rate 0 means 3e-3 here */
    double average; /* as in af_trainer_desc; default 0.999; negative: none */
    double (*fraction)(size_t epoch, void *user); /* as in af_train_desc, for a caller's clock: the
                                                     larger of it and epoch/epochs counts */
    int (*progress)(const af_progress *progress, void *user);
    void *user;
    const char *checkpoint; /* file, or NULL: none */
    size_t checkpoint_every;
    int resume;
    uint32_t end_canary;
} af_fit_desc;

typedef struct af_finder af_finder;

/* A finder for these orbits: chooses toy, symmetries and scales, makes the networks; starts as the
 * identity, i.e. the toy. AF_ERROR_DATA when a star is unbound in a given toy (the sentence names
 * it) or the toy cannot be chosen; AF_ERROR_ARGUMENT for a desc that is not zeroed or out of range;
 * AF_ERROR_MEMORY; *out is NULL then. desc NULL: all defaults. The orbits are not kept. */
AF_API af_status af_finder_create(af_context *c, const af_orbits *orbits,
                                  const af_finder_desc *desc, af_finder **out);

/* Frees the finder; destroy its evaluators first. NULL is fine. */
AF_API void af_finder_destroy(af_finder *f);

/* Trains, from where the finder is now; desc NULL: all defaults. Every stream needs two stars, all
 * of them bound in the toy (AF_ERROR_DATA). Keeps the best validation; AF_STOPPED when the progress
 * function asked to stop. Fails as af_train does, too. Make evaluators afterwards. */
AF_API af_status af_finder_fit(af_finder *f, const af_orbits *orbits, const af_fit_desc *desc);

/* One safetensors file: the parameters, and everything else in its metadata. Saving fails as
 * af_tensors_write does; what was there before stays then. Loading fails as af_tensors_read does,
 * with AF_ERROR_FORMAT for a file that is no model; *out is NULL then. A loaded finder gives the
 * same bits as the one that was saved; what only training asks for (hold_actions, seed) is not in
 * the file, and has its default when it is trained further. */
AF_API af_status af_finder_save(const af_finder *f, const char *path);
AF_API af_status af_finder_load(af_context *c, const char *path, af_finder **out);

/* The toy as it is now (a free one changes in training), the numbers that are learned, the
 * harmonics of a Fourier G (0 otherwise), and whether the map leaves J_phi = L_z: an axisymmetric
 * Fourier G without a point transformation does. */
AF_API af_isochrone af_finder_toy(const af_finder *f);
AF_API size_t af_finder_parameters(const af_finder *f);
AF_API size_t af_finder_harmonics(const af_finder *f);
AF_API int af_finder_is_axisymmetric(const af_finder *f);

/* ---- evaluation ---- */

/* A flag beside those of AF_ORBIT_: J' did not settle; the last value is given. */
enum { AF_STAR_UNCONVERGED = 1024 };

/* Evaluates streams of up to `stars` stars. Made once (compiles and allocates); af_evaluate
 * allocates nothing. One evaluator per thread; finder and orbits may be shared. `threads` as in
 * af_workspace_create: 1 for use inside a caller's threads. */
typedef struct af_evaluator af_evaluator;

/* An evaluator of a finder that must outlive it; it computes `block` streams at a time (1 for one
 * star now and then, some hundreds for many). Single stars (stars = 1) in blocks of eight or more
 * go a faster way, but not with AF_GENERATOR_NETWORK: J' is found by other steps, and is the same
 * as far as it is solved for (1e-10 of a typical |J| are lacking at most; a hard star with several
 * solutions may get another one); shears give the same to rounding. It uses the finder's context,
 * so create evaluators one after the other. AF_ERROR_ARGUMENT when stars or block is 0,
 * AF_ERROR_MEMORY; *out is NULL then. Destroying NULL is fine. */
AF_API af_status af_evaluator_create(const af_finder *f, size_t stars, size_t block, int threads,
                                     af_evaluator **out);
AF_API void af_evaluator_destroy(af_evaluator *e);

/* xv (streams, stars, 6) -> j, theta (streams, stars, 3), each NULL if not wanted. The stars of a
 * stream share one J' (solve them one by one with stars = 1). count (streams): valid stars, NULL:
 * all; the others get NaN. flags (streams, stars), or NULL: AF_ORBIT_ and AF_STAR_ bits; stars
 * unbound in the toy get NaN and do not count. Returns the number of stars that failed. */
AF_API size_t af_evaluate(af_evaluator *e, size_t streams, const double *xv, const size_t *count,
                          double *j, double *theta, unsigned *flags);

/* The map as an expression of places and velocities xv (6,n) [kpc, km/s], to be differentiated and
 * put to use in other expressions: j, theta (3,n) [km/s kpc, rad, not reduced to [0, 2 pi)], each
 * NULL if not wanted, of every star alone. All kinds of finder have it. The finder's numbers are an
 * input: list af_params_input of af_finder_params where it is compiled, and feed it
 * af_params_data. Shears are a formula. For a generating function J' is sought by `steps` of
 * Newton's method, 0: 8, 64 at most, from `from` (3,n) [km/s kpc], such as the actions of the same
 * star a little earlier (3 steps do then), or from the toy's (none). No step is taken back, as
 * af_evaluate does with hard stars: these are not told from others, and may differ from what that
 * gives. First derivatives, also by the finder's numbers, are those of the solution, as far as it
 * is one; higher ones are not. Stars unbound in the toy give NaN; for planar and radial orbits the
 * derivatives are not finite. AF_ERROR_SHAPE, AF_ERROR_ARGUMENT, AF_ERROR_MEMORY; both none
 * then. The finder must outlive what is compiled of it. */
AF_API af_status af_finder_expr(const af_finder *f, af_expr xv, af_expr from, size_t steps,
                                af_expr *j, af_expr *theta);
AF_API af_params *af_finder_params(const af_finder *f); /* belong to the finder */

/* The same for orbits as a whole: j and theta (S,N,3), flags (S,N), each NULL if not wanted. Makes
 * an evaluator and frees it, and fails as that does; stars that fail are told by their flags and
 * NaN. */
AF_API af_status af_finder_evaluate(const af_finder *f, const af_orbits *orbits, double *j,
                                    double *theta, unsigned *flags);
