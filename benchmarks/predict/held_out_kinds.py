#!/usr/bin/env python3
"""How well a kind of layer without rows is modelled: rows of one kind are hidden from their own table, and asked for.

    build/venv/bin/python3 benchmarks/predict/held_out_kinds.py build/release/tools/dsaperf/dsaperf --system h200_sxm

The cache format (from the other format's rows), the GEMM format and the architecture of every framework's tables; all else as
DeepSeek-V3.2 with fp8_block GEMMs, rows drawn at random (seed 1). Prints what held_out_cards.py prints.
"""
import argparse
import pathlib
import tempfile

import held_out_cards as cards
import pyarrow.compute as compute
import pyarrow.parquet as parquet

GLM, V32 = "GlmMoeDsaForCausalLM", "DeepseekV32ForCausalLM"
# What is hidden, as column and value; what else its rows must be.
CHANGES = {
    "cache fp8": (("kv_cache_dtype", "fp8"), {"architecture": V32, "gemm_type": "fp8_block"}),
    "cache bfloat16": (("kv_cache_dtype", "bfloat16"), {"architecture": V32, "gemm_type": "fp8_block"}),
    "GEMMs fp8_block": (("gemm_type", "fp8_block"), {"architecture": GLM}),
    "GEMMs bfloat16": (("gemm_type", "bfloat16"), {"architecture": GLM}),
    "architecture GLM-5": (("architecture", GLM), {"gemm_type": "fp8_block"}),
    "architecture DeepSeek-V3.2": (("architecture", V32), {"gemm_type": "fp8_block"}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--system", default="h200_sxm")
    parser.add_argument("--rows", type=int, default=200)
    arguments = parser.parse_args()
    print("| hidden | table | n | median / p90 % | in 90 % |\n| --- | --- | --- | --- | --- |")
    for name, ((column, value), others) in CHANGES.items():
        for backend in ("sglang", "vllm", "trtllm"):
            for phase in ("context", "generation"):
                with tempfile.TemporaryDirectory() as folder:
                    root = pathlib.Path(folder) / "systems"
                    root.mkdir()
                    cards.tree_of(root, arguments.system, arguments.system)
                    own = root / "data" / arguments.system / "sparse_attention"
                    found = sorted(own.glob(f"{backend}/*/dsa_{phase}_module_perf.parquet"))
                    if not found:
                        continue
                    table = parquet.read_table(found[-1])
                    hidden = compute.equal(table[column], value)
                    rows = [r for r in table.filter(hidden).to_pylist()
                            if "skip" not in r["op_name"] and r["latency"] > 0 and all(r[k] == v for k, v in others.items())]
                    kept = table.filter(compute.invert(hidden))
                    if not rows or not kept.num_rows:
                        continue
                    cards.random.Random(1).shuffle(rows)
                    own.unlink()  # a link to the whole family; only this table is there to answer
                    place = own / backend / found[-1].parent.name
                    place.mkdir(parents=True)
                    parquet.write_table(kept, place / found[-1].name)
                    answered = cards.ask(arguments.program, root, folder, arguments.system, backend, phase, rows[: arguments.rows])
                    if answered:
                        print(f"| {name} | {backend} {phase} | {cards.summary(answered)} |", flush=True)


if __name__ == "__main__":
    main()
