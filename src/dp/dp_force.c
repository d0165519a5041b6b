/* ---- the potential as a force: one point at a time ---------------------------------------------
 *
 * The network is small and the points come singly, so the arithmetic is done here, in f64, in
 * vectors of the instruction set that is found when the force is made. */

enum {
    DP__FORCE_WIDTH = 1024, /* widest layer: two buffers of four streams are 64 KiB of stack */
    DP__FORCE_LAYERS = 9,   /* the most, with the last one */
    DP__FORCE_PADDING = 16  /* widths are padded to two vectors of the widest set */
};

typedef struct dp__force_layer {
    size_t in, padded;
    double *weight, *bias; /* (in, padded), (padded), zeros at the end */
} dp__force_layer;

struct dp_force {
    dp__arena arena;
    af_potential *parts; /* NULL: a network */
    size_t part_count;
    dp_inputs inputs;
    double mean[3], axis[2], length, flatten, unit, constant; /* axis in units of length */
    double guide;
    size_t layers;
    dp__force_layer layer[DP__FORCE_LAYERS];
    const double *(*net)(const dp_force *f, double *z, double *other);
};

/* Vectors are the compiler's; between sets only their length and the fused product differ. */
#define DP__TARGET
#define DP__N(name) dp__force_##name##_plain
#define DP__V dp__v16
#define DP__U dp__u16
#define DP__FMA(a, b, c) ((a) * (b) + (c))
#define DP__SPREAD(x) (DP__ZERO_V + (x))
typedef double dp__v16 __attribute__((vector_size(16), may_alias));
typedef uint64_t dp__u16 __attribute__((vector_size(16)));
static const dp__v16 dp__zero16 = {0.0, 0.0};
#define DP__ZERO_V dp__zero16
#include "dp_force.inc.c"

#if defined(__x86_64__) && !defined(AF_NO_AVX)
#  define DP__HAVE_AVX
#  include <immintrin.h>

#  define DP__TARGET __attribute__((target("avx2,fma")))
#  define DP__N(name) dp__force_##name##_avx2
#  define DP__V __m256d
#  define DP__U dp__u32
#  define DP__FMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#  define DP__SPREAD(x) _mm256_set1_pd(x)
typedef uint64_t dp__u32 __attribute__((vector_size(32)));
#  define DP__ZERO_V _mm256_setzero_pd()
#  include "dp_force.inc.c"

#  define DP__TARGET __attribute__((target("avx512f")))
#  define DP__N(name) dp__force_##name##_avx512
#  define DP__V __m512d
#  define DP__U dp__u64
#  define DP__FMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#  define DP__SPREAD(x) _mm512_set1_pd(x)
typedef uint64_t dp__u64 __attribute__((vector_size(64)));
#  define DP__ZERO_V _mm512_setzero_pd()
#  include "dp_force.inc.c"
#endif

/* ---- a point ---- */

/* sqrt(1 + r2) - 1 of r2 with its gradient (3) into column k of the inputs z. */
static void dp__force_radius(double *z, size_t k, const double r[3]) {
    double r2 = r[0] * r[0] + r[1] * r[1] + r[2] * r[2], root = sqrt(1.0 + r2);
    size_t s;
    z[k] = r2 / (1.0 + root);
    for (s = 0; s < 3; s++) z[(1 + s) * DP__FORCE_WIDTH + k] = r[s] / root;
}

/* The network's inputs and their derivatives by xi; returns their number. */
static size_t dp__force_inputs(const dp_force *f, const double xi[3], double *z) {
    double r[3];
    size_t k = 0, s, t;
    r[0] = xi[0] - f->axis[0];
    r[1] = xi[1] - f->axis[1];
    r[2] = f->inputs == DP_INPUTS_R ? xi[2] : 0.0;
    if (f->inputs == DP_INPUTS_RZ || f->inputs == DP_INPUTS_R) dp__force_radius(z, k++, r);
    if (f->inputs == DP_INPUTS_R) return k;
    for (s = k == 0 ? 0 : 2; s < 3; s++, k++) { /* x, y and z, or z alone beside R */
        double scale = s == 2 ? f->flatten : 1.0;
        z[k] = xi[s] * scale;
        for (t = 0; t < 3; t++) z[(1 + t) * DP__FORCE_WIDTH + k] = t == s ? scale : 0.0;
    }
    if (f->inputs == DP_INPUTS_GUIDED) dp__force_radius(z, k++, r);
    return k;
}

static void dp__force_network(const dp_force *f, const double x[3], double *phi, double a[3]) {
    double memory[2][4 * DP__FORCE_WIDTH] __attribute__((aligned(64)));
    double xi[3], r[2], per = f->unit / f->length;
    const double *out;
    size_t k;
    for (k = 0; k < 3; k++) xi[k] = (x[k] - f->mean[k]) / f->length;
    dp__force_inputs(f, xi, memory[0]);
    out = f->net(f, memory[0], memory[1]);
    for (k = 0; k < 2; k++) r[k] = xi[k] - f->axis[k];
    if (phi)
        *phi = f->constant + f->unit * (out[0] + 0.5 * f->guide * (r[0] * r[0] + r[1] * r[1]));
    for (k = 0; a && k < 3; k++)
        a[k] = -per * (out[(1 + k) * DP__FORCE_WIDTH] + (k < 2 ? f->guide * r[k] : 0.0));
}

AF_API void dp_force_at(const dp_force *f, const double x[3], double *phi,
                        double acceleration[3]) {
    size_t k;
    if (!dp__is_finite(x[0] + x[1] + x[2])) { /* tanh hides it */
        if (phi) *phi = NAN;
        for (k = 0; acceleration && k < 3; k++) acceleration[k] = NAN;
    } else if (f->parts) {
        if (phi) *phi = af_potential_value(f->parts, f->part_count, x);
        if (acceleration) af_potential_acceleration(f->parts, f->part_count, x, acceleration);
    } else {
        dp__force_network(f, x, phi, acceleration);
    }
}

/* ---- making one ---- */

static void dp__force_choose(dp_force *f) {
    f->net = dp__force_net_plain;
#ifdef DP__HAVE_AVX
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        f->net = dp__force_net_avx2;
    if (__builtin_cpu_supports("avx512f")) f->net = dp__force_net_avx512;
#endif
}

/* The layer's weights and biases, two views of the store, weight first. */
static af_status dp__force_layer_take(dp_force *f, const dp_potential *p, size_t k, size_t in,
                                      size_t out) {
    dp__force_layer *l = &f->layer[k];
    const double *weight = af_params_view(p->params, 2 * k);
    const double *bias = af_params_view(p->params, 2 * k + 1);
    size_t i, j;
    l->in = in;
    l->padded = (out + DP__FORCE_PADDING - 1) / DP__FORCE_PADDING * DP__FORCE_PADDING;
    l->weight = DP__ARRAY(&f->arena, double, in *l->padded);
    l->bias = DP__ARRAY(&f->arena, double, l->padded);
    if (!l->weight || !l->bias) return dp__fail_memory(p->c, "a force");
    for (i = 0; i < in; i++)
        for (j = 0; j < out; j++) l->weight[i * l->padded + j] = weight[i * out + j];
    for (j = 0; j < out; j++) l->bias[j] = bias[j];
    return AF_OK;
}

static af_status dp__force_take_network(dp_force *f, const dp_potential *p) {
    size_t k, in = dp__net_inputs_count(p->desc.inputs);
    dp_frame frame = dp_potential_frame(p);
    af_status s = AF_OK;
    if (p->desc.width > (size_t)DP__FORCE_WIDTH || p->desc.depth >= (size_t)DP__FORCE_LAYERS)
        return af_fail(p->c, AF_ERROR_ARGUMENT,
                       "force: a network of %lu layers of %lu is too large; %d of %d at most",
                       (unsigned long)p->desc.depth, (unsigned long)p->desc.width,
                       (int)DP__FORCE_LAYERS - 1, (int)DP__FORCE_WIDTH);
    f->inputs = p->desc.inputs;
    f->length = p->length;
    f->flatten = p->length / p->height;
    f->unit = p->unit;
    f->constant = p->constant;
    if (f->inputs == DP_INPUTS_GUIDED) f->guide = *af_params_view(p->params, p->guide);
    for (k = 0; k < 3; k++) f->mean[k] = p->mean[k];
    for (k = 0; k < 2; k++) f->axis[k] = (frame.centre[k] - p->mean[k]) / p->length;
    f->layers = p->desc.depth + 1;
    for (k = 0; k < f->layers && s == AF_OK; k++) {
        size_t out = k + 1 < f->layers ? p->desc.width : 1;
        s = dp__force_layer_take(f, p, k, in, out);
        in = out;
    }
    dp__force_choose(f);
    return s;
}

static af_status dp__force_take_parts(dp_force *f, const dp_potential *p) {
    size_t i, n = p->desc.part_count;
    f->parts = DP__ARRAY(&f->arena, af_potential, n);
    if (!f->parts) return dp__fail_memory(p->c, "a force");
    for (i = 0; i < n; i++) f->parts[i] = p->parts[i];
    f->part_count = n;
    return AF_OK;
}

AF_API af_status dp_force_create(const dp_potential *p, dp_force **out) {
    dp__arena arena = dp__arena_open(p->c);
    dp_force *f = DP__NEW(&arena, dp_force);
    af_status s;
    *out = NULL;
    if (!f) return dp__fail_memory(p->c, "a force");
    f->arena = arena;
    s = p->parts ? dp__force_take_parts(f, p) : dp__force_take_network(f, p);
    if (s != AF_OK) {
        dp_force_destroy(f);
        return s;
    }
    *out = f;
    return AF_OK;
}

AF_API void dp_force_destroy(dp_force *f) {
    dp__arena arena;
    if (!f) return;
    arena = f->arena; /* f itself lies in it */
    dp__arena_free(&arena);
}
