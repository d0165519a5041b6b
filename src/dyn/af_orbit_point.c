/* ---- dyn: from actions and angles to a point, in a known potential ------------------------------
 */

#include <math.h>
#include <string.h>

#define AF__OP_LEAST 0.1       /* of the toy's J_z or J_r is left by a step */
#define AF__OP_STRIDE 0.01     /* the smallest part of a step that is tried */
#define AF__OP_SETTLED 1e-12   /* of the toy's angles [rad] */

/* The torus of an orbit, and where on it the orbit began. */
typedef struct af__op_torus {
    af_isochrone toy;
    size_t terms;
    double nz[AF__OA_TERMS], nr[AF__OA_TERMS], s[AF__OA_TERMS], slope[3][AF__OA_TERMS];
    double j[3], theta[3], toy_j[3], toy_theta[3];
} af__op_torus;

/* A point that is looked for, and how far it has got. */
typedef struct af__op_search {
    const double *j, *theta;      /* (3) */
    double scale, weight[3];      /* |J_phi| + J_z + J_r; of the angles */
    double to_j[3], to_theta[3];  /* what is missing at the best point */
    double xv[6], measure;        /* the best so far; HUGE_VAL: none */
} af__op_search;

typedef struct af__op_room {
    af__oa_work *work;
    af__op_torus torus;
} af__op_room;

/* ---- the map of a torus ---- */

/* After af__oa_run: the coefficients of the angles are still in the system; of the actions they are
 * found again. 0: the toy has no place for xv. */
static int af__op_keep(af__oa_work *w, const af__oa_result *found, const double xv[6],
                       af__op_torus *t) {
    af__oa_system *s = &w->system;
    double j[3];
    size_t i, a;
    t->toy = w->toy;
    t->terms = s->terms;
    memcpy(t->nz, s->nz, sizeof t->nz);
    memcpy(t->nr, s->nr, sizeof t->nr);
    for (i = 0; i < 3; i++)
        for (a = 0; a < t->terms; a++) t->slope[i][a] = -0.5 * s->right[i][a + 2];
    af__oa_terms(s, s->order);
    if (!af__oa_actions(s, &w->half[0], j)) return 0;
    memcpy(t->s, s->right[0] + 2, t->terms * sizeof *t->s);
    memcpy(t->j, found->j, sizeof t->j);
    memcpy(t->theta, found->theta, sizeof t->theta);
    return !(af_isochrone_actions(&t->toy, xv, t->toy_j, t->toy_theta, NULL) & AF_ORBIT_FAILED);
}

/* theta_i + 2 sum_n dS_n/dJ_i sin(n.theta) of the toy's angles, and its derivatives to theta_z and
 * theta_r. */
static void af__op_turn(const af__op_torus *t, const double toy[3], double theta[3],
                        double by[3][2]) {
    size_t i, a;
    for (i = 0; i < 3; i++) {
        theta[i] = toy[i];
        by[i][0] = i == 1 ? 1.0 : 0.0;
        by[i][1] = i == 2 ? 1.0 : 0.0;
    }
    for (a = 0; a < t->terms; a++) {
        double angle = t->nz[a] * toy[1] + t->nr[a] * toy[2], s = 2.0 * sin(angle);
        double c = 2.0 * cos(angle);
        for (i = 0; i < 3; i++) {
            theta[i] += t->slope[i][a] * s;
            by[i][0] += t->slope[i][a] * t->nz[a] * c;
            by[i][1] += t->slope[i][a] * t->nr[a] * c;
        }
    }
}

/* A step of Newton's method, half a radian at most. */
static double af__op_clamp(double step) { return fmax(-0.5, fmin(0.5, step)); }

/* The toy's angles, from those in toy (3), by Newton's method; 0: none were found. */
static int af__op_toy_angles(const af__op_torus *t, const double theta[3], double toy[3]) {
    double at[3], by[3][2], dz, dr, det;
    int tries;
    for (tries = 0; tries < 50; tries++) {
        af__op_turn(t, toy, at, by);
        dz = remainder(theta[1] - at[1], 2.0 * AF__PI);
        dr = remainder(theta[2] - at[2], 2.0 * AF__PI);
        det = by[1][0] * by[2][1] - by[1][1] * by[2][0];
        if (!(det > 0.0)) return 0; /* the map folds: the series is of no use there */
        if (fabs(dz) + fabs(dr) < AF__OP_SETTLED) {
            toy[0] += theta[0] - at[0];
            return 1;
        }
        toy[1] += af__op_clamp((dz * by[2][1] - dr * by[1][1]) / det);
        toy[2] += af__op_clamp((dr * by[1][0] - dz * by[2][0]) / det);
    }
    return 0;
}

/* J_i = J'_i + 2 sum_n n_i S_n(J') cos(n.theta), S_n to first order in J' - J' of the orbit. */
static void af__op_toy_actions(const af__op_torus *t, const double j[3], const double toy[3],
                               double out[3]) {
    size_t i, a;
    for (i = 0; i < 3; i++) out[i] = j[i];
    for (a = 0; a < t->terms; a++) {
        double c = cos(t->nz[a] * toy[1] + t->nr[a] * toy[2]), s = t->s[a];
        for (i = 0; i < 3; i++) s += t->slope[i][a] * (j[i] - t->j[i]);
        out[1] += 2.0 * t->nz[a] * s * c;
        out[2] += 2.0 * t->nr[a] * s * c;
    }
}

/* From where the torus began by dj, dtheta, to xv; 0: there is no such point. What the series is
 * wrong by at the beginning is taken to be the same at the end. plain: the toy's coordinates change
 * as the true ones, without the series; near resonances it misleads. */
static int af__op_move(const af__op_torus *t, int plain, const double dj[3],
                       const double dtheta[3], double xv[6]) {
    double a[3], b[3], ja[3], jb[3], theta[3], j[3], toy[3];
    size_t i;
    for (i = 0; i < 3; i++) {
        a[i] = t->toy_theta[i];
        toy[i] = b[i] = a[i] + dtheta[i];
        theta[i] = t->theta[i] + dtheta[i];
        jb[i] = t->j[i] + dj[i];
        j[i] = t->toy_j[i] + dj[i];
    }
    if (!plain && af__op_toy_angles(t, t->theta, a) && af__op_toy_angles(t, theta, b)) {
        af__op_toy_actions(t, t->j, a, ja);
        af__op_toy_actions(t, jb, b, j);
        for (i = 0; i < 3; i++) {
            toy[i] = t->toy_theta[i] + b[i] - a[i];
            j[i] += t->toy_j[i] - ja[i];
        }
    }
    for (i = 1; i < 3; i++) j[i] = fmax(j[i], AF__OP_LEAST * t->toy_j[i]);
    if (!(fmax(t->toy_j[1], t->j[1] + dj[1]) > 0.0)) j[1] = 0.0; /* the orbit had been kicked */
    return !(af_isochrone_position(&t->toy, j, toy, xv, NULL) & AF_ORBIT_FAILED);
}

/* ---- the guess ---- */

/* L of the circular orbit at radius r; 0 where the force points outwards. */
static double af__op_circle(const af_field *field, double r) {
    double x[3] = {r, 0.0, 0.0}, a[3];
    field->acceleration(x, a, field->user);
    return a[0] < 0.0 ? r * sqrt(-r * a[0]) : 0.0;
}

/* d ln v_c / d ln r of an isochrone of scale b, r = 1. */
static double af__op_shear(double b) {
    double s = sqrt(1.0 + b * b);
    return 1.0 - 0.5 / (s * s) - 1.0 / (s * (b + s));
}

/* The isochrone with the field's speed and shear where the circular orbit has angular momentum l;
 * 0: there is none. */
static int af__op_toy(const af_field *field, double l, af_isochrone *out) {
    double low = -14.0, high = 14.0, r, shear, b, s, speed; /* logarithms of kpc */
    int i;
    for (i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        if (af__op_circle(field, exp(middle)) < l) low = middle;
        else high = middle;
    }
    r = exp(low);
    shear = log(af__op_circle(field, 1.01 * r) / af__op_circle(field, r / 1.01)) /
                (2.0 * log(1.01)) - 1.0;
    if (!isfinite(shear)) return 0;
    low = -4.0;
    high = 2.0;
    for (i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        if (af__op_shear(exp(middle)) < shear) low = middle;
        else high = middle;
    }
    b = exp(low);
    s = sqrt(1.0 + b * b);
    speed = l / r;
    out->scale = b * r;
    out->mass = speed * speed * r * s * (b + s) * (b + s) / AF_GRAVITY;
    return isfinite(out->mass) && out->mass > 0.0;
}

static int af__op_guess(const af_field *field, const af__op_search *p, double xv[6]) {
    af_isochrone toy;
    return af__op_toy(field, p->scale, &toy) &&
           !(af_isochrone_position(&toy, p->j, p->theta, xv, NULL) & AF_ORBIT_FAILED);
}

/* ---- the search ---- */

/* Follows the orbit through xv; where it is nearer to what is asked for than those before, keeps it
 * and its torus, and returns 1. */
static int af__op_try(const af_context *context, af__op_room *room, int order, const double xv[6],
                      af__op_search *p) {
    af__oa_result found = AF__ZERO;
    double dj[3], dtheta[3], measure = 0.0;
    size_t i;
    if (af__oa_run(context, room->work, xv, order, &found) &
        (AF_ORBIT_FAILED | AF_ORBIT_UNSETTLED))
        return 0;
    for (i = 0; i < 3; i++) {
        dj[i] = p->j[i] - found.j[i];
        dtheta[i] = remainder(p->theta[i] - found.theta[i], 2.0 * AF__PI);
        if (i > 0 && !(p->j[i] > 0.0)) dtheta[i] = 0.0;
        measure = fmax(measure, fabs(dj[i]) / p->scale);
        measure = fmax(measure, fabs(dtheta[i]) * p->weight[i]);
    }
    if (!(measure < p->measure) || !af__op_keep(room->work, &found, xv, &room->torus)) return 0;
    p->measure = measure;
    memcpy(p->to_j, dj, sizeof dj);
    memcpy(p->to_theta, dtheta, sizeof dtheta);
    memcpy(p->xv, xv, sizeof p->xv);
    return 1;
}

static void af__op_find(const af_context *context, af__op_room *room, const double *guess,
                        const af_orbit_point_desc *d, af__op_search *p) {
    double xv[6], part = 1.0, dj[3], dtheta[3];
    size_t orbits = d->orbits, i;
    int plain = 0;
    if (guess && af__all_finite(guess, 6) && orbits--) {
        memcpy(xv, guess, sizeof xv);
        if (!(p->j[1] > 0.0)) xv[2] = xv[5] = 0.0; /* L_z stays */
        (void)af__op_try(context, room, d->order, xv, p);
    }
    if (!(p->measure < HUGE_VAL) && orbits && orbits-- && af__op_guess(room->work->field, p, xv))
        (void)af__op_try(context, room, d->order, xv, p);
    if (!(p->measure < HUGE_VAL)) return;
    while (orbits-- && p->measure > d->tolerance && part >= AF__OP_STRIDE) {
        for (i = 0; i < 3; i++) {
            dj[i] = part * p->to_j[i];
            dtheta[i] = part * p->to_theta[i];
        }
        if (af__op_move(&room->torus, plain, dj, dtheta, xv) &&
            af__op_try(context, room, d->order, xv, p)) {
            part = fmin(1.0, 4.0 * part);
            plain = 0;
        } else {
            if (plain) part *= 0.25;
            plain = !plain;
        }
    }
}

static unsigned af__op_point(const af_context *context, af__op_room *room, const double *guess,
                             const af_orbit_point_desc *d, af__op_search *p, double error[2]) {
    size_t i;
    p->scale = fabs(p->j[0]) + p->j[1] + p->j[2];
    p->measure = HUGE_VAL;
    for (i = 0; i < 6; i++) p->xv[i] = NAN;
    error[0] = error[1] = NAN;
    if (!af__all_finite(p->j, 3) || !af__all_finite(p->theta, 3) || !(p->scale > 0.0) ||
        p->j[1] < 0.0 || p->j[2] < 0.0)
        return AF_ORBIT_INVALID;
    p->weight[0] = 1.0;
    for (i = 1; i < 3; i++) p->weight[i] = sqrt(p->j[i] / p->scale);
    af__op_find(context, room, guess, d, p);
    if (!(p->measure < HUGE_VAL)) return AF_ORBIT_UNSETTLED;
    error[0] = error[1] = 0.0;
    for (i = 0; i < 3; i++) {
        error[0] = fmax(error[0], fabs(p->to_j[i]));
        error[1] = fmax(error[1], fabs(p->to_theta[i]));
    }
    return p->measure <= d->tolerance ? 0 : AF_ORBIT_UNSETTLED;
}

/* ---- many points ---- */

/* Thread k of `teams` does points k, k + teams, k + 2 teams ... */
typedef struct af__op_job {
    const af_context *context;
    af__op_room *room; /* (teams) */
    size_t teams, n;
    af_orbit_point_desc desc;
    const double *j, *theta, *guess;
    double *xv, *error;
    unsigned *flags;
} af__op_job;

static void af__op_some(size_t team, void *user) {
    const af__op_job *job = (const af__op_job *)user;
    size_t s;
    for (s = team; s < job->n; s += job->teams) {
        af__op_search p = AF__ZERO;
        double error[2];
        unsigned met;
        p.j = job->j + 3 * s;
        p.theta = job->theta + 3 * s;
        met = af__op_point(job->context, &job->room[team], job->guess ? job->guess + 6 * s : NULL,
                           &job->desc, &p, error);
        if (job->xv) memcpy(job->xv + 6 * s, p.xv, sizeof p.xv);
        if (job->error) memcpy(job->error + 2 * s, error, sizeof error);
        if (job->flags) job->flags[s] = met;
    }
}

static af_status af__op_check(af_context *context, const af_field *field, af_orbit_point_desc *d) {
    af_orbit_actions_desc of = AF__ZERO;
    af_status status;
    of.start_canary = d->start_canary;
    of.periods = d->periods;
    of.order = d->order;
    of.end_canary = d->end_canary;
    status = af__oa_check(context, field, &of);
    if (status != AF_OK) return status;
    if (d->orbits == 0) d->orbits = 16;
    if (d->tolerance == 0.0) d->tolerance = 1e-5;
    if (d->orbits > 1000 || !(d->tolerance >= 1e-12 && d->tolerance <= 0.1))
        return af__fail(context, AF_ERROR_ARGUMENT,
                        "a point of an orbit: %lu orbits, tolerance %g; give 1 to 1000 and 1e-12 "
                        "to 0.1, or 0 for the default", (unsigned long)d->orbits, d->tolerance);
    return AF_OK;
}

static int af__op_rooms(af__arena *arena, af__op_job *job, const af_field *field) {
    size_t k, periods = job->desc.periods ? job->desc.periods : (size_t)AF__OA_PERIODS;
    job->room = AF__ARRAY(arena, af__op_room, job->teams);
    for (k = 0; k < job->teams && job->room; k++) {
        job->room[k].work = af__oa_room(arena, AF__OA_SAMPLES * periods);
        if (!job->room[k].work) return 0;
        job->room[k].work->field = field;
    }
    return job->room != NULL;
}

AF_API af_status af_orbit_point_of(af_context *context, const af_field *field, size_t n,
                                   const double *j, const double *theta, const double *guess,
                                   const af_orbit_point_desc *desc, double *xv, double *error,
                                   unsigned *flags) {
    af__op_job job = AF__ZERO;
    af__arena arena = AF__ZERO;
    af_status status;
    if (desc) job.desc = *desc;
    status = af__op_check(context, field, &job.desc);
    if (status != AF_OK) return status;
    job.context = context;
    job.teams = af__clamp((size_t)af__threads(context->threads), 1, n ? n : 1);
    job.n = n;
    job.j = j;
    job.theta = theta;
    job.guess = guess;
    job.xv = xv;
    job.error = error;
    job.flags = flags;
    arena.allocator = context->allocator;
    if (af__op_rooms(&arena, &job, field))
        af__parallel(context->threads, job.teams, af__op_some, &job);
    else
        status = af__fail_memory(context, "points of orbits");
    af__arena_free(&arena);
    return status;
}

AF_API af_status af_orbit_point(af_context *context, const af_field *field, const double j[3],
                                const double theta[3], const double guess[6],
                                const af_orbit_point_desc *desc, double xv[6], double error[2],
                                unsigned *flags) {
    return af_orbit_point_of(context, field, 1, j, theta, guess, desc, xv, error, flags);
}

#undef AF__OP_LEAST
#undef AF__OP_STRIDE
#undef AF__OP_SETTLED
