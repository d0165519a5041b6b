/* koopman_1d.h - what koopman_oscillator.c and koopman_slab.c have in common
 *
 * A system of one degree of freedom, symmetric about z = 0, is learned twice from its orbits, in a
 * default and in an accurate setting, and compared with quadrature on orbits that were not trained
 * on. Prints the figures as a table and as lines `FIGURE name value`, and draws them.
 *
 * Each orbit starts at rest at its amplitude, so it begins a quarter turn after its upward crossing
 * of z = 0. All errors are over samples all along 8 periods of 40 orbits. The zero of the angle
 * is a convention that no orbit tells, so theta is compared from the first sample on. */

#ifndef KOOPMAN_1D_H
#define KOOPMAN_1D_H

#include "koopman.h"

#include <time.h>

enum {
    KOOPMAN_TESTS = 40,
    KOOPMAN_PERIODS = 8,
    KOOPMAN_TIMES = 324, /* of a test orbit; periods are not a whole number of intervals */
    KOOPMAN_DATA = 1024  /* most samples to train on */
};

/* The figures, and their names in the table and in the lines for a script. */
enum { OMEGA_MSE, J_MSE, OMEGA_MAX, J_MAX, THETA_MAX, THETA_ZERO_MAX, ROLLOUT_MAX,
       RECONSTRUCTION_MAX, SECONDS, KOOPMAN_FIGURES };
static const char *const koopman_names[KOOPMAN_FIGURES][2] = {
    {"omega_mse", "mean square error of Omega"},
    {"j_mse", "mean square error of J"},
    {"omega_max", "largest error of Omega"},
    {"j_max", "largest error of J"},
    {"theta_max", "largest error of theta - theta(0)"},
    {"theta_zero_max", "theta of upward crossing, largest"},
    {"rollout_max", "rollout over 8 periods, largest"},
    {"reconstruction_max", "encode-decode, largest"},
    {"seconds", "create and fit, CPU seconds"}};

typedef struct koopman_setting {
    size_t layers, width, frequency_width; /* of the model */
    size_t orbits, samples;                /* amplitudes evenly from low to high; samples of each */
    double span;                           /* time that each covers */
    size_t steps;
    double wanted[KOOPMAN_FIGURES]; /* 0: nothing is asked */
} koopman_setting;

typedef struct koopman_system {
    const char *name, *title;
    koopman_drop *drop;
    /* The orbit at rest at z = amplitude at time 0: z, v_z at each time. */
    void (*orbit)(double amplitude, size_t count, const double *times, double (*qp)[2]);
    double low, high;              /* amplitudes to train on */
    double paper[KOOPMAN_FIGURES]; /* 0: not in the paper */
    koopman_setting settings[2];   /* default, accurate */
} koopman_system;

typedef struct koopman_orbit {
    double amplitude, j, omega; /* by quadrature */
    double time[KOOPMAN_TIMES], qp[KOOPMAN_TIMES][2];
} koopman_orbit;

/* What a model says along an orbit. */
typedef struct koopman_learned {
    double j[KOOPMAN_TIMES], theta[KOOPMAN_TIMES], omega[KOOPMAN_TIMES];
    double again[KOOPMAN_TIMES][2];   /* decoded from the above */
    double rollout[KOOPMAN_TIMES][2]; /* from the first sample's action and angle */
    double j_error, omega_error, rollout_error; /* largest */
} koopman_learned;

typedef struct koopman_run {
    koopman_learned untrained[KOOPMAN_TESTS], trained[KOOPMAN_TESTS];
    double before[KOOPMAN_FIGURES], after[KOOPMAN_FIGURES];
    koopman_history history;
} koopman_run;

/* ---- the truth ---- */

/* The orbit of a system without a closed form. */
static inline void koopman_integrate(double (*force)(double), double amplitude, size_t count,
                                     const double *times, double (*qp)[2]) {
    double x[2], now = 0.0;
    size_t i;
    x[0] = amplitude;
    x[1] = 0.0;
    for (i = 0; i < count; i++) {
        koopman_move(force, times[i] - now, x);
        now = times[i];
        qp[i][0] = x[0];
        qp[i][1] = x[1];
    }
}

/* Test orbits, none of which has an amplitude that is trained on. Returns the largest change that
 * the last doubling of a quadrature made. */
static inline double koopman_truth(const koopman_system *s, koopman_orbit test[KOOPMAN_TESTS]) {
    double worst = 0.0;
    size_t i, o;
    for (o = 0; o < KOOPMAN_TESTS; o++) {
        koopman_orbit *t = &test[o];
        t->amplitude = s->low + (s->high - s->low) * ((double)o + 0.5) /
                                       (double)KOOPMAN_TESTS;
        worst = fmax(worst, koopman_reference(s->drop, t->amplitude, &t->j, &t->omega));
        for (i = 0; i < KOOPMAN_TIMES; i++)
            t->time[i] = 2.0 * KOOPMAN_PI / t->omega * (double)KOOPMAN_PERIODS * (double)i /
                         (double)(KOOPMAN_TIMES - 1);
        s->orbit(t->amplitude, KOOPMAN_TIMES, t->time, t->qp);
    }
    return worst;
}

/* ---- learning ---- */

static inline af_status koopman_data(af_context *c, const koopman_system *s,
                                     const koopman_setting *set, af_trajectories **out) {
    static double times[KOOPMAN_DATA], qp[KOOPMAN_DATA][2];
    static size_t samples[KOOPMAN_DATA];
    size_t o, i;
    for (o = 0; o < set->orbits; o++) {
        double *own = times + o * set->samples;
        double part = (double)o / (double)(set->orbits - 1);
        samples[o] = set->samples;
        for (i = 0; i < set->samples; i++)
            own[i] = set->span * (double)i / (double)(set->samples - 1);
        s->orbit(s->low + (s->high - s->low) * part, set->samples, own, qp + o * set->samples);
    }
    return af_trajectories_create(c, 1, set->orbits, samples, times, qp[0], out);
}

/* One orbit's part of the figures. */
static inline void koopman_compare(const koopman_orbit *t, koopman_learned *l,
                                   double figures[KOOPMAN_FIGURES]) {
    size_t i;
    int k;
    double zero = remainder(l->theta[0] - 0.5 * KOOPMAN_PI, 2.0 * KOOPMAN_PI);
    l->j_error = l->omega_error = l->rollout_error = 0.0;
    for (i = 0; i < KOOPMAN_TIMES; i++) {
        double j = fabs(l->j[i] - t->j), omega = fabs(l->omega[i] - t->omega);
        double turned = remainder(l->theta[i] - l->theta[0] - t->omega * t->time[i],
                                  2.0 * KOOPMAN_PI);
        l->j_error = fmax(l->j_error, j);
        l->omega_error = fmax(l->omega_error, omega);
        figures[J_MSE] += j * j / (KOOPMAN_TESTS * KOOPMAN_TIMES);
        figures[OMEGA_MSE] += omega * omega / (KOOPMAN_TESTS * KOOPMAN_TIMES);
        figures[THETA_MAX] = fmax(figures[THETA_MAX], fabs(turned));
        for (k = 0; k < 2; k++) {
            double back = fabs(l->again[i][k] - t->qp[i][k]);
            figures[RECONSTRUCTION_MAX] = fmax(figures[RECONSTRUCTION_MAX], back);
            l->rollout_error = fmax(l->rollout_error, fabs(l->rollout[i][k] - t->qp[i][k]));
        }
    }
    figures[THETA_ZERO_MAX] = fmax(figures[THETA_ZERO_MAX], fabs(zero));
    figures[J_MAX] = fmax(figures[J_MAX], l->j_error);
    figures[OMEGA_MAX] = fmax(figures[OMEGA_MAX], l->omega_error);
    figures[ROLLOUT_MAX] = fmax(figures[ROLLOUT_MAX], l->rollout_error);
}

static inline af_status koopman_measure(af_koopman *k, const koopman_orbit *test,
                                        koopman_learned *learned,
                                        double figures[KOOPMAN_FIGURES]) {
    af_koopman_evaluator *e = NULL;
    af_status status = af_koopman_evaluator_create(k, 64, &e);
    size_t o;
    if (status != AF_OK) return status;
    memset(figures, 0, KOOPMAN_FIGURES * sizeof *figures);
    for (o = 0; o < KOOPMAN_TESTS; o++) {
        const koopman_orbit *t = &test[o];
        koopman_learned *l = &learned[o];
        af_koopman_encode(e, KOOPMAN_TIMES, t->qp[0], l->j, l->theta, l->omega, NULL);
        af_koopman_decode(e, KOOPMAN_TIMES, l->j, l->theta, l->again[0]);
        af_koopman_rollout(e, l->j, l->theta, KOOPMAN_TIMES, t->time, l->rollout[0]);
        koopman_compare(t, l, figures);
    }
    af_koopman_evaluator_destroy(e);
    return AF_OK;
}

/* Creates, measures, fits, measures. */
static inline af_status koopman_learn(af_context *c, const koopman_setting *set, uint64_t seed,
                                      const af_trajectories *data, const koopman_orbit *test,
                                      koopman_run *r) {
    af_koopman_desc model;
    af_koopman_fit_desc fit;
    af_koopman *k = NULL;
    clock_t start = clock();
    double seconds;
    af_status status;
    memset(&model, 0, sizeof model);
    memset(&fit, 0, sizeof fit);
    model.layers = set->layers;
    model.width = set->width;
    model.frequency_width = set->frequency_width;
    model.seed = seed;
    fit.steps = set->steps;
    fit.progress = koopman_watch;
    fit.user = &r->history;
    r->history.steps = 0;
    status = af_koopman_create(c, data, &model, &k);
    seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (status == AF_OK) status = koopman_measure(k, test, r->untrained, r->before);
    start = clock();
    if (status == AF_OK) status = af_koopman_fit(k, data, &fit);
    seconds += (double)(clock() - start) / CLOCKS_PER_SEC;
    if (status == AF_OK) status = koopman_measure(k, test, r->trained, r->after);
    r->after[SECONDS] = seconds;
    af_koopman_destroy(k);
    return status;
}

/* One setting in a context of its own, with one thread. Prints the sentence of an error. */
static inline int koopman_setting_run(const koopman_system *s, int accurate, uint64_t seed,
                                      const koopman_orbit *test, koopman_run *r) {
    af_context_desc desc;
    af_context *c = NULL;
    af_trajectories *data = NULL;
    int fine;
    memset(&desc, 0, sizeof desc);
    desc.threads = 1;
    fine = af_context_create(&desc, &c) == AF_OK &&
           koopman_data(c, s, &s->settings[accurate], &data) == AF_OK &&
           koopman_learn(c, &s->settings[accurate], seed, data, test, r) == AF_OK;
    if (!fine) fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
    af_trajectories_destroy(data);
    af_context_destroy(c);
    return fine;
}

/* ---- the table ---- */

static inline void koopman_settings_print(const koopman_system *s) {
    int k;
    for (k = 0; k < 2; k++) {
        const koopman_setting *t = &s->settings[k];
        printf("%-9s %2d layers of width %d, %d for the frequency; %d orbits of %d samples over "
               "%g; %d steps\n", k ? "accurate:" : "default:", (int)t->layers, (int)t->width,
               (int)t->frequency_width, (int)t->orbits, (int)t->samples, t->span, (int)t->steps);
    }
}

/* The paper's figures beside ours; returns how many of those asked for are missed, of which the
 * seconds are none: they depend on the machine. */
static inline int koopman_table(const koopman_system *s, const koopman_run runs[2]) {
    int i, k, missed = 0;
    printf("\n%-34s%10s%30s%30s\n%-34s%10s%10s%10s%10s%10s%10s%10s\n", "", "",
           "-------- default --------", "-------- accurate -------", "", "paper", "untrained",
           "trained", "wanted", "untrained", "trained", "wanted");
    for (i = 0; i < KOOPMAN_FIGURES; i++) {
        printf("%-34s", koopman_names[i][1]);
        koopman_cell(s->paper[i], 1);
        for (k = 0; k < 2; k++) {
            double wanted = s->settings[k].wanted[i];
            koopman_cell(runs[k].before[i], i == SECONDS);
            koopman_cell(runs[k].after[i], 0);
            koopman_cell(wanted, 1);
            missed += i != SECONDS && wanted > 0.0 && !(runs[k].after[i] <= wanted);
        }
        printf("\n");
    }
    printf("\n");
    for (i = 0; i < KOOPMAN_FIGURES; i++) {
        printf("FIGURE %s %.3e\n", koopman_names[i][0], runs[0].after[i]);
        printf("FIGURE accurate_%s %.3e\n", koopman_names[i][0], runs[1].after[i]);
        if (i == SECONDS) continue;
        printf("FIGURE untrained_%s %.3e\n", koopman_names[i][0], runs[0].before[i]);
        printf("FIGURE untrained_accurate_%s %.3e\n", koopman_names[i][0], runs[1].before[i]);
    }
    return missed;
}

/* ---- the picture ---- */

#define KOOPMAN_VELOCITY                                                                          \
    "<tspan font-style=\"italic\">v<tspan dy=\"3\" font-size=\"10\">z</tspan></tspan>"
#define KOOPMAN_Z "<tspan font-style=\"italic\">z</tspan>"

typedef struct koopman_picture {
    figure f;
    const koopman_orbit *test;
    const koopman_run *runs; /* default, accurate */
    double j[KOOPMAN_TESTS]; /* of the test orbits */
    double z_high, v_high, j_high;
} koopman_picture;

/* Phase space along all test orbits, coloured by learned action or angle. */
static inline void koopman_draw_phase_space(koopman_picture *k, int angle) {
    enum { MOST = KOOPMAN_TESTS * KOOPMAN_TIMES };
    static double z[MOST], v[MOST], value[MOST];
    figure_axis x = figure_axis_of(KOOPMAN_Z, -1.08 * k->z_high, 1.08 * k->z_high, 0);
    figure_axis y = figure_axis_of(KOOPMAN_VELOCITY, -1.08 * k->v_high, 1.08 * k->v_high, 0);
    figure_axis bar = angle ? figure_axis_of("&#952;", 0.0, 2.0 * KOOPMAN_PI, FIGURE_ANGLE)
                            : figure_axis_of(KOOPMAN_J, 0.0, k->j_high, 0);
    figure_panel p;
    size_t o, i, n = 0;
    for (o = 0; o < KOOPMAN_TESTS; o++)
        for (i = 0; i + 1 < KOOPMAN_TIMES; i++) {
            const koopman_learned *l = &k->runs[0].trained[o];
            size_t phase = i * KOOPMAN_PERIODS % (KOOPMAN_TIMES - 1);
            if ((phase + o) % 2) continue; /* every other, evenly: those of the next between */
            z[n] = k->test[o].qp[i][0];
            v[n] = k->test[o].qp[i][1];
            value[n++] = angle ? l->theta[i] : l->j[i];
        }
    p = koopman_panel(&k->f, angle, 0,
                      angle ? "<tspan font-weight=\"bold\">b</tspan>  Learned angle"
                            : "<tspan font-weight=\"bold\">a</tspan>  Learned action",
                      x, y);
    figure_scatter(&p, n, z, v, value, bar.low, bar.high,
                   angle ? figure_cyclic : figure_sequential, 3.0);
    figure_colour_bar(&p, bar, angle ? figure_cyclic : figure_sequential);
}

/* Test orbit o as it is untrained, by the default, by the accurate setting. */
static inline const koopman_learned *koopman_model(const koopman_picture *k, int which, int o) {
    const koopman_run *r = &k->runs[which == 2];
    return which ? &r->trained[o] : &r->untrained[o];
}

/* The largest errors of each test orbit: untrained, default, accurate. */
static inline void koopman_draw_errors(koopman_picture *k, int column, const char *label) {
    static const char *const colour[3] = {KOOPMAN_UNTRAINED, KOOPMAN_BLUE, KOOPMAN_ORANGE};
    figure_axis x = figure_axis_of(KOOPMAN_J " by quadrature", 0.0, k->j_high, 0);
    figure_axis y = koopman_decades(label);
    double error[3][KOOPMAN_TESTS];
    figure_panel p;
    int i, o;
    for (i = 0; i < 3; i++) {
        for (o = 0; o < KOOPMAN_TESTS; o++) {
            const koopman_learned *l = koopman_model(k, i, o);
            error[i][o] = fmax(1e-17, column ? l->j_error : l->omega_error);
        }
        koopman_extend(&y, KOOPMAN_TESTS, error[i]);
    }
    p = koopman_panel(&k->f, column, 2, "", x, y);
    for (i = 0; i < 3; i++)
        figure_points(&p, KOOPMAN_TESTS, k->j, error[i], figure_pen(colour[i], 4.0));
}

/* Omega, or the learned J, against the true J. */
static inline void koopman_draw_learned(koopman_picture *k, int column) {
    static const char *const name[3] = {"untrained", "default", "accurate"};
    static const char *const colour[3] = {KOOPMAN_UNTRAINED, KOOPMAN_BLUE, KOOPMAN_ORANGE};
    double truth[KOOPMAN_TESTS], ours[3][KOOPMAN_TESTS];
    double low = INFINITY, high = 0.0, margin;
    figure_axis x = figure_axis_of("", 0.0, k->j_high, 0), y;
    figure_panel p;
    int i, o;
    for (o = 0; o < KOOPMAN_TESTS; o++) {
        truth[o] = column ? k->j[o] : k->test[o].omega;
        for (i = 0; i < 3; i++) {
            const koopman_learned *l = koopman_model(k, i, o);
            ours[i][o] = column ? l->j[0] : l->omega[0];
            low = fmin(low, fmin(truth[o], ours[i][o]));
            high = fmax(high, fmax(truth[o], ours[i][o]));
        }
    }
    margin = fmax(0.12 * (high - low), column ? 0.0 : 0.02);
    y = figure_axis_of(column ? "learned " KOOPMAN_J : "&#937;", low - margin, high + margin, 0);
    p = koopman_panel(&k->f, column, 1,
                      column ? "<tspan font-weight=\"bold\">e</tspan>  Action"
                             : "<tspan font-weight=\"bold\">d</tspan>  Frequency",
                      x, y);
    figure_line(&p, KOOPMAN_TESTS, k->j, truth, figure_pen(FIGURE_INK, 1.0));
    figure_legend(&p, "quadrature", figure_pen(FIGURE_INK, 1.0), 0, column);
    for (i = 0; i < 3; i++) { /* the last two hide each other: small on large */
        figure_points(&p, KOOPMAN_TESTS, k->j, ours[i], figure_pen(colour[i], i < 2 ? 4.5 : 2.0));
        figure_legend(&p, name[i], figure_pen(colour[i], i < 2 ? 5.0 : 3.0), 1, column);
    }
}

static const int koopman_shown[3] = {4, 20, 38}; /* of the test orbits, in the last panels */

/* How far the predicted state is from the true one, (dz^2 + dv^2)^(1/2). */
static inline void koopman_distance(const koopman_orbit *t, const koopman_learned *l, double *d) {
    int i;
    for (i = 0; i < KOOPMAN_TIMES; i++)
        d[i] = hypot(l->rollout[i][0] - t->qp[i][0], l->rollout[i][1] - t->qp[i][1]);
}

static inline void koopman_draw_rollouts(koopman_picture *k) {
    double turns[KOOPMAN_TIMES], d[6][KOOPMAN_TIMES];
    char colour[8], text[64];
    figure_axis x = figure_axis_of("", 0.0, KOOPMAN_PERIODS, 0);
    figure_axis y = koopman_decades("rollout error");
    figure_panel p;
    int i, rgb[3];
    for (i = 0; i < KOOPMAN_TIMES; i++)
        turns[i] = KOOPMAN_PERIODS * i / (double)(KOOPMAN_TIMES - 1);
    for (i = 0; i < 6; i++) {
        int o = koopman_shown[i % 3];
        koopman_distance(&k->test[o], &k->runs[i / 3].trained[o], d[i]);
        koopman_extend(&y, KOOPMAN_TIMES - 5, d[i] + 5); /* the first is a reconstruction */
    }
    y.high *= pow(y.high / y.low, 0.25); /* room for the legend */
    p = koopman_panel(&k->f, 2, 1,
                      "<tspan font-weight=\"bold\">f</tspan>  Rollout and reconstruction", x, y);
    for (i = 0; i < 6; i++) {
        figure_style s;
        double j = k->j[koopman_shown[i % 3]];
        figure_sequential(0.05 + 0.4 * (i % 3), rgb);
        snprintf(colour, sizeof colour, "#%02x%02x%02x", (unsigned)rgb[0] & 255u,
                 (unsigned)rgb[1] & 255u, (unsigned)rgb[2] & 255u);
        s = figure_pen(colour, 1.3);
        if (i >= 3) s = figure_dashed(s, "4 2");
        figure_line(&p, KOOPMAN_TIMES, turns, d[i], s);
        snprintf(text, sizeof text, KOOPMAN_J " = %.2f", j);
        if (i < 3) koopman_legend(&p, 95.0 * i, 0, text, s, 0);
    }
    koopman_legend(&p, 0.0, 1, "default", figure_pen("#606060", 1.3), 0);
    koopman_legend(&p, 95.0, 1, "accurate", figure_dashed(figure_pen("#606060", 1.3), "4 2"), 0);
}

/* Decoded from its own action and angle, less the state, along one orbit. */
static inline void koopman_draw_reconstruction(koopman_picture *k) {
    static const char *const colour[2] = {KOOPMAN_BLUE, "#7fb2e0"};
    double turns[KOOPMAN_TIMES], d[2][KOOPMAN_TIMES], worst = 0.5;
    int o = koopman_shown[1], i, c;
    figure_axis x = figure_axis_of("periods", 0.0, KOOPMAN_PERIODS, 0), y;
    figure_panel p;
    for (i = 0; i < KOOPMAN_TIMES; i++)
        for (c = 0; c < 2; c++) {
            turns[i] = KOOPMAN_PERIODS * i / (double)(KOOPMAN_TIMES - 1);
            d[c][i] = 1e15 * (k->runs[0].trained[o].again[i][c] - k->test[o].qp[i][c]);
            worst = fmax(worst, fabs(d[c][i]));
        }
    y = figure_axis_of("&#916; [10<tspan dy=\"-4.5\" font-size=\"9\">&#8722;15</tspan>"
                       "<tspan dy=\"4.5\">]</tspan>", -1.7 * worst, 1.7 * worst, 0);
    p = koopman_panel(&k->f, 2, 2, "", x, y);
    for (c = 0; c < 2; c++) {
        figure_points(&p, KOOPMAN_TIMES, turns, d[c], figure_pen(colour[c], 2.4));
        koopman_legend(&p, 50.0 * c, 0, c ? KOOPMAN_VELOCITY : KOOPMAN_Z,
                       figure_pen(colour[c], 5.0), 1);
    }
}

static inline int koopman_draw(const koopman_system *s, const koopman_orbit *test,
                               const koopman_run runs[2], const char *path) {
    static const char *const names[2] = {"default", "accurate"};
    static const char *const colours[2] = {KOOPMAN_BLUE, KOOPMAN_ORANGE};
    const koopman_history *fits[2];
    koopman_picture k;
    size_t o;
    memset(&k, 0, sizeof k);
    k.test = test;
    k.runs = runs;
    fits[0] = &runs[0].history;
    fits[1] = &runs[1].history;
    for (o = 0; o < KOOPMAN_TESTS; o++) k.j[o] = test[o].j;
    k.z_high = test[KOOPMAN_TESTS - 1].amplitude;
    k.v_high = sqrt(2.0 * s->drop(k.z_high, k.z_high));
    k.j_high = 1.03 * k.j[KOOPMAN_TESTS - 1];
    if (!figure_begin(&k.f, path, 1181, 792)) return 0;
    figure_text(&k.f, 66.0, 34.0, "start", 16, s->title);
    figure_text(&k.f, 1161.0, 34.0, "end", 12, "40 orbits that were not trained on; errors are the "
                "largest along 8 periods");
    koopman_draw_phase_space(&k, 0);
    koopman_draw_phase_space(&k, 1);
    koopman_draw_losses(&k.f, 2, fits, names, colours);
    koopman_draw_learned(&k, 0);
    koopman_draw_errors(&k, 0, "|&#916;&#937;|");
    koopman_draw_learned(&k, 1);
    koopman_draw_errors(&k, 1, "|&#916;" KOOPMAN_J "|");
    koopman_draw_rollouts(&k);
    koopman_draw_reconstruction(&k);
    return figure_end(&k.f);
}

/* The whole example: [picture [seed]] on the command line. */
static inline int koopman_example(const koopman_system *s, int argc, char **argv) {
    static koopman_orbit test[KOOPMAN_TESTS];
    static koopman_run runs[2];
    const char *path = argc > 1 ? argv[1] : s->name;
    uint64_t seed = argc > 2 ? (uint64_t)strtoul(argv[2], NULL, 10) : 0;
    int missed;
    printf("quadrature: its last doubling changes J and Omega by %.0e\n", koopman_truth(s, test));
    printf("%d test orbits, J from %.3f to %.3f, seed %d\n", KOOPMAN_TESTS, test[0].j,
           test[KOOPMAN_TESTS - 1].j, (int)seed);
    koopman_settings_print(s);
    if (!koopman_setting_run(s, 0, seed, test, &runs[0]) ||
        !koopman_setting_run(s, 1, seed, test, &runs[1]))
        return 1;
    missed = koopman_table(s, runs);
    if (!koopman_draw(s, test, runs, path)) {
        fprintf(stderr, "%s cannot be written\n", path);
        return 1;
    }
    printf("%s is written\nfigures missed: %d\n", path, missed);
    return missed != 0;
}

#endif
