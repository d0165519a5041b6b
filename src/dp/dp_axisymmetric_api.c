/* ---- axisymmetric recovery: the interface ---------------------------------------------------- */

enum {
    DP__DISCS = 3, /* of the free form; the last is a sphere */
    DP__BINS_OF_THREE = 8               /* 11^3 numbers, a matrix of 14 MB */
};

AF_API void dp_axisymmetric_destroy(dp_axisymmetric *r) {
    dp__arena arena;
    if (!r) return;
    arena = r->arena; /* r itself lies in it */
    dp__arena_free(&arena);
}

AF_API dp_recover_report dp_axisymmetric_report(const dp_axisymmetric *r) { return r->report; }

AF_API const af_potential *dp_axisymmetric_parts(const dp_axisymmetric *r, size_t *count) {
    if (count) *count = r->parts;
    return r->part;
}

AF_API const double *dp_axisymmetric_errors(const dp_axisymmetric *r) { return r->errors; }

/* ---- the potential to begin with ---- */

/* Memory for the parts, and which of their numbers are learned. */
static af_status dp__axisymmetric_knobs(dp_axisymmetric *r, const unsigned *fixed) {
    dp__arena *a = &r->arena;
    size_t i, n;
    unsigned which;
    r->knob = DP__ARRAY(a, dp__knob, 3 * r->parts);
    if (!r->knob) return dp__fail_memory(r->c, "a recovered potential");
    for (i = 0; i < r->parts; i++)
        for (which = 0; which < 3; which++) {
            if ((fixed && fixed[i] >> which & 1u) ||
                !(*dp__knob_number(r->start + i, which) > 0.0))
                continue; /* of two lengths, a disc's may be 0, and stays so */
            r->knob[r->count].part = i;
            r->knob[r->count++].which = which;
        }
    n = r->report.parameters = r->count;
    if (!n)
        return af_fail(r->c, AF_ERROR_ARGUMENT,
                       "recovery: all numbers of all parts are fixed; there is nothing to learn");
    r->part = DP__ARRAY(a, af_potential, r->parts);
    r->moved = DP__ARRAY(a, af_potential, 2 * n);
    r->p = DP__ARRAY(a, double, n);
    r->covariance = DP__ARRAY(a, double, n * n);
    r->align = DP__ARRAY(a, double, n + 2);
    r->first = DP__ARRAY(a, af_potential, r->parts);
    r->errors = DP__ARRAY(a, double, 3 * r->parts);
    return r->part && r->moved && r->p && r->covariance && r->align && r->first && r->errors ?
               AF_OK : dp__fail_memory(r->c, "a recovered potential");
}

static af_status dp__axisymmetric_given(dp_axisymmetric *r) {
    const dp_recover_desc *d = &r->desc;
    size_t i;
    af_status s = af_potential_check(r->c, d->parts, d->part_count);
    if (s != AF_OK) return s;
    for (i = 0; i < d->part_count; i++) {
        r->start[i] = d->parts[i];
        if (!(*dp__knob_number(r->start + i, 0) > 0.0))
            return af_fail(r->c, AF_ERROR_ARGUMENT,
                           "recovery: part %lu has the mass or speed %g, which must be above 0",
                           (unsigned long)i, *dp__knob_number(r->start + i, 0));
        if (d->parts[i].kind == AF_POTENTIAL_LOGARITHMIC && d->parts[i].p != 1.0)
            return af_fail(r->c, AF_ERROR_ARGUMENT,
                           "recovery: part %lu has p = %g; a potential is axisymmetric with p = 1",
                           (unsigned long)i, d->parts[i].p);
    }
    return dp__axisymmetric_knobs(r, d->fixed);
}

/* Two discs of the sizes a + b = 0.7 and 1.4 median R, as flat as the stars, a quarter at most, and
 * a sphere of 2.8. Equal masses per size make a flat rotation curve, heavy enough to bind every
 * star. */
static af_status dp__axisymmetric_free(dp__disc *f) {
    dp_axisymmetric *r = f->r;
    size_t i, n = f->fit.total;
    double *x = DP__ARRAY(&f->fit.arena, double, 2 * n), flat, size, most = 0.0, median;
    if (!x) return dp__fail_memory(f->fit.c, "the places of the stars");
    for (i = 0; i < n; i++) {
        x[i] = hypot(f->eta[6 * i], f->eta[6 * i + 1]);
        x[n + i] = fabs(f->eta[6 * i + 2]);
    }
    size = dp__median(x, n);
    flat = dp__clamp(dp__median(x + n, n) / size, 0.02, 0.25);
    for (i = 0; i < r->parts; i++) {
        double all = 0.7 * size * pow(2.0, (double)i), b = i + 1 < DP__DISCS ? flat * all : all;
        r->start[i] = af_potential_miyamoto_nagai(all / AF_GRAVITY, all - b, b);
    }
    for (i = 0; i < n; i++) {
        const double *eta = f->eta + 6 * i;
        double v2 = eta[3] * eta[3] + eta[4] * eta[4] + eta[5] * eta[5], a[3];
        af_potential_acceleration(r->start, r->parts, eta, a);
        x[i] = v2 / -(a[0] * eta[0] + a[1] * eta[1] + a[2] * eta[2]);
        most = fmax(most, 0.5 * v2 / -af_potential_value(r->start, r->parts, eta));
    }
    median = dp__median(x, n);
    if (!(median > 0.0) || !(most < 100.0 * median))
        return af_fail(f->fit.c, AF_ERROR_DATA,
                       "recovery: to bind all stars takes %g times the mass that the median star "
                       "asks for; leave out stars that are not bound", most / median);
    for (i = 0; i < r->parts; i++) r->start[i].mass *= fmax(median, 1.2 * most);
    return dp__axisymmetric_knobs(r, NULL);
}

/* ---- the whole ---- */

static af_status dp__axisymmetric_create(af_context *c, const dp_recover_desc *desc,
                                         dp_axisymmetric **out) {
    dp__arena arena = dp__arena_open(c);
    dp_axisymmetric *r = DP__NEW(&arena, dp_axisymmetric);
    af_status s;
    *out = NULL;
    if (!r) return dp__fail_memory(c, "a recovered potential");
    r->c = c;
    r->arena = arena;
    if (desc) r->desc = *desc;
    s = dp__recover_desc_check(c, &r->desc);
    if (!r->desc.bins) r->desc.bins = 5;
    r->parts = r->desc.part_count ? r->desc.part_count : (size_t)DP__DISCS;
    if (s == AF_OK && (r->desc.units || r->desc.streams))
        s = af_fail(c, AF_ERROR_ARGUMENT,
                    "recovery: units and streams are for dp_recover; an axisymmetric recovery has "
                    "parts");
    if (s == AF_OK && (r->desc.parts == NULL) != (r->desc.part_count == 0))
        s = af_fail(c, AF_ERROR_ARGUMENT,
                    "recovery: parts and part_count go together, or are both zero for a free form");
    if (s == AF_OK && r->desc.bins > (size_t)DP__BINS_OF_THREE)
        s = af_fail(c, AF_ERROR_ARGUMENT,
                    "recovery: at most %d bins along each of three actions; asked for are %lu",
                    (int)DP__BINS_OF_THREE, (unsigned long)r->desc.bins);
    r->start = s == AF_OK ? DP__ARRAY(&r->arena, af_potential, r->parts) : NULL;
    if (s == AF_OK && !r->start) s = dp__fail_memory(c, "the parts of a potential");
    if (s == AF_OK) *out = r;
    else dp_axisymmetric_destroy(r);
    return s;
}

/* Places and velocities about the centre, radii that hold 1 and 99 % of the stars. */
static af_status dp__disc_stars(dp__disc *f, const dp_sample *sample) {
    const double *eta = dp_sample_eta(sample);
    size_t i, k, n = dp_sample_count(sample), *which = DP__ARRAY(&f->fit.arena, size_t, n);
    double *radius = DP__ARRAY(&f->fit.arena, double, n);
    af_status s;
    f->eta = DP__ARRAY(&f->fit.arena, double, 6 * n);
    f->delta = DP__ARRAY(&f->fit.arena, double, n);
    f->actions = DP__ARRAY(&f->fit.arena, double, 3 * n);
    f->fit.weight = DP__ARRAY(&f->fit.arena, double, n);
    if (!which || !radius || !f->eta || !f->delta || !f->actions || !f->fit.weight)
        return dp__fail_memory(f->fit.c, "the stars of a recovery");
    s = dp__recover_weights(&f->fit, sample, which);
    for (i = 0; i < f->fit.total && s == AF_OK; i++) {
        dp__tracer checked = DP__ZERO;
        double *x = f->eta + 6 * i;
        s = dp__tracer_set(f->fit.c, eta + 6 * which[i], f->r->desc.centre, which[i], &checked);
        radius[i] = checked.x;
        for (k = 0; k < 6; k++) x[k] = eta[6 * which[i] + k] - f->r->desc.centre[k];
    }
    if (s != AF_OK) return s;
    n = f->fit.total;
    qsort(radius, n, sizeof *radius, dp__ascending);
    f->r->report.inner = radius[n / 100];
    f->r->report.outer = radius[n - 1 - n / 100];
    for (k = 0; k < 3; k++) f->scale[k] = 1.0;
    dp__recover_use(&f->fit, n);
    dp__recover_axes(&f->fit, 3);
    return AF_OK;
}

static void dp__disc_model(dp__disc *f) {
    dp__model *m = &f->fit.model;
    m->user = f;
    m->p = f->r->p;
    m->count = f->r->count;
    m->update = dp__disc_update;
    m->prior = dp__disc_prior;
    m->star = dp__disc_star;
    m->places = dp__disc_places;
    m->heavier = dp__disc_heavier;
    m->renew = dp__disc_renew;
    m->advice = "parts";
    f->fit.covariance = f->r->covariance;
}

/* Errors of the numbers. */
static void dp__axisymmetric_deviations(dp_axisymmetric *r) {
    size_t k;
    for (k = 0; k < r->count; k++)
        r->errors[3 * r->knob[k].part + r->knob[k].which] =
            sqrt(r->covariance[k * r->count + k]);
}

/* And means over the stars. */
static void dp__disc_finish(dp__disc *f) {
    dp_axisymmetric *r = f->r;
    double share = f->fit.share / (double)f->fit.n, out[4];
    size_t i, k;
    dp__axisymmetric_deviations(r);
    for (i = 0; i < f->fit.total; i++) {
        const double *x = f->eta + 6 * i;
        double w = share * f->fit.weight[i], place[2];
        place[0] = hypot(x[0], x[1]);
        place[1] = x[2];
        for (k = 0; k < r->count + 2; k++) {
            if (k < r->count) dp__knob_at(r, k, place, 1, out);
            else dp__parts_at(k == r->count ? r->part : r->first, r->parts, place, 1, out);
            r->align[k] += w * out[0];
        }
    }
    r->report.constant = r->align[r->count];
}

static af_status dp__disc_run(dp__disc *f, const dp_sample *sample) {
    af_status s = dp__disc_stars(f, sample);
    if (s == AF_OK) s = f->r->desc.part_count ? dp__axisymmetric_given(f->r) :
                                                dp__axisymmetric_free(f);
    f->r->desc.parts = NULL; /* the caller's */
    f->r->desc.fixed = NULL;
    if (s != AF_OK) return s;
    dp__disc_model(f);
    s = dp__recover_begin(&f->fit);
    if (s != AF_OK) return s;
    memcpy(f->r->first, f->r->part, f->r->parts * sizeof *f->r->part);
    s = dp__recover_fit(&f->fit);
    if (s == AF_OK || s == AF_STOPPED) dp__disc_finish(f);
    return s;
}

AF_API af_status dp_recover_axisymmetric(const dp_sample *sample, const dp_recover_desc *desc,
                                         dp_axisymmetric **out) {
    dp__disc f;
    af_status s;
    memset(&f, 0, sizeof f);
    f.fit.c = dp_sample_context(sample);
    f.fit.arena = dp__arena_open(f.fit.c);
    s = dp__axisymmetric_create(f.fit.c, desc, out);
    if (s != AF_OK) return s;
    f.r = *out;
    f.fit.desc = &f.r->desc;
    f.fit.report = &f.r->report;
    s = dp__recover_volume(f.fit.c, sample, &f.r->desc);
    if (s == AF_OK) s = dp__disc_run(&f, sample);
    dp__arena_free(&f.fit.arena);
    if (s == AF_OK || s == AF_STOPPED) return s;
    dp_axisymmetric_destroy(*out);
    *out = NULL;
    return s;
}

/* ---- what it gives ---- */

/* Values at one place of r->part, or of r->first. */
static void dp__axisymmetric_values(const dp_axisymmetric *r, int first, const double *place,
                                    dp_meridional *to) {
    double value[4];
    memset(to, 0, sizeof *to);
    dp__parts_at(first ? r->first : r->part, r->parts, place, 4, value);
    to->phi = value[0] - r->align[r->count + (first ? 1 : 0)];
    to->force[0] = value[1];
    to->force[1] = value[2];
    to->density = value[3];
}

/* Their standard errors; slope (count,4) is memory. */
static void dp__axisymmetric_spread(const dp_axisymmetric *r, const double *place, double *slope,
                                    dp_meridional *to) {
    double error[4];
    size_t i, k, q;
    for (k = 0; k < r->count; k++) {
        dp__knob_at(r, k, place, 4, slope + 4 * k);
        slope[4 * k] -= r->align[k];
    }
    for (q = 0; q < 4; q++) {
        double sum = 0.0;
        for (i = 0; i < r->count; i++)
            for (k = 0; k < r->count; k++)
                sum += slope[4 * i + q] * r->covariance[i * r->count + k] * slope[4 * k + q];
        error[q] = sqrt(fmax(sum, 0.0));
    }
    to->phi_error = error[0];
    to->force_error[0] = error[1];
    to->force_error[1] = error[2];
    to->density_error = error[3];
}

static af_status dp__axisymmetric_all(const dp_axisymmetric *r, int first, size_t n,
                                      const double *places, dp_meridional *out) {
    dp__arena arena = dp__arena_open(r->c);
    double *slope = DP__ARRAY(&arena, double, 4 * r->count);
    af_status s = slope ? AF_OK : dp__fail_memory(r->c, "the errors of a recovered potential");
    size_t i;
    for (i = 0; i < n && s == AF_OK; i++) {
        const double *x = places + 2 * i;
        if (!(x[0] >= 0.0) || !dp__is_finite(x[0] + x[1]))
            s = af_fail(r->c, AF_ERROR_ARGUMENT,
                        "recovered potential: place %lu is R = %g, z = %g; both must be finite, "
                        "and R not below 0", (unsigned long)i, x[0], x[1]);
        else dp__axisymmetric_values(r, first, x, out + i);
        if (s == AF_OK && !first) dp__axisymmetric_spread(r, x, slope, out + i);
    }
    dp__arena_free(&arena);
    return s;
}

AF_API af_status dp_axisymmetric_evaluate(const dp_axisymmetric *r, size_t n, const double *places,
                                          dp_meridional *out) {
    return dp__axisymmetric_all(r, 0, n, places, out);
}

AF_API af_status dp_axisymmetric_untrained(const dp_axisymmetric *r, size_t n,
                                           const double *places, dp_meridional *out) {
    return dp__axisymmetric_all(r, 1, n, places, out);
}
