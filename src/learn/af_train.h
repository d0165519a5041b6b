/* ---- training -----------------------------------------------------------------------------------
 *
 * A trainer owns the compiled loss with its gradient and the optimiser. af_trainer_step is the
 * primitive; af_train loops over epochs of steps, keeps the parameters of the best validation,
 * writes checkpoints, and resumes from one to the same bits. */

typedef struct af_trainer af_trainer;

typedef struct af_trainer_desc {
    uint32_t start_canary;
    af_params *params;
    af_expr loss;          /* scalar */
    const af_expr *inputs; /* what the loss needs beside the parameters */
    size_t input_count;
    const af_expr *outputs;   /* other values to compute at each step, ... */
    void *const *output_data; /* ... written (f64) to these arrays, which must stay valid */
    size_t output_count;
    /* A batch may be computed in pieces: loss, inputs and outputs are those of one piece, a step
     * takes `pieces` of them, and its loss and gradient are the means. Less memory is used, pieces
     * stay in the caches, and threads compute pieces side by side; the numbers do not depend on how
     * many there are. */
    size_t pieces;          /* default 1 */
    const int *input_axes;  /* along which the pieces of each input lie one after the other in the
                               array given to af_trainer_step; -1: it is the same for all of them;
                               NULL: 0 for all. A scalar's pieces are an array */
    const int *output_axes; /* the same for output_data, without -1 */
    af_precision precision; /* of loss and gradient; arrays and parameters are f64 in any case */
    af_adam_desc adam;
    af_schedule schedule;
    double average; /* af_train validates and keeps the moving average of the parameters over about
                       1/(1 - average) steps, which lies deeper than they do; 0: none */
    /* Several machines: replaces values[0..n) (the gradient, then the loss) by their mean over all
     * of them, e.g. MPI_Allreduce and a division; every machine must start from the same seed. */
    af_status (*allreduce)(double *values, size_t n, void *user);
    void *allreduce_user;
    uint32_t end_canary;
} af_trainer_desc;

/* Compiles the loss and its gradient; the parameters must outlive the trainer. AF_ERROR_ARGUMENT,
 * AF_ERROR_SHAPE for a loss that is not a scalar, AF_ERROR_MEMORY, or what went wrong in building
 * the expressions; *out is NULL then. */
AF_API af_status af_trainer_create(af_context *c, const af_trainer_desc *desc, af_trainer **out);
AF_API void af_trainer_destroy(af_trainer *t);

/* One optimiser step on one batch: inputs[i] are f64 arrays in the shapes of desc.inputs, `pieces`
 * times as long along their axes.
 * `progress` in [0,1] of the whole training chooses the learning rate. AF_ERROR_NONFINITE, nothing
 * changed, when loss or gradient are not finite. */
AF_API af_status af_trainer_step(af_trainer *t, const void *const *inputs, double progress,
                                 double *loss);

/* Multiplies the rates of the schedule by `factor` from now on (1 at first), e.g. after a plateau.
 * It is not part of checkpoints: a caller who changes it saves and loads it. */
AF_API void af_trainer_scale_rate(af_trainer *t, double factor);

/* What a progress function sees after each epoch. */
typedef struct af_progress {
    size_t epoch, epochs;     /* epochs done, and wanted */
    double loss, validation;  /* of this epoch; NaN where there is none */
    double rate;              /* learning rate at its end */
    double best_validation;
    size_t best_epoch;
} af_progress;

typedef struct af_train_desc {
    uint32_t start_canary;
    size_t epochs; /* required */
    /* Runs the steps of one epoch with af_trainer_step; *loss gets their mean. `first` and `last`
     * are the training's progress at its ends. AF_STOPPED ends the training; the epoch does not
     * count. */
    af_status (*epoch)(af_trainer *t, size_t epoch, double first, double last, double *loss,
                       void *user);
    /* The loss of data not trained on, NaN being the worst; NULL: the last parameters are the
     * best. */
    af_status (*validate)(af_trainer *t, size_t epoch, double *validation, void *user);
    /* Fraction of the training that is over before epoch k; NULL: k / epochs. A caller with a time
     * limit answers with its clock. Reaching 1 ends the training. */
    double (*fraction)(size_t epoch, void *user);
    int (*progress)(const af_progress *progress, void *user); /* non-zero stops: AF_STOPPED */
    /* State of the caller that checkpoints must hold. */
    af_status (*save)(af_tensors *to, void *user);
    af_status (*load)(const af_tensors *from, void *user);
    void *user;
    const char *checkpoint;  /* file; NULL: none */
    size_t checkpoint_every; /* epochs; default 1; the last is written in any case */
    int resume;              /* go on from the checkpoint if the file is there */
    uint32_t end_canary;
} af_train_desc;

/* Trains. At the end (also after AF_STOPPED) the parameters are those of the best validation. After
 * an error of a step they are as the last good step left them; a checkpoint that cannot be taken in
 * (AF_ERROR_IO, AF_ERROR_FORMAT, AF_ERROR_SHAPE) leaves the parameters as they were. */
AF_API af_status af_train(af_trainer *t, const af_train_desc *desc);
