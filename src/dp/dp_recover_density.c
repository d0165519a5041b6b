/* ---- recovery: the density of actions -----------------------------------------------------------
 *
 * p(J_r, L) of the field is exp of a cubic spline in u = J_r/(J_r + j_0) and v = L/(L + l_0), which
 * run from 0 to 1, times du dv/(dJ_r dL): finite or zero as J_r -> 0, as a smooth f is on circular
 * orbits. Knots lie halfway between even ones and quantiles of the stars. Such a density is an
 * exponential family: its ln likelihood is concave in the coefficients, so that at given actions
 * there is one best density (Kooperberg & Stone 1991, Comput. Stat. Data Anal. 12, 327). L does not
 * depend on the potential, and p(L) falls out. The stars of a stream have nearly the same action:
 * J_r at given L has a gamma distribution whose mean is a power of L, narrow, of which no others
 * are. */

enum {
    DP__BINS_MAX = 32,
    DP__STREAMS_MAX = 32,
    DP__STREAM = 3 /* numbers of a stream: ln of the mean of J_r at the mean ln L, the power of L
                      that it grows with, ln(a - 1) of the shape a */
};

/* How far coefficients go: second differences, 1 for a normal distribution that is as wide as a
 * cell, and the coefficients themselves, which no data hold where there are no stars. Wider ones
 * let the density follow single stars, and error bars become too small: with 20 000 stars of a
 * Plummer sphere pulls of the force were 1.5 at 4, 1.2 at 1. */
#define DP__BEND 1.0
#define DP__REACH 30.0
#define DP__SHAPE_MIN 1.001
#define DP__SHAPE_MAX 1e6 /* 0.1 % wide */

typedef struct dp__stream {
    double middle;          /* mean ln L */
    double a, digamma, constant;
} dp__stream;

/* Cells of an axis from 0 to 1; the ends are knots four times. */
typedef struct dp__axis {
    size_t bins;
    double knot[DP__BINS_MAX + 7];
} dp__axis;

typedef struct dp__density {
    size_t bins, side, streams; /* cells along an axis, coefficients */
    size_t count;               /* of numbers: side^2 + 3 streams */
    double j_0, l_0;
    dp__axis u, v;
    double *p;                  /* (count) coefficients (side,side) by u and v; of the streams */
    double *mean;               /* (side,side) of the spline's basis, over the density */
    double ln_z;                /* of the integral over u and v */
    dp__stream stream[DP__STREAMS_MAX];
} dp__density;

/* ln Gamma(a) and its derivative, a > 0: Stirling's series above 10, where its first terms are good
 * to 1e-13, reached by recurrence (Abramowitz & Stegun 6.1.41, 6.3.18). lgamma has a global. */
static double dp__ln_gamma(double a, double *digamma) {
    double shift = 0.0, down = 0.0, z;
    for (; a < 10.0; a += 1.0) {
        shift += log(a);
        down += 1.0 / a;
    }
    z = 1.0 / (a * a);
    *digamma = log(a) - 0.5 / a -
               z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z / 132)))) -
               down;
    return (a - 0.5) * log(a) - a + 0.5 * log(2.0 * DP__PI) - shift +
           (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z / 1188)))) / a;
}

static double dp__clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

/* The four cubic B-splines at x in [0, 1] that are not zero, their slopes, the number of the
 * first. */
typedef struct dp__basis {
    size_t first;
    double w[4], slope[4];
} dp__basis;

/* De Boor's recurrence (The NURBS Book, Piegl & Tiller 1997, algorithms A2.2 and A2.3). */
static dp__basis dp__basis_at(const dp__axis *axis, double x) {
    dp__basis b;
    const double *t;
    double left[4], right[4], below[3] = {0.0, 0.0, 0.0};
    size_t i, k, low = 0, high = axis->bins;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (x < axis->knot[3 + middle]) high = middle;
        else low = middle;
    }
    b.first = low;
    t = axis->knot + low + 3; /* t[0] <= x <= t[1] */
    b.w[0] = 1.0;
    for (k = 1; k < 4; k++) {
        double saved = 0.0;
        left[k] = x - t[1 - (int)k];
        right[k] = t[k] - x;
        if (k == 3) memcpy(below, b.w, sizeof below);
        for (i = 0; i < k; i++) {
            double part = b.w[i] / (right[i + 1] + left[k - i]);
            b.w[i] = saved + right[i + 1] * part;
            saved = left[k - i] * part;
        }
        b.w[k] = saved;
    }
    for (i = 0; i < 4; i++) {
        b.slope[i] = i > 0 ? 3.0 * below[i - 1] / (t[i] - t[(int)i - 3]) : 0.0;
        if (i < 3) b.slope[i] -= 3.0 * below[i] / (t[i + 1] - t[(int)i - 2]);
    }
    return b;
}

/* Knots halfway between even ones and quantiles of x (n), which ascends; the quantiles are nearer
 * to each other at both ends. No cell is narrower than a quarter of an even one: stars at one place
 * do not make an edge. */
static void dp__axis_open(dp__axis *axis, size_t bins, size_t n, const double *x) {
    double *t = axis->knot + 3, least = 0.25 / (double)bins;
    size_t k;
    axis->bins = bins;
    for (k = 0; k < 4; k++) axis->knot[k] = 0.0;
    for (k = 1; k < bins; k++) {
        double even = (double)k / (double)bins;
        double at = 0.5 * (even + 0.5 - 0.5 * cos(DP__PI * even));
        double low = t[k - 1] + least, high = 1.0 - (double)(bins - k) * least;
        t[k] = n ? 0.5 * (even + x[(size_t)(at * (double)(n - 1))]) : even;
        t[k] = dp__clamp(t[k], low, high);
    }
    for (k = 0; k < 4; k++) t[bins + k] = 1.0;
}

/* What the density makes of a star. */
typedef struct dp__chance {
    dp__basis u, v;   /* of the field */
    double t, ln_t;   /* of a stream: J_r over its mean */
    double ln_p;
    double slope;     /* d ln p/dJ_r */
} dp__chance;

static double dp__spline_at(const dp__density *d, const dp__basis *u, const dp__basis *v,
                            double *slope) {
    double sum = 0.0;
    size_t i, k;
    *slope = 0.0;
    for (i = 0; i < 4; i++) {
        const double *c = d->p + (u->first + i) * d->side + v->first;
        double row = 0.0;
        for (k = 0; k < 4; k++) row += v->w[k] * c[k];
        sum += u->w[i] * row;
        *slope += u->slope[i] * row;
    }
    return sum;
}

/* ln p(J_r, L) of a star of the field, ln p(J_r | L) of one of a stream. */
static dp__chance dp__density_at(const dp__density *d, const dp__tracer *s) {
    dp__chance q = DP__ZERO;
    if (s->stream) {
        const dp__stream *e = d->stream + s->stream - 1;
        const double *p = d->p + d->side * d->side + DP__STREAM * (s->stream - 1);
        q.ln_t = log(s->j) - p[0] - p[1] * (s->ln_l - e->middle);
        q.t = exp(fmin(q.ln_t, 300.0));
        q.ln_p = e->constant + e->a * (q.ln_t - q.t) - log(s->j);
        q.slope = (e->a * (1.0 - q.t) - 1.0) / s->j;
    } else {
        double j = s->j + d->j_0, l = s->l + d->l_0, slope;
        q.u = dp__basis_at(&d->u, s->j / j);
        q.v = dp__basis_at(&d->v, s->l / l);
        q.ln_p = dp__spline_at(d, &q.u, &q.v, &slope) - d->ln_z +
                 log(d->j_0 * d->l_0 / (j * j * l * l));
        q.slope = slope * d->j_0 / (j * j) - 2.0 / j;
    }
    return q;
}

/* The derivatives of ln p by its numbers that are not zero, but for the part of ln_z, which is
 * -mean for stars of the field: how many, where and what. */
static size_t dp__density_terms(const dp__density *d, const dp__tracer *s, const dp__chance *q,
                                size_t at[16], double value[16]) {
    size_t i;
    if (s->stream) {
        const dp__stream *e = d->stream + s->stream - 1;
        double level = e->a * (q->t - 1.0);
        for (i = 0; i < (size_t)DP__STREAM; i++)
            at[i] = d->side * d->side + DP__STREAM * (s->stream - 1) + i;
        value[0] = level;
        value[1] = level * (s->ln_l - e->middle);
        value[2] = (e->a - 1.0) * (log(e->a) + 1.0 - e->digamma + q->ln_t - q->t);
        return DP__STREAM;
    }
    for (i = 0; i < 16; i++) {
        at[i] = (q->u.first + i / 4) * d->side + q->v.first + i % 4;
        value[i] = q->u.w[i / 4] * q->v.w[i % 4];
    }
    return 16;
}

/* Gauss' rule with four nodes a cell, in which a density may fall steeply; point < 4 bins. */
static dp__basis dp__axis_point(const dp__axis *axis, size_t point, double *weight) {
    static const double node[4] = {0.0694318442029737, 0.3300094782075719, 0.6699905217924281,
                                   0.9305681557970263};
    const double *t = axis->knot + 3 + point / 4;
    size_t i = point % 4;
    *weight = (i == 0 || i == 3 ? 0.1739274225687269 : 0.3260725774312731) * (t[1] - t[0]);
    return dp__basis_at(axis, t[0] + node[i] * (t[1] - t[0]));
}

/* ln_z and the means of the basis. covariance (side^2,side^2) of the basis, lower half, unless
 * NULL. */
static void dp__density_integrate(dp__density *d, double *covariance) {
    size_t n = d->side * d->side, points = 4 * d->bins, i, k, a, b;
    double most = -HUGE_VAL, sum = 0.0, unused, weight[4 * DP__BINS_MAX], by_u;
    dp__basis v[4 * DP__BINS_MAX], u;
    for (i = 0; i < n; i++) most = fmax(most, d->p[i]);
    for (i = 0; i < points; i++) v[i] = dp__axis_point(&d->v, i, weight + i);
    memset(d->mean, 0, n * sizeof(double));
    if (covariance) memset(covariance, 0, n * n * sizeof(double));
    for (i = 0; i < points; i++) {
        u = dp__axis_point(&d->u, i, &by_u);
        for (k = 0; k < points; k++) {
            double w = exp(dp__spline_at(d, &u, v + k, &unused) - most) * by_u * weight[k];
            sum += w;
            for (a = 0; a < 16; a++) {
                size_t at = (u.first + a / 4) * d->side + v[k].first + a % 4;
                double x = w * u.w[a / 4] * v[k].w[a % 4];
                d->mean[at] += x;
                for (b = 0; covariance && b <= a; b++)
                    covariance[at * n + (u.first + b / 4) * d->side + v[k].first + b % 4] +=
                        x * u.w[b / 4] * v[k].w[b % 4];
            }
        }
    }
    for (i = 0; i < n; i++) d->mean[i] /= sum;
    for (i = 0; covariance && i < n; i++)
        for (k = 0; k <= i; k++)
            covariance[i * n + k] = covariance[i * n + k] / sum - d->mean[i] * d->mean[k];
    d->ln_z = most + log(sum);
}

/* Keeps the numbers within their limits, and prepares the evaluation. */
static void dp__density_prepare(dp__density *d) {
    size_t k;
    dp__density_integrate(d, NULL);
    for (k = 0; k < d->streams; k++) {
        double *p = d->p + d->side * d->side + DP__STREAM * k;
        dp__stream *e = d->stream + k;
        p[2] = dp__clamp(p[2], log(DP__SHAPE_MIN - 1.0), log(DP__SHAPE_MAX));
        e->a = 1.0 + exp(p[2]);
        e->constant = e->a * log(e->a) - dp__ln_gamma(e->a, &e->digamma);
    }
}

/* -ln prior; its gradient (count), unless NULL, and precision, added to a matrix (rows `stride`
 * long), unless NULL. */
static double dp__density_prior(const dp__density *d, double *gradient, double *precision,
                                size_t stride) {
    static const double w[3] = {1.0, -2.0, 1.0};
    size_t n = d->side * d->side, i, k, a, b, axis;
    double bend = 1.0 / (DP__BEND * DP__BEND), reach = 1.0 / (DP__REACH * DP__REACH), sum = 0.0;
    for (i = 0; i < n; i++) {
        sum += 0.5 * reach * d->p[i] * d->p[i];
        if (gradient) gradient[i] += reach * d->p[i];
        if (precision) precision[i * stride + i] += reach;
    }
    for (axis = 0; axis < 2; axis++)
        for (i = 0; i < d->side; i++)
            for (k = 1; k + 1 < d->side; k++) {
                size_t step = axis ? 1 : d->side, at = axis ? i * d->side + k - 1 :
                                                             (k - 1) * d->side + i;
                double x = d->p[at] - 2.0 * d->p[at + step] + d->p[at + 2 * step];
                sum += 0.5 * bend * x * x;
                for (a = 0; a < 3; a++) {
                    if (gradient) gradient[at + a * step] += bend * x * w[a];
                    for (b = 0; precision && b < 3; b++)
                        precision[(at + a * step) * stride + at + b * step] += bend * w[a] * w[b];
                }
            }
    return sum;
}

/* The density of stars whose basis adds up to total (side^2), of `weight` stars: Newton's method,
 * halved where it goes too far. Memory (side^4 + 2 side^2). */
static void dp__density_fit(dp__density *d, const double *total, double weight, double *memory) {
    size_t n = d->side * d->side, i, round, tries;
    double *matrix = memory, *step = memory + n * n, *old = step + n;
    double loss = HUGE_VAL, before;
    for (round = 0; round < 40; round++) {
        dp__density_integrate(d, matrix);
        memset(step, 0, n * sizeof *step);
        before = dp__density_prior(d, step, NULL, 0) + weight * d->ln_z;
        for (i = 0; i < n; i++) {
            before -= total[i] * d->p[i];
            step[i] += weight * d->mean[i] - total[i];
        }
        for (i = 0; i < n * n; i++) matrix[i] *= weight;
        dp__density_prior(d, NULL, matrix, n);
        if (before > loss - 1e-3 || !dp__factorise(n, matrix)) return;
        dp__factor_solve(n, matrix, step);
        memcpy(old, d->p, n * sizeof *old);
        for (tries = 0; tries < 20; tries++) {
            double scale = pow(0.5, (double)tries);
            for (i = 0; i < n; i++) d->p[i] = old[i] - scale * step[i];
            dp__density_integrate(d, NULL);
            loss = dp__density_prior(d, NULL, NULL, 0) + weight * d->ln_z;
            for (i = 0; i < n; i++) loss -= total[i] * d->p[i];
            if (loss < before) break;
        }
        loss = before;
    }
}
