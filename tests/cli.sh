#!/bin/sh
# The program build/actionfinder: what it makes of good input, and its sentences about bad input.
. "$(dirname "$0")/checks.sh"
tools=tools
sources="$tools/actionfinder.c $tools/actionfinder/*.c"
af=$out/actionfinder
OMP_WAIT_POLICY=passive # several programs share the cores
export OMP_WAIT_POLICY

openmp=
printf '#include <omp.h>\nint main(void) { return 0; }\n' >"$out/omp.c"
if ${CC:-cc} -fopenmp "$out/omp.c" -o "$out/omp" 2>/dev/null; then openmp=-fopenmp; fi

# shellcheck disable=SC2086 # lists of words
build() {
    ${CC:-cc} -std=c99 -O2 $strict_c $openmp ${CPPFLAGS:-} "-I$headers" $sources -o "$af" -lm
}
check "the tool compiles without a warning" build
[ -x "$af" ] || { report; exit 1; }

x=$out/xv.npy
m=$out/model.safetensors
small="--toy-mass 4e11 --toy-scale 5"
small="$small --epochs 8 --threads 2 --quiet --batch 16 --width 8 --harmonics 4,4,1"

# refuses CODE WORDS COMMAND...: the exit code, every word in the one sentence on stderr.
refuses() {
    code=$1
    words=$2
    shift 2
    "$@" >"$out/stdout" 2>"$out/stderr" </dev/null
    got=$?
    cat "$out/stderr"
    [ "$got" -eq "$code" ] || { echo "exit code $got, not $code"; return 1; }
    [ "$(wc -l <"$out/stderr")" -eq 1 ] || { echo 'not one line'; return 1; }
    echo "$words" | tr '|' '\n' >"$out/words"
    while read -r word; do
        grep -qF -- "$word" "$out/stderr" || { echo "the sentence lacks '$word'"; return 1; }
    done <"$out/words"
}
absent() { for file in "$@"; do [ ! -e "$file" ] || { echo "$file is there"; return 1; }; done; }
same() { cmp "$1" "$2"; }
differ() { ! cmp -s "$1" "$2"; }
lacks() { ! grep "$1" "$2"; }

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
check 'fit with a network as G' fit -o "$out/net.safetensors" --generator network --depth 2 \
    --loss absolute --point-transformation --rate 1e-3
check 'such a model evaluates' "$af" eval "$out/net.safetensors" "$x" -o "$out/net.npy"

"$af" fit "$x" -o "$out/log.safetensors" --epochs 3 --threads 1 --batch 16 >"$out/fit.log" 2>&1
check 'fit reports the spread before' grep -q 'before (toy)' "$out/fit.log"
check 'a log has plain lines' grep -q 'epoch  *3  loss' "$out/fit.log"
check 'a log has no carriage returns' lacks "$(printf '\r')" "$out/fit.log"

check 'eval to NPY' "$af" eval "$m" "$x" -o "$out/out.npy"
check 'eval to CSV' "$af" eval "$m" "$x" -o "$out/out.csv"
check 'CSV has a row a star' test "$(grep -c '^[0-9]' "$out/out.csv")" -eq 240
check 'CSV names its columns' \
    grep -q '^stream,J_phi,J_z,J_r,theta_phi,theta_z,theta_r$' "$out/out.csv"
check 'eval a stream' "$af" eval "$m" "$x" -o "$out/stream.npy" --per-stream
check 'a stream is not a star' differ "$out/out.npy" "$out/stream.npy"
check 'check' "$af" check "$m" "$x" --truth "$out/J.npy" --angles "$out/T.npy"
"$af" check "$m" "$x" --truth "$out/J.npy" --skip 35 >"$out/figures.log"
check 'check leaves out the first streams' grep -qx 'FIGURE streams 5' "$out/figures.log"
check 'check prints figures' \
    grep -q '^FIGURE test_stream_median_trimmed_j_r [0-9]' "$out/figures.log"
check 'check without truth' "$af" check "$m" "$x"
check 'plot' "$af" plot "$m" "$x" -o "$out/p.svg" --truth "$out/J.npy" --history "$out/loss.csv" \
    --streams 2 --test "$x" --test-truth "$out/J.npy"
check 'the picture is whole' grep -q '</svg>' "$out/p.svg"

# The toy is the isochrone that the orbits were made in, so its errors vanish.
"$af" fit "$x" -o "$out/exact.safetensors" --epochs 1 --toy-mass 3.334e11 --toy-scale 5 --quiet
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

# ---- killed and resumed ----

# await FILE: until it is there, a minute at most.
await() {
    tries=0
    while [ ! -s "$1" ] && [ $tries -lt 1200 ]; do
        sleep 0.05 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
}

long="--epochs 60 --threads 1 --quiet --batch 16 --width 8"
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
check 'a checkpoint is not a model' refuses 1 "state|model" \
    "$af" eval "$out/state" "$x" -o "$out/no.npy"
check 'a model is not a checkpoint' refuses 1 "not a checkpoint" \
    "$af" fit "$x" -o "$out/no.safetensors" \
    --epochs 2 --checkpoint "$m" --resume --quiet

"$af" fit "$x" -o "$out/stopped.safetensors" --seconds 600 --threads 1 --quiet --checkpoint \
    "$out/running" \
    2>"$out/stopped.log" &
process=$!
await "$out/running"
kill -TERM $process
wait $process
check 'a stopped fit ends well' test $? -eq 0
check 'and keeps its model' "$af" eval "$out/stopped.safetensors" "$x" -o "$out/stopped.npy"

# ---- the command line ----

check '--help' "$af" --help
check '--version' "$af" --version
for command in fit eval check mock plot; do check "$command --help" "$af" $command --help; done
check 'no command' test "$("$af" 2>/dev/null; echo $?)" = 2
check 'an unknown command' refuses 2 "there is no command 'evla'|did you mean eval" "$af" evla
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
check 'an output of no known kind' refuses 2 '.npy or .csv' "$af" eval "$m" "$x" -o "$out/no.txt"

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
bad 'unbound in the model' 'fast.csv|star 1 of stream 2|row 3' \
    "$af" eval "$out/t.safetensors" "$out/fast.csv" -o "$out/no.csv"
check 'nothing was written' absent "$no" "$out/no.csv" "$out/no.npy"
check '--skip-unbound' \
    "$af" eval "$out/t.safetensors" "$out/fast.csv" -o "$out/skip.csv" --skip-unbound
check 'and says NaN' grep -qi '^2,nan,nan,nan,nan,nan,nan' "$out/skip.csv"

bad 'an NPY given as model' 'xv.npy' "$af" eval "$x" "$x" -o "$out/no.npy"
bad 'a text given as model' 't.csv' "$af" eval "$out/t.csv" "$x" -o "$out/no.npy"
head -c 2000 "$m" >"$out/cut.safetensors"
bad 'a cut model' 'cut.safetensors' "$af" eval "$out/cut.safetensors" "$x" -o "$out/no.npy"
bad 'truth of another shape' 'disc_J.npy|(40, 3)' "$af" check "$m" "$x" --truth "$out/disc_J.npy"
bad 'angles of another shape' 'disc_T.npy|(40, 6, 3)' \
    "$af" check "$m" "$x" --truth "$out/J.npy" --angles "$out/disc_T.npy"
bad 'everything skipped' 'no stream' "$af" check "$m" "$x" --truth "$out/J.npy" --skip 40

bad 'no such folder' 'nowhere' "$af" fit "$x" -o "$out/nowhere/m.safetensors" --seconds 1000
bad 'no such folder for the history' 'nowhere' \
    "$af" fit "$x" -o "$no" --history "$out/nowhere/h.csv" --seconds 1000
bad 'a folder as output' 'it is a folder' "$af" fit "$x" -o "$out" --seconds 1000
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
check 'bad input wrote nothing' absent "$no" "$out/no.npy" "$out/no.csv"
report
