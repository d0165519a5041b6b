/* What the commands of `actionfinder field` share: fields of either kind. */
#ifndef AF_FIELD_TOOL_H
#define AF_FIELD_TOOL_H

#include "cli.h"

/* A mass model or a network; the other is NULL. */
typedef struct field_any {
    af_mass_model *mass;
    af_accel *net;
    af_accel_evaluator *one; /* of the network */
} field_any;

/* Reads a field of whichever kind the file holds. Returns an exit code; field_close in any case. */
int field_open(af_context *c, const char *path, int threads, field_any *out);
void field_close(field_any *f);

/* Makes the evaluator of a field that was not read from a file. Returns an exit code. */
int field_ready(af_context *c, int threads, field_any *f);

/* x (n,3) -> accelerations (n,3) and Phi (n), each NULL if not wanted. */
void field_ask(const field_any *f, size_t n, const double *x, double *a, double *phi);

/* Scatter of v^2/2 + Phi within streams from `first` on, over that of v^2/2: the median over the
 * streams of two stars or more. NaN where the field has no Phi, or without such streams. */
double field_misfit(const field_any *f, const af_orbits *o, size_t first, size_t count);

int field_fit(const cli_command *command, int count, char **words);
int field_eval(const cli_command *command, int count, char **words);
int field_check(const cli_command *command, int count, char **words);
int field_plot(const cli_command *command, int count, char **words);

#endif
