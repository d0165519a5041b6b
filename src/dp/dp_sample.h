/* ---- samples of stars ---------------------------------------------------------------------------
 *
 * A sample is a set of stars with positions and velocities eta (n,6) = x, y, z, vx, vy, vz, with
 * weights if need be, and the volume within which it is complete. Units are those of actionfinder.h
 * (kpc, km/s), or any others in which positions over velocities make a time: only densities hold a
 * constant of gravity. */

typedef enum dp_volume_kind {
    DP_VOLUME_ALL = 0,
    DP_VOLUME_SPHERE,  /* inner <= r < outer about the centre: a sphere, or a shell */
    DP_VOLUME_CYLINDER /* R < outer and |z| < height about the centre, without its hole, where
                          R < inner and |z| < hole (hole 0: all heights) */
} dp_volume_kind;

typedef struct dp_volume {
    dp_volume_kind kind;
    double centre[3];
    double inner, outer;
    double height, hole;
} dp_volume;

/* 1 where the volume holds the point x (3). */
AF_API int dp_volume_holds(const dp_volume *volume, const double x[3]);

typedef struct dp_sample dp_sample;

/* Copies n stars: eta (n,6), weights (n) or NULL (all alike), errors (n,6), the standard deviations
 * of the six measurements, or NULL, volume or NULL (everywhere). Stars outside the volume are left
 * out. AF_ERROR_DATA, naming the star, for numbers that are not finite, for weights or errors below
 * zero; when no star is left, or none with a weight above zero; AF_ERROR_ARGUMENT for a volume that
 * is empty; AF_ERROR_MEMORY. *out is NULL then. Destroy the sample before the context. */
AF_API af_status dp_sample_create(af_context *c, size_t n, const double *eta,
                                  const double *weights, const double *errors,
                                  const dp_volume *volume, dp_sample **out);
AF_API void dp_sample_destroy(dp_sample *s); /* NULL is fine */

/* Reads stars: NPY of shape (n,6), or (n,7) with weights last, where the name ends in .npy; else
 * CSV or ECSV with columns x, y, z, vx, vy, vz and, where they are there, weight and x_error ...
 * vz_error (all six). volume as above. AF_ERROR_IO, AF_ERROR_FORMAT (which names the missing
 * column, or the line), AF_ERROR_SHAPE for an NPY of another shape, and as dp_sample_create, naming
 * the row of numbers, counted from 1. */
AF_API af_status dp_sample_read(af_context *c, const char *path, const dp_volume *volume,
                                dp_sample **out);

/* The stars within the volume, as a new sample whose volume is this one: it should lie inside that
 * of s, where s is complete. volume NULL: a copy. Fails as dp_sample_create. */
AF_API af_status dp_sample_cut(const dp_sample *s, const dp_volume *volume, dp_sample **out);

AF_API size_t dp_sample_count(const dp_sample *s);
AF_API const double *dp_sample_eta(const dp_sample *s);     /* (n,6) */
AF_API const double *dp_sample_weights(const dp_sample *s); /* (n), NULL: all alike */
AF_API const double *dp_sample_errors(const dp_sample *s);  /* (n,6), NULL: none */
AF_API dp_volume dp_sample_volume(const dp_sample *s);
AF_API af_context *dp_sample_context(const dp_sample *s);
