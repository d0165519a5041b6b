#!/bin/sh
# The program build/deeppotential: what it makes of good input, and its sentences about bad input.
. "$(dirname "$0")/checks.sh"
. "$(dirname "$0")/cli_checks.sh"
tools=tools
dp=$out/deeppotential

hdf5=$(echo "${HDF5:-}" | sed 's/-I/-isystem /g') # make says where it is, if it is

# shellcheck disable=SC2086 # lists of words
compile() { # OBJECT SOURCE FLAGS...
    object=$1 source=$2
    shift 2
    ${CC:-cc} -std=c99 $strict_c $openmp ${CPPFLAGS:-} "-I$headers" "-I$tools/actionfinder" "$@" \
        -c "$source" -o "$object"
}
# shellcheck disable=SC2086
build() {
    compile "$out/main.o" "$tools/deeppotential.c" -O1 $linked || return 1
    for file in "$tools"/deeppotential/*.c "$tools"/actionfinder/cli.c "$tools"/actionfinder/sky.c \
        "$tools"/actionfinder/svg.c; do
        compile "$out/$(basename "$file" .c).o" "$file" -O1 $hdf5 || return 1
    done
    ${CC:-cc} $openmp "$out"/*.o $libraries -o "$dp" ${HDF5_LIBS:-} -lm
}
check "the tool compiles without a warning" build
[ -x "$dp" ] || { report; exit 1; }

rows() { test "$(grep -c '^[-0-9n]' "$1")" -eq "$2"; }
# `good NAME COMMAND...` counts the command's success and keeps what it prints in $out/log
good() { name=$1; shift; check "$name" sh -c '"$@" >"$0"' "$out/log" "$@"; }

# ---- mock stars ----

s=$out/stars.npy
t=$out/truth.npy
good 'mock plummer' "$dp" mock plummer -n 2000 --seed 3 -o "$s" --truth-gradients "$t"
"$dp" mock plummer -n 2000 --seed 3 -o "$out/again.npy" --threads 3 >/dev/null
check 'mock repeats to the byte on other threads' same "$s" "$out/again.npy"
"$dp" mock plummer -n 2000 --seed 4 -o "$out/other.npy" >/dev/null
check 'another seed, other stars' differ "$s" "$out/other.npy"
"$dp" mock plummer -n 500 -o "$out/inside.csv" --volume sphere:0.5,0,0,0.7 >/dev/null
inside() {
    awk -F, '/^[-0-9]/ { n++; if (($1 - 0.5)^2 + $2^2 + $3^2 >= 0.49) bad = 1 }
        END { exit bad || n != 500 }' "$out/inside.csv"
}
check 'mock in a volume: as many stars, all inside' inside
"$dp" mock plummer -n 300 -o "$out/t.csv" --truth-gradients "$out/truth.csv" >/dev/null
# f ~ (-E)^(7/2): d ln f/dx = -7/2 x (1 + r^2)^(-3/2)/(-E), d ln f/dv = -7/2 v/(-E), where G M = 1
closed() {
    awk -F, '/^[-0-9]/ { n++; r = 1 + $1^2 + $2^2 + $3^2; e = r^-0.5 - ($4^2 + $5^2 + $6^2) / 2
        c = $13 - 3.5 * log(e); if (n == 1) first = c
        if ((c - first)^2 > 1e-18) bad = 1
        for (k = 1; k <= 3; k++) { a = -3.5 * $k * r^-1.5 / e; b = -3.5 * $(k + 3) / e
            if (($(k + 6) - a)^2 > 1e-10 * (1 + a * a) || ($(k + 9) - b)^2 > 1e-10 * (1 + b * b))
                bad = 1 } }
        END { exit bad || n != 300 }' "$out/truth.csv"
}
check 'the true f of a Plummer sphere and its gradients' closed
good 'mock with errors' "$dp" mock plummer -n 200 -o "$out/noisy.csv" --errors 1,0,0
check 'has columns of errors' grep -qx \
    'x,y,z,vx,vy,vz,x_error,y_error,z_error,vx_error,vy_error,vz_error' "$out/noisy.csv"
good 'mock miyamoto-nagai' "$dp" mock miyamoto-nagai -n 200 --times 4 -o "$out/disc.csv" \
    --volume cylinder:0,0,0,3,1
check 'as many stars' rows "$out/disc.csv" 200
good 'mock bar' "$dp" mock bar -n 100 --times 2 -o "$out/bar.npy"

# ---- files of stars ----

good 'convert NPY to CSV' "$dp" convert "$s" -o "$out/stars.csv"
"$dp" convert "$out/stars.csv" -o "$out/back.npy" >/dev/null
check 'and back: the same bytes' same "$s" "$out/back.npy"
"$dp" convert "$out/noisy.csv" -o "$out/cut.csv" --volume cylinder:0,0,0,1,0.5 >/dev/null
cut_to() {
    awk -F, '/^[-0-9]/ { if ($1^2 + $2^2 < 1 && $3 < 0.5 && $3 > -0.5) print }' "$out/noisy.csv" \
        >"$out/wanted"
    grep '^[-0-9]' "$out/cut.csv" | cmp - "$out/wanted" && test -s "$out/wanted"
}
check 'convert cuts to a volume, errors stay with their stars' cut_to
printf 'ra,dec,parallax,pmra,pmdec,radial_velocity\n120,30,2,5,-3,20\n80,-10,1.5,-2,4,-15\n' \
    >"$out/sky.csv"
good 'convert stars as observed' "$dp" convert "$out/sky.csv" --observed -o "$out/sky_out.csv"
piped() {
    # shellcheck disable=SC2002 # a pipe it shall be, which is read once
    cat "$out/sky.csv" | "$dp" convert /dev/stdin --observed -o "$out/sky_piped.csv" &&
        cmp "$out/sky_out.csv" "$out/sky_piped.csv"
}
check 'convert stars as observed, from a pipe' piped
check 'they are about the Sun' \
    awk -F, '/^[-0-9]/ { n++; if (($1 + 8.275)^2 + $2^2 + $3^2 > 1) bad = 1 }
        END { exit bad || n != 2 }' "$out/sky_out.csv"

# ---- distribution functions ----

# plain coordinates: the moments of the velocities, which come first else, take some seconds
other="--width 16 --depth 2 --batch 256 --quiet"
small="$other --plain-coordinates"
# shellcheck disable=SC2086
flow() { "$dp" fit-flow "$s" $small "$@"; }
df=$out/df.safetensors
good 'fit-flow' "$dp" fit-flow "$s" --width 16 --depth 2 --batch 256 --epochs 40 -o "$df" \
    --history "$out/loss.csv"
check 'it tells the loss of the untrained' grep -q '^  untrained ' "$out/log"
check 'and the trained is better' awk '$2 == "untrained" { a = $3 } $2 == "validation" { b = $3 }
    END { exit !(b < a) }' "$out/log"
check 'its history has a row an epoch' rows "$out/loss.csv" 40
check 'a log has no carriage returns' lacks "$(printf '\r')" "$out/log"
flow --epochs 3 -o "$out/one.safetensors" --threads 1 >"$out/quiet.log" 2>&1
check '--quiet is quiet' test ! -s "$out/quiet.log"
flow --epochs 3 -o "$out/three.safetensors" --threads 3
check 'one thread, three threads: the same bytes' same "$out/one.safetensors" \
    "$out/three.safetensors"
flow --epochs 3 -o "$out/many.safetensors" --ensemble 2 --history "$out/many.csv"
check 'the first of an ensemble is that of the seed' same "$out/one.safetensors" \
    "$out/many-1.safetensors"
check 'the second is another' differ "$out/many-1.safetensors" "$out/many-2.safetensors"
check 'histories are numbered' test -s "$out/many-2.csv"
flow --epochs 3 -o "$out/drawn.safetensors" --bootstrap
check 'a bootstrap sample, another model' differ "$out/one.safetensors" "$out/drawn.safetensors"
"$dp" convert "$s" -o "$out/weigh.csv" >/dev/null
awk -F, -v OFS=, '{ print $0, NR == 1 ? "weight" : 1 + NR % 2 }' "$out/weigh.csv" >"$out/w.csv"
"$dp" convert "$out/w.csv" -o "$out/w.npy" >"$out/w.log"
check 'weights are read' grep -q 'with weights' "$out/w.log"
# shellcheck disable=SC2086
"$dp" fit-flow "$out/w.npy" $small --epochs 3 -o "$out/w.safetensors"
check 'and count' differ "$out/one.safetensors" "$out/w.safetensors"
# shellcheck disable=SC2086
"$dp" fit-flow "$out/w.csv" $small --epochs 3 -o "$out/now.safetensors" --no-weights
check 'unless --no-weights' same "$out/one.safetensors" "$out/now.safetensors"
# warns NAME WORDS STARS: one sentence with the words, and the fit goes on
warns() {
    check "$1" refuses 0 "$2" "$dp" fit-flow "$3" --width 4 --depth 1 --epochs 1 \
        --plain-coordinates --quiet -o "$out/warned.safetensors"
}
{ cat "$out/stars.csv"; sed -n '2,101p' "$out/stars.csv"; } >"$out/copies.csv"
warns 'stars that repeat others' "copies.csv': 100 of 2100 stars repeat others" "$out/copies.csv"
{ cat "$out/stars.csv"; echo 1e6,0,0,0.1,0,0; } >"$out/far.csv"
warns 'a star far from all others' "far.csv': the star with x, y, z = 1e+06, 0, 0|--volume" \
    "$out/far.csv"
{ cat "$out/stars.csv"; printf '1,0,0,0,0,9e9\n1,0,0,0,9e9,0\n'; } >"$out/fast.csv"
warns 'stars far faster' "vx, vy, vz = 0, 0, 9e+09|so are others" "$out/fast.csv"
"$dp" mock plummer -n 100000 -o "$out/100000.npy" >/dev/null
"$dp" fit-flow "$out/100000.npy" --width 4 --depth 1 --epochs 1 --plain-coordinates --quiet \
    -o "$out/warned.safetensors" 2>"$out/warnings"
check 'other stars get no such sentences' test ! -s "$out/warnings"
flow --epochs 2 -o "$out/conditional.safetensors" --conditional
# shellcheck disable=SC2086
good 'fit-flow of stars with errors' "$dp" fit-flow "$out/noisy.csv" $small --epochs 2 \
    -o "$out/noisy.safetensors" --validation 0.2 --rate 1e-3 --schedule constant --clip 2

await() {
    tries=0
    while [ ! -s "$1" ] && [ $tries -lt 1200 ]; do
        sleep 0.05 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
}
flow --epochs 12 -o "$out/whole.safetensors" --threads 1
# shellcheck disable=SC2086
"$dp" fit-flow "$s" $small --epochs 12 -o "$out/killed.safetensors" --threads 1 \
    --checkpoint "$out/state" &
process=$!
await "$out/state"
kill -9 $process 2>/dev/null
wait $process 2>/dev/null
flow --epochs 12 -o "$out/killed.safetensors" --threads 1 --checkpoint "$out/state" --resume
check 'killed and resumed: the same bytes' same "$out/whole.safetensors" "$out/killed.safetensors"
# shellcheck disable=SC2086
"$dp" fit-flow "$s" $small --seconds 600 -o "$out/stopped.safetensors" \
    --checkpoint "$out/running" 2>"$out/stopped.log" &
process=$!
await "$out/running"
kill -TERM $process
wait $process
check 'a stopped fit ends well' test $? -eq 0
check 'and says so' grep -q 'stopped; the best model' "$out/stopped.log"

fl=$out/flow.safetensors
# shellcheck disable=SC2086
"$dp" fit-flow "$s" $other --kind matching --epochs 30 -o "$fl"
check 'a flow by matching' test -s "$fl"
good 'sample' "$dp" sample "$fl" -n 300 -o "$out/draws.csv"
check 'draws are as many' rows "$out/draws.csv" 300
good 'sample, cut' "$dp" sample "$fl" -n 300 -o "$out/draws_cut.csv" --cut sphere:0,0,0,1
check 'fewer then' awk '/^[-0-9]/ { n++ } END { exit !(n > 0 && n < 300) }' "$out/draws_cut.csv"
# shellcheck disable=SC2086
"$dp" fit-flow "$s" $other --kind spline --epochs 2 -o "$out/spline.safetensors"
check 'a flow of splines' "$dp" sample "$out/spline.safetensors" -n 50 -o "$out/spline.npy"
"$dp" fit-flow "$s" --kind ffjord --width 8 --depth 1 --transforms 1 --epochs 1 --quiet \
    --volume sphere:0,0,0,0.7 -o "$out/ffjord.safetensors"
check 'a flow by its likelihood' test -s "$out/ffjord.safetensors"
good 'a score normalised by a flow' "$dp" fit-flow "$s" --width 16 --depth 2 --epochs 1 \
    --plain-coordinates --normalise "$fl" -o "$out/normal.safetensors"
check 'and it says how well' grep -q '^normalised by' "$out/log"

# ---- gradients ----

g=$out/grads.npy
good 'gradients' "$dp" gradients "$df" "$s" -o "$g"
check 'as many' grep -q 'at 2000 points' "$out/log"
check 'of thirteen numbers each' grep -aq '(2000, 13)' "$g"
good 'gradients as a table, of some stars' "$dp" gradients "$df" "$s" -n 100 -o "$out/g.csv"
check 'has names' grep -qx "x,y,z,vx,vy,vz,dlnf_dx,dlnf_dy,dlnf_dz,dlnf_dvx,dlnf_dvy,dlnf_dvz,"\
'ln_f' "$out/g.csv"
check 'and rows' rows "$out/g.csv" 100
good 'gradients at draws, cut' "$dp" gradients "$df" --draw "$fl" -n 200 -o "$out/gd.csv" \
    --cut sphere:0,0,0,2
good 'gradients cut' "$dp" gradients "$df" "$s" -n 100 -o "$out/gc.csv" --cut sphere:0,0,0,1
inside_one() {
    awk -F, '/^[-0-9]/ { if ($1^2 + $2^2 + $3^2 < 1) print }' "$out/g.csv" >"$out/wanted"
    grep '^[-0-9]' "$out/gc.csv" | cmp - "$out/wanted" && test -s "$out/wanted"
}
check 'are the same rows' inside_one
good 'gradients of several' "$dp" gradients "$out/many-1.safetensors" "$out/many-2.safetensors" \
    "$out/drawn.safetensors" "$s" -n 50 -o "$out/gm.csv" --robust
good 'gradients at more stars than there are' "$dp" gradients "$df" "$s" -n 9999 -o "$out/ga.npy"
check 'says so' grep -q 'all of its 2000 stars, fewer than -n 9999' "$out/log"
check 'gradients with weights' "$dp" gradients "$df" "$out/w.npy" -o "$out/gw.npy"
check 'of fourteen numbers' grep -aq '(2000, 14)' "$out/gw.npy"

# ---- potentials ----

tiny="--width 16 --depth 2 --batch 256 --quiet"
# shellcheck disable=SC2086
phi() { "$dp" fit-potential "$@" $tiny; }
p=$out/phi.safetensors
"$dp" fit-potential "$t" -o "$p" --width 32 --depth 2 --batch 256 --epochs 60 \
    --history "$out/phi.csv" >"$out/phi.log"
check 'fit-potential' test -s "$p"
check 'it tells the loss of the untrained' grep -q '^  untrained ' "$out/phi.log"
good 'eval --check' "$dp" eval "$p" "$s" --check plummer:1/G,1 --within 2
check 'the force of true gradients' below force_median 12 "$out/log"
check 'beside that of no potential' grep -q 'force .* 100.00 *100.00' "$out/log"
phi "$g" -o "$out/a.safetensors" --epochs 3 --threads 1
phi "$g" -o "$out/b.safetensors" --epochs 3 --threads 3
check 'on other threads: the same bytes' same "$out/a.safetensors" "$out/b.safetensors"
phi "$df" "$s" -o "$out/c.safetensors" --epochs 3
check 'from the model and its stars: the same bytes' same "$out/a.safetensors" "$out/c.safetensors"
phi "$out/g.csv" -o "$out/d.safetensors" --epochs 2 --inputs rz --loss df --log-loss --l2 0.01 \
    --alpha 2 --beta 2 --lambda -1 --rounding 1 --cut sphere:0,0,0,3 \
    --frame omega=0.1,ux=0.01 --free omega,u
check 'with all of its options' test -s "$out/d.safetensors"
for k in "$out/g.csv" "$out/gc.csv"; do
    phi "$k" -o "$k.safetensors" --epochs 2 --loss df --cut sphere:0,0,0,1
done
check 'cut now or before: the same bytes' same "$out/g.csv.safetensors" "$out/gc.csv.safetensors"
phi "$df" --draw "$fl" -n 300 -o "$out/e.safetensors" --epochs 2 --inputs guided
check 'at draws' test -s "$out/e.safetensors"
phi "$out/conditional.safetensors" "$s" -o "$out/f.safetensors" --epochs 2 --density-net
check 'of a conditional model' test -s "$out/f.safetensors"
phi "$t" -o "$out/en.safetensors" --epochs 3 --ensemble 2 --bootstrap
check 'an ensemble of potentials' test -s "$out/en-2.safetensors"

an=$out/analytic.safetensors
good 'an analytic potential' "$dp" fit-potential "$t" -o "$an" --analytic plummer:0.5/G,2
check 'has the true mass' beside mass_1 232508.5 1e-6 "$out/log"
check 'and length' beside length_1 1 1e-6 "$out/log"
good 'with a length that is fixed' "$dp" fit-potential "$t" -o "$out/fixed.safetensors" \
    --analytic 'plummer:0.5/G,1.3!'
check 'it stays' beside length_1 1.3 1e-12 "$out/log"

# ---- what potentials give ----

good 'eval' "$dp" eval "$an" "$s" -o "$out/table.csv" --surface-density 3 --sphere-density 0.01 \
    --rotation-curve "$out/v.csv" --radii 0.5:4:8
check 'its columns' grep -qx \
    'x,y,z,phi,ax,ay,az,density,surface_density,sphere_density' "$out/table.csv"
# -1/sqrt(q), -x q^(-3/2), 3/(4 pi G) q^(-5/2), q = 1 + r^2; sigma: the integral of the last over z
known() {
    awk -F, 'function off(a, b, e) { return (a - b)^2 > e * e * b * b }
        /^[-0-9]/ { n++; q = 1 + $1^2 + $2^2 + $3^2; g = 4.30091727e-6
        c = 3 / (16 * atan2(1, 1) * g)
        w = 1 + $1^2 + $2^2; u = 3 / sqrt(w + 9)
        if (off($4, -q^-0.5, 1e-5) || off($5, -$1 * q^-1.5, 1e-5) || off($8, c * q^-2.5, 1e-5) ||
            off($9, 2 * c * (u - u^3 / 3) / w^2, 1e-4) || off($10, c * q^-2.5, 1e-3)) {
            print; bad = 1 } }
        END { exit bad || n != 2000 }' "$out/table.csv"
}
check 'potential, force, densities in closed form' known
circular() {
    awk -F, '/^[0-9]/ { n++; v = $1 * (1 + $1^2)^-0.75; if (($2 - v)^2 > 1e-10) bad = 1 }
        END { exit bad || n != 8 }' "$out/v.csv"
}
check 'the rotation curve in closed form' circular
good 'eval several' "$dp" eval "$out/en-1.safetensors" "$out/en-2.safetensors" "$s" \
    -o "$out/mean.csv"
check 'has errors' grep -q 'density,phi_error,ax_error,ay_error,az_error,density_error$' \
    "$out/mean.csv"
printf 'x,y,z\n0.5,0,0\n0,0.8,0.2\n' >"$out/places.csv"
good 'eval to NPY' "$dp" eval "$an" "$out/places.csv" -o "$out/places.npy"
good 'local' "$dp" local "$df" "$s" --at "$out/places.csv" -o "$out/local.csv" \
    --check plummer:1/G,1
check 'points inwards' below force_median 80 "$out/log"
check 'its columns' grep -qx 'x,y,z,ax,ay,az,ax_error,ay_error,az_error,leftover' "$out/local.csv"

good 'plot' "$dp" plot "$p" -o "$out/p.svg" --gradients "$g" --truth "$t" --check plummer:1/G,1 \
    --history "$out/phi.csv" --flow-history "$out/loss.csv"
check 'the picture is whole' grep -q '</svg>' "$out/p.svg"
check 'with ten panels' test "$(grep -c '<clipPath' "$out/p.svg")" -eq 10
check 'and no number that is none' lacks 'nan' "$out/p.svg"
good 'plot without gradients' "$dp" plot "$an" -o "$out/q.svg" --reach 3 --height 1
check 'a Plummer sphere has density everywhere' lacks 'white:' "$out/q.svg"
good 'plot where no star is' "$dp" plot "$p" -o "$out/w.svg" --reach 30
check 'says what is white' grep -q 'white: density not above 0' "$out/w.svg"

# ---- run ----

cat >"$out/o.txt" <<END
# all stages
mock = plummer
folder = $out/folder
check = plummer:1/G,1 # known
mock.n = 400
fit-flow.epochs = 3
fit-flow.width = 8
fit-flow.depth = 1
fit-flow.plain-coordinates = yes
fit-flow.conditional = no
fit-potential.epochs = 3
fit-potential.width = 8
fit-potential.depth=1
fit-potential.ensemble = 2
eval.radii = 0.1:2:5
END
good 'run' "$dp" run "$out/o.txt"
for file in options.txt stars.npy truth.npy df.safetensors df-loss.csv gradients.npy table.csv \
    phi-1.safetensors phi-2.safetensors phi-loss-1.csv rotation.csv picture.svg; do
    check "run makes $file" test -s "$out/folder/$file"
done
good 'run from a stage on' "$dp" run "$out/o.txt" --from eval
check 'does not fit again' lacks '^---- fit' "$out/log"
good 'run in another folder' "$dp" run "$out/folder/options.txt" -o "$out/second"
check 'gives the same bytes' same "$out/folder/table.csv" "$out/second/table.csv"
line() { # NAME WORDS LINE
    { cat "$out/o.txt"; echo "$3"; } >"$out/bad.txt"
    check "$1" refuses 1 "$2" "$dp" run "$out/bad.txt" -o "$out/nothing"
}
line 'an unknown key' "bad.txt', line 16|'stras'|did you mean stars" 'stras = a.csv'
line 'an unknown stage' "line 16|'fitflow'|did you mean fit-flow" 'fitflow.seconds = 3'
line 'an unknown option' "line 16|'fit-flow.secnds'|did you mean seconds" 'fit-flow.secnds = 3'
line 'a value of another kind' "line 16|whole number|'many'" 'gradients.n = many'
line 'a flag that is neither' "line 16|yes or no|'perhaps'" 'gradients.robust = perhaps'
line 'a line without =' "line 16|key = value" 'fit-flow.seconds 3'
line 'a key without a value' "line 16|'threads'" 'threads ='
line 'a key twice' "line 16|two lines|'mock.n'" 'mock.n = 3'
line 'a file that run names' "line 16|'fit-flow.history'" 'fit-flow.history = h.csv'
line 'stars and a mock' 'stars = FILE|mock = SYSTEM' 'stars = s.npy'
line 'a potential that there is not' "--check|'plumer:1,1'" 'plot.check = plumer:1,1'
line 'what is free in no frame' "--free|'foo'" 'fit-potential.free = foo'
line 'a cut that is no volume' "--cut|'box:1'" 'gradients.cut = box:1'
line 'a rate that falls in no known way' "--schedule|'up'" 'fit-potential.schedule = up'
line 'points that are not there' 'none.csv' "points = $out/none.csv"
{ grep -v '^fit-potential.[wd]' "$out/o.txt"; echo 'fit-potential.analytic = foo'; } \
    >"$out/parts.txt"
check 'parts of no known kind' refuses 1 "--analytic|'foo'" \
    "$dp" run "$out/parts.txt" -o "$out/nothing"
sed 's/^eval.radii = .*/eval.radii = 2:1:5/' "$out/o.txt" >"$out/fall.txt"
check 'radii that fall' refuses 1 "--radii|'2:1:5'" "$dp" run "$out/fall.txt" -o "$out/nothing"
grep -v '^check' "$out/o.txt" >"$out/unchecked.txt"
echo 'eval.within = 2' >>"$out/unchecked.txt"
check 'an option without its other' refuses 1 '--within goes with --check' \
    "$dp" run "$out/unchecked.txt" -o "$out/nothing"
check 'nothing was begun' absent "$out/nothing"

# ---- HDF5 ----

# What the authors' programs write: float32, training and held-out stars, weights, the volume;
# packed by LZF (28 bytes for four rows alike: 24 literals, then 72 from 24 back).
authors() {
    cat >"$out/h5.c" <<'C'
#include <hdf5.h>
#include <string.h>
static hid_t put(hid_t f, const char *name, hsize_t n, hsize_t m, const float *x) {
    hsize_t dims[2];
    hid_t space, set;
    dims[0] = n;
    dims[1] = m;
    space = H5Screate_simple(m ? 2 : 1, dims, NULL);
    set = H5Dcreate2(f, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
    return set;
}
static void attribute(hid_t set, const char *key, double v) {
    hid_t a = H5Acreate2(set, key, H5T_NATIVE_DOUBLE, H5Screate(H5S_SCALAR), H5P_DEFAULT,
                         H5P_DEFAULT);
    H5Awrite(a, H5T_NATIVE_DOUBLE, &v);
}
int main(int n, char **word) {
    hid_t f = H5Fcreate(word[n - 1], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), type = H5Tcopy(H5T_C_S1), set, a;
    hsize_t dims[2] = {4, 6}, zero[2] = {0, 0};
    unsigned settings[3] = {4, 0x0105, 96};
    float row[6] = {0.5f, 0.25f, -0.125f, 1.0f, 2.0f, 3.0f}, weight[4] = {1, 2, 3, 4};
    float held[12] = {5, 0, 0, 1, 1, 1, 0.25f, 0, 0, 4, 5, 6}; /* the first is outside */
    unsigned char packed[28];
    const char *kind = "sphere";
    H5Pset_chunk(list, 2, dims);
    H5Pset_filter(list, 32000, H5Z_FLAG_OPTIONAL, 3, settings);
    set = H5Dcreate2(f, "eta_train", H5T_IEEE_F32LE, H5Screate_simple(2, dims, NULL), H5P_DEFAULT,
                     list, H5P_DEFAULT);
    packed[0] = 23;
    memcpy(packed + 1, row, 24);
    packed[25] = 7 << 5;
    packed[26] = 72 - 2 - 7;
    packed[27] = 23;
    if (H5Dwrite_chunk(set, H5P_DEFAULT, 0, zero, sizeof packed, packed) < 0) return 1;
    H5Tset_size(type, H5T_VARIABLE);
    a = H5Acreate2(set, "volume_type", type, H5Screate(H5S_SCALAR), H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, type, &kind);
    attribute(set, "r_in", 0.01);
    attribute(set, "parallax_min", 0.5);
    put(f, "weights_train", 4, 0, weight);
    put(f, "eta_val", 2, 6, held);
    put(f, "weights_val", 2, 0, weight);
    return 0;
}
C
    # shellcheck disable=SC2086
    ${CC:-cc} ${HDF5:-} "$out/h5.c" -o "$out/h5" ${HDF5_LIBS:-} && "$out/h5" "$out/authors.h5"
}
if [ -n "$hdf5" ]; then
    check "the authors' file" authors
    good 'is read' "$dp" convert "$out/authors.h5" -o "$out/authors.csv"
    check 'inside its volume, with weights' grep -q '5 stars inside the volume, with weights' \
        "$out/log"
    check 'the last of the training, the last held out' \
        awk 'NR == 5 && $0 != "0.5,0.25,-0.125,1,2,3,4" { bad = 1 }
            NR == 6 && $0 != "0.25,0,0,4,5,6,2" { bad = 1 } END { exit bad || NR != 6 }' \
        "$out/authors.csv"
    "$dp" convert "$out/noisy.csv" -o "$out/noisy.h5" --volume sphere:0,0,0,2 >/dev/null
    "$dp" convert "$out/noisy.h5" -o "$out/noisy_1.csv" >"$out/log"
    "$dp" convert "$out/noisy.csv" -o "$out/noisy_2.csv" --volume sphere:0,0,0,2 >/dev/null
    check 'stars with errors to HDF5 and back' same "$out/noisy_1.csv" "$out/noisy_2.csv"
    check 'and the volume' grep -q 'inside the volume, with errors' "$out/log"
    good 'gradients to HDF5' "$dp" gradients "$df" "$s" -o "$out/g.h5"
    phi "$out/g.h5" -o "$out/h.safetensors" --epochs 3
    check 'and from there: the same bytes' same "$out/a.safetensors" "$out/h.safetensors"
    head -c 600 "$out/noisy.h5" >"$out/short.h5"
    check 'a cut HDF5 file' refuses 1 "short.h5|HDF5" "$dp" convert "$out/short.h5" -o "$out/n.csv"
    check 'stars in HDF5 given as gradients' refuses 1 'noisy.h5|dlnf_deta|df_deta' \
        "$dp" fit-potential "$out/noisy.h5" -o "$out/n.safetensors"
fi
# shellcheck disable=SC2086
without() {
    compile "$out/h5_stars.o" "$tools/deeppotential/h5_stars.c" -O1 || return 1
    compile "$out/h5_file.o" "$tools/deeppotential/h5_file.c" -O1 || return 1
    ${CC:-cc} $openmp "$out"/*.o $libraries -o "$out/plain" -lm
}
check 'it compiles without HDF5' without
check 'and says so' refuses 1 'x.h5|without HDF5|libhdf5-dev' \
    "$out/plain" convert "$s" -o "$out/x.h5"

# ---- the command line ----

check '--help' "$dp" --help
check '--version' "$dp" --version
for command in run mock convert fit-flow sample gradients fit-potential eval local plot; do
    good "$command --help" "$dp" $command --help
    check 'by its name' grep -q "^deeppotential $command " "$out/log"
done
usage() { name=$1; words=$2; shift 2; check "$name" refuses 2 "$words" "$dp" "$@"; }
no=$out/no.safetensors
check 'no command' test "$("$dp" 2>/dev/null; echo $?)" = 2
usage 'an unknown command' "there is no command 'evla'|did you mean eval" evla
usage 'an unknown option' 'no option --secnods|did you mean --seconds' fit-flow "$s" --secnods 3
usage 'no output of fit-flow' '-o FILE' fit-flow "$s"
usage 'no such kind' "score, matching, spline or ffjord|'nice'" fit-flow "$s" -o "$no" --kind nice
usage 'an option of another kind' '--bins|score' fit-flow "$s" -o "$no" --bins 4
usage 'resume without a checkpoint' '--checkpoint' fit-flow "$s" -o "$no" --resume
usage 'a volume that is none' "--volume|sphere:x,y,z,r|'box:1'" fit-flow "$s" -o "$no" \
    --volume box:1
usage 'an empty volume' "--volume|'sphere:0,0,0,0'|empty" fit-flow "$s" -o "$no" \
    --volume sphere:0,0,0,0
usage 'a mock of no known system' "plummer, miyamoto-nagai or bar|'plumer'" mock plumer \
    -o "$out/n.npy"
usage 'an option of another system' '--omega|plummer' mock plummer -o "$out/n.npy" --omega 3
usage 'stars of no known kind of file' '.npy, .csv or .h5' mock plummer -o "$out/n.txt"
usage 'errors of four numbers' "--errors|'1,0,0,1'" mock plummer -o "$out/n.csv" --errors 1,0,0,1
usage 'the Sun of positions' 'go with --observed' convert "$s" -o "$out/n.csv" --sun-radius 8
usage 'gradients of nothing' 'DF... STARS|--draw' gradients "$df" -o "$out/n.npy"
usage 'an unknown potential' "plummer:mass,b|'plumer:1,1'" fit-potential "$g" -o "$no" \
    --analytic plumer:1,1
usage 'a potential of too few numbers' "'plummer:1'" eval "$p" "$s" --check plummer:1
usage 'a width of an analytic potential' '--width|--analytic' fit-potential "$g" -o "$no" \
    --analytic plummer:1,1 --width 3
usage 'a frame of no known name' "--frame|omega|'omgea=3'" fit-potential "$g" -o "$no" \
    --frame omgea=3
usage 'to free what is not there' "--free|'omgea'" fit-potential "$g" -o "$no" --free omgea
usage 'draws without a model' '--draw FLOW' fit-potential "$g" -o "$no" -n 100
usage 'eval of nothing' '-o FILE.csv, --check or --rotation-curve' eval "$p" "$s"
usage 'a range that is none' "--radii|0 <= FROM < TO|'1:0:5'" eval "$p" \
    --rotation-curve "$out/n.csv" --radii 1:0:5
usage 'a curve without radii' '--radii' eval "$p" --rotation-curve "$out/n.csv"
usage 'local without places' '--at' local "$df" "$s" -o "$out/n.csv"
usage 'a picture of another kind' "n.png' should end in .svg" plot "$p" --reach 1 -o "$out/n.png"
usage 'plot without reach' '--reach|--gradients' plot "$p" -o "$out/n.svg"
usage 'run from no stage' "'fit'" run "$out/o.txt" --from fit

# ---- bad input: nothing may be written ----

bad() { name=$1; words=$2; shift 2; check "$name" refuses 1 "$words" "$dp" "$@"; }
cut -d, -f1-5 "$out/stars.csv" >"$out/five.csv"
bad 'positions given as observed' "stars.csv' has positions|leave --observed out" \
    convert "$out/stars.csv" --observed -o "$out/n.csv"
bad 'the same in NPY' 'leave --observed out' convert "$s" --observed -o "$out/n.csv"
bad 'stars as observed given as positions' "sky.csv' has stars as observed|--observed" \
    convert "$out/sky.csv" -o "$out/n.csv"
bad 'a missing column' 'five.csv|vz' fit-flow "$out/five.csv" -o "$no"
sed '4s/^[^,]*/nan/' "$out/stars.csv" >"$out/nan.csv"
bad 'a NaN' 'nan.csv|x' fit-flow "$out/nan.csv" -o "$no"
head -n 50 "$out/stars.csv" >"$out/few.csv"
bad 'few stars' 'few.csv|49 stars' fit-flow "$out/few.csv" -o "$no"
bad 'no such file' 'none.csv' fit-flow "$out/none.csv" -o "$no"
bad 'an NPY of another shape' 'grads.npy' fit-flow "$g" -o "$no"
bad 'no star inside' 'stars.npy|volume' fit-flow "$s" -o "$no" --volume sphere:99,0,0,1
bad 'weights of another shape' 'truth.npy|(2000)' fit-flow "$s" -o "$no" --weights "$t"
bad 'stars given as gradients' 'stars.npy|(n, 13)' fit-potential "$s" -o "$no"
sed '1s/$/,weight/; 2,$s/$/,0/' "$out/stars.csv" >"$out/zero.csv"
bad 'weights of zero' "deeppotential: '$out/zero.csv': of 2000 stars|none has a weight above 0" \
    fit-flow "$out/zero.csv" -o "$no"
bad 'a model given as gradients' "df.safetensors' is a model|GRADS, or STARS after a model" \
    fit-potential "$df" -o "$no"
bad 'a model given as points' "df.safetensors' is a model|POINTS" eval "$p" "$df" -o "$out/n.csv"
bad 'a model given as stars' "df.safetensors' is a model|STARS" fit-flow "$df" -o "$no"
bad 'a table without gradients' 'stars.csv|dlnf_dx' fit-potential "$out/stars.csv" -o "$no"
bad 'a potential given as f' 'phi.safetensors|is a potential|a distribution function' \
    gradients "$p" "$s" -o "$out/n.npy"
bad 'f given as a potential' 'df.safetensors|is a distribution function|takes a potential' \
    eval "$df" "$s" -o "$out/n.csv"
bad 'stars given as a model' 'stars.npy' eval "$s" "$s" -o "$out/n.csv"
head -c 900 "$df" >"$out/cut.safetensors"
bad 'a cut model' 'cut.safetensors' gradients "$out/cut.safetensors" "$s" -o "$out/n.npy"
head -c 900 "$p" >"$out/cut_p.safetensors"
bad 'a cut potential' 'cut_p.safetensors' eval "$out/cut_p.safetensors" "$s" -o "$out/n.csv"
bad 'draws of a score' 'score' sample "$df" -n 10 -o "$out/n.npy"
bad 'no point inside' '--cut' fit-potential "$g" -o "$no" --cut sphere:99,0,0,1
bad 'no point within' '--within' eval "$p" "$s" --check plummer:1/G,1 --within 1e-9
bad 'truth at other points' 'truth.csv|same points' \
    plot "$p" -o "$out/n.svg" --gradients "$g" --truth "$out/truth.csv"
bad 'no such folder' 'nowhere' fit-flow "$s" -o "$out/nowhere/m.safetensors" --seconds 1000
bad 'no such folder for the history' 'nowhere' \
    fit-potential "$g" -o "$no" --history "$out/nowhere/h.csv" --seconds 1000
mkdir "$out/folder.svg"
bad 'a folder as output' 'it is a folder' plot "$p" --reach 1 -o "$out/folder.svg"
bad 'output over input' 'stars.npy' convert "$s" -o "$s"
bad 'two outputs of one name' "n.csv' is to be written twice" eval "$p" "$s" -o "$out/n.csv" \
    --rotation-curve "$out/n.csv" --radii 1:2:3
bad 'a history over the model' 'written twice' fit-flow "$s" -o "$no" --history "$no"
bad 'a checkpoint over the history' 'written twice' fit-potential "$g" -o "$no" \
    --history "$out/n.csv" --checkpoint "$out/n.csv"
bad 'a truth over the stars' 'written twice' mock plummer -o "$out/n.csv" \
    --truth-gradients "$out/n.csv"
bad 'no such options' 'none.txt' run "$out/none.txt"
bad 'a binary file of options' 'stars.npy|not a file of options' run "$s" -o "$out/nothing"
if [ -c /dev/full ]; then
    bad 'a full disk for the potential' '/dev/full' fit-potential "$t" -o /dev/full \
        --analytic plummer:1/G,1 --quiet
    bad 'a full disk for the table' '/dev/full' eval "$an" "$s" -o /dev/full
fi
limited() { (ulimit -f 1 && exec "$dp" "$@"); }
check 'a picture that may not grow' refuses 1 'big.svg' limited plot "$an" --reach 2 \
    -o "$out/big.svg"
check 'leaves no picture behind' absent "$out/big.svg" "$out/big.svg.tmp"
check 'bad input wrote nothing' absent "$no" "$out/n.npy" "$out/n.csv" "$out/n.svg" "$out/n.png" \
    "$out/nothing"
report
