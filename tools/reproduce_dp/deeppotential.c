/* reproduce-deeppotential: the tests of Green, Ting & Kamdar (2023) as one table, and their
 * figures. The rows are in the other files of this folder; how long fits take is in settings.c. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L /* fsync, for the library; mkdir */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"

#include "reproduce_dp.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifndef DPR_FOLDER
#  define DPR_FOLDER "build/reproduce-dp"
#endif

static const char MANUAL[] =
    "reproduce-deeppotential [--rows A,B] [--scale X] [--seconds S] [--epochs N]\n"
    "                        [--only truth] [--threads N] [-o FOLDER]\n"
    "\n"
    "The tests of Green, Ting & Kamdar (2023, ApJ 942, 26), sections 3 and 4, a turning bar,\n"
    "and a selection that is complete nowhere, as one table. Then come lines `FIGURE\n"
    "row_column_quantity value` for programs. Errors are per cent of the truth: the median and\n"
    "the 90th percentile. Files: reproduce.md, reproduce.csv, figure2.svg to figure13.svg, and\n"
    "the samples of stars, which are made once.\n"
    "\n"
    "  --rows A,B   only these: plummer, disc, selection, errors, nonstationary, bar,\n"
    "               thinned, conditional\n"
    "  --scale X    stars, points and seconds times X; default 1\n"
    "  --seconds S  of the clock for a fit of f; other fits take theirs in proportion\n"
    "  --epochs N   so many passes over the stars instead, and 16 times as many over the\n"
    "               points of a potential: the same on every machine\n"
    "  --only truth no f is learned: the column of fits to true gradients, and no figures\n"
    "  --threads N  default: all cores\n"
    "  -o FOLDER    where everything goes; default " DPR_FOLDER "\n"
    "  --help       this text\n"
    "\n"
    "A row takes its time on the clock, whatever the machine: some six minutes for the\n"
    "sphere, a quarter of an hour for a disc and what stands beside it, two hours for all.\n"
    "Figures 8 and 10 have those discs that were asked for.\n";

static int dpr_wanted(const dpr *r, const char *name) {
    const char *at = r->rows;
    size_t length = strlen(name);
    while (at) {
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == 0)) return 1;
        at = strchr(at, ',');
        if (at) at++;
    }
    return r->rows == NULL;
}

static int dpr_usage(const char *what, const char *word) {
    fprintf(stderr, "reproduce-deeppotential: %s '%s'; see --help\n", what, word);
    return CLI_USAGE;
}

/* -1 when every name is a row's, otherwise the exit code. */
static int dpr_check_rows(const dpr *r) {
    const char *at = r->rows;
    while (at) {
        const char *comma = strchr(at, ',');
        size_t length = comma ? (size_t)(comma - at) : strlen(at), i;
        int known = 0;
        for (i = 0; i < (size_t)DPR_ROWS; i++)
            known |= strlen(DPR_SETTINGS[i].name) == length &&
                     strncmp(DPR_SETTINGS[i].name, at, length) == 0;
        if (!known) return dpr_usage("there is no such row in", r->rows);
        at = comma ? comma + 1 : NULL;
    }
    return -1;
}

/* -1 to go on, otherwise the exit code. */
static int dpr_options(dpr *r, int count, char **words) {
    const cli_option option[] = {
        {"--rows", CLI_TEXT, &r->rows, NULL, NULL},
        {"--scale", CLI_NUMBER, &r->scale, NULL, NULL},
        {"--seconds", CLI_NUMBER, &r->seconds, NULL, NULL},
        {"--epochs", CLI_COUNT, &r->epochs, NULL, NULL},
        {"--only", CLI_TEXT, &r->only, NULL, NULL},
        {"--threads", CLI_COUNT, &r->threads, NULL, NULL},
        {"-o", CLI_TEXT, &r->output, NULL, NULL},
    };
    const size_t options = sizeof option / sizeof *option;
    int i;
    for (i = 1; i < count; i += 2) {
        const char *value = i + 1 < count ? words[i + 1] : NULL, *wrong;
        size_t k = 0;
        if (strcmp(words[i], "--help") == 0) {
            printf("%s", MANUAL);
            return CLI_OK;
        }
        while (k < options && strcmp(option[k].name, words[i]) != 0) k++;
        if (k == options) return dpr_usage("there is no option", words[i]);
        if (!value || !*value) return dpr_usage("a value is missing after", words[i]);
        wrong = cli_set(&option[k], value);
        if (wrong) return dpr_usage("not a number that makes sense:", value);
    }
    if (r->only && strcmp(r->only, "truth") != 0) return dpr_usage("there is no --only", r->only);
    return dpr_check_rows(r);
}

/* Makes the folder, and those above it that are not there. */
static int dpr_folder(const char *path) {
    char part[DPR_PATH];
    size_t i, n = strlen(path);
    if (n > DPR_PATH / 2) return cli_fail("too long a name: '%s'", path);
    for (i = 1; i <= n; i++) {
        if (i < n && path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return cli_fail("cannot make the folder '%s': %s", part, strerror(errno));
    }
    return CLI_OK;
}

/* Numbers of a row: all times --scale; --seconds are those of a score, others in proportion. A few
 * batches of stars are the least. */
static void dpr_sizes(const dpr *r, dpr_row *row) {
    const double least = 1024.0;
    const dpr_setting *s = row->setting;
    double seconds = r->seconds > 0.0 ? r->seconds / s->df_seconds : r->scale;
    row->n = (size_t)fmax(least, r->scale * (double)s->stars);
    row->points_n = (size_t)fmax(least, r->scale * (double)s->points);
    row->df_seconds = seconds * s->df_seconds;
    row->flow_seconds = seconds * s->flow_seconds;
    row->potential_seconds = seconds * s->potential_seconds;
}

static int dpr_one(dpr *r, dpr_row *row) {
    const char *name = row->setting->name;
    int code;
    dpr_sizes(r, row);
    if (strcmp(name, "plummer") == 0) code = dpr_plummer(r, row);
    else if (strcmp(name, "bar") == 0) code = dpr_bar(r, row);
    else if (strcmp(name, "thinned") == 0 || strcmp(name, "conditional") == 0)
        code = dpr_thinned(r, row);
    else code = dpr_disc(r, row);
    row->done = code == CLI_OK && !r->only;
    if (row->done && strcmp(name, "plummer") == 0) code = dpr_pictures_plummer(r, row);
    if (row->done && strcmp(name, "nonstationary") == 0) code = dpr_pictures_flow(r, row);
    return code;
}

static void dpr_free(dpr *r) {
    size_t i;
    for (i = 0; i < (size_t)DPR_ROWS; i++) {
        dpr_row *row = &r->row[i];
        dpr_score_free(&row->score);
        dp_df_destroy(row->flow);
        dp_potential_destroy(row->potential);
        deep_points_free(&row->points);
        free(row->places);
        free(row->eta);
    }
    af_context_destroy(r->c);
}

int main(int count, char **words) {
    static dpr r;
    size_t i;
    int code;
    cli_program = "reproduce-deeppotential";
    r.output = DPR_FOLDER;
    r.scale = 1.0;
    if ((code = dpr_options(&r, count, words)) >= 0) return code;
    if ((code = dpr_folder(r.output)) != CLI_OK) return code;
    if ((code = cli_context(r.threads, &r.c)) != CLI_OK) return code;
    for (i = 0; i < (size_t)DPR_ROWS; i++) r.row[i].setting = &DPR_SETTINGS[i];
    for (i = 0; i < (size_t)DPR_ROWS && code == CLI_OK; i++)
        if (dpr_wanted(&r, DPR_SETTINGS[i].name)) code = dpr_one(&r, &r.row[i]);
    if (code == CLI_OK) code = dpr_table(&r);
    if (code == CLI_OK && !r.only) code = dpr_pictures_disc(&r);
    if (code == CLI_OK && !r.only) code = dpr_pictures_loss(&r);
    dpr_free(&r);
    return code;
}
