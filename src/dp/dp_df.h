/* ---- distribution functions ---------------------------------------------------------------------
 *
 * A dp_df learns f(x, v), normalised to one, from a sample: ln f, its gradients d ln f/d(x, v),
 * and, where it is a flow, new samples. Four kinds behind one interface:
 *
 *     DP_DF_SCORE     a scalar network for ln f trained by denoising score matching: the most
 *                     accurate gradients a minute; normalised only by dp_df_normalise
 *     DP_DF_MATCHING  a continuous flow trained by conditional flow matching: a normalised ln f and
 *                     samples
 *     DP_DF_SPLINE    rational-quadratic coupling layers between linear maps (Green & Ting 2020)
 *     DP_DF_FFJORD    continuous flows trained by the likelihood (Green, Ting & Kamdar 2023) */

typedef enum dp_df_kind { DP_DF_SCORE = 0, DP_DF_MATCHING, DP_DF_SPLINE, DP_DF_FFJORD } dp_df_kind;

/* Zero means default for every field; those of other kinds are ignored. */
typedef struct dp_df_desc {
    uint32_t start_canary;
    dp_df_kind kind;
    uint64_t seed;            /* of the initial parameters */
    size_t width, depth;      /* hidden layers of the networks; default SCORE 64 x 3,
                                 MATCHING 256 x 4, SPLINE 16 x 3, FFJORD 128 x 3 */
    af_activation activation; /* of MATCHING and SCORE; FFJORD is tanh */
    size_t transforms;        /* in the chain; default SPLINE 4, FFJORD 3 */
    size_t bins;              /* SPLINE: of each spline; default 5: the workshop paper's 8 fit finer
                                 structure and have rougher gradients */
    double bound;             /* SPLINE: half the interval that is bent, in standard deviations;
                                 default 4 */
    double kinetic, jacobian; /* FFJORD: strengths of the regularisation; default 1e-4; negative:
                                 none */
    size_t steps;             /* FFJORD: of Dormand-Prince in training; default 2 */
    double noise_low, noise_high; /* SCORE: range of the noise in training, in standard deviations;
                                     default 0.1, 0.7 */
    double noise;             /* SCORE: evaluated at; 0: the best on stars held out, of none and
                                 some levels */
    int plain_coordinates;    /* SCORE: 1: positions are not stretched, and velocities not measured
                                 from the local mean in units of the local dispersion, first */
    int plain_inputs;         /* SCORE: 1: the network gets no radii and components of velocities
                                 along and about them beside the coordinates */
    int conditional;          /* SCORE: 1: learns p(v|x) alone; ln f is then free by a function of
                                 x, which dp_potential_fit can find (Kalda & Green 2025) */
    uint32_t end_canary;
} dp_df_desc;

typedef struct dp_df dp_df;

/* A distribution function with random parameters whose scales come from the sample, which is not
 * kept. desc NULL: all defaults. AF_ERROR_ARGUMENT, AF_ERROR_DATA (fewer than 100 stars, or stars
 * that do not spread along an axis), AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status dp_df_create(const dp_sample *sample, const dp_df_desc *desc, dp_df **out);
AF_API void dp_df_destroy(dp_df *df);

/* What the fit found; may be NULL in the calls. */
typedef struct dp_df_report {
    size_t stars, held_out;
    double loss, validation; /* of the best epoch. SPLINE: -mean ln f of y = (eta - mean)/scale;
                                FFJORD: that and its regularisation; MATCHING: the mean square
                                error of the velocity */
    double untrained;        /* validation before the first step */
    double noise;            /* SCORE: chosen; 0: none, by the polynomial in the noise */
    double objective;        /* SCORE: mean over held-out stars of |s|^2/2 + div s (Hyvarinen) */
} dp_df_report;

/* Trains on the sample, weighted by its weights. AF_STOPPED keeps the best parameters. Fails as
 * af_train does, and with AF_ERROR_DATA when the sample is not what df was made for. */
AF_API af_status dp_df_fit(dp_df *df, const dp_sample *sample, const dp_fit_desc *desc,
                           dp_df_report *report);

/* ln f (n) and d ln f/d eta (n,6) at eta (n,6); either may be NULL. f is per unit of phase space in
 * the sample's units. Where a SCORE was not normalised ln f is right up to a constant (conditional:
 * up to a function of x). AF_ERROR_NONFINITE names the first point with a result that is not
 * finite; AF_ERROR_MEMORY. */
AF_API af_status dp_df_evaluate(dp_df *df, size_t n, const double *eta, double *ln_f,
                                double *gradient);

/* n stars drawn from f into eta (n,6): a function of the seed. AF_ERROR_ARGUMENT for a SCORE. */
AF_API af_status dp_df_draw(dp_df *df, size_t n, uint64_t seed, double *eta);

/* Normalises a SCORE with n draws of a flow fitted to the same stars (importance sampling); *error,
 * unless NULL, gets the standard error of ln f's constant. */
AF_API af_status dp_df_normalise(dp_df *df, dp_df *flow, size_t n, uint64_t seed, double *error);

/* Everything in one safetensors file, and back to the same bits. AF_ERROR_IO, AF_ERROR_FORMAT,
 * AF_ERROR_MEMORY. */
AF_API af_status dp_df_save(const dp_df *df, const char *path);
AF_API af_status dp_df_load(af_context *c, const char *path, dp_df **out);

AF_API dp_df_desc dp_df_describe(const dp_df *df); /* with the defaults filled in */
AF_API size_t dp_df_parameters(const dp_df *df);
AF_API const char *dp_df_name(dp_df_kind kind);    /* "score", "matching", "spline", "ffjord" */
