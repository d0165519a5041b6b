/* ---- formulas: from text ------------------------------------------------------------------------
 *
 *     sum     = product {(+ | -) product}
 *     product = signed {(* | /) signed}
 *     signed  = - signed | + signed | power
 *     power   = atom [(^ | **) signed]
 *     atom    = number | name | function ( sum ) | ( sum )
 *
 * Tokens are written in prefix order as they come; an operator goes in before its first argument
 * when it is met. */

enum {
    DP__PARSE_DEPTH = 200, /* calls in each other: some 50 parentheses */
    DP__PARSE_WHOLE = 100  /* the largest whole number that is made of others */
};

typedef struct dp__parse {
    af_context *c;
    const dp_vocabulary *v;
    const char *text;
    size_t at, depth;
    dp_formula *out;
} dp__parse;

static af_status dp__parse_fail(dp__parse *p, size_t at, const char *what) {
    return af_fail(p->c, AF_ERROR_ARGUMENT, "formula, character %lu: %s; it is '%.120s'",
                   (unsigned long)at + 1, what, p->text);
}

static char dp__parse_next(dp__parse *p) {
    char c = p->text[p->at];
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r') c = p->text[++p->at];
    return c;
}

/* Makes room for `count` tokens at `at`. */
static af_status dp__parse_open(dp__parse *p, size_t at, size_t count) {
    dp_formula *f = p->out;
    char what[80];
    if (f->length + count > (size_t)DP_FORMULA_MAX) {
        snprintf(what, sizeof what, "the formula is longer than %d tokens", (int)DP_FORMULA_MAX);
        return dp__parse_fail(p, p->at, what);
    }
    memmove(f->token + at + count, f->token + at, f->length - at);
    f->length += count;
    return AF_OK;
}

static int dp__parse_may(const dp__parse *p, dp_operator op) {
    return dp__operator_allowed(p->v, op);
}

static af_status dp__parse_put(dp__parse *p, size_t at, size_t token) {
    af_status s = dp__parse_open(p, at, 1);
    if (s == AF_OK) p->out->token[at] = (uint8_t)token;
    return s;
}

/* Puts an operator before what begins at `at`; place: of the text, for the sentence. */
static af_status dp__parse_operator(dp__parse *p, size_t at, dp_operator op, size_t place) {
    char what[80];
    if (dp__parse_may(p, op)) return dp__parse_put(p, at, (size_t)op);
    snprintf(what, sizeof what, "'%s' is not among the vocabulary's operators",
             dp_operator_name((size_t)op));
    return dp__parse_fail(p, place, what);
}

/* op(first, other(second)) for the tokens [at, second) and those from there. */
static af_status dp__parse_pair(dp__parse *p, size_t at, size_t second, dp_operator op,
                                dp_operator other, size_t place) {
    af_status s = dp__parse_operator(p, second, other, place);
    return s == AF_OK ? dp__parse_operator(p, at, op, place) : s;
}

/* ---- numbers ---- */

/* The symbol that is this number; NULL when there is none. */
static const dp_symbol *dp__parse_fixed(const dp__parse *p, double value) {
    size_t i;
    for (i = 0; i < p->v->symbol_count; i++) {
        const dp_symbol *s = p->v->symbols + i;
        if (s->kind == DP_FIXED && dp__text_same_number(value, s->value) &&
            (p->v->no_units || dp__units_none(&s->units)))
            return s;
    }
    return NULL;
}

static size_t dp__parse_token(const dp__parse *p, const dp_symbol *s) {
    return (size_t)DP_OPERATORS + (size_t)(s - p->v->symbols);
}

/* How each whole number is made with fewest tokens: op(first, n - first or n / first), op(first)
 * for powers; DP_OPERATORS: a symbol. */
typedef struct dp__parse_whole_row {
    size_t tokens, first; /* tokens 0: it cannot be made */
    dp_operator op;
} dp__parse_whole_row;

static void dp__parse_better(dp__parse_whole_row *rows, size_t n, size_t first, size_t tokens,
                             dp_operator op) {
    if (rows[n].tokens && rows[n].tokens <= tokens) return;
    rows[n].tokens = tokens;
    rows[n].first = first;
    rows[n].op = op;
}

static void dp__parse_whole_table(const dp__parse *p, dp__parse_whole_row *rows, size_t most) {
    size_t n, a;
    for (n = 0; n <= most; n++) {
        rows[n].tokens = dp__parse_fixed(p, (double)n) != NULL;
        rows[n].op = DP_OPERATORS;
        for (a = 1; a < n; a++) {
            size_t left = rows[a].tokens, sum = rows[n - a].tokens;
            size_t ratio = n % a == 0 ? rows[n / a].tokens : 0;
            if (!left) continue;
            if (sum && dp__parse_may(p, DP_ADD))
                dp__parse_better(rows, n, a, left + sum + 1, DP_ADD);
            if (ratio && dp__parse_may(p, DP_MUL))
                dp__parse_better(rows, n, a, left + ratio + 1, DP_MUL);
            if (a * a == n && dp__parse_may(p, DP_SQUARE))
                dp__parse_better(rows, n, a, left + 1, DP_SQUARE);
            if (a * a * a == n && dp__parse_may(p, DP_CUBE))
                dp__parse_better(rows, n, a, left + 1, DP_CUBE);
        }
    }
}

/* Appends the whole number n; the rows know how. */
static af_status dp__parse_whole(dp__parse *p, const dp__parse_whole_row *rows, size_t n) {
    const dp__parse_whole_row *row = rows + n;
    af_status s;
    if (row->op == DP_OPERATORS)
        return dp__parse_put(p, p->out->length,
                             dp__parse_token(p, dp__parse_fixed(p, (double)n)));
    s = dp__parse_put(p, p->out->length, (size_t)row->op);
    if (s == AF_OK) s = dp__parse_whole(p, rows, row->first);
    if (s != AF_OK || dp__operator_rows[row->op].arity == 1) return s;
    return dp__parse_whole(p, rows, row->op == DP_ADD ? n - row->first : n / row->first);
}

static af_status dp__parse_number(dp__parse *p, double value, size_t place) {
    dp__parse_whole_row rows[DP__PARSE_WHOLE + 1];
    const dp_symbol *fixed = dp__parse_fixed(p, value);
    char what[160];
    memset(rows, 0, sizeof rows);
    if (fixed) return dp__parse_put(p, p->out->length, dp__parse_token(p, fixed));
    if (value >= 1.0 && value <= (double)DP__PARSE_WHOLE && floor(value) == value) {
        dp__parse_whole_table(p, rows, (size_t)value);
        if (rows[(size_t)value].tokens) return dp__parse_whole(p, rows, (size_t)value);
    }
    snprintf(what, sizeof what,
             "%g is no DP_FIXED symbol without units, nor a whole number up to %d that can be "
             "made of those; add it to the vocabulary",
             value, (int)DP__PARSE_WHOLE);
    return dp__parse_fail(p, place, what);
}

/* ---- powers ---- */

/* Reads -number, or (-number / number), as an exponent; 0, and nothing read, when it is anything
 * else. */
static int dp__parse_exponent(dp__parse *p, double *value) {
    size_t from = p->at, length;
    double below = 1.0;
    int parenthesis = dp__parse_next(p) == '(', minus;
    p->at += (size_t)parenthesis;
    minus = dp__parse_next(p) == '-';
    p->at += (size_t)minus;
    dp__parse_next(p);
    length = dp__text_number(p->text + p->at, value);
    p->at += length;
    if (length && parenthesis) {
        if (dp__parse_next(p) == '/') {
            p->at++;
            dp__parse_next(p);
            length = dp__text_number(p->text + p->at, &below);
            p->at += length;
        }
        if (dp__parse_next(p) == ')') p->at++;
        else length = 0;
    }
    *value = (minus ? -1.0 : 1.0) * *value / below;
    if (length && dp__parse_next(p) != '^' && !(p->text[p->at] == '*' && p->text[p->at + 1] == '*'))
        return 1;
    p->at = from;
    return 0;
}

/* Appends a copy of the tokens [at, at + length) at their beginning, after a *. */
static af_status dp__parse_times(dp__parse *p, size_t at, size_t length, size_t place) {
    af_status s = dp__parse_open(p, at, length);
    if (s == AF_OK) memmove(p->out->token + at, p->out->token + at + length, length);
    return s == AF_OK ? dp__parse_operator(p, at, DP_MUL, place) : s;
}

/* What begins at `at` to a whole power n > 0. */
static af_status dp__parse_whole_power(dp__parse *p, size_t at, unsigned long n, size_t place) {
    size_t length = p->out->length - at, i;
    uint8_t base[DP_FORMULA_MAX];
    af_status s = AF_OK;
    if (n == 1) return AF_OK;
    if (n % 2 == 0) {
        s = dp__parse_whole_power(p, at, n / 2, place);
        if (s != AF_OK) return s;
        if (dp__parse_may(p, DP_SQUARE)) return dp__parse_put(p, at, DP_SQUARE);
        return dp__parse_times(p, at, p->out->length - at, place);
    }
    if (n % 3 == 0 && dp__parse_may(p, DP_CUBE)) {
        s = dp__parse_whole_power(p, at, n / 3, place);
        return s == AF_OK ? dp__parse_put(p, at, DP_CUBE) : s;
    }
    memcpy(base, p->out->token + at, length);
    s = dp__parse_whole_power(p, at, n - 1, place);
    for (i = length; i-- > 0 && s == AF_OK;) s = dp__parse_put(p, at, base[i]);
    return s == AF_OK ? dp__parse_operator(p, at, DP_MUL, place) : s;
}

/* 1 / what begins at `at`. */
static af_status dp__parse_inverse(dp__parse *p, size_t at, size_t place) {
    const dp_symbol *one = dp__parse_fixed(p, 1.0);
    af_status s;
    if (dp__parse_may(p, DP_INV) || !one) return dp__parse_operator(p, at, DP_INV, place);
    s = dp__parse_put(p, at, dp__parse_token(p, one));
    return s == AF_OK ? dp__parse_operator(p, at, DP_DIV, place) : s;
}

/* An operator of one argument makes this power. */
static int dp__parse_has_power(const dp__parse *p, double exponent) {
    if (exponent == 2.0) return dp__parse_may(p, DP_SQUARE);
    if (exponent == 3.0) return dp__parse_may(p, DP_CUBE);
    if (exponent == 0.5) return dp__parse_may(p, DP_SQRT);
    return exponent == 1.0 || (exponent == -1.0 && dp__parse_may(p, DP_INV));
}

/* What begins at `at` to a power that is a number: by pow; or square roots, then a whole power,
 * then the inverse. */
static af_status dp__parse_power_of(dp__parse *p, size_t at, double exponent, size_t place) {
    double size = fabs(exponent);
    const dp_symbol *fixed = dp__parse_fixed(p, exponent);
    af_status s = AF_OK;
    int roots = 0;
    if (fixed && dp__parse_may(p, DP_POW) && !dp__parse_has_power(p, exponent)) {
        s = dp__parse_put(p, p->out->length, dp__parse_token(p, fixed));
        return s == AF_OK ? dp__parse_put(p, at, DP_POW) : s;
    }
    for (; roots < 3 && floor(size) != size; roots++) size *= 2.0;
    if (floor(size) != size || size < 1.0 || size > 64.0)
        return dp__parse_fail(p, place,
                              "a power must be a whole number, not zero, or half, a quarter or an "
                              "eighth of one; others need the operator pow and a DP_FIXED symbol");
    for (; roots > 0 && s == AF_OK; roots--) s = dp__parse_operator(p, at, DP_SQRT, place);
    if (s == AF_OK) s = dp__parse_whole_power(p, at, (unsigned long)size, place);
    return s == AF_OK && exponent < 0.0 ? dp__parse_inverse(p, at, place) : s;
}

/* ---- the grammar ---- */

static af_status dp__parse_sum(dp__parse *p);

static af_status dp__parse_inside(dp__parse *p) {
    af_status s = dp__parse_sum(p);
    if (s != AF_OK) return s;
    if (dp__parse_next(p) != ')') return dp__parse_fail(p, p->at, "')' is missing");
    p->at++;
    return AF_OK;
}

static af_status dp__parse_name(dp__parse *p) {
    const char *word = p->text + p->at;
    const dp__function_row *function;
    size_t length = 0, place = p->at, i, from = p->out->length;
    char known[300] = "";
    af_status s;
    while (dp__text_letter(word[length]) || dp__text_digit(word[length])) length++;
    for (i = 0; i < p->v->symbol_count; i++) {
        const char *name = p->v->symbols[i].name;
        dp__units_append(known, sizeof known, i ? ", " : "");
        dp__units_append(known, sizeof known, name);
        if (strlen(name) != length || memcmp(name, word, length) != 0) continue;
        p->at += length;
        return dp__parse_put(p, from, (size_t)DP_OPERATORS + i);
    }
    function = dp__function_find(word, length);
    if (!function)
        return af_fail(p->c, AF_ERROR_ARGUMENT,
                       "formula, character %lu: '%.*s' is neither a function nor a symbol; symbols "
                       "are %s",
                       (unsigned long)place + 1, length < 40 ? (int)length : 40, word, known);
    p->at += length;
    if (dp__parse_next(p) != '(') return dp__parse_fail(p, p->at, "a function needs '('");
    p->at++;
    s = dp__parse_inside(p);
    return s == AF_OK ? dp__parse_operator(p, from, function->op, place) : s;
}

static af_status dp__parse_atom(dp__parse *p) {
    size_t place, length;
    double value;
    char next = dp__parse_next(p);
    place = p->at;
    length = dp__text_number(p->text + place, &value);
    if (length > 0) {
        p->at += length;
        return dp__parse_number(p, value, place);
    }
    if (dp__text_letter(next)) return dp__parse_name(p);
    if (next != '(')
        return dp__parse_fail(p, place, next ? "a symbol, a number or '(' should be here"
                                             : "it ends where a symbol, a number or '(' should be");
    p->at++;
    return dp__parse_inside(p);
}

static af_status dp__parse_signed(dp__parse *p);

static af_status dp__parse_power(dp__parse *p) {
    size_t from = p->out->length, place;
    double exponent;
    af_status s = dp__parse_atom(p);
    if (s != AF_OK) return s;
    dp__parse_next(p);
    place = p->at;
    if (p->text[place] == '^') p->at++;
    else if (p->text[place] == '*' && p->text[place + 1] == '*') p->at += 2;
    else return AF_OK;
    if (dp__parse_exponent(p, &exponent)) return dp__parse_power_of(p, from, exponent, place);
    s = dp__parse_signed(p);
    return s == AF_OK ? dp__parse_operator(p, from, DP_POW, place) : s;
}

static af_status dp__parse_signed(dp__parse *p) {
    char next = dp__parse_next(p);
    size_t from = p->out->length, place = p->at;
    af_status s;
    if (next != '-' && next != '+') return dp__parse_power(p);
    if (++p->depth > (size_t)DP__PARSE_DEPTH)
        return dp__parse_fail(p, place, "too many signs and parentheses in each other");
    p->at++;
    s = dp__parse_signed(p);
    p->depth--;
    return s == AF_OK && next == '-' ? dp__parse_operator(p, from, DP_NEG, place) : s;
}

/* Reads "1 /" or "-1 /" where INV may be used: it takes what follows. */
static int dp__parse_one_over(dp__parse *p, int *minus) {
    size_t from = p->at, length;
    double value;
    *minus = dp__parse_next(p) == '-';
    p->at += (size_t)*minus;
    dp__parse_next(p);
    length = dp__text_number(p->text + p->at, &value);
    p->at += length;
    if (length && value == 1.0 && dp__parse_may(p, DP_INV) && dp__parse_next(p) == '/') {
        p->at++;
        return 1;
    }
    p->at = from;
    return 0;
}

static af_status dp__parse_product(dp__parse *p) {
    size_t from = p->out->length, place = p->at;
    int minus, inverse = dp__parse_one_over(p, &minus);
    af_status s = dp__parse_signed(p);
    if (s == AF_OK && inverse) s = dp__parse_put(p, from, DP_INV);
    if (s == AF_OK && inverse && minus) s = dp__parse_operator(p, from, DP_NEG, place);
    while (s == AF_OK) {
        size_t second = p->out->length;
        char next = dp__parse_next(p);
        place = p->at;
        if (next != '*' && next != '/') return AF_OK;
        p->at++;
        s = dp__parse_signed(p);
        if (s != AF_OK) return s;
        if (next == '*') s = dp__parse_operator(p, from, DP_MUL, place);
        else if (dp__parse_may(p, DP_DIV) || !dp__parse_may(p, DP_INV))
            s = dp__parse_operator(p, from, DP_DIV, place);
        else s = dp__parse_pair(p, from, second, DP_MUL, DP_INV, place);
    }
    return s;
}

static af_status dp__parse_sum(dp__parse *p) {
    size_t from = p->out->length, place;
    af_status s;
    if (++p->depth > (size_t)DP__PARSE_DEPTH)
        return dp__parse_fail(p, p->at, "too many signs and parentheses in each other");
    s = dp__parse_product(p);
    while (s == AF_OK) {
        size_t second = p->out->length;
        char next = dp__parse_next(p);
        dp_operator op = next == '+' ? DP_ADD : DP_SUB, other = next == '+' ? DP_SUB : DP_ADD;
        place = p->at;
        if (next != '+' && next != '-') break;
        p->at++;
        s = dp__parse_product(p);
        if (s != AF_OK) break;
        s = !dp__parse_may(p, op) && dp__parse_may(p, other) && dp__parse_may(p, DP_NEG)
                ? dp__parse_pair(p, from, second, other, DP_NEG, place)
                : dp__parse_operator(p, from, op, place);
    }
    p->depth--;
    return s;
}

AF_API af_status dp_formula_parse(af_context *c, const dp_vocabulary *v, const char *text,
                                  dp_formula *out) {
    dp__parse p = DP__ZERO;
    af_status s;
    memset(out, 0, sizeof *out);
    s = dp_vocabulary_check(c, v);
    if (s != AF_OK) return s;
    p.c = c;
    p.v = v;
    p.text = text;
    p.out = out;
    s = dp__parse_sum(&p);
    if (s == AF_OK && dp__parse_next(&p) != '\0')
        s = dp__parse_fail(&p, p.at,
                           p.text[p.at] == ')' ? "')' without '('" : "this does not continue it");
    if (s != AF_OK) memset(out, 0, sizeof *out);
    return s;
}
