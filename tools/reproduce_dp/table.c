/* The table: on the standard output, as Markdown and as CSV. */
#include "published.h"
#include "reproduce_dp.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *title;
} TABLE_QUANTITY[] = {
    {"gradient_x", "d ln f/dx [%], median / 90 %"},
    {"gradient_v", "d ln f/dv [%], median / 90 %"},
    {"likelihood_flow", "flow: mean ln f below the truth's [nats]"},
    {"likelihood_score", "score: the same, normalised by the flow"},
    {"potential", "potential, offset removed [%], median / 90 %"},
    {"force", "force [%], median / 90 %"},
    {"density", "density at stars [%], median / 90 %"},
    {"plane", "density in the plane where > 0.1 of its largest [%]"},
    {"fitted", "a / b of a Miyamoto-Nagai model, M known"},
    {"fitted_free", "a / b, M fitted too"},
    {"fitted_mass", "its M, the true one being 1"},
    {"omega", "pattern speed [km/s/kpc]"},
    {"omega_error", "its error [%]"},
    {"omega_moments", "it by moments of the stars, Phi known / standard error"},
    {"loss", "loss on points held out"},
    {"df_cost", "gradients: CPU / wall [s]"},
    {"flow_cost", "flow: CPU / wall [s]"},
    {"potential_cost", "potential: CPU / wall [s]"},
};
enum { TABLE_QUANTITIES = sizeof TABLE_QUANTITY / sizeof *TABLE_QUANTITY };

static const char *const TABLE_COLUMN[DPR_COLUMNS] = {"untrained", "paper",     "wanted", "truth",
                                                      "ours",      "symmetric", "without"};
static const char *const TABLE_TITLE[DPR_COLUMNS] = {
    "untrained", "paper", "wanted", "from true gradients", "**ours**", "with the symmetry",
    "as if ideal"};

/* ---- making cells ---- */

static void table_published(dpr_line *line) {
    const dpr_published *p;
    for (p = DPR_PUBLISHED; p->row; p++) {
        if (strcmp(p->row, line->row) != 0 || strcmp(p->quantity, line->quantity) != 0) continue;
        snprintf(line->cell[DPR_PAPER].text, DPR_TEXT, "%s", p->paper);
        snprintf(line->cell[DPR_WANTED].text, DPR_TEXT, "%s", p->wanted);
    }
}

dpr_cell *dpr_cell_of(dpr *r, const dpr_row *row, const char *quantity, dpr_column column) {
    static dpr_cell nowhere;
    dpr_line *line;
    size_t i;
    for (i = 0; i < r->line_count; i++)
        if (strcmp(r->line[i].row, row->setting->name) == 0 &&
            strcmp(r->line[i].quantity, quantity) == 0)
            return &r->line[i].cell[column];
    if (r->line_count == (size_t)DPR_LINES) return &nowhere;
    line = &r->line[r->line_count++];
    line->row = row->setting->name;
    line->quantity = quantity;
    table_published(line);
    return &line->cell[column];
}

void dpr_number(dpr_cell *cell, double value) {
    cell->count = 1;
    cell->value[0] = value;
}

void dpr_pair(dpr_cell *cell, double first, double second) {
    cell->count = 2;
    cell->value[0] = first;
    cell->value[1] = second;
}

void dpr_cost_cell(dpr *r, const dpr_row *row, const char *quantity, dpr_column column,
                   const dpr_cost *cost) {
    dpr_pair(dpr_cell_of(r, row, quantity, column), cost->cpu, cost->wall);
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

static void table_cell(const dpr_cell *c, char text[DPR_TEXT]) {
    if (c->count == 0) snprintf(text, DPR_TEXT, "%s", c->text);
    if (c->count == 1) snprintf(text, DPR_TEXT, "%.3g", c->value[0]);
    if (c->count == 2) snprintf(text, DPR_TEXT, "%.3g / %.3g", c->value[0], c->value[1]);
}

static const char *const TABLE_NOTES[] = {
    "Untrained: a constant potential; for gradients and ln f a normal distribution with the stars' "
    "means and variances; where a model is fitted, where it begins.",
    "Paper: Green, Ting & Kamdar (2023), with 2^19 stars in every row, from words about whole "
    "maps. Wanted: what this library set out to reach.",
    "From true gradients: the same fit of a network on x, y, z to gradients without error, which "
    "is what the potential's fit costs. Plummer's sphere has them in closed form. The distribution "
    "function of the discs' stars is not known; there they are those of a stationary f(E, Lz) with "
    "like dispersions, at the same points; the bar's, those of an f(E - Omega Lz).",
    "With the symmetry: Phi(r) of the sphere, Phi(R, z) of the discs, from the same gradients as "
    "ours, which know of no symmetry.",
    "As if ideal: measurement errors, the selection, and a frame that turns by 0.7 of what it "
    "should, are ignored.",
    "Errors of potentials are relative, at positions of stars; the sphere's density at r < 2. The "
    "constant of the bar's potential means nothing.",
    "A pattern speed by moments: for any phi(x, v) the mean of d phi/dt over the stars vanishes in "
    "the frame that turns with them. Nothing is learned; its standard error is the stars' own.",
    NULL};

static const char *table_name(size_t row, size_t quantity, const dpr *r, const dpr_line **line) {
    size_t i;
    *line = NULL;
    for (i = 0; i < r->line_count; i++)
        if (strcmp(r->line[i].row, DPR_SETTINGS[row].name) == 0 &&
            strcmp(r->line[i].quantity, TABLE_QUANTITY[quantity].name) == 0)
            *line = &r->line[i];
    return TABLE_QUANTITY[quantity].title;
}

static void table_body(const dpr *r, int markdown, table_text *out) {
    const dpr_line *line;
    char text[DPR_TEXT];
    size_t row, q, k;
    const char *last = NULL;
    for (row = 0; row < (size_t)DPR_ROWS; row++)
        for (q = 0; q < (size_t)TABLE_QUANTITIES; q++) {
            const char *title = table_name(row, q, r, &line);
            if (!line) continue;
            if (markdown)
                table_put(out, "| %s | %s |", last == line->row ? "" : DPR_SETTINGS[row].title,
                          title);
            else if (last != line->row)
                table_put(out,
                          "\n%s (section %s): untrained | paper | wanted | from true gradients | "
                          "ours | with the symmetry | as if ideal\n",
                          DPR_SETTINGS[row].title, DPR_SETTINGS[row].section);
            if (!markdown) table_put(out, "%-52s", title);
            for (k = 0; k < (size_t)DPR_COLUMNS; k++) {
                table_cell(&line->cell[k], text);
                table_put(out, markdown ? " %s |" : " | %-15s", text);
            }
            table_put(out, "\n");
            last = line->row;
        }
}

static void table_csv(const dpr *r, table_text *out, const char *figure) {
    size_t i, k;
    int m;
    for (i = 0; i < r->line_count; i++)
        for (k = 0; k < (size_t)DPR_COLUMNS; k++)
            for (m = 0; m < r->line[i].cell[k].count; m++)
                table_put(out, figure ? "%s%s_%s_%s%s %.6g\n" : "%s%s,%s,%s,%s,%.6g\n",
                          figure ? figure : "", r->line[i].row, TABLE_COLUMN[k],
                          r->line[i].quantity,
                          figure ? (m ? "_second" : "") : (m ? "second" : "first"),
                          r->line[i].cell[k].value[m]);
}

static int table_file(const dpr *r, const char *name, const table_text *text) {
    char path[DPR_PATH];
    int code;
    snprintf(path, sizeof path, "%s/%s", r->output, name);
    code = cli_write_text(path, text->text, text->length);
    if (code == CLI_OK) printf("wrote %s\n", path);
    return code;
}

int dpr_table(const dpr *r) {
    table_text plain, markdown, csv;
    size_t k;
    int code;
    memset(&plain, 0, sizeof plain);
    memset(&markdown, 0, sizeof markdown);
    memset(&csv, 0, sizeof csv);
    table_put(&markdown, "# The tests of Green, Ting & Kamdar (2023)\n\nBy `make "
                         "reproduce-deeppotential`, --scale %g.\n\n| test | quantity |",
              r->scale);
    for (k = 0; k < (size_t)DPR_COLUMNS; k++) table_put(&markdown, " %s |", TABLE_TITLE[k]);
    table_put(&markdown, "\n|---|---|");
    for (k = 0; k < (size_t)DPR_COLUMNS; k++) table_put(&markdown, "---:|");
    table_put(&markdown, "\n");
    table_body(r, 1, &markdown);
    table_body(r, 0, &plain);
    for (k = 0; TABLE_NOTES[k]; k++) {
        table_put(&markdown, "\n%s\n", TABLE_NOTES[k]);
        table_put(&plain, "%s%s\n", k ? "" : "\n", TABLE_NOTES[k]);
    }
    table_put(&plain, "\n");
    table_csv(r, &plain, "FIGURE ");
    table_put(&csv, "row,column,quantity,number,value\n");
    table_csv(r, &csv, NULL);
    fwrite(plain.text, 1, plain.length, stdout);
    code = table_file(r, "reproduce.md", &markdown);
    if (code == CLI_OK) code = table_file(r, "reproduce.csv", &csv);
    free(plain.text);
    free(markdown.text);
    free(csv.text);
    return code;
}
