/* Fuzzing of the readers of files. By libFuzzer, or over given files, or a fixed number of random
 * changes to small valid files (what `make test` does):
 *
 *     clang -g -O1 -Isrc -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER tests/fuzz_io.c \
 *         -o fuzz_io -lm && mkdir -p corpus && ./fuzz_io -max_len=4096 -max_total_time=60 corpus
 *     cc -std=c99 -Isrc -Itests tests/fuzz_io.c -o fuzz_io -lm && ./fuzz_io        20000 changes
 *     ./fuzz_io N        N changes
 *     ./fuzz_io FILE...  replays files that libFuzzer found
 *
 * The first byte of an input chooses the reader, the rest is the file. Beyond not crashing: a
 * reader that fails leaves a sentence and no object, a set of tensors that is read can be written
 * and read again with the same contents, numbers equal strtod's, and no memory is lost. */
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUZZ_READERS = 6, FUZZ_NUMBER = 5 };

static long fuzz_live; /* allocations not yet released */

/* Refuses what only a damaged size asks for, so that a run stays small. */
static void *fuzz_allocate(size_t bytes, void *user) {
    void *memory = bytes > ((size_t)1 << 28) ? NULL : malloc(bytes);
    (void)user;
    if (memory) fuzz_live++;
    return memory;
}

static void fuzz_release(void *pointer, size_t bytes, void *user) {
    (void)bytes;
    (void)user;
    if (pointer) fuzz_live--;
    free(pointer);
}

#define REQUIRE(condition)                                                       \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                             \
        }                                                                        \
    } while (0)

/* The bytes as the file a reader has loaded, in memory of their exact size. */
static char *fuzz_load(af__arena *arena, const uint8_t *bytes, size_t count) {
    char *copy = AF__ARRAY(arena, char, count + 1);
    REQUIRE(copy);
    if (count > 0) memcpy(copy, bytes, count);
    return copy;
}

/* Reads every byte, so that the sanitiser sees a pointer that leads nowhere. */
static void fuzz_touch(const void *data, size_t bytes) {
    const volatile unsigned char *p = (const volatile unsigned char *)data;
    size_t i;
    for (i = 0; i < bytes; i++) (void)p[i];
}

static af_status fuzz_tensors_parse(af_context *context, const uint8_t *bytes, size_t count,
                                    af_tensors **out) {
    af_tensors *set;
    af_status status;
    REQUIRE(af_tensors_create(context, &set) == AF_OK);
    set->path = "fuzz";
    status = af__tensors_parse(set, fuzz_load(&set->arena, bytes, count), count);
    if (status == AF_OK) *out = set;
    else af_tensors_destroy(set);
    return status;
}

/* What was read, as its own writer would write it, is read to the same. */
static void fuzz_tensors_again(af_context *context, const af_tensors *set) {
    size_t i, data = 0, length, n = af_tensors_count(set);
    af__text header = AF__ZERO;
    af_tensors *again = NULL;
    uint8_t *file;
    header.arena.allocator = context->allocator;
    REQUIRE(af__header_write(&header, set) && af__text_length(&header) % 8 == 0);
    length = af__text_length(&header);
    for (i = 0; i < n; i++) data += set->tensors[i].count * af__dtype_bytes(set->tensors[i].dtype);
    file = AF__ARRAY(&header.arena, uint8_t, length + data);
    REQUIRE(file);
    memcpy(file, header.bytes, length);
    REQUIRE(fuzz_tensors_parse(context, file, length + data, &again) == AF_OK);
    REQUIRE(af_tensors_count(again) == n);
    for (i = 0; i < n; i++) {
        const af_tensor *t = af_tensors_find(again, set->tensors[i].name);
        REQUIRE(t && t->count == set->tensors[i].count && t->rank == set->tensors[i].rank);
    }
    for (i = 0; af_tensors_key(set, i); i++)
        REQUIRE(strcmp(af_tensors_text(again, af_tensors_key(set, i)), set->texts[i].text) == 0);
    af_tensors_destroy(again);
    af__arena_free(&header.arena);
}

static af_status fuzz_tensors(af_context *context, const uint8_t *bytes, size_t count) {
    af_tensors *set = NULL;
    af_status status = fuzz_tensors_parse(context, bytes, count, &set);
    size_t i;
    if (status != AF_OK) return status;
    for (i = 0; i < af_tensors_count(set); i++) {
        const af_tensor *t = af_tensors_at(set, i);
        fuzz_touch(t->data, t->count * af__dtype_bytes(t->dtype));
    }
    fuzz_tensors_again(context, set);
    af_tensors_destroy(set);
    return AF_OK;
}

static af_status fuzz_npy_parse(af_context *context, const uint8_t *bytes, size_t count,
                                af_array **out) {
    af__arena arena = AF__ZERO;
    af__npy npy = AF__ZERO;
    const char *data = NULL;
    af_status status;
    char *file;
    arena.allocator = context->allocator;
    file = fuzz_load(&arena, bytes, count);
    npy.context = context;
    npy.path = "fuzz";
    status = af__npy_header(&npy, file, count, &data);
    if (status == AF_OK) status = af__npy_body(&npy, data, count - (size_t)(data - file), out);
    REQUIRE((status == AF_OK) == (*out != NULL));
    af__arena_free(&arena);
    return status;
}

static af_status fuzz_npy(af_context *context, const uint8_t *bytes, size_t count) {
    af_array *array = NULL;
    af_status status = fuzz_npy_parse(context, bytes, count, &array);
    if (array) fuzz_touch(array->data, array->count * sizeof(double));
    af_array_destroy(array);
    return status;
}

static af_status fuzz_table(af_context *context, const uint8_t *bytes, size_t count) {
    af__arena arena = AF__ZERO;
    af_table_desc desc = AF__ZERO;
    af__csv csv = AF__ZERO;
    af_table *table;
    af_status status;
    size_t i;
    arena.allocator = context->allocator;
    REQUIRE(af_table_create(context, &table) == AF_OK);
    csv.context = context;
    csv.path = "fuzz";
    csv.at = fuzz_load(&arena, bytes, count);
    csv.end = csv.at + count;
    csv.line = 1;
    desc.allow_missing = count > 0 && bytes[count - 1] == ' ';
    status = af__csv_read(&csv, &desc, &arena, table);
    for (i = 0; status == AF_OK && i < af_table_columns(table); i++)
        fuzz_touch(table->columns[i].values, af_table_rows(table) * sizeof(double));
    af_table_destroy(table);
    af__arena_free(&arena);
    return status;
}

/* Trajectories are of two samples or more, with finite numbers and rising times. */
static void fuzz_trajectories(af_trajectories *t) {
    size_t o, i, total = 0;
    for (o = 0; o < af_trajectories_orbits(t); o++) {
        size_t samples = af_trajectories_samples(t, o);
        const double *time = af_trajectories_time(t, o), *qp = af_trajectories_qp(t, o);
        REQUIRE(samples >= 2);
        for (i = 0; i < samples; i++) REQUIRE(af__is_finite(time[i]));
        for (i = 1; i < samples; i++) REQUIRE(time[i] > time[i - 1]);
        for (i = 0; i < samples * 2 * af_trajectories_freedoms(t); i++)
            REQUIRE(af__is_finite(qp[i]));
        total += samples;
    }
    REQUIRE(total == af_trajectories_total(t));
    af_trajectories_destroy(t);
}

/* A last byte of ' ' gives the time between samples, ';' the names of coordinates. */
static af_status fuzz_trajectory_table(af_context *context, const uint8_t *bytes, size_t count) {
    static const char *const names[2] = {"x", "y"};
    af_trajectories_desc desc = AF__ZERO;
    af__arena arena = AF__ZERO;
    af__csv csv = AF__ZERO;
    af_trajectories *t = NULL;
    af_status status;
    arena.allocator = context->allocator;
    csv.context = context;
    csv.path = "fuzz";
    csv.at = fuzz_load(&arena, bytes, count);
    csv.end = csv.at + count;
    csv.line = 1;
    if (count > 0 && bytes[count - 1] == ' ') desc.interval = 0.5;
    if (count > 0 && bytes[count - 1] == ';') {
        desc.columns = names;
        desc.column_count = 2;
    }
    status = af__trajectory_text(&csv, &arena, &desc, &t);
    REQUIRE((status == AF_OK) == (t != NULL));
    if (t) fuzz_trajectories(t);
    af__arena_free(&arena);
    return status;
}

/* The first byte tells whether there is a time between samples. */
static af_status fuzz_trajectory_npy(af_context *context, const uint8_t *bytes, size_t count) {
    af__trajectory_source from = AF__ZERO;
    double interval = count > 0 && bytes[0] == ' ' ? 0.5 : 0.0;
    af_trajectories *t = NULL;
    af_array *array = NULL;
    af_status status = fuzz_npy_parse(context, bytes + (count > 0), count - (count > 0), &array);
    if (status != AF_OK) return status;
    from.context = context;
    from.path = "fuzz";
    status = af__trajectory_array(&from, array, interval, &t);
    REQUIRE((status == AF_OK) == (t != NULL));
    if (t) fuzz_trajectories(t);
    af_array_destroy(array);
    return status;
}

/* Text as one number: equal to what strtod makes of it. */
static af_status fuzz_number(const uint8_t *bytes, size_t count) {
    char text[64];
    double value = 0.0;
    af__number_kind kind;
    if (count >= sizeof text) return AF_ERROR_FORMAT;
    if (count > 0) memcpy(text, bytes, count);
    text[count] = 0;
    kind = af__number_read(text, text + count, &value);
    if (kind == AF__NUMBER_FINE && !strpbrk(text, "dD")) {
        double wanted = strtod(text, NULL);
        REQUIRE(memcmp(&value, &wanted, sizeof value) == 0);
    }
    return AF_OK;
}

#ifdef __cplusplus
extern "C"
#endif
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    af_context_desc desc = AF__ZERO;
    af_context *context;
    af_status status;
    if (count == 0) return 0;
    desc.allocator.allocate = fuzz_allocate;
    desc.allocator.release = fuzz_release;
    REQUIRE(af_context_create(&desc, &context) == AF_OK);
    switch (bytes[0] % FUZZ_READERS) {
        case 0: status = fuzz_tensors(context, bytes + 1, count - 1); break;
        case 1: status = fuzz_npy(context, bytes + 1, count - 1); break;
        case 2: status = fuzz_table(context, bytes + 1, count - 1); break;
        case 3: status = fuzz_trajectory_table(context, bytes + 1, count - 1); break;
        case 4: status = fuzz_trajectory_npy(context, bytes + 1, count - 1); break;
        default: status = fuzz_number(bytes + 1, count - 1); break;
    }
    REQUIRE(status == AF_OK || bytes[0] % FUZZ_READERS == FUZZ_NUMBER || af_error(context)[0] != 0);
    af_context_destroy(context);
    REQUIRE(fuzz_live == 0);
    return 0;
}

#ifndef FUZZ_LIBFUZZER

enum { FUZZ_ROOM = 1024 };

typedef struct fuzz_input {
    uint8_t bytes[FUZZ_ROOM];
    size_t count;
} fuzz_input;

static void fuzz_append(fuzz_input *input, const void *bytes, size_t count) {
    REQUIRE(input->count + count <= FUZZ_ROOM);
    memcpy(input->bytes + input->count, bytes, count);
    input->count += count;
}

/* Valid arrays, the last two for trajectories: with times, and with the time between samples and
 * padding; their count. */
static int fuzz_seed_npy(int i, fuzz_input *input) {
    static const char *const reader[] = {"\1", "\4-", "\4 "};
    static const char *const header[] = {
        "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 2, 3), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n"};
    static const char *const data[] = {
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "\0\1\2\1\3\4\0\5\6\1\7\10",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"};
    static const size_t bytes[] = {16, 12, 24};
    uint8_t length[2] = {0};
    if (i >= 0 && i < 3) {
        length[0] = (uint8_t)strlen(header[i]);
        fuzz_append(input, reader[i], strlen(reader[i]));
        fuzz_append(input, "\x93NUMPY\1\0", 8);
        fuzz_append(input, length, 2);
        fuzz_append(input, header[i], length[0]);
        fuzz_append(input, data[i], bytes[i]);
    }
    return 3;
}

/* Valid files to start from; their count. */
static int fuzz_seed(int i, fuzz_input *input) {
    static const char tensors[] =
        "{\"__metadata__\":{\"unit\":\"km\\/s \\u00e9\",\"seed\":\"7\"},\"w\":{\"dtype\":\"F64\","
        "\"shape\":[1,2],\"data_offsets\":[0,16]},\"b\":{\"dtype\":\"U8\",\"shape\":[3],"
        "\"data_offsets\":[16,19]}}";
    static const char *const texts[] = {
        "\2x,y\n1,2\n3,-4.5e1\n", "\2# %ECSV 1.0\nx y\n1 2\n", "\2x\t\"a\"\"b\"\n1\t\"2\"\n",
        "\2# x y\n1 2\n\n# c\n3 nan ", "\5-12.5e-7", "\5" "1.7976931348623157e308",
        "\5" "9007199254740993", "\5nan",
        "\3orbit,t,q,p\n1,0,2,3\n1,1,4,5\n7,0,1,2\n7,.5,2,3\n", "\3q p\n1 2\n3 4\n5 6 ",
        "\3n;y;t;x\na;1;2;3\nb;4;5;6\n#;"};
    static const uint8_t zeros[24] = {0};
    uint8_t length[8] = {0};
    int arrays;
    input->count = 0;
    arrays = fuzz_seed_npy(i - 1, input);
    if (i == 0) {
        length[0] = (uint8_t)strlen(tensors);
        fuzz_append(input, "\0", 1);
        fuzz_append(input, length, 8);
        fuzz_append(input, tensors, strlen(tensors));
        fuzz_append(input, zeros, 19);
    } else if (i > arrays) {
        fuzz_append(input, texts[i - 1 - arrays], strlen(texts[i - 1 - arrays]));
    }
    return 1 + arrays + (int)(sizeof texts / sizeof texts[0]);
}

/* The k-th random number below n of change i. */
static size_t fuzz_random(uint64_t i, uint64_t *k, size_t n) {
    size_t value = (size_t)(af_random_uniform(2024, i, (*k)++) * (double)n);
    return value < n ? value : n - 1;
}

/* One to four changes: a byte set, a bit flipped, bytes cut out, repeated, or the end cut off. The
 * first byte, which chooses the reader, stays. */
static void fuzz_change(uint64_t i, fuzz_input *input) {
    static const char alphabet[] = "\"\\{}[],:.0123456789eE+-\n\r\t ;#'()<>|ufibdx\0\x80\xC3\xFF";
    uint64_t k = 0;
    size_t changes = 1 + fuzz_random(i, &k, 4);
    for (; changes > 0 && input->count > 2; changes--) {
        size_t kind = fuzz_random(i, &k, 6), at = 1 + fuzz_random(i, &k, input->count - 1);
        size_t length = 1 + fuzz_random(i, &k, 16), rest = input->count - at;
        if (length > rest) length = rest;
        if (kind < 2) {
            input->bytes[at] = (uint8_t)alphabet[fuzz_random(i, &k, sizeof alphabet)];
        } else if (kind == 2) {
            input->bytes[at] ^= (uint8_t)(1u << fuzz_random(i, &k, 8));
        } else if (kind == 3) {
            memmove(input->bytes + at, input->bytes + at + length, rest - length);
            input->count -= length;
        } else if (kind == 4 && input->count + length <= FUZZ_ROOM) {
            memmove(input->bytes + at + length, input->bytes + at, rest);
            input->count += length;
        } else if (kind == 5) {
            input->count = at;
        }
    }
}

static int fuzz_replay(const char *path) {
    static uint8_t bytes[1 << 20];
    size_t count;
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "cannot open %s\n", path);
        return 0;
    }
    count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, count);
    return 1;
}

int main(int argc, char **argv) {
    long i, n = 20000;
    int seeds, passed = 0;
    fuzz_input input;
    if (argc > 1 && strspn(argv[1], "0123456789") != strlen(argv[1])) {
        for (i = 1; i < argc; i++) passed += fuzz_replay(argv[i]);
        printf("%d passed, %d failed\n", passed, argc - 1 - passed);
        return passed != argc - 1;
    }
    if (argc > 1) n = strtol(argv[1], NULL, 10);
    seeds = fuzz_seed(0, &input);
    for (i = 0; i < n; i++) {
        fuzz_seed((int)(i % seeds), &input);
        if (i >= seeds) fuzz_change((uint64_t)i, &input); /* each is run unchanged once */
        LLVMFuzzerTestOneInput(input.bytes, input.count);
    }
    printf("1 passed, 0 failed\n"); /* a failure aborts */
    return 0;
}

#endif
