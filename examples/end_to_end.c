/* cc -O2 -fopenmp -I. examples/end_to_end.c -o end_to_end -lm
 *
 * A potential from a snapshot, end to end: stars of an isochrone are followed in a trial potential,
 * a map takes the places along their orbits to actions, a mixture is the density of actions, and
 * the gradient of the likelihood goes back through all of it to the network (Tenachi, Ibata &
 * Diakogiannis 2023). Nothing is told of GM and b. `./end_to_end kernel` takes the paper's way from
 * the density of actions to that of phase space: orbits drawn, angles, inverse map, kernel.
 * `./end_to_end flow` has a spline flow as the density of actions. `./end_to_end model` has a
 * trained ActionFinder as the map: it begins as another isochrone and learns from streams, and
 * the potential is that in which orbits keep the actions that it gives. `./end_to_end chain 2` is
 * the first way with other stars. */

#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STARS = 65536, FEWER = 8192 /* the other ways */, SHOWN = 8, STREAMS = 256, MEMBERS = 8 };

static double truth(double r) { return -1.0 / (1.0 + sqrt(1.0 + r * r)); }

/* n stars of three clumps of (J_r, L), 20 % wide, their angles and inclinations at random, in the
 * isochrone GM = b = 1: a mass of 1/AF_GRAVITY. */
static void make_stars(uint64_t seed, size_t n, double *eta) {
    static const double mean[3][2] = {{0.3, 0.8}, {0.15, 1.6}, {0.8, 0.6}};
    const double turn = 6.283185307179586;
    af_isochrone iso;
    uint64_t k;
    size_t i = 0;
    iso.mass = 1.0 / AF_GRAVITY;
    iso.scale = 1.0;
    for (k = 0; i < n; k++) {
        double u = af_random_uniform(seed, 1, k), j[3], theta[3], l, up;
        int clump = u < 0.4 ? 0 : u < 0.75 ? 1 : 2, m;
        j[2] = mean[clump][0] * (1.0 + 0.2 * af_random_normal(seed, 2, k));
        l = mean[clump][1] * (1.0 + 0.2 * af_random_normal(seed, 3, k));
        up = 2.0 * af_random_uniform(seed, 4, k) - 1.0;
        for (m = 0; m < 3; m++) theta[m] = turn * af_random_uniform(seed, 5 + (uint64_t)m, k);
        if (j[2] <= 0.0 || l <= 0.0) continue;
        j[0] = l * up;
        j[1] = l - fabs(l * up);
        af_isochrone_position(&iso, j, theta, eta + 6 * i++, NULL);
    }
}

/* A finder that has learned the map from streams all around their orbits; NULL when it failed. */
static af_finder *make_model(af_context *c) {
    static double start[STREAMS][6], xv[STREAMS][MEMBERS][6];
    af_orbits *orbits = NULL;
    af_finder *finder = NULL;
    af_finder_desc desc;
    af_isochrone iso;
    int i, k, m;
    memset(&desc, 0, sizeof desc);
    desc.generator = AF_GENERATOR_SHEARS;
    desc.toy.mass = 1.3 / AF_GRAVITY; /* not the stars' isochrone: there is something to learn */
    desc.toy.scale = 0.6;
    iso.mass = 1.0 / AF_GRAVITY;
    iso.scale = 1.0;
    make_stars(77, STREAMS, start[0]);
    for (i = 0; i < STREAMS; i++)
        for (k = 0; k < MEMBERS; k++) {
            double j[3], theta[3], omega[3];
            af_isochrone_actions(&iso, start[i], j, theta, omega);
            for (m = 0; m < 3; m++) theta[m] += omega[m] / omega[2] * 6.283185307179586 *
                                                (af_random_uniform(3, 1, (uint64_t)(8 * i + k)));
            af_isochrone_position(&iso, j, theta, xv[i][k], NULL);
        }
    if (af_orbits_create(c, STREAMS, MEMBERS, xv[0][0], NULL, &orbits) == AF_OK &&
        af_finder_create(c, orbits, &desc, &finder) == AF_OK &&
        af_finder_fit(finder, orbits, NULL) != AF_OK) {
        af_finder_destroy(finder);
        finder = NULL;
    }
    af_orbits_destroy(orbits);
    return finder;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int tell(const dp_chain_progress *p, void *user) {
    (void)user;
    if (p->step % 20 == 0)
        printf("step %3d of %d: mean -ln f %.6f\n", (int)p->step, (int)p->steps, p->loss);
    return 0;
}

/* Mean of |Phi/truth - 1| over the stars, n in all, between the radii that hold 98 % of them. */
static double error_of(int n, const double *r, const double *phi) {
    double sum = 0.0;
    int i, low = n / 100, high = n - n / 100;
    for (i = low; i < high; i++) sum += fabs(phi[i] / truth(r[i]) - 1.0) / (high - low);
    return sum;
}

/* The constant, which no model knows of, so that the mean over these stars is the truth's. */
static void align(int n, const double *r, double *phi) {
    double sum = 0.0;
    int i, low = n / 100, high = n - n / 100;
    for (i = low; i < high; i++) sum += (truth(r[i]) - phi[i]) / (high - low);
    for (i = 0; i < n; i++) phi[i] += sum;
}

int main(int argc, char **argv) {
    static double eta[STARS][6], r[STARS], phi[STARS], before[STARS];
    double first, last;
    const char *way = argc > 1 ? argv[1] : "";
    const int n = !*way || strcmp(way, "chain") == 0 ? STARS : FEWER;
    af_context *c = NULL;
    af_finder *model = NULL;
    dp_sample *stars = NULL;
    dp_chain *chain = NULL;
    dp_chain_desc desc;
    dp_chain_report report;
    int i;
    memset(&desc, 0, sizeof desc); /* zero is the default of every option */
    desc.progress = tell;
    if (strcmp(way, "kernel") == 0) desc.density = DP_CHAIN_KERNEL;
    if (strcmp(way, "flow") == 0) desc.flow = 2;
    make_stars(argc > 2 ? strtoull(argv[2], NULL, 10) : 1, (size_t)n, eta[0]);
    for (i = 0; i < n; i++)
        r[i] = sqrt(eta[i][0] * eta[i][0] + eta[i][1] * eta[i][1] + eta[i][2] * eta[i][2]);
    qsort(r, (size_t)n, sizeof r[0], ascending);
    if (af_context_create(NULL, &c) == AF_OK && strcmp(way, "model") == 0)
        desc.model = model = make_model(c);
    if (!c || (strcmp(way, "model") == 0 && !model) ||
        dp_sample_create(c, (size_t)n, eta[0], NULL, NULL, NULL, &stars) != AF_OK ||
        dp_chain_create(stars, &desc, &chain) != AF_OK ||
        dp_chain_evaluate_untrained(chain, (size_t)n, r, before, NULL) != AF_OK ||
        dp_chain_evaluate(chain, (size_t)n, r, phi, NULL) != AF_OK) {
        fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
        return 1;
    }
    report = dp_chain_describe(chain);
    if (model) align(n, r, before);
    if (model) align(n, r, phi);
    printf("\nthe %s: GM %.5f, b %.5f\n", model ? "model's toy" : "map", report.gm, report.b);
    printf("      r     truth   untrained   network\n");
    for (i = 1; i < SHOWN; i++) {
        int at = i * n / SHOWN;
        printf("%7.3f  %8.5f   %8.5f  %8.5f\n", r[at], truth(r[at]), before[at], phi[at]);
    }
    first = error_of(n, r, before);
    last = error_of(n, r, phi);
    dp_chain_destroy(chain);
    dp_sample_destroy(stars);
    af_finder_destroy(model);
    af_context_destroy(c);
    printf("\nmean relative error of the untrained potential: %.5f\n", first);
    printf("mean relative error of the potential: %.5f\n", last);
    return last < (desc.density == DP_CHAIN_KERNEL ? 0.05 : model ? 0.005 : 0.002) ? 0 : 1;
}
