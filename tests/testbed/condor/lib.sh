# shellcheck shell=bash disable=SC2034,SC2154
# Shared by every script here (sourced, not run).
# TESTBED_DIR  where the testbed lives (required)
# CONDOR_PORT  collector port on 127.0.0.1 (default 9618)

: "${TESTBED_DIR:?set TESTBED_DIR to the folder of the testbed}"
mkdir -p "$TESTBED_DIR"
TESTBED_DIR=$(cd "$TESTBED_DIR" && pwd -P)
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$TESTBED_DIR/root          # the chroot
PIDS=$TESTBED_DIR/pids          # one file per instance: "PID STARTTIME"
PORT=${CONDOR_PORT:-$(cat "$TESTBED_DIR/port" 2>/dev/null || echo 9618)}

. "$HERE/../common.sh"
need_build() { [ -e "$TESTBED_DIR/.built" ] || die "no testbed in $TESTBED_DIR: run build first"; }

# pid_of NAME: its pid when it runs, else exit code 1.
pid_of() { pid_in "$PIDS/$1"; }

# spawn NAME HOSTNAME [ENV=VALUE...]: a condor_master in namespaces of its own.
# Its pid namespace dies with it, so no process outlives it; its mounts are
# never seen by the host; its host name is its own.
spawn() {
    local name=$1 host=$2; shift 2
    mkdir -p "$PIDS" "$ROOT/srv/testbed/$name"
    rm -f "$PIDS/$name"
    printf '%s\n127.0.0.1 localhost\n' "${HOSTS:-127.0.0.1 $host}" >"$ROOT/srv/testbed/$name/hosts"
    # shellcheck disable=SC2016
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" \
        setsid unshare --mount --uts --pid --ipc --fork --kill-child \
        bash -euc '
            root=$1 name=$2 host=$3 pidfile=$4
            # /proc is still the one of the host: these are host pids.
            read -r stat </proc/self/stat
            pid=${stat%% *}; rest=${stat##*) }; set -- $rest
            echo "$pid ${20}" >"$pidfile.new"; mv "$pidfile.new" "$pidfile"
            hostname "$host"
            mount --bind "$root" "$root"   # the starter wants / to be a mount point
            mount -t proc proc "$root/proc"
            mount -t sysfs sysfs "$root/sys"
            mount -t tmpfs tmpfs "$root/dev/shm"
            mount --bind "$root/srv/testbed/$name/hosts" "$root/etc/hosts"
            cd /
            exec chroot "$root" /usr/sbin/condor_master -f
        ' testbed "$ROOT" "$name" "$host" "$PIDS/$name" \
        </dev/null >"$TESTBED_DIR/$name.log" 2>&1 &
    wait_for 10 test -s "$PIDS/$name" || die "$name did not start: $TESTBED_DIR/$name.log"
}

# stop NAME SIGNAL SECONDS: signal, wait, then kill what is left.
stop() {
    local name=$1 signal=$2 end=$((SECONDS + $3)) pid
    if pid=$(pid_of "$name"); then
        kill "-$signal" "$pid"
        while pid_of "$name" >/dev/null; do
            if [ $SECONDS -ge $end ]; then kill -KILL "$pid"; fi
            sleep 0.1
        done
    fi
    rm -f "$PIDS/$name"
}

client() { "$TESTBED_DIR/bin/$1" "${@:2}"; }
