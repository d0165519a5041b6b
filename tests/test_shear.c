/* Symplectic maps from shears: the definition in plain numbers, inverse, symplectic form, frozen
 * slopes, symmetries, files, failures. */
#include "actionfinder.in.h"
#include "af_test.h"
#include "af_heap.h"

enum { MAX = AF_FREEDOMS_MAX, SAMPLES = 6, DOUBLES = 4096 };

static heap memory;
static af_context *context;
static af_params *store;

static af_status open_context(long fail_at) {
    return heap_open(&memory, fail_at, 1, &context);
}

static void begin(void) {
    if (open_context(0) != AF_OK || af_params_create(context, 11, &store) != AF_OK) abort();
}

static void end(void) {
    af_params_destroy(store);
    af_context_destroy(context);
    CHECK(memory.live == 0);
}

/* The call fails with the status and a sentence that holds the words; clears the error. */
#define FAILS(call, status, words)                   \
    do {                                             \
        CHECK((call) == (status));                   \
        CHECK(af_error_status(context) == (status)); \
        CHECK_TEXT(af_error(context), words);        \
        af_error_clear(context);                     \
    } while (0)

/* Runs the expressions as functions of the store (if there are parameters) and the inputs; their
 * values follow each other in out. */
static int compute(size_t count, const af_expr *y, size_t inputs, const af_expr *x,
                   const double *const *at, double *out) {
    af_func_desc d = AF__ZERO;
    af_func *f = NULL;
    af_workspace *w = NULL;
    af_expr in[2 * MAX + 2];
    const void *from[2 * MAX + 2];
    void *to[4 * MAX + 4];
    size_t i;
    for (i = 0; i < inputs; i++) {
        in[i] = x[i];
        from[i] = at[i];
    }
    d.input_count = inputs;
    if (af_params_size(store)) {
        in[d.input_count] = af_params_input(store);
        from[d.input_count++] = af_params_data(store);
    }
    for (i = 0; i < count; i++) {
        to[i] = out;
        out += af_size(context, y[i]);
    }
    d.inputs = in;
    d.outputs = y;
    d.output_count = count;
    if (af_compile(context, &d, &f) == AF_OK && af_workspace_create(f, 1, &w) == AF_OK)
        CHECK(af_run(f, w, from, to) == AF_OK);
    else printf("  %s\n", af_error(context));
    CHECK(w != NULL);
    af_workspace_destroy(w);
    af_func_destroy(f);
    return w != NULL;
}

/* ---- the maps that are tested ---- */

typedef struct kind {
    size_t n;
    af_pair pair[4];
    af_ridge ridge;
    size_t harmonics;
    int odd;
    size_t layers;
    int even[4];
} kind;

static const kind kinds[] = {
    {1, {AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 1, 0, 8, {0}},
    {1, {AF_PAIR_CARTESIAN}, AF_RIDGE_SIN, 1, 1, 5, {0}},
    {1, {AF_PAIR_POINCARE}, AF_RIDGE_TANH, 1, 0, 6, {0}},
    {1, {AF_PAIR_ANGLE}, AF_RIDGE_TANH, 3, 0, 4, {0}},
    {2, {AF_PAIR_CARTESIAN, AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 1, 1, 6, {0}},
    {2, {AF_PAIR_ANGLE, AF_PAIR_CARTESIAN}, AF_RIDGE_SIN, 2, 0, 4, {0}},
    {2, {AF_PAIR_POINCARE, AF_PAIR_POINCARE}, AF_RIDGE_SIN, 1, 0, 5, {0}},
    {2, {AF_PAIR_ANGLE, AF_PAIR_ANGLE}, AF_RIDGE_TANH, 2, 0, 3, {0}},
    {3, {AF_PAIR_CARTESIAN, AF_PAIR_CARTESIAN, AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 1, 0, 4, {0}},
    {3, {AF_PAIR_ANGLE, AF_PAIR_POINCARE, AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 2, 0, 5, {0}},
    {3, {AF_PAIR_CARTESIAN, AF_PAIR_ANGLE, AF_PAIR_POINCARE}, AF_RIDGE_SIN, 1, 0, 4, {0}},
    {4, {AF_PAIR_ANGLE, AF_PAIR_CARTESIAN, AF_PAIR_ANGLE, AF_PAIR_POINCARE}, AF_RIDGE_TANH, 3, 0, 3,
     {0}},
    /* cyclic pairs */
    {2, {AF_PAIR_CARTESIAN, AF_PAIR_CYCLIC}, AF_RIDGE_TANH, 1, 0, 5, {0}},
    {2, {AF_PAIR_CYCLIC, AF_PAIR_POINCARE}, AF_RIDGE_SIN, 1, 0, 4, {0}},
    {2, {AF_PAIR_CYCLIC, AF_PAIR_ANGLE}, AF_RIDGE_TANH, 2, 0, 4, {0}},
    {4, {AF_PAIR_CYCLIC, AF_PAIR_ANGLE, AF_PAIR_CYCLIC, AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 2, 0, 4,
     {0}},
    {4, {AF_PAIR_POINCARE, AF_PAIR_CYCLIC, AF_PAIR_ANGLE, AF_PAIR_CARTESIAN}, AF_RIDGE_SIN, 1, 0, 3,
     {0}},
    /* even pairs */
    {1, {AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 1, 0, 6, {1}},
    {1, {AF_PAIR_POINCARE}, AF_RIDGE_SIN, 1, 0, 5, {1}},
    {1, {AF_PAIR_ANGLE}, AF_RIDGE_TANH, 2, 0, 4, {1}},
    {2, {AF_PAIR_CARTESIAN, AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 1, 1, 5, {0, 1}},
    {2, {AF_PAIR_CARTESIAN, AF_PAIR_CARTESIAN}, AF_RIDGE_SIN, 1, 1, 4, {1, 1}},
    {2, {AF_PAIR_ANGLE, AF_PAIR_ANGLE}, AF_RIDGE_TANH, 2, 0, 4, {0, 1}},
    {3, {AF_PAIR_CARTESIAN, AF_PAIR_POINCARE, AF_PAIR_CARTESIAN}, AF_RIDGE_SIN, 1, 0, 4, {1, 1, 0}},
    {3, {AF_PAIR_CARTESIAN, AF_PAIR_CARTESIAN, AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 1, 0, 4,
     {1, 1, 1}},
    {3, {AF_PAIR_POINCARE, AF_PAIR_CYCLIC, AF_PAIR_POINCARE}, AF_RIDGE_TANH, 1, 0, 5, {0, 1, 1}},
    {4, {AF_PAIR_ANGLE, AF_PAIR_POINCARE, AF_PAIR_CYCLIC, AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 2, 0,
     4, {1, 0, 0, 1}},
    {4, {AF_PAIR_ANGLE, AF_PAIR_CARTESIAN, AF_PAIR_ANGLE, AF_PAIR_POINCARE}, AF_RIDGE_TANH, 3, 0, 3,
     {1, 1, 0, 1}}
};
#define EACH_KIND(k) for (k = kinds; k < kinds + AF__COUNT(kinds); k++)

enum { WIDTH = 5, MIXED = 9, LAST = (int)AF__COUNT(kinds) - 1 }; /* LAST: even pairs of each sort */

/* Half a turn of pair i changes the signs of what the map sees of it, and the map is even. */
static int turns(const kind *k, size_t i) { return k->even[i] && k->pair[i] < AF_PAIR_ANGLE; }

/* One map with its points, coordinates q_0 .. q_n-1, p_0 .. p_n-1. */
typedef struct scene {
    const kind *k;
    af_shear *map;
    double scale[2 * MAX], center[2 * MAX];
    af_expr in[2 * MAX], out[2 * MAX];
    double data[2 * MAX][SAMPLES];
    const double *at[2 * MAX];
} scene;

static int ends_with(const char *text, const char *tail) {
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

/* Parameters of a size that takes points far away, but not so far that roundings grow: even pairs
 * have twice the ridge functions or twice the slopes. */
static void shake(const kind *k) {
    size_t v, i, at = 0;
    double amplitude = 0.3;
    for (i = 0; i < k->n; i++) amplitude *= k->even[i] ? 0.5 : 1.0;
    for (v = 0; v < af_params_count(store); v++) {
        const char *name = af_params_name(store, v);
        double *x = af_params_view(store, v);
        size_t past = v + 1 < af_params_count(store) ? (size_t)(af_params_view(store, v + 1) - x)
                                                     : af_params_size(store) - at;
        double size = ends_with(name, "direction") || ends_with(name, "offset") ? 1.0
                      : ends_with(name, "linear") || ends_with(name, "stretch") ? 0.2
                      : ends_with(name, "amplitude")                                  ? amplitude
                                                                                      : 0.3;
        for (i = 0; i < past; i++) x[i] = size * af_random_normal(5, 1, at + i);
        at += past;
    }
}

static af_shear_desc desc_of(const kind *k, const double *scale, const double *center) {
    af_shear_desc d = AF__ZERO;
    d.freedoms = k->n;
    d.pairs = k->pair;
    d.layers = k->layers;
    d.width = WIDTH;
    d.ridge = k->ridge;
    d.harmonics = k->harmonics;
    d.odd = k->odd;
    d.even = k->even;
    d.scale = scale;
    d.center = center;
    return d;
}

static void fill_points(scene *s) {
    size_t i, j, n = s->k->n;
    for (i = 0; i < n; i++)
        for (j = 0; j < SAMPLES; j++) {
            int cartesian = s->k->pair[i] == AF_PAIR_CARTESIAN;
            uint64_t at = i * SAMPLES + j;
            s->data[i][j] = cartesian ? af_random_normal(3, 0, at)
                                      : 6.0 * af_random_uniform(3, 0, at) - 3.0;
            s->data[n + i][j] = cartesian ? af_random_normal(3, 1, at)
                                          : 0.3 + 1.5 * af_random_uniform(3, 1, at);
        }
}

static void open_scene(scene *s, const kind *k) {
    size_t i, n = k->n, shape[2] = {2, SAMPLES / 2};
    af_shear_desc d;
    begin();
    memset(s, 0, sizeof *s);
    s->k = k;
    for (i = 0; i < 2 * n; i++) {
        s->scale[i] = 0.7 + 0.8 * af_random_uniform(4, 0, i);
        s->center[i] = k->odd || turns(k, i % n) ? 0.0 : 0.3 * af_random_normal(4, 1, i);
    }
    d = desc_of(k, s->scale, s->center);
    if (af_shear_create(store, &d, &s->map) != AF_OK) {
        printf("  %s\n", af_error(context));
        abort();
    }
    shake(k);
    fill_points(s);
    for (i = 0; i < 2 * n; i++) {
        s->in[i] = af_input(context, i < n ? "q" : "p", 2, shape);
        s->at[i] = s->data[i];
    }
}

static void close_scene(scene *s) {
    af_shear_destroy(s->map);
    end();
}

static void apply(scene *s, af_slopes slopes) {
    size_t n = s->k->n;
    CHECK(af_shear_apply(s->map, slopes, s->in, s->in + n, s->out, s->out + n) == AF_OK);
}

static void run_scene(scene *s, size_t count, const af_expr *y, double *out) {
    compute(count, y, 2 * s->k->n, s->in, s->at, out);
}

/* Without whole turns. */
static double turned(double x) { return x - 2 * AF__PI * floor(x / (2 * AF__PI) + 0.5); }

/* The difference of coordinate i; angles of Poincare pairs come back within one turn. */
static double apart(const kind *k, size_t i, double a, double b) {
    return i < k->n && k->pair[i] == AF_PAIR_POINCARE ? turned(a - b) : a - b;
}

/* ---- the definition once more, in plain numbers ---- */

/* View NAME.layer.what, NULL when it is not there. */
static const double *find_view(size_t layer, const char *what) {
    char name[64];
    size_t v;
    snprintf(name, sizeof name, "map.%lu.%s", (unsigned long)layer, what);
    for (v = 0; v < af_params_count(store); v++)
        if (strcmp(af_params_name(store, v), name) == 0) return af_params_view(store, v);
    return NULL;
}

/* The features of one side's coordinates by the header, and which pairs they are of (n or more: cos
 * or sin). Returns how many are not cos or sin. */
static size_t features(const scene *s, size_t side, const double *x, double *f, size_t *of,
                       size_t *count) {
    const kind *k = s->k;
    size_t i, h, m, n = k->n, plain;
    *count = 0;
    for (h = 0; h < (side ? 3 : 1); h++) /* those of angle pairs come behind, then cyclic ones */
        for (i = 0; i < n; i++) {
            if ((k->pair[i] == AF_PAIR_ANGLE ? 1 : k->pair[i] == AF_PAIR_CYCLIC ? 2 : 0) != (int)h)
                continue;
            of[*count] = i;
            f[(*count)++] = (x[i] - s->center[side * n + i]) / s->scale[side * n + i];
        }
    plain = *count;
    for (h = 0; h < 2 && !side; h++) /* cosines, sines */
        for (m = 1; m <= k->harmonics; m++)
            for (i = 0; i < n; i++) {
                double turned_by = (double)(k->even[i] ? 2 * m : m) * x[i];
                if (k->pair[i] != AF_PAIR_ANGLE) continue;
                of[*count] = n;
                f[(*count)++] = h ? sin(turned_by) : cos(turned_by);
            }
    return plain;
}

/* V(q) of a kick or T(p) of a drift by the formula of the header: of one side's coordinates. All
 * choices of signs of all pairs are counted but those that change one that is not even. */
static double potential(const scene *s, size_t layer, const double *side) {
    const kind *k = s->k;
    const double *l = find_view(layer, "linear"), *a = find_view(layer, "amplitude");
    const double *direction = find_view(layer, "direction"), *b = find_view(layer, "offset");
    double f[40], v = 0.0;
    size_t i, j, h, of[40], count, plain = features(s, layer % 2, side, f, of, &count), sign;
    for (i = 0; i < plain; i++)
        for (j = i; j < plain; j++, l++)
            if (i == j || !(turns(k, of[i]) || turns(k, of[j])))
                v += (i == j ? 0.5 : 1.0) * *l * f[i] * f[j];
    for (sign = 0; sign < (size_t)1 << k->n; sign++) {
        int allowed = 1;
        for (i = 0; i < k->n; i++) allowed = allowed && (!(sign >> i & 1) || turns(k, i));
        for (h = 0; h < WIDTH && allowed; h++) {
            double u = b ? b[h] : 0.0;
            for (i = 0; i < count; i++) {
                int minus = of[i] < k->n && (sign >> of[i] & 1);
                u += direction[h * count + i] * (minus ? -f[i] : f[i]);
            }
            v += a[h] * (k->ridge == AF_RIDGE_SIN ? -cos(u) : log(cosh(u)));
        }
    }
    return v;
}

/* Its slope by coordinate i: central differences of sixth order. */
static double potential_slope(const scene *s, size_t layer, const double *side, size_t i) {
    static const double weight[3] = {0.75, -0.15, 1.0 / 60.0};
    double x[MAX], step = 1e-3, sum = 0.0;
    size_t k;
    memcpy(x, side, sizeof x);
    for (k = 0; k < 3; k++) {
        x[i] = side[i] + (double)(k + 1) * step;
        sum += weight[k] * potential(s, layer, x);
        x[i] = side[i] - (double)(k + 1) * step;
        sum -= weight[k] * potential(s, layer, x);
    }
    return sum / step;
}

static void plain_map(const scene *s, double *z) {
    const kind *k = s->k;
    size_t i, layer, n = k->n;
    const double *stretch = af_params_view(store, 0);
    const double *shift = k->odd ? NULL : af_params_view(store, 1);
    double x[2][MAX] = {{0}};
    for (i = 0; i < n; i++) {
        double q = z[i], p = z[n + i];
        int poincare = k->pair[i] == AF_PAIR_POINCARE, cartesian = k->pair[i] == AF_PAIR_CARTESIAN;
        x[0][i] = poincare ? sqrt(2 * p) * sin(q) : q;
        x[1][i] = poincare ? sqrt(2 * p) * cos(q) : p;
        if (!cartesian) continue;
        x[0][i] = (q + (shift && !k->even[i] ? shift[i] : 0.0)) * exp(stretch[i]);
        x[1][i] = (p + (shift && !k->even[i] ? shift[n + i] : 0.0)) * exp(-stretch[i]);
    }
    for (layer = 0; layer < k->layers; layer++) {
        size_t from = layer % 2;
        for (i = 0; i < n; i++) {
            double slope = potential_slope(s, layer, x[from], i);
            x[1 - from][i] += from ? slope : -slope;
        }
    }
    for (i = 0; i < n; i++) {
        int poincare = k->pair[i] == AF_PAIR_POINCARE;
        double q = x[0][i], p = x[1][i];
        z[i] = poincare ? atan2(q, p) : q;
        z[n + i] = poincare ? 0.5 * (q * q + p * p) : p;
    }
}

/* The library's map is that of the header's formulas, and goes far. */
TEST(definition) {
    const kind *k;
    EACH_KIND(k) {
        scene s;
        double out[2 * MAX * SAMPLES], z[2 * MAX], far = 0.0;
        size_t i, j;
        open_scene(&s, k);
        apply(&s, AF_SLOPES_EXACT);
        run_scene(&s, 2 * k->n, s.out, out);
        for (j = 0; j < SAMPLES; j++) {
            for (i = 0; i < 2 * k->n; i++) z[i] = s.data[i][j];
            plain_map(&s, z);
            for (i = 0; i < 2 * k->n; i++) {
                double got = out[i * SAMPLES + j], gone = apart(k, i, got, s.data[i][j]);
                CHECK_CLOSE(apart(k, i, got, z[i]), 0.0, 1e-10 * (1 + fabs(z[i])));
                far = fmax(far, fabs(gone));
            }
        }
        CHECK(far > 0.5);
        close_scene(&s);
    }
}

/* ---- inverse ---- */

/* Both ways round, within rounding of the numbers' size; layers undo each other one by one. */
static void check_inverse(const kind *k, af_slopes slopes) {
    scene s;
    double out[2][2 * MAX * SAMPLES];
    af_expr back[2 * MAX], on[2 * MAX];
    size_t i, j, n = k->n, way;
    open_scene(&s, k);
    apply(&s, slopes);
    CHECK(af_shear_invert(s.map, slopes, s.out, s.out + n, back, back + n) == AF_OK);
    CHECK(af_shear_invert(s.map, slopes, s.in, s.in + n, on, on + n) == AF_OK);
    CHECK(af_shear_apply(s.map, slopes, on, on + n, on, on + n) == AF_OK);
    run_scene(&s, 2 * n, back, out[0]);
    run_scene(&s, 2 * n, on, out[1]);
    for (way = 0; way < 2; way++)
        for (i = 0; i < 2 * n; i++)
            for (j = 0; j < SAMPLES; j++)
                CHECK_CLOSE(apart(k, i, out[way][i * SAMPLES + j], s.data[i][j]), 0.0,
                            1e-14 * (1 + fabs(s.data[i][j])));
    close_scene(&s);
}

TEST(inverse) {
    const kind *k;
    EACH_KIND(k) {
        check_inverse(k, AF_SLOPES_EXACT);
        check_inverse(k, AF_SLOPES_FROZEN);
    }
}

/* ---- derivatives ---- */

/* y (2n) by x (2n) in one pass: out[i] gets (2n directions, shape). */
static void jacobian(size_t n2, const af_expr *y, const af_expr *x, af_expr *out) {
    static double unit[2 * MAX * SAMPLES];
    af_expr tangent[2 * MAX];
    size_t i, j, rank, size = af_size(context, x[0]), dims[AF_RANK_MAX + 1];
    rank = af_shape(context, x[0], dims + 1);
    dims[0] = n2;
    for (i = 0; i < n2; i++) {
        memset(unit, 0, sizeof unit);
        for (j = 0; j < size; j++) unit[i * size + j] = 1.0;
        tangent[i] = af_constant_array(context, rank + 1, dims, unit);
    }
    CHECK(af_jvp(context, n2, y, n2, x, tangent, out) == AF_OK);
}

/* M^T Omega M = Omega, M (2n, 2n) with m[i][a][sample] = dy_i/dx_a. */
static void check_symplectic(size_t n, const double *m, double tolerance) {
    size_t a, b, i, j, n2 = 2 * n;
    for (j = 0; j < SAMPLES; j++)
        for (a = 0; a < n2; a++)
            for (b = 0; b < n2; b++) {
                double sum = 0.0, size = 1.0;
                for (i = 0; i < n; i++) {
                    double qa = m[(i * n2 + a) * SAMPLES + j], qb = m[(i * n2 + b) * SAMPLES + j];
                    double pa = m[((n + i) * n2 + a) * SAMPLES + j];
                    double pb = m[((n + i) * n2 + b) * SAMPLES + j];
                    sum += qa * pb - pa * qb;
                    size += fabs(qa * pb) + fabs(pa * qb);
                }
                CHECK_CLOSE(sum / size, (a + n == b ? 1.0 : b + n == a ? -1.0 : 0.0) / size,
                            tolerance);
            }
}

/* The map, its inverse, and with frozen slopes; in angle and action as they come in and go out. */
TEST(symplectic) {
    static double m[4 * MAX * MAX * SAMPLES];
    const kind *k;
    EACH_KIND(k) {
        int way;
        for (way = 0; way < 4; way++) {
            scene s;
            af_expr slope[2 * MAX];
            af_slopes slopes = way % 2 ? AF_SLOPES_FROZEN : AF_SLOPES_EXACT;
            size_t n = k->n, i = k->pair[0] == AF_PAIR_CYCLIC; /* dQ/dq of that is 1 */
            open_scene(&s, k);
            if (way < 2) apply(&s, slopes);
            else
                CHECK(af_shear_invert(s.map, slopes, s.in, s.in + n, s.out, s.out + n) == AF_OK);
            jacobian(2 * n, s.out, s.in, slope);
            run_scene(&s, 2 * n, slope, m);
            check_symplectic(n, m, 1e-13);
            CHECK(fabs(m[i * (2 * n + 1) * SAMPLES] - 1.0) > 1e-3); /* not the identity */
            close_scene(&s);
        }
    }
}

/* Fills y with Q, P; their derivatives along one direction; and those of a weighted sum of them by
 * the coordinates and by all parameters. */
static void build_slopes(scene *s, af_slopes slopes, int back, af_expr *y) {
    size_t i, n2 = 2 * s->k->n, n = s->k->n, dims[2] = {2, SAMPLES / 2};
    af_expr tangent[2 * MAX], sum = af_constant(context, 0.0);
    double weight[SAMPLES];
    if (back) CHECK(af_shear_invert(s->map, slopes, s->in, s->in + n, y, y + n) == AF_OK);
    else CHECK(af_shear_apply(s->map, slopes, s->in, s->in + n, y, y + n) == AF_OK);
    for (i = 0; i < n2; i++) {
        size_t j;
        for (j = 0; j < SAMPLES; j++) weight[j] = cos((double)(7 * i + 3 * j));
        tangent[i] = af_constant_array(context, 2, dims, weight);
        sum = af_add(context, sum, af_sum(context, af_mul(context, y[i], tangent[i])));
    }
    CHECK(af_jvp(context, n2, y, n2, s->in, tangent, y + n2) == AF_OK);
    CHECK(af_grad(context, sum, n2, s->in, y + 2 * n2) == AF_OK);
    y[3 * n2] = af_params_grad(store, sum);
    CHECK(y[3 * n2].id != 0);
}

/* y takes too many outputs for one function: in parts. */
static size_t run_parts(scene *s, size_t count, const af_expr *y, double *out) {
    size_t i, done = 0;
    for (i = 0; i < count; i += 2 * MAX) {
        size_t k, part = count - i < 2 * MAX ? count - i : 2 * MAX;
        run_scene(s, part, y + i, out + done);
        for (k = 0; k < part; k++) done += af_size(context, y[i + k]);
    }
    return done;
}

/* Values, derivatives by coordinates both ways and by all parameters. */
TEST(frozen_is_exact_to_first_order) {
    static double value[2][DOUBLES];
    const kind *k;
    EACH_KIND(k) {
        int back;
        for (back = 0; back < 2; back++) {
            scene s;
            af_expr y[6 * MAX + 1];
            size_t i, count = 0, way, bad = 0, moved = 0;
            open_scene(&s, k);
            for (way = 0; way < 2; way++) {
                build_slopes(&s, way ? AF_SLOPES_FROZEN : AF_SLOPES_EXACT, back, y);
                count = run_parts(&s, 6 * k->n + 1, y, value[way]);
            }
            CHECK(count < DOUBLES && count > af_params_size(store));
            for (i = 0; i < count; i++) {
                double size = 1 + fabs(value[0][i]);
                bad += !(fabs(value[0][i] - value[1][i]) <= 1e-13 * size);
                moved += fabs(value[0][i]) > 1e-3;
            }
            CHECK(bad == 0);
            CHECK(moved > count / 2);
            close_scene(&s);
        }
    }
}

/* The gradient by parameters against differences of the values, exact slopes. */
static void check_parameters(const kind *k) {
    static double gradient[DOUBLES];
    size_t i, j, n2 = 2 * k->n, from = 0;
    double step = 1e-6, value;
    scene s;
    af_expr sum, g;
    open_scene(&s, k);
    apply(&s, AF_SLOPES_EXACT);
    sum = af_constant(context, 0.0);
    for (i = 0; i < n2; i++) sum = af_add(context, sum, af_sum(context, af_sin(context, s.out[i])));
    g = af_params_grad(store, sum);
    run_scene(&s, 1, &g, gradient);
    for (i = 0; i < af_params_size(store); i += 3) {
        double *x = af_params_data(store) + i, old = *x, slope = 0.0;
        for (j = 0; j < 2; j++) {
            *x = j ? old - step : old + step;
            run_scene(&s, 1, &sum, &value);
            slope += (j ? -value : value) / (2 * step);
        }
        *x = old;
        CHECK_CLOSE(slope, gradient[i], 1e-7);
        from += fabs(gradient[i]) > 1e-4;
    }
    CHECK(from > af_params_size(store) / 6);
    close_scene(&s);
}

TEST(parameters) {
    check_parameters(&kinds[MIXED]);
    check_parameters(&kinds[MIXED + 7]);
    check_parameters(&kinds[LAST - 2]);
    check_parameters(&kinds[LAST]);
}

/* Second derivatives differ: the slope is held. Of one kick, d2P/dq2 and the derivative of dP/dq by
 * the amplitudes are not 0. */
TEST(frozen_has_no_second_derivatives) {
    static const kind one = {1, {AF_PAIR_CARTESIAN}, AF_RIDGE_TANH, 1, 0, 1, {0}};
    double value[2][SAMPLES], by_all[2][DOUBLES];
    size_t way, amplitude;
    scene s;
    open_scene(&s, &one);
    amplitude = (size_t)(find_view(0, "amplitude") - af_params_data(store));
    for (way = 0; way < 2; way++) {
        af_expr first, second, mixed;
        apply(&s, way ? AF_SLOPES_FROZEN : AF_SLOPES_EXACT);
        af_grad(context, af_sum(context, s.out[1]), 1, s.in, &first);
        af_grad(context, af_sum(context, first), 1, s.in, &second);
        mixed = af_params_grad(store, af_sum(context, first));
        run_scene(&s, 1, &second, value[way]);
        run_scene(&s, 1, &mixed, by_all[way]);
    }
    CHECK(fabs(value[0][0]) > 1e-3);
    CHECK(value[1][0] == 0.0);
    CHECK(fabs(by_all[0][amplitude]) > 1e-3);
    CHECK(by_all[1][amplitude] == 0.0);
    close_scene(&s);
}

/* Two degrees of freedom that get one expression: derivatives by it are sums. */
TEST(equal_coordinates) {
    double value[2][4 * SAMPLES];
    size_t i, way;
    scene s;
    open_scene(&s, &kinds[4]);
    s.in[1] = s.in[0];
    s.in[3] = s.in[2];
    for (way = 0; way < 2; way++) {
        af_expr y[4];
        apply(&s, way ? AF_SLOPES_FROZEN : AF_SLOPES_EXACT);
        for (i = 0; i < 2; i++) {
            af_expr by[2], x[2];
            x[0] = s.in[0];
            x[1] = s.in[2];
            af_grad(context, af_sum(context, s.out[2 * i]), 2, x, by);
            y[2 * i] = by[0];
            y[2 * i + 1] = by[1];
        }
        s.k = &kinds[0]; /* two inputs */
        s.in[1] = s.in[2];
        s.at[1] = s.at[2];
        run_scene(&s, 4, y, value[way]);
        s.k = &kinds[4];
        s.in[1] = s.in[0];
    }
    for (i = 0; i < 4 * SAMPLES; i++) CHECK_CLOSE(value[1][i], value[0][i], 1e-13);
    close_scene(&s);
}

/* ---- symmetries ---- */

/* A whole turn of an angle changes nothing but the angle that comes out. */
TEST(periodic) {
    const kind *k;
    EACH_KIND(k) {
        double out[2][2 * MAX * SAMPLES];
        size_t i, j, n = k->n, turns = 0;
        scene s;
        open_scene(&s, k);
        apply(&s, AF_SLOPES_EXACT);
        run_scene(&s, 2 * n, s.out, out[0]);
        for (i = 0; i < n; i++) {
            if (k->pair[i] == AF_PAIR_CARTESIAN) continue;
            for (j = 0; j < SAMPLES; j++) s.data[i][j] += (i % 2 ? -4 : 2) * AF__PI;
            turns++;
        }
        run_scene(&s, 2 * n, s.out, out[1]);
        for (i = 0; i < 2 * n && turns; i++) {
            double turn = i < n && k->pair[i] >= AF_PAIR_ANGLE ? (i % 2 ? -4 : 2) * AF__PI : 0.0;
            for (j = 0; j < SAMPLES; j++) {
                double before = out[0][i * SAMPLES + j];
                CHECK_CLOSE(apart(k, i, out[1][i * SAMPLES + j], before), turn,
                            1e-13 * (1 + fabs(before)));
            }
        }
        close_scene(&s);
    }
}

/* (-q,-p) -> (-Q,-P) to the last bit when odd, and not otherwise. */
TEST(odd) {
    const kind *k;
    EACH_KIND(k) {
        double out[2][2 * MAX * SAMPLES], most = 0.0;
        size_t i, j, even = 0;
        scene s;
        for (i = 0; i < k->n; i++) even += k->even[i] != 0;
        if (k->pair[0] != AF_PAIR_CARTESIAN || k->n == 3 || (even == k->n && !k->odd)) continue;
        open_scene(&s, k);
        apply(&s, AF_SLOPES_EXACT);
        run_scene(&s, 2 * k->n, s.out, out[0]);
        for (i = 0; i < 2 * k->n; i++)
            for (j = 0; j < SAMPLES; j++) s.data[i][j] = -s.data[i][j];
        run_scene(&s, 2 * k->n, s.out, out[1]);
        for (i = 0; i < 2 * k->n * SAMPLES; i++) most = fmax(most, fabs(out[0][i] + out[1][i]));
        CHECK(k->odd ? most == 0.0 : most > 0.1);
        close_scene(&s);
    }
}

/* Nothing but Q of a cyclic pair depends on its q, and that by as much as q; its p stays. */
static void check_cyclic(const kind *k, size_t pair, int way) {
    double out[2][2 * MAX * SAMPLES], slope[2 * MAX * SAMPLES];
    af_expr by[2 * MAX], tangent[2 * MAX];
    size_t i, j, n = k->n, dims[2] = {2, SAMPLES / 2};
    af_slopes slopes = way % 2 ? AF_SLOPES_FROZEN : AF_SLOPES_EXACT;
    scene s;
    open_scene(&s, k);
    if (way < 2) apply(&s, slopes);
    else CHECK(af_shear_invert(s.map, slopes, s.in, s.in + n, s.out, s.out + n) == AF_OK);
    run_scene(&s, 2 * n, s.out, out[0]);
    CHECK(memcmp(out[0] + (n + pair) * SAMPLES, s.data[n + pair], sizeof s.data[0]) == 0);
    for (i = 0; i < 2 * n; i++)
        tangent[i] = af_full(context, 2, dims, i == pair ? 1.0 : 0.0);
    CHECK(af_jvp(context, 2 * n, s.out, 2 * n, s.in, tangent, by) == AF_OK);
    run_scene(&s, 2 * n, by, slope);
    for (j = 0; j < SAMPLES; j++) {
        CHECK(fabs(out[0][pair * SAMPLES + j] - s.data[pair][j]) > 1e-3); /* it moves */
        s.data[pair][j] += 0.7 * (double)j + 0.1;
    }
    run_scene(&s, 2 * n, s.out, out[1]);
    for (i = 0; i < 2 * n * SAMPLES; i++) {
        double more = i / SAMPLES == pair ? 0.7 * (double)(i % SAMPLES) + 0.1 : 0.0;
        CHECK_CLOSE(out[1][i] - out[0][i], more, more > 0.0 ? 1e-14 : 0.0);
        CHECK(slope[i] == (i / SAMPLES == pair ? 1.0 : 0.0));
    }
    close_scene(&s);
}

TEST(cyclic) {
    const kind *k;
    size_t i, found = 0;
    EACH_KIND(k) for (i = 0; i < k->n; i++) {
        int way;
        if (k->pair[i] != AF_PAIR_CYCLIC) continue;
        for (way = 0; way < 4; way++) check_cyclic(k, i, way);
        found++;
    }
    CHECK(found == 8);
}

/* Half a turn of pair i of a coordinate's row. */
static void half_turn(const kind *k, size_t i, double *q, double *p) {
    size_t j;
    for (j = 0; j < SAMPLES; j++) {
        if (k->pair[i] == AF_PAIR_CARTESIAN) {
            q[j] = -q[j];
            p[j] = -p[j];
        } else q[j] += AF__PI;
    }
}

/* By how much half a turn of a pair before the map and after it differ. */
static double uneven(const kind *k, size_t pair, int way) {
    double out[2][2 * MAX * SAMPLES], most = 0.0;
    size_t i, j, n = k->n;
    af_slopes slopes = way % 2 ? AF_SLOPES_FROZEN : AF_SLOPES_EXACT;
    scene s;
    open_scene(&s, k);
    if (way < 2) apply(&s, slopes);
    else CHECK(af_shear_invert(s.map, slopes, s.in, s.in + n, s.out, s.out + n) == AF_OK);
    run_scene(&s, 2 * n, s.out, out[0]);
    half_turn(k, pair, out[0] + pair * SAMPLES, out[0] + (n + pair) * SAMPLES);
    half_turn(k, pair, s.data[pair], s.data[n + pair]);
    run_scene(&s, 2 * n, s.out, out[1]);
    for (i = 0; i < 2 * n; i++)
        for (j = 0; j < SAMPLES; j++) {
            double x = out[0][i * SAMPLES + j];
            most = fmax(most, fabs(apart(k, i, out[1][i * SAMPLES + j], x)) / (1 + fabs(x)));
        }
    close_scene(&s);
    return most;
}

/* Even pairs and cyclic ones are even one by one, the others are not; but of an odd map the last
 * one is when all others are. */
TEST(even) {
    const kind *k;
    size_t i, j;
    EACH_KIND(k) for (i = 0; i < k->n; i++) {
        int way, last = k->odd;
        for (j = 0; j < k->n; j++) last = last && (j == i || k->even[j]);
        for (way = 0; way < 4; way++) {
            double most = uneven(k, i, way);
            if (k->even[i] || last || k->pair[i] == AF_PAIR_CYCLIC) CHECK_CLOSE(most, 0.0, 1e-14);
            else CHECK(most > 0.02);
        }
    }
}

/* ---- the parts ---- */

/* Features (3, 2) with one ridge or four, with offsets or without. */
typedef struct ridges {
    double f[6], a[4], d[12], b[4];
    const double *at[4];
    af_expr x[4], y;
    size_t inputs;
} ridges;

static void build_ridges(ridges *r, size_t count, af_ridge ridge, int offset) {
    size_t i, shape[2] = {3, 2}, kd[2];
    af_expr none = AF__ZERO;
    for (i = 0; i < 12; i++) r->d[i] = af_random_normal(2, 0, i);
    for (i = 0; i < 6; i++) r->f[i] = af_random_normal(2, 1, i);
    for (i = 0; i < 4; i++) r->a[i] = af_random_uniform(2, 2, i);
    for (i = 0; i < 4; i++) r->b[i] = af_random_normal(2, 3, i);
    r->at[0] = r->f;
    r->at[1] = r->a;
    r->at[2] = r->d;
    r->at[3] = r->b;
    kd[0] = count;
    kd[1] = 3;
    r->x[0] = af_input(context, "f", 2, shape);
    r->x[1] = af_input(context, "a", 1, kd);
    r->x[2] = af_input(context, "k", 2, kd);
    r->x[3] = af_input(context, "b", 1, kd);
    r->inputs = offset ? 4 : 3;
    r->y = af_ridge_gradient(context, ridge, r->x[0], r->x[1], r->x[2], offset ? r->x[3] : none);
}

TEST(ridge_closed_form) {
    size_t way, i, j;
    begin();
    for (way = 0; way < 4; way++) {
        ridges r;
        double got[6];
        build_ridges(&r, 1, way % 2 ? AF_RIDGE_SIN : AF_RIDGE_TANH, way < 2);
        compute(1, &r.y, r.inputs, r.x, r.at, got);
        for (j = 0; j < 2; j++) {
            double u = way < 2 ? r.b[0] : 0.0;
            for (i = 0; i < 3; i++) u += r.d[i] * r.f[2 * i + j];
            for (i = 0; i < 3; i++)
                CHECK_CLOSE(got[2 * i + j], r.a[0] * r.d[i] * (way % 2 ? sin(u) : tanh(u)), 1e-15);
        }
    }
    end();
}

/* The Jacobian by the features is symmetric: it is a gradient. All amplitudes are positive here and
 * log cosh is convex, so that the diagonal is positive too. */
TEST(ridge_jacobian) {
    size_t way, i, k, shape[2] = {3, 2};
    begin();
    for (way = 0; way < 4; way++) {
        ridges r;
        double slope[3][6];
        build_ridges(&r, 4, way % 2 ? AF_RIDGE_SIN : AF_RIDGE_TANH, way < 2);
        for (k = 0; k < 3; k++) {
            double e[6] = AF__ZERO;
            af_expr unit, by;
            e[2 * k] = e[2 * k + 1] = 1.0;
            unit = af_constant_array(context, 2, shape, e);
            CHECK(af_jvp(context, 1, &r.y, 1, r.x, &unit, &by) == AF_OK);
            compute(1, &by, r.inputs, r.x, r.at, slope[k]);
        }
        for (i = 0; i < 3; i++)
            for (k = 0; k < 6; k++) CHECK_CLOSE(slope[i][k], slope[k / 2][2 * i + k % 2], 1e-15);
        CHECK(fabs(slope[0][2]) > 1e-3);
        if (way % 2 == 0) CHECK(slope[0][0] > 0 && slope[1][2] > 0 && slope[2][4] > 0);
    }
    end();
}

TEST(ridge_refuses) {
    size_t two[2] = {4, 3}, three[2] = {3, 5}, h = 4, wrong = 5;
    af_expr f, a, k, none = AF__ZERO;
    begin();
    f = af_input(context, "f", 2, three);
    a = af_input(context, "a", 1, &h);
    k = af_input(context, "k", 2, two);
    CHECK(af_ridge_gradient(context, AF_RIDGE_SIN, f, a, k, none).id != 0);
    CHECK(af_ridge_gradient(context, AF_RIDGE_SIN, none, a, k, none).id == 0);
    CHECK(af_ridge_gradient(context, AF_RIDGE_SIN, f, none, k, none).id == 0);
    CHECK(af_ridge_gradient(context, AF_RIDGE_SIN, f, a, none, none).id == 0);
    CHECK(af_error_status(context) == AF_OK);
    CHECK(af_ridge_gradient(context, AF_RIDGE_SIN, f, a, a, none).id == 0);
    FAILS(af_error_status(context), AF_ERROR_SHAPE, "two axes");
    CHECK(af_ridge_gradient(context, AF_RIDGE_SIN, k, a, k, none).id == 0);
    FAILS(af_error_status(context), AF_ERROR_SHAPE, "inner sizes");
    a = af_input(context, "a", 1, &wrong);
    CHECK(af_ridge_gradient(context, AF_RIDGE_SIN, f, a, k, none).id == 0);
    FAILS(af_error_status(context), AF_ERROR_SHAPE, "'a'");
    end();
}

/* Known points, back again, and the Jacobian determinant 1. */
TEST(poincare) {
    static const double angle[SAMPLES] = {0.0, AF__PI / 2, -AF__PI / 2, 3.0, -3.0, 0.25};
    static const double action[SAMPLES] = {2.0, 2.0, 0.5, 1e-12, 40.0, 0.0};
    double got[4 * SAMPLES], m[4 * SAMPLES];
    const double *at[2];
    size_t j, n = SAMPLES;
    af_expr x[2], y[4], slope[2];
    begin();
    at[0] = angle;
    at[1] = action;
    x[0] = af_input(context, "theta", 1, &n);
    x[1] = af_input(context, "J", 1, &n);
    af_poincare_pair(context, x[0], x[1], &y[0], &y[1]);
    af_poincare_angle(context, y[0], y[1], &y[2], &y[3]);
    compute(4, y, 2, x, at, got);
    CHECK_CLOSE(got[0], 0.0, 1e-15);
    CHECK_CLOSE(got[1], 2.0, 1e-15);
    CHECK_CLOSE(got[2], -1.0, 1e-15);
    CHECK_CLOSE(got[n], 2.0, 1e-15);
    for (j = 0; j < n; j++) {
        CHECK_CLOSE(got[2 * n + j], j == 5 ? 0.0 : angle[j], 1e-15);
        CHECK(fabs(got[3 * n + j] - action[j]) <= 1e-15 * action[j]);
    }
    jacobian(2, y, x, slope);
    compute(2, slope, 2, x, at, m);
    for (j = 0; j + 1 < n; j++) /* the last has J = 0 */
        CHECK_CLOSE(m[j] * m[3 * n + j] - m[n + j] * m[2 * n + j], 1.0, 1e-14);
    end();
}

/* ---- files, names, beginnings ---- */

TEST(names) {
    static const char *const expected[] = {
        "walk.stretch",     "walk.shift",      "walk.0.linear",    "walk.0.amplitude",
        "walk.0.direction", "walk.0.offset",   "walk.1.linear",    "walk.1.amplitude",
        "walk.1.direction", "walk.1.offset"};
    static const size_t sizes[] = {3, 6, 3, 6, 6 * 6, 6, 6, 6, 6 * 3, 6};
    static const af_pair pairs[3] = {AF_PAIR_CARTESIAN, AF_PAIR_ANGLE, AF_PAIR_POINCARE};
    af_shear_desc d = AF__ZERO;
    af_shear *map;
    size_t v, end_of;
    begin();
    d.name = "walk";
    d.freedoms = 3;
    d.pairs = pairs;
    d.layers = 2;
    d.harmonics = 2;
    CHECK(af_shear_create(store, &d, &map) == AF_OK);
    CHECK(af_params_count(store) == AF__COUNT(expected));
    for (v = 0; v < af_params_count(store) && v < AF__COUNT(expected); v++) {
        CHECK(strcmp(af_params_name(store, v), expected[v]) == 0);
        end_of = v + 1 < af_params_count(store)
                     ? (size_t)(af_params_view(store, v + 1) - af_params_data(store))
                     : af_params_size(store);
        CHECK(af_params_data(store) + end_of - af_params_view(store, v) == (ptrdiff_t)sizes[v]);
    }
    af_shear_destroy(map);
    end();
}

/* No desc: one Cartesian pair, eight layers of six; odd ones have neither shift nor offset; where
 * all are angles kicks have no L. */
TEST(defaults) {
    static const af_pair angle = AF_PAIR_ANGLE;
    af_shear_desc d = AF__ZERO;
    af_shear *map;
    begin();
    CHECK(af_shear_create(store, NULL, &map) == AF_OK);
    CHECK(af_params_count(store) == 2 + 8 * 4 && af_params_size(store) == 3 + 8 * 19);
    CHECK(strcmp(af_params_name(store, 33), "map.7.offset") == 0);
    af_shear_destroy(map);
    d.name = "odd";
    d.odd = 1;
    CHECK(af_shear_create(store, &d, &map) == AF_OK);
    CHECK(af_params_count(store) == 34 + 1 + 8 * 3);
    CHECK(strcmp(af_params_name(store, 34), "odd.stretch") == 0);
    CHECK(strcmp(af_params_name(store, 58), "odd.7.direction") == 0);
    af_shear_destroy(map);
    d.name = "angle";
    d.odd = 0;
    d.pairs = &angle;
    CHECK(af_shear_create(store, &d, &map) == AF_OK);
    CHECK(af_params_count(store) == 59 + 2 + 4 * 3 + 4 * 4);
    CHECK(strcmp(af_params_name(store, 61), "angle.0.amplitude") == 0);
    af_shear_destroy(map);
    end();
}

/* Amplitudes begin with the size `start`; the map is that near to the identity. */
TEST(beginning) {
    static const double start[2] = {0.0, 1e-6};
    size_t way, v, i, k;
    for (way = 0; way < 2; way++) {
        af_shear_desc d = AF__ZERO;
        af_shear *map;
        af_expr x[4];
        double at[4] = {0.3, -0.7, 1.1, 0.4}, out[4], square = 0.0, size = way ? 1e-6 : 0.01;
        const double *from[4];
        af_expr y[4];
        begin();
        d.freedoms = 2;
        d.start = start[way];
        d.width = 50;
        CHECK(af_shear_create(store, &d, &map) == AF_OK);
        for (i = 0; i < 6; i++) CHECK(af_params_data(store)[i] == 0.0); /* stretch and shift */
        for (v = 2; v < af_params_count(store); v += 4) {
            const double *linear = af_params_view(store, v), *a = af_params_view(store, v + 1);
            CHECK(linear[0] == 0.0 && linear[1] == 0.0 && linear[2] == 0.0);
            for (k = 0; k < 50; k++) square += a[k] * a[k] / 400;
        }
        CHECK_CLOSE(sqrt(square) / size, 1.0, 5 / sqrt(800.0)); /* 5 sigma */
        for (i = 0; i < 4; i++) {
            x[i] = af_input(context, "x", 0, NULL); /* scalars */
            from[i] = &at[i];
        }
        CHECK(af_shear_apply(map, AF_SLOPES_EXACT, x, x + 2, y, y + 2) == AF_OK);
        compute(4, y, 4, x, from, out);
        for (i = 0; i < 4; i++)
            CHECK(out[i] != at[i] && fabs(out[i] - at[i]) < 50 * size);
        af_shear_destroy(map);
        end();
    }
}

/* A map in another store is the same once its parameters have been read. */
static void check_file(const kind *k) {
    double out[2][2 * MAX * SAMPLES];
    size_t n2 = 2 * k->n;
    char name[40];
    kind lost = *k;
    af_shear_desc d;
    af_tensors *file;
    af_params *first;
    af_shear *other;
    scene s;
    open_scene(&s, k);
    apply(&s, AF_SLOPES_EXACT);
    run_scene(&s, n2, s.out, out[0]);
    CHECK(af_tensors_create(context, &file) == AF_OK);
    CHECK(af_params_save(store, file, "x.") == AF_OK);
    snprintf(name, sizeof name, "x.map.%lu.direction", (unsigned long)k->layers - 1);
    CHECK(af_tensors_find(file, name) != NULL);
    first = store;
    CHECK(af_params_create(context, 99, &store) == AF_OK);
    d = desc_of(&lost, s.scale, s.center);
    CHECK(af_shear_create(store, &d, &other) == AF_OK);
    CHECK(af_params_load(store, file, "x.") == AF_OK);
    memset(s.scale, 0, sizeof s.scale); /* nothing of the desc is kept */
    memset(&lost, 0, sizeof lost);
    CHECK(af_shear_apply(other, AF_SLOPES_EXACT, s.in, s.in + k->n, s.out, s.out + k->n) == AF_OK);
    run_scene(&s, n2, s.out, out[1]);
    CHECK(memcmp(out[0], out[1], n2 * SAMPLES * sizeof(double)) == 0);
    af_shear_destroy(other);
    af_params_destroy(store);
    store = first;
    af_tensors_destroy(file);
    close_scene(&s);
}

TEST(save_and_load) {
    const kind *k;
    EACH_KIND(k) check_file(k);
}

/* ---- failures and corners ---- */

/* The good desc with one field changed is refused with the words, and nothing is declared. */
#define REFUSED(field, value, words)                                           \
    do {                                                                       \
        d = good;                                                              \
        d.field = value;                                                       \
        map = (af_shear *)&d;                                                  \
        FAILS(af_shear_create(store, &d, &map), AF_ERROR_ARGUMENT, words);     \
        CHECK(map == NULL && af_params_count(store) == 0);                     \
    } while (0)

TEST(refuses) {
    static const af_pair pairs[2] = {AF_PAIR_CARTESIAN, AF_PAIR_ANGLE};
    int beyond = 2;
    double bad[4] = {1.0, 1.0, 0.0, 1.0};
    af_shear_desc good = AF__ZERO, d;
    af_shear *map;
    begin();
    good.freedoms = 2;
    REFUSED(start_canary, 1, "not initialised");
    REFUSED(end_canary, 1, "not initialised");
    REFUSED(freedoms, AF_FREEDOMS_MAX + 1, "9 degrees of freedom, at most 8");
    REFUSED(ridge, (af_ridge)beyond, "no ridge function 2");
    REFUSED(harmonics, (size_t)-1, "harmonics, at most");
    REFUSED(start, -1.0, "start = -1");
    REFUSED(start, NAN, "start = ");
    REFUSED(scale, bad, "scale[2] = 0 must be positive");
    bad[2] = -1.0;
    REFUSED(scale, bad, "scale[2] = -1 must be positive");
    bad[2] = INFINITY;
    REFUSED(scale, bad, "scale[2]");
    REFUSED(center, bad, "center[2]");
    bad[2] = NAN;
    REFUSED(center, bad, "center[2]");
    bad[2] = 1.0;
    good.odd = 1;
    REFUSED(pairs, pairs, "pair 1 has an angle");
    REFUSED(center, bad, "center[0] = 1");
    d = good;
    d.odd = 0;
    d.freedoms = AF_FREEDOMS_MAX;
    CHECK(af_shear_create(store, &d, &map) == AF_OK);
    af_shear_destroy(map);
    FAILS(af_shear_create(store, &d, &map), AF_ERROR_ARGUMENT, "name is taken");
    CHECK(map == NULL);
    af_shear_destroy(NULL);
    end();
}

TEST(refuses_pairs) {
    static const af_pair cyclic[3] = {AF_PAIR_CYCLIC, AF_PAIR_CYCLIC, AF_PAIR_CARTESIAN};
    static const af_pair poincare[2] = {AF_PAIR_CARTESIAN, AF_PAIR_POINCARE};
    static const af_pair angle[2] = {AF_PAIR_CARTESIAN, AF_PAIR_ANGLE};
    static const int even[2] = {0, 1};
    af_pair no_pair[1];
    int beyond = 4;
    double center[4] = {0.0, 1.0, 0.0, 0.0};
    af_shear_desc good = AF__ZERO, d;
    af_shear *map;
    begin();
    no_pair[0] = (af_pair)beyond;
    REFUSED(pairs, no_pair, "no kind of pair 4");
    good.pairs = cyclic;
    REFUSED(freedoms, 1, "all pairs are cyclic");
    REFUSED(freedoms, 2, "all pairs are cyclic");
    good.freedoms = 3;
    REFUSED(odd, 1, "pair 0 has an angle");
    good.pairs = NULL;
    good.freedoms = 2;
    good.center = center;
    REFUSED(even, even, "even pair 1 has its center at 0, center[1] = 1");
    center[1] = 0.0;
    center[3] = -2.0;
    REFUSED(even, even, "even pair 1 has its center at 0, center[3] = -2");
    good.pairs = poincare;
    REFUSED(even, even, "even pair 1 has its center at 0, center[3] = -2");
    good.pairs = angle; /* the center of an even angle's momentum is free */
    good.even = even;
    CHECK(af_shear_create(store, &good, &map) == AF_OK);
    af_shear_destroy(map);
    end();
}
#undef REFUSED

TEST(refuses_names_and_sizes) {
    char name[300];
    af_shear_desc d = AF__ZERO;
    af_shear *map;
    begin();
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = 0;
    d.name = name;
    FAILS(af_shear_create(store, &d, &map), AF_ERROR_ARGUMENT, "too long");
    CHECK(map == NULL);
    d.name = "wide";
    d.width = (size_t)-1;
    FAILS(af_shear_create(store, &d, &map), AF_ERROR_SHAPE, "too large");
    CHECK(map == NULL);
    end();
}

TEST(refuses_coordinates) {
    size_t i, n, other = 7;
    scene s;
    af_expr none = AF__ZERO, kept;
    open_scene(&s, &kinds[MIXED]);
    n = s.k->n;
#define REFUSED(call, status, words)                                     \
    do {                                                                 \
        for (i = 0; i < 2 * n; i++) s.out[i] = s.in[0];                  \
        FAILS(call(s.map, AF_SLOPES_FROZEN, s.in, s.in + n, s.out, s.out + n), status, words); \
        for (i = 0; i < 2 * n; i++) CHECK(s.out[i].id == 0);             \
    } while (0)
    kept = s.in[4];
    s.in[4] = none;
    REFUSED(af_shear_apply, AF_ERROR_ARGUMENT, "is none");
    REFUSED(af_shear_invert, AF_ERROR_ARGUMENT, "is none");
    s.in[4] = af_input(context, "short", 1, &other);
    REFUSED(af_shear_apply, AF_ERROR_SHAPE, "(2,3) and (7) 'short'");
    s.in[4] = kept;
    s.in[0] = none;
    REFUSED(af_shear_apply, AF_ERROR_ARGUMENT, "is none");
#undef REFUSED
    close_scene(&s);
}

/* Five axes, derivatives along a sixth; results over the inputs; the same numbers as two axes. */
TEST(shapes) {
    static double value[2][2 * MAX * SAMPLES], slope[2][4 * MAX * MAX * SAMPLES];
    const kind *k = &kinds[MIXED];
    size_t i, way, n2 = 2 * k->n, dims[AF_RANK_MAX], wide[5] = {1, 3, 1, 2, 1};
    for (way = 0; way < 2; way++) {
        scene s;
        af_expr m[2 * MAX], y[2 * MAX];
        open_scene(&s, k);
        for (i = 0; i < n2 && way; i++) s.in[i] = af_input(context, "x", 5, wide);
        memcpy(y, s.in, sizeof y);
        CHECK(af_shear_apply(s.map, AF_SLOPES_FROZEN, y, y + k->n, y, y + k->n) == AF_OK);
        for (i = 0; i < n2 && way; i++) {
            CHECK(af_shape(context, y[i], dims) == 5);
            CHECK(memcmp(dims, wide, sizeof wide) == 0);
        }
        jacobian(n2, y, s.in, m);
        run_scene(&s, n2, y, value[way]);
        run_scene(&s, n2, m, slope[way]);
        close_scene(&s);
    }
    CHECK(memcmp(value[0], value[1], sizeof value[0]) == 0);
    CHECK(memcmp(slope[0], slope[1], sizeof slope[0]) == 0);
}

/* At J = 0 of a Poincare pair all values are finite and the angle that goes in does not matter. */
TEST(no_action) {
    const kind *k;
    EACH_KIND(k) {
        double out[2][2 * MAX * SAMPLES];
        size_t i, j, way, n = k->n, none = 0;
        scene s;
        open_scene(&s, k);
        apply(&s, AF_SLOPES_FROZEN);
        for (way = 0; way < 2; way++) {
            for (i = 0; i < n; i++) {
                if (k->pair[i] != AF_PAIR_POINCARE) continue;
                for (j = 0; j < SAMPLES; j++) s.data[i][j] = (double)(way + j);
                for (j = 0; j < SAMPLES; j++) s.data[n + i][j] = 0.0;
                none++;
            }
            run_scene(&s, 2 * n, s.out, out[way]);
        }
        for (i = 0; i < 2 * n * SAMPLES; i++) {
            CHECK(out[0][i] - out[0][i] == 0.0);
            CHECK_CLOSE(out[1][i], out[0][i], none ? 1e-14 : 0.0);
        }
        close_scene(&s);
    }
}

/* Entries of stretch of pairs with an angle and of shift of these and of even ones do nothing, not
 * even when they are NaN. */
TEST(unused_numbers) {
    const kind *k;
    EACH_KIND(k) {
        double out[2][2 * MAX * SAMPLES];
        size_t i, n = k->n;
        scene s;
        open_scene(&s, k);
        apply(&s, AF_SLOPES_EXACT);
        run_scene(&s, 2 * n, s.out, out[0]);
        for (i = 0; i < n; i++) {
            if (k->pair[i] != AF_PAIR_CARTESIAN) af_params_view(store, 0)[i] = NAN;
            if (k->odd || (k->pair[i] == AF_PAIR_CARTESIAN && !k->even[i])) continue;
            af_params_view(store, 1)[i] = af_params_view(store, 1)[n + i] = NAN;
        }
        run_scene(&s, 2 * n, s.out, out[1]);
        CHECK(memcmp(out[0], out[1], 2 * n * SAMPLES * sizeof(double)) == 0);
        close_scene(&s);
    }
}

/* ---- memory that ends at the k-th call ---- */

/* Everything once; the first status that is not AF_OK. */
static af_status whole_life(const kind *k) {
    size_t i, n = k->n, shape = 6000; /* larger than a block */
    af_expr x[2 * MAX], y[2 * MAX], sum, g;
    af_shear_desc d = desc_of(k, NULL, NULL);
    af_shear *map = NULL;
    af_func_desc f = AF__ZERO;
    af_func *function = NULL;
    af_status status;
    d.width = 40; /* blocks fill sooner */
    d.layers = 12;
    status = af_params_create(context, 3, &store);
    if (status == AF_OK) status = af_shear_create(store, &d, &map);
    CHECK((status == AF_OK) == (map != NULL));
    for (i = 0; i < 2 * n; i++) x[i] = af_input(context, "x", 1, &shape);
    if (status == AF_OK) status = af_shear_apply(map, AF_SLOPES_FROZEN, x, x + n, y, y + n);
    if (status == AF_OK) status = af_shear_invert(map, AF_SLOPES_EXACT, y, y + n, y, y + n);
    for (i = 0; i < 2 * n && map; i++) CHECK((y[i].id != 0) == (status == AF_OK));
    if (status == AF_OK) {
        for (sum = af_constant(context, 0.0), i = 0; i < 2 * n; i++)
            sum = af_add(context, sum, af_sum(context, y[i]));
        g = af_params_grad(store, sum);
        x[2 * n] = af_params_input(store);
        f.inputs = x;
        f.input_count = 2 * n + 1;
        f.outputs = &g;
        f.output_count = 1;
        status = af_compile(context, &f, &function);
    }
    af_func_destroy(function);
    af_shear_destroy(map);
    return status;
}

/* Maps with many layers or many harmonics have arrays with blocks of their own. */
static af_status large_life(int harmonics) {
    static const af_pair pairs[4] = {AF_PAIR_ANGLE, AF_PAIR_ANGLE, AF_PAIR_CARTESIAN,
                                     AF_PAIR_CYCLIC};
    static const int even[4] = {1, 0, 1, 0};
    af_shear_desc d = AF__ZERO;
    af_shear *map = NULL;
    af_status status = af_params_create(context, 3, &store);
    d.freedoms = harmonics ? 4 : 2;
    d.width = 1;
    d.layers = harmonics ? 1 : 520;
    if (harmonics) d.pairs = pairs;
    if (harmonics) d.even = even;
    d.harmonics = harmonics ? 4500 : 1;
    if (status == AF_OK) status = af_shear_create(store, &d, &map);
    CHECK((status == AF_OK) == (map != NULL));
    af_shear_destroy(map);
    return status;
}

static void check_memory(int life) {
    long k, calls = 1;
    for (k = 0; k <= calls; k++) {
        store = NULL;
        if (open_context(k) == AF_OK) {
            af_status status = life > 1 ? large_life(life - 2)
                                        : whole_life(life ? &kinds[LAST - 1] : &kinds[11]);
            CHECK(status == (k ? AF_ERROR_MEMORY : AF_OK));
            if (k) CHECK_TEXT(af_error(context), "memory");
            af_params_destroy(store);
            af_context_destroy(context);
        } else CHECK(k == 1);
        CHECK(memory.live == 0);
        if (k == 0) calls = memory.calls;
    }
    CHECK(calls > 5);
}

TEST(memory) { check_memory(0); }
TEST(memory_of_even_pairs) { check_memory(1); }
TEST(memory_of_many_layers) { check_memory(2); }
TEST(memory_of_many_harmonics) { check_memory(3); }

int main(void) {
    RUN(definition);
    RUN(inverse);
    RUN(symplectic);
    RUN(frozen_is_exact_to_first_order);
    RUN(parameters);
    RUN(frozen_has_no_second_derivatives);
    RUN(equal_coordinates);
    RUN(periodic);
    RUN(odd);
    RUN(cyclic);
    RUN(even);
    RUN(ridge_closed_form);
    RUN(ridge_jacobian);
    RUN(ridge_refuses);
    RUN(poincare);
    RUN(names);
    RUN(defaults);
    RUN(beginning);
    RUN(save_and_load);
    RUN(refuses);
    RUN(refuses_pairs);
    RUN(refuses_names_and_sizes);
    RUN(refuses_coordinates);
    RUN(shapes);
    RUN(no_action);
    RUN(unused_numbers);
    RUN(memory);
    RUN(memory_of_even_pairs);
    RUN(memory_of_many_layers);
    RUN(memory_of_many_harmonics);
    return test_report();
}
