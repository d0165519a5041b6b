/* ---- learn: tables of numbers as text (CSV, ECSV) ----------------------------------------------
 *
 * A header line with the names of the columns, then one line a row. Fields are separated by commas,
 * tabs, semicolons or blanks; the header tells which. Lines that begin with # are comments (so ECSV
 * is read too), blank lines are skipped, fields may stand in double quotes. Where the first line
 * holds only numbers, the last comment before it names the columns (numpy.savetxt). Numbers have a
 * decimal point whatever the locale; 1d5 is read as 1e5. */

/* Zero means default for every field. The canaries must stay zero. */
typedef struct af_table_desc {
    uint32_t start_canary;
    const char *const *columns; /* names wanted; others may hold anything. NULL: all columns */
    size_t column_count;
    int allow_missing; /* 1: an empty field, null or -- becomes NaN, nan and inf are taken; 0: an
                        * error */
    int any_capitals;  /* 1: where a column that is wanted is not there, its name in other capitals
                        * is looked for */
    uint32_t end_canary;
} af_table_desc;

/* Columns of doubles of equal length. */
typedef struct af_table af_table;

/* Creates a table without columns; destroy it before the context. Fails with AF_ERROR_MEMORY, *out
 * NULL. */
AF_API af_status af_table_create(af_context *context, af_table **out);

/* Frees the table with its columns. NULL is fine. */
AF_API void af_table_destroy(af_table *table);

/* Copies a column into the table: data[0], data[stride], ..., `rows` of them. All columns have the
 * same rows (AF_ERROR_SHAPE); the name is not empty and new (AF_ERROR_ARGUMENT). */
AF_API af_status af_table_add(af_table *table, const char *name, size_t rows, const double *data,
                              size_t stride);

/* Adds a comment to be written above the header, each line of it behind a #. */
AF_API af_status af_table_comment(af_table *table, const char *text);

AF_API size_t af_table_rows(const af_table *table);
AF_API size_t af_table_columns(const af_table *table);

/* The name of the i-th column, in the order of the desc, of the file or of adding; NULL beyond. */
AF_API const char *af_table_name(const af_table *table, size_t i);

/* The values of a column, rows of them, which belong to the table; NULL when there is no such
 * column. */
AF_API const double *af_table_column(const af_table *table, const char *name);

/* Copies columns side by side: out (rows,count) row-major. AF_ERROR_ARGUMENT when one is not there.
 */
AF_API af_status af_table_gather(const af_table *table, const char *const *names, size_t count,
                                 double *out);

/* Writes the table with commas and 17 digits. An older file is replaced as by af_tensors_write.
 * AF_ERROR_ARGUMENT for a table without columns, AF_ERROR_IO, AF_ERROR_MEMORY. */
AF_API af_status af_table_write(const af_table *table, const char *path);

/* Reads a table; desc NULL means all columns. AF_ERROR_IO when the file cannot be read,
 * AF_ERROR_FORMAT when it is not such a table (the sentence names line and column), AF_ERROR_DATA
 * for a missing value, NaN or infinity, AF_ERROR_ARGUMENT for a canary that is not zero,
 * AF_ERROR_MEMORY; *out is NULL then. */
AF_API af_status af_table_read(af_context *context, const char *path, const af_table_desc *desc,
                               af_table **out);
