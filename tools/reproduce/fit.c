/* Models and their scores. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L /* clock_gettime */
#endif
#include "reproduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double FIT_DEGREE = 57.295779513082321;
static const double FIT_TURN = 6.283185307179586;

double redo_cpu(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *const REDO_KIND_NAME[REDO_MODELS] = {"fourier", "shears", "longer"};

/* ---- training ---- */

static int fit_progress(const af_progress *p, void *user) {
    redo_history *h = (redo_history *)user;
    if (h->count < REDO_LONGEST_HISTORY) {
        h->epoch[h->count] = (double)p->epoch;
        h->loss[h->count] = p->loss;
        h->validation[h->count] = p->validation;
        if (p->best_epoch == p->epoch) h->best = h->count;
        h->count++;
    }
    return 0;
}

static void fit_history_make(redo_history *h) {
    memset(h, 0, sizeof *h);
    h->epoch = (double *)cli_allocate(REDO_LONGEST_HISTORY, sizeof *h->epoch);
    h->loss = (double *)cli_allocate(REDO_LONGEST_HISTORY, sizeof *h->loss);
    h->validation = (double *)cli_allocate(REDO_LONGEST_HISTORY, sizeof *h->validation);
}

void redo_model_free(redo_model *m) {
    af_finder_destroy(m->finder);
    free(m->history.epoch);
    free(m->history.loss);
    free(m->history.validation);
    memset(m, 0, sizeof *m);
}

int redo_fit(redo *r, const char *test, redo_kind kind, const af_orbits *orbits, size_t train,
             const char *start, redo_model *out) {
    af_finder_desc fd;
    af_fit_desc td;
    double begin = redo_cpu();
    af_status s;
    memset(out, 0, sizeof *out);
    redo_settings(r, test, kind, start != NULL, &fd, &td);
    fit_history_make(&out->history);
    td.train = train;
    td.progress = fit_progress;
    td.user = &out->history;
    s = start ? af_finder_load(r->context, start, &out->finder)
              : af_finder_create(r->context, orbits, &fd, &out->finder);
    if (s == AF_OK) s = af_finder_fit(out->finder, orbits, &td);
    out->cpu = redo_cpu() - begin;
    if (s != AF_OK) {
        redo_model_free(out);
        return cli_fail_library(r->context);
    }
    fprintf(stderr, "fitted %s, %s: %lu streams, %.0f s of CPU time\n", test,
            REDO_KIND_NAME[kind], (unsigned long)train, out->cpu);
    return CLI_OK;
}

/* The same on longer orbits of the training streams. */
static int fit_longer(redo *r, const redo_test *test, const redo_set *set, size_t train,
                      redo_model *out) {
    af_orbits *part = NULL, *longer = NULL;
    af_extend_desc d;
    double begin = redo_cpu();
    size_t n;
    af_status s = af_orbits_part(r->context, set->orbits, 0, train, &part);
    int code;
    redo_settings_extend(r, test, &d);
    if (s == AF_OK) s = af_orbits_extend(r->context, part, NULL, &d, &longer);
    af_orbits_destroy(part);
    if (s != AF_OK) return cli_fail_library(r->context);
    begin = redo_cpu() - begin;
    n = af_orbits_streams(longer);
    code = redo_fit(r, test->name, REDO_LONGER, longer, n - n / 16, NULL, out);
    if (code == CLI_OK) out->cpu += begin;
    af_orbits_destroy(longer);
    return code;
}

size_t redo_train_count(const redo *r, const redo_test *test, const redo_set *set) {
    enum { QUICK = 64 };
    size_t wanted = r->quick && test->streams > QUICK ? (size_t)QUICK : test->streams;
    return set->streams >= wanted + wanted / 8 ? wanted : set->streams - set->streams / 8;
}

int redo_model_of(redo *r, const redo_test *test, const redo_set *set, redo_kind kind,
                  redo_model **out) {
    char name[REDO_TEXT], path[REDO_PATH];
    redo_keep *keep = &r->kept[r->kept_count];
    size_t i;
    int code;
    snprintf(name, sizeof name, "%s_%s", test->name, REDO_KIND_NAME[kind]);
    for (i = 0; i < r->kept_count; i++)
        if (strcmp(r->kept[i].name, name) == 0) {
            *out = &r->kept[i].model;
            return CLI_OK;
        }
    if (r->kept_count == REDO_KEPT) return cli_fail("more than %d models", REDO_KEPT);
    if (kind == REDO_LONGER)
        code = fit_longer(r, test, set, redo_train_count(r, test, set), &keep->model);
    else
        code = redo_fit(r, test->name, kind, set->orbits, redo_train_count(r, test, set), NULL,
                        &keep->model);
    if (code != CLI_OK) return code;
    snprintf(keep->name, sizeof keep->name, "%s", name);
    snprintf(path, sizeof path, "%s/%s.safetensors", r->output, name);
    r->kept_count++;
    *out = &keep->model;
    return af_finder_save(keep->model.finder, path) == AF_OK ? CLI_OK
                                                             : cli_fail_library(r->context);
}

/* ---- scores ---- */

/* Errors of one kind; NULL value: not wanted. */
typedef struct fit_errors {
    double *value;
    size_t n;
} fit_errors;

static void fit_add(fit_errors *e, const double *found, const double *truth, double turn) {
    double sum = 0.0;
    int k;
    for (k = 0; k < 3; k++) {
        double d = found[k] - truth[k];
        sum += fabs(turn > 0.0 ? remainder(d, turn) : d) / 3.0;
    }
    e->value[e->n++] = sum;
}

static void fit_stream_mean(const cli_map *m, size_t s, double mean[3]) {
    size_t i, k, good = 0;
    for (k = 0; k < 3; k++) mean[k] = 0.0;
    for (i = 0; i < m->stars; i++)
        for (k = 0; k < 3 && cli_map_good(m, s, i); k++) {
            good += k == 0 ? 1u : 0u;
            mean[k] += m->j[3 * (s * m->stars + i) + k];
        }
    for (k = 0; k < 3; k++) mean[k] = good ? mean[k] / (double)good : NAN;
}

/* Whether the truth of a stream is known to `mask`. */
static int fit_counts(const af_array *j, const af_array *error, size_t s, double mask) {
    size_t k;
    int good = j != NULL;
    for (k = 0; k < 3 && good; k++) {
        good = isfinite(j->data[3 * s + k]);
        if (error && mask > 0.0) good = good && fabs(error->data[3 * s + k]) < mask;
    }
    return good;
}

int redo_counts(const redo_set *set, size_t s, double mask) {
    return fit_counts(set->j, set->error, s, mask);
}

static void fit_score_stream(const redo_set *set, size_t first, size_t s, const cli_map *stream,
                             const cli_map *star, fit_errors e[3]) {
    const double *truth = set->j->data + 3 * (first + s);
    double mean[3];
    size_t i;
    fit_stream_mean(stream, s, mean);
    fit_add(&e[0], mean, truth, 0.0);
    for (i = 0; i < star->stars; i++) {
        size_t at = 3 * (s * star->stars + i);
        if (!cli_map_good(star, s, i)) continue;
        fit_add(&e[1], star->j + at, truth, 0.0);
        if (set->theta)
            fit_add(&e[2], star->theta + at, set->theta->data + 3 * first * star->stars + at,
                    FIT_TURN);
    }
}

void redo_score_maps(const redo_set *set, size_t first, double mask, const cli_map *stream,
                     const cli_map *star, redo_score *out) {
    fit_errors e[4];
    size_t s, i, n = stream->streams, stars = n * star->stars;
    for (i = 0; i < 4; i++) {
        e[i].value = (double *)cli_allocate(stars, sizeof *e[i].value);
        e[i].n = 0;
    }
    for (s = 0; s < n; s++) {
        double mean[3];
        if (redo_counts(set, first + s, mask))
            fit_score_stream(set, first, s, stream, star, e);
        if (!fit_counts(set->other_j, set->other_error, first + s, 1.0)) continue;
        fit_stream_mean(stream, s, mean);
        fit_add(&e[3], mean, set->other_j->data + 3 * (first + s), 0.0);
    }
    for (i = 0; i < e[2].n; i++) e[2].value[i] *= FIT_DEGREE;
    out->stream = cli_summarise(e[0].value, e[0].n);
    out->star = cli_summarise(e[1].value, e[1].n);
    out->angle = cli_summarise(e[2].value, e[2].n);
    out->other = cli_summarise(e[3].value, e[3].n);
    for (i = 0; i < 4; i++) free(e[i].value);
}

void redo_fudge_map(const mock_galaxy *galaxy, const af_orbits *orbits, cli_map *out) {
    af_fudge fudge;
    long s, streams = (long)af_orbits_streams(orbits);
    size_t n = af_orbits_stars(orbits);
    memset(&fudge, 0, sizeof fudge);
    fudge.field = galaxy->field;
    if (redo_spherical(galaxy)) fudge.focus = AF_FOCUS_GIVEN; /* delta 0 */
    out->streams = (size_t)streams;
    out->stars = n;
    out->j = (double *)cli_allocate(out->streams * n * 3, sizeof *out->j);
    out->theta = (double *)cli_allocate(out->streams * n * 3, sizeof *out->theta);
    out->flags = (unsigned *)cli_allocate(out->streams * n, sizeof *out->flags);
#ifdef _OPENMP
#  pragma omp parallel for schedule(dynamic, 1)
#endif
    for (s = 0; s < streams; s++) {
        size_t at = (size_t)s * n;
        af_fudge_actions_of(&fudge, n, af_orbits_xv(orbits, (size_t)s), out->j + 3 * at,
                            out->theta + 3 * at, NULL, out->flags + at);
    }
}

/* ---- accelerations ---- */

cli_summary redo_acceleration_errors(const redo_set *set, size_t first, af_force force) {
    size_t n = (set->streams - first) * set->stars, i;
    const double *xv = af_orbits_xv(set->orbits, first);
    const double *truth = set->acceleration->data + 3 * first * set->stars;
    double *value = (double *)cli_allocate(n, sizeof *value);
    cli_summary out;
    for (i = 0; i < n; i++) {
        double a[3], d = 0.0, size = 0.0;
        int k;
        force.acceleration(xv + 6 * i, a, force.user);
        for (k = 0; k < 3; k++) {
            d += (a[k] - truth[3 * i + (size_t)k]) * (a[k] - truth[3 * i + (size_t)k]);
            size += truth[3 * i + (size_t)k] * truth[3 * i + (size_t)k];
        }
        value[i] = 100.0 * sqrt(d / size);
    }
    out = cli_summarise(value, n);
    free(value);
    return out;
}

int redo_accelerations(redo *r, const redo_test *test, const redo_set *set, const redo_model *m,
                       size_t train, cli_summary *out, double *cpu) {
    enum { BLOCK = 256 };
    af_accel_desc ad;
    af_accel_fit_desc fd;
    af_orbits *part = NULL;
    af_mapper *mapper = NULL;
    af_accel *field = NULL;
    af_accel_evaluator *e = NULL;
    double begin = redo_cpu();
    af_status s = af_orbits_part(r->context, set->orbits, 0, train, &part);
    redo_settings_accel(r, test->name, &ad, &fd);
    if (s == AF_OK) s = af_mapper_create(m->finder, set->stars, BLOCK, 0, &mapper);
    if (s == AF_OK) s = af_accel_create(r->context, part, &ad, &field);
    if (s == AF_OK) {
        af_phase_map map = af_mapper_map(mapper);
        s = af_accel_fit(field, part, &map, &fd);
    }
    *cpu = redo_cpu() - begin;
    if (s == AF_OK) s = af_accel_evaluator_create(field, 1, 1, &e);
    if (s == AF_OK)
        *out = redo_acceleration_errors(set, train, af_accel_force(e));
    fprintf(stderr, "accelerations of %s: %.0f s of CPU time\n", test->name, *cpu);
    af_accel_evaluator_destroy(e);
    af_accel_destroy(field);
    af_mapper_destroy(mapper);
    af_orbits_destroy(part);
    return s == AF_OK ? CLI_OK : cli_fail_library(r->context);
}
