/* Potentials from exact gradients: frames, fits of networks and of parts, files, forces. */
#if !defined(_POSIX_C_SOURCE) && !defined(__APPLE__)
#  define _POSIX_C_SOURCE 200809L /* getpid */
#endif
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.in.h"
#include "af_test.h"
#include "af_heap.h"
#include <unistd.h>

#define SAY(...)                                            \
    do {                                                    \
        if (getenv("AF_VERBOSE")) printf("  " __VA_ARGS__); \
    } while (0)

enum { N = 3000 }; /* points of most tests */

static heap memory;
static af_context *c;
static double eta[N][6], gradient[N][6], ln_f[N], position[N][3];
static double phi[N], acceleration[N][3], density[N], work[N], more[N];

#define MASS (1.0 / AF_GRAVITY) /* GM = 1 */

static double uniform(uint64_t stream, uint64_t i) { return af_random_uniform(11, stream, i); }
static double normal(uint64_t stream, uint64_t i) { return af_random_normal(11, stream, i); }

static const char *scratch_file(const char *name) {
    static char path[4][600];
    static int turn;
    const char *folder = getenv("TMPDIR");
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%.400s/dp_potential_%ld_%s", folder ? folder : "/tmp",
             (long)getpid(), name);
    return path[turn];
}

static dp_points points_of(size_t n) {
    dp_points p = DP__ZERO;
    size_t i, k;
    p.n = n;
    p.eta = eta[0];
    p.gradient = gradient[0];
    p.ln_f = ln_f;
    for (i = 0; i < n; i++)
        for (k = 0; k < 3; k++) position[i][k] = eta[i][k];
    return p;
}

/* A random direction times `length`. */
static void direction(uint64_t stream, uint64_t i, double length, double x[3]) {
    double z = 2.0 * uniform(stream, 2 * i) - 1.0, r = sqrt(1.0 - z * z);
    double angle = 2.0 * AF__PI * uniform(stream, 2 * i + 1);
    x[0] = length * r * cos(angle);
    x[1] = length * r * sin(angle);
    x[2] = length * z;
}

/* Gradients of f ~ (-E)^(7/2) exp(spin Lz) in Plummer's potential, GM = b = 1. */
static void plummer_gradient(const double e[6], double spin, double g[6], double *ln) {
    double s = sqrt(1.0 + dot3(e, e)), energy = dot3(e + 3, e + 3) / 2.0 - 1.0 / s;
    size_t k;
    for (k = 0; k < 3; k++) {
        g[k] = 3.5 / energy * e[k] / (s * s * s);
        g[3 + k] = 3.5 / energy * e[3 + k];
    }
    g[0] += spin * e[4];
    g[1] -= spin * e[3];
    g[3] -= spin * e[1];
    g[4] += spin * e[0];
    *ln = 3.5 * log(-energy) + spin * (e[0] * e[4] - e[1] * e[3]);
}

/* Stars of a Plummer sphere inside r < r_max: radii by the inverse of the mass, speeds q of the
 * escape speed by rejection from q^2 (1 - q^2)^(7/2) (Aarseth, Henon & Wielen 1974). */
static void plummer(size_t n, double r_max, double spin) {
    size_t i = 0, at = 0;
    while (i < n) {
        double r = 1.0 / sqrt(pow(uniform(1, at), -2.0 / 3.0) - 1.0), q;
        uint64_t try_at = 64 * at;
        at++;
        if (r > r_max) continue;
        do {
            q = uniform(2, ++try_at);
        } while (0.1 * uniform(3, try_at) > q * q * pow(1.0 - q * q, 3.5));
        direction(4, at, r, eta[i]);
        direction(5, at, q * sqrt(2.0) * pow(1.0 + r * r, -0.25), eta[i] + 3);
        plummer_gradient(eta[i], spin, gradient[i], &ln_f[i]);
        i++;
    }
}

static dp_potential *make(const dp_potential_desc *d, const dp_points *points) {
    dp_potential *p = NULL;
    CHECK(dp_potential_create(c, d, points, &p) == AF_OK);
    if (!p) printf("  %s\n", af_error(c));
    return p;
}

/* A small network, and a fit of some seconds at most. */
static dp_potential_desc small_net(dp_inputs inputs) {
    dp_potential_desc d = DP__ZERO;
    d.inputs = inputs;
    d.width = 32;
    d.depth = 2;
    d.seed = 3;
    return d;
}

static dp_fit_desc short_fit(size_t epochs) {
    dp_fit_desc d = DP__ZERO;
    d.epochs = SHORT ? 1 : epochs;
    d.batch = 128;
    return d;
}

static double median_of(size_t n, double *x) { return dp__median(x, n); }

/* Moves every parameter of the networks by random numbers. */
static void shake(dp_potential *p, double size) {
    double *w = af_params_data(p->params);
    size_t i, n = af_params_size(p->params), keep = DP__FRAME;
    if (p->parts) keep += DP__PART * p->desc.part_count;
    if (p->parts && p->density)
        for (i = 0; i < n - keep; i++) w[i] += size * normal(90, i);
    for (i = 0; !p->parts && i < n - keep; i++) w[i] += size * normal(90, i);
}

/* ---- frames ---- */

/* f(E, Lz) is stationary in every frame that turns about z. */
TEST(frame_turns_velocities) {
    dp_potential_desc d = DP__ZERO;
    af_potential truth = af_potential_plummer(MASS, 1.0);
    dp_points points = points_of(500);
    double omegas[3] = {0.0, 0.4, -2.0}, worst = 0.0;
    size_t i, k;
    plummer(500, 10.0, 0.3);
    points = points_of(500);
    d.parts = &truth;
    d.part_count = 1;
    for (k = 0; k < 3; k++) {
        dp_potential *p;
        d.frame.omega = omegas[k];
        p = make(&d, &points);
        CHECK(dp_potential_residual(p, &points, work) == AF_OK);
        for (i = 0; i < 500; i++) worst = fmax(worst, fabs(work[i]));
        dp_potential_destroy(p);
    }
    CHECK(worst < 1e-11);
    /* the paper's Omega x u, by hand: not stationary */
    for (i = 0; i < 500; i++) {
        const double *e = eta[i], *g = gradient[i];
        double o = 0.4, u[2], s = pow(1.0 + dot3(e, e), -1.5), r;
        u[0] = -o * e[1];
        u[1] = o * e[0];
        r = s * dot3(e, g + 3) - o * u[1] * g[3] + o * u[0] * g[4] - dot3(e + 3, g) + u[0] * g[0] +
            u[1] * g[1];
        work[i] = fabs(r);
    }
    CHECK(median_of(500, work) > 0.01);
}

/* The residual with every term, by hand in the units of the data. */
TEST(residual_by_hand) {
    dp_potential_desc d = DP__ZERO;
    dp_points points;
    dp_potential *p;
    af_potential part = af_potential_miyamoto_nagai(2.0 * MASS, 1.0, 0.3);
    size_t i;
    double worst = 0.0;
    plummer(300, 5.0, 0.2);
    points = points_of(300);
    d.parts = &part;
    d.part_count = 1;
    d.frame.omega = 0.7;
    d.frame.centre[0] = 0.4;
    d.frame.centre[1] = -0.2;
    d.frame.u[0] = 0.1;
    d.frame.u[1] = 0.2;
    d.frame.u[2] = -0.3;
    p = make(&d, &points);
    CHECK(dp_potential_residual(p, &points, work) == AF_OK);
    for (i = 0; i < 300; i++) {
        const double *x = eta[i], *v = eta[i] + 3, *g = gradient[i];
        double a[3], u[3], r = 0.0;
        size_t k;
        af_potential_acceleration(&part, 1, x, a);
        for (k = 0; k < 3; k++) u[k] = d.frame.u[k];
        u[0] -= 0.7 * (x[1] + 0.2);
        u[1] += 0.7 * (x[0] - 0.4);
        a[0] += 0.7 * (v[1] - 0.2);
        a[1] -= 0.7 * (v[0] - 0.1);
        for (k = 0; k < 3; k++) r -= a[k] * g[3 + k] + (v[k] - u[k]) * g[k];
        worst = fmax(worst, fabs(r - work[i]));
    }
    CHECK(worst < 1e-11);
    dp_potential_destroy(p);
}

/* A harmonic well that turns with 0.4: x' = v - Omega z x x, v' = -(A x, B y, C z) - Omega z x v is
 * linear, and each left eigenvector of its matrix gives a quadratic integral
 *
 *     J = (p x + s vy)^2 + (q y + r vx)^2,    s = w^2 + Omega^2 - A, r = 2 w Omega,
 *     p = Omega s - 2 w^2 Omega, q = w (s - 2 Omega^2)
 *
 * for the two w^2 of w^4 - (A + B + 2 Omega^2) w^2 + (A - Omega^2)(B - Omega^2) = 0. Modes of
 * different temperatures: f is none of the Jacobi energy alone. */
static void turning_well(size_t n, double A, double B, double C, double omega) {
    double o2 = omega * omega, sum = A + B + 2.0 * o2, heat[2] = {1.0, 2.5};
    double root = sqrt(sum * sum - 4.0 * (A - o2) * (B - o2));
    size_t i, k, m;
    for (i = 0; i < n; i++) {
        double *e = eta[i], *g = gradient[i];
        for (k = 0; k < 6; k++) e[k] = normal(20 + k, i) * (k < 3 ? 0.8 : 1.0);
        for (k = 0; k < 6; k++) g[k] = 0.0;
        for (m = 0; m < 2; m++) {
            double w2 = (sum + (m ? -root : root)) / 2.0, w = sqrt(w2), s = w2 + o2 - A;
            double r = 2.0 * w * omega, p = omega * s - 2.0 * w2 * omega, q = w * (s - 2.0 * o2);
            double first = p * e[0] + s * e[4], second = q * e[1] + r * e[3];
            double t = heat[m] / (p * p + q * q + r * r + s * s) * 4.0;
            g[0] -= t * p * first;
            g[4] -= t * s * first;
            g[1] -= t * q * second;
            g[3] -= t * r * second;
        }
        g[2] = -1.5 * C * e[2];
        g[5] = -1.5 * e[5];
        ln_f[i] = 0.0;
    }
}

/* A logarithmic potential with a core of 1e4 is harmonic to 1e-8 here. */
static af_potential wide_core(double A, double B, double C) {
    double core = 1e4;
    return af_potential_logarithmic(core * sqrt(A), core, sqrt(A / B), sqrt(A / C));
}

TEST(pattern_speed_of_parts) {
    dp_potential_desc d = DP__ZERO;
    dp_potential *p;
    dp_points points;
    unsigned fixed = (unsigned)DP_FIX_LENGTH;
    af_potential part = wide_core(1.0, 1.6, 2.0);
    size_t i;
    double worst = 0.0;
    turning_well(1500, 1.0, 1.6, 2.0, 0.4);
    points = points_of(1500);
    d.parts = &part;
    d.part_count = 1;
    d.fixed = &fixed;
    d.frame.omega = 0.4;
    p = make(&d, &points);
    CHECK(dp_potential_residual(p, &points, work) == AF_OK);
    for (i = 0; i < 1500; i++) worst = fmax(worst, fabs(work[i]));
    SAY("residual %.1e\n", worst);
    CHECK(worst < 1e-4);
    dp_potential_destroy(p);
    part.speed *= 1.4;
    d.frame.omega = 0.1;
    d.free_frame = (unsigned)DP_FREE_OMEGA;
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, NULL, NULL) == AF_OK);
    CHECK_CLOSE(dp_potential_frame(p).omega, 0.4, 1e-4);
    CHECK_CLOSE(dp_potential_parts(p, NULL)->speed / 1e4, 1.0, 1e-4);
    CHECK(dp_potential_parts(p, NULL)->length == 1e4);
    SAY("parts: omega %.6f\n", dp_potential_frame(p).omega);
    dp_potential_destroy(p);
}

TEST(pattern_speed_of_a_network) {
    dp_potential_desc d = small_net(DP_INPUTS_XYZ);
    dp_fit_desc f = short_fit(150);
    dp_potential *p;
    dp_points points;
    turning_well(N, 1.0, 1.6, 2.0, 0.4);
    points = points_of(N);
    d.frame.omega = 0.6;
    d.free_frame = (unsigned)DP_FREE_OMEGA;
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, &f, NULL) == AF_OK);
    CHECK_FIT(fabs(dp_potential_frame(p).omega / 0.4 - 1.0) < 1e-3);
    SAY("network: omega %.6f\n", dp_potential_frame(p).omega);
    dp_potential_destroy(p);
}

/* A Plummer sphere that moves: its velocity is found with its mass. */
TEST(moving_frame) {
    dp_potential_desc d = DP__ZERO;
    dp_potential *p;
    dp_points points;
    af_potential part = af_potential_plummer(1.5 * MASS, 0.7);
    double u[3] = {0.3, -0.2, 0.1};
    size_t i, k;
    plummer(1500, 10.0, 0.0);
    for (i = 0; i < 1500; i++)
        for (k = 0; k < 3; k++) eta[i][3 + k] += u[k];
    points = points_of(1500);
    d.parts = &part;
    d.part_count = 1;
    d.free_frame = (unsigned)DP_FREE_U;
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, NULL, NULL) == AF_OK);
    for (k = 0; k < 3; k++) CHECK_CLOSE(dp_potential_frame(p).u[k], u[k], 1e-4);
    CHECK_CLOSE(dp_potential_parts(p, NULL)->mass / MASS, 1.0, 1e-4);
    dp_potential_destroy(p);
}

/* ---- expressions against closed forms ---- */

/* Phi, gradient and Laplacian of every kind of part as the fit sees them. */
TEST(part_expressions) {
    af_potential parts[5];
    dp_points points;
    size_t kind, i, k;
    parts[0] = af_potential_isochrone(MASS, 0.6);
    parts[1] = af_potential_plummer(2.0 * MASS, 0.8);
    parts[2] = af_potential_miyamoto_nagai(MASS, 1.0, 0.2);
    parts[3] = af_potential_logarithmic(1.3, 0.5, 0.9, 0.7);
    parts[4] = af_potential_nfw(3.0 * MASS, 2.0);
    plummer(200, 5.0, 0.0);
    points = points_of(200);
    for (kind = 0; kind < 5; kind++) {
        dp_potential_desc d = DP__ZERO;
        dp_potential *p;
        af_func *f = NULL;
        af_expr xi;
        double worst = 0.0, per, constant;
        d.parts = &parts[kind];
        d.part_count = 1;
        p = make(&d, &points);
        CHECK(dp__points_input(p, &xi) == AF_OK);
        CHECK(dp__field_compile(p, "part", xi, dp__phi(p, xi), 1, &f) == AF_OK);
        CHECK(dp__field_run(p, f, 200, position[0], phi, acceleration[0], density) == AF_OK);
        per = p->unit / (p->length * p->length) / (4.0 * AF__PI * AF_GRAVITY);
        /* the logarithm is of lengths in another unit */
        constant = kind == 3 ? 1.3 * 1.3 * log(p->length) : 0.0;
        for (i = 0; i < 200; i++) {
            double a[3], rho = af_potential_density(&parts[kind], 1, position[i]);
            af_potential_acceleration(&parts[kind], 1, position[i], a);
            worst = fmax(worst, fabs(phi[i] * p->unit + constant -
                                     af_potential_value(&parts[kind], 1, position[i])));
            for (k = 0; k < 3; k++)
                worst = fmax(worst, fabs(acceleration[i][k] * p->unit / p->length + a[k]));
            worst = fmax(worst, fabs(density[i] * per / rho - 1.0));
        }
        CHECK(worst < 1e-9);
        if (!(worst < 1e-9)) printf("  part %lu: %g\n", (unsigned long)kind, worst);
        af_func_destroy(f);
        dp_potential_destroy(p);
    }
}

/* The loss that the trainer sees is the one that dp_potential_loss gives. */
static double trainer_loss(const dp_potential *p, const dp_loss_desc *d, const dp_points *points) {
    dp__objective o;
    dp__arena arena = dp__arena_open(c);
    double *rows = NULL, loss = NAN;
    size_t dims[2];
    af_expr in[2], y;
    af_func_desc f = DP__ZERO;
    af_func *func = NULL;
    af_workspace *w = NULL;
    const void *inputs[2];
    void *outputs[1];
    CHECK(dp__objective_open(p, d, &o) == AF_OK);
    CHECK(dp__point_rows(&o, points, &arena, &rows) == AF_OK);
    dims[0] = points->n;
    dims[1] = DP__POINT_ROW;
    in[0] = af_input(c, "rows", 2, dims);
    in[1] = af_params_input(p->params);
    y = dp__potential_loss(&o, in[0], in[0]);
    f.inputs = in;
    f.input_count = 2;
    f.outputs = &y;
    f.output_count = 1;
    CHECK(af_compile(c, &f, &func) == AF_OK && af_workspace_create(func, 1, &w) == AF_OK);
    inputs[0] = rows;
    inputs[1] = af_params_data(p->params);
    outputs[0] = &loss;
    CHECK(af_run(func, w, inputs, outputs) == AF_OK);
    af_workspace_destroy(w);
    af_func_destroy(func);
    dp__arena_free(&arena);
    return loss;
}

TEST(losses_agree) {
    size_t k;
    dp_points points;
    plummer(300, 5.0, 0.2);
    points = points_of(300);
    for (k = 0; k < 300; k++) more[k] = uniform(31, k);
    points.weights = more;
    for (k = 0; k < 8; k++) {
        dp_potential_desc d = small_net((dp_inputs)(k % 4));
        dp_loss_desc l = DP__ZERO;
        af_potential part = af_potential_plummer(MASS, 0.3);
        dp_potential *p;
        double loss = 0.0, other;
        d.width = 8;
        d.free_frame = 7u;
        d.frame.omega = 0.7;
        d.frame.centre[0] = 0.4;
        d.frame.centre[1] = 0.3;
        d.frame.u[0] = 0.2;
        d.frame.u[1] = -0.1;
        d.frame.u[2] = 0.5;
        d.density_net = k > 4;
        if (k == 4) {
            d.parts = &part;
            d.part_count = 1;
        }
        l.loss = k % 2 ? DP_LOSS_DF : DP_LOSS_DLNF;
        l.alpha = 0.5;
        l.beta = 3.0;
        l.lambda = k == 6 ? -1.0 : 2.0;
        l.l2 = 0.1;
        l.rounding = k % 3 == 1 ? 0.3 : 0.0;
        l.log_loss = k % 3 == 0;
        l.time = k == 5 ? 0.0 : 2.0;
        p = make(&d, &points);
        shake(p, 0.3);
        CHECK(dp_potential_loss(p, &points, &l, &loss) == AF_OK);
        other = trainer_loss(p, &l, &points);
        CHECK_CLOSE(other, loss, 1e-11);
        dp_potential_destroy(p);
    }
}

/* Eq. 9 for one point, by hand, and eq. 13's mean square. */
TEST(loss_by_hand) {
    dp_potential_desc d = small_net(DP_INPUTS_XYZ);
    dp_potential *p;
    dp_loss_desc l = DP__ZERO;
    dp_points points;
    double loss = 0.0, r, rho, sum = 0.0, hand;
    size_t i, weights = 3 * 32 + 32 * 32 + 32, at = 0;
    plummer(100, 5.0, 0.0);
    points = points_of(100);
    p = make(&d, &points);
    shake(p, 0.3);
    points.n = 1;
    l.alpha = 2.0;
    l.beta = 0.5;
    l.lambda = 3.0;
    l.l2 = 0.7;
    l.time = 1.5;
    CHECK(dp_potential_loss(p, &points, &l, &loss) == AF_OK);
    CHECK(dp_potential_residual(p, &points, &r) == AF_OK);
    CHECK(dp_potential_evaluate(p, 1, position[0], NULL, NULL, &rho) == AF_OK);
    for (i = 0; i < 4; i += 2) {
        const double *w = af_params_view(p->params, i);
        size_t k, size = i == 0 ? 96 : 1024;
        for (k = 0; k < size; k++) sum += w[k] * w[k];
        at += size;
    }
    for (i = 0; i < 32; i++, at++) sum += pow(af_params_view(p->params, 4)[i], 2.0);
    CHECK(at == weights);
    hand = asinh(2.0 * fabs(r) * 1.5) / 2.0 +
           3.0 * asinh(0.5 * 2.25 * fmax(-4.0 * AF__PI * AF_GRAVITY * rho, 0.0)) / 0.5;
    CHECK_CLOSE(loss, hand + 0.7 * sum / (double)weights, 1e-12);
    l.log_loss = 1;
    CHECK(dp_potential_loss(p, &points, &l, &loss) == AF_OK);
    CHECK_CLOSE(loss, log(hand) + 0.7 * sum / (double)weights, 1e-12);
    l.rounding = 0.4;
    hand -= asinh(2.0 * fabs(r) * 1.5) / 2.0;
    hand += asinh(2.0 * (sqrt(r * r * 2.25 + 0.16) - 0.4)) / 2.0;
    CHECK(dp_potential_loss(p, &points, &l, &loss) == AF_OK);
    CHECK_CLOSE(loss, log(hand) + 0.7 * sum / (double)weights, 1e-12);
    dp_potential_destroy(p);
}

/* Force and density against differences of Phi, and symmetry on the axis. */
TEST(inputs) {
    size_t kind, k;
    dp_points points;
    plummer(200, 5.0, 0.0);
    points = points_of(200);
    for (kind = 0; kind < 4; kind++) {
        dp_potential_desc d = small_net((dp_inputs)kind);
        dp_potential *p = make(&d, &points);
        double h = 1e-3, x[7][3], value[7], a[7][3], rho[7], sum = 0.0;
        shake(p, 0.3);
        for (k = 0; k < 21; k++) x[k / 3][k % 3] = 0.3 * (double)(k % 3) - 0.4;
        for (k = 0; k < 6; k++) x[1 + k][k / 2] += k % 2 ? -h : h;
        CHECK(dp_potential_evaluate(p, 7, x[0], value, a[0], rho) == AF_OK);
        for (k = 0; k < 3; k++)
            CHECK_CLOSE(-(value[1 + 2 * k] - value[2 + 2 * k]) / (2.0 * h), a[0][k], 1e-5);
        for (k = 0; k < 6; k++) sum += (value[1 + k] - value[0]) / (h * h);
        CHECK_CLOSE(sum, 4.0 * AF__PI * AF_GRAVITY * rho[0], 1e-4);
        x[0][0] = x[0][1] = 0.0;
        CHECK(dp_potential_evaluate(p, 1, x[0], value, a[0], rho) == AF_OK);
        if (kind == (size_t)DP_INPUTS_RZ || kind == (size_t)DP_INPUTS_R)
            CHECK(a[0][0] == 0.0 && a[0][1] == 0.0 && all_finite(rho, 1));
        dp_potential_destroy(p);
    }
}

/* ---- fits ---- */

typedef struct errors {
    double phi, force, force90, rho;
} errors;

/* Against Plummer: Phi without its constant, and the density inside r < 2. */
static errors plummer_errors(dp_potential *p, size_t n) {
    errors e;
    size_t i, k, inside = 0;
    double shift;
    CHECK(dp_potential_evaluate(p, n, position[0], phi, acceleration[0], density) == AF_OK);
    for (i = 0; i < n; i++) work[i] = phi[i] + 1.0 / sqrt(1.0 + dot3(position[i], position[i]));
    shift = median_of(n, work);
    for (i = 0; i < n; i++) {
        double s = sqrt(1.0 + dot3(position[i], position[i]));
        work[i] = fabs((phi[i] - shift) * s + 1.0);
    }
    e.phi = median_of(n, work);
    for (i = 0; i < n; i++) {
        double s3 = pow(1.0 + dot3(position[i], position[i]), 1.5), d[3];
        for (k = 0; k < 3; k++) d[k] = acceleration[i][k] * s3 + position[i][k];
        work[i] = norm3(d) / norm3(position[i]);
    }
    e.force = median_of(n, work);
    dp__select(work, n, 1, 0, n * 9 / 10);
    e.force90 = work[n * 9 / 10];
    for (i = 0; i < n; i++) {
        double r2 = dot3(position[i], position[i]), rho = MASS * 3.0 / (4.0 * AF__PI);
        if (r2 < 4.0) work[inside++] = fabs(density[i] / (rho * pow(1.0 + r2, -2.5)) - 1.0);
    }
    e.rho = median_of(inside, work);
    SAY("Phi %.4f %%, F %.3f %% (90: %.2f %%), rho %.2f %%\n", 100.0 * e.phi, 100.0 * e.force,
        100.0 * e.force90, 100.0 * e.rho);
    return e;
}

TEST(plummer_by_a_network) {
    dp_potential_desc d = small_net(DP_INPUTS_XYZ);
    dp_fit_desc f = short_fit(150);
    dp_potential_report report;
    dp_points points;
    dp_potential *p;
    errors before, after;
    double mean = 0.0;
    size_t i;
    plummer(N, 5.0, 0.0);
    points = points_of(N);
    p = make(&d, &points);
    before = plummer_errors(p, N);
    CHECK(dp_potential_fit(p, &points, NULL, &f, &report) == AF_OK);
    after = plummer_errors(p, N);
    CHECK(before.force > 0.99 && before.phi > 0.1 && before.rho > 0.99);
    CHECK_FIT(after.phi < 2e-3 && after.force < 0.02 && after.force90 < 0.1 && after.rho < 0.06);
    CHECK_FIT(report.validation < 0.06 * report.untrained && report.loss < 0.06 * report.untrained);
    for (i = 0; i < N; i++) mean += phi[i];
    CHECK_CLOSE(mean / N, 0.0, 1e-12);
    dp_potential_destroy(p);
}

/* The spherical network needs far less, with either loss. */
TEST(plummer_by_radius) {
    size_t k;
    plummer(N, 5.0, 0.0);
    for (k = 0; k < 2; k++) {
        dp_potential_desc d = small_net(DP_INPUTS_R);
        dp_fit_desc f = short_fit(60);
        dp_loss_desc l = DP__ZERO;
        dp_points points = points_of(N);
        dp_potential *p;
        errors e;
        d.width = 16;
        l.loss = k ? DP_LOSS_DF : DP_LOSS_DLNF;
        l.log_loss = k == 1;
        l.l2 = k ? 1e-4 : 0.0;
        p = make(&d, &points);
        CHECK(dp_potential_fit(p, &points, &l, &f, NULL) == AF_OK);
        e = plummer_errors(p, N);
        CHECK_FIT(e.phi < 2e-3 && e.force < 0.02 && e.rho < 0.06);
        dp_potential_destroy(p);
    }
}

/* The penalty makes fewer densities negative where gradients are noisy. */
TEST(positive_density) {
    double negative[2];
    size_t k, i;
    for (k = 0; k < 2; k++) {
        dp_potential_desc d = small_net(DP_INPUTS_XYZ);
        dp_fit_desc f = short_fit(30);
        dp_loss_desc l = DP__ZERO;
        dp_potential_report report;
        dp_points points;
        dp_potential *p;
        plummer(1500, 5.0, 0.0);
        for (i = 0; i < 1500 * 6; i++) gradient[i / 6][i % 6] *= 1.0 + normal(40, i);
        points = points_of(1500);
        l.lambda = k ? 10.0 : -1.0;
        p = make(&d, &points);
        CHECK(dp_potential_fit(p, &points, &l, &f, &report) == AF_OK);
        negative[k] = report.negative;
        dp_potential_destroy(p);
    }
    SAY("negative: %.3f without, %.3f with the penalty\n", negative[0], negative[1]);
    CHECK_FIT(negative[0] > 0.05 && negative[1] < 0.5 * negative[0]);
}

/* Far beyond all residuals the rounding makes them least squares: for the mass alone in closed
 * form, -sum (v . b) (F . a)/sum (F . a)^2 with F the force of mass one. */
TEST(least_squares) {
    af_potential part = af_potential_plummer(2.0 * MASS, 1.0);
    unsigned fixed = (unsigned)DP_FIX_LENGTH;
    dp_potential_desc d = DP__ZERO;
    dp_loss_desc l = DP__ZERO;
    dp_fit_desc f = DP__ZERO;
    dp_points points;
    dp_potential *p;
    double above = 0.0, below = 0.0, mass;
    size_t i, k;
    plummer(500, 5.0, 0.0);
    for (i = 0; i < 3000; i++) gradient[i / 6][i % 6] += normal(41, i);
    points = points_of(500);
    for (i = 0; i < 500; i++) {
        double s = 1.0 + dot3(eta[i], eta[i]), drift = dot3(eta[i] + 3, gradient[i]), pull = 0.0;
        for (k = 0; k < 3; k++) pull -= eta[i][k] * gradient[i][3 + k] / (s * sqrt(s));
        above -= drift * pull;
        below += pull * pull;
    }
    d.parts = &part;
    d.part_count = 1;
    d.fixed = &fixed;
    l.alpha = 1e-6;
    l.lambda = -1.0;
    l.rounding = 1e5;
    f.validation = 1e-9; /* none */
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, &l, &f, NULL) == AF_OK);
    mass = dp_potential_parts(p, NULL)->mass;
    SAY("mass %.6f, in closed form %.6f\n", mass / MASS, above / below);
    CHECK_CLOSE(mass / MASS, above / below, 1e-6);
    l.rounding = 0.0;
    CHECK(dp_potential_fit(p, &points, &l, &f, NULL) == AF_OK);
    CHECK(fabs(dp_potential_parts(p, NULL)->mass / mass - 1.0) > 1e-3); /* another minimum */
    dp_potential_destroy(p);
}

TEST(plummer_by_parts) {
    af_potential parts[2], truth = af_potential_plummer(MASS, 1.0);
    dp_potential_desc d = DP__ZERO;
    dp_potential_report report;
    dp_points points;
    dp_potential *p;
    double best = 0.0, loss = 0.0;
    size_t k, count = 0;
    plummer(2000, 10.0, 0.0);
    points = points_of(2000);
    parts[0] = af_potential_plummer(3.0 * MASS, 2.0);
    d.parts = parts;
    d.part_count = 1;
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, NULL, &report) == AF_OK);
    CHECK_CLOSE(dp_potential_parts(p, &count)->mass / MASS, 1.0, 1e-4);
    CHECK_CLOSE(dp_potential_parts(p, NULL)->length, 1.0, 1e-4);
    CHECK(count == 1 && report.validation < 1e-4 && report.untrained > 0.1);
    CHECK(report.negative == 0.0);
    /* figure 8: the loss is least at the truth */
    CHECK(dp_potential_set_parts(p, &truth) == AF_OK);
    CHECK(dp_potential_loss(p, &points, NULL, &best) == AF_OK && best < 1e-12);
    for (k = 0; k < 4; k++) {
        af_potential other = truth;
        *(k < 2 ? &other.mass : &other.length) *= k % 2 ? 1.02 : 0.98;
        CHECK(dp_potential_set_parts(p, &other) == AF_OK);
        CHECK(dp_potential_loss(p, &points, NULL, &loss) == AF_OK && loss > 1e-3);
    }
    dp_potential_destroy(p);
    /* with a fixed mass, and a second part that vanishes */
    parts[0].mass = MASS;
    parts[1] = af_potential_nfw(0.3 * MASS, 3.0);
    d.part_count = 2;
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, NULL, NULL) == AF_OK);
    CHECK(fabs(dp_potential_parts(p, NULL)[1].mass) < 1e-2 * MASS);
    CHECK_CLOSE(dp_potential_parts(p, NULL)->length, 1.0, 1e-2);
    dp_potential_destroy(p);
}

/* p(v|x) alone, from stars that were selected by place: the same potential. ln S = -(x - 1)^2 - z/2
 * shifts d ln f/dx; ln n(x) = ln of Plummer's density takes its part away. */
TEST(without_selection) {
    dp_potential_desc d = small_net(DP_INPUTS_R);
    dp_fit_desc f = short_fit(150);
    dp_points points;
    dp_potential *p;
    errors full, without;
    double slope = 0.0, spread = 0.0;
    size_t i, k;
    plummer(N, 5.0, 0.0);
    points = points_of(N);
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, &f, NULL) == AF_OK);
    full = plummer_errors(p, N);
    dp_potential_destroy(p);
    for (i = 0; i < N; i++)
        for (k = 0; k < 3; k++) gradient[i][k] += 5.0 * eta[i][k] / (1.0 + dot3(eta[i], eta[i]));
    d.density_net = 1;
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, &f, NULL) == AF_OK);
    without = plummer_errors(p, N);
    CHECK_FIT(without.phi < 6e-3 && without.force < 0.05 && full.force < 0.01);
    CHECK(dp_potential_ln_density(p, N, position[0], work) == AF_OK);
    for (i = 0; i < N; i++) { /* ln n = -5/2 ln(1 + r^2) + constant */
        double truth = -2.5 * log(1.0 + dot3(position[i], position[i]));
        slope += (work[i] - work[0]) / N;
        slope -= (truth + 2.5 * log(1.0 + dot3(position[0], position[0]))) / N;
    }
    for (i = 0; i < N; i++) {
        double truth = -2.5 * log(1.0 + dot3(position[i], position[i]));
        double off = work[i] - work[0] - truth;
        off -= 2.5 * log(1.0 + dot3(position[0], position[0])) + slope;
        spread += off * off / N;
    }
    SAY("ln n: rms %.3f\n", sqrt(spread));
    CHECK_FIT(sqrt(spread) < 0.4);
    dp_potential_destroy(p);
}

/* f as selected by place with ln S = -(x - 1)^2 - z/2, unknown: the potential and -ln S. */
TEST(unknown_selection) {
    errors e[2];
    size_t i, k;
    plummer(N, 5.0, 0.0);
    for (i = 0; i < N; i++) {
        gradient[i][0] -= 2.0 * (eta[i][0] - 1.0);
        gradient[i][2] -= 0.5;
    }
    for (k = 0; k < 2; k++) {
        dp_potential_desc d = small_net(DP_INPUTS_R);
        dp_fit_desc f = short_fit(150);
        dp_points points = points_of(N);
        dp_potential *p;
        double mean = 0.0, spread = 0.0, all = 0.0;
        d.density_net = k == 1;
        p = make(&d, &points);
        CHECK(dp_potential_fit(p, &points, NULL, &f, NULL) == AF_OK);
        e[k] = plummer_errors(p, N);
        if (k == 1) {
            CHECK(dp_potential_ln_density(p, N, position[0], work) == AF_OK);
            for (i = 0; i < N; i++) {
                double truth = pow(position[i][0] - 1.0, 2.0) + 0.5 * position[i][2];
                work[i] -= truth;
                mean += work[i] / N;
                all += pow(truth - 1.5, 2.0) / N;
            }
            for (i = 0; i < N; i++) spread += pow(work[i] - mean, 2.0) / N;
            SAY("-ln S: rms %.3f of %.3f\n", sqrt(spread), sqrt(all));
            CHECK_FIT(spread < 0.04 * all);
        }
        dp_potential_destroy(p);
    }
    SAY("forces %.4f as if complete, %.4f\n", e[0].force, e[1].force);
    CHECK_FIT(e[0].force > 0.1 && e[1].force < 0.05);
}

/* ---- files, resuming, threads ---- */

static void check_same(dp_potential *p, dp_potential *q, size_t n) {
    size_t i;
    CHECK(dp_potential_evaluate(p, n, position[0], phi, acceleration[0], density) == AF_OK);
    CHECK(dp_potential_evaluate(q, n, position[0], work, NULL, more) == AF_OK);
    for (i = 0; i < n; i++)
        if (phi[i] != work[i] || density[i] != more[i]) break;
    CHECK(i == n);
}

TEST(files) {
    size_t k;
    dp_points points;
    plummer(500, 5.0, 0.0);
    points = points_of(500);
    for (k = 0; k < 6; k++) {
        dp_potential_desc d = small_net(k < 4 ? (dp_inputs)k : DP_INPUTS_XYZ);
        dp_fit_desc f = short_fit(2);
        af_potential part[2];
        unsigned fixed[2] = {(unsigned)DP_FIX_LENGTH, 0};
        const char *path = scratch_file("model");
        dp_potential *p, *q = NULL;
        part[0] = af_potential_plummer(MASS, 0.4);
        part[1] = af_potential_logarithmic(1.0, 0.5, 0.9, 0.8);
        d.frame.omega = 0.2;
        d.free_frame = 7u;
        d.density_net = k == 5;
        if (k == 4) {
            d.parts = part;
            d.part_count = 2;
            d.fixed = fixed;
        }
        p = make(&d, &points);
        CHECK(dp_potential_fit(p, &points, NULL, &f, NULL) == AF_OK);
        CHECK(dp_potential_save(p, path) == AF_OK);
        CHECK(dp_potential_load(c, path, &q) == AF_OK);
        if (q) check_same(p, q, 500);
        if (q) CHECK(dp_potential_frame(p).omega == dp_potential_frame(q).omega);
        if (q) CHECK(q->desc.free_frame == 7u && q->desc.density_net == (k == 5));
        if (q && k == 4) CHECK(q->desc.fixed[0] == (unsigned)DP_FIX_LENGTH);
        CHECK(dp_potential_fit(q, &points, NULL, &f, NULL) == AF_OK); /* goes on */
        dp_potential_destroy(p);
        dp_potential_destroy(q);
        remove(path);
    }
}

static int stop_after_two(const af_progress *progress, void *user) {
    (void)user;
    return progress->epoch == 2;
}

TEST(resume) {
    dp_potential_desc d = small_net(DP_INPUTS_GUIDED);
    dp_fit_desc f = short_fit(4);
    dp_points points;
    dp_potential *p, *q;
    f.epochs = 4;
    plummer(800, 5.0, 0.0);
    points = points_of(800);
    d.free_frame = (unsigned)DP_FREE_OMEGA;
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, &f, NULL) == AF_OK);
    q = make(&d, &points);
    f.checkpoint = scratch_file("checkpoint");
    f.progress = stop_after_two;
    CHECK(dp_potential_fit(q, &points, NULL, &f, NULL) == AF_STOPPED);
    dp_potential_destroy(q);
    q = make(&d, &points);
    f.progress = NULL;
    f.resume = 1;
    CHECK(dp_potential_fit(q, &points, NULL, &f, NULL) == AF_OK);
    check_same(p, q, 500);
    remove(f.checkpoint);
    dp_potential_destroy(p);
    dp_potential_destroy(q);
}

TEST(threads) {
    size_t k;
    dp_points points;
    plummer(1200, 5.0, 0.0);
    points = points_of(1200);
    for (k = 0; k < 2; k++) {
        dp_potential_desc d = small_net(DP_INPUTS_XYZ);
        dp_fit_desc f = short_fit(2);
        af_potential part = af_potential_plummer(2.0 * MASS, 0.4);
        dp_potential *p, *q;
        f.batch = 1000;
        if (k) {
            d.parts = &part;
            d.part_count = 1;
            f.epochs = 0;
        }
        p = make(&d, &points);
        CHECK(dp_potential_fit(p, &points, NULL, &f, NULL) == AF_OK);
        af_context_set_threads(c, 3);
        q = make(&d, &points);
        CHECK(dp_potential_fit(q, &points, NULL, &f, NULL) == AF_OK);
        check_same(p, q, 1200);
        af_context_set_threads(c, 1);
        dp_potential_destroy(p);
        dp_potential_destroy(q);
    }
}

/* ---- force ---- */

/* The largest difference between the force and dp_potential_evaluate's phi and acceleration. */
static double force_misses(const dp_force *f, size_t n) {
    double worst = 0.0;
    size_t i, k;
    for (i = 0; i < n; i++) {
        double a[3], value = 0.0, scale = fmax(norm3(acceleration[i]), 1e-3);
        dp_force_at(f, position[i], &value, a);
        worst = fmax(worst, fabs(value - phi[i]) / fmax(fabs(phi[i]), 1.0));
        for (k = 0; k < 3; k++) worst = fmax(worst, fabs(a[k] - acceleration[i][k]) / scale);
        dp_force_at(f, position[i], NULL, NULL);
    }
    return worst;
}

/* Every kind of input, a width that is no multiple of a vector, parts, tanh in its tails; each set
 * of instructions. */
TEST(force) {
    const double nowhere[3] = {0.0, NAN, 0.0};
    size_t kind;
    int set;
    dp_points points;
    plummer(200, 5.0, 0.0);
    points = points_of(200);
    for (kind = 0; kind < 6; kind++) {
        dp_potential_desc d = small_net(kind < 4 ? (dp_inputs)kind : DP_INPUTS_XYZ);
        af_potential parts[2];
        dp_potential *p;
        dp_force *f = NULL;
        d.width = kind == 1 ? 21 : 32;
        d.depth = kind == 2 ? 1 : 3;
        d.frame.centre[0] = 0.2;
        parts[0] = af_potential_miyamoto_nagai(MASS, 0.4, 0.1);
        parts[1] = af_potential_nfw(MASS, 2.0);
        d.parts = kind == 4 ? parts : NULL;
        d.part_count = kind == 4 ? 2 : 0;
        p = make(&d, &points);
        shake(p, kind == 5 ? 3.0 : 0.4);
        if (kind == 3) *af_params_view(p->params, p->guide) = 0.7;
        p->constant = 0.123;
        CHECK(dp_potential_evaluate(p, 200, position[0], phi, acceleration[0], NULL) == AF_OK);
        CHECK(dp_force_create(p, &f) == AF_OK);
        dp_potential_destroy(p); /* the force goes on */
        for (set = DP__FORCE_PLAIN; set <= DP__FORCE_SET_AVX512; set++) {
            dp__force_choose(f, set);
            CHECK(force_misses(f, 200) < 1e-11);
        }
        dp_force_at(f, nowhere, phi, acceleration[0]);
        CHECK(isnan(phi[0]) && isnan(acceleration[0][2]));
        dp_force_destroy(f);
    }
}

/* An orbit of a thousand leapfrog steps keeps its energy. */
TEST(orbit) {
    dp_potential_desc d = small_net(DP_INPUTS_XYZ);
    dp_fit_desc fit = short_fit(20);
    dp_points points;
    dp_potential *p;
    dp_force *f = NULL;
    double x[3] = {1.0, 0.0, 0.2}, v[3] = {0.0, 0.5, 0.1}, a[3];
    double value, first, h = 0.01, worst = 0.0;
    size_t step, k;
    plummer(1000, 5.0, 0.0);
    points = points_of(1000);
    p = make(&d, &points);
    CHECK(dp_potential_fit(p, &points, NULL, &fit, NULL) == AF_OK);
    CHECK(dp_force_create(p, &f) == AF_OK);
    dp_potential_destroy(p);
    dp_force_at(f, x, &value, a);
    first = value + dot3(v, v) / 2.0;
    for (step = 0; step < 1000; step++) {
        for (k = 0; k < 3; k++) v[k] += h / 2.0 * a[k];
        for (k = 0; k < 3; k++) x[k] += h * v[k];
        dp_force_at(f, x, &value, a);
        for (k = 0; k < 3; k++) v[k] += h / 2.0 * a[k];
        worst = fmax(worst, fabs(value + dot3(v, v) / 2.0 - first));
    }
    CHECK(worst < 2e-5 && worst > 0.0);
    SAY("orbit: energy to %.1e\n", worst);
    dp_force_destroy(f);
}

/* ---- complaints ---- */

static void complains(af_status got, af_status wanted, const char *words) {
    CHECK(got == wanted);
    CHECK_TEXT(af_error(c), words);
    af_error_clear(c);
}

TEST(complaints_of_descs) {
    dp_potential_desc d = DP__ZERO;
    dp_points points, bad;
    dp_potential *p = NULL;
    af_potential part = af_potential_plummer(MASS, 1.0);
    plummer(100, 5.0, 0.0);
    bad = points = points_of(100);
    d.end_canary = 1;
    complains(dp_potential_create(c, &d, &points, &p), AF_ERROR_ARGUMENT, "initialised to zero");
    CHECK(p == NULL);
    d = small_net((dp_inputs)9);
    complains(dp_potential_create(c, &d, &points, &p), AF_ERROR_ARGUMENT, "inputs");
    d = small_net(DP_INPUTS_XYZ);
    d.frame.u[2] = NAN;
    complains(dp_potential_create(c, &d, &points, &p), AF_ERROR_ARGUMENT, "velocity");
    d.frame.u[2] = 0.0;
    d.parts = &part;
    complains(dp_potential_create(c, &d, &points, &p), AF_ERROR_ARGUMENT, "part_count");
    d.part_count = 1;
    part.mass = 0.0;
    complains(dp_potential_create(c, &d, &points, &p), AF_ERROR_ARGUMENT, "from zero");
    part.length = -1.0;
    complains(dp_potential_create(c, &d, &points, &p), AF_ERROR_ARGUMENT, "length is negative");
    d = small_net(DP_INPUTS_XYZ);
    bad.n = 0;
    complains(dp_potential_create(c, &d, &bad, &p), AF_ERROR_ARGUMENT, "no points");
    bad.n = 1;
    complains(dp_potential_create(c, &d, &bad, &p), AF_ERROR_DATA, "do not spread");
    CHECK(p == NULL);
}

TEST(complaints_of_points) {
    dp_potential_desc d = small_net(DP_INPUTS_XYZ);
    dp_loss_desc l = DP__ZERO;
    dp_fit_desc f = DP__ZERO;
    dp_points points;
    dp_potential *p;
    double loss;
    plummer(100, 5.0, 0.0);
    points = points_of(100);
    p = make(&d, &points);
    l.alpha = -1.0;
    complains(dp_potential_fit(p, &points, &l, NULL, NULL), AF_ERROR_ARGUMENT, "alpha -1");
    l.alpha = 0.0;
    l.rounding = -1.0;
    complains(dp_potential_fit(p, &points, &l, NULL, NULL), AF_ERROR_ARGUMENT, "rounding -1");
    l.rounding = 0.0;
    l.loss = DP_LOSS_DF;
    points.ln_f = NULL;
    complains(dp_potential_loss(p, &points, &l, &loss), AF_ERROR_ARGUMENT, "no ln f");
    f.start_canary = 1;
    complains(dp_potential_fit(p, &points, NULL, &f, NULL), AF_ERROR_ARGUMENT, "dp_fit_desc");
    gradient[17][4] = NAN;
    complains(dp_potential_fit(p, &points, NULL, NULL, NULL), AF_ERROR_DATA, "point 17");
    gradient[17][4] = HUGE_VAL;
    complains(dp_potential_residual(p, &points, work), AF_ERROR_DATA, "point 17");
    gradient[17][4] = 0.0;
    memset(more, 0, sizeof more);
    points.weights = more;
    complains(dp_potential_fit(p, &points, NULL, NULL, NULL), AF_ERROR_DATA, "weights are zero");
    more[5] = -1.0;
    complains(dp_potential_fit(p, &points, NULL, NULL, NULL), AF_ERROR_DATA, "point 5");
    dp_potential_destroy(p);
}

TEST(complaints_of_potentials) {
    dp_potential_desc d = small_net(DP_INPUTS_XYZ);
    dp_points points;
    dp_potential *p;
    dp_force *force = NULL;
    af_potential part = af_potential_plummer(MASS, 1.0);
    double x[3] = {0.0, NAN, 0.0};
    plummer(100, 5.0, 0.0);
    points = points_of(100);
    p = make(&d, &points);
    complains(dp_potential_set_parts(p, &part), AF_ERROR_ARGUMENT, "no parts");
    complains(dp_potential_ln_density(p, 1, position[0], work), AF_ERROR_ARGUMENT, "density_net");
    complains(dp_potential_evaluate(p, 1, x, work, NULL, NULL), AF_ERROR_NONFINITE, "point 0");
    dp_potential_destroy(p);
    complains(dp_potential_load(c, "/nowhere/at/all", &p), AF_ERROR_IO, "nowhere");
    CHECK(p == NULL);
    d.width = 2000;
    d.depth = 1;
    p = make(&d, &points);
    complains(dp_force_create(p, &force), AF_ERROR_ARGUMENT, "too large");
    CHECK(force == NULL);
    dp_potential_destroy(p);
    dp_potential_destroy(NULL);
    dp_force_destroy(NULL);
}

/* Damaged files: no text or array may be wrong unnoticed, and none may crash. */
TEST(damaged_files) {
    dp_potential_desc d = small_net(DP_INPUTS_RZ);
    dp_points points;
    dp_potential *p, *q = NULL;
    const char *path = scratch_file("damaged"), *other = scratch_file("other");
    char *bytes = (char *)malloc(1u << 20);
    size_t n, i;
    FILE *file;
    plummer(100, 5.0, 0.0);
    points = points_of(100);
    d.width = 4;
    p = make(&d, &points);
    CHECK(dp_potential_save(p, path) == AF_OK);
    file = fopen(path, "rb");
    n = file && bytes ? fread(bytes, 1, 1u << 20, file) : 0;
    if (file) fclose(file);
    for (i = 0; i + 1 < n && n < 1u << 20; i += i < 1200 ? 1 : 97) {
        char kept = bytes[i];
        af_status s;
        bytes[i] = (char)(kept ^ 1);
        file = fopen(other, "wb");
        CHECK(file != NULL);
        if (file) fwrite(bytes, 1, i % 2 ? n : n - 1 - i % 50, file);
        if (file) fclose(file);
        s = dp_potential_load(c, other, &q);
        CHECK((s == AF_OK) == (q != NULL) && (s == AF_OK || af_error(c)[0]));
        if (q) dp_potential_destroy(q);
        af_error_clear(c);
        bytes[i] = kept;
    }
    remove(path);
    remove(other);
    free(bytes);
    dp_potential_destroy(p);
}

/* ---- memory ---- */

/* Everything once, with the allocator failing at call `at`; returns whether it failed. */
static int all_of_it(heap *h, size_t kind, const char *path) {
    af_context *context = heap_context(h, 1);
    dp_potential_desc d = small_net(DP_INPUTS_XYZ);
    dp_fit_desc f = short_fit(1);
    dp_points points = points_of(60);
    dp_potential *p = NULL, *q = NULL;
    dp_force *force = NULL;
    af_potential part = af_potential_plummer(MASS, 0.5);
    dp_loss_desc l = DP__ZERO;
    af_status s;
    int failed;
    if (!context) return 1;
    d.width = 4;
    d.depth = 1;
    f.batch = 16;
    d.density_net = kind == 1;
    l.loss = DP_LOSS_DF;
    if (kind == 2) {
        d.parts = &part;
        d.part_count = 1;
    }
    s = dp_potential_create(context, &d, &points, &p);
    CHECK((s == AF_OK) == (p != NULL));
    if (s == AF_OK) s = dp_potential_fit(p, &points, &l, &f, NULL);
    if (s == AF_OK) s = dp_potential_residual(p, &points, work);
    if (s == AF_OK) s = dp_potential_save(p, path);
    if (s == AF_OK) s = dp_potential_load(context, path, &q);
    if (s == AF_OK) s = dp_force_create(q, &force);
    failed = s != AF_OK;
    CHECK(!failed || (s == AF_ERROR_MEMORY && af_error(context)[0]));
    if (failed && s != AF_ERROR_MEMORY)
        printf("  status %d: %s\n", (int)s, af_error(context));
    dp_force_destroy(force);
    dp_potential_destroy(q);
    dp_potential_destroy(p);
    af_context_destroy(context);
    return failed;
}

TEST(out_of_memory) {
    size_t kind;
    const char *path = scratch_file("memory");
    plummer(60, 5.0, 0.0);
    for (kind = 0; kind < 3; kind++) {
        long calls, at;
        heap h = DP__ZERO;
        CHECK(!all_of_it(&h, kind, path) && h.live == 0);
        calls = h.calls;
        for (at = 1; at <= calls && !test_broken; at++) {
            heap g = DP__ZERO;
            g.fail_at = at;
            all_of_it(&g, kind, path);
            CHECK(g.live == 0);
        }
        SAY("%ld allocations\n", calls);
    }
    remove(path);
}

int main(void) {
    c = heap_context(&memory, 1);
    RUN(frame_turns_velocities);
    RUN(residual_by_hand);
    RUN(pattern_speed_of_parts);
    RUN(pattern_speed_of_a_network);
    RUN(moving_frame);
    RUN(part_expressions);
    RUN(losses_agree);
    RUN(loss_by_hand);
    RUN(inputs);
    RUN(plummer_by_a_network);
    RUN(plummer_by_radius);
    RUN(positive_density);
    RUN(least_squares);
    RUN(plummer_by_parts);
    RUN(without_selection);
    RUN(unknown_selection);
    RUN(files);
    RUN(resume);
    RUN(threads);
    RUN(force);
    RUN(orbit);
    RUN(complaints_of_descs);
    RUN(complaints_of_points);
    RUN(complaints_of_potentials);
    RUN(damaged_files);
    RUN(out_of_memory);
    af_context_destroy(c);
    if (memory.live) printf("FAILED %ld blocks are left\n", memory.live);
    return test_report() || memory.live;
}
