/* What cuda_train.c, mpi_train.c and nccl_train.c train: a network learns z = sin(3 x) cos(2 y)
 * from ROWS random points a step. With several machines, or devices, each has its share of the
 * rows, and an allreduce makes the mean of their gradients: up to rounding the same training. */
#ifndef WAVE_H
#define WAVE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 1024, STEPS = 600 };

typedef struct wave {
    size_t machine, machines; /* this one, of so many */
    const af_backend *backend; /* NULL: the CPU */
    af_status (*allreduce)(double *values, size_t n, void *user); /* NULL: there is one */
    void *user;
    double loss;   /* of the last step, of all rows */
    double square; /* mean square of the parameters: machines agree on it */
} wave;

static af_status wave_trainer(af_context *c, af_params *params, const af_net *net, const wave *w,
                              af_trainer **out) {
    size_t dims[2];
    af_expr data[2], none = {0};
    af_trainer_desc desc;
    memset(&desc, 0, sizeof desc);
    dims[0] = ROWS / w->machines;
    dims[1] = 2;
    data[0] = af_input(c, "(x, y)", 2, dims);
    dims[1] = 1;
    data[1] = af_input(c, "z", 2, dims);
    desc.params = params;
    desc.loss = af_mean(c, af_square(c, af_sub(c, af_net_apply(net, data[0], none), data[1])));
    desc.inputs = data;
    desc.input_count = 2;
    desc.schedule.rate = 1e-2; /* falls along a cosine to a hundredth */
    desc.allreduce = w->allreduce;
    desc.allreduce_user = w->user;
    return af_trainer_create(c, &desc, out);
}

/* This machine's rows of a step: random numbers are a function of (seed, stream, index), so that
 * each makes its own without the others'. */
static void wave_rows(const wave *w, size_t step, double *xy, double *z) {
    size_t rows = ROWS / w->machines, i;
    for (i = 0; i < rows; i++) {
        size_t at = 2 * (w->machine * rows + i);
        xy[2 * i] = 2.0 * af_random_uniform(1, step, at) - 1.0;
        xy[2 * i + 1] = 2.0 * af_random_uniform(1, step, at + 1) - 1.0;
        z[i] = sin(3.0 * xy[2 * i]) * cos(2.0 * xy[2 * i + 1]);
    }
}

static af_status wave_steps(wave *w, af_params *params, af_trainer *trainer) {
    static const size_t shown = 100;
    double *xy = (double *)malloc(2 * ROWS * sizeof *xy), *z = (double *)malloc(ROWS * sizeof *z);
    const void *inputs[2];
    af_status s = xy && z ? AF_OK : AF_ERROR_MEMORY;
    size_t step, i, n = af_params_size(params);
    inputs[0] = xy;
    inputs[1] = z;
    for (step = 0; step < STEPS && s == AF_OK; step++) {
        wave_rows(w, step, xy, z);
        s = af_trainer_step(trainer, inputs, (double)step / STEPS, &w->loss);
        if (step % shown == 0 && w->machine == 0)
            printf("step %3d, loss %.3e\n", (int)step, w->loss);
    }
    for (i = 0, w->square = 0.0; i < n; i++)
        w->square += af_params_data(params)[i] * af_params_data(params)[i] / (double)n;
    free(xy);
    free(z);
    return s;
}

/* Trains; 0 when that failed, which it tells. */
static int wave_train(wave *w) {
    af_context_desc cd;
    af_net_desc nd;
    af_context *c = NULL;
    af_params *params = NULL;
    af_net *net = NULL;
    af_trainer *trainer = NULL;
    int good;
    memset(&cd, 0, sizeof cd);
    memset(&nd, 0, sizeof nd);
    cd.backend = w->backend;
    nd.inputs = 2;
    nd.outputs = 1;
    nd.width = 32;
    nd.depth = 3;
    nd.activation = AF_TANH;
    good = af_context_create(&cd, &c) == AF_OK &&
           af_params_create(c, 1, &params) == AF_OK && /* the same seed everywhere */
           af_net_create(params, &nd, &net) == AF_OK &&
           wave_trainer(c, params, net, w, &trainer) == AF_OK &&
           wave_steps(w, params, trainer) == AF_OK;
    if (!good) fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
    af_trainer_destroy(trainer);
    af_net_destroy(net);
    af_params_destroy(params);
    af_context_destroy(c);
    return good;
}

#endif
