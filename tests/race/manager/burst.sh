#!/bin/sh
# usage: burst.sh JOBS,CPUS,SECONDS...
# Submits sleep jobs, as the user that runs it.
set -eu
mkdir -p "$HOME/race" && cd "$HOME/race"
for batch; do
    IFS=, read -r jobs cpus seconds <<BATCH
$batch
BATCH
    condor_submit >/dev/null <<SUBMIT
executable = /bin/sleep
transfer_executable = false
arguments = $seconds
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
request_cpus = $cpus
request_memory = 512
request_disk = 10M
queue $jobs
SUBMIT
done
