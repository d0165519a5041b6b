/* ---- mock samples with known potentials ------------------------------------------------------ */

#include <stdlib.h>

#ifdef __SSE2__
#  include <emmintrin.h>
#endif

/* Streams of random numbers: a number is a function of (seed, stream, star). */
enum {
    DP__DRAW_RADIUS = 1,
    DP__DRAW_HEIGHT,
    DP__DRAW_AZIMUTH,
    DP__DRAW_TIME,
    DP__DRAW_VELOCITY = 8, /* three */
    DP__DRAW_REST = 16,    /* five */
    DP__DRAW_NOISE = 24    /* four */
};

static int dp__is_positive(double x) { return x > 0.0 && x <= DBL_MAX; }

static void dp__default(double *value, double usual) {
    if (*value == 0.0) *value = usual;
}

/* Checks that all numbers (count), whose names these are, are positive. */
static af_status dp__positive(af_context *c, const char *what, size_t count,
                              const char *const *names, const double *values) {
    size_t k;
    for (k = 0; k < count; k++)
        if (!dp__is_positive(values[k]))
            return af_fail(c, AF_ERROR_ARGUMENT, "%s: %s must be a positive number, not %g", what,
                           names[k], values[k]);
    return AF_OK;
}

/* ---- Plummer's sphere ---- */

enum { DP__CHUNK = 256 }; /* stars that one thread takes at a time */

typedef struct dp__plummer {
    double gm, b;
    double share; /* of the mass that is inside r_max */
    size_t n;
    uint64_t seed;
    double *eta;
} dp__plummer;

static af_status dp__plummer_make(af_context *c, double mass, double b, double r_max,
                                  dp__plummer *p) {
    static const char *const names[2] = {"mass", "b"};
    double values[2];
    values[0] = mass;
    values[1] = b;
    if (dp__positive(c, "Plummer's sphere", 2, names, values) != AF_OK) return AF_ERROR_ARGUMENT;
    if (!(r_max > 0.0))
        return af_fail(c, AF_ERROR_ARGUMENT, "Plummer's sphere: r_max must be positive, not %g",
                       r_max);
    p->gm = AF_GRAVITY * mass;
    p->b = b;
    p->share = pow(1.0 + (b / r_max) * (b / r_max), -1.5);
    return AF_OK;
}

/* The mass inside r is (1 + (b/r)^2)^(-3/2) of the whole. Where f ~ (psi - v^2/2)^(7/2), v in units
 * of the speed of escape has the density (1 - |v|^2)^(7/2), which is that of the first three
 * coordinates of a random point on the unit sphere in 12 dimensions: the exponent is
 * (12 - 3 - 2)/2. Of the other nine normal numbers only the sum of squares is needed. */
static void dp__plummer_star(const dp__plummer *p, uint64_t i, double *eta) {
    double mass = p->share * af_random_uniform(p->seed, DP__DRAW_RADIUS, i);
    double r = p->b / sqrt(pow(mass, -2.0 / 3.0) - 1.0);
    double cosine = 2.0 * af_random_uniform(p->seed, DP__DRAW_HEIGHT, i) - 1.0;
    double sine = sqrt(1.0 - cosine * cosine);
    double phi = 2.0 * DP__PI * af_random_uniform(p->seed, DP__DRAW_AZIMUTH, i);
    double escape = sqrt(2.0 * p->gm / hypot(r, p->b));
    double product = 1.0, square = af_random_normal(p->seed, DP__DRAW_REST, i);
    uint64_t k;
    square *= square;
    for (k = 1; k < 5; k++) product *= af_random_uniform(p->seed, DP__DRAW_REST + k, i);
    square -= 2.0 * log(product); /* eight squares */
    for (k = 0; k < 3; k++) {
        eta[3 + k] = af_random_normal(p->seed, DP__DRAW_VELOCITY + k, i);
        square += eta[3 + k] * eta[3 + k];
    }
    for (k = 0; k < 3; k++) eta[3 + k] *= escape / sqrt(square);
    eta[0] = r * sine * cos(phi);
    eta[1] = r * sine * sin(phi);
    eta[2] = r * cosine;
}

static void dp__plummer_chunk(size_t chunk, void *user) {
    const dp__plummer *p = (const dp__plummer *)user;
    size_t i, first = chunk * DP__CHUNK;
    for (i = first; i < p->n && i < first + DP__CHUNK; i++)
        dp__plummer_star(p, (uint64_t)i, p->eta + 6 * i);
}

AF_API af_status dp_mock_plummer(af_context *c, double mass, double b, double r_max, size_t n,
                                 uint64_t seed, double *eta) {
    dp__plummer p = DP__ZERO;
    if (dp__plummer_make(c, mass, b, r_max, &p) != AF_OK) return AF_ERROR_ARGUMENT;
    p.n = n;
    p.seed = seed;
    p.eta = eta;
    af_parallel(c, (n + DP__CHUNK - 1) / DP__CHUNK, dp__plummer_chunk, &p);
    return AF_OK;
}

/* f = 24 sqrt(2) b^2 (psi - v^2/2)^(7/2) / (7 pi^3 (GM)^5) for a whole sphere of unit mass: Binney
 * & Tremaine (2008), eq. 4.83 with their rho = F psi^5. */
AF_API af_status dp_mock_plummer_gradient(af_context *c, double mass, double b, double r_max,
                                          size_t n, const double *eta, double *ln_f,
                                          double *gradient) {
    dp__plummer p = DP__ZERO;
    double constant;
    size_t i, k;
    if (dp__plummer_make(c, mass, b, r_max, &p) != AF_OK) return AF_ERROR_ARGUMENT;
    constant = log(24.0 * sqrt(2.0) / (7.0 * DP__PI * DP__PI * DP__PI)) + 2.0 * log(b) -
               5.0 * log(p.gm) - log(p.share);
    for (i = 0; i < n; i++) {
        const double *x = eta + 6 * i, *v = x + 3;
        double s = hypot(hypot(b, x[0]), hypot(x[1], x[2])), pull = p.gm / (s * s * s);
        double energy = p.gm / s - 0.5 * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        if (!(energy > 0.0)) energy = NAN;
        if (ln_f) ln_f[i] = constant + 3.5 * log(energy);
        for (k = 0; k < 3 && gradient; k++) {
            gradient[6 * i + k] = -3.5 * pull * x[k] / energy;
            gradient[6 * i + 3 + k] = -3.5 * v[k] / energy;
        }
    }
    return AF_OK;
}

/* ---- following many stars ----
 *
 * Lanes of stars advance together, each with a step of its own, in axes that may turn about z: v is
 * the velocity against axes that do not, along the ones that do. */

enum { DP__LANE_STARS = 16, DP__STAGES = 6 };

typedef struct dp__lanes {
    double x[3][DP__LANE_STARS], v[3][DP__LANE_STARS], a[3][DP__LANE_STARS];
    double step[DP__LANE_STARS]; /* 0: stands still */
    double cosine[3][DP__LANE_STARS], sine[3][DP__LANE_STARS]; /* of the axes' turn in a drift */
    double root[DP__LANE_STARS], square[DP__LANE_STARS];
} dp__lanes;

/* Blanes & Moan (2002, J. Comput. Appl. Math. 142, 313), SRKN 6b, of order 4: kicks b1 b2 b3 b4 b3
 * b2 b1 around drifts a1 a2 a3 a3 a2 a1, each with the sum 1. Its small errors make it cheaper than
 * Yoshida's (1990) order 6, which the paper used, where energies need four to six digits. */
static const double dp__kicks[3] = {0.0829844064174052, 0.396309801498368, -0.0390563049223486};
static const double dp__drifts[2] = {0.245298957184271, 0.604872665711080};

/* Those of a stage, counted 0, 1, 2, 3, 2, 1, 0 and 0, 1, 2, 2, 1, 0. */
static double dp__kick_length(int stage) {
    int k = stage < 4 ? stage : DP__STAGES - stage;
    return k < 3 ? dp__kicks[k] : 1.0 - 2.0 * (dp__kicks[0] + dp__kicks[1] + dp__kicks[2]);
}

static double dp__drift_length(int k) {
    return k < 2 ? dp__drifts[k] : 0.5 - dp__drifts[0] - dp__drifts[1];
}

typedef struct dp__mock dp__mock;

/* A star that begins. */
typedef struct dp__start {
    double xv[6];
    double time;  /* to follow it [kpc/(km/s)] */
    double steps; /* for that, at least; 0: it is left out */
    size_t at;    /* its place in the chunk */
} dp__start;

/* A test system. */
struct dp__mock {
    uint64_t seed;
    double omega; /* of its axes */
    double times;
    void (*begin)(const dp__mock *m, uint64_t i, dp__start *star);
    void (*force)(const dp__mock *m, dp__lanes *s);
    double gm, a, b, h_r, h_z;               /* disc */
    double v2, core, p, q, extent, r_saddle; /* bar */
    double saddle;                           /* bar: the highest Jacobi energy */
};

/* Roots of all lanes. sqrt may set errno, which keeps compilers from taking two at a time. */
static void dp__roots(double *x) {
    int i;
#ifdef __SSE2__
    for (i = 0; i < DP__LANE_STARS; i += 2)
        _mm_storeu_pd(x + i, _mm_sqrt_pd(_mm_loadu_pd(x + i)));
#else
    for (i = 0; i < DP__LANE_STARS; i++) x[i] = sqrt(x[i]);
#endif
}

/* `steps` in a period of the fast oscillation of frequency nu, more of them for stars so fast, of
 * square speed v2, that they cross the layer of thickness `height` where it is harmonic in the
 * shorter time height/v. */
static void dp__start_steps(dp__start *star, double steps, double nu, double height, double v2) {
    double crossing = v2 / (nu * nu * height * height);
    star->steps = ceil(steps * star->time * nu / (2.0 * DP__PI) * sqrt(1.0 + crossing));
}

/* Lane i advances by `step` from now on. */
static void dp__lane_step(dp__lanes *s, int i, double step, double omega) {
    int k;
    s->step[i] = step;
    for (k = 0; k < 3; k++) {
        s->cosine[k][i] = cos(omega * step * dp__drift_length(k));
        s->sine[k][i] = sin(omega * step * dp__drift_length(k));
    }
}

/* A kick and the drift that follows it. */
static void dp__lanes_advance(dp__lanes *s, double kick, double drift) {
    int i, k;
    for (k = 0; k < 3; k++)
        for (i = 0; i < DP__LANE_STARS; i++) {
            s->v[k][i] += kick * s->step[i] * s->a[k][i];
            s->x[k][i] += drift * s->step[i] * s->v[k][i];
        }
}

/* The axes turn on, so what is seen from them turns back. */
static void dp__lanes_turn(dp__lanes *s, int k) {
    int i;
    for (i = 0; i < DP__LANE_STARS; i++) {
        double cosine = s->cosine[k][i], sine = s->sine[k][i];
        double x = s->x[0][i], y = s->x[1][i], vx = s->v[0][i], vy = s->v[1][i];
        s->x[0][i] = cosine * x + sine * y;
        s->x[1][i] = cosine * y - sine * x;
        s->v[0][i] = cosine * vx + sine * vy;
        s->v[1][i] = cosine * vy - sine * vx;
    }
}

/* One step of all lanes; s->a is the acceleration where they are, before and after. A drift with
 * the turn of the axes is the exact flow of v^2/2 - omega L_z, so the whole is symplectic for
 * Jacobi's energy. */
static void dp__lanes_step(const dp__mock *m, dp__lanes *s) {
    int stage;
    for (stage = 0; stage < DP__STAGES; stage++) {
        int k = stage < 3 ? stage : DP__STAGES - 1 - stage;
        dp__lanes_advance(s, dp__kick_length(stage), dp__drift_length(k));
        if (m->omega != 0.0) dp__lanes_turn(s, k);
        m->force(m, s);
    }
    dp__lanes_advance(s, dp__kick_length(DP__STAGES), 0.0);
}

/* Follows up to DP__LANE_STARS stars, in the order of their steps, each for its time. A star that
 * has arrived stands still, so what becomes of it does not depend on the others; empty lanes repeat
 * the first. */
static void dp__lanes_follow(const dp__mock *m, dp__start *stars, int count) {
    dp__lanes s = DP__ZERO;
    double done = 0.0;
    int i, k, arrived = 0;
    for (i = 0; i < DP__LANE_STARS; i++) {
        const dp__start *star = stars + (i < count ? i : 0);
        for (k = 0; k < 3; k++) {
            s.x[k][i] = star->xv[k];
            s.v[k][i] = star->xv[3 + k];
        }
        dp__lane_step(&s, i, i < count ? star->time / star->steps : 0.0, m->omega);
    }
    m->force(m, &s);
    while (arrived < count) {
        for (; done < stars[arrived].steps; done++) dp__lanes_step(m, &s);
        dp__lane_step(&s, arrived++, 0.0, m->omega);
    }
    for (i = 0; i < count; i++)
        for (k = 0; k < 3; k++) {
            stars[i].xv[k] = s.x[k][i];
            stars[i].xv[3 + k] = s.v[k][i];
        }
}

static int dp__start_order(const void *a, const void *b) {
    const dp__start *s = (const dp__start *)a, *t = (const dp__start *)b;
    if (s->steps != t->steps) return s->steps < t->steps ? -1 : 1;
    return s->at < t->at ? -1 : s->at > t->at;
}

/* ---- drawing until there are enough ---- */

typedef struct dp__round {
    const dp__mock *m;
    size_t first, count; /* stars begun in this round */
    double *eta;         /* (count,6); a star that is left out has NaN */
} dp__round;

static void dp__round_chunk(size_t chunk, void *user) {
    const dp__round *r = (const dp__round *)user;
    dp__start stars[DP__CHUNK];
    size_t i, n = r->count - chunk * DP__CHUNK, kept = 0;
    double *eta = r->eta + 6 * chunk * DP__CHUNK;
    if (n > DP__CHUNK) n = DP__CHUNK;
    for (i = 0; i < n; i++) {
        r->m->begin(r->m, (uint64_t)(r->first + chunk * DP__CHUNK + i), stars + kept);
        stars[kept].at = i;
        eta[6 * i] = NAN;
        if (stars[kept].steps > 0.0) kept++;
    }
    qsort(stars, kept, sizeof *stars, dp__start_order);
    for (i = 0; i < kept; i += DP__LANE_STARS) {
        size_t left = kept - i, most = DP__LANE_STARS;
        dp__lanes_follow(r->m, stars + i, (int)(left < most ? left : most));
    }
    for (i = 0; i < kept; i++) memcpy(eta + 6 * stars[i].at, stars[i].xv, sizeof stars[i].xv);
}

/* Appends the round's stars that are inside to the `have` of n there are. */
static size_t dp__round_take(const dp__round *r, const dp_volume *volume, size_t n, size_t have,
                             double *eta) {
    size_t i;
    for (i = 0; i < r->count && have < n; i++) {
        const double *star = r->eta + 6 * i;
        if (star[0] != star[0] || !dp_volume_holds(volume, star)) continue;
        memcpy(eta + 6 * have++, star, 6 * sizeof *star);
    }
    return have;
}

/* Stars of a round: so many show whether any are inside, and no more are kept in memory. */
enum { DP__ROUND_FEWEST = 1024, DP__ROUND_MOST = 65536 };

/* The first n stars that are inside. */
static af_status dp__draw(af_context *c, const dp__mock *m, const dp_volume *volume, size_t n,
                          double *eta) {
    dp__arena scratch = dp__arena_open(c);
    dp__round r = DP__ZERO;
    size_t have = 0, wanted = n < DP__ROUND_FEWEST ? n : (size_t)DP__ROUND_FEWEST;
    r.m = m;
    r.eta = DP__ARRAY(&scratch, double, 6 * (size_t)DP__ROUND_MOST);
    if (!r.eta) return dp__fail_memory(c, "a mock sample");
    while (have < n) {
        r.count = wanted;
        af_parallel(c, (r.count + DP__CHUNK - 1) / DP__CHUNK, dp__round_chunk, &r);
        have = dp__round_take(&r, volume, n, have, eta);
        r.first += r.count;
        if (have == 0 && r.first >= DP__ROUND_FEWEST) break;
        wanted = have ? (size_t)((double)(n - have) * (double)r.first / (double)have) + 1
                      : (size_t)DP__ROUND_FEWEST;
        if (wanted > DP__ROUND_MOST) wanted = DP__ROUND_MOST;
    }
    dp__arena_free(&scratch);
    if (have == n) return AF_OK;
    return af_fail(c, AF_ERROR_ARGUMENT,
                   "none of the first %zu mock stars is inside the volume; place it where there "
                   "are stars",
                   r.first);
}

/* ---- a disc ---- */

/* Miyamoto & Nagai: B = sqrt(z^2 + b^2), D^2 = R^2 + (a + B)^2, acceleration -GM/D^3 (x, y,
 * z (a + B)/B). One division for both quotients: roots and divisions are most of the time. */
static void dp__disc_force(const dp__mock *m, dp__lanes *s) {
    const double a = m->a, b2 = m->b * m->b, gm = m->gm;
    int i;
    for (i = 0; i < DP__LANE_STARS; i++) s->root[i] = s->x[2][i] * s->x[2][i] + b2;
    dp__roots(s->root);
    for (i = 0; i < DP__LANE_STARS; i++) {
        double h = a + s->root[i];
        s->square[i] = s->x[0][i] * s->x[0][i] + s->x[1][i] * s->x[1][i] + h * h;
        s->a[0][i] = s->square[i];
    }
    dp__roots(s->a[0]);
    for (i = 0; i < DP__LANE_STARS; i++) {
        double root = s->root[i], w = -gm / (s->a[0][i] * s->square[i] * root);
        s->a[0][i] = w * root * s->x[0][i];
        s->a[1][i] = w * root * s->x[1][i];
        s->a[2][i] = w * (a + root) * s->x[2][i];
    }
}

/* The circular orbit of angular momentum L: L^2 (R^2 + s^2)^(3/2) = GM R^4, s = a + b. Newton in
 * ln R, of which the logarithm of L is a concave function with a slope between 1/2 and 2: after one
 * step at most, it rises to the root. */
static double dp__disc_guide(const dp__mock *m, double start, double l) {
    double s2 = (m->a + m->b) * (m->a + m->b), r2 = start * start, off = 1.0;
    int k;
    for (k = 0; k < 50 && fabs(off) > 1e-9; k++) {
        off = log(r2) - 0.75 * log(r2 + s2) - log(fabs(l) / sqrt(m->gm));
        off /= 2.0 - 1.5 * r2 / (r2 + s2);
        r2 *= exp(-2.0 * off);
    }
    return sqrt(r2);
}

/* Eqs. 19 to 22. The frequencies of small excursions are Omega, kappa <= 2 Omega and, if the disc
 * is thin, the largest: nu = Omega sqrt(s/b). Six steps in the shortest period leave errors of the
 * energy below 5e-6 for half of the stars and 5e-4 for the worst of some hundred (its test). */
static void dp__disc_begin(const dp__mock *m, uint64_t i, dp__start *star) {
    double s = m->a + m->b, d[3], r, z, circular, guide, root, omega, nu, phi, cosine, sine, v2;
    uint64_t k;
    for (k = 0; k < 3; k++) d[k] = af_random_normal(m->seed, DP__DRAW_VELOCITY + k, i);
    r = -m->h_r * log(af_random_uniform(m->seed, DP__DRAW_RADIUS, i) *
                      af_random_uniform(m->seed, DP__DRAW_REST, i));
    z = 2.0 * af_random_uniform(m->seed, DP__DRAW_HEIGHT, i) - 1.0;
    z = (z < 0.0 ? m->h_z : -m->h_z) * log(fabs(z));
    circular = r * sqrt(m->gm) * pow(r * r + s * s, -0.75);
    d[0] *= 0.05 * circular;
    d[1] = circular * (1.0 - 0.1 * fabs(d[1]));
    d[2] *= 0.05 * circular;
    guide = dp__disc_guide(m, r, r * d[1]);
    omega = sqrt(m->gm) * pow(guide * guide + s * s, -0.75);
    nu = omega * (s > 4.0 * m->b ? sqrt(s / m->b) : 2.0);
    root = m->a + hypot(z, m->b);
    v2 = d[2] * d[2] + 2.0 * m->gm * (1.0 / hypot(r, s) - 1.0 / hypot(r, root));
    star->time = m->times * 2.0 * DP__PI / omega;
    dp__start_steps(star, 6.0, nu, m->b, v2);
    phi = 2.0 * DP__PI * af_random_uniform(m->seed, DP__DRAW_AZIMUTH, i);
    cosine = cos(phi);
    sine = sin(phi);
    star->xv[0] = r * cosine;
    star->xv[1] = r * sine;
    star->xv[2] = z;
    star->xv[3] = d[0] * cosine - d[1] * sine;
    star->xv[4] = d[0] * sine + d[1] * cosine;
    star->xv[5] = d[2];
}

AF_API af_status dp_mock_disc(af_context *c, const dp_mock_disc_desc *desc, size_t n,
                              uint64_t seed, double *eta) {
    static const char *const names[6] = {"mass", "a", "b", "h_r", "h_z", "times"};
    dp_mock_disc_desc d = DP__ZERO;
    dp__mock m = DP__ZERO;
    double values[6];
    af_status s;
    if (desc) d = *desc;
    if (d.start_canary != 0 || d.end_canary != 0)
        return af_fail(c, AF_ERROR_ARGUMENT, "dp_mock_disc_desc was not set to zero first");
    dp__default(&d.mass, 1.0 / AF_GRAVITY);
    dp__default(&d.a, 1.0);
    dp__default(&d.b, 0.1);
    dp__default(&d.h_r, 1.0);
    dp__default(&d.h_z, 0.1);
    dp__default(&d.times, 128.0);
    values[0] = d.mass;
    values[1] = m.a = d.a;
    values[2] = m.b = d.b;
    values[3] = m.h_r = d.h_r;
    values[4] = m.h_z = d.h_z;
    values[5] = m.times = d.times;
    s = dp__positive(c, "mock disc", 6, names, values);
    if (s == AF_OK) s = dp__volume_check(c, &d.volume);
    if (s != AF_OK) return s;
    m.gm = AF_GRAVITY * d.mass;
    m.seed = seed;
    m.begin = dp__disc_begin;
    m.force = dp__disc_force;
    return dp__draw(c, &m, &d.volume, n, eta);
}

/* ---- a bar ---- */

/* Phi = v^2/2 ln m^2, m^2 = core^2 + x^2 + (y/p)^2 + (z/q)^2. */
static void dp__bar_force(const dp__mock *m, dp__lanes *s) {
    const double core2 = m->core * m->core, v2 = m->v2;
    const double y_over = 1.0 / (m->p * m->p), z_over = 1.0 / (m->q * m->q);
    int i;
    for (i = 0; i < DP__LANE_STARS; i++) {
        double x = s->x[0][i], y = y_over * s->x[1][i], z = z_over * s->x[2][i];
        double pull = -v2 / (core2 + x * x + y * s->x[1][i] + z * s->x[2][i]);
        s->a[0][i] = pull * x;
        s->a[1][i] = pull * y;
        s->a[2][i] = pull * z;
    }
}

/* A quarter of the circular speed's square in the rotation and three in the dispersion: together
 * what the virial theorem wants on average. What begins beyond the saddle points' radius, or with
 * more than their Jacobi energy, is left out. The shortest period is that of small vertical
 * oscillations in the core; eight steps in it leave errors of Jacobi's energy below 5e-6 speed^2
 * for half of the stars and 2e-4 for the worst of some hundred (its test). */
static void dp__bar_begin(const dp__mock *m, uint64_t i, dp__start *star) {
    double *x = star->xv, *v = x + 3, axis[3], r, m2, circular, energy, reach;
    uint64_t k;
    axis[0] = 1.0;
    axis[1] = m->p;
    axis[2] = m->q;
    m2 = m->core * m->core;
    for (k = 0; k < 3; k++) {
        double u = m->extent * af_random_normal(m->seed, DP__DRAW_REST + k, i);
        x[k] = axis[k] * u;
        m2 += u * u;
    }
    circular = sqrt(m->v2 * (1.0 - m->core * m->core / m2));
    for (k = 0; k < 3; k++)
        v[k] = 0.5 * circular * af_random_normal(m->seed, DP__DRAW_VELOCITY + k, i);
    r = hypot(x[0], x[1]);
    v[0] -= 0.5 * circular * x[1] / r;
    v[1] += 0.5 * circular * x[0] / r;
    energy = 0.5 * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + m->v2 * log(m2));
    reach = exp(energy / m->v2);
    star->time = m->times * (1.0 + af_random_uniform(m->seed, DP__DRAW_TIME, i)) * 2.0 * DP__PI *
                 reach / sqrt(m->v2);
    dp__start_steps(star, 8.0, sqrt(m->v2) / (m->q * m->core), m->q * m->core,
                    2.0 * m->v2 * log(reach / m->core));
    if (r >= m->r_saddle || energy - m->omega * (x[0] * v[1] - x[1] * v[0]) >= m->saddle)
        star->steps = 0.0;
}

/* The saddle points are on the x axis, where v^2 x/(core^2 + x^2) = omega^2 x. */
static af_status dp__bar_make(af_context *c, const dp_mock_bar_desc *d, dp__mock *m) {
    double v2 = d->speed * d->speed, omega2 = d->omega * d->omega;
    double r2 = v2 / omega2 - d->core * d->core;
    if (d->p > 1.0)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "mock bar: p = %g must not be above 1, for the bar lies along x", d->p);
    if (!(r2 > 0.0))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "mock bar: with omega = %g no radius turns as fast as the pattern; the core "
                       "turns with speed/core = %g",
                       d->omega, d->speed / d->core);
    m->v2 = v2;
    m->omega = d->omega;
    m->core = d->core;
    m->p = d->p;
    m->q = d->q;
    m->extent = d->extent;
    m->times = d->times;
    m->r_saddle = sqrt(r2);
    m->saddle = 0.5 * (v2 * log(v2 / omega2) - omega2 * r2);
    m->begin = dp__bar_begin;
    m->force = dp__bar_force;
    return AF_OK;
}

AF_API af_status dp_mock_bar(af_context *c, const dp_mock_bar_desc *desc, size_t n, uint64_t seed,
                             double *eta) {
    static const char *const names[7] = {"omega", "speed", "core", "p", "q", "extent", "times"};
    dp_mock_bar_desc d = DP__ZERO;
    dp__mock m = DP__ZERO;
    dp_volume everywhere = DP__ZERO;
    double *field[7];
    const double usual[7] = {28.2, 200.0, 1.0, 0.8, 0.7, 1.5, 64.0};
    double values[7];
    size_t k;
    if (desc) d = *desc;
    if (d.start_canary != 0 || d.end_canary != 0)
        return af_fail(c, AF_ERROR_ARGUMENT, "dp_mock_bar_desc was not set to zero first");
    field[0] = &d.omega;
    field[1] = &d.speed;
    field[2] = &d.core;
    field[3] = &d.p;
    field[4] = &d.q;
    field[5] = &d.extent;
    field[6] = &d.times;
    for (k = 0; k < 7; k++) {
        dp__default(field[k], usual[k]);
        values[k] = *field[k];
    }
    if (dp__positive(c, "mock bar", 7, names, values) != AF_OK ||
        dp__bar_make(c, &d, &m) != AF_OK)
        return AF_ERROR_ARGUMENT;
    m.seed = seed;
    return dp__draw(c, &m, &everywhere, n, eta);
}

/* ---- observing ---- */

AF_API void dp_mock_errors(const double x[3], double v_los, double v_tan, size_t n,
                           const double *eta, uint64_t seed, double *noisy, double *errors) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        double to[3], noise[3], r, far, along = 0.0, shift;
        for (k = 0; k < 3; k++) {
            to[k] = eta[6 * i + k] - x[k];
            noise[k] = af_random_normal(seed, DP__DRAW_NOISE + k, i);
        }
        r = hypot(hypot(to[0], to[1]), to[2]);
        far = (r < 1.0 ? 0.1 * r : 0.1) * r;
        for (k = 0; k < 3; k++) {
            to[k] = r > 0.0 ? to[k] / r : (k == 0 ? 1.0 : 0.0);
            along += noise[k] * to[k]; /* normal with variance 1, as in any direction */
        }
        shift = far * af_random_normal(seed, DP__DRAW_NOISE + 3, i);
        for (k = 0; k < 3; k++) {
            double los = v_los * to[k], rest = noise[k] - along * to[k];
            noisy[6 * i + k] = eta[6 * i + k] + shift * to[k];
            noisy[6 * i + 3 + k] = eta[6 * i + 3 + k] + los * along + v_tan * r * rest;
            if (!errors) continue;
            errors[6 * i + k] = far * fabs(to[k]);
            errors[6 * i + 3 + k] = hypot(los, v_tan * r * sqrt(fmax(0.0, 1.0 - to[k] * to[k])));
        }
    }
}
