/* Accelerations without a model, ensembles, bootstrap, what a potential gives, and maps. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#include "af_heap.h"

static heap memory;
static af_context *c;

static double normal(uint64_t stream, uint64_t index) { return af_random_normal(1, stream, index); }

/* ---- distribution functions in closed form ---- */

typedef struct truth {
    /* ln f and d ln f/d eta (6) at eta (6). */
    double (*f)(const struct truth *t, const double *eta, double *gradient);
    af_potential part;       /* of JEANS */
    dp_frame frame;          /* in which it is stationary */
    double mean[6], sd[6], offset; /* of gauss */
    double noise, wrong;     /* standard deviation of errors of d ln f/dx, and the fraction of them
                                that is 30 times as large */
} truth;

static double plummer(const truth *t, const double *eta, double *g) {
    double s = 1.0 / sqrt(1.0 + eta[0] * eta[0] + eta[1] * eta[1] + eta[2] * eta[2]);
    double e = 0.5 * (eta[3] * eta[3] + eta[4] * eta[4] + eta[5] * eta[5]) - s;
    size_t k;
    (void)t;
    for (k = 0; k < 3; k++) {
        g[k] = 3.5 * eta[k] * s * s * s / e;
        g[3 + k] = 3.5 * eta[3 + k] / e;
    }
    return 3.5 * log(-e);
}

static void plummer_acceleration(const double *x, double *a) {
    double s = 1.0 / sqrt(1.0 + x[0] * x[0] + x[1] * x[1] + x[2] * x[2]);
    size_t k;
    for (k = 0; k < 3; k++) a[k] = -x[k] * s * s * s;
}

/* p(v|x): without the gradient of n(x) ~ (1 + r^2)^(-5/2). */
static double plummer_given_x(const truth *t, const double *eta, double *g) {
    double r2 = 1.0 + eta[0] * eta[0] + eta[1] * eta[1] + eta[2] * eta[2];
    double ln_f = plummer(t, eta, g) + 2.5 * log(r2);
    size_t k;
    for (k = 0; k < 3; k++) g[k] += 5.0 * eta[k] / r2;
    return ln_f;
}

/* In the frame at xc that moves with u0: ln f = -E + Lz - Lz^2/5, not isotropic. */
static double jeans(const truth *t, const double *eta, double *g) {
    double x[3], v[3], a[3], lz, slope;
    size_t k;
    for (k = 0; k < 3; k++) {
        x[k] = eta[k] - (k < 2 ? t->frame.centre[k] : 0.0);
        v[k] = eta[3 + k] - t->frame.u[k];
    }
    af_potential_acceleration(&t->part, 1, x, a);
    lz = x[0] * v[1] - x[1] * v[0];
    slope = 1.0 - 0.4 * lz;
    for (k = 0; k < 3; k++) {
        g[k] = a[k];
        g[3 + k] = -v[k];
    }
    g[0] += slope * v[1];
    g[1] -= slope * v[0];
    g[3] -= slope * x[1];
    g[4] += slope * x[0];
    return -0.5 * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) -
           af_potential_value(&t->part, 1, x) + lz - 0.2 * lz * lz;
}

/* ln f = -(E - Omega Lz)^2/4 of a bar that turns. */
static double bar(const truth *t, const double *eta, double *g) {
    double a[3], e, o = t->frame.omega;
    const double *v = eta + 3;
    size_t k;
    af_potential_acceleration(&t->part, 1, eta, a);
    e = 0.5 * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) + af_potential_value(&t->part, 1, eta) -
        o * (eta[0] * v[1] - eta[1] * v[0]);
    for (k = 0; k < 3; k++) {
        g[k] = -a[k];
        g[3 + k] = v[k];
    }
    g[0] -= o * v[1];
    g[1] += o * v[0];
    g[3] += o * eta[1];
    g[4] -= o * eta[0];
    for (k = 0; k < 6; k++) g[k] *= -0.5 * e;
    return -0.25 * e * e;
}

static double gauss(const truth *t, const double *eta, double *g) {
    double ln_f = t->offset - 3.0 * log(2.0 * DP__PI);
    size_t k;
    for (k = 0; k < 6; k++) {
        double away = (eta[k] - t->mean[k]) / t->sd[k];
        g[k] = -away / t->sd[k];
        ln_f -= 0.5 * away * away + log(t->sd[k]);
    }
    return ln_f;
}

static uint64_t mixed(const double *eta) {
    uint64_t bits, h = 0;
    size_t k;
    for (k = 0; k < 6; k++) {
        memcpy(&bits, eta + k, sizeof bits);
        h = (h ^ bits ^ (h >> 29)) * 0x9e3779b97f4a7c15u;
    }
    return h;
}

/* Errors are a function of the point; larger at large velocities. */
static void spoil(const truth *t, const double *eta, double *g) {
    double size = t->noise * (1.0 + 4.0 * (eta[3] * eta[3] + eta[4] * eta[4] + eta[5] * eta[5]));
    uint64_t at = mixed(eta);
    size_t k;
    if (af_random_uniform(2, 9, at) < t->wrong) size *= 30.0;
    for (k = 0; k < 3; k++) g[k] += size * normal(10 + k, at);
}

static af_status truth_evaluate(dp_df *df, size_t n, const double *y, double *ln_f, double *out) {
    const truth *t = (const truth *)df->state;
    size_t i, k;
    for (i = 0; i < n; i++) {
        double eta[6], g[6], unused[6], value;
        memcpy(eta, y + 6 * i, sizeof eta);
        dp__unstandardise(df, 1, eta);
        value = t->f(t, eta, g);
        if (t->noise > 0.0) spoil(t, eta, g);
        if (ln_f) ln_f[i] = value - dp__standardise(df, eta, unused, NULL);
        for (k = 0; k < 6 && out; k++) out[6 * i + k] = g[k] * df->scale[k];
    }
    return AF_OK;
}

static dp__engine engine; /* filled by main */

static dp_df make_df(af_context *context, truth *t) {
    dp_df df = DP__ZERO;
    size_t k;
    df.c = context;
    df.engine = &engine;
    df.desc.kind = DP_DF_MATCHING;
    df.state = t;
    for (k = 0; k < 6; k++) { /* powers of two: rounding leaves the points as they are */
        df.mean[k] = 0.0;
        df.scale[k] = k < 3 ? 0.5 : 2.0;
    }
    return df;
}

static truth make_truth(double (*f)(const truth *, const double *, double *)) {
    truth t = DP__ZERO;
    size_t k;
    t.f = f;
    for (k = 0; k < 6; k++) t.sd[k] = 1.0;
    t.part = af_potential_miyamoto_nagai(1.0 / AF_GRAVITY, 1.0, 0.3);
    return t;
}

/* ---- samples ---- */

enum { STARS = 3000, PLACES = 60 };

static double eta[STARS][6], weights[STARS], place[PLACES][3];

/* Normal positions; velocities that are bound in a Plummer sphere wherever a neighbour is. */
static void make_stars(void) {
    size_t i, k;
    for (i = 0; i < (size_t)STARS; i++) {
        double length = 0.0, size;
        for (k = 0; k < 6; k++) eta[i][k] = normal(k, i) * (k < 2 ? 0.7 : 0.3);
        for (k = 3; k < 6; k++) length += eta[i][k] * eta[i][k];
        size = 0.7 * sqrt(af_random_uniform(1, 7, i) / length);
        for (k = 3; k < 6; k++) eta[i][k] *= size;
        weights[i] = i % 7 == 0 ? 0.0 : af_random_uniform(1, 8, i);
        for (k = 0; k < 3 && i < (size_t)PLACES; k++)
            place[i][k] = normal(20 + k, i) * (k < 2 ? 0.5 : 0.2);
    }
}

static dp_sample *make_sample(af_context *context, size_t n, const double *w) {
    dp_sample *s = NULL;
    dp_sample_create(context, n, eta[0], w, NULL, NULL, &s);
    return s;
}

/* ---- nearest stars ---- */

static double squared(const dp__tree *t, const double *x, const double *y) {
    double sum = 0.0;
    size_t k;
    for (k = 0; k < 3; k++) sum += (x[k] - y[k]) * (x[k] - y[k]) / (t->scale[k] * t->scale[k]);
    return sum;
}

/* Against all distances; some stars lie at one place, some on a plane. */
TEST(nearest_stars_are_the_nearest) {
    static const size_t wants[] = {1, 8, 100, STARS};
    static double found[4 * STARS], all[STARS];
    dp__arena arena = dp__arena_open(c);
    dp__tree t;
    dp_sample *s;
    double mean = 0.0, square = 0.0;
    size_t i, j, w;
    for (i = 0; i < 300; i++) memcpy(eta[i], eta[0], 3 * sizeof eta[0][0]);
    for (i = 300; i < 600; i++) eta[i][1] = 0.25;
    s = make_sample(c, STARS, NULL);
    CHECK(dp__tree_open(&t, &arena, c, s) == AF_OK && t.n == (size_t)STARS);
    for (i = 0; i < (size_t)STARS; i++) mean += eta[i][2] / (double)STARS;
    for (i = 0; i < (size_t)STARS; i++) square += (eta[i][2] - mean) * (eta[i][2] - mean);
    CHECK_CLOSE(t.scale[2], sqrt(square / (double)STARS), 1e-13);
    for (j = 0; j < 20; j++)
        for (w = 0; w < AF__COUNT(wants); w++) {
            const double *x = j ? place[j] : eta[0];
            double sum = 0.0, expected = 0.0;
            size_t want = wants[w];
            for (i = 0; i < (size_t)STARS; i++) all[i] = squared(&t, x, eta[i]);
            dp__tree_nearest(&t, x, want, found);
            for (i = 0; i < want; i++) {
                CHECK_CLOSE(found[2 * i], squared(&t, x, eta[(size_t)found[2 * i + 1]]), 1e-13);
                sum += found[2 * i];
            }
            dp__select(all, STARS, 1, 0, want - 1);
            for (i = 0; i < want; i++) expected += all[i];
            CHECK_CLOSE(sum, expected, 1e-12);
        }
    dp_sample_destroy(s);
    dp__arena_free(&arena);
    make_stars();
}

TEST(medians_and_selection) {
    static double values[1001];
    size_t n, i, k;
    for (n = 1; n < 40; n++)
        for (k = 0; k < n; k++) {
            for (i = 0; i < n; i++) values[i] = floor(5.0 * af_random_uniform(n, k, i));
            dp__select(values, n, 1, 0, k);
            for (i = 0; i < n; i++) CHECK(i < k ? values[i] <= values[k] : values[i] >= values[k]);
        }
    for (i = 0; i < 1001; i++) values[i] = (double)((i * 617) % 1001);
    CHECK(dp__median(values, 1001) == 500.0);
    for (i = 0; i < 1000; i++) values[i] = (double)((i * 617) % 1000);
    CHECK(dp__median(values, 1000) == 499.5);
}

/* ---- accelerations of exact gradients ---- */

static double largest_error(const double *a, const double *expected, size_t n) {
    double worst = 0.0;
    size_t i;
    for (i = 0; i < n; i++) worst = fmax(worst, fabs(a[i] - expected[i]));
    return worst;
}

TEST(a_plummer_sphere) {
    truth t = make_truth(plummer);
    dp_df df = make_df(c, &t);
    dp_sample *s = make_sample(c, STARS, weights);
    dp_local_desc d = DP__ZERO;
    double a[PLACES][3], expected[PLACES][3], error[PLACES][3], leftover[PLACES];
    size_t i;
    for (i = 0; i < (size_t)PLACES; i++) plummer_acceleration(place[i], expected[i]);
    for (d.robust = 0; d.robust < 2; d.robust++) {
        CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], error[0], leftover) ==
              AF_OK);
        CHECK(largest_error(a[0], expected[0], 3 * PLACES) < 1e-10);
        for (i = 0; i < (size_t)PLACES; i++) CHECK(error[i][1] < 1e-10 && leftover[i] < 1e-10);
    }
    d.robust = 0;
    d.velocities = 2 * STARS; /* all of them */
    memset(a, 0, sizeof a);
    CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], NULL, NULL) == AF_OK);
    CHECK(largest_error(a[0], expected[0], 3 * PLACES) < 1e-10);
    d.velocities = 4; /* one more than unknowns: errors are there, and badly known */
    CHECK(dp_local_accelerations(&df, s, &d, 2, place[0], a[0], error[0], NULL) == AF_OK);
    CHECK(largest_error(a[0], expected[0], 6) < 1e-9);
    CHECK(dp_local_accelerations(&df, s, NULL, 0, NULL, NULL, NULL, NULL) == AF_OK);
    dp_sample_destroy(s);
}

/* Velocities that leave a plane by a ten-thousandth: the matrix has lost eight digits, not a. */
TEST(velocities_almost_in_a_plane) {
    truth t = make_truth(plummer);
    dp_df df = make_df(c, &t);
    dp_sample *s;
    double a[PLACES][3], expected[PLACES][3];
    size_t i;
    for (i = 0; i < (size_t)STARS; i++) eta[i][5] = eta[i][3] + 1e-4 * normal(90, i);
    s = make_sample(c, STARS, NULL);
    for (i = 0; i < (size_t)PLACES; i++) plummer_acceleration(place[i], expected[i]);
    CHECK(dp_local_accelerations(&df, s, NULL, PLACES, place[0], a[0], NULL, NULL) == AF_OK);
    CHECK(largest_error(a[0], expected[0], 3 * PLACES) < 1e-10);
    dp_sample_destroy(s);
    make_stars();
}

/* grad ln n(x) is found with a where p(v|x) alone is known. */
TEST(a_conditional_plummer_sphere) {
    truth t = make_truth(plummer_given_x);
    dp_df df = make_df(c, &t);
    dp_sample *s = make_sample(c, STARS, NULL);
    double a[PLACES][3], expected[PLACES][3];
    size_t i;
    for (i = 0; i < (size_t)PLACES; i++) plummer_acceleration(place[i], expected[i]);
    df.desc.conditional = 1;
    CHECK(dp_local_accelerations(&df, s, NULL, PLACES, place[0], a[0], NULL, NULL) == AF_OK);
    CHECK(largest_error(a[0], expected[0], 3 * PLACES) < 1e-10);
    df.desc.conditional = 0; /* taken for f it gives something else */
    CHECK(dp_local_accelerations(&df, s, NULL, PLACES, place[0], a[0], NULL, NULL) == AF_OK);
    CHECK(largest_error(a[0], expected[0], 3 * PLACES) > 0.1);
    t.f = gauss; /* a/sigma^2 and grad ln n cannot be told apart */
    df.desc.conditional = 1;
    CHECK_FAILS(dp_local_accelerations(&df, s, NULL, 1, place[0], a[0], NULL, NULL), AF_ERROR_DATA,
                "Gaussian");
    dp_sample_destroy(s);
}

/* f(E, Lz) about an axis that moves is stationary in every frame that turns about that axis and
 * moves with it; with Omega x u for Omega x (v - u0) it would not be. */
TEST(frames_that_turn_and_move) {
    truth t = make_truth(jeans);
    dp_df df = make_df(c, &t);
    dp_sample *s = make_sample(c, STARS, NULL);
    dp_local_desc d = DP__ZERO;
    double a[PLACES][3], expected[PLACES][3], leftover[PLACES], x[3];
    size_t i, k;
    t.frame.centre[0] = 0.3;
    t.frame.centre[1] = -0.2;
    t.frame.u[0] = 0.4;
    t.frame.u[1] = 0.1;
    t.frame.u[2] = -0.3;
    for (i = 0; i < (size_t)PLACES; i++) {
        for (k = 0; k < 3; k++) x[k] = place[i][k] - (k < 2 ? t.frame.centre[k] : 0.0);
        af_potential_acceleration(&t.part, 1, x, expected[i]);
    }
    d.frame = t.frame;
    for (k = 0; k < 3; k++) {
        d.frame.omega = 0.7 * ((double)k - 1.0);
        CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], NULL, leftover) == AF_OK);
        CHECK(largest_error(a[0], expected[0], 3 * PLACES) < 1e-10);
        CHECK(leftover[3] < 1e-10);
    }
    d.frame.u[2] = 0.0; /* the wrong frame */
    CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], NULL, leftover) == AF_OK);
    CHECK(largest_error(a[0], expected[0], 3 * PLACES) > 0.01);
    dp_sample_destroy(s);
}

/* A bar is stationary only in the frame that turns with it. */
TEST(a_bar) {
    truth t = make_truth(bar);
    dp_df df = make_df(c, &t);
    dp_sample *s = make_sample(c, STARS, NULL);
    dp_local_desc d = DP__ZERO;
    double a[PLACES][3], expected[PLACES][3], leftover[PLACES], largest = 0.0;
    size_t i;
    t.part = af_potential_logarithmic(1.0, 0.5, 0.8, 0.7);
    t.frame.omega = 0.6;
    d.frame = t.frame;
    for (i = 0; i < (size_t)PLACES; i++)
        af_potential_acceleration(&t.part, 1, place[i], expected[i]);
    CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], NULL, leftover) == AF_OK);
    CHECK(largest_error(a[0], expected[0], 3 * PLACES) < 1e-10);
    CHECK(leftover[0] < 1e-10);
    d.frame.omega = 0.0;
    CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], NULL, leftover) == AF_OK);
    for (i = 0; i < (size_t)PLACES; i++) largest = fmax(largest, leftover[i]);
    CHECK(largest > 1e-3);
    dp_sample_destroy(s);
}

/* ---- errors ---- */

/* Cofactors of a (3,3) matrix over its determinant. */
static void inverse3(double m[3][3], double out[3][3]) {
    double det = 0.0;
    size_t i, j;
    for (i = 0; i < 3; i++)
        for (j = 0; j < 3; j++) {
            size_t a = (i + 1) % 3, b = (i + 2) % 3, p = (j + 1) % 3, q = (j + 2) % 3;
            out[j][i] = m[a][p] * m[b][q] - m[a][q] * m[b][p];
        }
    for (j = 0; j < 3; j++) det += m[0][j] * out[j][0];
    for (i = 0; i < 3; i++)
        for (j = 0; j < 3; j++) out[i][j] /= det;
}

/* The textbook's least squares over all stars, at one place, with the jackknife's residuals. */
static void by_hand(const truth *t, size_t n, const double *x, double a[3], double error[3],
                    double *leftover) {
    double m[3][3] = {{0.0}}, scatter[3][3] = {{0.0}}, inverse[3][3], b[3] = {0.0};
    double sum = 0.0, w = 0.0;
    double g[6], at[6];
    size_t i, j, k, l;
    int second;
    for (second = 0; second < 2; second++) {
        for (i = 0; i < n; i++) {
            double r, h = 0.0;
            if (weights[i] == 0.0) continue;
            memcpy(at, x, 3 * sizeof *x);
            memcpy(at + 3, eta[i] + 3, 3 * sizeof *x);
            t->f(t, at, g);
            spoil(t, at, g);
            r = -at[3] * g[0] - at[4] * g[1] - at[5] * g[2];
            for (k = 0; k < 3 && second; k++) r -= a[k] * g[3 + k];
            sum += second ? weights[i] * r * r : 0.0;
            w += second ? weights[i] : 0.0;
            for (j = 0; j < 3; j++) {
                b[j] += second ? 0.0 : weights[i] * r * g[3 + j];
                for (k = 0; k < 3; k++) {
                    if (!second) m[j][k] += weights[i] * g[3 + j] * g[3 + k];
                    else h += weights[i] * g[3 + j] * inverse[j][k] * g[3 + k];
                }
            }
            for (j = 0; j < 3 && second; j++)
                for (k = 0; k < 3; k++)
                    scatter[j][k] += pow(weights[i] * r / (1.0 - h), 2.0) * g[3 + j] * g[3 + k];
        }
        inverse3(m, inverse);
        for (j = 0; j < 3 && !second; j++)
            a[j] = inverse[j][0] * b[0] + inverse[j][1] * b[1] + inverse[j][2] * b[2];
    }
    *leftover = sqrt(sum / w);
    for (j = 0; j < 3; j++) {
        error[j] = 0.0;
        for (k = 0; k < 3; k++)
            for (l = 0; l < 3; l++) error[j] += inverse[j][k] * scatter[k][l] * inverse[j][l];
        error[j] = sqrt(error[j]);
    }
}

TEST(least_squares_by_hand) {
    enum { N = 50 };
    truth t = make_truth(plummer);
    dp_df df = make_df(c, &t);
    dp_sample *s = make_sample(c, N, weights);
    double a[3], error[3], leftover, a_hand[3], error_hand[3], leftover_hand;
    size_t i;
    t.noise = 0.1;
    by_hand(&t, N, place[0], a_hand, error_hand, &leftover_hand);
    CHECK(dp_local_accelerations(&df, s, NULL, 1, place[0], a, error, &leftover) == AF_OK);
    CHECK_CLOSE(leftover, leftover_hand, 1e-12);
    for (i = 0; i < 3; i++) {
        CHECK_CLOSE(a[i], a_hand[i], 1e-12);
        CHECK_CLOSE(error[i], error_hand[i], 1e-12);
    }
    dp_sample_destroy(s);
}

/* Root mean square of (a - truth)/error, or of a - truth with error NULL. */
static double pulls(double (*a)[3], double (*error)[3]) {
    double expected[3], sum = 0.0;
    size_t i, k;
    for (i = 0; i < (size_t)PLACES; i++) {
        plummer_acceleration(place[i], expected);
        for (k = 0; k < 3; k++) {
            double away = (a[i][k] - expected[k]) / (error ? error[i][k] : 1.0);
            sum += away * away;
        }
    }
    return sqrt(sum / (3.0 * (double)PLACES));
}

/* Errors differ from velocity to velocity; 180 pulls scatter by 1/sqrt(360) = 0.05. */
TEST(errors_cover) {
    truth t = make_truth(plummer);
    dp_df df = make_df(c, &t);
    dp_sample *s = make_sample(c, STARS, weights);
    dp_local_desc d = DP__ZERO;
    double a[PLACES][3], error[PLACES][3], plain;
    t.noise = 0.1;
    CHECK(dp_local_accelerations(&df, s, NULL, PLACES, place[0], a[0], error[0], NULL) == AF_OK);
    CHECK_CLOSE(pulls(a, error), 1.0, 0.15);
    d.robust = 1;
    CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], error[0], NULL) == AF_OK);
    CHECK_CLOSE(pulls(a, error), 1.0, 0.15);
    t.wrong = 0.1; /* a tenth of the gradients is wrong */
    CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], error[0], NULL) == AF_OK);
    CHECK_CLOSE(pulls(a, error), 1.0, 0.2);
    plain = pulls(a, NULL);
    d.robust = 0;
    CHECK(dp_local_accelerations(&df, s, &d, PLACES, place[0], a[0], error[0], NULL) == AF_OK);
    CHECK(pulls(a, NULL) > 4.0 * plain);
    dp_sample_destroy(s);
}

/* A star of weight two counts as two stars do; robust or not. */
TEST(weights_are_numbers_of_stars) {
    enum { N = 60 };
    truth t = make_truth(plummer);
    dp_df df = make_df(c, &t);
    dp_local_desc d = DP__ZERO;
    double twice[N], many[2 * N][6], a[3], b[3];
    dp_sample *one = NULL, *two = NULL;
    size_t i, n = 0;
    t.noise = 0.3;
    for (i = 0; i < (size_t)N; i++) {
        twice[i] = i % 3 ? 1.0 : 2.0;
        memcpy(many[n++], eta[i], sizeof eta[i]);
        if (i % 3 == 0) memcpy(many[n++], eta[i], sizeof eta[i]);
    }
    CHECK(dp_sample_create(c, N, eta[0], twice, NULL, NULL, &one) == AF_OK);
    CHECK(dp_sample_create(c, n, many[0], NULL, NULL, NULL, &two) == AF_OK);
    CHECK(dp_local_accelerations(&df, one, &d, 1, place[1], a, NULL, NULL) == AF_OK);
    CHECK(dp_local_accelerations(&df, two, &d, 1, place[1], b, NULL, NULL) == AF_OK);
    CHECK(largest_error(a, b, 3) < 1e-12);
    dp_sample_destroy(one);
    dp_sample_destroy(two);
}

/* Blocks of places, threads and stars without weight change nothing. */
TEST(results_do_not_depend_on_how) {
    heap h = DP__ZERO;
    af_context *other = heap_context(&h, 1);
    truth t = make_truth(plummer);
    dp_df df = make_df(c, &t), alone = make_df(other, &t);
    dp_sample *s = make_sample(c, STARS, weights), *same = make_sample(other, STARS, weights);
    static double many[400][3], a[400][3], b[400][3];
    size_t i;
    t.noise = 0.1;
    for (i = 0; i < 400; i++) memcpy(many[i], place[i % PLACES], sizeof many[i]);
    CHECK(dp_local_accelerations(&df, s, NULL, 400, many[0], a[0], NULL, NULL) == AF_OK);
    CHECK(memcmp(a[0], a[PLACES], sizeof a[0]) == 0 && memcmp(a[39], a[399], sizeof a[0]) == 0);
    CHECK(dp_local_accelerations(&alone, same, NULL, 400, many[0], b[0], NULL, NULL) == AF_OK);
    CHECK(memcmp(a, b, sizeof a) == 0);
    dp_sample_destroy(s);
    dp_sample_destroy(same);
    af_context_destroy(other);
    CHECK(h.live == 0);
}

TEST(bad_questions_about_accelerations) {
    truth t = make_truth(gauss);
    dp_df df = make_df(c, &t);
    dp_local_desc d = DP__ZERO;
    dp_sample *s;
    double a[3], x[2][3] = {{0.0, 0.0, 0.0}, {0.0, NAN, 0.0}};
    size_t i;
    for (i = 0; i < 400; i++) eta[i][5] = 0.0; /* no motion in z */
    s = make_sample(c, 400, NULL);
    CHECK_FAILS(dp_local_accelerations(&df, s, &d, 1, place[2], a, NULL, NULL), AF_ERROR_DATA,
                "at place 0, (");
    CHECK_FAILS(dp_local_accelerations(&df, s, &d, 2, x[0], a, NULL, NULL), AF_ERROR_DATA,
                "place 1 is not finite");
    dp_sample_destroy(s);
    for (i = 0; i < 400; i++) eta[i][5] = eta[i][3] - 2.0 * eta[i][4]; /* in another plane */
    s = make_sample(c, 400, NULL);
    CHECK_FAILS(dp_local_accelerations(&df, s, &d, 1, place[2], a, NULL, NULL), AF_ERROR_DATA,
                "do not span space; take");
    make_stars();
    d.velocities = 3;
    CHECK_FAILS(dp_local_accelerations(&df, s, &d, 1, x[0], a, NULL, NULL), AF_ERROR_DATA,
                "3 velocities at a place are too few for 3 unknowns");
    d.frame.u[1] = NAN;
    CHECK_FAILS(dp_local_accelerations(&df, s, &d, 1, x[0], a, NULL, NULL), AF_ERROR_ARGUMENT,
                "frame");
    d.end_canary = 1;
    CHECK_FAILS(dp_local_accelerations(&df, s, &d, 1, x[0], a, NULL, NULL), AF_ERROR_ARGUMENT,
                "initialised");
    dp_sample_destroy(s);
}

/* ---- ensembles ---- */

enum { MEMBERS = 7 };

static truth member[MEMBERS];
static dp_df df_of[MEMBERS];
static dp_df *members[MEMBERS];

/* Normal distributions that differ a little. */
static void make_members(af_context *context) {
    size_t i, k;
    for (i = 0; i < (size_t)MEMBERS; i++) {
        member[i] = make_truth(gauss);
        for (k = 0; k < 6; k++) {
            member[i].mean[k] = 0.1 * normal(30 + k, i);
            member[i].sd[k] = (k < 3 ? 1.0 : 2.0) * (1.0 + 0.1 * normal(40 + k, i));
        }
        df_of[i] = make_df(context, &member[i]);
        members[i] = &df_of[i];
    }
}

/* The mixture of the first n members; its gradient is that of sum f_i. */
static double mixture(size_t n, const double *at, double *gradient) {
    double f = 0.0, g[6];
    size_t i, k;
    for (k = 0; k < 6; k++) gradient[k] = 0.0;
    for (i = 0; i < n; i++) {
        double one = exp(gauss(&member[i], at, g));
        f += one;
        for (k = 0; k < 6; k++) gradient[k] += one * g[k];
    }
    for (k = 0; k < 6; k++) gradient[k] /= f;
    return log(f / (double)n);
}

TEST(a_mixture_of_gaussians) {
    static double ln_f[5000], g[5000][6], points[5000][6]; /* more than a block */
    double expected[6];
    size_t i, k;
    for (i = 0; i < 5000; i++)
        for (k = 0; k < 6; k++) points[i][k] = (k < 3 ? 1.5 : 3.0) * normal(50 + k, i);
    CHECK(dp_ensemble_evaluate(3, members, 0, 5000, points[0], ln_f, g[0], NULL) == AF_OK);
    for (i = 0; i < 5000; i += 7) {
        CHECK_CLOSE(ln_f[i], mixture(3, points[i], expected), 1e-12);
        for (k = 0; k < 6; k++) CHECK_CLOSE(g[i][k], expected[k], 1e-11);
    }
    CHECK(dp_ensemble_evaluate(3, members, 0, 1, points[4999], NULL, NULL, expected) == AF_OK);
    CHECK(dp_ensemble_evaluate(1, members, 1, 1, points[4999], ln_f, g[0], expected) == AF_OK);
    CHECK(expected[0] == 0.0);
    CHECK_CLOSE(ln_f[0], gauss(&member[0], points[4999], expected), 1e-13);
    for (k = 0; k < 6; k++) CHECK_CLOSE(g[0][k], expected[k], 1e-13);
}

/* Where f is below the smallest number, one member is all of it. */
TEST(a_mixture_far_out) {
    double at[6] = {0.0}, g[6], expected[6], ln_f, top = -HUGE_VAL;
    size_t i, k, best = 0;
    at[1] = 80.0;
    for (i = 0; i < (size_t)MEMBERS; i++) {
        double one = gauss(&member[i], at, g);
        if (one > top) best = i;
        top = fmax(top, one);
    }
    gauss(&member[best], at, expected);
    CHECK(top < -1000.0);
    CHECK(dp_ensemble_evaluate(MEMBERS, members, 0, 1, at, &ln_f, g, NULL) == AF_OK);
    CHECK_CLOSE(ln_f, top - log((double)MEMBERS), 1e-12);
    for (k = 0; k < 6; k++) CHECK_CLOSE(g[k], expected[k], 1e-12);
}

/* ln f of scores is known up to constants: plain means, and a spread by hand. */
TEST(scores_count_alike) {
    double at[6] = {0.3, -0.4, 0.5, 1.0, -1.0, 0.7}, g[6], a[6], b[6], ln_f, spread, sum;
    double length = 0.0, away = 0.0, scale;
    size_t k;
    members[0]->desc.kind = DP_DF_SCORE;
    member[0].offset = 25.0; /* as large a constant as it likes */
    CHECK(dp_ensemble_evaluate(2, members, 0, 1, at, &ln_f, g, &spread) == AF_OK);
    sum = gauss(&member[0], at, a) + gauss(&member[1], at, b);
    CHECK_CLOSE(ln_f, 0.5 * sum, 1e-13);
    for (k = 0; k < 6; k++) {
        scale = members[0]->scale[k];
        CHECK_CLOSE(g[k], 0.5 * (a[k] + b[k]), 1e-14);
        length += pow(0.5 * scale * (a[k] + b[k]), 2.0);
        away += pow(0.5 * scale * (a[k] - b[k]), 2.0);
    }
    CHECK_CLOSE(spread, sqrt(away / length), 1e-13);
    members[0]->normalised = 1; /* known now, and by far the larger one */
    CHECK(dp_ensemble_evaluate(2, members, 0, 1, at, &ln_f, g, NULL) == AF_OK);
    for (k = 0; k < 6; k++) CHECK_CLOSE(g[k], a[k], 1e-9);
    members[0]->desc.conditional = members[1]->desc.conditional = 1;
    CHECK(dp_ensemble_evaluate(2, members, 0, 1, at, &ln_f, g, NULL) == AF_OK);
    for (k = 0; k < 6; k++) CHECK_CLOSE(g[k], 0.5 * (a[k] + b[k]), 1e-14);
    members[0]->desc.conditional = 0;
    CHECK_FAILS(dp_ensemble_evaluate(2, members, 0, 1, at, &ln_f, g, NULL), AF_ERROR_ARGUMENT,
                "member 1 is conditional");
    CHECK(dp_ensemble_evaluate(0, members, 0, 1, at, &ln_f, g, NULL) == AF_ERROR_ARGUMENT);
    make_members(c);
}

/* One member is broken: in its gradients (a normal distribution far away), in ln f alone, or in the
 * gradients of scores, whose ln f have constants of their own. */
static void break_member(int which) {
    size_t last = (size_t)MEMBERS - 1, i, k;
    make_members(c);
    if (which == 1) member[last].offset = 100.0;
    for (k = 0; k < 6 && which != 1; k++) member[last].mean[k] = k < 3 ? 40.0 : 80.0;
    for (i = 0; i < last && which == 2; i++) member[i].offset = i == 0 ? 500.0 : (double)i;
    for (i = 0; i <= last && which == 2; i++) members[i]->desc.kind = DP_DF_SCORE;
}

/* The gradient of the members but the last. */
static void of_the_others(int which, const double *at, double *gradient) {
    double g[6];
    size_t i, k, n = (size_t)MEMBERS - 1;
    mixture(n, at, gradient);
    for (k = 0; k < 6 && which == 2; k++) gradient[k] = 0.0;
    for (i = 0; i < n && which == 2; i++) {
        gauss(&member[i], at, g);
        for (k = 0; k < 6; k++) gradient[k] += g[k] / (double)n;
    }
}

/* The robust mixture is that of the others, but for a few points where one of these is left out
 * too, which changes it little; the plain one is wrong, unless f of the broken member is zero. */
TEST(a_broken_member_is_left_out) {
    static double points[200][6], g[200][6], plain[200][6], ln_f[200], spread[200], all[200];
    double expected[6], worst;
    int which;
    size_t i, k, same;
    for (i = 0; i < 200; i++)
        for (k = 0; k < 6; k++) points[i][k] = (k < 3 ? 1.0 : 2.0) * normal(60 + k, i);
    for (which = 0; which < 3; which++) {
        break_member(which);
        CHECK(dp_ensemble_evaluate(MEMBERS, members, 1, 200, points[0], ln_f, g[0], spread) ==
              AF_OK);
        CHECK(dp_ensemble_evaluate(MEMBERS, members, 0, 200, points[0], NULL, plain[0], all) ==
              AF_OK);
        for (i = same = 0, worst = 0.0; i < 200; i++) {
            double away = 0.0;
            if (which < 2) away = fabs(ln_f[i] - mixture(MEMBERS - 1, points[i], expected));
            of_the_others(which, points[i], expected);
            for (k = 0; k < 6; k++) away = fmax(away, fabs(g[i][k] - expected[k]));
            same += away < 1e-11;
            worst = fmax(worst, fabs(plain[i][0] - expected[0]));
            CHECK(away < 0.3 && spread[i] < all[i]);
        }
        CHECK(same > 180);
        CHECK(which == 0 ? worst < 1e-9 : worst > 0.1);
    }
    make_members(c);
}

/* Of members that are all right hardly any is left out. */
TEST(whole_members_stay) {
    static double points[500][6], g[500][6], robust[500][6];
    size_t i, k, same = 0;
    for (i = 0; i < 500; i++)
        for (k = 0; k < 6; k++) points[i][k] = (k < 3 ? 1.0 : 2.0) * normal(70 + k, i);
    for (k = 2; k <= (size_t)MEMBERS; k++) {
        CHECK(dp_ensemble_evaluate(k, members, 0, 500, points[0], NULL, g[0], NULL) == AF_OK);
        CHECK(dp_ensemble_evaluate(k, members, 1, 500, points[0], NULL, robust[0], NULL) == AF_OK);
        for (i = 0, same = 0; i < 500; i++) same += memcmp(g[i], robust[i], sizeof g[i]) == 0;
        CHECK(same >= (k == 2 ? 500u : 480u));
    }
}

/* ---- bootstrap ---- */

/* Frequencies of 0, 1, 2, 3 against Poisson's; of 10^5 each scatters by less than 0.0016. */
TEST(bootstrap_weights_are_poisson) {
    enum { N = 100000 };
    static double w[N], other[N];
    const double ONE = 1.0 / (double)N; /* a star's part of all */
    double mean = 0.0, square = 0.0, both = 0.0, part[4] = {0.0}, expected = exp(-1.0);
    size_t i, k;
    dp_bootstrap_weights(5, N, w);
    dp_bootstrap_weights(6, N, other);
    for (i = 0; i < (size_t)N; i++) {
        CHECK(w[i] >= 0.0 && w[i] == floor(w[i]) && w[i] < 15.0);
        mean += w[i] * ONE;
        square += (w[i] - 1.0) * (w[i] - 1.0) * ONE;
        both += (w[i] - 1.0) * (other[i] - 1.0) * ONE;
        for (k = 0; k < 4; k++) part[k] += w[i] == (double)k ? ONE : 0.0;
    }
    for (k = 0; k < 4; k++) {
        CHECK_CLOSE(part[k], expected, 0.006);
        expected /= (double)(k + 1);
    }
    CHECK_CLOSE(mean, 1.0, 0.013);
    CHECK_CLOSE(square, 1.0, 0.025);
    CHECK_CLOSE(both, 0.0, 0.013);
    dp_bootstrap_weights(5, 10, other); /* a star's weight does not depend on their number */
    CHECK(memcmp(w, other, 10 * sizeof *w) == 0);
}

/* ---- what a potential gives ---- */

/* A potential of analytic parts as they are, not fitted. */
static dp_potential *make_potential(af_context *context, const af_potential *parts, size_t count) {
    dp_potential_desc d = DP__ZERO;
    dp_points points = DP__ZERO;
    dp_potential *p = NULL;
    d.parts = parts;
    d.part_count = count;
    points.n = STARS;
    points.eta = eta[0];
    points.gradient = eta[0]; /* any numbers */
    dp_potential_create(context, &d, &points, &p);
    return p;
}

static af_potential parts[2];

TEST(circular_velocity) {
    static const double radii[] = {0.0, 0.01, 0.3, 1.0, 2.5, 20.0};
    dp_potential *p = make_potential(c, parts, 2);
    static double many[3000], fast[3000];
    af_potential hole = af_potential_plummer(-1e5, 1.0);
    double speed[6];
    size_t i;
    CHECK(dp_circular_velocity(p, 6, radii, 0, speed) == AF_OK);
    CHECK(speed[0] == 0.0);
    for (i = 1; i < 6; i++)
        CHECK_CLOSE(speed[i] / af_potential_circular_speed(parts, 2, radii[i]), 1.0, 1e-8);
    for (i = 0; i < 3000; i++) many[i] = 1e-3 * (double)(i + 1); /* more than one block */
    CHECK(dp_circular_velocity(p, 3000, many, 0, fast) == AF_OK);
    for (i = 0; i < 3000; i += 37)
        CHECK_CLOSE(fast[i] / af_potential_circular_speed(parts, 2, many[i]), 1.0, 1e-8);
    CHECK(dp_circular_velocity(p, 6, radii, 1, speed) == AF_OK);
    CHECK_CLOSE(speed[3], af_potential_circular_speed(parts, 2, 1.0), 1e-8);
    speed[1] = -1.0;
    CHECK_FAILS(dp_circular_velocity(p, 2, speed, 0, speed), AF_ERROR_ARGUMENT, "radius 1 is -1");
    CHECK(dp_circular_velocity(p, 0, NULL, 0, NULL) == AF_OK);
    dp_potential_destroy(p);
    p = make_potential(c, &hole, 1); /* a force outwards */
    CHECK(dp_circular_velocity(p, 6, radii, 0, speed) == AF_OK);
    CHECK(speed[2] == 0.0 && speed[5] == 0.0);
    dp_potential_destroy(p);
}

/* Plummer: the integral of (A^2 + z^2)^(-5/2) is (u - u^3/3)/A^4 with u = z/sqrt(A^2 + z^2). The
 * disc: Simpson's rule over the density. */
TEST(surface_density) {
    static const double xy[][2] = {{0.0, 0.0}, {0.6, -0.8}, {3.0, 1.0}};
    af_potential sphere = af_potential_plummer(2e5, 0.5);
    af_potential disc = af_potential_miyamoto_nagai(2e5, 1.0, 0.1);
    dp_potential *p = make_potential(c, &sphere, 1), *q = make_potential(c, &disc, 1);
    double sigma[3], height = 1.1;
    size_t i, k;
    CHECK(dp_surface_density(p, 3, xy[0], height, 0, sigma) == AF_OK);
    for (i = 0; i < 3; i++) {
        double a2 = 0.25 + xy[i][0] * xy[i][0] + xy[i][1] * xy[i][1];
        double u = height / sqrt(a2 + height * height);
        double expected = 2e5 * 3.0 * 0.25 / (2.0 * DP__PI) * (u - u * u * u / 3.0) / (a2 * a2);
        CHECK_CLOSE(sigma[i] / expected, 1.0, 1e-8);
    }
    CHECK(dp_surface_density(q, 3, xy[0], height, 0, sigma) == AF_OK);
    for (i = 0; i < 3; i++) {
        double expected = 0.0, x[3];
        memcpy(x, xy[i], sizeof xy[i]);
        for (k = 0; k <= 2000; k++) {
            x[2] = height * (double)k / 2000.0;
            expected += af_potential_density(&disc, 1, x) * height / 3000.0 *
                        (k == 0 || k == 2000 ? 1.0 : k % 2 ? 4.0 : 2.0);
        }
        CHECK_CLOSE(sigma[i] / expected, 1.0, 1e-8);
    }
    CHECK(dp_surface_density(q, 1, xy[0], height, 1, sigma) == AF_OK); /* rounded up to two */
    CHECK(sigma[0] > 0.0);
    CHECK_FAILS(dp_surface_density(q, 1, xy[0], 0.0, 0, sigma), AF_ERROR_ARGUMENT, "height is 0");
    dp_potential_destroy(p);
    dp_potential_destroy(q);
}

/* A network of random numbers is not symmetric about the plane: Simpson's rule over its density. */
TEST(surface_density_of_a_network) {
    enum { N = 400 };
    dp_potential_desc d = DP__ZERO;
    dp_points points = DP__ZERO;
    dp_potential *p = NULL;
    double x[N + 1][3], density[N + 1], xy[2] = {0.2, -0.1}, sigma, expected = 0.0, below = 0.0;
    size_t k;
    d.width = 8;
    d.depth = 2;
    points.n = STARS;
    points.eta = eta[0];
    points.gradient = eta[0];
    CHECK(dp_potential_create(c, &d, &points, &p) == AF_OK);
    for (k = 0; k < af_params_size(p->params); k++)
        af_params_data(p->params)[k] = 0.5 * normal(91, k);
    for (k = 0; k <= (size_t)N; k++) {
        memcpy(x[k], xy, sizeof xy);
        x[k][2] = 0.5 * (2.0 * (double)k / (double)N - 1.0);
    }
    CHECK(dp_potential_evaluate(p, N + 1, x[0], NULL, NULL, density) == AF_OK);
    for (k = 0; k <= (size_t)N; k++) {
        expected += density[k] / (3.0 * (double)N) * (k == 0 || k == N ? 1.0 : k % 2 ? 4.0 : 2.0);
        if (k < (size_t)N / 2) below += density[k] / (double)N;
    }
    CHECK(fabs(below / expected - 0.5) > 0.001);
    CHECK(dp_surface_density(p, 1, xy, 0.5, 0, &sigma) == AF_OK);
    CHECK_CLOSE(sigma / expected, 1.0, 1e-6);
    dp_potential_destroy(p);
}

/* Mean density of a ball by the integral of the density: Gauss and Legendre in r and cos theta,
 * sums in angle. */
static double ball(const af_potential *part, const double *centre, double radius) {
    enum { N = 40 };
    double sum = 0.0;
    size_t i, j, k;
    for (i = 0; i < (size_t)N; i++)
        for (j = 0; j < (size_t)N; j++)
            for (k = 0; k < (size_t)N; k++) {
                double wr, wz, x[3], r = 0.5 * (dp__legendre(N, i, &wr) + 1.0);
                double z = dp__legendre(N, j, &wz), phi = 2.0 * DP__PI * (double)k / (double)N;
                x[0] = centre[0] + radius * r * sqrt(1.0 - z * z) * cos(phi);
                x[1] = centre[1] + radius * r * sqrt(1.0 - z * z) * sin(phi);
                x[2] = centre[2] + radius * r * z;
                sum += 0.75 * wr * wz * r * r * af_potential_density(part, 1, x) /
                       (double)N;
            }
    return sum;
}

TEST(density_of_a_sphere) {
    static const double x[][3] = {{0.0, 0.0, 0.0}, {1.0, -0.5, 0.4}, {0.3, 0.2, -0.1}};
    af_potential sphere = af_potential_plummer(2e5, 0.5);
    af_potential disc = af_potential_miyamoto_nagai(2e5, 1.0, 0.3);
    dp_potential *p = make_potential(c, &sphere, 1), *q = make_potential(c, &disc, 1);
    double density[3], radius = 0.2;
    size_t i;
    CHECK(dp_sphere_density(p, 3, x[0], radius, 0, density) == AF_OK);
    CHECK_CLOSE(density[0] / (2e5 * 0.75 / DP__PI * pow(0.29, -1.5)), 1.0, 1e-8);
    for (i = 1; i < 3; i++) CHECK_CLOSE(density[i] / ball(&sphere, x[i], radius), 1.0, 1e-8);
    CHECK(dp_sphere_density(q, 3, x[0], radius, 0, density) == AF_OK);
    for (i = 0; i < 3; i++) CHECK_CLOSE(density[i] / ball(&disc, x[i], radius), 1.0, 1e-8);
    CHECK(dp_sphere_density(q, 1, x[0], radius, 50, density) == AF_OK);
    CHECK_CLOSE(density[0] / ball(&disc, x[0], radius), 1.0, 1e-2);
    CHECK_FAILS(dp_sphere_density(q, 1, x[0], -1.0, 0, density), AF_ERROR_ARGUMENT,
                "radius is -1");
    dp_potential_destroy(p);
    dp_potential_destroy(q);
}

/* ---- maps ---- */

TEST(coordinates) {
    const double at[6] = {3.0, -4.0, 12.0, 2.0, 1.0, 2.0}, axis[6] = {0.0, 0.0, 1.0, 2.0, 3.0, 4.0};
    static const char *const names[] = {"x", "y",   "z",   "vx",    "vy", "vz",
                                        "R", "phi", "v_R", "v_phi", "r",  "v"};
    const double values[] = {3.0, -4.0, 12.0, 2.0, 1.0, 2.0, 5.0, -0.92729521800161219,
                             0.4, 2.2,  13.0, 3.0};
    int k;
    for (k = 0; k < 12; k++) {
        CHECK_CLOSE(dp_coordinate_of((dp_coordinate)k, at), values[k], 1e-15);
        CHECK(strcmp(dp_coordinate_name((dp_coordinate)k), names[k]) == 0);
    }
    CHECK(!dp_coordinate_name((dp_coordinate)12));
    CHECK(dp_coordinate_of(DP_COORDINATE_V_R, axis) == 2.0);
    CHECK(dp_coordinate_of(DP_COORDINATE_V_PHI, axis) == 3.0);
}

static dp_map_axis make_axis(dp_coordinate coordinate, size_t bins, double low, double high) {
    dp_map_axis a;
    a.coordinate = coordinate;
    a.bins = bins;
    a.low = low;
    a.high = high;
    return a;
}

/* Seven points in two times three cells, by hand; one is outside, one at the upper end. */
TEST(a_map_by_hand) {
    static const double points[7][6] = {{0.1, 0.1}, {0.9, 0.2},  {0.5, 1.7}, {0.6, 2.5},
                                        {1.0, 3.0}, {1.01, 3.0}, {0.2, 0.3}};
    static const double w[7] = {1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 2.0};
    static const double value[7] = {1.0, 7.0, 4.0, 2.0, 6.0, 100.0, 4.0};
    dp_map_axis axes[2];
    double count[6], mean[6], error[6];
    axes[0] = make_axis(DP_COORDINATE_X, 2, 0.0, 1.0);
    axes[1] = make_axis(DP_COORDINATE_Y, 3, 0.0, 3.0);
    CHECK(dp_map(c, axes, 7, points[0], w, value, count, mean, error) == AF_OK);
    CHECK(count[0] == 3.0 && count[1] == 0.0 && count[3] == 1.0 && count[4] == 2.0 &&
          count[5] == 4.0);
    CHECK_CLOSE(mean[0], 3.0, 1e-15); /* 1 and twice 4 */
    CHECK_CLOSE(error[0], sqrt(2.0 * (4.0 + 4.0)) / 3.0, 1e-15);
    CHECK(mean[1] != mean[1] && error[1] != error[1]);
    CHECK(mean[3] == 7.0 && error[3] != error[3]);
    CHECK_CLOSE(mean[5], 5.0, 1e-15); /* 2 and three times 6 */
    CHECK_CLOSE(error[5], sqrt(2.0 * (9.0 + 9.0)) / 4.0, 1e-15);
    CHECK(dp_map(c, axes, 7, points[0], NULL, NULL, count, NULL, NULL) == AF_OK);
    CHECK(count[0] == 2.0 && count[5] == 2.0);
}

/* Ranges and bins left open are found, and the same for a second call. */
TEST(the_range_of_a_map) {
    static double count[64][64], again[64][64];
    dp_map_axis axes[2];
    double sum = 0.0, low = HUGE_VAL, high = -HUGE_VAL;
    size_t i, j;
    axes[0] = make_axis(DP_COORDINATE_R, 0, 0.0, 0.0);
    axes[1] = make_axis(DP_COORDINATE_V_PHI, 0, 0.0, 0.0);
    for (i = 0; i < (size_t)STARS; i++) {
        double r = sqrt(eta[i][0] * eta[i][0] + eta[i][1] * eta[i][1] + eta[i][2] * eta[i][2]);
        low = fmin(low, r);
        high = fmax(high, r);
    }
    CHECK(dp_map(c, axes, STARS, eta[0], NULL, NULL, count[0], NULL, NULL) == AF_OK);
    CHECK(axes[0].bins == 64 && axes[1].bins == 64);
    CHECK_CLOSE(axes[0].low, low, 1e-14);
    CHECK_CLOSE(axes[0].high, high, 1e-14);
    for (i = 0; i < 64; i++)
        for (j = 0; j < 64; j++) sum += count[i][j];
    CHECK(sum == (double)STARS);
    CHECK(dp_map(c, axes, 10, eta[0], NULL, NULL, again[0], NULL, NULL) == AF_OK);
    CHECK_CLOSE(axes[0].high, high, 1e-14);
    axes[0] = make_axis(DP_COORDINATE_X, 1, 0.0, 0.0); /* one point: half a unit around it */
    axes[1] = make_axis(DP_COORDINATE_Y, 1, -9.0, 9.0);
    CHECK(dp_map(c, axes, 1, eta[0], NULL, NULL, again[0], NULL, NULL) == AF_OK);
    CHECK(again[0][0] == 1.0 && axes[0].high == axes[0].low + 1.0);
    axes[0] = make_axis(DP_COORDINATE_X, 1, 0.0, 0.0);
    CHECK(dp_map(c, axes, 0, NULL, NULL, NULL, again[0], NULL, NULL) == AF_OK);
    CHECK(again[0][0] == 0.0);
}

/* Values x vx, with vx normal about 1/2: in cells of x the mean is x/2 and the scatter |x|. */
TEST(standard_errors_of_a_map) {
    enum { N = 20000, BINS = 50 };
    static double points[N][6], value[N];
    dp_map_axis axes[2];
    double mean[BINS], error[BINS], count[BINS], sum = 0.0;
    size_t i, k;
    for (i = 0; i < (size_t)N; i++) {
        for (k = 0; k < 6; k++) points[i][k] = normal(80 + k, i);
        points[i][3] += 0.5;
        value[i] = points[i][3] * points[i][0];
    }
    axes[0] = make_axis(DP_COORDINATE_X, BINS, -2.0, 2.0);
    axes[1] = make_axis(DP_COORDINATE_VZ, 1, -9.0, 9.0);
    CHECK(dp_map(c, axes, N, points[0], NULL, value, count, mean, error) == AF_OK);
    for (i = 0; i < (size_t)BINS; i++) {
        double at = -2.0 + 4.0 * ((double)i + 0.5) / (double)BINS;
        double pull = (mean[i] - 0.5 * at) / error[i];
        sum += pull * pull / (double)BINS;
        CHECK_CLOSE(error[i] / (fabs(at) / sqrt(count[i])), 1.0, fabs(at) < 0.1 ? 0.4 : 0.25);
    }
    CHECK_CLOSE(sum, 1.0, 0.6); /* scatters by sqrt(2/50) = 0.2 */
}

TEST(significance) {
    static const double one[4] = {20.0, 30.0, 0.0, 50.0}, two[4] = {10.0, 40.0, 0.0, 0.0};
    static const double none[4] = {0.0};
    double s[4]; /* 100 against 50 points: two for each */
    dp_map_significance(4, one, two, s);
    CHECK_CLOSE(s[0], 0.0, 1e-15);
    CHECK_CLOSE(s[1], (30.0 - 80.0) / sqrt(80.0), 1e-14);
    CHECK_CLOSE(s[2], 0.0, 1e-15);
    CHECK_CLOSE(s[3], 50.0 / sqrt(2.0), 1e-14);
    dp_map_significance(4, one, none, s);
    CHECK(s[0] != s[0]);
}

/* Counts of two samples of one distribution differ by one standard deviation of both together. */
TEST(significance_of_chance) {
    enum { N = 40000, BINS = 20 };
    static double points[2 * N][6], first[BINS * BINS], second[BINS * BINS], s[BINS * BINS];
    dp_map_axis axes[2];
    double sum = 0.0;
    size_t i, k;
    for (i = 0; i < 2 * (size_t)N; i++)
        for (k = 0; k < 6; k++) points[i][k] = af_random_uniform(3, k, i);
    axes[0] = make_axis(DP_COORDINATE_X, BINS, 0.0, 1.0);
    axes[1] = make_axis(DP_COORDINATE_VX, BINS, 0.0, 1.0);
    CHECK(dp_map(c, axes, N, points[0], NULL, NULL, first, NULL, NULL) == AF_OK);
    CHECK(dp_map(c, axes, N, points[N], NULL, NULL, second, NULL, NULL) == AF_OK);
    dp_map_significance(BINS * BINS, first, second, s);
    for (i = 0; i < (size_t)BINS * BINS; i++) sum += s[i] * s[i] / (double)(BINS * BINS);
    CHECK_CLOSE(sum, 2.0, 0.5); /* scatters by 2 sqrt(2/400) = 0.14 */
}

TEST(bad_maps) {
    double point[6] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, w = -1.0, value = NAN, count[64 * 64];
    dp_map_axis axes[2];
    axes[0] = make_axis(DP_COORDINATE_X, 4, 2.0, 1.0);
    axes[1] = make_axis(DP_COORDINATE_Y, 4, 0.0, 1.0);
    CHECK_FAILS(dp_map(c, axes, 1, point, NULL, NULL, count, NULL, NULL), AF_ERROR_ARGUMENT,
                "x goes from 2 to 1");
    axes[0] = make_axis((dp_coordinate)13, 4, 0.0, 1.0);
    CHECK_FAILS(dp_map(c, axes, 1, point, NULL, NULL, count, NULL, NULL), AF_ERROR_ARGUMENT,
                "no coordinate 13");
    axes[0] = make_axis(DP_COORDINATE_X, 4, 0.0, 1.0);
    CHECK_FAILS(dp_map(c, axes, 1, point, &w, NULL, count, NULL, NULL), AF_ERROR_DATA, "point 0");
    CHECK_FAILS(dp_map(c, axes, 1, point, NULL, &value, count, NULL, NULL), AF_ERROR_DATA,
                "point 0");
    axes[0].bins = axes[1].bins = (size_t)-1 / 2;
    CHECK_FAILS(dp_map(c, axes, 1, point, NULL, NULL, count, NULL, NULL), AF_ERROR_MEMORY, "map");
}

/* ---- memory ---- */

/* Everything once, in a context of its own. */
static af_status everything(af_context *context) {
    enum { N = 300 };
    truth t = make_truth(plummer);
    dp_df df = make_df(context, &t);
    dp_sample *s = NULL;
    dp_potential *p = NULL;
    dp_local_desc d = DP__ZERO;
    dp_map_axis axes[2];
    double a[2][3], g[3][6], out[64];
    af_status status = dp_sample_create(context, N, eta[0], weights, NULL, NULL, &s);
    d.robust = 1;
    axes[0] = make_axis(DP_COORDINATE_PHI, 4, 0.0, 0.0);
    axes[1] = make_axis(DP_COORDINATE_V, 4, 0.0, 0.0);
    make_members(context);
    if (status == AF_OK) status = dp_local_accelerations(&df, s, &d, 2, place[0], a[0], NULL, NULL);
    if (status == AF_OK)
        status = dp_ensemble_evaluate(3, members, 1, 3, eta[0], out, g[0], out + 3);
    if (status == AF_OK)
        status = dp_map(context, axes, N, eta[0], NULL, eta[0], out, out + 16, out + 32);
    if (status == AF_OK) {
        p = make_potential(context, parts, 2);
        status = p ? AF_OK : AF_ERROR_MEMORY;
    }
    if (status == AF_OK) status = dp_circular_velocity(p, 2, weights, 4, out);
    if (status == AF_OK) status = dp_surface_density(p, 2, place[0], 1.0, 4, out);
    if (status == AF_OK) status = dp_sphere_density(p, 2, place[0], 1.0, 4, out);
    dp_potential_destroy(p);
    dp_sample_destroy(s);
    return status;
}

TEST(memory_that_fails_at_every_allocation) {
    long k, calls;
    heap h = DP__ZERO;
    af_context *other = heap_context(&h, 1);
    CHECK(everything(other) == AF_OK);
    calls = h.calls;
    af_context_destroy(other);
    CHECK(h.live == 0);
    for (k = 1; k <= calls; k++) {
        heap one = DP__ZERO;
        one.fail_at = k;
        other = heap_context(&one, 1);
        if (other) {
            CHECK(everything(other) == AF_ERROR_MEMORY);
            CHECK_TEXT(af_error(other), "memory");
        }
        af_context_destroy(other);
        CHECK(one.live == 0);
    }
    make_members(c);
}

int main(void) {
    engine.name = "truth";
    engine.evaluate = truth_evaluate;
    parts[0] = af_potential_miyamoto_nagai(2e5, 1.0, 0.1);
    parts[1] = af_potential_plummer(1e5, 0.3);
    c = heap_context(&memory, 2);
    make_stars();
    make_members(c);
    RUN(medians_and_selection);
    RUN(nearest_stars_are_the_nearest);
    RUN(a_plummer_sphere);
    RUN(velocities_almost_in_a_plane);
    RUN(a_conditional_plummer_sphere);
    RUN(frames_that_turn_and_move);
    RUN(a_bar);
    RUN(least_squares_by_hand);
    RUN(errors_cover);
    RUN(weights_are_numbers_of_stars);
    RUN(results_do_not_depend_on_how);
    RUN(bad_questions_about_accelerations);
    RUN(a_mixture_of_gaussians);
    RUN(a_mixture_far_out);
    RUN(scores_count_alike);
    RUN(a_broken_member_is_left_out);
    RUN(whole_members_stay);
    RUN(bootstrap_weights_are_poisson);
    RUN(circular_velocity);
    RUN(surface_density);
    RUN(surface_density_of_a_network);
    RUN(density_of_a_sphere);
    RUN(coordinates);
    RUN(a_map_by_hand);
    RUN(the_range_of_a_map);
    RUN(standard_errors_of_a_map);
    RUN(significance);
    RUN(significance_of_chance);
    RUN(bad_maps);
    RUN(memory_that_fails_at_every_allocation);
    af_context_destroy(c);
    if (memory.live) printf("%ld blocks are still out\n", memory.live);
    return test_report() || memory.live != 0;
}
