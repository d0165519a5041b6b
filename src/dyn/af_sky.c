/* ---- dyn: the sky ---------------------------------------------------------------------------- */

#include <math.h>

/* Rows: the Galactic axes in ICRS, Rz(-32.93192) Rx(90 - 27.12825) Rz(90 + 192.85948), degrees. */
static const double af__galactic_axes[3][3] = {
    {-0.05487556041621536849, -0.87343709023488504876, -0.48383501554871322683},
    {+0.49410942787558367353, -0.44482962996001117815, +0.74698224449721889053},
    {-0.86766614901900470118, -0.19807637343120152818, +0.45598377617506692273}};

/* out = m in; transposed: out = m^T in, the inverse of a turn. */
static void af__turn3(const double (*m)[3], int transposed, const double *in, double *out) {
    double v[3];
    size_t i;
    memcpy(v, in, sizeof v);
    for (i = 0; i < 3; i++)
        out[i] = transposed ? m[0][i] * v[0] + m[1][i] * v[1] + m[2][i] * v[2] : af__dot3(m[i], v);
}

static double af__degrees(double radians) { return radians * (180.0 / AF__PI); }
static double af__radians(double degrees) { return degrees * (AF__PI / 180.0); }

/* The unit vectors outwards, along growing longitude and along growing latitude. */
static void af__sky_axes(double longitude, double latitude, double axes[3][3]) {
    double l = af__radians(longitude), b = af__radians(latitude);
    double cl = cos(l), sl = sin(l), cb = cos(b), sb = sin(b);
    axes[0][0] = cb * cl, axes[0][1] = cb * sl, axes[0][2] = sb;
    axes[1][0] = -sl, axes[1][1] = cl, axes[1][2] = 0.0;
    axes[2][0] = -sb * cl, axes[2][1] = -sb * sl, axes[2][2] = cb;
}

/* The direction of x: longitude in [0, 360), latitude. */
static void af__sky_direction(const double x[3], double *longitude, double *latitude) {
    double l = af__degrees(atan2(x[1], x[0]));
    *latitude = af__degrees(atan2(x[2], hypot(x[0], x[1])));
    if (l < 0.0) l += 360.0;
    *longitude = l < 360.0 ? l : 0.0; /* -1e-17 + 360 is 360 */
}

/* m turns the axes of `from` to those of `to`, m^T does when transposed. */
static void af__sky_turn(const double m[3][3], int transposed, const double from[6],
                         double to[6]) {
    double axes[3][3], x[3], motion[3];
    size_t i;
    af__sky_axes(from[0], from[1], axes);
    for (i = 0; i < 3; i++) motion[i] = from[3] * axes[1][i] + from[4] * axes[2][i];
    af__turn3(m, transposed, axes[0], x);
    af__turn3(m, transposed, motion, motion);
    to[2] = from[2];
    to[5] = from[5];
    af__sky_direction(x, &to[0], &to[1]);
    af__sky_axes(to[0], to[1], axes);
    to[3] = af__dot3(axes[1], motion);
    to[4] = af__dot3(axes[2], motion);
}

AF_API void af_galactic_from_icrs(const double icrs[6], double galactic[6]) {
    af__sky_turn(af__galactic_axes, 0, icrs, galactic);
}

AF_API void af_icrs_from_galactic(const double galactic[6], double icrs[6]) {
    af__sky_turn(af__galactic_axes, 1, galactic, icrs);
}

AF_API void af_xv_from_galactic(const af_sun *sun, const double galactic[6], double xv[6]) {
    double axes[3][3], x[3], v[3], distance = galactic[2];
    double kms = AF_KMS_PER_MASYR_KPC * distance; /* of one mas/yr there */
    size_t i;
    af__sky_axes(galactic[0], galactic[1], axes);
    for (i = 0; i < 3; i++) {
        x[i] = distance * axes[0][i];
        v[i] = galactic[5] * axes[0][i] +
               kms * (galactic[3] * axes[1][i] + galactic[4] * axes[2][i]);
    }
    af__turn3(sun->turn, 0, x, x);
    af__turn3(sun->turn, 0, v, v);
    for (i = 0; i < 3; i++) {
        xv[i] = x[i] + sun->position[i];
        xv[3 + i] = v[i] + sun->velocity[i];
    }
}

AF_API void af_galactic_from_xv(const af_sun *sun, const double xv[6], double galactic[6]) {
    double axes[3][3], x[3], v[3], kms;
    size_t i;
    for (i = 0; i < 3; i++) {
        x[i] = xv[i] - sun->position[i];
        v[i] = xv[3 + i] - sun->velocity[i];
    }
    af__turn3(sun->turn, 1, x, x);
    af__turn3(sun->turn, 1, v, v);
    af__sky_direction(x, &galactic[0], &galactic[1]);
    af__sky_axes(galactic[0], galactic[1], axes);
    galactic[2] = af__norm3(x);
    kms = galactic[2] > 0.0 ? AF_KMS_PER_MASYR_KPC * galactic[2] : (double)NAN;
    galactic[3] = af__dot3(axes[1], v) / kms;
    galactic[4] = af__dot3(axes[2], v) / kms;
    galactic[5] = galactic[2] > 0.0 ? af__dot3(axes[0], v) : (double)NAN;
}

AF_API void af_xv_from_icrs(const af_sun *sun, const double icrs[6], double xv[6]) {
    double galactic[6];
    af_galactic_from_icrs(icrs, galactic);
    af_xv_from_galactic(sun, galactic, xv);
}

AF_API void af_icrs_from_xv(const af_sun *sun, const double xv[6], double icrs[6]) {
    double galactic[6];
    af_galactic_from_xv(sun, xv, galactic);
    af_icrs_from_galactic(galactic, icrs);
}

AF_API double af_distance_of_parallax(double parallax) {
    return parallax > 0.0 ? 1.0 / parallax : (double)NAN;
}

/* ---- the Sun ---- */

static af_status af__sun_check(af_context *c, const af_sun_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "af_sun_desc was not set to zero first");
    if (!af__is_finite(d->radius) || d->radius <= 0.0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "the Sun's distance from the centre must be positive, not %g kpc",
                        d->radius);
    if (!(fabs(d->height) < d->radius))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "the Sun's height must be less than its distance from the centre, %g kpc, "
                        "not %g kpc",
                        d->radius, d->height);
    if (!af__all_finite(d->velocity, 3))
        return af__fail(c, AF_ERROR_ARGUMENT, "the Sun's velocity is not finite: %g %g %g km/s",
                        d->velocity[0], d->velocity[1], d->velocity[2]);
    if ((int)d->hand < AF_HAND_RIGHT || (int)d->hand > AF_HAND_LEFT)
        return af__fail(c, AF_ERROR_ARGUMENT, "af_sun_desc: there is no hand %d", (int)d->hand);
    return AF_OK;
}

AF_API af_status af_sun_place(af_context *c, const af_sun_desc *desc, af_sun *out) {
    af_sun_desc d = AF__ZERO;
    double sine, cosine, side, kms;
    af_status status;
    memset(out, 0, sizeof *out);
    if (desc) d = *desc;
    if (d.radius == 0.0) d.radius = 8.275;
    if (d.height == 0.0) d.height = 0.0208;
    status = af__sun_check(c, &d);
    if (status != AF_OK) return status;
    sine = d.height / d.radius;
    cosine = sqrt((1.0 - sine) * (1.0 + sine));
    side = d.hand == AF_HAND_LEFT ? -1.0 : 1.0;
    out->turn[0][0] = side * cosine, out->turn[0][2] = side * sine;
    out->turn[1][1] = 1.0;
    out->turn[2][0] = -sine, out->turn[2][2] = cosine;
    out->position[0] = -side * d.radius * cosine;
    out->position[2] = d.height;
    memcpy(out->velocity, d.velocity, sizeof d.velocity);
    if (d.velocity[0] != 0.0 || d.velocity[1] != 0.0 || d.velocity[2] != 0.0) return AF_OK;
    kms = AF_KMS_PER_MASYR_KPC * d.radius;
    out->velocity[0] = 12.9; /* the reflex of the motion of Sgr A*, still along Galactic axes */
    out->velocity[1] = 6.411 * kms;
    out->velocity[2] = 0.219 * kms;
    af__turn3((const double(*)[3])out->turn, 0, out->velocity, out->velocity);
    return AF_OK;
}
