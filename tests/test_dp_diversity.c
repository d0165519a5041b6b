/* Formulas that are longer than what can be enumerated: sums, quotients and products of the
 * functions found, and evolution. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "af_heap.h"

static af_context *c;

enum { POINTS = 120, COLUMNS = 3 };

#define WORDS                                                                                  \
    (1u << DP_ADD | 1u << DP_SUB | 1u << DP_MUL | 1u << DP_DIV | 1u << DP_NEG | 1u << DP_INV | \
     1u << DP_SQUARE | 1u << DP_SQRT | 1u << DP_COS)

/* y of dimensionless a, b and u, all in 0.5 ... 2.5. */
typedef struct problem {
    dp_symbol symbol[8];
    dp_vocabulary v;
    double column[COLUMNS][POINTS], y[POINTS];
    const double *columns[COLUMNS];
    dp_data_set set;
    dp_symbolic_desc desc;
    dp_symbolic_result *result;
} problem;

static void begin(problem *p, double (*f)(double a, double b, double u)) {
    static const char *const names[COLUMNS] = {"a", "b", "u"};
    size_t k, i;
    memset(p, 0, sizeof *p);
    for (k = 0; k < COLUMNS; k++) {
        p->symbol[k].name = names[k];
        p->columns[k] = p->column[k];
        for (i = 0; i < POINTS; i++)
            p->column[k][i] = 0.5 + 2.0 * af_random_uniform(3, k, i);
    }
    for (i = 0; i < POINTS; i++)
        p->y[i] = f(p->column[0][i], p->column[1][i], p->column[2][i]);
    p->v.symbols = p->symbol;
    p->v.symbol_count = COLUMNS;
    p->v.operators = WORDS;
    p->set.n = POINTS;
    p->set.columns = p->columns;
    p->set.y = p->y;
    p->desc.max_tokens = 4;
    p->desc.combine = 1;
}

static af_status search(problem *p) {
    p->result = NULL;
    return dp_symbolic_search(c, &p->v, &p->set, 1, &p->desc, &p->result);
}

/* The best formula is the function, also outside of 0.5 ... 2.5, in right numbers. */
static void exact(problem *p, double (*f)(double a, double b, double u)) {
    double x[COLUMNS][16], value[16];
    const double *columns[COLUMNS];
    const dp_symbolic_entry *e;
    size_t i, k;
    if (!p->result || !p->result->count) {
        CHECK(0 && "there is no result");
        return;
    }
    e = &p->result->front[p->result->best];
    CHECK(e->error < 1e-9 && p->result->end == DP_END_ERROR);
    CHECK(dp_formula_units(c, &p->result->vocabulary, &e->formula, NULL, NULL) == AF_OK);
    for (k = 0; k < COLUMNS; k++) {
        columns[k] = x[k];
        for (i = 0; i < 16; i++) x[k][i] = 2.5 + 3.0 * af_random_uniform(8, k, i);
    }
    dp_formula_evaluate(&p->result->vocabulary, &e->formula, 16, columns, e->constants, value);
    for (i = 0; i < 16; i++) {
        double y = f(x[0][i], x[1][i], x[2][i]);
        CHECK_CLOSE(value[i], y, 1e-8 * fabs(y));
    }
}

/* ---- several functions together ---- */

static double sum(double a, double b, double u) {
    return 0.7 * a * a - 1.3 * cos(b) + 2.1 * u + 3.0;
}

static double root(double a, double b, double u) { return sqrt(a * a + 1.7 * b * b + 0.4 / u); }

static double quotient(double a, double b, double u) {
    return (2.0 + 0.3 * a * b) / (1.0 + 0.6 * u);
}

static double product(double a, double b, double u) {
    return -2.6 * sqrt(a) * a * (1.0 + b) / sqrt(a + u) / ((u + b) * (u + b));
}

static double shifted(double a, double b, double u) { return 1.0 + 0.4 * a * cos(b) / (1.0 + u); }

static double leaf(double a, double b, double u) { return a + 1.7 * sqrt(b + u) * cos(b); }

/* cos b times a sum that is no product. */
static double factor(double a, double b, double u) {
    return cos(b) * (0.7 * a * a + 1.9 * u - 0.2);
}

TEST(together) {
    static double (*const functions[])(double, double, double) = {sum, root, quotient, product,
                                                                  shifted, leaf, factor};
    static problem p;
    size_t k;
    for (k = 0; k < sizeof functions / sizeof functions[0]; k++) {
        begin(&p, functions[k]);
        CHECK(search(&p) == AF_OK);
        exact(&p, functions[k]);
        dp_symbolic_destroy(p.result);
    }
}

/* Without combinations none of these is found: the test above tests them. */
TEST(alone) {
    static problem p;
    begin(&p, product);
    p.desc.combine = 0;
    CHECK(search(&p) == AF_OK);
    CHECK(p.result->front[p.result->count - 1].error > 1e-3);
    CHECK(p.result->end == DP_END_TOKENS && p.result->evolved == 0);
    dp_symbolic_destroy(p.result);
}

/* m v^2 (1 + x/y)/2 + p^2/(2 m): units come back, constants are the numbers. */
TEST(units) {
    static problem p;
    static const double powers[5][3] = {{0, 0, 1}, {1, -1, 0}, {1, 0, 0}, {1, 0, 0}, {1, -1, 1}};
    static const char *const names[5] = {"m", "v", "x", "y", "p"};
    static double column[5][POINTS];
    const double *columns[5];
    size_t k, i, bare = 0;
    char text[400];
    begin(&p, sum);
    for (k = 0; k < 5; k++) {
        memcpy(p.symbol[k].units.power, powers[k], sizeof powers[k]);
        p.symbol[k].name = names[k];
        columns[k] = column[k];
        for (i = 0; i < POINTS; i++) column[k][i] = 1.0 + 3.0 * af_random_uniform(4, k, i);
    }
    for (i = 0; i < POINTS; i++)
        p.y[i] = 0.5 * column[0][i] * column[1][i] * column[1][i] *
                     (1.0 + column[2][i] / column[3][i]) +
                 0.5 * column[4][i] * column[4][i] / column[0][i];
    p.v.symbol_count = 5;
    p.v.target.power[0] = 2;
    p.v.target.power[1] = -2;
    p.v.target.power[2] = 1;
    p.set.columns = columns;
    CHECK(search(&p) == AF_OK);
    CHECK(p.result->end == DP_END_ERROR);
    k = p.result->best;
    CHECK(dp_formula_units(c, &p.result->vocabulary, &p.result->front[k].formula, NULL, NULL) ==
          AF_OK);
    CHECK(dp_formula_text(c, &p.result->vocabulary, &p.result->front[k].formula, DP_TEXT_PLAIN,
                          text, sizeof text) == AF_OK);
    for (i = 0; i < 5; i++) bare += strstr(text, names[i]) != NULL;
    CHECK(bare == 5);
    dp_symbolic_destroy(p.result);
}

/* With noise nothing is exact; a slope in place of cos b is a tenth further from the data. */
TEST(noise) {
    static problem p;
    double left = 0.0, all = 0.0, mean = 0.0;
    size_t i;
    begin(&p, sum);
    for (i = 0; i < POINTS; i++) {
        double y = p.y[i];
        p.y[i] *= 1.0 + 0.01 * af_random_normal(6, 0, i);
        left += (p.y[i] - y) * (p.y[i] - y);
        mean += p.y[i] / (double)POINTS;
    }
    for (i = 0; i < POINTS; i++) all += (p.y[i] - mean) * (p.y[i] - mean);
    p.desc.max_tokens = 3;
    CHECK(search(&p) == AF_OK);
    CHECK(p.result->front[p.result->count - 1].error < 1.15 * sqrt(left / all));
    for (i = 1; i < p.result->count; i++)
        CHECK(p.result->front[i].error < 0.999 * p.result->front[i - 1].error &&
              p.result->front[i].formula.length > p.result->front[i - 1].formula.length);
    dp_symbolic_destroy(p.result);
}

/* ---- evolution ---- */

/* Eight tokens and a scale inside. */
static double isochrone(double r) { return -2.0 / (0.7 + sqrt(0.49 + r * r)); }

static void potential(problem *p) {
    size_t i;
    begin(p, sum);
    memset(p->symbol, 0, sizeof p->symbol);
    p->symbol[0].name = "r";
    p->symbol[0].units.power[0] = 1;
    p->symbol[1].name = "b";
    p->symbol[1].kind = DP_FREE;
    p->symbol[1].units.power[0] = 1;
    p->symbol[2].name = "GM";
    p->symbol[2].kind = DP_FREE;
    p->symbol[2].units.power[0] = 3;
    p->symbol[2].units.power[1] = -2;
    p->v.target.power[0] = 2;
    p->v.target.power[1] = -2;
    p->v.operators = WORDS & ~(1u << DP_COS);
    for (i = 0; i < POINTS; i++) {
        p->column[0][i] = 0.05 * pow(160.0, (double)i / ((double)POINTS - 1.0));
        p->y[i] = isochrone(p->column[0][i]);
    }
}

TEST(evolution) {
    static problem p;
    double r = 40.0, value;
    const double *column = &r;
    potential(&p);
    CHECK(search(&p) == AF_OK);
    CHECK(p.result->front[p.result->count - 1].error > 1e-3);
    dp_symbolic_destroy(p.result);
    p.desc.evolve = 400000;
    CHECK(search(&p) == AF_OK);
    CHECK(p.result->end == DP_END_ERROR && p.result->evolved > 0 && p.result->elites > 10);
    if (p.result->count) {
        const dp_symbolic_entry *e = &p.result->front[p.result->best];
        dp_formula_evaluate(&p.result->vocabulary, &e->formula, 1, &column, e->constants, &value);
        CHECK_CLOSE(value, isochrone(r), 1e-8);
        CHECK_CLOSE(e->constants[0], 0.7, 1e-8);
    }
    dp_symbolic_destroy(p.result);
}

/* A clock that ticks at each look: half of the time is for lengths, half for evolution. */
static double ticks(void *user) { return *(double *)user += 1.0; }

static int stop_evolving(const dp_symbolic_result *r, void *user) {
    (void)user;
    return r->evolved > 3000;
}

TEST(ends) {
    static problem p;
    double now = 0.0;
    potential(&p);
    p.desc.error = -1.0;
    p.desc.evolve = (size_t)1 << 40;
    p.desc.max_tokens = 9;
    p.desc.clock = ticks;
    p.desc.seconds = 30.0;
    p.desc.user = &now;
    CHECK(search(&p) == AF_OK);
    CHECK(p.result->end == DP_END_TIME && p.result->evolved > 0 && p.result->count > 0);
    dp_symbolic_destroy(p.result);
    p.desc.clock = NULL;
    p.desc.seconds = 0.0;
    p.desc.max_tokens = 3;
    p.desc.progress = stop_evolving;
    CHECK(search(&p) == AF_STOPPED);
    CHECK(p.result->end == DP_END_STOPPED && p.result->count > 0);
    dp_symbolic_destroy(p.result);
    p.desc.progress = NULL;
    p.desc.evolve = 5000;
    CHECK(search(&p) == AF_OK);
    CHECK(p.result->evolved == 5000 && p.result->end == DP_END_TOKENS);
    dp_symbolic_destroy(p.result);
}

/* ---- what must hold for any result ---- */

static double hard(double a, double b, double u) {
    return exp(-a * cos(b * u)) + tan(0.3 * a * u);
}

TEST(threads) {
    static problem p, q;
    size_t k;
    begin(&p, hard);
    p.desc.max_tokens = 3;
    p.desc.evolve = 20000;
    q = p;
    q.v.symbols = q.symbol;
    q.set.columns = q.columns;
    af_context_set_threads(c, 1);
    CHECK(search(&p) == AF_OK);
    af_context_set_threads(c, 2);
    CHECK(search(&q) == AF_OK);
    af_context_set_threads(c, 0);
    CHECK(p.result->count == q.result->count && p.result->fits == q.result->fits);
    CHECK(p.result->elites == q.result->elites);
    for (k = 0; k < p.result->count; k++) {
        const dp_symbolic_entry *e = &p.result->front[k], *f = &q.result->front[k];
        CHECK(e->error == f->error && !memcmp(&e->formula, &f->formula, sizeof e->formula));
    }
    dp_symbolic_destroy(q.result);
    q.desc.seed = 1;
    CHECK(search(&q) == AF_OK);
    CHECK(p.result->unique != q.result->unique || p.result->fits != q.result->fits);
    dp_symbolic_destroy(p.result);
    dp_symbolic_destroy(q.result);
}

TEST(memory) {
    static problem p;
    af_context *keep = c;
    heap h;
    long k;
    begin(&p, hard);
    p.desc.max_tokens = 2;
    p.desc.evolve = 100;
    p.desc.memory = (size_t)8 << 20;
    for (k = 2;; k++) {
        af_status s;
        CHECK(heap_open(&h, 0, 1, &c) == AF_OK);
        h.fail_at = h.calls + k - 1;
        s = search(&p);
        if (s == AF_ERROR_MEMORY) CHECK(!p.result && strstr(af_error(c), "memory"));
        dp_symbolic_destroy(p.result);
        af_context_destroy(c);
        CHECK(h.live == 0);
        if (s == AF_OK || k > 900) break;
        CHECK(s == AF_ERROR_MEMORY);
    }
    CHECK(k > 60 && k < 900);
    c = keep;
}

int main(void) {
    if (af_context_create(NULL, &c) != AF_OK) return 1;
    RUN(together);
    RUN(alone);
    RUN(units);
    RUN(noise);
    RUN(evolution);
    RUN(ends);
    RUN(threads);
    RUN(memory);
    af_context_destroy(c);
    return test_report();
}
