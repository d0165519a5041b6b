/* koopman.h - what the examples of the Koopman autoencoder have in common
 *
 * Action and frequency of a symmetric well by quadrature, its orbits to rounding, the history of a
 * fit, and parts of the pictures. */

#ifndef KOOPMAN_H
#define KOOPMAN_H

#include "figure.h"

#define KOOPMAN_PI 3.14159265358979323846

enum { KOOPMAN_STEPS = 4096 }; /* most steps of a fit */

/* ---- the truth ---- */

/* Phi(amplitude) - Phi(amplitude - below) of a potential that is symmetric about z = 0, without a
 * difference of nearly equal numbers. */
typedef double koopman_drop(double amplitude, double below);

/* Nodes and weights of Gauss and Legendre's quadrature on [-1, 1], by Newton's method. */
static inline void koopman_gauss_legendre(int n, double *x, double *w) {
    int i, k, step;
    for (i = 0; i < n; i++) {
        double at = cos(KOOPMAN_PI * (i + 0.75) / (n + 0.5)), slope = 1.0;
        for (step = 0; step < 6; step++) { /* the guess is good to 1e-2 of a gap: 4 do */
            double p = 1.0, before = 0.0, older;
            for (k = 1; k <= n; k++) {
                older = before;
                before = p;
                p = ((2 * k - 1) * at * before - (k - 1) * older) / k;
            }
            slope = n * (at * p - before) / (at * at - 1.0);
            at -= p / slope;
        }
        x[i] = at;
        w[i] = 2.0 / ((1.0 - at * at) * slope * slope);
    }
}

/* J = (1/2 pi) * loop integral of v dz and Omega = 2 pi / T, with n nodes in psi: z = zmax cos psi,
 * where the integrands are smooth at the turning point. */
static inline void koopman_quadrature(koopman_drop *drop, double zmax, int n, double *j,
                                      double *omega) {
    double x[128], w[128], area = 0.0, quarter = 0.0;
    int i;
    koopman_gauss_legendre(n, x, w);
    for (i = 0; i < n; i++) {
        double psi = 0.25 * KOOPMAN_PI * (1.0 + x[i]), half = sin(0.5 * psi);
        double dz = 0.25 * KOOPMAN_PI * zmax * sin(psi);
        double v = sqrt(2.0 * drop(zmax, 2.0 * zmax * half * half));
        area += w[i] * v * dz;
        quarter += w[i] * dz / v;
    }
    *j = 2.0 * area / KOOPMAN_PI;
    *omega = 0.5 * KOOPMAN_PI / quarter;
}

/* Doubles the order until nothing changes but by rounding; returns the last change. */
static inline double koopman_reference(koopman_drop *drop, double amplitude, double *j,
                                       double *omega) {
    double old_j, old_omega, change = INFINITY;
    int n;
    koopman_quadrature(drop, amplitude, 8, j, omega);
    for (n = 16; n <= 128 && change > 1e-14; n *= 2) {
        old_j = *j;
        old_omega = *omega;
        koopman_quadrature(drop, amplitude, n, j, omega);
        change = fmax(fabs(*j - old_j), fabs(*omega - old_omega));
    }
    return change;
}

/* Steps of even order by Yoshida's triple jump from the leapfrog: order 8 is 27 leapfrogs. */
static inline void koopman_jump(double (*force)(double), int order, double h, double x[2]) {
    double outer, root;
    if (order == 2) {
        x[0] += 0.5 * h * x[1];
        x[1] += h * force(x[0]);
        x[0] += 0.5 * h * x[1];
        return;
    }
    root = pow(2.0, 1.0 / (order - 1));
    outer = h / (2.0 - root);
    koopman_jump(force, order - 2, outer, x);
    koopman_jump(force, order - 2, -root * outer, x);
    koopman_jump(force, order - 2, outer, x);
}

/* x = z, v_z after some time, by steps of order 8. With steps of 0.025 where a period is 9 or more,
 * 8 periods are good to some 1e-13. */
static inline void koopman_move(double (*force)(double), double time, double x[2]) {
    int steps = (int)ceil(time / 0.025), k;
    double h = time / fmax(1.0, steps);
    for (k = 0; k < steps; k++) koopman_jump(force, 8, h, x);
}

/* ---- the history of a fit ---- */

typedef struct koopman_history {
    size_t steps;
    double step[KOOPMAN_STEPS], loss[KOOPMAN_STEPS];
    size_t cuts[KOOPMAN_STEPS];
} koopman_history;

/* Keeps the loss of each step: the progress of a fit. */
static inline int koopman_watch(const af_koopman_progress *p, void *user) {
    koopman_history *r = (koopman_history *)user;
    if (r->steps == KOOPMAN_STEPS) return 0;
    r->step[r->steps] = (double)p->step;
    r->loss[r->steps] = p->loss;
    r->cuts[r->steps++] = p->cuts;
    return 0;
}

/* ---- tables ---- */

/* optional: nothing is printed for zero. */
static inline void koopman_cell(double value, int optional) {
    if (value == 0.0 && optional) printf("%10s", "");
    else printf("%10.1e", value);
}

/* ---- pictures ---- */

#define KOOPMAN_BLUE "#1f5fa8"
#define KOOPMAN_ORANGE "#d1570f"
#define KOOPMAN_UNTRAINED "#9a9a9a"
#define KOOPMAN_J "<tspan font-style=\"italic\">J</tspan>"

/* Three columns; in each a square above, and below it two panels that share their abscissa. */
static inline figure_panel koopman_panel(figure *f, int column, int row, const char *title,
                                         figure_axis x, figure_axis y) {
    static const double top[3] = {76.0, 440.0, 630.0}, height[3] = {285.0, 180.0, 110.0};
    x.bare = row == 1;
    return figure_panel_begin(f, 66.0 + 405.0 * column, top[row], 285.0, height[row], title, x, y);
}

/* A logarithmic axis, to be extended to whole decades around values. */
static inline figure_axis koopman_decades(const char *label) {
    return figure_axis_of(label, INFINITY, 0.0, FIGURE_LOGARITHMIC);
}

static inline void koopman_extend(figure_axis *a, size_t n, const double *v) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (!isfinite(v[i]) || v[i] <= 0.0) continue;
        a->low = fmin(a->low, pow(10.0, floor(log10(v[i]))));
        a->high = fmax(a->high, pow(10.0, ceil(log10(v[i]))));
    }
}

/* A line of a legend that has columns; dot: the style's width is a diameter. */
static inline void koopman_legend(const figure_panel *p, double right, int row, const char *text,
                                  figure_style s, int dot) {
    figure_panel shifted = *p;
    shifted.left += right;
    shifted.entries = row;
    figure_legend(&shifted, text, s, dot, 1);
}

/* Where the orbits' pieces are joined. */
static inline void koopman_draw_stages(const figure_panel *p, const koopman_history *r) {
    double from = p->x.low, x[2], y[2];
    char text[32];
    size_t i;
    y[0] = p->y.low;
    y[1] = p->y.high;
    for (i = 1; i <= r->steps; i++) {
        if (i < r->steps && r->cuts[i] == r->cuts[i - 1]) continue;
        x[0] = x[1] = i < r->steps ? r->step[i] : p->x.high;
        if (i < r->steps)
            figure_line(p, 2, x, y, figure_dashed(figure_pen("#b0b0b0", 0.8), "2 3"));
        snprintf(text, sizeof text, r->cuts[i - 1] == 8 ? "%d pieces" : "%d",
                 (int)r->cuts[i - 1]);
        figure_text(p->to, figure_x(p, sqrt(from * x[0])), p->top + p->height - 12.0, "middle", 11,
                    r->cuts[i - 1] == 1 ? "whole orbits" : text);
        from = x[0];
    }
}

/* One to three fits, the first with its stages, at the top right; their names where not NULL. */
static inline void koopman_draw_losses(figure *f, int count, const koopman_history *const *fits,
                                       const char *const *names, const char *const *colours) {
    figure_axis x = figure_axis_of("Levenberg&#8211;Marquardt step", 1.0, 10.0,
                                   FIGURE_LOGARITHMIC);
    figure_axis y = koopman_decades("loss");
    figure_panel p;
    int i;
    for (i = 0; i < count; i++) {
        koopman_extend(&y, fits[i]->steps, fits[i]->loss);
        x.high = fmax(x.high, fits[i]->step[fits[i]->steps - 1]);
    }
    y.low *= pow(y.low / y.high, 0.1); /* room for the words */
    p = koopman_panel(f, 2, 0, "<tspan font-weight=\"bold\">c</tspan>  Training", x, y);
    koopman_draw_stages(&p, fits[0]);
    for (i = 0; i < count; i++) {
        figure_line(&p, fits[i]->steps, fits[i]->step, fits[i]->loss,
                    figure_pen(colours[i], 1.6));
        if (names) figure_legend(&p, names[i], figure_pen(colours[i], 1.6), 0, 0);
    }
}

#endif
