/* ---- formulas: grammar, values, derivatives -------------------------------------------------- */

#include <stdio.h>
#include <stdlib.h>

typedef struct dp__operator_row {
    const char *name; /* as in sentences */
    size_t arity;
} dp__operator_row;

static const dp__operator_row dp__operator_rows[DP_OPERATORS] = {
    {"+", 2},    {"-", 2},    {"*", 2},    {"/", 2},    {"^", 2},   {"neg", 1},
    {"inv", 1},  {"square", 1}, {"cube", 1}, {"sqrt", 1}, {"exp", 1}, {"log", 1},
    {"sin", 1},  {"cos", 1},  {"tan", 1},  {"asin", 1}, {"acos", 1}, {"atan", 1},
    {"sinh", 1}, {"cosh", 1}, {"tanh", 1}, {"abs", 1}};

AF_API size_t dp_operator_arity(size_t token) {
    return token < (size_t)DP_OPERATORS ? dp__operator_rows[token].arity : 0;
}

AF_API const char *dp_operator_name(size_t token) {
    return token < (size_t)DP_OPERATORS ? dp__operator_rows[token].name : NULL;
}

static uint32_t dp__operator_bit(dp_operator op) { return (uint32_t)1 << (unsigned)op; }

AF_API uint32_t dp_vocabulary_operators(const dp_vocabulary *v) {
    return v->operators ? v->operators
                        : dp__operator_bit(DP_ADD) | dp__operator_bit(DP_SUB) |
                              dp__operator_bit(DP_MUL) | dp__operator_bit(DP_DIV) |
                              dp__operator_bit(DP_NEG) | dp__operator_bit(DP_INV) |
                              dp__operator_bit(DP_SQUARE) | dp__operator_bit(DP_SQRT) |
                              dp__operator_bit(DP_EXP) | dp__operator_bit(DP_LOG);
}

static int dp__operator_allowed(const dp_vocabulary *v, dp_operator op) {
    return (dp_vocabulary_operators(v) & dp__operator_bit(op)) != 0;
}

AF_API size_t dp_vocabulary_count(const dp_vocabulary *v, dp_symbol_kind kind) {
    size_t i, count = 0;
    for (i = 0; i < v->symbol_count; i++) count += v->symbols[i].kind == kind;
    return count;
}

/* The symbol of a token, NULL for operators and tokens that are none. */
static const dp_symbol *dp__formula_symbol(const dp_vocabulary *v, size_t token) {
    size_t i = token - (size_t)DP_OPERATORS;
    return token >= (size_t)DP_OPERATORS && i < v->symbol_count ? v->symbols + i : NULL;
}

/* ---- characters and numbers, whatever the locale is ---- */

static int dp__text_digit(char c) { return c >= '0' && c <= '9'; }

static int dp__text_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Reads digits[.digits][e[+-]digits] at text; the number of characters, 0 where there is none. */
static size_t dp__text_number(const char *text, double *value) {
    double mantissa = 0.0;
    long power = 0, exponent = 0;
    size_t i = 0, digits = 0, e;
    for (; dp__text_digit(text[i]); i++, digits++) mantissa = 10.0 * mantissa + (text[i] - '0');
    if (text[i] == '.')
        for (i++; dp__text_digit(text[i]); i++, digits++, power--)
            mantissa = 10.0 * mantissa + (text[i] - '0');
    if (digits == 0) return 0;
    e = i + 1;
    if (text[i] == 'e' || text[i] == 'E') {
        int minus = text[e] == '-';
        if (minus || text[e] == '+') e++;
        if (dp__text_digit(text[e])) {
            for (; dp__text_digit(text[e]); e++)
                if (exponent < 10000) exponent = 10 * exponent + (text[e] - '0');
            power += minus ? -exponent : exponent;
            i = e;
        }
    }
    /* dividing by an exact power of ten rounds once, multiplying by an inexact one twice */
    *value = power < 0 ? mantissa / pow(10.0, (double)-power) : mantissa * pow(10.0, (double)power);
    return i;
}

/* A number read from text is b, which is finite, but for the rounding of reading. */
static int dp__text_same_number(double a, double b) { return fabs(a - b) <= 1e-14 * fabs(b); }

/* ---- vocabulary ---- */

/* Functions with the names that they have in text. */
typedef struct dp__function_row {
    const char *name;
    dp_operator op;
} dp__function_row;

static const dp__function_row dp__function_rows[] = {
    {"sqrt", DP_SQRT}, {"exp", DP_EXP}, {"log", DP_LOG}, {"sin", DP_SIN}, {"cos", DP_COS},
    {"tan", DP_TAN}, {"asin", DP_ASIN}, {"acos", DP_ACOS}, {"atan", DP_ATAN}, {"sinh", DP_SINH},
    {"cosh", DP_COSH}, {"tanh", DP_TANH}, {"abs", DP_ABS}, {"ln", DP_LOG}, {"arcsin", DP_ASIN},
    {"arccos", DP_ACOS}, {"arctan", DP_ATAN}, {"neg", DP_NEG}, {"inv", DP_INV},
    {"square", DP_SQUARE}, {"cube", DP_CUBE}};

static size_t dp__function_count(void) {
    return sizeof dp__function_rows / sizeof dp__function_rows[0];
}

/* The function called by the word of this length; NULL when there is none. */
static const dp__function_row *dp__function_find(const char *word, size_t length) {
    size_t i;
    for (i = 0; i < dp__function_count(); i++) {
        const char *name = dp__function_rows[i].name;
        if (strlen(name) == length && memcmp(name, word, length) == 0) return dp__function_rows + i;
    }
    return NULL;
}

/* A letter, then letters, digits and _. */
static int dp__vocabulary_word(const char *name) {
    if (!name || !dp__text_letter(*name) || *name == '_') return 0;
    while (dp__text_letter(*name) || dp__text_digit(*name)) name++;
    return *name == '\0';
}

static af_status dp__vocabulary_name(af_context *c, const dp_symbol *s, size_t i) {
    double value;
    size_t length;
    if (!s->name)
        return af_fail(c, AF_ERROR_ARGUMENT, "vocabulary: symbol %lu has no name",
                       (unsigned long)i);
    length = dp__text_number(s->name, &value);
    if (length > 0 && s->name[length] == '\0') {
        dp_units none = DP__ZERO;
        if (s->kind == DP_FIXED && dp__text_same_number(value, s->value) &&
            dp_units_equal(&s->units, &none))
            return AF_OK;
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "vocabulary: symbol %lu is called '%s' and must be of the kind DP_FIXED, "
                       "without units and with this value",
                       (unsigned long)i, s->name);
    }
    if (!dp__vocabulary_word(s->name))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "vocabulary: symbol %lu is called '%s'; names are a letter, then letters, "
                       "digits and _, or a number",
                       (unsigned long)i, s->name);
    if (dp__function_find(s->name, strlen(s->name)))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "vocabulary: symbol %lu is called '%s', as a function is",
                       (unsigned long)i, s->name);
    return AF_OK;
}

/* Powers beyond 100 are slips, and would overflow the table of reachable units. */
static int dp__units_sound(const dp_units *u) {
    size_t k;
    for (k = 0; k < (size_t)DP_UNITS; k++)
        if (!(fabs(u->power[k]) <= 100.0)) return 0;
    return 1;
}

static af_status dp__vocabulary_symbol(af_context *c, const dp_vocabulary *v, size_t i) {
    const dp_symbol *s = v->symbols + i;
    size_t j;
    af_status status = dp__vocabulary_name(c, s, i);
    if (status != AF_OK) return status;
    for (j = 0; j < i; j++)
        if (strcmp(s->name, v->symbols[j].name) == 0)
            return af_fail(c, AF_ERROR_ARGUMENT, "vocabulary: symbols %lu and %lu are called '%s'",
                           (unsigned long)j, (unsigned long)i, s->name);
    if ((int)s->kind < 0 || s->kind > DP_SPECIFIC)
        return af_fail(c, AF_ERROR_ARGUMENT, "vocabulary: the kind of '%s' is none", s->name);
    if (!dp__is_finite(s->value))
        return af_fail(c, AF_ERROR_ARGUMENT, "vocabulary: the value of '%s' is not finite",
                       s->name);
    if (!v->no_units && !dp__units_sound(&s->units))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "vocabulary: a power of the units of '%s' is not between -100 and 100",
                       s->name);
    return AF_OK;
}

AF_API af_status dp_vocabulary_check(af_context *c, const dp_vocabulary *v) {
    size_t i;
    af_status status = AF_OK;
    if (v->symbol_count == 0 || v->symbol_count > (size_t)DP_SYMBOLS_MAX)
        return af_fail(c, AF_ERROR_ARGUMENT, "vocabulary: %lu symbols; there must be 1 to %d",
                       (unsigned long)v->symbol_count, (int)DP_SYMBOLS_MAX);
    for (i = 0; i < v->symbol_count && status == AF_OK; i++)
        status = dp__vocabulary_symbol(c, v, i);
    if (status != AF_OK) return status;
    if (v->operators >> DP_OPERATORS)
        return af_fail(c, AF_ERROR_ARGUMENT, "vocabulary: operators has bits beyond the last, %d",
                       (int)DP_OPERATORS - 1);
    if (!v->no_units && !dp__units_sound(&v->target))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "vocabulary: a power of the target's units is not between -100 and 100");
    if (v->base_count > (size_t)DP_UNITS)
        return af_fail(c, AF_ERROR_ARGUMENT, "vocabulary: %lu base units; there can be %d",
                       (unsigned long)v->base_count, (int)DP_UNITS);
    if (v->name && !dp__vocabulary_word(v->name))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "vocabulary: '%s' is no name for a function of C: a letter, then letters, "
                       "digits and _",
                       v->name);
    return AF_OK;
}

/* ---- the tree of a formula ---- */

/* Nodes are tokens: node i's first argument is i + 1. "Steady" nodes have no variable in them: they
 * are computed once, and only the topmost of them is spread over rows. */
typedef struct dp__tape {
    size_t length;
    size_t token[DP_FORMULA_MAX];
    size_t right[DP_FORMULA_MAX];  /* the second argument */
    size_t end[DP_FORMULA_MAX];    /* one past the last node of what node i begins */
    size_t parent[DP_FORMULA_MAX]; /* of node 0: 0 */
    int steady[DP_FORMULA_MAX];
    size_t top[DP_FORMULA_MAX];    /* of a steady node: the topmost steady one above it, or i */
    dp_symbol_kind kind[DP_FORMULA_MAX]; /* of leaves, and ... */
    size_t leaf[DP_FORMULA_MAX];   /* ... the column, or the place among the constants */
    double fixed[DP_FORMULA_MAX];
} dp__tape;

/* A constant's place counts the DP_FREE symbols first. */
static void dp__tape_leaf(dp__tape *t, const dp_vocabulary *v, size_t i) {
    size_t symbol = t->token[i] - (size_t)DP_OPERATORS, j;
    const dp_symbol *s = v->symbols + symbol;
    t->kind[i] = s->kind;
    t->fixed[i] = s->value;
    t->steady[i] = s->kind != DP_VARIABLE;
    t->end[i] = i + 1;
    t->leaf[i] = s->kind == DP_SPECIFIC ? dp_vocabulary_count(v, DP_FREE) : 0;
    for (j = 0; j < symbol; j++) t->leaf[i] += v->symbols[j].kind == s->kind;
}

/* 0 when node i lacks an argument. */
static int dp__tape_node(dp__tape *t, size_t i) {
    size_t arity = dp__operator_rows[t->token[i]].arity;
    if (i + 1 >= t->length) return 0;
    t->parent[i + 1] = i;
    t->steady[i] = t->steady[i + 1];
    t->end[i] = t->end[i + 1];
    if (arity == 1) return 1;
    t->right[i] = t->end[i];
    if (t->right[i] >= t->length) return 0;
    t->parent[t->right[i]] = i;
    t->steady[i] = t->steady[i] && t->steady[t->right[i]];
    t->end[i] = t->end[t->right[i]];
    return 1;
}

/* How a formula is not whole; NULL when it is. *at: the token. */
static const char *dp__tape_open(dp__tape *t, const dp_vocabulary *v, const dp_formula *f,
                                 size_t *at) {
    size_t i;
    *at = 0;
    if (f->length == 0) return "is empty";
    if (f->length > (size_t)DP_FORMULA_MAX) return "is too long";
    t->length = f->length;
    for (i = f->length; i-- > 0;) {
        *at = i;
        t->token[i] = f->token[i];
        if (t->token[i] >= (size_t)DP_OPERATORS) {
            if (t->token[i] - (size_t)DP_OPERATORS >= v->symbol_count)
                return "has a token that is no symbol of the vocabulary";
            dp__tape_leaf(t, v, i);
        } else if (!dp__tape_node(t, i)) {
            return "ends before an operator has its arguments";
        }
    }
    *at = t->end[0];
    if (t->end[0] != t->length) return "goes on after its end";
    t->parent[0] = 0;
    for (i = 0; i < t->length; i++)
        t->top[i] = i > 0 && t->steady[t->parent[i]] ? t->top[t->parent[i]] : i;
    return NULL;
}

AF_API af_status dp_formula_check(af_context *c, const dp_vocabulary *v, const dp_formula *f) {
    dp__tape t;
    size_t at, i;
    const char *fault;
    af_status status = dp_vocabulary_check(c, v);
    if (status != AF_OK) return status;
    fault = dp__tape_open(&t, v, f, &at);
    if (fault)
        return af_fail(c, AF_ERROR_ARGUMENT, "formula of %lu tokens %s, at token %lu",
                       (unsigned long)f->length, fault, (unsigned long)at);
    for (i = 0; i < f->length; i++)
        if (f->token[i] < (uint8_t)DP_OPERATORS &&
            !dp__operator_allowed(v, (dp_operator)f->token[i]))
            return af_fail(c, AF_ERROR_ARGUMENT,
                           "formula: token %lu, '%s', is not among the vocabulary's operators",
                           (unsigned long)i, dp_operator_name(f->token[i]));
    return AF_OK;
}

/* ---- values ---- */

enum { DP__TAPE_ROWS = 64 }; /* at a time: 48 nodes, with slopes, take 49 kB of stack */

typedef struct dp__tape_work {
    const double *at[DP_FORMULA_MAX];                /* values of nodes, or of their first row */
    double value[DP_FORMULA_MAX][DP__TAPE_ROWS];
    double slope[DP_FORMULA_MAX][DP__TAPE_ROWS];     /* d result/d node */
} dp__tape_work;

#define DP__EACH(result)                         \
    for (k = 0; k < n; k++) y[k] = (result);     \
    break

/* y (n) = op(a, b); y may be a. */
static void dp__operate(size_t op, size_t n, const double *a, const double *b, double *y) {
    size_t k;
    switch ((dp_operator)op) {
    case DP_ADD: DP__EACH(a[k] + b[k]);
    case DP_SUB: DP__EACH(a[k] - b[k]);
    case DP_MUL: DP__EACH(a[k] * b[k]);
    case DP_DIV: DP__EACH(a[k] / b[k]);
    case DP_POW: DP__EACH(pow(a[k], b[k]));
    case DP_NEG: DP__EACH(-a[k]);
    case DP_INV: DP__EACH(1.0 / a[k]);
    case DP_SQUARE: DP__EACH(a[k] * a[k]);
    case DP_CUBE: DP__EACH(a[k] * a[k] * a[k]);
    case DP_SQRT: DP__EACH(sqrt(a[k]));
    case DP_EXP: DP__EACH(exp(a[k]));
    case DP_LOG: DP__EACH(log(a[k]));
    case DP_SIN: DP__EACH(sin(a[k]));
    case DP_COS: DP__EACH(cos(a[k]));
    case DP_TAN: DP__EACH(tan(a[k]));
    case DP_ASIN: DP__EACH(asin(a[k]));
    case DP_ACOS: DP__EACH(acos(a[k]));
    case DP_ATAN: DP__EACH(atan(a[k]));
    case DP_SINH: DP__EACH(sinh(a[k]));
    case DP_COSH: DP__EACH(cosh(a[k]));
    case DP_TANH: DP__EACH(tanh(a[k]));
    case DP_ABS: DP__EACH(fabs(a[k]));
    case DP_OPERATORS: break;
    }
}

/* Computes rows [first, first + n), n <= DP__TAPE_ROWS. */
static void dp__tape_block(const dp__tape *t, size_t first, size_t n,
                           const double *const *columns, const double *constants,
                           dp__tape_work *w) {
    size_t i, k;
    for (i = t->length; i-- > 0;) {
        double *y = w->value[i];
        w->at[i] = y;
        if (t->token[i] < (size_t)DP_OPERATORS) {
            const double *b = dp__operator_rows[t->token[i]].arity == 2 ? w->at[t->right[i]] : NULL;
            dp__operate(t->token[i], t->steady[i] ? 1 : n, w->at[i + 1], b, y);
        } else if (t->kind[i] == DP_VARIABLE) {
            w->at[i] = columns[t->leaf[i]] + first;
        } else {
            y[0] = t->kind[i] == DP_FIXED ? t->fixed[i] : constants[t->leaf[i]];
        }
        if (t->steady[i] && t->top[i] == i)
            for (k = 1; k < n; k++) y[k] = y[0];
    }
}

AF_API af_status dp_formula_evaluate(const dp_vocabulary *v, const dp_formula *f, size_t n,
                                     const double *const *columns, const double *constants,
                                     double *out) {
    dp__tape t;
    dp__tape_work w;
    size_t first, at;
    if (dp__tape_open(&t, v, f, &at)) return AF_ERROR_ARGUMENT;
    for (first = 0; first < n; first += DP__TAPE_ROWS) {
        size_t count = n - first < (size_t)DP__TAPE_ROWS ? n - first : (size_t)DP__TAPE_ROWS;
        dp__tape_block(&t, first, count, columns, constants, &w);
        memcpy(out + first, w.at[0], count * sizeof *out);
    }
    return AF_OK;
}

/* ---- derivatives: d result/d node from the root to the leaves ---- */

/* d (a^b)/db, 0 where a^b is 0: its limit for b > 0. */
static double dp__tape_pow_slope(double a, double y) { return y == 0.0 ? 0.0 : y * log(a); }

/* y (n): slopes of the first argument, from those of the result r = op(a, b), g. */
static void dp__tape_slope(size_t op, size_t n, const double *g, const double *a, const double *b,
                           const double *r, double *y) {
    size_t k;
    switch ((dp_operator)op) {
    case DP_ADD:
    case DP_SUB: DP__EACH(g[k]);
    case DP_MUL: DP__EACH(g[k] * b[k]);
    case DP_DIV: DP__EACH(g[k] / b[k]);
    case DP_POW: DP__EACH(g[k] * b[k] * pow(a[k], b[k] - 1.0));
    case DP_NEG: DP__EACH(-g[k]);
    case DP_INV: DP__EACH(-g[k] * r[k] * r[k]);
    case DP_SQUARE: DP__EACH(2.0 * g[k] * a[k]);
    case DP_CUBE: DP__EACH(3.0 * g[k] * a[k] * a[k]);
    case DP_SQRT: DP__EACH(0.5 * g[k] / r[k]);
    case DP_EXP: DP__EACH(g[k] * r[k]);
    case DP_LOG: DP__EACH(g[k] / a[k]);
    case DP_SIN: DP__EACH(g[k] * cos(a[k]));
    case DP_COS: DP__EACH(-g[k] * sin(a[k]));
    case DP_TAN: DP__EACH(g[k] * (1.0 + r[k] * r[k]));
    case DP_ASIN: DP__EACH(g[k] / sqrt(1.0 - a[k] * a[k]));
    case DP_ACOS: DP__EACH(-g[k] / sqrt(1.0 - a[k] * a[k]));
    case DP_ATAN: DP__EACH(g[k] / (1.0 + a[k] * a[k]));
    case DP_SINH: DP__EACH(g[k] * cosh(a[k]));
    case DP_COSH: DP__EACH(g[k] * sinh(a[k]));
    case DP_TANH: DP__EACH(g[k] * (1.0 - r[k] * r[k]));
    case DP_ABS: DP__EACH(a[k] > 0.0 ? g[k] : a[k] < 0.0 ? -g[k] : 0.0 * g[k]);
    case DP_OPERATORS: break;
    }
}

/* The same for the second argument. */
static void dp__tape_slope_right(size_t op, size_t n, const double *g, const double *a,
                                 const double *b, const double *r, double *y) {
    size_t k;
    switch ((dp_operator)op) {
    case DP_ADD: DP__EACH(g[k]);
    case DP_SUB: DP__EACH(-g[k]);
    case DP_MUL: DP__EACH(g[k] * a[k]);
    case DP_DIV: DP__EACH(-g[k] * r[k] / b[k]);
    case DP_POW: DP__EACH(g[k] * dp__tape_pow_slope(a[k], r[k]));
    default: break;
    }
}

/* Marks the nodes above leaves whose derivatives are wanted: constants with a bit in `constants`,
 * and variables if wanted. */
static void dp__tape_mark(const dp__tape *t, uint64_t constants, int variables, int *needed) {
    size_t i;
    for (i = t->length; i-- > 0;) {
        if (t->token[i] < (size_t)DP_OPERATORS)
            needed[i] = needed[i + 1] || (dp__operator_rows[t->token[i]].arity == 2 &&
                                          needed[t->right[i]]);
        else if (t->kind[i] == DP_VARIABLE) needed[i] = variables;
        else needed[i] = t->kind[i] != DP_FIXED && (constants >> t->leaf[i] & 1) != 0;
    }
}

/* After dp__tape_block: slopes of all needed nodes; those below the top of a steady part are d
 * top/d node, one number. */
static void dp__tape_descend(const dp__tape *t, size_t n, const int *needed, dp__tape_work *w) {
    static const double one = 1.0;
    size_t i, k;
    for (k = 0; k < n; k++) w->slope[0][k] = 1.0;
    for (i = 0; i < t->length; i++) {
        size_t op = t->token[i], rows = t->steady[i] ? 1 : n, right;
        const double *g = t->steady[i] && t->top[i] == i ? &one : w->slope[i], *a, *b;
        if (!needed[i] || op >= (size_t)DP_OPERATORS) continue;
        right = dp__operator_rows[op].arity == 2 ? t->right[i] : i + 1;
        a = w->at[i + 1];
        b = w->at[right];
        if (needed[i + 1]) dp__tape_slope(op, rows, g, a, b, w->at[i], w->slope[i + 1]);
        if (right != i + 1 && needed[right])
            dp__tape_slope_right(op, rows, g, a, b, w->at[i], w->slope[right]);
    }
}

/* Adds the slopes of needed leaves to the n rows of their constant or variable, `stride` apart. */
static void dp__tape_collect(const dp__tape *t, size_t n, const int *needed,
                             const dp__tape_work *w, double *constants, double *variables,
                             size_t stride) {
    size_t i, k;
    for (i = 0; i < t->length; i++) {
        const double *slope = w->slope[t->top[i]];
        double factor = t->top[i] == i ? 1.0 : w->slope[i][0], *to;
        if (!needed[i] || t->token[i] < (size_t)DP_OPERATORS) continue;
        to = (t->kind[i] == DP_VARIABLE ? variables : constants) + t->leaf[i] * stride;
        for (k = 0; k < n; k++) to[k] += factor * slope[k];
    }
}

AF_API af_status dp_formula_tangents(const dp_vocabulary *v, const dp_formula *f, size_t n,
                                     const double *const *columns, const double *constants,
                                     double *out, double *by_constants, double *by_variables) {
    dp__tape t;
    dp__tape_work w;
    int needed[DP_FORMULA_MAX];
    size_t first, at, unknowns, variables = dp_vocabulary_count(v, DP_VARIABLE);
    unknowns = dp_vocabulary_count(v, DP_FREE) + dp_vocabulary_count(v, DP_SPECIFIC);
    if (dp__tape_open(&t, v, f, &at)) return AF_ERROR_ARGUMENT;
    dp__tape_mark(&t, by_constants ? UINT64_MAX : 0, by_variables != NULL, needed);
    if (by_constants) memset(by_constants, 0, unknowns * n * sizeof *by_constants);
    if (by_variables) memset(by_variables, 0, variables * n * sizeof *by_variables);
    for (first = 0; first < n; first += DP__TAPE_ROWS) {
        size_t count = n - first < (size_t)DP__TAPE_ROWS ? n - first : (size_t)DP__TAPE_ROWS;
        dp__tape_block(&t, first, count, columns, constants, &w);
        if (out) memcpy(out + first, w.at[0], count * sizeof *out);
        dp__tape_descend(&t, count, needed, &w);
        dp__tape_collect(&t, count, needed, &w, by_constants ? by_constants + first : NULL,
                         by_variables ? by_variables + first : NULL, n);
    }
    return AF_OK;
}
