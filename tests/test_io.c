/* Files: numbers as text, atomic writing, safetensors, NPY, tables. */
#include "actionfinder.in.h"
#include "af_test.h"
#include "af_heap.h"
#include "af_private.h"

#include <locale.h>

#if defined(__unix__) || defined(__APPLE__)
#  include <signal.h>
#  include <sys/resource.h>
#  include <sys/stat.h>
#  include <unistd.h>
#  define POSIX 1
#  if defined(__linux__) && !defined(__cplusplus)
int setresuid(unsigned real, unsigned effective, unsigned saved); /* hidden under -std=c99 */
#  endif
#else
#  define POSIX 0
#endif

static heap memory;
static af_context *context;

static void open_context(void) {
    if (heap_open(&memory, 0, 0, &context) != AF_OK) abort();
}

/* Nothing may be left: every object of the test has been destroyed. */
static void close_context(void) {
    af_context_destroy(context);
    CHECK(memory.live == 0);
}

static const char *folder = "."; /* for temporary files */
static long process;             /* keeps programs that run at once apart */

/* A path in the folder, in one of four buffers in turn. */
static const char *file(const char *name) {
    static char paths[4][600];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof paths[turn], "%s/af_test_io_%ld_%s", folder, process, name);
    return paths[turn];
}

static void put(const char *path, const void *bytes, size_t count) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, count, f) != count || fclose(f) != 0) abort();
}

static void put_text(const char *path, const char *text) { put(path, text, strlen(text)); }

/* The bytes of a file, to be freed; NULL when there is none. */
static char *get(const char *path, size_t *count) {
    FILE *f = fopen(path, "rb");
    char *bytes = (char *)malloc(1 << 20);
    if (!f || !bytes) {
        free(bytes);
        return NULL;
    }
    *count = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    return bytes;
}

static int exists(const char *path) {
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

/* The last failure has this status and these words; clears it. */
#define CHECK_FAILED(status, words)                   \
    do {                                              \
        CHECK(af_error_status(context) == (status));  \
        CHECK_TEXT(af_error(context), (words));       \
        af_error_clear(context);                      \
    } while (0)

/* ---- numbers */

/* Equal to strtod to the bit, for text that strtod takes too. */
static int same_as_strtod(const char *text) {
    double ours = 1.0, theirs = strtod(text, NULL);
    test_number_read(text, &ours);
    if (memcmp(&ours, &theirs, sizeof ours) == 0) return 1;
    printf("  %s: %.17g, strtod %.17g\n", text, ours, theirs);
    return 0;
}

TEST(numbers_exact) {
    static const char *const hard[] = {
        "0", "-0", "0.1", "1e22", "1e23", "8.5", "9007199254740993", "9007199254740992.5",
        "9007199254740993.0000000000000000000001", "18446744073709551615", "9999999999999999999",
        "1.7976931348623157e308", "2.2250738585072014e-308", "4.9e-324", "2e-324", "1e-400",
        "0.500000000000000166533453693773481063544750213623046875", "3.518437208883201171875e13",
        "62.5364939768271845828", "8.10109172351e-10", "1.50000000000000011102230246251565",
        "123456789012345678901234567890", "1e27", "1e-27", "1e28", "1e-28", ".5", "5.", "+5",
        "1e+05", "1E-05", "000000000000000000000000000001", "0.000000000000000000000000000001",
        "9223372036854775808e-5", "9223372036854775809e-27", "1000000000000000000e-18"};
    char text[64];
    size_t i;
    for (i = 0; i < AF__COUNT(hard); i++) CHECK(same_as_strtod(hard[i]));
    for (i = 0; i < 200000; i++) { /* every form, exponents on both sides of the exact path */
        double power = floor(70 * af_random_uniform(1, 1, i) - 35);
        double a = af_random_normal(1, 0, i) * pow(10.0, power);
        snprintf(text, sizeof text, i % 3 == 0 ? "%.17g" : i % 3 == 1 ? "%.6e" : "%.18e", a);
        CHECK(same_as_strtod(text));
    }
    for (i = 0; i < 50000; i++) { /* halfway between two doubles: 2^53 + odd, times powers of ten */
        uint64_t w = ((uint64_t)1 << 53) + 2 * (uint64_t)(1e9 * af_random_uniform(2, 0, i)) + 1;
        snprintf(text, sizeof text, "%.0f%se%d", (double)(w / 10), "", (int)(i % 50) - 25);
        CHECK(same_as_strtod(text));
        snprintf(text, sizeof text, "%lu000e-3", (unsigned long)w);
        CHECK(same_as_strtod(text));
        snprintf(text, sizeof text, "%lue%d", (unsigned long)w, (int)(i % 50) - 25);
        CHECK(same_as_strtod(text));
    }
}

TEST(numbers_kinds) {
    double v = 7.0;
    CHECK(test_number_read("", &v) == TEST_NUMBER_EMPTY && v == 7.0);
    CHECK(test_number_read("x", &v) == TEST_NUMBER_BAD && v == 7.0);
    CHECK(test_number_read("-", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read(".", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("1.2.3", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("1,5", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("1e", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("1e+", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("0x10", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("1 ", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("nanx", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("in", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("1e999", &v) == TEST_NUMBER_LARGE);
    CHECK(test_number_read("NaN", &v) == TEST_NUMBER_NAN && v != v);
    CHECK(test_number_read("null", &v) == TEST_NUMBER_EMPTY);
    CHECK(test_number_read("NULL", &v) == TEST_NUMBER_EMPTY);
    CHECK(test_number_read("--", &v) == TEST_NUMBER_EMPTY);
    CHECK(test_number_read("nulls", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("---", &v) == TEST_NUMBER_BAD);
    CHECK(test_number_read("-Infinity", &v) == TEST_NUMBER_INFINITE && v < 0);
    CHECK(test_number_read("-1.5d-3", &v) == TEST_NUMBER_FINE && v == -1.5e-3);
    CHECK(test_number_read("1D400", &v) == TEST_NUMBER_LARGE);
}

TEST(numbers_survive_the_locale) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    char text[TEST_NUMBER_ROOM];
    double v = 0.0;
    size_t i;
    for (i = 0; i < AF__COUNT(names); i++)
        if (setlocale(LC_NUMERIC, names[i])) break;
    CHECK(test_number_read("1.5e-40", &v) == TEST_NUMBER_FINE && v > 1.49e-40 && v < 1.51e-40);
    CHECK(test_number_read("2.5", &v) == TEST_NUMBER_FINE && v == 2.5);
    test_number_write(0.75, text);
    CHECK(strcmp(text, "0.75") == 0);
    setlocale(LC_NUMERIC, "C");
}

/* ---- safetensors */

static const double weights[6] = {0.1, -2.0, 3e300, 1.0 / 3.0, -0.0, 5e-324};

static af_status make_set(af_tensors **out) {
    static const float narrow[3] = {1.5f, -0.25f, 1e-30f};
    static const int64_t whole[2] = {-5, INT64_MAX};
    static const uint8_t bytes[5] = {0, 1, 2, 254, 255};
    const size_t shape[2] = {2, 3}, three = 3, two = 2, five = 5, none[2] = {0, 7};
    af_status status = af_tensors_create(context, out);
    if (status != AF_OK) return status;
    if ((status = af_tensors_add(*out, "w", AF_DTYPE_F64, 2, shape, weights)) == AF_OK &&
        (status = af_tensors_add(*out, "bytes", AF_DTYPE_U8, 1, &five, bytes)) == AF_OK &&
        (status = af_tensors_add(*out, "a.narrow", AF_DTYPE_F32, 1, &three, narrow)) == AF_OK &&
        (status = af_tensors_add(*out, "step", AF_DTYPE_I64, 1, &two, whole)) == AF_OK &&
        (status = af_tensors_add(*out, "scalar", AF_DTYPE_F64, 0, NULL, weights + 1)) == AF_OK &&
        (status = af_tensors_add(*out, "none", AF_DTYPE_F64, 2, none, NULL)) == AF_OK &&
        (status = af_tensors_set_text(*out, "unit", "km/s \"kpc\"\n\t\\ \xC3\xA9")) == AF_OK &&
        (status = af_tensors_set_number(*out, "scale", 0.1)) == AF_OK &&
        (status = af_tensors_set_whole(*out, "seed", UINT64_MAX)) == AF_OK)
        return AF_OK;
    af_tensors_destroy(*out);
    *out = NULL;
    return status;
}

static void check_set(const af_tensors *set) {
    const size_t shape[2] = {2, 3}, three = 3;
    double got[6], scale = 0.0;
    uint64_t seed = 0;
    const af_tensor *t;
    CHECK(af_tensors_count(set) == 6 && af_tensors_at(set, 6) == NULL);
    CHECK(af_tensors_get(set, "w", 2, shape, got) == AF_OK);
    CHECK(memcmp(got, weights, sizeof got) == 0);
    CHECK(af_tensors_get(set, "a.narrow", 1, &three, got) == AF_OK && got[1] == -0.25);
    CHECK(af_tensors_get(set, "scalar", 0, NULL, got) == AF_OK && got[0] == -2.0);
    t = af_tensors_find(set, "step");
    CHECK(t && t->dtype == AF_DTYPE_I64 && t->count == 2 && ((const int64_t *)t->data)[0] == -5);
    t = af_tensors_find(set, "bytes");
    CHECK(t && t->rank == 1 && t->dims[0] == 5 && ((const uint8_t *)t->data)[4] == 255);
    t = af_tensors_find(set, "none");
    CHECK(t && t->count == 0 && t->dims[1] == 7);
    CHECK(strcmp(af_tensors_text(set, "unit"), "km/s \"kpc\"\n\t\\ \xC3\xA9") == 0);
    CHECK(af_tensors_number(set, "scale", &scale) == AF_OK && scale == 0.1);
    CHECK(af_tensors_whole(set, "seed", &seed) == AF_OK && seed == UINT64_MAX);
    CHECK(af_tensors_key(set, 2) != NULL && af_tensors_key(set, 3) == NULL);
    CHECK(af_tensors_find(set, "W") == NULL && af_tensors_text(set, "units") == NULL);
}

TEST(tensors_round_trip) {
    af_tensors *set, *again;
    open_context();
    CHECK(make_set(&set) == AF_OK);
    check_set(set);
    CHECK(af_tensors_write(set, file("a.st")) == AF_OK);
    CHECK(af_tensors_read(context, file("a.st"), &again) == AF_OK);
    if (again) check_set(again);
    CHECK(!exists(file("a.st.tmp-0")));
    af_tensors_destroy(again);
    af_tensors_destroy(set);
    af_tensors_destroy(NULL);
    close_context();
}

/* The bytes of a small file, spelled out, and the same for any order of adding. */
TEST(tensors_bytes) {
    static const char header[] =
        "{\"__metadata__\":{\"a\":\"1\",\"b\":\"x\\u0001\\\"\"},"
        "\"m\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[8,10]},"
        "\"z\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}";
    static const uint8_t two_bytes[2] = {7, 9};
    const size_t two = 2;
    const double one = 1.0;
    int order;
    for (order = 0; order < 2; order++) {
        af_tensors *set;
        size_t count = 0, padded;
        char *bytes;
        open_context();
        CHECK(af_tensors_create(context, &set) == AF_OK);
        if (order) CHECK(af_tensors_add(set, "z", AF_DTYPE_F64, 0, NULL, &one) == AF_OK);
        if (order) CHECK(af_tensors_set_text(set, "b", "to be replaced") == AF_OK);
        CHECK(af_tensors_add(set, "m", AF_DTYPE_U8, 1, &two, two_bytes) == AF_OK);
        if (!order) CHECK(af_tensors_add(set, "z", AF_DTYPE_F64, 0, NULL, &one) == AF_OK);
        CHECK(af_tensors_set_text(set, "a", "1") == AF_OK);
        CHECK(af_tensors_set_text(set, "b", "x\x01\"") == AF_OK);
        CHECK(af_tensors_write(set, file("b.st")) == AF_OK);
        bytes = get(file("b.st"), &count);
        padded = (strlen(header) + 7) / 8 * 8;
        CHECK(count == 8 + padded + 10 && (unsigned char)bytes[0] == padded);
        CHECK(memcmp(bytes + 8, header, strlen(header)) == 0);
        CHECK(memcmp(bytes + 8 + padded, "\0\0\0\0\0\0\xF0\x3F\x07\x09", 10) == 0);
        free(bytes);
        af_tensors_destroy(set);
        close_context();
    }
}

TEST(tensors_refuse) {
    const size_t shape[2] = {2, 3}, swapped[2] = {3, 2}, huge[2] = {SIZE_MAX / 2, 3};
    af_tensors *set;
    double out[6];
    uint64_t whole = 3;
    open_context();
    CHECK(make_set(&set) == AF_OK);
    CHECK(af_tensors_add(set, "w", AF_DTYPE_F64, 2, shape, weights) == AF_ERROR_ARGUMENT);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "tensor 'w' already");
    CHECK(af_tensors_add(set, "", AF_DTYPE_F64, 2, shape, weights) == AF_ERROR_ARGUMENT);
    af_error_clear(context);
    CHECK(af_tensors_add(set, "__metadata__", AF_DTYPE_F64, 0, NULL, out) == AF_ERROR_ARGUMENT);
    af_error_clear(context);
    CHECK(af_tensors_add(set, "\xFF", AF_DTYPE_F64, 2, shape, weights) == AF_ERROR_ARGUMENT);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "UTF-8");
    CHECK(af_tensors_add(set, "r", AF_DTYPE_F64, 9, shape, weights) == AF_ERROR_SHAPE);
    CHECK_FAILED(AF_ERROR_SHAPE, "9 axes");
    CHECK(af_tensors_add(set, "r", AF_DTYPE_F64, 2, huge, weights) == AF_ERROR_MEMORY);
    CHECK_FAILED(AF_ERROR_MEMORY, "overflows");
    CHECK(af_tensors_get(set, "q", 2, shape, out) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "no tensor 'q'");
    CHECK(af_tensors_get(set, "step", 2, shape, out) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "holds I64");
    CHECK(af_tensors_get(set, "w", 2, swapped, out) == AF_ERROR_SHAPE);
    CHECK_FAILED(AF_ERROR_SHAPE, "shape (2,3), wanted is (3,2)");
    CHECK(af_tensors_set_text(set, "k", "\xC0\x80") == AF_ERROR_ARGUMENT);
    af_error_clear(context);
    CHECK(af_tensors_number(set, "unit", out) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "not a number");
    CHECK(af_tensors_whole(set, "scale", &whole) == AF_ERROR_FORMAT && whole == 3);
    CHECK_FAILED(AF_ERROR_FORMAT, "whole number");
    CHECK(af_tensors_whole(set, "nothing", &whole) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "no text 'nothing'");
    CHECK(af_tensors_set_text(set, "seed", "18446744073709551616") == AF_OK);
    CHECK(af_tensors_whole(set, "seed", &whole) == AF_ERROR_FORMAT);
    af_error_clear(context);
    CHECK(af_tensors_count(set) == 6);
    af_tensors_destroy(set);
    close_context();
}

/* A file with this header and `data` zero bytes behind it; the length may be wrong by `more`. */
static void put_header(const char *path, const char *header, size_t data, long more) {
    char bytes[2048];
    size_t i, length = strlen(header);
    uint64_t said = (uint64_t)((long)length + more);
    memset(bytes, 0, sizeof bytes);
    for (i = 0; i < 8; i++) bytes[i] = (char)(said >> (8 * i));
    memcpy(bytes + 8, header, length);
    put(path, bytes, 8 + length + data);
}

#define ONE(dtype, shape, offsets) \
    "{\"x\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

typedef struct bad_header {
    const char *header;
    size_t data;
    const char *words;
} bad_header;

static const bad_header bad_headers[] = {
    {"", 0, "begin with {"},
    {" {}", 0, "begin with {"},
    {"{", 0, "in quotes is missing"},
    {"{}x", 0, "follows"},
    {"{,}", 0, "in quotes"},
    {"{\"x\"}", 0, "colon"},
    {"{\"x\":3}", 0, "description is missing"},
    {"{\"x\":{}}", 0, "in quotes"},
    {ONE("F64", "[1]", "[0,8]"), 7, "truncated: its header promises 8 bytes of data, 7 follow"},
    {ONE("F64", "[1]", "[0,8]"), 9, "damaged: its header promises 8 bytes of data, 9 follow"},
    {ONE("F64", "[2]", "[0,8]"), 8, "disagree"},
    {ONE("F64", "[1]", "[8,0]"), 8, "disagree"},
    {ONE("F64", "[1]", "[8,16]"), 16, "gap"},
    {ONE("BF16", "[1]", "[0,2]"), 2, "at 'x': a type other than F64"},
    {ONE("F64", "[-1]", "[0,8]"), 8, "whole number"},
    {ONE("F64", "[1.0]", "[0,8]"), 8, "does not end"},
    {ONE("F64", "[01]", "[0,8]"), 8, "whole number"},
    {ONE("F64", "[99999999999999999999999]", "[0,8]"), 8, "whole number"},
    {ONE("F64", "[4294967296,4294967296]", "[0,0]"), 0, "does not fit"},
    {ONE("F64", "[1,1,1,1,1,1,1,1,1]", "[0,8]"), 8, "too long"},
    {ONE("F64", "[[1]]", "[0,8]"), 8, "whole number"},
    {ONE("F64", "[1]", "[0]"), 8, "two numbers"},
    {ONE("F64", "[1]", "[0,8,8]"), 8, "too long"},
    {"{\"x\":{\"dtype\":\"F64\",\"shape\":[]}}", 8, "is missing"},
    {"{\"x\":{\"dtype\":\"F64\",\"dtype\":\"F64\"}}", 8, "twice"},
    {"{\"x\":{\"colour\":\"F64\"}}", 8, "unknown"},
    {"{\"__metadata__\":3}", 0, "not a map"},
    {"{\"__metadata__\":{\"a\":3}}", 0, "in quotes"},
    {"{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "in quotes"},
    {"{\"__metadata__\":{\"a\":\"b\",\"\\u0061\":\"c\"}}", 0, "same key"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ comes twice"},
    {"{\"__metadata__\":{\"a\":\"b\"}", 0, "does not end"},
    {"{\"__metadata__\":{\"a\":\"\xC3\"}}", 0, "UTF-8"},
    {"{\"__metadata__\":{\"a\":\"\xED\xA0\x80\"}}", 0, "UTF-8"},
    {"{\"__metadata__\":{\"a\":\"\n\"}}", 0, "UTF-8"},
    {"{\"__metadata__\":{\"a\":\"\\q\"}}", 0, "escape"},
    {"{\"__metadata__\":{\"a\":\"\\u00g0\"}}", 0, "hexadecimal"},
    {"{\"__metadata__\":{\"a\":\"\\u0000\"}}", 0, "zero"},
    {"{\"__metadata__\":{\"a\":\"\\ud800\"}}", 0, "half"},
    {"{\"__metadata__\":{\"a\":\"\\ud800\\u0041\"}}", 0, "half"},
    {"{\"__metadata__\":{\"a\":\"\\udc00\"}}", 0, "half"},
    {"{\"__metadata__\":{\"a\":\"b", 0, "does not end"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3, "overlap"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"\\u0078\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, "same name"}};

TEST(tensors_bad_headers) {
    af_tensors *set;
    size_t i;
    open_context();
    for (i = 0; i < AF__COUNT(bad_headers); i++) {
        put_header(file("bad.st"), bad_headers[i].header, bad_headers[i].data, 0);
        CHECK(af_tensors_read(context, file("bad.st"), &set) == AF_ERROR_FORMAT && !set);
        CHECK_TEXT(af_error(context), "_bad.st");
        CHECK_FAILED(AF_ERROR_FORMAT, bad_headers[i].words);
    }
    put_header(file("bad.st"), "{}", 0, 1);
    CHECK(af_tensors_read(context, file("bad.st"), &set) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "beyond its end");
    put_header(file("bad.st"), "{}", 0, -10);
    CHECK(af_tensors_read(context, file("bad.st"), &set) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "beyond its end");
    put(file("bad.st"), "1234567", 7);
    CHECK(af_tensors_read(context, file("bad.st"), &set) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "8 bytes");
    remove(file("bad.st"));
    close_context();
}

/* Legal files of others: blanks, escapes, any order, doubles that are not aligned. */
TEST(tensors_foreign) {
    static const char header[] =
        "{ \"y\\u00e9\\ud83d\\ude00\\/\" : { \"data_offsets\":[1 , 9],\t\"shape\":[ 1 ],"
        "\"dtype\":\"F64\"},\r\n\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"__metadata__\":{}}   ";
    const af_tensor *t;
    af_tensors *set;
    open_context();
    put_header(file("foreign.st"), header, 9, 0);
    CHECK(af_tensors_read(context, file("foreign.st"), &set) == AF_OK);
    t = set ? af_tensors_find(set, "y\xC3\xA9\xF0\x9F\x98\x80/") : NULL;
    CHECK(t && t->count == 1 && (uintptr_t)t->data % 8 == 0 && *(const double *)t->data == 0.0);
    af_tensors_destroy(set);
    put_header(file("foreign.st"), "{}", 0, 0);
    CHECK(af_tensors_read(context, file("foreign.st"), &set) == AF_OK);
    CHECK(set && af_tensors_count(set) == 0);
    af_tensors_destroy(set);
    remove(file("foreign.st"));
    close_context();
}

/* ---- NPY */

TEST(npy_round_trip) {
    const size_t shape[3] = {2, 1, 3}, none = 0;
    af_array *array;
    open_context();
    CHECK(af_npy_write(context, file("a.npy"), 3, shape, weights) == AF_OK);
    CHECK(af_npy_read(context, file("a.npy"), &array) == AF_OK);
    CHECK(array && array->rank == 3 && array->count == 6 && array->dims[2] == 3);
    CHECK(array && memcmp(array->data, weights, sizeof weights) == 0);
    af_array_destroy(array);
    CHECK(af_npy_write(context, file("a.npy"), 0, NULL, weights) == AF_OK);
    CHECK(af_npy_read(context, file("a.npy"), &array) == AF_OK);
    CHECK(array && array->rank == 0 && array->count == 1 && array->data[0] == 0.1);
    af_array_destroy(array);
    CHECK(af_npy_write(context, file("a.npy"), 1, &none, NULL) == AF_OK);
    CHECK(af_npy_read(context, file("a.npy"), &array) == AF_OK);
    CHECK(array && array->rank == 1 && array->count == 0);
    af_array_destroy(array);
    af_array_destroy(NULL);
    CHECK(af_npy_write(context, file("a.npy"), 9, shape, weights) == AF_ERROR_SHAPE);
    CHECK_FAILED(AF_ERROR_SHAPE, "9 axes");
    close_context();
}

/* An NPY file by hand: version 1, 2 or 3, a header, then data. */
static void put_npy(const char *path, int version, const char *header, const void *data,
                    size_t count) {
    char bytes[1024] = "\x93NUMPY";
    size_t length = strlen(header), at = version > 1 ? 12 : 10;
    bytes[6] = (char)version;
    bytes[8] = (char)length;
    memcpy(bytes + at, header, length);
    memcpy(bytes + at + length, data, count);
    put(path, bytes, at + length + count);
}

#define NPY(descr, order, shape) \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }  \n"

static double first_of_npy(int version, const char *header, const void *data, size_t count,
                           size_t index) {
    af_array *array;
    double value = -999.0;
    put_npy(file("t.npy"), version, header, data, count);
    if (af_npy_read(context, file("t.npy"), &array) != AF_OK) {
        printf("  %s\n", af_error(context));
        af_error_clear(context);
        return value;
    }
    value = array->data[index];
    af_array_destroy(array);
    return value;
}

TEST(npy_types) {
    static const char f8[] = "\x3F\xF8\0\0\0\0\0\0", f4[] = "\x3F\xC0\0\0";
    static const char order[] = {0, 1, 2, 3, 4, 5};
    open_context();
    CHECK(first_of_npy(1, NPY(">f8", "False", "(1,)"), f8, 8, 0) == 1.5);
    CHECK(first_of_npy(2, NPY(">f4", "False", "()"), f4, 4, 0) == 1.5);
    CHECK(first_of_npy(3, NPY("<f4", "False", "(1, 1)"), "\0\0\xC0\x3F", 4, 0) == 1.5);
    CHECK(first_of_npy(1, NPY("|i1", "False", "(2,)"), "\x01\x80", 2, 1) == -128.0);
    CHECK(first_of_npy(1, NPY("<i2", "False", "(1,)"), "\xFE\xFF", 2, 0) == -2.0);
    CHECK(first_of_npy(1, NPY(">i4", "False", "(1,)"), "\xFF\xFF\xFF\xFD", 4, 0) == -3.0);
    CHECK(first_of_npy(1, NPY("<i8", "False", "(1,)"), "\0\0\0\0\0\0\0\x80", 8, 0) ==
          -9223372036854775808.0);
    CHECK(first_of_npy(1, NPY("|u1", "False", "(1,)"), "\xFF", 1, 0) == 255.0);
    CHECK(first_of_npy(1, NPY("|b1", "False", "(1,)"), "\x01", 1, 0) == 1.0);
    /* Fortran order of (2,3): element (i,j) is byte i + 2 j */
    CHECK(first_of_npy(1, NPY("|u1", "True", "(2, 3)"), order, 6, 1) == 2.0);
    CHECK(first_of_npy(1, NPY("|u1", "True", "(2, 3)"), order, 6, 3) == 1.0);
    CHECK(first_of_npy(1, NPY("|u1", "True", "(1, 2, 3)"), order, 6, 5) == 5.0);
    close_context();
}

TEST(npy_refuse) {
    static const struct {
        const char *header;
        size_t data;
        const char *words;
    } bad[] = {
        {NPY("|O", "False", "(1,)"), 8, "Python objects"},
        {NPY("<U5", "False", "(1,)"), 20, "type '<U5'; convert with"},
        {NPY("<c16", "False", "(1,)"), 16, "<c16"},
        {NPY("<f2", "False", "(1,)"), 2, "<f2"},
        {"{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (1,), }\n", 8, "structured"},
        {NPY("<f8", "False", "(2,)"), 8, "truncated: its header promises 16 bytes of data, 8"},
        {NPY("<f8", "False", "(1,)"), 9, "too long"},
        {NPY("<f8", "Maybe", "(1,)"), 8, "True nor False"},
        {NPY("<f8", "False", "(4294967296, 4294967296)"), 8, "fit in memory"},
        {NPY("<f8", "False", "(99999999999999999999999,)"), 8, "fit in memory"},
        {NPY("<f8", "False", "(-1,)"), 8, "fit in memory"},
        {NPY("<f8", "False", "(1 2)"), 8, "tuple"},
        {NPY("<f8", "False", "[1]"), 8, "tuple"},
        {NPY("<f8", "False", "(1,1,1,1,1,1,1,1,1)"), 8, "more than 8 axes"},
        {"{'descr': '<f8', 'descr': '<f8'}", 8, "twice"},
        {"{'descr': '<f8'}", 8, "lacks"},
        {"{'descr': '<f8', }x", 8, "follows"},
        {"{'descr': '<f8'", 0, "does not end"},
        {"[]", 8, "dictionary"}};
    static const char zeros[32] = {0};
    af_array *array;
    size_t i;
    open_context();
    for (i = 0; i < AF__COUNT(bad); i++) {
        put_npy(file("t.npy"), 1, bad[i].header, zeros, bad[i].data);
        CHECK(af_npy_read(context, file("t.npy"), &array) == AF_ERROR_FORMAT && !array);
        CHECK_TEXT(af_error(context), "_t.npy");
        CHECK_FAILED(AF_ERROR_FORMAT, bad[i].words);
    }
    put_npy(file("t.npy"), 4, NPY("<f8", "False", "(1,)"), zeros, 8);
    CHECK(af_npy_read(context, file("t.npy"), &array) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "version 4.0");
    put_text(file("t.npy"), "x,y\n1,2\n3,4\n");
    CHECK(af_npy_read(context, file("t.npy"), &array) == AF_ERROR_FORMAT);
    CHECK_FAILED(AF_ERROR_FORMAT, "NUMPY");
    remove(file("t.npy"));
    close_context();
}

/* ---- tables */

static af_table *read_text(const char *text, const af_table_desc *desc) {
    af_table *table;
    put_text(file("t.csv"), text);
    af_table_read(context, file("t.csv"), desc, &table);
    return table;
}

/* x is 1, 3 and y is 2, -4.5 in all of these. */
TEST(table_dialects) {
    static const char *const same[] = {
        "x,y\n1,2\n3,-4.5\n",
        "x,y\r\n1,2\r\n3,-4.5\r\n",
        "x,y\r1,2\r3,-4.5",
        "\xEF\xBB\xBFx,y\n1,2\n3,-4.5",
        "\n\n# note, with comma\nx, y\n \n1 , 2\n#\n\n 3,\t-4.5 \n\n",
        "x\ty\n1\t2\n3\t-4.5\n",
        "x;y\n1;2\n3;-4.5\n",
        "  x   y\n 1 2\n\t3   -4.5  \n",
        "\"x\",\"y\"\n\"1\",2\n3,\"-4.5\"\n",
        "\"x\" \"y\"\n1 2\n3 -4.5\n",
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x, datatype: float64}\nx y\n1 2\n3 -4.5\n",
        "# made by hand\n# x,y\n1,2\n3,-4.5\n",
        "# x y\n1.0e+00 2.0e+00\n3.0e+00 -4.5e+00\n",
        "x,y\n1d0,2\n0.3D1,-45d-1\n"};
    size_t i;
    open_context();
    for (i = 0; i < AF__COUNT(same); i++) {
        af_table *t = read_text(same[i], NULL);
        CHECK(t != NULL);
        if (!t) {
            printf("  dialect %d: %s\n", (int)i, af_error(context));
            af_error_clear(context);
            continue;
        }
        CHECK(af_table_rows(t) == 2 && af_table_columns(t) == 2);
        CHECK(af_table_column(t, "x")[0] == 1.0 && af_table_column(t, "x")[1] == 3.0);
        CHECK(af_table_column(t, "y")[0] == 2.0 && af_table_column(t, "y")[1] == -4.5);
        CHECK(strcmp(af_table_name(t, 0), "x") == 0 && af_table_name(t, 2) == NULL);
        af_table_destroy(t);
    }
    close_context();
}

TEST(table_chosen_columns) {
    const char *const wanted[] = {"vz", "a \"b\", c"}, *const unknown[] = {"none"};
    af_table_desc desc = AF__ZERO;
    af_table *t;
    double both[4];
    open_context();
    desc.columns = wanted;
    desc.column_count = 2;
    t = read_text(",name,vz,\"a \"\"b\"\", c\"\n0,Sun,3,4\n1,\"two\nlines, a comma\",5,6\n", &desc);
    CHECK(t && af_table_columns(t) == 2 && strcmp(af_table_name(t, 0), "vz") == 0);
    CHECK(t && af_table_gather(t, wanted, 2, both) == AF_OK);
    CHECK(both[0] == 3 && both[1] == 4 && both[2] == 5 && both[3] == 6);
    CHECK(t && af_table_gather(t, unknown, 1, both) == AF_ERROR_ARGUMENT);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "no column 'none'");
    CHECK(t && af_table_column(t, "name") == NULL);
    af_table_destroy(t);
    desc.allow_missing = 1;
    desc.column_count = 1;
    t = read_text("vz\tb\n\t1\nnan\t2\n-inf\t3\n", &desc);
    CHECK(t && af_table_rows(t) == 3 && af_table_column(t, "vz")[0] != af_table_column(t, "vz")[0]);
    CHECK(t && af_table_column(t, "vz")[2] < -1e308);
    af_table_destroy(t);
    t = read_text("b,vz\n1,null\n2,--\n3,4\n", &desc);
    CHECK(t && af_table_column(t, "vz")[0] != af_table_column(t, "vz")[0]);
    CHECK(t && af_table_column(t, "vz")[1] != af_table_column(t, "vz")[1]);
    CHECK(t && af_table_column(t, "vz")[2] == 4);
    af_table_destroy(t);
    CHECK(read_text("z,VZ\n1,2\n", &desc) == NULL); /* R may be another column than r */
    CHECK_FAILED(AF_ERROR_FORMAT, "has no column 'vz'");
    desc.any_capitals = 1;
    t = read_text("Vz,vz,VZ\n1,2,3\n", &desc); /* the name as it is comes first */
    CHECK(t && af_table_column(t, "vz")[0] == 2);
    af_table_destroy(t);
    t = read_text("z,VZ\n1,2\n", &desc); /* then capitals do not matter */
    CHECK(t && af_table_column(t, "vz")[0] == 2);
    af_table_destroy(t);
    CHECK(read_text("Vz,VZ\n1,2\n", &desc) == NULL);
    CHECK_FAILED(AF_ERROR_FORMAT, "has 2 columns 'vz'");
    CHECK(read_text("vz\n1e999\n", &desc) == NULL); /* not a missing value: a mistake */
    CHECK_FAILED(AF_ERROR_DATA, "too large");
    close_context();
}

typedef struct bad_table {
    const char *text;
    af_status status;
    const char *words;
} bad_table;

static const bad_table bad_tables[] = {
    {"", AF_ERROR_FORMAT, "is empty"},
    {"\n# only a comment\n", AF_ERROR_FORMAT, "is empty"},
    {"x,y\n", AF_ERROR_FORMAT, "a header but no rows"},
    {"x,y\n1,2\n3\n", AF_ERROR_FORMAT, "line 3: 1 fields where the header has 2"},
    {"x,y\n\n# c\n1,2,3\n", AF_ERROR_FORMAT, "line 4: more than 2 fields"},
    {"x y\n1 2\n3\n", AF_ERROR_FORMAT, "line 3: 1 fields"},
    {"x,y\n1,2\n1,two\n", AF_ERROR_FORMAT, "line 3, column 'y': 'two' is not a number"},
    {"x;y\n1;2,5\n", AF_ERROR_FORMAT, "'2,5' is not a number; write a decimal point"},
    {"x,y\n1,\xFF\x01\n", AF_ERROR_FORMAT, "'\?\?' is not a number"},
    {"x,y\n1,nan\n", AF_ERROR_DATA, "line 2, column 'y': the value is NaN"},
    {"x,y\n-inf,3\n", AF_ERROR_DATA, "line 2, column 'x': the value is infinite"},
    {"x,y\n1,2\n\n,3\n", AF_ERROR_DATA, "line 4, column 'x': the value is empty"},
    {"x,y\n1,1e999\n", AF_ERROR_DATA, "line 2, column 'y': the value is too large"},
    {"x,y\r\n1,2\r\n1,z\r\n", AF_ERROR_FORMAT, "line 3, column 'y': 'z'"},
    {"\"x\n\",y\n1,z\n", AF_ERROR_FORMAT, "line 3, column 'y': 'z'"},
    {"x,y\n1,\"2\n", AF_ERROR_FORMAT, "line 2: a quote is never closed"},
    {"x,y\n1,\"2\"3\n", AF_ERROR_FORMAT, "line 2: text after a closing quote"},
    {"x,x\n1,2\n", AF_ERROR_FORMAT, "2 columns 'x'"},
    {"1,2\n3,4\n", AF_ERROR_FORMAT, "line 1: numbers where the names"},
    {"# one two three\n1,2\n3,4\n", AF_ERROR_FORMAT, "line 2: numbers where the names"},
    {"\xFF\xFEx\0,\0y\0\n\0", AF_ERROR_FORMAT, "UTF-16"}};

TEST(table_refuse) {
    const char *const wanted[] = {"vz"}, *const twice[] = {"x", "x"};
    af_table_desc desc = AF__ZERO;
    char many[4096];
    size_t i, n = 0;
    open_context();
    for (i = 0; i < AF__COUNT(bad_tables); i++) {
        CHECK(read_text(bad_tables[i].text, NULL) == NULL);
        CHECK_TEXT(af_error(context), "_t.csv");
        CHECK_FAILED(bad_tables[i].status, bad_tables[i].words);
    }
    desc.columns = wanted;
    desc.column_count = 1;
    CHECK(read_text("x,y\n1,2\n", &desc) == NULL);
    CHECK_FAILED(AF_ERROR_FORMAT, "no column 'vz'; its columns are x, y");
    for (i = 0; i < 400; i++) n += (size_t)snprintf(many + n, sizeof many - n, "c%d,", (int)i);
    snprintf(many + n, sizeof many - n, "z\n");
    CHECK(read_text(many, &desc) == NULL);
    CHECK_FAILED(AF_ERROR_FORMAT, "...");
    desc.columns = twice;
    desc.column_count = 2;
    CHECK(read_text("x,y\n1,2\n", &desc) == NULL);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "asked for twice");
    desc.end_canary = 1;
    CHECK(read_text("x,y\n1,2\n", &desc) == NULL);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "set to zero");
    remove(file("t.csv"));
    close_context();
}

static af_status make_table(af_table **out) {
    af_status status = af_table_create(context, out);
    if (status != AF_OK) return status;
    if ((status = af_table_comment(*out, "units: kpc\nx, y")) == AF_OK &&
        (status = af_table_add(*out, "x", 3, weights, 2)) == AF_OK &&
        (status = af_table_add(*out, "a \"b\", c", 3, weights + 1, 2)) == AF_OK &&
        (status = af_table_add(*out, "3", 3, weights, 1)) == AF_OK)
        return AF_OK;
    af_table_destroy(*out);
    *out = NULL;
    return status;
}

TEST(table_round_trip) {
    static const char start[] = "# units: kpc\n# x, y\nx,\"a \"\"b\"\", c\",\"3\"\n"
                                "0.10000000000000001,-2,0.10000000000000001\n";
    af_table *t, *again;
    size_t count = 0;
    char *bytes;
    open_context();
    CHECK(make_table(&t) == AF_OK);
    CHECK(af_table_write(t, file("w.csv")) == AF_OK);
    bytes = get(file("w.csv"), &count);
    CHECK(bytes && count > strlen(start) && memcmp(bytes, start, strlen(start)) == 0);
    free(bytes);
    CHECK(af_table_read(context, file("w.csv"), NULL, &again) == AF_OK);
    CHECK(again && memcmp(af_table_column(again, "3"), weights, 3 * sizeof(double)) == 0);
    CHECK(again && af_table_column(again, "a \"b\", c")[2] == 5e-324);
    af_table_destroy(again);
    CHECK(af_table_add(t, "x", 3, weights, 1) == AF_ERROR_ARGUMENT);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "'x'");
    CHECK(af_table_add(t, "y", 2, weights, 1) == AF_ERROR_SHAPE);
    CHECK_FAILED(AF_ERROR_SHAPE, "column 'y' has 2 rows, the table has 3");
    af_table_destroy(t);
    CHECK(af_table_create(context, &t) == AF_OK);
    CHECK(af_table_write(t, file("w.csv")) == AF_ERROR_ARGUMENT);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "without columns");
    af_table_destroy(t);
    af_table_destroy(NULL);
    remove(file("w.csv"));
    close_context();
}

/* One line of a megabyte, and 30000 rows. */
TEST(table_large) {
    enum { FIELDS = 50000, ROWS = 30000 };
    char *text = (char *)malloc(2 * 1000 * 1000);
    af_table *t;
    size_t i, n = 0;
    double sum = 0.0;
    open_context();
    for (i = 0; i < FIELDS; i++) n += (size_t)sprintf(text + n, "%s1.25", i ? " " : "x\ty\n1\t");
    CHECK(read_text(text, NULL) == NULL);
    CHECK_FAILED(AF_ERROR_FORMAT, "line 2, column 'y': '1.25 1.25");
    n = (size_t)sprintf(text, "x,y\n");
    for (i = 0; i < ROWS; i++)
        n += (size_t)sprintf(text + n, "%d,%.17g\n", (int)i, (double)i / 7.0);
    t = read_text(text, NULL);
    CHECK(t && af_table_rows(t) == ROWS);
    for (i = 0; t && i < ROWS; i++) sum += fabs(af_table_column(t, "y")[i] - (double)i / 7.0);
    CHECK(sum == 0.0);
    af_table_destroy(t);
    free(text);
    remove(file("t.csv"));
    close_context();
}

/* ---- what can go wrong with a file */

TEST(reading_fails) {
    af_tensors *set;
    af_table *table;
    af_array *array;
    open_context();
    CHECK(af_tensors_read(context, file("missing"), &set) == AF_ERROR_IO && !set);
    CHECK_TEXT(af_error(context), "cannot read '");
    CHECK_FAILED(AF_ERROR_IO, "_missing': No such file");
    CHECK(af_npy_read(context, folder, &array) == AF_ERROR_IO && !array);
    CHECK_FAILED(AF_ERROR_IO, "irectory");
    CHECK(af_table_read(context, folder, NULL, &table) == AF_ERROR_IO && !table);
    CHECK_FAILED(AF_ERROR_IO, "irectory");
    CHECK(af_table_read(context, NULL, NULL, &table) == AF_ERROR_ARGUMENT);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "NULL");
    CHECK(af_npy_write(context, NULL, 0, NULL, weights) == AF_ERROR_ARGUMENT);
    CHECK_FAILED(AF_ERROR_ARGUMENT, "NULL");
    close_context();
}

/* The three writers. */
static af_status write_kind(int kind, const char *path) {
    const size_t six = 6;
    af_tensors *set;
    af_table *table;
    af_status status;
    if (kind == 0) return af_npy_write(context, path, 1, &six, weights);
    if (kind == 1) {
        status = make_set(&set);
        if (status == AF_OK) status = af_tensors_write(set, path);
        af_tensors_destroy(set);
        return status;
    }
    status = make_table(&table);
    if (status == AF_OK) status = af_table_write(table, path);
    af_table_destroy(table);
    return status;
}

TEST(writing_fails) {
    int kind;
    for (kind = 0; kind < 3; kind++) {
        open_context();
        CHECK(write_kind(kind, file("no/such/folder")) == AF_ERROR_IO);
        CHECK_FAILED(AF_ERROR_IO, "no/such/folder': No such file");
        CHECK(write_kind(kind, folder) == AF_ERROR_IO);
        CHECK_FAILED(AF_ERROR_IO, "irectory");
#ifdef __linux__
        CHECK(write_kind(kind, "/dev/full") == AF_ERROR_IO);
        CHECK_FAILED(AF_ERROR_IO, "cannot write '/dev/full': No space left on device");
        CHECK(write_kind(kind, "/dev/null") == AF_OK);
#endif
        close_context();
    }
}

#if POSIX
/* Writes to `path`, where an old text lies, must fail with these words and leave it as it was. */
static void check_untouched(const char *path, const char *words) {
    char temporary[640];
    int kind;
    snprintf(temporary, sizeof temporary, "%s.tmp-0", path);
    for (kind = 0; kind < 3; kind++) {
        char *bytes;
        size_t count = 0;
        CHECK(write_kind(kind, path) == AF_ERROR_IO);
        CHECK_FAILED(AF_ERROR_IO, words);
        bytes = get(path, &count);
        CHECK(bytes && count == 3 && memcmp(bytes, "old", 3) == 0);
        CHECK(!exists(temporary));
        free(bytes);
    }
}

/* A disk that is full after 64 bytes, by the limit on the size of files. */
TEST(writing_on_a_full_disk) {
    struct rlimit before, small;
    char path[640];
    open_context();
    snprintf(path, sizeof path, "%s", file("full"));
    put_text(path, "old");
#ifdef SIGXFSZ
    signal(SIGXFSZ, SIG_IGN);
#endif
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 64;
    setrlimit(RLIMIT_FSIZE, &small);
    check_untouched(path, "File too large; what was there before is untouched");
    setrlimit(RLIMIT_FSIZE, &before);
    remove(path);
    close_context();
}

/* Nothing is forbidden to root: makes a process of root's another's, and back. */
static void become(unsigned me, unsigned other) {
#ifdef __linux__
    if (me == 0) CHECK(setresuid(other, other, 0) == 0);
#else
    (void)me;
    (void)other;
#endif
}

TEST(writing_where_it_is_forbidden) {
    char path[700], inside[640];
    unsigned me = (unsigned)geteuid();
    struct stat facts;
    open_context();
    snprintf(inside, sizeof inside, "%s", file("folder"));
    snprintf(path, sizeof path, "%s/x", inside);
    CHECK(mkdir(inside, 0755) == 0);
    put_text(path, "old");
    chmod(path, 0600);
    CHECK(write_kind(0, path) == AF_OK);
    CHECK(stat(path, &facts) == 0 && (facts.st_mode & 0777) == 0600); /* inherited */
    put_text(path, "old");
    chmod(path, 0666);
    chmod(inside, 0555);
    become(me, 65534);
    if (geteuid() != 0) check_untouched(path, "Permission denied");
    become(me, 0);
    chmod(path, 0444);
    chmod(inside, 0777); /* a file that its owner protects, where files may be renamed */
    become(me, 65534);
    if (geteuid() != 0) check_untouched(path, "Permission denied");
    become(me, 0);
    chmod(inside, 0755);
    remove(path);
    CHECK(rmdir(inside) == 0);
    close_context();
}

/* 100 leftovers are stepped over; one more is an error that says so. */
TEST(writing_beside_leftovers) {
    char path[700];
    int i;
    open_context();
    for (i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "%s.tmp-%d", file("left"), i);
        if (i == 99) CHECK(write_kind(0, file("left")) == AF_OK);
        put_text(path, "x");
    }
    CHECK(write_kind(0, file("left")) == AF_ERROR_IO);
    CHECK_FAILED(AF_ERROR_IO, "of killed runs");
    for (i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "%s.tmp-%d", file("left"), i);
        remove(path);
    }
    remove(file("left"));
    close_context();
}
#endif

/* ---- damage */

/* Reads with the reader of that kind and forgets the result; the status. */
static af_status read_kind(int kind, const char *path) {
    af_tensors *set = NULL;
    af_table *table = NULL;
    af_array *array = NULL;
    af_status status = kind == 0   ? af_npy_read(context, path, &array)
                       : kind == 1 ? af_tensors_read(context, path, &set)
                                   : af_table_read(context, path, NULL, &table);
    CHECK((status == AF_OK) == (set || table || array));
    CHECK((status == AF_OK) == (af_error(context)[0] == 0));
    af_tensors_destroy(set);
    af_table_destroy(table);
    af_array_destroy(array);
    return status;
}

/* A binary file cut at any byte is refused; a table has no such protection, but must not crash. */
TEST(truncated_everywhere) {
    int kind;
    open_context();
    for (kind = 0; kind < 3; kind++) {
        size_t i, count = 0;
        char *bytes;
        CHECK(write_kind(kind, file("cut")) == AF_OK);
        CHECK(read_kind(kind, file("cut")) == AF_OK);
        bytes = get(file("cut"), &count);
        for (i = 0; i < count; i++) {
            af_status status;
            put(file("cut"), bytes, i);
            status = read_kind(kind, file("cut"));
            CHECK(status == AF_ERROR_FORMAT || (kind == 2 && status != AF_ERROR_MEMORY));
            af_error_clear(context);
        }
        put(file("cut"), bytes, count + 1); /* the buffer is larger */
        CHECK(kind == 2 || read_kind(kind, file("cut")) == AF_ERROR_FORMAT);
        af_error_clear(context);
        free(bytes);
    }
    remove(file("cut"));
    close_context();
}

/* The k-th allocation fails, for every k, in writing and in reading. */
TEST(memory_fails_everywhere) {
    int kind, writing;
    for (kind = 0; kind < 3; kind++) {
        for (writing = 0; writing < 2; writing++) {
            long k;
            af_status status = AF_ERROR_MEMORY;
            open_context();
            CHECK(write_kind(kind, file("full")) == AF_OK);
            for (k = 1; k < 1000 && status != AF_OK; k++) {
                long live = memory.live;
                memory.fail_at = memory.calls + k;
                status = writing ? write_kind(kind, file("full")) : read_kind(kind, file("full"));
                CHECK(memory.live == live);
                CHECK(status == AF_OK || status == AF_ERROR_MEMORY);
                if (status != AF_OK) CHECK_FAILED(AF_ERROR_MEMORY, "out of memory");
                CHECK(!exists(file("full.tmp-0")));
            }
            CHECK(k > 2 && k < 1000);
            memory.fail_at = 0;
            CHECK(read_kind(kind, file("full")) == AF_OK);
            remove(file("full"));
            close_context();
        }
    }
}

int main(int argc, char **argv) {
    if (argc > 1) folder = argv[1];
    else if (getenv("TMPDIR")) folder = getenv("TMPDIR");
    else if (POSIX) folder = "/tmp";
#if POSIX
    process = (long)getpid();
#endif
    RUN(numbers_exact);
    RUN(numbers_kinds);
    RUN(numbers_survive_the_locale);
    RUN(tensors_round_trip);
    RUN(tensors_bytes);
    RUN(tensors_refuse);
    RUN(tensors_bad_headers);
    RUN(tensors_foreign);
    RUN(npy_round_trip);
    RUN(npy_types);
    RUN(npy_refuse);
    RUN(table_dialects);
    RUN(table_chosen_columns);
    RUN(table_refuse);
    RUN(table_round_trip);
    RUN(table_large);
    RUN(reading_fails);
    RUN(writing_fails);
#if POSIX
    RUN(writing_on_a_full_disk);
    RUN(writing_where_it_is_forbidden);
    RUN(writing_beside_leftovers);
#endif
    RUN(truncated_everywhere);
    RUN(memory_fails_everywhere);
    remove(file("a.st"));
    remove(file("b.st"));
    remove(file("a.npy"));
    return test_report();
}
