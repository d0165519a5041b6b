/* ---- what a potential gives --------------------------------------------------------------------
 *
 * Circular velocity, surface density and the density in a sphere are all sums over points around a
 * place, x + length d_s, of the density there or of a . d_s. */

typedef struct dp__around {
    size_t m, points;
    const double *place;     /* (m,3); NULL: the origin */
    const double *length;    /* (m) */
    double *d, *weight;      /* (points,3), (points) */
    int density;             /* 1: of the density, 0: of a . d */
} dp__around;

enum { DP__AROUND_ROWS = 65536 }; /* points at a time: 4 MB */

static void dp__around_points(const dp__around *s, size_t first, size_t places, double *x) {
    size_t i, j, k;
    for (i = 0; i < places; i++)
        for (j = 0; j < s->points; j++)
            for (k = 0; k < 3; k++)
                x[3 * (i * s->points + j) + k] =
                    (s->place ? s->place[3 * (first + i) + k] : 0.0) +
                    s->length[first + i] * s->d[3 * j + k];
}

/* One place's sum over found: densities (points) or accelerations (points,3). */
static double dp__around_sum(const dp__around *s, const double *found) {
    double sum = 0.0;
    size_t j, k;
    for (j = 0; j < s->points; j++) {
        if (s->density) sum += s->weight[j] * found[j];
        for (k = 0; k < 3 && !s->density; k++)
            sum += s->weight[j] * found[3 * j + k] * s->d[3 * j + k];
    }
    return sum;
}

/* The sums (m). */
static af_status dp__around_all(dp_potential *p, const dp__around *s, double *sum) {
    dp__arena arena = dp__arena_open(p->c);
    size_t block = DP__AROUND_ROWS / s->points, first, i, width = s->density ? 1 : 3;
    double *x, *found;
    af_status status = AF_OK;
    if (block > s->m) block = s->m;
    if (block == 0) block = 1;
    x = DP__ARRAY(&arena, double, 3 * block * s->points);
    found = DP__ARRAY(&arena, double, width * block * s->points);
    if (!x || !found) status = dp__fail_memory(p->c, "points around places");
    for (first = 0; first < s->m && status == AF_OK; first += block) {
        size_t places = s->m - first < block ? s->m - first : block;
        dp__around_points(s, first, places, x);
        status = dp_potential_evaluate(p, places * s->points, x, NULL, s->density ? NULL : found,
                                       s->density ? found : NULL);
        for (i = 0; i < places && status == AF_OK; i++)
            sum[first + i] = dp__around_sum(s, found + i * s->points * width);
    }
    dp__arena_free(&arena);
    return status;
}

/* Room for the points around a place and for m lengths, all of them `length`. */
static af_status dp__around_open(dp__around *s, dp_potential *p, dp__arena *arena, size_t m,
                                 size_t points, double length) {
    double *lengths = DP__ARRAY(arena, double, m);
    size_t i;
    s->m = m;
    s->points = points;
    s->length = lengths;
    s->d = DP__ARRAY(arena, double, 3 * points);
    s->weight = DP__ARRAY(arena, double, points);
    if (!lengths || !s->d || !s->weight) return dp__fail_memory(p->c, "points around places");
    for (i = 0; i < m; i++) lengths[i] = length;
    return AF_OK;
}

/* ---- Gauss and Legendre ---- */

/* The n-point rule's i-th node in (-1, 1), ascending, and its weight, by Newton's method from
 * Tricomi's estimate; six steps double more digits than there are. */
static double dp__legendre(size_t n, size_t i, double *weight) {
    double x = -cos(DP__PI * ((double)i + 0.75) / ((double)n + 0.5)), slope = 1.0;
    int step;
    for (step = 0; step < 6; step++) {
        double p = 1.0, before = 0.0;
        size_t k;
        for (k = 1; k <= n; k++) {
            double next = ((double)(2 * k - 1) * x * p - (double)(k - 1) * before) / (double)k;
            before = p;
            p = next;
        }
        slope = (double)n * (x * p - before) / (x * x - 1.0);
        x -= p / slope;
    }
    *weight = 2.0 / ((1.0 - x * x) * slope * slope);
    return x;
}

/* ---- products ---- */

AF_API af_status dp_circular_velocity(dp_potential *p, size_t m, const double *radii,
                                      size_t angles, double *speed) {
    dp__arena arena = dp__arena_open(p->c);
    dp__around s = DP__ZERO;
    af_status status;
    size_t i, n = angles ? angles : 32;
    for (i = 0; i < m; i++)
        if (!(radii[i] >= 0.0) || !dp__is_finite(radii[i]))
            return af_fail(p->c, AF_ERROR_ARGUMENT,
                           "circular velocity: radius %lu is %g; radii are finite and not negative",
                           (unsigned long)i, radii[i]);
    status = dp__around_open(&s, p, &arena, 0, n, 0.0);
    s.m = m;
    s.length = radii;
    for (i = 0; i < n && status == AF_OK; i++) {
        s.d[3 * i] = cos(2.0 * DP__PI * (double)i / (double)n);
        s.d[3 * i + 1] = sin(2.0 * DP__PI * (double)i / (double)n);
        s.weight[i] = 1.0 / (double)n;
    }
    if (status == AF_OK) status = dp__around_all(p, &s, speed);
    for (i = 0; i < m && status == AF_OK; i++)
        speed[i] = speed[i] > 0.0 ? 0.0 : sqrt(-speed[i] * radii[i]);
    dp__arena_free(&arena);
    return status;
}

AF_API af_status dp_surface_density(dp_potential *p, size_t m, const double *xy, double height,
                                    size_t steps, double *sigma) {
    dp__arena arena = dp__arena_open(p->c);
    dp__around s = DP__ZERO;
    af_status status;
    double *place;
    size_t i, half = steps ? (steps + 1) / 2 : 32;
    if (!(height > 0.0) || !dp__is_finite(height))
        return af_fail(p->c, AF_ERROR_ARGUMENT,
                       "surface density: the height is %g; it must be positive and finite", height);
    status = dp__around_open(&s, p, &arena, m, 2 * half, height);
    place = DP__ARRAY(&arena, double, 3 * m);
    if (status == AF_OK && !place) status = dp__fail_memory(p->c, "places of the surface density");
    s.place = place;
    s.density = 1;
    for (i = 0; i < m && status == AF_OK; i++) memcpy(place + 3 * i, xy + 2 * i, 2 * sizeof *xy);
    for (i = 0; i < half && status == AF_OK; i++) {
        double weight, z = dp__legendre(half, i, &weight);
        s.d[3 * i + 2] = 0.5 * (z + 1.0);
        s.d[3 * (half + i) + 2] = -0.5 * (z + 1.0);
        s.weight[i] = s.weight[half + i] = 0.5 * weight * height;
    }
    if (status == AF_OK) status = dp__around_all(p, &s, sigma);
    dp__arena_free(&arena);
    return status;
}

AF_API af_status dp_sphere_density(dp_potential *p, size_t m, const double *x, double radius,
                                   size_t directions, double *density) {
    dp__arena arena = dp__arena_open(p->c);
    dp__around s = DP__ZERO;
    af_status status;
    size_t i, j, k = 1, n = directions ? directions : 512;
    if (!(radius > 0.0) || !dp__is_finite(radius))
        return af_fail(p->c, AF_ERROR_ARGUMENT,
                       "sphere density: the radius is %g; it must be positive and finite", radius);
    while (2 * k * k < n) k++;
    status = dp__around_open(&s, p, &arena, m, 2 * k * k, radius);
    s.place = x;
    for (i = 0; i < k && status == AF_OK; i++) {
        double weight, z = dp__legendre(k, i, &weight), r = sqrt(1.0 - z * z);
        for (j = 0; j < 2 * k; j++) {
            double angle = DP__PI * (double)j / (double)k, *d = s.d + 3 * (2 * k * i + j);
            d[0] = r * cos(angle);
            d[1] = r * sin(angle);
            d[2] = z;
            s.weight[2 * k * i + j] = weight / (double)(4 * k); /* they add up to one */
        }
    }
    if (status == AF_OK) status = dp__around_all(p, &s, density);
    for (i = 0; i < m && status == AF_OK; i++)
        density[i] *= -3.0 / (4.0 * DP__PI * AF_GRAVITY * radius);
    dp__arena_free(&arena);
    return status;
}

/* ---- maps ---- */

static const char *const dp__coordinate_names[] = {"x", "y",   "z",   "vx",    "vy", "vz",
                                                   "R", "phi", "v_R", "v_phi", "r",  "v"};

AF_API const char *dp_coordinate_name(dp_coordinate coordinate) {
    return (int)coordinate >= 0 && (int)coordinate <= (int)DP_COORDINATE_V
               ? dp__coordinate_names[(int)coordinate]
               : NULL;
}

AF_API double dp_coordinate_of(dp_coordinate coordinate, const double eta[6]) {
    double phi = atan2(eta[1], eta[0]);
    switch (coordinate) {
    case DP_COORDINATE_CYLINDER_R: return hypot(eta[0], eta[1]);
    case DP_COORDINATE_PHI: return phi;
    case DP_COORDINATE_V_R: return eta[3] * cos(phi) + eta[4] * sin(phi);
    case DP_COORDINATE_V_PHI: return eta[4] * cos(phi) - eta[3] * sin(phi);
    case DP_COORDINATE_R: return hypot(hypot(eta[0], eta[1]), eta[2]);
    case DP_COORDINATE_V: return hypot(hypot(eta[3], eta[4]), eta[5]);
    default: return eta[(int)coordinate];
    }
}

enum { DP__MAP_BINS = 64 };

typedef struct dp__map {
    const dp_map_axis *axes;
    size_t cells;
    size_t *points;               /* (cells), of positive weight */
    double *weight, *mean, *square; /* (cells): sums of w, means, sums of (w (value - mean))^2 */
} dp__map;

static af_status dp__map_check(af_context *c, size_t n, const double *eta, const double *weights,
                               const double *value) {
    size_t i, k;
    for (i = 0; i < n; i++) {
        double sum = value ? value[i] : 0.0;
        for (k = 0; k < 6; k++) sum += eta[6 * i + k];
        if (!dp__is_finite(sum) || (weights && !(weights[i] >= 0.0 && dp__is_finite(weights[i]))))
            return af_fail(c, AF_ERROR_DATA,
                           "map: point %lu has numbers that are not finite, or a weight below zero",
                           (unsigned long)i);
    }
    return AF_OK;
}

/* The range of the points; half a unit around it when they are all alike. */
static void dp__map_range(dp_map_axis *axis, size_t n, const double *eta, const double *weights) {
    size_t i;
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (i = 0; i < n; i++) {
        double at = dp_coordinate_of(axis->coordinate, eta + 6 * i);
        if (weights && weights[i] == 0.0) continue;
        low = fmin(low, at);
        high = fmax(high, at);
    }
    if (!(low <= high)) low = high = 0.0; /* no points */
    axis->low = low < high ? low : low - 0.5;
    axis->high = low < high ? high : high + 0.5;
}

static af_status dp__map_axes(af_context *c, dp_map_axis axes[2], size_t n, const double *eta,
                              const double *weights) {
    int k;
    for (k = 0; k < 2; k++) {
        dp_map_axis *a = &axes[k];
        if (!dp_coordinate_name(a->coordinate))
            return af_fail(c, AF_ERROR_ARGUMENT, "map: there is no coordinate %d",
                           (int)a->coordinate);
        if (a->bins == 0) a->bins = DP__MAP_BINS;
        if (a->low == 0.0 && a->high == 0.0) dp__map_range(a, n, eta, weights);
        if (!(a->low < a->high) || !dp__is_finite(a->high - a->low))
            return af_fail(c, AF_ERROR_ARGUMENT, "map: %s goes from %g to %g",
                           dp_coordinate_name(a->coordinate), a->low, a->high);
    }
    return AF_OK;
}

/* The cell of a point; the number of cells where it lies outside. */
static size_t dp__map_cell(const dp__map *m, const double *eta) {
    size_t cell = 0, k;
    for (k = 0; k < 2; k++) {
        const dp_map_axis *a = &m->axes[k];
        double at = dp_coordinate_of(a->coordinate, eta);
        size_t bin = a->bins - 1;
        if (!(at >= a->low && at <= a->high)) return m->cells;
        at = (at - a->low) / (a->high - a->low) * (double)a->bins;
        if (at < (double)bin) bin = (size_t)at;
        cell = cell * a->bins + bin;
    }
    return cell;
}

static void dp__map_fill(dp__map *m, size_t n, const double *eta, const double *weights,
                         const double *value) {
    size_t i;
    int second;
    for (second = 0; second < 2; second++)
        for (i = 0; i < n; i++) {
            size_t cell = dp__map_cell(m, eta + 6 * i);
            double w = weights ? weights[i] : 1.0, away;
            if (cell == m->cells || !(w > 0.0)) continue;
            away = value ? w * (value[i] - m->mean[cell]) : 0.0;
            if (second) {
                m->square[cell] += away * away;
            } else {
                m->points[cell]++;
                m->weight[cell] += w;
                m->mean[cell] += away / m->weight[cell];
            }
        }
}

/* The squares are those of n points whose mean was taken out: n/(n - 1). */
static double dp__map_error(const dp__map *m, size_t cell) {
    double n = (double)m->points[cell];
    return n > 1.0 ? sqrt(m->square[cell] * n / (n - 1.0)) / m->weight[cell] : (double)NAN;
}

AF_API af_status dp_map(af_context *c, dp_map_axis axes[2], size_t n, const double *eta,
                        const double *weights, const double *value, double *count, double *mean,
                        double *error) {
    dp__map m = DP__ZERO;
    dp__arena arena = dp__arena_open(c);
    size_t i;
    af_status s = dp__map_check(c, n, eta, weights, value);
    if (s == AF_OK) s = dp__map_axes(c, axes, n, eta, weights);
    if (s != AF_OK) return s;
    m.axes = axes;
    m.cells = axes[0].bins > SIZE_MAX / axes[1].bins ? SIZE_MAX : axes[0].bins * axes[1].bins;
    m.points = DP__ARRAY(&arena, size_t, m.cells);
    m.weight = DP__ARRAY(&arena, double, m.cells);
    m.mean = DP__ARRAY(&arena, double, m.cells);
    m.square = DP__ARRAY(&arena, double, m.cells);
    if (!m.points || !m.weight || !m.mean || !m.square) {
        dp__arena_free(&arena);
        return dp__fail_memory(c, "the cells of a map");
    }
    dp__map_fill(&m, n, eta, weights, value);
    for (i = 0; i < m.cells; i++) {
        if (count) count[i] = m.weight[i];
        if (mean && value) mean[i] = m.points[i] ? m.mean[i] : (double)NAN;
        if (error && value) error[i] = dp__map_error(&m, i);
    }
    dp__arena_free(&arena);
    return AF_OK;
}

AF_API void dp_map_significance(size_t cells, const double *n1, const double *n2,
                                double *significance) {
    double all1 = 0.0, all2 = 0.0, q;
    size_t i;
    for (i = 0; i < cells; i++) {
        all1 += n1[i];
        all2 += n2[i];
    }
    q = all1 > 0.0 && all2 > 0.0 ? all1 / all2 : (double)NAN;
    for (i = 0; i < cells; i++)
        significance[i] = (n1[i] - q * n2[i]) / sqrt(q * fmax(n2[i], 1.0));
}
