/* What the pictures share: panels in rows and columns, maps, histograms of residuals. */
#ifndef DP_PICTURES_H
#define DP_PICTURES_H

#include "reproduce_dp.h"
#include "svg.h"

enum { PICTURE_CELLS = 60 }; /* of maps along both axes */

typedef struct picture {
    svg_figure f;
    double width, height, pitch, line; /* of a panel's field; from one panel to the next */
} picture;

/* Room for columns x rows panels, with colour bars. */
picture picture_begin(int columns, int rows, double width, double height);
/* Writes figureN.svg. */
int picture_end(const dpr *r, picture *p, int number);
svg_panel picture_panel(picture *p, int column, int row, const char *title, svg_axis x, svg_axis y);

/* From low to high, without margins. */
svg_axis picture_axis(const char *label, double low, double high);
/* The range of the finite values but the outermost `left_out` on either side; symmetric: about
 * zero. */
svg_axis picture_range(const char *label, const double *value, size_t n, double left_out,
                       int symmetric);

/* The map value (PICTURE_CELLS^2), by columns first, with its colour bar; range NULL: its own,
 * about zero where the colours pass through it. */
void picture_map(picture *p, int column, int row, const char *title, svg_axis x, svg_axis y,
                 const char *label, const double *value, const svg_axis *range,
                 svg_colours colours);

/* How often y is what, at each x: columns of a histogram scaled to their largest, and their
 * quartiles. lines: at zero. */
void picture_residuals(picture *p, int column, int row, const char *title, const char *across,
                       const char *up, size_t n, const double *x, const double *y);

#endif
