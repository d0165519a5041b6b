/* What minimisers are made of: the Cholesky factor, and L-BFGS with its line search. */
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.in.h"
#include "af_test.h"
#include "af_reference.h"

/* ---- Cholesky ---- */

static const af__kernels *kernels; /* of the instruction set that is tested */

static void each_set(void (*run)(void)) {
    int set;
    for (set = AF_SET_PLAIN; set <= AF_SET_AVX512; set++) {
        kernels = af__find_kernels((af_instruction_set)set, AF_F64);
        if (kernels) run();
    }
}

/* A problem with a known answer; NaN stands where nothing may be read. */
typedef struct system_of {
    size_t n;
    double *a, *d, *work, *x, *b, *y;
} system_of;

enum { GUARD = 8 };

static double normal(uint64_t stream, size_t i) { return af_random_normal(3, stream, i); }

/* b = (A + diag(d)) x from the lower triangle. */
static void multiply(const system_of *s, const double *x, double *b) {
    size_t i, j;
    for (i = 0; i < s->n; i++) b[i] = s->d[i] * x[i];
    for (i = 0; i < s->n; i++)
        for (j = 0; j <= i; j++) {
            b[i] += s->a[i * s->n + j] * x[j];
            if (i != j) b[j] += s->a[i * s->n + j] * x[i];
        }
}

static system_of open_system(size_t n) {
    system_of s;
    size_t i, j, k;
    double *c = test_array(5 * n);
    s.n = n;
    s.a = test_array(n * n);
    s.d = test_array(n);
    s.work = test_array(n * n + GUARD);
    s.x = test_array(n);
    s.b = test_array(n);
    s.y = test_array(n);
    for (i = 0; i < 5 * n; i++) c[i] = normal(n, i);
    for (i = 0; i < n * n; i++) s.a[i] = NAN;
    for (i = 0; i < n; i++) {
        for (j = 0; j <= i; j++)
            for (k = 0, s.a[i * n + j] = i == j; k < 5; k++)
                s.a[i * n + j] += c[5 * i + k] * c[5 * j + k];
        s.d[i] = fabs(normal(1000 + n, i));
        s.x[i] = normal(2000 + n, i);
    }
    for (i = 0; i < GUARD; i++) s.work[n * n + i] = 7.0;
    multiply(&s, s.x, s.b);
    free(c);
    return s;
}

static void close_system(system_of *s) {
    size_t i;
    for (i = 0; i < GUARD; i++) CHECK(s->work[s->n * s->n + i] == 7.0);
    free(s->a);
    free(s->d);
    free(s->work);
    free(s->x);
    free(s->b);
    free(s->y);
}

static int solve(const system_of *s, int threads, const double *b, double *y) {
    return af__cholesky_by(kernels, threads, s->n, s->a, s->d, s->work, b, y);
}

static double factor_at(const system_of *s, size_t i, size_t j) {
    af__factor f = AF__ZERO;
    f.r = s->work;
    f.n = s->n;
    f.head = s->n % AF__STRIP;
    return *af__factor_at(&f, i, j);
}

/* Largest element of |R^T R - A - diag(d)|, over the largest of the diagonal. */
static double factor_residual(const system_of *s) {
    size_t i, j, k, n = s->n;
    double worst = 0.0, largest = 0.0, *l = test_array(n * n);
    for (i = 0; i < n; i++)
        for (j = 0; j <= i; j++) l[i * n + j] = factor_at(s, j, i);
    for (i = 0; i < n; i++)
        for (j = 0; j <= i; j++) {
            double sum = s->a[i * n + j] + (i == j ? s->d[i] : 0.0);
            if (sum > largest) largest = sum;
            for (k = 0; k <= j; k++) sum -= l[i * n + k] * l[j * n + k];
            if (!(fabs(sum) <= worst)) worst = fabs(sum);
        }
    free(l);
    return worst / largest;
}

static void check_system(size_t n) {
    system_of s = open_system(n);
    size_t i;
    double worst = 0.0, again = 0.0;
    CHECK(solve(&s, 1, s.b, s.y) == 1);
    for (i = 0; i < n; i++) {
        CHECK(factor_at(&s, i, i) > 0.0);
        worst = fmax(worst, fabs(s.y[i] - s.x[i]));
        if (!(s.y[i] == s.y[i])) worst = NAN;
    }
    CHECK_CLOSE(factor_residual(&s), 0.0, 1e-15 + 4e-17 * (double)n);
    CHECK_CLOSE(worst, 0.0, 1e-12 + 1e-14 * (double)n);
    CHECK(solve(&s, 2, s.b, s.b) == 1); /* in place */
    for (i = 0; i < n; i++) again += s.b[i] != s.y[i];
    CHECK(again == 0.0);
    if (test_broken) printf("  n = %lu, vectors of %lu\n", (unsigned long)n,
                            (unsigned long)kernels->lanes);
    close_system(&s);
}

static void check_systems(void) {
    size_t n;
    for (n = 1; n <= 53 && !test_broken; n++) check_system(n);
    for (n = 63; n <= 65; n++) check_system(n);
    for (n = 119; n <= 121; n++) check_system(n); /* the first panel's end */
    check_system(200);
    check_system(517);
}

TEST(cholesky_systems) { each_set(check_systems); }

TEST(cholesky_nothing) {
    CHECK(af__cholesky_solve(1, 0, NULL, NULL, NULL, NULL, NULL) == 1);
}

/* The call that the library makes takes the best set. */
TEST(cholesky_call) {
    system_of s = open_system(30);
    double *y = test_array(30);
    kernels = af__find_kernels(AF_SET_BEST, AF_F64);
    CHECK(solve(&s, 1, s.b, s.y) == 1);
    CHECK(af__cholesky_solve(0, 30, s.a, s.d, s.work, s.b, y) == 1);
    CHECK(memcmp(y, s.y, 30 * sizeof *y) == 0);
    free(y);
    close_system(&s);
}

static void check_threads(void) {
    static const size_t size[] = {150, 517};
    size_t i, j, k;
    int threads;
    for (k = 0; k < AF__COUNT(size); k++) {
        system_of s = open_system(size[k]), t = open_system(size[k]);
        CHECK(solve(&s, 1, s.b, s.y) == 1);
        for (threads = 2; threads <= 3; threads++) {
            size_t differ = 0;
            CHECK(solve(&t, threads, t.b, t.y) == 1);
            CHECK(memcmp(s.y, t.y, s.n * sizeof *s.y) == 0);
            for (j = 0; j < s.n; j++)
                for (i = 0; i <= j; i++) differ += factor_at(&s, i, j) != factor_at(&t, i, j);
            CHECK(differ == 0);
        }
        close_system(&s);
        close_system(&t);
    }
}

TEST(cholesky_threads) { each_set(check_threads); }

/* (D A D) x' = D b has x' = x / D, to the bit when D holds powers of two. */
static void check_scales(void) {
    size_t i, j, n = 107;
    system_of s = open_system(n), t = open_system(n);
    double *scale = test_array(n);
    for (i = 0; i < n; i++) scale[i] = ldexp(1.0, (int)(i * 37 % 401) - 200);
    CHECK(solve(&s, 1, s.b, s.y) == 1);
    for (i = 0; i < n; i++) {
        for (j = 0; j <= i; j++) t.a[i * n + j] *= scale[i] * scale[j];
        t.d[i] *= scale[i] * scale[i];
        t.b[i] = s.b[i] * scale[i];
    }
    CHECK(solve(&t, 1, t.b, t.y) == 1);
    for (i = 0; i < n; i++) CHECK(t.y[i] * scale[i] == s.y[i]);
    free(scale);
    close_system(&s);
    close_system(&t);
}

TEST(cholesky_scales) { each_set(check_scales); }

/* Hilbert's matrix, condition 1.5e10: what is solved is a system very near by. */
static void check_hilbert(void) {
    system_of s = open_system(8);
    size_t i, j;
    double largest = 0.0, *r = test_array(8);
    for (i = 0; i < 8; i++)
        for (j = 0, s.d[i] = 0.0; j <= i; j++) s.a[i * 8 + j] = 1.0 / (double)(i + j + 1);
    multiply(&s, s.x, s.b);
    CHECK(solve(&s, 1, s.b, s.y) == 1);
    multiply(&s, s.y, r);
    for (i = 0; i < 8; i++) largest = fmax(largest, fabs(s.y[i]));
    for (i = 0; i < 8; i++) CHECK_CLOSE((r[i] - s.b[i]) / largest, 0.0, 2e-15);
    CHECK_CLOSE(factor_residual(&s), 0.0, 1e-15);
    free(r);
    close_system(&s);
}

TEST(cholesky_hilbert) { each_set(check_hilbert); }

static void refused(const system_of *s, int threads) {
    size_t i;
    for (i = 0; i < s->n; i++) s->y[i] = 5.0;
    CHECK(solve(s, threads, s->b, s->y) == 0);
    for (i = 0; i < s->n; i++) CHECK(s->y[i] == 5.0);
}

/* One direction of negative or zero curvature, wherever it shows. */
static void check_indefinite(void) {
    static const size_t size[] = {1, 2, 5, 24, 25, 31, 70, 130};
    size_t k, i, at;
    for (k = 0; k < AF__COUNT(size); k++)
        for (at = 0; at < size[k]; at += size[k] > 40 ? 3 : 1) {
            system_of s = open_system(size[k]);
            s.a[at * s.n + at] = -0.01;
            s.d[at] = 0.0;
            refused(&s, 2);
            for (i = 0; i < s.n; i++) s.a[(i > at ? i : at) * s.n + (i > at ? at : i)] = 0.0;
            refused(&s, 1);
            s.d[at] = 1e-300;
            CHECK(solve(&s, 1, s.b, s.y) == 1);
            close_system(&s);
        }
}

TEST(cholesky_indefinite) { each_set(check_indefinite); }

/* All ones: positive semidefinite, and the arithmetic is exact. */
static void check_singular(void) {
    size_t n, i;
    for (n = 2; n < 60; n++) {
        system_of s = open_system(n);
        for (i = 0; i < n * n; i++) s.a[i] = 1.0;
        for (i = 0; i < n; i++) s.d[i] = 0.0;
        refused(&s, 1);
        close_system(&s);
    }
}

TEST(cholesky_singular) { each_set(check_singular); }

static void check_not_finite(void) {
    static const size_t size[] = {3, 24, 29};
    static const double bad[] = {NAN, HUGE_VAL, -HUGE_VAL};
    size_t k, i, j, b;
    for (k = 0; k < AF__COUNT(size); k++) {
        system_of s = open_system(size[k]);
        for (b = 0; b < AF__COUNT(bad); b++)
            for (i = 0; i < s.n; i++) {
                double keep = s.d[i];
                s.d[i] = bad[b];
                refused(&s, 1);
                s.d[i] = keep;
                for (j = 0; j <= i; j++) {
                    keep = s.a[i * s.n + j];
                    s.a[i * s.n + j] = bad[b];
                    refused(&s, 1);
                    s.a[i * s.n + j] = keep;
                }
            }
        CHECK(solve(&s, 1, s.b, s.y) == 1);
        close_system(&s);
    }
}

TEST(cholesky_not_finite) { each_set(check_not_finite); }

/* ---- L-BFGS: functions ---- */

enum { MOST = 60 };

/* A function, and what the minimiser has done with it. */
typedef struct problem {
    size_t n;
    double (*f)(const struct problem *p, const double *x, double *g);
    double condition, offset;
    af_status fail;     /* status of the evaluation number fail_at */
    size_t fail_at, calls;
    double first[MOST]; /* where it was evaluated first after calls = 0 */
    /* the minimiser */
    af__arena arena;
    af__lbfgs l;
    double x[MOST], g[MOST], value;
    int known, moved;
    size_t evaluations, steps;
    size_t broken; /* steps that do not satisfy the strong Wolfe conditions */
} problem;

static af_status evaluate(void *user, const double *x, double *f, double *gradient) {
    problem *p = (problem *)user;
    if (p->calls++ == 0) memcpy(p->first, x, p->n * sizeof *x);
    *f = p->f(p, x, gradient);
    return p->calls == p->fail_at ? p->fail : AF_OK;
}

static double weight(const problem *p, size_t i) {
    return p->n > 1 ? pow(p->condition, (double)i / (double)(p->n - 1)) : 1.0;
}

/* 1/2 sum of w (x - 1)^2, w from 1 to `condition`. */
static double quadratic(const problem *p, const double *x, double *g) {
    double sum = p->offset;
    size_t i;
    for (i = 0; i < p->n; i++) {
        g[i] = weight(p, i) * (x[i] - 1.0);
        sum += 0.5 * g[i] * (x[i] - 1.0);
    }
    return sum;
}

/* A chain of Rosenbrock's valleys. */
static double rosenbrock(const problem *p, const double *x, double *g) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < p->n; i++) g[i] = 0.0;
    for (i = 0; i + 1 < p->n; i++) {
        double u = x[i + 1] - x[i] * x[i], v = 1.0 - x[i];
        sum += 100.0 * u * u + v * v;
        g[i] -= 400.0 * x[i] * u + 2.0 * v;
        g[i + 1] += 200.0 * u;
    }
    return sum;
}

/* -log(1 - r^2) + a slope: beyond the wall r = 1 there is NaN, or infinity. */
static double walled(const problem *p, const double *x, double *g) {
    double r = 0.0, sum = 0.0;
    size_t i;
    for (i = 0; i < p->n; i++) r += x[i] * x[i];
    for (i = 0; i < p->n; i++) {
        g[i] = 2.0 * x[i] / (1.0 - r) - p->condition;
        sum -= p->condition * x[i];
    }
    if (r < 1.0) return sum - log(1.0 - r);
    for (i = 0; i < p->n && p->offset > 0.0; i++) g[i] = NAN; /* the gradient alone */
    return p->offset > 0.0 ? sum : p->offset < 0.0 ? HUGE_VAL : NAN;
}

static double linear(const problem *p, const double *x, double *g) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < p->n; i++) sum += g[i] = -1.0;
    for (i = 0; i < p->n; i++) sum -= x[i];
    return sum;
}

/* A kink at 1/3: no point has a small slope. */
static double kinked(const problem *p, const double *x, double *g) {
    (void)p;
    g[0] = x[0] < 1.0 / 3.0 ? -1.0 : 1.0;
    return fabs(x[0] - 1.0 / 3.0);
}

/* Downhill to a wall. */
static double cliff(const problem *p, const double *x, double *g) {
    g[0] = -1.0;
    return x[0] < p->offset ? -x[0] : NAN;
}

/* Nothing but rounding: F stays, its gradient is chance. */
static double noise(const problem *p, const double *x, double *g) {
    size_t i;
    (void)x;
    for (i = 0; i < p->n; i++) g[i] = 1e-12 * normal(200 + p->calls, i);
    return 1.0;
}

/* ---- L-BFGS: running ---- */

static problem open_problem(double (*f)(const problem *, const double *, double *), size_t n,
                            size_t memory) {
    problem p;
    memset(&p, 0, sizeof p);
    p.n = n;
    p.f = f;
    p.condition = 1.0;
    p.arena.allocator.allocate = af__default_allocate;
    p.arena.allocator.release = af__default_release;
    CHECK(af__lbfgs_create(&p.arena, n, memory, &p.l) == 1);
    return p;
}

static void close_problem(problem *p) { af__arena_free(&p->arena); }

static double norm(const problem *p) { return sqrt(af__dot(p->n, p->g, p->g)); }

/* A step; counts it when it breaks a Wolfe condition, which hold for the step as for the
 * direction. On the flat, F + offset, the approximate conditions hold. */
static af_status step(problem *p) {
    double x[MOST], g[MOST], before, was = 0.0, is = 0.0, flat;
    size_t i;
    int known = p->known;
    af_status status;
    memcpy(x, p->x, sizeof x);
    memcpy(g, p->g, sizeof g);
    before = p->value;
    status = af__lbfgs_step(&p->l, p->x, &p->value, p->g, &p->known, evaluate, p, &p->moved,
                            &p->evaluations);
    if (status != AF_OK || !p->moved) {
        CHECK(memcmp(x, p->x, sizeof x) == 0);
        if (known) CHECK(memcmp(g, p->g, sizeof g) == 0);
        if (known) CHECK(memcmp(&before, &p->value, sizeof before) == 0);
        return status;
    }
    p->steps++;
    if (!known) before = p->f(p, x, g);
    for (i = 0; i < p->n; i++) {
        was += g[i] * (p->x[i] - x[i]);
        is += p->g[i] * (p->x[i] - x[i]);
    }
    flat = 1e-15 * fabs(before);
    if (!(was < 0.0 && fabs(is) <= -0.9000001 * was &&
          (p->value <= before + 0.9999999e-4 * was || fabs(p->value - before) <= flat)))
        p->broken++;
    CHECK(p->value <= before + flat);
    if (p->f != noise)
        CHECK(p->f(p, p->x, x) == p->value && memcmp(x, p->g, p->n * sizeof *x) == 0);
    return status;
}

/* Until the gradient is short enough, or no step leads down. */
static void descend(problem *p, double tolerance, size_t most) {
    do CHECK(step(p) == AF_OK);
    while (p->moved && norm(p) > tolerance && p->steps < most);
    CHECK(norm(p) <= tolerance);
    CHECK(p->broken == 0);
    CHECK(p->evaluations == p->calls);
    if (test_broken)
        printf("  %lu steps, %lu evaluations, F %g, gradient %g\n", (unsigned long)p->steps,
               (unsigned long)p->evaluations, p->value, norm(p));
}

/* H, dense (n,n), updated by one pair (Nocedal & Wright, eq. 6.17). */
static void update(size_t n, double *h, const double *s, const double *y) {
    double over = 1.0 / af__dot(n, s, y), hy[MOST], yhy = 0.0;
    size_t i, j;
    for (i = 0; i < n; i++) {
        for (j = 0, hy[i] = 0.0; j < n; j++) hy[i] += h[i * n + j] * y[j];
        yhy += y[i] * hy[i];
    }
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++)
            h[i * n + j] += over * ((1.0 + over * yhy) * s[i] * s[j] - hy[i] * s[j] - s[i] * hy[j]);
}

TEST(lbfgs_direction) {
    size_t n = 7, memory = 4, i, j, k;
    problem p = open_problem(quadratic, n, memory);
    double x[7], h[49], s[6][7], y[6][7], expected;
    for (k = 0; k < 6; k++) { /* two more than are remembered, and one that is not */
        for (i = 0; i < n; i++) {
            x[i] = normal(50 + k, i);
            s[k][i] = normal(60 + k, i);
            y[k][i] = s[k][i] * (double)(i + 1) + 0.1 * x[i];
            p.g[i] = normal(70 + k, i);
            p.l.trial[i] = x[i] + s[k][i];
            p.l.gradient[i] = p.g[i] + y[k][i];
        }
        af__lbfgs_learn(&p.l, x, p.g);
        for (i = 0; i < n; i++) p.l.gradient[i] = p.g[i] - y[k][i]; /* downward curvature */
        af__lbfgs_learn(&p.l, x, p.g);
        CHECK(p.l.pairs == (k < memory ? k + 1 : memory));
    }
    for (i = 0; i < n * n; i++)
        h[i] = i % (n + 1) ? 0.0 : af__dot(n, s[5], y[5]) / af__dot(n, y[5], y[5]);
    for (k = 2; k < 6; k++) update(n, h, s[k], y[k]);
    af__lbfgs_direction(&p.l, p.g);
    for (i = 0; i < n; i++) {
        for (j = 0, expected = 0.0; j < n; j++) expected -= h[i * n + j] * p.g[j];
        CHECK_CLOSE(p.l.direction[i], expected, 1e-12);
    }
    close_problem(&p);
}

static af__line_point point(double t, double f, double slope) {
    af__line_point p;
    p.t = t;
    p.f = f;
    p.slope = slope;
    return p;
}

/* A line on which F is `f` at its start, and falls with slope 1. */
static af__line open_line(problem *p, double f) {
    af__line line = AF__ZERO;
    line.l = &p->l;
    line.start = line.low = point(0.0, f, -1.0);
    return line;
}

static int judged(const af__line *line, double t, double f, double slope) {
    af__line_point p = point(t, f, slope);
    return (int)af__line_judge(line, &p);
}

TEST(lbfgs_judges) {
    problem p = open_problem(quadratic, 1, 1);
    af__line line = open_line(&p, 2.0);
    CHECK(judged(&line, 1.0, 2.0 - 1.01e-4, 0.5) == AF__GOOD);
    CHECK(judged(&line, 1.0, 2.0 - 0.99e-4, 0.5) == AF__AS_HIGH); /* too little */
    CHECK(judged(&line, 10.0, 2.0 - 1.01e-4, 0.5) == AF__AS_HIGH);
    CHECK(judged(&line, 1.0, 1.5, 0.91) == AF__AS_LOW); /* low enough, too steep */
    CHECK(judged(&line, 1.0, 1.5, -0.91) == AF__AS_LOW);
    CHECK(judged(&line, 1.0, 1.5, -0.89) == AF__GOOD);
    CHECK(judged(&line, 1.0, HUGE_VAL, 0.0) == AF__AS_HIGH);
    CHECK(judged(&line, 1e-10, 2.0 + 1e-15, 0.5) == AF__GOOD); /* flat: the slope decides */
    CHECK(judged(&line, 1e-10, 2.0 + 1e-15, 0.95) == AF__AS_LOW);
    CHECK(judged(&line, 1e-10, 2.0 + 5e-15, 0.5) == AF__AS_HIGH);
    line.low = point(0.5, 1.4, -0.95);
    CHECK(judged(&line, 1.0, 1.5, 0.5) == AF__AS_HIGH); /* higher than a lower point before */
    CHECK(judged(&line, 1.0, 2.0, 0.5) == AF__AS_HIGH); /* not flat: there was better */
    CHECK(judged(&line, 1.0, 1.3, 0.5) == AF__GOOD);
    close_problem(&p);
}

/* The lowest point of (t - 2)^2 (t + 1), which is at 2, from either side and in either order. */
TEST(lbfgs_cubic) {
    static const double from[] = {0.5, 3.0, 1.5, 2.5}, to[] = {3.0, 0.5, 1.0, 6.0};
    problem p = open_problem(quadratic, 1, 1);
    af__line line = open_line(&p, 4.0);
    size_t i;
    for (i = 0; i < AF__COUNT(from); i++) {
        double t = from[i], u = to[i];
        af__line_point a = point(t, (t - 2.0) * (t - 2.0) * (t + 1.0), 3.0 * t * (t - 2.0));
        af__line_point b = point(u, (u - 2.0) * (u - 2.0) * (u + 1.0), 3.0 * u * (u - 2.0));
        CHECK_CLOSE(af__line_cubic(&line, &a, &b), 2.0, 1e-14);
        a.f = b.f = 4.0; /* the values say nothing: where the slope between them is zero */
        CHECK_CLOSE(af__line_cubic(&line, &a, &b),
                    t - a.slope * (u - t) / (b.slope - a.slope), 1e-14);
        line.low = point(t, 4.0, a.slope);
        line.high = point(u, HUGE_VAL, 0.0);
        CHECK_CLOSE(af__line_between(&line), t + 0.2 * (u - t), 1e-14);
        line.high = point(u, 4.0, a.slope); /* no zero between */
        CHECK_CLOSE(af__line_between(&line), 0.5 * (t + u), 1e-14);
        line.high = point(u, 4.0, -1e6 * a.slope);
        CHECK_CLOSE(af__line_between(&line), t + 0.1 * (u - t), 1e-14);
    }
    close_problem(&p);
}

/* With searches that are nearly exact n steps suffice (chapter 6.4). */
TEST(lbfgs_quadratic) {
    size_t n;
    for (n = 1; n <= 20; n++) {
        problem p = open_problem(quadratic, n, n);
        p.condition = 30.0;
        p.l.curvature = 1e-6;
        descend(&p, 1e-8, n + 3);
        close_problem(&p);
    }
}

TEST(lbfgs_rosenbrock) {
    static const size_t size[] = {2, 50};
    size_t k, i;
    for (k = 0; k < AF__COUNT(size); k++) {
        problem p = open_problem(rosenbrock, size[k], 20);
        for (i = 0; i < p.n; i++) p.x[i] = i % 2 ? 1.0 : -1.2;
        descend(&p, 1e-10, 400);
        for (i = 0; i < p.n && k == 0; i++) CHECK_CLOSE(p.x[i], 1.0, 1e-9);
        CHECK(p.evaluations <= 2 * p.steps);
        close_problem(&p);
    }
}

TEST(lbfgs_scales) {
    size_t i;
    problem p = open_problem(quadratic, 30, 60); /* with 20 pairs it takes some 10000 steps */
    p.condition = 1e8;
    descend(&p, 1e-6, 1000);
    for (i = 0; i < p.n; i++) CHECK_CLOSE(p.x[i], 1.0, 2e-6);
    close_problem(&p);
}

/* Any units of x and of F: first steps of 1 / |g| are far off. */
TEST(lbfgs_units) {
    static const double unit[] = {1e-9, 1e-3, 1e9};
    size_t k, i;
    for (k = 0; k < AF__COUNT(unit); k++) {
        problem p = open_problem(quadratic, 2, 5);
        p.condition = unit[k];
        for (i = 0; i < 2; i++) p.x[i] = 1.0 + 1e3 * normal(90, i);
        descend(&p, 1e-6 * (unit[k] < 1.0 ? unit[k] : 1.0), 200);
        close_problem(&p);
    }
}

/* Along the slope c the lowest point is at c (1 - r^2) = 2 x for all coordinates x, r^2 = n x^2. */
TEST(lbfgs_wall) {
    double kind, x;
    size_t n = 5, i;
    for (kind = -1.0; kind <= 1.0; kind += 1.0) {
        problem p = open_problem(walled, n, 10);
        p.condition = 40.0;
        p.offset = kind;
        p.x[0] = 0.3;
        x = (sqrt(1.0 + 1600.0 * (double)n) - 1.0) / (40.0 * (double)n);
        descend(&p, 1e-9, 60);
        for (i = 0; i < n; i++) CHECK_CLOSE(p.x[i], x, 1e-11);
        close_problem(&p);
    }
}

/* F that hides its own fall: of 1e6 and more 1e-15 |F| is 1e-9, half of x^2 at x = 4e-5. */
TEST(lbfgs_flat) {
    problem p = open_problem(quadratic, 10, 20);
    p.condition = 100.0;
    p.offset = 1e6;
    descend(&p, 1e-11, 200);
    CHECK(p.steps < 60);
    close_problem(&p);
}

/* It ends by itself, and stays where it is. */
TEST(lbfgs_converged) {
    double (*const f[])(const problem *, const double *, double *) = {quadratic, rosenbrock};
    size_t k, i, calls;
    for (k = 0; k < 6; k++) {
        problem p = open_problem(f[k % 2], 10, 5);
        p.condition = 1e3;
        p.offset = k < 2 ? 0.0 : k < 4 ? 1.0 : -1e4;
        for (i = 0; i < p.n; i++) p.x[i] = normal(80 + k, i);
        do CHECK(step(&p) == AF_OK);
        while (p.moved && p.steps < 1000);
        CHECK(!p.moved);
        CHECK(norm(&p) < 1e-8);
        CHECK(p.evaluations < p.steps + p.steps / 2 + 20);
        calls = p.calls;
        CHECK(step(&p) == AF_OK && !p.moved);
        CHECK(p.calls < calls + 100);
        close_problem(&p);
    }
}

TEST(lbfgs_at_the_bottom) {
    problem p = open_problem(quadratic, 3, 5);
    size_t i;
    for (i = 0; i < 3; i++) p.x[i] = 1.0;
    CHECK(step(&p) == AF_OK && !p.moved && p.known);
    CHECK(p.evaluations == 1);
    CHECK(step(&p) == AF_OK && !p.moved);
    CHECK(p.evaluations == 1);
    close_problem(&p);
}

/* No bottom: the lowest point found is taken. */
TEST(lbfgs_bottomless) {
    problem p = open_problem(linear, 2, 5);
    CHECK(step(&p) == AF_OK && p.moved);
    CHECK(p.value < -1e5 && p.l.pairs == 0);
    close_problem(&p);
}

/* Where no point is good the lowest is taken, until none is lower. */
TEST(lbfgs_kink) {
    problem p = open_problem(kinked, 1, 5);
    double last = 1.0;
    do {
        CHECK(step(&p) == AF_OK);
        CHECK(!p.moved || p.value < last);
        last = p.value;
    } while (p.moved && p.steps < 100);
    CHECK(p.value < 1e-12 && !p.moved);
    close_problem(&p);
}

TEST(lbfgs_cliff) {
    size_t k;
    for (k = 0; k < 20; k++) {
        problem p = open_problem(cliff, 1, 5);
        p.offset = 0.5 + 0.02 * (double)k;
        CHECK(step(&p) == AF_OK && p.moved);
        CHECK(p.x[0] < p.offset && p.x[0] > 0.999 * p.offset);
        CHECK(p.l.pairs == 0); /* no change of the gradient */
        close_problem(&p);
    }
}

/* A gradient of rounding errors does not keep it going. */
TEST(lbfgs_noise) {
    problem p = open_problem(noise, 10, 5);
    do CHECK(step(&p) == AF_OK);
    while (p.moved && p.steps < 1000);
    CHECK(!p.moved && p.steps < 300);
    close_problem(&p);
}

/* After a restart the first trial is one unit down the gradient. */
TEST(lbfgs_restart) {
    problem p = open_problem(rosenbrock, 4, 5);
    double before[MOST], g[MOST], length;
    size_t i;
    for (i = 0; i < 10; i++) CHECK(step(&p) == AF_OK && p.moved);
    CHECK(p.l.pairs == 5);
    af__lbfgs_restart(&p.l);
    memcpy(before, p.x, sizeof before);
    memcpy(g, p.g, sizeof g);
    length = norm(&p);
    p.calls = 0;
    CHECK(step(&p) == AF_OK && p.moved);
    CHECK(p.l.pairs == 1);
    for (i = 0; i < p.n; i++) CHECK_CLOSE(p.first[i], before[i] - g[i] / length, 1e-14);
    p.calls = p.evaluations = 0; /* and other data are another function */
    p.condition = 50.0;
    p.f = quadratic;
    p.known = 0;
    af__lbfgs_restart(&p.l);
    descend(&p, 1e-9, 200);
    close_problem(&p);
}

/* Pairs that point uphill, or nowhere, are forgotten. */
TEST(lbfgs_misled) {
    int kind;
    for (kind = 0; kind < 3; kind++) {
        problem p = open_problem(quadratic, 3, 4);
        p.condition = 4.0;
        CHECK(step(&p) == AF_OK && p.moved && step(&p) == AF_OK && p.moved);
        CHECK(p.l.pairs == 2);
        p.l.gamma = kind == 0 ? -1e3 * p.l.gamma : kind == 1 ? p.l.gamma : NAN;
        if (kind == 1) p.l.over[0] = p.l.over[1] = NAN;
        CHECK(step(&p) == AF_OK && p.moved);
        CHECK(p.l.pairs == 1 && p.broken == 0);
        descend(&p, 1e-9, 40);
        close_problem(&p);
    }
}

/* What the objective says is passed on, and nothing has changed; then it goes on. */
TEST(lbfgs_objective_fails) {
    size_t k;
    for (k = 1; k < 12; k++) {
        problem p = open_problem(rosenbrock, 3, 4);
        af_status status = AF_OK;
        p.fail = AF_ERROR_BACKEND;
        p.fail_at = k;
        while (status == AF_OK && p.calls < 40) status = step(&p);
        CHECK(status == AF_ERROR_BACKEND && p.calls == k && p.evaluations == k);
        CHECK(!p.moved && p.known == (k > 1));
        p.fail_at = 0;
        descend(&p, 1e-9, 200);
        close_problem(&p);
    }
}

TEST(lbfgs_not_finite) {
    double kind;
    for (kind = -1.0; kind <= 1.0; kind += 1.0) {
        problem p = open_problem(walled, 2, 4);
        p.offset = kind;
        p.x[0] = 2.0;
        CHECK(step(&p) == AF_ERROR_NONFINITE && !p.moved);
        CHECK(step(&p) == AF_ERROR_NONFINITE && !p.moved);
        close_problem(&p);
    }
}

/* No pairs at all: steepest descent. */
TEST(lbfgs_no_memory) {
    problem p = open_problem(quadratic, 3, 0);
    p.condition = 3.0;
    descend(&p, 1e-8, 300);
    CHECK(p.l.pairs == 0);
    close_problem(&p);
}

TEST(lbfgs_out_of_memory) {
    long k;
    for (k = 1;; k++) {
        heap memory;
        af__arena arena = AF__ZERO;
        af__lbfgs l;
        int good;
        memset(&memory, 0, sizeof memory);
        memory.fail_at = k;
        arena.allocator = heap_allocator(&memory);
        good = af__lbfgs_create(&arena, 5000, 20, &l);
        CHECK(good == (memory.calls < k));
        af__arena_free(&arena);
        CHECK(memory.live == 0);
        if (good) break;
    }
    CHECK(k > 3);
    {
        af__arena arena = AF__ZERO;
        af__lbfgs l;
        arena.allocator.allocate = af__default_allocate;
        arena.allocator.release = af__default_release;
        CHECK(af__lbfgs_create(&arena, SIZE_MAX / 4, 20, &l) == 0);
        af__arena_free(&arena);
    }
}

int main(void) {
    RUN(cholesky_systems);
    RUN(cholesky_nothing);
    RUN(cholesky_call);
    RUN(cholesky_threads);
    RUN(cholesky_scales);
    RUN(cholesky_hilbert);
    RUN(cholesky_indefinite);
    RUN(cholesky_singular);
    RUN(cholesky_not_finite);
    RUN(lbfgs_direction);
    RUN(lbfgs_judges);
    RUN(lbfgs_cubic);
    RUN(lbfgs_quadratic);
    RUN(lbfgs_rosenbrock);
    RUN(lbfgs_scales);
    RUN(lbfgs_units);
    RUN(lbfgs_wall);
    RUN(lbfgs_flat);
    RUN(lbfgs_converged);
    RUN(lbfgs_at_the_bottom);
    RUN(lbfgs_bottomless);
    RUN(lbfgs_kink);
    RUN(lbfgs_cliff);
    RUN(lbfgs_noise);
    RUN(lbfgs_restart);
    RUN(lbfgs_misled);
    RUN(lbfgs_objective_fails);
    RUN(lbfgs_not_finite);
    RUN(lbfgs_no_memory);
    RUN(lbfgs_out_of_memory);
    return test_report();
}
