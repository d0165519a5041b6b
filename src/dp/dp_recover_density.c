/* ---- recovery: the density of actions -----------------------------------------------------------
 *
 * p(J_r, L) of the field is exp of a cubic spline in u = J_r/(J_r + j_0) and v = L/(L + l_0), which
 * run from 0 to 1, times du dv/(dJ_r dL): finite or zero as J_r -> 0, as a smooth f is on circular
 * orbits. Knots lie halfway between even ones and quantiles of the stars. L does not depend on the
 * potential, and p(L) falls out. The stars of a stream have nearly the same action: J_r at given L
 * has a gamma distribution whose mean is a power of L, narrow, of which no others are. */

enum {
    DP__STREAMS_MAX = 32,
    DP__STREAM = 3 /* numbers of a stream: ln of the mean of J_r at the mean ln L, the power of L
                      that it grows with, ln(a - 1) of the shape a */
};

#define DP__SHAPE_MIN 1.001
#define DP__SHAPE_MAX 1e6 /* 0.1 % wide */

typedef struct dp__stream {
    double middle;          /* mean ln L */
    double a, digamma, constant;
} dp__stream;

typedef struct dp__density {
    dp__family field;      /* its memory has room for all numbers */
    size_t streams, count; /* of numbers: those of the field, then 3 of each stream */
    double j_0, l_0;
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

/* What the density makes of a star. */
typedef struct dp__chance {
    dp__point field;
    double t, ln_t;   /* of a stream: J_r over its mean */
    double ln_p;
    double slope;     /* d ln p/dJ_r */
} dp__chance;

/* ln p(J_r, L) of a star of the field, ln p(J_r | L) of one of a stream. */
static dp__chance dp__density_at(const dp__density *d, const dp__tracer *s) {
    dp__chance q = DP__ZERO;
    if (s->stream) {
        const dp__stream *e = d->stream + s->stream - 1;
        const double *p = d->field.p + d->field.count + DP__STREAM * (s->stream - 1);
        q.ln_t = log(s->j) - p[0] - p[1] * (s->ln_l - e->middle);
        q.t = exp(fmin(q.ln_t, 300.0));
        q.ln_p = e->constant + e->a * (q.ln_t - q.t) - log(s->j);
        q.slope = (e->a * (1.0 - q.t) - 1.0) / s->j;
    } else {
        double j = s->j + d->j_0, l = s->l + d->l_0, x[2];
        x[0] = s->j / j;
        x[1] = s->l / l;
        q.field = dp__family_at(&d->field, x);
        q.ln_p = q.field.value - d->field.ln_z + log(d->j_0 * d->l_0 / (j * j * l * l));
        q.slope = q.field.slope[0] * d->j_0 / (j * j) - 2.0 / j;
    }
    return q;
}

/* The derivatives of ln p by its numbers that are not zero, but for the part of ln_z, which is
 * -mean for stars of the field: how many, where and what. */
static size_t dp__density_terms(const dp__density *d, const dp__tracer *s, const dp__chance *q,
                                size_t at[DP__FAMILY_TERMS], double value[DP__FAMILY_TERMS]) {
    size_t i;
    if (s->stream) {
        const dp__stream *e = d->stream + s->stream - 1;
        double level = e->a * (q->t - 1.0);
        for (i = 0; i < (size_t)DP__STREAM; i++)
            at[i] = d->field.count + DP__STREAM * (s->stream - 1) + i;
        value[0] = level;
        value[1] = level * (s->ln_l - e->middle);
        value[2] = (e->a - 1.0) * (log(e->a) + 1.0 - e->digamma + q->ln_t - q->t);
        return DP__STREAM;
    }
    return dp__family_terms(&d->field, q->field.along, at, value);
}

/* Keeps the numbers within their limits, and prepares the evaluation. */
static void dp__density_prepare(dp__density *d) {
    size_t k;
    dp__family_integrate(&d->field, NULL);
    for (k = 0; k < d->streams; k++) {
        double *p = d->field.p + d->field.count + DP__STREAM * k;
        dp__stream *e = d->stream + k;
        p[2] = dp__clamp(p[2], log(DP__SHAPE_MIN - 1.0), log(DP__SHAPE_MAX));
        e->a = 1.0 + exp(p[2]);
        e->constant = e->a * log(e->a) - dp__ln_gamma(e->a, &e->digamma);
    }
}
