/* Stars that spoil a fit without making it fail: copies, and those far from all others. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int check_order(const void *a, const void *b) { return memcmp(a, b, 6 * sizeof(double)); }

/* eta gets sorted. */
static void check_copies(const char *path, size_t n, double *eta) {
    size_t i, again = 0;
    qsort(eta, n, 6 * sizeof *eta, check_order);
    for (i = 1; i < n; i++) again += check_order(eta + 6 * (i - 1), eta + 6 * i) == 0;
    if (again)
        fprintf(stderr,
                "%s: '%s': %lu of %lu stars repeat others; a fit takes them for independent ones: "
                "remove them\n", cli_program, path, (unsigned long)again, (unsigned long)n);
}

/* How far each star is from the median, in the three coordinates from `first` on. */
static void check_distances(size_t n, const double *eta, size_t first, double *room, double *out) {
    size_t i, k;
    for (i = 0; i < n; i++) out[i] = 0.0;
    for (k = first; k < first + 3; k++) {
        double middle;
        for (i = 0; i < n; i++) room[i] = eta[6 * i + k];
        middle = deep_quantile(room, n, 0.5);
        for (i = 0; i < n; i++) out[i] = hypot(out[i], eta[6 * i + k] - middle);
    }
}

/* A fit scales coordinates by their standard deviations, which one of n stars at F sqrt(n) times
 * the median distance makes some F times as large: the others are then too narrow for the network.
 * F is 5: of Plummer spheres without an edge, whose mass beyond r falls as 1.5 (b/r)^2, about one
 * in 30 has such a star, whatever n is; inside the default --reach of `mock` there is none. */
static void check_far(const char *path, size_t n, const double *eta, size_t first) {
    double *distance = (double *)cli_allocate(2 * n, sizeof *distance), *room = distance + n;
    double half;
    size_t i, far = 0, at = 0;
    check_distances(n, eta, first, room, distance);
    memcpy(room, distance, n * sizeof *room);
    half = deep_quantile(room, n, 0.5);
    for (i = n; i-- > 0;)
        if (half > 0.0 && distance[i] > 5.0 * sqrt((double)n) * half) {
            far++;
            at = i;
        }
    if (far)
        fprintf(stderr,
                "%s: '%s': the star with %s = %g, %g, %g is %.3g times as far from the middle as "
                "half of the stars are%s; that spoils the fit: remove %s%s\n", cli_program, path,
                first ? "vx, vy, vz" : "x, y, z", eta[6 * at + first], eta[6 * at + first + 1],
                eta[6 * at + first + 2], distance[at] / half, far > 1 ? ", and so are others" : "",
                far > 1 ? "them" : "it", first ? "" : ", or use --volume");
    free(distance);
}

void deep_check_stars(const char *path, const dp_sample *s, int scaled) {
    size_t n = dp_sample_count(s), used = 0, i;
    const double *weights = dp_sample_weights(s);
    double *eta = (double *)cli_allocate(6 * n, sizeof *eta);
    for (i = 0; i < n; i++)
        if (!weights || weights[i] > 0.0)
            memcpy(eta + 6 * used++, dp_sample_eta(s) + 6 * i, 6 * sizeof *eta);
    fflush(stdout);
    if (scaled) check_far(path, used, eta, 0);
    if (scaled) check_far(path, used, eta, 3);
    check_copies(path, used, eta);
    free(eta);
}
