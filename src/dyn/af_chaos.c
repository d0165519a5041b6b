/* ---- dyn: chaos, seen by following the orbit ------------------------------------------------- */

#include <math.h>
#include <string.h>

enum {
    AF__CHAOS_FIRST = 10,       /* periods in which T is found */
    AF__CHAOS_SAMPLES = 8,      /* positions a period for the frequencies, which are below 4/T */
    AF__CHAOS_WINDOW = 2,       /* periods over which Y is averaged: Y swings with the orbit */
    AF__CHAOS_MOST_STEPS = 2000 /* of the integration in a period, on average */
};
#define AF__CHAOS_APART 1e-7 /* displacement over the orbit's size, for differences of the force */

typedef struct af__chaos_work {
    size_t points, size; /* samples of half the orbit; of the Fourier transform, four times more */
    double *xyz;         /* (2 points, 3) */
    double *re, *im;     /* (size) */
    double *turn;        /* (size): cos and sin of the transform */
} af__chaos_work;

/* ---- the displacement ---- */

/* w (6), and L with its integrals; time in units of the period. */
typedef struct af__chaos_growth {
    double length, speed; /* units of w */
    double w[6];
    double time, l;
    double l_sum, y_sum;       /* integrals of L and of Y */
    double block, block_y_sum; /* where the present window began */
    double most;               /* the largest mean of Y in a window */
    double nearest2;           /* squared */
} af__chaos_growth;

static double af__chaos_norm(const af__chaos_growth *g, const double w[6]) {
    return sqrt(af__dot3(w, w) / (g->length * g->length) +
                af__dot3(w + 3, w + 3) / (g->speed * g->speed));
}

/* Change of the acceleration a at x for the displacement w, linear. */
static void af__chaos_pull(const af__chaos_growth *g, af_force force, const double x[3],
                           const double a[3], const double w[3], double out[3]) {
    double size = sqrt(af__dot3(w, w)), e = AF__CHAOS_APART * g->length / size, p[3];
    int i;
    if (!(size > 0.0)) {
        out[0] = out[1] = out[2] = 0.0;
        return;
    }
    for (i = 0; i < 3; i++) p[i] = x[i] + e * w[i];
    force.acceleration(p, out, force.user);
    for (i = 0; i < 3; i++) out[i] = (out[i] - a[i]) / e;
}

/* Takes w over the step that f has just made, with the same method and stages. */
static void af__chaos_carry(const af__follow *f, af__chaos_growth *g) {
    double v[AF__FOLLOW_STAGES][3], k[AF__FOLLOW_STAGES][3];
    double x[3], w[6], dx[3], dv[3], h = f->taken;
    int stage, i;
    memcpy(x, f->old_xv, sizeof x);
    memcpy(w, g->w, sizeof w);
    for (stage = 1; stage <= AF__FOLLOW_STAGES; stage++) {
        const double *weight = af__follow_weights[stage - 1];
        memcpy(v[stage - 1], w + 3, sizeof v[0]);
        af__chaos_pull(g, f->force, x, f->k[stage - 1], w, k[stage - 1]);
        af__follow_sum(f->v[0], weight, stage, dx);
        for (i = 0; i < 3; i++) x[i] = f->old_xv[i] + h * dx[i];
        af__follow_sum(v[0], weight, stage, dx);
        af__follow_sum(k[0], weight, stage, dv);
        for (i = 0; i < 3; i++) {
            w[i] = g->w[i] + h * dx[i];
            w[3 + i] = g->w[3 + i] + h * dv[i];
        }
    }
    memcpy(g->w, w, sizeof w);
}

/* The step took `time` periods; w is made 1 again. Trapezoidal rule for the integrals. */
static void af__chaos_count(af__chaos_growth *g, double time) {
    double norm = af__chaos_norm(g, g->w), l = g->l + log(norm), y, before;
    int i;
    for (i = 0; i < 6; i++) g->w[i] /= norm;
    before = g->time > 0.0 ? 2.0 * (g->l - g->l_sum / g->time) : 0.0;
    g->l_sum += 0.5 * time * (g->l + l);
    g->l = l;
    g->time += time;
    y = 2.0 * (l - g->l_sum / g->time);
    g->y_sum += 0.5 * time * (before + y);
    if (g->time - g->block < (int)AF__CHAOS_WINDOW) return;
    if (g->block > 0.0) /* not the first, in which w turns from where it happened to begin */
        g->most = fmax(g->most, (g->y_sum - g->block_y_sum) / (g->time - g->block));
    g->block = g->time;
    g->block_y_sum = g->y_sum;
}

/* ---- frequencies ---- */

/* Fourier transform of re + i im in place, size a power of two (Cooley & Tukey 1965). */
static void af__chaos_fourier(const af__chaos_work *w) {
    size_t n = w->size, i, j = 0, half, bit;
    double *re = w->re, *im = w->im;
    for (i = 1; i < n; i++) {
        for (bit = n >> 1; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            double r = re[i], m = im[i];
            re[i] = re[j];
            im[i] = im[j];
            re[j] = r;
            im[j] = m;
        }
    }
    for (half = 1; half < n; half *= 2)
        for (i = 0; i < n; i += 2 * half)
            for (j = 0; j < half; j++) {
                size_t a = i + j, b = a + half, t = 2 * (j * (n / 2 / half));
                double c = w->turn[t], s = w->turn[t + 1];
                double r = re[b] * c + im[b] * s, m = im[b] * c - re[b] * s;
                re[b] = re[a] - r;
                im[b] = im[a] - m;
                re[a] += r;
                im[a] += m;
            }
}

/* Squared amplitude of the first (part 0) or second half of the orbit at k; both are in one
 * transform, as its real and its imaginary part. */
static double af__chaos_power(const af__chaos_work *w, int part, size_t k) {
    double r = w->re[k], m = w->im[k], r2 = w->re[w->size - k], m2 = w->im[w->size - k];
    return part ? (m + m2) * (m + m2) + (r2 - r) * (r2 - r)
                : (r + r2) * (r + r2) + (m - m2) * (m - m2);
}

/* The leading frequency in turns a period: the highest peak, the top of a parabola through the
 * logarithms of its three highest points. The line of a Hann window is nearly one. */
static double af__chaos_peak(const af__chaos_work *w, int part) {
    size_t k, best = 1;
    double most = 0.0, low, top, high;
    for (k = 1; k < w->size / 2; k++) {
        double power = af__chaos_power(w, part, k);
        if (power > most) {
            most = power;
            best = k;
        }
    }
    if (best < 2) return 0.0;
    low = log(af__chaos_power(w, part, best - 1));
    top = log(most);
    high = log(af__chaos_power(w, part, best + 1));
    top = (double)best + 0.5 * (low - high) / (low - 2.0 * top + high);
    return (int)AF__CHAOS_SAMPLES * top / (double)w->size;
}

/* |Change| of the leading frequency of coordinate i. */
static double af__chaos_change(const af__chaos_work *w, size_t i) {
    size_t n = w->points, t;
    double mean[2] = {0.0, 0.0}, change;
    for (t = 0; t < n; t++) {
        mean[0] += w->xyz[3 * t + i] / (double)n;
        mean[1] += w->xyz[3 * (n + t) + i] / (double)n;
    }
    memset(w->re, 0, w->size * sizeof *w->re);
    memset(w->im, 0, w->size * sizeof *w->im);
    for (t = 0; t < n; t++) {
        double hann = 1.0 - cos(2.0 * AF__PI * ((double)t + 0.5) / (double)n);
        w->re[t] = hann * (w->xyz[3 * t + i] - mean[0]);
        w->im[t] = hann * (w->xyz[3 * (n + t) + i] - mean[1]);
    }
    af__chaos_fourier(w);
    change = fabs(af__chaos_peak(w, 0) - af__chaos_peak(w, 1));
    return af__is_finite(change) ? change : 0.0; /* a coordinate that is always 0 */
}

static double af__chaos_drift(const af__chaos_work *w) {
    double x = af__chaos_change(w, 0), y = af__chaos_change(w, 1), z = af__chaos_change(w, 2);
    return fmax(fmin(x, y), fmin(fmax(x, y), z));
}

/* ---- the orbit ---- */

/* Adds r^2 and v^2 over the last step, by Simpson's rule. */
static void af__chaos_squares(const af__follow *f, double *r2, double *v2) {
    double middle[6], part = f->taken / 6.0;
    af__follow_within(f, 0.5, middle);
    *r2 += part * (af__dot3(f->old_xv, f->old_xv) + 4.0 * af__dot3(middle, middle) +
                   af__dot3(f->xv, f->xv));
    *v2 += part * (af__dot3(f->old_xv + 3, f->old_xv + 3) + 4.0 * af__dot3(middle + 3, middle + 3) +
                   af__dot3(f->xv + 3, f->xv + 3));
}

/* T in the units of the integration, from the first periods; 0: there is none. */
static double af__chaos_period(af_force force, const double start[6], double length, double speed,
                               double tolerance) {
    double time = 0.0, r2 = 0.0, v2 = 0.0;
    size_t most = AF__CHAOS_FIRST * AF__CHAOS_MOST_STEPS;
    af__follow f;
    af__follow_begin(&f, force, start, 0.1 * length / speed, tolerance);
    while (f.tries < most) {
        if (!af__follow_step(&f)) return 0.0;
        af__chaos_squares(&f, &r2, &v2);
        time += f.taken;
        if (time * sqrt(v2) >= (int)AF__CHAOS_FIRST * 2.0 * AF__PI * sqrt(r2))
            return 2.0 * AF__PI * sqrt(r2 / v2);
    }
    return 0.0;
}

/* w points anywhere: not along a symmetry. */
static void af__chaos_begin(af__chaos_growth *g, double length, double speed) {
    static const double way[6] = {0.30, 0.50, -0.40, 0.45, -0.35, 0.42};
    double norm;
    int i;
    memset(g, 0, sizeof *g);
    g->length = length;
    g->speed = speed;
    g->nearest2 = length * length;
    for (i = 0; i < 6; i++) g->w[i] = way[i] * (i < 3 ? length : speed);
    norm = af__chaos_norm(g, g->w);
    for (i = 0; i < 6; i++) g->w[i] /= norm;
}

/* Follows the orbit for `periods` of length `period`; 0 where that does not work. */
static int af__chaos_follow(af__chaos_work *w, af__chaos_growth *g, af__follow *f, double period,
                            double periods) {
    double sample = period / (int)AF__CHAOS_SAMPLES, most = (int)AF__CHAOS_MOST_STEPS * periods;
    double xv[6];
    size_t count = 2 * w->points, k = 0;
    while (g->time < periods || k < count) {
        double end;
        if ((double)f->tries >= most || !af__follow_step(f)) return 0;
        af__chaos_carry(f, g);
        g->nearest2 = fmin(g->nearest2, af__dot3(f->xv, f->xv));
        af__chaos_count(g, f->taken / period);
        end = g->time * period;
        for (; k < count && sample * (double)k <= end; k++) {
            af__follow_within(f, 1.0 - (end - sample * (double)k) / f->taken, xv);
            memcpy(w->xyz + 3 * k, xv, 3 * sizeof *xv);
        }
    }
    return af__is_finite(g->l) && af__is_finite(g->y_sum);
}

/* One orbit. Returns the flags. */
static unsigned af__chaos_run(af__chaos_work *w, af_force force, const double start[6],
                              const af_chaos_desc *d, af_chaos *out) {
    double a[3], length = af__norm3(start), speed, period;
    af__chaos_growth g;
    af__follow f;
    out->score = out->megno = out->drift = out->lyapunov = out->period = out->nearest = NAN;
    if (!af__all_finite(start, 6) || !(length > 0.0)) return AF_ORBIT_INVALID;
    force.acceleration(start, a, force.user);
    speed = sqrt(af__dot3(start + 3, start + 3) + length * af__norm3(a));
    if (!af__all_finite(a, 3) || !(speed > 0.0)) return AF_ORBIT_INVALID;
    period = af__chaos_period(force, start, length, speed, d->tolerance);
    if (!(period > 0.0)) return AF_ORBIT_UNSETTLED;
    af__chaos_begin(&g, length, speed);
    af__follow_begin(&f, force, start, 0.1 * length / speed, d->tolerance);
    if (!af__chaos_follow(w, &g, &f, period, d->periods)) return AF_ORBIT_UNSETTLED;
    out->megno = g.most;
    out->drift = af__chaos_drift(w);
    out->score = g.most * pow(fmax(out->drift, 1e-7) / 1e-3, 0.1);
    out->lyapunov = fmax(0.0, 2.0 * (g.y_sum / g.time - 2.0) / g.time);
    out->period = af_gyr_from_time(period);
    out->nearest = sqrt(g.nearest2);
    return out->score > d->threshold ? AF_ORBIT_CHAOTIC : 0;
}

/* ---- many orbits ---- */

/* Thread k of `teams` does orbits k, k + teams, k + 2 teams ... */
typedef struct af__chaos_job {
    af__chaos_work *work; /* (teams) */
    size_t teams, n;
    af_force force;
    af_chaos_desc desc;
    const double *xv;
    af_chaos *out;
    unsigned *flags;
} af__chaos_job;

static void af__chaos_some(size_t team, void *user) {
    const af__chaos_job *job = (const af__chaos_job *)user;
    size_t s;
    for (s = team; s < job->n; s += job->teams) {
        unsigned met = af__chaos_run(&job->work[team], job->force, job->xv + 6 * s, &job->desc,
                                     job->out + s);
        if (job->flags) job->flags[s] = met;
    }
}

static int af__chaos_room(af__arena *arena, af__chaos_work *w, double periods) {
    size_t i;
    w->points = (size_t)(0.5 * (int)AF__CHAOS_SAMPLES * periods);
    for (w->size = 64; w->size < 4 * w->points;) w->size *= 2;
    w->xyz = AF__ARRAY(arena, double, 6 * w->points);
    w->re = AF__ARRAY(arena, double, w->size);
    w->im = AF__ARRAY(arena, double, w->size);
    w->turn = AF__ARRAY(arena, double, w->size);
    if (!w->xyz || !w->re || !w->im || !w->turn) return 0;
    for (i = 0; i < w->size / 2; i++) {
        w->turn[2 * i] = cos(2.0 * AF__PI * (double)i / (double)w->size);
        w->turn[2 * i + 1] = sin(2.0 * AF__PI * (double)i / (double)w->size);
    }
    return 1;
}

static af_status af__chaos_check(af_context *context, af_force force, af_chaos_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(context, AF_ERROR_ARGUMENT, "chaos of an orbit: the desc was not set to "
                                                    "zero before it was filled");
    if (!force.acceleration)
        return af__fail(context, AF_ERROR_ARGUMENT,
                        "chaos of an orbit: the force has no acceleration function");
    if (d->periods == 0.0) d->periods = 200.0;
    if (d->tolerance == 0.0) d->tolerance = 1e-8;
    if (d->threshold == 0.0) d->threshold = 4.0;
    if (!(d->periods >= 20.0 && d->periods <= 1e5) ||
        !(d->tolerance >= 1e-14 && d->tolerance <= 1e-5) || !(d->threshold > 0.0))
        return af__fail(context, AF_ERROR_ARGUMENT,
                        "chaos of an orbit: %g periods, tolerance %g, threshold %g; give 20 to "
                        "100000, 1e-14 to 1e-5 and more than 0, or 0 for the default",
                        d->periods, d->tolerance, d->threshold);
    return AF_OK;
}

AF_API af_status af_orbit_chaos_of(af_context *context, af_force force, size_t n, const double *xv,
                                   const af_chaos_desc *desc, af_chaos *out, unsigned *flags) {
    af__chaos_job job = AF__ZERO;
    af__arena arena = AF__ZERO;
    af_status status;
    size_t k;
    if (desc) job.desc = *desc;
    status = af__chaos_check(context, force, &job.desc);
    if (status != AF_OK) return status;
    job.teams = af__clamp((size_t)af__threads(context->threads), 1, n ? n : 1);
    job.n = n;
    job.force = force;
    job.xv = xv;
    job.out = out;
    job.flags = flags;
    arena.allocator = context->allocator;
    job.work = AF__ARRAY(&arena, af__chaos_work, job.teams);
    for (k = 0; k < job.teams && job.work && status == AF_OK; k++)
        if (!af__chaos_room(&arena, &job.work[k], job.desc.periods)) status = AF_ERROR_MEMORY;
    if (!job.work || status != AF_OK)
        status = af__fail_memory(context, "chaos of orbits");
    else
        af__parallel(context->threads, job.teams, af__chaos_some, &job);
    af__arena_free(&arena);
    return status;
}

AF_API af_status af_orbit_chaos(af_context *context, af_force force, const double start[6],
                                const af_chaos_desc *desc, af_chaos *out, unsigned *flags) {
    return af_orbit_chaos_of(context, force, 1, start, desc, out, flags);
}
