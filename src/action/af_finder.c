/* ---- ActionFinder: the model ----------------------------------------------------------------- */

struct af_finder {
    af_context *context;
    af__arena arena;
    af__generator g;
    af_isochrone toy; /* M0 and b0 of a free toy until training ends */
    af__hamiltonian *hamiltonian; /* NULL: frequencies are not known */
};

/* Bounds of what is made, and so of what a model file may hold. */
enum {
    AF__HIGHEST_HARMONIC = 64,
    AF__MOST_HARMONICS = 65536,
    AF__WIDEST_NET = 16384,
    AF__DEEPEST_NET = 256
};

/* Features of J': af__features; the sign of rotation is one where the potential is not
 * axisymmetric. */
static size_t af__feature_count(af_symmetry axisymmetric) {
    return axisymmetric == AF_SYMMETRY_YES ? 3 : 4;
}

AF_API void af_finder_destroy(af_finder *f) {
    af_allocator allocator;
    if (!f) return;
    allocator = f->arena.allocator;
    af__hamiltonian_destroy(f->hamiltonian);
    af_shear_destroy(f->g.shears);
    af_net_destroy(f->g.net);
    af_net_destroy(f->g.point);
    af_params_destroy(f->g.params);
    af__arena_free(&f->arena);
    allocator.release(f, sizeof *f, allocator.user);
}

/* The frequencies belong to a map that is about to change. */
static void af__finder_forget(af_finder *f) {
    af__hamiltonian_destroy(f->hamiltonian);
    f->hamiltonian = NULL;
}

static af_finder *af__finder_new(af_context *c) {
    af_finder *f = (af_finder *)c->allocator.allocate(sizeof *f, c->allocator.user);
    if (!f) {
        af__fail_memory(c, "a finder");
        return NULL;
    }
    memset(f, 0, sizeof *f);
    f->context = f->g.c = c;
    f->arena.allocator = c->allocator;
    return f;
}

/* Value at the fraction q of the sorted array. */
static double af__quantile(const double *sorted, size_t n, double q) {
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    if (i + 1 >= n) return sorted[n - 1];
    return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

/* ---- what is learned from the orbits before training ---- */

/* Toy actions of all streams: means (S,3) and rms spreads (S,3). */
typedef struct af__toy_facts {
    size_t streams;
    double *mean, *spread;
} af__toy_facts;

static af_status af__unbound_star(af_context *c, const af_orbits *o, size_t s, size_t i) {
    const double *xv = af_orbits_xv(o, s) + 6 * i;
    return af__fail(
        c, AF_ERROR_DATA,
        "stream %.15g, star %lu (x = %g %g %g kpc, v = %g %g %g km/s) is unbound in the toy "
        "isochrone; check the units (kpc, km/s), give the toy a larger mass, or remove the star",
        o->id[s], (unsigned long)i, xv[0], xv[1], xv[2], xv[3], xv[4], xv[5]);
}

static af_status af__toy_facts_of(af_context *c, const af_orbits *o, const af_isochrone *toy,
                                  af__arena *arena, af__toy_facts *facts) {
    size_t s, i, k;
    facts->streams = o->streams;
    facts->mean = AF__ARRAY(arena, double, o->streams * 3);
    facts->spread = AF__ARRAY(arena, double, o->streams * 3);
    if (!facts->mean || !facts->spread) return af__fail_memory(c, "the toy's actions");
    for (s = 0; s < o->streams; s++) {
        double *mean = facts->mean + 3 * s, square[3] = {0.0, 0.0, 0.0}, n = (double)o->count[s];
        for (i = 0; i < o->count[s]; i++) {
            double j[3];
            if (af_isochrone_actions(toy, af_orbits_xv(o, s) + 6 * i, j, NULL, NULL) &
                AF_ORBIT_FAILED)
                return af__unbound_star(c, o, s, i);
            for (k = 0; k < 3; k++) {
                double away = j[k] - mean[k]; /* Welford: no cancellation */
                mean[k] += away / (double)(i + 1);
                square[k] += away * (j[k] - mean[k]);
            }
        }
        for (k = 0; k < 3; k++) facts->spread[3 * s + k] = sqrt(square[k] / n);
    }
    return AF_OK;
}

/* Median over the streams of a function of (mean, spread). */
typedef double (*af__fact)(const double mean[3], const double spread[3]);

static double af__fact_size(const double mean[3], const double spread[3]) {
    (void)spread;
    return fabs(mean[0]) + mean[1] + mean[2];
}
static double af__fact_lz(const double mean[3], const double spread[3]) {
    (void)mean;
    return spread[0];
}
static double af__fact_others(const double mean[3], const double spread[3]) {
    (void)mean;
    return hypot(spread[1], spread[2]);
}
/* Mean absolute deviation of a normal distribution with the rms spread. */
static double af__fact_deviation(const double mean[3], const double spread[3]) {
    (void)mean;
    return 0.79788456080286536 * (spread[0] + spread[1] + spread[2]) / 3.0; /* sqrt(2/pi) */
}
static double af__fact_log_size(const double mean[3], const double spread[3]) {
    return log(af__fact_size(mean, spread) + 1e-300);
}
static double af__fact_circularity(const double mean[3], const double spread[3]) {
    double size = af__fact_size(mean, spread);
    return size > 0.0 ? (size - mean[2]) / size : 1.0;
}
static double af__fact_tilt(const double mean[3], const double spread[3]) {
    double l = fabs(mean[0]) + mean[1];
    (void)spread;
    return l > 0.0 ? mean[0] / l : 1.0;
}
static double af__fact_tilt2(const double mean[3], const double spread[3]) {
    double tilt = af__fact_tilt(mean, spread);
    return tilt * tilt;
}

static void af__fact_sorted(const af__toy_facts *facts, af__fact fact, double *sorted) {
    size_t s;
    for (s = 0; s < facts->streams; s++)
        sorted[s] = fact(facts->mean + 3 * s, facts->spread + 3 * s);
    qsort(sorted, facts->streams, sizeof *sorted, af__compare_doubles);
}

static double af__fact_median(const af__toy_facts *facts, af__fact fact, double *sorted) {
    af__fact_sorted(facts, fact, sorted);
    return af__quantile(sorted, facts->streams, 0.5);
}

/* Whitening: the central 99 % of the streams go to [-1.7,1.7] (as a uniform distribution of
 * variance 1 would). */
static void af__whiten(const af__toy_facts *facts, af__fact fact, double *sorted, double *center,
                       double *width) {
    double low, high;
    af__fact_sorted(facts, fact, sorted);
    low = af__quantile(sorted, facts->streams, 0.005);
    high = af__quantile(sorted, facts->streams, 0.995);
    *center = 0.5 * (low + high);
    *width = (high - low) / 3.4;
    if (!(*width > 1e-6)) *width = 1.0;
}

/* For the network of eq. 9: mean and standard deviation of each J'. */
static void af__whiten_actions(af__generator *g, const af__toy_facts *facts) {
    size_t s, k;
    for (k = 0; k < 3; k++) {
        double mean = 0.0, square = 0.0, n = (double)facts->streams;
        for (s = 0; s < facts->streams; s++) mean += facts->mean[3 * s + k] / g->action_scale / n;
        for (s = 0; s < facts->streams; s++) {
            double away = facts->mean[3 * s + k] / g->action_scale - mean;
            square += away * away / n;
        }
        g->center[k] = mean;
        g->width[k] = square > 1e-12 ? sqrt(square) : 1.0;
    }
}

/* Centers and scales of the chart's momenta; those of a Poincare pair, both of them, are the root
 * of its mean action, as for a circle of that radius. The unit makes these actions about 1,
 * whatever L_z is: the fit then ends lower. */
static void af__chart_scales(af__generator *g, const af__toy_facts *facts) {
    size_t s, k;
    int halo = g->desc.chart == AF_CHART_HALO;
    double n = (double)facts->streams;
    af__whiten_actions(g, facts);
    g->chart[12] = halo ? g->center[2] : 0.5 * (g->center[1] + g->center[2]);
    if (!(g->chart[12] > 1e-6)) g->chart[12] = 1e-6;
    for (k = 0; k < 3; k++) {
        double mean = 0.0, square = 0.0;
        for (s = 0; s < facts->streams; s++) {
            const double *j = facts->mean + 3 * s;
            double p = (j[k] + (halo && k == 1 ? fabs(j[0]) : 0.0)) / g->action_scale;
            p /= g->chart[12];
            mean += p / n;
            square += p * p / n;
        }
        if (k == 2 || (k == 1 && !halo)) {
            g->chart[6 + k] = g->chart[9 + k] = mean > 1e-12 ? sqrt(mean) : 1.0;
        } else {
            g->chart[3 + k] = mean;
            g->chart[9 + k] = square - mean * mean > 1e-12 ? sqrt(square - mean * mean) : 1.0;
            g->chart[6 + k] = 1.0;
        }
    }
}

/* Above this median of L/(L + J_r) the streams are disc orbits: their vertical motion is far from
 * harmonic in the toy, so they want more harmonics of theta_z. */
#define AF__NEARLY_CIRCULAR 0.9

static void af__scales(af__generator *g, const af__toy_facts *facts, double *sorted) {
    af_finder_desc *d = &g->desc;
    int circular;
    double size = af__fact_median(facts, af__fact_size, sorted);
    g->action_scale = size > 0.0 ? size : 1.0;
    if (d->axisymmetric == AF_SYMMETRY_AUTO) {
        double lz = af__fact_median(facts, af__fact_lz, sorted);
        double others = af__fact_median(facts, af__fact_others, sorted);
        d->axisymmetric =
            lz < 0.01 * others || others < 1e-9 * size ? AF_SYMMETRY_YES : AF_SYMMETRY_NO;
    }
    if (d->plane_symmetric == AF_SYMMETRY_AUTO) d->plane_symmetric = AF_SYMMETRY_YES;
    if (d->time_symmetric == AF_SYMMETRY_AUTO) d->time_symmetric = d->axisymmetric;
    if (d->softening == 0.0) {
        d->softening = 0.02 * af__fact_median(facts, af__fact_deviation, sorted);
        if (!(d->softening > 1e-9 * g->action_scale)) d->softening = 1e-9 * g->action_scale;
    }
    circular = af__fact_median(facts, af__fact_circularity, sorted) > AF__NEARLY_CIRCULAR;
    if (d->harmonics_r == 0) d->harmonics_r = circular ? 10 : 12;
    if (d->harmonics_z == 0) d->harmonics_z = circular ? 16 : 8;
    g->features = af__feature_count(d->axisymmetric);
    if (d->generator == AF_GENERATOR_SHEARS) {
        if (d->chart == AF_CHART_AUTO) d->chart = circular ? AF_CHART_DISC : AF_CHART_HALO;
        if (d->anchor == 0.0) d->anchor = d->chart == AF_CHART_DISC ? 0.003 : 0.03;
        af__chart_scales(g, facts);
        return;
    }
    if (d->generator == AF_GENERATOR_NETWORK) {
        af__whiten_actions(g, facts);
        return;
    }
    af__whiten(facts, af__fact_log_size, sorted, &g->center[0], &g->width[0]);
    g->center[0] -= log(g->action_scale);
    af__whiten(facts, af__fact_circularity, sorted, &g->center[1], &g->width[1]);
    af__whiten(facts, af__fact_tilt2, sorted, &g->center[2], &g->width[2]);
    af__whiten(facts, af__fact_tilt, sorted, &g->center[3], &g->width[3]);
}

/* ---- defaults, harmonics, networks ---- */

static int af__within(int choice, int most) { return choice >= 0 && choice <= most; }

static int af__net_sane(const af_net_desc *d) {
    return d->width <= AF__WIDEST_NET && d->depth <= AF__DEEPEST_NET &&
           d->max_width <= AF__WIDEST_NET;
}

static af_status af__finder_check(af_context *c, const af_finder_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "finder: af_finder_desc was not initialised to zero");
    if (!(d->toy.mass >= 0.0) || !(d->toy.scale >= 0.0) || !af__is_finite(d->toy.mass) ||
        !af__is_finite(d->toy.scale))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "finder: toy mass %g and scale %g must be positive and finite", d->toy.mass,
                        d->toy.scale);
    if (d->layers > 256 || d->width > 4096 || d->angle_harmonics > AF__HIGHEST_HARMONIC ||
        !af__within((int)d->chart, AF_CHART_HALO) || !af__is_finite(d->anchor))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "finder: %lu layers, width %lu, %lu harmonics, chart %d or anchor %g is "
                        "not possible for shears",
                        (unsigned long)d->layers, (unsigned long)d->width,
                        (unsigned long)d->angle_harmonics, (int)d->chart, d->anchor);
    if (d->generator == AF_GENERATOR_SHEARS && (d->free_toy || d->point_transformation))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "finder: shears go with neither a free toy nor a point transformation");
    if (!af__within((int)d->generator, AF_GENERATOR_SHEARS) ||
        !af__within((int)d->spread, AF_SPREAD_ABSOLUTE))
        return af__fail(c, AF_ERROR_ARGUMENT, "finder: there is no generator %d or no spread %d",
                        (int)d->generator, (int)d->spread);
    if (!af__within((int)d->axisymmetric, AF_SYMMETRY_NO) ||
        !af__within((int)d->plane_symmetric, AF_SYMMETRY_NO) ||
        !af__within((int)d->time_symmetric, AF_SYMMETRY_NO))
        return af__fail(c, AF_ERROR_ARGUMENT, "finder: a symmetry is neither auto, yes nor no");
    if (!(d->softening >= 0.0) || !af__is_finite(d->softening))
        return af__fail(c, AF_ERROR_ARGUMENT, "finder: softening %g must be positive",
                        d->softening);
    if (!af__is_finite(d->coefficient_penalty) || !af__is_finite(d->negative_weight) ||
        !af__is_finite(d->angle_weight))
        return af__fail(c, AF_ERROR_ARGUMENT, "finder: a weight of the loss is not finite");
    if (d->harmonics_r > AF__HIGHEST_HARMONIC || d->harmonics_z > AF__HIGHEST_HARMONIC ||
        d->harmonics_phi > AF__HIGHEST_HARMONIC)
        return af__fail(c, AF_ERROR_ARGUMENT, "finder: harmonics above %d are not supported",
                        (int)AF__HIGHEST_HARMONIC);
    if (!af__net_sane(&d->net) || !af__net_sane(&d->point_net))
        return af__fail(c, AF_ERROR_ARGUMENT,
                        "finder: a network is wider than %d or deeper than %d", (int)AF__WIDEST_NET,
                        (int)AF__DEEPEST_NET);
    return AF_OK;
}

static void af__finder_defaults(af_finder_desc *d) {
    int fourier = d->generator == AF_GENERATOR_FOURIER;
    if (d->layers == 0) d->layers = 12;
    if (d->width == 0) d->width = 8;
    if (d->angle_harmonics == 0) d->angle_harmonics = 2;
    if (d->harmonics_phi == 0) d->harmonics_phi = 3;
    if (d->harmonics_budget == 0.0) d->harmonics_budget = 1.5;
    if (d->coefficient_penalty == 0.0) d->coefficient_penalty = 1.0;
    if (d->negative_weight == 0.0)
        d->negative_weight = d->spread == AF_SPREAD_ABSOLUTE ? 1.0 : -1.0;
    if (d->angle_weight == 0.0) d->angle_weight = fourier && !d->point_transformation ? -1.0 : 0.1;
    if (fourier && d->net.depth == 0) d->net.depth = 3;
}

/* Half of all k, since k and -k are one harmonic. */
static int af__harmonic_wanted(const af_finder_desc *d, int kphi, int kz, int kr) {
    double budget;
    if (kz < 0 || (kz == 0 && kr < 0) || (kz == 0 && kr == 0 && kphi <= 0)) return 0;
    if (d->plane_symmetric == AF_SYMMETRY_YES && (kz + kphi) % 2 != 0) return 0;
    budget = fabs((double)kr) / (double)d->harmonics_r + (double)kz / (double)d->harmonics_z +
             fabs((double)kphi) / (double)d->harmonics_phi;
    return budget <= d->harmonics_budget + 1e-9;
}

static af_status af__finder_harmonics(af_finder *f) {
    const af_finder_desc *d = &f->g.desc;
    int highest_phi = d->axisymmetric == AF_SYMMETRY_YES ? 0 : (int)d->harmonics_phi;
    int kphi, kz, kr;
    double *k = NULL;
    if (d->generator != AF_GENERATOR_FOURIER) return AF_OK;
    for (kphi = -highest_phi; kphi <= highest_phi; kphi++)
        for (kz = 0; kz <= (int)d->harmonics_z; kz++)
            for (kr = -(int)d->harmonics_r; kr <= (int)d->harmonics_r; kr++) {
                if (!af__harmonic_wanted(d, kphi, kz, kr)) continue;
                if (!AF__PUSH(&f->arena, k, (double)kphi) || !AF__PUSH(&f->arena, k, (double)kz) ||
                    !AF__PUSH(&f->arena, k, (double)kr))
                    return af__fail_memory(f->context, "the harmonics");
            }
    f->g.harmonic = k;
    f->g.harmonics = AF__LENGTH(k) / 3;
    if (f->g.harmonics == 0 || f->g.harmonics > AF__MOST_HARMONICS)
        return af__fail(f->context, AF_ERROR_ARGUMENT,
                        "finder: %lu harmonics fit the budget %g, 1 to %d are possible",
                        (unsigned long)f->g.harmonics, d->harmonics_budget,
                        (int)AF__MOST_HARMONICS);
    return AF_OK;
}

/* A coefficient of 1 moves the actions of a typical stream by about 12 times the toy's median
 * spread, divided among the harmonics as 1/(1 + |k|). */
#define AF__TYPICAL_CHANGE 12.5

static af_status af__finder_amplitudes(af_finder *f, const af__toy_facts *facts, double *sorted) {
    af__generator *g = &f->g;
    size_t i, s;
    double change = AF__TYPICAL_CHANGE * af__fact_median(facts, af__fact_deviation, sorted);
    g->amplitude = AF__ARRAY(&f->arena, double, g->harmonics);
    if (!g->amplitude) return af__fail_memory(f->context, "the harmonics");
    if (!(change > 0.0)) change = 1e-3 * g->action_scale; /* the toy is exact already */
    for (i = 0; i < g->harmonics; i++) {
        const double *k = g->harmonic + 3 * i;
        double square = 0.0;
        for (s = 0; s < facts->streams; s++) {
            const double *mean = facts->mean + 3 * s;
            double tilt = af__fact_tilt(mean, NULL);
            double decay =
                af__decay(k, 1.0 - af__fact_circularity(mean, NULL), sqrt(1.0 - tilt * tilt));
            square += decay * decay / (double)facts->streams;
        }
        g->amplitude[i] = change / g->action_scale / (1.0 + fabs(k[0]) + fabs(k[1]) + fabs(k[2]));
        if (square > 1e-12) g->amplitude[i] /= sqrt(square);
    }
    return AF_OK;
}

/* Declares everything that is learned; desc, features and harmonics are final here. */
static af_status af__finder_networks(af_finder *f) {
    af__generator *g = &f->g;
    af_net_desc net = g->desc.net, point = g->desc.point_net;
    size_t two = 2;
    af_status s = af_params_create(f->context, g->desc.seed, &g->params);
    int fourier = g->desc.generator == AF_GENERATOR_FOURIER;
    if (s != AF_OK) return s;
    if (g->desc.generator == AF_GENERATOR_SHEARS) return af__shears_create(g);
    net.name = "generator";
    net.inputs = fourier ? g->features : 9;
    net.outputs = fourier ? g->harmonics : 1;
    if (fourier && g->desc.time_symmetric == AF_SYMMETRY_NO) net.outputs *= 2;
    s = af_net_create(g->params, &net, &g->net);
    if (s == AF_OK && g->desc.point_transformation) {
        point.name = "point";
        point.inputs = 6;
        point.outputs = 3;
        s = af_net_create(g->params, &point, &g->point);
    }
    if (s == AF_OK && g->desc.free_toy)
        s = af_params_add(g->params, "toy", 1, &two, AF_INIT_CONSTANT, 0.0, &g->toy_view);
    return s;
}

/* ---- the toy ---- */

/* The least mass that binds every star at the scale b: max of v^2/2 (b + sqrt(b^2 + r^2))/G. */
static double af__binding_mass(const af_orbits *o, double b) {
    double most = 0.0;
    size_t s, i;
    for (s = 0; s < o->streams; s++)
        for (i = 0; i < o->count[s]; i++) {
            const double *x = af_orbits_xv(o, s) + 6 * i;
            double r2 = x[0] * x[0] + x[1] * x[1] + x[2] * x[2];
            double v2 = x[3] * x[3] + x[4] * x[4] + x[5] * x[5];
            double m = 0.5 * v2 * (b + sqrt(b * b + r2)) / AF_GRAVITY;
            if (m > most) most = m;
        }
    return most;
}

/* A star that is barely bound has an enormous J_r: the mass keeps this distance from unbinding. */
#define AF__TOY_MARGIN 1.2

static af_status af__choose_toy(af_context *c, const af_orbits *o, const af_finder_desc *d,
                                af_isochrone *toy) {
    double least;
    af_status s;
    *toy = d->toy;
    if (toy->mass > 0.0) return AF_OK;
    if (o->stars < 2)
        return af__fail(c, AF_ERROR_DATA,
                        "the streams have one star each; two are needed to learn from: in a table "
                        "the column 'stream' tells which stars are on one orbit");
    s = af_isochrone_fit(c, o->xv, o->streams, o->stars, 0.0, toy, NULL);
    if (s != AF_OK) return s;
    least = AF__TOY_MARGIN * af__binding_mass(o, toy->scale);
    if (toy->mass < least) toy->mass = least;
    return AF_OK;
}

static void af__finder_report(const af_finder *f) {
    const af_finder_desc *d = &f->g.desc;
    af__log(f->context,
            "finder: toy of %g Msun and %g kpc, %saxisymmetric, %lu harmonics, %lu parameters",
            f->toy.mass, f->toy.scale, d->axisymmetric == AF_SYMMETRY_YES ? "" : "not ",
            (unsigned long)f->g.harmonics, (unsigned long)af_params_size(f->g.params));
}

AF_API af_status af_finder_create(af_context *c, const af_orbits *orbits,
                                  const af_finder_desc *desc, af_finder **out) {
    af_finder_desc none = AF__ZERO;
    af__toy_facts facts = AF__ZERO;
    af__arena scratch = AF__ZERO;
    af_finder *f;
    double *sorted;
    af_status s;
    *out = NULL;
    if (!desc) desc = &none;
    if (af__finder_check(c, desc) != AF_OK) return c->status;
    f = af__finder_new(c);
    if (!f) return c->status;
    f->g.desc = *desc;
    af__finder_defaults(&f->g.desc);
    scratch.allocator = c->allocator;
    sorted = AF__ARRAY(&scratch, double, orbits->streams);
    s = sorted ? af__choose_toy(c, orbits, desc, &f->toy) : af__fail_memory(c, "a finder");
    if (s == AF_OK) s = af__toy_facts_of(c, orbits, &f->toy, &scratch, &facts);
    if (s == AF_OK) af__scales(&f->g, &facts, sorted);
    if (s == AF_OK) s = af__finder_harmonics(f);
    if (s == AF_OK) s = af__finder_amplitudes(f, &facts, sorted);
    af__arena_free(&scratch);
    if (s == AF_OK) s = af__finder_networks(f);
    if (s != AF_OK) {
        af_finder_destroy(f);
        return s;
    }
    af__finder_report(f);
    *out = f;
    return AF_OK;
}

AF_API af_isochrone af_finder_toy(const af_finder *f) {
    af_isochrone toy = f->toy;
    if (f->g.desc.free_toy) {
        const double *change = af_params_view(f->g.params, f->g.toy_view);
        toy.mass *= exp(change[0]);
        toy.scale *= exp(change[1]);
    }
    return toy;
}

AF_API size_t af_finder_parameters(const af_finder *f) { return af_params_size(f->g.params); }
AF_API size_t af_finder_harmonics(const af_finder *f) { return f->g.harmonics; }
AF_API int af_finder_is_axisymmetric(const af_finder *f) {
    const af_finder_desc *d = &f->g.desc;
    return d->axisymmetric == AF_SYMMETRY_YES && d->generator != AF_GENERATOR_NETWORK &&
           !d->point_transformation;
}
