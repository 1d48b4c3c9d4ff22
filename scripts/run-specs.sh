#!/bin/bash
# Runs specs: every file in a busted of its own under our LuaJIT, JOBS at a time (two for each processor:
# they wait as long as they compute), so that a crash or a hang takes one file down and not the run.
# Prints one line a file, the whole output of a file that failed, and at the end `N passed, N failed`.
# Processes that a file leaves behind are ended, and count as a failure of that file. The specs of a
# plugin (plugins/NAME/spec) are run together, by `veloflux plugin test`, and count as one file.
#
#   scripts/run-specs.sh FOLDER_OR_FILE...
#
# Environment: VF_BINARY and VF_LIBRARY name what is tested; SAN=1 says that they are sanitized;
# SPEC_TIMEOUT is seconds a file may take (600); BUSTED_ARGS goes to busted. JIT says when LuaJIT compiles
# what the specs run, as its option -O does, to find what goes wrong in compiled code only: with
# "hotloop=2,hotexit=2" nearly all is compiled; 7 and 20 begin traces at other lines.
set -euo pipefail
cd "$(dirname "$0")/.."

LOGS=build/test${SAN:+-san}
export SPEC_TIMEOUT=${SPEC_TIMEOUT:-600} LOGS

export VF_JIT=${JIT:-}
export VF_BINARY=${VF_BINARY:-build/veloflux} VF_LIBRARY=${VF_LIBRARY:-build/libveloflux.so}
VF_BINARY=$(realpath -m "$VF_BINARY")
VF_LIBRARY=$(realpath -m "$VF_LIBRARY")
multiarch=$("${CC:-cc}" -print-multiarch)
export LUA_PATH="./lua/?.lua;./lua/?/init.lua;./build/lua/?.lua;./build/lua/?/init.lua;./spec/?.lua"
LUA_PATH+=";./build/deps/share/luajit-2.1/?.lua;/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua"
export LUA_CPATH="/usr/lib/$multiarch/lua/5.1/?.so"
# As in the binary, "veloflux.plugins.NAME.FILE" is plugins/NAME/FILE.lua.
mkdir -p build/lua/veloflux
ln -sfn ../../../plugins build/lua/veloflux/plugins

# Leaks are looked for in the program under test, not in the runner: LuaJIT ends without freeing
# what its specs still hold. The harness gives VF_ASAN_OPTIONS to the programs that it starts.
export ASAN_OPTIONS="" UBSAN_OPTIONS="print_stacktrace=1" VF_ASAN_OPTIONS="" VF_PRELOAD=""
if [ -n "${SAN:-}" ]; then
    export VF_SAN=1
    ASAN_OPTIONS="detect_leaks=0:abort_on_error=0:exitcode=99"
    VF_ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=1"
    export LSAN_OPTIONS="suppressions=$PWD/scripts/lsan.supp:print_suppressions=0"
    VF_PRELOAD=$("${CC:-cc}" -print-file-name=libasan.so)
fi

# Prints the command lines of process group $1, zombies aside.
group_members() {
    local pid state group
    for pid in $(cd /proc && echo [0-9]*); do
        read -r state _ group _ 2>/dev/null < <(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) || continue
        if [ "$group" = "$1" ] && [ "$state" != Z ]; then tr '\0' ' ' <"/proc/$pid/cmdline" && echo; fi
    done
}

# Ends what is left of process group $1 a second after its leader's end, and prints what it was.
end_group() {
    local tries members
    for tries in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        members=$(group_members "$1")
        [ -n "$members" ] || return 0
        sleep 0.1
    done
    echo "$members"
    kill -KILL -- "-$1" 2>/dev/null || true
}

# Prints the seconds since $1 (of EPOCHREALTIME), and by what `times` has left in file $2 those of the processor.
spent() {
    awk -F '[ms ]+' -v from="${1/,/.}" -v to="${EPOCHREALTIME/,/.}" '
        NR == 2 { printf "%.1f s, processor %.1f s", to - from, $1 * 60 + $2 + $3 * 60 + $4 }' "$2"
}

# Becomes what runs a file, or the folder of a plugin.
start_file() {
    if [ -d "$1" ]; then
        exec timeout -k 10 "$SPEC_TIMEOUT" env ASAN_OPTIONS="$VF_ASAN_OPTIONS" "$VF_BINARY" plugin test "$1"
    fi
    exec timeout -k 10 "$SPEC_TIMEOUT" env LD_PRELOAD="$VF_PRELOAD" build/deps/bin/luajit \
        scripts/busted.lua -o plainTerminal --defer-print $BUSTED_ARGS "$1"
}

# Runs one file; writes PASSED FAILED to its .count and prints its line.
run_file() {
    local file=$1 log=$LOGS/${1//\//_} passed=0 failed=0 status=0 start=$EPOCHREALTIME summary group leftover=""
    # in a session, and so a process group, of its own
    setsid bash -c 'start_file "$1"' start_file "$file" >"$log.log" 2>&1 </dev/null &
    group=$!
    trap 'kill -KILL -- "-$group" 2>/dev/null; exit 1' INT TERM HUP
    wait "$group" || status=$?
    times >"$log.times"
    leftover=$(end_group "$group")
    # 12 successes / 0 failures / 1 error / 0 pending : 0.3 seconds, or 12 passed, 1 failed, 0 pending (0.3 s, ...)
    summary=$(grep -aE '^[0-9]+ success(es)? / [0-9]+ failures? / [0-9]+ errors? / [0-9]+ pending|^[0-9]+ passed, [0-9]+ failed, [0-9]+ pending' "$log.log" | tail -n 1) || true
    if [ -n "$summary" ]; then
        read -r passed failed < <(awk '$2 == "passed," { print $1, $3; next } { print $1, $4 + $7 }' <<<"$summary")
        # a run that counts no failure and yet does not exit with 0 was killed, or failed while closing
        if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
    else
        failed=1
    fi
    if [ -n "$leftover" ]; then
        printf 'left behind: %s\n' "$leftover" >>"$log.log"
        failed=$((failed + 1))
    fi
    echo "$passed $failed" >"$log.count"
    if [ "$failed" = 0 ]; then
        printf 'ok      %s (%d passed, %s)\n' "$file" "$passed" "$(spent "$start" "$log.times")"
    else
        case $status in
        124 | 137) summary="no end within $SPEC_TIMEOUT s" ;;
        *) summary="$failed failed, exit status $status" ;;
        esac
        printf 'FAILED  %s (%s)\n%s\n' "$file" "$summary" "$(sed 's/^/    /' "$log.log" | tail -n 200)"
    fi
}
export -f run_file spent start_file end_group group_members
export BUSTED_ARGS=${BUSTED_ARGS:-}

rm -rf "$LOGS"
mkdir -p "$LOGS"
[ $# -gt 0 ] || set -- spec
# The specs of a plugin are one thing to run: its folder. Those that take long begin first, so that no long one is left
# alone at the end: files that start whole servers before the others, and of each kind the larger ones.
files=$(find "$@" -name '*_spec.lua' -printf '%s %p\n' | sed -E 's,^[0-9]+ (|.*/)(plugins/[^/]+)/spec/.*,0 \1\2,' |
    sort -u | awk '{ print ($2 ~ /(^|\/)integration\//), $0 }' | sort -k1,1nr -k2,2nr -k3 | cut -d ' ' -f 3)
if [ -z "$files" ]; then
    echo "no spec files below: $*" >&2
    exit 1
fi
printf '%s\0' $files | xargs -0 -P "${JOBS:-$((2 * $(nproc)))}" -I FILE bash -c 'run_file "$1"' run_file FILE || true

expected=$(wc -w <<<"$files")
read -r counted passed failed < <(cat "$LOGS"/*.count 2>/dev/null | awk '{ p += $1; f += $2 } END { print NR, p + 0, f + 0 }')
failed=$((failed + expected - counted)) # a file whose runner died counts as failed
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
