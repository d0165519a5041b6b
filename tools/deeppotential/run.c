/* deeppotential run: all stages by one file of options. Stages are the other commands; a line
 * `fit-flow.seconds = 60` is their option --seconds 60. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "deep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char NAME[] = "run";

enum { RUN_LINES = 256, RUN_WORDS = 2 * RUN_LINES, RUN_STAGES = 6, RUN_KEYS = 9 };
enum { RUN_MOCK, RUN_FLOW, RUN_GRADIENTS, RUN_POTENTIAL, RUN_EVAL, RUN_PLOT };

static const char *const STAGE[RUN_STAGES] = {"mock",          "fit-flow", "gradients",
                                              "fit-potential", "eval",     "plot"};
static size_t (*const OPTIONS[RUN_STAGES])(cli_option *) = {
    deep_mock_options,          deep_fit_flow_options, deep_gradients_options,
    deep_fit_potential_options, deep_eval_options,     deep_plot_options};

static int (*const CHECK[RUN_STAGES])(const cli_command *, int, char **) = {
    deep_mock_check,          deep_fit_flow_check, deep_gradients_check,
    deep_fit_potential_check, deep_eval_check,     deep_plot_check};

/* Keys without a stage. */
static const char *const KEY[RUN_KEYS] = {"stars",  "mock",  "folder",  "points",
                                          "volume", "check", "threads", "device",
                                          "quiet"};

/* Options whose files run names itself. */
static const char *const OWN[] = {"o",         "history", "flow-history",   "rotation-curve",
                                  "gradients", "truth",   "truth-gradients"};

typedef struct run_line {
    unsigned long number;
    char *key, *value;
    int stage; /* -1: none */
    const char *option;
    int flag; /* whether the option is one */
} run_line;

typedef struct run_state {
    const char *path, *folder;
    char *text, *copy;
    run_line line[RUN_LINES];
    size_t lines;
    /* the words of one stage */
    char *word[RUN_WORDS];
    size_t words;
} run_state;

/* ---- the file ---- */

static char *run_trim(char *text) {
    size_t n;
    while (*text == ' ' || *text == '\t') text++;
    n = strlen(text);
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t' || text[n - 1] == '\r')) text[--n] = 0;
    return text;
}

static int run_fail(const run_state *r, const run_line *l, const char *what, const char *name,
                    const char *more) {
    return cli_fail("'%s', line %lu: %s '%s'%s", r->path, l->number, what, name, more);
}

/* Another spelling to offer; or all of few names; or "". */
static const char *run_near(const char *word, const char *const *names, size_t n, char room[160]) {
    const char *near = cli_nearest(word, names, n);
    size_t i, used = 0;
    room[0] = 0;
    if (near) snprintf(room, 160, "; did you mean %s?", near);
    for (i = 0; !near && n <= (size_t)RUN_KEYS && i < n && used < 120; i++)
        used += (size_t)snprintf(room + used, 160 - used, "%s%s", i ? ", " : "; there are ",
                                 names[i]);
    return room;
}

static int run_check_value(const run_state *r, run_line *l, const cli_option *o) {
    char more[160];
    const char *wanted;
    size_t i;
    l->option = o->name;
    l->flag = o->kind == CLI_FLAG;
    for (i = 0; i < sizeof OWN / sizeof *OWN; i++)
        if (strcmp(OWN[i], o->name) == 0)
            return run_fail(r, l, "`deeppotential run` names the file itself of", l->key, "");
    if (l->flag && strcmp(l->value, "yes") != 0 && strcmp(l->value, "no") != 0) {
        snprintf(more, sizeof more, " is yes or no, not '%s'", l->value);
        return run_fail(r, l, "the option", l->key, more);
    }
    wanted = l->flag ? NULL : cli_set(o, l->value);
    if (!wanted) return CLI_OK;
    snprintf(more, sizeof more, " takes %s, not '%.60s'", wanted, l->value);
    return run_fail(r, l, "the option", l->key, more);
}

/* A key with a stage before the dot. */
static int run_check_stage(const run_state *r, run_line *l, const char *dot) {
    cli_option options[DEEP_OPTIONS];
    const char *names[DEEP_OPTIONS];
    char stage[32], more[160];
    size_t n, i;
    int s = 0;
    snprintf(stage, sizeof stage, "%.*s", (int)(dot - l->key), l->key);
    while (s < RUN_STAGES && strcmp(STAGE[s], stage) != 0) s++;
    if (s == RUN_STAGES)
        return run_fail(r, l, "there is no stage", stage,
                        run_near(stage, STAGE, RUN_STAGES, more));
    l->stage = s;
    n = OPTIONS[s](options);
    for (i = 0; i < n; i++) {
        names[i] = options[i].name;
        if (strcmp(names[i], dot + 1) == 0) return run_check_value(r, l, &options[i]);
    }
    return run_fail(r, l, "there is no option", l->key, run_near(dot + 1, names, n, more));
}

static int run_check(const run_state *r, run_line *l) {
    const char *dot = strchr(l->key, '.');
    char more[160];
    size_t i;
    l->stage = -1;
    if (*l->value == 0) return run_fail(r, l, "there is no value for", l->key, "");
    for (i = 0; i < r->lines; i++)
        if (&r->line[i] != l && strcmp(r->line[i].key, l->key) == 0)
            return run_fail(r, l, "there are two lines for", l->key, "");
    if (dot) return run_check_stage(r, l, dot);
    for (i = 0; i < (size_t)RUN_KEYS; i++)
        if (strcmp(KEY[i], l->key) == 0) return CLI_OK;
    return run_fail(r, l, "there is no key", l->key, run_near(l->key, KEY, RUN_KEYS, more));
}

static int run_parse(run_state *r) {
    char *at = r->text, *next;
    unsigned long number = 1;
    for (; at; at = next, number++) {
        run_line *l = &r->line[r->lines];
        char *equals;
        next = strchr(at, '\n');
        if (next) *next++ = 0;
        at[strcspn(at, "#")] = 0;
        at = run_trim(at);
        if (!*at) continue;
        equals = strchr(at, '=');
        if (r->lines == (size_t)RUN_LINES)
            return cli_fail("'%s' has more than %d lines", r->path, (int)RUN_LINES);
        l->number = number;
        if (!equals) return run_fail(r, l, "this is not `key = value`:", at, "");
        *equals = 0;
        l->key = run_trim(at);
        l->value = run_trim(equals + 1);
        r->lines++;
        if (run_check(r, l) != CLI_OK) return CLI_FAILED;
    }
    return CLI_OK;
}

static int run_read(run_state *r) {
    enum { MOST = 1 << 16 };
    FILE *file = fopen(r->path, "rb");
    size_t n;
    if (!file) return cli_fail("cannot read '%s': %s", r->path, strerror(errno));
    r->text = (char *)cli_allocate(MOST + 1, 1);
    r->copy = (char *)cli_allocate(MOST + 1, 1);
    n = fread(r->text, 1, MOST, file);
    if (ferror(file)) n = MOST;
    fclose(file);
    if (n == (size_t)MOST || strlen(r->text) != n)
        return cli_fail("'%s' is not a file of options", r->path);
    memcpy(r->copy, r->text, n);
    return run_parse(r);
}

static const char *run_value(const run_state *r, const char *key) {
    size_t i;
    for (i = 0; i < r->lines; i++)
        if (strcmp(r->line[i].key, key) == 0) return r->line[i].value;
    return NULL;
}

static int run_yes(const run_state *r, const char *key) {
    const char *value = run_value(r, key);
    return value && strcmp(value, "yes") == 0;
}

/* ---- the words of a stage ---- */

static void run_push(run_state *r, const char *a, const char *b, const char *c) {
    size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
    char *word = (char *)cli_allocate(size, 1);
    snprintf(word, size, "%s%s%s", a, b, c);
    if (r->words < (size_t)RUN_WORDS) r->word[r->words++] = word;
    else free(word);
}

/* A file in the folder, numbered for k > 0. */
static void run_push_file(run_state *r, const char *name, size_t k) {
    char *numbered = k ? cli_numbered(name, k) : NULL;
    run_push(r, r->folder, "/", numbered ? numbered : name);
    free(numbered);
}

/* `--option=value`, where the key is there. */
static void run_push_key(run_state *r, const char *option, const char *key) {
    const char *value = run_value(r, key);
    if (value) run_push(r, option, "=", value);
}

/* What the lines say of the stage. */
static void run_push_lines(run_state *r, int stage) {
    size_t i;
    for (i = 0; i < r->lines; i++) {
        const run_line *l = &r->line[i];
        if (l->stage != stage || (l->flag && strcmp(l->value, "no") == 0)) continue;
        if (l->flag) run_push(r, "--", l->option, "");
        else {
            char name[64];
            snprintf(name, sizeof name, "%s%s=", l->option[1] ? "--" : "-", l->option);
            run_push(r, name, l->value, "");
        }
    }
}

/* Models of an ensemble, or one. */
static size_t run_members(const run_state *r, const char *key) {
    const char *value = run_value(r, key);
    return value ? (size_t)strtoul(value, NULL, 10) : 0;
}

static void run_push_models(run_state *r, const char *name, const char *key) {
    size_t members = run_members(r, key), k;
    for (k = members ? 1 : 0; k <= members; k++) run_push_file(r, name, k);
}

static void run_push_stars(run_state *r) {
    const char *stars = run_value(r, "stars");
    if (stars) run_push(r, stars, "", "");
    else run_push_file(r, run_value(r, "mock.errors") ? "stars.csv" : "stars.npy", 0);
}

/* Whether the truth at the points of gradients.npy is known. */
static int run_knows(const run_state *r) {
    const char *mock = run_value(r, "mock");
    return mock && strcmp(mock, "plummer") == 0 && !run_value(r, "mock.errors") &&
           !run_value(r, "volume") && !run_value(r, "gradients.n") &&
           !run_value(r, "gradients.draw") && !run_value(r, "gradients.cut") &&
           !run_value(r, "gradients.volume");
}

/* ---- the stages ---- */

static void run_words_mock(run_state *r) {
    run_push(r, run_value(r, "mock"), "", "");
    run_push(r, "-o", "", "");
    run_push_stars(r);
    if (!run_knows(r)) return;
    run_push(r, "--truth-gradients", "", "");
    run_push_file(r, "truth.npy", 0);
}

static void run_words_fit(run_state *r, int stage) {
    const char *output = stage == RUN_FLOW ? "df.safetensors" : "phi.safetensors";
    const char *history = stage == RUN_FLOW ? "df-loss.csv" : "phi-loss.csv";
    if (stage == RUN_FLOW) run_push_stars(r);
    else run_push_file(r, "gradients.npy", 0);
    run_push(r, "-o", "", "");
    run_push_file(r, output, 0);
    run_push(r, "--history", "", "");
    run_push_file(r, history, 0);
    if (stage == RUN_FLOW) run_push_key(r, "--volume", "volume");
    else if (run_yes(r, "fit-flow.conditional")) run_push(r, "--density-net", "", "");
    if (run_yes(r, "quiet")) run_push(r, "--quiet", "", "");
}

static void run_words_gradients(run_state *r) {
    run_push_models(r, "df.safetensors", "fit-flow.ensemble");
    if (!run_value(r, "gradients.draw")) run_push_stars(r);
    run_push(r, "-o", "", "");
    run_push_file(r, "gradients.npy", 0);
    run_push_key(r, "--volume", "volume");
    if (run_yes(r, "quiet")) run_push(r, "--quiet", "", "");
}

static void run_words_eval(run_state *r) {
    run_push_models(r, "phi.safetensors", "fit-potential.ensemble");
    if (run_value(r, "points")) run_push(r, run_value(r, "points"), "", "");
    else run_push_stars(r);
    run_push(r, "-o", "", "");
    run_push_file(r, "table.csv", 0);
    run_push_key(r, "--check", "check");
    if (!run_value(r, "eval.radii")) return;
    run_push(r, "--rotation-curve", "", "");
    run_push_file(r, "rotation.csv", 0);
}

static void run_words_plot(run_state *r) {
    run_push_file(r, "phi.safetensors", run_members(r, "fit-potential.ensemble") ? 1 : 0);
    run_push(r, "-o", "", "");
    run_push_file(r, "picture.svg", 0);
    run_push(r, "--gradients", "", "");
    run_push_file(r, "gradients.npy", 0);
    if (run_knows(r)) {
        run_push(r, "--truth", "", "");
        run_push_file(r, "truth.npy", 0);
    }
    run_push(r, "--flow-history", "", "");
    run_push_file(r, "df-loss.csv", run_members(r, "fit-flow.ensemble") ? 1 : 0);
    run_push(r, "--history", "", "");
    run_push_file(r, "phi-loss.csv", run_members(r, "fit-potential.ensemble") ? 1 : 0);
    run_push_key(r, "--check", "check");
}

static void run_words(run_state *r, int stage) {
    switch (stage) {
    case RUN_MOCK: run_words_mock(r); break;
    case RUN_GRADIENTS: run_words_gradients(r); break;
    case RUN_EVAL: run_words_eval(r); break;
    case RUN_PLOT: run_words_plot(r); break;
    default: run_words_fit(r, stage); break;
    }
    run_push_key(r, "--threads", "threads");
    run_push_key(r, "--device", "device");
    run_push_lines(r, stage);
}

static void run_words_free(run_state *r) {
    while (r->words) free(r->word[--r->words]);
}

/* Before anything is done: whether the stages from this one on will take their words, and `points`
 * can be read. */
static int run_foresee(run_state *r, int stage) {
    const char *points = run_value(r, "points");
    af_context *c = NULL;
    double *x = NULL;
    size_t n;
    int code = -1;
    for (; stage < RUN_STAGES && code < 0; stage++) {
        if (stage == RUN_MOCK && !run_value(r, "mock")) continue;
        run_words(r, stage);
        code = CHECK[stage](deep_command(STAGE[stage]), (int)r->words, r->word);
        run_words_free(r);
    }
    if (code >= 0) return CLI_FAILED;
    if (!points) return CLI_OK;
    code = cli_context(0, &c);
    if (code == CLI_OK) code = deep_read_places(c, points, &n, &x);
    free(x);
    af_context_destroy(c);
    return code;
}

static int run_stage(run_state *r, int stage) {
    const cli_command *command = deep_command(STAGE[stage]);
    int code;
    run_words(r, stage);
    if (!run_yes(r, "quiet")) printf("---- %s\n", STAGE[stage]);
    fflush(stdout);
    code = command->run(command, (int)r->words, r->word);
    run_words_free(r);
    if (code == CLI_OK && cli_stopped() && stage + 1 < RUN_STAGES)
        code = cli_fail("stopped after %s; `deeppotential run %s --from %s` goes on", STAGE[stage],
                        r->path, STAGE[stage + 1]);
    return code;
}

/* ---- the command ---- */

static int run_folder(const run_state *r) {
    size_t size = strlen(r->folder) + 32;
    char *path;
    struct stat facts;
    int code;
    if (mkdir(r->folder, 0777) != 0 && errno != EEXIST)
        return cli_fail("cannot make the folder '%s': %s", r->folder, strerror(errno));
    if (stat(r->folder, &facts) != 0 || !S_ISDIR(facts.st_mode))
        return cli_fail("'%s' is not a folder", r->folder);
    path = (char *)cli_allocate(size, 1);
    snprintf(path, size, "%s/options.txt", r->folder);
    if (stat(path, &facts) != 0 || strcmp(path, r->path) != 0)
        code = cli_write_text(path, r->copy, strlen(r->copy));
    else
        code = CLI_OK;
    free(path);
    return code;
}

static int run_all(run_state *r, const char *folder, int from) {
    int code = run_read(r), stage;
    r->folder = folder ? folder : run_value(r, "folder");
    if (code != CLI_OK) return code;
    if (!r->folder)
        return cli_fail("'%s' has no line `folder = ...`, and there is no -o FOLDER", r->path);
    if ((run_value(r, "stars") != NULL) == (run_value(r, "mock") != NULL))
        return cli_fail("'%s' must have one line `stars = FILE` or `mock = SYSTEM`", r->path);
    if ((code = run_foresee(r, from)) != CLI_OK) return code;
    if ((code = run_folder(r)) != CLI_OK) return code;
    for (stage = from; stage < RUN_STAGES && code == CLI_OK; stage++)
        if (stage != RUN_MOCK || run_value(r, "mock")) code = run_stage(r, stage);
    return code;
}

int deep_run(const cli_command *command, int count, char **words) {
    const char *path[1], *folder = NULL, *from = NULL;
    run_state *r;
    int code, stage;
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &folder, "FOLDER", "where the products go, instead of the file's"},
            {"from", CLI_TEXT, &from, "STAGE", "begins with this stage, on what is in the folder"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
    }
    if (code < 0) code = cli_word(NAME, "from", from, STAGE, RUN_STAGES, &stage);
    if (code >= 0) return code;
    r = (run_state *)cli_allocate(1, sizeof *r);
    r->path = path[0];
    code = run_all(r, folder, stage);
    free(r->text);
    free(r->copy);
    free(r);
    return code;
}
