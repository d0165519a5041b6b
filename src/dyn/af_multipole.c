/* ---- dyn: the potential of any axisymmetric density ------------------------------------------ */

#include <math.h>

/* With u = ln r and h the grid's step, knot k has Phi_l, h dPhi_l/du, h^2 d2Phi_l/du2 of all l.
 * AF__RADII Gauss-Legendre points in each step: r^l is integrated over it to 1e-10 as long as l h
 * is below 10, and the densities of galaxies to rounding. AF__ANGLES of them more than 2 degree,
 * which polynomials would need: discs are thin. */
enum { AF__TERMS_MAX = 64, AF__RADII = 6, AF__ANGLES = 32 };

/* Phi_l beyond an end of the grid, w being r over the end's radius: own w^power, which belongs to
 * the density there, and free w^l inside or w^-(l+1) outside, which belongs to that elsewhere. */
typedef struct af__tail {
    double own, power, free;
} af__tail;

/* P_(l+2) = (a x + b) P_l - c P_(l-2), x = cos^2 theta. */
typedef struct af__legendre {
    double a, b, c;
} af__legendre;

struct af_multipole {
    af__arena arena;
    size_t terms, knots;
    double smallest, largest; /* radii of the first and the last knot */
    double start, step;       /* u of the first knot, h */
    double *grid;             /* (knots, 3, terms) */
    af__tail *tail[2];        /* (terms): inside, outside */
    af__legendre *legendre;   /* (terms) */
};

/* ---- making one ---- */

/* What is needed only while the table is made. */
typedef struct af__multipole_work {
    const af_multipole_desc *desc;
    af__arena arena;
    size_t angles;
    double *cosine, *sine; /* (angles) */
    double *project;       /* (angles, terms): makes rho_l of rho */
    double at[AF__RADII], weight[AF__RADII]; /* the radii in a step of length 1 */
    double *inner, *outer; /* (knots, terms): the two integrals, without the grid's outside */
    double *rho;           /* (knots, terms): rho_l */
    double power[2];       /* of r in Phi_l, from rho_l beyond the grid's two ends */
    int end;               /* whether there is a density worth mentioning above the grid */
    double near_end[2];    /* rho_0 next to the first knot, next to the last one */
    double *sample;        /* (terms) */
    double bad[3];         /* R, z, rho where rho is not finite */
} af__multipole_work;

/* n Gauss-Legendre points and weights on (0,1), by Newton's method from Tricomi's estimate. */
static void af__gauss_legendre(size_t n, double *at, double *weight) {
    size_t i, l;
    int k;
    for (i = 0; i < n; i++) {
        double x = cos(AF__PI * ((double)i + 0.75) / ((double)n + 0.5)), slope = 1.0;
        for (k = 0; k < 8; k++) { /* converges in 4 */
            double old = 1.0, p = x;
            for (l = 2; l <= n; l++) {
                double next = ((double)(2 * l - 1) * x * p - (double)(l - 1) * old) / (double)l;
                old = p;
                p = next;
            }
            slope = (double)n * (x * p - old) / (x * x - 1.0);
            x -= p / slope;
        }
        at[i] = 0.5 - 0.5 * x;
        weight[i] = 1.0 / ((1.0 - x * x) * slope * slope);
    }
}

static void af__legendre_coefficients(af__legendre *c, size_t terms) {
    size_t i;
    for (i = 0; i < terms; i++) {
        double l = 2.0 * (double)i;
        double up = (l + 1.0) * (l + 2.0) / ((2.0 * l + 1.0) * (2.0 * l + 3.0));
        double same = (l + 1.0) * (l + 1.0) / ((2.0 * l + 1.0) * (2.0 * l + 3.0)) +
                      l * l / ((2.0 * l + 1.0) * (2.0 * l - 1.0));
        double down = l * (l - 1.0) / ((2.0 * l + 1.0) * (2.0 * l - 1.0));
        c[i].a = 1.0 / up;
        c[i].b = -same / up;
        c[i].c = down / up;
    }
}

/* rho_l = (2l+1) int_0^1 rho P_l dc, with c = t^2: the points crowd towards the plane. */
static void af__multipole_angles(af__multipole_work *w, const af_multipole *m) {
    size_t i, k;
    for (i = 0; i < w->angles; i++) {
        double t = w->cosine[i], weight = 2.0 * t * w->sine[i], c = t * t, p = 1.0, old = 0.0;
        for (k = 0; k < m->terms; k++) {
            const af__legendre *q = &m->legendre[k];
            double next = (q->a * c * c + q->b) * p - q->c * old;
            w->project[i * m->terms + k] = weight * (4.0 * (double)k + 1.0) * p;
            old = p;
            p = next;
        }
        w->cosine[i] = c;
        w->sine[i] = sqrt((1.0 - c) * (1.0 + c));
    }
}

static int af__multipole_allocate(af_multipole *m, af__multipole_work *w) {
    size_t n = m->knots * m->terms;
    m->grid = AF__ARRAY(&m->arena, double, 3 * n);
    m->tail[0] = AF__ARRAY(&m->arena, af__tail, m->terms);
    m->tail[1] = AF__ARRAY(&m->arena, af__tail, m->terms);
    m->legendre = AF__ARRAY(&m->arena, af__legendre, m->terms);
    w->cosine = AF__ARRAY(&w->arena, double, w->angles);
    w->sine = AF__ARRAY(&w->arena, double, w->angles);
    w->project = AF__ARRAY(&w->arena, double, w->angles * m->terms);
    w->inner = AF__ARRAY(&w->arena, double, n);
    w->outer = AF__ARRAY(&w->arena, double, n);
    w->rho = AF__ARRAY(&w->arena, double, n);
    w->sample = AF__ARRAY(&w->arena, double, m->terms);
    return m->grid && m->tail[0] && m->tail[1] && m->legendre && w->cosine && w->sine &&
           w->project && w->inner && w->outer && w->rho && w->sample;
}

/* rho_l (terms) at a radius; 0 when a density is not finite. */
static int af__multipole_project(af__multipole_work *w, size_t terms, double r, double *rho) {
    size_t i, k;
    for (k = 0; k < terms; k++) rho[k] = 0.0;
    for (i = 0; i < w->angles; i++) {
        double cylinder = r * w->sine[i], z = r * w->cosine[i];
        double value = w->desc->density(cylinder, z, w->desc->user);
        if (!af__is_finite(value)) {
            w->bad[0] = cylinder;
            w->bad[1] = z;
            w->bad[2] = value;
            return 0;
        }
        for (k = 0; k < terms; k++) rho[k] += value * w->project[i * terms + k];
    }
    return 1;
}

/* rho_l at the knots, and what each step adds to the integrals at its two ends. */
static int af__multipole_sample(af_multipole *m, af__multipole_work *w) {
    size_t i, j, k, n = m->terms;
    for (i = 0; i < m->knots; i++) {
        double u = m->start + m->step * (double)i;
        if (!af__multipole_project(w, n, exp(u), w->rho + i * n)) return 0;
        for (j = 0; i + 1 < m->knots && j < AF__RADII; j++) {
            double below = m->step * w->at[j], above = m->step - below, s = exp(u + below);
            double out = m->step * w->weight[j] * s * s, in = out * exp(-above);
            double in_ratio = exp(-2.0 * above), out_ratio = exp(-2.0 * below);
            if (!af__multipole_project(w, n, s, w->sample)) return 0;
            for (k = 0; k < n; k++) {
                w->inner[(i + 1) * n + k] += in * w->sample[k];
                w->outer[i * n + k] += out * w->sample[k];
                in *= in_ratio;
                out *= out_ratio;
            }
            if (i == 0 && j == 0) w->near_end[0] = w->sample[0];
            w->near_end[1] = w->sample[0]; /* the last one stays */
        }
    }
    return 1;
}

/* The power of the density's own part of Phi_l on a side (0 inside, 1 outside). Where it is that of
 * the free part (outside NFW halos), there is a logarithm instead: the difference of two powers
 * 1e-4 apart does as well and leaves twelve digits. */
static double af__multipole_power(double power, double l, int side) {
    double special = side ? -l - 1.0 : l;
    return fabs(power - special) < 1e-4 ? special - 1e-4 : power;
}

/* The power 2 + d ln rho_0/d ln r at both ends, taken for all l. */
static af_status af__multipole_powers(af_context *c, const af_multipole *m, af__multipole_work *w) {
    double apart = m->step * w->at[0]; /* the points are symmetric in the step */
    double first = w->rho[0], last = w->rho[(m->knots - 1) * m->terms];
    double ratio = w->near_end[0] / first, inside = w->inner[(m->knots - 1) * m->terms];
    w->power[0] = w->power[1] = 2.0;
    if (first != 0.0 && ratio > 0.0) w->power[0] += log(ratio) / apart;
    if (!(w->power[0] > -1.0))
        return af__fail(c, AF_ERROR_DATA,
                        "multipole: at r = %g kpc the density goes as r^%.3g, which has no finite "
                        "mass in the centre",
                        m->smallest, w->power[0] - 2.0);
    ratio = last / w->near_end[1];
    if (ratio > 0.0) w->power[1] += log(ratio) / apart;
    w->end = fabs(last) * m->largest * m->largest > 1e-10 * fabs(inside);
    if (w->end && !(w->power[1] < 0.0))
        return af__fail(c, AF_ERROR_DATA,
                        "multipole: at r = %g kpc the density goes as r^%.3g, which has no finite "
                        "potential: it must fall faster than r^-2 there",
                        m->largest, w->power[1] - 2.0);
    return AF_OK;
}

/* The integrals from their steps, with what lies outside of the grid: rho_l r^2/(l+1+power) inside,
 * rho_l r^2/(l-power) outside. */
static void af__multipole_integrate(const af_multipole *m, af__multipole_work *w) {
    size_t i, k, n = m->terms, last = (m->knots - 1) * m->terms;
    for (k = 0; k < n; k++) {
        double l = 2.0 * (double)k, in_ratio = exp(-m->step * (l + 1.0)), out_ratio;
        double power = af__multipole_power(w->power[0], l, 0);
        out_ratio = exp(-m->step * l);
        w->inner[k] = w->rho[k] * m->smallest * m->smallest / (l + 1.0 + power);
        for (i = n; i <= last; i += n) w->inner[i + k] += in_ratio * w->inner[i - n + k];
        power = af__multipole_power(w->power[1], l, 1);
        w->outer[last + k] =
            w->end ? w->rho[last + k] * m->largest * m->largest / (l - power) : 0.0;
        for (i = last; i > 0; i -= n) w->outer[i - n + k] += out_ratio * w->outer[i + k];
    }
}

/* With A, B the two integrals: dA/du = rho r^2 - (l+1) A, dB/du = l B - rho r^2. */
static void af__multipole_table(af_multipole *m, const af__multipole_work *w) {
    size_t i, k, n = m->terms;
    for (i = 0; i < m->knots; i++) {
        double r = exp(m->start + m->step * (double)i), *grid = m->grid + 3 * n * i;
        for (k = 0; k < n; k++) {
            double l = 2.0 * (double)k, a = w->inner[i * n + k], b = w->outer[i * n + k];
            double scale = -4.0 * AF__PI * AF_GRAVITY / (2.0 * l + 1.0);
            double source = (2.0 * l + 1.0) * w->rho[i * n + k] * r * r;
            grid[k] = scale * (a + b);
            grid[n + k] = scale * m->step * (l * b - (l + 1.0) * a);
            grid[2 * n + k] = scale * m->step * m->step *
                              ((l + 1.0) * (l + 1.0) * a + l * l * b - source);
        }
    }
}

/* Phi_l beyond the ends. r^p has (p-l)(p+l+1) r^p for its d2/du2 + d/du - l(l+1), which Poisson's
 * equation makes 4 pi G rho_l r^2. */
static void af__multipole_tails(af_multipole *m, const af__multipole_work *w) {
    size_t k, n = m->terms;
    int side;
    for (side = 0; side < 2; side++) {
        size_t at = side ? m->knots - 1 : 0;
        double r = side ? m->largest : m->smallest;
        for (k = 0; k < n; k++) {
            af__tail *t = &m->tail[side][k];
            double l = 2.0 * (double)k, p = af__multipole_power(w->power[side], l, side);
            double source = 4.0 * AF__PI * AF_GRAVITY * w->rho[at * n + k] * r * r;
            t->power = p;
            t->own = side && !w->end ? 0.0 : source / ((p - l) * (p + l + 1.0));
            t->free = m->grid[3 * n * at + k] - t->own;
        }
    }
}

static af_status af__multipole_fill(af_context *c, af_multipole *m, af__multipole_work *w) {
    af_status status;
    w->angles = 4 * (m->terms - 1) + AF__ANGLES; /* 2 degree more than AF__ANGLES */
    if (!af__multipole_allocate(m, w)) return af__fail_memory(c, "a multipole expansion");
    af__gauss_legendre(AF__RADII, w->at, w->weight);
    af__gauss_legendre(w->angles, w->cosine, w->sine); /* points and weights, for the moment */
    af__legendre_coefficients(m->legendre, m->terms);
    af__multipole_angles(w, m);
    if (!af__multipole_sample(m, w))
        return af__fail(c, AF_ERROR_NONFINITE,
                        "multipole: the density at R = %g, z = %g kpc is %g", w->bad[0], w->bad[1],
                        w->bad[2]);
    status = af__multipole_powers(c, m, w);
    if (status != AF_OK) return status;
    af__multipole_integrate(m, w);
    af__multipole_table(m, w);
    af__multipole_tails(m, w);
    if (!af__all_finite(m->grid, 3 * m->knots * m->terms))
        return af__fail(c, AF_ERROR_NONFINITE, "multipole: the potential is not finite");
    return AF_OK;
}

static af_status af__multipole_check(af_context *c, const af_multipole_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "multipole: af_multipole_desc was not initialised to zero");
    if (!d->density) return af__fail(c, AF_ERROR_ARGUMENT, "multipole: there is no density");
    if (!(d->smallest >= 1e-100 && d->largest > d->smallest && d->largest <= 1e100))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "multipole: smallest = %g and largest = %g kpc must be between 1e-100 and "
                        "1e100, and the second the larger one",
                        d->smallest, d->largest);
    if (d->degree % 2 || d->degree > 2 * (AF__TERMS_MAX - 1))
        return af__fail(c, AF_ERROR_ARGUMENT, "multipole: degree = %lu must be even, at most %d",
                        (unsigned long)d->degree, 2 * (AF__TERMS_MAX - 1));
    if (d->knots == 1 || d->knots > 1000000)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "multipole: knots = %lu must be 0 (default) or 2 to 1000000",
                        (unsigned long)d->knots);
    return AF_OK;
}

AF_API af_status af_multipole_create(af_context *context, const af_multipole_desc *desc,
                                     af_multipole **out) {
    af__multipole_work w = AF__ZERO;
    af_multipole *m;
    af_status status = af__multipole_check(context, desc);
    *out = NULL;
    if (status != AF_OK) return status;
    m = (af_multipole *)context->allocator.allocate(sizeof *m, context->allocator.user);
    if (!m) return af__fail_memory(context, "a multipole expansion");
    memset(m, 0, sizeof *m);
    m->arena.allocator = w.arena.allocator = context->allocator;
    w.desc = desc;
    m->smallest = desc->smallest;
    m->largest = desc->largest;
    m->terms = desc->spherical ? 1 : desc->degree ? desc->degree / 2 + 1 : 17;
    m->knots = desc->knots;
    m->start = log(m->smallest);
    if (!m->knots) m->knots = 2 + (size_t)(20.0 / log(10.0) * log(m->largest / m->smallest));
    m->step = log(m->largest / m->smallest) / (double)(m->knots - 1);
    status = af__multipole_fill(context, m, &w);
    af__arena_free(&w.arena);
    if (status == AF_OK) *out = m;
    else af_multipole_destroy(m);
    return status;
}

AF_API void af_multipole_destroy(af_multipole *multipole) {
    af_allocator allocator;
    if (!multipole) return;
    allocator = multipole->arena.allocator;
    af__arena_free(&multipole->arena);
    allocator.release(multipole, sizeof *multipole, allocator.user);
}

/* ---- using one ---- */

/* Phi, dPhi/du and dPhi/dx at u = ln r, x = cos^2 theta. */
typedef struct af__multipole_field {
    double value, by_u, by_x;
} af__multipole_field;

/* The polynomial of degree 5 from values and two derivatives at 0 and 1: what multiplies them in
 * its value, first and second derivative at t. */
static void af__quintic(double t, double b[6], double d[6]) {
    double t2 = t * t, t3 = t2 * t, s = 1.0 - t;
    b[3] = t3 * (10.0 + t * (6.0 * t - 15.0));
    b[0] = 1.0 - b[3];
    b[1] = t * (1.0 + t2 * (t * (8.0 - 3.0 * t) - 6.0));
    b[2] = 0.5 * t2 * s * s * s;
    b[4] = t3 * (t * (7.0 - 3.0 * t) - 4.0);
    b[5] = 0.5 * t3 * s * s;
    d[3] = 30.0 * t2 * s * s;
    d[0] = -d[3];
    d[1] = 1.0 + t2 * (t * (32.0 - 15.0 * t) - 18.0);
    d[2] = t * (1.0 + t * (t * (6.0 - 2.5 * t) - 4.5));
    d[4] = t2 * (t * (28.0 - 15.0 * t) - 12.0);
    d[5] = t2 * (1.5 + t * (2.5 * t - 4.0));
}

static void af__quintic_bend(double t, double e[6]) {
    e[3] = 60.0 * t * (1.0 + t * (2.0 * t - 3.0));
    e[0] = -e[3];
    e[1] = t * (t * (96.0 - 60.0 * t) - 36.0);
    e[2] = 1.0 + t * (t * (18.0 - 10.0 * t) - 9.0);
    e[4] = t * (t * (84.0 - 60.0 * t) - 24.0);
    e[5] = t * (3.0 + t * (10.0 * t - 12.0));
}

/* The place of u in the grid: its step, and in *t how far in it, 0 to 1; -1 below (NaN too), -2
 * above. */
static long af__multipole_place(const af_multipole *m, double u, double *t) {
    double place = (u - m->start) / m->step, last = (double)(m->knots - 1);
    long k;
    if (!(place >= 0.0)) return -1;
    if (place > last) return -2;
    k = place < last ? (long)place : (long)m->knots - 2;
    *t = place - (double)k;
    return k;
}

/* Of the first `terms` terms. */
static af__multipole_field af__multipole_inside(const af_multipole *m, size_t terms, long k,
                                                double t, double x) {
    af__multipole_field f = AF__ZERO;
    double b[6], d[6], p = 1.0, p_old = 0.0, q = 0.0, q_old = 0.0; /* q = dp/dx */
    const double *g = m->grid + 3 * m->terms * (size_t)k;
    size_t i, n = m->terms;
    af__quintic(t, b, d);
    for (i = 0; i < terms; i++, g++) {
        const af__legendre *c = &m->legendre[i];
        double a = c->a * x + c->b, p_next = a * p - c->c * p_old;
        double q_next = a * q + c->a * p - c->c * q_old;
        double value = b[0] * g[0] + b[1] * g[n] + b[2] * g[2 * n] + b[3] * g[3 * n] +
                       b[4] * g[4 * n] + b[5] * g[5 * n];
        double slope = d[0] * g[0] + d[1] * g[n] + d[2] * g[2 * n] + d[3] * g[3 * n] +
                       d[4] * g[4 * n] + d[5] * g[5 * n];
        f.value += value * p;
        f.by_u += slope * p;
        f.by_x += value * q;
        p_old = p;
        p = p_next;
        q_old = q;
        q = q_next;
    }
    f.by_u /= m->step;
    return f;
}

/* Beyond the grid on a side (0 inside, 1 outside). */
static af__multipole_field af__multipole_beyond(const af_multipole *m, size_t terms, int side,
                                                double u, double x) {
    af__multipole_field f = AF__ZERO;
    double w = u - log(side ? m->largest : m->smallest), free_part = side ? exp(-w) : 1.0;
    double step = exp(side ? -2.0 * w : 2.0 * w), own = 0.0, power = 0.0;
    double p = 1.0, p_old = 0.0, q = 0.0, q_old = 0.0;
    size_t i;
    for (i = 0; i < terms; i++, free_part *= step) {
        const af__legendre *c = &m->legendre[i];
        const af__tail *tail = &m->tail[side][i];
        double l = 2.0 * (double)i, a = c->a * x + c->b, p_next = a * p - c->c * p_old;
        double q_next = a * q + c->a * p - c->c * q_old, value, slope;
        if (i == 0 || tail->power != power) own = exp(tail->power * w);
        power = tail->power;
        value = tail->own * own + tail->free * free_part;
        slope = tail->own * own * power + tail->free * free_part * (side ? -l - 1.0 : l);
        f.value += value * p;
        f.by_u += slope * p;
        f.by_x += value * q;
        p_old = p;
        p = p_next;
        q_old = q;
        q = q_next;
    }
    return f;
}

static af__multipole_field af__multipole_at(const af_multipole *m, size_t terms, double u,
                                            double x) {
    double t = 0.0;
    long k = af__multipole_place(m, u, &t);
    return k < 0 ? af__multipole_beyond(m, terms, k == -2, u, x)
                 : af__multipole_inside(m, terms, k, t, x);
}

AF_API double af_multipole_value(const af_multipole *multipole, const double x[3]) {
    double r2 = x[0] * x[0] + x[1] * x[1] + x[2] * x[2];
    const af__tail *centre = &multipole->tail[0][0];
    if (r2 == 0.0)
        return centre->own != 0.0 && centre->power < 0.0 ? centre->own * HUGE_VAL : centre->free;
    return af__multipole_at(multipole, multipole->terms, 0.5 * log(r2), x[2] * x[2] / r2).value;
}

/* grad u = X/r^2, grad cos^2 theta = 2 z (z direction)/r^2 - 2 cos^2 theta X/r^2. */
AF_API void af_multipole_acceleration(const af_multipole *multipole, const double x[3],
                                      double acceleration[3]) {
    double r2 = x[0] * x[0] + x[1] * x[1] + x[2] * x[2], c2 = x[2] * x[2] / r2, pull;
    af__multipole_field f;
    acceleration[0] = acceleration[1] = acceleration[2] = 0.0;
    if (r2 == 0.0) return;
    f = af__multipole_at(multipole, multipole->terms, 0.5 * log(r2), c2);
    pull = (f.by_u - 2.0 * c2 * f.by_x) / r2;
    acceleration[0] = -pull * x[0];
    acceleration[1] = -pull * x[1];
    acceleration[2] = -(pull + 2.0 * f.by_x / r2) * x[2];
}

/* 4 pi G rho_l r^2 of term i, from the quintic or beyond the grid. */
static double af__multipole_source(const af_multipole *m, size_t i, long k, const double *basis,
                                   double u) {
    double l = 2.0 * (double)i, sum = 0.0, h = m->step;
    size_t j;
    if (k < 0) {
        const af__tail *tail = &m->tail[k == -2][i];
        double w = u - log(k == -2 ? m->largest : m->smallest), p = tail->power;
        return tail->own * exp(p * w) * (p - l) * (p + l + 1.0);
    }
    for (j = 0; j < 6; j++) {
        double g = m->grid[(3 * (size_t)k + j) * m->terms + i];
        sum += g * (basis[12 + j] / (h * h) + basis[6 + j] / h - l * (l + 1.0) * basis[j]);
    }
    return sum;
}

AF_API double af_multipole_density(const af_multipole *multipole, const double x[3]) {
    const af_multipole *m = multipole;
    double r2 = x[0] * x[0] + x[1] * x[1] + x[2] * x[2], c2 = r2 > 0.0 ? x[2] * x[2] / r2 : 0.0;
    double u = 0.5 * log(r2), t = 0.0, basis[18], sum = 0.0, p = 1.0, p_old = 0.0;
    long k = af__multipole_place(m, u, &t);
    size_t i;
    af__quintic(t, basis, basis + 6);
    af__quintic_bend(t, basis + 12);
    for (i = 0; i < m->terms; i++) {
        const af__legendre *c = &m->legendre[i];
        double p_next = (c->a * c2 + c->b) * p - c->c * p_old;
        sum += p * af__multipole_source(m, i, k, basis, u);
        p_old = p;
        p = p_next;
    }
    return sum / (4.0 * AF__PI * AF_GRAVITY * r2);
}

AF_API double af_multipole_mass(const af_multipole *multipole, double radius) {
    if (radius == 0.0) return 0.0;
    return radius / AF_GRAVITY * af__multipole_at(multipole, 1, log(radius), 0.0).by_u;
}

static void af__multipole_force(const double x[3], double acceleration[3], void *user) {
    af_multipole_acceleration((const af_multipole *)user, x, acceleration);
}

static double af__multipole_phi(const double x[3], void *user) {
    return af_multipole_value((const af_multipole *)user, x);
}

AF_API af_field af_field_of_multipole(const af_multipole *multipole) {
    af_field field = AF__ZERO;
    field.value = af__multipole_phi;
    field.acceleration = af__multipole_force;
    field.user = (void *)multipole; /* only read */
    return field;
}

AF_API af_force af_force_of_multipole(const af_multipole *multipole) {
    af_force force = AF__ZERO;
    force.acceleration = af__multipole_force;
    force.user = (void *)multipole; /* only read */
    return force;
}
