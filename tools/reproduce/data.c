/* Sets of streams: read from a folder, made before that where they are not given. */
#ifndef _POSIX_C_SOURCE
#  define _POSIX_C_SOURCE 200809L /* stat, mkdir */
#endif
#include "reproduce.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int data_exists(const char *path) {
    struct stat facts;
    return stat(path, &facts) == 0;
}

/* Reads FOLDER/NAME where it is there, of shape (S,3) or, per star, (S,N,3). */
static int data_read(redo *r, const char *folder, const char *name, const redo_set *set,
                     int per_star, af_array **out) {
    char path[REDO_PATH];
    af_array *a;
    int good;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!data_exists(path)) return CLI_OK;
    if (af_npy_read(r->context, path, &a) != AF_OK) return cli_fail_library(r->context);
    good = a->rank == (per_star ? 3 : 2) && a->dims[0] == set->streams &&
           a->dims[a->rank - 1] == 3 && (!per_star || a->dims[1] == set->stars);
    if (good) {
        *out = a;
        return CLI_OK;
    }
    af_array_destroy(a);
    return cli_fail("'%s' must have the shape (%lu, %s3), like the orbits beside it", path,
                    (unsigned long)set->streams, per_star ? "N, " : "");
}

static int data_read_all(redo *r, const char *folder, redo_set *out) {
    char path[REDO_PATH + 8];
    int code;
    snprintf(path, sizeof path, "%s/xv.npy", folder);
    if (af_orbits_read(r->context, path, &out->orbits) != AF_OK)
        return cli_fail_library(r->context);
    out->streams = af_orbits_streams(out->orbits);
    out->stars = af_orbits_stars(out->orbits);
    code = data_read(r, folder, "J.npy", out, 0, &out->j);
    if (code == CLI_OK) code = data_read(r, folder, "J_err.npy", out, 0, &out->error);
    if (code == CLI_OK) code = data_read(r, folder, "J_gf.npy", out, 0, &out->other_j);
    if (code == CLI_OK) code = data_read(r, folder, "J_gf_err.npy", out, 0, &out->other_error);
    if (code == CLI_OK) code = data_read(r, folder, "theta.npy", out, 1, &out->theta);
    if (code == CLI_OK) code = data_read(r, folder, "acc.npy", out, 1, &out->acceleration);
    return code;
}

static int data_folder(const char *path) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return CLI_OK;
    return cli_fail("cannot make the folder '%s': %s", path, strerror(errno));
}

/* The folder of the set, in which it is now, unless it can be neither read nor made. */
static int data_find(redo *r, const char *name, char folder[REDO_PATH], int *there) {
    char path[REDO_PATH + 8], all[REDO_PATH / 2];
    int code;
    if (r->data) {
        snprintf(folder, REDO_PATH, "%s/%s", r->data, name);
        snprintf(path, sizeof path, "%s/xv.npy", folder);
        *there = data_exists(path);
        return CLI_OK;
    }
    *there = redo_sample_streams(r, name) > 0;
    if (!*there) return CLI_OK;
    snprintf(all, sizeof all, "%s/%s", r->output, r->quick ? "data_quick" : "data");
    snprintf(folder, REDO_PATH, "%s/%s", all, name);
    snprintf(path, sizeof path, "%s/xv.npy", folder);
    if (data_exists(path)) return CLI_OK;
    code = data_folder(all);
    if (code == CLI_OK) code = data_folder(folder);
    return code == CLI_OK ? redo_sample_make(r, name, folder) : code;
}

int redo_set_load(redo *r, const char *name, redo_set *out, int *there) {
    char folder[REDO_PATH];
    int code;
    memset(out, 0, sizeof *out);
    out->name = name;
    code = data_find(r, name, folder, there);
    if (code != CLI_OK || !*there) return code;
    code = data_read_all(r, folder, out);
    if (code == CLI_OK && !r->data && out->streams != redo_sample_streams(r, name))
        code = cli_fail("'%s' has %lu streams, another recipe's: remove the folder", folder,
                        (unsigned long)out->streams);
    if (code != CLI_OK) redo_set_free(out);
    return code;
}

void redo_set_free(redo_set *set) {
    af_orbits_destroy(set->orbits);
    af_array_destroy(set->j);
    af_array_destroy(set->error);
    af_array_destroy(set->theta);
    af_array_destroy(set->acceleration);
    af_array_destroy(set->other_j);
    af_array_destroy(set->other_error);
    memset(set, 0, sizeof *set);
}
