#!/usr/bin/env python3
"""Time of one DSA operator, ours and aiconfigurator's engine, at the same distinct points in one run; and of fitting a table.

    build/venv/bin/python3 benchmarks/predict/speed.py build/release/benchmarks/predict/predict_bench \\
        --fit build/release/tools/dsaperf/dsaperf -o benchmarks/results/host/predict_speed.json

SGLang's tables of h200_sxm, DeepSeek-V3.2, fp8 cache. Inside: drawn between rows of the tables; outside: beyond the
largest past or batch. Ours states an interval, the peer none; both are warm (each point was asked before) and both are
called in process, the peer through its Python entry (evaluate_ops_json), the only one it has. load_ms: both DSA tables of
SGLang, until each has answered, prepared by a run before; first_load_ms: of that run.

--fit: SGLang's prefill table of h200_sxm, the largest, every latency 0.1 % longer so that no parameters are known of it, on one
core: until all its parts are fitted and kept, and once more.
"""
import argparse
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import aiconfigurator_core
import pyarrow.compute
import pyarrow.parquet
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


def fit_times(program):
    """Seconds on one core for a table never seen before, and for the same again."""
    systems = pathlib.Path(aiconfigurator_core.__file__).parent / "systems"
    folder = systems / "data/h200_sxm/sparse_attention/sglang"
    table = max(folder.glob("*/dsa_context_module_perf.parquet"), key=lambda path: path.stat().st_size)
    with tempfile.TemporaryDirectory() as root:
        copy = pathlib.Path(root) / "systems" / table.relative_to(systems)
        copy.parent.mkdir(parents=True)
        shutil.copy(systems / "h200_sxm.yaml", pathlib.Path(root) / "systems")
        rows = pyarrow.parquet.read_table(table)
        at = rows.schema.get_field_index("latency")
        pyarrow.parquet.write_table(rows.set_column(at, "latency", pyarrow.compute.multiply(rows["latency"], 1.001)), copy)
        command = [program, "db", "prepare", "--systems", f"{root}/systems", "--system", "h200_sxm", "--backend", "sglang",
                   "--phase", "context", "--json"]
        core = {min(os.sched_getaffinity(0))}
        times, documents = [], []
        for _ in range(2):
            start = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": root},
                                  preexec_fn=lambda: os.sched_setaffinity(0, core))
            times.append(round(time.perf_counter() - start, 2))
            documents.append(json.loads(done.stdout))
    return {"table": f"sglang {table.parent.name} context", "rows": rows.num_rows, "seconds": times[0], "again_seconds": times[1],
            "fitted": [d["fitted"] for d in documents]}


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
    parser.add_argument("--fit", metavar="DSAPERF", help="time a fit by this program too")
    parser.add_argument("--points", type=int, default=300)
    arguments = parser.parse_args()
    drawn = points(arguments.points)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "points.csv"
        path.write_text("".join(",".join(map(str, p)) + "\n" for p in drawn))
        first, ours = (json.loads(subprocess.run([arguments.program, path], check=True, capture_output=True, text=True,
                                                 env={**os.environ, "XDG_CACHE_HOME": folder}).stdout) for _ in range(2))
    peer = peer_times(drawn)
    from importlib.metadata import version

    document = {
        "format": "dsaperf.benchmark.predict.1",
        "command": " ".join(["benchmarks/predict/speed.py", *sys.argv[1:]]),
        "commit": subprocess.run(["git", "-C", pathlib.Path(__file__).parent, "rev-parse", "--short", "HEAD"], check=True,
                                 capture_output=True, text=True).stdout.strip(),
        "cpu": cpu_name(),
        "peer": "aiconfigurator-core " + version("aiconfigurator-core"),
        "first_load_ms": first["load_ms"],
        "load_ms": ours["load_ms"],
        "resident_mib": ours["resident_mib"],
        "rows": [{"case": g, "points": v["points"], "ours_us": v["us"], "peer_us": peer[g],
                  "ratio": round(peer[g] / v["us"], 2)} for g, v in ours["groups"].items()],
    }
    if arguments.fit:
        document["fit"] = fit_times(arguments.fit)
    text = json.dumps(document, indent=2) + "\n"
    if arguments.output:
        with open(arguments.output, "w") as f:
            f.write(text)
    print(text, end="")


if __name__ == "__main__":
    main()
