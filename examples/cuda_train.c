/* nvcc -O2 -arch=native -c af_cuda.cu && cc -O2 -DAF_CUDA -I. examples/cuda_train.c af_cuda.o -L/usr/local/cuda/lib64 -lcudart -lcublas -lstdc++ -lm
 *
 * Training on a GPU: the context gets a backend, all else is as on the CPU. af_backend_cuda is NULL
 * where there is no device, and NULL is the CPU, so that the program runs anywhere. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include "wave.h"

int main(void) {
    wave w;
    memset(&w, 0, sizeof w);
    w.machines = 1;
#ifdef AF_CUDA
    w.backend = af_backend_cuda();
    if (!w.backend) printf("%s\n", af_error_cuda());
#endif
    printf("on the %s\n", w.backend ? w.backend->name : "CPU");
    if (!wave_train(&w)) return 1;
    printf("mean square of the parameters %.12f\n", w.square);
    printf("loss %.1e\n", w.loss);
    return w.loss < 1e-3 ? 0 : 1;
}
