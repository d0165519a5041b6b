/* Mock samples: distributions against closed forms, orbits against other integrators, stationarity
 * against the equations of moments. */
#include "actionfinder.in.h"
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "af_heap.h"

enum { MANY = 20000, DISC = 5000, BAR = 2000 };

static heap memory;
static af_context *c;
static double eta[MANY][6], other[MANY][6], gradient[MANY][6], ln_f[MANY];

static void begin(int threads) { CHECK(heap_open(&memory, 0, threads, &c) == AF_OK); }

static void end(void) {
    CHECK(af_error_status(c) == AF_OK);
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

/* Mean of numbers with its standard error. */
typedef struct mean {
    double n, sum, square;
} mean;

static void add(mean *m, double x) {
    m->n += 1.0;
    m->sum += x;
    m->square += x * x;
}

static double mean_of(const mean *m) { return m->sum / m->n; }

static double mean_error(const mean *m) {
    double x = mean_of(m);
    return sqrt((m->square / m->n - x * x) / m->n);
}

/* Within four standard errors: one check in 16000 fails by chance, and seeds are fixed. */
#define CHECK_MEAN(m, expected) \
    CHECK_CLOSE((mean_of(m) - (expected)) / mean_error(m), 0.0, 4.0)

/* ---- Plummer's sphere ---- */

/* In kpc and km/s: GM = 4.3e5, b = 2, inside 7. */
static const double MASS = 1e11, B = 2.0, R_MAX = 7.0;

static double ln_f_at(double r, double v) {
    double star[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0}, out;
    star[1] = r;
    star[5] = v;
    CHECK(dp_mock_plummer_gradient(c, MASS, B, R_MAX, 1, star, &out, NULL) == AF_OK);
    return out;
}

/* Midpoints in r and in v: 16 pi^2 r^2 v^2 f. */
TEST(plummer_is_normalised) {
    double sum = 0.0;
    int i, k, n = 300;
    begin(1);
    for (i = 0; i < n; i++) {
        double r = R_MAX * (i + 0.5) / n;
        double escape = sqrt(2.0 * AF_GRAVITY * MASS / hypot(r, B));
        for (k = 0; k < n; k++) {
            double v = escape * (k + 0.5) / n;
            sum += r * r * v * v * exp(ln_f_at(r, v)) * R_MAX / n * escape / n;
        }
    }
    CHECK_CLOSE(16.0 * AF__PI * AF__PI * sum, 1.0, 1e-5);
    end();
}

TEST(plummer_gradient_is_that_of_ln_f) {
    size_t i, k;
    begin(1);
    CHECK(dp_mock_plummer(c, MASS, B, R_MAX, 50, 3, eta[0]) == AF_OK);
    CHECK(dp_mock_plummer_gradient(c, MASS, B, R_MAX, 50, eta[0], ln_f, gradient[0]) == AF_OK);
    for (i = 0; i < 50; i++)
        for (k = 0; k < 6; k++) {
            double h = k < 3 ? 1e-5 : 1e-3, star[6], up, down;
            memcpy(star, eta[i], sizeof star);
            star[k] += h;
            CHECK(dp_mock_plummer_gradient(c, MASS, B, R_MAX, 1, star, &up, NULL) == AF_OK);
            star[k] -= 2.0 * h;
            CHECK(dp_mock_plummer_gradient(c, MASS, B, R_MAX, 1, star, &down, NULL) == AF_OK);
            CHECK_CLOSE((up - down) / (2.0 * h), gradient[i][k], 1e-5);
        }
    eta[0][3] = 1e4; /* unbound */
    CHECK(dp_mock_plummer_gradient(c, MASS, B, R_MAX, 1, eta[0], ln_f, gradient[0]) == AF_OK);
    CHECK(ln_f[0] != ln_f[0] && gradient[0][0] != gradient[0][0]);
    end();
}

/* <-ln f> with GM = b = 1, f ~ (psi (1 - q^2))^(7/2): q^2 is distributed as Beta(3/2, 9/2), so
 * <ln(1 - q^2)> = digamma(9/2) - digamma(6); <ln psi> is integrated over the mass m inside r, where
 * psi^2 = 1 - m^(2/3). */
static double plummer_entropy(double r_max) {
    double share = pow(1.0 + 1.0 / (r_max * r_max), -1.5), ln_psi = 0.0, ln_q;
    double constant = log(24.0 * sqrt(2.0) / (7.0 * pow(AF__PI, 3.0) * share));
    int i, n = 200000;
    for (i = 0; i < n; i++)
        ln_psi += 0.5 * log(1.0 - pow(share * (i + 0.5) / n, 2.0 / 3.0)) / n;
    ln_q = -2.0 * log(2.0) + 2.0 * (1.0 + 1.0 / 3.0 + 1.0 / 5.0 + 1.0 / 7.0) - 137.0 / 60.0;
    return -constant - 3.5 * (ln_psi + ln_q);
}

TEST(plummer_has_the_entropy_of_its_f) {
    mean m = AF__ZERO;
    size_t i;
    begin(1);
    CHECK(dp_mock_plummer(c, 1.0 / AF_GRAVITY, 1.0, 10.0, MANY, 5, eta[0]) == AF_OK);
    CHECK(dp_mock_plummer_gradient(c, 1.0 / AF_GRAVITY, 1.0, 10.0, MANY, eta[0], ln_f, NULL) ==
          AF_OK);
    for (i = 0; i < MANY; i++) add(&m, -ln_f[i]);
    CHECK_CLOSE(plummer_entropy(10.0), 5.0781, 0.001); /* an estimate with an error of 0.0018 */
    CHECK_MEAN(&m, plummer_entropy(10.0));
    end();
}

/* Shares of the mass, moments of q = v/v_escape, no preferred direction. */
TEST(plummer_has_its_moments) {
    mean m[7] = {AF__ZERO}, rank = AF__ZERO, rank2 = AF__ZERO, q2 = AF__ZERO, q4 = AF__ZERO;
    double share = pow(1.0 + B * B / (R_MAX * R_MAX), -1.5);
    size_t i, k;
    begin(1);
    CHECK(dp_mock_plummer(c, MASS, B, R_MAX, MANY, 6, eta[0]) == AF_OK);
    for (i = 0; i < MANY; i++) {
        double r = norm3(eta[i]), v = norm3(eta[i] + 3);
        double q = v / sqrt(2.0 * AF_GRAVITY * MASS / hypot(r, B));
        CHECK(r < R_MAX && q < 1.0);
        add(&rank, pow(1.0 + B * B / (r * r), -1.5) / share);
        add(&rank2, pow(pow(1.0 + B * B / (r * r), -1.5) / share, 2.0));
        add(&q2, q * q);
        add(&q4, q * q * q * q);
        for (k = 0; k < 6; k++) add(&m[k], eta[i][k] / (k < 3 ? r : v));
        add(&m[6], pow(dot3(eta[i], eta[i] + 3) / (r * v), 2.0));
    }
    CHECK_MEAN(&rank, 0.5);
    CHECK_MEAN(&rank2, 1.0 / 3.0);
    CHECK_MEAN(&q2, 0.25);          /* Beta(3/2, 9/2): 3/2 / 6 */
    CHECK_MEAN(&q4, 3.75 / 42.0);   /* 3/2 5/2 / (6 7) */
    for (k = 0; k < 6; k++) CHECK_MEAN(&m[k], 0.0);
    CHECK_MEAN(&m[6], 1.0 / 3.0);
    end();
}

/* Integrals by parts: <x_k d ln f/dx_k> = <v_k d ln f/dv_k> = -1, crossed ones vanish; and the
 * collisionless Boltzmann equation. */
TEST(plummer_is_stationary) {
    mean m[6] = {AF__ZERO}, crossed = AF__ZERO;
    double acceleration[3];
    af_potential part = af_potential_plummer(MASS, B);
    size_t i, k;
    begin(1);
    CHECK(dp_mock_plummer(c, MASS, B, HUGE_VAL, MANY, 7, eta[0]) == AF_OK);
    CHECK(dp_mock_plummer_gradient(c, MASS, B, HUGE_VAL, MANY, eta[0], NULL, gradient[0]) ==
          AF_OK);
    for (i = 0; i < MANY; i++) {
        double flow = dot3(eta[i] + 3, gradient[i]), scale = fabs(flow);
        af_potential_acceleration(&part, 1, eta[i], acceleration);
        CHECK(fabs(flow + dot3(acceleration, gradient[i] + 3)) <= 1e-12 * scale + 1e-12);
        for (k = 0; k < 6; k++) add(&m[k], eta[i][k] * gradient[i][k]);
        add(&crossed, eta[i][0] * gradient[i][4]);
    }
    for (k = 0; k < 6; k++) CHECK_MEAN(&m[k], -1.0);
    CHECK_MEAN(&crossed, 0.0);
    end();
}

/* ---- integrating ---- */

static dp__mock disc_system(void) {
    dp__mock m = AF__ZERO;
    m.gm = m.a = m.h_r = 1.0;
    m.b = m.h_z = 0.1;
    m.times = 16.0;
    m.seed = 4;
    m.begin = dp__disc_begin;
    m.force = dp__disc_force;
    return m;
}

static dp__mock bar_system(void) {
    dp__mock m = AF__ZERO;
    dp_mock_bar_desc d = AF__ZERO;
    d.omega = 28.2;
    d.speed = 200.0;
    d.core = 1.0;
    d.p = 0.8;
    d.q = 0.7;
    d.extent = 1.5;
    d.times = 4.0;
    CHECK(dp__bar_make(c, &d, &m) == AF_OK);
    m.seed = 9;
    return m;
}

static double disc_energy(const dp__mock *m, const double xv[6]) {
    af_potential part = af_potential_miyamoto_nagai(m->gm / AF_GRAVITY, m->a, m->b);
    return 0.5 * dot3(xv + 3, xv + 3) + af_potential_value(&part, 1, xv);
}

static double bar_energy(const dp__mock *m, const double xv[6]) {
    af_potential part = af_potential_logarithmic(sqrt(m->v2), m->core, m->p, m->q);
    return 0.5 * dot3(xv + 3, xv + 3) + af_potential_value(&part, 1, xv) -
           m->omega * (xv[0] * xv[4] - xv[1] * xv[3]);
}

/* Energies of one chunk of stars before and after: the medians and worst of the errors in units of
 * `unit`; 0: of the energy itself. */
static void energy_errors(const dp__mock *m, double (*energy)(const dp__mock *, const double *),
                          double unit, double *median, double *worst) {
    dp__round r = AF__ZERO;
    double error[DP__CHUNK];
    size_t i, k, kept = 0, below = 0;
    r.m = m;
    r.count = DP__CHUNK;
    r.eta = eta[0];
    dp__round_chunk(0, &r);
    *worst = *median = 0.0;
    for (i = 0; i < DP__CHUNK; i++) {
        dp__start s;
        double e;
        m->begin(m, i, &s);
        CHECK((s.steps == 0.0) == (eta[i][0] != eta[i][0]));
        if (s.steps == 0.0) continue;
        e = energy(m, s.xv);
        error[kept] = fabs(energy(m, eta[i]) - e) / (unit > 0.0 ? unit : fabs(e));
        if (error[kept] > *worst) *worst = error[kept];
        kept++;
    }
    for (i = 0; i < kept; i++, below = 0) {
        for (k = 0; k < kept; k++) below += error[k] < error[i];
        if (below == kept / 2) *median = error[i];
    }
}

TEST(energy_is_kept) {
    dp__mock m = disc_system(), b;
    double median, worst;
    begin(1);
    energy_errors(&m, disc_energy, 0.0, &median, &worst);
    CHECK(median > 0.0 && median < 5e-6);
    CHECK(worst < 5e-4);
    b = bar_system();
    energy_errors(&b, bar_energy, b.v2, &median, &worst);
    CHECK(median > 0.0 && median < 5e-6);
    CHECK(worst < 2e-4);
    end();
}

/* Distance between where lanes and Yoshida's integrator bring one star of the disc. */
static double disc_distance(const dp__mock *m, double steps) {
    af_potential part = af_potential_miyamoto_nagai(m->gm / AF_GRAVITY, m->a, m->b);
    af_potential_sum sum;
    dp__start s;
    double path[12], apart[3];
    int k;
    sum.parts = &part;
    sum.count = 1;
    m->begin(m, 5, &s);
    CHECK(af_orbit_integrate(AF_INTEGRATOR_YOSHIDA6, af_force_of_potential(&sum), s.xv,
                             af_gyr_from_time(s.time), 60000, 2, path) == AF_OK);
    s.steps = steps;
    dp__lanes_follow(m, &s, 1);
    for (k = 0; k < 3; k++) apart[k] = s.xv[k] - path[6 + k];
    return norm3(apart);
}

TEST(disc_orbits_are_those_of_another_integrator) {
    dp__mock m = disc_system();
    double coarse = disc_distance(&m, 1000.0), fine = disc_distance(&m, 2000.0);
    CHECK(coarse < 1e-2);
    CHECK(fine < 1e-4);
    CHECK(coarse > 12.0 * fine); /* order 4: 16 */
}

/* Acceleration in axes that do not turn, at time t, when the bar has turned by omega t. */
static void bar_acceleration(const dp__mock *m, double t, const double *x, double *a) {
    af_potential part = af_potential_logarithmic(sqrt(m->v2), m->core, m->p, m->q);
    double cosine = cos(m->omega * t), sine = sin(m->omega * t), seen[3], pull[3];
    seen[0] = cosine * x[0] + sine * x[1];
    seen[1] = cosine * x[1] - sine * x[0];
    seen[2] = x[2];
    af_potential_acceleration(&part, 1, seen, pull);
    a[0] = cosine * pull[0] - sine * pull[1];
    a[1] = cosine * pull[1] + sine * pull[0];
    a[2] = pull[2];
}

/* Leapfrog in these axes over a time, then seen from the bar's axes. */
static void bar_follow(const dp__mock *m, double time, int steps, double xv[6]) {
    double h = time / steps, a[3], cosine = cos(m->omega * time), sine = sin(m->omega * time);
    int i, k;
    for (i = 0; i < steps; i++) {
        for (k = 0; k < 3; k++) xv[k] += 0.5 * h * xv[3 + k];
        bar_acceleration(m, h * (i + 0.5), xv, a);
        for (k = 0; k < 3; k++) {
            xv[3 + k] += h * a[k];
            xv[k] += 0.5 * h * xv[3 + k];
        }
    }
    for (k = 0; k < 6; k += 3) {
        double x = xv[k], y = xv[k + 1];
        xv[k] = cosine * x + sine * y;
        xv[k + 1] = cosine * y - sine * x;
    }
}

TEST(bar_orbits_are_those_of_another_integrator) {
    dp__mock m;
    dp__start s, t;
    int k;
    begin(1);
    m = bar_system();
    s.steps = 0.0;
    for (k = 0; s.steps == 0.0; k++) m.begin(&m, (uint64_t)k, &s); /* the first that is taken */
    s.time = 0.3; /* some 1.3 turns of the bar */
    s.steps = 2000.0;
    t = s;
    dp__lanes_follow(&m, &s, 1);
    bar_follow(&m, t.time, 100000, t.xv);
    for (k = 0; k < 3; k++) {
        CHECK_CLOSE(s.xv[k], t.xv[k], 1e-5);
        CHECK_CLOSE(s.xv[3 + k], t.xv[3 + k], 1e-5);
    }
    end();
}

/* ---- the disc ---- */

static double disc_circular(double r) { return r * pow(r * r + 1.21, -0.75); } /* (a + b)^2 */

static void make_disc(double times, size_t n, uint64_t seed, double *out) {
    dp_mock_disc_desc d = AF__ZERO;
    d.times = times;
    CHECK(dp_mock_disc(c, &d, n, seed, out) == AF_OK);
}

TEST(disc_begins_as_the_paper_says) {
    mean m[9] = {AF__ZERO};
    double half = sqrt(2.0 / AF__PI); /* <|delta|> */
    size_t i;
    begin(1);
    make_disc(1e-12, MANY, 1, eta[0]);
    for (i = 0; i < MANY; i++) {
        double *x = eta[i], *v = x + 3, r = hypot(x[0], x[1]), circular = disc_circular(r);
        double v_r = (x[0] * v[0] + x[1] * v[1]) / r, v_t = (x[0] * v[1] - x[1] * v[0]) / r;
        add(&m[0], r);
        add(&m[1], r * r);
        add(&m[2], x[2]);
        add(&m[3], fabs(x[2]));
        add(&m[4], v_r * v_r / (circular * circular));
        add(&m[5], v_t / circular);
        add(&m[6], v[2] * v[2] / (circular * circular));
        add(&m[7], x[0] * x[0] / (r * r));
        add(&m[8], x[0] * x[1] / (r * r));
        CHECK(v_t <= circular * (1.0 + 1e-9));
    }
    CHECK_MEAN(&m[0], 2.0); /* R exp(-R/h) */
    CHECK_MEAN(&m[1], 6.0);
    CHECK_MEAN(&m[2], 0.0);
    CHECK_MEAN(&m[3], 0.1);
    CHECK_MEAN(&m[4], 0.0025);
    CHECK_MEAN(&m[5], 1.0 - 0.1 * half);
    CHECK_MEAN(&m[6], 0.0025);
    CHECK_MEAN(&m[7], 0.5);
    CHECK_MEAN(&m[8], 0.0);
    end();
}

TEST(disc_guiding_radius) {
    dp__mock m = disc_system();
    double r;
    m.gm = 2.5;
    for (r = 1e-3; r < 30.0; r *= 1.7) {
        double l = r * sqrt(m.gm) * disc_circular(r);
        CHECK_CLOSE(dp__disc_guide(&m, r, l) / r, 1.0, 1e-9);
        CHECK_CLOSE(dp__disc_guide(&m, 3.0 * r, -l) / r, 1.0, 1e-9);
        CHECK_CLOSE(dp__disc_guide(&m, 0.5 * r, l) / r, 1.0, 1e-9);
    }
}

/* A period of the circular orbit of angular momentum L is 2 pi R^2/L. */
TEST(disc_stars_are_followed_for_their_time) {
    dp__mock m = disc_system();
    uint64_t i;
    for (i = 0; i < 20; i++) {
        dp__start s;
        double l, guide;
        m.begin(&m, i, &s);
        l = s.xv[0] * s.xv[4] - s.xv[1] * s.xv[3];
        guide = dp__disc_guide(&m, 1.0, l);
        CHECK_CLOSE(s.time / (m.times * 2.0 * AF__PI * guide * guide / l), 1.0, 1e-9);
    }
}

/* The tensor virial theorem: <z dPhi/dz> = <v_z^2>, and its trace. */
static void disc_virial(double (*stars)[6], mean *vertical, mean *trace) {
    af_potential part = af_potential_miyamoto_nagai(1.0 / AF_GRAVITY, 1.0, 0.1);
    mean zero = AF__ZERO;
    size_t i;
    *vertical = *trace = zero;
    for (i = 0; i < DISC; i++) {
        double a[3], *x = stars[i];
        af_potential_acceleration(&part, 1, x, a);
        add(vertical, x[2] * a[2] + x[5] * x[5]);
        add(trace, dot3(x, a) + dot3(x + 3, x + 3));
    }
}

/* Means over the stars with R in [low, high) of z^2, v_z^2, v_R^2. */
static void disc_moments(double (*stars)[6], double low, double high, mean m[3]) {
    size_t i;
    memset(m, 0, 3 * sizeof *m);
    for (i = 0; i < DISC; i++) {
        const double *x = stars[i];
        double r = hypot(x[0], x[1]), v_r = (x[0] * x[3] + x[1] * x[4]) / r;
        if (r < low || r >= high) continue;
        add(&m[0], x[2] * x[2]);
        add(&m[1], x[5] * x[5]);
        add(&m[2], v_r * v_r);
    }
}

TEST(disc_is_stationary) {
    static const double edge[4] = {0.5, 1.2, 2.0, 4.0};
    mean vertical, trace, now[3], later[3];
    size_t bin, k;
    begin(0);
    make_disc(1e-12, DISC, 2, eta[0]);
    disc_virial(eta, &vertical, &trace);
    CHECK(fabs(mean_of(&vertical)) > 10.0 * mean_error(&vertical)); /* it does not begin so */
    make_disc(128.0, DISC, 2, eta[0]);
    disc_virial(eta, &vertical, &trace);
    CHECK_MEAN(&vertical, 0.0);
    CHECK_MEAN(&trace, 0.0);
    make_disc(140.0, DISC, 2, other[0]);
    for (bin = 0; bin < 3; bin++) {
        disc_moments(eta, edge[bin], edge[bin + 1], now);
        disc_moments(other, edge[bin], edge[bin + 1], later);
        for (k = 0; k < 3; k++)
            CHECK_CLOSE((mean_of(&now[k]) - mean_of(&later[k])) /
                            hypot(mean_error(&now[k]), mean_error(&later[k])),
                        0.0, 4.0);
    }
    end();
}

TEST(disc_within_a_volume) {
    dp_mock_disc_desc d = AF__ZERO;
    size_t i, at = 0, wanted = 700;
    begin(1);
    d.times = 1.0;
    CHECK(dp_mock_disc(c, &d, 6000, 3, other[0]) == AF_OK);
    d.volume.kind = DP_VOLUME_SPHERE;
    d.volume.centre[0] = d.volume.outer = 1.0;
    CHECK(dp_mock_disc(c, &d, wanted, 3, eta[0]) == AF_OK);
    for (i = 0; i < 6000 && at < wanted; i++) /* the first that are inside */
        if (dp_volume_holds(&d.volume, other[i]))
            CHECK(memcmp(other[i], eta[at++], sizeof eta[0]) == 0);
    CHECK(at == wanted);
    d.volume.centre[0] = 1e6;
    CHECK(dp_mock_disc(c, &d, 10, 3, eta[0]) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), "none of the first");
    af_error_clear(c);
    end();
}

/* With other units of mass and length, the same stars: v ~ sqrt(GM/a). */
TEST(disc_in_other_units) {
    dp_mock_disc_desc d = AF__ZERO;
    size_t i, k;
    begin(1);
    d.times = 3.0;
    CHECK(dp_mock_disc(c, &d, 300, 8, eta[0]) == AF_OK);
    d.mass = 1e11;
    d.a = 4.0;
    d.b = 0.4;
    d.h_r = 4.0;
    d.h_z = 0.4;
    CHECK(dp_mock_disc(c, &d, 300, 8, other[0]) == AF_OK);
    for (i = 0; i < 300; i++)
        for (k = 0; k < 6; k++)
            CHECK_CLOSE(other[i][k] / (k < 3 ? 4.0 : sqrt(AF_GRAVITY * 1e11 / 4.0)), eta[i][k],
                        1e-7);
    end();
}

/* ---- the bar ---- */

static void make_bar(double times, double *out) {
    dp_mock_bar_desc d = AF__ZERO;
    d.times = times;
    CHECK(dp_mock_bar(c, &d, BAR, 5, out) == AF_OK);
}

/* A mixed bar, made once. */
static double (*mixed_bar(void))[6] {
    static double stars[BAR][6];
    static int made;
    if (!made) make_bar(0.0, stars[0]);
    made = 1;
    return stars;
}

/* The products of two of the six coordinates that a bar along x may have a mean of. */
static const size_t PAIR[8][2] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}, {0, 4}, {1, 3}};

/* By how many standard errors the moments of the stars change in half a turn of the bar. */
static double bar_change(const dp__mock *m, double (*stars)[6]) {
    mean change[8] = {AF__ZERO};
    double worst = 0.0;
    size_t i, k;
    for (i = 0; i < BAR; i++) {
        double xv[6];
        memcpy(xv, stars[i], sizeof xv);
        bar_follow(m, AF__PI / m->omega, 400, xv);
        for (k = 0; k < 8; k++)
            add(&change[k],
                xv[PAIR[k][0]] * xv[PAIR[k][1]] - stars[i][PAIR[k][0]] * stars[i][PAIR[k][1]]);
    }
    for (k = 0; k < 8; k++) {
        double off = fabs(mean_of(&change[k])) / mean_error(&change[k]);
        if (!(off < worst)) worst = off;
    }
    return worst;
}

TEST(bar_is_stationary_in_its_frame) {
    dp__mock m;
    begin(0);
    m = bar_system();
    make_bar(1e-12, eta[0]);
    CHECK(bar_change(&m, eta) > 6.0); /* it does not begin so */
    CHECK(bar_change(&m, mixed_bar()) < 4.0);
    end();
}

/* The tensor virial theorem in axes that turn: <a_i x_j> + <v_i v_j> + omega terms = 0 as d/dt
 * <x_i v_j> = 0: for i = j = x it is <v_x^2> + <x a_x> + omega <y v_x + x v_y> = 0. */
TEST(bar_obeys_the_virial_theorem) {
    dp__mock m;
    mean sum[4] = {AF__ZERO};
    size_t i;
    begin(0);
    m = bar_system();
    for (i = 0; i < BAR; i++) {
        double a[3], *x = mixed_bar()[i], *v = x + 3;
        bar_acceleration(&m, 0.0, x, a);
        add(&sum[0], v[0] * v[0] + x[0] * a[0] + m.omega * (x[1] * v[0] + x[0] * v[1]));
        add(&sum[1], v[1] * v[1] + x[1] * a[1] - m.omega * (x[1] * v[0] + x[0] * v[1]));
        add(&sum[2], v[2] * v[2] + x[2] * a[2]);
        add(&sum[3], x[0] * a[1] - x[1] * a[0]); /* no torque on average */
    }
    for (i = 0; i < 4; i++) CHECK_MEAN(&sum[i], 0.0);
    end();
}

/* Inside corotation, below the saddle; longest along x; its rotation is not that of the axes, as it
 * would be were f a function of the Jacobi energy alone. */
TEST(bar_has_its_shape) {
    dp__mock m;
    mean spin = AF__ZERO, long_axis = AF__ZERO, turning = AF__ZERO;
    size_t i;
    begin(0);
    m = bar_system();
    for (i = 0; i < BAR; i++) {
        double *x = mixed_bar()[i], l = x[0] * x[4] - x[1] * x[3];
        CHECK(hypot(x[0], x[1]) < m.r_saddle);
        CHECK(bar_energy(&m, x) < m.saddle + 1e-4 * m.v2);
        add(&spin, l);
        add(&turning, l - m.omega * (x[0] * x[0] + x[1] * x[1]));
        add(&long_axis, x[0] * x[0] - x[1] * x[1]);
    }
    CHECK(mean_of(&spin) > 10.0 * mean_error(&spin));
    CHECK(fabs(mean_of(&turning)) > 10.0 * mean_error(&turning));
    CHECK(mean_of(&long_axis) > 10.0 * mean_error(&long_axis));
    end();
}

/* d/dx of Phi - omega^2 R^2/2 vanishes there, and it is the height of the lowest pass. */
TEST(bar_saddle) {
    dp__mock m;
    double angle, a[3], x[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    begin(1);
    m = bar_system();
    x[0] = m.r_saddle;
    bar_acceleration(&m, 0.0, x, a);
    CHECK_CLOSE(a[0] + m.omega * m.omega * x[0], 0.0, 1e-9);
    x[4] = m.omega * x[0]; /* at rest in the frame that turns */
    CHECK_CLOSE(bar_energy(&m, x) / m.saddle, 1.0, 1e-12);
    for (angle = 0.1; angle < 1.6; angle += 0.1) {
        x[0] = m.r_saddle * cos(angle);
        x[1] = m.r_saddle * sin(angle);
        x[3] = -m.omega * x[1];
        x[4] = m.omega * x[0];
        CHECK(bar_energy(&m, x) > m.saddle);
    }
    end();
}

/* The energy reaches m where speed^2 ln m is all of it: speed 200. */
TEST(bar_stars_are_followed_for_their_time) {
    mean part = AF__ZERO;
    dp__mock m;
    uint64_t i;
    begin(1);
    m = bar_system();
    for (i = 0; i < 2000; i++) {
        dp__start s;
        double energy, period;
        m.begin(&m, i, &s);
        energy = bar_energy(&m, s.xv) + m.omega * (s.xv[0] * s.xv[4] - s.xv[1] * s.xv[3]);
        period = 2.0 * AF__PI * exp(energy / 40000.0) / 200.0;
        CHECK(s.time >= m.times * period * (1.0 - 1e-9));
        CHECK(s.time <= 2.0 * m.times * period * (1.0 + 1e-9));
        add(&part, s.time / (m.times * period));
    }
    CHECK_MEAN(&part, 1.5);
    end();
}

/* ---- what holds for all ---- */

/* Stars are the same for any number of threads, and for any n. */
TEST(stars_are_functions_of_the_seed) {
    dp_mock_disc_desc d = AF__ZERO;
    dp_mock_bar_desc b = AF__ZERO;
    size_t kind, n = 1500;
    d.times = b.times = 0.5;
    for (kind = 0; kind < 3; kind++) {
        begin(1);
        if (kind == 0) CHECK(dp_mock_plummer(c, MASS, B, R_MAX, n, 11, eta[0]) == AF_OK);
        if (kind == 1) CHECK(dp_mock_disc(c, &d, n, 11, eta[0]) == AF_OK);
        if (kind == 2) CHECK(dp_mock_bar(c, &b, n, 11, eta[0]) == AF_OK);
        end();
        begin(3);
        if (kind == 0) CHECK(dp_mock_plummer(c, MASS, B, R_MAX, n / 3, 11, other[0]) == AF_OK);
        if (kind == 1) CHECK(dp_mock_disc(c, &d, n / 3, 11, other[0]) == AF_OK);
        if (kind == 2) CHECK(dp_mock_bar(c, &b, n / 3, 11, other[0]) == AF_OK);
        CHECK(memcmp(eta, other, n / 3 * sizeof eta[0]) == 0);
        if (kind == 0) CHECK(dp_mock_plummer(c, MASS, B, R_MAX, n, 12, other[0]) == AF_OK);
        if (kind == 1) CHECK(dp_mock_disc(c, &d, n, 12, other[0]) == AF_OK);
        if (kind == 2) CHECK(dp_mock_bar(c, &b, n, 12, other[0]) == AF_OK);
        CHECK(memcmp(eta, other, sizeof eta[0]) != 0);
        end();
    }
}

static void refused(af_status status, const char *words) {
    CHECK(status == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), words);
    af_error_clear(c);
}

TEST(bad_arguments_are_refused) {
    dp_mock_disc_desc d = AF__ZERO;
    dp_mock_bar_desc b = AF__ZERO;
    begin(1);
    refused(dp_mock_plummer(c, 0.0, 1.0, 1.0, 1, 0, eta[0]), "mass");
    refused(dp_mock_plummer(c, 1.0, -1.0, 1.0, 1, 0, eta[0]), "b must be");
    refused(dp_mock_plummer(c, 1.0, 1.0, NAN, 1, 0, eta[0]), "r_max");
    refused(dp_mock_plummer_gradient(c, 1.0, HUGE_VAL, 1.0, 1, eta[0], ln_f, NULL), "b must be");
    d.h_z = -1.0;
    refused(dp_mock_disc(c, &d, 1, 0, eta[0]), "h_z");
    d.h_z = 0.0;
    d.volume.kind = DP_VOLUME_SPHERE;
    refused(dp_mock_disc(c, &d, 1, 0, eta[0]), "empty");
    d.end_canary = 1;
    refused(dp_mock_disc(c, &d, 1, 0, eta[0]), "set to zero");
    b.p = 1.2;
    refused(dp_mock_bar(c, &b, 1, 0, eta[0]), "p = 1.2");
    b.p = 0.0;
    b.omega = 300.0;
    refused(dp_mock_bar(c, &b, 1, 0, eta[0]), "no radius");
    b.omega = NAN;
    refused(dp_mock_bar(c, &b, 1, 0, eta[0]), "omega");
    b.start_canary = 1;
    refused(dp_mock_bar(c, &b, 1, 0, eta[0]), "set to zero");
    end();
}

TEST(memory_may_end) {
    dp_mock_disc_desc d = AF__ZERO;
    d.times = 0.1;
    CHECK(heap_open(&memory, 2, 1, &c) == AF_OK); /* the first is the context's */
    CHECK(dp_mock_disc(c, &d, 10, 1, eta[0]) == AF_ERROR_MEMORY);
    CHECK_TEXT(af_error(c), "memory");
    af_error_clear(c);
    CHECK(dp_mock_disc(c, &d, 10, 1, eta[0]) == AF_OK);
    CHECK(memory.calls == 3); /* which is all there are */
    end();
}

/* ---- observing ---- */

TEST(errors_are_as_documented) {
    static const double from[3] = {1.0, 0.2, -0.1};
    mean m[10] = {AF__ZERO};
    size_t i, k;
    begin(1);
    CHECK(dp_mock_plummer(c, 1.0 / AF_GRAVITY, 1.0, 3.0, MANY, 2, eta[0]) == AF_OK);
    dp_mock_errors(from, 0.0015, 0.00015, MANY, eta[0], 2, other[0], gradient[0]);
    for (i = 0; i < MANY; i++) {
        double to[3], dx[3], dv[3], r, sigma, along, far;
        for (k = 0; k < 3; k++) {
            to[k] = eta[i][k] - from[k];
            dx[k] = other[i][k] - eta[i][k];
            dv[k] = other[i][3 + k] - eta[i][3 + k];
        }
        r = norm3(to);
        sigma = r * fmin(0.1 * r, 0.1);
        far = dot3(dx, to) / r;
        along = dot3(dv, to) / r;
        CHECK(fabs(norm3(dx) - fabs(far)) < 1e-12); /* nothing across the line of sight */
        add(&m[0], far / sigma);
        add(&m[1], far * far / (sigma * sigma));
        add(&m[2], along / 0.0015);
        add(&m[3], along * along / (0.0015 * 0.0015));
        add(&m[4], (dot3(dv, dv) - along * along) / pow(0.00015 * r, 2.0));
        add(&m[5], far * along / (sigma * 0.0015));
        for (k = 0; k < 4; k++) /* the two positions and velocities along x and z */
            add(&m[6 + k], pow((other[i][3 * (k / 2) + 2 * (k % 2)] -
                                eta[i][3 * (k / 2) + 2 * (k % 2)]) /
                                   gradient[i][3 * (k / 2) + 2 * (k % 2)],
                               2.0));
    }
    CHECK_MEAN(&m[0], 0.0);
    CHECK_MEAN(&m[1], 1.0);
    CHECK_MEAN(&m[2], 0.0);
    CHECK_MEAN(&m[3], 1.0);
    CHECK_MEAN(&m[4], 2.0); /* two directions */
    CHECK_MEAN(&m[5], 0.0);
    for (k = 6; k < 10; k++) CHECK_MEAN(&m[k], 1.0);
    memcpy(eta[0], from, sizeof from); /* a star at the observer's place */
    dp_mock_errors(from, 0.0015, 0.00015, 1, eta[0], 2, other[0], gradient[0]);
    CHECK(all_finite(other[0], 6) && all_finite(gradient[0], 6));
    CHECK(memcmp(other[0], from, sizeof from) == 0);
    end();
}

int main(void) {
    RUN(plummer_is_normalised);
    RUN(plummer_gradient_is_that_of_ln_f);
    RUN(plummer_has_the_entropy_of_its_f);
    RUN(plummer_has_its_moments);
    RUN(plummer_is_stationary);
    RUN(energy_is_kept);
    RUN(disc_orbits_are_those_of_another_integrator);
    RUN(bar_orbits_are_those_of_another_integrator);
    RUN(disc_begins_as_the_paper_says);
    RUN(disc_guiding_radius);
    RUN(disc_stars_are_followed_for_their_time);
    RUN(disc_is_stationary);
    RUN(disc_within_a_volume);
    RUN(disc_in_other_units);
    RUN(bar_is_stationary_in_its_frame);
    RUN(bar_obeys_the_virial_theorem);
    RUN(bar_has_its_shape);
    RUN(bar_saddle);
    RUN(bar_stars_are_followed_for_their_time);
    RUN(stars_are_functions_of_the_seed);
    RUN(bad_arguments_are_refused);
    RUN(memory_may_end);
    RUN(errors_are_as_documented);
    return test_report();
}
