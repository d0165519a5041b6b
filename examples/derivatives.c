/* cc -O2 -I. examples/derivatives.c -o derivatives -lm
 *
 * Derivatives are expressions like any other, so they can be taken again. Here f = exp(-r^2/2) of
 * five points at once: its gradient in reverse, a directional derivative forward, its Laplacian,
 * and the gradient of the Laplacian (third order), against the closed forms. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POINTS = 5 };

/* f of the rows of x (POINTS,3), shape (POINTS,1). */
static af_expr gauss(af_context *c, af_expr x) {
    af_expr r2 = af_sum_axis(c, af_square(c, x), -1);
    return af_exp(c, af_scale(c, r2, -0.5));
}

/* Outputs: f (P,1), df/dx (P,3), df along t (P,1), Laplacian (P,1), its gradient (P,3). */
static af_status compile(af_context *c, af_func **out) {
    af_func_desc desc;
    af_expr input[2], output[5];
    size_t dims[2] = {POINTS, 3};
    input[0] = af_input(c, "x", 2, dims);
    input[1] = af_input(c, "t", 2, dims);
    output[0] = gauss(c, input[0]);
    /* A point's f depends on that point alone, so the gradient of the sum holds all gradients. */
    af_grad(c, af_sum(c, output[0]), 1, &input[0], &output[1]);
    af_jvp(c, 1, &output[0], 1, &input[0], &input[1], &output[2]);
    af_laplacian(c, output[0], input[0], NULL, &output[3]);
    af_grad(c, af_sum(c, output[3]), 1, &input[0], &output[4]);
    memset(&desc, 0, sizeof desc); /* zero is the default of every option */
    desc.inputs = input;
    desc.input_count = 2;
    desc.outputs = output;
    desc.output_count = 5;
    return af_compile(c, &desc, out); /* tells what went wrong above, too */
}

static double larger(double a, double b) { return fabs(b) > a ? fabs(b) : a; }

int main(void) {
    static double x[POINTS][3], t[POINTS][3];
    static double f[POINTS], grad[POINTS][3], along[POINTS], laplacian[POINTS], third[POINTS][3];
    const void *in[2];
    void *out[5];
    double error = 0.0;
    af_context *c = NULL;
    af_func *func = NULL;
    af_workspace *work = NULL;
    int p, k;
    if (af_context_create(NULL, &c) != AF_OK || compile(c, &func) != AF_OK ||
        af_workspace_create(func, 1, &work) != AF_OK) {
        fprintf(stderr, "%s\n", c ? af_error(c) : "out of memory");
        return 1;
    }
    for (p = 0; p < POINTS; p++)
        for (k = 0; k < 3; k++) {
            x[p][k] = af_random_normal(1, 0, (uint64_t)(3 * p + k));
            t[p][k] = af_random_normal(1, 1, (uint64_t)(3 * p + k));
        }
    in[0] = x;
    in[1] = t;
    out[0] = f;
    out[1] = grad;
    out[2] = along;
    out[3] = laplacian;
    out[4] = third;
    af_run(func, work, in, out);
    for (p = 0; p < POINTS; p++) {
        double r2 = x[p][0] * x[p][0] + x[p][1] * x[p][1] + x[p][2] * x[p][2];
        double xt = x[p][0] * t[p][0] + x[p][1] * t[p][1] + x[p][2] * t[p][2];
        double exact = exp(-0.5 * r2);
        printf("r = %.3f: f = %.6f, along t %.6f, Laplacian %.6f\n", sqrt(r2), f[p], along[p],
               laplacian[p]);
        error = larger(error, f[p] - exact);
        error = larger(error, along[p] + xt * exact);
        error = larger(error, laplacian[p] - (r2 - 3.0) * exact);
        for (k = 0; k < 3; k++) {
            error = larger(error, grad[p][k] + x[p][k] * exact);
            error = larger(error, third[p][k] - x[p][k] * (5.0 - r2) * exact);
        }
    }
    af_workspace_destroy(work);
    af_func_destroy(func);
    af_context_destroy(c);
    printf("largest difference from the closed forms: %.1e\n", error);
    return error < 1e-13 ? 0 : 1; /* some tens of roundings of numbers of size 1 */
}
