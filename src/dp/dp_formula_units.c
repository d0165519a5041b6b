/* ---- formulas: units ------------------------------------------------------------------------- */

AF_API int dp_units_equal(const dp_units *a, const dp_units *b) {
    size_t k;
    for (k = 0; k < (size_t)DP_UNITS; k++)
        if (!(fabs(a->power[k] - b->power[k]) <= 1e-6)) return 0;
    return 1;
}

static int dp__units_none(const dp_units *a) {
    dp_units none = DP__ZERO;
    return dp_units_equal(a, &none);
}

/* a + factor b, the units of a product of powers. */
static dp_units dp__units_product(const dp_units *a, double factor, const dp_units *b) {
    dp_units out;
    size_t k;
    for (k = 0; k < (size_t)DP_UNITS; k++) out.power[k] = a->power[k] + factor * b->power[k];
    return out;
}

/* ---- text ---- */

/* Appends to the text of that size what there is room for. */
static void dp__units_append(char *text, size_t size, const char *more) {
    size_t used = strlen(text), length = strlen(more);
    if (length > size - used - 1) length = size - used - 1;
    memcpy(text + used, more, length);
    text[used + length] = '\0';
}

AF_API void dp_units_text(const dp_units *units, const char *const *names, size_t count,
                          char *text, size_t size) {
    char part[32];
    size_t k, i;
    if (size == 0) return;
    text[0] = '\0';
    for (k = 0; k < (size_t)DP_UNITS; k++) {
        double power = units->power[k];
        if (fabs(power) <= 1e-6) continue;
        if (text[0]) dp__units_append(text, size, " ");
        snprintf(part, sizeof part, "u%lu", (unsigned long)(k + 1));
        dp__units_append(text, size, names && k < count ? names[k] : part);
        if (fabs(power - 1.0) <= 1e-6) continue;
        snprintf(part, sizeof part, "^%.6g", power);
        for (i = 0; part[i]; i++)
            if (part[i] == ',') part[i] = '.'; /* some locales write 0,5 */
        dp__units_append(text, size, part);
    }
    if (!text[0]) dp__units_append(text, size, "1");
}

typedef struct dp__units_reader {
    af_context *c;
    const char *text;
    size_t at;
    const char *const *names;
    size_t count, depth;
} dp__units_reader;

enum { DP__UNITS_DEPTH = 16 }; /* parentheses in each other */

static af_status dp__units_fail(dp__units_reader *r, const char *what) {
    return af_fail(r->c, AF_ERROR_ARGUMENT, "units '%.80s', character %lu: %s", r->text,
                   (unsigned long)r->at + 1, what);
}

static void dp__units_space(dp__units_reader *r) {
    while (r->text[r->at] == ' ' || r->text[r->at] == '\t') r->at++;
}

/* [+-]number; 0 where there is none. */
static int dp__units_signed(dp__units_reader *r, double *value) {
    size_t sign = r->text[r->at] == '-' || r->text[r->at] == '+';
    size_t length = dp__text_number(r->text + r->at + sign, value);
    if (length == 0) return 0;
    if (r->text[r->at] == '-') *value = -*value;
    r->at += sign + length;
    return 1;
}

/* The exponent after a name or a parenthesis: ^2, **-1, ^(1/2), or right behind: s-1. */
static af_status dp__units_exponent(dp__units_reader *r, double *power) {
    double below = 1.0;
    int parenthesis, caret = 1;
    *power = 1.0;
    if (r->text[r->at] == '^') r->at++;
    else if (r->text[r->at] == '*' && r->text[r->at + 1] == '*') r->at += 2;
    else caret = 0;
    if (!caret) {
        size_t at = r->at;
        if (!dp__units_signed(r, power)) r->at = at;
        return AF_OK;
    }
    parenthesis = r->text[r->at] == '(';
    r->at += (size_t)parenthesis;
    if (!dp__units_signed(r, power)) return dp__units_fail(r, "an exponent must be a number");
    if (parenthesis && r->text[r->at] == '/') {
        r->at++;
        if (!dp__units_signed(r, &below) || below == 0.0)
            return dp__units_fail(r, "a fraction needs a number that is not zero below");
    }
    *power /= below;
    if (parenthesis && r->text[r->at++] != ')') {
        r->at--;
        return dp__units_fail(r, "')' is missing");
    }
    return AF_OK;
}

static af_status dp__units_name(dp__units_reader *r, dp_units *out) {
    const char *word = r->text + r->at;
    char known[128] = "";
    size_t length = 0, k;
    while (dp__text_letter(word[length])) length++;
    for (k = 0; k < r->count && length > 0; k++) {
        if (strlen(r->names[k]) == length && memcmp(r->names[k], word, length) == 0) {
            out->power[k] = 1.0;
            r->at += length;
            return AF_OK;
        }
    }
    for (k = 0; k < r->count; k++) {
        dp__units_append(known, sizeof known, k ? ", " : "");
        dp__units_append(known, sizeof known, r->names[k]);
    }
    return af_fail(r->c, AF_ERROR_ARGUMENT,
                   "units '%.80s', character %lu: no base unit; there are %s", r->text,
                   (unsigned long)r->at + 1, known);
}

/* Factors up to the end, or to a closing parenthesis when inside of one. */
static af_status dp__units_factors(dp__units_reader *r, dp_units *out) {
    double sign = 1.0;
    int factors = 0;
    if (++r->depth > (size_t)DP__UNITS_DEPTH) return dp__units_fail(r, "too many parentheses");
    for (;;) {
        dp_units factor = DP__ZERO;
        double power;
        char next;
        af_status s = AF_OK;
        dp__units_space(r);
        next = r->text[r->at];
        if (next == '\0' || next == ')') break;
        if ((next == '/' && sign > 0.0) || ((next == '*' || next == '.') && factors > 0)) {
            sign = next == '/' ? -1.0 : 1.0;
            factors = 0;
            r->at++;
            dp__units_space(r);
            next = r->text[r->at];
        }
        if (next == '(') {
            r->at++;
            s = dp__units_factors(r, &factor);
            if (s == AF_OK && r->text[r->at] != ')') s = dp__units_fail(r, "')' is missing");
            r->at += s == AF_OK;
        } else if (next == '1' && !dp__text_digit(r->text[r->at + 1])) {
            r->at++;
        } else {
            s = dp__units_name(r, &factor);
        }
        if (s == AF_OK) s = dp__units_exponent(r, &power);
        if (s != AF_OK) return s;
        *out = dp__units_product(out, sign * power, &factor);
        sign = 1.0;
        factors++;
    }
    r->depth--;
    return factors > 0 ? AF_OK : dp__units_fail(r, "a unit is missing; '1' has none");
}

AF_API af_status dp_units_parse(af_context *c, const char *text, const char *const *names,
                                size_t count, dp_units *out) {
    dp_units units = DP__ZERO;
    dp__units_reader r = DP__ZERO;
    af_status s;
    memset(out, 0, sizeof *out);
    r.c = c;
    r.text = text;
    r.names = names;
    r.count = count;
    if (count > (size_t)DP_UNITS)
        return af_fail(c, AF_ERROR_ARGUMENT, "units: %lu base units; there can be %d",
                       (unsigned long)count, (int)DP_UNITS);
    s = dp__units_factors(&r, &units);
    if (s != AF_OK) return s;
    if (text[r.at] != '\0') return dp__units_fail(&r, "')' without '('");
    if (!dp__units_sound(&units)) return dp__units_fail(&r, "a power beyond 100");
    *out = units;
    return AF_OK;
}

/* ---- of a formula ---- */

/* How node i's arguments do not fit, NULL when they do and its units are in units[i]. */
static const char *dp__units_node(const dp__tape *t, size_t i, dp_units *units) {
    size_t right = dp__operator_rows[t->token[i]].arity == 2 ? t->right[i] : i + 1;
    const dp_units *a = units + i + 1, *b = units + right;
    dp_units none = DP__ZERO;
    units[i] = *a;
    switch ((dp_operator)t->token[i]) {
    case DP_ADD:
    case DP_SUB: return dp_units_equal(a, b) ? NULL : "units of the two sides differ";
    case DP_MUL: units[i] = dp__units_product(a, 1.0, b); return NULL;
    case DP_DIV: units[i] = dp__units_product(a, -1.0, b); return NULL;
    case DP_POW:
        if (!dp__units_none(b)) return "an exponent has units";
        if (dp__units_none(a)) return NULL;
        if (t->token[right] < (size_t)DP_OPERATORS || t->kind[right] != DP_FIXED)
            return "something with units is raised to a power that is no fixed number";
        units[i] = dp__units_product(&none, t->fixed[right], a);
        return NULL;
    case DP_NEG:
    case DP_ABS: return NULL;
    case DP_INV: units[i] = dp__units_product(&none, -1.0, a); return NULL;
    case DP_SQUARE: units[i] = dp__units_product(&none, 2.0, a); return NULL;
    case DP_CUBE: units[i] = dp__units_product(&none, 3.0, a); return NULL;
    case DP_SQRT: units[i] = dp__units_product(&none, 0.5, a); return NULL;
    default: return dp__units_none(a) ? NULL : "a function takes something with units";
    }
}

/* How the units of a whole formula do not fit: at node *at, *left and *right being those of its
 * arguments. NULL when they do; *left is that of the result then. */
static const char *dp__formula_units(const dp_vocabulary *v, const dp__tape *t, size_t *at,
                                     dp_units *left, dp_units *right) {
    dp_units units[DP_FORMULA_MAX];
    size_t i;
    for (i = t->length; i-- > 0;) {
        const dp_symbol *s = dp__formula_symbol(v, t->token[i]);
        const char *fault = NULL;
        if (s) units[i] = s->units;
        else fault = dp__units_node(t, i, units);
        if (!fault) continue;
        *at = i;
        *left = units[i + 1];
        *right = units[dp__operator_rows[t->token[i]].arity == 2 ? t->right[i] : i + 1];
        return fault;
    }
    *left = units[0];
    return NULL;
}

/* The part of a formula that node i begins, as text that may be cut off. */
static void dp__formula_part_text(const dp_vocabulary *v, const dp__tape *t, size_t i, char *text,
                                  size_t size);

/* The sentence about node `at`. */
static af_status dp__formula_units_fail(af_context *c, const dp_vocabulary *v, const dp__tape *t,
                                        size_t at, const char *fault, const dp_units *left,
                                        const dp_units *right) {
    char whole[160], a[64], b[64], units_a[96], units_b[96];
    dp__formula_part_text(v, t, at, whole, sizeof whole);
    dp__formula_part_text(v, t, at + 1, a, sizeof a);
    dp_units_text(left, v->bases, v->base_count, units_a, sizeof units_a);
    if (dp__operator_rows[t->token[at]].arity == 1)
        return af_fail(c, AF_ERROR_DATA, "formula: token %lu, in %s: %s: %s [%s]",
                       (unsigned long)at, whole, fault, a, units_a);
    dp__formula_part_text(v, t, t->right[at], b, sizeof b);
    dp_units_text(right, v->bases, v->base_count, units_b, sizeof units_b);
    return af_fail(c, AF_ERROR_DATA, "formula: token %lu, in %s: %s: %s [%s] and %s [%s]",
                   (unsigned long)at, whole, fault, a, units_a, b, units_b);
}

AF_API af_status dp_formula_units(af_context *c, const dp_vocabulary *v, const dp_formula *f,
                                  dp_units *units, size_t *token) {
    dp__tape t;
    dp_units left = DP__ZERO, right = DP__ZERO;
    size_t at = 0;
    char have[96], want[96];
    const char *fault;
    af_status s = dp_formula_check(c, v, f);
    if (units) memset(units, 0, sizeof *units);
    if (token) *token = 0;
    if (s != AF_OK || v->no_units) return s;
    dp__tape_open(&t, v, f, &at);
    fault = dp__formula_units(v, &t, &at, &left, &right);
    if (token && fault) *token = at;
    if (fault) return dp__formula_units_fail(c, v, &t, at, fault, &left, &right);
    if (units) *units = left;
    if (units || dp_units_equal(&left, &v->target)) return AF_OK;
    dp_units_text(&left, v->bases, v->base_count, have, sizeof have);
    dp_units_text(&v->target, v->bases, v->base_count, want, sizeof want);
    return af_fail(c, AF_ERROR_DATA, "formula: its units are %s, the target's are %s", have, want);
}
