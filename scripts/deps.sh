#!/bin/bash
# Installs and builds what VeloFlux stands on, for Debian 12 and 13.
#
#   scripts/deps.sh [build] [test] [bench] [clients]   install the packages of these groups, build the libraries
#   scripts/deps.sh --check [GROUP...]                 change nothing; exit 1 and say what is missing
#   scripts/deps.sh --check-variant                    exit 1 unless the mbedTLS that is built has the configuration of
#                                                      this source and, by TLS_ACCEL, its hooks: structures that the
#                                                      library and its users lay out differently corrupt the heap
#
# Debian packages are installed with apt-get, as root or through sudo. What Debian lacks, or
# builds differently from what VeloFlux needs, is compiled from Debian sources into build/deps:
# they come by package name from the mirror that this machine is already configured for, through
# an apt state of our own under build/apt, so the system's package lists are left alone.
# Every built library leaves a stamp with the key of its recipe; a run that finds all packages
# and all stamps does nothing and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKEOVERRIDES CFLAGS LDFLAGS # the caller's are not the libraries'

# --- What is needed: the one list -------------------------------------------------------------

PACKAGES_build="build-essential pkg-config ca-certificates
    libuv1-dev libpcre2-dev libssl-dev libyaml-dev libc-ares-dev libargon2-dev libhiredis-dev lua-cjson-dev
    libsqlite3-dev libwebsockets-dev libwebsockets-evlib-uv
    libnghttp2-dev"
PACKAGES_test="lua-busted lua-luv lua-cjson lua-check clang clang-format libclang-rt-dev curl openssl gnutls-bin nghttp2-client
    procps redis-server"
PACKAGES_clients="chromium nodejs" # large, and nobody must have them: specs that miss them are pending
PACKAGES_bench="nginx-light libnginx-mod-http-lua haproxy wrk nghttp2-client openssl procps"
SERVICES="nginx haproxy redis-server" # come with the packages above and must not start because of us

LIBRARIES="luajit mbedtls llhttp"
if [ "${TLS_ACCEL:-1}" = 0 ]; then LIBRARIES+=" mbedtls_plain"; fi # see src/tls/accel
LLHTTP_MIN=9.4.2 # older ones accept framing that two parsers read differently
LUAJIT_LAST_SUITE=bookworm # where luajit2 comes from when the machine's own suite fails
MBEDTLS_SUITE=trixie # the suite whose mbedTLS is 3.6, the long-term branch
MBEDTLS_CONFIG=src/tls/mbedtls_config.h # our changes to the default configuration
MBEDTLS_HOOKS="src/tls/accel/mbedtls_config.h src/tls/accel/gcm_alt.h" # the primitives that we replace

LUAJIT_XCFLAGS="-DLUAJIT_ENABLE_CHECKHOOK" # compiled loops obey hooks, so a spinning plugin can be stopped
MBEDTLS_CFLAGS="-O2 -g -fPIC"
LLHTTP_CFLAGS="-O2 -g -fPIC"

# --- Helpers ----------------------------------------------------------------------------------

TOP=$PWD
DEPS=build/deps # relative: shown to people
SOURCES=$TOP/build/src
APT=$TOP/build/apt
LOGS=$TOP/build/log
CC=${CC:-cc}
JOBS=$(nproc)

say() { printf 'deps: %s\n' "$*"; }
die() {
    printf 'deps: error: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing packages needs root, and there is no sudo: run 'make deps' as root once"
    fi
}

# Runs a command with its output in a log, shown only when it fails.
logged() {
    local log=$LOGS/$1.log
    shift
    if ! "$@" >>"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "this failed: $* (whole log: $log)"
    fi
}

missing_packages() {
    local package
    for package in $(printf '%s\n' "$@" | sort -u); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            printf '%s ' "$package"
    done
}

# --- Debian packages --------------------------------------------------------------------------

POLICY=/usr/sbin/policy-rc.d
restore_policy() {
    as_root rm -f "$POLICY"
    if [ -e "$POLICY.veloflux" ]; then as_root mv "$POLICY.veloflux" "$POLICY"; fi
}

# Installs packages without starting, stopping or enabling any service.
install_packages() {
    local service fresh=""
    for service in $SERVICES; do
        [ -e "/usr/sbin/$service" ] || [ -e "/usr/bin/$service" ] || fresh+="$service "
    done
    as_root apt-get update -qq || die "apt-get update failed: see the lines above"
    trap restore_policy EXIT # invoke-rc.d asks this file before it acts on a service; 101 forbids
    if [ -e "$POLICY" ]; then as_root mv "$POLICY" "$POLICY.veloflux"; fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" ||
        die "apt-get could not install: $*"
    restore_policy
    trap - EXIT
    for service in $fresh; do
        if [ -e "/etc/init.d/$service" ]; then
            as_root systemctl disable "$service" >/dev/null 2>&1 ||
                as_root update-rc.d "$service" disable >/dev/null 2>&1 || true
        fi
    done
}

# --- Sources from the configured mirror -------------------------------------------------------

# apt-get with a state of its own: source list, package lists and cache live under build/apt.
own_apt() {
    local tool=$1
    shift
    "$tool" -qq -o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$APT/lists" -o Dir::Cache="$APT/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

# Prints "URI CODENAME" of the Debian archive that this machine installs from.
configured_mirror() {
    apt-get indextargets --format '$(LABEL)|$(CODENAME)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F'|' '$1 == "Debian" && $2 !~ /-/ && $3 ~ /^[a-z]/ { print $3, $2; exit }'
}

mirror_suite="" # codename of this machine's Debian, once the mirror is open
open_mirror() {
    [ -z "$mirror_suite" ] || return 0
    local mirror uri codename keyring="" candidate
    for candidate in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
        [ -e "$candidate" ] && keyring=$candidate && break
    done
    [ -n "$keyring" ] || die "no Debian keyring: install the package debian-archive-keyring"
    mirror=$(configured_mirror)
    if [ -z "$mirror" ]; then # package lists were never fetched, or cleaned
        as_root apt-get update -qq || die "apt-get update failed: see the lines above"
        mirror=$(configured_mirror)
    fi
    [ -n "$mirror" ] || die "apt is not configured with a Debian mirror ('apt-get indextargets' names none)"
    read -r uri codename <<<"$mirror"
    mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial"
    {
        for candidate in $(printf '%s\n' "$codename" $MBEDTLS_SUITE $LUAJIT_LAST_SUITE | sort -u); do
            echo "deb-src [signed-by=$keyring target=Sources] $uri $candidate main"
        done
        # Lists of testing expire after a week, which stops every mirror that is a snapshot or lags. The
        # signature is checked all the same, and LLHTTP_MIN bounds how far back a replayed list could take us.
        echo "deb [signed-by=$keyring target=Packages check-valid-until=no] $uri testing main"
    } >"$APT/sources.list"
    say "reading source lists from the configured mirror"
    logged apt own_apt apt-get update
    mirror_suite=$codename
}

# Prints the version of source package $1 in suite $2, or nothing.
source_version() {
    { own_apt apt-get source --print-uris --only-source -t "$2" "$1" 2>/dev/null || true; } |
        sed -n "s|.*/$1_\([^/']*\)\.dsc' .*|\1|p" | head -n 1 | sed 's/%2b/+/g; s/%7e/~/g'
}

# Unpacks source package $1 of suite $2, patched, into $SOURCES/$1. Returns 1 when it cannot be had.
fetch_source() {
    local dir=$SOURCES/$1 status=0
    rm -rf "$dir" "$dir.fetch"
    mkdir -p "$dir.fetch"
    cd "$dir.fetch" # apt-get writes where it stands
    own_apt apt-get source --download-only --only-source -t "$2" "$1" >>"$LOGS/$1.log" 2>&1 || status=1
    cd "$TOP"
    [ $status = 0 ] || return 1
    logged "$1" dpkg-source --no-check -x "$dir.fetch"/*.dsc "$dir" # apt has checked the hashes
    rm -rf "$dir.fetch"
}

# --- Libraries --------------------------------------------------------------------------------
# key_NAME prints what the result depends on; build_NAME fetches, compiles and installs.

key_luajit() { echo "2 $LUAJIT_XCFLAGS"; }
build_luajit() {
    open_mirror
    # OpenResty's branch: Debian 12 has it as luajit2, 13 as luajit. Mirrors at times list what they no
    # longer hold, hence the last resort.
    local candidate package="" suite
    for candidate in "luajit2 $mirror_suite" "luajit $mirror_suite" "luajit2 $LUAJIT_LAST_SUITE"; do
        read -r package suite <<<"$candidate"
        if [ -n "$(source_version "$package" "$suite")" ]; then
            say "building LuaJIT: $package $(source_version "$package" "$suite")"
            if fetch_source "$package" "$suite"; then break; fi
            say "the mirror lists this source but does not deliver it"
        fi
        package=""
    done
    [ -n "$package" ] || die "the configured mirror has no LuaJIT (see the logs in build/log)"
    local src=$SOURCES/$package/src
    # OpenResty's hash of strings, for processors with SSE 4.2, looks at three bytes of long ones and has nothing to
    # fall back to: as many strings as are alike there, so many are walked past for each. LuaJIT's own has.
    sed -i '/define LJ_HAS_OPTIMISED_HASH/d' "$src/lj_arch.h"
    logged $package make -C "$src" -j"$JOBS" BUILDMODE=static CC="$CC" CCDEBUG=-g XCFLAGS="$LUAJIT_XCFLAGS" Q=
    rm -rf "$DEPS/include/luajit-2.1" "$DEPS/share/luajit-2.1"
    mkdir -p "$DEPS"/{bin,lib,include/luajit-2.1,share/luajit-2.1/jit}
    cp "$src"/{lua.h,lauxlib.h,lualib.h,luaconf.h,luajit.h} "$DEPS/include/luajit-2.1/"
    cp "$src"/jit/*.lua "$DEPS/share/luajit-2.1/jit/"
    cp "$src/luajit" "$DEPS/bin/luajit"
    cp "$src/libluajit.a" "$DEPS/lib/libluajit-5.1.a"
}

# shellcheck disable=SC2086 # the hooks are file names
key_mbedtls() { echo "2 $MBEDTLS_CFLAGS $(cat $MBEDTLS_CONFIG $MBEDTLS_HOOKS | sha256sum)"; }
key_mbedtls_plain() { echo "2 $MBEDTLS_CFLAGS $(sha256sum <$MBEDTLS_CONFIG)"; }
build_mbedtls() { compile_mbedtls mbedtls "$DEPS" "${MBEDTLS_HOOKS% *}" "${MBEDTLS_HOOKS#* }"; }
build_mbedtls_plain() { compile_mbedtls mbedtls_plain "$DEPS/plain"; }

# compile_mbedtls NAME PREFIX [HOOKS HEADER]: our configuration, and what the hooks need, are put into
# its headers, so that every user of these agrees with the library.
compile_mbedtls() {
    open_mirror
    local version lib name=$1 prefix=$2 src=$SOURCES/mbedtls
    version=$(source_version mbedtls $MBEDTLS_SUITE)
    case $version in
    3.6.*) ;;
    *) die "need mbedTLS 3.6, but Debian $MBEDTLS_SUITE on the configured mirror has '${version:-none}'" ;;
    esac
    say "building mbedTLS $version${3:+ with hooks for libcrypto}"
    fetch_source mbedtls $MBEDTLS_SUITE || die "cannot fetch mbedTLS: see build/log/mbedtls.log"
    cat $MBEDTLS_CONFIG ${3:+"$3"} >>"$src/include/mbedtls/mbedtls_config.h"
    if [ -n "${4:-}" ]; then cp "$4" "$src/include/mbedtls/"; fi
    logged "$name" make -C "$src/library" -j"$JOBS" CC="$CC" CFLAGS="$MBEDTLS_CFLAGS" static
    rm -rf "$prefix"/include/{mbedtls,psa}
    mkdir -p "$prefix"/{lib,include}
    cp -R "$src"/include/{mbedtls,psa} "$prefix/include/"
    for lib in mbedcrypto mbedx509 mbedtls; do cp "$src/library/lib$lib.a" "$prefix/lib/"; done
}

key_llhttp() { echo "1 $LLHTTP_MIN $LLHTTP_CFLAGS"; }
build_llhttp() {
    open_mirror
    local version object src=$SOURCES/llhttp
    rm -rf "$src"
    mkdir -p "$src"
    cd "$src"
    logged llhttp own_apt apt-get download libllhttp-source
    cd "$TOP"
    version=$(dpkg-deb -f "$src"/*.deb Version)
    dpkg --compare-versions "$version" ge $LLHTTP_MIN ||
        die "need llhttp $LLHTTP_MIN or newer, but Debian testing on the configured mirror has $version"
    say "building llhttp $version"
    dpkg-deb -x "$src"/*.deb "$src"
    for object in api http llhttp; do
        # shellcheck disable=SC2086 # flags are words
        logged llhttp "$CC" $LLHTTP_CFLAGS -I"$src/usr/src/llhttp/include" \
            -c "$src/usr/src/llhttp/src/$object.c" -o "$src/$object.o"
    done
    mkdir -p "$DEPS"/{lib,include}
    rm -f "$DEPS/lib/libllhttp.a"
    logged llhttp ar rcs "$DEPS/lib/libllhttp.a" "$src"/{api,http,llhttp}.o
    cp "$src/usr/src/llhttp/include/llhttp.h" "$DEPS/include/"
}

# Says whether the headers of the mbedTLS that this build uses end with our configuration. They are put
# there together with the library, by hand too, so no stamp is needed.
variant_fits() {
    local folder=$DEPS config=("$MBEDTLS_CONFIG")
    if [ "${TLS_ACCEL:-1}" = 0 ]; then folder+=/plain; else config+=("${MBEDTLS_HOOKS% *}"); fi
    local header=$folder/include/mbedtls/mbedtls_config.h gcm=${MBEDTLS_HOOKS#* }
    [ -e "$folder/lib/libmbedtls.a" ] && [ -e "$header" ] || return 1
    cmp -s <(cat "${config[@]}") <(tail -c "$(cat "${config[@]}" | wc -c)" "$header") || return 1
    [ "${TLS_ACCEL:-1}" = 0 ] || cmp -s "$gcm" "$folder/include/mbedtls/${gcm##*/}"
}

stamp_matches() { [ "$(cat "$DEPS/$1.stamp" 2>/dev/null)" = "$("key_$1")" ]; }
stale_libraries() {
    local library
    for library in $LIBRARIES; do
        stamp_matches "$library" || printf '%s ' "$library"
    done
}

# --- Command line -----------------------------------------------------------------------------

if [ "${1:-}" = --check-variant ]; then
    variant_fits || die "the mbedTLS in $DEPS is not built for this source with TLS_ACCEL=${TLS_ACCEL:-1}: run" \
        "'make deps TLS_ACCEL=${TLS_ACCEL:-1}'"
    exit 0
fi

check=""
if [ "${1:-}" = --check ]; then
    check=1
    shift
fi
[ $# -gt 0 ] || set -- build
wanted=""
for group in "$@"; do
    list=PACKAGES_$group
    [ -n "${!list:-}" ] || die "no package group '$group': choose from build, test, bench, clients"
    wanted+=" ${!list}"
done

[ -e /etc/debian_version ] && command -v apt-get dpkg-query >/dev/null ||
    die "this machine is not a Debian: install the packages listed in scripts/deps.sh by hand"
# shellcheck disable=SC2086 # package names are words
packages=$(missing_packages $wanted)
libraries=$(stale_libraries)

if [ -n "$check" ]; then
    [ -n "$packages$libraries" ] || exit 0
    die "missing ${packages:+packages: $packages}${libraries:+libraries: $libraries}- run 'make deps'"
fi
if [ -z "$packages$libraries" ]; then
    say "nothing to do"
    exit 0
fi
if [ -n "$packages" ]; then say "will install these Debian packages: $packages"; fi
if [ -n "$libraries" ]; then say "will build from Debian sources into $DEPS: $libraries"; fi
mkdir -p "$LOGS" "$SOURCES"
# shellcheck disable=SC2086
if [ -n "$packages" ]; then install_packages $packages; fi
for library in $libraries; do
    rm -f "$DEPS/$library.stamp" "$LOGS/$library.log"
    "build_$library"
    "key_$library" >"$DEPS/$library.stamp"
done
say "done"
