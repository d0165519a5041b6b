/* The sky, the Sun, and stars as observed: published conversions, identities, files as people have
 * them, draws from errors, and what was not measured. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "sky"
#include "af_mock.h"

static heap memory;
static af_context *c;

/* The status, the words in the sentence, and nothing given; the context is cleared. */
#define CHECK_FAILS(object, type, call, status, words) \
    do {                                               \
        (object) = (type *)&memory; /* not NULL */     \
        CHECK((call) == (status));                     \
        CHECK((object) == NULL);                       \
        CHECK(af_error_status(c) == (status));         \
        CHECK_TEXT(af_error(c), (words));              \
        af_error_clear(c);                             \
    } while (0)

static int is_nan(double x) { return x != x; }

static double uniform(uint64_t i, double low, double high) {
    return low + (high - low) * af_random_uniform(11, 3, i);
}

/* A star anywhere, not within 3 degrees of the poles. */
static void random_sky(uint64_t i, double sky[6]) {
    sky[0] = uniform(8 * i, 0.0, 360.0);
    sky[1] = uniform(8 * i + 1, -87.0, 87.0);
    sky[2] = exp(uniform(8 * i + 2, -5.0, 5.0));
    sky[3] = uniform(8 * i + 3, -5.0, 5.0);
    sky[4] = uniform(8 * i + 4, -5.0, 5.0);
    sky[5] = uniform(8 * i + 5, -300.0, 300.0);
}

static af_sun sun_of(double radius, double height, af_hand hand) {
    af_sun_desc d = AF__ZERO;
    af_sun sun;
    d.radius = radius;
    d.height = height;
    d.hand = hand;
    CHECK(af_sun_place(c, &d, &sun) == AF_OK);
    return sun;
}

/* ---- the turn ---- */

/* The three angles of ESA (1997), and what they make of the pole, the node and the centre. */
TEST(definition) {
    double icrs[6] = {192.85948, 27.12825, 1.0, 0.0, 0.0, 0.0}, galactic[6];
    size_t i, j;
    for (i = 0; i < 3; i++)
        for (j = 0; j < 3; j++) {
            const double(*a)[3] = af__galactic_axes;
            CHECK_CLOSE(af__dot3(a[i], a[j]), i == j, 4e-16);
        }
    af_galactic_from_icrs(icrs, galactic);
    CHECK_CLOSE(galactic[1], 90.0, 1e-13);
    icrs[0] += 90.0; /* the ascending node of the Galactic plane on the equator */
    icrs[1] = 0.0;
    af_galactic_from_icrs(icrs, galactic);
    CHECK_CLOSE(galactic[0], 32.93192, 1e-14);
    CHECK_CLOSE(galactic[1], 0.0, 1e-13);
    icrs[0] = 0.0; /* the north pole of the Earth: b is the declination of the Galactic pole, l that
                      of the node + 90 */
    icrs[1] = 90.0;
    af_galactic_from_icrs(icrs, galactic);
    CHECK_CLOSE(galactic[0], 122.93192, 1e-14);
    CHECK_CLOSE(galactic[1], 27.12825, 1e-14);
    /* det +1: not a mirror */
    CHECK_CLOSE(af__galactic_axes[0][0] * (af__galactic_axes[1][1] * af__galactic_axes[2][2] -
                                           af__galactic_axes[1][2] * af__galactic_axes[2][1]) +
                    af__galactic_axes[0][1] * (af__galactic_axes[1][2] * af__galactic_axes[2][0] -
                                               af__galactic_axes[1][0] * af__galactic_axes[2][2]) +
                    af__galactic_axes[0][2] * (af__galactic_axes[1][0] * af__galactic_axes[2][1] -
                                               af__galactic_axes[1][1] * af__galactic_axes[2][0]),
                1.0, 4e-16);
}

/* icrs2g of SOFA's library (release 2023, in double precision). */
TEST(sofa) {
    static const double value[5][4] = {
        {0.0, 0.0, 96.33727234341764, -60.188553267593726},
        {83.822083, -5.391111, 209.01374014760066, -19.381603748406373},
        {101.28715533, -16.71611586, 227.23028548110472, -8.890282427779283},
        {269.452083, 4.693364, 31.00869900192277, 14.06264715874001},
        {17.350232, -25.248735, 188.93088852897256, -85.55394187534820}};
    size_t i;
    for (i = 0; i < 5; i++) {
        double icrs[6] = {0, 0, 2.0, 0, 0, 3.0}, galactic[6];
        icrs[0] = value[i][0];
        icrs[1] = value[i][1];
        af_galactic_from_icrs(icrs, galactic);
        CHECK_CLOSE(galactic[0], value[i][2], 1e-14);
        CHECK_CLOSE(galactic[1], value[i][3], 1e-14);
        CHECK(galactic[2] == 2.0 && galactic[5] == 3.0 && galactic[3] == 0.0 && galactic[4] == 0.0);
    }
}

/* Pole and centre as Reid & Brunthaler (2004, ApJ 616, 872) give them, precise to 0.4 seconds of
 * arc; Sgr A* and its proper motion in both systems (2020, ApJ 892, 39). */
TEST(published) {
    double icrs[6] = {15.0 * (12.0 + (51.0 + 26.282 / 60.0) / 60.0),
                      27.0 + (7.0 + 42.01 / 60.0) / 60.0, 1.0, 0.0, 0.0, 0.0};
    double sgr[6] = {15.0 * (17.0 + (45.0 + 40.0409 / 60.0) / 60.0),
                     -29.0 - (0.0 + 28.118 / 60.0) / 60.0, 8.275, -3.156, -5.585, 0.0};
    double galactic[6];
    af_galactic_from_icrs(icrs, galactic);
    CHECK(galactic[1] > 90.0 - 0.5 / 3600.0);
    icrs[0] = 15.0 * (17.0 + (45.0 + 37.224 / 60.0) / 60.0);
    icrs[1] = -28.0 - (56.0 + 10.23 / 60.0) / 60.0;
    af_galactic_from_icrs(icrs, galactic);
    CHECK_CLOSE(remainder(galactic[0], 360.0), 0.0, 0.5 / 3600.0);
    CHECK_CLOSE(galactic[1], 0.0, 0.5 / 3600.0);
    af_galactic_from_icrs(sgr, galactic);
    CHECK_CLOSE(galactic[0] - 360.0, -0.0557, 1e-4);
    CHECK_CLOSE(galactic[1], -0.0462, 1e-4);
    CHECK_CLOSE(galactic[3], -6.411, 1e-3);
    CHECK_CLOSE(galactic[4], -0.219, 4e-3); /* the paper's pairs agree to half of its errors */
}

TEST(sky_round_trips) {
    size_t i, k;
    for (i = 0; i < 2000; i++) {
        double icrs[6], there[6], back[6];
        random_sky(i, icrs);
        af_galactic_from_icrs(icrs, there);
        CHECK(there[0] >= 0.0 && there[0] < 360.0);
        CHECK_CLOSE(hypot(there[3], there[4]), hypot(icrs[3], icrs[4]), 1e-14);
        af_icrs_from_galactic(there, back);
        for (k = 0; k < 6; k++) CHECK_CLOSE(back[k], icrs[k], k == 0 ? 1e-12 : 1e-13);
        CHECK(fabs(back[0] - icrs[0]) * cos(af__radians(icrs[1])) < 2e-13 * 360.0);
        af_galactic_from_icrs(icrs, icrs); /* in place */
        CHECK(memcmp(icrs, there, sizeof there) == 0);
        af_icrs_from_galactic(there, there);
        CHECK(memcmp(back, there, sizeof there) == 0);
    }
}

TEST(longitudes) {
    double galactic[6] = {0, 0, 1, 0, 0, 0}, icrs[6], back[6];
    size_t i;
    for (i = 0; i < 2000; i++) { /* around the seam */
        galactic[0] = i % 2 ? ldexp(1.0, -(int)i / 30) : 360.0 - ldexp(1.0, -(int)i / 30);
        af_icrs_from_galactic(galactic, icrs);
        af_galactic_from_icrs(icrs, back);
        CHECK(back[0] >= 0.0 && back[0] < 360.0);
        CHECK_CLOSE(remainder(back[0] - galactic[0], 360.0), 0.0, 2e-13);
    }
    galactic[0] = -90.0; /* what comes in may be anything */
    af_icrs_from_galactic(galactic, icrs);
    af_galactic_from_icrs(icrs, back);
    CHECK_CLOSE(back[0], 270.0, 1e-14);
}

/* ---- the Sun ---- */

/* A star where Sgr A* is and that moves like it is at rest in the centre. */
TEST(rest_in_the_centre) {
    static const double radius[3] = {0.0, 7.9, 8.5};
    size_t i, k;
    for (i = 0; i < 6; i++) {
        af_sun sun = sun_of(radius[i % 3], i % 2 ? 0.3 : 0.0, i < 3 ? AF_HAND_RIGHT : AF_HAND_LEFT);
        double sgr[6] = {0.0, 0.0, 0.0, -6.411, -0.219, -12.9}, xv[6];
        sgr[2] = i % 3 ? radius[i % 3] : 8.275;
        af_xv_from_galactic(&sun, sgr, xv);
        for (k = 0; k < 6; k++) CHECK_CLOSE(xv[k], 0.0, k < 3 ? 4e-15 : 1e-13);
    }
}

TEST(default_sun) {
    af_sun sun, left;
    CHECK(af_sun_place(c, NULL, &sun) == AF_OK);
    CHECK_CLOSE(af__norm3(sun.position), 8.275, 1e-15);
    CHECK(sun.position[0] < 0.0 && sun.position[1] == 0.0 && sun.position[2] == 0.0208);
    /* 8.275 kpc times 6.411 and 0.219 mas/yr; the tilt, 0.0025, mixes x and z */
    CHECK_CLOSE(sun.velocity[0], 12.9 + 0.0025136 * 8.5908, 1e-5);
    CHECK_CLOSE(sun.velocity[1], 251.4845, 1e-5);
    CHECK_CLOSE(sun.velocity[2], 8.5908 - 0.0025136 * 12.9, 1e-5);
    left = sun_of(0.0, 0.0, AF_HAND_LEFT);
    CHECK(left.position[0] == -sun.position[0] && left.position[2] == sun.position[2]);
    CHECK(left.velocity[0] == -sun.velocity[0] && left.velocity[1] == sun.velocity[1]);
    /* the disc turns clockwise: J_phi is negative, in the mirror positive */
    CHECK(sun.position[0] * sun.velocity[1] < -2000.0);
    CHECK(left.position[0] * left.velocity[1] > 2000.0);
}

TEST(given_sun) {
    af_sun_desc d = AF__ZERO;
    af_sun sun;
    double galactic[6] = {90.0, 0.0, 0.5, 0.0, 0.0, 10.0}, xv[6];
    d.radius = 8.0;
    d.height = 1e-9;
    d.velocity[1] = 240.0;
    d.hand = AF_HAND_LEFT;
    CHECK(af_sun_place(c, &d, &sun) == AF_OK);
    af_xv_from_galactic(&sun, galactic, xv); /* ahead of the Sun, 10 km/s faster */
    CHECK_CLOSE(xv[0], 8.0, 1e-15);
    CHECK_CLOSE(xv[1], 0.5, 1e-15);
    CHECK_CLOSE(xv[2], 0.0, 2e-9);
    CHECK_CLOSE(xv[3], 0.0, 1e-13);
    CHECK_CLOSE(xv[4], 250.0, 1e-15);
    galactic[0] = 0.0; /* towards the centre, and to the north */
    galactic[1] = 30.0;
    galactic[5] = 0.0;
    galactic[4] = 1.0;
    af_xv_from_galactic(&sun, galactic, xv);
    CHECK_CLOSE(xv[0], 8.0 - 0.5 * cos(AF__PI / 6.0), 1e-9);
    CHECK_CLOSE(xv[2], 0.25, 1e-9);
    CHECK_CLOSE(xv[5], 0.5 * AF_KMS_PER_MASYR_KPC * cos(AF__PI / 6.0), 1e-8);
    CHECK_CLOSE(xv[3], 0.5 * AF_KMS_PER_MASYR_KPC * 0.5, 1e-8); /* outwards */
}

TEST(sun_errors) {
    static const struct {
        double radius, height, v;
        int hand;
        const char *words;
    } bad[] = {{-8.0, 0.0, 0.0, 0, "positive"},      {(double)NAN, 0.0, 0.0, 0, "positive"},
               {8.0, 8.0, 0.0, 0, "height"},         {8.0, -9.0, 0.0, 0, "height"},
               {8.0, (double)NAN, 0.0, 0, "height"}, {8.0, 0.0, (double)INFINITY, 0, "velocity"},
               {8.0, 0.0, 0.0, 2, "hand"},           {8.0, 0.0, 0.0, -1, "hand"}};
    size_t i;
    for (i = 0; i <= AF__COUNT(bad); i++) {
        af_sun_desc d = AF__ZERO;
        af_sun sun;
        if (i < AF__COUNT(bad)) {
            d.radius = bad[i].radius;
            d.height = bad[i].height;
            d.velocity[2] = bad[i].v;
            d.hand = (af_hand)bad[i].hand;
        } else {
            d.end_canary = 1;
        }
        CHECK(af_sun_place(c, &d, &sun) == AF_ERROR_ARGUMENT);
        CHECK_TEXT(af_error(c), i < AF__COUNT(bad) ? bad[i].words : "zero first");
        CHECK(sun.position[0] == 0.0 && sun.turn[1][1] == 0.0);
        af_error_clear(c);
    }
}

/* ---- to phase space and back ---- */

/* Four stars, computed with astropy 8.0: its Galactocentric frame with radius 8.122 kpc, height
 * 20.8 pc, velocity (12.9, 245.6, 7.78) km/s, the centre at l = b = 0 and its axes along those of
 * this library. */
TEST(astropy) {
    static const double value[4][12] = {
        {269.452083, 4.693364, 1.8282341141538412, -801.551, 10362.394, -110.47, -6.6008419732669,
         0.91362150016932, 0.46113511812472, -49367.905196927, 60354.41686079, 45418.694801286},
        {250.423475, 36.461319, 7.42, -3.1498, -2.5746, -244.49, -5.2222901790223, 4.806987484463,
         4.872718047398, -28.629003135651, -21.642389454907, -76.529755937075},
        {6.024, -72.081, 4.52, 5.2516, -2.5515, -17.45, -6.2526638543242, -2.5941485080842,
         -3.1739574973862, -75.596763847244, 164.30428796359, 46.69979524944},
        {17.350232, -25.248735, 24.839015, -0.25941954, -1.0217806, -112.08272, -10.087575383639,
         -0.29892545842728, -24.738515791218, 115.42539080247, 165.73760296247, 113.04838358283}};
    static const double motion[4][2] = {{8886.6524622302, 5389.7218325601},
                                        {-2.9051477188374, 2.8477924664087},
                                        {-5.5740537313558, 1.7376362709033},
                                        {0.80483844825552, -0.6808591370319}};
    af_sun_desc d = AF__ZERO;
    af_sun sun;
    size_t i, k;
    d.radius = 8.122;
    d.velocity[0] = 12.9;
    d.velocity[1] = 245.6;
    d.velocity[2] = 7.78;
    CHECK(af_sun_place(c, &d, &sun) == AF_OK);
    for (i = 0; i < 4; i++) {
        double xv[6], galactic[6];
        af_xv_from_icrs(&sun, value[i], xv);
        for (k = 0; k < 6; k++) CHECK_CLOSE(xv[k], value[i][6 + k], 1e-11);
        af_galactic_from_icrs(value[i], galactic);
        CHECK_CLOSE(galactic[3], motion[i][0], 1e-12);
        CHECK_CLOSE(galactic[4], motion[i][1], 1e-12);
    }
}

TEST(phase_space_round_trips) {
    size_t i, k;
    for (i = 0; i < 2000; i++) {
        af_sun sun = sun_of(0.0, 0.0, i % 2 ? AF_HAND_LEFT : AF_HAND_RIGHT);
        double sky[6], xv[6], back[6], other[6], far, kms, speed;
        random_sky(i, sky);
        af_xv_from_icrs(&sun, sky, xv);
        af_icrs_from_xv(&sun, xv, back);
        far = 1.0 + 10.0 / sky[2]; /* digits go where the star is nearer than the centre */
        kms = AF_KMS_PER_MASYR_KPC * sky[2];
        speed = 300.0 + fabs(sky[5]) + kms * (fabs(sky[3]) + fabs(sky[4]));
        CHECK_CLOSE((back[0] - sky[0]) * cos(af__radians(sky[1])) / 360.0, 0.0, 1e-15 * far);
        CHECK_CLOSE((back[1] - sky[1]) / 360.0, 0.0, 1e-15 * far);
        CHECK_CLOSE(back[2] / sky[2], 1.0, 1e-15 * far);
        CHECK_CLOSE((back[3] - sky[3]) * kms / speed, 0.0, 4e-15 * far);
        CHECK_CLOSE((back[4] - sky[4]) * kms / speed, 0.0, 4e-15 * far);
        CHECK_CLOSE((back[5] - sky[5]) / speed, 0.0, 4e-15 * far);
        af_xv_from_icrs(&sun, back, other);
        for (k = 0; k < 3; k++) CHECK_CLOSE(other[k], xv[k], 1e-14 * (1.0 + sky[2]));
        for (k = 3; k < 6; k++) CHECK_CLOSE((other[k] - xv[k]) / speed, 0.0, 4e-15 * far);
        memcpy(other, xv, sizeof xv); /* in place */
        af_icrs_from_xv(&sun, other, other);
        CHECK(memcmp(other, back, sizeof back) == 0);
        af_xv_from_icrs(&sun, sky, sky);
        CHECK(memcmp(sky, xv, sizeof xv) == 0);
    }
}

/* Motions are the derivatives of positions: a star that moves evenly for a while. */
TEST(motions_are_derivatives) {
    const double kms = 1e-5; /* kpc/(km/s), about 10^4 years */
    const double years = kms * AF_TIME_UNIT_GYR * 1e9;
    size_t i, k;
    for (i = 0; i < 200; i++) {
        af_sun sun = sun_of(0.0, 0.0, i % 2 ? AF_HAND_LEFT : AF_HAND_RIGHT);
        double sky[6], xv[6], at[2][6], place[2][6];
        random_sky(i, sky);
        sky[2] = 1.0 + sky[2];
        af_xv_from_icrs(&sun, sky, xv);
        for (k = 0; k < 3; k++) { /* the Sun moves too */
            double v = xv[3 + k] - sun.velocity[k];
            memcpy(at[0] + 3, xv + 3, 3 * sizeof *xv);
            memcpy(at[1] + 3, xv + 3, 3 * sizeof *xv);
            at[0][k] = xv[k] - v * kms;
            at[1][k] = xv[k] + v * kms;
        }
        for (k = 0; k < 2; k++) af_icrs_from_xv(&sun, at[k], place[k]);
        for (k = 0; k < 3; k++) {
            double slope = k < 2 ? remainder(place[1][k] - place[0][k], 360.0) : 0.0;
            slope *= 3600e3 / (2.0 * years) * (k == 0 ? cos(af__radians(sky[1])) : 1.0);
            if (k == 2) slope = (place[1][k] - place[0][k]) / (2.0 * kms);
            CHECK_CLOSE(slope, sky[3 + k], 1e-4); /* l'Hopital's third derivatives, and rounding */
        }
    }
}

TEST(special_places) {
    af_sun sun = sun_of(0.0, 0.0, AF_HAND_RIGHT);
    double xv[6], sky[6], pole[6] = {77.0, 90.0, 2.0, 1.0, 2.0, 3.0}, back[6];
    size_t k;
    memcpy(xv, sun.position, sizeof sun.position);
    memcpy(xv + 3, sun.velocity, sizeof sun.velocity);
    af_galactic_from_xv(&sun, xv, sky);
    CHECK(sky[0] == 0.0 && sky[1] == 0.0 && sky[2] == 0.0);
    CHECK(sky[3] != sky[3] && sky[4] != sky[4] && sky[5] != sky[5]);
    af_xv_from_galactic(&sun, pole, xv); /* the direction of the motion survives at the pole */
    af_galactic_from_xv(&sun, xv, sky);
    af_xv_from_galactic(&sun, sky, back);
    for (k = 0; k < 6; k++) CHECK_CLOSE(back[k], xv[k], 1e-12);
    CHECK_CLOSE(sky[1], 90.0, 1e-13);
    CHECK_CLOSE(hypot(sky[3], sky[4]), hypot(1.0, 2.0), 1e-13);
    pole[2] = NAN; /* what is not known spoils only what depends on it */
    pole[5] = NAN;
    af_icrs_from_galactic(pole, sky);
    CHECK(sky[2] != sky[2] && sky[5] != sky[5]);
    CHECK_CLOSE(sky[1], 27.12825, 1e-13);
    CHECK_CLOSE(hypot(sky[3], sky[4]), hypot(1.0, 2.0), 1e-13);
    CHECK(af_distance_of_parallax(0.25) == 4.0);
    CHECK(is_nan(af_distance_of_parallax(0.0)) && is_nan(af_distance_of_parallax(-1.0)));
    CHECK(is_nan(af_distance_of_parallax((double)NAN)));
}

/* ---- tables ---- */

/* The stars of the table in `text`, as orbits; NULL with the sentence left in the context. */
static af_observed *read_text(const char *text, const af_observed_desc *d) {
    const char *path = scratch_file("stars.csv");
    af_observed *o = NULL;
    write_text(path, text);
    af_observed_read(c, path, d, &o);
    remove(path);
    return o;
}

/* One star in ICRS with a distance; the numbers of the second row of TEST(astropy). */
static const double m13[6] = {250.423475, 36.461319, 7.42, -3.1498, -2.5746, -244.49};

/* Headers as people have them, each above the same star: e errors, p parallax, g Galactic. */
static const struct {
    const char *header, *kind;
} headers[] = {
    {"stream,ra,dec,distance,pmra,pmdec,radial_velocity", ""},
    {"Stream\tRA\tDEC\tDist\tpmRA\tpmDEC\tRV", ""},
    {"stream;ra_deg;dec_deg;distance_kpc;pm_ra_cosdec_mas_yr;pm_dec_mas_yr;radial_velocity_km_s",
     ""},
    {"stream RAJ2000 DEJ2000 d_sun pm_ra pm_dec HRV", ""},
    {"stream,RA_ICRS,DE_ICRS,d,mu_ra,mu_dec,v_helio", ""},
    {"stream,ra,dec,Plx,pmRA,pmDE,v_los", "p"},
    {"stream,ra,dec,parallax_mas,pmRA_masyr,pmDE_masyr,vlos_kms", "p"},
    {"stream,l,b,distance,pml,pmb,vhelio", "g"},
    {"stream,GLON,GLAT,parallax,pm_l_cosb,pm_b,v_h", "gp"},
    {"stream,l_deg,b_deg,dist_kpc,mu_l,mu_b,vrad", "g"},
    {"# %ECSV 1.0\n# ---\n# delimiter: ','\nstream,ra,dec,distance,pmra,pmdec,radial_velocity", ""},
};

TEST(names) {
    af_sun sun = sun_of(0.0, 0.0, AF_HAND_RIGHT);
    double truth[6];
    size_t i, k;
    af_xv_from_icrs(&sun, m13, truth);
    for (i = 0; i < AF__COUNT(headers); i++) {
        int galactic = strchr(headers[i].kind, 'g') != NULL;
        double v[6];
        char text[600], between;
        af_observed *o;
        af_orbits *orbits = NULL;
        memcpy(v, m13, sizeof v);
        if (galactic) af_galactic_from_icrs(v, v);
        if (strchr(headers[i].kind, 'p')) v[2] = 1.0 / v[2];
        between = strchr(headers[i].header, ',')    ? ','
                  : strchr(headers[i].header, '\t') ? '\t'
                  : strchr(headers[i].header, ';')  ? ';'
                                                    : ' ';
        snprintf(text, sizeof text, "%s\n3%c%.17g%c%.17g%c%.17g%c%.17g%c%.17g%c%.17g\n",
                 headers[i].header, between, v[0], between, v[1], between, v[2], between, v[3],
                 between, v[4], between, v[5]);
        o = read_text(text, NULL);
        CHECK_TEXT(af_error(c), "");
        CHECK(o && af_error_status(c) == AF_OK);
        if (!o) continue;
        CHECK(af_observed_streams(o) == 1 && af_observed_id(o, 0) == 3.0);
        CHECK(strcmp(af_observed_name(o, 0), "3") == 0);
        af_observed_sky(o, 0, 0, v);
        for (k = 0; k < 6; k++) CHECK_CLOSE(v[k], m13[k], 1e-13);
        CHECK(af_observed_orbits(o, 0, &orbits) == AF_OK);
        for (k = 0; k < 6 && orbits; k++)
            CHECK_CLOSE(af_orbits_xv(orbits, 0)[k], truth[k], 1e-13);
        CHECK(orbits && af_orbits_id(orbits, 0) == 3.0);
        af_orbits_destroy(orbits);
        af_observed_destroy(o);
    }
}

TEST(meanings) {
    static const struct {
        const char *name;
        af__meaning_kind kind;
        af__quantity quantity, other;
        double factor;
    } of[] = {
        {"parallax_error", AF__MEANS_ERROR, AF__Q_PARALLAX, AF__Q_COUNT, 1.0},
        {"e_pmRA", AF__MEANS_ERROR, AF__Q_PMRA, AF__Q_COUNT, 1.0},
        {"RV_err", AF__MEANS_ERROR, AF__Q_VELOCITY, AF__Q_COUNT, 1.0},
        {"distance_error_pc", AF__MEANS_ERROR, AF__Q_DISTANCE, AF__Q_COUNT, 1e-3},
        {"dist_pc_err", AF__MEANS_ERROR, AF__Q_DISTANCE, AF__Q_COUNT, 1e-3},
        {"pm_ra_pm_dec_corr", AF__MEANS_CORRELATION, AF__Q_PMRA, AF__Q_PMDEC, 1.0},
        {"parallax_pmra_corr", AF__MEANS_CORRELATION, AF__Q_PARALLAX, AF__Q_PMRA, 1.0},
        {"parallax_over_error", AF__MEANS_NOTHING, AF__Q_COUNT, AF__Q_COUNT, 1.0},
        {"ra_dec_corr", AF__MEANS_CORRELATION, AF__Q_RA, AF__Q_DEC, 1.0},
        {"_error", AF__MEANS_NOTHING, AF__Q_COUNT, AF__Q_COUNT, 1.0},
        {"", AF__MEANS_NOTHING, AF__Q_COUNT, AF__Q_COUNT, 1.0},
        {"phot_g_mean_mag", AF__MEANS_NOTHING, AF__Q_COUNT, AF__Q_COUNT, 1.0},
        {"a_name_that_is_far_longer_than_any_name_that_could_have_a_meaning_here",
         AF__MEANS_NOTHING, AF__Q_COUNT, AF__Q_COUNT, 1.0}};
    size_t i, j;
    for (i = 0; i < AF__COUNT(of); i++) {
        af__meaning m = af__meaning_of(of[i].name);
        CHECK(m.kind == of[i].kind);
        if (m.kind == AF__MEANS_NOTHING) continue;
        CHECK(m.quantity == of[i].quantity && m.other == of[i].other && m.factor == of[i].factor);
    }
    for (i = 0; i < AF__COUNT(af__aliases); i++) /* no name has two meanings */
        for (j = 0; j < i; j++) CHECK(strcmp(af__aliases[i].name, af__aliases[j].name) != 0);
}

/* Gaia's columns, with others between them; positions in both systems, errors and correlations, a
 * star without velocity. */
static const char gaia[] =
    "source_id,l,b,ra,ra_error,dec,dec_error,parallax,parallax_error,parallax_over_error,pmra,"
    "pmra_error,pmdec,pmdec_error,parallax_pmra_corr,parallax_pmdec_corr,pmra_pmdec_corr,"
    "phot_g_mean_mag,radial_velocity,radial_velocity_error,name\n"
    "1234567890123456789,1,2,250,0.02,36,0.03,0.5,0.02,25,-3,0.04,-2.5,0.05,0.1,-0.2,0.3,11.1,-240,"
    "0.5,\"a, b\"\n"
    "1234567890123456790,1,2,251,0.02,37,0.03,0.25,0.02,12,-3.1,0.04,-2.4,0.05,0.1,-0.2,0.3,11.1,,,"
    "c\n";

TEST(gaia_table) {
    af_observed_desc d = AF__ZERO;
    af_observed *o;
    af_orbits *orbits = NULL;
    double sky[6];
    d.parallax_zero = -0.05;
    o = read_text(gaia, &d);
    CHECK_TEXT(af_error(c), "");
    if (!o) {
        CHECK(o != NULL);
        af_error_clear(c);
        return;
    }
    CHECK(af_observed_streams(o) == 2 && af_observed_stars(o) == 1); /* each a stream */
    CHECK(af_observed_id(o, 1) == 1.0 && strcmp(af_observed_name(o, 1), "") == 0);
    af_observed_sky(o, 0, 0, sky);
    CHECK(sky[0] == 250.0 && sky[1] == 36.0 && sky[3] == -3.0 && sky[5] == -240.0);
    CHECK_CLOSE(sky[2], 1.0 / 0.55, 1e-15);
    CHECK(o->error[0] == 0.02 && o->error[1] == 0.04 && o->error[2] == 0.05 && o->error[3] == 0.5);
    CHECK(o->correlation[0] == 0.1 && o->correlation[1] == -0.2 && o->correlation[2] == 0.3);
    CHECK(af_observed_missing(o, 0, 0) == 0);
    CHECK(af_observed_missing(o, 1, 0) == AF_MISSING_VELOCITY && o->error[7] == 0.0);
    CHECK(af_observed_orbits(o, 0, &orbits) == AF_ERROR_DATA && !orbits);
    CHECK_TEXT(af_error(c), "row 2 has no velocity");
    af_error_clear(c);
    CHECK(af_observed_orbits(o, 1, &orbits) == AF_OK && af_orbits_streams(orbits) == 1);
    af_orbits_destroy(orbits);
    af_observed_destroy(o);
}

/* Positions in one system, motions in the other. */
TEST(mixed_systems) {
    double galactic[6], sky[6];
    char text[400];
    size_t i, k;
    af_galactic_from_icrs(m13, galactic);
    for (i = 0; i < 2; i++) {
        const double *position = i ? galactic : m13, *motion = i ? m13 : galactic;
        af_observed *o;
        snprintf(text, sizeof text, "%s,distance,%s,rv\n%.17g,%.17g,7420,%.17g,%.17g,-244.49\n",
                 i ? "l,b" : "ra,dec", i ? "pmra,pmdec" : "pml,pmb", position[0], position[1],
                 motion[3], motion[4]);
        o = read_text(text, NULL);
        CHECK(o != NULL);
        if (!o) continue;
        CHECK(o->galactic == !i);
        af_observed_sky(o, 0, 0, sky);
        for (k = 0; k < 6; k++) CHECK_CLOSE(sky[k], k == 2 ? 7420.0 : m13[k], 1e-13);
        af_observed_destroy(o);
    }
    {
        af_observed *o = read_text("l,b,ra,dec,distance_pc,distance_error_pc,pmra,pmdec,rv\n"
                                   "1,2,3,4,5000,100,6,7,8\n", NULL);
        CHECK(o && o->value[2] == 5.0 && o->error[0] == 0.1 && o->value[0] == 3.0);
        af_observed_destroy(o);
    }
}

/* Streams by number in their order, by name in the order of the file. */
TEST(streams) {
    static const char numbers[] = "stream,ra,dec,distance,pmra,pmdec,rv\n"
                                  "7,1,0,1,0,0,0\n-1,2,0,1,0,0,0\n7.0,3,0,1,0,0,0\n"
                                  "1e1,4,0,1,0,0,0\n";
    static const char names[] = "ra,dec,distance,pmra,pmdec,rv,stream,track\n"
                                "1,0,1,0,0,0,Orphan,x\n2,0,1,0,0,0,\"GD-1, south\",y\n"
                                "3,0,1,0,0,0,Orphan,z\n4,0,1,0,0,0,7,w\n";
    af_observed *o = read_text(numbers, NULL);
    double sky[6];
    CHECK(o && af_observed_streams(o) == 3 && af_observed_stars(o) == 2);
    if (o) {
        CHECK(af_observed_id(o, 0) == -1.0 && af_observed_count(o, 0) == 1);
        CHECK(af_observed_id(o, 1) == 7.0 && af_observed_count(o, 1) == 2);
        CHECK(af_observed_row(o, 1, 0) == 0 && af_observed_row(o, 1, 1) == 2);
        CHECK(af_observed_id(o, 2) == 10.0 && strcmp(af_observed_name(o, 2), "1e1") == 0);
    }
    af_observed_destroy(o);
    o = read_text(names, NULL);
    CHECK(o && af_observed_streams(o) == 3);
    if (o) {
        CHECK(strcmp(af_observed_name(o, 0), "Orphan") == 0 && af_observed_id(o, 0) == 0.0);
        CHECK(strcmp(af_observed_name(o, 1), "GD-1, south") == 0 && af_observed_id(o, 1) == 1.0);
        CHECK(strcmp(af_observed_name(o, 2), "7") == 0 && af_observed_id(o, 2) == 2.0);
        af_observed_sky(o, 0, 1, sky);
        CHECK(af_observed_count(o, 0) == 2 && sky[0] == 3.0 && af_observed_row(o, 0, 1) == 2);
    }
    af_observed_destroy(o);
}

#define FINE "stream,ra,dec,distance,pmra,pmdec,rv\n"

static const struct {
    const char *text, *words;
    af_status status;
} bad_tables[] = {
    {"", "is empty", AF_ERROR_FORMAT},
    {FINE, "no rows", AF_ERROR_FORMAT},
    {"stream,ra,distance,pmra,pmdec,rv\n1,2,3,4,5,6\n", "no column with the declination; call it",
     AF_ERROR_FORMAT},
    {"stream,ra,dec,pmra,pmdec,rv\n1,2,3,4,5,6\n", "distance [kpc] or the parallax [mas]",
     AF_ERROR_FORMAT},
    {"stream,ra,dec,distance,pmra,rv\n1,2,3,4,5,6\n", "proper motion in declination",
     AF_ERROR_FORMAT},
    {"stream,l,b,distance,pml,pmdec,rv\n1,2,3,4,5,6,7\n", "proper motion in right ascension",
     AF_ERROR_FORMAT},
    {"stream,ra,dec,distance,pmra,pmdec\n1,2,3,4,5,6\n", "line-of-sight velocity; call it radial",
     AF_ERROR_FORMAT},
    {"a,b,c\n1,2,3\n", "no column", AF_ERROR_FORMAT},
    {"a,b,c\n1,2,3\n", "ra, dec (or l, b), distance (or parallax), pmra, pmdec", AF_ERROR_FORMAT},
    {"a,b,c\n1,2,3\n", "others x, y, z, vx, vy, vz", AF_ERROR_FORMAT},
    {"ra,dec,distance,parallax,pmra,pmdec,rv\n1,2,3,4,5,6,7\n", "a distance and with a parallax",
     AF_ERROR_FORMAT},
    {"ra,dec,distance,parallax,pmra,pmdec,rv\n1,2,3,4,5,6,7\n", "or choose the distance",
     AF_ERROR_FORMAT},
    {"ra,dec,distance,pmra,pmdec,pml,pmb,rv\n1,2,3,4,5,6,7,8\n",
     "with Galactic ones; remove some, or choose the sky", AF_ERROR_FORMAT},
    {"ra,dec,RA_deg,distance,pmra,pmdec,rv\n1,2,3,4,5,6,7\n", "'ra' and 'RA_deg' mean the same",
     AF_ERROR_FORMAT},
    {"ra,dec,distance,pmra,pmdec,rv,rv_err,e_rv\n1,2,3,4,5,6,7,8\n", "'rv_err' and 'e_rv'",
     AF_ERROR_FORMAT},
    {"ra,dec,distance,pmra,pmdec,rv,pmra_pmdec_corr,pmdec_pmra_corr\n1,2,3,4,5,6,0,0\n",
     "'pmra_pmdec_corr' and", AF_ERROR_FORMAT},
    {FINE "1,2,3,4,5,6,7\n1,2,3,4,5,6,north\n", "line 3, column 'rv': 'north'", AF_ERROR_FORMAT},
    {FINE "1,2,3,4,5,6,7\n1,2,3,4,5,6\n", "line 3", AF_ERROR_FORMAT},
    {FINE "1,2,3,4,5,6,7\n1,,3,4,5,6,7\n", "row 2: ra is not a finite", AF_ERROR_DATA},
    {FINE "1,2,3,4,5,6,7\n1,2,3,4,5,nan,7\n", "row 2: pmdec is not a finite", AF_ERROR_DATA},
    {FINE "1,2,3,4,5,6,inf\n", "row 1: rv is not a finite", AF_ERROR_DATA},
    {FINE "1,2,3,-inf,5,6,7\n", "row 1: distance is not a finite", AF_ERROR_DATA},
    {FINE "1,2,93,4,5,6,7\n", "row 1: dec is beyond 90 degrees (93)", AF_ERROR_DATA},
    {FINE "1,2,3,0,5,6,7\n", "row 1: distance is not positive (0)", AF_ERROR_DATA},
    {FINE ",2,3,4,5,6,7\n", "row 1: the stream is empty", AF_ERROR_DATA},
    {"ra,dec,plx,pmra,pmdec,rv\n1,2,0.1,4,5,6\n1,2,-0.1,4,5,6\n", "row 2: plx less its zero point",
     AF_ERROR_DATA},
    {"ra,dec,plx,pmra,pmdec,rv\n1,2,0,4,5,6\n", "row 1: plx less", AF_ERROR_DATA},
    {"ra,dec,distance,pml,pmb,rv\n1,-91,2,4,5,6\n", "row 1: dec is beyond", AF_ERROR_DATA},
    {"ra,dec,distance,pmra,pmdec,rv,pmra_error\n1,2,3,4,5,6,-1\n",
     "row 1: pmra has a negative or infinite error (-1)", AF_ERROR_DATA},
    {"ra,dec,distance,pmra,pmdec,rv,rv_error\n1,2,3,4,5,6,inf\n",
     "row 1: rv has a negative or infinite error (inf)", AF_ERROR_DATA},
    {"ra,dec,distance,pmra,pmdec,rv,pmra_pmdec_corr\n1,2,3,4,5,6,1.1\n", "correlations",
     AF_ERROR_DATA},
    {"ra,dec,distance,pmra,pmdec,rv,pmra_pmdec_corr,distance_pmra_corr,distance_pmdec_corr\n"
     "1,2,3,4,5,6,-0.9,0.9,0.9\n", "correlations", AF_ERROR_DATA},
};

TEST(table_errors) {
    const char *path = scratch_file("bad.csv");
    size_t i;
    af_observed *o;
    af_orbits *orbits;
    for (i = 0; i < AF__COUNT(bad_tables); i++) {
        write_text(path, bad_tables[i].text);
        CHECK_FAILS(o, af_observed, af_observed_read(c, path, NULL, &o), bad_tables[i].status,
                    bad_tables[i].words);
        CHECK_FAILS(orbits, af_orbits, af_orbits_read_any(c, path, NULL, &orbits),
                    bad_tables[i].status, path);
    }
    remove(path);
    CHECK_FAILS(o, af_observed, af_observed_read(c, path, NULL, &o), AF_ERROR_IO, path);
    CHECK_FAILS(orbits, af_orbits, af_orbits_read_any(c, path, NULL, &orbits), AF_ERROR_IO, path);
}

/* Two answers in a table: the desc chooses. */
TEST(choices) {
    static const char text[] = "ra,dec,l,b,distance,parallax,pmra,pmdec,pml,pmb,rv\n"
                               "1,2,3,4,5,0.5,6,7,8,9,10\n";
    af_observed_desc d = AF__ZERO;
    af_observed *o;
    d.sky = AF_SKY_GALACTIC;
    d.distance = AF_DISTANCE_PARALLAX;
    o = read_text(text, &d);
    CHECK(o && o->galactic && o->parallax && o->value[0] == 3.0 && o->value[2] == 0.5);
    CHECK(o && o->value[3] == 8.0);
    af_observed_destroy(o);
    d.sky = AF_SKY_ICRS;
    d.distance = AF_DISTANCE_DIRECT;
    o = read_text(text, &d);
    CHECK(o && !o->galactic && !o->parallax && o->value[0] == 1.0 && o->value[2] == 5.0);
    CHECK(o && o->value[3] == 6.0);
    af_observed_destroy(o);
    d.distance = AF_DISTANCE_PARALLAX; /* of a table that has none */
    o = read_text(FINE "1,2,3,4,5,6,7\n", &d);
    CHECK(!o);
    CHECK_TEXT(af_error(c), "no column with the parallax");
    af_error_clear(c);
    d.sky = (af_sky_choice)3;
    CHECK(!read_text(text, &d) && af_error_status(c) == AF_ERROR_ARGUMENT);
    af_error_clear(c);
    d.sky = AF_SKY_AUTO;
    d.parallax_zero = NAN;
    CHECK(!read_text(text, &d) && af_error_status(c) == AF_ERROR_ARGUMENT);
    af_error_clear(c);
    d.parallax_zero = 0.0;
    d.start_canary = 3;
    CHECK(!read_text(text, &d) && af_error_status(c) == AF_ERROR_ARGUMENT);
    af_error_clear(c);
    d.start_canary = 0;
    d.distance = AF_DISTANCE_AUTO;
    d.sun.radius = -1.0;
    CHECK(!read_text(FINE "1,2,3,4,5,6,7\n", &d) && af_error_status(c) == AF_ERROR_ARGUMENT);
    af_error_clear(c);
}

/* Cartesian tables and NPY come out as af_orbits_read gives them, bit by bit. */
TEST(read_any) {
    static const char cartesian[] = "stream,x,y,z,vx,vy,vz,l,b\n2,1,2,3,4,5,6,7,8\n"
                                    "1,1.5,2,3,4,5,6,7,8\n2,1,2,3,4,5,7,7,8\n";
    static const char *const name[2] = {"any.csv", "any.npy"};
    double xv[24] = {1, 2, 3};
    size_t dims[3] = {2, 2, 6}, i;
    af_orbits *o = NULL, *other = NULL;
    for (i = 0; i < 2; i++) {
        const char *path = scratch_file(name[i]);
        if (i) af_npy_write(c, path, 3, dims, xv);
        else write_text(path, cartesian);
        CHECK(af_orbits_read(c, path, &o) == AF_OK);
        CHECK(af_orbits_read_any(c, path, NULL, &other) == AF_OK);
        CHECK(o && other && af_orbits_streams(other) == 2);
        if (o && other) {
            CHECK(memcmp(af_orbits_xv(o, 0), af_orbits_xv(other, 0), sizeof xv) == 0);
            CHECK(af_orbits_id(o, 1) == af_orbits_id(other, 1));
            CHECK(af_orbits_row(o, 1, 1) == af_orbits_row(other, 1, 1));
        }
        af_orbits_destroy(o);
        af_orbits_destroy(other);
        remove(path);
    }
    write_text(scratch_file("part.csv"), "");
    {
        const char *path = scratch_file("part.csv");
        write_text(path, "stream,x,y,z,vx,vy\n1,2,3,4,5,6\n"); /* nearly Cartesian */
        CHECK_FAILS(o, af_orbits, af_orbits_read_any(c, path, NULL, &o), AF_ERROR_FORMAT,
                    "no column 'vz'");
        remove(path);
    }
}

/* ---- in memory ---- */

TEST(create_errors) {
    double value[12] = {1, 2, 3, 4, 5, 6, 1, 2, (double)NAN, 4, 5, 6}, error[8] = {0};
    size_t count[2] = {1, 2};
    af_observed *o;
    CHECK_FAILS(o, af_observed, af_observed_create(c, NULL, 0, 1, value, NULL, NULL, &o),
                AF_ERROR_DATA, "none");
    CHECK_FAILS(o, af_observed, af_observed_create(c, NULL, 2, 1, value, NULL, count, &o),
                AF_ERROR_ARGUMENT, "stream 1 has 2 stars");
    count[1] = 0;
    CHECK_FAILS(o, af_observed, af_observed_create(c, NULL, 2, 1, value, NULL, count, &o),
                AF_ERROR_DATA, "stream 1 has no stars");
    CHECK_FAILS(o, af_observed, af_observed_create(c, NULL, SIZE_MAX / 4, 1, value, NULL, NULL, &o),
                AF_ERROR_MEMORY, "memory");
    CHECK_FAILS(o, af_observed,
                af_observed_create(c, NULL, SIZE_MAX / 4, 8, value, NULL, NULL, &o),
                AF_ERROR_MEMORY, "memory");
    value[7] = -90.5;
    CHECK_FAILS(o, af_observed, af_observed_create(c, NULL, 1, 2, value, error, NULL, &o),
                AF_ERROR_DATA, "stream 0, star 1: latitude");
    value[7] = 90.0;
    error[6] = -1.0;
    CHECK_FAILS(o, af_observed, af_observed_create(c, NULL, 1, 2, value, error, NULL, &o),
                AF_ERROR_DATA, "star 1: motion in latitude has a neg");
    error[6] = NAN;
    error[4] = 0.1; /* of a distance that is not there */
    CHECK(af_observed_create(c, NULL, 1, 2, value, error, NULL, &o) == AF_OK);
    CHECK(o && af_observed_count(o, 0) == 2 && af_observed_row(o, 0, 1) == 1);
    CHECK(o && o->error[4] == 0.0 && o->error[6] == 0.0);
    CHECK(o && af_observed_sun(o)->position[0] < -8.0);
    CHECK(o && is_nan(af_observed_filled(o, 0, 1).misfit));
    af_observed_destroy(o);
    af_observed_destroy(NULL);
}

/* ---- draws ---- */

/* One star with correlated errors, or a copy of it in `streams` streams. */
static af_observed *uncertain(size_t streams, int parallax, double relative) {
    double value[4 * 6] = AF__ZERO, error[4 * 4] = AF__ZERO;
    af_observed_desc d = AF__ZERO;
    af_observed *o = NULL;
    size_t s;
    for (s = 0; s < streams; s++) {
        memcpy(value + 6 * s, m13, sizeof m13);
        value[6 * s + 2] = parallax ? 1.0 / m13[2] : m13[2];
        error[4 * s] = relative * value[6 * s + 2];
        error[4 * s + 1] = 0.3;
        error[4 * s + 2] = 0.2;
        error[4 * s + 3] = 5.0;
    }
    d.distance = parallax ? AF_DISTANCE_PARALLAX : AF_DISTANCE_AUTO;
    CHECK(af_observed_create(c, &d, streams, 1, value, error, NULL, &o) == AF_OK);
    for (s = 0; o && s < streams; s++) {
        o->correlation[3 * s] = 0.5;
        o->correlation[3 * s + 1] = -0.3;
        o->correlation[3 * s + 2] = 0.4;
    }
    return o;
}

/* Means, deviations and correlations of many draws are those of the errors. */
TEST(draws_have_the_errors) {
    enum { DRAWS = 40000 };
    static const double r[4][4] = {
        {1.0, 0.5, -0.3, 0.0}, {0.5, 1.0, 0.4, 0.0}, {-0.3, 0.4, 1.0, 0.0}, {0.0, 0.0, 0.0, 1.0}};
    int parallax;
    for (parallax = 0; parallax < 2; parallax++) {
        af_observed *o = uncertain(1, parallax, 0.05);
        af_orbits *orbits = NULL;
        double mean[4] = {0}, square[4][4] = {{0}};
        size_t n, i, j;
        CHECK(af_observed_draws(o, DRAWS, 5, 0, &orbits) == AF_OK);
        for (n = 0; orbits && n < DRAWS; n++) {
            double sky[6], g[4];
            af_icrs_from_xv(&o->sun, af_orbits_xv(orbits, n), sky);
            CHECK_CLOSE(sky[0], m13[0], 1e-12);
            CHECK_CLOSE(sky[1], m13[1], 1e-12);
            if (parallax) sky[2] = 1.0 / sky[2];
            for (i = 0; i < 4; i++) g[i] = (sky[2 + i] - o->value[2 + i]) / o->error[i];
            for (i = 0; i < 4; i++) {
                mean[i] += g[i] / (double)DRAWS;
                for (j = 0; j < 4; j++) square[i][j] += g[i] * g[j] / (double)DRAWS;
            }
        }
        for (i = 0; i < 4; i++) { /* 1/sqrt(40000) = 0.005, and five of those */
            CHECK_CLOSE(mean[i], 0.0, 0.025);
            for (j = 0; j < 4; j++) CHECK_CLOSE(square[i][j], r[i][j], 0.035);
        }
        af_orbits_destroy(orbits);
        af_observed_destroy(o);
    }
}

/* A function of (seed, row, draw), whatever else is drawn; streams beside each other. */
TEST(draws_are_counted) {
    af_observed *o = uncertain(3, 1, 0.1);
    af_orbits *few = NULL, *many = NULL, *other = NULL, *part = NULL;
    size_t s, k;
    CHECK(af_observed_draws(o, 3, 5, 0, &few) == AF_OK);
    CHECK(af_observed_draws(o, 8, 5, 0, &many) == AF_OK);
    CHECK(af_observed_draws(o, 3, 6, 0, &other) == AF_OK);
    CHECK(af_orbits_streams(many) == 24 && af_orbits_stars(many) == 1);
    for (s = 0; s < 3; s++)
        for (k = 0; k < 3; k++) {
            const double *xv = af_orbits_xv(few, 3 * s + k);
            CHECK(memcmp(xv, af_orbits_xv(many, 8 * s + k), 6 * sizeof *xv) == 0);
            CHECK(xv[0] != af_orbits_xv(other, 3 * s + k)[0]);
            CHECK(xv[0] != af_orbits_xv(few, 3 * s + (k + 1) % 3)[0]);
            CHECK(xv[0] != af_orbits_xv(few, (3 * s + 3) % 9 + k)[0]);
            CHECK(af_orbits_id(few, 3 * s + k) == (double)s);
            CHECK(af_orbits_row(few, 3 * s + k, 0) == s);
        }
    CHECK(af_orbits_part(c, many, 8, 8, &part) == AF_OK);
    CHECK(part && af_orbits_xv(part, 1)[3] == af_orbits_xv(few, 4)[3]);
    af_orbits_destroy(part);
    af_orbits_destroy(few);
    af_orbits_destroy(many);
    af_orbits_destroy(other);
    af_observed_destroy(o);
}

/* Parallaxes of which many draws are negative: none is taken, and the rest is a normal distribution
 * cut at 0. */
TEST(draws_are_positive) {
    enum { DRAWS = 20000 };
    int parallax;
    for (parallax = 0; parallax < 2; parallax++) {
        af_observed *o = uncertain(1, parallax, 2.0); /* of two errors' worth: at -1/2 cut */
        af_orbits *orbits = NULL;
        double mean = 0.0, before = 0.0;
        size_t n;
        CHECK(af_observed_draws(o, DRAWS, 7, 0, &orbits) == AF_OK);
        for (n = 0; orbits && n < DRAWS; n++) {
            double sky[6];
            af_icrs_from_xv(&o->sun, af_orbits_xv(orbits, n), sky);
            CHECK(sky[2] > 0.0 && sky[2] != before); /* a new try takes nobody else's numbers */
            before = sky[2];
            if (parallax) sky[2] = 1.0 / sky[2];
            mean += (sky[2] - o->value[2]) / o->error[0] / (double)DRAWS;
        }
        /* density(1/2) / probability(above -1/2) = 0.35207 / 0.69146 */
        CHECK_CLOSE(mean, 0.50916, 0.03);
        af_orbits_destroy(orbits);
        af_observed_destroy(o);
    }
}

TEST(draws_without_errors) {
    af_observed *o = uncertain(2, 0, 0.0);
    af_orbits *orbits = NULL, *plain = NULL;
    size_t k, s;
    o->error[1] = o->error[2] = o->error[3] = 0.0; /* the first star is exact, the second is not */
    CHECK(af_observed_draws(o, 4, 1, 0, &orbits) == AF_OK);
    CHECK(af_observed_orbits(o, 0, &plain) == AF_OK);
    for (s = 0; s < 2; s++)
        for (k = 0; k < 4; k++)
            CHECK((memcmp(af_orbits_xv(orbits, 4 * s + k), af_orbits_xv(plain, s),
                          6 * sizeof(double)) == 0) == (s == 0));
    af_orbits_destroy(orbits);
    af_orbits_destroy(plain);
    CHECK_FAILS(orbits, af_orbits, af_observed_draws(o, 0, 1, 0, &orbits), AF_ERROR_ARGUMENT,
                "none are asked for");
    memset(o->error, 0, 8 * sizeof *o->error);
    CHECK_FAILS(orbits, af_orbits, af_observed_draws(o, 4, 1, 0, &orbits), AF_ERROR_DATA,
                "no star has errors");
    o->error[1] = 1.0;
    CHECK_FAILS(orbits, af_orbits, af_observed_draws(o, SIZE_MAX, 1, 0, &orbits), AF_ERROR_MEMORY,
                "memory");
    o->value[5] = NAN;
    CHECK_FAILS(orbits, af_orbits, af_observed_draws(o, 4, 1, 0, &orbits), AF_ERROR_DATA,
                "row 1 has no velocity");
    o->value[8] = NAN;
    CHECK_FAILS(orbits, af_orbits, af_observed_draws(o, 4, 1, 1, &orbits), AF_ERROR_DATA,
                "no star has both");
    o->value[5] = 1.0;
    CHECK(af_observed_draws(o, 4, 1, 1, &orbits) == AF_OK && af_orbits_streams(orbits) == 4);
    af_orbits_destroy(orbits);
    af_observed_destroy(o);
}

/* Stars with something missing are left out; streams of such stars too; rows stay the file's. */
TEST(left_out) {
    enum { S = 4, N = 3 };
    static const size_t count[S] = {3, 2, 1, 3};
    double value[S * N * 6];
    af_observed *o = NULL;
    af_orbits *orbits = NULL;
    size_t i;
    for (i = 0; i < S * N; i++) random_sky(i, value + 6 * i);
    value[6 * 0 + 5] = NAN;
    value[6 * 3 + 2] = NAN;
    value[6 * 4 + 2] = value[6 * 4 + 5] = NAN;
    CHECK(af_observed_create(c, NULL, S, N, value, NULL, count, &o) == AF_OK);
    CHECK(af_observed_missing(o, 1, 0) == AF_MISSING_DISTANCE);
    CHECK(af_observed_missing(o, 1, 1) == (AF_MISSING_DISTANCE | AF_MISSING_VELOCITY));
    CHECK_FAILS(orbits, af_orbits, af_observed_orbits(o, 0, &orbits), AF_ERROR_DATA,
                "row 1 has no velocity");
    CHECK(af_observed_orbits(o, 1, &orbits) == AF_OK);
    CHECK(orbits && af_orbits_streams(orbits) == 3 && af_orbits_stars(orbits) == 3);
    if (orbits) {
        double xv[6];
        CHECK(af_orbits_count(orbits, 0) == 2 && af_orbits_row(orbits, 0, 0) == 1);
        CHECK(af_orbits_id(orbits, 1) == 2.0 && af_orbits_row(orbits, 1, 0) == 6);
        CHECK(af_orbits_id(orbits, 2) == 3.0 && af_orbits_count(orbits, 2) == 3);
        af_xv_from_icrs(af_observed_sun(o), value + 6 * 2, xv);
        CHECK(memcmp(af_orbits_xv(orbits, 0) + 6, xv, sizeof xv) == 0);
    }
    af_orbits_destroy(orbits);
    af_observed_destroy(o);
}

/* ---- what was not measured ---- */

static size_t calls;

/* Actions of the true isochrone. */
static void truth(size_t count, const double *xv, double *j, void *user) {
    af_isochrone iso = mock_truth();
    size_t i;
    CHECK(user == &memory);
    calls++;
    for (i = 0; i < count; i++) af_isochrone_actions(&iso, xv + 6 * i, j + 3 * i, NULL, NULL);
}

enum { FILL_STREAMS = 40, FILL_STARS = 7 };

static double fill_true[FILL_STREAMS * FILL_STARS * 6];

/* Streams of the isochrone as seen from the Sun, relative errors of motions and velocities; star 1
 * lacks its velocity, star 2 its distance, star 3 both. */
static af_observed *incomplete(double noise, int parallax) {
    enum { ALL = FILL_STREAMS * FILL_STARS };
    static double value[ALL * 6];
    af_sun sun = sun_of(0.0, 0.0, AF_HAND_RIGHT);
    af_observed_desc d = AF__ZERO;
    af_observed *o = NULL;
    size_t i, k;
    mock_streams(17, FILL_STREAMS, FILL_STARS, value, NULL, NULL);
    for (i = 0; i < ALL; i++) {
        double *v = value + 6 * i, *t = fill_true + 6 * i;
        af_galactic_from_xv(&sun, v, t);
        memcpy(v, t, 6 * sizeof *v);
        for (k = 2; k < 6; k++) v[k] *= 1.0 + noise * af_random_normal(23, k, i);
        if (parallax) v[2] = 1.0 / v[2];
        if (i % FILL_STARS == 1 || i % FILL_STARS == 3) v[5] = NAN;
        if (i % FILL_STARS == 2 || i % FILL_STARS == 3) v[2] = NAN;
    }
    d.sky = AF_SKY_GALACTIC;
    if (parallax) d.distance = AF_DISTANCE_PARALLAX;
    CHECK(af_observed_create(c, &d, FILL_STREAMS, FILL_STARS, value, NULL, NULL, &o) == AF_OK);
    return o;
}

static af_fill_desc fill_desc(void) {
    af_fill_desc d = AF__ZERO;
    d.actions = truth;
    d.user = &memory;
    return d;
}

/* How far a filled star is from the truth: relative distance, and velocity in units of 100 km/s. */
static double fill_error(const af_observed *o, size_t s, size_t i) {
    const double *t = fill_true + 6 * (s * FILL_STARS + i);
    double sky[6];
    af_observed_sky(o, s, i, sky);
    return fabs(sky[2] / t[2] - 1.0) + fabs(sky[5] - t[5]) / 100.0;
}

/* With exact data what was hidden comes back. */
TEST(fill_exact) {
    int parallax;
    for (parallax = 0; parallax < 2; parallax++) {
        af_observed *o = incomplete(0.0, parallax);
        af_fill_desc d = fill_desc();
        size_t filled = 0, left = 7, s, i;
        af_orbits *orbits = NULL;
        calls = 0;
        CHECK(af_observed_fill(o, &d, &filled, &left) == AF_OK);
        CHECK(filled == 3 * FILL_STREAMS && left == 0);
        CHECK(calls < 200 * filled); /* it asks for many at once */
        for (s = 0; s < FILL_STREAMS; s++)
            for (i = 0; i < FILL_STARS; i++) {
                af_filled f = af_observed_filled(o, s, i);
                CHECK(af_observed_missing(o, s, i) == 0);
                CHECK(is_nan(f.misfit) == (i < 1 || i > 3));
                CHECK_CLOSE(fill_error(o, s, i), 0.0, i < 1 || i > 3 ? 1e-13 : 1e-9);
                if (f.misfit == f.misfit) CHECK(f.misfit < 1e-6);
                if (f.rival_misfit == f.rival_misfit) CHECK(f.rival_misfit >= f.misfit);
                CHECK((f.rival_misfit == f.rival_misfit) == (f.rival_velocity == f.rival_velocity));
            }
        CHECK(af_observed_orbits(o, 0, &orbits) == AF_OK); /* nothing is missing any more */
        CHECK(orbits && af_orbits_streams(orbits) == FILL_STREAMS);
        af_orbits_destroy(orbits);
        af_observed_destroy(o);
    }
}

/* With errors the answers come near, and the misfits tell of scatter. */
TEST(fill_noisy) {
    enum { ONE = FILL_STREAMS };
    static double wrong[3][ONE], misfit[3][ONE], first[ONE * FILL_STARS * 6];
    static const double limit[3] = {0.1, 0.1, 0.2};
    af_observed *o = incomplete(0.01, 0);
    af_fill_desc d = fill_desc();
    size_t s, i;
    CHECK(af_observed_fill(o, &d, NULL, NULL) == AF_OK);
    for (i = 0; i < 3; i++) {
        for (s = 0; s < ONE; s++) {
            wrong[i][s] = fill_error(o, s, 1 + i);
            misfit[i][s] = af_observed_filled(o, s, 1 + i).misfit;
        }
        CHECK(median(wrong[i], ONE) < limit[i] && median(wrong[i], ONE) > 1e-4);
        CHECK(median(misfit[i], ONE) > 0.02 && median(misfit[i], ONE) < 3.0);
    }
    memcpy(first, o->value, sizeof first); /* once more: what was filled in does not count */
    CHECK(af_observed_fill(o, &d, NULL, NULL) == AF_OK);
    CHECK(memcmp(first, o->value, sizeof first) == 0);
    af_observed_destroy(o);
}

/* Every point of a finer look through the range is worse than the answer. */
TEST(fill_is_least) {
    af_observed *o = incomplete(0.01, 1);
    af_fill_desc d = fill_desc();
    size_t s, k, i;
    CHECK(af_observed_fill(o, &d, NULL, NULL) == AF_OK);
    for (s = 0; s < FILL_STREAMS; s++) {
        double j[4][3], middle[3], scatter[3], best = INFINITY, total = 0.0;
        double xv[6], value[6], now[3], x[4];
        for (i = 0; i < 4; i++) { /* stars 0, 4, 5, 6 are complete */
            af__observed_xv(o, o->value + 6 * (s * FILL_STARS + (i ? 3 + i : 0)), xv);
            truth(1, xv, j[i], &memory);
        }
        for (k = 0; k < 3; k++) {
            for (i = 0; i < 4; i++) x[i] = j[i][k];
            qsort(x, 4, sizeof *x, mock_less);
            middle[k] = 0.5 * (x[1] + x[2]);
            total += fabs(middle[k]);
            for (i = 0; i < 4; i++) x[i] = fabs(j[i][k] - middle[k]);
            qsort(x, 4, sizeof *x, mock_less);
            scatter[k] = 1.4826 * 0.5 * (x[1] + x[2]);
        }
        for (i = 0; i <= 20000; i++) {
            double sum = 0.0;
            memcpy(value, o->value + 6 * (s * FILL_STARS + 1), sizeof value);
            value[5] = -1000.0 + 0.1 * (double)i;
            af__observed_xv(o, value, xv);
            truth(1, xv, now, &memory);
            for (k = 0; k < 3; k++)
                sum += pow((now[k] - middle[k]) / fmax(scatter[k], 1e-3 * total), 2.0);
            if (sum < best) best = sum;
        }
        CHECK(sqrt(best) >= af_observed_filled(o, s, 1).misfit * (1.0 - 1e-9));
        CHECK(sqrt(best) < af_observed_filled(o, s, 1).misfit + 0.05);
    }
    af_observed_destroy(o);
}

/* No actions but of some stars. */
static void choosy(size_t count, const double *xv, double *j, void *user) {
    size_t i;
    truth(count, xv, j, &memory);
    for (i = 0; i < count; i++)
        if (hypot(xv[6 * i], xv[6 * i + 1]) > *(double *)user) j[3 * i + 1] = NAN;
}

/* Streams without complete stars, stars without actions; filling in anew. */
TEST(fill_what_can_be) {
    af_observed *o = incomplete(0.0, 0);
    af_fill_desc d = fill_desc();
    double radius = 0.0, before;
    size_t filled = 9, left = 9, i;
    for (i = 0; i < FILL_STARS; i++) { /* stream 0: none is complete */
        o->value[6 * i + 5] = NAN;
        o->unmeasured[i] |= AF_MISSING_VELOCITY;
    }
    CHECK(af_observed_fill(o, &d, &filled, &left) == AF_OK);
    CHECK(filled == 3 * (FILL_STREAMS - 1) && left == FILL_STARS);
    CHECK(af_observed_missing(o, 0, 1) == AF_MISSING_VELOCITY);
    CHECK(is_nan(af_observed_filled(o, 0, 1).misfit));
    before = o->value[6 * (FILL_STARS + 1) + 5];
    d.actions = choosy; /* of nobody */
    d.user = &radius;
    CHECK(af_observed_fill(o, &d, &filled, &left) == AF_OK && filled == 0);
    CHECK(left == 3 * (FILL_STREAMS - 1) + FILL_STARS);
    CHECK(o->value[6 * (FILL_STARS + 1) + 5] == before); /* stays as it was filled in */
    radius = 30.0;
    CHECK(af_observed_fill(o, &d, &filled, &left) == AF_OK && left == FILL_STARS);
    CHECK_CLOSE(o->value[6 * (FILL_STARS + 1) + 5], before, 1e-9);
    d = fill_desc(); /* a range without the answer ends at its border */
    d.velocity[0] = 500.0;
    d.velocity[1] = 510.0;
    d.grid = 4;
    CHECK(af_observed_fill(o, &d, &filled, &left) == AF_OK);
    for (i = 1; i < FILL_STREAMS; i++) {
        double v = o->value[6 * (i * FILL_STARS + 1) + 5];
        CHECK((v >= 500.0 && v <= 510.0) || fill_error(o, i, 1) < 1e-9); /* or unbound there */
    }
    af_observed_destroy(o);
}

/* A member with foreign actions among the complete ones does not move the answer. */
TEST(fill_is_robust) {
    af_observed *o = incomplete(0.0, 0);
    af_fill_desc d = fill_desc();
    size_t s;
    for (s = 0; s < FILL_STREAMS; s++) o->value[6 * (s * FILL_STARS + 5) + 5] += 40.0;
    CHECK(af_observed_fill(o, &d, NULL, NULL) == AF_OK);
    for (s = 0; s < FILL_STREAMS; s++) CHECK_CLOSE(fill_error(o, s, 1), 0.0, 1e-9);
    af_observed_destroy(o);
}

TEST(fill_errors) {
    af_observed *o = uncertain(1, 0, 0.1);
    size_t i;
    for (i = 0; i < 9; i++) {
        af_fill_desc d = fill_desc();
        if (i == 0) d.actions = NULL;
        if (i == 1) d.start_canary = 1;
        if (i == 2) d.end_canary = 1;
        if (i == 3) d.grid = 3;
        if (i == 4) d.grid = 1001;
        if (i == 5) d.distance[1] = 3.0;
        if (i == 6) d.distance[0] = -1.0, d.distance[1] = 3.0;
        if (i == 7) d.velocity[0] = 3.0;
        if (i == 8) d.velocity[1] = INFINITY;
        CHECK(af_observed_fill(o, &d, NULL, NULL) == AF_ERROR_ARGUMENT);
        CHECK_TEXT(af_error(c), i == 0 ? "missing" : i < 3 ? "zero first" : "cannot be searched");
        af_error_clear(c);
    }
    af_observed_destroy(o);
}

/* Every allocation may fail. */
TEST(memory_fails) {
    static const char named[] = "stream,ra,dec,plx,pmra,pmdec,rv,e_rv\nA,1,2,3,4,5,6,1\n"
                                "B,1,2,3,4,5,,1\nA,1,2,3,4,5,7,1\nB,1,2,3,4,5,9,1\n";
    static const char numbered[] = "stream,x,y,z,vx,vy,vz\n1,2,3,4,5,6,7\n1,2,3,4,5,6,8\n";
    const char *path = scratch_file("fails.csv");
    long live = memory.live, k;
    size_t kind;
    for (kind = 0; kind < 5; kind++) {
        af_status s = AF_ERROR_MEMORY;
        af_observed *o = NULL;
        af_orbits *orbits = NULL;
        long had;
        write_text(path, kind == 1 ? numbered : named);
        if (kind > 1) CHECK(af_observed_read(c, path, NULL, &o) == AF_OK);
        had = memory.live;
        for (k = 1; k < 1000 && s != AF_OK; k++) {
            af_fill_desc d = fill_desc();
            memory.fail_at = memory.calls + k;
            s = kind == 0   ? af_observed_read(c, path, NULL, &o)
                : kind == 1 ? af_orbits_read_any(c, path, NULL, &orbits)
                : kind == 2 ? af_observed_orbits(o, 1, &orbits)
                : kind == 3 ? af_observed_draws(o, 5, 1, 1, &orbits)
                            : af_observed_fill(o, &d, NULL, NULL);
            memory.fail_at = 0;
            CHECK(s == AF_OK || s == AF_ERROR_MEMORY);
            CHECK(s == AF_OK || strstr(af_error(c), "memory"));
            if (s != AF_OK) CHECK(memory.live == had && !orbits && (kind > 1 || !o));
            af_error_clear(c);
        }
        CHECK(s == AF_OK && k > 2);
        af_orbits_destroy(orbits);
        af_observed_destroy(o);
        CHECK(memory.live == live);
    }
    remove(path);
}

int main(void) {
    c = heap_context(&memory, 1);
    RUN(definition);
    RUN(sofa);
    RUN(published);
    RUN(sky_round_trips);
    RUN(longitudes);
    RUN(rest_in_the_centre);
    RUN(default_sun);
    RUN(given_sun);
    RUN(sun_errors);
    RUN(astropy);
    RUN(phase_space_round_trips);
    RUN(motions_are_derivatives);
    RUN(special_places);
    RUN(names);
    RUN(meanings);
    RUN(gaia_table);
    RUN(mixed_systems);
    RUN(streams);
    RUN(table_errors);
    RUN(choices);
    RUN(read_any);
    RUN(create_errors);
    RUN(draws_have_the_errors);
    RUN(draws_are_counted);
    RUN(draws_are_positive);
    RUN(draws_without_errors);
    RUN(left_out);
    RUN(fill_exact);
    RUN(fill_noisy);
    RUN(fill_is_least);
    RUN(fill_what_can_be);
    RUN(fill_is_robust);
    RUN(fill_errors);
    RUN(memory_fails);
    af_context_destroy(c);
    if (memory.live != 0) {
        printf("FAILED memory: %ld blocks are left\n", memory.live);
        test_failed++;
    }
    return test_report();
}
