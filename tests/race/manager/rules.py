#!/usr/bin/env python3
"""Two autoscalers of other projects, by their rules: rules.py google | original, on the central manager.

google     one pass, which a timer starts each minute, as Google's cluster-toolkit does by cron. Idle jobs that a
           negotiation cycle has seen need ceil(cores / cores of a node) nodes; nodes that are starting or idle are
           counted against that; surplus nodes are deleted without a drain.
original   passes each 30 s for ever, as the daemon of ehos-python: one node a pass when more jobs than nodes are idle;
           surplus idle nodes are switched off (condor_off -fast) and deleted.

Both rules are written from the behaviour of these programs. /opt/race/rule.json holds the cloud's access and the node.
"""
import json
import math
import pathlib
import subprocess
import sys
import time
import uuid

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
from nova import Nova  # noqa: E402

SETTINGS = json.loads((FOLDER / "rule.json").read_text())
MAX, CORES = SETTINGS["nodes_max"], SETTINGS["cores"]
# As in the original program: a pass each 30 s; a node that is silent for 5 min is lost.
PASS, SILENT = 30, 300


def ask(*command):
    """The lines of a tool's answer, split at tabs."""
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in text.splitlines()]


def say(*words):
    print(time.strftime("%T"), *words, flush=True)


class Pool:
    """The nodes of one rule, which have its prefix in their names."""

    def __init__(self, rule):
        self.nova = Nova(SETTINGS["auth"])
        self.prefix = f"race-{rule}-"

    def servers(self):
        """Servers that Nova does not delete already, and how many it does."""
        mine = [server for server in self.nova.servers() if server["name"].startswith(self.prefix)]
        live = [server for server in mine if server.get("OS-EXT-STS:task_state") != "deleting"]
        return live, len(mine) - len(live)

    def create(self):
        node = SETTINGS["node"]
        self.nova.create(self.prefix + uuid.uuid4().hex[:8], node["flavor"], node["image"], node["network"],
                         (FOLDER / "user-data").read_text(), node["security_groups"])
        say("create")

    def delete(self, server):
        self.nova.delete(server["id"])
        say("delete", server["name"])


def google():
    pool = Pool("google")
    cycle = ask("condor_status", "-negotiator", "-af", "LastNegotiationCycleTime0")
    cycle = int(cycle[0][0]) if cycle and cycle[0][0].isdigit() else 0
    jobs = ask("condor_q", "-allusers", "-constraint", f"JobStatus == 1 && QDate < {cycle}", "-af", "RequestCpus")
    need = math.ceil(sum(float(cpus) for cpus, in jobs) / CORES)
    slots = ask("condor_status", "-constraint", "PartitionableSlot", "-af:t", "Machine", "NumDynamicSlots")
    claims = {machine.split(".")[0]: int(count) for machine, count in slots}
    servers, _ = pool.servers()
    starting = [server for server in servers if server["name"] not in claims]
    idle = [server for server in servers if claims.get(server["name"]) == 0]
    target = min(MAX, max(0, len(servers) - len(starting) - len(idle) + need))
    say(f"need {need}, servers {len(servers)}, starting {len(starting)}, idle {len(idle)}, target {target}")
    for _ in range(target - len(servers)):
        pool.create()
    for server in (starting + idle)[:max(0, len(servers) - target)]:
        pool.delete(server)


def original():
    pool = Pool("original")
    while True:
        try:
            original_pass(pool)
        except (OSError, subprocess.CalledProcessError) as error:
            say("error", error)
        time.sleep(PASS)


def original_pass(pool):
    # A node is idle when none of its dynamic slots is busy.
    nodes, domain = {}, {}
    for name, activity, heard, machine in ask("condor_status", "-af:t", "Name", "Activity", "LastHeardFrom", "Machine"):
        node = machine.split(".")[0]
        domain[node] = machine
        if time.time() - int(heard) > SILENT:
            nodes[node] = "lost"
        elif node not in nodes or "_" in name.split("@")[0]:
            nodes[node] = activity.lower()
    servers, deleting = pool.servers()
    idle_nodes = [server for server in servers if nodes.get(server["name"]) == "idle"]
    states = [status for status, in ask("condor_q", "-allusers", "-af", "JobStatus")]
    idle_jobs, nodes_min, spare = states.count("1"), 0, 0
    say(f"jobs {len(states)}, idle {idle_jobs}, servers {len(servers)}, idle {len(idle_nodes)}")
    surplus = min(len(servers) - nodes_min, len(idle_nodes) - spare)
    if idle_jobs > len(idle_nodes):
        if len(servers) + spare <= MAX:
            pool.create()
    elif surplus > 0:
        for server in idle_nodes[:max(0, min(surplus, len(idle_nodes) - idle_jobs) - deleting)]:
            subprocess.run(["condor_off", "-fast", "-constraint", f'Machine == "{domain[server["name"]]}"'], check=False,
                           capture_output=True)
            pool.delete(server)


if __name__ == "__main__":
    {"google": google, "original": original}[sys.argv[1]]()
