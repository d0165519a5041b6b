#include <stdlib.h>

/* ---- fields ---- */

static af_status dp__field_potential(const dp_field *f, size_t n, const double *x, double *value,
                                     double *acceleration, double *error) {
    (void)error;
    return dp_potential_evaluate((dp_potential *)f->user, n, x, value, acceleration, NULL);
}

AF_API dp_field dp_potential_field(dp_potential *p) {
    dp_field f = DP__ZERO;
    f.evaluate = dp__field_potential;
    f.user = p;
    f.inputs = 3;
    memcpy(f.centre, dp_potential_frame(p).centre, 2 * sizeof(double));
    return f;
}

static af_status dp__field_recovered(const dp_field *f, size_t n, const double *x, double *value,
                                     double *acceleration, double *error) {
    const dp_recovered *r = (const dp_recovered *)f->user;
    af_status s = AF_OK;
    size_t i, j;
    for (i = 0; i < n && s == AF_OK; i++) {
        double u[3], radius;
        dp_radial at = DP__ZERO;
        for (j = 0; j < 3; j++) u[j] = x[3 * i + j] - f->centre[j];
        radius = sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]);
        s = dp_recovered_evaluate(r, 1, &radius, &at);
        value[i] = at.phi;
        error[i] = at.phi_error;
        for (j = 0; j < 3; j++) acceleration[3 * i + j] = at.force * u[j] / radius;
    }
    return s;
}

AF_API dp_field dp_recovered_field(const dp_recovered *r) {
    dp_field f = DP__ZERO;
    f.evaluate = dp__field_recovered;
    f.user = (void *)r;
    f.inputs = 3;
    f.symmetry = DP_SPHERICAL;
    memcpy(f.centre, r->desc.centre, sizeof f.centre);
    return f;
}

static af_status dp__field_axisymmetric(const dp_field *f, size_t n, const double *x, double *value,
                                        double *acceleration, double *error) {
    const dp_axisymmetric *r = (const dp_axisymmetric *)f->user;
    af_status s = AF_OK;
    size_t i, j;
    for (i = 0; i < n && s == AF_OK; i++) {
        double u[3], place[2], along;
        dp_meridional at = DP__ZERO;
        for (j = 0; j < 3; j++) u[j] = x[3 * i + j] - f->centre[j];
        place[0] = hypot(u[0], u[1]);
        place[1] = u[2];
        s = dp_axisymmetric_evaluate(r, 1, place, &at);
        along = place[0] > 0.0 ? at.force[0] / place[0] : 0.0; /* 0 on the axis */
        value[i] = at.phi;
        error[i] = at.phi_error;
        for (j = 0; j < 2; j++) acceleration[3 * i + j] = along * u[j];
        acceleration[3 * i + 2] = at.force[1];
    }
    return s;
}

AF_API dp_field dp_axisymmetric_field(const dp_axisymmetric *r) {
    dp_field f = DP__ZERO;
    f.evaluate = dp__field_axisymmetric;
    f.user = (void *)r;
    f.inputs = 3;
    f.symmetry = DP_AXISYMMETRIC;
    memcpy(f.centre, r->desc.centre, sizeof f.centre);
    return f;
}

static af_status dp__field_accel(const dp_field *f, size_t n, const double *x, double *value,
                                 double *acceleration, double *error) {
    (void)error;
    af_accel_evaluate((af_accel_evaluator *)f->user, n, x, acceleration, value);
    return AF_OK;
}

AF_API dp_field dp_accel_field(af_accel_evaluator *e) {
    dp_field f = DP__ZERO;
    f.evaluate = dp__field_accel;
    f.user = e;
    f.inputs = 3;
    return f;
}

/* dH/dJ are the frequencies. */
static af_status dp__field_koopman(const dp_field *f, size_t n, const double *x, double *value,
                                   double *acceleration, double *error) {
    size_t i;
    (void)error;
    af_koopman_frequencies((af_koopman_evaluator *)f->user, n, x, acceleration, value);
    for (i = 0; i < n * f->inputs; i++) acceleration[i] = -acceleration[i];
    return AF_OK;
}

AF_API dp_field dp_koopman_field(af_koopman_evaluator *e, size_t freedoms) {
    dp_field f = DP__ZERO;
    f.evaluate = dp__field_koopman;
    f.user = e;
    f.inputs = freedoms;
    f.symmetry = DP_NO_SYMMETRY;
    return f;
}

/* ---- values at places ---- */

enum {
    DP__DIRECTIONS = 64, /* a symmetric field is averaged over so many at each place */
    DP__LATITUDES = 8    /* and looked at over so many, with as many azimuths and radii */
};

/* The field at n points x (n,inputs). */
typedef struct dp__asked {
    double *x, *value, *acceleration, *error;
} dp__asked;

static af_status dp__asked_make(af_context *c, dp__arena *arena, size_t n, size_t inputs,
                                dp__asked *a) {
    size_t i;
    a->x = DP__ARRAY(arena, double, n * inputs);
    a->value = DP__ARRAY(arena, double, n);
    a->acceleration = DP__ARRAY(arena, double, n * inputs);
    a->error = DP__ARRAY(arena, double, n);
    if (!a->x || !a->value || !a->acceleration || !a->error)
        return dp__fail_memory(c, "the values of a field");
    for (i = 0; i < n * inputs; i++) a->acceleration[i] = HUGE_VAL - HUGE_VAL;
    return AF_OK;
}

static af_status dp__asked_run(af_context *c, const dp_field *f, size_t n, dp__asked *a) {
    size_t i, inputs = f->inputs;
    af_status s = f->evaluate(f, n, a->x, a->value, a->acceleration, a->error);
    for (i = 0; i < n && s == AF_OK; i++) {
        const double *x = a->x + inputs * i;
        if (dp__is_finite(a->value[i]) && a->error[i] >= 0.0 && dp__is_finite(a->error[i]))
            continue;
        s = af_fail(c, AF_ERROR_NONFINITE,
                    "distill: the field is %g with a standard error of %g at (%g, %g, %g): ask it "
                    "where it is finite", a->value[i], a->error[i], x[0],
                    inputs > 1 ? x[1] : 0.0, inputs > 2 ? x[2] : 0.0);
    }
    return s;
}

/* By latitude means (radii, latitudes): variances within them, between them, and their range. */
static void dp__symmetry_sums(const double *value, double *azimuth, double *latitude,
                              double *range) {
    enum { N = DP__LATITUDES };
    const double n = (double)N;
    double low = HUGE_VAL, high = -HUGE_VAL, mean[N], all;
    size_t r, l, k;
    *azimuth = *latitude = 0.0;
    for (r = 0; r < (size_t)N; r++, value += N * N) {
        for (l = 0, all = 0.0; l < (size_t)N; l++) {
            for (k = 0, mean[l] = 0.0; k < (size_t)N; k++) mean[l] += value[N * l + k] / n;
            for (k = 0; k < (size_t)N; k++)
                *azimuth += (value[N * l + k] - mean[l]) * (value[N * l + k] - mean[l]);
            all += mean[l] / n;
        }
        for (l = 0; l < (size_t)N; l++) *latitude += (mean[l] - all) * (mean[l] - all);
        low = fmin(low, all);
        high = fmax(high, all);
    }
    *azimuth = sqrt(*azimuth / (n * n * n));
    *latitude = sqrt(*latitude / (n * n));
    *range = high - low;
}

AF_API af_status dp_field_symmetry(af_context *c, const dp_field *field, double low, double high,
                                   dp_symmetry *out) {
    enum { N = DP__LATITUDES };
    dp__arena arena = dp__arena_open(c);
    const double n = (double)N;
    dp__asked a;
    double azimuth, latitude, range;
    size_t i;
    af_status s;
    *out = field->inputs == 3 ? field->symmetry : DP_NO_SYMMETRY;
    if (*out != DP_SYMMETRY_AUTO) return AF_OK;
    if (!(low >= 0.0) || !(high > low) || !dp__is_finite(high))
        return af_fail(c, AF_ERROR_ARGUMENT,
                       "distill: radii from %g to %g; they must rise from 0 or more", low, high);
    s = dp__asked_make(c, &arena, N * N * N, 3, &a);
    for (i = 0; i < (size_t)(N * N * N) && s == AF_OK; i++) {
        double r = low + (high - low) * ((double)(i / (N * N)) + 0.5) / n;
        double up = 2.0 * ((double)(i / N % N) + 0.5) / n - 1.0, across = sqrt(1.0 - up * up);
        double turn = 2.0 * DP__PI * ((double)(i % N) + 0.5) / n;
        a.x[3 * i] = field->centre[0] + r * across * cos(turn);
        a.x[3 * i + 1] = field->centre[1] + r * across * sin(turn);
        a.x[3 * i + 2] = field->centre[2] + r * up;
    }
    if (s == AF_OK) s = dp__asked_run(c, field, N * N * N, &a);
    if (s == AF_OK) {
        dp__symmetry_sums(a.value, &azimuth, &latitude, &range);
        *out = latitude <= fmax(0.01 * range, 2.0 * azimuth) ? DP_SPHERICAL : DP_AXISYMMETRIC;
    }
    dp__arena_free(&arena);
    return s;
}

/* ---- the data ---- */

typedef struct dp__distill {
    dp_distilled found; /* first: it is what the caller has */
    dp__arena arena;
    af_context *c;
    const dp_field *field;
    dp_distill_desc desc;
    dp_symbolic_desc search;
    dp_vocabulary vocabulary;
    size_t variables, each; /* each: points that are averaged for a row */
    double *column[3], *y, *weight, *a;
    const double *columns[3];
    dp_symbolic_result *round[2];
    dp_symbolic_entry front[DP_FORMULA_MAX + 1];
    double *force_error;
} dp__distill;

/* Direction k: evenly about the axis; over the sphere by the golden angle (a Fibonacci lattice). */
static void dp__direction(int about_axis, size_t k, double u[3]) {
    double turn = about_axis ? 1.0 / (double)DP__DIRECTIONS : 0.5 * (3.0 - sqrt(5.0));
    double z = about_axis ? 0.0 : 1.0 - (2.0 * (double)k + 1.0) / (double)DP__DIRECTIONS;
    double s = sqrt(1.0 - z * z), angle = 2.0 * DP__PI * turn * (double)k;
    u[0] = s * cos(angle);
    u[1] = s * sin(angle);
    u[2] = z;
}

/* Place `row` of the grid: its variables. */
static void dp__distill_place(const dp__distill *s, size_t row, double at[3]) {
    const dp_distill_desc *d = &s->desc;
    size_t k;
    for (k = s->variables; k-- > 0; row /= d->count[k]) {
        double part = (double)(row % d->count[k]) / (double)(d->count[k] - 1);
        at[k] = s->found.symmetry == DP_SPHERICAL ? d->low[k] * pow(d->high[k] / d->low[k], part)
                                                  : d->low[k] + (d->high[k] - d->low[k]) * part;
    }
}

/* The row's points x (each,inputs), and its variables. */
static void dp__distill_points(dp__distill *s, size_t row, double *x) {
    const dp_field *f = s->field;
    dp_symmetry symmetry = s->found.symmetry;
    double at[3] = {0.0, 0.0, 0.0}, u[3];
    size_t k, j;
    if (s->desc.places) {
        memcpy(x, s->desc.places + f->inputs * row, f->inputs * sizeof *x);
        for (j = 0; j < f->inputs; j++) at[j] = x[j] - f->centre[j];
        if (symmetry == DP_AXISYMMETRIC || symmetry == DP_SPHERICAL) at[0] = hypot(at[0], at[1]);
        if (symmetry == DP_AXISYMMETRIC) at[1] = at[2];
        if (symmetry == DP_SPHERICAL) at[0] = hypot(at[0], at[2]);
    } else {
        dp__distill_place(s, row, at);
        for (k = 0; k < s->each; k++) {
            dp__direction(symmetry == DP_AXISYMMETRIC, k, u);
            for (j = 0; j < f->inputs; j++) {
                double away = symmetry == DP_NO_SYMMETRY ? at[j] : at[0] * u[j];
                if (symmetry == DP_AXISYMMETRIC && j == 2) away = at[1];
                x[f->inputs * k + j] = f->centre[j] + away;
            }
        }
    }
    for (k = 0; k < s->variables; k++) s->column[k][row] = at[k];
}

/* The acceleration along variable k at the row's point x. */
static double dp__distill_along(const dp__distill *s, size_t k, const double *x, const double *a) {
    const double *centre = s->field->centre;
    double u[3] = {0.0, 0.0, 0.0}, r;
    size_t j;
    if (s->found.symmetry == DP_NO_SYMMETRY) return a[k];
    if (s->found.symmetry == DP_AXISYMMETRIC && k == 1) return a[2];
    for (j = 0; j < (s->found.symmetry == DP_SPHERICAL ? 3u : 2u); j++) u[j] = x[j] - centre[j];
    r = sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]);
    return (u[0] * a[0] + u[1] * a[1] + u[2] * a[2]) / r; /* on the axis 0/0: none */
}

/* Means over the points of each row; errors are taken to be alike at all points of one. */
static void dp__distill_mean(dp__distill *s, const dp__asked *a) {
    double square = 0.0, low = HUGE_VAL, high = -HUGE_VAL, share = 1.0 / (double)s->each;
    size_t row, k, v, n = s->found.data.n, inputs = s->field->inputs;
    int errors = 1, forces = 0;
    for (row = 0; row < n; row++) {
        double error = 0.0;
        for (k = row * s->each; k < (row + 1) * s->each; k++) {
            s->y[row] += share * a->value[k];
            error += share * a->error[k] * a->error[k];
            for (v = 0; v < s->variables; v++)
                s->a[v * n + row] += share * dp__distill_along(s, v, a->x + inputs * k,
                                                               a->acceleration + inputs * k);
        }
        for (k = row * s->each; k < (row + 1) * s->each; k++)
            square += (a->value[k] - s->y[row]) * (a->value[k] - s->y[row]) * share / (double)n;
        low = fmin(low, s->y[row]);
        high = fmax(high, s->y[row]);
        s->weight[row] = 1.0 / error;
        errors &= error > 0.0;
        forces |= dp__is_finite(s->a[row]);
    }
    s->found.scatter = sqrt(square) / (high - low);
    if (errors) s->found.data.weights = s->weight;
    if (forces) s->found.acceleration = s->a;
}

static af_status dp__distill_ask(dp__distill *s) {
    dp__arena work = dp__arena_open(s->c);
    dp__asked a;
    size_t n = s->found.data.n, row, k;
    af_status status = dp__asked_make(s->c, &work, n * s->each, s->field->inputs, &a);
    for (k = 0; k < s->variables; k++)
        s->columns[k] = s->column[k] = DP__ARRAY(&s->arena, double, n);
    s->y = DP__ARRAY(&s->arena, double, n);
    s->weight = DP__ARRAY(&s->arena, double, n);
    s->a = DP__ARRAY(&s->arena, double, s->variables * n);
    if (status == AF_OK && (!s->column[0] || !s->column[s->variables > 1] ||
                            !s->column[s->variables - 1] || !s->y || !s->weight || !s->a))
        status = dp__fail_memory(s->c, "the values of a field");
    if (status == AF_OK) {
        for (row = 0; row < n; row++)
            dp__distill_points(s, row, a.x + row * s->each * s->field->inputs);
        status = dp__asked_run(s->c, s->field, n * s->each, &a);
    }
    if (status == AF_OK) dp__distill_mean(s, &a);
    dp__arena_free(&work);
    s->found.data.columns = s->columns;
    s->found.data.y = s->y;
    return status;
}

/* ---- options ---- */

static const char *const dp__galactic[] = {"kpc", "km", "s"};
static const dp_symbol dp__spherical_symbols[] = {{"r", DP_VARIABLE, {{1}}, 0},
                                                  {"GM", DP_FREE, {{1, 2, -2}}, 0},
                                                  {"b", DP_FREE, {{1}}, 0}};
static const dp_symbol dp__axisymmetric_symbols[] = {{"R", DP_VARIABLE, {{1}}, 0},
                                                     {"z", DP_VARIABLE, {{1}}, 0},
                                                     {"GM", DP_FREE, {{1, 2, -2}}, 0},
                                                     {"a", DP_FREE, {{1}}, 0},
                                                     {"b", DP_FREE, {{1}}, 0}};

static af_status dp__distill_vocabulary(dp__distill *s) {
    dp_vocabulary *v = &s->vocabulary;
    size_t count;
    if (s->desc.vocabulary) {
        *v = *s->desc.vocabulary;
        count = dp_vocabulary_count(v, DP_VARIABLE);
        if (count == s->variables) return AF_OK;
        return af_fail(s->c, AF_ERROR_ARGUMENT,
                       "distill: the vocabulary has %zu variables and the field is a function of "
                       "%zu: r where spherical, R and z where axisymmetric", count, s->variables);
    }
    if (s->found.symmetry == DP_NO_SYMMETRY)
        return af_fail(s->c, AF_ERROR_ARGUMENT,
                       "distill: without a symmetry there is no default vocabulary: give one with "
                       "%zu variables and their units", s->variables);
    v->symbols = s->variables == 1 ? dp__spherical_symbols : dp__axisymmetric_symbols;
    v->symbol_count = s->variables == 1 ? 3 : 5;
    v->target.power[1] = 2.0;
    v->target.power[2] = -2.0;
    v->bases = dp__galactic;
    v->base_count = 3;
    return AF_OK;
}

/* Where; the numbers of places. */
static af_status dp__distill_grid(dp__distill *s) {
    static const size_t count[4][3] = {{200, 0, 0}, {24, 17, 0}, {20, 20, 0}, {8, 8, 8}};
    dp_distill_desc *d = &s->desc;
    int spherical = s->found.symmetry == DP_SPHERICAL, plane = s->found.symmetry == DP_AXISYMMETRIC;
    size_t k;
    s->found.data.n = d->place_count;
    if (d->places)
        return d->place_count ? AF_OK : af_fail(s->c, AF_ERROR_ARGUMENT,
                                                "distill: place_count is 0 with places given");
    if (plane && d->low[1] == 0.0 && d->high[1] == 0.0) {
        d->high[1] = 0.5 * d->high[0];
        d->low[1] = -d->high[1];
    }
    s->found.data.n = 1;
    for (k = 0; k < s->variables; k++) {
        if (!d->count[k]) d->count[k] = count[plane ? 1 : s->variables == 1 ? 0 : s->variables][k];
        if (!(d->high[k] > d->low[k]) || !dp__is_finite(d->high[k] - d->low[k]) ||
            (spherical && !(d->low[k] > 0.0)) || (plane && k == 0 && !(d->low[k] >= 0.0)) ||
            d->count[k] < 2)
            return af_fail(s->c, AF_ERROR_ARGUMENT,
                           "distill: variable %zu goes from %g to %g in %zu places; it needs two "
                           "or more, low < high, %s", k + 1, d->low[k], d->high[k], d->count[k],
                           spherical ? "and radii above 0" : "and R not below 0");
        s->found.data.n *= d->count[k];
    }
    return AF_OK;
}

static af_status dp__distill_open(dp__distill *s) {
    const dp_field *f = s->field;
    dp_distill_desc *d = &s->desc;
    af_status status = AF_OK;
    if (d->start_canary != 0 || d->end_canary != 0)
        return af_fail(s->c, AF_ERROR_ARGUMENT,
                       "the dp_distill_desc was not zeroed: begin with dp_distill_desc d = {0}");
    if (!f->evaluate || f->inputs < 1 || f->inputs > 3)
        return af_fail(s->c, AF_ERROR_ARGUMENT,
                       "distill: the field has %zu inputs, or no evaluate; it may have 1 to 3",
                       f->inputs);
    s->found.symmetry = d->symmetry;
    if (d->symmetry == DP_SYMMETRY_AUTO && !d->places)
        status = dp_field_symmetry(s->c, f, d->low[0], d->high[0], &s->found.symmetry);
    else if (d->symmetry == DP_SYMMETRY_AUTO)
        s->found.symmetry = f->inputs == 3 ? f->symmetry : DP_NO_SYMMETRY;
    if (status != AF_OK) return status;
    if ((int)s->found.symmetry <= 0 || s->found.symmetry > DP_NO_SYMMETRY ||
        (s->found.symmetry != DP_NO_SYMMETRY && f->inputs != 3))
        return af_fail(s->c, AF_ERROR_ARGUMENT,
                       "distill: symmetry %d of a field of %zu inputs; at places, and where there "
                       "are not three inputs, say which it is", (int)d->symmetry, f->inputs);
    s->variables = s->found.symmetry == DP_SPHERICAL ? 1
                   : s->found.symmetry == DP_AXISYMMETRIC ? 2 : f->inputs;
    s->each = d->places || s->found.symmetry == DP_NO_SYMMETRY || f->symmetry == DP_SPHERICAL
                  ? 1 : (size_t)DP__DIRECTIONS;
    status = dp__distill_grid(s);
    return status == AF_OK ? dp__distill_vocabulary(s) : status;
}

/* ---- the search ---- */

/* The NRMSE at which chi^2 is the number of points. */
static double dp__distill_floor(const dp_data_set *d) {
    double sum = 0.0, mean = 0.0, variance = 0.0;
    size_t i;
    for (i = 0; i < d->n; i++) {
        sum += d->weights[i];
        mean += d->weights[i] * d->y[i];
    }
    mean /= sum;
    for (i = 0; i < d->n; i++) variance += d->weights[i] * (d->y[i] - mean) * (d->y[i] - mean);
    return sqrt((double)d->n / variance);
}

static af_status dp__distill_round(dp__distill *s, size_t round, uint32_t operators) {
    dp_vocabulary v = s->vocabulary;
    dp_symbolic_desc d = s->search;
    v.operators = operators;
    if (round && d.seconds > 0.0) d.seconds -= s->round[0]->seconds;
    return dp_symbolic_search(s->c, &v, &s->found.data, 1, &d, &s->round[round]);
}

/* Of two and more variables algebra first, which is the quickest, then logarithms, too. Potentials
 * have no exponentials, which would take another three times as long. */
static af_status dp__distill_search(dp__distill *s) {
    const uint32_t algebra = 1u << DP_ADD | 1u << DP_SUB | 1u << DP_MUL | 1u << DP_DIV |
                             1u << DP_NEG | 1u << DP_INV | 1u << DP_SQUARE | 1u << DP_SQRT;
    uint32_t operators = s->vocabulary.operators;
    size_t tokens;
    af_status status = AF_OK;
    s->search.affine = DP_AMPLITUDE_OFFSET; /* the constant of a potential is arbitrary */
    if (s->desc.search) s->search = *s->desc.search;
    if (!s->search.max_tokens) s->search.max_tokens = 8; /* most potentials have fewer */
    if (s->variables > 1) s->search.norms = 1;
    if (s->variables == 1 || operators) return dp__distill_round(s, 0, operators);
    tokens = s->search.max_tokens;
    s->search.max_tokens = tokens < 8 ? tokens : 8;
    status = dp__distill_round(s, 0, algebra);
    s->search.max_tokens = tokens;
    if (status != AF_OK || s->round[0]->end == DP_END_ERROR ||
        (s->search.seconds > 0.0 && s->round[0]->seconds >= s->search.seconds)) return status;
    return dp__distill_round(s, 1, algebra | 1u << DP_LOG);
}

/* ---- which formula it is ---- */

/* The formula's values, and its derivatives by the variables unless NULL. */
static void dp__distill_values(const dp__distill *s, const dp_symbolic_entry *e, double *value,
                               double *slope) {
    dp_formula_tangents(&s->found.result.vocabulary, &e->formula, s->found.data.n, s->columns,
                        e->constants, value, NULL, slope);
}

/* Of every step-th point the one next to `row`, in units of each variable's spread. */
static size_t dp__distill_neighbour(const dp__distill *s, const double *unit, size_t row,
                                    size_t step) {
    size_t i, k, best = row;
    double least = HUGE_VAL;
    for (i = 0; i < s->found.data.n; i += step) {
        double away = 0.0;
        for (k = 0; k < s->variables; k++) {
            double d = (s->column[k][i] - s->column[k][row]) / unit[k];
            away += d * d;
        }
        if (i == row || !(away < least)) continue;
        least = away;
        best = i;
    }
    return best;
}

/* The fraction of neighbours between which `left` changes its sign, in the order of the one
 * variable; pairs (n,2) is memory. */
static double dp__distill_changes(const dp__distill *s, const double *left, double *pairs) {
    size_t n = s->found.data.n, i, changes = 0;
    for (i = 0; i < n; i++) {
        pairs[2 * i] = s->column[0][i];
        pairs[2 * i + 1] = left[i];
    }
    qsort(pairs, n, 2 * sizeof *pairs, dp__ascending);
    for (i = 1; i < n; i++) changes += !(pairs[2 * i + 1] * pairs[2 * i - 1] > 0.0);
    return (double)changes / (double)(n > 1 ? n - 1 : 1);
}

/* The same of more variables: of every step-th point, with those next to them among every
 * `among`-th. */
static double dp__distill_changes_near(const dp__distill *s, const double *left, size_t step,
                                       size_t among) {
    size_t n = s->found.data.n, i, k, changes = 0, pairs = 0;
    double unit[3];
    for (k = 0; k < s->variables; k++) {
        double low = HUGE_VAL, high = -HUGE_VAL;
        for (i = 0; i < n; i++) {
            low = fmin(low, s->column[k][i]);
            high = fmax(high, s->column[k][i]);
        }
        unit[k] = high > low ? high - low : 1.0;
    }
    for (i = 0; i < n; i += step, pairs++)
        changes += !(left[i] * left[dp__distill_neighbour(s, unit, i, among)] > 0.0);
    return (double)changes / (double)pairs;
}

/* Constants that a formula has. */
static size_t dp__distill_constants(const dp_vocabulary *v, const dp_formula *f) {
    size_t i, k, count = 0;
    for (i = 0; i < v->symbol_count; i++) {
        for (k = 0; k < f->length && f->token[k] != DP_OPERATORS + i; k++) {}
        count += k < f->length && v->symbols[i].kind == DP_FREE;
    }
    return count;
}

/* Independent points: see dp_distilled. At most 1000 of more variables are looked at, with their
 * neighbours among all points, and among themselves: of many points hardly any two straddle a
 * change of sign of smooth errors. A fit of so many constants leaves at least as many changes. */
static double dp__distill_independent(const dp__distill *s, const dp_formula *f,
                                      const double *left, double *pairs) {
    size_t n = s->found.data.n, step = (n + 999) / 1000;
    double d = (double)s->variables, points = (double)n, some = ceil(points / (double)step);
    double least = 2.0 * (double)dp__distill_constants(&s->found.result.vocabulary, f);
    least = fmin(fmax(least, 1.0), points);
    if (s->variables == 1)
        return fmax(least, points * fmin(2.0 * dp__distill_changes(s, left, pairs), 1.0));
    points *= pow(fmin(2.0 * dp__distill_changes_near(s, left, step, 1), 1.0), d);
    some *= pow(fmin(2.0 * dp__distill_changes_near(s, left, step, step), 1.0), d);
    return fmax(least, fmax(points, some));
}

/* One front of all rounds; what its last entry leaves says how many points there are. */
static af_status dp__distill_choose(dp__distill *s) {
    dp_symbolic_entry kept[DP_FORMULA_MAX + 1];
    dp_symbolic_result *r = &s->found.result;
    double *left = DP__ARRAY(&s->arena, double, 3 * s->found.data.n), low;
    double enough = s->search.error;
    size_t k, i, last = s->round[1] ? 1 : 0;
    if (!left) return dp__fail_memory(s->c, "the formulas of a field");
    for (k = 0; k <= (size_t)DP_FORMULA_MAX; k++) kept[k].error = HUGE_VAL;
    *r = *s->round[last];
    for (k = 0; k < last; k++) {
        r->candidates += s->round[k]->candidates;
        r->unique += s->round[k]->unique;
        r->fits += s->round[k]->fits;
        r->verified += s->round[k]->verified;
        r->seconds += s->round[k]->seconds;
    }
    for (k = 0; k <= last; k++)
        for (i = 0; i < s->round[k]->count; i++) {
            const dp_symbolic_entry *e = &s->round[k]->front[i];
            if (e->error < kept[e->formula.length].error) kept[e->formula.length] = *e;
        }
    r->front = s->front;
    r->count = dp__front(kept, (double)s->found.data.n, &r->vocabulary, enough, s->front, &r->best);
    if (!r->count) return AF_OK;
    dp__distill_values(s, &s->front[r->count - 1], left, NULL);
    for (i = 0; i < s->found.data.n; i++) left[i] -= s->y[i];
    s->found.independent = dp__distill_independent(s, &s->front[r->count - 1].formula, left,
                                                   left + s->found.data.n);
    /* chi^2 over its points is 1 +- sqrt(2/independent): below two of these errors are alike */
    low = fmax(1.0 - 2.0 * sqrt(2.0 / s->found.independent), 0.0);
    if (s->found.data.weights) enough = fmax(enough, sqrt(low) * dp__distill_floor(&s->found.data));
    r->count = dp__front(kept, s->found.independent, &r->vocabulary, enough, s->front, &r->best);
    return AF_OK;
}

/* rms of the vector -grad f - a over that of a, for each formula of the front. */
static af_status dp__distill_forces(dp__distill *s) {
    size_t n = s->found.data.n, e, i;
    double *value, *slope;
    if (!s->found.acceleration || !s->found.result.count) return AF_OK;
    s->force_error = DP__ARRAY(&s->arena, double, s->found.result.count);
    value = DP__ARRAY(&s->arena, double, n);
    slope = DP__ARRAY(&s->arena, double, s->variables * n);
    if (!s->force_error || !value || !slope)
        return dp__fail_memory(s->c, "the forces of formulas");
    for (e = 0; e < s->found.result.count; e++) {
        double off = 0.0, all = 0.0;
        dp__distill_values(s, &s->front[e], value, slope);
        for (i = 0; i < s->variables * n; i++) {
            double a = s->a[i], away = slope[i] + a;
            if (!dp__is_finite(away)) continue; /* on the axis, where the mean force is none */
            off += away * away;
            all += a * a;
        }
        s->force_error[e] = sqrt(off / all);
    }
    s->found.force_error = s->force_error;
    return AF_OK;
}

/* ---- the interface ---- */

AF_API void dp_distilled_destroy(dp_distilled *d) {
    dp__distill *s = (dp__distill *)(void *)d;
    dp__arena arena;
    if (!d) return;
    dp_symbolic_destroy(s->round[0]);
    dp_symbolic_destroy(s->round[1]);
    arena = s->arena; /* s itself is in it */
    dp__arena_free(&arena);
}

AF_API af_status dp_distill(af_context *c, const dp_field *field, const dp_distill_desc *desc,
                            dp_distilled **out) {
    dp__arena arena = dp__arena_open(c);
    dp__distill *s = DP__NEW(&arena, dp__distill);
    af_status status, chosen;
    *out = NULL;
    if (!s) return dp__fail_memory(c, "the formulas of a field");
    s->arena = arena;
    s->c = c;
    s->field = field;
    if (desc) s->desc = *desc;
    *out = &s->found;
    status = dp__distill_open(s);
    if (status == AF_OK) status = dp__distill_ask(s);
    if (status == AF_OK) status = dp__distill_search(s);
    s->field = NULL;
    if (status == AF_OK || status == AF_STOPPED) {
        chosen = dp__distill_choose(s);
        if (chosen == AF_OK) chosen = dp__distill_forces(s);
        if (chosen != AF_OK) status = chosen;
    }
    if (status == AF_OK || status == AF_STOPPED) return status;
    *out = NULL;
    dp_distilled_destroy(&s->found);
    return status;
}
