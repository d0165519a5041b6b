/* Gradients that are known: of stationary distribution functions, and of a normal distribution. */
#include "reproduce_dp.h"

#include <math.h>
#include <string.h>

/* Lz of the circular orbit at R in the plane; *omega gets its angular velocity. */
static double truth_circular(const af_potential *truth, size_t count, double radius,
                             double *omega) {
    double speed = af_potential_circular_speed(truth, count, radius);
    *omega = speed / radius;
    return radius * speed;
}

/* dE_c/dLz = Omega at the radius where the circular orbit has this |Lz|. */
static double truth_omega(const af_potential *truth, size_t count, double lz) {
    double low = 1e-6, high = 1e4, omega = 0.0;
    int i;
    for (i = 0; i < 80; i++) { /* ten powers of ten by halves of their logarithm: to rounding */
        double middle = sqrt(low * high);
        if (truth_circular(truth, count, middle, &omega) < fabs(lz)) low = middle;
        else high = middle;
    }
    return lz < 0.0 ? -omega : omega;
}

/* d ln f/d eta at one star, where ln f is of -E/s^2 and grows by omega/s^2 with Lz. */
static void truth_gradient(const af_potential *truth, size_t count, double s, double omega,
                           const double eta[6], double g[6]) {
    const double *x = eta, *v = eta + 3;
    double a[3];
    size_t k;
    af_potential_acceleration(truth, count, x, a);
    for (k = 0; k < 3; k++) {
        g[k] = a[k] / (s * s);
        g[3 + k] = -v[k] / (s * s);
    }
    g[0] += omega * v[1] / (s * s);
    g[1] -= omega * v[0] / (s * s);
    g[3] -= omega * x[1] / (s * s);
    g[4] += omega * x[0] / (s * s);
}

void dpr_stationary_gradients(const af_potential *truth, size_t count, double s, size_t n,
                              const double *eta, double *gradient) {
    size_t i;
    for (i = 0; i < n; i++) {
        const double *x = eta + 6 * i, *v = x + 3;
        double omega = truth_omega(truth, count, x[0] * v[1] - x[1] * v[0]);
        truth_gradient(truth, count, s, omega, x, gradient + 6 * i);
    }
}

void dpr_turning_gradients(const af_potential *truth, size_t count, double s, double omega,
                           size_t n, const double *eta, double *gradient) {
    size_t i;
    for (i = 0; i < n; i++)
        truth_gradient(truth, count, s, omega, eta + 6 * i, gradient + 6 * i);
}

void dpr_normal(size_t m, const double *stars, size_t n, const double *eta, double *ln_f,
                double *gradient) {
    const double ln_two_pi = 1.8378770664093453;
    double mean[6] = {0.0}, variance[6] = {0.0};
    size_t i, k;
    for (i = 0; i < m; i++)
        for (k = 0; k < 6; k++) mean[k] += stars[6 * i + k] / (double)m;
    for (i = 0; i < m; i++)
        for (k = 0; k < 6; k++) {
            double d = stars[6 * i + k] - mean[k];
            variance[k] += d * d / (double)m;
        }
    for (i = 0; i < n; i++) {
        ln_f[i] = 0.0;
        for (k = 0; k < 6; k++) {
            double d = eta[6 * i + k] - mean[k];
            gradient[6 * i + k] = -d / variance[k];
            ln_f[i] -= 0.5 * (d * d / variance[k] + log(variance[k]) + ln_two_pi);
        }
    }
}
