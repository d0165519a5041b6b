/* ---- axisymmetric recovery: files ------------------------------------------------------------ */

#define DP__AXISYMMETRIC_FORMAT "deeppotential axisymmetric recovery 1"

/* Parts where the fit began, with what is fixed, and where all stars were bound first. */
static af_status dp__axisymmetric_fill_parts(const dp_axisymmetric *r, af_tensors *to) {
    dp__arena arena = dp__arena_open(r->c);
    unsigned *fixed = DP__ARRAY(&arena, unsigned, r->parts);
    size_t k;
    af_status s;
    if (!fixed) return dp__fail_memory(r->c, "the file of a recovered potential");
    for (k = 0; k < r->parts; k++) fixed[k] = DP_FIX_MASS | DP_FIX_LENGTH | DP_FIX_HEIGHT;
    for (k = 0; k < r->count; k++) fixed[r->knob[k].part] &= ~(1u << r->knob[k].which);
    s = dp__parts_save(r->c, "start", r->parts, r->start, fixed, to);
    if (s == AF_OK) s = dp__parts_save(r->c, "untrained", r->parts, r->first, NULL, to);
    dp__arena_free(&arena);
    return s;
}

static af_status dp__axisymmetric_fill(const dp_axisymmetric *r, af_tensors *to) {
    double report[DP__REPORT_VALUES + DP__REPORT_COUNTS];
    dp_axisymmetric copy = *r; /* dp__report_numbers goes both ways */
    size_t dims[2], count = DP__REPORT_VALUES + DP__REPORT_COUNTS;
    af_status s = af_tensors_set_text(to, "format", DP__AXISYMMETRIC_FORMAT);
    dp__report_numbers(&copy.report, copy.desc.centre, report, report + DP__REPORT_VALUES, 0);
    if (s == AF_OK) s = af_tensors_add(to, "numbers", AF_DTYPE_F64, 1, &count, report);
    if (s == AF_OK) s = dp__axisymmetric_fill_parts(r, to);
    dims[0] = dims[1] = r->count;
    if (s == AF_OK) s = af_tensors_add(to, "potential", AF_DTYPE_F64, 1, dims, r->p);
    if (s == AF_OK) s = af_tensors_add(to, "covariance", AF_DTYPE_F64, 2, dims, r->covariance);
    count = r->count + 2;
    return s == AF_OK ? af_tensors_add(to, "align", AF_DTYPE_F64, 1, &count, r->align) : s;
}

AF_API af_status dp_axisymmetric_save(const dp_axisymmetric *r, const char *path) {
    af_tensors *set;
    af_status s = af_tensors_create(r->c, &set);
    if (s != AF_OK) return s;
    s = dp__axisymmetric_fill(r, set);
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

/* ---- back ---- */

/* The parts, what is learned of them, and memory for that. */
static af_status dp__axisymmetric_take_parts(dp_axisymmetric *r, const af_tensors *from) {
    unsigned *fixed, *unused;
    af_potential *first;
    size_t count;
    af_status s = dp__parts_load(r->c, "start", from, &r->arena, &r->parts, &r->start, &fixed);
    if (s == AF_OK) s = dp__parts_load(r->c, "untrained", from, &r->arena, &count, &first, &unused);
    if (s != AF_OK) return s;
    if (r->parts < 1 || r->parts != count ||
        af_potential_check(r->c, r->start, count) != AF_OK ||
        af_potential_check(r->c, first, count) != AF_OK)
        return af_fail(r->c, AF_ERROR_FORMAT, "the parts of a recovered potential are damaged");
    s = dp__axisymmetric_knobs(r, fixed);
    if (s == AF_OK) memcpy(r->first, first, count * sizeof *first);
    return s == AF_ERROR_ARGUMENT ? AF_ERROR_FORMAT : s; /* all is fixed */
}

static af_status dp__axisymmetric_take_numbers(dp_axisymmetric *r, const af_tensors *from) {
    double report[DP__REPORT_VALUES + DP__REPORT_COUNTS], sum = 0.0;
    size_t dims[2], count = DP__REPORT_VALUES + DP__REPORT_COUNTS, i;
    af_status s = af_tensors_get(from, "numbers", 1, &count, report);
    for (i = 0; i < count && s == AF_OK; i++) sum += report[i];
    dims[0] = dims[1] = r->count;
    if (s == AF_OK) s = af_tensors_get(from, "potential", 1, dims, r->p);
    if (s == AF_OK) s = af_tensors_get(from, "covariance", 2, dims, r->covariance);
    count = r->count + 2;
    if (s == AF_OK) s = af_tensors_get(from, "align", 1, &count, r->align);
    if (s != AF_OK) return s;
    for (i = 0; i < r->count + 2; i++) sum += r->align[i];
    for (i = 0; i < r->count * r->count; i++) sum += r->covariance[i];
    for (i = 0; i < r->count; i++)
        if (!(r->covariance[i * (r->count + 1)] >= 0.0)) sum = HUGE_VAL;
    if (!dp__is_finite(sum) || !dp__axisymmetric_set(r, r->p))
        return af_fail(r->c, AF_ERROR_FORMAT, "the numbers of a recovered potential are damaged");
    dp__report_numbers(&r->report, r->desc.centre, report, report + DP__REPORT_VALUES, 1);
    dp__axisymmetric_deviations(r);
    return AF_OK;
}

static af_status dp__axisymmetric_take(dp_axisymmetric *r, const af_tensors *from) {
    const char *format = af_tensors_text(from, "format");
    af_status s;
    if (!format || strcmp(format, DP__AXISYMMETRIC_FORMAT) != 0)
        return af_fail(r->c, AF_ERROR_FORMAT,
                       "this file does not hold a recovered axisymmetric potential");
    s = dp__axisymmetric_take_parts(r, from);
    return s == AF_OK ? dp__axisymmetric_take_numbers(r, from) : s;
}

AF_API af_status dp_axisymmetric_load(af_context *c, const char *path, dp_axisymmetric **out) {
    af_tensors *set;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    s = dp__axisymmetric_create(c, NULL, out);
    if (s == AF_OK) s = dp__axisymmetric_take(*out, set);
    af_tensors_destroy(set);
    if (s != AF_OK) {
        dp_axisymmetric_destroy(*out);
        *out = NULL;
    }
    return s;
}

#undef DP__AXISYMMETRIC_FORMAT
