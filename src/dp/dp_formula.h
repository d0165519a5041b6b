/* ---- formulas -----------------------------------------------------------------------------------
 *
 * A formula is an expression in prefix (Polish) order: operators and symbols, each one token; its
 * complexity is their number. What the symbols are, with their units, and which operators may be
 * used, is the vocabulary; it is the caller's and must outlive what is made with it.
 *
 *     dp_symbol symbols[] = {{"r", DP_VARIABLE, {{1}}, 0}, {"b", DP_FREE, {{1}}, 1},
 *                            {"GM", DP_FREE, {{3, -2}}, 1}, {"1", DP_FIXED, {{0}}, 1}};
 *     dp_vocabulary v = {0};
 *     v.symbols = symbols; v.symbol_count = 4;
 *     v.target.power[0] = 2; v.target.power[1] = -2;     // a potential: length^2 time^-2
 *     dp_formula_parse(context, &v, "-GM / (b + sqrt(b^2 + r^2))", &formula);
 *     dp_formula_text(context, &v, &formula, DP_TEXT_LATEX, text, sizeof text);
 */

enum {
    DP_UNITS = 7,        /* base units: length, time, mass, ... in any order the caller keeps to */
    DP_FORMULA_MAX = 48, /* tokens of a formula */
    DP_SYMBOLS_MAX = 32
};

/* Powers of the base units; all zero: dimensionless. */
typedef struct dp_units {
    double power[DP_UNITS];
} dp_units;

/* Operators are tokens 0 to DP_OPERATORS - 1, symbol i is token DP_OPERATORS + i. */
typedef enum dp_operator {
    DP_ADD = 0, DP_SUB, DP_MUL, DP_DIV, DP_POW, /* two arguments */
    DP_NEG, DP_INV, DP_SQUARE, DP_CUBE, DP_SQRT, DP_EXP, DP_LOG, DP_SIN, DP_COS, DP_TAN, DP_ASIN,
    DP_ACOS, DP_ATAN, DP_SINH, DP_COSH, DP_TANH, DP_ABS, /* one */
    DP_OPERATORS
} dp_operator;

typedef enum dp_symbol_kind {
    DP_VARIABLE = 0, /* a column of the data, in the order of the symbols */
    DP_FIXED,        /* a number: `value` */
    DP_FREE,         /* a constant to be found: one for all data sets; `value` is where it begins,
                        0: at 1 */
    DP_SPECIFIC      /* a constant to be found for each data set (Class SR) */
} dp_symbol_kind;

typedef struct dp_symbol {
    const char *name; /* a letter, then letters, digits and _; or a number for DP_FIXED */
    dp_symbol_kind kind;
    dp_units units;
    double value;
} dp_symbol;

typedef struct dp_vocabulary {
    const dp_symbol *symbols;
    size_t symbol_count;
    uint32_t operators; /* bit k: operator k may be used; 0: add sub mul div neg inv square sqrt exp
                           log */
    dp_units target;    /* of the result */
    int no_units;       /* 1: units are not looked at */
    const char *const *bases; /* names of the base units, for sentences; NULL: u1, u2, ... */
    size_t base_count;
    const char *name;   /* of the function in DP_TEXT_C; NULL: "formula" */
} dp_vocabulary;

typedef struct dp_formula {
    uint8_t token[DP_FORMULA_MAX];
    size_t length;
} dp_formula;

typedef enum dp_text_style { DP_TEXT_PLAIN = 0, DP_TEXT_LATEX, DP_TEXT_C } dp_text_style;

/* ---- vocabulary and grammar ---- */

/* 0 for a symbol, 1 or 2 for an operator; "sqrt", "+", or NULL for a token that is no operator. */
AF_API size_t dp_operator_arity(size_t token);
AF_API const char *dp_operator_name(size_t token);

/* The operators that may be used, with the default filled in. */
AF_API uint32_t dp_vocabulary_operators(const dp_vocabulary *v);

/* How many symbols are of a kind. */
AF_API size_t dp_vocabulary_count(const dp_vocabulary *v, dp_symbol_kind kind);

/* Names, numbers, powers of units and the operators make sense: AF_ERROR_ARGUMENT otherwise. All
 * functions below that take a context check the vocabulary first. */
AF_API af_status dp_vocabulary_check(af_context *c, const dp_vocabulary *v);

/* The tokens are in the vocabulary and make one whole expression: AF_ERROR_ARGUMENT otherwise. */
AF_API af_status dp_formula_check(af_context *c, const dp_vocabulary *v, const dp_formula *f);

/* Reads infix: + - * / and ^ or ** (powers first, right to left; then signs, then products),
 * functions by their names (sqrt exp log sin cos tan asin acos atan sinh cosh tanh abs; ln,
 * arcsin ...), parentheses, symbols, numbers. Numbers are those of DP_FIXED symbols, or whole ones
 * up to 100 made of these; the powers 2, 3, 1/2, -1 and what can be made of them (4, 1.5, ...)
 * become square, cube, sqrt and inv. 1/x is inv, where that may be used, a + -b and the like use
 * what the vocabulary has. AF_ERROR_ARGUMENT names the place; *out is empty then. */
AF_API af_status dp_formula_parse(af_context *c, const dp_vocabulary *v, const char *text,
                                  dp_formula *out);

/* Writes the formula. PLAIN: what dp_formula_parse reads back to the same operations. LATEX: \frac,
 * \sqrt, "sigma_0" as \sigma_{0}, "v_max" as v_{\mathrm{max}}. C: a function of the symbols that
 * occur (but DP_FIXED), in their order, for a file that includes math.h. No parentheses that are
 * not needed. AF_ERROR_ARGUMENT when size is too small, with the size that is enough (the text is
 * "" then), or, for C, when a symbol is a keyword of C. */
AF_API af_status dp_formula_text(af_context *c, const dp_vocabulary *v, const dp_formula *f,
                                 dp_text_style style, char *text, size_t size);

/* Rewrites the formula, equal but for rounding, and no longer, as people write it: terms and
 * factors in the order numbers, constants, variables, powers, the rest; one fraction for a product
 * of them; signs in front; sqrt(x)^2 is x. GM*(log(r/b + 1)/r) becomes GM*log(1 + r/b)/r. A formula
 * that is not whole stays as it is. */
AF_API void dp_formula_tidy(const dp_vocabulary *v, dp_formula *f);

/* ---- units ---- */

/* Reads "km s^-1", "km/s", "kpc^2 Myr^-2", "m**0.5", "m^(1/2)", "kg/(m s2)", "1". / divides by the
 * one factor that follows. names: the base units, count <= DP_UNITS. AF_ERROR_ARGUMENT names the
 * place. */
AF_API af_status dp_units_parse(af_context *c, const char *text, const char *const *names,
                                size_t count, dp_units *out);

/* "m^2 s^-2", what dp_units_parse reads; cut off at size, names as above, missing ones u1, ... */
AF_API void dp_units_text(const dp_units *units, const char *const *names, size_t count,
                          char *text, size_t size);

/* All powers agree within 1e-6. */
AF_API int dp_units_equal(const dp_units *a, const dp_units *b);

/* The units of the result into *units; with units NULL they must be the vocabulary's target. What
 * is added must have equal units, what functions take has none; a power is a dimensionless
 * expression of something dimensionless, or one DP_FIXED symbol. AF_ERROR_DATA otherwise, with the
 * two sides in the sentence; *token, unless NULL, gets the number of the token that does not fit.
 * Always fine with no_units. */
AF_API af_status dp_formula_units(af_context *c, const dp_vocabulary *v, const dp_formula *f,
                                  dp_units *units, size_t *token);

/* Which units expressions of the vocabulary can have, and the fewest tokens that it takes. */
typedef struct dp_reach dp_reach;

/* Expressions of up to `tokens` tokens (0: DP_FORMULA_MAX). Parts of an expression with powers
 * beyond 6 (or the largest of symbols and target) or with fractions of small parts of those of the
 * symbols are left out, and at most 2048 units are kept, those that take fewest tokens.
 * AF_ERROR_ARGUMENT, AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status dp_reach_create(af_context *c, const dp_vocabulary *v, size_t tokens,
                                 dp_reach **out);
AF_API void dp_reach_destroy(dp_reach *reach);

/* The fewest tokens of an expression with these units, 0 when there is none: units can be made with
 * at most n tokens when the answer is in 1 ... n. Thread-safe. */
AF_API size_t dp_reach_tokens(const dp_reach *reach, const dp_units *units);

/* All units there are, ordered by tokens, entry < dp_reach_count: what a product's first factor may
 * have, so that the second can be made with the tokens that are left. */
AF_API size_t dp_reach_count(const dp_reach *reach);
AF_API void dp_reach_entry(const dp_reach *reach, size_t entry, dp_units *units, size_t *tokens);

/* AF_OK when the vocabulary's target can be reached, otherwise AF_ERROR_DATA with a sentence: "no
 * expression of up to 30 tokens of r [m], b [m] has the units m^2 s^-2: ..." */
AF_API af_status dp_reach_check(af_context *c, const dp_reach *reach);

/* ---- values ----
 *
 * columns[i] (n) is the i-th DP_VARIABLE, constants are the DP_FREE symbols, then the DP_SPECIFIC
 * ones, each in their order. Nothing is protected: the log of a negative number is NaN. These
 * allocate nothing, are thread-safe and have no sentence: AF_ERROR_ARGUMENT for a formula that is
 * not whole. */

/* The values into out (n). */
AF_API af_status dp_formula_evaluate(const dp_vocabulary *v, const dp_formula *f, size_t n,
                                     const double *const *columns, const double *constants,
                                     double *out);

/* The values and their derivatives by the constants into by_constants (constants, n) and by the
 * variables into by_variables (variables, n); each may be NULL. */
AF_API af_status dp_formula_tangents(const dp_vocabulary *v, const dp_formula *f, size_t n,
                                     const double *const *columns, const double *constants,
                                     double *out, double *by_constants, double *by_variables);

/* ---- constants from data ---- */

/* n points: the DP_VARIABLE columns, each (n), y (n), weights (n: 1/sigma^2; NULL: all 1). */
typedef struct dp_data_set {
    size_t n;
    const double *const *columns;
    const double *y, *weights;
} dp_data_set;

/* Zero means default for every field. */
typedef struct dp_fitter_desc {
    uint32_t start_canary;
    size_t starts;     /* at most; default 5. The first is `start`, in others the constants that are
                          not linear are multiplied by exp(spread normal), and one in four changes
                          its sign */
    size_t iterations; /* of each; default 60 */
    uint64_t seed;
    double spread;     /* default 1.5: a factor of 4.5 */
    double tolerance;  /* ends when an iteration lowers chi^2 by less than this part; default
                          1e-10 */
    double enough;     /* no more starts below this NRMSE; default 1e-9 */
    const double *start; /* constants to begin with; NULL: the symbols' values */
    uint32_t end_canary;
} dp_fitter_desc;

typedef struct dp_fit_report {
    double chi2;       /* sum of weight (y - f)^2 */
    double nrmse;      /* weighted rms of y - f over the standard deviation of y, over all sets */
    int converged;     /* the best start ended by the tolerance */
    size_t starts, iterations; /* made, of all starts */
} dp_fit_report;

/* Fits one formula after the other to the same data by Levenberg-Marquardt; constants in which a
 * formula is linear are solved for in closed form at each step (variable projection: Kaufman 1975,
 * Ruhe & Wedin 1980). One thread at a time each. */
typedef struct dp_fitter dp_fitter;

/* The arrays behind v and sets are not copied. AF_ERROR_ARGUMENT, AF_ERROR_DATA (no points, a point
 * that is not finite, a weight below zero, y without spread), AF_ERROR_MEMORY; *out is NULL
 * then. */
AF_API af_status dp_fitter_create(af_context *c, const dp_vocabulary *v, const dp_data_set *sets,
                                  size_t set_count, const dp_fitter_desc *desc, dp_fitter **out);
AF_API void dp_fitter_destroy(dp_fitter *fitter);

/* Constants of all sets: the DP_FREE ones, then the DP_SPECIFIC ones of each set. */
AF_API size_t dp_fitter_constants(const dp_fitter *fitter);

/* The best of the starts into constants (dp_fitter_constants); those that do not occur keep their
 * start. Allocates nothing. AF_ERROR_ARGUMENT when f is not whole, AF_ERROR_NONFINITE when it is
 * not finite at all points for any start; no sentence, constants and report are as they were. */
AF_API af_status dp_fitter_run(dp_fitter *fitter, const dp_formula *f, double *constants,
                               dp_fit_report *report);

/* The three in one, with sentences; desc and report may be NULL. */
AF_API af_status dp_formula_fit(af_context *c, const dp_vocabulary *v, const dp_formula *f,
                                const dp_data_set *sets, size_t set_count,
                                const dp_fitter_desc *desc, double *constants,
                                dp_fit_report *report);
