#!/bin/sh
# What the compiled library exports (af_ and dp_ only, and all it declares), what it asks of the system
# (nothing that prints, exits, reads the clock or the environment), and that it has no writable data: in
# the objects of hygiene_compile.sh, which runs before, and one with OpenMP.
. "$(dirname "$0")/checks.sh"
made=$build/test/hygiene_compile.files

cat >"$out/all.c" <<'END'
#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"
END

# `name type` of every symbol of an object, without the underscore that macOS puts before names.
symbols() {
    nm -P "$1" | awk -v on="$(uname)" \
        '{ name = $1; if (on == "Darwin") sub(/^_/, "", name); print name, $2 }'
}

# none TEXT: succeeds when it is empty, else prints it.
none() {
    [ -z "$1" ] || { echo "$1"; false; }
}

exported() {
    awk '$2 ~ /^[A-TV-Zu]$/ { print $1 }' "$1"
}

# inspect NAME OBJECT
inspect() {
    name=$1
    check "$name: nm" symbols "$2"
    symbols "$2" >"$out/$name.txt" 2>/dev/null
    exported "$out/$name.txt" | sort >"$out/$name.exported"
    check "$name: exports only af_ and dp_" \
        none "$(grep -vE '^(af|dp)_[a-z0-9]' "$out/$name.exported")"
    check "$name: defines every function it declares" \
        none "$(comm -23 "$out/declared" "$out/$name.exported")"
    check "$name: asks for nothing that prints, ends, or reads the clock" none "$(awk '$2 == "U" &&
        $1 ~ /^(_?_?exit|quick_exit|abort|__assert.*|raise|signal|(__)?printf(_chk)?|puts|putchar|perror|stdout|stderr|__std(out|err)p|s?rand|rand_r|s?random|[dl]rand48|time|clock|clock_gettime|gettimeofday|localtime.*|gmtime.*|getenv|secure_getenv|setlocale|system)$/ {
            print $1 }' "$out/$name.txt")"
    check "$name: has no stb_ds symbol" none "$(grep -E '^_?stbds' "$out/$name.txt")"
    [ "$(uname)" = Darwin ] || # where tables of pointers always count as data
        check "$name: has no writable data" none "$(awk '$2 ~ /^[bBdDsSC]$/' "$out/$name.txt")"
}

# af_..._cuda is declared under AF_CUDA and defined in af_cuda.cu.
grep -hoE '^ *AF_API [^(]*[ *](af|dp)_[a-z0-9_]+\(' "$headers"/*.h |
    grep -oE '(af|dp)_[a-z0-9_]+\($' | tr -d '(' | grep -v '_cuda$' | sort -u >"$out/declared"
check "the declarations are found" test -s "$out/declared"

if have gcc; then
    inspect gcc "$made/implementation_both.gcc.o"
    inspect gcc-optimised "$made/optimised.gcc.o"
    openmp() {
        gcc -fopenmp -std=c99 -fno-pie -DAF_NO_AVX "-I$headers" ${CPPFLAGS:-} "$@" "$out/all.c"
    }
    if openmp -fsyntax-only 2>/dev/null; then
        check "gcc-openmp: compiles" openmp -c -o "$out/openmp.o"
        inspect gcc-openmp "$out/openmp.o"
    fi
fi
if have g++; then inspect g++-optimised "$made/optimised.g++.o"; fi
if have clang; then inspect clang-optimised "$made/optimised.clang.o"; fi
report
