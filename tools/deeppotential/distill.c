/* deeppotential distill: formulas for the potential that a network has learned. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "distill";

typedef struct distill_settings {
    deep_formulas f; /* first: callbacks of the search get it */
    const char *inputs, *radii, *heights, *at;
    size_t n;
    deep_range radius, height;
    int word; /* of INPUTS */
    deep_field *model; /* (count) */
    size_t count;
    dp_distilled *found;
} distill_settings;

static const char *const INPUTS[3] = {"auto", "r", "rz"}; /* as in dp_symmetry */

static size_t distill_options(distill_settings *o, cli_option *out) {
    const cli_option list[] = {
        {"inputs", CLI_TEXT, &o->inputs, "WORD",
         "variables of the formula: r, rz or auto (default): as the potential is"},
        {"radii", CLI_TEXT, &o->radii, "FROM:TO:N", "where: r, by equal factors; or R, evenly"},
        {"heights", CLI_TEXT, &o->heights, "FROM:TO:N",
         "with R: z, evenly; default up and down to half of R"},
        {"at", CLI_TEXT, &o->at, "POINTS", "instead: at these places, like the stars"},
        {"n", CLI_COUNT, &o->n, "N", "of POINTS the first N"},
        DEEP_FORMULAS_OPTIONS(&o->f),
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof *list;
}

/* ---- the potentials as a field ---- */

/* Their mean, each less its mean over the points; their scatter gives the error. */
static af_status distill_mean(const dp_field *field, size_t n, const double *x, double *value,
                              double *acceleration, double *error) {
    const distill_settings *o = (const distill_settings *)field->user;
    double *phi = (double *)cli_allocate(5 * n, sizeof *phi), *a = phi + n, *unused = phi + 4 * n;
    double share = 1.0 / (double)o->count;
    af_status s = AF_OK;
    size_t k, i;
    for (i = 0; i < 3 * n; i++) acceleration[i] = 0.0;
    for (k = 0; k < o->count && s == AF_OK; k++) {
        const dp_field *one = &o->model[k].field;
        double level = 0.0;
        s = one->evaluate(one, n, x, phi, a, unused);
        for (i = 0; i < n; i++) level += phi[i] / (double)n;
        for (i = 0; i < n && s == AF_OK; i++) {
            double before = value[i];
            value[i] += (phi[i] - level - before) / (double)(k + 1); /* Welford */
            error[i] += (phi[i] - level - before) * (phi[i] - level - value[i]);
        }
        for (i = 0; i < 3 * n && s == AF_OK; i++) acceleration[i] += share * a[i];
    }
    for (i = 0; i < n; i++) error[i] = sqrt(error[i] * share / (double)(o->count - 1));
    free(phi);
    return s;
}

static int distill_open(af_context *c, distill_settings *o, const char *const *path,
                        dp_field *field) {
    size_t k;
    int code = CLI_OK;
    o->model = (deep_field *)cli_allocate(o->count, sizeof *o->model);
    for (k = 0; k < o->count && code == CLI_OK; k++)
        code = deep_open_field(c, path[k], &o->model[k]);
    if (code != CLI_OK) return code;
    *field = o->model[0].field;
    for (k = 1; k < o->count; k++)
        if (o->model[k].field.symmetry != field->symmetry) field->symmetry = DP_SYMMETRY_AUTO;
    if (o->count > 1) {
        field->evaluate = distill_mean;
        field->user = o;
    }
    return CLI_OK;
}

/* ---- options ---- */

static int distill_places_check(distill_settings *o) {
    int code = cli_word(NAME, "inputs", o->inputs, INPUTS, 3, &o->word);
    if (code >= 0) return code;
    if ((o->at != NULL) == (o->radii != NULL))
        return cli_usage(NAME, "--radii FROM:TO:N or --at POINTS says where it is taken");
    if (o->n && !o->at) return cli_usage(NAME, "-n goes with --at POINTS");
    if (o->heights && (o->word == DP_SPHERICAL || o->at))
        return cli_usage(NAME, "--heights goes with --inputs rz and --radii");
    if (o->heights) o->word = DP_AXISYMMETRIC;
    if (o->at && !o->word) o->word = DP_SPHERICAL;
    if ((code = deep_range_of(NAME, "radii", o->radii, &o->radius)) >= 0) return code;
    if (o->radii && o->word != DP_AXISYMMETRIC && !(o->radius.low > 0.0))
        return cli_usage(NAME, "--radii begins at 0; with factors between radii it must be above");
    return deep_heights_of(NAME, o->heights, &o->height);
}

/* kpc and km/s; by default two lengths in the plane, one otherwise, and an offset. */
static int distill_words(distill_settings *o) {
    int code, plane = o->word == DP_AXISYMMETRIC;
    if (!o->f.constants)
        o->f.constants = plane ? "GM:kpc*km^2/s^2,a:kpc,b:kpc" : "GM:kpc*km^2/s^2,b:kpc";
    if (!o->f.affine) o->f.affine = "offset"; /* a network's constant is arbitrary */
    deep_formulas_fitted(&o->f, "phi:km^2/s^2");
    code = deep_formulas_add(&o->f, NAME, "inputs", DP_VARIABLE, plane ? "R:kpc,z:kpc" : "r:kpc");
    return code < 0 ? deep_formulas_options(&o->f, NAME) : code;
}

/* ---- the command ---- */

static double distill_filter(const dp_symbolic_candidate *candidate, void *settings) {
    distill_settings *o = (distill_settings *)settings;
    o->f.sets = &o->found->data;
    o->f.set_count = 1;
    return deep_filter(candidate, &o->f);
}

static void distill_say(const distill_settings *o) {
    const dp_distilled *d = o->found;
    if (o->f.quiet) return;
    printf("potential at %lu places", (unsigned long)d->data.n);
    if (!o->at)
        printf(", %s: among directions it scatters by %.3g %% of its range",
               o->word == DP_SPHERICAL ? "spherical" : "axisymmetric", 100.0 * d->scatter);
    printf("\n");
    if (d->result.count)
        printf("what formulas leave of it counts as %.0f independent points\n", d->independent);
}

static int distill_run(af_context *c, distill_settings *o, const dp_field *field) {
    dp_distill_desc desc;
    double *places = NULL;
    af_status s;
    int code = deep_formulas_begin(c, &o->f);
    memset(&desc, 0, sizeof desc);
    desc.symmetry = (dp_symmetry)o->word;
    desc.low[0] = o->radius.low;
    desc.high[0] = o->radius.high;
    desc.count[0] = o->radius.count;
    desc.low[1] = o->height.low;
    desc.high[1] = o->height.high;
    desc.count[1] = o->height.count;
    desc.vocabulary = &o->f.v;
    desc.search = &o->f.desc;
    if (o->f.filters) o->f.desc.filter = distill_filter;
    if (code == CLI_OK && o->at) code = deep_read_places(c, o->at, &desc.place_count, &places);
    if (o->n && o->n < desc.place_count) desc.place_count = o->n;
    desc.places = places;
    if (code == CLI_OK) {
        s = dp_distill(c, field, &desc, &o->found);
        if (o->found) {
            o->f.result = &o->found->result;
            o->f.sets = &o->found->data;
            o->f.set_count = 1;
        }
        code = deep_formulas_end(c, &o->f, s);
        if (o->found) distill_say(o);
    }
    free(places);
    return code == CLI_OK ? deep_formulas_report(c, &o->f, "of force", o->found->force_error)
                          : code;
}

static int distill_all(af_context *c, distill_settings *o, const char *const *path) {
    dp_symmetry symmetry = (dp_symmetry)o->word;
    dp_field field;
    int code = distill_open(c, o, path, &field);
    if (code == CLI_OK && !symmetry &&
        dp_field_symmetry(c, &field, o->radius.low, o->radius.high, &symmetry) != AF_OK)
        code = cli_fail_library(c);
    if (code != CLI_OK) return code;
    o->word = (int)symmetry;
    code = distill_words(o);
    if (code < 0) code = deep_formulas_outputs(&o->f, path, o->count);
    return code == CLI_OK ? distill_run(c, o, &field) : code;
}

int deep_distill(const cli_command *command, int count, char **words) {
    const char **path = (const char **)cli_allocate((size_t)count + 1, sizeof *path);
    cli_option options[DEEP_OPTIONS];
    distill_settings o;
    af_context *c = NULL;
    size_t k;
    int code;
    memset(&o, 0, sizeof o);
    code = cli_parse(command, options, distill_options(&o, options), count, words, path, -1);
    while (path[o.count]) o.count++;
    if (code < 0) code = distill_places_check(&o);
    if (code < 0) {
        code = cli_context(o.f.threads, &c);
        if (code == CLI_OK) code = distill_all(c, &o, path);
    }
    o.f.result = NULL; /* it is found's */
    dp_distilled_destroy(o.found);
    for (k = 0; k < o.count && o.model; k++) deep_field_free(&o.model[k]);
    free(o.model);
    deep_formulas_free(&o.f);
    af_context_destroy(c);
    free(path);
    return code;
}
