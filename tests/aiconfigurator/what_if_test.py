"""Another topk of DeepSeek-V3.2 on both sides of the step at topk tokens, on the tables of aiconfigurator_core.

Costs of attention grow with min(topk, total), nothing else does; the model's own topk changes nothing; answers that no
row gives say "modelled" and hold the figure in an interval. Skips with a message where aiconfigurator_core is absent.
"""

import json
import os
import subprocess
import unittest

PROGRAM = os.environ["DSAPERF"]

try:
    import aiconfigurator_core
except ImportError as error:
    aiconfigurator_core = None
    WHY = f"aiconfigurator_core is not there ({error}); scripts/setup brings it"

PASSES = [
    (4096, ["--new", "4096"]),
    (33792, ["--new", "1024", "--past", "32768"]),
    (6001, ["--phase", "generation", "--batch", "16", "--past", "6000"]),
]


def vary(backend, size, values):
    command = [PROGRAM, "query", "--backend", backend, "--heads", "16", *size, "--vary", "topk=" + "|".join(map(str, values)), "--json",
               "--systems", os.path.join(os.path.dirname(aiconfigurator_core.__file__), "systems")]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer, answer["vary"]


@unittest.skipIf(aiconfigurator_core is None, aiconfigurator_core is None and WHY)
class AnotherTopkTest(unittest.TestCase):
    def test_attention_pays_for_what_is_selected(self):
        for backend in ("sglang", "vllm", "trtllm"):
            for total, size in PASSES:
                with self.subTest(backend=backend, size=size):
                    values = [512, 1024, 2048, 4096, total, 2 * total]
                    answer, rows = vary(backend, size, values)
                    times = [row["latency_ms"] for row in rows]
                    self.assertEqual(times, sorted(times))
                    self.assertAlmostEqual(times[2], answer["latency_ms"], delta=1e-9 * times[2])
                    self.assertAlmostEqual(times[4], times[5], delta=1e-9 * times[5])  # no more tokens than there are
                    for topk, row in zip(values, rows):
                        if topk == 2048:
                            continue
                        self.assertEqual(row["source"], "modelled")
                        self.assertLess(row["low_ms"], row["latency_ms"])
                        self.assertLess(row["latency_ms"], row["high_ms"])
                        if abs(row["latency_ms"] / answer["latency_ms"] - 1) > 0.1:
                            self.assertEqual(row["stage"], "attention")

    def test_up_to_topk_nothing_is_selected(self):
        answer, rows = vary("sglang", ["--new", "1500"], [2048, 4096])
        for row in rows:
            self.assertAlmostEqual(row["latency_ms"], answer["latency_ms"], delta=1e-9 * answer["latency_ms"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
