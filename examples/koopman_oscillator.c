/* cc -O2 -I. examples/koopman_oscillator.c -o koopman_oscillator -lm
 *
 * The Koopman autoencoder on the harmonic oscillator, where everything is known in closed form:
 * J = omega z_max^2 / 2, and Omega = omega for all orbits. Prints the paper's figures beside ours
 * and draws koopman_oscillator.svg, or the file named first; a number after it is the seed. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include "koopman_1d.h"

static const double omega = 0.5;

/* Phi(amplitude) - Phi(amplitude - below) */
static double drop(double amplitude, double below) {
    return 0.5 * omega * omega * below * (2.0 * amplitude - below);
}

static void orbit(double amplitude, size_t count, const double *times, double (*qp)[2]) {
    size_t i;
    for (i = 0; i < count; i++) {
        qp[i][0] = amplitude * cos(omega * times[i]);
        qp[i][1] = -amplitude * omega * sin(omega * times[i]);
    }
}

/* Amplitudes up to 4.15, so that the test orbits reach J = 4.2. */
static const koopman_system oscillator = {
    "koopman_oscillator.svg",
    "Harmonic oscillator, &#934; = <tspan font-style=\"italic\">z</tspan>&#178;/8",
    drop,
    orbit,
    0.32,
    4.15,
    /* mean squares and largest errors of Omega and J; theta, its zero; rollout, encode-decode, s */
    {1e-9, 1e-7, 0.0, 0.0, 0.0, 0.0, 1e-3, 0.0, 0.0},
    /* layers, width, that of the frequency; orbits, samples, time; steps; the same figures */
    {{8, 6, 3, 8, 16, 12.0, 150, {1e-12, 1e-11, 0.0, 0.0, 0.0, 0.0, 1e-4, 1e-14, 1.0}},
     {8, 2, 1, 12, 24, 12.0, 1000, {1e-17, 1e-17, 0.0, 0.0, 0.0, 0.0, 1e-4, 1e-14, 5.0}}}};

int main(int argc, char **argv) { return koopman_example(&oscillator, argc, argv); }
