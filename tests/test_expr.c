/* Expressions and functions: building, shapes, errors, compiling, fusion, views, memory. */
#include "actionfinder.in.h"

#include "af_test.h"

#include "af_reference.h"

typedef af_expr (*unary_builder)(af_context *c, af_expr x);
typedef af_expr (*binary_builder)(af_context *c, af_expr a, af_expr b);

static const unary_builder unary_builders[] = {
    af_neg,  af_exp,  af_expm1, af_log,      af_log1p,   af_sqrt,     af_reciprocal,
    af_sin,  af_cos,  af_tanh,  af_sech2,    af_sigmoid, af_softplus, af_atan,
    af_abs,  af_sign, af_floor, af_square,   af_relu,    af_silu,     af_wrap,
    af_stop, af_sum,  af_mean,  af_transpose};
static const binary_builder binary_builders[] = {af_add,    af_sub,   af_mul,     af_div,
                                                 af_atan2,  af_less,  af_maximum, af_minimum,
                                                 af_gather, af_matmul};

enum { UNARY_ELEMENTWISE = 22, BINARY_ELEMENTWISE = 8 };

static double *numbers(size_t n, uint64_t seed, double low, double high) {
    double *x = test_array(n);
    size_t i;
    for (i = 0; i < n; i++)
        x[i] = (double)(float)(low + (high - low) * af_random_uniform(seed, 1, i));
    return x;
}

static const double *const *readable(double **data) { return (const double *const *)data; }

/* ---- every operation, on sizes around the vector, the tile and the chunk ---- */

static void all_operations(size_t n, af_precision precision, double tolerance) {
    af_context *c = test_context(NULL);
    af_expr in[4], out[64];
    double *data[4];
    size_t k, count = 0;
    in[0] = af_input(c, "x", 1, &n);
    in[1] = af_input(c, "y", 1, &n);
    in[2] = af_input(c, "positive", 1, &n);
    in[3] = af_input(c, "seed", 0, NULL);
    data[0] = numbers(n, 1, -3.0, 3.0);
    data[1] = numbers(n, 2, -3.0, 3.0);
    data[2] = numbers(n, 3, 0.1, 5.0);
    data[3] = numbers(1, 4, 0.0, 1.0);
    data[3][0] = 12345.0;
    for (k = 0; k < UNARY_ELEMENTWISE; k++) {
        out[count++] = unary_builders[k](c, in[2]);
        if (unary_builders[k] != af_log && unary_builders[k] != af_log1p &&
            unary_builders[k] != af_sqrt && unary_builders[k] != af_reciprocal)
            out[count++] = unary_builders[k](c, in[0]);
    }
    for (k = 0; k < BINARY_ELEMENTWISE; k++) out[count++] = binary_builders[k](c, in[0], in[2]);
    out[count++] = af_where(c, af_less(c, in[0], in[1]), in[1], in[2]);
    if (precision == AF_F64) out[count++] = af_random(c, 1, &n, in[3], 77);
    out[count++] = af_sum(c, in[0]);
    out[count++] = af_mean(c, in[0]);
    test_agree(c, precision, 1, 4, in, readable(data), count, out, tolerance);
    test_free(4, data);
    af_context_destroy(c);
}

TEST(every_operation_on_odd_sizes) {
    static const size_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 17, 63, 64, 65, 1000, 1023, 1025, 8193};
    size_t i;
    for (i = 0; i < AF__COUNT(sizes); i++) {
        all_operations(sizes[i], AF_F64, 1e-14);
        all_operations(sizes[i], AF_F32, 3e-6);
    }
}

/* All pairs of shapes up to rank 6 in which each axis is full or 1, and shorter ranks. */
TEST(broadcasting_in_all_patterns) {
    static const size_t full[AF_RANK_MAX] = {2, 3, 2, 1, 3, 2};
    size_t rank, a, b, i;
    for (rank = 1; rank <= AF_RANK_MAX; rank++)
        for (a = 0; a < (size_t)1 << rank; a++) {
            af_context *c = test_context(NULL);
            af_expr in[2], out[TEST_OUTPUTS];
            double *data[2];
            size_t da[AF_RANK_MAX], count = 0;
            for (i = 0; i < rank; i++) da[i] = (a >> i & 1u) ? full[i] : 1;
            in[0] = af_input(c, "a", rank, da);
            in[1] = af_input(c, "b", rank, full);
            data[0] = numbers(af_size(c, in[0]), a, -1, 1);
            data[1] = numbers(af_size(c, in[1]), a + 99, -1, 1);
            for (b = 0; b < (size_t)1 << rank; b++) {
                af_expr y = in[1];
                for (i = 0; i < rank; i++)
                    if (!(b >> i & 1u)) y = af_slice(c, y, (int)i, full[i] - 1, 1);
                if (!(b & 1u)) { /* the leading 1 is left out */
                    size_t db[AF_RANK_MAX];
                    af_shape(c, y, db);
                    y = af_reshape(c, y, rank - 1, db + 1);
                }
                out[count++] = af_sub(c, in[0], y);
                out[count++] = af_sub(c, y, in[0]);
            }
            test_agree(c, AF_F64, 1, 2, in, readable(data), count, out, 0.0);
            test_free(2, data);
            af_context_destroy(c);
        }
}

/* ---- views ---- */

TEST(views_of_views) {
    af_context *c = test_context(NULL);
    size_t d432[3] = {4, 3, 2}, d8[1] = {8}, d24[1] = {24}, d6[2] = {6, 4}, d5[4] = {5, 4, 3, 2};
    size_t d310[2] = {3, 10}, d12[2] = {12, 2}, dd[3] = {2, 2, 6}, dr[4] = {5, 2, 12, 1};
    size_t p[4] = {3, 0, 2, 1};
    af_expr in[1], out[12], x, b, t, s;
    double *data[1];
    size_t n = 0;
    in[0] = x = af_input(c, "x", 3, d432);
    data[0] = numbers(24, 5, -2, 2);
    b = af_broadcast(c, x, 4, d5);
    t = af_permute(c, b, p); /* (2,5,3,4) */
    s = af_slice(c, af_slice(c, t, 3, 1, 2), 0, 1, 1);
    out[n++] = s; /* slice of transpose of broadcast */
    out[n++] = af_exp(c, s);
    out[n++] = af_reshape(c, b, 4, dr);                   /* reshape of a broadcast: no copy */
    out[n++] = af_reshape(c, af_transpose(c, x), 1, d24); /* reshape that needs a copy */
    out[n++] = af_reshape(c, af_transpose(c, x), 3, dd);
    out[n++] = af_transpose(c, af_reshape(c, af_transpose(c, af_reshape(c, x, 2, d12)), 2, d6));
    out[n++] = af_sum_axis(c, af_transpose(c, af_reshape(c, s, 2, d310)), 0);
    out[n++] = af_sum_axis(c, t, 2);
    out[n++] = af_sum_axis(c, t, 3);
    out[n++] = af_reshape(c, af_slice(c, af_reshape(c, x, 2, d12), 0, 4, 4), 1, d8);
    out[n++] = af_slice(c, af_reshape(c, x, 2, d12), 0, 4, 4);
    test_agree(c, AF_F64, 1, 1, in, readable(data), n, out, 1e-15);
    test_agree(c, AF_F32, 1, 1, in, readable(data), n, out, 1e-6);
    test_free(1, data);
    af_context_destroy(c);
}

/* Every factorisation of a permuted, sliced array: with and without copies. */
TEST(reshapes_of_strided_arrays) {
    uint64_t seed;
    for (seed = 0; seed < 200; seed++) {
        af_context *c = test_context(NULL);
        test_pool p;
        af_expr in[1];
        double *data[1];
        size_t i, dims[AF_RANK_MAX], rank;
        pool_begin(&p, c, seed, 1, in, data);
        p.count = 1;
        for (i = 0; i < 8; i++) pool_view(&p, p.count - 1);
        for (i = 0; i < 8; i++) {
            af_expr x = p.x[pool_pick(&p, p.count)];
            rank = pool_dims(&p, af_size(c, x), dims);
            pool_add(&p, af_reshape(c, x, rank, dims), 1, 1);
        }
        if (!test_agree(c, AF_F64, 1, 1, in, readable(data), p.count, p.x, 0.0))
            printf("  seed %lu\n", (unsigned long)seed);
        test_free(1, data);
        af_context_destroy(c);
    }
}

TEST(concat_pad_gather_scatter) {
    af_context *c = test_context(NULL);
    size_t dx[2] = {3, 4}, d43[2] = {4, 3}, n4 = 4, n = 0;
    static const double odd[4] = {2, -1, 7, 1.5}; /* outside: row 0; fractions are cut off */
    af_expr in[2], out[16], parts[5], cat, inner;
    double *data[2];
    in[0] = af_input(c, "x", 2, dx);
    in[1] = af_input(c, "index", 1, &n4);
    data[0] = numbers(12, 6, -2, 2);
    data[1] = test_array(4);
    memcpy(data[1], odd, sizeof odd);
    parts[0] = in[0];
    parts[1] = af_exp(c, in[0]);
    parts[2] = af_full(c, 2, dx, 2.5);
    parts[3] = af_transpose(c, af_reshape(c, in[0], 2, d43));
    parts[4] = in[0];
    cat = af_concat(c, 0, 5, parts);
    inner = af_concat(c, 0, 3, parts); /* a prefix of cat that is an output too */
    out[n++] = cat;
    out[n++] = inner;
    out[n++] = af_concat(c, 1, 5, parts);
    out[n++] = af_concat(c, -1, 1, parts);
    out[n++] = af_pad(c, cat, 0, 3, 30);
    out[n++] = af_pad(c, af_pad(c, parts[1], 0, 1, 5), 1, 2, 9);
    out[n++] = af_pad(c, af_full(c, 2, dx, 3.0), 1, 0, 6);
    out[n++] = af_gather(c, in[0], in[1]);
    out[n++] = af_gather(c, af_transpose(c, in[0]), in[1]);
    out[n++] = af_scatter(c, af_transpose(c, in[0]), in[1], 3);
    out[n++] = af_gather(c, in[1], in[1]);
    out[n++] = af_sum(c, af_square(c, cat));
    test_agree(c, AF_F64, 1, 2, in, readable(data), n, out, 1e-14);
    test_agree(c, AF_F32, 1, 2, in, readable(data), n, out, 1e-5);
    test_free(2, data);
    af_context_destroy(c);
}

/* ---- outputs of all kinds ---- */

TEST(outputs_that_are_inputs_constants_views_and_duplicates) {
    af_context *c = test_context(NULL);
    size_t d[2] = {5, 7}, flat = 35, n = 0;
    af_expr in[2], out[24], e, m, r;
    double *data[2];
    in[0] = af_input(c, "x", 2, d);
    in[1] = af_input(c, NULL, 0, NULL);
    data[0] = numbers(35, 8, -1, 1);
    data[1] = numbers(1, 9, -1, 1);
    e = af_exp(c, in[0]);
    m = af_matmul(c, in[0], af_transpose(c, in[0]));
    r = af_reshape(c, af_sum_axis(c, in[0], 0), 1, d + 1);
    out[n++] = in[0];
    out[n++] = in[0];
    out[n++] = e;
    out[n++] = e;
    out[n++] = af_reshape(c, e, 1, &flat);
    out[n++] = af_transpose(c, e);
    out[n++] = af_stop(c, e);
    out[n++] = m;
    out[n++] = af_transpose(c, m);
    out[n++] = m;
    out[n++] = r;
    out[n++] = af_sum_axis(c, in[0], 0);
    out[n++] = af_full(c, 2, d, -0.5);
    out[n++] = af_constant(c, 3.0);
    out[n++] = af_constant_array(c, 2, d, data[0]);
    out[n++] = af_slice(c, af_constant_array(c, 2, d, data[0]), 1, 2, 3);
    out[n++] = in[1];
    out[n++] = af_broadcast(c, in[1], 2, d);
    out[n++] = af_add(c, m, af_constant(c, 1.0));
    test_agree(c, AF_F64, 1, 2, in, readable(data), n, out, 1e-14);
    test_agree(c, AF_F32, 1, 2, in, readable(data), n, out, 1e-5);
    test_free(2, data);
    af_context_destroy(c);
}

/* A constant that first appears after other values have died keeps its register to itself. */
TEST(constants_inside_long_fused_runs) {
    af_context *c = test_context(NULL);
    size_t n = 5000, k;
    af_expr in[1], x;
    double *data[1];
    in[0] = x = af_input(c, "x", 1, &n);
    data[0] = numbers(n, 10, -1, 1);
    for (k = 0; k < 400; k++) {
        x = af_sin(
            c, af_offset(c, af_tanh(c, af_scale(c, x, 0.5 + 0.001 * (double)k)), 0.01 * (double)k));
        if (k % 7 == 0) x = af_add(c, x, in[0]);
    }
    test_agree(c, AF_F64, 1, 1, in, readable(data), 1, &x, 1e-12);
    test_free(1, data);
    af_context_destroy(c);
}

/* More stores of one value, and more live values in one run, than a tile has registers. */
TEST(very_many_stores_and_live_values) {
    af_context *c = test_context(NULL);
    size_t n = 100, k, count = 0;
    static af_expr out[TEST_OUTPUTS], part[TEST_OUTPUTS];
    af_expr in[1], e, sum;
    double *data[1];
    in[0] = af_input(c, "x", 1, &n);
    data[0] = numbers(n, 11, -1, 1);
    e = af_exp(c, in[0]);
    for (k = 0; k < 300; k++) part[k] = e;
    out[count++] = af_concat(c, 0, 300, part);
    for (k = 0; k < 150; k++) out[count++] = e;
    for (k = 0; k < 300; k++) out[count++] = part[k] = af_sin(c, af_scale(c, e, (double)k));
    sum = part[0];
    for (k = 1; k < 300; k++) sum = af_add(c, sum, part[k]);
    out[count++] = sum;
    out[count++] = af_concat(c, 0, 300, part);
    test_agree(c, AF_F64, 1, 1, in, readable(data), count, out, 1e-12);
    test_agree(c, AF_F64, 2, 1, in, readable(data), 1, &sum, 1e-12);
    test_free(1, data);
    af_context_destroy(c);
}

/* ---- sums of every mode ---- */

TEST(sums_of_every_shape) {
    static const size_t shapes[][3] = {{1, 1, 1},      {3, 5, 7},     {1, 40000, 1}, {2, 1, 33000},
                                       {33000, 1, 3},  {70000, 2, 1}, {7, 5000, 9},  {300, 3, 100},
                                       {1, 1, 150001}, {513, 40, 1},  {5, 700, 513}};
    size_t s, mask;
    for (s = 0; s < AF__COUNT(shapes); s++) {
        af_context *c = test_context(NULL);
        af_expr in[1], out[16];
        double *data[1];
        size_t axes[3] = {2, 0, 1};
        in[0] = af_input(c, "x", 3, shapes[s]);
        data[0] = numbers(af_size(c, in[0]), s, -1, 1);
        for (mask = 0; mask < 8; mask++) {
            out[2 * mask] = test_sum_mask(c, in[0], (unsigned)mask);
            out[2 * mask + 1] = test_sum_mask(c, af_permute(c, in[0], axes), (unsigned)mask);
        }
        test_agree(c, AF_F64, 2, 1, in, readable(data), 16, out, 1e-12);
        test_agree(c, AF_F32, 2, 1, in, readable(data), 16, out, 1e-3);
        test_free(1, data);
        af_context_destroy(c);
    }
}

/* ---- one node for equal values; simplifications keep values and shapes ---- */

TEST(equal_expressions_are_one) {
    af_context *c = test_context(NULL);
    size_t d[2] = {2, 3}, swapped[2] = {1, 0}, d6 = 6;
    af_expr x = af_input(c, "x", 2, d), y = af_input(c, "x", 2, d);
    CHECK(x.id != y.id);
    CHECK(af_add(c, x, y).id == af_add(c, y, x).id);
    CHECK(af_mul(c, x, y).id == af_mul(c, y, x).id);
    CHECK(af_sub(c, x, y).id != af_sub(c, y, x).id);
    CHECK(af_exp(c, x).id == af_exp(c, x).id);
    CHECK(af_constant(c, 2.0).id == af_constant(c, 2.0).id);
    CHECK(af_constant(c, 0.0).id != af_constant(c, -0.0).id);
    CHECK(af_constant(c, NAN).id == af_constant(c, NAN).id);
    CHECK(af_scale(c, x, 3.0).id == af_mul(c, x, af_constant(c, 3.0)).id);
    CHECK(af_permute(c, x, swapped).id == af_transpose(c, x).id);
    CHECK(af_reshape(c, x, 2, d).id == x.id);
    CHECK(af_broadcast(c, x, 2, d).id == x.id);
    CHECK(af_slice(c, x, 1, 0, 3).id == x.id);
    CHECK(af_slice(c, x, 1, 0, 2).id != af_slice(c, x, 1, 1, 2).id);
    CHECK(af_reshape(c, x, 1, &d6).id != x.id);
    CHECK(af_offset(c, x, 0.0).id == x.id && af_scale(c, x, 1.0).id == x.id);
    CHECK(af_sub(c, x, af_constant(c, 0.0)).id == x.id);
    CHECK(af_where(c, y, x, x).id == x.id);
    CHECK(af_scale(c, x, -1.0).id == af_neg(c, x).id);
    CHECK(af_sub(c, af_constant(c, 0.0), x).id == af_neg(c, x).id);
    CHECK(af_scale(c, x, 0.0).id == af_full(c, 2, d, 0.0).id);
    CHECK(af_exp(c, af_full(c, 2, d, 0.0)).id == af_full(c, 2, d, 1.0).id);
    CHECK(af_sum(c, af_full(c, 2, d, 2.0)).id == af_constant(c, 12.0).id);
    CHECK(af_power(c, x, 1).id == x.id && af_power(c, x, 2).id == af_square(c, x).id);
    CHECK(af_power(c, x, 0).id == af_full(c, 2, d, 1.0).id);
    CHECK(af_error_status(c) == AF_OK);
    af_context_destroy(c);
}

TEST(simplifications_keep_the_combined_shape) {
    af_context *c = test_context(NULL);
    size_t d[2] = {2, 3}, three = 3, dims[AF_RANK_MAX];
    af_expr x = af_input(c, "x", 1, &three), zero = af_full(c, 2, d, 0.0),
            one = af_full(c, 2, d, 1.0);
    af_expr all[9];
    size_t i;
    all[0] = af_add(c, x, zero);
    all[1] = af_sub(c, x, zero);
    all[2] = af_sub(c, zero, x);
    all[3] = af_mul(c, x, one);
    all[4] = af_mul(c, zero, x);
    all[5] = af_mul(c, af_neg(c, one), x);
    all[6] = af_where(c, one, x, x);
    all[7] = af_add(c, zero, af_full(c, 1, &three, 4.0));
    all[8] = af_less(c, zero, x);
    for (i = 0; i < 9; i++) {
        CHECK(af_shape(c, all[i], dims) == 2 && dims[0] == 2 && dims[1] == 3);
    }
    af_context_destroy(c);
}

/* ---- random graphs against the naive interpreter ---- */

static void fuzz_once(uint64_t seed, size_t steps, af_precision precision, double tolerance) {
    af_context *c = test_context(NULL);
    test_pool p;
    af_expr in[3], out[8];
    double *data[3];
    size_t i, outputs;
    pool_begin(&p, c, seed, 3, in, data);
    for (i = 0; i < steps; i++) pool_step(&p);
    outputs = 1 + pool_pick(&p, 8);
    for (i = 0; i < outputs; i++) out[i] = p.x[pool_pick(&p, p.count)];
    out[0] = p.x[p.count - 1];
    if (!test_agree(c, precision, 1 + (int)(seed % 3), 3, in, readable(data), outputs, out,
                    tolerance))
        printf("  seed %lu\n", (unsigned long)seed);
    CHECK(af_error_status(c) == AF_OK);
    test_free(3, data);
    af_context_destroy(c);
}

TEST(random_graphs_agree_with_the_interpreter) {
    uint64_t seed;
    uint64_t graphs = SHORT ? 240 : 1000;
    for (seed = 0; seed < graphs; seed++) fuzz_once(seed, 10 + (size_t)(seed % 80), AF_F64, 1e-12);
}

TEST(random_graphs_agree_in_single_precision) {
    uint64_t seed;
    uint64_t end = SHORT ? 5080 : 5300;
    for (seed = 5000; seed < end; seed++) fuzz_once(seed, 10 + (size_t)(seed % 40), AF_F32, 2e-3);
}

/* ---- memory planning ---- */

TEST(memory_is_reused) {
    af_context *c = test_context(NULL);
    size_t d[2] = {64, 64}, k;
    af_expr in[2], x;
    af_func_desc desc;
    af_func *f = NULL;
    memset(&desc, 0, sizeof desc);
    in[0] = x = af_input(c, "x", 2, d);
    in[1] = af_input(c, "w", 2, d);
    for (k = 0; k < 50; k++) x = af_tanh(c, af_matmul(c, x, in[1]));
    desc.inputs = in;
    desc.input_count = 2;
    desc.outputs = &x;
    desc.output_count = 1;
    CHECK(af_compile(c, &desc, &f) == AF_OK);
    /* two layers and the packed matrix, not fifty */
    CHECK(af_func_work_size(f) <= 5 * 64 * 64);
    CHECK(af_func_work_size(f) >= 64 * 64);
    CHECK_CLOSE(af_func_matmul_flops(f), 50.0 * 2.0 * 64 * 64 * 64, 1e-12);
    CHECK(af_func_program(f)->instr_count <= 101);
    af_func_destroy(f);
    af_context_destroy(c);
}

/* A run of elementwise operations is one instruction without memory of its own; dead code is gone.
 */
TEST(elementwise_runs_are_fused) {
    af_context *c = test_context(NULL);
    size_t n = 1000, square[2] = {1000, 1000}, k;
    af_expr x = af_input(c, "x", 1, &n), y = x, dead;
    af_func_desc desc;
    af_func *f = NULL;
    memset(&desc, 0, sizeof desc);
    for (k = 0; k < 20; k++) y = af_sin(c, af_add(c, y, x));
    dead = af_broadcast(c, y, 2, square);
    dead = af_matmul(c, dead, dead);
    CHECK(dead.id != 0);
    desc.inputs = &x;
    desc.input_count = 1;
    desc.outputs = &y;
    desc.output_count = 1;
    CHECK(af_compile(c, &desc, &f) == AF_OK);
    CHECK(af_func_program(f)->instr_count == 1);
    CHECK(af_func_work_size(f) == 0);
    CHECK(af_func_matmul_flops(f) == 0.0);
    af_func_destroy(f);
    af_context_destroy(c);
}

/* ---- functions outlive their context; contexts do not share ---- */

TEST(a_function_outlives_its_context) {
    af_context *c = test_context(NULL);
    size_t n = 4;
    static const double t[4] = {1, 2, 3, 4}, x[4] = {5, 6, 7, 8};
    double y[4];
    const void *from[1];
    void *to[1];
    af_expr in = af_input(c, "x", 1, &n), out = af_mul(c, in, af_constant_array(c, 1, &n, t));
    af_func_desc desc;
    af_func *f = NULL, *g = NULL;
    af_workspace *w = NULL;
    memset(&desc, 0, sizeof desc);
    desc.inputs = &in;
    desc.input_count = 1;
    desc.outputs = &out;
    desc.output_count = 1;
    CHECK(af_compile(c, &desc, &f) == AF_OK && af_compile(c, &desc, &g) == AF_OK);
    af_context_destroy(c);
    CHECK(af_workspace_create(f, 1, &w) == AF_OK);
    from[0] = x;
    to[0] = y;
    CHECK(af_run(f, w, from, to) == AF_OK);
    CHECK(y[0] == 5 && y[1] == 12 && y[2] == 21 && y[3] == 32);
    CHECK(af_run(g, w, from, to) == AF_ERROR_ARGUMENT); /* a workspace of another function */
    af_workspace_destroy(w);
    af_workspace_destroy(NULL);
    af_func_destroy(f);
    af_func_destroy(g);
    af_func_destroy(NULL);
}

/* ---- errors ---- */

static const char *what(af_context *c, af_status expected, af_expr x) {
    static char text[1024];
    CHECK(x.id == 0);
    CHECK(af_error_status(c) == expected);
    snprintf(text, sizeof text, "%s", af_error(c));
    af_error_clear(c);
    return text;
}

TEST(builders_say_what_is_wrong) {
    af_context *c = test_context(NULL);
    size_t d34[2] = {3, 4}, d5 = 5, twice[2] = {0, 0};
    af_expr a = af_input(c, "alpha", 2, d34), b = af_input(c, "beta", 1, &d5);
    const char *text;
    text = what(c, AF_ERROR_SHAPE, af_add(c, a, b));
    CHECK_TEXT(text, "add");
    CHECK_TEXT(text, "(3,4) 'alpha'");
    CHECK_TEXT(text, "(5) 'beta'");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_atan2(c, a, b)),
               "atan2: shapes (3,4) 'alpha' and (5) 'beta'");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_where(c, a, a, b)),
               "where: shapes (3,4) 'alpha' and (5)");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_add(c, af_full(c, 2, d34, 0.0), b)), "add");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_matmul(c, a, a)),
               "matmul: inner sizes differ, (3,4) 'alpha'");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_matmul(c, a, b)), "fewer than two axes");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_reshape(c, a, 1, &d5)),
               "reshape: (3,4) 'alpha' has 12 elements");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_permute(c, a, twice)), "permute");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_transpose(c, b)), "transpose: (5)");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_broadcast(c, a, 1, &d5)),
               "broadcast: (3,4) 'alpha' cannot");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_slice(c, a, 1, 2, 3)), "slice: 3 elements from 2");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_slice(c, a, 1, 0, 0)), "slice: 0 elements");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_slice(c, a, 1, SIZE_MAX, 2)), "slice");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_slice(c, a, 2, 0, 1)),
               "slice: no axis 2 in shape (3,4) 'alpha'");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_slice(c, a, -3, 0, 1)), "no axis -3");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_pad(c, a, 0, 3, 5)), "pad: axis 0 of (3,4)");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_pad(c, a, 5, 0, 9)), "pad: no axis 5");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_sum_axis(c, a, 7)), "sum_axis: no axis 7");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_mean_axis(c, a, -9)), "mean_axis: no axis -9");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_gather(c, a, a)), "gather: rows of (3,4) 'alpha'");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_scatter(c, a, b, 9)), "scatter: rows of (3,4) 'alpha'");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_scatter(c, b, b, 0)), "scatter");
    af_context_destroy(c);
}

TEST(shapes_that_cannot_be_built) {
    af_context *c = test_context(NULL);
    size_t d34[2] = {3, 4}, d5 = 5, d7[7] = {1, 1, 1, 1, 1, 1, 1}, zero[2] = {3, 0}, d3 = 3;
    size_t huge[2] = {(size_t)1 << 40, (size_t)1 << 40}, longest[6] = {1000000, 1, 1, 1, 1, 1};
    af_expr a = af_input(c, "alpha", 2, d34), b = af_input(c, "beta", 1, &d5), two[2];
    two[0] = a;
    two[1] = b;
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_concat(c, 0, 2, two)),
               "concat: shapes (3,4) 'alpha' and (5)");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_concat(c, 4, 2, two)), "concat: no axis 4");
    CHECK_TEXT(what(c, AF_ERROR_ARGUMENT, af_concat(c, 0, 0, two)), "concat: there are no parts");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_input(c, "gamma", 7, d7)), "gamma: 7 axes, at most 6");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_input(c, NULL, 2, zero)), "(3,0) has an empty axis");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_input(c, "gamma", 2, huge)), "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_full(c, 7, d7, 0.0)), "full");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_constant_array(c, 2, huge, NULL)), "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_random(c, 1, &d3, b, 0)),
               "random: the seed must be a scalar");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_random(c, 2, zero, af_constant(c, 1.0), 0)), "random");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_reshape(c, a, 2, huge)), "reshape");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_broadcast(c, af_constant(c, 1.0), 2, huge)), "broadcast");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_reshape(c, a, 6, longest)), "(1000000,1,1,1,1,1)");
    af_context_destroy(c);
}

/* Sizes that overflow, in each builder that makes an array larger than its arguments; sentences
 * with the longest numbers. */
TEST(sizes_that_overflow) {
    af_context *c = test_context(NULL);
    size_t column[2], row[2], wide[6], big = (size_t)1 << 57, k, one = 1;
    af_expr x, y, parts[64], index = af_full(c, 1, &big, 0.0);
    column[0] = row[1] = (size_t)1 << 40;
    column[1] = row[0] = 1;
    x = af_input(c, "x", 2, column);
    y = af_input(c, "y", 2, row);
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_add(c, x, y)), "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_matmul(c, x, y)), "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_matmul(c, af_full(c, 2, column, 0.0), y)), "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_pad(c, x, 1, 0, row[1])), "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_pad(c, af_full(c, 2, column, 0.0), 1, 0, row[1])),
               "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE,
                    af_scatter(c, af_input(c, "z", 2, row), af_full(c, 1, &one, 0.0), big)),
               "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_gather(c, y, index)), "too large");
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_slice(c, af_matmul(c, x, y), 0, 0, 1)), "matmul");
    for (k = 0; k < 64; k++) parts[k] = af_full(c, 1, &big, 0.0);
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_concat(c, 0, 64, parts)), "too large");
    for (k = 0; k < 6; k++) wide[k] = SIZE_MAX;
    what(c, AF_ERROR_SHAPE, af_input(c, "x", 6, wide));
    for (k = 0; k < 6; k++) wide[k] = 100000000000000000;
    what(c, AF_ERROR_SHAPE, af_input(c, "x", 6, wide));
    for (k = 1; k < 20; k++) {
        size_t i, length = 1;
        for (i = 0; i < k; i++) length *= 10;
        for (i = 0; i < 6; i++) wide[i] = length;
        wide[5] = 0;
        what(c, AF_ERROR_SHAPE, af_input(c, "x", 6, wide));
    }
    af_context_destroy(c);
}

/* Views make huge arrays without memory; computing one must fail cleanly. */
TEST(functions_too_large_for_memory) {
    af_context *c = test_context(NULL);
    size_t big = (size_t)1 << 57, one = 1, k;
    af_expr x = af_input(c, "x", 0, NULL), wide, y = x, parts[64];
    af_func_desc desc;
    af_func *f = NULL;
    af_workspace *w = NULL;
    af_status status;
    memset(&desc, 0, sizeof desc);
    wide = af_broadcast(c, af_exp(c, x), 1, &big);
    for (k = 0; k < 64; k++) {
        parts[k] = af_cos(c, af_offset(c, wide, (double)k));
        y = af_add(c, y, af_sum(c, af_gather(c, parts[k], af_full(c, 1, &one, 3.0))));
    }
    for (k = 0; k < 64; k++) /* all of them are alive at once */
        y = af_mul(c, y, af_sum(c, af_gather(c, parts[k], af_full(c, 1, &one, 5.0))));
    desc.inputs = &x;
    desc.input_count = 1;
    desc.outputs = &y;
    desc.output_count = 1;
    status = af_compile(c, &desc, &f);
    if (status == AF_OK) status = af_workspace_create(f, 1, &w);
    CHECK(status == AF_ERROR_MEMORY);
    CHECK(w == NULL);
    af_func_destroy(f);
    af_context_destroy(c);
}

TEST(compile_says_what_is_wrong) {
    af_context *c = test_context(NULL);
    size_t d34[2] = {3, 4}, d5 = 5;
    af_expr a = af_input(c, "alpha", 2, d34), b = af_input(c, "beta", 1, &d5), in[2], out[2], none;
    af_func_desc desc;
    af_func *f = NULL;
    none.id = 0;
    memset(&desc, 0, sizeof desc);
    desc.inputs = in;
    desc.outputs = out;
    desc.label = "theloss";
    out[0] = af_exp(c, a);
    out[1] = b;
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "no outputs");
    CHECK_TEXT(af_error(c), "theloss");
    af_error_clear(c);
    desc.output_count = 1;
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT && f == NULL);
    CHECK_TEXT(af_error(c), "'alpha' (3,4) is used but is not in the list of inputs");
    CHECK_TEXT(af_error(c), "theloss");
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT); /* the first error sticks */
    af_error_clear(c);
    in[0] = a;
    in[1] = a;
    desc.input_count = 2;
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "input 1 of the list is there twice");
    af_error_clear(c);
    in[1] = out[0];
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "input 1 of the list is not made by af_input");
    af_error_clear(c);
    in[1] = none;
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "input 1 is none");
    af_error_clear(c);
    in[1] = b;
    out[1] = none;
    desc.output_count = 2;
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "output 1 is none");
    af_error_clear(c);
    out[1] = af_add(c, a, b);
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_SHAPE);
    CHECK_TEXT(af_error(c), "add: shapes (3,4) 'alpha' and (5) 'beta'");
    af_context_destroy(c);
}

TEST(canaries_of_a_function) {
    af_context *c = test_context(NULL);
    af_expr in[2], out;
    af_func_desc desc;
    af_func *f = NULL;
    in[0] = af_input(c, "alpha", 0, NULL);
    in[1] = af_input(c, "beta", 0, NULL);
    out = af_exp(c, in[0]);
    memset(&desc, 0, sizeof desc);
    desc.inputs = in;
    desc.input_count = 2;
    desc.outputs = &out;
    desc.output_count = 1;
    desc.end_canary = 1;
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "not initialised");
    af_error_clear(c);
    desc.end_canary = 0;
    desc.start_canary = 7;
    CHECK(af_compile(c, &desc, &f) == AF_ERROR_ARGUMENT && f == NULL);
    af_error_clear(c);
    CHECK(af_compile(c, NULL, &f) == AF_ERROR_ARGUMENT && f == NULL);
    af_error_clear(c);
    desc.start_canary = 0;
    CHECK(af_compile(c, &desc, &f) == AF_OK); /* beta is an input that nothing uses */
    af_func_destroy(f);
    af_context_destroy(c);
}

TEST(canaries_of_the_context) {
    af_context_desc desc;
    af_context *c = (af_context *)1;
    memset(&desc, 0, sizeof desc);
    desc.end_canary = 5;
    CHECK(af_context_create(&desc, &c) == AF_ERROR_ARGUMENT && c == NULL);
    desc.end_canary = 0;
    desc.start_canary = 5;
    CHECK(af_context_create(&desc, &c) == AF_ERROR_ARGUMENT && c == NULL);
    desc.start_canary = 0;
    desc.allocator.allocate = heap_allocate; /* without a release */
    CHECK(af_context_create(&desc, &c) == AF_ERROR_ARGUMENT && c == NULL);
    af_context_destroy(NULL);
}

/* none goes through every builder, in every place, in a new context and in a used one. */
static void none_everywhere(af_context *c, int used) {
    size_t d[2] = {2, 2}, axes[2] = {1, 0}, i, shape[AF_RANK_MAX];
    af_expr none, x, two[2], out[2];
    none.id = 0;
    x = used ? af_input(c, "x", 2, d) : none;
    for (i = 0; i < AF__COUNT(unary_builders); i++) CHECK(unary_builders[i](c, none).id == 0);
    for (i = 0; i < AF__COUNT(binary_builders); i++) {
        CHECK(binary_builders[i](c, none, none).id == 0);
        CHECK(binary_builders[i](c, x, none).id == 0);
        CHECK(binary_builders[i](c, none, x).id == 0);
    }
    CHECK(af_where(c, none, x, x).id == 0 && af_where(c, x, none, x).id == 0);
    CHECK(af_where(c, x, x, none).id == 0);
    CHECK(af_where(c, x, none, none).id == 0);
    CHECK(af_scale(c, none, 2.0).id == 0 && af_scale(c, none, 0.0).id == 0);
    CHECK(af_offset(c, none, 2.0).id == 0 && af_offset(c, none, 0.0).id == 0);
    CHECK(af_power(c, none, 0).id == 0 && af_power(c, none, 1).id == 0 &&
          af_power(c, none, 5).id == 0);
    CHECK(af_random(c, 2, d, none, 0).id == 0);
    CHECK(af_reshape(c, none, 2, d).id == 0 && af_permute(c, none, axes).id == 0);
    CHECK(af_broadcast(c, none, 2, d).id == 0 && af_slice(c, none, 0, 0, 1).id == 0);
    CHECK(af_pad(c, none, 0, 0, 1).id == 0 && af_sum_axis(c, none, 0).id == 0);
    CHECK(af_mean_axis(c, none, 0).id == 0 && af_label(c, none, "n").id == 0);
    CHECK(af_scatter(c, none, x, 2).id == 0 && af_scatter(c, x, none, 2).id == 0);
    two[0] = none;
    two[1] = x;
    CHECK(af_concat(c, 0, 2, two).id == 0);
    two[0] = x;
    two[1] = none;
    CHECK(af_concat(c, 0, 2, two).id == 0);
    CHECK(af_size(c, none) == 0 && af_shape(c, none, shape) == 0);
    CHECK(af_error_status(c) == AF_OK);
    CHECK(af_grad(c, none, 1, &x, out) != AF_OK && out[0].id == 0);
    af_error_clear(c);
    CHECK(af_grad(c, x, 1, &none, out) != AF_OK && out[0].id == 0);
    af_error_clear(c);
    CHECK(af_vjp(c, x, none, 1, &x, out) != AF_OK && out[0].id == 0);
    af_error_clear(c);
    CHECK(af_jvp(c, 1, &none, 1, &x, &x, out) != AF_OK && out[0].id == 0);
    af_error_clear(c);
    CHECK(af_jvp(c, 1, &x, 1, &none, &x, out) != AF_OK && out[0].id == 0);
    af_error_clear(c);
    CHECK(af_jvp(c, 1, &x, 1, &x, &none, out) != AF_OK && out[0].id == 0);
    af_error_clear(c);
    CHECK(af_laplacian(c, none, x, &out[0], &out[1]) != AF_OK && out[0].id == 0 && out[1].id == 0);
    af_error_clear(c);
    CHECK(af_laplacian(c, x, none, NULL, NULL) != AF_OK);
    af_error_clear(c);
}

TEST(none_is_accepted_everywhere) {
    af_context *c = test_context(NULL);
    none_everywhere(c, 0);
    none_everywhere(c, 1);
    af_context_destroy(c);
}

TEST(labels) {
    af_context *c = test_context(NULL);
    char long_label[300];
    size_t n = 3, m = 4;
    af_expr x = af_input(c, NULL, 1, &n), y;
    memset(long_label, 'l', sizeof long_label);
    long_label[299] = 0;
    y = af_input(c, long_label, 1, &m);
    CHECK(af_label(c, x, NULL).id == x.id);
    CHECK(af_label(c, x, "first").id == x.id);
    CHECK(af_label(c, x, "second").id == x.id); /* the first label stays */
    CHECK_TEXT(what(c, AF_ERROR_SHAPE, af_add(c, x, y)), "'first' and (4) 'lllll");
    af_context_destroy(c);
}

/* ---- memory that runs out, at every allocation in turn ---- */

static af_status script_run(af_context *c, const af_expr *in, size_t outputs, const af_expr *out) {
    af_func_desc desc;
    af_func *f = NULL;
    af_workspace *w = NULL;
    af_status status;
    static double x[40], y[20], results[8][800];
    const void *from[2];
    void *to[8];
    size_t i;
    memset(&desc, 0, sizeof desc);
    desc.inputs = in;
    desc.input_count = 2;
    desc.outputs = out;
    desc.output_count = outputs;
    from[0] = x;
    from[1] = y;
    for (i = 0; i < 8; i++) to[i] = results[i];
    status = af_compile(c, &desc, &f);
    if (status == AF_OK) status = af_workspace_create(f, 1, &w);
    if (status == AF_OK) status = af_run(f, w, from, to);
    af_workspace_destroy(w);
    af_func_destroy(f);
    return status;
}

static af_status script(heap *memory) {
    af_context *c = test_context(memory);
    size_t dx[2] = {10, 4}, dw[2] = {4, 5}, dy[2] = {10, 5}, k;
    static double rows[4000];
    static const double places[3] = {1, 2, 0};
    size_t three = 3, many = 4000;
    af_expr in[2], out[6], y, loss, index, part[3];
    af_status status;
    if (!c) return AF_ERROR_MEMORY;
    in[0] = af_input(c, "x", 2, dx);
    in[1] = af_input(c, "w", 2, dw);
    index = af_constant_array(c, 1, &three, places);
    y = af_tanh(c, af_matmul(c, in[0], in[1]));
    part[0] = y;
    part[1] = af_pad(c, af_gather(c, y, index), 0, 1, 10);
    part[2] = af_reshape(c, af_transpose(c, y), 2, dy);
    y = af_concat(c, 1, 3, part);
    for (k = 0; k < 700; k++) y = af_sin(c, af_offset(c, y, 0.001 * (double)k)); /* tables grow */
    loss = af_sum(c, af_square(c, y));
    loss = af_add(c, loss, af_sum(c, af_constant_array(c, 1, &many, rows)));
    for (k = 0; k < 6; k++) out[k] = loss;
    af_grad(c, loss, 1, &in[1], &out[1]);
    af_jvp(c, 1, &y, 1, &in[0], &in[0], &out[2]);
    af_laplacian(c, af_tanh(c, af_matmul(c, in[0], in[1])), in[0], &out[3], &out[4]);
    out[5] = af_label(c, af_scatter(c, af_slice(c, y, 0, 0, 3), index, 4), "scattered");
    status = af_error_status(c);
    if (status == AF_OK) status = script_run(c, in, 6, out);
    af_context_destroy(c);
    return status;
}

TEST(memory_that_fails_at_every_allocation) {
    heap memory;
    long k, calls;
    af_status status;
    memset(&memory, 0, sizeof memory);
    status = script(&memory);
    CHECK(status == AF_OK && memory.live == 0 && memory.bytes == 0);
    calls = memory.calls;
    CHECK(calls > 20);
    for (k = 1; k <= calls; k++) {
        memset(&memory, 0, sizeof memory);
        memory.fail_at = k;
        status = script(&memory);
        if (status != AF_ERROR_MEMORY || memory.live != 0 || memory.bytes != 0)
            printf("  allocation %ld of %ld: status %d, %ld blocks live\n", k, calls, (int)status,
                   memory.live);
        CHECK(status == AF_ERROR_MEMORY);
        CHECK(memory.live == 0 && memory.bytes == 0);
    }
}

TEST(running_allocates_nothing) {
    heap memory;
    af_context *c;
    uint64_t seed;
    for (seed = 0; seed < 20; seed++) {
        test_pool p;
        af_expr in[3], out[TEST_OUTPUTS];
        double *data[3], *to[TEST_OUTPUTS];
        size_t i;
        long calls;
        af_func_desc desc;
        af_func *f = NULL;
        af_workspace *w = NULL;
        memset(&memory, 0, sizeof memory);
        memset(&desc, 0, sizeof desc);
        c = test_context(&memory);
        pool_begin(&p, c, seed, 3, in, data);
        for (i = 0; i < 80; i++) pool_step(&p);
        for (i = 0; i < p.count; i++) {
            out[i] = p.x[i];
            to[i] = test_array(af_size(c, out[i]));
        }
        desc.inputs = in;
        desc.input_count = 3;
        desc.outputs = out;
        desc.output_count = p.count;
        CHECK(af_compile(c, &desc, &f) == AF_OK && af_workspace_create(f, 2, &w) == AF_OK);
        calls = memory.calls;
        if (w) CHECK(af_run(f, w, (const void *const *)data, (void *const *)to) == AF_OK);
        CHECK(memory.calls == calls);
        af_workspace_destroy(w);
        af_func_destroy(f);
        af_context_destroy(c);
        CHECK(memory.live == 0 && memory.bytes == 0);
        test_free(p.count, to);
        test_free(3, data);
    }
}

static void kernels(void) {
    RUN(every_operation_on_odd_sizes);
    RUN(broadcasting_in_all_patterns);
    RUN(views_of_views);
    RUN(reshapes_of_strided_arrays);
    RUN(concat_pad_gather_scatter);
    RUN(outputs_that_are_inputs_constants_views_and_duplicates);
    RUN(constants_inside_long_fused_runs);
    RUN(very_many_stores_and_live_values);
    RUN(sums_of_every_shape);
    RUN(random_graphs_agree_with_the_interpreter);
    RUN(random_graphs_agree_in_single_precision);
}

int main(void) {
    each_instruction_set(kernels);
    RUN(equal_expressions_are_one);
    RUN(simplifications_keep_the_combined_shape);
    RUN(memory_is_reused);
    RUN(elementwise_runs_are_fused);
    RUN(a_function_outlives_its_context);
    RUN(builders_say_what_is_wrong);
    RUN(shapes_that_cannot_be_built);
    RUN(sizes_that_overflow);
    RUN(functions_too_large_for_memory);
    RUN(compile_says_what_is_wrong);
    RUN(canaries_of_a_function);
    RUN(canaries_of_the_context);
    RUN(none_is_accepted_everywhere);
    RUN(labels);
    RUN(memory_that_fails_at_every_allocation);
    RUN(running_allocates_nothing);
    return test_report();
}
