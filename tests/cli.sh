#!/bin/sh
# The program build/actionfinder: what it makes of good input, and its sentences about bad input.
. "$(dirname "$0")/checks.sh"
. "$(dirname "$0")/cli_checks.sh"
tools=tools
sources="$tools/actionfinder.c $tools/actionfinder/*.c"
af=$out/actionfinder

# shellcheck disable=SC2086 # lists of words
build() {
    ${CC:-cc} -std=c99 -O1 $strict_c $openmp ${CPPFLAGS:-} "-I$headers" $linked $sources $libraries \
        -o "$af" -lm
}
check "the tool compiles without a warning" build
[ -x "$af" ] || { report; exit 1; }

x=$out/xv.npy
m=$out/model.safetensors
small="--toy-mass 4e11 --toy-scale 5"
small="$small --epochs 8 --threads 2 --quiet --batch 16 --width 8 --harmonics 4,4,1 --extend no"

same_size() { test "$(wc -c <"$1")" -eq "$(wc -c <"$2")"; }

# ---- mock orbits ----

"$af" mock -o "$x" --streams 40 --stars 6 --potential isochrone --seed 3 --truth "$out/J.npy" \
    --angles "$out/T.npy" --span 0.3 >/dev/null
check 'mock writes orbits' test -s "$x"
"$af" mock -o "$out/again.npy" --streams 40 --stars 6 --potential isochrone --seed 3 --span 0.3 \
    --threads 3 >/dev/null
check 'mock repeats to the byte on other threads' same "$x" "$out/again.npy"
"$af" mock -o "$out/disc.npy" --streams 3 --kind disc --seed 1 --truth "$out/disc_J.npy" \
    --truth-error "$out/disc_E.npy" --angles "$out/disc_T.npy" >"$out/disc.log"
check 'the truth of disc orbits is good to 0.1' \
    grep -q 'of 3 streams; of 3 the two halves' "$out/disc.log"

for galaxy in db98 pjm14; do
    "$af" mock -o "$out/$galaxy.npy" --streams 2 --kind disc --potential $galaxy \
        --truth "$out/${galaxy}_J.npy" >"$out/$galaxy.log"
    check "the truth in $galaxy" grep -q 'of 2 streams; of 2 the two halves' "$out/$galaxy.log"
done
check 'the two galaxies differ' differ "$out/db98.npy" "$out/pjm14.npy"
"$af" mock -o "$out/cold.npy" --streams 2 --kind cold-disc --truth "$out/cold_J.npy" >"$out/cold.log"
check 'cold discs, anywhere on the orbit' grep -q '30 radial periods' "$out/cold.log"
check 'the truth of cold discs' grep -q 'of 2 streams; of 2 the two halves' "$out/cold.log"
"$af" mock -o "$out/plummer.npy" --streams 9 --potential plummer --truth "$out/plummer_J.npy" \
    --angles "$out/plummer_T.npy" --frequencies "$out/plummer_W.npy" >"$out/plummer.log"
check 'snapshots of a cluster' grep -q 'within 0.07 Gyr' "$out/plummer.log"
check 'its frequencies' same_size "$out/plummer_J.npy" "$out/plummer_W.npy"
"$af" mock -o "$out/three_axes.npy" --streams 9 --potential triaxial \
    --accelerations "$out/three_axes_A.npy" >/dev/null
check 'accelerations' same_size "$out/plummer_T.npy" "$out/three_axes_A.npy"

"$af" mock -o "$out/orb.csv" --streams 40 --stars 6 --potential isochrone --seed 3 --span 0.3 \
    >/dev/null
check 'mock writes a table' \
    test "$(sed -n 2p "$out/orb.csv")" = stream,x,y,z,vx,vy,vz
check 'with a row a star' test "$(grep -c '^[0-9]' "$out/orb.csv")" -eq 240
check 'mock to no known kind' refuses 2 '.npy or .csv' "$af" mock -o "$out/no.txt"
check 'truth is written as NPY alone' refuses 2 'no.csv|.npy' \
    "$af" mock -o "$out/again.npy" --truth "$out/no.csv"
check 'two outputs of one name' refuses 1 'no.npy|twice' \
    "$af" mock -o "$out/no.npy" --truth "$out/no.npy"
check 'two outputs in one file' refuses 1 'again.npy|twice' \
    "$af" mock -o "$out/again.npy" --truth "$out/./again.npy"

# ---- fit, eval, check ----

# shellcheck disable=SC2086
fit() { "$af" fit "$x" $small "$@"; }
check 'fit' fit -o "$m" --history "$out/loss.csv"
check 'the history has a row an epoch' test "$(grep -c '^[0-9]' "$out/loss.csv")" -eq 8
fit -o "$out/one.safetensors" --threads 1
fit -o "$out/three.safetensors" --threads 3
check 'one thread, two threads: the same bytes' same "$m" "$out/one.safetensors"
check 'three threads: the same bytes' same "$m" "$out/three.safetensors"
fit -o "$out/seed.safetensors" --seed 1
check 'another seed, another model' differ "$m" "$out/seed.safetensors"
check 'fit with a free toy, no symmetry' fit -o "$out/free.safetensors" --free-toy \
    --axisymmetric no
"$af" fit "$x" -o "$out/longer.safetensors" --epochs 1 --width 8 --harmonics 4,4,1 >"$out/longer.log"
check 'that is what fit does' grep -q '^trains on 4096 longer orbits' "$out/longer.log"
check 'and it learns frequencies' "$af" eval "$out/longer.safetensors" "$x" -o "$out/omega.csv" \
    --frequencies
check 'which have columns' grep -q 'theta_r,Omega_phi,Omega_z,Omega_r$' "$out/omega.csv"
check 'fit with shears' fit -o "$out/shears.safetensors" --generator shears --depth 4
check 'eval by shears' "$af" eval "$out/shears.safetensors" "$x" -o "$out/shears.csv"
check 'fit with a network as G' fit -o "$out/net.safetensors" --generator network --depth 2 \
    --loss absolute --point-transformation --rate 1e-3
check 'such a model evaluates' "$af" eval "$out/net.safetensors" "$x" -o "$out/net.npy"

"$af" fit "$x" -o "$out/log.safetensors" --epochs 3 --threads 1 --batch 16 \
    --extend no >"$out/fit.log" 2>&1
check 'fit reports the spread before' grep -q 'before (toy)' "$out/fit.log"
check 'a log has plain lines' grep -q 'epoch  *3  loss' "$out/fit.log"
check 'a log has no carriage returns' lacks "$(printf '\r')" "$out/fit.log"

fit -o "$out/orb.safetensors" >"$out/quiet.log" 2>&1
check 'fit --quiet is quiet' test ! -s "$out/quiet.log"
# shellcheck disable=SC2086
"$af" fit "$out/orb.csv" -o "$out/orb.safetensors" $small
check 'table and array: the same model' same "$m" "$out/orb.safetensors"
# units FACTOR COLUMNS: a fit to the table with these columns times the factor
units() {
    awk -F, -v OFS=, -v f="$1" -v of="$2" \
        '/^[0-9]/ { for (k = of; k < of + 3; k++) $k *= f } 1' "$out/orb.csv" >"$out/unit.csv"
    "$af" fit "$out/unit.csv" -o "$out/unit.safetensors" --epochs 1 --extend no >"$out/unit.log"
    grep '^check the units: positions in kpc, velocities in km/s' "$out/unit.log"
}
check 'positions in pc' units 1000 2
check 'velocities in m/s' units 1000 5
kpc() { ! units 1 2; }
check 'positions in kpc' kpc
check 'a fit that gains nothing says so' \
    grep -q '^that is hardly better than the toy' "$out/unit.log"
check 'eval to NPY' "$af" eval "$m" "$x" -o "$out/out.npy"
check 'eval to CSV' "$af" eval "$m" "$x" -o "$out/out.csv"
check 'CSV has a row a star' test "$(grep -c '^[0-9]' "$out/out.csv")" -eq 240
check 'CSV names its columns' \
    grep -q '^stream,J_phi,J_z,J_r,theta_phi,theta_z,theta_r$' "$out/out.csv"
check 'a model without frequencies' refuses 1 'model.safetensors|knows no frequencies' \
    "$af" eval "$m" "$x" -o "$out/no.csv" --frequencies
check 'eval a stream' "$af" eval "$m" "$x" -o "$out/stream.npy" --per-stream
check 'a stream is not a star' differ "$out/out.npy" "$out/stream.npy"
check 'invert' "$af" invert "$m" "$out/out.csv" -o "$out/back.csv"
"$af" eval "$m" "$out/back.csv" -o "$out/forth.csv" >/dev/null
near() { # every number of two tables, and there are $3 rows
    paste -d, "$1" "$2" | awk -F, -v rows="$3" '/^[0-9]/ { n++
        for (k = 1; k <= 7; k++) if (($k - $(k + 7)) ^ 2 > 1e-12) bad = 1 }
        END { exit bad || n != rows }'
}
check 'eval, invert, eval: the same actions' near "$out/out.csv" "$out/forth.csv" 240
check 'invert to NPY' "$af" invert "$m" "$out/out.npy" -o "$out/back.npy"
check 'its shape is that of orbits' same_size "$x" "$out/back.npy"
check 'fit an ensemble' fit -o "$out/many.safetensors" --ensemble 3 --history "$out/many.csv"
check 'its first model is that of the seed' same "$m" "$out/many-1.safetensors"
check 'its second that of the next seed' same "$out/seed.safetensors" "$out/many-2.safetensors"
fit -o "$out/drawn.safetensors" --bootstrap
check 'a bootstrap sample, another model' differ "$m" "$out/drawn.safetensors"
check 'no model without a number' absent "$out/many.safetensors" "$out/many-4.safetensors"
check 'histories are numbered' test -s "$out/many-3.csv"
check 'eval an ensemble' "$af" eval "$out"/many-?.safetensors "$x" -o "$out/all.csv"
check 'its errors are columns' grep -qx 'stream,.*,theta_r,J_phi_error,J_z_error,J_r_error,'\
'theta_phi_error,theta_z_error,theta_r_error' "$out/all.csv"
for i in 1 2 3; do
    "$af" eval "$out/many-$i.safetensors" "$x" -o "$out/all_$i.csv" >/dev/null
done
deviation() { # J of three models beside their mean and deviation: columns 2 to 4, 8 to 10
    paste -d, "$out/all.csv" "$out"/all_[123].csv | awk -F, '/^[0-9]/ { n++
        for (k = 2; k <= 4; k++) { a = $(13 + k); b = $(20 + k); c = $(27 + k)
            m = (a + b + c) / 3; v = ((a - m) ^ 2 + (b - m) ^ 2 + (c - m) ^ 2) / 2
            if (($k - m) ^ 2 > 1e-12 || ($(k + 6) - sqrt(v)) ^ 2 > 1e-10) bad = 1; sum += v }
        } END { exit bad || n != 240 || sum == 0 }'
}
check 'mean and deviation of three models' deviation
"$af" eval "$out"/many-?.safetensors "$x" -o "$out/all.npy" --median >"$out/all.log"
check 'of which NPY has twelve' test "$(wc -c <"$out/all.npy")" -eq $((128 + 240 * 12 * 8))
check 'and a line tells' grep -q '^median of 3 answers' "$out/all.log"
check 'check' "$af" check "$m" "$x" --truth "$out/J.npy" --angles "$out/T.npy"
"$af" check "$m" "$x" --truth "$out/J.npy" --skip 35 >"$out/figures.log"
check 'check leaves out the first streams' grep -qx 'FIGURE streams 5' "$out/figures.log"
check 'check prints figures' \
    grep -q '^FIGURE test_stream_median_trimmed_j_r [0-9]' "$out/figures.log"
check 'check without truth' "$af" check "$m" "$x"
"$af" check "$m" "$x" --truth "$out/J.npy" --by-energy --by-action >"$out/bins.log"
check 'errors by energy' grep -q '^FIGURE energy_5_test_stream_mean_median [0-9]' "$out/bins.log"
check 'errors by action' grep -q '^FIGURE action_1_test_spread_trimmed [0-9]' "$out/bins.log"
check 'judge' "$af" judge "$m" "$x" --trained 20 -o "$out/quality.csv" --stars "$out/stars.csv"
check 'judge writes a row a stream' test "$(grep -c '^[0-9]' "$out/quality.csv")" -eq 40
check 'judge writes a row a star' test "$(grep -c '^[0-9]' "$out/stars.csv")" -eq 240
"$af" judge "$m" "$x" --labels "$out/J.npy" --skip 2 >"$out/judge.log"
check 'judge says what it cannot flag' grep -q 'only 5 of the reference' "$out/judge.log"
check 'judge compares with labels' grep -q '^FIGURE auc_toy_spread 0[.][0-9]' "$out/judge.log"
check 'labels of other streams' refuses 1 'a row for each of the 40 streams' \
    "$af" judge "$m" "$x" --labels "$out/disc_J.npy"
check 'a label without labels' refuses 2 '--labels' "$af" judge "$m" "$x" --positive 2
"$af" judge "$m" "$x" --chaos 30 --labels "$out/J.npy" -o "$out/chaos.csv" >"$out/judge.log"
check 'orbits in the isochrone are regular, but near the centre of its field' \
    awk '$2 == "flagged_chaotic" { good = $3 <= 0.05 } END { exit !good }' "$out/judge.log"
check 'all orbits can be followed' grep -q '^FIGURE chaos_lost 0$' "$out/judge.log"
check 'scores of chaos' grep -q '^FIGURE auc_lyapunov 0[.][0-9]' "$out/judge.log"
check 'columns of chaos' grep -q 'outside,chaos,megno,drift,lyapunov,period,nearest,chaotic$' \
    "$out/chaos.csv"
check 'no chaos in so few periods' refuses 2 '--chaos 5' "$af" judge "$m" "$x" --chaos 5
check 'a field for nothing' refuses 2 '--field|--chaos' "$af" judge "$m" "$x" --field "$m"
check 'a field that is none' refuses 1 'not a mass model' \
    "$af" judge "$m" "$x" --chaos 20 --field "$m"
check 'plot' "$af" plot "$m" "$x" -o "$out/p.svg" --truth "$out/J.npy" --history "$out/loss.csv" \
    --streams 2 --test "$x" --test-truth "$out/J.npy"
check 'the picture is whole' grep -q '</svg>' "$out/p.svg"
"$af" plot "$m" "$x" -o "$out/p_few.svg" >/dev/null
"$af" plot "$m" "$x" -o "$out/p_eight.svg" --streams 8 >/dev/null
check 'plot draws eight streams' same "$out/p_few.svg" "$out/p_eight.svg"
awk -F, -v OFS=, '/^[0-9]/ { $2 -= 9; if ($3 < 1e9) $3 -= 9 } 1' "$out/loss.csv" >"$out/below.csv"
"$af" plot "$m" "$x" -o "$out/p_below.svg" --history "$out/below.csv" >/dev/null
lines() { grep -c '<path clip-path.* d="M' "$1"; }
check 'losses below 0 are drawn, too' \
    test "$(lines "$out/p_below.svg")" -eq $(($(lines "$out/p_few.svg") + 2))
check 'and no number that is none' lacks 'nan' "$out/p_below.svg"

# The toy is the isochrone that the orbits were made in, so its errors vanish.
"$af" fit "$x" -o "$out/exact.safetensors" --epochs 1 --toy-mass 3.334e11 --toy-scale 5 --quiet \
    --extend no
"$af" check "$out/exact.safetensors" "$x" --truth "$out/J.npy" --angles \
    "$out/T.npy" >"$out/exact.log"
tiny() { awk -v name="$1" '$2 == name && $3 < 1e-6 { good = 1 } END { exit !good }' "$2"; }
check 'toy actions in the isochrone are exact' tiny toy_star_mean "$out/exact.log"
check 'toy angles in the isochrone are exact' tiny toy_angle_mean "$out/exact.log"

# ---- tables ----

# Three streams, rows in disorder; the first row belongs to stream 7.
table() {
    echo 'vx,vy,vz,id,x,y,z,stream'
    echo '10,190,5,1,8,0,0.1,7'
    echo '-60,150,90,2,9,1,2,2'
    echo '12,188,4,3,8.1,1.5,0.15,7'
    echo '-61,140,85,4,8.5,2.2,2.6,2'
    echo '30,120,-80,5,7,-5,3,4'
    echo '38,118,-85,6,7.2,-4.2,2.3,4'
}
table >"$out/t.csv"
check 'fit a table' "$af" fit "$out/t.csv" -o "$out/t.safetensors" --epochs 2 --quiet \
    --toy-mass 8e11 --toy-scale 7
check 'eval a table' "$af" eval "$out/t.safetensors" "$out/t.csv" -o "$out/t_out.csv"
check 'rows keep their order' \
    test "$(grep '^[0-9]' "$out/t_out.csv" | cut -d, -f1 | tr '\n' ' ')" = '7 2 7 2 4 4 '
table | sed -n '1p;5p' >"$out/alone.csv"
check 'eval one star' "$af" eval "$out/t.safetensors" "$out/alone.csv" -o "$out/alone_out.csv"
grep '^2,' "$out/t_out.csv" | sed -n 2p >"$out/together"
grep '^2,' "$out/alone_out.csv" >"$out/alone"
check 'one star alone is the same as in a batch' same "$out/alone" "$out/together"

table | sed '1s/.*/VX,VY,VZ,ID,X,Y,Z,Stream/' >"$out/capitals.csv"
"$af" eval "$out/t.safetensors" "$out/capitals.csv" -o "$out/capitals_out.csv" >/dev/null
check 'columns in capitals' same "$out/t_out.csv" "$out/capitals_out.csv"
table | cut -d, -f1-7 >"$out/rows.csv"
"$af" eval "$out/t.safetensors" "$out/rows.csv" -o "$out/rows_out.csv" >/dev/null
grep '^[0-9]' "$out/t_out.csv" | cut -d, -f2- >"$out/t_actions"
grep '^[0-9]' "$out/rows_out.csv" | cut -d, -f2- >"$out/rows_actions"
check 'without a column stream each row is a star of its own' \
    same "$out/t_actions" "$out/rows_actions"
check 'which teaches nothing' refuses 1 "rows.csv|column 'stream'" \
    "$af" fit "$out/rows.csv" -o "$out/no.safetensors" --quiet
check 'nor in a given toy' refuses 1 "rows.csv|column 'stream'" \
    "$af" fit "$out/rows.csv" -o "$out/no.safetensors" --quiet --toy-mass 8e11 --toy-scale 7

# ---- stars as observed ----

# The same stars seen from a Sun at (8, 0, 0) that moves at (-10, 230, 7), in Galactic coordinates.
observed() {
    table | awk -F, 'BEGIN { OFS = ","; turn = 180 / atan2(0, -1) }
        NR == 1 { print "stream,glon,glat,distance_kpc,pml,pmb,hrv"; next }
        { x = 8 - $5; y = $6; z = $7; u = -($1 + 10); v = $2 - 230; w = $3 - 7
          flat = sqrt(x * x + y * y); d = sqrt(flat * flat + z * z); l = atan2(y, x)
          if (flat == 0) l = 0
          b = atan2(z, flat); out = u * cos(l) + v * sin(l); k = 4.740470463533349 * d
          printf "%d,%.15g,%.15g,%.15g,%.15g,%.15g,%.15g\n", $8, l * turn, b * turn, d,
              (v * cos(l) - u * sin(l)) / k, (w * cos(b) - out * sin(b)) / k,
              out * cos(b) + w * sin(b) }'
}
observed >"$out/sky.csv"
sun='--sun-radius 8 --sun-height 0 --sun-velocity=-10,230,7 --left-handed'
# nearly A B: numbers that differ by a millionth at most.
nearly() {
    grep '^[0-9]' "$1" >"$out/nearly_1"
    grep '^[0-9]' "$2" | paste -d, "$out/nearly_1" - | awk -F, '
        { n++; for (k = 1; k <= 7; k++) { d = $k - $(k + 7); s = 1 + $k * $k
              if (!(d * d <= 1e-12 * s)) { print; bad = 1 } } }
        END { exit bad || n != 6 }'
}
# shellcheck disable=SC2086
"$af" eval "$out/t.safetensors" "$out/sky.csv" $sun -o "$out/sky_out.csv" >"$out/sky.log"
check 'eval stars as observed: the same actions' nearly "$out/t_out.csv" "$out/sky_out.csv"
check 'it says which Sun' grep -qF \
    'the Sun at (8, 0, 1e-09) kpc moves at (-10.00, 230.00, 7.00) km/s, the disc has J_phi > 0' \
    "$out/sky.log"
awk -F, -v OFS=, 'NR == 1 { print $0, "parallax"; next } { print $0, 1 / $4 - 0.03; $4 = 0 }' \
    OFMT=%.15g CONVFMT=%.15g "$out/sky.csv" >"$out/both.csv"
# shellcheck disable=SC2086
check 'eval with parallaxes' "$af" eval "$out/t.safetensors" "$out/both.csv" $sun \
    --distance parallax --parallax-zero -0.03 -o "$out/both_out.csv"
check 'the same actions' nearly "$out/t_out.csv" "$out/both_out.csv"
# Streams of twins: one complete, one without velocity, one without distance; and an odd star.
awk -F, -v OFS=, 'NR == 1 { print; next }
    NR > 2 { $1 = NR; print; v = $7; $7 = ""; print; $7 = v; $4 = ""; print }
    END { $1 = 99; print }' "$out/sky.csv" >"$out/holes.csv"
# shellcheck disable=SC2086
"$af" fill "$out/t.safetensors" "$out/holes.csv" $sun -o "$out/filled.csv" >"$out/fill.log"
check 'fill says what was missing' grep -q \
    '^16 stars: 6 without distance, 5 without velocity, 0 without both' "$out/fill.log"
check 'and what was found' grep -q '^10 filled in, 0 of them .* 1 left' "$out/fill.log"
twins() {
    awk -F, '/^[0-9]/ { n++; if ($8 == 0) { d = $4; v = $7 }
        if ($1 < 99 && !(($4 - d) ^ 2 + ($7 - v) ^ 2 < 1e-12)) bad = 1
        bits = bits $8 } END { exit bad || n != 16 || bits != "0210210210210211" }' "$out/filled.csv"
}
check 'the twins have distance and velocity of the complete star' twins
# shellcheck disable=SC2086
check 'eval leaves nothing out' refuses 1 'filled.csv|no distance' \
    "$af" eval "$out/t.safetensors" "$out/filled.csv" $sun -o "$out/no.csv"
grep -v '^99,' "$out/filled.csv" >"$out/whole.csv"
# shellcheck disable=SC2086
check 'what was filled in is read' "$af" eval "$out/t.safetensors" "$out/whole.csv" $sun \
    -o "$out/whole_out.csv"
{ cat "$out/sky.csv"; sed -n '2s/,[^,]*$/,/p' "$out/sky.csv"; } >"$out/seven.csv"
# shellcheck disable=SC2086
"$af" fit "$out/seven.csv" -o "$out/complete.safetensors" $sun --skip-incomplete --epochs 1 \
    --toy-mass 8e11 --toy-scale 7 >"$out/fill.log" 2>&1
check 'fit to the complete stars' grep -q ': 6 of 7 stars are complete' "$out/fill.log"
for i in 1 2; do
    awk -v OFS=, -v e=$i 'NR == 1 { print $0, "hrv_error"; next } { print $0, e }' \
        "$out/sky.csv" >"$out/error_$i.csv"
    # shellcheck disable=SC2086
    "$af" eval "$out/t.safetensors" "$out/error_$i.csv" $sun --draws 40 \
        -o "$out/draws_$i.csv" >"$out/draws.log"
done
check 'draws leave the actions' nearly "$out/t_out.csv" "$out/draws_1.csv"
twice() { # with twice the errors, for small ones
    paste -d, "$out/draws_1.csv" "$out/draws_2.csv" | awk -F, '/^[0-9]/ { n++
        for (k = 8; k <= 10; k++) { r = $(k + 13) / $k; if (r < 1.6 || r > 2.4) bad = 1 } }
        END { exit bad || n != 6 }'
}
check 'errors of the actions follow those of the stars' twice
check 'and a line tells of the draws' grep -q '^40 draws of each star: 0 of all' "$out/draws.log"
"$af" fit "$out/sky.csv" -o "$out/sky.safetensors" --epochs 2 --toy-mass 8e11 --toy-scale 7 \
    >"$out/sky.log"
check 'fit stars as observed' test -s "$out/sky.safetensors"
check 'from the usual Sun' grep -q 'the Sun at (-8.27497, 0, 0.0208) kpc' "$out/sky.log"
check 'check stars as observed' "$af" check "$out/sky.safetensors" "$out/sky.csv"
check 'plot stars as observed' "$af" plot "$out/sky.safetensors" "$out/sky.csv" -o "$out/sky.svg"
# shellcheck disable=SC2002 # a pipe, not a file
cat "$out/sky.csv" | "$af" eval "$out/sky.safetensors" /dev/stdin -o "$out/pipe.csv" >/dev/null
"$af" eval "$out/sky.safetensors" "$out/sky.csv" -o "$out/file.csv" >/dev/null
check 'from a pipe' same "$out/pipe.csv" "$out/file.csv"

# ---- killed and resumed ----

# await FILE: until it is there, a minute at most.
await() {
    tries=0
    while [ ! -s "$1" ] && [ $tries -lt 1200 ]; do
        sleep 0.05 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
}

long="--epochs 60 --threads 1 --quiet --batch 16 --width 8 --extend no"
# shellcheck disable=SC2086
"$af" fit "$x" -o "$out/whole.safetensors" $long
# shellcheck disable=SC2086
"$af" fit "$x" -o "$out/killed.safetensors" $long --checkpoint "$out/state" --checkpoint-every 1 &
process=$!
await "$out/state"
kill -9 $process 2>/dev/null
wait $process 2>/dev/null
check 'a killed fit leaves a checkpoint' test -s "$out/state"
# shellcheck disable=SC2086
"$af" fit "$x" -o "$out/killed.safetensors" $long --checkpoint "$out/state" --resume
check 'killed and resumed: the same bytes' same "$out/whole.safetensors" "$out/killed.safetensors"
slow="--generator shears --depth 4 --width 3 --quiet --extend no"
# shellcheck disable=SC2086
"$af" fit "$x" -o "$out/whole.safetensors" $slow --epochs 4
# shellcheck disable=SC2086
for epochs in 2 4; do
    "$af" fit "$x" -o "$out/pieces.safetensors" $slow --epochs $epochs \
        --checkpoint "$out/shears_state" --resume
done
check 'shears in two pieces: the same bytes' same "$out/whole.safetensors" "$out/pieces.safetensors"
check 'a checkpoint is not a model' refuses 1 "state|model" \
    "$af" eval "$out/state" "$x" -o "$out/no.npy"
check 'a model is not a checkpoint' refuses 1 "not a checkpoint" \
    "$af" fit "$x" -o "$out/no.safetensors" \
    --epochs 2 --checkpoint "$m" --resume --quiet --extend no

"$af" fit "$x" -o "$out/stopped.safetensors" --seconds 600 --threads 1 --quiet --checkpoint \
    "$out/running" \
    2>"$out/stopped.log" &
process=$!
await "$out/running"
kill -TERM $process
wait $process
check 'a stopped fit ends well' test $? -eq 0
check 'and keeps its model' "$af" eval "$out/stopped.safetensors" "$x" -o "$out/stopped.npy"

# ---- koopman: trajectories ----

k() { "$af" koopman "$@"; }
t=$out/traj.csv
km=$out/koopman.safetensors

# Orbits of Phi = z^2/8, another number of samples each, uneven times, columns in disorder, one that
# is no number: q = z, p = vz, Omega = 1/2, J = vz^2 + z^2/4, tan theta = z/2vz.
oscillator() {
    awk 'BEGIN {
        print "orbit,name,vz,t,z"
        for (o = 1; o <= 6; o++)
            for (s = 0; s < 14 + o; s++) {
                t = 0.7 * s + 0.2 * sin(3 * s)
                printf "%d,star,%.17g,%.17g,%.17g\n", o, 0.2 * o * cos(o + t / 2), t,
                    0.4 * o * sin(o + t / 2)
            }
    }'
}
oscillator >"$t"
kfit() { k fit "$t" --columns z,vz --layers 2 --width 3 --steps 60 --stage-steps 5 "$@"; }
kfit -o "$km" --history "$out/kloss.csv" --threads 2 >"$out/kfit.log" 2>&1
check 'koopman fit' test -s "$km"
check 'it says what is q and p' grep -q 'q = z; p = vz' "$out/kfit.log"
check 'it says what it began with' grep -q '^FIGURE rms_before [0-9]' "$out/kfit.log"
check 'its history has a row a step' test "$(grep -c '^[0-9]' "$out/kloss.csv")" -ge 15
check 'its history begins with pieces' grep -q '^1,8,' "$out/kloss.csv"
check 'it fits' below rms 1e-6 "$out/kfit.log"
kfit -o "$out/k_short.safetensors" --steps 17 --history "$out/k_short.csv" >"$out/k_short.log"
last_rms() { awk -F, '/^[0-9]/ { rms = $4 } END { print rms }' "$out/k_short.csv"; }
agree() {
    awk -v x="$(last_rms)" '$2 == "rms" && ($3 - x)^2 <= 1e-8 * x^2 { good = 1 }
        END { exit !good }' "$out/k_short.log"
}
check 'its rms is that of the loss' agree
kfit -o "$out/k1.safetensors" --threads 1 --quiet >"$out/quiet.log" 2>&1
check 'koopman fit --quiet is quiet' test ! -s "$out/quiet.log"
kfit -o "$out/k3.safetensors" --threads 3 --quiet
check 'koopman, one thread: the same bytes' same "$km" "$out/k1.safetensors"
check 'koopman, three threads: the same bytes' same "$km" "$out/k3.safetensors"
kfit -o "$out/k_seed.safetensors" --seed 4 --quiet
check 'koopman, another seed: another model' differ "$km" "$out/k_seed.safetensors"

k eval "$km" "$t" --columns z,vz -o "$out/kout.csv" >"$out/keval.log"
check 'koopman eval conserves J' below spread_j_1 1e-6 "$out/keval.log"
check 'koopman eval rebuilds the samples' below reconstruction 1e-13 "$out/keval.log"
check 'koopman eval predicts the orbits' below rollout 1e-6 "$out/keval.log"
check 'koopman eval tells of each orbit' test "$(grep -c '^ *[1-6]  *[12]' "$out/keval.log")" -eq 6
check 'koopman eval names its columns' grep -qx 'orbit,t,J,theta,omega,energy' "$out/kout.csv"
grep -v '^[#o]' "$t" >"$out/k_in"
grep -v '^[#o]' "$out/kout.csv" | paste -d, "$out/k_in" - >"$out/k_both"
# 1 orbit, name, 3 vz, 4 t, 5 z; 6 orbit, 7 t, 8 J, 9 theta, 10 omega, 11 energy. The zero of theta
# is learned, and the same along an orbit.
exact() {
    awk -F, 'function far(x, y) { return x - y > 1e-5 || y - x > 1e-5 }
        { n++; d = $9 - atan2($5 / 2, $3); d = atan2(sin(d), cos(d))
          if ($1 != orbit) { orbit = $1; zero = d; if (d * d > 0.01) bad = 1 }
          if (far($1, $6) || far($4, $7) || far($8, $3 * $3 + $5 * $5 / 4) || far(d, zero) ||
              far($10, 0.5) || far($11, $8 / 2)) { print; bad = 1 } }
        END { exit bad || n != 105 }' "$out/k_both"
}
check 'koopman eval: J, theta, omega, energy in closed form' exact
check 'koopman eval to NPY' k eval "$km" "$t" --columns z,vz -o "$out/kout.npy"
check 'with six numbers a sample' grep -aq '(105, 6)' "$out/kout.npy"

k rollout "$km" --action 0.5 --angle 1 --times -3:7:21 -o "$out/kroll.csv" >"$out/kroll.log"
rolled() {
    awk -F, '/^[-0-9]/ { if (!n++) zero = atan2($2 / 2, $3) - $1 / 2 - 1
        a = 1 + $1 / 2 + zero; z = sqrt(2) * sin(a); v = sqrt(0.5) * cos(a)
        if (zero * zero > 0.01 || ($2 - z)^2 > 1e-10 || ($3 - v)^2 > 1e-10) { print; bad = 1 } }
        END { exit bad || n != 21 }' "$out/kroll.csv"
}
check 'koopman rollout in closed form' rolled
check 'koopman rollout names its columns' grep -qx 't,q,p' "$out/kroll.csv"
check 'koopman plot' k plot "$km" "$t" --columns z,vz -o "$out/k.svg" --history "$out/kloss.csv"
check 'its picture is whole' grep -q '</svg>' "$out/k.svg"
check 'with five panels' test "$(grep -c '<clipPath' "$out/k.svg")" -eq 5
check 'and no number that is none' lacks 'nan' "$out/k.svg"
check 'its axes are called as in the table' grep -q '>vz</text>' "$out/k.svg"
check 'angles have a unit' grep -qF '[rad]</text>' "$out/k.svg"
ring() { sed -n '/slope of .* along orbits</{n;p;}' "$out/k.svg" | grep -q '^<circle'; }
check 'rings are explained by a ring' ring

k fit "$t" --columns z,vz --continue "$out/k_short.safetensors" --steps 60 \
    -o "$out/k_on.safetensors" >"$out/k_on.log"
check 'koopman fit --continue goes on' below rms 1e-5 "$out/k_on.log"
kfit -o "$out/k_bad.safetensors" --steps 2 --no-stages --method adam --stage-steps 1 \
    >/dev/null 2>&1
check 'stages: with or without' test $? -eq 2
k fit "$t" --columns z,vz -o "$out/k_bad.safetensors" --steps 2 --method adam >"$out/k_bad.log"
check 'a bad fit says what to try' grep -q -e '--asymmetric' "$out/k_bad.log"
check 'another kind of fit' kfit -o "$out/k_kind.safetensors" --asymmetric --relation loss \
    --ridge sin --frequency-width 4 --method lbfgs --robust root --robust-scale 0.1 \
    --weights action=0.3,one-step=0.1,rollout=0.1,reconstruction=0.1 --tolerance 1e-9
check 'is evaluated' k eval "$out/k_kind.safetensors" "$t" --columns z,vz -o "$out/k_kind.csv"

k mock slab -o "$out/slab.csv" --orbits 4 --samples 12 --irregular --seed 2 >/dev/null
k mock slab -o "$out/slab.npy" --orbits 4 --samples 12 --irregular --seed 2 >/dev/null
# along an orbit in Phi = 2 ln cosh(z/2) the energy stays
energy() {
    awk -F, '/^[0-9]/ { n++; c = exp($3 / 2); c = (c + 1 / c) / 2
        e = $4 * $4 / 2 + 2 * log(c); if ($1 != orbit) { orbit = $1; first = e }
        if ((e - first)^2 > 1e-24) { print e - first; bad = 1 } }
        END { exit bad || n != 48 }' orbit=-1 "$out/slab.csv"
}
check 'koopman mock keeps the energy' energy
k mock oscillator -o "$out/osc.csv" --orbits 3 --samples 9 --noise 0.01 >/dev/null
k mock coupled -o "$out/coupled.csv" --orbits 6 --samples 12 >/dev/null
small2="--layers 2 --width 3 --steps 12 --stage-steps 3"
# shellcheck disable=SC2086
k fit "$out/coupled.csv" -o "$out/k2.safetensors" $small2 >"$out/k2.log"
check 'two degrees of freedom' grep -q 'q = x y; p = vx vy' "$out/k2.log"
check 'and their picture' k plot "$out/k2.safetensors" "$out/coupled.csv" -o "$out/k2.svg"
k eval "$out/k2.safetensors" "$out/coupled.csv" -o "$out/k2.csv" >/dev/null
check 'and their columns' grep -qx \
    'orbit,t,J_1,J_2,theta_1,theta_2,omega_1,omega_2,energy' "$out/k2.csv"
# shellcheck disable=SC2086
k fit "$out/slab.csv" -o "$out/kc.safetensors" $small2 --quiet
# shellcheck disable=SC2086
k fit "$out/slab.npy" -o "$out/kn.safetensors" $small2 >"$out/kn.log"
check 'table and array: the same bytes' same "$out/kc.safetensors" "$out/kn.safetensors"
check 'columns of an array have numbers' grep -qF 'q = [1]; p = [2]' "$out/kn.log"
grep -v '^#' "$out/osc.csv" | cut -d, -f1,3,4 >"$out/no_t.csv"
# shellcheck disable=SC2086
check 'an interval instead of t' k fit "$out/no_t.csv" -o "$out/ki.safetensors" $small2 \
    --interval 1.5

"$af" koopman fit "$t" --columns z,vz -o "$out/k_stop.safetensors" --steps 100000000 --method adam \
    --history "$out/k_stop.csv" >"$out/k_stop.log" 2>&1 &
process=$!
await "$out/k_stop.log"
kill -TERM $process
wait $process
check 'a stopped koopman fit ends well' test $? -eq 0
check 'and says so' grep -q 'stopped' "$out/k_stop.log"
check 'and keeps its model' k eval "$out/k_stop.safetensors" "$t" --columns z,vz \
    -o "$out/k_stop_out.csv"

# ---- field ----

"$af" mock -o "$out/fx.npy" --streams 60 --stars 6 --seed 5 \
    --accelerations "$out/fa.npy" >/dev/null
ff=$out/field.safetensors
"$af" field fit "$out/fx.npy" -o "$ff" --streams 48 >"$out/ffit.log"
check 'field fit' below misfit 1e-4 "$out/ffit.log"
check 'the other streams fit, too' below misfit_others 1e-4 "$out/ffit.log"
fcheck() { "$af" field check "$1" "$out/fx.npy" --accelerations "$out/fa.npy" --skip 48; }
fcheck "$ff" >"$out/fcheck.log"
check 'field check' below field_median 0.1 "$out/fcheck.log"
check 'knows the toy to be worse' test \
    "$(awk '$2 == "toy_median" { print ($3 > 5) }' "$out/fcheck.log")" = 1
"$af" fit "$out/fx.npy" -o "$out/fm.safetensors" --epochs 60 --harmonics 4,4,1 --width 8 \
    --threads 2 --quiet --extend no
check 'field fit of a network' "$af" field fit "$out/fx.npy" -o "$out/net_field.safetensors" \
    --streams 48 --model "$out/fm.safetensors" --steps 30
fcheck "$out/net_field.safetensors" >"$out/fcheck_net.log"
check 'and its check' below field_median 20 "$out/fcheck_net.log"
"$af" field eval "$ff" "$out/fx.npy" -o "$out/fe.npy" >/dev/null
check 'field eval: four numbers a star' \
    test "$(wc -c <"$out/fe.npy")" -eq $((128 + 60 * 6 * 4 * 8))
printf 'stream,x,y,z\n1,8,0,0.5\n2,0,8,-0.5\n' >"$out/places.csv"
"$af" field eval "$ff" "$out/places.csv" -o "$out/fe.csv" >/dev/null
symmetric() { # columns stream, ax, ay, az, Phi
    awk -F, '/^stream/ { ok = $0 == "stream,ax,ay,az,Phi" } /^1,/ { a = $2; c = $4; e = $5 }
        /^2,/ { exit !(ok && a < 0 && ($3 - a)^2 < 1e-12 * a * a && c < 0 && $4 == -c && $5 == e) }
        ' "$out/fe.csv"
}
check 'field eval of a table' symmetric
# on_terminal COMMAND...: as it runs with a terminal; what it printed
on_terminal() { script -qec "$*" "$out/typescript" </dev/null; }
if on_terminal true >/dev/null 2>&1; then
    on_terminal "$af" field actions "$ff" "$out/fx.npy" -o "$out/shown.npy" --stars 1 \
        >"$out/shown.log"
    check 'a terminal is told what begins' grep -q 'follows the orbits of stars' "$out/shown.log"
fi
"$af" field actions "$ff" "$out/fx.npy" -o "$out/hidden.npy" --stars 1 >"$out/hidden.log"
check 'a log is not' lacks "$(printf '\r')" "$out/hidden.log"
head -c 128 "$out/hidden.npy" >"$out/hidden.head"
check 'actions of the first stars alone' grep -aq '(60, 1, 9)' "$out/hidden.head"
check 'field plot' "$af" field plot "$ff" -o "$out/field.svg" --galaxy disc-halo
check 'its picture is whole' grep -q '</svg>' "$out/field.svg"
check 'and has no number that is none' lacks 'nan' "$out/field.svg"
check 'field plot of a network' "$af" field plot "$out/net_field.safetensors" -o "$out/field_n.svg"

# ---- the command line ----

check '--help' "$af" --help
check '--version' "$af" --version
for command in fit eval check mock plot; do check "$command --help" "$af" $command --help; done
for command in fit eval rollout plot mock; do
    check "koopman $command --help" "$af" koopman $command --help
done
check 'koopman --help' "$af" koopman --help
for command in fit eval check plot actions; do
    check "field $command --help" "$af" field $command --help
done
check 'field --help' "$af" field --help
check 'field alone' test "$("$af" field 2>/dev/null; echo $?)" = 2
check 'an unknown field command' refuses 2 "there is no command 'evla'" "$af" field evla
check 'field fit without output' refuses 2 '-o FIELD' "$af" field fit "$out/fx.npy"
check 'steps without a model' refuses 2 '--steps|--model' \
    "$af" field fit "$out/fx.npy" -o "$out/no.safetensors" --steps 3
check 'rounds with a model' refuses 2 '--rounds|--model' \
    "$af" field fit "$out/fx.npy" -o "$out/no.safetensors" --rounds 3 --model "$m"
check 'field check without truth' refuses 2 '--accelerations' "$af" field check "$ff" "$out/fx.npy"
check 'field eval to no known kind' refuses 2 '.npy or .csv' \
    "$af" field eval "$ff" "$out/fx.npy" -o "$out/no.txt"
check 'koopman alone' test "$("$af" koopman 2>/dev/null; echo $?)" = 2
check 'no command' test "$("$af" 2>/dev/null; echo $?)" = 2
check 'an unknown command' refuses 2 "there is no command 'evla'|did you mean eval" "$af" evla
check '--device of another kind' refuses 2 '--device is cpu or cuda|gpu' \
    "$af" fit "$x" -o "$out/none.safetensors" --device gpu
check '--device cuda of a program that has none' refuses 1 'built without CUDA|make CUDA=1' \
    "$af" fit "$x" -o "$out/none.safetensors" --device cuda
check 'an unknown option' refuses 2 'no option --secnods|did you mean --seconds' \
    "$af" fit "$x" -o "$m" --secnods 3
check 'an argument too many' refuses 2 'one argument too many' "$af" fit "$x" "$x" -o "$m"
check 'an argument missing' refuses 2 'missing' "$af" eval "$m" -o "$out/no.npy"
check 'a value missing' refuses 2 'needs a value' "$af" fit "$x" -o
check 'no output' refuses 2 '-o' "$af" fit "$x"
check 'not a number' refuses 2 "--epochs|'many'" "$af" fit "$x" -o "$m" --epochs many
check 'a negative number' refuses 2 '--epochs' "$af" fit "$x" -o "$m" --epochs -3
check 'a word that is none' refuses 2 "'perhaps'" "$af" fit "$x" -o "$m" --axisymmetric perhaps
check 'harmonics' refuses 2 '12,8,3' "$af" fit "$x" -o "$m" --harmonics 3
check 'too many streams' refuses 1 '--streams 41' \
    "$af" fit "$x" -o "$out/no.safetensors" --streams 41
check 'resume without checkpoint' refuses 2 '--checkpoint' "$af" fit "$x" -o "$m" --resume
check 'a velocity of two numbers' refuses 2 "--sun-velocity|'1,2'" \
    "$af" fit "$x" -o "$m" --sun-velocity 1,2
check 'a height that is none' refuses 2 "--sun-height|'up'" "$af" fit "$x" -o "$m" --sun-height up
check 'no such sky' refuses 2 "icrs or galactic|'blue'" "$af" fit "$x" -o "$m" --sky blue
check 'no such galaxy' refuses 2 "plummer or triaxial|'db99'" \
    "$af" mock -o "$out/no.npy" --potential db99
check 'a Sun in pc' refuses 2 '--sun-radius|kpc|8275' "$af" fit "$x" -o "$m" --sun-radius 8275
check 'an output of no known kind' refuses 2 '.npy or .csv' "$af" eval "$m" "$x" -o "$out/no.txt"
check 'a picture of another kind' refuses 2 'no.png|.svg' "$af" plot "$m" "$x" -o "$out/no.png"
check 'of a field' refuses 2 'no.png|.svg' "$af" field plot "$ff" -o "$out/no.png"
check 'of a Koopman model' refuses 2 'no.png|.svg' k plot "$km" "$t" -o "$out/no.png"

# ---- bad input: nothing may be written ----

no=$out/no.safetensors
bad() { name=$1; words=$2; shift 2; check "$name" refuses 1 "$words" "$@"; }
table | cut -d, -f1-6,8 >"$out/column.csv"
bad 'a missing column' 'column.csv|z' "$af" fit "$out/column.csv" -o "$no"
table | sed '4s/,[^,]*$//' >"$out/short.csv"
bad 'a short row' 'short.csv|4' "$af" fit "$out/short.csv" -o "$no"
table | sed '6s/^30/nan/' >"$out/nan.csv"
bad 'a NaN' 'nan.csv|6|vx' "$af" fit "$out/nan.csv" -o "$no"
table | sed '7d' >"$out/single.csv"
bad 'a stream with one star' 'single.csv|stream 4|one star' "$af" fit "$out/single.csv" -o "$no"
: >"$out/empty.csv"
bad 'an empty table' 'empty.csv' "$af" fit "$out/empty.csv" -o "$no"
table | sed -n 1p >"$out/header.csv"
bad 'a header alone' 'header.csv' "$af" fit "$out/header.csv" -o "$no"
: >"$out/empty.npy"
bad 'an empty NPY' 'empty.npy' "$af" fit "$out/empty.npy" -o "$no"
head -c 700 "$x" >"$out/cut.npy"
bad 'a cut NPY' 'cut.npy' "$af" fit "$out/cut.npy" -o "$no"
bad 'an NPY of another shape' 'J.npy|(40,3)|(streams, stars, 6)' "$af" fit "$out/J.npy" -o "$no"
bad 'no such file' 'none.csv' "$af" fit "$out/none.csv" -o "$no"
bad 'unbound in the given toy' 'xv.npy|star|unbound' \
    "$af" fit "$x" -o "$no" --toy-mass 1e9 --toy-scale 1
table | sed '5s/^-61/-900/' >"$out/fast.csv"
bad 'unbound in the model' 'fast.csv|star 1 of stream 2|row 3|units' \
    "$af" eval "$out/t.safetensors" "$out/fast.csv" -o "$out/no.csv"
check 'nothing was written' absent "$no" "$out/no.csv" "$out/no.npy"
check '--skip-unbound' \
    "$af" eval "$out/t.safetensors" "$out/fast.csv" -o "$out/skip.csv" --skip-unbound
check 'and says NaN' grep -qi '^2,nan,nan,nan,nan,nan,nan' "$out/skip.csv"

bad 'a Sun for positions' 'xv.npy|the Sun' "$af" fit "$x" -o "$no" --left-handed
bad 'and in a table' 't.csv|the Sun' \
    "$af" eval "$out/t.safetensors" "$out/t.csv" -o "$out/no.csv" --sun-radius 8
bad 'two distances' 'both.csv|parallax|--distance direct or parallax' \
    "$af" eval "$out/t.safetensors" "$out/both.csv" -o "$out/no.csv"
bad 'two distances to fill' '--distance direct or parallax' \
    "$af" fill "$out/t.safetensors" "$out/both.csv" -o "$out/no.csv"
printf 'a,b,c\n1,2,3\n' >"$out/letters.csv"
bad 'columns of no kind' 'letters.csv|x, y, z, vx, vy, vz|ra, dec' \
    "$af" eval "$out/t.safetensors" "$out/letters.csv" -o "$out/no.csv"
table | sed '4s/^12/null/' >"$out/null.csv"
bad 'a null' 'null.csv|line 4|empty' \
    "$af" eval "$out/t.safetensors" "$out/null.csv" -o "$out/no.csv"
sed '3s/,[^,]*$/,/' "$out/sky.csv" >"$out/hole.csv"
bad 'a model for the distances of a stream' 'hole.csv|two on the same orbit' \
    "$af" fit "$out/hole.csv" -o "$no" --skip-incomplete
check 'a range that is none' refuses 2 "two numbers|'5,1'" \
    "$af" fill "$out/t.safetensors" "$out/hole.csv" -o "$out/no.csv" --distances 5,1
bad 'a velocity not measured' 'hole.csv|row 2|no velocity' "$af" fit "$out/hole.csv" -o "$no"
bad 'a Sun that is too high' 'height' "$af" fit "$out/sky.csv" -o "$no" --sun-height 9
bad 'dropout of a model without' 'not trained with dropout' \
    "$af" eval "$m" "$x" -o "$out/no.npy" --dropout 3
bad 'draws of stars without errors' 'sky.csv|no star has errors' \
    "$af" eval "$out/t.safetensors" "$out/sky.csv" -o "$out/no.csv" --draws 5
bad 'draws of positions and velocities' '--draws needs stars as observed' \
    "$af" eval "$out/t.safetensors" "$out/t.csv" -o "$out/no.csv" --draws 5
bad 'a model twice' 'model.safetensors|is given twice' "$af" eval "$m" "$m" "$x" -o "$out/no.npy"
check 'the error of no truth' refuses 2 '--truth-error needs --truth' \
    "$af" check "$m" "$x" --truth-error "$out/J.npy"
check 'one draw' refuses 2 '--draws 1' "$af" eval "$m" "$x" -o "$out/no.npy" --draws 1
bad 'an NPY given as model' 'xv.npy' "$af" eval "$x" "$x" -o "$out/no.npy"
bad 'a text given as model' 't.csv' "$af" eval "$out/t.csv" "$x" -o "$out/no.npy"
head -c 2000 "$m" >"$out/cut.safetensors"
bad 'a cut model' 'cut.safetensors' "$af" eval "$out/cut.safetensors" "$x" -o "$out/no.npy"
bad 'truth of another shape' 'disc_J.npy|(40, 3)' "$af" check "$m" "$x" --truth "$out/disc_J.npy"
bad 'angles of another shape' 'disc_T.npy|(40, 6, 3)' \
    "$af" check "$m" "$x" --truth "$out/J.npy" --angles "$out/disc_T.npy"
bad 'everything skipped' 'no stream' "$af" check "$m" "$x" --truth "$out/J.npy" --skip 40

printf 'x,y\n8,0\n' >"$out/flat.csv"
bad 'a model given as field' 'model.safetensors|is no field|field fit' \
    "$af" field eval "$m" "$x" -o "$out/no.npy"
bad 'a field given as model' 'field.safetensors|mass model|actionfinder field eval' \
    "$af" eval "$ff" "$x" -o "$out/no.npy"
head -c 900 "$ff" >"$out/cut_field.safetensors"
bad 'a cut field' 'cut_field.safetensors' \
    "$af" field eval "$out/cut_field.safetensors" "$x" -o "$out/no.npy"
bad 'places of another shape' 'fe.npy|3 or 6 numbers' \
    "$af" field eval "$ff" "$out/fe.npy" -o "$out/no.npy"
bad 'places without z' 'flat.csv|no column z' \
    "$af" field eval "$ff" "$out/flat.csv" -o "$out/no.csv"
bad 'accelerations of another shape' 'J.npy|(60, 6, 3)' \
    "$af" field check "$ff" "$out/fx.npy" --accelerations "$out/J.npy"
bad 'more streams than there are' 'fx.npy|60|--streams 61' \
    "$af" field fit "$out/fx.npy" -o "$no" --streams 61
bad 'too few streams' 'at least 8' "$af" field fit "$out/fx.npy" -o "$no" --streams 7
awk 'BEGIN { print "stream,x,y,z,vx,vy,vz"
    for (i = 0; i < 24; i++) print int(i / 2) ",8,0,0.1,10,190,5" }' >"$out/alike.csv"
bad 'streams that are all the same' 'do not determine it|more streams on other orbits' \
    "$af" field fit "$out/alike.csv" -o "$no"
bad 'with a ridge' 'leave the ridge to be chosen' \
    "$af" field fit "$out/alike.csv" -o "$no" --ridge 0.1
bad 'everything skipped in field' 'no stream' \
    "$af" field check "$ff" "$out/fx.npy" --accelerations "$out/fa.npy" --skip 60

# ---- bad input to koopman ----

wrong() { name=$1; words=$2; shift 2; check "$name" refuses 2 "$words" k "$@"; }
kbad() { name=$1; words=$2; shift 2; check "$name" refuses 1 "$words" k "$@"; }
wrong 'an unknown koopman command' "there is no command 'fitt'|did you mean fit" fitt
wrong 'koopman fit without output' '-o MODEL' fit "$t"
wrong 'one column' '--columns|even number' fit "$t" -o "$no" --columns z
wrong 'a column twice' 'z twice' fit "$t" -o "$no" --columns z,z
wrong 'a column without name' 'empty name' fit "$t" -o "$no" --columns z,,vz,
wrong 'a weight of no kind' "'pase=1'|reconstruction" fit "$t" -o "$no" --weights pase=1
wrong 'a negative weight' 'action' fit "$t" -o "$no" --weights action=-1
wrong 'no weight at all' 'nothing to learn' fit "$t" -o "$no" --weights phase=0
wrong 'no such method' "lm, lbfgs or adam|'newton'" fit "$t" -o "$no" --method newton
wrong 'a settled option' '--layers|--continue' fit "$t" -o "$no" --continue "$km" --layers 3
wrong 'a settled seed' '--seed|--continue' fit "$t" -o "$no" --continue "$km" --seed 0
wrong 'robust Adam' '--robust|adam' fit "$t" -o "$no" --method adam --robust huber
wrong 'a scale of nothing' '--robust-scale' fit "$t" -o "$no" --robust-scale 0.1
wrong 'koopman eval to no known kind' '.npy or .csv' eval "$km" "$t" -o "$out/no.txt"
roll() { name=$1; words=$2; shift 2; wrong "$name" "$words" rollout "$km" -o "$out/no.csv" "$@"; }
roll 'no action' '--action' --angle 0 --times 0:1:2
roll 'no times' '--times T0:T1:N' --angle 0 --action 1
roll 'a negative action' "'-1'|not negative" --angle 0 --times 0:1:2 --action -1
roll 'an action that is none' "--action|'1,x'" --angle 0 --times 0:1:2 --action 1,x
roll 'unequal numbers' "'1,2'|'0'" --angle 0 --times 0:1:2 --action 1,2
for times in 0:1 1:0:5 0:1:1 0:1:2.5 0:1:2:3 nan:1:5 0:inf:5 many; do
    roll "--times $times" "0:50:501|'$times'" --angle 0 --action 1 --times "$times"
done
wrong 'mock of no known system' "oscillator, slab or coupled|'slob'" mock slob -o "$out/no.csv"
wrong 'mock with one sample' '--samples' mock slab -o "$out/no.csv" --samples 1

kbad 'columns that are not there' "traj.csv|'x'|orbit, name, vz, t, z" \
    fit "$t" -o "$no" --columns x,vz
kbad 't as a coordinate' "'t'" fit "$t" -o "$no" --columns t,vz
cut -d, -f1,3,4 "$t" >"$out/odd.csv"
kbad 'an odd number of columns' 'odd.csv|even number|--columns' fit "$out/odd.csv" -o "$no"
kbad 'no t' "no_t.csv|'t'|--interval" fit "$out/no_t.csv" -o "$no"
sed '5s/^1/2/' "$t" >"$out/between.csv"
kbad 'an interrupted orbit' 'between.csv|orbit 1' fit "$out/between.csv" -o "$no" --columns z,vz
awk -F, 'NR == 1 || $1 == 3 { print $1 ",1,2," $4 }' "$t" | sed '1s/.*/orbit,z,vz,t/' \
    >"$out/still.csv"
kbad 'nothing moves' 'still.csv|do not turn|--asymmetric' fit "$out/still.csv" -o "$no"
kbad 'about any centre' 'still.csv|same value' fit "$out/still.csv" -o "$no" --asymmetric
kbad 'other degrees of freedom' 'koopman.safetensors|has 1|coupled.csv|have 2' \
    eval "$km" "$out/coupled.csv" -o "$out/no.csv"
kbad 'the same in going on' 'koopman.safetensors|has 1|coupled.csv|have 2' \
    fit "$out/coupled.csv" -o "$no" --continue "$km"
kbad 'and in a rollout' 'has 1|names 2' \
    rollout "$km" -o "$out/no.csv" --action 1,2 --angle 0,0 --times 0:1:2
kbad 'an ActionFinder model given to koopman' 'model.safetensors|an ActionFinder model|a Koopman' \
    eval "$m" "$t" -o "$out/no.csv"
bad 'a Koopman model given to eval' 'koopman.safetensors|a Koopman model|an ActionFinder model' \
    "$af" eval "$km" "$x" -o "$out/no.npy"
bad 'a Koopman model given to check' 'koopman.safetensors|a Koopman model|an ActionFinder model' \
    "$af" check "$km" "$x" --truth "$out/J.npy"
bad 'a Koopman model given to plot' 'koopman.safetensors|a Koopman model|an ActionFinder model' \
    "$af" plot "$km" "$x" -o "$out/no.svg"
head -c 900 "$km" >"$out/k_cut.safetensors"
kbad 'a cut Koopman model' 'k_cut.safetensors' eval "$out/k_cut.safetensors" "$t" -o "$out/no.csv"
kbad 'no such Koopman model' 'none.st' eval "$out/none.st" "$t" -o "$out/no.csv"
kbad 'a history of another kind' "slab.csv|'step'" \
    plot "$km" "$out/slab.csv" -o "$out/no.svg" --history "$out/slab.csv"
kbad 'no such folder for a Koopman model' 'nowhere' fit "$t" -o "$out/nowhere/m.safetensors"
kbad 'koopman output over input' 'traj.csv' eval "$km" "$t" -o "$t"
kbad 'the history over the model' 'koopman.safetensors' \
    fit "$t" -o "$no" --continue "$km" --history "$km"
if [ -c /dev/full ]; then
    kbad 'a full disk for a Koopman model' '/dev/full' \
        fit "$t" --columns z,vz -o /dev/full --steps 1 --quiet
    kbad 'a full disk for an orbit' '/dev/full' \
        rollout "$km" -o /dev/full --action 1 --angle 0 --times 0:1:2
fi

bad 'no such folder' 'nowhere' "$af" fit "$x" -o "$out/nowhere/m.safetensors" --seconds 1000
bad 'no such folder for the history' 'nowhere' \
    "$af" fit "$x" -o "$no" --history "$out/nowhere/h.csv" --seconds 1000
bad 'no such folder for the judgement' 'nowhere' "$af" judge "$m" "$x" -o "$out/nowhere/q.csv"
bad 'nor for its stars' 'nowhere' "$af" judge "$m" "$x" --stars "$out/nowhere/q.csv"
check 'a judgement of no known kind' refuses 2 'no.npy|.csv' "$af" judge "$m" "$x" -o "$out/no.npy"
bad 'the history over the new model' 'no.safetensors|twice' \
    "$af" fit "$x" -o "$no" --history "$no" --seconds 1000
kbad 'the same of koopman' 'no.safetensors|twice' fit "$t" -o "$no" --history "$no"
bad 'truth that is not there, before orbits are followed' 'nothere.npy' \
    "$af" field actions "$ff" "$out/fx.npy" -o "$out/no.npy" --truth "$out/nothere.npy"
bad 'a folder as output' 'it is a folder' "$af" fit "$x" -o "$out" --seconds 1000
bad 'actions of another shape' 'J.npy|6 numbers' "$af" invert "$m" "$out/J.npy" -o "$out/no.npy"
bad 'a table without actions' 'back.csv|J_phi' "$af" invert "$m" "$out/back.csv" -o "$out/no.npy"
bad 'output over input' 'xv.npy' "$af" fit "$x" -o "$x" --seconds 1000
if [ -c /dev/full ]; then
    bad 'a full disk for the model' '/dev/full' "$af" fit "$x" -o /dev/full --epochs 1 --quiet
    bad 'a full disk for the actions' '/dev/full' "$af" eval "$m" "$x" -o /dev/full
    full() { "$af" --help >/dev/full; }
    check 'a full disk for the help' test "$(full 2>/dev/null; echo $?)" = 1
fi
# A file may not grow beyond 512 bytes (or 1024): the write fails in its middle.
limited() { (ulimit -f 1 && exec "$af" "$@"); }
bad 'a file that may not grow' 'big.npy' limited eval "$m" "$x" -o "$out/big.npy"
check 'leaves nothing behind' absent "$out/big.npy" "$out/big.npy.tmp-0"
bad 'a picture that may not grow' 'big.svg' limited plot "$m" "$x" -o "$out/big.svg"
check 'leaves no picture behind' absent "$out/big.svg" "$out/big.svg.tmp"
check 'bad input wrote nothing' absent "$no" "$out/no.npy" "$out/no.csv" "$out/no.svg" \
    "$out/no.png"
report
