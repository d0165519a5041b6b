/* Learning: parameter store, networks, Adam and RAdam, schedules. */
#include "actionfinder.in.h"
#include "af_test.h"
#include "af_heap.h"
#include "af_private.h"

#if defined(__unix__) || defined(__APPLE__)
#  include <unistd.h>
#  define PROCESS ((long)getpid())
#  define FOLDER "/tmp"
#else
#  define PROCESS 0L
#  define FOLDER "."
#endif

static const af_expr no_expr = AF__ZERO;
static heap memory;
static af_context *context;

static af_status open_context(long fail_at) {
    return heap_open(&memory, fail_at, 1, &context);
}

static af_params *store; /* of the test that runs */

static void begin(void) {
    if (open_context(0) != AF_OK || af_params_create(context, 7, &store) != AF_OK) abort();
}

/* Nothing may be left: every object of the test has been destroyed. */
static void end(void) {
    af_params_destroy(store);
    af_context_destroy(context);
    CHECK(memory.live == 0);
}

/* The call fails with the status and a sentence that holds the words; clears the error. */
#define FAILS(call, status, words)                 \
    do {                                           \
        CHECK((call) == (status));                 \
        CHECK(af_error_status(context) == (status)); \
        CHECK_TEXT(af_error(context), words);      \
        af_error_clear(context);                   \
    } while (0)

static size_t add_view(const char *name, size_t rows, size_t columns) {
    size_t view = 999, dims[2];
    dims[0] = rows;
    dims[1] = columns;
    CHECK(af_params_add(store, name, 2, dims, AF_INIT_NORMAL, 1.0, &view) == AF_OK);
    return view;
}

/* Runs the expressions as functions of the store and at most one input more. */
static int evaluate(int threads, size_t count, const af_expr *y, af_expr x, const double *at,
                    double *const *out) {
    af_func_desc d = AF__ZERO;
    af_func *f = NULL;
    af_workspace *w = NULL;
    af_expr in[2];
    const void *from[2];
    void *to[8];
    size_t i;
    in[0] = af_params_input(store);
    in[1] = x;
    from[0] = af_params_data(store);
    from[1] = at;
    for (i = 0; i < count; i++) to[i] = out[i];
    d.inputs = in;
    d.input_count = x.id ? 2 : 1;
    d.outputs = y;
    d.output_count = count;
    if (af_compile(context, &d, &f) == AF_OK && af_workspace_create(f, threads, &w) == AF_OK)
        CHECK(af_run(f, w, from, to) == AF_OK);
    else printf("  %s\n", af_error(context));
    CHECK(w != NULL);
    af_workspace_destroy(w);
    af_func_destroy(f);
    return w != NULL;
}

static int evaluate_one(af_expr y, af_expr x, const double *at, double *out) {
    return evaluate(1, 1, &y, x, at, &out);
}

static double rms(const double *v, size_t n) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < n; i++) sum += v[i] * v[i];
    return sqrt(sum / (double)n);
}

static void fill_normal(double *v, size_t n, uint64_t stream) {
    size_t i;
    for (i = 0; i < n; i++) v[i] = af_random_normal(99, stream, i);
}

/* ---- parameter store ---- */

TEST(params_views) {
    size_t v = 0, shape[3] = {2, 3, 4}, scalar = 0;
    begin();
    CHECK(af_params_size(store) == 0 && af_params_count(store) == 0);
    CHECK(af_params_context(store) == context);
    CHECK(af_params_add(store, "a", 3, shape, AF_INIT_CONSTANT, 2.5, &v) == AF_OK && v == 0);
    CHECK(af_params_add(store, "b", 0, NULL, AF_INIT_CONSTANT, -1.0, &scalar) == AF_OK);
    CHECK(scalar == 1);
    CHECK(add_view("c", 5, 7) == 2);
    CHECK(af_params_add(store, "quiet", 1, shape, AF_INIT_CONSTANT, 0.0, NULL) == AF_OK);
    CHECK(af_params_count(store) == 4 && af_params_size(store) == 24 + 1 + 35 + 2);
    CHECK(strcmp(af_params_name(store, 2), "c") == 0);
    CHECK(af_params_view(store, 0) == af_params_data(store));
    CHECK(af_params_view(store, 1) == af_params_data(store) + 24);
    CHECK(af_params_view(store, 3) == af_params_data(store) + 60);
    CHECK(af_params_data(store)[0] == 2.5 && af_params_data(store)[23] == 2.5);
    CHECK(af_params_data(store)[24] == -1.0);
    end();
}

TEST(params_refuse) {
    size_t view = 77, dims[7] = {2, 2, 2, 2, 2, 2, 2}, empty[2] = {3, 0};
    size_t huge[2] = {SIZE_MAX / 8, 8};
    begin();
    add_view("a", 2, 2);
    FAILS(af_params_add(store, "a", 2, dims, AF_INIT_NORMAL, 1.0, &view), AF_ERROR_ARGUMENT, "'a'");
    FAILS(af_params_add(store, "", 2, dims, AF_INIT_NORMAL, 1.0, &view), AF_ERROR_ARGUMENT, "name");
    FAILS(af_params_add(store, NULL, 2, dims, AF_INIT_NORMAL, 1.0, &view), AF_ERROR_ARGUMENT,
          "name");
    FAILS(af_params_add(store, "r", 7, dims, AF_INIT_NORMAL, 1.0, &view), AF_ERROR_SHAPE, "7 axes");
    FAILS(af_params_add(store, "e", 2, empty, AF_INIT_NORMAL, 1.0, &view), AF_ERROR_SHAPE, "(3,0)");
    FAILS(af_params_add(store, "h", 2, huge, AF_INIT_NORMAL, 1.0, &view), AF_ERROR_SHAPE, "large");
    CHECK(view == 77 && af_params_count(store) == 1 && af_params_size(store) == 4);
    CHECK(af_params_expr(store, 1).id == 0);
    CHECK_TEXT(af_error(context), "no view 1");
    af_error_clear(context);
    CHECK(af_params_expr(store, 0).id != 0);
    FAILS(af_params_add(store, "late", 2, dims, AF_INIT_NORMAL, 1.0, &view), AF_ERROR_ARGUMENT,
          "before");
    CHECK(af_params_count(store) == 1);
    end();
}

TEST(params_empty) {
    begin();
    CHECK(af_params_input(store).id == 0);
    CHECK_TEXT(af_error(context), "none were declared");
    af_error_clear(context);
    CHECK(af_params_grad(store, af_constant(context, 1.0)).id == 0);
    CHECK_TEXT(af_error(context), "none were declared");
    end();
    af_params_destroy(NULL);
}

TEST(params_initial_values) {
    af_params *other, *same;
    size_t i, n = 40000, differs = 0;
    double mean = 0.0, square = 0.0, *x;
    begin();
    CHECK(af_params_create(context, 8, &other) == AF_OK);
    CHECK(af_params_create(context, 7, &same) == AF_OK);
    CHECK(af_params_add(store, "w", 1, &n, AF_INIT_NORMAL, 0.5, NULL) == AF_OK);
    CHECK(af_params_add(other, "w", 1, &n, AF_INIT_NORMAL, 0.5, NULL) == AF_OK);
    CHECK(af_params_add(same, "renamed", 1, &n, AF_INIT_NORMAL, 0.5, NULL) == AF_OK);
    x = af_params_data(store);
    CHECK(memcmp(x, af_params_data(same), n * sizeof *x) == 0);
    for (i = 0; i < n; i++) {
        mean += x[i] / (double)n;
        square += x[i] * x[i] / (double)n;
        differs += x[i] != af_params_data(other)[i];
    }
    CHECK_CLOSE(mean, 0.0, 5 * 0.5 / 200.0); /* 5 sigma of the mean of 200^2 */
    CHECK_CLOSE(square, 0.25, 5 * 0.25 * sqrt(2.0) / 200.0);
    CHECK(differs == n);
    af_params_destroy(other);
    af_params_destroy(same);
    end();
}

/* sum over the views of a smooth scalar, view 2 unused, and a penalty on the vector itself. */
static af_expr scalar_of_views(double penalty) {
    af_context *c = context;
    af_expr a = af_params_expr(store, 0), b = af_params_expr(store, 1);
    af_expr y = af_sum(c, af_sin(c, af_matmul(c, a, b)));
    y = af_add(c, y, af_mean(c, af_exp(c, af_mul(c, a, a))));
    if (penalty != 0.0)
        y = af_add(c, y, af_scale(c, af_sum(c, af_square(c, af_params_input(store))), penalty));
    return y;
}

static void check_flat_gradient(double penalty) {
    af_expr y, out[4], views[3];
    double flat[6 + 12 + 5], part[3][12], *to[4];
    size_t i, five = 5;
    begin();
    add_view("a", 2, 3);
    add_view("b", 3, 4);
    CHECK(af_params_add(store, "unused", 1, &five, AF_INIT_NORMAL, 1.0, NULL) == AF_OK);
    y = scalar_of_views(penalty);
    out[0] = af_params_grad(store, y);
    for (i = 0; i < 3; i++) views[i] = af_params_expr(store, i);
    CHECK(af_grad(context, scalar_of_views(0.0), 3, views, out + 1) == AF_OK);
    to[0] = flat;
    for (i = 0; i < 3; i++) to[i + 1] = part[i];
    if (evaluate(1, 4, out, no_expr, NULL, to)) {
        const double *x = af_params_data(store);
        for (i = 0; i < 6; i++) CHECK_CLOSE(flat[i], part[0][i] + 2 * penalty * x[i], 1e-15);
        for (i = 0; i < 12; i++)
            CHECK_CLOSE(flat[6 + i], part[1][i] + 2 * penalty * x[6 + i], 1e-15);
        for (i = 0; i < 5; i++) CHECK_CLOSE(flat[18 + i], 2 * penalty * x[18 + i], 1e-15);
    }
    for (i = 0; i < 23; i++) { /* against central differences of the loss itself */
        double *x = af_params_data(store) + i, kept = *x, above = 0, below = 0, h = 1e-5;
        *x = kept + h;
        evaluate_one(y, no_expr, NULL, &above);
        *x = kept - h;
        evaluate_one(y, no_expr, NULL, &below);
        *x = kept;
        CHECK_CLOSE(flat[i], (above - below) / (2 * h), 1e-7); /* h^2 and rounding / h */
    }
    end();
}

TEST(params_gradient) { check_flat_gradient(0.0); }
TEST(params_gradient_of_the_vector_too) { check_flat_gradient(0.3); }

TEST(params_gradient_of_a_single_view) {
    size_t n = 3;
    double g[3];
    af_expr y;
    begin();
    CHECK(af_params_add(store, "x", 1, &n, AF_INIT_CONSTANT, 3.0, NULL) == AF_OK);
    y = af_sum(context, af_square(context, af_params_expr(store, 0)));
    evaluate_one(af_params_grad(store, y), no_expr, NULL, g);
    CHECK(g[0] == 6.0 && g[1] == 6.0 && g[2] == 6.0);
    CHECK(af_params_grad(store, af_params_expr(store, 0)).id == 0); /* not a scalar */
    CHECK_TEXT(af_error(context), "scalar");
    end();
}

TEST(params_two_stores_in_one_context) {
    af_params *other;
    size_t n = 2;
    begin();
    CHECK(af_params_create(context, 1, &other) == AF_OK);
    CHECK(af_params_add(store, "x", 1, &n, AF_INIT_CONSTANT, 3.0, NULL) == AF_OK);
    CHECK(af_params_add(other, "x", 1, &n, AF_INIT_CONSTANT, 3.0, NULL) == AF_OK);
    CHECK(af_params_input(store).id != af_params_input(other).id);
    af_params_destroy(other);
    end();
}

static void fill_special(double *x, size_t n) {
    fill_normal(x, n, 4);
    x[0] = -0.0;
    x[1] = NAN;
    x[2] = INFINITY;
    x[3] = 4.9e-324;
}

TEST(params_file) {
    const char *folder = getenv("TMPDIR");
    char path[512];
    af_tensors *set;
    double kept[20];
    snprintf(path, sizeof path, "%s/af_test_learn_%ld", folder ? folder : FOLDER, PROCESS);
    begin();
    add_view("a", 2, 4);
    add_view("b", 3, 4);
    fill_special(af_params_data(store), 20);
    memcpy(kept, af_params_data(store), sizeof kept);
    CHECK(af_tensors_create(context, &set) == AF_OK);
    CHECK(af_params_save(store, set, "G/") == AF_OK);
    CHECK(af_params_save(store, set, NULL) == AF_OK);
    CHECK(af_tensors_count(set) == 4 && af_tensors_find(set, "G/b") && af_tensors_find(set, "b"));
    CHECK(af_tensors_write(set, path) == AF_OK);
    af_tensors_destroy(set);
    memset(af_params_data(store), 0, sizeof kept);
    if (af_tensors_read(context, path, &set) == AF_OK) {
        CHECK(af_params_load(store, set, "G/") == AF_OK);
        CHECK(memcmp(kept, af_params_data(store), sizeof kept) == 0);
        af_tensors_destroy(set);
    }
    CHECK(af_error_status(context) == AF_OK);
    remove(path);
    end();
}

/* A failed load says which array is wrong and changes nothing. */
TEST(params_load_refuses) {
    af_tensors *set;
    size_t right[2] = {2, 4}, wrong[2] = {4, 3};
    double values[12] = {1, 2, 3, 4}, kept[20];
    int64_t whole[12] = {1};
    char prefix[300];
    begin();
    add_view("a", 2, 4);
    add_view("b", 3, 4);
    memcpy(kept, af_params_data(store), sizeof kept);
    CHECK(af_tensors_create(context, &set) == AF_OK);
    CHECK(af_tensors_add(set, "a", AF_DTYPE_F64, 2, right, values) == AF_OK);
    FAILS(af_params_load(store, set, ""), AF_ERROR_FORMAT, "'b'");
    CHECK(af_tensors_add(set, "b", AF_DTYPE_F64, 2, wrong, values) == AF_OK);
    FAILS(af_params_load(store, set, ""), AF_ERROR_SHAPE, "'b'");
    CHECK(af_tensors_add(set, "i.a", AF_DTYPE_I64, 2, right, whole) == AF_OK);
    FAILS(af_params_load(store, set, "i."), AF_ERROR_FORMAT, "'i.a'");
    memset(prefix, 'p', sizeof prefix);
    prefix[299] = 0;
    FAILS(af_params_load(store, set, prefix), AF_ERROR_ARGUMENT, "longer");
    FAILS(af_params_save(store, set, prefix), AF_ERROR_ARGUMENT, "longer");
    FAILS(af_params_save(store, set, ""), AF_ERROR_ARGUMENT, "a"); /* it is there already */
    CHECK(memcmp(kept, af_params_data(store), sizeof kept) == 0);
    af_tensors_destroy(set);
    end();
}

/* ---- networks ---- */

static af_net *make_net(const af_net_desc *d) {
    af_net *net = NULL;
    if (af_net_create(store, d, &net) != AF_OK) printf("  %s\n", af_error(context));
    CHECK(net != NULL);
    return net;
}

static af_net_desc resdense(size_t inputs, size_t outputs, size_t depth) {
    af_net_desc d = AF__ZERO;
    d.architecture = AF_RESDENSE;
    d.inputs = inputs;
    d.outputs = outputs;
    d.depth = depth;
    d.weight_norm = 1;
    return d;
}

/* The sizes of the networks of the ACTIONFINDER, counted in the original. */
static void check_count(size_t depth, size_t inputs, size_t outputs, size_t expected) {
    af_net_desc d = resdense(inputs, outputs, depth);
    af_net *net;
    begin();
    net = make_net(&d);
    CHECK(af_params_size(store) == expected);
    af_net_destroy(net);
    end();
}

TEST(resdense_counts) {
    check_count(7, 9, 3, 17496323); /* G */
    check_count(5, 6, 6, 9095430);  /* P */
    check_count(7, 6, 3, 17496131); /* the acceleration */
}

/* Weight norm is for the dense layers of the blocks alone; D1 has no bias. */
TEST(resdense_views) {
    static const char *const names[] = {
        "g.0.weight", "g.0.bias",   "g.1.weight", "g.1.gain", "g.2.weight", "g.2.gain", "g.2.bias",
        "g.3.weight", "g.3.bias",   "g.4.weight", "g.4.gain", "g.5.weight", "g.5.gain", "g.5.bias",
        "g.6.weight", "g.6.bias",   "g.7.weight", "g.7.gain", "g.8.weight", "g.8.gain", "g.8.bias",
        "g.9.weight", "g.9.bias"};
    af_net_desc d = resdense(4, 1, 1); /* an input as wide as a block still gets its layer */
    af_net *net;
    size_t i;
    begin();
    d.name = "g";
    d.width = 4;
    d.max_width = 8;
    net = make_net(&d);
    CHECK(af_params_count(store) == AF__COUNT(names));
    for (i = 0; i < AF__COUNT(names) && i < af_params_count(store); i++)
        CHECK(strcmp(af_params_name(store, i), names[i]) == 0);
    af_net_destroy(net);
    end();
}

/* ---- a second, plain implementation of the networks, from the names of the views ---- */

static const double *find_view(const char *name, unsigned layer, const char *what) {
    char text[64];
    size_t i;
    snprintf(text, sizeof text, "%s.%u.%s", name, layer, what);
    for (i = 0; i < af_params_count(store); i++)
        if (strcmp(af_params_name(store, i), text) == 0) return af_params_view(store, i);
    return NULL;
}

static void plain_dense(unsigned layer, size_t in, size_t out, const long double *x,
                        long double *y) {
    const double *w = find_view("net", layer, "weight"), *g = find_view("net", layer, "gain"),
                 *b = find_view("net", layer, "bias");
    size_t i, j;
    for (j = 0; j < out; j++) {
        long double norm = 0, sum = 0;
        for (i = 0; i < in; i++) {
            norm += (long double)w[i * out + j] * w[i * out + j];
            sum += x[i] * w[i * out + j];
        }
        y[j] = (g ? sum * g[j] / sqrtl(norm) : sum) + (b ? b[j] : 0.0L);
    }
}

static long double plain_activation(af_activation a, long double x) {
    switch (a) {
    case AF_TANH: return tanhl(x);
    case AF_SOFTPLUS: return x > 0 ? x + log1pl(expl(-x)) : log1pl(expl(x));
    case AF_SIN: return sinl(x);
    case AF_RELU: return x > 0 ? x : 0;
    default: return x / (1 + expl(-x));
    }
}

static void plain_activate(af_activation a, size_t n, const long double *x, long double *y) {
    size_t i;
    for (i = 0; i < n; i++) y[i] = plain_activation(a, x[i]);
}

/* Widths are those of the tests: 6 for the multilayer perceptron; 4, 8, 8, 8, 4 for depth 2. */
static void plain_net(const af_net_desc *d, const double *x, double *y) {
    static const size_t widths[5] = {4, 8, 8, 8, 4};
    long double h[16] = {0}, u[16], v[16];
    size_t i, k, width = d->inputs;
    unsigned layer = 0;
    for (i = 0; i < width; i++) h[i] = x[i];
    for (k = 0; d->architecture == AF_MLP && k < d->depth; k++) {
        plain_dense(layer++, width, d->width, h, u);
        width = d->width;
        plain_activate(d->activation, width, u, h);
    }
    for (k = 0; d->architecture == AF_RESDENSE && k < 5; k++) {
        size_t next = widths[k];
        if (k == 0 || next != width) {
            plain_dense(layer++, width, next, h, u);
            memcpy(h, u, sizeof h);
        }
        width = next;
        plain_activate(d->activation, width, h, u);
        plain_dense(layer++, width, width, u, v);
        plain_activate(d->activation, width, v, u);
        plain_dense(layer++, width, width, u, v);
        for (i = 0; i < width; i++) h[i] += v[i];
    }
    plain_dense(layer, width, d->outputs, h, u);
    for (i = 0; i < d->outputs; i++) y[i] = (double)u[i];
}

static void check_against_plain(const af_net_desc *d) {
    size_t i, j, dims[3] = {2, 5, 3};
    double x[30], y[20], expected[2];
    af_net *net;
    af_expr in;
    begin();
    net = make_net(d);
    fill_normal(af_params_data(store), af_params_size(store), 1); /* biases and gains too */
    for (i = 0; i < af_params_size(store); i++) af_params_data(store)[i] *= 0.5;
    fill_normal(x, 30, 2);
    in = af_input(context, "x", 3, dims);
    if (evaluate_one(af_net_apply(net, in, no_expr), in, x, y)) {
        for (i = 0; i < 10; i++) {
            plain_net(d, x + 3 * i, expected);
            for (j = 0; j < 2; j++) CHECK_CLOSE(y[2 * i + j], expected[j], 2e-13);
        }
    }
    af_net_destroy(net);
    end();
}

TEST(networks_against_a_plain_implementation) {
    int activation, norm;
    for (activation = AF_SILU; activation <= AF_RELU; activation++) {
        for (norm = 0; norm < 2; norm++) {
            af_net_desc d = resdense(3, 2, 2);
            d.activation = (af_activation)activation;
            d.weight_norm = norm;
            d.width = 4;
            d.max_width = 8;
            check_against_plain(&d);
            d.architecture = AF_MLP;
            d.width = 6;
            d.depth = 3;
            check_against_plain(&d);
        }
    }
}

TEST(activations) {
    static const double x[9] = {-800.0, -30.0, -2.0, -0.25, 0.0, 0.25, 2.0, 30.0, 800.0};
    int activation;
    size_t i, n = 9;
    double y[9];
    begin();
    add_view("unused", 1, 1);
    for (activation = AF_SILU; activation <= AF_RELU; activation++) {
        af_expr in = af_input(context, "x", 1, &n);
        evaluate_one(af_activate(context, (af_activation)activation, in), in, x, y);
        for (i = 0; i < 9; i++) {
            double expected = (double)plain_activation((af_activation)activation, x[i]);
            CHECK_CLOSE(y[i], expected, 1e-15);
        }
    }
    end();
}

/* A new network is the zero function: what it corrects starts as the identity. Only its last layer
 * feels the first gradient. */
static void check_zero_start(af_architecture architecture, int random_last) {
    af_net_desc d = resdense(3, 2, 2);
    af_net *net;
    af_expr x, out[2];
    size_t i, dims[2] = {11, 3}, last = 8 * 2 + 2, n;
    double at[33], y[22], *gradient, *to[2];
    begin();
    d.architecture = architecture;
    d.width = d.max_width = 8;
    d.random_last = random_last;
    net = make_net(&d);
    n = af_params_size(store);
    gradient = (double *)malloc(n * sizeof *gradient);
    fill_normal(at, 33, 5);
    x = af_input(context, "x", 2, dims);
    out[0] = af_net_apply(net, x, no_expr);
    out[1] = af_square(context, af_offset(context, out[0], -1.0));
    out[1] = af_params_grad(store, af_mean(context, out[1]));
    to[0] = y;
    to[1] = gradient;
    evaluate(1, 2, out, x, at, to);
    for (i = 0; i < 22; i++) CHECK(random_last ? y[i] != 0.0 : y[i] == 0.0);
    for (i = 0; i < n - last && !random_last; i++) CHECK(gradient[i] == 0.0);
    CHECK(rms(gradient, n - last) > 0.0 || !random_last);
    CHECK(rms(gradient + n - last, last) > 1e-3);
    free(gradient);
    af_net_destroy(net);
    end();
}

TEST(networks_start_at_zero) {
    check_zero_start(AF_MLP, 0);
    check_zero_start(AF_RESDENSE, 0);
    check_zero_start(AF_MLP, 1);
    check_zero_start(AF_RESDENSE, 1);
}

/* Signals keep their size through the 15 blocks of the paper's depth: without care the residual
 * sums double their variance in each. */
TEST(resdense_keeps_the_size_of_signals) {
    int activation, norm;
    for (activation = AF_SILU; activation <= AF_RELU; activation++) {
        for (norm = 0; norm < 2; norm++) {
            af_net_desc d = resdense(6, 3, 7);
            size_t dims[2] = {40, 6};
            double at[240], y[120], size;
            af_net *net;
            af_expr x;
            begin();
            d.activation = (af_activation)activation;
            d.weight_norm = norm;
            d.max_width = 64;
            d.random_last = 1;
            net = make_net(&d);
            fill_normal(at, 240, 6);
            x = af_input(context, "x", 2, dims);
            evaluate_one(af_net_apply(net, x, no_expr), x, at, y);
            size = rms(y, 120);
            CHECK(size > 0.2 && size < 20.0);
            af_net_destroy(net);
            end();
        }
    }
}

static size_t find_index(const char *name) {
    size_t i;
    for (i = 0; i < af_params_count(store); i++)
        if (strcmp(af_params_name(store, i), name) == 0) return i;
    printf("  no view %s\n", name);
    test_broken++;
    return 0;
}

/* w = g v/|v|: the output does not change with |v|, so the gradient by v is orthogonal to v, column
 * by column. */
TEST(weight_norm) {
    af_net_desc d = resdense(3, 2, 1);
    af_net *net;
    af_expr x, out[2];
    size_t i, j, dims[2] = {7, 3}, n, view, at_v;
    double at[21], y[14], scaled[14], *gradient, *v, *to[2];
    begin();
    d.width = d.max_width = 4;
    d.random_last = 1;
    net = make_net(&d);
    n = af_params_size(store);
    gradient = (double *)malloc(n * sizeof *gradient);
    fill_normal(at, 21, 7);
    x = af_input(context, "x", 2, dims);
    out[0] = af_net_apply(net, x, no_expr);
    out[1] = af_params_grad(store, af_sum(context, af_exp(context, out[0])));
    to[0] = y;
    to[1] = gradient;
    evaluate(1, 2, out, x, at, to);
    view = find_index("net.1.weight");
    v = af_params_view(store, view);
    at_v = (size_t)(v - af_params_data(store));
    for (j = 0; j < 4; j++) {
        double dot = 0.0, size = 0.0;
        for (i = 0; i < 4; i++) {
            dot += v[4 * i + j] * gradient[at_v + 4 * i + j];
            size += fabs(v[4 * i + j] * gradient[at_v + 4 * i + j]);
        }
        CHECK(size > 1e-3);
        CHECK_CLOSE(dot / size, 0.0, 1e-13);
    }
    for (i = 0; i < 16; i++) v[i] *= i % 4 == 2 ? 8.0 : 0.3;
    evaluate_one(out[0], x, at, scaled);
    for (i = 0; i < 14; i++) CHECK_CLOSE(scaled[i], y[i], 1e-14);
    for (j = 0; j < 4; j++) af_params_view(store, view + 1)[j] *= 2.0; /* the gains do matter */
    evaluate_one(out[0], x, at, scaled);
    CHECK(fabs(scaled[0] - y[0]) > 1e-3);
    free(gradient);
    af_net_destroy(net);
    end();
}

/* The gains start at the norm that the columns have on average, so that weight norm hardly changes
 * a new network. */
TEST(weight_norm_at_the_start) {
    af_net_desc d = resdense(3, 2, 1);
    af_net *net;
    size_t i, j, view;
    double mean = 0.0;
    begin();
    d.max_width = 64;
    net = make_net(&d);
    view = find_index("net.2.weight");
    for (j = 0; j < 64; j++) {
        double square = 0.0;
        for (i = 0; i < 64; i++) square += pow(af_params_view(store, view)[64 * i + j], 2);
        mean += sqrt(square) / af_params_view(store, view + 1)[j] / 64.0;
    }
    /* the norm of 64 normals is sqrt(64) (1 - 1/256) on average, and sqrt(1/2) about it */
    CHECK_CLOSE(mean, 1.0 - 1.0 / 256.0, 5 * sqrt(0.5) / 8.0 / 8.0);
    af_net_destroy(net);
    end();
}

/* ---- dropout ---- */

TEST(dropout_masks) {
    enum { ROWS = 500, WIDTH = 40, N = ROWS * WIDTH };
    af_net_desc d = resdense(3, 2, 1);
    af_net *net, *second;
    af_expr seed, ones, y[4];
    size_t i, dims[2] = {ROWS, WIDTH}, dropped = 0, same_place = 0, same_net = 0;
    double *out[4], mean = 0.0, number = 12.0, n = N;
    begin();
    d.dropout = 0.3;
    d.dropout_above = 32;
    net = make_net(&d);
    d.name = "second";
    second = make_net(&d);
    for (i = 0; i < 4; i++) out[i] = (double *)malloc(N * sizeof **out);
    seed = af_input(context, "seed", 0, NULL);
    ones = af_full(context, 2, dims, 1.0);
    y[0] = test_dropout(net, ones, WIDTH, 0, seed);
    y[1] = test_dropout(net, ones, WIDTH, 1, seed);
    y[2] = test_dropout(second, ones, WIDTH, 0, seed);
    y[3] = test_dropout(net, ones, WIDTH, 0, af_offset(context, seed, 1.0));
    CHECK(test_dropout(net, ones, 32, 0, seed).id == ones.id); /* not wider than dropout_above */
    CHECK(test_dropout(net, ones, 33, 0, seed).id != ones.id);
    CHECK(test_dropout(net, ones, WIDTH, 0, no_expr).id == ones.id);
    evaluate(1, 4, y, seed, &number, out);
    for (i = 0; i < N; i++) {
        if (out[0][i] == 0.0) dropped++;
        else CHECK_CLOSE(out[0][i], 1.0 / 0.7, 1e-15);
        mean += out[0][i] / n;
        same_place += out[0][i] == out[1][i];
        same_net += out[0][i] == out[2][i];
    }
    /* 5 sigma of binomials: sqrt(p q / N), and two masks agree with 0.3^2 + 0.7^2 = 0.58 */
    CHECK_CLOSE((double)dropped / n, 0.3, 5 * sqrt(0.21 / n));
    CHECK_CLOSE(mean, 1.0, 5 * sqrt(0.3 / 0.7 / n));
    CHECK_CLOSE((double)same_place / n, 0.58, 5 * sqrt(0.58 * 0.42 / n));
    CHECK_CLOSE((double)same_net / n, 0.58, 5 * sqrt(0.58 * 0.42 / n));
    CHECK(memcmp(out[0], out[3], N * sizeof **out) != 0);
    number = 11.0; /* the mask of seed + 1 is that of 12 */
    evaluate_one(y[3], seed, &number, out[1]);
    CHECK(memcmp(out[0], out[1], N * sizeof **out) == 0);
    for (i = 0; i < 4; i++) free(out[i]);
    af_net_destroy(net);
    af_net_destroy(second);
    end();
}

/* Whole networks: evaluation has no dropout, narrow ones never, and a mask belongs to (seed,
 * element), so threads do not change a bit. */
TEST(dropout_in_networks) {
    static const int threads[4] = {1, 2, 3, 8};
    af_net_desc d = resdense(3, 2, 2);
    af_net *net, *narrow;
    af_expr x, out[3], grad;
    size_t i, k, dims[2] = {300, 3}, n;
    double *at = (double *)malloc(900 * sizeof *at), *y[3], *first[3], *gradient[2];
    begin();
    d.dropout = 0.5;
    d.dropout_above = 16;
    d.width = 16;
    d.max_width = 64;
    d.random_last = 1;
    net = make_net(&d);
    d.name = "narrow";
    d.max_width = 16;
    narrow = make_net(&d);
    n = af_params_size(store);
    fill_normal(at, 900, 8);
    x = af_input(context, "x", 2, dims);
    out[0] = af_net_apply(net, x, no_expr);
    out[1] = af_net_apply(net, x, af_constant(context, 5.0));
    out[2] = af_net_apply(net, x, af_constant(context, 6.0));
    CHECK(af_net_apply(narrow, x, af_constant(context, 5.0)).id ==
          af_net_apply(narrow, x, no_expr).id);
    CHECK(af_net_apply(net, x, af_constant(context, 5.0)).id == out[1].id); /* one mask a step */
    for (i = 0; i < 3; i++) {
        y[i] = (double *)malloc(600 * sizeof **y);
        first[i] = (double *)malloc(600 * sizeof **first);
    }
    for (i = 0; i < 2; i++) gradient[i] = (double *)malloc(n * sizeof **gradient);
    grad = af_params_grad(store, af_mean(context, af_square(context, out[1])));
    evaluate(1, 3, out, x, at, first);
    CHECK(memcmp(first[0], first[1], 600 * sizeof **y) != 0);
    CHECK(memcmp(first[1], first[2], 600 * sizeof **y) != 0);
    evaluate(1, 1, &grad, x, at, gradient);
    for (k = 1; k < 4; k++) {
        evaluate(threads[k], 3, out, x, at, y);
        for (i = 0; i < 3; i++) CHECK(memcmp(y[i], first[i], 600 * sizeof **y) == 0);
        evaluate(threads[k], 1, &grad, x, at, gradient + 1);
        CHECK(memcmp(gradient[0], gradient[1], n * sizeof **gradient) == 0);
    }
    for (i = 0; i < 3; i++) free(y[i]);
    for (i = 0; i < 3; i++) free(first[i]);
    for (i = 0; i < 2; i++) free(gradient[i]);
    free(at);
    af_net_destroy(net);
    af_net_destroy(narrow);
    end();
}

TEST(networks_refuse) {
    af_net_desc d = resdense(3, 2, 1);
    af_net *net;
    size_t one = 3, wrong[2] = {5, 4};
    char name[400];
    begin();
    d.width = d.max_width = 4;
    d.start_canary = 1;
    FAILS(af_net_create(store, &d, &net), AF_ERROR_ARGUMENT, "zero");
    d.start_canary = 0;
    d.inputs = 0;
    FAILS(af_net_create(store, &d, &net), AF_ERROR_ARGUMENT, "inputs");
    d.inputs = 3;
    d.dropout = 1.0;
    FAILS(af_net_create(store, &d, &net), AF_ERROR_ARGUMENT, "dropout");
    d.dropout = NAN;
    FAILS(af_net_create(store, &d, &net), AF_ERROR_ARGUMENT, "dropout");
    d.dropout = 0.0;
    d.activation = (af_activation)6;
    FAILS(af_net_create(store, &d, &net), AF_ERROR_ARGUMENT, "activation 6");
    d.activation = AF_SILU;
    memset(name, 'n', sizeof name);
    name[399] = 0;
    d.name = name;
    FAILS(af_net_create(store, &d, &net), AF_ERROR_ARGUMENT, "too long");
    d.name = NULL;
    d.max_width = d.width = SIZE_MAX / 2;
    FAILS(af_net_create(store, &d, &net), AF_ERROR_SHAPE, "net.0.weight");
    d.max_width = d.width = 4;
    CHECK(net == NULL && af_params_count(store) == 0);
    CHECK(af_net_create(store, &d, &net) == AF_OK);
    if (net) {
        af_net *twin;
        FAILS(af_net_create(store, &d, &twin), AF_ERROR_ARGUMENT, "net.0.weight");
        CHECK(af_net_apply(net, af_input(context, "x", 2, wrong), no_expr).id == 0);
        CHECK_TEXT(af_error(context), "(5,4)");
        af_error_clear(context);
        CHECK(af_net_apply(net, af_input(context, "x", 1, &one), no_expr).id == 0);
        af_error_clear(context);
        CHECK(af_net_apply(net, no_expr, no_expr).id == 0);
        af_net_destroy(net);
    }
    af_net_destroy(NULL);
    end();
}

/* ---- Adam and RAdam ---- */

static af_adam *make_adam(const af_adam_desc *d, size_t n) {
    af_adam *adam = NULL;
    CHECK(af_adam_create(context, d, n, &adam) == AF_OK);
    return adam;
}

/* The published algorithms, step t = 1, 2, ..., for one parameter. */
typedef struct plain_adam {
    long double m, v, x;
} plain_adam;

static void plain_step(plain_adam *s, const af_adam_desc *d, int t, long double g,
                       long double rate) {
    long double b1 = d->beta1, b2 = d->beta2, longest = 2 / (1 - b2) - 1, length, step, r;
    s->m = b1 * s->m + (1 - b1) * g;
    s->v = b2 * s->v + (1 - b2) * g * g;
    length = longest - 2 * t * powl(b2, t) / (1 - powl(b2, t));
    step = s->m / (1 - powl(b1, t));
    if (d->method == AF_ADAM) step /= sqrtl(s->v / (1 - powl(b2, t))) + d->epsilon;
    if (d->method == AF_RADAM && length > 5) {
        r = sqrtl((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
        step *= r / (sqrtl(s->v / (1 - powl(b2, t))) + d->epsilon);
    }
    s->x = s->x * (1 - rate * d->weight_decay) - rate * step;
}

static void check_adam(const af_adam_desc *d) {
    enum { N = 5, STEPS = 300 };
    plain_adam plain[N];
    double x[N], g[N], rate;
    af_adam *adam;
    int t, i;
    memset(plain, 0, sizeof plain);
    begin();
    adam = make_adam(d, N);
    for (i = 0; i < N; i++) plain[i].x = x[i] = 1.0 + i;
    for (t = 1; adam && t <= STEPS; t++) {
        long double norm = 0, scale = 1;
        fill_normal(g, N, (uint64_t)(1000 + t));
        for (i = 0; i < N; i++) g[i] *= pow(10.0, i - 2);
        for (i = 0; i < N; i++) norm += (long double)g[i] * g[i];
        norm = sqrtl(norm);
        if (d->clip > 0 && norm > d->clip) scale = d->clip / norm;
        rate = 0.01 + 0.01 * (t % 7);
        CHECK(af_adam_step(adam, x, g, rate) == AF_OK);
        for (i = 0; i < N; i++) plain_step(&plain[i], d, t, scale * g[i], rate);
        for (i = 0; i < N; i++) CHECK_CLOSE(x[i], plain[i].x, 1e-12);
    }
    CHECK(fabs(x[0] - 1.0) > 1e-3 && fabs(x[4] - 5.0) > 1e-3);
    af_adam_destroy(adam);
    end();
}

TEST(adam_against_the_published_algorithm) {
    int variant;
    for (variant = 0; variant < 8; variant++) {
        af_adam_desc d = AF__ZERO;
        d.method = variant & 1 ? AF_RADAM : AF_ADAM;
        d.beta1 = 0.9;
        d.beta2 = variant & 2 ? 0.95 : 0.999;
        d.epsilon = 1e-8;
        d.weight_decay = variant & 2 ? 0.1 : 0.0;
        d.clip = variant & 4 ? 3.0 : 0.0;
        check_adam(&d);
    }
}

TEST(adam_defaults) {
    af_adam_desc d = AF__ZERO;
    double a[2] = {1, 2}, b[2] = {1, 2}, g[2] = {0.3, -4};
    af_adam *zero, *none;
    begin();
    zero = make_adam(&d, 2);
    d.beta1 = 0.9;
    d.beta2 = 0.999;
    d.epsilon = 1e-8;
    none = make_adam(NULL, 2);
    CHECK(af_adam_step(zero, a, g, 0.1) == AF_OK && af_adam_step(none, b, g, 0.1) == AF_OK);
    CHECK(memcmp(a, b, sizeof a) == 0);
    CHECK_CLOSE(a[0], 0.9, 1e-8); /* the first step of Adam is the rate, against the gradient */
    CHECK_CLOSE(a[1], 2.1, 1e-8);
    af_adam_destroy(zero);
    af_adam_destroy(none);
    af_adam_destroy(NULL);
    end();
}

/* Rosenbrock's valley, minimum at (1, 1); or a quadratic with condition 1e4, minimum at (2, -3). */
static void slope(int valley, const double *x, double *g) {
    if (valley) {
        double bend = x[1] - x[0] * x[0];
        g[0] = -400 * x[0] * bend - 2 * (1 - x[0]);
        g[1] = 200 * bend;
    } else {
        g[0] = 1e-2 * (x[0] - 2);
        g[1] = 1e2 * (x[1] + 3);
    }
}

TEST(adam_converges) {
    static const double target[2][2] = {{2, -3}, {1, 1}};
    int method, valley, t, steps = 20000;
    af_schedule s = AF__ZERO;
    s.rate = 0.05;
    s.last = 1e-4;
    for (method = AF_ADAM; method <= AF_RADAM; method++) {
        for (valley = 0; valley < 2; valley++) {
            af_adam_desc d = AF__ZERO;
            double x[2] = {-1.2, 1.0}, g[2];
            af_adam *adam;
            begin();
            d.method = (af_optimiser)method;
            d.clip = 10.0; /* RAdam's first steps are not normalised */
            adam = make_adam(&d, 2);
            for (t = 0; t < steps; t++) {
                slope(valley, x, g);
                CHECK(af_adam_step(adam, x, g, af_schedule_rate(&s, (double)t / steps)) == AF_OK);
            }
            CHECK_CLOSE(x[0], target[valley][0], 1e-4);
            CHECK_CLOSE(x[1], target[valley][1], 1e-4);
            af_adam_destroy(adam);
            end();
        }
    }
}

/* A gradient that is not finite changes neither x nor the state: the run goes on as without it. */
TEST(adam_not_finite) {
    static const double bad[4] = {NAN, INFINITY, -INFINITY, 1e200}; /* the square of the last */
    double x[3] = {1, 2, 3}, y[3] = {1, 2, 3}, kept[3], g[3];
    af_adam *adam, *calm;
    size_t i, k;
    begin();
    adam = make_adam(NULL, 3);
    calm = make_adam(NULL, 3);
    for (i = 0; i < 12; i++) {
        for (k = 0; k < 3; k++) g[k] = 0.1 * (double)(i + k);
        g[i % 3] = bad[i / 3];
        memcpy(kept, x, sizeof x);
        FAILS(af_adam_step(adam, x, g, 0.01), AF_ERROR_NONFINITE, "not finite at step");
        CHECK(memcmp(kept, x, sizeof x) == 0);
        g[i % 3] = 0.5;
        CHECK(af_adam_step(adam, x, g, 0.01) == AF_OK);
        CHECK(af_adam_step(calm, y, g, 0.01) == AF_OK);
    }
    CHECK(memcmp(x, y, sizeof x) == 0);
    af_adam_destroy(adam);
    af_adam_destroy(calm);
    end();
}

/* With a clip, huge but finite gradients are only a direction; small ones are left alone. */
TEST(adam_clips) {
    af_adam_desc d = AF__ZERO;
    double x[2] = {0, 0}, y[2] = {0, 0}, g[2] = {3e200, -4e200}, unit[2] = {0.6, -0.8};
    double small[2] = {0.3, 0.4};
    af_adam *adam, *free_adam;
    begin();
    free_adam = make_adam(&d, 2);
    d.clip = 1.0;
    adam = make_adam(&d, 2);
    CHECK(af_adam_step(adam, x, g, 0.1) == AF_OK && af_adam_step(free_adam, y, unit, 0.1) == AF_OK);
    CHECK_CLOSE(test_adam_first(adam)[0], test_adam_first(free_adam)[0], 1e-16);
    CHECK_CLOSE(test_adam_first(adam)[1], test_adam_first(free_adam)[1], 1e-16);
    CHECK_CLOSE(x[0], y[0], 1e-15);
    CHECK(af_adam_step(adam, x, small, 0.1) == AF_OK);
    CHECK_CLOSE(test_adam_first(adam)[0], 0.9 * 0.06 + 0.1 * 0.3, 1e-15);
    af_adam_destroy(adam);
    af_adam_destroy(free_adam);
    end();
}

TEST(adam_file) {
    af_adam_desc d = AF__ZERO;
    double x[3] = {1, 2, 3}, y[3], g[3];
    af_tensors *set, *hurt;
    af_adam *adam, *copy, *larger;
    size_t t, three = 3;
    begin();
    d.method = AF_RADAM;
    adam = make_adam(&d, 3);
    copy = make_adam(&d, 3);
    larger = make_adam(&d, 4);
    CHECK(af_tensors_create(context, &set) == AF_OK && af_tensors_create(context, &hurt) == AF_OK);
    for (t = 0; t < 20; t++) {
        fill_normal(g, 3, t);
        CHECK(af_adam_step(adam, x, g, 0.1) == AF_OK);
        if (t == 9) {
            CHECK(af_adam_save(adam, set) == AF_OK);
            memcpy(y, x, sizeof x);
        }
    }
    FAILS(af_adam_load(copy, hurt), AF_ERROR_FORMAT, "adam.first");
    CHECK(af_tensors_add(hurt, "adam.first", AF_DTYPE_F64, 1, &three, g) == AF_OK);
    CHECK(af_tensors_add(hurt, "adam.second", AF_DTYPE_F64, 1, &three, g) == AF_OK);
    FAILS(af_adam_load(copy, hurt), AF_ERROR_FORMAT, "adam.step");
    CHECK(test_adam_first(copy)[0] == 0.0 && test_adam_second(copy)[0] == 0.0);
    CHECK(test_adam_step(copy) == 0);
    FAILS(af_adam_load(larger, set), AF_ERROR_SHAPE, "adam.first");
    CHECK(af_adam_load(copy, set) == AF_OK);
    for (t = 10; t < 20; t++) {
        fill_normal(g, 3, t);
        CHECK(af_adam_step(copy, y, g, 0.1) == AF_OK);
    }
    CHECK(memcmp(x, y, sizeof x) == 0);
    af_tensors_destroy(set);
    af_tensors_destroy(hurt);
    af_adam_destroy(adam);
    af_adam_destroy(copy);
    af_adam_destroy(larger);
    end();
}

TEST(adam_refuses) {
    static const double values[5][5] = {/* beta1, beta2, epsilon, weight decay, clip */
                                        {1.0, 0, 0, 0, 0},
                                        {0, -0.5, 0, 0, 0},
                                        {0, 0, -1, 0, 0},
                                        {0, 0, 0, NAN, 0},
                                        {0, 0, 0, 0, -3}};
    af_adam_desc d = AF__ZERO;
    af_adam *adam;
    size_t i;
    begin();
    for (i = 0; i < 5; i++) {
        d.beta1 = values[i][0];
        d.beta2 = values[i][1];
        d.epsilon = values[i][2];
        d.weight_decay = values[i][3];
        d.clip = values[i][4];
        FAILS(af_adam_create(context, &d, 3, &adam), AF_ERROR_ARGUMENT, "Adam");
        CHECK(adam == NULL);
    }
    memset(&d, 0, sizeof d);
    d.method = (af_optimiser)2;
    FAILS(af_adam_create(context, &d, 3, &adam), AF_ERROR_ARGUMENT, "no method 2");
    d.method = AF_ADAM;
    d.end_canary = 5;
    FAILS(af_adam_create(context, &d, 3, &adam), AF_ERROR_ARGUMENT, "zero");
    end();
}

/* ---- schedules ---- */

TEST(schedules) {
    int kind, i;
    for (kind = AF_SCHEDULE_COSINE; kind <= AF_SCHEDULE_STEP; kind++) {
        af_schedule s = AF__ZERO;
        double before, end_rate;
        s.kind = (af_schedule_kind)kind;
        s.rate = 0.2;
        s.last = 1.0 / 64.0;
        s.warmup = 0.1;
        CHECK_CLOSE(af_schedule_rate(&s, 0.0), 0.2e-3, 1e-16);
        CHECK_CLOSE(af_schedule_rate(&s, 0.05), 0.1, 0.2e-3);
        CHECK_CLOSE(af_schedule_rate(&s, 0.1), 0.2, 1e-15);
        end_rate = kind == AF_SCHEDULE_CONSTANT ? 0.2 : 0.2 / 64.0;
        CHECK_CLOSE(af_schedule_rate(&s, 1.0), end_rate, 1e-15);
        CHECK(af_schedule_rate(&s, -3.0) == af_schedule_rate(&s, 0.0));
        CHECK(af_schedule_rate(&s, 9.0) == af_schedule_rate(&s, 1.0));
        CHECK(af_schedule_rate(&s, NAN) == af_schedule_rate(&s, 0.0));
        before = af_schedule_rate(&s, 0.0);
        for (i = 1; i <= 1000; i++) {
            double rate = af_schedule_rate(&s, i / 1000.0);
            CHECK(i <= 100 ? rate > before : rate <= before);
            CHECK(rate <= 0.2 * (1 + 1e-15));
            before = rate;
        }
    }
}

TEST(schedule_shapes) {
    af_schedule s = AF__ZERO;
    CHECK_CLOSE(af_schedule_rate(&s, 0.02), 1e-3, 1e-18); /* the defaults */
    CHECK_CLOSE(af_schedule_rate(&s, 1.0), 1e-5, 1e-18);
    s.rate = 1.0;
    s.last = 0.01;
    s.warmup = -1.0;
    CHECK_CLOSE(af_schedule_rate(&s, 0.0), 1.0, 1e-15); /* no warm-up */
    CHECK_CLOSE(af_schedule_rate(&s, 0.5), 0.505, 1e-15);
    s.kind = AF_SCHEDULE_EXPONENTIAL;
    CHECK_CLOSE(af_schedule_rate(&s, 0.5), 0.1, 1e-15);
    s.kind = AF_SCHEDULE_STEP;
    CHECK(af_schedule_rate(&s, 0.499) == 1.0 && af_schedule_rate(&s, 0.5) == 0.5);
    CHECK(af_schedule_rate(&s, 0.75) == 0.25 && af_schedule_rate(&s, 0.874) == 0.25);
    CHECK(af_schedule_rate(&s, 0.875) == 0.125 && af_schedule_rate(&s, 1.0) == 0.01);
    s.last = -1.0; /* ends all the same */
    CHECK(af_schedule_rate(&s, 1.0) == 0.0);
    s.kind = AF_SCHEDULE_CONSTANT;
    s.warmup = 1.0; /* nothing but warm-up */
    CHECK_CLOSE(af_schedule_rate(&s, 0.999), 0.999, 1e-5);
    CHECK(af_schedule_rate(&s, 1.0) == 1.0);
}

/* ---- memory ---- */

static af_status build_and_save(void) {
    af_net_desc d = resdense(3, 2, 2);
    af_net *net = NULL;
    af_adam *adam = NULL;
    af_tensors *set = NULL;
    size_t dims[2] = {4, 3};
    af_status s;
    store = NULL;
    d.width = 16;
    d.max_width = 32;
    s = af_params_create(context, 3, &store);
    if (s == AF_OK) s = af_net_create(store, &d, &net);
    if (s == AF_OK) {
        af_expr y = af_net_apply(net, af_input(context, "x", 2, dims), no_expr);
        if (!af_params_grad(store, af_mean(context, y)).id) s = af_error_status(context);
        if (s == AF_OK) s = af_error_status(context);
    }
    if (s == AF_OK) s = af_adam_create(context, NULL, af_params_size(store), &adam);
    if (s == AF_OK) s = af_tensors_create(context, &set);
    if (s == AF_OK) s = af_params_save(store, set, "");
    if (s == AF_OK) s = af_adam_save(adam, set);
    if (s == AF_OK) s = af_params_load(store, set, "");
    if (s == AF_OK) s = af_adam_load(adam, set);
    af_tensors_destroy(set);
    af_adam_destroy(adam);
    af_net_destroy(net);
    af_params_destroy(store);
    return s;
}

TEST(memory_fails_at_every_call) {
    long k, calls = 0;
    af_status s = AF_ERROR_MEMORY;
    for (k = 1; s != AF_OK && k < 10000; k++) {
        s = open_context(k);
        CHECK(s == AF_OK || (s == AF_ERROR_MEMORY && k == 1));
        if (s == AF_OK) {
            s = build_and_save();
            CHECK(s == AF_OK || s == AF_ERROR_MEMORY);
            if (s != AF_OK) CHECK_TEXT(af_error(context), "out of memory");
            CHECK(s != AF_OK || memory.calls < k); /* no failure was swallowed */
            af_context_destroy(context);
        }
        CHECK(memory.live == 0);
        calls = k;
    }
    CHECK(s == AF_OK && calls > 20);
}

int main(void) {
    RUN(params_views);
    RUN(params_refuse);
    RUN(params_empty);
    RUN(params_initial_values);
    RUN(params_gradient);
    RUN(params_gradient_of_the_vector_too);
    RUN(params_gradient_of_a_single_view);
    RUN(params_two_stores_in_one_context);
    RUN(params_file);
    RUN(params_load_refuses);
    RUN(resdense_counts);
    RUN(resdense_views);
    RUN(networks_against_a_plain_implementation);
    RUN(activations);
    RUN(networks_start_at_zero);
    RUN(resdense_keeps_the_size_of_signals);
    RUN(weight_norm);
    RUN(weight_norm_at_the_start);
    RUN(dropout_masks);
    RUN(dropout_in_networks);
    RUN(networks_refuse);
    RUN(adam_against_the_published_algorithm);
    RUN(adam_defaults);
    RUN(adam_converges);
    RUN(adam_not_finite);
    RUN(adam_clips);
    RUN(adam_file);
    RUN(adam_refuses);
    RUN(schedules);
    RUN(schedule_shapes);
    RUN(memory_fails_at_every_call);
    return test_report();
}
