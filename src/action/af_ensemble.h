/* ---- ActionFinder: uncertainties ----------------------------------------------------------------
 *
 * How sure actions and angles are, seen from how far several answers for the same star differ: of
 * finders that were trained alike but for the seed (an ensemble); of one finder whose networks have
 * lost some units (dropout sampling: Gal & Ghahramani 2016, ICML 48, 1050; section 7 of the paper);
 * of the star drawn again from its errors of observation.
 *
 * Only what differs is seen. What all answers share is not: a potential without the symmetry that
 * was supposed, an orbit that no map fits, streams that cover too little of it, and the part of J
 * that the spread within streams leaves free. Finders that differ by their seeds alone agree far
 * better than they are right: take their scatter for how much training leaves to chance, and for
 * which stars are worse than others, not for an interval that holds the truth. Bootstrap samples
 * (af_orbits_bootstrap) make them differ more, and each a little worse. Dropout errs to either
 * side. The mean of several finders is hardly nearer to the truth than one of them: what is wrong
 * in one is wrong in all. An axisymmetric finder's J_phi is L_z, and its error 0 but for draws. */

/* Where answers go: j, theta and their standard deviations (streams, stars, 3), flags (streams,
 * stars); each NULL if not wanted. */
typedef struct af_estimate {
    double *j, *theta;             /* [km/s kpc]; [rad] in [0, 2 pi) */
    double *j_error, *theta_error; /* NaN where fewer than two answers count */
    unsigned *flags;               /* AF_ORBIT_ and AF_STAR_ bits */
} af_estimate;

/* Zero means default for every field. */
typedef struct af_ensemble_desc {
    uint32_t start_canary;
    size_t stars;   /* of a stream, as in af_evaluator_create; default 1: each star on its own */
    size_t block;   /* streams computed at a time; default 256 */
    int threads;    /* as in af_workspace_create */
    size_t dropout; /* answers of each finder, each with other units dropped, the same ones for all
                       stars, so that each answer is a canonical map too; default 0: one, none
                       dropped */
    uint64_t seed;  /* of the dropout */
    int median;     /* 1: the answers' median instead of their mean */
    uint32_t end_canary;
} af_ensemble_desc;

typedef struct af_ensemble af_ensemble;

/* An ensemble of `count` finders, one or more, which are not copied: they must outlive it, and not
 * be trained meanwhile. They may be of any kinds and contexts, but know the same Sun and units.
 * One thread at a time. AF_ERROR_ARGUMENT for no finder, a desc that is not zeroed, or dropout of a
 * finder that was not trained with it (af_net_desc.dropout of an AF_GENERATOR_NETWORK or of the
 * point transformation: AF_RESDENSE with blocks wider than dropout_above); else fails as
 * af_evaluator_create does. *out is NULL then. desc NULL: all defaults. */
AF_API af_status af_ensemble_create(af_context *c, size_t count, af_finder *const *finders,
                                    const af_ensemble_desc *desc, af_ensemble **out);

/* NULL is fine. Destroy it before its finders. */
AF_API void af_ensemble_destroy(af_ensemble *e);

/* Answers for each star: finders, times desc.dropout if that is not 0. */
AF_API size_t af_ensemble_answers(const af_ensemble *e);

/* xv and count as in af_evaluate, with the ensemble's number of stars. j is the mean (or median) of
 * the answers, theta their circular mean (or the median about it), the errors the standard
 * deviation of one answer (n - 1; not that of the mean). Answers of finders in whose toy the star
 * is not bound do not count, nor those that did not settle while others did. A star without any
 * gets NaN. Allocates nothing. Returns the number of stars that failed. */
AF_API size_t af_ensemble_evaluate(af_ensemble *e, size_t streams, const double *xv,
                                   const size_t *count, const af_estimate *out);

/* The same for orbits as a whole, out's arrays (S,N,...) as in af_finder_evaluate: with desc.stars
 * = 1 each star is alone, otherwise desc.stars must be af_orbits_stars (AF_ERROR_SHAPE) and streams
 * share one J'. */
AF_API af_status af_ensemble_orbits(af_ensemble *e, const af_orbits *orbits,
                                    const af_estimate *out);

/* The same for stars as observed, every one complete: j and theta are those of the star as it was
 * observed; the errors are root(a^2 + b^2), a the standard deviation of the ensemble's answers
 * (left out where it has only one), b that of j over `draws` draws of the star from its errors (for
 * the angles, of theta - theta as observed, within [-pi, pi]), good to 1/root(2 draws). Draw k is
 * what af_observed_draws gives for one draw with the seed `seed + k`; the stars of a stream are
 * drawn independently. Draws that are unbound or unsettled do not count, which makes b too small:
 * *lost (may be NULL) is how many there were. Fails like af_observed_draws and af_ensemble_orbits;
 * AF_ERROR_ARGUMENT for fewer than two draws. */
AF_API af_status af_ensemble_observed(af_ensemble *e, const af_observed *observed, size_t draws,
                                      uint64_t seed, const af_estimate *out, size_t *lost);

/* Orbits for a member of an ensemble to be trained on: the first `train` streams drawn from those
 * of `from` with replacement (a bootstrap sample), the others as they are. Rows and numbers of
 * streams begin anew. AF_ERROR_ARGUMENT when `train` is 0 or there are not as many;
 * AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_orbits_bootstrap(af_context *c, const af_orbits *from, size_t train,
                                     uint64_t seed, af_orbits **out);
