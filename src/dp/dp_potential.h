/* ---- the potential that keeps a distribution function stationary --------------------------------
 *
 * Finds Phi(x) from points with gradients d ln f/d(x, v), by the collisionless Boltzmann equation
 * (eqs. 7 to 13). With a frame in which f is stationary that moves against the one of the data as
 * u(x) = u0 + Omega z x (x - xc), the residual is
 *
 *     d ln f/dt = (grad Phi + w) . d ln f/dv - (v - u) . d ln f/dx,      w = Omega z x (v - u0)
 *
 * (the paper's eqs. 14, 15 have Omega x u for w, which is right only where f depends on v through
 * |v - u| alone). */

typedef struct dp_potential dp_potential;

typedef enum dp_inputs {
    DP_INPUTS_XYZ = 0,
    DP_INPUTS_RZ,    /* axisymmetric about frame.centre: R and z */
    DP_INPUTS_R,     /* spherical about (frame.centre, 0): r */
    DP_INPUTS_GUIDED /* x, y, z and R beside them, and k R^2/2 with k to learn */
} dp_inputs;         /* radii come in as sqrt(1 + (R/scale)^2), which is smooth on the axis */

typedef struct dp_frame {
    double omega;     /* about the z axis [velocity/length] */
    double centre[2]; /* of the rotation, xc */
    double u[3];      /* u0 */
} dp_frame;

/* Zero means default for every field. */
typedef struct dp_potential_desc {
    uint32_t start_canary;
    dp_inputs inputs;
    size_t width, depth; /* tanh network; default 128 x 3; the paper: 512 x 4 */
    uint64_t seed;
    const af_potential *parts; /* instead of the network: a sum of these, whose masses (speeds),
                                  lengths and heights are fitted, beginning from these values, which
                                  they keep the signs of. Axis ratios are not fitted. Copied */
    size_t part_count;
    const unsigned *fixed; /* part_count bit sets of what is not fitted: DP_FIX_MASS ...; NULL:
                              all are. Copied */
    dp_frame frame;        /* its value, or where it begins */
    unsigned free_frame;   /* DP_FREE_OMEGA | DP_FREE_U | DP_FREE_CENTRE: fitted. A network on x, y,
                              z makes up for the centre by u and a constant force */
    int density_net;       /* 1: what the gradients lack of ln f is a function of x, ln n, which a
                              network learns beside Phi: the residual gains -(v - u) . grad ln n.
                              It is ln of the stars' density if the gradients are those of p(v|x);
                              -ln of the selection if they are those of f as it was selected by
                              place, unknown how (Kalda & Green 2025) */
    uint32_t end_canary;
} dp_potential_desc;

enum { DP_FIX_MASS = 1, DP_FIX_LENGTH = 2, DP_FIX_HEIGHT = 4 };
enum { DP_FREE_OMEGA = 1, DP_FREE_U = 2, DP_FREE_CENTRE = 4 };

/* Points of phase space and the gradients there; arrays are the caller's. */
typedef struct dp_points {
    size_t n;
    const double *eta;      /* (n,6) */
    const double *gradient; /* (n,6) d ln f/d eta */
    const double *ln_f;     /* (n); for DP_LOSS_DF alone */
    const double *weights;  /* (n) or NULL */
} dp_points;

/* Scales come from the points. AF_ERROR_ARGUMENT, AF_ERROR_DATA, AF_ERROR_MEMORY; *out NULL. */
AF_API af_status dp_potential_create(af_context *c, const dp_potential_desc *desc,
                                     const dp_points *points, dp_potential **out);
AF_API void dp_potential_destroy(dp_potential *p);

typedef enum dp_loss {
    DP_LOSS_DLNF = 0, /* d ln f/dt: all regions count alike, no units of f */
    DP_LOSS_DF        /* df/dt, as both papers */
} dp_loss;

/* Zero means default for every field. The loss (eqs. 9 to 13) is
 *
 *     mean[ asinh(alpha |r|)/alpha + lambda asinh(beta max(-Laplacian Phi, 0))/beta ] + l2 mean w^2
 *
 * or, log_loss, ln of the mean, plus l2 mean w^2 (eq. 13). r is d ln f/dt times `time`, or df/dt in
 * units of the median f over `time`; the Laplacian comes in units of 1/time^2. With rounding,
 * sqrt(r^2 + rounding^2) - rounding stands for |r|: least squares where it is beyond most |r|,
 * which a few large ones upset more. w are the elements of all weight matrices together. The
 * weights of the points, their mean being 1, multiply the brackets. With log_loss a batch is
 * computed as a whole, which is slower. */
typedef struct dp_loss_desc {
    uint32_t start_canary;
    dp_loss loss;
    double alpha, beta, lambda; /* default 1; negative lambda: no such term */
    double rounding;            /* default none */
    double l2;
    int log_loss;
    double time;     /* default: the ratio of the medians of |x| and |v| over the points */
    uint32_t end_canary;
} dp_loss_desc;

typedef struct dp_potential_report {
    double loss, validation; /* of the best epoch, the latter on points held out */
    double untrained;        /* validation before the first step */
    double negative;         /* fraction of the points with negative density */
} dp_potential_report;

/* Either desc may be NULL: all defaults (64 epochs of batches of 512, from a rate of 3e-3, clip 1).
 * AF_STOPPED keeps the best parameters. Fails as af_train does, and with AF_ERROR_DATA, naming
 * the point, for numbers that are not finite, and for weights below zero.
 *
 * Parts without a density_net are fitted by L-BFGS to all training points at once in f64: epochs
 * are its steps then (at most; default 200), seconds, progress, seed and validation are heeded, and
 * batch, schedule, plateau, clip and checkpoint mean nothing. |r| is rounded off below 1e-4 there,
 * so that the minimum is a smooth one. */
AF_API af_status dp_potential_fit(dp_potential *p, const dp_points *points,
                                  const dp_loss_desc *loss, const dp_fit_desc *fit,
                                  dp_potential_report *report);

/* At x (n,3): phi (n), acceleration (n,3) = -grad Phi, density (n) = Laplacian/(4 pi G) with
 * AF_GRAVITY; each may be NULL. The constant of a network's Phi is arbitrary: it is set so that the
 * mean over the fitted points is zero. Analytic parts have their own. AF_ERROR_NONFINITE names the
 * first point with a result that is not finite; AF_ERROR_MEMORY. */
AF_API af_status dp_potential_evaluate(dp_potential *p, size_t n, const double *x, double *phi,
                                       double *acceleration, double *density);

/* The residual d ln f/dt (n) at points, with the frame: the map of non-stationarity. */
AF_API af_status dp_potential_residual(dp_potential *p, const dp_points *points, double *dlnf_dt);

/* ln n(x) (n) at x (n,3) of a potential with a density_net, up to a constant: see there. */
AF_API af_status dp_potential_ln_density(dp_potential *p, size_t n, const double *x, double *ln_n);

/* The loss at points as it stands, in f64, e.g. for figure 8's surface. */
AF_API af_status dp_potential_loss(dp_potential *p, const dp_points *points,
                                   const dp_loss_desc *desc, double *loss);

AF_API dp_frame dp_potential_frame(const dp_potential *p);
/* Analytic: the fitted parts (part_count of them); NULL for a network. Setting: same kinds. */
AF_API const af_potential *dp_potential_parts(const dp_potential *p, size_t *count);
AF_API af_status dp_potential_set_parts(dp_potential *p, const af_potential *parts);

AF_API af_status dp_potential_save(const dp_potential *p, const char *path);
AF_API af_status dp_potential_load(af_context *c, const char *path, dp_potential **out);

/* The potential as the force of an N-body code: immutable, thread-safe, allocates nothing when
 * called. phi and acceleration (3) may be NULL. Agrees with dp_potential_evaluate to rounding in
 * f64. AF_ERROR_ARGUMENT for networks wider than 1024 or deeper than 8, AF_ERROR_MEMORY. The
 * context and the potential may go first, but not the context's allocator. */
typedef struct dp_force dp_force;
AF_API af_status dp_force_create(const dp_potential *p, dp_force **out);
AF_API void dp_force_destroy(dp_force *f);
AF_API void dp_force_at(const dp_force *f, const double x[3], double *phi, double acceleration[3]);
