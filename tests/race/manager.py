"""The race's project on the testbed: one golden image, and a central manager for each run."""
import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from nova import Nova

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
FLAVOR, CORES, NODES_MAX = "m1.large", 4, 6
PREFIX, MASTER = "race", "race-master"
# A slice of its own counts the CPU time of all runs of its units; that of a oneshot service begins anew at each start.
SLICE = "race.slice"


def say(*words):
    print(time.strftime("%T"), *words, file=sys.stderr, flush=True)


class Project:
    """A folder with a configuration of ehos, and what it makes on the cloud. Everything there is named `race…`."""

    def __init__(self, testbed, binary, folder, log):
        self.testbed, self.binary, self.folder, self.log = testbed, str(binary), folder, log
        configs = folder / "configs"
        configs.mkdir()
        for name in ["base.yaml", "master.yaml", "execute.yaml"]:
            shutil.copy(TOP / "configs" / name, configs)
        clouds = {"OS_CLIENT_CONFIG_FILE": str(testbed / "openstack/clouds.yaml")}
        self.ehos("config", "init", "--os-cloud", "ehos", "-o", "configs/ehos.yaml", environment=clouds)
        text = (configs / "ehos.yaml").read_text()
        self.auth = dict(re.findall(r"^    ([a-z_]+): (\S+)$", text, re.M))
        self.auth["password"] = (configs / self.auth["password_file"]).read_text().strip()
        self.cloud = re.search(r"^clouds:\n  (\S+):$", text, re.M)[1]
        self.nova = Nova(self.auth)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
        self.clear()
        if self.has_key():
            self.nova.call("DELETE", "/os-keypairs/" + PREFIX)
        public = (folder / "key.pub").read_text().strip()
        self.nova.call("POST", "/os-keypairs", {"keypair": {"name": PREFIX, "public_key": public}})
        flavors = self.nova.call("GET", "/flavors")["flavors"]
        self.flavor = next(flavor["id"] for flavor in flavors if flavor["name"] == FLAVOR)
        self.configure("")

    def configure(self, idle_timeout):
        """Writes what differs from a first configuration: `idle_timeout` is empty for the default."""
        daemon = f"daemon:\n  nodes_max: {NODES_MAX}\n" + (f"  idle_timeout: {idle_timeout}\n" if idle_timeout else "")
        text = (f"clouds:\n  {self.cloud}:\n    flavor: {FLAVOR}\n    key: {PREFIX}\n    network: machines\n"
                f"ehos:\n  project_prefix: {PREFIX}\n{daemon}")
        (self.folder / "configs/ehos.d").mkdir(exist_ok=True)
        (self.folder / "configs/ehos.d/60-race.yaml").write_text(text)

    def ehos(self, *arguments, environment=None):
        """Its standard output; its progress goes to the log."""
        environment = {**os.environ, **(environment or {})}
        environment.pop("EHOS_CONFIG", None)
        with open(self.log, "a", encoding="utf-8") as log:
            done = subprocess.run([self.binary, *arguments], cwd=self.folder, env=environment, stdout=subprocess.PIPE,
                                  stderr=log, text=True, check=False)
        if done.returncode:
            sys.exit(f"race: ehos {' '.join(arguments)}: exit code {done.returncode}: see {self.log}")
        return done.stdout

    def build_image(self):
        say("builds the golden image")
        # Its disk is the least that nodes and central manager may have.
        self.ehos("image", "build", "--config", "configs/ehos.yaml", "--state-dir", "state", "--flavor", "m1.medium")
        text = (self.folder / "configs/ehos.d/50-image.yaml").read_text()
        self.image = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)[0]

    def deploy(self, idle_timeout=""):
        """A new central manager, with ehos under its timer."""
        self.clear(images=False)
        self.configure(idle_timeout)
        say("deploys the central manager")
        report = json.loads(self.ehos(
            "master", "deploy", "--config", "configs/ehos.yaml", "--state-dir", "state", "--identity", "key", "--binary",
            self.binary, "--flavor", "m1.medium", "--name", MASTER, "--image", self.image, "-o", "json"))
        return Manager(self, report["server"])

    def has_key(self):
        keys = self.nova.call("GET", "/os-keypairs")["keypairs"]
        return any(key["keypair"]["name"] == PREFIX for key in keys)

    def servers(self):
        return [server for server in self.nova.servers() if server["name"].startswith(PREFIX + "-")]

    def clear(self, images=True):
        """Deletes servers, and images, of this race and of one that was killed."""
        end = time.monotonic() + 120
        while servers := self.servers():
            for server in servers:
                self.nova.delete(server["id"])
            if time.monotonic() > end:
                sys.exit("race: " + ", ".join(server["name"] for server in servers) + ": still there 120 s after the delete")
            time.sleep(2)
        if images:
            listed = self.openstack("image", "list", "-f", "value", "-c", "ID", "-c", "Name")
            for image, _, name in (line.partition(" ") for line in listed.splitlines()):
                if name.startswith(PREFIX + "-"):
                    self.openstack("image", "delete", image)

    def openstack(self, *arguments):
        return self.script("cli", *arguments)

    def script(self, name, *arguments, stdin=None, check=True):
        """A script of the testbed's machines."""
        environment = {**os.environ, "TESTBED_DIR": str(self.testbed), "OS_CLOUD": "ehos"}
        done = subprocess.run([TOP / "tests/testbed/machines" / name, *arguments], env=environment, input=stdin,
                              stdout=subprocess.PIPE, text=True, check=check)
        return done.stdout


class Manager:
    """A central manager."""

    def __init__(self, project, server):
        self.project = project
        # Whatever the report calls it: the server of this name is the only one.
        self.server = next(found["id"] for found in project.servers() if found["name"] == MASTER)
        assert self.server in json.dumps(server), server
        self.run("useradd --create-home --shell /bin/bash alice")
        self.put("/usr/local/bin/burst", (HERE / "manager/burst.sh").read_text(), "755")
        self.put(f"/run/systemd/system/{SLICE}", "[Unit]\nDescription=Scaler of the race\n")
        self.run(f"systemctl daemon-reload && systemctl start {SLICE}")

    def run(self, script, check=True):
        """The standard output of a script that root runs there."""
        return self.project.script("machine", "exec", self.server, "bash", "-euo", "pipefail", "-s", stdin=script, check=check)

    def put(self, path, text, mode="644"):
        data = base64.b64encode(text.encode()).decode()
        self.run(f"mkdir -p $(dirname {path}); base64 -d <<<{data} >{path}; chmod {mode} {path}")

    def use_ehos(self):
        """Counts all services of ehos, whatever starts them; the page is not the scaler."""
        self.run(f"""
            for unit in $(systemctl list-unit-files --no-legend 'ehos*.service' | cut -d' ' -f1); do
                case $unit in ehos-frontend*) continue ;; esac
                mkdir -p /run/systemd/system/$unit.d
                printf '[Service]\\nSlice={SLICE}\\n' >/run/systemd/system/$unit.d/50-race.conf
            done
            systemctl daemon-reload""")

    def stop_ehos(self):
        self.run("""
            systemctl disable --now $(systemctl list-unit-files --no-legend 'ehos*.timer' 'ehos*.path' | cut -d' ' -f1)
            # What they have started may start a tick yet.
            for unit in $(systemctl list-unit-files --no-legend 'ehos*.service' | cut -d' ' -f1); do
                [ "$unit" = ehos.service ] || systemctl stop "$unit"
            done
            # A oneshot service is `activating` while it runs.
            while [[ $(systemctl is-active ehos.service) = *activating ]]; do sleep 0.2; done""")

    def node(self):
        """A node, as Nova names its parts."""
        interfaces = self.project.nova.call("GET", f"/servers/{self.server}/os-interface")["interfaceAttachments"]
        return {"flavor": self.project.flavor, "image": self.project.image, "network": interfaces[0]["net_id"],
                "security_groups": ["ehos"]}

    def render_user_data(self):
        self.run("mkdir -p /opt/race; umask 077; runuser -u ehos -- ehos config render execute.yaml >/opt/race/user-data")

    def use_rule(self, rule):
        """Stops ehos, and lets the rule scale with the same nodes."""
        self.stop_ehos()
        settings = {"auth": self.project.auth, "nodes_max": NODES_MAX, "cores": CORES, "node": self.node()}
        self.put("/opt/race/rule.json", json.dumps(settings), "600")
        self.put("/opt/race/nova.py", (HERE / "nova.py").read_text())
        self.put("/opt/race/rules.py", (HERE / "manager/rules.py").read_text())
        self.render_user_data()
        service = f"[Service]\nSlice={SLICE}\nExecStart=/usr/bin/python3 /opt/race/rules.py {rule}\n"
        self.put("/run/systemd/system/rule.service", service + ("Type=oneshot\n" if rule == "google" else ""))
        self.put("/run/systemd/system/rule.timer", "[Timer]\nOnCalendar=minutely\nAccuracySec=1s\n")
        self.run(f"systemctl daemon-reload && systemctl start rule.{'timer' if rule == 'google' else 'service'}")

    def cpu(self):
        """Seconds of CPU of the scaler so far, with all tools that it started."""
        return int(self.run(f"systemctl show {SLICE} -p CPUUsageNSec --value")) / 1e9

    def burst(self, batches):
        self.run("runuser -u alice -- env HOME=/home/alice burst " + " ".join(batches))

    def has_jobs(self):
        """Whether a job is in the queue; a schedd that does not answer has some."""
        return self.run("condor_q -totals -allusers -af Jobs", check=False).strip() != "0"

    def collect(self, folder):
        """Saves what tells of the run."""
        history = self.run("condor_history -af:t " + " ".join(HISTORY))
        (folder / "history.tsv").write_text("\t".join(HISTORY) + "\n" + history)
        log = self.run("cat /var/log/condor/SchedLog.old /var/log/condor/SchedLog 2>/dev/null", check=False)
        (folder / "SchedLog").write_text(log)
        log = self.run("cat /var/log/condor/NegotiatorLog.old /var/log/condor/NegotiatorLog 2>/dev/null", check=False)
        (folder / "NegotiatorLog").write_text(log)
        # For a replay: the jobs whole, and what ehos saw of boots.
        (folder / "jobs.json").write_text(self.run("condor_history -json -forwards"))
        (folder / "history").mkdir()
        for line in self.run("grep -H . /var/lib/ehos/history/*.jsonl 2>/dev/null", check=False).splitlines():
            path, _, record = line.partition(":")
            with open(folder / "history" / pathlib.Path(path).name, "a", encoding="utf-8") as file:
                file.write(record + "\n")
        (folder / "journal").write_text(self.run("journalctl -o short-iso-precise --no-pager -u 'ehos*' -u 'rule*'"))


HISTORY = ["ClusterId", "ProcId", "QDate", "JobStartDate", "JobCurrentStartDate", "CompletionDate", "NumJobStarts",
           "RequestCpus", "JobStatus", "ExitCode"]
