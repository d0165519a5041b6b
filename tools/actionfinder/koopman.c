/* actionfinder koopman: its commands, and what they share. */
#include "koopman.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char FIT_MANUAL[] =
    "TRAJ is a table (CSV, ECSV) with the columns orbit, t and the canonical coordinates\n"
    "q_1 .. q_n, p_1 .. p_n, one row a sample, the rows of an orbit together and in the order\n"
    "of t; or an NPY file (orbits, samples, 1 + 2n), t first, padded with NaN. Times may be\n"
    "uneven. For motion in a potential, q are positions and p velocities in the same order:\n"
    "--columns z,vz, or --columns x,y,vx,vy. Units are yours; actions come in those of q p,\n"
    "frequencies in radians per unit of t.\n"
    "\n"
    "The model is a symplectic map after which each pair (q,p) goes around a circle at a rate\n"
    "that depends on the actions alone. It needs several samples a turn, and orbits that are\n"
    "regular. By default it assumes that the system does not change under (q,p) -> (-q,-p);\n"
    "--asymmetric does not. The line of progress:\n"
    "\n"
    "    step    60 of 400  pieces 1  loss 6.9e-07  rms 1.2e-03  2.1 s\n"
    "\n"
    "pieces: orbits are cut into 8, then 4, then 2 pieces at first, and each may turn on its own.\n"
    "rms = sqrt(2 loss) is how far samples lie from uniform rotation (with the weights as they\n"
    "are by default), in units of the data's size. Ctrl-C stops and keeps what was learned. The\n"
    "model is the same to the byte on any number of threads.\n"
    "\n"
    "--weights names kinds of residuals: phase (distance from uniform rotation), action (J less\n"
    "its mean along the orbit), one-step and rollout (states predicted from the sample before,\n"
    "and from the first one), reconstruction, and relation (dH/dJ - Omega, with --relation loss).\n"
    "Those not named keep their default: phase=1,relation=1 and 0 for the others.\n"
    "\n"
    "Examples:\n"
    "  actionfinder koopman fit orbits.csv -o koopman.safetensors\n"
    "  actionfinder koopman fit orbits.csv -o m.safetensors --columns z,vz --history loss.csv\n"
    "  actionfinder koopman fit more.csv -o better.safetensors --continue m.safetensors\n";

static const char EVAL_MANUAL[] =
    "OUT.csv has the columns orbit, t, J, theta, omega, energy, with J_1, J_2, ... where there\n"
    "are more degrees of freedom, and a row for each sample; OUT.npy the same as\n"
    "(samples, 3 + 3n). theta is in [0, 2 pi), near 0 where q = 0 is crossed upwards: where it\n"
    "begins is learned, and may depend a little on J. The energy is that of the learned H(J),\n"
    "0 at J = 0.\n"
    "\n"
    "Printed are, for each orbit (the 32 that fit worst, where there are more):\n"
    "\n"
    "  J           the mean along the orbit\n"
    "  spread      the rms of J less its mean: 0 where J is conserved\n"
    "  rotation    rms distance of the samples from uniform rotation at Omega(mean J)\n"
    "  rebuilt     rms of encoded and decoded samples less themselves: rounding\n"
    "  rollout     rms of the orbit predicted from its first sample less the orbit\n"
    "\n"
    "the last three in units of the size of the data in TRAJ; then `FIGURE name value` for\n"
    "programs, over all samples.\n"
    "\n"
    "Example:\n"
    "  actionfinder koopman eval koopman.safetensors orbits.csv -o actions.csv\n";

static const char ROLLOUT_MANUAL[] =
    "The orbit that begins at t = 0 with these actions and angles: theta + Omega(J) t, decoded.\n"
    "OUT.csv has the columns t, q, p, or t, q_1, .., p_1, .. for more degrees of freedom; OUT.npy\n"
    "the same as (N, 1 + 2n). Actions unlike those of the trajectories that the model was trained\n"
    "on get an answer too, but do not believe it.\n"
    "\n"
    "Example:\n"
    "  actionfinder koopman rollout koopman.safetensors --action 0.8 --angle 0 \\\n"
    "    --times 0:50:501 -o orbit.csv\n";

static const char PLOT_MANUAL[] =
    "For each degree of freedom: phase space coloured by J and by theta; the frequency over the\n"
    "action, learned and measured (the slope of theta along each orbit); and how far orbits that\n"
    "are predicted from their first samples lie from the true ones.\n"
    "\n"
    "Example:\n"
    "  actionfinder koopman plot koopman.safetensors orbits.csv -o p.svg --history loss.csv\n";

static const char MOCK_MANUAL[] =
    "oscillator   Phi = z^2/8\n"
    "slab         Phi = 2 ln cosh(z/2), the isothermal slab\n"
    "coupled      two slabs Phi = 2 ln cosh(s/2h), h = 1 and 0.7, across axes that are turned by\n"
    "             30 degrees from x and y; integrable, but not in x and y\n"
    "\n"
    "TRAJ.csv has the columns orbit, t, z, vz or orbit, t, x, y, vx, vy; TRAJ.npy the same as\n"
    "(orbits, samples, 1 + 2n). The amplitudes are spread evenly over 0.3 to 2.5. Orbits are\n"
    "exact to 1e-12, but for the noise that --noise asks for.\n"
    "\n"
    "Example:\n"
    "  actionfinder koopman mock coupled -o orbits.csv --orbits 32 --seed 1\n";

static const cli_command COMMANDS[] = {
    {"koopman fit", "TRAJ -o MODEL.safetensors [options]", "Trains a model on trajectories.",
     FIT_MANUAL, koopman_fit},
    {"koopman eval", "MODEL TRAJ -o OUT.csv|OUT.npy [options]",
     "Computes actions, angles, frequencies and energies, and how good they are.", EVAL_MANUAL,
     koopman_eval},
    {"koopman rollout", "MODEL --action J --angle THETA --times T0:T1:N -o OUT.csv",
     "Computes an orbit from its actions and angles.", ROLLOUT_MANUAL, koopman_rollout},
    {"koopman plot", "MODEL TRAJ -o FILE.svg [options]",
     "Draws what a model makes of trajectories.", PLOT_MANUAL, koopman_plot},
    {"koopman mock", "oscillator|slab|coupled -o TRAJ.csv [options]",
     "Makes trajectories to try it with.", MOCK_MANUAL, koopman_mock},
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static void help(FILE *to) {
    fputs("actionfinder koopman: actions, angles, frequencies and a Hamiltonian, learned from\n"
          "trajectories alone by a symplectic map to uniform rotation\n\n"
          "Commands:\n",
          to);
    cli_list(to, COMMANDS, COMMAND_COUNT, 15);
    fputs("  actionfinder koopman COMMAND --help   tells more, with examples\n\n"
          "Any canonical coordinates in any units, 1 to 8 degrees of freedom.\n\n"
          "A first try, a minute at most:\n"
          "  actionfinder koopman mock slab -o orbits.csv\n"
          "  actionfinder koopman fit orbits.csv -o koopman.safetensors\n"
          "  actionfinder koopman eval koopman.safetensors orbits.csv -o actions.csv\n"
          "  actionfinder koopman plot koopman.safetensors orbits.csv -o picture.svg\n",
          to);
}

int cli_koopman(const cli_command *command, int count, char **words) {
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
    return cli_dispatch("actionfinder koopman", COMMANDS, COMMAND_COUNT, count, words);
}

/* ---- trajectories ---- */

/* The words between the commas of `text`, which is cut there; at most 2n, one more is counted. */
static size_t koopman_split(char *text, const char **name) {
    size_t count = 0;
    char *next = text;
    while (next) {
        char *comma = strchr(next, ',');
        if (comma) *comma = 0;
        if (count < 2 * (size_t)AF_FREEDOMS_MAX) name[count] = next;
        if (count <= 2 * (size_t)AF_FREEDOMS_MAX) count++;
        next = comma ? comma + 1 : NULL;
    }
    return count;
}

static int koopman_check_columns(const char *command, const char *text, const char *const *name,
                                 size_t count) {
    size_t i, k;
    if (count % 2 || count > 2 * (size_t)AF_FREEDOMS_MAX)
        return cli_usage(command,
                         "--columns takes q_1 .. q_n, p_1 .. p_n, an even number of names from 2 "
                         "to %d, not '%s'",
                         2 * AF_FREEDOMS_MAX, text);
    for (i = 0; i < count; i++) {
        if (!*name[i]) return cli_usage(command, "--columns '%s' has an empty name", text);
        for (k = 0; k < i; k++)
            if (strcmp(name[i], name[k]) == 0)
                return cli_usage(command, "--columns '%s' names %s twice", text, name[i]);
    }
    return CLI_OK;
}

/* The columns of a table but orbit and t; returns how many there are, 0 for what cannot be read
 * twice. */
static size_t koopman_found(af_context *c, const char *path, koopman_label *label) {
    const size_t most = 2 * (size_t)AF_FREEDOMS_MAX;
    af_table *table = NULL;
    size_t i, count = 0;
    if (af_table_read(c, path, NULL, &table) == AF_OK)
        for (i = 0; i < af_table_columns(table) && count < most; i++) {
            const char *name = af_table_name(table, i);
            if (strcmp(name, "orbit") != 0 && strcmp(name, "t") != 0)
                snprintf(label[count++], sizeof *label, "%s", name);
        }
    af_table_destroy(table);
    af_error_clear(c);
    return count;
}

int koopman_labels(af_context *c, const char *path, const koopman_source *source,
                   const af_trajectories *t, koopman_label *label) {
    const char *name[2 * AF_FREEDOMS_MAX], *given = source->columns ? source->columns : "";
    char *copy = (char *)cli_allocate(strlen(given) + 1, 1);
    size_t n = 2 * af_trajectories_freedoms(t), i, count = 0, first = 1;
    int array = cli_ends_with(path, ".npy");
    af_array *a = NULL;
    memcpy(copy, given, strlen(given));
    if (source->columns) count = koopman_split(copy, name);
    for (i = 0; i < count; i++) snprintf(label[i], sizeof *label, "%s", name[i]);
    if (!source->columns && !array) count = koopman_found(c, path, label);
    if (array && source->interval > 0.0 && af_npy_read(c, path, &a) == AF_OK)
        first = a->dims[a->rank - 1] % 2;
    for (i = 0; i < n && count != n; i++)
        snprintf(label[i], sizeof *label, "[%lu]", (unsigned long)(first + i));
    af_array_destroy(a);
    free(copy);
    return count == n;
}

static void koopman_say(af_context *c, const char *path, const koopman_source *source,
                        const af_trajectories *t) {
    koopman_label label[2 * AF_FREEDOMS_MAX];
    size_t n = af_trajectories_freedoms(t), i;
    int named = koopman_labels(c, path, source, t, label);
    printf("%s: %lu orbits, %lu samples, %lu degree%s of freedom\n", path,
           (unsigned long)af_trajectories_orbits(t), (unsigned long)af_trajectories_total(t),
           (unsigned long)n, n > 1 ? "s" : "");
    for (i = 0; i < 2 * n; i++)
        printf("%s %s", i == 0 ? "  q =" : i == n ? "; p =" : "", label[i]);
    printf("%s\n", named ? "" : " (columns, counted from 0)");
    fflush(stdout);
}

int koopman_read(af_context *c, const char *command, const char *path, const koopman_source *source,
                 int say, af_trajectories **out) {
    const char *name[2 * AF_FREEDOMS_MAX];
    size_t length = source->columns ? strlen(source->columns) : 0;
    char *copy = (char *)cli_allocate(length + 1, 1);
    af_trajectories_desc d;
    int code = CLI_OK;
    memset(&d, 0, sizeof d);
    d.interval = source->interval;
    if (source->columns) {
        memcpy(copy, source->columns, length);
        d.columns = name;
        d.column_count = koopman_split(copy, name);
        code = koopman_check_columns(command, source->columns, name, d.column_count);
    }
    if (code == CLI_OK && af_trajectories_read(c, path, &d, out) != AF_OK) {
        const char *sentence = af_error(c), *hint = "";
        if (strstr(sentence, "give the time between samples")) hint = ": --interval DT";
        if (strstr(sentence, "name those")) hint = "; --columns q,..,p,.. does";
        code = cli_fail("%s%s", sentence, hint);
    }
    if (code == CLI_OK && say) koopman_say(c, path, source, *out);
    free(copy);
    return code;
}

int koopman_same_freedoms(const af_koopman *k, const char *model_path, const af_trajectories *t,
                          const char *path) {
    size_t n = af_koopman_freedoms(k), m = af_trajectories_freedoms(t);
    if (n == m) return CLI_OK;
    return cli_fail("the model '%s' has %lu degree%s of freedom, the trajectories '%s' have %lu",
                    model_path, (unsigned long)n, n > 1 ? "s" : "", path, (unsigned long)m);
}

int koopman_open(af_context *c, const char *command, const char *const path[2],
                 const koopman_source *source, int say, af_koopman **model,
                 af_trajectories **trajectories) {
    int code;
    *model = NULL;
    *trajectories = NULL;
    if (af_koopman_load(c, path[0], model) != AF_OK) return cli_fail_model(c, path[0]);
    code = koopman_read(c, command, path[1], source, say, trajectories);
    if (code != CLI_OK) return code;
    return koopman_same_freedoms(*model, path[0], *trajectories, path[1]);
}

/* ---- what a model makes of them ---- */

/* The root mean square of coordinate i, about its mean where `centred`. */
static double koopman_size(const koopman_map *m, size_t i, int centred) {
    const double *x = m->qp;
    size_t s;
    double mean = 0.0, square = 0.0;
    for (s = 0; s < m->total && centred; s++)
        mean += x[2 * m->freedoms * s + i] / (double)m->total;
    for (s = 0; s < m->total; s++) {
        double away = x[2 * m->freedoms * s + i] - mean;
        square += away * away / (double)m->total;
    }
    return sqrt(square);
}

static void koopman_units(koopman_map *m, int centred) {
    size_t i, n = m->freedoms;
    double size[2 * AF_FREEDOMS_MAX];
    for (i = 0; i < 2 * n; i++) size[i] = koopman_size(m, i, centred);
    for (i = 0; i < n; i++) m->action += size[i] * size[n + i] / (double)n;
    for (i = 0; i < n; i++) m->length[i] = sqrt(m->action * size[i] / size[n + i]);
}

static void koopman_means(koopman_map *m, af_koopman_evaluator *e) {
    size_t o, s, i, n = m->freedoms;
    for (o = 0; o < m->orbits; o++) {
        size_t first = m->first[o], count = af_trajectories_samples(m->t, o);
        for (i = 0; i < n; i++) {
            double mean = 0.0, square = 0.0;
            for (s = first; s < first + count; s++) mean += m->j[n * s + i] / (double)count;
            for (s = first; s < first + count; s++) {
                double away = m->j[n * s + i] - mean;
                square += away * away / (double)count;
            }
            m->mean_j[n * o + i] = mean;
            m->spread[n * o + i] = sqrt(square);
        }
    }
    af_koopman_frequencies(e, m->orbits, m->mean_j, m->mean_omega, NULL);
}

/* psi = sqrt(2 J) exp(i theta) of the samples of pair i, turned back, less its mean: the mean over
 * the samples of its squared length. */
static double koopman_turned_back(const koopman_map *m, size_t o, size_t i) {
    size_t s, n = m->freedoms, first = m->first[o];
    size_t count = af_trajectories_samples(m->t, o);
    const double *time = af_trajectories_time(m->t, o);
    double middle = 0.5 * (time[0] + time[count - 1]), real = 0.0, imaginary = 0.0, square = 0.0;
    int pass;
    for (pass = 0; pass < 2; pass++) /* the mean, then the distance from it */
        for (s = 0; s < count; s++) {
            double size = sqrt(2.0 * m->j[n * (first + s) + i] / m->action);
            double angle =
                m->theta[n * (first + s) + i] - m->mean_omega[n * o + i] * (time[s] - middle);
            double x = size * cos(angle), y = size * sin(angle);
            if (pass == 0) {
                real += x / (double)count;
                imaginary += y / (double)count;
            } else {
                square += ((x - real) * (x - real) + (y - imaginary) * (y - imaginary)) /
                          (double)count;
            }
        }
    return square;
}

/* Distances of states x (count,2n) from the samples from `first` on, out (count,n). */
static void koopman_distance(const koopman_map *m, size_t first, size_t count, const double *x,
                             double *out) {
    size_t s, i, n = m->freedoms;
    const double *true_x = m->qp + 2 * n * first;
    for (s = 0; s < count; s++)
        for (i = 0; i < n; i++) {
            size_t at = 2 * n * s + i;
            double dq = (x[at] - true_x[at]) / m->length[i];
            double dp = (x[at + n] - true_x[at + n]) * m->length[i] / m->action;
            out[n * s + i] = sqrt(dq * dq + dp * dp);
        }
}

static void koopman_predict(koopman_map *m, af_koopman_evaluator *e) {
    size_t o, s, n = m->freedoms;
    double *x = (double *)cli_allocate(m->total * 2 * n, sizeof *x);
    double *past = (double *)cli_allocate(m->total, sizeof *past);
    af_koopman_decode(e, m->total, m->j, m->theta, x);
    koopman_distance(m, 0, m->total, x, m->rebuilt);
    for (o = 0; o < m->orbits; o++) {
        size_t first = m->first[o], count = af_trajectories_samples(m->t, o);
        const double *time = af_trajectories_time(m->t, o);
        for (s = 0; s < count; s++) past[s] = time[s] - time[0];
        af_koopman_rollout(e, m->j + n * first, m->theta + n * first, count, past, x);
        koopman_distance(m, first, count, x, m->rolled + n * first);
    }
    free(x);
    free(past);
}

static void koopman_map_allocate(koopman_map *m, const af_trajectories *t, size_t n) {
    size_t o, first = 0, total = af_trajectories_total(t), orbits = af_trajectories_orbits(t);
    m->t = t;
    m->freedoms = n;
    m->total = total;
    m->orbits = orbits;
    m->first = (size_t *)cli_allocate(orbits, sizeof *m->first);
    m->qp = (double *)cli_allocate(total * 2 * n, sizeof *m->qp);
    for (o = 0; o < orbits; o++) {
        m->first[o] = first;
        memcpy(m->qp + 2 * n * first, af_trajectories_qp(t, o),
               af_trajectories_samples(t, o) * 2 * n * sizeof *m->qp);
        first += af_trajectories_samples(t, o);
    }
    m->j = (double *)cli_allocate(total * n, sizeof *m->j);
    m->theta = (double *)cli_allocate(total * n, sizeof *m->theta);
    m->omega = (double *)cli_allocate(total * n, sizeof *m->omega);
    m->energy = (double *)cli_allocate(total, sizeof *m->energy);
    m->rebuilt = (double *)cli_allocate(total * n, sizeof *m->rebuilt);
    m->rolled = (double *)cli_allocate(total * n, sizeof *m->rolled);
    m->mean_j = (double *)cli_allocate(orbits * n, sizeof *m->mean_j);
    m->mean_omega = (double *)cli_allocate(orbits * n, sizeof *m->mean_omega);
    m->spread = (double *)cli_allocate(orbits * n, sizeof *m->spread);
    m->turning = (double *)cli_allocate(orbits, sizeof *m->turning);
}

int koopman_map_make(af_context *c, const af_koopman *k, const af_trajectories *t,
                     koopman_map *m) {
    enum { BLOCK = 256 }; /* always, so that no result depends on how many there are */
    af_koopman_evaluator *e;
    size_t o, i;
    memset(m, 0, sizeof *m);
    if (af_koopman_evaluator_create(k, BLOCK, &e) != AF_OK) return cli_fail_library(c);
    koopman_map_allocate(m, t, af_koopman_freedoms(k));
    koopman_units(m, af_koopman_settings(k)->asymmetric);
    af_koopman_encode(e, m->total, m->qp, m->j, m->theta, m->omega, m->energy);
    koopman_means(m, e);
    for (o = 0; o < m->orbits; o++) {
        for (i = 0; i < m->freedoms; i++) m->turning[o] += koopman_turned_back(m, o, i);
        m->turning[o] = sqrt(m->turning[o]);
    }
    koopman_predict(m, e);
    af_koopman_evaluator_destroy(e);
    return CLI_OK;
}

void koopman_map_free(koopman_map *m) {
    free(m->first);
    free(m->qp);
    free(m->j);
    free(m->theta);
    free(m->omega);
    free(m->energy);
    free(m->rebuilt);
    free(m->rolled);
    free(m->mean_j);
    free(m->mean_omega);
    free(m->spread);
    free(m->turning);
    memset(m, 0, sizeof *m);
}

double koopman_rms(const double *x, size_t samples, size_t freedoms) {
    size_t s;
    double sum = 0.0;
    for (s = 0; s < samples * freedoms; s++) sum += x[s] * x[s];
    return sqrt(sum / (double)samples);
}

double koopman_turning(const koopman_map *m) {
    size_t o;
    double sum = 0.0;
    for (o = 0; o < m->orbits; o++)
        sum += m->turning[o] * m->turning[o] * (double)af_trajectories_samples(m->t, o);
    return sqrt(sum / (double)m->total);
}

/* ---- tables ---- */

size_t koopman_name(const char *base, size_t n, size_t at, char (*room)[KOOPMAN_NAME],
                    const char **names) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (n == 1) snprintf(room[at], KOOPMAN_NAME, "%s", base);
        else snprintf(room[at + i], KOOPMAN_NAME, "%s_%u", base, (unsigned)i + 1);
        names[at + i] = room[at + i];
    }
    return at + n;
}

int koopman_write(af_context *c, const char *path, const char *comment, const char *const *names,
                  size_t columns, size_t rows, const double *data) {
    af_table *t = NULL;
    size_t k, dims[2];
    af_status s;
    dims[0] = rows;
    dims[1] = columns;
    if (cli_ends_with(path, ".npy")) {
        s = af_npy_write(c, path, 2, dims, data);
    } else {
        s = af_table_create(c, &t);
        if (s == AF_OK) s = af_table_comment(t, comment);
        for (k = 0; k < columns && s == AF_OK; k++)
            s = af_table_add(t, names[k], rows, data + k, columns);
        if (s == AF_OK) s = af_table_write(t, path);
        af_table_destroy(t);
    }
    return s == AF_OK ? CLI_OK : cli_fail_library(c);
}
