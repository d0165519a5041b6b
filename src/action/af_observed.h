/* ---- stars as observed --------------------------------------------------------------------------
 *
 * Streams of stars as catalogues have them: sky position, distance or parallax, proper motions,
 * line-of-sight velocity (see af_sky.h), with their errors. They become orbits; draws from their
 * errors become orbits too, so that the spread of the actions over the draws is their uncertainty;
 * and a line-of-sight velocity or a distance that was not measured is found from the rest of the
 * stream (Ibata et al. 2021, section 7). */

typedef struct af_observed af_observed;

/* Where a table has more than one answer. */
typedef enum af_sky_choice {
    AF_SKY_AUTO = 0, /* the one that is there; both: an error */
    AF_SKY_ICRS,
    AF_SKY_GALACTIC
} af_sky_choice;

typedef enum af_distance_choice {
    AF_DISTANCE_AUTO = 0, /* the one that is there; both: an error */
    AF_DISTANCE_DIRECT,
    AF_DISTANCE_PARALLAX
} af_distance_choice;

/* Zero means default for every field. */
typedef struct af_observed_desc {
    uint32_t start_canary;
    af_sun_desc sun;
    af_sky_choice sky;
    af_distance_choice distance;
    double parallax_zero; /* the zero point [mas], subtracted from parallaxes: about -0.04 to 0 in
                             Gaia DR3 (Lindegren et al. 2021, A&A 649, A4); default 0 */
    uint32_t end_canary;
} af_observed_desc;

/* Copies value (streams, stars, 6): the numbers of af_sky.h, in ICRS unless desc says Galactic;
 * the third is a parallax [mas] instead of a distance if desc says so. The third and the sixth may
 * be NaN: not measured. error (streams, stars, 4), or NULL for none: standard errors of the third
 * to the sixth; NaN counts as 0. Positions are taken to be exact. count as in af_orbits_create;
 * desc NULL: all defaults. AF_ERROR_DATA for a number that is not finite, a latitude beyond 90
 * degrees, a distance or a parallax that is not positive, a negative error, a stream without stars;
 * AF_ERROR_ARGUMENT; AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_observed_create(af_context *c, const af_observed_desc *desc, size_t streams,
                                    size_t stars, const double *value, const double *error,
                                    const size_t *count, af_observed **out);

/* Reads a table (CSV, ECSV, see af_table.h). Columns are known by their names, in capitals or not,
 * with or without a unit behind (_deg, _kpc, _pc, _mas, _mas_yr, _masyr, _km_s, _kms; pc are made
 * kpc, the others change nothing):
 *
 *   stream             numbers or names. Without it every row is a stream of its own
 *   position [deg]     ra, dec (raj2000, dej2000, ra_icrs, de_icrs) or l, b (glon, glat)
 *   distance [kpc]     distance, dist, d, d_sun; or parallax, plx [mas]
 *   motions [mas/yr]   pmra, pmdec (pm_ra, pm_dec, pm_ra_cosdec, pmde, mu_ra, mu_dec) or pml, pmb
 *                      (pm_l, pm_b, pm_l_cosb, mu_l, mu_b): those of longitude with the cosine
 *   velocity [km/s]    radial_velocity, rv, vlos, v_los, vhelio, v_helio, vrad, v_rad, hrv, v_h:
 *                      heliocentric
 *   <name>_error       the standard error of any of them, in its unit; also <name>_err, e_<name>
 *   <a>_<b>_corr       the correlation of the errors of distance or parallax and motions
 *
 * Position and motions may be in different systems. Other columns may hold anything. An empty field
 * or NaN: not measured, for distance, parallax and velocity; an error of nothing, for errors and
 * correlations. Streams with numbers are in their order, those with names in that of the file.
 * Fails like af_table_read and af_observed_create, with AF_ERROR_FORMAT when a column is not there
 * or two say the same; the sentence names column and row (counted from 1). */
AF_API af_status af_observed_read(af_context *c, const char *path, const af_observed_desc *desc,
                                  af_observed **out);

/* Reads orbits from whatever it is: NPY and tables with x, y, z, vx, vy, vz like af_orbits_read,
 * which do not look at desc, others like af_observed_read, with every star complete. In either
 * table each row is a stream of its own where there is no column stream. */
AF_API af_status af_orbits_read_any(af_context *c, const char *path, const af_observed_desc *desc,
                                    af_orbits **out);

/* NULL is fine. Destroy it before the context. */
AF_API void af_observed_destroy(af_observed *o);

AF_API size_t af_observed_streams(const af_observed *o);
AF_API size_t af_observed_stars(const af_observed *o); /* of the largest stream */
AF_API size_t af_observed_count(const af_observed *o, size_t stream);
AF_API size_t af_observed_row(const af_observed *o, size_t stream, size_t star); /* from 0 */
AF_API double af_observed_id(const af_observed *o, size_t stream); /* its number, or its place */
AF_API const char *af_observed_name(const af_observed *o, size_t stream); /* in the file; "" if it
                                                                            has none */
AF_API const af_sun *af_observed_sun(const af_observed *o);

/* The bits of what is not measured of a star: */
enum { AF_MISSING_DISTANCE = 1, AF_MISSING_VELOCITY = 2 };
AF_API unsigned af_observed_missing(const af_observed *o, size_t stream, size_t star);

/* A star on the sky, in ICRS, as it was observed or filled in; NaN for what is missing. */
AF_API void af_observed_sky(const af_observed *o, size_t stream, size_t star, double icrs[6]);

/* The stars as orbits. Stars with something missing are left out if `leave_out` (streams without
 * other stars too), else they are AF_ERROR_DATA. Rows and numbers of streams are those of the file.
 * AF_ERROR_DATA when no star is left, AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_observed_orbits(const af_observed *o, int leave_out, af_orbits **out);

/* `draws` orbits for each stream: every star is drawn from its errors, normal in what was observed,
 * so a parallax's error is that of the parallax. Stream s, draw k is stream s * draws + k of the
 * result, so that af_orbits_part(c, *out, s * draws, draws, ...) are those of one stream, and
 * streams that are held back in training are held back with all their draws. A draw with a distance
 * or a parallax that is not positive is drawn again. Draw k of a row is a function of (seed, row,
 * k). Fails like af_observed_orbits, with AF_ERROR_ARGUMENT for no draws, AF_ERROR_DATA when no
 * star has errors. */
AF_API af_status af_observed_draws(const af_observed *o, size_t draws, uint64_t seed,
                                   int leave_out, af_orbits **out);

/* ---- what was not measured ---- */

/* Actions of stars on their own: xv (count,6) -> j (count,3), NaN for those that have none. With a
 * finder: af_evaluate, of an evaluator with stars = 1. */
typedef void (*af_actions_function)(size_t count, const double *xv, double *j, void *user);

typedef struct af_fill_desc {
    uint32_t start_canary;
    af_actions_function actions; /* required */
    void *user;
    double distance[2]; /* searched between these [kpc]; default 0.1, 200 */
    double velocity[2]; /* [km/s], heliocentric; default -1000, 1000 */
    size_t grid;        /* steps of the first look in each direction; default 100; at least 4 */
    uint32_t end_canary;
} af_fill_desc;

/* Finds what was not measured of each star: the distance, the velocity or both that bring its
 * actions nearest to those of its stream. Nearest: the squared differences from the median of the
 * complete stars, each action in units of their scatter (median absolute deviation, but at least
 * 1/1000 of the median |J_phi| + J_z + J_r), summed. The range is looked through on a grid, in the
 * logarithm of the distance; the best places are then closed in on. What an earlier call filled in
 * is found anew, so that fitting and filling in may take turns; complete stars are those that were
 * measured. A star of a stream without complete stars, or
 * without actions anywhere in the range, stays as it is. *filled and *left (either may be NULL) are
 * how many were and were not found. AF_ERROR_ARGUMENT for a desc that is out of range,
 * AF_ERROR_MEMORY; nothing is changed then. */
AF_API af_status af_observed_fill(af_observed *o, const af_fill_desc *desc, size_t *filled,
                                  size_t *left);

/* How a star was filled in; all NaN for one that was not. */
typedef struct af_filled {
    double misfit; /* root of the sum that was made least: about 1 to 2 for a member */
    /* The best of the other places where the sum has a minimum, or NaN: two answers with
     * misfits alike cannot be told apart by actions. */
    double rival_misfit, rival_distance, rival_velocity;
} af_filled;

AF_API af_filled af_observed_filled(const af_observed *o, size_t stream, size_t star);
