# shellcheck shell=bash disable=SC2034,SC2154
# Shared by the scripts here. Sourced, not run.
# TESTBED_DIR  where everything lives (required)
# TESTBED_IP   the loopback address every service binds (default 127.0.0.1)
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${TESTBED_DIR:?set TESTBED_DIR to the folder of the control plane}"
TESTBED_IP=${TESTBED_IP:-127.0.0.1}
TESTBED_COMPUTES=${TESTBED_COMPUTES:-1}
ROOT=$TESTBED_DIR/root      # Debian trixie chroot
RUN=$TESTBED_DIR/run        # pid files
LOG=$TESTBED_DIR/log
TB=$ROOT/srv/tb             # config and state, /srv/tb as seen inside
PASS=ehos-testbed

. "$HERE/../common.sh"

# Runs a command inside the chroot with a clean environment.
inside() { (exec_inside "$@"); }
exec_inside() {
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONPATH=/srv/tb/py \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OS_CLIENT_CONFIG_FILE=/srv/tb/etc/clouds.yaml OS_CLOUD="${OS_CLOUD:-admin}" \
    RABBITMQ_CONF_ENV_FILE=/srv/tb/etc/rabbitmq-env.conf ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=14369 \
    EHOS_TESTBED_CONF=/srv/tb/etc/driver.ini \
    OS_NEUTRON_CONFIG_DIR=/srv/tb/etc OS_NEUTRON_CONFIG_FILES=neutron.conf \
    chroot "$ROOT" "$@"
}

mounts_up() {
  mountpoint -q "$ROOT/proc" || mount -t proc proc "$ROOT/proc"
  mountpoint -q "$ROOT/sys" || mount -t sysfs sysfs "$ROOT/sys"
  mountpoint -q "$ROOT/dev" || mount --rbind /dev "$ROOT/dev"
  mount --make-rslave "$ROOT/dev"
}

mounts_down() {
  local m
  for m in dev sys proc; do
    if mountpoint -q "$ROOT/$m"; then umount -R "$ROOT/$m" 2>/dev/null || umount -l "$ROOT/$m"; fi
  done
}

# A pid file is trusted only when the process still lives in our chroot.
alive() {
  local pid
  [ -s "$1" ] || return 1
  pid=$(<"$1")
  [ -d "/proc/$pid" ] && [ "$(readlink "/proc/$pid/root")" = "$(readlink -f "$ROOT")" ]
}
