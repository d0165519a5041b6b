/* actionfinder koopman plot: a picture of what a model makes of trajectories. */
#include "koopman.h"
#include "svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "koopman plot";
static const double TURN = 6.283185307179586;

/* Two columns of panels, with room for a colour bar to the right of each. */
enum { FIELD_WIDTH = 380, FIELD_HEIGHT = 280, COLUMN = 545, ROW = 375, WIDTH = 1090 };
enum { MOST_POINTS = 8000, MOST_LINES = 64 }; /* of a panel: more only hide each other */

static const svg_style LEARNED = {"#0072b2", 2.0, 1.0, NULL};
static const svg_style MEASURED = {"#d55e00", 1.4, 1.0, NULL};
static const double RING = 9.0; /* diameter */

typedef struct kplot_run {
    const char *output, *history;
    koopman_source source;
    af_context *c;
    svg_figure figure;
    size_t panels;
    koopman_map m;
    koopman_label label[2 * AF_FREEDOMS_MAX]; /* of q and p */
} kplot_run;

static svg_panel kplot_panel(kplot_run *r, const char *title, svg_axis x, svg_axis y) {
    size_t at = r->panels++;
    return svg_panel_begin(&r->figure, 80.0 + (double)(at % 2) * COLUMN,
                           42.0 + (double)(at / 2) * ROW, FIELD_WIDTH, FIELD_HEIGHT, title, x, y);
}

/* The axis of every stride-th of n numbers. */
static svg_axis kplot_range(const char *label, const double *x, size_t n, size_t stride) {
    double low = HUGE_VAL, high = -HUGE_VAL;
    size_t i;
    for (i = 0; i < n; i++)
        if (isfinite(x[stride * i])) {
            low = fmin(low, x[stride * i]);
            high = fmax(high, x[stride * i]);
        }
    if (!(low <= high)) low = high = 0.0;
    return svg_axis_of(label, low, high, 0);
}

/* "J" or "J_2": for one degree of freedom of several. */
static const char *kplot_name(const koopman_map *m, const char *base, size_t i, char room[64]) {
    if (m->freedoms == 1) snprintf(room, 64, "%s", base);
    else snprintf(room, 64, "%s_%u", base, (unsigned)i + 1);
    return room;
}

/* ---- phase space ---- */

static void kplot_phase(kplot_run *r, size_t i, int by_angle) {
    const koopman_map *m = &r->m;
    size_t n = m->freedoms, step = m->total / (size_t)MOST_POINTS + 1, count = 0, s;
    double *column = (double *)cli_allocate(3 * (m->total / step + 1), sizeof *column);
    double *x = column, *y = x + m->total / step + 1, *value = y + m->total / step + 1;
    char v[64], bar[80], title[160];
    svg_axis range;
    svg_panel panel;
    for (s = 0; s < m->total; s += step, count++) {
        x[count] = m->qp[2 * n * s + i];
        y[count] = m->qp[2 * n * s + n + i];
        value[count] = (by_angle ? m->theta : m->j)[n * s + i];
    }
    kplot_name(m, by_angle ? "\xCE\xB8" : "J", i, v); /* a theta */
    snprintf(bar, sizeof bar, "%s%s", v, by_angle ? " [rad]" : "");
    range = kplot_range(bar, value, count, 1);
    if (by_angle) {
        range.low = 0.0;
        range.high = TURN;
    } else if (range.low < 0.0) {
        range.low = 0.0; /* the margin below the smallest action */
    }
    snprintf(title, sizeof title, "Phase space, coloured by %s", v);
    panel = kplot_panel(r, title, kplot_range(r->label[i], x, count, 1),
                        kplot_range(r->label[n + i], y, count, 1));
    svg_points(&panel, count, x, y, value, &range, by_angle ? SVG_CYCLIC : SVG_RISING,
               count > 2000 ? 2.5 : 4.0);
    svg_colour_bar(&panel, &range, by_angle ? SVG_CYCLIC : SVG_RISING);
    free(column);
}

/* ---- frequencies ---- */

/* The slope of theta over t along orbit o, by least squares; whole turns are those that the model's
 * frequency tells. */
static double kplot_slope(const koopman_map *m, size_t o, size_t i) {
    size_t s, n = m->freedoms, count = af_trajectories_samples(m->t, o);
    const double *time = af_trajectories_time(m->t, o), *theta = m->theta + n * m->first[o];
    double omega = m->mean_omega[n * o + i], middle = 0.0, cross = 0.0, square = 0.0, away = 0.0;
    for (s = 0; s < count; s++) middle += time[s] / (double)count;
    for (s = 0; s < count; s++) {
        double rest = theta[n * s + i] - theta[i] - omega * (time[s] - time[0]);
        away = away + remainder(rest - away, TURN); /* not far from that of the sample before */
        cross += (time[s] - middle) * away;
        square += (time[s] - middle) * (time[s] - middle);
    }
    return omega + cross / square;
}

static void kplot_learned(const svg_panel *p, af_koopman_evaluator *e, double most) {
    enum { POINTS = 200 };
    double j[POINTS], omega[POINTS];
    size_t s;
    for (s = 0; s < (size_t)POINTS; s++) j[s] = most * (double)s / (double)(POINTS - 1);
    af_koopman_frequencies(e, (size_t)POINTS, j, omega, NULL);
    svg_line(p, (size_t)POINTS, j, omega, LEARNED);
}

/* With one degree of freedom a line; with more Omega is that of each orbit, coloured by the sum of
 * the other actions. */
static void kplot_frequency(kplot_run *r, af_koopman_evaluator *e, size_t i) {
    const koopman_map *m = &r->m;
    size_t n = m->freedoms, o, k;
    double *column = (double *)cli_allocate(4 * m->orbits, sizeof *column);
    double *j = column, *learned = j + m->orbits, *slope = learned + m->orbits;
    double *other = slope + m->orbits;
    char v[64], w[64], title[160];
    svg_axis range, rates;
    svg_panel p;
    for (o = 0; o < m->orbits; o++) {
        j[o] = m->mean_j[n * o + i];
        learned[o] = m->mean_omega[n * o + i];
        slope[o] = kplot_slope(m, o, i);
        for (k = 0; k < n; k++) other[o] += k == i ? 0.0 : m->mean_j[n * o + k];
    }
    kplot_name(m, "J", i, v);
    kplot_name(m, "\xCE\xA9", i, w); /* an Omega */
    snprintf(title, sizeof title, "Frequency %s over %s%s", w, v, n > 1 ? ", learned (dots)" : "");
    range = kplot_range(v, j, m->orbits, 1);
    if (n == 1) range.low = 0.0;
    rates = kplot_range(w, slope, m->orbits, 1);
    if (rates.high - rates.low < 0.02 * fabs(rates.high)) { /* all but the same, and looks it */
        rates.low -= 0.01 * fabs(rates.high);
        rates.high += 0.01 * fabs(rates.high);
    }
    p = kplot_panel(r, title, range, rates);
    if (n == 1) {
        kplot_learned(&p, e, range.high);
        svg_legend(&p, "learned", LEARNED, 0);
    } else {
        range = kplot_range(n > 2 ? "other J" : i ? "J_1" : "J_2", other, m->orbits, 1);
        svg_points(&p, m->orbits, j, learned, other, &range, SVG_RISING, 6.0);
        svg_colour_bar(&p, &range, SVG_RISING);
    }
    svg_rings(&p, m->orbits, j, slope, RING, MEASURED);
    svg_legend_ring(&p, "slope of \xCE\xB8 along orbits", RING, MEASURED, SVG_UPPER_RIGHT);
    free(column);
}

/* ---- predicted orbits ---- */

static void kplot_rollout(kplot_run *r, size_t i) {
    const koopman_map *m = &r->m;
    const double floor_of_rounding = 1e-17;
    size_t n = m->freedoms, o, s, longest = 0, step = m->orbits / (size_t)MOST_LINES + 1;
    double low = HUGE_VAL, high = floor_of_rounding, end = 0.0, *time, *away;
    char title[192];
    svg_style style = LEARNED;
    svg_panel p;
    for (o = 0; o < m->orbits; o++) {
        const double *t = af_trajectories_time(m->t, o);
        size_t count = af_trajectories_samples(m->t, o);
        if (count > longest) longest = count;
        end = fmax(end, t[count - 1] - t[0]);
        for (s = 1; s < count; s++) { /* at the first one there is nothing but rounding */
            double x = m->rolled[n * (m->first[o] + s) + i];
            if (x > floor_of_rounding) low = fmin(low, x);
            if (isfinite(x)) high = fmax(high, x);
        }
    }
    snprintf(title, sizeof title, "Orbits predicted from their first samples: %s, %s",
             r->label[i], r->label[n + i]);
    p = kplot_panel(r, title, svg_axis_of("time", 0.0, end, 0),
                    svg_axis_of("distance [size of the data]", fmin(low, high), high, 1));
    time = (double *)cli_allocate(longest, sizeof *time);
    away = (double *)cli_allocate(longest, sizeof *away);
    style.width = 1.0;
    style.opacity = 0.5;
    for (o = 0; o < m->orbits; o += step) {
        const double *t = af_trajectories_time(m->t, o);
        size_t count = af_trajectories_samples(m->t, o);
        for (s = 0; s < count; s++) {
            double x = m->rolled[n * (m->first[o] + s) + i];
            time[s] = t[s] - t[0];
            away[s] = x > floor_of_rounding && s > 0 ? x : NAN;
        }
        svg_line(&p, count, time, away, style);
    }
    free(time);
    free(away);
}

/* ---- history ---- */

static int kplot_history(kplot_run *r) {
    static const char *const column[2] = {"step", "rms"};
    af_table_desc d;
    af_table *t;
    svg_axis across;
    svg_panel p;
    size_t n, i;
    double low = HUGE_VAL, high = 0.0;
    const double *step, *rms;
    memset(&d, 0, sizeof d);
    d.columns = column;
    d.column_count = 2;
    if (af_table_read(r->c, r->history, &d, &t) != AF_OK) return cli_fail_library(r->c);
    n = af_table_rows(t);
    step = af_table_column(t, "step");
    rms = af_table_column(t, "rms");
    for (i = 0; i < n; i++) {
        if (rms[i] > 0.0) low = fmin(low, rms[i]);
        high = fmax(high, rms[i]);
    }
    if (n >= 2 && high > 0.0) {
        across = svg_axis_of("step", 0.0, step[n - 1], 0);
        across.high = step[n - 1];
        p = kplot_panel(r, "Training", across,
                        svg_axis_of("rms [size of the data]", low, high, 1));
        svg_line(&p, n, step, rms, LEARNED);
    }
    af_table_destroy(t);
    return n >= 2 && high > 0.0
               ? CLI_OK
               : cli_fail("'%s' has fewer than two steps to draw", r->history);
}

/* ---- the command ---- */

static int kplot_draw(kplot_run *r, const af_koopman *k) {
    size_t i, n = r->m.freedoms;
    af_koopman_evaluator *e;
    int code = CLI_OK;
    if (af_koopman_evaluator_create(k, 256, &e) != AF_OK) return cli_fail_library(r->c);
    svg_begin(&r->figure, WIDTH, (int)(2 * n + (r->history ? 1 : 0)) * ROW + 5);
    for (i = 0; i < n; i++) {
        kplot_phase(r, i, 0);
        kplot_phase(r, i, 1);
        kplot_frequency(r, e, i);
        kplot_rollout(r, i);
    }
    if (r->history) code = kplot_history(r);
    svg_end(&r->figure);
    af_koopman_evaluator_destroy(e);
    if (code == CLI_OK) code = cli_write_text(r->output, r->figure.text, r->figure.length);
    if (code == CLI_OK) printf("wrote %s\n", r->output);
    free(r->figure.text);
    return code;
}

/* Whether a name has room at an axis, and means nothing else in SVG. */
static int kplot_fits(const char *name) {
    size_t n;
    for (n = 0; name[n]; n++)
        if (name[n] < ' ' || name[n] > '~' || strchr("<&", name[n])) return 0;
    return n < 25;
}

/* The file's names, or q and p. */
static void kplot_labels(kplot_run *r, const char *path, const af_trajectories *t) {
    size_t i, n = r->m.freedoms;
    int named = koopman_labels(r->c, path, &r->source, t, r->label);
    for (i = 0; i < 2 * n; i++) named = named && kplot_fits(r->label[i]);
    for (i = 0; i < 2 * n && !named; i++)
        kplot_name(&r->m, i < n ? "q" : "p", i % n, r->label[i]);
}

static int kplot_all(kplot_run *r, const char *const path[2]) {
    af_koopman *k;
    af_trajectories *t;
    int code = koopman_open(r->c, NAME, path, &r->source, 1, &k, &t);
    if (code == CLI_OK) code = koopman_map_make(r->c, k, t, &r->m);
    if (code == CLI_OK) kplot_labels(r, path[1], t);
    if (code == CLI_OK) code = kplot_draw(r, k);
    koopman_map_free(&r->m);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    return code;
}

int koopman_plot(const cli_command *command, int count, char **words) {
    kplot_run r;
    const char *path[3];
    int code;
    memset(&r, 0, sizeof r);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &r.output, "FILE.svg", "the picture"},
            KOOPMAN_SOURCE_OPTIONS(&r.source),
            {"history", CLI_TEXT, &r.history, "FILE.csv", "of fit --history: adds the training"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code >= 0) return code;
    if (!r.output) return cli_usage(NAME, "-o FILE.svg is missing: where the picture goes");
    if ((code = cli_check_ending(NAME, r.output, ".svg")) >= 0) return code;
    path[2] = r.history;
    code = cli_check_output(r.output, path, 3);
    if (code == CLI_OK) code = cli_context(1, &r.c);
    if (code == CLI_OK) code = kplot_all(&r, path);
    af_context_destroy(r.c);
    return code;
}
