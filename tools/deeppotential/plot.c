/* deeppotential plot: pictures of a potential, of how stationary f is in it, of its training. */
#include "deep.h"
#include "svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "plot";
static const svg_style LEARNED = {"#0072b2", 2.0, 1.0, NULL};
static const svg_style SECOND = {"#d55e00", 2.0, 1.0, NULL};
static const svg_style TRUTH = {"#111111", 1.4, 1.0, "6 4"};

enum {
    CELLS = 80,  /* of a map along each axis */
    POINTS = 200, /* of a curve */
    BINS = 40,   /* of maps of means, and of histograms */
    FIELD_WIDTH = 300,
    FIELD_HEIGHT = 300,
    COLUMN = 480,
    ROW = 390,
    COLUMNS = 3
};

typedef struct plot_settings {
    const char *output, *gradients, *truth, *flow_history, *history, *check;
    double reach, height;
    size_t threads;
    af_potential parts[DEEP_PARTS];
    size_t part_count;
    /* while it runs */
    af_context *c;
    dp_potential *p;
    deep_points points;
    svg_figure figure;
    size_t panels;
} plot_settings;

static size_t plot_options(plot_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"o", CLI_TEXT, &o->output, "FILE.svg", "the picture"},
        {"reach", CLI_NUMBER, &o->reach, "KPC", "largest |x|, |y|, |z|; default: of --gradients"},
        {"height", CLI_NUMBER, &o->height, "KPC", "largest |z|, where it is another"},
        {"gradients", CLI_TEXT, &o->gradients, "GRADS", "adds maps of d ln f/dt at these points"},
        {"truth", CLI_TEXT, &o->truth, "GRADS",
         "the true gradients at the same points (mock --truth-gradients): adds their accuracy"},
        {"check", CLI_TEXT, &o->check, "SUM", "draws a known potential beside, as in eval"},
        {"history", CLI_TEXT, &o->history, "FILE.csv", "of fit-potential: adds its loss"},
        {"flow-history", CLI_TEXT, &o->flow_history, "FILE.csv", "of fit-flow: adds its loss"},
        {"threads", CLI_COUNT, &o->threads, "N", "default: all cores"},
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

size_t deep_plot_options(cli_option *out) {
    static plot_settings nowhere;
    return plot_options(&nowhere, out);
}

static svg_panel plot_panel(plot_settings *o, const char *title, svg_axis x, svg_axis y) {
    size_t at = o->panels++;
    return svg_panel_begin(&o->figure, 80.0 + (double)(at % COLUMNS) * COLUMN,
                           42.0 + (double)(at / COLUMNS) * ROW, FIELD_WIDTH, FIELD_HEIGHT, title, x,
                           y);
}

/* From low to high, without margins. */
static svg_axis plot_axis(const char *label, double low, double high) {
    svg_axis a = svg_axis_of(label, low, high, 0);
    a.low = low;
    a.high = high;
    return a;
}

/* The range of the finite ones, whose outermost hundredths are left out. */
static svg_axis plot_range(const char *label, const double *value, size_t n) {
    double *room = (double *)cli_allocate(n, sizeof *room), low, high;
    memcpy(room, value, n * sizeof *room);
    low = deep_quantile(room, n, 0.01);
    high = deep_quantile(room, n, 0.99);
    free(room);
    if (!isfinite(low)) low = high = 0.0;
    return plot_axis(label, low, high > low ? high : low + 1.0);
}

/* ---- slices ---- */

/* The centres of the cells: axes 0, 1, 2 are x, y, z. (CELLS,CELLS,3) */
static double *plot_slice(const plot_settings *o, int up, double top) {
    double *x = (double *)cli_allocate(3 * CELLS * CELLS, sizeof *x);
    size_t i;
    for (i = 0; i < (size_t)(CELLS * CELLS); i++) {
        double across = ((double)(i / CELLS) + 0.5) / CELLS;
        double along = ((double)(i % CELLS) + 0.5) / CELLS;
        x[3 * i] = o->reach * (2.0 * across - 1.0);
        x[3 * i + (size_t)up] = top * (2.0 * along - 1.0);
    }
    return x;
}

static int plot_density(plot_settings *o, int up) {
    double top = up == 2 ? o->height : o->reach, *x = plot_slice(o, up, top), least;
    double *value = (double *)cli_allocate(CELLS * CELLS, sizeof *value);
    svg_axis range;
    svg_panel p;
    size_t i;
    int code = CLI_OK, white = 0;
    if (dp_potential_evaluate(o->p, CELLS * CELLS, x, NULL, NULL, value) != AF_OK)
        code = cli_fail_library(o->c);
    for (i = 0; i < (size_t)(CELLS * CELLS); i++) {
        white |= !(value[i] > 0.0);
        value[i] = value[i] > 0.0 ? log10(value[i]) : NAN;
    }
    range = plot_range("lg \xCF\x81", value, CELLS * CELLS); /* a rho */
    least = range.high - 5.0; /* five powers of ten show enough */
    if (range.low < least) range.low = least;
    p = plot_panel(o,
                   up == 2 ? "Density, y = 0 [Msun/kpc\xC2\xB3]"
                           : "Density, z = 0 [Msun/kpc\xC2\xB3]",
                   plot_axis(white ? "x [kpc]; white: density not above 0" : "x [kpc]", -o->reach,
                             o->reach),
                   plot_axis(up == 2 ? "z [kpc]" : "y [kpc]", -top, top));
    svg_cells(&p, CELLS, CELLS, value, &range, SVG_RISING);
    svg_colour_bar(&p, &range, SVG_RISING);
    free(x);
    free(value);
    return code;
}

static int plot_potential(plot_settings *o) {
    double *x = plot_slice(o, 2, o->height);
    double *value = (double *)cli_allocate(CELLS * CELLS, sizeof *value);
    svg_axis range;
    svg_panel p;
    int code = CLI_OK;
    if (dp_potential_evaluate(o->p, CELLS * CELLS, x, value, NULL, NULL) != AF_OK)
        code = cli_fail_library(o->c);
    range = plot_range("\xCE\xA6", value, CELLS * CELLS); /* a Phi */
    p = plot_panel(o, "Potential, y = 0 [(km/s)\xC2\xB2]",
                   plot_axis("x [kpc]", -o->reach, o->reach),
                   plot_axis("z [kpc]", -o->height, o->height));
    svg_cells(&p, CELLS, CELLS, value, &range, SVG_RISING);
    svg_colour_bar(&p, &range, SVG_RISING);
    free(x);
    free(value);
    return code;
}

/* ---- profiles ---- */

static void plot_radii(const plot_settings *o, double *radii) {
    size_t i;
    for (i = 0; i < (size_t)POINTS; i++) radii[i] = o->reach * (double)(i + 1) / POINTS;
}

/* The mean of the density over circles in the plane; 32 directions as dp_circular_velocity has. */
static int plot_ring_density(plot_settings *o, const double *radii, double *density) {
    enum { ANGLES = 32 };
    double *x = (double *)cli_allocate(4 * ANGLES * POINTS, sizeof *x);
    double *value = x + 3 * ANGLES * POINTS;
    size_t i;
    int code = CLI_OK;
    for (i = 0; i < (size_t)(ANGLES * POINTS); i++) {
        double angle = 6.283185307179586 * (double)(i % ANGLES) / ANGLES;
        x[3 * i] = radii[i / ANGLES] * cos(angle);
        x[3 * i + 1] = radii[i / ANGLES] * sin(angle);
    }
    if (dp_potential_evaluate(o->p, ANGLES * POINTS, x, NULL, NULL, value) != AF_OK)
        code = cli_fail_library(o->c);
    for (i = 0; i < (size_t)(ANGLES * POINTS); i++) density[i / ANGLES] += value[i] / ANGLES;
    free(x);
    return code;
}

static int plot_profile(plot_settings *o) {
    double radii[POINTS], density[POINTS] = {0.0}, truth[POINTS], both[2 * POINTS];
    svg_axis y;
    svg_panel p;
    size_t i;
    int code;
    plot_radii(o, radii);
    code = plot_ring_density(o, radii, density);
    for (i = 0; i < (size_t)POINTS; i++) {
        double x[3] = {0.0, 0.0, 0.0};
        x[0] = radii[i];
        truth[i] = o->check ? af_potential_density(o->parts, o->part_count, x) : NAN;
        both[i] = density[i] > 0.0 ? density[i] : NAN;
        both[POINTS + i] = truth[i];
    }
    y = plot_range("\xCF\x81 [Msun/kpc\xC2\xB3]", both, 2 * POINTS);
    y = svg_axis_of(y.label, y.low > 0.0 ? y.low : 1e-3, y.high, 1);
    p = plot_panel(o, "Density in the plane", plot_axis("R [kpc]", 0.0, o->reach), y);
    svg_line(&p, POINTS, radii, both, LEARNED);
    svg_legend(&p, "learned", LEARNED, 0);
    if (o->check) {
        svg_line(&p, POINTS, radii, truth, TRUTH);
        svg_legend(&p, "truth", TRUTH, 0);
    }
    return code;
}

static int plot_rotation(plot_settings *o) {
    double radii[POINTS], speed[POINTS], truth[POINTS], high = 0.0;
    svg_panel p;
    size_t i;
    int code = CLI_OK;
    plot_radii(o, radii);
    if (dp_circular_velocity(o->p, POINTS, radii, 0, speed) != AF_OK) code = cli_fail_library(o->c);
    for (i = 0; i < (size_t)POINTS; i++) {
        truth[i] = o->check ? af_potential_circular_speed(o->parts, o->part_count, radii[i]) : 0.0;
        high = fmax(high, fmax(speed[i], truth[i]));
    }
    p = plot_panel(o, "Circular velocity", plot_axis("R [kpc]", 0.0, o->reach),
                   svg_axis_of("v [km/s]", 0.0, high > 0.0 ? 1.2 * high : 1.0, 0));
    svg_line(&p, POINTS, radii, speed, LEARNED);
    svg_legend(&p, "learned", LEARNED, 0);
    if (o->check) {
        svg_line(&p, POINTS, radii, truth, TRUTH);
        svg_legend(&p, "truth", TRUTH, 0);
    }
    return code;
}

/* ---- how stationary f is (figure 12) ---- */

static int plot_residual(plot_settings *o, const double *residual, dp_coordinate up) {
    double mean[BINS * BINS], *room = (double *)cli_allocate(BINS * BINS, sizeof *room), most;
    double top = up == DP_COORDINATE_Z ? o->height : o->reach;
    dp_map_axis axes[2];
    svg_axis range;
    svg_panel p;
    size_t i;
    int code = CLI_OK;
    memset(axes, 0, sizeof axes);
    axes[0].bins = axes[1].bins = BINS;
    axes[1].coordinate = up;
    axes[0].low = -o->reach;
    axes[0].high = o->reach;
    axes[1].low = -top;
    axes[1].high = top;
    if (dp_map(o->c, axes, o->points.n, o->points.eta, o->points.weights, residual, NULL, mean,
               NULL) != AF_OK)
        code = cli_fail_library(o->c);
    for (i = 0; i < (size_t)(BINS * BINS); i++) room[i] = fabs(mean[i]);
    most = deep_quantile(room, BINS * BINS, 0.95);
    free(room);
    if (code != CLI_OK) return code;
    range = plot_axis("km/s/kpc", most > 0.0 ? -most : -1.0, most > 0.0 ? most : 1.0);
    p = plot_panel(o, "Mean of d ln f/dt", plot_axis("x [kpc]", -o->reach, o->reach),
                   plot_axis(up == DP_COORDINATE_Z ? "z [kpc]" : "y [kpc]", -top, top));
    svg_cells(&p, BINS, BINS, mean, &range, SVG_PASSING);
    svg_colour_bar(&p, &range, SVG_PASSING);
    return code;
}

static int plot_residuals(plot_settings *o) {
    dp_points view = deep_points_view(&o->points);
    double *residual;
    int code = CLI_OK;
    if (!o->gradients) return CLI_OK;
    residual = (double *)cli_allocate(view.n, sizeof *residual);
    if (dp_potential_residual(o->p, &view, residual) != AF_OK) code = cli_fail_library(o->c);
    if (code == CLI_OK) code = plot_residual(o, residual, DP_COORDINATE_Y);
    if (code == CLI_OK) code = plot_residual(o, residual, DP_COORDINATE_Z);
    free(residual);
    return code;
}

/* ---- accuracy of gradients ---- */

/* lg of |g - truth|/|truth| in the three components from `first` on. */
static void plot_errors(const double *g, const double *truth, size_t n, size_t first, double *out) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        double away = 0.0, length = 0.0;
        for (k = first; k < first + 3; k++) {
            double d = g[6 * i + k] - truth[6 * i + k];
            away += d * d;
            length += truth[6 * i + k] * truth[6 * i + k];
        }
        out[i] = 0.5 * log10(away / length);
    }
}

/* The histogram of n numbers between low and high, as a line of steps, its area one. */
static void plot_histogram(const svg_panel *p, double *value, size_t n, svg_style style) {
    double x[2 * BINS + 2], y[2 * BINS + 2], count[BINS] = {0.0};
    double low = p->x.low, size = (p->x.high - low) / BINS;
    size_t i;
    for (i = 0; i < n; i++) {
        double at = (value[i] - low) / size;
        if (at >= 0.0 && at < (double)BINS) count[(size_t)at] += 1.0 / ((double)n * size);
    }
    for (i = 0; i < (size_t)BINS; i++) {
        x[2 * i + 1] = low + size * (double)i;
        x[2 * i + 2] = low + size * (double)(i + 1);
        y[2 * i + 1] = y[2 * i + 2] = count[i];
    }
    x[0] = low;
    x[2 * BINS + 1] = p->x.high;
    y[0] = y[2 * BINS + 1] = 0.0;
    svg_line(p, 2 * BINS + 2, x, y, style);
}

static int plot_accuracy(plot_settings *o) {
    deep_points truth;
    double *error;
    char text[64];
    svg_panel p;
    size_t n = o->points.n, i;
    int code;
    if (!o->truth) return CLI_OK;
    if ((code = deep_points_read(o->c, o->truth, &truth)) != CLI_OK) return code;
    if (truth.n != n || memcmp(truth.eta, o->points.eta, 6 * n * sizeof *truth.eta) != 0)
        code = cli_fail("'%s' and '%s' are not at the same points", o->truth, o->gradients);
    error = (double *)cli_allocate(n, sizeof *error);
    if (code == CLI_OK)
        p = plot_panel(o, "Errors of d ln f/dx and d ln f/dv",
                       plot_axis("lg of the relative error", -3.0, 1.0),
                       plot_axis("frequency", 0.0, 2.0));
    for (i = 0; i < 2 && code == CLI_OK; i++) {
        svg_style style = i ? SECOND : LEARNED;
        plot_errors(o->points.gradient, truth.gradient, n, 3 * i, error);
        plot_histogram(&p, error, n, style);
        snprintf(text, sizeof text, "d ln f/d%c, median %.3g %%", i ? 'v' : 'x',
                 100.0 * pow(10.0, deep_quantile(error, n, 0.5)));
        svg_legend(&p, text, style, 1);
    }
    free(error);
    deep_points_free(&truth);
    return code;
}

/* ---- training ---- */

static int plot_history(plot_settings *o, const char *path, const char *title) {
    static const char *const column[3] = {"epoch", "loss", "validation"};
    af_table_desc d;
    af_table *t;
    svg_panel p;
    size_t n, i;
    double *both;
    memset(&d, 0, sizeof d);
    d.columns = column;
    d.column_count = 3;
    d.allow_missing = 1; /* without stars held out there is no validation */
    if (!path) return CLI_OK;
    if (af_table_read(o->c, path, &d, &t) != AF_OK) return cli_fail_library(o->c);
    n = af_table_rows(t);
    if (n >= 2) {
        const double *epoch = af_table_column(t, "epoch");
        svg_axis y;
        both = (double *)cli_allocate(2 * n, sizeof *both);
        for (i = 0; i < n; i++) {
            both[i] = af_table_column(t, "loss")[i];
            both[n + i] = af_table_column(t, "validation")[i];
        }
        y = plot_range("loss", both, 2 * n);
        y = svg_axis_of(y.label, y.low, y.high, 0);
        p = plot_panel(o, title, plot_axis("epoch", epoch[0], epoch[n - 1]), y);
        svg_line(&p, n, epoch, both, LEARNED);
        svg_legend(&p, "training", LEARNED, 0);
        svg_line(&p, n, epoch, both + n, SECOND);
        svg_legend(&p, "held out", SECOND, 0);
        free(both);
    }
    af_table_destroy(t);
    if (n < 2) printf("%s has fewer than two epochs: it is not drawn\n", path);
    return CLI_OK;
}

/* ---- the command ---- */

static int plot_draw(plot_settings *o) {
    size_t wanted = 5 + (o->gradients ? 2u : 0u) + (o->truth ? 1u : 0u) +
                    (o->history ? 1u : 0u) + (o->flow_history ? 1u : 0u);
    int code;
    svg_begin(&o->figure, COLUMNS * COLUMN, (int)((wanted + COLUMNS - 1) / COLUMNS) * ROW + 5);
    code = plot_density(o, 1);
    if (code == CLI_OK) code = plot_density(o, 2);
    if (code == CLI_OK) code = plot_potential(o);
    if (code == CLI_OK) code = plot_profile(o);
    if (code == CLI_OK) code = plot_rotation(o);
    if (code == CLI_OK) code = plot_residuals(o);
    if (code == CLI_OK) code = plot_accuracy(o);
    if (code == CLI_OK) code = plot_history(o, o->flow_history, "Training of f");
    if (code == CLI_OK) code = plot_history(o, o->history, "Training of the potential");
    svg_end(&o->figure);
    if (code == CLI_OK) code = cli_write_text(o->output, o->figure.text, o->figure.length);
    if (code == CLI_OK) printf("wrote %s\n", o->output);
    free(o->figure.text);
    return code;
}

/* Where nothing was said: what holds 95 % of the points. */
static void plot_reach(plot_settings *o) {
    size_t n = o->points.n, i;
    double *room = (double *)cli_allocate(3 * n, sizeof *room), high[3];
    for (i = 0; i < 3 * n; i++) room[i] = fabs(o->points.eta[6 * (i % n) + i / n]);
    for (i = 0; i < 3; i++) high[i] = deep_quantile(room + n * i, n, 0.95);
    free(room);
    if (!(o->height > 0.0)) o->height = o->reach > 0.0 ? o->reach : high[2];
    if (!(o->reach > 0.0)) o->reach = fmax(high[0], high[1]);
}

static int plot_all(plot_settings *o, const char *path) {
    int code = deep_open_potential(o->c, path, &o->p);
    if (code == CLI_OK && o->gradients) code = deep_points_read(o->c, o->gradients, &o->points);
    if (code == CLI_OK && o->gradients) plot_reach(o);
    if (!(o->height > 0.0)) o->height = o->reach;
    if (code == CLI_OK) code = plot_draw(o);
    deep_points_free(&o->points);
    dp_potential_destroy(o->p);
    return code;
}

/* Returns like cli_parse. */
static int plot_parse(const cli_command *command, int count, char **words, plot_settings *o,
                      const char **path) {
    cli_option options[DEEP_OPTIONS];
    int code;
    memset(o, 0, sizeof *o);
    code = cli_parse(command, options, plot_options(o, options), count, words, path, 1);
    if (code < 0) code = deep_parts(NAME, "check", o->check, o->parts, NULL, &o->part_count);
    if (code >= 0) return code;
    if (!o->output) return cli_usage(NAME, "-o FILE.svg is missing: where the picture goes");
    if ((code = cli_check_ending(NAME, o->output, ".svg")) >= 0) return code;
    if (!o->gradients && !(o->reach > 0.0))
        return cli_usage(NAME, "--reach KPC or --gradients GRADS is missing: how far to draw");
    if (o->truth && !o->gradients) return cli_usage(NAME, "--truth needs --gradients GRADS");
    return -1;
}

int deep_plot_check(const cli_command *command, int count, char **words) {
    plot_settings o;
    const char *path;
    return plot_parse(command, count, words, &o, &path);
}

int deep_plot(const cli_command *command, int count, char **words) {
    plot_settings o;
    const char *path[5];
    int code = plot_parse(command, count, words, &o, path);
    if (code >= 0) return code;
    path[1] = o.gradients;
    path[2] = o.truth;
    path[3] = o.history;
    path[4] = o.flow_history;
    if ((code = cli_check_output(o.output, path, 5)) != CLI_OK) return code;
    if ((code = cli_context(o.threads, &o.c)) != CLI_OK) return code;
    code = plot_all(&o, path[0]);
    af_context_destroy(o.c);
    return code;
}
