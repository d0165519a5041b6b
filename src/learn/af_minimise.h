/* ---- Levenberg-Marquardt and L-BFGS -------------------------------------------------------------
 *
 * For models of some ten to some thousand parameters where accuracy counts. Both see all data at
 * each step and never go uphill, but for rounding. Levenberg-Marquardt minimises a sum of squares
 *
 *     F = 1/2 sum r^2                 or, robust,   F = sum over groups of s^2/2 rho(|r|^2 / s^2)
 *
 * from the residuals r and their derivatives by all parameters; r is any expression. L-BFGS
 * minimises any scalar. (Nocedal & Wright 2006, Numerical Optimization: chapters 10, 7 and 3;
 * Madsen, Nielsen & Tingleff 2004 for the damping.) */

typedef struct af_minimiser af_minimiser;

typedef enum af_method {
    AF_LEVENBERG_MARQUARDT = 0, /* memory and work grow with the square of the parameters */
    AF_LBFGS
} af_method;

/* How a group of residuals counts whose squares add up to x s^2, s being robust_scale. */
typedef enum af_robust {
    AF_ROBUST_NONE = 0, /* rho = x */
    AF_ROBUST_HUBER,    /* x below 1, then 2 sqrt(x) - 1 */
    AF_ROBUST_ROOT,     /* 2 (sqrt(1 + x) - 1): Huber's without a seam */
    AF_ROBUST_CAUCHY    /* log(1 + x): outliers lose all weight */
} af_robust;

/* How the derivatives of the residuals are taken: tangents of all parameters carried forward
 * together, or one reverse pass for each residual. */
typedef enum af_jacobian {
    AF_JACOBIAN_AUTO = 0, /* reverse where there are fewer residuals than parameters */
    AF_JACOBIAN_FORWARD,
    AF_JACOBIAN_REVERSE
} af_jacobian;

/* What damping holds back: all parameters alike, by the largest element of the diagonal of J^T J
 * (Levenberg), or each by its own (Marquardt), for parameters of very different units. Where a few
 * parameters hardly matter the latter lets them run away, as in symplectic maps, where it ends far
 * higher. */
typedef enum af_damping { AF_DAMPING_EVEN = 0, AF_DAMPING_DIAGONAL } af_damping;

/* Zero means default for every field. */
typedef struct af_minimiser_desc {
    uint32_t start_canary;
    af_method method;
    af_params *params;
    af_expr residuals;     /* any shape; L-BFGS takes them too */
    af_expr loss;          /* L-BFGS alone: a scalar, instead of residuals */
    const af_expr *inputs; /* what they need beside the parameters */
    size_t input_count;
    /* As in af_trainer_desc, but F is the sum over the pieces. A piece bounds the memory:
     * Levenberg-Marquardt holds parameters x residuals of a piece for each thread. */
    size_t pieces;
    const int *input_axes;
    af_robust robust;
    double robust_scale;   /* in units of the residuals; default 1 */
    size_t robust_group;   /* this many residuals, one after the other, share a weight; default 1 */
    af_jacobian jacobian;
    af_damping damping_of;
    double damping;        /* Levenberg-Marquardt: the first, relative to damping_of; default
                              1e-3 */
    size_t memory;         /* L-BFGS: pairs of steps and gradient changes kept; default 20 */
    /* Several machines: replaces values[0..n) by their sum over all of them. */
    af_status (*allreduce)(double *values, size_t n, void *user);
    void *allreduce_user;
    uint32_t end_canary;
} af_minimiser_desc;

/* Compiles what the method needs; the desc's arrays are not kept, the parameters must outlive the
 * minimiser. AF_ERROR_ARGUMENT, AF_ERROR_SHAPE, AF_ERROR_MEMORY, or what went wrong in building the
 * expressions; *out is NULL then. */
AF_API af_status af_minimiser_create(af_context *c, const af_minimiser_desc *desc,
                                     af_minimiser **out);
AF_API void af_minimiser_destroy(af_minimiser *m);

typedef struct af_minimise_report {
    size_t step;        /* af_minimise: its number, from 1; 0 from af_minimiser_step */
    double loss;        /* F after it */
    double before;      /* F before it */
    double gradient;    /* largest |dF/dparameter| before it */
    double damping;     /* Levenberg-Marquardt: after it */
    double gain;        /* Levenberg-Marquardt: the decrease over the one that the model foretold;
                           1/2 where it is lost in rounding, -1 when there was none */
    size_t evaluations; /* of F, so far; with or without its derivatives */
    int converged;     /* no step leads further down in this precision: the parameters stayed */
} af_minimise_report;

/* One step downhill: inputs[i] are f64 arrays as for af_trainer_step; report may be NULL. After a
 * failure the parameters and the report are as they were: AF_ERROR_NONFINITE when F or its
 * derivatives are not finite where the parameters are, AF_ERROR_BACKEND, allreduce's status. */
AF_API af_status af_minimiser_step(af_minimiser *m, const void *const *inputs,
                                   af_minimise_report *report);

/* Forgets damping, past gradients and what is known of F: to be called when inputs or parameters
 * have been changed from outside. */
AF_API void af_minimiser_restart(af_minimiser *m);

/* F at the parameters. */
AF_API af_status af_minimiser_loss(af_minimiser *m, const void *const *inputs, double *loss);

typedef struct af_minimise_desc {
    uint32_t start_canary;
    size_t steps;              /* at most; required */
    const void *const *inputs; /* as for af_minimiser_step */
    double tolerance;          /* ends when F fell by less than this part of itself in each of ten
                                  steps; 0: only when no step leads down */
    /* A curriculum: called before each step, may change the numbers behind inputs, and returns 1
     * when it has. */
    int (*stage)(size_t step, void *user);
    int (*progress)(const af_minimise_report *report, void *user); /* non-zero stops: AF_STOPPED */
    /* State of the caller that checkpoints must hold, as it is after `progress`. */
    af_status (*save)(af_tensors *to, void *user);
    af_status (*load)(const af_tensors *from, void *user);
    void *user;
    const char *checkpoint;  /* file; NULL: none. Levenberg-Marquardt only */
    size_t checkpoint_every; /* steps; default 1; the last is written in any case */
    int resume;              /* go on from the checkpoint if the file is there */
    uint32_t end_canary;
} af_minimise_desc;

/* Steps until one of the ends; report (may be NULL) is that of the last step that went well. With a
 * stage function convergence does not end the run before `steps`, since the next stage may go on: a
 * converged stage passes at the cost of its stage calls. A run that is resumed takes the steps that
 * the uninterrupted one would have taken, to the bit: `steps` counts those of both, and `stage` is
 * called for the steps that are done, too, its answer then being ignored. A checkpoint that cannot
 * be taken in (AF_ERROR_IO, AF_ERROR_FORMAT, AF_ERROR_SHAPE) leaves the parameters as they were. */
AF_API af_status af_minimise(af_minimiser *m, const af_minimise_desc *desc,
                             af_minimise_report *report);
