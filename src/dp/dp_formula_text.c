/* ---- formulas: to text --------------------------------------------------------------------------
 *
 * A node is put into parentheses where the operators around it bind more strongly than it does. In
 * PLAIN and C the same operations are done in the same order when read; in LATEX a + (b + c) loses
 * its parentheses. a + (-b) is written a - b, which rounds alike. */

typedef struct dp__text {
    const dp_vocabulary *v;
    const dp__tape *t;
    dp_text_style style;
    char *to;
    size_t size, used; /* used: what it would take, without the end */
} dp__text;

enum { DP__TEXT_SUM = 1, DP__TEXT_PRODUCT, DP__TEXT_CALL, DP__TEXT_POWER, DP__TEXT_ATOM };

static void dp__text_put(dp__text *w, const char *text) {
    for (; *text; text++, w->used++)
        if (w->used + 1 < w->size) w->to[w->used] = *text;
}

static void dp__text_cut(dp__text *w, const char *text, size_t length) {
    for (; length > 0; length--, text++, w->used++)
        if (w->used + 1 < w->size) w->to[w->used] = *text;
}

static void dp__text_node(dp__text *w, size_t i, int bare);

static size_t dp__text_right(const dp__text *w, size_t i) { return w->t->right[i]; }

static int dp__text_latex(const dp__text *w) { return w->style == DP_TEXT_LATEX; }

/* ---- symbols ---- */

static const char *const dp__text_greek[] = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi",
    "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi",
    "Omega", "varphi", "varepsilon"};

/* A word without _: one letter, a number, a Greek letter or upright. */
static void dp__text_latex_word(dp__text *w, const char *word, size_t length) {
    size_t i, digits = 0;
    for (i = 0; i < sizeof dp__text_greek / sizeof dp__text_greek[0]; i++)
        if (strlen(dp__text_greek[i]) == length && memcmp(dp__text_greek[i], word, length) == 0) {
            dp__text_put(w, "\\");
            dp__text_cut(w, word, length);
            return;
        }
    for (i = 0; i < length; i++) digits += (size_t)dp__text_digit(word[i]);
    if (length > 1 && digits < length) dp__text_put(w, "\\mathrm{");
    dp__text_cut(w, word, length);
    if (length > 1 && digits < length) dp__text_put(w, "}");
}

/* "sigma_los_0" as \sigma_{\mathrm{los},0}, "x1" as x_{1}. */
static void dp__text_latex_name(dp__text *w, const char *name) {
    size_t length = strcspn(name, "_"), part;
    while (length > 1 && dp__text_digit(name[length - 1])) length--;
    dp__text_latex_word(w, name, length);
    name += length + (name[length] == '_');
    if (!*name) return;
    dp__text_put(w, "_{");
    for (; *name; name += part + (name[part] == '_')) {
        part = strcspn(name, "_");
        dp__text_latex_word(w, name, part);
        if (name[part] && name[part + 1]) dp__text_put(w, ",");
    }
    dp__text_put(w, "}");
}

/* The shortest text that is this number to the bit, for C. */
static void dp__text_value(dp__text *w, double value) {
    char text[40];
    int digits, k;
    for (digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    for (k = 0; text[k]; k++)
        if (text[k] == ',') text[k] = '.'; /* the comma of some locales */
    if (value < 0.0) dp__text_put(w, "(");
    dp__text_put(w, text);
    if (!strpbrk(text, ".e")) dp__text_put(w, ".0");
    if (value < 0.0) dp__text_put(w, ")");
}

/* A number's name in LATEX: 1e-3 as 1 \times 10^{-3}. */
static void dp__text_latex_number(dp__text *w, const char *name) {
    size_t mantissa = strcspn(name, "eE");
    dp__text_cut(w, name, mantissa);
    if (!name[mantissa]) return;
    dp__text_put(w, " \\times 10^{");
    dp__text_put(w, name + mantissa + 1 + (name[mantissa + 1] == '+'));
    dp__text_put(w, "}");
}

static void dp__text_symbol(dp__text *w, size_t i) {
    const dp_symbol *s = dp__formula_symbol(w->v, w->t->token[i]);
    if (w->style == DP_TEXT_C && s->kind == DP_FIXED) dp__text_value(w, s->value);
    else if (!dp__text_latex(w)) dp__text_put(w, s->name);
    else if (dp__text_letter(*s->name)) dp__text_latex_name(w, s->name);
    else dp__text_latex_number(w, s->name);
}

/* ---- how strongly nodes bind, and signs ---- */

/* C has no powers: squares and cubes of symbols are products there, others calls. */
static int dp__text_is_product(const dp__text *w, size_t i) {
    return w->style == DP_TEXT_C && w->t->token[i + 1] >= (size_t)DP_OPERATORS;
}

static int dp__text_binds(const dp__text *w, size_t i) {
    const dp_symbol *s = dp__formula_symbol(w->v, w->t->token[i]);
    if (s)
        return dp__text_latex(w) && s->kind == DP_FIXED && dp__text_digit(*s->name) &&
                       strpbrk(s->name, "eE")
                   ? DP__TEXT_PRODUCT
                   : DP__TEXT_ATOM;
    switch ((dp_operator)w->t->token[i]) {
    case DP_ADD:
    case DP_SUB: return DP__TEXT_SUM;
    case DP_NEG:
    case DP_MUL: return DP__TEXT_PRODUCT;
    case DP_DIV:
    case DP_INV: return dp__text_latex(w) ? DP__TEXT_CALL : DP__TEXT_PRODUCT;
    case DP_SQUARE:
    case DP_CUBE:
        if (dp__text_is_product(w, i)) return DP__TEXT_PRODUCT;
        return w->style == DP_TEXT_C ? DP__TEXT_ATOM : DP__TEXT_POWER;
    case DP_POW: return w->style == DP_TEXT_C ? DP__TEXT_ATOM : DP__TEXT_POWER;
    case DP_SQRT: return DP__TEXT_ATOM;
    default: return dp__text_latex(w) ? DP__TEXT_CALL : DP__TEXT_ATOM;
    }
}

/* Whether the text of node i, not in parentheses, begins with a minus sign. */
static int dp__text_minus(const dp__text *w, size_t i) {
    for (;;) {
        size_t op = w->t->token[i];
        int product = op == (size_t)DP_MUL || op == (size_t)DP_DIV;
        if (op == (size_t)DP_NEG) return 1;
        if (op > (size_t)DP_DIV) return 0;
        if (product && dp__text_binds(w, i + 1) < DP__TEXT_PRODUCT) return 0;
        i++;
    }
}

/* Node i; in parentheses when it binds less than `least`, or begins with a minus where there may be
 * none. */
static void dp__text_child(dp__text *w, size_t i, int least, int minus) {
    int latex = dp__text_latex(w);
    int inside = dp__text_binds(w, i) < least || (!minus && dp__text_minus(w, i));
    if (inside) dp__text_put(w, latex ? "\\left(" : "(");
    dp__text_node(w, i, 0);
    if (inside) dp__text_put(w, latex ? "\\right)" : ")");
}

/* ---- operators ---- */

/* a + b or a - b; a minus at the beginning of b turns the sign instead, where b is a product. */
static void dp__text_sum(dp__text *w, size_t i) {
    size_t b = dp__text_right(w, i);
    int minus = w->t->token[i] == (size_t)DP_SUB, least = DP__TEXT_PRODUCT;
    int turned = dp__text_binds(w, b) >= least && dp__text_minus(w, b);
    if (dp__text_latex(w) && !minus && !dp__text_minus(w, b)) least = DP__TEXT_SUM;
    dp__text_child(w, i + 1, DP__TEXT_SUM, 1);
    dp__text_put(w, minus != turned ? " - " : " + ");
    if (turned) dp__text_node(w, b, 1);
    else dp__text_child(w, b, least, 1);
}

/* The node's text begins with a digit. */
static int dp__text_begins_number(const dp__text *w, size_t i) {
    const dp_symbol *s;
    while (w->t->token[i] == (size_t)DP_MUL || w->t->token[i] == (size_t)DP_SQUARE ||
           w->t->token[i] == (size_t)DP_CUBE || w->t->token[i] == (size_t)DP_POW)
        i++;
    s = dp__formula_symbol(w->v, w->t->token[i]);
    return s && dp__text_digit(*s->name);
}

/* Products and, but in LATEX, ratios: they are done from left to right. */
static void dp__text_product(dp__text *w, size_t i, int bare) {
    size_t b = dp__text_right(w, i);
    int latex = dp__text_latex(w), divides = w->t->token[i] == (size_t)DP_DIV;
    if (bare) dp__text_node(w, i + 1, 1); /* its first factor begins with the minus */
    else dp__text_child(w, i + 1, DP__TEXT_PRODUCT, 1);
    if (latex) dp__text_put(w, dp__text_begins_number(w, b) ? " \\cdot " : " \\, ");
    else dp__text_put(w, divides ? "/" : "*");
    dp__text_child(w, b, latex ? DP__TEXT_PRODUCT : DP__TEXT_PRODUCT + 1, 0);
}

/* A minus above the line goes before it. */
static void dp__text_fraction(dp__text *w, size_t i, int bare) {
    int inverse = w->t->token[i] == (size_t)DP_INV, minus = !inverse && dp__text_minus(w, i);
    dp__text_put(w, minus && !bare ? "-\\frac{" : "\\frac{");
    if (inverse) dp__text_put(w, "1");
    else dp__text_node(w, i + 1, minus);
    dp__text_put(w, "}{");
    dp__text_node(w, inverse ? i + 1 : dp__text_right(w, i), 0);
    dp__text_put(w, "}");
}

/* Square, cube and pow. */
static void dp__text_power(dp__text *w, size_t i) {
    size_t op = w->t->token[i];
    const char *number = op == (size_t)DP_SQUARE ? "2" : "3";
    if (w->style == DP_TEXT_C && op != (size_t)DP_POW && dp__text_is_product(w, i)) {
        dp__text_symbol(w, i + 1);
        dp__text_put(w, "*");
        dp__text_symbol(w, i + 1);
        if (op == (size_t)DP_CUBE) dp__text_put(w, "*");
        if (op == (size_t)DP_CUBE) dp__text_symbol(w, i + 1);
        return;
    }
    if (w->style == DP_TEXT_C) dp__text_put(w, "pow(");
    dp__text_child(w, i + 1, w->style == DP_TEXT_C ? DP__TEXT_SUM : DP__TEXT_ATOM, 1);
    dp__text_put(w, w->style == DP_TEXT_C ? ", " : dp__text_latex(w) ? "^{" : "^");
    if (op != (size_t)DP_POW) {
        dp__text_put(w, number);
        if (w->style == DP_TEXT_C) dp__text_put(w, ".0");
    } else {
        dp__text_child(w, dp__text_right(w, i),
                       w->style == DP_TEXT_PLAIN ? DP__TEXT_ATOM : DP__TEXT_SUM, 1);
    }
    if (w->style != DP_TEXT_PLAIN) dp__text_put(w, dp__text_latex(w) ? "}" : ")");
}

static void dp__text_call(dp__text *w, size_t i) {
    size_t op = w->t->token[i];
    int latex = dp__text_latex(w);
    const char *name = dp_operator_name(op);
    if (latex && op == (size_t)DP_ABS) {
        dp__text_put(w, "\\left|");
    } else if (latex && op == (size_t)DP_SQRT) {
        dp__text_put(w, "\\sqrt{");
    } else {
        int arc = op == (size_t)DP_ASIN || op == (size_t)DP_ACOS || op == (size_t)DP_ATAN;
        if (latex) dp__text_put(w, arc ? "\\arc" : "\\");
        if (w->style == DP_TEXT_C && op == (size_t)DP_ABS) dp__text_put(w, "f");
        dp__text_put(w, latex && arc ? name + 1 : name);
        dp__text_put(w, latex ? "\\left(" : "(");
    }
    dp__text_node(w, i + 1, 0);
    if (latex) dp__text_put(w, op == (size_t)DP_ABS ? "\\right|" :
                               op == (size_t)DP_SQRT ? "}" : "\\right)");
    else dp__text_put(w, ")");
}

/* bare: without the minus sign that it begins with. */
static void dp__text_node(dp__text *w, size_t i, int bare) {
    size_t op = w->t->token[i];
    int latex = dp__text_latex(w);
    if (op >= (size_t)DP_OPERATORS) {
        dp__text_symbol(w, i);
        return;
    }
    switch ((dp_operator)op) {
    case DP_ADD:
    case DP_SUB: dp__text_sum(w, i); return;
    case DP_MUL: dp__text_product(w, i, bare); return;
    case DP_DIV:
        if (latex) dp__text_fraction(w, i, bare);
        else dp__text_product(w, i, bare);
        return;
    case DP_INV:
        if (latex) {
            dp__text_fraction(w, i, 0);
            return;
        }
        dp__text_put(w, w->style == DP_TEXT_C ? "1.0/" : "1/");
        dp__text_child(w, i + 1, DP__TEXT_PRODUCT + 1, 0);
        return;
    case DP_NEG:
        if (!bare) dp__text_put(w, "-");
        dp__text_child(w, i + 1, DP__TEXT_PRODUCT, 0);
        return;
    case DP_POW:
    case DP_SQUARE:
    case DP_CUBE: dp__text_power(w, i); return;
    default: dp__text_call(w, i); return;
    }
}

/* ---- a function in C ---- */

static int dp__text_reserved(const char *name) {
    static const char *const words[] = {
        "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
        "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
        "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
        "union", "unsigned", "void", "volatile", "while", "pow", "fabs"};
    size_t i;
    for (i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], name) == 0) return 1;
    return 0;
}

static int dp__text_occurs(const dp__tape *t, size_t symbol) {
    size_t i;
    for (i = 0; i < t->length; i++)
        if (t->token[i] == (size_t)DP_OPERATORS + symbol) return 1;
    return 0;
}

static void dp__text_function(dp__text *w) {
    size_t i, arguments = 0;
    dp__text_put(w, "double ");
    dp__text_put(w, w->v->name ? w->v->name : "formula");
    dp__text_put(w, "(");
    for (i = 0; i < w->v->symbol_count; i++) {
        if (w->v->symbols[i].kind == DP_FIXED || !dp__text_occurs(w->t, i)) continue;
        dp__text_put(w, arguments++ ? ", double " : "double ");
        dp__text_put(w, w->v->symbols[i].name);
    }
    dp__text_put(w, arguments ? ") { return " : "void) { return ");
    dp__text_node(w, 0, 0);
    dp__text_put(w, "; }");
}

static af_status dp__text_c_names(af_context *c, const dp_vocabulary *v, const dp__tape *t) {
    size_t i;
    for (i = 0; i < v->symbol_count; i++)
        if (dp__text_occurs(t, i) && v->symbols[i].kind != DP_FIXED &&
            dp__text_reserved(v->symbols[i].name))
            return af_fail(c, AF_ERROR_ARGUMENT,
                           "formula: symbol '%s' cannot be an argument of a function in C",
                           v->symbols[i].name);
    if (v->name && dp__text_reserved(v->name))
        return af_fail(c, AF_ERROR_ARGUMENT, "formula: '%s' cannot be a function in C", v->name);
    return AF_OK;
}

AF_API af_status dp_formula_text(af_context *c, const dp_vocabulary *v, const dp_formula *f,
                                 dp_text_style style, char *text, size_t size) {
    dp__tape t;
    dp__text w = DP__ZERO;
    size_t at;
    af_status s;
    if (size > 0) text[0] = '\0';
    s = dp_formula_check(c, v, f);
    if (s != AF_OK) return s;
    if ((int)style < 0 || style > DP_TEXT_C)
        return af_fail(c, AF_ERROR_ARGUMENT, "formula: style %d of its text is none", (int)style);
    dp__tape_open(&t, v, f, &at);
    if (style == DP_TEXT_C) s = dp__text_c_names(c, v, &t);
    if (s != AF_OK) return s;
    w.v = v;
    w.t = &t;
    w.style = style;
    w.to = text;
    w.size = size;
    if (style == DP_TEXT_C) dp__text_function(&w);
    else dp__text_node(&w, 0, 0);
    if (w.used < size) {
        text[w.used] = '\0';
        return AF_OK;
    }
    if (size > 0) text[0] = '\0';
    return af_fail(c, AF_ERROR_ARGUMENT, "formula: its text takes %lu characters with the end, "
                   "there is room for %lu", (unsigned long)w.used + 1, (unsigned long)size);
}

static void dp__formula_part_text(const dp_vocabulary *v, const dp__tape *t, size_t i, char *text,
                                  size_t size) {
    dp__text w = DP__ZERO;
    w.v = v;
    w.t = t;
    w.to = text;
    w.size = size;
    dp__text_node(&w, i, 0);
    text[w.used < size ? w.used : size - 1] = '\0';
}
