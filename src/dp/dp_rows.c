/* ---- a compiled function over many rows --------------------------------------------------------
 *
 * A function of `rows` rows at a time is applied to n: ranges of rows are computed side by side,
 * each with a workspace of its own, and the last call of a range is filled with its first row. */

#include <stdio.h>

enum { DP__LANES = 16, DP__MOST_ARRAYS = 8, DP__SENTENCE = 400 };

/* How a lane's last call went. The backend's sentence is that of the thread which made it. */
typedef struct dp__called {
    af_status status;
    char error[DP__SENTENCE];
} dp__called;

static void dp__call(dp__called *called, const af_func *f, af_workspace *work,
                     const void *const *in, void *const *out) {
    called->status = af_run(f, work, in, out);
    if (called->status != AF_OK)
        snprintf(called->error, sizeof called->error, "%s", af_func_error(f));
}

/* The first failure among the lanes' calls. */
static af_status dp__call_check(af_context *c, const dp__called *called, size_t lanes,
                                const char *label) {
    size_t k;
    for (k = 0; k < lanes; k++)
        if (called[k].status != AF_OK)
            return af_fail(c, called[k].status, "%s could not be computed%s%s", label,
                           called[k].error[0] ? ": " : "", called[k].error);
    return AF_OK;
}

typedef struct dp__rows {
    const af_func *f;
    size_t rows;          /* of one call */
    size_t in_count;      /* arrays of n rows, first among the function's inputs ... */
    const double *in[DP__MOST_ARRAYS];
    size_t in_width[DP__MOST_ARRAYS];
    size_t fixed_count;   /* ... then arrays that are the same for all */
    const void *fixed[DP__MOST_ARRAYS];
    size_t out_count;     /* arrays of n rows */
    double *out[DP__MOST_ARRAYS];
    size_t out_width[DP__MOST_ARRAYS];
    size_t n;
} dp__rows;

typedef struct dp__rows_run {
    const dp__rows *r;
    size_t lanes;
    af_workspace *work[DP__LANES];
    double *memory[DP__LANES]; /* inputs and outputs of one call */
    dp__called called[DP__LANES];
} dp__rows_run;

static size_t dp__rows_size(const dp__rows *r) {
    size_t k, sum = 0;
    for (k = 0; k < r->in_count; k++) sum += r->in_width[k] * r->rows;
    for (k = 0; k < r->out_count; k++) sum += r->out_width[k] * r->rows;
    return sum;
}

/* One call: rows [first, first + count), count <= rows. */
static void dp__rows_call(const dp__rows *r, dp__called *called, af_workspace *work,
                          double *memory, size_t first, size_t count) {
    const void *in[2 * DP__MOST_ARRAYS];
    void *out[DP__MOST_ARRAYS];
    size_t k, i;
    for (k = 0; k < r->in_count; k++) {
        size_t w = r->in_width[k];
        memcpy(memory, r->in[k] + first * w, count * w * sizeof(double));
        for (i = count; i < r->rows; i++)
            memcpy(memory + i * w, r->in[k] + first * w, w * sizeof(double));
        in[k] = memory;
        memory += r->rows * w;
    }
    for (k = 0; k < r->fixed_count; k++) in[r->in_count + k] = r->fixed[k];
    for (k = 0; k < r->out_count; k++) {
        out[k] = memory;
        memory += r->rows * r->out_width[k];
    }
    dp__call(called, r->f, work, in, out);
    for (k = 0; k < r->out_count && called->status == AF_OK; k++)
        memcpy(r->out[k] + first * r->out_width[k], out[k],
               count * r->out_width[k] * sizeof(double));
}

static void dp__rows_lane(size_t lane, void *user) {
    dp__rows_run *run = (dp__rows_run *)user;
    const dp__rows *r = run->r;
    size_t calls = (r->n + r->rows - 1) / r->rows, call;
    for (call = lane; call < calls && run->called[lane].status == AF_OK; call += run->lanes) {
        size_t first = call * r->rows, count = r->n - first;
        dp__rows_call(r, &run->called[lane], run->work[lane], run->memory[lane], first,
                      count < r->rows ? count : r->rows);
    }
}

/* Runs over all n rows. f64 arrays. AF_ERROR_MEMORY, AF_ERROR_BACKEND. */
static af_status dp__rows_all(af_context *c, const dp__rows *r) {
    dp__rows_run run = DP__ZERO;
    dp__arena arena = dp__arena_open(c);
    af_status s = AF_OK;
    size_t lane, calls = (r->n + r->rows - 1) / r->rows;
    run.r = r;
    run.lanes = calls < (size_t)DP__LANES ? calls : (size_t)DP__LANES;
    if (af_context_threads(c) > 0 && run.lanes > (size_t)af_context_threads(c))
        run.lanes = (size_t)af_context_threads(c);
    for (lane = 0; lane < run.lanes && s == AF_OK; lane++) {
        run.memory[lane] = DP__ARRAY(&arena, double, dp__rows_size(r));
        s = run.memory[lane] ? af_context_workspace(c, r->f, 1, &run.work[lane]) : AF_ERROR_MEMORY;
    }
    if (s == AF_OK) af_parallel(c, run.lanes, dp__rows_lane, &run);
    if (s == AF_OK) s = dp__call_check(c, run.called, run.lanes, "a function of many points");
    for (lane = 0; lane < run.lanes; lane++) af_workspace_destroy(run.work[lane]);
    dp__arena_free(&arena);
    if (s == AF_ERROR_MEMORY) return dp__fail_memory(c, "workspaces to evaluate a function");
    return s;
}
