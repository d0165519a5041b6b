/* ---- learn: named arrays in a safetensors file ----------------------------------------------- */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct af__text_pair {
    const char *key;
    const char *text;
} af__text_pair;

struct af_tensors {
    af_context *context;
    af__arena arena;
    const char *path;     /* of the file it was read from, NULL for one made by hand */
    af_tensor *tensors;   /* growing */
    af__text_pair *texts; /* growing */
};

static const char af__metadata_key[] = "__metadata__";

static size_t af__dtype_bytes(af_dtype dtype) {
    static const size_t bytes[] = {8, 4, 8, 1};
    return bytes[dtype];
}

static const char *af__dtype_name(af_dtype dtype) {
    static const char *const names[] = {"F64", "F32", "I64", "U8"};
    return names[dtype];
}

/* Multiplies dims[0..rank) into *count; 0 when count * size does not fit in memory. */
static int af__count_elements(int rank, const size_t *dims, size_t size, size_t *count) {
    size_t limit = SIZE_MAX / 4 / size;
    int i;
    *count = 1;
    for (i = 0; i < rank; i++)
        if (dims[i] == 0) *count = 0;
    for (i = 0; i < rank && *count > 0; i++) {
        if (dims[i] > limit / *count) return 0;
        *count *= dims[i];
    }
    return 1;
}

/* "(3,4)" */
static const char *af__shape_text(int rank, const size_t *dims, char text[AF_FILE_RANK * 24]) {
    size_t n = 1;
    int i;
    strcpy(text, "()");
    for (i = 0; i < rank; i++)
        n += (size_t)snprintf(text + n, 24, "%zu%c", dims[i],
                              i + 1 < rank ? ',' : ')');
    return text;
}

/* Bytes of the well-formed UTF-8 character at p, 0 when it is not one (or a zero byte). */
static size_t af__utf8_length(const char *text, const char *end) {
    const unsigned char *p = (const unsigned char *)text;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    size_t i;
    if (n == 0 || p[0] == 0 || p[0] > 0xF4 || (size_t)(end - text) < n) return 0;
    for (i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if (p[0] == 0xE0 && p[1] < 0xA0) return 0; /* longer than need be */
    if (p[0] == 0xED && p[1] > 0x9F) return 0; /* half of a UTF-16 pair */
    if (p[0] == 0xF0 && p[1] < 0x90) return 0;
    if (p[0] == 0xF4 && p[1] > 0x8F) return 0; /* beyond U+10FFFF */
    return n;
}

static int af__is_utf8(const char *text) {
    const char *end = text + strlen(text);
    while (text < end) {
        size_t n = af__utf8_length(text, end);
        if (n == 0) return 0;
        text += n;
    }
    return 1;
}

/* ---- the set in memory */

AF_API af_status af_tensors_create(af_context *context, af_tensors **out) {
    af__arena arena = AF__ZERO;
    af_tensors *tensors;
    arena.allocator = context->allocator;
    tensors = AF__NEW(&arena, af_tensors);
    *out = tensors;
    if (!tensors) return af__fail_memory(context, "a set of tensors");
    tensors->context = context;
    tensors->arena = arena;
    return AF_OK;
}

AF_API void af_tensors_destroy(af_tensors *tensors) {
    af__arena arena;
    if (!tensors) return;
    arena = tensors->arena; /* the set lies in its own arena */
    af__arena_free(&arena);
}

AF_API size_t af_tensors_count(const af_tensors *tensors) {
    return AF__LENGTH(tensors->tensors);
}

AF_API const af_tensor *af_tensors_at(const af_tensors *tensors, size_t i) {
    return i < AF__LENGTH(tensors->tensors) ? &tensors->tensors[i] : NULL;
}

AF_API const af_tensor *af_tensors_find(const af_tensors *tensors, const char *name) {
    size_t i, n = AF__LENGTH(tensors->tensors);
    for (i = 0; i < n; i++)
        if (strcmp(tensors->tensors[i].name, name) == 0) return &tensors->tensors[i];
    return NULL;
}

static af_status af__tensors_check_new(const af_tensors *tensors, const char *name, int rank) {
    af_context *context = tensors->context;
    if (!name || !*name || strcmp(name, af__metadata_key) == 0 || !af__is_utf8(name))
        return af__fail(context, AF_ERROR_ARGUMENT,
                        "the name of a tensor must be UTF-8, not empty and not '%s'",
                        af__metadata_key);
    if (af_tensors_find(tensors, name))
        return af__fail(context, AF_ERROR_ARGUMENT, "there is a tensor '%.100s' already", name);
    if (rank < 0 || rank > AF_FILE_RANK)
        return af__fail(context, AF_ERROR_SHAPE,
                        "tensor '%.100s' has %d axes; 0 to %d can be stored", name, rank,
                        (int)AF_FILE_RANK);
    return AF_OK;
}

AF_API af_status af_tensors_add(af_tensors *tensors, const char *name, af_dtype dtype, int rank,
                                const size_t *dims, const void *data) {
    af_tensor tensor = AF__ZERO;
    af_status status = af__tensors_check_new(tensors, name, rank);
    void *copy;
    if (status != AF_OK) return status;
    if (!af__count_elements(rank, dims, af__dtype_bytes(dtype), &tensor.count))
        return af__fail_memory(tensors->context, "the size of a tensor overflows");
    tensor.name = af__arena_text(&tensors->arena, name);
    tensor.dtype = dtype;
    tensor.rank = rank;
    if (rank > 0) memcpy(tensor.dims, dims, (size_t)rank * sizeof *dims);
    copy = af__arena_alloc(&tensors->arena, tensor.count, af__dtype_bytes(dtype));
    tensor.data = copy;
    if (!tensor.name || !copy || !AF__PUSH(&tensors->arena, tensors->tensors, tensor))
        return af__fail_memory(tensors->context, "a copy of a tensor");
    if (tensor.count > 0) memcpy(copy, data, tensor.count * af__dtype_bytes(dtype));
    return AF_OK;
}

/* Where the set comes from, for sentences. */
static const char *af__tensors_source(const af_tensors *tensors) {
    return tensors->path ? af__shown_path(tensors->path) : "the set of tensors";
}

AF_API af_status af_tensors_get(const af_tensors *tensors, const char *name, int rank,
                                const size_t *dims, double *out) {
    const af_tensor *tensor = af_tensors_find(tensors, name);
    const char *source = af__tensors_source(tensors);
    char found[AF_FILE_RANK * 24], wanted[AF_FILE_RANK * 24];
    size_t i;
    if (!tensor)
        return af__fail(tensors->context, AF_ERROR_FORMAT, "'%s' has no tensor '%.100s'", source,
                        name);
    if (tensor->dtype != AF_DTYPE_F64 && tensor->dtype != AF_DTYPE_F32)
        return af__fail(tensors->context, AF_ERROR_FORMAT,
                        "'%s': tensor '%.100s' holds %s, not F64 or F32", source, name,
                        af__dtype_name(tensor->dtype));
    if (rank != tensor->rank ||
        (rank > 0 && memcmp(dims, tensor->dims, (size_t)rank * sizeof *dims) != 0))
        return af__fail(tensors->context, AF_ERROR_SHAPE,
                        "'%s': tensor '%.100s' has shape %.80s, wanted is %.80s", source, name,
                        af__shape_text(tensor->rank, tensor->dims, found),
                        rank >= 0 && rank <= AF_FILE_RANK ? af__shape_text(rank, dims, wanted)
                                                          : "one of another rank");
    for (i = 0; i < tensor->count; i++)
        out[i] = tensor->dtype == AF_DTYPE_F64 ? ((const double *)tensor->data)[i]
                                               : (double)((const float *)tensor->data)[i];
    return AF_OK;
}

static af__text_pair *af__tensors_pair(const af_tensors *tensors, const char *key) {
    size_t i, n = AF__LENGTH(tensors->texts);
    for (i = 0; i < n; i++)
        if (strcmp(tensors->texts[i].key, key) == 0) return &tensors->texts[i];
    return NULL;
}

AF_API af_status af_tensors_set_text(af_tensors *tensors, const char *key, const char *text) {
    af__text_pair *old, pair;
    if (!key || !text || !af__is_utf8(key) || !af__is_utf8(text))
        return af__fail(tensors->context, AF_ERROR_ARGUMENT,
                        "a key and its text in a set of tensors must be UTF-8");
    old = af__tensors_pair(tensors, key);
    pair.key = old ? old->key : af__arena_text(&tensors->arena, key);
    pair.text = af__arena_text(&tensors->arena, text);
    if (!pair.key || !pair.text) return af__fail_memory(tensors->context, "a text");
    if (old) *old = pair;
    else if (!AF__PUSH(&tensors->arena, tensors->texts, pair))
        return af__fail_memory(tensors->context, "a text");
    return AF_OK;
}

AF_API const char *af_tensors_text(const af_tensors *tensors, const char *key) {
    const af__text_pair *pair = af__tensors_pair(tensors, key);
    return pair ? pair->text : NULL;
}

AF_API const char *af_tensors_key(const af_tensors *tensors, size_t i) {
    return i < AF__LENGTH(tensors->texts) ? tensors->texts[i].key : NULL;
}

AF_API af_status af_tensors_set_number(af_tensors *tensors, const char *key, double value) {
    char text[AF__NUMBER_TEXT];
    af__number_write(value, text);
    return af_tensors_set_text(tensors, key, text);
}

AF_API af_status af_tensors_set_whole(af_tensors *tensors, const char *key, uint64_t value) {
    char text[AF__NUMBER_TEXT];
    return af_tensors_set_text(tensors, key, af__whole_write(value, text));
}

/* The text of a key that must be there. */
static const char *af__tensors_need(const af_tensors *tensors, const char *key) {
    const char *text = af_tensors_text(tensors, key);
    if (!text)
        af__fail(tensors->context, AF_ERROR_FORMAT, "'%s' has no text '%.100s'",
                 af__tensors_source(tensors), key);
    return text;
}

static af_status af__tensors_not_a(const af_tensors *tensors, const char *key, const char *what) {
    return af__fail(tensors->context, AF_ERROR_FORMAT, "'%s': the text '%.100s' is '%.40s', not %s",
                    af__tensors_source(tensors), key, af_tensors_text(tensors, key), what);
}

AF_API af_status af_tensors_number(const af_tensors *tensors, const char *key, double *out) {
    const char *text = af__tensors_need(tensors, key);
    af__number_kind kind;
    double value = 0.0;
    if (!text) return AF_ERROR_FORMAT;
    kind = af__number_read(text, text + strlen(text), &value);
    if (kind != AF__NUMBER_FINE && kind != AF__NUMBER_NAN && kind != AF__NUMBER_INFINITE)
        return af__tensors_not_a(tensors, key, "a number");
    *out = value;
    return AF_OK;
}

AF_API af_status af_tensors_whole(const af_tensors *tensors, const char *key, uint64_t *out) {
    const char *text = af__tensors_need(tensors, key), *end;
    uint64_t value;
    if (!text) return AF_ERROR_FORMAT;
    end = text + strlen(text);
    if (af__whole_scan(text, end, UINT64_MAX, &value) != end)
        return af__tensors_not_a(tensors, key, "a whole number below 2^64");
    *out = value;
    return AF_OK;
}

/* ---- writing */

/* Text that grows; the first failure leaves `full` set. */
typedef struct af__text {
    af__arena arena;
    char *bytes;
    int full;
} af__text;

static void af__text_put(af__text *text, const char *bytes, size_t count) {
    if (text->full || !AF__RESERVE(&text->arena, text->bytes, count)) {
        text->full = 1;
        return;
    }
    if (count == 0) return;
    memcpy(text->bytes + AF__LENGTH(text->bytes), bytes, count);
    stbds_header(text->bytes)->length += count;
}

static size_t af__text_length(const af__text *text) { return AF__LENGTH(text->bytes); }

static void af__text_add(af__text *text, const char *more) {
    af__text_put(text, more, strlen(more));
}

/* A JSON string; UTF-8 goes through as it is. */
static void af__text_json(af__text *text, const char *p) {
    char escape[8];
    af__text_add(text, "\"");
    for (; *p; p++) {
        if ((unsigned char)*p < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(unsigned char)*p);
            af__text_add(text, escape);
        } else {
            if (*p == '"' || *p == '\\') af__text_add(text, "\\");
            af__text_put(text, p, 1);
        }
    }
    af__text_add(text, "\"");
}

static int af__compare_pairs(const void *a, const void *b) {
    return strcmp(((const af__text_pair *)a)->key, ((const af__text_pair *)b)->key);
}

/* A tensor and where its data go, from the start of the data. */
typedef struct af__placed {
    const af_tensor *tensor;
    size_t begin, end;
} af__placed;

static int af__compare_names(const void *a, const void *b) {
    return strcmp(((const af__placed *)a)->tensor->name, ((const af__placed *)b)->tensor->name);
}

/* Wide elements first, so that every array is aligned in the file. */
static int af__compare_placing(const void *a, const void *b) {
    size_t wide_a = af__dtype_bytes(((const af__placed *)a)->tensor->dtype);
    size_t wide_b = af__dtype_bytes(((const af__placed *)b)->tensor->dtype);
    if (wide_a != wide_b) return wide_a < wide_b ? 1 : -1;
    return af__compare_names(a, b);
}

static void af__place(const af_tensors *tensors, af__placed *placed, size_t n) {
    size_t i, offset = 0;
    for (i = 0; i < n; i++) placed[i].tensor = &tensors->tensors[i];
    qsort(placed, n, sizeof *placed, af__compare_placing);
    for (i = 0; i < n; i++) {
        const af_tensor *tensor = placed[i].tensor;
        placed[i].begin = offset;
        offset += tensor->count * af__dtype_bytes(tensor->dtype);
        placed[i].end = offset;
    }
}

static void af__header_texts(af__text *text, const af_tensors *tensors) {
    size_t i, n = AF__LENGTH(tensors->texts);
    af__text_pair *pairs = AF__ARRAY(&text->arena, af__text_pair, n);
    if (!pairs) text->full = 1;
    if (!pairs || n == 0) return;
    memcpy(pairs, tensors->texts, n * sizeof *pairs);
    qsort(pairs, n, sizeof *pairs, af__compare_pairs);
    af__text_json(text, af__metadata_key);
    for (i = 0; i < n; i++) {
        af__text_add(text, i == 0 ? ":{" : ",");
        af__text_json(text, pairs[i].key);
        af__text_add(text, ":");
        af__text_json(text, pairs[i].text);
    }
    af__text_add(text, "}");
}

static void af__header_tensor(af__text *text, const af__placed *placed) {
    const af_tensor *tensor = placed->tensor;
    char number[AF__NUMBER_TEXT];
    int i;
    af__text_json(text, tensor->name);
    af__text_add(text, ":{\"dtype\":\"");
    af__text_add(text, af__dtype_name(tensor->dtype));
    af__text_add(text, "\",\"shape\":[");
    for (i = 0; i < tensor->rank; i++) {
        if (i > 0) af__text_add(text, ",");
        af__text_add(text, af__whole_write(tensor->dims[i], number));
    }
    af__text_add(text, "],\"data_offsets\":[");
    af__text_add(text, af__whole_write(placed->begin, number));
    af__text_add(text, ",");
    af__text_add(text, af__whole_write(placed->end, number));
    af__text_add(text, "]}");
}

/* Makes the header: 8 bytes of length, then JSON padded with spaces to a multiple of 8. Returns the
 * tensors in the order of their data, NULL when memory is out. */
static const af__placed *af__header_write(af__text *text, const af_tensors *tensors) {
    size_t i, n = AF__LENGTH(tensors->tensors);
    af__placed *placed = AF__ARRAY(&text->arena, af__placed, n);
    if (!placed) return NULL;
    af__place(tensors, placed, n);
    qsort(placed, n, sizeof *placed, af__compare_names);
    af__text_put(text, "\0\0\0\0\0\0\0\0{", 9);
    af__header_texts(text, tensors);
    for (i = 0; i < n; i++) {
        if (i > 0 || AF__LENGTH(tensors->texts) > 0) af__text_add(text, ",");
        af__header_tensor(text, &placed[i]);
    }
    af__text_add(text, "}");
    while (af__text_length(text) % 8 != 0 && !text->full) af__text_add(text, " ");
    if (text->full) return NULL;
    for (i = 0; i < 8; i++)
        text->bytes[i] = (char)((uint64_t)(af__text_length(text) - 8) >> (8 * i));
    qsort(placed, n, sizeof *placed, af__compare_placing);
    return placed;
}

static af_status af__tensors_write(const af_tensors *tensors, const char *path, af__text *header) {
    const af__placed *placed = af__header_write(header, tensors);
    af__writer writer;
    af_status status;
    size_t i;
    if (!placed) return af__fail_memory(tensors->context, "the header of a safetensors file");
    status = af__writer_open(&writer, tensors->context, path);
    if (status != AF_OK) return status;
    af__writer_put(&writer, header->bytes, af__text_length(header));
    for (i = 0; i < AF__LENGTH(tensors->tensors); i++)
        af__writer_elements(&writer, placed[i].tensor->data, placed[i].tensor->count,
                            af__dtype_bytes(placed[i].tensor->dtype));
    return af__writer_close(&writer);
}

AF_API af_status af_tensors_write(const af_tensors *tensors, const char *path) {
    af__text header = AF__ZERO;
    af_status status;
    header.arena.allocator = tensors->context->allocator;
    status = af__tensors_write(tensors, path, &header);
    af__arena_free(&header.arena);
    return status;
}

/* ---- reading: a strict scanner for the one shape of JSON a header may have */

/* `wrong` is the first complaint and `at` its place; after it every function does nothing. */
typedef struct af__json {
    af__arena *arena;
    const char *start, *at, *end;
    const char *wrong;
    int full; /* memory is out */
} af__json;

static int af__json_fail(af__json *json, const char *wrong) {
    if (!json->wrong) json->wrong = wrong;
    return 0;
}

static const char *af__json_full(af__json *json) {
    json->full = 1;
    return "memory is out";
}

static char af__json_peek(af__json *json) {
    while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at) json->at++;
    return json->at < json->end ? *json->at : 0;
}

/* Takes the character if it is next. */
static int af__json_take(af__json *json, char c) {
    if (json->wrong || af__json_peek(json) != c) return 0;
    json->at++;
    return 1;
}

static int af__json_need(af__json *json, char c, const char *wrong) {
    return af__json_take(json, c) || af__json_fail(json, wrong);
}

static int af__json_hex(af__json *json, uint32_t *code) {
    int i;
    *code = 0;
    if (json->end - json->at < 4) return af__json_fail(json, "a \\u escape has four digits");
    for (i = 0; i < 4; i++, json->at++) {
        char c = *json->at;
        int digit = af__is_digit(c)          ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return af__json_fail(json, "a \\u escape has four hexadecimal digits");
        *code = *code << 4 | (uint32_t)digit;
    }
    return 1;
}

/* The character of a \u escape, whose u has been taken; two escapes make one beyond U+FFFF. */
static int af__json_code(af__json *json, uint32_t *code) {
    uint32_t low;
    if (!af__json_hex(json, code)) return 0;
    if (*code == 0) return af__json_fail(json, "a zero character in a text");
    if (*code < 0xD800 || *code > 0xDFFF) return 1;
    if (*code > 0xDBFF || json->end - json->at < 6 || json->at[0] != '\\' || json->at[1] != 'u')
        return af__json_fail(json, "half of a pair of \\u escapes");
    json->at += 2;
    if (!af__json_hex(json, &low)) return 0;
    if (low < 0xDC00 || low > 0xDFFF)
        return af__json_fail(json, "half of a pair of \\u escapes");
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return 1;
}

static char *af__utf8_put(char *out, uint32_t code) {
    int shift = code < 0x80 ? 0 : code < 0x800 ? 6 : code < 0x10000 ? 12 : 18;
    static const unsigned char lead[] = {0x00, 0xC0, 0xE0, 0xF0};
    *out++ = (char)(lead[shift / 6] | code >> shift);
    for (shift -= 6; shift >= 0; shift -= 6) *out++ = (char)(0x80 | ((code >> shift) & 0x3F));
    return out;
}

/* The escape after a backslash, written to *out. */
static int af__json_escape(af__json *json, char **out) {
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *found;
    uint32_t code;
    char c = json->at < json->end ? *json->at++ : 0;
    if (c == 'u') {
        if (!af__json_code(json, &code)) return 0;
        *out = af__utf8_put(*out, code);
        return 1;
    }
    found = c ? strchr(letters, c) : NULL;
    if (!found) return af__json_fail(json, "an unknown escape in a text");
    *(*out)++ = meant[found - letters];
    return 1;
}

/* Bytes up to the closing quote, at least what the text needs once its escapes are resolved. */
static size_t af__json_extent(const af__json *json) {
    const char *p = json->at;
    for (; p < json->end && *p != '"'; p++)
        if (*p == '\\' && p + 1 < json->end) p++;
    return (size_t)(p - json->at);
}

static const char *af__json_no_text(af__json *json, const char *wrong) {
    af__json_fail(json, wrong);
    return NULL;
}

static const char *af__json_string(af__json *json) {
    char *text, *out;
    if (!af__json_need(json, '"', "a text in quotes is missing")) return NULL;
    text = AF__ARRAY(json->arena, char, af__json_extent(json) + 1);
    if (!text) return af__json_no_text(json, af__json_full(json));
    for (out = text; json->at < json->end && *json->at != '"';) {
        size_t n = af__utf8_length(json->at, json->end);
        if (*json->at == '\\') {
            json->at++;
            if (!af__json_escape(json, &out)) return NULL;
            continue;
        }
        if (n == 0 || (unsigned char)*json->at < 0x20)
            return af__json_no_text(json, "a text is not UTF-8");
        memcpy(out, json->at, n);
        out += n;
        json->at += n;
    }
    *out = 0;
    return af__json_need(json, '"', "a text does not end") ? text : NULL;
}

static int af__json_whole(af__json *json, size_t *value) {
    uint64_t whole = 0;
    const char *next;
    af__json_peek(json);
    next = json->wrong ? NULL : af__whole_scan(json->at, json->end, SIZE_MAX / 4, &whole);
    if (!next) return af__json_fail(json, "a whole number that fits in memory is missing");
    json->at = next;
    *value = (size_t)whole;
    return 1;
}

/* [a, b, ...] with at most `room` numbers; the count or -1. */
static int af__json_wholes(af__json *json, size_t *values, int room) {
    int n = 0;
    if (!af__json_need(json, '[', "a list of numbers is missing")) return -1;
    if (af__json_take(json, ']')) return 0;
    do {
        if (n == room) return af__json_fail(json, "a list of numbers is too long") - 1;
        if (!af__json_whole(json, &values[n++])) return -1;
    } while (af__json_take(json, ','));
    return af__json_need(json, ']', "a list of numbers does not end") ? n : -1;
}

static int af__json_dtype(af__json *json, af_dtype *dtype) {
    const char *name = af__json_string(json);
    int i;
    for (i = 0; name && i <= AF_DTYPE_U8; i++) {
        if (strcmp(name, af__dtype_name((af_dtype)i)) != 0) continue;
        *dtype = (af_dtype)i;
        return 1;
    }
    return af__json_fail(json, "a type other than F64, F32, I64 and U8; convert it to one");
}

enum { AF__SEEN_DTYPE = 1, AF__SEEN_SHAPE = 2, AF__SEEN_OFFSETS = 4, AF__SEEN_ALL = 7 };

/* One member of a tensor's object; its bit in *seen. */
static int af__json_member(af__json *json, af_tensor *tensor, size_t offsets[2], int *seen) {
    const char *key = af__json_string(json);
    int bit;
    if (!key || !af__json_need(json, ':', "a colon is missing")) return 0;
    bit = strcmp(key, "dtype") == 0          ? AF__SEEN_DTYPE
          : strcmp(key, "shape") == 0        ? AF__SEEN_SHAPE
          : strcmp(key, "data_offsets") == 0 ? AF__SEEN_OFFSETS
                                             : 0;
    if (bit == 0 || (*seen & bit)) return af__json_fail(json, "a key is unknown or comes twice");
    *seen |= bit;
    if (bit == AF__SEEN_DTYPE) return af__json_dtype(json, &tensor->dtype);
    if (bit == AF__SEEN_SHAPE) {
        tensor->rank = af__json_wholes(json, tensor->dims, AF_FILE_RANK);
        return tensor->rank >= 0;
    }
    if (af__json_wholes(json, offsets, 2) == 2) return 1;
    return af__json_fail(json, "data_offsets has two numbers");
}

/* {"dtype":...,"shape":...,"data_offsets":...} */
static int af__json_tensor(af__json *json, af_tensor *tensor, size_t offsets[2]) {
    int seen = 0;
    if (!af__json_need(json, '{', "a tensor's description is missing")) return 0;
    do {
        if (!af__json_member(json, tensor, offsets, &seen)) return 0;
    } while (af__json_take(json, ','));
    if (!af__json_need(json, '}', "a tensor's description does not end")) return 0;
    if (seen != AF__SEEN_ALL) return af__json_fail(json, "dtype, shape or data_offsets is missing");
    if (!af__count_elements(tensor->rank, tensor->dims, af__dtype_bytes(tensor->dtype),
                            &tensor->count))
        return af__json_fail(json, "a shape does not fit in memory");
    if (offsets[0] > offsets[1] ||
        offsets[1] - offsets[0] != tensor->count * af__dtype_bytes(tensor->dtype))
        return af__json_fail(json, "data_offsets and shape disagree");
    return 1;
}

/* {"key":"text",...} */
static int af__json_texts(af__json *json, af_tensors *tensors) {
    if (!af__json_need(json, '{', "__metadata__ is not a map")) return 0;
    if (af__json_take(json, '}')) return 1;
    do {
        af__text_pair pair;
        pair.key = af__json_string(json);
        af__json_need(json, ':', "a colon is missing");
        pair.text = af__json_string(json);
        if (json->wrong) return 0;
        if (!AF__PUSH(json->arena, tensors->texts, pair))
            return af__json_fail(json, af__json_full(json));
    } while (af__json_take(json, ','));
    return af__json_need(json, '}', "__metadata__ does not end");
}

/* What a header says; `placed[i]` belongs to tensors->tensors[i]. */
typedef struct af__header {
    af__json json;
    const char *entry;  /* the name of the tensor being read */
    af__placed *placed; /* growing */
    int has_texts;
} af__header;

static int af__header_entry(af__header *header, af_tensors *tensors) {
    af__json *json = &header->json;
    af_tensor tensor = AF__ZERO;
    af__placed placed = AF__ZERO;
    size_t offsets[2] = {0, 0};
    tensor.name = af__json_string(json);
    header->entry = tensor.name ? tensor.name : "";
    if (!tensor.name || !af__json_need(json, ':', "a colon is missing")) return 0;
    if (strcmp(tensor.name, af__metadata_key) == 0) {
        if (header->has_texts++) return af__json_fail(json, "__metadata__ comes twice");
        return af__json_texts(json, tensors);
    }
    if (!af__json_tensor(json, &tensor, offsets)) return 0;
    placed.begin = offsets[0];
    placed.end = offsets[1];
    if (AF__PUSH(json->arena, tensors->tensors, tensor) &&
        AF__PUSH(json->arena, header->placed, placed))
        return 1;
    return af__json_fail(json, af__json_full(json));
}

static int af__header_read(af__header *header, af_tensors *tensors) {
    af__json *json = &header->json;
    if (json->at == json->end || *json->at != '{')
        return af__json_fail(json, "it does not begin with {");
    json->at++;
    if (!af__json_take(json, '}')) {
        do {
            if (!af__header_entry(header, tensors)) return 0;
        } while (af__json_take(json, ','));
        if (!af__json_need(json, '}', "it does not end with }")) return 0;
    }
    while (json->at < json->end && *json->at == ' ') json->at++;
    if (json->at < json->end) return af__json_fail(json, "something follows the last }");
    return 1;
}

static int af__compare_begins(const void *a, const void *b) {
    const af__placed *p = (const af__placed *)a, *q = (const af__placed *)b;
    if (p->begin != q->begin) return p->begin < q->begin ? -1 : 1;
    if (p->end != q->end) return p->end < q->end ? -1 : 1;
    return 0;
}

static af_status af__tensors_damaged(const af_tensors *tensors, const char *wrong) {
    return af__fail(tensors->context, AF_ERROR_FORMAT,
                    "'%s' is not a safetensors file, or a damaged one: %s",
                    af__shown_path(tensors->path), wrong);
}

/* The arrays must cover the data exactly: no overlap, no hole, nothing left. */
static af_status af__check_placing(const af_tensors *tensors, af__placed *placed, size_t bytes) {
    size_t i, n = AF__LENGTH(placed), offset = 0;
    if (n > 1) qsort(placed, n, sizeof *placed, af__compare_begins);
    for (i = 0; i < n; i++) {
        if (placed[i].begin != offset)
            return af__tensors_damaged(tensors, "its tensors overlap or leave a gap");
        offset = placed[i].end;
    }
    if (offset == bytes) return AF_OK;
    return af__fail(tensors->context, AF_ERROR_FORMAT,
                    "'%s' is %s: its header promises %zu bytes of data, %zu follow",
                    af__shown_path(tensors->path), offset > bytes ? "truncated" : "damaged",
                    offset, bytes);
}

static af_status af__check_twice(const af_tensors *tensors, const af__placed *placed,
                                 const af__text_pair *pairs) {
    size_t i;
    for (i = 1; i < AF__LENGTH(placed); i++)
        if (strcmp(placed[i - 1].tensor->name, placed[i].tensor->name) == 0)
            return af__tensors_damaged(tensors, "two tensors have the same name");
    for (i = 1; i < AF__LENGTH(pairs); i++)
        if (strcmp(pairs[i - 1].key, pairs[i].key) == 0)
            return af__tensors_damaged(tensors, "two texts have the same key");
    return AF_OK;
}

/* Points the tensors into the file, or to a copy where the file does not align them. */
static af_status af__attach(af_tensors *tensors, const af__placed *placed, char *data) {
    size_t i;
    for (i = 0; i < AF__LENGTH(placed); i++) {
        af_tensor *tensor = &tensors->tensors[placed[i].tensor - tensors->tensors];
        size_t size = af__dtype_bytes(tensor->dtype);
        char *bytes = data + placed[i].begin;
        if ((uintptr_t)bytes % size != 0) {
            bytes = (char *)af__arena_alloc(&tensors->arena, tensor->count, size);
            if (!bytes) return af__fail_memory(tensors->context, "tensors of a file");
            memcpy(bytes, data + placed[i].begin, tensor->count * size);
        }
        if (!af__host_is_little()) af__swap_bytes(bytes, tensor->count, size);
        tensor->data = bytes;
    }
    return AF_OK;
}

static af_status af__tensors_check(af_tensors *tensors, af__placed *placed, char *data,
                                   size_t bytes) {
    size_t i, n = AF__LENGTH(placed), texts = AF__LENGTH(tensors->texts);
    af_status status;
    for (i = 0; i < n; i++) placed[i].tensor = &tensors->tensors[i];
    status = af__check_placing(tensors, placed, bytes);
    if (status == AF_OK) status = af__attach(tensors, placed, data);
    if (status != AF_OK) return status;
    if (n > 1) qsort(placed, n, sizeof *placed, af__compare_names);
    if (texts > 1) qsort(tensors->texts, texts, sizeof *tensors->texts, af__compare_pairs);
    return af__check_twice(tensors, placed, tensors->texts);
}

/* The file's bytes, which lie in the set's arena, become the set. */
static af_status af__tensors_parse(af_tensors *tensors, char *bytes, size_t count) {
    af__header header = AF__ZERO;
    uint64_t length = 0;
    int i;
    if (count < 8) return af__tensors_damaged(tensors, "it is shorter than 8 bytes");
    for (i = 7; i >= 0; i--) length = length << 8 | (unsigned char)bytes[i];
    if (length > count - 8) return af__tensors_damaged(tensors, "its header goes beyond its end");
    header.entry = "";
    header.json.arena = &tensors->arena;
    header.json.start = header.json.at = bytes + 8;
    header.json.end = bytes + 8 + length;
    if (!af__header_read(&header, tensors)) {
        if (header.json.full) return af__fail_memory(tensors->context, "the header of a file");
        return af__fail(tensors->context, AF_ERROR_FORMAT,
                        "'%s' is not a safetensors file, or a damaged one: byte %zu of its header, "
                        "at '%.60s': %s",
                        af__shown_path(tensors->path),
                        (size_t)(header.json.at - header.json.start), header.entry,
                        header.json.wrong);
    }
    return af__tensors_check(tensors, header.placed, bytes + 8 + length,
                             count - 8 - (size_t)length);
}

AF_API af_status af_tensors_read(af_context *context, const char *path, af_tensors **out) {
    af_tensors *tensors;
    char *bytes = NULL;
    size_t count = 0;
    af_status status = af_tensors_create(context, &tensors);
    *out = NULL;
    if (status != AF_OK) return status;
    status = af__file_read(context, &tensors->arena, path, &bytes, &count);
    if (status == AF_OK) {
        tensors->path = af__arena_text(&tensors->arena, path);
        status = tensors->path ? af__tensors_parse(tensors, bytes, count)
                               : af__fail_memory(context, "the name of a file");
    }
    if (status != AF_OK) {
        af_tensors_destroy(tensors);
        return status;
    }
    *out = tensors;
    return AF_OK;
}
