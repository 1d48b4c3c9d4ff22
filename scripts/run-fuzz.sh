#!/bin/bash
# Runs fuzz targets, JOBS at a time (one for each processor), each for a bounded time; the first
# finding of each is kept.
#
#   scripts/run-fuzz.sh SECONDS build/fuzz/NAME...
#
# Seeds come from spec/fuzz/corpus/NAME (and, for a target NAME_fuzz, from corpus/NAME without the
# ending); what a run discovers goes to build/fuzz/corpus/NAME, findings to build/fuzz/NAME.finding-*.
# At the end: `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
if [ $# = 0 ]; then
    echo "no fuzz targets (spec/fuzz/*_fuzz.c)" >&2
    exit 1
fi
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
run_target() {
    local target=$1 name log status=0 seeds=() folder
    name=$(basename "$target")
    log=$target.log
    mkdir -p "build/fuzz/corpus/$name"
    rm -f "$target".finding-* "$target.count"
    for folder in "spec/fuzz/corpus/$name" "spec/fuzz/corpus/${name%_fuzz}"; do
        if [ -d "$folder" ]; then seeds+=("$folder"); fi
    done
    timeout -k 10 $((seconds + 120)) "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$target.finding-" \
        "build/fuzz/corpus/$name" "${seeds[@]}" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" = 0 ]; then
        printf 'ok      %s (%s)\n' "$name" "$(grep -a -m 1 -o 'Done .* runs.*' "$log")"
        echo "1 0" >"$target.count"
    else
        printf 'FAILED  %s (exit status %d)\n%s\n' "$name" "$status" "$(tail -n 60 "$log" | sed 's/^/    /')"
        echo "0 1" >"$target.count"
    fi
}
export -f run_target
export seconds
printf '%s\0' "$@" | xargs -0 -P "${JOBS:-$(nproc)}" -I TARGET bash -c 'run_target "$1"' run_target TARGET

passed=0 failed=0
for target in "$@"; do
    read -r ok bad <"$target.count" 2>/dev/null || { ok=0 bad=1; }
    passed=$((passed + ok)) failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
