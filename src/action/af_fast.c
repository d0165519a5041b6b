/* ---- ActionFinder: many single stars ------------------------------------------------------------
 *
 * Stars that stand alone (stars = 1) and are no special orbits, so many at a time that the arrays
 * stay in the second-level cache. One program makes the toy's actions and angles; a map of shears
 * is part of it. For a Fourier G it makes cos(k.theta), sin(k.theta) too, once a star, as rows, so
 * that a lane that has settled gives way to the next star by one copy; J' is then solved for by
 * Broyden's method, in which a step is one value of the network and no derivatives: at first in
 * single precision, then in double. What is special, or does not settle soon, is left to the
 * evaluator. */

/* One evaluation: the caller's arrays. guess (streams,3), or NULL, holds first values of J' in
 * units of action_scale (NaN: the toy's) and gets the last ones. */
typedef struct af__request {
    size_t streams;
    const size_t *index; /* (streams): which ones; NULL: all of 0 .. streams - 1 */
    const double *xv;
    const size_t *count;
    double *guess, *j, *theta;
    unsigned *flags;
    size_t most_steps;
    size_t next, failed;
} af__request;

#define AF__SOLVE_TOLERANCE 1e-10 /* residual of J' over action_scale at which it has settled */

/* ---- the toy as an expression, ordinary orbits ---- */

/* Orbits nearer than this (relative) to planar, polar or circular ones, and this near to radial
 * ones, lose digits here; af_isochrone_actions has care for them. */
#define AF__ORDINARY 1e-5
#define AF__ORDINARY_SPIN 1e-3

typedef struct af__ordinary {
    af_expr j, theta, good; /* (3,1,B) [km/s kpc], (3,1,B), (1,1,B): 1 for ordinary orbits */
} af__ordinary;

/* What af__isochrone_energy and af__isochrone_momentum give, and how ordinary that is. */
static af_expr af__ordinary_good(af_context *c, const af__toy_orbit *o, af_expr twice_e,
                                 af_expr perp) {
    af_expr zero = af_constant(c, 0.0), good = af_less(c, zero, twice_e);
    af_expr lc = af_div(c, o->c, o->slow), l = af_scale(c, o->l, AF__ORDINARY);
    good = af_mul(c, good, af_less(c, af_scale(c, lc, AF__ORDINARY_SPIN), o->l));
    good = af_mul(c, good, af_less(c, l, perp));
    good = af_mul(c, good, af_less(c, l, af_abs(c, o->lz)));
    return af_mul(c, good, af_less(c, af_constant(c, AF__ORDINARY), o->e));
}

/* xv (6,1,B); mass_g, scale: G M, b. The actions have no differences of near numbers. */
static af__ordinary af__ordinary_toy(af_context *c, af_expr mass_g, af_expr scale, af_expr xv) {
    af__toy_orbit o = af__toy_orbit_of(c, mass_g, scale, xv);
    af_expr perp = af__hypot(c, o.lx, o.ly), j[3], all;
    af__ordinary out;
    all = af__toy_actions(c, &o);
    j[0] = o.lz;
    j[1] = af_div(c, af_square(c, perp), af_add(c, o.l, af_abs(c, o.lz)));
    j[2] = af__component(c, all, 2);
    out.j = af_concat(c, 0, 3, j);
    out.theta = af__toy_angles(c, &o, xv);
    out.good = af__ordinary_good(c, &o, af_div(c, mass_g, o.a), perp);
    return out;
}

/* To [0, 2 pi), as af__wrap does. */
static af_expr af__wrap_turns(af_context *c, af_expr x) {
    af_expr turns = af_floor(c, af_scale(c, x, 0.5 / AF__PI));
    return af_sub(c, x, af_scale(c, turns, 2.0 * AF__PI));
}

/* ---- a Fourier G with its harmonics in rows ---- */

/* Harmonics that vanish alike (af__decay): by |k_z| = 0, 1 or more, and by k_r = 0 or not. */
enum { AF__DECAYS = 6, AF__COLUMNS = 3 * AF__DECAYS };

static size_t af__decay_of(const double k[3]) {
    double kz = fabs(k[1]);
    return (kz > 1.5 ? 4u : kz > 0.5 ? 2u : 0u) + (k[2] != 0.0);
}

static void af__decay_factors(af_context *c, const af__shape_of_orbit *o, af_expr decay[]) {
    af_expr sine2 = af_add(c, o->jz, af_scale(c, af_abs(c, o->jphi), 2.0));
    size_t i;
    sine2 = af_div(c, af_mul(c, o->jz, sine2), af_square(c, o->l));
    decay[0] = af_constant(c, 1.0);
    decay[2] = af_sqrt(c, sine2);
    decay[4] = sine2;
    for (i = 0; i < AF__DECAYS; i += 2)
        decay[i + 1] = af_mul(c, decay[i], af_sqrt(c, af_div(c, o->jr, o->total)));
}

/* What the sum over the harmonics is multiplied by, for one decay and one component of k; component
 * 3: not by k. */
static double af__harmonic_weight(const af__generator *g, size_t i, size_t decay,
                                  size_t component) {
    const double *k = g->harmonic + 3 * i;
    if (af__decay_of(k) != decay) return 0.0;
    return g->amplitude[i] * (component < 3 ? k[component] : 1.0);
}

/* The columns (decay, component), component in [from, to), that are not all zero. */
typedef struct af__harmonic_columns {
    size_t count, decay[AF__COLUMNS], component[AF__COLUMNS];
} af__harmonic_columns;

static af__harmonic_columns af__columns_of(const af__generator *g, size_t from, size_t to) {
    af__harmonic_columns columns = AF__ZERO;
    size_t i, k, decay;
    for (k = from; k < to; k++)
        for (decay = 0; decay < AF__DECAYS; decay++) {
            for (i = 0; i < g->harmonics; i++)
                if (af__harmonic_weight(g, i, decay, k) != 0.0) break;
            if (i == g->harmonics) continue;
            columns.decay[columns.count] = decay;
            columns.component[columns.count++] = k;
        }
    return columns;
}

/* terms (B,K) -> their weighted sums, one for each column: (columns,1,B). */
static af_expr af__column_sums(const af__generator *g, const af__harmonic_columns *columns,
                               af_expr terms) {
    af__arena scratch = AF__ZERO;
    size_t i, k, dims[AF_RANK_MAX], n = columns->count, shape[2];
    double *weight;
    scratch.allocator = g->c->allocator;
    if (af_shape(g->c, terms, dims) != 2) return af__none;
    weight = AF__ARRAY(&scratch, double, g->harmonics * n);
    if (!weight) {
        af__fail_memory(g->c, "the harmonics");
        return af__none;
    }
    for (i = 0; i < g->harmonics; i++)
        for (k = 0; k < n; k++)
            weight[i * n + k] =
                af__harmonic_weight(g, i, columns->decay[k], columns->component[k]);
    shape[0] = g->harmonics;
    shape[1] = n;
    terms = af_matmul(g->c, terms, af_constant_array(g->c, 2, shape, weight));
    af__arena_free(&scratch);
    return af__from_rows(g->c, terms, 1, dims[0]);
}

/* cos(k.theta) and sin(k.theta), (B,K). */
typedef struct af__tables {
    af_expr cosine, sine;
} af__tables;

static af__tables af__tables_of(const af__generator *g, af_expr theta) {
    af_context *c = g->c;
    size_t dims[2];
    af_expr phase;
    af__tables t;
    dims[0] = g->harmonics;
    dims[1] = 3;
    phase = af_transpose(c, af_constant_array(c, 2, dims, g->harmonic));
    phase = af_matmul(c, af__to_rows(c, theta), phase);
    t.cosine = af_cos(c, phase);
    t.sine = af_sin(c, phase);
    return t;
}

/* The component of k: its columns' sums, each with its decay; none where all are zero. */
static af_expr af__row_sum(const af__generator *g, const af__harmonic_columns *columns,
                           size_t component, const af_expr *decay, af_expr sums) {
    af_expr all = af__none;
    size_t i;
    for (i = 0; i < columns->count; i++) {
        af_expr one;
        if (columns->component[i] != component) continue;
        one = af_mul(g->c, decay[columns->decay[i]], af__component(g->c, sums, i));
        all = all.id ? af_add(g->c, all, one) : one;
    }
    return all;
}

/* The network's output at J' (3,1,B), (B,K or 2K), and the decays. */
static af_expr af__row_coefficients(const af__generator *g, af_expr jp, af_expr decay[]) {
    af__shape_of_orbit o = af__orbit_shape(g->c, jp);
    af__decay_factors(g->c, &o, decay);
    return af_net_apply(g->net, af__to_rows(g->c, af__features(g, &o)), af__none);
}

/* a_k first + b_k second: (B,K). */
static af_expr af__row_terms(const af__generator *g, af_expr out, af_expr first, af_expr second) {
    af_context *c = g->c;
    af_expr terms = af_mul(c, af_slice(c, out, 1, 0, g->harmonics), first);
    if (g->desc.time_symmetric != AF_SYMMETRY_NO) return terms;
    out = af_slice(c, out, 1, g->harmonics, g->harmonics);
    return af_add(c, terms, af_mul(c, out, second));
}

/* dG/dtheta (3,1,B). */
static af_expr af__row_gradient(const af__generator *g, const af__tables *t, af_expr jp) {
    af_context *c = g->c;
    af__harmonic_columns columns = af__columns_of(g, 0, 3);
    af_expr decay[AF__DECAYS], slope[3], terms, sums;
    size_t k, dims[AF_RANK_MAX] = {0};
    terms = af__row_coefficients(g, jp, decay);
    terms = af__row_terms(g, terms, t->cosine, af_neg(c, t->sine));
    sums = af__column_sums(g, &columns, terms);
    af_shape(c, jp, dims);
    dims[0] = 1;
    for (k = 0; k < 3; k++) {
        slope[k] = af__row_sum(g, &columns, k, decay, sums);
        if (!slope[k].id && sums.id) slope[k] = af_full(c, 3, dims, 0.0);
    }
    return af_concat(c, 0, 3, slope);
}

/* dG/dJ' (3,1,B). */
static af_expr af__row_shift(const af__generator *g, const af__tables *t, af_expr jp) {
    af_context *c = g->c;
    af__harmonic_columns columns = af__columns_of(g, 3, 4);
    af_expr decay[AF__DECAYS], terms, value, slope = af__none;
    size_t dims[AF_RANK_MAX] = {0}, rank;
    terms = af__row_coefficients(g, jp, decay);
    terms = af__row_terms(g, terms, t->sine, af_offset(c, t->cosine, -1.0));
    value = af__row_sum(g, &columns, 3, decay, af__column_sums(g, &columns, terms));
    rank = af_shape(c, value, dims);
    if (value.id) af_vjp(c, value, af_full(c, rank, dims, 1.0), 1, &jp, &slope);
    return slope;
}

static af__map af__row_map(const af__generator *g, af_expr theta, af_expr j, af_expr jp) {
    af__tables t = af__tables_of(g, theta);
    af__map m;
    m.action = af_sub(g->c, j, af__row_gradient(g, &t, jp)); /* eq. 5 */
    m.angle = af_add(g->c, theta, af__row_shift(g, &t, jp)); /* eq. 6 */
    if (g->point) af__point_transformation(g, &m, af__none);
    return m;
}

/* af__lack_of for stars that stand alone. J'_phi of an axisymmetric G is J_phi: its tangent is not
 * carried. */
static af__lack af__row_lack(const af__generator *g, af_expr theta, af_expr j, af_expr jp) {
    af_context *c = g->c;
    af__tables t = af__tables_of(g, theta);
    af_expr slope = af__row_gradient(g, &t, jp), units = af__units3(c, jp), stacked, det;
    size_t first = g->desc.axisymmetric == AF_SYMMETRY_YES ? 1 : 0;
    af__matrix3 a;
    af__lack l;
    l.lack = l.step = af__none;
    units = af_slice(c, units, 0, first, 3 - first);
    if (af_jvp(c, 1, &slope, 1, &jp, &units, &stacked) != AF_OK) return l;
    if (first) stacked = af_pad(c, stacked, 0, first, 3);
    l.lack = af_sub(c, af_sub(c, j, slope), jp);
    a = af__one_plus(c, stacked, 0);
    l.step = af__solve3(c, &a, l.lack, &det);
    l.step = af_where(c, af_less(c, af_constant(c, 0.1), det), l.step, l.lack);
    return l;
}

/* ---- programs ---- */

enum {
    AF__FAST_LANES = 64,  /* 150 harmonics of so many stars are 77 kB */
    AF__FAST_SHEARS = 256, /* lanes of a map of shears, which has smaller arrays */
    AF__FAST_LEAST = 8,   /* lanes; fewer are not worth it */
    AF__ROUGH_STEPS = 8,  /* values of the network in single precision, at most */
    AF__FAST_STEPS = 20,  /* values in all, of which most orbits need 6 to 9 */
    AF__FAST_LEFT = 2048  /* stars that are left are done when they are half as many */
};

/* Of the residual over action_scale: steps in single precision go on while a quarter of the stars
 * are above FAR; a star below ENOUGH rests; below NOISE the difference of two such residuals, which
 * are good to some 1e-7, says little; FORESEEN: from here on a step need not be verified when the
 * one before tells what it will gain. */
#define AF__ROUGH_FAR 1e-4
#define AF__ROUGH_ENOUGH 1e-6
#define AF__ROUGH_NOISE 1e-5
#define AF__FORESEEN 1e-8

typedef struct af__tool {
    af_func *f;
    af_workspace *work;
} af__tool;

/* A star being solved. */
typedef struct af__lane {
    size_t star, steps;               /* SIZE_MAX: none */
    int rough;                        /* the last lack is one of single precision */
    double jp[3], lack[3], before[3];    /* J'; what was lacking at the one before, and that */
    double residual;                     /* sum of |lack| */
    double inverse[9];                   /* of -d lack/dJ' */
} af__lane;

/* Arrays of the value program in single precision. */
typedef struct af__rough {
    float *params, *table[2], *j, *jp, *lack;
} af__rough;

typedef struct af__fast {
    const af_finder *finder;
    af__arena arena;
    size_t lanes, row;       /* K, or 0 */
    int two_tables, solves;  /* the series has cosines too; there is a J' */
    af__tool toy;            /* xv -> good, J, theta[, cos, sin]; of shears J'' alone */
    af__tool whole;          /* of shears: good, J'', theta'' */
    af__tool value, map;     /* of a Fourier G: lack; J'', theta'' */
    af__tool single;         /* lack in single precision */
    af__rough rough;
    af__lane *fresh;         /* (L): new stars, after the steps in single precision */
    double mass_g, scale;
    double *xv;                             /* (6,1,L) */
    double *good, *j, *theta, *table[2];    /* (L), (3,1,L), (3,1,L), (L,K): new stars */
    size_t first, ready, next;              /* the stars there: how many, and the next to go */
    double *own_j, *own_theta, *own_jp, *own_table[2], *lack; /* those being solved */
    af__lane *lane;
    double *map_j, *map_theta, *map_jp, *action, *angle;      /* those settled */
    size_t *map_star, settled;
    size_t *left, left_count;               /* (AF__FAST_SEGMENT) */
} af__fast;

static void af__tool_free(af__tool *t) {
    af_workspace_destroy(t->work);
    af_func_destroy(t->f);
}

static void af__fast_destroy(af__fast *s) {
    af_allocator allocator;
    if (!s) return;
    allocator = s->arena.allocator;
    af__tool_free(&s->toy);
    af__tool_free(&s->whole);
    af__tool_free(&s->value);
    af__tool_free(&s->map);
    af__tool_free(&s->single);
    af__arena_free(&s->arena);
    allocator.release(s, sizeof *s, allocator.user);
}

static af_status af__fast_compile(af_context *c, af__tool *t, const af_expr *in, size_t inputs,
                                  const af_expr *out, size_t outputs, af_precision precision,
                                  int threads) {
    af_func_desc d = AF__ZERO;
    d.precision = precision;
    d.inputs = in;
    d.input_count = inputs;
    d.outputs = out;
    d.output_count = outputs;
    d.label = "single stars";
    if (af_compile(c, &d, &t->f) != AF_OK) return c->status;
    return af_context_workspace(c, t->f, threads, &t->work);
}

static af_expr af__fast_input(af__fast *s, const char *label, size_t components) {
    size_t d[3];
    d[0] = components;
    d[1] = 1;
    d[2] = s->lanes;
    return af_input(s->finder->context, label, 3, d);
}

/* The programs that begin with xv. */
static af_status af__fast_toys(af__fast *s, int threads) {
    const af__generator *g = &s->finder->g;
    af_context *c = g->c;
    af_expr in[4], out[5];
    af__ordinary o;
    af_status status;
    in[0] = af_params_input(g->params);
    in[1] = af_input(c, "G M", 0, NULL);
    in[2] = af_input(c, "b", 0, NULL);
    in[3] = af__fast_input(s, "xv", 6);
    o = af__ordinary_toy(c, in[1], in[2], in[3]);
    out[0] = o.good;
    o.j = af_scale(c, o.j, 1.0 / g->action_scale);
    if (g->shears) {
        af__map m = af__shears_map(g, AF_SLOPES_EXACT, o.theta, o.j);
        out[1] = m.action;
        out[2] = af__wrap_turns(c, m.angle);
        status = af__fast_compile(c, &s->toy, in, 4, out, 2, AF_F64, threads);
        if (status != AF_OK) return status;
        return af__fast_compile(c, &s->whole, in, 4, out, 3, AF_F64, threads);
    } else {
        af__tables t;
        o.theta = af__wrap_turns(c, o.theta);
        t = af__tables_of(g, o.theta);
        out[1] = o.j;
        out[2] = o.theta;
        out[3] = t.cosine;
        out[4] = t.sine;
        return af__fast_compile(c, &s->toy, in, 4, out, s->two_tables ? 5 : 4, AF_F64, threads);
    }
}

static af_status af__fast_solver(af__fast *s, int threads) {
    const af__generator *g = &s->finder->g;
    af_context *c = g->c;
    af_expr in[5], out[2], slope;
    af__tables t;
    af__map m;
    size_t d[2], n = 1;
    af_status status;
    d[0] = s->lanes;
    d[1] = g->harmonics;
    in[0] = af_params_input(g->params);
    in[n++] = t.cosine = af_input(c, "cos", 2, d);
    t.sine = s->two_tables ? af_input(c, "sin", 2, d) : t.cosine;
    if (s->two_tables) in[n++] = t.sine;
    in[n++] = af__fast_input(s, "J", 3);
    in[n++] = af__fast_input(s, "J'", 3);
    slope = af__row_gradient(g, &t, in[n - 1]);
    out[0] = af_sub(c, af_sub(c, in[n - 2], slope), in[n - 1]);
    status = af__fast_compile(c, &s->value, in, n, out, 1, AF_F64, threads);
    if (status == AF_OK)
        status = af__fast_compile(c, &s->single, in, n, out, 1, AF_F32, threads);
    if (status != AF_OK) return status;
    in[1] = af__fast_input(s, "theta", 3);
    in[2] = af__fast_input(s, "J", 3);
    in[3] = af__fast_input(s, "J'", 3);
    m = af__row_map(g, in[1], in[2], in[3]);
    out[0] = m.action;
    out[1] = af__wrap_turns(c, m.angle);
    return af__fast_compile(c, &s->map, in, 4, out, 2, AF_F64, threads);
}

static int af__fast_memory(af__fast *s) {
    size_t i, n = s->lanes, three = 3 * n;
    double **array[] = {&s->j, &s->theta, &s->own_j, &s->own_theta, &s->own_jp, &s->lack,
                        &s->map_j, &s->map_theta, &s->map_jp, &s->action, &s->angle};
    int good = 1;
    for (i = 0; i < sizeof array / sizeof array[0]; i++) {
        size_t k;
        *array[i] = AF__ARRAY(&s->arena, double, three);
        good = good && *array[i];
        for (k = 0; k < three && good; k++) (*array[i])[k] = 1.0; /* idle lanes: some orbit */
    }
    s->xv = AF__ARRAY(&s->arena, double, 6 * n);
    s->good = AF__ARRAY(&s->arena, double, n);
    for (i = 0; i < 2; i++) {
        size_t size = i == 0 || s->two_tables ? n * s->row : 1;
        s->table[i] = AF__ARRAY(&s->arena, double, size);
        s->own_table[i] = AF__ARRAY(&s->arena, double, size);
        good = good && s->table[i] && s->own_table[i];
    }
    s->lane = AF__ARRAY(&s->arena, af__lane, n);
    s->fresh = AF__ARRAY(&s->arena, af__lane, n);
    s->map_star = AF__ARRAY(&s->arena, size_t, n);
    s->left = AF__ARRAY(&s->arena, size_t, AF__FAST_LEFT);
    return good && s->xv && s->good && s->lane && s->fresh && s->map_star && s->left;
}

static int af__rough_memory(af__fast *s) {
    af__rough *r = &s->rough;
    size_t n = s->lanes;
    r->params = AF__ARRAY(&s->arena, float, af_params_size(s->finder->g.params));
    r->table[0] = AF__ARRAY(&s->arena, float, n * s->row);
    r->table[1] = AF__ARRAY(&s->arena, float, s->two_tables ? n * s->row : 1);
    r->j = AF__ARRAY(&s->arena, float, 3 * n);
    r->jp = AF__ARRAY(&s->arena, float, 3 * n);
    r->lack = AF__ARRAY(&s->arena, float, 3 * n);
    return r->params && r->table[0] && r->table[1] && r->j && r->jp && r->lack;
}

/* For a finder with a Fourier G or shears and at least AF__FAST_LEAST lanes; otherwise, and when it
 * fails, *out is NULL. */
static af_status af__fast_create(const af_finder *f, size_t block, int threads, af__fast **out) {
    af_context *c = f->context;
    const af_finder_desc *d = &f->g.desc;
    af__fast *s;
    af_status status = AF_OK;
    *out = NULL;
    if (block < AF__FAST_LEAST || d->generator == AF_GENERATOR_NETWORK) return AF_OK;
    s = (af__fast *)c->allocator.allocate(sizeof *s, c->allocator.user);
    if (!s) return af__fail_memory(c, "an evaluator");
    memset(s, 0, sizeof *s);
    s->finder = f;
    s->arena.allocator = c->allocator;
    s->solves = d->generator == AF_GENERATOR_FOURIER;
    s->lanes = s->solves ? (size_t)AF__FAST_LANES : (size_t)AF__FAST_SHEARS;
    if (block < s->lanes) s->lanes = block;
    s->row = s->solves ? f->g.harmonics : 0;
    s->two_tables = s->solves && d->time_symmetric == AF_SYMMETRY_NO;
    if (!af__fast_memory(s) || (s->solves && !af__rough_memory(s)))
        status = af__fail_memory(c, "an evaluator");
    if (status == AF_OK) status = af__fast_toys(s, threads);
    if (status == AF_OK && s->solves) status = af__fast_solver(s, threads);
    if (status != AF_OK) {
        af__fast_destroy(s);
        return status;
    }
    *out = s;
    return AF_OK;
}
