/* ---- stars as observed: what was not measured, found from the rest of the stream ------------- */

#include <math.h>

enum {
    AF__FILL_PLACES = 8,    /* minima of the grid that are closed in on */
    AF__FILL_POINTS = 33,   /* a bracket is cut into 32, and two of them are the next one */
    AF__FILL_ROUNDS = 9,    /* 16^-9 of a step of the grid: below what rounding allows */
    AF__FILL_ITERATIONS = 60,
    AF__FILL_DAMPINGS = 6
};

/* One star's search. Coordinates u in [0, grid]: along the first axis the distance (its logarithm)
 * or, where that is known, the velocity; along the second the velocity. */
typedef struct af__fill {
    const af_observed *o;
    af_fill_desc desc;
    double log_distance[2];
    unsigned missing; /* of the star */
    int axes;
    double value[6]; /* the star's */
    double median[3], scatter[3];
    double *xv, *j; /* (capacity,6), (capacity,3) */
    double *sum;    /* (capacity) what is made least, infinity where there are no actions */
    double *sorted; /* (stars) */
} af__fill;

/* A minimum. */
typedef struct af__spot {
    double u[2];
    double sum;
} af__spot;

/* ---- the stars of the stream ---- */

/* Median and scatter of the actions of the stars that were measured; 0 when there are none. */
static int af__fill_members(af__fill *f, size_t s) {
    const af_observed *o = f->o;
    size_t i, k, n = 0, good = 0;
    double total = 0.0;
    for (i = 0; i < o->count[s]; i++)
        if (!o->unmeasured[s * o->stars + i])
            af__observed_xv(o, o->value + (s * o->stars + i) * 6, f->xv + 6 * n++);
    if (n > 0) f->desc.actions(n, f->xv, f->j, f->desc.user);
    for (i = 0; i < n; i++)
        if (af__all_finite(f->j + 3 * i, 3)) {
            memmove(f->j + 3 * good, f->j + 3 * i, 3 * sizeof *f->j);
            good++;
        }
    if (good == 0) return 0;
    for (k = 0; k < 3; k++) {
        for (i = 0; i < good; i++) f->sorted[i] = f->j[3 * i + k];
        f->median[k] = af__median(f->sorted, good);
        for (i = 0; i < good; i++) f->sorted[i] = fabs(f->j[3 * i + k] - f->median[k]);
        f->scatter[k] = 1.4826 * af__median(f->sorted, good); /* of a normal distribution */
        total += fabs(f->median[k]);
    }
    for (k = 0; k < 3; k++) {
        if (f->scatter[k] < 1e-3 * total) f->scatter[k] = 1e-3 * total;
        if (!(f->scatter[k] > 0.0)) f->scatter[k] = 1.0; /* a stream at rest in the centre */
    }
    return 1;
}

/* ---- the function to be made least ---- */

/* The star's values at u. */
static void af__fill_value(const af__fill *f, const double u[2], double value[6]) {
    double distance, velocity, grid = (double)f->desc.grid;
    const double *v = f->desc.velocity, *d = f->log_distance;
    memcpy(value, f->value, sizeof f->value);
    if (f->missing & AF_MISSING_DISTANCE) {
        distance = exp(d[0] + (d[1] - d[0]) * (u[0] / grid));
        value[2] = f->o->parallax ? 1.0 / distance : distance;
    }
    if (f->missing & AF_MISSING_VELOCITY) {
        velocity = v[0] + (v[1] - v[0]) * (u[f->axes - 1] / grid);
        value[5] = velocity;
    }
}

/* The n points u, to f->j (residuals: the differences of the actions in units of their scatter)
 * and f->sum. */
static void af__fill_evaluate(af__fill *f, size_t n, const double (*u)[2]) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        double value[6];
        af__fill_value(f, u[i], value);
        af__observed_xv(f->o, value, f->xv + 6 * i);
    }
    f->desc.actions(n, f->xv, f->j, f->desc.user);
    for (i = 0; i < n; i++) {
        f->sum[i] = 0.0;
        for (k = 0; k < 3; k++) {
            double *r = &f->j[3 * i + k];
            *r = (*r - f->median[k]) / f->scatter[k];
            f->sum[i] += *r * *r;
        }
        if (!af__is_finite(f->sum[i])) f->sum[i] = INFINITY;
    }
}

/* ---- the grid ---- */

/* Is point (a, b) of the grid no higher than its neighbours? Of equal ones the first counts. */
static int af__fill_is_minimum(const af__fill *f, size_t a, size_t b) {
    size_t n = f->desc.grid + 1, width = f->axes == 2 ? n : 1, x, y, at = a * width + b;
    if (!af__is_finite(f->sum[at])) return 0;
    for (x = a > 0 ? a - 1 : 0; x <= a + 1 && x < n; x++)
        for (y = b > 0 ? b - 1 : 0; y <= b + 1 && y < width; y++) {
            size_t to = x * width + y;
            if (f->sum[to] < f->sum[at] || (f->sum[to] == f->sum[at] && to < at)) return 0;
        }
    return 1;
}

/* Keeps the lowest places in order. */
static void af__spot_keep(af__spot *places, size_t *count, af__spot p) {
    size_t i = *count;
    if (i == AF__FILL_PLACES) {
        if (!(p.sum < places[i - 1].sum)) return;
        i--;
    } else ++*count;
    for (; i > 0 && p.sum < places[i - 1].sum; i--) places[i] = places[i - 1];
    places[i] = p;
}

/* Looks through the whole range; the lowest minima, at most AF__FILL_PLACES. */
static size_t af__fill_look(af__fill *f, double (*points)[2], af__spot *places) {
    size_t n = f->desc.grid + 1, width = f->axes == 2 ? n : 1, a, b, count = 0;
    for (a = 0; a < n; a++)
        for (b = 0; b < width; b++) {
            points[a * width + b][0] = (double)a;
            points[a * width + b][1] = (double)b;
        }
    af__fill_evaluate(f, n * width, (const double(*)[2])points);
    for (a = 0; a < n; a++)
        for (b = 0; b < width; b++)
            if (af__fill_is_minimum(f, a, b)) {
                af__spot p;
                p.u[0] = (double)a;
                p.u[1] = (double)b;
                p.sum = f->sum[a * width + b];
                af__spot_keep(places, &count, p);
            }
    return count;
}

/* ---- closing in ---- */

static double af__fill_clip(const af__fill *f, double u) {
    double grid = (double)f->desc.grid;
    return u < 0.0 ? 0.0 : u > grid ? grid : u;
}

/* One axis: a bracket of three neighbours is cut finer and finer. */
static void af__fill_bracket(af__fill *f, af__spot *p) {
    double points[AF__FILL_POINTS][2], low, high;
    size_t i, round, best = 0;
    low = af__fill_clip(f, p->u[0] - 1.0);
    high = af__fill_clip(f, p->u[0] + 1.0);
    for (round = 0; round < AF__FILL_ROUNDS; round++) {
        double step = (high - low) / (double)(AF__FILL_POINTS - 1);
        for (i = 0; i < AF__FILL_POINTS; i++) {
            points[i][0] = low + step * (double)i;
            points[i][1] = 0.0;
        }
        af__fill_evaluate(f, AF__FILL_POINTS, (const double(*)[2])points);
        for (i = 1, best = 0; i < AF__FILL_POINTS; i++)
            if (f->sum[i] < f->sum[best]) best = i;
        if (f->sum[best] <= p->sum) {
            p->u[0] = points[best][0];
            p->sum = f->sum[best];
        }
        low = points[best > 0 ? best - 1 : 0][0];
        high = points[best + 1 < AF__FILL_POINTS ? best + 1 : best][0];
    }
}

/* Residuals and their derivatives at a place, by differences; 0 where they cannot be had. */
static int af__fill_slopes(af__fill *f, const af__spot *p, double r[3], double slope[2][3]) {
    const double step = 1e-4; /* of a step of the grid: errors of 1e-8 or so */
    double points[5][2];
    size_t i, k;
    for (i = 0; i < 5; i++) memcpy(points[i], p->u, sizeof p->u);
    for (k = 0; k < 2; k++) {
        points[1 + k][k] = af__fill_clip(f, p->u[k] + step);
        points[3 + k][k] = af__fill_clip(f, p->u[k] - step);
    }
    af__fill_evaluate(f, 5, (const double(*)[2])points);
    for (i = 0; i < 5; i++)
        if (!af__is_finite(f->sum[i])) return 0;
    memcpy(r, f->j, 3 * sizeof *r);
    for (k = 0; k < 2; k++)
        for (i = 0; i < 3; i++)
            slope[k][i] = (f->j[3 * (1 + k) + i] - f->j[3 * (3 + k) + i]) /
                          (points[1 + k][k] - points[3 + k][k]);
    return 1;
}

/* Two axes: Levenberg-Marquardt, several dampings tried at once. It follows narrow valleys, which
 * brackets along the axes do not. */
static void af__fill_descend(af__fill *f, af__spot *p) {
    double r[3], slope[2][3], points[AF__FILL_DAMPINGS][2], damping = 1e-3;
    size_t i, best, iteration;
    for (iteration = 0; iteration < AF__FILL_ITERATIONS; iteration++) {
        double h00, h01, h11, g0, g1, moved;
        if (!af__fill_slopes(f, p, r, slope)) return;
        h00 = af__dot3(slope[0], slope[0]);
        h01 = af__dot3(slope[0], slope[1]);
        h11 = af__dot3(slope[1], slope[1]);
        g0 = af__dot3(slope[0], r);
        g1 = af__dot3(slope[1], r);
        for (i = 0; i < AF__FILL_DAMPINGS; i++, damping *= 10.0) {
            double a = h00 * (1.0 + damping), b = h11 * (1.0 + damping);
            double d = a * b - h01 * h01;
            points[i][0] = af__fill_clip(f, p->u[0] - (d > 0.0 ? (b * g0 - h01 * g1) / d : 0.0));
            points[i][1] = af__fill_clip(f, p->u[1] - (d > 0.0 ? (a * g1 - h01 * g0) / d : 0.0));
        }
        af__fill_evaluate(f, AF__FILL_DAMPINGS, (const double(*)[2])points);
        for (i = 1, best = 0; i < AF__FILL_DAMPINGS; i++)
            if (f->sum[i] < f->sum[best]) best = i;
        if (!(f->sum[best] < p->sum)) {
            if (damping > 1e12) return;
            continue; /* with dampings beyond those tried */
        }
        /* begin one below the best */
        damping *= pow(10.0, (double)best - (double)AF__FILL_DAMPINGS - 1.0);
        if (damping < 1e-15) damping = 1e-15;
        moved = fabs(points[best][0] - p->u[0]) + fabs(points[best][1] - p->u[1]);
        memcpy(p->u, points[best], sizeof p->u);
        p->sum = f->sum[best];
        if (moved < 1e-11 * (double)f->desc.grid) return;
    }
}

/* ---- one star ---- */

/* Are these different answers: half a step of the grid apart along some axis? */
static int af__spot_differs(const af__fill *f, const af__spot *p, const af__spot *q) {
    return fabs(p->u[0] - q->u[0]) > 0.5 || (f->axes == 2 && fabs(p->u[1] - q->u[1]) > 0.5);
}

/* The best place, and the best of those elsewhere; 0 when the star has no actions anywhere. */
static int af__fill_search(af__fill *f, double (*points)[2], af__spot *best, af__spot *rival) {
    af__spot places[AF__FILL_PLACES];
    size_t i, count = af__fill_look(f, points, places);
    for (i = 0; i < count; i++) {
        if (f->axes == 1) af__fill_bracket(f, &places[i]);
        else af__fill_descend(f, &places[i]);
    }
    if (count == 0) return 0;
    *best = places[0];
    for (i = 1; i < count; i++)
        if (places[i].sum < best->sum) *best = places[i];
    rival->sum = INFINITY;
    for (i = 0; i < count; i++)
        if (places[i].sum < rival->sum && af__spot_differs(f, &places[i], best))
            *rival = places[i];
    return 1;
}

/* Distance and velocity of the values. */
static void af__fill_answer(const af__fill *f, const af__spot *p, double *distance,
                            double *velocity) {
    double value[6], sky[6];
    af__fill_value(f, p->u, value);
    af__observed_distance(f->o, value, sky);
    *distance = sky[2];
    *velocity = sky[5];
}

/* Fills in star `at`; 0 when it cannot be. */
static int af__fill_star(af__fill *f, double (*points)[2], af_observed *o, size_t at) {
    af__spot best = AF__ZERO, rival = AF__ZERO;
    af_filled answer = af__not_filled();
    f->missing = o->unmeasured[at];
    f->axes = f->missing == (AF_MISSING_DISTANCE | AF_MISSING_VELOCITY) ? 2 : 1;
    memcpy(f->value, o->value + at * 6, sizeof f->value);
    if (!af__fill_search(f, points, &best, &rival)) return 0;
    answer.misfit = sqrt(best.sum);
    if (af__is_finite(rival.sum)) {
        answer.rival_misfit = sqrt(rival.sum);
        af__fill_answer(f, &rival, &answer.rival_distance, &answer.rival_velocity);
    }
    af__fill_value(f, best.u, o->value + at * 6);
    o->filled[at] = answer;
    return 1;
}

/* ---- all of them ---- */

static af_status af__fill_check(af_context *c, af_fill_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "af_fill_desc was not set to zero first");
    if (!d->actions)
        return af__fail(c, AF_ERROR_ARGUMENT, "af_fill_desc: the function for actions is missing");
    if (d->distance[0] == 0.0 && d->distance[1] == 0.0) {
        d->distance[0] = 0.1;
        d->distance[1] = 200.0;
    }
    if (d->velocity[0] == 0.0 && d->velocity[1] == 0.0) { /* above the escape speed, seen from us */
        d->velocity[0] = -1000.0;
        d->velocity[1] = 1000.0;
    }
    if (d->grid == 0) d->grid = 100;
    if (!(d->distance[0] > 0.0 && d->distance[0] < d->distance[1]) ||
        !(d->velocity[0] < d->velocity[1]) || !af__all_finite(d->distance, 2) ||
        !af__all_finite(d->velocity, 2) || d->grid < 4 || d->grid > 1000)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "what is missing cannot be searched for in distances %g to %g kpc and "
                        "velocities %g to %g km/s with %lu steps; steps are 4 to 1000",
                        d->distance[0], d->distance[1], d->velocity[0], d->velocity[1],
                        (unsigned long)d->grid);
    return AF_OK;
}

/* Room for the largest batch: the grid, the pieces of a bracket, the stars of a stream. */
static af_status af__fill_room(af__fill *f, af__arena *arena, double (**points)[2]) {
    size_t s, i, n = f->desc.grid + 1, room = AF__FILL_POINTS, both = 0;
    for (s = 0; s < f->o->streams; s++)
        for (i = 0; i < f->o->count[s]; i++)
            if (f->o->unmeasured[s * f->o->stars + i] ==
                (AF_MISSING_DISTANCE | AF_MISSING_VELOCITY))
                both = 1;
    if (both) n *= n;
    if (room < n) room = n;
    if (room < f->o->stars) room = f->o->stars;
    f->xv = AF__ARRAY(arena, double, 6 * room);
    f->j = AF__ARRAY(arena, double, 3 * room);
    f->sum = AF__ARRAY(arena, double, room);
    f->sorted = AF__ARRAY(arena, double, f->o->stars);
    *points = (double(*)[2])af__arena_alloc(arena, room, sizeof **points);
    if (f->xv && f->j && f->sum && f->sorted && *points) return AF_OK;
    return af__fail_memory(f->o->context, "finding what was not measured");
}

AF_API af_status af_observed_fill(af_observed *o, const af_fill_desc *desc, size_t *filled,
                                  size_t *left) {
    af__arena arena = AF__ZERO;
    af__fill f = AF__ZERO;
    double(*points)[2];
    size_t s, i, found = 0, lost = 0;
    af_status status;
    f.o = o;
    f.desc = *desc;
    status = af__fill_check(o->context, &f.desc);
    if (status != AF_OK) return status;
    f.log_distance[0] = log(f.desc.distance[0]);
    f.log_distance[1] = log(f.desc.distance[1]);
    arena.allocator = o->context->allocator;
    status = af__fill_room(&f, &arena, &points);
    for (s = 0; s < o->streams && status == AF_OK; s++) {
        int known = -1; /* not looked at yet */
        for (i = 0; i < o->count[s]; i++) {
            if (!o->unmeasured[s * o->stars + i]) continue;
            if (known < 0) known = af__fill_members(&f, s);
            if (known && af__fill_star(&f, points, o, s * o->stars + i)) found++;
            else lost++;
        }
    }
    af__arena_free(&arena);
    if (status == AF_OK && filled) *filled = found;
    if (status == AF_OK && left) *left = lost;
    return status;
}
