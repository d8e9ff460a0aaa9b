#!/bin/sh
# run.sh <fuzzer> <seed corpus> <seconds>: fuzzes over a copy of the seeds, in a folder of its own.
# New inputs and crashes stay in <fuzzer>.work; exit status 1 when the property failed.
set -eu
fuzzer=$1
seeds=$2
seconds=$3
work=$fuzzer.work
rm -rf "$work"
mkdir -p "$work/corpus" "$work/found"
[ ! -d "$seeds" ] || cp -R "$seeds/." "$work/corpus"
set -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -error_exitcode=1 \
    -timeout_exitcode=1 -print_final_stats=1 -artifact_prefix="$work/found/"
[ ! -f "$seeds.dict" ] || set -- "$@" -dict="$seeds.dict"
# One exit status for every way to fail: ctest counts a death by signal as no answer at all.
"$fuzzer" "$@" "$work/corpus" || exit 1
