/* ---- the chain: learning, and what is learned ------------------------------------------------ */

/* ---- stars ---- */

/* Copies the stars, about the centre, in the chain's units. */
static af_status dp__chain_stars(dp__chain_fit *f, const dp_sample *sample) {
    const double *eta = dp_sample_eta(sample), *w = dp_sample_weights(sample);
    dp_chain *t = f->chain;
    double *r = DP__ARRAY(&f->arena, double, f->n), sum = 0.0, square = 0.0, fall = 0.0;
    size_t i, k;
    if (!r) return dp__fail_memory(f->c, "the stars of a chain");
    for (i = 0; i < f->n; i++) {
        double *x = f->x + 3 * i, *v = f->v + 3 * i, r2 = 0.0, v2 = 0.0;
        for (k = 0; k < 3; k++) {
            x[k] = eta[6 * i + k] - t->desc.centre[k];
            v[k] = eta[6 * i + 3 + k] - t->desc.centre[3 + k];
            r2 += x[k] * x[k];
            v2 += v[k] * v[k];
        }
        if (!(r2 > 0.0) || !dp__is_finite(r2 + v2))
            return af_fail(f->c, AF_ERROR_DATA, "chain: star %lu is %s", (unsigned long)i,
                           r2 > 0.0 ? "not finite" : "in the centre, where its orbit has no plane");
        f->weight[i] = w ? w[i] : 1.0;
        sum += f->weight[i];
        square += f->weight[i] * v2;
        r[i] = sqrt(r2);
    }
    t->length = dp__median(r, f->n);
    t->speed = sqrt(square / sum);
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
    for (i = f->n; i < f->rows; i++)
        for (k = 0; k < 3; k++) {
            f->x[3 * i + k] = f->x[k];
            f->v[3 * i + k] = f->v[k];
        }
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

static af_status dp__chain_desc_check(af_context *c, dp_chain_desc *d) {
    size_t k;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(c, AF_ERROR_ARGUMENT, "dp_chain_desc was not initialised to zero");
    for (k = 0; k < 6; k++)
        if (!dp__is_finite(d->centre[k]))
            return af_fail(c, AF_ERROR_ARGUMENT, "chain: the centre is not finite");
    if (!d->width) d->width = 16;
    if (!d->depth) d->depth = 1;
    if (!d->clumps) d->clumps = 4;
    if (!d->orbit_steps) d->orbit_steps = 12;
    if (!d->samples) d->samples = 4096;
    if (!d->begin) d->begin = 60;
    if (!d->steps) d->steps = 100;
    if (d->turns == 0.0) d->turns = 0.25;
    if (d->kernel == 0.0) d->kernel = 0.3;
    if (d->tie == 0.0) d->tie = 0.5;
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
    return AF_OK;
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
    if (!f->x || !f->v || !f->weight || !f->dt || !f->blur || !f->draw)
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
    if (s != AF_OK) return s;
    t->report.parameters = af_params_size(t->params);
    t->first = DP__ARRAY(&t->arena, double, t->report.parameters);
    return t->first ? AF_OK : dp__fail_memory(t->c, "the parameters of a chain");
}

/* The first map: b the median radius, GM from the virial theorem, or as much more as binds all. */
static void dp__chain_first_map(dp__chain_fit *f) {
    double *map = af_params_view(f->chain->params, f->chain->map), fall = 0.0, most = 0.0;
    size_t i, k;
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

/* Actions of all stars in the map: the first mixture, and the time that orbits last. */
static af_status dp__chain_first_mixture(dp__chain_fit *f) {
    dp_chain *t = f->chain;
    double *y = DP__ARRAY(&f->arena, double, 2 * f->n), *p = af_params_view(t->params, t->mixture);
    af_isochrone iso = dp__chain_isochrone(t);
    double mean = 0.0, square = 0.0;
    size_t i;
    if (!y) return dp__fail_memory(f->c, "the actions of a chain");
    for (i = 0; i < f->n; i++) {
        double xv[6], j[3], at[3];
        memcpy(xv, f->x + 3 * i, 3 * sizeof(double));
        memcpy(xv + 3, f->v + 3 * i, 3 * sizeof(double));
        if (af_isochrone_actions(&iso, xv, j, NULL, NULL) & AF_ORBIT_FAILED) j[2] = 1.0;
        dp__chain_coordinates(f, i, at);
        mean += f->weight[i] * j[2];
        square += f->weight[i] * j[2] * j[2];
        y[2 * i] = log(j[2] + DP__CHAIN_LEAST * DP__CHAIN_LEAST);
        y[2 * i + 1] = at[2];
    }
    f->tie = fabs(t->desc.tie) * sqrt(fmax(square - mean * mean, 1e-6 * square));
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

static af_expr dp__chain_input(af_context *c, const char *label, size_t rows, size_t columns) {
    size_t dims[2];
    dims[0] = rows;
    dims[1] = columns;
    return af_input(c, label, 2, dims);
}

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
    static const int axes[DP__CHAIN_INPUTS] = {0, 0, 0, 0, 0, -1};
    af_minimiser_desc d = DP__ZERO;
    dp__chain_inputs(f, in, data);
    d.params = f->chain->params;
    d.inputs = in;
    d.input_count = DP__CHAIN_INPUTS;
    d.input_axes = axes;
    d.pieces = f->pieces;
    d.memory = 40; /* network, map and mixture are ill-conditioned together */
    if (residuals) {
        d.residuals = dp__chain_residuals(f, orbit, in);
        if (d.pieces > (size_t)DP__CHAIN_FEW) d.pieces = DP__CHAIN_FEW;
    } else {
        d.method = AF_LBFGS;
        d.loss = dp__chain_loss(f, orbit, in);
    }
    return af_minimiser_create(f->c, &d, out);
}

static af_status dp__chain_minimise(af_minimiser *m, const void *const *data, size_t steps,
                                    dp_chain *watched) {
    af_minimise_desc run = DP__ZERO;
    run.steps = steps;
    run.inputs = data;
    run.tolerance = 1e-8; /* a hundredth of a standard error at 10^6 stars */
    run.user = watched;
    run.progress = watched && watched->desc.progress ? dp__chain_progress : NULL;
    return af_minimise(m, &run, NULL);
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
 * orbits first, on which J_r changes nearly linearly with the potential. */
static af_status dp__chain_prepare(dp__chain_fit *f) {
    size_t orbit = f->chain->desc.orbit_steps;
    af_status s = dp__chain_stage(f, (orbit + 3) / 4, DP__CHAIN_PREPARE);
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

static void dp__chain_report_map(const dp_chain *t, double *gm, double *b) {
    const double *map = af_params_view(t->params, t->map);
    *gm = exp(map[0]) * t->speed * t->speed * t->length;
    *b = exp(map[1]) * t->length;
}

/* Phi and -d Phi/dr, in the chain's units and with no constant, at r (n) in its units. */
static af_status dp__chain_values(dp_chain *t, const double *params, size_t n, const double *r,
                                  double *phi, double *force) {
    af_context *c = t->c;
    af_expr in[2], out[2], r2;
    const void *from[2];
    void *to[2];
    af_func_desc d = DP__ZERO;
    af_func *func = NULL;
    af_workspace *work = NULL;
    af_status s;
    in[0] = dp__chain_input(c, "r", n, 1);
    in[1] = af_params_input(t->params);
    r2 = af_square(c, in[0]);
    out[0] = dp__chain_phi(t, dp__chain_u(c, r2));
    out[1] = af_neg(c, af_mul(c, dp__chain_pull(t, r2), in[0]));
    from[0] = r;
    from[1] = params;
    to[0] = phi;
    to[1] = force;
    d.inputs = in;
    d.outputs = out;
    d.input_count = d.output_count = 2;
    d.label = "the values of a chain";
    s = af_compile(c, &d, &func);
    if (s == AF_OK) s = af_context_workspace(c, func, 1, &work);
    if (s == AF_OK && (s = af_run(func, work, from, to)) != AF_OK)
        s = af_fail(c, s, "%s: %s", d.label, af_func_error(func));
    af_workspace_destroy(work);
    af_func_destroy(func);
    return s;
}

/* The constants: the means over the stars are those of the map's isochrone. */
static af_status dp__chain_align(dp__chain_fit *f) {
    dp_chain *t = f->chain;
    double *r = DP__ARRAY(&f->arena, double, 3 * f->n), sum = 0.0, *phi;
    af_isochrone iso = dp__chain_isochrone(t);
    double gm = iso.mass * AF_GRAVITY;
    size_t i, k;
    af_status s;
    if (!r) return dp__fail_memory(f->c, "the radii of a chain");
    phi = r + f->n;
    for (i = 0; i < f->n; i++) {
        for (k = 0; k < 3; k++) r[i] += f->x[3 * i + k] * f->x[3 * i + k];
        sum -= f->weight[i] * gm / (iso.scale + sqrt(iso.scale * iso.scale + r[i]));
        r[i] = sqrt(r[i]);
    }
    t->constant = t->untrained_constant = sum;
    s = dp__chain_values(t, af_params_data(t->params), f->n, r, phi, phi + f->n);
    for (i = 0; i < f->n; i++) t->constant -= f->weight[i] * phi[i];
    if (s == AF_OK) s = dp__chain_values(t, t->first, f->n, r, phi, phi + f->n);
    for (i = 0; i < f->n; i++) t->untrained_constant -= f->weight[i] * phi[i];
    return s;
}

static af_status dp__chain_run(dp__chain_fit *f, const dp_sample *sample) {
    dp_chain *t = f->chain;
    dp_chain_report *r = &t->report;
    size_t round;
    af_status s = dp__chain_open(f, sample), end;
    if (s == AF_OK) s = dp__chain_stars(f, sample);
    if (s == AF_OK) s = dp__chain_parameters(t);
    if (s != AF_OK) return s;
    dp__chain_scales(f);
    dp__chain_draws(f);
    dp__chain_first_map(f);
    for (round = 0; round < 2 && s == AF_OK; round++) { /* clumps change with the map: again */
        s = dp__chain_first_mixture(f);
        if (s == AF_OK) s = dp__chain_stage(f, 0, t->desc.begin);
    }
    if (s != AF_OK) return s;
    dp__chain_times(f);
    dp__chain_report_map(t, &r->gm_begun, &r->b_begun);
    memcpy(t->first, af_params_data(t->params), r->parameters * sizeof(double));
    s = dp__chain_learn(f);
    dp__chain_report_map(t, &r->gm, &r->b);
    if (s != AF_OK && s != AF_STOPPED) return s;
    end = dp__chain_align(f);
    return end == AF_OK ? s : end;
}

static af_status dp__chain_new(af_context *c, const dp_chain_desc *desc, dp_chain **out) {
    dp__arena arena = dp__arena_open(c);
    dp_chain *t = DP__NEW(&arena, dp_chain);
    af_status s;
    *out = NULL;
    if (!t) return dp__fail_memory(c, "a chain");
    t->c = c;
    t->arena = arena;
    if (desc) t->desc = *desc;
    s = dp__chain_desc_check(c, &t->desc);
    if (s == AF_OK) *out = t;
    else dp_chain_destroy(t);
    return s;
}

AF_API af_status dp_chain_create(const dp_sample *sample, const dp_chain_desc *desc,
                                 dp_chain **out) {
    dp__chain_fit f;
    af_status s;
    memset(&f, 0, sizeof f);
    f.c = dp_sample_context(sample);
    f.arena = dp__arena_open(f.c);
    s = dp__chain_new(f.c, desc, out);
    if (s != AF_OK) return s;
    f.chain = *out;
    if (dp_sample_volume(sample).kind != DP_VOLUME_ALL)
        s = af_fail(f.c, AF_ERROR_ARGUMENT,
                    "chain: the sample is cut in space, which biases actions; take all stars");
    if (s == AF_OK) s = dp__chain_run(&f, sample);
    dp__arena_free(&f.arena);
    if (s == AF_OK || s == AF_STOPPED) return s;
    dp_chain_destroy(*out);
    *out = NULL;
    return s;
}

AF_API void dp_chain_destroy(dp_chain *chain) {
    dp__arena arena;
    if (!chain) return;
    af_net_destroy(chain->net);
    af_params_destroy(chain->params);
    arena = chain->arena; /* the chain itself lies in it */
    dp__arena_free(&arena);
}

AF_API dp_chain_report dp_chain_describe(const dp_chain *chain) { return chain->report; }

/* ---- evaluation ---- */

static af_status dp__chain_at(dp_chain *t, int trained, size_t n, const double *radii,
                              double *phi, double *force) {
    dp__arena arena = dp__arena_open(t->c);
    double *r = DP__ARRAY(&arena, double, 3 * n);
    double constant = trained ? t->constant : t->untrained_constant;
    double square = t->speed * t->speed;
    af_status s = r ? AF_OK : dp__fail_memory(t->c, "the values of a chain");
    size_t i;
    for (i = 0; s == AF_OK && i < n; i++) {
        if (!(radii[i] > 0.0) || !dp__is_finite(radii[i]))
            s = af_fail(t->c, AF_ERROR_ARGUMENT, "chain: radius %lu is %g; it must be above zero",
                        (unsigned long)i, radii[i]);
        r[i] = radii[i] / t->length;
    }
    if (s == AF_OK && n > 0)
        s = dp__chain_values(t, trained ? af_params_data(t->params) : t->first, n, r, r + n,
                             r + 2 * n);
    for (i = 0; s == AF_OK && i < n; i++) {
        if (phi) phi[i] = square * (r[n + i] + constant);
        if (force) force[i] = square / t->length * r[2 * n + i];
    }
    dp__arena_free(&arena);
    return s;
}

AF_API af_status dp_chain_evaluate(dp_chain *chain, size_t n, const double *radii, double *phi,
                                   double *force) {
    return dp__chain_at(chain, 1, n, radii, phi, force);
}

AF_API af_status dp_chain_evaluate_untrained(dp_chain *chain, size_t n, const double *radii,
                                             double *phi, double *force) {
    return dp__chain_at(chain, 0, n, radii, phi, force);
}
