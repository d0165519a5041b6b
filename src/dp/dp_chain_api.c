/* ---- the chain: what is learned, files ------------------------------------------------------- */

#define DP__CHAIN_FORMAT "deeppotential chain 1"

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

static void dp__chain_report_map(const dp_chain *t, double *gm, double *b) {
    const double *map = af_params_view(t->params, t->map);
    *gm = exp(map[0]) * t->speed * t->speed * t->length;
    *b = exp(map[1]) * t->length;
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
    if (t->model.finder) s = dp__chain_evaluate_model(f);
    if (t->model.finder && s == AF_OK) s = dp__chain_slopes(f);
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
    t->model.finder = t->desc.model;
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
    f.chain->desc.model = f.chain->model.finder = NULL; /* the caller's */
    if (s == AF_OK || s == AF_STOPPED) return s;
    dp_chain_destroy(*out);
    *out = NULL;
    return s;
}

AF_API void dp_chain_destroy(dp_chain *chain) {
    dp__arena arena;
    if (!chain) return;
    af_net_destroy(chain->net);
    dp__chain_flow_destroy(&chain->flow);
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

/* ---- files ---- */

enum { DP__CHAIN_NUMBERS = 13, DP__CHAIN_WHOLES = 7 };

/* All numbers but the parameters to x (NUMBERS + WHOLES), or back. */
static void dp__chain_numbers(dp_chain *t, double *x, int back) {
    dp_chain_report *r = &t->report;
    double *number[DP__CHAIN_NUMBERS];
    size_t *whole[DP__CHAIN_WHOLES], k;
    number[0] = &t->length;
    number[1] = &t->speed;
    number[2] = &t->middle;
    number[3] = &t->spread;
    number[4] = &t->flat;
    number[5] = &t->constant;
    number[6] = &t->untrained_constant;
    number[7] = &r->untrained;
    number[8] = &r->loss;
    number[9] = &r->gm;
    number[10] = &r->b;
    number[11] = &r->gm_begun;
    number[12] = &r->b_begun;
    whole[0] = &t->desc.width;
    whole[1] = &t->desc.depth;
    whole[2] = &t->desc.clumps;
    whole[3] = &t->desc.flow;
    whole[4] = &r->stars;
    whole[5] = &r->left_out;
    whole[6] = &r->steps;
    for (k = 0; k < (size_t)(DP__CHAIN_NUMBERS + DP__CHAIN_WHOLES); k++) {
        size_t w = k - DP__CHAIN_NUMBERS;
        if (k < (size_t)DP__CHAIN_NUMBERS) {
            if (back) *number[k] = x[k];
            else x[k] = *number[k];
        } else {
            if (back) *whole[w] = (size_t)dp__clamp(x[k], 0.0, 1e15);
            else x[k] = (double)*whole[w];
        }
    }
}

static af_status dp__chain_fill(const dp_chain *t, af_tensors *to) {
    dp_chain copy = *t; /* dp__chain_numbers goes both ways */
    double x[DP__CHAIN_NUMBERS + DP__CHAIN_WHOLES];
    size_t count = DP__CHAIN_NUMBERS + DP__CHAIN_WHOLES;
    af_status s = af_tensors_set_text(to, "format", DP__CHAIN_FORMAT);
    dp__chain_numbers(&copy, x, 0);
    if (s == AF_OK) s = af_tensors_add(to, "numbers", AF_DTYPE_F64, 1, &count, x);
    count = t->report.parameters;
    if (s == AF_OK) s = af_tensors_add(to, "untrained", AF_DTYPE_F64, 1, &count, t->first);
    return s == AF_OK ? af_params_save(t->params, to, NULL) : s;
}

AF_API af_status dp_chain_save(const dp_chain *chain, const char *path) {
    af_tensors *set;
    af_status s = af_tensors_create(chain->c, &set);
    if (s != AF_OK) return s;
    s = dp__chain_fill(chain, set);
    if (s == AF_OK) s = af_tensors_write(set, path);
    af_tensors_destroy(set);
    return s;
}

/* Sizes and scales. A network has at least as many numbers as units, so that none larger than the
 * file is made. */
static af_status dp__chain_take_scales(dp_chain *t, const af_tensors *from) {
    const char *format = af_tensors_text(from, "format");
    double x[DP__CHAIN_NUMBERS + DP__CHAIN_WHOLES];
    size_t k, count = DP__CHAIN_NUMBERS + DP__CHAIN_WHOLES, held = 0;
    int good = 1;
    af_status s;
    if (!format || strcmp(format, DP__CHAIN_FORMAT) != 0)
        return af_fail(t->c, AF_ERROR_FORMAT, "this file does not hold a chain");
    s = af_tensors_get(from, "numbers", 1, &count, x);
    if (s != AF_OK) return s;
    for (k = 0; k < count; k++) good = good && dp__is_finite(x[k]);
    if (good) dp__chain_numbers(t, x, 1);
    for (k = 0; k < af_tensors_count(from); k++) held += af_tensors_at(from, k)->count;
    if (!good || !(t->length > 0.0 && t->speed > 0.0 && t->spread > 0.0) || t->desc.width < 1 ||
        t->desc.depth < 1 || t->desc.clumps < 1 || t->desc.clumps > (size_t)DP__CHAIN_CLUMPS ||
        t->desc.flow > (size_t)DP__CHAIN_LAYERS || t->desc.width > held || t->desc.depth > held ||
        (t->desc.depth - 1) * t->desc.width > held / t->desc.width)
        return af_fail(t->c, AF_ERROR_FORMAT, "the numbers of a chain in a file are damaged");
    return AF_OK;
}

static af_status dp__chain_take(dp_chain *t, const af_tensors *from) {
    size_t i, n;
    double sum = 0.0;
    af_status s = dp__chain_take_scales(t, from);
    if (s == AF_OK) s = dp__chain_parameters(t);
    if (s == AF_OK) s = af_params_load(t->params, from, NULL);
    n = t->report.parameters;
    if (s == AF_OK) s = af_tensors_get(from, "untrained", 1, &n, t->first);
    for (i = 0; s == AF_OK && i < n; i++) sum += t->first[i] + af_params_data(t->params)[i];
    if (s == AF_OK && !dp__is_finite(sum))
        return af_fail(t->c, AF_ERROR_FORMAT, "the numbers of a chain in a file are not finite");
    return s;
}

AF_API af_status dp_chain_load(af_context *c, const char *path, dp_chain **out) {
    af_tensors *set;
    af_status s;
    *out = NULL;
    s = af_tensors_read(c, path, &set);
    if (s != AF_OK) return s;
    s = dp__chain_new(c, NULL, out);
    if (s == AF_OK) s = dp__chain_take(*out, set);
    af_tensors_destroy(set);
    if (s != AF_OK) {
        dp_chain_destroy(*out);
        *out = NULL;
    }
    return s;
}

#undef DP__CHAIN_FORMAT
