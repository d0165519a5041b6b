/* ---- dyn: actions and angles of the isochrone ----------------------------------------------- */

#include <math.h>
#include <stdlib.h>

/* Below this (relative) an orbit counts as planar, polar, radial or circular. Rounding of the input
 * alone makes about 1e-16, a few operations 1e-15. */
#define AF__ORBIT_ROUNDING 1e-14

/* One bound orbit, in the letters of af_isochrone.h. */
typedef struct af__isochrone_orbit {
    double mu, b;            /* GM [kpc (km/s)^2], scale [kpc] */
    double a, c;             /* [kpc] */
    double slow;             /* sqrt(a/mu) [1/(km/s)]: sqrt(-2E) upside down */
    double lz, perp, l;      /* L_z, sqrt(Lx^2 + Ly^2), L [km/s kpc] */
    double lc, d, dc;        /* L_c, D, D_c [km/s kpc] */
    double e, left;          /* eccentricity, and 1 - e without cancellation */
} af__isochrone_orbit;

static double af__sign_of_rotation(double lz) { return lz < 0.0 ? -1.0 : 1.0; }

static unsigned af__isochrone_fail(unsigned flags, double *out, double *more, double *omega,
                                   size_t n) {
    size_t i;
    for (i = 0; i < n && out; i++) out[i] = NAN;
    for (i = 0; i < 3 && more; i++) more[i] = NAN;
    for (i = 0; i < 3 && omega; i++) omega[i] = NAN;
    return flags;
}

/* p q - r s to about one rounding of the result, where the terms cancel too (Kahan): nearly radial
 * orbits keep a plane that contains x. */
static double af__product_difference(double p, double q, double r, double s) {
    double rs = r * s, error = fma(-r, s, rs);
    return fma(p, q, -rs) + error;
}

/* What follows from mu, b, a, c and L. */
static void af__isochrone_lengths(af__isochrone_orbit *o) {
    o->slow = sqrt(o->a / o->mu);
    o->lc = o->c / o->slow;
    o->d = hypot(o->l, 2.0 * sqrt(o->mu * o->b));
    o->dc = (o->a + o->b) / o->slow; /* L_c^2 + 4 mu b is a square */
}

/* 1 - e = (1 - e^2)/(1 + e), where 1 - e^2 = (L/L_c)^2. */
static void af__isochrone_eccentricity(af__isochrone_orbit *o, double e) {
    double l = o->l / o->lc;
    o->e = e < 1.0 ? e : 1.0;
    o->left = l * l / (1.0 + o->e);
}

/* Ratios of the frequencies: L/D, 1 in the limit b = 0. */
static double af__isochrone_turn_ratio(const af__isochrone_orbit *o) {
    return o->d > 0.0 ? o->l / o->d : 1.0;
}

static void af__isochrone_frequencies(const af__isochrone_orbit *o, double omega[3]) {
    omega[2] = 1.0 / (o->a * o->slow);
    omega[1] = 0.5 * (1.0 + af__isochrone_turn_ratio(o)) * omega[2];
    omega[0] = af__sign_of_rotation(o->lz) * omega[1];
}

/* The orbit through xv, without its angular momentum; *q = (e cos eta, e sin eta). */
static unsigned af__isochrone_energy(const af_isochrone *isochrone, const double xv[6],
                                     af__isochrone_orbit *o, double q[2]) {
    double r = af__norm3(xv), v2 = af__dot3(xv + 3, xv + 3);
    double mu = AF_GRAVITY * isochrone->mass, b = isochrone->scale, s = hypot(b, r);
    double minus2e, pull;
    if (!(mu > 0.0 && b >= 0.0 && s > 0.0) || !af__all_finite(xv, 6)) return AF_ORBIT_INVALID;
    minus2e = 2.0 * mu / (b + s) - v2;
    if (!(minus2e > 0.0)) return AF_ORBIT_UNBOUND;
    pull = mu * (r / (b + s)) * (r / (b + s)); /* mu w/(w + 2b), since w = r^2/(b + s) */
    o->mu = mu;
    o->b = b;
    o->c = (b * v2 + pull) / minus2e; /* mu/(-2E) - b */
    o->a = o->c + b;
    if (!(o->c > 0.0)) return AF_ORBIT_AT_REST;
    q[0] = (s * v2 - pull) / (b * v2 + pull); /* 1 - w/c */
    q[1] = af__dot3(xv, xv + 3) / (o->c * sqrt(mu / o->a));
    return 0;
}

/* L, with the special cases made exact; momentum (3) gets Lx, Ly, Lz. */
static unsigned af__isochrone_momentum(const double xv[6], af__isochrone_orbit *o,
                                       double momentum[3]) {
    const double *x = xv, *v = xv + 3;
    unsigned flags = 0;
    momentum[0] = af__product_difference(x[1], v[2], x[2], v[1]);
    momentum[1] = af__product_difference(x[2], v[0], x[0], v[2]);
    momentum[2] = o->lz = af__product_difference(x[0], v[1], x[1], v[0]);
    o->perp = hypot(momentum[0], momentum[1]);
    o->l = hypot(o->perp, o->lz);
    if (o->l <= AF__ORBIT_ROUNDING * o->c * sqrt(o->mu / o->a)) {
        o->lz = o->perp = o->l = 0.0;
        flags = AF_ORBIT_RADIAL;
    } else if (o->perp <= AF__ORBIT_ROUNDING * o->l) {
        o->perp = 0.0;
        o->l = fabs(o->lz);
        flags = AF_ORBIT_PLANAR;
    } else if (fabs(o->lz) <= AF__ORBIT_ROUNDING * o->l) {
        o->lz = 0.0;
        o->l = o->perp;
        flags = AF_ORBIT_POLAR;
    }
    af__isochrone_lengths(o);
    return flags;
}

static void af__isochrone_action(const af__isochrone_orbit *o, double j[3]) {
    double swing = o->e * o->lc;
    j[0] = o->lz;
    j[1] = o->l > 0.0 ? o->perp * (o->perp / (o->l + fabs(o->lz))) : 0.0;
    j[2] = 0.5 * swing * swing * (1.0 / (o->lc + o->l) + 1.0 / (o->dc + o->d));
}

/* The line of a radial orbit: the node has longitude in [0, pi), so that both halves of the line
 * get the same; psi is the angle of the star's side. Near the centre v is the better direction. */
static void af__radial_line(const double xv[6], const double q[2], double *node, double *psi) {
    double side = q[0] > 0.0 && q[1] < 0.0 ? -1.0 : 1.0;
    const double *u = q[0] > 0.0 ? xv + 3 : xv;
    double width = hypot(u[0], u[1]);
    double longitude = width > 0.0 ? atan2(side * u[1], side * u[0]) : 0.0;
    int far_half = longitude < 0.0 || longitude >= AF__PI;
    if (far_half) longitude = atan2(-side * u[1], -side * u[0]);
    *node = longitude > 0.0 ? longitude : 0.0; /* no -0 */
    *psi = atan2(side * u[2], far_half ? -width : width);
}

/* Longitude of the ascending node, and the angle psi from there to the star along the orbit. */
static void af__orbit_plane(const af__isochrone_orbit *o, const double xv[6], const double q[2],
                            const double momentum[3], double *node, double *psi) {
    if (o->l == 0.0) {
        af__radial_line(xv, q, node, psi);
    } else if (o->perp == 0.0) {
        *node = 0.0;
        *psi = atan2(af__sign_of_rotation(o->lz) * xv[1], xv[0]);
    } else {
        *node = atan2(momentum[0], -momentum[1]);
        *psi = atan2(xv[2] * o->l, xv[1] * momentum[0] - xv[0] * momentum[1]);
    }
}

/* eta - sin eta; the series (to eta^19) has its last term below 1e-17 of the first at |eta| = 1. */
static double af__minus_sine(double eta) {
    double x = eta * eta, sum = 1.0;
    int k;
    if (fabs(eta) > 1.0) return eta - sin(eta);
    for (k = 9; k >= 2; k--) sum = 1.0 - sum * x / (double)(2 * k * (2 * k + 1));
    return sum * x * eta / 6.0;
}

/* theta_r = eta - f sin eta with f = e c/a, 1 - f = (b + c (1 - e))/a. */
static double af__isochrone_theta_r(const af__isochrone_orbit *o, double eta) {
    double left = (o->b + o->c * o->left) / o->a;
    return left * eta + o->e * o->c / o->a * af__minus_sine(eta);
}

/* atan((y/x) tan(eta/2)) without the poles; x = 0 is the limit from x > 0, in the centre (eta = 0,
 * of either sign) that of a star moving outwards. */
static double af__half_turn(double y, double x, double eta) {
    if (x == 0.0) return eta < 0.0 ? -0.5 * AF__PI : 0.5 * AF__PI;
    return atan2(y * sin(0.5 * eta), x * cos(0.5 * eta));
}

/* psi - theta_z at eta in [-pi, pi]: (Omega_z/Omega_r) theta_r = psi - theta_z comes from the two
 * arctangents of BT eq. 3.233, each with sqrt((1+e+k)/(1-e+k)) made a ratio of positive sums. */
static double af__isochrone_turn(const af__isochrone_orbit *o, double eta) {
    double ratio = af__isochrone_turn_ratio(o), wide = o->c * (1.0 + o->e);
    double kepler = af__half_turn(wide, o->slow * o->l, eta);
    double core = af__half_turn(wide + 2.0 * o->b, o->slow * o->d, eta);
    double theta_r = af__isochrone_theta_r(o, eta);
    return kepler + ratio * core - 0.5 * (1.0 + ratio) * theta_r;
}

/* To [0, 2 pi). */
static double af__wrap(double angle) {
    double turns = floor(angle / (2.0 * AF__PI));
    double wrapped = angle - turns * (2.0 * AF__PI);
    if (wrapped < 0.0) wrapped += 2.0 * AF__PI;
    return wrapped < 2.0 * AF__PI ? wrapped : 0.0;
}

static void af__isochrone_angles(const af__isochrone_orbit *o, const double xv[6],
                                 const double q[2], const double momentum[3], double theta[3]) {
    double eta = o->e > 0.0 ? atan2(q[1], q[0]) : 0.0;
    double node, psi, theta_z;
    af__orbit_plane(o, xv, q, momentum, &node, &psi);
    theta_z = psi - af__isochrone_turn(o, eta);
    theta[0] = af__wrap(node + af__sign_of_rotation(o->lz) * theta_z);
    theta[1] = af__wrap(theta_z);
    theta[2] = af__wrap(af__isochrone_theta_r(o, eta));
}

/* A star at rest in the centre: the frequencies are those of the harmonic oscillator there. */
static void af__isochrone_rest(af__isochrone_orbit *o) {
    o->c = o->lz = o->perp = o->l = 0.0;
    o->a = o->b;
    af__isochrone_lengths(o);
}

AF_API unsigned af_isochrone_actions(const af_isochrone *isochrone, const double xv[6], double j[3],
                                     double theta[3], double omega[3]) {
    af__isochrone_orbit o = AF__ZERO;
    double q[2] = {0.0, 0.0}, momentum[3], actions[3] = {0.0, 0.0, 0.0};
    double angles[3] = {0.0, 0.0, 0.0}, frequencies[3], e;
    unsigned flags = af__isochrone_energy(isochrone, xv, &o, q);
    int i;
    if (flags & AF_ORBIT_FAILED) return af__isochrone_fail(flags, j, theta, omega, 3);
    if (flags & AF_ORBIT_AT_REST) {
        af__isochrone_rest(&o);
    } else {
        flags = af__isochrone_momentum(xv, &o, momentum);
        e = hypot(q[0], q[1]);
        if (e <= AF__ORBIT_ROUNDING) {
            flags |= AF_ORBIT_CIRCULAR;
            e = 0.0;
        }
        af__isochrone_eccentricity(&o, e);
        af__isochrone_action(&o, actions);
        if (theta) af__isochrone_angles(&o, xv, q, momentum, angles);
    }
    af__isochrone_frequencies(&o, frequencies);
    if (!af__all_finite(actions, 3) || !af__all_finite(angles, 3) ||
        !af__all_finite(frequencies, 3))
        return af__isochrone_fail(AF_ORBIT_INVALID, j, theta, omega, 3);
    for (i = 0; i < 3 && j; i++) j[i] = actions[i];
    for (i = 0; i < 3 && theta; i++) theta[i] = angles[i];
    for (i = 0; i < 3 && omega; i++) omega[i] = frequencies[i];
    return flags;
}

/* Solves eta - f sin eta = m for m in [0, pi], f = 1 - left in [0,1]. The left side is convex and
 * increasing, so Newton's steps from above never overshoot; they stop when rounding stops them.
 * Upper bounds: sin eta <= eta, sin eta <= 1 and eta - sin eta >= eta^3/pi^2 on [0, pi]. */
static double af__kepler_solve(double m, double f, double left) {
    double eta = m + f < AF__PI ? m + f : AF__PI;
    int k;
    if (m <= 0.0) return 0.0;
    if (m < eta * left) eta = m / left;
    if (m * AF__PI * AF__PI < f * eta * eta * eta) eta = cbrt(m * AF__PI * AF__PI / f);
    for (k = 0; k < 64; k++) { /* 4 to 8 are needed */
        double half = sin(0.5 * eta), slope = left + 2.0 * f * half * half;
        double step = (left * eta + f * af__minus_sine(eta) - m) / slope;
        eta = eta - step > m ? eta - step : m;
        if (!(step > 4e-16 * eta)) break; /* below two units in the last place, or from below */
    }
    return eta < AF__PI ? eta : AF__PI;
}

/* eta in [-pi, pi] from theta_r in the same. */
static double af__isochrone_eta(const af__isochrone_orbit *o, double theta_r) {
    double left = (o->b + o->c * o->left) / o->a;
    double eta = af__kepler_solve(fabs(theta_r), o->e * o->c / o->a, left);
    return copysign(eta, theta_r);
}

/* The orbit of J; c = a - b and e from J_r without cancellation (af_isochrone.h). */
static unsigned af__isochrone_from_actions(const af_isochrone *isochrone, const double j[3],
                                           af__isochrone_orbit *o) {
    double reach, lengths, e2, spin = fabs(j[0]);
    o->mu = AF_GRAVITY * isochrone->mass;
    o->b = isochrone->scale;
    if (!(o->mu > 0.0 && o->b >= 0.0 && j[1] >= 0.0 && j[2] >= 0.0) || !af__all_finite(j, 3))
        return AF_ORBIT_INVALID;
    o->lz = j[0];
    o->l = j[1] + spin;
    o->perp = sqrt(j[1]) * sqrt(j[1] + 2.0 * spin);
    o->d = hypot(o->l, 2.0 * sqrt(o->mu * o->b));
    reach = j[2] + 0.5 * (o->l + o->d); /* sqrt(mu a) */
    if (!(reach > 0.0)) return AF_ORBIT_INVALID;
    o->a = reach * (reach / o->mu);
    o->c = (j[2] * j[2] + (j[2] + 0.5 * o->l) * (o->l + o->d)) / o->mu;
    if (!(o->c > 0.0)) return AF_ORBIT_AT_REST;
    af__isochrone_lengths(o);
    lengths = o->lc + o->l;
    e2 = 2.0 * j[2] / o->lc * (lengths / o->lc) * ((o->dc + o->d) / (lengths + o->dc + o->d));
    af__isochrone_eccentricity(o, sqrt(e2));
    return 0;
}

static unsigned af__isochrone_flags(const af__isochrone_orbit *o) {
    unsigned flags = 0;
    if (o->l <= AF__ORBIT_ROUNDING * o->lc)
        flags = AF_ORBIT_RADIAL;
    else if (o->perp <= AF__ORBIT_ROUNDING * o->l)
        flags = AF_ORBIT_PLANAR;
    else if (fabs(o->lz) <= AF__ORBIT_ROUNDING * o->l)
        flags = AF_ORBIT_POLAR;
    return o->e <= AF__ORBIT_ROUNDING ? flags | AF_ORBIT_CIRCULAR : flags;
}

/* r, and the speeds along and across it, at eta. */
static void af__isochrone_radius(const af__isochrone_orbit *o, double eta, double *r, double *along,
                                 double *across) {
    double half = sin(0.5 * eta);
    double w = o->c * (o->left + 2.0 * o->e * half * half); /* c (1 - e cos eta) */
    *r = sqrt(w) * sqrt(w + 2.0 * o->b);
    *along = *r > 0.0 ? o->lc * o->e * (sin(eta) / *r) : sqrt(o->mu / o->a * (o->c / o->b));
    *across = *r > 0.0 ? o->l / *r : 0.0; /* r = 0: a radial orbit in the centre, moving outwards */
}

static void af__isochrone_place(const af__isochrone_orbit *o, const double theta[3], double xv[6]) {
    double theta_r = remainder(theta[2], 2.0 * AF__PI), theta_z = remainder(theta[1], 2.0 * AF__PI);
    double node = theta[0] - af__sign_of_rotation(o->lz) * theta_z;
    double eta = af__isochrone_eta(o, theta_r), psi = theta_z + af__isochrone_turn(o, eta);
    double cos_i = o->l > 0.0 ? o->lz / o->l : 0.0, sin_i = o->l > 0.0 ? o->perp / o->l : 1.0;
    double cp = cos(psi), sp = sin(psi), cn = cos(node), sn = sin(node), r, along, across;
    double radial[3], ahead[3]; /* unit vectors along x, and a quarter turn onwards */
    int i;
    radial[0] = cp * cn - cos_i * sp * sn;
    radial[1] = cp * sn + cos_i * sp * cn;
    radial[2] = sin_i * sp;
    ahead[0] = -sp * cn - cos_i * cp * sn;
    ahead[1] = -sp * sn + cos_i * cp * cn;
    ahead[2] = sin_i * cp;
    af__isochrone_radius(o, eta, &r, &along, &across);
    for (i = 0; i < 3; i++) {
        xv[i] = r * radial[i];
        xv[3 + i] = along * radial[i] + across * ahead[i];
    }
}

AF_API unsigned af_isochrone_position(const af_isochrone *isochrone, const double j[3],
                                      const double theta[3], double xv[6], double omega[3]) {
    af__isochrone_orbit o = AF__ZERO;
    double place[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0}, frequencies[3];
    unsigned flags = af__isochrone_from_actions(isochrone, j, &o);
    int i;
    if (!af__all_finite(theta, 3)) flags = AF_ORBIT_INVALID;
    if (flags & AF_ORBIT_FAILED) return af__isochrone_fail(flags, xv, NULL, omega, 6);
    if (flags & AF_ORBIT_AT_REST) {
        af__isochrone_rest(&o);
    } else {
        flags = af__isochrone_flags(&o);
        af__isochrone_place(&o, theta, place);
    }
    af__isochrone_frequencies(&o, frequencies);
    if (!af__all_finite(place, 6) || !af__all_finite(frequencies, 3))
        return af__isochrone_fail(AF_ORBIT_INVALID, xv, NULL, omega, 6);
    for (i = 0; i < 6 && xv; i++) xv[i] = place[i];
    for (i = 0; i < 3 && omega; i++) omega[i] = frequencies[i];
    return flags;
}

AF_API size_t af_isochrone_actions_of(const af_isochrone *isochrone, size_t n, const double *xv,
                                      double *j, double *theta, double *omega, unsigned *flags) {
    size_t i, failed = 0;
    for (i = 0; i < n; i++) {
        unsigned met = af_isochrone_actions(isochrone, xv + 6 * i, j ? j + 3 * i : NULL,
                                            theta ? theta + 3 * i : NULL,
                                            omega ? omega + 3 * i : NULL);
        failed += (met & AF_ORBIT_FAILED) != 0;
        if (flags) flags[i] = met;
    }
    return failed;
}

AF_API size_t af_isochrone_positions_of(const af_isochrone *isochrone, size_t n, const double *j,
                                        const double *theta, double *xv, double *omega,
                                        unsigned *flags) {
    size_t i, failed = 0;
    for (i = 0; i < n; i++) {
        unsigned met = af_isochrone_position(isochrone, j + 3 * i, theta + 3 * i,
                                             xv ? xv + 6 * i : NULL, omega ? omega + 3 * i : NULL);
        failed += (met & AF_ORBIT_FAILED) != 0;
        if (flags) flags[i] = met;
    }
    return failed;
}

AF_API af_potential af_isochrone_potential(const af_isochrone *isochrone) {
    return af_potential_isochrone(isochrone->mass, isochrone->scale);
}

/* ---- the choice of the toy ---- */

enum { AF__FIT_STREAMS = 256, AF__FIT_GRID = 13, AF__FIT_STEPS = 400 };

typedef struct af__isochrone_fit {
    const double *xv;
    size_t streams, stars;
    size_t used;     /* streams that enter the median */
    size_t lost;     /* streams that may be unbound */
    double radius;   /* median r [kpc] */
    double *numbers; /* scratch, streams * stars */
    double *j_r;     /* scratch, stars */
} af__isochrone_fit;

static int af__compare_doubles(const void *p, const void *q) {
    double a = *(const double *)p, b = *(const double *)q;
    return a < b ? -1 : a > b;
}

static double af__median(double *values, size_t n) {
    qsort(values, n, sizeof *values, af__compare_doubles);
    return 0.5 * (values[(n - 1) / 2] + values[n / 2]);
}

/* 2 GM at which the fastest star of the stream xv (stars,6) has E = 0 in a toy of scale b. */
static double af__stream_bound(const double *xv, size_t stars, double b) {
    double bound = 0.0;
    size_t i;
    for (i = 0; i < stars; i++) {
        const double *x = xv + 6 * i;
        bound = fmax(bound, af__dot3(x + 3, x + 3) * (b + hypot(b, af__norm3(x))));
    }
    return bound;
}

/* point = (log(b/radius), log(M/M_bound - 1)); at M_bound all streams but those that may be lost
 * are just bound. */
static af_isochrone af__fit_toy(const af__isochrone_fit *fit, const double point[2]) {
    af_isochrone toy = AF__ZERO;
    double bound;
    size_t i;
    toy.scale = fit->radius * exp(point[0]);
    for (i = 0; i < fit->streams; i++)
        fit->numbers[i] = af__stream_bound(fit->xv + 6 * fit->stars * i, fit->stars, toy.scale);
    qsort(fit->numbers, fit->streams, sizeof *fit->numbers, af__compare_doubles);
    bound = fit->numbers[fit->streams - 1 - fit->lost];
    toy.mass = 0.5 * bound * (1.0 + exp(point[1])) / AF_GRAVITY;
    return toy;
}

/* mean |J_r - mean J_r| of stream number `stream` [km/s kpc], infinite when it is not bound. */
static double af__stream_spread(const af__isochrone_fit *fit, const af_isochrone *toy,
                                size_t stream) {
    const double *xv = fit->xv + 6 * fit->stars * stream;
    double mean = 0.0, sum = 0.0, j[3];
    size_t i;
    for (i = 0; i < fit->stars; i++) {
        if (af_isochrone_actions(toy, xv + 6 * i, j, NULL, NULL) & AF_ORBIT_FAILED) return INFINITY;
        fit->j_r[i] = j[2];
        mean += j[2] / (double)fit->stars;
    }
    for (i = 0; i < fit->stars; i++) sum += fabs(fit->j_r[i] - mean);
    return sum / (double)fit->stars;
}

/* The median spread; infinite outside 1e-3 <= b/radius <= 1e2 and 1e-9 <= M/M_bound - 1 <= 1e4. */
static double af__fit_cost(const af__isochrone_fit *fit, const double point[2]) {
    af_isochrone toy;
    size_t i;
    if (!(point[0] >= log(1e-3) && point[0] <= log(1e2))) return INFINITY;
    if (!(point[1] >= log(1e-9) && point[1] <= log(1e4))) return INFINITY;
    toy = af__fit_toy(fit, point);
    for (i = 0; i < fit->used; i++) {
        size_t stream = (size_t)((double)i * (double)fit->streams / (double)fit->used);
        fit->numbers[i] = af__stream_spread(fit, &toy, stream);
    }
    return af__median(fit->numbers, fit->used);
}

/* b/radius from 1e-2 to 1e1, M/M_bound - 1 from 1e-3 to 1e3; row = (point, cost). */
static void af__fit_grid(const af__isochrone_fit *fit, double row[3]) {
    int i, k;
    row[2] = INFINITY;
    for (i = 0; i < AF__FIT_GRID; i++)
        for (k = 0; k < AF__FIT_GRID; k++) {
            double point[2], cost;
            point[0] = log(10.0) * (-2.0 + 0.25 * i);
            point[1] = log(10.0) * (-3.0 + 0.5 * k);
            cost = af__fit_cost(fit, point);
            if (cost < row[2]) {
                row[0] = point[0];
                row[1] = point[1];
                row[2] = cost;
            }
        }
}

/* out = centre + factor (from - centre), with its cost. */
static void af__fit_try(const af__isochrone_fit *fit, const double centre[2], const double from[3],
                        double factor, double out[3]) {
    out[0] = centre[0] + factor * (from[0] - centre[0]);
    out[1] = centre[1] + factor * (from[1] - centre[1]);
    out[2] = af__fit_cost(fit, out);
}

static void af__fit_swap(double p[3], double q[3]) {
    int i;
    for (i = 0; i < 3; i++) {
        double swapped = p[i];
        p[i] = q[i];
        q[i] = swapped;
    }
}

static void af__fit_sort(double s[3][3]) {
    if (s[1][2] < s[0][2]) af__fit_swap(s[0], s[1]);
    if (s[2][2] < s[1][2]) af__fit_swap(s[1], s[2]);
    if (s[1][2] < s[0][2]) af__fit_swap(s[0], s[1]);
}

/* One step of Nelder & Mead (1965) with the usual 1, 2, 1/2, 1/2; s is sorted by cost. */
static void af__fit_step(const af__isochrone_fit *fit, double s[3][3]) {
    double centre[2], reflected[3], other[3];
    centre[0] = 0.5 * (s[0][0] + s[1][0]);
    centre[1] = 0.5 * (s[0][1] + s[1][1]);
    af__fit_try(fit, centre, s[2], -1.0, reflected);
    if (reflected[2] < s[0][2]) {
        af__fit_try(fit, centre, s[2], -2.0, other);
        af__fit_swap(s[2], other[2] < reflected[2] ? other : reflected);
    } else if (reflected[2] < s[1][2]) {
        af__fit_swap(s[2], reflected);
    } else {
        af__fit_try(fit, centre, s[2], reflected[2] < s[2][2] ? -0.5 : 0.5, other);
        if (other[2] < s[2][2] && other[2] <= reflected[2]) {
            af__fit_swap(s[2], other);
        } else {
            af__fit_try(fit, s[0], s[1], 0.5, s[1]);
            af__fit_try(fit, s[0], s[2], 0.5, s[2]);
        }
    }
    af__fit_sort(s);
}

/* Searches from row with a first simplex of that size until it has shrunk to 1e-9 (in logs). */
static void af__fit_simplex(const af__isochrone_fit *fit, double size, double row[3]) {
    double s[3][3];
    int i, k;
    for (i = 0; i < 3; i++) {
        for (k = 0; k < 2; k++) s[i][k] = row[k] + (i == k + 1 ? size : 0.0);
        s[i][2] = i == 0 ? row[2] : af__fit_cost(fit, s[i]);
    }
    af__fit_sort(s);
    for (k = 0; k < AF__FIT_STEPS; k++) {
        double wide = hypot(s[1][0] - s[0][0], s[1][1] - s[0][1]);
        double high = hypot(s[2][0] - s[0][0], s[2][1] - s[0][1]);
        if (wide < 1e-9 && high < 1e-9) break;
        af__fit_step(fit, s);
    }
    for (i = 0; i < 3; i++) row[i] = s[0][i];
}

/* The data make sense, and the median radius. */
static af_status af__fit_check(af_context *context, af__isochrone_fit *fit) {
    size_t i, n = fit->streams * fit->stars;
    double fastest = 0.0;
    for (i = 0; i < n; i++) {
        const double *x = fit->xv + 6 * i;
        if (!af__all_finite(x, 6))
            return af__fail(context, AF_ERROR_DATA,
                            "isochrone fit: star %lu of stream %lu has a coordinate that is not "
                            "finite; remove the stream", (unsigned long)(i % fit->stars),
                            (unsigned long)(i / fit->stars));
        fit->numbers[i] = af__norm3(x);
        fastest = fmax(fastest, af__norm3(x + 3));
    }
    fit->radius = af__median(fit->numbers, n);
    if (!(fastest > 0.0 && fit->radius > 0.0))
        return af__fail(context, AF_ERROR_DATA,
                        "isochrone fit: all stars at rest or most in the centre (median radius %g "
                        "kpc, largest speed %g km/s); check columns and units", fit->radius,
                        fastest);
    return AF_OK;
}

static af_status af__fit_arguments(af_context *context, size_t streams, size_t stars,
                                   double unbound) {
    if (streams == 0 || stars >= SIZE_MAX / streams - 1 || !(unbound >= 0.0 && unbound < 0.5))
        return af__fail(context, AF_ERROR_ARGUMENT,
                        "isochrone fit: %lu streams of %lu stars, a fraction of %g may be unbound; "
                        "give at least one stream and a fraction in [0, 0.5)",
                        (unsigned long)streams, (unsigned long)stars, unbound);
    if (stars < 2)
        return af__fail(context, AF_ERROR_DATA, "isochrone fit: %lu stars a stream have no spread; "
                        "give at least 2", (unsigned long)stars);
    return AF_OK;
}

/* The grid, then three simplices: the median has kinks where one can collapse too early. */
static void af__fit_search(const af__isochrone_fit *fit, double row[3]) {
    static const double size[3] = {0.5, 0.1, 0.1};
    int k;
    af__fit_grid(fit, row);
    for (k = 0; k < 3; k++) af__fit_simplex(fit, size[k], row);
}

AF_API af_status af_isochrone_fit(af_context *context, const double *xv, size_t streams,
                                  size_t stars, double unbound, af_isochrone *out, double *spread) {
    af__isochrone_fit fit = AF__ZERO;
    af__arena arena = AF__ZERO;
    af_status status = af__fit_arguments(context, streams, stars, unbound);
    double row[3];
    if (status != AF_OK) return status;
    arena.allocator = context->allocator;
    fit.xv = xv;
    fit.streams = streams;
    fit.stars = stars;
    fit.used = streams < AF__FIT_STREAMS ? streams : (size_t)AF__FIT_STREAMS;
    fit.lost = (size_t)(unbound * (double)streams);
    fit.numbers = AF__ARRAY(&arena, double, streams * stars);
    fit.j_r = AF__ARRAY(&arena, double, stars);
    if (!fit.numbers || !fit.j_r) {
        status = af__fail_memory(context, "scratch of the isochrone fit");
    } else {
        status = af__fit_check(context, &fit);
    }
    if (status == AF_OK) {
        af__fit_search(&fit, row);
        *out = af__fit_toy(&fit, row);
        if (spread) *spread = row[2];
    }
    af__arena_free(&arena);
    return status;
}
