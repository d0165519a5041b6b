/* Stars and points with gradients in HDF5 files, with the keys of the authors' programs. Where the
 * tool was built without HDF5 each of these fails with a sentence. */
#ifndef DP_H5_STARS_H
#define DP_H5_STARS_H

#include "deep.h"

/* What a file of stars holds, each NULL where there is none; to be freed. */
typedef struct deep_columns {
    size_t n;
    double *eta, *weights, *errors; /* (n,6), (n), (n,6) */
    dp_volume volume;
} deep_columns;

int deep_h5_read_stars(const char *path, deep_columns *out);
int deep_h5_write_stars(const char *path, size_t n, const double *eta, const double *weights,
                        const double *errors, const dp_volume *volume);
int deep_h5_read_points(const char *path, deep_points *out);
int deep_h5_write_points(const char *path, const deep_points *p);

#endif
