#!/usr/bin/env python3
"""How much longer one host takes than another to launch a layer's kernels one by one: host_launch of data/systems.

    build/venv/bin/python3 benchmarks/predict/host_launch.py gb300:b300_sxm gb200:b200_sxm -o benchmarks/results/host/host_launch.json

Ratios of the same rows (full layers) of two cards' prefill tables, few tokens (kernels short: the host is waited for) and many (the kernels
are). A graph is replayed in TensorRT-LLM's tables: there the ratio of few tokens is that of the kernels.
"""
import argparse
import pathlib
import statistics
import sys

import aiconfigurator_core
import pyarrow.parquet as parquet

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import record  # noqa: E402

SYSTEMS = pathlib.Path(aiconfigurator_core.__file__).parent / "systems"
KEY = ("architecture", "op_name", "gemm_type", "kv_cache_dtype", "num_heads", "batch_size", "isl", "step")
TOKENS = {"up to 256": (0, 256), "257 to 4096": (257, 4096), "8192 and more": (8192, 1 << 40)}


def rows_of(system, backend):
    found = sorted((SYSTEMS / "data" / system / "sparse_attention" / backend).glob("*/dsa_context_module_perf.parquet"))
    return {tuple(r[k] for k in KEY): r["latency"] for r in parquet.read_table(found[-1]).to_pylist()
            if r["latency"] > 0 and "skip" not in r["op_name"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("-o", "--output", help="also write a record")
    arguments = parser.parse_args()
    found = []
    print("| cards | framework | new tokens of the pass | rows | 10th, 50th, 90th percentile of the ratio |\n| --- | --- | --- | --- | --- |")
    for pair in arguments.pairs:
        one, other = pair.split(":")
        for backend in ("sglang", "vllm", "trtllm"):
            a, b = rows_of(one, backend), rows_of(other, backend)
            for name, (low, high) in TOKENS.items():
                ratios = [a[k] / b[k] for k in a.keys() & b.keys() if low <= k[KEY.index("batch_size")] * k[KEY.index("isl")] <= high]
                if len(ratios) < 10:
                    continue
                cuts = statistics.quantiles(ratios, n=10)
                print(f"| {one} / {other} | {backend} | {name} | {len(ratios)} | {cuts[0]:.2f}, {cuts[4]:.2f}, {cuts[8]:.2f} |", flush=True)
                found.append({"cards": f"{one} / {other}", "framework": backend, "new_tokens": name, "rows": len(ratios),
                              "p10": round(cuts[0], 3), "p50": round(cuts[4], 3), "p90": round(cuts[8], 3)})
    if arguments.output:
        record.write(arguments.output, {
            "format": "dsaperf.benchmark.host_launch.1",
            "command": f"benchmarks/predict/host_launch.py {' '.join(arguments.pairs)} -o {arguments.output}",
            "tables": "newest versions of aiconfigurator-core 0.12.0"}, found)


if __name__ == "__main__":
    main()
