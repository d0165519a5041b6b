/* ---- recovery: the interface ----------------------------------------------------------------- */

#include <stdlib.h>

#define DP__RECOVERY_FORMAT "deeppotential recovery 2"

enum {
    DP__FEWEST_TRACERS = 200, /* fewer say nothing about a free form and density of actions */
    DP__FEWEST_OF_STREAM = 10 /* fewer say nothing about its width */
};

/* ---- stars ---- */

/* Radius, kinetic energy, L^2 and so on in the sample's units, about the centre. */
static af_status dp__tracer_set(af_context *c, const double *eta, const double centre[6],
                                size_t i, dp__tracer *s) {
    double x[6], r2 = 0.0, v2 = 0.0, along = 0.0;
    size_t k;
    for (k = 0; k < 6; k++) x[k] = eta[k] - centre[k];
    for (k = 0; k < 3; k++) {
        r2 += x[k] * x[k];
        v2 += x[k + 3] * x[k + 3];
        along += x[k] * x[k + 3];
    }
    if (!dp__is_finite(r2 + v2))
        return af_fail(c, AF_ERROR_DATA, "recovery: star %lu is not finite", (unsigned long)i);
    if (!(r2 > 0.0))
        return af_fail(c, AF_ERROR_DATA, "recovery: star %lu is in the centre", (unsigned long)i);
    s->x = sqrt(r2);
    s->kinetic = 0.5 * v2;
    s->l2 = fmax(v2 - along * along / r2, 0.0); /* v_t^2 so far */
    s->weight = 1.0;
    s->peri = s->apo = -1.0;
    s->stream = 0;
    return AF_OK;
}

/* Node variable and L of a star whose radius and speeds are in the units of the table. */
static void dp__tracer_place(const dp__radial *t, dp__tracer *s) {
    s->x = dp__radial_x(t, s->x);
    s->l2 *= dp__radial_at(t, s->x).r * dp__radial_at(t, s->x).r;
    s->l = sqrt(s->l2);
    s->ln_l = log(fmax(s->l, 1e-6)); /* radial orbits: a millionth of the typical L */
}

/* How many streams there are, and how fine the density of the field is. */
static af_status dp__recover_streams(dp__recovery *f) {
    dp__density *d = &f->density;
    size_t stars[DP__STREAMS_MAX + 1], i, k;
    memset(stars, 0, sizeof stars);
    for (i = 0; i < f->n; i++) {
        k = f->star[i].stream;
        if (k > (size_t)DP__STREAMS_MAX)
            return af_fail(f->c, AF_ERROR_DATA,
                           "recovery: a star is of stream %lu; streams are 1 to %d, 0 is the field",
                           (unsigned long)k, (int)DP__STREAMS_MAX);
        stars[k]++;
        if (k > d->streams) d->streams = k;
    }
    for (k = 1; k <= d->streams; k++)
        if (stars[k] < (size_t)DP__FEWEST_OF_STREAM)
            return af_fail(f->c, AF_ERROR_DATA,
                           "recovery: stream %lu has %lu stars, it needs %d; count streams from 1 "
                           "without gaps, and give stars of small ones to the field, 0",
                           (unsigned long)k, (unsigned long)stars[k], (int)DP__FEWEST_OF_STREAM);
    d->bins = f->r->desc.bins;
    d->side = d->bins + 3;
    d->count = d->side * d->side + DP__STREAM * d->streams;
    d->j_0 = d->l_0 = 1.0;
    dp__axis_open(&d->u, d->bins, 0, NULL);
    dp__axis_open(&d->v, d->bins, 0, NULL);
    return AF_OK;
}

static af_status dp__recover_stars(dp__recovery *f, const dp_sample *sample) {
    const double *eta = dp_sample_eta(sample), *w = dp_sample_weights(sample);
    const uint32_t *stream = f->r->desc.streams;
    double sum = 0.0;
    size_t i, kept = 0;
    f->n = dp_sample_count(sample);
    f->star = DP__ARRAY(&f->arena, dp__tracer, f->n);
    if (!f->star) return dp__fail_memory(f->c, "the stars of a recovery");
    for (i = 0; i < f->n; i++) {
        af_status s;
        if (w && !(w[i] > 0.0)) continue;
        s = dp__tracer_set(f->c, eta + 6 * i, f->r->desc.centre, i, f->star + kept);
        if (s != AF_OK) return s;
        f->star[kept].weight = w ? w[i] : 1.0;
        if (stream) f->star[kept].stream = stream[i];
        sum += f->star[kept++].weight;
    }
    f->n = kept;
    if (kept < (size_t)DP__FEWEST_TRACERS)
        return af_fail(f->c, AF_ERROR_DATA,
                       "recovery: %lu stars are too few; at least %d are needed",
                       (unsigned long)kept, (int)DP__FEWEST_TRACERS);
    for (i = 0; i < kept; i++) f->star[i].weight *= (double)kept / sum;
    f->r->report.stars = kept;
    f->r->desc.streams = NULL; /* the caller's */
    return dp__recover_streams(f);
}

/* Units, the table's radii, what the network sees. */
static af_status dp__recover_scales(dp__recovery *f) {
    dp_recovered *r = f->r;
    double *radius = DP__ARRAY(&f->arena, double, f->n), square = 0.0, low, high;
    size_t i, n = f->n;
    if (!radius) return dp__fail_memory(f->c, "the radii of the stars");
    for (i = 0; i < n; i++) {
        radius[i] = f->star[i].x;
        square += f->star[i].weight * 2.0 * f->star[i].kinetic / (double)n;
    }
    qsort(radius, n, sizeof *radius, dp__ascending);
    r->length = radius[n / 2];
    r->speed = sqrt(square);
    r->report.inner = radius[n / 100];
    r->report.outer = radius[n - 1 - n / 100];
    if (!(r->speed > 0.0))
        return af_fail(f->c, AF_ERROR_DATA, "recovery: no star moves about the centre's velocity");
    if (!(r->report.outer > 1.05 * r->report.inner))
        return af_fail(f->c, AF_ERROR_DATA,
                       "recovery: 98 %% of the stars lie between the radii %g and %g; stars of one "
                       "radius do not show how forces change with it", r->report.inner,
                       r->report.outer);
    /* The centre of the table is linear within half the radius of the first 5 %; apocentres have
     * room outside. */
    dp__radial_open(&r->halo.table, 0.5 * radius[n / 20] / r->length,
                    20.0 * radius[n - 1] / r->length);
    low = dp__radial_x(&r->halo.table, r->report.inner / r->length);
    high = dp__radial_x(&r->halo.table, r->report.outer / r->length);
    r->middle = 0.5 * (low + high);
    r->spread = 0.25 * (high - low); /* the stars' radii are -2 ... 2 */
    for (i = 0; i < n; i++) {
        f->star[i].x /= r->length;
        f->star[i].kinetic /= square;
        f->star[i].l2 /= square;
        dp__tracer_place(&r->halo.table, f->star + i);
    }
    return AF_OK;
}

/* ---- beginning ---- */

static af_status dp__recover_desc_check(af_context *c, dp_recover_desc *d) {
    size_t k;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(c, AF_ERROR_ARGUMENT, "dp_recover_desc was not initialised to zero");
    for (k = 0; k < 6; k++)
        if (!dp__is_finite(d->centre[k]))
            return af_fail(c, AF_ERROR_ARGUMENT, "recovery: the centre is not finite");
    if (!d->units) d->units = 24;
    if (!d->bins) d->bins = 12;
    if (!d->steps) d->steps = 200;
    if (!(d->tolerance > 0.0)) d->tolerance = 0.05;
    if (d->bins > (size_t)DP__BINS_MAX || d->units > (size_t)DP__UNITS_MAX)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "recovery: at most %d bins and %d units; asked for are %lu and %lu",
                       (int)DP__BINS_MAX, (int)DP__UNITS_MAX, (unsigned long)d->bins,
                       (unsigned long)d->units);
    return AF_OK;
}

static af_status dp__recovered_create(af_context *c, const dp_recover_desc *desc,
                                      dp_recovered **out) {
    dp__arena arena = dp__arena_open(c);
    dp_recovered *r = DP__NEW(&arena, dp_recovered);
    af_status s;
    *out = NULL;
    if (!r) return dp__fail_memory(c, "a recovered potential");
    r->c = c;
    r->arena = arena;
    if (desc) r->desc = *desc;
    s = dp__recover_desc_check(c, &r->desc);
    if (s == AF_OK) *out = r;
    else dp_recovered_destroy(r);
    return s;
}

/* Expressions and memory, when units and radii are there. */
static af_status dp__recovered_open(dp_recovered *r) {
    size_t count;
    af_status s = dp__halo_open(r->c, &r->arena, r->desc.units, r->middle, r->spread, &r->halo);
    if (s != AF_OK) return s;
    count = r->report.parameters = r->halo.count;
    r->covariance = DP__ARRAY(&r->arena, double, count * count);
    r->align = DP__ARRAY(&r->arena, double, DP__TABLE);
    r->untrained = DP__ARRAY(&r->arena, double, DP__HALO);
    return r->covariance && r->align && r->untrained ?
               AF_OK : dp__fail_memory(r->c, "a recovered potential");
}

AF_API void dp_recovered_destroy(dp_recovered *r) {
    dp__arena arena;
    if (!r) return;
    arena = r->arena; /* r itself lies in it */
    dp__arena_free(&arena);
}

/* The mass of the first potential: twice that in which the median star's speed is circular, and
 * enough to bind every star. */
static af_status dp__recover_mass(dp__recovery *f) {
    const dp__radial *t = &f->r->halo.table;
    double *mass = DP__ARRAY(&f->arena, double, f->n), median, most = 0.0;
    size_t i, fastest = 0;
    if (!mass) return dp__fail_memory(f->c, "the masses that stars ask for");
    if (!dp__halo_update(&f->r->halo))
        return af_fail(f->c, AF_ERROR_NONFINITE, "recovery: the first potential is not finite");
    for (i = 0; i < f->n; i++) {
        const dp__tracer *s = f->star + i;
        dp__at at = dp__radial_at(t, s->x);
        mass[i] = 2.0 * s->kinetic * at.r_x / (at.r * at.phi_x);
        if (s->kinetic > -most * at.phi) fastest = i;
        most = fmax(most, s->kinetic / -at.phi);
    }
    median = dp__median(mass, f->n);
    if (!(most < 100.0 * median))
        return af_fail(f->c, AF_ERROR_DATA,
                       "recovery: to bind the star at radius %g with speed %g takes %.0f times the "
                       "mass that the median star asks for; leave out stars that are not bound",
                       dp__radial_at(t, f->star[fastest].x).r * f->r->length,
                       sqrt(2.0 * f->star[fastest].kinetic) * f->r->speed,
                       most / median);
    f->r->halo.p[0] = log(fmax(2.0 * median, 1.2 * most));
    return AF_OK;
}

/* Where streams lie in ln L, and their first numbers; the scales of the field's. */
static af_status dp__recover_places(dp__recovery *f) {
    dp__density *d = &f->density;
    double *value = DP__ARRAY(&f->arena, double, 2 * f->n), sum[DP__STREAMS_MAX][4];
    size_t i, k, n = 0;
    if (!value) return dp__fail_memory(f->c, "the first density of actions");
    memset(sum, 0, sizeof sum);
    for (i = 0; i < f->n; i++) {
        const dp__tracer *s = f->star + i;
        double *to = sum[s->stream ? s->stream - 1 : 0];
        if (!s->stream) {
            value[n] = s->j;
            value[f->n + n++] = s->l;
            continue;
        }
        to[0] += 1.0;
        to[1] += s->ln_l;
        to[2] += s->j;
        to[3] += s->j * s->j;
    }
    d->j_0 = d->l_0 = 1.0;
    for (k = 0; k < 2; k++) {
        double *x = value + k * f->n, *scale = k ? &d->l_0 : &d->j_0;
        qsort(x, n, sizeof *x, dp__ascending);
        if (n && x[n / 2] > 0.0) *scale = x[n / 2];
        for (i = 0; i < n; i++) x[i] /= x[i] + *scale;
        dp__axis_open(k ? &d->v : &d->u, d->bins, n, x);
    }
    for (k = 0; k < d->streams; k++) {
        double *p = d->p + d->side * d->side + DP__STREAM * k;
        double mean = sum[k][2] / sum[k][0], square = sum[k][3] / sum[k][0];
        d->stream[k].middle = sum[k][1] / sum[k][0];
        p[0] = log(mean);
        p[1] = 0.0;
        p[2] = log(fmax(mean * mean / fmax(square - mean * mean, 1e-6 * square) - 1.0, 0.1));
    }
    return AF_OK;
}

/* The best density at the stars' actions; memory (side^4 + 2 side^2). */
static af_status dp__recover_density(dp__recovery *f) {
    dp__density *d = &f->density;
    af_status s;
    memset(d->p, 0, d->count * sizeof *d->p);
    if (dp__recover_loss(f) >= HUGE_VAL) /* actions alone */
        return af_fail(f->c, AF_ERROR_NONFINITE, "recovery: the first actions are not finite");
    s = dp__recover_places(f);
    if (s != AF_OK) return s;
    dp__recover_loss(f);
    dp__recover_reduce(f);
    dp__density_fit(d, f->part->gradient + f->count, f->part->field, f->information);
    return AF_OK;
}

static af_status dp__recover_memory(dp__recovery *f) {
    dp__arena *a = &f->arena;
    dp__density *d = &f->density;
    size_t k, all, ok = 1;
    f->count = f->r->halo.count;
    all = f->all = f->count + d->count;
    f->part = DP__ARRAY(a, dp__harvest, DP__PARTS);
    for (k = 0; f->part && k < (size_t)DP__PARTS; k++) {
        dp__harvest *to = f->part + k;
        to->row = DP__ARRAY(a, double, DP__TABLE);
        to->score = DP__ARRAY(a, double, f->count);
        to->gradient = DP__ARRAY(a, double, all);
        to->field_gradient = DP__ARRAY(a, double, f->count);
        to->products = DP__ARRAY(a, double, f->count * all);
        ok = ok && to->row && to->score && to->gradient && to->field_gradient && to->products;
    }
    d->p = DP__ARRAY(a, double, d->count);
    d->mean = DP__ARRAY(a, double, d->count);
    f->information = DP__ARRAY(a, double, all * all);
    f->factor = DP__ARRAY(a, double, all * all);
    f->gradient = DP__ARRAY(a, double, 3 * all);
    if (!ok || !f->part || !d->p || !d->mean || !f->information || !f->factor || !f->gradient)
        return dp__fail_memory(f->c, "the information of a recovery");
    f->step = f->gradient + all;
    f->old = f->step + all;
    return AF_OK;
}

/* The mean of Phi over the stars between the radii that are covered. */
static void dp__recover_align(dp__recovery *f) {
    dp_recovered *r = f->r;
    const dp__radial *t = &r->halo.table;
    double low = dp__radial_x(t, r->report.inner / r->length);
    double high = dp__radial_x(t, r->report.outer / r->length), sum = 0.0, weight[4], mean = 0.0;
    size_t i, k;
    for (i = 0; i < f->n; i++) {
        const dp__tracer *s = f->star + i;
        size_t at = dp__radial_row(t, s->x, weight);
        if (s->x < low || s->x > high) continue;
        for (k = 0; k < 4; k++) r->align[at + k] += s->weight * weight[k];
        sum += s->weight;
    }
    for (i = 0; i < (size_t)DP__TABLE; i++) {
        r->align[i] /= sum;
        mean += r->align[i] * r->halo.out[i];
    }
    r->report.constant = mean * r->speed * r->speed;
}

/* The loss where a fit begins: all stars bound, the density the best. */
static af_status dp__recover_enter(dp__recovery *f) {
    size_t tries;
    af_status s;
    f->damping = 0.1; /* the information is soon right to that */
    for (tries = 0; tries < 100 && dp__recover_loss(f) >= HUGE_VAL; tries++)
        f->r->halo.p[0] += 0.02; /* heavier: some stars did not have a say before */
    s = dp__recover_density(f);
    if (s != AF_OK) return s;
    f->loss = dp__recover_loss(f);
    if (f->loss < HUGE_VAL) return dp__recover_derive(f);
    return af_fail(f->c, AF_ERROR_NONFINITE, "recovery: the first likelihood is not finite");
}

/* A fit to some stars, evenly taken. */
static af_status dp__recover_first(dp__recovery *f, double until) {
    dp__tracer *all = f->star;
    size_t n = f->n, i;
    double sum = 0.0;
    af_status s;
    f->star = DP__ARRAY(&f->arena, dp__tracer, DP__FIRST_STARS);
    if (!f->star) return dp__fail_memory(f->c, "the first stars of a recovery");
    f->n = DP__FIRST_STARS;
    for (i = 0; i < f->n; i++) {
        f->star[i] = all[i * n / f->n];
        sum += f->star[i].weight;
    }
    for (i = 0; i < f->n; i++) f->star[i].weight *= (double)f->n / sum;
    s = dp__recover_enter(f);
    if (s == AF_OK) s = dp__recover_loop(f, 10.0 * f->r->desc.tolerance, until);
    f->star = all;
    f->n = n;
    return s;
}

/* Some stars first, then all; the start's loss is that of all. */
static af_status dp__recover_fit(dp__recovery *f) {
    const dp_recover_desc *d = &f->r->desc;
    double until = (d->clock ? d->clock(d->user) : 0.0) + d->seconds;
    af_status s = dp__recover_enter(f);
    if (s != AF_OK) return s;
    f->r->report.untrained = f->loss / (double)f->n;
    memcpy(f->r->untrained, f->r->halo.out, DP__HALO * sizeof(double));
    if (dp__recover_tell(f, 0.0)) return AF_STOPPED;
    if (f->n >= 2 * (size_t)DP__FIRST_STARS) {
        s = dp__recover_first(f, until);
        if (s == AF_OK) s = dp__recover_enter(f);
    }
    return s == AF_OK ? dp__recover_loop(f, d->tolerance, until) : s;
}

static af_status dp__recover_run(dp__recovery *f, const dp_sample *sample) {
    af_status s = dp__recover_stars(f, sample), end = AF_OK;
    if (s == AF_OK) s = dp__recover_scales(f);
    if (s == AF_OK) s = dp__recovered_open(f->r);
    if (s == AF_OK) s = dp__recover_memory(f);
    if (s == AF_OK) s = dp__recover_mass(f);
    if (s == AF_OK) s = dp__recover_fit(f);
    if (s == AF_OK || s == AF_STOPPED) end = dp__recover_errors(f);
    if (end != AF_OK) return end;
    if (s == AF_OK || s == AF_STOPPED) dp__recover_align(f);
    return s;
}

AF_API af_status dp_recover(const dp_sample *sample, const dp_recover_desc *desc,
                            dp_recovered **out) {
    dp__recovery f;
    af_status s;
    memset(&f, 0, sizeof f);
    f.c = dp_sample_context(sample);
    f.arena = dp__arena_open(f.c);
    s = dp__recovered_create(f.c, desc, out);
    if (s != AF_OK) return s;
    f.r = *out;
    if (dp_sample_volume(sample).kind != DP_VOLUME_ALL && !f.r->desc.ignore_volume)
        s = af_fail(f.c, AF_ERROR_ARGUMENT,
                    "recovery: the sample is cut in space, which biases actions; take all stars, "
                    "or set ignore_volume where their orbits do not reach the edge");
    if (s == AF_OK) s = dp__recover_run(&f, sample);
    dp__arena_free(&f.arena);
    if (s == AF_OK || s == AF_STOPPED) return s;
    dp_recovered_destroy(*out);
    *out = NULL;
    return s;
}
