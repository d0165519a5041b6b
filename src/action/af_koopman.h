/* ---- the Koopman symplectic autoencoder --------------------------------------------------------
 *
 * Learns actions, angles, frequencies and a Hamiltonian from trajectories alone, after "Learning
 * action-angle coordinates with a Koopman-inspired symplectic autoencoder". The encoder Psi is a
 * symplectic map (af_shear.h), the decoder its inverse; in between every pair
 *
 *     psi_j = u_j + i v_j = sqrt(2 J_j) exp(i theta_j)
 *
 * turns at the rate Omega_j(J), so that x(t) = Psi^-1(R(Omega t) Psi(x(0))). The area inside an
 * orbit is kept by the encoder, so that the action has no freedom of scale: where psi turns
 * uniformly on circles, J is the action itself, and dH/dJ = Omega.
 *
 * v = q and u = p in the canonical sense, and theta grows with time where Omega > 0. Trajectories
 * leave open where theta is counted from: a fit ends with counting it from where orbits pass the q
 * of the equilibrium with larger p (upwards), F(J) making theta - dF/dJ of it, which is canonical.
 * Units are those of the data: J in those of q p, Omega in radians per unit of time. */

typedef enum af_relation {
    AF_RELATION_TIED = 0, /* one network H(J), and Omega = dH/dJ by construction */
    AF_RELATION_LOSS      /* two networks, and dH/dJ - Omega in the loss, as in the paper */
} af_relation;

/* Zero means default for every field. */
typedef struct af_koopman_desc {
    uint32_t start_canary;
    int asymmetric;         /* 0: the system does not change under (q,p) -> (-q,-p), and the map
                               neither; 1: nothing is known, and the map has a shift and offsets */
    size_t layers;          /* shears of the encoder; default 8 */
    size_t width;           /* ridge functions of each; default 6 */
    af_ridge ridge;
    af_relation relation;
    size_t frequency_width; /* ridge functions of H (tied), width of the two networks; default 6,
                               32 */
    uint64_t seed;          /* of the initial parameters */
    uint32_t end_canary;
} af_koopman_desc;

typedef struct af_koopman af_koopman;

/* A model for trajectories like these: units, the first stretch and the first frequencies come from
 * them. The trajectories are not kept. desc may be NULL. AF_ERROR_ARGUMENT, AF_ERROR_DATA where all
 * samples are alike, AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_koopman_create(af_context *c, const af_trajectories *t,
                                   const af_koopman_desc *desc, af_koopman **out);
AF_API void af_koopman_destroy(af_koopman *k);

/* A model file is a safetensors file. AF_ERROR_IO, AF_ERROR_FORMAT, AF_ERROR_MEMORY. */
AF_API af_status af_koopman_save(const af_koopman *k, const char *path);
AF_API af_status af_koopman_load(af_context *c, const char *path, af_koopman **out);

AF_API size_t af_koopman_freedoms(const af_koopman *k);
AF_API af_params *af_koopman_params(af_koopman *k);
AF_API const af_koopman_desc *af_koopman_settings(const af_koopman *k); /* defaults filled in */

/* What is minimised: the sum of squares of residuals of these kinds, each kind with its weight (of
 * the residuals, not of their squares) and divided by the root of the number of samples. Lengths
 * are in units of the data's size. All zero means phase = 1. */
typedef struct af_koopman_weights {
    double phase;          /* psi of each sample, turned back by Omega(mean J) t, less its mean over
                              the orbit: angle and action at once, no decoder */
    double action;         /* J less its mean over the orbit */
    double one_step;       /* the decoded state of a sample, predicted from the one before */
    double rollout;        /* the same from the first of the orbit */
    double reconstruction; /* decoded from its own psi: zero but for rounding in any model */
    double relation;       /* dH/dJ - Omega, with AF_RELATION_LOSS; default then: 1 */
} af_koopman_weights;

typedef enum af_koopman_method {
    AF_KOOPMAN_LM = 0, /* Levenberg-Marquardt */
    AF_KOOPMAN_LBFGS,
    AF_KOOPMAN_ADAM    /* far less exact here; to compare */
} af_koopman_method;

typedef struct af_koopman_progress {
    size_t step, steps;
    size_t cuts;        /* pieces into which each orbit is cut at this step */
    double loss;        /* half the sum of squares */
    double damping;     /* Levenberg-Marquardt */
} af_koopman_progress;

typedef struct af_koopman_fit_desc {
    uint32_t start_canary;
    af_koopman_method method;
    af_koopman_weights weights;
    size_t steps;       /* default 400 (LM), 2000 (L-BFGS), 10000 (Adam) */
    size_t stage_steps; /* steps with orbits cut into 8, then 4, then 2 pieces, so that angles that
                           are a turn off do not catch the fit; default 15 (LM), 5 % of steps */
    int no_stages;      /* 1: whole orbits from the beginning */
    double tolerance;   /* as in af_minimise_desc */
    af_robust robust;   /* LM, L-BFGS: how samples that fit badly count */
    double robust_scale;/* in units of the data's size; default 0.01 */
    af_schedule schedule; /* Adam: rate 0 means 3e-3 here */
    int (*progress)(const af_koopman_progress *progress, void *user); /* non-zero stops */
    void *user;
    uint32_t end_canary;
} af_koopman_fit_desc;

/* Trains, going on from what the model has learned. desc may be NULL. AF_STOPPED when progress
 * asked for it: what was learned stays. AF_ERROR_ARGUMENT, AF_ERROR_NONFINITE, AF_ERROR_MEMORY. */
AF_API af_status af_koopman_fit(af_koopman *k, const af_trajectories *t,
                                const af_koopman_fit_desc *desc);

/* Evaluates a trained model, `block` points at a time. Make it after training; one for each
 * thread. AF_ERROR_MEMORY; *out is NULL then. */
typedef struct af_koopman_evaluator af_koopman_evaluator;
AF_API af_status af_koopman_evaluator_create(const af_koopman *k, size_t block,
                                             af_koopman_evaluator **out);
AF_API void af_koopman_evaluator_destroy(af_koopman_evaluator *e);

/* Of `count` points qp (count, 2n): actions j, angles theta in [0, 2 pi), frequencies omega, each
 * (count, n), and the energy H(J) (count), whose zero is at J = 0. Any may be NULL. Nothing is
 * allocated; no failure: what is not finite gives NaN. */
AF_API void af_koopman_encode(af_koopman_evaluator *e, size_t count, const double *qp, double *j,
                              double *theta, double *omega, double *energy);

/* The way back: qp (count, 2n) of j and theta (count, n). j < 0 gives NaN. */
AF_API void af_koopman_decode(af_koopman_evaluator *e, size_t count, const double *j,
                              const double *theta, double *qp);

/* Frequencies (count, n) and energy (count) of actions j (count, n); either may be NULL. */
AF_API void af_koopman_frequencies(af_koopman_evaluator *e, size_t count, const double *j,
                                   double *omega, double *energy);

/* An orbit from the action-angle point j, theta (n): qp (count, 2n) at the times time (count). */
AF_API void af_koopman_rollout(af_koopman_evaluator *e, const double *j, const double *theta,
                               size_t count, const double *time, double *qp);
