/* ---- how fits run -------------------------------------------------------------------------------
 *
 * Distribution functions and potentials are trained in the same way: a part of the rows is held
 * out at random, the others come in batches in a new order each epoch; the parameters kept are
 * those of the best validation. */

/* Zero means default for every field. */
typedef struct dp_fit_desc {
    uint32_t start_canary;
    size_t epochs;          /* over the training rows; default by what is fitted */
    size_t batch;           /* rows a step; default by what is fitted */
    uint64_t seed;          /* of the split, the order and the noise */
    double validation;      /* fraction of the rows held out; default 0.1 */
    af_schedule schedule;   /* default: cosine, rate by what is fitted */
    double plateau;         /* instead: the rate is constant after the warm-up, halved whenever the
                               loss has not fallen by `plateau` for `patience` epochs; training ends
                               after four halvings without gain (section 2.4) */
    size_t patience;        /* default 8 */
    double clip;            /* of the gradient's norm; default by what is fitted */
    int double_precision;   /* 0: arithmetic in f32 */
    const char *checkpoint; /* file; NULL: none */
    size_t checkpoint_every; /* epochs; default 1 */
    int resume;             /* go on from the checkpoint if the file is there, to the same bits */
    /* Seconds on the caller's clock, and how many of them the fit may take: the schedule then
     * follows the time instead of the epochs. */
    double (*clock)(void *user);
    double seconds;
    int (*progress)(const af_progress *progress, void *user); /* non-zero stops: AF_STOPPED */
    void *user;
    uint32_t end_canary;
} dp_fit_desc;
