"""Fresh points against the real package: dsaperf query --method compatible and aiconfigurator 0.12 give the same number.

Run by a Python that has aiconfigurator_core (scripts/setup's environment); skips with a message where it is absent.
$DSAPERF is the program, $DSAPERF_SEED the seed (default: 1).
"""

import csv
import os
import random
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ["DSAPERF"]
SEED = int(os.environ.get("DSAPERF_SEED", "1"))
TOLERANCE = 1e-9  # the same arithmetic in doubles; only the order of a few sums may differ

try:
    from aiconfigurator_core.sdk import common, perf_database
    from aiconfigurator_core.sdk.engine import EngineHandle, build_ops_json
    from aiconfigurator_core.sdk.operations.dsa import ContextDSAModule, GenerationDSAModule
except ImportError as error:
    common = None
    WHY = f"aiconfigurator_core is not there ({error}); scripts/setup brings it"

COLUMNS = (
    "system,backend,version,architecture,phase,num_heads_local,kv_cache_dtype,fmha_dtype,gemm_dtype,batch,"
    "new_tokens_or_seq,prefix,full_layer_fraction,cp_size"
).split(",")
TABLES = (
    ("h200_sxm", "sglang", "current"),
    ("h200_sxm", "vllm", "current"),
    ("h200_sxm", "trtllm", "next"),
    ("h100_sxm", "sglang", "current"),
    ("b200_sxm", "sglang", "current"),
    ("gb200", "trtllm", "current"),
    ("b300_sxm", "vllm", "current"),
)


def draw(rng, table):
    system, backend, version = table
    architecture = rng.choice(("DeepseekV32ForCausalLM", "GlmMoeDsaForCausalLM"))
    shares = backend == "sglang" and architecture == "GlmMoeDsaForCausalLM" and rng.random() < 0.3
    context = rng.random() < 0.5
    length = int(2 ** rng.uniform(0, 15)) if context else int(2 ** rng.uniform(1, 18))
    return dict(
        zip(
            COLUMNS,
            (
                system, backend, version, architecture, "context" if context else "generation",
                rng.choice((1, 2, 4, 8, 12, 16, 24, 32, 64, 128)), rng.choice(("bfloat16", "fp8")), "bfloat16",
                rng.choice(("bfloat16", "fp8_block", "nvfp4") if system.startswith(("b", "gb")) else ("bfloat16", "fp8_block")),
                int(2 ** rng.uniform(0, 9)), length,
                rng.choice((0, 0, int(2 ** rng.uniform(0, 18)))) if context else 0, 21 / 78 if shares else 1.0, 1,
            ),
        )
    )


def peer(engines, row):
    """aiconfigurator's answer in ms, or None for an error."""
    key = (row["system"], row["backend"], row["version"])
    if key not in engines:
        database = perf_database.get_database_view(*key)
        engines[key] = EngineHandle.for_database(database, systems_path=database.systems_root)
    kv = getattr(common.KVCacheQuantMode, row["kv_cache_dtype"])
    gemm = getattr(common.GEMMQuantMode, row["gemm_dtype"])
    extra = {"architecture": row["architecture"]}
    if row["full_layer_fraction"] != 1.0:
        extra["dsa_full_layer_fraction"] = row["full_layer_fraction"]
    heads = row["num_heads_local"]
    try:
        if row["phase"] == "context":
            op = ContextDSAModule("op", 1.0, heads, kv, common.FMHAQuantMode.bfloat16, gemm, **extra)
            answer = engines[key].evaluate_ops_json(
                build_ops_json([op]), is_context=True, batch_size=row["batch"], s=row["new_tokens_or_seq"], prefix=row["prefix"]
            )
        else:
            op = GenerationDSAModule("op", 1.0, heads, kv, gemm, **extra)
            answer = engines[key].evaluate_ops_json(
                build_ops_json([op]), is_context=False, batch_size=row["batch"], s=row["new_tokens_or_seq"]
            )
    except Exception:  # the package's typed errors have no public base
        return None
    return answer[0][1]


@unittest.skipIf(common is None, globals().get("WHY", ""))
class FreshPointsTest(unittest.TestCase):
    def test_freshly_drawn_points_agree_with_the_package(self):
        rng = random.Random(SEED)
        rows = [draw(rng, table) for table in TABLES for _ in range(60)]
        systems = os.path.join(os.path.dirname(sys.modules["aiconfigurator_core"].__file__), "systems")
        with tempfile.TemporaryDirectory() as folder:
            question, answer = os.path.join(folder, "in.csv"), os.path.join(folder, "out.csv")
            with open(question, "w", newline="") as f:
                writer = csv.DictWriter(f, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
            subprocess.run(
                [PROGRAM, "query", "--method", "compatible", "--systems", systems, "--from", question, "-o", answer],
                check=True, capture_output=True, timeout=120,
            )
            with open(answer, newline="") as f:
                ours = list(csv.DictReader(f))
        engines, answered = {}, 0
        for row, own in zip(rows, ours, strict=True):
            with self.subTest(seed=SEED, **row):
                due = peer(engines, row)
                if due is None:
                    self.assertEqual(own["predicted_ms"], "")
                else:
                    answered += 1
                    self.assertNotEqual(own["predicted_ms"], "", own["predicted_error"])
                    self.assertLess(abs(float(own["predicted_ms"]) / due - 1), TOLERANCE)
        self.assertGreater(answered, len(rows) // 4)


if __name__ == "__main__":
    unittest.main()
