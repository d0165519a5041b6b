/* ---- recovery: the fit --------------------------------------------------------------------------
 *
 * Potential and density of actions are moved together by Newton's method with the Fisher
 * information in place of second derivatives (sum of products of scores: Berndt, Hall, Hall &
 * Hausman 1974), damped as Levenberg and Marquardt do. One without the other would go zigzag: a
 * deeper potential makes all actions larger. After each step two rounds of EM improve the density
 * in the directions in which the information is poor. Sums over stars are taken in a fixed number
 * of parts and added in order: they do not depend on the threads. */

enum {
    DP__PARTS = 32,     /* of the stars */
    DP__BLOCK = 512,    /* stars whose scores are multiplied at a time */
    DP__FIRST_ROUNDS = 60, DP__ROUNDS = 2, /* of EM */
    DP__TRIES = 14      /* of a step, each with three times the damping of the last */
};

struct dp_recovered {
    af_context *c;
    dp__arena arena;
    dp_recover_desc desc;  /* with the defaults filled in */
    dp__halo halo;         /* in units of length and speed, G = 1 */
    dp__clumps clumps;
    double length, speed;
    double middle, spread; /* of x, that the network sees */
    double *covariance;    /* (count,count) of the parameters of the potential */
    double *align;         /* (DP__TABLE): the mean of Phi over the stars that are covered */
    dp_recover_report report;
};

typedef struct dp__recovery {
    af_context *c;
    dp_recovered *r;
    dp__arena arena;
    size_t n, count, all; /* stars; parameters of the potential; and of the clumps */
    size_t info;          /* stars of the information */
    dp__tracer *star;
    double loss, damping;
    double sum[DP__PARTS];        /* of ln p */
    size_t unbound[DP__PARTS];
    double *table[DP__PARTS];     /* (DP__TABLE) derivatives of ln likelihood by the table */
    double *part[DP__PARTS];      /* (9 clumps): by the clumps, or sums of EM */
    af_func *products;            /* (all,all) of a block's scores */
    af_workspace *work;
    size_t block;                 /* in hand */
    double *by_table, *by_clumps; /* (DP__BLOCK,DP__TABLE), (DP__BLOCK,6 clumps): its scores */
    double *information, *factor, *gradient, *step, *old;
} dp__recovery;

static void dp__part_of(size_t n, size_t part, size_t parts, size_t *first, size_t *end) {
    *first = n * part / parts;
    *end = n * (part + 1) / parts;
}

/* ---- what is summed over the stars ---- */

static void dp__recover_orbits(size_t part, void *user) {
    dp__recovery *f = (dp__recovery *)user;
    dp__shares shares;
    dp__orbit o;
    size_t i, end;
    f->sum[part] = 0.0;
    f->unbound[part] = 0;
    dp__part_of(f->n, part, DP__PARTS, &i, &end);
    for (; i < end; i++) {
        dp__tracer *s = f->star + i;
        if (!dp__orbit_of(&f->r->halo.table, s, &o)) f->unbound[part]++;
        s->j = fmax(o.j, DP__J_MIN);
        s->ln_j = log(s->j);
        if (f->r->clumps.count)
            f->sum[part] += s->weight * dp__clumps_at(&f->r->clumps, s->ln_j, s->ln_l, &shares);
    }
}

static void dp__recover_count(size_t part, void *user) {
    dp__recovery *f = (dp__recovery *)user;
    const dp__clumps *m = &f->r->clumps;
    dp__shares shares;
    size_t i, end;
    f->sum[part] = 0.0;
    memset(f->part[part], 0, m->count * DP__SUMS * sizeof(double));
    dp__part_of(f->n, part, DP__PARTS, &i, &end);
    for (; i < end; i++) {
        const dp__tracer *s = f->star + i;
        f->sum[part] += s->weight * dp__clumps_at(m, s->ln_j, s->ln_l, &shares);
        dp__clumps_count(m, s->ln_l, &shares, s->weight, f->part[part]);
    }
}

static void dp__recover_gradient_part(size_t part, void *user) {
    dp__recovery *f = (dp__recovery *)user;
    const dp__clumps *m = &f->r->clumps;
    const dp__radial *t = &f->r->halo.table;
    dp__shares shares;
    dp__orbit o;
    size_t i, end;
    memset(f->table[part], 0, DP__TABLE * sizeof(double));
    memset(f->part[part], 0, m->count * DP__CLUMP * sizeof(double));
    dp__part_of(f->n, part, DP__PARTS, &i, &end);
    for (; i < end; i++) {
        dp__tracer *s = f->star + i;
        dp__orbit_of(t, s, &o);
        dp__clumps_at(m, s->ln_j, s->ln_l, &shares);
        dp__orbit_row(t, s, &o, s->weight * dp__clumps_slope(m, s->j, &shares), f->table[part]);
        dp__clumps_score(m, s->ln_l, &shares, s->weight, f->part[part]);
    }
}

/* Scores of a part of the block: by the table, and by the clumps, times the root of the weight. */
static void dp__recover_scores(size_t part, void *user) {
    dp__recovery *f = (dp__recovery *)user;
    const dp__clumps *m = &f->r->clumps;
    const dp__radial *t = &f->r->halo.table;
    size_t i, end, width = f->all - f->count;
    dp__shares shares;
    dp__orbit o;
    dp__part_of(DP__BLOCK, part, DP__PARTS, &i, &end);
    for (; i < end; i++) {
        size_t at = f->block * DP__BLOCK + i;
        double *row = f->by_table + i * DP__TABLE, *clumps = f->by_clumps + i * width, root;
        dp__tracer *s = f->star + (at < f->info ? at : 0) * f->n / f->info; /* evenly taken */
        memset(row, 0, DP__TABLE * sizeof(double));
        memset(clumps, 0, width * sizeof(double));
        if (at >= f->info) continue;
        root = sqrt(s->weight);
        dp__orbit_of(t, s, &o);
        dp__clumps_at(m, s->ln_j, s->ln_l, &shares);
        dp__orbit_row(t, s, &o, root * dp__clumps_slope(m, s->j, &shares), row);
        dp__clumps_score(m, s->ln_l, &shares, root, clumps);
    }
}

/* The function of a block: scores (DP__BLOCK,all) of the derivatives of the potential (count,
 * DP__HALO) and those of the stars, and their products. */
static af_status dp__recover_compile(dp__recovery *f) {
    af_context *c = f->c;
    af_expr input[3], score[2], all;
    size_t dims[2];
    dims[0] = f->count;
    dims[1] = DP__HALO;
    input[0] = af_input(c, "derivatives of the potential", 2, dims);
    dims[0] = DP__BLOCK;
    dims[1] = DP__TABLE;
    input[1] = af_input(c, "scores by the table", 2, dims);
    dims[1] = f->all - f->count;
    input[2] = af_input(c, "scores by the clumps", 2, dims);
    score[0] = af_transpose(c, af_slice(c, input[0], 1, 0, DP__TABLE));
    score[0] = af_matmul(c, input[1], score[0]);
    score[1] = input[2];
    all = af_concat(c, 1, 2, score);
    return dp__halo_compile_one(c, 3, input, af_matmul(c, af_transpose(c, all), all),
                                &f->products, &f->work);
}

/* ---- loss, gradient, information ---- */

/* -sum ln p - ln prior at the parameters; infinite where a star is not bound or the potential is
 * not finite: such a trial step is not taken. */
static double dp__recover_loss(dp__recovery *f) {
    double loss = dp__halo_prior(&f->r->halo, NULL, NULL);
    size_t k;
    if (!dp__halo_update(&f->r->halo)) return HUGE_VAL;
    af_parallel(f->c, DP__PARTS, dp__recover_orbits, f);
    for (k = 0; k < (size_t)DP__PARTS; k++) {
        if (f->unbound[k]) return HUGE_VAL;
        loss -= f->sum[k];
    }
    return dp__is_finite(loss) ? loss : HUGE_VAL;
}

/* Rounds of EM at the stars' actions. */
static void dp__recover_em(dp__recovery *f, size_t rounds) {
    dp__clumps *m = &f->r->clumps;
    size_t i, k, size = m->count * DP__SUMS;
    while (rounds-- > 0) {
        af_parallel(f->c, DP__PARTS, dp__recover_count, f);
        for (k = 1; k < (size_t)DP__PARTS; k++)
            for (i = 0; i < size; i++) f->part[0][i] += f->part[k][i];
        dp__clumps_step(m, f->part[0]);
    }
}

/* The loss at the stars' actions, after a change of the clumps alone. */
static double dp__recover_loss_of_clumps(dp__recovery *f) {
    double loss = dp__halo_prior(&f->r->halo, NULL, NULL);
    size_t k;
    af_parallel(f->c, DP__PARTS, dp__recover_count, f);
    for (k = 0; k < (size_t)DP__PARTS; k++) loss -= f->sum[k];
    return loss;
}

static void dp__recover_gradient(dp__recovery *f) {
    const dp__halo *h = &f->r->halo;
    size_t i, k;
    dp__halo_prior(h, f->gradient, NULL);
    af_parallel(f->c, DP__PARTS, dp__recover_gradient_part, f);
    for (k = 1; k < (size_t)DP__PARTS; k++) {
        for (i = 0; i < (size_t)DP__TABLE; i++) f->table[0][i] += f->table[k][i];
        for (i = 0; i < f->all - f->count; i++) f->part[0][i] += f->part[k][i];
    }
    for (k = 0; k < f->count; k++)
        for (i = 0; i < (size_t)DP__TABLE; i++)
            f->gradient[k] -= f->table[0][i] * h->rows[k * DP__HALO + i];
    for (i = f->count; i < f->all; i++) f->gradient[i] = -f->part[0][i - f->count];
}

/* The information of all stars and of the prior, from that of some. */
static af_status dp__recover_information(dp__recovery *f, size_t stars) {
    const void *in[3];
    void *out[1];
    double sum = 0.0;
    size_t i, size = f->all * f->all;
    f->info = stars < f->n ? stars : f->n;
    for (i = 0; i < f->info; i++) sum += f->star[i * f->n / f->info].weight;
    memset(f->information, 0, size * sizeof(double));
    in[0] = f->r->halo.rows;
    in[1] = f->by_table;
    in[2] = f->by_clumps;
    out[0] = f->factor;
    for (f->block = 0; f->block * DP__BLOCK < f->info; f->block++) {
        af_parallel(f->c, DP__PARTS, dp__recover_scores, f);
        if (af_run(f->products, f->work, in, out) != AF_OK)
            return af_fail(f->c, AF_ERROR_BACKEND, "recovery: scores could not be multiplied");
        for (i = 0; i < size; i++) /* the mean weight is one */
            f->information[i] += f->factor[i] * (double)f->n / sum;
    }
    dp__halo_prior(&f->r->halo, NULL, f->step);
    for (i = 0; i < f->all; i++) /* a star for the clumps: their shares have a constant in common */
        f->information[i * f->all + i] += i < f->count ? f->step[i] : 1.0;
    return AF_OK;
}

/* ---- steps ---- */

/* f->step = -(information + damping diagonal)^-1 gradient, no number above 2; 0 on failure. */
static int dp__recover_solve(dp__recovery *f) {
    size_t i, n = f->all;
    double most = 0.0;
    memcpy(f->factor, f->information, n * n * sizeof(double));
    for (i = 0; i < n; i++) f->factor[i * n + i] *= 1.0 + f->damping;
    if (!dp__factorise(n, f->factor)) return 0;
    for (i = 0; i < n; i++) f->step[i] = -f->gradient[i];
    dp__factor_solve(n, f->factor, f->step);
    for (i = 0; i < n; i++) most = fmax(most, fabs(f->step[i]));
    for (i = 0; i < n && most > 2.0; i++) f->step[i] *= 2.0 / most;
    return dp__is_finite(most);
}

/* The parameters, moved from f->old by f->step times scale. */
static void dp__recover_move(dp__recovery *f, double scale) {
    double *p = af_params_data(f->r->halo.params);
    size_t i;
    for (i = 0; i < f->all; i++) {
        double x = f->old[i] + (scale != 0.0 ? scale * f->step[i] : 0.0);
        if (i < f->count) p[i] = x;
        else f->r->clumps.p[i - f->count] = x;
    }
    dp__clumps_prepare(&f->r->clumps);
}

/* One step downhill; *gain gets what it gained, 0 when none does. */
static af_status dp__recover_step(dp__recovery *f, double *gain) {
    dp_recovered *r = f->r;
    double before = f->loss, loss = HUGE_VAL;
    dp__clumps kept;
    af_status s;
    size_t i, tries;
    *gain = 0.0;
    if (!dp__halo_derive(&r->halo))
        return af_fail(f->c, AF_ERROR_BACKEND, "recovery: the potential could not be derived");
    dp__recover_gradient(f);
    s = dp__recover_information(f, r->desc.information);
    if (s != AF_OK) return s;
    memcpy(f->old, af_params_data(r->halo.params), f->count * sizeof(double));
    memcpy(f->old + f->count, r->clumps.p, (f->all - f->count) * sizeof(double));
    for (i = 0; i < f->all; i++)
        if (!dp__is_finite(f->gradient[i]))
            return af_fail(f->c, AF_ERROR_NONFINITE,
                           "recovery: the gradient of the likelihood is not finite");
    for (tries = 0; tries < (size_t)DP__TRIES; tries++) {
        loss = HUGE_VAL;
        if (dp__recover_solve(f)) {
            dp__recover_move(f, 1.0);
            loss = dp__recover_loss(f);
        }
        if (loss < before) break;
        r->report.rejected++;
        f->damping = fmax(3.0 * f->damping, 1e-4);
    }
    if (!(loss < before)) {
        dp__recover_move(f, 0.0);
        f->loss = dp__recover_loss(f);
        return AF_OK;
    }
    if (tries == 0) f->damping *= 0.3;
    kept = r->clumps;
    dp__recover_em(f, DP__ROUNDS);
    f->loss = dp__recover_loss_of_clumps(f);
    if (!(f->loss < loss)) {
        r->clumps = kept;
        f->loss = loss;
    }
    *gain = before - f->loss;
    return AF_OK;
}

/* Steps until one of the ends. */
static af_status dp__recover_loop(dp__recovery *f) {
    const dp_recover_desc *d = &f->r->desc;
    dp_recover_report *report = &f->r->report;
    double started = d->clock ? d->clock(d->user) : 0.0, gain;
    size_t quiet = 0;
    report->untrained = f->loss / (double)f->n;
    while (report->steps < d->steps && quiet < 3) {
        dp_recover_progress p = DP__ZERO;
        af_status s;
        if (d->clock && d->seconds > 0.0 && d->clock(d->user) - started > d->seconds) break;
        s = dp__recover_step(f, &gain);
        if (s != AF_OK) return s;
        quiet = gain < d->tolerance ? quiet + 1 : 0;
        if (!(gain > 0.0)) quiet = 3; /* no step leads down */
        p.step = ++report->steps;
        p.steps = d->steps;
        p.loss = report->loss = f->loss / (double)f->n;
        p.gain = gain;
        p.damping = f->damping;
        if (d->progress && d->progress(&p, d->user)) return AF_STOPPED;
    }
    report->converged = quiet >= 3;
    return AF_OK;
}

/* The covariance of the potential's parameters, those of the clumps being free. */
static af_status dp__recover_errors(dp__recovery *f) {
    size_t i, k, n = f->all, p = f->count;
    af_status s;
    if (!dp__halo_derive(&f->r->halo))
        return af_fail(f->c, AF_ERROR_BACKEND, "recovery: the potential could not be derived");
    s = dp__recover_information(f, 4 * f->r->desc.information);
    if (s != AF_OK) return s;
    memcpy(f->factor, f->information, n * n * sizeof(double));
    if (!dp__factorise(n, f->factor))
        return af_fail(f->c, AF_ERROR_NONFINITE,
                       "recovery: the Fisher information has no inverse; take more stars, or a "
                       "smaller network");
    for (i = 0; i < p; i++) {
        memset(f->step, 0, n * sizeof(double));
        f->step[i] = 1.0;
        dp__factor_solve(n, f->factor, f->step);
        for (k = 0; k < p; k++) f->r->covariance[i * p + k] = f->step[k];
    }
    return AF_OK;
}
