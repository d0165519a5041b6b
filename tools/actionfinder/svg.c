#include "svg.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *const INK = "#222222";
static const char *const FAINT = "#e4e4e4";

static void svg_put(svg_figure *f, const char *format, ...) AF_PRINTF(2, 3);

static void svg_put(svg_figure *f, const char *format, ...) {
    enum { LONGEST = 1024 };
    va_list list;
    int n;
    if (f->room - f->length < LONGEST) {
        char *larger = (char *)cli_allocate(2 * f->room + LONGEST, 1);
        if (f->length) memcpy(larger, f->text, f->length);
        free(f->text);
        f->text = larger;
        f->room = 2 * f->room + LONGEST;
    }
    va_start(list, format);
    n = vsnprintf(f->text + f->length, LONGEST, format, list);
    va_end(list);
    if (n > 0) f->length += n < LONGEST ? (size_t)n : (size_t)LONGEST - 1;
}

void svg_begin(svg_figure *f, int width, int height) {
    memset(f, 0, sizeof *f);
    f->width = width;
    f->height = height;
    svg_put(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\"\n"
            "     font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\" "
            "font-size=\"13\">\n",
            width, height, width, height);
    svg_put(f, "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", width, height);
}

void svg_end(svg_figure *f) { svg_put(f, "</svg>\n"); }

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten, so that about `wanted` steps fill the range. */
static double svg_step(double range, double wanted) {
    double raw = range / wanted, power = pow(10.0, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1.0 : lead < 3.5 ? 2.0 : lead < 7.5 ? 5.0 : 10.0);
}

svg_axis svg_axis_of(const char *label, double low, double high, int logarithmic) {
    svg_axis a;
    a.label = label;
    a.logarithmic = logarithmic;
    if (!(high > low)) high = low + (logarithmic ? low : 1.0);
    if (!logarithmic) { /* ticks have six digits: a range that they do not tell apart is widened */
        double least = 1e-4 * fmax(fabs(low), fabs(high)), lack = fmax(0.0, least - (high - low));
        low -= 0.5 * lack;
        high += 0.5 * lack;
    }
    if (logarithmic) {
        double factor = pow(high / low, 0.06);
        a.low = low / factor;
        a.high = high * factor;
    } else {
        a.low = low == 0.0 ? 0.0 : low - 0.06 * (high - low);
        a.high = high + 0.06 * (high - low);
    }
    return a;
}

static double svg_along(const svg_axis *a, double v) {
    if (a->logarithmic) return log(v / a->low) / log(a->high / a->low);
    return (v - a->low) / (a->high - a->low);
}

static double svg_x(const svg_panel *p, double v) {
    return p->left + p->width * svg_along(&p->x, v);
}
static double svg_y(const svg_panel *p, double v) {
    return p->top + p->height * (1.0 - svg_along(&p->y, v));
}

static void svg_tick(const svg_panel *p, int vertical, double v, double step) {
    char text[32];
    double at;
    snprintf(text, sizeof text, "%.6g", fabs(v) < 1e-9 * step ? 0.0 : v);
    if (p->y.logarithmic && vertical && v < 0.9e-3) snprintf(text, sizeof text, "%.0e", v);
    if (vertical) {
        at = svg_y(p, v);
        svg_put(p->figure, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"%s\"/>", p->left, at,
                p->left + p->width, FAINT);
        svg_put(p->figure, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                p->left - 7.0, at + 4.5, text);
    } else {
        at = svg_x(p, v);
        svg_put(p->figure, "<path d=\"M%.1f %.1fV%.1f\" stroke=\"%s\"/>", at, p->top,
                p->top + p->height, FAINT);
        svg_put(p->figure, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", at,
                p->top + p->height + 18.0, text);
    }
}

static void svg_ticks(const svg_panel *p, int vertical) {
    const svg_axis *a = vertical ? &p->y : &p->x;
    double step, v, ratio;
    int lead;
    if (!a->logarithmic) {
        step = svg_step(a->high - a->low, vertical ? 6.0 : fmin(7.0, p->width / 45.0));
        for (v = step * ceil(a->low / step - 1e-9); v <= a->high + 1e-9 * step; v += step)
            svg_tick(p, vertical, v, step);
        return;
    }
    ratio = a->high / a->low;
    for (v = pow(10.0, floor(log10(a->low))); v <= a->high; v *= 10.0)
        for (lead = 1; lead < 10; lead++) {
            if (ratio > 60.0 && lead > 1) break;                               /* 1 10 100 */
            if (ratio > 12.0 && lead != 1 && lead != 2 && lead != 5) continue; /* 1 2 5 10 */
            if (lead == 7 || lead == 9) continue;
            if (v * lead >= a->low && v * lead <= a->high) svg_tick(p, vertical, v * lead, v);
        }
}

svg_panel svg_panel_begin(svg_figure *f, double left, double top, double width, double height,
                          const char *title, svg_axis x, svg_axis y) {
    svg_panel p;
    p.figure = f;
    p.left = left;
    p.top = top;
    p.width = width;
    p.height = height;
    p.x = x;
    p.y = y;
    p.number = f->panels++;
    p.entries = 0;
    svg_put(f,
            "<clipPath id=\"field%d\"><rect x=\"%.1f\" y=\"%.1f\" "
            "width=\"%.1f\" height=\"%.1f\"/></clipPath>\n",
            p.number, left, top, width, height);
    svg_put(f, "<g fill=\"%s\">\n", INK);
    svg_ticks(&p, 0);
    svg_ticks(&p, 1);
    svg_put(f,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
            "fill=\"none\" stroke=\"%s\"/>\n",
            left, top, width, height, "#888888");
    svg_put(f, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"15\" font-weight=\"bold\">%s</text>\n",
            left, top - 12.0, title);
    svg_put(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", left + 0.5 * width,
            top + height + 38.0, x.label);
    svg_put(f,
            "<text transform=\"translate(%.1f %.1f) rotate(-90)\" "
            "text-anchor=\"middle\">%s</text>\n</g>\n",
            left - 58.0, top + 0.5 * height, y.label);
    return p;
}

/* ---- contents ---- */

static void svg_stroke(svg_figure *f, svg_style s) {
    svg_put(f,
            "fill=\"none\" stroke=\"%s\" stroke-width=\"%.2g\" stroke-opacity=\"%.2g\" "
            "stroke-linejoin=\"round\"",
            s.colour, s.width, s.opacity);
    if (s.dash) svg_put(f, " stroke-dasharray=\"%s\"", s.dash);
    svg_put(f, "/>\n");
}

void svg_line(const svg_panel *p, size_t n, const double *x, const double *y, svg_style style) {
    size_t i;
    int pen = 0;
    svg_put(p->figure, "<path clip-path=\"url(#field%d)\" d=\"", p->number);
    for (i = 0; i < n; i++) {
        double px = svg_x(p, x[i]), py = svg_y(p, y[i]);
        if (!isfinite(px) || !isfinite(py)) {
            pen = 0;
            continue;
        }
        svg_put(p->figure, "%s%.1f %.1f", pen ? "L" : "M", px, fmax(-1e4, fmin(1e4, py)));
        pen = 1;
    }
    svg_put(p->figure, "\" ");
    svg_stroke(p->figure, style);
}

/* ---- colours ---- */

enum { SVG_LEVELS = 64 };

static unsigned svg_byte(double linear) { /* sRGB */
    double v = fmax(0.0, fmin(1.0, linear));
    v = v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1.0 / 2.4) - 0.055;
    return (unsigned)(255.0 * v + 0.5);
}

/* A hue [rad] of the Oklab space (Ottosson 2020), at lightness 0.68 and chroma 0.12. */
static void svg_hue(double hue, char text[8]) {
    double a = 0.12 * cos(hue), b = 0.12 * sin(hue);
    double l = 0.68 + 0.3963377774 * a + 0.2158037573 * b;
    double m = 0.68 - 0.1055613458 * a - 0.0638541728 * b;
    double s = 0.68 - 0.0894841775 * a - 1.2914855480 * b;
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    snprintf(text, 8, "#%02x%02x%02x",
             svg_byte(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
             svg_byte(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
             svg_byte(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s));
}

void svg_colour(svg_colours colours, double fraction, char text[8]) {
    static const double knot[6][3] = {{68, 1, 84},    {65, 68, 135},  {42, 120, 142},
                                      {34, 168, 132}, {122, 209, 81}, {253, 231, 37}};
    static const double passing[6][3] = {{33, 60, 120},   {95, 145, 195},  {225, 235, 242},
                                         {247, 228, 218}, {214, 110, 90}, {125, 20, 40}};
    const double(*list)[3] = colours == SVG_PASSING ? passing : knot;
    double at = 5.0 * fmax(0.0, fmin(1.0, fraction)), part, rgb[3];
    int k = at < 4.0 ? (int)at : 4, i;
    if (colours == SVG_CYCLIC) {
        svg_hue(6.283185307179586 * fraction, text);
        return;
    }
    part = at - k;
    for (i = 0; i < 3; i++) rgb[i] = list[k][i] + part * (list[k + 1][i] - list[k][i]) + 0.5;
    snprintf(text, 8, "#%02x%02x%02x", (unsigned)rgb[0] & 255u, (unsigned)rgb[1] & 255u,
             (unsigned)rgb[2] & 255u);
}

static int svg_level(const svg_axis *range, double value) {
    double at = SVG_LEVELS * svg_along(range, value);
    return at < 1.0 ? 0 : at < SVG_LEVELS - 1 ? (int)at : SVG_LEVELS - 1;
}

void svg_points(const svg_panel *p, size_t n, const double *x, const double *y,
                const double *value, const svg_axis *range, svg_colours colours, double diameter) {
    int level;
    size_t i;
    char colour[8];
    for (level = 0; level < SVG_LEVELS; level++) { /* a path for each colour: a small file */
        int open = 0;
        for (i = 0; i < n; i++) {
            double px = svg_x(p, x[i]), py = svg_y(p, y[i]);
            if (!isfinite(px) || !isfinite(py) || !isfinite(value[i])) continue;
            if (svg_level(range, value[i]) != level) continue;
            if (!open++)
                svg_put(p->figure, "<path clip-path=\"url(#field%d)\" d=\"", p->number);
            svg_put(p->figure, "M%.1f %.1fh0", px, py);
        }
        svg_colour(colours, (level + 0.5) / SVG_LEVELS, colour);
        if (open)
            svg_put(p->figure,
                    "\" stroke=\"%s\" stroke-width=\"%.2g\" stroke-linecap=\"round\"/>\n", colour,
                    diameter);
    }
}

void svg_cells(const svg_panel *p, size_t columns, size_t rows, const double *value,
               const svg_axis *range, svg_colours colours) {
    const double overlap = 0.3; /* so that no seams show */
    double w = p->width / (double)columns, h = p->height / (double)rows;
    char colour[8];
    size_t i, k;
    int level;
    for (level = 0; level < SVG_LEVELS; level++) { /* a path for each colour: a small file */
        int open = 0;
        for (i = 0; i < columns * rows; i++) {
            if (!isfinite(value[i]) || svg_level(range, value[i]) != level) continue;
            if (!open++)
                svg_put(p->figure, "<path clip-path=\"url(#field%d)\" d=\"", p->number);
            k = i % rows + 1;
            svg_put(p->figure, "M%.2f %.2fh%.2fv%.2fh-%.2fz", p->left + w * (double)(i / rows),
                    p->top + p->height - h * (double)k, w + overlap, h + overlap, w + overlap);
        }
        svg_colour(colours, (level + 0.5) / SVG_LEVELS, colour);
        if (open) svg_put(p->figure, "\" fill=\"%s\"/>\n", colour);
    }
}

void svg_dots(const svg_panel *p, size_t n, const double *x, const double *y, svg_style style) {
    size_t i;
    svg_put(p->figure, "<path clip-path=\"url(#field%d)\" stroke-linecap=\"round\" d=\"",
            p->number);
    for (i = 0; i < n; i++) {
        double px = svg_x(p, x[i]), py = svg_y(p, y[i]);
        if (isfinite(px) && isfinite(py) && fabs(py) < 1e4)
            svg_put(p->figure, "M%.1f %.1fh0", px, py);
    }
    svg_put(p->figure, "\" ");
    svg_stroke(p->figure, style);
}

void svg_colour_bar(const svg_panel *p, const svg_axis *range, svg_colours colours) {
    const double left = p->left + p->width + 14.0, width = 12.0, step = p->height / SVG_LEVELS;
    double v, tick = svg_step(range->high - range->low, 5.0);
    int level;
    char colour[8];
    for (level = 0; level < SVG_LEVELS; level++) {
        svg_colour(colours, (level + 0.5) / SVG_LEVELS, colour);
        svg_put(p->figure, /* a little too high each, so that no seams show */
                "<rect x=\"%.1f\" y=\"%.2f\" width=\"%.1f\" height=\"%.2f\" fill=\"%s\"/>", left,
                p->top + p->height - step * (level + 1), width, step + (level ? 1.0 : 0.0), colour);
    }
    svg_put(p->figure,
            "\n<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" "
            "stroke=\"#888888\"/>\n<g fill=\"%s\">",
            left, p->top, width, p->height, INK);
    for (v = tick * ceil(range->low / tick - 1e-9); v <= range->high + 1e-9 * tick; v += tick)
        svg_put(p->figure, "<text x=\"%.1f\" y=\"%.1f\">%.6g</text>\n", left + width + 5.0,
                p->top + p->height * (1.0 - svg_along(range, v)) + 4.5,
                fabs(v) < 1e-9 * tick ? 0.0 : v);
    svg_put(p->figure, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text></g>\n",
            left + 0.5 * width, p->top - 12.0, range->label);
}

static void svg_ring(const svg_panel *p, double x, double y, double diameter, svg_style style) {
    if (!isfinite(x) || !isfinite(y)) return;
    svg_put(p->figure,
            "<circle clip-path=\"url(#field%d)\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.2g\" ", p->number,
            x, y, 0.5 * diameter);
    svg_stroke(p->figure, style);
}

void svg_rings(const svg_panel *p, size_t n, const double *x, const double *y, double diameter,
               svg_style style) {
    size_t i;
    for (i = 0; i < n; i++) svg_ring(p, svg_x(p, x[i]), svg_y(p, y[i]), diameter, style);
}

/* Writes the text; the middle of the sample beside it goes to (x,y). */
static void svg_legend_text(svg_panel *p, const char *text, int corner, double *x, double *y) {
    int on_left = corner == SVG_UPPER_LEFT, entry = p->entries++;
    *x = on_left ? p->left + 29.0 : p->left + p->width - 29.0;
    *y = corner == SVG_LOWER_RIGHT ? p->top + p->height - 15.5 - 19.0 * entry
                                   : p->top + 15.5 + 19.0 * entry;
    svg_put(p->figure,
            "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\" text-anchor=\"%s\" "
            "paint-order=\"stroke\" stroke=\"white\" stroke-width=\"3\">%s</text>\n",
            on_left ? *x + 23.0 : *x - 23.0, *y + 4.5, INK, on_left ? "start" : "end", text);
}

void svg_legend(svg_panel *p, const char *text, svg_style style, int corner) {
    double x, y;
    svg_legend_text(p, text, corner, &x, &y);
    svg_put(p->figure, "<path d=\"M%.1f %.1fh30\" ", x - 15.0, y);
    svg_stroke(p->figure, style);
}

void svg_legend_ring(svg_panel *p, const char *text, double diameter, svg_style style,
                     int corner) {
    double x, y;
    svg_legend_text(p, text, corner, &x, &y);
    svg_ring(p, x, y, diameter, style);
}
