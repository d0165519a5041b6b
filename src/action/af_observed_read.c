/* ---- stars as observed: tables whose columns have the names people use ----------------------- */

#include <string.h>

typedef enum af__quantity {
    AF__Q_STREAM, AF__Q_RA, AF__Q_DEC, AF__Q_L, AF__Q_B, AF__Q_DISTANCE, AF__Q_PARALLAX,
    AF__Q_PMRA, AF__Q_PMDEC, AF__Q_PML, AF__Q_PMB, AF__Q_VELOCITY, AF__Q_COUNT
} af__quantity;

/* For sentences: what it is, and how a column with it may be called. */
static const char *const af__quantity_words[AF__Q_COUNT][2] = {
    {"stream", "stream"},
    {"right ascension", "ra"},
    {"declination", "dec"},
    {"Galactic longitude", "l"},
    {"Galactic latitude", "b"},
    {"distance [kpc]", "distance"},
    {"parallax [mas]", "parallax"},
    {"proper motion in right ascension", "pmra"},
    {"proper motion in declination", "pmdec"},
    {"proper motion in Galactic longitude", "pml"},
    {"proper motion in Galactic latitude", "pmb"},
    {"line-of-sight velocity", "radial_velocity"}};

typedef struct af__alias {
    const char *name;
    af__quantity quantity;
} af__alias;

static const af__alias af__aliases[] = {
    {"stream", AF__Q_STREAM},
    {"ra", AF__Q_RA}, {"raj2000", AF__Q_RA}, {"ra_icrs", AF__Q_RA},
    {"dec", AF__Q_DEC}, {"dej2000", AF__Q_DEC}, {"decj2000", AF__Q_DEC}, {"de_icrs", AF__Q_DEC},
    {"dec_icrs", AF__Q_DEC},
    {"l", AF__Q_L}, {"glon", AF__Q_L}, {"b", AF__Q_B}, {"glat", AF__Q_B},
    {"distance", AF__Q_DISTANCE}, {"dist", AF__Q_DISTANCE}, {"d", AF__Q_DISTANCE},
    {"d_sun", AF__Q_DISTANCE},
    {"parallax", AF__Q_PARALLAX}, {"plx", AF__Q_PARALLAX},
    {"pmra", AF__Q_PMRA}, {"pm_ra", AF__Q_PMRA}, {"pm_ra_cosdec", AF__Q_PMRA},
    {"pmra_cosdec", AF__Q_PMRA}, {"mu_ra", AF__Q_PMRA},
    {"pmdec", AF__Q_PMDEC}, {"pm_dec", AF__Q_PMDEC}, {"pmde", AF__Q_PMDEC},
    {"mu_dec", AF__Q_PMDEC},
    {"pml", AF__Q_PML}, {"pm_l", AF__Q_PML}, {"pm_l_cosb", AF__Q_PML}, {"pml_cosb", AF__Q_PML},
    {"mu_l", AF__Q_PML}, {"pmb", AF__Q_PMB}, {"pm_b", AF__Q_PMB}, {"mu_b", AF__Q_PMB},
    {"radial_velocity", AF__Q_VELOCITY}, {"rv", AF__Q_VELOCITY}, {"vlos", AF__Q_VELOCITY},
    {"v_los", AF__Q_VELOCITY}, {"vhelio", AF__Q_VELOCITY}, {"v_helio", AF__Q_VELOCITY},
    {"vrad", AF__Q_VELOCITY}, {"v_rad", AF__Q_VELOCITY}, {"hrv", AF__Q_VELOCITY},
    {"v_h", AF__Q_VELOCITY}};

enum { AF__NAME_ROOM = 64 }; /* longer names mean nothing here */

/* ---- the meaning of a name ---- */

typedef enum af__meaning_kind {
    AF__MEANS_NOTHING, AF__MEANS_VALUE, AF__MEANS_ERROR, AF__MEANS_CORRELATION
} af__meaning_kind;

typedef struct af__meaning {
    af__meaning_kind kind;
    af__quantity quantity, other; /* other: of a correlation */
    double factor;                /* to the unit of the header */
} af__meaning;

/* Cuts `end` off the text, if it ends so and something is left. */
static int af__cut_end(char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    if (n <= m || strcmp(text + n - m, end) != 0) return 0;
    text[n - m] = 0;
    return 1;
}

static void af__cut_unit(char *text, double *factor) {
    static const char *const units[] = {"_deg",    "_kpc",  "_mas_yr", "_masyr",
                                        "_mas",    "_km_s", "_kms"};
    size_t i;
    if (af__cut_end(text, "_pc")) {
        *factor = 1e-3;
        return;
    }
    for (i = 0; i < sizeof units / sizeof *units; i++)
        if (af__cut_end(text, units[i])) return;
}

static af__quantity af__quantity_of(const char *text) {
    size_t i;
    for (i = 0; i < sizeof af__aliases / sizeof *af__aliases; i++)
        if (strcmp(af__aliases[i].name, text) == 0) return af__aliases[i].quantity;
    return AF__Q_COUNT;
}

/* parallax_pmra: two quantities with a _ between them, each of which may have one inside. */
static void af__meaning_pair(char *text, af__meaning *m) {
    char *cut;
    for (cut = strchr(text, '_'); cut; cut = strchr(cut + 1, '_')) {
        *cut = 0;
        m->quantity = af__quantity_of(text);
        m->other = af__quantity_of(cut + 1);
        *cut = '_';
        if (m->quantity == AF__Q_COUNT || m->other == AF__Q_COUNT) continue;
        m->kind = AF__MEANS_CORRELATION;
        return;
    }
}

static af__meaning af__meaning_of(const char *name) {
    char text[AF__NAME_ROOM];
    af__meaning m = {AF__MEANS_NOTHING, AF__Q_COUNT, AF__Q_COUNT, 1.0};
    size_t i, n = strlen(name);
    int error;
    if (n >= sizeof text) return m;
    for (i = 0; i <= n; i++) text[i] = af__small_letter(name[i]);
    if (af__cut_end(text, "_corr")) {
        af__meaning_pair(text, &m);
        return m;
    }
    af__cut_unit(text, &m.factor);
    error = af__cut_end(text, "_error") || af__cut_end(text, "_err");
    if (error) af__cut_unit(text, &m.factor);
    if (!error && strncmp(text, "e_", 2) == 0) {
        error = 1;
        memmove(text, text + 2, strlen(text + 2) + 1);
    }
    m.quantity = af__quantity_of(text);
    if (m.factor != 1.0 && m.quantity != AF__Q_DISTANCE) m.quantity = AF__Q_COUNT;
    if (m.quantity != AF__Q_COUNT) m.kind = error ? AF__MEANS_ERROR : AF__MEANS_VALUE;
    return m;
}

/* ---- which columns to take ---- */

enum { AF__SIGHT_COLUMNS = 13 }; /* six values, four errors, three correlations */

typedef struct af__sight {
    af_context *context;
    const char *path;
    af_observed_desc desc; /* sky and distance: as they turn out */
    af__arena scratch;
    char *bytes; /* the whole file: it may be a pipe, and is read once */
    size_t byte_count;
    const char **names; /* growing: of the file's columns */
    const char **label; /* growing: the stream of each row; NULL: no such column */
    const char *column[AF__SIGHT_COLUMNS];
    double factor[AF__SIGHT_COLUMNS];
    int other_position; /* the position is in the other system than the motions */
} af__sight;

/* The column with this meaning; NULL when there is none. Two are an error, in c->status. */
static const char *af__sight_find(const af__sight *r, af__meaning_kind kind, af__quantity quantity,
                                  af__quantity other, double *factor) {
    const char *found = NULL;
    size_t i;
    for (i = 0; i < AF__LENGTH(r->names); i++) {
        af__meaning m = af__meaning_of(r->names[i]);
        if (m.kind != kind) continue;
        if (!(m.quantity == quantity && m.other == other) &&
            !(m.quantity == other && m.other == quantity))
            continue;
        if (found) {
            af__fail(r->context, AF_ERROR_FORMAT,
                     "'%s': the columns '%.60s' and '%.60s' mean the same; rename or remove one",
                     af__shown_path(r->path), found, r->names[i]);
            return NULL;
        }
        found = r->names[i];
        *factor = m.factor;
    }
    return found;
}

static int af__sight_has(const af__sight *r, af__quantity quantity) {
    size_t i;
    for (i = 0; i < AF__LENGTH(r->names); i++) {
        af__meaning m = af__meaning_of(r->names[i]);
        if (m.kind == AF__MEANS_VALUE && m.quantity == quantity) return 1;
    }
    return 0;
}

static af_status af__sight_missing(const af__sight *r, const char *what, const char *names) {
    return af__fail(r->context, AF_ERROR_FORMAT,
                    "'%s' has no column with the %s; call it %s. Stars as observed have the "
                    "columns ra, dec (or l, b), distance (or parallax), pmra, pmdec (or pml, pmb) "
                    "and radial_velocity; others x, y, z, vx, vy, vz",
                    af__shown_path(r->path), what, names);
}

/* Both of two that exclude each other. */
static af_status af__sight_both(const af__sight *r, const char *one, const char *other,
                                const char *choice) {
    return af__fail(r->context, AF_ERROR_FORMAT,
                    "'%s' has columns with %s and with %s; remove some, or choose the %s",
                    af__shown_path(r->path), one, other, choice);
}

/* Settles desc.sky and desc.distance. */
static af_status af__sight_choose(af__sight *r) {
    int icrs = af__sight_has(r, AF__Q_PMRA) && af__sight_has(r, AF__Q_PMDEC);
    int galactic = af__sight_has(r, AF__Q_PML) && af__sight_has(r, AF__Q_PMB);
    int distance = af__sight_has(r, AF__Q_DISTANCE), parallax = af__sight_has(r, AF__Q_PARALLAX);
    if (r->desc.sky == AF_SKY_AUTO && icrs && galactic)
        return af__sight_both(r, "proper motions in ICRS", "Galactic ones", "sky");
    if (r->desc.sky == AF_SKY_AUTO) r->desc.sky = galactic ? AF_SKY_GALACTIC : AF_SKY_ICRS;
    if (r->desc.distance == AF_DISTANCE_AUTO && distance && parallax)
        return af__sight_both(r, "a distance", "a parallax", "distance");
    if (r->desc.distance == AF_DISTANCE_AUTO && !distance && !parallax)
        return af__sight_missing(r, "distance [kpc] or the parallax [mas]", "distance or parallax");
    if (r->desc.distance == AF_DISTANCE_AUTO)
        r->desc.distance = parallax ? AF_DISTANCE_PARALLAX : AF_DISTANCE_DIRECT;
    return AF_OK;
}

/* Finds all columns. */
static af_status af__sight_columns(af__sight *r) {
    int icrs = r->desc.sky == AF_SKY_ICRS;
    int has_icrs = af__sight_has(r, AF__Q_RA) && af__sight_has(r, AF__Q_DEC);
    int has_galactic = af__sight_has(r, AF__Q_L) && af__sight_has(r, AF__Q_B);
    int position_icrs = icrs ? has_icrs || !has_galactic : has_icrs && !has_galactic;
    af__quantity q[6];
    size_t k;
    r->other_position = position_icrs != icrs;
    q[0] = position_icrs ? AF__Q_RA : AF__Q_L;
    q[1] = position_icrs ? AF__Q_DEC : AF__Q_B;
    q[2] = r->desc.distance == AF_DISTANCE_PARALLAX ? AF__Q_PARALLAX : AF__Q_DISTANCE;
    q[3] = icrs ? AF__Q_PMRA : AF__Q_PML;
    q[4] = icrs ? AF__Q_PMDEC : AF__Q_PMB;
    q[5] = AF__Q_VELOCITY;
    for (k = 0; k < AF__SIGHT_COLUMNS; k++) {
        r->factor[k] = 1.0;
        if (k < 6)
            r->column[k] = af__sight_find(r, AF__MEANS_VALUE, q[k], AF__Q_COUNT, &r->factor[k]);
        else if (k < 10)
            r->column[k] = af__sight_find(r, AF__MEANS_ERROR, q[k - 4], AF__Q_COUNT,
                                          &r->factor[k]);
        else
            r->column[k] = af__sight_find(r, AF__MEANS_CORRELATION, q[k < 12 ? 2 : 3],
                                          q[k < 12 ? k - 7 : 4], &r->factor[k]);
        if (r->context->status != AF_OK) return r->context->status;
        if (k < 6 && !r->column[k])
            return af__sight_missing(r, af__quantity_words[q[k]][0], af__quantity_words[q[k]][1]);
    }
    return AF_OK;
}

/* ---- the streams' numbers or names ---- */

static af__csv af__sight_text(const af__sight *r) {
    af__csv csv = AF__ZERO;
    csv.context = r->context;
    csv.path = r->path;
    csv.at = r->bytes;
    csv.end = r->bytes + r->byte_count;
    csv.line = 1;
    return csv;
}

/* Reads the file, and the names of its columns. */
static af_status af__sight_open(af__sight *r, af_context *c, const char *path) {
    af__csv_header header = AF__ZERO;
    af__csv csv;
    af_status status;
    r->context = c;
    r->path = path;
    r->scratch.allocator = c->allocator;
    status = af__file_read(c, &r->scratch, path, &r->bytes, &r->byte_count);
    if (status != AF_OK) return status;
    header.arena = &r->scratch;
    csv = af__sight_text(r);
    status = af__csv_header_read(&csv, &header);
    r->names = header.names;
    return status;
}

/* The numbers of some columns. */
static af_status af__sight_numbers(af__sight *r, const af_table_desc *d, af_table **out) {
    af__csv csv = af__sight_text(r);
    af_status status = af_table_create(r->context, out);
    if (status != AF_OK) return status;
    status = af__csv_read(&csv, d, &r->scratch, *out);
    if (status == AF_OK) return AF_OK;
    af_table_destroy(*out);
    *out = NULL;
    return status;
}

/* The texts in the column of streams, if there is one. */
static af_status af__sight_labels(af__sight *r) {
    af__csv_header header = AF__ZERO;
    af__csv csv = af__sight_text(r);
    size_t i, stream = AF__LENGTH(r->names);
    af_status status;
    for (i = AF__LENGTH(r->names); i-- > 0;) {
        af__meaning m = af__meaning_of(r->names[i]);
        if (m.kind == AF__MEANS_VALUE && m.quantity == AF__Q_STREAM) stream = i;
    }
    if (stream == AF__LENGTH(r->names)) return AF_OK;
    header.arena = &r->scratch;
    status = af__csv_header_read(&csv, &header);
    while (status == AF_OK && af__csv_row(&csv))
        for (i = 0; csv.more && status == AF_OK; i++) {
            af__field field = AF__ZERO;
            const char *text;
            status = af__csv_field(&csv, &field);
            if (status != AF_OK || i != stream) continue;
            text = af__field_text(&r->scratch, &field);
            if (!text || !AF__PUSH(&r->scratch, r->label, text))
                return af__fail_memory(r->context, "the names of streams");
        }
    return status;
}

/* A row with its label, to find equal ones. */
typedef struct af__labelled {
    const char *label;
    size_t row;
} af__labelled;

static int af__labelled_order(const void *a, const void *b) {
    const af__labelled *x = (const af__labelled *)a, *y = (const af__labelled *)b;
    int by_label = strcmp(x->label, y->label);
    if (by_label != 0) return by_label;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The id of each row where not every label is a number: the first row with the same label. */
static af_status af__sight_named(af__sight *r, size_t rows, af__row *order) {
    af__labelled *sorted = AF__ARRAY(&r->scratch, af__labelled, rows);
    size_t i, first = 0;
    if (!sorted) return af__fail_memory(r->context, "the names of streams");
    for (i = 0; i < rows; i++) {
        sorted[i].label = r->label[i];
        sorted[i].row = i;
    }
    qsort(sorted, rows, sizeof *sorted, af__labelled_order);
    for (i = 0; i < rows; i++) {
        if (strcmp(sorted[i].label, sorted[first].label) != 0) first = i;
        order[sorted[i].row].id = (double)sorted[first].row;
    }
    return AF_OK;
}

/* order[row].id of all rows; *named: they are places of names, not the file's numbers. */
static af_status af__sight_streams(af__sight *r, size_t rows, af__row *order, int *named) {
    size_t i;
    *named = !r->label;
    for (i = 0; i < rows; i++) {
        const char *text = r->label ? r->label[i] : "";
        order[i].row = i;
        order[i].id = (double)i;
        if (!r->label) continue;
        if (!*text)
            return af__fail(r->context, AF_ERROR_DATA, "'%s', row %lu: the stream is empty",
                            af__shown_path(r->path), (unsigned long)i + 1);
        if (af__number_read(text, text + strlen(text), &order[i].id) != AF__NUMBER_FINE)
            *named = 1;
    }
    return *named && r->label ? af__sight_named(r, rows, order) : AF_OK;
}

/* ---- rows to stars ---- */

/* The numbers of a row as star `at`. */
static void af__sight_star(const af__sight *r, const double *const *column, size_t row,
                           af_observed *o, size_t at) {
    double *value = o->value + at * 6, sky[6];
    size_t k;
    for (k = 0; k < AF__SIGHT_COLUMNS; k++) {
        double *to = k < 6    ? &value[k]
                     : k < 10 ? &o->error[at * 4 + k - 6]
                              : &o->correlation[at * 3 + k - 10];
        if (column[k]) *to = column[k][row] * r->factor[k];
    }
    if (o->parallax) value[2] -= r->desc.parallax_zero;
    o->row[at] = row;
    if (!r->other_position) return;
    memcpy(sky, value, sizeof sky);
    if (o->galactic) af_galactic_from_icrs(sky, sky);
    else af_icrs_from_galactic(sky, sky);
    if (!(fabs(value[1]) <= 90.0)) return; /* left to be complained of */
    value[0] = sky[0];
    value[1] = sky[1];
}

/* Rows in the order of their streams, to streams of stars. */
static af_status af__sight_group(af__sight *r, const af_table *t, const af__row *order, int named,
                                 af_observed **out) {
    const double *column[AF__SIGHT_COLUMNS];
    size_t i, k, n = af_table_rows(t), streams = 0, stars = 0, run = 0;
    af__observed_words words = AF__ZERO;
    af_observed *o;
    af_status status;
    for (k = 0; k < AF__SIGHT_COLUMNS; k++)
        column[k] = r->column[k] ? af_table_column(t, r->column[k]) : NULL;
    for (i = 0; i < n; i++) {
        run = i > 0 && order[i].id == order[i - 1].id ? run + 1 : 1;
        if (run == 1) streams++;
        if (run > stars) stars = run;
    }
    status = af__observed_new(r->context, &r->desc, streams, stars, &o);
    if (status != AF_OK) return status;
    for (i = 0, streams = 0; i < n && status == AF_OK; i++) {
        size_t s = streams;
        if (i > 0 && order[i].id == order[i - 1].id) s--;
        else {
            o->id[s] = named ? (double)s : order[i].id;
            o->name[s] = r->label ? af__arena_text(&o->arena, r->label[order[i].row]) : "";
            if (!o->name[s]) status = af__fail_memory(r->context, "the names of streams");
            streams++;
        }
        af__sight_star(r, column, order[i].row, o, s * stars + o->count[s]++);
    }
    words.path = r->path;
    for (k = 0; k < 6; k++) words.value[k] = r->column[k];
    if (status == AF_OK) status = af__observed_finish(o, &words);
    if (status == AF_OK) *out = o;
    else af_observed_destroy(o);
    return status;
}

/* The numbers, once the columns are known. */
static af_status af__sight_table(af__sight *r, af_observed **out) {
    const char *wanted[AF__SIGHT_COLUMNS];
    af_table_desc d = AF__ZERO;
    af_table *t;
    af__row *order;
    af_status status;
    size_t k, rows;
    int named = 0;
    for (k = 0; k < AF__SIGHT_COLUMNS; k++)
        if (r->column[k]) wanted[d.column_count++] = r->column[k];
    d.columns = wanted;
    d.allow_missing = 1;
    status = af__sight_numbers(r, &d, &t);
    if (status != AF_OK) return status;
    rows = af_table_rows(t);
    order = AF__ARRAY(&r->scratch, af__row, rows);
    if (!order) status = af__fail_memory(r->context, "the streams of a table");
    else status = af__sight_labels(r); /* as many: the table was complete */
    if (status == AF_OK) status = af__sight_streams(r, rows, order, &named);
    if (status == AF_OK) {
        qsort(order, rows, sizeof *order, af__row_order);
        status = af__sight_group(r, t, order, named, out);
    }
    af_table_destroy(t);
    return status;
}

/* From an open file, which is freed. */
static af_status af__sight_read(af__sight *r, const af_observed_desc *desc, af_observed **out) {
    af_status status;
    if (desc) r->desc = *desc;
    status = af__sight_choose(r);
    if (status == AF_OK) status = af__sight_columns(r);
    if (status == AF_OK) status = af__sight_table(r, out);
    af__arena_free(&r->scratch);
    return status;
}

AF_API af_status af_observed_read(af_context *c, const char *path, const af_observed_desc *desc,
                                  af_observed **out) {
    af__sight r = AF__ZERO;
    af_status status = AF_OK;
    *out = NULL;
    if (desc) status = af__observed_desc_check(c, desc);
    if (status != AF_OK) return status;
    status = af__sight_open(&r, c, path);
    if (status == AF_OK) return af__sight_read(&r, desc, out);
    af__arena_free(&r.scratch);
    return status;
}

/* ---- whatever it is ---- */

/* As af_orbits_read does, from an open file, which is freed; but without a column `stream` each row
 * is a stream. */
static af_status af__sight_orbits(af__sight *r, af_orbits **out) {
    af_table_desc d = AF__ZERO;
    af__row *order;
    af_table *t;
    af_status status;
    int alone = !af__sight_has(r, AF__Q_STREAM);
    d.columns = af__orbit_columns + alone;
    d.column_count = (size_t)(7 - alone);
    d.any_capitals = 1;
    status = af__sight_numbers(r, &d, &t);
    if (status == AF_OK) {
        order = AF__ARRAY(&r->scratch, af__row, af_table_rows(t));
        if (!order) status = af__fail_memory(r->context, "orbits");
        else status = af__orbits_group(r->context, r->path, t, order, out);
        af_table_destroy(t);
    }
    af__arena_free(&r->scratch);
    return status;
}

/* Most of x, y, z, vx, vy, vz are there: what is not is then complained of. */
static int af__sight_is_cartesian(const af__sight *r) {
    size_t i, k, found = 0;
    for (i = 0; i < AF__LENGTH(r->names); i++)
        for (k = 1; k < 7; k++)
            if (af__same_name(r->names[i], af__orbit_columns[k])) found++;
    return found >= 4;
}

AF_API af_status af_orbits_read_any(af_context *c, const char *path, const af_observed_desc *desc,
                                    af_orbits **out) {
    size_t n = strlen(path);
    af__sight r = AF__ZERO;
    af_observed *o = NULL;
    af_status status = AF_OK;
    *out = NULL;
    if (desc) status = af__observed_desc_check(c, desc);
    if (status != AF_OK) return status;
    if (n >= 4 && strcmp(path + n - 4, ".npy") == 0) return af_orbits_read(c, path, out);
    status = af__sight_open(&r, c, path);
    if (status != AF_OK) {
        af__arena_free(&r.scratch);
        return status;
    }
    if (af__sight_is_cartesian(&r)) return af__sight_orbits(&r, out);
    status = af__sight_read(&r, desc, &o);
    if (status == AF_OK) status = af_observed_orbits(o, 0, out);
    af_observed_destroy(o);
    return status;
}
