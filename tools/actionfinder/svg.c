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
        step = svg_step(a->high - a->low, vertical ? 6.0 : 7.0);
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
            left - 52.0, top + 0.5 * height, y.label);
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

void svg_legend(svg_panel *p, const char *text, svg_style style, int on_left) {
    double y = p->top + 20.0 + 19.0 * p->entries++;
    double x = on_left ? p->left + 14.0 : p->left + p->width - 14.0;
    double line = on_left ? x : x - 30.0;
    svg_put(p->figure, "<path d=\"M%.1f %.1fh30\" ", line, y - 4.5);
    svg_stroke(p->figure, style);
    svg_put(p->figure,
            "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\" text-anchor=\"%s\" "
            "paint-order=\"stroke\" stroke=\"white\" stroke-width=\"3\">%s</text>\n",
            on_left ? x + 38.0 : x - 38.0, y, INK, on_left ? "start" : "end", text);
}
