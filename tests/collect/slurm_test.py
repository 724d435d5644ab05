#!/usr/bin/env python3
"""Collections under a real Slurm, with the fake timing source.

    slurm_test.py PROGRAM SBATCH_FILE

Starts munged, slurmctld and three slurmd of its own on free ports of 127.0.0.1, submits the example
of docs/ as an array, runs collect under srun, and ends its daemons. Skipped where Slurm is not
installed or this is not root (slurmd wants to be).
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
SBATCH_FILE = os.path.abspath(sys.argv[2])
MODEL = "deepseek-ai/DeepSeek-V3.2"
NODES = ["n1", "n2", "n3"]
NEEDED = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo"]
GRID = """
context: [{batch: [1, 2], new: [64, 4096], past: [0, 2048]}]
generation: [{batch: [1, 8, 32], past: [1023, 4095, 32767]}]
"""
CASES = 2 * 2 * 2 + 3 * 3

CONF = """
ClusterName=dsaperf_test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
GresTypes=gpu
{nodes}
PartitionName=all Nodes={names} Default=YES MaxTime=10 State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    """Daemons in the foreground, so that ending them is ending children of this process."""

    def __init__(self, folder):
        self.folder = folder
        self.children = []

    def start(self):
        # munged refuses folders that others could write to, and keys that others could read.
        munge = os.path.join(self.folder, "munge")
        os.mkdir(munge, 0o755)
        os.chmod(self.folder, 0o755)
        key = os.path.join(munge, "key")
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o400), "wb") as file:
            file.write(os.urandom(1024))
        self.spawn("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}/socket",
                   f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed")
        self.wait_for(lambda: os.path.exists(f"{munge}/socket"), "munged")

        ports = free_ports(1 + len(NODES))
        nodes = "\n".join(f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port} "
                          "CPUs=1 Gres=gpu:1 State=UNKNOWN" for name, port in zip(NODES, ports[1:]))
        os.mkdir(os.path.join(self.folder, "state"))
        for name in NODES:
            os.mkdir(os.path.join(self.folder, f"spool-{name}"))
        with open(os.path.join(self.folder, "slurm.conf"), "w") as conf:
            conf.write(CONF.format(host=socket.gethostname(), port=ports[0], folder=self.folder, nodes=nodes,
                                   names=",".join(NODES)))
        with open(os.path.join(self.folder, "gres.conf"), "w") as conf:
            conf.write("Name=gpu File=/dev/null\n")
        self.spawn("slurmctld", "-D", "-f", os.path.join(self.folder, "slurm.conf"))
        for name in NODES:
            self.spawn("slurmd", "-D", "-N", name, "-f", os.path.join(self.folder, "slurm.conf"))
        self.wait_for(self.all_idle, "three idle nodes")

    def all_idle(self):
        state = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], env=self.environment(),
                               capture_output=True, text=True)
        return state.stdout.split() == ["idle"] * len(NODES)

    def environment(self):
        mine = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        return mine | {"SLURM_CONF": os.path.join(self.folder, "slurm.conf"), "DSAPERF": PROGRAM}

    def spawn(self, *command):
        log = open(os.path.join(self.folder, f"{len(self.children)}-{command[0]}.out"), "w")
        self.children.append(subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log))
        log.close()

    def wait_for(self, condition, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            dead = [child.args[0] for child in self.children if child.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"no {what}; ended: {dead or 'none'}\n{self.logs()}")
            time.sleep(0.2)

    def logs(self):
        text = ""
        for name in sorted(os.listdir(self.folder)):
            path = os.path.join(self.folder, name)
            if name.endswith((".log", ".out")):
                with open(path, errors="replace") as file:
                    text += f"--- {name}\n{file.read()[-2000:]}"
        return text

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
        for child in reversed(self.children):
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class SlurmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        missing = [name for name in NEEDED if shutil.which(name) is None]
        if missing:
            raise unittest.SkipTest(f"Slurm is not installed: no {', '.join(missing)} (scripts/setup check)")
        if os.geteuid() != 0:
            raise unittest.SkipTest("slurmd needs root")
        folder = tempfile.TemporaryDirectory(prefix="dsaperf-slurm-")
        cls.addClassCleanup(folder.cleanup)
        cls.cluster = Cluster(folder.name)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.rows = os.path.join(folder.name, "rows")
        self.grid = os.path.join(folder.name, "grid.yaml")
        with open(self.grid, "w") as grid:
            grid.write(GRID)
        self.flags = ["--grid", self.grid, "--heads", "16", "--timing", "fake"]

    def run_command(self, *command):
        result = subprocess.run(command, env=self.cluster.environment(), cwd=self.folder, capture_output=True,
                                text=True, timeout=180)
        logs = ""
        for name in os.listdir(self.folder):
            if name.endswith(".log"):
                with open(os.path.join(self.folder, name)) as log:
                    logs += log.read()
        self.assertEqual(result.returncode, 0, f"{result.stderr}\n{logs}\n{self.cluster.logs()}")
        return result.stdout

    def check_merged(self, parts):
        journals = sorted(name for name in os.listdir(self.rows) if name.endswith(".jsonl"))
        self.assertEqual(journals, [f"rows-{i:04}-of-{parts:04}.jsonl" for i in range(parts)])
        merged = os.path.join(self.folder, "merged")
        document = json.loads(self.run_command(PROGRAM, "db", "merge", self.rows, "-o", merged, "--json"))
        self.assertEqual(document["cases"], CASES)
        self.assertEqual(document["conflicts"], [])

    def test_the_example_of_the_docs_collects_every_case_once(self):
        self.run_command("sbatch", "--wait", "--array=0-3", SBATCH_FILE, MODEL, self.rows, *self.flags)
        self.check_merged(4)
        # Submitted again it finds everything done.
        before = {name: os.path.getsize(os.path.join(self.rows, name)) for name in os.listdir(self.rows)}
        self.run_command("sbatch", "--wait", "--array=0-3", SBATCH_FILE, MODEL, self.rows, *self.flags)
        after = {name: os.path.getsize(os.path.join(self.rows, name)) for name in os.listdir(self.rows)}
        self.assertEqual(before, after)

    def test_an_array_that_does_not_begin_at_zero_is_split_alike(self):
        self.run_command("sbatch", "--wait", "--array=5-7", SBATCH_FILE, MODEL, self.rows, *self.flags)
        self.check_merged(3)

    def test_tasks_of_one_job_share_a_plan(self):
        self.run_command("srun", "--nodes=3", "--ntasks=3", PROGRAM, "collect", MODEL, "-o", self.rows, *self.flags)
        self.check_merged(3)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
