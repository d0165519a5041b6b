/* figure.h - small figures as SVG files, for the examples
 *
 *     figure f;
 *     figure_panel p;
 *     if (!figure_begin(&f, "orbit.svg", 480, 360)) return 1;
 *     p = figure_panel_begin(&f, 70.0, 40.0, 380.0, 260.0, "An orbit",
 *                            figure_axis_of("t [Gyr]", 0.0, 10.0, 0),
 *                            figure_axis_of("R [kpc]", 6.0, 10.0, 0));
 *     figure_line(&p, n, t, r, figure_pen("#1f5fa8", 1.5));
 *     if (!figure_end(&f)) return 1;
 *
 * Lengths are pixels, from the top left. Texts are SVG: &#937; is a letter, <tspan> is allowed.
 * Points that are not finite are left out, and interrupt a line; what is outside a panel is cut. */

#ifndef FIGURE_H
#define FIGURE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIGURE_PI 3.14159265358979323846
#define FIGURE_INK "#1a1a1a"

typedef struct figure {
    FILE *file;
    int panels;
} figure;

typedef enum figure_scale {
    FIGURE_LINEAR = 0,
    FIGURE_LOGARITHMIC, /* both ends positive */
    FIGURE_ANGLE        /* in radians: ticks at quarter turns */
} figure_scale;

typedef struct figure_axis {
    const char *label; /* "" for none */
    double low, high;
    int scale;         /* a figure_scale */
    int bare;          /* 1: ticks without numbers, where a panel below has them */
} figure_axis;

typedef struct figure_panel {
    figure *to;
    double left, top, width, height;
    figure_axis x, y;
    int number, entries; /* entries: lines of the legend so far */
} figure_panel;

typedef struct figure_style {
    const char *colour;
    double width, opacity;
    const char *dash; /* NULL: a full line */
} figure_style;

/* A colour map takes [0, 1] to three bytes of red, green and blue. */
typedef void (*figure_map)(double at, int rgb[3]);

/* ---- colours ---- */

/* Oklab (B. Ottosson 2020), where equal steps look equal: lightness in [0, 1], chroma, hue in
 * degrees. What a screen cannot show is clipped. */
static inline void figure_oklch(double lightness, double chroma, double hue, int rgb[3]) {
    double a = chroma * cos(hue * FIGURE_PI / 180.0), b = chroma * sin(hue * FIGURE_PI / 180.0);
    double l = pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3.0);
    double m = pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3.0);
    double s = pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3.0);
    double linear[3];
    int k;
    linear[0] = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s;
    linear[1] = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s;
    linear[2] = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s;
    for (k = 0; k < 3; k++) { /* the curve of sRGB */
        double v = fmax(0.0, fmin(1.0, linear[k]));
        v = v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1.0 / 2.4) - 0.055;
        rgb[k] = (int)(255.0 * v + 0.5);
    }
}

/* From dark violet over green to light yellow. */
static inline void figure_sequential(double at, int rgb[3]) {
    figure_oklch(0.27 + 0.64 * at, 0.115 + 0.06 * at, 305.0 - 200.0 * at, rgb);
}

/* Around the circle of hues, and darker on one side, so that it reads in grey too. */
static inline void figure_cyclic(double at, int rgb[3]) {
    figure_oklch(0.63 - 0.15 * cos(2.0 * FIGURE_PI * at), 0.125, 30.0 + 360.0 * at, rgb);
}

/* ---- figure and axes ---- */

/* 0 when the file cannot be written. */
static inline int figure_begin(figure *f, const char *path, int width, int height) {
    f->panels = 0;
    f->file = fopen(path, "w");
    if (!f->file) return 0;
    fprintf(f->file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\"\n"
            "     font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\" "
            "font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n",
            width, height, width, height, width, height);
    return 1;
}

/* 0 when anything could not be written. */
static inline int figure_end(figure *f) {
    int fine;
    fprintf(f->file, "</svg>\n");
    fine = !ferror(f->file);
    return fclose(f->file) == 0 && fine;
}

static inline void figure_text(figure *f, double x, double y, const char *anchor, int size,
                               const char *text) {
    fprintf(f->file,
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\" fill=\"%s\">"
            "%s</text>\n",
            x, y, anchor, size, FIGURE_INK, text);
}

static inline figure_axis figure_axis_of(const char *label, double low, double high, int scale) {
    figure_axis a;
    a.label = label;
    a.low = low;
    a.high = high;
    a.scale = scale;
    a.bare = 0;
    return a;
}

static inline double figure_along(const figure_axis *a, double v) {
    if (a->scale == FIGURE_LOGARITHMIC) return log(v / a->low) / log(a->high / a->low);
    return (v - a->low) / (a->high - a->low);
}

static inline double figure_x(const figure_panel *p, double v) {
    return p->left + p->width * figure_along(&p->x, v);
}

static inline double figure_y(const figure_panel *p, double v) {
    return p->top + p->height * (1.0 - figure_along(&p->y, v));
}

/* Less than two decades: the numbers between powers of ten are needed. */
static inline int figure_is_short(const figure_axis *a) { return a->high < 99.0 * a->low; }

/* The number at a tick: 1, 0.5, 10^-5 with a raised exponent, 3/2 pi. */
static inline void figure_number(const figure_axis *a, double v, double step, char text[96]) {
    static const char *const quarters[5] = {"0", "&#960;/2", "&#960;", "3&#960;/2", "2&#960;"};
    int quarter = (int)floor(v / (0.5 * FIGURE_PI) + 0.5), power;
    if (a->scale == FIGURE_LOGARITHMIC && !figure_is_short(a)) {
        power = (int)floor(log10(v) + 0.5);
        snprintf(text, 96, "10<tspan dy=\"-4.5\" font-size=\"9\">%s%d</tspan>",
                 power < 0 ? "&#8722;" : "", abs(power));
    } else if (a->scale == FIGURE_ANGLE && quarter >= 0 && quarter <= 4) {
        snprintf(text, 96, "%s", quarters[quarter]);
    } else {
        v = fabs(v) < 1e-9 * step ? 0.0 : v;
        snprintf(text, 96, "%s%.6g", v < 0.0 ? "&#8722;" : "", fabs(v));
    }
}

/* One tick on both sides of the panel, inwards; with its number where numbered is 1. */
static inline void figure_tick(const figure_panel *p, int vertical, double v, double length,
                               double step, int numbered) {
    const figure_axis *a = vertical ? &p->y : &p->x;
    double at = vertical ? figure_y(p, v) : figure_x(p, v);
    char text[96];
    fprintf(p->to->file, "<path stroke=\"%s\" stroke-width=\"0.8\" d=\"", FIGURE_INK);
    if (vertical)
        fprintf(p->to->file, "M%.1f %.1fh%.1fM%.1f %.1fh%.1f\"/>\n", p->left, at, length,
                p->left + p->width, at, -length);
    else
        fprintf(p->to->file, "M%.1f %.1fv%.1fM%.1f %.1fv%.1f\"/>\n", at, p->top, length, at,
                p->top + p->height, -length);
    if (!numbered || a->bare) return;
    figure_number(a, v, step, text);
    if (vertical) figure_text(p->to, p->left - 6.0, at + 4.2, "end", 12, text);
    else figure_text(p->to, at, p->top + p->height + 17.0, "middle", 12, text);
}

/* 1, 2 or 5 times a power of ten, so that about `wanted` steps fill the range. */
static inline double figure_step(double range, double wanted) {
    double raw = range / wanted, power = pow(10.0, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1.0 : lead < 3.5 ? 2.0 : lead < 7.5 ? 5.0 : 10.0);
}

/* Powers of ten, as many numbered as there is room for; the digits between in short ranges. */
static inline void figure_decades(const figure_panel *p, int vertical, const figure_axis *a,
                                  double room) {
    int first = (int)ceil(log10(a->low) - 1e-9), last = (int)floor(log10(a->high) + 1e-9);
    int stride = (last - first) / (int)fmax(1.0, room / 30.0) + 1, power, digit;
    for (power = first - 1; power <= last; power++) {
        double ten = pow(10.0, power);
        int whole = power % stride == 0;
        if (power >= first) figure_tick(p, vertical, ten, whole ? 6.0 : 3.0, ten, whole);
        for (digit = 2; digit < 10 && stride == 1 && last - first < 6; digit++) {
            int named = figure_is_short(a) && (digit == 2 || digit == 5);
            if (digit * ten > a->low && digit * ten < a->high)
                figure_tick(p, vertical, digit * ten, named ? 6.0 : 3.0, ten, named);
        }
    }
}

static inline void figure_ticks(const figure_panel *p, int vertical) {
    const figure_axis *a = vertical ? &p->y : &p->x;
    double room = vertical ? p->height : p->width, step, v;
    int fine = 2, i;
    if (a->scale == FIGURE_LOGARITHMIC) {
        figure_decades(p, vertical, a, room);
        return;
    }
    step = a->scale == FIGURE_ANGLE ? 0.5 * FIGURE_PI
                                    : figure_step(a->high - a->low, fmax(2.0, room / 50.0));
    i = (int)ceil(fine * a->low / step - 1e-9);
    for (v = step * i / fine; v <= a->high + 1e-9 * step; v = step * ++i / fine)
        figure_tick(p, vertical, v, i % fine == 0 ? 6.0 : 3.0, step, i % fine == 0);
}

/* A frame with axes, ready for lines and points. */
static inline figure_panel figure_panel_begin(figure *f, double left, double top, double width,
                                              double height, const char *title, figure_axis x,
                                              figure_axis y) {
    figure_panel p;
    p.to = f;
    p.left = left;
    p.top = top;
    p.width = width;
    p.height = height;
    p.x = x;
    p.y = y;
    p.number = f->panels++;
    p.entries = 0;
    fprintf(f->file,
            "<clipPath id=\"field%d\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
            "height=\"%.1f\"/></clipPath>\n<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
            "height=\"%.1f\" fill=\"none\" stroke=\"%s\"/>\n",
            p.number, left, top, width, height, left, top, width, height, FIGURE_INK);
    figure_ticks(&p, 0);
    figure_ticks(&p, 1);
    figure_text(f, left, top - 9.0, "start", 13, title);
    if (!x.bare) figure_text(f, left + 0.5 * width, top + height + 36.0, "middle", 13, x.label);
    fprintf(f->file,
            "<text transform=\"translate(%.1f %.1f) rotate(-90)\" text-anchor=\"middle\" "
            "font-size=\"13\" fill=\"%s\">%s</text>\n",
            left - 47.0, top + 0.5 * height, FIGURE_INK, y.label);
    return p;
}

/* ---- contents ---- */

static inline figure_style figure_pen(const char *colour, double width) {
    figure_style s;
    s.colour = colour;
    s.width = width;
    s.opacity = 1.0;
    s.dash = NULL;
    return s;
}

static inline figure_style figure_dashed(figure_style s, const char *dash) {
    s.dash = dash;
    return s;
}

static inline void figure_stroke(figure *f, figure_style s) {
    fprintf(f->file,
            "fill=\"none\" stroke=\"%s\" stroke-width=\"%.3g\" stroke-opacity=\"%.3g\" "
            "stroke-linejoin=\"round\"",
            s.colour, s.width, s.opacity);
    if (s.dash) fprintf(f->file, " stroke-dasharray=\"%s\"", s.dash);
    fprintf(f->file, "/>\n");
}

static inline void figure_line(const figure_panel *p, size_t n, const double *x, const double *y,
                               figure_style style) {
    size_t i;
    int pen = 0;
    fprintf(p->to->file, "<path clip-path=\"url(#field%d)\" d=\"M0 0", p->number);
    for (i = 0; i < n; i++) {
        double px = figure_x(p, x[i]), py = figure_y(p, y[i]);
        if (!isfinite(px) || !isfinite(py)) {
            pen = 0;
            continue;
        }
        py = fmax(-1e4, fmin(1e4, py)); /* far outside is outside, in short numbers */
        fprintf(p->to->file, "%c%.1f %.1f", pen ? 'L' : 'M', px, py);
        pen = 1;
    }
    fprintf(p->to->file, "\" ");
    figure_stroke(p->to, style);
}

/* Dots of the style's width as diameter. */
static inline void figure_points(const figure_panel *p, size_t n, const double *x,
                                 const double *y, figure_style style) {
    size_t i;
    fprintf(p->to->file,
            "<path clip-path=\"url(#field%d)\" stroke-linecap=\"round\" d=\"M0 0", p->number);
    for (i = 0; i < n; i++) {
        double px = figure_x(p, x[i]), py = figure_y(p, y[i]);
        if (isfinite(px) && isfinite(py) && fabs(py) < 1e4)
            fprintf(p->to->file, "M%.1f %.1fh0", px, py);
    }
    fprintf(p->to->file, "\" ");
    figure_stroke(p->to, style);
}

/* Dots coloured by value, from low to high. One path for each of 128 colours keeps files small. */
static inline void figure_scatter(const figure_panel *p, size_t n, const double *x,
                                  const double *y, const double *value, double low, double high,
                                  figure_map map, double diameter) {
    enum { COLOURS = 128 };
    size_t i;
    int c, rgb[3], some;
    for (c = 0; c < COLOURS; c++) {
        for (i = 0, some = 0; i < n; i++) {
            double at = COLOURS * (value[i] - low) / (high - low);
            if (!isfinite(at) || (int)fmax(0.0, fmin(COLOURS - 1, floor(at))) != c) continue;
            if (!some++) fprintf(p->to->file, "<path clip-path=\"url(#field%d)\" d=\"", p->number);
            fprintf(p->to->file, "M%.1f %.1fh0", figure_x(p, x[i]), figure_y(p, y[i]));
        }
        if (!some) continue;
        map((c + 0.5) / COLOURS, rgb);
        fprintf(p->to->file,
                "\" fill=\"none\" stroke=\"#%02x%02x%02x\" stroke-width=\"%.3g\" "
                "stroke-linecap=\"round\"/>\n",
                (unsigned)rgb[0], (unsigned)rgb[1], (unsigned)rgb[2], diameter);
    }
}

/* What the colours of a scatter mean: a bar at the right of the panel. */
static inline void figure_colour_bar(const figure_panel *p, figure_axis value, figure_map map) {
    enum { COLOURS = 128 };
    double left = p->left + p->width + 8.0, step, v;
    figure_panel bar = *p;
    char text[96];
    int c, rgb[3];
    fprintf(p->to->file, "<g shape-rendering=\"crispEdges\">\n"); /* no gaps between colours */
    for (c = 0; c < COLOURS; c++) {
        map((c + 0.5) / COLOURS, rgb);
        fprintf(p->to->file, "<rect x=\"%.1f\" y=\"%.2f\" width=\"11\" height=\"%.2f\" "
                "fill=\"#%02x%02x%02x\"/>\n", left,
                p->top + p->height * (1.0 - (c + 1.0) / COLOURS), p->height / COLOURS,
                (unsigned)rgb[0], (unsigned)rgb[1], (unsigned)rgb[2]);
    }
    fprintf(p->to->file, "</g>\n<rect x=\"%.1f\" y=\"%.1f\" width=\"11\" height=\"%.1f\" "
            "fill=\"none\" stroke=\"%s\" stroke-width=\"0.8\"/>\n", left, p->top, p->height,
            FIGURE_INK);
    bar.y = value;
    step = value.scale == FIGURE_ANGLE ? 0.5 * FIGURE_PI
                                       : figure_step(value.high - value.low, 5.0);
    for (v = step * ceil(value.low / step - 1e-9); v <= value.high + 1e-9 * step; v += step) {
        figure_number(&value, v, step, text);
        figure_text(p->to, left + 16.0, figure_y(&bar, v) + 4.2, "start", 12, text);
    }
    figure_text(p->to, left + 5.5, p->top - 9.0, "middle", 13, value.label);
}

/* A line of the legend, below those before it. At left or right, at the top; dot: the style's
 * width is a diameter. */
static inline void figure_legend(figure_panel *p, const char *text, figure_style style, int dot,
                                 int on_left) {
    double y = p->top + 18.0 + 16.0 * p->entries++;
    double x = on_left ? p->left + 12.0 : p->left + p->width - 12.0;
    double line = on_left ? x : x - 22.0;
    if (dot)
        fprintf(p->to->file, "<path stroke-linecap=\"round\" d=\"M%.1f %.1fh0\" ", line + 11.0,
                y - 4.0);
    else
        fprintf(p->to->file, "<path d=\"M%.1f %.1fh22\" ", line, y - 4.0);
    figure_stroke(p->to, style);
    figure_text(p->to, on_left ? x + 28.0 : x - 28.0, y, on_left ? "start" : "end", 12, text);
}

#endif
