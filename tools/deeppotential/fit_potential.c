/* deeppotential fit-potential: the potential that keeps a distribution function stationary. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "fit-potential";

typedef struct phi_settings {
    const char *output, *inputs, *loss, *analytic, *frame, *released;
    deep_where where;
    deep_training training;
    size_t threads, ensemble, width, depth;
    double alpha, beta, lambda, rounding, l2, time;
    int log_loss, density_net, bootstrap;
    dp_potential_desc model;
    dp_loss_desc cost;
    af_potential parts[DEEP_PARTS];
    unsigned fixed[DEEP_PARTS];
} phi_settings;

static size_t phi_options(phi_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"o", CLI_TEXT, &o->output, "FILE", "the potential, a safetensors file"},
        {"inputs", CLI_TEXT, &o->inputs, "WORD",
         "xyz (default), rz (axisymmetric), r (spherical) or guided (xyz and R)"},
        {"width", CLI_COUNT, &o->width, "N", "of hidden layers; default 128, the paper 512"},
        {"depth", CLI_COUNT, &o->depth, "N", "hidden layers; default 3, the paper 4"},
        {"analytic", CLI_TEXT, &o->analytic, "SUM",
         "instead of a network, like miyamoto-nagai:1e11,3,0.3+nfw:1e12,16; see below"},
        {"loss", CLI_TEXT, &o->loss, "WORD", "of d ln f/dt: dlnf (default), or of df/dt: df"},
        {"log-loss", CLI_FLAG, &o->log_loss, NULL, "ln of the mean, as the paper"},
        {"alpha", CLI_NUMBER, &o->alpha, "X", "of the residual's asinh; default 1"},
        {"beta", CLI_NUMBER, &o->beta, "X", "of the asinh of negative densities; default 1"},
        {"lambda", CLI_REAL, &o->lambda, "X", "of that term; default 1, -1: none"},
        {"rounding", CLI_NUMBER, &o->rounding, "X",
         "|r| is rounded off below it; 1: least squares; default none"},
        {"l2", CLI_NUMBER, &o->l2, "X", "penalty of weights; default none"},
        {"time", CLI_NUMBER, &o->time, "T", "unit of time of the loss; default |x| over |v|"},
        {"frame", CLI_TEXT, &o->frame, "LIST",
         "in which f is stationary: omega=28,ux=0,uy=0,uz=0,x=0,y=0"},
        {"free", CLI_TEXT, &o->released, "LIST", "of the frame, fitted: omega, u, centre"},
        {"density-net", CLI_FLAG, &o->density_net, NULL,
         "what an unknown selection took away, all of n(x) with --conditional, is learned too"},
        DEEP_TRAINING_OPTIONS(&o->training),
        {"draw", CLI_TEXT, &o->where.draw, "FLOW", "points are draws of this flow, not stars"},
        {"n", CLI_COUNT, &o->where.n, "N", "draws, or how many of the stars"},
        {"cut", CLI_TEXT, &o->where.cut, "SHAPE", "only points inside this volume; see below"},
        {"robust", CLI_FLAG, &o->where.robust, NULL,
         "of several models those far off are left out"},
        DEEP_SOURCE_OPTIONS(&o->where.source),
        {"ensemble", CLI_COUNT, &o->ensemble, "N", "N models: FILE-1.safetensors with seed K, ..."},
        {"bootstrap", CLI_FLAG, &o->bootstrap, NULL,
         "of as many points drawn again, by the seed"},
        {"threads", CLI_COUNT, &o->threads, "N",
         "default: all cores; results do not depend on it"},
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

size_t deep_fit_potential_options(cli_option *out) {
    static phi_settings nowhere;
    return phi_options(&nowhere, out);
}

/* ---- the frame ---- */

static int phi_free(const char *text, unsigned *out) {
    static const char *const names[3] = {"omega", "u", "centre"};
    const char *at = text;
    while (at) {
        size_t length = strcspn(at, ","), i = 0;
        while (i < 3 && (strlen(names[i]) != length || strncmp(names[i], at, length) != 0)) i++;
        if (i == 3)
            return cli_usage(NAME, "--free takes omega, u and centre, with commas between, not "
                             "'%s'", text);
        *out |= 1u << i; /* DP_FREE_OMEGA, DP_FREE_U, DP_FREE_CENTRE */
        at = at[length] ? at + length + 1 : NULL;
    }
    return -1;
}

/* ---- other options ---- */

static int phi_words(phi_settings *o) {
    static const char *const inputs[4] = {"xyz", "rz", "r", "guided"};
    static const char *const loss[2] = {"dlnf", "df"};
    int word, code = cli_word(NAME, "inputs", o->inputs, inputs, 4, &word);
    if (code >= 0) return code;
    o->model.inputs = (dp_inputs)word;
    if ((code = cli_word(NAME, "loss", o->loss, loss, 2, &word)) >= 0) return code;
    o->cost.loss = (dp_loss)word;
    if ((code = deep_frame(NAME, o->frame, &o->model.frame)) >= 0) return code;
    if ((code = phi_free(o->released, &o->model.free_frame)) >= 0) return code;
    if (!o->output)
        return cli_usage(NAME, "-o FILE.safetensors is missing: where the potential goes");
    if (o->analytic && (o->width || o->depth || o->inputs))
        return cli_usage(NAME, "--inputs, --width and --depth are the network's, not of "
                         "--analytic");
    return -1;
}

static int phi_desc(phi_settings *o) {
    int code = phi_words(o);
    if (code < 0)
        code = deep_parts(NAME, "analytic", o->analytic, o->parts, o->fixed, &o->model.part_count);
    if (code >= 0) return code;
    o->model.width = o->width;
    o->model.depth = o->depth;
    o->model.density_net = o->density_net;
    o->cost.alpha = o->alpha;
    o->cost.beta = o->beta;
    o->cost.lambda = o->lambda;
    o->cost.rounding = o->rounding;
    o->cost.l2 = o->l2;
    o->cost.log_loss = o->log_loss;
    o->cost.time = o->time;
    o->where.seed = o->training.seed;
    return -1;
}

/* ---- the report ---- */

static void phi_report_parts(const dp_potential *p) {
    static const char *const name[6] = {"",       "isochrone",   "plummer",
                                        "miyamoto-nagai", "logarithmic", "nfw"};
    size_t count = 0, i;
    const af_potential *part = dp_potential_parts(p, &count);
    for (i = 0; part && i < count; i++) {
        int disc = part[i].kind == AF_POTENTIAL_MIYAMOTO_NAGAI;
        int halo = part[i].kind == AF_POTENTIAL_LOGARITHMIC;
        printf("  %s:%.8g,%.8g", name[part[i].kind], halo ? part[i].speed : part[i].mass,
               part[i].length);
        if (disc) printf(",%.8g", part[i].height);
        if (halo) printf(",%.8g,%.8g", part[i].p, part[i].q);
        printf("\nFIGURE mass_%lu %.8g\nFIGURE length_%lu %.8g\n", (unsigned long)i + 1,
               part[i].mass, (unsigned long)i + 1, part[i].length);
        if (disc) printf("FIGURE height_%lu %.8g\n", (unsigned long)i + 1, part[i].height);
    }
}

static void phi_report(const phi_settings *o, const dp_potential *p,
                       const dp_potential_report *r) {
    dp_frame f = dp_potential_frame(p);
    if (o->training.quiet) return;
    printf("loss of points held out\n  untrained %12.6g\n  trained   %12.6g\n", r->untrained,
           r->validation);
    printf("negative density at %.2f %% of the points\n", 100.0 * r->negative);
    if (o->analytic) phi_report_parts(p);
    if (o->frame || o->released)
        printf("frame: omega=%.6g,ux=%.5g,uy=%.5g,uz=%.5g,x=%.5g,y=%.5g\nFIGURE omega %.8g\n",
               f.omega, f.u[0], f.u[1], f.u[2], f.centre[0], f.centre[1], f.omega);
    printf("FIGURE untrained %.6g\nFIGURE validation %.6g\n", r->untrained, r->validation);
}

/* ---- the fit ---- */

static int phi_train(af_context *c, phi_settings *o, const dp_points *points, const char *path) {
    dp_potential *p = NULL;
    dp_potential_report report;
    dp_fit_desc fit;
    af_status s;
    int code = CLI_OK, ended;
    memset(&report, 0, sizeof report);
    o->model.seed = o->training.seed;
    o->model.parts = o->analytic ? o->parts : NULL;
    o->model.fixed = o->analytic ? o->fixed : NULL;
    s = dp_potential_create(c, &o->model, points, &p);
    if (s != AF_OK) return deep_fail(c, path);
    deep_training_begin(&o->training, &fit);
    s = dp_potential_fit(p, points, &o->cost, &fit, &report);
    ended = deep_training_end(c, &o->training, "potential", &s);
    if (s != AF_OK) code = deep_fail(c, path);
    else if (ended != CLI_OK) code = ended;
    if (code == CLI_OK && dp_potential_save(p, o->output) != AF_OK) code = cli_fail_library(c);
    if (code == CLI_OK) phi_report(o, p, &report);
    if (code == CLI_OK && !o->training.quiet) printf("wrote %s\n", o->output);
    dp_potential_destroy(p);
    return code;
}

static int phi_member(af_context *c, phi_settings *o, const deep_points *points,
                      const char *path) {
    dp_points view = deep_points_view(points);
    double *weights = NULL;
    size_t i;
    int code;
    if (o->bootstrap) {
        weights = (double *)cli_allocate(view.n, sizeof *weights);
        dp_bootstrap_weights(o->training.seed, view.n, weights);
        for (i = 0; view.weights && i < view.n; i++) weights[i] *= view.weights[i];
        view.weights = weights;
    }
    code = phi_train(c, o, &view, path);
    free(weights);
    return code;
}

/* Model k of several, with names of its own. */
static int phi_numbered(af_context *c, const phi_settings *all, const deep_points *points,
                        const char *path, size_t k) {
    phi_settings o = *all;
    char *output = cli_numbered(all->output, k), *history = cli_numbered(all->training.history, k);
    char *checkpoint = cli_numbered(all->training.checkpoint, k);
    int code;
    o.output = output;
    o.training.history = history;
    o.training.checkpoint = checkpoint;
    o.training.seed += k - 1;
    o.training.seconds /= (double)all->ensemble;
    if (!o.training.quiet)
        printf("potential %lu of %lu, seed %lu\n", (unsigned long)k, (unsigned long)all->ensemble,
               (unsigned long)o.training.seed);
    code = phi_member(c, &o, points, path);
    free(output);
    free(history);
    free(checkpoint);
    return code;
}

/* The points of a file, those inside --cut. */
static int phi_read(af_context *c, const phi_settings *o, const char *path, deep_points *p) {
    dp_volume cut;
    int code = deep_volume(NAME, "cut", o->where.cut, &cut);
    if (code >= 0) return code;
    if ((code = deep_points_read(c, path, p)) != CLI_OK) return code;
    deep_points_cut(p, &cut);
    if (p->n > 0) return CLI_OK;
    return cli_fail("'%s': no point is inside --cut %s", path, o->where.cut);
}

static int phi_all(af_context *c, phi_settings *o, size_t given, const char *const *path) {
    const char *data = path[given - 1]; /* stars, or gradients */
    deep_points p;
    size_t k;
    int code;
    memset(&p, 0, sizeof p);
    if (given == 1 && !o->where.draw)
        code = phi_read(c, o, path[0], &p);
    else
        code = deep_points_compute(c, NAME, o->where.draw ? given : given - 1, path, data,
                                   &o->where, o->training.quiet, &p);
    if (code == CLI_OK && !o->training.quiet) printf("%lu points\n", (unsigned long)p.n);
    if (code == CLI_OK && !o->ensemble) code = phi_member(c, o, &p, data);
    for (k = 1; code == CLI_OK && k <= o->ensemble && !(k > 1 && cli_stopped()); k++)
        code = phi_numbered(c, o, &p, data, k);
    deep_points_free(&p);
    return code;
}

/* Options that say where gradients are taken, where they have been taken already. */
static int phi_conflicts(const phi_settings *o, size_t given) {
    const deep_source *s = &o->where.source;
    if (given > 1 || o->where.draw) return -1;
    if (o->where.n || o->where.robust || s->volume || s->weights || s->no_weights || s->no_errors)
        return cli_usage(NAME, "options of stars and draws need a distribution function: "
                         "DF... STARS, or DF... --draw FLOW");
    return -1;
}

/* Returns like cli_parse. */
static int phi_parse(const cli_command *command, int count, char **words, phi_settings *o,
                     const char **path, size_t *given) {
    cli_option options[DEEP_OPTIONS];
    int code;
    memset(o, 0, sizeof *o);
    code = cli_parse(command, options, phi_options(o, options), count, words, path, -1);
    while (path[*given]) ++*given;
    if (code < 0) code = phi_desc(o);
    if (code < 0) code = phi_conflicts(o, *given);
    if (code < 0) code = deep_where_check(NAME, &o->where);
    return code < 0 ? deep_training_check(NAME, &o->training) : code;
}

int deep_fit_potential_check(const cli_command *command, int count, char **words) {
    const char **path = (const char **)cli_allocate((size_t)count + 1, sizeof *path);
    phi_settings o;
    size_t given = 0;
    int code = phi_parse(command, count, words, &o, path, &given);
    free(path);
    return code;
}

int deep_fit_potential(const cli_command *command, int count, char **words) {
    const char **path = (const char **)cli_allocate((size_t)count + 1, sizeof *path);
    phi_settings o;
    size_t given = 0;
    af_context *c = NULL;
    int code = phi_parse(command, count, words, &o, path, &given);
    if (code < 0) {
        code = deep_training_outputs(&o.training, o.output, path, given);
        if (code == CLI_OK) code = cli_context(o.threads, &c);
        if (code == CLI_OK) code = phi_all(c, &o, given, path);
    }
    af_context_destroy(c);
    free(path);
    return code;
}
