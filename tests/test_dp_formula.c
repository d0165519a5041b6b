/* Formulas: grammar, text, units, values, derivatives, fits. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#include "af_heap.h"

static heap memory;
static af_context *c;

/* The same text. */
#define CHECK_SAME(text, expected)                                                             \
    do {                                                                                       \
        if (strcmp((text), (expected)) != 0) {                                                 \
            test_broken++;                                                                     \
            printf("  %s:%d: '%s', expected '%s'\n", __FILE__, __LINE__, (text), (expected));  \
        }                                                                                      \
    } while (0)

static const char *const bases[3] = {"m", "s", "kg"};
static const char *const numbers[4] = {"1", "2", "0.5", "1.7"};

/* ---- vocabularies ---- */

static dp_symbol symbol(const char *name, dp_symbol_kind kind, double metres, double seconds,
                        double value) {
    dp_symbol s = DP__ZERO;
    s.name = name;
    s.kind = kind;
    s.units.power[0] = metres;
    s.units.power[1] = seconds;
    s.value = value;
    return s;
}

typedef struct words {
    dp_symbol symbols[12];
    dp_vocabulary v;
} words;

static void words_add(words *w, dp_symbol s) {
    w->symbols[w->v.symbol_count++] = s;
    w->v.symbols = w->symbols;
}

/* r [m], b [m], GM [m^3 s^-2], 1; the target is a potential. */
static void isochrone_words(words *w) {
    memset(w, 0, sizeof *w);
    words_add(w, symbol("r", DP_VARIABLE, 1, 0, 0));
    words_add(w, symbol("b", DP_FREE, 1, 0, 1));
    words_add(w, symbol("GM", DP_FREE, 3, -2, 1));
    words_add(w, symbol("1", DP_FIXED, 0, 0, 1));
    w->v.target.power[0] = 2;
    w->v.target.power[1] = -2;
    w->v.bases = bases;
    w->v.base_count = 3;
}

/* x, y, free a, k, specific e, numbers; all operators, no units. */
static void plain_words(words *w) {
    size_t i;
    memset(w, 0, sizeof *w);
    words_add(w, symbol("x", DP_VARIABLE, 0, 0, 0));
    words_add(w, symbol("y_1", DP_VARIABLE, 0, 0, 0));
    words_add(w, symbol("a", DP_FREE, 0, 0, 1));
    words_add(w, symbol("k", DP_FREE, 0, 0, 1));
    words_add(w, symbol("e0", DP_SPECIFIC, 0, 0, 1));
    for (i = 0; i < 4; i++)
        words_add(w, symbol(numbers[i], DP_FIXED, 0, 0, strtod(numbers[i], NULL)));
    words_add(w, symbol("sigma", DP_FIXED, 0, 0, -3.25));
    w->v.no_units = 1;
    w->v.operators = ((uint32_t)1 << DP_OPERATORS) - 1;
}

static dp_formula parse(const words *w, const char *text) {
    dp_formula f;
    if (dp_formula_parse(c, &w->v, text, &f) != AF_OK) {
        test_broken++;
        printf("  %s\n", af_error(c));
        af_error_clear(c);
    }
    return f;
}

/* Text in this style of what is parsed from `text`. */
static const char *styled(const words *w, const char *text, dp_text_style style) {
    static char out[600];
    dp_formula f = parse(w, text);
    CHECK(dp_formula_text(c, &w->v, &f, style, out, sizeof out) == AF_OK);
    return out;
}

/* Tokens as text. */
static const char *prefix(const words *w, const char *text) {
    static char out[400];
    dp_formula f = parse(w, text);
    size_t i;
    out[0] = '\0';
    for (i = 0; i < f.length; i++) {
        const dp_symbol *s = dp__formula_symbol(&w->v, f.token[i]);
        if (i) strcat(out, " ");
        strcat(out, s ? s->name : dp_operator_name(f.token[i]));
    }
    return out;
}

/* A random formula of at most 20 tokens; with_pow: pow may occur. */
static dp_formula random_formula(const words *w, uint64_t number, int with_pow) {
    dp_formula f = DP__ZERO;
    size_t open = 1;
    uint64_t draw = 0;
    while (open > 0) {
        double u = af_random_uniform(11, number, draw++), t = af_random_uniform(12, number, draw++);
        size_t token = (size_t)(t * (double)DP_OPERATORS);
        if (u < 0.35 || f.length + open + 2 > 20)
            token = (size_t)DP_OPERATORS + (size_t)(t * (double)w->v.symbol_count);
        else if (u < 0.7) token = (size_t)(t * 4.0);
        if (token == (size_t)DP_POW && !with_pow) continue;
        f.token[f.length++] = (uint8_t)token;
        open = open - 1 + dp_operator_arity(token);
    }
    return f;
}

static int same_bits(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

/* ---- grammar ---- */

TEST(formulas_that_are_not_whole) {
    words w;
    dp_formula f = DP__ZERO;
    isochrone_words(&w);
    CHECK_FAILS(dp_formula_check(c, &w.v, &f), AF_ERROR_ARGUMENT, "is empty");
    f.length = 2;
    f.token[0] = DP_ADD;
    f.token[1] = DP_OPERATORS;
    CHECK_FAILS(dp_formula_check(c, &w.v, &f), AF_ERROR_ARGUMENT, "ends before");
    f.token[0] = DP_OPERATORS;
    CHECK_FAILS(dp_formula_check(c, &w.v, &f), AF_ERROR_ARGUMENT, "after its end, at token 1");
    f.token[0] = DP_SIN;
    CHECK_FAILS(dp_formula_check(c, &w.v, &f), AF_ERROR_ARGUMENT, "'sin', is not among");
    f.token[0] = DP_SQRT;
    CHECK(dp_formula_check(c, &w.v, &f) == AF_OK);
    f.token[1] = DP_OPERATORS + 4;
    CHECK_FAILS(dp_formula_check(c, &w.v, &f), AF_ERROR_ARGUMENT, "no symbol");
    f.token[1] = 255;
    CHECK_FAILS(dp_formula_check(c, &w.v, &f), AF_ERROR_ARGUMENT, "no symbol");
    f.token[1] = DP_NEG;
    CHECK_FAILS(dp_formula_check(c, &w.v, &f), AF_ERROR_ARGUMENT, "ends before");
    CHECK(dp_formula_evaluate(&w.v, &f, 0, NULL, NULL, NULL) == AF_ERROR_ARGUMENT);
    CHECK(dp_formula_tangents(&w.v, &f, 0, NULL, NULL, NULL, NULL, NULL) == AF_ERROR_ARGUMENT);
    f.length = DP_FORMULA_MAX + 1;
    CHECK_FAILS(dp_formula_check(c, &w.v, &f), AF_ERROR_ARGUMENT, "too long");
}

static void bad_words(dp_symbol s, const char *sentence) {
    words w;
    isochrone_words(&w);
    words_add(&w, s);
    CHECK_FAILS(dp_vocabulary_check(c, &w.v), AF_ERROR_ARGUMENT, sentence);
}

TEST(bad_vocabularies) {
    words w;
    bad_words(symbol(NULL, DP_FREE, 0, 0, 1), "symbol 4 has no name");
    bad_words(symbol("", DP_FREE, 0, 0, 1), "called ''");
    bad_words(symbol("_x", DP_FREE, 0, 0, 1), "called '_x'");
    bad_words(symbol("x y", DP_FREE, 0, 0, 1), "called 'x y'");
    bad_words(symbol("2x", DP_FREE, 0, 0, 1), "called '2x'");
    bad_words(symbol("2", DP_FREE, 0, 0, 2), "must be of the kind DP_FIXED");
    bad_words(symbol("2", DP_FIXED, 0, 0, 1), "with this value");
    bad_words(symbol("2", DP_FIXED, 1, 0, 2), "without units");
    bad_words(symbol("1e999", DP_FIXED, 0, 0, 2), "with this value");
    bad_words(symbol("sin", DP_FREE, 0, 0, 1), "as a function is");
    bad_words(symbol("b", DP_FREE, 0, 0, 1), "symbols 1 and 4 are called 'b'");
    bad_words(symbol("q", (dp_symbol_kind)7, 0, 0, 1), "kind of 'q'");
    bad_words(symbol("q", DP_FREE, 0, 0, HUGE_VAL), "not finite");
    bad_words(symbol("q", DP_FREE, NAN, 0, 1), "units of 'q'");
    isochrone_words(&w);
    w.v.operators = (uint32_t)1 << DP_OPERATORS;
    CHECK_FAILS(dp_vocabulary_check(c, &w.v), AF_ERROR_ARGUMENT, "bits beyond");
    isochrone_words(&w);
    w.v.target.power[1] = 1e9;
    CHECK_FAILS(dp_vocabulary_check(c, &w.v), AF_ERROR_ARGUMENT, "target");
    isochrone_words(&w);
    w.v.symbol_count = 0;
    CHECK_FAILS(dp_vocabulary_check(c, &w.v), AF_ERROR_ARGUMENT, "0 symbols");
    isochrone_words(&w);
    w.v.name = "a-b";
    CHECK_FAILS(dp_vocabulary_check(c, &w.v), AF_ERROR_ARGUMENT, "'a-b'");
}

TEST(text_to_tokens) {
    words w;
    isochrone_words(&w);
    CHECK_SAME(prefix(&w, "-GM / (b + sqrt(b^2 + r^2))"),
               "/ neg GM + b sqrt + square b square r");
    CHECK_SAME(prefix(&w, "r - b - r*b/r"), "- - r b / * r b r");
    CHECK_SAME(prefix(&w, "-r^2"), "neg square r");
    CHECK_SAME(prefix(&w, "r**2*b"), "* square r b");
    CHECK_SAME(prefix(&w, "1/r"), "inv r");
    CHECK_SAME(prefix(&w, "-1/r^2"), "neg inv square r");
    CHECK_SAME(prefix(&w, "b*(1/r)"), "* b inv r");
    CHECK_SAME(prefix(&w, "r^-1 + r^(-1/2)"), "+ inv r inv sqrt r");
    CHECK_SAME(prefix(&w, "r^4"), "square square r");
    CHECK_SAME(prefix(&w, "r^1.5"), "* sqrt r square sqrt r");
    CHECK_SAME(prefix(&w, "2*r"), "* + 1 1 r");
    CHECK_SAME(prefix(&w, "4 - 5"), "- square + 1 1 + 1 square + 1 1");
    CHECK_SAME(prefix(&w, "ln(r/b) - - b"), "- log / r b neg b");
    w.v.operators = ((uint32_t)1 << DP_OPERATORS) - 1;
    CHECK_SAME(prefix(&w, "r^3"), "cube r");
    CHECK_SAME(prefix(&w, "r^b^1"), "^ r b");
    CHECK_SAME(prefix(&w, "arcsin(abs(r))"), "asin abs r");
    w.v.operators = 1u << DP_ADD | 1u << DP_NEG | 1u << DP_MUL | 1u << DP_INV;
    CHECK_SAME(prefix(&w, "r - b/r"), "+ r neg * b inv r");
    CHECK_SAME(prefix(&w, "r^2"), "* r r");
    CHECK_SAME(prefix(&w, "(r+b)^3"), "* + r b * + r b + r b");
    plain_words(&w);
    CHECK_SAME(prefix(&w, "x^1.7"), "^ x 1.7");
    CHECK_SAME(prefix(&w, "x^0.5 + 2.0 + 1.7e0"), "+ + sqrt x 2 1.7");
    CHECK_SAME(prefix(&w, "sigma*y_1"), "* sigma y_1");
}

TEST(text_that_cannot_be_read) {
    static const char *const bad[][2] = {
        {"", "character 1: it ends where"}, {"r +", "character 4: it ends"},
        {"r b", "character 3: this does not continue it"}, {"(r", "character 3: ')' is missing"},
        {"r)", "character 2: ')' without '('"}, {"r + q", "character 5: 'q' is neither"},
        {"q", "symbols are r, b, GM, 1"}, {"sin(r)", "character 1: 'sin' is not among"},
        {"sqrt r", "character 6: a function needs '('"}, {"r * 0.3", "character 5: 0.3 is no"},
        {"r^0.3", "character 2: a power must be"}, {"r^0", "character 2: a power"},
        {"r^b", "character 2: '^' is not among"}, {"r^(1/0)", "a power"}, {"1e999", "inf is no"},
        {"r # b", "character 3"}, {"101*r", "101 is no"}};
    words w;
    dp_formula f;
    char deep[600], longer[300];
    size_t i;
    isochrone_words(&w);
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_FAILS(dp_formula_parse(c, &w.v, bad[i][0], &f), AF_ERROR_ARGUMENT, bad[i][1]);
        CHECK(f.length == 0);
    }
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    CHECK_FAILS(dp_formula_parse(c, &w.v, deep, &f), AF_ERROR_ARGUMENT, "parentheses");
    memset(deep, '-', sizeof deep - 1);
    CHECK_FAILS(dp_formula_parse(c, &w.v, deep, &f), AF_ERROR_ARGUMENT, "signs");
    longer[0] = '\0';
    for (i = 0; i < 24; i++) strcat(longer, "r + ");
    strcat(longer, "r");
    CHECK_FAILS(dp_formula_parse(c, &w.v, longer, &f), AF_ERROR_ARGUMENT, "longer than 48");
    longer[strlen(longer) - 4] = '\0';
    CHECK(dp_formula_parse(c, &w.v, longer, &f) == AF_OK && f.length == 47);
}

/* ---- text ---- */

TEST(text_in_three_styles) {
    words w;
    isochrone_words(&w);
    CHECK_SAME(styled(&w, "(-GM) / ((b) + sqrt(((b^2)) + r^2))", DP_TEXT_PLAIN),
               "-GM/(b + sqrt(b^2 + r^2))");
    CHECK_SAME(styled(&w, "-GM / (b + sqrt(b^2 + r^2))", DP_TEXT_LATEX),
               "-\\frac{\\mathrm{GM}}{b + \\sqrt{b^{2} + r^{2}}}");
    CHECK_SAME(styled(&w, "-GM / (b + sqrt(b^2 + r^2))", DP_TEXT_C),
               "double formula(double r, double b, double GM) { return -GM/(b + sqrt(b*b + r*r)); "
               "}");
    CHECK_SAME(styled(&w, "r - (b - r) + (b + r)", DP_TEXT_PLAIN), "r - (b - r) + (b + r)");
    CHECK_SAME(styled(&w, "r - (b - r) + (b + r)", DP_TEXT_LATEX),
               "r - \\left(b - r\\right) + b + r");
    CHECK_SAME(styled(&w, "r*(b*(r/b))/(r*b)", DP_TEXT_PLAIN), "r*(b*(r/b))/(r*b)");
    CHECK_SAME(styled(&w, "r*(b*(r/b))/(r*b)", DP_TEXT_LATEX),
               "\\frac{r \\, b \\, \\frac{r}{b}}{r \\, b}");
    CHECK_SAME(styled(&w, "r + -b*r - -b", DP_TEXT_PLAIN), "r - b*r + b");
    CHECK_SAME(styled(&w, "-(-b) - (-(r + b))", DP_TEXT_PLAIN), "-(-b) + (r + b)");
    CHECK_SAME(styled(&w, "(-b)^2*(-r)", DP_TEXT_PLAIN), "(-b)^2*(-r)");
    CHECK_SAME(styled(&w, "(r + b)^2/r^2", DP_TEXT_C),
               "double formula(double r, double b) { return pow(r + b, 2.0)/(r*r); }");
    CHECK_SAME(styled(&w, "1/r*(1/b) - 1/b", DP_TEXT_PLAIN), "1/r*(1/b) - 1/b");
    CHECK_SAME(styled(&w, "1 + 1", DP_TEXT_C), "double formula(void) { return 1.0 + 1.0; }");
    plain_words(&w);
    CHECK_SAME(styled(&w, "sigma*abs(x)^k^(-a)", DP_TEXT_C),
               "double formula(double x, double a, double k) { return (-3.25)*pow(fabs(x), pow(k, "
               "-a)); }");
    CHECK_SAME(styled(&w, "sigma*abs(x)^k^(-a)", DP_TEXT_LATEX),
               "\\sigma \\, \\left(\\left|x\\right|\\right)^{k^{-a}}");
    CHECK_SAME(styled(&w, "x^k^(-a) + (x^k)^a", DP_TEXT_PLAIN), "x^(k^(-a)) + (x^k)^a");
    CHECK_SAME(styled(&w, "asin(y_1)*2*1.7", DP_TEXT_LATEX),
               "\\arcsin\\left(y_{1}\\right) \\cdot 2 \\cdot 1.7");
    w.v.name = "phi";
    CHECK_TEXT(styled(&w, "x", DP_TEXT_C), "double phi(double x)");
}

TEST(names_in_latex) {
    static const char *const names[][2] = {
        {"sigma_0", "\\sigma_{0}"}, {"v_max", "v_{\\mathrm{max}}"}, {"x12", "x_{12}"},
        {"Omega", "\\Omega"}, {"GM_b_phi", "\\mathrm{GM}_{b,\\phi}"}, {"v_", "v"}};
    words w;
    char text[100];
    dp_formula f = DP__ZERO;
    size_t i;
    f.length = 1;
    f.token[0] = DP_OPERATORS;
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        memset(&w, 0, sizeof w);
        words_add(&w, symbol(names[i][0], DP_FREE, 0, 0, 1));
        CHECK(dp_formula_text(c, &w.v, &f, DP_TEXT_LATEX, text, sizeof text) == AF_OK);
        CHECK_SAME(text, names[i][1]);
    }
    w.symbols[0] = symbol("1.5e+3", DP_FIXED, 0, 0, 1500);
    CHECK(dp_formula_text(c, &w.v, &f, DP_TEXT_LATEX, text, sizeof text) == AF_OK);
    CHECK_SAME(text, "1.5 \\times 10^{3}");
    w.symbols[0] = symbol("double", DP_FREE, 0, 0, 1);
    CHECK_FAILS(dp_formula_text(c, &w.v, &f, DP_TEXT_C, text, sizeof text), AF_ERROR_ARGUMENT,
                "'double' cannot be an argument");
    CHECK_FAILS(dp_formula_text(c, &w.v, &f, (dp_text_style)9, text, 4), AF_ERROR_ARGUMENT,
                "style 9");
}

TEST(text_that_has_no_room) {
    words w;
    dp_formula f;
    char text[200], whole[200];
    int style;
    size_t size, length;
    isochrone_words(&w);
    f = parse(&w, "-GM / (b + sqrt(b^2 + r^2))");
    for (style = 0; style <= (int)DP_TEXT_C; style++) {
        CHECK(dp_formula_text(c, &w.v, &f, (dp_text_style)style, whole, sizeof whole) == AF_OK);
        length = strlen(whole);
        for (size = 0; size <= length + 1; size++) {
            af_status s;
            memset(text, '#', sizeof text);
            s = dp_formula_text(c, &w.v, &f, (dp_text_style)style, text, size);
            CHECK(s == (size > length ? AF_OK : AF_ERROR_ARGUMENT));
            CHECK(text[size] == '#');
            if (s == AF_OK) CHECK_SAME(text, whole);
            else CHECK(size == 0 || text[0] == '\0');
            af_error_clear(c);
        }
    }
}

/* What is written and read again does the same operations in the same order, to the bit. */
TEST(text_reads_back_to_the_same_bits) {
    enum { ROWS = 7 };
    words w;
    double x[ROWS], y[ROWS], constants[3] = {0.7, -1.3, 2.2}, one[ROWS], other[ROWS];
    const double *columns[2];
    size_t i, k;
    int finite = 0;
    columns[0] = x;
    columns[1] = y;
    for (k = 0; k < ROWS; k++) {
        x[k] = af_random_normal(5, 0, k);
        y[k] = exp(af_random_normal(5, 1, k));
    }
    plain_words(&w);
    for (i = 0; i < 4000; i++) {
        dp_formula f = random_formula(&w, i, i % 2 == 1), back;
        char text[600] = "";
        CHECK(dp_formula_text(c, &w.v, &f, DP_TEXT_PLAIN, text, sizeof text) == AF_OK);
        CHECK(dp_formula_parse(c, &w.v, text, &back) == AF_OK);
        if (back.length > f.length || back.length == 0) {
            test_broken++;
            printf("  %s: %s\n", text, af_error(c));
            af_error_clear(c);
            continue;
        }
        CHECK(dp_formula_evaluate(&w.v, &f, ROWS, columns, constants, one) == AF_OK);
        CHECK(dp_formula_evaluate(&w.v, &back, ROWS, columns, constants, other) == AF_OK);
        for (k = 0; k < ROWS; k++) {
            finite += dp__is_finite(one[k]);
            /* pow rounds to the last bit but one, square and sqrt to the last */
            if (same_bits(one[k], other[k])) continue;
            if (i % 2 == 1 && fabs(one[k] - other[k]) <= 1e-9 * fabs(one[k])) continue;
            test_broken++;
            printf("  %s is %.17g, then %.17g\n", text, one[k], other[k]);
        }
    }
    CHECK(finite > 10000);
}

/* ---- tidied ---- */

static const char *tidied(const words *w, const char *text) {
    static char out[600];
    dp_formula f = parse(w, text);
    dp_formula_tidy(&w->v, &f);
    CHECK(dp_formula_text(c, &w->v, &f, DP_TEXT_PLAIN, out, sizeof out) == AF_OK);
    return out;
}

TEST(text_as_people_write_it) {
    words w;
    dp_formula f = DP__ZERO;
    isochrone_words(&w);
    CHECK_SAME(tidied(&w, "GM*(log(r/b + 1)/r)"), "GM*log(1 + r/b)/r");
    CHECK_SAME(tidied(&w, "-(GM*(1/(sqrt(r^2 + b^2) + b)))"), "-GM/(b + sqrt(b^2 + r^2))");
    CHECK_SAME(tidied(&w, "GM/exp(b/r)/b"), "GM/(b*exp(b/r))");
    CHECK_SAME(tidied(&w, "GM/sqrt(r^2 + sqrt(b^2 + r^2)^2)"), "GM/sqrt(b^2 + r^2 + r^2)");
    CHECK_SAME(tidied(&w, "-b + r"), "r - b");
    CHECK_SAME(tidied(&w, "-b - r"), "-(b + r)");
    CHECK_SAME(tidied(&w, "r - (b - r)"), "r - b + r");
    CHECK_SAME(tidied(&w, "1*GM/r"), "GM/r");
    CHECK_SAME(tidied(&w, "GM/1/(r*1)"), "GM/r");
    CHECK_SAME(tidied(&w, "1/1"), "1");
    CHECK_SAME(tidied(&w, "-GM/-r"), "GM/r");
    dp_formula_tidy(&w.v, &f); /* not whole: as they were */
    CHECK(f.length == 0);
    f.token[0] = DP_ADD;
    f.length = 1;
    dp_formula_tidy(&w.v, &f);
    CHECK(f.length == 1 && f.token[0] == DP_ADD);
}

/* Tidied formulas are no longer, stay as they are when tidied again, and are equal; where terms
 * cancel, to rounding of the largest: most are, to 1e-9. */
TEST(tidied_formulas_are_equal) {
    enum { ROWS = 7 };
    words w;
    double x[ROWS], y[ROWS], constants[3] = {0.7, -1.3, 2.2}, one[ROWS], other[ROWS];
    const double *columns[2];
    size_t i, k, finite = 0, off = 0, changed = 0;
    columns[0] = x;
    columns[1] = y;
    for (k = 0; k < ROWS; k++) {
        x[k] = af_random_normal(5, 0, k);
        y[k] = exp(af_random_normal(5, 1, k));
    }
    plain_words(&w);
    for (i = 0; i < 4000; i++) {
        dp_formula f = random_formula(&w, i, i % 2 == 1), tidy = f, again;
        dp_formula_tidy(&w.v, &tidy);
        again = tidy;
        dp_formula_tidy(&w.v, &again);
        CHECK(dp_formula_check(c, &w.v, &tidy) == AF_OK && tidy.length <= f.length);
        CHECK(again.length == tidy.length &&
              memcmp(again.token, tidy.token, tidy.length) == 0);
        changed += tidy.length != f.length || memcmp(tidy.token, f.token, f.length) != 0;
        CHECK(dp_formula_evaluate(&w.v, &f, ROWS, columns, constants, one) == AF_OK);
        CHECK(dp_formula_evaluate(&w.v, &tidy, ROWS, columns, constants, other) == AF_OK);
        for (k = 0; k < ROWS; k++) {
            if (!dp__is_finite(one[k])) continue;
            finite++;
            off += !(fabs(one[k] - other[k]) <= 1e-9 * fabs(one[k]));
        }
    }
    CHECK(finite > 10000 && changed > 1000);
    CHECK(off * 1000 < finite);
}

/* ---- units ---- */

TEST(units_from_text) {
    static const struct {
        const char *text;
        double m, s, kg;
    } rows[] = {{"m s^-1", 1, -1, 0}, {"m/s", 1, -1, 0}, {"1", 0, 0, 0}, {"m^2 s^-2", 2, -2, 0},
                {"kg/m/s**2", -1, -2, 1}, {"m2 s-2", 2, -2, 0}, {"m^0.5*s", 0.5, 1, 0},
                {"m^(1/3)", 1.0 / 3.0, 0, 0}, {"kg/(m s^2)", -1, -2, 1}, {"1/s", 0, -1, 0},
                {"(m/s)^2", 2, -2, 0}, {" m . s ", 1, 1, 0}, {"m/s kg", 1, -1, 1},
                {"m m", 2, 0, 0}};
    static const char *const bad[][2] = {
        {"", "character 1: a unit is missing"}, {"km", "character 1: no base unit; there are m, s"},
        {"m/", "no base unit"}, {"m^x", "character 3: an exponent"}, {"(m", "')' is missing"},
        {"m)", "')' without"}, {"m^(1/0)", "not zero below"}, {"m^(1/2", "')' is missing"},
        {"m^101", "beyond 100"}, {"((((((((((((((((((m", "parentheses"}, {"m//s", "no base unit"}};
    dp_units u, expected;
    char text[60];
    size_t i;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(&expected, 0, sizeof expected);
        expected.power[0] = rows[i].m;
        expected.power[1] = rows[i].s;
        expected.power[2] = rows[i].kg;
        CHECK(dp_units_parse(c, rows[i].text, bases, 3, &u) == AF_OK);
        CHECK(dp_units_equal(&u, &expected));
        dp_units_text(&u, bases, 3, text, sizeof text);
        CHECK(dp_units_parse(c, text, bases, 3, &u) == AF_OK);
        CHECK(dp_units_equal(&u, &expected));
    }
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_FAILS(dp_units_parse(c, bad[i][0], bases, 3, &u), AF_ERROR_ARGUMENT, bad[i][1]);
    memset(&u, 0, sizeof u);
    u.power[0] = 1.0;
    u.power[1] = -0.5;
    dp_units_text(&u, NULL, 0, text, sizeof text);
    CHECK_SAME(text, "u1 u2^-0.5");
    dp_units_text(&u, bases, 1, text, 5);
    CHECK_SAME(text, "m u2");
}

static void units_are(const words *w, const char *text, double m, double s) {
    dp_formula f = parse(w, text);
    dp_units u, expected = DP__ZERO;
    expected.power[0] = m;
    expected.power[1] = s;
    CHECK(dp_formula_units(c, &w->v, &f, &u, NULL) == AF_OK);
    if (!dp_units_equal(&u, &expected)) printf("  %s\n", text);
    CHECK(dp_units_equal(&u, &expected));
}

TEST(units_of_formulas) {
    words w;
    dp_formula f;
    dp_units u;
    size_t token;
    isochrone_words(&w);
    words_add(&w, symbol("third", DP_FIXED, 0, 0, 1.0 / 3.0));
    w.v.operators = ((uint32_t)1 << DP_OPERATORS) - 1;
    units_are(&w, "-GM / (b + sqrt(b^2 + r^2))", 2, -2);
    units_are(&w, "r*sqrt(GM/b)*r^third", 7.0 / 3.0, -1);
    units_are(&w, "exp(-r/b)^(r/b) + sin(1)", 0, 0);
    units_are(&w, "1/GM*r^3", 0, 2);
    f = parse(&w, "GM/b");
    CHECK(dp_formula_units(c, &w.v, &f, NULL, NULL) == AF_OK);
    f = parse(&w, "GM*b");
    CHECK_FAILS(dp_formula_units(c, &w.v, &f, NULL, NULL), AF_ERROR_DATA,
                "its units are m^4 s^-2, the target's are m^2 s^-2");
    f = parse(&w, "GM/(b + r^2)");
    CHECK_FAILS(dp_formula_units(c, &w.v, &f, &u, &token), AF_ERROR_DATA,
                "token 2, in b + r^2: units of the two sides differ: b [m] and r^2 [m^2]");
    CHECK(token == 2);
    f = parse(&w, "GM*exp(-r)");
    CHECK_FAILS(dp_formula_units(c, &w.v, &f, &u, &token), AF_ERROR_DATA, "-r [m]");
    CHECK(token == 2);
    f = parse(&w, "r^(1 + 1 + 1)");
    CHECK_FAILS(dp_formula_units(c, &w.v, &f, &u, &token), AF_ERROR_DATA, "no fixed number");
    f = parse(&w, "third^r");
    CHECK_FAILS(dp_formula_units(c, &w.v, &f, &u, &token), AF_ERROR_DATA, "exponent has units");
    w.v.no_units = 1;
    CHECK(dp_formula_units(c, &w.v, &f, NULL, NULL) == AF_OK);
}

/* All expressions of up to 6 tokens: units of each, fewest tokens. */
typedef struct brute {
    const words *w;
    dp_formula f;
    const dp_reach *reach;
    size_t formulas, best[2 * 41][2 * 41]; /* (metres, seconds) in halves, from -20 */
} brute;

/* No part of it has powers beyond 6. */
static int brute_small(const brute *b) {
    dp__tape t;
    dp_units u;
    size_t i, at;
    dp__tape_open(&t, &b->w->v, &b->f, &at);
    for (i = 0; i < b->f.length; i++) {
        dp_formula part = DP__ZERO;
        part.length = t.end[i] - i;
        memcpy(part.token, b->f.token + i, part.length);
        CHECK(dp_formula_units(c, &b->w->v, &part, &u, NULL) == AF_OK);
        if (fabs(u.power[0]) > 6.0 || fabs(u.power[1]) > 6.0) return 0;
    }
    return 1;
}

static void brute_visit(brute *b) {
    dp_units u;
    size_t i, k;
    if (dp_formula_units(c, &b->w->v, &b->f, &u, NULL) != AF_OK) {
        af_error_clear(c);
        return;
    }
    b->formulas++;
    if (!brute_small(b)) return;
    if (floor(2.0 * u.power[0]) != 2.0 * u.power[0]) return;
    if (floor(2.0 * u.power[1]) != 2.0 * u.power[1]) return;
    i = (size_t)(2.0 * u.power[0] + 20.0);
    k = (size_t)(2.0 * u.power[1] + 20.0);
    if (!b->best[i][k] || b->f.length < b->best[i][k]) b->best[i][k] = b->f.length;
    CHECK(dp_reach_tokens(b->reach, &u) >= 1 && dp_reach_tokens(b->reach, &u) <= b->f.length);
}

static void brute_grow(brute *b, size_t open, size_t most) {
    size_t token;
    if (open == 0) {
        brute_visit(b);
        return;
    }
    for (token = 0; token < (size_t)DP_OPERATORS + b->w->v.symbol_count; token++) {
        size_t arity = dp_operator_arity(token);
        if (token < (size_t)DP_OPERATORS &&
            !dp__operator_allowed(&b->w->v, (dp_operator)token))
            continue;
        if (b->f.length + open + arity > most) continue;
        b->f.token[b->f.length++] = (uint8_t)token;
        brute_grow(b, open - 1 + arity, most);
        b->f.length--;
    }
}

TEST(reach_agrees_with_all_expressions) {
    static brute b;
    words w;
    dp_reach *reach;
    size_t i, tokens, found = 0;
    isochrone_words(&w);
    w.v.operators = 1u << DP_MUL | 1u << DP_DIV | 1u << DP_SQRT | 1u << DP_INV | 1u << DP_ADD |
                    1u << DP_CUBE;
    CHECK(dp_reach_create(c, &w.v, 6, &reach) == AF_OK);
    b.w = &w;
    b.reach = reach;
    brute_grow(&b, 1, 6);
    CHECK(b.formulas > 10000);
    for (i = 0; i < dp_reach_count(reach); i++) {
        dp_units u;
        dp_reach_entry(reach, i, &u, &tokens);
        CHECK(tokens == dp_reach_tokens(reach, &u));
        if (floor(2.0 * u.power[0]) != 2.0 * u.power[0]) continue;
        if (floor(2.0 * u.power[1]) != 2.0 * u.power[1]) continue;
        CHECK(tokens == b.best[(size_t)(2.0 * u.power[0] + 20)][(size_t)(2.0 * u.power[1] + 20)]);
        found++;
    }
    CHECK(found > 50);
    dp_reach_destroy(reach);
}

TEST(targets_out_of_reach) {
    words w;
    dp_reach *reach;
    isochrone_words(&w);
    CHECK(dp_reach_create(c, &w.v, 0, &reach) == AF_OK);
    CHECK(dp_reach_check(c, reach) == AF_OK);
    CHECK(dp_reach_tokens(reach, &w.v.target) == 3); /* GM/b */
    dp_reach_destroy(reach);
    w.v.symbol_count = 2;
    CHECK(dp_reach_create(c, &w.v, 30, &reach) == AF_OK);
    CHECK_FAILS(dp_reach_check(c, reach), AF_ERROR_DATA,
                "no expression of up to 30 tokens of r [m], b [m] has the units m^2 s^-2: give a "
                "constant that has s in it");
    dp_reach_destroy(reach);
    words_add(&w, symbol("v", DP_FREE, 1, -1, 1));
    w.symbols[0].units.power[1] = w.symbols[1].units.power[1] = -1;
    w.v.target.power[1] = 1;
    CHECK(dp_reach_create(c, &w.v, 20, &reach) == AF_OK);
    CHECK_FAILS(dp_reach_check(c, reach), AF_ERROR_DATA, "no product of powers");
    dp_reach_destroy(reach);
    isochrone_words(&w);
    CHECK(dp_reach_create(c, &w.v, 2, &reach) == AF_OK);
    CHECK_FAILS(dp_reach_check(c, reach), AF_ERROR_DATA, "allow more tokens");
    dp_reach_destroy(reach);
    w.v.no_units = 1;
    CHECK(dp_reach_create(c, &w.v, 2, &reach) == AF_OK);
    CHECK(dp_reach_check(c, reach) == AF_OK && dp_reach_tokens(reach, &w.v.target) == 1);
    dp_reach_destroy(reach);
    CHECK_FAILS(dp_reach_create(c, &w.v, 49, &reach), AF_ERROR_ARGUMENT, "49 tokens");
    CHECK(reach == NULL);
    dp_reach_destroy(NULL);
}

/* ---- values ---- */

/* What the formulas of values_of_every_operator are, at a row. */
static void values_expected(double x, double y, double out[24]) {
    double values[24];
    values[0] = x + y;
    values[1] = x - y;
    values[2] = x * y;
    values[3] = x / y;
    values[4] = pow(fabs(x), y);
    values[5] = -x;
    values[6] = 1.0 / x;
    values[7] = x * x;
    values[8] = x * x * x;
    values[9] = sqrt(y);
    values[10] = exp(x);
    values[11] = log(y);
    values[12] = sin(x);
    values[13] = cos(x);
    values[14] = tan(x);
    values[15] = asin(x / 9.0);
    values[16] = acos(x / 9.0);
    values[17] = atan(x);
    values[18] = sinh(x);
    values[19] = cosh(x);
    values[20] = tanh(x);
    values[21] = fabs(x);
    values[22] = -3.25 * 0.7 + -1.3 * 2.2;
    values[23] = sqrt(x);
    memcpy(out, values, sizeof values);
}

TEST(values_of_every_operator) {
    static const char *const text[24] = {
        "x + y_1", "x - y_1", "x*y_1", "x/y_1", "abs(x)^y_1", "-x", "1/x", "x^2", "x^3",
        "sqrt(y_1)", "exp(x)", "log(y_1)", "sin(x)", "cos(x)", "tan(x)", "asin(x/9)", "acos(x/9)",
        "atan(x)", "sinh(x)", "cosh(x)", "tanh(x)", "abs(x)", "sigma*a + k*e0", "sqrt(x)"};
    enum { ROWS = 200 };
    static const size_t sizes[] = {0, 1, 63, 64, 65, 200};
    words w;
    double x[ROWS], y[ROWS], out[ROWS + 1], constants[3] = {0.7, -1.3, 2.2}, expected[24];
    const double *columns[2];
    size_t i, k, size;
    plain_words(&w);
    columns[0] = x;
    columns[1] = y;
    for (k = 0; k < ROWS; k++) {
        x[k] = 2.0 * af_random_normal(5, 0, k);
        y[k] = exp(af_random_normal(5, 1, k));
    }
    for (i = 0; i < 24; i++)
        for (size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
            dp_formula f = parse(&w, text[i]);
            out[sizes[size]] = 1234.5;
            CHECK(dp_formula_evaluate(&w.v, &f, sizes[size], columns, constants, out) == AF_OK);
            CHECK(out[sizes[size]] == 1234.5);
            for (k = 0; k < sizes[size]; k++) {
                values_expected(x[k], y[k], expected);
                CHECK(same_bits(out[k], expected[i]) || fabs(out[k] - expected[i]) <= 1e-13);
            }
        }
}

/* Each slope against central differences, where these converge. */
static double difference(const words *w, const dp_formula *f, double *number,
                         const double *const *columns, const double *constants, size_t row,
                         double step) {
    double keep = *number, high, low, out[8];
    *number = keep + step;
    CHECK(dp_formula_evaluate(&w->v, f, 8, columns, constants, out) == AF_OK);
    high = out[row];
    *number = keep - step;
    CHECK(dp_formula_evaluate(&w->v, f, 8, columns, constants, out) == AF_OK);
    low = out[row];
    *number = keep;
    return (high - low) / (2.0 * step);
}

TEST(slopes_are_differences) {
    enum { ROWS = 8 };
    words w;
    double x[ROWS], y[ROWS], constants[3] = {0.7, 1.3, 2.2}, out[ROWS], again[ROWS];
    double by_constants[3][ROWS], by_variables[2][ROWS];
    const double *columns[2];
    size_t i, k, row, checked = 0;
    plain_words(&w);
    columns[0] = x;
    columns[1] = y;
    for (k = 0; k < ROWS; k++) {
        x[k] = 0.3 + af_random_uniform(5, 0, k);
        y[k] = exp(0.5 * af_random_normal(5, 1, k));
    }
    for (i = 0; i < 1500; i++) {
        dp_formula f = random_formula(&w, i, 1);
        CHECK(dp_formula_tangents(&w.v, &f, ROWS, columns, constants, out, by_constants[0],
                                  by_variables[0]) == AF_OK);
        CHECK(dp_formula_evaluate(&w.v, &f, ROWS, columns, constants, again) == AF_OK);
        for (k = 0; k < 5; k++) {
            row = (size_t)(i + k) % ROWS;
            {
                double *number = k < 3 ? constants + k : (k == 3 ? x : y) + row;
                double slope = k < 3 ? by_constants[k][row] : by_variables[k - 3][row];
                double d = difference(&w, &f, number, columns, constants, row, 1e-4);
                double finer = difference(&w, &f, number, columns, constants, row, 5e-5);
                CHECK(same_bits(out[row], again[row]));
                if (!dp__is_finite(d) || fabs(out[row]) > 1e6) continue;
                if (fabs(d - finer) > 1e-6 * (1.0 + fabs(d))) continue;
                if (dp__is_finite(slope) && fabs(slope - finer) > 1e-5 * (1.0 + fabs(d))) {
                    char text[600];
                    dp_formula_text(c, &w.v, &f, DP_TEXT_PLAIN, text, sizeof text);
                    test_broken++;
                    printf("  %s: %g, expected %g\n", text, slope, finer);
                }
                checked += slope != 0.0;
            }
        }
    }
    CHECK(checked > 1500);
}

/* ---- fits ---- */

enum { POINTS = 100 };

typedef struct problem {
    words w;
    double x[POINTS], y[POINTS], weights[POINTS];
    const double *columns[1];
    dp_data_set set;
} problem;

static void problem_close(problem *p) {
    p->columns[0] = p->x;
    p->set.n = POINTS;
    p->set.columns = p->columns;
    p->set.y = p->y;
}

/* GM = 2, b = 0.7. */
static void isochrone_problem(problem *p, double noise) {
    size_t i;
    memset(p, 0, sizeof *p);
    isochrone_words(&p->w);
    for (i = 0; i < POINTS; i++) {
        p->x[i] = 0.05 + 7.95 * af_random_uniform(1, 0, i);
        p->y[i] = -2.0 / (0.7 + sqrt(0.49 + p->x[i] * p->x[i]));
        p->y[i] *= 1.0 + noise * af_random_normal(1, 1, i);
    }
    problem_close(p);
}

TEST(the_isochrone_from_far_starts) {
    static const double starts[][2] = {{1, 1}, {1e-3, 1e3}, {1e3, -5}, {0.01, 1e-9}, {40, 0}};
    problem p;
    dp_formula f;
    size_t i;
    isochrone_problem(&p, 0.0);
    f = parse(&p.w, "-GM / (b + sqrt(b^2 + r^2))");
    for (i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        dp_fitter_desc d = DP__ZERO;
        dp_fit_report r;
        double constants[2];
        d.start = starts[i];
        CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, &d, constants, &r) == AF_OK);
        CHECK_CLOSE(constants[0], 0.7, 1e-9);
        CHECK_CLOSE(constants[1], 2.0, 1e-9);
        CHECK(r.nrmse < 1e-10 && r.converged);
        CHECK(r.chi2 < 1e-16);
    }
}

/* At the least squares of noisy data every change of a constant is for the worse, and chi^2 is what
 * the noise leaves. */
TEST(the_least_squares_of_noisy_data) {
    problem p;
    dp_formula f;
    dp_fit_report r, moved;
    double constants[2], out[POINTS], tried[2], chi2;
    size_t i, k, step;
    isochrone_problem(&p, 0.01);
    for (i = 0; i < POINTS; i++) p.weights[i] = 1.0 / (1e-4 * p.y[i] * p.y[i]);
    p.set.weights = p.weights;
    f = parse(&p.w, "-GM / (b + sqrt(b^2 + r^2))");
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, &r) == AF_OK);
    CHECK(r.converged && r.chi2 > 60.0 && r.chi2 < 150.0); /* 98 +- 14 */
    CHECK_CLOSE(constants[0], 0.7, 0.02);
    for (k = 0; k < 2; k++)
        for (step = 0; step < 2; step++) {
            memcpy(tried, constants, sizeof tried);
            tried[k] *= step ? 1.0 + 1e-5 : 1.0 - 1e-5;
            CHECK(dp_formula_evaluate(&p.w.v, &f, POINTS, p.columns, tried, out) == AF_OK);
            for (chi2 = 0.0, i = 0; i < POINTS; i++)
                chi2 += p.weights[i] * (p.y[i] - out[i]) * (p.y[i] - out[i]);
            CHECK(chi2 > r.chi2);
        }
    for (i = 0; i < POINTS; i++) p.weights[i] *= 7.0; /* weights are relative for the constants */
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, tried, &moved) == AF_OK);
    CHECK_CLOSE(tried[0], constants[0], 1e-7);
    CHECK_CLOSE(moved.chi2, 7.0 * r.chi2, 1e-9);
    CHECK_CLOSE(moved.nrmse, r.nrmse, 1e-9);
}

/* A straight line, against its closed form; and the definition of the error. */
TEST(a_line_and_its_error) {
    problem p;
    dp_formula f;
    dp_fit_report r;
    double constants[2], sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0, n = POINTS, slope, rest = 0;
    size_t i;
    memset(&p, 0, sizeof p);
    plain_words(&p.w);
    p.w.symbols[1] = symbol("q", DP_FIXED, 0, 0, 2); /* one column */
    p.w.symbols[4] = symbol("e0", DP_FIXED, 0, 0, 2);
    for (i = 0; i < POINTS; i++) {
        p.x[i] = af_random_normal(2, 0, i);
        p.y[i] = 3.0 - 0.5 * p.x[i] + af_random_normal(2, 1, i);
        sx += p.x[i];
        sy += p.y[i];
        sxx += p.x[i] * p.x[i];
        sxy += p.x[i] * p.y[i];
        syy += p.y[i] * p.y[i];
    }
    problem_close(&p);
    slope = (sxy - sx * sy / n) / (sxx - sx * sx / n);
    for (i = 0; i < POINTS; i++) {
        double d = p.y[i] - sy / n - slope * (p.x[i] - sx / n);
        rest += d * d;
    }
    f = parse(&p.w, "a*x - k");
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, &r) == AF_OK);
    CHECK_CLOSE(constants[0], slope, 1e-12);
    CHECK_CLOSE(constants[1], slope * sx / n - sy / n, 1e-12);
    CHECK_CLOSE(r.chi2, rest, 1e-12);
    CHECK_CLOSE(r.nrmse, sqrt(rest / (syy - sy * sy / n)), 1e-12);
    CHECK(r.starts == 1 && r.iterations <= 1);
    f = parse(&p.w, "a*x/(k*q)"); /* one constant too many: any pair with that ratio */
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, &r) == AF_OK);
    CHECK_CLOSE(constants[0] / (2.0 * constants[1]), sxy / sxx, 1e-9);
    f = parse(&p.w, "x + 1.7"); /* none */
    constants[0] = -1.0;
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, &r) == AF_OK);
    CHECK(constants[0] == 1.0 && r.converged);
}

/* Which constants are linear: a bit for each, in the order a, k, e0. */
static uint64_t linear(const words *w, const char *text) {
    dp_fitter x = DP__ZERO;
    dp__fit_task task;
    dp_formula f = parse(w, text);
    x.v = &w->v;
    CHECK(dp__fit_open(&task, &x, &f));
    return task.linear;
}

TEST(constants_that_are_linear) {
    words w;
    plain_words(&w);
    CHECK(linear(&w, "a*exp(-k*x) + e0") == 5);
    CHECK(linear(&w, "(a - x*k)/(1 + e0*x)") == 3);
    CHECK(linear(&w, "a*(k*x + e0)") == 6);
    CHECK(linear(&w, "a*x + a^2 + k*e0") == 2);
    CHECK(linear(&w, "x/a") == 0);
    CHECK(linear(&w, "-(x - a)") == 1);
}

/* Decays of several sets share k and a; each has its own e0. */
enum { SETS = 12 };

typedef struct sets_problem {
    words w;
    double x[SETS][POINTS], y[SETS][POINTS];
    const double *columns[SETS][2];
    dp_data_set sets[SETS];
} sets_problem;

static void sets_open(sets_problem *p, double noise) {
    size_t i, set;
    memset(p, 0, sizeof *p);
    plain_words(&p->w);
    for (set = 0; set < SETS; set++) {
        size_t n = 20 + 5 * set;
        for (i = 0; i < n; i++) {
            p->x[set][i] = 4.0 * af_random_uniform(3, set, i);
            p->y[set][i] = 2.5 * exp(-1.4 * p->x[set][i]) * cos(p->x[set][i] * (double)(set + 2)) +
                           noise * af_random_normal(4, set, i);
        }
        p->columns[set][0] = p->columns[set][1] = p->x[set];
        p->sets[set].n = n;
        p->sets[set].columns = p->columns[set];
        p->sets[set].y = p->y[set];
    }
}

TEST(several_sets_share_constants) {
    sets_problem p;
    dp_formula f;
    dp_fit_report r, one;
    dp_fitter_desc d = DP__ZERO;
    double constants[2 + SETS], start[2 + SETS], alone[3];
    size_t set;
    sets_open(&p, 0.0);
    f = parse(&p.w, "a*exp(-k*x)*cos(e0*x)");
    start[0] = start[1] = 1.0;
    for (set = 0; set < SETS; set++) start[2 + set] = 1.03 * (double)(set + 2);
    d.start = start;
    CHECK(dp_formula_fit(c, &p.w.v, &f, p.sets, SETS, &d, constants, &r) == AF_OK);
    CHECK(r.nrmse < 1e-10);
    CHECK_CLOSE(constants[0], 2.5, 1e-9);
    CHECK_CLOSE(constants[1], 1.4, 1e-9);
    for (set = 0; set < SETS; set++) CHECK_CLOSE(constants[2 + set], (double)(set + 2), 1e-9);
    /* where only e0 is to be found, all sets together are as each alone */
    for (set = 0; set < SETS; set++) {
        size_t i;
        for (i = 0; i < p.sets[set].n; i++)
            p.y[set][i] = 2.0 / (1.7 + 0.3 * (double)(1 + set) * p.x[set][i] * p.x[set][i]) +
                          0.01 * af_random_normal(4, set, i);
    }
    f = parse(&p.w, "2/(1.7 + e0*x^2)");
    CHECK(dp_formula_fit(c, &p.w.v, &f, p.sets, SETS, NULL, constants, &r) == AF_OK);
    for (set = 0; set < SETS; set++) {
        CHECK(dp_formula_fit(c, &p.w.v, &f, p.sets + set, 1, NULL, alone, &one) == AF_OK);
        r.chi2 -= one.chi2;
        CHECK_CLOSE(constants[2 + set], alone[2], 1e-5);
    }
    CHECK(fabs(r.chi2) < 1e-9);
}

/* The arrow against plain elimination of the whole matrix. */
TEST(steps_solve_the_whole_system) {
    sets_problem p;
    dp_formula f;
    dp_fitter *x;
    dp__fit_task task;
    double h[14][15], damping = 0.3;
    size_t i, j, k, n = 2 + SETS;
    sets_open(&p, 0.1);
    f = parse(&p.w, "a*exp(-k*x)*cos(e0*x)");
    CHECK(dp_fitter_create(c, &p.w.v, p.sets, SETS, NULL, &x) == AF_OK);
    CHECK(dp__fit_open(&task, x, &f));
    CHECK(dp_fitter_constants(x) == n);
    for (i = 0; i < n; i++) x->start[i] = 0.5 + 0.3 * (double)i;
    CHECK(dp__fit_sum(&task, x->start, task.all, &x->normal[0]));
    dp__fit_solve(&task, &x->normal[0], damping);
    memset(h, 0, sizeof h);
    for (i = 0; i < n; i++) {
        h[i][n] = x->normal[0].g[i];
        for (j = 0; j < 2 && i < 2; j++) h[i][j] = x->normal[0].ff[i > j ? 2 * i + j : 2 * j + i];
        for (j = 0; j < 2 && i >= 2; j++) h[i][j] = h[j][i] = x->normal[0].fs[2 * (i - 2) + j];
        if (i >= 2) h[i][i] = x->normal[0].ss[i - 2];
    }
    for (i = 1; i < n; i++) h[i][i] *= 1.0 + damping; /* a is linear */
    for (k = 0; k < n; k++)
        for (i = 0; i < n; i++) {
            double factor = h[i][k] / h[k][k];
            for (j = k; j <= n && i != k; j++) h[i][j] -= factor * h[k][j];
        }
    for (i = 0; i < n; i++) CHECK_CLOSE(x->step[i], h[i][n] / h[i][i], 1e-10);
    dp_fitter_destroy(x);
}

/* A slope that is not finite at a point, sqrt(b r) at r = 0, does not stop the fit. */
TEST(a_slope_that_is_not_finite) {
    problem p;
    dp_formula f;
    dp_fit_report r;
    double constants[2];
    size_t i;
    isochrone_problem(&p, 0.0);
    p.x[0] = 0.0;
    for (i = 0; i < POINTS; i++) p.y[i] = sqrt(3.0 * p.x[i]) / (1.0 + p.x[i]);
    p.w.v.no_units = 1;
    f = parse(&p.w, "sqrt(b*r)/(1 + GM*r)");
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, &r) == AF_OK);
    CHECK_CLOSE(constants[0], 3.0, 1e-8);
    CHECK_CLOSE(constants[1], 1.0, 1e-8);
}

/* Other starts find what the first does not; the same seed, the same bits. */
TEST(starts) {
    problem p;
    dp_formula f;
    dp_fitter_desc d = DP__ZERO;
    dp_fit_report first, r, again;
    double constants[2], same[2];
    size_t i;
    isochrone_problem(&p, 0.0);
    for (i = 0; i < POINTS; i++) p.y[i] = 1.5 * sin(3.7 * p.x[i]);
    p.w.v.no_units = 1;
    p.w.v.operators = 1u << DP_MUL | 1u << DP_SIN;
    f = parse(&p.w, "GM*sin(b*r)");
    d.starts = 1;
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, &d, constants, &first) == AF_OK);
    CHECK(first.nrmse > 0.5 && first.starts == 1);
    d.starts = 60;
    d.seed = 5;
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, &d, constants, &r) == AF_OK);
    CHECK(r.nrmse < 1e-9 && r.starts > 1 && r.starts < 60);
    CHECK_CLOSE(fabs(constants[0]), 3.7, 1e-9);
    CHECK(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, &d, same, &again) == AF_OK);
    CHECK(same_bits(same[0], constants[0]) && same_bits(same[1], constants[1]));
    CHECK(again.iterations == r.iterations);
}

TEST(bad_fits) {
    problem p;
    dp_formula f;
    dp_fitter_desc d = DP__ZERO;
    double constants[2] = {5, 6}, keep;
    isochrone_problem(&p, 0.0);
    f = parse(&p.w, "GM/b*log(-r/b)");
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, NULL),
                AF_ERROR_NONFINITE, "GM/b*log(-r/b) is not finite");
    CHECK(constants[0] == 5 && constants[1] == 6);
    d.end_canary = 1;
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, &d, constants, NULL), AF_ERROR_ARGUMENT,
                "initialised to zero");
    d.end_canary = 0;
    d.spread = -1.0;
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, &d, constants, NULL), AF_ERROR_ARGUMENT,
                "below zero");
    d.spread = 0.0;
    constants[0] = NAN;
    d.start = constants;
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, &d, constants, NULL), AF_ERROR_ARGUMENT,
                "start of constant 0");
    keep = p.x[3];
    p.x[3] = NAN;
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, NULL), AF_ERROR_DATA,
                "point 3 of data set 0 is not finite");
    p.x[3] = keep;
    p.set.weights = p.weights;
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, NULL), AF_ERROR_DATA,
                "no point has a weight");
    p.weights[7] = -1.0;
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, NULL), AF_ERROR_DATA,
                "weight of point 7");
    p.set.weights = NULL;
    p.set.columns = NULL;
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, NULL),
                AF_ERROR_ARGUMENT, "lacks y or columns");
    p.set.columns = p.columns;
    memset(p.y, 0, sizeof p.y);
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, &p.set, 1, NULL, constants, NULL), AF_ERROR_DATA,
                "y is the same");
    CHECK_FAILS(dp_formula_fit(c, &p.w.v, &f, NULL, 0, NULL, constants, NULL), AF_ERROR_DATA,
                "no point");
    dp_fitter_destroy(NULL);
}

TEST(memory_that_fails_at_every_allocation) {
    problem p;
    dp_formula f;
    double constants[2];
    long k, failures[2] = {0, 0};
    int object;
    isochrone_problem(&p, 0.0);
    f = parse(&p.w, "-GM / (b + sqrt(b^2 + r^2))");
    for (object = 0; object < 2; object++)
        for (k = 1; k < 60; k++) {
            heap h = DP__ZERO;
            dp_reach *reach = NULL;
            af_context *other;
            af_status s;
            h.fail_at = k;
            other = heap_context(&h, 1);
            if (other && object == 0)
                s = dp_formula_fit(other, &p.w.v, &f, &p.set, 1, NULL, constants, NULL);
            else s = other ? dp_reach_create(other, &p.w.v, 9, &reach) : AF_OK;
            CHECK(s == AF_OK || s == AF_ERROR_MEMORY);
            if (s != AF_OK) CHECK_TEXT(af_error(other), "memory");
            failures[object] += s != AF_OK;
            dp_reach_destroy(reach);
            af_context_destroy(other);
            CHECK(h.live == 0);
        }
    CHECK(failures[0] == 19);
    CHECK(failures[1] == 3);
}

int main(void) {
    c = heap_context(&memory, 1);
    RUN(formulas_that_are_not_whole);
    RUN(bad_vocabularies);
    RUN(text_to_tokens);
    RUN(text_that_cannot_be_read);
    RUN(text_in_three_styles);
    RUN(names_in_latex);
    RUN(text_that_has_no_room);
    RUN(text_reads_back_to_the_same_bits);
    RUN(text_as_people_write_it);
    RUN(tidied_formulas_are_equal);
    RUN(units_from_text);
    RUN(units_of_formulas);
    RUN(reach_agrees_with_all_expressions);
    RUN(targets_out_of_reach);
    RUN(values_of_every_operator);
    RUN(slopes_are_differences);
    RUN(the_isochrone_from_far_starts);
    RUN(the_least_squares_of_noisy_data);
    RUN(a_line_and_its_error);
    RUN(constants_that_are_linear);
    RUN(several_sets_share_constants);
    RUN(steps_solve_the_whole_system);
    RUN(a_slope_that_is_not_finite);
    RUN(starts);
    RUN(bad_fits);
    RUN(memory_that_fails_at_every_allocation);
    af_context_destroy(c);
    if (memory.live) printf("%ld blocks are still out\n", memory.live);
    return test_report() || memory.live != 0;
}
