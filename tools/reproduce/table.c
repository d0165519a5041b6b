/* The table: on the standard output, as Markdown and as CSV. */
#include "reproduce.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_THREE {"mean", "median", "trimmed"}
#define TABLE_ONE {NULL, NULL, NULL}
const redo_quantity REDO_STREAM = {"stream", "a stream's J [km/s kpc]", TABLE_THREE};
const redo_quantity REDO_OTHER = {"orbit", "the same, against the true orbit", TABLE_THREE};
const redo_quantity REDO_STAR = {"star", "a star's J [km/s kpc]", TABLE_THREE};
const redo_quantity REDO_ANGLE = {"angle", "a star's angles [degrees]", TABLE_THREE};
const redo_quantity REDO_ACCELERATION = {"acceleration", "acceleration [%]", TABLE_THREE};
const redo_quantity REDO_CPU = {"cpu", "training, CPU [s]", TABLE_ONE};
const redo_quantity REDO_CPU_ACCELERATION = {"acceleration_cpu", "its training, CPU [s]",
                                             TABLE_ONE};

static const char *const TABLE_COLUMN[REDO_COLUMNS] = {
    "toy", "paper", "agama", "fudge", "fourier", "shears", "longer", "field"};
static const char *const TABLE_TITLE[REDO_COLUMNS] = {
    "untrained toy", "paper",      "AGAMA's fudge",     "our fudge",
    "**Fourier**",   "**shears**", "**longer orbits**", "**learned field**"};

/* ---- making lines ---- */

redo_line *redo_line_add(redo *r, const char *test, const char *title, const char *section,
                         const redo_quantity *quantity) {
    redo_table *t = r->table;
    redo_line *line;
    if (t->count == t->room) {
        redo_line *larger = (redo_line *)cli_allocate(2 * t->room + 64, sizeof *larger);
        if (t->count) memcpy(larger, t->line, t->count * sizeof *larger);
        free(t->line);
        t->line = larger;
        t->room = 2 * t->room + 64;
    }
    line = &t->line[t->count++];
    memset(line, 0, sizeof *line);
    snprintf(line->test, sizeof line->test, "%s", test);
    snprintf(line->title, sizeof line->title, "%s", title);
    snprintf(line->section, sizeof line->section, "%s", section);
    line->quantity = *quantity;
    redo_published(line);
    return line;
}

void redo_cell_summary(redo_cell *cell, const cli_summary *s) {
    cell->count = 3;
    cell->value[0] = s->mean;
    cell->value[1] = s->median;
    cell->value[2] = s->trimmed;
}

void redo_cell_number(redo_cell *cell, double value) {
    cell->count = 1;
    cell->value[0] = value;
}

void redo_cell_text(redo_cell *cell, const char *text) {
    cell->count = 0;
    snprintf(cell->text, sizeof cell->text, "%s", text);
}

/* ---- text that grows ---- */

typedef struct table_text {
    char *text;
    size_t length, room;
} table_text;

static void table_put(table_text *t, const char *format, ...) AF_PRINTF(2, 3);

static void table_put(table_text *t, const char *format, ...) {
    enum { LONGEST = 2048 };
    va_list list;
    int n;
    if (t->room - t->length < LONGEST) {
        char *larger = (char *)cli_allocate(2 * t->room + LONGEST, 1);
        if (t->length) memcpy(larger, t->text, t->length);
        free(t->text);
        t->text = larger;
        t->room = 2 * t->room + LONGEST;
    }
    va_start(list, format);
    n = vsnprintf(t->text + t->length, LONGEST, format, list);
    va_end(list);
    if (n > 0) t->length += n < LONGEST ? (size_t)n : (size_t)LONGEST - 1;
}

/* Two digits, three from 100 on. */
static void table_number(char *to, size_t size, double v) {
    double digits = fabs(v) > 0.0 ? floor(log10(fabs(v) * 1.005)) : 0.0;
    if (!isfinite(v)) snprintf(to, size, "-");
    else if (fabs(v) >= 9.95) snprintf(to, size, "%.0f", v);
    else if (fabs(v) < 1e-9) snprintf(to, size, "0");
    else if (digits < -4.0) snprintf(to, size, "%.1e", v);
    else snprintf(to, size, "%.*f", (int)(1.0 - digits), v);
}

static void table_cell(const redo_cell *c, int markdown, char text[2 * REDO_TEXT]) {
    char number[32];
    size_t used;
    int k;
    snprintf(text, 2 * REDO_TEXT, "%s", c->text);
    for (k = 0; k < c->count; k++) {
        used = strlen(text);
        table_number(number, sizeof number, c->value[k]);
        snprintf(text + used, 2 * REDO_TEXT - used, "%s%s", k ? " / " : "", number);
    }
    used = strlen(text);
    if (c->mark && used)
        snprintf(text + used, 2 * REDO_TEXT - used, markdown ? "<sup>%c</sup>" : " (%c)", c->mark);
}

/* ---- outputs ---- */

static void table_markdown(const redo *r, const redo_table *t, table_text *out) {
    char text[2 * REDO_TEXT];
    size_t i;
    int k;
    table_put(out, "# The tests of Ibata et al. (2021), sections 6.1 to 6.5\n\nBy `make "
                   "reproduce-actionfinder`%s; samples: %s.\n\n",
              r->quick ? ", --quick: hardly trained" : "", r->data ? "ready-made" : "its own");
    table_put(out, "| test | section | error of |");
    for (k = 0; k < REDO_COLUMNS; k++) table_put(out, " %s |", TABLE_TITLE[k]);
    table_put(out, "\n|---|---|---|");
    for (k = 0; k < REDO_COLUMNS; k++) table_put(out, "---:|");
    table_put(out, "\n");
    for (i = 0; i < t->count; i++) {
        const redo_line *l = &t->line[i];
        int again = i > 0 && strcmp(l->test, t->line[i - 1].test) == 0;
        table_put(out, "| %s | %s | %s |", again ? "" : l->title, again ? "" : l->section,
                  l->quantity.title);
        for (k = 0; k < REDO_COLUMNS; k++) {
            table_cell(&l->cell[k], 1, text);
            table_put(out, " %s |", text);
        }
        table_put(out, "\n");
    }
}

/* The sentences for the marks that stand in the table. */
static void table_notes(const redo_table *t, int markdown, table_text *out) {
    size_t i, n;
    int k;
    table_put(out, "\nThree numbers: mean / median / mean without the largest 2 %%. Errors are of "
                   "streams that were not trained on.\n");
    for (n = 0; REDO_NOTES[n]; n++) {
        int used = 0;
        for (i = 0; i < t->count; i++)
            for (k = 0; k < REDO_COLUMNS; k++) used |= t->line[i].cell[k].mark == (char)('a' + n);
        if (!used) continue;
        if (markdown) table_put(out, "\n<sup>%c</sup> %s\n", (char)('a' + n), REDO_NOTES[n]);
        else table_put(out, "(%c) %s\n", (char)('a' + n), REDO_NOTES[n]);
    }
}

static void table_csv(const redo_table *t, table_text *out) {
    size_t i;
    int k, m;
    table_put(out, "test,section,quantity,statistic");
    for (k = 0; k < REDO_COLUMNS; k++) table_put(out, ",%s", TABLE_COLUMN[k]);
    table_put(out, "\n");
    for (i = 0; i < t->count; i++)
        for (m = 0; m < REDO_NUMBERS; m++) {
            const redo_line *l = &t->line[i];
            if (m > 0 && !l->quantity.statistics[m]) break;
            table_put(out, "%s,%s,%s,%s", l->test, l->section, l->quantity.name,
                      l->quantity.statistics[m] ? l->quantity.statistics[m] : "value");
            for (k = 0; k < REDO_COLUMNS; k++)
                if (m < l->cell[k].count) table_put(out, ",%.6g", l->cell[k].value[m]);
                else table_put(out, ",");
            table_put(out, "\n");
        }
}

static void table_plain(const redo_table *t, table_text *out) {
    static const char *const title[REDO_COLUMNS] = {
        "untrained toy", "paper",  "AGAMA's fudge", "our fudge",
        "Fourier",       "shears", "longer orbits", "learned field"};
    char text[2 * REDO_TEXT];
    size_t i;
    int k;
    for (i = 0; i < t->count; i++) {
        const redo_line *l = &t->line[i];
        if (i == 0 || strcmp(l->test, t->line[i - 1].test) != 0) {
            table_put(out, "\n%s: %s (section %s)\n%-34s", l->test, l->title, l->section, "");
            for (k = 0; k < REDO_COLUMNS; k++) table_put(out, " | %-21s", title[k]);
            table_put(out, "\n");
        }
        table_put(out, "%-34s", l->quantity.title);
        for (k = 0; k < REDO_COLUMNS; k++) {
            table_cell(&l->cell[k], 0, text);
            table_put(out, " | %-21s", text);
        }
        table_put(out, "\n");
    }
}

static void table_figures(const redo_table *t, table_text *out) {
    size_t i;
    int k, m;
    for (i = 0; i < t->count; i++)
        for (k = 0; k < REDO_COLUMNS; k++) {
            const redo_line *l = &t->line[i];
            const redo_cell *c = &l->cell[k];
            if (k == REDO_PAPER || k == REDO_AGAMA) continue;
            for (m = 0; m < c->count; m++)
                table_put(out, "FIGURE %s_%s_%s%s%s %.6g\n", l->test, TABLE_COLUMN[k],
                          l->quantity.name, l->quantity.statistics[m] ? "_" : "",
                          l->quantity.statistics[m] ? l->quantity.statistics[m] : "", c->value[m]);
        }
}

void redo_table_print(const redo_table *t) {
    table_text out;
    memset(&out, 0, sizeof out);
    table_plain(t, &out);
    table_notes(t, 0, &out);
    table_put(&out, "\n");
    table_figures(t, &out);
    fwrite(out.text, 1, out.length, stdout);
    free(out.text);
}

static int table_file(const redo *r, const char *name, const table_text *text) {
    char path[REDO_PATH];
    int code;
    snprintf(path, sizeof path, "%s/%s", r->output, name);
    code = cli_write_text(path, text->text, text->length);
    if (code == CLI_OK) printf("wrote %s\n", path);
    return code;
}

int redo_table_write(const redo *r, const redo_table *t) {
    table_text markdown, csv;
    int code;
    memset(&markdown, 0, sizeof markdown);
    memset(&csv, 0, sizeof csv);
    table_markdown(r, t, &markdown);
    table_notes(t, 1, &markdown);
    table_csv(t, &csv);
    code = table_file(r, "reproduce.md", &markdown);
    if (code == CLI_OK) code = table_file(r, "reproduce.csv", &csv);
    free(markdown.text);
    free(csv.text);
    return code;
}
