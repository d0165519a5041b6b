/* ---- end to end: a potential by differentiating through orbits and actions ----------------------
 *
 * The chain of Tenachi, Ibata & Diakogiannis (2023, An end-to-end strategy for recovering a
 * free-form potential from a snapshot of stellar coordinates), step by step, as one expression that
 * is differentiated whole:
 *
 *     A  stars are followed in a trial potential, a network of the radius
 *     B  a map takes the places along their orbits to actions: the isochrone's, whose GM and b are
 *        learned with all the rest
 *     C  the density of actions is a mixture of normal distributions of (ln J_r, ln L), begun by
 *        expectation and maximisation, then learned by gradient with all the rest; or a spline flow
 *     D  new orbits are drawn from it,  E  angles are drawn,  F  the inverse map places them
 *     G  a kernel makes a smooth density in phase space of them,
 *     H  under which the stars, at the beginning and at the end of their orbits, are made likely,
 *     I  by the gradient with respect to network, map and mixture.
 *
 * What ties the network. Orbits in a potential keep volumes in phase space (Liouville), so that the
 * moved stars have the entropy of those observed, and their mean -ln f is that plus the distance
 * of their density from f. It is least where f is the stars' density and the trial potential leaves
 * it as it is: "the potential that stabilises" them. The network is told neither GM nor b nor the
 * form of an isochrone, and is as free as its numbers; only f is made of functions of the
 * isochrone's actions, so that stars of other potentials do not fit. For those: dp_recover.
 *
 * DP_CHAIN_CANONICAL leaves D to G out: the map is canonical, f(x, v) = f(J)/(2 pi)^3. It is what
 * samples and kernel estimate, without their noise and bias: a kernel widens f, and the logarithm
 * of a noisy density is too low.
 *
 * With a trained ActionFinder as B (model). Its map is fixed and canonical, so that stars where
 * they are observed say nothing of the potential any more; what does is that orbits followed in it
 * keep their actions: dJ/dt = v.dJ/dx + a.dJ/dv = 0, linear in the accelerations. That is solved by
 * least squares first, then orbits are followed and all is learned together; departures are those
 * of a map that is not exact, of which a few are large (tie). L = |J_phi| + J_z is the map's, too.
 * The potential is still a function of the radius, and it is as good as the map: the finder should
 * have been trained on orbits such as the stars', in whatever spherical potential it is. */

typedef enum dp_chain_density {
    DP_CHAIN_CANONICAL = 0,
    DP_CHAIN_KERNEL
} dp_chain_density;

typedef struct dp_chain_progress {
    size_t step, steps; /* of L-BFGS */
    double loss;        /* mean of -ln f over stars and places, and the prior of the network */
} dp_chain_progress;

/* Zero means default for every field. */
typedef struct dp_chain_desc {
    uint32_t start_canary;
    dp_chain_density density;
    double centre[6];      /* position and velocity of the centre, in the sample's units */
    uint64_t seed;
    size_t width, depth;   /* of the network; default 16, 1 */
    size_t clumps;         /* of the mixture, 1 to 32; default 4 */
    size_t flow;           /* layers, up to 8, of a spline flow of (ln J_r, ln L) in the mixture's
                              place; default 0: the mixture. 2 are good */
    const af_finder *model; /* a trained ActionFinder as the map, in the same context; NULL: the
                               isochrone. See above. Not kept, and not changed */
    size_t orbit_steps;    /* of Runge-Kutta-Nystroem, for an orbit, 1 to 256; default 12 */
    double turns;          /* how long orbits last at most, in radial periods of a circular orbit of
                              the same L; default 0.25. Longer ones need more steps: their errors
                              bias GM and b */
    size_t samples;        /* KERNEL: orbits drawn; default 4096 */
    double kernel;         /* KERNEL: its standard deviation, in those of the stars' ln r, x.v and
                              ln L; default 0.3 */
    int sharp;             /* KERNEL: 1: the stars are not blurred by a draw from the kernel. They
                              are otherwise, for both sides to be equally smooth; if not, f is made
                              narrower by what the kernel adds */
    double tie;            /* how far J_r in the map may go along an orbit, as a standard deviation
                              in units of the stars' own: an estimator of actions is one only where
                              they stay. Default 0.5; negative: as far as it likes. With a
                              model the same of J_r and of L, departures beyond it counting less
                              and less; default 0.03, a good finder's error on most orbits */
    size_t begin;          /* steps of L-BFGS for map and mixture alone, before any orbit is
                              followed, twice: clumps are looked for again between; default 60 */
    size_t steps;          /* of L-BFGS for all; default 100 */
    int (*progress)(const dp_chain_progress *progress, void *user); /* non-zero: AF_STOPPED */
    void *user;
    uint32_t end_canary;
} dp_chain_desc;

typedef struct dp_chain dp_chain;

typedef struct dp_chain_report {
    size_t stars, steps, parameters;
    size_t left_out;        /* stars that the model has no actions for */
    double untrained, loss; /* before the steps for all, and after */
    double gm, b;           /* of the map [velocity^2 length, length]; with a model its toy's */
    double gm_begun, b_begun; /* before any orbit was followed */
} dp_chain_report;

/* Learns. Of the sample, positions, velocities and weights count. *out is there after AF_OK and
 * AF_STOPPED, else NULL. AF_ERROR_ARGUMENT: a desc that makes no sense, a sample that is cut in
 * space. AF_ERROR_DATA: fewer than 200 stars, all at rest, a star in the centre or not finite; a
 * model with no actions for more than a tenth of them (fewer are left out).
 * AF_ERROR_NONFINITE, AF_ERROR_MEMORY. */
AF_API af_status dp_chain_create(const dp_sample *sample, const dp_chain_desc *desc,
                                 dp_chain **out);
AF_API void dp_chain_destroy(dp_chain *chain); /* NULL is fine */
AF_API dp_chain_report dp_chain_describe(const dp_chain *chain);

/* The network's potential phi (n) and force -d Phi/dr (n) at radii (n) > 0; either may be NULL. The
 * constant of Phi, which no orbit feels, is that for which the mean over the stars is that of the
 * map's isochrone: zero at infinity. With a model it means nothing: compare forces.
 * AF_ERROR_ARGUMENT, AF_ERROR_MEMORY. */
AF_API af_status dp_chain_evaluate(dp_chain *chain, size_t n, const double *radii, double *phi,
                                   double *force);

/* The same of the potential that learning began with. */
AF_API af_status dp_chain_evaluate_untrained(dp_chain *chain, size_t n, const double *radii,
                                             double *phi, double *force);

/* What was learned in one safetensors file, and back. Not the model. AF_ERROR_IO, AF_ERROR_FORMAT,
 * AF_ERROR_MEMORY. */
AF_API af_status dp_chain_save(const dp_chain *chain, const char *path);
AF_API af_status dp_chain_load(af_context *c, const char *path, dp_chain **out);
