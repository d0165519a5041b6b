#!/bin/sh
# af_cuda.cu on the GPU of this machine: `make test-cuda`, which says where things are. The same tests as
# cuda.sh runs on the host: every operation in f64 and f32 beside a naive interpreter, large programs and
# trainings beside the CPU; then again under compute-sanitizer, where it is installed.
. "$(dirname "$0")/checks.sh"

flags="-std=c99 -O1 -DAF_CUDA -DAF__WHITE_BOX= -Wall -Wextra -Wno-unused-function ${CPPFLAGS:-} -I$headers -Itests"

build() {
    name=$1
    shift
    ${CC:-cc} $flags "$@" ${OPENMP_FLAG:-} $CUDA_LIBS -lm -o "$out/$name"
}
run() {
    "$@" >"$out/run.txt" 2>&1 || { cat "$out/run.txt"; false; }
}

check "expressions: builds" build expressions -DAF_NO_AVX "-I$(dirname "$out")/learn" -Isrc tests/test_expr.c \
    "$CUDA_OBJECT"
check "fits: builds" build fits "-I$CUDA_ROOT/include" -Isrc tests/cuda_fit.c "$CUDA_OBJECT" \
    "$(dirname "$out")/library.o"
check "expressions" run "$out/expressions"
check "fits" run "$out/fits"
if have compute-sanitizer; then
    check "fits, memory" run compute-sanitizer --error-exitcode 1 "$out/fits"
    check "fits, races" run compute-sanitizer --tool racecheck --error-exitcode 1 "$out/fits"
fi
report
