/* Ensembles, dropout sampling, draws of stars as observed, bootstrap samples. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "ensemble"
#include "af_mock.h"

enum { STREAMS = 7, STARS = 3, N = STREAMS * STARS, MEMBERS = 4 };

/* Room for the answers of N stars. */
typedef struct answers {
    double j[3 * N], theta[3 * N], j_error[3 * N], theta_error[3 * N];
    unsigned flags[N];
} answers;

static af_estimate into(answers *a) {
    af_estimate e;
    memset(a, 0, sizeof *a);
    e.j = a->j;
    e.theta = a->theta;
    e.j_error = a->j_error;
    e.theta_error = a->theta_error;
    e.flags = a->flags;
    return e;
}

static af_finder_desc small(void) {
    af_finder_desc d = AF__ZERO;
    d.toy.mass = 4e11;
    d.toy.scale = 6.0;
    d.harmonics_r = d.harmonics_z = 2;
    d.harmonics_phi = 1;
    d.net.width = 4;
    d.net.depth = 1;
    d.net.random_last = 1;
    return d;
}

static af_finder *finder_of(af_context *c, const af_orbits *o, const af_finder_desc *d,
                            uint64_t seed) {
    af_finder *f = NULL;
    CHECK(af_finder_create(c, o, d, &f) == AF_OK);
    if (f) shake(f, seed, 0.05);
    return f;
}

/* A context, orbits, and finders that differ a little. */
typedef struct setting {
    heap memory;
    af_context *c;
    af_orbits *o;
    af_finder *f[MEMBERS];
} setting;

static void setting_begin(setting *s, const af_finder_desc *d) {
    af_finder_desc plain = small();
    uint64_t i;
    memset(s, 0, sizeof *s);
    s->c = heap_context(&s->memory, 1);
    s->o = mock_orbits(s->c, 3, STREAMS, STARS);
    for (i = 0; i < MEMBERS; i++) s->f[i] = finder_of(s->c, s->o, d ? d : &plain, i);
}

static void setting_end(setting *s) {
    size_t i;
    CHECK_TEXT(af_error(s->c), "");
    for (i = 0; i < MEMBERS; i++) af_finder_destroy(s->f[i]);
    af_orbits_destroy(s->o);
    af_context_destroy(s->c);
    CHECK(s->memory.live == 0);
}

static void answer(const setting *s, size_t count, af_finder *const *f, const af_ensemble_desc *d,
                   answers *a) {
    af_ensemble *e = NULL;
    af_estimate to = into(a);
    CHECK(af_ensemble_create(s->c, count, f, d, &e) == AF_OK);
    if (e) CHECK(af_ensemble_orbits(e, s->o, &to) == AF_OK);
    af_ensemble_destroy(e);
}

/* ---- members ---- */

TEST(one_member_is_the_finder) {
    setting s;
    answers a;
    double j[3 * N], theta[3 * N];
    unsigned flags[N];
    af_ensemble_desc d = AF__ZERO;
    size_t shared, i, m;
    setting_begin(&s, NULL);
    for (shared = 0; shared < 2; shared++) {
        af_evaluator *one = NULL;
        d.stars = shared ? STARS : 1;
        CHECK(af_evaluator_create(s.f[0], d.stars, 256, 1, &one) == AF_OK);
        if (one) af_evaluate(one, N / d.stars, af_orbits_xv(s.o, 0), NULL, j, theta, flags);
        af_evaluator_destroy(one);
        for (m = 1; m <= 2; m++) { /* the same one twice is sure of itself */
            af_finder *twice[2];
            twice[0] = twice[1] = s.f[0];
            answer(&s, m, twice, &d, &a);
            CHECK(memcmp(a.j, j, sizeof j) == 0 && memcmp(a.flags, flags, sizeof flags) == 0);
            for (i = 0; i < 3 * N; i++) CHECK_CLOSE(a.theta[i], theta[i], 1e-14);
            for (i = 0; i < 3 * N; i++)
                CHECK(m == 1 ? isnan(a.j_error[i]) && isnan(a.theta_error[i])
                             : a.j_error[i] == 0.0 && a.theta_error[i] == 0.0);
        }
    }
    setting_end(&s);
}

/* Against the members' own answers, by the textbook's formulae. */
TEST(mean_and_deviation) {
    setting s;
    answers a, m, own[MEMBERS];
    af_ensemble_desc d = AF__ZERO;
    double most = 0.0;
    size_t i, k;
    setting_begin(&s, NULL);
    d.block = 2; /* several chunks of 8 */
    answer(&s, MEMBERS, s.f, &d, &a);
    d.median = 1;
    answer(&s, MEMBERS, s.f, &d, &m);
    d.median = 0;
    for (k = 0; k < MEMBERS; k++) answer(&s, 1, &s.f[k], &d, &own[k]);
    for (i = 0; i < 3 * N; i++) {
        double mean = 0.0, square = 0.0, turn[2] = {0.0, 0.0}, sorted[MEMBERS], angle = 0.0;
        for (k = 0; k < MEMBERS; k++) {
            sorted[k] = own[k].j[i];
            mean += own[k].j[i] / MEMBERS;
            turn[0] += cos(own[k].theta[i]);
            turn[1] += sin(own[k].theta[i]);
        }
        qsort(sorted, MEMBERS, sizeof *sorted, mock_less);
        for (k = 0; k < MEMBERS; k++) square += pow(own[k].j[i] - mean, 2.0) / (MEMBERS - 1);
        turn[0] = atan2(turn[1], turn[0]);
        CHECK(fabs(angle_between(a.theta[i], turn[0])) < 1e-12);
        turn[1] = 0.0; /* the mean of what the answers are away from it is not quite 0 */
        for (k = 0; k < MEMBERS; k++) turn[1] += angle_between(own[k].theta[i], turn[0]) / MEMBERS;
        for (k = 0; k < MEMBERS; k++)
            angle += pow(angle_between(own[k].theta[i], turn[0]) - turn[1], 2.0) / (MEMBERS - 1);
        CHECK_CLOSE(a.j[i], mean, 1e-12);
        CHECK(fabs(a.j_error[i] - sqrt(square)) < 1e-10 * (1.0 + fabs(mean)));
        CHECK_CLOSE(a.theta_error[i], sqrt(angle), 1e-10);
        CHECK_CLOSE(m.j[i], 0.5 * (sorted[1] + sorted[2]), 1e-12);
        CHECK(m.j_error[i] == a.j_error[i]);
        most = fmax(most, a.j_error[i]);
    }
    CHECK(most > 1.0); /* they do differ */
    setting_end(&s);
}

TEST(angles_about_zero) {
    double x[4] = {0.1, 2.0 * AF__PI - 0.3, 0.2, 2.0 * AF__PI - 0.2}, y[4], center, error;
    memcpy(y, x, sizeof x);
    af__angle_center(x, 4, 0, &center, &error);
    CHECK(fabs(angle_between(center, -0.05)) < 2e-3); /* circular and plain mean: of third order */
    CHECK(center > 0.0 && center < 2.0 * AF__PI);
    CHECK_CLOSE(error, sqrt((0.15 * 0.15 + 0.25 * 0.25 + 0.25 * 0.25 + 0.15 * 0.15) / 3.0), 1e-9);
    af__angle_center(y, 4, 1, &center, &error);
    CHECK(fabs(angle_between(center, -0.05)) < 1e-9); /* the median of -0.3, -0.2, 0.1, 0.2 */
}

/* Members with toys of their own: those that do not bind a star do not count. */
TEST(unbound_members) {
    setting s;
    answers two, one, none;
    af_finder *f[2], *light;
    af_finder_desc d = small();
    af_ensemble_desc desc = AF__ZERO;
    size_t i, lost = 0, kept = 0;
    setting_begin(&s, NULL);
    f[0] = s.f[0];
    f[1] = light = finder_of(s.c, s.o, &d, 1);
    light->toy.mass = 1.2e11; /* after the finder was made: many stars are unbound in it */
    answer(&s, 2, f, &desc, &two);
    answer(&s, 1, f, &desc, &one);
    answer(&s, 1, f + 1, &desc, &none);
    for (i = 0; i < N; i++) {
        int failed = (none.flags[i] & AF_ORBIT_FAILED) != 0;
        CHECK(isnan(none.j[3 * i]) == failed);
        CHECK(!(two.flags[i] & AF_ORBIT_FAILED));
        if (failed) CHECK(two.j[3 * i + 2] == one.j[3 * i + 2] && isnan(two.j_error[3 * i + 2]));
        else CHECK(two.j_error[3 * i + 2] > 0.0);
        lost += failed ? 1u : 0u;
        kept += failed ? 0u : 1u;
    }
    CHECK(lost > 0 && kept > 0);
    { /* the number that fail is told, of those that are there */
        af_ensemble *e = NULL;
        size_t count[STREAMS], expected = 0;
        af_estimate nothing = AF__ZERO;
        desc.stars = STARS;
        for (i = 0; i < STREAMS; i++) count[i] = STARS - 1;
        for (i = 0; i < N; i++)
            if (i % STARS < count[i / STARS] && (none.flags[i] & AF_ORBIT_FAILED)) expected++;
        CHECK(af_ensemble_create(s.c, 1, f + 1, &desc, &e) == AF_OK);
        if (e)
            CHECK(af_ensemble_evaluate(e, STREAMS, af_orbits_xv(s.o, 0), count, &nothing) ==
                  expected);
        CHECK(expected > 0 && expected < lost);
        af_ensemble_destroy(e);
    }
    af_finder_destroy(light);
    setting_end(&s);
}

/* Answers that did not settle count only where none did. */
TEST(unsettled_members) {
    af_ensemble e = AF__ZERO;
    unsigned flags[3] = {AF_STAR_UNCONVERGED, 0, AF_ORBIT_PLANAR}, flag;
    size_t use[3];
    e.answers = 3;
    e.flags = flags;
    e.use = use;
    CHECK(af__counting(&e, 1, 0, &flag) == 2 && use[0] == 1 && use[1] == 2);
    CHECK(flag == AF_ORBIT_PLANAR);
    flags[1] = flags[2] = AF_ORBIT_UNBOUND;
    CHECK(af__counting(&e, 1, 0, &flag) == 1 && use[0] == 0 && flag == AF_STAR_UNCONVERGED);
    flags[0] = AF_ORBIT_INVALID;
    CHECK(af__counting(&e, 1, 0, &flag) == 0 && flag == (AF_ORBIT_INVALID | AF_ORBIT_UNBOUND));
}

TEST(places_without_stars) {
    setting s;
    af_context *c;
    af_orbits *o = NULL;
    size_t count[STREAMS], i, k, stars;
    answers a;
    setting_begin(&s, NULL);
    c = s.c;
    for (i = 0; i < STREAMS; i++) count[i] = 1 + i % STARS;
    CHECK(af_orbits_create(c, STREAMS, STARS, af_orbits_xv(s.o, 0), count, &o) == AF_OK);
    for (stars = 1; o && stars <= STARS; stars += STARS - 1) {
        af_ensemble_desc d = AF__ZERO;
        af_ensemble *e = NULL;
        af_estimate to = into(&a);
        d.stars = stars;
        CHECK(af_ensemble_create(c, 2, s.f, &d, &e) == AF_OK);
        if (e) CHECK(af_ensemble_orbits(e, o, &to) == AF_OK);
        for (i = 0; i < N; i++)
            for (k = 0; k < 3; k++) {
                int there = i % STARS < count[i / STARS];
                CHECK(isnan(a.j[3 * i + k]) == !there && isnan(a.theta[3 * i + k]) == !there);
                CHECK(isnan(a.j_error[3 * i + k]) == !there);
                CHECK(((a.flags[i] & AF_ORBIT_INVALID) != 0) == !there);
            }
        af_ensemble_destroy(e);
    }
    af_orbits_destroy(o);
    setting_end(&s);
}

/* ---- dropout ---- */

enum { IN = 9, WIDE = 6 };

static af_finder_desc dropping(int weight_norm) {
    af_finder_desc d = small();
    d.generator = AF_GENERATOR_NETWORK;
    d.net.architecture = AF_RESDENSE;
    d.net.width = 3;
    d.net.max_width = WIDE;
    d.net.depth = 1;
    d.net.dropout = 0.4;
    d.net.dropout_above = 3; /* the block in the centre */
    d.net.weight_norm = weight_norm;
    return d;
}

/* y = x W + b from the views "generator.<layer>.", by hand. */
static void dense(const af_params *p, size_t layer, size_t in, size_t out, const double *x,
                  double *y) {
    const double *w = NULL, *b = NULL, *g = NULL;
    char name[64];
    size_t i, k, v;
    for (v = 0; v < af_params_count(p); v++) {
        double *at = af_params_view((af_params *)(uintptr_t)p, v);
        snprintf(name, sizeof name, "generator.%lu.", (unsigned long)layer);
        if (strncmp(af_params_name(p, v), name, strlen(name)) != 0) continue;
        if (strstr(af_params_name(p, v), "weight")) w = at;
        if (strstr(af_params_name(p, v), "bias")) b = at;
        if (strstr(af_params_name(p, v), "gain")) g = at;
    }
    CHECK(w != NULL);
    for (k = 0; w && k < out; k++) {
        double norm = 0.0;
        y[k] = 0.0;
        for (i = 0; i < in; i++) y[k] += x[i] * w[i * out + k];
        for (i = 0; i < in; i++) norm += w[i * out + k] * w[i * out + k];
        if (g) y[k] *= g[k] / sqrt(norm);
        if (b) y[k] += b[k];
    }
}

static double silu(double x) { return x / (1.0 + exp(-x)); }

/* The network of dropping() by hand; keep (2, WIDE) multiplies what the activations of the block in
 * the centre give, NULL: 1. */
static double by_hand(const af_params *p, const double *in, const double *keep) {
    double x[WIDE], h[WIDE], g[WIDE], out;
    size_t block, layer = 0, i, width = IN;
    for (block = 0; block < 3; block++) {
        size_t next = block == 1 ? WIDE : 3;
        int wide = block == 1 && keep;
        dense(p, layer++, width, next, block == 0 ? in : x, h); /* the width always changes */
        memcpy(x, h, sizeof x);
        for (i = 0; i < next; i++) h[i] = silu(x[i]) * (wide ? keep[i] : 1.0);
        dense(p, layer++, next, next, h, g);
        for (i = 0; i < next; i++) g[i] = silu(g[i]) * (wide ? keep[WIDE + i] : 1.0);
        dense(p, layer++, next, next, g, h);
        for (i = 0; i < next; i++) x[i] += h[i];
        width = next;
    }
    dense(p, layer, width, 1, x, &out);
    return out;
}

/* A thinned network is the network with the activations of the units multiplied by 0 or 1/(1-p). */
static void check_thinned(int weight_norm) {
    setting s;
    af_finder_desc d = dropping(weight_norm);
    af_ensemble_desc desc = AF__ZERO;
    af_ensemble *e = NULL;
    double in[IN], keep[2 * WIDE], far = 0.0;
    size_t answer_number, i, dropped = 0, all = 0;
    setting_begin(&s, &d);
    desc.dropout = 40;
    desc.seed = 5;
    for (i = 0; i < IN; i++) in[i] = af_random_normal(1, 2, i);
    CHECK(af_ensemble_create(s.c, 2, s.f, &desc, &e) == AF_OK);
    for (answer_number = 0; e && answer_number < 40; answer_number++) {
        const af_params *thin = e->member[1].thin->g.params, *whole = s.f[1]->g.params;
        uint64_t stream = s.f[1]->g.net->dropout_stream << 16;
        af__thin(e, 1, answer_number);
        for (i = 0; i < 2 * WIDE; i++) { /* block 1: places 2 and 3 */
            double u = af_random_uniform(5, stream + 2 + i / WIDE,
                                         (40 + answer_number) * WIDE + i % WIDE);
            keep[i] = u < 0.4 ? 0.0 : 1.0 / 0.6;
            dropped += u < 0.4 ? 1u : 0u;
            all++;
        }
        CHECK_CLOSE(by_hand(thin, in, NULL), by_hand(whole, in, keep), 1e-12);
        far = fmax(far, fabs(by_hand(whole, in, keep) - by_hand(whole, in, NULL)));
    }
    CHECK(fabs((double)dropped / (double)all - 0.4) < 0.07); /* 3 deviations of 480 */
    CHECK(far > 1e-3);
    af_ensemble_destroy(e);
    setting_end(&s);
}
TEST(thinned_network) { check_thinned(0); }
TEST(thinned_network_with_weight_norm) { check_thinned(1); }

/* All units of a layer dropped: its outputs are its biases. */
TEST(nothing_left) {
    setting s;
    af_finder_desc d = dropping(1);
    af_ensemble_desc desc = AF__ZERO;
    af_ensemble *e = NULL;
    double in[IN], keep[2 * WIDE];
    size_t i;
    d.net.dropout = 1.0 - 1e-12;
    setting_begin(&s, &d);
    desc.dropout = 2;
    memset(keep, 0, sizeof keep);
    for (i = 0; i < IN; i++) in[i] = 0.1 * (double)i;
    CHECK(af_ensemble_create(s.c, 1, s.f, &desc, &e) == AF_OK);
    if (e) {
        af__thin(e, 0, 1);
        CHECK_CLOSE(by_hand(e->member[0].thin->g.params, in, NULL),
                    by_hand(s.f[0]->g.params, in, keep), 1e-12);
    }
    af_ensemble_destroy(e);
    setting_end(&s);
}

TEST(dropout_sampling) {
    setting s;
    af_finder_desc d = dropping(1);
    af_ensemble_desc desc = AF__ZERO;
    answers a, again, other, smaller;
    size_t i, parameters;
    double most = 0.0, *before;
    setting_begin(&s, &d);
    parameters = af_finder_parameters(s.f[0]);
    before = (double *)malloc(parameters * sizeof *before);
    memcpy(before, af_params_data(s.f[0]->g.params), parameters * sizeof *before);
    desc.dropout = 5;
    answer(&s, 1, s.f, &desc, &a);
    answer(&s, 1, s.f, &desc, &again);
    CHECK(memcmp(&a, &again, sizeof a) == 0);
    desc.block = 1; /* which units are dropped does not depend on the chunk */
    answer(&s, 1, s.f, &desc, &smaller);
    desc.seed = 1;
    answer(&s, 1, s.f, &desc, &other);
    CHECK(memcmp(before, af_params_data(s.f[0]->g.params), parameters * sizeof *before) == 0);
    for (i = 0; i < 3 * N; i++) {
        CHECK(a.j_error[i] > 0.0 && a.theta_error[i] > 0.0);
        CHECK_CLOSE(a.j[i], smaller.j[i], 1e-9);
        CHECK_CLOSE(a.j_error[i], smaller.j_error[i], 1e-8);
        most = fmax(most, fabs(a.j[i] - other.j[i]));
    }
    CHECK(most > 1e-3);
    free(before);
    setting_end(&s);
}

/* Dropout is in the file, and a file without it is as before. */
TEST(dropout_in_the_file) {
    const char *path = scratch_file("drop.safetensors");
    setting s;
    af_finder_desc d = dropping(1);
    af_finder *g = NULL;
    af_ensemble_desc desc = AF__ZERO;
    af_tensors *set = NULL;
    answers a, b;
    setting_begin(&s, &d);
    desc.dropout = 3;
    CHECK(af_finder_save(s.f[0], path) == AF_OK && af_finder_load(s.c, path, &g) == AF_OK);
    if (g) {
        CHECK(g->g.desc.net.dropout == 0.4 && g->g.desc.net.dropout_above == 3);
        CHECK(g->g.desc.point_net.dropout == 0.0);
        answer(&s, 1, s.f, &desc, &a);
        answer(&s, 1, &g, &desc, &b);
        CHECK(memcmp(&a, &b, sizeof a) == 0);
    }
    af_finder_destroy(g);
    g = NULL;
    s.f[0]->g.desc.net.dropout = 0.0; /* what older files say of it: nothing */
    CHECK(af_finder_save(s.f[0], path) == AF_OK && af_tensors_read(s.c, path, &set) == AF_OK);
    CHECK(set && !af_tensors_text(set, "net.dropout") && af_tensors_text(set, "net.width"));
    CHECK(af_finder_load(s.c, path, &g) == AF_OK && g->g.desc.net.dropout == 0.0);
    af_tensors_destroy(set);
    af_finder_destroy(g);
    remove(path);
    setting_end(&s);
}

/* ---- stars as observed ---- */

enum { DRAWS = 400 };

/* One star a stream, all with the same values but for the error that is there. */
static af_observed *observed_of(af_context *c, size_t streams, const double error[4]) {
    double value[STREAMS * 6], errors[STREAMS * 4];
    af_observed *o = NULL;
    size_t s;
    for (s = 0; s < streams; s++) {
        const double star[6] = {20.0 + 40.0 * (double)s, 35.0, 6.0, -3.0, -5.0, 40.0};
        memcpy(value + 6 * s, star, sizeof star);
        memcpy(errors + 4 * s, error, 4 * sizeof *error);
    }
    CHECK(af_observed_create(c, NULL, streams, 1, value, errors, NULL, &o) == AF_OK);
    return o;
}

/* In the true isochrone J of a star is known: small errors of the velocity scatter J by |dJ/dv|. */
TEST(draws_of_a_star) {
    const double error[4] = {0.0, 0.0, 0.0, 0.5};
    setting s;
    af_finder_desc d = small();
    af_finder *f;
    af_ensemble *e = NULL;
    af_observed *o;
    af_orbits *orbits = NULL;
    answers a;
    af_estimate to = into(&a);
    size_t i, k, lost = 7;
    setting_begin(&s, NULL);
    d.toy = mock_truth();
    d.toy.mass *= 3.0;
    CHECK(af_finder_create(s.c, s.o, &d, &f) == AF_OK); /* untrained: */
    memset(af_params_data(f->g.params), 0, af_finder_parameters(f) * sizeof(double));
    o = observed_of(s.c, STREAMS, error);
    CHECK(af_ensemble_create(s.c, 1, &f, NULL, &e) == AF_OK);
    CHECK(af_ensemble_observed(e, o, DRAWS, 11, &to, &lost) == AF_OK);
    CHECK(lost == 0);
    CHECK(af_observed_orbits(o, 0, &orbits) == AF_OK);
    for (i = 0; orbits && i < STREAMS; i++) {
        double star[6], j[2][3], theta[2][3], center[3], angle[3];
        const double *xv = af_orbits_xv(orbits, i);
        af_isochrone_actions(&d.toy, xv, center, angle, NULL);
        for (k = 0; k < 2; k++) { /* 0.5 km/s along the line of sight, to either side */
            double icrs[6];
            af_observed_sky(o, i, 0, icrs);
            icrs[5] += k ? 0.5 : -0.5;
            af_xv_from_icrs(af_observed_sun(o), icrs, star);
            af_isochrone_actions(&d.toy, star, j[k], theta[k], NULL);
        }
        for (k = 0; k < 3; k++) {
            double scatter = 0.5 * fabs(j[1][k] - j[0][k]);
            double turn = 0.5 * fabs(angle_between(theta[1][k], theta[0][k]));
            CHECK_CLOSE(a.j[3 * i + k], center[k], 1e-9);
            CHECK(fabs(angle_between(a.theta[3 * i + k], angle[k])) < 1e-9);
            /* 400 draws give a deviation to 1/sqrt(800): 3.5 per cent; four of these */
            CHECK(fabs(a.j_error[3 * i + k] - scatter) < 0.14 * scatter + 1e-6);
            CHECK(fabs(a.theta_error[3 * i + k] - turn) < 0.14 * turn + 1e-6);
            CHECK(scatter > 1e-3);
        }
    }
    af_orbits_destroy(orbits);
    af_observed_destroy(o);
    af_ensemble_destroy(e);
    af_finder_destroy(f);
    setting_end(&s);
}

/* Draws and answers add in quadrature; the draws are those of af_observed_draws. */
TEST(errors_add) {
    const double error[4] = {0.2, 0.1, 0.1, 5.0};
    setting s;
    af_finder_desc d = small();
    af_observed *o;
    af_orbits *draw = NULL, *center = NULL;
    af_ensemble *e = NULL;
    answers a, own, drawn;
    double mean[3 * STREAMS] = {0.0}, square[3 * STREAMS] = {0.0};
    size_t i, k;
    d.toy.mass = 1e12;
    d.toy.scale = 6.0;
    setting_begin(&s, &d);
    o = observed_of(s.c, STREAMS, error);
    CHECK(af_ensemble_create(s.c, MEMBERS, s.f, NULL, &e) == AF_OK);
    {
        af_estimate to = into(&a), plain = into(&own), one;
        CHECK(af_ensemble_observed(e, o, 3, 20, &to, NULL) == AF_OK);
        CHECK(af_observed_orbits(o, 0, &center) == AF_OK);
        CHECK(af_ensemble_orbits(e, center, &plain) == AF_OK);
        for (k = 0; k < 3; k++) {
            one = into(&drawn);
            CHECK(af_observed_draws(o, 1, 20 + k, 0, &draw) == AF_OK);
            CHECK(af_ensemble_orbits(e, draw, &one) == AF_OK);
            af_orbits_destroy(draw);
            for (i = 0; i < 3 * STREAMS; i++) {
                mean[i] += drawn.j[i] / 3.0;
                square[i] += drawn.j[i] * drawn.j[i] / 3.0;
            }
        }
    }
    for (i = 0; i < 3 * STREAMS; i++) {
        double variance = (square[i] - mean[i] * mean[i]) * 3.0 / 2.0;
        CHECK(a.j[i] == own.j[i] && a.theta[i] == own.theta[i]);
        CHECK_CLOSE(a.j_error[i], sqrt(own.j_error[i] * own.j_error[i] + variance), 1e-6);
        CHECK(a.j_error[i] > own.j_error[i]);
        CHECK(a.theta_error[i] > own.theta_error[i]);
    }
    af_orbits_destroy(center);
    af_observed_destroy(o);
    af_ensemble_destroy(e);
    setting_end(&s);
}

/* Draws that are not bound in the toy are counted and left out. */
TEST(lost_draws) {
    const double error[4] = {0.0, 0.0, 0.0, 400.0};
    setting s;
    af_observed *o;
    af_ensemble *e = NULL;
    answers a;
    af_estimate to = into(&a);
    size_t lost = 0;
    setting_begin(&s, NULL);
    o = observed_of(s.c, 1, error);
    CHECK(af_ensemble_create(s.c, 1, s.f, NULL, &e) == AF_OK);
    CHECK(af_ensemble_observed(e, o, 50, 0, &to, &lost) == AF_OK);
    CHECK(lost > 5 && lost < 45);
    CHECK(a.j_error[2] > 0.0);
    af_observed_destroy(o);
    af_ensemble_destroy(e);
    setting_end(&s);
}

/* ---- bootstrap ---- */

TEST(bootstrap) {
    enum { MANY = 200, TRAIN = 160 };
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_orbits *o = mock_orbits(c, 1, MANY, 2), *b = NULL, *again = NULL;
    size_t s, k, same = 0, seen = 0, bytes = 12 * sizeof(double);
    int there[TRAIN] = {0};
    CHECK(af_orbits_bootstrap(c, o, TRAIN, 3, &b) == AF_OK);
    CHECK(af_orbits_bootstrap(c, o, TRAIN, 4, &again) == AF_OK);
    CHECK(af_orbits_streams(b) == MANY && af_orbits_stars(b) == 2);
    for (s = 0; s < MANY; s++) {
        same += memcmp(af_orbits_xv(b, s), af_orbits_xv(again, s), bytes) == 0;
        if (s >= TRAIN) CHECK(memcmp(af_orbits_xv(b, s), af_orbits_xv(o, s), bytes) == 0);
        for (k = 0; s < TRAIN && k < MANY; k++)
            if (memcmp(af_orbits_xv(b, s), af_orbits_xv(o, k), bytes) == 0) {
                CHECK(k < TRAIN);
                if (k < TRAIN) there[k] = 1;
            }
    }
    for (k = 0; k < TRAIN; k++) seen += there[k] ? 1u : 0u;
    /* 1 - 1/e of them are drawn, 101 of 160; the deviation is about 4 */
    CHECK(seen > 85 && seen < 117);
    CHECK(same < MANY - TRAIN + 15); /* another seed, another sample */
    af_orbits_destroy(again);
    CHECK(af_orbits_bootstrap(c, o, MANY + 1, 3, &again) == AF_ERROR_ARGUMENT && !again);
    CHECK_TEXT(af_error(c), "201 streams to be drawn, there are 200");
    af_error_clear(c);
    CHECK(af_orbits_bootstrap(c, o, 0, 3, &again) == AF_ERROR_ARGUMENT);
    af_orbits_destroy(b);
    af_orbits_destroy(o);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

/* ---- refusals ---- */

static void refuses(setting *s, size_t count, const af_ensemble_desc *d, const char *words) {
    af_ensemble *e = (af_ensemble *)s;
    CHECK(af_ensemble_create(s->c, count, s->f, d, &e) == AF_ERROR_ARGUMENT && !e);
    CHECK_TEXT(af_error(s->c), words);
    af_error_clear(s->c);
}

TEST(refusals) {
    const double error[4] = {0.0, 0.0, 0.0, 1.0}, no_error[4] = {0.0, 0.0, 0.0, 0.0};
    setting s;
    af_finder_desc d = small();
    af_ensemble_desc desc = AF__ZERO;
    af_ensemble *e = NULL;
    af_observed *o;
    answers a;
    af_estimate to = into(&a);
    d.net.architecture = AF_RESDENSE; /* a Fourier G, which is not trained with dropout */
    d.net.dropout = 0.5;
    d.net.dropout_above = 1;
    setting_begin(&s, &d);
    refuses(&s, 0, NULL, "a finder or more");
    desc.end_canary = 1;
    refuses(&s, 1, &desc, "not initialised");
    desc.end_canary = 0;
    desc.dropout = 4;
    refuses(&s, 1, &desc, "finder 1 was not trained with dropout");
    desc.dropout = 0;
    desc.stars = 2;
    CHECK(af_ensemble_create(s.c, 1, s.f, &desc, &e) == AF_OK);
    CHECK(af_ensemble_orbits(e, s.o, &to) == AF_ERROR_SHAPE);
    CHECK_TEXT(af_error(s.c), "streams of 2 stars, these have up to 3");
    af_error_clear(s.c);
    af_ensemble_destroy(e);
    desc.stars = 1;
    CHECK(af_ensemble_create(s.c, 1, s.f, &desc, &e) == AF_OK);
    o = observed_of(s.c, 2, error);
    CHECK(af_ensemble_observed(e, o, 1, 0, &to, NULL) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(s.c), "1 draws");
    af_error_clear(s.c);
    af_observed_destroy(o);
    o = observed_of(s.c, 2, no_error);
    CHECK(af_ensemble_observed(e, o, 5, 0, &to, NULL) == AF_ERROR_DATA);
    CHECK_TEXT(af_error(s.c), "no star has errors");
    af_error_clear(s.c);
    af_observed_destroy(o);
    af_ensemble_destroy(e);
    af_ensemble_destroy(NULL);
    setting_end(&s);
}

/* Finders of other contexts: their sentence is heard here. */
TEST(other_contexts) {
    setting s;
    heap memory = AF__ZERO;
    af_context *c = heap_context(&memory, 1);
    af_ensemble *e = NULL;
    setting_begin(&s, NULL);
    CHECK(af_ensemble_create(c, 2, s.f, NULL, &e) == AF_OK);
    CHECK(af_ensemble_answers(e) == 2);
    af_ensemble_destroy(e);
    s.memory.fail_at = s.memory.calls + 3;
    CHECK(af_ensemble_create(c, 2, s.f, NULL, &e) == AF_ERROR_MEMORY && !e);
    CHECK_TEXT(af_error(c), "ensemble: finder 1: ");
    af_error_clear(s.c);
    af_context_destroy(c);
    CHECK(memory.live == 0);
    setting_end(&s);
}

/* ---- memory ---- */

static af_status whole_life(af_context *c) {
    const double error[4] = {0.1, 0.1, 0.1, 1.0};
    double value[12], errors[8];
    af_finder_desc d = dropping(1);
    af_ensemble_desc desc = AF__ZERO;
    af_orbits *o = NULL, *b = NULL;
    af_observed *stars = NULL;
    af_finder *f[2] = {NULL, NULL};
    af_ensemble *e = NULL;
    answers a;
    af_estimate to = into(&a);
    static double xv[N * 6];
    const double star[6] = {20.0, 35.0, 6.0, -3.0, -5.0, 40.0};
    af_status s;
    memcpy(value, star, sizeof star);
    memcpy(value + 6, star, sizeof star);
    memcpy(errors, error, sizeof error);
    memcpy(errors + 4, error, sizeof error);
    mock_streams(3, STREAMS, STARS, xv, NULL, NULL);
    desc.dropout = 2;
    d.toy.mass = 1e12;
    s = af_orbits_create(c, STREAMS, STARS, xv, NULL, &o);
    if (s == AF_OK) s = af_orbits_bootstrap(c, o, STREAMS, 1, &b);
    if (s == AF_OK) s = af_finder_create(c, o, &d, &f[0]);
    if (s == AF_OK) s = af_finder_create(c, b, &d, &f[1]);
    if (s == AF_OK) s = af_ensemble_create(c, 2, f, &desc, &e);
    if (s == AF_OK) s = af_ensemble_orbits(e, o, &to);
    if (s == AF_OK) s = af_observed_create(c, NULL, 2, 1, value, errors, NULL, &stars);
    to.j = NULL; /* some scratch in their place */
    if (s == AF_OK) s = af_ensemble_observed(e, stars, 2, 0, &to, NULL);
    if (s == AF_OK) CHECK(a.j_error[0] > 0.0);
    af_ensemble_destroy(e);
    af_observed_destroy(stars);
    af_finder_destroy(f[1]);
    af_finder_destroy(f[0]);
    af_orbits_destroy(b);
    af_orbits_destroy(o);
    return s;
}

TEST(memory) {
    heap h;
    long k, calls = 1;
    for (k = 0; k <= calls; k += k == 0 ? 1 : 1 + calls / 200) {
        af_context *c;
        af_status s;
        memset(&h, 0, sizeof h);
        h.fail_at = k;
        c = heap_context(&h, 1);
        if (!c) continue;
        s = whole_life(c);
        CHECK(s == (k ? AF_ERROR_MEMORY : AF_OK) || (k && s == AF_OK && h.calls < k));
        CHECK((s == AF_OK) == (strlen(af_error(c)) == 0));
        if (k == 0) calls = h.calls;
        af_context_destroy(c);
        CHECK(h.live == 0);
    }
    CHECK(calls > 50);
}

/* Evaluation allocates nothing. */
TEST(no_allocation) {
    setting s;
    af_finder_desc d = dropping(0);
    af_ensemble_desc desc = AF__ZERO;
    af_ensemble *e = NULL;
    answers a;
    af_estimate to = into(&a);
    long calls;
    setting_begin(&s, &d);
    desc.dropout = 2;
    CHECK(af_ensemble_create(s.c, MEMBERS, s.f, &desc, &e) == AF_OK);
    calls = s.memory.calls;
    CHECK(af_ensemble_answers(e) == 2 * MEMBERS);
    CHECK(af_ensemble_evaluate(e, N, af_orbits_xv(s.o, 0), NULL, &to) == 0);
    CHECK(s.memory.calls == calls);
    af_ensemble_destroy(e);
    setting_end(&s);
}

int main(void) {
    RUN(one_member_is_the_finder);
    RUN(mean_and_deviation);
    RUN(angles_about_zero);
    RUN(unbound_members);
    RUN(unsettled_members);
    RUN(places_without_stars);
    RUN(thinned_network);
    RUN(thinned_network_with_weight_norm);
    RUN(nothing_left);
    RUN(dropout_sampling);
    RUN(dropout_in_the_file);
    RUN(draws_of_a_star);
    RUN(errors_add);
    RUN(lost_draws);
    RUN(bootstrap);
    RUN(refusals);
    RUN(other_contexts);
    RUN(memory);
    RUN(no_allocation);
    return test_report();
}
