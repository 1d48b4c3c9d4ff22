#!/bin/bash
# Carries out docker/Dockerfile without a container engine, and tries the image it describes.
#   docker/check.sh        (as root; needs debootstrap)
# Each stage becomes a bare Debian root; COPY and RUN act on it in order. The result is started like
# `docker run -e API_AUTH_ENABLED=true -e API_USERNAME=admin -e API_PASSWORD=...`: as PID 1, as the
# image's user, in a network of its own; then it is asked who is let in, and stopped by SIGTERM.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "docker/check: needs root" >&2; exit 1; }
if [ -z "${VF_CHECK_INSIDE:-}" ]; then # mounts of ours vanish with their namespace, whatever happens
    exec env VF_CHECK_INSIDE=1 unshare --mount --propagation private "$0" "$@"
fi

work=$PWD/build/docker
rm -rf --one-file-system "$work"
mkdir -p "$work"
die() {
    echo "docker/check: $*" >&2
    exit 1
}

root="" stage="" user=root workdir=/ variables=() start=()

begin_stage() { # FROM debian:SUITE-slim [AS NAME]
    local suite=${1#debian:}
    suite=${suite%-slim}
    stage=${3:-final}
    root=$work/$stage user=root workdir=/ variables=()
    scripts/debian-root.sh "$suite" "$root"
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
}

run_inside() {
    chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root "${variables[@]}" /bin/sh -c "cd $workdir && $1"
}

# COPY [--from=STAGE] SOURCE... TARGET; what .dockerignore names stays out of the build context.
copy() {
    local from=$PWD target excludes=()
    if [[ $1 = --from=* ]]; then
        from=$work/${1#--from=}
        shift
    else
        mapfile -t excludes < <(sed 's|^|--exclude=./|' .dockerignore)
    fi
    target=${*: -1}
    case $target in
    /*) ;;
    *) target=$workdir/$target ;;
    esac
    set -- "${@:1:$#-1}"
    local source
    for source in "$@"; do
        if [ -d "$from/$source" ]; then
            mkdir -p "$root/$target"
            tar -C "$from/$source" "${excludes[@]}" -cf - . | tar -C "$root/$target" -xf -
        else
            case $target in
            */ | */.) mkdir -p "$root/$target" ;;
            *) mkdir -p "$(dirname "$root/$target")" ;;
            esac
            cp "$from/$source" "$root/$target"
        fi
    done
}

# One instruction a line: comments dropped, continued lines joined.
while read -r -u 3 instruction arguments; do
    echo "-- $instruction $arguments"
    # shellcheck disable=SC2086 # arguments are words
    case $instruction in
    FROM) begin_stage $arguments ;;
    WORKDIR)
        workdir=$arguments
        mkdir -p "$root$workdir"
        ;;
    COPY) copy $arguments ;;
    RUN) run_inside "$arguments" >"$work/$stage.log" 2>&1 </dev/null ||
        { tail -n 40 "$work/$stage.log"; die "failed: RUN $arguments"; } ;;
    ENV) variables+=("$arguments") ;;
    USER) user=$arguments ;;
    ENTRYPOINT | CMD)
        arguments=${arguments//[\[\],]/ }
        start+=(${arguments//\"/})
        ;;
    VOLUME | EXPOSE | STOPSIGNAL) ;;
    *) die "does not know the instruction $instruction" ;;
    esac
done 3< <(sed -e '/^[[:space:]]*#/d' -e ':join' -e '/\\$/{N;s/\\\n[[:space:]]*/ /;b join}' docker/Dockerfile | grep .)

# --- The image, running -----------------------------------------------------------------------

passed=0 failed=0
expect() { # WHAT EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then
        echo "ok      $1: $3"
        passed=$((passed + 1))
    else
        echo "FAILED  $1: expected $2, got $3"
        failed=$((failed + 1))
    fi
}

variables+=(API_AUTH_ENABLED=true API_USERNAME=admin API_PASSWORD=correct-horse)
umount "$root/proc"
unshare --net --pid --fork --kill-child sh -c '
    ip link set lo up
    mount -t proc proc "$1/proc"
    root=$1 user=$2
    shift 2
    exec chroot --userspec="$user:$user" "$root" /usr/bin/env -i PATH=/usr/bin:/bin "$@"' \
    sh "$root" "$user" "${variables[@]}" "${start[@]}" >"$work/run.log" 2>&1 </dev/null &
outer=$!
for _ in $(seq 50); do
    pid=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null | tr -d ' ')
    [ -n "$pid" ] && break
    sleep 0.1
done
[ -n "$pid" ] || die "the image did not start: $(tail -n 20 "$work/run.log")"

ask() { # status of URL, with curl options
    nsenter --net="/proc/$pid/ns/net" curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$@" || true
}
for _ in $(seq 100); do
    [ "$(ask http://127.0.0.1:8080/ready)" = 200 ] && break
    kill -0 "$outer" 2>/dev/null || break
    sleep 0.1
done
expect "runs as the image's user" "$(chroot "$root" id -u "$user")" "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")"
expect "/ready" 200 "$(ask http://127.0.0.1:8080/ready)"
expect "/health" 200 "$(ask http://127.0.0.1:8080/health)"
expect "the banner, for everybody" 200 "$(ask http://127.0.0.1:8080/)"
expect "the status without a password" 401 "$(ask http://127.0.0.1:8080/api/status)"
expect "the status with a wrong password" 401 "$(ask -u admin:wrong http://127.0.0.1:8080/api/status)"
expect "the status with the password" 200 "$(ask -u admin:correct-horse http://127.0.0.1:8080/api/status)"
expect "the proxy" 200 "$(ask http://127.0.0.1:8000/)"
kill -TERM "$pid" 2>/dev/null || true
status=0
wait "$outer" || status=$?
expect "exit status after SIGTERM" 0 "$status"

if [ $failed != 0 ]; then tail -n 40 "$work/run.log"; fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
