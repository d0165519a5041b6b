/* ---- recovery: what it gives, and files ------------------------------------------------------ */

AF_API dp_recover_report dp_recovered_report(const dp_recovered *r) { return r->report; }

/* The standard error of sum_i weight_i table_i, weight (DP__HALO); memory (count). */
static double dp__recovered_error(const dp_recovered *r, const double *weight, double *memory) {
    size_t i, k, n = r->halo.count;
    double *slope = memory, sum = 0.0;
    memset(slope, 0, n * sizeof *slope);
    for (k = 0; k < (size_t)DP__HALO; k++)
        for (i = 0; i < n && weight[k] != 0.0; i++) slope[i] += weight[k] * r->halo.rows[k * n + i];
    for (i = 0; i < n; i++) {
        double row = 0.0;
        for (k = 0; k < n; k++) row += r->covariance[i * n + k] * slope[k];
        sum += slope[i] * row;
    }
    return sqrt(fmax(sum, 0.0));
}

/* Weights of the table for Phi, less its mean, -dPhi/dr and ln rho at x: (3, DP__HALO). */
static void dp__recovered_weights(const dp_recovered *r, double x, double *weight) {
    const dp__radial *t = &r->halo.table;
    double h[4], dh[4], s = x / t->h;
    size_t k, at = dp__radial_row(t, x, h);
    dp__at p = dp__radial_at(t, x);
    memset(weight, 0, 3 * (size_t)DP__HALO * sizeof *weight);
    for (k = 0; k < (size_t)DP__TABLE; k++) weight[k] = -r->align[k];
    for (k = 0; k < 4; k++) weight[at + k] += h[k];
    weight += DP__HALO;
    if (x > t->top) {
        weight[at + 2] = h[2] / p.r; /* of Phi_top r_top/r */
        return;
    }
    dp__hermite(t, x, h, dh);
    for (k = 0; k < 4; k++) weight[at + k] = -dh[k] / p.r_x;
    weight += DP__HALO + DP__TABLE;
    k = (size_t)dp__clamp(floor(s) - 1.0, 0.0, (double)(DP__POINTS - 4));
    s -= (double)k;
    weight[k] = -(s - 1.0) * (s - 2.0) * (s - 3.0) / 6.0;
    weight[k + 1] = s * (s - 2.0) * (s - 3.0) / 2.0;
    weight[k + 2] = -s * (s - 1.0) * (s - 3.0) / 2.0;
    weight[k + 3] = s * (s - 1.0) * (s - 2.0) / 6.0;
}

/* Of a table (DP__HALO) whose errors are those of the result, or zero. */
static af_status dp__recovered_values(const dp_recovered *r, const double *table, int errors,
                                      size_t n, const double *radii, dp_radial *out) {
    dp__arena arena = dp__arena_open(r->c);
    double *weight = DP__ARRAY(&arena, double, 3 * (size_t)DP__HALO + r->halo.count);
    double *memory, unit = r->speed * r->speed;
    size_t i, k, q;
    if (!weight) return dp__fail_memory(r->c, "the values of a recovered potential");
    memory = weight + 3 * (size_t)DP__HALO;
    for (i = 0; i < n; i++) {
        double value[3] = {0.0, 0.0, 0.0}, error[3], rho;
        if (!(radii[i] > 0.0) || !dp__is_finite(radii[i])) {
            dp__arena_free(&arena);
            return af_fail(r->c, AF_ERROR_ARGUMENT,
                           "recovered potential: radius %lu is %g; it must be above zero",
                           (unsigned long)i, radii[i]);
        }
        dp__recovered_weights(r, dp__radial_x(&r->halo.table, radii[i] / r->length), weight);
        for (q = 0; q < 3; q++) {
            const double *w = weight + q * DP__HALO;
            for (k = 0; k < (size_t)DP__HALO; k++) value[q] += w[k] * table[k];
            error[q] = errors ? dp__recovered_error(r, w, memory) : 0.0;
        }
        rho = exp(value[2]) * unit / (AF_GRAVITY * r->length * r->length);
        if (radii[i] > r->halo.table.cell[DP__CELLS][2] * r->length) rho = 0.0;
        out[i].phi = value[0] * unit;
        out[i].phi_error = error[0] * unit;
        out[i].force = value[1] * unit / r->length;
        out[i].force_error = error[1] * unit / r->length;
        out[i].density = rho;
        out[i].density_error = error[2] * rho;
    }
    dp__arena_free(&arena);
    return AF_OK;
}

AF_API af_status dp_recovered_evaluate(const dp_recovered *r, size_t n, const double *radii,
                                       dp_radial *out) {
    return dp__recovered_values(r, r->halo.out, 1, n, radii, out);
}

AF_API af_status dp_recovered_untrained(const dp_recovered *r, size_t n, const double *radii,
                                        dp_radial *out) {
    return dp__recovered_values(r, r->untrained, 0, n, radii, out);
}

AF_API af_status dp_recovered_actions(const dp_recovered *r, size_t n, const double *eta,
                                      double *actions, double *omega) {
    const dp__radial *t = &r->halo.table;
    size_t i;
    for (i = 0; i < n; i++) {
        dp__tracer star;
        dp__orbit o;
        af_status s = dp__tracer_set(r->c, eta + 6 * i, r->desc.centre, i, &star);
        if (s != AF_OK) return s;
        star.x /= r->length;
        star.kinetic /= r->speed * r->speed;
        star.l2 /= r->speed * r->speed;
        dp__tracer_place(t, &star);
        if (!dp__orbit_of(t, &star, &o))
            return af_fail(r->c, AF_ERROR_DATA,
                           "recovered potential: star %lu is not bound in it", (unsigned long)i);
        actions[2 * i] = o.j * r->length * r->speed;
        actions[2 * i + 1] = sqrt(star.l2) * r->length * r->speed;
        if (omega) omega[i] = o.omega * r->speed / r->length;
    }
    return AF_OK;
}

/* ---- files ---- */

enum {
    DP__REPORT_VALUES = 12,
    DP__REPORT_COUNTS = 3,
    DP__RECOVERY_NUMBERS = 5 + DP__REPORT_VALUES + DP__REPORT_COUNTS
};

/* The centre and what the report says, to two arrays and back. */
static void dp__report_numbers(dp_recover_report *p, double centre[6], double *value,
                               double *count, int back) {
    double *number[DP__REPORT_VALUES], converged = p->converged != 0;
    size_t *whole[DP__REPORT_COUNTS], k;
    for (k = 0; k < 6; k++) number[k] = centre + k;
    number[6] = &p->inner;
    number[7] = &p->outer;
    number[8] = &p->constant;
    number[9] = &p->loss;
    number[10] = &p->untrained;
    number[11] = &converged;
    whole[0] = &p->stars;
    whole[1] = &p->steps;
    whole[2] = &p->rejected;
    for (k = 0; k < (size_t)DP__REPORT_VALUES; k++) {
        if (back) *number[k] = value[k];
        else value[k] = *number[k];
    }
    for (k = 0; k < (size_t)DP__REPORT_COUNTS; k++) {
        if (back) *whole[k] = (size_t)dp__clamp(count[k], 0.0, 1e15);
        else count[k] = (double)*whole[k];
    }
    p->converged = converged != 0.0;
}

/* Scales, units and the report, in one array: to a file and back. */
static void dp__recovered_numbers(dp_recovered *r, double *x, int back) {
    double *scale[4], *units = x + 4 + DP__REPORT_VALUES;
    size_t k;
    scale[0] = &r->length;
    scale[1] = &r->speed;
    scale[2] = &r->middle;
    scale[3] = &r->spread;
    for (k = 0; k < 4; k++) {
        if (back) *scale[k] = x[k];
        else x[k] = *scale[k];
    }
    if (back) r->desc.units = (size_t)dp__clamp(*units, 0.0, 1e15);
    else *units = (double)r->desc.units;
    dp__report_numbers(&r->report, r->desc.centre, x + 4, units + 1, back);
}

static af_status dp__recovered_fill(const dp_recovered *r, af_tensors *to) {
    dp_recovered copy = *r; /* dp__recovered_numbers goes both ways */
    double x[DP__RECOVERY_NUMBERS], table[2];
    size_t dims[2], count = DP__RECOVERY_NUMBERS;
    af_status s = af_tensors_set_text(to, "format", DP__RECOVERY_FORMAT);
    dp__recovered_numbers(&copy, x, 0);
    if (s == AF_OK) s = af_tensors_add(to, "numbers", AF_DTYPE_F64, 1, &count, x);
    table[0] = r->halo.table.a;
    table[1] = r->halo.table.cell[DP__CELLS][2];
    count = 2;
    if (s == AF_OK) s = af_tensors_add(to, "table", AF_DTYPE_F64, 1, &count, table);
    count = DP__TABLE;
    if (s == AF_OK) s = af_tensors_add(to, "align", AF_DTYPE_F64, 1, &count, r->align);
    dims[0] = dims[1] = r->halo.count;
    if (s == AF_OK) s = af_tensors_add(to, "covariance", AF_DTYPE_F64, 2, dims, r->covariance);
    count = DP__HALO;
    if (s == AF_OK) s = af_tensors_add(to, "untrained", AF_DTYPE_F64, 1, &count, r->untrained);
    count = r->halo.count;
    return s == AF_OK ? af_tensors_add(to, "potential", AF_DTYPE_F64, 1, &count, r->halo.p) : s;
}

AF_API af_status dp_recovered_save(const dp_recovered *r, const char *path) {
    af_tensors *set;
    af_status s = af_tensors_create(r->c, &set);
    if (s != AF_OK) return s;
    s = dp__recovered_fill(r, set);
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

/* Sizes, scales and the table's radii. */
static af_status dp__recovered_take_scales(dp_recovered *r, const af_tensors *from) {
    const char *format = af_tensors_text(from, "format");
    double x[DP__RECOVERY_NUMBERS], table[2];
    size_t k, count = DP__RECOVERY_NUMBERS, two = 2;
    int good = 1;
    af_status s;
    if (!format || strcmp(format, DP__RECOVERY_FORMAT) != 0)
        return af_fail(r->c, AF_ERROR_FORMAT, "this file does not hold a recovered potential");
    s = af_tensors_get(from, "numbers", 1, &count, x);
    if (s == AF_OK) s = af_tensors_get(from, "table", 1, &two, table);
    if (s != AF_OK) return s;
    for (k = 0; k < count; k++) good = good && dp__is_finite(x[k]);
    good = good && dp__is_finite(table[0] + table[1]) && table[0] > 0.0 && table[1] > table[0];
    if (good) dp__recovered_numbers(r, x, 1);
    good = good && r->length > 0.0 && r->speed > 0.0 && r->spread > 0.0 && r->desc.units > 0 &&
           r->desc.units <= (size_t)DP__UNITS_MAX;
    if (!good)
        return af_fail(r->c, AF_ERROR_FORMAT, "the numbers of a recovered potential are damaged");
    dp__radial_open(&r->halo.table, table[0], table[1]);
    return AF_OK;
}

static af_status dp__recovered_take(dp_recovered *r, const af_tensors *from) {
    size_t dims[2], count = DP__TABLE, i;
    double sum = 0.0;
    af_status s = dp__recovered_take_scales(r, from);
    if (s == AF_OK) s = dp__recovered_open(r);
    if (s == AF_OK) s = af_tensors_get(from, "potential", 1, &r->halo.count, r->halo.p);
    if (s == AF_OK) s = af_tensors_get(from, "align", 1, &count, r->align);
    dims[0] = dims[1] = r->halo.count;
    if (s == AF_OK) s = af_tensors_get(from, "covariance", 2, dims, r->covariance);
    count = DP__HALO;
    if (s == AF_OK) s = af_tensors_get(from, "untrained", 1, &count, r->untrained);
    if (s != AF_OK) return s;
    for (i = 0; i < (size_t)DP__TABLE; i++) sum += r->align[i];
    for (i = 0; i < (size_t)DP__HALO; i++) sum += r->untrained[i];
    for (i = 0; i < r->halo.count * r->halo.count; i++) sum += r->covariance[i];
    if (!dp__is_finite(sum) || !dp__halo_update(&r->halo))
        return af_fail(r->c, AF_ERROR_FORMAT, "the recovered potential in a file is not finite");
    dp__halo_derive(&r->halo);
    return AF_OK;
}

AF_API af_status dp_recovered_load(af_context *c, const char *path, dp_recovered **out) {
    af_tensors *set;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    s = dp__recovered_create(c, NULL, out);
    if (s == AF_OK) s = dp__recovered_take(*out, set);
    af_tensors_destroy(set);
    if (s != AF_OK) {
        dp_recovered_destroy(*out);
        *out = NULL;
    }
    return s;
}

#undef DP__RECOVERY_FORMAT
