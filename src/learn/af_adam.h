/* ---- Adam and RAdam, learning-rate schedules ------------------------------------------------- */

typedef enum af_optimiser {
    AF_ADAM = 0, /* Kingma & Ba (2015) */
    AF_RADAM     /* Liu et al. (2020): the step is rectified while the second moment is uncertain */
} af_optimiser;

typedef struct af_adam_desc {
    uint32_t start_canary;
    af_optimiser method;
    double beta1, beta2;  /* default 0.9, 0.999 */
    double epsilon;       /* default 1e-8 */
    double weight_decay;  /* decoupled (Loshchilov & Hutter 2019): x -= rate * weight_decay * x */
    double clip;          /* a longer gradient is scaled down to this norm; 0: never */
    uint32_t end_canary;
} af_adam_desc;

typedef struct af_adam af_adam;

/* State for `size` parameters: first and second moments and the number of steps. desc NULL: all
 * defaults. AF_ERROR_ARGUMENT for a method that is none, a beta outside [0,1) or another negative
 * number, AF_ERROR_MEMORY; *out is NULL then. Destroying NULL is fine. */
AF_API af_status af_adam_create(af_context *c, const af_adam_desc *desc, size_t size,
                                af_adam **out);
AF_API void af_adam_destroy(af_adam *adam);

/* One step: x (size) moves along -gradient (size) with the learning rate given. Fails with
 * AF_ERROR_NONFINITE, nothing changed, when the gradient or its square is not finite. */
AF_API af_status af_adam_step(af_adam *adam, double *x, const double *gradient, double rate);

/* The state goes into a set of tensors and comes back to the same bits; nothing changes when
 * loading fails (AF_ERROR_FORMAT, AF_ERROR_SHAPE, AF_ERROR_MEMORY). The desc's settings do not
 * travel. */
AF_API af_status af_adam_save(const af_adam *adam, af_tensors *to);
AF_API af_status af_adam_load(af_adam *adam, const af_tensors *from);

typedef enum af_schedule_kind {
    AF_SCHEDULE_COSINE = 0,  /* after the warm-up from rate to rate * last along half a cosine */
    AF_SCHEDULE_CONSTANT,
    AF_SCHEDULE_EXPONENTIAL, /* from rate to rate * last geometrically */
    AF_SCHEDULE_STEP         /* halved at 1/2, 3/4, 7/8, ... of it, not below rate * last */
} af_schedule_kind;

typedef struct af_schedule {
    af_schedule_kind kind;
    double rate;   /* default 1e-3 */
    double last;   /* final rate over first; default 1e-2 */
    double warmup; /* fraction of the training in which the rate rises linearly from a thousandth;
                      default 0.02, negative: none */
} af_schedule;

/* The learning rate at `progress` in [0,1] of the training. */
AF_API double af_schedule_rate(const af_schedule *schedule, double progress);
