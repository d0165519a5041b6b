/* Panels, maps, histograms. */
#include "pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

picture picture_begin(int columns, int rows, double width, double height) {
    picture p;
    memset(&p, 0, sizeof p);
    p.width = width;
    p.height = height;
    p.pitch = width + 175.0; /* room for numbers, label and colour bar */
    p.line = height + 95.0;
    svg_begin(&p.f, (int)(p.pitch * columns) + 10, (int)(p.line * rows) + 5);
    return p;
}

int picture_end(const dpr *r, picture *p, int number) {
    char path[DPR_PATH];
    int code;
    svg_end(&p->f);
    snprintf(path, sizeof path, "%s/figure%d.svg", r->output, number);
    code = cli_write_text(path, p->f.text, p->f.length);
    if (code == CLI_OK) printf("wrote %s\n", path);
    free(p->f.text);
    return code;
}

svg_panel picture_panel(picture *p, int column, int row, const char *title, svg_axis x,
                        svg_axis y) {
    return svg_panel_begin(&p->f, 85.0 + p->pitch * column, 38.0 + p->line * row, p->width,
                           p->height, title, x, y);
}

svg_axis picture_axis(const char *label, double low, double high) {
    svg_axis a;
    a.label = label;
    a.low = low;
    a.high = high > low ? high : low + 1.0;
    a.logarithmic = 0;
    return a;
}

svg_axis picture_range(const char *label, const double *value, size_t n, double left_out,
                       int symmetric) {
    double *room = (double *)cli_allocate(n, sizeof *room), low, high;
    memcpy(room, value, n * sizeof *room);
    low = deep_quantile(room, n, left_out);
    high = deep_quantile(room, n, 1.0 - left_out);
    free(room);
    if (!isfinite(low)) low = high = 0.0;
    if (symmetric) {
        high = fmax(fabs(low), fabs(high));
        low = -high;
    }
    return picture_axis(label, low, high);
}

void picture_map(picture *p, int column, int row, const char *title, svg_axis x, svg_axis y,
                 const char *label, const double *value, const svg_axis *range,
                 svg_colours colours) {
    svg_panel panel = picture_panel(p, column, row, title, x, y);
    svg_axis own = range ? *range
                         : picture_range(label, value, (size_t)(PICTURE_CELLS * PICTURE_CELLS),
                                         0.02, colours == SVG_PASSING);
    own.label = label;
    svg_cells(&panel, PICTURE_CELLS, PICTURE_CELLS, value, &own, colours);
    svg_colour_bar(&panel, &own, colours);
}

/* ---- residuals ---- */

enum { COLUMNS = 40, ROWS = 40 };

static void residuals_count(size_t n, const double *x, const double *y, const svg_axis *across,
                            const svg_axis *up, double *count) {
    size_t i, k, column, row;
    for (i = 0; i < n; i++) {
        double a = (x[i] - across->low) / (across->high - across->low) * COLUMNS;
        double b = (y[i] - up->low) / (up->high - up->low) * ROWS;
        if (!(a >= 0.0 && a < COLUMNS && b >= 0.0 && b < ROWS)) continue;
        column = (size_t)a;
        row = (size_t)b;
        count[column * ROWS + row] += 1.0;
    }
    for (i = 0; i < (size_t)COLUMNS; i++) {
        double most = 0.0;
        for (k = 0; k < (size_t)ROWS; k++) most = fmax(most, count[i * ROWS + k]);
        for (k = 0; k < (size_t)ROWS; k++)
            count[i * ROWS + k] = count[i * ROWS + k] > 0.0 ? count[i * ROWS + k] / most : NAN;
    }
}

/* The q-quantile of y in each column; NaN where there are fewer than 20. */
static void residuals_quantile(size_t n, const double *x, const double *y, const svg_axis *across,
                               double q, double centre[COLUMNS], double out[COLUMNS]) {
    double *room = (double *)cli_allocate(n, sizeof *room);
    size_t i, k;
    for (k = 0; k < (size_t)COLUMNS; k++) {
        double width = (across->high - across->low) / COLUMNS;
        double low = across->low + width * (double)k;
        size_t found = 0;
        for (i = 0; i < n; i++)
            if (x[i] >= low && x[i] < low + width) room[found++] = y[i];
        centre[k] = low + 0.5 * width;
        out[k] = found >= 20 ? deep_quantile(room, found, q) : NAN;
    }
    free(room);
}

void picture_residuals(picture *p, int column, int row, const char *title, const char *across,
                       const char *up, size_t n, const double *x, const double *y) {
    static const svg_style quartile = {"#d55e00", 1.2, 1.0, NULL};
    static const svg_style median = {"#d55e00", 2.2, 1.0, NULL};
    static const svg_style zero = {"#111111", 1.0, 1.0, "6 4"};
    svg_axis ax = picture_range(across, x, n, 0.005, 0), ay = picture_range(up, y, n, 0.02, 1);
    svg_axis shade = picture_axis("share", 0.0, 1.0);
    double count[COLUMNS * ROWS] = {0.0}, centre[COLUMNS], line[COLUMNS], ends[2], none[2] = {0, 0};
    svg_panel panel = picture_panel(p, column, row, title, ax, ay);
    int k;
    residuals_count(n, x, y, &ax, &ay, count);
    svg_cells(&panel, COLUMNS, ROWS, count, &shade, SVG_RISING);
    ends[0] = ax.low;
    ends[1] = ax.high;
    svg_line(&panel, 2, ends, none, zero);
    for (k = 1; k <= 3; k++) {
        residuals_quantile(n, x, y, &ax, 0.25 * k, centre, line);
        svg_line(&panel, COLUMNS, centre, line, k == 2 ? median : quartile);
    }
}
