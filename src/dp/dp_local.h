/* ---- accelerations without a model (An et al. 2021, Naik et al. 2022) ---------------------------
 *
 * At one place x the residual d ln f/dt of dp_potential.h, with -a for grad Phi, is zero for every
 * velocity: least squares over several velocities gives a(x) with no model of the potential
 * (appendix A). A check of a fitted potential, and quick: no training but that of f. */

typedef struct dp_local_desc {
    uint32_t start_canary;
    size_t velocities; /* at each place: those of the nearest stars; default 256, or all stars */
    dp_frame frame;
    int robust;        /* 1: Huber's weights, by the median residual */
    uint32_t end_canary;
} dp_local_desc;

/* Accelerations at the places x (m,3) into a (m,3); error (m,3), unless NULL, gets standard errors
 * from the scatter of the residuals (which need not be alike at all velocities), leftover (m),
 * unless NULL, the rms residual d ln f/dt there. desc NULL: all defaults.
 *
 * The velocities are those of the sample's stars nearest to a place, however far, with their
 * weights; distances are in units of the standard deviations of x, y and z. A conditional df gives
 * d ln f/dx without grad ln n(x) of the stars, which is then found with a: six unknowns, for which
 * p(v|x) must not be a Gaussian.
 *
 * Errors are right for gradients that err independently from velocity to velocity; a network's err
 * alike at neighbouring ones, so that they are rather lower bounds. Noise of d ln f/dv
 * of a relative size s makes a too small by s^2.
 *
 * AF_ERROR_DATA where the gradients at a place do not span space, or with too few stars or places
 * that are not finite; AF_ERROR_ARGUMENT, AF_ERROR_MEMORY, and as dp_df_evaluate. The sentence is
 * in df's context. */
AF_API af_status dp_local_accelerations(dp_df *df, const dp_sample *sample,
                                        const dp_local_desc *desc, size_t m, const double *x,
                                        double *a, double *error, double *leftover);
