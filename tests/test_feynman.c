/* The table of the Feynman problems: every formula is read by the library's parser with 1 and pi
 * for numbers, its units are those of the result, and it agrees with the value written by hand. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"

#include "../tools/symbolic/feynman.c"

enum { POINTS = 500, NUMBERS = 2 };

static af_context *c;
static const char *const bases[] = {"m", "s", "kg", "K", "V"};
static double data[FEYNMAN_VARIABLES][POINTS], y[POINTS], value[POINTS];
static double *const columns[FEYNMAN_VARIABLES] = {data[0], data[1], data[2], data[3], data[4],
                                                   data[5], data[6], data[7], data[8]};
static const double *const inputs[FEYNMAN_VARIABLES] = {data[0], data[1], data[2],
                                                        data[3], data[4], data[5],
                                                        data[6], data[7], data[8]};

/* A problem's words. */
typedef struct words {
    dp_symbol symbol[FEYNMAN_VARIABLES + NUMBERS];
    dp_vocabulary v;
} words;

static void words_make(const feynman_problem *p, words *w) {
    static const char *const number[NUMBERS] = {"1", "pi"};
    size_t k;
    memset(w, 0, sizeof *w);
    for (k = 0; k < p->count; k++) {
        w->symbol[k].name = p->variable[k].name;
        CHECK(dp_units_parse(c, p->variable[k].units, bases, 5, &w->symbol[k].units) == AF_OK);
    }
    for (k = 0; k < NUMBERS; k++) {
        w->symbol[p->count + k].name = number[k];
        w->symbol[p->count + k].kind = DP_FIXED;
        w->symbol[p->count + k].value = k ? acos(-1.0) : 1.0;
    }
    w->v.symbols = w->symbol;
    w->v.symbol_count = p->count + NUMBERS;
    w->v.bases = bases;
    w->v.base_count = 5;
    w->v.operators = (1u << DP_OPERATORS) - 1u;
    CHECK(dp_units_parse(c, p->units, bases, 5, &w->v.target) == AF_OK);
}

/* Every variable is in the formula. */
static void check_symbols(const feynman_problem *p, const dp_formula *f) {
    size_t k, i;
    for (k = 0; k < p->count; k++) {
        int found = 0;
        for (i = 0; i < f->length; i++) found |= f->token[i] == (size_t)DP_OPERATORS + k;
        CHECK(found);
    }
}

/* The largest relative difference between text and code at points of the problem's ranges. */
static double disagreement(const feynman_problem *p, const words *w, const dp_formula *f,
                           uint64_t seed) {
    double worst = 0.0, low = HUGE_VAL, high = -HUGE_VAL;
    size_t i;
    CHECK(feynman_sample(p, seed, POINTS, columns, y));
    CHECK(dp_formula_evaluate(&w->v, f, POINTS, inputs, NULL, value) == AF_OK);
    for (i = 0; i < POINTS; i++) {
        double off = fabs(value[i] - y[i]) / fabs(y[i]);
        if (!(off <= worst)) worst = off;
        low = fmin(low, y[i]);
        high = fmax(high, y[i]);
    }
    CHECK(high > low);
    return worst;
}

static size_t problem; /* which one is tested */

TEST(problem) {
    const feynman_problem *p = feynman_get(problem);
    words w;
    dp_formula f;
    size_t k, token = 0;
    words_make(p, &w);
    CHECK(feynman_find(p->name) == p);
    CHECK(p->count >= 1 && p->count <= FEYNMAN_VARIABLES);
    for (k = 0; k < p->count; k++) CHECK(p->variable[k].low < p->variable[k].high);
    CHECK(dp_formula_parse(c, &w.v, p->formula, &f) == AF_OK);
    if (!f.length) {
        printf("%s: %s\n", p->name, af_error(c));
        return;
    }
    CHECK(dp_formula_units(c, &w.v, &f, NULL, &token) == AF_OK);
    check_symbols(p, &f);
    CHECK(disagreement(p, &w, &f, problem) <= 1e-12);
}

/* A wrong power in the text or in units would be seen. */
TEST(wrong_text_and_units) {
    const feynman_problem *p = feynman_find("I.12.2");
    char text[128];
    words w;
    dp_formula f;
    words_make(p, &w);
    CHECK(dp_formula_parse(c, &w.v, p->formula, &f) == AF_OK);
    w.v.target.power[0] += 1.0;
    CHECK(dp_formula_units(c, &w.v, &f, NULL, NULL) == AF_ERROR_DATA);
    w.v.target.power[0] -= 1.0;
    snprintf(text, sizeof text, "(%s)*(1 + 1/100)", p->formula);
    CHECK(dp_formula_parse(c, &w.v, text, &f) == AF_OK);
    CHECK(disagreement(p, &w, &f, 1) > 1e-3);
}

/* 100 lectures' equations and 20 bonus ones, four of which are left out; levels as published. */
TEST(how_many) {
    size_t i, left = 0, bonus = 0, easy = 0, medium = 0;
    for (i = 0; i < FEYNMAN_PROBLEMS; i++) {
        const feynman_problem *p = feynman_get(i);
        left += (p->flags & FEYNMAN_LEFT_OUT) != 0;
        bonus += (p->flags & FEYNMAN_BONUS) != 0;
        easy += p->level == 'e';
        medium += p->level == 'm';
    }
    CHECK(left == FEYNMAN_PROBLEMS - FEYNMAN_PROTOCOL && bonus == 20);
    CHECK(easy == 30 && medium == 40);
    CHECK(!feynman_get(FEYNMAN_PROBLEMS) && !feynman_find("I.6.2c") && !feynman_find(NULL));
    CHECK(feynman_find("I.6.2a") == feynman_find("I.6.20a"));
}

/* More points leave the first as they were; other seeds give others. */
TEST(samples) {
    const feynman_problem *p = feynman_get(0);
    double first, other;
    CHECK(feynman_sample(p, 5, 10, columns, y));
    first = data[0][9];
    CHECK(feynman_sample(p, 5, POINTS, columns, y));
    other = data[0][9];
    CHECK(first - other <= 0.0 && first - other >= 0.0);
    CHECK(feynman_sample(p, 6, 10, columns, y));
    CHECK(fabs(data[0][9] - first) > 0.0);
}

int main(void) {
    if (af_context_create(NULL, &c) != AF_OK) return 1;
    for (problem = 0; problem < FEYNMAN_PROBLEMS; problem++)
        test_run(feynman_get(problem)->name, test_problem);
    RUN(wrong_text_and_units);
    RUN(how_many);
    RUN(samples);
    af_context_destroy(c);
    return test_report();
}
