#!/bin/bash
# Runs a command on a clone of this repository in a bare Debian, as on a fresh machine that has got
# git and make and nothing else.
#   scripts/in-root.sh SUITE COMMAND        e.g.  scripts/in-root.sh bookworm 'make test'
# (as root; needs debootstrap). What is committed counts, in build/roots/SUITE below /srv/veloflux,
# which stays there to be looked at until the next run. Processes and mounts end with the command.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# = 2 ] || { echo "usage: scripts/in-root.sh SUITE COMMAND" >&2; exit 2; }
suite=$1 command=$2 root=$PWD/build/roots/$1
rm -rf --one-file-system "$root"
scripts/debian-root.sh "$suite" "$root"
git clone -q . "$root/srv/veloflux"
exec unshare --mount --pid --fork --kill-child --propagation private bash -c '
    root=$1 command=$2
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    exec chroot "$root" /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin/bash -c "
            cd /srv/veloflux
            { apt-get update && apt-get install -y --no-install-recommends git make; } >/tmp/apt.log 2>&1 ||
                { tail -n 20 /tmp/apt.log; exit 1; }
            $command"' in-root "$root" "$command"
