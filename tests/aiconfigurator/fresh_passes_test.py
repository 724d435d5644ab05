"""Fresh deployments against the real package: estimate --method compatible and cli_estimate give the same TTFT and TPOT; of
workers of their own for prefill and decode also the same throughput, memory and requests. Every second layout has its
experts over several nodes, so by DeepEP's exchanges.

Run by a Python that has aiconfigurator 0.12 (`pip install aiconfigurator==0.12.0`); skips with a message where it is
absent. $DSAPERF is the program, $DSAPERF_SEED the seed (default: 1), $DSAPERF_POINTS how many points (default: 6; the
package takes about a second for each).
"""

import json
import os
import random
import subprocess
import sys
import unittest

PROGRAM = os.environ["DSAPERF"]
SEED = int(os.environ.get("DSAPERF_SEED", "1"))
POINTS = int(os.environ.get("DSAPERF_POINTS", "6"))
TOLERANCE = 1e-6  # the same arithmetic; the package rounds some counts through floats

try:
    from aiconfigurator.cli.api import cli_estimate
    import aiconfigurator_core
    from aiconfigurator_core.sdk.errors import PerfDataNotAvailableError
except ImportError as error:
    cli_estimate = None
    WHY = f"aiconfigurator is not there ({error}); pip install aiconfigurator==0.12.0"

LAYOUTS = ((8, 1, 8, 1), (8, 1, 1, 8), (1, 8, 1, 8), (2, 4, 1, 8), (8, 1, 2, 4))  # tp, dp, moe_tp, moe_ep
WIDE = ((1, 16, 1, 16), (2, 8, 1, 16), (8, 2, 1, 16), (1, 32, 1, 32), (4, 8, 1, 32))  # experts over two nodes and four
# What has tables there: TensorRT-LLM's on Hopper have no FP8 cache.
BACKENDS = (
    ("sglang", "h200_sxm", ("deepseek-ai/DeepSeek-V3.2", "zai-org/GLM-5-FP8", "deepseek-ai/DeepSeek-V3")),
    ("vllm", "h200_sxm", ("deepseek-ai/DeepSeek-V3.2", "zai-org/GLM-5-FP8")),
    ("trtllm", "b200_sxm", ("deepseek-ai/DeepSeek-V3.2", "nvidia/GLM-5-NVFP4")),
)


def draw(rng, number):
    backend, system, models = BACKENDS[number % len(BACKENDS)]
    tp, dp, moe_tp, moe_ep = rng.choice(layouts(number))
    return {
        "model": rng.choice(models), "backend": backend, "system": system, "mode": rng.choice(("agg", "static")),
        "tp": tp, "dp": dp, "moe_tp": moe_tp, "moe_ep": moe_ep,
        "batch": rng.choice((1, 2, 5, 16, 40)), "isl": int(2 ** rng.uniform(8, 14)), "osl": int(2 ** rng.uniform(3, 10)),
    }


def layouts(number):
    return LAYOUTS if number % 2 else WIDE


def draw_disaggregated(rng, number):
    """Prefill and decode workers with a layout each; speculation in every third."""
    point = draw(rng, number)
    for side in "pd":
        point[side] = dict(zip(("tp", "dp", "moe_tp", "moe_ep"), rng.choice(layouts(number))), workers=rng.choice((1, 2, 5)), batch=rng.choice((1, 3, 8)))
    point |= {"mode": "disagg", "accepted": rng.choice((0, 0, 0.7))}
    return point


def ours_disaggregated(point):
    p, d = point["p"], point["d"]
    command = [
        PROGRAM, "estimate", point["model"], "--method", "compatible", "--json", "--system", point["system"], "--backend", point["backend"],
        "--mode", "disagg", "--systems", os.path.join(os.path.dirname(aiconfigurator_core.__file__), "systems"), "--isl", str(point["isl"]),
        "--osl", str(point["osl"]), "--concurrency", str(d["batch"] * d["dp"] * d["workers"]), "--prefill-batch", str(p["batch"]),
    ]
    for name, side in (("prefill", p), ("decode", d)):
        for flag, key in (("tp", "tp"), ("dp", "dp"), ("moe-tp", "moe_tp"), ("ep", "moe_ep"), ("workers", "workers")):
            command += [f"--{name}-{flag}", str(side[key])]
    if point["accepted"]:
        command += ["--mtp", "1", "--mtp-accepted", str(point["accepted"])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else {"fits": None, "reason": done.stderr}


def peer_disaggregated(point):
    """Whether it fits (None: the tables lack a layout), and the package's row."""
    sides = {}
    for name, key in (("prefill", "p"), ("decode", "d")):
        side = point[key]
        sides |= {f"{name}_tp_size": side["tp"], f"{name}_attention_dp_size": side["dp"], f"{name}_moe_tp_size": side["moe_tp"],
                  f"{name}_moe_ep_size": side["moe_ep"], f"{name}_batch_size": side["batch"], f"{name}_num_workers": side["workers"]}
    speculation = {"nextn": 1, "nextn_accepted": point["accepted"]} if point["accepted"] else {}
    try:
        return True, cli_estimate(point["model"], point["system"], mode="disagg", backend_name=point["backend"], isl=point["isl"],
                                  osl=point["osl"], **sides, **speculation).raw
    except PerfDataNotAvailableError:
        return None, {}
    except RuntimeError as error:
        if "OOM" not in str(error):
            raise
        return False, {}


def ours(point):
    command = [
        PROGRAM, "estimate", point["model"], "--method", "compatible", "--json", "--system", point["system"], "--backend", point["backend"],
        "--mode", point["mode"], "--systems", os.path.join(os.path.dirname(aiconfigurator_core.__file__), "systems"),
    ]
    sizes = {"tp": point["tp"], "dp": point["dp"], "moe-tp": point["moe_tp"], "ep": point["moe_ep"], "isl": point["isl"],
             "osl": point["osl"], "concurrency": point["batch"] * point["dp"]}
    for name, value in sizes.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)["closed_form"] if done.returncode == 0 else None


def peer(point):
    """The package's answer; None where its tables lack the layout, False where it does not fit."""
    try:
        return cli_estimate(
            point["model"], point["system"], mode=point["mode"], backend_name=point["backend"], tp_size=point["tp"], attention_dp_size=point["dp"],
            moe_tp_size=point["moe_tp"], moe_ep_size=point["moe_ep"], isl=point["isl"], osl=point["osl"], batch_size=point["batch"],
        )
    except PerfDataNotAvailableError:
        return None
    except RuntimeError as error:
        if "OOM" not in str(error):
            raise
        return False


@unittest.skipIf(cli_estimate is None, globals().get("WHY", ""))
class FreshPassesTest(unittest.TestCase):
    def test_freshly_drawn_deployments_agree_with_the_package(self):
        rng = random.Random(SEED)
        answered = 0
        for number in range(POINTS):
            point = draw(rng, number)
            due = peer(point)
            with self.subTest(seed=SEED, **point):
                own = ours(point)
                self.assertEqual(own is None, due is None)
                if not due:
                    continue
                answered += 1
                for name, theirs in (("ttft_ms", due.ttft), ("tpot_ms", due.tpot)):
                    self.assertLess(abs(own[name] - theirs), max(TOLERANCE * theirs, 5.1e-4), name)  # rounded to three decimals
        self.assertGreater(answered, 0)

    def test_freshly_drawn_disaggregated_workers_agree_with_the_package(self):
        rng = random.Random(SEED + 1000)
        fit = 0
        for number in range(POINTS):
            point = draw_disaggregated(rng, number)
            with self.subTest(seed=SEED, **point):
                fits, due = peer_disaggregated(point)
                own = ours_disaggregated(point)
                self.assertEqual(own["fits"], fits, own["reason"])
                if not fits:
                    continue
                fit += 1
                # The package rounds to three decimals; its TTFT is 1.8 of a number that was rounded before, its TPOT one that was divided.
                for theirs, value in (("ttft", own["ttft_ms"]), ("tpot", own["tpot_ms"]), ("tokens/s", own["output_tok_s"]),
                                      ("tokens/s/gpu", own["output_tok_s_per_gpu"]), ("concurrency", own["concurrency"]),
                                      ("num_total_gpus", own["gpus"]), ("(p)memory", own["prefill_memory"]["total"]),
                                      ("(d)memory", own["memory"]["total"])):
                    self.assertLess(abs(value - due[theirs]), max(TOLERANCE * due[theirs], 1.5e-3), theirs)
        self.assertGreater(fit, 0)


if __name__ == "__main__":
    unittest.main()
