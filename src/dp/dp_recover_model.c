/* ---- recovery: the potential as a function of its parameters ------------------------------------
 *
 * ln rho = c - p0 ln r - (p1 - p0) ln(1 + r/r_b) + network(x), x = asinh(r/a), where r is softened
 * by a/10 in the logarithms. With G = 1 a table of Phi and its slope is linear in the densities at
 * the two Gauss nodes of each cell:
 *     M(r) = int_0^r 4 pi rho r^2 dr,  Phi = -M/r - int_r^top 4 pi rho r dr,  dPhi/dr = M/r^2. */

enum {
    DP__GAUSS = 2 * DP__CELLS,         /* 2 nodes a cell: relative error h^4/4320, below 1e-9 */
    DP__PLACES = DP__GAUSS + DP__POINTS,
    DP__TABLE = 2 * DP__POINTS,        /* Phi, h dPhi/dx of each point, ... */
    DP__HALO = DP__TABLE + DP__POINTS, /* ... then ln rho of all */
    DP__BROKEN = 4                     /* c, p0, p1, ln r_b */
};

/* How far parameters go from where they begin: weights of order one make a network that bends ln
 * rho by a few over the stars' radii; slopes and r_b are those of galaxies, c is free. */
static const double dp__broken_start[DP__BROKEN] = {0.0, 1.0, 3.5, 0.0};
static const double dp__broken_prior[DP__BROKEN] = {100.0, 1.0, 1.0, 1.0};

typedef struct dp__halo {
    af_params *params;
    af_net *net;
    af_func *value, *jacobian;
    af_workspace *value_work, *jacobian_work;
    size_t count;     /* of parameters */
    double *broken;   /* the broken power law's, among them */
    size_t first;     /* where it begins in the vector */
    dp__radial table;
    double ln_rho[DP__POINTS];
    double *out;      /* (DP__HALO) */
    double *rows;     /* (count, DP__HALO): its derivatives */
} dp__halo;

static void dp__halo_close(dp__halo *h) {
    af_workspace_destroy(h->value_work);
    af_workspace_destroy(h->jacobian_work);
    af_func_destroy(h->value);
    af_func_destroy(h->jacobian);
    af_net_destroy(h->net);
    af_params_destroy(h->params);
}

/* Radii of the places: Gauss nodes, then points of the table. */
static double dp__place_r(const dp__radial *t, size_t i) {
    double x = (double)(i - DP__GAUSS) * t->h;
    if (i < (size_t)DP__GAUSS)
        x = ((double)(i / 2) + 0.5 + (i % 2 ? 0.5 : -0.5) / sqrt(3.0)) * t->h;
    return t->a * sinh(x);
}

/* The matrix (DP__GAUSS, DP__TABLE) that makes the table of the densities. */
static void dp__halo_matrix(const dp__radial *t, double *matrix) {
    size_t i, k;
    for (i = 0; i < (size_t)DP__GAUSS; i++) {
        double r = dp__place_r(t, i), w = 0.5 * t->h * sqrt(r * r + t->a * t->a);
        double mass = 4.0 * DP__PI * r * r * w, outside = 4.0 * DP__PI * r * w;
        for (k = 0; k < (size_t)DP__POINTS; k++) {
            double *to = matrix + i * DP__TABLE + 2 * k, r_k = t->cell[k][2];
            int within = i / 2 < k;
            to[0] = within ? -mass / r_k : -outside;
            to[1] = within ? mass / (r_k * r_k) * t->cell[k][3] : 0.0;
        }
    }
}

/* ln rho (DP__PLACES) as an expression. */
static af_expr dp__halo_density(af_context *c, dp__halo *h, af_expr broken, double middle,
                                double spread, double *memory) {
    size_t i, dims[2], places = DP__PLACES;
    af_expr p[DP__BROKEN], ln_r, x, rho, none = DP__ZERO;
    for (i = 0; i < (size_t)DP__BROKEN; i++) p[i] = af_slice(c, broken, 0, i, 1);
    for (i = 0; i < places; i++) {
        double r = dp__place_r(&h->table, i);
        memory[i] = 0.5 * log(r * r + 0.01 * h->table.a * h->table.a);
        memory[places + i] = (dp__radial_x(&h->table, r) - middle) / spread;
    }
    dims[0] = places;
    dims[1] = 1;
    ln_r = af_constant_array(c, 1, dims, memory);
    x = af_net_apply(h->net, af_constant_array(c, 2, dims, memory + places), none);
    rho = af_add(c, af_reshape(c, x, 1, dims), p[0]);
    rho = af_sub(c, rho, af_mul(c, p[1], ln_r));
    x = af_softplus(c, af_sub(c, ln_r, p[3]));
    return af_sub(c, rho, af_mul(c, af_sub(c, p[2], p[1]), x));
}

/* The matrix (DP__GAUSS, DP__TABLE) as an expression. */
static af_expr dp__halo_constant(af_context *c, const dp__halo *h, dp__arena *scratch) {
    double *matrix = DP__ARRAY(scratch, double, (size_t)DP__TABLE * DP__GAUSS);
    size_t dims[2];
    af_expr none = DP__ZERO;
    if (!matrix) {
        dp__fail_memory(c, "the table of a potential");
        return none;
    }
    dp__halo_matrix(&h->table, matrix);
    dims[0] = DP__GAUSS;
    dims[1] = DP__TABLE;
    return af_constant_array(c, 2, dims, matrix);
}

/* ln rho of the places (DP__PLACES), and by the parameters (count, DP__PLACES). */
typedef struct dp__densities {
    af_expr ln_rho, rows;
} dp__densities;

/* From them the table and ln rho of its points (DP__HALO), and by the parameters (count,
 * DP__HALO). */
static dp__densities dp__halo_tables(af_context *c, dp__densities d, af_expr matrix,
                                     size_t count) {
    size_t dims[2];
    af_expr part[2], rho;
    dp__densities out;
    dims[0] = 1;
    dims[1] = DP__GAUSS;
    rho = af_exp(c, af_reshape(c, af_slice(c, d.ln_rho, 0, 0, DP__GAUSS), 2, dims));
    part[0] = af_matmul(c, rho, matrix);
    dims[0] = DP__TABLE;
    part[0] = af_reshape(c, part[0], 1, dims);
    part[1] = af_slice(c, d.ln_rho, 0, DP__GAUSS, DP__POINTS);
    out.ln_rho = af_concat(c, 0, 2, part);
    dims[0] = count;
    dims[1] = DP__PLACES;
    d.rows = af_broadcast(c, d.rows, 2, dims);
    part[0] = af_matmul(c, af_mul(c, af_slice(c, d.rows, 1, 0, DP__GAUSS), rho), matrix);
    part[1] = af_slice(c, d.rows, 1, DP__GAUSS, DP__POINTS);
    out.rows = af_concat(c, 1, 2, part);
    return out;
}

static af_status dp__halo_compile_one(af_context *c, size_t inputs, const af_expr *input,
                                      af_expr output, af_func **f, af_workspace **work) {
    af_func_desc d = DP__ZERO;
    af_status s;
    d.inputs = input;
    d.input_count = inputs;
    d.outputs = &output;
    d.output_count = 1;
    d.precision = AF_F64;
    d.label = "potential of a recovery";
    s = af_compile(c, &d, f);
    if (s != AF_OK) return s;
    s = af_workspace_create(*f, af_context_threads(c), work);
    return s == AF_OK ? s : dp__fail_memory(c, "a workspace of a potential");
}

static af_status dp__halo_compile(af_context *c, dp__halo *h, af_expr ln_rho,
                                  dp__arena *scratch) {
    double *unit = DP__ARRAY(scratch, double, h->count * h->count);
    af_expr input = af_params_input(h->params);
    dp__densities d;
    size_t i, dims[2];
    af_status s;
    if (!unit) return dp__fail_memory(c, "the derivatives of a potential");
    for (i = 0; i < h->count; i++) unit[i * h->count + i] = 1.0;
    dims[0] = dims[1] = h->count;
    d.ln_rho = ln_rho;
    d.rows = af_constant_array(c, 2, dims, unit);
    s = af_jvp(c, 1, &ln_rho, 1, &input, &d.rows, &d.rows);
    if (s != AF_OK) return s;
    d = dp__halo_tables(c, d, dp__halo_constant(c, h, scratch), h->count);
    s = dp__halo_compile_one(c, 1, &input, d.ln_rho, &h->value, &h->value_work);
    if (s != AF_OK) return s;
    return dp__halo_compile_one(c, 1, &input, d.rows, &h->jacobian, &h->jacobian_work);
}

/* The network sees (x - middle)/spread. The table (a, h, top) is there already. On failure what is
 * there is dp__halo_close's. */
static af_status dp__halo_open(af_context *c, dp__arena *arena, const af_net_desc *net,
                               uint64_t seed, double middle, double spread, dp__halo *h) {
    dp__arena scratch = dp__arena_open(c);
    size_t four = DP__BROKEN, view = 0;
    double *memory;
    af_status s = af_params_create(c, seed, &h->params);
    if (s == AF_OK) s = af_net_create(h->params, net, &h->net);
    if (s == AF_OK)
        s = af_params_add(h->params, "broken", 1, &four, AF_INIT_CONSTANT, 0.0, &view);
    if (s != AF_OK) return s;
    h->count = af_params_size(h->params);
    h->broken = af_params_view(h->params, view);
    h->first = (size_t)(h->broken - af_params_data(h->params));
    memcpy(h->broken, dp__broken_start, sizeof dp__broken_start);
    h->out = DP__ARRAY(arena, double, DP__HALO);
    h->rows = DP__ARRAY(arena, double, h->count * DP__HALO);
    if (!h->out || !h->rows) return dp__fail_memory(c, "a potential");
    memory = DP__ARRAY(&scratch, double, 2 * DP__PLACES);
    if (!memory) return dp__fail_memory(c, "the radii of a potential");
    s = dp__halo_compile(c, h, dp__halo_density(c, h, af_params_expr(h->params, view), middle,
                                                spread, memory), &scratch);
    dp__arena_free(&scratch);
    return s;
}

/* The table at the parameters; 0 when it is not finite. */
static int dp__halo_update(dp__halo *h) {
    const void *in[1];
    void *out[1];
    size_t k;
    in[0] = af_params_data(h->params);
    out[0] = h->out;
    if (af_run(h->value, h->value_work, in, out) != AF_OK) return 0;
    for (k = 0; k < (size_t)DP__POINTS; k++) {
        h->table.cell[k][0] = h->out[2 * k];
        h->table.cell[k][1] = h->out[2 * k + 1];
        h->ln_rho[k] = h->out[DP__TABLE + k];
        if (!dp__is_finite(h->out[2 * k] + h->out[2 * k + 1] + h->ln_rho[k])) return 0;
    }
    return 1;
}

/* Its derivatives at the parameters. */
static int dp__halo_derive(dp__halo *h) {
    const void *in[1];
    void *out[1];
    in[0] = af_params_data(h->params);
    out[0] = h->rows;
    return af_run(h->jacobian, h->jacobian_work, in, out) == AF_OK;
}

/* -ln prior; gradient and precision (count) get what belongs to it, unless NULL. Weights of the
 * network have the mean 0 and the variance 1. */
static double dp__halo_prior(const dp__halo *h, double *gradient, double *precision) {
    const double *p = af_params_data(h->params);
    double sum = 0.0;
    size_t i;
    for (i = 0; i < h->count; i++) {
        double mean = 0.0, sd = 1.0;
        if (i >= h->first && i < h->first + DP__BROKEN) {
            mean = dp__broken_start[i - h->first];
            sd = dp__broken_prior[i - h->first];
        }
        sum += 0.5 * (p[i] - mean) * (p[i] - mean) / (sd * sd);
        if (gradient) gradient[i] = (p[i] - mean) / (sd * sd);
        if (precision) precision[i] = 1.0 / (sd * sd);
    }
    return sum;
}
