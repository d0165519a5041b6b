/* ---- continuous flows ---------------------------------------------------------------------------
 *
 * What matching and ffjord share. A flow is a chain of velocity fields v(t, y), networks of (t, y)
 * in the standardised coordinates y; each carries stars from t = 0 to t = 1, the chain from a unit
 * normal to the data. Along the way (Chen et al. 2018, arXiv:1806.07366, eq. 8)
 *
 *     dy/dt = v,     d ln f/dt = -div v,     ds/dt = -(dv/dy)^T s - grad div v,
 *
 * where s = grad ln f; the third is the gradient of the second. Values come from one integration
 * from the data back to the normal; gradients from two, back with y alone, then forth with all
 * three, so that nothing of the way is kept. */

#include <stdio.h>

enum {
    DP__FIELDS = 16,    /* in a chain, at most */
    DP__ODE_STAGES = 7, /* of a step */
    DP__SLOTS = 16,     /* points of a block: the arrays of one call of a network stay in caches */
    DP__STATE = 13      /* numbers of a point, at most: */
};

enum { DP__Y, DP__Y_LN_F, DP__Y_LN_F_S, DP__WAYS };
static const size_t dp__way_width[DP__WAYS] = {6, 7, DP__STATE};

typedef struct dp__cnf {
    af_net *net[DP__FIELDS];
    size_t count;
    af_func *rate[DP__FIELDS][DP__WAYS]; /* dz/dt of t, z; made when first needed */
} dp__cnf;

/* Dormand & Prince (1980), 5(4): times of the stages; what of their rates makes the place of each,
 * the last being the result; and what makes its difference from the result of fourth order. The
 * last stage of a step is the first of the next. */
static const double dp__stage_time[DP__ODE_STAGES] = {0.0,     1.0 / 5, 3.0 / 10, 4.0 / 5,
                                                      8.0 / 9, 1.0,     1.0};
static const double dp__stage[DP__ODE_STAGES][DP__ODE_STAGES - 1] = {
    {0.0, 0.0, 0.0, 0.0, 0.0, 0.0},
    {1.0 / 5, 0.0, 0.0, 0.0, 0.0, 0.0},
    {3.0 / 40, 9.0 / 40, 0.0, 0.0, 0.0, 0.0},
    {44.0 / 45, -56.0 / 15, 32.0 / 9, 0.0, 0.0, 0.0},
    {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729, 0.0, 0.0},
    {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656, 0.0},
    {35.0 / 384, 0.0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}};
static const double dp__stage_error[DP__ODE_STAGES] = {
    71.0 / 57600, 0.0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

/* ---- the fields as expressions ---- */

/* v (b,6) of field k at times t (b,1) and places y (b,6). */
static af_expr dp__field(const dp_df *df, size_t k, af_expr t, af_expr y) {
    const dp__cnf *f = (const dp__cnf *)df->state;
    af_expr none = DP__ZERO, in[2];
    in[0] = t;
    in[1] = y;
    return af_net_apply(f->net[k], af_concat(df->c, 1, 2, in), none);
}

/* The unit vectors (6,1,6). */
static af_expr dp__units(af_context *c) {
    double unit[36] = DP__ZERO;
    size_t dims[3], d;
    dims[0] = dims[2] = DP__COORDINATES;
    dims[1] = 1;
    for (d = 0; d < dims[0]; d++) unit[7 * d] = 1.0;
    return af_constant_array(c, 3, dims, unit);
}

/* dv/dy (6,b,6), the first axis that of y. */
static af_expr dp__field_jacobian(af_context *c, af_expr v, af_expr y) {
    size_t dims[AF_RANK_MAX], full[3];
    af_expr unit, jacobian;
    af_shape(c, y, dims);
    full[0] = full[2] = DP__COORDINATES;
    full[1] = dims[0];
    unit = af_broadcast(c, dp__units(c), 3, full);
    af_jvp(c, 1, &v, 1, &y, &unit, &jacobian); /* none after a failure, which is in the context */
    return jacobian;
}

/* Sums (b,1) over both axes of the matrices x (6,b,6). */
static af_expr dp__matrix_sum(af_context *c, af_expr x) {
    size_t dims[AF_RANK_MAX];
    af_shape(c, x, dims);
    dims[2] = 1;
    return af_reshape(c, af_sum_axis(c, af_sum_axis(c, x, 2), 0), 2, dims + 1);
}

/* div v (b,1) of dv/dy (6,b,6). */
static af_expr dp__trace(af_context *c, af_expr jacobian) {
    return dp__matrix_sum(c, af_mul(c, jacobian, dp__units(c)));
}

/* dz/dt (b,width) of states z (b,width) at times t (b,1). One reverse sweep makes the rate of s:
 * the gradient of -div v - v.s by y, s held. */
static af_expr dp__field_rate(const dp_df *df, size_t k, int way, af_expr t, af_expr z) {
    af_context *c = df->c;
    af_expr y = af_slice(c, z, 1, 0, 6), s, part[3], along;
    part[0] = dp__field(df, k, t, y);
    if (way == (int)DP__Y) return part[0];
    part[1] = af_neg(c, dp__trace(c, dp__field_jacobian(c, part[0], y)));
    if (way == (int)DP__Y_LN_F) return af_concat(c, 1, 2, part);
    s = af_slice(c, z, 1, 7, 6);
    along = af_sub(c, af_sum(c, part[1]), af_sum(c, af_mul(c, part[0], s)));
    af_grad(c, along, 1, &y, &part[2]);
    return af_concat(c, 1, 3, part);
}

static af_status dp__rate_compile(dp_df *df, size_t k, int way) {
    dp__cnf *f = (dp__cnf *)df->state;
    af_func_desc d = DP__ZERO;
    af_expr in[3], out;
    size_t dims[2];
    if (f->rate[k][way]) return AF_OK;
    dims[0] = DP__SLOTS;
    dims[1] = 1;
    in[0] = af_params_input(df->params);
    in[1] = af_input(df->c, "t", 2, dims);
    dims[1] = dp__way_width[way];
    in[2] = af_input(df->c, "z", 2, dims);
    out = dp__field_rate(df, k, way, in[1], in[2]);
    d.inputs = in;
    d.input_count = 3;
    d.outputs = &out;
    d.output_count = 1;
    d.precision = AF_F32;
    d.label = "the velocity field of a flow";
    return af_compile(df->c, &d, &f->rate[k][way]);
}

/* ---- the solver ----
 *
 * Points move in blocks, each with a step of its own: it goes the same way whatever its neighbours
 * are. Rates are in f32, states in f64. */

/* Error of a step, per number of the state, relative to 1 + its size. ln f and its gradients are
 * then right to a few 1e-5; rounding in f32 adds about 1e-6, the network's own errors are 1e-2. */
#define DP__ODE_TOLERANCE 1e-5
#define DP__ODE_FIRST 0.25 /* the first step: fitted fields take four or five */
#define DP__ODE_LEAST 1e-6 /* a point that needs such a step, or ... */
enum { DP__ODE_MOST = 1000 }; /* ... that many, is given up, as NaN: no fitted field is so steep */

typedef struct dp__ode {
    const af_func *rate;
    size_t width, n;
    double begin, end;
    const float *params;
    double *z; /* (n,width): states at the beginning, then at the end */
    size_t lanes;
    struct dp__moving *lane[DP__LANES];
    af_workspace *work[DP__LANES];
    dp__called called[DP__LANES];
} dp__ode;

typedef struct dp__moving {
    size_t count, done, tries;
    double t[DP__SLOTS], step[DP__SLOTS]; /* step 0: the point has arrived */
    double z[DP__SLOTS * DP__STATE], moved[DP__SLOTS * DP__STATE];
    double rate[DP__ODE_STAGES][DP__SLOTS * DP__STATE];
    float t_in[DP__SLOTS], z_in[DP__SLOTS * DP__STATE], out[DP__SLOTS * DP__STATE];
} dp__moving;

/* The rates of stage k. */
static af_status dp__ode_stage(dp__ode *o, dp__moving *b, size_t lane, size_t k) {
    const void *in[3];
    void *out[1];
    size_t p, i, j;
    for (p = 0; p < (size_t)DP__SLOTS; p++) {
        b->t_in[p] = (float)(b->t[p] + dp__stage_time[k] * b->step[p]);
        for (i = p * o->width; i < (p + 1) * o->width; i++) {
            double sum = 0.0;
            for (j = 0; j < k; j++) sum += dp__stage[k][j] * b->rate[j][i];
            b->moved[i] = b->z[i] + b->step[p] * sum;
            b->z_in[i] = (float)b->moved[i];
        }
    }
    in[0] = o->params;
    in[1] = b->t_in;
    in[2] = b->z_in;
    out[0] = b->out;
    dp__call(&o->called[lane], o->rate, o->work[lane], in, out);
    for (i = 0; i < DP__SLOTS * o->width; i++) b->rate[k][i] = (double)b->out[i];
    return o->called[lane].status;
}

/* The root mean square error of the step of point p, in units of the tolerance. */
static double dp__ode_error(const dp__ode *o, const dp__moving *b, size_t p) {
    double sum = 0.0;
    size_t i, k;
    for (i = p * o->width; i < (p + 1) * o->width; i++) {
        double error = 0.0, size = fmax(fabs(b->z[i]), fabs(b->moved[i]));
        for (k = 0; k < (size_t)DP__ODE_STAGES; k++) error += dp__stage_error[k] * b->rate[k][i];
        error *= b->step[p] / (1.0 + size);
        sum += error * error;
    }
    return sqrt(sum / (double)o->width) / DP__ODE_TOLERANCE;
}

/* Point p takes its step or not, and gets its next one. */
static void dp__ode_judge(const dp__ode *o, dp__moving *b, size_t p) {
    double error = dp__ode_error(o, b, p), left;
    size_t at = p * o->width, i;
    if (error <= 1.0) {
        memcpy(b->z + at, b->moved + at, o->width * sizeof *b->z);
        memcpy(b->rate[0] + at, b->rate[DP__ODE_STAGES - 1] + at, o->width * sizeof *b->z);
        b->t[p] += b->step[p];
    }
    /* the error grows with the fifth power of the step; NaN makes the next one short */
    b->step[p] *= fmin(5.0, fmax(0.2, 0.9 * pow(fmax(error, 1e-10), -0.2)));
    left = o->end - b->t[p];
    if (fabs(b->step[p]) > fabs(left)) b->step[p] = left;
    if (fabs(b->step[p]) >= DP__ODE_LEAST && b->tries < (size_t)DP__ODE_MOST) return;
    for (i = at; i < at + o->width && fabs(left) >= DP__ODE_LEAST; i++) b->z[i] = NAN;
    b->step[p] = 0.0;
    b->done++;
}

static void dp__ode_block(dp__ode *o, size_t lane, size_t first) {
    dp__moving *b = o->lane[lane];
    size_t p, k, bytes;
    af_status s;
    memset(b, 0, sizeof *b);
    b->count = o->n - first < (size_t)DP__SLOTS ? o->n - first : (size_t)DP__SLOTS;
    bytes = b->count * o->width * sizeof *b->z;
    memcpy(b->z, o->z + first * o->width, bytes);
    for (p = 0; p < b->count; p++) {
        b->t[p] = o->begin;
        b->step[p] = (o->end - o->begin) * DP__ODE_FIRST;
    }
    s = dp__ode_stage(o, b, lane, 0);
    while (b->done < b->count && s == AF_OK) {
        for (k = 1; k < (size_t)DP__ODE_STAGES && s == AF_OK; k++)
            s = dp__ode_stage(o, b, lane, k);
        b->tries++;
        for (p = 0; p < b->count; p++)
            if (b->step[p] != 0.0) dp__ode_judge(o, b, p);
    }
    memcpy(o->z + first * o->width, b->z, bytes);
}

static void dp__ode_lane(size_t lane, void *user) {
    dp__ode *o = (dp__ode *)user;
    size_t first;
    for (first = lane * DP__SLOTS; first < o->n && o->called[lane].status == AF_OK;
         first += o->lanes * DP__SLOTS)
        dp__ode_block(o, lane, first);
}

/* Carries the states through one field. */
static af_status dp__ode_run(af_context *c, dp__ode *o) {
    dp__arena arena = dp__arena_open(c);
    size_t lane, blocks = (o->n + DP__SLOTS - 1) / DP__SLOTS;
    int threads = af_context_threads(c);
    af_status s = AF_OK;
    o->lanes = blocks < (size_t)DP__LANES ? blocks : (size_t)DP__LANES;
    if (threads > 0 && o->lanes > (size_t)threads) o->lanes = (size_t)threads;
    for (lane = 0; lane < o->lanes && s == AF_OK; lane++) {
        o->lane[lane] = DP__NEW(&arena, dp__moving);
        s = o->lane[lane] ? af_context_workspace(c, o->rate, 1, &o->work[lane]) : AF_ERROR_MEMORY;
    }
    if (s == AF_OK) af_parallel(c, o->lanes, dp__ode_lane, o);
    if (s == AF_OK) s = dp__call_check(c, o->called, o->lanes, "the velocity field of a flow");
    for (lane = 0; lane < o->lanes; lane++) af_workspace_destroy(o->work[lane]);
    dp__arena_free(&arena);
    return s == AF_ERROR_MEMORY ? dp__fail_memory(c, "moving points along a flow") : s;
}

/* Carries states z (n, width of the way) through the whole chain: forth to the data, or back. */
static af_status dp__cnf_move(dp_df *df, int way, int forth, size_t n, double *z) {
    dp__cnf *f = (dp__cnf *)df->state;
    dp__arena arena = dp__arena_open(df->c);
    const double *from = af_params_data(df->params);
    size_t i, k, size = af_params_size(df->params);
    float *params = DP__ARRAY(&arena, float, size);
    af_status s = params ? AF_OK : dp__fail_memory(df->c, "the parameters of a flow");
    for (i = 0; s == AF_OK && i < size; i++) params[i] = (float)from[i];
    for (i = 0; i < f->count && s == AF_OK; i++) {
        dp__ode o = DP__ZERO;
        k = forth ? i : f->count - 1 - i;
        s = dp__rate_compile(df, k, way);
        o.rate = f->rate[k][way];
        o.width = dp__way_width[way];
        o.begin = forth ? 0.0 : 1.0;
        o.end = 1.0 - o.begin;
        o.params = params;
        o.n = n;
        o.z = z;
        if (s == AF_OK) s = dp__ode_run(df->c, &o);
    }
    dp__arena_free(&arena);
    return s;
}

/* ---- what the two engines share ---- */

static double dp__ln_normal(const double y[6]) {
    double square = 0.0;
    size_t k;
    for (k = 0; k < 6; k++) square += y[k] * y[k];
    return -0.5 * square - 3.0 * log(2.0 * DP__PI);
}

static af_status dp__cnf_evaluate(dp_df *df, size_t n, const double *y, double *ln_f,
                                  double *gradient) {
    dp__arena arena = dp__arena_open(df->c);
    int back = gradient ? (int)DP__Y : (int)DP__Y_LN_F;
    size_t i, k, w = dp__way_width[back], all = DP__STATE;
    double *base = DP__ARRAY(&arena, double, n *w), *z = NULL;
    af_status s;
    if (gradient) z = DP__ARRAY(&arena, double, n *all);
    s = base && (z || !gradient) ? AF_OK : dp__fail_memory(df->c, "points of a flow");
    for (i = 0; s == AF_OK && i < n; i++) memcpy(base + i * w, y + 6 * i, 6 * sizeof *y);
    if (s == AF_OK) s = dp__cnf_move(df, back, 0, n, base);
    for (i = 0; s == AF_OK && ln_f && !gradient && i < n; i++)
        ln_f[i] = dp__ln_normal(base + i * w) - base[i * w + 6];
    for (i = 0; s == AF_OK && gradient && i < n; i++) {
        memcpy(z + i * all, base + i * w, 6 * sizeof *z);
        z[i * all + 6] = dp__ln_normal(base + i * w);
        for (k = 0; k < 6; k++) z[i * all + 7 + k] = -base[i * w + k]; /* of the unit normal */
    }
    if (s == AF_OK && gradient) s = dp__cnf_move(df, DP__Y_LN_F_S, 1, n, z);
    for (i = 0; s == AF_OK && gradient && i < n; i++) {
        if (ln_f) ln_f[i] = z[i * all + 6];
        memcpy(gradient + 6 * i, z + i * all + 7, 6 * sizeof *z);
    }
    dp__arena_free(&arena);
    return s;
}

static af_status dp__cnf_draw(dp_df *df, size_t n, uint64_t seed, double *y) {
    size_t i;
    for (i = 0; i < 6 * n; i++) y[i] = af_random_normal(seed, 0, i);
    return dp__cnf_move(df, DP__Y, 1, n, y);
}

static af_status dp__cnf_declare(dp_df *df) {
    dp__cnf *f = DP__NEW(&df->arena, dp__cnf);
    df->state = f;
    if (!f) return dp__fail_memory(df->c, "a flow");
    while (f->count < df->desc.transforms) {
        af_net_desc d = DP__ZERO;
        char name[32];
        af_status s;
        snprintf(name, sizeof name, "field%lu", (unsigned long)f->count);
        d.name = name;
        d.inputs = 7;
        d.outputs = 6;
        d.width = df->desc.width;
        d.depth = df->desc.depth;
        d.activation = df->desc.activation;
        s = af_net_create(df->params, &d, &f->net[f->count]);
        if (s != AF_OK) return s;
        f->count++;
    }
    return AF_OK;
}

static void dp__cnf_close(dp_df *df) {
    dp__cnf *f = (dp__cnf *)df->state;
    size_t k, way;
    for (k = 0; f && k < f->count; k++) {
        for (way = 0; way < (size_t)DP__WAYS; way++) af_func_destroy(f->rate[k][way]);
        af_net_destroy(f->net[k]);
    }
}
