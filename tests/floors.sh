#!/bin/sh
# The floors of the house: a part uses only parts above it in the list. Every prefix of the lists in
# src/*.in.h is compiled, the .h files 1..k and then the .c files 1..k, so that a part that mentions a
# later one fails. The kernels (*.inc.c) come with the part that includes them, and only there for all
# instruction sets.
. "$(dirname "$0")/checks.sh"

# prefix H C: the list up to .h number H and .c number C. The end of stb_ds always stays.
prefix() {
    awk -v h="$1" -v c="$2" '
        /^#include "[^"]*\/[^"]*\.h"/ { if (++hs > h) next }
        /^#include "[^"]*\/[^"]*\.c"/ && !/af_stb_end|\.inc\.c/ { if (++cs > c) next }
        /^#include "actionfinder\.in\.h"/ && cs > c { next }
        { print }' "$list"
}

compile() {
    prefix "$1" "$2" >"$out/list.h"
    printf '#define %s_IMPLEMENTATION\n#include "list.h"\ntypedef int none;\n' "$name" >"$out/all.c"
    sets=-DAF_NO_AVX
    case $part in */af_kernels.c | */af_cpu.c) sets= ;; esac
    ${CC:-cc} -std=c99 -fsyntax-only -Werror=implicit-function-declaration -Wno-unused $sets \
        ${CPPFLAGS:-} "-I$out" -Isrc "-I$headers" "$out/all.c"
}

# One line a .c part: its number, how many .h files come with it (up to its own, or to that of the .c
# part before it), its name. Parts without a .h of their own come with the same as the one before.
parts() {
    awk '
    /^#include "[^"]*\/[^"]*\.h"/ { split($0, q, "\""); sub(/\.h$/, "", q[2]); at[q[2]] = ++hs }
    /^#include "[^"]*\/[^"]*\.c"/ && !/af_stb_end|\.inc\.c/ {
        split($0, q, "\""); stem = q[2]; sub(/\.c$/, "", stem)
        if (at[stem] > cut) cut = at[stem]
        print ++cs, cut + 0, q[2]
    }
    END { for (k = 1; k <= hs; k++) print 0, k, "header " k }' "$list"
}

for name in ACTIONFINDER DEEPPOTENTIAL; do
    list=src/$(echo $name | tr A-Z a-z).in.h
    parts >"$out/prefixes"
    while read -r c h part; do
        check "$name up to $part" compile "$h" "$c"
    done <"$out/prefixes"
done
report
