/* What the parts of the benchmark share: time, child processes, the table, PyTorch. */
#ifndef AF_BENCH_H
#define AF_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "actionfinder.h"

enum { BENCH_TEXT = 160, BENCH_VALUES = 8, BENCH_ANSWERS = 24 };

typedef struct bench {
    int quick;
    int threads;         /* "all" of them */
    const char *pattern; /* only rows whose name holds it; NULL: all */
    const char *script;  /* tools/bench_torch.py */
    char folder[512];    /* where bench.csv and the data for PyTorch go */
    char python[512];    /* a Python that has PyTorch; empty: none */
    char version[160];   /* of that PyTorch */
    double peak[2][2];   /* multiply-add peak [FLOP/s]: f64, f32; 1 thread, all threads */
    FILE *csv;
} bench;

/* One row of the table. NaN: not measured, 0: does not apply. */
typedef struct bench_row {
    char name[BENCH_TEXT], note[2 * BENCH_TEXT];
    const char *peer;  /* "libm", ...; NULL: there is none */
    double ours, other; /* seconds of a call, or bytes */
    double flops;      /* of a call of ours */
    double elements;   /* of a call */
    double peak;       /* FLOP/s of the same precision and threads */
    int bytes;         /* ours and other are bytes */
} bench_row;

/* ---- core.c ---- */

double bench_clock(void);

/* Seconds of one call: the MINIMUM over repeats, after one call that does not count. Calls are
 * repeated until `seconds` were spent, three times at least; short ones are timed in groups of
 * about a millisecond. The Python script does the same. */
double bench_time(void (*call)(void *data), void *data, double seconds);

/* What that function gets as `seconds`. */
double bench_seconds(const bench *b);

/* True when the row, or one whose name begins like this, is wanted. */
int bench_wanted(const bench *b, const char *name);

/* What is printed before the next row; the remark, whole lines, may be NULL. */
void bench_head(const char *title, const char *remark);
void bench_report(bench *b, const bench_row *row);
bench_row bench_new_row(const char *peer, const char *format, ...) AF_PRINTF(2, 3);
void bench_note(bench_row *row, const char *format, ...) AF_PRINTF(2, 3);

/* What a child process found. */
typedef struct bench_result {
    double value[BENCH_VALUES];
    char text[BENCH_TEXT];
} bench_result;

/* Runs work(arg, result) in a child process, so that neither threads nor memory are left over. 0
 * when it did not end well; the values are NaN then. */
int bench_child(void (*work)(const void *arg, bench_result *result), const void *arg,
                bench_result *result);

/* The largest resident set of this process so far [bytes]. */
double bench_peak_memory(void);

/* Ends the program (a child process) with a sentence. */
void bench_die(const char *what);
void bench_check(const af_context *c, af_status status);

double *bench_numbers(size_t n);

/* A function of the library with a workspace and its arrays: what bench_time calls. */
typedef struct bench_func {
    af_func *func;
    af_workspace *work;
    const void *in[8];
    void *out[4];
} bench_func;

void bench_compile(af_context *c, bench_func *f, size_t inputs, const af_expr *input,
                   size_t outputs, const af_expr *output, int f32, int threads);
void bench_run(void *bench_func);

/* ---- device.c ---- */

/* From now on bench_context's contexts compute on the GPU, or (0) on the CPU. */
void bench_use_device(int wanted);
int bench_on_device(void);

/* A context of all defaults; ends the program where there is none. */
af_context *bench_context(void);

/* What cuBLAS reaches becomes the peaks; 0 where there is no device, which is told. */
int bench_device_peak(bench *b);

/* What a run costs the host, however little there is to compute. */
void bench_replays(bench *b);

/* ---- bench.c: what needs to look inside the library ---- */

/* Floating point operations of the matrix products of a training step. The expressions are those of
 * af_finder_fit, which keeps its function to itself. NaN when they cannot be made. */
double bench_finder_flops(af_context *c, af_finder *finder, size_t stars, size_t batch);

/* ---- torch.c ---- */

/* `name value` lines of the script. */
typedef struct bench_answers {
    size_t count;
    char name[BENCH_ANSWERS][32];
    double value[BENCH_ANSWERS];
    char note[BENCH_TEXT];
    char failure[BENCH_TEXT]; /* why there are none; empty: there are */
} bench_answers;

void bench_find_python(bench *b, const char *asked);
void bench_torch(const bench *b, const char *row, int threads, bench_answers *answers);
/* Adds to a row what the script said, or why it said nothing; `answers` must outlive the row. */
void bench_torch_note(bench_row *row, const bench_answers *answers);
double bench_answer(const bench_answers *answers, const char *name);

/* ---- the rows ---- */

void bench_peak(bench *b);
void bench_matmul(bench *b);
void bench_elements(bench *b);
void bench_networks(bench *b); /* potential, flow, evaluation of a network */
void bench_finder(bench *b);

#endif
