#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- time ---- */

double bench_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double bench_group(void (*call)(void *data), void *data, size_t calls) {
    double start = bench_clock();
    size_t i;
    for (i = 0; i < calls; i++) call(data);
    return (bench_clock() - start) / (double)calls;
}

double bench_time(void (*call)(void *data), void *data, double seconds) {
    double best, once, spent;
    size_t group = 1, repeats = 1;
    call(data);
    best = once = spent = bench_group(call, data, 1);
    if (once < 1e-3) group = (size_t)(1e-3 / (once > 1e-9 ? once : 1e-9)) + 1;
    while (repeats < 3 || spent < seconds) {
        double one = bench_group(call, data, group);
        if (one < best) best = one;
        spent += one * (double)group;
        repeats++;
    }
    return best;
}

double bench_seconds(const bench *b) { return b->quick ? 0.15 : 0.5; }

/* ---- the table ---- */

int bench_wanted(const bench *b, const char *name) {
    return !b->pattern || strstr(name, b->pattern) != NULL;
}

static const char *head, *remark; /* of the part that comes; NULL: printed */

void bench_head(const char *title, const char *text) {
    head = title;
    remark = text;
}

/* On a device the table is one of Markdown, to be kept in a page. */
static void bench_print_head(void) {
    if (head && bench_on_device())
        printf("%s%s", remark ? "\n" : "", remark ? remark : "");
    if (head && bench_on_device())
        printf("\n| %s | ours | peer | ratio | of peak | |\n|---|---:|---:|---:|---:|---|\n",
               head);
    else if (head)
        printf("\n%-56s %8s %8s %6s %7s\n", head, "ours", "peer", "ratio", "of peak");
    if (remark && !bench_on_device()) printf("%s", remark);
    head = remark = NULL;
}

bench_row bench_new_row(const char *peer, const char *format, ...) {
    bench_row row;
    va_list list;
    memset(&row, 0, sizeof row);
    row.peer = peer;
    row.ours = row.other = NAN;
    va_start(list, format);
    vsnprintf(row.name, sizeof row.name, format, list);
    va_end(list);
    return row;
}

void bench_note(bench_row *row, const char *format, ...) {
    size_t used = strlen(row->note);
    va_list list;
    if (used + 3 < sizeof row->note && used) used += (size_t)sprintf(row->note + used, "; ");
    va_start(list, format);
    vsnprintf(row->note + used, sizeof row->note - used, format, list);
    va_end(list);
}

/* "12.3 us", "1.20 GB"; empty for NaN and for nothing. */
static void bench_quantity(double x, int bytes, char text[16]) {
    static const char *const times[] = {"s", "ms", "us", "ns", "ps"};
    static const char *const sizes[] = {"GB", "MB", "kB", "B", "-"};
    size_t unit = 0;
    text[0] = 0;
    if (!isfinite(x) || x <= 0.0) return;
    if (bytes) x *= 1e-9;
    while (unit < 4 && x < 0.9995) {
        x *= 1e3;
        unit++;
    }
    snprintf(text, 16, "%.*f %s", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x,
             bytes ? sizes[unit] : times[unit]);
}

/* "%.3f" of a number that is there, otherwise nothing. */
static void bench_number(double x, const char *format, char text[16]) {
    text[0] = 0;
    if (isfinite(x) && x > 0.0) snprintf(text, 16, format, x);
}

void bench_report(bench *b, const bench_row *row) {
    char ours[16], other[16], ratio[16], fraction[16], rate[48] = "";
    double x = row->flops > 0.0 && row->peak > 0.0 ? row->flops / row->ours / row->peak : NAN;
    bench_quantity(row->ours, row->bytes, ours);
    bench_quantity(row->other, row->bytes, other);
    bench_number(row->other / row->ours, "%.2f", ratio);
    bench_number(x, "%.2f", fraction);
    if (row->flops > 0.0 && isfinite(row->ours))
        snprintf(rate, sizeof rate, "%.4g GFLOP/s", 1e-9 * row->flops / row->ours);
    else if (row->elements > 0.0 && isfinite(row->ours))
        snprintf(rate, sizeof rate, "%.3g ns each", 1e9 * row->ours / row->elements);
    bench_print_head();
    printf(bench_on_device() ? "| %s | %s | %s | %s | %s | %s%s%s"
                             : "%-56s %8s %8s %6s %7s  %s%s%s",
           row->name, ours, other, ratio, fraction, row->peer ? row->peer : "",
           row->peer && *rate ? "; " : "", rate);
    if (bench_on_device())
        printf("%s%s |\n", *row->note && (row->peer || *rate) ? "; " : "", row->note);
    else printf(*row->note ? "\n    %s\n" : "\n", row->note);
    fflush(stdout);
    if (!b->csv) return;
    fprintf(b->csv, "%s,", row->name);
    fprintf(b->csv, isfinite(row->ours) ? "%.6g," : ",", row->ours);
    fprintf(b->csv, isfinite(row->other) ? "%.6g," : ",", row->other);
    fprintf(b->csv, "%s,%s\n", ratio, fraction);
    fflush(b->csv);
}

/* ---- child processes ---- */

double bench_peak_memory(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return NAN;
#ifdef __APPLE__
    return (double)usage.ru_maxrss;
#else
    return 1024.0 * (double)usage.ru_maxrss;
#endif
}

/* All bytes, however many calls it takes. */
static int bench_receive(int from, void *to, size_t bytes) {
    char *at = (char *)to;
    while (bytes > 0) {
        ssize_t n = read(from, at, bytes);
        if (n <= 0) return 0;
        at += n;
        bytes -= (size_t)n;
    }
    return 1;
}

int bench_child(void (*work)(const void *arg, bench_result *result), const void *arg,
                bench_result *result) {
    int ends[2], status = 1, good, i;
    pid_t child;
    memset(result, 0, sizeof *result);
    fflush(NULL);
    if (pipe(ends) != 0) return 0;
    child = fork();
    if (child == 0) {
        close(ends[0]);
        work(arg, result);
        _exit(write(ends[1], result, sizeof *result) == (ssize_t)sizeof *result ? 0 : 1);
    }
    close(ends[1]);
    good = child > 0 && bench_receive(ends[0], result, sizeof *result);
    close(ends[0]);
    if (child > 0) waitpid(child, &status, 0);
    if (good && status == 0) return 1;
    for (i = 0; i < BENCH_VALUES; i++) result->value[i] = NAN;
    snprintf(result->text, sizeof result->text, "the measurement did not end well");
    return 0;
}

void bench_die(const char *what) {
    fflush(stdout);
    fprintf(stderr, "bench: %s\n", what && *what ? what : "something failed");
    _exit(1);
}

void bench_check(const af_context *c, af_status status) {
    if (status != AF_OK) bench_die(af_error(c));
}

double *bench_numbers(size_t n) {
    double *x = (double *)calloc(n ? n : 1, sizeof *x);
    if (!x) bench_die("out of memory");
    return x;
}

/* ---- functions of the library ---- */

void bench_compile(af_context *c, bench_func *f, size_t inputs, const af_expr *input,
                   size_t outputs, const af_expr *output, int f32, int threads) {
    af_func_desc d;
    memset(&d, 0, sizeof d);
    d.inputs = input;
    d.input_count = inputs;
    d.outputs = output;
    d.output_count = outputs;
    d.precision = f32 ? AF_F32 : AF_F64;
    bench_check(c, af_compile(c, &d, &f->func));
    if (af_workspace_create(f->func, threads, &f->work) != AF_OK) bench_die("no workspace");
}

void bench_run(void *data) {
    bench_func *f = (bench_func *)data;
    if (af_run(f->func, f->work, f->in, f->out) != AF_OK) bench_die("af_run failed");
}
