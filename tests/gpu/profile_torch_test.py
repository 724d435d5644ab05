"""dsaperf profile on a torch program: CUDA graphs, NVTX ranges, a spawned child; and against torch's own profiler.

Needs a GPU and torch. $DSAPERF is the program, $DSAPERF_INJECT the injection library if it is not beside it.
"""

import collections
import csv
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ.get("DSAPERF", "dsaperf")
REPLAYS = 10


def work():
    import torch

    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    side = torch.cuda.Stream()
    with torch.cuda.nvtx.range("warm-up"):
        with torch.cuda.stream(side):
            for _ in range(3):
                torch.softmax((a @ a).float(), -1)
        torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch.softmax((a @ a).float(), -1)
    with torch.cuda.nvtx.range("replay"):
        for _ in range(REPLAYS):
            graph.replay()
        torch.cuda.synchronize()
    with torch.cuda.nvtx.range("eager"):
        for _ in range(REPLAYS):
            torch.relu(a @ a)
        torch.cuda.synchronize()


def program(mode, out=None):
    if mode == "parent":
        work()
        child = multiprocessing.get_context("spawn").Process(target=work)
        child.start()
        child.join()
        return child.exitcode
    import torch

    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as recorded:
        work()
    recorded.export_chrome_trace(out)
    return 0


def means(path):
    """Mean duration in ns of each long kernel, by canonical name, as trace show tells it."""
    document = json.loads(subprocess.run([PROGRAM, "trace", "show", path, "--json"], capture_output=True, text=True, check=True).stdout)
    return {k["canonical"]: k["time_ns"] / k["calls"] for k in document["kernels"]}, document


class ProfileTorchTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            import torch
        except ImportError:
            torch = None
        if torch is None or not torch.cuda.is_available():
            if os.environ.get("DSAPERF_REQUIRE_GPU") == "1":
                raise AssertionError("no GPU, or no torch")
            raise unittest.SkipTest("no GPU, or no torch")
        cls.folder = os.environ.get("DSAPERF_KEEP") or tempfile.mkdtemp()
        cls.trace = os.path.join(cls.folder, "profile.json.gz")
        cls.result = subprocess.run(
            [PROGRAM, "profile", "-o", cls.trace, "--csv", os.path.join(cls.folder, "kern_sum.csv"),
             "--chrome", os.path.join(cls.folder, "chrome.json.gz"), "--keep", os.path.join(cls.folder, "logs"), "--json",
             "--", sys.executable, os.path.abspath(__file__), "--work", "parent"],
            capture_output=True, text=True)
        print(cls.result.stdout[-2000:], cls.result.stderr[-2000:])
        cls.means, cls.document = means(cls.trace)

    def test_parent_and_spawned_child_are_recorded_whole(self):
        document = json.loads(self.result.stdout)
        self.assertEqual(self.result.returncode, 0, self.result.stderr)
        self.assertEqual(len(document["processes"]), 2)
        for process in document["processes"]:
            self.assertTrue(process["ended"], process)
            self.assertEqual(process["dropped"], 0)
        self.assertLess(sum(p["overhead_ns"] for p in document["processes"]), document["wall_ns"])

    def test_graph_nodes_are_kernels_of_their_own(self):
        nodes = collections.Counter()
        for name in os.listdir(os.path.join(self.folder, "logs")):
            with open(os.path.join(self.folder, "logs", name)) as log:
                for line in log:
                    if line.startswith("k "):
                        fields = line.split()
                        nodes[name, fields[6] != "0"] += 1
        for name in {key[0] for key in nodes}:
            self.assertGreaterEqual(nodes[name, True], 2 * REPLAYS)  # a GEMM and a softmax at least
            self.assertGreaterEqual(nodes[name, False], 2 * REPLAYS)

    def test_ranges_hold_what_was_launched_in_them(self):
        ranges = {r["name"]: r["count"] for r in self.document["ranges"]}
        for name in ("warm-up", "replay", "eager"):
            self.assertEqual(ranges.get(name), 2, ranges)
        shown = subprocess.run([PROGRAM, "trace", "show", self.trace, "--range", "eager", "--json"],
                               capture_output=True, text=True)
        kernels = json.loads(shown.stdout)["kernels"]
        relu = [k for k in kernels if "clamp" in k["name"] or "relu" in k["name"].lower()]
        self.assertEqual(sum(k["calls"] for k in relu), 2 * REPLAYS, [k["display"] for k in kernels])

    def test_durations_agree_with_torchs_profiler(self):
        path = os.path.join(self.folder, "torch.json")
        subprocess.run([sys.executable, os.path.abspath(__file__), "--work", "torch", path], check=True)
        theirs, _ = means(path)
        compared = 0
        for name, ours_ns in self.means.items():
            if name in theirs and ours_ns > 100_000:
                print(f"{name[:60]}: {ours_ns / 1e3:.1f} us, torch {theirs[name] / 1e3:.1f} us")
                self.assertLess(abs(ours_ns / theirs[name] - 1), 0.02, name)
                compared += 1
        self.assertGreaterEqual(compared, 2)

    def test_exports_hold_the_same_kernels(self):
        with open(os.path.join(self.folder, "kern_sum.csv")) as table:
            calls = sum(int(row["Instances"]) for row in csv.DictReader(table))
        _, chrome = means(os.path.join(self.folder, "chrome.json.gz"))
        self.assertEqual(calls, self.document["facts"]["kernels"])
        self.assertEqual(chrome["facts"]["kernels"], calls)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        sys.exit(program(*sys.argv[2:]))
    unittest.main()
