#!/bin/sh
# The library and a user's own stb_ds in one program, in the eight situations that break libraries which
# include stb_ds without care. Each is compiled by gcc, clang and g++; and built, linked and run with the
# parts that a context needs, which have all of the library's stb_ds. The kernels know nothing of it.
. "$(dirname "$0")/checks.sh"

# The lists of parts, short: all declarations, and of the definitions base and dp_base.c.
mkdir -p "$out/short"
sed '/^#include "\(expr\|learn\|dyn\|action\)\/.*\.c"/d
    /^#include "actionfinder\.in\.h"/d' src/actionfinder.in.h >"$out/short/actionfinder.h"
sed '/^#include "dp\/dp_base\.c"/b
    /^#include "dp\/.*\.c"/d' src/deeppotential.in.h >"$out/short/deeppotential.h"

# The user's own way to stb_ds; no guard, as stb_ds's implementation has none.
cat >"$out/stb.h" <<'END'
#if __has_include(<stb/stb_ds.h>)
#  include <stb/stb_ds.h>
#else
#  include "stb_ds.h"
#endif
END
implement_stb='#define STB_DS_IMPLEMENTATION
#include "stb.h"
#undef STB_DS_IMPLEMENTATION'
include_stb='#include "stb.h"'
library='#define ACTIONFINDER_IMPLEMENTATION
#define DEEPPOTENTIAL_IMPLEMENTATION
#include "deeppotential.h"'
use_library='static int library(void) {
    af_context *context;
    if (af_context_create(NULL, &context) != AF_OK) return 0;
    af_context_destroy(context);
    return dp_version()[0] == AF_VERSION[0];
}'
use_stb='static int user(void) {
    struct entry { int key, value; };
    int *array = NULL;
    struct entry *map = NULL;
    int i, good;
    for (i = 0; i < 100; i++) arrput(array, i);
    for (i = 0; i < 100; i++) hmput(map, i, 2 * i);
    i = 70;
    good = arrlen(array) == 100 && array[99] == 99 && hmget(map, i) == 140;
    arrfree(array);
    hmfree(map);
    return good;
}'
own_memory='#include <stdlib.h>
static int calls;
static void *mine(void *pointer, size_t bytes) { calls++; return realloc(pointer, bytes); }
#define STBDS_REALLOC(context, pointer, bytes) mine(pointer, bytes)
#define STBDS_FREE(context, pointer) free(pointer)'
own_functions='#include <stddef.h>
static int arrlen(int a) { return a + 1; }
static int arrput(int a, int b) { return a + b; }'
main_both='int main(void) { return library() && user() ? 0 : 1; }'

# write FILE TEXT...: a C file and the same as C++
write() {
    file=$out/$1
    shift
    printf '%s\n' "$@" >"$file.c"
    cp "$file.c" "$file.cc"
}
write alone "$library" "$use_library" 'int main(void) { return library() ? 0 : 1; }'
write implemented_before "$implement_stb" "$library" "$use_library" "$use_stb" "$main_both"
write implemented_after "$library" "$implement_stb" "$use_library" "$use_stb" "$main_both"
write implemented_elsewhere "$library" "$use_library" 'int user_elsewhere(void);' \
    'int main(void) { return library() && user_elsewhere() ? 0 : 1; }'
write included_before "$include_stb" "$library" "$use_library" "$use_stb" "$main_both"
write included_after "$library" "$include_stb" "$use_library" "$use_stb" "$main_both"
write own_memory "$own_memory" "$library" "$implement_stb" "$use_library" "$use_stb" \
    'int main(void) { return library() && user() && calls > 0 ? 0 : 1; }'
write own_functions "$own_functions" "$library" "$use_library" \
    'int main(void) { return library() && arrlen(1) == 2 && arrput(1, 2) == 3 ? 0 : 1; }'
write stb "$implement_stb" "$use_stb" 'int user_elsewhere(void);' \
    'int user_elsewhere(void) { return user(); }'

# run_with COMPILER NAME [OTHER]: compiles, builds and runs one situation
run_with() {
    compiler=$1
    name=$2
    case $compiler in
        *++) flags=-std=c++11 end=cc ;;
        # gcc's strict modes have no typeof, which stb_ds's maps need
        *) flags='-std=gnu99 -Werror=implicit-function-declaration' end=c ;;
    esac
    flags="$flags -DAF_NO_AVX ${CPPFLAGS:-}"
    $compiler $flags "-I$headers" "-I$out" -fsyntax-only "$out/$name.$end" &&
        $compiler $flags $sanitize "-I$out/short" -Isrc "-I$out" "$out/$name.$end" \
            ${3:+"$out/$3.$end"} -o "$out/$name.$compiler" -lm && "$out/$name.$compiler"
}

for compiler in $(installed gcc clang g++); do
    sanitize=-fsanitize=address
    echo 'int main(void) { return 0; }' >"$out/probe.c"
    $compiler $sanitize "$out/probe.c" -o "$out/probe" 2>/dev/null && "$out/probe" || sanitize=
    check "$compiler: the library alone" run_with $compiler alone
    check "$compiler: stb_ds implemented before, same file" run_with $compiler implemented_before
    check "$compiler: stb_ds implemented after, same file" run_with $compiler implemented_after
    check "$compiler: stb_ds implemented in another file" run_with $compiler implemented_elsewhere stb
    check "$compiler: stb_ds included before, implemented elsewhere" \
        run_with $compiler included_before stb
    check "$compiler: stb_ds included after, implemented elsewhere" \
        run_with $compiler included_after stb
    check "$compiler: the user's STBDS_REALLOC before" run_with $compiler own_memory
    check "$compiler: the user's functions arrlen and arrput" run_with $compiler own_functions
done
report
