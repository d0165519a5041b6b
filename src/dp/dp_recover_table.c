/* ---- recovery: radial actions in a table --------------------------------------------------------
 *
 * A spherical potential is a cubic Hermite table in x = asinh(r/a): linear in r in the centre,
 * logarithmic outside. Beyond the table there is no mass: Phi = Phi_top r_top/r. The radius comes
 * out of a table as well, so that an orbit takes no transcendental function. G = 1. */

enum {
    DP__CELLS = 256,  /* of about 0.04: the table is good to 1e-8 */
    DP__POINTS = DP__CELLS + 1,
    DP__NODES = 20    /* of the quadrature over an orbit: 1e-8 for moderate orbits, 1e-4 for the
                         most radial ones */
};

/* cell[k]: Phi, h dPhi/dx, r, h dr/dx at x = k h. */
typedef struct dp__radial {
    double a, h, top; /* top = DP__CELLS h */
    double cell[DP__POINTS][4];
    double sine[DP__NODES], cosine[DP__NODES]; /* of the nodes of an orbit */
} dp__radial;

typedef struct dp__at {
    double phi, phi_x, r, r_x; /* and derivatives by x */
} dp__at;

static void dp__radial_open(dp__radial *t, double a, double outer) {
    size_t k;
    t->a = a;
    t->top = log(outer / a + sqrt(outer * outer / (a * a) + 1.0));
    t->h = t->top / (double)DP__CELLS;
    for (k = 0; k < (size_t)DP__POINTS; k++) {
        t->cell[k][2] = a * sinh((double)k * t->h);
        t->cell[k][3] = t->h * a * cosh((double)k * t->h);
    }
    for (k = 0; k < (size_t)DP__NODES; k++) {
        t->sine[k] = sin(((double)k + 0.5) * DP__PI / (double)DP__NODES);
        t->cosine[k] = cos(((double)k + 0.5) * DP__PI / (double)DP__NODES);
    }
}

static double dp__radial_x(const dp__radial *t, double r) {
    return log(r / t->a + sqrt(r * r / (t->a * t->a) + 1.0));
}

/* Cubic Hermite polynomials: the four numbers that an interpolated value is made of are those of
 * (value, slope) of point k and k + 1, of its derivative by x dh. */
static size_t dp__hermite(const dp__radial *t, double x, double h[4], double dh[4]) {
    double s = x / t->h, u;
    size_t k = s < (double)(DP__CELLS - 1) ? (size_t)s : (size_t)(DP__CELLS - 1);
    s -= (double)k;
    u = 1.0 - s;
    h[0] = (1.0 + 2.0 * s) * u * u;
    h[1] = s * u * u;
    h[2] = s * s * (3.0 - 2.0 * s);
    h[3] = -s * s * u;
    dh[2] = 6.0 * s * u / t->h;
    dh[0] = -dh[2];
    dh[1] = u * (1.0 - 3.0 * s) / t->h;
    dh[3] = s * (3.0 * s - 2.0) / t->h;
    return k;
}

static dp__at dp__radial_at(const dp__radial *t, double x) {
    double h[4], dh[4];
    const double *p, *q;
    dp__at at;
    if (x > t->top) {
        at.r = t->a * sinh(x);
        at.r_x = t->a * cosh(x);
        at.phi = t->cell[DP__CELLS][0] * t->cell[DP__CELLS][2] / at.r;
        at.phi_x = -at.phi * at.r_x / at.r;
        return at;
    }
    p = t->cell[dp__hermite(t, x, h, dh)];
    q = p + 4;
    at.phi = h[0] * p[0] + h[1] * p[1] + h[2] * q[0] + h[3] * q[1];
    at.phi_x = dh[0] * p[0] + dh[1] * p[1] + dh[2] * q[0] + dh[3] * q[1];
    at.r = h[0] * p[2] + h[1] * p[3] + h[2] * q[2] + h[3] * q[3];
    at.r_x = dh[0] * p[2] + dh[1] * p[3] + dh[2] * q[2] + dh[3] * q[3];
    return at;
}

/* What Phi(x) is made of: `weight` of four neighbouring numbers of the table (Phi, h dPhi/dx of
 * point k, then k + 1), the first of which has the returned index 2 k. */
static size_t dp__radial_row(const dp__radial *t, double x, double weight[4]) {
    double dh[4];
    if (x > t->top) {
        weight[0] = weight[1] = weight[3] = 0.0;
        weight[2] = t->cell[DP__CELLS][2] / (t->a * sinh(x));
        return 2 * (size_t)(DP__CELLS - 1);
    }
    return 2 * dp__hermite(t, x, weight, dh);
}

/* ---- orbits ---- */

#define DP__J_MIN 1e-10 /* in units of the typical L: circular to rounding */

typedef struct dp__tracer {
    double x;            /* of its radius */
    double kinetic, l2;  /* v^2/2, L^2 */
    double l, ln_l;
    double peri, apo;    /* x of the turning points in the last potential: where to look first */
    double j;            /* radial action, at least DP__J_MIN */
    size_t stream;       /* from 1; 0: of the field */
    size_t number;       /* in the sample */
} dp__tracer;

/* dJ_r = (dPhi(x) - sum w_i dPhi(x_i)) / omega */
typedef struct dp__orbit {
    double j, omega;
    double x[DP__NODES], w[DP__NODES];
} dp__orbit;

/* The x in [low, high] where g = 2 (E - Phi) r^2 - L^2 changes its sign, from below to above zero
 * (rising) or the other way: Newton's method that falls back to bisection. g has one maximum, since
 * GM/2r + Phi increases with r for a positive density: there is one of each. */
static double dp__turning(const dp__radial *t, double e, double l2, int rising, double low,
                          double high, double x) {
    int i;
    if (!(x > low && x < high)) x = 0.5 * (low + high);
    for (i = 0; i < 80; i++) {
        dp__at at = dp__radial_at(t, x);
        double twice = 2.0 * (e - at.phi), g = twice * at.r * at.r - l2, next;
        double slope = 2.0 * at.r * (twice * at.r_x - at.phi_x * at.r);
        if ((g < 0.0) == (rising != 0)) low = x;
        else high = x;
        next = x - g / slope;
        if (!(next > low && next < high)) next = 0.5 * (low + high);
        if (fabs(next - x) < 1e-10) return next; /* Newton squares it: beyond rounding */
        x = next;
    }
    return x;
}

/* Orbits whose turning points are nearer are circles: J_r is below 1e-12 L then. */
#define DP__CIRCLE 1e-6

/* 0 when the star is not bound. J_r = 1/pi int p_r dr with x = middle - half cos psi and the
 * midpoint rule in psi, whose error falls exponentially, as the integrand is periodic. */
static int dp__orbit_of(const dp__radial *t, dp__tracer *s, dp__orbit *o) {
    double e = s->kinetic + dp__radial_at(t, s->x).phi, high, half, middle, sum = 0.0;
    double top = t->cell[DP__CELLS][0];
    size_t i;
    o->j = 0.0;
    if (!(e < 0.0)) return 0;
    high = e < top ? t->top : dp__radial_x(t, t->cell[DP__CELLS][2] * top / e);
    s->peri = dp__turning(t, e, s->l2, 1, 0.0, s->x, s->peri);
    s->apo = dp__turning(t, e, s->l2, 0, s->x, high, s->apo);
    half = 0.5 * (s->apo - s->peri);
    middle = 0.5 * (s->apo + s->peri);
    for (i = 0; i < (size_t)DP__NODES; i++) {
        double step = half * t->sine[i], p2;
        dp__at at;
        o->x[i] = half > DP__CIRCLE ? middle - half * t->cosine[i] : s->x;
        at = dp__radial_at(t, o->x[i]);
        p2 = 2.0 * (e - at.phi) - s->l2 / (at.r * at.r);
        p2 = sqrt(p2 > 0.0 ? p2 : 1e-16 * fabs(e)); /* p_r; below zero by rounding alone */
        o->w[i] = half > DP__CIRCLE ? at.r_x * step / p2 : 1.0;
        sum += o->w[i];
        o->j += half > DP__CIRCLE ? p2 * at.r_x * step / (double)DP__NODES : 0.0;
    }
    for (i = 0; i < (size_t)DP__NODES; i++) o->w[i] /= sum;
    o->omega = half > DP__CIRCLE ? (double)DP__NODES / sum : 1.0; /* 2 pi / (2 int dr/p_r) */
    return 1;
}

/* The derivatives of J_r by the table, times `factor`, are added to row (2 DP__POINTS). */
static void dp__orbit_row(const dp__radial *t, const dp__tracer *s, const dp__orbit *o,
                          double factor, double *row) {
    double weight[4];
    size_t i, k, at = dp__radial_row(t, s->x, weight);
    factor /= o->omega;
    for (k = 0; k < 4; k++) row[at + k] += factor * weight[k];
    for (i = 0; i < (size_t)DP__NODES; i++) {
        at = dp__radial_row(t, o->x[i], weight);
        for (k = 0; k < 4; k++) row[at + k] -= factor * o->w[i] * weight[k];
    }
}
