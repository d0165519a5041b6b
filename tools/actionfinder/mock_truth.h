/* True actions and angles of a numerically integrated orbit in an axisymmetric potential. */
#ifndef AF_MOCK_TRUTH_H
#define AF_MOCK_TRUTH_H

#include "actionfinder.h"

/* J (3), angles at the start (3), frequencies (3) [rad per kpc/(km/s)], and |difference of J from
 * the first and the second half of the orbit| (3), by af_orbit_actions. NaN where that breaks down
 * (chaotic, resonant or nearly radial orbits). */
typedef struct mock_truth {
    double j[3], theta[3], omega[3], error[3];
} mock_truth;

/* Returns 0 for lack of memory. */
int mock_truth_in_field(af_context *c, const af_field *field, const double start[6],
                        mock_truth *out);

/* The same in a sum of analytic potentials. */
int mock_truth_find(af_context *c, const af_potential_sum *galaxy, const double start[6],
                    mock_truth *out);

#endif
