/* ---- recovery: the fit --------------------------------------------------------------------------
 *
 * Potential and density of actions are moved together: a deeper potential makes all actions larger,
 * and one without the other would go zigzag. Steps are those of Newton's method with the Fisher
 * information in place of second derivatives, damped as Levenberg and Marquardt do: that of the
 * spline follows from the density, the rest is a sum of products of the stars' scores (Berndt,
 * Hall, Hall & Hausman 1974). Sums over stars are taken in a fixed number of parts and added in
 * order: they do not depend on the threads. The potential is a dp__model: spherical, or a sum of
 * axisymmetric parts. */

enum {
    DP__PARTS = 32,         /* of the stars */
    DP__FIRST_STARS = 8192, /* that go first, when there are at least twice as many */
    DP__TRIES = 14          /* of a step, each with ten times the damping of the last */
};

/* Added to the information about a stream's numbers, which a star has about 1 of: among the first
 * stars there may be none of it, and the information needs an inverse. */
#define DP__STREAM_LEAST 1e-3

/* What is summed over a part of the stars. */
typedef struct dp__harvest {
    double ln_p, field;  /* field: weights of its stars */
    size_t unbound;
    double *room;        /* for the potential */
    double *score;       /* (count) of one star, by the potential */
    double *gradient;    /* (all) of ln p, but for ln_z, as all that follows */
    double *field_gradient; /* (count) that of the field's stars */
    double *products;    /* (count,all) of scores by the potential and by all */
    double streams[DP__STREAMS_MAX][DP__STREAM * DP__STREAM]; /* of scores by a stream's numbers */
} dp__harvest;

/* A star in the trial potential: ln p and its scores by the density, as dp__density_terms gives
 * them. */
typedef struct dp__sight {
    double ln_p;
    size_t stream, terms, at[DP__FAMILY_TERMS];
    double value[DP__FAMILY_TERMS];
} dp__sight;

/* A potential with parameters, and the stars in it. */
typedef struct dp__model {
    void *user;
    double *p;         /* (count) */
    size_t count, room; /* room: numbers of memory for a star's scores */
    int (*update)(void *user); /* takes the parameters over; 0: they make no sense */
    /* -ln prior; gradient and precision (count), unless NULL */
    double (*prior)(void *user, double *gradient, double *precision);
    /* What star i gives, with to->score; 0 when it is not bound. */
    int (*star)(void *user, size_t i, dp__harvest *to, dp__sight *s);
    /* Scales and first numbers of the density, at the actions that are there. */
    af_status (*places)(void *user);
    void (*heavier)(void *user); /* binds stars that are not */
    void (*renew)(void *user);   /* what steps hold fixed; NULL: nothing */
    const char *advice; /* where the information has no inverse */
} dp__model;

typedef struct dp__recovery {
    af_context *c;
    const dp_recover_desc *desc;
    dp_recover_report *report;
    double *covariance;    /* (count,count) of the parameters of the potential: the result */
    dp__model model;
    dp__arena arena;
    size_t total, n;       /* stars, and how many of them are in use, evenly taken */
    double *weight, share; /* (total); what they are multiplied by, so that they add up to n */
    size_t count, all;     /* parameters of the potential; and of the density of actions */
    dp__density density;
    double loss, damping;
    dp__harvest *part;       /* (DP__PARTS) */
    double *information, *factor;  /* (all,all) */
    double *gradient, *step, *old; /* (all); old: parameters before the step */
} dp__recovery;

/* The number of the i-th star in use. */
static size_t dp__recover_star(const dp__recovery *f, size_t i) { return i * f->total / f->n; }

/* From now on n stars are in use. */
static void dp__recover_use(dp__recovery *f, size_t n) {
    double sum = 0.0;
    size_t i;
    f->n = n;
    for (i = 0; i < n; i++) sum += f->weight[dp__recover_star(f, i)];
    f->share = (double)n / sum;
}

static void dp__part_of(size_t n, size_t part, size_t parts, size_t *first, size_t *end) {
    *first = n * part / parts;
    *end = n * (part + 1) / parts;
}

/* ---- what is summed over the stars ---- */

/* What a star adds whose scores by the potential are there. */
static void dp__recover_add(const dp__recovery *f, double weight, const dp__sight *s,
                            dp__harvest *to) {
    size_t i, k;
    to->ln_p += weight * s->ln_p;
    to->field += s->stream ? 0.0 : weight;
    for (k = 0; k < s->terms; k++) to->gradient[f->count + s->at[k]] += weight * s->value[k];
    for (i = 0; i < f->count; i++) {
        double score = weight * to->score[i], *row = to->products + i * f->all;
        to->gradient[i] += score;
        to->field_gradient[i] += s->stream ? 0.0 : score;
        for (k = 0; k <= i; k++) row[k] += score * to->score[k];
        for (k = 0; k < s->terms; k++) row[f->count + s->at[k]] += score * s->value[k];
    }
    for (i = 0; s->stream && i < (size_t)(DP__STREAM * DP__STREAM); i++)
        to->streams[s->stream - 1][i] +=
            weight * s->value[i / DP__STREAM] * s->value[i % DP__STREAM];
}

/* Actions, ln p, gradient and products of scores. */
static void dp__recover_pass(size_t part, void *user) {
    dp__recovery *f = (dp__recovery *)user;
    dp__harvest *to = f->part + part;
    size_t i, end;
    dp__sight s;
    to->ln_p = to->field = 0.0;
    to->unbound = 0;
    memset(to->gradient, 0, f->all * sizeof(double));
    memset(to->field_gradient, 0, f->count * sizeof(double));
    memset(to->products, 0, f->count * f->all * sizeof(double));
    memset(to->streams, 0, sizeof to->streams);
    dp__part_of(f->n, part, DP__PARTS, &i, &end);
    for (; i < end && !to->unbound; i++) {
        size_t star = dp__recover_star(f, i);
        if (!f->model.star(f->model.user, star, to, &s)) to->unbound++;
        else dp__recover_add(f, f->share * f->weight[star], &s, to);
    }
}

/* ---- loss, gradient, information ---- */

/* -sum ln p - ln prior at the parameters; infinite where a star is not bound or the potential is
 * not finite: such a trial step is not taken. */
static double dp__recover_loss(dp__recovery *f) {
    double loss = f->model.prior(f->model.user, NULL, NULL);
    size_t k;
    if (!f->model.update(f->model.user)) return HUGE_VAL;
    dp__density_prepare(&f->density);
    loss += dp__family_prior(&f->density.field, NULL, NULL, 0);
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
    size_t n = d->field.count, p = f->count, i, k, q;
    memset(f->information, 0, f->all * f->all * sizeof(double));
    dp__family_integrate(&d->field, f->factor);
    for (i = 0; i < n; i++)
        for (k = 0; k <= i; k++)
            f->information[(p + i) * f->all + p + k] = from->field * f->factor[i * n + k];
    for (k = 0; k < d->streams; k++)
        for (q = 0; q < (size_t)(DP__STREAM * DP__STREAM); q++) {
            size_t at = p + n + DP__STREAM * k;
            f->information[(at + q / DP__STREAM) * f->all + at + q % DP__STREAM] =
                from->streams[k][q] + (q % (DP__STREAM + 1) == 0 ? DP__STREAM_LEAST : 0.0);
        }
    dp__family_prior(&d->field, NULL, f->information + p * (f->all + 1), f->all);
    f->model.prior(f->model.user, NULL, f->step);
    for (i = 0; i < p; i++) {
        const double *row = from->products + i * f->all;
        for (k = 0; k <= i; k++) f->information[i * f->all + k] = row[k];
        f->information[i * f->all + i] += f->step[i];
        for (k = p; k < f->all; k++) {
            double centre = k - p < n ? from->field_gradient[i] * d->field.mean[k - p] : 0.0;
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
    f->model.prior(f->model.user, f->gradient, NULL);
    memset(f->gradient + f->count, 0, d->count * sizeof(double));
    dp__family_prior(&d->field, f->gradient + f->count, NULL, 0);
    for (i = 0; i < f->all; i++) {
        f->gradient[i] -= f->part->gradient[i];
        if (i >= f->count && i - f->count < d->field.count)
            f->gradient[i] += f->part->field * d->field.mean[i - f->count];
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
    double *p = f->model.p;
    size_t i;
    for (i = 0; i < f->all; i++) {
        double x = f->old[i] + (scale != 0.0 ? scale * f->step[i] : 0.0);
        if (i < f->count) p[i] = x;
        else f->density.field.p[i - f->count] = x;
    }
}

/* One step downhill from where loss and gradient are known; *gain gets what it gained, 0 when none
 * does. */
static af_status dp__recover_step(dp__recovery *f, double *gain) {
    double before = f->loss;
    size_t tries;
    *gain = 0.0;
    memcpy(f->old, f->model.p, f->count * sizeof(double));
    memcpy(f->old + f->count, f->density.field.p, f->density.count * sizeof(double));
    for (tries = 0; tries < (size_t)DP__TRIES; tries++) {
        f->loss = HUGE_VAL;
        if (dp__recover_solve(f)) {
            dp__recover_move(f, 1.0);
            f->loss = dp__recover_loss(f);
        }
        if (f->loss < before) break;
        f->report->rejected++;
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
    const dp_recover_desc *d = f->desc;
    dp_recover_progress p = DP__ZERO;
    p.step = f->report->steps;
    p.steps = d->steps;
    p.stars = f->n;
    p.loss = f->report->loss = f->loss / (double)f->n;
    p.gain = gain;
    p.damping = f->damping;
    return d->progress && d->progress(&p, d->user);
}

/* Steps until one of the ends, from where loss and derivatives are known; `until` on the clock. */
static af_status dp__recover_loop(dp__recovery *f, double tolerance, double until) {
    const dp_recover_desc *d = f->desc;
    dp_recover_report *report = f->report;
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
                       "%s and bins", f->model.advice);
    for (i = 0; i < p; i++) {
        memset(f->step, 0, n * sizeof(double));
        f->step[i] = 1.0;
        dp__factor_solve(n, f->factor, f->step);
        for (k = 0; k < p; k++) f->covariance[i * p + k] = f->step[k];
    }
    return AF_OK;
}
