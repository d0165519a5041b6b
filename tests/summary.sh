#!/bin/sh
# summary.sh LOG...: one line a log of run.sh, what failed in full, and last `N passed, N failed`. A log
# that is missing (its program was not built) counts as one failure.
passed=0
failed=0
for log in "$@"; do
    p=0
    f=1
    if [ -f "$log" ]; then
        end=$(tail -n 1 "$log")
        p=$(echo "$end" | cut -d' ' -f2)
        f=$(echo "$end" | cut -d' ' -f3)
        [ "$f" -eq 0 ] || head -n 60 "$log"
    else
        echo "not built: $log"
    fi
    printf '%-32s %5d passed, %d failed\n' "$(basename "$log" .log)" "$p" "$f"
    passed=$((passed + p))
    failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
