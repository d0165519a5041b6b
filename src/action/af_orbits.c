/* ---- orbits ---------------------------------------------------------------------------------- */

struct af_orbits {
    af__arena arena;
    size_t streams, stars;
    double *xv;    /* (S,N,6); stars that a stream lacks repeat its first */
    size_t *count; /* (S) */
    size_t *row;   /* (S,N) */
    double *id;    /* (S) */
};

AF_API void af_orbits_destroy(af_orbits *o) {
    af_allocator allocator;
    if (!o) return;
    allocator = o->arena.allocator;
    af__arena_free(&o->arena);
    allocator.release(o, sizeof *o, allocator.user);
}

static af_orbits *af__orbits_new(af_context *c, size_t streams, size_t stars) {
    af_orbits *o = NULL;
    if (stars <= SIZE_MAX / 6 / streams)
        o = (af_orbits *)c->allocator.allocate(sizeof *o, c->allocator.user);
    if (o) {
        memset(o, 0, sizeof *o);
        o->arena.allocator = c->allocator;
        o->streams = streams;
        o->stars = stars;
        o->xv = AF__ARRAY(&o->arena, double, streams * stars * 6);
        o->count = AF__ARRAY(&o->arena, size_t, streams);
        o->row = AF__ARRAY(&o->arena, size_t, streams * stars);
        o->id = AF__ARRAY(&o->arena, double, streams);
        if (o->xv && o->count && o->row && o->id) return o;
        af_orbits_destroy(o);
    }
    af__fail_memory(c, "orbits");
    return NULL;
}

/* The columns of a table of orbits. */
static const char *const af__orbit_columns[7] = {"stream", "x", "y", "z", "vx", "vy", "vz"};

/* Fills the places of missing stars, and checks every number. */
static af_status af__orbits_finish(af_context *c, af_orbits *o, const char *what) {
    size_t s, i, k;
    for (s = 0; s < o->streams; s++) {
        double *stream = o->xv + s * o->stars * 6;
        if (o->count[s] > o->stars)
            return af__fail(c, AF_ERROR_ARGUMENT,
                            "%s: stream %lu has %lu stars, there is room for %lu", what,
                            (unsigned long)s, (unsigned long)o->count[s], (unsigned long)o->stars);
        if (o->count[s] == 0)
            return af__fail(c, AF_ERROR_DATA, "%s: stream %lu has no stars", what,
                            (unsigned long)s);
        for (i = 0; i < o->count[s]; i++)
            for (k = 0; k < 6; k++)
                if (!af__is_finite(stream[i * 6 + k]))
                    return af__fail(
                        c, AF_ERROR_DATA,
                        "%s: stream %lu, star %lu: %s is not a finite number; remove the "
                        "star or repair it",
                        what, (unsigned long)s, (unsigned long)i,
                        af__orbit_columns[1 + k]);
        for (i = o->count[s]; i < o->stars; i++) memcpy(stream + i * 6, stream, 6 * sizeof *stream);
    }
    return AF_OK;
}

static af_status af__orbits_fill(af_context *c, const char *what, size_t streams, size_t stars,
                                 const double *xv, const size_t *count, af_orbits **out) {
    af_orbits *o;
    size_t i;
    *out = NULL;
    if (streams == 0 || stars == 0)
        return af__fail(c, AF_ERROR_DATA, "%s: there are no stars", what);
    o = af__orbits_new(c, streams, stars);
    if (!o) return c->status;
    memcpy(o->xv, xv, streams * stars * 6 * sizeof *xv);
    for (i = 0; i < streams * stars; i++) o->row[i] = i;
    for (i = 0; i < streams; i++) {
        o->count[i] = count ? count[i] : stars;
        o->id[i] = (double)i;
    }
    if (af__orbits_finish(c, o, what) != AF_OK) {
        af_orbits_destroy(o);
        return c->status;
    }
    *out = o;
    return AF_OK;
}

AF_API af_status af_orbits_create(af_context *c, size_t streams, size_t stars, const double *xv,
                                  const size_t *count, af_orbits **out) {
    return af__orbits_fill(c, "orbits", streams, stars, xv, count, out);
}

AF_API af_status af_orbits_part(af_context *c, const af_orbits *from, size_t first, size_t count,
                                af_orbits **out) {
    if (first > from->streams || count > from->streams - first) {
        *out = NULL;
        return af__fail(c, AF_ERROR_ARGUMENT, "orbits: %lu streams from %lu, there are %lu",
                        (unsigned long)count, (unsigned long)first, (unsigned long)from->streams);
    }
    return af__orbits_fill(c, "orbits", count, from->stars, from->xv + first * from->stars * 6,
                           from->count + first, out);
}

/* ---- files ---- */

static af_status af__orbits_npy(af_context *c, const char *path, af_orbits **out) {
    af_array *a;
    af_status status = af_npy_read(c, path, &a);
    if (status != AF_OK) return status;
    if (a->rank != 3 || a->dims[2] != 6)
        status = af__fail(c, AF_ERROR_SHAPE,
                          "'%s' has shape %s, expected (streams, stars, 6) with x y z vx vy vz",
                          path, af__show_dims(a->rank < 6 ? (size_t)a->rank : 6, a->dims).text);
    else
        status = af__orbits_fill(c, path, a->dims[0], a->dims[1], a->data, NULL, out);
    af_array_destroy(a);
    return status;
}

/* A stream's number and where the row stands, to sort by. */
typedef struct af__row {
    double id;
    size_t row;
} af__row;

static int af__row_order(const void *a, const void *b) {
    const af__row *x = (const af__row *)a, *y = (const af__row *)b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The rows sorted by stream, streams in the order of their numbers. Where the table has no such
 * column each row is a stream. */
static af_status af__orbits_group(af_context *c, const char *path, const af_table *t,
                                  af__row *order, af_orbits **out) {
    const double *column[6], *id = af_table_column(t, af__orbit_columns[0]);
    size_t i, k, n = af_table_rows(t), streams = 0, stars = 0, run = 0;
    af_orbits *o;
    for (k = 0; k < 6; k++) column[k] = af_table_column(t, af__orbit_columns[1 + k]);
    for (i = 0; i < n; i++) {
        order[i].id = id ? id[i] : (double)i;
        order[i].row = i;
    }
    qsort(order, n, sizeof *order, af__row_order);
    for (i = 0; i < n; i++) {
        run = i > 0 && order[i].id == order[i - 1].id ? run + 1 : 1;
        if (run == 1) streams++;
        if (run > stars) stars = run;
    }
    o = af__orbits_new(c, streams, stars);
    if (!o) return c->status;
    for (i = 0, streams = 0; i < n; i++) {
        size_t s, at;
        if (i == 0 || order[i].id != order[i - 1].id) o->id[streams++] = order[i].id;
        s = streams - 1;
        at = s * stars + o->count[s]++;
        o->row[at] = order[i].row;
        for (k = 0; k < 6; k++) o->xv[at * 6 + k] = column[k][order[i].row];
    }
    if (af__orbits_finish(c, o, path) != AF_OK) {
        af_orbits_destroy(o);
        return c->status;
    }
    *out = o;
    return AF_OK;
}

static af_status af__orbits_table(af_context *c, const char *path, af_orbits **out) {
    af_table_desc d = AF__ZERO;
    af__arena scratch = AF__ZERO;
    af_table *t;
    af__row *order;
    af_status status;
    d.columns = af__orbit_columns;
    d.column_count = 7;
    d.any_capitals = 1;
    status = af_table_read(c, path, &d, &t);
    if (status != AF_OK) return status;
    scratch.allocator = c->allocator;
    order = AF__ARRAY(&scratch, af__row, af_table_rows(t));
    if (!order) status = af__fail_memory(c, "orbits");
    else status = af__orbits_group(c, path, t, order, out);
    af__arena_free(&scratch);
    af_table_destroy(t);
    return status;
}

AF_API af_status af_orbits_read(af_context *c, const char *path, af_orbits **out) {
    size_t n = strlen(path);
    *out = NULL;
    if (n >= 4 && strcmp(path + n - 4, ".npy") == 0) return af__orbits_npy(c, path, out);
    return af__orbits_table(c, path, out);
}

AF_API size_t af_orbits_streams(const af_orbits *o) { return o->streams; }
AF_API size_t af_orbits_stars(const af_orbits *o) { return o->stars; }
AF_API size_t af_orbits_count(const af_orbits *o, size_t stream) { return o->count[stream]; }
AF_API const double *af_orbits_xv(const af_orbits *o, size_t stream) {
    return o->xv + stream * o->stars * 6;
}
AF_API size_t af_orbits_row(const af_orbits *o, size_t stream, size_t star) {
    return o->row[stream * o->stars + star];
}
AF_API double af_orbits_id(const af_orbits *o, size_t stream) { return o->id[stream]; }
