# Read by the tests of the command lines, after checks.sh.

OMP_WAIT_POLICY=passive # several programs share the cores
export OMP_WAIT_POLICY

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
# below NAME X LOG: the log has a line FIGURE NAME with a number up to X; above: beyond it; beside
# NAME X E LOG: within the share E of X
figure() { awk -v n="$1" '$1 == "FIGURE" && $2 == n { print $3 }' "$2"; }
below() { figure "$1" "$3" | awk -v x="$2" '$1 <= x { good = 1 } END { exit !good }'; }
above() { figure "$1" "$3" | awk -v x="$2" '$1 > x { good = 1 } END { exit !good }'; }
beside() { figure "$1" "$4" | awk -v x="$2" -v e="$3" \
    '($1 - x) ^ 2 <= e * e * x * x { good = 1 } END { exit !good }'; }
