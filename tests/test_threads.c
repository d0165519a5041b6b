/* Equal bytes for any number of threads; functions shared by threads. Without OpenMP it compares
 * runs. */
#include "actionfinder.in.h"

#include "af_test.h"

#include "af_reference.h"

/* Read by the leak checker: clang's OpenMP library does not free the teams it made for itself. */
#ifdef __cplusplus
extern "C" {
#endif
const char *__lsan_default_suppressions(void);
const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void) { return "leak:libomp"; }
const char *__lsan_default_options(void) { return "print_suppressions=0"; }
#ifdef __cplusplus
}
#endif

enum { INPUTS = 3, OUTPUTS = 15 };

/* Tiles over several chunks, sums of every mode, products of every mode, random numbers. */
static void build(af_context *c, af_expr *in, af_expr *out) {
    size_t dx[2] = {3000, 64}, dw[2] = {64, 70}, dims[3] = {30, 100, 64}, many = 50000, n = 0, k;
    size_t batch[3] = {40, 75, 64};
    af_expr x, w, seed, h, wide, loss, index, g[2];
    double *rows = test_array(2000);
    in[0] = x = af_input(c, "x", 2, dx);
    in[1] = w = af_input(c, "w", 2, dw);
    in[2] = seed = af_input(c, "seed", 0, NULL);
    h = af_tanh(c, af_matmul(c, x, w)); /* tall: many units */
    wide = af_reshape(c, x, 3, dims);
    loss = af_mean(c, af_square(c, h));
    af_grad(c, loss, 2, in, g); /* by w: deep, the depth is cut */
    for (k = 0; k < 2000; k++) rows[k] = floor(3000 * af_random_uniform(5, 5, k));
    dims[0] = 2000;
    index = af_constant_array(c, 1, dims, rows);
    out[n++] = h;
    out[n++] = loss;
    out[n++] = g[0];
    out[n++] = g[1];
    out[n++] = af_sum_axis(c, x, 0); /* columns */
    out[n++] = af_sum_axis(c, x, 1); /* rows */
    for (k = 0; k < 3; k++) out[n++] = af_sum_axis(c, af_sin(c, wide), (int)k);
    out[n++] = af_sum_axis(c, af_transpose(c, wide), 2);
    out[n++] = af_matmul(c, af_transpose(c, x), af_exp(c, x)); /* (64, 64) of depth 3000 */
    out[n++] =
        af_matmul(c, af_transpose(c, af_reshape(c, x, 3, batch)), af_reshape(c, x, 3, batch));
    out[n++] = af_log(c, af_random(c, 1, &many, seed, 9));
    out[n++] = af_scatter(c, af_gather(c, x, index), index, 3000);
    out[n++] = af_sum(c, af_mul(c, af_random(c, 2, dx, seed, 4), x));
    CHECK(n == OUTPUTS);
    free(rows);
}

static void compile(af_context *c, af_precision precision, const af_expr *in, const af_expr *out,
                    af_func **f) {
    af_func_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.inputs = in;
    desc.input_count = INPUTS;
    desc.outputs = out;
    desc.output_count = OUTPUTS;
    desc.precision = precision;
    CHECK(af_compile(c, &desc, f) == AF_OK);
}

/* Inputs, and a set of outputs with the bytes of each. */
typedef struct arrays {
    void *from[INPUTS], *to[OUTPUTS];
    size_t bytes[OUTPUTS];
} arrays;

static void arrays_begin(arrays *a, af_context *c, af_precision precision, const af_expr *in,
                         const af_expr *out) {
    size_t i, k;
    for (i = 0; i < INPUTS; i++) {
        double *x = test_array(af_size(c, in[i]));
        for (k = 0; k < af_size(c, in[i]); k++)
            x[k] = i == 2 ? 99 : af_random_uniform(1, i, k) - 0.5;
        a->from[i] = test_convert(precision, x, af_size(c, in[i]));
        free(x);
    }
    for (i = 0; i < OUTPUTS; i++) {
        a->bytes[i] = af_size(c, out[i]) * (precision == AF_F64 ? sizeof(double) : sizeof(float));
        a->to[i] = test_convert(precision, NULL, af_size(c, out[i]));
    }
}

static void arrays_end(arrays *a) {
    size_t i;
    for (i = 0; i < INPUTS; i++) free(a->from[i]);
    for (i = 0; i < OUTPUTS; i++) free(a->to[i]);
}

static void same_bytes(const arrays *a, const arrays *b, int threads) {
    size_t i;
    for (i = 0; i < OUTPUTS; i++) {
        if (memcmp(a->to[i], b->to[i], a->bytes[i]) == 0) continue;
        printf("  output %d differs with %d threads\n", (int)i, threads);
        test_broken++;
    }
}

static void compare_thread_counts(af_precision precision) {
    static const int counts[] = {1, 2, 3, 8, 0, 1};
    af_context *c = test_context(NULL);
    af_expr in[INPUTS], out[OUTPUTS];
    af_func *f = NULL;
    arrays first, other;
    size_t k;
    build(c, in, out);
    compile(c, precision, in, out, &f);
    arrays_begin(&first, c, precision, in, out);
    for (k = 0; k < AF__COUNT(counts); k++) {
        af_workspace *w = NULL;
        arrays_begin(&other, c, precision, in, out);
        CHECK(af_workspace_create(f, counts[k], &w) == AF_OK);
        CHECK(af_run(f, w, (const void *const *)first.from, k ? other.to : first.to) == AF_OK);
        if (k) same_bytes(&first, &other, counts[k]);
        af_workspace_destroy(w);
        arrays_end(&other);
    }
    arrays_end(&first);
    af_func_destroy(f);
    af_context_destroy(c);
}

TEST(equal_bytes_for_any_number_of_threads) {
    compare_thread_counts(AF_F64);
    compare_thread_counts(AF_F32);
}

/* Reductions whose parts are cut, alone, on sizes around the cuts. */
TEST(reductions_give_equal_bytes) {
    static const size_t sizes[][2] = {{1, 32767},   {1, 65537},   {3, 100003},
                                      {100003, 3},  {40, 40000},  {700, 700},
                                      {2, 1000000}, {1000000, 2}, {262145, 8}};
    static const int counts[] = {2, 3, 8};
    size_t s, t, k;
    for (s = 0; s < AF__COUNT(sizes); s++) {
        af_context *c = test_context(NULL);
        af_expr in = af_input(c, "x", 2, sizes[s]), out[4];
        double *data = test_array(af_size(c, in)), *one[4], *more[4];
        const double *from = data;
        for (k = 0; k < af_size(c, in); k++) data[k] = af_random_uniform(2, s, k) - 0.3;
        out[0] = af_sum_axis(c, in, 0);
        out[1] = af_sum_axis(c, in, 1);
        out[2] = af_sum(c, in);
        out[3] = sizes[s][0] < 1000 ? af_matmul(c, in, af_transpose(c, in))
                                    : af_matmul(c, af_transpose(c, in), in);
        test_compute(c, AF_F64, 1, 1, &in, &from, 4, out, one);
        for (t = 0; t < AF__COUNT(counts); t++) {
            test_compute(c, AF_F64, counts[t], 1, &in, &from, 4, out, more);
            for (k = 0; k < 4; k++)
                CHECK(memcmp(one[k], more[k], af_size(c, out[k]) * sizeof(double)) == 0);
            test_free(4, more);
        }
        test_free(4, one);
        free(data);
        af_context_destroy(c);
    }
}

/* One function, several threads at once, each with its own workspace. */
TEST(threads_share_a_function) {
    enum { USERS = 4 };
    af_context *c = test_context(NULL);
    af_expr in[INPUTS], out[OUTPUTS];
    af_func *f = NULL;
    arrays user[USERS];
    af_workspace *w[USERS];
    af_status status[USERS];
    int i;
    build(c, in, out);
    compile(c, AF_F64, in, out, &f);
    for (i = 0; i < USERS; i++) {
        arrays_begin(&user[i], c, AF_F64, in, out);
        CHECK(af_workspace_create(f, 1 + i % 2, &w[i]) == AF_OK);
    }
#ifdef _OPENMP
#  pragma omp parallel for num_threads(USERS)
#endif
    for (i = 0; i < USERS; i++)
        status[i] = af_run(f, w[i], (const void *const *)user[i].from, user[i].to);
    for (i = 0; i < USERS; i++) {
        CHECK(status[i] == AF_OK);
        same_bytes(&user[0], &user[i], i);
    }
    for (i = 0; i < USERS; i++) {
        arrays_end(&user[i]);
        af_workspace_destroy(w[i]);
    }
    af_func_destroy(f);
    af_context_destroy(c);
}

/* Another build of the same expressions is the same program. */
TEST(compiling_again_gives_equal_bytes) {
    af_func *f[2] = {NULL, NULL};
    arrays a[2];
    int k;
    for (k = 0; k < 2; k++) {
        af_context *c = test_context(NULL);
        af_expr in[INPUTS], out[OUTPUTS];
        af_workspace *w = NULL;
        build(c, in, out);
        compile(c, AF_F64, in, out, &f[k]);
        arrays_begin(&a[k], c, AF_F64, in, out);
        CHECK(af_workspace_create(f[k], 2, &w) == AF_OK);
        CHECK(af_run(f[k], w, (const void *const *)a[k].from, a[k].to) == AF_OK);
        af_workspace_destroy(w);
        af_context_destroy(c);
    }
    CHECK(af_func_program(f[0])->instr_count == af_func_program(f[1])->instr_count);
    CHECK(af_func_work_size(f[0]) == af_func_work_size(f[1]));
    same_bytes(&a[0], &a[1], 2);
    for (k = 0; k < 2; k++) {
        arrays_end(&a[k]);
        af_func_destroy(f[k]);
    }
}

int main(void) {
    RUN(equal_bytes_for_any_number_of_threads);
    RUN(reductions_give_equal_bytes);
    RUN(threads_share_a_function);
    RUN(compiling_again_gives_equal_bytes);
    return test_report();
}
