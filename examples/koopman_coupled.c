/* cc -O2 -fopenmp -I. examples/koopman_coupled.c -o koopman_coupled -lm
 *
 * The Koopman autoencoder on two degrees of freedom: the sum of two isothermal slabs, of scale
 * heights 1 and 0.7 and velocity dispersion 1, along axes turned by 30 degrees, so that x and y are
 * coupled. The model is given x, y, v_x, v_y along 64 orbits and finds the actions of both slabs,
 * which are known by quadrature. Prints the errors along 40 other orbits and draws
 * koopman_coupled.svg, or the file named first; a number after it is the seed. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include "koopman.h"

#include <time.h>

enum { ORBITS = 64, SAMPLES = 32, TESTS = 40, TIMES = 801 }; /* TIMES: samples of test orbits */

static const double amplitude = 1.5; /* x, y, v_x, v_y of first samples are evenly within it */
static const double inner = 0.9;     /* of it, for the test: amid the orbits trained on */
static const double trained_for = 20.0, tested_for = 100.0; /* time along an orbit */

/* ---- the truth ---- */

static const double height[2] = {1.0, 0.7};

typedef struct orbit {
    double j[2], omega[2]; /* of both slabs, by quadrature */
    double time[TIMES], qp[TIMES][4];
} orbit;

/* A slab of height h is that of height 1 with h as the unit of length and time, as sigma is 1:
 * J = h J_1, Omega = Omega_1 / h. Phi_1 = 2 ln cosh(z/2): Phi(top) - Phi(top - below), -dPhi/dz. */
static double drop(double top, double below) {
    double rise = 2.0 * sinh(0.5 * top - 0.25 * below) * sinh(0.25 * below);
    return 2.0 * log1p(rise / cosh(0.5 * (top - below)));
}

static double force(double z) { return -tanh(0.5 * z); }

/* x, y, v_x, v_y to z and v_z of both slabs in their own units, and back. */
static void to_slabs(const double qp[4], double slab[2][2]) {
    double cosine = cos(KOOPMAN_PI / 6.0), sine = sin(KOOPMAN_PI / 6.0);
    int k;
    for (k = 0; k < 2; k++) {
        slab[0][k] = cosine * qp[2 * k] + sine * qp[2 * k + 1];
        slab[1][k] = -sine * qp[2 * k] + cosine * qp[2 * k + 1];
    }
    for (k = 0; k < 2; k++) slab[k][0] /= height[k];
}

static void from_slabs(double slab[2][2], double qp[4]) {
    double cosine = cos(KOOPMAN_PI / 6.0), sine = sin(KOOPMAN_PI / 6.0);
    int k;
    for (k = 0; k < 2; k++) {
        double a = slab[0][k] * (k ? 1.0 : height[0]), b = slab[1][k] * (k ? 1.0 : height[1]);
        qp[2 * k] = cosine * a - sine * b;
        qp[2 * k + 1] = sine * a + cosine * b;
    }
}

/* Orbit `o` of a stream of random numbers, evenly sampled over a time that begins at 0. */
static void integrate(uint64_t stream, size_t o, double size, double span, size_t count,
                      double *time, double (*qp)[4]) {
    double slab[2][2], interval = span / (double)(count - 1);
    size_t i, s;
    for (i = 0; i < 4; i++) qp[0][i] = size * (2.0 * af_random_uniform(stream, i, o) - 1.0);
    to_slabs(qp[0], slab);
    for (i = 0; i < count; i++) {
        time[i] = interval * (double)i;
        from_slabs(slab, qp[i]);
        for (s = 0; s < 2; s++) koopman_move(force, interval / height[s], slab[s]);
    }
}

/* The action and the frequency of slab s on which an orbit turns at z = top heights. */
static double slab_truth(int s, double top, double *j, double *omega) {
    double change = koopman_reference(drop, top, j, omega);
    *j *= height[s];
    *omega /= height[s];
    return change;
}

/* Returns the largest change that the last doubling of a quadrature made. */
static double truth(orbit test[TESTS]) {
    double worst = 0.0, slab[2][2];
    size_t o;
    int s;
    for (o = 0; o < TESTS; o++) {
        integrate(10, o, inner * amplitude, tested_for, TIMES, test[o].time, test[o].qp);
        to_slabs(test[o].qp[0], slab);
        for (s = 0; s < 2; s++) { /* cosh(top/2) = exp(E/2) */
            double e = 0.5 * slab[s][1] * slab[s][1] + drop(slab[s][0], slab[s][0]);
            double top = 2.0 * asinh(sqrt(expm1(e)));
            worst = fmax(worst, slab_truth(s, top, &test[o].j[s], &test[o].omega[s]));
        }
    }
    return worst;
}

static af_status training_data(af_context *c, af_trajectories **out) {
    static double time[ORBITS * SAMPLES], qp[ORBITS * SAMPLES][4];
    size_t count[ORBITS], o;
    for (o = 0; o < ORBITS; o++) {
        count[o] = SAMPLES;
        integrate(9, o, amplitude, trained_for, SAMPLES, time + o * SAMPLES, qp + o * SAMPLES);
    }
    return af_trajectories_create(c, 2, ORBITS, count, time, qp[0], out);
}

/* ---- learning ---- */

/* What a model says along a test orbit; j[i][s] and omega[i][s] are of slab s. */
typedef struct learned {
    double j[TIMES][2], theta[TIMES][2], omega[TIMES][2];
    double again[TIMES][4], rollout[TIMES][4]; /* from the first sample's action and angle */
} learned;

enum { J_1, J_2, OMEGA_1, OMEGA_2, ROLLOUT, RECONSTRUCTION, FIGURES };
static const struct {
    const char *name, *text;
    double rms, largest; /* wanted; 0: nothing is asked */
} figures[FIGURES] = {{"j_1", "J of slab 1", 1e-3, 0.0},
                      {"j_2", "J of slab 2", 1e-3, 0.0},
                      {"omega_1", "Omega of slab 1", 1e-4, 0.0},
                      {"omega_2", "Omega of slab 2", 1e-4, 0.0},
                      {"rollout", "rollout over 100 time units", 1e-2, 0.0},
                      {"reconstruction", "encode-decode", 1e-14, 1e-13}};

typedef struct run {
    learned along[TESTS];
    double rms[FIGURES], largest[FIGURES];
} run;

/* Distance of two states. */
static double distance(const double a[4], const double b[4]) {
    return hypot(hypot(a[0] - b[0], a[1] - b[1]), hypot(a[2] - b[2], a[3] - b[3]));
}

/* Which learned pair is which slab is open: the one whose frequencies fit better. */
static void match(const orbit test[TESTS], run *r) {
    double straight = 0.0, crossed = 0.0;
    size_t o, i, s;
    for (o = 0; o < TESTS; o++)
        for (i = 0; i < TIMES; i++)
            for (s = 0; s < 2; s++) {
                straight += fabs(r->along[o].omega[i][s] - test[o].omega[s]);
                crossed += fabs(r->along[o].omega[i][s] - test[o].omega[1 - s]);
            }
    if (straight <= crossed) return;
    for (o = 0; o < TESTS; o++)
        for (i = 0; i < TIMES; i++) {
            double *j = r->along[o].j[i], *omega = r->along[o].omega[i], kept = j[0];
            j[0] = j[1];
            j[1] = kept;
            kept = omega[0];
            omega[0] = omega[1];
            omega[1] = kept;
        }
}

static void compare(const orbit test[TESTS], run *r) {
    size_t o, i, k;
    match(test, r);
    memset(r->rms, 0, sizeof r->rms);
    memset(r->largest, 0, sizeof r->largest);
    for (o = 0; o < TESTS; o++)
        for (i = 0; i < TIMES; i++) {
            const learned *l = &r->along[o];
            double d[FIGURES];
            for (k = 0; k < 2; k++) {
                d[J_1 + k] = fabs(l->j[i][k] - test[o].j[k]);
                d[OMEGA_1 + k] = fabs(l->omega[i][k] - test[o].omega[k]);
            }
            d[ROLLOUT] = distance(l->rollout[i], test[o].qp[i]);
            d[RECONSTRUCTION] = distance(l->again[i], test[o].qp[i]);
            for (k = 0; k < FIGURES; k++) {
                r->rms[k] += d[k] * d[k] / (TESTS * TIMES);
                r->largest[k] = fmax(r->largest[k], d[k]);
            }
        }
    for (k = 0; k < FIGURES; k++) r->rms[k] = sqrt(r->rms[k]);
}

static af_status measure(const af_koopman *k, const orbit test[TESTS], run *r) {
    af_koopman_evaluator *e = NULL;
    af_status status = af_koopman_evaluator_create(k, 64, &e);
    size_t o;
    if (status != AF_OK) return status;
    for (o = 0; o < TESTS; o++) {
        learned *l = &r->along[o];
        af_koopman_encode(e, TIMES, test[o].qp[0], l->j[0], l->theta[0], l->omega[0], NULL);
        af_koopman_decode(e, TIMES, l->j[0], l->theta[0], l->again[0]);
        af_koopman_rollout(e, l->j[0], l->theta[0], TIMES, test[o].time, l->rollout[0]);
    }
    af_koopman_evaluator_destroy(e);
    compare(test, r);
    return AF_OK;
}

/* Creates, measures, fits, measures. */
static af_status learn(af_context *c, uint64_t seed, const orbit test[TESTS], run runs[2],
                       koopman_history *history, double *seconds) {
    af_koopman_desc model;
    af_koopman_fit_desc fit;
    af_trajectories *data = NULL;
    af_koopman *k = NULL;
    clock_t start;
    af_status status = training_data(c, &data);
    memset(&model, 0, sizeof model);
    memset(&fit, 0, sizeof fit);
    model.width = model.frequency_width = 8;
    model.seed = seed;
    fit.steps = 200;
    fit.progress = koopman_watch;
    fit.user = history;
    if (status == AF_OK) status = af_koopman_create(c, data, &model, &k);
    if (status == AF_OK) status = measure(k, test, &runs[0]);
    start = clock();
    if (status == AF_OK) status = af_koopman_fit(k, data, &fit);
    *seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (status == AF_OK) status = measure(k, test, &runs[1]);
    af_koopman_destroy(k);
    af_trajectories_destroy(data);
    return status;
}

/* ---- the table ---- */

/* Returns how many of the figures that are asked for are missed. */
static int table(const run runs[2], double seconds) {
    int i, k, missed = 0;
    printf("\n%-28s%20s%20s%20s\n%-28s", "", "---- untrained ----", "----- trained -----",
           "------ wanted -----", "");
    for (k = 0; k < 3; k++) printf("%10s%10s", "rms", "largest");
    for (i = 0; i < FIGURES; i++) {
        printf("\n%-28s", figures[i].text);
        for (k = 0; k < 2; k++) {
            koopman_cell(runs[k].rms[i], 0);
            koopman_cell(runs[k].largest[i], 0);
        }
        koopman_cell(figures[i].rms, 1);
        koopman_cell(figures[i].largest, 1);
        missed += figures[i].rms > 0.0 && !(runs[1].rms[i] <= figures[i].rms);
        missed += figures[i].largest > 0.0 && !(runs[1].largest[i] <= figures[i].largest);
    }
    printf("\n\nfit: %.1f CPU seconds\n\n", seconds);
    for (i = 0; i < FIGURES; i++)
        for (k = 0; k < 2; k++) {
            const char *model = k ? "" : "untrained_";
            printf("FIGURE %s%s_rms %.3e\n", model, figures[i].name, runs[k].rms[i]);
            printf("FIGURE %s%s_max %.3e\n", model, figures[i].name, runs[k].largest[i]);
        }
    printf("FIGURE seconds %.3e\n", seconds);
    return missed;
}

/* ---- the picture ---- */

#define ITALIC(letter) "<tspan font-style=\"italic\">" letter "</tspan>"
#define BOLD(letter) "<tspan font-weight=\"bold\">" letter "</tspan>"
#define INDEX(number) "<tspan dy=\"3\" font-size=\"10\">" number "</tspan>"

/* of both slabs: trained, untrained */
static const char *const colour[2][2] = {{KOOPMAN_BLUE, "#a9c4e0"}, {KOOPMAN_ORANGE, "#f0c5a3"}};

/* One orbit in the plane, and the end of its prediction from the first sample. */
static void draw_orbit(figure *f, const orbit *t, const learned *l) {
    enum { LAST = 160, EVERY = 2 }; /* samples */
    double x[TIMES], y[TIMES], r = 0.0;
    figure_panel p;
    size_t i;
    for (i = 0; i < TIMES; i++) {
        x[i] = t->qp[i][0];
        y[i] = t->qp[i][1];
        r = fmax(r, fmax(fabs(x[i]), fabs(y[i])));
    }
    p = koopman_panel(f, 0, 0, BOLD("a") "  An orbit, predicted from its first sample",
                      figure_axis_of(ITALIC("x"), -1.15 * r, 1.15 * r, 0),
                      figure_axis_of(ITALIC("y"), -1.07 * r, 1.23 * r, 0)); /* legend above */
    figure_line(&p, TIMES, x, y, figure_pen("#c8c8c8", 0.7));
    figure_line(&p, LAST, x + TIMES - LAST, y + TIMES - LAST, figure_pen(FIGURE_INK, 1.0));
    for (i = 0; i < LAST / EVERY; i++) {
        x[i] = l->rollout[TIMES - LAST + EVERY * i][0];
        y[i] = l->rollout[TIMES - LAST + EVERY * i][1];
    }
    figure_points(&p, LAST / EVERY, x, y, figure_pen(KOOPMAN_BLUE, 4.0));
    koopman_legend(&p, 0.0, 0, ITALIC("t") " &lt; 80", figure_pen("#c8c8c8", 0.7), 0);
    koopman_legend(&p, 72.0, 0, ITALIC("t") " &gt; 80", figure_pen(FIGURE_INK, 1.0), 0);
    koopman_legend(&p, 144.0, 0, "predicted", figure_pen(KOOPMAN_BLUE, 4.5), 1);
}

/* Omega where slab s has the action j: J grows with the turning point, which is bisected. */
static double omega_of(int s, double action) {
    double low = 0.0, high = 20.0, j, omega = 0.0;
    int i;
    for (i = 0; i < 40; i++) {
        double top = 0.5 * (low + high);
        slab_truth(s, top, &j, &omega);
        if (j < action) low = top;
        else high = top;
    }
    return omega;
}

/* Lines where J_s is one of a few numbers, by quadrature. */
static void draw_grid(const figure_panel *p, int s) {
    static const double actions[5] = {0.25, 0.5, 1.0, 1.5, 2.0};
    double x[2], y[2];
    char text[128];
    int i;
    for (i = 0; i < 5; i++) {
        double omega = omega_of(s, actions[i]);
        x[0] = s ? p->x.low : omega;
        x[1] = s ? p->x.high : omega;
        y[0] = s ? omega : p->y.low;
        y[1] = s ? omega : p->y.high;
        figure_line(p, 2, x, y, figure_pen("#c0c0c0", 0.8));
        snprintf(text, sizeof text, "%g", actions[i]);
        if (i == 2)
            snprintf(text, sizeof text, "%s<tspan dy=\"-3\"> = %g</tspan>",
                     s ? KOOPMAN_J INDEX("2") : KOOPMAN_J INDEX("1"), actions[i]);
        figure_text(p->to, figure_x(p, x[0]) + (s ? 5.0 : 3.0), figure_y(p, y[0]) - (s ? 3.0 : 6.0),
                    "start", 10, text);
    }
}

/* Frequencies of all test orbits. */
static void draw_map(figure *f, const orbit test[TESTS], const run runs[2]) {
    static const char *const name[3] = {"untrained", "quadrature", "trained"};
    static const char *const pen[3] = {KOOPMAN_UNTRAINED, FIGURE_INK, "#8fd0ff"};
    static const double size[3] = {4.5, 6.0, 3.0}; /* the last two hide each other */
    double v[3][2][TESTS], low[2] = {INFINITY, INFINITY}, high[2] = {0.0, 0.0};
    figure_axis a[2];
    figure_panel p;
    size_t o, s, i;
    for (s = 0; s < 2; s++) {
        for (o = 0; o < TESTS; o++) {
            v[0][s][o] = runs[0].along[o].omega[0][s];
            v[1][s][o] = test[o].omega[s];
            v[2][s][o] = runs[1].along[o].omega[0][s];
            for (i = 0; i < 3; i++) {
                low[s] = fmin(low[s], v[i][s][o] - 0.02);
                high[s] = fmax(high[s], v[i][s][o] + 0.02);
            }
        }
        high[s] += s ? 0.1 * (high[s] - low[s]) : 0.0; /* room for the legend */
        a[s] = figure_axis_of(s ? "&#937;" INDEX("2") : "&#937;" INDEX("1"), low[s], high[s], 0);
    }
    p = koopman_panel(f, 1, 0, BOLD("b") "  Frequency map", a[0], a[1]);
    draw_grid(&p, 0);
    draw_grid(&p, 1);
    for (i = 0; i < 3; i++) {
        figure_points(&p, TESTS, v[i][0], v[i][1], figure_pen(pen[i], size[i]));
        koopman_legend(&p, 95.0 * (double)i, 0, name[i], figure_pen(pen[i], size[i]), 1);
    }
}

/* Both actions along an orbit, untrained and trained; below it the errors. */
static void draw_actions(figure *f, const orbit *t, const run runs[2], size_t o) {
    enum { SHOWN = TIMES / 2 };
    double v[2][2][TIMES], d[2][2][TIMES], low = INFINITY, high = 0.0;
    figure_axis x = figure_axis_of(ITALIC("t"), 0.0, t->time[SHOWN], 0);
    figure_axis y = koopman_decades("|&#916;" KOOPMAN_J "|");
    figure_panel p[2];
    size_t k, s, i;
    for (k = 0; k < 2; k++)
        for (s = 0; s < 2; s++) {
            for (i = 0; i <= SHOWN; i++) {
                v[k][s][i] = runs[k].along[o].j[i][s];
                d[k][s][i] = fabs(v[k][s][i] - t->j[s]);
                low = fmin(low, v[k][s][i]);
                high = fmax(high, v[k][s][i]);
            }
            koopman_extend(&y, 1, &runs[k].rms[J_1 + s]);
        }
    y.low *= 0.01; /* the errors pass through zero */
    y.high *= 3.0;
    p[0] = koopman_panel(f, 0, 1, BOLD("d") "  Actions along an orbit", x,
                         figure_axis_of(KOOPMAN_J, low - 0.1, high + 0.4 * (high - low), 0));
    p[1] = koopman_panel(f, 0, 2, "", x, y);
    for (k = 0; k < 2; k++)
        for (s = 0; s < 2; s++) {
            static const char *const name[2][2] = {{"untrained", "untrained"},
                                                   {KOOPMAN_J INDEX("1"), KOOPMAN_J INDEX("2")}};
            figure_style pen = figure_pen(colour[s][1 - k], k ? 1.2 : 1.0);
            figure_line(&p[1], SHOWN + 1, t->time, d[k][s], pen);
            pen.width *= k ? 2.5 : 1.2;
            figure_line(&p[0], SHOWN + 1, t->time, v[k][s], pen);
            koopman_legend(&p[0], s ? 95.0 : 0.0, 1 - (int)k, name[k][s], pen, 0);
        }
    for (s = 0; s < 2; s++) {
        double ends[2], level[2];
        ends[0] = x.low;
        ends[1] = x.high;
        level[0] = level[1] = t->j[s];
        figure_line(&p[0], 2, ends, level, figure_dashed(figure_pen(FIGURE_INK, 0.9), "3 3"));
    }
    koopman_legend(&p[0], 190.0, 0, "exact", figure_dashed(figure_pen(FIGURE_INK, 0.9), "3 3"), 0);
}

/* The largest errors along each test orbit against the true J: of J in row 1, of Omega in row 2. */
static void draw_errors(figure *f, int row, const orbit test[TESTS], const run runs[2]) {
    figure_axis x = figure_axis_of(KOOPMAN_J " by quadrature", 0.0, 0.0, 0);
    figure_axis y = koopman_decades(row == 1 ? "|&#916;" KOOPMAN_J "|" : "|&#916;&#937;|");
    double j[2][TESTS], d[2][2][TESTS];
    figure_panel p;
    size_t k, s, o, i;
    for (k = 0; k < 2; k++)
        for (s = 0; s < 2; s++) {
            for (o = 0; o < TESTS; o++) {
                const learned *l = &runs[k].along[o];
                j[s][o] = test[o].j[s];
                x.high = fmax(x.high, 1.04 * j[s][o]);
                for (i = 0, d[k][s][o] = 0.0; i < TIMES; i++) {
                    double wrong_j = l->j[i][s] - j[s][o];
                    double wrong_omega = l->omega[i][s] - test[o].omega[s];
                    d[k][s][o] = fmax(d[k][s][o], fabs(row == 1 ? wrong_j : wrong_omega));
                }
            }
            koopman_extend(&y, TESTS, d[k][s]);
        }
    p = koopman_panel(f, 1, row, row == 1 ? BOLD("e") "  Largest errors along each orbit" : "", x,
                      y);
    for (k = 0; k < 2; k++)
        for (s = 0; s < 2; s++) {
            static const char *const name[2][2] = {{"slab 1, untrained", "slab 2, untrained"},
                                                   {"slab 1, trained", "slab 2, trained"}};
            figure_style dot = figure_pen(colour[s][1 - k], 4.0);
            figure_points(&p, TESTS, j[s], d[k][s], dot);
            if (row == 1) koopman_legend(&p, s ? 130.0 : 0.0, 4 + (int)k, name[k][s], dot, 1);
        }
}

/* Errors of all orbits at each time: rms of the rollout, and the largest of encode-decode. */
static void draw_rollouts(figure *f, const orbit test[TESTS], const run runs[2]) {
    static double d[2][2][TIMES], back[TIMES]; /* untrained, trained: rms, largest */
    figure_axis x = figure_axis_of(ITALIC("t"), 0.0, tested_for, 0);
    figure_axis y[2];
    figure_panel p;
    size_t k, i, o;
    y[0] = koopman_decades("rollout error");
    y[1] = koopman_decades("encode&#8211;decode");
    for (i = 0; i < TIMES; i++) {
        for (k = 0; k < 2; k++)
            for (o = 0; o < TESTS; o++) {
                double far = distance(runs[k].along[o].rollout[i], test[o].qp[i]);
                d[k][0][i] += far * far / (double)TESTS;
                d[k][1][i] = fmax(d[k][1][i], far);
            }
        for (k = 0; k < 2; k++) d[k][0][i] = sqrt(d[k][0][i]);
        for (o = 0; o < TESTS; o++)
            back[i] = fmax(back[i], distance(runs[1].along[o].again[i], test[o].qp[i]));
    }
    for (k = 0; k < 4; k++) /* the first samples are reconstructions */
        koopman_extend(&y[0], TIMES - 5, d[k / 2][k % 2] + 5);
    koopman_extend(&y[1], TIMES, back);
    y[0].high *= pow(y[0].high / y[0].low, 0.3); /* room for the legend */
    y[1].high *= 3.0;
    p = koopman_panel(f, 2, 1, BOLD("f") "  Rollout and reconstruction of 40 orbits", x, y[0]);
    for (k = 0; k < 2; k++) {
        figure_style pen = figure_pen(k ? KOOPMAN_BLUE : KOOPMAN_UNTRAINED, 1.3);
        figure_line(&p, TIMES, test[0].time, d[k][0], pen);
        figure_line(&p, TIMES, test[0].time, d[k][1], figure_dashed(pen, "4 2"));
        koopman_legend(&p, 0.0, (int)k, k ? "trained, rms" : "untrained, rms", pen, 0);
        koopman_legend(&p, 130.0, (int)k, "largest", figure_dashed(pen, "4 2"), 0);
    }
    p = koopman_panel(f, 2, 2, "", x, y[1]);
    figure_points(&p, TIMES, test[0].time, back, figure_pen(KOOPMAN_BLUE, 2.0));
}

static int draw(const char *path, const orbit test[TESTS], const run runs[2],
                const koopman_history *history) {
    static const char *const blue[1] = {KOOPMAN_BLUE};
    enum { SHOWN = 25 }; /* of the test orbits: both actions are large */
    figure f;
    if (!figure_begin(&f, path, 1181, 792)) return 0;
    figure_text(&f, 66.0, 34.0, "start", 16,
                "Two isothermal slabs, of scale heights 1 and 0.7, turned by 30&#176;");
    figure_text(&f, 1161.0, 34.0, "end", 12, "40 orbits that were not trained on");
    draw_orbit(&f, &test[SHOWN], &runs[1].along[SHOWN]);
    draw_map(&f, test, runs);
    koopman_draw_losses(&f, 1, &history, NULL, blue);
    draw_actions(&f, &test[SHOWN], runs, SHOWN);
    draw_errors(&f, 1, test, runs);
    draw_errors(&f, 2, test, runs);
    draw_rollouts(&f, test, runs);
    return figure_end(&f);
}

int main(int argc, char **argv) {
    static orbit test[TESTS];
    static run runs[2]; /* untrained, trained */
    static koopman_history history;
    const char *path = argc > 1 ? argv[1] : "koopman_coupled.svg";
    uint64_t seed = argc > 2 ? (uint64_t)strtoul(argv[2], NULL, 10) : 0;
    af_context_desc one;
    af_context *c = NULL;
    double seconds = 0.0;
    int missed, fine;
    printf("quadrature: its last doubling changes J and Omega by %.0e\n", truth(test));
    memset(&one, 0, sizeof one);
    one.threads = 1; /* so that CPU seconds do not count threads that wait */
    fine = af_context_create(&one, &c) == AF_OK &&
           learn(c, seed, test, runs, &history, &seconds) == AF_OK;
    if (!fine) fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
    af_context_destroy(c);
    if (!fine) return 1;
    missed = table(runs, seconds);
    if (!draw(path, test, runs, &history)) {
        fprintf(stderr, "%s cannot be written\n", path);
        return 1;
    }
    printf("%s is written\nfigures missed: %d\n", path, missed);
    return missed != 0;
}
