/* ---- ActionFinder: the inverse ------------------------------------------------------------------
 *
 * From (theta'',J'') of a finder back to (x,v): by undoing its map step by step, to rounding
 * (af_inverter), or by a network that has learned to (af_inverse), which is what section 5 of the
 * paper does. A finder's map can be undone because it is canonical: the network is not needed for
 * accuracy, only for speed, and to compare with the paper. */

/* ---- exact ---- */

/* Undoes toy, generating function and point transformation. theta = theta' - dG/dJ'(theta,J') is
 * solved by Newton's method, where that fails with the amplitude of G going from 0 to 1; J = J' +
 * dG/dtheta needs no solving. Shears are undone layer by layer. */
typedef struct af_inverter af_inverter;

/* An inverter of a finder that must outlive it, for `block` stars at a time; compiles and
 * allocates, af_invert does not. One for each thread; `threads` as in af_workspace_create. It uses
 * the finder's context. AF_ERROR_ARGUMENT when block is 0, AF_ERROR_MEMORY; *out is NULL then.
 * Destroying NULL is fine. */
AF_API af_status af_inverter_create(const af_finder *f, size_t block, int threads,
                                    af_inverter **out);
AF_API void af_inverter_destroy(af_inverter *i);

/* j [km/s kpc], theta [rad, any number of turns] (n,3) -> xv (n,6) [kpc, km/s]. It is the inverse
 * of af_evaluate with one star a stream; where the stars of a stream shared one J', that one, the
 * same for all of them, goes with their angles. flags (n), or NULL:
 *   AF_ORBIT_INVALID     J_z < 0 or J_r < 0 (by more than 1e-10 of a typical action), a number that
 *                        is not finite, or an orbit that the toy has not got; so too where the map
 *                        itself had given J_z < 0, as those of a point transformation and of shears
 *                        in the chart of halo orbits can for orbits near the plane
 *   AF_STAR_UNCONVERGED  no theta was found: the map folds there, as it may far from the training
 *                        data
 *   the others of AF_ORBIT_ tell what orbit it is in the toy, such as AF_ORBIT_PLANAR.
 * Stars with one of the first two fail: NaN. Returns how many. xv overlaps neither j nor theta.
 * Where the map has folded two stars may have the same (theta'',J''): one of them is found. */
AF_API size_t af_invert(af_inverter *i, size_t n, const double *j, const double *theta, double *xv,
                        unsigned *flags);

/* ---- learned: eq. 18 ---- */

/* A network gives the toy's (theta,J) from (theta'',J''), and the toy its (x,v), as in the paper;
 * not the toy's coordinates themselves, but what is to be added to (theta'',J''), so that it begins
 * as the toy. Inputs: cosines and sines of the angles, and the logarithm of the orbit's size, the
 * roots of J_r and J_z over it and the inclination, whitened. Where the finder is axisymmetric
 * theta_phi is no input and J_phi = L_z stays; both senses of rotation are one. It is right where
 * it was trained, and not exactly canonical. */

/* Zero means default for every field. */
typedef struct af_inverse_desc {
    uint32_t start_canary;
    af_net_desc net;  /* inputs and outputs are set here; default: MLP 3 x 64 SiLU. The paper's:
                         architecture RESDENSE, depth 11 (23 blocks), weight_norm 1, dropout 0.5 */
    size_t harmonics; /* multiples of each angle among the inputs; default 4, 1 in the paper */
    uint64_t seed;    /* of the first parameters, the draws and the order of the stars */
    uint32_t end_canary;
} af_inverse_desc;

typedef struct af_inverse af_inverse;

/* A network for this finder, whitened on these orbits; neither is kept, the context must outlive
 * it. desc NULL: all defaults. AF_ERROR_ARGUMENT for a desc that is not zeroed or
 * out of range, AF_ERROR_DATA when the finder has actions for none of the stars, AF_ERROR_MEMORY;
 * *out is NULL then. Destroy its evaluators first; NULL is fine. */
AF_API af_status af_inverse_create(const af_finder *f, const af_orbits *orbits,
                                   const af_inverse_desc *desc, af_inverse **out);
AF_API void af_inverse_destroy(af_inverse *i);

/* Zero means default for every field. */
typedef struct af_inverse_fit_desc {
    uint32_t start_canary;
    size_t train;  /* the first `train` streams are trained on, the others validate; default 7/8 */
    size_t draws;  /* more training stars, made by the exact inverse: the actions of the training
                      stars with random angles. Default 0, as in the paper; at most 2^24. More
                      draws than stars keep the network from learning the stars by heart */
    size_t epochs; /* default 500 */
    size_t batch;  /* stars a step; default 256 */
    size_t validate_every;  /* epochs; default 5 */
    af_adam_desc adam;      /* clip 0 means 10 here */
    af_schedule schedule;   /* rate 0 means 3e-3 here */
    double average;         /* as in af_trainer_desc; default 0.99; negative: none */
    double (*fraction)(size_t epoch, void *user); /* as in af_train_desc */
    int (*progress)(const af_progress *progress, void *user);
    void *user;
    uint32_t end_canary;
} af_inverse_fit_desc;

/* Trains on what the finder makes of the stars, one by one, those that it has an answer for. The
 * loss is the mean over the stars of sqrt(1e-4 + dx^2/X^2 + dv^2/V^2), errors of (x,v) as they
 * follow from those of (theta,J) to first order, X and V the rms distance and speed. Keeps the best
 * validation. desc NULL: all defaults. `f` is the finder that it was created for. AF_ERROR_ARGUMENT
 * for a desc that is not zeroed, too many draws or a finder with another toy; AF_ERROR_DATA when
 * there are no stars to train or validate on; AF_ERROR_NONFINITE, AF_ERROR_MEMORY; AF_STOPPED. Make
 * evaluators afterwards. */
AF_API af_status af_inverse_fit(af_inverse *i, const af_finder *f, const af_orbits *orbits,
                                const af_inverse_fit_desc *desc);

AF_API size_t af_inverse_parameters(const af_inverse *i);

/* One safetensors file; it needs no finder. Fail as af_finder_save and af_finder_load do. */
AF_API af_status af_inverse_save(const af_inverse *i, const char *path);
AF_API af_status af_inverse_load(af_context *c, const char *path, af_inverse **out);

/* Evaluates `block` stars at a time; one for each thread; threads as in af_workspace_create.
 * AF_ERROR_ARGUMENT when block is 0, AF_ERROR_MEMORY; *out is NULL then. */
typedef struct af_inverse_evaluator af_inverse_evaluator;
AF_API af_status af_inverse_evaluator_create(const af_inverse *i, size_t block, int threads,
                                             af_inverse_evaluator **out);
AF_API void af_inverse_evaluator_destroy(af_inverse_evaluator *e);

/* As af_invert, without AF_STAR_UNCONVERGED: j, theta (n,3) -> xv (n,6), flags (n) or NULL; returns
 * how many failed (J_z < 0, J_r < 0, not finite). Where the network leads to negative J_z or J_r
 * these are 0. Allocates nothing. */
AF_API size_t af_inverse_evaluate(af_inverse_evaluator *e, size_t n, const double *j,
                                  const double *theta, double *xv, unsigned *flags);
