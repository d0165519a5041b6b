/* cc -O2 -fopenmp -I. examples/orbit_integrator.c -o orbit_integrator -lm
 *
 * Actions along orbits, from a program's own integrator: its force, its leapfrog, its loop; a star
 * at a time, nothing allocated in the loop, and then the same on all cores, an evaluator each.
 * With a model that `make demo` has trained in this very galaxy:
 *
 *     ./orbit_integrator build/demo/model.safetensors
 *
 * Without a name it trains a small one first, for some seconds, on orbits like those it follows. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#ifdef _OPENMP
#  include <omp.h>
#else
static int omp_get_max_threads(void) { return 1; }
static int omp_get_thread_num(void) { return 0; }
#endif

enum { STREAMS = 384, STARS = 8, ORBITS = 32, ROWS = 400, CORES = 64 };

static const double STEP = 0.0005; /* Gyr */

/* G M [kpc (km/s)^2], a, b [kpc] of two Miyamoto-Nagai discs and a bulge; and an NFW halo. */
static void pull(const double x[3], double a[3]) {
    static const double part[3][3] = {
        {197842.2, 3.0, 0.28}, {47310.1, 2.5, 0.9}, {38708.3, 0.0, 0.4}};
    double r2 = x[0] * x[0] + x[1] * x[1] + x[2] * x[2], r = sqrt(r2), s = r / 17.0;
    double halo = -2838605.4 * (log1p(s) - s / (1.0 + s)) / (r2 * r);
    int i;
    for (i = 0; i < 3; i++) a[i] = halo * x[i];
    for (i = 0; i < 3; i++) {
        double root = sqrt(x[2] * x[2] + part[i][2] * part[i][2]), h = part[i][1] + root;
        double d2 = x[0] * x[0] + x[1] * x[1] + h * h, f = -part[i][0] / (d2 * sqrt(d2));
        a[0] += f * x[0];
        a[1] += f * x[1];
        a[2] += f * x[2] * h / root;
    }
}

/* Kick, drift, kick, and again; a is the acceleration at xv, before and after. */
static void leapfrog(int steps, double xv[6], double a[3]) {
    const double gyr = 1.022712165 * STEP; /* 1 km/s is that many kpc/Gyr */
    int k;
    while (steps-- > 0) {
        for (k = 0; k < 3; k++) xv[3 + k] += 0.5 * gyr * a[k];
        for (k = 0; k < 3; k++) xv[k] += gyr * xv[3 + k];
        pull(xv, a);
        for (k = 0; k < 3; k++) xv[3 + k] += 0.5 * gyr * a[k];
    }
}

/* 6 to 12 kpc from the centre, on eccentric and inclined orbits. */
static void some_star(int i, double xv[6]) {
    uint64_t star = (uint64_t)i;
    xv[0] = 6.0 + 6.0 * af_random_uniform(5, star, 0);
    xv[1] = 0.0;
    xv[2] = xv[0] * 0.3 * af_random_normal(5, star, 1);
    xv[3] = 50.0 * af_random_normal(5, star, 2);
    xv[4] = 210.0 + 25.0 * af_random_normal(5, star, 3);
    xv[5] = 50.0 * af_random_normal(5, star, 4);
}

/* A model to begin with. Stars of a stream: eight times within 2 Gyr, of orbits not followed. */
static af_status train(af_context *c, af_finder **finder) {
    static double stars[STREAMS][STARS][6];
    af_orbits *orbits = NULL;
    af_fit_desc fit;
    double xv[6], a[3];
    int s, i;
    memset(&fit, 0, sizeof fit); /* zero is the default of every option */
    fit.epochs = 300;
    fit.batch = 64;
    for (s = 0; s < STREAMS; s++) {
        some_star(ORBITS + s, xv);
        for (pull(xv, a), i = 0; i < STARS; i++) {
            leapfrog((int)(500.0 * af_random_uniform(6, (uint64_t)s, (uint64_t)i)), xv, a);
            memcpy(stars[s][i], xv, sizeof xv);
        }
    }
    if (af_orbits_create(c, STREAMS, STARS, stars[0][0], NULL, &orbits) == AF_OK &&
        af_finder_create(c, orbits, NULL, finder) == AF_OK)
        af_finder_fit(*finder, orbits, &fit);
    af_orbits_destroy(orbits);
    return af_error_status(c);
}

/* 2 Gyr of one orbit: every 5 Myr the actions in the model and in its toy. A star that has none,
 * because it is unbound in the toy, gets NaN. */
static void follow(af_evaluator *one, const af_isochrone *toy, int orbit, double j[ROWS][2][3]) {
    double xv[6], a[3];
    int row;
    some_star(orbit, xv);
    for (pull(xv, a), row = 0; row < ROWS; row++) {
        af_evaluate(one, 1, xv, NULL, j[row][0], NULL, NULL);
        af_isochrone_actions(toy, xv, j[row][1], NULL, NULL);
        leapfrog(10, xv, a);
    }
}

/* The rms of the three actions along an orbit over |J_phi| + J_z + J_r; the mean over orbits. */
static double scatter(double j[ORBITS][ROWS][2][3], int which) {
    double mean[3], square, size, sum = 0.0;
    int i, k, row;
    for (i = 0; i < ORBITS; i++) {
        for (size = square = 0.0, k = 0; k < 3; k++) {
            for (mean[k] = 0.0, row = 0; row < ROWS; row++) mean[k] += j[i][row][which][k] / ROWS;
            for (row = 0; row < ROWS; row++)
                square += pow(j[i][row][which][k] - mean[k], 2.0) / (3.0 * ROWS);
            size += fabs(mean[k]);
        }
        sum += sqrt(square) / size / ORBITS;
    }
    return sum;
}

int main(int argc, char **argv) {
    static double alone[ORBITS][ROWS][2][3], together[ORBITS][ROWS][2][3];
    int i, ready = 0, same, cores = omp_get_max_threads() < CORES ? omp_get_max_threads() : CORES;
    af_evaluator *each[CORES];
    af_context *c = NULL;
    af_finder *finder = NULL;
    af_isochrone toy;
    clock_t start;
    if (af_context_create(NULL, &c) == AF_OK &&
        (argc > 1 ? af_finder_load(c, argv[1], &finder) : train(c, &finder)) == AF_OK)
        while (ready < cores && af_evaluator_create(finder, 1, 1, 1, &each[ready]) == AF_OK)
            ready++; /* one after the other: they share the context */
    if (ready < cores) {
        fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
        return 1;
    }
    toy = af_finder_toy(finder);
    start = clock();
    for (i = 0; i < ORBITS; i++) follow(each[0], &toy, i, alone[i]);
    printf("%d orbits, %d rows each: %.0f us a row, with 10 steps of the orbit in it\n", ORBITS,
           ROWS, 1e6 * (double)(clock() - start) / CLOCKS_PER_SEC / (ORBITS * ROWS));
#ifdef _OPENMP
#  pragma omp parallel for num_threads(cores) schedule(dynamic)
#endif
    for (i = 0; i < ORBITS; i++) follow(each[omp_get_thread_num()], &toy, i, together[i]);
    same = memcmp(alone, together, sizeof alone) == 0;
    printf("on %d threads: %s\n\n", cores, same ? "the same bits" : "OTHER NUMBERS");
    printf("t [Gyr]     J_phi     J_z     J_r    the toy's J_z     J_r  [km/s kpc]\n");
    for (i = 0; i < ROWS; i += ROWS / 10)
        printf("%7.3f %9.2f %7.2f %7.2f %16.2f %7.2f\n", 10.0 * STEP * i, alone[0][i][0][0],
               alone[0][i][0][1], alone[0][i][0][2], alone[0][i][1][1], alone[0][i][1][2]);
    while (ready) af_evaluator_destroy(each[--ready]);
    af_finder_destroy(finder);
    af_context_destroy(c);
    printf("\nrelative scatter of the toy's actions along an orbit: %.5f\n", scatter(alone, 1));
    printf("relative scatter of the model's: %.5f\n", scatter(alone, 0));
    return same && scatter(alone, 0) < 0.2 * scatter(alone, 1) ? 0 : 1;
}
