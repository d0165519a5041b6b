/* ---- score: stars with measurement errors ------------------------------------------------------
 *
 * A star measured with the covariance C is a star of the true f with noise C on it. Only what lacks
 * to sigma^2 is added: n = Q sqrt(sigma^2 - lambda) xi in the basis Q of C, and the target is
 * -Q (sigma^2 - lambda)^(-1/2) xi. Its mean for a given place y and true place is
 * -(y - truth)/sigma^2, so that the network learns the score of the true f smoothed by sigma,
 * whatever the errors were, as long as they stay below sigma; and the extrapolation to no noise
 * takes out that, too. */

enum { DP__ERROR_ROW = 7 + 6 + 36 }; /* z, weight, lambda, Q by rows */

/* Eigenvalues of the symmetric a (6,6) into lambda, eigenvectors into the columns of q: Jacobi's
 * rotations, which a covariance takes some eight rounds of. */
static void dp__eigen(double a[6][6], double lambda[6], double q[6][6]) {
    size_t i, j, k, round;
    for (i = 0; i < 6; i++)
        for (j = 0; j < 6; j++) q[i][j] = i == j ? 1.0 : 0.0;
    for (round = 0; round < 12; round++)
        for (i = 0; i < 5; i++)
            for (j = i + 1; j < 6; j++) {
                double angle, cosine, sine;
                if (a[i][j] == 0.0) continue;
                angle = 0.5 * atan2(2.0 * a[i][j], a[j][j] - a[i][i]);
                cosine = cos(angle);
                sine = sin(angle);
                for (k = 0; k < 6; k++) { /* columns */
                    double x = a[k][i], y = a[k][j];
                    a[k][i] = cosine * x - sine * y;
                    a[k][j] = sine * x + cosine * y;
                    x = q[k][i];
                    y = q[k][j];
                    q[k][i] = cosine * x - sine * y;
                    q[k][j] = sine * x + cosine * y;
                }
                for (k = 0; k < 6; k++) { /* rows */
                    double x = a[i][k], y = a[j][k];
                    a[i][k] = cosine * x - sine * y;
                    a[j][k] = sine * x + cosine * y;
                }
            }
    for (i = 0; i < 6; i++) lambda[i] = a[i][i] > 0.0 ? a[i][i] : 0.0;
}

/* The row's last part from the errors e (6) along y and the slopes (6,6), dz_k/dy_i in row i. */
static void dp__error_row(const double *e, const double *slopes, double *row) {
    double a[6][6], q[6][6];
    size_t i, j, k;
    for (j = 0; j < 6; j++)
        for (k = 0; k < 6; k++) {
            a[j][k] = 0.0;
            for (i = 0; i < 6; i++)
                a[j][k] += slopes[6 * i + j] * e[i] * e[i] * slopes[6 * i + k];
        }
    dp__eigen(a, row + 7, q);
    for (j = 0; j < 6; j++)
        for (k = 0; k < 6; k++) row[13 + 6 * j + k] = q[j][k];
}

/* dz/dy (n,36) at y (n,6): derivatives by y_i in row i. */
static af_status dp__score_slopes(dp__score *s, size_t n, const double *y, double *slopes) {
    af_context *c = s->df->c;
    af_expr in = dp__score_input(s), log_det, z = dp__score_coordinates(s, in, &log_det), tangents,
            out;
    size_t dims[3], axes[3] = {1, 0, 2}, i, b;
    dp__arena arena = dp__arena_open(c);
    double *unit;
    dp__rows r = DP__ZERO;
    af_func *f = NULL;
    af_status status;
    dims[0] = dims[2] = DP__COORDINATES;
    dims[1] = DP__SCORE_ROWS;
    unit = DP__ARRAY(&arena, double, 36 * (size_t)DP__SCORE_ROWS);
    if (!unit) return dp__fail_memory(c, "the errors of stars");
    for (i = 0; i < 6; i++)
        for (b = 0; b < (size_t)DP__SCORE_ROWS; b++) unit[(i * DP__SCORE_ROWS + b) * 6 + i] = 1.0;
    tangents = af_constant_array(c, 3, dims, unit);
    dp__arena_free(&arena);
    af_jvp(c, 1, &z, 1, &in, &tangents, &out); /* (6, b, 6) */
    out = af_permute(c, out, axes);
    dims[0] = DP__SCORE_ROWS;
    dims[1] = 36;
    out = af_reshape(c, out, 2, dims);
    status = dp__score_compile(s, &out, 1, in, &f);
    if (status == AF_OK) {
        dp__score_rows(s, f, n, y, &r);
        r.out_count = 1;
        r.out[0] = slopes;
        r.out_width[0] = 36;
        status = dp__rows_all(c, &r);
    }
    af_func_destroy(f);
    return status;
}

/* The noise that nine tenths of the stars' errors stay below, with a tenth to spare. */
static double dp__error_noise(const dp__data *stars, double *largest) {
    size_t i, k;
    for (i = 0; i < stars->n; i++) {
        const double *lambda = stars->rows + i * stars->width + 7;
        largest[i] = 0.0;
        for (k = 0; k < 6; k++) largest[i] = fmax(largest[i], lambda[k]);
    }
    k = stars->n - 1 - stars->n / 10;
    dp__select(largest, stars->n, 1, 0, k);
    return 1.1 * sqrt(largest[k]);
}

/* What is left of the variances of z, one with errors, without them: not less than a tenth. */
static void dp__error_variance(dp__score *s, const dp__data *stars) {
    size_t i, j, k;
    for (k = 0; k < 6; k++) {
        double sum = 0.0;
        for (i = 0; i < stars->n; i++) {
            const double *row = stars->rows + i * stars->width, *q = row + 13 + 6 * k;
            for (j = 0; j < 6; j++) sum += row[6] * row[7 + j] * q[j] * q[j];
        }
        s->variance[k] = fmax(1.0 - sum / (double)stars->n, 0.1); /* weights are one in the mean */
    }
}

/* Rows (n, DP__ROW) in y become rows (n, DP__ERROR_ROW), still with y. */
static af_status dp__score_take_errors(dp__score *s, dp__data *stars) {
    af_context *c = s->df->c;
    dp_df_desc *d = &s->df->desc;
    size_t n = stars->n, i;
    double *y = DP__ARRAY(stars->arena, double, 6 * n);
    double *slopes = DP__ARRAY(stars->arena, double, 36 * n);
    double *rows = DP__ARRAY(stars->arena, double, n *DP__ERROR_ROW);
    af_status status;
    if (!y || !slopes || !rows) return dp__fail_memory(c, "the errors of stars");
    if (d->conditional) /* errors of positions would need noise in them */
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "score: a conditional one cannot take measurement errors out; leave the "
                       "errors out of the sample, or learn f whole");
    for (i = 0; i < n; i++) memcpy(y + 6 * i, stars->rows + i * DP__ROW, 6 * sizeof *y);
    status = dp__score_slopes(s, n, y, slopes);
    if (status != AF_OK) return status;
    for (i = 0; i < n; i++) {
        memcpy(rows + i * DP__ERROR_ROW, stars->rows + i * DP__ROW, 7 * sizeof *rows);
        dp__error_row(stars->rows + i * DP__ROW + 7, slopes + 36 * i, rows + i * DP__ERROR_ROW);
    }
    stars->rows = rows;
    stars->width = DP__ERROR_ROW;
    dp__error_variance(s, stars);
    s->from_errors = dp__error_noise(stars, slopes);
    if (!dp__is_finite(s->from_errors) || s->from_errors > 3.0)
        return af_fail(c, AF_ERROR_DATA,
                       "score: the measurement errors of a tenth of the stars are above %g of the "
                       "spread of the stars around; leave those stars out",
                       s->from_errors / 1.1);
    d->noise_low = fmax(d->noise_low, s->from_errors);
    d->noise_high = fmax(d->noise_high, 2.5 * d->noise_low); /* twice is evaluated */
    return AF_OK;
}

/* The noise of rows (b, DP__ERROR_ROW) at the level sigma (b,1), which becomes that of each star:
 * *added (b,6), and *factor (b,6,6) that turns the score into units of xi, F = sqrt(sigma^2 -
 * lambda) Q^T. */
static void dp__error_noise_of(af_context *c, af_expr rows, af_expr *sigma, af_expr xi,
                               af_expr *added, af_expr *factor) {
    af_expr lambda = af_slice(c, rows, -1, 7, 6), q = af_slice(c, rows, -1, 13, 36), top, root;
    size_t dims[AF_RANK_MAX], cube[3], column[3], k;
    af_shape(c, rows, dims);
    cube[0] = column[0] = dims[0];
    cube[1] = cube[2] = column[1] = 6;
    column[2] = 1;
    dims[1] = 6;
    top = af_slice(c, lambda, -1, 0, 1);
    for (k = 1; k < 6; k++) top = af_maximum(c, top, af_slice(c, lambda, -1, k, 1));
    /* a star's own noise is always part: it is seen only above it */
    *sigma = af_maximum(c, *sigma, af_sqrt(c, af_offset(c, af_scale(c, top, 1.21), 1e-12)));
    root = af_sqrt(c, af_sub(c, af_square(c, *sigma), lambda));
    q = af_reshape(c, q, 3, cube);
    *added = af_reshape(c, af_matmul(c, q, af_reshape(c, af_mul(c, root, xi), 3, column)), 2, dims);
    *factor = af_mul(c, af_reshape(c, root, 3, column), af_transpose(c, q));
}
