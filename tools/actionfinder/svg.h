/* Plots as SVG: a figure is a text that grows, a panel a rectangle with two axes. */
#ifndef AF_SVG_H
#define AF_SVG_H

#include <stddef.h>

typedef struct svg_figure {
    char *text;
    size_t length, room;
    int width, height, panels;
} svg_figure;

typedef struct svg_axis {
    const char *label;
    double low, high;
    int logarithmic;
} svg_axis;

typedef struct svg_panel {
    svg_figure *figure;
    double left, top, width, height; /* of the field inside the axes */
    svg_axis x, y;
    int number, entries; /* entries of the legend so far */
} svg_panel;

typedef struct svg_style {
    const char *colour;
    double width;     /* of lines */
    double opacity;   /* 0 to 1 */
    const char *dash; /* like "5 4"; NULL: solid */
} svg_style;

void svg_begin(svg_figure *f, int width, int height);
void svg_end(svg_figure *f); /* the text is complete; free f->text */

/* Axes with ticks, labels and a title; the field takes the rectangle. */
svg_panel svg_panel_begin(svg_figure *f, double left, double top, double width, double height,
                          const char *title, svg_axis x, svg_axis y);

/* A line through the points; it breaks at numbers that are not finite. */
void svg_line(const svg_panel *p, size_t n, const double *x, const double *y, svg_style style);

/* How values become colours. */
typedef enum svg_colours {
    SVG_RISING,  /* from dark violet to light yellow */
    SVG_PASSING, /* from blue through white, which is the middle, to red */
    SVG_CYCLIC   /* hues of one lightness: low and high are the same */
} svg_colours;

/* "#rrggbb" of a fraction in [0,1]. */
void svg_colour(svg_colours colours, double fraction, char text[8]);

/* A dot for each point, coloured by value between low and high. */
void svg_points(const svg_panel *p, size_t n, const double *x, const double *y,
                const double *value, const svg_axis *range, svg_colours colours, double diameter);

/* Fills the field with columns x rows cells, value (columns,rows), by columns first, rows upwards;
 * cells whose value is not finite stay empty. */
void svg_cells(const svg_panel *p, size_t columns, size_t rows, const double *value,
               const svg_axis *range, svg_colours colours);

/* A dot of one colour for each point; the style's width is their diameter. */
void svg_dots(const svg_panel *p, size_t n, const double *x, const double *y, svg_style style);

/* The bar that tells values by colour, to the right of the field: it takes 75 beyond it. */
void svg_colour_bar(const svg_panel *p, const svg_axis *range, svg_colours colours);

/* Rings around the points. */
void svg_rings(const svg_panel *p, size_t n, const double *x, const double *y, double diameter,
               svg_style style);

/* One more line of the legend in that corner: downwards, in a lower one upwards. */
enum { SVG_UPPER_RIGHT, SVG_UPPER_LEFT, SVG_LOWER_RIGHT };
void svg_legend(svg_panel *p, const char *text, svg_style style, int corner);

/* The same with a ring instead of a line. */
void svg_legend_ring(svg_panel *p, const char *text, double diameter, svg_style style, int corner);

/* The smallest pleasant range around [low, high]. */
svg_axis svg_axis_of(const char *label, double low, double high, int logarithmic);

#endif
