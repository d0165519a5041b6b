/* mpicc -O2 -I. examples/mpi_train.c -o mpi_train -lm && mpirun -n 2 ./mpi_train
 *
 * Data parallel training on several machines: each process has its share of the rows, and the
 * trainer's allreduce makes the mean of their gradients and losses with MPI. The library knows
 * nothing of MPI. Any number of processes that divides ROWS gives the same numbers up to rounding. */

#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"

#include <mpi.h>

#include "wave.h"

/* values[0..n) become their mean over all processes. */
static af_status mean_of_all(double *values, size_t n, void *user) {
    const wave *w = (const wave *)user;
    size_t i;
    if (MPI_Allreduce(MPI_IN_PLACE, values, (int)n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD) !=
        MPI_SUCCESS)
        return AF_ERROR_BACKEND;
    for (i = 0; i < n; i++) values[i] /= (double)w->machines;
    return AF_OK;
}

int main(int argc, char **argv) {
    wave w;
    int rank, size, good;
    memset(&w, 0, sizeof w);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    w.machine = (size_t)rank;
    w.machines = (size_t)size;
    w.allreduce = mean_of_all;
    w.user = &w;
    good = ROWS % size == 0;
    if (!good) fprintf(stderr, "%d processes do not divide %d rows\n", size, (int)ROWS);
    if (good && !wave_train(&w)) MPI_Abort(MPI_COMM_WORLD, 1); /* the others would wait */
    good = good && w.loss < 1e-3;
    if (rank == 0) {
        printf("mean square of the parameters %.12f\n", w.square);
        printf("loss of %d processes %.1e\n", size, w.loss);
    }
    MPI_Finalize();
    return good ? 0 : 1;
}
