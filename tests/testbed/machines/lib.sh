# shellcheck shell=bash disable=SC2034,SC2154
# Shared by every script here (sourced, not run).
# TESTBED_DIR        where images and machines live (required)
# MACHINES_BRIDGE    name of the bridge on the host (default ehos0)
# MACHINES_ADDRESS   the host's addresses on it, gateway of the machines (default 10.77.0.1/24)
# The last two are remembered in TESTBED_DIR/settings by net-up.

: "${TESTBED_DIR:?set TESTBED_DIR to the folder of the machines}"
mkdir -p "$TESTBED_DIR"
TESTBED_DIR=$(cd "$TESTBED_DIR" && pwd -P)
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$HERE/../common.sh"
# shellcheck disable=SC1091
if [ -e "$TESTBED_DIR/settings" ]; then . "$TESTBED_DIR/settings"; fi
BRIDGE=${MACHINES_BRIDGE:-ehos0}
ADDRESS=${MACHINES_ADDRESS:-10.77.0.1/24}
METADATA=169.254.169.254
DOMAIN=novalocal               # Nova's default dhcp_domain
# Capabilities that would reach the host.
DROP=-sys_module,-sys_time,-sys_rawio,-syslog,-mac_admin,-mac_override,-wake_alarm,-block_suspend,-audit_control
BASE=$TESTBED_DIR/base         # debootstrap tree
IMAGES=$TESTBED_DIR/images     # unpacked images, one folder each
MACHINES=$TESTBED_DIR/machines # one folder per machine, named by UUID
GONE=$TESTBED_DIR/gone         # folders of machines that are being destroyed
NET=$TESTBED_DIR/net           # dnsmasq, metadata service, host names
