/* deeppotential fit-flow: trains a distribution function on stars. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "fit-flow";

typedef struct flow_settings {
    const char *output, *kind, *activation, *normalise;
    deep_source source;
    deep_training training;
    size_t threads, ensemble, width, depth, transforms, bins, steps;
    double bound, noise, noise_low, noise_high, kinetic, jacobian;
    int conditional, plain, plain_inputs, bootstrap;
    dp_df_desc model;
} flow_settings;

static size_t flow_options(flow_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"o", CLI_TEXT, &o->output, "FILE", "the distribution function, a safetensors file"},
        {"kind", CLI_TEXT, &o->kind, "WORD", "score (default), matching, spline or ffjord"},
        DEEP_SOURCE_OPTIONS(&o->source),
        DEEP_TRAINING_OPTIONS(&o->training),
        {"width", CLI_COUNT, &o->width, "N",
         "of hidden layers; default: score 64, matching 256, spline 16, ffjord 128"},
        {"depth", CLI_COUNT, &o->depth, "N", "hidden layers; default 3, matching 4"},
        {"activation", CLI_TEXT, &o->activation, "WORD",
         "score, matching: silu (default), tanh, softplus or sin"},
        {"conditional", CLI_FLAG, &o->conditional, NULL,
         "score: learns p(v|x) alone, for samples whose selection in x is not known"},
        {"plain-coordinates", CLI_FLAG, &o->plain, NULL,
         "score: no stretched positions, no velocities from their local mean"},
        {"plain-inputs", CLI_FLAG, &o->plain_inputs, NULL,
         "score: the network gets no radii and components along them"},
        {"noise", CLI_NUMBER, &o->noise, "X",
         "score: evaluated at; default: none, or the best on stars held out"},
        {"noise-low", CLI_NUMBER, &o->noise_low, "X", "score: least in training; default 0.1 ..."},
        {"noise-high", CLI_NUMBER, &o->noise_high, "X", "... and most; default 0.7"},
        {"transforms", CLI_COUNT, &o->transforms, "N", "in the chain: spline 4, ffjord 3"},
        {"bins", CLI_COUNT, &o->bins, "N", "spline: of each spline; default 5"},
        {"bound", CLI_NUMBER, &o->bound, "X",
         "spline: what is bent, in standard deviations; default 4"},
        {"kinetic", CLI_REAL, &o->kinetic, "X", "ffjord: penalty; default 1e-4, -1: none"},
        {"jacobian", CLI_REAL, &o->jacobian, "X", "ffjord: penalty; default 1e-4, -1: none"},
        {"steps", CLI_COUNT, &o->steps, "N", "ffjord: of the solver in training; default 4"},
        {"normalise", CLI_TEXT, &o->normalise, "FLOW",
         "score: by draws of this flow of the same stars, so that ln f is absolute"},
        {"ensemble", CLI_COUNT, &o->ensemble, "N", "N models: FILE-1.safetensors with seed K, ..."},
        {"bootstrap", CLI_FLAG, &o->bootstrap, NULL,
         "of as many stars drawn again, by the seed: what few stars leave open"},
        {"threads", CLI_COUNT, &o->threads, "N",
         "default: all cores; results do not depend on it"},
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

size_t deep_fit_flow_options(cli_option *out) {
    static flow_settings nowhere;
    return flow_options(&nowhere, out);
}

/* ---- options ---- */

static int flow_conflicts(const flow_settings *o, dp_df_kind kind) {
    static const char *const name[4] = {"score", "matching", "spline", "ffjord"};
    const char *wrong = NULL;
    if (kind != DP_DF_SCORE && o->conditional) wrong = "conditional";
    if (kind != DP_DF_SCORE && o->plain) wrong = "plain-coordinates";
    if (kind != DP_DF_SCORE && o->plain_inputs) wrong = "plain-inputs";
    if (kind != DP_DF_SCORE && o->normalise) wrong = "normalise";
    if (kind != DP_DF_SCORE && (o->noise > 0.0 || o->noise_low > 0.0 || o->noise_high > 0.0))
        wrong = "noise";
    if (kind != DP_DF_SPLINE && o->bins) wrong = "bins";
    if (kind != DP_DF_SPLINE && o->bound > 0.0) wrong = "bound";
    if (kind != DP_DF_FFJORD && o->steps) wrong = "steps";
    if (kind != DP_DF_FFJORD && o->kinetic < 0.0) wrong = "kinetic";
    if (kind == DP_DF_SCORE && o->transforms) wrong = "transforms";
    if (wrong) return cli_usage(NAME, "--%s is nothing that --kind %s has", wrong, name[kind]);
    if (o->conditional && o->normalise)
        return cli_usage(NAME, "--normalise is not for --conditional");
    if (o->noise_low > 0.0 && o->noise_high > 0.0 && !(o->noise_high > o->noise_low))
        return cli_usage(NAME, "--noise-high must be above --noise-low");
    return -1;
}

static int flow_desc(flow_settings *o) {
    static const char *const kind[4] = {"score", "matching", "spline", "ffjord"};
    static const char *const activation[4] = {"silu", "tanh", "softplus", "sin"};
    dp_df_desc *d = &o->model;
    int word, code = cli_word(NAME, "kind", o->kind, kind, 4, &word);
    if (code >= 0) return code;
    d->kind = (dp_df_kind)word;
    code = cli_word(NAME, "activation", o->activation, activation, 4, &word);
    if (code >= 0) return code;
    d->activation = (af_activation)word;
    if ((code = flow_conflicts(o, d->kind)) >= 0) return code;
    if (!o->output)
        return cli_usage(NAME, "-o FILE.safetensors is missing: where the model goes");
    d->seed = o->training.seed;
    d->width = o->width;
    d->depth = o->depth;
    d->transforms = o->transforms;
    d->bins = o->bins;
    d->bound = o->bound;
    d->kinetic = o->kinetic;
    d->jacobian = o->jacobian;
    d->steps = o->steps;
    d->noise = o->noise;
    d->noise_low = o->noise_low;
    d->noise_high = o->noise_high;
    d->plain_coordinates = o->plain;
    d->plain_inputs = o->plain_inputs;
    d->conditional = o->conditional;
    return -1;
}

/* ---- the fit ---- */

/* The stars with their weights times those of a bootstrap sample. */
static int flow_bootstrap(af_context *c, const dp_sample *s, size_t seed, dp_sample **out) {
    size_t n = dp_sample_count(s), i;
    const double *own = dp_sample_weights(s);
    double *weights = (double *)cli_allocate(n, sizeof *weights);
    dp_volume volume = dp_sample_volume(s);
    af_status status;
    dp_bootstrap_weights(seed, n, weights);
    for (i = 0; own && i < n; i++) weights[i] *= own[i];
    status = dp_sample_create(c, n, dp_sample_eta(s), weights, dp_sample_errors(s), &volume, out);
    free(weights);
    return status == AF_OK ? CLI_OK : cli_fail_library(c);
}

static void flow_report(const flow_settings *o, const dp_df *df, const dp_df_report *r) {
    dp_df_desc d = dp_df_describe(df);
    if (o->training.quiet) return;
    printf("trained on %lu stars, %lu held out\n", (unsigned long)r->stars,
           (unsigned long)r->held_out);
    printf("loss of stars held out%s\n  untrained %12.6g\n  trained   %12.6g\n",
           d.kind == DP_DF_SCORE ? "" : ", -mean ln f", r->untrained, r->validation);
    if (d.kind == DP_DF_SCORE)
        printf("evaluated at a noise of %.3g standard deviations, mean of |s|^2/2 + div s %.5f\n",
               r->noise, r->objective);
    printf("FIGURE untrained %.6g\nFIGURE validation %.6g\n", r->untrained, r->validation);
}

static int flow_normalise(af_context *c, const flow_settings *o, dp_df *df) {
    const size_t draws = 65536; /* the constant is then good to about 1 % */
    dp_df *flow;
    double error = 0.0;
    int code;
    if (!o->normalise) return CLI_OK;
    code = deep_open_df(c, o->normalise, &flow);
    if (code == CLI_OK && dp_df_normalise(df, flow, draws, o->training.seed, &error) != AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK && !o->training.quiet)
        printf("normalised by %lu draws: ln f is good to %.2g\n", (unsigned long)draws, error);
    dp_df_destroy(flow);
    return code;
}

static int flow_train(af_context *c, flow_settings *o, const dp_sample *s, const char *path) {
    dp_df *df = NULL;
    dp_fit_desc fit;
    dp_df_report report;
    af_status status = dp_df_create(s, &o->model, &df);
    int code = CLI_OK, ended;
    memset(&report, 0, sizeof report);
    if (status != AF_OK) return deep_fail(c, path);
    if (!o->training.quiet)
        printf("%s, %lu parameters\n", dp_df_name(o->model.kind),
               (unsigned long)dp_df_parameters(df));
    deep_training_begin(&o->training, &fit);
    status = dp_df_fit(df, s, &fit, &report);
    ended = deep_training_end(c, &o->training, "model", &status);
    if (status != AF_OK) code = deep_fail(c, path);
    else if (ended != CLI_OK) code = ended;
    if (code == CLI_OK) code = flow_normalise(c, o, df);
    if (code == CLI_OK && dp_df_save(df, o->output) != AF_OK) code = cli_fail_library(c);
    if (code == CLI_OK) flow_report(o, df, &report);
    if (code == CLI_OK && !o->training.quiet) printf("wrote %s\n", o->output);
    dp_df_destroy(df);
    return code;
}

static int flow_member(af_context *c, flow_settings *o, const dp_sample *s, const char *path) {
    dp_sample *drawn = NULL;
    int code = CLI_OK;
    o->model.seed = o->training.seed;
    if (o->bootstrap) code = flow_bootstrap(c, s, o->training.seed, &drawn);
    if (code == CLI_OK) code = flow_train(c, o, drawn ? drawn : s, path);
    dp_sample_destroy(drawn);
    return code;
}

/* Model k of several, with names of its own. */
static int flow_numbered(af_context *c, const flow_settings *all, const dp_sample *s,
                         const char *path, size_t k) {
    flow_settings o = *all;
    char *output = cli_numbered(all->output, k), *history = cli_numbered(all->training.history, k);
    char *checkpoint = cli_numbered(all->training.checkpoint, k);
    int code;
    o.output = output;
    o.training.history = history;
    o.training.checkpoint = checkpoint;
    o.training.seed += k - 1;
    o.training.seconds /= (double)all->ensemble;
    if (!o.training.quiet)
        printf("model %lu of %lu, seed %lu\n", (unsigned long)k, (unsigned long)all->ensemble,
               (unsigned long)o.training.seed);
    code = flow_member(c, &o, s, path);
    free(output);
    free(history);
    free(checkpoint);
    return code;
}

static int flow_all(af_context *c, flow_settings *o, const char *path) {
    dp_sample *s;
    size_t k;
    int code = deep_read_stars(c, NAME, path, &o->source, o->training.quiet, &s);
    if (code == CLI_OK) deep_check_stars(path, s, 1);
    if (code == CLI_OK && !o->ensemble) code = flow_member(c, o, s, path);
    for (k = 1; code == CLI_OK && k <= o->ensemble && !(k > 1 && cli_stopped()); k++)
        code = flow_numbered(c, o, s, path, k);
    dp_sample_destroy(s);
    return code;
}

/* Returns like cli_parse. */
static int flow_parse(const cli_command *command, int count, char **words, flow_settings *o,
                      const char **path) {
    cli_option options[DEEP_OPTIONS];
    dp_volume volume;
    int code;
    memset(o, 0, sizeof *o);
    code = cli_parse(command, options, flow_options(o, options), count, words, path, 1);
    if (code < 0) code = flow_desc(o);
    if (code < 0) code = deep_volume(NAME, "volume", o->source.volume, &volume);
    return code < 0 ? deep_training_check(NAME, &o->training) : code;
}

int deep_fit_flow_check(const cli_command *command, int count, char **words) {
    flow_settings o;
    const char *path;
    return flow_parse(command, count, words, &o, &path);
}

int deep_fit_flow(const cli_command *command, int count, char **words) {
    flow_settings o;
    const char *path[3];
    af_context *c;
    int code = flow_parse(command, count, words, &o, path);
    if (code >= 0) return code;
    path[1] = o.normalise;
    path[2] = o.source.weights;
    if ((code = deep_training_outputs(&o.training, o.output, path, 3)) != CLI_OK) return code;
    if ((code = cli_context(o.threads, &c)) != CLI_OK) return code;
    code = flow_all(c, &o, path[0]);
    af_context_destroy(c);
    return code;
}
