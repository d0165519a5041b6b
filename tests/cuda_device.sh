#!/bin/sh
# af_cuda.cu on the GPU of this machine: `make test-cuda`, which says where things are. The same tests as
# cuda.sh runs on the host: every operation in f64 and f32 beside a naive interpreter, large programs and
# trainings beside the CPU; then the kernels under compute-sanitizer, where it is installed and knows the
# device. Prints a table.
. "$(dirname "$0")/checks.sh"

flags="-std=c99 -O1 -DAF_CUDA -DAF__WHITE_BOX= -Wall -Wextra -Wno-unused-function ${CPPFLAGS:-} -I$headers -Itests"

build() {
    name=$1
    shift
    ${CC:-cc} $flags "$@" $openmp $CUDA_LIBS -lm -o "$out/$name"
}
run() {
    log=$out/$1.txt
    shift
    "$@" >"$log" 2>&1 || { tail -n 20 "$log"; false; }
}
# one check and its line of the table
row() {
    before=$failed began=$(date +%s)
    check "$@" >>"$out/failures.txt"
    if [ "$failed" -eq "$before" ]; then word=passed; else word=FAILED; fi
    echo "| $1 | $word | $(($(date +%s) - began)) s |"
}

device=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
echo "${device:-a device that nvidia-smi does not name}, $(date +%Y-%m-%d)"
echo
echo "| check | result | time |"
echo "|---|---|---:|"
# shellcheck disable=SC2086 # a list of words
row "expressions: builds" build expressions -Isrc tests/test_expr.c "$CUDA_OBJECT" $libraries
# shellcheck disable=SC2086
row "fits: builds" build fits ${CUDA_HEADERS:-} -Isrc tests/cuda_fit.c "$CUDA_OBJECT" $libraries
row "expressions" run expressions "$out/expressions"
row "fits" run fits env AF_VERBOSE=1 "$out/fits"

# Some virtual machines do not let compute-sanitizer near the device: then a program that does nothing
# there fails under it, too.
bin=$(dirname "$(realpath "$NVCC")")
sanitizer=$(command -v compute-sanitizer || ls "$bin/compute-sanitizer" "$bin/../compute-sanitizer/compute-sanitizer" 2>/dev/null)
sanitizer=$(echo "$sanitizer" | head -n 1)
if [ -z "$sanitizer" ]; then
    echo "| compute-sanitizer | not installed | |"
elif ! run probe "$sanitizer" --error-exitcode 1 "$out/fits" nothing >/dev/null; then
    echo "| compute-sanitizer | does not work on this device | |"
    sed 's/^/  /' "$out/probe.txt" | head -n 5 >>"$out/failures.txt"
else
    # cuBLAS's own kernels are no matter of these tests, and what its calls report is often meant so
    row "kernels, memcheck" run memcheck "$sanitizer" --tool memcheck --report-api-errors no --error-exitcode 1 \
        "$out/fits" kernels
    row "kernels, racecheck" run racecheck "$sanitizer" --tool racecheck --error-exitcode 1 \
        --kernel-name kernel_substring=af__cuda_threads "$out/fits" kernels
fi
echo
cat "$out/failures.txt"
report
