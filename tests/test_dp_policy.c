/* Formulas from data by a policy: what may be written, what is learnt, what is kept. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#include "af_heap.h"

static af_context *c;

enum { POINTS = 60 };

/* A vocabulary and data for it. Base units: length, time. */
typedef struct problem {
    dp_symbol symbol[8];
    dp_vocabulary v;
    double column[2][POINTS], y[POINTS];
    const double *columns[2];
    dp_data_set set;
    dp_policy_desc desc;
    dp_policy_result *result;
} problem;

static const char *const bases[] = {"m", "s"};

static void add_symbol(problem *p, const char *name, dp_symbol_kind kind, double length,
                       double time, double value) {
    dp_symbol *s = &p->symbol[p->v.symbol_count++];
    memset(s, 0, sizeof *s);
    s->name = name;
    s->kind = kind;
    s->units.power[0] = length;
    s->units.power[1] = time;
    s->value = value;
}

static void begin(problem *p, double length, double time) {
    memset(p, 0, sizeof *p);
    p->v.symbols = p->symbol;
    p->v.bases = bases;
    p->v.base_count = 2;
    p->v.target.power[0] = length;
    p->v.target.power[1] = time;
    p->columns[0] = p->column[0];
    p->columns[1] = p->column[1];
    p->set.n = POINTS;
    p->set.columns = p->columns;
    p->set.y = p->y;
    p->desc.batch = 200; /* BATCH */
    p->desc.width = 16;
    p->desc.max_tokens = 15; /* LONGEST */
}

static double hernquist(double r) { return 2.0 / (0.7 + r); }
static double isochrone(double r) { return -2.0 / (0.7 + sqrt(0.49 + r * r)); }

/* A potential of radii 0.05 to 8, b = 0.7, GM = 2. */
static void potential(problem *p, double (*phi)(double r)) {
    size_t i;
    begin(p, 2, -2);
    add_symbol(p, "r", DP_VARIABLE, 1, 0, 0);
    add_symbol(p, "b", DP_FREE, 1, 0, 0);
    add_symbol(p, "GM", DP_FREE, 3, -2, 0);
    for (i = 0; i < POINTS; i++) {
        p->column[0][i] = 0.05 * pow(160.0, (double)i / (POINTS - 1.0));
        p->y[i] = phi(p->column[0][i]);
    }
}

/* Powers, functions, halves of units. */
static void powers(problem *p) {
    size_t i;
    begin(p, 0.5, 0);
    add_symbol(p, "x", DP_VARIABLE, 1, 0, 0);
    add_symbol(p, "k", DP_FREE, -1, 0, 0);
    add_symbol(p, "2", DP_FIXED, 0, 0, 2);
    add_symbol(p, "half", DP_FIXED, 0, 0, 0.5);
    p->v.operators = 1u << DP_SUB | 1u << DP_MUL | 1u << DP_POW | 1u << DP_EXP | 1u << DP_CUBE;
    for (i = 0; i < POINTS; i++) p->y[i] = p->column[0][i] = 1.0 + (double)i;
}

static af_status search(problem *p) {
    return dp_policy_search(c, &p->v, &p->set, 1, &p->desc, &p->result);
}

static dp__policy *opened(problem *p) {
    dp__policy *policy = NULL;
    CHECK(dp__policy_open(c, &p->v, &p->set, 1, &p->desc, &policy) == AF_OK);
    return policy;
}

static void closed(dp__policy *policy) {
    dp__policy_close(policy);
    dp_policy_destroy(&policy->result);
}

/* ---- what may be written ---- */

/* One past the last token of what begins at i. */
static size_t part_end(const dp_formula *f, size_t i) {
    size_t open = 1;
    for (; open > 0; i++) open = open + dp_operator_arity(f->token[i]) - 1;
    return i;
}

static dp_units part_units(const problem *p, const dp_formula *f, size_t i) {
    dp_formula part = AF__ZERO;
    dp_units units = AF__ZERO;
    part.length = part_end(f, i) - i;
    memcpy(part.token, f->token + i, part.length);
    CHECK(dp_formula_units(c, &p->v, &part, &units, NULL) == AF_OK);
    return units;
}

/* Required units, those of the argument before, and possible tokens along a formula. */
static void check_walk(const problem *p, dp__policy *policy, const dp_formula *f) {
    const dp__policy_grammar *g = &policy->grammar;
    dp__policy_walk *w = &policy->lane[0].walk[0];
    size_t t;
    dp__policy_begin(g, w);
    for (t = 0; t < f->length; t++) {
        const dp__policy_above *o = w->depth ? &w->open[w->depth - 1] : NULL;
        dp_units units = part_units(p, f, t);
        if (w->known[w->depth] != DP__POLICY_NONE)
            CHECK(dp_units_equal(&g->units[w->known[w->depth]], &units));
        if (o && o->first != DP__POLICY_NONE) {
            units = part_units(p, f, o->at + 1);
            CHECK(dp_units_equal(&g->units[o->first], &units));
        }
        CHECK(dp__policy_possible(g, w, f->token[t]) <= g->longest - t);
        dp__policy_take(g, w, f->token[t]);
    }
    CHECK(w->dangling == 0 && w->depth == 0);
}

static void check_samples(problem *p) {
    dp__policy *policy = opened(p);
    size_t i, physical = 0, known = 0, longest = 0;
    if (!policy) return;
    CHECK(dp__policy_write(policy) == AF_OK);
    for (i = 0; i < p->desc.batch; i++) {
        const dp_formula *f = &policy->sample[i].formula;
        CHECK(f->length <= p->desc.max_tokens && dp_formula_check(c, &p->v, f) == AF_OK);
        known += dp_formula_check(c, &p->v, f) == AF_OK;
        physical += dp_formula_units(c, &p->v, f, NULL, NULL) == AF_OK;
        if (f->length > longest) longest = f->length;
        af_error_clear(c);
        check_walk(p, policy, f);
    }
    printf("  physical before training: %.1f %% of %lu, longest %lu tokens\n",
           100.0 * (double)physical / (double)p->desc.batch, (unsigned long)p->desc.batch,
           (unsigned long)longest);
    CHECK(known == p->desc.batch && physical == p->desc.batch && longest > 5);
    closed(policy);
}

TEST(physical) {
    static problem p;
    potential(&p, isochrone);
    p.desc.batch = 1000;
    p.desc.max_tokens = 35;
    check_samples(&p);
    add_symbol(&p, "1", DP_FIXED, 0, 0, 1);
    p.desc.spread = -1.0; /* long ones too */
    check_samples(&p);
    powers(&p);
    p.desc.spread = -1.0;
    check_samples(&p);
}

/* All formulas of exactly n tokens, each given to `each`. */
typedef struct brute {
    problem *p;
    dp__policy *policy;
    dp_formula f;
    size_t longest, whole, physical;
} brute;

static void brute_all(brute *b, size_t dangling) {
    size_t k, n = b->policy->grammar.choices;
    if (dangling == 0) {
        b->whole++;
        b->physical += dp_formula_units(c, &b->p->v, &b->f, NULL, NULL) == AF_OK;
        af_error_clear(c);
        return;
    }
    if (b->f.length + dangling > b->longest) return;
    for (k = 0; k < n; k++) {
        size_t token = b->policy->grammar.token[k];
        b->f.token[b->f.length++] = (uint8_t)token;
        brute_all(b, dangling + dp_operator_arity(token) - 1);
        b->f.length--;
    }
}

/* The same along what the grammar says to be possible: no way may end nowhere. */
static void brute_walk(brute *b) {
    const dp__policy_grammar *g = &b->policy->grammar;
    dp__policy_walk *w = &b->policy->lane[0].walk[0];
    size_t k, i, ways = 0;
    for (k = 0; k < g->choices; k++) {
        dp__policy_begin(g, w);
        for (i = 0; i < b->f.length; i++) dp__policy_take(g, w, b->f.token[i]);
        if (w->dangling == 0) {
            b->whole++;
            return;
        }
        if (dp__policy_possible(g, w, g->token[k]) > g->longest - b->f.length) continue;
        ways++;
        b->f.token[b->f.length++] = g->token[k];
        brute_walk(b);
        b->f.length--;
    }
    CHECK(ways > 0);
}

static void check_brute(problem *p, size_t longest) {
    brute all, walk;
    memset(&all, 0, sizeof all);
    p->desc.max_tokens = longest;
    all.p = p;
    all.policy = opened(p);
    if (!all.policy) return;
    all.longest = longest;
    walk = all;
    brute_all(&all, 1);
    brute_walk(&walk);
    printf("  %lu formulas of up to %lu tokens, %lu physical, %lu written\n",
           (unsigned long)all.whole, (unsigned long)longest, (unsigned long)all.physical,
           (unsigned long)walk.whole);
    CHECK(all.physical == walk.whole && all.physical > 30);
    closed(all.policy);
}

/* The grammar writes all formulas with right units and no other. */
TEST(brute_force) {
    static problem p;
    potential(&p, isochrone);
    p.v.operators = 1u << DP_ADD | 1u << DP_MUL | 1u << DP_DIV | 1u << DP_INV | 1u << DP_SQRT |
                    1u << DP_EXP;
    check_brute(&p, 6);
    p.v.operators = 1u << DP_ADD | 1u << DP_DIV; /* r takes one token, 1/r five */
    check_brute(&p, 9);
    powers(&p);
    check_brute(&p, 6);
    potential(&p, isochrone);
    p.v.no_units = 1;
    p.v.operators = 1u << DP_ADD | 1u << DP_DIV | 1u << DP_POW | 1u << DP_NEG;
    check_brute(&p, 5);
}

TEST(priors) {
    static problem p;
    dp__policy *policy;
    dp__policy_walk *w;
    float mask[DP__POLICY_CHOICES];
    const dp__policy_grammar *g;
    potential(&p, isochrone);
    p.v.no_units = 1;
    p.v.operators = 1u << DP_ADD | 1u << DP_NEG | 1u << DP_EXP | 1u << DP_SIN | 1u << DP_COS;
    p.desc.min_tokens = 4;
    p.desc.max_tokens = 35;
    policy = opened(&p);
    if (!policy) return;
    g = &policy->grammar;
    w = &policy->lane[0].walk[0];
    dp__policy_begin(g, w);
    dp__policy_mask(g, w, mask); /* a symbol alone is too short, and far from 8 tokens */
    CHECK_CLOSE(mask[g->choice[DP_OPERATORS]], -64.0 / 10.0 - 15.94, 1e-5);
    CHECK(mask[g->choice[DP_NEG]] == 0.0f);
    dp__policy_take(g, w, DP_EXP);
    dp__policy_take(g, w, DP_NEG);
    dp__policy_mask(g, w, mask);
    CHECK(mask[g->choice[DP_NEG]] == DP__POLICY_USELESS); /* -(-x) */
    CHECK(mask[g->choice[DP_EXP]] == DP__POLICY_USELESS); /* exp(-exp(x)) */
    CHECK(mask[g->choice[DP_SIN]] == 0.0f);
    dp__policy_take(g, w, DP_SIN);
    dp__policy_mask(g, w, mask);
    CHECK(mask[g->choice[DP_COS]] == DP__POLICY_USELESS && mask[g->choice[DP_NEG]] == 0.0f);
    while (w->formula.length < 10) dp__policy_take(g, w, DP_ADD);
    dp__policy_mask(g, w, mask); /* 10 + 8 tokens at least, or 10 + 9, or 10 + 10 */
    CHECK(w->dangling == 8 && mask[g->choice[DP_OPERATORS]] == 0.0f);
    CHECK_CLOSE(mask[g->choice[DP_NEG]], -(121.0 - 100.0) / 10.0, 1e-5);
    CHECK_CLOSE(mask[g->choice[DP_ADD]], -(144.0 - 100.0) / 10.0, 1e-5);
    closed(policy);
}

/* ---- the network ---- */

enum { BATCH = 200, ROWS = 16, FIRST = BATCH - ROWS, LONGEST = 15 };

/* Log-probabilities of the last ROWS samples by the graph of the loss, in f64; the entropy of the
 * first token. */
static void graph_log_p(dp__policy *q, double sum[ROWS], double *entropy) {
    static double log_p[ROWS * LONGEST * DP__POLICY_CHOICES];
    af_func_desc d = AF__ZERO;
    af_func *f = NULL;
    af_workspace *work = NULL;
    af_expr in[3], out;
    const void *data[3];
    void *to[1];
    size_t dims[3], i, t, n = q->grammar.choices;
    CHECK(q->padded >= ROWS && q->grammar.longest == LONGEST);
    dims[0] = ROWS;
    dims[1] = LONGEST;
    dims[2] = q->net.features;
    in[0] = af_params_input(q->net.params);
    in[1] = af_input(c, "x", 3, dims);
    dims[2] = n;
    in[2] = af_input(c, "mask", 3, dims);
    out = dp__lstm_sequence(&q->net, in[1], in[2], ROWS, LONGEST);
    d.inputs = in;
    d.input_count = 3;
    d.outputs = &out;
    d.output_count = 1;
    CHECK(af_compile(c, &d, &f) == AF_OK && af_workspace_create(f, 1, &work) == AF_OK);
    memset(q->choice, 0, ROWS * LONGEST * n * sizeof(double));
    for (i = 0; i < ROWS; i++) dp__policy_replay(q, i, &q->sample[FIRST + i].formula, 1.0, 0.0);
    data[0] = af_params_data(q->net.params);
    data[1] = q->x;
    data[2] = q->mask;
    to[0] = log_p;
    CHECK(af_run(f, work, data, to) == AF_OK);
    for (i = 0; i < ROWS; i++) {
        double all = 0.0;
        sum[i] = *entropy = 0.0;
        for (t = 0; t < LONGEST * n; t++) {
            size_t at = i * LONGEST * n + t;
            sum[i] += q->choice[at] == 0.0 ? 0.0 : log_p[at];
            if (t < n) all += exp(log_p[at]);
            if (t < n) *entropy -= log_p[at] * exp(log_p[at]);
        }
        CHECK_CLOSE(all, 1.0, 1e-12);
    }
    af_workspace_destroy(work);
    af_func_destroy(f);
}

/* The sampler's log-probabilities are those of the loss's graph. */
TEST(log_probabilities) {
    static problem p;
    dp__policy *q;
    double sum[ROWS], entropy;
    size_t i;
    potential(&p, isochrone);
    q = opened(&p);
    if (!q) return;
    CHECK(dp__policy_write(q) == AF_OK);
    graph_log_p(q, sum, &entropy);
    for (i = 0; i < ROWS; i++) {
        CHECK_CLOSE(q->sample[FIRST + i].log_p, sum[i], 1e-5);
        CHECK(sum[i] < -0.5);
    }
    closed(q);
}

/* Steps raise the probability of the formula that is rewarded most; formulas at the baseline and
 * below are not reinforced. */
TEST(gradient) {
    static problem p;
    dp__policy *q;
    double before[ROWS], after[ROWS], entropy;
    size_t i, step, lower = 0;
    potential(&p, isochrone);
    p.desc.entropy = -1.0;
    q = opened(&p);
    if (!q) return;
    CHECK(dp__policy_write(q) == AF_OK);
    for (i = 0; i < p.desc.batch; i++) q->sample[i].reward = i == FIRST + 7 ? 0.9 : 0.5;
    graph_log_p(q, before, &entropy);
    for (step = 0; step < 10; step++) CHECK(dp__policy_learn(q) == AF_OK);
    graph_log_p(q, after, &entropy);
    for (i = 0; i < ROWS; i++) lower += i != 7 && after[i] < before[i];
    CHECK(after[7] > before[7] + 1.0 && lower >= 5);
    closed(q);
}

/* The entropy's bonus alone makes choices more even. */
TEST(entropy) {
    static problem p;
    dp__policy *q;
    double sum[ROWS], before, after;
    size_t step;
    potential(&p, isochrone);
    p.desc.entropy = 1.0;
    q = opened(&p);
    if (!q) return;
    CHECK(dp__policy_write(q) == AF_OK); /* rewards are all 0 */
    graph_log_p(q, sum, &before);
    for (step = 0; step < 10; step++) CHECK(dp__policy_learn(q) == AF_OK);
    graph_log_p(q, sum, &after);
    CHECK(after > before + 0.001);
    closed(q);
}

/* ---- learning ---- */

typedef struct history {
    double mean[64], reward[64];
    size_t epochs, stop;
} history;

static int remember(const dp_policy_result *r, void *user) {
    history *h = (history *)user;
    h->mean[h->epochs] = r->mean;
    h->reward[h->epochs++] = r->reward;
    return h->epochs == h->stop;
}

/* The formula of the entry far outside of the data. */
static double outside(const problem *p, const dp_symbolic_entry *e, const double *constants) {
    const double *columns[1];
    double r = 50.0, y = NAN;
    columns[0] = &r;
    CHECK(dp_formula_evaluate(&p->v, &e->formula, 1, columns, constants, &y) == AF_OK);
    return y;
}

TEST(learning) {
    static problem p;
    static history h;
    char text[200];
    const dp_symbolic_entry *best;
    potential(&p, hernquist);
    memset(&h, 0, sizeof h);
    p.desc.epochs = 30;
    p.desc.rate = 0.01; /* for so few steps */
    p.desc.length = 5.0;
    p.desc.error = -1.0; /* goes on after the formula is found */
    p.desc.progress = remember;
    p.desc.user = &h;
    CHECK(search(&p) == AF_OK);
    if (!p.result) return;
    best = &p.result->front[p.result->best];
    CHECK(dp_formula_text(c, &p.v, &best->formula, DP_TEXT_PLAIN, text, sizeof text) == AF_OK);
    printf("  %s, error %.1e; mean reward %.3f untrained, %.3f trained; %lu samples, %lu fits\n",
           text, best->error, h.mean[0], h.mean[29], (unsigned long)p.result->samples,
           (unsigned long)p.result->fits);
    CHECK(best->error < 1e-9);
    CHECK_CLOSE(outside(&p, best, best->constants) / hernquist(50.0), 1.0, 1e-8);
    CHECK(p.result->reward > 1.0 - 1e-9 && p.result->end == DP_POLICY_EPOCHS);
    CHECK(h.mean[29] > h.mean[0] + 0.1 && h.epochs == 30 && p.result->samples == 6000);
    CHECK(p.result->fits < 6000);
    dp_policy_destroy(p.result);
    p.desc.error = 0.0;
    h.epochs = 0;
    CHECK(search(&p) == AF_OK && p.result->end == DP_POLICY_ERROR && p.result->epochs < 30);
    dp_policy_destroy(p.result);
}

/* Formulas are fitted once: as many fits as there are different ones. */
TEST(duplicates) {
    static problem p;
    dp__policy *q;
    size_t i, j, different = 0;
    potential(&p, isochrone);
    p.desc.max_tokens = 5;
    q = opened(&p);
    if (!q) return;
    CHECK(dp__policy_write(q) == AF_OK && dp__policy_reward(q) == AF_OK);
    for (i = 0; i < p.desc.batch; i++) {
        const dp__policy_sample *a = &q->sample[i];
        for (j = 0; j < i; j++) {
            const dp__policy_sample *b = &q->sample[j];
            if (a->formula.length != b->formula.length ||
                memcmp(a->formula.token, b->formula.token, a->formula.length) != 0)
                continue;
            CHECK(a->reward == b->reward);
            break;
        }
        different += j == i;
    }
    CHECK(q->result.fits == different && different < p.desc.batch && q->seen_count == different);
    closed(q);
}

/* ---- any criterion ---- */

/* A potential: zero at infinity, attracts everywhere, density not below zero. */
static int is_potential(const dp_vocabulary *v, const dp_formula *f, const double *constants) {
    enum { N = 16 };
    double r[N], phi[N], mass = 0.0, far_away = 1e8, at_far;
    const double *columns[1];
    size_t i;
    columns[0] = &far_away;
    if (dp_formula_evaluate(v, f, 1, columns, constants, &at_far) != AF_OK) return 0;
    if (!(fabs(at_far) < 1e-3)) return 0;
    columns[0] = r;
    for (i = 0; i < N; i++) r[i] = 0.05 * pow(1.4, (double)i);
    if (dp_formula_evaluate(v, f, N, columns, constants, phi) != AF_OK) return 0;
    for (i = 0; i + 1 < N; i++) { /* the mass inside grows: r^2 dPhi/dr */
        double within = r[i] * r[i + 1] * (phi[i + 1] - phi[i]) / (r[i + 1] - r[i]);
        if (!(within >= mass)) return 0;
        mass = within;
    }
    return 1;
}

static double potentials_only(const dp_symbolic_candidate *candidate, void *user) {
    size_t *asked = (size_t *)user;
    double check;
    const double *columns[1];
    double r = 0.05;
    columns[0] = &r;
    ++*asked;
    dp_formula_evaluate(candidate->vocabulary, candidate->formula, 1, columns,
                        candidate->constants, &check);
    CHECK(fabs(check - candidate->values[0]) <= 1e-12 * fabs(check));
    return is_potential(candidate->vocabulary, candidate->formula, candidate->constants) ? 1.0
                                                                                        : -1.0;
}

TEST(filter) {
    static problem p;
    size_t asked = 0, k, pass;
    potential(&p, isochrone);
    for (k = 0; k < POINTS; k++) p.y[k] += 0.3; /* a potential of another zero point */
    p.desc.epochs = 3;
    p.desc.batch = 300;
    for (pass = 0; pass < 2; pass++) {
        size_t fine = 0;
        CHECK(search(&p) == AF_OK && p.result && p.result->count > 0);
        for (k = 0; k < p.result->count; k++)
            fine += (size_t)is_potential(&p.v, &p.result->front[k].formula,
                                         p.result->front[k].constants);
        CHECK((fine == p.result->count) == (pass == 1));
        CHECK(asked <= p.result->fits && (asked > 0) == (pass == 1));
        dp_policy_destroy(p.result);
        p.desc.filter = potentials_only;
        p.desc.user = &asked;
    }
}

/* ---- what must hold for any result ---- */

static int same_front(const dp_policy_result *a, const dp_policy_result *b) {
    size_t k;
    if (a->count != b->count || a->fits != b->fits || a->mean != b->mean) return 0;
    for (k = 0; k < a->count; k++) {
        const dp_symbolic_entry *x = &a->front[k], *y = &b->front[k];
        if (x->error != y->error || x->formula.length != y->formula.length ||
            memcmp(x->formula.token, y->formula.token, x->formula.length) != 0 ||
            memcmp(x->constants, y->constants, 2 * sizeof(double)) != 0)
            return 0;
    }
    return 1;
}

TEST(deterministic) {
    static problem p, q, other;
    potential(&p, isochrone);
    p.desc.epochs = 3;
    q = p;
    q.v.symbols = q.symbol;
    other = q;
    other.v.symbols = other.symbol;
    other.desc.seed = 5;
    af_context_set_threads(c, 1);
    CHECK(search(&p) == AF_OK);
    af_context_set_threads(c, 3);
    CHECK(search(&q) == AF_OK && search(&other) == AF_OK);
    af_context_set_threads(c, 0);
    CHECK(same_front(p.result, q.result) && !same_front(p.result, other.result));
    dp_policy_destroy(p.result);
    dp_policy_destroy(q.result);
    dp_policy_destroy(other.result);
}

static double ticks(void *user) { return (double)++*(size_t *)user; }

TEST(stop) {
    static problem p;
    static history h;
    size_t k, time = 0;
    potential(&p, isochrone);
    memset(&h, 0, sizeof h);
    h.stop = 2;
    p.desc.progress = remember;
    p.desc.user = &h;
    CHECK(search(&p) == AF_STOPPED && p.result);
    CHECK(p.result->end == DP_POLICY_STOPPED && p.result->epochs == 2 && p.result->count > 0);
    CHECK(p.result->samples == 400);
    for (k = 1; k < p.result->count; k++) {
        CHECK(p.result->front[k].error < p.result->front[k - 1].error);
        CHECK(p.result->front[k].formula.length > p.result->front[k - 1].formula.length);
    }
    dp_policy_destroy(p.result);
    p.desc.progress = NULL;
    p.desc.clock = ticks;
    p.desc.seconds = 3.0;
    p.desc.user = &time;
    CHECK(search(&p) == AF_OK && p.result->end == DP_POLICY_TIME && p.result->count > 0);
    CHECK(p.result->seconds >= 3.0 && p.result->epochs < 5);
    dp_policy_destroy(p.result);
}

/* Constants of each of two sets. */
TEST(several_sets) {
    static problem p;
    static double second[POINTS];
    dp_data_set sets[2];
    const dp_symbolic_entry *best;
    size_t i;
    potential(&p, hernquist);
    p.symbol[2].kind = DP_SPECIFIC;
    sets[0] = sets[1] = p.set;
    for (i = 0; i < POINTS; i++) second[i] = 3.0 * p.y[i];
    sets[1].y = second;
    p.desc.epochs = 15;
    p.desc.length = 5.0;
    p.desc.error = 1e-8;
    CHECK(dp_policy_search(c, &p.v, sets, 2, &p.desc, &p.result) == AF_OK);
    if (!p.result) return;
    CHECK(p.result->end == DP_POLICY_ERROR);
    best = &p.result->front[p.result->best];
    for (i = 0; i < 2; i++) { /* b is shared, GM each set's own */
        double own[2];
        own[0] = best->constants[0];
        own[1] = best->constants[1 + i];
        CHECK_CLOSE(outside(&p, best, own) / hernquist(50.0), i ? 3.0 : 1.0, 1e-6);
    }
    dp_policy_destroy(p.result);
}

TEST(memory) {
    static problem p;
    af_context *keep = c;
    heap h;
    long k;
    potential(&p, isochrone);
    p.desc.batch = 16;
    p.desc.width = 4;
    p.desc.max_tokens = 5;
    p.desc.epochs = 1;
    for (k = 1;; k++) {
        af_status s;
        CHECK(heap_open(&h, 0, 1, &c) == AF_OK);
        h.fail_at = h.calls + k;
        s = search(&p);
        if (s == AF_ERROR_MEMORY) CHECK(!p.result && strstr(af_error(c), "memory"));
        dp_policy_destroy(p.result);
        af_context_destroy(c);
        CHECK(h.live == 0);
        if (s == AF_OK || k > 2000) break;
        CHECK(s == AF_ERROR_MEMORY);
    }
    printf("  %ld allocations\n", k - 1);
    CHECK(k > 60 && k < 2000);
    c = keep;
}

TEST(refused) {
    static problem p;
    potential(&p, isochrone);
    p.symbol[2].units.power[1] = 0.0;
    CHECK_FAILS(search(&p), AF_ERROR_DATA, "give a constant that has s in it");
    CHECK(p.result == NULL);
    potential(&p, isochrone);
    p.column[0][7] = NAN;
    CHECK_FAILS(search(&p), AF_ERROR_DATA, "point 7 of data set 0 is not finite");
    potential(&p, isochrone);
    memset(p.y, 0, sizeof p.y);
    CHECK_FAILS(search(&p), AF_ERROR_DATA, "y is the same at all points");
    potential(&p, isochrone);
    p.desc.end_canary = 1;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "zeroed");
    potential(&p, isochrone);
    p.desc.max_tokens = DP_FORMULA_MAX + 1;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "max_tokens is 49; at most 48");
    p.desc.max_tokens = 3;
    p.desc.min_tokens = 4;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "min_tokens is 4, above max_tokens, 3");
    p.desc.min_tokens = 0;
    p.desc.risk = 1.5;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "risk is 1.5");
    p.desc.risk = 0.0;
    p.desc.width = 5000;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "width is 5000");
    p.desc.width = 4;
    p.desc.decay = 2.0;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "decay is 2");
    p.desc.decay = 0.0;
    p.desc.length = NAN;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "must be finite");
    p.desc.length = 0.0;
    p.desc.seconds = 1.0;
    CHECK_FAILS(search(&p), AF_ERROR_ARGUMENT, "needs a clock");
    CHECK(p.result == NULL);
}

int main(void) {
    if (af_context_create(NULL, &c) != AF_OK) return 1;
    RUN(physical);
    RUN(brute_force);
    RUN(priors);
    RUN(log_probabilities);
    RUN(gradient);
    RUN(entropy);
    RUN(learning);
    RUN(duplicates);
    RUN(filter);
    RUN(deterministic);
    RUN(stop);
    RUN(several_sets);
    RUN(memory);
    RUN(refused);
    af_context_destroy(c);
    return test_report();
}
