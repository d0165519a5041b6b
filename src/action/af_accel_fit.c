/* ---- the acceleration field: training -----------------------------------------------------------
 *
 * The map does not change, so its derivatives are computed once. What is left of eqs. 15 and 16 is
 * linear in the acceleration of each star:
 *
 *     dJ/dt = p + Q a (3 equations),   Omega = u + W a (3)
 *
 * in the units of af_accel_fit_desc. Streams are rows, (S,N,.). */

/* The stars' equations, and what the orbits say of them. */
typedef struct af__equations {
    size_t streams, stars;
    double *p, *q, *u, *w;  /* (S,N,3), (S,N,9), (S,N,3), (S,N,9); u, w NULL if not wanted */
    double *action, *rate;  /* of the toy: |J| of each stream (S), Omega_r of each star (S,N) */
    double *spread;         /* (S): rms of J within the stream over |J|; infinite: not known */
    unsigned char *good;    /* (S,N) */
    size_t count;           /* of good stars */
    double typical;         /* median spread */
} af__equations;

/* ---- equations of the stars ---- */

static int af__equations_memory(af__equations *e, int frequencies, af__arena *arena) {
    size_t n = e->streams * e->stars;
    e->p = AF__ARRAY(arena, double, 3 * n);
    e->q = AF__ARRAY(arena, double, 9 * n);
    e->action = AF__ARRAY(arena, double, e->streams);
    e->rate = AF__ARRAY(arena, double, n);
    e->spread = AF__ARRAY(arena, double, e->streams);
    e->good = AF__ARRAY(arena, unsigned char, n);
    if (!e->p || !e->q || !e->action || !e->rate || !e->spread || !e->good) return 0;
    if (!frequencies) return 1;
    e->u = AF__ARRAY(arena, double, 3 * n);
    e->w = AF__ARRAY(arena, double, 9 * n);
    return e->u && e->w;
}

/* Units from the toy; stars unbound in it are left out. */
static void af__equations_toy(af__equations *e, const af_orbits *o, const af_isochrone *toy) {
    size_t s, i;
    for (s = 0; s < e->streams; s++) {
        double sum = 0.0, count = 0.0;
        for (i = 0; i < o->count[s]; i++) {
            size_t at = s * e->stars + i;
            double j[3], omega[3];
            if (af_isochrone_actions(toy, af_orbits_xv(o, s) + 6 * i, j, NULL, omega) &
                AF_ORBIT_FAILED)
                continue;
            e->rate[at] = omega[2];
            sum += fabs(j[0]) + j[1] + j[2];
            count += 1.0;
            e->good[at] = 1;
        }
        e->action[s] = count > 0.0 ? sum / count : 0.0;
        for (i = 0; i < e->stars; i++)
            if (!(e->action[s] > 0.0)) e->good[s * e->stars + i] = 0;
    }
}

/* d = derivatives (3,6) of a star: rest = d_x . v and matrix = d_v, over `unit`. */
static void af__equations_star(const double *d, const double *v, const double unit, double *rest,
                               double *matrix) {
    size_t i, k;
    for (i = 0; i < 3; i++) {
        rest[i] = 0.0;
        for (k = 0; k < 3; k++) {
            rest[i] += d[6 * i + k] * v[k] / unit;
            matrix[3 * i + k] = d[6 * i + 3 + k] / unit;
        }
    }
}

/* One stream, from what the map said: j (N,3), dj and dtheta (N,3,6). */
static void af__equations_stream(af__equations *e, size_t s, const double *xv, const double *j,
                                 const double *dj, const double *dtheta) {
    size_t i, k, first = s * e->stars;
    double square = 0.0, count = 0.0;
    for (k = 0; k < 3; k++) {
        double mean = 0.0, n = 0.0;
        for (i = 0; i < e->stars; i++) {
            double away = j[3 * i + k] - mean;
            if (!e->good[first + i] || !af__is_finite(j[3 * i + k])) continue;
            n += 1.0;
            mean += away / n;
            square += away * (j[3 * i + k] - mean);
        }
        count = n;
    }
    e->spread[s] = count > 1.0 ? sqrt(square / count) / e->action[s] : (double)INFINITY;
    for (i = 0; i < e->stars; i++) {
        size_t at = first + i;
        e->good[at] = e->good[at] && af__is_finite(j[3 * i]);
        if (!e->good[at]) continue;
        af__equations_star(dj + 18 * i, xv + 6 * i + 3, e->rate[at] * e->action[s], e->p + 3 * at,
                           e->q + 9 * at);
        if (e->u)
            af__equations_star(dtheta + 18 * i, xv + 6 * i + 3, e->rate[at], e->u + 3 * at,
                               e->w + 9 * at);
    }
}

/* The median of the spreads that are known. A map may be exact, no network is: the least is about
 * what one of 1000 parameters leaves. */
#define AF__LEAST_SPREAD 1e-3

static void af__equations_count(af__equations *e, double *sorted) {
    size_t i, n = 0;
    e->count = 0;
    for (i = 0; i < e->streams * e->stars; i++) e->count += e->good[i];
    for (i = 0; i < e->streams; i++)
        if (af__is_finite(e->spread[i])) sorted[n++] = e->spread[i];
    qsort(sorted, n, sizeof *sorted, af__compare_doubles);
    e->typical = n ? af__quantile(sorted, n, 0.5) : 0.0;
    if (!(e->typical > AF__LEAST_SPREAD)) e->typical = AF__LEAST_SPREAD;
}

enum { AF__EQUATIONS_STREAMS = 64 }; /* at a time */

/* Asks the map. Everything is in the arena; map NULL: no p, q, and all spreads unknown. */
static af_status af__equations_of(af_context *c, const af_orbits *o, const af_phase_map *map,
                                  const af_isochrone *toy, int frequencies, af__arena *arena,
                                  af__equations *e) {
    size_t s, i, n = o->stars, most = (size_t)AF__EQUATIONS_STREAMS;
    double *j = AF__ARRAY(arena, double, 3 * most * n), *dtheta = NULL;
    double *dj = AF__ARRAY(arena, double, 18 * most * n);
    double *sorted = AF__ARRAY(arena, double, o->streams);
    e->streams = o->streams;
    e->stars = n;
    if (frequencies) dtheta = AF__ARRAY(arena, double, 18 * most * n);
    if (!j || !dj || !sorted || (frequencies && !dtheta) ||
        !af__equations_memory(e, frequencies, arena))
        return af__fail_memory(c, "the stars' equations");
    af__equations_toy(e, o, toy);
    for (s = 0; s < o->streams; s += most) {
        size_t m = af__clamp(o->streams - s, 1, most);
        if (map)
            map->evaluate(m, n, af_orbits_xv(o, s), o->count + s, j, NULL, dj, dtheta, map->user);
        for (i = 0; i < m && map; i++)
            af__equations_stream(e, s + i, af_orbits_xv(o, s + i), j + 3 * i * n, dj + 18 * i * n,
                                 dtheta ? dtheta + 18 * i * n : NULL);
        for (i = 0; i < m && !map; i++) e->spread[s + i] = (double)INFINITY;
    }
    af__equations_count(e, sorted);
    if (e->count == 0)
        return af__fail(c, AF_ERROR_DATA,
                        "acceleration: the map has no answer for any of the stars");
    return AF_OK;
}

/* ---- the loss ---- */

enum { AF__ACCEL_INPUTS = 10 };

typedef struct af__accel_fitting {
    af_accel *a;
    const af_orbits *orbits;
    af_accel_fit_desc desc;
    af__arena arena;
    af__equations e;
    size_t streams, pieces; /* filled up to whole pieces */
    af_expr input[AF__ACCEL_INPUTS];
    double *data[AF__ACCEL_INPUTS];
    double reach;
    size_t done;            /* steps of the stages before */
    af_minimiser *minimiser;
} af__accel_fitting;

/* The inputs: their last axis, see af__accel_fill. */
enum {
    AF__IN_X = 0,   /* 3 */
    AF__IN_WEIGHT,  /* 1: 1/count of all stars, 0 for those left out */
    AF__IN_SHARE,   /* 1: adds up to 1 over the good stars of a stream */
    AF__IN_P,       /* 3 */
    AF__IN_Q,       /* 9 */
    AF__IN_U,       /* 3 */
    AF__IN_W,       /* 9 */
    AF__IN_ENERGY,  /* 1: v^2/2 in units of length strength */
    AF__IN_SCALE,   /* 1: what divides energies, in the same units */
    AF__IN_REACH    /* a scalar: what divides r^2, see af__accel_stages */
};
static const size_t af__accel_width[AF__ACCEL_INPUTS] = {3, 1, 1, 3, 9, 3, 9, 1, 1, 0};

/* sum over stars of weight log(1 + r^2/reach), r^2 (S,N,1). */
static af_expr af__softened(const af__accel_fitting *t, af_expr square) {
    af_context *c = t->a->context;
    square = af_log1p(c, af_div(c, square, t->input[AF__IN_REACH]));
    return af_sum(c, af_mul(c, t->input[AF__IN_WEIGHT], square));
}

/* rest + matrix a: (S,N,3), (S,N,9), (S,N,3). */
static af_expr af__along(af_context *c, af_expr rest, af_expr matrix, af_expr a) {
    af_expr row[3];
    size_t i;
    for (i = 0; i < 3; i++)
        row[i] = af_sum_axis(c, af_mul(c, af_slice(c, matrix, -1, 3 * i, 3), a), -1);
    return af_add(c, rest, af_concat(c, -1, 3, row));
}

/* Less the mean over the stream. */
static af_expr af__deviation(const af__accel_fitting *t, af_expr x) {
    af_context *c = t->a->context;
    return af_sub(c, x, af_sum_axis(c, af_mul(c, t->input[AF__IN_SHARE], x), 1));
}

/* (1 + cos(a_R, R))^2 over the square of `unit`. */
static af_expr af__antiparallel(af_context *c, af_expr x, af_expr a, double unit) {
    af_expr in[2], part[2], dot, size;
    in[0] = af_slice(c, x, -1, 0, 2);
    in[1] = af_slice(c, a, -1, 0, 2);
    part[0] = af_sum_axis(c, af_square(c, in[0]), -1);
    part[1] = af_sum_axis(c, af_square(c, in[1]), -1);
    dot = af_sum_axis(c, af_mul(c, in[0], in[1]), -1);
    size = af_sqrt(c, af_offset(c, af_mul(c, part[0], part[1]), 1e-20));
    return af_square(c, af_scale(c, af_offset(c, af_div(c, dot, size), 1.0), 1.0 / unit));
}

static af_expr af__accel_loss(af__accel_fitting *t) {
    af_context *c = t->a->context;
    const af_accel_fit_desc *d = &t->desc;
    size_t dims[3], rows[2];
    af_expr x, a, sum = af_constant(c, 0.0), r;
    double soft = t->e.typical;
    af__gravity f;
    dims[0] = t->streams / t->pieces;
    dims[1] = t->e.stars;
    rows[0] = dims[0] * dims[1];
    rows[1] = dims[2] = 3;
    x = t->input[AF__IN_X];
    f = af__accel_field(t->a, af_reshape(c, x, 2, rows));
    a = af_reshape(c, f.acceleration, 3, dims);
    if (d->action_weight > 0.0) {
        r = af_square(c, af__along(c, t->input[AF__IN_P], t->input[AF__IN_Q], a));
        r = af__softened(t, af_sum_axis(c, r, -1));
        sum = af_add(c, sum, af_scale(c, r, d->action_weight));
    }
    if (d->symmetry_weight > 0.0) {
        r = af__softened(t, af__antiparallel(c, x, a, soft));
        sum = af_add(c, sum, af_scale(c, r, d->symmetry_weight));
    }
    if (d->frequency_weight > 0.0) {
        r = af__deviation(t, af__along(c, t->input[AF__IN_U], t->input[AF__IN_W], a));
        r = af_sum_axis(c, af_square(c, af_scale(c, r, 1.0 / soft)), -1);
        sum = af_add(c, sum, af_scale(c, af__softened(t, r), d->frequency_weight));
    }
    if (d->energy_weight > 0.0) {
        dims[2] = 1;
        r = af_add(c, af_reshape(c, f.potential, 3, dims), t->input[AF__IN_ENERGY]);
        r = af_square(c, af_div(c, af__deviation(t, r), t->input[AF__IN_SCALE]));
        sum = af_add(c, sum, af_scale(c, af__softened(t, r), d->energy_weight));
    }
    return sum;
}

/* ---- its data ---- */

enum { AF__ACCEL_PIECE = 256 }; /* stars, about */

static int af__accel_wanted(const af_accel_fit_desc *d, size_t i) {
    if (i == AF__IN_P || i == AF__IN_Q) return d->action_weight > 0.0;
    if (i == AF__IN_U || i == AF__IN_W) return d->frequency_weight > 0.0;
    if (i == AF__IN_ENERGY || i == AF__IN_SCALE) return d->energy_weight > 0.0;
    return 1;
}

/* What is left of `from` (width) of a star, times `factor`, or zeros. */
static void af__accel_put(af__accel_fitting *t, size_t input, size_t at, const double *from,
                          double factor) {
    size_t k, width = af__accel_width[input];
    for (k = 0; k < width && t->data[input] && from; k++)
        t->data[input][width * at + k] = factor * from[k];
}

static void af__accel_fill_star(af__accel_fitting *t, size_t s, size_t i, double stars) {
    const af_accel *a = t->a;
    const af__equations *e = &t->e;
    const double *xv = af_orbits_xv(t->orbits, s) + 6 * i, *v = xv + 3;
    size_t at = s * e->stars + i;
    double soft = hypot(e->typical, e->spread[s]), one = 1.0;
    double energy = 0.5 * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    double unit = e->rate[at] * e->action[s] * e->typical, known = af__is_finite(soft) ? 1.0 : 0.0;
    if (!e->good[at]) return;
    af__accel_put(t, AF__IN_X, at, xv, 1.0);
    af__accel_put(t, AF__IN_WEIGHT, at, &one, 1.0 / (double)e->count);
    af__accel_put(t, AF__IN_SHARE, at, &one, 1.0 / stars);
    if (!(known > 0.0)) soft = e->typical; /* one star of its stream: as reliable as others */
    soft *= sqrt(1.0 + e->p[3 * at] * e->p[3 * at] + e->p[3 * at + 1] * e->p[3 * at + 1] +
                 e->p[3 * at + 2] * e->p[3 * at + 2]);
    af__accel_put(t, AF__IN_P, at, e->p + 3 * at, 1.0 / soft);
    af__accel_put(t, AF__IN_Q, at, e->q + 9 * at, a->strength / soft);
    if (e->u) af__accel_put(t, AF__IN_U, at, e->u + 3 * at, 1.0);
    if (e->w) af__accel_put(t, AF__IN_W, at, e->w + 9 * at, a->strength);
    af__accel_put(t, AF__IN_ENERGY, at, &energy, 1.0 / (a->length * a->strength));
    af__accel_put(t, AF__IN_SCALE, at, &unit, 1.0 / (a->length * a->strength));
}

/* Everything in its units; idle places get a point that does no harm. */
static void af__accel_fill(af__accel_fitting *t) {
    size_t i, s, n = t->e.stars;
    for (i = 0; i < t->streams * n; i++) {
        t->data[AF__IN_X][3 * i] = t->data[AF__IN_X][3 * i + 2] = t->a->length;
        if (t->data[AF__IN_SCALE]) t->data[AF__IN_SCALE][i] = 1.0;
    }
    for (s = 0; s < t->e.streams; s++) {
        double stars = 0.0;
        for (i = 0; i < n; i++) stars += (double)t->e.good[s * n + i];
        for (i = 0; i < n; i++) af__accel_fill_star(t, s, i, stars);
    }
}

static af_status af__accel_data(af__accel_fitting *t) {
    af_context *c = t->a->context;
    size_t i, dims[3], most = af__clamp((size_t)AF__ACCEL_PIECE / t->e.stars, 1, t->e.streams);
    t->pieces = (t->e.streams + most - 1) / most;
    t->streams = t->pieces * most;
    dims[0] = most;
    dims[1] = t->e.stars;
    for (i = 0; i < (size_t)AF__IN_REACH; i++) {
        if (!af__accel_wanted(&t->desc, i)) continue;
        dims[2] = af__accel_width[i];
        t->data[i] = AF__ARRAY(&t->arena, double, t->streams * dims[1] * dims[2]);
        if (!t->data[i]) return af__fail_memory(c, "the training data");
        t->input[i] = af_input(c, "data of the acceleration field", 3, dims);
    }
    t->input[AF__IN_REACH] = af_input(c, "reach", 0, NULL);
    t->data[AF__IN_REACH] = &t->reach;
    af__accel_fill(t);
    return AF_OK;
}

/* ---- stages ----
 *
 * Far from the truth all stars seem wrong, and log(1 + r^2) would be flat. So r^2 is divided by a
 * reach at which the median star is not far outside, then by a hundredth of it, and so on to 1. */

/* r^2 of eq. 15 for the star at `at`, a in units of strength. */
static double af__residual_of(const af__accel_fitting *t, size_t at, const double *a) {
    double square = 0.0;
    size_t i, k;
    for (i = 0; i < 3; i++) {
        double r = t->data[AF__IN_P][3 * at + i];
        for (k = 0; k < 3; k++) r += t->data[AF__IN_Q][9 * at + 3 * i + k] * a[k];
        square += r * r;
    }
    return square;
}

/* r^2 of the energies of a stream, square (N), which may be phi (N). */
static void af__residuals_of_energy(const af__accel_fitting *t, size_t s, const double *phi,
                                    double *square) {
    size_t i, n = t->e.stars;
    double mean = 0.0;
    for (i = 0; i < n; i++)
        mean += t->data[AF__IN_SHARE][s * n + i] * (t->data[AF__IN_ENERGY][s * n + i] + phi[i]);
    for (i = 0; i < n; i++) {
        double r = t->data[AF__IN_ENERGY][s * n + i] + phi[i] - mean;
        r /= t->data[AF__IN_SCALE][s * n + i];
        square[i] = r * r;
    }
}

/* The median r^2 of the field as it is. `phi` is used for r^2 as well. */
static double af__median_residual(const af__accel_fitting *t, double *a, double *phi) {
    size_t i, s, used = 0, n = t->e.stars, all = t->e.streams * n;
    const af_accel *f = t->a;
    for (i = 0; i < 3 * all; i++) a[i] /= f->strength;
    for (i = 0; i < all; i++) phi[i] /= f->strength * f->length;
    if (t->data[AF__IN_P])
        for (i = 0; i < all; i++) phi[i] = af__residual_of(t, i, a + 3 * i);
    else if (t->data[AF__IN_ENERGY])
        for (s = 0; s < t->e.streams; s++)
            af__residuals_of_energy(t, s, phi + s * n, phi + s * n);
    else return 1.0;
    for (i = 0; i < all; i++)
        if (t->e.good[i] && af__is_finite(phi[i])) phi[used++] = phi[i];
    if (used == 0) return 1.0;
    qsort(phi, used, sizeof *phi, af__compare_doubles);
    return af__quantile(phi, used, 0.5);
}

static af_status af__first_reach(af__accel_fitting *t) {
    size_t all = t->e.streams * t->e.stars;
    double *a = AF__ARRAY(&t->arena, double, 3 * all), *phi = AF__ARRAY(&t->arena, double, all);
    af_accel_evaluator *e = NULL;
    af_status s;
    if (!a || !phi) return af__fail_memory(t->a->context, "the training data");
    s = af_accel_evaluator_create(t->a, 256, t->a->context->threads, &e);
    if (s != AF_OK) return s;
    af_accel_evaluate(e, all, t->data[AF__IN_X], a, phi);
    af_accel_evaluator_destroy(e);
    t->reach = af__median_residual(t, a, phi) / 100.0; /* at 10 reaches the log still pulls */
    if (!(t->reach > 1.0)) t->reach = 1.0;
    return AF_OK;
}

static int af__accel_progress(const af_minimise_report *report, void *user) {
    const af__accel_fitting *t = (const af__accel_fitting *)user;
    af_minimise_report r = *report;
    r.step += t->done;
    return t->desc.progress ? t->desc.progress(&r, t->desc.user) : 0;
}

static af_status af__accel_stages(af__accel_fitting *t, const void *const *inputs) {
    af_minimise_desc d = AF__ZERO;
    af_minimise_report report = AF__ZERO;
    af_status s = af__first_reach(t);
    d.inputs = inputs;
    d.tolerance = t->desc.tolerance;
    d.progress = af__accel_progress;
    d.user = t;
    while (s == AF_OK && t->done < t->desc.steps) {
        int last = !(t->reach > 1.0);
        d.steps = last ? t->desc.steps - t->done : t->desc.steps / 10 + 1;
        af_minimiser_restart(t->minimiser);
        s = af_minimise(t->minimiser, &d, &report);
        if (s != AF_OK || last) break;
        t->done += report.step;
        t->reach = t->reach > 100.0 ? t->reach / 100.0 : 1.0;
    }
    return s;
}

/* ---- the fit ---- */

static af_status af__accel_fit_run(af__accel_fitting *t) {
    af_context *c = t->a->context;
    af_minimiser_desc m = AF__ZERO;
    af_expr input[AF__ACCEL_INPUTS];
    const void *data[AF__ACCEL_INPUTS];
    int axes[AF__ACCEL_INPUTS];
    size_t i;
    af_status s = af__accel_data(t);
    if (s != AF_OK) return s;
    m.method = AF_LBFGS;
    m.params = t->a->params;
    m.loss = af__accel_loss(t);
    if (c->status != AF_OK) return c->status;
    for (i = 0; i < (size_t)AF__ACCEL_INPUTS; i++) {
        if (!t->data[i]) continue;
        input[m.input_count] = t->input[i];
        axes[m.input_count] = i == (size_t)AF__IN_REACH ? -1 : 0;
        data[m.input_count++] = t->data[i];
    }
    m.inputs = input;
    m.input_axes = axes;
    m.pieces = t->pieces;
    s = af_minimiser_create(c, &m, &t->minimiser);
    return s == AF_OK ? af__accel_stages(t, data) : s;
}

static af_status af__accel_fit_check(const af_accel *a, const af_phase_map *map,
                                     const af_accel_fit_desc *d) {
    af_context *c = a->context;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: af_accel_fit_desc was not initialised to zero");
    if (!af__is_finite(d->action_weight) || !af__is_finite(d->symmetry_weight) ||
        !af__is_finite(d->frequency_weight) || !af__is_finite(d->energy_weight))
        return af__fail(c, AF_ERROR_ARGUMENT, "acceleration: a weight of the loss is not finite");
    if (d->energy_weight > 0.0 && a->desc.model == AF_ACCEL_FREE)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: a free field has no energy; use AF_ACCEL_POTENTIAL");
    if (!map && (d->action_weight > 0.0 || d->frequency_weight > 0.0 || !(d->energy_weight > 0.0)))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: without a map only energy_weight can be positive");
    return AF_OK;
}

AF_API af_status af_accel_fit(af_accel *a, const af_orbits *orbits, const af_phase_map *map,
                              const af_accel_fit_desc *desc) {
    af_accel_fit_desc none = AF__ZERO;
    af__accel_fitting t = AF__ZERO;
    af_status s;
    if (!desc) desc = &none;
    t.a = a;
    t.orbits = orbits;
    t.desc = *desc;
    t.arena.allocator = a->context->allocator;
    if (t.desc.action_weight == 0.0 && map) t.desc.action_weight = 1.0;
    if (t.desc.energy_weight == 0.0 && a->desc.model == AF_ACCEL_POTENTIAL)
        t.desc.energy_weight = 100.0;
    if (t.desc.steps == 0) t.desc.steps = 1000;
    if (t.desc.tolerance == 0.0) t.desc.tolerance = 1e-6;
    if (af__accel_fit_check(a, map, &t.desc) != AF_OK) return a->context->status;
    s = af__equations_of(a->context, orbits, map, &a->desc.toy, t.desc.frequency_weight > 0.0,
                         &t.arena, &t.e);
    if (s == AF_OK) s = af__accel_fit_run(&t);
    af_minimiser_destroy(t.minimiser);
    af__arena_free(&t.arena);
    return s;
}

#undef AF__LEAST_SPREAD
