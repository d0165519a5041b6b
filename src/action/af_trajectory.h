/* ---- trajectories: what the Koopman autoencoder learns from ------------------------------------
 *
 * Orbits of a Hamiltonian system of n degrees of freedom: each a list of times with canonical
 * coordinates q_1 .. q_n, p_1 .. p_n, in units of the caller's choice. Times rise along an orbit,
 * evenly or not, and each orbit has its own. */

typedef struct af_trajectories af_trajectories;

/* Copies orbits: samples (orbits) tells how many each has, at least two; time (total) and qp
 * (total, 2n) hold one orbit after the other. AF_ERROR_ARGUMENT for n outside [1, AF_FREEDOMS_MAX]
 * or no orbits, AF_ERROR_DATA for numbers that are not finite, times that do not rise, an orbit
 * with one sample; AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_trajectories_create(af_context *c, size_t freedoms, size_t orbits,
                                        const size_t *samples, const double *time,
                                        const double *qp, af_trajectories **out);

/* How a file is read. Zero means default for every field. */
typedef struct af_trajectories_desc {
    uint32_t start_canary;
    const char *const *columns; /* of a table: the names of q_1 .. q_n, p_1 .. p_n; default: all
                                   that are neither `orbit` nor `t`, in the order of the file */
    size_t column_count;
    double interval; /* time between samples where the file has no times (else the file's count):
                        the rows of an orbit are then evenly spaced, beginning at 0 */
    uint32_t end_canary;
} af_trajectories_desc;

/* Reads a table (CSV, ECSV) with the columns orbit, t and the coordinates, rows of an orbit one
 * after the other (an orbit's rows may not be interrupted by another's); without `orbit` it is one
 * orbit. Files whose name ends in .npy are arrays: (orbits, samples, 1 + 2n) with the time first,
 * or (orbits, samples, 2n) where an interval is given; one axis less is one orbit; rows that are
 * NaN throughout at the end of an orbit are padding. desc may be NULL. Fails like af_table_read,
 * af_npy_read and af_trajectories_create, with AF_ERROR_FORMAT for a table without t or with an odd
 * number of coordinates, AF_ERROR_SHAPE for an array of another shape, AF_ERROR_DATA for an orbit
 * that is interrupted, AF_ERROR_ARGUMENT for a desc that does not fit; the sentences name file,
 * line, orbit and column. *out is NULL then. */
AF_API af_status af_trajectories_read(af_context *c, const char *path,
                                      const af_trajectories_desc *desc, af_trajectories **out);

/* NULL is fine. */
AF_API void af_trajectories_destroy(af_trajectories *t);

AF_API size_t af_trajectories_freedoms(const af_trajectories *t);
AF_API size_t af_trajectories_orbits(const af_trajectories *t);
AF_API size_t af_trajectories_total(const af_trajectories *t); /* samples of all orbits */
AF_API size_t af_trajectories_samples(const af_trajectories *t, size_t orbit);
AF_API double af_trajectories_id(const af_trajectories *t, size_t orbit); /* in the file, or its
                                                                             number from 0 */
AF_API const double *af_trajectories_time(const af_trajectories *t, size_t orbit); /* (samples) */
AF_API const double *af_trajectories_qp(const af_trajectories *t, size_t orbit); /* (samples, 2n) */
