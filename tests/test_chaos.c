/* Chaos of orbits: exponents in closed form and by another route, regular orbits that must not be
 * called chaotic, frequencies of made-up signals. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#define MOCK_NAME "chaos"
#include "af_mock.h"

static heap memory;
static af_context *c;

static void begin(int threads) {
    memset(&memory, 0, sizeof memory);
    c = heap_context(&memory, threads);
}

static void end(void) {
    af_context_destroy(c);
    CHECK(memory.live == 0);
}

static af_chaos chaos_of(af_force force, const double start[6], double periods, unsigned *flags) {
    af_chaos_desc d = AF__ZERO;
    af_chaos out = AF__ZERO;
    d.periods = periods;
    CHECK(af_orbit_chaos(c, force, start, &d, &out, flags) == AF_OK);
    return out;
}

/* ---- exponents ---- */

/* An ellipse in the plane of a harmonic force, on top of a ridge along the plane: all displacements
 * but z keep their size, and z grows as exp(k t). */
static const double RIDGE = 0.2, WELL = 1.0;
static void saddle(const double x[3], double a[3], void *user) {
    (void)user;
    a[0] = -WELL * WELL * x[0];
    a[1] = -WELL * WELL * x[1];
    a[2] = RIDGE * RIDGE * x[2];
}

TEST(exponent_of_a_saddle) {
    const double start[6] = {3.0, 0.0, 0.0, 0.0, 2.0, 0.0};
    const double period = 2.0 * AF__PI / WELL, exact = RIDGE * period, periods = 60.0;
    af_force force = AF__ZERO;
    af_chaos out;
    unsigned flags;
    begin(1);
    force.acceleration = saddle;
    out = chaos_of(force, start, periods, &flags);
    CHECK_CLOSE(af_time_from_gyr(out.period), period, 2e-3); /* its last step goes beyond */
    /* L = k t + constant: mean of Y = k t/2 within some units */
    CHECK_CLOSE(out.lyapunov, exact, 2.0 * 4.0 / periods);
    CHECK_CLOSE(out.megno, exact * (periods - 1.0), 4.0);
    CHECK(out.drift < 1e-4);
    CHECK_CLOSE(out.nearest, 2.0, 0.02); /* an ellipse of 3 and 2 */
    CHECK(flags == AF_ORBIT_CHAOTIC);
    end();
}

/* Henon & Heiles (1964, AJ 69, 73) in x and y at an energy of 1/8, and a harmonic z. */
static void henon_heiles(const double x[3], double a[3], void *user) {
    (void)user;
    a[0] = -x[0] - 2.0 * x[0] * x[1];
    a[1] = -x[1] - x[0] * x[0] + x[1] * x[1];
    a[2] = -x[2];
}

static void henon_heiles_start(double y, double start[6]) {
    memset(start, 0, 6 * sizeof *start);
    start[1] = y;
    start[3] = sqrt(2.0 * (0.125 - 0.5 * y * y + y * y * y / 3.0));
}

/* Two orbits side by side, brought back to 1e-7 of each other at each step, by the symplectic
 * integrator: the largest exponent after `time` (kpc/(km/s)). */
static double two_orbits(af_force force, const double start[6], double time) {
    const double step = 0.05, apart = 1e-7;
    double a[6], b[6], sum = 0.0;
    size_t k, steps = (size_t)(time / step);
    int i;
    memcpy(a, start, sizeof a);
    memcpy(b, start, sizeof b);
    b[1] += apart;
    for (k = 0; k < steps; k++) {
        double d2 = 0.0;
        af_orbit_step(AF_INTEGRATOR_YOSHIDA6, force, af_gyr_from_time(step), a);
        af_orbit_step(AF_INTEGRATOR_YOSHIDA6, force, af_gyr_from_time(step), b);
        for (i = 0; i < 6; i++) d2 += (b[i] - a[i]) * (b[i] - a[i]);
        sum += log(sqrt(d2) / apart);
        for (i = 0; i < 6; i++) b[i] = a[i] + (b[i] - a[i]) * apart / sqrt(d2);
    }
    return sum / time;
}

/* The regular and the chaotic orbit of Skokos (2001, J. Phys. A 34, 10029). Chaos is irregular: at
 * different roundings the exponents after 2000 periods agree to a tenth, not better. */
TEST(henon_heiles_orbits) {
    double start[6], period;
    af_force force = AF__ZERO;
    af_chaos out;
    unsigned flags;
    begin(1);
    force.acceleration = henon_heiles;
    henon_heiles_start(0.55, start);
    out = chaos_of(force, start, 200.0, &flags);
    CHECK(flags == 0);
    CHECK(out.megno > 1.9 && out.megno < 2.5);
    CHECK(out.lyapunov < 1e-3 && out.drift < 1e-5);
    henon_heiles_start(-0.016, start);
    out = chaos_of(force, start, 2000.0, &flags);
    CHECK(flags == AF_ORBIT_CHAOTIC);
    CHECK(out.drift > 1e-4);
    period = af_time_from_gyr(out.period);
    CHECK_CLOSE(out.lyapunov / period / two_orbits(force, start, 2000.0 * period), 1.0, 0.15);
    end();
}

/* ---- regular orbits ---- */

enum { MANY = 200 };
static double xv[MANY][6];
static af_chaos out[MANY];
static unsigned flags[MANY];

/* Isotropic orbits between 6 and 16 kpc are regular in every spherical potential. Of each 200, at
 * most one is called chaotic after 100 periods. Y of nearly radial, hardly bound ones is the least
 * certain: their integration is. */
TEST(false_alarms) {
    af_potential part[3];
    af_chaos_desc d = AF__ZERO;
    af_potential_sum sum;
    size_t k, s;
    begin(0);
    part[0] = af_potential_isochrone(mock_truth().mass, mock_truth().scale);
    part[1] = af_potential_logarithmic(220.0, 1.0, 1.0, 1.0);
    part[2] = af_potential_nfw(1e12, 15.0);
    d.periods = 100.0;
    for (s = 0; s < MANY; s++) mock_star(5, s, xv[s]);
    for (k = 0; k < 3; k++) {
        size_t alarms = 0;
        sum.parts = part + k;
        sum.count = 1;
        CHECK(af_orbit_chaos_of(c, af_force_of_potential(&sum), MANY, xv[0], &d, out, flags) ==
              AF_OK);
        for (s = 0; s < MANY; s++) {
            CHECK((flags[s] & ~(unsigned)AF_ORBIT_CHAOTIC) == 0);
            alarms += flags[s] != 0;
            CHECK(out[s].megno > 1.3 && out[s].megno < 6.0);
            CHECK(out[s].lyapunov < 0.03);
        }
        CHECK(alarms <= 1);
    }
    end();
}

/* A triaxial potential with a small core has box orbits that are chaotic, and tubes that are not:
 * stars at rest outside the axes fall through the centre. */
TEST(boxes_and_tubes) {
    af_potential part = af_potential_logarithmic(220.0, 0.1, 0.9, 0.7);
    const double tube[6] = {10.0, 0.0, 0.5, 0.0, 200.0, 10.0};
    af_potential_sum sum;
    size_t s, boxes = 0;
    begin(0);
    sum.parts = &part;
    sum.count = 1;
    for (s = 0; s < 20; s++) {
        memset(xv[s], 0, sizeof xv[s]);
        mock_direction(3, s, xv[s]);
        xv[s][0] *= 10.0;
        xv[s][1] *= 10.0;
        xv[s][2] *= 10.0;
    }
    memcpy(xv[20], tube, sizeof tube);
    CHECK(af_orbit_chaos_of(c, af_force_of_potential(&sum), 21, xv[0], NULL, out, flags) == AF_OK);
    for (s = 0; s < 20; s++) boxes += flags[s] == AF_ORBIT_CHAOTIC;
    CHECK(boxes >= 15);
    CHECK(flags[20] == 0);
    end();
}

/* Lengths and speeds in other units: the same numbers; of a regular orbit, as rounding grows
 * exponentially on others. */
TEST(units_do_not_matter) {
    const double start[6] = {10.0, 0.0, 0.5, 0.0, 200.0, 10.0};
    double other[6];
    af_potential part[2];
    af_potential_sum sum;
    af_chaos a, b;
    size_t i;
    begin(1);
    part[0] = af_potential_logarithmic(220.0, 1.0, 0.9, 0.8);
    part[1] = af_potential_logarithmic(660.0, 5.0, 0.9, 0.8);
    for (i = 0; i < 6; i++) other[i] = start[i] * (i < 3 ? 5.0 : 3.0);
    sum.parts = part;
    sum.count = 1;
    a = chaos_of(af_force_of_potential(&sum), start, 50.0, NULL);
    sum.parts = part + 1;
    b = chaos_of(af_force_of_potential(&sum), other, 50.0, NULL);
    CHECK_CLOSE(b.megno, a.megno, 1e-6);
    CHECK_CLOSE(b.lyapunov, a.lyapunov, 1e-6);
    CHECK_CLOSE(b.period, a.period * 5.0 / 3.0, 1e-9);
    end();
}

/* ---- frequencies ---- */

static void signals(af__chaos_work *w, const double first[3], const double second[3]) {
    size_t t, i;
    for (t = 0; t < 2 * w->points; t++)
        for (i = 0; i < 3; i++) {
            double turns = (t < w->points ? first[i] : second[i]) * (double)t / 8.0;
            w->xyz[3 * t + i] = 0.3 + cos(2.0 * AF__PI * turns + (double)i) +
                                0.2 * sin(2.0 * AF__PI * 2.7 * turns);
        }
}

/* The median of the changes 0.002, 0.01, 0.03; and none where nothing changes. */
TEST(drift_of_signals) {
    const double first[3] = {0.80, 1.10, 1.37}, second[3] = {0.83, 1.11, 1.372};
    af__chaos_work w = AF__ZERO;
    af__arena arena = AF__ZERO;
    begin(1);
    arena.allocator = c->allocator;
    CHECK(af__chaos_room(&arena, &w, 200.0));
    CHECK(w.points == 800 && w.size == 4096);
    signals(&w, first, second);
    CHECK(fabs(af__chaos_change(&w, 0) - 0.03) < 1e-5);
    CHECK(fabs(af__chaos_change(&w, 2) - 0.002) < 1e-5);
    CHECK(fabs(af__chaos_drift(&w) - 0.01) < 1e-5);
    signals(&w, first, first);
    CHECK(af__chaos_drift(&w) < 1e-6);
    memset(w.xyz, 0, 6 * w.points * sizeof *w.xyz);
    CHECK(af__chaos_drift(&w) == 0.0);
    af__arena_free(&arena);
    end();
}

TEST(fourier_transform_is_the_sum) {
    af__chaos_work w = AF__ZERO;
    af__arena arena = AF__ZERO;
    double re[128], im[128];
    size_t k, t;
    begin(1);
    arena.allocator = c->allocator;
    CHECK(af__chaos_room(&arena, &w, 8.0) && w.size == 128);
    for (t = 0; t < 128; t++) {
        re[t] = w.re[t] = af_random_uniform(1, 1, t);
        im[t] = w.im[t] = af_random_uniform(1, 2, t);
    }
    af__chaos_fourier(&w);
    for (k = 0; k < 128; k++) {
        double r = 0.0, m = 0.0;
        for (t = 0; t < 128; t++) {
            double angle = 2.0 * AF__PI * (double)(k * t % 128) / 128.0;
            r += re[t] * cos(angle) + im[t] * sin(angle);
            m += im[t] * cos(angle) - re[t] * sin(angle);
        }
        CHECK_CLOSE(w.re[k], r, 1e-13);
        CHECK_CLOSE(w.im[k], m, 1e-13);
    }
    af__arena_free(&arena);
    end();
}

/* ---- what goes wrong ---- */

/* Bits are the same for one thread and for three. */
TEST(threads_do_not_matter) {
    static af_chaos other[12];
    af_potential part = af_potential_logarithmic(220.0, 0.1, 0.9, 0.7);
    af_chaos_desc d = AF__ZERO;
    af_potential_sum sum;
    size_t s;
    begin(1);
    sum.parts = &part;
    sum.count = 1;
    d.periods = 30.0;
    for (s = 0; s < 12; s++) mock_star(7, s, xv[s]);
    CHECK(af_orbit_chaos_of(c, af_force_of_potential(&sum), 12, xv[0], &d, out, flags) == AF_OK);
    af_context_set_threads(c, 3);
    CHECK(af_orbit_chaos_of(c, af_force_of_potential(&sum), 12, xv[0], &d, other, NULL) == AF_OK);
    CHECK(memcmp(out, other, sizeof other) == 0);
    end();
}

/* A star that escapes, one in the centre, one that is not there, one that falls into a point. */
TEST(orbits_without_an_answer) {
    const double away[6] = {8.0, 0.0, 1.0, 0.0, 2000.0, 0.0}, centre[6] = {0.0};
    const double nowhere[6] = {NAN, 0.0, 0.0, 0.0, 0.0, 0.0};
    const double falls[6] = {8.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    af_potential part = af_potential_isochrone(1e11, 0.0);
    af_potential_sum sum;
    begin(1);
    sum.parts = &part;
    sum.count = 1;
    memcpy(xv[0], away, sizeof away);
    memcpy(xv[1], centre, sizeof centre);
    memcpy(xv[2], nowhere, sizeof nowhere);
    memcpy(xv[3], falls, sizeof falls);
    CHECK(af_orbit_chaos_of(c, af_force_of_potential(&sum), 4, xv[0], NULL, out, flags) == AF_OK);
    CHECK(flags[0] == AF_ORBIT_UNSETTLED && flags[3] == AF_ORBIT_UNSETTLED);
    CHECK(flags[1] == AF_ORBIT_INVALID && flags[2] == AF_ORBIT_INVALID);
    CHECK(isnan(out[0].score) && isnan(out[1].megno) && isnan(out[2].drift));
    CHECK(isnan(out[3].lyapunov) && isnan(out[3].period));
    end();
}

static void refuse(af_force force, const af_chaos_desc *d, const char *words) {
    const double start[6] = {8.0, 0.0, 0.0, 0.0, 200.0, 0.0};
    out[0].score = 17.0;
    flags[0] = 17;
    CHECK(af_orbit_chaos(c, force, start, d, out, flags) == AF_ERROR_ARGUMENT);
    CHECK_TEXT(af_error(c), words);
    CHECK(out[0].score == 17.0 && flags[0] == 17);
    af_error_clear(c);
}

TEST(refuses) {
    static const double periods[4] = {-1.0, 19.0, 1e6, NAN}, tolerance[3] = {-1e-8, 1e-15, 1e-4};
    af_chaos_desc d = AF__ZERO;
    af_force force = AF__ZERO;
    size_t i;
    begin(1);
    refuse(force, NULL, "no acceleration");
    force.acceleration = saddle;
    for (i = 0; i < 4; i++) {
        d.periods = periods[i];
        refuse(force, &d, "20 to 100000");
    }
    d.periods = 0.0;
    for (i = 0; i < 3; i++) {
        d.tolerance = tolerance[i];
        refuse(force, &d, "1e-14 to 1e-5");
    }
    d.tolerance = 0.0;
    d.threshold = -1.0;
    refuse(force, &d, "threshold -1");
    d.threshold = 0.0;
    d.end_canary = 1;
    refuse(force, &d, "not set to zero");
    end();
}

/* Memory ends at the k-th call, for every k. */
TEST(memory_ends) {
    const double start[6] = {3.0, 0.0, 0.0, 0.0, 2.0, 0.0};
    af_force force = AF__ZERO;
    af_status status = AF_ERROR_MEMORY;
    long k, live;
    begin(2);
    force.acceleration = saddle;
    live = memory.live;
    for (k = 1; k < 20; k++) {
        memory.fail_at = memory.calls + k;
        status = af_orbit_chaos(c, force, start, NULL, out, NULL);
        if (status == AF_OK) break;
        CHECK(status == AF_ERROR_MEMORY && memory.live == live);
        CHECK_TEXT(af_error(c), "out of memory");
        af_error_clear(c);
    }
    CHECK(status == AF_OK && k > 1);
    end();
}

int main(void) {
    RUN(exponent_of_a_saddle);
    RUN(henon_heiles_orbits);
    RUN(false_alarms);
    RUN(boxes_and_tubes);
    RUN(units_do_not_matter);
    RUN(drift_of_signals);
    RUN(fourier_transform_is_the_sum);
    RUN(threads_do_not_matter);
    RUN(orbits_without_an_answer);
    RUN(refuses);
    RUN(memory_ends);
    return test_report();
}
