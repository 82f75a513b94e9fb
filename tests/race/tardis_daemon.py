"""COBalD/TARDIS as a scaler of the race, where pip has it.

It runs on this host, in an environment of its own, and calls HTCondor's tools on the central manager: so its CPU time has
the calls in it, and is not to be compared with that of the others, which run there.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys

import manager

# With async-timeout 5 its first create ends the daemon: 'Timeout' object does not support the context manager protocol.
PACKAGES = ["cobald-tardis==0.9.0", "async-timeout==4.0.3"]
TOOLS = ["condor_status", "condor_drain"]


def reason_to_skip(folder):
    """Makes its environment in `folder`; says why there is none."""
    environment = folder / "tardis"
    for command in [[sys.executable, "-m", "venv", environment],
                    [environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]]:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode:
            return (done.stdout.strip().splitlines() or ["no reason given"])[-1]
    return None


class Tardis:
    """The running daemon."""

    def __init__(self, central, folder, log):
        central.stop_ehos()
        home = folder / "tardis"
        tools = home / "tools"
        tools.mkdir()
        machine = manager.TOP / "tests/testbed/machines/machine"
        for tool in TOOLS:
            script = tools / tool
            script.write_text(f"#!/bin/sh\nTESTBED_DIR={central.project.testbed} exec {machine} exec {central.server} {tool} \"$@\"\n")
            script.chmod(0o755)
        central.render_user_data()
        (home / "user-data").write_text(central.run("cat /opt/race/user-data"))
        (home / "tardis.yml").write_text(json.dumps(drones(central, home)))
        (home / "cobald.yml").write_text(CONTROL.format(maximum=manager.CORES * manager.NODES_MAX, file=home / "tardis.yml"))
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        with open(log, "w", encoding="utf-8") as file:
            self.process = subprocess.Popen([home / "bin/python", "-m", "cobald.daemon", home / "cobald.yml"], env=environment,
                                            stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)

    def cpu(self):
        """Seconds of CPU of the daemon and of all that it has waited for."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


# The controller of its own example; its pool's smallest is one core, so one node always stays.
CONTROL = """pipeline:
  - !LinearController
    low_utilisation: 0.90
    high_allocation: 0.90
    rate: 1
  - !Limiter
    minimum: 1
    maximum: {maximum}
  - !TardisPoolFactory
    configuration: {file}
"""


def drones(central, home):
    """Its configuration of sites, which is YAML, so JSON is, too."""
    node = central.node()
    auth = central.project.auth
    names = ["auth_url", "username", "password", "project_name", "user_domain_name", "project_domain_name"]
    machine = {"flavorRef": node["flavor"], "imageRef": node["image"], "networks": [{"uuid": node["network"]}],
               "security_groups": [{"name": group} for group in node["security_groups"]], "user_data": str(home / "user-data")}
    return {
        "Plugins": {"SqliteRegistry": {"db_file": str(home / "registry.db")}},
        "BatchSystem": {"adapter": "HTCondor", "max_age": 0.25,
                        "ratios": {"cpu_ratio": "Real(TotalSlotCpus-Cpus)/TotalSlotCpus"}},
        "Sites": [{"name": "race-tardis", "adapter": "OpenStack", "quota": manager.CORES * manager.NODES_MAX,
                   "drone_heartbeat_interval": 10}],
        "race-tardis": {**{name: auth[name] for name in names}, "MachineTypes": [manager.FLAVOR],
                        "MachineTypeConfiguration": {manager.FLAVOR: machine},
                        "MachineMetaData": {manager.FLAVOR: {"Cores": manager.CORES, "Memory": 8, "Disk": 80}}},
    }
