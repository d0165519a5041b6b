/* The inverse, section 6.2: from (theta,J) of stars that were not trained on back to (x,v), in the
 * models of the halo orbits of Dehnen & Binney. Each map is undone exactly; so what is left when it
 * begins with the true (theta,J) are the errors of the map. In the field of the streams' energies
 * points are found by following orbits, beginning where the first map leads. */
#include "reproduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const redo_quantity INVERSE_QUANTITY[4] = {
    {"position", "x from the true J, angles [kpc]", {"mean", "median", "trimmed"}},
    {"velocity", "v from the true J, angles [km/s]", {"mean", "median", "trimmed"}},
    {"round_position", "x from those of the map [kpc]", {"mean", "median", "trimmed"}},
    {"round_velocity", "v from those of the map [km/s]", {"mean", "median", "trimmed"}}};

/* Held-out stars whose truth is known, (n, ...); and what was found, by columns. */
typedef struct inverse_run {
    size_t n, streams, train;
    double *xv, *j, *theta;
    int there[REDO_COLUMNS];
    cli_summary value[4][REDO_COLUMNS];
} inverse_run;

static void inverse_score(inverse_run *p, redo_column column, size_t quantity, const double *xv) {
    double *error = (double *)cli_allocate(p->n, sizeof *error);
    size_t i, k, half;
    for (half = 0; half < 2; half++) {
        for (i = 0; i < p->n; i++) {
            double sum = 0.0;
            for (k = 3 * half; k < 3 * half + 3; k++)
                sum += (xv[6 * i + k] - p->xv[6 * i + k]) * (xv[6 * i + k] - p->xv[6 * i + k]);
            error[i] = sqrt(sum);
        }
        p->value[quantity + half][column] = cli_summarise(error, p->n);
    }
    p->there[column] = 1;
    free(error);
}

static int inverse_model(redo *r, const redo_model *m, redo_column column, inverse_run *p) {
    enum { BLOCK = 256 };
    double *xv = (double *)cli_allocate(6 * p->n, sizeof *xv);
    double *j = (double *)cli_allocate(3 * p->n, sizeof *j);
    double *theta = (double *)cli_allocate(3 * p->n, sizeof *theta);
    af_inverter *inverter = NULL;
    af_evaluator *e = NULL;
    af_status s = af_inverter_create(m->finder, BLOCK, 0, &inverter);
    if (s == AF_OK) s = af_evaluator_create(m->finder, 1, BLOCK, 0, &e);
    if (s == AF_OK) {
        af_invert(inverter, p->n, p->j, p->theta, xv, NULL);
        inverse_score(p, column, 0, xv);
        af_evaluate(e, p->n, p->xv, NULL, j, theta, NULL);
        af_invert(inverter, p->n, j, theta, xv, NULL);
        inverse_score(p, column, 2, xv);
    }
    af_evaluator_destroy(e);
    af_inverter_destroy(inverter);
    free(xv);
    free(j);
    free(theta);
    return s == AF_OK ? CLI_OK : cli_fail_library(r->context);
}

/* Some of the stars, evenly taken: each needs several orbits. Released by free(xv). */
static inverse_run inverse_some(const inverse_run *p, size_t most) {
    inverse_run some;
    size_t step = p->n > most ? p->n / most : 1, i;
    memset(&some, 0, sizeof some);
    some.xv = (double *)cli_allocate(12 * p->n, sizeof *some.xv);
    some.j = some.xv + 6 * p->n;
    some.theta = some.j + 3 * p->n;
    for (i = 0; i < p->n && some.n < most; i += step, some.n++) {
        memcpy(some.xv + 6 * some.n, p->xv + 6 * i, 6 * sizeof(double));
        memcpy(some.j + 3 * some.n, p->j + 3 * i, 3 * sizeof(double));
        memcpy(some.theta + 3 * some.n, p->theta + 3 * i, 3 * sizeof(double));
    }
    return some;
}

/* From the true (theta,J), and from those that the orbits in this field give. */
static af_status inverse_follow(redo *r, const redo_field *f, af_inverter *inverter,
                                inverse_run *p) {
    double *xv = (double *)cli_allocate(12 * p->n, sizeof *xv), *j = xv + 6 * p->n;
    double *theta = j + 3 * p->n;
    af_status s;
    af_invert(inverter, p->n, p->j, p->theta, xv, NULL);
    s = af_orbit_point_of(r->context, &f->field, p->n, p->j, p->theta, xv, NULL, xv, NULL, NULL);
    if (s == AF_OK) {
        inverse_score(p, REDO_OURS_FIELD, 0, xv);
        s = af_orbit_actions_of(r->context, &f->field, p->n, p->xv, NULL, j, theta, NULL, NULL,
                                NULL);
    }
    if (s == AF_OK) {
        af_invert(inverter, p->n, j, theta, xv, NULL);
        s = af_orbit_point_of(r->context, &f->field, p->n, j, theta, xv, NULL, xv, NULL, NULL);
    }
    if (s == AF_OK) inverse_score(p, REDO_OURS_FIELD, 2, xv);
    free(xv);
    return s;
}

static int inverse_field(redo *r, const redo_model *m, const redo_set *set, inverse_run *p) {
    inverse_run some;
    redo_field field;
    af_inverter *inverter = NULL;
    af_status s;
    size_t i;
    int code = redo_field_make(r, set->orbits, p->train, &field);
    if (code != CLI_OK) return code;
    some = inverse_some(p, r->quick ? 10 : 200);
    s = af_inverter_create(m->finder, 256, 0, &inverter);
    if (s == AF_OK) s = inverse_follow(r, &field, inverter, &some);
    for (i = 0; i < 4; i++) p->value[i][REDO_OURS_FIELD] = some.value[i][REDO_OURS_FIELD];
    p->there[REDO_OURS_FIELD] = some.there[REDO_OURS_FIELD];
    af_inverter_destroy(inverter);
    redo_field_free(&field);
    free(some.xv);
    return s == AF_OK ? CLI_OK : cli_fail_library(r->context);
}

static void inverse_toy(const redo_model *m, inverse_run *p) {
    af_isochrone toy = af_finder_toy(m->finder);
    double *xv = (double *)cli_allocate(6 * p->n, sizeof *xv);
    af_isochrone_positions_of(&toy, p->n, p->j, p->theta, xv, NULL, NULL);
    inverse_score(p, REDO_TOY, 0, xv);
    free(xv);
}

static void inverse_stars(const redo_test *test, const redo_set *set, inverse_run *p) {
    size_t n = set->stars, s, i;
    p->xv = (double *)cli_allocate(6 * n * set->streams, sizeof *p->xv);
    p->j = (double *)cli_allocate(3 * n * set->streams, sizeof *p->j);
    p->theta = (double *)cli_allocate(3 * n * set->streams, sizeof *p->theta);
    for (s = p->train; s < set->streams; s++) {
        if (!redo_counts(set, s, test->mask)) continue;
        p->streams++;
        for (i = 0; i < n; i++, p->n++) {
            memcpy(p->xv + 6 * p->n, af_orbits_xv(set->orbits, s) + 6 * i, 6 * sizeof(double));
            memcpy(p->j + 3 * p->n, set->j->data + 3 * s, 3 * sizeof(double));
            memcpy(p->theta + 3 * p->n, set->theta->data + 3 * (s * n + i), 3 * sizeof(double));
        }
    }
}

static void inverse_lines(redo *r, const redo_test *test, const inverse_run *p) {
    char title[2 * REDO_TEXT];
    size_t i, k;
    snprintf(title, sizeof title, "the inverse, %s; %lu streams scored", test->title,
             (unsigned long)p->streams);
    for (i = 0; i < 4; i++) {
        redo_line *line = redo_line_add(r, "inverse", title, "6.2", &INVERSE_QUANTITY[i]);
        for (k = 0; k < REDO_COLUMNS; k++)
            if (p->there[k] && p->value[i][k].count)
                redo_cell_summary(&line->cell[k], &p->value[i][k]);
    }
}

static int inverse_all(redo *r, const redo_test *test, const redo_set *set, inverse_run *p) {
    redo_model *m;
    int k, code = CLI_OK;
    p->train = redo_train_count(r, test, set);
    inverse_stars(test, set, p);
    for (k = 0; k < REDO_MODELS && code == CLI_OK; k++) {
        code = redo_model_of(r, test, set, (redo_kind)k, &m);
        if (code == CLI_OK && k == 0) inverse_toy(m, p);
        if (code == CLI_OK)
            code = inverse_model(r, m, (redo_column)(REDO_OURS_FOURIER + k), p);
        if (code == CLI_OK && k == 0) code = inverse_field(r, m, set, p);
    }
    if (code == CLI_OK) inverse_lines(r, test, p);
    free(p->xv);
    free(p->j);
    free(p->theta);
    return code;
}

int redo_row_inverse(redo *r) {
    const redo_test *test = redo_test_of("db98");
    inverse_run p;
    redo_set set;
    int there, code = redo_set_load(r, test->set, &set, &there);
    memset(&p, 0, sizeof p);
    if (code != CLI_OK) return code;
    if (there && set.j && set.theta) code = inverse_all(r, test, &set, &p);
    else fprintf(stderr, "no data for the inverse: left out\n");
    redo_set_free(&set);
    return code;
}
