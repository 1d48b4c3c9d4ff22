#!/bin/bash
# Starts VeloFlux in the foreground with three demo backends, and stops all of them on Ctrl-C.
#   PORT (8000), ADMIN_PORT (8080): where conf/veloflux.yaml listens; CONF: another conf file;
#   VF_BINARY: another program.
set -uo pipefail
cd "$(dirname "$0")/.."

export PORT=${PORT:-8000} ADMIN_PORT=${ADMIN_PORT:-8080}
CONF=${CONF:-conf/veloflux.yaml}
VF_BINARY=${VF_BINARY:-build/veloflux}
BACKEND_PORTS="9001 9002 9003" # as in the conf file

# Prints the inode of a socket that listens on TCP port $1, or nothing.
listening_inode() {
    local hex
    hex=$(printf '%04X' "$1")
    awk -v port=":$hex\$" '$4 == "0A" && $2 ~ port { print $10; exit }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# Prints who holds socket $1, as "nginx (pid 123)".
holder_of() {
    local found pid
    found=$(find /proc/[0-9]*/fd -lname "socket:\[$1\]" -print -quit 2>/dev/null)
    if [ -z "$found" ]; then
        echo "a process of another user (as root I could name it)"
        return
    fi
    pid=${found#/proc/}
    pid=${pid%%/*}
    echo "$(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c 1-80 | sed 's/ *$//') (pid $pid)"
}

busy=0
check_port() {
    local inode
    inode=$(listening_inode "$1")
    [ -n "$inode" ] || return 0
    echo "port $1 ($2) is held by $(holder_of "$inode")${3:+; $3}" >&2
    busy=1
}
check_port "$PORT" "proxy" "choose another with: make run PORT=8001"
check_port "$ADMIN_PORT" "admin" "choose another with: make run ADMIN_PORT=8081"
for port in $BACKEND_PORTS; do check_port "$port" "demo backend"; done
[ $busy = 0 ] || exit 1

children=() proxy="" stopping=0
stop() {
    stopping=1
    if [ -n "$proxy" ]; then kill -TERM "$proxy" 2>/dev/null; fi # a second Ctrl-C stops at once
}
trap stop INT TERM HUP

# Starts a program in a session of its own, where the terminal's Ctrl-C does not reach it: it hears
# from us, once. Should we be killed, the kernel passes that on.
start() {
    setpriv --pdeathsig TERM setsid "$@" &
}

number=0
for port in $BACKEND_PORTS; do
    number=$((number + 1))
    start build/demo-backend --port "$port" --name "demo-$number"
    children+=($!)
done
start "$VF_BINARY" run -c "$CONF"
proxy=$!

# Says where to look once both addresses listen.
for ((tries = 0; tries < 100 && stopping == 0; tries++)); do
    kill -0 "$proxy" 2>/dev/null || break
    if [ -n "$(listening_inode "$PORT")" ] && [ -n "$(listening_inode "$ADMIN_PORT")" ]; then
        echo
        echo "  proxy   http://127.0.0.1:$PORT/    in front of 127.0.0.1:${BACKEND_PORTS// / :}"
        echo "  admin   http://127.0.0.1:$ADMIN_PORT/"
        echo "  Ctrl-C stops everything."
        echo
        break
    fi
    sleep 0.1
done

# `wait` returns early for a signal that we catch, so ask again until the proxy has ended.
status=0
while :; do
    wait "$proxy"
    status=$?
    kill -0 "$proxy" 2>/dev/null || break
done
kill -TERM "${children[@]}" 2>/dev/null
wait
if [ $stopping = 1 ]; then exit 0; fi
exit $status
