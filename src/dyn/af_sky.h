/* ---- dyn: the sky ------------------------------------------------------------------------------
 *
 * Stars as observed from the Sun, and as the rest of the library takes them. On the sky a star is
 *
 *   sky  (6)  longitude, latitude [deg], distance [kpc], proper motions in longitude (with the
 *             cosine of the latitude in it) and in latitude [mas/yr], line-of-sight velocity [km/s]
 *
 * seen from the Sun: barycentric, nothing subtracted for its motion. Longitude and latitude are
 * either right ascension and declination (ICRS) or Galactic l and b.
 *
 * Galactic coordinates are turned from ICRS by the definition of Hipparcos and Gaia (ESA 1997, The
 * Hipparcos Catalogue, volume 1, equations 1.5.9 to 1.5.11): the North Galactic Pole at ra
 * 192.85948, dec 27.12825, and the ascending node of the plane at l = 32.93192 degrees, all exact.
 * (astropy turns by way of FK5, which differs by 0.02 seconds of arc.)
 *
 * Galactocentric coordinates: the centre at l = b = 0, the origin; z to the North Galactic Pole but
 * for the Sun's height, by which the plane is tilted about y; the Sun in the plane y = 0. Which way
 * x points is a choice:
 *
 *   AF_HAND_RIGHT  x from the Sun to the centre, y the way the disc turns, the Sun at x = -R0, as
 *                  in astropy. The disc turns clockwise seen from the north: its J_phi < 0
 *   AF_HAND_LEFT   the same mirrored, the Sun at x = +R0, as in galpy: the disc has J_phi > 0. In
 *                  axisymmetric galaxies nothing else changes
 *
 * The library's angles and actions take the numbers as they are: phi grows from x to y.
 *
 * The functions are stateless and allocate nothing; the results may overwrite what was given.
 * Nothing is checked: a number that is not finite makes those NaN that depend on it. */

typedef enum af_hand { AF_HAND_RIGHT = 0, AF_HAND_LEFT } af_hand;

/* Where the Sun is and how it moves; zero means default for every field. */
typedef struct af_sun_desc {
    uint32_t start_canary;
    double radius; /* distance of the centre [kpc]; default 8.275 (GRAVITY Collaboration 2021, A&A
                      647, A59) */
    double height; /* of the Sun above the plane [kpc], less than radius; default 0.0208 (Bennett &
                      Bovy 2019, MNRAS 482, 1417); for none give 1e-9 */
    /* The Sun's velocity in the coordinates that result [km/s]. All three zero: that at which
     * Sgr A* rests in the centre, when its proper motion is -6.411, -0.219 mas/yr along l and b
     * (Reid & Brunthaler 2020, ApJ 892, 39) and the Sun nears it by 12.9 km/s (Drimmel & Poggio
     * 2018, RNAAS 2, 210); at the default radius about (12.9, 251.5, 8.6). astropy's defaults are
     * made in this way from older numbers: radius 8.122, velocity (12.9, 245.6, 7.78). */
    double velocity[3];
    af_hand hand;
    uint32_t end_canary;
} af_sun_desc;

/* What follows from the desc: the Sun in Galactocentric coordinates, and the turn (a mirror with
 * AF_HAND_LEFT) from Galactic axes (towards l = 0, l = 90, b = 90) to them. */
typedef struct af_sun {
    double position[3]; /* kpc */
    double velocity[3]; /* km/s */
    double turn[3][3];
} af_sun;

/* desc NULL: all defaults. AF_ERROR_ARGUMENT for a desc that is not zeroed or out of range; *out is
 * all zero then. */
AF_API af_status af_sun_place(af_context *c, const af_sun_desc *desc, af_sun *out);

/* Between the two systems of the sky. Distance and line-of-sight velocity are copied, even NaN.
 * Longitudes come out in [0, 360). */
AF_API void af_galactic_from_icrs(const double icrs[6], double galactic[6]);
AF_API void af_icrs_from_galactic(const double galactic[6], double icrs[6]);

/* From the sky to Galactocentric x, y, z [kpc], vx, vy, vz [km/s], and back. Back, a star at the
 * Sun's place has no direction: its longitude and latitude are 0, its motions NaN. */
AF_API void af_xv_from_icrs(const af_sun *sun, const double icrs[6], double xv[6]);
AF_API void af_xv_from_galactic(const af_sun *sun, const double galactic[6], double xv[6]);
AF_API void af_icrs_from_xv(const af_sun *sun, const double xv[6], double icrs[6]);
AF_API void af_galactic_from_xv(const af_sun *sun, const double xv[6], double galactic[6]);

/* The distance [kpc] of a parallax [mas]: the reciprocal, NaN unless it is positive. It is a good
 * estimate only where the parallax is many times its error. */
AF_API double af_distance_of_parallax(double parallax);
