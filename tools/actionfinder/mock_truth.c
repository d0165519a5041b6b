#include "mock_truth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PERIODS = 40, /* radial periods a half */
    SAMPLES = 64, /* a period: twice the highest harmonic that occurs in the sums */
    POINTS = PERIODS * SAMPLES,
    PROBE = 64,       /* points of the short orbit that the toy is fitted to */
    MOST_STEPS = 64,  /* integration steps between two samples */
    ORDER = 16,       /* |n_r| + |n_z| of the generating function at most */
    SUMS = 2 * ORDER, /* harmonics n - m and n + m that its normal equations need */
    MOST_TERMS = 160  /* there are 136 with |n_r| + |n_z| <= 16 and even n_z */
};
#define PROBE_GYR 1.5     /* a few radial periods */
#define ENERGY_DRIFT 1e-8 /* relative, of an accurate orbit */

/* One half of an orbit in the toy's coordinates, and where the equations go. */
typedef struct half {
    double j[POINTS][3], theta[POINTS][3]; /* theta unwrapped in time */
    double nz[MOST_TERMS], nr[MOST_TERMS];
    size_t terms;
    /* mean of cos and of sin of (kz theta_z + kr theta_r), [kz][kr + SUMS] */
    double cosine[SUMS + 1][2 * SUMS + 1], sine[SUMS + 1][2 * SUMS + 1];
    double matrix[(MOST_TERMS + 2) * (MOST_TERMS + 2)], right[3][MOST_TERMS + 2];
} half;

/* ---- small dense systems ---- */

/* Solves A x = b for several b in place, A (n,n) symmetric positive definite; 0 when it is not. */
static int cholesky(double *a, size_t n, double (*b)[MOST_TERMS + 2], size_t sides) {
    size_t i, j, k, s;
    for (j = 0; j < n; j++) {
        for (i = j; i < n; i++) {
            double sum = a[i * n + j];
            for (k = 0; k < j; k++) sum -= a[i * n + k] * a[j * n + k];
            if (i > j) {
                a[i * n + j] = sum / a[j * n + j];
                continue;
            }
            if (!(sum > 0.0)) return 0;
            a[j * n + j] = sqrt(sum);
        }
    }
    for (s = 0; s < sides; s++) {
        for (i = 0; i < n; i++) {
            for (k = 0; k < i; k++) b[s][i] -= a[i * n + k] * b[s][k];
            b[s][i] /= a[i * n + i];
        }
        for (i = n; i-- > 0;) {
            for (k = i + 1; k < n; k++) b[s][i] -= a[k * n + i] * b[s][k];
            b[s][i] /= a[i * n + i];
        }
    }
    return 1;
}

/* ---- sums over the orbit ---- */

/* The means of cos and sin of all k.theta up to SUMS, by the addition theorem: all elements of the
 * normal equations are made of them, since 2 cos a cos b = cos(a - b) + cos(a + b). */
static void trigonometric_means(half *h, const double (*theta)[3], const double *weight) {
    size_t t, z, r;
    memset(h->cosine, 0, sizeof h->cosine);
    memset(h->sine, 0, sizeof h->sine);
    for (t = 0; t < POINTS; t++) {
        double w = weight ? weight[t] / POINTS : 1.0 / POINTS, cz = cos(theta[t][1]),
               sz = sin(theta[t][1]);
        double cr = cos(theta[t][2]), sr = sin(theta[t][2]);
        double edge_c = w * cos(SUMS * theta[t][2]), edge_s = -w * sin(SUMS * theta[t][2]), kept;
        for (z = 0; z <= SUMS; z++) {
            double c = edge_c, s = edge_s;
            for (r = 0; r <= 2 * SUMS; r++) {
                h->cosine[z][r] += c;
                h->sine[z][r] += s;
                kept = c * cr - s * sr;
                s = s * cr + c * sr;
                c = kept;
            }
            kept = edge_c * cz - edge_s * sz;
            edge_s = edge_s * cz + edge_c * sz;
            edge_c = kept;
        }
    }
}

/* Those of a harmonic (kz, kr), kz of either sign. */
static double mean_cos(const half *h, double kz, double kr) {
    if (kz < 0.0) return mean_cos(h, -kz, -kr);
    return h->cosine[(size_t)kz][(size_t)(kr + SUMS)];
}
static double mean_sin(const half *h, double kz, double kr) {
    if (kz < 0.0) return -mean_sin(h, -kz, -kr);
    return h->sine[(size_t)kz][(size_t)(kr + SUMS)];
}

static void choose_terms(half *h, int order) {
    int z, r;
    h->terms = 0;
    for (z = 0; z <= order; z += 2) /* even: the potential is the same above and below the plane */
        for (r = z == 0 ? 1 : -order; r <= order; r++) {
            if (z + abs(r) > order) continue;
            h->nz[h->terms] = z;
            h->nr[h->terms++] = r;
        }
}

/* ---- actions: J_i = J'_i + 2 sum_n n_i S_n cos(n.theta), i = z, r ---- */

static int solve_actions(half *h, const double (*moment)[2], double j[3]) {
    size_t n = h->terms + 2, a, b;
    double *m = h->matrix;
    for (a = 0; a < 2; a++) {
        for (b = 0; b < 2; b++) m[a * n + b] = a == b;
        h->right[0][a] = moment[h->terms][a];
    }
    for (a = 0; a < h->terms; a++) {
        double c = mean_cos(h, h->nz[a], h->nr[a]);
        m[(a + 2) * n] = m[a + 2] = 2.0 * h->nz[a] * c;
        m[(a + 2) * n + 1] = m[n + a + 2] = 2.0 * h->nr[a] * c;
        h->right[0][a + 2] = 2.0 * (h->nz[a] * moment[a][0] + h->nr[a] * moment[a][1]);
        for (b = 0; b <= a; b++) {
            double dot = h->nz[a] * h->nz[b] + h->nr[a] * h->nr[b];
            double both = mean_cos(h, h->nz[a] - h->nz[b], h->nr[a] - h->nr[b]) +
                          mean_cos(h, h->nz[a] + h->nz[b], h->nr[a] + h->nr[b]);
            m[(a + 2) * n + b + 2] = m[(b + 2) * n + a + 2] = 2.0 * dot * both;
        }
        m[(a + 2) * n + a + 2] *=
            1.0 + 1e-12; /* keeps a harmonic that the orbit hardly has solvable */
    }
    if (!cholesky(m, n, h->right, 1)) return 0;
    j[1] = h->right[0][0];
    j[2] = h->right[0][1];
    return 1;
}

/* Means of J_z and J_r times cos(n.theta); the last row is that of J itself. */
static void action_moments(const half *h, double (*moment)[2]) {
    size_t a, t;
    for (a = 0; a <= h->terms; a++) {
        moment[a][0] = moment[a][1] = 0.0;
        for (t = 0; t < POINTS; t++) {
            double c =
                a == h->terms ? 1.0 : cos(h->nz[a] * h->theta[t][1] + h->nr[a] * h->theta[t][2]);
            moment[a][0] += c * h->j[t][1] / POINTS;
            moment[a][1] += c * h->j[t][2] / POINTS;
        }
    }
}

/* ---- angles: theta_i + 2 sum_n (dS_n/dJ'_i) sin(n.theta) = theta'_i(0) + Omega_i t ---- */

/* Time runs from 0 to 1 here. Unknowns: theta'(0), Omega, and -2 dS_n/dJ' for each component i. */
static int solve_angles(half *h, double theta[3], double omega[3]) {
    size_t n = h->terms + 2, a, b, i, t;
    double *m = h->matrix, mean_time = 0.5 * (POINTS - 1) / (double)POINTS, square = 0.0;
    for (t = 0; t < POINTS; t++) square += (double)t * (double)t / POINTS / POINTS / POINTS;
    memset(h->right, 0, sizeof h->right);
    m[0] = 1.0;
    m[1] = m[n] = mean_time;
    m[n + 1] = square;
    for (a = 0; a < h->terms; a++) {
        double with_time = 0.0;
        for (t = 0; t < POINTS; t++) {
            double s = sin(h->nz[a] * h->theta[t][1] + h->nr[a] * h->theta[t][2]) / POINTS;
            with_time += s * (double)t / POINTS;
            for (i = 0; i < 3; i++) h->right[i][a + 2] += s * h->theta[t][i];
        }
        m[(a + 2) * n] = m[a + 2] = mean_sin(h, h->nz[a], h->nr[a]);
        m[(a + 2) * n + 1] = m[n + a + 2] = with_time;
        for (b = 0; b <= a; b++)
            m[(a + 2) * n + b + 2] = m[(b + 2) * n + a + 2] =
                0.5 * (mean_cos(h, h->nz[a] - h->nz[b], h->nr[a] - h->nr[b]) -
                       mean_cos(h, h->nz[a] + h->nz[b], h->nr[a] + h->nr[b]));
        m[(a + 2) * n + a + 2] += 1e-12;
    }
    for (i = 0; i < 3; i++)
        for (t = 0; t < POINTS; t++) {
            h->right[i][0] += h->theta[t][i] / POINTS;
            h->right[i][1] += h->theta[t][i] * (double)t / POINTS / POINTS;
        }
    if (!cholesky(m, n, h->right, 3)) return 0;
    for (i = 0; i < 3; i++) {
        theta[i] = h->right[i][0];
        omega[i] = h->right[i][1];
    }
    return 1;
}

/* ---- the orbit ---- */

static double energy(const af_potential_sum *sum, const double xv[6]) {
    return af_potential_value(sum->parts, sum->count, xv) +
           0.5 * (xv[3] * xv[3] + xv[4] * xv[4] + xv[5] * xv[5]);
}

/* Both halves, with steps halved until the energy stays. */
static int follow(af_force force, const double start[6], double interval, double *xv) {
    const af_potential_sum *sum = (const af_potential_sum *)force.user;
    double first = energy(sum, start);
    size_t steps, t;
    for (steps = 4; steps <= MOST_STEPS; steps *= 2) {
        double worst = 0.0;
        /* a glance at the first periods tells most of the time that the steps are too long */
        if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, force, start, interval, steps, 2 * SAMPLES,
                               xv) != AF_OK)
            continue;
        for (t = 0; t < 2 * SAMPLES; t++)
            worst = fmax(worst, fabs(energy(sum, xv + 6 * t) / first - 1.0));
        if (worst > ENERGY_DRIFT) continue;
        if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, force, start, interval, steps, 2 * POINTS,
                               xv) != AF_OK)
            continue;
        for (t = 0; t < 2 * POINTS; t++)
            worst = fmax(worst, fabs(energy(sum, xv + 6 * t) / first - 1.0));
        if (worst <= ENERGY_DRIFT) return 1;
    }
    return 0;
}

/* The isochrone that fits the orbit's first few periods. */
static int choose_toy(af_context *c, af_force force, const double start[6], double *xv,
                      af_isochrone *toy) {
    if (af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, force, start, PROBE_GYR / PROBE, 128, PROBE,
                           xv) != AF_OK)
        return 0;
    if (af_isochrone_fit(c, xv, 1, PROBE, 0.0, toy, NULL) == AF_OK) return 1;
    af_error_clear(c);
    return 0;
}

/* Toy coordinates of one half, angles unwrapped; 0 when a point is unbound in the toy. */
static int toy_coordinates(const af_isochrone *toy, const double *xv, half *h) {
    size_t t, i;
    for (t = 0; t < POINTS; t++) {
        if (af_isochrone_actions(toy, xv + 6 * t, h->j[t], h->theta[t], NULL) & AF_ORBIT_FAILED)
            return 0;
        for (i = 0; i < 3 && t > 0; i++)
            h->theta[t][i] = h->theta[t - 1][i] + remainder(h->theta[t][i] - h->theta[t - 1][i],
                                                            2.0 * 3.14159265358979323846);
    }
    return 1;
}

static int solve_half(half *h, int order, double j[3]) {
    double moment[MOST_TERMS + 1][2];
    choose_terms(h, order);
    action_moments(h, (double(*)[2])moment);
    return solve_actions(h, (const double(*)[2])moment, j);
}

/* The order of the generating function at which the two halves agree best. */
static int best_order(half *first, half *second, mock_truth *out) {
    static const int order[3] = {16, 12, 8};
    double least = HUGE_VAL;
    int i, k, best = 0;
    for (i = 0; i < 3; i++) {
        double a[3], b[3], worst;
        if (!solve_half(first, order[i], a) || !solve_half(second, order[i], b)) continue;
        worst = fmax(fabs(a[1] - b[1]), fabs(a[2] - b[2]));
        if (!(worst < least)) continue;
        least = worst;
        best = order[i];
        for (k = 1; k < 3; k++) {
            out->j[k] = a[k];
            out->error[k] = fabs(a[k] - b[k]);
        }
    }
    return best;
}

static int work(af_context *c, af_force force, const double start[6], double *xv, half *h,
                mock_truth *out) {
    af_isochrone toy;
    double interval, omega[3], scale;
    int order, tries, i;
    if (!choose_toy(c, force, start, xv, &toy)) return 0;
    af_isochrone_actions(&toy, start, NULL, NULL, omega);
    interval = 2.0 * 3.14159265358979323846 / omega[2] / SAMPLES; /* [kpc/(km/s)] */
    if (!follow(force, start, af_gyr_from_time(interval), xv)) return 0;
    for (tries = 0; tries < 20;
         tries++, toy.mass *= 1.1) /* points beyond the probe may be unbound */
        if (toy_coordinates(&toy, xv, &h[0]) && toy_coordinates(&toy, xv + 6 * POINTS, &h[1]))
            break;
    if (tries == 20) return 0;
    for (i = 0; i < 2; i++) trigonometric_means(&h[i], (const double(*)[3])h[i].theta, NULL);
    out->j[0] = h[0].j[0][0];
    out->error[0] = 0.0;
    order = best_order(&h[0], &h[1], out);
    if (!order || out->j[1] < 0.0 || out->j[2] < 0.0) return 0;
    choose_terms(&h[0], order);
    if (!solve_angles(&h[0], out->theta, out->omega)) return 0;
    scale = 1.0 / (interval * POINTS);
    for (i = 0; i < 3; i++) out->omega[i] *= scale;
    return 1;
}

int mock_truth_find(af_context *c, af_force force, const double start[6], mock_truth *out) {
    double *xv = (double *)malloc(2 * (size_t)POINTS * 6 * sizeof *xv);
    half *h = (half *)malloc(2 * sizeof *h);
    int good = xv && h, i;
    if (good && !work(c, force, start, xv, h, out))
        for (i = 0; i < 3; i++) out->j[i] = out->theta[i] = out->omega[i] = out->error[i] = NAN;
    free(xv);
    free(h);
    return good;
}
