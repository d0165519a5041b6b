/* Figures 3, 4 and 5 of the paper. */
#include "reproduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "svg.h"

static const svg_style BLUE = {"#0072b2", 1.6, 1.0, NULL};
static const svg_style ORANGE = {"#e06c00", 1.6, 1.0, NULL};
static const svg_style RED = {"#cc0000", 3.5, 1.0, NULL};
static const svg_style TRUE_VALUE = {"#111111", 1.2, 1.0, "6 4"};

static svg_style figures_dots(const char *colour, double diameter, double opacity) {
    svg_style s;
    s.colour = colour;
    s.width = diameter;
    s.opacity = opacity;
    s.dash = NULL;
    return s;
}

static int figures_write(const redo *r, const char *name, svg_figure *f) {
    char path[REDO_PATH];
    int code;
    svg_end(f);
    snprintf(path, sizeof path, "%s/%s", r->output, name);
    code = cli_write_text(path, f->text, f->length);
    if (code == CLI_OK) printf("wrote %s\n", path);
    free(f->text);
    return code;
}

/* ---- figure 3: loss and validation of three sample sizes ---- */

enum { LOSS_PANELS = 3 };

static const redo_model *figures_model(const redo *r, const char *name) {
    size_t i;
    for (i = 0; i < r->kept_count; i++)
        if (strcmp(r->kept[i].name, name) == 0) return &r->kept[i].model;
    return NULL;
}

static void figures_loss(svg_figure *f, const redo_history *h, int row, const char *title) {
    double *x = (double *)cli_allocate(h->count, sizeof *x), low = HUGE_VAL, high = 0.0;
    double *y = (double *)cli_allocate(h->count, sizeof *y);
    svg_panel p;
    svg_axis across = svg_axis_of("epoch", 0.0, h->epoch[h->count - 1], 0);
    size_t i, n = 0;
    across.high = h->epoch[h->count - 1];
    for (i = 0; i < h->count; i++) {
        low = fmin(low, fmin(h->loss[i], h->validation[i]));
        high = fmax(high, fmax(h->loss[i], h->validation[i]));
        if (!isfinite(h->validation[i])) continue; /* not every epoch is validated */
        x[n] = h->epoch[i];
        y[n++] = h->validation[i];
    }
    p = svg_panel_begin(f, 90.0, 40.0 + 270.0 * row, 640.0, 190.0, title, across,
                        svg_axis_of("loss", low, 2.5 * high, 1)); /* room for the legend */
    svg_line(&p, h->count, h->epoch, h->loss, BLUE);
    svg_line(&p, n, x, y, ORANGE);
    svg_dots(&p, 1, h->epoch + h->best, h->validation + h->best, figures_dots("#cc0000", 9, 1));
    svg_legend(&p, "training streams", BLUE, 0);
    svg_legend(&p, "streams not trained on", ORANGE, 0);
    svg_legend(&p, "kept", RED, 0);
    free(x);
    free(y);
}

static int figures_three(redo *r) {
    static const char *const name[LOSS_PANELS] = {"db98_fourier", "db98_128_fourier",
                                                  "db98_16_fourier"};
    static const char *const title[LOSS_PANELS] = {"1024 streams", "128 streams", "16 streams"};
    svg_figure f;
    int i;
    for (i = 0; i < LOSS_PANELS; i++) {
        const redo_model *m = figures_model(r, name[i]);
        if (!m || m->history.count < 2) return CLI_OK;
    }
    svg_begin(&f, 760, 270 * LOSS_PANELS + 20);
    for (i = 0; i < LOSS_PANELS; i++)
        figures_loss(&f, &figures_model(r, name[i])->history, i, title[i]);
    return figures_write(r, "figure3.svg", &f);
}

/* ---- figure 4: actions along the four orbits ---- */

enum { ALONG_POINTS = 2000 }; /* drawn, of the 10000 */

static const double ALONG_INTERVAL = 0.9777e-3; /* [Gyr], section 6.4 */
static const char *const ACTION[3] = {"J_phi", "J_z", "J_r"};

/* The value that the fraction of |values| is below. */
static double figures_quantile(const double *value, size_t n, double fraction) {
    double *sorted = (double *)cli_allocate(n, sizeof *sorted), out;
    size_t i;
    for (i = 0; i < n; i++) sorted[i] = fabs(value[i]);
    n = cli_summarise(sorted, n).count;
    out = n ? sorted[(size_t)(fraction * (double)(n - 1))] : 0.0;
    free(sorted);
    return out;
}

static void figures_along(svg_figure *f, const redo_orbit_picture *o, int row, int k) {
    double x[ALONG_POINTS], y[2][ALONG_POINTS], high, ends[2], zero[2] = {0.0, 0.0};
    char label[64], title[64];
    svg_panel p;
    svg_axis across, up;
    size_t i, n = o->n < ALONG_POINTS ? o->n : (size_t)ALONG_POINTS, step = o->n / n;
    for (i = 0; i < n; i++) {
        size_t at = i * step;
        x[i] = ALONG_INTERVAL * (double)at;
        y[0][i] = o->fudge[3 * at + (size_t)k] - o->truth[k];
        y[1][i] = o->found[3 * at + (size_t)k] - o->truth[k];
    }
    ends[0] = 0.0;
    ends[1] = x[n - 1];
    high = fmax(figures_quantile(y[0], n, 0.995), figures_quantile(y[1], n, 0.995));
    high = fmax(1.6 * high, 0.01); /* with room for the legend */
    across = svg_axis_of("time [Gyr]", 0.0, x[n - 1], 0);
    across.high = x[n - 1];
    snprintf(label, sizeof label, "%s - truth [km/s kpc]", ACTION[k]);
    up = svg_axis_of(label, -high, high, 0);
    snprintf(title, sizeof title, "%s: %s", o->title, ACTION[k]);
    p = svg_panel_begin(f, 85.0 + 400.0 * k, 40.0 + 270.0 * row, 290.0, 185.0, title, across, up);
    svg_dots(&p, n, x, y[0], figures_dots(BLUE.colour, 1.8, 0.6));
    svg_dots(&p, n, x, y[1], figures_dots(ORANGE.colour, 1.8, 0.6));
    svg_line(&p, 2, ends, zero, TRUE_VALUE);
    svg_legend(&p, "fudge, potential known", BLUE, 0);
    svg_legend(&p, "ActionFinder: shears", ORANGE, 0);
}

static int figures_four(redo *r) {
    svg_figure f;
    int i, k;
    for (i = 0; i < REDO_ORBITS; i++)
        if (!r->orbit[i].found || !r->orbit[i].fudge) return CLI_OK;
    svg_begin(&f, 1205, 270 * REDO_ORBITS + 20);
    for (i = 0; i < REDO_ORBITS; i++)
        for (k = 0; k < 3; k++) figures_along(&f, &r->orbit[i], i, k);
    return figures_write(r, "figure4.svg", &f);
}

/* ---- figure 5: actions of the particles of a Plummer sphere ---- */

static void figures_particles(svg_figure *f, const redo_plummer_picture *q, int k) {
    double *x = (double *)cli_allocate(q->n, sizeof *x), *toy, *found, low = HUGE_VAL, top;
    double high = -HUGE_VAL, ends[2], zero[2] = {0.0, 0.0};
    char label[64];
    svg_panel p;
    size_t i;
    toy = (double *)cli_allocate(q->n, sizeof *toy);
    found = (double *)cli_allocate(q->n, sizeof *found);
    for (i = 0; i < q->n; i++) {
        size_t at = 3 * i + (size_t)k;
        x[i] = q->truth[at];
        toy[i] = 1e3 * (q->toy[at] - x[i]);
        found[i] = 1e3 * (q->found[at] - x[i]);
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    top = fmax(2.0 * figures_quantile(found, q->n, 0.98), 0.5 * figures_quantile(toy, q->n, 0.9));
    top = fmax(top, 2e-2);
    ends[0] = low;
    ends[1] = high;
    snprintf(label, sizeof label, "%s - truth [km/s pc]", ACTION[k]);
    p = svg_panel_begin(f, 90.0 + 430.0 * k, 40.0, 310.0, 260.0, ACTION[k],
                        svg_axis_of("truth [km/s kpc]", low, high, 0),
                        svg_axis_of(label, -top, top, 0));
    svg_dots(&p, q->n, x, toy, figures_dots("#8a8a8a", 3.0, 0.7));
    svg_dots(&p, q->n, x, found, figures_dots(ORANGE.colour, 3.0, 0.9));
    svg_line(&p, 2, ends, zero, TRUE_VALUE);
    svg_legend(&p, "untrained toy", figures_dots("#8a8a8a", 3.0, 0.7), 0);
    svg_legend(&p, "ActionFinder: shears", ORANGE, 0);
    free(x);
    free(toy);
    free(found);
}

static int figures_five(redo *r) {
    svg_figure f;
    int k;
    if (!r->plummer.n) return CLI_OK;
    svg_begin(&f, 1290, 360);
    for (k = 0; k < 3; k++) figures_particles(&f, &r->plummer, k);
    return figures_write(r, "figure5.svg", &f);
}

int redo_figures(redo *r) {
    int code = figures_three(r);
    if (code == CLI_OK) code = figures_four(r);
    if (code == CLI_OK) code = figures_five(r);
    return code;
}
