/* Finding a Python that has PyTorch, and asking it. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMAND = 4096 };

/* `text` in single quotes for the shell. */
static void torch_quote(const char *text, char quoted[COMMAND / 4]) {
    size_t n = 0;
    quoted[n++] = '\'';
    for (; *text && n + 6 < COMMAND / 4; text++) {
        if (*text != '\'') quoted[n++] = *text;
        else n += (size_t)sprintf(quoted + n, "'\\''");
    }
    quoted[n++] = '\'';
    quoted[n] = 0;
}

/* True when this Python runs the script; b->version gets what it has then. */
static int torch_take(bench *b, const char *python) {
    bench_answers answers;
    if (!python || !*python || strlen(python) >= sizeof b->python) return 0;
    memcpy(b->python, python, strlen(python) + 1);
    bench_torch(b, "version", b->threads, &answers);
    if (!answers.failure[0]) {
        snprintf(b->version, sizeof b->version, "%s", answers.note);
        return 1;
    }
    b->python[0] = 0;
    return 0;
}

/* A virtual environment beside the results; pip's own settings say where packages come from. */
static void torch_install(const char *venv) {
    char command[2 * COMMAND], quoted[COMMAND / 4];
    torch_quote(venv, quoted);
    printf("no Python with PyTorch: installing it into %s (--python PATH names another)\n", venv);
    snprintf(command, sizeof command,
             "{ python3 -m venv %s && %s/bin/python -m pip install --quiet --retries 1 "
             "--timeout 20 torch numpy; } >/dev/null 2>&1",
             quoted, quoted);
    fflush(NULL);
    if (system(command) != 0) printf("that did not work\n");
}

void bench_find_python(bench *b, const char *asked) {
    char venv[540], inside[560];
    b->python[0] = 0;
    if (asked) {
        if (!torch_take(b, asked)) printf("%s: no PyTorch with numpy\n", asked);
        return;
    }
    if (torch_take(b, getenv("AF_TORCH_PYTHON")) || torch_take(b, "python3")) return;
    snprintf(venv, sizeof venv, "%s/venv", b->folder);
    snprintf(inside, sizeof inside, "%s/bin/python", venv);
    if (torch_take(b, inside)) return;
    torch_install(venv);
    torch_take(b, inside);
}

/* One line of the script: a word, then a number, or `note` and text. */
static void torch_line(bench_answers *a, char *line) {
    char *end, *value = strchr(line, ' ');
    double x;
    line[strcspn(line, "\r\n")] = 0;
    if (!value) return;
    *value++ = 0;
    if (strcmp(line, "note") == 0) {
        snprintf(a->note, sizeof a->note, "%s", value);
        return;
    }
    x = strtod(value, &end);
    if (end == value || a->count == BENCH_ANSWERS) return;
    snprintf(a->name[a->count], sizeof a->name[0], "%.31s", line);
    a->value[a->count++] = x;
}

void bench_torch(const bench *b, const char *row, int threads, bench_answers *a) {
    char command[2 * COMMAND], python[COMMAND / 4], script[COMMAND / 4], data[COMMAND / 4];
    char line[2 * BENCH_TEXT];
    FILE *out;
    memset(a, 0, sizeof *a);
    snprintf(a->failure, sizeof a->failure, "no PyTorch");
    if (!b->python[0]) return;
    torch_quote(b->python, python);
    torch_quote(b->script, script);
    torch_quote(b->folder, data);
    snprintf(command, sizeof command,
             "%s %s %s --threads %d --data %s --seconds %g%s%s 2>%s/torch_%s.log", python, script,
             row, threads, data, bench_seconds(b), b->quick ? " --quick" : "",
             bench_on_device() ? " --device cuda" : "", data, row);
    fflush(NULL);
    out = popen(command, "r");
    if (!out) return;
    while (fgets(line, sizeof line, out)) torch_line(a, line);
    if (pclose(out) != 0 || a->count == 0)
        snprintf(a->failure, sizeof a->failure, "PyTorch failed, see %.90s/torch_%.30s.log",
                 b->folder, row);
    else a->failure[0] = 0;
}

double bench_answer(const bench_answers *a, const char *name) {
    size_t i;
    for (i = 0; i < a->count; i++)
        if (strcmp(a->name[i], name) == 0) return a->value[i];
    return NAN;
}

void bench_torch_note(bench_row *row, const bench_answers *a) {
    double flops = bench_answer(a, "flops");
    if (a->failure[0]) row->peer = a->failure;
    if (row->flops > 0.0 && isfinite(flops))
        bench_note(row, "GFLOP %.4g and %.4g", 1e-9 * row->flops, 1e-9 * flops);
    if (a->note[0]) bench_note(row, "%s", a->note);
}
