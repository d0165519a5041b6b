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
    double *near_end[2];   /* (terms): rho_l next to the first knot, next to the last one */
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
    w->near_end[0] = AF__ARRAY(&w->arena, double, m->terms);
    w->near_end[1] = AF__ARRAY(&w->arena, double, m->terms);
    w->sample = AF__ARRAY(&w->arena, double, m->terms);
    return m->grid && m->tail[0] && m->tail[1] && m->legendre && w->cosine && w->sine &&
           w->project && w->inner && w->outer && w->rho && w->near_end[0] && w->near_end[1] &&
           w->sample;
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
            double in = m->step * w->weight[j] * s * s * exp(-above), out = in * exp(above);
            double in_ratio = exp(-2.0 * above), out_ratio = exp(-2.0 * below);
            if (!af__multipole_project(w, n, s, w->sample)) return 0;
            for (k = 0; k < n; k++) {
                w->inner[(i + 1) * n + k] += in * w->sample[k];
                w->outer[i * n + k] += out * w->sample[k];
                in *= in_ratio;
                out *= out_ratio;
            }
            if (i == 0 && j == AF__RADII - 1) memcpy(w->near_end[0], w->sample, n * sizeof(double));
            if (j == 0) memcpy(w->near_end[1], w->sample, n * sizeof(double));
        }
    }
    return 1;
}

/* The power of r that rho_l follows, from one end of the grid to the point next to it at a distance
 * `apart` in u; 0 when it changes sign. */
static double af__multipole_slope(double rho, double near_end, double apart) {
    double ratio = near_end / rho;
    return rho != 0.0 && ratio > 0.0 && af__is_finite(ratio) ? log(ratio) / apart : 0.0;
}
