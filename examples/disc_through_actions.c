/* cc -O2 -fopenmp -I. examples/disc_through_actions.c -o disc_through_actions -lm
 *
 * A disc's potential from a snapshot, through actions: 20,000 stars, phase-mixed in a Miyamoto-Nagai
 * disc with GM = 1, a = 1, b = 0.1; nothing but their positions and velocities is handed on. First
 * the numbers of a disc of known form, begun far from the truth; then the force without a word
 * about the form, beside the one that the fit began with. A number after the name is the seed. The
 * last line is the mean error of that force; half a minute on one core. */

#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STARS = 20000, RADII = 6, HEIGHTS = 4, PLACES = RADII * HEIGHTS };

static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; /* of all cores */ }

/* The form is known. */
static int numbers(const dp_sample *stars) {
    const char *name[3] = {"GM", "a", "b"};
    const double truth[3] = {1.0, 1.0, 0.1};
    const af_potential start = af_potential_miyamoto_nagai(2.0 / AF_GRAVITY, 1.7, 0.25), *part;
    double from[3], found[3], since = seconds();
    dp_recover_desc desc = {0};
    dp_axisymmetric *disc;
    int k;
    desc.parts = &start;
    desc.part_count = 1;
    if (dp_recover_axisymmetric(stars, &desc, &disc) != AF_OK) return 0;
    part = dp_axisymmetric_parts(disc, NULL);
    from[0] = start.mass * AF_GRAVITY;
    from[1] = start.length;
    from[2] = start.height;
    found[0] = part->mass * AF_GRAVITY;
    found[1] = part->length;
    found[2] = part->height;
    printf("   %8s %8s   found\n", "true", "begun at");
    for (k = 0; k < 3; k++)
        printf("%-2s %8g %8g   %.4f +- %.4f\n", name[k], truth[k], from[k], found[k],
               found[k] * dp_axisymmetric_errors(disc)[k]);
    printf("in %.1f CPU seconds\n\n", seconds() - since);
    dp_axisymmetric_destroy(disc);
    return 1;
}

/* The mean of |force - truth|/|truth| at places (PLACES,2). */
static double error_of(const double *place, const dp_meridional *at) {
    const af_potential truth = af_potential_miyamoto_nagai(1.0 / AF_GRAVITY, 1.0, 0.1);
    double sum = 0.0;
    int i;
    for (i = 0; i < PLACES; i++) {
        double x[3] = {0.0, 0.0, 0.0}, a[3];
        x[0] = place[2 * i];
        x[2] = place[2 * i + 1];
        af_potential_acceleration(&truth, 1, x, a);
        sum += hypot(at[i].force[0] - a[0], at[i].force[1] - a[2]) / hypot(a[0], a[2]);
    }
    return sum / PLACES;
}

/* It is not: two discs and a sphere, all of whose numbers are free. */
static int forces(const dp_sample *stars, double *error) {
    double place[2 * PLACES], since = seconds();
    dp_meridional found[PLACES], untrained[PLACES];
    dp_axisymmetric *disc;
    dp_recover_report report;
    int i, fine;
    if (dp_recover_axisymmetric(stars, NULL, &disc) != AF_OK) return 0;
    report = dp_axisymmetric_report(disc);
    for (i = 0; i < PLACES; i++) {
        double share = (double)(i / HEIGHTS) / (RADII - 1);
        place[2 * i] = report.inner * pow(report.outer / report.inner, share);
        place[2 * i + 1] = 0.05 * (i % HEIGHTS) * (i % HEIGHTS);
    }
    fine = dp_axisymmetric_evaluate(disc, PLACES, place, found) == AF_OK &&
           dp_axisymmetric_untrained(disc, PLACES, place, untrained) == AF_OK;
    if (fine) {
        *error = error_of(place, found);
        printf("of no known form, %lu steps, %.1f CPU seconds\n", (unsigned long)report.steps,
               seconds() - since);
        printf("mean error of the untrained force: %.4f\n", error_of(place, untrained));
        printf("mean error of the force: %.4f\n", *error);
    }
    dp_axisymmetric_destroy(disc);
    return fine;
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    double *eta = (double *)malloc(6 * STARS * sizeof *eta), error = 1.0;
    af_context *c = NULL;
    dp_sample *stars = NULL;
    int fine = eta && af_context_create(NULL, &c) == AF_OK &&
               dp_mock_disc(c, NULL, STARS, seed, eta) == AF_OK &&
               dp_sample_create(c, STARS, eta, NULL, NULL, NULL, &stars) == AF_OK &&
               numbers(stars) && forces(stars, &error);
    if (!fine) fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
    dp_sample_destroy(stars);
    af_context_destroy(c);
    free(eta);
    return fine && error < 0.02 ? 0 : 1;
}
