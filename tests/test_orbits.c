/* Orbits from memory and from files: order, ragged streams, every error sentence. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "orbits"
#include "af_mock.h"

static heap memory;
static af_context *c;

/* The status, the words in the sentence, and nothing given; the context is cleared. */
#define CHECK_FAILS(call, status, words)              \
    do {                                              \
        o = (af_orbits *)&memory; /* not NULL */      \
        CHECK((call) == (status));                    \
        CHECK(o == NULL);                             \
        CHECK(af_error_status(c) == (status));        \
        CHECK_TEXT(af_error(c), (words));             \
        af_error_clear(c);                            \
    } while (0)

static void fill(double *xv, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) xv[i] = 10.0 * af_random_normal(3, 0, i);
}

TEST(memory_round_trip) {
    double xv[3 * 4 * 6];
    size_t count[3] = {4, 1, 3}, s, i, k;
    af_orbits *o;
    fill(xv, 72);
    CHECK(af_orbits_create(c, 3, 4, xv, count, &o) == AF_OK);
    CHECK(af_orbits_streams(o) == 3 && af_orbits_stars(o) == 4);
    for (s = 0; s < 3; s++) {
        CHECK(af_orbits_count(o, s) == count[s]);
        CHECK(af_orbits_id(o, s) == (double)s);
        for (i = 0; i < 4; i++) {
            size_t from = i < count[s] ? i : 0; /* missing ones repeat the first */
            CHECK(af_orbits_row(o, s, i) == 4 * s + i);
            for (k = 0; k < 6; k++)
                CHECK(af_orbits_xv(o, s)[6 * i + k] == xv[(4 * s + from) * 6 + k]);
        }
    }
    CHECK(af_orbits_xv(o, 1) == af_orbits_xv(o, 0) + 24);
    af_orbits_destroy(o);
    af_orbits_destroy(NULL);
}

TEST(memory_errors) {
    double xv[2 * 3 * 6];
    size_t count[2] = {3, 0}, k;
    static const char *const name[6] = {"1: x is",  "1: y is",  "1: z is",
                                        "1: vx is", "1: vy is", "1: vz is"};
    af_orbits *o;
    fill(xv, 36);
    CHECK_FAILS(af_orbits_create(c, 2, 3, xv, count, &o), AF_ERROR_DATA, "stream 1 has no stars");
    CHECK_FAILS(af_orbits_create(c, 0, 3, xv, NULL, &o), AF_ERROR_DATA, "no stars");
    CHECK_FAILS(af_orbits_create(c, 2, 0, xv, NULL, &o), AF_ERROR_DATA, "no stars");
    count[1] = 4;
    CHECK_FAILS(af_orbits_create(c, 2, 3, xv, count, &o), AF_ERROR_ARGUMENT, "stream 1");
    CHECK_FAILS(af_orbits_create(c, SIZE_MAX / 8, 16, xv, NULL, &o), AF_ERROR_MEMORY,
                "out of memory");
    CHECK_FAILS(af_orbits_create(c, SIZE_MAX / 48, 8, xv, NULL, &o), AF_ERROR_MEMORY,
                "out of memory");
    CHECK_FAILS(af_orbits_create(c, 2, SIZE_MAX / 2 + 1, xv, NULL, &o), AF_ERROR_MEMORY,
                "out of memory");
    count[1] = 2;
    for (k = 0; k < 6; k++) { /* stream 1, star 1 */
        double kept = xv[24 + k];
        xv[24 + k] = k % 2 ? NAN : -INFINITY;
        CHECK_FAILS(af_orbits_create(c, 2, 3, xv, count, &o), AF_ERROR_DATA, "stream 1, star 1");
        af_orbits_create(c, 2, 3, xv, count, &o);
        CHECK_TEXT(af_error(c), name[k]);
        af_error_clear(c);
        xv[24 + k] = kept;
    }
    xv[35] = NAN; /* a star that does not count */
    CHECK(af_orbits_create(c, 2, 3, xv, count, &o) == AF_OK);
    CHECK(o && af_orbits_xv(o, 1)[17] == xv[23]);
    af_orbits_destroy(o);
}

TEST(parts) {
    double xv[5 * 2 * 6];
    size_t count[5] = {2, 1, 2, 1, 2};
    af_orbits *o, *all;
    fill(xv, 60);
    CHECK(af_orbits_create(c, 5, 2, xv, count, &all) == AF_OK);
    CHECK(af_orbits_part(c, all, 1, 3, &o) == AF_OK);
    CHECK(af_orbits_streams(o) == 3 && af_orbits_stars(o) == 2);
    CHECK(af_orbits_count(o, 0) == 1 && af_orbits_count(o, 1) == 2 && af_orbits_count(o, 2) == 1);
    CHECK(af_orbits_id(o, 0) == 0.0 && af_orbits_row(o, 1, 1) == 3);
    CHECK(memcmp(af_orbits_xv(o, 1), xv + 24, 12 * sizeof *xv) == 0);
    af_orbits_destroy(o);
    CHECK(af_orbits_part(c, all, 0, 5, &o) == AF_OK);
    CHECK(memcmp(af_orbits_xv(o, 0), af_orbits_xv(all, 0), sizeof xv) == 0);
    af_orbits_destroy(o);
    CHECK_FAILS(af_orbits_part(c, all, 3, 3, &o), AF_ERROR_ARGUMENT,
                "3 streams from 3, there are 5");
    CHECK_FAILS(af_orbits_part(c, all, 6, 0, &o), AF_ERROR_ARGUMENT, "there are 5");
    CHECK_FAILS(af_orbits_part(c, all, 2, SIZE_MAX, &o), AF_ERROR_ARGUMENT, "there are 5");
    CHECK_FAILS(af_orbits_part(c, all, 2, 0, &o), AF_ERROR_DATA, "no stars");
    af_orbits_destroy(all);
}

/* ---- NPY ---- */

TEST(npy_round_trip) {
    const char *path = scratch_file("good.npy");
    double xv[4 * 3 * 6];
    size_t dims[3] = {4, 3, 6};
    af_orbits *o;
    fill(xv, 72);
    CHECK(af_npy_write(c, path, 3, dims, xv) == AF_OK);
    CHECK(af_orbits_read(c, path, &o) == AF_OK);
    CHECK(o && af_orbits_streams(o) == 4 && af_orbits_stars(o) == 3 && af_orbits_count(o, 3) == 3);
    CHECK(o && memcmp(af_orbits_xv(o, 0), xv, sizeof xv) == 0);
    CHECK(o && af_orbits_row(o, 2, 1) == 7 && af_orbits_id(o, 3) == 3.0);
    af_orbits_destroy(o);
    remove(path);
}

TEST(npy_errors) {
    const char *path = scratch_file("bad.npy");
    double xv[4 * 3 * 6];
    size_t dims[4] = {4, 3, 6, 1};
    af_orbits *o;
    fill(xv, 72);
    af_npy_write(c, path, 4, dims, xv);
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_SHAPE,
                "shape (4,3,6,1), expected (streams, stars, 6)");
    af_npy_write(c, path, 0, dims, xv);
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_SHAPE, "expected (streams, stars, 6)");
    dims[1] = 6;
    dims[2] = 3;
    af_npy_write(c, path, 3, dims, xv);
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_SHAPE, "shape (4,6,3)");
    dims[0] = 12;
    af_npy_write(c, path, 2, dims, xv);
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_SHAPE, "shape (12,6)");
    dims[0] = 0;
    dims[1] = 3;
    dims[2] = 6;
    af_npy_write(c, path, 3, dims, xv);
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_DATA, "no stars");
    dims[0] = 4;
    xv[40] = NAN; /* stream 2, star 0, component 4 */
    af_npy_write(c, path, 3, dims, xv);
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_DATA,
                "stream 2, star 0: vy is not a finite number");
    write_text(path, "");
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_FORMAT, path);
    write_text(path, "stream,x,y,z,vx,vy,vz\n1,2,3,4,5,6,7\n");
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_FORMAT, "not an NPY file");
    remove(path);
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_IO, path);
    CHECK_FAILS(af_orbits_read(c, "", &o), AF_ERROR_IO, "''");
    CHECK_FAILS(af_orbits_read(c, ".npy", &o), AF_ERROR_IO, ".npy");
}

TEST(npy_truncated) {
    const char *path = scratch_file("cut.npy");
    double xv[2 * 3 * 6];
    size_t dims[3] = {2, 3, 6}, n, i;
    unsigned char *bytes;
    af_orbits *o;
    fill(xv, 36);
    af_npy_write(c, path, 3, dims, xv);
    bytes = read_bytes(path, &n);
    for (i = 0; i < n; i += 5) {
        write_bytes(path, bytes, i);
        CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_FORMAT, path);
    }
    free(bytes);
    remove(path);
}

/* ---- tables ---- */

TEST(table_order) {
    static const char text[] = "# a comment\n"
                               "z,stream,x,extra,y,vz,vx,vy\n"
                               "3,7,1,a,2,6,4,5\n"
                               "0.3,-2.5,0.1,b,0.2,0.6,0.4,0.5\n"
                               "\n"
                               "33,7,11,c,22,66,44,55\n"
                               "303,1e6,101,d,202,606,404,505\n"
                               "-0.3,-2.5,-0.1,b,-0.2,-0.6,-0.4,-0.5\n"
                               "333,7,111,c,222,666,444,555\n";
    const char *path = scratch_file("order.csv");
    static const double id[3] = {-2.5, 7.0, 1e6}, first[3] = {0.1, 1.0, 101.0};
    static const size_t count[3] = {2, 3, 1}, row[3][3] = {{1, 4, 0}, {0, 2, 5}, {3, 0, 0}};
    static const double seven[18] = {1,  2,  3,  4,   5,   6,   11,  22,  33,
                                     44, 55, 66, 111, 222, 333, 444, 555, 666};
    size_t s, i;
    af_orbits *o;
    write_text(path, text);
    CHECK(af_orbits_read(c, path, &o) == AF_OK);
    CHECK_TEXT(af_error(c), "");
    CHECK(o && af_orbits_streams(o) == 3 && af_orbits_stars(o) == 3);
    for (s = 0; s < 3 && o; s++) {
        CHECK(af_orbits_id(o, s) == id[s]);
        CHECK(af_orbits_count(o, s) == count[s]);
        CHECK(af_orbits_xv(o, s)[0] == first[s]);
        for (i = 0; i < count[s]; i++) CHECK(af_orbits_row(o, s, i) == row[s][i]);
        for (; i < 3; i++) CHECK(af_orbits_xv(o, s)[6 * i] == first[s]);
    }
    CHECK(o && memcmp(af_orbits_xv(o, 1), seven, sizeof seven) == 0);
    af_orbits_destroy(o);
    remove(path);
}

/* Many rows in random order come out as they went in. */
TEST(table_shuffled) {
    enum { ROWS = 500 };
    const char *path = scratch_file("shuffled.csv");
    FILE *file = fopen(path, "wb");
    uint32_t order[ROWS];
    size_t s, i, seen = 0, last;
    af_orbits *o;
    af_random_permutation(5, 5, ROWS, order);
    fprintf(file, "stream x y z vx vy vz\n");
    for (i = 0; i < ROWS; i++) /* x tells the row */
        fprintf(file, "%u %lu 0 0 0 %u 1\n", (unsigned)(order[i] * 7919 % 37), (unsigned long)i,
                (unsigned)(order[i] * 7919 % 37));
    fclose(file);
    CHECK(af_orbits_read(c, path, &o) == AF_OK);
    CHECK(o && af_orbits_streams(o) == 37);
    for (s = 0; o && s < 37; s++)
        for (i = 0, last = 0; i < af_orbits_count(o, s); i++, seen++) {
            const double *xv = af_orbits_xv(o, s) + 6 * i;
            CHECK(xv[0] == (double)af_orbits_row(o, s, i));
            CHECK(xv[4] == af_orbits_id(o, s) && xv[5] == 1.0);
            CHECK(i == 0 || af_orbits_row(o, s, i) > last);
            last = af_orbits_row(o, s, i);
        }
    CHECK(seen == ROWS);
    af_orbits_destroy(o);
    remove(path);
}

TEST(table_errors) {
    static const struct {
        const char *text, *words;
        af_status status;
    } bad[] = {
        {"", "", AF_ERROR_FORMAT},
        {"stream,x,y,z,vx,vy,vz\n", "no rows", AF_ERROR_FORMAT},
        {"stream,x,y,z,vx,vy\n1,2,3,4,5,6\n", "vz", AF_ERROR_FORMAT},
        {"x,y,z,vx,vy,vz\n2,3,4,5,6,7\n", "stream", AF_ERROR_FORMAT},
        {"stream,x,y,z,vx,vy,vz\n1,2,3,4,5,6,7\n1,2,3,4,5,6\n", "line 3", AF_ERROR_FORMAT},
        {"stream,x,y,z,vx,vy,vz\n1,2,3,4,5,6,7\n1,2,nan,4,5,6,7\n", "line 3", AF_ERROR_DATA},
        {"stream,x,y,z,vx,vy,vz\n1,2,3,4,5,inf,7\n", "line 2", AF_ERROR_DATA},
        {"stream,x,y,z,vx,vy,vz\nnan,2,3,4,5,6,7\n", "line 2", AF_ERROR_DATA},
        {"stream,x,y,z,vx,vy,vz\n1,2,,4,5,6,7\n", "line 2", AF_ERROR_DATA},
        {"stream,x,y,z,vx,vy,vz\na,2,3,4,5,6,7\n", "line 2", AF_ERROR_FORMAT},
    };
    const char *path = scratch_file("bad.csv");
    size_t i;
    af_orbits *o;
    for (i = 0; i < AF__COUNT(bad); i++) {
        write_text(path, bad[i].text);
        CHECK_FAILS(af_orbits_read(c, path, &o), bad[i].status, bad[i].words);
        af_orbits_read(c, path, &o);
        CHECK_TEXT(af_error(c), path);
        af_error_clear(c);
    }
    remove(path);
    CHECK_FAILS(af_orbits_read(c, path, &o), AF_ERROR_IO, path);
}

/* One-star streams are read; whether they can be used is not the reader's question. */
TEST(one_star) {
    const char *path = scratch_file("one.csv");
    af_orbits *o;
    write_text(path, "stream,x,y,z,vx,vy,vz\n5,1,2,3,4,5,6\n4,1.5,2,3,4,5,6\n");
    CHECK(af_orbits_read(c, path, &o) == AF_OK);
    CHECK(o && af_orbits_streams(o) == 2 && af_orbits_stars(o) == 1);
    CHECK(o && af_orbits_xv(o, 0)[0] == 1.5 && af_orbits_row(o, 0, 0) == 1);
    af_orbits_destroy(o);
    remove(path);
}

/* Every allocation may fail. */
TEST(memory_fails) {
    static const char *const name[2] = {"fails.csv", "fails.npy"};
    double xv[12] = {0};
    size_t dims[3] = {1, 2, 6}, kind;
    long live = memory.live, k;
    for (kind = 0; kind < 2; kind++) {
        const char *path = scratch_file(name[kind]);
        af_status s = AF_ERROR_MEMORY;
        af_orbits *o = NULL;
        if (kind) af_npy_write(c, path, 3, dims, xv);
        else
            write_text(path,
                       "stream,x,y,z,vx,vy,vz\n1,2,3,4,5,6,7\n1,2,3,4,5,6,7\n2,2,3,4,5,6,7\n");
        for (k = 1; k < 1000 && s != AF_OK; k++) {
            memory.fail_at = memory.calls + k;
            s = af_orbits_read(c, path, &o);
            memory.fail_at = 0;
            CHECK(s == AF_OK || (s == AF_ERROR_MEMORY && !o));
            CHECK(s == AF_OK || strstr(af_error(c), "memory"));
            if (s != AF_OK) CHECK(memory.live == live);
            af_error_clear(c);
        }
        CHECK(s == AF_OK && k > 3);
        af_orbits_destroy(o);
        CHECK(memory.live == live);
        remove(path);
    }
}

int main(void) {
    c = heap_context(&memory, 1);
    RUN(memory_round_trip);
    RUN(memory_errors);
    RUN(parts);
    RUN(npy_round_trip);
    RUN(npy_errors);
    RUN(npy_truncated);
    RUN(table_order);
    RUN(table_shuffled);
    RUN(table_errors);
    RUN(one_star);
    RUN(memory_fails);
    af_context_destroy(c);
    return test_report();
}
