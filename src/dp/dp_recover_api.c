/* ---- recovery: the interface ----------------------------------------------------------------- */

#include <stdlib.h>

#define DP__RECOVERY_FORMAT "deeppotential recovery 3"

enum {
    DP__FEWEST_OF_STREAM = 10 /* fewer say nothing about its width */
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

typedef struct dp__spherical {
    dp__recovery fit;
    dp_recovered *r;
    dp__tracer *star;
} dp__spherical;

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
        return af_fail(c, AF_ERROR_DATA,
                       "recovery: star %lu (counted from 0) is in the centre; leave it out, or "
                       "give another centre", (unsigned long)i);
    s->x = sqrt(r2);
    s->kinetic = 0.5 * v2;
    s->l2 = fmax(v2 - along * along / r2, 0.0); /* v_t^2 so far */
    s->peri = s->apo = -1.0;
    s->stream = 0;
    s->number = i;
    return AF_OK;
}

/* Node variable and L of a star whose radius and speeds are in the units of the table. */
static void dp__tracer_place(const dp__radial *t, dp__tracer *s) {
    s->x = dp__radial_x(t, s->x);
    s->l2 *= dp__radial_at(t, s->x).r * dp__radial_at(t, s->x).r;
    s->l = sqrt(s->l2);
    s->ln_l = log(fmax(s->l, 1e-6)); /* radial orbits: a millionth of the typical L */
}

/* How many streams there are. */
static af_status dp__recover_streams(dp__spherical *f) {
    size_t stars[DP__STREAMS_MAX + 1], i, k, *streams = &f->fit.density.streams;
    memset(stars, 0, sizeof stars);
    for (i = 0; i < f->fit.total; i++) {
        k = f->star[i].stream;
        if (k > (size_t)DP__STREAMS_MAX)
            return af_fail(f->fit.c, AF_ERROR_DATA,
                           "recovery: star %lu (counted from 0) is of stream %lu; streams are 1 to "
                           "%d, 0 is the field", (unsigned long)f->star[i].number, (unsigned long)k,
                           (int)DP__STREAMS_MAX);
        stars[k]++;
        if (k > *streams) *streams = k;
    }
    for (k = 1; k <= *streams; k++)
        if (stars[k] < (size_t)DP__FEWEST_OF_STREAM)
            return af_fail(f->fit.c, AF_ERROR_DATA,
                           "recovery: stream %lu has %lu stars, it needs %d; count streams from 1 "
                           "without gaps, and give stars of small ones to the field, 0",
                           (unsigned long)k, (unsigned long)stars[k], (int)DP__FEWEST_OF_STREAM);
    f->fit.density.j_0 = f->fit.density.l_0 = 1.0;
    dp__recover_axes(&f->fit, 2);
    return AF_OK;
}

static af_status dp__spherical_stars(dp__spherical *f, const dp_sample *sample) {
    const double *eta = dp_sample_eta(sample);
    const uint32_t *stream = f->r->desc.streams;
    size_t i, n = dp_sample_count(sample), *which = DP__ARRAY(&f->fit.arena, size_t, n);
    af_status s;
    f->star = DP__ARRAY(&f->fit.arena, dp__tracer, n);
    f->fit.weight = DP__ARRAY(&f->fit.arena, double, n);
    if (!f->star || !f->fit.weight || !which)
        return dp__fail_memory(f->fit.c, "the stars of a recovery");
    s = dp__recover_weights(&f->fit, sample, which);
    for (i = 0; i < f->fit.total && s == AF_OK; i++) {
        s = dp__tracer_set(f->fit.c, eta + 6 * which[i], f->r->desc.centre, which[i], f->star + i);
        if (stream) f->star[i].stream = stream[which[i]];
    }
    if (s != AF_OK) return s;
    dp__recover_use(&f->fit, f->fit.total);
    f->r->desc.streams = NULL; /* the caller's */
    return dp__recover_streams(f);
}

/* Units, the table's radii, what the network sees. */
static af_status dp__recover_scales(dp__spherical *f) {
    dp_recovered *r = f->r;
    double *radius = DP__ARRAY(&f->fit.arena, double, f->fit.total), square = 0.0, low, high;
    size_t i, n = f->fit.total;
    if (!radius) return dp__fail_memory(f->fit.c, "the radii of the stars");
    for (i = 0; i < n; i++) {
        radius[i] = f->star[i].x;
        square += f->fit.share * f->fit.weight[i] * 2.0 * f->star[i].kinetic / (double)n;
    }
    qsort(radius, n, sizeof *radius, dp__ascending);
    r->length = radius[n / 2];
    r->speed = sqrt(square);
    r->report.inner = radius[n / 100];
    r->report.outer = radius[n - 1 - n / 100];
    if (!(r->speed > 0.0))
        return af_fail(f->fit.c, AF_ERROR_DATA,
                       "recovery: no star moves about the centre's velocity");
    if (!(r->report.outer > 1.05 * r->report.inner))
        return af_fail(f->fit.c, AF_ERROR_DATA,
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
    if (!r->desc.units) r->desc.units = 24;
    if (!r->desc.bins) r->desc.bins = 12;
    if (s == AF_OK &&
        (r->desc.bins > (size_t)DP__BINS_MAX || r->desc.units > (size_t)DP__UNITS_MAX))
        s = af_fail(c, AF_ERROR_ARGUMENT,
                    "recovery: at most %d bins and %d units; asked for are %lu and %lu",
                    (int)DP__BINS_MAX, (int)DP__UNITS_MAX, (unsigned long)r->desc.bins,
                    (unsigned long)r->desc.units);
    if (s == AF_OK && r->desc.part_count)
        s = af_fail(c, AF_ERROR_ARGUMENT,
                    "recovery: parts are for dp_recover_axisymmetric; dp_recover has none");
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
static af_status dp__recover_mass(dp__spherical *f) {
    const dp__radial *t = &f->r->halo.table;
    double *mass = DP__ARRAY(&f->fit.arena, double, f->fit.total), median, most = 0.0;
    size_t i, fastest = 0;
    if (!mass) return dp__fail_memory(f->fit.c, "the masses that stars ask for");
    if (!dp__halo_update(&f->r->halo))
        return af_fail(f->fit.c, AF_ERROR_NONFINITE, "recovery: the first potential is not finite");
    for (i = 0; i < f->fit.total; i++) {
        const dp__tracer *s = f->star + i;
        dp__at at = dp__radial_at(t, s->x);
        mass[i] = 2.0 * s->kinetic * at.r_x / (at.r * at.phi_x);
        if (s->kinetic > -most * at.phi) fastest = i;
        most = fmax(most, s->kinetic / -at.phi);
    }
    median = dp__median(mass, f->fit.total);
    if (!(most < 100.0 * median))
        return af_fail(f->fit.c, AF_ERROR_DATA,
                       "recovery: to bind star %lu (counted from 0), at radius %g with speed %g, "
                       "takes %.0f times the mass that the median star asks for; leave out stars "
                       "that are not bound", (unsigned long)f->star[fastest].number,
                       dp__radial_at(t, f->star[fastest].x).r * f->r->length,
                       sqrt(2.0 * f->star[fastest].kinetic) * f->r->speed,
                       most / median);
    f->r->halo.p[0] = log(fmax(2.0 * median, 1.2 * most));
    return AF_OK;
}

/* Where streams lie in ln L, and their first numbers; the scales of the field's. */
static af_status dp__spherical_places(void *user) {
    dp__spherical *f = (dp__spherical *)user;
    dp__density *d = &f->fit.density;
    double *value = DP__ARRAY(&f->fit.arena, double, 2 * f->fit.n), sum[DP__STREAMS_MAX][4];
    size_t i, k, n = 0;
    if (!value) return dp__fail_memory(f->fit.c, "the first density of actions");
    memset(sum, 0, sizeof sum);
    for (i = 0; i < f->fit.n; i++) {
        const dp__tracer *s = f->star + dp__recover_star(&f->fit, i);
        double *to = sum[s->stream ? s->stream - 1 : 0];
        if (!s->stream) {
            value[n] = s->j;
            value[f->fit.n + n++] = s->l;
            continue;
        }
        to[0] += 1.0;
        to[1] += s->ln_l;
        to[2] += s->j;
        to[3] += s->j * s->j;
    }
    d->j_0 = d->l_0 = 1.0;
    for (k = 0; k < 2; k++) {
        double *x = value + k * f->fit.n, *scale = k ? &d->l_0 : &d->j_0;
        qsort(x, n, sizeof *x, dp__ascending);
        if (n && x[n / 2] > 0.0) *scale = x[n / 2];
        for (i = 0; i < n; i++) x[i] /= x[i] + *scale;
        dp__axis_open(d->field.axis + k, d->field.bins, n, x);
    }
    for (k = 0; k < d->streams; k++) {
        double *p = d->field.p + d->field.count + DP__STREAM * k;
        double mean, square;
        if (!(sum[k][0] > 0.0)) continue; /* none of its stars is among the first */
        mean = sum[k][2] / sum[k][0];
        square = sum[k][3] / sum[k][0];
        d->stream[k].middle = sum[k][1] / sum[k][0];
        p[0] = log(mean);
        p[1] = 0.0;
        p[2] = log(fmax(mean * mean / fmax(square - mean * mean, 1e-6 * square) - 1.0, 0.1));
    }
    return AF_OK;
}

/* ---- the model of a fit ---- */

static int dp__spherical_update(void *user) {
    dp__halo *h = &((dp__spherical *)user)->r->halo;
    if (!dp__halo_update(h)) return 0;
    dp__halo_derive(h);
    return 1;
}

static double dp__spherical_prior(void *user, double *gradient, double *precision) {
    return dp__halo_prior(&((dp__spherical *)user)->r->halo, gradient, precision);
}

static void dp__spherical_heavier(void *user) { ((dp__spherical *)user)->r->halo.p[0] += 0.02; }

/* to (count) = the derivatives by the table, row (DP__TABLE), of those parts that the orbit has
 * to do with, by the parameters. */
static void dp__spherical_project(const dp__halo *h, const double *row, double *to) {
    size_t i, k;
    memset(to, 0, h->count * sizeof *to);
    for (i = 0; i < (size_t)DP__TABLE; i++)
        for (k = 0; row[i] != 0.0 && k < h->count; k++) to[k] += row[i] * h->rows[i * h->count + k];
}

static int dp__spherical_star(void *user, size_t i, dp__harvest *to, dp__sight *sight) {
    dp__spherical *f = (dp__spherical *)user;
    dp__tracer *s = f->star + i;
    dp__orbit o;
    dp__chance q;
    if (!dp__orbit_of(&f->r->halo.table, s, &o)) return 0;
    s->j = fmax(o.j, DP__J_MIN);
    q = dp__density_at(&f->fit.density, s);
    memset(to->room, 0, DP__TABLE * sizeof(double));
    dp__orbit_row(&f->r->halo.table, s, &o, q.slope, to->room);
    dp__spherical_project(&f->r->halo, to->room, to->score);
    sight->ln_p = q.ln_p;
    sight->stream = s->stream;
    sight->terms = dp__density_terms(&f->fit.density, s, &q, sight->at, sight->value);
    return 1;
}

static void dp__spherical_model(dp__spherical *f) {
    dp__model *m = &f->fit.model;
    m->user = f;
    m->p = f->r->halo.p;
    m->count = f->r->halo.count;
    m->room = DP__TABLE;
    m->update = dp__spherical_update;
    m->prior = dp__spherical_prior;
    m->star = dp__spherical_star;
    m->places = dp__spherical_places;
    m->heavier = dp__spherical_heavier;
    m->advice = "units";
    f->fit.covariance = f->r->covariance;
}

/* ---- the whole ---- */

/* The mean of Phi over the stars between the radii that are covered. */
static void dp__spherical_align(dp__spherical *f) {
    dp_recovered *r = f->r;
    const dp__radial *t = &r->halo.table;
    double low = dp__radial_x(t, r->report.inner / r->length);
    double high = dp__radial_x(t, r->report.outer / r->length), sum = 0.0, weight[4], mean = 0.0;
    size_t i, k;
    for (i = 0; i < f->fit.total; i++) {
        const dp__tracer *s = f->star + i;
        size_t at = dp__radial_row(t, s->x, weight);
        if (s->x < low || s->x > high) continue;
        for (k = 0; k < 4; k++) r->align[at + k] += f->fit.weight[i] * weight[k];
        sum += f->fit.weight[i];
    }
    for (i = 0; i < (size_t)DP__TABLE; i++) {
        r->align[i] /= sum;
        mean += r->align[i] * r->halo.out[i];
    }
    r->report.constant = mean * r->speed * r->speed;
}

static af_status dp__recover_run(dp__spherical *f, const dp_sample *sample) {
    af_status s = dp__spherical_stars(f, sample);
    if (s == AF_OK) s = dp__recover_scales(f);
    if (s == AF_OK) s = dp__recovered_open(f->r);
    if (s == AF_OK) s = dp__recover_mass(f);
    if (s != AF_OK) return s;
    dp__spherical_model(f);
    s = dp__recover_begin(&f->fit);
    if (s != AF_OK) return s;
    memcpy(f->r->untrained, f->r->halo.out, DP__HALO * sizeof(double));
    s = dp__recover_fit(&f->fit);
    if (s == AF_OK || s == AF_STOPPED) dp__spherical_align(f);
    return s;
}

AF_API af_status dp_recover(const dp_sample *sample, const dp_recover_desc *desc,
                            dp_recovered **out) {
    dp__spherical f;
    af_status s;
    memset(&f, 0, sizeof f);
    f.fit.c = dp_sample_context(sample);
    f.fit.arena = dp__arena_open(f.fit.c);
    s = dp__recovered_create(f.fit.c, desc, out);
    if (s != AF_OK) return s;
    f.r = *out;
    f.fit.desc = &f.r->desc;
    f.fit.report = &f.r->report;
    s = dp__recover_volume(f.fit.c, sample, &f.r->desc);
    if (s == AF_OK) s = dp__recover_run(&f, sample);
    dp__arena_free(&f.fit.arena);
    if (s == AF_OK || s == AF_STOPPED) return s;
    dp_recovered_destroy(*out);
    *out = NULL;
    return s;
}
