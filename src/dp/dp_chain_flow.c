/* ---- the chain: a flow in the mixture's place ---------------------------------------------------
 *
 * One clump (dp_chain_mixture.c) whose z1, z2 are bent until they are normal, by layers of the
 * splines of dp_spline.c: z2 by a network's function of z1, then z1 by another's of the new z2.
 * Networks end in zeros, so that it begins as the clump; beyond DP__CHAIN_REACH it stays that, so
 * that no tail is made of few stars. */

#include <stdio.h>

enum {
    DP__CHAIN_LAYERS = 8, /* at most */
    DP__CHAIN_BINS = 8,   /* of a spline: three or four clumps along an axis */
    DP__CHAIN_UNITS = 8   /* of a network of one number, with one hidden layer */
};
#define DP__CHAIN_REACH 4.0

typedef struct dp__chain_flow {
    size_t layers;
    af_net *net[2 * DP__CHAIN_LAYERS]; /* of each layer: for z2, for z1 */
} dp__chain_flow;

static af_status dp__chain_flow_create(af_params *p, size_t layers, dp__chain_flow *f) {
    af_net_desc d = DP__ZERO;
    char name[32];
    size_t k;
    af_status s = AF_OK;
    d.name = name;
    d.inputs = 1;
    d.outputs = 3 * (size_t)DP__CHAIN_BINS - 1;
    d.width = DP__CHAIN_UNITS;
    d.depth = 1;
    d.activation = AF_TANH;
    f->layers = layers;
    for (k = 0; k < 2 * layers && s == AF_OK; k++) {
        snprintf(name, sizeof name, "flow.%lu", (unsigned long)k);
        s = af_net_create(p, &d, &f->net[k]);
    }
    return s;
}

static void dp__chain_flow_destroy(dp__chain_flow *f) {
    size_t k;
    for (k = 0; k < 2 * f->layers; k++) af_net_destroy(f->net[k]);
}

static dp__spline_kind dp__chain_spline(af_context *c) {
    dp__spline_kind kind;
    kind.c = c;
    kind.bins = DP__CHAIN_BINS;
    kind.bound = DP__CHAIN_REACH;
    return kind;
}

/* The shape of the spline (3 bins - 1, n) that net k makes of given (1,n). */
static af_expr dp__chain_shape(af_context *c, const dp__chain_flow *f, size_t k, af_expr given) {
    af_expr none = DP__ZERO;
    return af_transpose(c, af_net_apply(f->net[k], af_transpose(c, given), none));
}

/* z[0], z[1] (1,n) as normal numbers; ln of the determinant (1,n). */
static af_expr dp__chain_bend(af_context *c, const dp__chain_flow *f, af_expr z[2]) {
    dp__spline_kind kind = dp__chain_spline(c);
    af_expr sum = af_constant(c, 0.0), slope;
    size_t k, to;
    for (k = 0; k < 2 * f->layers; k++) {
        to = k % 2 ? 0 : 1;
        z[to] = dp__spline_bend(&kind, dp__chain_shape(c, f, k, z[1 - to]), z[to], &slope);
        sum = af_add(c, sum, slope);
    }
    return sum;
}

/* And back. */
static void dp__chain_unbend(af_context *c, const dp__chain_flow *f, af_expr z[2]) {
    dp__spline_kind kind = dp__chain_spline(c);
    size_t k, to;
    for (k = 2 * f->layers; k-- > 0;) {
        to = k % 2 ? 0 : 1;
        z[to] = dp__spline_unbend(&kind, dp__chain_shape(c, f, k, z[1 - to]), z[to]);
    }
}
