/* ---- formulas from data: a policy that learns ---------------------------------------------------
 *
 * Phi-SO (Tenachi, Ibata & Diakogiannis 2023, ApJ 959, 99): a recurrent network (LSTM) writes
 * formulas token by token, their constants are fitted, and the network is trained on the best of
 * them (risk-seeking policy gradient, Petersen et al. 2021). Slower than dp_symbolic_search, but
 * the reward can be anything, and long formulas are no harder to write than short ones.
 *
 * Units are right by construction: a token is possible only if the formula can be ended, with right
 * units, within the tokens that are left. Two things of the published network are not here: the
 * linear layer before the LSTM, which its own input matrix makes redundant, and -relu of the
 * output, which is 10 tanh(z/10).
 *
 *     dp_policy_desc desc = {0};
 *     dp_policy_result *result;
 *     desc.epochs = 20;
 *     if (dp_policy_search(context, &v, &set, 1, &desc, &result) != AF_OK) return;
 *     dp_formula_text(context, &v, &result->front[result->best].formula, DP_TEXT_PLAIN, text,
 *                     sizeof text);
 *     dp_policy_destroy(result);
 */

typedef enum dp_policy_end {
    DP_POLICY_EPOCHS = 0, /* all of them */
    DP_POLICY_ERROR,      /* the error wanted was reached */
    DP_POLICY_TIME,       /* the seconds were over */
    DP_POLICY_STOPPED     /* by the caller */
} dp_policy_end;

typedef struct dp_policy_result {
    const dp_symbolic_entry *front; /* (count), longer and better from one to the next */
    size_t count;
    size_t best;        /* least description length: N ln(error) + length ln(tokens there are), N
                           points, errors below `error` of the desc alike */
    size_t epochs;      /* done */
    size_t samples;     /* formulas written */
    size_t fits;        /* different ones, whose constants were fitted */
    double mean;        /* reward of the last epoch's formulas */
    double reward;      /* the best so far: 1/(1 + error); 0: none was finite */
    double seconds;     /* on the caller's clock */
    dp_policy_end end;
} dp_policy_result;

/* Zero means default for every field. */
typedef struct dp_policy_desc {
    uint32_t start_canary;
    size_t width;      /* of the LSTM; default 64 (published: 128), at most 1024 */
    size_t epochs;     /* default 100 */
    size_t batch;      /* formulas an epoch; default 1000 */
    size_t min_tokens; /* shorter ones are improbable; default 1 (published: 4, without GM/r) */
    size_t max_tokens; /* default 35, at most DP_FORMULA_MAX */
    double length;     /* symbols before so many tokens, and what makes the formula longer than so
                          many, are made improbable ... */
    double spread;     /* ... by exp(-distance^2/(2 spread)); default 8 and 5, as published;
                          spread below zero: not at all */
    double risk;       /* fraction of the batch that is learnt from; default 0.05 */
    double entropy;    /* weight of the entropy bonus; default 0.005, below zero: none ... */
    double decay;      /* ... times decay^token; default 0.7 */
    double rate;       /* of Adam; default 0.0025 */
    size_t starts;     /* fits of a formula's constants from different starts; default 2 */
    size_t iterations; /* of each; default 30 */
    uint64_t seed;
    double error;      /* ends the search; default 1e-9; below zero: never */
    double (*clock)(void *user); /* with `seconds`: the search ends then, with what it has */
    double seconds;
    /* Each new formula with finite values is asked for: its error is multiplied by what comes back;
     * below zero (or NaN) its reward is 0 and it is left out of the front. */
    double (*filter)(const dp_symbolic_candidate *candidate, void *user);
    /* After each epoch; non-zero stops: AF_STOPPED, with the result so far. */
    int (*progress)(const dp_policy_result *so_far, void *user);
    void *user;
    uint32_t end_canary;
} dp_policy_desc;

/* Searches on the context's threads; the result depends on the seed and not on their number (but
 * where a clock ends it). All points are used in each fit: some hundreds are enough. desc NULL: all
 * defaults. The arrays behind vocabulary and sets must stay during the call. AF_ERROR_ARGUMENT:
 * vocabulary, desc; AF_ERROR_DATA: what dp_fitter_create refuses, or no formula has the target's
 * units; AF_ERROR_NONFINITE: the training diverged; AF_ERROR_MEMORY; *out is NULL then.
 * AF_STOPPED: *out holds the front so far. */
AF_API af_status dp_policy_search(af_context *c, const dp_vocabulary *v, const dp_data_set *sets,
                                  size_t set_count, const dp_policy_desc *desc,
                                  dp_policy_result **out);
AF_API void dp_policy_destroy(dp_policy_result *result);
