/* actionfinder field plot: rotation curve and vertical force. */
#include "field.h"
#include "mock_start.h"
#include "svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "field plot";
static const char *const COLOUR[3] = {"#0072b2", "#d55e00", "#009e73"};
static const svg_style TRUTH = {"#111111", 1.4, 1.0, "6 4"};

enum { POINTS = 200, RADII = 3, PANEL_WIDTH = 400, PANEL_HEIGHT = 280, WIDTH = 1000, HEIGHT = 375 };

typedef struct fplot_run {
    const char *output, *galaxy_word;
    double reach;
    size_t threads;
    int beside; /* whether there is a galaxy */
    mock_galaxy galaxy;
    field_any field;
    svg_figure figure;
} fplot_run;

/* A curve: places on a line, one component of the acceleration there made into y. */
typedef struct fplot_curve {
    double x[POINTS], y[POINTS];
} fplot_curve;

/* Circular speed over R in the plane. */
static void fplot_circular(const fplot_run *r, int truth, fplot_curve *curve) {
    size_t i;
    for (i = 0; i < (size_t)POINTS; i++) {
        double x[3] = {0.0, 0.0, 0.0}, a[3];
        x[0] = r->reach * (double)(i + 1) / POINTS;
        if (truth) r->galaxy.field.acceleration(x, a, r->galaxy.field.user);
        else field_ask(&r->field, 1, x, a, NULL);
        curve->x[i] = x[0];
        curve->y[i] = -x[0] * a[0] > 0.0 ? sqrt(-x[0] * a[0]) : NAN;
    }
}

/* -az over z at the radius; z reaches a quarter of where R does. */
static void fplot_vertical(const fplot_run *r, int truth, double radius, fplot_curve *curve) {
    size_t i;
    for (i = 0; i < (size_t)POINTS; i++) {
        double x[3] = {0.0, 0.0, 0.0}, a[3];
        x[0] = radius;
        x[2] = 0.25 * r->reach * (double)i / (POINTS - 1);
        if (truth) r->galaxy.field.acceleration(x, a, r->galaxy.field.user);
        else field_ask(&r->field, 1, x, a, NULL);
        curve->x[i] = x[2];
        curve->y[i] = -a[2];
    }
}

/* From 0 to `room` times the highest of the curves: the legend goes above them. */
static svg_axis fplot_range(const char *label, const fplot_curve *curve, size_t count,
                            double room) {
    double high = 0.0;
    size_t n, i;
    for (n = 0; n < count; n++)
        for (i = 0; i < (size_t)POINTS; i++)
            if (isfinite(curve[n].y[i])) high = fmax(high, curve[n].y[i]);
    return svg_axis_of(label, 0.0, high > 0.0 ? room * high : 1.0, 0);
}

static svg_axis fplot_across(const char *label, double high) {
    svg_axis axis = svg_axis_of(label, 0.0, high, 0);
    axis.high = high;
    return axis;
}

static svg_style fplot_style(size_t i) {
    svg_style s;
    s.colour = COLOUR[i % 3];
    s.width = 2.0;
    s.opacity = 1.0;
    s.dash = NULL;
    return s;
}

static void fplot_rotation(fplot_run *r, fplot_curve *curve) {
    svg_panel p;
    fplot_circular(r, 0, &curve[0]);
    if (r->beside) fplot_circular(r, 1, &curve[1]);
    p = svg_panel_begin(&r->figure, 75.0, 42.0, PANEL_WIDTH, PANEL_HEIGHT, "Circular speed",
                        fplot_across("R [kpc]", r->reach),
                        fplot_range("v [km/s]", curve, r->beside ? 2 : 1, 1.2));
    svg_line(&p, (size_t)POINTS, curve[0].x, curve[0].y, fplot_style(0));
    svg_legend(&p, "field", fplot_style(0), 0);
    if (!r->beside) return;
    svg_line(&p, (size_t)POINTS, curve[1].x, curve[1].y, TRUTH);
    svg_legend(&p, r->galaxy_word, TRUTH, 0);
}

static void fplot_lift(fplot_run *r, fplot_curve *curve) {
    svg_panel p;
    size_t i, sets = r->beside ? 2 : 1;
    for (i = 0; i < (size_t)RADII * sets; i++)
        fplot_vertical(r, i >= (size_t)RADII, 0.2 * r->reach * (double)(i % RADII + 1), &curve[i]);
    p = svg_panel_begin(&r->figure, 575.0, 42.0, PANEL_WIDTH, PANEL_HEIGHT, "Vertical force",
                        fplot_across("z [kpc]", 0.25 * r->reach),
                        fplot_range("\xE2\x88\x92" "K_z [(km/s)\xC2\xB2/kpc]", curve,
                                    (size_t)RADII * sets, 1.5)); /* a minus, a square */
    for (i = 0; i < (size_t)RADII * sets; i++) {
        svg_style style = i < (size_t)RADII ? fplot_style(i) : TRUTH;
        char text[64];
        svg_line(&p, (size_t)POINTS, curve[i].x, curve[i].y, style);
        if (i > (size_t)RADII) continue;
        snprintf(text, sizeof text, "R = %.3g kpc", 0.2 * r->reach * (double)(i + 1));
        svg_legend(&p, i < (size_t)RADII ? text : r->galaxy_word, style, 1);
    }
}

static int fplot_all(af_context *c, fplot_run *r, const char *path, int potential) {
    fplot_curve *curve;
    int code = field_open(c, path, (int)r->threads, &r->field);
    if (code == CLI_OK && r->beside)
        code = mock_galaxy_make(c, &r->galaxy, (mock_potential)potential);
    if (code == CLI_OK) {
        curve = (fplot_curve *)cli_allocate(2 * RADII, sizeof *curve);
        svg_begin(&r->figure, WIDTH, HEIGHT);
        fplot_rotation(r, curve);
        fplot_lift(r, curve);
        svg_end(&r->figure);
        code = cli_write_text(r->output, r->figure.text, r->figure.length);
        free(r->figure.text);
        free(curve);
    }
    if (code == CLI_OK) printf("wrote %s\n", r->output);
    field_close(&r->field);
    af_galaxy_destroy(r->galaxy.model);
    return code;
}

int field_plot(const cli_command *command, int count, char **words) {
    static const char *const potential[MOCK_POTENTIALS] = {"disc-halo", "isochrone", "db98",
                                                           "pjm14", "plummer", "triaxial"};
    fplot_run r;
    const char *path[1];
    af_context *c;
    int code, word;
    memset(&r, 0, sizeof r);
    r.reach = 20.0;
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &r.output, "FILE.svg", "the picture"},
            {"galaxy", CLI_TEXT, &r.galaxy_word, "WORD",
             "disc-halo, isochrone, db98, pjm14, plummer or triaxial: draws it beside"},
            {"reach", CLI_NUMBER, &r.reach, "KPC", "largest R; z to a quarter of it; default 20"},
            {"threads", CLI_COUNT, &r.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
    }
    if (code < 0)
        code = cli_word(NAME, "galaxy", r.galaxy_word, potential, MOCK_POTENTIALS, &word);
    if (code >= 0) return code;
    r.beside = r.galaxy_word != NULL;
    if (!r.output) return cli_usage(NAME, "-o FILE.svg is missing: where the picture goes");
    if ((code = cli_check_ending(NAME, r.output, ".svg")) >= 0) return code;
    if ((code = cli_check_output(r.output, path, 1)) != CLI_OK) return code;
    if ((code = cli_context(r.threads, &c)) != CLI_OK) return code;
    code = fplot_all(c, &r, path[0], word);
    af_context_destroy(c);
    return code;
}
