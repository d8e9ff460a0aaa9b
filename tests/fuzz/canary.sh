#!/bin/sh
# canary.sh <fuzzer> <seed corpus> <seconds>: succeeds only if fuzzing finds the canary's bug, and
# keeps the input that shows it.
set -eu
if "$(dirname "$0")/run.sh" "$@"; then
    echo "the canary's bug was not found"
    exit 1
fi
for found in "$1".work/found/crash-*; do
    if [ -f "$found" ] && [ "$(head -c 4 "$found")" = 'hpx!' ]; then
        echo "the canary's bug was found: $found"
        exit 0
    fi
done
echo "the fuzzer failed, but not by the canary's bug"
exit 1
