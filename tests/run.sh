#!/bin/sh
# All tests but the long ones, in two lanes at once: those without servers give way to those whose servers and browsers
# want the processor in time. Each lane ends with pytest's own summary; either failing fails the whole.
#   sh tests/run.sh PYTEST
set -u
cd "$(dirname "$0")/.."
mkdir -p .test-output
pure="tests/unit tests/property tests/catalogue"

nice -n 10 "$1" -m "not long" -p no:cacheprovider $pure >.test-output/pure.log 2>&1 &
lane=$!
trap 'kill "$lane" 2>/dev/null' INT TERM

ignored=""
for folder in $pure; do ignored="$ignored --ignore=$folder"; done
"$1" -m "not long" $ignored
real=$?
wait "$lane"
alone=$?
echo "=== without servers ($pure)"
cat .test-output/pure.log
[ "$real" -eq 0 ] && [ "$alone" -eq 0 ]
