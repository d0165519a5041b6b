#!/bin/sh
# deeppotential symbolic and distill: formulas that must be found, files, sentences about bad input.
# The program is that of cli_dp.sh.
. "$(dirname "$0")/checks.sh"
. "$(dirname "$0")/cli_checks.sh"
dp=$build/test/cli_dp.files/deeppotential
[ -x "$dp" ] || { echo "FAILED $dp is there"; echo '0 passed, 1 failed'; exit 1; }

# `good NAME COMMAND...` counts the command's success and keeps what it prints in $out/log
good() { name=$1; shift; check "$name" sh -c '"$@" >"$0"' "$out/log" "$@"; }
# table FILE FORMULA: columns r, phi and e at 100 radii from 0.05 to 8
table() {
    awk "BEGIN { OFMT = \"%.17g\"; CONVFMT = \"%.17g\"; print \"r,phi,e\"
        for (i = 0; i < 100; i++) { r = 0.05 * exp(log(160) * i / 99); phi = $2
            printf \"%.17g,%.17g,0.01\\n\", r, phi } }" >"$1"
}

# ---- symbolic: an isochrone ----

iso=$out/isochrone.csv
table "$iso" '-2 / (0.7 + sqrt(0.49 + r * r))'
set -- symbolic "$iso" -y phi:kpc^2/Myr^2 -x r:kpc --constants GM:kpc^3/Myr^2,b:kpc
good 'the isochrone' "$dp" "$@" -o "$out/front.csv" -c "$out/iso.c" --latex "$out/iso.tex"
check 'is found' below error 1e-9 "$out/log"
check 'with its mass' beside GM 2 1e-6 "$out/log"
check 'and scale' beside b 0.7 1e-6 "$out/log"
check 'with units' grep -q '^  GM = 2.* kpc^3 Myr^-2$' "$out/log"
check 'in LaTeX' grep -q 'frac.*sqrt' "$out/iso.tex"
front() {
    awk -F, 'NR == 1 { if ($0 !~ /^tokens,error,best,formula,GM,b/) bad = 1; next }
        { if (n++ && ($1 <= t || $2 >= e)) bad = 1; t = $1; e = $2; best += $3 }
        END { exit bad || n < 2 || best != 1 }' "$1"
}
check 'its front: longer and better, one is the best' front "$out/front.csv"
compiled() {
    cat >"$out/use.c" <<'C'
#include <stdio.h>
double formula_fitted(double r);
int main(void) {
    double r, phi, e, off, worst = 0;
    if (scanf("%*[^\n]") != 0) return 1;
    while (scanf("%lf,%lf,%lf", &r, &phi, &e) == 3) {
        off = formula_fitted(r) / phi - 1;
        if (off * off > worst) worst = off * off;
    }
    printf("%g\n", worst);
    return worst > 1e-16;
}
C
    ${CC:-cc} -std=c99 -Wall -Wextra -Werror "$out/use.c" "$out/iso.c" -o "$out/use" -lm &&
        "$out/use" <"$iso"
}
check 'the function in C compiles and gives the data' compiled
"$dp" "$@" --threads 1 -o "$out/one.csv" >/dev/null
check 'the same front on one thread' cmp "$out/one.csv" "$out/front.csv"
check 'quiet is quiet' test -z "$("$dp" "$@" --quiet)"

# ---- other data ----

# a point that is wrong, and known to be uncertain
awk -F, 'NR == 40 { print $1 ",5,1e9"; next } { print }' "$iso" >"$out/wrong.csv"
good 'a wrong point' "$dp" symbolic "$out/wrong.csv" -y phi:kpc^2/Myr^2 -x r:kpc \
    --constants GM:kpc^3/Myr^2,b:kpc --sigma e
check 'does no harm with its sigma' beside b 0.7 1e-5 "$out/log"
good 'without units' "$dp" symbolic "$iso" --units off -y phi -x r --constants b --tokens 5
check 'there is a formula' below error 0.2 "$out/log"
# three samples, rows mixed: N = N0 exp(-t/tau), tau = 2.5 s, N0 = 10, 20, 30
awk 'BEGIN { print "k,t,N"; for (i = 0; i < 60; i++) { k = i % 3 + 1; t = i / 10
    printf "%d,%.17g,%.17g\n", k, t, 10 * k * exp(-t / 2.5) } }' >"$out/decay.csv"
good 'three samples' "$dp" symbolic "$out/decay.csv" -y N -x t:s --group k --specific N0 \
    --constants tau:s -o "$out/decay_front.csv"
check 'are one law' below error 1e-9 "$out/log"
check 'with one time' beside tau 2.5 1e-6 "$out/log"
own() {
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
        $3 == 1 { for (k = 1; k <= 3; k++) if (($(at["N0_" k]) - 10 * k) ^ 2 > 1e-8) bad = 1; n++ }
        END { exit bad || n != 1 }' "$out/decay_front.csv"
}
check 'and three beginnings' own

# ---- filters ----

table "$out/halo.csv" '0.8 * log(r * r + 0.49)'
set -- symbolic "$out/halo.csv" -y phi:kpc^2/Myr^2 -x r:kpc --constants v:kpc/Myr,b:kpc \
    --affine offset --tokens 6
good 'a logarithmic halo' "$dp" "$@"
check 'is found' below error 1e-9 "$out/log"
good 'what is finite at infinity' "$dp" "$@" --filter finite-at-infinity
check 'is another' above error 1e-6 "$out/log"
good 'what is zero at infinity' "$dp" "$@" --filter zero-at-infinity
check 'is another, too' above error 1e-6 "$out/log"
good 'what increases, with a density' "$dp" "$@" --filter increasing,density
check 'is the halo' below error 1e-9 "$out/log"
good 'what decreases' "$dp" "$@" --filter decreasing
check 'is no good' above error 0.1 "$out/log"
good 'an isochrone that passes' "$dp" symbolic "$iso" -y phi:kpc^2/Myr^2 -x r:kpc \
    --constants GM:kpc^3/Myr^2,b:kpc --filter zero-at-infinity,negative,increasing,density
check 'is found as before' below error 1e-9 "$out/log"
# the Laplacian of -1/r^2 is -2/r^4
table "$out/steep.csv" '-2 / (0.49 + r * r)'
set -- symbolic "$out/steep.csv" -y phi:kpc^2/Myr^2 -x r:kpc --constants v:kpc/Myr,b:kpc --tokens 6
good 'a potential that falls off too steeply' "$dp" "$@"
check 'is found' below error 1e-9 "$out/log"
good 'but has a negative density' "$dp" "$@" --filter density
check 'so it is left out' above error 1e-6 "$out/log"
check 'squares alone' refuses 1 'no formula passed the filters' \
    "$dp" symbolic "$out/halo.csv" --units off -y phi -x r --operators mul,square \
    --affine none --tokens 3 --filter zero-at-infinity

# ---- Ctrl-C ----

awk -F, 'NR > 1 { $2 *= 1 + 0.02 * sin(1e4 * $1) } { print $1 "," $2 }' "$iso" >"$out/noisy.csv"
stopped() {
    "$dp" symbolic "$out/noisy.csv" -y phi:kpc^2/Myr^2 -x r:kpc \
        --constants GM:kpc^3/Myr^2,b:kpc --tokens 20 -o "$out/kept.csv" >"$out/log" 2>"$out/err" &
    sleep 2
    kill -TERM $! # background programs of a script are deaf to SIGINT
    wait $! && grep -q 'stopped; the front so far is kept' "$out/err" && front "$out/kept.csv"
}
check 'Ctrl-C keeps the front' stopped

# ---- distill ----

"$dp" mock plummer -n 500 --seed 3 -o "$out/stars.npy" --truth-gradients "$out/truth.npy" >/dev/null
p=$out/phi.safetensors
good 'a Plummer sphere' "$dp" fit-potential "$out/truth.npy" -o "$p" --analytic plummer:1/G,1 \
    --quiet
good 'distilled' "$dp" distill "$p" --radii 0.1:10:40 -c "$out/plummer.c"
check 'is its formula' below error 1e-6 "$out/log"
check 'with G M = 1' beside GM 1 1e-3 "$out/log"
check 'and its scale' beside b 1 1e-3 "$out/log"
check 'a column of force' grep -q 'of force' "$out/log"
force() { awk '$1 == "*" { n++; if ($4 > 1e-5) bad = 1 } END { exit bad || n != 1 }' "$out/log"; }
check 'whose error is as small' force
good 'at the stars' "$dp" distill "$p" --at "$out/stars.npy" -n 200 --tokens 6
check 'the same' beside b 1 1e-3 "$out/log"
good 'in the plane' "$dp" distill "$p" --inputs rz --radii 0.1:4:8 --heights -2:2:6 \
    --constants 'GM:kpc*km^2/s^2,b:kpc' --tokens 7
check 'the same once more' below error 1e-6 "$out/log"

# that it is a disc is found, and where heights are to be taken
disc=$out/disc.safetensors
check 'a disc' "$dp" fit-potential "$out/truth.npy" -o "$disc" --quiet \
    --analytic 'miyamoto-nagai:1/G!,1!,0.2!'
good 'distilled without options' "$dp" distill "$disc" --radii 0.1:4:16 -c "$out/disc.c" \
    --latex "$out/disc.tex"
check 'is axisymmetric' grep -q '^potential at 272 places, axisymmetric' "$out/log"
check 'is its formula' below error 1e-6 "$out/log"
check 'as people write it' grep -Eq \
    '^phi = -GM/sqrt\(R\^2 \+ \((a|b) \+ sqrt\((a|b)\^2 \+ z\^2\)\)\^2\)$' "$out/log"
check 'with the force' force
check 'its function in C compiles' ${CC:-cc} -std=c99 -Wall -Wextra -Werror -c "$out/disc.c" \
    -o "$out/disc.o"
latex() { # compiles where there is LaTeX; braces match everywhere
    awk '{ o += gsub(/[{]/, ""); c += gsub(/[}]/, "") } END { exit o == 0 || o != c }' "$1" &&
        { ! command -v pdflatex >/dev/null || { { printf '%s\n' '\documentclass{article}' \
            '\begin{document}$' && cat "$1" && printf '%s\n' '$\end{document}'; } >"$out/x.tex" &&
            pdflatex -interaction=batchmode -output-directory="$out" "$out/x.tex"; }; }
}
check 'and its LaTeX is whole' latex "$out/disc.tex"
good 'two potentials' "$dp" distill "$p" "$p" --radii 0.1:10:40 --tokens 6
check 'are their mean' beside b 1 1e-3 "$out/log"

# ---- the command line, and bad input ----

for command in symbolic distill; do
    good "$command --help" "$dp" $command --help
    check 'by its name' grep -q "^deeppotential $command " "$out/log"
done
usage() { name=$1; words=$2; shift 2; check "$name" refuses 2 "$words" "$dp" "$@"; }
bad() { name=$1; words=$2; shift 2; check "$name" refuses 1 "$words" "$dp" "$@"; }
y='-y phi:kpc^2/Myr^2'
no=$out/no.csv
usage 'nothing to explain' '-y is missing' symbolic "$iso" -x r:kpc
usage 'nothing to explain it by' '-x is missing' symbolic "$iso" -y phi
usage 'a group alone' '--group COLUMN and --specific LIST' symbolic "$iso" -y phi -x r --group e
usage 'units that are none' "--units is on or off, not 'maybe'" symbolic "$iso" -y phi -x r \
    --units maybe
usage 'an unknown operator' "--operators knows|'plus'" symbolic "$iso" -y phi -x r \
    --operators mul,plus
usage 'an unknown filter' "--filter knows|'monotone'" symbolic "$iso" -y phi -x r \
    --filter monotone
usage 'a density of three variables' '--filter density|there are 3' symbolic "$iso" -y phi \
    -x r,e,k --filter density
usage 'no affine' "amplitude, offset or none, not 'both'" symbolic "$iso" -y phi -x r \
    --affine both
usage 'a number that is none' "--fixed takes|'two'" symbolic "$iso" -y phi -x r --fixed 1,two
usage 'a constant without a name' '--constants takes NAME:UNITS' symbolic "$iso" -y phi -x r \
    --constants :kpc
usage 'a misspelt option' 'did you mean --constants' symbolic "$iso" -y phi -x r --constant b
# shellcheck disable=SC2086 # two words
{
bad 'a missing column' "isochrone.csv|'R'" symbolic "$iso" $y -x R:kpc
bad 'no such file' none.csv symbolic "$out/none.csv" $y -x r:kpc
bad 'units that no product has' 'kpc^2 Myr^-2' symbolic "$iso" $y -x r:kpc -o "$no"
bad 'units that cannot be read' "GM: units 'kpc^'" symbolic "$iso" $y -x r:kpc \
    --constants 'GM:kpc^'
bad 'a constant twice' "'b'" symbolic "$iso" $y -x r:kpc --constants b:kpc,b:kpc
sed '6s/^[^,]*/nan/' "$iso" >"$out/nan.csv"
bad 'a NaN' 'nan.csv|line 6|r' symbolic "$out/nan.csv" $y -x r:kpc
sed '6s/0\.01$/0/' "$iso" >"$out/zero.csv"
bad 'a standard deviation of zero' 'zero.csv|e is 0 in row 5' symbolic "$out/zero.csv" $y -x r:kpc \
    --sigma e
head -n 1 "$iso" >"$out/empty.csv"
bad 'no rows' empty.csv symbolic "$out/empty.csv" $y -x r:kpc
bad 'no such folder' nowhere symbolic "$iso" $y -x r:kpc -c "$out/nowhere/f.c"
bad 'output over input' isochrone.csv symbolic "$iso" $y -x r:kpc -o "$iso"
bad 'two outputs of one name' 'written twice' symbolic "$iso" $y -x r:kpc -o "$no" -c "$no"
usage 'more tokens than there can be' '--tokens is at most 20, not 99' symbolic "$iso" $y -x r:kpc \
    --constants GM:kpc^3/Myr^2 --tokens 99
}
usage 'distill nowhere' '--radii FROM:TO:N or --at POINTS' distill "$p"
usage 'radii from zero' '--radii begins at 0' distill "$p" --radii 0:1:5
usage 'heights of a sphere' '--inputs rz' distill "$p" --inputs r --radii 1:2:5 \
    --heights 0:1:3
usage 'n without points' '--at POINTS' distill "$p" --radii 1:2:5 -n 5
usage 'heights that are none' "--heights takes|'2:1:4'" distill "$p" --inputs rz --radii 1:2:5 \
    --heights 2:1:4
bad 'stars given as a potential' 'stars.npy' distill "$out/stars.npy" --radii 1:2:5
bad 'distilled over its input' 'phi.safetensors' distill "$p" --radii 1:2:5 -o "$p"
check 'bad input wrote nothing' absent "$no"
report
