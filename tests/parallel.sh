#!/bin/sh
# Data parallel training with MPI, where it is installed: two processes with half of the rows each get
# the parameters that one with all of them gets.
. "$(dirname "$0")/checks.sh"

OMP_NUM_THREADS=1
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM

processes() {
    mpirun --oversubscribe -n "$1" "$out/mpi_train" >"$out/$1.txt" 2>&1 || { cat "$out/$1.txt"; false; }
}
figure() {
    sed -n 's/^mean square of the parameters //p' "$out/$1.txt"
}
# The same to ten digits.
agree() {
    echo "$(figure 1) $(figure 2)"
    awk -v a="$(figure 1)" -v b="$(figure 2)" \
        'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a > 0 && b > 0 && d <= 1e-10 * a) }'
}

if have mpicc && have mpirun; then
    grep -v ACTIONFINDER_IMPLEMENTATION examples/mpi_train.c >"$out/mpi_train.c" # the object has it
    check "mpi_train builds" mpicc -std=c99 -O1 -Wall -Wextra ${CPPFLAGS:-} "-I$headers" -Iexamples \
        "$out/mpi_train.c" "$build/test/library.o" $openmp -lm -o "$out/mpi_train"
    check "one process" processes 1
    check "two processes" processes 2
    check "they agree" agree
else
    echo "  there is no MPI: examples/mpi_train.c was not run"
    check "the example is there" test -s examples/mpi_train.c
fi
report
