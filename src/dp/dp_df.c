/* ---- distribution functions: what all kinds share ----------------------------------------------
 *
 * A kind works in standardised coordinates y = (o - mean)/scale, o being eta with its places
 * widened; this part and dp_df_api.c do the rest. */

enum { DP__COORDINATES = 6, DP__ROW = 13, DP__FEWEST_STARS = 100 };

/* The rows that a fit sees (n, DP__ROW): y (6), the weight (mean 1), and the standard deviations of
 * the measurements in units of the scales (6; zeros where there are none). */
typedef struct dp__data {
    size_t n, width;  /* `begin` may make other rows of them, from the arena */
    double *rows;
    int errors;       /* whether there are any */
    dp__arena *arena;
} dp__data;

typedef struct dp__engine {
    const char *name;
    /* Fills the defaults of its own fields; *text gets a complaint when they make no sense. */
    void (*defaults)(dp_df_desc *d, const char **text);
    af_status (*declare)(dp_df *df); /* its views in df->params, its state in df->state */
    void (*close)(dp_df *df);        /* what the arena does not hold; NULL: nothing */
    size_t epochs, batch;            /* defaults of the training */
    double rate, average;
    /* The mean of weight x loss over rows (b, width); seed: a scalar, new at each call. */
    af_expr (*loss)(void *df, af_expr rows, af_expr seed);
    /* Before and after the training; NULL: nothing. */
    af_status (*begin)(dp_df *df, dp__data *stars, const dp_fit_desc *d);
    af_status (*end)(dp_df *df, const dp__data *stars, const dp_fit_desc *d,
                     dp_df_report *report);
    /* ln f (n) and d ln f/dy (n,6) in the coordinates y (n,6); either may be NULL. */
    af_status (*evaluate)(dp_df *df, size_t n, const double *y, double *ln_f, double *gradient);
    af_status (*draw)(dp_df *df, size_t n, uint64_t seed, double *y); /* NULL: cannot */
    /* State that is not among the parameters nor in the desc; NULL: none. */
    af_status (*save)(const dp_df *df, af_tensors *to);
    af_status (*load)(dp_df *df, const af_tensors *from);
} dp__engine;

struct dp_df {
    af_context *c;
    dp__arena arena;
    dp_df_desc desc; /* with the defaults filled in */
    const dp__engine *engine;
    dp_volume volume; /* of the sample */
    double mean[DP__COORDINATES], scale[DP__COORDINATES];
    double constant; /* added to ln f: SCORE, normalised by dp_df_normalise */
    int normalised;
    af_params *params;
    void *state; /* the engine's own */
};

/* y (6) of eta (6); deviations (6), unless NULL, become those of y. The logarithm of the
 * determinant is returned. */
static double dp__standardise(const dp_df *df, const double *eta, double *y, double *deviations) {
    double log_det;
    size_t k;
    memcpy(y, eta, DP__COORDINATES * sizeof *y);
    log_det = dp__widen(&df->volume, y, deviations);
    for (k = 0; k < (size_t)DP__COORDINATES; k++) {
        y[k] = (y[k] - df->mean[k]) / df->scale[k];
        if (deviations) deviations[k] /= df->scale[k];
        log_det -= log(df->scale[k]);
    }
    return log_det;
}

/* eta (n,6) of y (n,6), in place. */
static void dp__unstandardise(const dp_df *df, size_t n, double *y) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        for (k = 0; k < (size_t)DP__COORDINATES; k++)
            y[6 * i + k] = df->mean[k] + df->scale[k] * y[6 * i + k];
        dp__widen_back(&df->volume, y + 6 * i);
    }
}

/* Unit normals (b,6) by the formula of Box & Muller (1958): two streams of random numbers. */
static af_expr dp__normals(af_context *c, size_t b, af_expr seed, uint64_t stream) {
    size_t dims[2];
    af_expr radius, angle, part[2];
    dims[0] = b;
    dims[1] = 3;
    radius = af_log(c, af_random(c, 2, dims, seed, stream));
    radius = af_sqrt(c, af_scale(c, radius, -2.0));
    angle = af_scale(c, af_random(c, 2, dims, seed, stream + 1), 2.0 * DP__PI);
    part[0] = af_mul(c, radius, af_cos(c, angle));
    part[1] = af_mul(c, radius, af_sin(c, angle));
    return af_concat(c, 1, 2, part);
}
