#!/usr/bin/env python3
"""Our rows, exported, are what the real AIConfigurator answers with.

    round_trip_test.py PROGRAM

Collects with the fake timing source, exports as a system of its own and asks the PyPI package: single
operators at every exported point, and the command line's estimate where the full package is installed.
AIConfigurator caches tables by path, so each case has a folder of its own.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv[1])

try:
    from aiconfigurator_core.sdk import common, perf_database
    from aiconfigurator_core.sdk.engine import EngineHandle, build_ops_json
    from aiconfigurator_core.sdk.operations.dsa import ContextDSAModule, GenerationDSAModule
except ImportError:
    perf_database = None

ARCHITECTURES = {"deepseek-ai/DeepSeek-V3.2": "DeepseekV32ForCausalLM", "zai-org/GLM-5": "GlmMoeDsaForCausalLM"}
GRID = """
context: [{batch: [1, 4], new: [1, 512, 2048, 4096], past: [0, 4096]}]
generation: [{batch: [1, 8, 64], past: [127, 2047, 4095, 32767]}]
"""


def dsaperf(*arguments):
    result = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        raise AssertionError(f"{arguments}: exit {result.returncode}: {result.stderr}")
    return result


@unittest.skipIf(perf_database is None, "aiconfigurator-core is not installed (scripts/setup installs it)")
class RoundTripTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.rows = os.path.join(folder.name, "rows")
        self.root = os.path.join(folder.name, "systems")
        self.grid = os.path.join(folder.name, "grid.yaml")
        with open(self.grid, "w") as grid:
            grid.write(GRID)

    def collect_and_export(self, model, heads, *axes):
        dsaperf("collect", model, "-o", self.rows, "--grid", self.grid, "--heads", heads, "--timing", "fake",
                *axes)
        exported = dsaperf("db", "export", self.rows, "--aiconfigurator", self.root, "--allow-fake", "--json")
        return json.loads(exported.stdout)

    def measured(self):
        """(id, warm median in ms) of each row in the journal."""
        with open(os.path.join(self.rows, "rows.jsonl")) as journal:
            entries = {row["id"]: row for row in map(json.loads, journal.read().splitlines()[1:])}
        return [(key, row["measurement"]["warm"]["median_us"] / 1000) for key, row in entries.items()]

    def check_operators(self, model):
        perf_database.set_systems_paths(self.root)
        database = perf_database.get_database_view("h200_sxm_dsaperf", "sglang", "current")
        self.assertIsNotNone(database)
        engine = EngineHandle.for_database(database, systems_path=database.systems_root)
        caches = {"kv_bf16": common.KVCacheQuantMode.bfloat16, "kv_fp8": common.KVCacheQuantMode.fp8}
        gemms = {"gemm_bf16": common.GEMMQuantMode.bfloat16, "gemm_fp8_block": common.GEMMQuantMode.fp8_block}
        rows = self.measured()
        self.assertGreater(len(rows), 20)
        for key, expected in rows:
            phase, requests, heads, cache, gemm, *_ = key.split("/")
            batch, rest = requests.split("x")
            new, past = map(int, rest.split("+"))
            common_arguments = dict(architecture=ARCHITECTURES[model])
            if phase == "context":
                operator = ContextDSAModule("op", 1.0, int(heads[1:]), caches[cache],
                                            common.FMHAQuantMode.bfloat16, gemms[gemm], **common_arguments)
                answer = engine.evaluate_ops_json(build_ops_json([operator]), is_context=True,
                                                  batch_size=int(batch), s=new, prefix=past)
            else:
                operator = GenerationDSAModule("op", 1.0, int(heads[1:]), caches[cache], gemms[gemm],
                                               **common_arguments)
                answer = engine.evaluate_ops_json(build_ops_json([operator]), is_context=False,
                                                  batch_size=int(batch), s=past + 1)
            self.assertAlmostEqual(answer[0][1] / expected, 1, delta=1e-9, msg=key)
            self.assertEqual(answer[0][3], "silicon", key)

    def test_single_operators_of_deepseek_v32_are_our_numbers(self):
        self.collect_and_export("deepseek-ai/DeepSeek-V3.2", "16,128", "--kv", "bf16,fp8")
        self.check_operators("deepseek-ai/DeepSeek-V3.2")

    def test_single_operators_of_glm_5_are_our_numbers(self):
        self.collect_and_export("zai-org/GLM-5", "8,64", "--kv", "bf16,fp8", "--gemm", "bf16,fp8_block")
        self.check_operators("zai-org/GLM-5")

    def test_estimate_uses_our_tables(self):
        program = os.path.join(os.path.dirname(sys.executable), "aiconfigurator")
        if not os.path.exists(program):
            self.skipTest("the aiconfigurator program is not installed")
        self.collect_and_export("deepseek-ai/DeepSeek-V3.2", "16", "--kv", "bf16,fp8")
        command = [program, "cli", "estimate", "--systems-paths", self.root, "--model-path",
                   "deepseek-ai/DeepSeek-V3.2", "--system", "h200_sxm_dsaperf", "--backend", "sglang", "--tp", "8",
                   "--etp", "8", "--ep", "1", "--isl", "4096", "--osl", "256", "--batch-size", "1",
                   "--estimate-mode", "static", "--detail", "time,source"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        # 61 layers of the exported point: 1 x 4096 + 0, 16 heads, fp8 cache.
        layer = dict(self.measured())["context/1x4096+0/h16/kv_fp8/gemm_fp8_block/full/model_like/graph"]
        line = next(line for line in result.stdout.splitlines() if "context_attention" in line)
        number = next(float(word.replace(",", "")) for word in line.replace("│", " ").replace("|", " ").split()
                      if word.replace(",", "").replace(".", "", 1).isdigit())
        self.assertAlmostEqual(number / (61 * layer), 1, delta=1e-3, msg=line)

    def test_warns_of_slices_that_checkpoints_ask_for(self):
        report = self.collect_and_export("zai-org/GLM-5", "64")
        text = "\n".join(report["warnings"])
        self.assertIn("no gemm bfloat16 rows", text)
        self.assertIn("no skip_indexer rows", text)

    def test_made_up_times_are_not_exported_unasked(self):
        dsaperf("collect", "zai-org/GLM-5", "-o", self.rows, "--grid", self.grid, "--timing", "fake")
        result = subprocess.run([PROGRAM, "db", "export", self.rows, "--aiconfigurator", self.root],
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("made up", result.stderr)
        self.assertFalse(glob.glob(os.path.join(self.root, "*.yaml")))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
