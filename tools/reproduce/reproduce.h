/* What the parts of reproduce-actionfinder share: data, fits, scores, the table. */
#ifndef AF_REPRODUCE_H
#define AF_REPRODUCE_H

#include <stddef.h>
#include <stdio.h>

#include "actionfinder.h"

#include "cli.h"
#include "mock_start.h"

enum { REDO_PATH = 1024, REDO_TEXT = 96, REDO_LONGEST_HISTORY = 20000 };

/* ---- the run ---- */

/* Our models: trained on the streams given, as in the paper; and on longer orbits in the field that
 * their energies tell. */
typedef enum redo_kind {
    REDO_FOURIER = 0,
    REDO_SHEARS,
    REDO_GIVEN, /* so many are trained on the streams given */
    REDO_LONGER = REDO_GIVEN,
    REDO_MODELS
} redo_kind;

extern const char *const REDO_KIND_NAME[REDO_MODELS];

/* The training of a model, epoch by epoch; validation is NaN where there was none. */
typedef struct redo_history {
    size_t count, best; /* best: row of the epoch that is kept */
    double *epoch, *loss, *validation;
} redo_history;

/* A trained finder and what it cost. finder NULL: there is none. */
typedef struct redo_model {
    af_finder *finder;
    double cpu; /* seconds of CPU time of all threads, of training alone */
    redo_history history;
} redo_model;

enum { REDO_KEPT = 32 };

/* A model that later rows and figures ask for. */
typedef struct redo_keep {
    char name[REDO_TEXT];
    redo_model model;
} redo_keep;

/* Points of the figures that rows leave behind; found: by shears. The paper's figure 4 is from
 * scratch. */
typedef struct redo_orbit_picture {
    const char *title;
    size_t n;
    double *fudge, *found; /* (n, 3) */
    double truth[3];
} redo_orbit_picture;

typedef struct redo_plummer_picture {
    size_t n;
    double *truth, *toy, *found; /* (n, 3) */
} redo_plummer_picture;

typedef struct redo_table redo_table;

typedef struct redo {
    int quick;
    const char *rows;    /* names with commas between; NULL: all */
    const char *data;    /* folder of ready-made sets; NULL: they are made */
    const char *output;  /* folder */
    af_context *context;
    redo_table *table;
    redo_keep kept[REDO_KEPT];
    size_t kept_count;
    redo_orbit_picture orbit[4];
    redo_plummer_picture plummer;
} redo;

/* ---- sample.c, data.c ---- */

/* A set of streams with what is known of them: j and error (S,3), theta and acceleration (S,N,3).
 * Arrays that a set has not are NULL; NaN: not known. */
typedef struct redo_set {
    const char *name;
    size_t streams, stars;
    af_orbits *orbits;
    af_array *j, *error, *theta, *acceleration;
    af_array *other_j, *other_error; /* of *_torus: the actions of the true orbit */
} redo_set;

/* Reads the set, after making it where there is no folder of data and it was not made before.
 * Returns like cli_...; a set that is not to be had is CLI_OK with *there = 0. */
int redo_set_load(redo *r, const char *name, redo_set *out, int *there);
void redo_set_free(redo_set *set);

/* Makes the files of a set in a folder. */
int redo_sample_make(redo *r, const char *name, const char *folder);
/* Whether it is one of those that can be made, and of how many streams. */
size_t redo_sample_streams(const redo *r, const char *name);

/* The potential in which the set was made; out must stay where it is. To be released by
 * af_galaxy_destroy(out->model). */
int redo_galaxy_make(redo *r, const char *set, mock_galaxy *out);
int redo_spherical(const mock_galaxy *g);

enum { REDO_ORBITS = 4, REDO_ORBIT_POINTS = 10000 };
extern const char *const REDO_ORBIT_NAME[REDO_ORBITS];

/* ---- settings.c: everything that the lead of a fit may want to change ---- */

typedef struct redo_test {
    const char *name, *title, *section, *set;
    size_t streams;    /* S: trained on, the others are scored */
    double mask;       /* only streams whose truth is known to this count; 0: all */
    int accelerations; /* are fitted and scored, too */
    int spherical;     /* the field is */
    redo_kind longer;  /* which model is trained on longer orbits */
} redo_test;

extern const redo_test REDO_TESTS[];
extern const size_t REDO_TEST_COUNT;
const redo_test *redo_test_of(const char *name);

/* The finder and its training for a test. `again`: the training goes on from another model. */
void redo_settings(const redo *r, const char *test, redo_kind kind, int again, af_finder_desc *fd,
                   af_fit_desc *td);
void redo_settings_extend(const redo *r, const redo_test *test, af_extend_desc *d);
void redo_settings_accel(const redo *r, const char *test, af_accel_desc *ad,
                         af_accel_fit_desc *fd);

/* ---- fit.c: models and scores ---- */

double redo_cpu(void); /* seconds of CPU time of this process so far */

/* Trains, from `start` (a file) if that is not NULL, on the first `train` streams. */
int redo_fit(redo *r, const char *test, redo_kind kind, const af_orbits *orbits, size_t train,
             const char *start, redo_model *out);
void redo_model_free(redo_model *m);

/* The model of a test, trained now unless it was before; it belongs to the run. */
int redo_model_of(redo *r, const redo_test *test, const redo_set *set, redo_kind kind,
                  redo_model **out);

/* Streams to train on, of those of a set; the others are scored. */
size_t redo_train_count(const redo *r, const redo_test *test, const redo_set *set);

/* Whether the truth of a stream is known to `mask`. */
int redo_counts(const redo_set *set, size_t s, double mask);

/* Errors of a map; from `first` on, of streams whose truth is known to `mask`. */
typedef struct redo_score {
    cli_summary stream; /* |mean over the stars of J - truth|, mean of the three actions */
    cli_summary star;   /* |J - truth| */
    cli_summary angle;  /* [degrees] */
    cli_summary other;  /* as `stream`, against other_j */
} redo_score;

/* stream: what the streams' actions are taken from, star: those of the stars and their angles. */
void redo_score_maps(const redo_set *set, size_t first, double mask, const cli_map *stream,
                     const cli_map *star, redo_score *out);

/* The map of the Staeckel fudge, which is told the potential. */
void redo_fudge_map(const mock_galaxy *galaxy, const af_orbits *orbits, cli_map *out);

/* Errors of the acceleration of stars from `first` on [per cent]. */
int redo_accelerations(redo *r, const redo_test *test, const redo_set *set, const redo_model *m,
                       size_t train, cli_summary *out, double *cpu);
cli_summary redo_acceleration_errors(const redo_set *set, size_t first, af_force force);

/* ---- field.c ---- */

/* What the energies of streams tell: see af_mass_model.h. */
typedef struct redo_field {
    af_mass_model *model;
    af_field_table *table;
    af_field field; /* the table's */
    double cpu;
} redo_field;

int redo_field_make(redo *r, const af_orbits *orbits, size_t train, redo_field *out);
void redo_field_free(redo_field *field);

/* Actions and angles by following orbits in the field; of so many stars of each stream that it does
 * not take too long, the others are marked as failed. spherical: of all, by quadratures. */
int redo_field_map(redo *r, const redo_field *field, int spherical, const af_orbits *orbits,
                   cli_map *out);

/* ---- table.c ---- */

typedef enum redo_column {
    REDO_TOY = 0,
    REDO_PAPER,
    REDO_AGAMA,
    REDO_FUDGE,
    REDO_OURS_FOURIER,
    REDO_OURS_SHEARS,
    REDO_OURS_LONGER,
    REDO_OURS_FIELD,
    REDO_COLUMNS
} redo_column;

enum { REDO_NUMBERS = 3 };

/* Up to three numbers, or a text; the mark points to a footnote. */
typedef struct redo_cell {
    int count;
    double value[REDO_NUMBERS];
    char text[REDO_TEXT];
    char mark; /* 0: none */
} redo_cell;

/* What is compared: a name for programs, a title for people. `statistics`: those of the three
 * numbers, like "mean", "median", "trimmed"; NULL: there is only one number. */
typedef struct redo_quantity {
    const char *name, *title;
    const char *statistics[REDO_NUMBERS];
} redo_quantity;

extern const redo_quantity REDO_STREAM, REDO_OTHER, REDO_STAR, REDO_ANGLE, REDO_ACCELERATION,
    REDO_CPU, REDO_CPU_ACCELERATION;

/* One line: test, quantity, a cell for each column. */
typedef struct redo_line {
    char test[REDO_TEXT], title[2 * REDO_TEXT], section[16];
    redo_quantity quantity;
    redo_cell cell[REDO_COLUMNS];
} redo_line;

struct redo_table {
    redo_line *line;
    size_t count, room;
};

/* A new line, with the published numbers filled in; valid until the next one. */
redo_line *redo_line_add(redo *r, const char *test, const char *title, const char *section,
                         const redo_quantity *quantity);
void redo_cell_summary(redo_cell *cell, const cli_summary *summary);
void redo_cell_number(redo_cell *cell, double value);
void redo_cell_text(redo_cell *cell, const char *text);

void redo_table_print(const redo_table *t);          /* to stdout, with the FIGURE lines */
int redo_table_write(const redo *r, const redo_table *t); /* reproduce.md and reproduce.csv */

/* ---- published.c ---- */

/* Fills in what the paper and AGAMA give for this line. */
void redo_published(redo_line *line);
extern const char *const REDO_NOTES[]; /* "a sentence"; the mark of note k is 'a' + k; NULL ends */

/* ---- the rows ---- */

int redo_row_test(redo *r, const redo_test *test);
int redo_row_orbits(redo *r);
int redo_row_plummer(redo *r);
int redo_row_inverse(redo *r);

/* ---- figures.c ---- */

int redo_figures(redo *r); /* those for which there are models and points */

#endif
