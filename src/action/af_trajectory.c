/* ---- trajectories ---------------------------------------------------------------------------- */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct af_trajectories {
    af__arena arena;
    size_t freedoms, orbits;
    size_t *first; /* (orbits + 1): where each begins; the last is the total */
    double *time;  /* (total) */
    double *qp;    /* (total, 2n) */
    double *id;    /* (orbits) */
};

/* Where they come from, for the sentences of errors. */
typedef struct af__trajectory_source {
    af_context *context;
    const char *path;    /* NULL: memory */
    const af__csv *body; /* of a table, before its first row; NULL: not a table */
    int numbered;        /* the table has the column orbit */
} af__trajectory_source;

AF_API void af_trajectories_destroy(af_trajectories *t) {
    af__arena arena;
    if (!t) return;
    arena = t->arena; /* the object lies in its own arena */
    af__arena_free(&arena);
}

/* Room for orbits of so many samples, numbered from 0. NULL: out of memory, reported. */
static af_trajectories *af__trajectory_new(af_context *c, size_t freedoms, size_t orbits,
                                           const size_t *samples) {
    const size_t most = SIZE_MAX / (2 * AF_FREEDOMS_MAX);
    af__arena arena = AF__ZERO;
    af_trajectories *t = NULL;
    size_t o = 0;
    arena.allocator = c->allocator;
    if (orbits < most) t = AF__NEW(&arena, af_trajectories);
    if (t) t->first = AF__ARRAY(&arena, size_t, orbits + 1);
    for (; t && t->first && o < orbits && samples[o] <= most - t->first[o]; o++)
        t->first[o + 1] = t->first[o] + samples[o];
    if (t && t->first && o == orbits) {
        t->time = AF__ARRAY(&arena, double, t->first[o]);
        t->qp = AF__ARRAY(&arena, double, t->first[o] * 2 * freedoms);
        t->id = AF__ARRAY(&arena, double, orbits);
    }
    if (!t || !t->time || !t->qp || !t->id) {
        af__arena_free(&arena);
        af__fail_memory(c, "trajectories");
        return NULL;
    }
    for (o = 0; o < orbits; o++) t->id[o] = (double)o;
    t->freedoms = freedoms;
    t->orbits = orbits;
    t->arena = arena;
    return t;
}

/* ---- checks ---- */

enum {
    AF__PLACE = 300, /* characters of a place: 200 are the path's */
    AF__TRAJECTORY_COLUMNS = 2 * AF_FREEDOMS_MAX
};

/* The line of a row (from 0) of a table that could be read. */
static size_t af__trajectory_line(const af__csv *body, size_t row) {
    af__csv csv = *body;
    af__field field;
    size_t i;
    for (i = 0; i <= row && af__csv_row(&csv); i++)
        while (csv.more && af__csv_field(&csv, &field) == AF_OK) {}
    return csv.row_line;
}

/* Names a sample, or with SIZE_MAX its orbit. */
static const char *af__trajectory_place(const af__trajectory_source *from,
                                        const af_trajectories *t, size_t orbit, size_t sample,
                                        char place[AF__PLACE]) {
    const char *path = from->path ? af__shown_path(from->path) : "";
    const char *quote = from->path ? "'" : "";
    char which[60] = "";
    if (from->body) {
        size_t row = t->first[orbit] + (sample == SIZE_MAX ? 0 : sample);
        if (from->numbered) snprintf(which, sizeof which, ", orbit %.15g", t->id[orbit]);
        snprintf(place, AF__PLACE, "'%s', line %zu%s", path,
                 af__trajectory_line(from->body, row), which);
        return place;
    }
    if (sample != SIZE_MAX) snprintf(which, sizeof which, ", sample %zu", sample);
    snprintf(place, AF__PLACE, "%s%s%s, orbit %zu%s (counted from 0)", quote,
             from->path ? path : "trajectories", quote, orbit, which);
    return place;
}

static af_status af__trajectory_check_sample(const af__trajectory_source *from,
                                             const af_trajectories *t, size_t orbit, size_t i) {
    const double *time = t->time + t->first[orbit];
    const double *qp = t->qp + (t->first[orbit] + i) * 2 * t->freedoms;
    const char *lack =
        from->body && !from->numbered ? "give orbits numbers in a column 'orbit', or " : "";
    char place[AF__PLACE];
    size_t k;
    if (!af__is_finite(time[i]))
        return af__fail(from->context, AF_ERROR_DATA,
                        "%s: t is not a finite number; leave the sample out or repair it",
                        af__trajectory_place(from, t, orbit, i, place));
    for (k = 0; k < 2 * t->freedoms; k++)
        if (!af__is_finite(qp[k]))
            return af__fail(from->context, AF_ERROR_DATA,
                            "%s: %c_%zu is not a finite number; leave the sample out or repair it",
                            af__trajectory_place(from, t, orbit, i, place),
                            k < t->freedoms ? 'q' : 'p', k % t->freedoms + 1);
    if (i == 0 || time[i] > time[i - 1]) return AF_OK;
    return af__fail(from->context, AF_ERROR_DATA,
                    "%s: t = %.15g comes after %.15g; %ssort the samples of an orbit by time and "
                    "leave repeated ones out",
                    af__trajectory_place(from, t, orbit, i, place), time[i], time[i - 1], lack);
}

/* Gives t out when it is sound, and destroys it otherwise. */
static af_status af__trajectory_finish(const af__trajectory_source *from, af_trajectories *t,
                                       af_trajectories **out) {
    af_status status = AF_OK;
    char place[AF__PLACE];
    size_t o, i;
    for (o = 0; o < t->orbits && status == AF_OK; o++) {
        size_t samples = t->first[o + 1] - t->first[o];
        if (samples < 2)
            status = af__fail(from->context, AF_ERROR_DATA,
                              "%s: the orbit has %s; give it two samples at least, or leave it out",
                              af__trajectory_place(from, t, o, SIZE_MAX, place),
                              samples == 1 ? "a single sample" : "no samples");
        for (i = 0; i < samples && status == AF_OK; i++)
            status = af__trajectory_check_sample(from, t, o, i);
    }
    if (status == AF_OK) *out = t;
    else af_trajectories_destroy(t);
    return status;
}

AF_API af_status af_trajectories_create(af_context *c, size_t freedoms, size_t orbits,
                                        const size_t *samples, const double *time,
                                        const double *qp, af_trajectories **out) {
    af__trajectory_source from = AF__ZERO;
    af_trajectories *t;
    *out = NULL;
    from.context = c;
    if (freedoms < 1 || freedoms > AF_FREEDOMS_MAX)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "trajectories of %zu degrees of freedom; 1 to %d are possible", freedoms,
                        (int)AF_FREEDOMS_MAX);
    if (orbits == 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "trajectories: there are no orbits");
    t = af__trajectory_new(c, freedoms, orbits, samples);
    if (!t) return AF_ERROR_MEMORY;
    memcpy(t->time, time, t->first[orbits] * sizeof *time);
    memcpy(t->qp, qp, t->first[orbits] * 2 * freedoms * sizeof *qp);
    return af__trajectory_finish(&from, t, out);
}

/* ---- arrays ---- */

static int af__trajectory_is_nan(double value) {
    return (af__bits(value) & (UINT64_MAX >> 1)) > (uint64_t)0x7FF << 52;
}

/* Samples of an orbit, rows (most, columns), without the padding. */
static size_t af__trajectory_unpadded(const double *rows, size_t most, size_t columns) {
    size_t k;
    for (; most > 0; most--)
        for (k = 0; k < columns; k++)
            if (!af__trajectory_is_nan(rows[(most - 1) * columns + k])) return most;
    return 0;
}

/* rows (orbits, most, columns), with t first where columns is odd. */
static af_status af__trajectory_rows(const af__trajectory_source *from, const double *rows,
                                     size_t orbits, size_t most, size_t columns, double interval,
                                     af_trajectories **out) {
    size_t timed = columns % 2, o, i;
    af__arena scratch = AF__ZERO;
    af_trajectories *t = NULL;
    size_t *samples;
    scratch.allocator = from->context->allocator;
    samples = AF__ARRAY(&scratch, size_t, orbits);
    for (o = 0; samples && o < orbits; o++)
        samples[o] = af__trajectory_unpadded(rows + o * most * columns, most, columns);
    if (samples) t = af__trajectory_new(from->context, columns / 2, orbits, samples);
    else af__fail_memory(from->context, "trajectories");
    af__arena_free(&scratch);
    if (!t) return AF_ERROR_MEMORY;
    for (o = 0; o < orbits; o++)
        for (i = 0; i < t->first[o + 1] - t->first[o]; i++) {
            const double *row = rows + (o * most + i) * columns;
            size_t at = t->first[o] + i;
            t->time[at] = timed ? row[0] : (double)i * interval;
            memcpy(t->qp + at * (columns - timed), row + timed, (columns - timed) * sizeof *row);
        }
    return af__trajectory_finish(from, t, out);
}

static af_status af__trajectory_array(const af__trajectory_source *from, const af_array *a,
                                      double interval, af_trajectories **out) {
    size_t rank = (size_t)a->rank, columns = rank > 0 ? a->dims[rank - 1] : 0;
    const char *path = af__shown_path(from->path);
    int fits = (rank == 2 || rank == 3) && columns > 1 && columns <= AF__TRAJECTORY_COLUMNS + 1;
    af__dims_text shape = af__show_dims(rank < 6 ? rank : 6, a->dims);
    if (!fits)
        return af__fail(from->context, AF_ERROR_SHAPE,
                        "'%s' has shape %s, expected (orbits, samples, 1 + 2n) with t, q_1 .. q_n, "
                        "p_1 .. p_n and n up to %d",
                        path, shape.text, (int)AF_FREEDOMS_MAX);
    if (columns % 2 == 0 && interval == 0.0)
        return af__fail(from->context, AF_ERROR_SHAPE,
                        "'%s' has shape %s: an even number of columns, so t is not among them; "
                        "give the time between samples",
                        path, shape.text);
    if (a->count == 0)
        return af__fail(from->context, AF_ERROR_DATA, "'%s' has shape %s: there are no samples",
                        path, shape.text);
    return af__trajectory_rows(from, a->data, rank == 3 ? a->dims[0] : 1, a->dims[rank - 2],
                               columns, interval, out);
}

static af_status af__trajectory_npy(const af__trajectory_source *from,
                                    const af_trajectories_desc *d, af_trajectories **out) {
    af_array *a;
    af_status status;
    if (d->columns)
        return af__fail(from->context, AF_ERROR_ARGUMENT,
                        "'%s' is an array, whose columns have no names; leave the names out",
                        af__shown_path(from->path));
    status = af_npy_read(from->context, from->path, &a);
    if (status != AF_OK) return status;
    status = af__trajectory_array(from, a, d->interval, out);
    af_array_destroy(a);
    return status;
}

/* ---- tables ---- */

/* What is taken from a table: the coordinates, then orbit and t where they are there. */
typedef struct af__trajectory_columns {
    const char *names[AF__TRAJECTORY_COLUMNS + 2];
    size_t count; /* of coordinates */
    int numbered, timed;
} af__trajectory_columns;

/* Names of columns for a sentence, with dots where they do not fit. */
static const char *af__trajectory_list(const char *const *names, char list[160]) {
    size_t i, used = 0;
    list[0] = 0;
    for (i = 0; i < AF__LENGTH(names) && used < 160; i++) {
        const char *name = names[i][0] ? names[i] : "''";
        int n = snprintf(list + used, 160 - used, "%s%s", i > 0 ? ", " : "", name);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used >= 160) memcpy(list + 156, "...", 4);
    return list;
}

static af_status af__trajectory_choose(const af__trajectory_source *from,
                                       const af_trajectories_desc *d, const char *const *names,
                                       af__trajectory_columns *cols) {
    const char *path = af__shown_path(from->path);
    char list[160];
    size_t i;
    for (i = 0; i < AF__LENGTH(names); i++) {
        int number = strcmp(names[i], "orbit") == 0, time = strcmp(names[i], "t") == 0;
        cols->numbered |= number;
        cols->timed |= time;
        if (number || time || d->columns) continue;
        if (cols->count < AF__TRAJECTORY_COLUMNS) cols->names[cols->count] = names[i];
        cols->count++;
    }
    for (i = 0; d->columns && i < d->column_count; i++) cols->names[cols->count++] = d->columns[i];
    if (!cols->timed && d->interval == 0.0)
        return af__fail(from->context, AF_ERROR_FORMAT,
                        "'%s' has no column 't'; its columns are %s; where samples are evenly "
                        "spaced, give the time between samples",
                        path, af__trajectory_list(names, list));
    if (cols->count == 0 || cols->count % 2 || cols->count > AF__TRAJECTORY_COLUMNS)
        return af__fail(from->context, AF_ERROR_FORMAT,
                        "'%s' has %zu columns beside orbit and t, where q_1 .. q_n, p_1 .. p_n, an "
                        "even number from 2 to %d, should be; name those; its columns are %s",
                        path, cols->count, (int)AF__TRAJECTORY_COLUMNS,
                        af__trajectory_list(names, list));
    i = cols->count;
    if (cols->numbered) cols->names[i++] = "orbit";
    if (cols->timed) cols->names[i++] = "t";
    return AF_OK;
}

/* The orbits that the rows form, their samples counted; samples (rows) is given. */
static size_t af__trajectory_count(const double *id, size_t rows, size_t *samples) {
    size_t i, orbits = 0;
    for (i = 0; i < rows; i++) {
        if (i == 0 || (id && id[i] != id[i - 1])) orbits++;
        samples[orbits - 1]++;
    }
    return orbits;
}

/* Reports the first row at which an orbit goes on that another has interrupted. order (orbits) is
 * given. */
static af_status af__trajectory_uninterrupted(const af__trajectory_source *from, const double *id,
                                              size_t orbits, const size_t *samples,
                                              af__row *order) {
    size_t o, row = 0, again = SIZE_MAX;
    for (o = 0; o < orbits; row += samples[o++]) {
        order[o].id = id[row];
        order[o].row = row;
    }
    qsort(order, orbits, sizeof *order, af__row_order);
    for (o = 1; o < orbits; o++)
        if (order[o].id == order[o - 1].id && order[o].row < again) again = order[o].row;
    if (again == SIZE_MAX) return AF_OK;
    return af__fail(from->context, AF_ERROR_DATA,
                    "'%s', line %zu: orbit %.15g goes on here after rows of orbit %.15g; sort the "
                    "rows by orbit and t",
                    af__shown_path(from->path), af__trajectory_line(from->body, again), id[again],
                    id[again - 1]);
}

static void af__trajectory_fill(af_trajectories *t, const af_table *table,
                                const af__trajectory_columns *cols, double interval) {
    const double *id = cols->numbered ? af_table_column(table, "orbit") : NULL;
    const double *time = cols->timed ? af_table_column(table, "t") : NULL;
    size_t o, i, k;
    for (o = 0; o < t->orbits; o++) {
        if (id) t->id[o] = id[t->first[o]];
        for (i = t->first[o]; i < t->first[o + 1]; i++)
            t->time[i] = time ? time[i] : (double)(i - t->first[o]) * interval;
    }
    for (k = 0; k < cols->count; k++) {
        const double *values = af_table_column(table, cols->names[k]);
        for (i = 0; i < t->first[t->orbits]; i++) t->qp[i * cols->count + k] = values[i];
    }
}

static af_status af__trajectory_group(const af__trajectory_source *from, af__arena *scratch,
                                      const af_table *table, const af__trajectory_columns *cols,
                                      double interval, af_trajectories **out) {
    size_t rows = af_table_rows(table), orbits;
    const double *id = cols->numbered ? af_table_column(table, "orbit") : NULL;
    size_t *samples = AF__ARRAY(scratch, size_t, rows);
    af_trajectories *t;
    af__row *order;
    af_status status = AF_OK;
    if (!samples) return af__fail_memory(from->context, "trajectories");
    orbits = af__trajectory_count(id, rows, samples);
    order = AF__ARRAY(scratch, af__row, orbits);
    if (!order) return af__fail_memory(from->context, "trajectories");
    if (id) status = af__trajectory_uninterrupted(from, id, orbits, samples, order);
    if (status != AF_OK) return status;
    t = af__trajectory_new(from->context, cols->count / 2, orbits, samples);
    if (!t) return AF_ERROR_MEMORY;
    af__trajectory_fill(t, table, cols, interval);
    return af__trajectory_finish(from, t, out);
}

/* csv stands at the beginning of the text. The header is read first, to see what is there. */
static af_status af__trajectory_text(const af__csv *csv, af__arena *scratch,
                                     const af_trajectories_desc *d, af_trajectories **out) {
    af__trajectory_source from = AF__ZERO;
    af__trajectory_columns cols = AF__ZERO;
    af_table_desc wanted = AF__ZERO;
    af__csv_header header = AF__ZERO;
    af__csv body = *csv, text = *csv;
    af_table *table = NULL;
    af_status status;
    from.context = csv->context;
    from.path = csv->path;
    from.body = &body;
    header.arena = scratch;
    status = af__csv_header_read(&body, &header);
    if (status == AF_OK) status = af__trajectory_choose(&from, d, header.names, &cols);
    if (status == AF_OK) status = af_table_create(csv->context, &table);
    from.numbered = cols.numbered;
    wanted.columns = cols.names;
    wanted.column_count = cols.count + (size_t)cols.numbered + (size_t)cols.timed;
    if (status == AF_OK) status = af__csv_read(&text, &wanted, scratch, table);
    if (status == AF_OK)
        status = af__trajectory_group(&from, scratch, table, &cols, d->interval, out);
    af_table_destroy(table);
    return status;
}

static af_status af__trajectory_table(af_context *c, const char *path,
                                      const af_trajectories_desc *d, af_trajectories **out) {
    af__arena scratch = AF__ZERO;
    af__csv csv = AF__ZERO;
    char *bytes = NULL;
    size_t count = 0;
    af_status status;
    scratch.allocator = c->allocator;
    status = af__file_read(c, &scratch, path, &bytes, &count);
    if (status == AF_OK) {
        csv.context = c;
        csv.path = path;
        csv.at = bytes;
        csv.end = bytes + count;
        csv.line = 1;
        status = af__trajectory_text(&csv, &scratch, d, out);
    }
    af__arena_free(&scratch);
    return status;
}

static af_status af__trajectory_settings(af_context *c, const af_trajectories_desc *d) {
    size_t i;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "af_trajectories_desc was not set to zero first");
    if (!af__is_finite(d->interval) || d->interval < 0.0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "the time between samples is %g; it must be finite and positive, or zero "
                        "where the file has the times",
                        d->interval);
    if (!d->columns && d->column_count == 0) return AF_OK;
    if (!d->columns || d->column_count == 0 || d->column_count % 2 ||
        d->column_count > AF__TRAJECTORY_COLUMNS)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "%zu columns are named as coordinates; name q_1 .. q_n, p_1 .. p_n, an "
                        "even number from 2 to %d",
                        d->columns ? d->column_count : 0, (int)AF__TRAJECTORY_COLUMNS);
    for (i = 0; i < d->column_count; i++)
        if (!d->columns[i] || strcmp(d->columns[i], "orbit") == 0 ||
            strcmp(d->columns[i], "t") == 0)
            return af__fail(c, AF_ERROR_ARGUMENT,
                            "the column '%s' is named as a coordinate; orbit and t cannot be one",
                            d->columns[i] ? d->columns[i] : "");
    return AF_OK;
}

AF_API af_status af_trajectories_read(af_context *c, const char *path,
                                      const af_trajectories_desc *desc, af_trajectories **out) {
    af__trajectory_source from = AF__ZERO;
    af_trajectories_desc d = AF__ZERO;
    size_t n = path ? strlen(path) : 0;
    af_status status;
    *out = NULL;
    if (desc) d = *desc;
    status = af__trajectory_settings(c, &d);
    if (status != AF_OK) return status;
    from.context = c;
    from.path = path;
    if (n >= 4 && strcmp(path + n - 4, ".npy") == 0) return af__trajectory_npy(&from, &d, out);
    return af__trajectory_table(c, path, &d, out);
}

AF_API size_t af_trajectories_freedoms(const af_trajectories *t) { return t->freedoms; }
AF_API size_t af_trajectories_orbits(const af_trajectories *t) { return t->orbits; }
AF_API size_t af_trajectories_total(const af_trajectories *t) { return t->first[t->orbits]; }
AF_API size_t af_trajectories_samples(const af_trajectories *t, size_t orbit) {
    return t->first[orbit + 1] - t->first[orbit];
}
AF_API double af_trajectories_id(const af_trajectories *t, size_t orbit) { return t->id[orbit]; }
AF_API const double *af_trajectories_time(const af_trajectories *t, size_t orbit) {
    return t->time + t->first[orbit];
}
AF_API const double *af_trajectories_qp(const af_trajectories *t, size_t orbit) {
    return t->qp + t->first[orbit] * 2 * t->freedoms;
}
