/* Training: options, the line of progress, the history. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int deep_training_check(const char *command, deep_training *t) {
    static const char *const schedule[4] = {"cosine", "constant", "exponential", "step"};
    int code = cli_word(command, "schedule", t->schedule, schedule, 4, &t->schedule_kind);
    if (code >= 0) return code;
    if (t->resume && !t->checkpoint)
        return cli_usage(command, "--resume needs --checkpoint FILE");
    if (t->patience && !(t->plateau > 0.0))
        return cli_usage(command, "--patience needs --plateau X");
    if (t->plateau > 0.0 && t->schedule)
        return cli_usage(command, "--plateau is instead of a --schedule");
    if (!(t->validation < 1.0))
        return cli_usage(command, "--validation is a fraction, below 1, not %g", t->validation);
    return -1;
}

int deep_training_outputs(const deep_training *t, const char *model, const char *const *inputs,
                          size_t input_count) {
    const char *outputs[3];
    outputs[0] = t->checkpoint;
    outputs[1] = t->history;
    outputs[2] = model;
    return cli_check_outputs(outputs, 3, inputs, input_count);
}

/* ---- progress ---- */

static void training_remember(deep_training *t, const af_progress *p, double seconds) {
    double *row;
    if (!t->history) return;
    if (t->count == t->room) {
        double *larger = (double *)cli_allocate(2 * t->room + 1024, DEEP_HISTORY * sizeof *larger);
        if (t->count) memcpy(larger, t->rows, t->count * DEEP_HISTORY * sizeof *larger);
        free(t->rows);
        t->rows = larger;
        t->room = 2 * t->room + 1024;
    }
    row = t->rows + DEEP_HISTORY * t->count++;
    row[0] = (double)p->epoch;
    row[1] = p->loss;
    row[2] = p->validation;
    row[3] = p->rate;
    row[4] = seconds;
}

/* A fit without batches has neither stars held out while it goes on nor a rate. */
static void training_line(deep_training *t, const af_progress *p, double seconds) {
    double left = t->seconds > 0.0 ? t->seconds - seconds
                                   : t->epoch_seconds * (double)(p->epochs - p->epoch);
    if (!(left > 0.0)) left = 0.0;
    printf("%sepoch %4lu  loss %.6g", t->on_terminal ? "\r" : "", (unsigned long)p->epoch, p->loss);
    if (isfinite(t->last_validation))
        printf("  validation %.6g  best %.6g (epoch %lu)", t->last_validation, p->best_validation,
               (unsigned long)p->best_epoch);
    if (p->rate > 0.0) printf("  rate %.1e", p->rate);
    printf("  %lu:%02lu left%s", (unsigned long)left / 60, (unsigned long)left % 60,
           t->on_terminal ? "\033[K" : "\n");
    fflush(stdout);
    t->line_open = t->on_terminal;
    t->line_epoch = p->epoch;
}

static int training_progress(const af_progress *p, void *user) {
    deep_training *t = (deep_training *)user;
    double now = cli_clock(), seconds = now - t->start;
    if (t->done == 0) t->first = p->epoch - 1;
    t->done = p->epoch;
    t->epoch_seconds = seconds / (double)(p->epoch - t->first);
    if (isfinite(p->validation)) t->last_validation = p->validation;
    t->last = *p;
    training_remember(t, p, seconds);
    if (!t->quiet && now - t->last_line >= cli_line_interval(t->on_terminal)) {
        training_line(t, p, seconds);
        t->last_line = now;
    }
    return cli_stopped();
}

static double training_clock(void *user) {
    (void)user;
    return cli_clock();
}

void deep_training_begin(deep_training *t, dp_fit_desc *d) {
    memset(d, 0, sizeof *d);
    d->epochs = t->epochs;
    d->batch = t->batch;
    d->seed = t->seed;
    d->validation = t->validation;
    d->schedule.kind = (af_schedule_kind)t->schedule_kind;
    d->schedule.rate = t->rate;
    d->plateau = t->plateau;
    d->patience = t->patience;
    d->clip = t->clip;
    d->double_precision = t->double_precision;
    d->checkpoint = t->checkpoint;
    d->checkpoint_every = t->checkpoint_every;
    d->resume = t->resume;
    if (t->seconds > 0.0) d->clock = training_clock;
    d->seconds = t->seconds;
    d->progress = training_progress;
    d->user = t;
    t->on_terminal = isatty(STDOUT_FILENO) == 1;
    t->last_validation = NAN;
    t->start = t->last_line = cli_clock();
    t->count = t->done = t->line_epoch = 0;
    cli_catch_stop();
    fflush(stdout);
}

int deep_training_end(af_context *c, deep_training *t, const char *what, af_status *s) {
    static const char *const name[DEEP_HISTORY] = {"epoch", "loss", "validation", "rate",
                                                   "seconds"};
    int code = CLI_OK;
    if (!t->quiet && t->done && t->line_epoch != t->done)
        training_line(t, &t->last, cli_clock() - t->start);
    if (t->line_open) printf("\n");
    t->line_open = 0;
    if (*s == AF_STOPPED) {
        fflush(stdout);
        fprintf(stderr, "%s: stopped; the best %s so far is kept\n", cli_program, what);
        *s = AF_OK;
    }
    if (*s == AF_OK && t->history && t->count)
        code = deep_write_rows(c, t->history, NULL, name, DEEP_HISTORY, t->count, t->rows);
    free(t->rows);
    t->rows = NULL;
    t->room = 0;
    return code;
}
