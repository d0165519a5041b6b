/* cc -O2 -I. examples/koopman_slab.c -o koopman_slab -lm
 *
 * The Koopman autoencoder on the self-gravitating isothermal slab, Phi = 2 ln cosh(z/2) in units of
 * its velocity dispersion and scale height, where the frequency falls as the action grows. Prints
 * the paper's figures beside ours and draws koopman_slab.svg, or the file named first; a number
 * after it is the seed. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include "koopman_1d.h"

/* Phi(amplitude) - Phi(amplitude - below), which is 2 ln of a ratio of cosh */
static double drop(double amplitude, double below) {
    double rise = 2.0 * sinh(0.5 * amplitude - 0.25 * below) * sinh(0.25 * below);
    return 2.0 * log1p(rise / cosh(0.5 * (amplitude - below)));
}

/* -dPhi/dz */
static double force(double z) { return -tanh(0.5 * z); }

static void orbit(double amplitude, size_t count, const double *times, double (*qp)[2]) {
    koopman_integrate(force, amplitude, count, times, qp);
}

static const koopman_system slab = {
    "koopman_slab.svg",
    "Isothermal slab, &#934; = 2 ln cosh(<tspan font-style=\"italic\">z</tspan>/2)",
    drop,
    orbit,
    0.32,
    4.0,
    /* mean squares and largest errors of Omega and J; theta, its zero; rollout, encode-decode, s */
    {0.0, 0.0, 5e-3, 5e-3, 0.0, 0.0, 0.0, 0.0, 0.0},
    /* layers, width, that of the frequency; orbits, samples, time; steps; the same figures */
    {{8, 8, 6, 12, 24, 12.0, 700, {0.0, 0.0, 2e-5, 3e-4, 0.0, 0.0, 0.0, 1e-14, 2.0}},
     {16, 8, 6, 12, 24, 12.0, 1500, {0.0, 0.0, 1e-6, 1e-5, 0.0, 0.0, 0.0, 1e-14, 30.0}}}};

int main(int argc, char **argv) { return koopman_example(&slab, argc, argv); }
