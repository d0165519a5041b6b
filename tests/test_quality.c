/* Judging a finder's result: false-alarm rates, streams of two orbits, strangers, ROC areas. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "quality"
#include "af_mock.h"

enum { STREAMS = 400, STARS = 5 };

static const double ONE = 1.0 / (double)STREAMS; /* of the streams */
static heap memory;
static af_context *c;
static double xv[STREAMS][STARS][6], other[STREAMS][STARS][6];
static af_stream_quality stream[STREAMS];
static af_star_quality star[STREAMS][STARS];

/* An untrained finder whose toy is wrong by a thousandth, so that actions scatter a little. */
static af_finder *make_finder(const af_orbits *o) {
    af_finder_desc d = AF__ZERO;
    af_finder *f = NULL;
    d.toy.mass = 1.001 * mock_truth().mass;
    d.toy.scale = mock_truth().scale;
    d.harmonics_r = d.harmonics_z = d.harmonics_phi = 2;
    d.net.width = 4;
    CHECK(af_finder_create(c, o, &d, &f) == AF_OK);
    return f;
}

static af_orbits *make_orbits(size_t streams, size_t stars, const double *values,
                              const size_t *count) {
    af_orbits *o = NULL;
    CHECK(af_orbits_create(c, streams, stars, values, count, &o) == AF_OK);
    return o;
}

/* A judge whose reference is the isochrone's streams of this seed, none trained on. */
typedef struct bench {
    af_orbits *reference;
    af_finder *finder;
    af_quality *judge;
} bench;

static bench make_bench(uint64_t seed, size_t trained, double false_alarm) {
    bench b;
    af_quality_desc d = AF__ZERO;
    mock_streams(seed, STREAMS, STARS, xv[0][0], NULL, NULL);
    b.reference = make_orbits(STREAMS, STARS, xv[0][0], NULL);
    b.finder = make_finder(b.reference);
    b.judge = NULL;
    d.trained = trained;
    d.false_alarm = false_alarm;
    d.threads = 1;
    CHECK(af_quality_create(b.finder, b.reference, &d, &b.judge) == AF_OK);
    return b;
}

static void drop_bench(bench *b) {
    af_quality_destroy(b->judge);
    af_finder_destroy(b->finder);
    af_orbits_destroy(b->reference);
}

static void judge(const bench *b, const double *values) {
    af_orbits *o = make_orbits(STREAMS, STARS, values, NULL);
    CHECK(af_quality_judge(b->judge, o, stream, star[0]) == AF_OK);
    af_orbits_destroy(o);
}

typedef struct rates {
    double misfit, outside, apart, star_outside;
} rates;

static rates count_flags(void) {
    rates r = AF__ZERO;
    size_t s, i;
    for (s = 0; s < STREAMS; s++) {
        r.misfit += stream[s].flags & AF_STREAM_MISFIT ? ONE : 0.0;
        r.outside += stream[s].flags & AF_STAR_OUTSIDE ? ONE : 0.0;
        for (i = 0; i < STARS; i++) {
            r.apart += star[s][i].flags & AF_STAR_APART ? ONE / (double)STARS : 0.0;
            r.star_outside += star[s][i].flags & AF_STAR_OUTSIDE ? ONE / (double)STARS : 0.0;
        }
    }
    return r;
}

/* ---- false alarms ---- */

/* New streams of the same kind: each flag hits a tenth. Of 400 streams, threshold and count both
 * scatter by 0.015: 0.021 together, so 0.07 is more than three of these. Stars of a stream go
 * together: they scatter no more than streams. */
TEST(false_alarms_are_as_documented) {
    bench b = make_bench(1, SIZE_MAX, 0.1);
    rates r;
    CHECK(af_quality_held_back(b.judge) == STREAMS);
    mock_streams(2, STREAMS, STARS, other[0][0], NULL, NULL);
    judge(&b, other[0][0]);
    r = count_flags();
    CHECK_CLOSE(r.misfit, 0.1, 0.07);
    CHECK_CLOSE(r.outside, 0.1, 0.07);
    CHECK_CLOSE(r.apart, 0.1, 0.07);
    CHECK_CLOSE(r.star_outside, 0.1, 0.07);
    drop_bench(&b);
    b = make_bench(1, 0, 0.01); /* an eighth held back: too few for a hundredth */
    CHECK(af_quality_held_back(b.judge) == STREAMS / 8);
    judge(&b, other[0][0]);
    CHECK(count_flags().misfit == 0.0);
    drop_bench(&b);
}

/* Ranks of new streams are as good as uniform: the mean is a half, a quarter is below a quarter. */
TEST(ranks_are_uniform) {
    bench b = make_bench(3, SIZE_MAX, 0.0);
    double mean = 0.0, below = 0.0;
    size_t s;
    mock_streams(4, STREAMS, STARS, other[0][0], NULL, NULL);
    judge(&b, other[0][0]);
    for (s = 0; s < STREAMS; s++) {
        mean += stream[s].rank * ONE;
        below += stream[s].rank < 0.25 ? ONE : 0.0;
        CHECK(stream[s].rank >= 1.0 / (double)(STREAMS + 1) && stream[s].rank <= 1.0);
    }
    CHECK_CLOSE(mean, 0.5, 0.07); /* 0.29 sqrt(2/400) = 0.02 */
    CHECK_CLOSE(below, 0.25, 0.1);
    drop_bench(&b);
}

/* ---- what must be found ---- */

/* Two of five stars come from another stream. */
TEST(streams_of_two_orbits_are_misfits) {
    bench b = make_bench(5, SIZE_MAX, 0.0);
    size_t s;
    mock_streams(6, STREAMS, STARS, other[0][0], NULL, NULL);
    for (s = 0; s + 1 < STREAMS; s++) memcpy(other[s][3], other[s + 1][3], 2 * sizeof other[s][3]);
    judge(&b, other[0][0]);
    CHECK(count_flags().misfit > 0.95);
    drop_bench(&b);
}

/* One foreign star in every stream: it is apart, the others are not. */
TEST(foreign_stars_are_apart) {
    bench b = make_bench(7, SIZE_MAX, 0.0);
    double found = 0.0, wrong = 0.0;
    size_t s, i;
    mock_streams(8, STREAMS, STARS, other[0][0], NULL, NULL);
    for (s = 0; s + 1 < STREAMS; s++) memcpy(other[s][2], other[s + 1][4], sizeof other[s][2]);
    judge(&b, other[0][0]);
    for (s = 0; s + 1 < STREAMS; s++)
        for (i = 0; i < STARS; i++) {
            double hit = star[s][i].flags & AF_STAR_APART ? ONE : 0.0;
            if (i == 2) found += hit;
            else wrong += hit / (double)(STARS - 1);
        }
    CHECK(found > 0.95);
    CHECK(wrong < 0.15);
    drop_bench(&b);
}

/* Orbits six times as large, as fast: no reference stream has such actions. */
TEST(strangers_are_outside) {
    bench b = make_bench(9, SIZE_MAX, 0.0);
    rates r;
    size_t s, i, k;
    mock_streams(10, STREAMS, STARS, other[0][0], NULL, NULL);
    for (s = 0; s < STREAMS; s++)
        for (i = 0; i < STARS; i++) {
            double speed = 0.0, v[3];
            mock_direction(s, 77, v);
            for (k = 0; k < 3; k++) other[s][i][k] *= 6.0;
            for (k = 3; k < 6; k++) speed += other[s][i][k] * other[s][i][k];
            for (k = 3; k < 6 && speed > 2500.0; k++) other[s][i][k] *= 50.0 / sqrt(speed);
        }
    judge(&b, other[0][0]);
    r = count_flags();
    for (s = i = 0; s < STREAMS; s++) i += stream[s].unbound;
    CHECK(i == 0);
    CHECK(r.star_outside > 0.3); /* those with little angular momentum are like others */
    drop_bench(&b);
}

/* Short arcs in a triaxial logarithmic halo, in two kinds: loops about the z axis, and boxes, that
 * begin at rest. Measured by loops, boxes do not fit. */
static void triaxial_streams(uint64_t seed, int boxes, double *to) {
    af_potential halo = af_potential_logarithmic(220.0, 1.0, 0.9, 0.8);
    af_potential_sum sum;
    size_t s, i, k;
    sum.parts = &halo;
    sum.count = 1;
    for (s = 0; s < STREAMS; s++) {
        double w[6], r = 6.0 + 6.0 * af_random_uniform(seed, 20, s);
        double turn = 2.0 * AF__PI * af_random_uniform(seed, 21, s);
        memset(w, 0, sizeof w);
        if (boxes) mock_direction(seed, s, w);
        for (k = 0; k < 3; k++) w[k] *= r;
        if (!boxes) {
            double v = 180.0 + 60.0 * af_random_uniform(seed, 22, s);
            w[0] = r * cos(turn), w[1] = r * sin(turn), w[2] = 0.1;
            w[3] = -v * sin(turn), w[4] = v * cos(turn);
            w[5] = 60.0 * af_random_normal(seed, 23, s);
        }
        for (i = 0; i < STARS; i++) { /* every 30 Myr, in steps of 0.5 */
            for (k = 0; k < 60; k++)
                af_orbit_step(AF_INTEGRATOR_YOSHIDA6, af_force_of_potential(&sum), 5e-4, w);
            memcpy(to + 6 * (STARS * s + i), w, sizeof w);
        }
    }
}

TEST(another_family_does_not_fit) {
    af_quality_desc d = AF__ZERO;
    af_finder_desc fd = AF__ZERO;
    af_finder *f = NULL;
    af_quality *q = NULL;
    af_orbits *loops, *more, *boxes;
    double score[2 * STREAMS], label[2 * STREAMS], area;
    size_t s, hit = 0;
    triaxial_streams(11, 0, xv[0][0]);
    loops = make_orbits(STREAMS, STARS, xv[0][0], NULL);
    triaxial_streams(12, 0, xv[0][0]);
    more = make_orbits(STREAMS, STARS, xv[0][0], NULL);
    triaxial_streams(13, 1, other[0][0]);
    boxes = make_orbits(STREAMS, STARS, other[0][0], NULL);
    fd.toy.mass = 1.5e12; /* binds all; the orbits are not the isochrone's whatever it is */
    fd.toy.scale = 8.0;
    fd.harmonics_r = fd.harmonics_z = fd.harmonics_phi = 2;
    fd.net.width = 4;
    CHECK(af_finder_create(c, loops, &fd, &f) == AF_OK);
    d.trained = SIZE_MAX;
    CHECK(af_quality_create(f, loops, &d, &q) == AF_OK);
    CHECK(af_quality_judge(q, more, stream, NULL) == AF_OK);
    for (s = 0; s < STREAMS; s++) score[s] = stream[s].relative, label[s] = 0.0;
    CHECK(af_quality_judge(q, boxes, stream, NULL) == AF_OK);
    for (s = 0; s < STREAMS; s++) {
        score[STREAMS + s] = stream[s].relative, label[STREAMS + s] = 1.0;
        hit += stream[s].flags & (AF_STREAM_MISFIT | AF_STAR_OUTSIDE) ? 1u : 0u;
    }
    CHECK(hit > STREAMS * 9 / 10);
    CHECK(af_roc_auc(c, 2 * STREAMS, score, label, &area) == AF_OK);
    CHECK(area > 0.9);
    af_quality_destroy(q);
    af_finder_destroy(f);
    af_orbits_destroy(loops);
    af_orbits_destroy(more);
    af_orbits_destroy(boxes);
}

/* ---- the numbers, by another route ---- */

/* For the reference itself: each stream's figures from the stars' actions, and its neighbours'
 * median by sorting all the others. */
TEST(figures_by_brute_force) {
    bench b = make_bench(14, SIZE_MAX, 0.0);
    static double place[STREAMS][3], root[STREAMS];
    double scale[3];
    size_t s, t, i, k;
    judge(&b, xv[0][0]);
    for (k = 0; k < 3; k++) {
        for (s = 0; s < STREAMS; s++)
            root[s] = place[s][k] =
                (stream[s].j[k] < 0.0 ? -1.0 : 1.0) * sqrt(fabs(stream[s].j[k]));
        scale[k] = test_median(root, STREAMS);
        for (s = 0; s < STREAMS; s++) root[s] = fabs(place[s][k] - scale[k]);
        scale[k] = test_median(root, STREAMS);
    }
    for (s = 0; s < STREAMS; s += 37) {
        static double far[STREAMS][2];
        double near_relative[50], spread = 0.0;
        for (k = 0; k < 3; k++) {
            double mine[STARS], sum = 0.0, middle;
            for (i = 0; i < STARS; i++) mine[i] = star[s][i].j[k];
            middle = median(mine, STARS);
            for (i = 0; i < STARS; i++) {
                sum += fabs(star[s][i].j[k] - middle) / (double)STARS;
                CHECK_CLOSE(star[s][i].deviation[k], star[s][i].j[k] - middle, 1e-12);
            }
            CHECK_CLOSE(stream[s].j[k], middle, 1e-12);
            spread += sum * sum;
        }
        CHECK_CLOSE(stream[s].spread, sqrt(spread), 1e-9);
        for (t = 0; t < STREAMS; t++) {
            far[t][0] = s == t ? INFINITY : 0.0;
            for (k = 0; k < 3; k++)
                far[t][0] += pow((place[t][k] - place[s][k]) / scale[k], 2.0);
            far[t][1] = stream[t].relative;
        }
        qsort(far, STREAMS, sizeof far[0], mock_less);
        for (i = 0; i < 50; i++) near_relative[i] = far[i][1]; /* an eighth of the reference */
        CHECK_CLOSE(stream[s].typical / test_median(near_relative, 50), 1.0, 1e-9);
        CHECK_CLOSE(stream[s].ratio, stream[s].relative / stream[s].typical, 1e-12);
    }
    for (s = 0; s < STREAMS; s++) root[s] = stream[s].distance;
    CHECK_CLOSE(test_median(root, STREAMS), 1.0, 1e-9);
    drop_bench(&b);
}

/* ---- ragged, single, unbound ---- */

TEST(odd_streams) {
    bench b = make_bench(15, SIZE_MAX, 0.0);
    size_t count[4] = {STARS, 2, 1, STARS}, k;
    af_orbits *o;
    mock_streams(16, 4, STARS, other[0][0], NULL, NULL);
    for (k = 3; k < 6; k++) other[0][1][k] = 900.0; /* beyond escape */
    for (k = 0; k < STARS; k++) other[3][k][3] = 2000.0;
    o = make_orbits(4, STARS, other[0][0], count);
    CHECK(af_quality_judge(b.judge, o, stream, star[0]) == AF_OK);
    CHECK(stream[0].stars == STARS && stream[0].unbound == 1);
    CHECK(star[0][1].flags & AF_ORBIT_UNBOUND);
    CHECK(isnan(star[0][1].j[0]) && isnan(star[0][1].rank) && isnan(star[0][1].distance_rank));
    CHECK(!(star[0][1].flags & (AF_STAR_APART | AF_STAR_OUTSIDE)));
    CHECK(stream[0].rank > 0.0 && stream[0].ratio > 0.0);
    CHECK(stream[1].stars == 2 && stream[1].rank > 0.0);
    CHECK(isnan(star[1][2].j[0]) && star[1][2].flags == 0);
    CHECK(stream[2].stars == 1 && isnan(stream[2].spread) && isnan(stream[2].rank));
    CHECK(isnan(star[2][0].rank) && star[2][0].distance > 0.0 && stream[2].distance > 0.0);
    CHECK(stream[2].typical > 0.0);
    CHECK(stream[3].unbound == STARS && isnan(stream[3].j[0]) && stream[3].flags == 0);
    CHECK(isnan(stream[3].typical) && isnan(stream[3].distance));
    af_orbits_destroy(o);
    drop_bench(&b);
}

/* More reference streams than are kept: evenly taken, both those trained on and the others. */
TEST(reference_is_thinned) {
    bench b = make_bench(17, 300, 0.0);
    af_quality_desc d = AF__ZERO;
    af_quality *q = NULL;
    CHECK(af_quality_held_back(b.judge) == 100);
    d.trained = 300;
    d.most = 40;
    d.neighbours = 1000;
    CHECK(af_quality_create(b.finder, b.reference, &d, &q) == AF_OK);
    CHECK(af_quality_held_back(q) == 10);
    af_quality_destroy(q);
    drop_bench(&b);
}

/* ---- the area under the ROC curve ---- */

static double area_of(size_t n, const double *score, const double *label) {
    double area = -1.0;
    CHECK(af_roc_auc(c, n, score, label, &area) == AF_OK);
    return area;
}

TEST(roc_by_hand) {
    const double score[6] = {1.0, 2.0, 2.0, 3.0, 4.0, NAN}, label[6] = {0.0, 0.0, 1.0, 0.0, 1.0, 1};
    const double ends[3] = {-INFINITY, 0.0, INFINITY}, up[3] = {0.0, 1.0, 2.0};
    double down[3] = {1.0, 0.0, -1.0}, same[3] = {7.0, 7.0, 7.0}, unknown[3] = {0.0, NAN, 1.0};
    /* pairs (2 | 1, 2, 3): 1 + 0.5 + 0; (4 | ...): 3; of 6 */
    CHECK_CLOSE(area_of(6, score, label), 4.5 / 6.0, 1e-15);
    CHECK(area_of(3, ends, up) == 1.0);
    CHECK(area_of(3, ends, down) == 0.0);
    CHECK(area_of(3, same, up) == 0.5);
    CHECK(area_of(3, ends, unknown) == 1.0);
    CHECK(isnan(area_of(3, ends, same)) && isnan(area_of(0, NULL, NULL)));
}

TEST(roc_counts_pairs) {
    double score[200], label[200], won = 0.0, pairs = 0.0;
    size_t i, k;
    for (i = 0; i < 200; i++) {
        label[i] = af_random_uniform(1, 30, i) < 0.3;
        score[i] = floor(6.0 * af_random_uniform(1, 31, i) + label[i]); /* many are equal */
    }
    for (i = 0; i < 200; i++)
        for (k = 0; k < 200; k++) {
            if (!(label[i] > 0.0) || label[k] > 0.0) continue;
            pairs += 1.0;
            won += score[i] > score[k] ? 1.0 : score[i] < score[k] ? 0.0 : 0.5;
        }
    CHECK_CLOSE(area_of(200, score, label), won / pairs, 1e-12);
}

/* ---- errors ---- */

#define CHECK_FAILS(orbits, desc, status, words)                      \
    do {                                                              \
        af_quality *q = (af_quality *)&memory; /* not NULL */         \
        CHECK(af_quality_create(f, (orbits), (desc), &q) == (status)); \
        CHECK(q == NULL);                                             \
        CHECK_TEXT(af_error(c), (words));                             \
        af_error_clear(c);                                            \
    } while (0)

TEST(refuses) {
    af_orbits *o, *few, *singles;
    af_finder *f;
    af_quality_desc d = AF__ZERO;
    mock_streams(18, 20, STARS, xv[0][0], NULL, NULL);
    o = make_orbits(20, STARS, xv[0][0], NULL);
    few = make_orbits(7, STARS, xv[0][0], NULL);
    singles = make_orbits(20 * STARS, 1, xv[0][0], NULL);
    f = make_finder(o);
    d.end_canary = 1;
    CHECK_FAILS(o, &d, AF_ERROR_ARGUMENT, "not zeroed");
    d.end_canary = 0;
    d.false_alarm = 1.0;
    CHECK_FAILS(o, &d, AF_ERROR_ARGUMENT, "between 0 and 1");
    d.false_alarm = -0.1;
    CHECK_FAILS(o, &d, AF_ERROR_ARGUMENT, "between 0 and 1");
    d.false_alarm = NAN;
    CHECK_FAILS(o, &d, AF_ERROR_ARGUMENT, "between 0 and 1");
    CHECK_FAILS(few, NULL, AF_ERROR_DATA, "7 streams to judge by have two bound stars");
    CHECK_FAILS(singles, NULL, AF_ERROR_DATA, "0 streams to judge by");
    af_finder_destroy(f);
    af_orbits_destroy(o);
    af_orbits_destroy(few);
    af_orbits_destroy(singles);
}

/* Memory that ends at the k-th call, for every k. */
TEST(out_of_memory) {
    af_orbits *o;
    af_finder *f;
    long k, calls, live;
    mock_streams(19, 16, STARS, xv[0][0], NULL, NULL);
    o = make_orbits(16, STARS, xv[0][0], NULL);
    f = make_finder(o);
    live = memory.live;
    for (k = 1;; k++) {
        af_quality *q = NULL;
        double area, label[2] = {0.0, 1.0};
        af_status status;
        calls = memory.calls;
        memory.fail_at = calls + k;
        status = af_quality_create(f, o, NULL, &q);
        if (status == AF_OK) status = af_quality_judge(q, o, stream, star[0]);
        if (status == AF_OK) status = af_roc_auc(c, 2, label, label, &area);
        memory.fail_at = 0;
        af_quality_destroy(q);
        if (memory.calls < calls + k) break; /* it never came to that */
        CHECK(status == AF_ERROR_MEMORY);
        af_error_clear(c);
        if (test_broken) break;
    }
    CHECK(k > 5 && memory.live >= live);
    af_finder_destroy(f);
    af_orbits_destroy(o);
}

int main(void) {
    c = heap_context(&memory, 1);
    RUN(false_alarms_are_as_documented);
    RUN(ranks_are_uniform);
    RUN(streams_of_two_orbits_are_misfits);
    RUN(foreign_stars_are_apart);
    RUN(strangers_are_outside);
    RUN(another_family_does_not_fit);
    RUN(figures_by_brute_force);
    RUN(odd_streams);
    RUN(reference_is_thinned);
    RUN(roc_by_hand);
    RUN(roc_counts_pairs);
    RUN(refuses);
    RUN(out_of_memory);
    af_context_destroy(c);
    if (memory.live != 0) {
        printf("  %ld pieces of memory are left\n", memory.live);
        test_failed++;
    }
    return test_report();
}
