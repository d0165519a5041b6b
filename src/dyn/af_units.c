/* ---- dyn: units ----------------------------------------------------------------------------- */

#include <math.h>

AF_API double af_time_from_gyr(double gyr) { return gyr / AF_TIME_UNIT_GYR; }

AF_API double af_gyr_from_time(double time) { return time * AF_TIME_UNIT_GYR; }

AF_API double af_rad_per_gyr(double omega) { return omega / AF_TIME_UNIT_GYR; }

AF_API double af_kpc2_per_gyr(double action) { return action / AF_TIME_UNIT_GYR; }

AF_API double af_kms_per_gyr(double acceleration) { return acceleration / AF_TIME_UNIT_GYR; }

/* Vectors of three, shared by the parts of this floor. */

static double af__dot3(const double p[3], const double q[3]) {
    return p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
}

/* sqrt(x^2 + y^2 + z^2) without overflow. */
static double af__norm3(const double p[3]) { return hypot(hypot(p[0], p[1]), p[2]); }

/* True when none of the n values is infinite or NaN. */
static int af__all_finite(const double *values, size_t n) {
    size_t i;
    for (i = 0; i < n; i++)
        if (!af__is_finite(values[i])) return 0;
    return 1;
}
