/* Formulas from data: dimensional analysis, exhaustive search, the front. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#include "af_heap.h"

static af_context *c;

enum { POINTS = 100, MOST_COLUMNS = 6 };

#define ALGEBRA                                                                            \
    (1u << DP_ADD | 1u << DP_SUB | 1u << DP_MUL | 1u << DP_DIV | 1u << DP_NEG | 1u << DP_INV | \
     1u << DP_SQUARE | 1u << DP_SQRT)

/* A vocabulary and data for it. Base units: length, time, mass. */
typedef struct problem {
    dp_symbol symbol[12];
    dp_vocabulary v;
    double column[MOST_COLUMNS][POINTS], y[POINTS], weight[POINTS];
    const double *columns[MOST_COLUMNS];
    dp_data_set set;
    dp_symbolic_desc desc;
    dp_symbolic_result *result;
} problem;

static const char *const bases[] = {"m", "s", "kg"};

static void add_symbol(problem *p, const char *name, dp_symbol_kind kind, double length,
                       double time, double mass, double value) {
    dp_symbol *s = &p->symbol[p->v.symbol_count++];
    memset(s, 0, sizeof *s);
    s->name = name;
    s->kind = kind;
    s->units.power[0] = length;
    s->units.power[1] = time;
    s->units.power[2] = mass;
    s->value = value;
}

static void begin(problem *p, double length, double time, double mass) {
    size_t k;
    memset(p, 0, sizeof *p);
    p->v.symbols = p->symbol;
    p->v.bases = bases;
    p->v.base_count = 3;
    p->v.target.power[0] = length;
    p->v.target.power[1] = time;
    p->v.target.power[2] = mass;
    for (k = 0; k < MOST_COLUMNS; k++) p->columns[k] = p->column[k];
    p->set.n = POINTS;
    p->set.columns = p->columns;
    p->set.y = p->y;
}

/* A potential of radii 0.05 to 8, b = 0.7, GM = 2. */
static void potential(problem *p, double (*phi)(double r)) {
    size_t i;
    begin(p, 2, -2, 0);
    add_symbol(p, "r", DP_VARIABLE, 1, 0, 0, 0);
    add_symbol(p, "b", DP_FREE, 1, 0, 0, 0);
    add_symbol(p, "GM", DP_FREE, 3, -2, 0, 0);
    add_symbol(p, "1", DP_FIXED, 0, 0, 0, 1);
    for (i = 0; i < POINTS; i++) {
        p->column[0][i] = 0.05 * pow(160.0, (double)i / (POINTS - 1.0));
        p->y[i] = phi(p->column[0][i]);
    }
}

static void noisy(problem *p, double relative) {
    size_t i;
    for (i = 0; i < POINTS; i++) {
        double sigma = relative * fabs(p->y[i]);
        p->y[i] += sigma * af_random_normal(11, 0, i);
        p->weight[i] = 1.0 / (sigma * sigma);
    }
    p->set.weights = p->weight;
}

static double isochrone(double r) { return -2.0 / (0.7 + sqrt(0.49 + r * r)); }
static double plummer(double r) { return -2.0 / sqrt(0.49 + r * r); }
static double hernquist(double r) { return -2.0 / (0.7 + r); }
static double jaffe(double r) { return -2.0 / 0.7 * log(1.0 + 0.7 / r); }
static double nfw(double r) { return -2.0 * log(1.0 + r / 0.7) / r; }
static double halo(double r) { return 0.8 * log(r * r + 0.49) + 3.0; }

static af_status search(problem *p) {
    return dp_symbolic_search(c, &p->v, &p->set, 1, &p->desc, &p->result);
}

static const dp_symbolic_entry *best(const problem *p) {
    return &p->result->front[p->result->best];
}

/* The front gets longer and better, its formulas have the units of the result, and their errors
 * are those of the formula as it reads. One data set. */
static void check_front(const problem *p) {
    const dp_symbolic_result *r = p->result;
    double value[POINTS];
    size_t i, k;
    CHECK(r->count > 0 && r->best < r->count);
    for (k = 0; k < r->count; k++) {
        const dp_symbolic_entry *e = &r->front[k];
        double w = 0.0, mean = 0.0, off = 0.0, spread = 0.0;
        CHECK(k == 0 || (e->formula.length > e[-1].formula.length && e->error < e[-1].error));
        CHECK(dp_formula_check(c, &r->vocabulary, &e->formula) == AF_OK);
        CHECK(dp_formula_units(c, &r->vocabulary, &e->formula, NULL, NULL) == AF_OK);
        dp_formula_evaluate(&r->vocabulary, &e->formula, POINTS, p->columns, e->constants, value);
        for (i = 0; i < POINTS; i++) {
            double weight = p->set.weights ? p->weight[i] : 1.0;
            w += weight;
            mean += weight * p->y[i];
        }
        for (i = 0; i < POINTS; i++) {
            double weight = p->set.weights ? p->weight[i] : 1.0;
            off += weight * (value[i] - p->y[i]) * (value[i] - p->y[i]);
            spread += weight * (p->y[i] - mean / w) * (p->y[i] - mean / w);
        }
        if (!p->desc.filter) CHECK(fabs(e->error - sqrt(off / spread)) < 1e-9 * e->error + 1e-13);
    }
}

/* The best is exact, and so far away from the data. */
static void check_exact(const problem *p, double (*phi)(double r), size_t longest) {
    double r[3] = {0.01, 1.3, 40.0}, value[3];
    const double *columns[1];
    size_t i;
    columns[0] = r;
    check_front(p);
    CHECK(best(p)->error < 1e-9 && best(p)->formula.length <= longest);
    dp_formula_evaluate(&p->result->vocabulary, &best(p)->formula, 3, columns, best(p)->constants,
                        value);
    for (i = 0; i < 3; i++) CHECK_CLOSE(value[i] / phi(r[i]), 1.0, 1e-8);
}

/* The potential is found; lengths are those of the usual way to write it. */
static void recover(double (*phi)(double r), uint32_t operators, dp_affine affine, size_t longest) {
    static problem p;
    potential(&p, phi);
    p.v.operators = operators;
    p.desc.affine = affine;
    CHECK(search(&p) == AF_OK);
    if (p.result) {
        CHECK(p.result->end == DP_END_ERROR);
        check_exact(&p, phi, longest);
    }
    dp_symbolic_destroy(p.result);
}

TEST(isochrone) {
    static problem p;
    char text[200];
    potential(&p, isochrone);
    p.v.operators = ALGEBRA;
    CHECK(search(&p) == AF_OK);
    check_exact(&p, isochrone, 11);
    CHECK_CLOSE(best(&p)->constants[0], 0.7, 1e-9);
    CHECK_CLOSE(best(&p)->constants[1], 2.0, 1e-9);
    dp_formula_text(c, &p.result->vocabulary, &best(&p)->formula, DP_TEXT_PLAIN, text, sizeof text);
    CHECK(!strcmp(text, "-GM/(b + sqrt(b^2 + r^2))"));
    CHECK(p.result->candidates > p.result->unique && p.result->unique >= p.result->fits &&
          p.result->fits > p.result->verified);
    dp_symbolic_destroy(p.result);
}

TEST(potentials) {
    recover(plummer, 0, DP_AMPLITUDE, 9);
    recover(hernquist, 0, DP_AMPLITUDE_OFFSET, 6);
    recover(jaffe, 0, DP_AMPLITUDE, 13);
    recover(nfw, 0, DP_AMPLITUDE_OFFSET, 11);
    recover(halo, 0, DP_AMPLITUDE_OFFSET, 15);
}

TEST(noise) {
    static problem p;
    char text[200];
    potential(&p, isochrone);
    noisy(&p, 0.01);
    p.v.operators = ALGEBRA;
    p.desc.max_tokens = 8;
    CHECK(search(&p) == AF_OK);
    check_front(&p);
    dp_formula_text(c, &p.result->vocabulary, &best(&p)->formula, DP_TEXT_PLAIN, text, sizeof text);
    CHECK(!strcmp(text, "-GM/(b + sqrt(b^2 + r^2))"));
    CHECK(p.result->end == DP_END_TOKENS && p.result->tokens == 8);
    CHECK_CLOSE(best(&p)->constants[0], 0.7, 0.05);
    dp_symbolic_destroy(p.result);
}

/* Every expression of x = r/b and 1 with up to four tokens is found, no longer than it is. */
static size_t tried;

static double small_value(const size_t *token, size_t *at, double x) {
    size_t op = token[(*at)++];
    double a, b = 0.0, out;
    if (op >= DP_OPERATORS) return op == DP_OPERATORS ? x : 1.0;
    a = small_value(token, at, x);
    if (op <= DP_POW) b = small_value(token, at, x);
    dp__apply(op, 1, &a, &b, &out);
    return out;
}

static void small_search(const size_t *token, size_t n) {
    static problem p;
    double sum = 0.0, square = 0.0, largest = 0.0;
    size_t i, at, exps = 0;
    for (i = 0; i < n; i++) exps += token[i] == DP_EXP;
    if (exps > 1) return; /* exp in exp is left out by design */
    potential(&p, plummer);
    for (i = 0; i < POINTS; i++) {
        at = 0;
        p.y[i] = -3.0 * small_value(token, &at, p.column[0][i] / 0.7);
        sum += p.y[i] / POINTS;
        square += p.y[i] * p.y[i] / POINTS;
        largest = fmax(largest, fabs(p.y[i]));
    }
    if (!isfinite(sum) || square - sum * sum <= 1e-6 * square) return;
    if (largest > 5.0 * sqrt(square)) return; /* a pole between the points */
    p.v.operators = 1u << DP_ADD | 1u << DP_SUB | 1u << DP_INV | 1u << DP_SQRT | 1u << DP_EXP;
    p.desc.max_tokens = n;
    p.desc.memory = (size_t)8 << 20;
    tried++;
    CHECK(search(&p) == AF_OK && best(&p)->error < 1e-9);
    dp_symbolic_destroy(p.result);
}

static void small_all(size_t *token, size_t n, size_t open, size_t room) {
    static const size_t some[] = {DP_ADD, DP_SUB, DP_INV, DP_SQRT, DP_EXP, DP_OPERATORS,
                                  DP_OPERATORS + 1};
    size_t k;
    if (!open) {
        small_search(token, n);
        return;
    }
    for (k = 0; k < AF__COUNT(some) && open <= room; k++) {
        size_t arguments = some[k] >= DP_OPERATORS ? 0 : some[k] <= DP_POW ? 2 : 1;
        token[n] = some[k];
        small_all(token, n + 1, open - 1 + arguments, room - 1);
    }
}

TEST(nothing_missed) {
    size_t token[8];
    tried = 0;
    small_all(token, 0, 1, 4);
    CHECK(tried > 40);
}

/* i x + j with i + j = k leaves and 2 k - 1 tokens: k + 1 of them, however they are added up. */
TEST(different) {
    static problem p;
    potential(&p, isochrone);
    p.v.operators = 1u << DP_ADD;
    p.desc.error = -1.0;
    CHECK(search(&p) == AF_OK && p.result->end == DP_END_TOKENS && p.result->tokens == 9);
    CHECK(p.result->unique == 2 + 3 + 4 + 5 + 6);
    /* A f: x + 1 is 2 x + 2; pairs i + j <= 5 without common factor, and x and 1 */
    CHECK(p.result->fits == 11);
    dp_symbolic_destroy(p.result);
}

/* No constants at all: m / sqrt(1 - v^2/c^2), and 1/2 m v^2 with a number. */
TEST(variables) {
    static problem p;
    size_t i, pass;
    for (pass = 0; pass < 2; pass++) {
        begin(&p, pass ? 2 : 0, pass ? -2 : 0, 1);
        add_symbol(&p, "m", DP_VARIABLE, 0, 0, 1, 0);
        add_symbol(&p, "v", DP_VARIABLE, 1, -1, 0, 0);
        add_symbol(&p, "c", DP_VARIABLE, 1, -1, 0, 0);
        for (i = 0; i < POINTS; i++) {
            double m = p.column[0][i] = 1.0 + 4.0 * af_random_uniform(5, 0, i);
            double v = p.column[1][i] = 1.0 + af_random_uniform(5, 1, i);
            double k = p.column[2][i] = 3.0 + 7.0 * af_random_uniform(5, 2, i);
            p.y[i] = pass ? 0.5 * m * v * v : m / sqrt(1.0 - v * v / (k * k));
        }
        p.desc.affine = pass ? DP_AMPLITUDE : DP_EXACT;
        CHECK(search(&p) == AF_OK);
        check_front(&p);
        CHECK(best(&p)->error < 1e-9);
        if (pass) {
            CHECK_CLOSE(best(&p)->constants[0], 0.5, 1e-9);
            CHECK(best(&p)->formula.length == 6);
        } else {
            CHECK(best(&p)->formula.length <= 10); /* m inv sqrt - 1 sq / v c is 9 or 10 */
        }
        dp_symbolic_destroy(p.result);
    }
}

/* G m / |a - b|^2 in the plane: 15 tokens of f without the distance as one. */
TEST(distances) {
    static problem p;
    static const char *const names[] = {"xa", "xb", "ya", "yb"};
    size_t i, k, pass;
    for (pass = 0; pass < 2; pass++) {
        begin(&p, 1, -2, 0);
        for (k = 0; k < 4; k++) add_symbol(&p, names[k], DP_VARIABLE, 1, 0, 0, 0);
        add_symbol(&p, "GM", DP_FREE, 3, -2, 0, 0);
        for (i = 0; i < POINTS; i++) {
            double *x = p.y; /* scratch until it is set */
            for (k = 0; k < 4; k++) p.column[k][i] = 4.0 * af_random_uniform(6, k, i) - 1.0;
            x[i] = 5.0 / (pow(p.column[0][i] - p.column[1][i], 2.0) +
                          pow(p.column[2][i] - p.column[3][i], 2.0));
        }
        p.desc.no_enrichment = pass == 1;
        p.desc.max_tokens = 5;
        p.v.operators = ALGEBRA;
        CHECK(search(&p) == AF_OK);
        check_front(&p);
        CHECK(pass ? best(&p)->error > 1e-3 : best(&p)->error < 1e-9);
        dp_symbolic_destroy(p.result);
    }
}

/* Two scales, of which one is relative to the other: GM (1/(r + b) + 1/a). */
TEST(two_scales) {
    static problem p;
    size_t i;
    potential(&p, hernquist);
    add_symbol(&p, "a", DP_FREE, 1, 0, 0, 0);
    p.v.operators = 1u << DP_ADD | 1u << DP_INV | 1u << DP_MUL;
    p.desc.max_tokens = 6;
    for (i = 0; i < POINTS; i++) p.y[i] -= 2.0 / 1.9;
    CHECK(search(&p) == AF_OK);
    check_front(&p);
    CHECK(best(&p)->error < 1e-9);
    dp_symbolic_destroy(p.result);
}

/* Miyamoto & Nagai, two variables and two scales: 16 tokens. */
TEST(miyamoto_nagai) {
    static problem p;
    char text[200];
    size_t i;
    begin(&p, 2, -2, 0);
    add_symbol(&p, "R", DP_VARIABLE, 1, 0, 0, 0);
    add_symbol(&p, "z", DP_VARIABLE, 1, 0, 0, 0);
    add_symbol(&p, "a", DP_FREE, 1, 0, 0, 0);
    add_symbol(&p, "b", DP_FREE, 1, 0, 0, 0);
    add_symbol(&p, "GM", DP_FREE, 3, -2, 0, 0);
    for (i = 0; i < POINTS; i++) {
        double R = p.column[0][i] = 0.1 + 8.0 * af_random_uniform(9, 0, i);
        double z = p.column[1][i] = 6.0 * af_random_uniform(9, 1, i) - 3.0, k = 0.9;
        k += sqrt(z * z + 0.09);
        p.y[i] = -2.0 / sqrt(R * R + k * k);
    }
    p.v.operators = 1u << DP_ADD | 1u << DP_MUL | 1u << DP_INV;
    p.desc.norms = 1;
    CHECK(search(&p) == AF_OK);
    check_front(&p);
    CHECK(best(&p)->error < 1e-9 && best(&p)->formula.length == 16);
    dp_formula_text(c, &p.result->vocabulary, &best(&p)->formula, DP_TEXT_PLAIN, text, sizeof text);
    CHECK_TEXT(text, "-GM/sqrt(");
    CHECK_CLOSE(fmax(best(&p)->constants[0], best(&p)->constants[1]), 0.9, 1e-8);
    dp_symbolic_destroy(p.result);
}

/* Streams: one potential, an energy for each. */
TEST(several_sets) {
    static problem p;
    static const double energy[3] = {4.0, -1.0, 7.5};
    dp_data_set sets[3];
    const double *columns[3];
    size_t i, d;
    potential(&p, nfw);
    add_symbol(&p, "E", DP_SPECIFIC, 2, -2, 0, 0);
    p.desc.affine = DP_AMPLITUDE_OFFSET;
    memset(sets, 0, sizeof sets);
    for (d = 0; d < 3; d++) {
        columns[d] = p.column[0] + 30 * d;
        sets[d].n = 30;
        sets[d].columns = &columns[d];
        sets[d].y = p.y + 30 * d;
        for (i = 30 * d; i < 30 * d + 30; i++) p.y[i] += energy[d];
    }
    CHECK(dp_symbolic_search(c, &p.v, sets, 3, &p.desc, &p.result) == AF_OK);
    CHECK(best(&p)->error < 1e-9 && best(&p)->formula.length <= 13);
    CHECK_CLOSE(best(&p)->constants[1], 2.0, 1e-8);
    for (d = 0; d < 3; d++) CHECK_CLOSE(best(&p)->constants[2 + d], energy[d], 1e-8);
    dp_symbolic_destroy(p.result);
}

/* ---- filter, clock, progress ---- */

static size_t asked;

/* Nothing but what is zero at infinity. */
static double vanishing(const dp_symbolic_candidate *k, void *user) {
    double r = 1e9, value;
    const double *columns[1];
    (void)user;
    asked++;
    columns[0] = &r;
    dp_formula_evaluate(k->vocabulary, k->formula, 1, columns, k->constants, &value);
    return fabs(value) < 1e-6 ? 1.0 : -1.0;
}

static double nothing(const dp_symbolic_candidate *k, void *user) {
    (void)k;
    (void)user;
    return -1.0;
}

static double threefold(const dp_symbolic_candidate *k, void *user) {
    (void)k;
    (void)user;
    return 3.0;
}

TEST(filter) {
    static problem p;
    double plain;
    size_t k, other = 0;
    potential(&p, halo);
    p.v.operators = ALGEBRA;
    p.desc.max_tokens = 4;
    CHECK(search(&p) == AF_OK);
    plain = p.result->front[0].error;
    for (k = 0; k < p.result->count; k++) {
        dp_symbolic_candidate candidate;
        memset(&candidate, 0, sizeof candidate);
        candidate.vocabulary = &p.result->vocabulary;
        candidate.formula = &p.result->front[k].formula;
        candidate.constants = p.result->front[k].constants;
        other += vanishing(&candidate, NULL) < 0.0;
    }
    CHECK(other > 0);
    dp_symbolic_destroy(p.result);
    p.desc.filter = vanishing;
    asked = 0;
    CHECK(search(&p) == AF_OK && p.result->count > 0 && asked > p.result->count);
    for (k = 0; k < p.result->count; k++) {
        dp_symbolic_candidate candidate;
        memset(&candidate, 0, sizeof candidate);
        candidate.vocabulary = &p.result->vocabulary;
        candidate.formula = &p.result->front[k].formula;
        candidate.constants = p.result->front[k].constants;
        CHECK(vanishing(&candidate, NULL) > 0.0);
    }
    dp_symbolic_destroy(p.result);
    p.desc.filter = nothing;
    CHECK(search(&p) == AF_OK && p.result->count == 0);
    dp_symbolic_destroy(p.result);
    p.desc.filter = threefold;
    CHECK(search(&p) == AF_OK);
    CHECK_CLOSE(p.result->front[0].error, 3.0 * plain, 1e-9);
    dp_symbolic_destroy(p.result);
}

static int stop_at(const dp_symbolic_result *so_far, void *user) {
    return so_far->unique >= *(const size_t *)user;
}

static double ticks(void *user) { return (double)++*(size_t *)user; }

TEST(stop) {
    static problem p;
    size_t when = 300, time = 0;
    potential(&p, halo);
    p.desc.progress = stop_at;
    p.desc.user = &when;
    CHECK(search(&p) == AF_STOPPED);
    CHECK(p.result && p.result->end == DP_END_STOPPED);
    check_front(&p);
    CHECK(p.result->unique >= 300 && p.result->unique < 5000);
    dp_symbolic_destroy(p.result);
    p.desc.progress = NULL;
    p.desc.clock = ticks;
    p.desc.seconds = 8.0;
    p.desc.user = &time;
    CHECK(search(&p) == AF_OK && p.result->end == DP_END_TIME);
    CHECK(p.result->seconds >= 8.0 && p.result->seconds <= 10.0);
    check_front(&p);
    dp_symbolic_destroy(p.result);
    p.desc.clock = NULL;
    p.desc.seconds = 0.0;
    p.desc.memory = (size_t)8 << 20;
    p.desc.max_tokens = 20;
    CHECK(search(&p) == AF_OK && p.result->end == DP_END_MEMORY);
    check_front(&p);
    dp_symbolic_destroy(p.result);
}

/* ---- what must hold for any result ---- */

TEST(threads) {
    static problem p, q;
    size_t k;
    potential(&p, halo);
    noisy(&p, 0.02);
    p.desc.max_tokens = 5;
    p.desc.affine = DP_AMPLITUDE_OFFSET;
    q = p;
    q.v.symbols = q.symbol;
    af_context_set_threads(c, 1);
    CHECK(search(&p) == AF_OK);
    af_context_set_threads(c, 2);
    CHECK(search(&q) == AF_OK);
    af_context_set_threads(c, 0);
    CHECK(p.result->count == q.result->count && p.result->fits == q.result->fits);
    for (k = 0; k < p.result->count; k++) {
        const dp_symbolic_entry *a = &p.result->front[k], *b = &q.result->front[k];
        CHECK(a->error == b->error && !memcmp(&a->formula, &b->formula, sizeof a->formula));
        CHECK(!memcmp(a->constants, b->constants, 3 * sizeof(double)));
    }
    dp_symbolic_destroy(p.result);
    dp_symbolic_destroy(q.result);
}

TEST(memory) {
    static problem p;
    af_context *keep = c;
    heap h;
    long k;
    potential(&p, isochrone);
    p.desc.max_tokens = 6;
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
        if (s == AF_OK || k > 400) break;
        CHECK(s == AF_ERROR_MEMORY);
    }
    CHECK(k > 60 && k < 400);
    c = keep;
}

TEST(refused) {
    static problem p;
    potential(&p, isochrone);
    p.symbol[2].units.power[1] = 0.0;
    CHECK_FAILS(search(&p), AF_ERROR_DATA, "give a constant that has s in it");
    p.symbol[2].units.power[1] = 0.123;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "fractions");
    potential(&p, isochrone);
    p.column[0][7] = NAN;
    CHECK_FAILS(search(&p), AF_ERROR_DATA, "point 8: r is not finite");
    potential(&p, isochrone);
    p.y[0] = INFINITY;
    CHECK_FAILS(search(&p), AF_ERROR_DATA, "point 1: y is inf");
    potential(&p, isochrone);
    memset(p.y, 0, sizeof p.y);
    CHECK_FAILS(search(&p), AF_ERROR_DATA, "at all points");
    p.set.n = 0;
    CHECK_FAILS(search(&p), AF_ERROR_DATA, "no points");
    potential(&p, isochrone);
    p.desc.start_canary = 1;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "zeroed");
    p.desc.start_canary = 0;
    p.desc.seconds = 1.0;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "clock");
    p.desc.seconds = 0.0;
    p.desc.max_tokens = 21;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "max_tokens is 21");
    p.desc.max_tokens = 0;
    p.symbol[1].kind = DP_SPECIFIC;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "make it DP_FREE");
    CHECK(p.result == NULL);
}

/* The fractions behind the units: sqrt(GM/b) for a speed. */
TEST(dimensions) {
    static problem p;
    static dp__plan plan;
    size_t l;
    potential(&p, isochrone);
    add_symbol(&p, "v", DP_VARIABLE, 1, -1, 0, 0);
    CHECK(dp__plan_make(c, &p.v, DP_AMPLITUDE, &plan) == AF_OK);
    CHECK(plan.basis_count == 2 && plan.leaf_count == 3 && plan.scale_count == 2);
    for (l = 0; l < plan.leaf_count; l++) {
        if (plan.leaf[l].symbol != 4) continue;
        CHECK(plan.leaf[l].power[0].up == -1 && plan.leaf[l].power[0].down == 2);
        CHECK(plan.leaf[l].power[1].up == 1 && plan.leaf[l].power[1].down == 2);
    }
    CHECK(plan.target[0].up == -1 && plan.target[1].up == 1 && plan.amplitude == DP__NONE);
    CHECK(plan.number != DP__NONE);
}

int main(void) {
    if (af_context_create(NULL, &c) != AF_OK) return 1;
    RUN(dimensions);
    RUN(isochrone);
    RUN(potentials);
    RUN(noise);
    RUN(nothing_missed);
    RUN(different);
    RUN(variables);
    RUN(distances);
    RUN(two_scales);
    RUN(miyamoto_nagai);
    RUN(several_sets);
    RUN(filter);
    RUN(stop);
    RUN(threads);
    RUN(memory);
    RUN(refused);
    af_context_destroy(c);
    return test_report();
}
