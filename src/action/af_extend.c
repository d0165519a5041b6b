/* ---- longer orbits, and more of them --------------------------------------------------------- */

enum {
    AF__EXTEND_LEAST = 4096, /* streams, unless told */
    AF__EXTEND_BLOCK = 256, /* streams whose points are kept at a time */
    AF__EXTEND_TRIES = 20,  /* starts for a stream, before it is given up */
    AF__EXTEND_LIKE = 16,   /* so many stars at nearly the same distance lend their velocity */
    AF__EXTEND_GRAIN = 16,  /* points from which a star's time is drawn */
    AF__EXTEND_STEPS = 4000 /* a period, at most: radial orbits through a cuspy centre */
};
#define AF__EXTEND_TOLERANCE 1e-8 /* of a step; the energy stays to about 1e-6 */
#define AF__EXTEND_FAR 2.0        /* of the farthest star given */

typedef struct af__ranked {
    double key;  /* distance from the centre */
    size_t star; /* row of xv */
} af__ranked;

typedef struct af__extend {
    af_extend_desc desc; /* defaults resolved */
    const af_orbits *from;
    af_force force;
    af__ranked *places; /* (stars), in the order of the distance */
    size_t stars;      /* of all streams given */
    double farthest;
    size_t first;      /* of the block */
    double *points;    /* (block, stars * grain, 6) */
    double *xv;        /* (streams, stars, 6) */
    unsigned char *failed; /* (streams) */
} af__extend;

static int af__by_place(const void *a, const void *b) {
    double x = ((const af__ranked *)a)->key, y = ((const af__ranked *)b)->key;
    return x < y ? -1 : x > y;
}

/* Turns v from the azimuth of x to that of `to`; mirrored at the plane when `mirror`. */
static void af__turn_velocity(const double x[3], const double v[3], const double to[3], int mirror,
                              double out[3]) {
    double r = sqrt(x[0] * x[0] + x[1] * x[1]), q = sqrt(to[0] * to[0] + to[1] * to[1]);
    double cosine = 1.0, sine = 0.0;
    if (r > 0.0 && q > 0.0) {
        cosine = (x[0] * to[0] + x[1] * to[1]) / (r * q);
        sine = (x[0] * to[1] - x[1] * to[0]) / (r * q);
    }
    out[0] = cosine * v[0] - sine * v[1];
    out[1] = sine * v[0] + cosine * v[1];
    out[2] = mirror ? -v[2] : v[2];
}

/* A start: the place of one star, the velocity of one of those whose distance is nearest to it. */
static void af__extend_mix(const af__extend *e, size_t stream, size_t attempt, double start[6]) {
    uint64_t seed = e->desc.seed, at = (uint64_t)stream * AF__EXTEND_TRIES + attempt;
    size_t n = e->stars, like = AF__EXTEND_LIKE < n ? (size_t)AF__EXTEND_LIKE : n;
    size_t i = (size_t)(af_random_uniform(seed, 1, at) * (double)n);
    size_t pick = (size_t)(af_random_uniform(seed, 2, at) * (double)like);
    size_t first = i < like / 2 ? 0 : i - like / 2;
    const double *x = e->from->xv + 6 * e->places[i].star, *from;
    if (first + like > n) first = n - like;
    from = e->from->xv + 6 * e->places[first + pick].star;
    memcpy(start, x, 3 * sizeof *start);
    af__turn_velocity(from, from + 3, x, from[2] * x[2] < 0.0, start + 3);
}

/* The period of a circular orbit here [kpc/(km/s)]; 0 in the centre and where the force points
 * outwards. */
static double af__extend_period(const af__extend *e, const double x[3]) {
    double a[3], pull;
    e->force.acceleration(x, a, e->force.user);
    pull = -af__dot3(x, a) / af__dot3(x, x);
    return pull > 0.0 && af__is_finite(pull) ? 2.0 * AF__PI / sqrt(pull) : 0.0;
}

static int af__extend_fits(const af__extend *e, const double xv[6]) {
    af_potential toy = af_isochrone_potential(&e->desc.toy);
    if (!(af__radius(xv) < AF__EXTEND_FAR * e->farthest)) return 0;
    return !(e->desc.toy.mass > 0.0) ||
           0.5 * af__dot3(xv + 3, xv + 3) + af_potential_value(&toy, 1, xv) < 0.0;
}

/* Follows one orbit and draws its stars; 0 when that fails or it goes too far. */
static int af__extend_follow(const af__extend *e, size_t stream, const double start[6]) {
    size_t count = e->desc.stars * AF__EXTEND_GRAIN, k, i;
    double *points = e->points + (stream - e->first) * count * 6;
    double period = af__extend_period(e, start);
    double interval = e->desc.periods * period / (double)count;
    double steps = (double)AF__EXTEND_STEPS * (1.0 + e->desc.periods);
    af__follow f;
    if (!(period > 0.0)) return 0;
    af__follow_begin(&f, e->force, start, fmin(interval, 0.01 * period), AF__EXTEND_TOLERANCE);
    if (!af__follow_points(&f, interval, count, (size_t)steps, points)) return 0;
    for (k = 0; k < count; k++)
        if (!af__extend_fits(e, points + 6 * k)) return 0;
    for (i = 0; i < e->desc.stars; i++) {
        uint64_t at = (uint64_t)stream * e->desc.stars + i;
        k = (size_t)(af_random_uniform(e->desc.seed, 3, at) * (double)AF__EXTEND_GRAIN);
        memcpy(e->xv + 6 * (stream * e->desc.stars + i), points + 6 * (i * AF__EXTEND_GRAIN + k),
               6 * sizeof *points);
    }
    return 1;
}

static void af__extend_chunk(size_t chunk, void *user) {
    af__extend *e = (af__extend *)user;
    double start[6];
    size_t stream = e->first + chunk, t;
    for (t = 0; t < AF__EXTEND_TRIES; t++) {
        if (t == 0 && stream < e->from->streams)
            memcpy(start, af_orbits_xv(e->from, stream), sizeof start);
        else af__extend_mix(e, stream, t, start);
        if (af__extend_follow(e, stream, start)) return;
    }
    e->failed[stream] = 1;
}

/* ---- the whole ---- */

static af_status af__extend_check(af_context *c, const af_field *field, const af_extend_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "extending orbits: af_extend_desc was not initialised to zero");
    if (field && !field->acceleration)
        return af__fail(c, AF_ERROR_ARGUMENT, "extending orbits: the field has no acceleration");
    if (!(d->periods >= 0.0) || !af__is_finite(d->periods) || !(d->misfit >= 0.0) || d->threads < 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "extending orbits: the periods %g must be positive and finite, the misfit "
                        "%g positive, the threads %d not negative",
                        d->periods, d->misfit, d->threads);
    return AF_OK;
}

static void af__extend_places(af__extend *e) {
    const af_orbits *o = e->from;
    size_t s, i, n = 0;
    for (s = 0; s < o->streams; s++)
        for (i = 0; i < o->count[s]; i++, n++) {
            e->places[n].star = s * o->stars + i;
            e->places[n].key = af__radius(af_orbits_xv(o, s) + 6 * i);
        }
    qsort(e->places, n, sizeof *e->places, af__by_place);
    e->stars = n;
    e->farthest = e->places[n - 1].key;
}

/* Runs all blocks, then closes the ranks over the streams that failed; how many are left. */
static size_t af__extend_run(af__extend *e) {
    size_t streams = e->desc.streams, row = e->desc.stars * 6, s, left = 0;
    for (e->first = 0; e->first < streams; e->first += AF__EXTEND_BLOCK) {
        size_t rest = streams - e->first;
        af__parallel(e->desc.threads, rest < AF__EXTEND_BLOCK ? rest : (size_t)AF__EXTEND_BLOCK,
                     af__extend_chunk, e);
    }
    for (s = 0; s < streams; s++) {
        if (e->failed[s]) continue;
        if (left < s) memcpy(e->xv + left * row, e->xv + s * row, row * sizeof *e->xv);
        left++;
    }
    return left;
}

static af_status af__extend_make(af_context *c, af__arena *arena, af__extend *e, af_orbits **out) {
    size_t streams = e->desc.streams, stars = e->desc.stars, left;
    size_t block = streams < AF__EXTEND_BLOCK ? streams : (size_t)AF__EXTEND_BLOCK;
    if (stars > SIZE_MAX / 64 / 6 / AF__EXTEND_GRAIN / AF__EXTEND_BLOCK ||
        streams > SIZE_MAX / 64 / 6 / stars)
        return af__fail_memory(c, "longer orbits");
    e->places = AF__ARRAY(arena, af__ranked, e->from->streams * e->from->stars);
    e->points = AF__ARRAY(arena, double, block * stars * AF__EXTEND_GRAIN * 6);
    e->xv = AF__ARRAY(arena, double, streams * stars * 6);
    e->failed = AF__ARRAY(arena, unsigned char, streams);
    if (!e->places || !e->points || !e->xv || !e->failed)
        return af__fail_memory(c, "longer orbits");
    af__extend_places(e);
    left = af__extend_run(e);
    if (left < streams / 2 || left == 0)
        return af__fail(c, AF_ERROR_DATA,
                        "extending orbits: only %lu of %lu orbits could be followed within %g kpc; "
                        "the field does not bind the stars",
                        (unsigned long)left, (unsigned long)streams, AF__EXTEND_FAR * e->farthest);
    return af_orbits_create(c, left, stars, e->xv, NULL, out);
}

static af_status af__extend_in(af_context *c, af__extend *e, const af_field *field,
                               af_orbits **out) {
    af__arena arena = AF__ZERO;
    af_status status;
    e->force = af_force_of_field(field);
    arena.allocator = c->allocator;
    status = af__extend_make(c, &arena, e, out);
    af__arena_free(&arena);
    return status;
}

/* In a table of the model, which many forces are asked of. */
static af_status af__extend_in_model(af_context *c, af__extend *e, const af_mass_model *m,
                                     af_orbits **out) {
    af_field field = af_field_of_mass_model(m);
    af_field_table_desc d = AF__ZERO;
    af_field_table *table;
    af_status status;
    if (!(m->misfit <= e->desc.misfit))
        return af__fail(c, AF_ERROR_DATA,
                        "extending orbits: the energies of a stream differ by %.2g of the kinetic "
                        "ones in the best axisymmetric field, more than %g: the data have "
                        "errors, or are in no such field",
                        m->misfit, e->desc.misfit);
    d.radius = af_mass_model_radius(m);
    status = af_field_table_create(c, &field, &d, &table);
    if (status != AF_OK) return status;
    field = af_field_of_table(table);
    status = af__extend_in(c, e, &field, out);
    af_field_table_destroy(table);
    return status;
}

static void af__extend_defaults(af_extend_desc *d, const af_orbits *from) {
    if (d->streams == 0)
        d->streams = from->streams > AF__EXTEND_LEAST ? from->streams : (size_t)AF__EXTEND_LEAST;
    if (d->stars == 0) d->stars = 8;
    if (!(d->periods > 0.0)) d->periods = 10.0;
    if (!(d->misfit > 0.0)) d->misfit = 1e-3;
}

AF_API af_status af_orbits_extend(af_context *c, const af_orbits *orbits, const af_field *field,
                                  const af_extend_desc *desc, af_orbits **out) {
    af__extend e = AF__ZERO;
    af_mass_model_desc d = AF__ZERO;
    af_mass_model *m;
    af_status status;
    *out = NULL;
    if (desc) e.desc = *desc;
    status = af__extend_check(c, field, &e.desc);
    if (status != AF_OK) return status;
    af__extend_defaults(&e.desc, orbits);
    e.from = orbits;
    if (field) return af__extend_in(c, &e, field, out);
    d.axisymmetric = AF_SYMMETRY_YES;
    status = af_mass_model_fit(c, orbits, &d, &m);
    if (status == AF_OK) status = af__extend_in_model(c, &e, m, out);
    af_mass_model_destroy(m);
    return status;
}
