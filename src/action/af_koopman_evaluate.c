/* ---- the Koopman symplectic autoencoder: evaluation ------------------------------------------ */

typedef enum af__koopman_way {
    AF__ENCODE,      /* qp -> J, theta, Omega, H */
    AF__DECODE,      /* J, theta -> qp */
    AF__FREQUENCIES, /* J -> Omega, H */
    AF__WAYS
} af__koopman_way;

struct af_koopman_evaluator {
    af__arena arena;
    size_t freedoms, block;
    af_params *params;
    af_func *func[AF__WAYS];
    af_workspace *workspace[AF__WAYS];
    double *in[2], *out[4]; /* blocks: (M,2n), (M,n); (M,2n), (M,n), (M,n), (M) */
};

AF_API void af_koopman_evaluator_destroy(af_koopman_evaluator *e) {
    af_allocator allocator;
    size_t i;
    if (!e) return;
    allocator = e->arena.allocator;
    for (i = 0; i < (size_t)AF__WAYS; i++) {
        af_workspace_destroy(e->workspace[i]);
        af_func_destroy(e->func[i]);
    }
    af__arena_free(&e->arena);
    allocator.release(e, sizeof *e, allocator.user);
}

/* ---- what is compiled ---- */

/* (M) columns of x (M,columns) from `first`, one for each degree of freedom, times unit[i]. */
static void af__columns(const af_koopman *k, af_expr x, size_t first, const double *unit,
                        af_expr *out) {
    af_context *c = k->context;
    size_t i, dims[AF_RANK_MAX];
    af_shape(c, x, dims);
    for (i = 0; i < k->freedoms; i++)
        out[i] = af_scale(c, af_reshape(c, af_slice(c, x, 1, first + i, 1), 1, dims), unit[i]);
}

/* Expressions of M numbers as the columns of (M,count). */
static af_expr af__table_of(af_context *c, size_t count, const af_expr *x) {
    af_expr column[2 * AF_FREEDOMS_MAX];
    size_t i, dims[2];
    dims[0] = af_size(c, x[0]);
    dims[1] = 1;
    for (i = 0; i < count; i++) column[i] = af_reshape(c, x[i], 2, dims);
    return af_concat(c, 1, count, column);
}

/* Omega (M,n) and H (M) in the caller's units from J of the model's. */
static void af__frequency_outputs(const af_koopman *k, const af_expr *j, af_expr *omega,
                                  af_expr *energy) {
    af_context *c = k->context;
    af_expr rows = af__stack_freedoms(k, j);
    size_t m = af_size(c, j[0]);
    *omega = af_scale(c, af_transpose(c, af__koopman_omega(k, rows)), 1.0 / k->time_unit);
    *energy = af_scale(c, af_reshape(c, af__koopman_energy(k, rows), 1, &m),
                       k->action_unit / k->time_unit);
}

static size_t af__encode_outputs(const af_koopman *k, af_expr qp, af_expr *out) {
    af_context *c = k->context;
    double length[AF_FREEDOMS_MAX] = AF__ZERO, momentum[AF_FREEDOMS_MAX] = AF__ZERO;
    af_expr j[AF_FREEDOMS_MAX], theta[AF_FREEDOMS_MAX], zero[AF_FREEDOMS_MAX];
    af__plane x = AF__ZERO, psi = AF__ZERO;
    size_t i;
    for (i = 0; i < k->freedoms; i++) {
        length[i] = 1.0 / k->length[i];
        momentum[i] = k->length[i] / k->action_unit;
    }
    af__columns(k, qp, 0, length, x.q);
    af__columns(k, qp, k->freedoms, momentum, x.p);
    if (af_shear_apply(k->map, AF_SLOPES_EXACT, x.q, x.p, psi.q, psi.p) != AF_OK) return 0;
    for (i = 0; i < k->freedoms; i++) af_poincare_angle(c, psi.q[i], psi.p[i], &theta[i], &j[i]);
    af__koopman_zero(k, j, zero);
    for (i = 0; i < k->freedoms; i++) theta[i] = af_sub(c, theta[i], zero[i]);
    out[1] = af__table_of(c, k->freedoms, theta);
    af__frequency_outputs(k, j, &out[2], &out[3]);
    out[0] = af_scale(c, af__table_of(c, k->freedoms, j), k->action_unit);
    return 4;
}

static size_t af__decode_outputs(const af_koopman *k, af_expr action, af_expr angle,
                                 af_expr *out) {
    af_context *c = k->context;
    double unit[AF_FREEDOMS_MAX] = AF__ZERO, one[AF_FREEDOMS_MAX] = AF__ZERO;
    af_expr j[AF_FREEDOMS_MAX], theta[AF_FREEDOMS_MAX], zero[AF_FREEDOMS_MAX];
    af_expr all[2 * AF_FREEDOMS_MAX];
    af__plane x = AF__ZERO, psi = AF__ZERO;
    size_t i, n = k->freedoms;
    for (i = 0; i < n; i++) {
        unit[i] = 1.0 / k->action_unit;
        one[i] = 1.0;
    }
    af__columns(k, action, 0, unit, j);
    af__columns(k, angle, 0, one, theta);
    af__koopman_zero(k, j, zero);
    for (i = 0; i < n; i++)
        af_poincare_pair(c, af_add(c, theta[i], zero[i]), j[i], &psi.q[i], &psi.p[i]);
    if (af_shear_invert(k->map, AF_SLOPES_EXACT, psi.q, psi.p, x.q, x.p) != AF_OK) return 0;
    for (i = 0; i < n; i++) {
        all[i] = af_scale(c, x.q[i], k->length[i]);
        all[n + i] = af_scale(c, x.p[i], k->action_unit / k->length[i]);
    }
    out[0] = af__table_of(c, 2 * n, all);
    return 1;
}

static size_t af__frequencies_outputs(const af_koopman *k, af_expr action, af_expr *out) {
    double unit[AF_FREEDOMS_MAX] = AF__ZERO;
    af_expr j[AF_FREEDOMS_MAX];
    size_t i;
    for (i = 0; i < k->freedoms; i++) unit[i] = 1.0 / k->action_unit;
    af__columns(k, action, 0, unit, j);
    af__frequency_outputs(k, j, &out[0], &out[1]);
    return 2;
}

static af_status af__koopman_way_open(const af_koopman *k, af_koopman_evaluator *e,
                                      af__koopman_way way) {
    af_context *c = k->context;
    af_func_desc d = AF__ZERO;
    af_expr in[3], out[4];
    size_t dims[2];
    dims[0] = e->block;
    dims[1] = way == AF__ENCODE ? 2 * k->freedoms : k->freedoms;
    in[0] = af_params_input(k->params);
    in[1] = af_input(c, way == AF__ENCODE ? "states" : "actions", 2, dims);
    in[2] = af_input(c, "angles", 2, dims);
    d.inputs = in;
    d.input_count = way == AF__DECODE ? 3 : 2;
    d.outputs = out;
    d.label = "Koopman evaluator";
    if (way == AF__ENCODE) d.output_count = af__encode_outputs(k, in[1], out);
    if (way == AF__DECODE) d.output_count = af__decode_outputs(k, in[1], in[2], out);
    if (way == AF__FREQUENCIES) d.output_count = af__frequencies_outputs(k, in[1], out);
    if (c->status != AF_OK || af_compile(c, &d, &e->func[way]) != AF_OK) return c->status;
    return af_context_workspace(c, e->func[way], 1, &e->workspace[way]);
}

static int af__koopman_blocks(af_koopman_evaluator *e) {
    size_t n = e->freedoms, m = e->block;
    e->in[0] = AF__ARRAY(&e->arena, double, 2 * n * m);
    e->in[1] = AF__ARRAY(&e->arena, double, n * m);
    e->out[0] = AF__ARRAY(&e->arena, double, 2 * n * m);
    e->out[1] = AF__ARRAY(&e->arena, double, n * m);
    e->out[2] = AF__ARRAY(&e->arena, double, n * m);
    e->out[3] = AF__ARRAY(&e->arena, double, m);
    return e->in[0] && e->in[1] && e->out[0] && e->out[1] && e->out[2] && e->out[3];
}

AF_API af_status af_koopman_evaluator_create(const af_koopman *k, size_t block,
                                             af_koopman_evaluator **out) {
    af_context *c = k->context;
    af_koopman_evaluator *e;
    af_status s = AF_OK;
    int way;
    *out = NULL;
    e = (af_koopman_evaluator *)c->allocator.allocate(sizeof *e, c->allocator.user);
    if (!e) return af__fail_memory(c, "an evaluator");
    memset(e, 0, sizeof *e);
    e->arena.allocator = c->allocator;
    e->freedoms = k->freedoms;
    e->block = block ? block : 1;
    e->params = k->params;
    if (!af__koopman_blocks(e)) s = af__fail_memory(c, "an evaluator");
    for (way = 0; way < (int)AF__WAYS && s == AF_OK; way++)
        s = af__koopman_way_open(k, e, (af__koopman_way)way);
    if (s == AF_OK) *out = e;
    else af_koopman_evaluator_destroy(e);
    return s;
}

/* ---- running ---- */

/* One array of a request: `width` numbers a point; data NULL: not given, or not wanted. */
typedef struct af__column_block {
    const double *from;
    double *to;
    size_t width;
} af__column_block;

/* Blocks of points; the last one is filled up with its own last point. */
static void af__koopman_blockwise(af_koopman_evaluator *e, af__koopman_way way, size_t count,
                                  size_t inputs, const af__column_block *in, size_t outputs,
                                  const af__column_block *out) {
    const void *from[3];
    void *to[4];
    size_t begin, i, s, some;
    from[0] = af_params_data(e->params);
    for (i = 0; i < inputs; i++) from[i + 1] = e->in[i];
    for (i = 0; i < outputs; i++) to[i] = e->out[i];
    for (begin = 0; begin < count; begin += e->block) {
        some = count - begin < e->block ? count - begin : e->block;
        for (i = 0; i < inputs; i++)
            for (s = 0; s < e->block; s++)
                memcpy(e->in[i] + s * in[i].width,
                       in[i].from + (begin + (s < some ? s : some - 1)) * in[i].width,
                       in[i].width * sizeof *e->in[i]);
        af_run(e->func[way], e->workspace[way], from, to); /* the CPU does not fail */
        for (i = 0; i < outputs; i++)
            if (out[i].to)
                memcpy(out[i].to + begin * out[i].width, e->out[i],
                       some * out[i].width * sizeof *e->out[i]);
    }
}

static af__column_block af__block_in(const double *from, size_t width) {
    af__column_block b = AF__ZERO;
    b.from = from;
    b.width = width;
    return b;
}

static af__column_block af__block_out(double *to, size_t width) {
    af__column_block b = AF__ZERO;
    b.to = to;
    b.width = width;
    return b;
}

AF_API void af_koopman_encode(af_koopman_evaluator *e, size_t count, const double *qp, double *j,
                              double *theta, double *omega, double *energy) {
    af__column_block in = af__block_in(qp, 2 * e->freedoms), out[4];
    size_t i;
    out[0] = af__block_out(j, e->freedoms);
    out[1] = af__block_out(theta, e->freedoms);
    out[2] = af__block_out(omega, e->freedoms);
    out[3] = af__block_out(energy, 1);
    af__koopman_blockwise(e, AF__ENCODE, count, 1, &in, 4, out);
    for (i = 0; theta && i < count * e->freedoms; i++) {
        theta[i] -= AF__TWO_PI * floor(theta[i] / AF__TWO_PI);
        if (theta[i] >= AF__TWO_PI) theta[i] = 0.0; /* a tiny negative angle, rounded */
    }
}

AF_API void af_koopman_decode(af_koopman_evaluator *e, size_t count, const double *j,
                              const double *theta, double *qp) {
    af__column_block in[2], out = af__block_out(qp, 2 * e->freedoms);
    in[0] = af__block_in(j, e->freedoms);
    in[1] = af__block_in(theta, e->freedoms);
    af__koopman_blockwise(e, AF__DECODE, count, 2, in, 1, &out);
}

AF_API void af_koopman_frequencies(af_koopman_evaluator *e, size_t count, const double *j,
                                   double *omega, double *energy) {
    af__column_block in = af__block_in(j, e->freedoms), out[2];
    out[0] = af__block_out(omega, e->freedoms);
    out[1] = af__block_out(energy, 1);
    af__koopman_blockwise(e, AF__FREQUENCIES, count, 1, &in, 2, out);
}

AF_API void af_koopman_rollout(af_koopman_evaluator *e, const double *j, const double *theta,
                               size_t count, const double *time, double *qp) {
    double omega[AF_FREEDOMS_MAX];
    size_t begin, s, i, some, n = e->freedoms;
    const void *from[3];
    void *to[1];
    af_koopman_frequencies(e, 1, j, omega, NULL);
    from[0] = af_params_data(e->params);
    from[1] = e->in[0];
    from[2] = e->in[1];
    to[0] = e->out[0];
    for (begin = 0; begin < count; begin += e->block) {
        some = count - begin < e->block ? count - begin : e->block;
        for (s = 0; s < e->block; s++)
            for (i = 0; i < n; i++) {
                e->in[0][s * n + i] = j[i];
                e->in[1][s * n + i] = theta[i] + omega[i] * time[begin + (s < some ? s : some - 1)];
            }
        af_run(e->func[AF__DECODE], e->workspace[AF__DECODE], from, to);
        memcpy(qp + begin * 2 * n, e->out[0], some * 2 * n * sizeof *qp);
    }
}
