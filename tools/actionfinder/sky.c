/* Stars as observed: where the Sun is, and what of a table counts. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const double SKY_NOTHING = 1e-9; /* 0 would mean default */

/* `count` finite numbers with commas between them, and nothing else. */
static int sky_numbers(const char *text, size_t count, double *out) {
    size_t i;
    for (i = 0; i < count; i++) {
        char *end;
        out[i] = strtod(text, &end);
        if (end == text || !isfinite(out[i]) || *end != (i + 1 < count ? ',' : 0)) return 0;
        text = end + 1;
    }
    return 1;
}

int cli_sky_desc(const char *command, const cli_sky *s, af_observed_desc *out) {
    static const char *const system[2] = {"icrs", "galactic"};
    static const char *const distance[2] = {"direct", "parallax"};
    double *v = out->sun.velocity;
    int word, code;
    memset(out, 0, sizeof *out);
    if ((code = cli_word(command, "sky", s->sky, system, 2, &word)) >= 0) return code;
    if (s->sky) out->sky = word ? AF_SKY_GALACTIC : AF_SKY_ICRS;
    if ((code = cli_word(command, "distance", s->distance, distance, 2, &word)) >= 0) return code;
    if (s->distance) out->distance = word ? AF_DISTANCE_PARALLAX : AF_DISTANCE_DIRECT;
    if (s->radius > 100.0)
        return cli_usage(command, "--sun-radius is in kpc, some 8, not %g", s->radius);
    if (s->height && !sky_numbers(s->height, 1, &out->sun.height))
        return cli_usage(command, "--sun-height takes a number, not '%s'", s->height);
    if (s->velocity && !sky_numbers(s->velocity, 3, v))
        return cli_usage(command, "--sun-velocity takes three numbers, like 12.9,245.6,7.78, not "
                         "'%s'", s->velocity);
    if (s->parallax_zero && !sky_numbers(s->parallax_zero, 1, &out->parallax_zero))
        return cli_usage(command, "--parallax-zero takes a number, not '%s'", s->parallax_zero);
    if (s->height && out->sun.height == 0.0) out->sun.height = SKY_NOTHING;
    if (s->velocity && v[0] == 0.0 && v[1] == 0.0 && v[2] == 0.0) v[0] = SKY_NOTHING;
    out->sun.radius = s->radius;
    out->sun.hand = s->left ? AF_HAND_LEFT : AF_HAND_RIGHT;
    return -1;
}

int cli_is_cartesian(af_context *c, const char *path) {
    static const char *const wanted[4] = {"x", "y", "z", "vx"};
    af_table_desc d;
    af_table *t = NULL;
    struct stat facts;
    int found;
    if (cli_ends_with(path, ".npy")) return 1;
    if (stat(path, &facts) != 0 || !S_ISREG(facts.st_mode)) return -1;
    memset(&d, 0, sizeof d);
    d.columns = wanted;
    d.column_count = 4;
    d.any_capitals = 1;
    found = af_table_read(c, path, &d, &t) == AF_OK;
    af_table_destroy(t);
    af_error_clear(c);
    return found;
}

int cli_fail_sky(const af_context *c) {
    const char *sentence = af_error(c);
    if (strstr(sentence, "choose the sky")) return cli_fail("%s: --sky icrs or galactic", sentence);
    if (strstr(sentence, "choose the distance"))
        return cli_fail("%s: --distance direct or parallax", sentence);
    return cli_fail_library(c);
}

static int sky_say(af_context *c, const char *path, const af_observed_desc *d) {
    af_sun sun;
    const double *x = sun.position, *v = sun.velocity;
    char zero[64] = "";
    if (af_sun_place(c, &d->sun, &sun) != AF_OK) return cli_fail_library(c);
    if (d->parallax_zero != 0.0)
        snprintf(zero, sizeof zero, "; the parallaxes' zero point is %g mas", d->parallax_zero);
    printf("%s: stars as observed; the Sun at (%.6g, 0, %.4g) kpc moves at (%.2f, %.2f, %.2f) "
           "km/s, the disc has J_phi %c 0%s\n",
           path, x[0], x[2], v[0], v[1], v[2], d->sun.hand == AF_HAND_LEFT ? '>' : '<', zero);
    return CLI_OK;
}

int cli_sky_given(const af_observed_desc *d) {
    const af_sun_desc *s = &d->sun;
    return s->radius != 0.0 || s->height != 0.0 || s->velocity[0] != 0.0 ||
           s->velocity[1] != 0.0 || s->velocity[2] != 0.0 || s->hand != AF_HAND_RIGHT ||
           d->sky != AF_SKY_AUTO || d->distance != AF_DISTANCE_AUTO || d->parallax_zero != 0.0;
}

int cli_read_orbits(af_context *c, const char *path, const af_observed_desc *sky, int quiet,
                    af_orbits **out) {
    int given = cli_sky_given(sky), cartesian, code = CLI_OK;
    if (af_orbits_read_any(c, path, sky, out) != AF_OK) {
        const char *sentence = af_error(c);
        if (strncmp(sentence, "row ", 4) != 0) return cli_fail_sky(c);
        return cli_fail("'%s', %s", path, sentence); /* of a star that is not complete */
    }
    if (quiet && !given) return CLI_OK;
    cartesian = cli_is_cartesian(c, path);
    if (cartesian == 1 && given)
        code = cli_fail("'%s' has positions and velocities, not stars as observed: options of the "
                        "Sun and the sky mean nothing to it", path);
    else if (cartesian == 0 && !quiet)
        code = sky_say(c, path, sky);
    if (code != CLI_OK) {
        af_orbits_destroy(*out);
        *out = NULL;
    }
    return code;
}

int cli_read_complete(af_context *c, const char *path, const af_observed_desc *sky, int quiet,
                      af_orbits **out) {
    af_observed *stars = NULL;
    size_t s, i, all = 0, used = 0;
    int code = CLI_OK;
    *out = NULL;
    if (af_observed_read(c, path, sky, &stars) != AF_OK ||
        af_observed_orbits(stars, 1, out) != AF_OK)
        code = cli_fail_sky(c);
    for (s = 0; code == CLI_OK && s < af_observed_streams(stars); s++)
        for (i = 0; i < af_observed_count(stars, s); i++) {
            all++;
            used += af_observed_missing(stars, s, i) == 0;
        }
    if (code == CLI_OK && !quiet) {
        code = sky_say(c, path, sky);
        printf("%s: %lu of %lu stars are complete\n", path, (unsigned long)used,
               (unsigned long)all);
    }
    if (code != CLI_OK) {
        af_orbits_destroy(*out);
        *out = NULL;
    }
    af_observed_destroy(stars);
    return code;
}
