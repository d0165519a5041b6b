#!/bin/sh
# af_cuda.cu without a GPU: its kernels run on the host (cuda_host.h) beside the CPU's, in every test of
# expressions and in trainings; nvcc, where it is installed, compiles it for sm_75 and sm_90 (CUDA 13
# has nothing older) without a warning, as an object for a C99 program and as a part of a file of C++.
. "$(dirname "$0")/checks.sh"

OMP_NUM_THREADS=1
export OMP_NUM_THREADS
flags="${CPPFLAGS:-} -I$headers -Itests"
host="-DAF_CUDA_HOST=\"cuda_host.h\" -include $headers/actionfinder.h"
test_c="-std=c99 -O1 -DAF_CUDA -DCUDA_HOST -DAF__WHITE_BOX= -Wall -Wextra -Wno-unused-function -Werror"

# ---- on the host ----

object() {
    compiler=$1 standard=$2
    shift 2
    $compiler -std="$standard" -O2 $strict $flags $host -x c++ "$@"
}
# a test: its sources, then what it is linked with
build() {
    name=$1
    shift
    ${CC:-cc} $test_c $flags "$@" -lm -lstdc++ -o "$out/$name"
}
run() {
    "$out/$1" >"$out/$1.txt" 2>&1 || { cat "$out/$1.txt"; false; }
}

check "g++ as C++11" object g++ c++11 -c af_cuda.cu -o "$out/af_cuda.o"
if have clang++; then check "clang++ as C++17" object clang++ c++17 -fsyntax-only af_cuda.cu; fi

# An operation or an instruction without a kernel does not compile.
for line in 'AF__EACH(TANH,' 'case AF_INSTR_GATHER: return'; do
    grep -vF "$line" af_cuda.cu >"$out/less.cu"
    fails() { ! object g++ c++11 -I. -fsyntax-only "$out/less.cu" && ! cmp -s af_cuda.cu "$out/less.cu"; }
    check "without $line" fails
done

# shellcheck disable=SC2086 # a list of words
check "expressions: builds" build expressions -Isrc tests/test_expr.c "$out/af_cuda.o" $libraries $openmp
check "expressions" run expressions
# shellcheck disable=SC2086
check "fits: builds" build fits -Isrc tests/cuda_fit.c "$out/af_cuda.o" $libraries $openmp
check "fits" run fits

# What compute-sanitizer does on a device: AddressSanitizer looks for accesses outside of the device's
# memory and of a block's, ThreadSanitizer for two threads that meet where no barrier is between them.
sanitized() {
    name=$1
    shift
    object g++ c++11 -g1 -fno-omit-frame-pointer "$@" -c af_cuda.cu -o "$out/$name.o" &&
        build "$name" "$@" -Isrc tests/cuda_fit.c "$out/$name.o" $libraries $openmp
}
kernels() {
    "$out/$1" kernels >"$out/$1.txt" 2>&1 || { cat "$out/$1.txt"; false; }
}
works() {
    echo 'int main() { return 0; }' >"$out/empty.cc"
    g++ "$@" "$out/empty.cc" -o "$out/empty" 2>"$out/empty.txt" && "$out/empty" 2>>"$out/empty.txt"
}
if works -fsanitize=address,undefined; then
    check "kernels, memory: builds" sanitized memory -fsanitize=address,undefined -fno-sanitize-recover=undefined
    check "kernels, memory" kernels memory
fi
if works -fsanitize=thread; then
    # a prime number, as the distances that kernels add over are powers of two
    check "kernels, races: builds" sanitized races -fsanitize=thread -DCUDA_HOST_THREADS=5
    check "kernels, races" kernels races
fi

# ---- as a user has it: an object for a program in C99, and a part of one file of C++ ----

cat >"$out/main.c" <<'END'
#define AF_CUDA
#ifdef ONE_FILE
#  define ACTIONFINDER_IMPLEMENTATION
#endif
#include "actionfinder.h"
#ifdef ONE_FILE
#  include "af_cuda.cu"
#endif
#include <stdio.h>
/* Runs on the device, or says why not. */
int main(void) {
    const size_t dims[1] = {3};
    const double x[3] = {1.0, 2.0, 3.0};
    double sum = 0.0;
    const void *in[1];
    void *out[1];
    af_context_desc desc;
    af_func_desc f;
    af_expr input, output;
    af_context *c = NULL;
    af_func *func = NULL;
    af_workspace *work = NULL;
    size_t i;
    for (i = 0; i < sizeof desc; i++) ((char *)&desc)[i] = 0;
    for (i = 0; i < sizeof f; i++) ((char *)&f)[i] = 0;
    desc.backend = af_backend_cuda();
    printf("%s\n", desc.backend ? desc.backend->name : af_error_cuda());
    if (af_context_create(&desc, &c) != AF_OK) return 1;
    input = af_input(c, "x", 1, dims);
    output = af_sum(c, input);
    f.inputs = &input;
    f.outputs = &output;
    f.input_count = f.output_count = 1;
    in[0] = x;
    out[0] = &sum;
    if (af_compile(c, &f, &func) != AF_OK || af_workspace_create(func, 1, &work) != AF_OK ||
        af_run(func, work, in, out) != AF_OK)
        return 1;
    af_workspace_destroy(work);
    af_func_destroy(func);
    af_context_destroy(c);
    return sum == 6.0 ? 0 : 1;
}
END
cp "$out/main.c" "$out/main.cc"
check "one file of C++" g++ -std=c++11 $strict $flags -I. -DAF_NO_AVX -DAF_CUDA_HOST='"cuda_host.h"' -DONE_FILE \
    -fsyntax-only "$out/main.cc"

nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if have "$nvcc"; then
    cuda=$(dirname "$(dirname "$(realpath "$nvcc")")")
    libs="-lcudart -lcublas -lstdc++ -lm"
    lib=$(ls "$cuda"/lib64/libcudart.so "$cuda"/lib/libcudart.so "$cuda"/targets/*/lib/libcudart.so 2>/dev/null | head -n 1)
    if [ -n "$lib" ]; then lib=$(dirname "$lib"); libs="-L$lib -Wl,-rpath,$lib $libs"; fi
    device() {
        "$nvcc" -std=c++17 -O2 -Werror all-warnings -Xcompiler -Wall,-Wextra $flags "$@"
    }
    separate() {
        ${CC:-cc} -std=c99 -Wall -Wextra -Werror $flags "$out/main.c" "$out/af_cuda.nvcc.o" $libraries \
            $openmp $libs -o "$out/separate"
    }
    check "nvcc, an object" device -include "$headers/actionfinder.h" -gencode arch=compute_75,code=sm_75 \
        -gencode arch=compute_90,code=sm_90 -c af_cuda.cu -o "$out/af_cuda.nvcc.o"
    check "nvcc, an object: linked with C99" separate
    check "nvcc, an object: runs" run separate
    check "nvcc, one file" device -O0 -DAF_NO_AVX -DONE_FILE -arch=sm_90 -I. -x cu "$out/main.cc" -o "$out/nvcc_one" \
        -lcublas
    check "nvcc, one file: runs" run nvcc_one
    sed 's/^/  /' "$out/nvcc_one.txt"
else
    echo "  there is no nvcc: af_cuda.cu was compiled for the host alone"
fi
report
