/* What `symbolic` and `distill` share: symbols from options, the search, the front. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "deep.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FORMULAS_TEXT = 8192, FORMULAS_TOKENS = 20 /* the most that can be searched */ };

void deep_formulas_free(deep_formulas *f) {
    dp_symbolic_destroy(f->result);
    f->result = NULL;
    while (f->texts) free(f->text[--f->texts]);
}

/* ---- symbols ---- */

/* A copy that is freed with f. There are seven lists on the command line, and base units. */
static char *formulas_copy(deep_formulas *f, const char *text, size_t length) {
    char *copy = (char *)cli_allocate(length + 1, 1);
    memcpy(copy, text, length);
    f->text[f->texts++] = copy;
    return copy;
}

/* Cuts text at the first c: what is behind it, or NULL. */
static char *formulas_cut(char *text, char c) {
    char *at = strchr(text, c);
    if (at) *at++ = 0;
    return at;
}

static int formulas_number(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*out);
}

/* NAME[:UNITS][=VALUE], or a number for what is fixed. */
static int formulas_symbol(deep_formulas *f, const char *command, const char *option,
                           dp_symbol_kind kind, char *item) {
    char *value = formulas_cut(item, '='), *units = formulas_cut(item, ':');
    int good = *item != 0 && (!units || *units), named;
    dp_symbol *s;
    if (f->v.symbol_count == (size_t)DP_SYMBOLS_MAX)
        return cli_usage(command, "there are more than %d variables, constants and numbers",
                         (int)DP_SYMBOLS_MAX);
    s = &f->symbol[f->v.symbol_count];
    s->name = item;
    s->kind = kind;
    named = kind == DP_FIXED && !value && strcmp(item, "pi") == 0;
    if (value) good = good && kind != DP_VARIABLE && formulas_number(value, &s->value);
    else if (named) s->value = acos(-1.0);
    else if (kind == DP_FIXED) good = good && formulas_number(item, &s->value);
    if (!good)
        return cli_usage(command, "%s%s takes %s, with commas between several; '%s' is not that",
                         option[1] ? "--" : "-", option,
                         kind == DP_FIXED      ? "numbers, pi and NAME:UNITS=VALUE"
                         : kind == DP_VARIABLE ? "COLUMN:UNITS"
                                               : "NAME:UNITS or NAME:UNITS=START", item);
    f->symbol_units[f->v.symbol_count++] = units;
    return -1;
}

int deep_formulas_add(deep_formulas *f, const char *command, const char *option,
                      dp_symbol_kind kind, const char *list) {
    char *at = list ? formulas_copy(f, list, strlen(list)) : NULL;
    while (at) {
        char *next = formulas_cut(at, ',');
        int code = formulas_symbol(f, command, option, kind, at);
        if (code >= 0) return code;
        at = next;
    }
    return -1;
}

void deep_formulas_fitted(deep_formulas *f, const char *text) {
    char *name = formulas_copy(f, text, strlen(text));
    f->result_units = formulas_cut(name, ':');
    f->result_name = name;
}

/* ---- options ---- */

static int formulas_operators(deep_formulas *f, const char *command) {
    static const char *const binary[5] = {"add", "sub", "mul", "div", "pow"};
    char *at = f->operators ? formulas_copy(f, f->operators, strlen(f->operators)) : NULL;
    while (at) {
        char *next = formulas_cut(at, ',');
        size_t k;
        for (k = 0; k < DP_OPERATORS; k++)
            if (strcmp(at, k < 5 ? binary[k] : dp_operator_name(k)) == 0 ||
                strcmp(at, dp_operator_name(k)) == 0)
                break;
        if (k == DP_OPERATORS)
            return cli_usage(command, "--operators knows add, sub, mul, div, pow, neg, inv, "
                             "square, cube, sqrt, exp, log, sin, cos, tan, asin, acos, atan, "
                             "sinh, cosh, tanh and abs, not '%s'", at);
        f->v.operators |= (uint32_t)1 << k;
        at = next;
    }
    return -1;
}

int deep_formulas_options(deep_formulas *f, const char *command) {
    static const char *const affine[3] = {"amplitude", "offset", "none"}; /* as in dp_affine */
    int word, code = cli_word(command, "affine", f->affine, affine, 3, &word);
    if (code < 0) code = deep_formulas_add(f, command, "constants", DP_FREE, f->constants);
    if (code < 0) code = deep_formulas_add(f, command, "fixed", DP_FIXED, f->fixed);
    if (code < 0) code = formulas_operators(f, command);
    if (code < 0) code = deep_filters(f, command);
    if (code >= 0) return code;
    if (f->tokens > (size_t)FORMULAS_TOKENS)
        return cli_usage(command, "--tokens is at most %d, not %lu", (int)FORMULAS_TOKENS,
                         (unsigned long)f->tokens);
    f->desc.affine = (dp_affine)word;
    f->desc.max_tokens = f->tokens ? f->tokens : f->seconds > 0.0 ? FORMULAS_TOKENS : 0;
    f->desc.seconds = f->seconds;
    f->desc.error = f->enough;
    f->desc.memory = f->memory << 20;
    return -1;
}

/* ---- units ---- */

/* Each word of a text of units is a base unit. */
static int formulas_bases(deep_formulas *f, const char *units) {
    const char *at = units;
    while (at && *at) {
        size_t length = 0, k = 0;
        while (isalpha((unsigned char)at[length]) || at[length] == '_') length++;
        while (k < f->v.base_count && (strlen(f->base[k]) != length ||
                                       strncmp(f->base[k], at, length) != 0)) k++;
        if (length && k == (size_t)DP_UNITS)
            return cli_fail("the units name more than %d different ones; '%s' is one too many",
                            (int)DP_UNITS, at);
        if (length && k == f->v.base_count)
            f->base[f->v.base_count++] = formulas_copy(f, at, length);
        at += length ? length : 1;
    }
    return CLI_OK;
}

static int formulas_units(af_context *c, deep_formulas *f) {
    const char *result = f->result_units ? f->result_units : "1";
    size_t i;
    int code = formulas_bases(f, result);
    f->v.bases = f->base;
    for (i = 0; i < f->v.symbol_count && code == CLI_OK; i++)
        code = formulas_bases(f, f->symbol_units[i]);
    for (i = 0; i < f->v.symbol_count && code == CLI_OK; i++)
        if (f->symbol_units[i] && dp_units_parse(c, f->symbol_units[i], f->base, f->v.base_count,
                                                 &f->symbol[i].units) != AF_OK)
            code = cli_fail("%s: %s", f->symbol[i].name, af_error(c));
    if (code == CLI_OK &&
        dp_units_parse(c, result, f->base, f->v.base_count, &f->v.target) != AF_OK)
        code = cli_fail("%s: %s", f->result_name, af_error(c));
    return code;
}

/* ---- the search ---- */

static double formulas_clock(void *user) {
    (void)user;
    return cli_clock();
}

static int formulas_progress(const dp_symbolic_result *r, void *user) {
    deep_formulas *f = (deep_formulas *)user;
    double now = cli_clock();
    char text[FORMULAS_TEXT] = "";
    if (f->on_terminal && r->count && now - f->last_line >= cli_line_interval(1)) {
        const dp_symbolic_entry *e = &r->front[r->best];
        dp_formula_text(f->c, &r->vocabulary, &e->formula, DP_TEXT_PLAIN, text, sizeof text);
        fprintf(stderr, "\r%5.1f s  %4.1f M expressions, %.0f thousand/s  error %.2e  %.40s\033[K",
                r->seconds, 1e-6 * (double)r->candidates,
                1e-3 * (double)r->candidates / fmax(r->seconds, 1e-9), e->error, text);
        fflush(stderr);
        f->last_line = now;
        f->line_open = 1;
    }
    return cli_stopped();
}

int deep_formulas_outputs(const deep_formulas *f, const char *const *inputs, size_t input_count) {
    const char *outputs[3];
    outputs[0] = f->output;
    outputs[1] = f->c_path;
    outputs[2] = f->latex;
    return cli_check_outputs(outputs, 3, inputs, input_count);
}

int deep_formulas_begin(af_context *c, deep_formulas *f) {
    int code = f->v.no_units ? CLI_OK : formulas_units(c, f);
    if (code != CLI_OK) return code;
    f->c = c;
    f->v.symbols = f->symbol;
    f->desc.clock = formulas_clock;
    f->desc.progress = formulas_progress;
    if (f->filters) f->desc.filter = deep_filter;
    f->desc.user = f;
    f->on_terminal = isatty(STDERR_FILENO) == 1 && !f->quiet;
    f->last_line = cli_clock();
    cli_catch_stop();
    return CLI_OK;
}

int deep_formulas_end(af_context *c, deep_formulas *f, af_status s) {
    if (f->line_open) fprintf(stderr, "\r\033[K");
    if (s != AF_OK && s != AF_STOPPED) return cli_fail_library(c);
    if (f->result->count == 0)
        return cli_fail(s == AF_STOPPED ? "stopped before there was any formula"
                        : f->filters    ? "no formula passed the filters"
                                        : "no formula was found; more --time, --tokens or "
                                          "--constants may help");
    if (s == AF_STOPPED) fprintf(stderr, "%s: stopped; the front so far is kept\n", cli_program);
    return CLI_OK;
}

/* ---- constants ---- */

void deep_formulas_constants(const deep_formulas *f, const dp_symbolic_entry *e, size_t set,
                             double out[DP_SYMBOLS_MAX]) {
    size_t common = dp_vocabulary_count(&f->result->vocabulary, DP_FREE);
    size_t own = dp_vocabulary_count(&f->result->vocabulary, DP_SPECIFIC);
    memcpy(out, e->constants, common * sizeof *out);
    memcpy(out + common, e->constants + common + set * own, own * sizeof *out);
}

static int formulas_constant(const dp_symbol *s) {
    return s->kind == DP_FREE || s->kind == DP_SPECIFIC;
}

static int formulas_occurs(const dp_formula *formula, size_t symbol) {
    size_t i;
    for (i = 0; i < formula->length; i++)
        if (formula->token[i] == (size_t)DP_OPERATORS + symbol) return 1;
    return 0;
}

/* Of a symbol that is a constant. */
static double formulas_value(const deep_formulas *f, const dp_symbolic_entry *e, size_t symbol,
                             size_t set) {
    const dp_vocabulary *v = &f->result->vocabulary;
    double value[DP_SYMBOLS_MAX];
    int specific = v->symbols[symbol].kind == DP_SPECIFIC;
    size_t at = specific ? dp_vocabulary_count(v, DP_FREE) : 0, i;
    for (i = 0; i < symbol; i++) at += v->symbols[i].kind == v->symbols[symbol].kind;
    deep_formulas_constants(f, e, set, value);
    return value[at];
}

/* ---- texts ---- */

typedef struct formulas_file {
    char *text;
    size_t used, size;
} formulas_file;

static void formulas_put(formulas_file *t, const char *format, ...) AF_PRINTF(2, 3);
static void formulas_put(formulas_file *t, const char *format, ...) {
    char line[FORMULAS_TEXT + 256]; /* a formula and a few words */
    va_list list;
    size_t length;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    length = strlen(line);
    if (t->used + length + 1 > t->size) {
        char *larger = (char *)cli_allocate(t->size = 2 * (t->used + length + 1), 1);
        if (t->used) memcpy(larger, t->text, t->used);
        free(t->text);
        t->text = larger;
    }
    memcpy(t->text + t->used, line, length + 1);
    t->used += length;
}

static int formulas_save(formulas_file *t, const char *path, int quiet, int code) {
    if (code == CLI_OK) code = cli_write_text(path, t->text, t->used);
    if (code == CLI_OK && !quiet) printf("wrote %s\n", path);
    free(t->text);
    return code;
}

static int formulas_text(af_context *c, const deep_formulas *f, const dp_symbolic_entry *e,
                         dp_text_style style, char text[FORMULAS_TEXT]) {
    af_status s = dp_formula_text(c, &f->result->vocabulary, &e->formula, style, text,
                                  FORMULAS_TEXT);
    return s == AF_OK ? CLI_OK : cli_fail_library(c);
}

/* ---- the table ---- */

static void formulas_searched(const deep_formulas *f) {
    static const char *const end[5] = {
        "", ": the error wanted was reached", ": the time was over",
        ": the memory was full, see --memory", ": stopped"};
    const dp_symbolic_result *r = f->result;
    printf("%.3g million expressions, %.3g million different ones, %.3g million fits in %.1f s;\n"
           "all of up to %lu tokens were tried, before units and --affine made them longer%s\n",
           1e-6 * (double)r->candidates, 1e-6 * (double)r->unique, 1e-6 * (double)r->fits,
           r->seconds, (unsigned long)r->tokens, end[r->end]);
}

static void formulas_best(const deep_formulas *f, const char *text) {
    const dp_symbolic_result *r = f->result;
    const dp_symbolic_entry *e = &r->front[r->best];
    size_t i, set;
    printf("%s = %s\n", f->result_name, text);
    for (i = 0; i < r->vocabulary.symbol_count; i++) {
        const dp_symbol *s = &r->vocabulary.symbols[i];
        char units[128];
        size_t most = s->kind == DP_SPECIFIC ? f->set_count : 1;
        if (!formulas_constant(s) || !formulas_occurs(&e->formula, i)) continue;
        dp_units_text(&s->units, f->v.bases, f->v.base_count, units, sizeof units);
        printf("  %s =", s->name);
        for (set = 0; set < most && set < 8; set++)
            printf(" %.8g", formulas_value(f, e, i, set));
        if (f->v.no_units || strcmp(units, "1") == 0) units[0] = 0; /* a number */
        printf("%s%s%s\n", set < most ? " ..." : "", units[0] ? " " : "", units);
    }
    printf("FIGURE error %.6g\nFIGURE tokens %lu\n", e->error, (unsigned long)e->formula.length);
    for (i = 0; i < r->vocabulary.symbol_count; i++)
        if (r->vocabulary.symbols[i].kind == DP_FREE && formulas_occurs(&e->formula, i))
            printf("FIGURE %s %.8g\n", r->vocabulary.symbols[i].name,
                   formulas_value(f, e, i, 0));
}

static int formulas_table(af_context *c, const deep_formulas *f, const char *name,
                          const double *more) {
    const dp_symbolic_result *r = f->result;
    char text[FORMULAS_TEXT];
    size_t k;
    int code = CLI_OK;
    if (f->quiet) return CLI_OK;
    formulas_searched(f);
    printf("  tokens  error      ");
    if (more) printf("%-11s", name);
    printf("formula\n");
    for (k = 0; k < r->count && code == CLI_OK; k++) {
        code = formulas_text(c, f, &r->front[k], DP_TEXT_PLAIN, text);
        if (code != CLI_OK) break;
        printf("%s %6lu  %-11.3e", k == r->best ? "*" : " ",
               (unsigned long)r->front[k].formula.length, r->front[k].error);
        if (more) printf("%-11.3e", more[k]);
        printf("%s\n", text);
    }
    if (code == CLI_OK) code = formulas_text(c, f, &r->front[r->best], DP_TEXT_PLAIN, text);
    if (code == CLI_OK) formulas_best(f, text);
    return code;
}

/* ---- files ---- */

static void formulas_header(const deep_formulas *f, formulas_file *t) {
    const dp_vocabulary *v = &f->result->vocabulary;
    size_t i, set;
    formulas_put(t, "tokens,error,best,formula");
    for (i = 0; i < v->symbol_count; i++)
        if (v->symbols[i].kind == DP_FREE) formulas_put(t, ",%s", v->symbols[i].name);
    for (set = 0; set < f->set_count; set++)
        for (i = 0; i < v->symbol_count; i++)
            if (v->symbols[i].kind == DP_SPECIFIC)
                formulas_put(t, ",%s_%lu", v->symbols[i].name, (unsigned long)set + 1);
    formulas_put(t, "\n");
}

/* A constant that does not occur has no value. */
static void formulas_row_constants(const deep_formulas *f, formulas_file *t,
                                   const dp_symbolic_entry *e, dp_symbol_kind kind, size_t set) {
    const dp_vocabulary *v = &f->result->vocabulary;
    size_t i;
    for (i = 0; i < v->symbol_count; i++) {
        if (v->symbols[i].kind != kind) continue;
        formulas_put(t, ",");
        if (formulas_occurs(&e->formula, i))
            formulas_put(t, "%.17g", formulas_value(f, e, i, set));
    }
}

static int formulas_csv(af_context *c, const deep_formulas *f) {
    const dp_symbolic_result *r = f->result;
    formulas_file t = {NULL, 0, 0};
    char text[FORMULAS_TEXT];
    size_t k, set;
    int code = CLI_OK;
    formulas_header(f, &t);
    for (k = 0; k < r->count && code == CLI_OK; k++) {
        const dp_symbolic_entry *e = &r->front[k];
        code = formulas_text(c, f, e, DP_TEXT_PLAIN, text);
        formulas_put(&t, "%lu,%.17g,%d,%s", (unsigned long)e->formula.length, e->error,
                     k == r->best, text);
        formulas_row_constants(f, &t, e, DP_FREE, 0);
        for (set = 0; set < f->set_count; set++)
            formulas_row_constants(f, &t, e, DP_SPECIFIC, set);
        formulas_put(&t, "\n");
    }
    return formulas_save(&t, f->output, f->quiet, code);
}

static void formulas_quantity(const deep_formulas *f, formulas_file *t, const dp_symbol *s) {
    char units[128];
    dp_units_text(&s->units, f->v.bases, f->v.base_count, units, sizeof units);
    formulas_put(t, "%s [%s]", s->name, f->v.no_units ? "-" : units);
}

/* The function again without its common constants: arguments that stay, then the call. */
static void formulas_wrapper(const deep_formulas *f, formulas_file *t,
                             const dp_symbolic_entry *e) {
    const dp_vocabulary *v = &f->result->vocabulary;
    size_t i, n = 0;
    formulas_put(t, "\n/* With the constants that were found. */\ndouble formula_fitted(");
    for (i = 0; i < v->symbol_count; i++)
        if (formulas_occurs(&e->formula, i) &&
            (v->symbols[i].kind == DP_VARIABLE || v->symbols[i].kind == DP_SPECIFIC))
            formulas_put(t, "%sdouble %s", n++ ? ", " : "", v->symbols[i].name);
    formulas_put(t, "%s) {\n    return formula(", n ? "" : "void");
    for (i = n = 0; i < v->symbol_count; i++) {
        if (v->symbols[i].kind == DP_FIXED || !formulas_occurs(&e->formula, i)) continue;
        if (v->symbols[i].kind == DP_FREE)
            formulas_put(t, "%s%.17g", n++ ? ", " : "", formulas_value(f, e, i, 0));
        else
            formulas_put(t, "%s%s", n++ ? ", " : "", v->symbols[i].name);
    }
    formulas_put(t, ");\n}\n");
}

static int formulas_c(af_context *c, const deep_formulas *f) {
    const dp_symbolic_result *r = f->result;
    const dp_symbolic_entry *e = &r->front[r->best];
    dp_symbol result = {0};
    formulas_file t = {NULL, 0, 0};
    char text[FORMULAS_TEXT];
    size_t i, n = 0;
    int code = formulas_text(c, f, e, DP_TEXT_C, text);
    result.name = f->result_name;
    result.units = f->v.target;
    formulas_put(&t, "/* ");
    formulas_quantity(f, &t, &result);
    for (i = 0; i < r->vocabulary.symbol_count; i++) {
        const dp_symbol *s = &r->vocabulary.symbols[i];
        if (s->kind == DP_FIXED || !formulas_occurs(&e->formula, i)) continue;
        formulas_put(&t, n++ ? ", " : " of ");
        formulas_quantity(f, &t, s);
    }
    formulas_put(&t, "; the error is %.3g of the data's\n * standard deviation. */\n"
                 "#include <math.h>\n\n%s\n", e->error, text);
    formulas_wrapper(f, &t, e);
    return formulas_save(&t, f->c_path, f->quiet, code);
}

static int formulas_latex(af_context *c, const deep_formulas *f) {
    formulas_file t = {NULL, 0, 0};
    char text[FORMULAS_TEXT];
    int code = formulas_text(c, f, &f->result->front[f->result->best], DP_TEXT_LATEX, text);
    formulas_put(&t, "%s\n", text);
    return formulas_save(&t, f->latex, f->quiet, code);
}

int deep_formulas_report(af_context *c, const deep_formulas *f, const char *name,
                         const double *more) {
    int code = formulas_table(c, f, name, more);
    if (code == CLI_OK && f->output) code = formulas_csv(c, f);
    if (code == CLI_OK && f->c_path) code = formulas_c(c, f);
    if (code == CLI_OK && f->latex) code = formulas_latex(c, f);
    return code;
}
