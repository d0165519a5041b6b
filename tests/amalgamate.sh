#!/bin/sh
# tools/amalgamate: what it makes, that it makes the same twice, and what it refuses.
. "$(dirname "$0")/checks.sh"
make="$build/amalgamate"

# A small house: base/af_base.h, a.c, b.c, and a template for which the header includes itself.
house() {
    rm -rf "$out/src"
    mkdir -p "$out/src/base"
    printf '#define AF_VERSION "1.2.3"\n' >"$out/src/base/af_base.h"
    printf 'static int af__a(void) { return 1; }\n' >"$out/src/base/a.c"
    printf '#include <math.h>\nstatic int af__a(void);\nstatic int af__b(void) {\n    return 2;\n}\n' \
        >"$out/src/base/b.c"
    printf 'static REAL NAME(REAL x) { return x; }\n' >"$out/src/base/k.inc.c"
    cat >"$out/src/x.in.h" <<'END'
/* The manual.

#include "x.h"
*/
#include "base/af_base.h"
#include "base/a.c"
#include "base/b.c"
#ifndef NAME
#define NAME af__kernel
#include "x.in.h"
#else
#include "base/k.inc.c"
#endif
END
}

amalgamate() {
    (cd "$out" && "$OLDPWD/$make" "$@")
}

# refuses WORDS: the amalgamator fails with a message that has the words, and writes nothing
refuses() {
    rm -f "$out/x.h"
    amalgamate src/x.in.h x.h 2>"$out/message" && return 1
    cat "$out/message"
    grep -q "$1" "$out/message" && [ ! -f "$out/x.h" ]
}

house
check "makes a header" amalgamate src/x.in.h x.h
check "version in the first line" sh -c "head -n 1 $out/x.h | grep -q '^/. x.h 1.2.3, content'"
check "parts are expanded" sh -c "! grep '#include \"base' $out/x.h"
check "other includes stay" grep -q '#include <math.h>' "$out/x.h"
check "where the list includes itself the header does" \
    sh -c "[ \$(grep -c '^#include \"x.h\"$' $out/x.h) = 2 ]"
check "no #line" sh -c "! grep '#line' $out/x.h"
mv "$out/x.h" "$out/first.h"
check "a second run" amalgamate src/x.in.h x.h
check "gives the same bytes" cmp "$out/x.h" "$out/first.h"
check "--line" amalgamate --line src/x.in.h x.h
check "points into src" grep -q '^#line 1 "src/base/b.c"$' "$out/x.h"
echo '/* one more line */' >>"$out/src/base/b.c"
amalgamate src/x.in.h x.h
check "the content number follows the content" \
    sh -c "[ \"\$(head -n 1 $out/x.h)\" != \"\$(head -n 1 $out/first.h)\" ]"

house
echo '#include "base/a.c"' >>"$out/src/base/b.c"
check "refuses a part that includes a part" refuses 'b.c:6: a part includes no other'
house
echo '#include "base/a.c"' >>"$out/src/x.in.h"
check "refuses a part listed twice" refuses 'x.in.h:14: listed twice: base/a.c'
house
echo '#include "base/none.c"' >>"$out/src/x.in.h"
check "refuses a missing part" refuses 'x.in.h:14: cannot read src/base/none.c'
house
printf '/* \303\251 */\n' >>"$out/src/base/a.c"
check "refuses what is not ASCII" refuses 'a.c:2: .*ASCII'
house
printf 'int a;\r\n' >>"$out/src/base/a.c"
check "refuses carriage returns" refuses 'a.c:2: a carriage return'
house
printf 'int a;' >>"$out/src/base/a.c"
check "refuses a missing last newline" refuses 'a.c:2: no newline'
house
printf 'AF__UNUSED static char *af__a(\n    int x) {\n}\n' >>"$out/src/base/b.c"
check "refuses one static name in two parts" refuses 'b.c:6: this function is also in base/a.c'
house
echo 'int none;' >"$out/src/base/af_base.h"
check "refuses a house without a version" refuses 'AF_VERSION'
report
