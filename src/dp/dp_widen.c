/* ---- bounded volumes, widened to all of space ---------------------------------------------------
 *
 * Where stars are selected within a sphere or a cylinder f ends at its edge, which no smooth
 * function follows and noise washes out. So places are widened first: w = (x - centre)/outer, in a
 * cylinder that of the plane and (z - centre)/height apart, becomes
 *
 *     o = w (1 - q)^(-1/4),    q = |w|^2,    ln det = ln((1 - q/2) (1 - q)^(-1 - d/4)),
 *
 * d being 3, or 2 and 1, and the edge is at infinity, which few stars come near: a fraction of
 * about r^-4 of an even density lies beyond r. A hole stays what it is. Distribution functions of
 * all kinds are learned in o. */

/* Beyond this |o| stops growing: rounding may put a star on the edge. */
#define DP__WIDEN_EDGE (1.0 - 1e-12)

/* The axes that are widened together, from *first on: their number, and the length that is one. */
static size_t dp__widen_group(const dp_volume *volume, int group, size_t *first, double *unit) {
    *first = group ? 2 : 0;
    *unit = group ? volume->height : volume->outer;
    if (!dp__is_finite(*unit)) return 0; /* no edge */
    if (volume->kind == DP_VOLUME_SPHERE) return group == 0 ? 3 : 0;
    if (volume->kind == DP_VOLUME_CYLINDER) return group == 0 ? 2 : 1;
    return 0;
}

/* Whether places are widened at all. */
static int dp__is_widened(const dp_volume *volume) {
    double unit;
    size_t first;
    return dp__widen_group(volume, 0, &first, &unit) > 0 ||
           dp__widen_group(volume, 1, &first, &unit) > 0;
}

/* The length that is one in o along axis k; 1 where places are not widened. */
static double dp__widen_unit(const dp_volume *volume, size_t k) {
    double unit;
    size_t first, d;
    int group;
    for (group = 0; group < 2; group++) {
        d = dp__widen_group(volume, group, &first, &unit);
        if (k >= first && k < first + d) return unit;
    }
    return 1.0;
}

/* w of x and q of the group. */
static double dp__widen_within(const dp_volume *volume, size_t first, size_t d, double unit,
                               const double *x, double *w) {
    double q = 0.0;
    size_t k;
    for (k = 0; k < d; k++) {
        w[k] = (x[first + k] - volume->centre[first + k]) / unit;
        q += w[k] * w[k];
    }
    return q < DP__WIDEN_EDGE ? q : DP__WIDEN_EDGE;
}

/* Whether x is inside, or in the hole. */
static int dp__widen_holds(const dp_volume *volume, const double *x) {
    double unit, w[3];
    size_t first, d;
    int group;
    for (group = 0; group < 2; group++)
        if ((d = dp__widen_group(volume, group, &first, &unit)) > 0 &&
            !(dp__widen_within(volume, first, d, unit, x, w) < DP__WIDEN_EDGE))
            return 0;
    return 1;
}

/* x (3) becomes o (3); deviations (3), unless NULL, standard deviations along the axes, become
 * those of o, as far as they are small. ln |det do/dx| is returned. */
static double dp__widen(const dp_volume *volume, double *x, double *deviations) {
    double unit, log_det = 0.0, w[3], before[3];
    size_t first, d, k, j;
    int group;
    for (group = 0; group < 2; group++) {
        double q, s;
        if ((d = dp__widen_group(volume, group, &first, &unit)) == 0) continue;
        q = dp__widen_within(volume, first, d, unit, x, w);
        s = pow(1.0 - q, -0.25);
        for (k = 0; k < d && deviations; k++) before[k] = deviations[first + k];
        for (k = 0; k < d; k++) {
            double square = 0.0;
            x[first + k] = s * w[k];
            for (j = 0; j < d && deviations; j++) {
                double slope = s * ((j == k ? 1.0 : 0.0) + 0.5 * w[j] * w[k] / (1.0 - q)) / unit;
                square += slope * slope * before[j] * before[j];
            }
            if (deviations) deviations[first + k] = sqrt(square);
        }
        log_det += (double)d * log(s / unit) + log((1.0 - 0.5 * q) / (1.0 - q));
    }
    return log_det;
}

/* o (3) becomes x (3): q = 2 o^2/(o^2 + sqrt(o^4 + 4)). Returned is what one in o is in x, across
 * the way to the centre of the axes that z is widened with; 1 where it is not. */
static double dp__widen_back(const dp_volume *volume, double *o) {
    double unit, of_z = 1.0;
    size_t first, d, k;
    int group;
    for (group = 0; group < 2; group++) {
        double p = 0.0, s;
        if ((d = dp__widen_group(volume, group, &first, &unit)) == 0) continue;
        for (k = 0; k < d; k++) p += o[first + k] * o[first + k];
        s = unit * sqrt(2.0 / (p + sqrt(p * p + 4.0)));
        for (k = 0; k < d; k++) o[first + k] = volume->centre[first + k] + s * o[first + k];
        if (first + d > 2) of_z = s;
    }
    return of_z;
}

/* The gradient (3) of ln f by o becomes that of ln f + ln |det do/dx| by x (3). */
static void dp__widen_gradient(const dp_volume *volume, const double *x, double *gradient) {
    double unit, w[3];
    size_t first, d, k;
    int group;
    for (group = 0; group < 2; group++) {
        double q, s, rest, along = 0.0;
        if ((d = dp__widen_group(volume, group, &first, &unit)) == 0) continue;
        q = dp__widen_within(volume, first, d, unit, x, w);
        s = pow(1.0 - q, -0.25);
        rest = 1.0 - q;
        for (k = 0; k < d; k++) along += w[k] * gradient[first + k];
        along = 0.5 * s * along / rest + (0.5 * (double)d + 2.0) / rest - 2.0 / (2.0 - q);
        for (k = 0; k < d; k++)
            gradient[first + k] = (s * gradient[first + k] + along * w[k]) / unit;
    }
}

/* As dp__widen_back, where o are the columns (b,1) of an expression. */
static af_expr dp__widen_back_expr(af_context *c, const dp_volume *volume, af_expr o[3]) {
    af_expr of_z = af_constant(c, 1.0);
    double unit;
    size_t first, d, k;
    int group;
    for (group = 0; group < 2; group++) {
        af_expr p, s;
        if ((d = dp__widen_group(volume, group, &first, &unit)) == 0) continue;
        p = af_square(c, o[first]);
        for (k = 1; k < d; k++) p = af_add(c, p, af_square(c, o[first + k]));
        s = af_sqrt(c, af_offset(c, af_square(c, p), 4.0));
        s = af_sqrt(c, af_div(c, af_constant(c, 2.0 * unit * unit), af_add(c, p, s)));
        for (k = 0; k < d; k++)
            o[first + k] = af_offset(c, af_mul(c, s, o[first + k]), volume->centre[first + k]);
        if (first + d > 2) of_z = s;
    }
    return of_z;
}

#undef DP__WIDEN_EDGE
