/* ---- the generating function as an expression ---------------------------------------------------
 *
 * Arrays have components first and streams last, so that all long runs are contiguous:
 * theta, J (3,N,B), weight (1,N,B) with sum 1 over the N stars, J' (3,1,B). Actions are in units of
 * action_scale. */

typedef struct af__generator {
    af_context *c;
    af_params *params;
    af_finder_desc desc;      /* defaults resolved */
    size_t harmonics;         /* K */
    double *harmonic;         /* (K,3): k_phi, k_z, k_r */
    double *amplitude;        /* (K): what a coefficient of 1 means for a typical stream */
    double action_scale;      /* [km/s kpc] */
    size_t features;          /* of J' for a Fourier G */
    double center[4], width[4]; /* feature -> (feature - center)/width; for a network G: of J' */
    af_net *net, *point;
    size_t toy_view;          /* log(M/M0), log(b/b0) when free */
    af_shear *shears;         /* AF_GENERATOR_SHEARS ... */
    double chart[13];         /* ... centers of its three q and three p, their scales, and the unit
                                 of its actions over action_scale */
    size_t zero[4];           /* views: theta'' is counted from dF/dJ''; af__shears_zero */
} af__generator;

static af_expr af__constants(af_context *c, size_t n, const double *value, size_t stride) {
    size_t i, dims[3];
    af__arena scratch = AF__ZERO;
    double *v;
    af_expr x = af__none;
    dims[0] = n;
    dims[1] = dims[2] = 1;
    scratch.allocator = c->allocator;
    v = AF__ARRAY(&scratch, double, n);
    if (!v) {
        af__fail_memory(c, "the harmonics");
        return x;
    }
    for (i = 0; i < n; i++) v[i] = value[i * stride];
    x = af_constant_array(c, 3, dims, v);
    af__arena_free(&scratch);
    return x;
}

/* x (A,N,B) as a matrix (A, N B), and back. */
static af_expr af__flat(af_context *c, af_expr x) {
    size_t d[AF_RANK_MAX], flat[2];
    if (af_shape(c, x, d) != 3) return af__none;
    flat[0] = d[0];
    flat[1] = d[1] * d[2];
    return af_reshape(c, x, 2, flat);
}

static af_expr af__unflat(af_context *c, af_expr x, size_t n, size_t b) {
    size_t d[AF_RANK_MAX], full[3];
    if (af_shape(c, x, d) != 2) return af__none;
    full[0] = d[0];
    full[1] = n;
    full[2] = b;
    return af_reshape(c, x, 3, full);
}

/* x (A,1,B) or (A,N,B) as rows for a network, (N B, A); and the network's rows back. */
static af_expr af__to_rows(af_context *c, af_expr x) { return af_transpose(c, af__flat(c, x)); }

static af_expr af__from_rows(af_context *c, af_expr rows, size_t n, size_t b) {
    return af__unflat(c, af_transpose(c, rows), n, b);
}

/* ---- what the coefficients depend on ---- */

typedef struct af__shape_of_orbit {
    af_expr jz, jr, l, total; /* positive parts of J_z, J_r; L = |J_phi| + J_z; L + J_r */
    af_expr jphi;
} af__shape_of_orbit;

/* J' may stray below zero while it is solved for: roots and logarithms see it at least 1e-9. */
static af__shape_of_orbit af__orbit_shape(af_context *c, af_expr j) {
    af__shape_of_orbit o;
    o.jphi = af__component(c, j, 0);
    o.jz = af_maximum(c, af__component(c, j, 1), af_constant(c, 1e-9));
    o.jr = af_maximum(c, af__component(c, j, 2), af_constant(c, 1e-9));
    o.l = af_add(c, af_abs(c, o.jphi), o.jz);
    o.total = af_add(c, o.l, o.jr);
    return o;
}

/* log of the size, circularity L/(L+J_r), squared cosine of the inclination and, where the two
 * senses of rotation may differ, its sign too; whitened and kept to [-2,2], where training has seen
 * them. */
static af_expr af__features(const af__generator *g, const af__shape_of_orbit *o) {
    af_context *c = g->c;
    af_expr f[4], all, tilt = af_div(c, o->jphi, o->l);
    f[0] = af_log(c, o->total);
    f[1] = af_div(c, o->l, o->total);
    f[2] = af_square(c, tilt);
    f[3] = tilt;
    all = af_concat(c, 0, g->features, f);
    all = af_sub(c, all, af__constants(c, g->features, g->center, 1));
    all = af_div(c, all, af__constants(c, g->features, g->width, 1));
    return af_maximum(c, af_constant(c, -2.0), af_minimum(c, all, af_constant(c, 2.0)));
}

/* How harmonics vanish: those of theta_r with J_r^(1/2) on circular orbits, those of theta_z with
 * sin(inclination)^|k_z|, at most its square, on planar ones. */
static double af__decay(const double k[3], double radial, double sine) {
    double kz = fabs(k[1]), decay = k[2] != 0.0 ? sqrt(radial) : 1.0;
    return decay * (kz > 1.5 ? sine * sine : kz > 0.5 ? sine : 1.0);
}

/* The same for J_r/(J_r + L) and sin^2(inclination) = 1 - (J_phi/L)^2 of each stream, times the
 * amplitudes: (K,1,B). */
static af_expr af__amplitudes(const af__generator *g, const af__shape_of_orbit *o) {
    af_context *c = g->c;
    af_expr radial = af_sqrt(c, af_div(c, o->jr, o->total)), one = af_constant(c, 1.0);
    af_expr sine2 = af_add(c, o->jz, af_scale(c, af_abs(c, o->jphi), 2.0)), decay;
    af_expr kr = af_abs(c, af__constants(c, g->harmonics, g->harmonic + 2, 3));
    af_expr kz = af_abs(c, af__constants(c, g->harmonics, g->harmonic + 1, 3));
    sine2 = af_div(c, af_mul(c, o->jz, sine2), af_square(c, o->l));
    decay = af_where(c, af_less(c, af_constant(c, 0.5), kz), af_sqrt(c, sine2), one);
    decay = af_where(c, af_less(c, af_constant(c, 1.5), kz), sine2, decay);
    decay = af_mul(c, decay, af_where(c, af_less(c, af_constant(c, 0.5), kr), radial, one));
    return af_mul(c, decay, af__constants(c, g->harmonics, g->amplitude, 1));
}

/* ---- Fourier ---- */

/* The network's output for each stream, (K or 2K, 1, B). */
static af_expr af__coefficients(const af__generator *g, af_expr jp) {
    size_t d[AF_RANK_MAX];
    af__shape_of_orbit o = af__orbit_shape(g->c, jp);
    af_expr rows = af__to_rows(g->c, af__features(g, &o));
    if (af_shape(g->c, jp, d) != 3) return af__none;
    return af__from_rows(g->c, af_net_apply(g->net, rows, af__none), 1, d[2]);
}

/* k . theta (K,N,B). */
static af_expr af__phases(const af__generator *g, af_expr theta) {
    size_t d[AF_RANK_MAX], dims[2];
    if (af_shape(g->c, theta, d) != 3) return af__none;
    dims[0] = g->harmonics;
    dims[1] = 3;
    theta = af_matmul(g->c, af_constant_array(g->c, 2, dims, g->harmonic), af__flat(g->c, theta));
    return af__unflat(g->c, theta, d[1], d[2]);
}

/* a_k and b_k with their amplitudes, (K,1,B); b is none for a pure sine series. */
static void af__series(const af__generator *g, af_expr jp, af_expr *a, af_expr *b) {
    af__shape_of_orbit o = af__orbit_shape(g->c, jp);
    af_expr out = af__coefficients(g, jp), amplitude = af__amplitudes(g, &o);
    *a = af_mul(g->c, amplitude, af_slice(g->c, out, 0, 0, g->harmonics));
    *b = af__none;
    if (g->desc.time_symmetric == AF_SYMMETRY_NO)
        *b = af_mul(g->c, amplitude, af_slice(g->c, out, 0, g->harmonics, g->harmonics));
}

static af_expr af__fourier(const af__generator *g, af_expr theta, af_expr jp) {
    af_context *c = g->c;
    af_expr a, b, phase = af__phases(g, theta), sum;
    af__series(g, jp, &a, &b);
    sum = af_mul(c, a, af_sin(c, phase));
    if (b.id) sum = af_add(c, sum, af_mul(c, b, af_offset(c, af_cos(c, phase), -1.0)));
    return af_sum_axis(c, sum, 0);
}

/* The stars' mean of dG/dtheta = sum_k k (a_k <cos k.theta> - b_k <sin k.theta>): the means are
 * taken first, so that its derivatives by J' cost no more than the network's. */
static af_expr af__fourier_mean(const af__generator *g, af_expr theta, af_expr weight, af_expr jp) {
    af_context *c = g->c;
    size_t d[AF_RANK_MAX], dims[2];
    af_expr a, b, phase = af__phases(g, theta), sum;
    af__series(g, jp, &a, &b);
    sum = af_mul(c, a, af_sum_axis(c, af_mul(c, weight, af_cos(c, phase)), 1));
    if (b.id)
        sum = af_sub(c, sum, af_mul(c, b, af_sum_axis(c, af_mul(c, weight, af_sin(c, phase)), 1)));
    if (af_shape(c, sum, d) != 3) return af__none;
    dims[0] = g->harmonics;
    dims[1] = 3;
    sum =
        af_matmul(c, af_transpose(c, af_constant_array(c, 2, dims, g->harmonic)), af__flat(c, sum));
    return af__unflat(c, sum, 1, d[2]);
}

/* ---- the network of eq. 9 ---- */

static af_expr af__network(const af__generator *g, af_expr theta, af_expr jp, af_expr dropout) {
    af_context *c = g->c;
    size_t d[AF_RANK_MAX];
    af_expr part[3], rows;
    if (af_shape(c, theta, d) != 3) return af__none;
    part[0] = af_cos(c, theta);
    part[1] = af_sin(c, theta);
    part[2] = af_sub(c, jp, af__constants(c, 3, g->center, 1));
    part[2] = af_broadcast(c, af_div(c, part[2], af__constants(c, 3, g->width, 1)), 3, d);
    rows = af__to_rows(c, af_concat(c, 0, 3, part));
    return af__from_rows(c, af_net_apply(g->net, rows, dropout), d[1], d[2]);
}

/* ---- both ---- */

/* G (1,N,B). */
static af_expr af__generating_function(const af__generator *g, af_expr theta, af_expr jp,
                                       af_expr dropout) {
    return g->desc.generator == AF_GENERATOR_FOURIER ? af__fourier(g, theta, jp)
                                                     : af__network(g, theta, jp, dropout);
}

/* J' (3,1,B) of each star, (3,N,B). */
static af_expr af__each_star(const af__generator *g, af_expr theta, af_expr jp) {
    size_t d[AF_RANK_MAX];
    return af_shape(g->c, theta, d) == 3 ? af_broadcast(g->c, jp, 3, d) : af__none;
}

/* dG/dtheta and dG/dJ' (3,N,B), of each star: theta and jp (3,N,B) are varied on their own, also
 * where J' depends on theta (af__implicit). */
static void af__gradients(const af__generator *g, af_expr theta, af_expr jp, af_expr dropout,
                          af_expr slope[2]) {
    af_expr value = af__generating_function(g, theta, jp, dropout), x[2];
    size_t d[AF_RANK_MAX] = {0}, rank = af_shape(g->c, value, d);
    x[0] = theta;
    x[1] = jp;
    slope[0] = slope[1] = af__none;
    if (value.id) af_vjp(g->c, value, af_full(g->c, rank, d, 1.0), 2, x, slope);
}

/* dG/dtheta (3,N,B). A network takes J' star by star, so that the same pass gives dG/dJ'; the
 * coefficients of a Fourier G are the stream's. */
static af_expr af__gradient(const af__generator *g, af_expr theta, af_expr jp, af_expr dropout) {
    af_expr slope[2];
    if (g->desc.generator == AF_GENERATOR_NETWORK) jp = af__each_star(g, theta, jp);
    af__gradients(g, theta, jp, dropout, slope);
    return slope[0];
}

/* Its mean over the stars, (3,1,B). */
static af_expr af__mean_gradient(const af__generator *g, af_expr theta, af_expr weight, af_expr jp,
                                 af_expr dropout) {
    if (g->desc.generator == AF_GENERATOR_FOURIER) return af__fourier_mean(g, theta, weight, jp);
    return af_sum_axis(g->c, af_mul(g->c, weight, af__gradient(g, theta, jp, dropout)), 1);
}

/* Unit tangents along the three components of x (3,N,B): (3,3,N,B). */
static af_expr af__units3(af_context *c, af_expr x) {
    static const double identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    size_t d[AF_RANK_MAX], dims[4];
    if (af_shape(c, x, d) != 3) return af__none;
    dims[0] = dims[1] = 3;
    dims[2] = dims[3] = 1;
    x = af_constant_array(c, 4, dims, identity);
    dims[2] = d[1];
    dims[3] = d[2];
    return af_broadcast(c, x, 4, dims);
}

/* dG/dJ' (3,N,B), of each star. */
static af_expr af__shift(const af__generator *g, af_expr theta, af_expr jp, af_expr dropout) {
    af_expr value, slope[2], units = af__units3(g->c, jp);
    size_t d[AF_RANK_MAX];
    if (g->desc.generator == AF_GENERATOR_NETWORK) {
        af__gradients(g, theta, af__each_star(g, theta, jp), dropout, slope);
        return slope[1];
    }
    value = af__generating_function(g, theta, jp, dropout);
    af_jvp(g->c, 1, &value, 1, &jp, &units, slope); /* (3,1,N,B) */
    if (af_shape(g->c, slope[0], d) != 4) return af__none;
    d[1] = d[2];
    d[2] = d[3];
    return af_reshape(g->c, slope[0], 3, d);
}

/* ---- three linear equations ---- */

typedef struct af__matrix3 {
    af_expr m[3][3];
} af__matrix3;

/* stacked (3,3,N,B), element (d,c) = d f_c / d x_d: the matrix I + df/dx, rows c, columns d. */
static af__matrix3 af__one_plus(af_context *c, af_expr stacked, int transposed) {
    af__matrix3 a;
    size_t i, k, d[AF_RANK_MAX] = {0};
    if (af_shape(c, stacked, d) != 4) stacked = af__none;
    d[0] = 1;
    d[1] = d[2];
    d[2] = d[3];
    for (i = 0; i < 3; i++)
        for (k = 0; k < 3; k++) {
            af_expr e = af_slice(c, af_slice(c, stacked, 0, k, 1), 1, i, 1);
            e = af_reshape(c, e, 3, d);
            *(transposed ? &a.m[k][i] : &a.m[i][k]) = i == k ? af_offset(c, e, 1.0) : e;
        }
    return a;
}

static af_expr af__cofactor(af_context *c, const af__matrix3 *a, size_t i, size_t k) {
    size_t i1 = (i + 1) % 3, i2 = (i + 2) % 3, k1 = (k + 1) % 3, k2 = (k + 2) % 3;
    return af__cross(c, a->m[i1][k1], a->m[i2][k2], a->m[i1][k2], a->m[i2][k1]);
}

/* Solves A x = b by Cramer's rule, b and x (3,N,B); *determinant (1,N,B) too. */
static af_expr af__solve3(af_context *c, const af__matrix3 *a, af_expr b, af_expr *determinant) {
    af_expr x[3], det;
    size_t i, k;
    det = af_mul(c, a->m[0][0], af__cofactor(c, a, 0, 0));
    for (k = 1; k < 3; k++) det = af_add(c, det, af_mul(c, a->m[0][k], af__cofactor(c, a, 0, k)));
    for (k = 0; k < 3; k++) {
        x[k] = af_mul(c, af__cofactor(c, a, 0, k), af__component(c, b, 0));
        for (i = 1; i < 3; i++)
            x[k] = af_add(c, x[k], af_mul(c, af__cofactor(c, a, i, k), af__component(c, b, i)));
        x[k] = af_div(c, x[k], det);
    }
    if (determinant) *determinant = det;
    return af_concat(c, 0, 3, x);
}

/* ---- J' ---- */

/* What J' lacks to be the stars' mean of J - dG/dtheta(theta, J'), and the Newton step that would
 * mend it. The matrix is a constant for differentiation. Where it is nearly singular the step is
 * the lack itself. */
typedef struct af__lack {
    af_expr lack, step; /* (3,1,B) */
} af__lack;

static af__lack af__lack_of(const af__generator *g, af_expr theta, af_expr mean, af_expr weight,
                            af_expr jp, af_expr dropout) {
    af_context *c = g->c;
    af_expr slope = af__mean_gradient(g, theta, weight, jp, dropout), stacked, det;
    af_expr units = af__units3(c, jp);
    af__matrix3 a;
    af__lack l;
    l.lack = l.step = af__none;
    if (af_jvp(c, 1, &slope, 1, &jp, &units, &stacked) != AF_OK) return l;
    l.lack = af_sub(c, af_sub(c, mean, slope), jp);
    a = af__one_plus(c, af_stop(c, stacked), 0);
    l.step = af__solve3(c, &a, l.lack, &det);
    l.step = af_where(c, af_less(c, af_constant(c, 0.1), det), l.step, l.lack);
    return l;
}

/* J' as training sees it: the value `old`, with the derivative by the parameters that the implicit
 * function theorem gives to the solution of lack = 0, i.e. that of a Newton step. */
static af_expr af__implicit(const af__generator *g, const af__lack *l, af_expr old) {
    return af_add(g->c, old, af_sub(g->c, l->step, af_stop(g->c, l->step)));
}

/* A Newton step from `old`, no longer than half of the orbit's actions. */
static af_expr af__newton(const af__generator *g, const af__lack *l, af_expr old) {
    af_context *c = g->c;
    af_expr size = af_scale(c, af_sum_axis(c, af_abs(c, old), 0), 0.5);
    af_expr length = af_offset(c, af_sum_axis(c, af_abs(c, l->step), 0), 1e-12);
    af_expr limit = af_minimum(c, af_div(c, size, length), af_constant(c, 1.0));
    return af_add(c, old, af_mul(c, limit, l->step));
}

/* ---- the whole map, from (theta, J) and J' ---- */

typedef struct af__map {
    af_expr action, angle; /* J'', theta'' (3,N,B) */
} af__map;

/* eqs. 7, 8: theta'' = theta' + net(cos theta', sin theta'), (dtheta''/dtheta')^T J'' = J'. */
static void af__point_transformation(const af__generator *g, af__map *m, af_expr dropout) {
    af_context *c = g->c;
    size_t d[AF_RANK_MAX];
    af_expr part[2], turn, units, stacked;
    af__matrix3 a;
    if (af_shape(c, m->angle, d) != 3) return;
    part[0] = af_cos(c, m->angle);
    part[1] = af_sin(c, m->angle);
    turn = af_net_apply(g->point, af__to_rows(c, af_concat(c, 0, 2, part)), dropout);
    turn = af__from_rows(c, turn, d[1], d[2]);
    units = af__units3(c, m->angle);
    if (af_jvp(c, 1, &turn, 1, &m->angle, &units, &stacked) != AF_OK) return;
    a = af__one_plus(c, stacked, 1);
    m->action = af__solve3(c, &a, m->action, NULL);
    m->angle = af_add(c, m->angle, turn);
}

/* ---- the symplectic model ---- */

/* -1 where J_phi < 0, else 1. */
static af_expr af__sense(af_context *c, af_expr j_phi) {
    af_expr back = af_less(c, j_phi, af_constant(c, 0.0));
    return af_offset(c, af_scale(c, back, -2.0), 1.0);
}

/* The toy's coordinates in the chart: J_phi dtheta_phi + J_z dtheta_z = L_z dnode + L dtheta_z with
 * node = theta_phi - sense theta_z, L = J_z + |L_z|. */
static void af__chart_enter(const af__generator *g, af_expr theta, af_expr j, af_expr *q,
                            af_expr *p) {
    af_context *c = g->c;
    size_t k;
    for (k = 0; k < 3; k++) {
        q[k] = af__component(c, theta, k);
        p[k] = af_scale(c, af__component(c, j, k), 1.0 / g->chart[12]);
    }
    if (g->desc.chart != AF_CHART_HALO) return;
    q[0] = af_sub(c, q[0], af_mul(c, af__sense(c, p[0]), q[1]));
    p[1] = af_add(c, p[1], af_abs(c, p[0]));
}

static void af__chart_leave(const af__generator *g, af_expr *q, af_expr *p) {
    af_context *c = g->c;
    size_t k;
    for (k = 0; k < 3; k++) p[k] = af_scale(c, p[k], g->chart[12]);
    if (g->desc.chart != AF_CHART_HALO) return;
    q[0] = af_add(c, q[0], af_mul(c, af__sense(c, p[0]), q[1]));
    p[1] = af_sub(c, p[1], af_abs(c, p[0]));
}

/* dF/dJ'': what the spread leaves free, and time reversal fixes. (3,N,B) */
static af_expr af__shears_zero(const af__generator *g, af_expr action) {
    af_context *c = g->c;
    size_t d[AF_RANK_MAX], flat[2], k;
    double inverse[3];
    af_expr x, slope, view[4];
    af_shape(c, action, d);
    flat[0] = 3;
    flat[1] = d[1] * d[2];
    for (k = 0; k < 4; k++) view[k] = af_params_expr(g->params, g->zero[k]);
    for (k = 0; k < 3; k++) inverse[k] = 1.0 / g->width[k];
    x = af_mul(c, af_sub(c, action, af__constants(c, 3, g->center, 1)),
               af__constants(c, 3, inverse, 1));
    slope = af_ridge_gradient(c, AF_RIDGE_TANH, af_reshape(c, x, 2, flat), view[1], view[2],
                              view[3]);
    flat[1] = 1;
    slope = af_add(c, slope, af_reshape(c, view[0], 2, flat));
    return af_mul(c, af_reshape(c, slope, 3, d), af__constants(c, 3, inverse, 1));
}

static af__map af__shears_map(const af__generator *g, af_slopes slopes, af_expr theta, af_expr j) {
    af_expr q[3], p[3];
    af__map m;
    m.action = m.angle = af__none;
    af__chart_enter(g, theta, j, q, p);
    if (af_shear_apply(g->shears, slopes, q, p, q, p) != AF_OK) return m;
    af__chart_leave(g, q, p);
    m.action = af_concat(g->c, 0, 3, p);
    m.angle = af_sub(g->c, af_concat(g->c, 0, 3, q), af__shears_zero(g, m.action));
    return m;
}

/* In a static potential an orbit run backwards, mirrored so that it turns the same way, has -theta
 * and the same J. So half of theta''(theta,J) + theta''(-theta,J) is where theta'' should be
 * counted from; what is left of it, as residuals that F can take away. */
static af_expr af__shears_reversal(const af__generator *g, af_expr theta, af_expr j) {
    af_context *c = g->c;
    af__map m = af__shears_map(g, AF_SLOPES_EXACT, theta, j);
    af__map back = af__shears_map(g, AF_SLOPES_EXACT, af_neg(c, theta), j);
    af_expr action = af_stop(c, m.action), zero = af__shears_zero(g, action), free;
    free = af_wrap(c, af_add(c, m.angle, back.angle)); /* of maps that have a dF/dJ'' already */
    free = af_add(c, af_scale(c, free, 0.5), zero);
    return af_sub(c, af_stop(c, free), zero);
}

/* Ridge functions of F. */
enum { AF__ZERO_RIDGES = 12 };

static af_status af__shears_zero_create(af__generator *g) {
    size_t dims[2], three = 3;
    af_status s;
    dims[0] = AF__ZERO_RIDGES;
    dims[1] = 3;
    s = af_params_add(g->params, "zero.base", 1, &three, AF_INIT_CONSTANT, 0.0, &g->zero[0]);
    if (s == AF_OK)
        s = af_params_add(g->params, "zero.amplitude", 1, dims, AF_INIT_CONSTANT, 0.0, &g->zero[1]);
    if (s == AF_OK)
        s = af_params_add(g->params, "zero.direction", 2, dims, AF_INIT_NORMAL, 1.0, &g->zero[2]);
    if (s == AF_OK)
        s = af_params_add(g->params, "zero.offset", 1, dims, AF_INIT_NORMAL, 1.0, &g->zero[3]);
    return s;
}

/* Declares the shears. A disc's map commutes with z -> -z where the potential does. */
static af_status af__shears_create(af__generator *g) {
    af_shear_desc d = AF__ZERO;
    af_pair pairs[3];
    int even[3] = {0, 0, 0}, halo = g->desc.chart == AF_CHART_HALO;
    af_status s;
    pairs[0] = g->desc.axisymmetric == AF_SYMMETRY_YES ? AF_PAIR_CYCLIC : AF_PAIR_ANGLE;
    pairs[1] = halo ? AF_PAIR_ANGLE : AF_PAIR_POINCARE;
    pairs[2] = AF_PAIR_POINCARE;
    even[1] = g->desc.plane_symmetric == AF_SYMMETRY_YES;
    d.name = "shears";
    d.freedoms = 3;
    d.pairs = pairs;
    d.even = even;
    d.layers = g->desc.layers;
    d.width = g->desc.width;
    d.harmonics = g->desc.angle_harmonics;
    d.start = 0.003; /* the toy is hardly moved, and the fit finds its way */
    d.center = g->chart;
    d.scale = g->chart + 6;
    s = af_shear_create(g->params, &d, &g->shears);
    return s == AF_OK ? af__shears_zero_create(g) : s;
}

/* The residuals of streams (weight: shares of their stars): (streams, 3 N + 3), each star's J''
 * less the stream's mean, times the root of its share, and the anchor. */
static af_expr af__shears_residuals(const af__generator *g, af_expr theta, af_expr j,
                                    af_expr weight) {
    af_context *c = g->c;
    af__map m = af__shears_map(g, AF_SLOPES_FROZEN, theta, j);
    af_expr mean = af_sum_axis(c, af_mul(c, weight, m.action), 1), part[2];
    af_expr toy = af_sum_axis(c, af_mul(c, weight, j), 1);
    size_t d[AF_RANK_MAX], flat[2];
    af_shape(c, j, d);
    part[0] = af_mul(c, af_sqrt(c, weight), af_sub(c, m.action, mean));
    part[1] = af_scale(c, af_sub(c, mean, toy), g->desc.anchor > 0.0 ? g->desc.anchor : 0.0);
    flat[0] = 3 * d[1];
    flat[1] = d[2];
    part[0] = af_reshape(c, part[0], 2, flat);
    flat[0] = 3;
    part[1] = af_reshape(c, part[1], 2, flat);
    return af_transpose(c, af_concat(c, 0, 2, part));
}

static af__map af__map_of(const af__generator *g, af_expr theta, af_expr j, af_expr jp,
                          af_expr dropout) {
    af__map m;
    if (g->shears) return af__shears_map(g, AF_SLOPES_EXACT, theta, j);
    m.action = af_sub(g->c, j, af__gradient(g, theta, jp, dropout));             /* eq. 5 */
    m.angle = af_add(g->c, theta, af__shift(g, theta, jp, dropout));             /* eq. 6 */
    if (g->point) af__point_transformation(g, &m, dropout);
    return m;
}

/* ---- the loss ---- */

/* Spread of the actions within streams. */
static af_expr af__spread(const af__generator *g, af_expr action, af_expr weight) {
    af_context *c = g->c;
    af_expr mean = af_sum_axis(c, af_mul(c, weight, action), 1), away = af_sub(c, action, mean), s;
    double soft = g->desc.softening / g->action_scale;
    if (g->desc.spread == AF_SPREAD_ABSOLUTE)
        return af_mean(c, af_sum_axis(c, af_mul(c, weight, af_abs(c, away)), 1));
    s = af_mean_axis(c, af_sum_axis(c, af_mul(c, weight, af_square(c, away)), 1), 0);
    s = af_offset(c, af_scale(c, s, 1.0 / (soft * soft)), 1.0);
    return af_mean(c, af_sqrt(c, af_sqrt(c, s)));
}

/* eq. 13: |J - |J|| of J_z and J_r. */
static af_expr af__negative(const af__generator *g, af_expr action, af_expr weight) {
    af_expr two = af_slice(g->c, action, 0, 1, 2);
    two = af_mul(g->c, weight, af_sub(g->c, af_abs(g->c, two), two));
    return af_scale(g->c, af_mean(g->c, af_sum_axis(g->c, two, 1)), 2.0);
}

/* Mean |theta''| at theta = 0 (the last term of eq. 12). */
static af_expr af__angle_zero(const af__generator *g, af_expr jp, af_expr dropout) {
    size_t d[AF_RANK_MAX], rank = af_shape(g->c, jp, d);
    af_expr zero = af_full(g->c, rank, d, 0.0);
    af__map m = af__map_of(g, zero, jp, jp, dropout);
    return af_mean(g->c, af_abs(g->c, af_wrap(g->c, m.angle)));
}

static af_expr af__loss(const af__generator *g, const af__map *m, af_expr weight, af_expr jp,
                        af_expr dropout) {
    af_context *c = g->c;
    af_expr loss = af__spread(g, m->action, weight);
    if (g->desc.negative_weight > 0.0)
        loss = af_add(c, loss,
                      af_scale(c, af__negative(g, m->action, weight), g->desc.negative_weight));
    if (g->desc.angle_weight > 0.0)
        loss = af_add(c, loss, af_scale(c, af__angle_zero(g, jp, dropout), g->desc.angle_weight));
    if (g->desc.generator == AF_GENERATOR_FOURIER && g->desc.coefficient_penalty > 0.0) {
        af_expr out = af__coefficients(g, af_stop(c, jp));
        loss = af_add(c, loss,
                      af_scale(c, af_mean(c, af_square(c, out)), g->desc.coefficient_penalty));
    }
    return loss;
}
