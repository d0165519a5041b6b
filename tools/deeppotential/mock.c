/* deeppotential mock: stars in known potentials. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "mock";

typedef enum mock_system { MOCK_PLUMMER, MOCK_DISC, MOCK_BAR } mock_system;

typedef struct mock_settings {
    const char *output, *volume, *errors, *truth;
    size_t n, seed, threads;
    double mass, scale, height, reach, times, omega;
    mock_system system;
    dp_volume inside;
} mock_settings;

static size_t mock_options(mock_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"o", CLI_TEXT, &o->output, "FILE", "the stars: .npy, .csv or .h5"},
        {"n", CLI_COUNT, &o->n, "N", "stars; default 131072"},
        {"seed", CLI_SEED, &o->seed, "K", "default 0"},
        {"mass", CLI_NUMBER, &o->mass, "MSUN", "of plummer, miyamoto-nagai; default 1/G: G M = 1"},
        {"scale", CLI_NUMBER, &o->scale, "KPC", "b of plummer, a of miyamoto-nagai; default 1"},
        {"height", CLI_NUMBER, &o->height, "KPC", "b of miyamoto-nagai; default 0.1"},
        {"reach", CLI_NUMBER, &o->reach, "KPC", "plummer: largest radius; default 10 scales"},
        {"times", CLI_NUMBER, &o->times, "T",
         "dynamical times that stars are followed; default 128, bar 64"},
        {"omega", CLI_NUMBER, &o->omega, "X", "bar: pattern speed [km/s/kpc]; default 28.2"},
        {"volume", CLI_TEXT, &o->volume, "SHAPE", "only stars inside, N of them; see below"},
        {"errors", CLI_TEXT, &o->errors, "X,Y,Z[,VLOS,VTAN]",
         "measured from there; see below"},
        {"truth-gradients", CLI_TEXT, &o->truth, "FILE",
         "plummer: true d ln f/d(x,v) at these stars"},
        {"threads", CLI_COUNT, &o->threads, "N", "default: all cores"},
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

size_t deep_mock_options(cli_option *out) {
    static mock_settings nowhere;
    return mock_options(&nowhere, out);
}

/* ---- stars ---- */

static af_status mock_draw(af_context *c, const mock_settings *o, size_t n, uint64_t seed,
                           double *eta) {
    dp_mock_disc_desc disc;
    dp_mock_bar_desc bar;
    if (o->system == MOCK_PLUMMER)
        return dp_mock_plummer(c, o->mass, o->scale, o->reach, n, seed, eta);
    if (o->system == MOCK_BAR) {
        memset(&bar, 0, sizeof bar);
        bar.omega = o->omega;
        bar.times = o->times;
        return dp_mock_bar(c, &bar, n, seed, eta);
    }
    memset(&disc, 0, sizeof disc);
    disc.mass = o->mass;
    disc.a = disc.h_r = o->scale;
    disc.b = disc.h_z = o->height;
    disc.times = o->times;
    disc.volume = o->inside;
    return dp_mock_disc(c, &disc, n, seed, eta);
}

/* Draws again, with other seeds, until N are inside. */
static int mock_fill(af_context *c, const mock_settings *o, double *eta) {
    enum { ROUNDS = 1000 };
    const uint64_t apart = 0x9e3779b97f4a7c15u; /* seeds of rounds do not meet those of users */
    double *some;
    size_t done = 0, i, round;
    if (o->inside.kind == DP_VOLUME_ALL || o->system == MOCK_DISC)
        return mock_draw(c, o, o->n, o->seed, eta) == AF_OK ? CLI_OK : cli_fail_library(c);
    some = (double *)cli_allocate(6 * o->n, sizeof *some);
    for (round = 0; round < (size_t)ROUNDS && done < o->n; round++) {
        if (mock_draw(c, o, o->n, o->seed + apart * round, some) != AF_OK) break;
        for (i = 0; i < o->n && done < o->n; i++)
            if (dp_volume_holds(&o->inside, some + 6 * i))
                memcpy(eta + 6 * done++, some + 6 * i, 6 * sizeof *some);
    }
    free(some);
    if (*af_error(c)) return cli_fail_library(c);
    if (done == o->n) return CLI_OK;
    return cli_fail("--volume %s: of %lu stars only %lu are inside; make it larger", o->volume,
                    (unsigned long)(ROUNDS * o->n), (unsigned long)done);
}

/* ---- errors, truth ---- */

/* Where the observer is and the velocities' errors. Without numbers those of section 4.1: 1/400 and
 * 1/4000 of the largest circular velocity, 0.6 sqrt(GM/a). */
static int mock_observer(const mock_settings *o, double x[3], double *v_los, double *v_tan) {
    double v[5], unit = sqrt(AF_GRAVITY * o->mass / o->scale);
    size_t n;
    if (!deep_numbers(o->errors, 3, 5, v, &n, NULL) || n == 4)
        return cli_usage(NAME, "--errors takes X,Y,Z or X,Y,Z,VLOS,VTAN, not '%s'", o->errors);
    memcpy(x, v, 3 * sizeof *x);
    if (n < 5 && o->system == MOCK_BAR)
        return cli_usage(NAME, "--errors of a bar takes five numbers, X,Y,Z,VLOS,VTAN, not '%s'",
                         o->errors);
    *v_los = n == 5 ? v[3] : 0.0015 * unit;
    *v_tan = n == 5 ? v[4] : 0.00015 * unit;
    if (*v_los >= 0.0 && *v_tan >= 0.0) return -1;
    return cli_usage(NAME, "--errors '%s': errors are not negative", o->errors);
}

static int mock_truth(af_context *c, const mock_settings *o, const double *eta) {
    deep_points p;
    int code = CLI_OK;
    if (!o->truth) return CLI_OK;
    deep_points_make(&p, o->n, 0);
    memcpy(p.eta, eta, 6 * o->n * sizeof *eta);
    if (dp_mock_plummer_gradient(c, o->mass, o->scale, o->reach, o->n, eta, p.ln_f, p.gradient) !=
        AF_OK)
        code = cli_fail_library(c);
    if (code == CLI_OK) code = deep_points_write(c, o->truth, &p);
    if (code == CLI_OK) printf("wrote %s\n", o->truth);
    deep_points_free(&p);
    return code;
}

static int mock_write(af_context *c, const mock_settings *o, const double *eta,
                      const double *errors) {
    int code = deep_write_stars(c, o->output, o->n, eta, NULL, errors, &o->inside);
    if (code == CLI_OK)
        printf("%lu stars%s\nwrote %s\n", (unsigned long)o->n,
               errors ? ", measured with errors" : "", o->output);
    return code;
}

static int mock_make(af_context *c, const mock_settings *o) {
    double *eta = (double *)cli_allocate(6 * o->n, sizeof *eta), *noisy = NULL, *errors = NULL;
    double x[3], v_los, v_tan;
    int code = mock_fill(c, o, eta);
    if (code == CLI_OK) code = mock_truth(c, o, eta);
    if (code == CLI_OK && o->errors) {
        noisy = (double *)cli_allocate(6 * o->n, sizeof *noisy);
        errors = (double *)cli_allocate(6 * o->n, sizeof *errors);
        mock_observer(o, x, &v_los, &v_tan);
        dp_mock_errors(x, v_los, v_tan, o->n, eta, o->seed, noisy, errors);
    }
    if (code == CLI_OK) code = mock_write(c, o, noisy ? noisy : eta, errors);
    free(eta);
    free(noisy);
    free(errors);
    return code;
}

/* ---- the command ---- */

static void mock_defaults(mock_settings *o) {
    if (!o->n) o->n = 131072; /* 2^17 as in the papers */
    if (!(o->mass > 0.0)) o->mass = 1.0 / AF_GRAVITY;
    if (!(o->scale > 0.0)) o->scale = 1.0;
    if (!(o->height > 0.0)) o->height = 0.1;
    if (!(o->reach > 0.0)) o->reach = 10.0 * o->scale;
}

/* Options of other systems. */
static int mock_conflicts(const mock_settings *o) {
    static const char *const system[3] = {"plummer", "miyamoto-nagai", "bar"};
    const char *wrong = NULL;
    if (o->system == MOCK_PLUMMER && o->times > 0.0) wrong = "times";
    if (o->system != MOCK_DISC && o->height > 0.0) wrong = "height";
    if (o->system != MOCK_PLUMMER && o->reach > 0.0) wrong = "reach";
    if (o->system != MOCK_PLUMMER && o->truth) wrong = "truth-gradients";
    if (o->system != MOCK_BAR && o->omega > 0.0) wrong = "omega";
    if (o->system == MOCK_BAR && (o->mass > 0.0 || o->scale > 0.0)) wrong = "mass or --scale";
    if (!wrong) return -1;
    return cli_usage(NAME, "there is no --%s of %s", wrong, system[o->system]);
}

/* Returns like cli_parse. */
static int mock_parse(const cli_command *command, int count, char **words, mock_settings *o) {
    static const char *const system[3] = {"plummer", "miyamoto-nagai", "bar"};
    cli_option options[DEEP_OPTIONS];
    const char *word;
    double x[3], v_los, v_tan;
    int code, kind = 0;
    memset(o, 0, sizeof *o);
    code = cli_parse(command, options, mock_options(o, options), count, words, &word, 1);
    if (code >= 0) return code;
    if (strcmp(word, "disc") == 0) word = "miyamoto-nagai";
    while (kind < 3 && strcmp(word, system[kind]) != 0) kind++;
    if (kind == 3)
        return cli_usage(NAME, "the system is plummer, miyamoto-nagai or bar, not '%s'", word);
    o->system = (mock_system)kind;
    if ((code = mock_conflicts(o)) >= 0) return code;
    if ((code = deep_check_data(NAME, o->output)) >= 0) return code;
    if (o->truth && (code = deep_check_data(NAME, o->truth)) >= 0) return code;
    if ((code = deep_volume(NAME, "volume", o->volume, &o->inside)) >= 0) return code;
    mock_defaults(o);
    return o->errors ? mock_observer(o, x, &v_los, &v_tan) : -1;
}

int deep_mock_check(const cli_command *command, int count, char **words) {
    mock_settings o;
    return mock_parse(command, count, words, &o);
}

int deep_mock(const cli_command *command, int count, char **words) {
    mock_settings o;
    const char *outputs[2];
    af_context *c;
    int code = mock_parse(command, count, words, &o);
    if (code >= 0) return code;
    outputs[0] = o.output;
    outputs[1] = o.truth;
    if ((code = cli_check_outputs(outputs, 2, NULL, 0)) != CLI_OK) return code;
    if ((code = cli_context(o.threads, &c)) != CLI_OK) return code;
    code = mock_make(c, &o);
    af_context_destroy(c);
    return code;
}
