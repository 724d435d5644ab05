"""dsaperf run on a small layer: keys, verdict, files, and one clear line for what is not there. $DSAPERF is the program."""

import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["DSAPERF"]
CONFIG = str(pathlib.Path(__file__).resolve().parents[1] / "oracle" / "golden" / "v32_long" / "config.json")


def run(*args):
    return subprocess.run([PROGRAM, "run", *map(str, args)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


class RunTest(unittest.TestCase):
    def test_checked_stages_in_json(self):
        result = run(CONFIG, "--batch", 2, "--new", 3, "--past", 40, "--kv", "fp8", "--check", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        self.assertEqual(next(iter(document)), "format")
        self.assertEqual(document["format"], "dsaperf.run.1")
        self.assertTrue(document["check"]["passed"])
        self.assertEqual(len(document["stages"]), 13)
        for stage in document["stages"]:
            self.assertGreater(stage["time_us"], 0, stage["name"])
            self.assertGreater(stage["bound_us"], 0, stage["name"])
            self.assertIsNotNone(stage["error"], stage["name"])

    def test_dense_below_topk(self):
        document = json.loads(run(CONFIG, "--new", 3, "--past", 13, "--json").stdout)
        self.assertEqual(document["regime"], "dense")
        self.assertNotIn("topk", [stage["name"] for stage in document["stages"]])
        self.assertNotIn("check", document)

    def test_dump_is_safetensors(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "dump.safetensors"
            result = run(CONFIG, "--past", 40, "--dump", path)
            self.assertEqual(result.returncode, 0, result.stderr)
            raw = path.read_bytes()
            (length,) = struct.unpack("<Q", raw[:8])
            header = json.loads(raw[8 : 8 + length])
            self.assertEqual(header["y"]["shape"], [1, 64])
            self.assertEqual(header["selection"]["dtype"], "I32")

    def test_compare_kv(self):
        document = json.loads(run(CONFIG, "--new", 2, "--past", 100, "--compare-kv", "bf16,fp8", "--json").stdout)
        self.assertEqual([row["kv"] for row in document["compare_kv"]], ["bf16", "fp8"] * 3)
        for row in document["compare_kv"]:
            self.assertGreater(row["selection_overlap"], 0.5)

    def test_what_cannot_run_is_one_line(self):
        for args in (["deepseek-ai/DeepSeek-V3"], [CONFIG, "--heads", 3], [CONFIG, "--layer", 99], [CONFIG, "--weights", "/nowhere"]):
            result = run(*args)
            self.assertEqual(result.returncode, 1, args)
            self.assertRegex(result.stderr, r"\A(warning: .*\n)*error: .*\n\Z")
        for args in ([CONFIG, "--new", 0], [CONFIG, "--kv", "int4"], [CONFIG, "--device", "tpu"]):
            self.assertEqual(run(*args).returncode, 2, args)

    def test_gpu_runs_or_says_in_one_line_why_not(self):
        result = run(CONFIG, "--device", "gpu", "--past", 40, "--json")
        if result.returncode != 0:
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, r"\A(warning: .*\n)*error: .*\n\Z")


if __name__ == "__main__":
    unittest.main()
