/* ---- learn: one array in an NPY file -----------------------------------------------------------
 *
 * What numpy.save writes (numpy.org/doc/stable/reference/generated/numpy.lib.format.html). */

/* An array of doubles, row-major. `count` is the product of dims[0..rank), 1 for rank 0. */
typedef struct af_array {
    int rank;
    size_t dims[AF_FILE_RANK];
    size_t count;
    double *data;
} af_array;

/* Reads format versions 1 to 3: floating-point numbers of 4 or 8 bytes, integers of 1 to 8 bytes
 * (exact up to 2^53) and booleans, of either byte order, in C or Fortran order. AF_ERROR_IO when
 * the file cannot be read, AF_ERROR_FORMAT when it is not such a file, AF_ERROR_MEMORY; *out is
 * NULL then. Destroy the array before the context. */
AF_API af_status af_npy_read(af_context *context, const char *path, af_array **out);

/* Frees an array that af_npy_read made. NULL is fine. */
AF_API void af_array_destroy(af_array *array);

/* Writes data, dims[0] * ... * dims[rank - 1] doubles in row-major order, as '<f8', version 1. An
 * older file is replaced as by af_tensors_write. AF_ERROR_SHAPE for a rank outside
 * [0, AF_FILE_RANK], AF_ERROR_IO, AF_ERROR_MEMORY. */
AF_API af_status af_npy_write(af_context *context, const char *path, int rank, const size_t *dims,
                              const double *data);
