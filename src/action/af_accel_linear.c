/* ---- the acceleration field without a network ---------------------------------------------------
 *
 * Around each point the equations of the nearest stars, p + Q a = 0 each, are solved by least
 * squares (Householder) for what the field is there beyond the toy's. */

enum { AF__LOCAL_MOST = 12 }; /* unknowns: three components and their gradients by x, y, z */

typedef struct af__local {
    af_accel_linear_desc desc;
    af__equations e;
    const af_orbits *orbits;
    size_t dims, unknowns;    /* of the place (R, z; or x, y, z), and in all */
    double *place;            /* (S N,3) of good stars, as af__local_place gives it */
    size_t *star, count;      /* their indices (S N) */
    size_t *near;             /* (k) into these lists */
    double *distance, *sorted, *weight; /* (k) */
    double *row, *matrix;     /* (3 k, unknowns + 1): as they are, and weighted */
    double length;            /* distance of the furthest neighbour [kpc] */
} af__local;

/* ---- least squares ---- */

/* Turns column k of the matrix (rows,width) upwards of row k to zero. False: the column has been
 * used up by those before it. */
static int af__householder(double *m, size_t rows, size_t width, size_t k) {
    double norm = 0.0, whole = 0.0, head, beta;
    size_t i, j;
    for (i = 0; i < rows; i++) {
        double x = m[i * width + k];
        whole += x * x;
        if (i >= k) norm += x * x;
    }
    norm = sqrt(norm);
    if (!(norm > 1e-13 * sqrt(whole)) || !af__is_finite(norm)) return 0;
    head = m[k * width + k];
    if (head > 0.0) norm = -norm;
    head -= norm; /* v = column with this head; |v|^2 = -2 norm head */
    m[k * width + k] = head;
    beta = -1.0 / (norm * head);
    for (j = k + 1; j < width; j++) {
        double dot = 0.0;
        for (i = k; i < rows; i++) dot += m[i * width + k] * m[i * width + j];
        for (i = k; i < rows; i++) m[i * width + j] -= beta * dot * m[i * width + k];
    }
    m[k * width + k] = norm;
    return 1;
}

/* Least squares of matrix (rows, n + 1), right-hand side last; the matrix is used up. False where
 * it is singular. */
static int af__least_squares(double *m, size_t rows, size_t n, double *x) {
    size_t k, j, width = n + 1;
    if (rows < n) return 0;
    for (k = 0; k < n; k++)
        if (!af__householder(m, rows, width, k)) return 0;
    for (k = n; k-- > 0;) {
        x[k] = m[k * width + n];
        for (j = k + 1; j < n; j++) x[k] -= m[k * width + j] * x[j];
        x[k] /= m[k * width + k];
    }
    return 1;
}

/* ---- neighbours ---- */

static int af__local_axisymmetric(const af__local *l) {
    return l->desc.axisymmetric == AF_SYMMETRY_YES;
}

/* The coordinates that count: (R, z, 0) or (x, y, z), z above the plane where that is a mirror. */
static void af__local_place(const af__local *l, const double x[3], double place[3]) {
    double z = l->desc.plane_symmetric == AF_SYMMETRY_YES ? fabs(x[2]) : x[2];
    place[0] = af__local_axisymmetric(l) ? sqrt(x[0] * x[0] + x[1] * x[1]) : x[0];
    place[1] = af__local_axisymmetric(l) ? z : x[1];
    place[2] = af__local_axisymmetric(l) ? 0.0 : z;
}

/* The axes of that frame at x, rows in the coordinates of x: R, phi, z; or x, y, z; z downwards for
 * a mirrored star. */
static void af__local_axes(const af__local *l, const double x[3], double axis[9]) {
    double r = sqrt(x[0] * x[0] + x[1] * x[1]), cosine = 1.0, sine = 0.0;
    if (af__local_axisymmetric(l) && r > 0.0) {
        cosine = x[0] / r;
        sine = x[1] / r;
    }
    memset(axis, 0, 9 * sizeof *axis);
    axis[0] = axis[4] = cosine;
    axis[1] = sine;
    axis[3] = -sine;
    axis[8] = l->desc.plane_symmetric == AF_SYMMETRY_YES && x[2] < 0.0 ? -1.0 : 1.0;
}

/* The nearest stars, in order of their distance. */
static void af__local_neighbours(af__local *l, const double place[3]) {
    size_t i, k, used = 0, most = l->desc.neighbours;
    for (i = 0; i < l->count; i++) {
        const double *x = l->place + 3 * i;
        double a = x[0] - place[0], b = x[1] - place[1], c = x[2] - place[2];
        double d = a * a + b * b + c * c;
        if (used == most && !(d < l->distance[used - 1])) continue;
        if (used < most) used++;
        for (k = used - 1; k > 0 && d < l->distance[k - 1]; k--) {
            l->distance[k] = l->distance[k - 1];
            l->near[k] = l->near[k - 1];
        }
        l->distance[k] = d;
        l->near[k] = i;
    }
    l->length = sqrt(l->distance[used - 1]);
    if (!(l->length > 0.0)) l->length = 1.0;
}

/* ---- one point ---- */

/* Three rows of neighbour n: Q (axes) (1, offset) | -(p + Q a_toy). */
static void af__local_rows(af__local *l, size_t n, const double place[3]) {
    size_t i, k, d, m, width = l->unknowns + 1, at = l->star[l->near[n]];
    const double *x = af_orbits_xv(l->orbits, 0) + 6 * at, *q = l->e.q + 9 * at;
    double axis[9], toy[3], factor[4] = {1.0, 0.0, 0.0, 0.0};
    double soft = hypot(l->e.typical, l->e.spread[at / l->e.stars]);
    if (!af__is_finite(soft)) soft = l->e.typical;
    for (d = 0; d < l->dims; d++)
        factor[1 + d] = (l->place[3 * l->near[n] + d] - place[d]) / l->length;
    af__local_axes(l, x, axis);
    af__toy_acceleration(&l->desc.toy, x, toy);
    for (i = 0; i < 3; i++) {
        double *row = l->row + (3 * n + i) * width, rest = l->e.p[3 * at + i];
        for (k = 0; k < 3; k++) {
            double turned = 0.0;
            for (m = 0; m < 3; m++) turned += q[3 * i + m] * axis[3 * k + m];
            for (d = 0; d <= l->unknowns / 3 - 1; d++)
                row[3 * d + k] = turned * factor[d] / soft;
            rest += q[3 * i + k] * toy[k];
        }
        row[l->unknowns] = -rest / soft;
    }
}

/* What is left of each neighbour's equations (squared) into `sorted`, and Cauchy's weights. Returns
 * the sum of weight * square. */
static double af__local_weigh(af__local *l, const double *solution) {
    size_t n, i, j, k = l->desc.neighbours, width = l->unknowns + 1;
    double median, sum = 0.0, weights = 0.0;
    for (n = 0; n < k; n++) {
        l->distance[n] = 0.0; /* the distances have served */
        for (i = 0; i < 3; i++) {
            const double *row = l->row + (3 * n + i) * width;
            double r = -row[l->unknowns];
            for (j = 0; j < l->unknowns; j++) r += row[j] * solution[j];
            l->distance[n] += r * r;
        }
        l->sorted[n] = l->distance[n];
    }
    qsort(l->sorted, k, sizeof *l->sorted, af__compare_doubles);
    median = af__quantile(l->sorted, k, 0.5);
    for (n = 0; n < k; n++) {
        l->weight[n] = median > 0.0 ? 1.0 / (1.0 + l->distance[n] / median) : 1.0;
        sum += l->weight[n] * l->distance[n];
        weights += l->weight[n];
    }
    return sum / weights;
}

static int af__local_solve(af__local *l, double *solution) {
    size_t n, i, k = l->desc.neighbours, width = l->unknowns + 1;
    for (n = 0; n < k; n++) {
        double root = sqrt(l->weight[n]);
        for (i = 3 * n * width; i < 3 * (n + 1) * width; i++) l->matrix[i] = root * l->row[i];
    }
    return af__least_squares(l->matrix, 3 * k, l->unknowns, solution);
}

static void af__local_point(af__local *l, const double *x, double *a, double *misfit) {
    double place[3], axis[9], solution[AF__LOCAL_MOST], left = 0.0;
    size_t n, i, k, round, rounds = l->desc.neighbours > 1 ? l->desc.rounds : 1;
    int good = 1;
    af__local_place(l, x, place);
    af__local_neighbours(l, place);
    for (n = 0; n < l->desc.neighbours; n++) {
        af__local_rows(l, n, place);
        l->weight[n] = 1.0;
    }
    for (round = 0; round < rounds && good; round++) {
        good = af__local_solve(l, solution);
        if (good) left = af__local_weigh(l, solution);
    }
    af__local_axes(l, x, axis);
    af__toy_acceleration(&l->desc.toy, x, a);
    for (i = 0; i < 3; i++)
        for (k = 0; k < 3; k++) a[i] = good ? a[i] + axis[3 * k + i] * solution[k] : NAN;
    if (misfit) *misfit = good ? sqrt(left) * l->e.typical : NAN;
}

/* ---- all points ---- */

static af_status af__local_check(af_context *c, const af_accel_linear_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: af_accel_linear_desc was not initialised to zero");
    if (!af__within((int)d->axisymmetric, AF_SYMMETRY_NO) ||
        !af__within((int)d->plane_symmetric, AF_SYMMETRY_NO) || d->neighbours > 65536)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "acceleration: a symmetry is neither auto, yes nor no, or %lu neighbours "
                        "are too many",
                        (unsigned long)d->neighbours);
    return AF_OK;
}

static void af__local_defaults(af__local *l, double *sorted) {
    af_accel_linear_desc *d = &l->desc;
    if (d->neighbours == 0) d->neighbours = 1;
    if (d->neighbours == 1) d->gradient = 0;
    if (d->rounds == 0) d->rounds = 10;
    if (d->axisymmetric == AF_SYMMETRY_AUTO)
        d->axisymmetric =
            af__lz_is_conserved(l->orbits, sorted) ? AF_SYMMETRY_YES : AF_SYMMETRY_NO;
    if (d->plane_symmetric == AF_SYMMETRY_AUTO)
        d->plane_symmetric = d->neighbours > 1 ? AF_SYMMETRY_YES : AF_SYMMETRY_NO;
    l->dims = af__local_axisymmetric(l) ? 2 : 3;
    l->unknowns = d->gradient ? 3 + 3 * l->dims : 3;
}

static af_status af__local_memory(af_context *c, af__local *l, af__arena *arena) {
    size_t i, all = l->e.streams * l->e.stars, k = l->desc.neighbours;
    l->place = AF__ARRAY(arena, double, 3 * l->e.count);
    l->star = AF__ARRAY(arena, size_t, l->e.count);
    l->near = AF__ARRAY(arena, size_t, k);
    l->distance = AF__ARRAY(arena, double, k);
    l->sorted = AF__ARRAY(arena, double, k);
    l->weight = AF__ARRAY(arena, double, k);
    l->row = AF__ARRAY(arena, double, 3 * k * (l->unknowns + 1));
    l->matrix = AF__ARRAY(arena, double, 3 * k * (l->unknowns + 1));
    if (!l->place || !l->star || !l->near || !l->distance || !l->sorted || !l->weight || !l->row ||
        !l->matrix)
        return af__fail_memory(c, "the neighbours");
    for (i = 0; i < all; i++) {
        if (!l->e.good[i]) continue;
        af__local_place(l, af_orbits_xv(l->orbits, 0) + 6 * i, l->place + 3 * l->count);
        l->star[l->count++] = i;
    }
    if (k > l->count || 3 * k < l->unknowns)
        return af__fail(c, l->count < k ? AF_ERROR_DATA : AF_ERROR_ARGUMENT,
                        "acceleration: %lu neighbours are wanted; the map has an answer for %lu "
                        "stars, and there are %lu unknowns",
                        (unsigned long)k, (unsigned long)l->count, (unsigned long)l->unknowns);
    return AF_OK;
}

AF_API af_status af_accel_linear(af_context *c, const af_orbits *orbits, const af_phase_map *map,
                                 const af_accel_linear_desc *desc, size_t points, const double *x,
                                 double *a, double *misfit) {
    af__local l = AF__ZERO;
    af__arena arena = AF__ZERO;
    double *sorted;
    size_t i;
    af_status s;
    if (desc) l.desc = *desc;
    l.orbits = orbits;
    if (af__local_check(c, &l.desc) != AF_OK) return c->status;
    arena.allocator = c->allocator;
    sorted = AF__ARRAY(&arena, double, orbits->streams);
    s = sorted ? af__accel_toy_of(c, orbits, &l.desc.toy) : af__fail_memory(c, "the neighbours");
    if (s == AF_OK) {
        af__local_defaults(&l, sorted);
        s = af__equations_of(c, orbits, map, &l.desc.toy, 0, &arena, &l.e);
    }
    if (s == AF_OK) s = af__local_memory(c, &l, &arena);
    for (i = 0; i < points && s == AF_OK; i++)
        af__local_point(&l, x + 3 * i, a + 3 * i, misfit ? misfit + i : NULL);
    af__arena_free(&arena);
    return s;
}
