/* ---- ActionFinder: training in a known field -----------------------------------------------------
 *
 * As af_fit.c, with dJ''/dt along the true motion as a term more. (theta,J) of the toy come from
 * (x,v) within the graph, with the tangent (v,a) carried along; J' of the stream is held there: in
 * the true map it is constant. */

typedef struct af__known {
    af__fit fit; /* first: af_fit.c's functions take it */
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
    m = af__map_of(g, in.theta, in.j, jp, inputs[2]);
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
