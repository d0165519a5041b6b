/* ---- ffjord: a chain of continuous flows trained by the likelihood ------------------------------
 *
 * Grathwohl et al. (2019, arXiv:1810.01367) with the exact trace, as in Green, Ting & Kamdar (2023,
 * section 2.4), and with the regularisation of Finlay et al. (2020, arXiv:2002.02798): a star's
 * loss is
 *
 *     -ln f + the integral of (kinetic |v|^2 + jacobian |dv/dy|^2) / 6
 *
 * along its way, over all fields. Training takes a fixed number of steps and differentiates what
 * they compute; evaluation takes the solver's steps. */

static void dp__ffjord_defaults(dp_df_desc *d, const char **text) {
    if (d->width == 0) d->width = 128;
    if (d->depth == 0) d->depth = 3;
    if (d->transforms == 0) d->transforms = 3;
    if (d->steps == 0) d->steps = 2;
    if (d->kinetic == 0.0) d->kinetic = 1e-4;
    if (d->jacobian == 0.0) d->jacobian = 1e-4;
    d->activation = AF_TANH;
    if (d->transforms > (size_t)DP__FIELDS) *text = "ffjord takes up to 16 transforms";
    if (d->steps > 64) *text = "ffjord takes up to 64 steps in training";
    if (!dp__is_finite(d->kinetic) || !dp__is_finite(d->jacobian))
        *text = "the regularisation is not finite";
}

/* What one stage adds to the loss on the way back to the normal (b,1). */
static af_expr dp__ffjord_cost(const dp_df *df, af_expr v, af_expr y) {
    af_context *c = df->c;
    af_expr jacobian = dp__field_jacobian(c, v, y), cost = dp__trace(c, jacobian), more;
    if (df->desc.kinetic > 0.0) {
        more = af_sum_axis(c, af_square(c, v), 1);
        cost = af_add(c, cost, af_scale(c, more, df->desc.kinetic / 6.0));
    }
    if (df->desc.jacobian > 0.0) {
        more = dp__matrix_sum(c, af_square(c, jacobian));
        cost = af_add(c, cost, af_scale(c, more, df->desc.jacobian / 6.0));
    }
    return cost;
}

/* One step of field k from t back to t - h: moves y (b,6) and adds to the cost (b,1). */
static void dp__ffjord_step(const dp_df *df, size_t k, double t, double h, af_expr *y,
                            af_expr *cost) {
    af_context *c = df->c;
    size_t dims[AF_RANK_MAX], i, j;
    af_expr v[DP__ODE_STAGES - 1], at = *y;
    af_shape(c, *y, dims);
    dims[1] = 1;
    for (i = 0; i < (size_t)DP__ODE_STAGES; i++) {
        const double *share = dp__stage[i], last = dp__stage[DP__ODE_STAGES - 1][i < 6 ? i : 0];
        at = *y;
        for (j = 0; j < i; j++)
            if (share[j] != 0.0) at = af_add(c, at, af_scale(c, v[j], -h * share[j]));
        if (i == (size_t)DP__ODE_STAGES - 1) break;
        v[i] = dp__field(df, k, af_full(c, 2, dims, t - h * dp__stage_time[i]), at);
        if (last != 0.0)
            *cost = af_add(c, *cost, af_scale(c, dp__ffjord_cost(df, v[i], at), h * last));
    }
    *y = at;
}

static af_expr dp__ffjord_loss(void *user, af_expr rows, af_expr seed) {
    const dp_df *df = (const dp_df *)user;
    const dp__cnf *f = (const dp__cnf *)df->state;
    af_context *c = df->c;
    af_expr y = af_slice(c, rows, 1, 0, 6), cost = af_constant(c, 3.0 * log(2.0 * DP__PI));
    double h = 1.0 / (double)df->desc.steps;
    size_t k, i;
    (void)seed;
    for (k = f->count; k-- > 0;)
        for (i = 0; i < df->desc.steps; i++)
            dp__ffjord_step(df, k, 1.0 - h * (double)i, h, &y, &cost);
    cost = af_add(c, cost, af_scale(c, af_sum_axis(c, af_square(c, y), 1), 0.5));
    return af_mean(c, af_mul(c, af_slice(c, rows, 1, 6, 1), cost));
}

static const dp__engine dp__ffjord_engine = {
    "ffjord", dp__ffjord_defaults, dp__cnf_declare, dp__cnf_close, 16, 1024, 2e-3, 0.999,
    dp__ffjord_loss, NULL, NULL, dp__cnf_evaluate, dp__cnf_draw, NULL, NULL};
