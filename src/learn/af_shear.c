/* ---- symplectic maps from shears ------------------------------------------------------------- */

enum { AF__HARMONICS_MAX = 1000000 }; /* far beyond any use; sizes cannot overflow below it */

/* The views of one shear. */
typedef struct af__shear_views {
    size_t linear, amplitude, direction, offset;
} af__shear_views;

/* What a shear takes its gradient by: side 0 positions (a kick), side 1 momenta (a drift). Its
 * coordinates are rows, the angles last, and behind them those that are cyclic, which a kick does
 * not see. Their features: x = row - center of those that are not angles, then cos(m q) of the
 * angles, m = 1 .. harmonics, then sin(m q). The scales stand in the parameters' factors, where
 * they cost nothing. */
typedef struct af__side {
    size_t plain, angles, features;
    double center[AF_FREEDOMS_MAX];
    double *inverse; /* (features): 1/scale; 1 for harmonics */
    int turned[AF_FREEDOMS_MAX]; /* of the rows: 1 where half a turn of an even pair changes sign */
    size_t turns;                /* how many */
    double *parity; /* (turns, features): -1 for the feature that one of them changes, else 1 */
} af__side;

struct af_shear {
    af_params *params;
    af__arena arena;
    af_shear_desc desc; /* its name lies in the arena, its pairs, scale, center, even below */
    size_t stretch, shift;
    af__shear_views *layer; /* stb_ds array */
    size_t row[AF_FREEDOMS_MAX]; /* which degree of freedom is in a row */
    af_pair pairs[AF_FREEDOMS_MAX];
    af__side side[2];
    double *multiple; /* (harmonics, angles): m, or 2m of those that are even */
};

/* ---- declaring ---- */

/* Whether a pair is even and half a turn changes the signs of what the map sees of it. */
static int af__shear_turns(const af_shear_desc *d, size_t pair) {
    return d->even && d->even[pair] && (!d->pairs || d->pairs[pair] < AF_PAIR_ANGLE);
}

static af_status af__shear_check_pairs(af_context *c, const af_shear_desc *d) {
    size_t i;
    for (i = 0; i < d->freedoms && d->pairs; i++) {
        if ((int)d->pairs[i] < AF_PAIR_CARTESIAN || (int)d->pairs[i] > AF_PAIR_CYCLIC)
            return af__fail(c, AF_ERROR_ARGUMENT, "map '%s': there is no kind of pair %d", d->name,
                            (int)d->pairs[i]);
        if (d->odd && d->pairs[i] != AF_PAIR_CARTESIAN)
            return af__fail(c, AF_ERROR_ARGUMENT,
                            "map '%s': odd = 1 takes Cartesian pairs alone, pair %lu has an angle",
                            d->name, (unsigned long)i);
    }
    for (i = 0; i < d->freedoms && d->pairs; i++)
        if (d->pairs[i] != AF_PAIR_CYCLIC) break;
    if (d->pairs && i == d->freedoms)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "map '%s': all pairs are cyclic, a kick has nothing to depend on", d->name);
    for (i = 0; i < 2 * d->freedoms; i++) {
        if (d->scale && !(d->scale[i] > 0.0 && af__is_finite(d->scale[i])))
            return af__fail(c, AF_ERROR_ARGUMENT, "map '%s': scale[%lu] = %g must be positive",
                            d->name, (unsigned long)i, d->scale[i]);
        if (d->center && !af__is_finite(d->center[i]))
            return af__fail(c, AF_ERROR_ARGUMENT, "map '%s': center[%lu] = %g must be finite",
                            d->name, (unsigned long)i, d->center[i]);
        if (d->center && d->odd && d->center[i] != 0.0)
            return af__fail(c, AF_ERROR_ARGUMENT,
                            "map '%s': odd = 1 has its center at 0, center[%lu] = %g", d->name,
                            (unsigned long)i, d->center[i]);
        if (d->center && af__shear_turns(d, i % d->freedoms) && d->center[i] != 0.0)
            return af__fail(c, AF_ERROR_ARGUMENT,
                            "map '%s': even pair %lu has its center at 0, center[%lu] = %g",
                            d->name, (unsigned long)(i % d->freedoms), (unsigned long)i,
                            d->center[i]);
    }
    return AF_OK;
}

static af_status af__shear_check(af_context *c, const af_shear_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "map: af_shear_desc was not initialised to zero");
    if (d->freedoms > AF_FREEDOMS_MAX)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "map '%s': %lu degrees of freedom, at most %d are possible", d->name,
                        (unsigned long)d->freedoms, AF_FREEDOMS_MAX);
    if ((int)d->ridge < AF_RIDGE_TANH || (int)d->ridge > AF_RIDGE_SIN)
        return af__fail(c, AF_ERROR_ARGUMENT, "map '%s': there is no ridge function %d", d->name,
                        (int)d->ridge);
    if (d->harmonics > AF__HARMONICS_MAX)
        return af__fail(c, AF_ERROR_ARGUMENT, "map '%s': %lu harmonics, at most %d are possible",
                        d->name, (unsigned long)d->harmonics, AF__HARMONICS_MAX);
    if (!(d->start >= 0.0 && af__is_finite(d->start)))
        return af__fail(c, AF_ERROR_ARGUMENT, "map '%s': start = %g must be 0 (default) or more",
                        d->name, d->start);
    return af__shear_check_pairs(c, d);
}

static void af__shear_defaults(af_shear_desc *d) {
    if (!d->name) d->name = "map";
    if (!d->freedoms) d->freedoms = 1;
    if (!d->layers) d->layers = 8;
    if (!d->width) d->width = 6;
    if (!d->harmonics) d->harmonics = 1;
    if (d->start == 0.0) d->start = 0.01;
}

/* What half a turn of each even pair does to the features; false when memory is out. */
static int af__shear_parity(af_shear *map, af__side *s) {
    size_t i, k, turn = 0;
    for (i = 0; i < s->plain; i++) {
        s->turned[i] = af__shear_turns(&map->desc, map->row[i]);
        s->turns += (size_t)s->turned[i];
    }
    s->parity = AF__ARRAY(&map->arena, double, s->turns * s->features);
    if (!s->parity) return 0;
    for (i = 0; i < s->plain; i++) {
        double *row = s->parity + turn * s->features;
        if (!s->turned[i]) continue;
        for (k = 0; k < s->features; k++) row[k] = k == i ? -1.0 : 1.0;
        turn++;
    }
    return 1;
}

/* Rows and their factors; false when memory is out. */
static int af__shear_arrange(af_shear *map) {
    const af_shear_desc *d = &map->desc;
    size_t i, k, n = d->freedoms, plain = 0, angles = 0, cyclic = 0;
    for (i = 0; i < n; i++) map->pairs[i] = d->pairs ? d->pairs[i] : AF_PAIR_CARTESIAN;
    for (i = 0; i < n; i++)
        if (map->pairs[i] < AF_PAIR_ANGLE) map->row[plain++] = i;
    for (i = 0; i < n; i++)
        if (map->pairs[i] == AF_PAIR_ANGLE) map->row[plain + angles++] = i;
    for (i = 0; i < n; i++)
        if (map->pairs[i] == AF_PAIR_CYCLIC) map->row[plain + angles + cyclic++] = i;
    for (k = 0; k < 2; k++) {
        af__side *s = &map->side[k];
        s->angles = k == 0 ? angles : 0;
        s->plain = k == 0 ? plain : n;
        s->features = s->plain + 2 * d->harmonics * s->angles;
        s->inverse = AF__ARRAY(&map->arena, double, s->features);
        if (!s->inverse) return 0;
        for (i = 0; i < s->features; i++) s->inverse[i] = 1.0;
        for (i = 0; i < s->plain; i++) {
            size_t from = k * n + map->row[i];
            if (d->scale) s->inverse[i] = 1.0 / d->scale[from];
            if (d->center) s->center[i] = d->center[from];
        }
        if (!af__shear_parity(map, s)) return 0;
    }
    map->multiple = AF__ARRAY(&map->arena, double, d->harmonics * angles);
    if (!map->multiple) return 0;
    for (i = 0; i < d->harmonics * angles; i++) {
        int even = d->even && d->even[map->row[plain + i % angles]];
        map->multiple[i] = (even ? 2.0 : 1.0) * (double)(i / angles + 1);
    }
    return 1;
}

/* NAME.what, or NAME.layer.what. */
static af_status af__shear_view(af_shear *map, const char *layer, const char *what, size_t rank,
                                const size_t *dims, double scale, size_t *view) {
    char name[AF__KEY];
    int n = snprintf(name, sizeof name, "%s.%s%s", map->desc.name, layer, what);
    if (n < 0 || n >= (int)sizeof name)
        return af__fail(af_params_context(map->params), AF_ERROR_ARGUMENT,
                        "map '%.40s...': the name is too long", map->desc.name);
    return af_params_add(map->params, name, rank, dims,
                         scale != 0.0 ? AF_INIT_NORMAL : AF_INIT_CONSTANT, scale, view);
}

static af_status af__shear_declare_layer(af_shear *map, size_t i) {
    const af__side *s = &map->side[i % 2];
    af__shear_views v = AF__ZERO;
    char layer[32];
    size_t triangle = s->plain * (s->plain + 1) / 2, dims[2];
    af_status status = AF_OK;
    dims[0] = map->desc.width;
    dims[1] = s->features;
    snprintf(layer, sizeof layer, "%lu.", (unsigned long)i);
    if (triangle) status = af__shear_view(map, layer, "linear", 1, &triangle, 0.0, &v.linear);
    if (status == AF_OK)
        status = af__shear_view(map, layer, "amplitude", 1, dims, map->desc.start, &v.amplitude);
    if (status == AF_OK)
        status = af__shear_view(map, layer, "direction", 2, dims, 1.0, &v.direction);
    if (status == AF_OK && !map->desc.odd)
        status = af__shear_view(map, layer, "offset", 1, dims, 1.0, &v.offset);
    if (status == AF_OK && !AF__PUSH(&map->arena, map->layer, v))
        return af__fail_memory(af_params_context(map->params), "a map");
    return status;
}

static af_status af__shear_declare(af_shear *map) {
    size_t i, dims[2];
    af_status status;
    dims[0] = 2;
    dims[1] = map->desc.freedoms;
    status = af__shear_view(map, "", "stretch", 1, dims + 1, 0.0, &map->stretch);
    if (status == AF_OK && !map->desc.odd)
        status = af__shear_view(map, "", "shift", 2, dims, 0.0, &map->shift);
    for (i = 0; i < map->desc.layers && status == AF_OK; i++)
        status = af__shear_declare_layer(map, i);
    return status;
}

AF_API af_status af_shear_create(af_params *p, const af_shear_desc *desc, af_shear **out) {
    af_context *c = af_params_context(p);
    af_shear_desc d = AF__ZERO;
    af_shear *map;
    af_status status;
    *out = NULL;
    if (desc) d = *desc;
    af__shear_defaults(&d);
    status = af__shear_check(c, &d);
    if (status != AF_OK) return status;
    map = (af_shear *)c->allocator.allocate(sizeof *map, c->allocator.user);
    if (!map) return af__fail_memory(c, "a map");
    memset(map, 0, sizeof *map);
    map->arena.allocator = c->allocator;
    map->params = p;
    map->desc = d;
    map->desc.name = af__arena_text(&map->arena, d.name);
    if (!map->desc.name || !af__shear_arrange(map)) status = af__fail_memory(c, "a map");
    else status = af__shear_declare(map);
    if (status != AF_OK) {
        af_shear_destroy(map);
        return status;
    }
    map->desc.pairs = NULL; /* the caller's arrays may go */
    map->desc.scale = map->desc.center = NULL;
    map->desc.even = NULL;
    *out = map;
    return AF_OK;
}

AF_API void af_shear_destroy(af_shear *map) {
    af_allocator allocator;
    if (!map) return;
    allocator = map->arena.allocator;
    af__arena_free(&map->arena);
    allocator.release(map, sizeof *map, allocator.user);
}

/* ---- gradients ---- */

AF_API af_expr af_ridge_gradient(af_context *c, af_ridge ridge, af_expr features,
                                 af_expr amplitude, af_expr direction, af_expr offset) {
    size_t dims[AF_RANK_MAX], column[2];
    af_expr u;
    if (!features.id || !amplitude.id || !direction.id) return af__none;
    if (af_shape(c, direction, dims) != 2) {
        af__fail(c, AF_ERROR_SHAPE, "ridge_gradient: direction %s must have two axes",
                 af__show(c, direction).text);
        return af__none;
    }
    column[0] = dims[0];
    column[1] = 1;
    u = af_matmul(c, direction, features);
    if (offset.id) u = af_add(c, u, af_reshape(c, offset, 2, column));
    u = ridge == AF_RIDGE_SIN ? af_sin(c, u) : af_tanh(c, u);
    direction = af_mul(c, direction, af_reshape(c, amplitude, 2, column));
    return af_matmul(c, af_transpose(c, direction), u);
}

/* Constants of shape (rows, columns); one number when they are all the same, which folds away. */
static af_expr af__shear_constant(af_context *c, size_t rows, size_t columns, const double *data) {
    size_t i, dims[2];
    dims[0] = rows;
    dims[1] = columns;
    for (i = 1; i < rows * columns; i++)
        if (data[i] != data[0]) return af_constant_array(c, 2, dims, data);
    return af_full(c, 2, dims, data[0]);
}

/* L x over the scales: L symmetric from its upper triangle, row by row. */
static af_expr af__shear_linear(const af_shear *map, const af__side *s, size_t view, af_expr x) {
    af_context *c = af_params_context(map->params);
    double index[AF_FREEDOMS_MAX * AF_FREEDOMS_MAX], factor[AF_FREEDOMS_MAX * AF_FREEDOMS_MAX];
    af_expr l = af_params_expr(map->params, view);
    size_t i, k, n = s->plain, next = 0, all = n * n, dims[2];
    dims[0] = dims[1] = n;
    for (i = 0; i < n; i++) {
        for (k = i; k < n; k++) {
            index[i * n + k] = index[k * n + i] = (double)next++;
            factor[i * n + k] = factor[k * n + i] = s->inverse[i] * s->inverse[k];
            if (i != k && (s->turned[i] || s->turned[k])) /* x_i x_k is not even */
                factor[i * n + k] = factor[k * n + i] = 0.0;
        }
    }
    if (n > 1) l = af_gather(c, l, af_constant_array(c, 1, &all, index));
    l = af_mul(c, af__shear_constant(c, n, n, factor), af_reshape(c, l, 2, dims));
    return af_matmul(c, l, x);
}

/* Angles (a, N) -> cos(m q), then sin(m q): (2 harmonics a, N). */
static af_expr af__shear_harmonics(const af_shear *map, af_expr q) {
    af_context *c = af_params_context(map->params);
    size_t m = map->desc.harmonics, dims[AF_RANK_MAX], wide[3];
    af_expr both[2];
    if (!q.id) return q;
    af_shape(c, q, dims);
    wide[0] = m;
    wide[1] = dims[0];
    wide[2] = dims[1];
    q = af_broadcast(c, q, 3, wide);
    dims[0] *= m;
    q = af_reshape(c, q, 2, dims);
    q = af_mul(c, q, af__shear_constant(c, dims[0], 1, map->multiple));
    both[0] = af_cos(c, q);
    both[1] = af_sin(c, q);
    return af_concat(c, 0, 2, both);
}

/* Gradient by cos(m q), sin(m q) -> by q: sum over m of m (cos(m q) by_sin - sin(m q) by_cos). */
static af_expr af__shear_by_angles(const af_shear *map, af_expr harmonics, af_expr by) {
    af_context *c = af_params_context(map->params);
    size_t m = map->desc.harmonics, a = map->side[0].angles, dims[AF_RANK_MAX], wide[3];
    af_expr turn = af_mul(c, af_slice(c, harmonics, 0, 0, m * a), af_slice(c, by, 0, m * a, m * a));
    turn = af_sub(
        c, turn, af_mul(c, af_slice(c, harmonics, 0, m * a, m * a), af_slice(c, by, 0, 0, m * a)));
    if (!turn.id) return turn;
    turn = af_mul(c, turn, af__shear_constant(c, m * a, 1, map->multiple));
    af_shape(c, turn, dims);
    wide[0] = m;
    wide[1] = dims[0] = a;
    wide[2] = dims[1];
    return af_reshape(c, af_sum_axis(c, af_reshape(c, turn, 3, wide), 0), 2, dims);
}

/* Each ridge function R(k.f + b) is joined by R(k.Pf + b), P being half a turn of an even pair; all
 * of these by theirs for the next pair, and so on: the sum is even under each alone. */
static void af__shear_even(const af_shear *map, const af__side *s, af_expr *amplitude,
                           af_expr *direction, af_expr *offset) {
    af_context *c = af_params_context(map->params);
    af_expr both[2];
    size_t i;
    for (i = 0; i < s->turns; i++) {
        const double *parity = s->parity + i * s->features;
        both[0] = *direction;
        both[1] = af_mul(c, *direction, af__shear_constant(c, 1, s->features, parity));
        *direction = af_concat(c, 0, 2, both);
        both[0] = both[1] = *amplitude;
        *amplitude = af_concat(c, 0, 2, both);
        if (!offset->id) continue;
        both[0] = both[1] = *offset;
        *offset = af_concat(c, 0, 2, both);
    }
}

/* dV/dq of a kick, dT/dp of a drift: rows (n, N) -> (n, N). */
static af_expr af__shear_gradient(const af_shear *map, size_t layer, af_expr rows) {
    af_context *c = af_params_context(map->params);
    const af__side *s = &map->side[layer % 2];
    const af__shear_views *v = &map->layer[layer];
    size_t plain = s->plain, wide = s->features - plain;
    af_expr part[2], by[2], direction, offset = af__none, linear, g;
    af_expr amplitude = af_params_expr(map->params, v->amplitude);
    if (plain)
        part[0] = af_sub(c, af_slice(c, rows, 0, 0, plain),
                         af__shear_constant(c, plain, 1, s->center));
    if (wide) part[1] = af__shear_harmonics(map, af_slice(c, rows, 0, plain, s->angles));
    direction = af_mul(c, af_params_expr(map->params, v->direction),
                       af__shear_constant(c, 1, s->features, s->inverse));
    if (!map->desc.odd) offset = af_params_expr(map->params, v->offset);
    af__shear_even(map, s, &amplitude, &direction, &offset);
    g = af_ridge_gradient(c, map->desc.ridge,
                          plain && wide ? af_concat(c, 0, 2, part) : part[plain ? 0 : 1],
                          amplitude, direction, offset);
    if (plain) {
        linear = af__shear_linear(map, s, v->linear, part[0]);
        by[0] = af_add(c, af_slice(c, g, 0, 0, plain), linear);
    }
    if (wide) by[1] = af__shear_by_angles(map, part[1], af_slice(c, g, 0, plain, wide));
    g = plain && wide ? af_concat(c, 0, 2, by) : by[plain ? 0 : 1];
    return plain + s->angles < map->desc.freedoms ? af_pad(c, g, 0, 0, map->desc.freedoms) : g;
}

/* The same with its slope held: g(s) + h (x - s), s = x and h = dg/ds held for differentiation. */
static af_expr af__shear_frozen(const af_shear *map, size_t layer, af_expr rows) {
    af_context *c = af_params_context(map->params);
    double identity[AF_FREEDOMS_MAX * AF_FREEDOMS_MAX] = AF__ZERO;
    size_t i, n = map->desc.freedoms, dims[AF_RANK_MAX], unit[3];
    af_expr held = af_stop(c, rows), g = af__shear_gradient(map, layer, held), tangent, h, step;
    if (!g.id) return g;
    af_shape(c, rows, dims);
    for (i = 0; i < n; i++) identity[i * n + i] = 1.0;
    unit[0] = unit[1] = n;
    unit[2] = 1;
    tangent = n == 1 ? af_full(c, 3, unit, 1.0) : af_constant_array(c, 3, unit, identity);
    unit[2] = dims[1];
    tangent = af_broadcast(c, tangent, 3, unit);
    if (af_jvp(c, 1, &g, 1, &held, &tangent, &h) != AF_OK) return af__none;
    h = af_stop(c, h);
    step = af_sub(c, rows, held);
    for (i = 0; i < n; i++) { /* one by one, not summed over an axis: that is fused */
        af_expr column = af_reshape(c, af_slice(c, h, 0, i, 1), 2, dims);
        g = af_add(c, g, af_mul(c, column, af_slice(c, step, 0, i, 1)));
    }
    return g;
}

/* ---- the map ---- */

AF_API void af_poincare_pair(af_context *c, af_expr theta, af_expr j, af_expr *q, af_expr *p) {
    af_expr radius = af_sqrt(c, af_scale(c, j, 2.0));
    af_expr sine = af_sin(c, theta), cosine = af_cos(c, theta);
    *q = af_mul(c, radius, sine);
    *p = af_mul(c, radius, cosine);
}

AF_API void af_poincare_angle(af_context *c, af_expr q, af_expr p, af_expr *theta, af_expr *j) {
    af_expr angle = af_atan2(c, q, p);
    *j = af_scale(c, af_add(c, af_square(c, q), af_square(c, p)), 0.5);
    *theta = angle;
}

/* Positions and momenta in rows (n, N), and the shape they came in. */
typedef struct af__phase {
    af_expr x[2];
    size_t rank, dims[AF_RANK_MAX];
} af__phase;

static af_status af__phase_check(const af_shear *map, const af_expr *q, const af_expr *p) {
    af_context *c = af_params_context(map->params);
    size_t i, n = map->desc.freedoms;
    for (i = 0; i < 2 * n; i++) {
        const af__node *a, *b;
        af_expr x = i < n ? q[i] : p[i - n];
        if (!q[0].id || !x.id)
            return c->status != AF_OK ? c->status
                                      : af__fail(c, AF_ERROR_ARGUMENT,
                                                 "map '%s': a coordinate is none", map->desc.name);
        a = af__at(c, q[0]);
        b = af__at(c, x);
        if (!af__same_dims(a, b->rank, b->dim))
            return af__fail(c, AF_ERROR_SHAPE,
                            "map '%s': coordinates must have one shape, they are %s and %s%s",
                            map->desc.name, af__show(c, q[0]).text, af__show(c, x).text,
                            af__show_label(c, x).text);
    }
    return AF_OK;
}

static af_status af__phase_enter(const af_shear *map, const af_expr *q, const af_expr *p,
                                 af__phase *z) {
    af_context *c = af_params_context(map->params);
    af_expr row[2][AF_FREEDOMS_MAX];
    size_t i, k, n = map->desc.freedoms, flat[2];
    af_status status = af__phase_check(map, q, p);
    if (status != AF_OK) return status;
    z->rank = af_shape(c, q[0], z->dims);
    flat[0] = 1;
    flat[1] = af_size(c, q[0]);
    for (i = 0; i < n; i++) {
        size_t from = map->row[i];
        row[0][i] = af_reshape(c, q[from], 2, flat);
        row[1][i] = af_reshape(c, p[from], 2, flat);
        if (map->pairs[from] == AF_PAIR_POINCARE)
            af_poincare_pair(c, row[0][i], row[1][i], &row[0][i], &row[1][i]);
    }
    for (k = 0; k < 2; k++) z->x[k] = af_concat(c, 0, n, row[k]);
    return c->status;
}

static af_status af__phase_leave(const af_shear *map, const af__phase *z, af_expr *q, af_expr *p) {
    af_context *c = af_params_context(map->params);
    size_t i, n = map->desc.freedoms;
    for (i = 0; i < n; i++) {
        size_t to = map->row[i];
        q[to] = af_reshape(c, af_slice(c, z->x[0], 0, i, 1), z->rank, z->dims);
        p[to] = af_reshape(c, af_slice(c, z->x[1], 0, i, 1), z->rank, z->dims);
        if (map->pairs[to] == AF_PAIR_POINCARE) af_poincare_angle(c, q[to], p[to], &q[to], &p[to]);
    }
    for (i = 0; i < n && c->status != AF_OK; i++) q[i] = p[i] = af__none;
    return c->status;
}

/* The n numbers of the stretch or the shift in the order of the rows, as a column; neutral ones for
 * pairs with an angle, and no shift of even pairs, which it would not leave even. */
static af_expr af__shear_column(const af_shear *map, af_expr x, int shift) {
    af_context *c = af_params_context(map->params);
    af_expr row[AF_FREEDOMS_MAX];
    size_t i, one[2];
    one[0] = one[1] = 1;
    for (i = 0; i < map->desc.freedoms; i++) {
        size_t from = map->row[i];
        if (map->pairs[from] == AF_PAIR_CARTESIAN && !(shift && map->side[0].turned[i]))
            row[i] = af_reshape(c, af_slice(c, x, 0, from, 1), 2, one);
        else row[i] = af_full(c, 2, one, shift ? 0.0 : 1.0);
    }
    return af_concat(c, 0, map->desc.freedoms, row);
}

/* q -> (q + shift) e^s, p -> (p + shift) e^-s, or back, of the Cartesian pairs. */
static void af__shear_affine(const af_shear *map, int back, af__phase *z) {
    af_context *c = af_params_context(map->params);
    af_expr s = af_params_expr(map->params, map->stretch), shift = af__none;
    size_t i, k, n = map->desc.freedoms, cartesian = 0;
    for (i = 0; i < n; i++) cartesian += map->pairs[i] == AF_PAIR_CARTESIAN;
    if (!cartesian) return;
    for (k = 0; k < 2; k++) {
        int inverse = (k == 1) != (back != 0);
        af_expr factor = af__shear_column(map, af_exp(c, inverse ? af_neg(c, s) : s), 0);
        if (!map->desc.odd) {
            shift = af_slice(c, af_params_expr(map->params, map->shift), 0, k, 1);
            shift = af__shear_column(map, af_reshape(c, shift, 1, &n), 1);
            if (!back) z->x[k] = af_add(c, z->x[k], shift);
        }
        z->x[k] = af_mul(c, z->x[k], factor);
        if (back && !map->desc.odd) z->x[k] = af_sub(c, z->x[k], shift);
    }
}

/* Kicks are subtracted and drifts added; backwards the other way round. */
static void af__shear_step(const af_shear *map, af_slopes slopes, size_t layer, int back,
                           af__phase *z) {
    af_context *c = af_params_context(map->params);
    size_t from = layer % 2, to = 1 - from;
    af_expr g = slopes == AF_SLOPES_FROZEN ? af__shear_frozen(map, layer, z->x[from])
                                           : af__shear_gradient(map, layer, z->x[from]);
    z->x[to] = (from == 1) != (back != 0) ? af_add(c, z->x[to], g) : af_sub(c, z->x[to], g);
}

static af_status af__shear_build(const af_shear *map, af_slopes slopes, int back, const af_expr *q,
                                 const af_expr *p, af_expr *q_out, af_expr *p_out) {
    af__phase z = AF__ZERO;
    size_t i, layers = map->desc.layers;
    af_status status = af__phase_enter(map, q, p, &z);
    if (status != AF_OK) {
        for (i = 0; i < map->desc.freedoms; i++) q_out[i] = p_out[i] = af__none;
        return status;
    }
    if (!back) af__shear_affine(map, 0, &z);
    for (i = 0; i < layers; i++)
        af__shear_step(map, slopes, back ? layers - 1 - i : i, back, &z);
    if (back) af__shear_affine(map, 1, &z);
    return af__phase_leave(map, &z, q_out, p_out);
}

AF_API af_status af_shear_apply(const af_shear *map, af_slopes slopes, const af_expr *q,
                                const af_expr *p, af_expr *q_out, af_expr *p_out) {
    return af__shear_build(map, slopes, 0, q, p, q_out, p_out);
}

AF_API af_status af_shear_invert(const af_shear *map, af_slopes slopes, const af_expr *q,
                                 const af_expr *p, af_expr *q_out, af_expr *p_out) {
    return af__shear_build(map, slopes, 1, q, p, q_out, p_out);
}
