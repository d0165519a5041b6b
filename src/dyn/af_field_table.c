/* ---- dyn: a field in a table ----------------------------------------------------------------- */

enum { AF__FT_KNOTS_R = 200, AF__FT_KNOTS_Z = 240, AF__FT_MOST = 100000 };
static const double AF__FT_REACH = 1000.0;
static const double AF__FT_STEP = 1e-4; /* in units of asinh, of the mixed derivative */

struct af_field_table {
    af_allocator allocator;
    af__arena arena;
    af_field field;
    double fine[2], step[2]; /* R, z: kpc; in asinh */
    size_t knots[2];
    double *corner; /* (knots_r, knots_z, 4): Phi, and by u, w, and both, in units of the steps */
};

AF_API void af_field_table_destroy(af_field_table *t) {
    af_allocator allocator;
    if (!t) return;
    allocator = t->allocator;
    af__arena_free(&t->arena);
    allocator.release(t, sizeof *t, allocator.user);
}

/* Phi and its derivatives by u and w, at R = r0 sinh u, z = z0 sinh w. */
static void af__field_table_ask(const af_field_table *t, double u, double w, double out[3]) {
    double x[3] = {0.0, 0.0, 0.0}, a[3];
    x[0] = t->fine[0] * sinh(u);
    x[2] = t->fine[1] * sinh(w);
    if (x[0] == 0.0 && x[2] == 0.0) x[0] = 1e-6 * t->fine[0]; /* the centre may be singular */
    out[0] = t->field.value(x, t->field.user);
    t->field.acceleration(x, a, t->field.user);
    out[1] = -a[0] * t->fine[0] * cosh(u);
    out[2] = -a[2] * t->fine[1] * cosh(w);
}

static void af__field_table_knot(const af_field_table *t, size_t i, size_t j, double out[4]) {
    double u = (double)i * t->step[0], w = (double)j * t->step[1], h = AF__FT_STEP;
    double above[3], below[3];
    af__field_table_ask(t, u, w, out);
    af__field_table_ask(t, u, w + h, above);
    af__field_table_ask(t, u, w - h, below);
    out[1] *= t->step[0];
    out[2] *= t->step[1];
    out[3] = (above[1] - below[1]) / (2.0 * h) * t->step[0] * t->step[1];
    if (i == 0) out[1] = out[3] = 0.0; /* on the axis and in the plane, by symmetry */
    if (j == 0) out[2] = out[3] = 0.0;
}

static af_status af__field_table_fill(af_context *c, af_field_table *t) {
    size_t i, j;
    for (i = 0; i < t->knots[0]; i++)
        for (j = 0; j < t->knots[1]; j++) {
            double *corner = t->corner + 4 * (i * t->knots[1] + j);
            af__field_table_knot(t, i, j, corner);
            if (!af__all_finite(corner, 4))
                return af__fail(c, AF_ERROR_NONFINITE,
                                "field table: the field is not finite near R = %g, z = %g kpc",
                                t->fine[0] * sinh((double)i * t->step[0]),
                                t->fine[1] * sinh((double)j * t->step[1]));
        }
    return AF_OK;
}

/* Cubic Hermite polynomials of s in [0,1], and their derivatives: of the values at 0 and 1, then of
 * the slopes. */
static void af__hermite(double s, double h[4], double d[4]) {
    double r = 1.0 - s;
    h[0] = r * r * (1.0 + 2.0 * s);
    h[1] = s * s * (3.0 - 2.0 * s);
    h[2] = s * r * r;
    h[3] = -s * s * r;
    d[0] = -6.0 * s * r;
    d[1] = -d[0];
    d[2] = r * (1.0 - 3.0 * s);
    d[3] = s * (3.0 * s - 2.0);
}

/* asinh without the library's care for tiny arguments, which cost nothing here. */
static double af__field_table_asinh(double x) { return log(x + sqrt(x * x + 1.0)); }

/* Phi and, unless `slope` is NULL, its derivatives by R and |z|. 0 outside of the table. */
static int af__field_table_at(const af_field_table *t, double radius, double z, double *phi,
                              double slope[2]) {
    double p = af__field_table_asinh(radius / t->fine[0]) / t->step[0];
    double q = af__field_table_asinh(z / t->fine[1]) / t->step[1];
    double hu[4], du[4], hw[4], dw[4], sum = 0.0, by_u = 0.0, by_w = 0.0;
    const double *corner;
    size_t i, j, a, b;
    if (!(p < (double)(t->knots[0] - 1) && q < (double)(t->knots[1] - 1))) return 0;
    i = (size_t)p;
    j = (size_t)q;
    af__hermite(p - (double)i, hu, du);
    af__hermite(q - (double)j, hw, dw);
    for (a = 0; a < 2; a++)
        for (b = 0; b < 2; b++) {
            double across, along;
            corner = t->corner + 4 * ((i + a) * t->knots[1] + j + b);
            across = corner[0] * hw[b] + corner[2] * hw[2 + b];
            along = corner[1] * hw[b] + corner[3] * hw[2 + b];
            sum += hu[a] * across + hu[2 + a] * along;
            by_u += du[a] * across + du[2 + a] * along;
            by_w += hu[a] * (corner[0] * dw[b] + corner[2] * dw[2 + b]) +
                    hu[2 + a] * (corner[1] * dw[b] + corner[3] * dw[2 + b]);
        }
    *phi = sum;
    if (!slope) return 1;
    slope[0] = by_u / (t->step[0] * sqrt(radius * radius + t->fine[0] * t->fine[0]));
    slope[1] = by_w / (t->step[1] * sqrt(z * z + t->fine[1] * t->fine[1]));
    return 1;
}

static double af__field_table_value(const double x[3], void *user) {
    const af_field_table *t = (const af_field_table *)user;
    double phi;
    if (af__field_table_at(t, sqrt(x[0] * x[0] + x[1] * x[1]), fabs(x[2]), &phi, NULL)) return phi;
    return t->field.value(x, t->field.user);
}

static void af__field_table_acceleration(const double x[3], double acceleration[3], void *user) {
    const af_field_table *t = (const af_field_table *)user;
    double radius = sqrt(x[0] * x[0] + x[1] * x[1]), phi, slope[2];
    if (!af__field_table_at(t, radius, fabs(x[2]), &phi, slope)) {
        t->field.acceleration(x, acceleration, t->field.user);
        return;
    }
    acceleration[0] = radius > 0.0 ? -slope[0] * x[0] / radius : 0.0;
    acceleration[1] = radius > 0.0 ? -slope[0] * x[1] / radius : 0.0;
    acceleration[2] = x[2] < 0.0 ? slope[1] : -slope[1];
}

AF_API af_field af_field_of_table(const af_field_table *table) {
    af_field field;
    field.value = af__field_table_value;
    field.acceleration = af__field_table_acceleration;
    field.user = (void *)(size_t)table;
    return field;
}

static af_status af__field_table_check(af_context *c, const af_field *field,
                                       const af_field_table_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "field table: af_field_table_desc was not initialised to zero");
    if (!field->value || !field->acceleration)
        return af__fail(c, AF_ERROR_ARGUMENT, "field table: the field lacks a function");
    if (!(d->radius > 0.0) || !(d->fine_r >= 0.0) || !(d->fine_z >= 0.0) ||
        !af__is_finite(d->radius + d->fine_r + d->fine_z) || d->knots_r == 1 || d->knots_z == 1 ||
        d->knots_r > AF__FT_MOST || d->knots_z > AF__FT_MOST)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "field table: the radius %g must be positive, fine_r %g and fine_z %g not "
                        "negative, all finite, and the knots at least 2, at most %d",
                        d->radius, d->fine_r, d->fine_z, (int)AF__FT_MOST);
    return AF_OK;
}

static af_status af__field_table_make(af_context *c, const af_field_table_desc *d,
                                      af_field_table *t) {
    double reach = AF__FT_REACH * d->radius;
    int k;
    t->fine[0] = d->fine_r > 0.0 ? d->fine_r : 0.01 * d->radius;
    t->fine[1] = d->fine_z > 0.0 ? d->fine_z : 0.001 * d->radius;
    t->knots[0] = d->knots_r ? d->knots_r : (size_t)AF__FT_KNOTS_R;
    t->knots[1] = d->knots_z ? d->knots_z : (size_t)AF__FT_KNOTS_Z;
    for (k = 0; k < 2; k++)
        t->step[k] = af__field_table_asinh(reach / t->fine[k]) / (double)(t->knots[k] - 1);
    t->corner = AF__ARRAY(&t->arena, double, 4 * t->knots[0] * t->knots[1]);
    if (!t->corner) return af__fail_memory(c, "a field table");
    return af__field_table_fill(c, t);
}

AF_API af_status af_field_table_create(af_context *context, const af_field *field,
                                       const af_field_table_desc *desc, af_field_table **out) {
    af_field_table *t;
    af_status status = af__field_table_check(context, field, desc);
    *out = NULL;
    if (status != AF_OK) return status;
    t = (af_field_table *)context->allocator.allocate(sizeof *t, context->allocator.user);
    if (!t) return af__fail_memory(context, "a field table");
    memset(t, 0, sizeof *t);
    t->allocator = context->allocator;
    t->arena.allocator = context->allocator;
    t->field = *field;
    status = af__field_table_make(context, desc, t);
    if (status == AF_OK) *out = t;
    else af_field_table_destroy(t);
    return status;
}
