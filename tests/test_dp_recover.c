/* A spherical potential from a snapshot: actions, their density, the fit, files. */
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "dp_test.h"
#include "af_heap.h"

static heap memory;
static af_context *c;

/* ---- the isochrone G M = b = 1 ---- */

static double iso_phi(double r) { return -1.0 / (1.0 + sqrt(1.0 + r * r)); }

static double iso_force(double r) {
    double s = sqrt(1.0 + r * r);
    return -r / (s * (1.0 + s) * (1.0 + s));
}

static void iso_table(dp__radial *t) {
    size_t k;
    dp__radial_open(t, 0.2, 200.0);
    for (k = 0; k < (size_t)DP__POINTS; k++) {
        double r = t->cell[k][2];
        t->cell[k][0] = iso_phi(r);
        t->cell[k][1] = -iso_force(r) * t->cell[k][3];
    }
}

/* A star by radius, speed along and across the radius. */
static dp__tracer tracer(const dp__radial *t, double r, double along, double across) {
    static const double centre[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    double eta[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    dp__tracer s;
    eta[0] = r;
    eta[3] = along;
    eta[4] = across;
    CHECK(dp__tracer_set(c, eta, centre, 0, &s) == AF_OK);
    dp__tracer_place(t, &s);
    return s;
}

static void iso_actions(double r, double along, double across, double *j, double *omega) {
    af_isochrone iso;
    double xv[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0}, actions[3], theta[3], frequency[3];
    iso.mass = 1.0 / AF_GRAVITY;
    iso.scale = 1.0;
    xv[0] = r;
    xv[3] = along;
    xv[4] = across;
    af_isochrone_actions(&iso, xv, actions, theta, frequency);
    *j = actions[2];
    *omega = frequency[2];
}

/* n stars of three clumps of (J_r, L), truncated at zero, with angles and inclinations at random:
 * stationary in the isochrone. */
static void make_stars(size_t n, uint64_t seed, double *eta) {
    static const double mean[3][2] = {{0.3, 0.8}, {0.15, 1.6}, {0.8, 0.6}};
    static const double sd[3][2] = {{0.15, 0.25}, {0.1, 0.4}, {0.3, 0.3}};
    af_isochrone iso;
    uint64_t k;
    size_t i = 0, m;
    iso.mass = 1.0 / AF_GRAVITY;
    iso.scale = 1.0;
    for (k = 0; i < n; k++) {
        double u = af_random_uniform(seed, 1, k), j[3], theta[3], l, up;
        size_t q = u < 0.4 ? 0 : u < 0.75 ? 1 : 2;
        j[2] = mean[q][0] + sd[q][0] * af_random_normal(seed, 2, k);
        l = mean[q][1] + sd[q][1] * af_random_normal(seed, 3, k);
        up = 2.0 * af_random_uniform(seed, 4, k) - 1.0;
        for (m = 0; m < 3; m++) theta[m] = 2.0 * DP__PI * af_random_uniform(seed, 5 + m, k);
        if (j[2] <= 0.0 || l <= 0.0) continue;
        j[0] = l * up;
        j[1] = l - fabs(l * up);
        af_isochrone_position(&iso, j, theta, eta + 6 * i++, NULL);
    }
}

static dp_sample *make_sample(af_context *context, size_t n, uint64_t seed) {
    double *eta = (double *)malloc(6 * n * sizeof(double));
    dp_sample *s = NULL;
    if (eta) make_stars(n, seed, eta);
    if (eta) dp_sample_create(context, n, eta, NULL, NULL, NULL, &s);
    free(eta);
    return s;
}

/* ---- actions ---- */

TEST(actions_of_the_isochrone) {
    static const double orbit[6][3] = {{1.0, 0.2, 0.4}, {0.3, -0.5, 0.3}, {4.0, 0.1, 0.3},
                                       {2.0, 0.001, 0.43}, {1.0, 0.3, 0.1}, {12.0, -0.2, 0.1}};
    dp__radial t;
    size_t i;
    iso_table(&t);
    for (i = 0; i < 6; i++) {
        const double *q = orbit[i];
        dp__tracer s = tracer(&t, q[0], q[1], q[2]);
        dp__orbit o;
        double j, omega;
        iso_actions(q[0], q[1], q[2], &j, &omega);
        CHECK(dp__orbit_of(&t, &s, &o));
        CHECK_CLOSE(o.j, j, i < 4 ? 1e-8 : 1e-5); /* the last two are nearly radial */
        CHECK_CLOSE(o.omega / omega, 1.0, i < 4 ? 1e-6 : 1e-4);
        CHECK(dp__orbit_of(&t, &s, &o)); /* beginning where it ended */
        CHECK_CLOSE(o.j, j, i < 4 ? 1e-8 : 1e-5);
    }
}

TEST(special_orbits) {
    dp__radial t;
    dp__tracer s;
    dp__orbit o;
    double j, omega, circular = sqrt(-iso_force(1.5) * 1.5);
    iso_table(&t);
    s = tracer(&t, 1.5, 0.0, circular);
    CHECK(dp__orbit_of(&t, &s, &o));
    CHECK_CLOSE(o.j, 0.0, 1e-12);
    s = tracer(&t, 1.5, 0.3, 0.0);
    iso_actions(1.5, 0.3, 0.0, &j, &omega);
    CHECK(dp__orbit_of(&t, &s, &o));
    CHECK_CLOSE(o.j, j, 1e-3);
    s = tracer(&t, 1.5, 0.0, 0.1); /* at its apocentre */
    iso_actions(1.5, 0.0, 0.1, &j, &omega);
    CHECK(dp__orbit_of(&t, &s, &o));
    CHECK_CLOSE(o.j, j, 1e-5);
    s = tracer(&t, 1.5, 0.0, 0.75); /* at its pericentre */
    iso_actions(1.5, 0.0, 0.75, &j, &omega);
    CHECK(dp__orbit_of(&t, &s, &o));
    CHECK_CLOSE(o.j, j, 1e-7);
    s = tracer(&t, 1.5, 1.1, 0.0);
    CHECK(!dp__orbit_of(&t, &s, &o)); /* escapes */
}

/* Outside the table Phi is that of the mass within. */
TEST(orbits_beyond_the_table) {
    dp__radial t;
    dp__tracer s;
    dp__orbit o;
    double gm, e, a;
    size_t k;
    dp__radial_open(&t, 0.2, 2.0);
    for (k = 0; k < (size_t)DP__POINTS; k++) {
        double r = t.cell[k][2] > 0.0 ? t.cell[k][2] : 1e-9;
        t.cell[k][0] = -1.0 / (r > 0.01 ? r : 0.01);
        t.cell[k][1] = r > 0.01 ? t.cell[k][3] / (r * r) : 0.0;
    }
    gm = 1.0;
    s = tracer(&t, 1.0, 0.9, 0.9);
    e = 0.81 - gm;
    a = -0.5 * gm / e; /* Kepler: J_r = sqrt(GM a) - L */
    CHECK(dp__orbit_of(&t, &s, &o));
    CHECK(t.a * sinh(s.apo) > 2.0);
    CHECK_CLOSE(o.j, sqrt(gm * a) - 0.9, 1e-4);
}

static double action_of(const dp__radial *t, dp__tracer s) {
    dp__orbit o;
    CHECK(dp__orbit_of(t, &s, &o));
    return o.j;
}

TEST(derivatives_of_actions_by_the_table) {
    static double row[DP__TABLE];
    static dp__radial t, moved;
    dp__tracer s;
    dp__orbit o;
    double sum = 0.0, change = 0.0;
    size_t k;
    iso_table(&t);
    s = tracer(&t, 1.0, 0.25, 0.4);
    CHECK(dp__orbit_of(&t, &s, &o));
    memset(row, 0, sizeof row);
    dp__orbit_row(&t, &s, &o, 1.0, row);
    for (k = 0; k < (size_t)DP__POINTS; k++) sum += row[2 * k];
    CHECK_CLOSE(sum, 0.0, 1e-12); /* a constant changes nothing */
    for (k = 0; k < (size_t)DP__POINTS; k += 5) {
        int slope = k % 2 != 0;
        double e = 1e-5, up;
        moved = t;
        moved.cell[k][slope] += e;
        up = action_of(&moved, s);
        moved.cell[k][slope] -= 2.0 * e;
        change = (up - action_of(&moved, s)) / (2.0 * e);
        if (row[2 * k + (size_t)slope] != 0.0 && fabs(t.cell[k][2] - 1.0) > 0.1)
            CHECK(fabs(change - row[2 * k + (size_t)slope]) < 2e-2);
    }
    moved = t; /* a smooth change: GM */
    for (k = 0; k < (size_t)DP__POINTS; k++) {
        moved.cell[k][0] *= 1.0 + 1e-5;
        moved.cell[k][1] *= 1.0 + 1e-5;
        sum += row[2 * k] * t.cell[k][0] + row[2 * k + 1] * t.cell[k][1];
    }
    change = action_of(&moved, s);
    for (k = 0; k < (size_t)DP__POINTS; k++) {
        moved.cell[k][0] *= (1.0 - 1e-5) / (1.0 + 1e-5);
        moved.cell[k][1] *= (1.0 - 1e-5) / (1.0 + 1e-5);
    }
    CHECK_CLOSE(sum, (change - action_of(&moved, s)) / 2e-5, 1e-6); /* as the quadrature is */
}

/* ---- the density of actions ---- */

enum { BINS = 5, SIDE = BINS + 3, NUMBERS = SIDE * SIDE + 3 };

static double density_p[NUMBERS], density_mean[SIDE * SIDE];

/* A spline over uneven knots, and a stream. */
static void one_density(dp__density *d) {
    static const double x[9] = {0.1, 0.15, 0.2, 0.3, 0.5, 0.55, 0.6, 0.7, 0.9};
    size_t i;
    memset(d, 0, sizeof *d);
    d->field.axes = 2;
    d->field.bins = BINS;
    d->field.side = SIDE;
    d->field.count = SIDE * SIDE;
    d->streams = 1;
    d->count = NUMBERS;
    d->field.p = density_p;
    d->field.mean = density_mean;
    d->j_0 = 0.3;
    d->l_0 = 1.2;
    d->stream[0].middle = 0.2;
    dp__axis_open(d->field.axis, BINS, 9, x);
    dp__axis_open(d->field.axis + 1, BINS, 0, NULL);
    for (i = 0; i < (size_t)(SIDE * SIDE); i++) density_p[i] = 2.0 * sin(1.0 + 3.0 * (double)i);
    density_p[SIDE * SIDE] = -1.1;
    density_p[SIDE * SIDE + 1] = 0.6;
    density_p[SIDE * SIDE + 2] = 2.0;
    dp__density_prepare(d);
}

static dp__tracer at_actions(double j, double l, size_t stream) {
    dp__tracer s;
    memset(&s, 0, sizeof s);
    s.j = j;
    s.l = l;
    s.ln_l = log(l);
    s.stream = stream;
    return s;
}

TEST(gamma_functions) {
    double digamma;
    CHECK_CLOSE(dp__ln_gamma(1.0, &digamma), 0.0, 1e-13);
    CHECK_CLOSE(digamma, -0.57721566490153286, 1e-13);
    CHECK_CLOSE(dp__ln_gamma(5.5, &digamma), lgamma(5.5), 1e-13);
    CHECK_CLOSE(dp__ln_gamma(300.0, &digamma), lgamma(300.0), 1e-13);
}

/* They add up to one, their slopes to zero; Greville's abscissae as coefficients give x itself. */
TEST(splines) {
    static dp__density d;
    int i;
    one_density(&d);
    for (i = 0; i <= 40; i++) {
        double x = i / 40.0, sum = 0.0, slope = 0.0, line = 0.0;
        dp__basis b = dp__basis_at(d.field.axis, x);
        size_t k;
        for (k = 0; k < 4; k++) {
            const double *t = d.field.axis->knot + b.first + k;
            sum += b.w[k];
            slope += b.slope[k] * (t[1] + t[2] + t[3]) / 3.0;
            line += b.w[k] * (t[1] + t[2] + t[3]) / 3.0;
            CHECK(b.w[k] >= 0.0);
        }
        CHECK_CLOSE(sum, 1.0, 1e-14);
        CHECK_CLOSE(line, x, 1e-14);
        CHECK_CLOSE(slope, 1.0, 1e-12);
    }
}

TEST(a_field_and_streams_are_densities) {
    static dp__density d;
    double field = 0.0, stream = 0.0;
    int i, k;
    one_density(&d);
    for (i = 0; i < 400; i++) {
        double u = (i + 0.5) / 400.0, j = d.j_0 * u / (1.0 - u), dj = d.j_0 / (1.0 - u) / (1.0 - u);
        for (k = 0; k < 400; k++) {
            double v = (k + 0.5) / 400.0, dl = d.l_0 / (1.0 - v) / (1.0 - v);
            dp__tracer s = at_actions(j, d.l_0 * v / (1.0 - v), 0);
            field += exp(dp__density_at(&d, &s).ln_p) * dj * dl / 160000.0;
        }
        for (k = 0; k < 10; k++) {
            dp__tracer s = at_actions(0.01 * (i + (k + 0.5) / 10.0), 1.5, 1);
            stream += exp(dp__density_at(&d, &s).ln_p) * 0.001;
        }
    }
    CHECK_CLOSE(field, 1.0, 1e-3); /* the midpoint rule, and that of Gauss */
    CHECK_CLOSE(stream, 1.0, 1e-6);
}

/* By the numbers, by J_r: a star of the field, and one of the stream. */
TEST(scores_of_the_density) {
    static dp__density d;
    double e = 1e-5;
    size_t stream, k;
    one_density(&d);
    for (stream = 0; stream < 2; stream++) {
        dp__tracer s = at_actions(0.4, 1.6, stream), other = s;
        double score[NUMBERS], value[DP__FAMILY_TERMS], up, down;
        dp__chance q = dp__density_at(&d, &s);
        size_t at[DP__FAMILY_TERMS], n = dp__density_terms(&d, &s, &q, at, value);
        memset(score, 0, sizeof score);
        for (k = 0; k < n; k++) score[at[k]] += value[k];
        for (k = 0; stream == 0 && k < (size_t)(SIDE * SIDE); k++) score[k] -= d.field.mean[k];
        for (k = 0; k < (size_t)NUMBERS; k++) {
            double kept = d.field.p[k];
            d.field.p[k] = kept + e;
            dp__density_prepare(&d);
            up = dp__density_at(&d, &s).ln_p;
            d.field.p[k] = kept - e;
            dp__density_prepare(&d);
            down = dp__density_at(&d, &s).ln_p;
            d.field.p[k] = kept;
            dp__density_prepare(&d);
            CHECK_CLOSE(score[k], (up - down) / (2.0 * e), 1e-6);
        }
        other.j += e;
        up = dp__density_at(&d, &other).ln_p;
        other.j -= 2.0 * e;
        CHECK_CLOSE(q.slope, (up - dp__density_at(&d, &other).ln_p) / (2.0 * e), 1e-6);
    }
}

/* Exponential in J_r, L f(L) in L: ln p is found to a few hundredths where the stars are. */
TEST(the_density_of_drawn_actions) {
    enum { N = 50000 };
    static double total[SIDE * SIDE], room[SIDE * SIDE * (SIDE * SIDE + 2)];
    static dp__density d;
    size_t i, k;
    double worst = 0.0;
    one_density(&d);
    dp__axis_open(d.field.axis, BINS, 0, NULL);
    memset(d.field.p, 0, sizeof density_p);
    for (i = 0; i < (size_t)N; i++) {
        double j = -0.3 * log(af_random_uniform(7, 1, i)), value[DP__FAMILY_TERMS];
        double l = -0.5 * log(af_random_uniform(7, 2, i) * af_random_uniform(7, 3, i));
        dp__tracer s = at_actions(j, l, 0);
        dp__chance q = dp__density_at(&d, &s);
        size_t at[DP__FAMILY_TERMS], n = dp__density_terms(&d, &s, &q, at, value);
        for (k = 0; k < n; k++) total[at[k]] += value[k];
    }
    dp__family_fit(&d.field, total, N, room);
    dp__density_prepare(&d);
    for (i = 1; i < 8; i++)
        for (k = 2; k < 9; k++) {
            double j = 0.1 * (double)i, l = 0.25 * (double)k;
            dp__tracer s = at_actions(j, l, 0);
            double truth = -j / 0.3 - log(0.3) - l / 0.5 + log(l / 0.25);
            worst = fmax(worst, fabs(dp__density_at(&d, &s).ln_p - truth));
        }
    printf("  ln p of drawn actions wrong by at most %.3f\n", worst);
    CHECK(worst < 0.15);
}

/* ---- the potential ---- */

/* Masses and potentials of the broken power law by the trapezoidal rule in ln r. */
TEST(a_table_from_a_density) {
    static dp__halo h;
    dp__arena arena = dp__arena_open(c);
    double mass = 0.0, outside = 0.0, r, step = 1e-4, at, a = 0.1;
    dp__radial_open(&h.table, a, 50.0);
    CHECK(dp__halo_open(c, &arena, 4, 2.0, 1.0, &h) == AF_OK);
    CHECK(dp__halo_update(&h)); /* the units begin at zero */
    at = h.table.cell[100][2];
    for (r = 1e-5; r < 50.0; r *= 1.0 + step) {
        double rho = (1.0 + r / a) / sqrt(r * r / (a * a) + 0.01) / pow(1.0 + r / a, 3.5);
        if (r < at) mass += 4.0 * DP__PI * rho * r * r * r * step;
        else outside += 4.0 * DP__PI * rho * r * r * step;
    }
    CHECK(fabs(h.table.cell[100][0] / (-mass / at - outside) - 1.0) < 1e-3);
    CHECK(fabs(h.table.cell[100][1] / (mass / (at * at) * h.table.cell[100][3]) - 1.0) < 1e-3);
    dp__arena_free(&arena);
}

TEST(derivatives_of_the_table) {
    static dp__halo h;
    static double low[DP__HALO];
    dp__arena arena = dp__arena_open(c);
    size_t i, k;
    memset(&h, 0, sizeof h);
    dp__radial_open(&h.table, 0.1, 50.0);
    CHECK(dp__halo_open(c, &arena, 5, 2.0, 1.0, &h) == AF_OK);
    for (i = 0; i < h.count; i++) h.p[i] += 0.3 * sin(1.0 + 2.0 * (double)i);
    dp__halo_derive(&h);
    for (i = 0; i < h.count; i++) {
        double e = 1e-5, worst = 0.0;
        h.p[i] -= e;
        CHECK(dp__halo_update(&h));
        memcpy(low, h.out, sizeof low);
        h.p[i] += 2.0 * e;
        CHECK(dp__halo_update(&h));
        h.p[i] -= e;
        for (k = 0; k < (size_t)DP__HALO; k++) {
            double slope = (h.out[k] - low[k]) / (2.0 * e);
            worst = fmax(worst, fabs(slope - h.rows[k * h.count + i]) / (1.0 + fabs(slope)));
        }
        CHECK(worst < 1e-6);
    }
    dp__arena_free(&arena);
}

/* ---- the whole ---- */

typedef struct judged {
    double error, pull, force, force_pull; /* means of |relative errors|, rms of error/sigma */
} judged;

/* At radii evenly spaced in ln r between those that are covered. Phi comes less its mean over the
 * stars there, and so does the truth: less another mean errors are not those of the error bars. */
static judged judge(const dp_recovered *r, const dp_sample *s) {
    enum { N = 41 };
    dp_recover_report report = dp_recovered_report(r);
    static double radius[N];
    static dp_radial v[N];
    judged q = {0.0, 0.0, 0.0, 0.0};
    const double *eta = dp_sample_eta(s);
    double shift = 0.0, among = 0.0;
    size_t i;
    for (i = 0; i < dp_sample_count(s); i++) {
        double at = norm3(eta + 6 * i);
        if (at < report.inner || at > report.outer) continue;
        shift -= iso_phi(at);
        among += 1.0;
    }
    shift /= among;
    for (i = 0; i < N; i++)
        radius[i] = report.inner * pow(report.outer / report.inner, (double)i / (N - 1));
    CHECK(dp_recovered_evaluate(r, N, radius, v) == AF_OK);
    for (i = 0; i < N; i++) {
        double e = v[i].phi - shift - iso_phi(radius[i]), f = v[i].force - iso_force(radius[i]);
        q.error += fabs(e / iso_phi(radius[i])) / N;
        q.pull += e * e / (v[i].phi_error * v[i].phi_error) / N;
        q.force += fabs(f / iso_force(radius[i])) / N;
        q.force_pull += f * f / (v[i].force_error * v[i].force_error) / N;
        CHECK(v[i].density > 0.0 && v[i].density_error > 0.0);
    }
    q.pull = sqrt(q.pull);
    q.force_pull = sqrt(q.force_pull);
    return q;
}

static int stop_at_once(const dp_recover_progress *p, void *user) {
    CHECK(user == NULL && p->step == 0 && p->gain == 0.0);
    return 1;
}

/* What is learned is near the truth, nearer than the start, and the error bars cover. */
TEST(an_isochrone_from_three_clumps) {
    double pull = 0.0, force_pull = 0.0;
    uint64_t seed;
    for (seed = 1; seed <= 3; seed++) {
        dp_sample *s = make_sample(c, 5000, seed);
        dp_recover_desc d;
        dp_recovered *r = NULL;
        dp_recover_report report;
        dp_radial start, same;
        judged q;
        double radius = 1.3, untrained, error[2];
        memset(&d, 0, sizeof d);
        d.bins = 8; /* for time */
        d.progress = stop_at_once;
        CHECK(dp_recover(s, &d, &r) == AF_STOPPED);
        untrained = dp_recovered_report(r).untrained;
        CHECK(dp_recovered_evaluate(r, 1, &radius, &same) == AF_OK);
        dp_recovered_destroy(r);
        d.progress = NULL;
        CHECK(dp_recover(s, &d, &r) == AF_OK);
        report = dp_recovered_report(r);
        CHECK(report.converged && report.untrained == untrained && report.loss < untrained);
        CHECK(dp_recovered_untrained(r, 1, &radius, &start) == AF_OK);
        CHECK(start.phi == same.phi && start.force == same.force && start.phi_error == 0.0);
        error[0] = fabs(start.force / iso_force(radius) - 1.0);
        CHECK(dp_recovered_evaluate(r, 1, &radius, &same) == AF_OK);
        error[1] = fabs(same.force / iso_force(radius) - 1.0);
        q = judge(r, s);
        printf("  5000 stars, seed %d: Phi wrong by %.2e, force by %.2e, pulls %.2f %.2f, %lu "
               "steps; force at 1.3 wrong by %.2e, untrained %.2e\n", (int)seed, q.error, q.force,
               q.pull, q.force_pull, (unsigned long)report.steps, error[1], error[0]);
        CHECK(q.error < 0.01 && error[1] < 0.2 * error[0]);
        pull += q.pull * q.pull / 3.0;
        force_pull += q.force_pull * q.force_pull / 3.0;
        dp_recovered_destroy(r);
        dp_sample_destroy(s);
    }
    CHECK(sqrt(pull) > 0.3 && sqrt(pull) < 2.0);
    CHECK(sqrt(force_pull) > 0.3 && sqrt(force_pull) < 2.0);
}

/* Four streams of 60 stars, 2 % wide in J_r and L, beside 600 of the field: the potential and its
 * error bars are better than without telling streams, and than of the field alone. */
TEST(streams_help) {
    enum { FIELD = 600, STREAMS = 4, EACH = 60, N = FIELD + STREAMS * EACH };
    static const double place[STREAMS][2] = {{0.2, 0.7}, {0.4, 1.3}, {0.6, 1.9}, {0.9, 1.0}};
    static double eta[6 * N];
    static uint32_t stream[N];
    af_isochrone iso;
    dp_radial v[3];
    double radius = 2.0, error[3];
    size_t i, k, m;
    iso.mass = 1.0 / AF_GRAVITY;
    iso.scale = 1.0;
    make_stars(FIELD, 11, eta);
    for (k = 0, i = FIELD; k < STREAMS * EACH; k++, i++) {
        const double *q = place[k / EACH];
        double j[3], theta[3], l = q[1] * (1.0 + 0.02 * af_random_normal(12, 1, k));
        for (m = 0; m < 3; m++) theta[m] = 2.0 * DP__PI * af_random_uniform(12, 3 + m, k);
        j[2] = q[0] * (1.0 + 0.02 * af_random_normal(12, 2, k));
        j[0] = 0.4 * l;
        j[1] = 0.6 * l;
        af_isochrone_position(&iso, j, theta, eta + 6 * i, NULL);
        stream[i] = (uint32_t)(k / EACH + 1);
    }
    for (k = 0; k < 3; k++) { /* the field; all, streams not told; told */
        dp_recover_desc d;
        dp_sample *s = NULL;
        dp_recovered *r = NULL;
        judged q;
        memset(&d, 0, sizeof d);
        d.bins = 6;
        d.streams = k == 2 ? stream : NULL;
        CHECK(dp_sample_create(c, k == 0 ? FIELD : N, eta, NULL, NULL, NULL, &s) == AF_OK);
        CHECK(dp_recover(s, &d, &r) == AF_OK);
        CHECK(dp_recovered_evaluate(r, 1, &radius, v + k) == AF_OK);
        q = judge(r, s);
        error[k] = q.error;
        printf("  %s: Phi wrong by %.2e, force at 2 by %.2e +- %.2e, pulls %.2f %.2f\n",
               k == 0 ? "field alone" : k == 1 ? "streams not told" : "streams told", q.error,
               fabs(v[k].force / iso_force(radius) - 1.0),
               v[k].force_error / -iso_force(radius), q.pull, q.force_pull);
        CHECK(q.pull < 4.0 && q.force_pull < 4.0);
        dp_recovered_destroy(r);
        dp_sample_destroy(s);
    }
    CHECK(error[2] < 0.5 * error[0] && error[2] < 0.5 * error[1]);
    CHECK(v[2].force_error < 0.5 * v[1].force_error);
}

/* Of many stars every second one goes first: none of a stream that has the others. */
TEST(a_stream_that_comes_late) {
    enum { N = 2 * DP__FIRST_STARS };
    static double eta[6 * N];
    static uint32_t stream[N];
    dp_sample *s = NULL;
    dp_recovered *r = NULL;
    dp_recover_desc d;
    size_t i;
    make_stars(N, 21, eta);
    for (i = 0; i < 12; i++) stream[2 * i + 1] = 1;
    memset(&d, 0, sizeof d);
    d.streams = stream;
    d.units = d.bins = 4;
    CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &s) == AF_OK);
    CHECK(dp_recover(s, &d, &r) == AF_OK);
    if (r) CHECK(dp_recovered_report(r).converged && dp_recovered_report(r).steps > 2);
    dp_recovered_destroy(r);
    dp_sample_destroy(s);
}

/* Units are taken out: other ones give the same potential in them; so is the centre. */
TEST(units_and_centre) {
    enum { N = 400 };
    static double eta[6 * N];
    double radius = 2.0, length = 8.0, speed = 220.0;
    dp_recover_desc d;
    dp_radial one, two;
    dp_recovered *r = NULL;
    dp_sample *s = NULL;
    size_t i, k;
    memset(&d, 0, sizeof d);
    d.steps = 2;
    d.units = 8;
    d.bins = 4;
    make_stars(N, 4, eta);
    CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &s) == AF_OK);
    CHECK(dp_recover(s, &d, &r) == AF_OK);
    CHECK(dp_recovered_evaluate(r, 1, &radius, &one) == AF_OK);
    dp_recovered_destroy(r);
    dp_sample_destroy(s);
    for (k = 0; k < 6; k++) d.centre[k] = 1.0 + (double)k;
    for (i = 0; i < 6 * N; i++)
        eta[i] = eta[i] * (i % 6 < 3 ? length : speed) + d.centre[i % 6];
    CHECK(dp_sample_create(c, N, eta, NULL, NULL, NULL, &s) == AF_OK);
    CHECK(dp_recover(s, &d, &r) == AF_OK);
    radius *= length;
    CHECK(dp_recovered_evaluate(r, 1, &radius, &two) == AF_OK);
    CHECK_CLOSE(two.phi / (speed * speed * one.phi), 1.0, 1e-5);
    CHECK_CLOSE(two.force / (speed * speed / length * one.force), 1.0, 1e-5);
    CHECK_CLOSE(two.density / (speed * speed / (length * length) * one.density), 1.0, 1e-5);
    CHECK_CLOSE(two.density_error / (speed * speed / (length * length) * one.density_error), 1.0,
                1e-4);
    dp_recovered_destroy(r);
    dp_sample_destroy(s);
}

/* Force and density are derivatives of Phi. */
TEST(values_belong_together) {
    dp_sample *s = make_sample(c, 400, 5);
    dp_recover_desc d;
    dp_recovered *r = NULL;
    dp_radial v[3];
    double radius[3], h = 0.02, mass[3];
    size_t i, k;
    memset(&d, 0, sizeof d);
    d.steps = 3;
    d.bins = 6;
    CHECK(dp_recover(s, &d, &r) == AF_OK);
    for (k = 0; k < 4; k++) {
        double at = 0.5 * pow(2.0, (double)k), rho;
        for (i = 0; i < 3; i++) radius[i] = at * (1.0 + h * ((double)i - 1.0));
        CHECK(dp_recovered_evaluate(r, 3, radius, v) == AF_OK);
        CHECK(fabs((v[2].phi - v[0].phi) / (2.0 * h * at) / -v[1].force - 1.0) < 1e-3);
        for (i = 0; i < 3; i++) mass[i] = -v[i].force * radius[i] * radius[i] / AF_GRAVITY;
        rho = (mass[2] - mass[0]) / (2.0 * h * at) / (4.0 * DP__PI * at * at);
        CHECK(fabs(rho / v[1].density - 1.0) < 3e-3);
    }
    radius[0] = 1e9;
    CHECK(dp_recovered_evaluate(r, 1, radius, v) == AF_OK);
    CHECK(v[0].density == 0.0 && v[0].force < 0.0);
    CHECK(fabs(v[0].phi + dp_recovered_report(r).constant) <
          1e-6 * fabs(dp_recovered_report(r).constant));
    radius[0] = -1.0;
    CHECK_FAILS(dp_recovered_evaluate(r, 1, radius, v), AF_ERROR_ARGUMENT, "radius 0 is -1");
    dp_recovered_destroy(r);
    dp_sample_destroy(s);
}

TEST(files_and_threads) {
    static const char *path = "test_dp_recover.safetensors";
    double radius[3] = {0.5, 1.0, 3.0}, actions[2], omega, xv[6] = {1.0, 0, 0, 0.1, 0.4, 0};
    dp_sample *s = make_sample(c, 600, 6);
    dp_recover_desc d;
    dp_recovered *r = NULL, *q = NULL;
    dp_radial one[3], two[3];
    FILE *f;
    memset(&d, 0, sizeof d);
    d.steps = 3;
    d.bins = 6;
    af_context_set_threads(c, 1);
    CHECK(dp_recover(s, &d, &r) == AF_OK);
    CHECK(dp_recovered_evaluate(r, 3, radius, one) == AF_OK);
    CHECK(dp_recovered_save(r, path) == AF_OK);
    CHECK(dp_recovered_load(c, path, &q) == AF_OK);
    CHECK(dp_recovered_evaluate(q, 3, radius, two) == AF_OK);
    CHECK(memcmp(one, two, sizeof one) == 0);
    CHECK(dp_recovered_report(q).constant == dp_recovered_report(r).constant);
    CHECK(dp_recovered_report(q).untrained == dp_recovered_report(r).untrained);
    CHECK(dp_recovered_report(q).rejected == dp_recovered_report(r).rejected);
    CHECK(dp_recovered_report(q).converged == dp_recovered_report(r).converged);
    CHECK(dp_recovered_actions(q, 1, xv, actions, &omega) == AF_OK);
    CHECK_CLOSE(actions[1], 0.4, 1e-8);
    CHECK(actions[0] > 0.0 && omega > 0.0);
    xv[4] = 1e3;
    CHECK_FAILS(dp_recovered_actions(q, 1, xv, actions, NULL), AF_ERROR_DATA, "star 0 is not");
    dp_recovered_destroy(q);
    dp_recovered_destroy(r);
    af_context_set_threads(c, 2);
    CHECK(dp_recover(s, &d, &r) == AF_OK);
    CHECK(dp_recovered_evaluate(r, 3, radius, two) == AF_OK);
    CHECK(memcmp(one, two, sizeof one) == 0);
    dp_recovered_destroy(r);
    dp_sample_destroy(s);
    f = fopen(path, "wb");
    if (f) fclose(f);
    CHECK_FAILS(dp_recovered_load(c, path, &q), AF_ERROR_FORMAT, "test_dp_recover");
    CHECK(q == NULL);
    remove(path);
}

static double late(void *user) { return 10.0 * (*(double *)user)++; }

TEST(a_time_limit) {
    dp_sample *s = make_sample(c, 300, 7);
    dp_recover_desc d;
    dp_recovered *r = NULL;
    double calls = 0.0;
    memset(&d, 0, sizeof d);
    d.units = 8;
    d.bins = 4;
    d.clock = late;
    d.user = &calls;
    d.seconds = 25.0;
    CHECK(dp_recover(s, &d, &r) == AF_OK);
    CHECK(dp_recovered_report(r).steps == 2 && !dp_recovered_report(r).converged);
    dp_recovered_destroy(r);
    dp_sample_destroy(s);
}

/* ---- failures ---- */

static af_status recover_these(size_t n, const double *eta, const dp_recover_desc *d,
                               const dp_volume *volume) {
    dp_sample *s = NULL;
    dp_recovered *r = NULL;
    af_status status = dp_sample_create(c, n, eta, NULL, NULL, volume, &s);
    if (status == AF_OK) status = dp_recover(s, d, &r);
    CHECK(r == NULL);
    dp_recovered_destroy(r);
    dp_sample_destroy(s);
    return status;
}

TEST(bad_questions) {
    enum { N = 300 };
    static double eta[6 * N];
    static uint32_t streams[N];
    dp_recover_desc d;
    dp_volume volume;
    size_t i, k;
    memset(&d, 0, sizeof d);
    memset(&volume, 0, sizeof volume);
    make_stars(N, 8, eta);
    CHECK_FAILS(recover_these(100, eta, &d, NULL), AF_ERROR_DATA, "100 stars are too few");
    d.centre[2] = NAN;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "the centre is not finite");
    memset(&d, 0, sizeof d);
    d.end_canary = 1;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "not initialised to zero");
    memset(&d, 0, sizeof d);
    d.bins = 1000;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_ARGUMENT, "at most 32 bins");
    memset(&d, 0, sizeof d);
    memset(streams, 0, sizeof streams);
    d.streams = streams;
    streams[5] = 33;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_DATA,
                "star 5 (counted from 0) is of stream 33");
    for (i = 0; i < N; i++) streams[i] = i < 50 ? 3 : i < 59 ? 1 : 0;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_DATA, "stream 1 has 9 stars");
    memset(&d, 0, sizeof d);
    volume.kind = DP_VOLUME_SPHERE;
    volume.outer = 1e3;
    CHECK_FAILS(recover_these(N, eta, &d, &volume), AF_ERROR_ARGUMENT, "cut in space");
    for (k = 0; k < 6; k++) d.centre[k] = eta[6 * 7 + k];
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_DATA,
                "star 7 (counted from 0) is in the centre");
    memset(&d, 0, sizeof d);
    for (k = 0; k < 3; k++) eta[6 * 9 + 3 + k] *= 200.0;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_DATA, "to bind star 9 (counted");
    for (i = 0; i < N; i++) {
        double r = norm3(eta + 6 * i);
        for (k = 0; k < 3; k++) eta[6 * i + k] *= 2.0 / r;
    }
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_DATA, "of one radius");
    for (i = 0; i < N; i++) eta[6 * i] *= 1.0 + (double)i / N;
    for (i = 0; i < N; i++)
        for (k = 3; k < 6; k++) eta[6 * i + k] = 0.0;
    CHECK_FAILS(recover_these(N, eta, &d, NULL), AF_ERROR_DATA, "no star moves");
}

/* Every allocation fails once, in steps that reach all of them in the end of each stage. */
TEST(memory_that_fails) {
    heap h;
    long k, failed = 0;
    for (k = 1; k < 100000; k += k < 40 ? 1 : k / 12) {
        af_context *own = NULL;
        dp_sample *s = NULL;
        dp_recovered *r = NULL;
        dp_recover_desc d;
        af_status status = heap_open(&h, k, 1, &own);
        memset(&d, 0, sizeof d);
        d.units = d.steps = d.bins = 1;
        if (status == AF_OK) {
            s = make_sample(own, 200, 9);
            if (s) status = dp_recover(s, &d, &r);
            else status = AF_ERROR_MEMORY;
        }
        CHECK(status == AF_OK || status == AF_ERROR_MEMORY);
        CHECK((status == AF_OK) == (r != NULL));
        dp_recovered_destroy(r);
        dp_sample_destroy(s);
        af_context_destroy(own);
        CHECK(h.live == 0);
        if (status == AF_OK) break;
        failed++;
    }
    CHECK(failed > 40);
}

int main(void) {
    c = heap_context(&memory, 2);
    RUN(actions_of_the_isochrone);
    RUN(special_orbits);
    RUN(orbits_beyond_the_table);
    RUN(derivatives_of_actions_by_the_table);
    RUN(gamma_functions);
    RUN(splines);
    RUN(a_field_and_streams_are_densities);
    RUN(scores_of_the_density);
    RUN(the_density_of_drawn_actions);
    RUN(a_table_from_a_density);
    RUN(derivatives_of_the_table);
    RUN(an_isochrone_from_three_clumps);
    RUN(streams_help);
    RUN(a_stream_that_comes_late);
    RUN(units_and_centre);
    RUN(values_belong_together);
    RUN(files_and_threads);
    RUN(a_time_limit);
    RUN(bad_questions);
    RUN(memory_that_fails);
    af_context_destroy(c);
    if (memory.live) printf("%ld blocks are still out\n", memory.live);
    return test_report() || memory.live != 0;
}
