/* ---- dyn: galaxies of discs and spheroids ---------------------------------------------------- */

#include <math.h>

struct af_galaxy {
    af__arena arena;
    af_disc *discs;         /* (disc_count) */
    af_spheroid *spheroids; /* (spheroid_count) */
    size_t disc_count, spheroid_count;
    af_multipole *rest;
};

/* ---- the parts ---- */

/* Sigma, Sigma' and Sigma'' at a radius; all 0 in the centre of a hole. */
static void af__disc_surface(const af_disc *d, double radius, double s[3]) {
    double slope = -1.0 / d->length, bend = 0.0; /* of ln Sigma */
    s[0] = s[1] = s[2] = 0.0;
    if (d->hole > 0.0) {
        if (radius * 700.0 < d->hole) return; /* below 1e-304 */
        slope += d->hole / (radius * radius);
        bend = -2.0 * d->hole / (radius * radius * radius);
        s[0] = d->surface_density * exp(-d->hole / radius - radius / d->length);
    } else {
        s[0] = d->surface_density * exp(-radius / d->length);
    }
    s[1] = slope * s[0];
    s[2] = (slope * slope + bend) * s[0];
}

/* H, H' and h = H'' at z >= 0; h of a sheet is 0, because it stands where z > 0. */
static void af__disc_layer(const af_disc *d, double z, double h[3]) {
    double t, e;
    if (d->height == 0.0) {
        h[0] = 0.5 * z;
        h[1] = 0.5;
        h[2] = 0.0;
    } else if (d->profile == AF_PROFILE_SECH2) {
        t = z / d->height;
        e = exp(-t); /* ln cosh(t/2) = t/2 + ln((1 + e)/2) */
        h[0] = d->height * (0.5 * t + log1p(0.5 * expm1(-t)));
        h[1] = 0.5 * (1.0 - e) / (1.0 + e);
        h[2] = e / (d->height * (1.0 + e) * (1.0 + e));
    } else {
        t = z / d->height;
        e = expm1(-t);
        h[0] = 0.5 * d->height * (e + t);
        h[1] = -0.5 * e;
        h[2] = 0.5 * (1.0 + e) / d->height;
    }
}

static double af__disc_density(const af_disc *d, double cylinder, double z) {
    double s[3], h[3];
    af__disc_surface(d, cylinder, s);
    af__disc_layer(d, fabs(z), h);
    return s[0] * h[2];
}

/* The density less that of 4 pi G Sigma(r) H(z), which is
 * Sigma(r) h + 2 Sigma'(r) (z H' + H)/r + Sigma''(r) H. */
static double af__disc_rest(const af_disc *d, double cylinder, double z) {
    double s[3], in_plane[3], h[3], r = hypot(cylinder, z);
    af__disc_surface(d, cylinder, in_plane);
    af__disc_surface(d, r, s);
    af__disc_layer(d, z, h);
    return (in_plane[0] - s[0]) * h[2] - 2.0 * s[1] * (z * h[1] + h[0]) / r - s[2] * h[0];
}

static double af__spheroid_density(const af_spheroid *s, double cylinder, double z) {
    double m = hypot(cylinder, z / s->flattening), u = m / s->scale, power;
    if (m == 0.0) return s->inner > 0.0 ? s->density * HUGE_VAL : s->inner < 0.0 ? 0.0 : s->density;
    power = -s->inner * log(u) + (s->inner - s->outer) * log1p(u);
    if (s->cutoff > 0.0) power -= (m / s->cutoff) * (m / s->cutoff);
    return s->density * exp(power);
}

static double af__galaxy_rest(double cylinder, double z, void *user) {
    const af_galaxy *g = (const af_galaxy *)user;
    double sum = 0.0;
    size_t i;
    for (i = 0; i < g->disc_count; i++) sum += af__disc_rest(&g->discs[i], cylinder, z);
    for (i = 0; i < g->spheroid_count; i++)
        sum += af__spheroid_density(&g->spheroids[i], cylinder, z);
    return sum;
}

/* ---- making one ---- */

AF_API void af_galaxy_desc_dehnen_binney_1(af_galaxy_desc *desc) {
    static const af_disc discs[3] = {{1.655e9, 2.0, 0.18, 0.0, AF_PROFILE_EXPONENTIAL},
                                     {1.182e8, 2.0, 1.0, 0.0, AF_PROFILE_EXPONENTIAL},
                                     {1.32e8, 4.0, 0.04, 4.0, AF_PROFILE_EXPONENTIAL}};
    static const af_spheroid spheroids[2] = {{4.271e8, 1.0, 1.8, 1.8, 0.6, 1.9},
                                             {7.111e8, 3.83, -2.0, 2.959, 0.8, 1000.0}};
    desc->discs = discs;
    desc->disc_count = 3;
    desc->spheroids = spheroids;
    desc->spheroid_count = 2;
}

AF_API void af_galaxy_desc_piffl_2014(af_galaxy_desc *desc) {
    static const af_disc discs[3] = {{5.707e8, 2.68, 0.2, 0.0, AF_PROFILE_EXPONENTIAL},
                                     {2.51e8, 2.68, 0.7, 0.0, AF_PROFILE_EXPONENTIAL},
                                     {9.45e7, 5.36, 0.04, 4.0, AF_PROFILE_EXPONENTIAL}};
    static const af_spheroid spheroids[2] = {{9.49e10, 0.075, 0.0, 1.8, 0.5, 2.1},
                                             {1.816e7, 14.4, 1.0, 3.0, 1.0, 1e5}};
    desc->discs = discs;
    desc->disc_count = 3;
    desc->spheroids = spheroids;
    desc->spheroid_count = 2;
}

/* NULL when the disc is fine, else what is wrong with it. */
static const char *af__disc_fault(const af_disc *d) {
    const double numbers[4] = {d->surface_density, d->length, d->height, d->hole};
    if (!af__all_finite(numbers, 4)) return "a number is not finite";
    if (!(d->length > 0.0)) return "its length must be positive";
    if (d->height < 0.0 || d->hole < 0.0) return "its height and hole may not be negative";
    if (d->profile != AF_PROFILE_EXPONENTIAL && d->profile != AF_PROFILE_SECH2)
        return "its profile is unknown";
    return NULL;
}

static const char *af__spheroid_fault(const af_spheroid *s) {
    const double numbers[6] = {s->density, s->scale,      s->inner,
                               s->outer,   s->flattening, s->cutoff};
    if (!af__all_finite(numbers, 6)) return "a number is not finite";
    if (!(s->scale > 0.0)) return "its scale must be positive";
    if (!(s->inner < 3.0)) return "inner must be below 3, or the mass in the centre is infinite";
    if (s->flattening < 0.0 || s->cutoff < 0.0)
        return "its flattening and cutoff may not be negative";
    if (s->cutoff == 0.0 && !(s->outer > 2.0))
        return "without a cutoff outer must be above 2, or its potential is infinite";
    return NULL;
}

static af_status af__galaxy_check(af_context *c, const af_galaxy_desc *d) {
    const char *fault;
    size_t i;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "galaxy: af_galaxy_desc was not initialised to zero");
    if (d->disc_count + d->spheroid_count == 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "galaxy: there are no discs and no spheroids");
    for (i = 0; i < d->disc_count; i++) {
        fault = af__disc_fault(&d->discs[i]);
        if (fault)
            return af__fail(c, AF_ERROR_ARGUMENT, "galaxy: disc %lu of %lu: %s", (unsigned long)i,
                            (unsigned long)d->disc_count, fault);
    }
    for (i = 0; i < d->spheroid_count; i++) {
        fault = af__spheroid_fault(&d->spheroids[i]);
        if (fault)
            return af__fail(c, AF_ERROR_ARGUMENT, "galaxy: spheroid %lu of %lu: %s",
                            (unsigned long)i, (unsigned long)d->spheroid_count, fault);
    }
    return AF_OK;
}

/* The grid: from 1e-4 of what is smallest, where all is a power of r to four digits, to where
 * exponential discs and cutoffs are below 1e-15, or halos without one are a power. */
static void af__galaxy_radii(const af_galaxy *g, double *smallest, double *largest) {
    double low = HUGE_VAL, high = 0.0;
    size_t i;
    for (i = 0; i < g->disc_count; i++) {
        const af_disc *d = &g->discs[i];
        low = fmin(low, d->height > 0.0 ? fmin(d->length, d->height) : d->length);
        high = fmax(high, 40.0 * d->length + 4.0 * sqrt(d->hole * d->length));
    }
    for (i = 0; i < g->spheroid_count; i++) {
        const af_spheroid *s = &g->spheroids[i];
        double thin = fmin(1.0, s->flattening), thick = fmax(1.0, s->flattening);
        low = fmin(low, thin * (s->cutoff > 0.0 ? fmin(s->scale, s->cutoff) : s->scale));
        high = fmax(high, thick * (s->cutoff > 0.0 ? 6.0 * s->cutoff : 1000.0 * s->scale));
    }
    if (*smallest == 0.0) *smallest = 1e-4 * low;
    if (*largest == 0.0) *largest = high;
}

static af_status af__galaxy_fill(af_context *c, const af_galaxy_desc *d, af_galaxy *g) {
    af_multipole_desc rest = AF__ZERO;
    size_t i;
    g->discs = AF__ARRAY(&g->arena, af_disc, d->disc_count);
    g->spheroids = AF__ARRAY(&g->arena, af_spheroid, d->spheroid_count);
    if (!g->discs || !g->spheroids) return af__fail_memory(c, "a galaxy");
    for (i = 0; i < d->disc_count; i++) g->discs[i] = d->discs[i];
    for (i = 0; i < d->spheroid_count; i++) {
        g->spheroids[i] = d->spheroids[i];
        if (g->spheroids[i].flattening == 0.0) g->spheroids[i].flattening = 1.0;
    }
    g->disc_count = d->disc_count;
    g->spheroid_count = d->spheroid_count;
    rest.density = af__galaxy_rest;
    rest.user = g;
    rest.degree = d->degree ? d->degree : 64;
    rest.knots = d->knots;
    rest.smallest = d->smallest;
    rest.largest = d->largest;
    af__galaxy_radii(g, &rest.smallest, &rest.largest);
    return af_multipole_create(c, &rest, &g->rest);
}

AF_API af_status af_galaxy_create(af_context *context, const af_galaxy_desc *desc,
                                  af_galaxy **out) {
    af_status status = af__galaxy_check(context, desc);
    af_galaxy *g;
    *out = NULL;
    if (status != AF_OK) return status;
    g = (af_galaxy *)context->allocator.allocate(sizeof *g, context->allocator.user);
    if (!g) return af__fail_memory(context, "a galaxy");
    memset(g, 0, sizeof *g);
    g->arena.allocator = context->allocator;
    status = af__galaxy_fill(context, desc, g);
    if (status == AF_OK) *out = g;
    else af_galaxy_destroy(g);
    return status;
}

AF_API void af_galaxy_destroy(af_galaxy *galaxy) {
    af_allocator allocator;
    if (!galaxy) return;
    af_multipole_destroy(galaxy->rest);
    allocator = galaxy->arena.allocator;
    af__arena_free(&galaxy->arena);
    allocator.release(galaxy, sizeof *galaxy, allocator.user);
}

/* ---- using one ---- */

AF_API double af_galaxy_value(const af_galaxy *galaxy, const double x[3]) {
    double r = sqrt(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]), sum = 0.0, s[3], h[3];
    size_t i;
    for (i = 0; i < galaxy->disc_count; i++) {
        af__disc_surface(&galaxy->discs[i], r, s);
        af__disc_layer(&galaxy->discs[i], fabs(x[2]), h);
        sum += s[0] * h[0];
    }
    return 4.0 * AF__PI * AF_GRAVITY * sum + af_multipole_value(galaxy->rest, x);
}

AF_API void af_galaxy_acceleration(const af_galaxy *galaxy, const double x[3],
                                   double acceleration[3]) {
    double r = sqrt(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]), s[3], h[3], radial = 0.0, lift = 0.0;
    size_t i;
    af_multipole_acceleration(galaxy->rest, x, acceleration);
    if (r == 0.0) return;
    for (i = 0; i < galaxy->disc_count; i++) {
        af__disc_surface(&galaxy->discs[i], r, s);
        af__disc_layer(&galaxy->discs[i], fabs(x[2]), h);
        radial += s[1] * h[0];
        lift += s[0] * h[1];
    }
    radial *= 4.0 * AF__PI * AF_GRAVITY / r;
    lift *= 4.0 * AF__PI * AF_GRAVITY;
    for (i = 0; i < 3; i++) acceleration[i] -= radial * x[i];
    acceleration[2] -= x[2] > 0.0 ? lift : x[2] < 0.0 ? -lift : 0.0; /* 0 in a sheet: its mean */
}

AF_API double af_galaxy_density(const af_galaxy *galaxy, const double x[3]) {
    double cylinder = hypot(x[0], x[1]), sum = 0.0;
    size_t i;
    for (i = 0; i < galaxy->disc_count; i++)
        sum += af__disc_density(&galaxy->discs[i], cylinder, x[2]);
    for (i = 0; i < galaxy->spheroid_count; i++)
        sum += af__spheroid_density(&galaxy->spheroids[i], cylinder, x[2]);
    return sum;
}

AF_API double af_galaxy_circular_speed(const af_galaxy *galaxy, double radius) {
    double x[3] = {0.0, 0.0, 0.0}, a[3], v2;
    x[0] = radius;
    af_galaxy_acceleration(galaxy, x, a);
    v2 = -radius * a[0];
    return v2 < 0.0 ? 0.0 : sqrt(v2);
}

static void af__galaxy_force(const double x[3], double acceleration[3], void *user) {
    af_galaxy_acceleration((const af_galaxy *)user, x, acceleration);
}

static double af__galaxy_value(const double x[3], void *user) {
    return af_galaxy_value((const af_galaxy *)user, x);
}

AF_API af_field af_field_of_galaxy(const af_galaxy *galaxy) {
    af_field field = AF__ZERO;
    field.value = af__galaxy_value;
    field.acceleration = af__galaxy_force;
    field.user = (void *)galaxy; /* only read */
    return field;
}

AF_API af_force af_force_of_galaxy(const af_galaxy *galaxy) {
    af_force force = AF__ZERO;
    force.acceleration = af__galaxy_force;
    force.user = (void *)galaxy; /* only read */
    return force;
}
