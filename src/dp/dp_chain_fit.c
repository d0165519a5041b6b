/* ---- the chain: learning --------------------------------------------------------------------- */

/* ---- stars ---- */

/* Copies the stars in random order, about the centre; r (n) gets their radii. */
static af_status dp__chain_copy(dp__chain_fit *f, const dp_sample *sample, double *r) {
    const double *eta = dp_sample_eta(sample), *w = dp_sample_weights(sample);
    const double *centre = f->chain->desc.centre;
    uint32_t *order = DP__ARRAY(&f->arena, uint32_t, f->n);
    size_t i, k;
    if (!order) return dp__fail_memory(f->c, "the stars of a chain");
    af_random_permutation(f->chain->desc.seed, 920, f->n, order);
    for (i = 0; i < f->n; i++) {
        double *x = f->x + 3 * i, *v = f->v + 3 * i, r2 = 0.0, v2 = 0.0;
        for (k = 0; k < 3; k++) {
            x[k] = eta[6 * (size_t)order[i] + k] - centre[k];
            v[k] = eta[6 * (size_t)order[i] + 3 + k] - centre[3 + k];
            r2 += x[k] * x[k];
            v2 += v[k] * v[k];
        }
        if (!(r2 > 0.0) || !dp__is_finite(r2 + v2))
            return af_fail(f->c, AF_ERROR_DATA, "chain: star %lu is %s", (unsigned long)order[i],
                           r2 > 0.0 ? "not finite" : "in the centre, where its orbit has no plane");
        f->weight[i] = w ? w[order[i]] : 1.0;
        r[i] = sqrt(r2);
    }
    return AF_OK;
}

/* Rows beyond the stars are as star `as`, of weight 0; so is star i. */
static void dp__chain_same(dp__chain_fit *f, size_t i, size_t as) {
    memcpy(f->x + 3 * i, f->x + 3 * as, 3 * sizeof(double));
    memcpy(f->v + 3 * i, f->v + 3 * as, 3 * sizeof(double));
    f->weight[i] = 0.0;
}

/* The stars in the chain's units. */
static af_status dp__chain_stars(dp__chain_fit *f, const dp_sample *sample) {
    dp_chain *t = f->chain;
    double *r = DP__ARRAY(&f->arena, double, f->n), sum = 0.0, square = 0.0, fall = 0.0;
    size_t i, k;
    af_status s = r ? dp__chain_copy(f, sample, r)
                    : dp__fail_memory(f->c, "the stars of a chain");
    if (s != AF_OK) return s;
    for (i = 0; i < f->n; i++) {
        const double *v = f->v + 3 * i;
        sum += f->weight[i];
        square += f->weight[i] * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    }
    t->length = t->model.length = dp__median(r, f->n);
    t->speed = t->model.speed = sqrt(square / sum);
    if (!(t->speed > 0.0))
        return af_fail(f->c, AF_ERROR_DATA, "chain: no star moves about the centre's velocity");
    for (i = 0; i < f->n; i++) {
        double r2 = 0.0;
        f->weight[i] /= sum;
        for (k = 0; k < 3; k++) {
            f->x[3 * i + k] /= t->length;
            f->v[3 * i + k] /= t->speed;
            r2 += f->x[3 * i + k] * f->x[3 * i + k];
        }
        fall += f->weight[i] * r2 / (1.0 + r2);
    }
    t->flat = 1.0 / fall; /* virial: <v^2> = <r dPhi/dr> */
    for (i = f->n; i < f->rows; i++) dp__chain_same(f, i, 0);
    return AF_OK;
}

/* ln r, x.v, ln L of star i. */
static void dp__chain_coordinates(const dp__chain_fit *f, size_t i, double out[3]) {
    const double *x = f->x + 3 * i, *v = f->v + 3 * i;
    double r2 = 0.0, l2 = DP__CHAIN_LEAST * DP__CHAIN_LEAST;
    size_t k;
    out[1] = 0.0;
    for (k = 0; k < 3; k++) {
        size_t m = (k + 1) % 3;
        double cross = x[k] * v[m] - x[m] * v[k];
        r2 += x[k] * x[k];
        l2 += cross * cross;
        out[1] += x[k] * v[k];
    }
    out[0] = 0.5 * log(r2);
    out[2] = 0.5 * log(l2);
}

/* What follows from the stars' spread: what the network sees, the kernel, draws from it. */
static void dp__chain_scales(dp__chain_fit *f) {
    dp_chain *t = f->chain;
    double mean[4] = {0.0, 0.0, 0.0, 0.0}, square[4] = {0.0, 0.0, 0.0, 0.0}, at[4];
    size_t i, k;
    for (i = 0; i < f->n; i++) {
        dp__chain_coordinates(f, i, at);
        at[3] = 0.5 * log1p(exp(2.0 * at[0]));
        for (k = 0; k < 4; k++) {
            mean[k] += f->weight[i] * at[k];
            square[k] += f->weight[i] * at[k] * at[k];
        }
    }
    for (k = 0; k < 4; k++) /* at least a hundredth: all alike */
        square[k] = fmax(sqrt(fmax(square[k] - mean[k] * mean[k], 0.0)), 0.01);
    t->middle = mean[3];
    t->spread = square[3];
    for (k = 0; k < 3; k++) f->width[k] = t->desc.kernel * square[k];
    for (i = 0; i < f->rows && !t->desc.sharp; i++)
        for (k = 0; k < 6; k++)
            f->blur[6 * i + k] =
                f->width[k % 3] * af_random_normal(t->desc.seed, 900 + (uint64_t)k, (uint64_t)i);
}

/* Points that fill the cube evenly (Kronecker's sequence, Roberts 2018), as normal z1, z2 and an
 * angle: their noise is far below that of random ones. The same in all steps, so that the loss is
 * smooth. */
static void dp__chain_draws(dp__chain_fit *f) {
    static const double step[3] = {0.8191725133961645, 0.6710436067037893, 0.5497004779019703};
    size_t i, k;
    for (i = 0; i < f->draws; i++) {
        double u[3], radius;
        for (k = 0; k < 3; k++) u[k] = fmod(0.5 + step[k] * (double)(i + 1), 1.0);
        radius = sqrt(-2.0 * log(fmax(u[0], 1e-12)));
        f->draw[3 * i] = radius * cos(2.0 * DP__PI * u[1]);
        f->draw[3 * i + 1] = radius * sin(2.0 * DP__PI * u[1]);
        f->draw[3 * i + 2] = 2.0 * DP__PI * u[2];
    }
}

/* ---- beginning ---- */

static af_status dp__chain_options_check(af_context *c, const dp_chain_desc *d) {
    if (d->model && d->density == DP_CHAIN_KERNEL)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "chain: the kernel density needs the way back from actions as an "
                       "expression, which a trained model has not got; take DP_CHAIN_CANONICAL, "
                       "which does without");
    if (d->model && af_params_context(af_finder_params(d->model)) != c)
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "chain: the model is of another context than the sample; load it into this "
                       "one");
    if (d->flow > (size_t)DP__CHAIN_LAYERS || (d->flow && d->clumps > 1))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "chain: a flow has up to %d layers and takes the clumps' place; asked for "
                       "are %lu layers and %lu clumps",
                       (int)DP__CHAIN_LAYERS, (unsigned long)d->flow, (unsigned long)d->clumps);
    return AF_OK;
}

static af_status dp__chain_desc_check(af_context *c, dp_chain_desc *d) {
    size_t k;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(c, AF_ERROR_ARGUMENT, "dp_chain_desc was not initialised to zero");
    for (k = 0; k < 6; k++)
        if (!dp__is_finite(d->centre[k]))
            return af_fail(c, AF_ERROR_ARGUMENT, "chain: the centre is not finite");
    if (!d->width) d->width = 16;
    if (!d->depth) d->depth = 1;
    if (!d->clumps) d->clumps = d->flow ? 1 : 4;
    if (!d->orbit_steps) d->orbit_steps = 12;
    if (!d->samples) d->samples = 4096;
    if (!d->begin) d->begin = 60;
    if (!d->steps) d->steps = 100;
    if (d->turns == 0.0) d->turns = 0.25;
    if (d->kernel == 0.0) d->kernel = 0.3;
    if (d->tie == 0.0) d->tie = d->model ? 0.03 : 0.5;
    if ((d->density != DP_CHAIN_CANONICAL && d->density != DP_CHAIN_KERNEL) ||
        d->clumps > (size_t)DP__CHAIN_CLUMPS || d->orbit_steps > (size_t)DP__CHAIN_STEPS ||
        !(d->turns > 0.0 && d->turns <= 100.0) || !(d->kernel > 0.0 && d->kernel <= 10.0) ||
        !dp__is_finite(d->tie))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "chain: a density of either kind, 1 to %d clumps, 1 to 256 steps of an "
                       "orbit, up to 100 turns and a kernel up to 10 are possible; asked for are "
                       "density %d, %lu clumps, %lu steps, %g turns, kernel %g",
                       (int)DP__CHAIN_CLUMPS, (int)d->density, (unsigned long)d->clumps,
                       (unsigned long)d->orbit_steps, d->turns, d->kernel);
    return dp__chain_options_check(c, d);
}

static af_status dp__chain_open(dp__chain_fit *f, const dp_sample *sample) {
    dp__arena *a = &f->arena;
    dp_chain *t = f->chain;
    f->n = t->report.stars = dp_sample_count(sample);
    if (f->n < (size_t)DP__CHAIN_FEWEST)
        return af_fail(f->c, AF_ERROR_DATA, "chain: %lu stars are too few; at least %d are needed",
                       (unsigned long)f->n, (int)DP__CHAIN_FEWEST);
    f->piece = f->n < (size_t)DP__CHAIN_PIECE ? f->n : (size_t)DP__CHAIN_PIECE;
    f->pieces = (f->n + f->piece - 1) / f->piece;
    f->rows = f->piece * f->pieces;
    f->draws = (t->desc.samples + t->desc.clumps - 1) / t->desc.clumps;
    f->x = DP__ARRAY(a, double, 3 * f->rows);
    f->v = DP__ARRAY(a, double, 3 * f->rows);
    f->weight = DP__ARRAY(a, double, f->rows);
    f->dt = DP__ARRAY(a, double, f->rows);
    f->blur = DP__ARRAY(a, double, 6 * f->rows);
    f->draw = DP__ARRAY(a, double, 3 * f->draws);
    f->actions = DP__ARRAY(a, double, t->model.finder ? 3 * f->rows : 0);
    f->slope = DP__ARRAY(a, double, t->model.finder ? 8 * f->rows : 0);
    if (!f->x || !f->v || !f->weight || !f->dt || !f->blur || !f->draw || !f->actions || !f->slope)
        return dp__fail_memory(f->c, "the stars of a chain");
    return AF_OK;
}

static af_status dp__chain_parameters(dp_chain *t) {
    af_net_desc net = DP__ZERO;
    size_t two = 2, one = 1, mixture[2];
    af_status s = af_params_create(t->c, t->desc.seed, &t->params);
    mixture[0] = DP__CHAIN_ROWS;
    mixture[1] = t->desc.clumps;
    net.inputs = net.outputs = 1;
    net.width = t->desc.width;
    net.depth = t->desc.depth;
    net.activation = AF_TANH;
    if (s == AF_OK)
        s = af_params_add(t->params, "map", 1, &two, AF_INIT_CONSTANT, 0.0, &t->map);
    if (s == AF_OK)
        s = af_params_add(t->params, "mixture", 2, mixture, AF_INIT_CONSTANT, 0.0, &t->mixture);
    if (s == AF_OK) s = af_params_add(t->params, "base", 1, &one, AF_INIT_CONSTANT, 0.0, &t->base);
    if (s == AF_OK) s = af_net_create(t->params, &net, &t->net);
    if (s == AF_OK) s = dp__chain_flow_create(t->params, t->desc.flow, &t->flow);
    if (s != AF_OK) return s;
    t->report.parameters = af_params_size(t->params);
    t->first = DP__ARRAY(&t->arena, double, t->report.parameters);
    return t->first ? AF_OK : dp__fail_memory(t->c, "the parameters of a chain");
}

/* The first map: b the median radius, GM from the virial theorem, or as much more as binds all;
 * with a model its toy. */
static void dp__chain_first_map(dp__chain_fit *f) {
    const dp_chain *t = f->chain;
    double *map = af_params_view(t->params, t->map), fall = 0.0, most = 0.0;
    size_t i, k;
    if (t->model.finder) {
        af_isochrone toy = af_finder_toy(t->model.finder);
        map[0] = log(AF_GRAVITY * toy.mass / (t->speed * t->speed * t->length));
        map[1] = log(toy.scale / t->length);
        return;
    }
    for (i = 0; i < f->n; i++) {
        double r2 = 0.0, v2 = 0.0, s;
        for (k = 0; k < 3; k++) {
            r2 += f->x[3 * i + k] * f->x[3 * i + k];
            v2 += f->v[3 * i + k] * f->v[3 * i + k];
        }
        s = sqrt(1.0 + r2);
        fall += f->weight[i] * r2 / (s * (1.0 + s) * (1.0 + s));
        if (f->weight[i] > 0.0) most = fmax(most, 0.5 * v2 * (1.0 + s));
    }
    map[0] = log(fmax(1.0 / fall, 1.2 * most));
    map[1] = 0.0;
}

/* The isochrone of the map, in the chain's units: GM = 1 km^2/s^2 kpc is a mass of 1/AF_GRAVITY. */
static af_isochrone dp__chain_isochrone(const dp_chain *t) {
    const double *map = af_params_view(t->params, t->map);
    af_isochrone iso;
    iso.mass = exp(map[0]) / AF_GRAVITY;
    iso.scale = exp(map[1]);
    return iso;
}

/* ---- a model ---- */

static af_expr dp__chain_input(af_context *c, const char *label, size_t rows, size_t columns) {
    size_t dims[2];
    dims[0] = rows;
    dims[1] = columns;
    return af_input(c, label, 2, dims);
}

/* Of the model's flags, those of stars for which it has no actions or no derivatives of them. */
static int dp__chain_unfit(unsigned flags) {
    return (flags & (AF_ORBIT_FAILED | (unsigned)AF_STAR_UNCONVERGED | AF_ORBIT_PLANAR |
                     AF_ORBIT_RADIAL | AF_ORBIT_CIRCULAR | AF_ORBIT_AT_REST)) != 0;
}

/* Leaves out the stars with such flags (n). */
static af_status dp__chain_leave_out(dp__chain_fit *f, const unsigned *flags) {
    dp_chain *t = f->chain;
    size_t i, good = f->n, *out = &t->report.left_out;
    double sum = 0.0;
    for (i = 0; i < f->n; i++) {
        if (dp__chain_unfit(flags[i])) ++*out;
        else if (good == f->n) good = i;
    }
    if (10 * *out > f->n)
        return af_fail(f->c, AF_ERROR_DATA,
                       "chain: of %lu stars the model has no actions for %lu; give one that was "
                       "trained on such orbits, or leave out the stars that it has none for",
                       (unsigned long)f->n, (unsigned long)*out);
    for (i = 0; i < f->rows; i++)
        if (i >= f->n || dp__chain_unfit(flags[i])) {
            dp__chain_same(f, i, good);
            memcpy(f->actions + 3 * i, f->actions + 3 * good, 3 * sizeof(double));
        }
    for (i = 0; i < f->n; i++) sum += f->weight[i];
    if (!(sum > 0.0))
        return af_fail(f->c, AF_ERROR_DATA, "chain: no star that the model has actions for has a "
                       "weight");
    for (i = 0; i < f->n; i++) f->weight[i] /= sum;
    return AF_OK;
}

/* Actions of all stars by the model. */
static af_status dp__chain_evaluate_model(dp__chain_fit *f) {
    const dp__chain_model *m = &f->chain->model;
    double *xv = DP__ARRAY(&f->arena, double, 6 * f->n);
    unsigned *flags = DP__ARRAY(&f->arena, unsigned, f->n);
    af_evaluator *one = NULL;
    size_t i, k;
    af_status s;
    if (!xv || !flags) return dp__fail_memory(f->c, "the actions of a chain");
    for (i = 0; i < f->n; i++)
        for (k = 0; k < 3; k++) {
            xv[6 * i + k] = m->length * f->x[3 * i + k];
            xv[6 * i + 3 + k] = m->speed * f->v[3 * i + k];
        }
    s = af_evaluator_create(m->finder, 1, 64, 1, &one);
    if (s == AF_OK) af_evaluate(one, f->n, xv, NULL, f->actions, NULL, flags);
    af_evaluator_destroy(one);
    return s == AF_OK ? dp__chain_leave_out(f, flags) : s;
}

/* dJ/dx and dJ/dv (piece,3) of J_r and of L, as a program: x, v, actions, the finder's numbers. */
static af_status dp__chain_slopes_compile(const dp__chain_fit *f, af_func **func) {
    const dp_chain *t = f->chain;
    af_context *c = f->c;
    dp__chain_map toy = dp__chain_map_of(t, 1);
    dp__chain_actions a;
    af_expr in[5], out[4], none = DP__ZERO;
    af_func_desc d = DP__ZERO;
    out[0] = out[1] = out[2] = out[3] = none;
    in[0] = dp__chain_input(c, "x", f->piece, 3);
    in[1] = dp__chain_input(c, "v", f->piece, 3);
    in[2] = dp__chain_input(c, "actions", f->piece, 3);
    in[3] = af_params_input(af_finder_params(t->model.finder));
    in[4] = af_params_input(t->params);
    a = dp__chain_model_actions(c, &t->model, &toy, in[0], in[1], af_transpose(c, in[2]));
    (void)af_grad(c, af_sum(c, a.j), 2, in, out); /* compiling reports it */
    (void)af_grad(c, af_sum(c, a.l), 2, in, out + 2);
    d.inputs = in;
    d.input_count = 5;
    d.outputs = out;
    d.output_count = 4;
    d.label = "the slopes of a model's actions";
    return af_compile(c, &d, func);
}

/* Row i of f->slope from dJ/dx and dJ/dv. */
static void dp__chain_slope_of(dp__chain_fit *f, size_t i, size_t k, const double *by_x,
                               const double *by_v) {
    const double *v = f->v + 3 * i;
    double *to = f->slope + 8 * i + 4 * k;
    to[0] = v[0] * by_x[0] + v[1] * by_x[1] + v[2] * by_x[2];
    memcpy(to + 1, by_v, 3 * sizeof(double));
}

static af_status dp__chain_slopes(dp__chain_fit *f) {
    const dp_chain *t = f->chain;
    size_t at, i, k;
    double *room = DP__ARRAY(&f->arena, double, 12 * f->piece);
    const void *from[5];
    void *to[4];
    af_func *func = NULL;
    af_workspace *work = NULL;
    af_status s = room ? dp__chain_slopes_compile(f, &func)
                       : dp__fail_memory(f->c, "the slopes of a chain");
    if (s == AF_OK) s = af_context_workspace(f->c, func, 1, &work);
    for (k = 0; room && k < 4; k++) to[k] = room + 3 * k * f->piece;
    for (at = 0; at < f->rows && s == AF_OK; at += f->piece) {
        from[0] = f->x + 3 * at;
        from[1] = f->v + 3 * at;
        from[2] = f->actions + 3 * at;
        from[3] = af_params_data(af_finder_params(t->model.finder));
        from[4] = af_params_data(t->params);
        s = af_run(func, work, from, to);
        for (i = 0; i < f->piece; i++)
            for (k = 0; k < 2; k++)
                dp__chain_slope_of(f, at + i, k, room + 6 * k * f->piece + 3 * i,
                                   room + (6 * k + 3) * f->piece + 3 * i);
    }
    if (s != AF_OK && func && work) s = af_fail(f->c, s, "chain: %s", af_func_error(func));
    af_workspace_destroy(work);
    af_func_destroy(func);
    return s;
}

/* ---- the first mixture, times ---- */

/* J_r and L of star i in the map. */
static void dp__chain_pair(const dp__chain_fit *f, const af_isochrone *iso, size_t i,
                           double pair[2]) {
    const dp__chain_model *m = &f->chain->model;
    double xv[6], j[3], at[3], unit = m->length * m->speed;
    if (m->finder) {
        pair[0] = fmax(f->actions[3 * i + 2] / unit, DP__CHAIN_LEAST_J);
        pair[1] = (fabs(f->actions[3 * i]) + f->actions[3 * i + 1]) / unit;
        pair[1] = fmax(pair[1], DP__CHAIN_LEAST_J);
        return;
    }
    memcpy(xv, f->x + 3 * i, 3 * sizeof(double));
    memcpy(xv + 3, f->v + 3 * i, 3 * sizeof(double));
    if (af_isochrone_actions(iso, xv, j, NULL, NULL) & AF_ORBIT_FAILED) j[2] = 1.0;
    dp__chain_coordinates(f, i, at);
    pair[0] = j[2] + DP__CHAIN_LEAST * DP__CHAIN_LEAST;
    pair[1] = exp(at[2]);
}

/* Actions of all stars in the map: the first mixture, the ties. */
static af_status dp__chain_first_mixture(dp__chain_fit *f) {
    dp_chain *t = f->chain;
    double *y = DP__ARRAY(&f->arena, double, 2 * f->n), *p = af_params_view(t->params, t->mixture);
    af_isochrone iso = dp__chain_isochrone(t);
    double mean[2] = {0.0, 0.0}, square[2] = {0.0, 0.0}, pair[2];
    size_t i, k;
    if (!y) return dp__fail_memory(f->c, "the actions of a chain");
    for (i = 0; i < f->n; i++) {
        dp__chain_pair(f, &iso, i, pair);
        for (k = 0; k < 2; k++) {
            mean[k] += f->weight[i] * pair[k];
            square[k] += f->weight[i] * pair[k] * pair[k];
            y[2 * i + k] = log(pair[k]);
        }
    }
    for (k = 0; k < 2; k++)
        f->tie[k] =
            fabs(t->desc.tie) * sqrt(fmax(square[k] - mean[k] * mean[k], 1e-6 * square[k]));
    return dp__chain_em(f->c, f->n, y, f->weight, t->desc.clumps, t->desc.seed, p);
}

/* Time steps. An orbit lasts between half and all of `turns` radial periods of a circular orbit of
 * the same L (af_isochrone.h: Omega_r = GM^2/(sqrt(GM a))^3 at J_r = 0), for all phases to be met.
 * L never changes: orbits whose duration depends on anything else would not keep volumes. */
static void dp__chain_times(dp__chain_fit *f) {
    const dp_chain *t = f->chain;
    const double *map = af_params_view(t->params, t->map);
    double gm = exp(map[0]), b = exp(map[1]), at[3], root, share;
    size_t i;
    for (i = 0; i < f->rows; i++) {
        dp__chain_coordinates(f, i, at);
        root = 0.5 * (exp(at[2]) + sqrt(exp(2.0 * at[2]) + 4.0 * gm * b));
        share = 0.5 + 0.5 * af_random_uniform(t->desc.seed, 910, (uint64_t)i);
        f->dt[i] = share * t->desc.turns / (double)t->desc.orbit_steps * 2.0 * DP__PI * root *
                   root * root / (gm * gm);
    }
}

/* ---- learning ---- */

/* The inputs of the loss, and their arrays. */
static void dp__chain_inputs(const dp__chain_fit *f, af_expr *in, const void **data) {
    af_context *c = f->c;
    in[DP__CHAIN_X] = dp__chain_input(c, "x", f->piece, 3);
    in[DP__CHAIN_V] = dp__chain_input(c, "v", f->piece, 3);
    in[DP__CHAIN_WEIGHT] = dp__chain_input(c, "weight", f->piece, 1);
    in[DP__CHAIN_DT] = dp__chain_input(c, "dt", f->piece, 1);
    in[DP__CHAIN_BLUR] = dp__chain_input(c, "blur", f->piece, 6);
    in[DP__CHAIN_DRAW] = dp__chain_input(c, "draw", f->draws, 3);
    data[DP__CHAIN_X] = f->x;
    data[DP__CHAIN_V] = f->v;
    data[DP__CHAIN_WEIGHT] = f->weight;
    data[DP__CHAIN_DT] = f->dt;
    data[DP__CHAIN_BLUR] = f->blur;
    data[DP__CHAIN_DRAW] = f->draw;
    if (!f->chain->model.finder) return;
    in[DP__CHAIN_J] = dp__chain_input(c, "J", f->piece, 3);
    in[DP__CHAIN_SLOPE] = dp__chain_input(c, "slopes", f->piece, 8);
    in[DP__CHAIN_FINDER] = af_params_input(af_finder_params(f->chain->model.finder));
    data[DP__CHAIN_J] = f->actions;
    data[DP__CHAIN_SLOPE] = f->slope;
    data[DP__CHAIN_FINDER] = af_params_data(af_finder_params(f->chain->model.finder));
}

static int dp__chain_progress(const af_minimise_report *report, void *user) {
    const dp_chain_desc *d = &((const dp_chain *)user)->desc;
    dp_chain_progress p;
    p.step = report->step;
    p.steps = d->steps;
    p.loss = report->loss;
    return d->progress(&p, d->user);
}

/* L-BFGS for the loss of orbits of that many steps, Levenberg-Marquardt for the residuals of
 * few stars. in and data get what they run on. */
static af_status dp__chain_minimiser(const dp__chain_fit *f, size_t orbit, int residuals,
                                     af_expr *in, const void **data, af_minimiser **out) {
    static const int axes[DP__CHAIN_INPUTS] = {0, 0, 0, 0, 0, -1, 0, 0, -1};
    int model = f->chain->model.finder != NULL;
    af_minimiser_desc d = DP__ZERO;
    dp__chain_inputs(f, in, data);
    d.params = f->chain->params;
    d.inputs = in;
    d.input_count = dp__chain_input_count(f->chain);
    d.input_axes = axes;
    d.pieces = f->pieces;
    d.memory = 40; /* network, map and mixture are ill-conditioned together */
    if (residuals) {
        d.residuals = model ? dp__chain_drift(f, in) : dp__chain_residuals(f, orbit, in);
        if (model) {
            d.robust = AF_ROBUST_CAUCHY;
            d.robust_group = 2; /* the two of a star */
        }
        if (!model && d.pieces > (size_t)DP__CHAIN_FEW) d.pieces = DP__CHAIN_FEW;
    } else {
        d.method = AF_LBFGS;
        d.loss = dp__chain_loss(f, orbit, in);
    }
    return af_minimiser_create(f->c, &d, out);
}

static af_status dp__chain_minimise(af_minimiser *m, const void *const *data, size_t steps,
                                    dp_chain *watched) {
    af_minimise_desc run = DP__ZERO;
    af_minimise_report last = DP__ZERO;
    af_status s;
    run.steps = steps;
    run.inputs = data;
    run.tolerance = 1e-8; /* a hundredth of a standard error at 10^6 stars */
    run.user = watched;
    run.progress = watched && watched->desc.progress ? dp__chain_progress : NULL;
    s = af_minimise(m, &run, &last);
    if (watched) watched->report.steps = last.step;
    return s;
}

/* One stage without orbits (orbit 0), or of the network alone. */
static af_status dp__chain_stage(dp__chain_fit *f, size_t orbit, size_t steps) {
    af_expr in[DP__CHAIN_INPUTS];
    const void *data[DP__CHAIN_INPUTS];
    af_minimiser *m = NULL;
    af_status s = dp__chain_minimiser(f, orbit, orbit > 0, in, data, &m);
    if (s == AF_OK) s = dp__chain_minimise(m, data, steps, NULL);
    af_minimiser_destroy(m);
    return s;
}

/* The network from where it may be far off: made to keep J_r in the map as it is, along short
 * orbits first, on which J_r changes nearly linearly with the potential; with a model as orbits
 * begin, where that is exactly so. */
static af_status dp__chain_prepare(dp__chain_fit *f) {
    size_t orbit = f->chain->desc.orbit_steps;
    af_status s = dp__chain_stage(f, (orbit + 3) / 4, DP__CHAIN_PREPARE);
    if (f->chain->model.finder) return s;
    return s == AF_OK ? dp__chain_stage(f, orbit, 2 * (size_t)DP__CHAIN_PREPARE) : s;
}

/* All together. */
static af_status dp__chain_learn(dp__chain_fit *f) {
    dp_chain *t = f->chain;
    af_expr in[DP__CHAIN_INPUTS];
    const void *data[DP__CHAIN_INPUTS];
    af_minimiser *m = NULL;
    af_status s = dp__chain_minimiser(f, t->desc.orbit_steps, 0, in, data, &m), end;
    if (s == AF_OK) s = af_minimiser_loss(m, data, &t->report.untrained);
    if (s == AF_OK) s = dp__chain_prepare(f);
    if (s == AF_OK) {
        af_minimiser_restart(m);
        s = dp__chain_minimise(m, data, t->desc.steps, t);
    }
    if (s == AF_OK || s == AF_STOPPED) {
        end = af_minimiser_loss(m, data, &t->report.loss);
        if (end != AF_OK) s = end;
    }
    af_minimiser_destroy(m);
    return s;
}
