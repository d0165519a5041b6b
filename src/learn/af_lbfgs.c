/* ---- L-BFGS -------------------------------------------------------------------------------------
 *
 * The two-loop recursion and a line search for the strong Wolfe conditions (Nocedal & Wright 2006,
 * algorithms 7.4, 7.5, 3.5, 3.6). Where F moves by rounding alone, its slope takes over: the
 * approximate Wolfe conditions of Hager & Zhang 2005, SIAM J. Optim. 16, 170. */

#define AF__FLAT 1e-15    /* of |F|: smaller changes are taken for rounding */
#define AF__NO_PAIR 1e-10 /* cosine between s and y: condition numbers to 1e20 have more */

enum {
    AF__LONGER = 20,   /* trials that lengthen a step ... */
    AF__BETWEEN = 40,  /* ... and that close in on one: each takes a tenth off, or far more */
    AF__FLAT_STEPS = 30 /* steps on the flat in which the gradient must find a new low */
};

/* F and its gradient at x. F need not be finite away from the start: steps are shortened then. */
typedef af_status (*af__objective)(void *user, const double *x, double *f, double *gradient);

typedef struct af__lbfgs {
    size_t n, memory, pairs, next; /* pairs that there are; the slot of the next one */
    double *s, *y;                 /* (memory,n): steps, and changes of the gradient */
    double *over, *alpha;          /* (memory): 1 / s.y, and of the recursion */
    double *direction, *trial, *gradient, *kept; /* (n): of the line search */
    double gamma;                  /* s.y / y.y of the last pair; 0: none */
    double decrease, curvature;    /* Wolfe's constants */
    double lowest;                 /* the shortest gradient on the flat ... */
    int flat;                      /* ... and steps on the flat since */
} af__lbfgs;

static void af__lbfgs_restart(af__lbfgs *l) {
    l->pairs = l->next = 0;
    l->gamma = 0.0;
    l->flat = 0;
}

/* All memory is the arena's; returns 0 when there is none. */
static int af__lbfgs_create(af__arena *arena, size_t n, size_t memory, af__lbfgs *out) {
    size_t pairs = memory && n <= SIZE_MAX / memory ? n * memory : memory ? SIZE_MAX : 0;
    memset(out, 0, sizeof *out);
    out->n = n;
    out->memory = memory;
    out->decrease = 1e-4;
    out->curvature = 0.9;
    out->s = AF__ARRAY(arena, double, pairs);
    out->y = AF__ARRAY(arena, double, pairs);
    out->over = AF__ARRAY(arena, double, memory);
    out->alpha = AF__ARRAY(arena, double, memory);
    out->direction = AF__ARRAY(arena, double, n);
    out->trial = AF__ARRAY(arena, double, n);
    out->gradient = AF__ARRAY(arena, double, n);
    out->kept = AF__ARRAY(arena, double, n);
    return out->s && out->y && out->over && out->alpha && out->direction && out->trial &&
           out->gradient && out->kept;
}

static double af__dot(size_t n, const double *x, const double *y) {
    double sum[4] = {0.0, 0.0, 0.0, 0.0};
    size_t i;
    for (i = 0; i + 4 <= n; i += 4) {
        sum[0] += x[i] * y[i];
        sum[1] += x[i + 1] * y[i + 1];
        sum[2] += x[i + 2] * y[i + 2];
        sum[3] += x[i + 3] * y[i + 3];
    }
    for (; i < n; i++) sum[i % 4] += x[i] * y[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* y += a x. */
static void af__add_scaled(size_t n, double a, const double *x, double *y) {
    size_t i;
    for (i = 0; i < n; i++) y[i] += a * x[i];
}

/* direction = -H gradient. */
static void af__lbfgs_direction(af__lbfgs *l, const double *gradient) {
    double *d = l->direction;
    size_t n = l->n, i, k;
    for (i = 0; i < n; i++) d[i] = -gradient[i];
    for (i = 1; i <= l->pairs; i++) { /* the last pair first */
        k = (l->next + l->memory - i) % l->memory;
        l->alpha[k] = l->over[k] * af__dot(n, l->s + k * n, d);
        af__add_scaled(n, -l->alpha[k], l->y + k * n, d);
    }
    for (i = 0; i < n && l->pairs; i++) d[i] *= l->gamma;
    for (i = l->pairs; i > 0; i--) {
        k = (l->next + l->memory - i) % l->memory;
        af__add_scaled(n, l->alpha[k] - l->over[k] * af__dot(n, l->y + k * n, d), l->s + k * n, d);
    }
}

/* Remembers the step from x to the trial, unless it shows no upward curvature. */
static void af__lbfgs_learn(af__lbfgs *l, const double *x, const double *gradient) {
    double sy = 0.0, ss = 0.0, yy = 0.0, *s, *y;
    size_t i, n = l->n;
    for (i = 0; i < n; i++) {
        double step = l->trial[i] - x[i], change = l->gradient[i] - gradient[i];
        sy += step * change;
        ss += step * step;
        yy += change * change;
    }
    if (!l->memory || !(sy > AF__NO_PAIR * sqrt(ss) * sqrt(yy))) return;
    if (!af__is_finite(1.0 / sy) || !af__is_finite(sy / yy)) return;
    s = l->s + l->next * n;
    y = l->y + l->next * n;
    for (i = 0; i < n; i++) {
        s[i] = l->trial[i] - x[i];
        y[i] = l->gradient[i] - gradient[i];
    }
    l->over[l->next] = 1.0 / sy;
    l->gamma = sy / yy;
    l->next = (l->next + 1) % l->memory;
    if (l->pairs < l->memory) l->pairs++;
}

/* ---- the line search ---- */

/* A point of the line x + t direction. */
typedef struct af__line_point {
    double t, f, slope; /* f infinite: F, or its slope, is not finite there */
} af__line_point;

typedef struct af__line {
    af__lbfgs *l;
    const double *x;
    af__line_point start, low, high; /* between low and high there are good points */
    af__objective objective;
    void *user;
    size_t *evaluations;
    af_status status;
} af__line;

typedef enum af__verdict { AF__GOOD, AF__AS_LOW, AF__AS_HIGH } af__verdict;

/* The trial goes to t; returns 0 when it is still at x, for rounding. */
static int af__line_move(const af__line *line, double t) {
    const af__lbfgs *l = line->l;
    size_t i;
    int moved = 0;
    for (i = 0; i < l->n; i++) {
        l->trial[i] = line->x[i] + t * l->direction[i];
        moved |= l->trial[i] != line->x[i];
    }
    return moved;
}

/* At the trial, which is at t. */
static af__line_point af__line_evaluate(af__line *line, double t) {
    af__lbfgs *l = line->l;
    af__line_point p = AF__ZERO;
    p.t = t;
    line->status = line->objective(line->user, l->trial, &p.f, l->gradient);
    ++*line->evaluations;
    p.slope = af__dot(l->n, l->gradient, l->direction);
    if (af__is_finite(p.f) && af__is_finite(p.slope)) return p;
    p.f = HUGE_VAL;
    p.slope = 0.0;
    return p;
}

/* The two differ by no more than rounding. */
static int af__line_same(const af__line *line, double f, double g) {
    return fabs(f - g) <= AF__FLAT * fabs(line->start.f);
}

static af__verdict af__line_judge(const af__line *line, const af__line_point *p) {
    const af__line_point *start = &line->start;
    int flat = af__line_same(line, p->f, start->f) && af__line_same(line, p->f, line->low.f);
    if (!flat && (!(p->f <= start->f + line->l->decrease * p->t * start->slope) ||
                  (line->low.t > 0.0 && p->f >= line->low.f)))
        return AF__AS_HIGH;
    return fabs(p->slope) <= -line->l->curvature * start->slope ? AF__GOOD : AF__AS_LOW;
}

/* Low becomes p, which was just evaluated; its gradient is kept. */
static void af__line_keep(af__line *line, const af__line_point *p) {
    double *gradient = line->l->gradient;
    line->l->gradient = line->l->kept;
    line->l->kept = gradient;
    line->low = *p;
}

/* Where the cubic through both ends with their slopes is lowest (Nocedal & Wright, eq. 3.59); where
 * the values say nothing, where the slope between them is zero. Not finite when there is none. */
static double af__line_cubic(const af__line *line, const af__line_point *a,
                             const af__line_point *b) {
    double d1, d2;
    if (af__line_same(line, a->f, b->f))
        return a->t - a->slope * (b->t - a->t) / (b->slope - a->slope);
    d1 = a->slope + b->slope - 3.0 * (a->f - b->f) / (a->t - b->t);
    d2 = sqrt(d1 * d1 - a->slope * b->slope);
    if (b->t < a->t) d2 = -d2;
    return b->t - (b->t - a->t) * ((b->slope + d2 - d1) / (b->slope - a->slope + 2.0 * d2));
}

/* A trial between low and high, a tenth of their distance away from either. */
static double af__line_between(const af__line *line) {
    const af__line_point *low = &line->low, *high = &line->high;
    double part = 0.2; /* beyond a wall */
    if (high->f < HUGE_VAL) part = (af__line_cubic(line, low, high) - low->t) / (high->t - low->t);
    if (!af__is_finite(part)) part = 0.5;
    part = part < 0.1 ? 0.1 : part > 0.9 ? 0.9 : part;
    return low->t + part * (high->t - low->t);
}

/* Closes in on a good point; 0: there is none that rounding lets be found. */
static int af__line_zoom(af__line *line) {
    int i;
    for (i = 0; i < AF__BETWEEN; i++) {
        double t = af__line_between(line);
        af__line_point p;
        af__verdict verdict;
        if (t == line->low.t || t == line->high.t || !af__line_move(line, t)) return 0;
        p = af__line_evaluate(line, t);
        if (line->status != AF_OK) return 0;
        verdict = af__line_judge(line, &p);
        if (verdict == AF__AS_HIGH) {
            line->high = p;
            continue;
        }
        if (verdict == AF__AS_LOW && p.slope * (line->high.t - line->low.t) >= 0.0)
            line->high = line->low;
        af__line_keep(line, &p);
        if (verdict == AF__GOOD) return 1;
    }
    return 0;
}

/* Lengthens the step until it brackets a good one. */
static int af__line_bracket(af__line *line, double t) {
    int i;
    for (i = 0; i < AF__LONGER; i++) {
        af__line_point before = line->low, p;
        af__verdict verdict;
        af__line_move(line, t);
        p = af__line_evaluate(line, t);
        if (line->status != AF_OK) return 0;
        verdict = af__line_judge(line, &p);
        if (verdict == AF__AS_HIGH) {
            line->high = p;
            return af__line_zoom(line);
        }
        af__line_keep(line, &p);
        if (verdict == AF__GOOD) return 1;
        if (p.slope >= 0.0) {
            line->high = before;
            return af__line_zoom(line);
        }
        t = af__line_cubic(line, &before, &p);
        if (!(t >= 2.0 * p.t)) t = 2.0 * p.t;
        if (t > 10.0 * p.t) t = 10.0 * p.t;
        if (!af__is_finite(t)) break;
    }
    return 0;
}

/* Puts the end of a step along the direction into trial, gradient and line->low. A point that is
 * lower, but no good one, is better than none. */
static int af__line_search(af__line *line, double first) {
    af__lbfgs *l = line->l;
    double *gradient;
    int good = af__line_bracket(line, first);
    if (line->status != AF_OK) return 0;
    if (!good && !(line->low.f < line->start.f)) return 0;
    af__line_move(line, line->low.t);
    gradient = l->gradient;
    l->gradient = l->kept;
    l->kept = gradient;
    return 1;
}

/* ---- a step ---- */

/* True when this step and too many before it left F where it was and gained nothing for the
 * gradient. */
static int af__lbfgs_idle(af__lbfgs *l, double before, double after) {
    double norm = sqrt(af__dot(l->n, l->gradient, l->gradient));
    if (fabs(after - before) > AF__FLAT * fabs(before)) {
        l->flat = 0;
        return 0;
    }
    if (l->flat == 0 || norm < l->lowest) {
        l->lowest = norm;
        l->flat = 1;
        return 0;
    }
    return ++l->flat > AF__FLAT_STEPS;
}

/* The line along which the step goes: 0 when the pairs give none that leads down. */
static int af__lbfgs_line(af__lbfgs *l, const double *x, double f, const double *gradient,
                          af__line *line) {
    af__lbfgs_direction(l, gradient);
    line->l = l;
    line->x = x;
    line->start.t = 0.0;
    line->start.f = f;
    line->start.slope = af__dot(l->n, gradient, l->direction);
    line->low = line->start;
    return line->start.slope < 0.0 && af__is_finite(line->start.slope);
}

/* One step from x, which it moves. f and gradient (n) are those of x: before, if *known, and after.
 * *moved = 0, all as it was: no step leads down. AF_ERROR_NONFINITE when F or the square of its
 * gradient is not finite at x; otherwise fails as the objective does. */
static af_status af__lbfgs_step(af__lbfgs *l, double *x, double *f, double *gradient, int *known,
                                af__objective objective, void *user, int *moved,
                                size_t *evaluations) {
    af__line line = AF__ZERO;
    double square, first;
    int found = 0;
    *moved = 0;
    line.objective = objective;
    line.user = user;
    line.evaluations = evaluations;
    if (!*known) {
        line.status = objective(user, x, f, gradient);
        ++*evaluations;
        if (line.status != AF_OK) return line.status;
        *known = 1;
    }
    square = af__dot(l->n, gradient, gradient);
    if (!af__is_finite(*f) || !af__is_finite(square)) return AF_ERROR_NONFINITE;
    if (l->pairs > 0) {
        found = af__lbfgs_line(l, x, *f, gradient, &line) && af__line_search(&line, 1.0);
        if (!found) l->pairs = l->next = 0;
    }
    if (!found && line.status == AF_OK) { /* straight down; gamma may still know how far */
        first = l->gamma > 0.0 ? l->gamma : 1.0 / sqrt(square);
        if (!af__is_finite(first)) first = 1.0;
        found = af__lbfgs_line(l, x, *f, gradient, &line) && af__line_search(&line, first);
    }
    if (line.status != AF_OK) return line.status;
    if (!found || af__lbfgs_idle(l, *f, line.low.f)) return AF_OK;
    af__lbfgs_learn(l, x, gradient);
    memcpy(x, l->trial, l->n * sizeof *x);
    memcpy(gradient, l->gradient, l->n * sizeof *gradient);
    *f = line.low.f;
    *moved = 1;
    return AF_OK;
}
