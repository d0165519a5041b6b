/* Samples of stars: volumes, copies, cuts, files, and what is refused. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#define MOCK_NAME "dp_sample"
#include "af_mock.h"

enum { STARS = 40 };

static heap memory;
static af_context *c;
static double eta[STARS][6], weight[STARS], error[STARS][6];

static void begin(void) {
    size_t i, k;
    CHECK(heap_open(&memory, 0, 1, &c) == AF_OK);
    for (i = 0; i < STARS; i++) {
        for (k = 0; k < 6; k++) {
            eta[i][k] = af_random_normal(1, k, i);
            error[i][k] = af_random_uniform(2, k, i);
        }
        weight[i] = af_random_uniform(3, 0, i);
    }
}

static void end(void) {
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

static dp_volume sphere(double inner, double outer) {
    dp_volume v = AF__ZERO;
    v.kind = DP_VOLUME_SPHERE;
    v.inner = inner;
    v.outer = outer;
    return v;
}

static dp_volume cylinder(double inner, double outer, double height, double hole) {
    dp_volume v = sphere(inner, outer);
    v.kind = DP_VOLUME_CYLINDER;
    v.height = height;
    v.hole = hole;
    return v;
}

static int holds(dp_volume v, double x, double y, double z) {
    double place[3];
    place[0] = x;
    place[1] = y;
    place[2] = z;
    return dp_volume_holds(&v, place);
}

/* ---- volumes ---- */

TEST(volumes_hold_what_they_should) {
    dp_volume v = AF__ZERO;
    CHECK(holds(v, 1e30, 0.0, 0.0));
    v = sphere(0.0, 2.0);
    CHECK(holds(v, 0.0, 0.0, 0.0));
    CHECK(holds(v, 1.1, 1.1, -1.1));
    CHECK(!holds(v, 1.2, 1.2, 1.2));
    v = sphere(1.0, 2.0);
    CHECK(!holds(v, 0.5, 0.5, 0.5));
    CHECK(holds(v, 0.6, 0.6, -0.6));
    v.centre[0] = 8.0;
    v.centre[2] = 1.0;
    CHECK(holds(v, 8.0, 1.5, 1.0));
    CHECK(holds(v, 8.0, 0.0, -0.5));
    CHECK(!holds(v, 0.0, 1.5, 0.0));
}

TEST(cylinders_and_their_holes) {
    dp_volume v = cylinder(0.0, 3.0, 1.0, 0.0);
    CHECK(holds(v, 0.0, 0.0, 0.0));
    CHECK(holds(v, 2.0, 2.0, -0.9));
    CHECK(!holds(v, 2.0, 2.0, 1.1));
    CHECK(!holds(v, 2.2, 2.2, 0.0));
    v = cylinder(1.0, 3.0, 1.0, 0.0); /* through all heights */
    CHECK(!holds(v, 0.5, 0.5, 0.9));
    CHECK(holds(v, 0.8, 0.8, 0.9));
    v = cylinder(1.0, 3.0, 1.0, 0.5);
    CHECK(!holds(v, 0.5, 0.5, 0.4));
    CHECK(holds(v, 0.5, 0.5, 0.6));
    CHECK(holds(v, 0.5, 0.5, -0.6));
    CHECK(holds(v, 1.5, 0.0, 0.4));
}

static void refuse_volume(dp_volume v, const char *words) {
    dp_sample *s;
    CHECK(dp_sample_create(c, STARS, eta[0], NULL, NULL, &v, &s) == AF_ERROR_ARGUMENT);
    CHECK(s == NULL);
    CHECK_TEXT(af_error(c), words);
    af_error_clear(c);
}

TEST(empty_volumes_are_refused) {
    dp_volume v = sphere(0.0, 1.0);
    begin();
    refuse_volume(sphere(2.0, 2.0), "empty");
    refuse_volume(sphere(0.0, 0.0), "empty");
    refuse_volume(sphere(-1.0, 2.0), "empty");
    refuse_volume(sphere(0.0, NAN), "empty");
    refuse_volume(cylinder(0.0, 1.0, 0.0, 0.0), "height");
    refuse_volume(cylinder(0.0, 1.0, 1.0, -1.0), "hole");
    v.centre[1] = NAN;
    refuse_volume(v, "y = ");
    v.kind = (dp_volume_kind)7;
    refuse_volume(v, "kind 7");
    end();
}

/* ---- making and cutting ---- */

/* Star i of s is the one with number from of the arrays. */
static int same_star(const dp_sample *s, size_t i, size_t from) {
    return memcmp(dp_sample_eta(s) + 6 * i, eta[from], sizeof eta[from]) == 0 &&
           dp_sample_weights(s)[i] == weight[from] &&
           memcmp(dp_sample_errors(s) + 6 * i, error[from], sizeof error[from]) == 0;
}

TEST(a_sample_keeps_the_stars_inside) {
    dp_volume v = sphere(0.3, 1.5), smaller = sphere(0.0, 1.0);
    dp_sample *s, *cut, *copy;
    size_t i, at = 0;
    begin();
    CHECK(dp_sample_create(c, STARS, eta[0], weight, error[0], &v, &s) == AF_OK);
    CHECK(dp_sample_context(s) == c);
    CHECK(dp_sample_volume(s).outer == 1.5 && dp_sample_volume(s).inner == 0.3);
    for (i = 0; i < STARS; i++) {
        double r = norm3(eta[i]);
        if (r > 0.3 && r < 1.5) CHECK(same_star(s, at++, i));
    }
    CHECK(at == dp_sample_count(s) && at > 5 && at < STARS);
    CHECK(dp_sample_cut(s, &smaller, &cut) == AF_OK);
    for (i = at = 0; i < STARS; i++) {
        double r = norm3(eta[i]);
        if (r > 0.3 && r < 1.0) CHECK(same_star(cut, at++, i));
    }
    CHECK(at == dp_sample_count(cut));
    CHECK(dp_sample_volume(cut).outer == 1.0);
    CHECK(dp_sample_cut(s, NULL, &copy) == AF_OK);
    CHECK(dp_sample_count(copy) == dp_sample_count(s) && dp_sample_volume(copy).outer == 1.5);
    dp_sample_destroy(s);
    dp_sample_destroy(cut);
    dp_sample_destroy(copy);
    dp_sample_destroy(NULL);
    end();
}

TEST(without_weights_and_errors) {
    dp_sample *s;
    begin();
    CHECK(dp_sample_create(c, STARS, eta[0], NULL, NULL, NULL, &s) == AF_OK);
    CHECK(dp_sample_count(s) == STARS);
    CHECK(!dp_sample_weights(s) && !dp_sample_errors(s));
    CHECK(dp_sample_volume(s).kind == DP_VOLUME_ALL);
    dp_sample_destroy(s);
    end();
}

static void refuse_stars(size_t n, const char *words) {
    dp_sample *s;
    CHECK(dp_sample_create(c, n, eta[0], weight, error[0], NULL, &s) == AF_ERROR_DATA);
    CHECK(s == NULL);
    CHECK_TEXT(af_error(c), words);
    af_error_clear(c);
}

/* Puts a value in place of *at, and wants these words. */
static void refuse_value(double *at, double value, const char *words) {
    double old = *at;
    *at = value;
    refuse_stars(STARS, words);
    *at = old;
}

TEST(bad_stars_are_named) {
    dp_volume far = sphere(1e3, 2e3);
    dp_sample *s;
    size_t i;
    begin();
    refuse_value(&eta[17][4], NAN, "star 17: vy is nan");
    refuse_value(&eta[0][0], HUGE_VAL, "star 0: x is inf");
    refuse_value(&weight[3], -0.5, "star 3: weight is -0.5");
    refuse_value(&weight[3], HUGE_VAL, "star 3: weight is inf");
    refuse_value(&error[STARS - 1][5], -1e-9, "star 39: vz_error is -1e-09");
    refuse_value(&error[2][0], NAN, "star 2: x_error");
    refuse_stars(0, "of 0 stars");
    CHECK(dp_sample_create(c, STARS, eta[0], weight, NULL, &far, &s) == AF_ERROR_DATA);
    CHECK_TEXT(af_error(c), "of 40 stars, 0 are within");
    af_error_clear(c);
    for (i = 0; i < STARS; i++) weight[i] = 0.0;
    refuse_stars(STARS, "none has a weight above 0");
    end();
}

/* ---- files ---- */

static void write_npy(const char *path, size_t columns) {
    size_t dims[2] = {STARS, 0}, i, k;
    double values[STARS * 8];
    dims[1] = columns;
    for (i = 0; i < STARS; i++)
        for (k = 0; k < columns; k++) values[i * columns + k] = k < 6 ? eta[i][k] : weight[i];
    CHECK(af_npy_write(c, path, 2, dims, values) == AF_OK);
}

TEST(npy_files) {
    const char *path = scratch_file("stars.npy");
    size_t one = 12, i;
    dp_sample *s;
    begin();
    write_npy(path, 6);
    CHECK(dp_sample_read(c, path, NULL, &s) == AF_OK);
    CHECK(dp_sample_count(s) == STARS && !dp_sample_weights(s));
    CHECK(memcmp(dp_sample_eta(s), eta, sizeof eta) == 0);
    dp_sample_destroy(s);
    write_npy(path, 7);
    CHECK(dp_sample_read(c, path, NULL, &s) == AF_OK);
    CHECK(memcmp(dp_sample_eta(s), eta, sizeof eta) == 0);
    for (i = 0; i < STARS; i++) CHECK(dp_sample_weights(s)[i] == weight[i]);
    dp_sample_destroy(s);
    write_npy(path, 8);
    CHECK(dp_sample_read(c, path, NULL, &s) == AF_ERROR_SHAPE && s == NULL);
    CHECK_TEXT(af_error(c), "length 8");
    af_error_clear(c);
    CHECK(af_npy_write(c, path, 1, &one, eta[0]) == AF_OK);
    CHECK(dp_sample_read(c, path, NULL, &s) == AF_ERROR_SHAPE);
    af_error_clear(c);
    eta[6][2] = NAN;
    write_npy(path, 6);
    CHECK(dp_sample_read(c, path, NULL, &s) == AF_ERROR_DATA);
    CHECK_TEXT(af_error(c), "row 7: z is nan");
    af_error_clear(c);
    remove(path);
    CHECK(dp_sample_read(c, path, NULL, &s) == AF_ERROR_IO && s == NULL);
    end();
}

/* A table with columns of text and others beside those wanted; with: 1 weights, 2 errors. */
static void write_csv(const char *path, int with) {
    FILE *file = fopen(path, "w");
    size_t i, k;
    if (!file) return;
    fprintf(file, "name,vz,vy,vx,x,y,z");
    if (with & 1) fprintf(file, ",weight");
    if (with & 2) fprintf(file, ",x_error,y_error,z_error,vx_error,vy_error,vz_error");
    fprintf(file, ",flag\n");
    for (i = 0; i < STARS; i++) {
        fprintf(file, "\"star, %d\",%.17g,%.17g,%.17g,%.17g,%.17g,%.17g", (int)i, eta[i][5],
                eta[i][4], eta[i][3], eta[i][0], eta[i][1], eta[i][2]);
        if (with & 1) fprintf(file, ",%.17g", weight[i]);
        for (k = 0; k < 6 && (with & 2); k++) fprintf(file, ",%.17g", error[i][k]);
        fprintf(file, ",good\n");
    }
    fclose(file);
}

TEST(tables_with_and_without_more_columns) {
    const char *path = scratch_file("stars.csv");
    int with;
    begin();
    for (with = 0; with < 4; with++) {
        dp_sample *s;
        size_t i;
        write_csv(path, with);
        CHECK(dp_sample_read(c, path, NULL, &s) == AF_OK);
        if (!s) continue;
        CHECK(dp_sample_count(s) == STARS);
        CHECK(memcmp(dp_sample_eta(s), eta, sizeof eta) == 0);
        CHECK(!dp_sample_weights(s) == !(with & 1));
        CHECK(!dp_sample_errors(s) == !(with & 2));
        for (i = 0; i < STARS && with == 3; i++) CHECK(same_star(s, i, i));
        dp_sample_destroy(s);
        CHECK(af_error_status(c) == AF_OK); /* looking for columns leaves no error */
    }
    remove(path);
    end();
}

static void refuse_text(const char *text, af_status status, const char *words) {
    const char *path = scratch_file("text.csv");
    dp_sample *s;
    write_text(path, text);
    CHECK(dp_sample_read(c, path, NULL, &s) == status);
    CHECK(s == NULL);
    CHECK_TEXT(af_error(c), words);
    af_error_clear(c);
    remove(path);
}

TEST(tables_that_are_refused) {
    begin();
    refuse_text("", AF_ERROR_FORMAT, "empty");
    refuse_text("x,y,z,vx,vy,vz\n", AF_ERROR_FORMAT, "no rows");
    refuse_text("x,y,z,vx,vz\n1,2,3,4,5\n", AF_ERROR_FORMAT, "no column 'vy'");
    refuse_text("x,y,z,vx,vy,vz\n1,2,3,4,5,6\n1,2,3,4,5\n", AF_ERROR_FORMAT, "line 3");
    refuse_text("x,y,z,vx,vy,vz\n1,2,3,4,5,six\n", AF_ERROR_FORMAT, "'six' is not a number");
    refuse_text("x,y,z,vx,vy,vz\n1,2,3,nan,5,6\n", AF_ERROR_DATA, "NaN");
    refuse_text("x,y,z,vx,vy,vz,weight\n1,2,3,4,5,6,heavy\n", AF_ERROR_FORMAT, "'heavy'");
    refuse_text("x,y,z,vx,vy,vz,weight\n1,2,3,4,5,6,1\n1,2,3,4,5,6,-1\n", AF_ERROR_DATA,
                "row 2: weight is -1");
    refuse_text("x,y,z,vx,vy,vz,weight,weight\n1,2,3,4,5,6,1,1\n", AF_ERROR_FORMAT,
                "2 columns 'weight'");
    refuse_text("x,y,z,vx,vy,vz,vz_error\n1,2,3,4,5,6,1\n", AF_ERROR_FORMAT,
                "no column 'x_error'");
    refuse_text("1,2,3,4,5,6\n", AF_ERROR_FORMAT, "names of the columns");
    end();
}

TEST(ecsv_with_a_volume) {
    const char *path = scratch_file("stars.ecsv");
    dp_volume v = sphere(0.0, 2.0);
    dp_sample *s;
    begin();
    write_text(path, "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x, datatype: float64}\n"
                     "x y z vx vy vz weight\n1 0 0 1 2 3 0.5\n3 0 0 4 5 6 1\n0 1 1 7 8 9 2\n");
    CHECK(dp_sample_read(c, path, &v, &s) == AF_OK);
    CHECK(dp_sample_count(s) == 2 && dp_sample_eta(s)[11] == 9.0);
    CHECK(dp_sample_weights(s)[1] == 2.0);
    dp_sample_destroy(s);
    remove(path);
    end();
}

/* Files cut short, and with bytes changed: a sample or a sentence, and nothing lost. */
static void fuzz(const char *path, const unsigned char *bytes, size_t n, unsigned char *copy) {
    size_t trial, k;
    for (trial = 0; trial < 300; trial++) {
        size_t length = trial % 2 ? n : (size_t)(af_random_uniform(7, 0, trial) * (double)n);
        dp_sample *s;
        af_status status;
        memcpy(copy, bytes, n);
        for (k = 0; k < 3 && trial % 2; k++)
            copy[(size_t)(af_random_uniform(7, 1 + k, trial) * (double)(k ? n : 90))] =
                (unsigned char)(256.0 * af_random_uniform(7, 4 + k, trial));
        write_bytes(path, copy, length);
        status = dp_sample_read(c, path, NULL, &s);
        CHECK((status == AF_OK) == (s != NULL));
        CHECK((status == AF_OK) == (strlen(af_error(c)) == 0));
        CHECK(status == AF_OK || af_error_status(c) == status);
        dp_sample_destroy(s);
        af_error_clear(c);
    }
}

TEST(damaged_files) {
    const char *path[2];
    int kind;
    begin();
    path[0] = scratch_file("damaged.csv");
    path[1] = scratch_file("damaged.npy");
    write_csv(path[0], 3);
    write_npy(path[1], 7);
    for (kind = 0; kind < 2; kind++) {
        size_t n;
        unsigned char *bytes = read_bytes(path[kind], &n), *copy = (unsigned char *)malloc(n + 1);
        CHECK(n > 1000 && copy);
        fuzz(path[kind], bytes, n, copy);
        free(bytes);
        free(copy);
        remove(path[kind]);
    }
    end();
}

/* ---- memory ---- */

/* Everything, where the allocator fails at its k-th call. */
static af_status all_of_it(const char *csv, const char *npy) {
    dp_sample *s[3] = {NULL, NULL, NULL};
    af_status status = dp_sample_read(c, csv, NULL, &s[0]);
    if (status == AF_OK) status = dp_sample_read(c, npy, NULL, &s[1]);
    if (status == AF_OK) status = dp_sample_cut(s[0], NULL, &s[2]);
    dp_sample_destroy(s[0]);
    dp_sample_destroy(s[1]);
    dp_sample_destroy(s[2]);
    return status;
}

/* The table has all columns, or only those that it must have. */
TEST(memory_may_end_anywhere) {
    const char *csv = scratch_file("memory.csv"), *npy = scratch_file("memory.npy");
    long k, calls;
    int with;
    for (with = 0; with < 4; with += 3) {
        begin();
        write_csv(csv, with);
        write_npy(npy, 7);
        memory.calls = 1; /* the context's */
        CHECK(all_of_it(csv, npy) == AF_OK);
        calls = memory.calls;
        end();
        CHECK(calls > 20);
        for (k = 2; k <= calls; k++) {
            CHECK(heap_open(&memory, k, 1, &c) == AF_OK);
            CHECK(all_of_it(csv, npy) == AF_ERROR_MEMORY);
            CHECK(af_error_status(c) == AF_ERROR_MEMORY);
            CHECK_TEXT(af_error(c), "memory");
            end();
        }
    }
    remove(csv);
    remove(npy);
}

int main(void) {
    RUN(volumes_hold_what_they_should);
    RUN(cylinders_and_their_holes);
    RUN(empty_volumes_are_refused);
    RUN(a_sample_keeps_the_stars_inside);
    RUN(without_weights_and_errors);
    RUN(bad_stars_are_named);
    RUN(npy_files);
    RUN(tables_with_and_without_more_columns);
    RUN(tables_that_are_refused);
    RUN(ecsv_with_a_volume);
    RUN(damaged_files);
    RUN(memory_may_end_anywhere);
    return test_report();
}
