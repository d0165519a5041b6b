/* actionfinder field actions: actions, angles and frequencies by following the orbits in a field
 * that was learned. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct actions_options {
    const char *output, *truth, *truth_error, *angles;
    double max_error;
    size_t stars, skip, threads;
    cli_sky sky;
    af_observed_desc observed;
} actions_options;

/* Of the first `stars` stars of each stream from `skip` on: (streams, stars, 3) each. */
typedef struct actions_run {
    const actions_options *o;
    const af_orbits *orbits;
    size_t streams, stars, used;
    double *xv, *j, *theta, *omega, *error;
    unsigned *flags;
    af_array *truth, *truth_error, *angles; /* NULL: not given */
} actions_run;

static const double DEGREE = 57.295779513082321;
static const double TURN = 6.283185307179586;

/* ---- the answers ---- */

static void actions_allocate(actions_run *r) {
    size_t n = r->streams * r->stars, s, i;
    r->xv = (double *)cli_allocate(18 * n, sizeof *r->xv);
    r->j = r->xv + 6 * n;
    r->theta = r->j + 3 * n;
    r->omega = r->theta + 3 * n;
    r->error = r->omega + 3 * n;
    r->flags = (unsigned *)cli_allocate(n, sizeof *r->flags);
    for (s = 0; s < r->streams; s++)
        for (i = 0; i < r->stars; i++) /* places without a star repeat the first: not finite here */
            if (i < af_orbits_count(r->orbits, r->o->skip + s))
                memcpy(r->xv + 6 * (s * r->stars + i),
                       af_orbits_xv(r->orbits, r->o->skip + s) + 6 * i, 6 * sizeof *r->xv);
            else r->xv[6 * (s * r->stars + i)] = NAN;
}

static int actions_compute(af_context *c, actions_run *r, const af_mass_model *m) {
    enum { BLOCK = 64 }; /* stars between two lines of progress */
    af_field field = af_field_of_mass_model(m);
    af_field_table_desc d;
    af_field_table *table;
    af_status s;
    size_t n = r->streams * r->stars, i, count;
    memset(&d, 0, sizeof d);
    d.radius = af_mass_model_radius(m);
    s = af_field_table_create(c, &field, &d, &table);
    if (s != AF_OK) return cli_fail_library(c);
    field = af_field_of_table(table);
    for (i = 0; i < n && s == AF_OK; i += count) {
        count = n - i < BLOCK ? n - i : BLOCK;
        cli_progress("follows the orbits of stars", i, n);
        s = af_orbit_actions_of(c, &field, count, r->xv + 6 * i, NULL, r->j + 3 * i,
                                r->theta + 3 * i, r->omega + 3 * i, r->error + 3 * i, r->flags + i);
    }
    cli_progress("", n, n);
    af_field_table_destroy(table);
    return s == AF_OK ? CLI_OK : cli_fail_library(c);
}

/* ---- files ---- */

static int actions_csv(af_context *c, const actions_run *r) {
    static const char *const name[10] = {"stream",    "J_phi",   "J_z",     "J_r",
                                         "theta_phi", "theta_z", "theta_r", "Omega_phi",
                                         "Omega_z",   "Omega_r"};
    size_t n = r->streams * r->stars, s, k;
    double *id = (double *)cli_allocate(n, sizeof *id);
    af_table *t;
    af_status status = af_table_create(c, &t);
    for (s = 0; s < n; s++) id[s] = af_orbits_id(r->orbits, r->o->skip + s / r->stars);
    if (status == AF_OK) status = af_table_add(t, name[0], n, id, 1);
    for (k = 0; k < 9 && status == AF_OK; k++) {
        const double *from = k < 3 ? r->j : k < 6 ? r->theta : r->omega;
        status = af_table_add(t, name[k + 1], n, from + k % 3, 3);
    }
    if (status == AF_OK) status = af_table_write(t, r->o->output);
    af_table_destroy(t);
    free(id);
    return status == AF_OK ? CLI_OK : cli_fail_library(c);
}

static int actions_npy(af_context *c, const actions_run *r) {
    size_t n = r->streams * r->stars, i, k, dims[3];
    double *out = (double *)cli_allocate(9 * n, sizeof *out);
    af_status status;
    for (i = 0; i < n; i++)
        for (k = 0; k < 9; k++)
            out[9 * i + k] = (k < 3 ? r->j : k < 6 ? r->theta : r->omega)[3 * i + k % 3];
    dims[0] = r->streams;
    dims[1] = r->stars;
    dims[2] = 9;
    status = af_npy_write(c, r->o->output, 3, dims, out);
    free(out);
    return status == AF_OK ? CLI_OK : cli_fail_library(c);
}

/* ---- against the truth ---- */

typedef struct actions_score {
    const double *truth, *truth_error, *angles; /* of the streams from `skip` on, or NULL */
    size_t angle_stars;
    double *error, *angle; /* (4, streams), (4, streams * stars): the components and their mean */
    size_t streams, lost, stars;
} actions_score;

/* Mean over the stars of J less the truth, of one stream; 0 where no star has an answer. */
static int actions_stream_error(const actions_run *r, const double *truth, size_t s,
                                double error[3]) {
    size_t i, k, n = 0;
    double sum[3] = {0.0, 0.0, 0.0};
    for (i = 0; i < r->stars; i++) {
        const double *j = r->j + 3 * (s * r->stars + i);
        if (!isfinite(j[0] + j[1] + j[2])) continue;
        for (k = 0; k < 3; k++) sum[k] += j[k];
        n++;
    }
    for (k = 0; k < 3; k++) error[k] = n ? fabs(sum[k] / (double)n - truth[3 * s + k]) : NAN;
    return n > 0;
}

static void actions_score_add(double *value, size_t room, size_t at, const double error[3]) {
    size_t k;
    for (k = 0; k < 3; k++) value[k * room + at] = error[k];
    value[3 * room + at] = (error[0] + error[1] + error[2]) / 3.0;
}

static void actions_score_angles(const actions_run *r, actions_score *e, size_t s) {
    size_t i, k;
    for (i = 0; i < r->stars && i < e->angle_stars; i++) {
        const double *theta = r->theta + 3 * (s * r->stars + i);
        const double *truth = e->angles + 3 * (s * e->angle_stars + i);
        double error[3];
        for (k = 0; k < 3; k++) error[k] = DEGREE * fabs(remainder(theta[k] - truth[k], TURN));
        if (isfinite(error[0] + error[1] + error[2]))
            actions_score_add(e->angle, r->streams * r->stars, e->stars++, error);
    }
}

static void actions_score_all(const actions_run *r, actions_score *e) {
    size_t s, k;
    for (s = 0; s < r->streams; s++) {
        int counts = 1;
        double error[3];
        for (k = 0; k < 3; k++) counts = counts && isfinite(e->truth[3 * s + k]);
        for (k = 0; k < 3 && e->truth_error; k++)
            counts = counts && fabs(e->truth_error[3 * s + k]) < r->o->max_error;
        if (!counts) continue;
        if (!actions_stream_error(r, e->truth, s, error)) {
            e->lost++;
            continue;
        }
        actions_score_add(e->error, r->streams, e->streams++, error);
        if (e->angles) actions_score_angles(r, e, s);
    }
}

/* A line for each component, or, when figures is not 0, those for programs. */
static void actions_rows(const char *title, const char *name, const double *value, size_t room,
                         size_t n, const char *const *column, int figures) {
    size_t k;
    for (k = 0; k < 4; k++) {
        double *copy = (double *)cli_allocate(room ? room : 1, sizeof *copy);
        cli_summary s;
        memcpy(copy, value + k * room, n * sizeof *copy);
        s = cli_summarise(copy, n);
        free(copy);
        if (figures)
            printf("FIGURE %s_mean_%s %.6g\nFIGURE %s_median_%s %.6g\nFIGURE %s_trimmed_%s %.6g\n",
                   name, column[k], s.mean, name, column[k], s.median, name, column[k], s.trimmed);
        else
            printf("%-24s%-10s%12.4g%12.4g%12.4g\n", k ? "" : title, column[k], s.mean, s.median,
                   s.trimmed);
    }
}

static void actions_print_score(const actions_run *r, const actions_score *e) {
    static const char *const j[4] = {"J_phi", "J_z", "J_r", "all"};
    static const char *const theta[4] = {"theta_phi", "theta_z", "theta_r", "all"};
    int figures;
    printf("%lu streams count, of %lu more no star has an answer\n", (unsigned long)e->streams,
           (unsigned long)e->lost);
    printf("%-34s%12s%12s%12s\n", "", "mean", "median", "98 %");
    for (figures = 0; figures < 2; figures++) {
        actions_rows("|J - truth| [km/s kpc]", "field_stream", e->error, r->streams, e->streams, j,
                     figures);
        if (e->angles)
            actions_rows("|theta - truth| [deg]", "field_angle", e->angle, r->streams * r->stars,
                         e->stars, theta, figures);
    }
}

/* Before the orbits are followed, which takes long. */
static int actions_read_truth(af_context *c, actions_run *r) {
    int code = CLI_OK;
    if (r->o->truth) code = cli_read_truth(c, r->o->truth, r->orbits, 0, &r->truth);
    if (code == CLI_OK && r->o->truth_error)
        code = cli_read_truth(c, r->o->truth_error, r->orbits, 0, &r->truth_error);
    if (code == CLI_OK && r->o->angles)
        code = cli_read_truth(c, r->o->angles, r->orbits, 1, &r->angles);
    return code;
}

static void actions_check(const actions_run *r) {
    actions_score e;
    size_t n = r->streams, skip = r->o->skip;
    memset(&e, 0, sizeof e);
    e.angle_stars = af_orbits_stars(r->orbits);
    e.truth = r->truth->data + 3 * skip;
    e.truth_error = r->truth_error ? r->truth_error->data + 3 * skip : NULL;
    e.angles = r->angles ? r->angles->data + 3 * skip * e.angle_stars : NULL;
    e.error = (double *)cli_allocate(4 * n, sizeof *e.error);
    e.angle = (double *)cli_allocate(4 * n * r->stars, sizeof *e.angle);
    actions_score_all(r, &e);
    actions_print_score(r, &e);
    free(e.error);
    free(e.angle);
}

/* ---- the command ---- */

static void actions_say(const actions_run *r) {
    size_t n = r->streams * r->stars, i, failed = 0, stars = 0;
    for (i = 0; i < n; i++) {
        if (!isfinite(r->xv[6 * i])) continue;
        stars++;
        failed += isfinite(r->j[3 * i]) ? 0u : 1u;
    }
    printf("%lu stars of %lu streams: %lu have no regular orbit in this field\n",
           (unsigned long)stars, (unsigned long)r->streams, (unsigned long)failed);
}

static int actions_run_all(af_context *c, const actions_options *o, const char *const path[2]) {
    af_mass_model *m = NULL;
    af_orbits *orbits = NULL;
    actions_run r;
    int code;
    memset(&r, 0, sizeof r);
    if (af_mass_model_load(c, path[0], &m) != AF_OK) return cli_fail_library(c);
    if (!af_mass_model_is_axisymmetric(m)) {
        af_mass_model_destroy(m);
        return cli_fail("'%s' is a triaxial field; actions are computed in axisymmetric ones alone",
                        path[0]);
    }
    code = cli_read_orbits(c, path[1], &o->observed, 0, &orbits);
    if (code == CLI_OK && o->skip >= af_orbits_streams(orbits))
        code = cli_fail("--skip %lu leaves none of the %lu streams of '%s'", (unsigned long)o->skip,
                        (unsigned long)af_orbits_streams(orbits), path[1]);
    if (code == CLI_OK) {
        r.o = o;
        r.orbits = orbits;
        r.streams = af_orbits_streams(orbits) - o->skip;
        r.stars = af_orbits_stars(orbits);
        if (o->stars && o->stars < r.stars) r.stars = o->stars;
        actions_allocate(&r);
        code = actions_read_truth(c, &r);
        if (code == CLI_OK) code = actions_compute(c, &r, m);
        if (code == CLI_OK) actions_say(&r);
        if (code == CLI_OK && o->output)
            code = cli_ends_with(o->output, ".csv") ? actions_csv(c, &r) : actions_npy(c, &r);
        if (code == CLI_OK && o->output) printf("wrote %s\n", o->output);
        if (code == CLI_OK && o->truth) actions_check(&r);
        free(r.xv);
        free(r.flags);
        af_array_destroy(r.truth);
        af_array_destroy(r.truth_error);
        af_array_destroy(r.angles);
    }
    af_orbits_destroy(orbits);
    af_mass_model_destroy(m);
    return code;
}

static int actions_options_check(const actions_options *o, const char *const path[2]) {
    int code;
    if (!o->output && !o->truth)
        return cli_usage("field actions", "-o OUT.npy, -o OUT.csv or --truth J.npy is missing");
    if (!o->truth && (o->truth_error || o->angles))
        return cli_usage("field actions", "--truth-error and --angles need --truth");
    if ((o->truth_error != NULL) != (o->max_error > 0.0))
        return cli_usage("field actions", "--truth-error and --max-error come together");
    if (o->output && (code = cli_check_table("field actions", o->output)) >= 0) return code;
    return cli_check_output(o->output, path, 2);
}

int cli_field_actions(const cli_command *command, int count, char **words) {
    actions_options o;
    const cli_option options[] = {
        {"o", CLI_TEXT, &o.output, "FILE", "OUT.npy or OUT.csv"},
        {"stars", CLI_COUNT, &o.stars, "N", "the first N stars of each stream; default: all"},
        {"skip", CLI_COUNT, &o.skip, "N", "leaves out the first N streams"},
        {"truth", CLI_TEXT, &o.truth, "J.npy", "true actions (S,3): prints the errors"},
        {"truth-error", CLI_TEXT, &o.truth_error, "E.npy", "errors of the truth (S,3)"},
        {"max-error", CLI_NUMBER, &o.max_error, "X",
         "only streams whose truth is good to X count [km/s kpc]"},
        {"angles", CLI_TEXT, &o.angles, "A.npy", "true angles (S,N,3)"},
        CLI_SKY_OPTIONS(o.sky),
        {"threads", CLI_COUNT, &o.threads, "N", "default: all cores"},
    };
    const char *path[2];
    af_context *c;
    int code;
    memset(&o, 0, sizeof o);
    code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    if (code < 0) code = cli_sky_desc("field actions", &o.sky, &o.observed);
    if (code >= 0) return code;
    if ((code = actions_options_check(&o, path)) != CLI_OK) return code;
    if ((code = cli_context(o.threads, &c)) != CLI_OK) return code;
    code = actions_run_all(c, &o, path);
    af_context_destroy(c);
    return code;
}
