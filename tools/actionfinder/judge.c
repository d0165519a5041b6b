/* actionfinder judge: which streams and stars a model does not fit, without knowing the truth. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct judge_options {
    const char *train, *output, *stars, *labels, *field;
    double false_alarm, positive, chaos;
    size_t trained, neighbours, skip, threads;
    cli_sky sky;
    af_observed_desc observed;
} judge_options;

typedef struct judge_run {
    judge_options o;
    const af_orbits *orbits;
    size_t streams, width; /* width: stars of the largest stream */
    size_t held_back;
    af_stream_quality *stream; /* (S) */
    af_star_quality *star;     /* (S,N) */
    af_chaos *chaos;           /* (S), or NULL: not asked for */
    unsigned *chaos_flags;     /* (S) */
    double centre;             /* the smallest distance of a reference star from the centre */
    double auc[16];            /* of each score; NaN without labels */
} judge_run;

/* ---- files ---- */

enum { JUDGE_STREAM_COLUMNS = 18, JUDGE_CHAOS_COLUMNS = 7, JUDGE_STAR_COLUMNS = 14 };

static void judge_stream_row(const judge_run *r, size_t s, double *row) {
    const af_stream_quality *q = r->stream + s;
    row[0] = af_orbits_id(r->orbits, s);
    memcpy(row + 1, q->j, sizeof q->j);
    row[4] = q->spread;
    row[5] = q->relative;
    row[6] = q->typical;
    row[7] = q->ratio;
    row[8] = q->rank;
    row[9] = q->distance;
    row[10] = q->distance_rank;
    row[11] = q->toy_spread;
    row[12] = q->toy_typical;
    row[13] = (double)q->stars;
    row[14] = (double)q->unbound;
    row[15] = (double)q->unconverged;
    row[16] = q->flags & AF_STREAM_MISFIT ? 1.0 : 0.0;
    row[17] = q->flags & AF_STAR_OUTSIDE ? 1.0 : 0.0;
    if (!r->chaos) return;
    row += JUDGE_STREAM_COLUMNS;
    row[0] = r->chaos[s].score;
    row[1] = r->chaos[s].megno;
    row[2] = r->chaos[s].drift;
    row[3] = r->chaos[s].lyapunov;
    row[4] = r->chaos[s].period;
    row[5] = r->chaos[s].nearest;
    row[6] = q->flags & AF_STREAM_CHAOTIC ? 1.0 : 0.0;
}

static void judge_star_row(const judge_run *r, size_t s, size_t i, double *row) {
    const af_star_quality *q = r->star + s * r->width + i;
    row[0] = af_orbits_id(r->orbits, s);
    memcpy(row + 1, q->j, sizeof q->j);
    memcpy(row + 4, q->deviation, sizeof q->deviation);
    row[7] = q->relative;
    row[8] = q->rank;
    row[9] = q->distance;
    row[10] = q->distance_rank;
    row[11] = q->flags & AF_STAR_APART ? 1.0 : 0.0;
    row[12] = q->flags & AF_STAR_OUTSIDE ? 1.0 : 0.0;
    row[13] = q->flags & AF_STAR_UNCONVERGED ? 1.0 : 0.0;
}

static af_status judge_write(af_context *c, const char *path, const char *const *name,
                             size_t columns, size_t rows, const double *data) {
    af_table *t;
    size_t k;
    af_status status = af_table_create(c, &t);
    if (status == AF_OK)
        status = af_table_comment(t, "J, deviation, spread [km/s kpc], period [Gyr], nearest "
                                     "[kpc]; the others have no unit");
    for (k = 0; k < columns && status == AF_OK; k++)
        status = af_table_add(t, name[k], rows, data + k, columns);
    if (status == AF_OK) status = af_table_write(t, path);
    af_table_destroy(t);
    return status;
}

static af_status judge_write_streams(af_context *c, const judge_run *r, const char *path) {
    static const char *const name[JUDGE_STREAM_COLUMNS + JUDGE_CHAOS_COLUMNS] = {
        "stream", "J_phi",    "J_z",           "J_r",        "spread",      "relative",
        "typical", "ratio",   "rank",          "distance",   "distance_rank", "toy_spread",
        "toy_typical", "stars", "unbound",     "unconverged", "misfit",     "outside",
        "chaos",  "megno",    "drift",         "lyapunov",   "period",      "nearest",
        "chaotic"};
    size_t columns = JUDGE_STREAM_COLUMNS + (r->chaos ? JUDGE_CHAOS_COLUMNS : 0), s;
    double *data = (double *)cli_allocate(r->streams * columns, sizeof *data);
    af_status status;
    for (s = 0; s < r->streams; s++) judge_stream_row(r, s, data + columns * s);
    status = judge_write(c, path, name, columns, r->streams, data);
    free(data);
    return status;
}

/* One row a star, in the order of the input. */
static af_status judge_write_stars(af_context *c, const judge_run *r, const char *path) {
    static const char *const name[JUDGE_STAR_COLUMNS] = {
        "stream",       "J_phi",    "J_z",  "J_r",      "deviation_phi", "deviation_z",
        "deviation_r",  "relative", "rank", "distance", "distance_rank", "apart",
        "outside",      "unconverged"};
    double *data =
        (double *)cli_allocate(r->streams * r->width * JUDGE_STAR_COLUMNS, sizeof *data);
    size_t s, i, rows = 0;
    af_status status;
    for (s = 0; s < r->streams; s++)
        for (i = 0; i < af_orbits_count(r->orbits, s); i++, rows++)
            judge_star_row(r, s, i, data + JUDGE_STAR_COLUMNS * af_orbits_row(r->orbits, s, i));
    status = judge_write(c, path, name, JUDGE_STAR_COLUMNS, rows, data);
    free(data);
    return status;
}

/* ---- the summary ---- */

/* Values of all streams that count, and how a large one is read. */
typedef double (*judge_value)(const af_stream_quality *q);

static double judge_spread(const af_stream_quality *q) { return q->spread; }
static double judge_relative(const af_stream_quality *q) { return q->relative; }
static double judge_typical(const af_stream_quality *q) { return q->typical; }
static double judge_ratio(const af_stream_quality *q) { return q->ratio; }
static double judge_distance(const af_stream_quality *q) { return q->distance; }
static double judge_toy_typical(const af_stream_quality *q) { return q->toy_typical; }
static double judge_j_r(const af_stream_quality *q) { return q->j[2]; }
static double judge_toy_spread(const af_stream_quality *q) { return q->toy_spread; }
static double judge_toy_j_r(const af_stream_quality *q) { return q->toy_j[2]; }
static double judge_toy_l_z(const af_stream_quality *q) { return -fabs(q->toy_j[0]); }

typedef struct judge_score {
    const char *name, *title;
    judge_value value;
} judge_score;

static const judge_score JUDGE_SCORES[] = {
    {"spread", "spread of J [km/s kpc]", judge_spread},
    {"relative", "relative spread", judge_relative},
    {"typical", "relative spread of neighbours", judge_typical},
    {"ratio", "ratio of the two", judge_ratio},
    {"distance", "distance from the reference", judge_distance},
    {"toy_typical", "toy's spread of neighbours", judge_toy_typical},
    {"j_r", "J_r", judge_j_r},
    {"toy_spread", "toy alone: spread", judge_toy_spread},
    {"toy_j_r", "toy alone: J_r", judge_toy_j_r},
    {"toy_l_z", "toy alone: -|L_z|", judge_toy_l_z}};
enum { JUDGE_SCORE_COUNT = sizeof JUDGE_SCORES / sizeof *JUDGE_SCORES, JUDGE_SHOWN = 5 };

/* Those that come after, where orbits were followed. */
static const char *const JUDGE_CHAOS_NAMES[] = {"chaos", "megno", "drift", "lyapunov"};
static const char *const JUDGE_CHAOS_TITLES[] = {"chaos of the orbit", "its MEGNO",
                                                 "its frequency drift", "its Lyapunov exponent"};
enum { JUDGE_CHAOS_COUNT = 4 };

static size_t judge_score_count(const judge_run *r) {
    return JUDGE_SCORE_COUNT + (r->chaos ? (size_t)JUDGE_CHAOS_COUNT : 0);
}

static double judge_score_of(const judge_run *r, size_t k, size_t s) {
    if (k < JUDGE_SCORE_COUNT) return JUDGE_SCORES[k].value(r->stream + s);
    switch (k - JUDGE_SCORE_COUNT) {
    case 0: return r->chaos[s].score;
    case 1: return r->chaos[s].megno;
    case 2: return r->chaos[s].drift;
    default: return r->chaos[s].lyapunov;
    }
}

static const char *judge_score_title(size_t k) {
    return k < JUDGE_SCORE_COUNT ? JUDGE_SCORES[k].title
                                 : JUDGE_CHAOS_TITLES[k - JUDGE_SCORE_COUNT];
}

static const char *judge_score_name(size_t k) {
    return k < JUDGE_SCORE_COUNT ? JUDGE_SCORES[k].name : JUDGE_CHAOS_NAMES[k - JUDGE_SCORE_COUNT];
}

static int judge_order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void judge_quantiles(const judge_run *r) {
    static const double part[3] = {0.5, 0.9, 0.99};
    double *value = (double *)cli_allocate(r->streams, sizeof *value);
    size_t k, s, i, n;
    printf("\n%-32s%12s%12s%12s\n", "streams", "median", "90 %", "99 %");
    for (k = 0; k < JUDGE_SHOWN; k++) {
        for (s = r->o.skip, n = 0; s < r->streams; s++) {
            double x = JUDGE_SCORES[k].value(r->stream + s);
            if (isfinite(x)) value[n++] = x;
        }
        qsort(value, n, sizeof *value, judge_order);
        printf("  %-30s", JUDGE_SCORES[k].title);
        for (i = 0; i < 3; i++)
            printf("%12.4g", n ? value[(size_t)(part[i] * (double)(n - 1) + 0.5)] : NAN);
        printf("\n");
    }
    free(value);
}

typedef struct judge_counts {
    size_t streams, stars, unbound, unconverged, misfit, outside, apart, star_outside;
    size_t chaotic, lost, inside; /* inside: nearer to the centre than stars of the reference */
} judge_counts;

static judge_counts judge_count(const judge_run *r) {
    judge_counts n;
    size_t s, i;
    memset(&n, 0, sizeof n);
    for (s = r->o.skip; s < r->streams; s++) {
        const af_stream_quality *q = r->stream + s;
        n.streams++;
        n.stars += q->stars;
        n.unbound += q->unbound;
        n.unconverged += q->unconverged;
        n.misfit += q->flags & AF_STREAM_MISFIT ? 1u : 0u;
        n.outside += q->flags & AF_STAR_OUTSIDE ? 1u : 0u;
        n.chaotic += q->flags & AF_STREAM_CHAOTIC ? 1u : 0u;
        n.lost += r->chaos && isnan(r->chaos[s].score) ? 1u : 0u;
        n.inside += r->chaos && r->chaos[s].nearest < r->centre ? 1u : 0u;
        for (i = 0; i < q->stars; i++) {
            unsigned flags = r->star[s * r->width + i].flags;
            n.apart += flags & AF_STAR_APART ? 1u : 0u;
            n.star_outside += flags & AF_STAR_OUTSIDE ? 1u : 0u;
        }
    }
    return n;
}

static double judge_part(size_t flagged, size_t all) {
    return all ? (double)flagged / (double)all : 0.0;
}

static void judge_line(const char *what, size_t flagged, size_t all) {
    printf("  %-54s%8lu of %lu, %.1f %%\n", what, (unsigned long)flagged, (unsigned long)all,
           100.0 * judge_part(flagged, all));
}

static void judge_summary(const judge_run *r) {
    judge_counts n = judge_count(r);
    double rate = 100.0 * r->o.false_alarm;
    printf("%lu streams, %lu stars: %lu are not bound in the toy, %lu did not converge\n",
           (unsigned long)n.streams, (unsigned long)n.stars, (unsigned long)n.unbound,
           (unsigned long)n.unconverged);
    judge_quantiles(r);
    printf("\nflagged, where %g %% of a sample like the reference would be\n", rate);
    judge_line("streams that spread more than their like (misfit)", n.misfit, n.streams);
    judge_line("streams unlike any in the reference (outside)", n.outside, n.streams);
    judge_line("stars that disagree with their stream (apart)", n.apart, n.stars);
    judge_line("stars unlike any in the reference (outside)", n.star_outside, n.stars);
    if (r->chaos) {
        printf("by orbits in the field of their energies, %g periods of each\n", r->o.chaos);
        judge_line("streams whose orbit is chaotic there (chaotic)", n.chaotic, n.streams);
        judge_line("streams whose orbit goes nearer to the centre than stars", n.inside,
                   n.streams);
        if (n.lost) judge_line("streams whose orbit cannot be followed", n.lost, n.streams);
    }
    if ((double)(r->held_back + 1) * r->o.false_alarm < 1.0)
        printf("No stream can be a misfit: only %lu of the reference were held back from training, "
               "too few for %g %%\n",
               (unsigned long)r->held_back, rate);
}

static void judge_figures(const judge_run *r) {
    judge_counts n = judge_count(r);
    size_t k;
    printf("\nFIGURE streams %lu\nFIGURE held_back %lu\n", (unsigned long)n.streams,
           (unsigned long)r->held_back);
    printf("FIGURE flagged_misfit %.6g\n", judge_part(n.misfit, n.streams));
    printf("FIGURE flagged_outside %.6g\n", judge_part(n.outside, n.streams));
    printf("FIGURE flagged_apart %.6g\n", judge_part(n.apart, n.stars));
    printf("FIGURE flagged_star_outside %.6g\n", judge_part(n.star_outside, n.stars));
    if (r->chaos)
        printf("FIGURE flagged_chaotic %.6g\nFIGURE chaos_inside %.6g\nFIGURE chaos_lost %.6g\n",
               judge_part(n.chaotic, n.streams), judge_part(n.inside, n.streams),
               judge_part(n.lost, n.streams));
    for (k = 0; k < judge_score_count(r) && r->o.labels; k++)
        printf("FIGURE auc_%s %.6g\n", judge_score_name(k), r->auc[k]);
}

/* ---- labels ---- */

static int judge_labels(af_context *c, judge_run *r) {
    af_array *a = NULL;
    double *label, *score;
    size_t s, k, wide, positives = 0, n = r->streams - r->o.skip;
    int code = CLI_OK;
    if (af_npy_read(c, r->o.labels, &a) != AF_OK) return cli_fail_library(c);
    if (a->rank < 1 || a->rank > 2 || a->dims[0] != r->streams || (a->rank == 2 && !a->dims[1])) {
        code = cli_fail("'%s' must have a row for each of the %lu streams", r->o.labels,
                        (unsigned long)r->streams);
        af_array_destroy(a);
        return code;
    }
    label = (double *)cli_allocate(n, sizeof *label);
    score = (double *)cli_allocate(n, sizeof *score);
    wide = a->rank == 2 ? a->dims[1] : 1;
    for (s = 0; s < n; s++) {
        double x = a->data[(s + r->o.skip) * wide];
        if (r->o.positive > 0.0 && isfinite(x)) x = fabs(x - r->o.positive) < 1e-9;
        label[s] = x;
        positives += x > 0.0 ? 1u : 0u;
    }
    printf("\n%lu of %lu streams are positive; area under the ROC curve of\n",
           (unsigned long)positives, (unsigned long)n);
    for (k = 0; k < judge_score_count(r) && code == CLI_OK; k++) {
        for (s = 0; s < n; s++) score[s] = judge_score_of(r, k, s + r->o.skip);
        if (af_roc_auc(c, n, score, label, &r->auc[k]) != AF_OK)
            code = cli_fail_library(c);
        else
            printf("  %-30s%12.3f\n", judge_score_title(k), r->auc[k]);
    }
    free(label);
    free(score);
    af_array_destroy(a);
    return code;
}

/* ---- chaos ---- */

/* The field of the reference's streams that the finder was trained on; it goes by their energies
 * alone. */
static int judge_field(af_context *c, const judge_run *r, const af_orbits *reference,
                       af_mass_model **out) {
    size_t all = af_orbits_streams(reference);
    size_t trained = r->o.trained ? r->o.trained : all - all / 8;
    af_orbits *part = NULL;
    af_status status;
    if (r->o.field) {
        status = af_mass_model_load(c, r->o.field, out);
    } else {
        status = af_orbits_part(c, reference, 0, trained < all ? trained : all, &part);
        if (status == AF_OK) status = af_mass_model_fit(c, part, NULL, out);
        af_orbits_destroy(part);
    }
    if (status != AF_OK) return cli_fail_library(c);
    printf("field of %s%s: misfit of its energies %.3g\n",
           af_mass_model_is_axisymmetric(*out) ? "discs" : "ellipsoids",
           r->o.field ? "" : ", fitted to the streams that were trained on",
           af_mass_model_misfit(*out));
    if (af_mass_model_misfit(*out) > 1e-3)
        printf("that is large: chaos in this field need not be chaos of the stars\n");
    return CLI_OK;
}

static double judge_centre(const af_orbits *o) {
    double least = HUGE_VAL;
    size_t s, i;
    for (s = 0; s < af_orbits_streams(o); s++)
        for (i = 0; i < af_orbits_count(o, s); i++) {
            const double *x = af_orbits_xv(o, s) + 6 * i;
            least = fmin(least, sqrt(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]));
        }
    return least;
}

/* Follows the first star of each stream. */
static int judge_chaos(af_context *c, judge_run *r, const af_orbits *reference) {
    enum { BLOCK = 64 }; /* streams between two lines of progress */
    double *xv = (double *)cli_allocate(6 * r->streams, sizeof *xv);
    af_mass_model *m = NULL;
    af_chaos_desc d;
    size_t s, count;
    int code = judge_field(c, r, reference, &m);
    memset(&d, 0, sizeof d);
    d.periods = r->o.chaos;
    r->centre = judge_centre(reference);
    r->chaos = (af_chaos *)cli_allocate(r->streams, sizeof *r->chaos);
    r->chaos_flags = (unsigned *)cli_allocate(r->streams, sizeof *r->chaos_flags);
    for (s = 0; s < r->streams; s++)
        memcpy(xv + 6 * s, af_orbits_xv(r->orbits, s), 6 * sizeof *xv);
    for (s = 0; s < r->streams && code == CLI_OK; s += count) {
        count = r->streams - s < BLOCK ? r->streams - s : BLOCK;
        cli_progress("follows the orbits of streams", s, r->streams);
        if (af_orbit_chaos_of(c, af_force_of_mass_model(m), count, xv + 6 * s, &d, r->chaos + s,
                              r->chaos_flags + s) != AF_OK)
            code = cli_fail_library(c);
    }
    cli_progress("", r->streams, r->streams);
    for (s = 0; s < r->streams && code == CLI_OK; s++)
        r->stream[s].flags |= r->chaos_flags[s] & AF_STREAM_CHAOTIC;
    af_mass_model_destroy(m);
    free(xv);
    return code;
}

/* ---- the command ---- */

static int judge_all(af_context *c, judge_run *r, const af_finder *f, const af_orbits *reference) {
    af_quality_desc d;
    af_quality *q = NULL;
    int code = CLI_OK;
    memset(&d, 0, sizeof d);
    d.trained = r->o.trained;
    d.neighbours = r->o.neighbours;
    d.false_alarm = r->o.false_alarm;
    d.threads = (int)r->o.threads;
    r->streams = af_orbits_streams(r->orbits);
    r->width = af_orbits_stars(r->orbits);
    if (r->o.skip >= r->streams)
        return cli_fail("--skip %lu leaves none of the %lu streams", (unsigned long)r->o.skip,
                        (unsigned long)r->streams);
    r->stream = (af_stream_quality *)cli_allocate(r->streams, sizeof *r->stream);
    r->star = (af_star_quality *)cli_allocate(r->streams * r->width, sizeof *r->star);
    if (af_quality_create(f, reference, &d, &q) != AF_OK ||
        af_quality_judge(q, r->orbits, r->stream, r->star) != AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK && r->o.chaos > 0.0) code = judge_chaos(c, r, reference);
    if (code == CLI_OK) {
        r->held_back = af_quality_held_back(q);
        judge_summary(r);
        if (r->o.labels) code = judge_labels(c, r);
        if (code == CLI_OK) judge_figures(r);
    }
    if (code == CLI_OK && r->o.output && judge_write_streams(c, r, r->o.output) != AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK && r->o.stars && judge_write_stars(c, r, r->o.stars) != AF_OK)
        code = cli_fail_library(c);
    af_quality_destroy(q);
    free(r->stream);
    free(r->star);
    free(r->chaos);
    free(r->chaos_flags);
    return code;
}

static int judge_files(af_context *c, judge_run *r, const char *const path[2]) {
    af_finder *f = NULL;
    af_orbits *o = NULL, *reference = NULL;
    int code = CLI_OK;
    if (af_finder_load(c, path[0], &f) != AF_OK)
        code = cli_fail_model(c, path[0]);
    else
        code = cli_read_orbits(c, path[1], &r->o.observed, 0, &o);
    if (code == CLI_OK && r->o.train)
        code = cli_read_orbits(c, r->o.train, &r->o.observed, 1, &reference);
    if (code == CLI_OK) {
        r->orbits = o;
        code = judge_all(c, r, f, reference ? reference : o);
    }
    af_orbits_destroy(reference);
    af_orbits_destroy(o);
    af_finder_destroy(f);
    return code;
}

int cli_judge(const cli_command *command, int count, char **words) {
    judge_run r;
    const char *path[3], *outputs[2];
    af_context *c;
    int code;
    memset(&r, 0, sizeof r);
    {
        const cli_option options[] = {
            {"train", CLI_TEXT, &r.o.train, "ORBITS",
             "what the model was trained on; default: ORBITS themselves"},
            {"trained", CLI_COUNT, &r.o.trained, "N",
             "its first N streams, as in fit --streams; default 7/8"},
            {"o", CLI_TEXT, &r.o.output, "FILE.csv", "a row for each stream"},
            {"stars", CLI_TEXT, &r.o.stars, "FILE.csv", "a row for each star"},
            {"false-alarm", CLI_NUMBER, &r.o.false_alarm, "P",
             "fraction of good streams that a flag may hit; default 0.02"},
            {"neighbours", CLI_COUNT, &r.o.neighbours, "K",
             "streams that one is compared with; default 64"},
            {"labels", CLI_TEXT, &r.o.labels, "L.npy",
             "what is known (S) or (S,k), the first column; > 0 is positive"},
            {"chaos", CLI_NUMBER, &r.o.chaos, "PERIODS",
             "follows the first star of each stream for so long, 20 or more, in a field"},
            {"field", CLI_TEXT, &r.o.field, "FIELD",
             "of `actionfinder field fit`; default: one fitted to the streams trained on"},
            {"positive", CLI_NUMBER, &r.o.positive, "X",
             "the label that is positive, and no other"},
            {"skip", CLI_SEED, &r.o.skip, "N", "leaves the first N streams out of the summary"},
            CLI_SKY_OPTIONS(r.o.sky),
            {"threads", CLI_COUNT, &r.o.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 2);
    }
    if (code < 0) code = cli_sky_desc("judge", &r.o.sky, &r.o.observed);
    if (code >= 0) return code;
    if (r.o.positive > 0.0 && !r.o.labels)
        return cli_usage("judge", "--positive needs --labels L.npy, to look it up in");
    if (r.o.chaos > 0.0 && !(r.o.chaos >= 20.0 && r.o.chaos <= 1e5))
        return cli_usage("judge", "--chaos %g: between 20 and 100000 periods", r.o.chaos);
    if (r.o.field && !(r.o.chaos > 0.0))
        return cli_usage("judge", "--field needs --chaos PERIODS: how long orbits are followed");
    if (!(r.o.false_alarm > 0.0)) r.o.false_alarm = 0.02;
    if ((code = cli_check_ending("judge", r.o.output, ".csv")) >= 0 ||
        (code = cli_check_ending("judge", r.o.stars, ".csv")) >= 0)
        return code;
    outputs[0] = r.o.output;
    outputs[1] = r.o.stars;
    path[2] = r.o.train;
    if ((code = cli_check_outputs(outputs, 2, path, 3)) != CLI_OK) return code;
    if ((code = cli_context(r.o.threads, &c)) != CLI_OK) return code;
    code = judge_files(c, &r, path);
    af_context_destroy(c);
    return code;
}
