/* ---- from a field to a formula ------------------------------------------------------------------
 *
 * Asks a potential that something has learned for its values, and searches formulas for these: of r
 * where it is spherical, of R and z where it is axisymmetric.
 *
 *     dp_field field = dp_potential_field(potential);
 *     dp_distill_desc desc = {0};
 *     dp_distilled *found;
 *     desc.low[0] = 0.2; // kpc
 *     desc.high[0] = 10.0;
 *     if (dp_distill(context, &field, &desc, &found) != AF_OK) return;
 *     dp_formula_text(context, &found->result.vocabulary,
 *                     &found->result.front[found->result.best].formula, DP_TEXT_PLAIN, text,
 *                     sizeof text);
 *     dp_distilled_destroy(found);
 */

typedef enum dp_symmetry {
    DP_SYMMETRY_AUTO = 0,
    DP_SPHERICAL,    /* one variable, r */
    DP_AXISYMMETRIC, /* R and z */
    DP_NO_SYMMETRY   /* the inputs themselves; the only one for fields without three of them */
} dp_symmetry;

/* A function of places. */
typedef struct dp_field {
    /* At x (n,inputs): value (n); where they are known, the acceleration (n,inputs) = -d value/dx
     * and the standard error of the values (n), which come filled with NaN and 0. */
    af_status (*evaluate)(const struct dp_field *field, size_t n, const double *x, double *value,
                          double *acceleration, double *error);
    void *user;
    size_t inputs;        /* 1 to 3 */
    dp_symmetry symmetry; /* that it has by construction; AUTO: not known */
    double centre[3];
} dp_field;

/* As fields, while they live. The Hamiltonian of a Koopman model of n <= 3 freedoms is one of its n
 * actions, recovered potentials come with errors, and af_accel needs AF_ACCEL_POTENTIAL. */
AF_API dp_field dp_potential_field(dp_potential *p);
AF_API dp_field dp_recovered_field(const dp_recovered *r);
AF_API dp_field dp_axisymmetric_field(const dp_axisymmetric *r);
AF_API dp_field dp_accel_field(af_accel_evaluator *e);
AF_API dp_field dp_koopman_field(af_koopman_evaluator *e, size_t freedoms);

/* The symmetry of a field about its centre, at radii from low to high: what it has by construction;
 * else spherical where its values change with latitude by less (rms) than 1 % of their range, or
 * than twice what they change with azimuth; else axisymmetric. AF_ERROR_ARGUMENT,
 * AF_ERROR_NONFINITE, AF_ERROR_MEMORY, and what the field fails with. */
AF_API af_status dp_field_symmetry(af_context *c, const dp_field *field, double low, double high,
                                   dp_symmetry *out);

/* Zero means default for every field. */
typedef struct dp_distill_desc {
    uint32_t start_canary;
    dp_symmetry symmetry; /* AUTO: as dp_field_symmetry finds */
    /* Where: radii from low[0] to high[0] by equal factors (default 200 of them); R and z evenly
     * (24 by 17; low[1] = high[1] = 0: z to half of high[0] up and down); inputs evenly (200; 20 by
     * 20; 8 by 8 by 8). Symmetric fields are averaged over 64 directions at each. */
    double low[3], high[3];
    size_t count[3];
    const double *places; /* instead (place_count,inputs) */
    size_t place_count;
    const dp_vocabulary *vocabulary; /* its variables: r; R, z; the inputs. NULL: of a potential in
                                        kpc and km/s, with constants GM and b, or a and b */
    const dp_symbolic_desc *search;  /* NULL: defaults, with an offset C. max_tokens 0: 8. Of two
                                        and more variables `norms` is always set, and operators 0
                                        means algebra, and then algebra with log */
    uint32_t end_canary;
} dp_distill_desc;

/* What was found. */
typedef struct dp_distilled {
    dp_symbolic_result result; /* the front. `best` counts `independent` points, not all, and
                                  what is two standard deviations better than the field's
                                  errors allow is alike */
    dp_data_set data;          /* that it is of; weights NULL for a field without errors */
    const double *acceleration; /* (variables, n): a_r; a_R, a_z; NULL for a field without */
    const double *force_error; /* (result.count): rms of -grad f - a over that of a; NULL alike */
    dp_symmetry symmetry;
    double scatter;     /* rms over the directions over the range of the values: not symmetric */
    double independent; /* the errors of a network are smooth: points times (twice the fraction of
                           neighbours between which what the last of the front leaves changes
                           sign)^variables: all points for noise, few for a network; two for each
                           constant of that formula at least */
} dp_distilled;

/* Distils. *out is there after AF_OK and AF_STOPPED, else NULL; callbacks of the search may look
 * through it at the data. AF_ERROR_ARGUMENT names the option that makes no sense;
 * AF_ERROR_NONFINITE a place where the field is not finite; otherwise fails as the field and
 * dp_symbolic_search do. */
AF_API af_status dp_distill(af_context *c, const dp_field *field, const dp_distill_desc *desc,
                            dp_distilled **out);
AF_API void dp_distilled_destroy(dp_distilled *d); /* NULL is fine */
