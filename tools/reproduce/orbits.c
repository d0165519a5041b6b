/* Section 6.4: four orbits. From scratch the training data are points of one orbit; pre-trained,
 * the training goes on from a model of other orbits of the same galaxy. */
#include "reproduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ORBITS_STREAMS = 1024, ORBITS_STARS = 8, ORBITS_QUICK_STREAMS = 64 };

static const char *const ORBITS_TITLE[REDO_ORBITS] = {"thin disc", "thick disc", "halo", "stream"};

/* The tests whose models are gone on from. */
static const char *const ORBITS_BEFORE[REDO_ORBITS] = {"disc", "disc", "pjm14", "pjm14"};

/* One orbit, and what was found of it: first the spread, then the error, by columns. */
typedef struct orbits_run {
    size_t orbit;
    const double *truth;
    af_orbits *path, *sets; /* the orbit as one stream; points of it as many streams */
    int there[REDO_COLUMNS];
    double value[2][REDO_COLUMNS], cpu[REDO_COLUMNS];
} orbits_run;

/* 1024 sets of 8 points taken at random from the orbit, as streams. */
static int orbits_sets(redo *r, const redo_set *set, size_t orbit, af_orbits **out) {
    size_t streams = r->quick ? ORBITS_QUICK_STREAMS : ORBITS_STREAMS, n = streams * ORBITS_STARS;
    const double *xv = af_orbits_xv(set->orbits, orbit);
    double *chosen = (double *)cli_allocate(6 * n, sizeof *chosen);
    size_t i;
    af_status s;
    for (i = 0; i < n; i++) {
        size_t at = (size_t)(af_random_uniform(4, orbit, i) * (double)set->stars);
        memcpy(chosen + 6 * i, xv + 6 * at, 6 * sizeof *xv);
    }
    s = af_orbits_create(r->context, streams, ORBITS_STARS, chosen, NULL, out);
    free(chosen);
    return s == AF_OK ? CLI_OK : cli_fail_library(r->context);
}

/* Mean over points and actions of |J - mean J| and of |J - truth|. */
static void orbits_score(const cli_map *m, redo_column column, orbits_run *out) {
    double spread[3], error = 0.0;
    size_t i, k, good = 0;
    cli_spread(m, 0, spread);
    for (i = 0; i < m->stars; i++) {
        if (!cli_map_good(m, 0, i)) continue;
        for (k = 0; k < 3; k++) error += fabs(m->j[3 * i + k] - out->truth[k]) / 3.0;
        good++;
    }
    out->there[column] = 1;
    out->value[0][column] = (spread[0] + spread[1] + spread[2]) / 3.0;
    out->value[1][column] = error / (double)good;
}

static void orbits_keep(double **to, const cli_map *m) {
    *to = (double *)cli_allocate(3 * m->stars, sizeof **to);
    memcpy(*to, m->j, 3 * m->stars * sizeof **to);
}

static int orbits_evaluate(redo *r, const af_finder *f, cli_way way, redo_column column,
                           orbits_run *run) {
    double **picture = &r->orbit[run->orbit].found;
    cli_map map;
    int code = cli_map_make(r->context, f, run->path, way, 0, &map);
    if (code != CLI_OK) return code;
    orbits_score(&map, column, run);
    if (column == REDO_OURS_SHEARS && !*picture) orbits_keep(picture, &map);
    cli_map_free(&map);
    return CLI_OK;
}

/* Both models of this orbit. before: names of files to go on from, or NULL. */
static int orbits_models(redo *r, const char *test, const char *before, orbits_run *run) {
    size_t streams = af_orbits_streams(run->sets);
    char path[REDO_PATH];
    redo_model m;
    int k, code = CLI_OK;
    for (k = 0; k < REDO_GIVEN && code == CLI_OK; k++) {
        redo_column column = (redo_column)(REDO_OURS_FOURIER + k);
        if (before) snprintf(path, sizeof path, "%s/%s_%s.safetensors", r->output, before,
                             REDO_KIND_NAME[k]);
        code = redo_fit(r, test, (redo_kind)k, run->sets, streams - streams / 8,
                        before ? path : NULL, &m);
        if (code != CLI_OK) return code;
        run->cpu[column] = m.cpu;
        if (k == 0) code = orbits_evaluate(r, m.finder, CLI_TOY, REDO_TOY, run);
        if (code == CLI_OK) code = orbits_evaluate(r, m.finder, CLI_ALONE, column, run);
        redo_model_free(&m);
    }
    return code;
}

static int orbits_fudge(redo *r, orbits_run *run) {
    redo_orbit_picture *p = &r->orbit[run->orbit];
    mock_galaxy galaxy;
    cli_map map;
    int code = redo_galaxy_make(r, "pjm14", &galaxy);
    if (code != CLI_OK) return code;
    redo_fudge_map(&galaxy, run->path, &map);
    orbits_score(&map, REDO_FUDGE, run);
    p->title = ORBITS_TITLE[run->orbit];
    p->n = map.stars;
    memcpy(p->truth, run->truth, sizeof p->truth);
    if (!p->fudge) orbits_keep(&p->fudge, &map);
    cli_map_free(&map);
    af_galaxy_destroy(galaxy.model);
    return CLI_OK;
}

/* In the field of this orbit alone. */
static int orbits_field(redo *r, orbits_run *run) {
    redo_field field;
    cli_map map;
    double begin = redo_cpu();
    size_t streams = af_orbits_streams(run->sets);
    int code = redo_field_make(r, run->sets, streams - streams / 8, &field);
    if (code != CLI_OK) return code;
    code = redo_field_map(r, &field, 0, run->path, &map);
    if (code == CLI_OK) {
        run->cpu[REDO_OURS_FIELD] = redo_cpu() - begin;
        orbits_score(&map, REDO_OURS_FIELD, run);
        cli_map_free(&map);
    }
    redo_field_free(&field);
    return code;
}

static int orbits_one(redo *r, const redo_set *set, const char *test, const char *before,
                      orbits_run *run) {
    int code = orbits_sets(r, set, run->orbit, &run->sets);
    run->truth = set->j->data + 3 * run->orbit;
    if (code == CLI_OK &&
        af_orbits_part(r->context, set->orbits, run->orbit, 1, &run->path) != AF_OK)
        code = cli_fail_library(r->context);
    if (code == CLI_OK) code = orbits_fudge(r, run);
    if (code == CLI_OK) code = orbits_models(r, test, before, run);
    if (code == CLI_OK && !before) code = orbits_field(r, run);
    af_orbits_destroy(run->path);
    af_orbits_destroy(run->sets);
    return code;
}

static void orbits_lines(redo *r, const char *test, const char *title,
                         const orbits_run run[REDO_ORBITS]) {
    static const char *const name[2][REDO_ORBITS] = {
        {"thin_spread", "thick_spread", "halo_spread", "stream_spread"},
        {"thin_error", "thick_error", "halo_error", "stream_error"}};
    static const char *const what[2][REDO_ORBITS] = {
        {"thin disc: spread", "thick disc: spread", "halo: spread", "stream: spread"},
        {"thin disc: error", "thick disc: error", "halo: error", "stream: error"}};
    redo_line *line;
    size_t i, k, w;
    for (w = 0; w < 2; w++)
        for (i = 0; i < REDO_ORBITS; i++) {
            redo_quantity q = {NULL, NULL, {NULL, NULL, NULL}};
            q.name = name[w][i];
            q.title = what[w][i];
            line = redo_line_add(r, test, title, "6.4", &q);
            for (k = 0; k < REDO_COLUMNS; k++)
                if (run[i].there[k]) redo_cell_number(&line->cell[k], run[i].value[w][k]);
        }
    line = redo_line_add(r, test, title, "6.4", &REDO_CPU);
    for (k = REDO_OURS_FOURIER; k < REDO_COLUMNS; k++) {
        double sum = 0.0;
        for (i = 0; i < REDO_ORBITS; i++) sum += run[i].cpu[k];
        if (run[0].there[k]) redo_cell_number(&line->cell[k], sum);
    }
}

/* The models to go on from are trained, where that was not done before. */
static int orbits_before(redo *r) {
    size_t i;
    int k, there, code = CLI_OK;
    for (i = 0; i < REDO_ORBITS && code == CLI_OK; i++) {
        const redo_test *test = redo_test_of(ORBITS_BEFORE[i]);
        redo_model *m;
        redo_set set;
        code = redo_set_load(r, test->set, &set, &there);
        if (code == CLI_OK && !there) code = cli_fail("the four orbits need the set %s", test->set);
        for (k = 0; k < REDO_GIVEN && code == CLI_OK; k++)
            code = redo_model_of(r, test, &set, (redo_kind)k, &m);
        if (there) redo_set_free(&set);
    }
    return code;
}

static int orbits_all(redo *r, const redo_set *set, int again) {
    const char *test = again ? "orbits_again" : "orbits";
    orbits_run run[REDO_ORBITS];
    size_t i;
    int code = CLI_OK;
    memset(run, 0, sizeof run);
    for (i = 0; i < REDO_ORBITS && code == CLI_OK; i++) {
        run[i].orbit = i;
        code = orbits_one(r, set, test, again ? ORBITS_BEFORE[i] : NULL, &run[i]);
    }
    if (code == CLI_OK)
        orbits_lines(r, test, again ? "four orbits, pre-trained" : "four orbits, from scratch",
                     run);
    return code;
}

int redo_row_orbits(redo *r) {
    redo_set set;
    int there, code = redo_set_load(r, "four_orbits", &set, &there);
    if (code != CLI_OK) return code;
    if (!there || !set.j || set.streams != REDO_ORBITS) {
        fprintf(stderr, "no data of the four orbits: left out\n");
    } else {
        code = orbits_all(r, &set, 0);
        if (code == CLI_OK) code = orbits_before(r);
        if (code == CLI_OK) code = orbits_all(r, &set, 1);
    }
    redo_set_free(&set);
    return code;
}
