/* ---- recovery: from the first density to the last step --------------------------------------- */

enum {
    DP__ROUNDS = 6,          /* of what is held fixed; 2 or 3 are the rule */
    DP__FEWEST_TRACERS = 200 /* fewer say nothing about a free form and density of actions */
};

/* The best density at the stars' actions; memory (count^2 + 2 count). */
static af_status dp__recover_density(dp__recovery *f) {
    dp__density *d = &f->density;
    af_status s;
    memset(d->field.p, 0, d->count * sizeof *d->field.p);
    if (dp__recover_loss(f) >= HUGE_VAL) /* actions alone */
        return af_fail(f->c, AF_ERROR_NONFINITE,
                       "recovery: stars are not bound in the first potential, or their actions are "
                       "not finite; begin with more mass, or leave them out");
    s = f->model.places(f->model.user);
    if (s != AF_OK) return s;
    dp__recover_loss(f);
    dp__recover_reduce(f);
    dp__family_fit(&d->field, f->part->gradient + f->count, f->part->field, f->information);
    return AF_OK;
}

static af_status dp__recover_memory(dp__recovery *f) {
    dp__arena *a = &f->arena;
    dp__density *d = &f->density;
    size_t k, all, ok = 1;
    f->count = f->model.count;
    all = f->all = f->count + d->count;
    f->part = DP__ARRAY(a, dp__harvest, DP__PARTS);
    for (k = 0; f->part && k < (size_t)DP__PARTS; k++) {
        dp__harvest *to = f->part + k;
        to->room = DP__ARRAY(a, double, f->model.room);
        to->score = DP__ARRAY(a, double, f->count);
        to->gradient = DP__ARRAY(a, double, all);
        to->field_gradient = DP__ARRAY(a, double, f->count);
        to->products = DP__ARRAY(a, double, f->count * all);
        ok = ok && to->room && to->score && to->gradient && to->field_gradient && to->products;
    }
    d->field.p = DP__ARRAY(a, double, d->count);
    d->field.mean = DP__ARRAY(a, double, d->field.count);
    f->information = DP__ARRAY(a, double, all * all);
    f->factor = DP__ARRAY(a, double, all * all);
    f->gradient = DP__ARRAY(a, double, 3 * all);
    if (!ok || !f->part || !d->field.p || !d->field.mean || !f->information || !f->factor ||
        !f->gradient)
        return dp__fail_memory(f->c, "the information of a recovery");
    f->step = f->gradient + all;
    f->old = f->step + all;
    return AF_OK;
}

/* The loss where a fit begins: all stars bound, the density the best. */
static af_status dp__recover_enter(dp__recovery *f) {
    size_t tries;
    af_status s;
    f->damping = 0.1; /* the information is soon right to that */
    for (tries = 0; tries < 100 && dp__recover_loss(f) >= HUGE_VAL; tries++)
        f->model.heavier(f->model.user); /* some stars did not have a say before */
    if (f->model.renew) f->model.renew(f->model.user);
    s = dp__recover_density(f);
    if (s != AF_OK) return s;
    f->loss = dp__recover_loss(f);
    if (f->loss < HUGE_VAL) return dp__recover_derive(f);
    return af_fail(f->c, AF_ERROR_NONFINITE, "recovery: the first likelihood is not finite");
}

/* Steps, and again whenever what they held fixed is renewed, until that changes nothing. */
static af_status dp__recover_rounds(dp__recovery *f, double tolerance, double until) {
    af_status s = dp__recover_loop(f, tolerance, until);
    double before, gain = HUGE_VAL;
    size_t k;
    for (k = 0; k < (size_t)DP__ROUNDS && f->model.renew && !(gain < 2.0 * tolerance); k++) {
        if (s != AF_OK || !f->report->converged) return s;
        f->model.renew(f->model.user);
        before = f->loss = dp__recover_loss(f);
        if (before >= HUGE_VAL)
            return af_fail(f->c, AF_ERROR_NONFINITE,
                           "recovery: actions are not finite any more; begin nearer to the truth");
        s = dp__recover_derive(f);
        if (s == AF_OK) s = dp__recover_loop(f, tolerance, until);
        gain = before - f->loss;
    }
    if (f->model.renew && !(gain < 2.0 * tolerance)) f->report->converged = 0;
    return s;
}

/* The loss of all stars where the fit begins, and memory. */
static af_status dp__recover_begin(dp__recovery *f) {
    af_status s = dp__recover_memory(f);
    dp__recover_use(f, f->total);
    if (s == AF_OK) s = dp__recover_enter(f);
    if (s == AF_OK) f->report->untrained = f->loss / (double)f->n;
    return s;
}

/* Some stars first, then all. */
static af_status dp__recover_stages(dp__recovery *f) {
    const dp_recover_desc *d = f->desc;
    double until = (d->clock ? d->clock(d->user) : 0.0) + d->seconds;
    af_status s = AF_OK;
    if (dp__recover_tell(f, 0.0)) return AF_STOPPED;
    if (f->total >= 2 * (size_t)DP__FIRST_STARS) {
        dp__recover_use(f, DP__FIRST_STARS);
        s = dp__recover_enter(f);
        if (s == AF_OK) s = dp__recover_rounds(f, 10.0 * d->tolerance, until);
        dp__recover_use(f, f->total);
        if (s == AF_OK) s = dp__recover_enter(f);
    }
    return s == AF_OK ? dp__recover_rounds(f, d->tolerance, until) : s;
}

/* After dp__recover_begin: potential, covariance and report. AF_STOPPED keeps the best. */
static af_status dp__recover_fit(dp__recovery *f) {
    af_status s = dp__recover_stages(f), end;
    if (s != AF_OK && s != AF_STOPPED) return s;
    end = dp__recover_errors(f);
    return end == AF_OK ? s : end;
}

/* ---- what all recoveries ask for ---- */

static af_status dp__recover_desc_check(af_context *c, dp_recover_desc *d) {
    size_t k;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(c, AF_ERROR_ARGUMENT, "dp_recover_desc was not initialised to zero");
    for (k = 0; k < 6; k++)
        if (!dp__is_finite(d->centre[k]))
            return af_fail(c, AF_ERROR_ARGUMENT, "recovery: the centre is not finite");
    if (!d->steps) d->steps = 200;
    if (!(d->tolerance > 0.0)) d->tolerance = 0.05;
    return AF_OK;
}

/* Whether the sample is all of space. */
static af_status dp__recover_volume(af_context *c, const dp_sample *sample,
                                    const dp_recover_desc *d) {
    if (dp_sample_volume(sample).kind == DP_VOLUME_ALL || d->ignore_volume) return AF_OK;
    return af_fail(c, AF_ERROR_ARGUMENT,
                   "recovery: the sample is cut in space, which biases actions; take all stars, "
                   "or set ignore_volume where their orbits do not reach the edge");
}

/* The density's cells, before the stars' places are known. */
static void dp__recover_axes(dp__recovery *f, size_t axes) {
    dp__family *e = &f->density.field;
    size_t k;
    e->axes = axes;
    e->bins = f->desc->bins;
    e->side = e->bins + 3;
    e->count = 1;
    for (k = 0; k < axes; k++) {
        e->count *= e->side;
        dp__axis_open(e->axis + k, e->bins, 0, NULL);
    }
    f->density.count = e->count + DP__STREAM * f->density.streams;
}

/* Weights of those stars of the sample that have one, `which` their numbers. */
static af_status dp__recover_weights(dp__recovery *f, const dp_sample *sample, size_t *which) {
    const double *w = dp_sample_weights(sample);
    size_t i, n = dp_sample_count(sample);
    for (i = 0; i < n; i++) {
        if (w && !(w[i] > 0.0)) continue;
        which[f->total] = i;
        f->weight[f->total++] = w ? w[i] : 1.0;
    }
    f->report->stars = f->total;
    if (f->total >= (size_t)DP__FEWEST_TRACERS) return AF_OK;
    return af_fail(f->c, AF_ERROR_DATA, "recovery: %lu stars are too few; at least %d are needed",
                   (unsigned long)f->total, (int)DP__FEWEST_TRACERS);
}
