/* Mock orbits for the tests of ActionFinder. Include it after af_test.h. */
#ifndef AF_MOCK_H
#define AF_MOCK_H

#if defined(__unix__) || defined(__APPLE__)
#  include <unistd.h>
#  define MOCK_PROCESS ((long)getpid())
#else
#  define MOCK_PROCESS 0L
#endif

#if defined(__GNUC__) || defined(__clang__)
#  define MOCK_UNUSED __attribute__((unused))
#else
#  define MOCK_UNUSED
#endif

#include "af_heap.h"

#ifdef ACTIONFINDER_IMPLEMENTATION
#  define MOCK_PARAMS(finder) ((finder)->g.params)
#else
#  include "af_private.h"
#  define MOCK_PARAMS(finder) test_finder_params(finder)
#endif

/* Figures that a test prints where AF_VERBOSE is set in its environment. */
#define SAY(...)                                            \
    do {                                                    \
        if (getenv("AF_VERBOSE")) printf("  " __VA_ARGS__); \
    } while (0)

/* The true isochrone of the paper's section 6.1. */
MOCK_UNUSED static af_isochrone mock_truth(void) {
    af_isochrone iso;
    iso.mass = 3.334e11;
    iso.scale = 5.0;
    return iso;
}

static void mock_direction(uint64_t seed, uint64_t index, double v[3]) {
    double z = 2.0 * af_random_uniform(seed, 1, index) - 1.0, r = sqrt(1.0 - z * z);
    double phi = 2.0 * AF__PI * af_random_uniform(seed, 2, index);
    v[0] = r * cos(phi);
    v[1] = r * sin(phi);
    v[2] = z;
}

/* A star at 6 to 16 kpc with an isotropic velocity of |N(0,150)| km/s. */
MOCK_UNUSED static void mock_star(uint64_t seed, uint64_t index, double xv[6]) {
    double r = 6.0 + 10.0 * af_random_uniform(seed, 3, index);
    double v = fabs(150.0 * af_random_normal(seed, 4, index));
    size_t k;
    mock_direction(seed, 2 * index, xv);
    mock_direction(seed, 2 * index + 1, xv + 3);
    for (k = 0; k < 3; k++) {
        xv[k] *= r;
        xv[3 + k] *= v;
    }
}

/* Streams of the true isochrone, xv (streams,stars,6), at random times within 0.1 Gyr; j
 * (streams,3) and theta (streams,stars,3) get the truth and may be NULL. */
MOCK_UNUSED static void mock_streams(uint64_t seed, size_t streams, size_t stars, double *xv,
                                     double *j, double *theta) {
    af_isochrone iso = mock_truth();
    size_t s, i, k;
    uint64_t draw = 0;
    for (s = 0; s < streams; s++) {
        double start[6], action[3], angle[3], omega[3];
        do mock_star(seed, draw++, start);
        while (af_isochrone_actions(&iso, start, action, angle, omega) != 0);
        for (k = 0; k < 3 && j; k++) j[3 * s + k] = action[k];
        for (i = 0; i < stars; i++) {
            double now[3], gyr = 0.1 * af_random_uniform(seed, 5, s * stars + i);
            for (k = 0; k < 3; k++) now[k] = angle[k] + af_rad_per_gyr(omega[k]) * gyr;
            af_isochrone_position(&iso, action, now, xv + 6 * (s * stars + i), NULL);
            for (k = 0; k < 3 && theta; k++) theta[3 * (s * stars + i) + k] = now[k];
        }
    }
}

MOCK_UNUSED static af_orbits *mock_orbits(af_context *c, uint64_t seed, size_t streams,
                                          size_t stars) {
    double *xv = (double *)malloc(streams * stars * 6 * sizeof *xv);
    af_orbits *o = NULL;
    mock_streams(seed, streams, stars, xv, NULL, NULL);
    af_orbits_create(c, streams, stars, xv, NULL, &o);
    free(xv);
    return o;
}

/* Difference of two angles, in [-pi, pi]. */
MOCK_UNUSED static double angle_between(double a, double b) {
    return remainder(a - b, 2.0 * AF__PI);
}

static int mock_less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

MOCK_UNUSED static double median(double *x, size_t n) {
    qsort(x, n, sizeof *x, mock_less);
    return x[n / 2];
}

/* Random numbers of this size into all parameters. */
MOCK_UNUSED static void shake(af_finder *f, uint64_t seed, double size) {
    double *w = af_params_data(MOCK_PARAMS(f));
    size_t i, n = af_params_size(MOCK_PARAMS(f));
    for (i = 0; i < n; i++) w[i] += size * af_random_normal(seed, 9, i);
}

/* A path in a folder for scratch files, in one of four buffers in turn. MOCK_NAME is the test's. */
MOCK_UNUSED static const char *scratch_file(const char *name) {
    static char path[4][600];
    static int turn;
    const char *folder = getenv("TMPDIR");
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%.400s/af_%s_%ld_%s", folder ? folder : "/tmp",
             MOCK_NAME, MOCK_PROCESS, name);
    return path[turn];
}

MOCK_UNUSED static void write_bytes(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    if (!file) return;
    if (n) fwrite(bytes, 1, n, file);
    fclose(file);
}

MOCK_UNUSED static void write_text(const char *path, const char *text) {
    write_bytes(path, text, strlen(text));
}

/* The bytes of a file, to be freed. */
MOCK_UNUSED static unsigned char *read_bytes(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = (unsigned char *)malloc(1u << 22);
    *n = 0;
    if (file && bytes) *n = fread(bytes, 1, 1u << 22, file);
    if (file) fclose(file);
    return bytes;
}

#endif
