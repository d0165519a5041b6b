/* ---- formulas from data: exhaustive search ------------------------------------------------------
 *
 * Every formula of up to a number of tokens is tried, shortest first, as far as it is a different
 * function. Units make that small: by Buckingham's theorem a formula with right units is
 *
 *     y = A p f(x_1, x_2, ...) + C
 *
 * with p a product of powers that has the units of the result and x_i the other quantities divided
 * by such products. What is enumerated is f; its values at 8 points tell whether it is new. A (and
 * C) follow by linear projection, scales such as b in r/b by a scan and Levenberg-Marquardt. Then
 * the units are put back with as few tokens as can be: 1/(1 + sqrt(1 + x^2)) becomes
 * GM/(b + sqrt(b^2 + r^2)).
 *
 * Constants: a DP_FREE (or DP_SPECIFIC: one for each data set) constant that only stretches the
 * result is the amplitude; one with the units of the result is the offset C; the others are
 * searched inside f, at most DP_SCALES_MAX of them that matter. Constants are positive, signs are
 * written into the formula. What is missing of "1", a dimensionless amplitude "A" and an offset "C"
 * is added to the vocabulary of the result, and so are + - * / neg square sqrt, by which units
 * return.
 *
 *     dp_symbolic_desc desc = {0};
 *     dp_symbolic_result *result;
 *     desc.affine = DP_AMPLITUDE_OFFSET;              // a potential has a free zero point
 *     if (dp_symbolic_search(context, &v, &set, 1, &desc, &result) != AF_OK) return;
 *     dp_formula_text(context, &result->vocabulary, &result->front[result->best].formula,
 *                     DP_TEXT_PLAIN, text, sizeof text);
 *     dp_symbolic_destroy(result);
 */

enum { DP_SCALES_MAX = 4 }; /* constants that are not linear */

typedef enum dp_affine {
    DP_AMPLITUDE = 0,    /* y = A p f */
    DP_AMPLITUDE_OFFSET, /* y = A p f + C, and without C */
    DP_EXACT             /* no amplitude but what units give: constants only inside f */
} dp_affine;

typedef enum dp_symbolic_end {
    DP_END_TOKENS = 0, /* all of max_tokens were tried */
    DP_END_ERROR,      /* the error wanted was reached */
    DP_END_TIME, DP_END_MEMORY, /* a bound was reached: longer ones were not, or not all, tried */
    DP_END_STOPPED     /* by the caller */
} dp_symbolic_end;

typedef struct dp_symbolic_entry {
    dp_formula formula;      /* its length is the complexity */
    const double *constants; /* DP_FREE ones, then DP_SPECIFIC ones of each set; those that do not
                                occur are where they began */
    double error;            /* NRMSE: weighted rms of y - f over the standard deviation of y, all
                                points; times the filter's penalty */
} dp_symbolic_entry;

typedef struct dp_symbolic_result {
    dp_vocabulary vocabulary; /* of the formulas: the caller's symbols first */
    const dp_symbolic_entry *front; /* (count), longer and better from one to the next */
    size_t count;
    size_t best;             /* least description length: N ln(error) + length ln(tokens there are),
                                 N points, errors below `error` of the desc alike */
    size_t candidates, unique, fits; /* expressions made; different ones; constants fitted */
    size_t verified;          /* fitted to all points */
    size_t tokens;            /* of f: all up to here were tried */
    size_t evolved, elites;   /* functions made by evolution; kinds of functions kept */
    double seconds;           /* on the caller's clock */
    dp_symbolic_end end;
} dp_symbolic_result;

/* What the filter is asked about: values (points of all sets, one set after the other) are the
 * formula's; dp_formula_evaluate gives it anywhere else. */
typedef struct dp_symbolic_candidate {
    const dp_vocabulary *vocabulary;
    const dp_formula *formula;
    const double *constants;
    const double *values;
    double error;
} dp_symbolic_candidate;

/* Zero means default for every field. */
typedef struct dp_symbolic_desc {
    uint32_t start_canary;
    dp_affine affine;
    size_t max_tokens; /* of f; default 9, at most 20: each takes some 4 to 8 times longer */
    double error;      /* ends the search; default 1e-9; below zero: never */
    size_t memory;     /* bytes; default 256 MB */
    int no_enrichment; /* 1: differences and norms of variables with equal units are no tokens */
    int norms;         /* 1: sqrt(a^2 + b^2) is one operator of f; its tokens count in the result */
    int combine;       /* 1: also sums, quotients and products of up to three of the functions
                          found, with constants c1 ... c4; ignored with several data sets,
                          constants inside f, or an amplitude with units */
    size_t evolve;     /* functions made by evolution after the last length, or after half of
                          `seconds`, or when memory is full; default 0 */
    uint64_t seed;     /* of evolution */
    double (*clock)(void *user); /* with `seconds`: the search ends then, with what it has */
    double seconds;
    /* A formula good enough for the front is asked for: its error is multiplied by what comes back;
     * below zero (or NaN) it is left out. */
    double (*filter)(const dp_symbolic_candidate *candidate, void *user);
    /* After each few thousand expressions; non-zero stops: AF_STOPPED, with the result so far. */
    int (*progress)(const dp_symbolic_result *so_far, void *user);
    void *user;
    uint32_t end_canary;
} dp_symbolic_desc;

/* Searches on the context's threads; the result does not depend on their number (but where a clock
 * ends it). desc NULL: all defaults. The arrays behind the vocabulary must outlive *out, the data
 * need not. AF_ERROR_ARGUMENT: vocabulary, desc, too many constants; AF_ERROR_DATA: no points, some
 * not finite, y that does not vary, or no product of the symbols has the units of the result;
 * AF_ERROR_MEMORY; *out is NULL then. AF_STOPPED: *out holds the front so far. */
AF_API af_status dp_symbolic_search(af_context *c, const dp_vocabulary *v, const dp_data_set *sets,
                                    size_t set_count, const dp_symbolic_desc *desc,
                                    dp_symbolic_result **out);
AF_API void dp_symbolic_destroy(dp_symbolic_result *result);
