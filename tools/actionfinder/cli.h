/* What the commands of actionfinder share, and some of it deeppotential's, too: options, sentences
 * about what went wrong, orbits, output. */
#ifndef AF_CLI_H
#define AF_CLI_H

#include <stddef.h>
#include <stdio.h>

#include "actionfinder.h"

/* What sentences and help call the program; "actionfinder" unless main says otherwise. */
extern const char *cli_program;

/* Exit codes. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* ---- options ---- */

typedef enum cli_kind {
    CLI_FLAG,   /* int: set to 1 */
    CLI_COUNT,  /* size_t, whole number >= 1 */
    CLI_SEED,   /* size_t, whole number >= 0 */
    CLI_NUMBER, /* double > 0 */
    CLI_REAL,   /* double, any sign */
    CLI_TEXT    /* const char * */
} cli_kind;

typedef struct cli_option {
    const char *name; /* "seconds", or "o" for -o */
    cli_kind kind;
    void *to;
    const char *value; /* how help calls the value; NULL for a flag */
    const char *help;
} cli_option;

typedef struct cli_command {
    const char *name, *arguments, *summary;
    const char *manual; /* what --help prints after the options */
    int (*run)(const struct cli_command *command, int count, char **words);
} cli_command;

/* Commands with an option "threads" have --device, too, which is not in their lists. */

/* Takes the words apart: options to where they point, the others to arguments (exactly `wanted`;
 * negative: that many or more, and `count` at most; what is beyond the last is left as it was).
 * Returns -1 to go on, otherwise the exit code (--help was printed, or a usage error). */
int cli_parse(const cli_command *command, const cli_option *options, size_t option_count, int count,
              char **words, const char **arguments, int wanted);

/* Sets an option that takes a value. Returns NULL, or what it should have been ("a number above
 * 0"). */
const char *cli_set(const cli_option *option, const char *text);

/* One of `count` words: its number in *out, 0 where word is NULL. Returns like cli_parse. */
int cli_word(const char *command, const char *option, const char *word, const char *const *words,
             size_t count, int *out);

/* Runs the command that words[0] names. group is "actionfinder", or "actionfinder koopman" for
 * commands that are called "koopman fit" and so on. */
int cli_dispatch(const char *group, const cli_command *commands, size_t command_count, int count,
                 char **words);

/* The commands with their arguments and what they do, names padded to `width`. */
void cli_list(FILE *to, const cli_command *commands, size_t count, int width);

/* The candidate that is spelled most like `word`, or NULL when none comes near. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t count);

/* One sentence on stderr; returns CLI_FAILED and CLI_USAGE. */
int cli_fail(const char *format, ...) AF_PRINTF(1, 2);
int cli_usage(const char *command, const char *format, ...) AF_PRINTF(2, 3);

/* The sentence of the context. */
int cli_fail_library(const af_context *c);

/* The same where the model of that file could not be read; a file of another kind is called by its
 * name. */
int cli_fail_model(af_context *c, const char *path);

/* ---- files ---- */

int cli_ends_with(const char *text, const char *end);

/* "model.safetensors" -> "model-2.safetensors"; NULL stays NULL. To be freed. */
char *cli_numbered(const char *path, size_t number);

/* One file, or it will be; a device is no file, and takes what comes. */
int cli_same_file(const char *a, const char *b);

/* Fails when `path` cannot be written, or is one of the inputs; so that no work is done in vain.
 * NULL is fine. */
int cli_check_output(const char *path, const char *const *inputs, size_t input_count);

/* The same for several outputs, two of which must not be one file. */
int cli_check_outputs(const char *const *outputs, size_t output_count, const char *const *inputs,
                      size_t input_count);

/* "-o" is there and ends in .csv or .npy, or is a device; otherwise a usage error. Returns like
 * cli_parse. */
int cli_check_table(const char *command, const char *path);

/* A file of a kind that has only one ending, such as ".svg", has it, or is a device; NULL is fine.
 * Returns like cli_parse. */
int cli_check_ending(const char *command, const char *path, const char *end);

/* Writes a whole text file: a temporary one that is renamed. */
int cli_write_text(const char *path, const char *text, size_t length);

/* Writes a table of n stars, xv (n,6); a column `stream` comes first unless id is NULL. */
af_status cli_write_stars(af_context *c, const char *path, size_t n, const double *id,
                          const double *xv);

/* ---- stars as observed ---- */

/* What the options of CLI_SKY_OPTIONS said; all zero: nothing. */
typedef struct cli_sky {
    double radius;
    const char *height, *velocity, *sky, *distance, *parallax_zero;
    int left;
} cli_sky;

/* Rows of a command's options; `s` is a cli_sky. */
#define CLI_SKY_OPTIONS(s)                                                                       \
    {"sun-radius", CLI_NUMBER, &(s).radius, "KPC",                                               \
     "of stars as observed: the Sun's distance from the centre; default 8.275"},                 \
    {"sun-height", CLI_TEXT, &(s).height, "KPC", "the Sun above the plane; default 0.0208"},     \
    {"sun-velocity", CLI_TEXT, &(s).velocity, "VX,VY,VZ",                                        \
     "the Sun's [km/s]; default from Sgr A*, about 12.9,251.5,8.6"},                             \
    {"left-handed", CLI_FLAG, &(s).left, NULL,                                                   \
     "the Sun at x > 0, so that the disc has J_phi > 0"},                                        \
    {"sky", CLI_TEXT, &(s).sky, "WORD", "icrs or galactic, where a table has both"},             \
    {"distance", CLI_TEXT, &(s).distance, "WORD",                                                \
     "direct or parallax, where a table has both"},                                              \
    {"parallax-zero", CLI_TEXT, &(s).parallax_zero, "MAS",                                       \
     "subtracted from parallaxes; default 0"}

/* What they mean. Returns like cli_parse. */
int cli_sky_desc(const char *command, const cli_sky *sky, af_observed_desc *out);

/* Whether any of the options said something. */
int cli_sky_given(const af_observed_desc *sky);

/* Whether an NPY array or a table holds x, y, z, vx, ...: 1; stars as observed, or what is neither:
 * 0; what cannot be read twice, such as a pipe, is not known: -1. */
int cli_is_cartesian(af_context *c, const char *path);

/* The library's sentence where stars as observed could not be read; of columns that exclude each
 * other it says by which option to choose. */
int cli_fail_sky(const af_context *c);

/* Reads orbits, NPY or a table, or stars as observed: then, unless `quiet`, one line says how they
 * were taken. Fails where options of the sky were given for others. */
int cli_read_orbits(af_context *c, const char *path, const af_observed_desc *sky, int quiet,
                    af_orbits **out);

/* The same for stars as observed, without those that are not complete. */
int cli_read_complete(af_context *c, const char *path, const af_observed_desc *sky, int quiet,
                      af_orbits **out);

/* ---- orbits and actions ---- */

/* NPY of shape (S,3) or (S,N,3); rank and leading sizes are checked against the orbits. */
int cli_read_truth(af_context *c, const char *path, const af_orbits *o, int per_star,
                   af_array **out);

/* The toy's or the finder's actions and angles of all stars, (S,N,3) each; places without a star,
 * and stars unbound in the toy, are NaN. flags (S,N). Free the arrays with cli_map_free. */
typedef struct cli_map {
    size_t streams, stars;
    double *j, *theta;
    unsigned *flags;
} cli_map;

typedef enum cli_way {
    CLI_TOY,   /* the untrained toy */
    CLI_ALONE, /* each star solved by itself */
    CLI_SHARED /* one J' for the stars of a stream */
} cli_way;

int cli_map_make(af_context *c, const af_finder *f, const af_orbits *o, cli_way way, int threads,
                 cli_map *out);
void cli_map_free(cli_map *map);

/* Whether the stream has a star at i that could be mapped. */
int cli_map_good(const cli_map *map, size_t s, size_t i);

/* Complains about the first unbound star, with file and row. */
int cli_fail_unbound(const af_finder *f, const af_orbits *o, const char *path, const cli_map *map);

/* Mean over the stars of |J - mean J| for each component of one stream: how far they disagree. */
void cli_spread(const cli_map *map, size_t s, double spread[3]);

/* ---- statistics ---- */

typedef struct cli_summary {
    size_t count;
    double mean, median, trimmed; /* trimmed: mean of all but the largest 2 % */
} cli_summary;

/* Of the finite ones among values (n), which get sorted. */
cli_summary cli_summarise(double *values, size_t n);

/* A context for so many threads, 0: all cores, on the device of --device; or a sentence. */
int cli_context(size_t threads, af_context **out);

/* Memory or a sentence and exit: there is nothing else that a command could do. */
void *cli_allocate(size_t count, size_t size);

/* Seconds of a clock that never goes back. */
double cli_clock(void);

/* From now on the first Ctrl-C or SIGTERM only makes cli_stopped true; a second one ends the
 * program where it stands. */
void cli_catch_stop(void);
int cli_stopped(void);

/* Seconds between plain lines of progress, and between rewrites of the line on a terminal. */
double cli_line_interval(int on_terminal);

/* How far a long piece of work is, in one line that `done` = 0 begins and `done` = all takes away
 * again; on a terminal alone. One at a time. */
void cli_progress(const char *what, size_t done, size_t all);

/* ---- the commands ---- */

int cli_fit(const cli_command *command, int count, char **words);
int cli_eval(const cli_command *command, int count, char **words);
int cli_invert(const cli_command *command, int count, char **words);
int cli_fill(const cli_command *command, int count, char **words);
int cli_check(const cli_command *command, int count, char **words);
int cli_judge(const cli_command *command, int count, char **words);
int cli_mock(const cli_command *command, int count, char **words);
int cli_plot(const cli_command *command, int count, char **words);
int cli_field(const cli_command *command, int count, char **words);
int cli_field_actions(const cli_command *command, int count, char **words);
int cli_koopman(const cli_command *command, int count, char **words);

#endif
