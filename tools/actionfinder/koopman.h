/* What the commands of `actionfinder koopman` share: trajectories, models, and how well they go
 * together. */
#ifndef AF_KOOPMAN_TOOL_H
#define AF_KOOPMAN_TOOL_H

#include "cli.h"

/* The options that say how trajectories are read. */
typedef struct koopman_source {
    const char *columns; /* names with commas between; NULL: all */
    double interval;
} koopman_source;

/* Two entries for a list of options. */
#define KOOPMAN_SOURCE_OPTIONS(source)                                                  \
    {"columns", CLI_TEXT, &(source)->columns, "q,..,p,..",                              \
     "columns of a table; default: all but orbit and t"},                               \
    {"interval", CLI_NUMBER, &(source)->interval, "DT",                                 \
     "time between samples, where the file has no t"}

/* Reads trajectories and, where `say` is set, prints how many there are and which columns are q and
 * p. Returns an exit code. */
int koopman_read(af_context *c, const char *command, const char *path, const koopman_source *source,
                 int say, af_trajectories **out);

/* What the file calls q_1 .. q_n, p_1 .. p_n, to label (2n); returns 0 where it has no names, and
 * the labels are like [1], which counts columns from 0. */
typedef char koopman_label[64];
int koopman_labels(af_context *c, const char *path, const koopman_source *source,
                   const af_trajectories *t, koopman_label *label);

/* A model and trajectories of as many degrees of freedom. Destroy what is not NULL, also after a
 * failure. */
int koopman_open(af_context *c, const char *command, const char *const path[2],
                 const koopman_source *source, int say, af_koopman **model,
                 af_trajectories **trajectories);

/* Whether model and trajectories have the same degrees of freedom; otherwise says so. */
int koopman_same_freedoms(const af_koopman *model, const char *model_path,
                          const af_trajectories *t, const char *path);

/* What a model makes of trajectories. Lengths of residuals are in units of the data's size, as in
 * the loss of the fit: q over a length, p times it over an action, whose mean squares are one. */
typedef struct koopman_map {
    const af_trajectories *t;
    size_t freedoms, total, orbits;
    size_t *first;                                /* (orbits): its first sample among all */
    double *qp;                                   /* (total,2n) */
    double action, length[AF_FREEDOMS_MAX];       /* those units */
    double *j, *theta, *omega, *energy;           /* (total,n), (total,n), (total,n), (total) */
    double *mean_j, *mean_omega, *spread;         /* (orbits,n): spread is the rms of J - mean */
    double *turning;                              /* (orbits): rms distance from uniform rotation */
    double *rebuilt, *rolled;                     /* (total,n): residuals in each pair (q,p) */
} koopman_map;

int koopman_map_make(af_context *c, const af_koopman *k, const af_trajectories *t,
                     koopman_map *out);
void koopman_map_free(koopman_map *map);

/* The root of the mean over samples of the sum over degrees of freedom of x^2; x (samples,n). */
double koopman_rms(const double *x, size_t samples, size_t freedoms);

/* The rms distance from uniform rotation of all samples: of the fit's loss with phase = 1 it is
 * sqrt(2 loss). */
double koopman_turning(const koopman_map *map);

/* Writes rows (rows,columns): a table, or an array where the name ends in .npy. */
int koopman_write(af_context *c, const char *path, const char *comment, const char *const *names,
                  size_t columns, size_t rows, const double *data);

/* Names of columns: base for one degree of freedom, base_1 .. base_n for more. Each takes
 * KOOPMAN_NAME of `room`, where the pointers go. */
enum { KOOPMAN_NAME = 16, KOOPMAN_COLUMNS = 3 + 3 * AF_FREEDOMS_MAX };
size_t koopman_name(const char *base, size_t freedoms, size_t at,
                    char (*room)[KOOPMAN_NAME], const char **names);

int koopman_fit(const cli_command *command, int count, char **words);
int koopman_eval(const cli_command *command, int count, char **words);
int koopman_rollout(const cli_command *command, int count, char **words);
int koopman_plot(const cli_command *command, int count, char **words);
int koopman_mock(const cli_command *command, int count, char **words);

#endif
