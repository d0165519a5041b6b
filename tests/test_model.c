/* Model files, there and back and damaged; and memory that ends at every call. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "model"
#include "af_mock.h"

enum { STREAMS = 6, STARS = 3, KINDS = 8 };

/* Kinds of models, small ones. */
static af_finder_desc kind_of(size_t kind) {
    af_finder_desc d = AF__ZERO;
    d.toy.mass = 4e11;
    d.toy.scale = 6.0;
    d.harmonics_r = 2;
    d.harmonics_z = 2;
    d.harmonics_phi = 1;
    d.net.width = d.point_net.width = 4;
    d.net.depth = 1;
    d.net.random_last = d.point_net.random_last = 1;
    d.generator = kind >= 4 ? AF_GENERATOR_NETWORK : AF_GENERATOR_FOURIER;
    d.point_transformation = kind == 2 || kind == 5;
    d.free_toy = kind == 3 || kind == 5;
    if (kind == 1 || kind == 6)
        d.axisymmetric = d.plane_symmetric = d.time_symmetric = AF_SYMMETRY_NO;
    if (kind == 7) {
        d.net.architecture = AF_RESDENSE;
        d.net.activation = AF_SOFTPLUS;
        d.net.max_width = 8;
        d.net.weight_norm = 1;
        d.spread = AF_SPREAD_ABSOLUTE;
        d.net.dropout = 0.5;
    }
    return d;
}

static af_finder *model_of(af_context *c, const af_orbits *o, size_t kind) {
    af_finder_desc d = kind_of(kind);
    af_finder *f = NULL;
    CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
    if (f) shake(f, kind, 0.02);
    return f;
}

static int same_file(const char *a, const char *b) {
    size_t n, m;
    unsigned char *x = read_bytes(a, &n), *y = read_bytes(b, &m);
    int same = n == m && n > 0 && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

TEST(round_trip) {
    const char *path = scratch_file("one.safetensors"), *again = scratch_file("two.safetensors");
    size_t kind;
    for (kind = 0; kind < KINDS; kind++) {
        heap memory = AF__ZERO;
        af_context *c = heap_context(&memory, 1), *other = heap_context(&memory, 1);
        af_orbits *o = mock_orbits(c, 3, STREAMS, STARS);
        af_finder *f = model_of(c, o, kind), *g = NULL;
        double j[2][STREAMS * STARS * 3], theta[2][STREAMS * STARS * 3];
        CHECK(af_finder_save(f, path) == AF_OK);
        CHECK(af_finder_load(other, path, &g) == AF_OK);
        CHECK_TEXT(af_error(other), "");
        CHECK(af_finder_evaluate(f, o, j[0], theta[0], NULL) == AF_OK);
        if (g) {
            CHECK(af_finder_evaluate(g, o, j[1], theta[1], NULL) == AF_OK);
            CHECK(memcmp(j[0], j[1], sizeof j[0]) == 0 &&
                  memcmp(theta[0], theta[1], sizeof theta[0]) == 0);
            CHECK(af_finder_parameters(f) == af_finder_parameters(g));
            CHECK(af_finder_harmonics(f) == af_finder_harmonics(g));
            CHECK(af_finder_is_axisymmetric(f) == af_finder_is_axisymmetric(g));
            CHECK(af_finder_toy(f).mass == af_finder_toy(g).mass);
            CHECK(af_finder_toy(f).scale == af_finder_toy(g).scale);
            CHECK(af_finder_save(g, again) == AF_OK);
            CHECK(same_file(path, again));
        }
        af_finder_destroy(g);
        af_finder_destroy(f);
        af_orbits_destroy(o);
        af_context_destroy(c);
        af_context_destroy(other);
        CHECK(memory.live == 0);
    }
    remove(path);
    remove(again);
}

/* A loaded model can be trained on. */
TEST(load_and_fit) {
    const char *path = scratch_file("fit.safetensors");
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = mock_orbits(c, 3, STREAMS, STARS);
    af_finder *f = model_of(c, o, 0), *g = NULL;
    af_fit_desc fit = AF__ZERO;
    fit.epochs = 3;
    CHECK(af_finder_save(f, path) == AF_OK && af_finder_load(c, path, &g) == AF_OK);
    CHECK(af_finder_fit(g, o, &fit) == AF_OK && af_finder_fit(f, o, &fit) == AF_OK);
    CHECK(memcmp(af_params_data(MOCK_PARAMS(f)), af_params_data(MOCK_PARAMS(g)),
                 af_finder_parameters(f) * sizeof(double)) == 0);
    af_finder_destroy(g);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
    remove(path);
}

/* ---- damaged files ---- */

/* Loading must fail with a sentence, take no absurd memory and lose none. Returns the status. */
static af_status refused(const char *path, int may_be_fine) {
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_finder *f = (af_finder *)&memory;
    af_status s = af_finder_load(c, path, &f);
    CHECK(may_be_fine || s != AF_OK);
    CHECK((s == AF_OK) == (f != NULL));
    CHECK((s == AF_OK) == (strlen(af_error(c)) == 0));
    CHECK(s == AF_OK || s == AF_ERROR_FORMAT || s == AF_ERROR_SHAPE || s == AF_ERROR_IO);
    if (s != AF_OK) CHECK_TEXT(af_error(c), path);
    CHECK(memory.largest < 4u << 20);
    if (s == AF_OK) { /* then it works */
        double xv[6], j[3], theta[3];
        af_evaluator *e = NULL;
        mock_star(1, 1, xv);
        CHECK(af_evaluator_create(f, 1, 1, 1, &e) == AF_OK);
        if (e) af_evaluate(e, 1, xv, NULL, j, theta, NULL);
        af_evaluator_destroy(e);
        af_finder_destroy(f);
    }
    af_context_destroy(c);
    CHECK(memory.live == 0);
    return s;
}

/* A model of this kind in a file. */
static void write_model(size_t kind, const char *path) {
    af_context *c = NULL;
    af_orbits *o;
    af_finder *f;
    af_context_create(NULL, &c);
    o = mock_orbits(c, 3, STREAMS, STARS);
    f = model_of(c, o, kind);
    CHECK(af_finder_save(f, path) == AF_OK);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
}

TEST(truncated) {
    const char *path = scratch_file("cut.safetensors");
    size_t n, cut, step;
    unsigned char *bytes;
    write_model(0, path);
    bytes = read_bytes(path, &n);
    step = n / 97 + 1;
    for (cut = 0; cut < n; cut += cut < 64 ? 1 : step) {
        write_bytes(path, bytes, cut);
        CHECK(refused(path, 0) == AF_ERROR_FORMAT);
    }
    write_bytes(path, bytes, n - 1);
    CHECK(refused(path, 0) == AF_ERROR_FORMAT);
    free(bytes);
    remove(path);
}

/* Bytes changed at random: refused, or a working model. */
TEST(changed_bytes) {
    const char *path = scratch_file("changed.safetensors");
    size_t n, round, kind;
    unsigned char *bytes, *copy;
    for (kind = 0; kind < 6; kind += 5) {
        write_model(kind, path);
        bytes = read_bytes(path, &n);
        copy = (unsigned char *)malloc(n);
        for (round = 0; round < 150; round++) {
            size_t head = n < 3000 ? n : 3000; /* mostly the header */
            size_t at =
                (size_t)(af_random_uniform(2, kind, round) * (double)(round % 4 ? head : n));
            memcpy(copy, bytes, n);
            copy[at] = (unsigned char)(af_random_uniform(3, kind, round) * 256.0);
            if (round % 2) copy[at] = (unsigned char)('0' + copy[at] % 10);
            write_bytes(path, copy, n);
            refused(path, 1);
        }
        free(copy);
        free(bytes);
    }
    remove(path);
}

/* A copy of a model with the text of one key replaced, or without it (text NULL), and without one
 * array. */
static void rewrite(af_context *c, const char *path, const char *to, const char *key,
                    const char *text, const char *without) {
    af_tensors *from = NULL, *set = NULL;
    size_t i;
    CHECK(af_tensors_read(c, path, &from) == AF_OK && af_tensors_create(c, &set) == AF_OK);
    for (i = 0; af_tensors_key(from, i); i++) {
        const char *k = af_tensors_key(from, i), *value = af_tensors_text(from, k);
        if (key && strcmp(k, key) == 0) value = text;
        if (value) af_tensors_set_text(set, k, value);
    }
    for (i = 0; i < af_tensors_count(from); i++) {
        const af_tensor *t = af_tensors_at(from, i);
        if (without && strcmp(t->name, without) == 0) continue;
        af_tensors_add(set, t->name, t->dtype, t->rank, t->dims, t->data);
    }
    CHECK(af_tensors_write(set, to) == AF_OK);
    af_tensors_destroy(set);
    af_tensors_destroy(from);
}

static int is_one_of(const char *key, const char *const *names, size_t n) {
    size_t i;
    for (i = 0; i < n; i++)
        if (strcmp(key, names[i]) == 0) return 1;
    return 0;
}

TEST(metadata) {
    /* what may be anything that is a number */
    static const char *const free_text[] = {"conventions"};
    static const char *const absurd[] = {"",       "x",     "-1",       "nan",
                                         "inf",    "1e300", "16777216", "256",
                                         "999",    "4000",  "1 2",      "18446744073709551615",
                                         "-1e-300"};
    const char *path = scratch_file("model.safetensors"), *bad = scratch_file("bad.safetensors");
    size_t kind, i, k;
    for (kind = 0; kind < KINDS; kind++) {
        af_context *c = NULL;
        af_tensors *set = NULL;
        size_t keys = 0;
        af_context_create(NULL, &c);
        write_model(kind, path);
        CHECK(af_tensors_read(c, path, &set) == AF_OK);
        for (i = 0; set && af_tensors_key(set, i); i++) {
            const char *key = af_tensors_key(set, i);
            if (is_one_of(key, free_text, AF__COUNT(free_text))) continue;
            keys++;
            rewrite(c, path, bad, key, NULL, NULL);
            CHECK(refused(bad, 0) == AF_ERROR_FORMAT);
            for (k = 0; k < AF__COUNT(absurd); k++) {
                rewrite(c, path, bad, key, absurd[k], NULL);
                refused(bad, k > 0);
            }
        }
        CHECK(keys > 20);
        for (i = 0; i < af_tensors_count(set); i++) {
            rewrite(c, path, bad, NULL, NULL, af_tensors_at(set, i)->name);
            refused(bad, 0);
        }
        af_tensors_destroy(set);
        af_context_destroy(c);
    }
    remove(path);
    remove(bad);
}

/* Numbers that must be refused, whatever the rest. */
TEST(metadata_absurd) {
    static const char *const bad[][2] = {
        {"format", "actionfinder checkpoint 1"},
        {"toy.mass_msun", "-1"},
        {"toy.mass_msun", "nan"},
        {"toy.scale_kpc", "-1"},
        {"action_scale_kms_kpc", "0"},
        {"softening_kms_kpc", "0"},
        {"generator", "2"},
        {"spread", "2"},
        {"features", "5"},
        {"harmonics", "0"},
        {"harmonics", "3"},
        {"harmonics", "65536"},
        {"axisymmetric", "3"},
        {"net.architecture", "2"},
        {"net.activation", "5"},
        {"net.width", "16384"},
        {"net.depth", "256"},
        {"toy.free", "1"},
        {"point_transformation", "1"},
        {"net.weight_norm", "1"},
    };
    const char *path = scratch_file("sane.safetensors"), *to = scratch_file("absurd.safetensors");
    af_context *c = NULL;
    size_t i;
    af_context_create(NULL, &c);
    write_model(0, path);
    for (i = 0; i < AF__COUNT(bad); i++) {
        af_status s;
        rewrite(c, path, to, bad[i][0], bad[i][1], NULL);
        s = refused(to, 0);
        if (s == AF_OK) printf("  %s = %s was taken\n", bad[i][0], bad[i][1]);
    }
    write_model(6, path); /* a network has no harmonics */
    rewrite(c, path, to, "harmonics", "7", NULL);
    refused(to, 0);
    write_model(7, path);
    rewrite(c, path, to, "net.max_width", "16384", NULL);
    refused(to, 1); /* the width never gets there */
    rewrite(c, path, to, "net.depth", "200", NULL);
    refused(to, 0);
    af_context_destroy(c);
    remove(path);
    remove(to);
}

/* An array of a model with one number replaced. */
static void poison(af_context *c, const char *path, const char *to, const char *name, size_t at,
                   double value) {
    af_tensors *set = NULL;
    CHECK(af_tensors_read(c, path, &set) == AF_OK);
    ((double *)(uintptr_t)af_tensors_find(set, name)->data)[at] = value;
    CHECK(af_tensors_write(set, to) == AF_OK);
    af_tensors_destroy(set);
}

TEST(numbers) {
    const char *path = scratch_file("good.safetensors"), *to = scratch_file("poisoned.safetensors");
    af_context *c = NULL;
    af_context_create(NULL, &c);
    write_model(0, path);
    poison(c, path, to, "whitening", 0, NAN);
    CHECK(refused(to, 0) == AF_ERROR_FORMAT);
    poison(c, path, to, "whitening", 5, 0.0);
    CHECK(refused(to, 0) == AF_ERROR_FORMAT);
    poison(c, path, to, "harmonic", 1, 0.5);
    CHECK(refused(to, 0) == AF_ERROR_FORMAT);
    poison(c, path, to, "harmonic", 2, 1e9);
    CHECK(refused(to, 0) == AF_ERROR_FORMAT);
    poison(c, path, to, "amplitude", 0, INFINITY);
    CHECK(refused(to, 0) == AF_ERROR_FORMAT);
    poison(c, path, to, "generator.0.weight", 0, NAN);
    CHECK(refused(to, 0) == AF_ERROR_FORMAT);
    poison(c, path, to, "generator.0.weight", 0, 0.25);
    CHECK(refused(to, 1) == AF_OK);
    af_context_destroy(c);
    remove(path);
    remove(to);
}

TEST(foreign_files) {
    const char *path = scratch_file("foreign.safetensors");
    double numbers[2] = {1.0, 2.0};
    size_t two = 2;
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_tensors *set = NULL;
    af_finder *f = (af_finder *)&memory;
    CHECK(af_tensors_create(c, &set) == AF_OK);
    CHECK(af_tensors_add(set, "weight", AF_DTYPE_F64, 1, &two, numbers) == AF_OK);
    CHECK(af_tensors_write(set, path) == AF_OK);
    CHECK(af_finder_load(c, path, &f) == AF_ERROR_FORMAT && !f);
    CHECK_TEXT(af_error(c), "is not an ActionFinder model (format 'none'");
    af_error_clear(c);
    af_tensors_set_text(set, "format", "pt");
    CHECK(af_tensors_write(set, path) == AF_OK);
    CHECK(af_finder_load(c, path, &f) == AF_ERROR_FORMAT);
    CHECK_TEXT(af_error(c), "format 'pt'");
    af_error_clear(c);
    af_tensors_destroy(set);
    CHECK(af_npy_write(c, path, 1, &two, numbers) == AF_OK);
    CHECK(refused(path, 0) == AF_ERROR_FORMAT);
    write_text(path, "");
    CHECK(refused(path, 0) == AF_ERROR_FORMAT);
    write_text(path, "stream,x,y,z,vx,vy,vz\n1,2,3,4,5,6,7\n");
    CHECK(refused(path, 0) == AF_ERROR_FORMAT);
    remove(path);
    CHECK(refused(path, 0) == AF_ERROR_IO);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

/* What was there before stays when saving fails. */
TEST(save_fails) {
    const char *path = scratch_file("kept.safetensors");
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = mock_orbits(c, 3, STREAMS, STARS);
    af_finder *f = model_of(c, o, 0);
    size_t n;
    unsigned char *bytes;
    CHECK(af_finder_save(f, "/no/such/folder/model.safetensors") == AF_ERROR_IO);
    CHECK_TEXT(af_error(c), "/no/such/folder");
    af_error_clear(c);
    write_text(path, "before");
    memory.fail_at = memory.calls + 3;
    CHECK(af_finder_save(f, path) == AF_ERROR_MEMORY);
    memory.fail_at = 0;
    bytes = read_bytes(path, &n);
    CHECK(n == 6 && memcmp(bytes, "before", 6) == 0);
    free(bytes);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
    remove(path);
}

/* ---- memory that ends at the k-th call ---- */

/* Everything once. Returns the first status that is not AF_OK. */
static af_status whole_life(af_context *c, size_t kind, const char *path, int *quiet) {
    static double xv[2 * 2 * 6];
    af_finder_desc d = kind_of(kind);
    af_fit_desc fit = AF__ZERO;
    af_orbits *o = NULL;
    af_finder *f = NULL, *g = NULL;
    double j[12], theta[12];
    unsigned flags[4];
    af_status s;
    mock_streams(3, 2, 2, xv, NULL, NULL);
    d.harmonics_r = d.harmonics_z = 1;
    if (kind == 0) d.toy.mass = 0.0; /* chosen */
    fit.epochs = 2;
    fit.checkpoint = path;
    s = af_orbits_create(c, 2, 2, xv, NULL, &o);
    if (s == AF_OK) s = af_finder_create(c, o, &d, &f);
    if (s == AF_OK) s = af_finder_fit(f, o, &fit);
    fit.epochs = 3;
    fit.resume = 1;
    if (s == AF_OK) s = af_finder_fit(f, o, &fit);
    if (s == AF_OK) s = af_finder_evaluate(f, o, j, theta, flags);
    if (s == AF_OK) s = af_finder_save(f, path);
    if (s == AF_OK) s = af_finder_load(c, path, &g);
    *quiet = s != AF_OK && strlen(af_error(c)) == 0;
    af_finder_destroy(g);
    af_finder_destroy(f);
    af_orbits_destroy(o);
    return s;
}

static void check_memory(size_t kind) {
    const char *path = scratch_file("life.safetensors");
    heap memory;
    long k, calls = 1;
    for (k = 0; k <= calls; k += k == 0 ? 1 : 1 + calls / 150) {
        af_context *c;
        af_status s;
        int quiet = 0;
        memset(&memory, 0, sizeof memory);
        memory.fail_at = k;
        remove(path);
        c = heap_context(&memory, 1);
        if (!c) continue;
        s = whole_life(c, kind, path, &quiet);
        CHECK(s == (k ? AF_ERROR_MEMORY : AF_OK) || (k && s == AF_OK && memory.calls < k));
        CHECK(!quiet);
        if (k == 0) calls = memory.calls;
        if (k) CHECK(s == AF_OK || strstr(af_error(c), "memory"));
        af_context_destroy(c);
        CHECK(memory.live == 0);
        if (memory.live != 0 || s != (k ? AF_ERROR_MEMORY : AF_OK))
            printf("  kind %d, call %ld of %ld: status %d\n", (int)kind, k, calls, (int)s);
    }
    if (getenv("AF_VERBOSE")) printf("  %ld allocations\n", calls);
    CHECK(calls > 20);
    remove(path);
}

TEST(memory_fourier) { check_memory(0); }
TEST(memory_point) { check_memory(2); }
TEST(memory_free_toy) { check_memory(3); }
TEST(memory_network) { check_memory(7); }

int main(void) {
    RUN(round_trip);
    RUN(load_and_fit);
    RUN(truncated);
    RUN(changed_bytes);
    RUN(metadata);
    RUN(metadata_absurd);
    RUN(numbers);
    RUN(foreign_files);
    RUN(save_fails);
    RUN(memory_fourier);
    RUN(memory_point);
    RUN(memory_free_toy);
    RUN(memory_network);
    return test_report();
}
