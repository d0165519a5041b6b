#ifdef AF_HDF5
#  include "h5_file.h"

#  include <hdf5.h>
#  include <stdio.h>
#  include <stdlib.h>
#  include <string.h>

#  include "cli.h"

struct deep_h5 {
    char *path, *written; /* written: the temporary file, NULL when reading */
    hid_t file;
};

/* ---- the LZF filter of h5py, which libhdf5 does not have ---- */

enum { H5_LZF = 32000 }; /* its number at the HDF Group */

/* Unpacks (Lehmann's format): a byte below 32 begins that many literals and one more; others hold
 * a length of 3 bits, 7 being continued in a byte, and 13 bits of how far back to copy from.
 * Returns the bytes made, 0 where they do not fit or the input is damaged. */
static size_t h5_unpack(const unsigned char *in, size_t n, unsigned char *out, size_t room) {
    size_t i = 0, made = 0;
    while (i < n) {
        size_t lead = in[i++], length = lead >> 5, back, k;
        if (length == 0) {
            if (lead + 1 > n - i || lead + 1 > room - made) return 0;
            memcpy(out + made, in + i, lead + 1);
            i += lead + 1;
            made += lead + 1;
            continue;
        }
        if (length == 7 && i < n) length += in[i++];
        if (i >= n) return 0;
        back = ((lead & 31u) << 8) + in[i++] + 1;
        length += 2;
        if (back > made || length > room - made) return 0;
        for (k = 0; k < length; k++, made++) out[made] = out[made - back];
    }
    return made;
}

static size_t h5_lzf(unsigned flags, size_t count, const unsigned *values, size_t bytes,
                     size_t *size, void **data) {
    size_t room = count > 2 && values[2] ? values[2] : 4 * *size + 64, made;
    unsigned char *out;
    if (!(flags & H5Z_FLAG_REVERSE)) return 0; /* it is never packed here */
    out = (unsigned char *)H5allocate_memory(room, 0);
    made = out ? h5_unpack((const unsigned char *)*data, bytes, out, room) : 0;
    if (!made) {
        H5free_memory(out);
        return 0;
    }
    H5free_memory(*data);
    *data = out;
    *size = room;
    return made;
}

static void h5_begin(void) {
    static const H5Z_class2_t lzf = {H5Z_CLASS_T_VERS, H5_LZF, 0, 1, "lzf", NULL, NULL, h5_lzf};
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* errors get sentences here */
    if (H5Zfilter_avail(H5_LZF) <= 0) H5Zregister(&lzf);
}

/* ---- files ---- */

static deep_h5 *h5_new(const char *path) {
    deep_h5 *h = (deep_h5 *)cli_allocate(1, sizeof *h);
    h->path = (char *)cli_allocate(strlen(path) + 1, 1);
    strcpy(h->path, path);
    h5_begin();
    return h;
}

int deep_h5_open(const char *path, deep_h5 **out) {
    FILE *file = fopen(path, "rb");
    deep_h5 *h;
    *out = NULL;
    if (!file) return cli_fail("cannot read '%s': there is no such file, or no permission", path);
    fclose(file);
    h = *out = h5_new(path);
    h->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    return h->file >= 0 ? CLI_OK : cli_fail("'%s' is not an HDF5 file, or a damaged one", path);
}

int deep_h5_create(const char *path, deep_h5 **out) {
    deep_h5 *h = *out = h5_new(path);
    h->written = (char *)cli_allocate(strlen(path) + 8, 1);
    sprintf(h->written, "%s.tmp", path);
    h->file = H5Fcreate(h->written, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    return h->file >= 0 ? CLI_OK : cli_fail("cannot write '%s'", path);
}

int deep_h5_close(deep_h5 *h, int keep) {
    int code = CLI_OK;
    if (!h) return CLI_OK;
    if (h->file >= 0 && H5Fclose(h->file) < 0 && keep && h->written) code = CLI_FAILED;
    if (h->written && keep && code == CLI_OK && rename(h->written, h->path) != 0)
        code = CLI_FAILED;
    if (code != CLI_OK) cli_fail("cannot write '%s'", h->path);
    if (h->written && (!keep || code != CLI_OK)) remove(h->written);
    free(h->written);
    free(h->path);
    free(h);
    return code;
}

/* ---- arrays ---- */

int deep_h5_has(const deep_h5 *h, const char *name) {
    return H5Lexists(h->file, name, H5P_DEFAULT) > 0;
}

/* The shape (n,columns), or (n) for columns = 0. */
static int h5_shape(hid_t set, size_t columns, size_t *rows) {
    hid_t space = H5Dget_space(set);
    hsize_t dims[2] = {0, 0};
    int rank = H5Sget_simple_extent_ndims(space);
    if (rank == (columns ? 2 : 1)) H5Sget_simple_extent_dims(space, dims, NULL);
    H5Sclose(space);
    *rows = (size_t)dims[0];
    return dims[0] > 0 && dims[1] == (hsize_t)columns;
}

int deep_h5_get(deep_h5 *h, const char *name, size_t columns, size_t *rows, double **out) {
    hid_t set = H5Dopen2(h->file, name, H5P_DEFAULT);
    char shape[64] = "n";
    int code = CLI_OK;
    *out = NULL;
    if (columns) snprintf(shape, sizeof shape, "n,%lu", (unsigned long)columns);
    if (set < 0) return cli_fail("'%s' has no array '%s'", h->path, name);
    if (!h5_shape(set, columns, rows)) {
        code = cli_fail("'%s': the array '%s' must have the shape (%s), and n > 0", h->path, name,
                        shape);
    } else {
        *out = (double *)cli_allocate(*rows * (columns ? columns : 1), sizeof **out);
        if (H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, *out) < 0)
            code = cli_fail("'%s': the array '%s' cannot be read: it is damaged, not of numbers, "
                            "or packed by a filter that is not there", h->path, name);
    }
    H5Dclose(set);
    return code;
}

int deep_h5_put(deep_h5 *h, const char *name, size_t rows, size_t columns, const double *data) {
    hsize_t dims[2];
    hid_t space, set;
    int good;
    dims[0] = rows;
    dims[1] = columns;
    space = H5Screate_simple(columns ? 2 : 1, dims, NULL);
    set = H5Dcreate2(h->file, name, H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    good = set >= 0 &&
           H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    if (set >= 0) H5Dclose(set);
    H5Sclose(space);
    return good ? CLI_OK : cli_fail("cannot write '%s'", h->path);
}

/* ---- attributes ---- */

static hid_t h5_attribute(const deep_h5 *h, const char *name, const char *key) {
    if (!deep_h5_has(h, name) ||
        H5Aexists_by_name(h->file, name, key, H5P_DEFAULT) <= 0)
        return -1;
    return H5Aopen_by_name(h->file, name, key, H5P_DEFAULT, H5P_DEFAULT);
}

int deep_h5_number(const deep_h5 *h, const char *name, const char *key, size_t n, double *out) {
    hid_t a = h5_attribute(h, name, key), space;
    int good;
    if (a < 0) return 0;
    space = H5Aget_space(a);
    good = H5Sget_simple_extent_npoints(space) == (hssize_t)n &&
           H5Aread(a, H5T_NATIVE_DOUBLE, out) >= 0;
    H5Sclose(space);
    H5Aclose(a);
    return good;
}

int deep_h5_text(const deep_h5 *h, const char *name, const char *key, size_t room, char *out) {
    hid_t a = h5_attribute(h, name, key), type, memory;
    char *text = NULL;
    int good = 0;
    if (a < 0) return 0;
    type = H5Aget_type(a);
    memory = H5Tcopy(H5T_C_S1);
    H5Tset_cset(memory, H5Tget_cset(type));
    if (H5Tis_variable_str(type) > 0) { /* as h5py writes them */
        H5Tset_size(memory, H5T_VARIABLE);
        good = H5Aread(a, memory, &text) >= 0 && text;
        if (good) snprintf(out, room, "%s", text);
        H5free_memory(text);
    } else if (H5Tget_class(type) == H5T_STRING) {
        H5Tset_size(memory, room);
        good = H5Aread(a, memory, out) >= 0;
        out[room - 1] = 0;
    }
    H5Tclose(memory);
    H5Tclose(type);
    H5Aclose(a);
    return good;
}

static int h5_put_attribute(deep_h5 *h, const char *name, const char *key, hid_t type, size_t n,
                            const void *value) {
    hsize_t dims = n;
    hid_t space = n > 1 ? H5Screate_simple(1, &dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate_by_name(h->file, name, key, type, space, H5P_DEFAULT, H5P_DEFAULT,
                                H5P_DEFAULT);
    int good = a >= 0 && H5Awrite(a, type, value) >= 0;
    if (a >= 0) H5Aclose(a);
    H5Sclose(space);
    return good ? CLI_OK : cli_fail("cannot write '%s'", h->path);
}

int deep_h5_put_number(deep_h5 *h, const char *name, const char *key, size_t n, const double *v) {
    return h5_put_attribute(h, name, key, H5T_NATIVE_DOUBLE, n, v);
}

int deep_h5_put_text(deep_h5 *h, const char *name, const char *key, const char *text) {
    hid_t type = H5Tcopy(H5T_C_S1);
    int code;
    H5Tset_size(type, H5T_VARIABLE); /* h5py makes a str of it */
    H5Tset_cset(type, H5T_CSET_UTF8);
    code = h5_put_attribute(h, name, key, type, 1, &text);
    H5Tclose(type);
    return code;
}

#else
typedef int h5_nothing; /* a file in C is not empty */
#endif
