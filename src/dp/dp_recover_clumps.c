/* ---- recovery: the density of actions -----------------------------------------------------------
 *
 * p(J_r, ln L) is a sum of clumps: ln L normal, and J_r given L gamma distributed, of shape a >= 1
 * and with a mean that is a power of L. As J_r -> 0 that is finite or zero, as a smooth f is on
 * circular orbits; normal distributions of J_r leak below zero, of ln J_r they vanish at zero. */

enum {
    DP__CLUMP = 6,      /* numbers of a clump, of any size: */
    DP__CLUMPS_MAX = 32
};
enum { DP__SHARE, DP__MEAN, DP__SPREAD, DP__LEVEL, DP__POWER, DP__SHAPE }; /* weight exp(.)/sum,
       mean and ln of the standard deviation of l = ln L, ln of the mean of J_r there, the power of
       L that it grows with, ln(a - 1) */

#define DP__SPREAD_MIN 0.02 /* no narrower in ln L, nor in ln J_r: fits to single stars */
#define DP__SHAPE_MAX 400.0 /* a = 400: 5 % wide */
#define DP__SHAPE_MIN 1.001

typedef struct dp__clump {
    double constant; /* of ln density */
    double share, mean, spread, level, power, a, digamma;
} dp__clump;

typedef struct dp__clumps {
    size_t count;
    double p[DP__CLUMPS_MAX * DP__CLUMP];
    dp__clump clump[DP__CLUMPS_MAX]; /* what follows from p */
} dp__clumps;

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

/* Keeps the numbers within their limits, and prepares the evaluation. */
static void dp__clumps_prepare(dp__clumps *m) {
    double most = -HUGE_VAL, sum = 0.0;
    size_t k;
    for (k = 0; k < m->count; k++) most = fmax(most, m->p[DP__CLUMP * k + DP__SHARE]);
    for (k = 0; k < m->count; k++) {
        double *p = m->p + DP__CLUMP * k;
        p[DP__SHARE] = fmax(p[DP__SHARE] - most, -12.0); /* 6e-6 of the stars: none */
        p[DP__SPREAD] = dp__clamp(p[DP__SPREAD], log(DP__SPREAD_MIN), 3.0);
        p[DP__SHAPE] = dp__clamp(p[DP__SHAPE], log(DP__SHAPE_MIN - 1.0), log(DP__SHAPE_MAX));
        sum += exp(p[DP__SHARE]);
    }
    for (k = 0; k < m->count; k++) {
        const double *p = m->p + DP__CLUMP * k;
        dp__clump *q = m->clump + k;
        q->share = exp(p[DP__SHARE]) / sum;
        q->mean = p[DP__MEAN];
        q->spread = exp(p[DP__SPREAD]);
        q->level = p[DP__LEVEL];
        q->power = p[DP__POWER];
        q->a = 1.0 + exp(p[DP__SHAPE]);
        q->constant = log(q->share / q->spread) - 0.5 * log(2.0 * DP__PI) + q->a * log(q->a) -
                      dp__ln_gamma(q->a, &q->digamma);
    }
}

/* What one star has to do with each clump. */
typedef struct dp__shares {
    double part[DP__CLUMPS_MAX]; /* probability that the star is of the clump */
    double t[DP__CLUMPS_MAX];    /* J_r over its mean */
    double ln_t[DP__CLUMPS_MAX];
} dp__shares;

/* ln p(J_r, l), l = ln L, J_r > 0. */
static double dp__clumps_at(const dp__clumps *m, double ln_j, double l, dp__shares *s) {
    double most = -HUGE_VAL, sum = 0.0;
    size_t k;
    for (k = 0; k < m->count; k++) {
        const dp__clump *q = m->clump + k;
        double d = l - q->mean, z = d / q->spread;
        s->ln_t[k] = ln_j - q->level - q->power * d;
        s->t[k] = exp(fmin(s->ln_t[k], 300.0));
        s->part[k] = q->constant - 0.5 * z * z + q->a * (s->ln_t[k] - s->t[k]) - ln_j;
        most = fmax(most, s->part[k]);
    }
    for (k = 0; k < m->count; k++) sum += s->part[k] = exp(s->part[k] - most);
    for (k = 0; k < m->count; k++) s->part[k] /= sum;
    return most + log(sum);
}

/* d ln p/dJ_r at the J_r of the shares. */
static double dp__clumps_slope(const dp__clumps *m, double j, const dp__shares *s) {
    double sum = 0.0;
    size_t k;
    for (k = 0; k < m->count; k++)
        sum += s->part[k] * (m->clump[k].a * (1.0 - s->t[k]) - 1.0);
    return sum / j;
}

/* d ln p/dp (DP__CLUMP count) times weight is added to score. */
static void dp__clumps_score(const dp__clumps *m, double l, const dp__shares *s, double weight,
                             double *score) {
    size_t k;
    for (k = 0; k < m->count; k++) {
        const dp__clump *q = m->clump + k;
        double d = l - q->mean, z = d / q->spread, w = weight * s->part[k];
        double level = q->a * (s->t[k] - 1.0);
        double *to = score + DP__CLUMP * k;
        to[DP__SHARE] += w - weight * q->share;
        to[DP__MEAN] += w * (z / q->spread - q->power * level);
        to[DP__SPREAD] += w * (z * z - 1.0);
        to[DP__LEVEL] += w * level;
        to[DP__POWER] += w * level * d;
        to[DP__SHAPE] += w * (q->a - 1.0) *
                         (log(q->a) + 1.0 - q->digamma + s->ln_t[k] - s->t[k]);
    }
}

/* ---- expectation and maximisation ---- */

enum { DP__SUMS = 9 };

/* What a star adds to the sums (count, DP__SUMS) of which the next clumps are made. */
static void dp__clumps_count(const dp__clumps *m, double l, const dp__shares *s, double weight,
                             double *sums) {
    size_t k;
    for (k = 0; k < m->count; k++) {
        double w = weight * s->part[k], d = l - m->clump[k].mean, *to = sums + DP__SUMS * k;
        to[0] += w;
        to[1] += w * d;
        to[2] += w * d * d;
        to[3] += w * (1.0 - s->t[k]);
        to[4] += w * (1.0 - s->t[k]) * d;
        to[5] += w * s->t[k];
        to[6] += w * s->t[k] * d;
        to[7] += w * s->t[k] * d * d;
        to[8] += w * (s->t[k] - 1.0 - s->ln_t[k]);
    }
}

/* The shape a for which ln a - digamma(a) = y: Minka (2002), with Newton's method in 1/a. */
static double dp__gamma_shape(double y) {
    double a, digamma, next;
    int i;
    if (!(y > 1.0 / (2.0 * DP__SHAPE_MAX))) return DP__SHAPE_MAX;
    a = (3.0 - y + sqrt((y - 3.0) * (y - 3.0) + 24.0 * y)) / (12.0 * y);
    for (i = 0; i < 20; i++) {
        double e = 1e-5 * a, ahead;
        dp__ln_gamma(a + e, &ahead);
        dp__ln_gamma(a, &digamma);
        ahead = 1.0 / a - (ahead - digamma) / e; /* of ln a - digamma, below zero */
        next = a - (log(a) - digamma - y) / ahead;
        if (!(next > 0.5 * a)) next = 0.5 * a;
        if (fabs(next - a) < 1e-8 * a) break;
        a = next;
    }
    return dp__clamp(a, DP__SHAPE_MIN, DP__SHAPE_MAX);
}

/* The next clumps. Those with fewer than ten stars keep their form. ln L and a come in closed form,
 * the mean of J_r by one step of Newton's method for the gamma likelihood. */
static void dp__clumps_step(dp__clumps *m, const double *sums) {
    size_t k;
    for (k = 0; k < m->count; k++) {
        const double *s = sums + DP__SUMS * k;
        double *p = m->p + DP__CLUMP * k, shift, spread, h11, det, level, power;
        p[DP__SHARE] = log(s[0] + 1e-3); /* stars */
        if (s[0] < 10.0) continue;
        shift = s[1] / s[0];
        spread = s[2] / s[0] - shift * shift;
        h11 = s[7] + 1e-3 * s[5]; /* all at one L: then no power */
        det = s[5] * h11 - s[6] * s[6];
        level = -(h11 * s[3] - s[6] * s[4]) / det;
        power = -(s[5] * s[4] - s[6] * s[3]) / det;
        p[DP__SPREAD] = 0.5 * log(fmax(spread, DP__SPREAD_MIN * DP__SPREAD_MIN));
        p[DP__POWER] = dp__clamp(p[DP__POWER] + dp__clamp(power, -1.0, 1.0), -20.0, 20.0);
        p[DP__LEVEL] += dp__clamp(level, -1.0, 1.0) + p[DP__POWER] * shift;
        p[DP__MEAN] += shift;
        p[DP__SHAPE] = log(dp__gamma_shape(s[8] / s[0]) - 1.0);
    }
    dp__clumps_prepare(m);
}

/* ---- the first clumps: k-means, begun with distant stars (Arthur & Vassilvitskii 2007) ---- */

/* Rows y (n,2) of one spread; place (count,2) gets the means, of (n) the nearest. */
static void dp__means(size_t n, const double *y, size_t count, uint64_t seed, double *place,
                      double *distance, uint32_t *of) {
    size_t i, k, round;
    for (i = 0; i < n; i++) distance[i] = HUGE_VAL;
    for (k = 0; k < count; k++) {
        double sum = 0.0, at;
        for (i = 0; i < n && k > 0; i++) sum += distance[i];
        at = af_random_uniform(seed, 1, k) * sum;
        for (i = 0; i + 1 < n && k > 0; i++)
            if ((at -= distance[i]) < 0.0) break;
        if (k == 0) i = (size_t)(af_random_uniform(seed, 1, 0) * (double)n);
        place[2 * k] = y[2 * i];
        place[2 * k + 1] = y[2 * i + 1];
        for (i = 0; i < n; i++) {
            double a = y[2 * i] - place[2 * k], b = y[2 * i + 1] - place[2 * k + 1];
            distance[i] = fmin(distance[i], a * a + b * b);
        }
    }
    for (round = 0; round < 10; round++) { /* they need not converge: EM follows */
        double sum[DP__CLUMPS_MAX][3];
        memset(sum, 0, sizeof sum);
        for (i = 0; i < n; i++) {
            double best = HUGE_VAL;
            for (k = 0; k < count; k++) {
                double a = y[2 * i] - place[2 * k], b = y[2 * i + 1] - place[2 * k + 1];
                if (a * a + b * b < best) of[i] = (uint32_t)k;
                best = fmin(best, a * a + b * b);
            }
            sum[of[i]][0] += 1.0;
            sum[of[i]][1] += y[2 * i];
            sum[of[i]][2] += y[2 * i + 1];
        }
        for (k = 0; k < count; k++) {
            if (sum[k][0] > 0.0) place[2 * k] = sum[k][1] / sum[k][0];
            if (sum[k][0] > 0.0) place[2 * k + 1] = sum[k][2] / sum[k][0];
        }
    }
}

/* Clumps of the stars' (sqrt J_r, ln L), which k-means sees in units of their spreads. */
static af_status dp__clumps_begin(af_context *c, size_t n, const double *j, const double *l,
                                  uint64_t seed, dp__clumps *m) {
    dp__arena arena = dp__arena_open(c);
    double *y = DP__ARRAY(&arena, double, 2 * n), *distance = DP__ARRAY(&arena, double, n);
    uint32_t *of = DP__ARRAY(&arena, uint32_t, n);
    double place[2 * DP__CLUMPS_MAX], sum[DP__CLUMPS_MAX][5], sd[2];
    size_t i, k;
    if (!y || !distance || !of) {
        dp__arena_free(&arena);
        return dp__fail_memory(c, "the first density of actions");
    }
    for (k = 0; k < 2; k++) {
        double mean = 0.0, square = 0.0;
        for (i = 0; i < n; i++) y[2 * i + k] = k == 0 ? sqrt(j[i]) : l[i];
        for (i = 0; i < n; i++) mean += y[2 * i + k] / (double)n;
        for (i = 0; i < n; i++) square += (y[2 * i + k] - mean) * (y[2 * i + k] - mean);
        sd[k] = sqrt(square / (double)n) + 1e-6; /* all alike: they are one clump */
        for (i = 0; i < n; i++) y[2 * i + k] /= sd[k];
    }
    dp__means(n, y, m->count, seed, place, distance, of);
    memset(sum, 0, sizeof sum);
    for (i = 0; i < n; i++) {
        double *s = sum[of[i]];
        s[0] += 1.0;
        s[1] += l[i];
        s[2] += l[i] * l[i];
        s[3] += j[i];
        s[4] += j[i] * j[i];
    }
    for (k = 0; k < m->count; k++) {
        double *s = sum[k], *p = m->p + DP__CLUMP * k, stars = fmax(s[0], 1.0), v, mean;
        if (s[0] < 1.0) s[1] = l[k % n], s[3] = j[k % n]; /* an empty one */
        mean = s[3] / stars;
        v = fmax(s[4] / stars - mean * mean, 1e-3 * mean * mean);
        p[DP__SHARE] = log(s[0] + 1e-3);
        p[DP__MEAN] = s[1] / stars;
        p[DP__SPREAD] = 0.5 * log(fmax(s[2] / stars - p[DP__MEAN] * p[DP__MEAN], 1e-3));
        p[DP__LEVEL] = log(mean);
        p[DP__POWER] = 0.0;
        p[DP__SHAPE] = log(fmax(mean * mean / v - 1.0, 0.1));
    }
    dp__clumps_prepare(m);
    dp__arena_free(&arena);
    return AF_OK;
}
