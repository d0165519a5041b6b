/* ---- several distribution functions as one ------------------------------------------------------
 *
 * The mixture of `count` members, f = mean f_i, at the points eta (n,6): ln f (n) and the gradient
 * (n,6) = d ln f/d eta, which is the mean of d ln f_i/d eta with weights f_i, that is, the members'
 * df/d eta are averaged and divided by f; either may be NULL. Where a member knows ln f only up to
 * a constant (a SCORE that was not normalised, or a conditional one) all count alike: the gradient
 * is the plain mean, and ln f the mean of the members' ln f.
 *
 * robust, of three members or more: those are left out, at each point, that lie farther than 5
 * times the median distance from the median; the distance is that of ln f (where it is known) and
 * the six gradients times the standard deviations of the coordinates. ln f up to a constant remains
 * the mean over all, so that its constant is one.
 *
 * spread (n), unless NULL, gets the rms distance of the gradients of the members that count from
 * the mixture's, relative to its length, x and v together in those units: how wrong one member is;
 * the mixture is better by up to sqrt(count), as far as the members do not err alike.
 *
 * AF_ERROR_ARGUMENT for no members (without a sentence), or where only some are conditional; else
 * as dp_df_evaluate, with the sentence in the context of the member that failed. */
AF_API af_status dp_ensemble_evaluate(size_t count, dp_df *const *members, int robust, size_t n,
                                      const double *eta, double *ln_f, double *gradient,
                                      double *spread);

/* Weights (n) of one bootstrap sample: whole numbers, Poisson with mean 1, a function of the seed.
 * Multiply the stars' own weights by them and fit again: the scatter of results over seeds is what
 * the finite number of stars leaves uncertain. */
AF_API void dp_bootstrap_weights(uint64_t seed, size_t n, double *weights);
