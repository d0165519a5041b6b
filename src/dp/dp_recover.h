/* ---- a spherical potential from a snapshot, through actions -------------------------------------
 *
 * The map from (x, v) to angles and actions is canonical, so that f(x, v) = f(J)/(2 pi)^3 for stars
 * whose phases are mixed: the likelihood of a trial potential is that of the actions that the stars
 * have in it. dp_recover maximises it over a free-form potential and a free-form density of (J_r,
 * L) together; the maximum is where actions have the least entropy and angles are most uniform. The
 * density of mass is positive: ln rho is a broken power law plus a layer of tanh units in the
 * radius, and begins heavy enough to bind all stars; ln of the density of actions is a spline. Both
 * have weak priors, against wiggles. Stars of one stream, if they are told, share their actions
 * nearly, which says much more about the potential than as many of the field. Error bars come
 * from the Fisher information, the density of actions being free.
 *
 * The stars must be all there are of their orbits: a cut in radius, that orbits cross, biases the
 * result by more than its error bars. Cut in energy or actions instead. */

typedef struct dp_recover_progress {
    size_t step, steps; /* 0: the start, before any step */
    size_t stars;       /* in use: a part of them first, then all */
    double loss;    /* -sum ln p(J_r, L) - ln prior, divided by the stars' number */
    double gain;    /* of this step, summed over the stars */
    double damping;
} dp_recover_progress;

/* Zero means default for every field. */
typedef struct dp_recover_desc {
    uint32_t start_canary;
    double centre[6];        /* position and velocity of the centre, in the sample's units */
    size_t units;            /* of the potential; default 24 */
    size_t bins;             /* of the density of actions, along J_r and along L; default 12 */
    const uint32_t *streams; /* of each star of the sample (n): its stream, 1 to 32 without gaps, 0
                                for none; NULL: all are of the field. Not kept */
    const af_potential *parts; /* of dp_recover_axisymmetric alone, as the next two: where a sum of
                                  analytic parts begins, which units and streams are not for */
    size_t part_count;
    const unsigned *fixed;     /* of each part, what is not learned: DP_FIX_MASS | ...; NULL: all
                                  is. None of the three is kept */
    size_t steps;            /* at most; default 200 */
    double tolerance;        /* ends when two steps each gain less ln likelihood; default 0.05:
                                one standard error is 0.5 */
    int ignore_volume;       /* 1: takes stars that were cut in space, see above */
    double (*clock)(void *user);
    double seconds;          /* on that clock; the best potential so far is the result then */
    int (*progress)(const dp_recover_progress *progress, void *user); /* non-zero: AF_STOPPED */
    void *user;
    uint32_t end_canary;
} dp_recover_desc;

typedef struct dp_recovered dp_recovered;

/* What was found. Radii in the units of the sample. */
typedef struct dp_recover_report {
    size_t stars, steps, rejected; /* trial steps that were, also for stars not bound */
    size_t parameters;
    double untrained, loss;        /* dp_recover_progress.loss at the start, with the best density
                                      of its actions, and at the end */
    double inner, outer;           /* radii that hold 1 and 99 % of the stars: coverage */
    double constant;               /* to add to `phi`: zero at infinity then, if the extrapolation
                                      beyond the last star holds. It is not observable */
    int converged;                 /* 0: steps or seconds ran out */
} dp_recover_report;

/* Recovers. Of the sample, positions, velocities and weights (numbers of stars) count. *out is
 * there after AF_OK and AF_STOPPED, else NULL. AF_ERROR_ARGUMENT: a desc that makes no sense, a
 * sample with a volume. AF_ERROR_DATA: fewer than 200 stars, all on one radius, all at rest, a star
 * in the centre, or one that takes a hundred times the mass that the others ask for to be bound.
 * AF_ERROR_NONFINITE, AF_ERROR_MEMORY. */
AF_API af_status dp_recover(const dp_sample *sample, const dp_recover_desc *desc,
                            dp_recovered **out);
AF_API void dp_recovered_destroy(dp_recovered *r); /* NULL is fine */
AF_API dp_recover_report dp_recovered_report(const dp_recovered *r);

/* The potential at one radius, each with its standard error. With kpc and km/s: (km/s)^2,
 * (km/s)^2/kpc and Msun/kpc^3. */
typedef struct dp_radial {
    double phi, phi_error;         /* less its mean over the stars between inner and outer */
    double force, force_error;     /* -d Phi/dr */
    double density, density_error; /* of mass; positive */
} dp_radial;

/* out (n) at radii (n) > 0. Beyond twenty times the largest radius of a star there is no mass.
 * AF_ERROR_ARGUMENT names a radius that is not above zero and finite. */
AF_API af_status dp_recovered_evaluate(const dp_recovered *r, size_t n, const double *radii,
                                       dp_radial *out);

/* The same of the potential that the fit began with, to compare: a broken power law that binds all
 * stars. Its errors are zero. */
AF_API af_status dp_recovered_untrained(const dp_recovered *r, size_t n, const double *radii,
                                        dp_radial *out);

/* Actions J_r and L (n,2) of stars eta (n,6) in the recovered potential, and, unless NULL,
 * frequencies Omega_r (n). AF_ERROR_DATA names a star that is not bound. */
AF_API af_status dp_recovered_actions(const dp_recovered *r, size_t n, const double *eta,
                                      double *actions, double *omega);

/* Everything in one safetensors file, and back. AF_ERROR_IO, AF_ERROR_FORMAT, AF_ERROR_MEMORY. */
AF_API af_status dp_recovered_save(const dp_recovered *r, const char *path);
AF_API af_status dp_recovered_load(af_context *c, const char *path, dp_recovered **out);
