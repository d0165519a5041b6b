/* ---- the potential: scales, expressions --------------------------------------------------------
 *
 * Everything is computed in xi = (x - mean)/length, time in units of `time` and potentials in
 * units of `unit`:
 *
 *     length   rms spread of x and y together; a network sees z divided by its own spread, so that
 *              a thin disc is resolved
 *     time     ratio of the medians of |x| and |v|
 *     unit     length |x|/time^2: the force that holds stars of that speed at that radius, over the
 *              spread of the positions, which is what Phi varies by */

#include <stdlib.h>

enum {
    DP__NET_WIDTH = 128, DP__NET_DEPTH = 3, /* 33 thousand weights */
    DP__FRAME = 6,                          /* omega, centre (2), u (3) */
    DP__PART = 3,                           /* mass or speed, length, height */
    DP__FIELD_ROWS = 128                    /* points of one call: five streams in the caches */
};

struct dp_potential {
    af_context *c;
    dp__arena arena;
    dp_potential_desc desc; /* with the defaults filled in; parts and fixed are the arena's */
    af_potential *parts;    /* as they are now; NULL: a network */
    double mean[3], length, height; /* spread of x and y, of z */
    double time, unit;
    double constant;        /* added to a network's Phi */
    af_params *params;
    /* Views: the frame in units of length and time; the logarithms of what the parts are multiplied
     * by during a fit, else zero; k of k R^2/2. */
    size_t frame, factors, guide;
    af_net *net, *density;  /* Phi, ln n; NULL: none */
    af_func *field;         /* (xi (DP__FIELD_ROWS,3), parameters) -> net, gradient, Laplacian */
    af_func *ln_n;          /* the same for ln n without Laplacian */
};

/* ---- scales ---- */

/* The median length of the three coordinates from `first` on; scratch (n). */
static double dp__median_norm(size_t n, const double *eta, size_t first, double *scratch) {
    size_t i;
    for (i = 0; i < n; i++) {
        const double *x = eta + 6 * i + first;
        scratch[i] = sqrt(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]);
    }
    return dp__median(scratch, n);
}

/* Mean and variance of a coordinate. */
static void dp__moments(size_t n, const double *eta, size_t k, double *mean, double *variance) {
    size_t i;
    double sum = 0.0, square = 0.0;
    for (i = 0; i < n; i++) sum += eta[6 * i + k];
    *mean = sum / (double)n;
    for (i = 0; i < n; i++) square += (eta[6 * i + k] - *mean) * (eta[6 * i + k] - *mean);
    *variance = square / (double)n;
}

/* Symmetric inputs are measured from the axis, or from the centre. */
static af_status dp__potential_scales(dp_potential *p, const dp_points *points) {
    const dp_frame *frame = &p->desc.frame;
    dp__arena arena = dp__arena_open(p->c);
    double variance[3], *scratch = DP__ARRAY(&arena, double, points->n), x, v;
    size_t k;
    if (!scratch) return dp__fail_memory(p->c, "the scales of a potential");
    x = dp__median_norm(points->n, points->eta, 0, scratch);
    v = dp__median_norm(points->n, points->eta, 3, scratch);
    dp__arena_free(&arena);
    for (k = 0; k < 3; k++) dp__moments(points->n, points->eta, k, &p->mean[k], &variance[k]);
    for (k = 0; k < 2 && p->desc.inputs != DP_INPUTS_XYZ; k++) {
        double away = p->mean[k] - frame->centre[k];
        variance[k] += away * away;
        p->mean[k] = frame->centre[k];
    }
    if (p->desc.inputs == DP_INPUTS_R) {
        variance[2] += p->mean[2] * p->mean[2];
        p->mean[2] = 0.0;
    }
    p->length = sqrt((variance[0] + variance[1]) / 2.0);
    p->height = sqrt(variance[2]);
    p->time = x / v;
    p->unit = p->length * x / (p->time * p->time);
    if (!(p->length > 0.0 && p->height > 0.0 && p->unit > 0.0) || !dp__is_finite(p->unit))
        return af_fail(p->c, AF_ERROR_DATA,
                       "potential: the %lu points do not spread in space, or do not move",
                       (unsigned long)points->n);
    return AF_OK;
}

/* The frame in units of length and time, into the parameters, and back. */
static void dp__frame_set(dp_potential *p, const dp_frame *frame) {
    double *to = af_params_view(p->params, p->frame);
    size_t k;
    to[0] = frame->omega * p->time;
    for (k = 0; k < 2; k++) to[1 + k] = frame->centre[k] / p->length;
    for (k = 0; k < 3; k++) to[3 + k] = frame->u[k] * p->time / p->length;
}

AF_API dp_frame dp_potential_frame(const dp_potential *p) {
    const double *from = af_params_view(p->params, p->frame);
    dp_frame frame;
    size_t k;
    frame.omega = from[0] / p->time;
    for (k = 0; k < 2; k++) frame.centre[k] = from[1 + k] * p->length;
    for (k = 0; k < 3; k++) frame.u[k] = from[3 + k] * p->length / p->time;
    return frame;
}

/* ---- expressions: frame and parts ---- */

/* x where mask is 1; where it is 0 the same number, but a constant for differentiation. */
static af_expr dp__free_where(af_context *c, af_expr x, size_t n, const double *mask) {
    af_expr m = af_constant_array(c, 1, &n, mask);
    return af_where(c, m, x, af_stop(c, x));
}

static af_expr dp__element(af_context *c, af_expr x, size_t i) {
    return af_reshape(c, af_slice(c, x, 0, i, 1), 0, NULL);
}

/* Column k of rows (b, w) as (b). */
static af_expr dp__column(af_context *c, af_expr rows, size_t k) {
    size_t dims[AF_RANK_MAX] = {0};
    af_shape(c, rows, dims);
    return af_reshape(c, af_slice(c, rows, -1, k, 1), 1, dims);
}

/* The frame's six numbers, of which those that are not fitted are constants. */
static af_expr dp__frame_expr(const dp_potential *p) {
    double mask[DP__FRAME];
    unsigned bits = p->desc.free_frame;
    size_t k;
    for (k = 0; k < (size_t)DP__FRAME; k++) {
        unsigned bit = k == 0 ? (unsigned)DP_FREE_OMEGA
                              : k < 3 ? (unsigned)DP_FREE_CENTRE : (unsigned)DP_FREE_U;
        mask[k] = bits & bit ? 1.0 : 0.0;
    }
    return dp__free_where(p->c, af_params_expr(p->params, p->frame), DP__FRAME, mask);
}

/* What the fit may change of a part, in the order of DP__PART. */
static void dp__part_values(const af_potential *part, double value[DP__PART]) {
    value[0] = part->kind == AF_POTENTIAL_LOGARITHMIC ? part->speed : part->mass;
    value[1] = part->length;
    value[2] = part->height;
}

static void dp__part_set(af_potential *part, const double value[DP__PART]) {
    *(part->kind == AF_POTENTIAL_LOGARITHMIC ? &part->speed : &part->mass) = value[0];
    part->length = value[1];
    part->height = value[2];
}

/* Whether value k of the part takes part in a fit: heights are Miyamoto-Nagai's alone. */
static int dp__part_free(const dp_potential *p, size_t part, size_t k) {
    unsigned fixed = p->desc.fixed ? p->desc.fixed[part] : 0u;
    if (k == 2 && p->parts[part].kind != AF_POTENTIAL_MIYAMOTO_NAGAI) return 0;
    return !(fixed >> k & 1u); /* DP_FIX_MASS, DP_FIX_LENGTH, DP_FIX_HEIGHT */
}

/* The values of a part, mass x G/(unit length), speed/sqrt(unit) and lengths/length, times the
 * exponential of their factors, which keeps their signs. */
static void dp__part_exprs(const dp_potential *p, size_t part, af_expr value[DP__PART]) {
    af_context *c = p->c;
    af_expr factors = af_slice(c, af_params_expr(p->params, p->factors), 0, part, 1);
    double number[DP__PART], mask[DP__PART];
    size_t k, three = DP__PART;
    dp__part_values(&p->parts[part], number);
    number[0] *= p->parts[part].kind == AF_POTENTIAL_LOGARITHMIC
                     ? 1.0 / sqrt(p->unit) : AF_GRAVITY / (p->unit * p->length);
    for (k = 0; k < three; k++) mask[k] = dp__part_free(p, part, k) ? 1.0 : 0.0;
    factors = af_exp(c, dp__free_where(c, af_reshape(c, factors, 1, &three), three, mask));
    for (k = 0; k < three; k++)
        value[k] = af_scale(c, dp__element(c, factors, k),
                            k == 0 ? number[k] : number[k] / p->length);
}

/* sqrt(a^2 + b2). */
static af_expr dp__hypot(af_context *c, af_expr a, af_expr b2) {
    return af_sqrt(c, af_add(c, af_square(c, a), b2));
}

/* Phi of a part at squares q[] of the coordinates; the formulas are those of af_potential. */
static af_expr dp__part_phi(const dp_potential *p, size_t part, const af_expr q[3]) {
    const af_potential *a = &p->parts[part];
    af_context *c = p->c;
    af_expr v[DP__PART], r2 = af_add(c, af_add(c, q[0], q[1]), q[2]), s;
    dp__part_exprs(p, part, v);
    switch (a->kind) {
    case AF_POTENTIAL_ISOCHRONE:
        s = af_add(c, v[1], dp__hypot(c, v[1], r2));
        break;
    case AF_POTENTIAL_PLUMMER:
        s = dp__hypot(c, v[1], r2);
        break;
    case AF_POTENTIAL_MIYAMOTO_NAGAI:
        s = af_add(c, v[1], dp__hypot(c, v[2], q[2]));
        s = dp__hypot(c, s, af_add(c, q[0], q[1]));
        break;
    case AF_POTENTIAL_LOGARITHMIC:
        s = af_add(c, q[0], af_scale(c, q[1], 1.0 / (a->p * a->p)));
        s = af_add(c, s, af_scale(c, q[2], 1.0 / (a->q * a->q)));
        s = af_log(c, af_add(c, s, af_square(c, v[1])));
        return af_scale(c, af_mul(c, af_square(c, v[0]), s), 0.5);
    default: /* NFW; 1e-16: a star in the very centre must not divide by zero */
        r2 = af_sqrt(c, af_offset(c, r2, 1e-16));
        s = af_div(c, r2, af_log1p(c, af_div(c, r2, v[1])));
        break;
    }
    return af_neg(c, af_div(c, v[0], s));
}

/* Phi (b,1) of all parts at xi (b,3). */
static af_expr dp__parts_phi(const dp_potential *p, af_expr xi) {
    af_context *c = p->c;
    size_t three = 3, part, k;
    double origin[3];
    af_expr x, q[3], sum = af_constant(c, 0.0);
    for (k = 0; k < 3; k++) origin[k] = p->mean[k] / p->length;
    x = af_add(c, xi, af_constant_array(c, 1, &three, origin));
    for (k = 0; k < 3; k++) q[k] = af_square(c, af_slice(c, x, -1, k, 1));
    for (part = 0; part < p->desc.part_count; part++)
        sum = af_add(c, sum, dp__part_phi(p, part, q));
    return sum;
}

/* ---- expressions: networks ---- */

/* sqrt(1 + r2) - 1, with the digits that the difference would lose on the axis: close to r2/2
 * within a scale length and to r far out, with all derivatives. */
static af_expr dp__radius(af_context *c, af_expr r2) {
    af_expr root = af_sqrt(c, af_offset(c, r2, 1.0));
    return af_div(c, r2, af_offset(c, root, 1.0));
}

/* xi with z in units of its own spread. */
static af_expr dp__flattened(const dp_potential *p, af_expr xi) {
    size_t three = 3;
    double scale[3] = {1.0, 1.0, 1.0};
    scale[2] = p->length / p->height;
    return af_mul(p->c, xi, af_constant_array(p->c, 1, &three, scale));
}

/* (xi - centre)^2 (b,1) in the plane; the centre is the frame's. */
static af_expr dp__plane2(const dp_potential *p, af_expr xi, af_expr frame) {
    af_context *c = p->c;
    size_t two = 2;
    double mean[2];
    af_expr away;
    mean[0] = -p->mean[0] / p->length;
    mean[1] = -p->mean[1] / p->length;
    away = af_add(c, af_slice(c, frame, 0, 1, 2), af_constant_array(c, 1, &two, mean));
    away = af_sub(c, af_slice(c, xi, -1, 0, 2), away);
    return af_sum_axis(c, af_square(c, away), -1);
}

/* The network's inputs for points xi (b,3). */
static af_expr dp__net_inputs(const dp_potential *p, af_expr xi, af_expr plane2) {
    af_context *c = p->c;
    af_expr in[2], z = af_slice(c, dp__flattened(p, xi), -1, 2, 1);
    switch (p->desc.inputs) {
    case DP_INPUTS_RZ:
        in[0] = dp__radius(c, plane2);
        in[1] = z;
        return af_concat(c, -1, 2, in);
    case DP_INPUTS_R:
        return dp__radius(c, af_add(c, plane2, af_square(c, af_slice(c, xi, -1, 2, 1))));
    case DP_INPUTS_GUIDED:
        in[0] = dp__flattened(p, xi);
        in[1] = dp__radius(c, plane2);
        return af_concat(c, -1, 2, in);
    default: return dp__flattened(p, xi);
    }
}

/* Phi (b,1) at xi (b,3), in its unit, without its constant. */
static af_expr dp__phi(const dp_potential *p, af_expr xi) {
    af_context *c = p->c;
    af_expr none = DP__ZERO, frame, plane2, phi, k;
    if (p->parts) return dp__parts_phi(p, xi);
    frame = dp__frame_expr(p);
    plane2 = dp__plane2(p, xi, frame);
    phi = af_net_apply(p->net, dp__net_inputs(p, xi, plane2), none);
    if (p->desc.inputs != DP_INPUTS_GUIDED) return phi;
    k = af_params_expr(p->params, p->guide);
    return af_add(c, phi, af_scale(c, af_mul(c, k, plane2), 0.5));
}

/* ln n (b,1) at xi (b,3): selections keep to no symmetry. */
static af_expr dp__ln_n(const dp_potential *p, af_expr xi) {
    af_expr none = DP__ZERO;
    return af_net_apply(p->density, dp__flattened(p, xi), none);
}

/* ---- opening ---- */

static size_t dp__net_inputs_count(dp_inputs inputs) {
    switch (inputs) {
    case DP_INPUTS_RZ: return 2;
    case DP_INPUTS_R: return 1;
    case DP_INPUTS_GUIDED: return 4;
    default: return 3;
    }
}

static af_status dp__net_declare(dp_potential *p, const char *name, size_t inputs, af_net **out) {
    af_net_desc d = DP__ZERO;
    d.name = name;
    d.inputs = inputs;
    d.outputs = 1;
    d.activation = AF_TANH;
    d.width = p->desc.width;
    d.depth = p->desc.depth;
    return af_net_create(p->params, &d, out);
}

static af_status dp__potential_declare(dp_potential *p) {
    size_t dims[2], six = DP__FRAME;
    af_status s = af_params_create(p->c, p->desc.seed, &p->params);
    dims[0] = p->desc.part_count;
    dims[1] = DP__PART;
    if (s == AF_OK && !p->parts)
        s = dp__net_declare(p, "phi", dp__net_inputs_count(p->desc.inputs), &p->net);
    if (s == AF_OK && p->desc.density_net) s = dp__net_declare(p, "ln_n", 3, &p->density);
    if (s == AF_OK && p->parts)
        s = af_params_add(p->params, "factors", 2, dims, AF_INIT_CONSTANT, 0.0, &p->factors);
    if (s == AF_OK && p->desc.inputs == DP_INPUTS_GUIDED)
        s = af_params_add(p->params, "guide", 0, NULL, AF_INIT_CONSTANT, 0.0, &p->guide);
    if (s == AF_OK)
        s = af_params_add(p->params, "frame", 1, &six, AF_INIT_CONSTANT, 0.0, &p->frame);
    return s;
}

/* What makes no sense in the desc; NULL: nothing. */
static const char *dp__potential_complaint(const dp_potential_desc *d) {
    const double *frame = &d->frame.omega;
    size_t k;
    if (d->start_canary != 0 || d->end_canary != 0)
        return "dp_potential_desc was not initialised to zero";
    if ((int)d->inputs < (int)DP_INPUTS_XYZ || (int)d->inputs > (int)DP_INPUTS_GUIDED)
        return "there is no such kind of inputs";
    if ((d->parts != NULL) != (d->part_count > 0))
        return "parts and part_count do not go together";
    if (d->parts && d->inputs != DP_INPUTS_XYZ)
        return "inputs are a network's; analytic parts take x, y and z";
    if (!dp__is_finite(frame[0]) || d->free_frame > 7u) return "its frame is not possible";
    for (k = 0; k < 2; k++)
        if (!dp__is_finite(d->frame.centre[k])) return "the centre of its frame is not finite";
    for (k = 0; k < 3; k++)
        if (!dp__is_finite(d->frame.u[k])) return "the velocity of its frame is not finite";
    return NULL;
}

static af_status dp__parts_check(const dp_potential *p) {
    size_t i, k;
    af_status s = af_potential_check(p->c, p->parts, p->desc.part_count);
    for (i = 0; s == AF_OK && i < p->desc.part_count; i++) {
        double value[DP__PART];
        dp__part_values(&p->parts[i], value);
        for (k = 0; k < (size_t)DP__PART; k++)
            if (dp__part_free(p, i, k) && value[k] == 0.0)
                return af_fail(p->c, AF_ERROR_ARGUMENT,
                               "potential: the %s of part %lu cannot be fitted from zero; begin "
                               "from another number, or fix it",
                               k == 0 ? "mass or speed" : k == 1 ? "length" : "height",
                               (unsigned long)i);
    }
    return s;
}

/* Copies the arrays of the desc and fills in the defaults. */
static af_status dp__potential_desc_take(dp_potential *p, const dp_potential_desc *desc) {
    dp_potential_desc *d = &p->desc;
    const char *complaint = desc ? dp__potential_complaint(desc) : NULL;
    size_t n, i;
    if (complaint) return af_fail(p->c, AF_ERROR_ARGUMENT, "potential: %s", complaint);
    if (desc) *d = *desc;
    if (!d->width) d->width = DP__NET_WIDTH;
    if (!d->depth) d->depth = DP__NET_DEPTH;
    n = d->part_count;
    if (n > 0) {
        unsigned *fixed = DP__ARRAY(&p->arena, unsigned, n);
        p->parts = DP__ARRAY(&p->arena, af_potential, n);
        if (!p->parts || !fixed) return dp__fail_memory(p->c, "a potential");
        for (i = 0; i < n; i++) p->parts[i] = d->parts[i];
        for (i = 0; i < n && d->fixed; i++) fixed[i] = d->fixed[i];
        d->fixed = fixed;
        return dp__parts_check(p);
    }
    d->fixed = NULL;
    return AF_OK;
}

AF_API void dp_potential_destroy(dp_potential *p) {
    dp__arena arena;
    if (!p) return;
    af_func_destroy(p->field);
    af_func_destroy(p->ln_n);
    af_net_destroy(p->net);
    af_net_destroy(p->density);
    af_params_destroy(p->params);
    arena = p->arena; /* p itself lies in it */
    dp__arena_free(&arena);
}

/* A potential without scales. */
static af_status dp__potential_open(af_context *c, const dp_potential_desc *desc,
                                    dp_potential **out) {
    dp__arena arena = dp__arena_open(c);
    dp_potential *p = DP__NEW(&arena, dp_potential);
    af_status s;
    *out = NULL;
    if (!p) return dp__fail_memory(c, "a potential");
    p->c = c;
    p->arena = arena;
    s = dp__potential_desc_take(p, desc);
    p->desc.parts = p->parts;
    if (s == AF_OK) s = dp__potential_declare(p);
    if (s != AF_OK) {
        dp_potential_destroy(p);
        return s;
    }
    *out = p;
    return AF_OK;
}

/* In dp_potential_api.c. */
static af_status dp__ln_n_evaluate(dp_potential *p, size_t n, const double *x, double *ln_n,
                                   double *gradient);
