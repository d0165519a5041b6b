/* ---- score: places whose density is nearly normal ----------------------------------------------
 *
 * Noise of one size everywhere would wash out the core of a galaxy before it is felt in its
 * outskirts. So positions, centred and in units of their spread, are stretched first, R before z:
 *
 *     (x, y) -> (x, y) Q(R^2),    t = z / S(R^2),    z -> t H(t^2),
 *
 * so that R becomes that of a normal distribution of variance one, whatever the profile, S follows
 * the thickness of the disc (or sphere) with R, and t becomes normal, too. A Plummer sphere is one
 * normal distribution then, and a thin disc as smooth as a sphere. In a bounded volume the R of S
 * is the galaxy's, of the place at z = 0 before it was widened, and t is of z as it was before
 * that: the centre of the sample is not the galaxy's there, and layers remain layers. Q and H are
 * sums
 *
 *     Q(q) = w_0 + sum_k w_k / sqrt(1 + q/s_k^2),    w_k >= 0,
 *
 * so that R Q(R^2) grows with R, and less and less: tails are drawn in, edges stay what they are;
 * ln S is a sum of ln(1 + q/s_k^2). Their weights are found by least squares; that they are not
 * exact costs nothing, since the determinant of the map is. */

enum {
    DP__PLACES_SCALES = 6,
    DP__PLACES_TERMS = DP__PLACES_SCALES + 1,
    DP__PLACES_BINS = 64,
    DP__PLACES_NUMBERS = 3 * DP__PLACES_SCALES + 3 * DP__PLACES_TERMS
};

typedef struct dp__places { /* doubles only: it is saved as an array of them */
    double radius_scale[DP__PLACES_SCALES], height_scale[DP__PLACES_SCALES];
    double thickness_scale[DP__PLACES_SCALES];
    double radius[DP__PLACES_TERMS], height[DP__PLACES_TERMS]; /* weights of Q and of H */
    double thickness[DP__PLACES_TERMS];                       /* of ln S */
} dp__places;

/* What leaves places as they are. */
static void dp__places_open(dp__places *p) {
    dp__places zero = DP__ZERO;
    size_t k;
    *p = zero;
    for (k = 0; k < (size_t)DP__PLACES_SCALES; k++)
        p->radius_scale[k] = p->height_scale[k] = p->thickness_scale[k] = 1.0;
    p->radius[0] = p->height[0] = 1.0;
}

/* Whether all numbers are finite and no scale divides by zero: a file may be damaged. */
static int dp__places_valid(const dp__places *p) {
    const double *number = (const double *)p;
    size_t k;
    for (k = 0; k < (size_t)DP__PLACES_NUMBERS; k++)
        if (!dp__is_finite(number[k]) || (k < 3 * (size_t)DP__PLACES_SCALES && !(number[k] > 0.0)))
            return 0;
    return 1;
}

/* ---- as expressions ---- */

/* Q(q) of q (b,1); *slope (b,1) gets d(R Q)/dR. */
static af_expr dp__stretch(af_context *c, const double *scale, const double *weight, af_expr q,
                           af_expr *slope) {
    af_expr one = af_constant(c, 1.0), sum = af_constant(c, weight[0]);
    size_t k;
    *slope = sum;
    for (k = 0; k < (size_t)DP__PLACES_SCALES; k++) {
        af_expr root = af_offset(c, af_scale(c, q, 1.0 / (scale[k] * scale[k])), 1.0);
        root = af_div(c, one, af_sqrt(c, root));
        sum = af_add(c, sum, af_scale(c, root, weight[k + 1]));
        *slope = af_add(c, *slope,
                        af_scale(c, af_mul(c, root, af_square(c, root)), weight[k + 1]));
    }
    return sum;
}

/* ln S (b,1) at q = R^2 (b,1). */
static af_expr dp__thickness(af_context *c, const dp__places *p, af_expr q) {
    af_expr sum = af_constant(c, p->thickness[0]);
    size_t k;
    for (k = 0; k < (size_t)DP__PLACES_SCALES; k++) {
        double scale = p->thickness_scale[k];
        af_expr term = af_offset(c, af_scale(c, q, 1.0 / (scale * scale)), 1.0);
        sum = af_add(c, sum, af_scale(c, af_log(c, term), p->thickness[k + 1]));
    }
    return sum;
}

/* ln S (b,1) of z as it is in x (b,3); q = R^2 (b,1) in units of the spread. */
static af_expr dp__places_thickness(const dp_df *df, const dp__places *p, af_expr x, af_expr q) {
    af_context *c = df->c;
    af_expr place[3], of_z;
    size_t k;
    if (!dp__is_widened(&df->volume)) return dp__thickness(c, p, q);
    for (k = 0; k < 2; k++)
        place[k] = af_offset(c, af_scale(c, af_slice(c, x, -1, k, 1), df->scale[k]), df->mean[k]);
    place[2] = af_constant(c, df->mean[2]);
    of_z = dp__widen_back_expr(c, &df->volume, place);
    q = af_add(c, af_square(c, place[0]), af_square(c, place[1]));
    return af_sub(c, dp__thickness(c, p, q), af_log(c, of_z));
}

/* The stretched places (b,3) of x (b,3); *log_det (b,1) gets the logarithm of the determinant. */
static af_expr dp__places_apply(const dp_df *df, const dp__places *p, af_expr x,
                                af_expr *log_det) {
    af_context *c = df->c;
    af_expr plane = af_slice(c, x, -1, 0, 2), q = af_sum_axis(c, af_square(c, plane), -1), parts[2],
            wide, wide_slope, high, high_slope, log_thickness, t;
    size_t dims[AF_RANK_MAX];
    af_shape(c, x, dims);
    dims[1] = 1;
    q = af_reshape(c, q, 2, dims);
    wide = dp__stretch(c, p->radius_scale, p->radius, q, &wide_slope);
    log_thickness = dp__places_thickness(df, p, x, q);
    t = af_mul(c, af_slice(c, x, -1, 2, 1), af_exp(c, af_neg(c, log_thickness)));
    high = dp__stretch(c, p->height_scale, p->height, af_square(c, t), &high_slope);
    parts[0] = af_mul(c, plane, wide);
    parts[1] = af_mul(c, t, high);
    *log_det = af_log(c, af_mul(c, wide, af_mul(c, wide_slope, high_slope)));
    *log_det = af_sub(c, *log_det, log_thickness);
    return af_concat(c, -1, 2, parts);
}

/* ---- found from stars ---- */

/* The weights that bring rows (n, terms) . weights to one value each, by Gauss-Seidel on the normal
 * equations with a little ridge: each weight not below its floor. */
static void dp__places_least(size_t n, double rows[][DP__PLACES_TERMS], const double *value,
                            double floor, double *weight) {
    double a[DP__PLACES_TERMS][DP__PLACES_TERMS], b[DP__PLACES_TERMS];
    size_t i, j, k, sweep, terms = DP__PLACES_TERMS;
    for (j = 0; j < terms; j++) {
        b[j] = 0.0;
        for (i = 0; i < n; i++) b[j] += rows[i][j] * value[i];
        for (k = 0; k < terms; k++) {
            a[j][k] = 0.0;
            for (i = 0; i < n; i++) a[j][k] += rows[i][j] * rows[i][k];
        }
        a[j][j] += 1e-4 * (double)(n + 1);
        weight[j] = 0.0;
    }
    for (sweep = 0; sweep < 1000; sweep++)
        for (j = 0; j < terms; j++) {
            double rest = b[j];
            for (k = 0; k < terms; k++)
                if (k != j) rest -= a[j][k] * weight[k];
            weight[j] = fmax(rest / a[j][j], floor);
        }
}

/* Scales from a quarter of the median to the largest, n > 0 lengths in order. */
static void dp__places_scales(size_t n, const double *length, double *scale) {
    double low = 0.25 * length[n / 2], high = fmax(length[n - 1], 2.0 * low);
    size_t k;
    low = fmax(low, 1e-4 * high); /* where half the lengths vanish */
    for (k = 0; k < (size_t)DP__PLACES_SCALES; k++)
        scale[k] = low * pow(high / low, (double)k / (DP__PLACES_SCALES - 1));
}

/* The length below which a fraction p of a normal distribution lies: in the plane, or on the line
 * (by bisection of erf). */
static double dp__normal_quantile(double p, int plane) {
    double low = 0.0, high = 8.0;
    int i;
    if (plane) return sqrt(-2.0 * log(1.0 - p));
    for (i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        if (erf(middle * 0.70710678118654752) < p) low = middle;
        else high = middle;
    }
    return 0.5 * (low + high);
}

/* The scales and weights of Q (plane) or H from n > 0 lengths in order. */
static void dp__stretch_fit(size_t n, const double *length, int plane, double *scale,
                            double *weight) {
    double rows[DP__PLACES_BINS][DP__PLACES_TERMS], value[DP__PLACES_BINS];
    size_t i, k;
    dp__places_scales(n, length, scale);
    for (i = 0; i < (size_t)DP__PLACES_BINS; i++) {
        double p = ((double)i + 0.5) / (double)DP__PLACES_BINS, r = length[(size_t)(p * (double)n)];
        double unit = r / dp__normal_quantile(p, plane);
        value[i] = 1.0;
        rows[i][0] = unit;
        for (k = 0; k < (size_t)DP__PLACES_SCALES; k++)
            rows[i][k + 1] = unit / sqrt(1.0 + r * r / (scale[k] * scale[k]));
    }
    dp__places_least(DP__PLACES_BINS, rows, value, 0.0, weight);
    weight[0] = fmax(weight[0], 1e-3); /* no place is lost at infinity */
}

/* ln S from n pairs (R, |z|) in order of R: the medians of |z| in bins of as many stars. */
static void dp__thickness_fit(size_t n, const double *pairs, double *room, dp__places *p) {
    double rows[DP__PLACES_BINS][DP__PLACES_TERMS], value[DP__PLACES_BINS];
    size_t bins = DP__PLACES_BINS, used = 0, b, i, k;
    while (bins > 1 && n / bins < 32) bins /= 2;
    for (b = 0; b < bins; b++) {
        size_t from = b * n / bins, to = (b + 1) * n / bins;
        double r = pairs[2 * ((from + to) / 2)], middle;
        for (i = from; i < to; i++) room[i - from] = pairs[2 * i + 1];
        middle = dp__median(room, to - from);
        if (!(middle > 0.0)) continue;
        value[used] = log(middle / 0.6745);
        rows[used][0] = 1.0;
        for (k = 0; k < (size_t)DP__PLACES_SCALES; k++)
            rows[used][k + 1] = log(1.0 + r * r / (p->thickness_scale[k] * p->thickness_scale[k]));
        used++;
    }
    dp__places_least(used, rows, value, -HUGE_VAL, p->thickness);
}

/* R and |z| that S is of, from x (3). */
static void dp__places_pair(const dp_df *df, const double *x, double pair[2]) {
    double place[3] = {0.0, 0.0, 0.0};
    size_t k;
    pair[0] = sqrt(x[0] * x[0] + x[1] * x[1]);
    pair[1] = fabs(x[2]);
    if (!dp__is_widened(&df->volume)) return;
    for (k = 0; k < 2; k++) place[k] = df->mean[k] + df->scale[k] * x[k];
    place[2] = df->mean[2];
    pair[1] *= dp__widen_back(&df->volume, place);
    pair[0] = sqrt(place[0] * place[0] + place[1] * place[1]);
}

/* From the first three columns of rows (n, width), centred and in units of their spread. */
static af_status dp__places_fit(const dp_df *df, const dp__data *stars, dp__places *p) {
    dp__arena arena = dp__arena_open(df->c);
    size_t n = stars->n, i, k;
    double *pairs = DP__ARRAY(&arena, double, 2 * n), *lengths = DP__ARRAY(&arena, double, n);
    if (!pairs || !lengths) {
        dp__arena_free(&arena);
        return dp__fail_memory(df->c, "the places of stars");
    }
    for (i = 0; i < n; i++) {
        const double *x = stars->rows + i * stars->width;
        lengths[i] = sqrt(x[0] * x[0] + x[1] * x[1]);
        dp__places_pair(df, x, pairs + 2 * i);
    }
    qsort(lengths, n, sizeof *lengths, dp__ascending);
    dp__stretch_fit(n, lengths, 1, p->radius_scale, p->radius);
    qsort(pairs, n, 2 * sizeof *pairs, dp__ascending);
    for (i = 0; i < n; i++) lengths[i] = pairs[2 * i];
    dp__places_scales(n, lengths, p->thickness_scale);
    dp__thickness_fit(n, pairs, lengths, p);
    for (i = 0; i < n; i++) {
        double q = pairs[2 * i] * pairs[2 * i], log_thickness = p->thickness[0];
        for (k = 0; k < (size_t)DP__PLACES_SCALES; k++)
            log_thickness += p->thickness[k + 1] *
                             log(1.0 + q / (p->thickness_scale[k] * p->thickness_scale[k]));
        lengths[i] = pairs[2 * i + 1] * exp(-log_thickness);
    }
    qsort(lengths, n, sizeof *lengths, dp__ascending);
    dp__stretch_fit(n, lengths, 0, p->height_scale, p->height);
    dp__arena_free(&arena);
    return AF_OK;
}
