#!/bin/sh
# deeppotential recover: potentials through actions that must be near the truth, of a sphere, with
# streams too, and of a disc; files, formulas from them, sentences about bad input. The program is
# that of cli_dp.sh.
. "$(dirname "$0")/checks.sh"
. "$(dirname "$0")/cli_checks.sh"
dp=$build/test/cli_dp.files/deeppotential
[ -x "$dp" ] || { echo "FAILED $dp is there"; echo '0 passed, 1 failed'; exit 1; }

usage() { name=$1; words=$2; shift 2; check "$name" refuses 2 "$words" "$dp" recover "$@"; }
bad() { name=$1; words=$2; shift 2; check "$name" refuses 1 "$words" "$dp" recover "$@"; }

# ---- a Plummer sphere ----

stars=$out/stars.csv
check 'stars' "$dp" mock plummer -n 4000 --reach 1000 -o "$stars"
recover() {
    "$dp" recover "$stars" -o "$out/phi.csv" --bins 6 --check plummer:1/G,1 \
        --model "$out/phi.safetensors" >"$out/log" 2>"$out/progress"
}
check 'a potential' recover
check 'that has converged' above converged 0 "$out/log"
check 'near the truth' below potential_median 5 "$out/log"
check 'and forces' below force_median 10 "$out/log"
check 'beside the start' grep -q 'untrained: median' "$out/log"
check 'more likely than it' awk '$2 == "loss" { l = $3 } $2 == "untrained" { u = $3 }
    END { exit !(l < u - 0.05) }' "$out/log"
check 'the model is kept' test -s "$out/phi.safetensors"
# Plummer: force -r (1 + r^2)^-1.5; the rms of error over error bar
covers() {
    awk -F, '/^r,/ { if ($0 != "r,phi,phi_error,force,force_error,density,density_error,\
untrained_phi,untrained_force") exit 1 }
        /^[0-9]/ { f = -$1 / (1 + $1 * $1) ^ 1.5; s += (($4 - f) / $5) ^ 2; n++ }
        END { print "pull", sqrt(s / n); exit !(n == 60 && s / n < 9 && s / n > 0.01) }' "$1"
}
check 'the table, whose error bars cover' covers "$out/phi.csv"
check 'radii as asked for' "$dp" recover "$stars" -o "$out/three.csv" --bins 4 --steps 2 --quiet \
    --radii 0.5:2:3
check 'by equal factors' awk -F, '/^[0-9]/ { n++; x = n == 1 ? 0.5 : n == 2 ? 1 : 2
    if (($1 - x) ^ 2 > 1e-20) exit 1 } END { exit n != 3 }' "$out/three.csv"

# ---- streams ----

awk -F, -v OFS=, '/^#/ { print; next } !head { head = 1; print $0, "stream"; next }
    { print $0, (n++ % 100 == 0) }' "$stars" >"$out/streams.csv" # not one: any stars
check 'a stream' "$dp" recover "$out/streams.csv" -o "$out/s.csv" --bins 4 --steps 2 --quiet \
    --radii 0.5:2:3 --streams stream
check 'changes the result' sh -c '! cmp -s "$0" "$1"' "$out/s.csv" "$out/three.csv"

# ---- a disc ----

disc=$out/disc.csv
check 'a disc' "$dp" mock miyamoto-nagai -n 1000 -o "$disc"
recover_disc() {
    "$dp" recover "$disc" -o "$out/disc_phi.csv" --axisymmetric --bins 2 \
        --parts miyamoto-nagai:2/G,1.7,0.1! --check miyamoto-nagai:1/G,1,0.1 \
        --model "$out/disc.safetensors" >"$out/log" 2>"$out/progress"
}
check 'its potential' recover_disc
check 'its fit has converged' above converged 0 "$out/log"
check 'the potential is near the truth' below potential_median 2 "$out/log"
check 'and its forces' below force_median 4 "$out/log"
check 'what the table says of places' beside places 80 0 "$out/log"
check 'the numbers are told, with errors but for the one that stays' \
    grep -qE '^miyamoto-nagai: mass [0-9.]+ [+]- [0-9.]+ %, a (0.9|1.0)[0-9]* [+]- [0-9.]+ %, b 0.1$' \
    "$out/log"
# Miyamoto-Nagai: force_R = -R D^-3, D^2 = R^2 + (1 + B)^2, B^2 = z^2 + 0.01
covers_disc() {
    awk -F, '/^R,/ { if ($0 != "R,z,phi,phi_error,force_R,force_z,force_R_error,force_z_error,\
density,density_error,untrained_phi,untrained_force_R,untrained_force_z") exit 1 }
        /^[0-9]/ { f = -$1 / ($1 * $1 + (1 + sqrt($2 * $2 + 0.01)) ^ 2) ^ 1.5
            s += (($5 - f) / $7) ^ 2; n++ }
        END { print "pull", sqrt(s / n); exit !(n == 80 && s / n < 9 && s / n > 0.01) }' "$1"
}
check 'the table of R and z, whose error bars cover' covers_disc "$out/disc_phi.csv"
check 'places as asked for' "$dp" recover "$disc" -o "$out/six.csv" --axisymmetric --bins 1 \
    --steps 1 --quiet --radii 0.5:2:3 --heights -1:1:2 --parts miyamoto-nagai:2/G,1.7,0.1!
check 'each R with each z' awk -F, '/^[0-9]/ { x = 0.5 * 2 ^ int(n / 2); z = n % 2 ? 1 : -1; n++
    if (($1 - x) ^ 2 > 1e-20 || $2 != z) exit 1 } END { exit n != 6 }' "$out/six.csv"

# ---- formulas from what was kept ----

check 'a formula of a sphere' "$dp" distill "$out/phi.safetensors" --radii 0.2:4:40 --tokens 5 \
    --time 5 -o "$out/front.csv"
check 'of r' grep -q 'b + r' "$out/front.csv"
check 'a formula of a disc' "$dp" distill "$out/disc.safetensors" --radii 0.2:4:10 --tokens 4 \
    --time 5 -o "$out/disc_front.csv"
check 'of R and z' grep -q 'R^2 + ' "$out/disc_front.csv"
check 'of both, their mean' "$dp" distill "$out/disc.safetensors" "$out/phi.safetensors" \
    --radii 0.2:4:10 --tokens 3 --time 5 -o "$out/both.csv"

# ---- bad input ----

no=$out/no.csv
usage 'no output' '-o' "$stars"
usage 'radii from zero' '--radii begins at 0' "$stars" -o "$no" --radii 0:1:4
usage 'a centre of three numbers' "--centre takes X,Y,Z,VX,VY,VZ, not '1,2,3'" "$stars" -o "$no" \
    --centre 1,2,3
usage 'a misspelt option' 'did you mean --streams' "$stars" -o "$no" --stream s
usage 'streams of a disc' '--streams do not go with --axisymmetric' "$disc" -o "$no" \
    --axisymmetric --streams s
usage 'parts of a sphere' 'go with --axisymmetric' "$stars" -o "$no" --parts plummer:1,1
usage 'heights of a sphere' 'go with --axisymmetric' "$stars" -o "$no" --heights 0:1:2
usage 'a part that there is not' '--parts takes' "$disc" -o "$no" --axisymmetric --parts disc:1,1
usage 'heights that fall' "like -3:3:15, not '1:0:2'" "$disc" -o "$no" --axisymmetric \
    --heights 1:0:2
bad 'many bins of three actions' 'at most 8 bins' "$disc" -o "$no" --axisymmetric --bins 9
check 'eval names what it takes' refuses 1 'recover|distill' "$dp" eval "$out/disc.safetensors" \
    "$disc" -o "$no"
bad 'no such column' "has no column 'group'" "$stars" -o "$no" --streams group
bad 'half a stream' 'whole number' "$stars" -o "$no" --streams x
bad 'no such file' 'none.csv' "$out/none.csv" -o "$no"
bad 'output over input' 'stars.csv' "$stars" -o "$stars"
{ cat "$stars"; sed -n '2,101p' "$stars"; } >"$out/copies.csv"
check 'stars that repeat others' refuses 0 '100 of 4100 stars repeat others' "$dp" recover \
    "$out/copies.csv" -o "$out/copies_phi.csv" --bins 4 --steps 2 --quiet
bad 'a model over the table' "no.csv' is to be written twice" "$stars" -o "$no" --model "$no"
bad 'many bins' 'at most 32 bins' "$stars" -o "$no" --bins 99
head -n 100 "$stars" >"$out/few.csv"
bad 'few stars' 'too few' "$out/few.csv" -o "$no"
check 'bad input wrote nothing' test ! -e "$no"
report
