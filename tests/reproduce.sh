#!/bin/sh
# The program build/reproduce-actionfinder on small samples: that it runs, not what it finds.
. "$(dirname "$0")/checks.sh"
OMP_WAIT_POLICY=passive # several programs share the cores
export OMP_WAIT_POLICY
shared=tools/actionfinder
sources="tools/reproduce/*.c $shared/cli.c $shared/mock_start.c $shared/sky.c $shared/svg.c"
redo=$out/reproduce-actionfinder

# shellcheck disable=SC2086 # lists of words
build() {
    ${CC:-cc} -std=c99 -O2 $strict_c $openmp ${CPPFLAGS:-} "-I$headers" "-I$shared" $linked $sources \
        $libraries -o "$redo" -lm
}
check "it compiles without a warning" build
[ -x "$redo" ] || { report; exit 1; }

# refuses CODE WORD COMMAND...: the exit code, and the word in the one sentence on stderr.
refuses() {
    code=$1
    word=$2
    shift 2
    "$@" >"$out/stdout" 2>"$out/stderr"
    got=$?
    cat "$out/stderr"
    [ "$got" -eq "$code" ] && [ "$(wc -l <"$out/stderr")" -eq 1 ] &&
        grep -qF -- "$word" "$out/stderr"
}
lacks() { ! grep "$1" "$2"; }

folder=$out/all
run() { "$redo" --quick --rows isochrone,disc,plummer -o "$folder" "$@"; }
run >"$out/first.log" 2>"$out/first.err"
check 'it runs' test $? -eq 0
for file in reproduce.md reproduce.csv figure5.svg isochrone_fourier.safetensors \
    data_quick/isochrone_halo/xv.npy; do
    check "it writes $file" test -s "$folder/$file"
done
check 'the samples are made' grep -q '^made plummer_nbody' "$out/first.err"
for figure in isochrone_toy_stream_mean isochrone_fudge_angle_median isochrone_fourier_cpu \
    isochrone_shears_star_trimmed plummer_fourier_j_r_mean; do
    check "it says $figure" grep -q "^FIGURE $figure [0-9]" "$out/first.log"
done
# the fudge is exact in spherical potentials: truth, stars and angles belong together
exact() {
    awk '$2 ~ /^(isochrone|plummer)_fudge_/ { n++; if (!($3 < 1e-5)) { print; bad = 1 } }
         END { exit bad || n < 9 }' "$out/first.log"
}
check 'the fudge agrees with the truth' exact
# and nearly so in a disc, where the truth is that of the orbit
nearly() {
    awk '$2 == "disc_fudge_stream_median" && $3 < 0.3 { n++ } END { exit !n }' "$out/first.log"
}
check 'and nearly in a disc' nearly
rows() { [ "$(grep -c "^$1," "$folder/reproduce.csv")" -eq "$2" ]; }
check 'the lines of the isochrone' rows isochrone 10
check 'the lines of the Plummer sphere' rows plummer 13
check 'the notes of the lines' grep -q 'no better than the untrained toy' \
    "$folder/reproduce.md"
check 'and no others' lacks 'Torus Machinery' "$folder/reproduce.md"

run >"$out/second.log" 2>"$out/second.err"
check 'a second run takes the same samples' lacks '^made' "$out/second.err"
grep FIGURE "$out/first.log" | grep -v _cpu >"$out/first.txt"
grep FIGURE "$out/second.log" | grep -v _cpu >"$out/second.txt"
check 'and finds the same' cmp "$out/first.txt" "$out/second.txt"

data=$out/ready
mkdir -p "$data"
cp -r "$folder/data_quick/isochrone_halo" "$data"
run --data "$data" -o "$out/given" >"$out/given.log" 2>"$out/given.err"
check 'ready-made samples' grep -q '^FIGURE isochrone_fourier_stream_mean' "$out/given.log"
check 'what is not there is left out' grep -q 'plummer: left out' "$out/given.err"
cp "$data/isochrone_halo/xv.npy" "$data/isochrone_halo/J.npy"
check 'a truth of another shape' refuses 1 'J.npy' run --data "$data" -o "$out/given"
check 'no such row' refuses 2 'isochrome' "$redo" --rows isochrome
check 'no such option' refuses 2 '--quik' "$redo" --quik
check 'a value is missing' refuses 2 '--data' "$redo" --data
check 'a folder that cannot be made' refuses 1 'first.log' "$redo" --quick -o "$out/first.log/x"
check 'help' grep -q 'db98_torus' "$("$redo" --help >"$out/help.log"; echo "$out/help.log")"

report
