/* actionfinder koopman fit: trains a model on trajectories. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "koopman.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "koopman fit";

typedef struct kfit_options {
    const char *output, *history, *begin, *ridge, *relation, *method, *weights, *robust;
    koopman_source source;
    size_t layers, width, frequency_width, steps, stage_steps, seed, threads;
    double tolerance, robust_scale;
    int asymmetric, no_stages, quiet;
} kfit_options;

enum { KFIT_COLUMNS = 5 }; /* of the history: step, pieces, loss, rms, seconds */

typedef struct kfit_run {
    kfit_options o;
    af_koopman_desc model;
    af_koopman_fit_desc fit;
    double start, last_line;
    int on_terminal, line_open;
    af_koopman_progress last;
    size_t line_step;
    double *history; /* (rows, KFIT_COLUMNS) */
    size_t rows, room;
} kfit_run;

/* ---- options ---- */

static double *kfit_weight(af_koopman_weights *w, const char *name, size_t length) {
    if (length == 5 && strncmp(name, "phase", length) == 0) return &w->phase;
    if (length == 6 && strncmp(name, "action", length) == 0) return &w->action;
    if (length == 8 && strncmp(name, "one-step", length) == 0) return &w->one_step;
    if (length == 7 && strncmp(name, "rollout", length) == 0) return &w->rollout;
    if (length == 14 && strncmp(name, "reconstruction", length) == 0) return &w->reconstruction;
    if (length == 8 && strncmp(name, "relation", length) == 0) return &w->relation;
    return NULL;
}

/* Like phase=1,action=0.5; those not named stay. */
static int kfit_weights(const char *text, af_koopman_weights *w) {
    const char *at = text;
    w->phase = w->relation = 1.0;
    while (at && *at) {
        size_t length = strcspn(at, "=,");
        double *to = kfit_weight(w, at, length);
        char *end;
        if (!to || at[length] != '=')
            return cli_usage(NAME,
                             "--weights takes name=number, with commas between, of phase, action, "
                             "one-step, rollout, reconstruction and relation, not '%s'",
                             text);
        *to = strtod(at + length + 1, &end);
        if (end == at + length + 1 || (*end && *end != ',') || !(*to >= 0.0 && *to < 1e100))
            return cli_usage(NAME, "--weights: %.*s takes a number from 0 on, in '%s'", (int)length,
                             at, text);
        at = *end ? end + 1 : NULL;
    }
    if (!(w->phase + w->action + w->one_step + w->rollout > 0.0))
        return cli_usage(NAME,
                         "--weights '%s' leaves nothing to learn from: phase, action, one-step or "
                         "rollout must be above 0",
                         text);
    return -1;
}

static int kfit_words(kfit_run *r) {
    static const char *const ridge[2] = {"tanh", "sin"};
    static const char *const relation[2] = {"tied", "loss"};
    static const char *const method[3] = {"lm", "lbfgs", "adam"};
    static const char *const robust[4] = {"none", "huber", "root", "cauchy"};
    const kfit_options *o = &r->o;
    int code, word;
    if ((code = cli_word(NAME, "ridge", o->ridge, ridge, 2, &word)) >= 0) return code;
    r->model.ridge = (af_ridge)word;
    if ((code = cli_word(NAME, "relation", o->relation, relation, 2, &word)) >= 0) return code;
    r->model.relation = (af_relation)word;
    if ((code = cli_word(NAME, "method", o->method, method, 3, &word)) >= 0) return code;
    r->fit.method = (af_koopman_method)word;
    if ((code = cli_word(NAME, "robust", o->robust, robust, 4, &word)) >= 0) return code;
    r->fit.robust = (af_robust)word;
    return -1;
}

/* What does not go together. */
static int kfit_conflicts(const kfit_run *r, int seeded) {
    const kfit_options *o = &r->o;
    const char *given = o->asymmetric        ? "asymmetric"
                        : o->layers          ? "layers"
                        : o->width           ? "width"
                        : o->ridge           ? "ridge"
                        : o->frequency_width ? "frequency-width"
                        : o->relation        ? "relation"
                        : seeded             ? "seed"
                                             : NULL;
    if (!o->output)
        return cli_usage(NAME, "-o MODEL.safetensors is missing: where the model goes");
    if (o->begin && given)
        return cli_usage(NAME, "--%s is settled by the model that --continue names", given);
    if (o->no_stages && o->stage_steps)
        return cli_usage(NAME, "--no-stages and --stage-steps exclude each other");
    if (o->robust_scale > 0.0 && r->fit.robust == AF_ROBUST_NONE)
        return cli_usage(NAME, "--robust-scale needs --robust huber, root or cauchy");
    if (r->fit.robust != AF_ROBUST_NONE && r->fit.method == AF_KOOPMAN_ADAM)
        return cli_usage(NAME, "--robust goes with --method lm or lbfgs, not adam");
    if (o->tolerance > 0.0 && r->fit.method == AF_KOOPMAN_ADAM)
        return cli_usage(NAME, "--tolerance goes with --method lm or lbfgs, not adam");
    if (!(r->fit.weights.relation > 0.0) && r->model.relation == AF_RELATION_LOSS)
        return cli_usage(NAME, "--relation loss needs a weight of relation above 0");
    return -1;
}

static int kfit_settings(kfit_run *r, size_t no_seed) {
    const kfit_options *o = &r->o;
    int code = kfit_words(r);
    if (code < 0) code = kfit_weights(o->weights, &r->fit.weights);
    if (code < 0) code = kfit_conflicts(r, o->seed != no_seed);
    if (code >= 0) return code;
    r->model.asymmetric = o->asymmetric;
    r->model.layers = o->layers;
    r->model.width = o->width;
    r->model.frequency_width = o->frequency_width;
    r->model.seed = o->seed == no_seed ? 0 : o->seed;
    r->fit.steps = o->steps;
    r->fit.stage_steps = o->stage_steps;
    /* a model that has learned needs no stages */
    r->fit.no_stages = o->no_stages || (o->begin && !o->stage_steps);
    r->fit.tolerance = o->tolerance;
    r->fit.robust_scale = o->robust_scale;
    return -1;
}

/* ---- progress ---- */

static void kfit_remember(kfit_run *r, const af_koopman_progress *p, double seconds) {
    double *row;
    if (!r->o.history) return;
    if (r->rows == r->room) {
        double *larger = (double *)cli_allocate(2 * r->room + 1024, KFIT_COLUMNS * sizeof *larger);
        if (r->rows) memcpy(larger, r->history, r->rows * KFIT_COLUMNS * sizeof *larger);
        free(r->history);
        r->history = larger;
        r->room = 2 * r->room + 1024;
    }
    row = r->history + KFIT_COLUMNS * r->rows++;
    row[0] = (double)p->step;
    row[1] = (double)p->cuts;
    row[2] = p->loss;
    row[3] = sqrt(2.0 * p->loss);
    row[4] = seconds;
}

static void kfit_line(kfit_run *r, const af_koopman_progress *p, double seconds) {
    printf("%sstep %5lu of %lu  pieces %lu  loss %.3e  rms %.3e  %.1f s%s",
           r->on_terminal ? "\r" : "", (unsigned long)p->step, (unsigned long)p->steps,
           (unsigned long)p->cuts, p->loss, sqrt(2.0 * p->loss), seconds,
           r->on_terminal ? "\033[K" : "\n");
    fflush(stdout);
    r->line_open = r->on_terminal;
    r->line_step = p->step;
}

static int kfit_progress(const af_koopman_progress *p, void *user) {
    kfit_run *r = (kfit_run *)user;
    double now = cli_clock(), seconds = now - r->start;
    r->last = *p;
    kfit_remember(r, p, seconds);
    if (!r->o.quiet && now - r->last_line >= cli_line_interval(r->on_terminal)) {
        kfit_line(r, p, seconds);
        r->last_line = now;
    }
    return cli_stopped();
}

/* ---- before and after ---- */

/* The largest angle between neighbouring samples, in the mean over an orbit. */
static double kfit_step_angle(const koopman_map *m) {
    size_t o, i;
    double most = 0.0;
    for (o = 0; o < m->orbits; o++) {
        const double *time = af_trajectories_time(m->t, o);
        size_t count = af_trajectories_samples(m->t, o);
        double step = (time[count - 1] - time[0]) / (double)(count - 1);
        for (i = 0; i < m->freedoms; i++)
            most = fmax(most, fabs(m->mean_omega[o * m->freedoms + i]) * step);
    }
    return most;
}

static void kfit_advice(const kfit_run *r, const af_koopman *k, const koopman_map *m) {
    const af_koopman_desc *d = af_koopman_settings(k);
    printf("that is large: orbits do not turn uniformly. What to try:\n");
    if (cli_stopped() || r->last.step == r->last.steps)
        printf("  more --steps than %lu\n", (unsigned long)r->last.step);
    if (!d->asymmetric)
        printf("  --asymmetric, where the system changes under (q,p) -> (-q,-p)\n");
    printf("  more --layers than %lu, another --seed\n", (unsigned long)d->layers);
    printf("  samples closer in time: they are up to %.2g rad apart\n", kfit_step_angle(m));
    printf("  other orbits: chaotic and resonant ones cannot be fitted, noisy ones only to their "
           "noise\n");
}

static int kfit_report(af_context *c, const kfit_run *r, const af_koopman *k,
                       const af_trajectories *t, double before) {
    const double large = 1e-2; /* actions are then worse than about a per cent */
    koopman_map m;
    double after;
    int code;
    if (r->o.quiet) return CLI_OK;
    code = koopman_map_make(c, k, t, &m);
    if (code != CLI_OK) return code;
    after = koopman_turning(&m);
    printf("parameters         %lu\n",
           (unsigned long)af_params_size(af_koopman_params((af_koopman *)k)));
    printf("rms distance of samples from uniform rotation, in units of the data's size:\n");
    printf("  %s %.3e\n", r->o.begin ? "the model before " : "the model untrained", before);
    printf("  after             %.3e\n", after);
    if (!(after < large)) kfit_advice(r, k, &m);
    printf("FIGURE rms_before %.6g\nFIGURE rms %.6g\n", before, after);
    koopman_map_free(&m);
    return CLI_OK;
}

static int kfit_before(af_context *c, const kfit_run *r, const af_koopman *k,
                       const af_trajectories *t, double *before) {
    koopman_map m;
    int code = CLI_OK;
    *before = NAN;
    if (r->o.quiet) return CLI_OK;
    code = koopman_map_make(c, k, t, &m);
    if (code == CLI_OK) *before = koopman_turning(&m);
    koopman_map_free(&m);
    return code;
}

static int kfit_write_history(af_context *c, const kfit_run *r) {
    static const char *const name[KFIT_COLUMNS] = {"step", "pieces", "loss", "rms", "seconds"};
    if (!r->o.history) return CLI_OK;
    return koopman_write(c, r->o.history, "rms = sqrt(2 loss), in units of the data's size", name,
                         KFIT_COLUMNS, r->rows, r->history);
}

/* ---- the fit ---- */

/* The library's sentence; where the data are to blame, behind their file's name. */
static int kfit_fail(const af_context *c, const char *path) {
    const char *hint = strstr(af_error(c), "asymmetric = 1") ? " (--asymmetric)" : "";
    return af_error_status(c) == AF_ERROR_DATA ? cli_fail("'%s': %s%s", path, af_error(c), hint)
                                               : cli_fail_library(c);
}

static int kfit_train(af_context *c, kfit_run *r, af_koopman *k, const af_trajectories *t,
                      const char *path) {
    double before;
    af_status s;
    int code = kfit_before(c, r, k, t, &before);
    if (code != CLI_OK) return code;
    r->fit.progress = kfit_progress;
    r->fit.user = r;
    r->start = r->last_line = cli_clock();
    s = af_koopman_fit(k, t, &r->fit);
    if (!r->o.quiet && r->last.step && r->line_step != r->last.step)
        kfit_line(r, &r->last, cli_clock() - r->start);
    if (r->line_open) printf("\n");
    if (s != AF_OK && s != AF_STOPPED) code = kfit_fail(c, path);
    if (s == AF_STOPPED) {
        fflush(stdout);
        fprintf(stderr, "actionfinder: stopped; what was learned so far is kept\n");
    }
    if (code == CLI_OK && af_koopman_save(k, r->o.output) != AF_OK) code = cli_fail_library(c);
    if (code == CLI_OK) code = kfit_write_history(c, r);
    if (code == CLI_OK) code = kfit_report(c, r, k, t, before);
    if (code == CLI_OK && !r->o.quiet) printf("wrote %s\n", r->o.output);
    return code;
}

static int kfit_start(af_context *c, kfit_run *r, const char *path) {
    af_trajectories *t = NULL;
    af_koopman *k = NULL;
    int code = CLI_OK;
    cli_catch_stop(); /* before anything is printed */
    if (r->o.begin && af_koopman_load(c, r->o.begin, &k) != AF_OK)
        code = cli_fail_model(c, r->o.begin);
    if (code == CLI_OK) code = koopman_read(c, NAME, path, &r->o.source, !r->o.quiet, &t);
    if (code == CLI_OK && k) code = koopman_same_freedoms(k, r->o.begin, t, path);
    if (code == CLI_OK && !k && af_koopman_create(c, t, &r->model, &k) != AF_OK)
        code = kfit_fail(c, path);
    if (code == CLI_OK) code = kfit_train(c, r, k, t, path);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    return code;
}

static int kfit_parse(const cli_command *command, kfit_options *o, int count, char **words,
                      const char **path) {
    const cli_option options[] = {
        {"o", CLI_TEXT, &o->output, "FILE", "the model, a safetensors file"},
        KOOPMAN_SOURCE_OPTIONS(&o->source),
        {"asymmetric", CLI_FLAG, &o->asymmetric, NULL,
         "the system may change under (q,p) -> (-q,-p)"},
        {"layers", CLI_COUNT, &o->layers, "N", "shears of the map; default 8"},
        {"width", CLI_COUNT, &o->width, "N", "ridge functions of each; default 6"},
        {"ridge", CLI_TEXT, &o->ridge, "WORD", "tanh (default) or sin: their slope"},
        {"relation", CLI_TEXT, &o->relation, "WORD",
         "tied (default): Omega = dH/dJ; loss: two networks"},
        {"frequency-width", CLI_COUNT, &o->frequency_width, "N",
         "of H(J); default 6, with --relation loss 32"},
        {"method", CLI_TEXT, &o->method, "WORD", "lm (default), lbfgs or adam, to compare"},
        {"steps", CLI_COUNT, &o->steps, "N", "at most; default 400, lbfgs 2000, adam 10000"},
        {"stage-steps", CLI_COUNT, &o->stage_steps, "N",
         "with 8, 4, 2 pieces each; default 15, others 5 % of steps"},
        {"no-stages", CLI_FLAG, &o->no_stages, NULL, "whole orbits from the beginning"},
        {"tolerance", CLI_NUMBER, &o->tolerance, "X",
         "ends when ten steps each gain less than this part"},
        {"weights", CLI_TEXT, &o->weights, "LIST", "like phase=1,action=0.3; see below"},
        {"robust", CLI_TEXT, &o->robust, "WORD",
         "none (default), huber, root, cauchy: outliers count less"},
        {"robust-scale", CLI_NUMBER, &o->robust_scale, "X",
         "where they begin, in the data's size; default 0.01"},
        {"seed", CLI_SEED, &o->seed, "K", "of initial values; default 0"},
        {"continue", CLI_TEXT, &o->begin, "MODEL0", "goes on from this model, without stages"},
        {"threads", CLI_COUNT, &o->threads, "N",
         "default: all cores; results do not depend on it"},
        {"history", CLI_TEXT, &o->history, "FILE.csv", "step, pieces, loss, rms, seconds"},
        {"quiet", CLI_FLAG, &o->quiet, NULL, "prints nothing but errors"},
    };
    return cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
}

int koopman_fit(const cli_command *command, int count, char **words) {
    const size_t no_seed = (size_t)-1;
    kfit_run r;
    const char *path[1], *outputs[2];
    af_context *c = NULL;
    int code;
    memset(&r, 0, sizeof r);
    r.o.seed = no_seed;
    r.on_terminal = isatty(STDOUT_FILENO);
    code = kfit_parse(command, &r.o, count, words, path);
    if (code < 0) code = kfit_settings(&r, no_seed);
    if (code >= 0) return code;
    outputs[0] = r.o.output;
    outputs[1] = r.o.history;
    code = cli_check_outputs(outputs, 2, path, 1);
    /* a model may replace the one that it continues, its history may not */
    if (code == CLI_OK) code = cli_check_output(r.o.history, &r.o.begin, 1);
    if (code == CLI_OK) code = cli_context(r.o.threads, &c);
    if (code == CLI_OK) code = kfit_start(c, &r, path[0]);
    af_context_destroy(c);
    free(r.history);
    return code;
}
