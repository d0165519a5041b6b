#!/bin/sh
# What the compiled library exports (af_ and dp_ only, and all it declares), what it asks of the system
# (nothing that prints, exits, reads the clock or the environment), and that it has no writable data.
. "$(dirname "$0")/checks.sh"

cat >"$out/all.c" <<'END'
#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"
END
cp "$out/all.c" "$out/all.cc"

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

# Plain non-position-independent code: constant tables of pointers are read-only only there.
inspect() {
    name=$1
    compiler=$2
    shift 2
    check "$name: compiles" $compiler ${CPPFLAGS:-} "-I$headers" -fno-pie "$@" -c -o "$out/$name.o"
    check "$name: nm" symbols "$out/$name.o"
    symbols "$out/$name.o" >"$out/$name.txt" 2>/dev/null
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
    inspect gcc-O0 gcc -std=c99 -O0 "$out/all.c"
    inspect gcc-O2 gcc -std=c99 -O2 "$out/all.c"
    if gcc -fopenmp -std=c99 "-I$headers" ${CPPFLAGS:-} -fsyntax-only "$out/all.c" 2>/dev/null; then
        inspect gcc-openmp gcc -std=c99 -O1 -DAF_NO_AVX -fopenmp "$out/all.c"
    fi
fi
if have g++; then inspect g++ g++ -std=c++17 -O1 -DAF_NO_AVX "$out/all.cc"; fi
if have clang; then inspect clang clang -std=c11 -O1 -DAF_NO_AVX "$out/all.c"; fi
report
