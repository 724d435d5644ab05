#!/usr/bin/env python3
"""Time of one DSA operator, ours and aiconfigurator's engine, at the same distinct points in one run.

    build/venv/bin/python3 benchmarks/predict/speed.py build/release/benchmarks/predict/predict_bench -o benchmarks/results/cpu/predict.json

SGLang's tables of h200_sxm, DeepSeek-V3.2, fp8 cache. Inside: drawn between rows of the tables; outside: beyond the
largest past or batch. Ours states an interval, the peer none; both are warm (each point was asked before) and both are
called in process, the peer through its Python entry (evaluate_ops_json), the only one it has.
"""
import argparse
import json
import platform
import random
import statistics
import subprocess
import tempfile
import time

from aiconfigurator_core.sdk import common, perf_database
from aiconfigurator_core.sdk.engine import EngineHandle, build_ops_json
from aiconfigurator_core.sdk.operations.dsa import ContextDSAModule, GenerationDSAModule

HEADS = 16


def points(count, seed=7):
    """(phase, where, heads, batch, new, past), all different."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        out.append(("context", "inside", HEADS, 1, rng.randint(65, 4000), rng.randint(2100, 30000)))
    for _ in range(count):
        out.append(("context", "outside", HEADS, 1, rng.randint(65, 4000), rng.randint(200000, 900000)))
    for _ in range(count):
        out.append(("generation", "inside", HEADS, rng.randint(1, 16), 1, rng.randint(2100, 8000)))
    for _ in range(count):
        out.append(("generation", "outside", HEADS, rng.randint(1, 16), 1, rng.randint(200000, 900000)))
    return out


def peer_times(drawn):
    cache, attention, gemm = common.KVCacheQuantMode.fp8, common.FMHAQuantMode.bfloat16, common.GEMMQuantMode.fp8_block
    database = perf_database.get_database_view("h200_sxm", "sglang", "current")
    handle = EngineHandle.for_database(database, systems_path=database.systems_root)
    name = "DeepseekV32ForCausalLM"
    context = build_ops_json([ContextDSAModule("op", 1.0, HEADS, cache, attention, gemm, architecture=name)])
    generation = build_ops_json([GenerationDSAModule("op", 1.0, HEADS, cache, gemm, architecture=name)])

    def ask(p):
        phase, _, _, batch, new, past = p
        if phase == "context":
            return handle.evaluate_ops_json(context, is_context=True, batch_size=batch, s=new, prefix=past)
        return handle.evaluate_ops_json(generation, is_context=False, batch_size=batch, s=past + 1)

    groups = {}
    for p in drawn:
        groups.setdefault(f"{p[0]} {p[1]}", []).append(p)
    result = {}
    for group, members in groups.items():
        for p in members:
            ask(p)
        runs = []
        for _ in range(5):
            start = time.perf_counter()
            for p in members:
                ask(p)
            runs.append((time.perf_counter() - start) / len(members) * 1e6)
        result[group] = round(statistics.median(runs), 3)
    return result


def cpu_name():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("-o", "--output")
    parser.add_argument("--points", type=int, default=300)
    arguments = parser.parse_args()
    drawn = points(arguments.points)
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as f:
        f.writelines(",".join(map(str, p)) + "\n" for p in drawn)
        f.flush()
        ours = json.loads(subprocess.run([arguments.program, f.name], check=True, capture_output=True, text=True).stdout)
    peer = peer_times(drawn)
    from importlib.metadata import version

    document = {
        "format": "dsaperf.benchmark.predict.1",
        "cpu": cpu_name(),
        "peer": "aiconfigurator-core " + version("aiconfigurator-core"),
        "load_ms": ours["load_ms"],
        "resident_mib": ours["resident_mib"],
        "rows": [{"case": g, "points": v["points"], "ours_us": v["us"], "peer_us": peer[g],
                  "ratio": round(peer[g] / v["us"], 2)} for g, v in ours["groups"].items()],
    }
    text = json.dumps(document, indent=2) + "\n"
    if arguments.output:
        with open(arguments.output, "w") as f:
            f.write(text)
    print(text, end="")


if __name__ == "__main__":
    main()
