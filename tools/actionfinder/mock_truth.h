/* True actions and angles of a numerically integrated orbit in an axisymmetric potential. */
#ifndef AF_MOCK_TRUTH_H
#define AF_MOCK_TRUTH_H

#include "actionfinder.h"

/* J (3), angles at the start (3), frequencies (3) [rad per kpc/(km/s)], and |difference of J from
 * the first and the second half of the orbit| (3). NaN where the method breaks down (chaotic,
 * resonant or nearly radial orbits). */
typedef struct mock_truth {
    double j[3], theta[3], omega[3], error[3];
} mock_truth;

/* The generating function from the orbit itself (Sanders & Binney 2014, MNRAS 441, 3284): the orbit
 * from `start` is followed for 2 x 40 radial periods, turned into the actions and angles of an
 * isochrone that fits it, and a linear least-squares problem gives J', the Fourier coefficients S_n
 * of the generating function, and with them the angles. Returns 0 for lack of memory. */
int mock_truth_find(af_context *c, af_force force, const double start[6], mock_truth *out);

#endif
