/* ---- recovery: the fit --------------------------------------------------------------------------
 *
 * Potential and density of actions are moved together: a deeper potential makes all actions larger,
 * and one without the other would go zigzag. Steps are those of Newton's method with the Fisher
 * information in place of second derivatives, damped as Levenberg and Marquardt do: that of the
 * spline follows from the density, the rest is a sum of products of the stars' scores (Berndt,
 * Hall, Hall & Hausman 1974). Some of the stars go first, and bring the
 * rest near its end. Sums over stars are taken in a fixed number of parts and added in order: they
 * do not depend on the threads. */

enum {
    DP__PARTS = 32,         /* of the stars */
    DP__FIRST_STARS = 8192, /* that go first, when there are at least twice as many */
    DP__TRIES = 14          /* of a step, each with ten times the damping of the last */
};

struct dp_recovered {
    af_context *c;
    dp__arena arena;
    dp_recover_desc desc;  /* with the defaults filled in */
    dp__halo halo;         /* in units of length and speed, G = 1 */
    double length, speed;
    double middle, spread; /* of x, that the network sees */
    double *covariance;    /* (count,count) of the parameters of the potential */
    double *align;         /* (DP__TABLE): the mean of Phi over the stars that are covered */
    double *untrained;     /* (DP__HALO): halo.out at the start */
    dp_recover_report report;
};

/* What is summed over a part of the stars. */
typedef struct dp__harvest {
    double ln_p, field;  /* field: weights of its stars */
    size_t unbound;
    double *row, *score; /* (DP__TABLE), (count): one star's, by the table and by the potential */
    double *gradient;    /* (all) of ln p, but for ln_z, as all that follows */
    double *field_gradient; /* (count) that of the field's stars */
    double *products;    /* (count,all) of scores by the potential and by all */
    double streams[DP__STREAMS_MAX][DP__STREAM * DP__STREAM]; /* of scores by a stream's numbers */
} dp__harvest;

typedef struct dp__recovery {
    af_context *c;
    dp_recovered *r;
    dp__arena arena;
    size_t n, count, all; /* stars; parameters of the potential; and of the density of actions */
    dp__tracer *star;
    dp__density density;
    double loss, damping;
    dp__harvest *part;       /* (DP__PARTS) */
    double *information, *factor;  /* (all,all) */
    double *gradient, *step, *old; /* (all); old: parameters before the step */
} dp__recovery;

static void dp__part_of(size_t n, size_t part, size_t parts, size_t *first, size_t *end) {
    *first = n * part / parts;
    *end = n * (part + 1) / parts;
}

/* ---- what is summed over the stars ---- */

/* to (count) = the derivatives by the table, row (DP__TABLE), of those parts that the orbit has
 * to do with, by the parameters. */
static void dp__recover_project(const dp__halo *h, const double *row, double *to) {
    size_t i, k;
    memset(to, 0, h->count * sizeof *to);
    for (i = 0; i < (size_t)DP__TABLE; i++)
        for (k = 0; row[i] != 0.0 && k < h->count; k++) to[k] += row[i] * h->rows[i * h->count + k];
}

/* What a star adds whose scores by the potential are there. */
static void dp__recover_add(const dp__recovery *f, const dp__tracer *s, const dp__chance *q,
                            dp__harvest *to) {
    size_t at[16], terms, i, k;
    double value[16];
    terms = dp__density_terms(&f->density, s, q, at, value);
    for (k = 0; k < terms; k++) to->gradient[f->count + at[k]] += s->weight * value[k];
    for (i = 0; i < f->count; i++) {
        double score = s->weight * to->score[i], *row = to->products + i * f->all;
        to->gradient[i] += score;
        to->field_gradient[i] += s->stream ? 0.0 : score;
        for (k = 0; k <= i; k++) row[k] += score * to->score[k];
        for (k = 0; k < terms; k++) row[f->count + at[k]] += score * value[k];
    }
    for (i = 0; s->stream && i < (size_t)(DP__STREAM * DP__STREAM); i++)
        to->streams[s->stream - 1][i] += s->weight * value[i / DP__STREAM] * value[i % DP__STREAM];
}

/* Actions, ln p, gradient and products of scores. */
static void dp__recover_pass(size_t part, void *user) {
    dp__recovery *f = (dp__recovery *)user;
    const dp__radial *t = &f->r->halo.table;
    dp__harvest *to = f->part + part;
    size_t i, end;
    dp__orbit o;
    to->ln_p = to->field = 0.0;
    to->unbound = 0;
    memset(to->gradient, 0, f->all * sizeof(double));
    memset(to->field_gradient, 0, f->count * sizeof(double));
    memset(to->products, 0, f->count * f->all * sizeof(double));
    memset(to->streams, 0, sizeof to->streams);
    dp__part_of(f->n, part, DP__PARTS, &i, &end);
    for (; i < end && !to->unbound; i++) {
        dp__tracer *s = f->star + i;
        dp__chance q;
        if (!dp__orbit_of(t, s, &o)) {
            to->unbound++;
            break;
        }
        s->j = fmax(o.j, DP__J_MIN);
        q = dp__density_at(&f->density, s);
        to->ln_p += s->weight * q.ln_p;
        to->field += s->stream ? 0.0 : s->weight;
        memset(to->row, 0, DP__TABLE * sizeof(double));
        dp__orbit_row(t, s, &o, q.slope, to->row);
        dp__recover_project(&f->r->halo, to->row, to->score);
        dp__recover_add(f, s, &q, to);
    }
}

/* ---- loss, gradient, information ---- */

/* -sum ln p - ln prior at the parameters; infinite where a star is not bound or the potential is
 * not finite: such a trial step is not taken. */
static double dp__recover_loss(dp__recovery *f) {
    double loss = dp__halo_prior(&f->r->halo, NULL, NULL);
    size_t k;
    if (!dp__halo_update(&f->r->halo)) return HUGE_VAL;
    dp__halo_derive(&f->r->halo);
    dp__density_prepare(&f->density);
    loss += dp__density_prior(&f->density, NULL, NULL, 0);
    af_parallel(f->c, DP__PARTS, dp__recover_pass, f);
    for (k = 0; k < (size_t)DP__PARTS; k++) {
        if (f->part[k].unbound) return HUGE_VAL;
        loss -= f->part[k].ln_p;
    }
    return dp__is_finite(loss) ? loss : HUGE_VAL;
}

/* Adds all parts to the first. */
static void dp__recover_reduce(dp__recovery *f) {
    dp__harvest *to = f->part;
    size_t k, i, q;
    for (k = 1; k < (size_t)DP__PARTS; k++) {
        const dp__harvest *from = f->part + k;
        to->field += from->field;
        for (i = 0; i < f->all; i++) to->gradient[i] += from->gradient[i];
        for (i = 0; i < f->count; i++) to->field_gradient[i] += from->field_gradient[i];
        for (i = 0; i < f->count * f->all; i++) to->products[i] += from->products[i];
        for (i = 0; i < f->density.streams; i++)
            for (q = 0; q < (size_t)(DP__STREAM * DP__STREAM); q++)
                to->streams[i][q] += from->streams[i][q];
    }
}

/* The information, lower half, and that of the prior; after dp__recover_reduce. */
static void dp__recover_information(dp__recovery *f) {
    const dp__harvest *from = f->part;
    dp__density *d = &f->density;
    size_t n = d->side * d->side, p = f->count, i, k, q;
    memset(f->information, 0, f->all * f->all * sizeof(double));
    dp__density_integrate(d, f->factor);
    for (i = 0; i < n; i++)
        for (k = 0; k <= i; k++)
            f->information[(p + i) * f->all + p + k] = from->field * f->factor[i * n + k];
    for (k = 0; k < d->streams; k++)
        for (q = 0; q < (size_t)(DP__STREAM * DP__STREAM); q++) {
            size_t at = p + n + DP__STREAM * k;
            f->information[(at + q / DP__STREAM) * f->all + at + q % DP__STREAM] =
                from->streams[k][q];
        }
    dp__density_prior(d, NULL, f->information + p * (f->all + 1), f->all);
    dp__halo_prior(&f->r->halo, NULL, f->step);
    for (i = 0; i < p; i++) {
        const double *row = from->products + i * f->all;
        for (k = 0; k <= i; k++) f->information[i * f->all + k] = row[k];
        f->information[i * f->all + i] += f->step[i];
        for (k = p; k < f->all; k++) {
            double centre = k - p < n ? from->field_gradient[i] * d->mean[k - p] : 0.0;
            f->information[k * f->all + i] = row[k] - centre;
        }
    }
}

/* The gradient of the loss and the information, after dp__recover_loss. */
static af_status dp__recover_derive(dp__recovery *f) {
    const dp__density *d = &f->density;
    size_t i;
    dp__recover_reduce(f);
    dp__recover_information(f);
    dp__halo_prior(&f->r->halo, f->gradient, NULL);
    memset(f->gradient + f->count, 0, d->count * sizeof(double));
    dp__density_prior(d, f->gradient + f->count, NULL, 0);
    for (i = 0; i < f->all; i++) {
        f->gradient[i] -= f->part->gradient[i];
        if (i >= f->count && i - f->count < d->side * d->side)
            f->gradient[i] += f->part->field * d->mean[i - f->count];
        if (!dp__is_finite(f->gradient[i]))
            return af_fail(f->c, AF_ERROR_NONFINITE,
                           "recovery: the gradient of the likelihood is not finite");
    }
    return AF_OK;
}

/* ---- steps ---- */

/* f->step = -(information + damping diagonal)^-1 gradient, no parameter of the potential by more
 * than 2; 0 on failure. */
static int dp__recover_solve(dp__recovery *f) {
    size_t i, n = f->all;
    double most = 0.0;
    memcpy(f->factor, f->information, n * n * sizeof(double));
    for (i = 0; i < n; i++) f->factor[i * n + i] *= 1.0 + f->damping;
    if (!dp__factorise(n, f->factor)) return 0;
    for (i = 0; i < n; i++) f->step[i] = -f->gradient[i];
    dp__factor_solve(n, f->factor, f->step);
    for (i = 0; i < f->count; i++) most = fmax(most, fabs(f->step[i]));
    for (i = 0; i < n && most > 2.0; i++) f->step[i] *= 2.0 / most;
    return dp__is_finite(most);
}

/* The parameters, moved from f->old by f->step times scale. */
static void dp__recover_move(dp__recovery *f, double scale) {
    double *p = f->r->halo.p;
    size_t i;
    for (i = 0; i < f->all; i++) {
        double x = f->old[i] + (scale != 0.0 ? scale * f->step[i] : 0.0);
        if (i < f->count) p[i] = x;
        else f->density.p[i - f->count] = x;
    }
}

/* One step downhill from where loss and gradient are known; *gain gets what it gained, 0 when none
 * does. */
static af_status dp__recover_step(dp__recovery *f, double *gain) {
    double before = f->loss;
    size_t tries;
    *gain = 0.0;
    memcpy(f->old, f->r->halo.p, f->count * sizeof(double));
    memcpy(f->old + f->count, f->density.p, f->density.count * sizeof(double));
    for (tries = 0; tries < (size_t)DP__TRIES; tries++) {
        f->loss = HUGE_VAL;
        if (dp__recover_solve(f)) {
            dp__recover_move(f, 1.0);
            f->loss = dp__recover_loss(f);
        }
        if (f->loss < before) break;
        f->r->report.rejected++;
        f->damping = fmax(10.0 * f->damping, 1e-3);
    }
    if (!(f->loss < before)) {
        dp__recover_move(f, 0.0);
        f->loss = dp__recover_loss(f);
        return AF_OK;
    }
    if (tries == 0) f->damping *= 0.2;
    *gain = before - f->loss;
    return dp__recover_derive(f);
}

/* Tells how far it is; 1 to stop. */
static int dp__recover_tell(dp__recovery *f, double gain) {
    const dp_recover_desc *d = &f->r->desc;
    dp_recover_progress p = DP__ZERO;
    p.step = f->r->report.steps;
    p.steps = d->steps;
    p.stars = f->n;
    p.loss = f->r->report.loss = f->loss / (double)f->n;
    p.gain = gain;
    p.damping = f->damping;
    return d->progress && d->progress(&p, d->user);
}

/* Steps until one of the ends, from where loss and derivatives are known; `until` on the clock. */
static af_status dp__recover_loop(dp__recovery *f, double tolerance, double until) {
    const dp_recover_desc *d = &f->r->desc;
    dp_recover_report *report = &f->r->report;
    size_t quiet = 0;
    double gain;
    af_status s = AF_OK;
    report->converged = 0;
    while (s == AF_OK && report->steps < d->steps && quiet < 2) {
        if (d->clock && d->seconds > 0.0 && d->clock(d->user) > until) break;
        s = dp__recover_step(f, &gain);
        if (s != AF_OK) break;
        quiet = gain < tolerance ? quiet + 1 : 0;
        if (!(gain > 0.0)) quiet = 2; /* no step leads down */
        report->steps++;
        if (dp__recover_tell(f, gain)) s = AF_STOPPED;
    }
    report->converged = quiet >= 2;
    return s;
}

/* The covariance of the potential's parameters, those of the density being free. */
static af_status dp__recover_errors(dp__recovery *f) {
    size_t i, k, n = f->all, p = f->count;
    memcpy(f->factor, f->information, n * n * sizeof(double));
    if (!dp__factorise(n, f->factor))
        return af_fail(f->c, AF_ERROR_NONFINITE,
                       "recovery: the Fisher information has no inverse; take more stars, or fewer "
                       "units and bins");
    for (i = 0; i < p; i++) {
        memset(f->step, 0, n * sizeof(double));
        f->step[i] = 1.0;
        dp__factor_solve(n, f->factor, f->step);
        for (k = 0; k < p; k++) f->r->covariance[i * p + k] = f->step[k];
    }
    return AF_OK;
}
