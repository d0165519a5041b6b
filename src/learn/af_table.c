/* ---- learn: tables of numbers as text (CSV, ECSV) -------------------------------------------- */

#include <stdio.h>
#include <string.h>

typedef struct af__column {
    const char *name;
    double *values;
} af__column;

struct af_table {
    af_context *context;
    af__arena arena;
    size_t rows;
    af__column *columns;   /* growing */
    const char **comments; /* growing */
};

/* ---- the table in memory */

AF_API af_status af_table_create(af_context *context, af_table **out) {
    af__arena arena = AF__ZERO;
    af_table *table;
    arena.allocator = context->allocator;
    table = AF__NEW(&arena, af_table);
    *out = table;
    if (!table) return af__fail_memory(context, "a table");
    table->context = context;
    table->arena = arena;
    return AF_OK;
}

AF_API void af_table_destroy(af_table *table) {
    af__arena arena;
    if (!table) return;
    arena = table->arena; /* the table lies in its own arena */
    af__arena_free(&arena);
}

AF_API size_t af_table_rows(const af_table *table) { return table->rows; }

AF_API size_t af_table_columns(const af_table *table) { return AF__LENGTH(table->columns); }

AF_API const char *af_table_name(const af_table *table, size_t i) {
    return i < AF__LENGTH(table->columns) ? table->columns[i].name : NULL;
}

AF_API const double *af_table_column(const af_table *table, const char *name) {
    size_t i;
    for (i = 0; i < AF__LENGTH(table->columns); i++)
        if (strcmp(table->columns[i].name, name) == 0) return table->columns[i].values;
    return NULL;
}

/* Appends a column of zeros; NULL when memory is out. */
static double *af__table_push(af_table *table, const char *name, size_t rows) {
    af__column column;
    column.name = af__arena_text(&table->arena, name);
    column.values = AF__ARRAY(&table->arena, double, rows);
    if (column.name && column.values && AF__PUSH(&table->arena, table->columns, column))
        return column.values;
    return NULL;
}

AF_API af_status af_table_add(af_table *table, const char *name, size_t rows, const double *data,
                              size_t stride) {
    double *values;
    size_t i;
    if (!name || !*name || af_table_column(table, name))
        return af__fail(table->context, AF_ERROR_ARGUMENT,
                        "the name of a column must be new and not empty, not '%.100s'",
                        name ? name : "");
    if (af_table_columns(table) > 0 && rows != table->rows)
        return af__fail(table->context, AF_ERROR_SHAPE,
                        "column '%.100s' has %zu rows, the table has %zu", name, rows,
                        table->rows);
    values = af__table_push(table, name, rows);
    if (!values) return af__fail_memory(table->context, "a column of a table");
    for (i = 0; i < rows; i++) values[i] = data[i * stride];
    table->rows = rows;
    return AF_OK;
}

AF_API af_status af_table_comment(af_table *table, const char *text) {
    const char *copy = af__arena_text(&table->arena, text);
    if (copy && AF__PUSH(&table->arena, table->comments, copy)) return AF_OK;
    return af__fail_memory(table->context, "a comment of a table");
}

AF_API af_status af_table_gather(const af_table *table, const char *const *names, size_t count,
                                 double *out) {
    size_t i, k;
    for (k = 0; k < count; k++) {
        const double *values = af_table_column(table, names[k]);
        if (!values)
            return af__fail(table->context, AF_ERROR_ARGUMENT, "the table has no column '%.100s'",
                            names[k]);
        for (i = 0; i < table->rows; i++) out[i * count + k] = values[i];
    }
    return AF_OK;
}

/* ---- writing */

static void af__write_comment(af__writer *writer, const char *text) {
    af__writer_text(writer, "# ");
    for (; *text; text++) {
        int ends = *text == '\n' || *text == '\r';
        if (ends) af__writer_text(writer, "\n# ");
        else af__writer_put(writer, text, 1);
    }
    af__writer_text(writer, "\n");
}

/* A field, in quotes where it could be taken for something else. */
static void af__write_name(af__writer *writer, const char *name) {
    int plain = !strpbrk(name, ",; \t\"\r\n#") && !strchr("+-.0123456789", name[0]);
    if (plain) {
        af__writer_text(writer, name);
        return;
    }
    af__writer_text(writer, "\"");
    for (; *name; name++) {
        if (*name == '"') af__writer_text(writer, "\"");
        af__writer_put(writer, name, 1);
    }
    af__writer_text(writer, "\"");
}

AF_API af_status af_table_write(const af_table *table, const char *path) {
    size_t i, k, columns = AF__LENGTH(table->columns);
    char number[AF__NUMBER_TEXT];
    af__writer writer;
    af_status status;
    if (columns == 0)
        return af__fail(table->context, AF_ERROR_ARGUMENT,
                        "a table without columns cannot be written");
    status = af__writer_open(&writer, table->context, path);
    if (status != AF_OK) return status;
    for (i = 0; i < AF__LENGTH(table->comments); i++)
        af__write_comment(&writer, table->comments[i]);
    for (k = 0; k < columns; k++) {
        if (k > 0) af__writer_text(&writer, ",");
        af__write_name(&writer, table->columns[k].name);
    }
    af__writer_text(&writer, "\n");
    for (i = 0; i < table->rows && !writer.error; i++) {
        for (k = 0; k < columns; k++) {
            size_t n = af__number_write(table->columns[k].values[i], number);
            number[n++] = k + 1 < columns ? ',' : '\n';
            af__writer_put(&writer, number, n);
        }
    }
    return af__writer_close(&writer);
}

/* ---- reading */

/* A place in the text. `more`: the row goes on. */
typedef struct af__csv {
    af_context *context;
    const char *path;
    const char *at, *end;
    const char *comment, *comment_end; /* the last comment line, behind its # */
    size_t line;                       /* of `at`, counted from 1 */
    size_t row_line;                   /* where the row began */
    char separator;                    /* ' ' stands for any run of blanks and tabs */
    int more;
} af__csv;

typedef struct af__field {
    const char *start, *end; /* without quotes and the blanks around */
    int quoted;              /* "" inside stands for " */
} af__field;

static int af__csv_ends(char c) { return c == '\n' || c == '\r'; }

/* A blank that does not separate. */
static int af__csv_blank(const af__csv *csv, char c) {
    return c == ' ' || (c == '\t' && csv->separator != '\t');
}

static void af__csv_skip_blanks(af__csv *csv) {
    while (csv->at < csv->end && af__csv_blank(csv, *csv->at)) csv->at++;
}

/* Past \n, \r or \r\n. */
static void af__csv_next_line(af__csv *csv) {
    if (csv->at == csv->end) return;
    csv->at += *csv->at == '\r' && csv->end - csv->at > 1 && csv->at[1] == '\n' ? 2 : 1;
    csv->line++;
}

/* Goes to the start of the next line that is neither blank nor a comment; 0 at the end of the file.
 * Where tabs separate, a line of tabs is a row of empty fields. */
static int af__csv_row(af__csv *csv) {
    while (csv->at < csv->end) {
        const char *start = csv->at;
        af__csv_skip_blanks(csv);
        if (csv->at < csv->end && *csv->at != '#' && !af__csv_ends(*csv->at)) {
            csv->at = start;
            csv->row_line = csv->line;
            csv->more = 1;
            return 1;
        }
        start = csv->at;
        while (csv->at < csv->end && !af__csv_ends(*csv->at)) csv->at++;
        if (csv->at > start) {
            csv->comment = start + 1;
            csv->comment_end = csv->at;
        }
        af__csv_next_line(csv);
    }
    return 0;
}

/* The rest of a field whose opening quote is at `at`; it may go over lines. */
static af_status af__csv_quoted(af__csv *csv, af__field *field) {
    size_t line = csv->line;
    field->quoted = 1;
    field->start = ++csv->at;
    for (; csv->at < csv->end; csv->at++) {
        if (*csv->at == '\n') csv->line++;
        if (*csv->at != '"') continue;
        if (csv->at + 1 == csv->end || csv->at[1] != '"') break;
        csv->at++;
    }
    if (csv->at == csv->end)
        return af__fail(csv->context, AF_ERROR_FORMAT, "'%s', line %zu: a quote is never closed",
                        af__shown_path(csv->path), line);
    field->end = csv->at++;
    return AF_OK;
}

/* Takes the next field of a row that has `more`, and what separates it from the one after. */
static af_status af__csv_field(af__csv *csv, af__field *field) {
    char separator = csv->separator;
    af__csv_skip_blanks(csv);
    if (csv->at < csv->end && *csv->at == '"') {
        af_status status = af__csv_quoted(csv, field);
        if (status != AF_OK) return status;
    } else {
        const char *p = csv->at;
        field->quoted = 0;
        field->start = p;
        while (p < csv->end && *p != separator && !af__csv_ends(*p) &&
               (*p != '\t' || separator != ' '))
            p++;
        csv->at = field->end = p;
        while (field->end > field->start && af__csv_blank(csv, field->end[-1])) field->end--;
    }
    af__csv_skip_blanks(csv);
    if (csv->at == csv->end || af__csv_ends(*csv->at)) {
        csv->more = 0;
        af__csv_next_line(csv);
    } else if (*csv->at == separator) {
        csv->at++;
    } else if (field->quoted && separator != ' ') {
        return af__fail(csv->context, AF_ERROR_FORMAT, "'%s', line %zu: text after a closing quote",
                        af__shown_path(csv->path), csv->line);
    }
    return AF_OK;
}

/* The separator of the line at `at`: a comma before a tab before a semicolon before blanks. */
static char af__csv_separator(const af__csv *csv) {
    int tab = 0, semicolon = 0, quoted = 0;
    const char *p;
    for (p = csv->at; p < csv->end && (quoted || !af__csv_ends(*p)); p++) {
        if (*p == '"') quoted = !quoted;
        if (quoted) continue;
        if (*p == ',') return ',';
        tab |= *p == '\t' && p > csv->at; /* a line may be indented */
        semicolon |= *p == ';';
    }
    return semicolon ? ';' : tab ? '\t' : ' ';
}

static char *af__field_text(af__arena *arena, const af__field *field) {
    char *text = AF__ARRAY(arena, char, (size_t)(field->end - field->start) + 1);
    const char *p;
    size_t n = 0;
    for (p = field->start; text && p < field->end; p++) {
        if (field->quoted && *p == '"') p++;
        text[n++] = *p;
    }
    return text;
}

/* What the header says, in an arena that is freed after reading. */
typedef struct af__csv_header {
    af__arena *arena;
    const char **names; /* growing */
    int numbers;        /* every field is a number: not a header */
} af__csv_header;

static af_status af__csv_names(af__csv *csv, af__csv_header *header) {
    header->names = NULL;
    header->numbers = 1;
    while (csv->more) {
        af__field field;
        const char *name;
        double value;
        af_status status = af__csv_field(csv, &field);
        if (status != AF_OK) return status;
        header->numbers &= !field.quoted &&
                           af__number_read(field.start, field.end, &value) == AF__NUMBER_FINE;
        name = af__field_text(header->arena, &field);
        if (!name || !AF__PUSH(header->arena, header->names, name))
            return af__fail_memory(csv->context, "the names of columns");
    }
    return AF_OK;
}

/* The names of the columns stand in the comment before the first row, which stays to be read. */
static af_status af__csv_comment_names(af__csv *csv, const af__csv *row, af__csv_header *header) {
    size_t fields = AF__LENGTH(header->names);
    af__csv comment = *row;
    af_status status = AF_OK;
    comment.at = row->comment;
    comment.end = row->comment_end;
    if (comment.at) status = af__csv_names(&comment, header);
    if (status != AF_OK) return status;
    *csv = *row;
    if (comment.at && !header->numbers && AF__LENGTH(header->names) == fields) return AF_OK;
    return af__fail(csv->context, AF_ERROR_FORMAT,
                    "'%s', line %zu: numbers where the names of the columns should be; put a "
                    "header line above",
                    af__shown_path(csv->path), row->row_line);
}

static af_status af__csv_header_read(af__csv *csv, af__csv_header *header) {
    af__csv row;
    af_status status;
    if (csv->end - csv->at >= 3 && memcmp(csv->at, "\xEF\xBB\xBF", 3) == 0) csv->at += 3;
    if (csv->end - csv->at >= 2 &&
        (memcmp(csv->at, "\xFF\xFE", 2) == 0 || memcmp(csv->at, "\xFE\xFF", 2) == 0))
        return af__fail(csv->context, AF_ERROR_FORMAT, "'%s' is UTF-16 text; save it as UTF-8",
                        af__shown_path(csv->path));
    if (!af__csv_row(csv))
        return af__fail(csv->context, AF_ERROR_FORMAT,
                        "'%s' is empty; a header line and rows of numbers are needed",
                        af__shown_path(csv->path));
    csv->separator = af__csv_separator(csv);
    row = *csv;
    status = af__csv_names(csv, header);
    if (status == AF_OK && header->numbers) status = af__csv_comment_names(csv, &row, header);
    return status;
}

/* Reports a column that is not there, with those that are. */
static af_status af__csv_no_column(const af__csv *csv, const char *const *names, const char *name) {
    char list[256];
    size_t i, used = 0;
    list[0] = 0;
    for (i = 0; i < AF__LENGTH(names) && used < sizeof list; i++) {
        int n = snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used >= sizeof list) memcpy(list + sizeof list - 4, "...", 4);
    return af__fail(csv->context, AF_ERROR_FORMAT, "'%s' has no column '%.60s'; its columns are %s",
                    af__shown_path(csv->path), name, list);
}

/* Finds the field of a name, which must be there once; in other capitals only where they may be. */
static af_status af__csv_find(const af__csv *csv, const char *const *names, const char *name,
                              int any_capitals, size_t *field) {
    size_t i, found = 0;
    int strict;
    for (strict = 1; strict >= !any_capitals && found == 0; strict--)
        for (i = 0; i < AF__LENGTH(names); i++) {
            if (!(strict ? strcmp(names[i], name) == 0 : af__same_name(names[i], name))) continue;
            *field = i;
            found++;
        }
    if (found == 1) return AF_OK;
    if (found == 0) return af__csv_no_column(csv, names, name);
    return af__fail(csv->context, AF_ERROR_FORMAT,
                    "'%s' has %zu columns '%.60s'; rename all but one",
                    af__shown_path(csv->path), found, name);
}

/* Rows the rest can hold: one a line end, and each at least as long as its separators. */
static size_t af__csv_most_rows(const af__csv *csv, size_t fields) {
    size_t lines = 1, length = (size_t)(csv->end - csv->at);
    const char *p;
    for (p = csv->at; p < csv->end; p++) if (af__csv_ends(*p)) lines++;
    return lines < length / fields + 1 ? lines : length / fields + 1;
}

/* The target of each field: a column's values, NULL for a field nobody wants. */
typedef struct af__targets {
    af_table *table;
    double **values;
    const char *const *names;
    size_t fields;
    int allow_missing;
} af__targets;

static af_status af__csv_targets(const af__csv *csv, const af_table_desc *desc,
                                 af__csv_header *header, af__targets *targets) {
    const char *const *wanted = desc->columns ? desc->columns : header->names;
    size_t i, field = 0, count = desc->columns ? desc->column_count : AF__LENGTH(header->names);
    size_t rows;
    targets->names = header->names;
    targets->fields = AF__LENGTH(header->names);
    targets->allow_missing = desc->allow_missing;
    targets->values = AF__ARRAY(header->arena, double *, targets->fields);
    if (!targets->values) return af__fail_memory(csv->context, "the columns of a table");
    rows = af__csv_most_rows(csv, targets->fields);
    for (i = 0; i < count; i++) {
        af_status status = af__csv_find(csv, header->names, wanted[i], desc->any_capitals,
                                        &field);
        if (status != AF_OK) return status;
        if (targets->values[field])
            return af__fail(csv->context, AF_ERROR_ARGUMENT, "column '%.100s' is asked for twice",
                            wanted[i]);
        targets->values[field] = af__table_push(targets->table, wanted[i], rows);
        if (!targets->values[field])
            return af__fail(csv->context, AF_ERROR_MEMORY,
                            "out of memory: %zu columns of %zu rows for '%s'", count, rows,
                            af__shown_path(csv->path));
    }
    return AF_OK;
}

/* Reports a field that is not a finite number. */
static af_status af__csv_bad_value(const af__csv *csv, const af__field *field, const char *name,
                                   af__number_kind kind) {
    static const char *const wrong[] = {"", "empty", "NaN", "infinite", "too large for a double"};
    char shown[AF__SHOWN];
    size_t length = (size_t)(field->end - field->start);
    if (kind == AF__NUMBER_BAD)
        return af__fail(csv->context, AF_ERROR_FORMAT,
                        "'%s', line %zu, column '%.60s': '%s' is not a number%s",
                        af__shown_path(csv->path), csv->row_line, name,
                        af__shown_text(field->start, field->end, shown),
                        memchr(field->start, ',', length) ? "; write a decimal point" : "");
    return af__fail(csv->context, AF_ERROR_DATA,
                    "'%s', line %zu, column '%.60s': the value is %s; leave such rows out",
                    af__shown_path(csv->path), csv->row_line, name, wrong[kind]);
}

static af_status af__csv_row_length(const af__csv *csv, size_t found, size_t wanted) {
    return af__fail(csv->context, AF_ERROR_FORMAT,
                    "'%s', line %zu: %s%zu fields where the header has %zu",
                    af__shown_path(csv->path), csv->row_line, found > wanted ? "more than " : "",
                    found > wanted ? wanted : found, wanted);
}

static af_status af__csv_values(af__csv *csv, const af__targets *targets, size_t row) {
    af__field field = AF__ZERO;
    size_t i;
    for (i = 0; csv->more && i < targets->fields; i++) {
        af__number_kind kind;
        double value = 0.0;
        af_status status = af__csv_field(csv, &field);
        if (status != AF_OK) return status;
        if (!targets->values[i]) continue;
        kind = af__number_read(field.start, field.end, &value);
        if (kind == AF__NUMBER_EMPTY) value = af__number_of_bits(0x7FF8000000000000u); /* NaN */
        if (kind == AF__NUMBER_BAD || kind == AF__NUMBER_LARGE ||
            (kind != AF__NUMBER_FINE && !targets->allow_missing))
            return af__csv_bad_value(csv, &field, targets->names[i], kind);
        targets->values[i][row] = value;
    }
    if (i < targets->fields) return af__csv_row_length(csv, i, targets->fields);
    if (csv->more) return af__csv_row_length(csv, i + 1, targets->fields);
    return AF_OK;
}

static af_status af__csv_read(af__csv *csv, const af_table_desc *desc, af__arena *scratch,
                              af_table *table) {
    af__csv_header header = AF__ZERO;
    af__targets targets = AF__ZERO;
    af_status status;
    header.arena = scratch;
    targets.table = table;
    status = af__csv_header_read(csv, &header);
    if (status == AF_OK) status = af__csv_targets(csv, desc, &header, &targets);
    while (status == AF_OK && af__csv_row(csv))
        status = af__csv_values(csv, &targets, table->rows++);
    if (status == AF_OK && table->rows == 0)
        return af__fail(csv->context, AF_ERROR_FORMAT, "'%s' has a header but no rows",
                        af__shown_path(csv->path));
    return status;
}

AF_API af_status af_table_read(af_context *context, const char *path, const af_table_desc *desc,
                               af_table **out) {
    af_table_desc d = AF__ZERO;
    af__arena scratch = AF__ZERO;
    af__csv csv = AF__ZERO;
    char *bytes = NULL;
    size_t count = 0;
    af_table *table;
    af_status status;
    *out = NULL;
    if (desc) d = *desc;
    if (d.start_canary != 0 || d.end_canary != 0)
        return af__fail(context, AF_ERROR_ARGUMENT, "af_table_desc was not set to zero first");
    status = af_table_create(context, &table);
    if (status != AF_OK) return status;
    scratch.allocator = context->allocator;
    status = af__file_read(context, &scratch, path, &bytes, &count);
    if (status == AF_OK) {
        csv.context = context;
        csv.path = path;
        csv.at = bytes;
        csv.end = bytes + count;
        csv.line = 1;
        status = af__csv_read(&csv, &d, &scratch, table);
    }
    af__arena_free(&scratch);
    if (status == AF_OK) *out = table;
    else af_table_destroy(table);
    return status;
}
