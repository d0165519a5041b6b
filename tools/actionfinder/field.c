/* actionfinder field: its commands, and what they share. */
#include "field.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char FIT_MANUAL[] =
    "ORBITS: as in `actionfinder fit --help`. Two ways lead to a field:\n"
    "\n"
    "  without --model   a mass model: the stars of a stream have one energy v^2/2 + Phi, and\n"
    "                    Phi is a sum of discs and spheres whose masses are found by least\n"
    "                    squares. No model of the actions is needed. For potentials that are\n"
    "                    the same above and below the plane, and axisymmetric about z or else\n"
    "                    triaxial (ellipsoids then), with x, y, z as axes\n"
    "  with --model      a network as Phi, fitted to the energies and to what a trained model\n"
    "                    of the actions says: dJ/dt = 0 (section 4 of the paper). Slower\n"
    "\n"
    "misfit is the scatter of the energies within streams over that of v^2/2, the median over\n"
    "the streams; of the mass model that of streams left out of the fit in turn. Small, below\n"
    "1e-3, it says that the streams are in one static potential, and have no errors. With\n"
    "--streams N the field is fitted to the first N, and the misfit of the others is told, too.\n"
    "\n"
    "Whether the potential is axisymmetric is seen from L_z being conserved and, where that has\n"
    "errors, from the misfit; --axisymmetric settles it.\n"
    "\n"
    "The zero of Phi has no meaning, and nothing is known where no star has been.\n"
    "\n"
    "Examples:\n"
    "  actionfinder field fit xv.npy -o field.safetensors\n"
    "  actionfinder field fit xv.npy -o network.safetensors --model model.safetensors\n";

static const char EVAL_MANUAL[] =
    "X is an NPY file whose last length is 3 (x, y, z [kpc]) or 6 (with velocities, which do\n"
    "not matter), or a table with the columns x, y, z.\n"
    "\n"
    "A.npy has the same shape with 4 numbers: ax, ay, az [(km/s)^2/kpc] and Phi [(km/s)^2];\n"
    "A.csv has these columns, and stream where X has it. Where no star has been that the field\n"
    "was fitted to, the numbers mean little.\n"
    "\n"
    "Examples:\n"
    "  actionfinder field eval field.safetensors xv.npy -o a.npy\n"
    "  actionfinder field eval field.safetensors places.csv -o a.csv\n";

static const char CHECK_MANUAL[] =
    "ORBITS: as in `actionfinder fit --help`. ACC.npy holds the true accelerations of its\n"
    "stars, (S,N,3) [(km/s)^2/kpc], as `actionfinder mock --accelerations` writes them; NaN\n"
    "does not count. Printed are mean, median and 90 % of |a - truth|/|truth| in per cent,\n"
    "beside those of the toy isochrone that the library would choose for these streams, and\n"
    "FIGURE lines {toy,field}_{mean,median,90} for programs; misfit as in `field fit`.\n"
    "\n"
    "Example:\n"
    "  actionfinder mock -o xv.npy --potential pjm14 --accelerations A.npy\n"
    "  actionfinder field fit xv.npy -o field.safetensors --streams 768\n"
    "  actionfinder field check field.safetensors xv.npy --accelerations A.npy --skip 768\n";

static const char PLOT_MANUAL[] =
    "Draws the circular speed sqrt(-x ax) in the plane, and the vertical force -az over z at\n"
    "three radii: a fifth, two and three fifths of --reach. --galaxy draws those of a potential\n"
    "of `actionfinder mock` beside.\n"
    "\n"
    "Example:\n"
    "  actionfinder field plot field.safetensors -o field.svg --galaxy pjm14\n";

static const char ACTIONS_MANUAL[] =
    "FIELD must be an axisymmetric mass model, ORBITS as in `actionfinder fit --help`. The\n"
    "orbit of each star is followed in the field, and its actions, angles and frequencies come\n"
    "from that orbit (the generating function of Sanders & Binney 2014). No map is trained, but\n"
    "a star takes very much longer than with one. Stars without an answer are NaN.\n"
    "\n"
    "With --truth the errors are printed, as `actionfinder check` does.\n"
    "\n"
    "Example:\n"
    "  actionfinder field actions field.safetensors xv.npy -o actions.csv --stars 1\n";

static const cli_command COMMANDS[] = {
    {"field fit", "ORBITS -o FIELD.safetensors [options]",
     "Finds the field in which orbits are.", FIT_MANUAL, field_fit},
    {"field eval", "FIELD X -o A.npy|A.csv", "Computes accelerations and potential at places.",
     EVAL_MANUAL, field_eval},
    {"field check", "FIELD ORBITS --accelerations ACC.npy [options]",
     "Compares a field with true accelerations.", CHECK_MANUAL, field_check},
    {"field plot", "FIELD -o FILE.svg [options]", "Draws rotation curve and vertical force.",
     PLOT_MANUAL, field_plot},
    {"field actions", "FIELD ORBITS -o OUT.npy|OUT.csv [options]",
     "Computes actions by following the orbits in a mass model.", ACTIONS_MANUAL,
     cli_field_actions},
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static void help(FILE *to) {
    fputs("actionfinder field: the acceleration field and the potential in which orbits are,\n"
          "learned from them\n\n"
          "Commands:\n",
          to);
    cli_list(to, COMMANDS, COMMAND_COUNT, 13);
    fputs("  actionfinder field COMMAND --help tells more, with examples\n\n"
          "A first try, some seconds:\n"
          "  actionfinder mock -o xv.npy --streams 512 --accelerations A.npy\n"
          "  actionfinder field fit xv.npy -o field.safetensors --streams 384\n"
          "  actionfinder field check field.safetensors xv.npy --accelerations A.npy --skip 384\n"
          "  actionfinder field plot field.safetensors -o field.svg --galaxy disc-halo\n",
          to);
}

int cli_field(const cli_command *command, int count, char **words) {
    (void)command;
    if (count < 1) {
        help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0 ||
        strcmp(words[0], "help") == 0) {
        help(stdout);
        return CLI_OK;
    }
    return cli_dispatch("actionfinder field", COMMANDS, COMMAND_COUNT, count, words);
}

/* ---- fields of either kind ---- */

/* 'm' for a mass model, 'n' for a network, 0 with a sentence for others. */
static int field_kind(af_context *c, const char *path) {
    static const char *const begin[2] = {"actionfinder mass model ", "actionfinder acceleration "};
    const char *format;
    af_tensors *set;
    int i, kind = 0;
    if (af_tensors_read(c, path, &set) != AF_OK) {
        cli_fail_library(c);
        return 0;
    }
    format = af_tensors_text(set, "format");
    for (i = 0; i < 2 && format; i++)
        if (strncmp(format, begin[i], strlen(begin[i])) == 0) kind = "mn"[i];
    if (!kind)
        cli_fail("'%s' is no field (format '%.40s'); `actionfinder field fit` makes fields", path,
                 format ? format : "none");
    af_tensors_destroy(set);
    return kind;
}

int field_ready(af_context *c, int threads, field_any *f) {
    enum { BLOCK = 256 };
    if (!f->net) return CLI_OK;
    if (af_accel_evaluator_create(f->net, BLOCK, threads, &f->one) == AF_OK) return CLI_OK;
    return cli_fail_library(c);
}

int field_open(af_context *c, const char *path, int threads, field_any *out) {
    int kind = field_kind(c, path);
    af_status s;
    memset(out, 0, sizeof *out);
    if (!kind) return CLI_FAILED;
    s = kind == 'm' ? af_mass_model_load(c, path, &out->mass) : af_accel_load(c, path, &out->net);
    return s == AF_OK ? field_ready(c, threads, out) : cli_fail_library(c);
}

void field_close(field_any *f) {
    af_mass_model_destroy(f->mass);
    af_accel_evaluator_destroy(f->one);
    af_accel_destroy(f->net);
    memset(f, 0, sizeof *f);
}

void field_ask(const field_any *f, size_t n, const double *x, double *a, double *phi) {
    size_t i;
    if (f->net) {
        af_accel_evaluate(f->one, n, x, a, phi);
        return;
    }
    for (i = 0; i < n; i++) {
        if (a) af_mass_model_acceleration(f->mass, x + 3 * i, a + 3 * i);
        if (phi) phi[i] = af_mass_model_value(f->mass, x + 3 * i);
    }
}

/* The scatter of n numbers. */
static double field_scatter(const double *x, size_t n) {
    double mean = 0.0, square = 0.0;
    size_t i;
    for (i = 0; i < n; i++) mean += x[i] / (double)n;
    for (i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean) / (double)n;
    return sqrt(square);
}

double field_misfit(const field_any *f, const af_orbits *o, size_t first, size_t count) {
    size_t stars = af_orbits_stars(o), s, i, k;
    double *column = (double *)cli_allocate(5 * stars + count, sizeof *column);
    double *x = column, *kinetic = x + 3 * stars, *energy = kinetic + stars;
    double *ratio = energy + stars, median;
    for (s = 0; s < count; s++) {
        const double *xv = af_orbits_xv(o, first + s);
        size_t n = af_orbits_count(o, first + s);
        for (i = 0; i < n; i++) {
            const double *v = xv + 6 * i + 3;
            for (k = 0; k < 3; k++) x[3 * i + k] = xv[6 * i + k];
            kinetic[i] = 0.5 * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        }
        field_ask(f, n, x, NULL, energy);
        for (i = 0; i < n; i++) energy[i] += kinetic[i];
        ratio[s] = n > 1 ? field_scatter(energy, n) / field_scatter(kinetic, n) : NAN;
    }
    median = cli_summarise(ratio, count).median;
    free(column);
    return median;
}

/* ---- fit ---- */

typedef struct field_fit_run {
    const char *output, *model, *axisymmetric;
    size_t streams, rounds, steps, threads;
    double ridge;
    int quiet, symmetry;
    cli_sky sky;
    af_observed_desc observed;
    field_any field;
    double start, last_line;
} field_fit_run;

static int field_progress(const af_minimise_report *p, void *user) {
    field_fit_run *r = (field_fit_run *)user;
    double now = cli_clock();
    if (!r->quiet && now - r->last_line >= cli_line_interval(0)) {
        printf("step %5lu  loss %.6g  %.1f s\n", (unsigned long)p->step, p->loss, now - r->start);
        fflush(stdout);
        r->last_line = now;
    }
    return cli_stopped();
}

static int field_fit_network(af_context *c, const af_orbits *o, field_fit_run *r) {
    enum { BLOCK = 256 };
    af_finder *finder = NULL;
    af_mapper *mapper = NULL;
    af_accel_desc shape;
    af_accel_fit_desc d;
    int code = CLI_OK;
    memset(&shape, 0, sizeof shape);
    shape.axisymmetric = (af_symmetry)r->symmetry;
    memset(&d, 0, sizeof d);
    d.steps = r->steps;
    d.progress = field_progress;
    d.user = r;
    r->start = r->last_line = cli_clock();
    cli_catch_stop();
    if (af_finder_load(c, r->model, &finder) != AF_OK) {
        code = cli_fail_model(c, r->model);
    } else if (af_mapper_create(finder, af_orbits_stars(o), BLOCK, (int)r->threads, &mapper) !=
                   AF_OK ||
               af_accel_create(c, o, &shape, &r->field.net) != AF_OK) {
        code = cli_fail_library(c);
    } else {
        af_phase_map map = af_mapper_map(mapper);
        af_status s = af_accel_fit(r->field.net, o, &map, &d);
        if (s == AF_STOPPED) printf("stopped; the field as it is now is kept\n");
        else if (s != AF_OK) code = cli_fail_library(c);
    }
    if (code == CLI_OK) code = field_ready(c, (int)r->threads, &r->field);
    af_mapper_destroy(mapper);
    af_finder_destroy(finder);
    return code;
}

static int field_fit_mass(af_context *c, const af_orbits *o, field_fit_run *r) {
    af_mass_model_desc d;
    memset(&d, 0, sizeof d);
    d.rounds = r->rounds;
    d.ridge = r->ridge;
    d.axisymmetric = (af_symmetry)r->symmetry;
    if (af_mass_model_fit(c, o, &d, &r->field.mass) != AF_OK) return cli_fail_library(c);
    return CLI_OK;
}

static void field_fit_report(const field_fit_run *r, const af_orbits *o, size_t used) {
    size_t all = af_orbits_streams(o);
    double misfit = r->field.mass ? af_mass_model_misfit(r->field.mass)
                                  : field_misfit(&r->field, o, 0, used);
    double others = used < all ? field_misfit(&r->field, o, used, all - used) : NAN;
    int round = r->field.mass ? af_mass_model_is_axisymmetric(r->field.mass)
                              : af_accel_is_axisymmetric(r->field.net);
    printf("%s from %lu streams, %s\nmisfit %.3e\n", r->field.mass ? "mass model" : "network",
           (unsigned long)used, round ? "axisymmetric" : "no axis of symmetry", misfit);
    if (used < all)
        printf("misfit of the other %lu streams %.3e\n", (unsigned long)(all - used), others);
    if (misfit > 1e-2)
        printf("that is large: errors of the stars, streams that are not one orbit, or a\n"
               "potential without these symmetries, or not static\n");
    printf("FIGURE misfit %.6g\n", misfit);
    if (used < all) printf("FIGURE misfit_others %.6g\n", others);
}

static int field_fit_all(af_context *c, field_fit_run *r, const char *path) {
    af_orbits *o = NULL, *part = NULL;
    af_status s;
    int code = cli_read_orbits(c, path, &r->observed, r->quiet, &o);
    if (code != CLI_OK) return code;
    if (!r->streams) r->streams = af_orbits_streams(o);
    if (r->streams > af_orbits_streams(o))
        code = cli_fail("'%s' has %lu streams, fewer than --streams %lu", path,
                        (unsigned long)af_orbits_streams(o), (unsigned long)r->streams);
    else if (af_orbits_part(c, o, 0, r->streams, &part) != AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK)
        code = r->model ? field_fit_network(c, part, r) : field_fit_mass(c, part, r);
    if (code == CLI_OK) {
        s = r->field.mass ? af_mass_model_save(r->field.mass, r->output)
                          : af_accel_save(r->field.net, r->output);
        if (s != AF_OK) code = cli_fail_library(c);
    }
    if (code == CLI_OK && !r->quiet) {
        field_fit_report(r, o, r->streams);
        printf("wrote %s\n", r->output);
    }
    field_close(&r->field);
    af_orbits_destroy(part);
    af_orbits_destroy(o);
    return code;
}

int field_fit(const cli_command *command, int count, char **words) {
    static const char NAME[] = "field fit";
    static const char *const symmetry[3] = {"auto", "yes", "no"};
    field_fit_run r;
    const char *path[2];
    af_context *c;
    int code;
    memset(&r, 0, sizeof r);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &r.output, "FILE", "the field, a safetensors file"},
            {"streams", CLI_COUNT, &r.streams, "N", "fits to the first N; default all"},
            {"model", CLI_TEXT, &r.model, "MODEL", "of `actionfinder fit`: a network instead"},
            {"axisymmetric", CLI_TEXT, &r.axisymmetric, "WORD",
             "yes, no, auto: is L_z conserved, or else the misfit smaller? default auto"},
            {"steps", CLI_COUNT, &r.steps, "N", "of the network's fit; default 1000"},
            {"rounds", CLI_COUNT, &r.rounds, "N",
             "of the mass model, for streams to lose weight that contradict the others; default 3"},
            {"ridge", CLI_NUMBER, &r.ridge, "X",
             "of the mass model; default: chosen so that streams left out are predicted best"},
            CLI_SKY_OPTIONS(r.sky),
            {"quiet", CLI_FLAG, &r.quiet, NULL, "prints nothing"},
            {"threads", CLI_COUNT, &r.threads, "N", "default: all cores"},
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
    }
    if (code < 0) code = cli_word(NAME, "axisymmetric", r.axisymmetric, symmetry, 3, &r.symmetry);
    if (code < 0) code = cli_sky_desc(NAME, &r.sky, &r.observed);
    if (code >= 0) return code;
    if (!r.output) return cli_usage(NAME, "-o FIELD.safetensors is missing: where the field goes");
    if (r.model && (r.rounds || r.ridge > 0.0))
        return cli_usage(NAME, "--rounds and --ridge are the mass model's, not of --model");
    if (!r.model && r.steps) return cli_usage(NAME, "--steps needs --model MODEL");
    path[1] = r.model;
    if ((code = cli_check_output(r.output, path, 2)) != CLI_OK) return code;
    if ((code = cli_context(r.threads, &c)) != CLI_OK) return code;
    code = field_fit_all(c, &r, path[0]);
    af_context_destroy(c);
    return code;
}
