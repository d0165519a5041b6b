/* reproduce-actionfinder: sections 6.1 to 6.5 of Ibata et al. (2021) as one table, and figures 3 to
 * 5. The rows are in the other files of this folder; how models are fitted is in settings.c. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L /* fsync, for the library; mkdir */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include "reproduce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifndef REDO_FOLDER
#  define REDO_FOLDER "build/reproduce"
#endif

static const char MANUAL[] =
    "reproduce-actionfinder [--rows A,B] [--quick] [--data FOLDER] [-o FOLDER]\n"
    "\n"
    "The tests of Ibata et al. (2021, ApJ 915, 5), sections 6.1 to 6.5, as one table:\n"
    "the untrained toy, the paper, AGAMA's Staeckel fudge and ours, and our two models.\n"
    "Three numbers in a cell are the mean, the median, and the mean without the largest\n"
    "2 %. Then come lines `FIGURE row_column_quantity_statistic value` for programs.\n"
    "Files: reproduce.md, reproduce.csv, figure3.svg, figure4.svg, figure5.svg, the\n"
    "models, and data/, the samples, which are made once.\n"
    "\n"
    "  --rows A,B     only these: isochrone, disc, pjm14, db98, db98_128, db98_16,\n"
    "                 pjm14_torus, db98_torus (with --data alone), orbits, plummer,\n"
    "                 inverse\n"
    "  --quick        small samples and hardly any training: whether it runs\n"
    "  --data FOLDER  ready-made samples: a folder for each of isochrone_halo, pjm14_disk,\n"
    "                 pjm14_halo, db98_halo, pjm14_torus, db98_torus, four_orbits and\n"
    "                 plummer_nbody, with xv.npy (S,N,6), J.npy (S,3), and where they are\n"
    "                 there J_err.npy, theta.npy and acc.npy (S,N,3). Those that are not\n"
    "                 there are left out\n"
    "  -o FOLDER      where everything goes; default " REDO_FOLDER "\n"
    "  --help         this text\n"
    "\n"
    "An error of a stream is the mean over the three actions of |mean over its stars - truth|,\n"
    "of streams that were not trained on; their truth is never used, but the epoch of\n"
    "least spread within them is the one that is kept, as in the paper.\n";

static int redo_usage(const char *what, const char *word) {
    fprintf(stderr, "reproduce-actionfinder: %s '%s'; see --help\n", what, word);
    return CLI_USAGE;
}

static const char *const EXTRA_ROWS[] = {"orbits", "plummer", "inverse"};
enum { EXTRA_COUNT = 3 };

static int redo_is_row(const char *word, size_t length) {
    size_t i;
    for (i = 0; i < REDO_TEST_COUNT + EXTRA_COUNT; i++) {
        const char *name =
            i < REDO_TEST_COUNT ? REDO_TESTS[i].name : EXTRA_ROWS[i - REDO_TEST_COUNT];
        if (strlen(name) == length && strncmp(name, word, length) == 0) return 1;
    }
    return 0;
}

/* -1 when every name is a row's, otherwise the exit code. */
static int redo_check_rows(const char *rows) {
    const char *at = rows;
    while (at) {
        const char *comma = strchr(at, ',');
        size_t length = comma ? (size_t)(comma - at) : strlen(at);
        if (!redo_is_row(at, length)) return redo_usage("there is no such row in", rows);
        at = comma ? comma + 1 : NULL;
    }
    return -1;
}

static int redo_wanted(const redo *r, const char *name) {
    const char *at = r->rows;
    size_t length = strlen(name);
    while (at) {
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == 0)) return 1;
        at = strchr(at, ',');
        if (at) at++;
    }
    return r->rows == NULL;
}

/* -1 to go on, otherwise the exit code. */
static int redo_options(redo *r, int count, char **words) {
    int i;
    for (i = 1; i < count; i++) {
        const char *word = words[i], *value = i + 1 < count ? words[i + 1] : NULL;
        const char **to = NULL;
        if (strcmp(word, "--help") == 0) {
            printf("%s", MANUAL);
            return CLI_OK;
        }
        if (strcmp(word, "--quick") == 0) {
            r->quick = 1;
            continue;
        }
        if (strcmp(word, "--rows") == 0) to = &r->rows;
        else if (strcmp(word, "--data") == 0) to = &r->data;
        else if (strcmp(word, "-o") == 0) to = &r->output;
        else return redo_usage("there is no option", word);
        if (!value || !*value) return redo_usage("a value is missing after", word);
        *to = value;
        i++;
    }
    if (strlen(r->output) > REDO_PATH / 4) return redo_usage("too long a name:", r->output);
    return redo_check_rows(r->rows);
}

static int redo_rows(redo *r) {
    size_t i;
    int code = CLI_OK;
    for (i = 0; i < REDO_TEST_COUNT && code == CLI_OK; i++)
        if (redo_wanted(r, REDO_TESTS[i].name)) code = redo_row_test(r, &REDO_TESTS[i]);
    if (code == CLI_OK && redo_wanted(r, "orbits")) code = redo_row_orbits(r);
    if (code == CLI_OK && redo_wanted(r, "plummer")) code = redo_row_plummer(r);
    if (code == CLI_OK && redo_wanted(r, "inverse")) code = redo_row_inverse(r);
    return code;
}

static void redo_free(redo *r) {
    size_t i;
    for (i = 0; i < r->kept_count; i++) redo_model_free(&r->kept[i].model);
    for (i = 0; i < REDO_ORBITS; i++) {
        free(r->orbit[i].fudge);
        free(r->orbit[i].found);
    }
    free(r->plummer.truth);
    free(r->plummer.toy);
    free(r->plummer.found);
    free(r->table->line);
    af_context_destroy(r->context);
}

/* Makes the folder, and those above it that are not there. */
static int redo_folder(const char *path) {
    char part[REDO_PATH];
    size_t i, n = strlen(path);
    for (i = 1; i <= n; i++) {
        if (i < n && path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return cli_fail("cannot make the folder '%s': %s", part, strerror(errno));
    }
    return CLI_OK;
}

int main(int count, char **words) {
    static redo r;
    static redo_table table;
    int code;
    r.output = REDO_FOLDER;
    r.table = &table;
    if ((code = redo_options(&r, count, words)) >= 0) return code;
    if ((code = redo_folder(r.output)) != CLI_OK) return code;
    if (af_context_create(NULL, &r.context) != AF_OK) return cli_fail("out of memory");
    code = redo_rows(&r);
    if (code == CLI_OK) redo_table_print(&table);
    if (code == CLI_OK) code = redo_table_write(&r, &table);
    if (code == CLI_OK) code = redo_figures(&r);
    redo_free(&r);
    return code;
}
