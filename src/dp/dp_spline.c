/* ---- spline flows (Green & Ting 2020; Durkan et al. 2019, arXiv:1906.04032) ---------------------
 *
 * Coordinates y of stars become unit normal numbers z through desc.transforms steps, each of
 *
 *     a linear map P L S U, P a fixed permutation, L and U unit triangular, S = diag(e^s), whose
 *         log-determinant is the sum of s (the workshop paper's rescaling of each axis is S);
 *     a coupling of both halves: coordinates 4 to 6 are bent by splines whose shapes are a
 *         network's function of 1 to 3, then 1 to 3 by splines of another's of the new 4 to 6.
 *
 * A spline maps [-bound, bound] onto itself in desc.bins bins, in each by a quotient of quadratics,
 * and is the identity outside, with a continuous derivative everywhere. ln f is the normal density
 * of z and the logarithms of all derivatives. Networks end in zeros and S = L = U = 1 at first: the
 * untrained flow is the unit normal distribution.
 *
 * Arrays have the coordinates along their first axis, (6,b) or (3,b): the numbers that make up a
 * spline are rows then, and a whole coupling is a few fused runs over neighbours. */

#include <stdio.h>

enum {
    DP__HALF = 3,
    DP__BINS_MOST = 64,
    DP__TRANSFORMS_MOST = 64,
    DP__SPLINE_ROWS = 256,   /* points of one call: small enough for the caches */
    DP__SPLINE_STREAM = 1000 /* of the numbers drawn: no other random numbers here use it */
};

/* Least width and height of a bin, as fractions of the interval, and least slope at a knot, so that
 * a spline can be inverted; the values of Durkan et al.'s program. */
#define DP__LEAST 1e-3

typedef struct dp__spline_step {
    size_t linear;          /* view (6,6): L below the diagonal, s on it, U above it */
    double permutation[36]; /* P */
    af_net *net[2];         /* of each half, 3 -> 3 (3 bins - 1) */
} dp__spline_step;

typedef struct dp__spline {
    dp__spline_step *step; /* desc.transforms of them */
    /* Of points (rows,6) and the parameters: ln f; ln f and its gradient; y of z. Compiled when
     * first asked for. */
    af_func *value, *gradient, *inverse;
} dp__spline;

static dp__spline *dp__spline_of(const dp_df *df) { return (dp__spline *)df->state; }

/* ---- one spline ---- */

/* The bin that holds a point, in units of the interval; arrays (k,b), k splines of b points. */
typedef struct dp__bin {
    af_expr x, width, y, height; /* where it begins, and its size */
    af_expr left, right;         /* slopes at its ends */
    af_expr s, bend;             /* height/width; left + right - 2 s */
} dp__bin;

/* Sum of weight[k] part[k]. */
static af_expr dp__bin_sum(af_context *c, size_t count, const af_expr *weight,
                           const af_expr *part) {
    af_expr sum = af_mul(c, weight[0], part[0]);
    size_t k;
    for (k = 1; k < count; k++) sum = af_add(c, sum, af_mul(c, weight[k], part[k]));
    return sum;
}

/* part becomes exp(part - max part): sizes of bins are DP__LEAST + part times the result. */
static af_expr dp__bin_sizes(af_context *c, size_t bins, af_expr *part) {
    af_expr most = af_stop(c, part[0]), sum;
    size_t k;
    for (k = 1; k < bins; k++) most = af_maximum(c, most, af_stop(c, part[k]));
    for (k = 0; k < bins; k++) part[k] = af_exp(c, af_sub(c, part[k], most));
    sum = part[0];
    for (k = 1; k < bins; k++) sum = af_add(c, sum, part[k]);
    return af_scale(c, af_reciprocal(c, sum), 1.0 - (double)bins * DP__LEAST);
}

/* 1, the slope of the tails, where x is 0. */
static af_expr dp__bin_slope(af_context *c, af_expr x) {
    const double shift = log(expm1(1.0 - DP__LEAST)); /* softplus(shift) = 1 - DP__LEAST */
    return af_offset(c, af_softplus(c, af_offset(c, x, shift)), DP__LEAST);
}

/* raw (k (3 bins - 1), b) as 3 bins - 1 parts (k,b). Cut from the last to the first, so that in
 * reverse the parts join to one array; and by way of three axes, which keep that array whole where
 * the network's output is transposed. */
static void dp__bin_cut(af_context *c, size_t bins, af_expr raw, af_expr *part) {
    size_t dims[3], shape[AF_RANK_MAX], k = 3 * bins - 1;
    if (af_shape(c, raw, shape) != 2) shape[0] = shape[1] = k; /* none: fails below */
    dims[0] = k;
    dims[1] = shape[0] / k;
    dims[2] = shape[1];
    raw = af_reshape(c, raw, 3, dims);
    while (k-- > 0) part[k] = af_reshape(c, af_slice(c, raw, 0, k, 1), 2, dims + 1);
}

/* Looks u (k,b), in [0,1], up among the widths, `heights` among the heights. raw: logits of the
 * widths, of the heights, and slopes at the inner knots. */
static dp__bin dp__bin_find(af_context *c, size_t bins, af_expr raw, af_expr u, int heights) {
    af_expr part[3 * DP__BINS_MOST], passed[DP__BINS_MOST], here[DP__BINS_MOST];
    af_expr *size[2], *slope = part + 2 * bins, over[2], sum, offset;
    dp__bin bin;
    size_t k;
    dp__bin_cut(c, bins, raw, part);
    for (k = 0; k < 2; k++) {
        size[k] = part + k * bins;
        over[k] = dp__bin_sizes(c, bins, size[k]);
    }
    sum = size[heights][0];
    for (k = 0; k + 1 < bins; k++) { /* 1 where bin k ends before u, 0 elsewhere */
        af_expr knot = af_mul(c, af_stop(c, sum), af_stop(c, over[heights]));
        passed[k] = af_less(c, af_offset(c, knot, (double)(k + 1) * DP__LEAST), af_stop(c, u));
        sum = af_add(c, sum, size[heights][k + 1]);
    }
    here[0] = af_sub(c, af_constant(c, 1.0), passed[0]);
    for (k = 1; k + 1 < bins; k++) here[k] = af_sub(c, passed[k - 1], passed[k]);
    here[bins - 1] = offset = passed[bins - 2];
    for (k = 0; k + 2 < bins; k++) offset = af_add(c, offset, passed[k]);
    offset = af_scale(c, offset, DP__LEAST);
    bin.x = af_add(c, offset, af_mul(c, over[0], dp__bin_sum(c, bins - 1, passed, size[0])));
    bin.y = af_add(c, offset, af_mul(c, over[1], dp__bin_sum(c, bins - 1, passed, size[1])));
    bin.width = af_mul(c, over[0], dp__bin_sum(c, bins, here, size[0]));
    bin.width = af_offset(c, bin.width, DP__LEAST);
    bin.height = af_mul(c, over[1], dp__bin_sum(c, bins, here, size[1]));
    bin.height = af_offset(c, bin.height, DP__LEAST);
    bin.left = dp__bin_slope(c, dp__bin_sum(c, bins - 1, here + 1, slope));
    bin.right = dp__bin_slope(c, dp__bin_sum(c, bins - 1, here, slope));
    bin.s = af_div(c, bin.height, bin.width);
    bin.bend = af_sub(c, af_add(c, bin.left, bin.right), af_scale(c, bin.s, 2.0));
    return bin;
}

/* What a spline maps onto itself, [-bound, bound], and in how many bins. */
typedef struct dp__spline_kind {
    af_context *c;
    size_t bins;
    double bound;
} dp__spline_kind;

/* x as a fraction of the interval, that of the nearer end outside. */
static af_expr dp__spline_unit(const dp__spline_kind *k, af_expr x) {
    af_context *c = k->c;
    af_expr end = af_constant(c, k->bound);
    x = af_minimum(c, af_maximum(c, x, af_neg(c, end)), end);
    return af_offset(c, af_scale(c, x, 0.5 / k->bound), 0.5);
}

/* x (k,b) bent by the splines of raw (eq. 4); *slope gets ln of the derivative (k,b) (eq. 5).
 * Outside the interval the ends move by nothing, and so does x. */
static af_expr dp__spline_bend(const dp__spline_kind *k, af_expr raw, af_expr x, af_expr *slope) {
    af_context *c = k->c;
    af_expr u = dp__spline_unit(k, x), t, rest, q, value, under, rise;
    dp__bin bin = dp__bin_find(c, k->bins, raw, u, 0);
    t = af_div(c, af_sub(c, u, bin.x), bin.width);
    rest = af_sub(c, af_constant(c, 1.0), t);
    q = af_mul(c, t, rest);
    under = af_reciprocal(c, af_add(c, bin.s, af_mul(c, bin.bend, q)));
    value = af_add(c, af_mul(c, bin.s, af_square(c, t)), af_mul(c, bin.left, q));
    value = af_add(c, bin.y, af_mul(c, bin.height, af_mul(c, value, under)));
    rise = af_mul(c, bin.left, af_square(c, rest));
    rise = af_add(c, rise, af_mul(c, bin.right, af_square(c, t)));
    rise = af_add(c, rise, af_scale(c, af_mul(c, bin.s, q), 2.0));
    *slope = af_log(c, af_mul(c, rise, af_square(c, af_mul(c, bin.s, under))));
    return af_add(c, x, af_scale(c, af_sub(c, value, u), 2.0 * k->bound));
}

/* The inverse: the root of a t^2 + b t - m = 0 in [0,1] (eqs. 6 to 8), by the sum that does not
 * cancel. */
static af_expr dp__spline_unbend(const dp__spline_kind *k, af_expr raw, af_expr x) {
    af_context *c = k->c;
    af_expr u = dp__spline_unit(k, x), y, a, b, m, root;
    dp__bin bin = dp__bin_find(c, k->bins, raw, u, 1);
    y = af_sub(c, u, bin.y);
    a = af_add(c, af_mul(c, bin.height, af_sub(c, bin.s, bin.left)), af_mul(c, y, bin.bend));
    b = af_sub(c, af_mul(c, bin.height, bin.left), af_mul(c, y, bin.bend));
    m = af_mul(c, bin.s, y);
    root = af_sqrt(c, af_add(c, af_square(c, b), af_scale(c, af_mul(c, a, m), 4.0)));
    root = af_div(c, af_scale(c, m, 2.0), af_add(c, b, root));
    root = af_add(c, bin.x, af_mul(c, bin.width, root));
    return af_add(c, x, af_scale(c, af_sub(c, root, u), 2.0 * k->bound));
}

/* What the network says of the given half (3,b): shapes of splines (3 (3 bins - 1), b). */
static af_expr dp__spline_shapes(const dp_df *df, const af_net *net, af_expr given) {
    af_expr no_dropout = DP__ZERO;
    return af_transpose(df->c, af_net_apply(net, af_transpose(df->c, given), no_dropout));
}

/* ---- the linear map ---- */

static af_expr dp__six(af_context *c, const double *values) {
    size_t dims[2];
    dims[0] = dims[1] = DP__COORDINATES;
    return af_constant_array(c, 2, dims, values);
}

/* Ones below the diagonal (-1), on it (0), or above it (1). */
static af_expr dp__six_ones(af_context *c, int side) {
    double values[36];
    int i;
    for (i = 0; i < 36; i++) {
        int right = i % 6 - i / 6;
        values[i] = (right > 0) - (right < 0) == side ? 1.0 : 0.0;
    }
    return dp__six(c, values);
}

typedef struct dp__linear {
    af_expr p, lower, s, upper; /* P, L - 1, s (6,1), U - 1 */
} dp__linear;

static dp__linear dp__linear_of(const dp_df *df, const dp__spline_step *step) {
    af_context *c = df->c;
    af_expr all = af_params_expr(df->params, step->linear);
    dp__linear l;
    l.p = dp__six(c, step->permutation);
    l.lower = af_mul(c, all, dp__six_ones(c, -1));
    l.s = af_sum_axis(c, af_mul(c, all, dp__six_ones(c, 0)), 1);
    l.upper = af_mul(c, all, dp__six_ones(c, 1));
    return l;
}

static af_expr dp__linear_apply(af_context *c, const dp__linear *l, af_expr x) {
    af_expr one = dp__six_ones(c, 0), map;
    map = af_mul(c, af_exp(c, l->s), af_add(c, one, l->upper));
    map = af_matmul(c, l->p, af_matmul(c, af_add(c, one, l->lower), map));
    return af_matmul(c, map, x);
}

/* (1 + n)^-1 = (1 - n)(1 + n^2)(1 + n^4): n is strictly triangular, so that n^6 = 0. */
static af_expr dp__linear_unit(af_context *c, af_expr n) {
    af_expr one = dp__six_ones(c, 0), n2 = af_matmul(c, n, n), n4 = af_matmul(c, n2, n2), product;
    product = af_matmul(c, af_sub(c, one, n), af_add(c, one, n2));
    return af_matmul(c, product, af_add(c, one, n4));
}

static af_expr dp__linear_invert(af_context *c, const dp__linear *l, af_expr x) {
    af_expr map = af_matmul(c, dp__linear_unit(c, l->lower), af_transpose(c, l->p));
    map = af_mul(c, af_exp(c, af_neg(c, l->s)), map);
    return af_matmul(c, af_matmul(c, dp__linear_unit(c, l->upper), map), x);
}

/* ---- the flow ---- */

static dp__spline_kind dp__spline_kind_of(const dp_df *df) {
    dp__spline_kind k;
    k.c = df->c;
    k.bins = df->desc.bins;
    k.bound = df->desc.bound;
    return k;
}

/* z (6,b) of y (6,b); *log_det gets ln of the determinant (1,b). */
static af_expr dp__spline_forward(const dp_df *df, af_expr y, af_expr *log_det) {
    const dp__spline *f = dp__spline_of(df);
    af_context *c = df->c;
    dp__spline_kind kind = dp__spline_kind_of(df);
    af_expr det = af_constant(c, 0.0), slopes = af_constant(c, 0.0);
    size_t k;
    for (k = 0; k < df->desc.transforms; k++) {
        const dp__spline_step *step = &f->step[k];
        dp__linear l = dp__linear_of(df, step);
        af_expr half[2], slope;
        y = dp__linear_apply(c, &l, y);
        det = af_add(c, det, af_sum(c, l.s));
        half[0] = af_slice(c, y, 0, 0, DP__HALF);
        half[1] = af_slice(c, y, 0, DP__HALF, DP__HALF);
        half[1] = dp__spline_bend(&kind, dp__spline_shapes(df, step->net[0], half[0]), half[1],
                                  &slope);
        slopes = af_add(c, slopes, slope);
        half[0] = dp__spline_bend(&kind, dp__spline_shapes(df, step->net[1], half[1]), half[0],
                                  &slope);
        slopes = af_add(c, slopes, slope);
        y = af_concat(c, 0, 2, half);
    }
    *log_det = af_add(c, af_sum_axis(c, slopes, 0), det);
    return y;
}

/* y (6,b) of z (6,b): layer by layer backwards. */
static af_expr dp__spline_inverse(const dp_df *df, af_expr z) {
    const dp__spline *f = dp__spline_of(df);
    af_context *c = df->c;
    dp__spline_kind kind = dp__spline_kind_of(df);
    size_t k;
    for (k = df->desc.transforms; k-- > 0;) {
        const dp__spline_step *step = &f->step[k];
        dp__linear l = dp__linear_of(df, step);
        af_expr half[2];
        half[0] = af_slice(c, z, 0, 0, DP__HALF);
        half[1] = af_slice(c, z, 0, DP__HALF, DP__HALF);
        half[0] = dp__spline_unbend(&kind, dp__spline_shapes(df, step->net[1], half[1]), half[0]);
        half[1] = dp__spline_unbend(&kind, dp__spline_shapes(df, step->net[0], half[0]), half[1]);
        z = dp__linear_invert(c, &l, af_concat(c, 0, 2, half));
    }
    return z;
}

/* ln f (b,1) at y (b,6). */
static af_expr dp__spline_ln_f(const dp_df *df, af_expr y) {
    af_context *c = df->c;
    af_expr log_det, z = dp__spline_forward(df, af_transpose(c, y), &log_det);
    z = af_scale(c, af_sum_axis(c, af_square(c, z), 0), -0.5);
    z = af_offset(c, z, -3.0 * log(2.0 * DP__PI)); /* six coordinates */
    return af_transpose(c, af_add(c, z, log_det));
}

static af_expr dp__spline_loss(void *user, af_expr rows, af_expr seed) {
    const dp_df *df = (const dp_df *)user;
    af_context *c = df->c;
    af_expr weight = af_slice(c, rows, 1, DP__COORDINATES, 1);
    af_expr ln_f = dp__spline_ln_f(df, af_slice(c, rows, 1, 0, DP__COORDINATES));
    (void)seed; /* the likelihood needs no random numbers */
    return af_neg(c, af_mean(c, af_mul(c, weight, ln_f)));
}

/* ---- evaluating, drawing ---- */

static af_expr dp__spline_points(const dp_df *df) {
    size_t dims[2];
    dims[0] = DP__SPLINE_ROWS;
    dims[1] = DP__COORDINATES;
    return af_input(df->c, "points", 2, dims);
}

static af_status dp__spline_compile(dp_df *df, af_expr points, size_t count, const af_expr *out,
                                    af_func **f) {
    af_func_desc d = DP__ZERO;
    af_expr inputs[2];
    inputs[0] = points;
    inputs[1] = af_params_input(df->params);
    d.inputs = inputs;
    d.input_count = 2;
    d.outputs = out;
    d.output_count = count;
    d.label = "a spline flow";
    return af_compile(df->c, &d, f);
}

static af_status dp__spline_need_value(dp_df *df, int gradient) {
    dp__spline *f = dp__spline_of(df);
    af_expr points, out[2];
    if (gradient ? f->gradient : f->value) return AF_OK;
    points = dp__spline_points(df);
    out[0] = dp__spline_ln_f(df, points);
    if (!gradient) return dp__spline_compile(df, points, 1, out, &f->value);
    (void)af_grad(df->c, af_sum(df->c, out[0]), 1, &points, &out[1]); /* compiling reports it */
    return dp__spline_compile(df, points, 2, out, &f->gradient);
}

static af_status dp__spline_need_inverse(dp_df *df) {
    dp__spline *f = dp__spline_of(df);
    af_expr points, y;
    if (f->inverse) return AF_OK;
    points = dp__spline_points(df);
    y = af_transpose(df->c, dp__spline_inverse(df, af_transpose(df->c, points)));
    return dp__spline_compile(df, points, 1, &y, &f->inverse);
}

/* f applied to n points in (n,6); its first output goes to out (n, width), its second to more
 * (n,6), NULL: there is none. */
static af_status dp__spline_run(dp_df *df, const af_func *f, size_t n, const double *in,
                                double *out, size_t width, double *more) {
    dp__rows r = DP__ZERO;
    r.f = f;
    r.rows = DP__SPLINE_ROWS;
    r.in_count = 1;
    r.in[0] = in;
    r.in_width[0] = DP__COORDINATES;
    r.fixed_count = 1;
    r.fixed[0] = af_params_data(df->params);
    r.out_count = more ? 2 : 1;
    r.out[0] = out;
    r.out_width[0] = width;
    r.out[1] = more;
    r.out_width[1] = DP__COORDINATES;
    r.n = n;
    return dp__rows_all(df->c, &r);
}

static af_status dp__spline_evaluate(dp_df *df, size_t n, const double *y, double *ln_f,
                                     double *gradient) {
    const dp__spline *f = dp__spline_of(df);
    dp__arena arena = dp__arena_open(df->c);
    af_status s;
    if (!ln_f && !gradient) return AF_OK;
    s = dp__spline_need_value(df, gradient != NULL);
    if (s == AF_OK && !ln_f) {
        ln_f = DP__ARRAY(&arena, double, n);
        if (!ln_f) s = dp__fail_memory(df->c, "values of a spline flow");
    }
    if (s == AF_OK)
        s = dp__spline_run(df, gradient ? f->gradient : f->value, n, y, ln_f, 1, gradient);
    dp__arena_free(&arena);
    return s;
}

static af_status dp__spline_draw(dp_df *df, size_t n, uint64_t seed, double *y) {
    dp__arena arena = dp__arena_open(df->c);
    double *z = DP__ARRAY(&arena, double, n *DP__COORDINATES);
    size_t i;
    af_status s = dp__spline_need_inverse(df);
    if (s == AF_OK && !z) s = dp__fail_memory(df->c, "draws of a spline flow");
    for (i = 0; s == AF_OK && i < n * DP__COORDINATES; i++)
        z[i] = af_random_normal(seed, DP__SPLINE_STREAM, i);
    if (s == AF_OK)
        s = dp__spline_run(df, dp__spline_of(df)->inverse, n, z, y, DP__COORDINATES, NULL);
    dp__arena_free(&arena);
    return s;
}

/* ---- making it ---- */

static void dp__spline_defaults(dp_df_desc *d, const char **text) {
    if (d->width == 0) d->width = 16;
    if (d->depth == 0) d->depth = 3;
    if (d->transforms == 0) d->transforms = 4;
    if (d->bins == 0) d->bins = 5; /* more fit finer structure, with rougher gradients */
    if (d->bound == 0.0) d->bound = 4.0;
    if (d->bins < 2 || d->bins > (size_t)DP__BINS_MOST)
        *text = "a spline has 2 to 64 bins";
    else if (d->transforms > (size_t)DP__TRANSFORMS_MOST)
        *text = "a spline flow has 1 to 64 transforms";
    else if (!(d->bound > 0.0) || !dp__is_finite(d->bound))
        *text = "the bound of a spline must be a positive number";
}

static af_status dp__spline_step_declare(dp_df *df, size_t k) {
    dp__spline_step *step = &dp__spline_of(df)->step[k];
    size_t dims[2], i;
    uint32_t order[DP__COORDINATES];
    char name[32];
    af_status s;
    dims[0] = dims[1] = DP__COORDINATES;
    snprintf(name, sizeof name, "%lu.linear", (unsigned long)k);
    s = af_params_add(df->params, name, 2, dims, AF_INIT_CONSTANT, 0.0, &step->linear);
    af_random_permutation(df->desc.seed, k, DP__COORDINATES, order);
    for (i = 0; i < (size_t)DP__COORDINATES; i++) step->permutation[6 * i + order[i]] = 1.0;
    for (i = 0; i < 2 && s == AF_OK; i++) {
        af_net_desc d = DP__ZERO;
        snprintf(name, sizeof name, "%lu.half%lu", (unsigned long)k, (unsigned long)i);
        d.name = name;
        d.inputs = DP__HALF;
        d.outputs = DP__HALF * (3 * df->desc.bins - 1);
        d.width = df->desc.width;
        d.depth = df->desc.depth;
        d.activation = AF_SILU; /* smooth, as the gradients of f are to be */
        s = af_net_create(df->params, &d, &step->net[i]);
    }
    return s;
}

static af_status dp__spline_declare(dp_df *df) {
    dp__spline *f = DP__NEW(&df->arena, dp__spline);
    af_status s = AF_OK;
    size_t k;
    if (f) f->step = DP__ARRAY(&df->arena, dp__spline_step, df->desc.transforms);
    if (!f || !f->step) return dp__fail_memory(df->c, "a spline flow");
    df->state = f;
    for (k = 0; k < df->desc.transforms && s == AF_OK; k++) s = dp__spline_step_declare(df, k);
    return s;
}

static void dp__spline_close(dp_df *df) {
    dp__spline *f = dp__spline_of(df);
    size_t k;
    if (!f) return;
    for (k = 0; k < df->desc.transforms; k++) {
        af_net_destroy(f->step[k].net[0]);
        af_net_destroy(f->step[k].net[1]);
    }
    af_func_destroy(f->value);
    af_func_destroy(f->gradient);
    af_func_destroy(f->inverse);
}

#undef DP__LEAST

/* Rates from 2e-3 to 1e-2 do alike under the cosine; the workshop paper's 0.02 is too high. */
static const dp__engine dp__spline_engine = {
    "spline", dp__spline_defaults, dp__spline_declare, dp__spline_close, 32, 1024, 3e-3, 0.0,
    dp__spline_loss, NULL, NULL, dp__spline_evaluate, dp__spline_draw, NULL, NULL};
