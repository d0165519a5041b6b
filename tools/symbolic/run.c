/* The Feynman set as Phi-SO ran it: 10,000 points without noise, every problem, one line each: what
 * was expected, what was found, whether that is the same function. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"
#include "feynman.h"

enum {
    TRAIN = 10000, TEST = 100000, /* as Phi-SO; the former are 10 % of the files' points */
    FAR = 4000,                   /* points of a range some three times as wide */
    NUMBERS = 3, BASES = 5, TEXT = 2048
};

typedef struct options {
    const char *problems, *csv; /* names with commas between them; NULL: all */
    double seconds;             /* CPU time for a problem */
} options;

/* A problem's words and its points. */
typedef struct task {
    const feynman_problem *problem;
    dp_symbol symbol[FEYNMAN_VARIABLES + NUMBERS];
    dp_vocabulary v;
    double *column[FEYNMAN_VARIABLES], *y, *value;
    const double *columns[FEYNMAN_VARIABLES];
    dp_data_set set;
    double began, limit;
} task;

/* What was found. */
typedef struct answer {
    char formula[TEXT];
    const char *search; /* which found it */
    double error, far, r2, seconds; /* NRMSE; largest relative error but one in a hundred; ... */
    size_t tokens;
    int exact;
} answer;

static double cpu_seconds(void *user) {
    (void)user;
    return (double)clock() / (double)CLOCKS_PER_SEC;
}

static int fail(const af_context *c) {
    fprintf(stderr, "feynman: %s\n", af_error(c));
    return 0;
}

static void *room(size_t count, size_t size) {
    void *p = calloc(count, size);
    if (p) return p;
    fprintf(stderr, "feynman: out of memory\n");
    exit(1);
}

/* ---- a problem ---- */

static int task_words(af_context *c, task *t) {
    static const char *const bases[BASES] = {"m", "s", "kg", "K", "V"};
    static const char *const number[NUMBERS] = {"1", "2", "pi"};
    const feynman_problem *p = t->problem;
    size_t k;
    memset(t->symbol, 0, sizeof t->symbol);
    memset(&t->v, 0, sizeof t->v);
    for (k = 0; k < p->count; k++) {
        t->symbol[k].name = p->variable[k].name;
        if (dp_units_parse(c, p->variable[k].units, bases, BASES, &t->symbol[k].units) != AF_OK)
            return fail(c);
    }
    for (k = 0; k < NUMBERS; k++) {
        t->symbol[p->count + k].name = number[k];
        t->symbol[p->count + k].kind = DP_FIXED;
        t->symbol[p->count + k].value = k == 2 ? acos(-1.0) : (double)(k + 1);
    }
    t->v.symbols = t->symbol;
    t->v.symbol_count = p->count + NUMBERS;
    t->v.bases = bases;
    t->v.base_count = BASES;
    t->v.operators = 1u << DP_ADD | 1u << DP_SUB | 1u << DP_MUL | 1u << DP_DIV | 1u << DP_NEG |
                     1u << DP_INV | 1u << DP_SQUARE | 1u << DP_SQRT | 1u << DP_EXP | 1u << DP_LOG |
                     1u << DP_SIN | 1u << DP_COS;
    if (dp_units_parse(c, p->units, bases, BASES, &t->v.target) != AF_OK) return fail(c);
    return 1;
}

static int task_points(task *t, uint64_t seed, size_t n) {
    t->set.n = n;
    t->set.columns = t->columns;
    t->set.y = t->y;
    return feynman_sample(t->problem, seed, n, t->column, t->y);
}

/* ---- is it the same function? ---- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Points from a third of the lower end of each range to three times the upper end, where the true
 * value is finite. Differences relative to the value; the 99th percentile, since next to poles the
 * 13th digit of a constant shows. HUGE_VAL where too few are finite. */
static double far_off(task *t, const dp_vocabulary *v, const dp_formula *f,
                      const double *constants) {
    const feynman_problem *p = t->problem;
    double x[FEYNMAN_VARIABLES];
    size_t n = 0, tries, i;
    for (tries = 0; tries < 100 * (size_t)FAR && n < FAR; tries++) {
        for (i = 0; i < p->count; i++) {
            double low = p->variable[i].low / 3.0, high = 3.0 * p->variable[i].high;
            x[i] = low + (high - low) * af_random_uniform(77, i, tries);
            t->column[i][n] = x[i];
        }
        n += feynman_value(p, x, &t->y[n]) ? 1u : 0u;
    }
    if (n < FAR / 10 || dp_formula_evaluate(v, f, n, t->columns, constants, t->value) != AF_OK)
        return HUGE_VAL;
    for (i = 0; i < n; i++) {
        double off = fabs(t->value[i] - t->y[i]) / fabs(t->y[i]);
        t->value[i] = off <= 1e300 ? off : 1e300; /* also of NaN */
    }
    qsort(t->value, n, sizeof(double), ascending);
    return t->value[(n * 99) / 100];
}

/* On points of the problem's own ranges that no search has seen. */
static double r_squared(task *t, const dp_vocabulary *v, const dp_formula *f,
                        const double *constants) {
    double mean = 0.0, all = 0.0, left = 0.0;
    size_t i;
    if (!task_points(t, 2, TEST)) return 0.0;
    dp_formula_evaluate(v, f, TEST, t->columns, constants, t->value);
    for (i = 0; i < TEST; i++) mean += t->y[i] / (double)TEST;
    for (i = 0; i < TEST; i++) {
        all += (t->y[i] - mean) * (t->y[i] - mean);
        left += (t->y[i] - t->value[i]) * (t->y[i] - t->value[i]);
    }
    return 1.0 - left / all;
}

/* A formula with fitted constants is exact when its values are those of the published one to 1e-8,
 * inside the ranges and far outside of them: what agrees there at some thousand random points is
 * the same function. */
static void judge(af_context *c, task *t, const dp_vocabulary *v, const dp_symbolic_entry *e,
                  const char *search, answer *a) {
    a->search = search;
    a->error = e->error;
    a->tokens = e->formula.length;
    if (dp_formula_text(c, v, &e->formula, DP_TEXT_PLAIN, a->formula, sizeof a->formula) != AF_OK)
        a->formula[0] = 0;
    a->r2 = r_squared(t, v, &e->formula, e->constants);
    a->far = far_off(t, v, &e->formula, e->constants);
    a->exact = a->far <= 1e-8 && a->r2 > 1.0 - 1e-12;
}

/* ---- the search ---- */

static int solve(af_context *c, task *t, answer *a) {
    dp_symbolic_desc desc;
    dp_symbolic_result *r = NULL;
    af_status s;
    memset(&desc, 0, sizeof desc);
    desc.affine = DP_AMPLITUDE_OFFSET;
    desc.max_tokens = 20;
    desc.combine = 1;
    desc.evolve = (size_t)1 << 40;
    desc.memory = (size_t)1 << 30;
    desc.clock = cpu_seconds;
    desc.seconds = t->limit;
    t->began = cpu_seconds(NULL);
    s = dp_symbolic_search(c, &t->v, &t->set, 1, &desc, &r);
    if (s != AF_OK || !r->count) {
        snprintf(a->formula, sizeof a->formula, "%s", s != AF_OK ? af_error(c) : "none");
        af_error_clear(c);
        a->error = a->far = HUGE_VAL;
        a->search = "";
        a->seconds = cpu_seconds(NULL) - t->began;
        dp_symbolic_destroy(r);
        return 1;
    }
    a->seconds = cpu_seconds(NULL) - t->began;
    judge(c, t, &r->vocabulary, &r->front[r->count - 1],
          r->evolved ? "evolved" : "listed", a);
    dp_symbolic_destroy(r);
    return 1;
}

/* ---- all of them ---- */

typedef struct tally {
    size_t count, exact, good; /* good: R2 > 0.999, Phi-SO's other column */
} tally;

enum { CLASSES = 6 };

static const char *const CLASS[CLASSES] = {"all", "lectures", "bonus", "easy", "medium", "hard"};

static int in_class(const feynman_problem *p, size_t k) {
    int bonus = (p->flags & FEYNMAN_BONUS) != 0;
    switch (k) {
    case 0: return 1;
    case 1: return !bonus;
    case 2: return bonus;
    case 3: return p->level == 'e';
    case 4: return p->level == 'm';
    default: return p->level == 'h';
    }
}

static int wanted(const options *o, const char *name) {
    const char *at = o->problems;
    size_t n = strlen(name);
    if (!at) return 1;
    for (; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, n) == 0 && (at[n] == 0 || at[n] == ',')) return 1;
    }
    return 0;
}

static void report(FILE *csv, const feynman_problem *p, const answer *a) {
    printf("%-11s %s %7.1f s  far %-8.1e error %-8.1e %-7s %s\n            %*s %s\n", p->name,
           a->exact ? "exact" : "  -  ", a->seconds, a->far, a->error, a->search, a->formula, 5, "",
           p->formula);
    fflush(stdout);
    if (!csv) return;
    fprintf(csv, "%s,%c,%d,\"%s\",\"%s\",%s,%d,%.3e,%.3e,%.12f,%zu,%.2f\n", p->name, p->level,
            (p->flags & FEYNMAN_BONUS) != 0, p->formula, a->formula, a->search, a->exact, a->error,
            a->far, a->r2, a->tokens, a->seconds);
    fflush(csv);
}

static void table(const tally *t, double seconds) {
    size_t k;
    printf("\nclass      problems   exact            R2 > 0.999\n");
    for (k = 0; k < CLASSES; k++)
        if (t[k].count)
            printf("%-10s %8zu %7zu %6.1f %%  %7zu %6.1f %%\n", CLASS[k], t[k].count, t[k].exact,
                   100.0 * (double)t[k].exact / (double)t[k].count, t[k].good,
                   100.0 * (double)t[k].good / (double)t[k].count);
    printf("%.0f CPU seconds\n", seconds);
}

static int run_all(af_context *c, const options *o, task *t, FILE *csv) {
    tally count[CLASSES];
    double seconds = 0.0;
    size_t i, k;
    memset(count, 0, sizeof count);
    for (i = 0; i < FEYNMAN_PROBLEMS; i++) {
        const feynman_problem *p = feynman_get(i);
        answer a;
        if ((p->flags & FEYNMAN_LEFT_OUT) || !wanted(o, p->name)) continue;
        memset(&a, 0, sizeof a);
        t->problem = p;
        t->limit = o->seconds;
        if (!task_words(c, t) || !task_points(t, 1, TRAIN) || !solve(c, t, &a)) return 0;
        report(csv, p, &a);
        seconds += a.seconds;
        for (k = 0; k < CLASSES; k++) {
            if (!in_class(p, k)) continue;
            count[k].count++;
            count[k].exact += a.exact ? 1u : 0u;
            count[k].good += a.r2 > 0.999 ? 1u : 0u;
        }
    }
    if (!count[0].count) fprintf(stderr, "feynman: no problem is called %s\n", o->problems);
    else table(count, seconds);
    return count[0].count > 0;
}

static int usage(void) {
    fprintf(stderr, "usage: feynman [--problems I.6.20,test_3] [--seconds 60] [--csv FILE]\n");
    return 2;
}

static int options_read(int argc, char **argv, options *o) {
    int k;
    memset(o, 0, sizeof *o);
    o->seconds = 60.0;
    for (k = 1; k + 1 < argc; k += 2) {
        if (strcmp(argv[k], "--problems") == 0) o->problems = argv[k + 1];
        else if (strcmp(argv[k], "--csv") == 0) o->csv = argv[k + 1];
        else if (strcmp(argv[k], "--seconds") == 0) o->seconds = strtod(argv[k + 1], NULL);
        else return 0;
    }
    return k == argc && o->seconds > 0.0;
}

int main(int argc, char **argv) {
    options o;
    af_context *c = NULL;
    task t;
    FILE *csv = NULL;
    size_t i;
    int good;
    if (!options_read(argc, argv, &o)) return usage();
    if (af_context_create(NULL, &c) != AF_OK) return 1;
    memset(&t, 0, sizeof t);
    for (i = 0; i < FEYNMAN_VARIABLES; i++)
        t.columns[i] = t.column[i] = (double *)room(TEST, sizeof(double));
    t.y = (double *)room(TEST, sizeof(double));
    t.value = (double *)room(TEST, sizeof(double));
    if (o.csv && !(csv = fopen(o.csv, "w"))) {
        perror(o.csv);
        return 1;
    }
    if (csv)
        fprintf(csv, "problem,level,bonus,published,found,search,exact,error,far,r2,tokens,"
                     "seconds\n");
    good = run_all(c, &o, &t, csv);
    if (csv && fclose(csv)) good = 0;
    for (i = 0; i < FEYNMAN_VARIABLES; i++) free(t.column[i]);
    free(t.y);
    free(t.value);
    af_context_destroy(c);
    return good ? 0 : 1;
}
