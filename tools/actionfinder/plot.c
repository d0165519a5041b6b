/* actionfinder plot: a picture of a model. */
#include "cli.h"
#include "svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct plot_options {
    const char *output, *truth, *history, *test, *test_truth;
    double span;
    size_t streams, threads;
    cli_sky sky;
    af_observed_desc observed;
} plot_options;

static const svg_style TOY = {"#8a8a8a", 1.2, 1.0, NULL};
static const svg_style TRUTH = {"#111111", 1.4, 1.0, "6 4"};
static const char *const COLOUR[] = {"#0072b2", "#d55e00", "#009e73",
                                     "#aa4499", "#b58900", "#56b4e9"};
enum { COLOURS = 6 };
enum { PLOT_STREAMS = 8 }; /* more hide each other */

/* Where the panels go: two columns. */
enum { PANEL_WIDTH = 400, PANEL_HEIGHT = 260, PLOT_WIDTH = 1000, ROW_HEIGHT = 350 };

typedef struct plot_run {
    plot_options o;
    af_context *c;
    af_finder *f;
    svg_figure figure;
    int panels;
} plot_run;

static svg_panel plot_panel(plot_run *r, const char *title, svg_axis x, svg_axis y) {
    int at = r->panels++;
    return svg_panel_begin(&r->figure, 75.0 + (at % 2) * 500.0, 42.0 + (at / 2) * ROW_HEIGHT,
                           PANEL_WIDTH, PANEL_HEIGHT, title, x, y);
}

static svg_style plot_style(size_t stream, double width, double opacity) {
    svg_style s;
    s.colour = COLOUR[stream % COLOURS];
    s.width = width;
    s.opacity = opacity;
    s.dash = NULL;
    return s;
}

/* ---- actions along orbits ---- */

/* One component of the action of each star of a stream: out (N). */
static void plot_component(const cli_map *m, size_t s, size_t k, double *out) {
    size_t i;
    for (i = 0; i < m->stars; i++) out[i] = m->j[3 * (s * m->stars + i) + k];
}

static svg_axis plot_range(const cli_map *m, size_t streams, size_t k, const char *label) {
    double low = HUGE_VAL, high = -HUGE_VAL;
    size_t i;
    for (i = 0; i < streams * m->stars; i++)
        if (isfinite(m->j[3 * i + k])) {
            low = fmin(low, m->j[3 * i + k]);
            high = fmax(high, m->j[3 * i + k]);
        }
    return svg_axis_of(label, low, high + 0.3 * (high - low), 0); /* room for the legend */
}

static void plot_along(plot_run *r, size_t k, const cli_map *toy, const cli_map *found,
                       const af_array *truth) {
    static const char *const title[3] = {"J_phi along orbits", "Vertical action along orbits",
                                         "Radial action along orbits"};
    static const char *const label[3] = {"J_phi [km/s kpc]", "J_z [km/s kpc]", "J_r [km/s kpc]"};
    size_t n = found->stars, s, i;
    double *x = (double *)cli_allocate(n, sizeof *x), *y = (double *)cli_allocate(n, sizeof *y);
    double end = r->o.span > 0.0 ? r->o.span : (double)(n - 1);
    svg_axis across = svg_axis_of(r->o.span > 0.0 ? "time [Gyr]" : "star", 0.0, end, 0);
    svg_panel p;
    across.high = end;
    p = plot_panel(r, title[k], across, plot_range(toy, r->o.streams, k, label[k]));
    for (i = 0; i < n; i++) x[i] = end * (double)i / (double)(n > 1 ? n - 1 : 1);
    for (s = 0; s < r->o.streams; s++) {
        plot_component(toy, s, k, y);
        svg_line(&p, n, x, y, plot_style(s, 1.2, 0.4));
    }
    for (s = 0; s < r->o.streams; s++) {
        plot_component(found, s, k, y);
        svg_line(&p, n, x, y, plot_style(s, 2.6, 1.0));
        for (i = 0; i < n && truth; i++) y[i] = truth->data[3 * s + k];
        if (truth) svg_line(&p, n, x, y, TRUTH);
    }
    svg_legend(&p, "toy isochrone", plot_style(0, 1.2, 0.5), 0);
    svg_legend(&p, "ActionFinder", plot_style(0, 2.6, 1.0), 0);
    if (truth) svg_legend(&p, "truth", TRUTH, 0);
    free(x);
    free(y);
}

static int plot_orbits(plot_run *r, const af_orbits *o) {
    cli_map toy, found;
    af_array *truth = NULL;
    int code = CLI_OK, threads = (int)r->o.threads;
    memset(&toy, 0, sizeof toy);
    memset(&found, 0, sizeof found);
    if (r->o.streams == 0) r->o.streams = PLOT_STREAMS;
    if (r->o.streams > af_orbits_streams(o)) r->o.streams = af_orbits_streams(o);
    if (r->o.truth) code = cli_read_truth(r->c, r->o.truth, o, 0, &truth);
    if (code == CLI_OK) code = cli_map_make(r->c, r->f, o, CLI_TOY, threads, &toy);
    if (code == CLI_OK) code = cli_map_make(r->c, r->f, o, CLI_ALONE, threads, &found);
    if (code == CLI_OK) {
        plot_along(r, 2, &toy, &found, truth);
        plot_along(r, 1, &toy, &found, truth);
    }
    cli_map_free(&toy);
    cli_map_free(&found);
    af_array_destroy(truth);
    return code;
}

/* ---- loss ---- */

static void plot_loss(plot_run *r, const af_table *t) {
    size_t n = af_table_rows(t), i, kept = 0;
    const double *seconds = af_table_column(t, "seconds"), *loss = af_table_column(t, "loss");
    const double *validation = af_table_column(t, "validation");
    double *x = (double *)cli_allocate(n, sizeof *x), *y = (double *)cli_allocate(n, sizeof *y);
    double low = HUGE_VAL, high = -HUGE_VAL;
    svg_axis across;
    svg_panel p;
    svg_style trained = plot_style(5, 1.2, 0.9), held = plot_style(1, 2.2, 1.0);
    for (i = 0; i < n; i++) {
        low = fmin(low, fmin(loss[i], validation[i]));
        high = fmax(high, fmax(loss[i], validation[i]));
        if (!isfinite(validation[i])) continue; /* not every epoch is validated */
        x[kept] = seconds[i];
        y[kept++] = validation[i];
    }
    across = svg_axis_of("time [s]", 0.0, seconds[n - 1], 0);
    across.high = seconds[n - 1];
    p = plot_panel(r, "Spread of actions within streams", across,
                   svg_axis_of("loss", low, high, low > 0.0)); /* no logarithm of 0 */
    svg_line(&p, n, seconds, loss, trained);
    svg_line(&p, kept, x, y, held);
    svg_legend(&p, "training streams", trained, 0);
    svg_legend(&p, "streams not trained on", held, 0);
    free(x);
    free(y);
}

static int plot_history(plot_run *r) {
    static const char *const column[3] = {"seconds", "loss", "validation"};
    af_table_desc d;
    af_table *t;
    int code = CLI_OK;
    memset(&d, 0, sizeof d);
    d.columns = column;
    d.column_count = 3;
    d.allow_missing = 1;
    if (af_table_read(r->c, r->o.history, &d, &t) != AF_OK) return cli_fail_library(r->c);
    if (af_table_rows(t) < 2)
        code = cli_fail("'%s' has fewer than two epochs to draw", r->o.history);
    else
        plot_loss(r, t);
    af_table_destroy(t);
    return code;
}

/* ---- distribution of errors ---- */

/* Sorted errors of J, mean of the three components, median of the stars of a stream; returns how
 * many. */
static size_t plot_errors(const cli_map *m, const af_array *truth, double *out) {
    size_t s, k, n = 0;
    double *scratch = (double *)cli_allocate(m->stars, sizeof *scratch);
    for (s = 0; s < m->streams; s++) {
        double sum = 0.0;
        for (k = 0; k < 3; k++) {
            plot_component(m, s, k, scratch);
            sum += fabs(cli_summarise(scratch, m->stars).median - truth->data[3 * s + k]) / 3.0;
        }
        if (isfinite(sum)) out[n++] = sum;
    }
    cli_summarise(out, n);
    free(scratch);
    return n;
}

static void plot_distribution(plot_run *r, const cli_map *toy, const cli_map *found,
                              const af_array *truth) {
    size_t n = toy->streams, i;
    double *a = (double *)cli_allocate(n, sizeof *a), *b = (double *)cli_allocate(n, sizeof *b);
    double *share = (double *)cli_allocate(n, sizeof *share);
    svg_panel p;
    svg_style model = plot_style(0, 2.6, 1.0);
    n = plot_errors(toy, truth, a);
    n = plot_errors(found, truth, b) < n ? n : n;
    for (i = 0; i < n; i++) share[i] = (double)(i + 1) / (double)n;
    if (n > 1) {
        /* a steep curve on the left goes through the upper corner there */
        int corner = b[4 * n / 5] * b[4 * n / 5] < fmax(b[n / 50], 1e-3) * a[n - 1]
                         ? SVG_LOWER_RIGHT
                         : SVG_UPPER_LEFT;
        p = plot_panel(r, "Error of the actions of a stream",
                       svg_axis_of("|J - truth|, mean of three [km/s kpc]", fmax(b[n / 50], 1e-3),
                                   a[n - 1], 1),
                       svg_axis_of("fraction of streams below", 0.0, 1.0, 0));
        svg_line(&p, n, a, share, TOY);
        svg_line(&p, n, b, share, model);
        svg_legend(&p, "toy isochrone", TOY, corner);
        svg_legend(&p, "ActionFinder", model, corner);
    }
    free(a);
    free(b);
    free(share);
}

static int plot_test(plot_run *r) {
    cli_map toy, found;
    af_orbits *o = NULL;
    af_array *truth = NULL;
    int code = CLI_OK, threads = (int)r->o.threads;
    memset(&toy, 0, sizeof toy);
    memset(&found, 0, sizeof found);
    code = cli_read_orbits(r->c, r->o.test, &r->o.observed, 0, &o);
    if (code != CLI_OK) return code;
    code = cli_read_truth(r->c, r->o.test_truth, o, 0, &truth);
    if (code == CLI_OK) code = cli_map_make(r->c, r->f, o, CLI_TOY, threads, &toy);
    if (code == CLI_OK) code = cli_map_make(r->c, r->f, o, CLI_ALONE, threads, &found);
    if (code == CLI_OK) plot_distribution(r, &toy, &found, truth);
    cli_map_free(&toy);
    cli_map_free(&found);
    af_array_destroy(truth);
    af_orbits_destroy(o);
    return code;
}

/* ---- the command ---- */

static int plot_run_all(plot_run *r, const char *const path[2]) {
    af_orbits *o = NULL;
    int code = CLI_OK, rows = r->o.history || r->o.test ? 2 : 1;
    if (af_finder_load(r->c, path[0], &r->f) != AF_OK)
        code = cli_fail_model(r->c, path[0]);
    else
        code = cli_read_orbits(r->c, path[1], &r->o.observed, 0, &o);
    svg_begin(&r->figure, PLOT_WIDTH, rows * ROW_HEIGHT + 5);
    if (code == CLI_OK) code = plot_orbits(r, o);
    if (code == CLI_OK && r->o.history) code = plot_history(r);
    if (code == CLI_OK && r->o.test) code = plot_test(r);
    svg_end(&r->figure);
    if (code == CLI_OK) code = cli_write_text(r->o.output, r->figure.text, r->figure.length);
    if (code == CLI_OK) printf("wrote %s\n", r->o.output);
    free(r->figure.text);
    af_orbits_destroy(o);
    af_finder_destroy(r->f);
    return code;
}

int cli_plot(const cli_command *command, int count, char **words) {
    plot_run r;
    const char *path[2];
    int code;
    memset(&r, 0, sizeof r);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &r.o.output, "FILE.svg", "the picture"},
            {"truth", CLI_TEXT, &r.o.truth, "J.npy", "true actions of these orbits (S,3)"},
            {"streams", CLI_COUNT, &r.o.streams, "N", "draws the first N; default 8"},
            {"span", CLI_NUMBER, &r.o.span, "GYR",
             "the stars of a stream are evenly spread over this time"},
            {"history", CLI_TEXT, &r.o.history, "FILE.csv", "of fit --history: adds the loss"},
            {"test", CLI_TEXT, &r.o.test, "ORBITS",
             "other orbits, with --test-truth: adds their errors"},
            {"test-truth", CLI_TEXT, &r.o.test_truth, "J.npy", "and their true actions"},
            CLI_SKY_OPTIONS(r.o.sky),
            {"threads", CLI_COUNT, &r.o.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code < 0) code = cli_sky_desc("plot", &r.o.sky, &r.o.observed);
    if (code >= 0) return code;
    if (!r.o.output) return cli_usage("plot", "-o FILE.svg is missing: where the picture goes");
    if ((code = cli_check_ending("plot", r.o.output, ".svg")) >= 0) return code;
    if (!r.o.test != !r.o.test_truth)
        return cli_usage("plot", "--test and --test-truth come together");
    if ((code = cli_check_output(r.o.output, path, 2)) != CLI_OK) return code;
    if ((code = cli_context(r.o.threads, &r.c)) != CLI_OK) return code;
    code = plot_run_all(&r, path);
    af_context_destroy(r.c);
    return code;
}
