#!/bin/sh
# Every piece of C that a reader may copy compiles: the blocks between ```c and ``` in README.md and in
# the manuals of the headers, and the examples. A block with a main is a whole program; another one is
# the body of a function that has an af_context *context. Nothing is made of them: what is declared is
# defined (hygiene_symbols.sh), and what programs do is tested elsewhere.
. "$(dirname "$0")/checks.sh"

for source in README.md src/actionfinder.in.h src/deeppotential.in.h; do
    [ -f "$source" ] || continue
    awk -v to="$out/$(basename "$source" | tr . _)" '
        { sub(/^ \* ?/, "") } # the margin of a manual
        /^ *```c *$/ && !inside { inside = 1; file = to "_" NR ".txt"; printf "" >file; next }
        /^ *```/ { inside = 0 }
        inside { print >file }' "$source"
done

compile() {
    compile_with "${CC:-cc}" "$@"
}
# compile_with COMPILER ARGUMENT...
compile_with() {
    compiler=$1
    shift
    $compiler -std=c99 -fsyntax-only -Wall -Wextra -Wno-unused -Werror -DAF_NO_AVX ${CPPFLAGS:-} \
        "-I$headers" "$@"
}

for text in "$out"/*.txt; do
    [ -f "$text" ] || continue
    program=${text%.txt}
    if grep -q 'int main(' "$text"; then
        cp "$text" "$program.c"
        check "$(basename "$program")" compile "$program.c"
    else
        { printf '#include "deeppotential.h"\nvoid snippet(af_context *context);\n'
          printf 'void snippet(af_context *context) {\n'
          cat "$text"
          printf '}\n'; } >"$program.c"
        check "$(basename "$program")" compile "$program.c"
    fi
done
for example in examples/*.c; do
    [ -f "$example" ] || continue
    case $example in
        */mpi_*) have mpicc || continue ;;
        */nccl_*) cuda=${CUDA_HOME:-/usr/local/cuda}/include # compiled alone, where both are there
            [ -f "$cuda/nccl.h" ] || continue
            check "$example" compile -Wno-unknown-pragmas "-I$cuda" "$example"
            continue ;;
    esac
    CC_OF=$(case $example in */mpi_*) echo mpicc ;; *) echo "${CC:-cc}" ;; esac)
    check "$example" compile_with "$CC_OF" "$example"
done
check "README.md shows a program in C" ls "$out"/README_md_*.txt
report
