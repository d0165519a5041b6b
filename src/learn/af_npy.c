/* ---- learn: one array in an NPY file --------------------------------------------------------- */

#include <stdio.h>
#include <string.h>

typedef struct af__array_owner {
    af_array array; /* first: the user's pointer is the owner's */
    af__arena arena;
} af__array_owner;

/* Six bytes of magic, two of the version. */
static const char af__npy_magic[] = "\x93NUMPY";
enum { AF__NPY_MAGIC = 6, AF__NPY_PROLOGUE = 10 };

/* What the header of a file says. */
typedef struct af__npy {
    af_context *context;
    const char *path;
    const char *at, *end; /* the rest of the header */
    char kind;            /* f, i, u or b */
    size_t size;          /* bytes of an element */
    int big;              /* the most significant byte comes first */
    int fortran;
    int rank;
    size_t dims[AF_FILE_RANK];
    size_t count;
} af__npy;

AF_API void af_array_destroy(af_array *array) {
    af__arena arena;
    if (!array) return;
    arena = ((af__array_owner *)array)->arena; /* the owner lies in its own arena */
    af__arena_free(&arena);
}

static af_status af__npy_damaged(af__npy *npy, const char *wrong) {
    return af__fail(npy->context, AF_ERROR_FORMAT,
                    "'%s' is not an NPY file, or a damaged one: %s; write it with numpy.save",
                    af__shown_path(npy->path), wrong);
}

/* Takes the character, blanks before it left out, if it is next. */
static int af__npy_take(af__npy *npy, char c) {
    while (npy->at < npy->end && (*npy->at == ' ' || *npy->at == '\n')) npy->at++;
    if (npy->at == npy->end || *npy->at != c) return 0;
    npy->at++;
    return 1;
}

/* Takes a text in single or double quotes without escapes; its bytes are [*text, *text_end). */
static int af__npy_text(af__npy *npy, const char **text, const char **text_end) {
    char quote = af__npy_take(npy, '\'') ? '\'' : af__npy_take(npy, '"') ? '"' : 0;
    if (!quote) return 0;
    *text = npy->at;
    while (npy->at < npy->end && *npy->at != quote) npy->at++;
    *text_end = npy->at;
    return af__npy_take(npy, quote);
}

static int af__npy_word(af__npy *npy, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(npy->end - npy->at) < n || memcmp(npy->at, word, n) != 0) return 0;
    npy->at += n;
    return 1;
}

/* '<f8' and its like */
static af_status af__npy_descr(af__npy *npy) {
    const char *p, *end;
    char shown[AF__SHOWN];
    int known;
    if (!af__npy_text(npy, &p, &end))
        return af__fail(npy->context, AF_ERROR_FORMAT,
                        "'%s' holds a structured array (or no type); save each column by itself",
                        af__shown_path(npy->path));
    known = end - p == 3 && memchr("<>|=", p[0], 4) && memchr("fiub", p[1], 4) &&
            memchr("1248", p[2], 4);
    if (known) {
        npy->kind = p[1];
        npy->size = (size_t)(p[2] - '0');
        npy->big = p[0] == '>' || (p[0] == '=' && !af__host_is_little());
        known = npy->kind == 'f' ? npy->size >= 4 : npy->kind != 'b' || npy->size == 1;
    }
    if (known) return AF_OK;
    return af__fail(npy->context, AF_ERROR_FORMAT,
                    "'%s' holds elements of type '%s'%s; convert with array.astype('float64') "
                    "before numpy.save",
                    af__shown_path(npy->path), af__shown_text(p, end, shown),
                    end - p >= 2 && p[1] == 'O' ? " (Python objects)" : "");
}

/* (), (5,) or (3, 4) */
static af_status af__npy_shape(af__npy *npy) {
    uint64_t whole = 0;
    const char *next;
    if (!af__npy_take(npy, '(')) return af__npy_damaged(npy, "its shape is not a tuple");
    while (!af__npy_take(npy, ')')) {
        if (npy->rank == AF_FILE_RANK)
            return af__fail(npy->context, AF_ERROR_FORMAT,
                            "'%s' has more than %d axes; reshape the array first",
                            af__shown_path(npy->path), (int)AF_FILE_RANK);
        next = af__whole_scan(npy->at, npy->end, SIZE_MAX / 4, &whole);
        if (!next) return af__npy_damaged(npy, "its shape is not made of sizes that fit in memory");
        npy->dims[npy->rank++] = (size_t)whole;
        npy->at = next;
        if (!af__npy_take(npy, ',') && (npy->at == npy->end || *npy->at != ')'))
            return af__npy_damaged(npy, "its shape is not a tuple");
        while (npy->at < npy->end && *npy->at == ' ') npy->at++;
    }
    return AF_OK;
}

static af_status af__npy_order(af__npy *npy) {
    while (npy->at < npy->end && *npy->at == ' ') npy->at++;
    npy->fortran = af__npy_word(npy, "True");
    if (npy->fortran || af__npy_word(npy, "False")) return AF_OK;
    return af__npy_damaged(npy, "fortran_order is neither True nor False");
}

/* One entry of the dictionary; its bit in *seen. */
static af_status af__npy_entry(af__npy *npy, int *seen) {
    const char *key, *end;
    int bit;
    if (!af__npy_text(npy, &key, &end) || !af__npy_take(npy, ':'))
        return af__npy_damaged(npy, "its header is not a Python dictionary");
    bit = af__same_word(key, end, "descr")           ? 1
          : af__same_word(key, end, "fortran_order") ? 2
          : af__same_word(key, end, "shape")         ? 4
                                                     : 0;
    if (bit == 0 || (*seen & bit))
        return af__npy_damaged(npy, "its header has an unknown key or one twice");
    *seen |= bit;
    return bit == 1 ? af__npy_descr(npy) : bit == 2 ? af__npy_order(npy) : af__npy_shape(npy);
}

/* {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), } */
static af_status af__npy_dictionary(af__npy *npy) {
    int seen = 0;
    if (!af__npy_take(npy, '{'))
        return af__npy_damaged(npy, "its header is not a Python dictionary");
    while (!af__npy_take(npy, '}')) {
        af_status status = af__npy_entry(npy, &seen);
        if (status != AF_OK) return status;
        if (af__npy_take(npy, ',')) continue;
        if (!af__npy_take(npy, '}')) return af__npy_damaged(npy, "its header does not end");
        break;
    }
    af__npy_take(npy, ' '); /* the padding */
    if (npy->at < npy->end) return af__npy_damaged(npy, "something follows its header");
    if (seen != 7) return af__npy_damaged(npy, "its header lacks descr, fortran_order or shape");
    if (!af__count_elements(npy->rank, npy->dims, sizeof(double), &npy->count))
        return af__npy_damaged(npy, "its shape does not fit in memory");
    return AF_OK;
}

/* Reads magic, version and header; the data are *data and what follows. */
static af_status af__npy_header(af__npy *npy, const char *bytes, size_t count, const char **data) {
    const unsigned char *p = (const unsigned char *)bytes;
    size_t prologue = AF__NPY_PROLOGUE, length;
    if (count < AF__NPY_PROLOGUE || memcmp(bytes, af__npy_magic, AF__NPY_MAGIC) != 0)
        return af__npy_damaged(npy, "it does not begin with \\x93NUMPY");
    if (p[6] < 1 || p[6] > 3)
        return af__fail(npy->context, AF_ERROR_FORMAT,
                        "'%s' is of NPY format version %d.%d; 1 to 3 can be read",
                        af__shown_path(npy->path), p[6], p[7]);
    length = p[8] | (size_t)p[9] << 8;
    if (p[6] > 1) { /* four bytes of length in place of two */
        prologue += 2;
        if (count < prologue) return af__npy_damaged(npy, "it ends within its header");
        length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    }
    if (length > count - prologue) return af__npy_damaged(npy, "it ends within its header");
    npy->at = bytes + prologue;
    npy->end = *data = npy->at + length;
    return af__npy_dictionary(npy);
}

/* One element of any type and byte order. */
static double af__npy_element(const af__npy *npy, const char *data) {
    const unsigned char *p = (const unsigned char *)data;
    uint64_t bits = 0, sign = (uint64_t)1 << (8 * npy->size - 1);
    uint32_t narrow;
    float single;
    size_t i;
    for (i = 0; i < npy->size; i++) bits = bits << 8 | p[npy->big ? i : npy->size - 1 - i];
    if (npy->kind == 'b') return bits != 0;
    if (npy->kind == 'u') return (double)bits;
    if (npy->kind == 'f' && npy->size == 8) return af__number_of_bits(bits);
    if (npy->kind == 'f') {
        narrow = (uint32_t)bits;
        memcpy(&single, &narrow, sizeof single);
        return (double)single;
    }
    /* two's complement: below zero by the distance to 2^(8 size) */
    return bits & sign ? -(double)((sign - (bits & (sign - 1)))) : (double)bits;
}

/* Goes through the file in its order; index is the element's, row-major. */
static void af__npy_convert(const af__npy *npy, const char *data, double *out) {
    size_t index[AF_FILE_RANK] = {0}, step[AF_FILE_RANK], i, at = 0;
    int k;
    for (k = npy->rank - 1; k >= 0; k--)
        step[k] = k == npy->rank - 1 ? 1 : step[k + 1] * npy->dims[k + 1];
    for (i = 0; i < npy->count; i++, data += npy->size) {
        out[npy->fortran ? at : i] = af__npy_element(npy, data);
        for (k = 0; npy->fortran && k < npy->rank; k++) { /* the first index runs fastest */
            at += step[k];
            if (++index[k] < npy->dims[k]) break;
            at -= step[k] * npy->dims[k];
            index[k] = 0;
        }
    }
}

static af_status af__npy_body(af__npy *npy, const char *data, size_t bytes, af_array **out) {
    af__arena arena = AF__ZERO;
    af__array_owner *owner;
    size_t wanted = npy->count * npy->size;
    if (bytes != wanted)
        return af__fail(npy->context, AF_ERROR_FORMAT,
                        "'%s' is %s: its header promises %zu bytes of data, %zu follow; write it "
                        "again with one numpy.save",
                        af__shown_path(npy->path), bytes < wanted ? "truncated" : "too long",
                        wanted, bytes);
    arena.allocator = npy->context->allocator;
    owner = AF__NEW(&arena, af__array_owner);
    if (owner) owner->array.data = AF__ARRAY(&arena, double, npy->count);
    if (!owner || !owner->array.data) {
        af__arena_free(&arena);
        return af__fail(npy->context, AF_ERROR_MEMORY, "out of memory: %zu doubles of '%s'",
                        npy->count, af__shown_path(npy->path));
    }
    owner->arena = arena;
    owner->array.rank = npy->rank;
    owner->array.count = npy->count;
    memcpy(owner->array.dims, npy->dims, sizeof npy->dims);
    af__npy_convert(npy, data, owner->array.data);
    *out = &owner->array;
    return AF_OK;
}

AF_API af_status af_npy_read(af_context *context, const char *path, af_array **out) {
    af__arena scratch = AF__ZERO;
    af__npy npy = AF__ZERO;
    const char *data = NULL;
    char *bytes = NULL;
    size_t count = 0;
    af_status status;
    *out = NULL;
    npy.context = context;
    npy.path = path;
    scratch.allocator = context->allocator;
    status = af__file_read(context, &scratch, path, &bytes, &count);
    if (status == AF_OK) status = af__npy_header(&npy, bytes, count, &data);
    if (status == AF_OK)
        status = af__npy_body(&npy, data, count - (size_t)(data - bytes), out);
    af__arena_free(&scratch);
    return status;
}

/* The header, padded with spaces so that the data begin at a multiple of 64; returns its length. */
static size_t af__npy_prologue(int rank, const size_t *dims, char text[512]) {
    char number[AF__NUMBER_TEXT];
    size_t length, whole;
    int i;
    memcpy(text, "\x93NUMPY\x01\x00\x00\x00", AF__NPY_PROLOGUE);
    strcpy(text + AF__NPY_PROLOGUE, "{'descr': '<f8', 'fortran_order': False, 'shape': (");
    for (i = 0; i < rank; i++) {
        strcat(text + AF__NPY_PROLOGUE, af__whole_write(dims[i], number));
        strcat(text + AF__NPY_PROLOGUE, i + 1 < rank ? ", " : rank == 1 ? "," : "");
    }
    strcat(text + AF__NPY_PROLOGUE, "), }");
    length = AF__NPY_PROLOGUE + strlen(text + AF__NPY_PROLOGUE);
    whole = af__round_up(length + 1, 64);
    memset(text + length, ' ', whole - length);
    text[whole - 1] = '\n';
    text[8] = (char)((whole - AF__NPY_PROLOGUE) & 0xFF);
    text[9] = (char)((whole - AF__NPY_PROLOGUE) >> 8);
    return whole;
}

AF_API af_status af_npy_write(af_context *context, const char *path, int rank, const size_t *dims,
                              const double *data) {
    char header[512]; /* 61 letters and 8 sizes of 22 fit */
    af__writer writer;
    size_t count;
    af_status status;
    if (rank < 0 || rank > AF_FILE_RANK)
        return af__fail(context, AF_ERROR_SHAPE, "an array of %d axes; 0 to %d can be written",
                        rank, (int)AF_FILE_RANK);
    if (!af__count_elements(rank, dims, sizeof *data, &count))
        return af__fail_memory(context, "the size of an array overflows");
    status = af__writer_open(&writer, context, path);
    if (status != AF_OK) return status;
    af__writer_put(&writer, header, af__npy_prologue(rank, dims, header));
    af__writer_elements(&writer, data, count, sizeof *data);
    return af__writer_close(&writer);
}
