/* ---- dyn: actions and angles in a known potential, by the Staeckel fudge -----------------------
 *
 * With Phi (s^2 + Delta^2 sin^2 v) = A(s) + B(v), the momenta of the coordinates are functions of
 * one coordinate each:
 *   p_u^2 = 2 E s^2 - 2 A(s) - L_z^2 Delta^2/s^2 - 2 K,               J_r = 1/pi int p_u du,
 *   p_v^2 = 2 E Delta^2 sin^2 v - 2 B(v) - L_z^2/sin^2 v + 2 K,       J_z = 2/pi int p_v dv,
 * du = ds/c, c^2 = s^2 + Delta^2. The fudge takes A and B, but for constants, from the potential on
 * the lines v = v0 and s = s0 through the star, where p_u and p_v are known.
 *
 * Quadratures. x = ln(s/s0) between the turning points is x_m - x_h cos psi; sin v between plane
 * and turning point is cos b, sin b = sin b_1 sin phi. Equidistant psi and phi (midpoints) then
 * converge exponentially (Gauss-Chebyshev): in ln s no singularity is nearer than i pi/2, however
 * small L_z is. The pole 1/sin^2 v, near the real axis for nearly polar orbits, is split off and
 * done in closed form. Integrals up to the star itself, for the angles, are those of the cosine
 * series through the same values. */

#include <math.h>
#include <string.h>

enum {
    AF__FUDGE_MOST = 64,
    AF__FUDGE_REACH = 32 /* |ln(s/s0)| in the search of turning points: e^32 = 8e13 */
};

/* Stands in for L_z = 0, relative to r v; J depends on it to this order. */
#define AF__FUDGE_SPIN 1e-7
/* A momentum whose square is below this part of the sum of squares is taken to be zero. */
#define AF__FUDGE_REST 1e-28
/* Widths of ln s and of sin^2 b below which differences of the potential have lost too many digits:
 * nothing moves there, or small oscillations with the slope of the force. */
#define AF__FUDGE_CIRCLE 1e-7
#define AF__FUDGE_SMALL 1e-4
#define AF__FUDGE_THIN 1e-8

typedef struct af__fudge_star {
    const af_field *field;
    double along[2];         /* cosine and sine of the azimuth */
    double d2;               /* Delta^2 */
    double lz2, energy;      /* L_z^2, not 0; E [(km/s)^2] */
    double r, z;             /* R >= 1e-5 r, |z| */
    double outward, up;      /* v_R, v_z for a star above the plane */
    double s2, w, n;         /* s^2, cos^2 v, sin^2 v */
    double pu, pv;           /* [km/s kpc]; p_v for a star above the plane */
    double h, phi;           /* s^2 + Delta^2 sin^2 v, Phi */
    double low, high;        /* turning points of ln(s/s0) */
    double top, cut;         /* sin^2 b_1 and cos^2 b_1 */
    double pole;             /* sqrt of g = p_v^2 cos^2 b / (sin^2 b_1 - sin^2 b) at b = pi/2 */
    double tolerance;        /* of turning points: ln(s/s0), b */
} af__fudge_star;

/* Values at the nodes: what is integrated for J, and by E, K, L_z. */
typedef struct af__fudge_nodes {
    size_t n;
    double by[3][AF__FUDGE_MOST], mean[3], action;
} af__fudge_nodes;

static double af__field_potential_value(const double x[3], void *user) {
    const af_potential_sum *sum = (const af_potential_sum *)user;
    return af_potential_value(sum->parts, sum->count, x);
}

AF_API af_field af_field_of_potential(const af_potential_sum *sum) {
    af_field field = AF__ZERO;
    field.value = af__field_potential_value;
    field.acceleration = af__potential_sum_acceleration;
    field.user = (void *)sum; /* only read */
    return field;
}

AF_API af_force af_force_of_field(const af_field *field) {
    af_force force = AF__ZERO;
    force.acceleration = field->acceleration;
    force.user = field->user;
    return force;
}

/* ---- the potential on the coordinate lines ---- */

static double af__fudge_value(const af__fudge_star *o, double s2, double w, double n) {
    double r = sqrt(s2 * n), x[3];
    x[0] = r * o->along[0];
    x[1] = r * o->along[1];
    x[2] = sqrt((s2 + o->d2) * w);
    return o->field->value(x, o->field->user);
}

/* Phi_R and Phi_z at (R,z). */
static void af__fudge_gradient(const af__fudge_star *o, double r, double z, double g[2]) {
    double x[3], a[3];
    x[0] = r * o->along[0];
    x[1] = r * o->along[1];
    x[2] = z;
    o->field->acceleration(x, a, o->field->user);
    g[0] = -(a[0] * o->along[0] + a[1] * o->along[1]);
    g[1] = -a[2];
}

/* p_u^2 at ln(s/s0) = x. */
static double af__fudge_pu2(const af__fudge_star *o, double x) {
    double s2 = o->s2 * exp(2.0 * x), grown = o->s2 * expm1(2.0 * x);
    double a = (s2 + o->d2 * o->n) * af__fudge_value(o, s2, o->w, o->n) - o->h * o->phi;
    return o->pu * o->pu + 2.0 * (o->energy * grown - a) + o->lz2 * o->d2 * (grown / (s2 * o->s2));
}

/* Its derivative by x. */
static double af__fudge_pu2_slope(const af__fudge_star *o, double x) {
    double s2 = o->s2 * exp(2.0 * x), c2 = s2 + o->d2, g[2];
    double r = sqrt(s2 * o->n), z = sqrt(c2 * o->w), by_s2;
    af__fudge_gradient(o, r, z, g);
    by_s2 = 0.5 * (g[0] * r / s2 + g[1] * z / c2);
    by_s2 = af__fudge_value(o, s2, o->w, o->n) + (s2 + o->d2 * o->n) * by_s2;
    return 4.0 * s2 * (o->energy - by_s2) + 2.0 * o->lz2 * o->d2 / s2;
}

/* p_v^2 cos^2 b at latitude b: w = sin^2 b = cos^2 v, n = cos^2 b. */
static double af__fudge_pv2(const af__fudge_star *o, double w, double n) {
    double b = (o->s2 + o->d2 * n) * af__fudge_value(o, o->s2, w, n) - o->h * o->phi;
    double q = o->pv * o->pv + 2.0 * (o->energy * o->d2 * (o->w - w) - b);
    return n * q + o->lz2 * ((o->w - w) / o->n);
}

/* Its derivative by w. */
static double af__fudge_pv2_slope(const af__fudge_star *o, double w) {
    double n = 1.0 - w, c2 = o->s2 + o->d2, h = o->s2 + o->d2 * n, g[2], q, by_w, value;
    double r = sqrt(o->s2 * n), z;
    if (w < AF__FUDGE_THIN * 1e-4) w = AF__FUDGE_THIN * 1e-4; /* Phi_z/z in the plane */
    z = sqrt(c2 * w);
    af__fudge_gradient(o, r, z, g);
    value = af__fudge_value(o, o->s2, w, n);
    by_w = h * 0.5 * (g[1] * z / w - g[0] * r / n) - o->d2 * value;
    q = o->pv * o->pv + 2.0 * (o->energy * o->d2 * (o->w - w) - h * value + o->h * o->phi);
    return -q - 2.0 * n * (o->energy * o->d2 + by_w) - o->lz2 / o->n;
}

/* ---- turning points ---- */

typedef double (*af__fudge_function)(const af__fudge_star *o, double x);

static double af__fudge_pu2_over_x(const af__fudge_star *o, double x) {
    return af__fudge_pu2(o, x) / x;
}

static double af__fudge_pv2_at(const af__fudge_star *o, double b) {
    double w = sin(b), n = cos(b);
    return af__fudge_pv2(o, w * w, n * n);
}

/* A root of f between a and b, where it has the values fa and fb of different signs: Chandrupatla
 * (1997), inverse quadratic interpolation where it is safe and bisection elsewhere. */
static double af__fudge_root(af__fudge_function f, const af__fudge_star *o, double a, double fa,
                             double b, double fb) {
    double c = a, fc = fa, t = 0.5;
    int k;
    for (k = 0; k < 100; k++) {
        double x = a + t * (b - a), fx = f(o, x), best, room, u, v;
        if ((fx > 0.0) == (fa > 0.0)) {
            c = a;
            fc = fa;
        } else {
            c = b;
            fc = fb;
            b = a;
            fb = fa;
        }
        a = x;
        fa = fx;
        best = fabs(fa) < fabs(fb) ? a : b;
        room = (2e-16 * fabs(best) + o->tolerance) / fabs(b - a);
        if (room > 0.5 || fa == 0.0) return fa == 0.0 ? a : best;
        u = (a - b) / (c - b);
        v = (fa - fb) / (fc - fb);
        t = 0.5;
        if (v * v < u && (1.0 - v) * (1.0 - v) < 1.0 - u)
            t = fa / (fb - fa) * fc / (fb - fc) +
                (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb);
        t = t < room ? room : t > 1.0 - room ? 1.0 - room : t;
    }
    return 0.5 * (a + b);
}

/* The turning point of ln s on one side, side = 1 or -1; infinite when there is none. `at` is f at
 * x = 0, with the sign that f has between the turning points. */
static double af__fudge_turn(const af__fudge_star *o, af__fudge_function f, double at,
                             double side) {
    double near_x = 0.0, near_f = at, x = 0.25 * side;
    while (fabs(x) <= (int)AF__FUDGE_REACH) {
        double fx = f(o, x);
        if (!(fx == fx)) return NAN;
        if ((fx > 0.0) != (at > 0.0)) return af__fudge_root(f, o, near_x, near_f, x, fx);
        near_x = x;
        near_f = fx;
        x *= 2.0;
    }
    return side * INFINITY;
}

/* Where s turns. A star that is just turning has one of the points itself; f/x keeps the other. */
static unsigned af__fudge_radial(af__fudge_star *o, double squares) {
    double f = o->pu * o->pu, slope;
    if (f > AF__FUDGE_REST * squares) {
        o->low = af__fudge_turn(o, af__fudge_pu2, f, -1.0);
        o->high = af__fudge_turn(o, af__fudge_pu2, f, 1.0);
    } else {
        o->pu = o->low = o->high = 0.0;
        slope = af__fudge_pu2_slope(o, 0.0);
        if (slope > 0.0) o->high = af__fudge_turn(o, af__fudge_pu2_over_x, slope, 1.0);
        if (slope < 0.0) o->low = af__fudge_turn(o, af__fudge_pu2_over_x, slope, -1.0);
    }
    if (o->high > 1e300) return AF_ORBIT_UNBOUND;
    if (o->low < -1e300) o->low = -(int)AF__FUDGE_REACH;
    if (!(o->high - o->low >= 0.0)) return AF_ORBIT_INVALID;
    return o->high - o->low < AF__FUDGE_CIRCLE ? (unsigned)AF_ORBIT_CIRCULAR : 0u;
}

/* The largest latitude. */
static unsigned af__fudge_vertical(af__fudge_star *o, double squares) {
    double b = atan2(sqrt(o->w), sqrt(o->n)), f = o->n * o->pv * o->pv, top = b;
    if (f > AF__FUDGE_REST * squares) {
        top = af__fudge_root(af__fudge_pv2_at, o, b, f, 0.5 * AF__PI, -o->lz2);
    } else {
        o->pv = 0.0;
        if (o->w > AF__FUDGE_THIN && af__fudge_pv2_slope(o, o->w) > 0.0) { /* lowest of a saucer */
            double step = b + 1e-3 * (0.5 * AF__PI - b), there = af__fudge_pv2_at(o, step);
            if (there > 0.0)
                top = af__fudge_root(af__fudge_pv2_at, o, step, there, 0.5 * AF__PI, -o->lz2);
        }
    }
    if (!(top == top)) return AF_ORBIT_INVALID;
    o->top = sin(top) * sin(top);
    o->cut = cos(top) * cos(top);
    o->pole = sqrt(o->lz2 / o->cut);
    return o->top > 0.0 ? 0u : (unsigned)AF_ORBIT_PLANAR;
}

/* ---- the star in the coordinates ---- */

static void af__fudge_coordinates(af__fudge_star *o, double lz) {
    double r2 = o->r * o->r, z2 = o->z * o->z, far2 = r2 + z2, c2, c, y, s;
    double gap = far2 - o->d2, root = hypot(gap, 2.0 * sqrt(o->d2) * o->r);
    o->s2 = gap > 0.0 ? 0.5 * (gap + root) : 2.0 * o->d2 * r2 / (root - gap);
    c2 = o->s2 + o->d2;
    o->w = z2 / c2;
    o->n = r2 / o->s2;
    o->h = o->s2 + o->d2 * o->n;
    c = sqrt(c2);
    s = sqrt(o->s2);
    y = sqrt(o->w);
    o->pu = c * sqrt(o->n) * o->outward + s * y * o->up;
    o->pv = s * y * o->outward - c * sqrt(o->n) * o->up;
    o->lz2 = lz * lz;
    o->phi = af__fudge_value(o, o->s2, o->w, o->n);
    o->energy = o->phi + 0.5 * (o->pu * o->pu + o->pv * o->pv +
                                o->lz2 * (o->d2 / o->s2 + 1.0 / o->n)) / o->h;
}

/* R, the azimuth and v_R. A star on the axis, or nearer to it than `least`, is taken to be leaving
 * it. */
static void af__fudge_outward(af__fudge_star *o, const double xv[6], double lz, double least) {
    double r = hypot(xv[0], xv[1]), speed = hypot(xv[3], xv[4]);
    const double *along = r >= least ? xv : xv + 3;
    double length = r >= least ? r : speed, around = lz / least;
    o->r = r >= least ? r : least;
    o->along[0] = length > 0.0 ? along[0] / length : 1.0;
    o->along[1] = length > 0.0 ? along[1] / length : 0.0;
    o->outward = xv[3] * o->along[0] + xv[4] * o->along[1];
    if (r < least) o->outward = sqrt(fmax(speed * speed - around * around, 0.0));
}

/* What does not depend on Delta. *lz is L_z itself, or what stands in for 0. */
static unsigned af__fudge_start(af__fudge_star *o, const af_field *field, const double xv[6],
                                double *lz) {
    double r = af__norm3(xv), v = af__norm3(xv + 3), pull[2];
    double spin = af__product_difference(xv[0], xv[4], xv[1], xv[3]);
    memset(o, 0, sizeof *o);
    o->field = field;
    if (!af__all_finite(xv, 6)) return AF_ORBIT_INVALID;
    if (r == 0.0) return v > 0.0 ? AF_ORBIT_INVALID : AF_ORBIT_AT_REST;
    *lz = spin;
    o->z = fabs(xv[2]);
    o->up = xv[2] < 0.0 ? -xv[5] : xv[5];
    af__fudge_outward(o, xv, spin, 1e-5 * r);
    if (fabs(spin) > AF__FUDGE_SPIN * r * v) return 0;
    af__fudge_gradient(o, o->r, o->z, pull);
    v = sqrt(v * v + r * hypot(pull[0], pull[1])); /* it may be at rest */
    *lz = copysign(AF__FUDGE_SPIN * r * v, spin + 0.0);
    return fabs(spin) <= AF__ORBIT_ROUNDING * r * v ? (unsigned)AF_ORBIT_POLAR : 0u;
}

/* All turning points for this Delta^2. */
static unsigned af__fudge_turns(af__fudge_star *o, double lz, double d2) {
    unsigned flags;
    double squares;
    o->d2 = d2 > 0.0 ? d2 : 0.0;
    af__fudge_coordinates(o, lz);
    squares = o->pu * o->pu + o->pv * o->pv + o->lz2 / o->n;
    if (!af__is_finite(o->energy)) return AF_ORBIT_INVALID;
    flags = af__fudge_radial(o, squares);
    if (flags & AF_ORBIT_FAILED) return flags;
    return flags | af__fudge_vertical(o, squares);
}

/* ---- the focal distance ---- */

/* Adds, at (R,z), to sum[0] the square of Phi_Rz and to sum[1] its product with what Delta^2 Phi_Rz
 * should be (see af_fudge_delta), times a weight. Both are odd in z, so the plane itself says
 * nothing. */
static void af__fudge_focus_add(const af__fudge_star *o, double r, double z, double weight,
                                double sum[2]) {
    double h = 1e-4 * hypot(r, z), up[2], down[2], out[2], in[2], rz, wanted;
    if (h > 0.5 * z) h = 0.5 * z;
    if (h > 0.5 * r) h = 0.5 * r;
    af__fudge_gradient(o, r, z + h, up);
    af__fudge_gradient(o, r, z - h, down);
    af__fudge_gradient(o, r + h, z, out);
    af__fudge_gradient(o, r - h, z, in);
    rz = 0.25 * (up[0] - down[0] + out[1] - in[1]) / h;
    wanted = (z * z - r * r) * rz + 1.5 * (z * (out[0] + in[0]) - r * (up[1] + down[1])) +
             r * z * 0.5 * (out[0] - in[0] - up[1] + down[1]) / h;
    sum[0] += weight * rz * rz;
    sum[1] += weight * rz * wanted;
}

/* Noise of the differences is far below 1e-6 r^2, so is what such a Delta^2 would change. */
static double af__fudge_focus(const af__fudge_star *o, const double sum[2]) {
    double d2 = sum[0] > 0.0 ? sum[1] / sum[0] : 0.0;
    if (!(sum[0] == sum[0] && sum[1] == sum[1])) return NAN;
    return d2 > 1e-6 * (o->r * o->r + o->z * o->z) ? d2 : 0.0;
}

/* Delta^2 from the star's place, moved off the plane and the axis. */
static double af__fudge_focus_point(const af__fudge_star *o) {
    double sum[2] = {0.0, 0.0}, far = hypot(o->r, o->z);
    double z = o->z > 0.01 * far ? o->z : 0.01 * far, r = o->r > 0.01 * far ? o->r : 0.01 * far;
    af__fudge_focus_add(o, r, z, 1.0, sum);
    return af__fudge_focus(o, sum);
}

/* Delta^2 from two times two points between the turning points, weighted by h^2, h = s^2 + Delta^2
 * sin^2 v. Of the powers of h the second gives the best actions of mock halo orbits; more points
 * change little. */
static double af__fudge_focus_orbit(const af__fudge_star *o) {
    double sum[2] = {0.0, 0.0}, half = 0.5 * (o->high - o->low);
    int i, k;
    for (i = -1; i <= 1; i += 2)
        for (k = 1; k <= 3; k += 2) {
            double s2 = o->s2 * exp(2.0 * (o->low + half * (1.0 + i * 0.7071067811865476)));
            double sine = sin(0.125 * AF__PI * k), w = fmax(o->top * sine * sine, 1e-4), h;
            h = s2 + o->d2 * (1.0 - w);
            af__fudge_focus_add(o, sqrt(s2 * (1.0 - w)), sqrt((s2 + o->d2) * w), h * h, sum);
        }
    return af__fudge_focus(o, sum);
}

/* ---- quadratures ---- */

static void af__fudge_means(af__fudge_nodes *q) {
    size_t i, k;
    for (i = 0; i < 3; i++)
        for (q->mean[i] = 0.0, k = 0; k < q->n; k++) q->mean[i] += q->by[i][k] / (double)q->n;
}

/* p_u du = x_h^2 sin^2 psi sqrt(G) s/c dpsi, du/p_u = s/c dpsi/sqrt(G), with p_u^2 = G x_h^2
 * sin^2 psi. */
static void af__fudge_radial_nodes(const af__fudge_star *o, double lz, af__fudge_nodes *q) {
    double half = 0.5 * (o->high - o->low), middle = 0.5 * (o->high + o->low), flat = 0.0;
    /* within a barrier between two wells, which only odd potentials have */
    double least = 1e-12 * (o->pu * o->pu + o->pv * o->pv + o->lz2 / o->n) / (half * half);
    size_t k;
    q->n = af__clamp((size_t)(8.0 + 6.0 * half), 8, AF__FUDGE_MOST);
    q->action = 0.0;
    if (half < AF__FUDGE_SMALL) /* G there is minus half the second derivative */
        flat = (af__fudge_pu2_slope(o, middle - 3e-4) - af__fudge_pu2_slope(o, middle + 3e-4)) /
               1.2e-3;
    for (k = 0; k < q->n; k++) {
        double psi = AF__PI * ((double)k + 0.5) / (double)q->n, x = middle - half * cos(psi);
        double swing = half * sin(psi) * half * sin(psi), s2 = o->s2 * exp(2.0 * x), root, pace;
        root = half < AF__FUDGE_SMALL ? flat : fmax(af__fudge_pu2(o, x) / swing, least);
        root = sqrt(root);
        pace = sqrt(s2 / (s2 + o->d2));
        q->action += swing * root * pace / (double)q->n;
        q->by[0][k] = s2 * pace / root;
        q->by[1][k] = -pace / root;
        q->by[2][k] = -lz * o->d2 / s2 * pace / root;
    }
    af__fudge_means(q);
}

/* sqrt(g) at sin b = sin b_1 sin phi. */
static double af__fudge_vertical_root(const af__fudge_star *o, double sine, double cosine) {
    double g = af__fudge_pv2(o, o->top * sine * sine, o->cut + o->top * cosine * cosine) /
               (o->top * cosine * cosine);
    double least = 1e-6 * o->pole * o->pole; /* of a saucer orbit */
    return sqrt(g > least ? g : least);
}

/* p_v dv = sin^2 b_1 cos^2 phi sqrt(g)/cos^2 b dphi, dv/p_v = dphi/sqrt(g). By L_z without the
 * pole, whose integral is that of sin(v_1)/cos^2 b. */
static void af__fudge_vertical_nodes(const af__fudge_star *o, double lz, af__fudge_nodes *q) {
    double thin = 0.0, sine, cosine, root, n;
    size_t k;
    q->n = (size_t)(10.0 + 14.0 * sqrt(o->top)); /* a thin disc is a feature near the plane */
    q->action = o->pole * o->top / (1.0 + sqrt(o->cut)); /* 1 - sin v_1 */
    if (o->top < AF__FUDGE_THIN) thin = sqrt(fmax(-af__fudge_pv2_slope(o, 0.5 * o->top), 0.0));
    for (k = 0; k < q->n; k++) {
        double phi = 0.5 * AF__PI * ((double)k + 0.5) / (double)q->n;
        sine = sin(phi);
        cosine = cos(phi);
        n = o->cut + o->top * cosine * cosine;
        root = thin > 0.0 ? thin : af__fudge_vertical_root(o, sine, cosine);
        q->action += o->top * cosine * cosine * (root - o->pole) / n / (double)q->n;
        q->by[0][k] = o->d2 * n / root;
        q->by[1][k] = 1.0 / root;
        q->by[2][k] = lz / n * (1.0 / o->pole - 1.0 / root);
    }
    af__fudge_means(q);
}

/* The integrals from 0 to `angle` of the cosine series through the values at the midpoints of
 * (0, pi), by E, K, L_z. */
static void af__fudge_partial(const af__fudge_nodes *q, double angle, double out[3]) {
    double n = (double)q->n, sine[AF__FUDGE_MOST];
    size_t i, k, m;
    for (m = 1; m < q->n; m++) sine[m] = 2.0 / n * sin((double)m * angle) / (double)m;
    out[0] = out[1] = out[2] = 0.0;
    for (k = 0; k < q->n; k++) {
        double at = cos(AF__PI * ((double)k + 0.5) / n), now = at, before = 1.0, sum = angle / n;
        for (m = 1; m < q->n; m++) {
            double next = 2.0 * at * now - before;
            sum += sine[m] * now;
            before = now;
            now = next;
        }
        for (i = 0; i < 3; i++) out[i] += sum * q->by[i][k];
    }
}

/* ---- angles ---- */

/* Where the star is on its orbit: psi, and phi = 0 at the upward crossing. */
static void af__fudge_phases(const af__fudge_star *o, const double xv[6], double lz, double *psi,
                             double *phi) {
    double inside = fmax(-o->low * o->high, 0.0), ahead = xv[2] < 0.0 ? -1.0 : 1.0;
    double short_of = o->top - o->w;
    *psi = atan2(o->pu < 0.0 ? -sqrt(inside) : sqrt(inside), 0.5 * (o->high + o->low));
    if (*psi < 0.0) *psi += 2.0 * AF__PI;
    if (o->high - o->low < AF__FUDGE_CIRCLE) *psi = 0.0;
    if (o->top > 0.0) {
        double side = o->pv > 0.0 ? -ahead : ahead; /* p_v > 0 goes towards the plane */
        *phi = atan2(ahead * sqrt(o->w), side * sqrt(short_of > 0.0 ? short_of : 0.0));
    } else {
        *phi = atan2(lz < 0.0 ? -xv[1] : xv[1], xv[0]);
    }
    if (*phi < 0.0) *phi += 2.0 * AF__PI;
}

/* atan(ratio tan phi) on the branch of phi in [0, 2 pi). */
static double af__fudge_node(double ratio, double phi) {
    double angle = atan2(ratio * sin(phi), cos(phi));
    return angle < 0.0 ? angle + 2.0 * AF__PI : angle;
}

/* The derivatives of W = int p_u du + int p_v dv + L_z phi up to the star, by E, K, L_z. */
static void af__fudge_hamilton(const af__fudge_star *o, const double xv[6], double lz,
                               const af__fudge_nodes *u, const af__fudge_nodes *v, double w[3]) {
    double psi, phi, part[3];
    int i;
    af__fudge_phases(o, xv, lz, &psi, &phi);
    af__fudge_partial(u, psi, w);
    af__fudge_partial(v, 2.0 * phi, part);
    for (i = 0; i < 3; i++) w[i] += 0.5 * part[i];
    w[2] += atan2(o->along[1], o->along[0]);
    w[2] -= copysign(af__fudge_node(sqrt(o->cut), phi), lz);
}

/* Angles and frequencies: with I = (E, K, L_z), theta_i = sum_k dW/dI_k dI_k/dJ_i and Omega_i =
 * dE/dJ_i, where dI/dJ is the inverse of what the nodes say. */
static void af__fudge_angles(const af__fudge_star *o, const double xv[6], double lz,
                             const af__fudge_nodes *u, const af__fudge_nodes *v, double theta[3],
                             double omega[3]) {
    double by_lz[2], e[3], k[3], det = u->mean[0] * v->mean[1] - u->mean[1] * v->mean[0], w[3];
    int i;
    e[2] = v->mean[1] / det;
    e[1] = -u->mean[1] / det;
    k[2] = -v->mean[0] / det;
    k[1] = u->mean[0] / det;
    by_lz[0] = u->mean[2];
    by_lz[1] = v->mean[2] - (lz < 0.0 ? -1.0 : 1.0);
    e[0] = -(e[2] * by_lz[0] + e[1] * by_lz[1]);
    k[0] = -(k[2] * by_lz[0] + k[1] * by_lz[1]);
    for (i = 0; i < 3; i++) omega[i] = e[i];
    if (!theta) return;
    af__fudge_hamilton(o, xv, lz, u, v, w);
    for (i = 0; i < 3; i++) theta[i] = af__wrap(w[0] * e[i] + w[1] * k[i] + (i ? 0.0 : w[2]));
}

/* ---- the whole ---- */

/* Delta^2, and the turning points with it. */
static unsigned af__fudge_prepare(const af_fudge *fudge, const double xv[6], af__fudge_star *o,
                                  double *lz) {
    unsigned flags = af__fudge_start(o, &fudge->field, xv, lz);
    double d2 = fudge->delta * fabs(fudge->delta);
    int pass;
    if (flags & (AF_ORBIT_FAILED | AF_ORBIT_AT_REST)) return flags;
    if (fudge->focus != AF_FOCUS_GIVEN) d2 = af__fudge_focus_point(o);
    o->tolerance = 1e-2; /* of the region over which Delta^2 is a mean */
    for (pass = 0; pass < 2 && fudge->focus == AF_FOCUS_ORBIT && d2 == d2; pass++) {
        unsigned met = af__fudge_turns(o, *lz, d2);
        if (met & AF_ORBIT_FAILED) return met;
        d2 = af__fudge_focus_orbit(o);
    }
    if (!(d2 == d2)) return AF_ORBIT_INVALID;
    o->tolerance = 1e-15;
    return flags | af__fudge_turns(o, *lz, d2);
}

static void af__fudge_three(const double xv[6], unsigned flags, const af__fudge_nodes *u,
                            const af__fudge_nodes *v, double j[3]) {
    j[0] = flags & AF_ORBIT_POLAR ? 0.0 : af__product_difference(xv[0], xv[4], xv[1], xv[3]);
    j[1] = v->action;
    j[2] = flags & AF_ORBIT_CIRCULAR ? 0.0 : u->action;
}

AF_API unsigned af_fudge_actions(const af_fudge *fudge, const double xv[6], double j[3],
                                 double theta[3], double omega[3]) {
    af__fudge_star o;
    af__fudge_nodes u, v;
    double lz = 0.0, rates[3], actions[3], angles[3] = {0.0, 0.0, 0.0};
    unsigned flags = af__fudge_prepare(fudge, xv, &o, &lz);
    int i;
    if (flags & AF_ORBIT_FAILED) return af__isochrone_fail(flags, j, theta, omega, 3);
    if (flags & AF_ORBIT_AT_REST) {
        for (i = 0; i < 3 && j; i++) j[i] = 0.0;
        for (i = 0; i < 3 && theta; i++) theta[i] = 0.0;
        for (i = 0; i < 3 && omega; i++) omega[i] = NAN;
        return flags;
    }
    af__fudge_radial_nodes(&o, lz, &u);
    af__fudge_vertical_nodes(&o, lz, &v);
    af__fudge_three(xv, flags, &u, &v, actions);
    if (theta || omega) af__fudge_angles(&o, xv, lz, &u, &v, theta ? angles : NULL, rates);
    for (i = 0; i < 3 && j; i++) j[i] = actions[i];
    for (i = 0; i < 3 && theta; i++) theta[i] = angles[i];
    for (i = 0; i < 3 && omega; i++) omega[i] = rates[i];
    return flags;
}

AF_API size_t af_fudge_actions_of(const af_fudge *fudge, size_t n, const double *xv, double *j,
                                  double *theta, double *omega, unsigned *flags) {
    size_t i, failed = 0;
    for (i = 0; i < n; i++) {
        unsigned met = af_fudge_actions(fudge, xv + 6 * i, j ? j + 3 * i : NULL,
                                        theta ? theta + 3 * i : NULL,
                                        omega ? omega + 3 * i : NULL);
        failed += (met & AF_ORBIT_FAILED) != 0;
        if (flags) flags[i] = met;
    }
    return failed;
}

AF_API double af_fudge_delta(const af_fudge *fudge, const double xv[6]) {
    af__fudge_star o;
    double lz = 0.0;
    unsigned flags = af__fudge_prepare(fudge, xv, &o, &lz);
    return flags & AF_ORBIT_FAILED ? NAN : sqrt(o.d2);
}

/* ---- what the actions answer to ---- */

static void af__fudge_place(af_fudge_response *to, double r2, double z2, size_t which,
                            double weight) {
    to->place[to->count][0] = sqrt(r2);
    to->place[to->count][1] = sqrt(z2);
    to->weight[to->count][which] = -weight;
    to->weight[0][which] += weight;
    to->count++;
}

AF_API unsigned af_fudge_respond(const af_fudge *fudge, const double xv[6], double j[3],
                                 af_fudge_response *to) {
    af__fudge_star o;
    af__fudge_nodes u, v;
    double lz = 0.0, c2;
    unsigned flags = af__fudge_prepare(fudge, xv, &o, &lz);
    size_t k;
    memset(to, 0, sizeof *to);
    if (flags & (AF_ORBIT_FAILED | AF_ORBIT_AT_REST))
        return af_fudge_actions(fudge, xv, j, NULL, NULL);
    af__fudge_radial_nodes(&o, lz, &u);
    af__fudge_vertical_nodes(&o, lz, &v);
    af__fudge_three(xv, flags, &u, &v, j);
    c2 = o.s2 + o.d2;
    to->place[0][0] = o.r;
    to->place[0][1] = o.z;
    to->count = 1;
    for (k = 0; k < u.n && !(flags & AF_ORBIT_CIRCULAR); k++) {
        double x = 0.5 * (o.high + o.low) -
                   0.5 * (o.high - o.low) * cos(AF__PI * ((double)k + 0.5) / (double)u.n);
        double s2 = o.s2 * exp(2.0 * x);
        af__fudge_place(to, s2 * o.n, (s2 + o.d2) * o.w, 1,
                        -u.by[1][k] * (s2 + o.d2 * o.n) / (double)u.n);
    }
    for (k = 0; k < v.n && !(flags & AF_ORBIT_PLANAR); k++) {
        double sine = sin(0.5 * AF__PI * ((double)k + 0.5) / (double)v.n), w = o.top * sine * sine;
        double n = o.cut + o.top * (1.0 - sine * sine);
        af__fudge_place(to, o.s2 * n, c2 * w, 0, v.by[1][k] * (o.s2 + o.d2 * n) / (double)v.n);
    }
    return flags;
}
