/* Numbers, volumes, potentials and ranges in options. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int deep_numbers(const char *text, size_t least, size_t most, double *out, size_t *count,
                 unsigned *marked) {
    size_t n = 0;
    if (marked) *marked = 0;
    for (;;) {
        char *end;
        if (n == most) return 0;
        out[n] = strtod(text, &end);
        if (end == text || !isfinite(out[n])) return 0;
        if (strncmp(end, "/G", 2) == 0) {
            out[n] /= AF_GRAVITY;
            end += 2;
        }
        if (marked && *end == '!') {
            *marked |= 1u << n;
            end++;
        }
        n++;
        if (*end == 0) break;
        if (*end != ',') return 0;
        text = end + 1;
    }
    *count = n;
    return n >= least;
}

int deep_volume(const char *command, const char *option, const char *text, dp_volume *out) {
    double v[7];
    size_t n = 0;
    int round = text && strncmp(text, "sphere:", 7) == 0;
    int flat = text && strncmp(text, "cylinder:", 9) == 0;
    memset(out, 0, sizeof *out);
    if (!text) return -1;
    if (round && !deep_numbers(text + 7, 4, 5, v, &n, NULL)) round = 0;
    if (flat && !deep_numbers(text + 9, 5, 7, v, &n, NULL)) flat = 0;
    if (!round && !flat)
        return cli_usage(command,
                         "--%s takes sphere:x,y,z,r, sphere:x,y,z,r_in,r_out, cylinder:x,y,z,R,h, "
                         "...,R_in or ...,R_in,h_in, not '%s'", option, text);
    out->kind = round ? DP_VOLUME_SPHERE : DP_VOLUME_CYLINDER;
    memcpy(out->centre, v, sizeof out->centre);
    if (round) {
        out->inner = n == 5 ? v[3] : 0.0;
        out->outer = n == 5 ? v[4] : v[3];
    } else {
        out->outer = v[3];
        out->height = v[4];
        out->inner = n > 5 ? v[5] : 0.0;
        out->hole = n > 6 ? v[6] : 0.0;
    }
    if (out->outer > out->inner && out->inner >= 0.0 && (round || out->height > 0.0) &&
        out->hole >= 0.0)
        return -1;
    return cli_usage(command, "--%s '%s' is an empty volume", option, text);
}

/* ---- potentials ---- */

static const struct {
    const char *name, *numbers;
    size_t count;
} DEEP_KIND[5] = {{"isochrone", "mass,b", 2},
                  {"plummer", "mass,b", 2},
                  {"miyamoto-nagai", "mass,a,b", 3},
                  {"logarithmic", "speed,core,p,q", 4},
                  {"nfw", "mass,rs", 2}};

static af_potential deep_part_of(size_t kind, const double v[4]) {
    switch (kind) {
    case 0: return af_potential_isochrone(v[0], v[1]);
    case 1: return af_potential_plummer(v[0], v[1]);
    case 2: return af_potential_miyamoto_nagai(v[0], v[1], v[2]);
    case 3: return af_potential_logarithmic(v[0], v[1], v[2], v[3]);
    default: return af_potential_nfw(v[0], v[1]);
    }
}

/* One "kind:numbers" without a +. Returns 1 where it is that. */
static int deep_part(const char *text, af_potential *out, unsigned *fixed) {
    const char *colon = strchr(text, ':');
    double v[4];
    size_t k, n;
    for (k = 0; k < 5 && colon; k++) {
        if (strlen(DEEP_KIND[k].name) != (size_t)(colon - text) ||
            strncmp(text, DEEP_KIND[k].name, (size_t)(colon - text)) != 0)
            continue;
        if (!deep_numbers(colon + 1, DEEP_KIND[k].count, DEEP_KIND[k].count, v, &n, fixed))
            return 0;
        *out = deep_part_of(k, v);
        return 1;
    }
    return 0;
}

/* A + stands between parts, or belongs to an exponent as in 1e+10. */
static size_t deep_part_length(const char *text) {
    size_t i;
    for (i = 0; text[i]; i++)
        if (text[i] == '+' && i && text[i - 1] != 'e' && text[i - 1] != 'E') break;
    return i;
}

int deep_parts(const char *command, const char *option, const char *text,
               af_potential parts[DEEP_PARTS], unsigned fixed[DEEP_PARTS], size_t *count) {
    const char *at = text;
    *count = 0;
    while (at) {
        size_t length = deep_part_length(at);
        char one[256];
        if (*count == (size_t)DEEP_PARTS)
            return cli_usage(command, "--%s takes at most %d parts", option, (int)DEEP_PARTS);
        snprintf(one, sizeof one, "%.*s", (int)(length < 255 ? length : 255), at);
        if (!deep_part(one, &parts[*count], fixed ? &fixed[*count] : NULL))
            return cli_usage(command,
                             "--%s takes isochrone:mass,b, plummer:mass,b, "
                             "miyamoto-nagai:mass,a,b, nfw:mass,rs or logarithmic:speed,core,p,q, "
                             "with + between several, not '%s'", option, one);
        ++*count;
        at = at[length] ? at + length + 1 : NULL;
    }
    return -1;
}

void deep_parts_print(const af_potential *parts, const double *errors, size_t count) {
    size_t i, k;
    for (i = 0; i < count; i++) {
        size_t kind = (size_t)((int)parts[i].kind - 1); /* in the order of the enum */
        int sphere_or_disc = parts[i].kind != AF_POTENTIAL_LOGARITHMIC;
        const char *name = DEEP_KIND[kind].numbers;
        double number[3];
        number[0] = sphere_or_disc ? parts[i].mass : parts[i].speed;
        number[1] = parts[i].length;
        number[2] = parts[i].height;
        printf("%s:", DEEP_KIND[kind].name);
        for (k = 0; k < (sphere_or_disc ? DEEP_KIND[kind].count : 2); k++) {
            int length = (int)strcspn(name, ",");
            printf("%s %.*s %.6g", k ? "," : "", length, name, number[k]);
            if (errors[3 * i + k] > 0.0) printf(" +- %.2g %%", 100.0 * errors[3 * i + k]);
            name += length + (name[length] == ',');
        }
        printf("\n");
    }
}

/* ---- frames ---- */

static double *deep_frame_part(dp_frame *f, const char *name, size_t length) {
    static const char *const names[6] = {"omega", "ux", "uy", "uz", "x", "y"};
    double *to[6];
    size_t i;
    to[0] = &f->omega;
    to[1] = &f->u[0];
    to[2] = &f->u[1];
    to[3] = &f->u[2];
    to[4] = &f->centre[0];
    to[5] = &f->centre[1];
    for (i = 0; i < 6; i++)
        if (strlen(names[i]) == length && strncmp(names[i], name, length) == 0) return to[i];
    return NULL;
}

int deep_frame(const char *command, const char *text, dp_frame *f) {
    const char *at = text;
    while (at && *at) {
        size_t length = strcspn(at, "=,");
        double *to = deep_frame_part(f, at, length);
        char *end = NULL;
        if (to && at[length] == '=') *to = strtod(at + length + 1, &end);
        if (!end || end == at + length + 1 || (*end && *end != ',') || !isfinite(*to))
            return cli_usage(command,
                             "--frame takes name=number, with commas between, of omega, ux, uy, "
                             "uz, x and y, not '%s'", text);
        at = *end ? end + 1 : NULL;
    }
    return -1;
}

/* ---- ranges ---- */

int deep_range_of(const char *command, const char *option, const char *text, deep_range *out) {
    char rest;
    unsigned long n = 0;
    memset(out, 0, sizeof *out);
    if (!text) return -1;
    if (sscanf(text, "%lf:%lf:%lu%c", &out->low, &out->high, &n, &rest) != 3 || strchr(text, '-') ||
        !isfinite(out->low) || !isfinite(out->high) || !(out->high > out->low) || n < 2 ||
        n > 1000000)
        return cli_usage(command, "--%s takes FROM:TO:N, 0 <= FROM < TO and N > 1, like "
                         "0.1:10:50, not '%s'", option, text);
    out->count = n;
    return -1;
}

int deep_heights_of(const char *command, const char *text, deep_range *out) {
    unsigned n = 0;
    char rest;
    memset(out, 0, sizeof *out);
    if (!text) return -1;
    if (sscanf(text, "%lf:%lf:%u%c", &out->low, &out->high, &n, &rest) != 3 ||
        !(out->high > out->low) || !isfinite(out->high - out->low) || n < 2 || n > 1000000)
        return cli_usage(command, "--heights takes FROM:TO:N, FROM < TO and N > 1, like -3:3:15, "
                         "not '%s'", text);
    out->count = n;
    return -1;
}

double deep_range_at(const deep_range *r, size_t i) {
    return r->low + (r->high - r->low) * (double)i / (double)(r->count - 1);
}
