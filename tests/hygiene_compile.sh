#!/bin/sh
# The headers compile without a warning as C99, C11, C++11 and C++17, in every way a program may use
# them, and link. hygiene_symbols.sh looks into the objects.
. "$(dirname "$0")/checks.sh"

# Position-dependent code: constant tables of pointers are read-only only there.
if [ "$(uname)" = Darwin ]; then
    code='' program_of=''
else
    code=-fno-pie program_of=-no-pie
fi

cat >"$out/declarations.c" <<'END'
#include "actionfinder.h"
int used(void);
int used(void) { return AF_VERSION_MAJOR; }
END
cat >"$out/declarations_both.c" <<'END'
#include "deeppotential.h"
#include "actionfinder.h"
int used(void);
int used(void) { return DP_VERSION[0]; }
END
cat >"$out/implementation.c" <<'END'
#define ACTIONFINDER_IMPLEMENTATION
#include "actionfinder.h"
END
cat >"$out/implementation_both.c" <<'END'
#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"
END
cat >"$out/implementation_dp.c" <<'END'
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"
END
cat >"$out/twice.c" <<'END'
#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "actionfinder.h"
#include "deeppotential.h"
#include "actionfinder.h"
#include "deeppotential.h"
END
cp "$out/implementation_both.c" "$out/optimised.c"
(echo '#define AF_STATIC'; cat "$out/implementation_both.c") >"$out/static.c"

# Half of a program: the function PART, used by main of the other half.
half() {
    echo '#include "deeppotential.h"'
    echo '#ifdef __cplusplus'
    echo 'extern "C"'
    echo '#endif'
    echo "int $1(void);"
    echo "int $1(void) {"
    echo '    af_context *context;'
    echo '    int good = dp_version()[0] == DP_VERSION[0] && af_version()[0] == AF_VERSION[0];'
    echo '    if (af_context_create(0, &context) != AF_OK) return 0;'
    echo '    af_context_destroy(context);'
    echo '    return good;'
    echo '}'
}
main_using() {
    echo '#ifdef __cplusplus'
    echo 'extern "C"'
    echo '#endif'
    echo "int $1(void);"
    echo "int main(void) { return $1() ? 0 : 1; }"
}
(half one; main_using one) >"$out/user.c"
(cat "$out/static.c"; half one) >"$out/static_one.c"
(cat "$out/static.c"; half two; main_using one) >"$out/static_two.c"
(cat "$out/twice.c"; half one; main_using one) >"$out/whole.c"
for file in "$out"/*.c; do cp "$file" "${file%.c}.cc"; done

# compile COMPILER STANDARD FILE OPTION...: to $out/FILE.COMPILER.o
compile() {
    compiler=$1 standard=$2 file=$3
    shift 3
    case $compiler in
        *++) $compiler -std="$standard" $strict $code ${CPPFLAGS:-} "-I$headers" "$@" -c "$out/$file.cc" \
                -o "$out/$file.$compiler.o" ;;
        *) $compiler -std="$standard" $strict_c $code ${CPPFLAGS:-} "-I$headers" "$@" -c "$out/$file.c" \
                -o "$out/$file.$compiler.o" ;;
    esac
}

# The newer and the older standard of each language; objects are made for one of them. Optimised code
# has warnings of its own; clang++ finds there what clang does.
for compiler in $(installed gcc clang g++ clang++); do
    case $compiler in
        *++) first=c++17 second=c++11 ;;
        *) first=c99 second=c11 ;;
    esac
    for file in implementation_both implementation_dp; do
        check "$compiler $first $file" compile $compiler $first $file
    done
    check "$compiler $first implementation, AF_NO_AVX" compile $compiler $first implementation -DAF_NO_AVX
    for file in declarations declarations_both static; do
        check "$compiler $first $file" compile $compiler $first $file -fsyntax-only
    done
    for file in declarations declarations_both implementation_both static; do
        check "$compiler $second $file" compile $compiler $second $file -fsyntax-only
    done
    case $compiler in
        gcc) check "$compiler optimised" compile $compiler $first optimised -O2 -DAF_NO_AVX ;;
        g++ | clang) check "$compiler optimised" compile $compiler $first optimised -O1 -DAF_NO_AVX ;;
    esac
done

# link NAME COMPILER OBJECT...: links and runs
link() {
    program=$out/$1
    compiler=$2
    shift 2
    $compiler $program_of "$@" -o "$program" -lm && "$program"
}

for compiler in $(installed gcc clang g++ clang++); do
    case $compiler in
        *++) standard=c++17 ;;
        *) standard=c99 ;;
    esac
    for file in user static_one static_two; do # optimised: what is not used takes no time
        check "$compiler $file" compile $compiler $standard $file -DAF_NO_AVX -O1
    done
    check "$compiler whole" compile $compiler $standard whole -DAF_NO_AVX
    o=$compiler.o
    check "$compiler: implementation in one file, use in another" \
        link one.$compiler $compiler "$out/user.$o" "$out/implementation_both.$o"
    check "$compiler: the two implementations in two files" \
        link two.$compiler $compiler "$out/user.$o" "$out/implementation.$o" \
        "$out/implementation_dp.$o"
    check "$compiler: AF_STATIC in two files" \
        link static.$compiler $compiler "$out/static_one.$o" "$out/static_two.$o"
    check "$compiler: headers included twice" link whole.$compiler $compiler "$out/whole.$o"
done
if have gcc && have g++; then
    check "implementation in C, use in C++" \
        link mixed g++ "$out/user.g++.o" "$out/implementation_both.gcc.o"
    check "implementation in C++, use in C" \
        link mixed g++ "$out/user.gcc.o" "$out/implementation_both.g++.o"
fi
report
