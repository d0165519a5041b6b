/* Trajectories from memory and from files: ragged and uneven orbits, padding, every error. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "trajectory"
#include "af_mock.h"

static heap memory;
static af_context *c;

/* Three orbits of two degrees of freedom. */
enum { ORBITS = 3, TOTAL = 9, LONGEST = 4 };
static const size_t counts[ORBITS] = {3, 2, 4};
static const double id[ORBITS] = {12.0, -3.5, 1e6};
static const char *const coordinates[4] = {"x", "y", "px", "py"};

typedef struct sample_set {
    double time[TOTAL], qp[4 * TOTAL], orbit[TOTAL];
} sample_set;

/* Random numbers; uneven times, which begin anew in each orbit. */
static void fill(sample_set *s) {
    size_t o, i, at = 0;
    for (i = 0; i < 4 * TOTAL; i++) s->qp[i] = 10.0 * af_random_normal(3, 0, i);
    for (o = 0; o < ORBITS; o++)
        for (i = 0; i < counts[o]; i++, at++) {
            double step = 0.01 + af_random_uniform(3, 1, at);
            s->time[at] = i == 0 ? -1.0 - (double)o : s->time[at - 1] + step;
            s->orbit[at] = id[o];
        }
}

/* The three orbits as they went in, bit for bit; with numbers: those of the file. */
static void check_orbits(const af_trajectories *t, const sample_set *s, int numbers) {
    size_t o, at = 0;
    CHECK(t && af_trajectories_freedoms(t) == 2 && af_trajectories_orbits(t) == ORBITS);
    CHECK(t && af_trajectories_total(t) == TOTAL);
    for (o = 0; t && o < ORBITS; at += counts[o++]) {
        CHECK(af_trajectories_samples(t, o) == counts[o]);
        CHECK(af_trajectories_id(t, o) == (numbers ? id[o] : (double)o));
        CHECK(memcmp(af_trajectories_time(t, o), s->time + at, counts[o] * sizeof(double)) == 0);
        CHECK(memcmp(af_trajectories_qp(t, o), s->qp + 4 * at, counts[o] * 4 * sizeof(double)) ==
              0);
    }
    CHECK_TEXT(af_error(c), "");
    CHECK(af_error_status(c) == AF_OK);
}

/* The status, two texts in the sentence, and nothing given; the context is cleared. */
static void check_failed(int line, af_status status, const af_trajectories *t, af_status expected,
                         const char *words, const char *more) {
    int right = status == expected && af_error_status(c) == expected && !t &&
                strstr(af_error(c), words) && strstr(af_error(c), more) &&
                strlen(af_error(c)) < test_error_room() - 1;
    CHECK(right);
    if (!right)
        printf("  line %d: status %d, expected %d; '%s' and '%s' expected in '%s'\n", line,
               (int)status, (int)expected, words, more, af_error(c));
    af_error_clear(c);
}

#define CHECK_FAILS(call, status, words, more)                              \
    do {                                                                    \
        af_status found_;                                                   \
        t = (af_trajectories *)&memory; /* not NULL */                      \
        found_ = (call);                                                    \
        check_failed(__LINE__, found_, t, (status), (words), (more));       \
    } while (0)

/* ---- memory ---- */

TEST(memory_round_trip) {
    sample_set s;
    af_trajectories *t;
    fill(&s);
    CHECK(af_trajectories_create(c, 2, ORBITS, counts, s.time, s.qp, &t) == AF_OK);
    check_orbits(t, &s, 0);
    CHECK(t && af_trajectories_time(t, 2) == af_trajectories_time(t, 0) + 5);
    CHECK(t && af_trajectories_qp(t, 2) == af_trajectories_qp(t, 0) + 20);
    s.qp[0] = s.time[0] = 777.0; /* it has its own copy */
    CHECK(t && af_trajectories_qp(t, 0)[0] != 777.0 && af_trajectories_time(t, 0)[0] != 777.0);
    af_trajectories_destroy(t);
    af_trajectories_destroy(NULL);
}

TEST(memory_freedoms) {
    double time[2] = {0.0, 1.0}, qp[2 * 2 * AF_FREEDOMS_MAX];
    size_t n, k, two = 2;
    af_trajectories *t;
    for (k = 0; k < AF__COUNT(qp); k++) qp[k] = (double)k;
    for (n = 1; n <= AF_FREEDOMS_MAX; n++) {
        CHECK(af_trajectories_create(c, n, 1, &two, time, qp, &t) == AF_OK);
        CHECK(t && af_trajectories_freedoms(t) == n && af_trajectories_total(t) == 2);
        for (k = 0; t && k < 4 * n; k++) CHECK(af_trajectories_qp(t, 0)[k] == qp[k]);
        af_trajectories_destroy(t);
    }
    CHECK_FAILS(af_trajectories_create(c, 0, 1, &two, time, qp, &t), AF_ERROR_ARGUMENT,
                "0 degrees of freedom", "1 to 8");
    CHECK_FAILS(af_trajectories_create(c, AF_FREEDOMS_MAX + 1, 1, &two, time, qp, &t),
                AF_ERROR_ARGUMENT, "9 degrees of freedom", "1 to 8");
    CHECK_FAILS(af_trajectories_create(c, 1, 0, &two, time, qp, &t), AF_ERROR_ARGUMENT, "no orbits",
                "");
}

/* Every number in turn is none; times that stand or go back. */
TEST(memory_numbers) {
    static const char *const name[4] = {"q_1", "q_2", "p_1", "p_2"};
    sample_set s;
    size_t o, i, k, at = 0;
    char place[80];
    af_trajectories *t;
    fill(&s);
    for (o = 0; o < ORBITS; o++)
        for (i = 0; i < counts[o]; i++, at++) {
            double kept = s.time[at];
            snprintf(place, sizeof place, "trajectories, orbit %d, sample %d (counted from 0): ",
                     (int)o, (int)i);
            s.time[at] = at % 2 ? NAN : INFINITY;
            CHECK_FAILS(af_trajectories_create(c, 2, ORBITS, counts, s.time, s.qp, &t),
                        AF_ERROR_DATA, place, ": t is not");
            if (i > 0) {
                s.time[at] = s.time[at - 1];
                CHECK_FAILS(af_trajectories_create(c, 2, ORBITS, counts, s.time, s.qp, &t),
                            AF_ERROR_DATA, place, "by time and");
                s.time[at] -= 1.0;
                CHECK_FAILS(af_trajectories_create(c, 2, ORBITS, counts, s.time, s.qp, &t),
                            AF_ERROR_DATA, place, "comes after");
            }
            s.time[at] = kept;
            for (k = 0; k < 4; k++) {
                kept = s.qp[4 * at + k];
                s.qp[4 * at + k] = k % 2 ? -INFINITY : NAN;
                CHECK_FAILS(af_trajectories_create(c, 2, ORBITS, counts, s.time, s.qp, &t),
                            AF_ERROR_DATA, place, name[k]);
                s.qp[4 * at + k] = kept;
            }
        }
    CHECK(af_trajectories_create(c, 2, ORBITS, counts, s.time, s.qp, &t) == AF_OK);
    af_trajectories_destroy(t);
}

TEST(memory_sizes) {
    sample_set s;
    size_t count[ORBITS] = {2, 1, 3};
    af_trajectories *t;
    fill(&s);
    CHECK_FAILS(af_trajectories_create(c, 2, ORBITS, count, s.time, s.qp, &t), AF_ERROR_DATA,
                "orbit 1 (counted from 0)", "a single sample");
    count[1] = 0;
    CHECK_FAILS(af_trajectories_create(c, 2, ORBITS, count, s.time, s.qp, &t), AF_ERROR_DATA,
                "orbit 1 (counted from 0)", "no samples");
    count[1] = SIZE_MAX;
    CHECK_FAILS(af_trajectories_create(c, 2, ORBITS, count, s.time, s.qp, &t), AF_ERROR_MEMORY,
                "out of memory", "");
    count[1] = SIZE_MAX / 2 + 1;
    CHECK_FAILS(af_trajectories_create(c, 1, ORBITS, count, s.time, s.qp, &t), AF_ERROR_MEMORY,
                "out of memory", "");
    count[1] = SIZE_MAX / 16;
    CHECK_FAILS(af_trajectories_create(c, 8, ORBITS, count, s.time, s.qp, &t), AF_ERROR_MEMORY,
                "out of memory", "");
    CHECK_FAILS(af_trajectories_create(c, 8, SIZE_MAX, count, s.time, s.qp, &t), AF_ERROR_MEMORY,
                "out of memory", "");
    CHECK_FAILS(af_trajectories_create(c, 8, SIZE_MAX / 16 - 1, count, s.time, s.qp, &t),
                AF_ERROR_MEMORY, "out of memory", "");
    CHECK(memory.live == 1); /* the context */
}

/* ---- tables ---- */

static void add_columns(af_table *table, const sample_set *s) {
    size_t k;
    for (k = 0; k < 4; k++) af_table_add(table, coordinates[k], TOTAL, s->qp + k, 4);
}

TEST(table_round_trip) {
    const char *path = scratch_file("good.csv");
    af_trajectories_desc d = AF__ZERO;
    sample_set s;
    af_table *table;
    af_trajectories *t;
    fill(&s);
    CHECK(af_table_create(c, &table) == AF_OK);
    af_table_add(table, "orbit", TOTAL, s.orbit, 1);
    af_table_add(table, "t", TOTAL, s.time, 1);
    add_columns(table, &s);
    CHECK(af_table_write(table, path) == AF_OK);
    af_table_destroy(table);
    CHECK(af_trajectories_read(c, path, NULL, &t) == AF_OK);
    check_orbits(t, &s, 1);
    af_trajectories_destroy(t);
    d.columns = coordinates;
    d.column_count = 4;
    d.interval = 5.0; /* the file has the times */
    CHECK(af_trajectories_read(c, path, &d, &t) == AF_OK);
    check_orbits(t, &s, 1);
    af_trajectories_destroy(t);
    remove(path);
}

/* orbit and t may stand anywhere, and the coordinates are in the order of the file. */
TEST(table_order) {
    const char *path = scratch_file("order.csv");
    sample_set s;
    af_table *table;
    af_trajectories *t;
    size_t k;
    fill(&s);
    CHECK(af_table_create(c, &table) == AF_OK);
    for (k = 0; k < 4; k++) {
        af_table_add(table, coordinates[3 - k], TOTAL, s.qp + k, 4); /* named the other way round */
        if (k == 0) af_table_add(table, "t", TOTAL, s.time, 1);
        if (k == 2) af_table_add(table, "orbit", TOTAL, s.orbit, 1);
    }
    CHECK(af_table_write(table, path) == AF_OK);
    af_table_destroy(table);
    CHECK(af_trajectories_read(c, path, NULL, &t) == AF_OK);
    check_orbits(t, &s, 1);
    af_trajectories_destroy(t);
    remove(path);
}

/* Columns that nobody asks for may hold anything; without `orbit` all is one. */
TEST(table_columns) {
    static const char text[] = "# comment\n"
                               "name  p t   q  x\n"
                               "Sirius 1 -2 10 nan\n"
                               "# another\n"
                               "\n"
                               "?      2 0.5 20 1e999\n"
                               "\"a b\" 3 7e1 30 -\n";
    static const char *const names[4] = {"q", "p", "x", "q"};
    static const double time[3] = {-2.0, 0.5, 70.0}, qp[6] = {10.0, 1.0, 20.0, 2.0, 30.0, 3.0};
    const char *path = scratch_file("columns.txt");
    af_trajectories_desc d = AF__ZERO;
    af_trajectories *t;
    write_text(path, text);
    d.columns = names;
    d.column_count = 2;
    CHECK(af_trajectories_read(c, path, &d, &t) == AF_OK);
    CHECK_TEXT(af_error(c), "");
    CHECK(t && af_trajectories_freedoms(t) == 1 && af_trajectories_orbits(t) == 1);
    CHECK(t && af_trajectories_samples(t, 0) == 3 && af_trajectories_id(t, 0) == 0.0);
    CHECK(t && memcmp(af_trajectories_time(t, 0), time, sizeof time) == 0);
    CHECK(t && memcmp(af_trajectories_qp(t, 0), qp, sizeof qp) == 0);
    af_trajectories_destroy(t);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_FORMAT, "line 3, column 'name'",
                "'Sirius' is not a number");
    d.columns = names + 1;
    CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_DATA, "line 3, column 'x'", "NaN");
    d.columns = names;
    d.column_count = 4;
    CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_ARGUMENT, "'q'", "twice");
    remove(path);
}

/* The comment above names the columns; and the line of an error counts from the file's first. */
TEST(table_comment_header) {
    static const char good[] = "# written by savetxt\n# orbit t q p\n7 0 1 2\n7 1 3 4\n8 5 5 6\n"
                               "8 6 7 8\n";
    static const char bad[] = "# written by savetxt\n# orbit t q p\n7 0 1 2\n\n7 1 3 4\n8 5 5 6\n"
                              "# c\n8 5 7 8\n";
    const char *path = scratch_file("savetxt.txt");
    af_trajectories *t;
    write_text(path, good);
    CHECK(af_trajectories_read(c, path, NULL, &t) == AF_OK);
    CHECK(t && af_trajectories_orbits(t) == 2 && af_trajectories_id(t, 1) == 8.0);
    CHECK(t && af_trajectories_qp(t, 1)[3] == 8.0 && af_trajectories_time(t, 1)[1] == 6.0);
    af_trajectories_destroy(t);
    write_text(path, bad);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_DATA, "line 8, orbit 8: ",
                "t = 5 comes after 5");
    remove(path);
}

TEST(table_interval) {
    static const char text[] = "q,orbit,p\n1,4,2\n3,4,4\n5,4,6\n7,2,8\n9,2,10\n";
    const char *path = scratch_file("interval.csv");
    af_trajectories_desc d = AF__ZERO;
    af_trajectories *t;
    size_t o, i;
    write_text(path, text);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_FORMAT,
                "has no column 't'; its columns are q, orbit, p;", "give the time between samples");
    d.interval = 0.1;
    CHECK(af_trajectories_read(c, path, &d, &t) == AF_OK);
    CHECK(t && af_trajectories_orbits(t) == 2 && af_trajectories_total(t) == 5);
    CHECK(t && af_trajectories_samples(t, 0) == 3 && af_trajectories_id(t, 1) == 2.0);
    for (o = 0; t && o < 2; o++)
        for (i = 0; i < af_trajectories_samples(t, o); i++)
            CHECK(af_trajectories_time(t, o)[i] == 0.1 * (double)i);
    CHECK(t && af_trajectories_qp(t, 1)[0] == 7.0 && af_trajectories_qp(t, 1)[3] == 10.0);
    af_trajectories_destroy(t);
    d.interval = 1e308; /* the third time is not a number */
    CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_DATA, "line 4, orbit 4",
                "t is not a finite number");
    remove(path);
}

TEST(table_errors) {
    static const struct {
        const char *text, *words, *more;
        af_status status;
    } bad[] = {
        {"", "is empty", "", AF_ERROR_FORMAT},
        {"# nothing\n\n", "is empty", "", AF_ERROR_FORMAT},
        {"orbit,t,q,p\n", "no rows", "", AF_ERROR_FORMAT},
        {"1,2,3,4\n", "line 1", "names of the columns", AF_ERROR_FORMAT},
        {"t\n1\n2\n", "has 0 columns beside", "are t", AF_ERROR_FORMAT},
        {"t,q\n1,2\n2,2\n", "has 1 columns beside", "are t, q", AF_ERROR_FORMAT},
        {",orbit,t,x,px\n0,0,1,2,3\n1,0,2,2,3\n", "3 columns beside", "are '', orbit, t, x, px",
         AF_ERROR_FORMAT},
        {"time,x,px\n0,0,1\n1,0,2\n", "no column 't'", "time, x, px", AF_ERROR_FORMAT},
        {"t,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r\n1\n", "18 columns beside", "from 2 to 16",
         AF_ERROR_FORMAT},
        {"t,q,p,q,p\n1,2,3,4,5\n", "2 columns 'q'", "rename", AF_ERROR_FORMAT},
        {"t,t,q,p\n1,2,3,4\n", "2 columns 't'", "rename", AF_ERROR_FORMAT},
        {"orbit,orbit,t,q,p\n1,1,2,3,4\n", "2 columns 'orbit'", "rename", AF_ERROR_FORMAT},
        {"t,q,p\n1,2,3\n\n2,3\n", "line 4", "2 fields", AF_ERROR_FORMAT},
        {"t,q,p\n1,2,3\n2,\"a\"\"b\",4\n", "line 3, column 'q'", "not a number", AF_ERROR_FORMAT},
        {"t,q,p\n1,2,3\n2,3,\n", "line 3, column 'p'", "empty", AF_ERROR_DATA},
        {"t,q,p\n1,2,3\n2,inf,1\n", "line 3, column 'q'", "infinite", AF_ERROR_DATA},
        {"t,q,p\nnan,2,3\n2,1,1\n", "line 2, column 't'", "NaN", AF_ERROR_DATA},
        {"orbit,t,q,p\nnan,1,2,3\n", "line 2, column 'orbit'", "NaN", AF_ERROR_DATA},
        {"orbit,t,q,p\n5,1,2,3\n#\n5,1,2,3\n", "line 4, orbit 5: ", "t = 1 comes after 1",
         AF_ERROR_DATA},
        {"orbit,t,q,p\n1,1,2,3\n1,2,2,3\n5,1.5,2,3\n5,-0.25,2,3\n", "line 5, orbit 5: ",
         "t = -0.25 comes after 1.5", AF_ERROR_DATA},
        {"t,q,p\n1,2,3\n2,2,3\n0,2,3\n", "line 4: t = 0 comes after 2", "a column 'orbit'",
         AF_ERROR_DATA},
        {"orbit,t,q,p\n1,1,2,3\n1,2,2,3\n\n1000000,1,2,3\n7,1,2,3\n7,2,2,3\n",
         "line 5, orbit 1000000: ", "single sample", AF_ERROR_DATA},
        {"t,q,p\n1,2,3\n", "line 2: ", "single sample", AF_ERROR_DATA},
    };
    const char *path = scratch_file("bad.csv");
    size_t i;
    af_trajectories *t;
    for (i = 0; i < AF__COUNT(bad); i++) {
        write_text(path, bad[i].text);
        CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), bad[i].status, bad[i].words,
                    bad[i].more);
        CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), bad[i].status, path, "");
    }
    remove(path);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_IO, path, "cannot read");
    CHECK_FAILS(af_trajectories_read(c, "", NULL, &t), AF_ERROR_IO, "''", "");
    CHECK_FAILS(af_trajectories_read(c, NULL, NULL, &t), AF_ERROR_ARGUMENT, "NULL", "");
}

/* The first row, in the order of the file, at which an orbit goes on after another. */
TEST(table_interrupted) {
    static const struct {
        const char *text, *words, *more;
    } bad[] = {
        {"orbit,t,q,p\n1,0,0,0\n1,1,0,0\n2,0,0,0\n2,1,0,0\n1,2,0,0\n", "line 6: orbit 1 goes on",
         "after rows of orbit 2"},
        {"orbit,t,q,p\n9,0,0,0\n4,0,0,0\n\n9,1,0,0\n4,1,0,0\n", "line 5: orbit 9 goes on",
         "sort the rows by orbit and t"},
        {"orbit,t,q,p\n4,0,0,0\n9,0,0,0\n4,1,0,0\n9,1,0,0\n4,2,0,0\n", "line 4: orbit 4 goes on",
         "after rows of orbit 9"},
        {"orbit,t,q,p\n0,0,0,0\n9,0,0,0\n-0,1,0,0\n", "line 4: orbit ", "after rows of orbit 9"},
    };
    const char *path = scratch_file("interrupted.csv");
    size_t i;
    af_trajectories *t;
    for (i = 0; i < AF__COUNT(bad); i++) {
        write_text(path, bad[i].text);
        CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_DATA, bad[i].words,
                    bad[i].more);
    }
    remove(path);
}

/* A list of names that does not fit ends in dots, and the sentence is still whole. */
TEST(table_long) {
    char text[4096] = "time", path[600], folder[240];
    const char *file;
    size_t i;
    FILE *out;
    af_trajectories *t;
    memset(folder, 'y', sizeof folder);
    folder[200] = 0; /* a name that fills the place of a path in the sentence */
    strcat(folder, ".csv");
    file = scratch_file("");
    snprintf(path, sizeof path, "%.300s%s", file, folder);
    for (i = 0; i < 40; i++) sprintf(text + strlen(text), ",coordinate_%d", (int)i);
    strcat(text, "\n1\n");
    out = fopen(path, "wb");
    CHECK(out);
    if (!out) return;
    fputs(text, out);
    fclose(out);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_FORMAT, "time, coordinate_0, ",
                "...; where samples are evenly spaced, give the time between samples");
    text[1] = ','; /* t, "me" */
    out = fopen(path, "wb");
    fputs(text, out);
    fclose(out);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_FORMAT, "has 41 columns beside",
                "...");
    remove(path);
}

/* ---- NPY ---- */

/* The orbits as (ORBITS, LONGEST, 5) with t, or (ORBITS, LONGEST, 4), padded with NaN. */
static void pad(const sample_set *s, size_t timed, double *rows) {
    size_t o, i, at = 0, columns = 4 + timed;
    for (i = 0; i < ORBITS * LONGEST * columns; i++) rows[i] = NAN;
    for (o = 0; o < ORBITS; o++)
        for (i = 0; i < counts[o]; i++, at++) {
            double *row = rows + (o * LONGEST + i) * columns;
            if (timed) row[0] = s->time[at];
            memcpy(row + timed, s->qp + 4 * at, 4 * sizeof *row);
        }
}

TEST(npy_round_trip) {
    const char *path = scratch_file("good.npy");
    size_t dims[3] = {ORBITS, LONGEST, 5}, o, i, at = 0;
    double rows[ORBITS * LONGEST * 5];
    af_trajectories_desc d = AF__ZERO;
    sample_set s;
    af_trajectories *t;
    fill(&s);
    pad(&s, 1, rows);
    CHECK(af_npy_write(c, path, 3, dims, rows) == AF_OK);
    CHECK(af_trajectories_read(c, path, NULL, &t) == AF_OK);
    check_orbits(t, &s, 0);
    af_trajectories_destroy(t);
    d.interval = 0.3; /* the file has the times */
    CHECK(af_trajectories_read(c, path, &d, &t) == AF_OK);
    check_orbits(t, &s, 0);
    af_trajectories_destroy(t);
    dims[2] = 4;
    pad(&s, 0, rows);
    for (o = 0; o < ORBITS; o++)
        for (i = 0; i < counts[o]; i++) s.time[at++] = 0.3 * (double)i;
    CHECK(af_npy_write(c, path, 3, dims, rows) == AF_OK);
    CHECK(af_trajectories_read(c, path, &d, &t) == AF_OK);
    check_orbits(t, &s, 0);
    af_trajectories_destroy(t);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_SHAPE, "shape (3,4,4)",
                "give the time between samples");
    remove(path);
}

TEST(npy_one_orbit) {
    const char *path = scratch_file("one.npy");
    static const double rows[12] = {0.5, 1, 2, 0.7, 3, 4, 2.5, 5, 6, 3.5, 7, 8};
    size_t dims[2] = {4, 3}, i;
    af_trajectories_desc d = AF__ZERO;
    af_trajectories *t;
    CHECK(af_npy_write(c, path, 2, dims, rows) == AF_OK);
    CHECK(af_trajectories_read(c, path, NULL, &t) == AF_OK);
    CHECK(t && af_trajectories_orbits(t) == 1 && af_trajectories_freedoms(t) == 1);
    CHECK(t && af_trajectories_samples(t, 0) == 4 && af_trajectories_id(t, 0) == 0.0);
    for (i = 0; t && i < 4; i++) {
        CHECK(af_trajectories_time(t, 0)[i] == rows[3 * i]);
        CHECK(af_trajectories_qp(t, 0)[2 * i] == rows[3 * i + 1]);
        CHECK(af_trajectories_qp(t, 0)[2 * i + 1] == rows[3 * i + 2]);
    }
    af_trajectories_destroy(t);
    dims[0] = 3;
    dims[1] = 4;
    d.interval = 2.0;
    CHECK(af_npy_write(c, path, 2, dims, rows) == AF_OK);
    CHECK(af_trajectories_read(c, path, &d, &t) == AF_OK);
    CHECK(t && af_trajectories_freedoms(t) == 2 && af_trajectories_samples(t, 0) == 3);
    CHECK(t && memcmp(af_trajectories_qp(t, 0), rows, sizeof rows) == 0);
    CHECK(t && af_trajectories_time(t, 0)[2] == 4.0);
    af_trajectories_destroy(t);
    remove(path);
}

TEST(npy_shapes) {
    static const struct {
        int rank;
        size_t dims[4];
        const char *words, *more;
        af_status status;
    } bad[] = {
        {0, {0, 0, 0, 0}, "shape ()", "(orbits, samples, 1 + 2n)", AF_ERROR_SHAPE},
        {1, {6, 0, 0, 0}, "shape (6)", "(orbits, samples, 1 + 2n)", AF_ERROR_SHAPE},
        {4, {2, 2, 5, 1}, "shape (2,2,5,1)", "(orbits, samples, 1 + 2n)", AF_ERROR_SHAPE},
        {3, {2, 5, 1}, "shape (2,5,1)", "(orbits, samples, 1 + 2n)", AF_ERROR_SHAPE},
        {3, {2, 5, 0}, "shape (2,5,0)", "(orbits, samples, 1 + 2n)", AF_ERROR_SHAPE},
        {3, {1, 2, 18}, "shape (1,2,18)", "n up to 8", AF_ERROR_SHAPE},
        {2, {2, 19, 0}, "shape (2,19)", "n up to 8", AF_ERROR_SHAPE},
        {2, {2, 16, 0}, "shape (2,16)", "give the time between samples", AF_ERROR_SHAPE},
        {3, {0, 4, 3}, "shape (0,4,3)", "no samples", AF_ERROR_DATA},
        {3, {4, 0, 3}, "shape (4,0,3)", "no samples", AF_ERROR_DATA},
        {2, {0, 3, 0}, "shape (0,3)", "no samples", AF_ERROR_DATA},
        {3, {3, 1, 5}, "orbit 0 (counted from 0)", "single sample", AF_ERROR_DATA},
    };
    static const double rows[64] = {0};
    const char *path = scratch_file("shapes.npy");
    size_t i;
    af_trajectories *t;
    for (i = 0; i < AF__COUNT(bad); i++) {
        af_npy_write(c, path, bad[i].rank, bad[i].dims, rows);
        CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), bad[i].status, bad[i].words,
                    bad[i].more);
        CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), bad[i].status, path, "");
    }
    remove(path);
}

/* Padding is at the end, and its rows are NaN throughout. */
TEST(npy_numbers) {
    static const char *const name[5] = {"t", "q_1", "q_2", "p_1", "p_2"};
    const char *path = scratch_file("numbers.npy");
    size_t dims[3] = {ORBITS, LONGEST, 5}, k;
    double rows[ORBITS * LONGEST * 5];
    sample_set s;
    af_trajectories *t;
    fill(&s);
    pad(&s, 1, rows);
    for (k = 0; k < 5; k++) { /* the last sample of orbit 1 */
        double kept = rows[25 + k];
        rows[25 + k] = NAN;
        af_npy_write(c, path, 3, dims, rows);
        CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_DATA,
                    "', orbit 1, sample 1 (counted from 0): ", name[k]);
        rows[25 + k] = kept;
    }
    rows[34] = 1.0; /* one number in the padding */
    af_npy_write(c, path, 3, dims, rows);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_DATA, path,
                "', orbit 1, sample 2 (counted from 0): t is not");
    rows[34] = INFINITY;
    af_npy_write(c, path, 3, dims, rows);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_DATA, path, "orbit 1, sample 2");
    rows[34] = NAN;
    rows[5] = rows[0];
    af_npy_write(c, path, 3, dims, rows);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_DATA, path,
                "', orbit 0, sample 1 (counted from 0): t = -1 comes after -1");
    for (k = 25; k < 30; k++) rows[k] = NAN;
    rows[5] = s.time[1];
    af_npy_write(c, path, 3, dims, rows);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_DATA,
                "', orbit 1 (counted from 0): ", "a single sample");
    for (k = 20; k < 25; k++) rows[k] = NAN;
    af_npy_write(c, path, 3, dims, rows);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_DATA,
                "', orbit 1 (counted from 0): ", "no samples");
    remove(path);
}

TEST(npy_files) {
    const char *path = scratch_file("cut.npy");
    static const double rows[12] = {0, 1, 2, 1, 3, 4, 0, 5, 6, 1, 7, 8};
    size_t dims[3] = {2, 2, 3}, n, i;
    unsigned char *bytes;
    af_trajectories *t;
    af_npy_write(c, path, 3, dims, rows);
    bytes = read_bytes(path, &n);
    for (i = 0; i < n; i += 5) {
        write_bytes(path, bytes, i);
        CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_FORMAT, path, "");
    }
    free(bytes);
    write_text(path, "orbit,t,q,p\n1,2,3,4\n1,3,3,4\n");
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_FORMAT, path, "not an NPY file");
    remove(path);
    CHECK_FAILS(af_trajectories_read(c, path, NULL, &t), AF_ERROR_IO, path, "cannot read");
    CHECK_FAILS(af_trajectories_read(c, ".npy", NULL, &t), AF_ERROR_IO, ".npy", "");
}

/* ---- settings and memory ---- */

TEST(settings) {
    static const char *const names[18] = {"q", "p", "a", "b", "c", "d", "e", "f", "g",
                                          "h", "i", "j", "k", "l", "m", "n", "o", "r"};
    static const char *const wrong[3][2] = {{"q", "t"}, {"orbit", "p"}, {"q", NULL}};
    static const double interval[4] = {-1.0, NAN, INFINITY, -INFINITY};
    static const size_t count[4] = {0, 1, 3, 18};
    const char *path = scratch_file("settings.csv");
    af_trajectories_desc d = AF__ZERO;
    size_t i;
    af_trajectories *t;
    write_text(path, "t,q,p\n1,2,3\n2,3,4\n");
    d.start_canary = 1;
    CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_ARGUMENT, "set to zero", "");
    d.start_canary = 0;
    d.end_canary = 1;
    CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_ARGUMENT, "set to zero", "");
    d.end_canary = 0;
    for (i = 0; i < 4; i++) {
        d.interval = interval[i];
        CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_ARGUMENT,
                    "time between samples", "positive");
    }
    d.interval = 0.0;
    d.column_count = 2; /* but no names */
    CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_ARGUMENT, "0 columns are named",
                "");
    d.columns = names;
    for (i = 0; i < 4; i++) {
        d.column_count = count[i];
        CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_ARGUMENT, "columns are named",
                    "an even number from 2 to 16");
    }
    d.column_count = 2;
    for (i = 0; i < 3; i++) {
        d.columns = wrong[i];
        CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_ARGUMENT,
                    i == 0 ? "'t'" : i == 1 ? "'orbit'" : "''", "cannot be one");
    }
    d.columns = names + 1;
    CHECK_FAILS(af_trajectories_read(c, path, &d, &t), AF_ERROR_FORMAT, "no column 'a'",
                "its columns are t, q, p");
    d.columns = names;
    CHECK(af_trajectories_read(c, path, &d, &t) == AF_OK);
    af_trajectories_destroy(t);
    CHECK_FAILS(af_trajectories_read(c, "x.npy", &d, &t), AF_ERROR_ARGUMENT, "'x.npy'",
                "leave the names out");
    remove(path);
}

/* One way of four to make trajectories. */
static af_status make(size_t kind, const char *path, const double *rows, af_trajectories **t) {
    static const char *const names[2] = {"p", "q"};
    static const size_t samples[2] = {2, 2};
    af_trajectories_desc d = AF__ZERO;
    d.interval = kind == 3 ? 0.5 : 0.0;
    if (kind == 2) {
        d.columns = names;
        d.column_count = 2;
    }
    if (kind == 0) return af_trajectories_create(c, 1, 2, samples, rows, rows, t);
    return af_trajectories_read(c, path, &d, t);
}

/* The k-th allocation fails, for every k. */
TEST(memory_fails) {
    static const char table[] = "orbit,t,q,p\n1,2,3,4\n1,3,4,5\n2,2,3,4\n2,5,6,7\n";
    static double rows[8] = {0, 1, 0, 1, 1, 2, 3, 4};
    size_t dims[3] = {2, 2, 2}, kind;
    long live = memory.live, k;
    for (kind = 0; kind < 4; kind++) {
        const char *path = scratch_file(kind == 3 ? "fails.npy" : "fails.csv");
        af_status s = AF_ERROR_MEMORY;
        af_trajectories *t = NULL;
        if (kind == 3) af_npy_write(c, path, 3, dims, rows);
        else if (kind > 0) write_text(path, table);
        for (k = 1; k < 1000 && s != AF_OK; k++) {
            t = (af_trajectories *)&memory;
            memory.fail_at = memory.calls + k;
            s = make(kind, path, rows, &t);
            memory.fail_at = 0;
            CHECK(s == AF_OK || (s == AF_ERROR_MEMORY && !t && memory.live == live));
            CHECK(s == AF_OK || strstr(af_error(c), "memory"));
            CHECK(af_error_status(c) == s);
            af_error_clear(c);
        }
        CHECK(s == AF_OK && k > (kind ? 4 : 1));
        CHECK(t && af_trajectories_total(t) == 4);
        af_trajectories_destroy(t);
        CHECK(memory.live == live);
        remove(path);
    }
}

int main(void) {
    c = heap_context(&memory, 1);
    RUN(memory_round_trip);
    RUN(memory_freedoms);
    RUN(memory_numbers);
    RUN(memory_sizes);
    RUN(table_round_trip);
    RUN(table_order);
    RUN(table_columns);
    RUN(table_comment_header);
    RUN(table_interval);
    RUN(table_errors);
    RUN(table_interrupted);
    RUN(table_long);
    RUN(npy_round_trip);
    RUN(npy_one_orbit);
    RUN(npy_shapes);
    RUN(npy_numbers);
    RUN(npy_files);
    RUN(settings);
    RUN(memory_fails);
    af_context_destroy(c);
    return test_report();
}
