/* cc -O2 -fopenmp -I. examples/actionfinder_fit.c -o actionfinder_fit -lm
 *
 * ActionFinder on mock data whose answer is known: streams of eight stars, each on an orbit in an
 * isochrone. The finder is not told the isochrone; it starts from a toy that is 20 % too heavy, and
 * learns from nothing but that the stars of a stream have the same actions. With a file name the
 * model is saved: ./actionfinder_fit model.safetensors */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STREAMS = 256, STARS = 8, EPOCHS = 600 };

static const af_isochrone truth = {3.334e11, 5.0}; /* [Msun], [kpc] */
static double stars[STREAMS][STARS][6];
static double exact[STREAMS][3], found[STREAMS][STARS][3];

/* Stars of a stream: one orbit within 0.1 Gyr, from a place between 6 and 16 kpc. */
static void make_stream(uint64_t s) {
    double start[6], j[3], theta[3], omega[3], angle[3], radius, length;
    uint64_t i, k;
    unsigned flags;
    uint64_t n = 0; /* counter of random numbers; (seed, stream, counter) gives the same anywhere */
    do {
        for (k = 0; k < 6; k++) start[k] = af_random_normal(1, s, n++);
        length = sqrt(start[0] * start[0] + start[1] * start[1] + start[2] * start[2]);
        radius = 6.0 + 10.0 * af_random_uniform(1, s, n++);
        for (k = 0; k < 3; k++) {
            start[k] *= radius / length;
            start[3 + k] *= 100.0;
        }
        flags = af_isochrone_actions(&truth, start, j, theta, omega);
    } while (flags != 0 || j[2] > 1500.0); /* the barely bound would not be bound in any toy */
    for (k = 0; k < 3; k++) exact[s][k] = j[k];
    for (i = 0; i < STARS; i++) {
        double gyr = 0.1 * af_random_uniform(1, s, n++);
        for (k = 0; k < 3; k++) angle[k] = theta[k] + af_rad_per_gyr(omega[k]) * gyr;
        af_isochrone_position(&truth, j, angle, stars[s][i], NULL);
    }
}

/* Mean over stars and components of |J - truth| [km/s kpc]. */
static double mean_error(const af_finder *finder, const af_orbits *orbits) {
    double sum = 0.0;
    int s, i, k;
    if (af_finder_evaluate(finder, orbits, found[0][0], NULL, NULL) != AF_OK) return INFINITY;
    for (s = 0; s < STREAMS; s++)
        for (i = 0; i < STARS; i++)
            for (k = 0; k < 3; k++) sum += fabs(found[s][i][k] - exact[s][k]);
    return sum / (3 * STREAMS * STARS);
}

static int show(const af_progress *p, void *user) {
    (void)user;
    if (p->epoch % 100 == 0)
        printf("epoch %4d of %d: spread %.4f\n", (int)p->epoch, (int)p->epochs, p->loss);
    fflush(stdout);
    return 0; /* anything else stops */
}

int main(int argc, char **argv) {
    af_finder_desc model;
    af_fit_desc fit;
    af_context *c = NULL;
    af_orbits *orbits = NULL;
    af_finder *finder = NULL;
    double before = 0.0, after = 0.0;
    uint64_t s;
    memset(&model, 0, sizeof model); /* zero is the default of every option */
    memset(&fit, 0, sizeof fit);
    model.toy.mass = 1.2 * truth.mass;
    model.toy.scale = truth.scale;
    fit.epochs = EPOCHS;
    fit.progress = show;
    for (s = 0; s < STREAMS; s++) make_stream(s);
    if (af_context_create(NULL, &c) == AF_OK &&
        af_orbits_create(c, STREAMS, STARS, stars[0][0], NULL, &orbits) == AF_OK &&
        af_finder_create(c, orbits, &model, &finder) == AF_OK) {
        before = mean_error(finder, orbits);
        if (af_finder_fit(finder, orbits, &fit) == AF_OK) after = mean_error(finder, orbits);
        if (argc > 1) af_finder_save(finder, argv[1]);
    }
    if (!c || af_error_status(c) != AF_OK) {
        fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
        return 1;
    }
    af_finder_destroy(finder);
    af_orbits_destroy(orbits);
    af_context_destroy(c);
    printf("mean error of the actions in the wrong toy: %.2f km/s kpc\n", before);
    printf("mean error of the actions after learning: %.2f km/s kpc\n", after);
    return after < 0.1 * before ? 0 : 1;
}
