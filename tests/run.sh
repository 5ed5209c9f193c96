#!/bin/sh
# All tests but the long ones, in three lanes at once: tests with servers mostly wait for them, and those without give way.
# Each lane has servers of its own and ends with pytest's own summary; any that fails fails the whole.
#   sh tests/run.sh PYTEST
set -u
cd "$(dirname "$0")/.."
out=.test-output
mkdir -p $out
pure="tests/unit tests/property tests/catalogue"
joined="tests/integration"

nice -n 10 "$1" -m "not long" -p no:cacheprovider $pure >$out/pure.log 2>&1 &
first=$!
"$1" -m "not long" -p no:cacheprovider $joined >$out/joined.log 2>&1 &
second=$!
trap 'kill "$first" "$second" 2>/dev/null' INT TERM

ignored=""
for folder in $pure $joined; do ignored="$ignored --ignore=$folder"; done
"$1" -m "not long" $ignored # whatever is neither above
third=$?
failed=$third
for lane in "$second joined" "$first pure"; do
    wait "${lane% *}" || failed=1
    echo "=== ${lane#* }"
    cat "$out/${lane#* }.log"
done
exit $failed
