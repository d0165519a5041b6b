/* deeppotential convert: stars from one kind of file to another, cut to a volume, or from what
 * was observed. */
#include "deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "convert";

typedef struct convert_settings {
    const char *output;
    deep_source source;
    cli_sky sky;
    int observed;
} convert_settings;

/* A table of ra, dec, ... as positions and velocities about the galaxy's centre. */
static int convert_observed(af_context *c, const convert_settings *o, const af_observed_desc *sky,
                            const char *path, dp_sample **out) {
    dp_volume volume;
    af_orbits *orbits = NULL;
    size_t s, i, n = 0;
    double *eta = NULL;
    int code = deep_volume(NAME, "volume", o->source.volume, &volume);
    if (code >= 0) return code;
    if (deep_is_hdf5(path) || cli_is_cartesian(c, path) == 1)
        return cli_fail("'%s' has positions and velocities already: leave --observed out", path);
    code = cli_read_orbits(c, path, sky, 0, &orbits);
    if (code == CLI_OK) {
        size_t streams = af_orbits_streams(orbits), most = af_orbits_stars(orbits);
        eta = (double *)cli_allocate(6 * streams * most, sizeof *eta);
        for (s = 0; s < streams; s++)
            for (i = 0; i < af_orbits_count(orbits, s); i++)
                memcpy(eta + 6 * n++, af_orbits_xv(orbits, s) + 6 * i, 6 * sizeof *eta);
        if (dp_sample_create(c, n, eta, NULL, NULL, &volume, out) != AF_OK)
            code = deep_fail(c, path);
    }
    free(eta);
    af_orbits_destroy(orbits);
    return code;
}

static int convert_all(af_context *c, const convert_settings *o, const af_observed_desc *sky,
                       const char *path) {
    dp_sample *s = NULL;
    dp_volume volume;
    int code = o->observed ? convert_observed(c, o, sky, path, &s)
                           : deep_read_stars(c, NAME, path, &o->source, 0, &s);
    if (code == CLI_OK) {
        volume = dp_sample_volume(s);
        code = deep_write_stars(c, o->output, dp_sample_count(s), dp_sample_eta(s),
                                dp_sample_weights(s), dp_sample_errors(s), &volume);
    }
    if (code == CLI_OK)
        printf("%lu stars\nwrote %s\n", (unsigned long)dp_sample_count(s), o->output);
    dp_sample_destroy(s);
    return code;
}

int deep_convert(const cli_command *command, int count, char **words) {
    convert_settings o;
    af_observed_desc sky;
    const char *path[2];
    af_context *c;
    int code;
    memset(&o, 0, sizeof o);
    {
        const cli_option options[] = {
            {"o", CLI_TEXT, &o.output, "FILE", "the stars: .npy, .csv or .h5"},
            DEEP_SOURCE_OPTIONS(&o.source),
            {"observed", CLI_FLAG, &o.observed, NULL,
             "the table holds stars as observed: ra, dec or l, b, and so on; see below"},
            CLI_SKY_OPTIONS(o.sky),
        };
        code = cli_parse(command, options, sizeof options / sizeof *options, count, words, path, 1);
    }
    if (code < 0) code = cli_sky_desc(NAME, &o.sky, &sky);
    if (code < 0) code = deep_check_data(NAME, o.output);
    if (code >= 0) return code;
    if (o.observed && (o.source.weights || o.source.no_weights || o.source.no_errors))
        return cli_usage(NAME, "with --observed there are neither weights nor errors");
    if (!o.observed && cli_sky_given(&sky))
        return cli_usage(NAME, "options of the Sun and the sky go with --observed");
    path[1] = o.source.weights;
    if ((code = cli_check_output(o.output, path, 2)) != CLI_OK) return code;
    if ((code = cli_context(0, &c)) != CLI_OK) return code;
    code = convert_all(c, &o, &sky, path[0]);
    af_context_destroy(c);
    return code;
}
