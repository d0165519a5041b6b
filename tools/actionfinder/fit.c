/* actionfinder fit: trains a model. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L
#endif
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct fit_options {
    const char *output, *checkpoint, *history, *axisymmetric, *generator, *loss, *harmonics;
    const char *extend;
    size_t streams, epochs, seed, batch, width, depth, threads, checkpoint_every, ensemble;
    size_t paper_width;
    double seconds, rate, toy_mass, toy_scale;
    int free_toy, point, resume, bootstrap, quiet, paper, longer; /* longer: FIT_EXTEND_... */
    int skip_incomplete;
    cli_sky sky;
    af_observed_desc observed;
} fit_options;

enum { FIT_EXTEND_AUTO, FIT_EXTEND_YES, FIT_EXTEND_NO };
enum {
    FIT_LONGER_EPOCHS = 400, /* passes over longer orbits, which are many */
    FIT_LONGER_STEPS = 40,   /* shears: all of them in each step */
    FIT_LONGER_SHEARS = 2048,
    FIT_FREQUENCIES = 1024 /* streams that H(J) is learned from */
};
enum { FIT_COLUMNS = 5 }; /* of the history: epoch, loss, validation, rate, seconds */

typedef struct fit_run {
    fit_options o;
    double start, last_line, epoch_seconds;
    size_t done, line_epoch; /* epochs done; the last that a line told of */
    size_t first;            /* epochs that were done before this run began */
    int on_terminal, line_open;
    double validation; /* the latest */
    af_progress last;
    double *history; /* (rows, FIT_COLUMNS) */
    size_t rows, room;
} fit_run;

/* What a fit with --seconds gets when all of them went into longer orbits. */
static const double FIT_LEAST_SECONDS = 1.0;

/* ---- options ---- */

static int fit_harmonics(const char *text, af_finder_desc *d) {
    unsigned r, z, phi;
    char rest;
    if (!text) return -1;
    if (strchr(text, '-') || sscanf(text, "%u,%u,%u%c", &r, &z, &phi, &rest) != 3 || r < 1 ||
        z < 1 || phi < 1)
        return cli_usage(
            "fit", "--harmonics takes three whole numbers from 1 on, like 12,8,3, not '%s'", text);
    d->harmonics_r = r;
    d->harmonics_z = z;
    d->harmonics_phi = phi;
    return -1;
}

static void fit_paper_net(const fit_options *o, size_t depth, af_net_desc *net) {
    memset(net, 0, sizeof *net);
    net->architecture = AF_RESDENSE;
    net->activation = AF_RELU;
    net->depth = depth;
    net->max_width = o->paper_width;
    net->weight_norm = 1;
    net->dropout = 0.5;
}

/* The model and the training of Ibata et al. (2021), sections 3 and 6: J' is held during a step.
 * It starts at the identity, where theirs starts at random. Other options go before. */
static void fit_paper(fit_options *o, af_finder_desc *d) {
    d->generator = AF_GENERATOR_NETWORK;
    d->spread = AF_SPREAD_ABSOLUTE;
    d->hold_actions = 1;
    d->point_transformation = 1;
    d->free_toy = d->toy.mass > 0.0 ? d->free_toy : 1;
    fit_paper_net(o, 7, &d->net);
    fit_paper_net(o, 5, &d->point_net);
    if (!o->rate) o->rate = 1e-4;
    if (!o->epochs) o->epochs = 1024;
    if (!o->batch) o->batch = 512;
    if (!o->extend) o->longer = FIT_EXTEND_NO;
}

static int fit_finder_desc(fit_options *o, af_finder_desc *d) {
    static const char *const symmetry[3] = {"auto", "yes", "no"};
    static const char *const generator[3] = {"fourier", "network", "shears"};
    static const char *const loss[2] = {"robust", "absolute"};
    int word, code;
    memset(d, 0, sizeof *d);
    code = cli_word("fit", "axisymmetric", o->axisymmetric, symmetry, 3, &word);
    if (code >= 0) return code;
    d->axisymmetric = (af_symmetry)word;
    if ((code = cli_word("fit", "generator", o->generator, generator, 3, &word)) >= 0) return code;
    d->generator = (af_generator_kind)word;
    if ((code = cli_word("fit", "loss", o->loss, loss, 2, &word)) >= 0) return code;
    d->spread = (af_spread_kind)word;
    code = cli_word("fit", "extend", o->extend, symmetry, 3, &o->longer);
    if (code >= 0) return code;
    if ((code = fit_harmonics(o->harmonics, d)) >= 0) return code;
    if ((o->toy_mass > 0.0) != (o->toy_scale > 0.0))
        return cli_usage("fit", "--toy-mass and --toy-scale come together");
    if (o->resume && !o->checkpoint) return cli_usage("fit", "--resume needs --checkpoint FILE");
    if (!o->output)
        return cli_usage("fit", "-o MODEL.safetensors is missing: where the model goes");
    d->toy.mass = o->toy_mass;
    d->toy.scale = o->toy_scale;
    d->free_toy = o->free_toy;
    d->point_transformation = o->point;
    *(d->generator == AF_GENERATOR_SHEARS ? &d->width : &d->net.width) = o->width;
    *(d->generator == AF_GENERATOR_SHEARS ? &d->layers : &d->net.depth) = o->depth;
    d->seed = o->seed;
    if (o->paper) fit_paper(o, d);
    return -1;
}

/* ---- progress ---- */

/* What the clock says; the library takes the larger of this and the epochs'. */
static double fit_fraction(size_t epoch, void *user) {
    const fit_run *r = (const fit_run *)user;
    double ahead = epoch > r->done ? r->epoch_seconds : 0.0; /* where the coming epoch will end */
    if (!(r->o.seconds > 0.0)) return 0.0;
    return (cli_clock() - r->start + ahead) / r->o.seconds;
}

static void fit_remember(fit_run *r, const af_progress *p, double seconds) {
    double *row;
    if (!r->o.history) return;
    if (r->rows == r->room) {
        double *larger = (double *)cli_allocate(2 * r->room + 1024, FIT_COLUMNS * sizeof *larger);
        if (r->rows) memcpy(larger, r->history, r->rows * FIT_COLUMNS * sizeof *larger);
        free(r->history);
        r->history = larger;
        r->room = 2 * r->room + 1024;
    }
    row = r->history + FIT_COLUMNS * r->rows++;
    row[0] = (double)p->epoch;
    row[1] = p->loss;
    row[2] = p->validation;
    row[3] = p->rate;
    row[4] = seconds;
}

static void fit_line(fit_run *r, const af_progress *p, double seconds) {
    double left = r->epoch_seconds * (double)(p->epochs - p->epoch);
    if (r->o.seconds > 0.0 && r->o.seconds - seconds < left) left = r->o.seconds - seconds;
    if (left < 0.0) left = 0.0;
    printf("%sepoch %6lu  loss %.5f  validation %.5f  best %.5f (epoch %lu)  "
           "rate %.1e  %lu:%02lu left%s",
           r->on_terminal ? "\r" : "", (unsigned long)p->epoch, p->loss, r->validation,
           p->best_validation, (unsigned long)p->best_epoch, p->rate, (unsigned long)left / 60,
           (unsigned long)left % 60, r->on_terminal ? "\033[K" : "\n");
    fflush(stdout);
    r->line_open = r->on_terminal;
    r->line_epoch = p->epoch;
}

static int fit_progress(const af_progress *p, void *user) {
    fit_run *r = (fit_run *)user;
    double now = cli_clock(), seconds = now - r->start;
    if (r->done == 0) r->first = p->epoch - 1;
    r->done = p->epoch;
    r->epoch_seconds = seconds / (double)(p->epoch - r->first);
    if (isfinite(p->validation)) r->validation = p->validation;
    r->last = *p;
    fit_remember(r, p, seconds);
    if (!r->o.quiet && now - r->last_line >= cli_line_interval(r->on_terminal)) {
        fit_line(r, p, seconds);
        r->last_line = now;
    }
    return cli_stopped();
}

/* ---- before and after ---- */

/* Median over the streams from `first` on of the spread of each action. */
static int fit_spread(af_context *c, const af_finder *f, const af_orbits *o, size_t first,
                      cli_way way, int threads, double median[3]) {
    size_t n = af_orbits_streams(o) - first, s, k;
    double *values, spread[3];
    af_orbits *held;
    cli_map map;
    int code;
    if (af_orbits_part(c, o, first, n, &held) != AF_OK) return cli_fail_library(c);
    code = cli_map_make(c, f, held, way, threads, &map);
    af_orbits_destroy(held);
    if (code != CLI_OK) return code;
    values = (double *)cli_allocate(3 * n, sizeof *values);
    for (s = 0; s < n; s++) {
        cli_spread(&map, s, spread);
        for (k = 0; k < 3; k++) values[k * n + s] = spread[k];
    }
    for (k = 0; k < 3; k++) median[k] = cli_summarise(values + k * n, n).median;
    free(values);
    cli_map_free(&map);
    return CLI_OK;
}

/* Where the axis makes J_phi agree, the other two tell what was learned. */
static void fit_say_gain(const af_finder *f, const double before[3], const double after[3]) {
    double was = 0.0, is = 0.0;
    int k;
    for (k = af_finder_is_axisymmetric(f) ? 1 : 0; k < 3; k++) {
        was += before[k];
        is += after[k];
    }
    if (is < 0.9 * was) return;
    printf("that is hardly better than the toy: is each stream one orbit, in kpc and km/s? If so, "
           "try more --epochs, or a lower --rate\n");
}

static int fit_report(af_context *c, const fit_run *r, const af_finder *f, const af_orbits *o,
                      size_t train) {
    size_t first = train < af_orbits_streams(o) ? train : 0;
    double toy[3], found[3];
    af_isochrone iso = af_finder_toy(f);
    int code, threads = (int)r->o.threads;
    if (r->o.quiet) return CLI_OK;
    code = fit_spread(c, f, o, first, CLI_TOY, threads, toy);
    if (code == CLI_OK) code = fit_spread(c, f, o, first, CLI_SHARED, threads, found);
    if (code != CLI_OK) return code;
    printf("toy isochrone      M = %.5g Msun, b = %.4g kpc\n", iso.mass, iso.scale);
    printf("parameters         %lu, harmonics %lu, %s\n", (unsigned long)af_finder_parameters(f),
           (unsigned long)af_finder_harmonics(f),
           af_finder_is_axisymmetric(f) ? "axisymmetric" : "no axis of symmetry");
    printf("best epoch         %lu of %lu, validation %.5f\n", (unsigned long)r->last.best_epoch,
           (unsigned long)r->last.epoch, r->last.best_validation);
    printf("spread of actions within the %lu %s streams, median [km/s kpc]:\n",
           (unsigned long)(af_orbits_streams(o) - first), first ? "held-out" : "training");
    printf("                   %9s %9s %9s\n", "J_phi", "J_z", "J_r");
    printf("  before (toy)     %9.3f %9.3f %9.3f\n", toy[0], toy[1], toy[2]);
    printf("  after            %9.3f %9.3f %9.3f\n", found[0], found[1], found[2]);
    fit_say_gain(f, toy, found);
    return CLI_OK;
}

static int fit_write_history(af_context *c, const fit_run *r) {
    static const char *const name[FIT_COLUMNS] = {"epoch", "loss", "validation", "rate", "seconds"};
    af_table *t;
    size_t k;
    af_status s;
    if (!r->o.history) return CLI_OK;
    s = af_table_create(c, &t);
    for (k = 0; k < FIT_COLUMNS && s == AF_OK; k++)
        s = af_table_add(t, name[k], r->rows, r->history + k, FIT_COLUMNS);
    if (s == AF_OK) s = af_table_write(t, r->o.history);
    af_table_destroy(t);
    return s == AF_OK ? CLI_OK : cli_fail_library(c);
}

/* The library's sentence; where the orbits are to blame, behind their file's name. */
static int fit_fail(const af_context *c, af_status s, const char *path) {
    return s == AF_ERROR_DATA ? cli_fail("'%s': %s", path, af_error(c)) : cli_fail_library(c);
}

/* ---- longer orbits ---- */

/* Streams of both; stars that the shorter ones lack are told by their counts. */
static af_status fit_join(af_context *c, const af_orbits *a, const af_orbits *b, af_orbits **out) {
    const af_orbits *from[2];
    size_t stars = af_orbits_stars(a), streams = af_orbits_streams(a), k, s, row = 0, *count;
    double *xv;
    af_status status;
    from[0] = a;
    from[1] = b;
    if (af_orbits_stars(b) > stars) stars = af_orbits_stars(b);
    streams += af_orbits_streams(b);
    xv = (double *)cli_allocate(streams * stars * 6, sizeof *xv);
    count = (size_t *)cli_allocate(streams, sizeof *count);
    for (k = 0; k < 2; k++)
        for (s = 0; s < af_orbits_streams(from[k]); s++, row++) {
            count[row] = af_orbits_count(from[k], s);
            memcpy(xv + row * stars * 6, af_orbits_xv(from[k], s), count[row] * 6 * sizeof *xv);
        }
    status = af_orbits_create(c, streams, stars, xv, count, out);
    free(count);
    free(xv);
    return status;
}

/* Longer orbits like those given, in *out; NULL where they are not wanted, or cannot be made, which
 * is an error with --extend yes. */
static int fit_extend(af_context *c, const fit_run *r, const af_finder_desc *fd,
                      const af_orbits *o, const char *path, af_orbits **out) {
    af_extend_desc d;
    af_status s;
    *out = NULL;
    if (r->o.longer == FIT_EXTEND_NO) return CLI_OK;
    if (r->o.longer == FIT_EXTEND_AUTO && fd->axisymmetric == AF_SYMMETRY_NO) return CLI_OK;
    memset(&d, 0, sizeof d);
    d.seed = fd->seed;
    d.toy = fd->toy;
    d.threads = (int)r->o.threads;
    if (fd->generator == AF_GENERATOR_SHEARS && af_orbits_streams(o) < FIT_LONGER_SHEARS)
        d.streams = FIT_LONGER_SHEARS;
    d.misfit = r->o.longer == FIT_EXTEND_YES ? HUGE_VAL : 0.0;
    if (!r->o.quiet) cli_progress("makes longer orbits in the field that the energies tell", 0, 1);
    s = af_orbits_extend(c, o, NULL, &d, out);
    if (!r->o.quiet) cli_progress("", 1, 1);
    if (s == AF_ERROR_DATA && r->o.longer == FIT_EXTEND_AUTO) {
        if (!r->o.quiet) printf("no longer orbits are trained on: %s\n", af_error(c));
        af_error_clear(c);
        return CLI_OK;
    }
    if (s != AF_OK) return fit_fail(c, s, path);
    if (!r->o.quiet)
        printf("trains on %lu longer orbits, in the field that the energies tell\n",
               (unsigned long)af_orbits_streams(*out));
    return CLI_OK;
}

/* What to train on and to choose the toy by, when not the orbits themselves. */
typedef struct fit_data {
    af_orbits *part, *drawn, *longer, *joined;
    const af_orbits *train, *all;
    size_t count; /* streams of `train` to train on */
} fit_data;

static void fit_data_free(fit_data *d) {
    af_orbits_destroy(d->part);
    af_orbits_destroy(d->drawn);
    af_orbits_destroy(d->longer);
    af_orbits_destroy(d->joined);
}

static int fit_prepare(af_context *c, const fit_run *r, const af_finder_desc *fd,
                       const af_orbits *o, const char *path, fit_data *d) {
    size_t n = af_orbits_streams(o);
    int code;
    memset(d, 0, sizeof *d);
    d->all = d->train = o;
    d->count = r->o.streams ? r->o.streams : n - n / 8;
    if (r->o.bootstrap) {
        if (af_orbits_bootstrap(c, o, d->count, fd->seed, &d->drawn) != AF_OK)
            return cli_fail_library(c);
        d->train = d->drawn;
    }
    if (af_orbits_part(c, d->train, 0, d->count, &d->part) != AF_OK) return cli_fail_library(c);
    code = fit_extend(c, r, fd, d->part, path, &d->longer);
    if (code != CLI_OK || !d->longer) return code;
    if (fit_join(c, o, d->longer, &d->joined) != AF_OK) return cli_fail_library(c);
    d->all = d->joined;
    d->train = d->longer;
    n = af_orbits_streams(d->longer);
    d->count = n - n / 16;
    return CLI_OK;
}

/* ---- the fit ---- */

static void fit_desc(fit_run *r, size_t train, af_fit_desc *d) {
    memset(d, 0, sizeof *d);
    d->train = train;
    d->epochs = r->o.epochs;
    d->batch = r->o.batch;
    d->schedule.rate = r->o.rate;
    d->fraction = fit_fraction;
    d->progress = fit_progress;
    d->user = r;
    d->checkpoint = r->o.checkpoint;
    d->checkpoint_every = r->o.checkpoint_every;
    d->resume = r->o.resume;
}

/* Frequencies from the same energies; none where these do not agree. */
static af_status fit_frequencies(af_context *c, const fit_run *r, af_finder *f,
                                 const af_orbits *o) {
    size_t n = af_orbits_streams(o);
    af_orbits *some;
    af_status s = af_orbits_part(c, o, 0, n < FIT_FREQUENCIES ? n : FIT_FREQUENCIES, &some);
    if (s == AF_OK) s = af_finder_fit_frequencies(f, some, NULL, NULL);
    af_orbits_destroy(some);
    if (s == AF_ERROR_DATA) {
        af_error_clear(c);
        return AF_OK;
    }
    if (s == AF_OK && !r->o.quiet)
        printf("frequencies        from H(J), good to %.1e of Omega_r (|J_phi| + J_z + J_r)\n",
               af_finder_frequency_misfit(f));
    return s;
}

/* A toy that does not bind the stars is told at once: orbits would be followed for its periods. */
static af_status fit_try_toy(af_context *c, const af_finder_desc *fd, const af_orbits *o) {
    af_finder *f = NULL;
    af_status s = fd->toy.mass > 0.0 ? af_finder_create(c, o, fd, &f) : AF_OK;
    af_finder_destroy(f);
    return s;
}

/* No galaxy is so heavy, nor its stars so fast. */
static void fit_check_units(const af_finder *f, const af_orbits *o) {
    size_t n = af_orbits_streams(o) * af_orbits_stars(o), i;
    const double *xv = af_orbits_xv(o, 0);
    double *speed = (double *)cli_allocate(n, sizeof *speed), median;
    for (i = 0; i < n; i++, xv += 6)
        speed[i] = sqrt(xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]);
    median = cli_summarise(speed, n).median;
    free(speed);
    if (af_finder_toy(f).mass > 1e14 || median > 2000.0)
        printf("check the units: positions in kpc, velocities in km/s (the toy isochrone has %.3g "
               "Msun, the median speed is %.4g)\n", af_finder_toy(f).mass, median);
}

static void fit_say_begin(const af_finder *f, const fit_data *d, const af_orbits *o) {
    int held = d->count < af_orbits_streams(d->train);
    printf("%lu streams to train on, %s\n", (unsigned long)d->count,
           held ? "the others validate" : "the same ones validate");
    fit_check_units(f, o);
    fflush(stdout);
}

static int fit_train(af_context *c, fit_run *r, const af_finder_desc *fd, const af_orbits *o,
                     const char *path) {
    size_t n = af_orbits_streams(o), held = r->o.streams ? r->o.streams : n - n / 8;
    af_finder *f = NULL;
    fit_data data;
    af_fit_desc d;
    af_status s = fit_try_toy(c, fd, o);
    double begun = cli_clock();
    int code;
    if (s != AF_OK) return fit_fail(c, s, path);
    code = fit_prepare(c, r, fd, o, path, &data);
    if (code == CLI_OK) s = af_finder_create(c, data.all, fd, &f);
    if (code == CLI_OK && s == AF_OK && !r->o.quiet) fit_say_begin(f, &data, o);
    fit_desc(r, data.count, &d);
    if (data.longer && !d.epochs)
        d.epochs = fd->generator == AF_GENERATOR_SHEARS ? FIT_LONGER_STEPS : FIT_LONGER_EPOCHS;
    cli_catch_stop();
    r->start = r->last_line = cli_clock();
    if (r->o.seconds > 0.0) /* longer orbits took some of them */
        r->o.seconds = fmax(r->o.seconds - (r->start - begun), FIT_LEAST_SECONDS);
    if (code == CLI_OK && s == AF_OK) s = af_finder_fit(f, data.train, &d);
    if (!r->o.quiet && r->done && r->line_epoch != r->done)
        fit_line(r, &r->last, cli_clock() - r->start);
    if (r->line_open) printf("\n");
    if (code == CLI_OK && s == AF_OK && data.longer) s = fit_frequencies(c, r, f, data.train);
    if (s != AF_OK && s != AF_STOPPED) code = fit_fail(c, s, path);
    if (s == AF_STOPPED) fprintf(stderr, "actionfinder: stopped; the best model so far is kept\n");
    if (code == CLI_OK && af_finder_save(f, r->o.output) != AF_OK) code = cli_fail_library(c);
    if (code == CLI_OK) code = fit_write_history(c, r);
    if (code == CLI_OK) code = fit_report(c, r, f, o, held);
    if (code == CLI_OK && !r->o.quiet) printf("wrote %s\n", r->o.output);
    fit_data_free(&data);
    af_finder_destroy(f);
    return code;
}

static int fit_start(fit_run *r, const af_finder_desc *fd, const char *path) {
    af_context *c;
    af_orbits *o = NULL;
    const char *outputs[3];
    int code;
    outputs[0] = r->o.output;
    outputs[1] = r->o.history;
    outputs[2] = r->o.checkpoint;
    if ((code = cli_check_outputs(outputs, 3, &path, 1)) != CLI_OK) return code;
    if ((code = cli_context(r->o.threads, &c)) != CLI_OK) return code;
    code = (r->o.skip_incomplete ? cli_read_complete : cli_read_orbits)(c, path, &r->o.observed,
                                                                        r->o.quiet, &o);
    if (code != CLI_OK) {
        /* it was said why */
    } else if (r->o.streams > af_orbits_streams(o)) {
        code = cli_fail("--streams %lu, but '%s' has %lu", (unsigned long)r->o.streams, path,
                        (unsigned long)af_orbits_streams(o));
    } else {
        if (!r->o.quiet)
            printf("%s: %lu streams of up to %lu stars\n", path,
                   (unsigned long)af_orbits_streams(o), (unsigned long)af_orbits_stars(o));
        code = fit_train(c, r, fd, o, path);
    }
    af_orbits_destroy(o);
    af_context_destroy(c);
    return code;
}

static int fit_parse(const cli_command *command, fit_options *o, int count, char **words,
                     const char **path) {
    const cli_option options[] = {
        {"o", CLI_TEXT, &o->output, "FILE", "the model, a safetensors file"},
        {"streams", CLI_COUNT, &o->streams, "N",
         "train on the first N, the others validate; default 7/8"},
        {"epochs", CLI_COUNT, &o->epochs, "N",
         "passes over the streams; default 1000, or 4000 steps if more; of longer orbits 400"},
        {"seconds", CLI_NUMBER, &o->seconds, "S",
         "stop training after S; longer orbits before it and frequencies after it may take more"},
        {"seed", CLI_SEED, &o->seed, "K",
         "of initial values and the order of streams; default 0"},
        {"ensemble", CLI_COUNT, &o->ensemble, "N",
         "N models: MODEL-1.safetensors with the seed K, MODEL-2 with K + 1 ..."},
        {"bootstrap", CLI_FLAG, &o->bootstrap, NULL,
         "trains on as many streams, drawn by the seed: an ensemble differs more then"},
        {"extend", CLI_TEXT, &o->extend, "WORD",
         "yes, no, auto: train on longer orbits, in the field that energies tell; default auto"},
        {"batch", CLI_COUNT, &o->batch, "N", "streams a step; default 256"},
        {"rate", CLI_NUMBER, &o->rate, "X", "learning rate at the start; default 3e-3"},
        {"toy-mass", CLI_NUMBER, &o->toy_mass, "MSUN",
         "mass of the toy; default: chosen from the orbits"},
        {"toy-scale", CLI_NUMBER, &o->toy_scale, "KPC", "scale b of the toy, with --toy-mass"},
        {"free-toy", CLI_FLAG, &o->free_toy, NULL, "mass and scale are learned too"},
        {"axisymmetric", CLI_TEXT, &o->axisymmetric, "WORD",
         "yes, no, auto: is L_z conserved? default auto"},
        {"harmonics", CLI_TEXT, &o->harmonics, "R,Z,PHI",
         "highest |k| of G in each angle; default 12,8,3, discs 10,16,3"},
        {"generator", CLI_TEXT, &o->generator, "WORD",
         "fourier (default), network: how G is made; or shears, a symplectic map (disc orbits)"},
        {"width", CLI_COUNT, &o->width, "N",
         "of the network's hidden layers, default 64; ridge functions of a shear, default 8"},
        {"depth", CLI_COUNT, &o->depth, "N", "hidden layers, default 3; shears, default 12"},
        {"loss", CLI_TEXT, &o->loss, "WORD", "robust (default) or absolute, the paper's"},
        {"point-transformation", CLI_FLAG, &o->point, NULL,
         "adds P(theta'), the paper's eqs. 7 and 8"},
        {"paper", CLI_FLAG, &o->paper, NULL,
         "the model and training of the paper: networks G and P, 27 million parameters; slow"},
        {"paper-width", CLI_COUNT, &o->paper_width, "N",
         "the widest blocks of its networks; default 1024, with 64 it trains on a laptop"},
        {"threads", CLI_COUNT, &o->threads, "N",
         "default: all cores; results do not depend on it"},
        {"checkpoint", CLI_TEXT, &o->checkpoint, "FILE",
         "writes the state of the training here"},
        {"checkpoint-every", CLI_COUNT, &o->checkpoint_every, "N",
         "epochs between checkpoints; default 20"},
        {"resume", CLI_FLAG, &o->resume, NULL, "goes on from the checkpoint, if it is there"},
        {"history", CLI_TEXT, &o->history, "FILE.csv",
         "epoch, loss, validation, rate, seconds"},
        {"skip-incomplete", CLI_FLAG, &o->skip_incomplete, NULL,
         "leave out stars as observed without distance or velocity (see fill)"},
        CLI_SKY_OPTIONS(o->sky),
        {"quiet", CLI_FLAG, &o->quiet, NULL, "prints nothing but errors"},
    };
    return cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
}

/* ---- several models ---- */

static int fit_member(const fit_run *r, af_finder_desc fd, const char *path, size_t k) {
    fit_run own = *r;
    char *output = cli_numbered(r->o.output, k + 1), *history = cli_numbered(r->o.history, k + 1);
    char *checkpoint = cli_numbered(r->o.checkpoint, k + 1);
    int code;
    own.o.output = output;
    own.o.history = history;
    own.o.checkpoint = checkpoint;
    fd.seed = r->o.seed + k;
    own.o.seconds = r->o.seconds / (double)r->o.ensemble;
    if (!r->o.quiet)
        printf("model %lu of %lu, seed %lu\n", (unsigned long)k + 1, (unsigned long)r->o.ensemble,
               (unsigned long)fd.seed);
    code = fit_start(&own, &fd, path);
    free(own.history);
    free(output);
    free(history);
    free(checkpoint);
    return code;
}

static int fit_all(fit_run *r, const af_finder_desc *fd, const char *path) {
    size_t k;
    int code = CLI_OK;
    if (!r->o.ensemble) return fit_start(r, fd, path);
    for (k = 0; k < r->o.ensemble && code == CLI_OK && !cli_stopped(); k++)
        code = fit_member(r, *fd, path, k);
    if (code == CLI_OK && k < r->o.ensemble)
        fprintf(stderr, "actionfinder: %lu of %lu models were not begun\n",
                (unsigned long)(r->o.ensemble - k), (unsigned long)r->o.ensemble);
    return code;
}

int cli_fit(const cli_command *command, int count, char **words) {
    fit_run r;
    af_finder_desc fd;
    const char *path[1];
    int code;
    memset(&r, 0, sizeof r);
    r.o.checkpoint_every = 20;
    r.validation = NAN;
    r.on_terminal = isatty(STDOUT_FILENO);
    code = fit_parse(command, &r.o, count, words, path);
    if (code < 0) code = fit_finder_desc(&r.o, &fd);
    if (code < 0) code = cli_sky_desc("fit", &r.o.sky, &r.o.observed);
    if (code >= 0) return code;
    code = fit_all(&r, &fd, path[0]);
    free(r.history);
    return code;
}
