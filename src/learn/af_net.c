/* ---- networks -------------------------------------------------------------------------------- */

/* y = x W + b, W (in,out); with weight norm W = g V/|V| column by column. */
typedef struct af__dense {
    size_t weight, bias, gain; /* views */
    int has_bias, has_gain;
} af__dense;

struct af_net {
    af_params *params;
    af__arena arena;
    af_net_desc desc;
    af__dense *dense; /* stb_ds array, in the order of use */
    uint64_t dropout_stream;
};

AF_API af_expr af_activate(af_context *c, af_activation activation, af_expr x) {
    switch (activation) {
    case AF_TANH: return af_tanh(c, x);
    case AF_SOFTPLUS: return af_softplus(c, x);
    case AF_SIN: return af_sin(c, x);
    case AF_RELU: return af_relu(c, x);
    default: return af_silu(c, x);
    }
}

/* ---- declaring ---- */

enum { AF__DENSE_BIAS = 1, AF__DENSE_NORM = 2, AF__DENSE_ZERO = 4, AF__DENSE_BRANCH = 8 };

static af_status af__dense_view(af_net *net, const char *what, size_t rank, const size_t *dims,
                                af_init init, double scale, size_t *view) {
    char name[AF__KEY];
    int n = snprintf(name, sizeof name, "%s.%lu.%s", net->desc.name,
                     (unsigned long)AF__LENGTH(net->dense), what);
    if (n < 0 || n >= (int)sizeof name)
        return af__fail(af_params_context(net->params), AF_ERROR_ARGUMENT,
                        "network '%.40s...': the name is too long", net->desc.name);
    return af_params_add(net->params, name, rank, dims, init, scale, view);
}

/* Weights are normal with variance gain/in, so that signals keep their size (gain 2 for the
 * one-sided activations, 1 otherwise); the gains of weight norm start at the norm a column has on
 * average. The layer that ends a residual branch starts smaller by the square root of the number of
 * blocks: else each block would double the variance, 2^15 times in the paper's network. */
static af_status af__dense_add(af_net *net, size_t in, size_t out, int flags) {
    af__dense d = AF__ZERO;
    int zero = flags & AF__DENSE_ZERO;
    double scale = zero ? 0.0 : sqrt(1.0 / (3.0 * (double)in));
    size_t dims[2];
    af_status status;
    if (flags & AF__DENSE_BRANCH) scale /= sqrt((double)(2 * net->desc.depth + 1));
    dims[0] = in;
    dims[1] = out;
    d.has_bias = (flags & AF__DENSE_BIAS) != 0;
    d.has_gain = (flags & AF__DENSE_NORM) != 0 && net->desc.weight_norm;
    status = af__dense_view(net, "weight", 2, dims, zero ? AF_INIT_CONSTANT : AF_INIT_NORMAL, scale,
                            &d.weight);
    if (status == AF_OK && d.has_gain)
        status = af__dense_view(net, "gain", 1, &out, AF_INIT_CONSTANT, scale * sqrt((double)in),
                                &d.gain);
    if (status == AF_OK && d.has_bias)
        status = af__dense_view(net, "bias", 1, &out, zero ? AF_INIT_CONSTANT : AF_INIT_NORMAL,
                                scale, &d.bias);
    if (status != AF_OK) return status;
    if (!AF__PUSH(&net->arena, net->dense, d))
        return af__fail_memory(af_params_context(net->params), "a network");
    return AF_OK;
}

/* Width of block i of 2 depth + 1: doubling up to max_width, mirrored about the centre. */
static size_t af__block_width(const af_net_desc *d, size_t i) {
    size_t step = i <= d->depth ? i : 2 * d->depth - i, width = d->width;
    while (step-- > 0 && width < d->max_width) width *= 2;
    return width < d->max_width ? width : d->max_width;
}

static int af__last_flags(const af_net_desc *d) {
    return d->random_last ? AF__DENSE_BIAS : AF__DENSE_BIAS | AF__DENSE_ZERO;
}

/* Before block i stands a linear layer when it is the first or when the width changes. */
static int af__has_entry(size_t i, size_t width, size_t next) { return i == 0 || next != width; }

static af_status af__declare_resdense(af_net *net) {
    const af_net_desc *d = &net->desc;
    size_t i, width = d->inputs;
    af_status status = AF_OK;
    for (i = 0; i <= 2 * d->depth && status == AF_OK; i++) {
        size_t next = af__block_width(d, i);
        if (af__has_entry(i, width, next)) status = af__dense_add(net, width, next, AF__DENSE_BIAS);
        if (status == AF_OK) status = af__dense_add(net, next, next, AF__DENSE_NORM);
        if (status == AF_OK)
            status = af__dense_add(net, next, next,
                                   AF__DENSE_NORM | AF__DENSE_BIAS | AF__DENSE_BRANCH);
        width = next;
    }
    return status == AF_OK ? af__dense_add(net, width, d->outputs, af__last_flags(d)) : status;
}

static af_status af__declare_mlp(af_net *net) {
    const af_net_desc *d = &net->desc;
    size_t i, width = d->inputs;
    af_status status = AF_OK;
    for (i = 0; i < d->depth && status == AF_OK; i++) {
        status = af__dense_add(net, width, d->width, AF__DENSE_BIAS | AF__DENSE_NORM);
        width = d->width;
    }
    return status == AF_OK ? af__dense_add(net, width, d->outputs, af__last_flags(d)) : status;
}

static af_status af__net_check(af_context *c, const af_net_desc *d) {
    if (d->start_canary != 0 || d->end_canary != 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "network: af_net_desc was not initialised to zero");
    if (d->inputs == 0 || d->outputs == 0)
        return af__fail(c, AF_ERROR_ARGUMENT, "network '%s': inputs and outputs must be positive",
                        d->name ? d->name : "net");
    if ((int)d->architecture < AF_MLP || (int)d->architecture > AF_RESDENSE ||
        (int)d->activation < AF_SILU || (int)d->activation > AF_RELU)
        return af__fail(c, AF_ERROR_ARGUMENT, "network '%s': no architecture %d or activation %d",
                        d->name ? d->name : "net", (int)d->architecture, (int)d->activation);
    if (!(d->dropout >= 0.0 && d->dropout < 1.0))
        return af__fail(c, AF_ERROR_ARGUMENT, "network '%s': dropout %g is not in [0,1)",
                        d->name ? d->name : "net", d->dropout);
    return AF_OK;
}

static void af__net_defaults(af_net_desc *d) {
    if (!d->name) d->name = "net";
    if (!d->width) d->width = 64;
    if (!d->depth) d->depth = 2;
    if (!d->max_width) d->max_width = 1024;
    if (!d->dropout_above) d->dropout_above = 256;
}

AF_API af_status af_net_create(af_params *p, const af_net_desc *desc, af_net **out) {
    af_context *c = af_params_context(p);
    af_net *net;
    af_status status = af__net_check(c, desc);
    *out = NULL;
    if (status != AF_OK) return status;
    net = (af_net *)c->allocator.allocate(sizeof *net, c->allocator.user);
    if (!net) return af__fail_memory(c, "a network");
    memset(net, 0, sizeof *net);
    net->arena.allocator = c->allocator;
    net->params = p;
    net->desc = *desc;
    af__net_defaults(&net->desc);
    net->desc.name = af__arena_text(&net->arena, net->desc.name);
    net->dropout_stream = (uint64_t)af_params_size(p); /* different for each network of a store */
    if (!net->desc.name) status = af__fail_memory(c, "a network");
    else status = desc->architecture == AF_MLP ? af__declare_mlp(net) : af__declare_resdense(net);
    if (status != AF_OK) {
        af_net_destroy(net);
        return status;
    }
    *out = net;
    return AF_OK;
}

AF_API void af_net_destroy(af_net *net) {
    af_allocator allocator;
    if (!net) return;
    allocator = net->arena.allocator;
    af__arena_free(&net->arena);
    allocator.release(net, sizeof *net, allocator.user);
}

/* ---- applying ---- */

static af_expr af__dense_apply(const af_net *net, size_t layer, af_expr x) {
    af_context *c = af_params_context(net->params);
    const af__dense *d = &net->dense[layer];
    af_expr w = af_params_expr(net->params, d->weight), y;
    if (d->has_gain) {
        af_expr norm = af_sqrt(c, af_sum_axis(c, af_square(c, w), 0));
        w = af_mul(c, w, af_div(c, af_params_expr(net->params, d->gain), norm));
    }
    y = af_matmul(c, x, w);
    return d->has_bias ? af_add(c, y, af_params_expr(net->params, d->bias)) : y;
}

/* Zeroes a fraction of the elements and scales the rest up, where the block is wide enough. */
static af_expr af__dropout(const af_net *net, af_expr x, size_t width, size_t place, af_expr seed) {
    af_context *c = af_params_context(net->params);
    size_t rank, dims[AF_RANK_MAX];
    double drop = net->desc.dropout;
    af_expr keep;
    if (drop == 0.0 || !seed.id || width <= net->desc.dropout_above) return x;
    rank = af_shape(c, x, dims);
    keep = af_random(c, rank, dims, seed, (net->dropout_stream << 16) + place);
    keep = af_less(c, af_constant(c, drop), keep);
    return af_mul(c, af_scale(c, keep, 1.0 / (1.0 - drop)), x);
}

static af_expr af__apply_resdense(const af_net *net, af_expr x, af_expr seed) {
    af_context *c = af_params_context(net->params);
    const af_net_desc *d = &net->desc;
    size_t i, layer = 0, width = d->inputs;
    for (i = 0; i <= 2 * d->depth; i++) {
        size_t next = af__block_width(d, i);
        af_expr h;
        if (af__has_entry(i, width, next)) x = af__dense_apply(net, layer++, x);
        h = af__dropout(net, af_activate(c, d->activation, x), next, 2 * i, seed);
        h = af__dense_apply(net, layer++, h);
        h = af__dropout(net, af_activate(c, d->activation, h), next, 2 * i + 1, seed);
        x = af_add(c, x, af__dense_apply(net, layer++, h)); /* eq. 11 */
        width = next;
    }
    return af__dense_apply(net, layer, x);
}

AF_API af_expr af_net_apply(const af_net *net, af_expr x, af_expr dropout_seed) {
    af_context *c = af_params_context(net->params);
    size_t i, dims[AF_RANK_MAX], rank = af_shape(c, x, dims);
    if (!x.id) return x;
    if (rank < 2 || dims[rank - 1] != net->desc.inputs) {
        af__fail(c, AF_ERROR_SHAPE, "network '%s': x is %s, expected (..., %lu)", net->desc.name,
                 af__show(c, x).text, (unsigned long)net->desc.inputs);
        return af__none;
    }
    if (net->desc.architecture == AF_RESDENSE) return af__apply_resdense(net, x, dropout_seed);
    for (i = 0; i < net->desc.depth; i++)
        x = af_activate(c, net->desc.activation, af__dense_apply(net, i, x));
    return af__dense_apply(net, net->desc.depth, x);
}
