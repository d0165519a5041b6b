/* Models from files; gradients of f; errors beside a known potential. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files ---- */

#define MODELS_SPHERE "deeppotential recovery"
#define MODELS_DISC "deeppotential axisymmetric recovery"

/* After a failure to read `path` as a `wanted`: what the file is instead, where it is another
 * thing. */
static int models_fail(af_context *c, const char *path, const char *wanted) {
    static const struct {
        const char *begin, *kind;
    } known[5] = {
        {"deeppotential distribution function",
         "a distribution function (`deeppotential fit-flow`)"},
        {"deeppotential potential", "a potential (`deeppotential fit-potential`)"},
        {MODELS_SPHERE, "a model of `deeppotential recover`, for `deeppotential distill`"},
        {MODELS_DISC, "a model of `deeppotential recover`, for `deeppotential distill`"},
        {"actionfinder", "a model of actionfinder"}};
    char sentence[1024];
    const char *format = NULL;
    af_tensors *set = NULL;
    int i, found = -1;
    snprintf(sentence, sizeof sentence, "%s", af_error(c));
    af_error_clear(c);
    if (af_tensors_read(c, path, &set) == AF_OK) format = af_tensors_text(set, "format");
    af_error_clear(c);
    for (i = 0; i < 5 && format; i++)
        if (strncmp(format, known[i].begin, strlen(known[i].begin)) == 0) found = i;
    af_tensors_destroy(set);
    if (found >= 0 && strncmp(known[found].kind, wanted, strlen(wanted)) != 0)
        return cli_fail("'%s' is %s; this takes %s", path, known[found].kind, wanted);
    if (strstr(sentence, path)) return cli_fail("%s", sentence);
    return cli_fail("'%s': %s", path, sentence);
}

int deep_open_df(af_context *c, const char *path, dp_df **out) {
    if (dp_df_load(c, path, out) == AF_OK) return CLI_OK;
    return models_fail(c, path, "a distribution function");
}

int deep_open_potential(af_context *c, const char *path, dp_potential **out) {
    if (dp_potential_load(c, path, out) == AF_OK) return CLI_OK;
    return models_fail(c, path, "a potential");
}

/* Whether the file says that it is of a format that begins like this. */
static int models_are(af_context *c, const char *path, const char *begin) {
    af_tensors *set = NULL;
    const char *format = NULL;
    int same;
    if (af_tensors_read(c, path, &set) == AF_OK) format = af_tensors_text(set, "format");
    same = format && strncmp(format, begin, strlen(begin)) == 0;
    af_tensors_destroy(set);
    af_error_clear(c);
    return same;
}

int deep_open_field(af_context *c, const char *path, deep_field *out) {
    int code = CLI_OK;
    memset(out, 0, sizeof *out);
    if (models_are(c, path, MODELS_SPHERE)) {
        if (dp_recovered_load(c, path, &out->sphere) != AF_OK) code = deep_fail(c, path);
        else out->field = dp_recovered_field(out->sphere);
    } else if (models_are(c, path, MODELS_DISC)) {
        if (dp_axisymmetric_load(c, path, &out->disc) != AF_OK) code = deep_fail(c, path);
        else out->field = dp_axisymmetric_field(out->disc);
    } else {
        code = deep_open_potential(c, path, &out->potential);
        if (code == CLI_OK) out->field = dp_potential_field(out->potential);
    }
    return code;
}

void deep_field_free(deep_field *f) {
    dp_potential_destroy(f->potential);
    dp_recovered_destroy(f->sphere);
    dp_axisymmetric_destroy(f->disc);
}

/* ---- gradients ---- */

enum { MODELS_BLOCK = 16384 }; /* points between looks at the clock and at Ctrl-C */

/* The first `wanted` rows of a permutation of n. */
static void models_choose(size_t n, size_t wanted, size_t seed, uint32_t *order) {
    uint32_t *all = (uint32_t *)cli_allocate(n, sizeof *all);
    af_random_permutation(seed, 0, n, all);
    memcpy(order, all, wanted * sizeof *order);
    free(all);
}

/* Stars, or some of them in a random order. */
static int points_at_stars(af_context *c, const char *command, const char *path,
                           const deep_where *w, int quiet, deep_points *p) {
    dp_sample *s;
    uint32_t *order = NULL;
    size_t n, wanted, i;
    int code = deep_read_stars(c, command, path, &w->source, quiet, &s);
    if (code != CLI_OK) return code;
    n = dp_sample_count(s);
    wanted = w->n && w->n < n ? w->n : n;
    if (w->n > n && !quiet)
        printf("%s: all of its %lu stars, fewer than -n %lu\n", path, (unsigned long)n,
               (unsigned long)w->n);
    if (wanted < n) {
        order = (uint32_t *)cli_allocate(wanted, sizeof *order);
        models_choose(n, wanted, w->seed, order);
    }
    deep_points_make(p, wanted, dp_sample_weights(s) != NULL);
    for (i = 0; i < wanted; i++) {
        size_t from = order ? order[i] : i;
        memcpy(p->eta + 6 * i, dp_sample_eta(s) + 6 * from, 6 * sizeof *p->eta);
        if (p->weights) p->weights[i] = dp_sample_weights(s)[from];
    }
    free(order);
    dp_sample_destroy(s);
    return CLI_OK;
}

static int points_drawn(af_context *c, const deep_where *w, deep_points *p) {
    const size_t usual = 131072; /* 2^17, as many stars as the paper has */
    dp_df *flow;
    int code = deep_open_df(c, w->draw, &flow);
    if (code != CLI_OK) return code;
    deep_points_make(p, w->n ? w->n : usual, 0);
    if (dp_df_draw(flow, p->n, w->seed, p->eta) != AF_OK) code = cli_fail_library(c);
    dp_df_destroy(flow);
    return code;
}

static int points_gradients(af_context *c, size_t count, dp_df **df, int robust, int quiet,
                            deep_points *p) {
    double start = cli_clock(), shown = start;
    int terminal = isatty(STDOUT_FILENO) == 1 && !quiet;
    size_t i;
    for (i = 0; i < p->n; i += MODELS_BLOCK) {
        size_t n = p->n - i < (size_t)MODELS_BLOCK ? p->n - i : (size_t)MODELS_BLOCK;
        double now, *eta = p->eta + 6 * i, *gradient = p->gradient + 6 * i;
        af_status s = count == 1 ? dp_df_evaluate(df[0], n, eta, p->ln_f + i, gradient)
                                 : dp_ensemble_evaluate(count, df, robust, n, eta, p->ln_f + i,
                                                        gradient, NULL);
        if (s != AF_OK) return cli_fail_library(c);
        now = cli_clock();
        if (terminal && now - shown > cli_line_interval(1)) {
            printf("\rgradients at %lu of %lu points  %.0f s\033[K", (unsigned long)(i + n),
                   (unsigned long)p->n, now - start);
            fflush(stdout);
            shown = now;
        }
        if (cli_stopped()) return cli_fail("stopped; nothing was written");
    }
    if (shown > start) printf("\r\033[K");
    return CLI_OK;
}

int deep_where_check(const char *command, const deep_where *w) {
    dp_volume volume;
    int code = deep_volume(command, "volume", w->source.volume, &volume);
    return code < 0 ? deep_volume(command, "cut", w->cut, &volume) : code;
}

int deep_points_compute(af_context *c, const char *command, size_t models,
                        const char *const *model, const char *stars, const deep_where *w,
                        int quiet, deep_points *p) {
    dp_df **df = (dp_df **)cli_allocate(models, sizeof *df);
    dp_volume cut;
    size_t i, before;
    int code = deep_volume(command, "cut", w->cut, &cut);
    memset(p, 0, sizeof *p);
    if (code >= 0) models = 0;
    else code = CLI_OK;
    for (i = 0; i < models && code == CLI_OK; i++) code = deep_open_df(c, model[i], &df[i]);
    if (code == CLI_OK)
        code = w->draw ? points_drawn(c, w, p)
                       : points_at_stars(c, command, stars, w, quiet, p);
    before = p->n;
    if (code == CLI_OK) deep_points_cut(p, &cut);
    if (code == CLI_OK && p->n == 0)
        code = cli_fail("none of the %lu points lies inside --cut %s", (unsigned long)before,
                        w->cut);
    cli_catch_stop();
    if (code == CLI_OK) code = points_gradients(c, models, df, w->robust, quiet, p);
    for (i = 0; i < models; i++) dp_df_destroy(df[i]);
    free(df);
    if (code != CLI_OK) deep_points_free(p);
    return code;
}

/* ---- errors ---- */

static int models_order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double deep_quantile(double *values, size_t n, double q) {
    size_t i, good = 0;
    double at;
    for (i = 0; i < n; i++)
        if (isfinite(values[i])) values[good++] = values[i];
    if (good == 0) return NAN;
    qsort(values, good, sizeof *values, models_order);
    at = q * (double)(good - 1);
    i = (size_t)at;
    return i + 1 < good ? values[i] + (at - (double)i) * (values[i + 1] - values[i]) : values[i];
}

/* |value/truth - 1| of the potential, whose offset is the median difference. */
static void errors_potential(size_t n, const double *phi, const double *truth, double *room) {
    double offset;
    size_t i;
    for (i = 0; i < n; i++) room[i] = phi[i] - truth[i];
    offset = deep_quantile(room, n, 0.5);
    for (i = 0; i < n; i++) room[i] = fabs((phi[i] - offset) / truth[i] - 1.0);
}

static double errors_force(const double a[3], const double truth[3]) {
    double away = 0.0, length = 0.0;
    size_t k;
    for (k = 0; k < 3; k++) {
        away += (a[k] - truth[k]) * (a[k] - truth[k]);
        length += truth[k] * truth[k];
    }
    return sqrt(away / length);
}

deep_errors deep_errors_of(size_t n, const double *x, const double *phi, const double *a,
                           const double *density, const af_potential *parts, size_t count) {
    double *room = (double *)cli_allocate(2 * n, sizeof *room), *truth = room + n;
    deep_errors e;
    size_t i, k;
    for (k = 0; k < 3; k++) {
        for (i = 0; i < n; i++) {
            const double *at = x + 3 * i;
            double force[3];
            room[i] = NAN;
            truth[i] = af_potential_value(parts, count, at);
            af_potential_acceleration(parts, count, at, force);
            if (k == 1 && a) room[i] = errors_force(a + 3 * i, force);
            if (k == 2 && density)
                room[i] = fabs(density[i] / af_potential_density(parts, count, at) - 1.0);
        }
        if (k == 0 && phi) errors_potential(n, phi, truth, room);
        e.median[k] = deep_quantile(room, n, 0.5);
        e.ninety[k] = deep_quantile(room, n, 0.9);
    }
    free(room);
    return e;
}

void deep_errors_print(const deep_errors *e, const deep_errors *untrained, size_t n) {
    static const char *const name[3] = {"potential", "force", "density"};
    size_t k;
    printf("errors at %lu places [per cent]   median   90 %%    untrained: median   90 %%\n",
           (unsigned long)n);
    for (k = 0; k < 3; k++)
        if (isfinite(e->median[k]))
            printf("  %-29s %9.3f %8.3f %18.2f %8.2f\n", name[k], 100.0 * e->median[k],
                   100.0 * e->ninety[k], 100.0 * untrained->median[k],
                   100.0 * untrained->ninety[k]);
    for (k = 0; k < 3; k++)
        if (isfinite(e->median[k]))
            printf("FIGURE %s_median %.6g\nFIGURE %s_90 %.6g\n", name[k], 100.0 * e->median[k],
                   name[k], 100.0 * e->ninety[k]);
}
