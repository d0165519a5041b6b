/* ---- recovery: the interface ----------------------------------------------------------------- */

#include <stdlib.h>

#define DP__RECOVERY_FORMAT "deeppotential recovery 1"

enum {
    DP__FEWEST_TRACERS = 200, /* fewer say nothing about a free form and density of actions */
    DP__FIRST_STARS = 20000   /* that k-means sees */
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
    return AF_OK;
}

/* Node variable and L of a star whose radius and speeds are in the units of the table. */
static void dp__tracer_place(const dp__radial *t, dp__tracer *s) {
    s->x = dp__radial_x(t, s->x);
    s->l2 *= dp__radial_at(t, s->x).r * dp__radial_at(t, s->x).r;
    s->ln_l = 0.5 * log(fmax(s->l2, 1e-12)); /* radial orbits: a millionth of the typical L */
}

static af_status dp__recover_stars(dp__recovery *f, const dp_sample *sample) {
    const double *eta = dp_sample_eta(sample), *w = dp_sample_weights(sample);
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
        sum += f->star[kept++].weight;
    }
    f->n = kept;
    if (kept < (size_t)DP__FEWEST_TRACERS)
        return af_fail(f->c, AF_ERROR_DATA,
                       "recovery: %lu stars are too few; at least %d are needed",
                       (unsigned long)kept, (int)DP__FEWEST_TRACERS);
    for (i = 0; i < kept; i++) f->star[i].weight *= (double)kept / sum;
    f->r->report.stars = kept;
    return AF_OK;
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
    if (!d->width) d->width = 12;
    if (!d->depth) d->depth = 2;
    if (!d->clumps) d->clumps = 8;
    if (!d->steps) d->steps = 60;
    if (!d->information) d->information = 4096;
    if (!(d->tolerance > 0.0)) d->tolerance = 0.05;
    if (d->clumps > (size_t)DP__CLUMPS_MAX || d->width > 64 || d->depth > 8)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "recovery: at most %d clumps and a network of 64 x 8; asked for are %lu and "
                       "%lu x %lu", (int)DP__CLUMPS_MAX, (unsigned long)d->clumps,
                       (unsigned long)d->width, (unsigned long)d->depth);
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
    af_net_desc net = DP__ZERO;
    size_t count;
    af_status s;
    net.inputs = net.outputs = 1;
    net.width = r->desc.width;
    net.depth = r->desc.depth;
    net.activation = AF_TANH;
    s = dp__halo_open(r->c, &r->arena, &net, r->desc.seed, r->middle, r->spread, &r->halo);
    if (s != AF_OK) return s;
    count = r->report.parameters = r->halo.count;
    r->covariance = DP__ARRAY(&r->arena, double, count * count);
    r->align = DP__ARRAY(&r->arena, double, DP__TABLE);
    return r->covariance && r->align ? AF_OK : dp__fail_memory(r->c, "a recovered potential");
}

AF_API void dp_recovered_destroy(dp_recovered *r) {
    dp__arena arena;
    if (!r) return;
    dp__halo_close(&r->halo);
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
    f->r->halo.broken[0] = log(fmax(2.0 * median, 1.2 * most));
    return AF_OK;
}

static af_status dp__recover_clumps(dp__recovery *f) {
    dp__clumps *m = &f->r->clumps;
    size_t i, n = f->n < (size_t)DP__FIRST_STARS ? f->n : (size_t)DP__FIRST_STARS;
    double *j = DP__ARRAY(&f->arena, double, 2 * n);
    af_status s;
    if (!j) return dp__fail_memory(f->c, "the first density of actions");
    if (dp__recover_loss(f) >= HUGE_VAL) /* no clumps yet: actions alone */
        return af_fail(f->c, AF_ERROR_NONFINITE, "recovery: the first actions are not finite");
    for (i = 0; i < n; i++) {
        j[i] = f->star[i * f->n / n].j;
        j[n + i] = f->star[i * f->n / n].ln_l;
    }
    m->count = (f->all - f->count) / DP__CLUMP;
    s = dp__clumps_begin(f->c, n, j, j + n, f->r->desc.seed, m);
    if (s != AF_OK) return s;
    dp__recover_em(f, DP__FIRST_ROUNDS);
    f->loss = dp__recover_loss_of_clumps(f);
    f->damping = 0.1;
    if (!dp__is_finite(f->loss))
        return af_fail(f->c, AF_ERROR_NONFINITE, "recovery: the first likelihood is not finite");
    return AF_OK;
}

static af_status dp__recover_memory(dp__recovery *f) {
    dp__arena *a = &f->arena;
    size_t k, clumps = f->r->desc.clumps, all, ok = 1;
    if (clumps > f->n / 50) clumps = f->n / 50;
    f->count = f->r->halo.count;
    f->all = f->count + clumps * DP__CLUMP;
    all = f->all;
    for (k = 0; k < (size_t)DP__PARTS; k++) {
        f->table[k] = DP__ARRAY(a, double, DP__TABLE);
        f->part[k] = DP__ARRAY(a, double, clumps * DP__SUMS);
        ok = ok && f->table[k] && f->part[k];
    }
    f->by_table = DP__ARRAY(a, double, (size_t)DP__BLOCK * DP__TABLE);
    f->by_clumps = DP__ARRAY(a, double, DP__BLOCK * (all - f->count));
    ok = ok && f->by_table && f->by_clumps;
    f->information = DP__ARRAY(a, double, all * all);
    f->factor = DP__ARRAY(a, double, all * all);
    f->gradient = DP__ARRAY(a, double, 3 * all);
    if (!ok || !f->information || !f->factor || !f->gradient)
        return dp__fail_memory(f->c, "the information of a recovery");
    f->step = f->gradient + all;
    f->old = f->step + all;
    return dp__recover_compile(f);
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

static af_status dp__recover_run(dp__recovery *f, const dp_sample *sample) {
    af_status s = dp__recover_stars(f, sample), end = AF_OK;
    if (s == AF_OK) s = dp__recover_scales(f);
    if (s == AF_OK) s = dp__recovered_open(f->r);
    if (s == AF_OK) s = dp__recover_memory(f);
    if (s == AF_OK) s = dp__recover_mass(f);
    if (s == AF_OK) s = dp__recover_clumps(f);
    if (s != AF_OK) return s;
    f->r->report.loss = f->loss / (double)f->n;
    s = dp__recover_loop(f);
    if (s == AF_OK || s == AF_STOPPED) end = dp__recover_errors(f);
    if (end != AF_OK) return end;
    dp__recover_align(f);
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
    af_workspace_destroy(f.work);
    af_func_destroy(f.products);
    dp__arena_free(&f.arena);
    if (s == AF_OK || s == AF_STOPPED) return s;
    dp_recovered_destroy(*out);
    *out = NULL;
    return s;
}
