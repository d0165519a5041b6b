/* What the commands of deeppotential share: numbers in options, stars, points with gradients,
 * models, training. Functions that return int return an exit code of cli.h unless they say more. */
#ifndef DP_DEEP_H
#define DP_DEEP_H

#include "cli.h"
#include "deeppotential.h"

/* ---- options ---- */

/* `least` to `most` finite numbers with commas between them; 2/G is 2/AF_GRAVITY. *count gets how
 * many, and *marked, unless NULL, bit i where number i has a ! behind it. Returns 1 where text is
 * that. */
int deep_numbers(const char *text, size_t least, size_t most, double *out, size_t *count,
                 unsigned *marked);

/* "sphere:x,y,z,r" and so on; NULL: everywhere. Returns like cli_parse. */
int deep_volume(const char *command, const char *option, const char *text, dp_volume *out);

enum { DEEP_PARTS = 8 };

/* "plummer:mass,b+nfw:mass,rs" and so on; bits of fixed, unless NULL, are DP_FIX_... of the
 * numbers with a ! behind them. Returns like cli_parse. */
int deep_parts(const char *command, const char *option, const char *text,
               af_potential parts[DEEP_PARTS], unsigned fixed[DEEP_PARTS], size_t *count);

/* Prints parts, a line each; errors (count,3) are relative, of the mass or speed, the length and
 * the height, 0 where there is none. */
void deep_parts_print(const af_potential *parts, const double *errors, size_t count);

/* "omega=28,ux=10" and so on into *f, what is not named stays. Returns like cli_parse. */
int deep_frame(const char *command, const char *text, dp_frame *f);

/* "0.1:10:50": from, to, how many, evenly. Returns like cli_parse. */
typedef struct deep_range {
    double low, high;
    size_t count;
} deep_range;
int deep_range_of(const char *command, const char *option, const char *text, deep_range *out);
double deep_range_at(const deep_range *r, size_t i);

/* The same of --heights, which may be negative. */
int deep_heights_of(const char *command, const char *text, deep_range *out);

/* ---- arrays of rows ---- */

/* Writes rows (n,columns): a table with these names, or NPY where the path ends in .npy. */
int deep_write_rows(af_context *c, const char *path, const char *comment,
                    const char *const *names, size_t columns, size_t n, const double *rows);

/* -o is there and ends in .npy, .csv or .h5. Returns like cli_parse. */
int deep_check_data(const char *command, const char *path);

int deep_is_hdf5(const char *path);

/* ---- stars ---- */

/* How stars are read. */
typedef struct deep_source {
    const char *volume, *weights;
    int no_weights, no_errors;
} deep_source;

#define DEEP_SOURCE_OPTIONS(s)                                                                   \
    {"volume", CLI_TEXT, &(s)->volume, "SHAPE",                                                  \
     "stars outside are left out: sphere:x,y,z,r or cylinder:x,y,z,R,h; see below"},             \
    {"weights", CLI_TEXT, &(s)->weights, "W.npy",                                                \
     "a weight for each star, instead of the file's"},                                           \
    {"no-weights", CLI_FLAG, &(s)->no_weights, NULL, "all stars count alike"},                   \
    {"no-errors", CLI_FLAG, &(s)->no_errors, NULL, "measurement errors are not taken into account"}

/* What --help says of volumes and of files of stars. */
#define DEEP_VOLUME_MANUAL                                                                       \
    "SHAPE is sphere:x,y,z,r or sphere:x,y,z,r_in,r_out (a shell), cylinder:x,y,z,R,h\n"         \
    "(|z| < h) or cylinder:x,y,z,R,h,R_in or ...,R_in,h_in (with a hole).\n"
#define DEEP_STARS_MANUAL                                                                        \
    "STARS: a table (CSV, ECSV) with the columns x, y, z, vx, vy, vz and, if there are such,\n"   \
    "weight and x_error ... vz_error; NPY of shape (n,6), or (n,7) with weights; or HDF5 as of\n" \
    "the authors of the method: eta (n,6), or eta_train and eta_val, weights, and the volume as\n" \
    "attributes. kpc and km/s, or other units in which length over velocity is the time.\n"

/* Reads stars and, unless quiet, says what they are. */
int deep_read_stars(af_context *c, const char *command, const char *path,
                    const deep_source *source, int quiet, dp_sample **out);

/* Sentences on stderr about copies among stars and, if a fit scales coordinates by how the stars
 * spread, about stars far from all others. */
void deep_check_stars(const char *path, const dp_sample *s, int scaled);

/* Writes eta (n,6), weights (n) or NULL, errors (n,6) or NULL (not into NPY). */
int deep_write_stars(af_context *c, const char *path, size_t n, const double *eta,
                     const double *weights, const double *errors, const dp_volume *volume);

/* Positions (n,3), to be freed: of a table, NPY (rows begin with x, y, z) or HDF5 (eta). */
int deep_read_places(af_context *c, const char *path, size_t *n, double **x);

/* ---- points with gradients ---- */

typedef struct deep_points {
    size_t n;
    double *eta, *gradient, *ln_f, *weights; /* (n,6), (n,6), (n), (n) or NULL */
} deep_points;

void deep_points_make(deep_points *p, size_t n, int weighted);
void deep_points_free(deep_points *p);
dp_points deep_points_view(const deep_points *p);

/* Keeps those inside. */
void deep_points_cut(deep_points *p, const dp_volume *volume);

int deep_points_write(af_context *c, const char *path, const deep_points *p);
int deep_points_read(af_context *c, const char *path, deep_points *out);

/* Where gradients are taken: at stars, or at draws from a flow. */
typedef struct deep_where {
    deep_source source;
    const char *draw, *cut;
    size_t n, seed;
    int robust;
} deep_where;

#define DEEP_WHERE_OPTIONS(w)                                                                    \
    {"draw", CLI_TEXT, &(w)->draw, "FLOW", "at draws of this flow instead of stars"},            \
    {"n", CLI_COUNT, &(w)->n, "N", "draws, or how many of the stars; default 131072, all"},       \
    {"seed", CLI_SEED, &(w)->seed, "K", "of the draws, of which stars; default 0"},               \
    {"cut", CLI_TEXT, &(w)->cut, "SHAPE", "only points inside this volume"},                     \
    {"robust", CLI_FLAG, &(w)->robust, NULL, "of several models those far off are left out"}

/* The volumes that these options name. Returns like cli_parse. */
int deep_where_check(const char *command, const deep_where *where);

/* The mixture of the models' f at those places. stars may be NULL with where->draw. */
int deep_points_compute(af_context *c, const char *command, size_t models,
                        const char *const *model, const char *stars, const deep_where *where,
                        int quiet, deep_points *out);

/* ---- models ---- */

int deep_open_df(af_context *c, const char *path, dp_df **out);
int deep_open_potential(af_context *c, const char *path, dp_potential **out);

/* A potential of fit-potential or of recover, whichever the file holds; the others are NULL. */
typedef struct deep_field {
    dp_field field;
    dp_potential *potential;
    dp_recovered *sphere;
    dp_axisymmetric *disc;
} deep_field;
int deep_open_field(af_context *c, const char *path, deep_field *out);
void deep_field_free(deep_field *f);

/* The sentence of the context, behind a file's name where the data are to blame. */
int deep_fail(const af_context *c, const char *path);

/* ---- training ---- */

enum { DEEP_HISTORY = 5 }; /* columns: epoch, loss, validation, rate, seconds */

typedef struct deep_training {
    const char *checkpoint, *history, *schedule;
    size_t epochs, batch, seed, patience, checkpoint_every;
    double seconds, rate, plateau, clip, validation;
    int resume, double_precision, quiet;
    /* while it runs */
    double start, last_line, epoch_seconds;
    size_t done, first, line_epoch; /* epochs done, before this run, told of */
    int on_terminal, line_open, schedule_kind;
    double last_validation;
    af_progress last;
    double *rows; /* (count, DEEP_HISTORY) */
    size_t count, room;
} deep_training;

#define DEEP_TRAINING_OPTIONS(t)                                                                 \
    {"epochs", CLI_COUNT, &(t)->epochs, "N", "passes; default by what is fitted"},               \
    {"seconds", CLI_NUMBER, &(t)->seconds, "S",                                                  \
     "the fit takes S; the rate of learning follows the clock"},                                 \
    {"batch", CLI_COUNT, &(t)->batch, "N", "rows a step; default by what is fitted"},            \
    {"rate", CLI_NUMBER, &(t)->rate, "X", "learning rate at its highest"},                       \
    {"schedule", CLI_TEXT, &(t)->schedule, "WORD",                                               \
     "of the rate: cosine (default), constant, exponential, step"},                              \
    {"plateau", CLI_NUMBER, &(t)->plateau, "X",                                                  \
     "instead: the rate is halved when the loss has not fallen by X ..."},                       \
    {"patience", CLI_COUNT, &(t)->patience, "N", "... for N epochs; default 8"},                 \
    {"clip", CLI_NUMBER, &(t)->clip, "X", "longest gradient of a step"},                         \
    {"validation", CLI_NUMBER, &(t)->validation, "X", "fraction held out; default 0.1"},         \
    {"seed", CLI_SEED, &(t)->seed, "K", "of initial values, the split and the order; default 0"}, \
    {"double", CLI_FLAG, &(t)->double_precision, NULL, "arithmetic of 8 bytes, not 4"},          \
    {"checkpoint", CLI_TEXT, &(t)->checkpoint, "FILE", "writes the state of the training here"}, \
    {"checkpoint-every", CLI_COUNT, &(t)->checkpoint_every, "N", "epochs between; default 1"},    \
    {"resume", CLI_FLAG, &(t)->resume, NULL, "goes on from the checkpoint, if it is there"},     \
    {"history", CLI_TEXT, &(t)->history, "FILE.csv", "epoch, loss, validation, rate, seconds"},  \
    {"quiet", CLI_FLAG, &(t)->quiet, NULL, "prints nothing but errors"}

/* What does not go together, words. Returns like cli_parse. */
int deep_training_check(const char *command, deep_training *t);

/* cli_check_outputs of the model, the checkpoint and the history. */
int deep_training_outputs(const deep_training *t, const char *model, const char *const *inputs,
                          size_t input_count);

/* Starts the clock; t must stay where it is. */
void deep_training_begin(deep_training *t, dp_fit_desc *d);

/* The last line, the sentence after Ctrl-C, the history. *s is AF_OK afterwards where it was
 * AF_STOPPED. `what` was fitted. */
int deep_training_end(af_context *c, deep_training *t, const char *what, af_status *s);

/* ---- errors beside a known potential ---- */

/* Fractions: of the potential, offset removed; of the force; of the density. */
typedef struct deep_errors {
    double median[3], ninety[3];
} deep_errors;

/* phi (n), acceleration (n,3), density (n) against the sum of parts at x (n,3). Each of the three
 * may be NULL: then its numbers are NaN. */
deep_errors deep_errors_of(size_t n, const double *x, const double *phi, const double *acceleration,
                           const double *density, const af_potential *parts, size_t count);

/* Prints them beside those of no potential at all (constant), and FIGURE lines. */
void deep_errors_print(const deep_errors *e, const deep_errors *untrained, size_t n);

/* The q-quantile of the finite ones among values (n), which get sorted; NaN where there is none. */
double deep_quantile(double *values, size_t n, double q);

/* ---- formulas ---- */

/* What `symbolic` and `distill` share: the symbols, the search, the front. */
typedef struct deep_formulas {
    /* options */
    const char *constants, *specific, *fixed, *operators, *affine, *filter;
    const char *output, *c_path, *latex;
    size_t tokens, memory, threads;
    double seconds, enough;
    int quiet;
    /* what they mean; texts are those of the command line, taken apart */
    dp_symbol symbol[DP_SYMBOLS_MAX];
    const char *symbol_units[DP_SYMBOLS_MAX]; /* as given, NULL: none */
    dp_vocabulary v;
    const char *base[DP_UNITS];
    char *text[8 + DP_UNITS]; /* to be freed */
    size_t texts;
    const char *result_name, *result_units; /* of what is fitted */
    unsigned filters;
    dp_symbolic_desc desc;
    const dp_data_set *sets;
    size_t set_count;
    dp_symbolic_result *result;
    /* while it runs */
    af_context *c;
    double last_line;
    int on_terminal, line_open;
} deep_formulas;

#define DEEP_FORMULAS_OPTIONS(f)                                                                 \
    {"constants", CLI_TEXT, &(f)->constants, "LIST",                                             \
     "to be found: GM:kpc^3/Myr^2,b:kpc; see below"},                                            \
    {"fixed", CLI_TEXT, &(f)->fixed, "LIST", "numbers: 1, 2, pi, NAME:UNITS=VALUE; default 1"},  \
    {"operators", CLI_TEXT, &(f)->operators, "LIST",                                             \
     "default add,sub,mul,div,neg,inv,square,sqrt,exp,log"},                                     \
    {"affine", CLI_TEXT, &(f)->affine, "WORD",                                                   \
     "the formula is f (none), A f (amplitude) or A f + C (offset)"},                     \
    {"filter", CLI_TEXT, &(f)->filter, "LIST", "what formulas must be; see below"},              \
    {"tokens", CLI_COUNT, &(f)->tokens, "N",                                                     \
     "longest formula tried, before units and --affine; default 9 (distill: 8), 20 with --time"}, \
    {"time", CLI_NUMBER, &(f)->seconds, "S", "ends the search after S seconds"},                 \
    {"enough", CLI_NUMBER, &(f)->enough, "X", "ends it at this error; default 1e-9"},            \
    {"memory", CLI_COUNT, &(f)->memory, "MB", "that the search may take; default 256"},          \
    {"o", CLI_TEXT, &(f)->output, "FRONT.csv", "all formulas of the front with constants"},      \
    {"c", CLI_TEXT, &(f)->c_path, "FILE.c", "the best as a function in C"},                      \
    {"latex", CLI_TEXT, &(f)->latex, "FILE", "the best as LaTeX"},                               \
    {"threads", CLI_COUNT, &(f)->threads, "N", "default: all cores"},                            \
    {"quiet", CLI_FLAG, &(f)->quiet, NULL, "no line of progress, no table"}

/* What --help says of them. */
#define DEEP_FORMULAS_MANUAL                                                                     \
    "Quantities are NAME:UNITS, with commas between several; units are products of powers of\n"  \
    "words, km^2/s^2 or kpc^3 Myr^-2, each word a base unit of its own. Constants are found\n"   \
    "positive, signs are part of formulas.\n"                                                    \
    "\n"                                                                                         \
    "The error is the rms of what is left over the standard deviation of the data. The table is\n" \
    "the Pareto front: no formula that is shorter is as good. * marks the best by description\n" \
    "length, N ln(error) + tokens ln(symbols). Ctrl-C ends the search and keeps the front.\n"    \
    "\n"                                                                                         \
    "--tokens counts each variable, constant, number and operation once, of formulas without\n"  \
    "units, of r/b and not of r and b, and without the A and C of --affine. The table counts\n"  \
    "the formulas as they are written, which are longer.\n"                                      \
    "\n"                                                                                         \
    "--filter takes, with commas between, what a formula must be\n"                              \
    "  zero-at-infinity    it vanishes where the first variable, and those in the same units,\n" \
    "                      are very large\n"                                                     \
    "  finite-at-infinity  it tends to some number there\n"                                      \
    "  increasing, decreasing (in the first variable), positive, negative\n"                     \
    "  density             its Laplacian is not negative, for one variable, r, or two, R and z\n" \
    "the last five from a hundredth to a hundred times where the data are.\n"

/* Adds symbols of a list as above. Returns like cli_parse. */
int deep_formulas_add(deep_formulas *f, const char *command, const char *option,
                      dp_symbol_kind kind, const char *list);

/* What is fitted, NAME[:UNITS]. */
void deep_formulas_fitted(deep_formulas *f, const char *text);

/* The options, after all variables were added. Returns like cli_parse. */
int deep_formulas_options(deep_formulas *f, const char *command);

/* cli_check_outputs of the front and the best formula. */
int deep_formulas_outputs(const deep_formulas *f, const char *const *inputs, size_t input_count);

/* Before a search: units of everything, unless v.no_units, and callbacks. After it, with its status:
 * f->result has a front then. */
int deep_formulas_begin(af_context *c, deep_formulas *f);
int deep_formulas_end(af_context *c, deep_formulas *f, af_status s);

/* The table with, unless NULL, another column `more` (front), what was searched, the best; and the
 * files. */
int deep_formulas_report(af_context *c, const deep_formulas *f, const char *name,
                         const double *more);
void deep_formulas_free(deep_formulas *f);

/* FREE constants of an entry of the front, then the SPECIFIC ones of set number `set`. */
void deep_formulas_constants(const deep_formulas *f, const dp_symbolic_entry *e, size_t set,
                             double out[DP_SYMBOLS_MAX]);

/* The bits of --filter. Returns like cli_parse. */
int deep_filters(deep_formulas *f, const char *command);

/* Whether the formula is what the filters want: for dp_symbolic_desc. */
double deep_filter(const dp_symbolic_candidate *candidate, void *formulas);

/* ---- what `run` knows of the commands ---- */

enum { DEEP_OPTIONS = 64 };

/* The options of each, pointing to places of no meaning. */
size_t deep_mock_options(cli_option *out);
size_t deep_fit_flow_options(cli_option *out);
size_t deep_gradients_options(cli_option *out);
size_t deep_fit_potential_options(cli_option *out);
size_t deep_eval_options(cli_option *out);
size_t deep_plot_options(cli_option *out);

/* What a command finds wrong with its words before it reads or writes any file. Return like
 * cli_parse. */
int deep_mock_check(const cli_command *command, int count, char **words);
int deep_fit_flow_check(const cli_command *command, int count, char **words);
int deep_gradients_check(const cli_command *command, int count, char **words);
int deep_fit_potential_check(const cli_command *command, int count, char **words);
int deep_eval_check(const cli_command *command, int count, char **words);
int deep_plot_check(const cli_command *command, int count, char **words);

/* The command of that name, NULL where there is none. */
const cli_command *deep_command(const char *name);

int deep_mock(const cli_command *command, int count, char **words);
int deep_convert(const cli_command *command, int count, char **words);
int deep_fit_flow(const cli_command *command, int count, char **words);
int deep_sample(const cli_command *command, int count, char **words);
int deep_gradients(const cli_command *command, int count, char **words);
int deep_fit_potential(const cli_command *command, int count, char **words);
int deep_eval(const cli_command *command, int count, char **words);
int deep_local(const cli_command *command, int count, char **words);
int deep_plot(const cli_command *command, int count, char **words);
int deep_symbolic(const cli_command *command, int count, char **words);
int deep_recover(const cli_command *command, int count, char **words);
int deep_distill(const cli_command *command, int count, char **words);
int deep_run(const cli_command *command, int count, char **words);

#endif
