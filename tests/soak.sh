#!/bin/sh
# Runs the tests of a build folder again and again beside two busy processes,
# and reports what failed: soak.sh BUILD [ROUNDS]
#
#   ROUNDS      how often, 20 if not said
#   SOAK_TESTS  in the environment: which of them, as `make check TESTS=` takes them
#
# The log of each failure is kept in BUILD/soak/ROUND/.
set -eu
build=$(cd "$1" && pwd)
rounds=${2:-20}
kept=$build/soak
rm -rf "$kept"
mkdir -p "$kept"

busy=
stop() {
    # shellcheck disable=SC2086 # a list of pids
    kill $busy 2>/dev/null || :
}
trap stop EXIT
trap 'exit 130' INT TERM
for _ in 1 2; do
    sh -c 'while :; do :; done' &
    busy="$busy $!"
done

failed=0
round=1
while [ "$round" -le "$rounds" ]; do
    if make -C "$build" --silent -j "$((4 * $(getconf _NPROCESSORS_ONLN)))" check \
        ${SOAK_TESTS:+"TESTS=$SOAK_TESTS"} >"$kept/output" 2>&1; then
        echo "soak: round $round: passed"
    else
        failed=$((failed + 1))
        mkdir -p "$kept/$round"
        mv "$kept/output" "$kept/$round/output"
        names=$(sed -n 's/^\(FAIL\|ERROR\): //p' "$kept/$round/output" | sort -u)
        for name in $names; do
            log=$build/${name%.py}.log
            [ ! -e "$log" ] || cp "$log" "$kept/$round/"
        done
        echo "soak: round $round: failed: ${names:-before the tests, see $kept/$round/output}"
    fi
    round=$((round + 1))
done
rm -f "$kept/output"

echo "soak: $rounds rounds, $failed with failures"
cat "$kept"/*/output 2>/dev/null | sed -n 's/^\(FAIL\|ERROR\): //p' | sort | uniq -c | sort -rn
[ "$failed" = 0 ]
