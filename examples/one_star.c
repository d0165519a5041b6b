/* cc -O3 -I. examples/one_star.c -o one_star -lm
 *
 * Actions and angles of one star at a time, from a plain loop and without allocating, as an N-body
 * code needs them. With a model made by actionfinder_fit or by `actionfinder fit`, and a star:
 *
 *     ./one_star model.safetensors 8.1 -1.3 2.4 -61 170 55
 *
 * Without arguments it makes a model that has learned nothing, writes it, reads it back, and checks
 * that it gives the isochrone it started from. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const af_isochrone toy = {3.334e11, 5.0}; /* [Msun], [kpc] */

/* Counts what the library allocates. */
static int allocations;

static void *counted(size_t bytes, void *user) {
    (void)user;
    allocations++;
    return malloc(bytes);
}

static void released(void *pointer, size_t bytes, void *user) {
    (void)bytes;
    (void)user;
    free(pointer);
}

static void some_star(uint64_t i, double xv[6]) {
    uint64_t k;
    for (k = 0; k < 6; k++) xv[k] = af_random_normal(7, i, k) * (k < 3 ? 5.0 : 80.0);
}

/* A model that has not been trained is its toy. */
static af_status write_untrained(af_context *c, const char *path) {
    double xv[2][6];
    af_finder_desc desc;
    af_orbits *orbits = NULL;
    af_finder *finder = NULL;
    some_star(0, xv[0]);
    some_star(1, xv[1]);
    memset(&desc, 0, sizeof desc);
    desc.toy = toy;
    if (af_orbits_create(c, 1, 2, xv[0], NULL, &orbits) == AF_OK &&
        af_finder_create(c, orbits, &desc, &finder) == AF_OK)
        af_finder_save(finder, path);
    af_finder_destroy(finder);
    af_orbits_destroy(orbits);
    return af_error_status(c);
}

/* Many stars, one by one: the largest difference from the toy; -1 if anything was allocated. */
static double check(af_evaluator *one) {
    double xv[6], j[3], theta[3], toy_j[3], toy_theta[3], worst = 0.0;
    int before = allocations, k;
    uint64_t i;
    for (i = 0; i < 1000; i++) {
        some_star(i, xv);
        if (af_isochrone_actions(&toy, xv, toy_j, toy_theta, NULL) & AF_ORBIT_FAILED) continue;
        if (af_evaluate(one, 1, xv, NULL, j, theta, NULL) > 0) return -1.0;
        for (k = 0; k < 3; k++) {
            double turn = remainder(theta[k] - toy_theta[k], 6.283185307179586);
            if (!(fabs(j[k] - toy_j[k]) < worst)) worst = fabs(j[k] - toy_j[k]);
            if (!(fabs(turn) < worst)) worst = fabs(turn);
        }
    }
    printf("allocations in 1000 evaluations: %d\n", allocations - before);
    return allocations == before ? worst : -1.0;
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "one_star.safetensors";
    double xv[6] = {8.1, -1.3, 2.4, -61.0, 170.0, 55.0}, j[3], theta[3], worst = 0.0;
    af_context_desc desc;
    af_context *c = NULL;
    af_finder *finder = NULL;
    af_evaluator *one = NULL;
    unsigned flags = 0;
    int i;
    memset(&desc, 0, sizeof desc);
    desc.allocator.allocate = counted;
    desc.allocator.release = released;
    for (i = 0; i < 6 && argc == 8; i++) xv[i] = atof(argv[2 + i]);
    if (af_context_create(&desc, &c) != AF_OK || (argc < 2 && write_untrained(c, path) != AF_OK) ||
        af_finder_load(c, path, &finder) != AF_OK ||
        af_evaluator_create(finder, 1, 1, 1, &one) != AF_OK) { /* one star, one thread */
        fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
        return 1;
    }
    if (argc < 2) {
        remove(path);
        worst = check(one);
    }
    af_evaluate(one, 1, xv, NULL, j, theta, &flags);
    printf("J_phi, J_z, J_r             %9.3f %9.3f %9.3f km/s kpc\n", j[0], j[1], j[2]);
    printf("theta_phi, theta_z, theta_r %9.6f %9.6f %9.6f rad\n", theta[0], theta[1], theta[2]);
    af_evaluator_destroy(one);
    af_finder_destroy(finder);
    af_context_destroy(c);
    if (argc < 2) printf("largest difference from the toy: %.1e\n", worst);
    else printf("flags: %u\n", flags);
    return worst >= 0.0 && worst < 1e-8 && !(flags & AF_ORBIT_FAILED) ? 0 : 1;
}
