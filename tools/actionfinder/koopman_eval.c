/* actionfinder koopman eval, rollout: from states to actions and angles, and back. */
#include "koopman.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- eval ---- */

static int keval_write(af_context *c, const koopman_map *m, const char *path) {
    const char *names[KOOPMAN_COLUMNS];
    char room[KOOPMAN_COLUMNS][KOOPMAN_NAME];
    size_t n = m->freedoms, columns, o, s, at = 0;
    double *data = (double *)cli_allocate(m->total * (3 + 3 * n), sizeof *data), *row = data;
    int code;
    columns = koopman_name("orbit", 1, 0, room, names);
    columns = koopman_name("t", 1, columns, room, names);
    columns = koopman_name("J", n, columns, room, names);
    columns = koopman_name("theta", n, columns, room, names);
    columns = koopman_name("omega", n, columns, room, names);
    columns = koopman_name("energy", 1, columns, room, names);
    for (o = 0; o < m->orbits; o++)
        for (s = 0; s < af_trajectories_samples(m->t, o); s++, at++, row += columns) {
            row[0] = af_trajectories_id(m->t, o);
            row[1] = af_trajectories_time(m->t, o)[s];
            memcpy(row + 2, m->j + n * at, n * sizeof *row);
            memcpy(row + 2 + n, m->theta + n * at, n * sizeof *row);
            memcpy(row + 2 + 2 * n, m->omega + n * at, n * sizeof *row);
            row[2 + 3 * n] = m->energy[at];
        }
    code = koopman_write(c, path, "J in units of q p, theta [rad] in [0, 2 pi), omega = d theta/dt",
                         names, columns, m->total, data);
    free(data);
    return code;
}

typedef struct keval_rank {
    double turning;
    size_t orbit;
} keval_rank;

static int keval_worse(const void *a, const void *b) {
    const keval_rank *x = (const keval_rank *)a, *y = (const keval_rank *)b;
    if (x->turning != y->turning) return x->turning < y->turning ? 1 : -1;
    return (x->orbit > y->orbit) - (x->orbit < y->orbit);
}

static int keval_earlier(const void *a, const void *b) {
    const keval_rank *x = (const keval_rank *)a, *y = (const keval_rank *)b;
    return (x->orbit > y->orbit) - (x->orbit < y->orbit);
}

static void keval_row(const koopman_map *m, size_t o) {
    size_t i, n = m->freedoms, first = m->first[o];
    size_t count = af_trajectories_samples(m->t, o);
    printf("%10.10g %8lu", af_trajectories_id(m->t, o), (unsigned long)count);
    for (i = 0; i < n; i++)
        printf(" %11.5g %9.2e", m->mean_j[n * o + i], m->spread[n * o + i]);
    printf(" %9.2e %9.2e %9.2e\n", m->turning[o], koopman_rms(m->rebuilt + n * first, count, n),
           koopman_rms(m->rolled + n * first, count, n));
}

static void keval_table(const koopman_map *m) {
    enum { MOST = 32 };
    size_t o, i, shown = m->orbits < MOST ? m->orbits : (size_t)MOST;
    keval_rank *rank = (keval_rank *)cli_allocate(m->orbits, sizeof *rank);
    for (o = 0; o < m->orbits; o++) {
        rank[o].orbit = o;
        rank[o].turning = isfinite(m->turning[o]) ? m->turning[o] : HUGE_VAL;
    }
    qsort(rank, m->orbits, sizeof *rank, keval_worse);
    if (shown == m->orbits) qsort(rank, m->orbits, sizeof *rank, keval_earlier);
    else printf("the %lu of %lu orbits that fit worst:\n", (unsigned long)shown,
                (unsigned long)m->orbits);
    printf("%10s %8s", "orbit", "samples");
    for (i = 0; i < m->freedoms; i++) {
        char name[KOOPMAN_NAME] = "J";
        if (m->freedoms > 1) snprintf(name, sizeof name, "J_%u", (unsigned)i + 1);
        printf(" %11s %9s", name, "spread");
    }
    printf(" %9s %9s %9s\n", "rotation", "rebuilt", "rollout");
    for (o = 0; o < shown; o++) keval_row(m, rank[o].orbit);
    free(rank);
}

static void keval_figures(const koopman_map *m) {
    size_t o, s, i, n = m->freedoms, most = 0;
    for (s = 0; s < m->total * n; s++)
        if (m->rolled[s] > m->rolled[most]) most = s;
    printf("FIGURE orbits %lu\nFIGURE samples %lu\n", (unsigned long)m->orbits,
           (unsigned long)m->total);
    for (i = 0; i < n; i++) {
        double square = 0.0, mean = 0.0;
        for (o = 0; o < m->orbits; o++) {
            double share = (double)af_trajectories_samples(m->t, o) / (double)m->total;
            square += m->spread[n * o + i] * m->spread[n * o + i] * share;
            mean += m->mean_j[n * o + i] * share;
        }
        printf("FIGURE mean_j_%u %.6g\nFIGURE spread_j_%u %.6g\n", (unsigned)i + 1, mean,
               (unsigned)i + 1, sqrt(square));
    }
    printf("FIGURE rotation %.6g\n", koopman_turning(m));
    printf("FIGURE reconstruction %.6g\n", koopman_rms(m->rebuilt, m->total, n));
    printf("FIGURE rollout %.6g\n", koopman_rms(m->rolled, m->total, n));
    printf("FIGURE rollout_largest %.6g\n", m->rolled[most]);
}

static int keval_run(af_context *c, const char *const path[2], const koopman_source *source,
                     const char *output) {
    af_koopman *k;
    af_trajectories *t;
    koopman_map m;
    int code = koopman_open(c, "koopman eval", path, source, 1, &k, &t);
    memset(&m, 0, sizeof m);
    if (code == CLI_OK) code = koopman_map_make(c, k, t, &m);
    if (code == CLI_OK) code = keval_write(c, &m, output);
    if (code == CLI_OK) {
        keval_table(&m);
        keval_figures(&m);
        printf("wrote %s\n", output);
    }
    koopman_map_free(&m);
    af_koopman_destroy(k);
    af_trajectories_destroy(t);
    return code;
}

int koopman_eval(const cli_command *command, int count, char **words) {
    const char *output = NULL, *path[2];
    koopman_source source;
    af_context *c = NULL;
    int code;
    memset(&source, 0, sizeof source);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &output, "FILE", "OUT.csv or OUT.npy"},
            KOOPMAN_SOURCE_OPTIONS(&source),
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code < 0) code = cli_check_table(command->name, output);
    if (code >= 0) return code;
    code = cli_check_output(output, path, 2);
    if (code == CLI_OK) code = cli_context(1, &c);
    if (code == CLI_OK) code = keval_run(c, path, &source, output);
    af_context_destroy(c);
    return code;
}

/* ---- rollout ---- */

typedef struct kroll_options {
    const char *output, *action, *angle, *times;
} kroll_options;

/* Numbers with commas between; their count, 0 where the text is something else. */
static size_t kroll_numbers(const char *text, double out[AF_FREEDOMS_MAX]) {
    size_t count = 0;
    while (count < (size_t)AF_FREEDOMS_MAX) {
        char *end;
        out[count] = strtod(text, &end);
        if (end == text || !isfinite(out[count]) || (*end && *end != ',')) return 0;
        count++;
        if (!*end) return count;
        text = end + 1;
    }
    return 0;
}

/* T0:T1:N */
static int kroll_times(const char *text, double range[2], size_t *count) {
    const double most = 1e8; /* samples: some GB */
    const char *at = text;
    double n = 0.0;
    size_t i;
    int good = 1;
    for (i = 0; i < 3 && good; i++) {
        char *end;
        double value = strtod(at, &end);
        good = end != at && isfinite(value) && *end == (i < 2 ? ':' : 0);
        if (i < 2) range[i] = value;
        else n = value;
        at = end + 1;
    }
    if (!good || !(range[1] > range[0]) || !(n >= 2.0 && n <= most) || n != floor(n))
        return cli_usage("koopman rollout",
                         "--times takes T0:T1:N, N samples (2 to %.0f) from T0 to a later T1, like "
                         "0:50:501, not '%s'",
                         most, text);
    *count = (size_t)n;
    return -1;
}

static int kroll_point(const kroll_options *o, double *j, double *theta, size_t *n) {
    static const char *const name = "koopman rollout";
    size_t angles, i;
    if (!o->action || !o->angle || !o->times)
        return cli_usage(name, "--%s is missing", !o->action  ? "action J"
                                                  : !o->angle ? "angle THETA"
                                                              : "times T0:T1:N");
    *n = kroll_numbers(o->action, j);
    angles = kroll_numbers(o->angle, theta);
    if (*n == 0 || angles == 0)
        return cli_usage(name, "--%s takes a number for each degree of freedom, with commas "
                               "between, not '%s'",
                         *n == 0 ? "action" : "angle", *n == 0 ? o->action : o->angle);
    if (*n != angles)
        return cli_usage(name, "--action '%s' and --angle '%s' must be equally many", o->action,
                         o->angle);
    for (i = 0; i < *n; i++)
        if (j[i] < 0.0)
            return cli_usage(name, "--action '%s': actions are not negative", o->action);
    return -1;
}

static int kroll_run(af_context *c, const af_koopman *k, const kroll_options *o, const double *j,
                     const double *theta, const double range[2], size_t count) {
    const char *names[KOOPMAN_COLUMNS];
    char room[KOOPMAN_COLUMNS][KOOPMAN_NAME];
    size_t n = af_koopman_freedoms(k), s, columns;
    double *time, *x, *rows;
    af_koopman_evaluator *e;
    int code;
    if (af_koopman_evaluator_create(k, 256, &e) != AF_OK) return cli_fail_library(c);
    columns = koopman_name("t", 1, 0, room, names);
    columns = koopman_name("q", n, columns, room, names);
    columns = koopman_name("p", n, columns, room, names);
    time = (double *)cli_allocate(count, sizeof *time);
    x = (double *)cli_allocate(count * 2 * n, sizeof *x);
    rows = (double *)cli_allocate(count * columns, sizeof *rows);
    for (s = 0; s < count; s++)
        time[s] = range[0] + (range[1] - range[0]) * (double)s / (double)(count - 1);
    af_koopman_rollout(e, j, theta, count, time, x);
    for (s = 0; s < count; s++) {
        rows[columns * s] = time[s];
        memcpy(rows + columns * s + 1, x + 2 * n * s, 2 * n * sizeof *rows);
    }
    code = koopman_write(c, o->output, "an orbit from its actions and angles", names, columns,
                         count, rows);
    if (code == CLI_OK) {
        double omega[AF_FREEDOMS_MAX], energy;
        af_koopman_frequencies(e, 1, j, omega, &energy);
        for (s = 0; s < n; s++) printf("omega_%u = %.10g  ", (unsigned)s + 1, omega[s]);
        printf("energy = %.10g\nwrote %s\n", energy, o->output);
    }
    free(time);
    free(x);
    free(rows);
    af_koopman_evaluator_destroy(e);
    return code;
}

int koopman_rollout(const cli_command *command, int count, char **words) {
    kroll_options o;
    const char *path[1];
    double j[AF_FREEDOMS_MAX], theta[AF_FREEDOMS_MAX], range[2] = {0.0, 0.0};
    size_t n = 0, samples = 0;
    af_context *c = NULL;
    af_koopman *k = NULL;
    int code;
    memset(&o, 0, sizeof o);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &o.output, "FILE", "OUT.csv or OUT.npy"},
            {"action", CLI_TEXT, &o.action, "J[,J2..]", "actions, in the units of the data's q p"},
            {"angle", CLI_TEXT, &o.angle, "A[,A2..]", "angles at t = 0 [rad]"},
            {"times", CLI_TEXT, &o.times, "T0:T1:N", "N times from T0 to T1, evenly spaced"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
    }
    if (code < 0) code = cli_check_table(command->name, o.output);
    if (code < 0) code = kroll_point(&o, j, theta, &n);
    if (code < 0) code = kroll_times(o.times, range, &samples);
    if (code >= 0) return code;
    code = cli_check_output(o.output, path, 1);
    if (code == CLI_OK) code = cli_context(1, &c);
    if (code == CLI_OK && af_koopman_load(c, path[0], &k) != AF_OK)
        code = cli_fail_model(c, path[0]);
    if (code == CLI_OK && n != af_koopman_freedoms(k))
        code = cli_fail("the model '%s' has %lu degree%s of freedom, --action names %lu", path[0],
                        (unsigned long)af_koopman_freedoms(k),
                        af_koopman_freedoms(k) > 1 ? "s" : "", (unsigned long)n);
    if (code == CLI_OK) code = kroll_run(c, k, &o, j, theta, range, samples);
    af_koopman_destroy(k);
    af_context_destroy(c);
    return code;
}
