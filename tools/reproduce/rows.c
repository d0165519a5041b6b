/* The tests on samples of streams: sections 6.1 to 6.3. */
#include "reproduce.h"

#include <math.h>
#include <string.h>

/* What a test found, by columns of the table. */
typedef struct rows_result {
    int there[REDO_COLUMNS];
    redo_score score[REDO_COLUMNS];
    double cpu[REDO_COLUMNS];
    cli_summary acceleration[REDO_COLUMNS];
    double acceleration_cpu[REDO_COLUMNS];
} rows_result;

static int rows_toy(redo *r, const redo_test *test, const redo_set *set, size_t train,
                    const af_orbits *held, const redo_model *m, rows_result *out) {
    af_isochrone toy = af_finder_toy(m->finder);
    af_potential part = af_isochrone_potential(&toy);
    af_potential_sum sum;
    cli_map map;
    int code = cli_map_make(r->context, m->finder, held, CLI_TOY, 0, &map);
    if (code != CLI_OK) return code;
    redo_score_maps(set, train, test->mask, &map, &map, &out->score[REDO_TOY]);
    cli_map_free(&map);
    out->there[REDO_TOY] = 1;
    sum.parts = &part;
    sum.count = 1;
    if (test->accelerations && set->acceleration)
        out->acceleration[REDO_TOY] =
            redo_acceleration_errors(set, train, af_force_of_potential(&sum));
    return CLI_OK;
}

static int rows_fudge(redo *r, const redo_test *test, const redo_set *set, size_t train,
                      const af_orbits *held, rows_result *out) {
    mock_galaxy galaxy;
    cli_map map;
    double begin;
    int code = redo_galaxy_make(r, set->name, &galaxy);
    if (code != CLI_OK) return code;
    begin = redo_cpu();
    redo_fudge_map(&galaxy, held, &map);
    out->cpu[REDO_FUDGE] = redo_cpu() - begin;
    redo_score_maps(set, train, test->mask, &map, &map, &out->score[REDO_FUDGE]);
    out->there[REDO_FUDGE] = 1;
    cli_map_free(&map);
    af_galaxy_destroy(galaxy.model);
    return CLI_OK;
}

static int rows_model(redo *r, const redo_test *test, const redo_set *set, size_t train,
                      const af_orbits *held, const redo_model *m, redo_column column,
                      rows_result *out) {
    cli_map shared, alone;
    int code = cli_map_make(r->context, m->finder, held, CLI_SHARED, 0, &shared);
    if (code != CLI_OK) return code;
    code = cli_map_make(r->context, m->finder, held, CLI_ALONE, 0, &alone);
    if (code == CLI_OK) {
        redo_score_maps(set, train, test->mask, &shared, &alone, &out->score[column]);
        cli_map_free(&alone);
    }
    cli_map_free(&shared);
    out->cpu[column] = m->cpu;
    out->there[column] = 1;
    if (code == CLI_OK && test->accelerations && set->acceleration)
        code = redo_accelerations(r, test, set, m, train, &out->acceleration[column],
                                  &out->acceleration_cpu[column]);
    return code;
}

static int rows_field(redo *r, const redo_test *test, const redo_set *set, size_t train,
                      const af_orbits *held, rows_result *out) {
    redo_field field;
    cli_map map;
    double begin = redo_cpu();
    int code = redo_field_make(r, set->orbits, train, &field);
    if (code != CLI_OK) return code;
    code = redo_field_map(r, &field, test->spherical, held, &map);
    if (code == CLI_OK) {
        out->cpu[REDO_OURS_FIELD] = redo_cpu() - begin;
        redo_score_maps(set, train, test->mask, &map, &map, &out->score[REDO_OURS_FIELD]);
        out->there[REDO_OURS_FIELD] = 1;
        cli_map_free(&map);
    }
    if (test->accelerations && set->acceleration) {
        out->acceleration[REDO_OURS_FIELD] =
            redo_acceleration_errors(set, train, af_force_of_mass_model(field.model));
        out->acceleration_cpu[REDO_OURS_FIELD] = field.cpu;
    }
    redo_field_free(&field);
    return code;
}

static void rows_lines(redo *r, const redo_test *test, const char *title, const redo_set *set,
                       const rows_result *found) {
    const redo_quantity *quantity[4];
    size_t lines = 0, i, k;
    redo_line *line;
    quantity[lines++] = &REDO_STREAM;
    if (set->other_j) quantity[lines++] = &REDO_OTHER;
    quantity[lines++] = &REDO_STAR;
    if (set->theta) quantity[lines++] = &REDO_ANGLE;
    for (i = 0; i < lines; i++) {
        line = redo_line_add(r, test->name, title, test->section, quantity[i]);
        for (k = 0; k < REDO_COLUMNS; k++) {
            const redo_score *s = &found->score[k];
            if (!found->there[k]) continue;
            redo_cell_summary(&line->cell[k], quantity[i] == &REDO_STREAM  ? &s->stream
                                              : quantity[i] == &REDO_OTHER ? &s->other
                                              : quantity[i] == &REDO_STAR  ? &s->star
                                                                           : &s->angle);
        }
    }
    line = redo_line_add(r, test->name, title, test->section, &REDO_CPU);
    for (k = REDO_OURS_FOURIER; k < REDO_COLUMNS; k++)
        if (found->there[k]) {
            redo_cell_number(&line->cell[k], found->cpu[k]);
            line->cell[k].mark =
                k == REDO_OURS_LONGER ? 'j' : k == REDO_OURS_FIELD ? 'i' : 0;
        }
    if (!test->accelerations || !set->acceleration) return;
    line = redo_line_add(r, test->name, title, test->section, &REDO_ACCELERATION);
    for (k = 0; k < REDO_COLUMNS; k++)
        if (found->acceleration[k].count) {
            redo_cell_summary(&line->cell[k], &found->acceleration[k]);
            line->cell[k].mark = k >= REDO_OURS_FOURIER && k < REDO_OURS_FIELD ? 'h' : 0;
        }
    line = redo_line_add(r, test->name, title, test->section, &REDO_CPU_ACCELERATION);
    for (k = REDO_OURS_FOURIER; k < REDO_COLUMNS; k++)
        redo_cell_number(&line->cell[k], found->acceleration_cpu[k]);
}

static int rows_score(redo *r, const redo_test *test, const redo_set *set, size_t train,
                      const af_orbits *held) {
    rows_result found;
    char title[2 * REDO_TEXT];
    redo_model *m;
    int code, k;
    memset(&found, 0, sizeof found);
    code = rows_fudge(r, test, set, train, held, &found);
    for (k = 0; k < REDO_MODELS && code == CLI_OK; k++) {
        code = redo_model_of(r, test, set, (redo_kind)k, &m);
        if (code == CLI_OK && k == 0) code = rows_toy(r, test, set, train, held, m, &found);
        if (code == CLI_OK)
            code = rows_model(r, test, set, train, held, m, (redo_column)(REDO_OURS_FOURIER + k),
                              &found);
    }
    if (code == CLI_OK) code = rows_field(r, test, set, train, held, &found);
    if (code != CLI_OK) return code;
    snprintf(title, sizeof title, "%s; %lu streams trained on, %lu scored", test->title,
             (unsigned long)train, (unsigned long)found.score[REDO_TOY].stream.count);
    rows_lines(r, test, title, set, &found);
    return CLI_OK;
}

int redo_row_test(redo *r, const redo_test *test) {
    redo_set set;
    af_orbits *held = NULL;
    size_t train;
    int there, code = redo_set_load(r, test->set, &set, &there);
    if (code != CLI_OK) return code;
    if (!there || !set.j) {
        fprintf(stderr, "no data for %s: left out\n", test->name);
        redo_set_free(&set);
        return CLI_OK;
    }
    train = redo_train_count(r, test, &set);
    if (af_orbits_part(r->context, set.orbits, train, set.streams - train, &held) != AF_OK)
        code = cli_fail_library(r->context);
    if (code == CLI_OK) code = rows_score(r, test, &set, train, held);
    af_orbits_destroy(held);
    redo_set_free(&set);
    return code;
}
