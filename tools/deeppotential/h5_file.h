/* HDF5 files of arrays of doubles; only where the tool was built with HDF5 (AF_HDF5). Functions
 * that return int return an exit code unless they say more. */
#ifndef DP_H5_FILE_H
#define DP_H5_FILE_H

#include <stddef.h>

typedef struct deep_h5 deep_h5;

/* Opens a file to be read; or, to be written, makes one that becomes `path` when it is closed. */
int deep_h5_open(const char *path, deep_h5 **out);
int deep_h5_create(const char *path, deep_h5 **out);

/* Closes; NULL is fine. A file being written is thrown away unless `keep`. */
int deep_h5_close(deep_h5 *h, int keep);

/* Whether the file has this array. */
int deep_h5_has(const deep_h5 *h, const char *name);

/* An array (rows,columns), or (rows) for columns = 0, to be freed. */
int deep_h5_get(deep_h5 *h, const char *name, size_t columns, size_t *rows, double **out);
int deep_h5_put(deep_h5 *h, const char *name, size_t rows, size_t columns, const double *data);

/* Attributes of an array; reading returns 1 where it is there and of that kind. */
int deep_h5_number(const deep_h5 *h, const char *name, const char *key, size_t n, double *out);
int deep_h5_text(const deep_h5 *h, const char *name, const char *key, size_t room, char *out);
int deep_h5_put_number(deep_h5 *h, const char *name, const char *key, size_t n, const double *v);
int deep_h5_put_text(deep_h5 *h, const char *name, const char *key, const char *text);

#endif
