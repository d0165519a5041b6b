#!/bin/sh
# The program build/reproduce-deeppotential on small samples: that it runs, not what it finds.
. "$(dirname "$0")/checks.sh"
OMP_NUM_THREADS=1 # several programs share the cores
export OMP_NUM_THREADS
tools=tools
redo=$out/reproduce-deeppotential

# shellcheck disable=SC2086 # lists of words
build() {
    for file in "$tools"/reproduce_dp/*.c; do
        ${CC:-cc} -std=c99 -O1 $strict_c $openmp ${CPPFLAGS:-} "-I$headers" \
            "-I$tools/actionfinder" "-I$tools/deeppotential" $linked -c "$file" \
            -o "$out/$(basename "$file" .c).o" || return 1
    done
    ${CC:-cc} -std=c99 -O1 $openmp ${CPPFLAGS:-} "-I$headers" "-I$tools/actionfinder" \
        "$tools"/actionfinder/cli.c "$tools"/actionfinder/sky.c "$tools"/actionfinder/svg.c \
        "$tools"/deeppotential/data.c "$tools"/deeppotential/h5_file.c \
        "$tools"/deeppotential/h5_stars.c "$tools"/deeppotential/models.c \
        "$tools"/deeppotential/options.c "$out"/*.o $libraries -o "$redo" -lm
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

folder=$out/all
run() { "$redo" --scale 0.001 --epochs 1 -o "$folder" "$@"; }
run >"$out/first.log" 2>"$out/first.err"
check 'it runs' test $? -eq 0
for row in plummer disc selection errors nonstationary bar thinned conditional; do
    check "$row has errors of its force" grep -q "^FIGURE ${row}_ours_force [0-9]" "$out/first.log"
    check "$row is in the table" grep -q "^$row,ours,density,first,[0-9]" "$folder/reproduce.csv"
done
for figure in plummer_ours_gradient_x plummer_ours_likelihood_score disc_ours_fitted_second \
    disc_symmetric_plane errors_without_force bar_ours_omega thinned_without_force; do
    check "it says $figure" grep -q "^FIGURE $figure -*[0-9]" "$out/first.log"
done
# a constant potential has no force and no density at all
untrained() {
    awk '$2 ~ /_untrained_(force|density|plane)(_second)?$/ { n++; if ($3 != 100) bad = 1 }
         END { exit bad || n < 16 }' "$out/first.log"
}
check 'untrained is all wrong' untrained
# from exact gradients a and b are exact, whatever was learned of f: stars, gradients, units
exact() {
    awk '$2 ~ /_truth_fitted(_free)?$/ { n++; if ($3 < 0.99 || $3 > 1.01) bad = 1 }
         $2 ~ /_truth_fitted(_free)?_second$/ { n++; if ($3 < 0.099 || $3 > 0.101) bad = 1 }
         $2 ~ /_truth_fitted_mass$/ { n++; if ($3 < 0.99 || $3 > 1.01) bad = 1 }
         END { exit bad || n != 30 }' "$out/first.log"
}
check 'true gradients give the true disc' exact
# off by no more than four standard errors, which are those of some hundred stars
moments() {
    awk '$2 == "bar_truth_omega_moments" { omega = $3 }
         $2 == "bar_truth_omega_moments_second" { e = $3 }
         END { exit !(e > 0.5 && e < 10 && omega - 28.2 < 4 * e && 28.2 - omega < 4 * e) }' \
        "$out/first.log"
}
check 'the stars turn with the bar' moments
for number in 2 3 4 5 6 7 8 9 10 11 12 13; do
    check "figure $number" grep -q '^</svg>' "$folder/figure$number.svg"
done
check 'the table as text' grep -q 'Miyamoto-Nagai disc (section 3.2)' "$out/first.log"
check 'the table as Markdown' grep -q '^| Plummer sphere |' "$folder/reproduce.md"
check 'samples are made once' grep -q '^made .*bar_1024.npy' "$out/first.err"

again() {
    "$redo" --scale 0.001 --epochs 1 --rows plummer -o "$folder" >"$out/again.log" 2>&1 || return 1
    ! grep -q '^made' "$out/again.log"
}
check 'one row, its sample being there' again
truth() {
    "$redo" --scale 0.001 --epochs 1 --rows plummer,disc,bar,thinned --only truth -o "$folder" \
        >"$out/truth.log" 2>&1 || return 1
    for figure in plummer_truth_force disc_truth_plane bar_truth_omega thinned_truth_force; do
        grep -q "^FIGURE $figure -*[0-9]" "$out/truth.log" || return 1
    done
    ! grep -q '^FIGURE [a-z]*_ours_' "$out/truth.log" && ! grep -q 'score' "$out/truth.log"
}
check 'true gradients alone' truth
check 'nothing else alone' refuses 2 'ours' "$redo" --only ours
check 'no such row' refuses 2 'plumer' "$redo" --rows plumer
check 'no such option' refuses 2 '--scael' "$redo" --scael 1
check 'a value is missing' refuses 2 '--scale' "$redo" --scale
check 'not a number' refuses 2 'much' "$redo" --scale much
check 'a folder that cannot be made' refuses 1 'first.log' "$redo" -o "$out/first.log/x"
check 'help' grep -q 'nonstationary' "$("$redo" --help >"$out/help.log"; echo "$out/help.log")"

report
