#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *cli_program = "actionfinder";

/* ---- sentences ---- */

int cli_fail(const char *format, ...) {
    va_list list;
    fflush(stdout);
    fprintf(stderr, "%s: ", cli_program);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    return CLI_FAILED;
}

int cli_usage(const char *command, const char *format, ...) {
    va_list list;
    fprintf(stderr, "%s %s: ", cli_program, command);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "; see `%s %s --help`\n", cli_program, command);
    return CLI_USAGE;
}

int cli_fail_library(const af_context *c) {
    const char *sentence = af_error(c);
    return cli_fail("%s", *sentence ? sentence : "something failed and did not say why");
}

int cli_fail_model(af_context *c, const char *path) {
    static const struct {
        const char *begin, *kind;
    } known[] = {
        {"actionfinder model", "an ActionFinder model, for `actionfinder eval`"},
        {"actionfinder koopman model", "a Koopman model, for `actionfinder koopman eval`"},
        {"actionfinder mass model", "a mass model, for `actionfinder field eval`"},
        {"actionfinder acceleration", "an acceleration network, for `actionfinder field eval`"},
        {"actionfinder checkpoint", "the state of a training, for `actionfinder fit --resume`"},
        {"deeppotential distribution", "a distribution function, for `deeppotential eval`"},
        {"deeppotential potential", "a potential, for `deeppotential eval`"}};
    static const char expected[] = ", expected '";
    const char *format = NULL, *wanted = NULL, *is = NULL, *takes = NULL;
    char sentence[1024];
    af_tensors *set = NULL;
    size_t i;
    snprintf(sentence, sizeof sentence, "%s", af_error(c));
    if (af_error_status(c) != AF_ERROR_FORMAT) return cli_fail_library(c);
    af_error_clear(c);
    if (af_tensors_read(c, path, &set) == AF_OK) format = af_tensors_text(set, "format");
    if (format) wanted = strstr(sentence, expected);
    for (i = 0; i < sizeof known / sizeof *known && wanted; i++) {
        size_t n = strlen(known[i].begin);
        if (strncmp(format, known[i].begin, n) == 0) is = known[i].kind;
        if (strncmp(wanted + strlen(expected), known[i].begin, n) == 0) takes = known[i].kind;
    }
    af_tensors_destroy(set);
    /* a damaged model of the right kind has the sentence that it got */
    if (!is || !takes) return cli_fail("%s", sentence);
    return cli_fail("'%s' is %s; this command takes %s", path, is, takes);
}

void *cli_allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        exit(cli_fail("out of memory: %lu x %lu bytes", (unsigned long)count, (unsigned long)size));
    return memory;
}

double cli_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static volatile sig_atomic_t cli_interrupted;

static void cli_interrupt(int signal_number) {
    (void)signal_number;
    cli_interrupted = 1;
}

void cli_catch_stop(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = cli_interrupt;
    action.sa_flags = (int)SA_RESETHAND;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int cli_stopped(void) { return cli_interrupted != 0; }

double cli_line_interval(int on_terminal) { return on_terminal ? 0.1 : 5.0; }

void cli_progress(const char *what, size_t done, size_t all) {
    static double start, last;
    double now = cli_clock();
    if (!isatty(STDOUT_FILENO)) return;
    if (done == 0) start = last = now;
    if (done == all) {
        printf("\r\033[K");
    } else if (done == 0) {
        printf("%s ...", what);
    } else if (now - last >= cli_line_interval(1)) {
        unsigned long left = (unsigned long)((now - start) * (double)(all - done) / (double)done);
        printf("\r%s: %lu of %lu, %lu:%02lu left\033[K", what, (unsigned long)done,
               (unsigned long)all, left / 60, left % 60);
        last = now;
    }
    fflush(stdout);
}

/* ---- options ---- */

enum { CLI_LONGEST_WORD = 64 };

/* Letters to insert, remove or change to get from a to b (Levenshtein). */
static size_t cli_distance(const char *a, const char *b) {
    size_t row[CLI_LONGEST_WORD + 1], i, j, n = strlen(b);
    if (n > CLI_LONGEST_WORD) return SIZE_MAX;
    for (j = 0; j <= n; j++) row[j] = j;
    for (i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (j = 0; j < n; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j + 1] + 1 < best) best = row[j + 1] + 1;
            row[j + 1] = best;
        }
    }
    return row[n];
}

const char *cli_nearest(const char *word, const char *const *candidates, size_t count) {
    size_t i, least = 1 + strlen(word) / 3; /* a third of the letters may be wrong, and one more */
    const char *best = NULL;
    for (i = 0; i < count; i++) {
        size_t distance = cli_distance(word, candidates[i]);
        if (distance > least || (best && distance == least)) continue;
        least = distance;
        best = candidates[i];
    }
    return best;
}

static const cli_option *cli_find(const cli_option *options, size_t count, const char *name,
                                  size_t length) {
    size_t i;
    for (i = 0; i < count; i++)
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0)
            return &options[i];
    return NULL;
}

/* Which of the words of --device was given: every command with --threads takes it. */
static const char *const CLI_DEVICE[] = {"cpu", "cuda"};
static const char *cli_device;
static int cli_device_number;

static const cli_option CLI_DEVICE_OPTION = {
    "device", CLI_TEXT, &cli_device, "WORD", "cpu or cuda: what computes; default cpu"};

static int cli_has_device(const cli_option *options, size_t count) {
    return cli_find(options, count, "threads", strlen("threads")) != NULL;
}

static void cli_help_option(const cli_option *o) {
    char left[64];
    snprintf(left, sizeof left, "%s%s%s%s", o->name[1] ? "--" : "-", o->name, o->value ? " " : "",
             o->value ? o->value : "");
    printf("  %-24s %s\n", left, o->help);
}

static void cli_help(const cli_command *command, const cli_option *options, size_t count) {
    size_t i;
    printf("%s %s %s\n\n%s\n\nOptions:\n", cli_program, command->name, command->arguments,
           command->summary);
    for (i = 0; i < count; i++) cli_help_option(&options[i]);
    if (cli_has_device(options, count)) cli_help_option(&CLI_DEVICE_OPTION);
    printf("  %-24s %s\n\n%s", "--help", "this text", command->manual);
}

static int cli_unknown(const cli_command *command, const cli_option *options, size_t count,
                       const char *word) {
    const char *names[64], *bare = word, *near;
    size_t i;
    while (*bare == '-') bare++;
    for (i = 0; i < count && i < 63; i++) names[i] = options[i].name;
    if (cli_has_device(options, count)) names[i++] = CLI_DEVICE_OPTION.name;
    near = cli_nearest(bare, names, i);
    if (!near) return cli_usage(command->name, "there is no option %s", word);
    return cli_usage(command->name, "there is no option %s; did you mean %s%s?", word,
                     near[1] ? "--" : "-", near);
}

/* Digits only, so that -1, 1e3 and 12abc are refused. */
static int cli_whole(const char *text, size_t least, size_t *out) {
    size_t value = 0, i;
    for (i = 0; text[i]; i++) {
        if (text[i] < '0' || text[i] > '9' || i > 17) return 0;
        value = 10 * value + (size_t)(text[i] - '0');
    }
    *out = value;
    return i > 0 && value >= least;
}

static int cli_real(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == 0 && fabs(*out) < 1e300;
}

const char *cli_set(const cli_option *o, const char *text) {
    switch (o->kind) {
    case CLI_TEXT:
        *(const char **)o->to = text;
        return *text ? NULL : "a text that is not empty";
    case CLI_REAL: return cli_real(text, (double *)o->to) ? NULL : "a number";
    case CLI_NUMBER:
        return cli_real(text, (double *)o->to) && *(double *)o->to > 0.0 ? NULL
                                                                         : "a number above 0";
    case CLI_COUNT:
        return cli_whole(text, 1, (size_t *)o->to) ? NULL : "a whole number from 1 on";
    case CLI_SEED:
        return cli_whole(text, 0, (size_t *)o->to) ? NULL : "a whole number from 0 on";
    default: return "no value";
    }
}

static int cli_take(const cli_command *command, const cli_option *o, const char *text) {
    const char *wanted = cli_set(o, text);
    if (!wanted) return -1;
    return cli_usage(command->name, "%s%s takes %s, not '%s'", o->name[1] ? "--" : "-", o->name,
                     wanted, text);
}

/* One option: its value may be in the next word, or behind an equals sign. */
static int cli_take_option(const cli_command *command, const cli_option *options, size_t n,
                           int count, char **words, int *at) {
    const char *word = words[*at], *name = word + (word[1] == '-' ? 2 : 1);
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const cli_option *o = cli_find(options, n, name, length);
    if (!o && cli_has_device(options, n)) o = cli_find(&CLI_DEVICE_OPTION, 1, name, length);
    if (o && (o->name[1] != 0) != (word[1] == '-')) o = NULL;
    if (!o) return cli_unknown(command, options, n, word);
    if (o->kind == CLI_FLAG) {
        if (equals) return cli_usage(command->name, "--%s takes no value", o->name);
        *(int *)o->to = 1;
        return -1;
    }
    if (equals) return cli_take(command, o, equals + 1);
    if (*at + 1 >= count) return cli_usage(command->name, "%s needs a value, %s", word, o->value);
    return cli_take(command, o, words[++*at]);
}

int cli_parse(const cli_command *command, const cli_option *options, size_t option_count, int count,
              char **words, const char **arguments, int wanted) {
    int i, found = 0, only_arguments = 0, most = wanted < 0 ? count : wanted;
    if (wanted < 0) wanted = -wanted;
    for (i = 0; i < count; i++)
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) {
            cli_help(command, options, option_count);
            return CLI_OK;
        }
    for (i = 0; i < count; i++) {
        if (!only_arguments && strcmp(words[i], "--") == 0) {
            only_arguments = 1;
        } else if (!only_arguments && words[i][0] == '-' && words[i][1]) {
            int code = cli_take_option(command, options, option_count, count, words, &i);
            if (code >= 0) return code;
        } else if (found == most) {
            return cli_usage(command->name, "'%s' is one argument too many", words[i]);
        } else {
            arguments[found++] = words[i];
        }
    }
    if (found >= wanted)
        return cli_word(command->name, "device", cli_device, CLI_DEVICE, 2, &cli_device_number);
    return cli_usage(command->name, "%d argument%s missing, it takes %s", wanted - found,
                     wanted - found == 1 ? " is" : "s are", command->arguments);
}

int cli_word(const char *command, const char *option, const char *word, const char *const *words,
             size_t count, int *out) {
    char list[256] = "";
    size_t i, used = 0;
    *out = 0;
    if (!word) return -1;
    for (i = 0; i < count; i++) {
        int n;
        if (strcmp(word, words[i]) == 0) {
            *out = (int)i;
            return -1;
        }
        n = snprintf(list + used, sizeof list - used, "%s%s",
                     i == 0 ? "" : i + 1 == count ? " or " : ", ", words[i]);
        if (n > 0 && used + (size_t)n < sizeof list) used += (size_t)n;
    }
    return cli_usage(command, "--%s is %s, not '%s'", option, list, word);
}

/* ---- commands ---- */

/* The last word of its name. */
static const char *cli_called(const cli_command *command) {
    const char *blank = strrchr(command->name, ' ');
    return blank ? blank + 1 : command->name;
}

void cli_list(FILE *to, const cli_command *commands, size_t count, int width) {
    size_t i;
    for (i = 0; i < count; i++)
        fprintf(to, "  %s %-*s %s\n                    %s\n", cli_program, width,
                commands[i].name, commands[i].arguments, commands[i].summary);
}

int cli_dispatch(const char *group, const cli_command *commands, size_t command_count, int count,
                 char **words) {
    const char *names[16], *near;
    size_t i;
    for (i = 0; i < command_count; i++) {
        if (i < 16) names[i] = cli_called(&commands[i]);
        if (strcmp(words[0], cli_called(&commands[i])) == 0)
            return commands[i].run(&commands[i], count - 1, words + 1);
    }
    near = cli_nearest(words[0], names, command_count < 16 ? command_count : 16);
    fprintf(stderr, "%s: there is no command '%s'%s%s%s; see `%s --help`\n", group, words[0],
            near ? "; did you mean " : "", near ? near : "", near ? "?" : "", group);
    return CLI_USAGE;
}

/* ---- files ---- */

int cli_ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

char *cli_numbered(const char *path, size_t number) {
    const char *name, *dot;
    char *out;
    size_t size, stem;
    if (!path) return NULL;
    name = strrchr(path, '/');
    dot = strrchr(name ? name : path, '.');
    stem = dot ? (size_t)(dot - path) : strlen(path);
    size = strlen(path) + 32;
    out = (char *)cli_allocate(size, 1);
    snprintf(out, size, "%.*s-%lu%s", (int)stem, path, (unsigned long)number, dot ? dot : "");
    return out;
}

static int cli_check_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    char *folder = (char *)cli_allocate(length + 2, 1);
    struct stat facts;
    int code = CLI_OK;
    memcpy(folder, path, length);
    if (length == 0) folder[0] = slash ? '/' : '.';
    if (stat(folder, &facts) != 0)
        code = cli_fail("cannot write '%s': the folder '%s' is not there", path, folder);
    else if (!S_ISDIR(facts.st_mode))
        code = cli_fail("cannot write '%s': '%s' is not a folder", path, folder);
    else if (access(folder, W_OK) != 0)
        code = cli_fail("cannot write '%s': the folder '%s': %s", path, folder, strerror(errno));
    free(folder);
    return code;
}

static int cli_is_device(const char *path) { return strncmp(path, "/dev/", 5) == 0; }

int cli_check_ending(const char *command, const char *path, const char *end) {
    if (!path || cli_ends_with(path, end) || cli_is_device(path)) return -1;
    return cli_usage(command, "'%s' should end in %s, which is what will be written", path, end);
}

int cli_check_table(const char *command, const char *path) {
    if (!path) return cli_usage(command, "-o FILE.csv or -o FILE.npy is missing");
    if (cli_ends_with(path, ".csv") || cli_ends_with(path, ".npy") || cli_is_device(path))
        return -1;
    return cli_usage(command, "'%s' should end in .npy or .csv, which says what to write", path);
}

int cli_context(size_t threads, af_context **out) {
    af_context_desc d;
    memset(&d, 0, sizeof d);
    d.threads = (int)threads;
    if (cli_device_number > 0) {
#ifdef AF_CUDA
        d.backend = af_backend_cuda();
        if (!d.backend) return cli_fail("--device cuda: %s", af_error_cuda());
#else
        return cli_fail("--device cuda: this program was built without CUDA; `make CUDA=1`, which "
                        "needs nvcc, builds one that has it");
#endif
    }
    return af_context_create(&d, out) == AF_OK ? CLI_OK : cli_fail("out of memory");
}

int cli_same_file(const char *a, const char *b) {
    struct stat one, other;
    while (strncmp(a, "./", 2) == 0) a += 2;
    while (strncmp(b, "./", 2) == 0) b += 2;
    if (stat(a, &one) != 0 || stat(b, &other) != 0) return strcmp(a, b) == 0;
    return S_ISREG(one.st_mode) && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

int cli_check_output(const char *path, const char *const *inputs, size_t input_count) {
    struct stat facts;
    size_t i;
    if (!path) return CLI_OK;
    if (stat(path, &facts) != 0) return cli_check_folder(path);
    if (S_ISDIR(facts.st_mode)) return cli_fail("cannot write '%s': it is a folder", path);
    if (access(path, W_OK) != 0) return cli_fail("cannot write '%s': %s", path, strerror(errno));
    for (i = 0; i < input_count; i++)
        if (inputs[i] && cli_same_file(path, inputs[i]))
            return cli_fail("'%s' is to be read and to be written; choose another output", path);
    return S_ISREG(facts.st_mode) ? cli_check_folder(path) : CLI_OK;
}

int cli_check_outputs(const char *const *outputs, size_t output_count, const char *const *inputs,
                      size_t input_count) {
    size_t i, k;
    int code = CLI_OK;
    for (i = 0; i < output_count && code == CLI_OK; i++) {
        code = cli_check_output(outputs[i], inputs, input_count);
        for (k = 0; k < i && outputs[i] && code == CLI_OK; k++)
            if (outputs[k] && cli_same_file(outputs[i], outputs[k]))
                code = cli_fail("'%s' is to be written twice; choose another name for one of them",
                                outputs[i]);
    }
    return code;
}

int cli_write_text(const char *path, const char *text, size_t length) {
    size_t size = strlen(path) + 8;
    char *temporary = (char *)cli_allocate(size, 1);
    struct stat facts;
    int special = stat(path, &facts) == 0 && !S_ISREG(facts.st_mode), good, code = CLI_OK;
    FILE *file;
    snprintf(temporary, size, "%s%s", path, special ? "" : ".tmp");
    errno = 0;
    file = fopen(temporary, "wb");
    good = file != NULL && fwrite(text, 1, length, file) == length;
    if (file && fclose(file) != 0) good = 0;
    if (good && !special) good = rename(temporary, path) == 0;
    if (!good) {
        code = cli_fail("cannot write '%s': %s", path, strerror(errno));
        if (file && !special) remove(temporary);
    }
    free(temporary);
    return code;
}

af_status cli_write_stars(af_context *c, const char *path, size_t n, const double *id,
                          const double *xv) {
    static const char *const name[6] = {"x", "y", "z", "vx", "vy", "vz"};
    af_table *t;
    size_t k;
    af_status s = af_table_create(c, &t);
    if (s == AF_OK) s = af_table_comment(t, "Galactocentric, kpc and km/s");
    if (s == AF_OK && id) s = af_table_add(t, "stream", n, id, 1);
    for (k = 0; k < 6 && s == AF_OK; k++) s = af_table_add(t, name[k], n, xv + k, 6);
    if (s == AF_OK) s = af_table_write(t, path);
    af_table_destroy(t);
    return s;
}

/* ---- orbits and actions ---- */

int cli_read_truth(af_context *c, const char *path, const af_orbits *o, int per_star,
                   af_array **out) {
    size_t s = af_orbits_streams(o), n = af_orbits_stars(o);
    af_array *a;
    int good;
    if (af_npy_read(c, path, &a) != AF_OK) return cli_fail_library(c);
    if (per_star)
        good = a->rank == 3 && a->dims[0] == s && a->dims[1] == n && a->dims[2] == 3;
    else
        good = a->rank == 2 && a->dims[0] == s && a->dims[1] == 3;
    *out = a;
    if (good) return CLI_OK;
    if (per_star)
        cli_fail("'%s' must have the shape (%lu, %lu, 3): one row for each star of the orbits",
                 path, (unsigned long)s, (unsigned long)n);
    else
        cli_fail("'%s' must have the shape (%lu, 3): one row for each stream of the orbits", path,
                 (unsigned long)s);
    af_array_destroy(a);
    *out = NULL;
    return CLI_FAILED;
}

static void cli_map_blank(cli_map *m, const af_orbits *o) {
    size_t s, i, k;
    for (s = 0; s < m->streams; s++)
        for (i = 0; i < m->stars; i++) {
            size_t at = s * m->stars + i;
            if (i < af_orbits_count(o, s) && !(m->flags[at] & AF_ORBIT_FAILED)) continue;
            if (i >= af_orbits_count(o, s)) m->flags[at] = 0;
            for (k = 0; k < 3; k++) m->j[3 * at + k] = m->theta[3 * at + k] = NAN;
        }
}

int cli_map_make(af_context *c, const af_finder *f, const af_orbits *o, cli_way way, int threads,
                 cli_map *m) {
    enum {
        BLOCK = 256
    }; /* always, so that a star's result does not depend on how many there are */
    size_t stars = af_orbits_stars(o), streams = af_orbits_streams(o), s;
    af_evaluator *e = NULL;
    af_isochrone toy = af_finder_toy(f);
    m->streams = streams;
    m->stars = stars;
    m->j = (double *)cli_allocate(streams * stars * 3, sizeof(double));
    m->theta = (double *)cli_allocate(streams * stars * 3, sizeof(double));
    m->flags = (unsigned *)cli_allocate(streams * stars, sizeof(unsigned));
    if (way == CLI_TOY) {
        for (s = 0; s < streams; s++)
            af_isochrone_actions_of(&toy, stars, af_orbits_xv(o, s), m->j + 3 * s * stars,
                                    m->theta + 3 * s * stars, NULL, m->flags + s * stars);
    } else {
        double *xv = (double *)cli_allocate(streams * stars * 6, sizeof *xv);
        size_t *count = (size_t *)cli_allocate(streams, sizeof *count);
        af_status status = af_evaluator_create(f, way == CLI_ALONE ? 1 : stars, BLOCK, threads, &e);
        for (s = 0; s < streams; s++) {
            memcpy(xv + 6 * s * stars, af_orbits_xv(o, s), 6 * stars * sizeof *xv);
            count[s] = af_orbits_count(o, s);
        }
        if (status == AF_OK && way == CLI_ALONE)
            af_evaluate(e, streams * stars, xv, NULL, m->j, m->theta, m->flags);
        if (status == AF_OK && way == CLI_SHARED)
            af_evaluate(e, streams, xv, count, m->j, m->theta, m->flags);
        free(xv);
        free(count);
        af_evaluator_destroy(e);
        if (status != AF_OK) {
            cli_map_free(m);
            return cli_fail_library(c);
        }
    }
    cli_map_blank(m, o);
    return CLI_OK;
}

void cli_map_free(cli_map *m) {
    free(m->j);
    free(m->theta);
    free(m->flags);
    memset(m, 0, sizeof *m);
}

int cli_map_good(const cli_map *m, size_t s, size_t i) {
    return isfinite(m->j[3 * (s * m->stars + i)]);
}

int cli_fail_unbound(const af_finder *f, const af_orbits *o, const char *path, const cli_map *m) {
    af_isochrone toy = af_finder_toy(f);
    size_t s, i;
    for (s = 0; s < m->streams; s++)
        for (i = 0; i < m->stars; i++)
            if (m->flags[s * m->stars + i] & AF_ORBIT_FAILED)
                return cli_fail(
                    "'%s': star %lu of stream %.0f (row %lu, all counted from 0) is not bound in "
                    "the model's toy isochrone (M = %.4g Msun, b = %.4g kpc); check the units "
                    "(kpc, km/s), fit with a larger --toy-mass, remove the star, or use "
                    "--skip-unbound",
                    path, (unsigned long)i, af_orbits_id(o, s),
                    (unsigned long)af_orbits_row(o, s, i), toy.mass, toy.scale);
    return CLI_OK;
}

void cli_spread(const cli_map *m, size_t s, double spread[3]) {
    size_t i, k, n = 0;
    double mean[3] = {0.0, 0.0, 0.0};
    const double *j = m->j + 3 * s * m->stars;
    for (i = 0; i < m->stars; i++) n += cli_map_good(m, s, i) ? 1u : 0u;
    for (k = 0; k < 3; k++) {
        spread[k] = n ? 0.0 : NAN;
        for (i = 0; i < m->stars; i++)
            if (isfinite(j[3 * i + k])) mean[k] += j[3 * i + k] / (double)n;
        for (i = 0; i < m->stars; i++)
            if (isfinite(j[3 * i + k])) spread[k] += fabs(j[3 * i + k] - mean[k]) / (double)n;
    }
}

/* ---- statistics ---- */

static int cli_order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

cli_summary cli_summarise(double *values, size_t n) {
    cli_summary out;
    size_t i, good = 0, kept;
    double sum = 0.0;
    for (i = 0; i < n; i++)
        if (isfinite(values[i])) values[good++] = values[i];
    qsort(values, good, sizeof *values, cli_order);
    out.count = good;
    out.mean = out.median = out.trimmed = NAN;
    if (good == 0) return out;
    kept = good - good / 50;
    for (i = 0; i < good; i++) {
        sum += values[i];
        if (i + 1 == kept) out.trimmed = sum / (double)kept;
    }
    out.mean = sum / (double)good;
    out.median = 0.5 * (values[(good - 1) / 2] + values[good / 2]);
    return out;
}
