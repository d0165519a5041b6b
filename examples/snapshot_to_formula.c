/* cc -O2 -I. examples/snapshot_to_formula.c -o snapshot_to_formula -lm
 *
 * From a snapshot to a formula. 100,000 stars on orbits in an isochrone, three clumps in their
 * actions; nothing but their positions and velocities is handed on. The potential that makes their
 * actions most likely is found, free in form; then the shortest formula within its error bars.
 * Prints the formula, its constants beside the true ones and the errors of potential and force
 * beside those of the potential that the fit began with. Draws snapshot_to_formula.svg, or the file
 * named first; a number after it is the seed. The last line is the largest error of the formula's
 * potential, over ten times the range of radii that was fitted. */

#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"

#include "figure.h"

#include <time.h>

enum { STARS = 100000, RADII = 200 };

#define MASS 8e10 /* Msun */
#define SCALE 3.0 /* b [kpc] */

static double seconds(void *user) {
    (void)user;
    return (double)clock() / CLOCKS_PER_SEC; /* of all cores */
}

static int fail(const af_context *c) {
    fprintf(stderr, "%s\n", af_error(c));
    return 1;
}

/* ---- stars ---- */

/* Stationary in the isochrone: clumps of (J_r, L) in units of sqrt(GM b), angles and the orbits'
 * planes at random. Together they reach from 0.3 b to 12 b: over less several formulas agree. */
static void make_stars(const af_isochrone *iso, uint64_t seed, double *eta) {
    static const double mean[3][2] = {{0.15, 0.2}, {0.2, 0.7}, {0.7, 1.2}};
    static const double width[3][2] = {{0.03, 0.04}, {0.04, 0.1}, {0.1, 0.15}};
    double unit = sqrt(AF_GRAVITY * iso->mass * iso->scale);
    size_t done = 0, k;
    uint64_t i;
    for (i = 0; done < STARS; i++) {
        double u = af_random_uniform(seed, 0, i), j[3], theta[3], l, up;
        size_t clump = u < 0.4 ? 0 : u < 0.75 ? 1 : 2;
        j[2] = unit * (mean[clump][0] + width[clump][0] * af_random_normal(seed, 1, i));
        l = unit * (mean[clump][1] + width[clump][1] * af_random_normal(seed, 2, i));
        up = 2.0 * af_random_uniform(seed, 3, i) - 1.0;
        for (k = 0; k < 3; k++) theta[k] = 2.0 * FIGURE_PI * af_random_uniform(seed, 4 + k, i);
        if (!(j[2] > 0.0) || !(l > 0.0)) continue;
        j[0] = l * up; /* L_z */
        j[1] = l - fabs(j[0]);
        af_isochrone_position(iso, j, theta, eta + 6 * done++, NULL);
    }
}

/* ---- the potential ---- */

/* At radii: the truth, what was recovered, what the formula gives. */
typedef struct profile {
    double r[RADII], phi[RADII], force[RADII]; /* of the isochrone */
    dp_radial untrained[RADII], found[RADII];  /* at the start; at the end */
    double formula[RADII];                     /* less C: zero at infinity */
} profile;

static double truth(const af_isochrone *iso, double r, double *force) {
    double s = sqrt(iso->scale * iso->scale + r * r), gm = AF_GRAVITY * iso->mass;
    if (force) *force = -gm * r / (s * (iso->scale + s) * (iso->scale + s));
    return -gm / (iso->scale + s);
}

/* rms of phi and of the force against the truth, over the rms about its mean and the rms of these;
 * the constant of phi is not observable. */
static void errors(const profile *p, const dp_radial *at, double out[2]) {
    double mean = 0.0, off = 0.0, phi = 0.0, spread = 0.0, force = 0.0, all = 0.0;
    size_t i;
    for (i = 0; i < RADII; i++) {
        mean += p->phi[i] / RADII;
        off += (at[i].phi - p->phi[i]) / RADII;
    }
    for (i = 0; i < RADII; i++) {
        phi += pow(at[i].phi - p->phi[i] - off, 2.0);
        spread += pow(p->phi[i] - mean, 2.0);
        force += pow(at[i].force - p->force[i], 2.0);
        all += pow(p->force[i], 2.0);
    }
    out[0] = sqrt(phi / spread);
    out[1] = sqrt(force / all);
}

/* The potential from the stars, and the one that the fit began with. */
static int recover(const dp_sample *stars, const af_isochrone *iso, profile *p,
                   dp_recovered **out) {
    dp_recover_report report;
    size_t i;
    if (dp_recover(stars, NULL, out) != AF_OK) return 0;
    report = dp_recovered_report(*out);
    for (i = 0; i < RADII; i++) {
        p->r[i] = report.inner * pow(report.outer / report.inner, (double)i / (RADII - 1));
        p->phi[i] = truth(iso, p->r[i], &p->force[i]);
    }
    printf("recovered from %lu stars in %lu steps; radii of %.3g to %.3g kpc hold 98 %%\n",
           (unsigned long)report.stars, (unsigned long)report.steps, report.inner, report.outer);
    return dp_recovered_untrained(*out, RADII, p->r, p->untrained) == AF_OK &&
           dp_recovered_evaluate(*out, RADII, p->r, p->found) == AF_OK;
}

/* ---- the formula ---- */

/* The value at one radius, less the offset C that it may have. */
static double formula_at(const dp_distilled *d, double r, double zero) {
    const dp_symbolic_entry *e = &d->result.front[d->result.best];
    const double *column = &r;
    double value = 0.0;
    dp_formula_evaluate(&d->result.vocabulary, &e->formula, 1, &column, e->constants, &value);
    return value - zero;
}

static int distil(af_context *c, const dp_recovered *r, profile *p, dp_distilled **out) {
    dp_field field = dp_recovered_field(r);
    dp_distill_desc desc = {0};
    const dp_symbolic_entry *e;
    char text[256];
    size_t k, i;
    desc.low[0] = p->r[0];
    desc.high[0] = p->r[RADII - 1];
    if (dp_distill(c, &field, &desc, out) != AF_OK) return 0;
    for (k = 0; k < (*out)->result.count; k++) {
        e = &(*out)->result.front[k];
        dp_formula_text(c, &(*out)->result.vocabulary, &e->formula, DP_TEXT_PLAIN, text,
                        sizeof text);
        printf("%s %2lu tokens, error %.1e   %s\n", k == (*out)->result.best ? "*" : " ",
               (unsigned long)e->formula.length, e->error, text);
    }
    for (i = 0; i < RADII; i++) p->formula[i] = formula_at(*out, p->r[i], 0.0);
    return 1;
}

/* ---- the picture ---- */

/* Potentials with their values at the last radius at zero, and what they are off by. */
static int draw(const char *path, const profile *p, const char *text) {
    double rise[3][RADII], low[RADII], high[RADII], off[2][RADII], most = 0.0, top;
    const dp_radial *end = &p->found[RADII - 1];
    figure f;
    figure_panel panel;
    size_t i, last = RADII - 1;
    for (i = 0; i < RADII; i++) {
        rise[0][i] = 1e-4 * (p->phi[i] - p->phi[last]); /* (100 km/s)^2 */
        rise[1][i] = 1e-4 * (p->untrained[i].phi - p->untrained[last].phi);
        rise[2][i] = 1e-4 * (p->formula[i] - p->formula[last]);
        off[0][i] = p->found[i].phi - end->phi - 1e4 * rise[0][i];
        off[1][i] = 1e4 * (rise[2][i] - rise[0][i]);
        low[i] = off[0][i] - p->found[i].phi_error;
        high[i] = off[0][i] + p->found[i].phi_error;
        most = fmax(most, fmax(fabs(low[i]), fabs(high[i])));
    }
    top = fabs(rise[0][0]);
    if (!figure_begin(&f, path, 560, 560)) return 0;
    panel = figure_panel_begin(&f, 80.0, 40.0, 450.0, 290.0, text,
                               figure_axis_of("r [kpc]", p->r[0], p->r[last], 1),
                               figure_axis_of("&#934; [(100 km/s)&#178;]", -1.3 * top, 0.1 * top, 0));
    figure_line(&panel, RADII, p->r, rise[1], figure_pen("#999999", 1.5));
    figure_line(&panel, RADII, p->r, rise[0], figure_pen("#d08a1f", 5.0));
    figure_line(&panel, RADII, p->r, rise[2], figure_pen("#1f5fa8", 1.5));
    figure_legend(&panel, "isochrone of the stars", figure_pen("#d08a1f", 5.0), 0, 1);
    figure_legend(&panel, "formula", figure_pen("#1f5fa8", 1.5), 0, 1);
    figure_legend(&panel, "untrained", figure_pen("#999999", 1.5), 0, 1);
    panel = figure_panel_begin(&f, 80.0, 400.0, 450.0, 110.0, "less the isochrone",
                               figure_axis_of("r [kpc]", p->r[0], p->r[last], 1),
                               figure_axis_of("&#916;&#934; [(km/s)&#178;]", -1.2 * most, 1.2 * most, 0));
    figure_line(&panel, RADII, p->r, low, figure_dashed(figure_pen("#555555", 1.0), "3 3"));
    figure_line(&panel, RADII, p->r, high, figure_dashed(figure_pen("#555555", 1.0), "3 3"));
    figure_line(&panel, RADII, p->r, off[0], figure_pen("#555555", 1.5));
    figure_line(&panel, RADII, p->r, off[1], figure_pen("#1f5fa8", 1.5));
    figure_legend(&panel, "formula", figure_pen("#1f5fa8", 1.5), 0, 0);
    figure_legend(&panel, "recovered, with its standard error", figure_pen("#555555", 1.5), 0, 0);
    return figure_end(&f);
}

/* ---- all of it ---- */

/* The largest error over |Phi|, from a tenth of the radii to ten times. */
static double away(const dp_distilled *d, const af_isochrone *iso, const profile *p) {
    double zero = formula_at(d, 1e9 * SCALE, 0.0), worst = 0.0;
    size_t i;
    for (i = 0; i < RADII; i++) {
        double r = 0.1 * p->r[0] * pow(100.0 * p->r[RADII - 1] / p->r[0], (double)i / (RADII - 1));
        worst = fmax(worst, fabs(formula_at(d, r, zero) / truth(iso, r, NULL) - 1.0));
    }
    return worst;
}

static int run(af_context *c, const dp_sample *stars, const af_isochrone *iso, const char *path) {
    static profile p;
    double start = seconds(NULL), middle, before[2], after[2];
    dp_recovered *potential = NULL;
    dp_distilled *formula = NULL;
    char text[256];
    int fine = recover(stars, iso, &p, &potential);
    middle = seconds(NULL);
    fine = fine && distil(c, potential, &p, &formula);
    if (fine) {
        const dp_symbolic_entry *e = &formula->result.front[formula->result.best];
        errors(&p, p.untrained, before);
        errors(&p, p.found, after);
        dp_formula_text(c, &formula->result.vocabulary, &e->formula, DP_TEXT_PLAIN, text,
                        sizeof text);
        printf("\n  Phi = %s\n\n%-24s%12s%12s\n", text, "", "found", "true");
        printf("%-24s%12.5g%12.5g\n%-24s%12.5g%12.5g\n", "GM [kpc (km/s)^2]", e->constants[0],
               AF_GRAVITY * iso->mass, "b [kpc]", e->constants[1], iso->scale);
        printf("%-24s%12s%12s\n", "", "fitted", "untrained");
        printf("%-24s%11.3f%%%11.3f%%\n%-24s%11.3f%%%11.3f%%\n", "error of the potential",
               100.0 * after[0], 100.0 * before[0], "error of the force", 100.0 * after[1],
               100.0 * before[1]);
        printf("CPU seconds: potential %.1f, formula %.1f\n", middle - start,
               seconds(NULL) - middle);
        printf("largest error of the formula's potential, from a tenth of the radii to ten times: "
               "%.2g %%\n", 100.0 * away(formula, iso, &p));
        fine = draw(path, &p, text);
    }
    dp_distilled_destroy(formula);
    dp_recovered_destroy(potential);
    return fine ? 0 : fail(c);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "snapshot_to_formula.svg";
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    double *eta = (double *)malloc(6 * STARS * sizeof *eta);
    af_isochrone iso;
    af_context *c = NULL;
    dp_sample *stars = NULL;
    int code = 1;
    iso.mass = MASS;
    iso.scale = SCALE;
    if (!eta || af_context_create(NULL, &c) != AF_OK) {
        fprintf(stderr, "out of memory\n");
    } else {
        make_stars(&iso, seed, eta);
        if (dp_sample_create(c, STARS, eta, NULL, NULL, NULL, &stars) == AF_OK)
            code = run(c, stars, &iso, path);
        else
            code = fail(c);
    }
    dp_sample_destroy(stars);
    af_context_destroy(c);
    free(eta);
    return code;
}
