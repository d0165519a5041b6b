/* ---- the network of the policy: one LSTM layer (Hochreiter & Schmidhuber 1997) ------------------
 *
 * gates = x W_x + h W_h + b = (i, f, g, o);  c' = sigmoid(f) c + sigmoid(i) tanh(g),
 * h' = sigmoid(o) tanh(c');  log p = log softmax(10 tanh(z/10) + mask), z = h' W_o + b_o.
 * |logit| <= 10 keeps exp within f32 together with the masks, and e^20 to one is certain enough. */

enum { DP__LSTM_X = 0, DP__LSTM_H, DP__LSTM_B, DP__LSTM_OUT, DP__LSTM_OUT_B, DP__LSTM_VIEWS };

typedef struct dp__lstm {
    af_context *c;
    af_params *params;
    size_t width, features, choices;
    size_t view[DP__LSTM_VIEWS];
} dp__lstm;

/* Standard deviation 1/sqrt(3 width), that of the usual uniform numbers in +-1/sqrt(width). */
static af_status dp__lstm_open(dp__lstm *n, uint64_t seed) {
    static const char *const names[DP__LSTM_VIEWS] = {"x", "h", "b", "out", "out_b"};
    size_t dims[DP__LSTM_VIEWS][2], k;
    double scale = 1.0 / sqrt(3.0 * (double)n->width);
    af_status s = af_params_create(n->c, seed, &n->params);
    dims[DP__LSTM_X][0] = n->features;
    dims[DP__LSTM_H][0] = n->width;
    dims[DP__LSTM_X][1] = dims[DP__LSTM_H][1] = dims[DP__LSTM_B][0] = 4 * n->width;
    dims[DP__LSTM_OUT][0] = n->width;
    dims[DP__LSTM_OUT][1] = dims[DP__LSTM_OUT_B][0] = n->choices;
    dims[DP__LSTM_B][1] = dims[DP__LSTM_OUT_B][1] = 1;
    for (k = 0; k < (size_t)DP__LSTM_VIEWS && s == AF_OK; k++)
        s = af_params_add(n->params, names[k], k == DP__LSTM_B || k == DP__LSTM_OUT_B ? 1 : 2,
                          dims[k], AF_INIT_NORMAL, scale, &n->view[k]);
    return s;
}

static af_expr dp__lstm_view(const dp__lstm *n, size_t k) {
    return af_params_expr(n->params, n->view[k]);
}

/* x W_x + b: (rows, features) -> (rows, 4 width). */
static af_expr dp__lstm_input(const dp__lstm *n, af_expr x) {
    return af_add(n->c, af_matmul(n->c, x, dp__lstm_view(n, DP__LSTM_X)),
                  dp__lstm_view(n, DP__LSTM_B));
}

/* One step: input (rows, 4 width), *h and *state (rows, width) are replaced. */
static void dp__lstm_step(const dp__lstm *n, af_expr input, af_expr *h, af_expr *state) {
    af_context *c = n->c;
    af_expr gates = af_add(c, input, af_matmul(c, *h, dp__lstm_view(n, DP__LSTM_H))), part[4];
    size_t k;
    for (k = 0; k < 4; k++) part[k] = af_slice(c, gates, 1, k * n->width, n->width);
    *state = af_add(c, af_mul(c, af_sigmoid(c, part[1]), *state),
                    af_mul(c, af_sigmoid(c, part[0]), af_tanh(c, part[2])));
    *h = af_mul(c, af_sigmoid(c, part[3]), af_tanh(c, *state));
}

/* Log-probabilities (rows, choices) of h (rows, width) and mask (rows, choices). */
static af_expr dp__lstm_log(const dp__lstm *n, af_expr h, af_expr mask) {
    af_context *c = n->c;
    af_expr z = af_add(c, af_matmul(c, h, dp__lstm_view(n, DP__LSTM_OUT)),
                       dp__lstm_view(n, DP__LSTM_OUT_B));
    af_expr logit = af_add(c, af_scale(c, af_tanh(c, af_scale(c, z, 0.1)), 10.0), mask);
    return af_sub(c, logit, af_log(c, af_sum_axis(c, af_exp(c, logit), -1)));
}

/* Log-probabilities (rows, steps, choices) of whole sequences: x (rows, steps, features), mask
 * (rows, steps, choices). */
static af_expr dp__lstm_sequence(const dp__lstm *n, af_expr x, af_expr mask, size_t rows,
                                 size_t steps) {
    af_context *c = n->c;
    size_t flat[2], whole[3], state[2], one[3], t;
    af_expr input, h, cell, all[DP_FORMULA_MAX];
    flat[0] = rows * steps;
    flat[1] = n->features;
    whole[0] = one[0] = state[0] = rows;
    whole[1] = steps;
    whole[2] = 4 * n->width;
    state[1] = n->width;
    one[1] = 1;
    one[2] = n->width;
    input = af_reshape(c, dp__lstm_input(n, af_reshape(c, x, 2, flat)), 3, whole);
    h = cell = af_full(c, 2, state, 0.0);
    for (t = 0; t < steps; t++) {
        size_t gates[2];
        gates[0] = rows;
        gates[1] = 4 * n->width;
        dp__lstm_step(n, af_reshape(c, af_slice(c, input, 1, t, 1), 2, gates), &h, &cell);
        all[t] = af_reshape(c, h, 3, one);
    }
    flat[1] = n->width;
    h = af_reshape(c, af_concat(c, 1, steps, all), 2, flat);
    flat[1] = n->choices;
    whole[2] = n->choices;
    return af_reshape(c, dp__lstm_log(n, h, af_reshape(c, mask, 2, flat)), 3, whole);
}

/* The sampler: parameters, x (rows, features), h, state (rows, width), mask (rows, choices) ->
 * h, state, log-probabilities, in f32. */
static af_status dp__lstm_compile(const dp__lstm *n, size_t rows, af_func **out) {
    af_func_desc d = DP__ZERO;
    af_expr in[5], result[3];
    size_t dims[2];
    dims[0] = rows;
    dims[1] = n->features;
    in[0] = af_params_input(n->params);
    in[1] = af_input(n->c, "observations", 2, dims);
    dims[1] = n->width;
    in[2] = result[0] = af_input(n->c, "h", 2, dims);
    in[3] = result[1] = af_input(n->c, "state", 2, dims);
    dims[1] = n->choices;
    in[4] = af_input(n->c, "mask", 2, dims);
    dp__lstm_step(n, dp__lstm_input(n, in[1]), &result[0], &result[1]);
    result[2] = dp__lstm_log(n, result[0], in[4]);
    d.inputs = in;
    d.input_count = 5;
    d.outputs = result;
    d.output_count = 3;
    d.precision = AF_F32;
    d.label = "the policy";
    return af_compile(n->c, &d, out);
}

/* The trainer: x, mask as above, choice (rows, steps, choices): at the token taken the advantage of
 * its formula, entropy (rows, steps, 1): weight of the entropy. loss = -(sum choice log p + sum
 * entropy H)/rows, H = -sum p log p. */
static af_status dp__lstm_trainer(const dp__lstm *n, size_t rows, size_t steps, size_t pieces,
                                  double rate, af_trainer **out) {
    af_context *c = n->c;
    af_trainer_desc d = DP__ZERO;
    af_expr in[4], log_p, weighted;
    size_t dims[3];
    dims[0] = rows;
    dims[1] = steps;
    dims[2] = n->features;
    in[0] = af_input(c, "observations", 3, dims);
    dims[2] = n->choices;
    in[1] = af_input(c, "mask", 3, dims);
    in[2] = af_input(c, "choice", 3, dims);
    dims[2] = 1;
    in[3] = af_input(c, "entropy", 3, dims);
    log_p = dp__lstm_sequence(n, in[0], in[1], rows, steps);
    weighted = af_mul(c, log_p, af_sub(c, af_mul(c, in[3], af_exp(c, log_p)), in[2]));
    d.params = n->params;
    d.inputs = in;
    d.input_count = 4;
    d.loss = af_scale(c, af_sum(c, weighted), 1.0 / (double)rows);
    if (af_error_status(c) != AF_OK) return af_error_status(c);
    d.pieces = pieces;
    d.precision = AF_F32;
    d.schedule.kind = AF_SCHEDULE_CONSTANT;
    d.schedule.rate = rate;
    d.schedule.warmup = -1.0;
    return af_trainer_create(c, &d, out);
}
