/* ---- the potential as a force: one point at a time ---------------------------------------------
 *
 * The network is small and the points come singly, so the arithmetic is done here, in f64, in
 * vectors of the instruction set that is found when the force is made. */

enum {
    DP__FORCE_WIDTH = 1024, /* widest layer: two buffers of four streams are 64 KiB of stack */
    DP__FORCE_LAYERS = 9,   /* the most, with the last one */
    DP__FORCE_PANEL = 16    /* columns: two vectors of the widest set; widths are padded to them */
};

typedef struct dp__force_layer {
    size_t in, padded;
    /* (padded/panel, in, panel): read from first to last; (padded). Zeros where padded. */
    double *weight, *bias;
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
    void (*run)(const dp__force_layer *l, const double *z, double *out);
    void (*tanh)(size_t padded, double *z);
};

/* ---- kernels ----
 *
 * Value and three derivatives of every unit go from layer to layer together: each weight is loaded
 * once for four products, and it is loading that takes the time. Vectors V are the compiler's; the
 * macros are the functions for one set of instructions, since these differ in nothing but the
 * length of V and the fused product. */

/* low, high += z of this stream times two vectors of weights. */
#define DP__FORCE_ADD(FMA, stream, low, high)                  \
    low = FMA(z[(stream) * DP__FORCE_WIDTH + i], w0, low);     \
    high = FMA(z[(stream) * DP__FORCE_WIDTH + i], w1, high)

#define DP__FORCE_STORE(V, stream, low, high)                  \
    *(V *)(out + (stream) * DP__FORCE_WIDTH + j) = low;        \
    *(V *)(out + (stream) * DP__FORCE_WIDTH + j + lanes) = high

/* z (4, DP__FORCE_WIDTH) of the last layer -> out (4, ...): W^T z, and for the value + bias. Two
 * vectors of columns at a time make eight sums, as many as hide the time that one takes; they are
 * written out, since in an array they would not stay in registers. */
#define DP__FORCE_LAYER(name, TARGET, V, FMA)                                                    \
    TARGET static void name(const dp__force_layer *l, const double *z, double *out) {            \
        const size_t lanes = sizeof(V) / sizeof(double);                                         \
        size_t i, j;                                                                             \
        for (j = 0; j < l->padded; j += 2 * lanes) {                                             \
            size_t panel = j / DP__FORCE_PANEL * DP__FORCE_PANEL;                                \
            const double *w = l->weight + panel * l->in + (j - panel);                           \
            V zero = {0.0}, a0 = *(const V *)(l->bias + j), a1, b0, b1, c0, c1, d0, d1;          \
            a1 = *(const V *)(l->bias + j + lanes);                                              \
            b0 = b1 = c0 = c1 = d0 = d1 = zero;                                                  \
            for (i = 0; i < l->in; i++, w += DP__FORCE_PANEL) {                                  \
                V w0 = *(const V *)w, w1 = *(const V *)(w + lanes);                              \
                DP__FORCE_ADD(FMA, 0, a0, a1);                                                   \
                DP__FORCE_ADD(FMA, 1, b0, b1);                                                   \
                DP__FORCE_ADD(FMA, 2, c0, c1);                                                   \
                DP__FORCE_ADD(FMA, 3, d0, d1);                                                   \
            }                                                                                    \
            DP__FORCE_STORE(V, 0, a0, a1);                                                       \
            DP__FORCE_STORE(V, 1, b0, b1);                                                       \
            DP__FORCE_STORE(V, 2, c0, c1);                                                       \
            DP__FORCE_STORE(V, 3, d0, d1);                                                       \
        }                                                                                        \
    }

/* e = exp(x) for -40 <= x <= 0 to 2e-16: x = n ln 2 + r, the Taylor series of exp(r) up to r^12
 * (|r| < 0.35: the next term is 2e-16), and n added to the exponent. 1.5 x 2^52 rounds to whole
 * numbers, whose low bits are then n; ln 2 is in two parts, the first of which times n is exact. */
#define DP__FORCE_EXP(V, U, e, x)                                                            \
    do {                                                                                     \
        V rounded = (x) * 1.4426950408889634074 + 6755399441055744.0, n, r, sum;             \
        n = rounded - 6755399441055744.0;                                                    \
        r = (x) - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10;           \
        sum = r * (1.0 / 479001600.0) + 1.0 / 39916800.0;                                    \
        sum = sum * r + 1.0 / 3628800.0;                                                     \
        sum = sum * r + 1.0 / 362880.0;                                                      \
        sum = sum * r + 1.0 / 40320.0;                                                       \
        sum = sum * r + 1.0 / 5040.0;                                                        \
        sum = sum * r + 1.0 / 720.0;                                                         \
        sum = sum * r + 1.0 / 120.0;                                                         \
        sum = sum * r + 1.0 / 24.0;                                                          \
        sum = sum * r + 1.0 / 6.0;                                                           \
        sum = sum * r + 0.5;                                                                 \
        sum = sum * r * r + r + 1.0;                                                         \
        e = sum * (V)(((U)rounded + 1023u) << 52);                                           \
    } while (0)

/* z -> tanh z, its derivatives times 1 - tanh^2 = 4 e/(1 + e)^2, e = exp(-2 |z|). tanh is good to
 * 2e-16 of one, which is what the next layer sees. Beyond |z| = 20 it is one. */
#define DP__FORCE_TANH(name, TARGET, V, U)                                                   \
    TARGET static void name(size_t padded, double *z) {                                      \
        size_t j, s;                                                                         \
        for (j = 0; j < padded; j += sizeof(V) / sizeof(double)) {                           \
            V zero = {0.0}, x = *(V *)(z + j), e, size, over, slope, far = zero - 40.0;      \
            U sign = (U)x & ((U)(zero + 1.0) ^ (U)(zero - 1.0)), near; /* the top bit */     \
            size = (V)((U)x ^ sign) * -2.0;                                                  \
            near = (U)(size > far);                                                          \
            size = (V)(((U)size & near) | ((U)far & ~near));                                 \
            DP__FORCE_EXP(V, U, e, size);                                                    \
            over = 1.0 / (1.0 + e);                                                          \
            slope = 4.0 * e * over * over;                                                   \
            *(V *)(z + j) = (V)((U)((1.0 - e) * over) | sign);                               \
            for (s = 1; s < 4; s++) *(V *)(z + s * DP__FORCE_WIDTH + j) *= slope;            \
        }                                                                                    \
    }

typedef double dp__v16 __attribute__((vector_size(16), may_alias));
typedef uint64_t dp__u16 __attribute__((vector_size(16)));
#define DP__FORCE_ANYWHERE
#define DP__FORCE_FMA(x, w, sum) ((x) * (w) + (sum))
DP__FORCE_LAYER(dp__force_layer_plain, DP__FORCE_ANYWHERE, dp__v16, DP__FORCE_FMA)
DP__FORCE_TANH(dp__force_tanh_plain, DP__FORCE_ANYWHERE, dp__v16, dp__u16)

#if defined(__x86_64__) && !defined(AF_NO_AVX)
#  define DP__HAVE_AVX
#  include <immintrin.h>
#  define DP__FORCE_AVX2 __attribute__((target("avx2,fma")))
#  define DP__FORCE_FMA32(x, w, sum) _mm256_fmadd_pd(_mm256_set1_pd(x), w, sum)
#  define DP__FORCE_AVX512 __attribute__((target("avx512f")))
#  define DP__FORCE_FMA64(x, w, sum) _mm512_fmadd_pd(_mm512_set1_pd(x), w, sum)
typedef uint64_t dp__u32 __attribute__((vector_size(32)));
typedef uint64_t dp__u64 __attribute__((vector_size(64)));
DP__FORCE_LAYER(dp__force_layer_avx2, DP__FORCE_AVX2, __m256d, DP__FORCE_FMA32)
DP__FORCE_TANH(dp__force_tanh_avx2, DP__FORCE_AVX2, __m256d, dp__u32)
DP__FORCE_LAYER(dp__force_layer_avx512, DP__FORCE_AVX512, __m512d, DP__FORCE_FMA64)
DP__FORCE_TANH(dp__force_tanh_avx512, DP__FORCE_AVX512, __m512d, dp__u64)
#endif

enum { DP__FORCE_PLAIN, DP__FORCE_SET_AVX2, DP__FORCE_SET_AVX512 };

/* What this machine has of the sets up to `most`. */
static void dp__force_choose(dp_force *f, int most) {
    f->run = dp__force_layer_plain;
    f->tanh = dp__force_tanh_plain;
    (void)most;
#ifdef DP__HAVE_AVX
    if (most >= DP__FORCE_SET_AVX2 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma")) {
        f->run = dp__force_layer_avx2;
        f->tanh = dp__force_tanh_avx2;
    }
    if (most >= DP__FORCE_SET_AVX512 && __builtin_cpu_supports("avx512f")) {
        f->run = dp__force_layer_avx512;
        f->tanh = dp__force_tanh_avx512;
    }
#endif
}

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

/* Inputs in z; the result is in column 0 of what is returned. */
static const double *dp__force_net(const dp_force *f, double *z, double *other) {
    size_t k;
    for (k = 0; k < f->layers; k++) {
        double *swap = z;
        f->run(&f->layer[k], z, other);
        if (k + 1 < f->layers) f->tanh(f->layer[k].padded, other);
        z = other;
        other = swap;
    }
    return z;
}

static void dp__force_network(const dp_force *f, const double x[3], double *phi, double a[3]) {
    double memory[2][4 * DP__FORCE_WIDTH] __attribute__((aligned(64)));
    double xi[3], r[2], per = f->unit / f->length;
    const double *out;
    size_t k;
    for (k = 0; k < 3; k++) xi[k] = (x[k] - f->mean[k]) / f->length;
    dp__force_inputs(f, xi, memory[0]);
    out = dp__force_net(f, memory[0], memory[1]);
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

/* The layer's weights and biases, two views of the store, weight first. */
static af_status dp__force_layer_take(dp_force *f, const dp_potential *p, size_t k, size_t in,
                                      size_t out) {
    dp__force_layer *l = &f->layer[k];
    const double *weight = af_params_view(p->params, 2 * k);
    const double *bias = af_params_view(p->params, 2 * k + 1);
    size_t i, j;
    l->in = in;
    l->padded = (out + DP__FORCE_PANEL - 1) / DP__FORCE_PANEL * DP__FORCE_PANEL;
    l->weight = DP__ARRAY(&f->arena, double, in *l->padded);
    l->bias = DP__ARRAY(&f->arena, double, l->padded);
    if (!l->weight || !l->bias) return dp__fail_memory(p->c, "a force");
    for (i = 0; i < in; i++)
        for (j = 0; j < out; j++) {
            size_t panel = j / DP__FORCE_PANEL * in + i;
            l->weight[panel * DP__FORCE_PANEL + j % DP__FORCE_PANEL] = weight[i * out + j];
        }
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
    dp__force_choose(f, DP__FORCE_SET_AVX512);
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
