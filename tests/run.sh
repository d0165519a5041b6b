#!/bin/sh
# run.sh LOG COMMAND...: runs one test program or script and keeps its output in LOG. The last line of
# LOG is then `= passed failed`, where a crash, a non-zero exit without a counted failure, or a missing
# last line `N passed, N failed` is one more failure. A program gets 15 minutes.
log=$1
shift
limit=
if command -v timeout >/dev/null 2>&1; then limit="timeout 900"; fi
OMP_WAIT_POLICY=passive # several programs share the cores
export OMP_WAIT_POLICY
$limit "$@" >"$log" 2>&1
code=$?
awk -v code=$code '
    /^[0-9]+ passed, [0-9]+ failed$/ { passed = $1; failed = $3; found = 1 }
    END {
        if (!found) print "no line `N passed, N failed`"
        if (code) print "exit status " code
        if (!found || (code && failed == 0)) failed++
        print "= " passed + 0 " " failed + 0
    }' "$log" >"$log.end"
cat "$log.end" >>"$log"
rm -f "$log.end"
