# shellcheck shell=bash
# Shared by all scripts of the testbed (sourced, not run): processes, waiting, Debian trees.

COMMON=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { say "${0##*/}: error: $*"; exit 1; }
[ "$(id -u)" = 0 ] || die "must run as root"

# The start time tells a process from a later one with the same pid.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    # shellcheck disable=SC2086
    set -- $stat
    [ "$1" != Z ] && echo "${20}"
}

# pid_in FILE ("PID STARTTIME"): the pid when it still runs, else exit code 1.
pid_in() {
    local pid start
    read -r pid start 2>/dev/null <"$1" || return 1
    [ "$(start_time "$pid")" = "$start" ] || return 1
    echo "$pid"
}

# wait_for SECONDS CMD...: until CMD succeeds; exit code 1 when it never does.
wait_for() {
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

# new_root DIR: DIR becomes a fresh Debian trixie tree in which no package starts a service. All parts of the
# testbed copy the one that the first of them makes in DEBIAN_TREE (default TESTBED_DIR/debian).
new_root() {
    "$COMMON/debian" "${DEBIAN_TREE:=$TESTBED_DIR/debian}"
    rm -rf --one-file-system "$1.new" "$1"
    cp -a --reflink=auto "$DEBIAN_TREE" "$1.new"
    cp -L /etc/resolv.conf "$1.new/etc/"
    mv "$1.new" "$1"
}

# install_in DIR PACKAGE...: in a mount namespace, so that no mount is left behind.
install_in() {
    local root=$1; shift
    # shellcheck disable=SC2016
    unshare --mount bash -euc '
        root=$1; shift
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/run"
        mount -t tmpfs tmpfs "$root/tmp"
        export DEBIAN_FRONTEND=noninteractive LC_ALL=C
        chroot "$root" apt-get update -q
        chroot "$root" apt-get install -qy --no-install-recommends "$@"
    ' install "$root" "$@"
}
