/* ---- stars as observed: in memory, as orbits, draws from their errors ------------------------ */

#include <math.h>

struct af_observed {
    af_context *context;
    af__arena arena;
    af_sun sun;
    int galactic; /* position and motions are Galactic, else ICRS */
    int parallax; /* the third value is a parallax, less its zero point */
    size_t streams, stars;
    double *value;       /* (S,N,6) */
    double *error;       /* (S,N,4) of the third to the sixth value */
    double *correlation; /* (S,N,3) of the errors of distance and motions: 01, 02, 12 */
    unsigned char *unmeasured; /* (S,N) AF_MISSING_ bits as they were in the beginning */
    af_filled *filled;         /* (S,N) */
    size_t *count;             /* (S) */
    size_t *row;               /* (S,N) */
    double *id;                /* (S) */
    const char **name;         /* (S) */
};

/* What a sentence calls the values of a star. */
typedef struct af__observed_words {
    const char *path; /* NULL: not from a file */
    const char *value[6];
} af__observed_words;

AF_API void af_observed_destroy(af_observed *o) {
    af__arena arena;
    if (!o) return;
    arena = o->arena; /* the object lies in its own arena */
    af__arena_free(&arena);
}

static af_status af__observed_new(af_context *c, const af_observed_desc *d, size_t streams,
                                  size_t stars, af_observed **out) {
    af__arena arena = AF__ZERO;
    af_observed *o;
    size_t n = streams * stars;
    *out = NULL;
    if (stars > SIZE_MAX / 8 / streams) return af__fail_memory(c, "observed stars");
    arena.allocator = c->allocator;
    o = AF__NEW(&arena, af_observed);
    if (!o) return af__fail_memory(c, "observed stars");
    o->context = c;
    o->galactic = d->sky == AF_SKY_GALACTIC;
    o->parallax = d->distance == AF_DISTANCE_PARALLAX;
    o->streams = streams;
    o->stars = stars;
    o->value = AF__ARRAY(&arena, double, n * 6);
    o->error = AF__ARRAY(&arena, double, n * 4);
    o->correlation = AF__ARRAY(&arena, double, n * 3);
    o->unmeasured = AF__ARRAY(&arena, unsigned char, n);
    o->filled = AF__ARRAY(&arena, af_filled, n);
    o->count = AF__ARRAY(&arena, size_t, streams);
    o->row = AF__ARRAY(&arena, size_t, n);
    o->id = AF__ARRAY(&arena, double, streams);
    o->name = AF__ARRAY(&arena, const char *, streams);
    o->arena = arena;
    if (!o->value || !o->error || !o->correlation || !o->unmeasured || !o->filled || !o->count ||
        !o->row || !o->id || !o->name) {
        af_observed_destroy(o);
        return af__fail_memory(c, "observed stars");
    }
    if (af_sun_place(c, &d->sun, &o->sun) != AF_OK) {
        af_observed_destroy(o);
        return c->status;
    }
    *out = o;
    return AF_OK;
}

static af_status af__observed_desc_check(af_context *c, const af_observed_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "af_observed_desc was not set to zero first");
    if ((int)d->sky < AF_SKY_AUTO || (int)d->sky > AF_SKY_GALACTIC ||
        (int)d->distance < AF_DISTANCE_AUTO || (int)d->distance > AF_DISTANCE_PARALLAX)
        return af__fail(c, AF_ERROR_ARGUMENT, "af_observed_desc: there is no sky %d, distance %d",
                        (int)d->sky, (int)d->distance);
    if (!af__is_finite(d->parallax_zero))
        return af__fail(c, AF_ERROR_ARGUMENT, "the zero point of the parallaxes is not finite");
    return AF_OK;
}

/* ---- checking ---- */

static af_status af__observed_bad(const af_observed *o, const af__observed_words *words, size_t at,
                                  size_t k, double number, const char *wrong) {
    char where[256];
    if (words->path)
        snprintf(where, sizeof where, "'%s', row %lu", af__shown_path(words->path),
                 (unsigned long)o->row[at] + 1);
    else
        snprintf(where, sizeof where, "stream %lu, star %lu", (unsigned long)(at / o->stars),
                 (unsigned long)(at % o->stars));
    return af__fail(o->context, AF_ERROR_DATA, "%s: %s %s (%g)", where, words->value[k], wrong,
                    number);
}

/* Values: finite, or missing where they may be. */
static af_status af__observed_check_values(const af_observed *o, const af__observed_words *words,
                                           size_t at) {
    const double *value = o->value + at * 6;
    size_t k;
    for (k = 0; k < 6; k++)
        if (!af__is_finite(value[k]) && !((k == 2 || k == 5) && value[k] != value[k]))
            return af__observed_bad(o, words, at, k, value[k],
                                    "is not a finite number; leave the star out or repair it");
    if (fabs(value[1]) > 90.0)
        return af__observed_bad(o, words, at, 1, value[1], "is beyond 90 degrees");
    if (value[2] <= 0.0)
        return af__observed_bad(o, words, at, 2, value[2],
                                o->parallax
                                    ? "less its zero point is not positive, which gives no "
                                      "distance; leave the star out, or its parallax empty so that "
                                      "the distance is searched for"
                                    : "is not positive");
    return AF_OK;
}

/* Errors: none is 0; of what is not measured there is none. Correlations: of a positive matrix, but
 * for the rounding of catalogues in single precision. */
static af_status af__observed_check_errors(af_observed *o, const af__observed_words *words,
                                           size_t at) {
    double *error = o->error + at * 4, *r = o->correlation + at * 3, d;
    size_t k;
    for (k = 0; k < 4; k++) {
        if (error[k] != error[k]) error[k] = 0.0;
        if (!af__is_finite(error[k]) || error[k] < 0.0)
            return af__observed_bad(o, words, at, 2 + k, error[k],
                                    "has a negative or infinite error");
    }
    if (o->unmeasured[at] & AF_MISSING_DISTANCE) error[0] = 0.0;
    if (o->unmeasured[at] & AF_MISSING_VELOCITY) error[3] = 0.0;
    for (k = 0; k < 3; k++)
        if (r[k] != r[k]) r[k] = 0.0;
    d = 1.0 + 2.0 * r[0] * r[1] * r[2] - r[0] * r[0] - r[1] * r[1] - r[2] * r[2];
    if (!(fabs(r[0]) <= 1.0 && fabs(r[1]) <= 1.0 && fabs(r[2]) <= 1.0 && d >= -1e-6))
        return af__observed_bad(o, words, at, 2, d,
                                "has correlations with the motions that cannot be: outside [-1,1], "
                                "or of negative determinant");
    return AF_OK;
}

static af_filled af__not_filled(void) {
    af_filled none;
    none.misfit = none.rival_misfit = none.rival_distance = none.rival_velocity = NAN;
    return none;
}

/* Checks all stars, and notes what they lack. */
static af_status af__observed_finish(af_observed *o, const af__observed_words *words) {
    size_t s, i;
    for (s = 0; s < o->streams; s++) {
        if (o->count[s] > o->stars)
            return af__fail(o->context, AF_ERROR_ARGUMENT,
                            "stream %lu has %lu stars, there is room for %lu", (unsigned long)s,
                            (unsigned long)o->count[s], (unsigned long)o->stars);
        if (o->count[s] == 0)
            return af__fail(o->context, AF_ERROR_DATA, "stream %lu has no stars",
                            (unsigned long)s);
        for (i = 0; i < o->count[s]; i++) {
            size_t at = s * o->stars + i;
            af_status status = af__observed_check_values(o, words, at);
            o->filled[at] = af__not_filled();
            if (status != AF_OK) return status;
            o->unmeasured[at] = (unsigned char)af_observed_missing(o, s, i);
            status = af__observed_check_errors(o, words, at);
            if (status != AF_OK) return status;
        }
    }
    return AF_OK;
}

AF_API af_status af_observed_create(af_context *c, const af_observed_desc *desc, size_t streams,
                                    size_t stars, const double *value, const double *error,
                                    const size_t *count, af_observed **out) {
    static const af__observed_words distance = {
        NULL, {"longitude", "latitude", "distance", "motion in longitude", "motion in latitude",
               "velocity"}};
    af__observed_words words = distance;
    af_observed_desc d = AF__ZERO;
    af_observed *o;
    af_status status;
    size_t i, n = streams * stars;
    *out = NULL;
    if (desc) d = *desc;
    status = af__observed_desc_check(c, &d);
    if (status != AF_OK) return status;
    if (streams == 0 || stars == 0)
        return af__fail(c, AF_ERROR_DATA, "observed stars: there are none");
    if ((status = af__observed_new(c, &d, streams, stars, &o)) != AF_OK) return status;
    if (o->parallax) words.value[2] = "parallax";
    memcpy(o->value, value, n * 6 * sizeof *value);
    if (error) memcpy(o->error, error, n * 4 * sizeof *error);
    for (i = 0; i < n; i++) {
        o->row[i] = i;
        if (o->parallax) o->value[i * 6 + 2] -= d.parallax_zero;
    }
    for (i = 0; i < streams; i++) {
        o->count[i] = count ? count[i] : stars;
        o->id[i] = (double)i;
        o->name[i] = "";
    }
    status = af__observed_finish(o, &words);
    if (status == AF_OK) *out = o;
    else af_observed_destroy(o);
    return status;
}

/* ---- what it holds ---- */

AF_API size_t af_observed_streams(const af_observed *o) { return o->streams; }
AF_API size_t af_observed_stars(const af_observed *o) { return o->stars; }
AF_API size_t af_observed_count(const af_observed *o, size_t stream) { return o->count[stream]; }
AF_API size_t af_observed_row(const af_observed *o, size_t stream, size_t star) {
    return o->row[stream * o->stars + star];
}
AF_API double af_observed_id(const af_observed *o, size_t stream) { return o->id[stream]; }
AF_API const char *af_observed_name(const af_observed *o, size_t stream) {
    return o->name[stream];
}
AF_API const af_sun *af_observed_sun(const af_observed *o) { return &o->sun; }

AF_API unsigned af_observed_missing(const af_observed *o, size_t stream, size_t star) {
    const double *value = o->value + (stream * o->stars + star) * 6;
    return (value[2] != value[2] ? (unsigned)AF_MISSING_DISTANCE : 0u) |
           (value[5] != value[5] ? (unsigned)AF_MISSING_VELOCITY : 0u);
}

AF_API af_filled af_observed_filled(const af_observed *o, size_t stream, size_t star) {
    return o->filled[stream * o->stars + star];
}

/* Values of a star to the six numbers of the sky. */
static void af__observed_distance(const af_observed *o, const double value[6], double sky[6]) {
    memcpy(sky, value, 6 * sizeof *value);
    if (o->parallax) sky[2] = af_distance_of_parallax(value[2]);
}

static void af__observed_xv(const af_observed *o, const double value[6], double xv[6]) {
    double sky[6];
    af__observed_distance(o, value, sky);
    if (o->galactic) af_xv_from_galactic(&o->sun, sky, xv);
    else af_xv_from_icrs(&o->sun, sky, xv);
}

AF_API void af_observed_sky(const af_observed *o, size_t stream, size_t star, double icrs[6]) {
    af__observed_distance(o, o->value + (stream * o->stars + star) * 6, icrs);
    if (o->galactic) af_icrs_from_galactic(icrs, icrs);
}

/* ---- draws ---- */

enum { AF__DRAW_TRIES = 64 }; /* of a positive value at least every other draw is positive */

/* A star's values with normal errors added. */
static void af__observed_draw(const af_observed *o, size_t at, uint64_t seed, size_t draw,
                              double value[6]) {
    const double *mean = o->value + at * 6, *error = o->error + at * 4;
    const double *r = o->correlation + at * 3;
    double l11 = sqrt(fmax(0.0, 1.0 - r[0] * r[0])); /* the Cholesky factor of the correlations */
    double l21 = l11 > 0.0 ? (r[2] - r[0] * r[1]) / l11 : 0.0;
    double l22 = sqrt(fmax(0.0, 1.0 - r[1] * r[1] - l21 * l21));
    uint64_t attempt, k;
    memcpy(value, mean, 6 * sizeof *mean);
    for (attempt = 0; attempt < AF__DRAW_TRIES; attempt++) {
        uint64_t index = ((uint64_t)draw * AF__DRAW_TRIES + attempt) * 4;
        double g[4];
        for (k = 0; k < 4; k++) g[k] = af_random_normal(seed, o->row[at], index + k);
        if (mean[2] + error[0] * g[0] <= 0.0) continue;
        value[2] = mean[2] + error[0] * g[0];
        value[3] = mean[3] + error[1] * (r[0] * g[0] + l11 * g[1]);
        value[4] = mean[4] + error[2] * (r[1] * g[0] + l21 * g[1] + l22 * g[2]);
        value[5] = mean[5] + error[3] * g[3];
        return;
    }
}

/* ---- as orbits ---- */

/* How many streams and stars are complete; the first star that is not, if that is not allowed. */
static af_status af__observed_size(const af_observed *o, int leave_out, size_t *streams,
                                   size_t *stars) {
    size_t s, i;
    *streams = *stars = 0;
    for (s = 0; s < o->streams; s++) {
        size_t n = 0;
        for (i = 0; i < o->count[s]; i++) {
            unsigned missing = af_observed_missing(o, s, i);
            if (!missing) n++;
            else if (!leave_out)
                return af__fail(o->context, AF_ERROR_DATA,
                                "row %lu has no %s; leave such stars out, or fill them in first",
                                (unsigned long)o->row[s * o->stars + i] + 1,
                                missing & AF_MISSING_DISTANCE ? "distance" : "velocity");
        }
        if (n > *stars) *stars = n;
        if (n > 0) ++*streams;
    }
    if (*streams > 0) return AF_OK;
    return af__fail(o->context, AF_ERROR_DATA,
                    "no star has both a distance and a line-of-sight velocity");
}

typedef struct af__observed_plan {
    size_t draws; /* 0: the stars as they are */
    uint64_t seed;
} af__observed_plan;

/* The complete stars of stream s as stream `to`. */
static void af__observed_stream(const af_observed *o, size_t s, const af__observed_plan *plan,
                                size_t draw, af_orbits *orbits, size_t to) {
    size_t i, n = 0;
    for (i = 0; i < o->count[s]; i++) {
        size_t at = s * o->stars + i;
        double value[6];
        if (af_observed_missing(o, s, i)) continue;
        if (plan->draws > 0) af__observed_draw(o, at, plan->seed, draw, value);
        else memcpy(value, o->value + at * 6, sizeof value);
        af__observed_xv(o, value, orbits->xv + (to * orbits->stars + n) * 6);
        orbits->row[to * orbits->stars + n++] = o->row[at];
    }
    orbits->count[to] = n;
    orbits->id[to] = o->id[s];
}

static af_status af__observed_orbits(const af_observed *o, int leave_out,
                                     const af__observed_plan *plan, af_orbits **out) {
    size_t s, k, streams, stars, copies = plan->draws > 0 ? plan->draws : 1, to = 0;
    af_orbits *orbits;
    af_status status = af__observed_size(o, leave_out, &streams, &stars);
    *out = NULL;
    if (status != AF_OK) return status;
    if (copies > SIZE_MAX / streams) return af__fail_memory(o->context, "draws");
    orbits = af__orbits_new(o->context, streams * copies, stars);
    if (!orbits) return AF_ERROR_MEMORY;
    for (s = 0; s < o->streams; s++)
        for (k = 0; k < copies && to < streams * copies; k++) {
            af__observed_stream(o, s, plan, k, orbits, to);
            if (orbits->count[to] == 0) break; /* left out */
            to++;
        }
    status = af__orbits_finish(o->context, orbits, "observed stars");
    if (status == AF_OK) *out = orbits;
    else af_orbits_destroy(orbits);
    return status;
}

AF_API af_status af_observed_orbits(const af_observed *o, int leave_out, af_orbits **out) {
    af__observed_plan plan = AF__ZERO;
    return af__observed_orbits(o, leave_out, &plan, out);
}

AF_API af_status af_observed_draws(const af_observed *o, size_t draws, uint64_t seed,
                                   int leave_out, af_orbits **out) {
    af__observed_plan plan = AF__ZERO;
    size_t s, i, errors = 0;
    *out = NULL;
    plan.draws = draws;
    plan.seed = seed;
    if (draws == 0)
        return af__fail(o->context, AF_ERROR_ARGUMENT, "draws from errors: none are asked for");
    for (s = 0; s < o->streams; s++)
        for (i = 0; i < 4 * o->count[s]; i++)
            if (o->error[s * o->stars * 4 + i] > 0.0) errors++;
    if (errors == 0)
        return af__fail(o->context, AF_ERROR_DATA,
                        "draws from errors: no star has errors; columns such as pmra_error, "
                        "parallax_error and radial_velocity_error are needed");
    return af__observed_orbits(o, leave_out, &plan, out);
}
