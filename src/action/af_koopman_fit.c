/* ---- the Koopman symplectic autoencoder: training ----------------------------------------------
 *
 * An orbit is cut into eight groups of equal length, and a curriculum joins groups: means over an
 * orbit begin as means over its eighths. Samples lie in arrays (places, groups of all orbits), so
 * that a mean is a sum of rows. */

enum { AF__GROUPS = 8, AF__KOOPMAN_INPUTS = 8 };

/* The data as the residuals want them, and where they lie. */
enum {
    AF__KX,      /* (2n,T,O G): states */
    AF__KT,      /* (T,O G): times, from the middle of the orbit */
    AF__KMASK,   /* (T,O G): 1 where there is a sample */
    AF__KJOIN,   /* (G,G): 1 where two groups count as one */
    AF__KSHARE,  /* (O G): 1 over the samples of the joined groups */
    AF__KBEFORE, /* (T,O G): where in the piece the sample before is ... */
    AF__KFIRST,  /* (T,O G): ... and the first one of the joined groups */
    AF__KHAS     /* (T,O G): 1 where there is one before */
};

typedef struct af__koopman_fit {
    af_koopman *k;
    const af_trajectories *t;
    af_koopman_fit_desc desc;
    af__arena arena;
    size_t orbits, places, pieces;  /* orbits: filled up to whole pieces */
    size_t samples;                 /* that there are */
    double *data[AF__KOOPMAN_INPUTS];
    af_expr input[AF__KOOPMAN_INPUTS];
    int axes[AF__KOOPMAN_INPUTS];
    af_minimiser *minimiser;
    af_trainer *trainer;
    size_t cuts;                    /* now */
} af__koopman_fit;

/* ---- the data ---- */

/* The samples of group g of an orbit with `count` samples. */
static size_t af__group_begin(size_t count, size_t g) { return count * g / (size_t)AF__GROUPS; }

/* Where place s of group g of orbit o is in an array. */
static size_t af__koopman_at(const af__koopman_fit *f, size_t o, size_t g, size_t s) {
    return (s * f->orbits + o) * (size_t)AF__GROUPS + g;
}

/* The same within its piece. */
static size_t af__koopman_inside(const af__koopman_fit *f, size_t o, size_t g, size_t s) {
    size_t each = f->orbits / f->pieces;
    return (s * each + o % each) * (size_t)AF__GROUPS + g;
}

static void af__koopman_fill(af__koopman_fit *f) {
    const af_koopman *k = f->k;
    size_t o, g, s, i, n = k->freedoms, block = f->orbits * (size_t)AF__GROUPS * f->places;
    for (o = 0; o < af_trajectories_orbits(f->t); o++) {
        size_t count = af_trajectories_samples(f->t, o);
        const double *time = af_trajectories_time(f->t, o), *x = af_trajectories_qp(f->t, o);
        double middle = 0.5 * (time[0] + time[count - 1]);
        for (g = 0; g < (size_t)AF__GROUPS; g++)
            for (s = af__group_begin(count, g); s < af__group_begin(count, g + 1); s++) {
                size_t at = af__koopman_at(f, o, g, s - af__group_begin(count, g));
                f->data[AF__KT][at] = (time[s] - middle) / k->time_unit;
                f->data[AF__KMASK][at] = 1.0;
                for (i = 0; i < n; i++) {
                    f->data[AF__KX][i * block + at] = x[2 * n * s + i] / k->length[i];
                    f->data[AF__KX][(n + i) * block + at] =
                        x[2 * n * s + n + i] * k->length[i] / k->action_unit;
                }
            }
    }
}

/* One orbit with `count` samples, `width` of whose groups are joined. */
static void af__koopman_cut_orbit(af__koopman_fit *f, size_t o, size_t count, size_t width) {
    size_t g, s, before = 0, first = 0;
    for (g = 0; g < (size_t)AF__GROUPS; g++) {
        size_t begin = af__group_begin(count, g), end = af__group_begin(count, g + 1);
        size_t start = af__group_begin(count, g / width * width);
        size_t joined = af__group_begin(count, (g / width + 1) * width) - start;
        f->data[AF__KSHARE][o * (size_t)AF__GROUPS + g] = joined ? 1.0 / (double)joined : 0.0;
        for (s = 0; s < f->places; s++) {
            size_t at = af__koopman_at(f, o, g, s), here = af__koopman_inside(f, o, g, s);
            int there = begin + s < end, has = there && begin + s > start;
            if (there && !has) first = here;
            f->data[AF__KHAS][at] = has ? 1.0 : 0.0;
            f->data[AF__KBEFORE][at] = (double)(has ? before : here);
            f->data[AF__KFIRST][at] = (double)(there ? first : here);
            if (there) before = here;
        }
    }
}

/* What depends on how many pieces the orbits are cut into. */
static void af__koopman_cut(af__koopman_fit *f, size_t cuts) {
    size_t o, g, h, groups = (size_t)AF__GROUPS, width = groups / cuts;
    f->cuts = cuts;
    for (g = 0; g < groups; g++)
        for (h = 0; h < groups; h++)
            f->data[AF__KJOIN][g * groups + h] = g / width == h / width ? 1.0 : 0.0;
    for (o = 0; o < f->orbits; o++)
        af__koopman_cut_orbit(
            f, o, o < af_trajectories_orbits(f->t) ? af_trajectories_samples(f->t, o) : 0, width);
}

enum { AF__PIECE_TANGENTS = 1 << 16 }; /* parameters x samples of a piece: in the caches */

static af_status af__koopman_memory(af__koopman_fit *f) {
    af_context *c = f->k->context;
    size_t o, i, n = f->k->freedoms, orbits = af_trajectories_orbits(f->t), most = 1, total;
    size_t group = (size_t)AF__GROUPS, each, size[AF__KOOPMAN_INPUTS];
    for (o = 0; o < orbits; o++)
        if (af_trajectories_samples(f->t, o) > most) most = af_trajectories_samples(f->t, o);
    f->samples = af_trajectories_total(f->t);
    f->places = (most + group - 1) / group;
    each = (size_t)AF__PIECE_TANGENTS / (af_params_size(f->k->params) * group * f->places);
    each = af__clamp(each, 1, orbits);
    f->pieces = (orbits + each - 1) / each;
    f->orbits = f->pieces * each;
    total = f->orbits * group * f->places;
    for (i = 0; i < (size_t)AF__KOOPMAN_INPUTS; i++) size[i] = total;
    size[AF__KX] = 2 * n * total;
    size[AF__KJOIN] = group * group;
    size[AF__KSHARE] = f->orbits * group;
    for (i = 0; i < (size_t)AF__KOOPMAN_INPUTS; i++) {
        f->data[i] = AF__ARRAY(&f->arena, double, size[i]);
        if (!f->data[i]) return af__fail_memory(c, "the training data");
    }
    af__koopman_fill(f);
    af__koopman_cut(f, 1);
    return AF_OK;
}

/* ---- the residuals ---- */

static void af__koopman_inputs(af__koopman_fit *f) {
    static const char *const label[AF__KOOPMAN_INPUTS] = {
        "states", "times", "mask", "join", "share", "before", "first", "has before"};
    af_context *c = f->k->context;
    size_t dims[3], groups[2], i;
    dims[0] = 2 * f->k->freedoms;
    dims[1] = f->places;
    dims[2] = f->orbits / f->pieces * (size_t)AF__GROUPS;
    groups[0] = groups[1] = (size_t)AF__GROUPS;
    for (i = 0; i < (size_t)AF__KOOPMAN_INPUTS; i++) {
        f->axes[i] = i == AF__KX ? 2 : i == AF__KSHARE ? 0 : i == AF__KJOIN ? -1 : 1;
        if (i == AF__KX) f->input[i] = af_input(c, label[i], 3, dims);
        else if (i == AF__KJOIN) f->input[i] = af_input(c, label[i], 2, groups);
        else if (i == AF__KSHARE) f->input[i] = af_input(c, label[i], 1, dims + 2);
        else f->input[i] = af_input(c, label[i], 2, dims + 1);
    }
}

/* The mean of x (T,O G) over joined groups, (1,O G). */
static af_expr af__group_mean(const af__koopman_fit *f, af_expr x) {
    af_context *c = f->k->context;
    size_t dims[AF_RANK_MAX], groups[2];
    af_expr sum = af_sum_axis(c, af_mul(c, x, f->input[AF__KMASK]), 0);
    af_shape(c, sum, dims);
    groups[0] = dims[1] / (size_t)AF__GROUPS;
    groups[1] = (size_t)AF__GROUPS;
    sum = af_matmul(c, af_reshape(c, sum, 2, groups), f->input[AF__KJOIN]);
    return af_mul(c, af_reshape(c, sum, 2, dims), f->input[AF__KSHARE]);
}

/* Residuals are gathered here, each (samples) long. */
typedef struct af__residuals {
    const af__koopman_fit *f;
    af_expr *list; /* stb_ds array */
    af__arena *arena;
    int full; /* no memory */
} af__residuals;

static void af__residual_add(af__residuals *r, af_expr x, af_expr mask, double weight) {
    af_context *c = r->f->k->context;
    size_t n;
    x = af_scale(c, af_mul(c, x, mask), weight / sqrt((double)r->f->samples));
    n = af_size(c, x);
    x = af_reshape(c, x, 1, &n);
    if (!AF__PUSH(r->arena, r->list, x)) r->full = 1;
}

/* psi turned back to the middle of the orbit, less its mean. */
static void af__residual_phase(af__residuals *r, const af__plane *psi, const af_expr *mean_j) {
    const af__koopman_fit *f = r->f;
    const af_koopman *k = f->k;
    af_context *c = k->context;
    af_expr angle[AF_FREEDOMS_MAX];
    af__plane still;
    size_t i;
    af__koopman_frequencies(k, mean_j, angle);
    for (i = 0; i < k->freedoms; i++)
        angle[i] = af_neg(c, af_mul(c, angle[i], f->input[AF__KT]));
    still = af__plane_turn(k, psi, angle);
    for (i = 0; i < k->freedoms; i++) {
        af_expr *x[2];
        size_t side;
        x[0] = &still.p[i];
        x[1] = &still.q[i];
        for (side = 0; side < 2; side++)
            af__residual_add(r, af_sub(c, *x[side], af__group_mean(f, *x[side])),
                             f->input[AF__KMASK], f->desc.weights.phase);
    }
}

/* x at the places `from`, all (T,O G). */
static af_expr af__gather_places(af_context *c, af_expr x, af_expr from) {
    size_t dims[AF_RANK_MAX], rank = af_shape(c, x, dims), n = af_size(c, x);
    x = af_gather(c, af_reshape(c, x, 1, &n), af_reshape(c, from, 1, &n));
    return af_reshape(c, x, rank, dims);
}

/* The decoded state, predicted from the sample at `from` (none: from itself), less the true one. */
static void af__residual_predict(af__residuals *r, af_slopes slopes, const af__plane *x,
                                 const af__plane *psi, const af_expr *j, af_expr from,
                                 af_expr mask, double weight) {
    const af__koopman_fit *f = r->f;
    const af_koopman *k = f->k;
    af_context *c = k->context;
    af_expr angle[AF_FREEDOMS_MAX], past, time = f->input[AF__KT];
    af__plane start = *psi, state = AF__ZERO;
    size_t i;
    if (from.id) {
        for (i = 0; i < k->freedoms; i++) {
            start.q[i] = af__gather_places(c, psi->q[i], from);
            start.p[i] = af__gather_places(c, psi->p[i], from);
            angle[i] = af__gather_places(c, j[i], from);
        }
        past = af_sub(c, time, af__gather_places(c, time, from));
        af__koopman_frequencies(k, angle, angle);
        for (i = 0; i < k->freedoms; i++) angle[i] = af_mul(c, angle[i], past);
        start = af__plane_turn(k, &start, angle);
    }
    if (af_shear_invert(k->map, slopes, start.q, start.p, state.q, state.p) != AF_OK) return;
    for (i = 0; i < k->freedoms; i++) {
        af__residual_add(r, af_sub(c, state.q[i], x->q[i]), mask, weight);
        af__residual_add(r, af_sub(c, state.p[i], x->p[i]), mask, weight);
    }
}

/* dH/dJ - Omega at each sample. */
static void af__residual_relation(af__residuals *r, const af_expr *j) {
    const af_koopman *k = r->f->k;
    af_context *c = k->context;
    size_t i, dims[AF_RANK_MAX], rank = af_shape(c, j[0], dims);
    af_expr rows = af__stack_freedoms(k, j), slope, away[AF_FREEDOMS_MAX];
    if (af_grad(c, af_sum(c, af__koopman_energy(k, rows)), 1, &rows, &slope) != AF_OK) return;
    slope = af_sub(c, slope, af__koopman_omega(k, rows));
    af__split_freedoms(k, slope, rank, dims, away);
    for (i = 0; i < k->freedoms; i++)
        af__residual_add(r, away[i], r->f->input[AF__KMASK], r->f->desc.weights.relation);
}

static void af__residual_all(af__residuals *r, af_slopes slopes) {
    const af__koopman_fit *f = r->f;
    const af_koopman_weights *w = &f->desc.weights;
    const af_koopman *k = f->k;
    af_context *c = k->context;
    af_expr j[AF_FREEDOMS_MAX], mean_j[AF_FREEDOMS_MAX], none = AF__ZERO, rows[2 * AF_FREEDOMS_MAX];
    af__plane x = AF__ZERO, psi = AF__ZERO;
    size_t i, n = k->freedoms, dims[AF_RANK_MAX];
    af_shape(c, f->input[AF__KT], dims);
    for (i = 0; i < 2 * n; i++)
        rows[i] = af_reshape(c, af_slice(c, f->input[AF__KX], 0, i, 1), 2, dims);
    memcpy(x.q, rows, n * sizeof *rows);
    memcpy(x.p, rows + n, n * sizeof *rows);
    if (af_shear_apply(k->map, slopes, x.q, x.p, psi.q, psi.p) != AF_OK) return;
    af__plane_actions(k, &psi, j);
    for (i = 0; i < n; i++) mean_j[i] = af__group_mean(f, j[i]);
    if (w->phase > 0.0) af__residual_phase(r, &psi, mean_j);
    for (i = 0; i < n && w->action > 0.0; i++)
        af__residual_add(r, af_sub(c, j[i], mean_j[i]), f->input[AF__KMASK], w->action);
    if (w->one_step > 0.0)
        af__residual_predict(r, slopes, &x, &psi, j, f->input[AF__KBEFORE], f->input[AF__KHAS],
                             w->one_step);
    if (w->rollout > 0.0)
        af__residual_predict(r, slopes, &x, &psi, j, f->input[AF__KFIRST], f->input[AF__KMASK],
                             w->rollout);
    if (w->reconstruction > 0.0)
        af__residual_predict(r, slopes, &x, &psi, j, none, f->input[AF__KMASK], w->reconstruction);
    if (w->relation > 0.0) af__residual_relation(r, j);
}

/* All residuals, (kinds, samples) transposed so that those of a sample stand side by side. */
static af_expr af__koopman_residuals(af__koopman_fit *f, size_t *kinds) {
    af_context *c = f->k->context;
    af__residuals r = AF__ZERO;
    af_slopes slopes = f->desc.method == AF_KOOPMAN_LM ? AF_SLOPES_FROZEN : AF_SLOPES_EXACT;
    af_expr none = AF__ZERO, all;
    size_t dims[2];
    r.f = f;
    r.arena = &f->arena;
    af__residual_all(&r, slopes);
    if (r.full) af__fail_memory(c, "the residuals");
    *kinds = AF__LENGTH(r.list);
    if (c->status != AF_OK || *kinds == 0) return none;
    all = af_concat(c, 0, *kinds, r.list);
    if (f->desc.robust == AF_ROBUST_NONE) return all;
    dims[0] = *kinds;
    dims[1] = af_size(c, r.list[0]);
    return af_transpose(c, af_reshape(c, all, 2, dims));
}

/* ---- optimisers ---- */

static double af__koopman_largest(const af_koopman_weights *w) {
    double all[6], most = 0.0;
    size_t i;
    all[0] = w->phase;
    all[1] = w->action;
    all[2] = w->one_step;
    all[3] = w->rollout;
    all[4] = w->reconstruction;
    all[5] = w->relation;
    for (i = 0; i < 6; i++)
        if (all[i] > most) most = all[i];
    return most;
}

static af_status af__koopman_compile(af__koopman_fit *f) {
    af_context *c = f->k->context;
    af_minimiser_desc m = AF__ZERO;
    af_trainer_desc a = AF__ZERO;
    size_t kinds = 0;
    af_expr r;
    af__koopman_inputs(f);
    r = af__koopman_residuals(f, &kinds);
    if (c->status != AF_OK) return c->status;
    if (f->desc.method == AF_KOOPMAN_ADAM) {
        a.params = f->k->params;
        a.loss = af_scale(c, af_sum(c, af_square(c, r)), 0.5 * (double)f->pieces);
        a.inputs = f->input;
        a.input_count = AF__KOOPMAN_INPUTS;
        a.pieces = f->pieces;
        a.input_axes = f->axes;
        a.schedule = f->desc.schedule;
        return af_trainer_create(c, &a, &f->trainer);
    }
    m.method = f->desc.method == AF_KOOPMAN_LBFGS ? AF_LBFGS : AF_LEVENBERG_MARQUARDT;
    m.params = f->k->params;
    m.residuals = r;
    m.inputs = f->input;
    m.input_count = AF__KOOPMAN_INPUTS;
    m.pieces = f->pieces;
    m.input_axes = f->axes;
    m.robust = f->desc.robust;
    m.robust_group = m.robust == AF_ROBUST_NONE ? 1 : kinds;
    m.robust_scale = f->desc.robust_scale * af__koopman_largest(&f->desc.weights) /
                     sqrt((double)f->samples);
    return af_minimiser_create(c, &m, &f->minimiser);
}

/* ---- the zero of the angles ---- */

/* For each orbit the sizes of the momenta of its sample with the largest ones, (n,O). */
static void af__koopman_fastest(const af_koopman *k, const af_trajectories *t, double *p) {
    size_t o, s, i, n = k->freedoms, orbits = af_trajectories_orbits(t);
    for (o = 0; o < orbits; o++) {
        const double *x = af_trajectories_qp(t, o);
        double most = -1.0;
        for (s = 0; s < af_trajectories_samples(t, o); s++, x += 2 * n) {
            double square = 0.0;
            for (i = 0; i < n; i++) square += pow(x[n + i] * k->length[i] / k->action_unit, 2.0);
            if (square <= most) continue;
            most = square;
            for (i = 0; i < n; i++)
                p[i * orbits + o] = fabs(x[n + i]) * k->length[i] / k->action_unit;
        }
    }
}

/* The angles, as they are without F, where orbits pass the q of the equilibrium with momenta that
 * are larger by p, and J there: p (n,O), each (1,O). */
static af_status af__koopman_crossing(const af_koopman *k, af_expr p, af_expr *theta, af_expr *j) {
    af_context *c = k->context;
    af__plane x = AF__ZERO, rest = AF__ZERO;
    size_t i, dims[AF_RANK_MAX];
    af_shape(c, p, dims);
    dims[0] = 1;
    for (i = 0; i < k->freedoms; i++) {
        rest.q[i] = rest.p[i] = af_full(c, 2, dims, 0.0);
    }
    if (k->desc.asymmetric &&
        af_shear_invert(k->map, AF_SLOPES_EXACT, rest.q, rest.p, rest.q, rest.p) != AF_OK)
        return c->status;
    for (i = 0; i < k->freedoms; i++) x.p[i] = af_add(c, rest.p[i], af_slice(c, p, 0, i, 1));
    if (af_shear_apply(k->map, AF_SLOPES_EXACT, rest.q, x.p, x.q, x.p) != AF_OK) return c->status;
    for (i = 0; i < k->freedoms; i++) {
        af_poincare_angle(c, x.q[i], x.p[i], &theta[i], &j[i]);
        theta[i] = af_stop(c, theta[i]);
        j[i] = af_stop(c, j[i]);
    }
    return c->status;
}

/* The residuals are exp(i theta) - exp(i dF/dJ) there. */
static af_status af__koopman_zero_open(const af_koopman *k, af_expr p, af_minimiser **out) {
    af_context *c = k->context;
    af_minimiser_desc d = AF__ZERO;
    af_expr theta[AF_FREEDOMS_MAX], j[AF_FREEDOMS_MAX], zero[AF_FREEDOMS_MAX];
    af_expr away[2 * AF_FREEDOMS_MAX];
    size_t i;
    af_status s = af__koopman_crossing(k, p, theta, j);
    *out = NULL;
    if (s != AF_OK) return s;
    af__koopman_zero(k, j, zero);
    for (i = 0; i < k->freedoms; i++) {
        away[2 * i] = af_sub(c, af_cos(c, theta[i]), af_cos(c, zero[i]));
        away[2 * i + 1] = af_sub(c, af_sin(c, theta[i]), af_sin(c, zero[i]));
    }
    d.params = k->params;
    d.residuals = af_concat(c, 0, 2 * k->freedoms, away);
    d.inputs = &p;
    d.input_count = 1;
    d.jacobian = AF_JACOBIAN_FORWARD;
    return af_minimiser_create(c, &d, out);
}

enum { AF__ZERO_STEPS = 40 };

/* Chooses F so that theta = 0 there; the other parameters have no part in it. */
static af_status af__koopman_set_zero(af_koopman *k, const af_trajectories *t) {
    size_t dims[2];
    af__arena scratch = AF__ZERO;
    af_minimiser *m = NULL;
    af_minimise_desc d = AF__ZERO;
    const void *inputs[1];
    double *p;
    af_status s;
    dims[0] = k->freedoms;
    dims[1] = af_trajectories_orbits(t);
    scratch.allocator = k->context->allocator;
    p = AF__ARRAY(&scratch, double, dims[0] * dims[1]);
    if (!p) return af__fail_memory(k->context, "the zero of the angles");
    af__koopman_fastest(k, t, p);
    s = af__koopman_zero_open(k, af_input(k->context, "momenta", 2, dims), &m);
    inputs[0] = p;
    d.inputs = inputs;
    d.steps = (size_t)AF__ZERO_STEPS;
    d.tolerance = 1e-6;
    if (s == AF_OK) s = af_minimise(m, &d, NULL);
    af_minimiser_destroy(m);
    af__arena_free(&scratch);
    return s;
}

/* ---- the fit ---- */

static int af__koopman_stage(size_t step, void *user) {
    af__koopman_fit *f = (af__koopman_fit *)user;
    size_t stage = f->desc.no_stages ? 3 : step / f->desc.stage_steps, cuts;
    cuts = stage < 3 ? (size_t)8 >> stage : 1;
    if (cuts == f->cuts) return 0;
    af__koopman_cut(f, cuts);
    return 1;
}

static int af__koopman_report(af__koopman_fit *f, size_t step, double loss, double damping) {
    af_koopman_progress p = AF__ZERO;
    if (!f->desc.progress) return 0;
    p.step = step;
    p.steps = f->desc.steps;
    p.cuts = f->cuts;
    p.loss = loss;
    p.damping = damping;
    return f->desc.progress(&p, f->desc.user);
}

static int af__koopman_progress_of(const af_minimise_report *r, void *user) {
    return af__koopman_report((af__koopman_fit *)user, r->step, r->loss, r->damping);
}

static af_status af__koopman_adam(af__koopman_fit *f, const void *const *inputs) {
    af_status s = AF_OK;
    size_t k;
    double loss;
    for (k = 0; k < f->desc.steps && s == AF_OK; k++) {
        af__koopman_stage(k, f);
        s = af_trainer_step(f->trainer, inputs, (double)k / (double)f->desc.steps, &loss);
        if (s == AF_OK && af__koopman_report(f, k + 1, loss, 0.0)) s = AF_STOPPED;
    }
    return s;
}

static af_status af__koopman_run(af__koopman_fit *f) {
    af_minimise_desc d = AF__ZERO;
    const void *inputs[AF__KOOPMAN_INPUTS];
    size_t i;
    af_status s = af__koopman_memory(f);
    if (s == AF_OK) s = af__koopman_compile(f);
    if (s != AF_OK) return s;
    for (i = 0; i < (size_t)AF__KOOPMAN_INPUTS; i++) inputs[i] = f->data[i];
    if (f->trainer) return af__koopman_adam(f, inputs);
    d.steps = f->desc.steps;
    d.inputs = inputs;
    d.tolerance = f->desc.tolerance;
    d.stage = af__koopman_stage;
    d.progress = af__koopman_progress_of;
    d.user = f;
    return af_minimise(f->minimiser, &d, NULL);
}

static void af__koopman_fit_defaults(af__koopman_fit *f) {
    af_koopman_fit_desc *d = &f->desc;
    int lm = d->method == AF_KOOPMAN_LM;
    if (d->steps == 0) d->steps = lm ? 400 : d->method == AF_KOOPMAN_LBFGS ? 2000 : 10000;
    if (d->stage_steps == 0) d->stage_steps = lm ? 15 : af__clamp(d->steps / 20, 1, d->steps);
    if (d->robust_scale == 0.0) d->robust_scale = 0.01;
    if (d->schedule.rate == 0.0) d->schedule.rate = 3e-3;
    if (af__koopman_largest(&d->weights) == 0.0) d->weights.phase = 1.0;
    if (f->k->desc.relation == AF_RELATION_TIED) d->weights.relation = 0.0; /* holds already */
    else if (d->weights.relation == 0.0) d->weights.relation = 1.0;
}

static af_status af__koopman_fit_check(const af_koopman *k, const af_trajectories *t,
                                       const af_koopman_fit_desc *d) {
    const af_koopman_weights *w = &d->weights;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(k->context, AF_ERROR_ARGUMENT,
                        "koopman fit: af_koopman_fit_desc was not initialised to zero");
    if (af_trajectories_freedoms(t) != k->freedoms)
        return af__fail(k->context, AF_ERROR_ARGUMENT,
                        "koopman fit: the model has %lu degrees of freedom, the trajectories %lu",
                        (unsigned long)k->freedoms, (unsigned long)af_trajectories_freedoms(t));
    if (!af__within((int)d->method, AF_KOOPMAN_ADAM))
        return af__fail(k->context, AF_ERROR_ARGUMENT, "koopman fit: there is no method %d",
                        (int)d->method);
    if (!(w->phase >= 0.0 && w->action >= 0.0 && w->one_step >= 0.0 && w->rollout >= 0.0 &&
          w->reconstruction >= 0.0 && w->relation >= 0.0))
        return af__fail(k->context, AF_ERROR_ARGUMENT,
                        "koopman fit: the weights must not be negative");
    return AF_OK;
}

AF_API af_status af_koopman_fit(af_koopman *k, const af_trajectories *t,
                                const af_koopman_fit_desc *desc) {
    af_koopman_fit_desc none = AF__ZERO;
    af__koopman_fit f = AF__ZERO;
    af_status s, zero;
    if (!desc) desc = &none;
    s = af__koopman_fit_check(k, t, desc);
    if (s != AF_OK) return s;
    f.k = k;
    f.t = t;
    f.desc = *desc;
    f.arena.allocator = k->context->allocator;
    af__koopman_fit_defaults(&f);
    s = af__koopman_run(&f);
    af_trainer_destroy(f.trainer);
    af_minimiser_destroy(f.minimiser);
    af__arena_free(&f.arena);
    if (s != AF_OK && s != AF_STOPPED) return s;
    zero = af__koopman_set_zero(k, t);
    return zero == AF_OK ? s : zero;
}
