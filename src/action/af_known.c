/* ---- ActionFinder: training in a known field ----------------------------------------------------
 *
 * As af_fit.c, with dJ''/dt along the true motion as a term more. (theta,J) of the toy come from
 * (x,v) within the graph, with the tangent (v,a) carried along. J' is held there, since it does not
 * change along an orbit. */

typedef struct af__known {
    af__fit fit; /* first: af_fit.c's functions take it */
    af_force force;
    double weight;
    double *rate;     /* (6,N,B): v and a of the batch */
    double *unit;     /* (1,N,B): 1/Omega_r of the toy */
} af__known;

/* ---- the loss ---- */

/* The spread's form, of dJ''/dt (3,N,B) in units of action_scale. */
static af_expr af__known_loss(const af__generator *g, af_expr drift, af_expr weight) {
    af_context *c = g->c;
    double soft = g->desc.softening / g->action_scale;
    af_expr s;
    if (g->desc.spread == AF_SPREAD_ABSOLUTE)
        return af_mean(c, af_sum_axis(c, af_mul(c, weight, af_abs(c, drift)), 1));
    s = af_mean_axis(c, af_sum_axis(c, af_mul(c, weight, af_square(c, drift)), 1), 0);
    s = af_offset(c, af_scale(c, s, 1.0 / (soft * soft)), 1.0);
    return af_mean(c, af_sqrt(c, af_sqrt(c, s)));
}

/* theta, J of the toy, a free one or not, and their rates (3,N,B) [1/(kpc/(km/s))]. */
static af_status af__known_toy(const af_finder *f, af_expr xv, af_expr rate, af__inputs *in,
                               af_expr drift[2]) {
    af_context *c = f->context;
    af_expr y[2];
    if (f->g.desc.free_toy) {
        if (af__free_toy(f, xv, in) != AF_OK) return c->status;
    } else {
        if (af_isochrone_expr(c, af_constant(c, AF_GRAVITY * f->toy.mass),
                              af_constant(c, f->toy.scale), xv, &in->j, &in->theta) != AF_OK)
            return c->status;
        in->j = af_scale(c, in->j, 1.0 / f->g.action_scale);
    }
    y[0] = in->theta;
    y[1] = in->j;
    return af_jvp(c, 2, y, 1, &xv, &rate, drift);
}

enum { AF__KNOWN_INPUTS = 6 };

static af_expr af__known_graph(af__known *k, af_expr *inputs, af_expr *lack) {
    const af__generator *g = &k->fit.f->g;
    af_context *c = g->c;
    size_t dims[3];
    af__inputs in;
    af__lack l;
    af__map m;
    af_expr jp, at[2], drift[2], loss;
    dims[1] = k->fit.orbits->stars;
    dims[2] = k->fit.batch / k->fit.pieces;
    in = af__finder_inputs(c, dims[1], dims[2]);
    inputs[0] = in.weight;
    inputs[1] = in.old;
    inputs[2] = af_input(c, "dropout seed", 0, NULL);
    dims[0] = 6;
    inputs[3] = af_input(c, "xv", 3, dims);
    inputs[4] = af_input(c, "v and a", 3, dims);
    dims[0] = 1;
    inputs[5] = af_input(c, "1/Omega_r", 3, dims);
    if (af__known_toy(k->fit.f, inputs[3], inputs[4], &in, drift) != AF_OK) return af__none;
    l = af__lack_of(g, in.theta, af__stream_mean(c, in.weight, in.j), in.weight, in.old,
                    inputs[2]);
    *lack = l.lack;
    jp = g->desc.hold_actions ? in.old : af__implicit(g, &l, in.old);
    m = af__map_of(g, in.theta, in.j, jp, inputs[2]);
    loss = af__loss(g, &m, in.weight, jp, inputs[2]);
    at[0] = in.theta;
    at[1] = in.j;
    m = af__map_of(g, in.theta, in.j, in.old, inputs[2]);
    if (af_jvp(c, 1, &m.action, 2, at, drift, drift) != AF_OK) return af__none;
    drift[0] = af__known_loss(g, af_mul(c, drift[0], inputs[5]), in.weight);
    return af_add(c, loss, af_scale(c, drift[0], k->weight));
}

static af_status af__known_compile(af__known *k) {
    af__fit *t = &k->fit;
    af_context *c = t->f->context;
    static const int axes[AF__KNOWN_INPUTS] = {2, 2, 0, 2, 2, 2};
    af_expr inputs[AF__KNOWN_INPUTS], lack = af__none;
    af_trainer_desc d = AF__ZERO;
    void *watched[1];
    d.params = t->f->g.params;
    d.loss = af__known_graph(k, inputs, &lack);
    if (!d.loss.id) return c->status;
    d.inputs = inputs;
    d.input_count = (size_t)AF__KNOWN_INPUTS;
    d.outputs = &lack;
    d.output_count = 1;
    watched[0] = t->lack;
    d.output_data = watched;
    d.pieces = t->pieces;
    d.input_axes = d.output_axes = axes;
    d.adam = t->desc.adam;
    d.schedule = t->desc.schedule;
    d.average = t->desc.average > 0.0 ? t->desc.average : 0.0;
    return af_trainer_create(c, &d, &t->trainer);
}

/* ---- training ---- */

/* v, a and 1/Omega_r of the batch in t->member. */
static void af__known_gather(af__known *k, const af_isochrone *toy) {
    const af__fit *t = &k->fit;
    size_t b, i, d, n = t->orbits->stars, block = t->batch;
    for (b = 0; b < block; b++)
        for (i = 0; i < n; i++) {
            const double *xv = af_orbits_xv(t->orbits, t->member[b]) + 6 * i;
            double a[3], omega[3];
            k->force.acceleration(xv, a, k->force.user);
            af_isochrone_actions(toy, xv, NULL, NULL, omega);
            for (d = 0; d < 3; d++) {
                k->rate[(d * n + i) * block + b] = xv[3 + d];
                k->rate[((3 + d) * n + i) * block + b] = a[d];
            }
            k->unit[i * block + b] = 1.0 / omega[2];
        }
}

static af_status af__known_step(af__known *k, size_t number, double progress, double *loss) {
    af__fit *t = &k->fit;
    af_isochrone toy = af_finder_toy(t->f);
    const void *inputs[AF__KNOWN_INPUTS];
    size_t b;
    af_status s;
    inputs[0] = t->weight;
    inputs[1] = t->old;
    inputs[2] = t->seed;
    inputs[3] = t->xv;
    inputs[4] = k->rate;
    inputs[5] = k->unit;
    af__fit_gather(t, &toy);
    af__known_gather(k, &toy);
    for (b = 0; b < t->pieces; b++) t->seed[b] = (double)(number * t->pieces + b);
    s = af_trainer_step(t->trainer, inputs, progress, loss);
    if (s != AF_OK) return s;
    af__fit_keep_warm(t);
    if (t->f->g.desc.free_toy) af__fit_bind(t);
    return AF_OK;
}

static af_status af__known_epoch(af_trainer *trainer, size_t epoch, double first, double last,
                                 double *loss, void *user) {
    af__known *k = (af__known *)user;
    af__fit *t = &k->fit;
    size_t step, b, steps = t->train / t->batch;
    double sum = 0.0, one = 0.0;
    (void)trainer;
    af_random_permutation(t->f->g.desc.seed, 1 + epoch, t->train, t->order);
    for (step = 0; step < steps; step++) {
        double progress = first + (last - first) * (double)step / (double)steps;
        af_status s;
        for (b = 0; b < t->batch; b++) t->member[b] = t->order[step * t->batch + b];
        s = af__known_step(k, epoch * steps + step, progress, &one);
        if (s != AF_OK) return s;
        sum += one;
    }
    *loss = sum / (double)steps;
    return AF_OK;
}

static af_status af__known_check(const af__known *k) {
    const af_orbits *o = k->fit.orbits;
    af_context *c = k->fit.f->context;
    af_isochrone toy = af_finder_toy(k->fit.f);
    unsigned special = AF_ORBIT_PLANAR | AF_ORBIT_RADIAL | AF_ORBIT_CIRCULAR | AF_ORBIT_AT_REST;
    size_t s, i;
    if (!k->force.acceleration || !(k->weight > 0.0) || !af__is_finite(k->weight))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "fit in a known field: the weight %g must be positive, and the force there",
                        k->weight);
    for (s = 0; s < o->streams; s++)
        for (i = 0; i < o->count[s]; i++)
            if (af_isochrone_actions(&toy, af_orbits_xv(o, s) + 6 * i, NULL, NULL, NULL) & special)
                return af__fail(c, AF_ERROR_DATA,
                                "stream %.15g, star %lu: the orbit is planar, radial or circular "
                                "in the toy; its actions have no derivatives, leave it out",
                                o->id[s], (unsigned long)i);
    return AF_OK;
}

static af_status af__known_memory(af__known *k) {
    af__fit *t = &k->fit;
    size_t n = t->orbits->stars * t->batch;
    af_status s = af__fit_memory(t);
    if (s != AF_OK) return s;
    if (!t->xv) t->xv = AF__ARRAY(&t->arena, double, 6 * n);
    k->rate = AF__ARRAY(&t->arena, double, 6 * n);
    k->unit = AF__ARRAY(&t->arena, double, n);
    return t->xv && k->rate && k->unit ? AF_OK
                                       : af__fail_memory(t->f->context, "the training data");
}

static af_status af__known_run(af__known *k) {
    af__fit *t = &k->fit;
    af_train_desc d = AF__ZERO;
    size_t block = af__clamp(t->orbits->streams - t->held, 1, AF__EVALUATE_BLOCK);
    af_status s = af__known_memory(k);
    if (s == AF_OK)
        s = af_evaluator_create(t->f, t->orbits->stars, block, t->f->context->threads, &t->judge);
    if (s == AF_OK) s = af__known_compile(k);
    if (s != AF_OK) return s;
    d.epochs = t->desc.epochs;
    d.epoch = af__known_epoch;
    d.validate = af__fit_validate;
    d.fraction = af__fit_fraction;
    d.progress = af__fit_progress;
    d.save = af__fit_save;
    d.load = af__fit_load;
    d.user = k; /* whose first member is the fit */
    d.checkpoint = t->desc.checkpoint;
    d.checkpoint_every = t->desc.checkpoint_every;
    d.resume = t->desc.resume;
    return af_train(t->trainer, &d);
}

AF_API af_status af_finder_fit_known(af_finder *f, const af_orbits *orbits, af_force force,
                                     double weight, const af_fit_desc *desc) {
    af_fit_desc none = AF__ZERO;
    af__known k = AF__ZERO;
    af_status s;
    if (!desc) desc = &none;
    if (f->g.shears)
        return af__fail(f->context, AF_ERROR_ARGUMENT,
                        "fit: a known potential trains generating functions, not shears");
    if (af__finder_fit_check(f, orbits, desc) != AF_OK) return f->context->status;
    k.fit.f = f;
    k.fit.orbits = orbits;
    k.fit.desc = *desc;
    k.fit.arena.allocator = f->context->allocator;
    k.force = force;
    k.weight = weight == 0.0 ? 1.0 : weight;
    af__fit_defaults(&k.fit);
    s = af__known_check(&k);
    if (s == AF_OK) {
        af__finder_forget(f);
        s = af__known_run(&k);
    }
    af_trainer_destroy(k.fit.trainer);
    af_evaluator_destroy(k.fit.judge);
    af__arena_free(&k.fit.arena);
    return s;
}
