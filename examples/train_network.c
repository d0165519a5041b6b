/* cc -O3 -I. examples/train_network.c -o train_network -lm
 *
 * The whole way of learning, with a network small enough to see through: parameters, a network as
 * an expression, a loss, a trainer that differentiates it, and the trained network compiled alone.
 * It learns sin(x) on [-pi, pi] from 64 random points a step. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 64, STEPS = 3000, SHOWN = 101 };

/* The mean square of net(x) - y; x and y (BATCH,1) are the inputs. */
static af_status make_trainer(af_context *c, af_params *params, const af_net *net,
                              af_trainer **out) {
    const size_t dims[2] = {BATCH, 1};
    af_expr data[2], none = {0};
    af_trainer_desc desc;
    memset(&desc, 0, sizeof desc); /* zero is the default of every option */
    data[0] = af_input(c, "x", 2, dims);
    data[1] = af_input(c, "y", 2, dims);
    desc.params = params;
    desc.loss = af_mean(c, af_square(c, af_sub(c, af_net_apply(net, data[0], none), data[1])));
    desc.inputs = data;
    desc.input_count = 2;
    desc.schedule.rate = 1e-2; /* falls along a cosine to a hundredth */
    return af_trainer_create(c, &desc, out);
}

static af_status train(af_trainer *trainer) {
    double x[BATCH], y[BATCH], loss = 0.0;
    const void *inputs[2];
    uint64_t step, i;
    inputs[0] = x;
    inputs[1] = y;
    for (step = 0; step < STEPS; step++) {
        af_status status;
        for (i = 0; i < BATCH; i++) {
            x[i] = 3.14159265358979 * (2.0 * af_random_uniform(1, step, i) - 1.0);
            y[i] = sin(x[i]);
        }
        status = af_trainer_step(trainer, inputs, (double)step / (double)STEPS, &loss);
        if (status != AF_OK) return status;
        if (step % 500 == 0) printf("step %4d, loss %.1e\n", (int)step, loss);
    }
    return AF_OK;
}

/* The network as a function (parameters, x) -> y, and its largest error. */
static af_status largest_error(af_context *c, af_params *params, const af_net *net, double *error) {
    const size_t dims[2] = {SHOWN, 1};
    double x[SHOWN], y[SHOWN];
    af_expr inputs[2], output, none = {0};
    af_func_desc desc;
    af_func *func = NULL;
    af_workspace *work = NULL;
    const void *in[2];
    void *out[1];
    int i;
    memset(&desc, 0, sizeof desc);
    inputs[0] = af_params_input(params);
    inputs[1] = af_input(c, "x", 2, dims);
    output = af_net_apply(net, inputs[1], none);
    desc.inputs = inputs;
    desc.input_count = 2;
    desc.outputs = &output;
    desc.output_count = 1;
    if (af_compile(c, &desc, &func) != AF_OK) return af_error_status(c);
    if (af_workspace_create(func, 1, &work) != AF_OK) return AF_ERROR_MEMORY;
    for (i = 0; i < SHOWN; i++) x[i] = 3.14159265358979 * (i - 50) / 50.0;
    in[0] = af_params_data(params);
    in[1] = x;
    out[0] = y;
    af_run(func, work, in, out);
    for (*error = 0.0, i = 0; i < SHOWN; i++)
        if (fabs(y[i] - sin(x[i])) > *error) *error = fabs(y[i] - sin(x[i]));
    af_workspace_destroy(work);
    af_func_destroy(func);
    return AF_OK;
}

int main(void) {
    af_net_desc desc;
    af_context *c = NULL;
    af_params *params = NULL;
    af_net *net = NULL;
    af_trainer *trainer = NULL;
    double error = 1.0;
    memset(&desc, 0, sizeof desc);
    desc.inputs = desc.outputs = 1;
    desc.width = 32; /* two hidden layers */
    desc.activation = AF_TANH;
    if (af_context_create(NULL, &c) != AF_OK || af_params_create(c, 1, &params) != AF_OK ||
        af_net_create(params, &desc, &net) != AF_OK ||
        make_trainer(c, params, net, &trainer) != AF_OK || train(trainer) != AF_OK ||
        largest_error(c, params, net, &error) != AF_OK) {
        fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
        return 1;
    }
    printf("%d parameters\n", (int)af_params_size(params));
    af_trainer_destroy(trainer);
    af_net_destroy(net);
    af_params_destroy(params);
    af_context_destroy(c);
    printf("largest error of the network: %.1e\n", error);
    return error < 0.02 ? 0 : 1;
}
