/* deeppotential sample, gradients: draws from a flow, gradients of ln f. */
#include "deep.h"

#include <stdlib.h>
#include <string.h>

/* ---- sample ---- */

static int sample_all(af_context *c, const char *path, const char *output, size_t n, size_t seed,
                      const dp_volume *cut) {
    dp_df *df;
    double *eta;
    size_t i, kept = 0;
    int code = deep_open_df(c, path, &df);
    if (code != CLI_OK) return code;
    eta = (double *)cli_allocate(6 * n, sizeof *eta);
    if (dp_df_draw(df, n, seed, eta) != AF_OK) code = cli_fail_library(c);
    for (i = 0; i < n; i++)
        if (dp_volume_holds(cut, eta + 6 * i))
            memmove(eta + 6 * kept++, eta + 6 * i, 6 * sizeof *eta);
    if (code == CLI_OK && kept == 0)
        code = cli_fail("none of the %lu draws is inside --cut", (unsigned long)n);
    if (code == CLI_OK) code = deep_write_stars(c, output, kept, eta, NULL, NULL, cut);
    if (code == CLI_OK) printf("%lu draws\nwrote %s\n", (unsigned long)kept, output);
    free(eta);
    dp_df_destroy(df);
    return code;
}

int deep_sample(const cli_command *command, int count, char **words) {
    const char *path[1], *output = NULL, *cut = NULL;
    size_t n = 131072, seed = 0, threads = 0; /* 2^17 as in the papers */
    dp_volume volume;
    af_context *c;
    int code;
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &output, "FILE", "the draws: .npy, .csv or .h5"},
            {"n", CLI_COUNT, &n, "N", "draws; default 131072"},
            {"seed", CLI_SEED, &seed, "K", "default 0"},
            {"cut", CLI_TEXT, &cut, "SHAPE", "of the draws only those inside; see below"},
            {"threads", CLI_COUNT, &threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
    }
    if (code >= 0) return code;
    if ((code = deep_check_data("sample", output)) >= 0) return code;
    if ((code = deep_volume("sample", "cut", cut, &volume)) >= 0) return code;
    if ((code = cli_check_output(output, path, 1)) != CLI_OK) return code;
    if ((code = cli_context(threads, &c)) != CLI_OK) return code;
    code = sample_all(c, path[0], output, n, seed, &volume);
    af_context_destroy(c);
    return code;
}

/* ---- gradients ---- */

typedef struct grad_settings {
    const char *output;
    deep_where where;
    size_t threads;
    int quiet;
} grad_settings;

static size_t grad_options(grad_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"o", CLI_TEXT, &o->output, "FILE", "points and gradients: .npy, .csv or .h5"},
        DEEP_WHERE_OPTIONS(&o->where),
        DEEP_SOURCE_OPTIONS(&o->where.source),
        {"quiet", CLI_FLAG, &o->quiet, NULL, "prints nothing but errors"},
        {"threads", CLI_COUNT, &o->threads, "N", "default: all cores"},
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

size_t deep_gradients_options(cli_option *out) {
    static grad_settings nowhere;
    return grad_options(&nowhere, out);
}

static int grad_all(af_context *c, const grad_settings *o, size_t models,
                    const char *const *model, const char *stars) {
    deep_points p;
    int code = deep_points_compute(c, "gradients", models, model, stars, &o->where, o->quiet, &p);
    if (code == CLI_OK) code = deep_points_write(c, o->output, &p);
    if (code == CLI_OK && !o->quiet)
        printf("gradients at %lu points\nwrote %s\n", (unsigned long)p.n, o->output);
    deep_points_free(&p);
    return code;
}

/* Returns like cli_parse. */
static int grad_parse(const cli_command *command, int count, char **words, grad_settings *o,
                      const char **path, size_t *given) {
    cli_option options[DEEP_OPTIONS];
    int code;
    memset(o, 0, sizeof *o);
    code = cli_parse(command, options, grad_options(o, options), count, words, path, -1);
    while (path[*given]) ++*given;
    if (code < 0 && !o->where.draw && *given < 2)
        code = cli_usage("gradients", "it takes %s, or --draw FLOW", command->arguments);
    if (code < 0) code = deep_where_check("gradients", &o->where);
    return code < 0 ? deep_check_data("gradients", o->output) : code;
}

int deep_gradients_check(const cli_command *command, int count, char **words) {
    const char **path = (const char **)cli_allocate((size_t)count + 1, sizeof *path);
    grad_settings o;
    size_t given = 0;
    int code = grad_parse(command, count, words, &o, path, &given);
    free(path);
    return code;
}

int deep_gradients(const cli_command *command, int count, char **words) {
    const char **path = (const char **)cli_allocate((size_t)count + 1, sizeof *path);
    grad_settings o;
    size_t given = 0;
    af_context *c = NULL;
    int code = grad_parse(command, count, words, &o, path, &given);
    if (code < 0) {
        code = cli_check_output(o.output, path, given);
        if (code == CLI_OK) code = cli_context(o.threads, &c);
        if (code == CLI_OK)
            code = o.where.draw ? grad_all(c, &o, given, path, NULL)
                                : grad_all(c, &o, given - 1, path, path[given - 1]);
    }
    af_context_destroy(c);
    free(path);
    return code;
}
