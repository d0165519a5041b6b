# Read by the test scripts: `check NAME COMMAND...` counts one check, `report` ends the script with
# the line `N passed, N failed`. $out is the script's own folder for files, $headers the folder with
# freshly generated headers. CPPFLAGS may name the folder of stb_ds.h.

set -u
build=${BUILD:-build}
headers=$build/include
# Programs are linked with the library's objects, and leave its implementation out.
libraries="$build/test/library.o $build/test/library_dp.o"
linked="-DACTIONFINDER_IMPLEMENTATION_DONE -DDEEPPOTENTIAL_IMPLEMENTATION_DONE"
openmp=${OPENMP_FLAG:-}
out=$build/test/$(basename "$0" .sh).files
rm -rf "$out"
mkdir -p "$out"
passed=0
failed=0

strict="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Werror"
strict_c="$strict -Wstrict-prototypes -Wmissing-prototypes"

check() {
    checked=$1
    shift
    if "$@" >"$out/check.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $checked"
        sed 's/^/  /' "$out/check.log" | head -n 20
    fi
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# Those of the given compilers that are installed.
installed() {
    for compiler in "$@"; do
        if have "$compiler"; then echo "$compiler"; fi
    done
}

report() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
