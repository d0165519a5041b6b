/* deeppotential symbolic: formulas for a column of a table. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "symbolic";

typedef struct symbolic_settings {
    const char *y, *x, *sigma, *group, *units;
    deep_formulas f;
} symbolic_settings;

static size_t symbolic_options(symbolic_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"y", CLI_TEXT, &o->y, "COLUMN:UNITS", "what the formula is for"},
        {"x", CLI_TEXT, &o->x, "LIST", "the variables: r:kpc,z:kpc; the names are columns"},
        {"sigma", CLI_TEXT, &o->sigma, "COLUMN", "standard deviations of y"},
        {"group", CLI_TEXT, &o->group, "COLUMN",
         "rows of equal values here are a data set; all share the formula ..."},
        {"specific", CLI_TEXT, &o->f.specific, "LIST", "... and has its own of these constants"},
        {"units", CLI_TEXT, &o->units, "WORD", "on (default), or off: not looked at"},
        DEEP_FORMULAS_OPTIONS(&o->f),
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

/* ---- the table ---- */

typedef struct symbolic_data {
    size_t n, variables, set_count;
    double *columns; /* (variables + 3, n): variables, y, weights, groups */
    dp_data_set *sets;
    const double **pointers; /* (set_count, variables) */
} symbolic_data;

static void symbolic_data_free(symbolic_data *d) {
    free(d->columns);
    free(d->sets);
    free(d->pointers);
}

typedef struct symbolic_row {
    double group;
    size_t row;
} symbolic_row;

static int symbolic_order(const void *a, const void *b) {
    const symbolic_row *x = (const symbolic_row *)a, *y = (const symbolic_row *)b;
    if (x->group < y->group || x->group > y->group) return x->group < y->group ? -1 : 1;
    return x->row < y->row ? -1 : 1;
}

/* Names of the columns: variables, y, sigma, group; NULL where there is none. */
static size_t symbolic_columns(const symbolic_settings *o, const char *name[DP_SYMBOLS_MAX + 3]) {
    size_t i, n = 0;
    for (i = 0; i < o->f.v.symbol_count; i++)
        if (o->f.symbol[i].kind == DP_VARIABLE) name[n++] = o->f.symbol[i].name;
    name[n] = o->f.result_name;
    name[n + 1] = o->sigma;
    name[n + 2] = o->group;
    return n;
}

/* Columns in the order of the groups, sigma as weights. */
static int symbolic_gather(const symbolic_settings *o, const char *path, const af_table *t,
                           const char *const *name, symbolic_data *d) {
    symbolic_row *order = (symbolic_row *)cli_allocate(d->n, sizeof *order);
    size_t i, k;
    for (i = 0; i < d->n; i++) {
        order[i].row = i;
        order[i].group = o->group ? af_table_column(t, o->group)[i] : 0.0;
    }
    qsort(order, d->n, sizeof *order, symbolic_order);
    for (k = 0; k < d->variables + 3; k++) {
        const double *from = name[k] ? af_table_column(t, name[k]) : NULL;
        double *to = d->columns + k * d->n;
        for (i = 0; i < d->n; i++) to[i] = from ? from[order[i].row] : 1.0;
        for (i = 0; i < d->n && from && k == d->variables + 1; i++) {
            if (!(to[i] > 0.0)) {
                size_t row = order[i].row + 1;
                free(order);
                return cli_fail("'%s': %s is %g in row %lu; standard deviations are above 0", path,
                                o->sigma, to[i], (unsigned long)row);
            }
            to[i] = 1.0 / (to[i] * to[i]);
        }
    }
    free(order);
    return CLI_OK;
}

static void symbolic_sets(const symbolic_settings *o, symbolic_data *d) {
    const double *group = d->columns + (d->variables + 2) * d->n;
    const double *y = d->columns + d->variables * d->n;
    size_t i, k;
    for (i = 0; i < d->n; i++) d->set_count += i == 0 || group[i] > group[i - 1];
    d->sets = (dp_data_set *)cli_allocate(d->set_count, sizeof *d->sets);
    d->pointers = (const double **)cli_allocate(d->set_count * d->variables, sizeof *d->pointers);
    d->set_count = 0;
    for (i = 0; i < d->n; i++) {
        dp_data_set *s;
        if (i == 0 || group[i] > group[i - 1]) {
            const double **pointer = d->pointers + d->set_count * d->variables;
            s = &d->sets[d->set_count++];
            for (k = 0; k < d->variables; k++) pointer[k] = d->columns + k * d->n + i;
            s->columns = pointer;
            s->y = y + i;
            s->weights = o->sigma ? y + d->n + i : NULL;
        }
        d->sets[d->set_count - 1].n++;
    }
}

static int symbolic_read(af_context *c, const symbolic_settings *o, const char *path,
                         symbolic_data *d) {
    const char *name[DP_SYMBOLS_MAX + 3], *wanted[DP_SYMBOLS_MAX + 3];
    af_table_desc desc;
    af_table *t;
    size_t k, count = 0;
    int code;
    memset(&desc, 0, sizeof desc);
    d->variables = symbolic_columns(o, name);
    for (k = 0; k < d->variables + 3; k++)
        if (name[k]) wanted[count++] = name[k];
    desc.columns = wanted;
    desc.column_count = count;
    if (af_table_read(c, path, &desc, &t) != AF_OK) return cli_fail_library(c);
    d->n = af_table_rows(t);
    d->columns = (double *)cli_allocate(d->n * (d->variables + 3), sizeof *d->columns);
    code = d->n ? symbolic_gather(o, path, t, name, d) : cli_fail("'%s' has no rows", path);
    af_table_destroy(t);
    if (code == CLI_OK) symbolic_sets(o, d);
    if (code == CLI_OK && !o->f.quiet && d->set_count == 1)
        printf("%lu points\n", (unsigned long)d->n);
    if (code == CLI_OK && !o->f.quiet && d->set_count > 1)
        printf("%lu points in %lu groups\n", (unsigned long)d->n, (unsigned long)d->set_count);
    return code;
}

/* ---- the command ---- */

static int symbolic_check(symbolic_settings *o) {
    static const char *const on[2] = {"on", "off"};
    int code = cli_word(NAME, "units", o->units, on, 2, &o->f.v.no_units);
    if (code >= 0) return code;
    if (!o->y || !o->x)
        return cli_usage(NAME, "-y COLUMN:UNITS and -x COLUMN:UNITS,... say what is a function "
                         "of what; %s is missing", o->y ? "-x" : "-y");
    if ((o->group != NULL) != (o->f.specific != NULL))
        return cli_usage(NAME, "--group COLUMN and --specific LIST come together");
    deep_formulas_fitted(&o->f, o->y);
    code = deep_formulas_add(&o->f, NAME, "x", DP_VARIABLE, o->x);
    if (code < 0) code = deep_formulas_add(&o->f, NAME, "specific", DP_SPECIFIC, o->f.specific);
    return code < 0 ? deep_formulas_options(&o->f, NAME) : code;
}

static int symbolic_run(af_context *c, symbolic_settings *o, const char *path) {
    symbolic_data d;
    int code;
    memset(&d, 0, sizeof d);
    code = symbolic_read(c, o, path, &d);
    if (code == CLI_OK) code = deep_formulas_begin(c, &o->f);
    if (code == CLI_OK) {
        o->f.sets = d.sets;
        o->f.set_count = d.set_count;
        code = deep_formulas_end(c, &o->f, dp_symbolic_search(c, &o->f.v, d.sets, d.set_count,
                                                             &o->f.desc, &o->f.result));
    }
    if (code == CLI_OK) code = deep_formulas_report(c, &o->f, NULL, NULL);
    symbolic_data_free(&d);
    return code;
}

int deep_symbolic(const cli_command *command, int count, char **words) {
    const char *path = NULL;
    cli_option options[DEEP_OPTIONS];
    symbolic_settings o;
    af_context *c = NULL;
    int code;
    memset(&o, 0, sizeof o);
    code = cli_parse(command, options, symbolic_options(&o, options), count, words, &path, 1);
    if (code < 0) code = symbolic_check(&o);
    if (code < 0) {
        code = deep_formulas_outputs(&o.f, &path, 1);
        if (code == CLI_OK) code = cli_context(o.f.threads, &c);
        if (code == CLI_OK) code = symbolic_run(c, &o, path);
    }
    deep_formulas_free(&o.f);
    af_context_destroy(c);
    return code;
}
