/* Section 6.5: eight snapshots of the particles of a Plummer sphere. */
#include "reproduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double PLUMMER_SHARE = 0.75; /* of the particles are trained on */

static const redo_quantity PLUMMER_QUANTITY[3] = {
    {"j_phi", "J_phi of a particle [km/s kpc]", {"mean", "median", "trimmed"}},
    {"j_z", "J_z", {"mean", "median", "trimmed"}},
    {"j_r", "J_r", {"mean", "median", "trimmed"}}};

typedef struct plummer_run {
    redo_set set;
    size_t train;
    af_orbits *held;
    int there[REDO_COLUMNS];
    cli_summary value[3][REDO_COLUMNS], angle[REDO_COLUMNS];
    double cpu[REDO_COLUMNS];
} plummer_run;

/* Errors of each component of the mean over a particle's snapshots; keep (n,3), or NULL: gets the
 * means. */
static void plummer_score(plummer_run *p, redo_column column, const cli_map *m, double *keep) {
    size_t n = m->streams, s, i, k;
    double *error = (double *)cli_allocate(n, sizeof *error);
    redo_score score;
    for (k = 0; k < 3; k++) {
        for (s = 0; s < n; s++) {
            double mean = 0.0;
            for (i = 0; i < m->stars; i++)
                mean += m->j[3 * (s * m->stars + i) + k] / (double)m->stars;
            error[s] = fabs(mean - p->set.j->data[3 * (p->train + s) + k]);
            if (keep) keep[3 * s + k] = mean;
        }
        p->value[k][column] = cli_summarise(error, n);
    }
    redo_score_maps(&p->set, p->train, 0.0, m, m, &score);
    p->angle[column] = score.angle;
    p->there[column] = 1;
    free(error);
}

static int plummer_model(redo *r, plummer_run *p, redo_kind kind) {
    redo_column column = (redo_column)(REDO_OURS_FOURIER + (int)kind);
    redo_model m;
    cli_map map;
    int code = redo_fit(r, "plummer", kind, p->set.orbits, p->train, NULL, &m);
    if (code != CLI_OK) return code;
    p->cpu[column] = m.cpu;
    if (kind == REDO_FOURIER) {
        code = cli_map_make(r->context, m.finder, p->held, CLI_TOY, 0, &map);
        if (code == CLI_OK) {
            plummer_score(p, REDO_TOY, &map, r->plummer.toy);
            cli_map_free(&map);
        }
    }
    if (code == CLI_OK) code = cli_map_make(r->context, m.finder, p->held, CLI_SHARED, 0, &map);
    if (code == CLI_OK) {
        plummer_score(p, column, &map, kind == REDO_SHEARS ? r->plummer.found : NULL);
        cli_map_free(&map);
    }
    redo_model_free(&m);
    return code;
}

static int plummer_field(redo *r, plummer_run *p) {
    redo_field field;
    cli_map map;
    double begin = redo_cpu();
    int code = redo_field_make(r, p->set.orbits, p->train, &field);
    if (code != CLI_OK) return code;
    code = redo_field_map(r, &field, 1, p->held, &map);
    if (code == CLI_OK) {
        p->cpu[REDO_OURS_FIELD] = redo_cpu() - begin;
        plummer_score(p, REDO_OURS_FIELD, &map, NULL);
        cli_map_free(&map);
    }
    redo_field_free(&field);
    return code;
}

static int plummer_fudge(redo *r, plummer_run *p) {
    mock_galaxy galaxy;
    cli_map map;
    int code = redo_galaxy_make(r, p->set.name, &galaxy);
    if (code != CLI_OK) return code;
    redo_fudge_map(&galaxy, p->held, &map);
    plummer_score(p, REDO_FUDGE, &map, NULL);
    cli_map_free(&map);
    af_galaxy_destroy(galaxy.model);
    return CLI_OK;
}

static void plummer_lines(redo *r, const plummer_run *p) {
    char title[2 * REDO_TEXT];
    redo_line *line;
    size_t c, k;
    snprintf(title, sizeof title, "snapshots of a Plummer sphere; %lu particles trained on, %lu "
             "scored", (unsigned long)p->train, (unsigned long)(p->set.streams - p->train));
    for (k = 0; k < 4; k++) {
        line = redo_line_add(r, "plummer", title, "6.5",
                             k < 3 ? &PLUMMER_QUANTITY[k] : &REDO_ANGLE);
        for (c = 0; c < REDO_COLUMNS; c++)
            if (p->there[c])
                redo_cell_summary(&line->cell[c], k < 3 ? &p->value[k][c] : &p->angle[c]);
    }
    line = redo_line_add(r, "plummer", title, "6.5", &REDO_CPU);
    for (c = REDO_OURS_FOURIER; c < REDO_COLUMNS; c++)
        if (p->there[c]) redo_cell_number(&line->cell[c], p->cpu[c]);
}

static int plummer_all(redo *r, plummer_run *p) {
    size_t n;
    int code;
    p->train = (size_t)(PLUMMER_SHARE * (double)p->set.streams);
    n = p->set.streams - p->train;
    if (af_orbits_part(r->context, p->set.orbits, p->train, n, &p->held) != AF_OK)
        return cli_fail_library(r->context);
    r->plummer.n = n;
    r->plummer.truth = (double *)cli_allocate(3 * n, sizeof(double));
    r->plummer.toy = (double *)cli_allocate(3 * n, sizeof(double));
    r->plummer.found = (double *)cli_allocate(3 * n, sizeof(double));
    memcpy(r->plummer.truth, p->set.j->data + 3 * p->train, 3 * n * sizeof(double));
    code = plummer_fudge(r, p);
    if (code == CLI_OK) code = plummer_model(r, p, REDO_FOURIER);
    if (code == CLI_OK) code = plummer_model(r, p, REDO_SHEARS);
    if (code == CLI_OK) code = plummer_field(r, p);
    if (code == CLI_OK) plummer_lines(r, p);
    af_orbits_destroy(p->held);
    return code;
}

int redo_row_plummer(redo *r) {
    plummer_run p;
    int there, code;
    memset(&p, 0, sizeof p);
    code = redo_set_load(r, "plummer_nbody", &p.set, &there);
    if (code != CLI_OK) return code;
    if (there && p.set.j) code = plummer_all(r, &p);
    else fprintf(stderr, "no data for plummer: left out\n");
    redo_set_free(&p.set);
    return code;
}
