/* ---- dyn: actions and angles in a known potential, from the orbit itself ------------------------
 *
 * Only even n_z occur, the potential being the same above and below the plane. */

#include <math.h>
#include <string.h>

enum {
    AF__OA_PERIODS = 40,
    AF__OA_SAMPLES = 64,                     /* a radial period */
    AF__OA_PROBE = 64,                       /* points of the orbit that the toy is fitted to ... */
    AF__OA_PROBE_EVERY = 6,                  /* ... one of so many samples: six periods */
    AF__OA_MOST_STEPS = 200,                 /* integration steps between two samples, on average */
    AF__OA_ORDER = 16,                       /* |n_r| + |n_z| at most */
    AF__OA_TERMS = 136,                      /* so many have |n_r| + |n_z| <= 16 and even n_z */
    AF__OA_SIZE = AF__OA_TERMS + 2,          /* unknowns */
    AF__OA_ROWS = AF__OA_ORDER + 1,          /* k_z / 2 and k_r of sums and differences, ... */
    AF__OA_COLUMNS = 2 * AF__OA_ORDER + 1,   /* ... which the normal equations need */
    AF__OA_MOMENTS = 6                       /* weights: J_z, J_r, theta (3), time */
};
#define AF__OA_TOLERANCE 1e-10 /* of an integration step */
#define AF__OA_DRIFT 1e-5      /* relative change of the energy of an accurate orbit: in a field
                                 table it is some 1e-6, in a smooth field 1e-8 */
#define AF__OA_KICK 1e-4  /* of the speed, out of a planar or circular orbit: J changes by 1e-8 */
#define AF__OA_RIDGE 1e-12 /* keeps a harmonic that the orbit hardly has solvable */

/* Means over the orbit of weight times cos and sin of k_z theta_z times those of k_r theta_r. */
typedef struct af__oa_table {
    double cc[AF__OA_ROWS][AF__OA_COLUMNS], ss[AF__OA_ROWS][AF__OA_COLUMNS];
    double sc[AF__OA_ROWS][AF__OA_COLUMNS], cs[AF__OA_ROWS][AF__OA_COLUMNS];
} af__oa_table;

/* One half of an orbit in the toy's coordinates, and what the equations are made of. Time runs from
 * 0 to 1 here. */
typedef struct af__oa_half {
    size_t points;
    double *j, *theta; /* (points,3), theta unwrapped in time */
    af__oa_table plain, moment[AF__OA_MOMENTS];
    double mean[AF__OA_MOMENTS], mean_time[3]; /* of the weights; of theta times time */
} af__oa_half;

/* The harmonics of one order and their normal equations. */
typedef struct af__oa_system {
    int order;
    size_t terms, n;
    double nz[AF__OA_TERMS], nr[AF__OA_TERMS];
    double matrix[AF__OA_SIZE * AF__OA_SIZE], right[3][AF__OA_SIZE];
} af__oa_system;

typedef struct af__oa_work {
    const af_field *field;
    double *xv; /* (2 points, 6) */
    af_isochrone toy; /* of the last orbit */
    af__oa_half half[2];
    af__oa_system system;
} af__oa_work;

typedef struct af__oa_result {
    double j[3], theta[3], omega[3], error[3];
} af__oa_result;

/* ---- sums over the orbit ---- */

/* cos and sin of 0, step, 2 step ... times the angle. */
static void af__oa_turns(double angle, size_t n, double *c, double *s) {
    double c1 = cos(angle), s1 = sin(angle);
    size_t k;
    c[0] = 1.0;
    s[0] = 0.0;
    for (k = 1; k < n; k++) {
        c[k] = c[k - 1] * c1 - s[k - 1] * s1;
        s[k] = s[k - 1] * c1 + c[k - 1] * s1;
    }
}

/* Adds one point of the orbit to rows x columns of a table. */
static void af__oa_add(af__oa_table *table, size_t rows, size_t columns, double weight,
                       const double *cz, const double *sz, const double *cr, const double *sr) {
    size_t z, r;
    for (z = 0; z < rows; z++) {
        double c = weight * cz[z], s = weight * sz[z];
        for (r = 0; r < columns; r++) {
            table->cc[z][r] += c * cr[r];
            table->ss[z][r] += s * sr[r];
            table->sc[z][r] += s * cr[r];
            table->cs[z][r] += c * sr[r];
        }
    }
}

static void af__oa_sums(af__oa_half *h) {
    double cz[AF__OA_ROWS], sz[AF__OA_ROWS], cr[AF__OA_COLUMNS], sr[AF__OA_COLUMNS];
    double weight[AF__OA_MOMENTS], part = 1.0 / (double)h->points;
    size_t t, i;
    memset(&h->plain, 0, sizeof h->plain);
    memset(h->moment, 0, sizeof h->moment);
    memset(h->mean, 0, sizeof h->mean);
    memset(h->mean_time, 0, sizeof h->mean_time);
    for (t = 0; t < h->points; t++) {
        const double *theta = h->theta + 3 * t;
        af__oa_turns(2.0 * theta[1], AF__OA_ROWS, cz, sz);
        af__oa_turns(theta[2], AF__OA_COLUMNS, cr, sr);
        af__oa_add(&h->plain, AF__OA_ROWS, AF__OA_COLUMNS, part, cz, sz, cr, sr);
        weight[0] = part * h->j[3 * t + 1];
        weight[1] = part * h->j[3 * t + 2];
        for (i = 0; i < 3; i++) weight[2 + i] = part * theta[i];
        weight[5] = part * part * (double)t;
        for (i = 0; i < AF__OA_MOMENTS; i++) {
            af__oa_add(&h->moment[i], AF__OA_ORDER / 2 + 1, AF__OA_ORDER + 1, weight[i], cz, sz, cr,
                       sr);
            h->mean[i] += weight[i];
        }
        for (i = 0; i < 3; i++) h->mean_time[i] += weight[5] * theta[i];
    }
}

/* Means of cos and of sin of kz theta_z + kr theta_r. */
static double af__oa_cos(const af__oa_table *table, double kz, double kr) {
    size_t z = (size_t)fabs(0.5 * kz), r = (size_t)fabs(kr);
    return kz * kr < 0.0 ? table->cc[z][r] + table->ss[z][r] : table->cc[z][r] - table->ss[z][r];
}
static double af__oa_sin(const af__oa_table *table, double kz, double kr) {
    size_t z = (size_t)fabs(0.5 * kz), r = (size_t)fabs(kr);
    return (kz < 0.0 ? -table->sc[z][r] : table->sc[z][r]) +
           (kr < 0.0 ? -table->cs[z][r] : table->cs[z][r]);
}

/* ---- the normal equations ---- */

static void af__oa_terms(af__oa_system *s, int order) {
    int z, r, width;
    s->order = order;
    s->terms = 0;
    for (z = 0; z <= order; z += 2) {
        width = order - z;
        for (r = z == 0 ? 1 : -width; r <= width; r++) {
            s->nz[s->terms] = z;
            s->nr[s->terms++] = r;
        }
    }
    s->n = s->terms + 2;
    memset(s->right, 0, sizeof s->right);
}

/* Solves for `sides` right sides in place by Cholesky's method; 0 when the matrix (its lower half)
 * is not positive definite. */
static int af__oa_solve(af__oa_system *s, size_t sides) {
    size_t n = s->n, i, j, k, b;
    double *a = s->matrix;
    for (i = 0; i < n; i++)
        for (j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (k = 0; k < j; k++) sum -= a[i * n + k] * a[j * n + k];
            if (i == j && !(sum > 0.0)) return 0;
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    for (b = 0; b < sides; b++) {
        double *x = s->right[b];
        for (i = 0; i < n; i++) {
            for (k = 0; k < i; k++) x[i] -= a[i * n + k] * x[k];
            x[i] /= a[i * n + i];
        }
        for (i = n; i-- > 0;) {
            x[i] /= a[i * n + i];
            for (k = 0; k < i; k++) x[k] -= a[i * n + k] * x[i];
        }
    }
    return 1;
}

/* J_i = J'_i + 2 sum_n n_i S_n cos(n.theta), i = z, r; unknowns J'_z, J'_r, S_n. 2 cos a cos b =
 * cos(a - b) + cos(a + b). */
static int af__oa_actions(af__oa_system *s, const af__oa_half *h, double j[3]) {
    size_t n = s->n, a, b;
    double *m = s->matrix;
    m[0] = m[n + 1] = 1.0;
    m[n] = 0.0;
    s->right[0][0] = h->mean[0];
    s->right[0][1] = h->mean[1];
    for (a = 0; a < s->terms; a++) {
        double z = s->nz[a], r = s->nr[a], c = af__oa_cos(&h->plain, z, r), *row = m + (a + 2) * n;
        row[0] = 2.0 * z * c;
        row[1] = 2.0 * r * c;
        s->right[0][a + 2] = 2.0 * (z * af__oa_cos(&h->moment[0], z, r) +
                                    r * af__oa_cos(&h->moment[1], z, r));
        for (b = 0; b <= a; b++)
            row[b + 2] = 2.0 * (z * s->nz[b] + r * s->nr[b]) *
                         (af__oa_cos(&h->plain, z - s->nz[b], r - s->nr[b]) +
                          af__oa_cos(&h->plain, z + s->nz[b], r + s->nr[b]));
        row[a + 2] *= 1.0 + AF__OA_RIDGE;
    }
    if (!af__oa_solve(s, 1)) return 0;
    j[1] = s->right[0][0];
    j[2] = s->right[0][1];
    return 1;
}

/* theta_i = theta'_i(0) + Omega_i t - 2 sum_n (dS_n/dJ'_i) sin(n.theta); unknowns theta'(0), Omega,
 * and the factors of the sines. */
static int af__oa_angles(af__oa_system *s, const af__oa_half *h, double theta[3], double omega[3]) {
    size_t n = s->n, a, b, i;
    double *m = s->matrix, points = (double)h->points;
    m[0] = 1.0;
    m[n] = h->mean[5];
    m[n + 1] = (points - 1.0) * (2.0 * points - 1.0) / (6.0 * points * points);
    for (i = 0; i < 3; i++) {
        s->right[i][0] = h->mean[2 + i];
        s->right[i][1] = h->mean_time[i];
    }
    for (a = 0; a < s->terms; a++) {
        double z = s->nz[a], r = s->nr[a], *row = m + (a + 2) * n;
        row[0] = af__oa_sin(&h->plain, z, r);
        row[1] = af__oa_sin(&h->moment[5], z, r);
        for (i = 0; i < 3; i++) s->right[i][a + 2] = af__oa_sin(&h->moment[2 + i], z, r);
        for (b = 0; b <= a; b++)
            row[b + 2] = 0.5 * (af__oa_cos(&h->plain, z - s->nz[b], r - s->nr[b]) -
                                af__oa_cos(&h->plain, z + s->nz[b], r + s->nr[b]));
        row[a + 2] += AF__OA_RIDGE;
    }
    if (!af__oa_solve(s, 3)) return 0;
    for (i = 0; i < 3; i++) {
        theta[i] = s->right[i][0];
        omega[i] = s->right[i][1];
    }
    return 1;
}

/* ---- the orbit ---- */

static double af__oa_energy(const af_field *field, const double *xv) {
    return field->value(xv, field->user) + 0.5 * af__dot3(xv + 3, xv + 3);
}

/* Both halves; 0 where the orbit cannot be followed, or its energy does not stay. */
static int af__oa_follow(const af__oa_work *w, const double start[6], double interval) {
    size_t points = 2 * w->half[0].points;
    double first = af__oa_energy(w->field, start), change;
    af__follow f;
    af__follow_begin(&f, af_force_of_field(w->field), start, interval, AF__OA_TOLERANCE);
    if (!af__follow_points(&f, interval, points, AF__OA_MOST_STEPS * points, w->xv)) return 0;
    change = fabs(af__oa_energy(w->field, f.xv) - first);
    /* relative to the kinetic energy where the zero of the potential is arbitrary */
    return change <= AF__OA_DRIFT * fmax(fabs(first), 0.5 * af__dot3(start + 3, start + 3));
}

/* Toy coordinates of one half, angles unwrapped; 0 when a point is unbound in the toy, or when L
 * goes through 0, where the toy's plane turns over (orbits with L_z = 0). */
static int af__oa_toy_coordinates(const af_isochrone *toy, const double *xv, af__oa_half *h) {
    double least = HUGE_VAL, most = 0.0;
    size_t t, i;
    for (t = 0; t < h->points; t++) {
        double *theta = h->theta + 3 * t, *last = h->theta + 3 * (t ? t - 1 : 0), l;
        if (af_isochrone_actions(toy, xv + 6 * t, h->j + 3 * t, theta, NULL) & AF_ORBIT_FAILED)
            return 0;
        for (i = 0; i < 3 && t > 0; i++)
            theta[i] = last[i] + remainder(theta[i] - last[i], 2.0 * AF__PI);
        l = fabs(h->j[3 * t]) + h->j[3 * t + 1];
        least = fmin(least, l);
        most = fmax(most, l + h->j[3 * t + 2]);
    }
    return least > 1e-3 * most || h->j[0] != 0.0;
}

/* The isochrone that fits the orbit's first few periods, made heavier until all points are bound;
 * 0: there is none. Nothing is allocated, as threads do this at the same time. */
static int af__oa_toy(const af_context *context, af__oa_work *w) {
    af_context quiet = *context; /* a failure here is no error of the caller's */
    double some[6 * AF__OA_PROBE], numbers[AF__OA_PROBE], j_r[AF__OA_PROBE], row[3];
    af__isochrone_fit fit = AF__ZERO;
    af_isochrone toy;
    size_t t, points = w->half[0].points;
    int tries;
    for (t = 0; t < AF__OA_PROBE; t++)
        memcpy(some + 6 * t, w->xv + 6 * (t * AF__OA_PROBE_EVERY), 6 * sizeof *some);
    fit.xv = some;
    fit.streams = fit.used = 1;
    fit.stars = AF__OA_PROBE;
    fit.numbers = numbers;
    fit.j_r = j_r;
    if (af__fit_check(&quiet, &fit) != AF_OK) return 0;
    af__fit_search(&fit, row);
    toy = af__fit_toy(&fit, row);
    for (tries = 0; tries < 20; tries++, toy.mass *= 1.1)
        if (af__oa_toy_coordinates(&toy, w->xv, &w->half[0]) &&
            af__oa_toy_coordinates(&toy, w->xv + 6 * points, &w->half[1])) {
            w->toy = toy;
            return 1;
        }
    return 0;
}

/* ---- the whole ---- */

/* Actions at the order, of those from `order` down, at which the two halves agree best. */
static int af__oa_best_order(af__oa_work *w, int order, af__oa_result *out) {
    double least = HUGE_VAL, a[3], b[3], worst;
    int i, k, best = 0;
    for (i = order ? order : AF__OA_ORDER; i >= (order ? order : 8); i -= 4) {
        af__oa_terms(&w->system, i);
        if (!af__oa_actions(&w->system, &w->half[0], a)) continue;
        if (!af__oa_actions(&w->system, &w->half[1], b)) continue;
        worst = fmax(fabs(a[1] - b[1]), fabs(a[2] - b[2]));
        if (!(worst < least)) continue;
        least = worst;
        best = i;
        for (k = 1; k < 3; k++) {
            out->j[k] = a[k];
            out->error[k] = fabs(a[k] - b[k]);
        }
    }
    return best;
}

/* 0: no answer. */
static int af__oa_find(const af_context *context, af__oa_work *w, const double start[6],
                       double period, int order, af__oa_result *out) {
    double interval = period / (int)AF__OA_SAMPLES, slack;
    int i;
    if (!af__oa_follow(w, start, interval) || !af__oa_toy(context, w)) return 0;
    for (i = 0; i < 2; i++) af__oa_sums(&w->half[i]);
    order = af__oa_best_order(w, order, out);
    out->j[0] = w->half[0].j[0];
    out->error[0] = 0.0;
    slack = 1e-6 * (fabs(out->j[0]) + fabs(out->j[1]) + fabs(out->j[2])); /* rounding of zero */
    if (!order || !(out->j[1] > -slack && out->j[2] > -slack)) return 0;
    for (i = 1; i < 3; i++) out->j[i] = fmax(out->j[i], 0.0);
    af__oa_terms(&w->system, order);
    if (!af__oa_angles(&w->system, &w->half[0], out->theta, out->omega)) return 0;
    for (i = 0; i < 3; i++) {
        out->theta[i] = af__wrap(out->theta[i]);
        out->omega[i] /= interval * (double)w->half[0].points;
    }
    return 1;
}

/* A planar or circular orbit is left by a little: its angles and frequencies are those of the small
 * oscillation. */
static void af__oa_kick(unsigned flags, double xv[6]) {
    double r = hypot(xv[0], xv[1]), speed = AF__OA_KICK * af__norm3(xv + 3);
    if (flags & AF_ORBIT_PLANAR) xv[5] += speed;
    if (!(flags & AF_ORBIT_CIRCULAR) || !(r > 0.0)) return;
    xv[3] += speed * xv[0] / r;
    xv[4] += speed * xv[1] / r;
}

static af__oa_work *af__oa_room(af__arena *arena, size_t points) {
    af__oa_work *w = AF__NEW(arena, af__oa_work);
    size_t i;
    if (!w) return NULL;
    w->xv = AF__ARRAY(arena, double, 12 * points);
    for (i = 0; i < 2; i++) {
        w->half[i].points = points;
        w->half[i].j = AF__ARRAY(arena, double, 3 * points);
        w->half[i].theta = AF__ARRAY(arena, double, 3 * points);
        if (!w->half[i].j || !w->half[i].theta) return NULL;
    }
    return w->xv ? w : NULL;
}

static af_status af__oa_check(af_context *context, const af_field *field,
                              const af_orbit_actions_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(context, AF_ERROR_ARGUMENT, "actions of an orbit: the desc was not set to "
                                                    "zero before it was filled");
    if (!field->value || !field->acceleration)
        return af__fail(context, AF_ERROR_ARGUMENT, "actions of an orbit: the field needs both its "
                                                    "functions, value and acceleration");
    if ((d->periods != 0 && (d->periods < 4 || d->periods > 10000)) ||
        (d->order != 0 && (d->order < 2 || d->order > AF__OA_ORDER)))
        return af__fail(context, AF_ERROR_ARGUMENT,
                        "actions of an orbit: %lu periods, order %d; give 4 to 10000 and 2 to %d, "
                        "or 0 for the default", (unsigned long)d->periods, d->order,
                        (int)AF__OA_ORDER);
    return AF_OK;
}

/* One orbit; the fudge gives the radial period and flags. Returns the flags. */
static unsigned af__oa_run(const af_context *context, af__oa_work *w, const double start[6],
                           int order, af__oa_result *out) {
    af_fudge fudge = AF__ZERO;
    double from[6], omega[3];
    unsigned flags;
    int i, good;
    fudge.field = *w->field;
    flags = af_fudge_actions(&fudge, start, NULL, NULL, omega);
    good = !(flags & AF_ORBIT_FAILED);
    if (good) {
        for (i = 0; i < 6; i++) from[i] = start[i];
        af__oa_kick(flags, from);
        good = af__oa_find(context, w, from, 2.0 * AF__PI / omega[2], order, out);
        if (!good) flags |= AF_ORBIT_UNSETTLED;
    }
    if (flags & AF_ORBIT_PLANAR) out->j[1] = 0.0;
    if (flags & AF_ORBIT_CIRCULAR) out->j[2] = out->theta[2] = 0.0;
    for (i = 0; i < 3 && !good; i++)
        out->j[i] = out->theta[i] = out->omega[i] = out->error[i] = NAN;
    return flags;
}

/* What the threads share: thread k of `teams` does orbits k, k + teams, k + 2 teams ... */
typedef struct af__oa_job {
    const af_context *context;
    af__oa_work **work; /* (teams) */
    size_t teams, n;
    int order;
    const double *xv;
    double *j, *theta, *omega, *error;
    unsigned *flags;
} af__oa_job;

static void af__oa_some(size_t team, void *user) {
    const af__oa_job *job = (const af__oa_job *)user;
    size_t s, i;
    for (s = team; s < job->n; s += job->teams) {
        af__oa_result out = AF__ZERO;
        unsigned met = af__oa_run(job->context, job->work[team], job->xv + 6 * s, job->order, &out);
        for (i = 0; i < 3 && job->j; i++) job->j[3 * s + i] = out.j[i];
        for (i = 0; i < 3 && job->theta; i++) job->theta[3 * s + i] = out.theta[i];
        for (i = 0; i < 3 && job->omega; i++) job->omega[3 * s + i] = out.omega[i];
        for (i = 0; i < 3 && job->error; i++) job->error[3 * s + i] = out.error[i];
        if (job->flags) job->flags[s] = met;
    }
}

static int af__oa_rooms(af__arena *arena, af__oa_job *job, const af_field *field, size_t periods) {
    size_t k, points = AF__OA_SAMPLES * (periods ? periods : (size_t)AF__OA_PERIODS);
    job->work = AF__ARRAY(arena, af__oa_work *, job->teams);
    for (k = 0; k < job->teams && job->work; k++) {
        job->work[k] = af__oa_room(arena, points);
        if (!job->work[k]) return 0;
        job->work[k]->field = field;
    }
    return job->work != NULL;
}

AF_API af_status af_orbit_actions_of(af_context *context, const af_field *field, size_t n,
                                     const double *xv, const af_orbit_actions_desc *desc, double *j,
                                     double *theta, double *omega, double *error,
                                     unsigned *flags) {
    af_orbit_actions_desc d = AF__ZERO;
    af__oa_job job = AF__ZERO;
    af__arena arena = AF__ZERO;
    af_status status;
    if (desc) d = *desc;
    status = af__oa_check(context, field, &d);
    if (status != AF_OK) return status;
    job.context = context;
    job.teams = af__clamp((size_t)af__threads(context->threads), 1, n ? n : 1);
    job.n = n;
    job.order = d.order;
    job.xv = xv;
    job.j = j;
    job.theta = theta;
    job.omega = omega;
    job.error = error;
    job.flags = flags;
    arena.allocator = context->allocator;
    if (af__oa_rooms(&arena, &job, field, d.periods))
        af__parallel(context->threads, job.teams, af__oa_some, &job);
    else
        status = af__fail_memory(context, "actions of orbits");
    af__arena_free(&arena);
    return status;
}

AF_API af_status af_orbit_actions(af_context *context, const af_field *field, const double start[6],
                                  const af_orbit_actions_desc *desc, double j[3], double theta[3],
                                  double omega[3], double error[3], unsigned *flags) {
    return af_orbit_actions_of(context, field, 1, start, desc, j, theta, omega, error, flags);
}
