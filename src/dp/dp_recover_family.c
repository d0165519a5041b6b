/* ---- recovery: an exponential family ------------------------------------------------------------
 *
 * exp of a tensor product of cubic splines is a density of two or three numbers in [0, 1]. It is an
 * exponential family: its ln likelihood is concave in the coefficients, so that there is one best
 * density of given points (Kooperberg & Stone 1991, Comput. Stat. Data Anal. 12, 327). */

enum {
    DP__BINS_MAX = 32,
    DP__FAMILY_TERMS = 64 /* functions that are not zero at a point of three axes */
};

/* How far coefficients go: second differences, 1 for a normal distribution that is as wide as a
 * cell, and the coefficients themselves, which no data hold where there are no stars. Wider ones
 * let the density follow single stars, and error bars become too small: with 20 000 stars of a
 * Plummer sphere pulls of the force were 1.5 at 4, 1.2 at 1. */
#define DP__BEND 1.0
#define DP__REACH 30.0

/* Cells of an axis from 0 to 1; the ends are knots four times. */
typedef struct dp__axis {
    size_t bins;
    double knot[DP__BINS_MAX + 7];
} dp__axis;

typedef struct dp__family {
    size_t axes, bins, side, count; /* side = bins + 3 coefficients along an axis, side^axes of all,
                                       the last axis fastest */
    dp__axis axis[3];
    double *p, *mean; /* (count) coefficients; of the basis, over the density */
    double ln_z;      /* of the integral */
} dp__family;

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

/* A point: its basis along each axis, the spline there and its slopes. */
typedef struct dp__point {
    dp__basis along[3];
    double value, slope[3];
} dp__point;

/* Two axes are three of which the last has one function, 1. */
static dp__basis dp__family_basis(const dp__family *f, size_t axis, double x) {
    dp__basis one = DP__ZERO;
    one.w[0] = 1.0;
    return axis < f->axes ? dp__basis_at(f->axis + axis, x) : one;
}

static size_t dp__family_side(const dp__family *f, size_t axis, size_t side) {
    return axis < f->axes ? side : 1;
}

/* The functions that are not zero at a point: how many, where and what. */
static size_t dp__family_terms(const dp__family *f, const dp__basis along[3],
                               size_t at[DP__FAMILY_TERMS], double value[DP__FAMILY_TERMS]) {
    size_t last = dp__family_side(f, 2, 4), side = dp__family_side(f, 2, f->side), n = 0, i, k, q;
    for (i = 0; i < 4; i++)
        for (k = 0; k < 4; k++) {
            size_t row = (along[0].first + i) * f->side + along[1].first + k;
            double w = along[0].w[i] * along[1].w[k];
            for (q = 0; q < last; q++, n++) {
                at[n] = row * side + along[2].first + q;
                value[n] = w * along[2].w[q];
            }
        }
    return n;
}

/* The spline at x (axes). */
static dp__point dp__family_at(const dp__family *f, const double *x) {
    dp__point o = DP__ZERO;
    size_t last = dp__family_side(f, 2, 4), side = dp__family_side(f, 2, f->side), i, k, q;
    for (i = 0; i < 3; i++) o.along[i] = dp__family_basis(f, i, i < f->axes ? x[i] : 0.0);
    for (i = 0; i < 4; i++) {
        double sum = 0.0, by[2] = {0.0, 0.0};
        for (k = 0; k < 4; k++) {
            const double *c = f->p + ((o.along[0].first + i) * f->side + o.along[1].first + k) *
                                         side + o.along[2].first;
            double row = 0.0, slope = 0.0;
            for (q = 0; q < last; q++) {
                row += o.along[2].w[q] * c[q];
                slope += o.along[2].slope[q] * c[q];
            }
            sum += o.along[1].w[k] * row;
            by[0] += o.along[1].slope[k] * row;
            by[1] += o.along[1].w[k] * slope;
        }
        o.value += o.along[0].w[i] * sum;
        o.slope[0] += o.along[0].slope[i] * sum;
        o.slope[1] += o.along[0].w[i] * by[0];
        o.slope[2] += o.along[0].w[i] * by[1];
    }
    return o;
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

/* ln_z and the means of the basis. covariance (count,count) of the basis, lower half, unless
 * NULL. */
static void dp__family_integrate(dp__family *f, double *covariance) {
    size_t n = f->count, points = 4 * f->bins, i, k, q, a, b, at[DP__FAMILY_TERMS], terms;
    double most = -HUGE_VAL, sum = 0.0, weight[3][4 * DP__BINS_MAX], value[DP__FAMILY_TERMS];
    dp__basis axis[3][4 * DP__BINS_MAX], along[3];
    for (i = 0; i < n; i++) most = fmax(most, f->p[i]);
    axis[2][0] = dp__family_basis(f, 2, 0.0);
    weight[2][0] = 1.0;
    for (k = 0; k < f->axes; k++)
        for (i = 0; i < points; i++)
            axis[k][i] = dp__axis_point(f->axis + k, i, weight[k] + i);
    memset(f->mean, 0, n * sizeof(double));
    if (covariance) memset(covariance, 0, n * n * sizeof(double));
    for (i = 0; i < points * points * dp__family_side(f, 2, points); i++) {
        double w = 0.0;
        q = i % dp__family_side(f, 2, points);
        k = i / dp__family_side(f, 2, points);
        along[0] = axis[0][k / points];
        along[1] = axis[1][k % points];
        along[2] = axis[2][q];
        terms = dp__family_terms(f, along, at, value);
        for (a = 0; a < terms; a++) w += f->p[at[a]] * value[a];
        w = exp(w - most) * weight[0][k / points] * weight[1][k % points] * weight[2][q];
        sum += w;
        for (a = 0; a < terms; a++) {
            double x = w * value[a];
            f->mean[at[a]] += x;
            for (b = 0; covariance && b <= a; b++) covariance[at[a] * n + at[b]] += x * value[b];
        }
    }
    for (i = 0; i < n; i++) f->mean[i] /= sum;
    for (i = 0; covariance && i < n; i++)
        for (k = 0; k <= i; k++)
            covariance[i * n + k] = covariance[i * n + k] / sum - f->mean[i] * f->mean[k];
    f->ln_z = most + log(sum);
}

/* -ln prior; its gradient (count), unless NULL, and precision, added to a matrix (rows `stride`
 * long), unless NULL. */
static double dp__family_prior(const dp__family *f, double *gradient, double *precision,
                               size_t stride) {
    static const double w[3] = {1.0, -2.0, 1.0};
    size_t n = f->count, i, a, b, axis, step;
    double bend = 1.0 / (DP__BEND * DP__BEND), reach = 1.0 / (DP__REACH * DP__REACH), sum = 0.0;
    for (i = 0; i < n; i++) {
        sum += 0.5 * reach * f->p[i] * f->p[i];
        if (gradient) gradient[i] += reach * f->p[i];
        if (precision) precision[i * stride + i] += reach;
    }
    for (axis = 0, step = 1; axis < f->axes; axis++, step *= f->side)
        for (i = 0; i < n; i++) {
            size_t place = i / step % f->side, at = i - step;
            double x;
            if (place == 0 || place == f->side - 1) continue;
            x = f->p[at] - 2.0 * f->p[at + step] + f->p[at + 2 * step];
            sum += 0.5 * bend * x * x;
            for (a = 0; a < 3; a++) {
                if (gradient) gradient[at + a * step] += bend * x * w[a];
                for (b = 0; precision && b < 3; b++)
                    precision[(at + a * step) * stride + at + b * step] += bend * w[a] * w[b];
            }
        }
    return sum;
}

/* The density of stars whose basis adds up to total (count), of `weight` stars: Newton's method,
 * halved where it goes too far. Memory (count^2 + 2 count). */
static void dp__family_fit(dp__family *f, const double *total, double weight, double *memory) {
    size_t n = f->count, i, round, tries;
    double *matrix = memory, *step = memory + n * n, *old = step + n;
    double loss = HUGE_VAL, before;
    for (round = 0; round < 40; round++) {
        dp__family_integrate(f, matrix);
        memset(step, 0, n * sizeof *step);
        before = dp__family_prior(f, step, NULL, 0) + weight * f->ln_z;
        for (i = 0; i < n; i++) {
            before -= total[i] * f->p[i];
            step[i] += weight * f->mean[i] - total[i];
        }
        for (i = 0; i < n * n; i++) matrix[i] *= weight;
        dp__family_prior(f, NULL, matrix, n);
        if (before > loss - 1e-3 || !dp__factorise(n, matrix)) return;
        dp__factor_solve(n, matrix, step);
        memcpy(old, f->p, n * sizeof *old);
        for (tries = 0; tries < 20; tries++) {
            double scale = pow(0.5, (double)tries);
            for (i = 0; i < n; i++) f->p[i] = old[i] - scale * step[i];
            dp__family_integrate(f, NULL);
            loss = dp__family_prior(f, NULL, NULL, 0) + weight * f->ln_z;
            for (i = 0; i < n; i++) loss -= total[i] * f->p[i];
            if (loss < before) break;
        }
        loss = before;
    }
}
