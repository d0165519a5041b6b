/* ---- ActionFinder: the Hamiltonian of the actions -----------------------------------------------
 *
 * H(J) = isochrone + network, both in units: actions j = J/action, energies h = H/energy. The
 * isochrone is -depth exp(p0) / (j_r + (l + sqrt(l^2 + core exp(p1)))/2)^2 + p2, l = |j_phi| + j_z,
 * with learned p; the network sees log(l + j_r), j_r/(l + j_r), j_z/(l + j_r), whitened. All of
 * this is regular for circular, planar and radial orbits. H is even in J_phi: in a static potential
 * an orbit can be run backwards. */

enum { AF__HAMILTONIAN_WIDEST = 512, AF__HAMILTONIAN_DEEPEST = 16 };
#define AF__HAMILTONIAN_LEAST 1e-9 /* |j_phi|, for orbits at rest in the centre */

typedef struct af__hamiltonian {
    af_context *context;
    size_t width, depth;         /* of the network */
    double action, energy;       /* units [km/s kpc, (km/s)^2] */
    double well, core;           /* of the isochrone: (GM)^2/2 and 4 G M b in the units */
    double center[3], spread[3]; /* feature -> (feature - center)/spread */
    double misfit;
    af_params *params;
    af_net *net;
    size_t toy_view; /* p0, p1, p2 */
} af__hamiltonian;

static void af__hamiltonian_destroy(af__hamiltonian *h) {
    if (!h) return;
    af_net_destroy(h->net);
    af_params_destroy(h->params);
    h->context->allocator.release(h, sizeof *h, h->context->allocator.user);
}

static af__hamiltonian *af__hamiltonian_new(af_context *c) {
    af__hamiltonian *h =
        (af__hamiltonian *)c->allocator.allocate(sizeof *h, c->allocator.user);
    if (!h) {
        af__fail_memory(c, "a Hamiltonian");
        return NULL;
    }
    memset(h, 0, sizeof *h);
    h->context = c;
    return h;
}

static af_status af__hamiltonian_network(af__hamiltonian *h, uint64_t seed) {
    af_net_desc d = AF__ZERO;
    size_t three = 3;
    af_status s = af_params_create(h->context, seed, &h->params);
    d.name = "frequency";
    d.inputs = 3;
    d.outputs = 1;
    d.width = h->width;
    d.depth = h->depth;
    d.activation = AF_TANH;
    if (s == AF_OK) s = af_net_create(h->params, &d, &h->net);
    if (s == AF_OK)
        s = af_params_add(h->params, "frequency.toy", 1, &three, AF_INIT_CONSTANT, 0.0,
                          &h->toy_view);
    return s;
}

/* The actions as the expressions want them: in units, |J_phi|, none negative. */
static void af__hamiltonian_row(const af__hamiltonian *h, const double j[3], double row[3]) {
    row[0] = fmax(fabs(j[0]) / h->action, AF__HAMILTONIAN_LEAST);
    row[1] = fmax(j[1] / h->action, 0.0);
    row[2] = fmax(j[2] / h->action, 0.0);
}

/* The features of a row, not whitened. */
static void af__hamiltonian_features(const double row[3], double out[3]) {
    double total = row[0] + row[1] + row[2];
    out[0] = log(total);
    out[1] = row[2] / total;
    out[2] = row[1] / total;
}

/* Of the isochrone with all p = 0: h; its derivative by j_r, > 0. */
static double af__hamiltonian_toy(const af__hamiltonian *h, const double row[3], double *slope) {
    double l = row[0] + row[1], q = row[2] + 0.5 * (l + sqrt(l * l + h->core));
    *slope = 2.0 * h->well / (q * q * q);
    return -h->well / (q * q);
}

static af_expr af__hamiltonian_isochrone(const af__hamiltonian *h, af_expr l, af_expr jr) {
    af_context *c = h->context;
    af_expr p = af_params_expr(h->params, h->toy_view), well, core, q;
    well = af_scale(c, af_exp(c, af_slice(c, p, 0, 0, 1)), -h->well);
    core = af_scale(c, af_exp(c, af_slice(c, p, 0, 1, 1)), h->core);
    q = af_add(c, l, af_sqrt(c, af_add(c, af_square(c, l), core)));
    q = af_add(c, jr, af_scale(c, q, 0.5));
    return af_add(c, af_div(c, well, af_square(c, q)), af_slice(c, p, 0, 2, 1));
}

/* rows (n,3) -> h (n,1). */
static af_expr af__hamiltonian_expr(const af__hamiltonian *h, af_expr rows) {
    af_context *c = h->context;
    af_expr jz = af_slice(c, rows, 1, 1, 1), jr = af_slice(c, rows, 1, 2, 1);
    af_expr l = af_add(c, af_slice(c, rows, 1, 0, 1), jz), total = af_add(c, l, jr), f[3], all;
    size_t k;
    f[0] = af_log(c, total);
    f[1] = af_div(c, jr, total);
    f[2] = af_div(c, jz, total);
    for (k = 0; k < 3; k++)
        f[k] = af_scale(c, af_offset(c, f[k], -h->center[k]), 1.0 / h->spread[k]);
    all = af_net_apply(h->net, af_concat(c, 1, 3, f), af__none);
    return af_add(c, all, af__hamiltonian_isochrone(h, l, jr));
}

/* ---- files: what a model file holds beside the map, if anything ---- */

static const char *const af__hamiltonian_key[5] = {
    "frequency.action_scale_kms_kpc", "frequency.energy_scale_kms2", "frequency.well",
    "frequency.core", "frequency.misfit"};

static af_status af__hamiltonian_save(const af__hamiltonian *h, af_tensors *to) {
    double number[5], whitening[6];
    size_t dims[2], k;
    af_status s = af_tensors_set_whole(to, "frequency.width", h->width);
    number[0] = h->action;
    number[1] = h->energy;
    number[2] = h->well;
    number[3] = h->core;
    number[4] = h->misfit;
    dims[0] = 2;
    dims[1] = 3;
    memcpy(whitening, h->center, sizeof h->center);
    memcpy(whitening + 3, h->spread, sizeof h->spread);
    if (s == AF_OK) s = af_tensors_set_whole(to, "frequency.depth", h->depth);
    for (k = 0; k < 5 && s == AF_OK; k++)
        s = af_tensors_set_number(to, af__hamiltonian_key[k], number[k]);
    if (s == AF_OK)
        s = af_tensors_add(to, "frequency.whitening", AF_DTYPE_F64, 2, dims, whitening);
    return s == AF_OK ? af_params_save(h->params, to, "") : s;
}

static int af__hamiltonian_sane(const af__hamiltonian *h) {
    return af__is_finite(h->action) && h->action > 0.0 && af__is_finite(h->energy) &&
           h->energy > 0.0 && af__is_finite(h->well) && h->well > 0.0 && af__is_finite(h->core) &&
           h->core >= 0.0 && af__is_finite(h->misfit) && af__all_finite(h->center, 3) &&
           af__all_finite(h->spread, 3) && h->spread[0] > 0.0 && h->spread[1] > 0.0 &&
           h->spread[2] > 0.0;
}

static af_status af__hamiltonian_take(af__hamiltonian *h, const af_tensors *from,
                                      const char *path) {
    af_context *c = h->context;
    double *number[5], whitening[6];
    uint64_t width = 0, depth = 0;
    size_t dims[2], k;
    af_status s = af_tensors_whole(from, "frequency.width", &width);
    number[0] = &h->action;
    number[1] = &h->energy;
    number[2] = &h->well;
    number[3] = &h->core;
    number[4] = &h->misfit;
    dims[0] = 2;
    dims[1] = 3;
    if (s == AF_OK) s = af_tensors_whole(from, "frequency.depth", &depth);
    for (k = 0; k < 5 && s == AF_OK; k++)
        s = af_tensors_number(from, af__hamiltonian_key[k], number[k]);
    if (s == AF_OK) s = af_tensors_get(from, "frequency.whitening", 2, dims, whitening);
    if (s != AF_OK) return s;
    memcpy(h->center, whitening, sizeof h->center);
    memcpy(h->spread, whitening + 3, sizeof h->spread);
    h->width = (size_t)width;
    h->depth = (size_t)depth;
    if (width - 1 >= AF__HAMILTONIAN_WIDEST || depth - 1 >= AF__HAMILTONIAN_DEEPEST ||
        !af__hamiltonian_sane(h))
        return af__fail(c, AF_ERROR_FORMAT, "'%s': its frequencies make no sense", path);
    s = af__hamiltonian_network(h, 0);
    if (s == AF_OK) s = af_params_load(h->params, from, "");
    if (s == AF_OK && !af__all_finite(af_params_data(h->params), af_params_size(h->params)))
        s = af__fail(c, AF_ERROR_FORMAT, "'%s': its frequencies are not finite", path);
    return s;
}

/* *out is NULL where the file has none, as older ones do. */
static af_status af__hamiltonian_load(af_context *c, const af_tensors *from, const char *path,
                                      af__hamiltonian **out) {
    af__hamiltonian *h;
    af_status s;
    *out = NULL;
    if (!af_tensors_text(from, "frequency.width")) return AF_OK;
    h = af__hamiltonian_new(c);
    s = h ? af__hamiltonian_take(h, from, path) : AF_ERROR_MEMORY;
    if (s == AF_OK) *out = h;
    else af__hamiltonian_destroy(h);
    return s;
}

#undef AF__HAMILTONIAN_LEAST
