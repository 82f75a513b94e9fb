# shellcheck shell=bash disable=SC2034
# Where the parts of the testbed live (sourced by up and down, after common.sh).
TESTBED_DIR=${TESTBED_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ehos-testbed}
mkdir -p "$TESTBED_DIR"
TESTBED_DIR=$(cd "$TESTBED_DIR" && pwd -P)
CLOUD_DIR=$TESTBED_DIR/openstack
CONDOR_DIR=$TESTBED_DIR/condor
export DEBIAN_TREE=$TESTBED_DIR/debian
