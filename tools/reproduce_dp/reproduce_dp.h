/* What the parts of reproduce-deeppotential share: stars, fits, errors, the table, the pictures. */
#ifndef DP_REPRODUCE_H
#define DP_REPRODUCE_H

#include <stddef.h>

#include "deep.h"

enum { DPR_PATH = 1024, DPR_TEXT = 64, DPR_LINES = 128, DPR_PARTS = 4 };

/* ---- the table ---- */

typedef enum dpr_column {
    DPR_UNTRAINED = 0,
    DPR_PAPER,
    DPR_WANTED,
    DPR_TRUTH,     /* the same fit on true gradients, or in the true frame */
    DPR_OURS,
    DPR_SYMMETRIC, /* Phi(r), Phi(R, z) */
    DPR_WITHOUT,   /* what the row is about is ignored */
    DPR_COLUMNS
} dpr_column;

typedef struct dpr_cell {
    int count; /* of the numbers; 0: the text */
    double value[2];
    char text[DPR_TEXT];
} dpr_cell;

typedef struct dpr_line {
    const char *row, *quantity;
    dpr_cell cell[DPR_COLUMNS];
} dpr_line;

/* Scores of different seeds whose mean counts. */
enum { DPR_MEMBERS = 8 }; /* at most */

typedef struct dpr_score {
    dp_df *member[DPR_MEMBERS];
    size_t count;
} dpr_score;

typedef struct dpr_cost {
    double cpu, wall; /* seconds */
} dpr_cost;

/* ---- a row, and what it leaves for the pictures ---- */

typedef struct dpr_setting {
    const char *name, *title, *section;
    size_t stars;  /* the paper's numbers */
    size_t points; /* of phase space for the potential */
    double df_seconds, flow_seconds, potential_seconds; /* flow_seconds 0: there is no flow */
} dpr_setting;

typedef struct dpr_row {
    const dpr_setting *setting;
    size_t n, points_n;
    double df_seconds, flow_seconds, potential_seconds;
    dp_volume volume; /* of the stars */
    dp_volume inside; /* where results hold */
    size_t truth_count;
    af_potential truth[DPR_PARTS];
    double *eta;      /* (n,6) as they are, without errors */
    size_t places_n;
    double *places;   /* (places_n,3): where the potential is judged */
    deep_points points;
    dpr_score score;
    dp_df *flow;
    dp_potential *potential;
    double best[2];   /* fitted a, b */
    int done;
} dpr_row;

enum { DPR_ROWS = 8 };
extern const dpr_setting DPR_SETTINGS[DPR_ROWS];

typedef struct dpr {
    const char *rows, *output;
    const char *only;      /* "truth": fits to true gradients alone; NULL: all */
    double scale, seconds; /* seconds 0: those of the settings */
    size_t epochs;         /* instead of seconds; 0: by the clock */
    size_t threads;
    af_context *c;
    dpr_row row[DPR_ROWS];
    dpr_line line[DPR_LINES];
    size_t line_count;
} dpr;

dpr_row *dpr_row_of(dpr *r, const char *name);

/* The stars' GM is 1: the papers' numbers. */
#define DPR_MASS (1.0 / AF_GRAVITY)
extern const double DPR_OBSERVER[3];

/* ---- fit.c ---- */

double dpr_cpu(void); /* seconds of all threads of this process */

/* Fit, and what it cost: cost is added to. The sentence of `what` goes to stderr. */
int dpr_fit_df(dpr *r, const char *what, const dp_sample *s, const dp_df_desc *d, double seconds,
               dp_df **out, dpr_cost *cost);
int dpr_fit_potential(dpr *r, const char *what, const dp_potential_desc *d, const deep_points *p,
                      double seconds, dp_potential **out, dpr_cost *cost,
                      dp_potential_report *report);

/* Members of that many seeds, in the seconds of all; what was there is freed. */
int dpr_fit_score(dpr *r, const char *what, const dp_sample *s, const dp_df_desc *desc,
                  size_t members, double seconds, dpr_score *out, dpr_cost *cost);
void dpr_score_free(dpr_score *score);

/* ln f and gradients at p->eta; eta (n,6), either may be NULL. */
int dpr_gradients(dpr *r, const dpr_score *score, deep_points *p, dpr_cost *cost);
af_status dpr_score_at(const dpr_score *score, size_t n, const double *eta, double *ln_f,
                       double *gradient);

/* Stars kept under that name in the output's folder, or made by `make` into eta (n,6). */
int dpr_stars(dpr *r, dpr_row *row, const char *name,
              af_status (*make)(af_context *c, const dpr_row *row, double *eta));

/* points_n of the stars eta (n,6) that lie inside, in a random order; and the places of the true
 * ones among the same. */
void dpr_choose(dpr_row *row, const double *eta);

/* ---- truth.c ---- */

/* d ln f/d eta (n,6) of an f(E, Lz) that is stationary in the truth, with dispersions like those of
 * the discs: ln f = -(E - E_c(Lz))/s^2, E_c being the energy of the circular orbit. */
void dpr_stationary_gradients(const af_potential *truth, size_t count, double s, size_t n,
                              const double *eta, double *gradient);

/* The same of an f that is stationary where the truth turns: ln f = -(E - omega Lz)/s^2. */
void dpr_turning_gradients(const af_potential *truth, size_t count, double s, double omega,
                           size_t n, const double *eta, double *gradient);

/* ln f and d ln f/d eta of the normal distribution with the means and variances of stars (m,6). */
void dpr_normal(size_t m, const double *stars, size_t n, const double *eta, double *ln_f,
                double *gradient);

/* ---- errors.c ---- */

/* Errors of the potential at the places of the row into the table's column: potential, force,
 * density, and for discs that in the plane. */
int dpr_judge(dpr *r, const dpr_row *row, dp_potential *p, dpr_column column);
void dpr_judge_untrained(dpr *r, const dpr_row *row);

/* Median and 90th percentile [%] of |g - truth|/|truth| over n vectors of 3 in rows of 6. */
void dpr_vector_errors(size_t n, const double *g, const double *truth, size_t first, double out[2]);

/* ---- table.c ---- */

dpr_cell *dpr_cell_of(dpr *r, const dpr_row *row, const char *quantity, dpr_column column);
void dpr_number(dpr_cell *cell, double value);
void dpr_pair(dpr_cell *cell, double first, double second);
void dpr_cost_cell(dpr *r, const dpr_row *row, const char *quantity, dpr_column column,
                   const dpr_cost *cost);
int dpr_table(const dpr *r); /* printed and written */

/* ---- rows ---- */

int dpr_plummer(dpr *r, dpr_row *row);
int dpr_disc(dpr *r, dpr_row *row); /* ideal, selection, errors, nonstationary */
int dpr_bar(dpr *r, dpr_row *row);
int dpr_thinned(dpr *r, dpr_row *row);

/* ---- pictures ---- */

int dpr_pictures_plummer(dpr *r, dpr_row *row); /* figures 2, 3, 4 */
int dpr_pictures_disc(dpr *r);                  /* 5, 6, 7, 9, 10, 13 */
int dpr_pictures_loss(dpr *r);                  /* 8 */
int dpr_pictures_flow(dpr *r, dpr_row *row);    /* 11, 12 */

#endif
