/* formulas [--seeds N] [--rows NAME,...]: are the formulas of known potentials found from noisy
 * values? Part one: seven potentials, values at 1000 places with Gaussian errors of 1 % of their
 * rms, through dp_distill. Part two: the kinetic energy along 29 streams of 100 stars in one NFW
 * halo, each with an energy of its own (Class SR), errors of 0, 0.1, 1 and 10 %. A formula is exact
 * when it can be fitted to the potential without errors, from a hundredth to a hundred scale
 * lengths, to 1e-6. One line a search, then how many were exact. Never part of the tests. */
#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PLACES = 1000, FAR = 400, STREAMS = 29, STARS = 100, TEXT = 512 };

static const char *const bases[] = {"kpc", "Myr"};

static double cpu(void *user) {
    (void)user;
    return (double)clock() / CLOCKS_PER_SEC;
}

/* ---- the potentials: GM = 2, b = 0.7 ---- */

static double isochrone(double r) { return -2.0 / (0.7 + sqrt(0.49 + r * r)); }
static double plummer(double r) { return -2.0 / sqrt(0.49 + r * r); }
static double nfw(double r) { return -2.0 * log(1.0 + r / 0.7) / r; }
static double hernquist(double r) { return -2.0 / (0.7 + r); }
static double jaffe(double r) { return -2.0 / 0.7 * log(1.0 + 0.7 / r); }
static double logarithmic(double r) { return 0.8 * log(r * r + 0.49); }

static double miyamoto_nagai(double r, double z) {
    double k = 0.7 + sqrt(0.16 + z * z);
    return -2.0 / sqrt(r * r + k * k);
}

typedef struct truth {
    const char *name;
    double (*of_r)(double r);
    double (*of_rz)(double r, double z); /* instead */
} truth;

static const truth truths[] = {{"isochrone", isochrone, NULL}, {"plummer", plummer, NULL},
                               {"nfw", nfw, NULL},             {"hernquist", hernquist, NULL},
                               {"jaffe", jaffe, NULL},         {"logarithmic", logarithmic, NULL},
                               {"miyamoto-nagai", NULL, miyamoto_nagai}};

static double truth_at(const truth *t, double r, double z) {
    return t->of_r ? t->of_r(r) : t->of_rz(r, z);
}

enum { TRUTHS = sizeof truths / sizeof truths[0] };

/* ---- is it exact? ---- */

/* Whether the formula, its constants free, is the potential far outside the data. */
static int exact(af_context *c, const dp_vocabulary *v, const dp_symbolic_entry *e,
                 const truth *t) {
    static double x[2][FAR], y[FAR];
    const double *columns[2];
    double constants[DP_SYMBOLS_MAX];
    dp_fitter_desc desc = {0};
    dp_fit_report report;
    dp_data_set set;
    size_t i, common = dp_vocabulary_count(v, DP_FREE), own = dp_vocabulary_count(v, DP_SPECIFIC);
    memset(&set, 0, sizeof set);
    for (i = 0; i < FAR; i++) { /* log-uniform in r; directions from the axis to the plane */
        double r = 0.007 * pow(1e4, (double)i / (FAR - 1.0)), u = (double)(i * 37 % FAR) / FAR;
        x[0][i] = t->of_r ? r : r * sqrt(1.0 - u * u);
        x[1][i] = r * u;
        y[i] = truth_at(t, x[0][i], x[1][i]);
    }
    columns[0] = x[0];
    columns[1] = x[1];
    set.n = FAR;
    set.columns = columns;
    set.y = y;
    for (i = 0; i < common + own; i++) constants[i] = e->constants[i];
    desc.start = e->constants;
    desc.starts = 20;
    if (dp_formula_fit(c, v, &e->formula, &set, 1, &desc, constants, &report) == AF_OK)
        return report.nrmse < 1e-6;
    af_error_clear(c);
    return 0;
}

static void print_row(af_context *c, const char *name, size_t seed, const dp_symbolic_result *r,
                      int good, double seconds) {
    const dp_symbolic_entry *e = &r->front[r->best];
    char text[TEXT];
    if (dp_formula_text(c, &r->vocabulary, &e->formula, DP_TEXT_PLAIN, text, sizeof text) != AF_OK)
        snprintf(text, sizeof text, "(too long to print)");
    printf("%-15s %4lu   %-5s %7.1f   %9.2e   %s\n", name, (unsigned long)seed,
           good ? "exact" : "no", seconds, e->error, text);
    fflush(stdout);
}

/* ---- part one ---- */

/* Values with errors, as a field: each place is asked once, in order. */
typedef struct measured {
    const truth *t;
    double sigma;
    uint64_t seed;
} measured;

static af_status measure(const dp_field *field, size_t n, const double *x, double *value,
                         double *acceleration, double *error) {
    const measured *m = (const measured *)field->user;
    size_t i;
    (void)acceleration;
    for (i = 0; i < n; i++) {
        value[i] = truth_at(m->t, x[3 * i], x[3 * i + 2]) +
                   m->sigma * af_random_normal(m->seed, 3, i);
        error[i] = m->sigma;
    }
    return AF_OK;
}

/* Radii from 0.1 to 10 scale lengths by equal factors at random; or R to 5, |z| to 2. */
static void places(const truth *t, uint64_t seed, double *x) {
    size_t i;
    for (i = 0; i < PLACES; i++) {
        double u = af_random_uniform(seed, 1, i), z = 4.0 * af_random_uniform(seed, 2, i) - 2.0;
        x[3 * i] = t->of_r ? 0.07 * pow(100.0, u) : 5.0 * sqrt(u);
        x[3 * i + 1] = 0.0;
        x[3 * i + 2] = t->of_r ? 0.0 : z;
    }
}

static int one_potential(af_context *c, const truth *t, uint64_t seed, int *good) {
    static double x[3 * PLACES];
    dp_field field = {0};
    dp_distill_desc desc = {0};
    dp_distilled *d;
    measured m;
    double square = 0.0, began = cpu(NULL), seconds;
    size_t i;
    places(t, seed, x);
    for (i = 0; i < PLACES; i++)
        square += pow(truth_at(t, x[3 * i], x[3 * i + 2]), 2.0) / PLACES;
    m.t = t;
    m.sigma = 0.01 * sqrt(square);
    m.seed = seed;
    field.evaluate = measure;
    field.user = &m;
    field.inputs = 3;
    desc.symmetry = t->of_r ? DP_SPHERICAL : DP_AXISYMMETRIC;
    desc.places = x;
    desc.place_count = PLACES;
    if (dp_distill(c, &field, &desc, &d) != AF_OK) return 0;
    seconds = cpu(NULL) - began;
    *good = exact(c, &d->result.vocabulary, &d->result.front[d->result.best], t);
    print_row(c, t->name, (size_t)seed, &d->result, *good, seconds);
    dp_distilled_destroy(d);
    return 1;
}

/* ---- part two ---- */

static double halo(double r) { return -0.12 * log(1.0 + r / 15.0) * 15.0 / r; }

static const truth milky_way = {"streams", halo, NULL};

typedef struct streams {
    double r[STREAMS][STARS], kinetic[STREAMS][STARS], weight[STREAMS][STARS];
    const double *column[STREAMS];
    dp_data_set set[STREAMS];
} streams;

/* Each stream is half of the way of an orbit of pericentre 5 to 30 kpc out to its apocentre at 1.3
 * to 3.3 times that. Errors of `noise` times the rms of all kinetic energies. */
static void make_streams(uint64_t seed, double noise, streams *s) {
    double square = 0.0;
    size_t k, i;
    memset(s, 0, sizeof *s);
    for (k = 0; k < STREAMS; k++) {
        double p = 5.0 * pow(6.0, af_random_uniform(seed, 1, k));
        double a = p * (1.3 + 2.0 * af_random_uniform(seed, 2, k));
        double energy = (a * a * halo(a) - p * p * halo(p)) / (a * a - p * p);
        double first = 0.5 * af_random_uniform(seed, 3, k);
        for (i = 0; i < STARS; i++) {
            double r = p + (a - p) * (first + 0.5 * (double)i / (STARS - 1.0));
            s->r[k][i] = r;
            s->kinetic[k][i] = energy - halo(r);
            square += pow(s->kinetic[k][i], 2.0) / (STREAMS * STARS);
        }
        s->column[k] = s->r[k];
        s->set[k].n = STARS;
        s->set[k].columns = &s->column[k];
        s->set[k].y = s->kinetic[k];
        if (noise > 0.0) s->set[k].weights = s->weight[k];
    }
    for (k = 0; k < STREAMS; k++)
        for (i = 0; i < STARS; i++) {
            double sigma = noise * sqrt(square);
            s->kinetic[k][i] += sigma * af_random_normal(seed, 4 + k, i);
            s->weight[k][i] = noise > 0.0 ? 1.0 / (sigma * sigma) : 1.0;
        }
}

static int one_halo(af_context *c, double noise, uint64_t seed, int *good) {
    static streams s;
    static const dp_symbol symbols[4] = {{"r", DP_VARIABLE, {{1}}, 0},
                                         {"GM", DP_FREE, {{3, -2}}, 0},
                                         {"r_s", DP_FREE, {{1}}, 0},
                                         {"E", DP_SPECIFIC, {{2, -2}}, 0}};
    dp_vocabulary v;
    dp_symbolic_desc desc = {0};
    dp_symbolic_result *r;
    char name[32];
    double began = cpu(NULL), seconds;
    make_streams(seed, noise, &s);
    memset(&v, 0, sizeof v);
    v.symbols = symbols;
    v.symbol_count = 4;
    v.target.power[0] = 2.0;
    v.target.power[1] = -2.0;
    v.bases = bases;
    v.base_count = 2;
    desc.affine = DP_AMPLITUDE_OFFSET;
    desc.max_tokens = 8;
    if (dp_symbolic_search(c, &v, s.set, STREAMS, &desc, &r) != AF_OK) return 0;
    seconds = cpu(NULL) - began;
    *good = exact(c, &r->vocabulary, &r->front[r->best], &milky_way);
    snprintf(name, sizeof name, "streams %g %%", 100.0 * noise);
    print_row(c, name, (size_t)seed, r, *good, seconds);
    dp_symbolic_destroy(r);
    return 1;
}

/* ---- the table ---- */

static int wanted(const char *rows, const char *name) {
    const char *at = rows ? strstr(rows, name) : NULL;
    return !rows || (at && (at == rows || at[-1] == ',') && strchr(",", at[strlen(name)]));
}

int main(int argc, char **argv) {
    static const char usage[] = "formulas [--seeds N] [--rows isochrone,...,streams]";
    static const double noise[4] = {0.0, 0.001, 0.01, 0.1};
    const char *rows = NULL;
    size_t seeds = 3, k, seed, count = 0, found = 0;
    int i, good = 0, fine = 1;
    af_context *c = NULL;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("%s: N seeds (default 3) of each row\n", usage);
        return 0;
    }
    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seeds") == 0) seeds = (size_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rows") == 0) rows = argv[i + 1];
        else break;
    }
    if (i < argc || !seeds) {
        fprintf(stderr, "%s: N above 0; '%s' is not that\n", usage, argv[i < argc ? i : i - 1]);
        return 2;
    }
    if (af_context_create(NULL, &c) != AF_OK) return 1;
    printf("%-15s seed   exact   CPU s   error       formula\n", "");
    for (k = 0; k < TRUTHS; k++)
        for (seed = 1; seed <= seeds && fine && wanted(rows, truths[k].name); seed++, count++) {
            fine = one_potential(c, &truths[k], seed, &good);
            found += good != 0;
        }
    if (count) printf("from values with 1 %% errors %lu of %lu are exact\n", (unsigned long)found,
                      (unsigned long)count);
    for (k = 0; k < 4 && fine && wanted(rows, "streams"); k++) {
        for (seed = 1, found = 0; seed <= seeds && fine; seed++) {
            fine = one_halo(c, noise[k], seed, &good);
            found += good != 0;
        }
        printf("streams, %g %% errors: %lu of %lu are exact\n", 100.0 * noise[k],
               (unsigned long)found, (unsigned long)seeds);
    }
    if (!fine) fprintf(stderr, "%s\n", af_error(c));
    af_context_destroy(c);
    return !fine;
}
