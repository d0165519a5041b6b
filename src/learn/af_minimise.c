/* ---- Levenberg-Marquardt and L-BFGS ---------------------------------------------------------- */

#include <errno.h>

struct af_minimiser {
    af_context *context;
    af__arena arena;
    af_minimiser_desc desc;
    size_t size;              /* parameters P */
    int reverse;
    af__batch value;          /* F */
    af__batch slope;          /* J J^T and J r; in reverse a column of J; L-BFGS: gradient and F */
    af_func *normal;          /* reverse: the normal equations from J and r */
    af_workspace *workspace;
    double *jacobian, *residual, *unit; /* reverse: J^T (n,P), (n), (n) */
    double *equations;        /* J J^T (P,P), then J r (P) */
    double *scale, *damped, *work, *step, *old; /* (P), (P), (P,P), (P), (P) */
    double damping, growth;   /* Levenberg-Marquardt */
    double flat;              /* the decrease foretold for the last step on the flat; or infinite */
    af__lbfgs lbfgs;
    double *gradient, f;      /* L-BFGS: at the parameters as they are, when `known` */
    int known;
    const void **inputs;      /* the caller's, then `unit` */
    size_t evaluations;
};

AF_API void af_minimiser_destroy(af_minimiser *m) {
    af_allocator allocator;
    if (!m) return;
    allocator = m->arena.allocator;
    af__batch_close(&m->value);
    af__batch_close(&m->slope);
    af_workspace_destroy(m->workspace);
    af_func_destroy(m->normal);
    af__arena_free(&m->arena);
    allocator.release(m, sizeof *m, allocator.user);
}

/* ---- sums of squares ---- */

/* rho and its derivative for x = |r|^2 / s^2. */
static void af__robust(af_context *c, af_robust kind, af_expr x, af_expr *rho, af_expr *weight) {
    af_expr one = af_constant(c, 1.0), root;
    switch (kind) {
    case AF_ROBUST_HUBER:
        root = af_sqrt(c, af_maximum(c, x, one));
        *rho = af_where(c, af_less(c, x, one), x, af_offset(c, af_scale(c, root, 2.0), -1.0));
        *weight = af_reciprocal(c, root);
        break;
    case AF_ROBUST_ROOT:
        root = af_sqrt(c, af_offset(c, x, 1.0));
        *rho = af_div(c, af_scale(c, x, 2.0), af_offset(c, root, 1.0)); /* 2 (root - 1) */
        *weight = af_reciprocal(c, root);
        break;
    case AF_ROBUST_CAUCHY:
        *rho = af_log1p(c, x);
        *weight = af_reciprocal(c, af_offset(c, x, 1.0));
        break;
    case AF_ROBUST_NONE:
    default:
        *rho = x;
        *weight = one;
    }
}

/* F of residuals r of any shape; r flat (n); the roots of the weights (n), or 1. */
static af_expr af__sum_of_squares(af_context *c, const af_minimiser_desc *d, af_expr r,
                                  af_expr *flat, af_expr *root) {
    size_t n = af_size(c, r), group = d->robust_group ? d->robust_group : 1, dims[2];
    double s = d->robust_scale > 0.0 ? d->robust_scale : 1.0;
    af_expr x, rho, weight;
    *flat = af_reshape(c, r, 1, &n);
    *root = af_constant(c, 1.0);
    if (d->robust == AF_ROBUST_NONE) return af_scale(c, af_sum(c, af_square(c, *flat)), 0.5);
    dims[0] = n / group;
    dims[1] = group;
    x = af_sum_axis(c, af_square(c, af_reshape(c, *flat, 2, dims)), 1);
    af__robust(c, d->robust, af_scale(c, x, 1.0 / (s * s)), &rho, &weight);
    *root = af_reshape(c, af_broadcast(c, af_sqrt(c, weight), 2, dims), 1, &n);
    return af_scale(c, af_sum(c, rho), 0.5 * s * s);
}

/* out[0] = J W J^T (P,P), its lower triangle; out[1] = J W r (P,1); from J (P,n), r (n) and the
 * roots of W. */
static void af__normal_equations(af_context *c, af_expr jacobian, af_expr r, af_expr root,
                                 af_expr out[2]) {
    size_t dims[2];
    dims[0] = af_size(c, r);
    dims[1] = 1;
    jacobian = af_mul(c, jacobian, root);
    out[0] = af__lower_square(c, jacobian);
    out[1] = af_matmul(c, jacobian, af_reshape(c, af_mul(c, r, root), 2, dims));
}

/* ---- what is compiled ---- */

static af__batch_desc af__minimiser_batch(const af_minimiser *m, const char *label) {
    af__batch_desc b = AF__ZERO;
    b.label = label;
    b.params = m->desc.params;
    b.inputs = m->desc.inputs;
    b.input_count = m->desc.input_count;
    b.input_axes = m->desc.input_axes;
    b.pieces = m->desc.pieces;
    b.share = 1.0;
    return b;
}

static af_status af__open_value(af_minimiser *m, af_expr f) {
    af__batch_desc b = af__minimiser_batch(m, "minimiser");
    b.sums = &f;
    b.sum_count = 1;
    return af__batch_open(m->context, &m->arena, &b, &m->value);
}

/* Forward: the normal equations in one function. */
static af_status af__open_forward(af_minimiser *m) {
    af_context *c = m->context;
    af__batch_desc b = af__minimiser_batch(m, "Levenberg-Marquardt step");
    af_expr flat, root, sums[2];
    af_status s;
    s = af__open_value(m, af__sum_of_squares(c, &m->desc, m->desc.residuals, &flat, &root));
    if (s != AF_OK) return s;
    af__normal_equations(c, af__jacobian(m->desc.params, flat), flat, root, sums);
    b.sums = sums;
    b.sum_count = 2;
    s = af__batch_open(c, &m->arena, &b, &m->slope);
    m->equations = m->slope.total;
    return s;
}

/* The normal equations from J^T (n,P) and r (n) as inputs. */
static af_status af__open_normal(af_minimiser *m, size_t n) {
    af_context *c = m->context;
    af_func_desc f = AF__ZERO;
    af_expr in[2], out[2], flat, root;
    size_t dims[2];
    dims[0] = n;
    dims[1] = m->size;
    in[0] = af_input(c, "derivatives", 2, dims);
    in[1] = af_input(c, "residuals", 1, &n);
    af__sum_of_squares(c, &m->desc, in[1], &flat, &root);
    af__normal_equations(c, af_transpose(c, in[0]), flat, root, out);
    f.inputs = in;
    f.input_count = 2;
    f.outputs = out;
    f.output_count = 2;
    f.label = "normal equations";
    if (af_compile(c, &f, &m->normal) != AF_OK) return c->status;
    return af_context_workspace(c, m->normal, c->threads, &m->workspace);
}

/* Reverse: J column by column, each from a weight that picks one residual. */
static af_status af__open_reverse(af_minimiser *m) {
    af_context *c = m->context;
    size_t i, n = af_size(c, m->desc.residuals), count = m->desc.input_count;
    af__batch_desc b = af__minimiser_batch(m, "Levenberg-Marquardt step");
    af_expr flat, root, column, unit = af_input(c, "one residual", 1, &n);
    af_expr *inputs = AF__ARRAY(&m->arena, af_expr, count + 1);
    void **data = AF__ARRAY(&m->arena, void *, 1);
    af_status s;
    m->jacobian = AF__ARRAY(&m->arena, double, n * m->size);
    m->residual = AF__ARRAY(&m->arena, double, n);
    m->unit = AF__ARRAY(&m->arena, double, n);
    m->equations = AF__ARRAY(&m->arena, double, m->size * m->size + m->size);
    if (!inputs || !data || !m->jacobian || !m->residual || !m->unit || !m->equations)
        return af__fail_memory(c, "a minimiser");
    s = af__open_value(m, af__sum_of_squares(c, &m->desc, m->desc.residuals, &flat, &root));
    if (s != AF_OK) return s;
    for (i = 0; i < count; i++) inputs[i] = m->desc.inputs[i];
    inputs[count] = unit;
    column = af_params_grad(m->desc.params, af_sum(c, af_mul(c, unit, flat)));
    data[0] = m->residual;
    b.inputs = inputs;
    b.input_count = count + 1;
    b.input_axes = NULL; /* one piece; there is none for `unit` */
    b.sums = &column;
    b.sum_count = 1;
    b.outputs = &flat;
    b.output_data = data;
    b.output_count = 1;
    s = af__batch_open(c, &m->arena, &b, &m->slope);
    return s == AF_OK ? af__open_normal(m, n) : s;
}

static af_status af__open_lbfgs(af_minimiser *m) {
    af_context *c = m->context;
    af__batch_desc b = af__minimiser_batch(m, "L-BFGS step");
    af_expr flat, root, sums[2];
    af_status s;
    sums[1] = m->desc.loss;
    if (m->desc.residuals.id)
        sums[1] = af__sum_of_squares(c, &m->desc, m->desc.residuals, &flat, &root);
    sums[0] = af_params_grad(m->desc.params, sums[1]);
    b.sums = sums;
    b.sum_count = 2;
    s = af__open_value(m, sums[1]);
    if (s == AF_OK) s = af__batch_open(c, &m->arena, &b, &m->slope);
    if (s != AF_OK) return s;
    m->gradient = AF__ARRAY(&m->arena, double, m->size);
    if (m->gradient && af__lbfgs_create(&m->arena, m->size,
                                        m->desc.memory ? m->desc.memory : 20, &m->lbfgs))
        return AF_OK;
    return af__fail_memory(c, "L-BFGS");
}

/* ---- creating ---- */

static af_status af__minimiser_check(af_context *c, const af_minimiser_desc *d) {
    size_t group = d->robust_group ? d->robust_group : 1;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "minimiser: af_minimiser_desc was not initialised to zero");
    if (c->status != AF_OK) return c->status; /* of building the expressions */
    if (!d->params || af_params_size(d->params) == 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "minimiser: there are no parameters");
    if ((d->residuals.id != 0) == (d->loss.id != 0))
        return af__fail(c, AF_ERROR_ARGUMENT, "minimiser: it needs either residuals or a loss");
    if ((int)d->method < 0 || d->method > AF_LBFGS || (int)d->robust < 0 ||
        d->robust > AF_ROBUST_CAUCHY || (int)d->jacobian < 0 ||
        d->jacobian > AF_JACOBIAN_REVERSE || (int)d->damping_of < 0 ||
        d->damping_of > AF_DAMPING_DIAGONAL)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "minimiser: there is no method %d, robust %d, jacobian %d or damping_of %d",
                        (int)d->method, (int)d->robust, (int)d->jacobian, (int)d->damping_of);
    if (d->method != AF_LBFGS && !d->residuals.id)
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "minimiser: Levenberg-Marquardt needs residuals, not a loss");
    if (!(d->robust_scale >= 0.0 && d->damping >= 0.0) || !af__is_finite(d->robust_scale) ||
        !af__is_finite(d->damping))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "minimiser: a robust scale of %g or a damping of %g is not possible",
                        d->robust_scale, d->damping);
    if (d->residuals.id && af_size(c, d->residuals) % group != 0)
        return af__fail(c, AF_ERROR_SHAPE,
                        "minimiser: %lu residuals cannot be grouped by %lu",
                        (unsigned long)af_size(c, d->residuals), (unsigned long)group);
    if (d->jacobian == AF_JACOBIAN_REVERSE && d->pieces > 1)
        return af__fail(c, AF_ERROR_ARGUMENT, "minimiser: reverse derivatives come in one piece");
    return AF_OK;
}

static af_status af__minimiser_memory(af_minimiser *m) {
    size_t n = m->size;
    m->scale = AF__ARRAY(&m->arena, double, n);
    m->damped = AF__ARRAY(&m->arena, double, n);
    m->work = AF__ARRAY(&m->arena, double, n * n);
    m->step = AF__ARRAY(&m->arena, double, n);
    if (m->scale && m->damped && m->work && m->step) return AF_OK;
    return af__fail_memory(m->context, "a minimiser");
}

static af_status af__minimiser_open(af_minimiser *m) {
    af_minimiser_desc *d = &m->desc;
    size_t n = af_size(m->context, d->residuals);
    af_status s;
    m->size = af_params_size(d->params);
    if (d->damping == 0.0) d->damping = 1e-3;
    m->inputs = AF__ARRAY(&m->arena, const void *, d->input_count + 1);
    m->old = AF__ARRAY(&m->arena, double, m->size);
    if (!m->inputs || !m->old) return af__fail_memory(m->context, "a minimiser");
    if (d->method == AF_LBFGS) return af__open_lbfgs(m);
    s = af__minimiser_memory(m);
    if (s != AF_OK) return s;
    m->reverse = d->jacobian == AF_JACOBIAN_REVERSE ||
                 (d->jacobian == AF_JACOBIAN_AUTO && n < m->size && d->pieces <= 1 &&
                  !d->allreduce);
    return m->reverse ? af__open_reverse(m) : af__open_forward(m);
}

AF_API af_status af_minimiser_create(af_context *c, const af_minimiser_desc *desc,
                                     af_minimiser **out) {
    af_minimiser *m;
    af_status s = af__minimiser_check(c, desc);
    *out = NULL;
    if (s != AF_OK) return s;
    m = (af_minimiser *)c->allocator.allocate(sizeof *m, c->allocator.user);
    if (!m) return af__fail_memory(c, "a minimiser");
    memset(m, 0, sizeof *m);
    m->context = c;
    m->arena.allocator = c->allocator;
    m->desc = *desc;
    s = af__minimiser_open(m);
    af_minimiser_restart(m);
    if (s == AF_OK) *out = m;
    else af_minimiser_destroy(m);
    return s;
}

AF_API void af_minimiser_restart(af_minimiser *m) {
    m->damping = m->desc.damping;
    m->growth = 2.0;
    m->flat = HUGE_VAL;
    m->known = 0;
    if (m->lbfgs.n) af__lbfgs_restart(&m->lbfgs);
}

/* ---- values and derivatives ---- */

static af_status af__minimiser_reduce(af_minimiser *m, double *values, size_t n) {
    af_status s;
    if (!m->desc.allreduce) return AF_OK;
    s = m->desc.allreduce(values, n, m->desc.allreduce_user);
    return s == AF_OK ? s : af__fail(m->context, s, "minimiser: allreduce failed");
}

AF_API af_status af_minimiser_loss(af_minimiser *m, const void *const *inputs, double *loss) {
    af_status s = af__batch_run(&m->value, inputs);
    if (s == AF_OK) s = af__minimiser_reduce(m, m->value.total, 1);
    if (s == AF_OK) *loss = m->value.total[0];
    m->evaluations++;
    return s;
}

static af_status af__minimiser_not_finite(af_minimiser *m) {
    return af__fail(m->context, AF_ERROR_NONFINITE,
                    "minimiser: F or its derivatives are not finite at the parameters as they are");
}

/* J column by column, then the normal equations. */
static af_status af__reverse_equations(af_minimiser *m, const void *const *inputs) {
    size_t i, n = af_size(m->context, m->desc.residuals), p = m->size;
    const void *in[2];
    void *out[2];
    af_status s = AF_OK;
    for (i = 0; i < m->desc.input_count; i++) m->inputs[i] = inputs[i];
    m->inputs[m->desc.input_count] = m->unit;
    for (i = 0; i < n && s == AF_OK; i++) {
        m->unit[i] = 1.0;
        s = af__batch_run(&m->slope, m->inputs);
        m->unit[i] = 0.0;
        memcpy(m->jacobian + i * p, m->slope.total, p * sizeof *m->jacobian);
    }
    if (s != AF_OK) return s;
    in[0] = m->jacobian;
    in[1] = m->residual;
    out[0] = m->equations;
    out[1] = m->equations + p * p;
    if (af_run(m->normal, m->workspace, in, out) == AF_OK) return AF_OK;
    return af__fail(m->context, AF_ERROR_BACKEND, "minimiser: %s", af_func_error(m->normal));
}

/* F and the normal equations at the parameters. F comes from the function that trials are
 * computed by: another one rounds otherwise, and where F no longer falls it would seem to. */
static af_status af__minimiser_equations(af_minimiser *m, const void *const *inputs, double *f) {
    size_t i, p = m->size, total = p * p + p;
    af_status s = af_minimiser_loss(m, inputs, f);
    if (s != AF_OK) return s;
    if (!af__is_finite(*f)) return af__minimiser_not_finite(m);
    if (m->reverse) s = af__reverse_equations(m, inputs);
    else s = af__batch_run(&m->slope, inputs);
    if (s == AF_OK) s = af__minimiser_reduce(m, m->equations, total);
    if (s != AF_OK) return s;
    for (i = 0; i < total; i++)
        if (!af__is_finite(m->equations[i])) return af__minimiser_not_finite(m);
    return AF_OK;
}

/* ---- Levenberg-Marquardt ---- */

#define AF__LEVEL 1e-13 /* of F: smaller changes may come from the rounding of residuals */

enum { AF__TRIALS = 60 }; /* growth 2, 4, 8, ... reaches the limit long before */

/* Solves (J J^T + damping diag) step = - J r into m->step; the decrease that the model foretells,
 * 0 when there is no step. */
static double af__damped_step(af_minimiser *m) {
    const double *a = m->equations, *g = a + m->size * m->size;
    double foretold = 0.0;
    size_t i, n = m->size;
    for (i = 0; i < n; i++) m->damped[i] = m->damping * m->scale[i];
    if (!af__cholesky_solve(m->context->threads, n, a, m->damped, m->work, g, m->step)) return 0.0;
    for (i = 0; i < n; i++) {
        m->step[i] = -m->step[i];
        foretold += 0.5 * m->step[i] * (m->damped[i] * m->step[i] - g[i]);
    }
    return af__is_finite(foretold) ? foretold : 0.0;
}

/* What the damping is relative to; parameters that change nothing get a little of the largest. */
static void af__damping_scale(af_minimiser *m) {
    double largest = 0.0, least;
    size_t i, n = m->size;
    for (i = 0; i < n; i++)
        if (m->equations[i * (n + 1)] > largest) largest = m->equations[i * (n + 1)];
    if (!(largest > 0.0)) largest = 1.0;
    least = m->desc.damping_of == AF_DAMPING_DIAGONAL ? 1e-12 * largest : largest;
    for (i = 0; i < n; i++) {
        double diagonal = m->equations[i * (n + 1)];
        m->scale[i] = diagonal > least ? diagonal : least;
    }
}

/* Nielsen's rule (Madsen, Nielsen & Tingleff 2004, eq. 2.21). */
static void af__damping_update(af_minimiser *m, double gain) {
    double x = 2.0 * gain - 1.0, factor = 1.0 - x * x * x;
    if (gain > 0.0) {
        if (factor < 0.1) factor = 0.1;
        m->damping *= factor;
        m->growth = 2.0;
        if (m->damping < 1e-15) m->damping = 1e-15;
    } else {
        m->damping *= m->growth;
        m->growth *= 2.0;
    }
}

/* Takes the trial or not. Within rounding F says nothing, at some 1e-8 of the errors
 * of parameters: the first trial is good then, as long as what is foretold halves. */
static void af__lm_judge(af_minimiser *m, af_minimise_report *r, double f, double foretold,
                         int first) {
    int flat = fabs(f - r->before) <= AF__LEVEL * r->before;
    if (flat ? !first || foretold > 0.5 * m->flat : !(f < r->before)) return;
    m->flat = flat ? foretold : HUGE_VAL;
    /* one half: the damping stays */
    r->gain = flat ? 0.5 : (r->before - f) / foretold;
    r->loss = f;
    r->converged = 0;
}

static af_status af__lm_step(af_minimiser *m, const void *const *inputs, af_minimise_report *r) {
    double *x = af_params_data(m->desc.params), foretold, f;
    size_t i, trial, n = m->size;
    af_status s = af__minimiser_equations(m, inputs, &r->before);
    if (s != AF_OK) return s;
    r->loss = r->before;
    for (i = 0; i < n; i++)
        if (fabs(m->equations[n * n + i]) > r->gradient)
            r->gradient = fabs(m->equations[n * n + i]);
    af__damping_scale(m);
    memcpy(m->old, x, n * sizeof *x);
    r->converged = 1;
    for (trial = 0; trial < (size_t)AF__TRIALS && r->converged && m->damping < 1e20; trial++) {
        foretold = af__damped_step(m);
        r->gain = -1.0;
        if (foretold > 0.0) {
            for (i = 0; i < n; i++) x[i] = m->old[i] + m->step[i];
            s = af_minimiser_loss(m, inputs, &f);
            if (s != AF_OK) break;
            af__lm_judge(m, r, f, foretold, trial == 0);
        }
        af__damping_update(m, r->gain);
    }
    if (r->converged) memcpy(x, m->old, n * sizeof *x);
    r->damping = m->damping;
    return s;
}

/* ---- L-BFGS ---- */

typedef struct af__objective_of {
    af_minimiser *m;
    const void *const *inputs;
} af__objective_of;

/* F and its gradient where the search wants them. */
static af_status af__minimiser_objective(void *user, const double *x, double *f,
                                         double *gradient) {
    af__objective_of *o = (af__objective_of *)user;
    af_minimiser *m = o->m;
    double *data = af_params_data(m->desc.params);
    af_status s;
    if (data != x) memcpy(data, x, m->size * sizeof *data);
    s = af__batch_run(&m->slope, o->inputs);
    if (s == AF_OK) s = af__minimiser_reduce(m, m->slope.total, m->size + 1);
    memcpy(gradient, m->slope.total, m->size * sizeof *gradient);
    *f = m->slope.total[m->size];
    return s;
}

static af_status af__lbfgs_minimise(af_minimiser *m, const void *const *inputs,
                                    af_minimise_report *r) {
    double *x = af_params_data(m->desc.params);
    af__objective_of o;
    size_t i;
    int moved = 0;
    af_status s = AF_OK;
    o.m = m;
    o.inputs = inputs;
    if (!m->known) {
        s = af__minimiser_objective(&o, x, &m->f, m->gradient);
        m->evaluations++;
    }
    if (s != AF_OK) return s;
    m->known = 1;
    r->before = m->f;
    for (i = 0; i < m->size; i++)
        if (fabs(m->gradient[i]) > r->gradient) r->gradient = fabs(m->gradient[i]);
    memcpy(m->old, x, m->size * sizeof *x);
    s = af__lbfgs_step(&m->lbfgs, m->old, &m->f, m->gradient, &m->known, af__minimiser_objective,
                       &o, &moved, &m->evaluations);
    memcpy(x, m->old, m->size * sizeof *x); /* the search has tried others */
    if (s == AF_ERROR_NONFINITE) {
        m->known = 0;
        return af__minimiser_not_finite(m);
    }
    r->loss = m->f;
    r->converged = !moved;
    return s;
}

/* ---- steps ---- */

AF_API af_status af_minimiser_step(af_minimiser *m, const void *const *inputs,
                                   af_minimise_report *report) {
    af_minimise_report r = AF__ZERO;
    af_status s;
    if (m->desc.method == AF_LBFGS) s = af__lbfgs_minimise(m, inputs, &r);
    else s = af__lm_step(m, inputs, &r);
    r.evaluations = m->evaluations;
    if (report && s == AF_OK) *report = r;
    return s;
}

/* ---- runs ---- */

enum { AF__SLOW_STEPS = 10 }; /* a single small decrease may come from a heavy damping */

/* A run in progress. */
typedef struct af__minimise_run {
    af_minimise_report r; /* of the last step that went well */
    size_t done;          /* steps, or what they passed */
    size_t slow;          /* steps in a row that brought little */
    size_t written;       /* `done` in the checkpoint */
    int over, stop;
} af__minimise_run;

#define AF__MINIMISE_FORMAT "actionfinder minimiser checkpoint 1"

enum { AF__MINIMISE_NUMBERS = 14 };

/* What goes on beside the parameters, in the order of the file; counts are exact as doubles. */
static void af__minimise_state(const af_minimiser *m, const af__minimise_run *run, double *to) {
    const af_minimise_report *r = &run->r;
    to[0] = m->damping;
    to[1] = m->growth;
    to[2] = m->flat;
    to[3] = (double)m->evaluations;
    to[4] = (double)run->done;
    to[5] = (double)run->slow;
    to[6] = (double)run->over;
    to[7] = (double)r->step;
    to[8] = r->loss;
    to[9] = r->before;
    to[10] = r->gradient;
    to[11] = r->damping;
    to[12] = r->gain;
    to[13] = (double)r->converged;
}

static void af__minimise_restore(af_minimiser *m, af__minimise_run *run, const double *from) {
    af_minimise_report *r = &run->r;
    m->damping = from[0];
    m->growth = from[1];
    m->flat = from[2];
    m->evaluations = r->evaluations = (size_t)from[3];
    run->done = run->written = (size_t)from[4];
    run->slow = (size_t)from[5];
    run->over = from[6] != 0.0;
    r->step = (size_t)from[7];
    r->loss = from[8];
    r->before = from[9];
    r->gradient = from[10];
    r->damping = from[11];
    r->gain = from[12];
    r->converged = from[13] != 0.0;
}

static af_status af__minimise_write(const af_minimiser *m, const af_minimise_desc *d,
                                    af__minimise_run *run) {
    double numbers[AF__MINIMISE_NUMBERS];
    size_t n = AF__MINIMISE_NUMBERS;
    af_tensors *to;
    af_status s = af_tensors_create(m->context, &to);
    if (s != AF_OK) return s;
    af__minimise_state(m, run, numbers);
    s = af_tensors_set_text(to, "format", AF__MINIMISE_FORMAT);
    if (s == AF_OK) s = af_params_save(m->desc.params, to, "");
    if (s == AF_OK) s = af_tensors_add(to, "minimise.state", AF_DTYPE_F64, 1, &n, numbers);
    if (s == AF_OK && d->save) s = d->save(to, d->user);
    if (s == AF_OK) s = af_tensors_write(to, d->checkpoint);
    af_tensors_destroy(to);
    run->written = run->done;
    return s;
}

static af_status af__minimise_take(af_minimiser *m, const af_minimise_desc *d,
                                   const af_tensors *from, af__minimise_run *run) {
    double numbers[AF__MINIMISE_NUMBERS];
    size_t i, n = AF__MINIMISE_NUMBERS;
    const char *format = af_tensors_text(from, "format");
    af_status s;
    if (!format || strcmp(format, AF__MINIMISE_FORMAT) != 0)
        return af__fail(m->context, AF_ERROR_FORMAT,
                        "'%s' is not a checkpoint of this method; remove it or choose another name",
                        d->checkpoint);
    s = af_tensors_get(from, "minimise.state", 1, &n, numbers);
    for (i = 4; i < 8 && s == AF_OK; i++)
        if (!(numbers[i] >= 0.0 && numbers[i] < 9e15)) /* counts */
            s = af__fail(m->context, AF_ERROR_FORMAT, "'%s' holds a count of %g", d->checkpoint,
                         numbers[i]);
    if (s == AF_OK && d->load) s = d->load(from, d->user);
    if (s == AF_OK) s = af_params_load(m->desc.params, from, "");
    if (s == AF_OK) af__minimise_restore(m, run, numbers);
    return s;
}

#undef AF__MINIMISE_FORMAT

static af_status af__minimise_resume(af_minimiser *m, const af_minimise_desc *d,
                                     af__minimise_run *run) {
    af_tensors *set;
    af_status s;
    size_t k;
    FILE *there;
    errno = 0;
    there = fopen(d->checkpoint, "rb");
    if (!there && (errno == ENOENT || errno == 0)) return AF_OK; /* nothing to resume: begin */
    if (there) fclose(there);
    s = af_tensors_read(m->context, d->checkpoint, &set);
    if (s != AF_OK) return s;
    s = af__minimise_take(m, d, set, run);
    af_tensors_destroy(set);
    if (s != AF_OK) return s;
    for (k = 0; k < run->done && d->stage; k++) d->stage(k, d->user);
    af__log(m->context, "minimiser: '%s' is resumed after step %lu", d->checkpoint,
            (unsigned long)run->done);
    return AF_OK;
}

static af_status af__minimise_step(af_minimiser *m, const af_minimise_desc *d,
                                   af__minimise_run *run) {
    af_minimise_report *r = &run->r;
    af_status s = AF_OK;
    if (d->stage && d->stage(run->done, d->user)) {
        af_minimiser_restart(m);
        run->over = 0;
        run->slow = 0;
    }
    if (!run->over) {
        s = af_minimiser_step(m, d->inputs, r);
        if (s != AF_OK) return s;
        r->step = run->done + 1;
        run->slow = r->before - r->loss < d->tolerance * fabs(r->before) ? run->slow + 1 : 0;
        run->over = r->converged || run->slow >= (size_t)AF__SLOW_STEPS;
        if (d->progress) run->stop = d->progress(r, d->user) != 0;
    }
    run->done++;
    return AF_OK;
}

static af_status af__minimise_check(const af_minimiser *m, const af_minimise_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0 || d->steps == 0)
        return af__fail(m->context, AF_ERROR_ARGUMENT,
                        "minimise: af_minimise_desc was not initialised, or has no steps");
    if (d->checkpoint && m->desc.method == AF_LBFGS)
        return af__fail(m->context, AF_ERROR_ARGUMENT, "minimise: L-BFGS keeps no checkpoint");
    return AF_OK;
}

AF_API af_status af_minimise(af_minimiser *m, const af_minimise_desc *d,
                             af_minimise_report *report) {
    af__minimise_run run = AF__ZERO;
    size_t every = d->checkpoint_every ? d->checkpoint_every : 1;
    af_status s = af__minimise_check(m, d);
    if (s != AF_OK) return s;
    if (d->checkpoint && d->resume) s = af__minimise_resume(m, d, &run);
    while (s == AF_OK && !run.stop && run.done < d->steps && (d->stage || !run.over)) {
        s = af__minimise_step(m, d, &run);
        if (s == AF_OK && d->checkpoint && run.done % every == 0)
            s = af__minimise_write(m, d, &run);
    }
    if (s == AF_OK && d->checkpoint && run.written != run.done) s = af__minimise_write(m, d, &run);
    if (report) *report = run.r;
    return s == AF_OK && run.stop ? AF_STOPPED : s;
}

#undef AF__LEVEL
