/* ---- orbits -------------------------------------------------------------------------------------
 *
 * The data of ActionFinder: streams, each a set of stars (phase-space points) on one and the same
 * orbit. Streams may have different numbers of stars. */

typedef struct af_orbits af_orbits;

/* Copies xv (streams, stars, 6) in kpc and km/s. count (streams) says how many stars of each stream
 * are valid, the first of them; NULL: all. AF_ERROR_DATA names the first number that is not finite,
 * or a stream without stars; AF_ERROR_ARGUMENT for a count above `stars`; AF_ERROR_MEMORY; *out is
 * NULL then. */
AF_API af_status af_orbits_create(af_context *c, size_t streams, size_t stars, const double *xv,
                                  const size_t *count, af_orbits **out);

/* Reads NPY of shape (S,N,6), or a table (CSV, ECSV) with a header and the columns
 * stream, x, y, z, vx, vy, vz: rows with the same stream number form a stream; streams are in the
 * order of their numbers. Units: kpc and km/s. Files whose name does not end in .npy are tables.
 * Fails like af_npy_read, af_table_read and af_orbits_create, with AF_ERROR_SHAPE for an array of
 * another shape. */
AF_API af_status af_orbits_read(af_context *c, const char *path, af_orbits **out);

/* Frees the orbits. NULL is fine. */
AF_API void af_orbits_destroy(af_orbits *o);

AF_API size_t af_orbits_streams(const af_orbits *o);
AF_API size_t af_orbits_stars(const af_orbits *o);              /* of the largest stream */
AF_API size_t af_orbits_count(const af_orbits *o, size_t stream); /* of this stream */

/* The stars of a stream, (stars, 6) [kpc, km/s]; rows beyond its count repeat its first. Belongs to
 * the orbits. Streams follow each other: of stream 0 it is the whole array (streams, stars, 6). */
AF_API const double *af_orbits_xv(const af_orbits *o, size_t stream);

/* Where a star stands in the file: the row of the table (from 0), or stream * N + star. */
AF_API size_t af_orbits_row(const af_orbits *o, size_t stream, size_t star);

/* The stream's number in the table, or its index. */
AF_API double af_orbits_id(const af_orbits *o, size_t stream);

/* The streams [first, first + count) as orbits of their own, copied; rows and numbers of streams
 * begin anew. AF_ERROR_ARGUMENT when there are not as many, AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_orbits_part(af_context *c, const af_orbits *from, size_t first, size_t count,
                                af_orbits **out);
