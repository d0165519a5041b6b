/* ---- dyn: analytic potentials --------------------------------------------------------------- */

#include <math.h>

static af_potential af__potential(af_potential_kind kind, double mass, double length) {
    af_potential part = AF__ZERO;
    part.kind = kind;
    part.mass = mass;
    part.length = length;
    return part;
}

AF_API af_potential af_potential_isochrone(double mass, double b) {
    return af__potential(AF_POTENTIAL_ISOCHRONE, mass, b);
}

AF_API af_potential af_potential_plummer(double mass, double b) {
    return af__potential(AF_POTENTIAL_PLUMMER, mass, b);
}

AF_API af_potential af_potential_miyamoto_nagai(double mass, double a, double b) {
    af_potential part = af__potential(AF_POTENTIAL_MIYAMOTO_NAGAI, mass, a);
    part.height = b;
    return part;
}

AF_API af_potential af_potential_logarithmic(double speed, double core, double p, double q) {
    af_potential part = af__potential(AF_POTENTIAL_LOGARITHMIC, 0.0, core);
    part.speed = speed;
    part.p = p;
    part.q = q;
    return part;
}

AF_API af_potential af_potential_nfw(double mass, double rs) {
    return af__potential(AF_POTENTIAL_NFW, mass, rs);
}

/* Isochrone: with s = sqrt(b^2 + r^2), rho = M b (2s + b) / (4 pi (b + s)^2 s^3): BT eq. 2.49 with
 * r^2 = s^2 - b^2 put in, which leaves only positive terms. */

static double af__isochrone_value(const af_potential *part, const double x[3]) {
    double s = hypot(part->length, af__norm3(x));
    return -AF_GRAVITY * part->mass / (part->length + s);
}

static void af__isochrone_add(const af_potential *part, const double x[3], double a[3]) {
    double s = hypot(part->length, af__norm3(x)), t = part->length + s;
    double pull = AF_GRAVITY * part->mass / (s * t * t);
    int i;
    for (i = 0; i < 3; i++) a[i] -= pull * x[i];
}

static double af__isochrone_density(const af_potential *part, const double x[3]) {
    double b = part->length, s = hypot(b, af__norm3(x)), t = b + s;
    return part->mass * b * (2.0 * s + b) / (4.0 * AF__PI * t * t * s * s * s);
}

/* Plummer: BT eq. 2.44. */

static double af__plummer_value(const af_potential *part, const double x[3]) {
    return -AF_GRAVITY * part->mass / hypot(part->length, af__norm3(x));
}

static void af__plummer_add(const af_potential *part, const double x[3], double a[3]) {
    double s = hypot(part->length, af__norm3(x));
    double pull = AF_GRAVITY * part->mass / (s * s * s);
    int i;
    for (i = 0; i < 3; i++) a[i] -= pull * x[i];
}

static double af__plummer_density(const af_potential *part, const double x[3]) {
    double b = part->length, s = hypot(b, af__norm3(x)), s2 = s * s;
    return 3.0 * part->mass * b * b / (4.0 * AF__PI * s2 * s2 * s);
}

/* Miyamoto-Nagai: BT eq. 2.69; B = sqrt(z^2 + b^2), D^2 = R^2 + (a + B)^2. */

static double af__miyamoto_value(const af_potential *part, const double x[3]) {
    double h = part->length + hypot(x[2], part->height);
    return -AF_GRAVITY * part->mass / hypot(hypot(x[0], x[1]), h);
}

static void af__miyamoto_add(const af_potential *part, const double x[3], double a[3]) {
    double root = hypot(x[2], part->height), h = part->length + root;
    double d = hypot(hypot(x[0], x[1]), h);
    double pull = AF_GRAVITY * part->mass / (d * d * d);
    a[0] -= pull * x[0];
    a[1] -= pull * x[1];
    if (root > 0.0) a[2] -= pull * h * (x[2] / root); /* root = 0: in Kuzmin's sheet */
}

static double af__miyamoto_density(const af_potential *part, const double x[3]) {
    double a = part->length, b = part->height, root = hypot(x[2], b), h = a + root;
    double cylinder2 = x[0] * x[0] + x[1] * x[1], d2 = cylinder2 + h * h;
    double top = a * cylinder2 + (a + 3.0 * root) * h * h;
    if (b == 0.0) return 0.0;
    return part->mass * (b * b) * top / (4.0 * AF__PI * d2 * d2 * sqrt(d2) * root * root * root);
}

/* Logarithmic: BT eq. 2.71a made triaxial; m^2 = core^2 + x^2 + (y/p)^2 + (z/q)^2. */

static double af__logarithmic_m2(const af_potential *part, const double x[3]) {
    double y = x[1] / part->p, z = x[2] / part->q;
    return part->length * part->length + x[0] * x[0] + y * y + z * z;
}

static double af__logarithmic_value(const af_potential *part, const double x[3]) {
    return 0.5 * part->speed * part->speed * log(af__logarithmic_m2(part, x));
}

static void af__logarithmic_add(const af_potential *part, const double x[3], double a[3]) {
    double pull = part->speed * part->speed / af__logarithmic_m2(part, x);
    a[0] -= pull * x[0];
    a[1] -= pull * x[1] / (part->p * part->p);
    a[2] -= pull * x[2] / (part->q * part->q);
}

/* Laplacian: v^2/m^2 (1 + 1/p^2 + 1/q^2 - 2 (x^2 + y^2/p^4 + z^2/q^4)/m^2). */
static double af__logarithmic_density(const af_potential *part, const double x[3]) {
    double m2 = af__logarithmic_m2(part, x);
    double p2 = part->p * part->p, q2 = part->q * part->q;
    double y = x[1] / p2, z = x[2] / q2;
    double bend = 2.0 * (x[0] * x[0] + y * y + z * z) / m2;
    double trace = 1.0 + 1.0 / p2 + 1.0 / q2;
    return part->speed * part->speed / m2 * (trace - bend) / (4.0 * AF__PI * AF_GRAVITY);
}

/* NFW: BT eq. 2.67 with u = r/rs. */

static double af__nfw_value(const af_potential *part, const double x[3]) {
    double r = af__norm3(x), u = r / part->length;
    double bend = u > 0.0 ? log1p(u) / u : 1.0;
    return -AF_GRAVITY * part->mass / part->length * bend;
}

/* (ln(1+u) - u/(1+u)) / u^2, 1/2 at u = 0. The two terms cancel for small u; with t = u/(2+u) the
 * same is 2 t^2/(1+t) + 2 t^3 (1/3 + t^2/5 + t^4/7 + ...), all positive, and u = 2t/(1-t). Nine
 * terms leave less than t^18 = 4e-17 at u = 0.3. */
static double af__nfw_mass_over_u2(double u) {
    double t, t2, sum = 0.0;
    int k;
    if (u > 0.3) return (log1p(u) - u / (1.0 + u)) / (u * u);
    t = u / (2.0 + u);
    t2 = t * t;
    for (k = 8; k >= 0; k--) sum = sum * t2 + 1.0 / (double)(2 * k + 3);
    return 0.5 * (1.0 - t) * (1.0 - t) * (1.0 / (1.0 + t) + t * sum);
}

static void af__nfw_add(const af_potential *part, const double x[3], double a[3]) {
    double r = af__norm3(x), rs = part->length;
    double pull = AF_GRAVITY * part->mass / (rs * rs) * af__nfw_mass_over_u2(r / rs);
    int i;
    if (r == 0.0) return;
    for (i = 0; i < 3; i++) a[i] -= pull * (x[i] / r);
}

static double af__nfw_density(const af_potential *part, const double x[3]) {
    double r = af__norm3(x), t = part->length + r;
    return part->mass / (4.0 * AF__PI * r * t * t);
}

static double af__potential_value(const af_potential *part, const double x[3]) {
    switch (part->kind) {
    case AF_POTENTIAL_ISOCHRONE: return af__isochrone_value(part, x);
    case AF_POTENTIAL_PLUMMER: return af__plummer_value(part, x);
    case AF_POTENTIAL_MIYAMOTO_NAGAI: return af__miyamoto_value(part, x);
    case AF_POTENTIAL_LOGARITHMIC: return af__logarithmic_value(part, x);
    case AF_POTENTIAL_NFW: return af__nfw_value(part, x);
    }
    return NAN;
}

static void af__potential_add(const af_potential *part, const double x[3], double a[3]) {
    switch (part->kind) {
    case AF_POTENTIAL_ISOCHRONE: af__isochrone_add(part, x, a); return;
    case AF_POTENTIAL_PLUMMER: af__plummer_add(part, x, a); return;
    case AF_POTENTIAL_MIYAMOTO_NAGAI: af__miyamoto_add(part, x, a); return;
    case AF_POTENTIAL_LOGARITHMIC: af__logarithmic_add(part, x, a); return;
    case AF_POTENTIAL_NFW: af__nfw_add(part, x, a); return;
    }
    a[0] = a[1] = a[2] = NAN;
}

static double af__potential_density(const af_potential *part, const double x[3]) {
    switch (part->kind) {
    case AF_POTENTIAL_ISOCHRONE: return af__isochrone_density(part, x);
    case AF_POTENTIAL_PLUMMER: return af__plummer_density(part, x);
    case AF_POTENTIAL_MIYAMOTO_NAGAI: return af__miyamoto_density(part, x);
    case AF_POTENTIAL_LOGARITHMIC: return af__logarithmic_density(part, x);
    case AF_POTENTIAL_NFW: return af__nfw_density(part, x);
    }
    return NAN;
}

/* NULL when the part is fine, else what is wrong with it. */
static const char *af__potential_fault(const af_potential *part) {
    const double numbers[6] = {part->mass,  part->length, part->height,
                               part->speed, part->p,      part->q};
    if (!af__all_finite(numbers, 6)) return "a parameter is not finite";
    if (part->length < 0.0 || part->height < 0.0) return "a length is negative";
    switch (part->kind) {
    case AF_POTENTIAL_ISOCHRONE: return NULL;
    case AF_POTENTIAL_PLUMMER:
    case AF_POTENTIAL_NFW: return part->length > 0.0 ? NULL : "its length must be positive";
    case AF_POTENTIAL_MIYAMOTO_NAGAI:
        return part->length + part->height > 0.0 ? NULL : "a + b must be positive";
    case AF_POTENTIAL_LOGARITHMIC:
        return part->p > 0.0 && part->q > 0.0 ? NULL : "its axis ratios must be positive";
    }
    return "its kind is unknown: make it with an af_potential_... function";
}

AF_API af_status af_potential_check(af_context *context, const af_potential *parts, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        const char *fault = af__potential_fault(&parts[i]);
        if (fault)
            return af__fail(context, AF_ERROR_ARGUMENT, "potential: part %lu of %lu: %s",
                            (unsigned long)i, (unsigned long)count, fault);
    }
    return AF_OK;
}

AF_API double af_potential_value(const af_potential *parts, size_t count, const double x[3]) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < count; i++) sum += af__potential_value(&parts[i], x);
    return sum;
}

AF_API void af_potential_acceleration(const af_potential *parts, size_t count, const double x[3],
                                      double acceleration[3]) {
    size_t i;
    acceleration[0] = acceleration[1] = acceleration[2] = 0.0;
    for (i = 0; i < count; i++) af__potential_add(&parts[i], x, acceleration);
}

AF_API double af_potential_density(const af_potential *parts, size_t count, const double x[3]) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < count; i++) sum += af__potential_density(&parts[i], x);
    return sum;
}

AF_API double af_potential_circular_speed(const af_potential *parts, size_t count, double radius) {
    double x[3] = {0.0, 0.0, 0.0}, a[3], v2;
    x[0] = radius;
    af_potential_acceleration(parts, count, x, a);
    v2 = -radius * a[0];
    return v2 < 0.0 ? 0.0 : sqrt(v2);
}
