#!/usr/bin/env python3
"""How well a card without DSA tables is modelled: its tables are hidden, and its rows asked for.

    build/venv/bin/python3 benchmarks/predict/held_out_cards.py build/release/tools/dsaperf/dsaperf h100_sxm:h200_sxm b200_sxm:gb200 \\
        --rows 200 -o benchmarks/results/host/held_out_cards.json

TARGET:DONOR pairs. Of both cards' folders only the donor's DSA tables and the target's figures are left to be found, so that
every answer is "modelled" from the donor's rows. DeepSeek-V3.2, fp8_block GEMMs, rows drawn at random (seed 1). Prints
absolute relative error, median / p90, and how many rows lie in their 90 % interval; of prefill once more for the rows beyond topk.
"""
import argparse
import csv
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

import aiconfigurator_core
import pyarrow.parquet as parquet

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import record  # noqa: E402

TOPK = 2048  # DeepSeek-V3.2's
SYSTEMS = pathlib.Path(aiconfigurator_core.__file__).parent / "systems"


def tree_of(root, target, donor):
    """A systems folder with the donor's DSA tables alone, by links."""
    for path in SYSTEMS.iterdir():
        if path.name != "data" and not (path.suffix == ".yaml" and path.stem not in (target, donor) and (SYSTEMS / "data" / path.stem).exists()):
            os.symlink(path, root / path.name)
    for system in (target, donor):
        (root / "data" / system).mkdir(parents=True)
        for family in (SYSTEMS / "data" / system).iterdir():
            if system == donor or family.name != "sparse_attention":
                os.symlink(family, root / "data" / system / family.name)


def rows_of(target, backend, phase, count):
    found = sorted((SYSTEMS / "data" / target / "sparse_attention" / backend).glob(f"*/dsa_{phase}_module_perf.parquet"))
    rows = [r for path in found[-1:] for r in parquet.read_table(path).to_pylist()]
    rows = [r for r in rows if r["architecture"] == "DeepseekV32ForCausalLM" and r["gemm_type"] == "fp8_block"
            and "skip" not in r["op_name"] and r["latency"] > 0]
    random.Random(1).shuffle(rows)
    return rows[:count]


def ask(program, root, folder, target, backend, phase, rows):
    """The program's answers to a table's rows, from the tables under `root`."""
    question, answer = pathlib.Path(folder) / "q.csv", pathlib.Path(folder) / "a.csv"
    with open(question, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow("system,backend,architecture,phase,num_heads_local,kv_cache_dtype,fmha_dtype,gemm_dtype,"
                     "batch,new_tokens_or_seq,prefix,measured_ms".split(","))
        for r in rows:
            length = r["isl"] if phase == "context" else r["isl"] + r["step"]
            out.writerow([target, backend, r["architecture"], phase, r["num_heads"], r["kv_cache_dtype"], r["mla_dtype"],
                          r["gemm_type"], r["batch_size"], length, r["step"] if phase == "context" else 0, r["latency"]])
    subprocess.run([program, "query", "--systems", root, "--from", question, "-o", answer], check=True, stdout=subprocess.DEVNULL)
    with open(answer) as f:
        answered = [r for r in csv.DictReader(f) if r["predicted_ms"]]
    assert all(r["predicted_source"] == "modelled" for r in answered)
    return answered


def summary(card, donor, table, answered):
    """Median and p90 of the absolute relative error in %, and how many rows in 100 lie in their interval."""
    errors = sorted(abs(float(r["predicted_ms"]) / float(r["measured_ms"]) - 1) * 100 for r in answered)
    covered = sum(float(r["predicted_low_ms"]) <= float(r["measured_ms"]) <= float(r["predicted_high_ms"]) for r in answered)
    return {"card": card, "rows_of": donor, "table": table, "n": len(errors), "median_pct": round(statistics.median(errors), 2),
            "p90_pct": round(errors[len(errors) * 9 // 10], 2), "coverage90_pct": round(100 * covered / len(errors), 1)}


def line(r):
    return (f"| {r['card']} | {r['rows_of']} | {r['table']} | {r['n']} | {r['median_pct']:.1f} / {r['p90_pct']:.1f} | "
            f"{r['coverage90_pct']:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("pairs", nargs="+")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("-o", "--output", help="also write a record")
    arguments = parser.parse_args()
    found = []
    print("| card | rows of | table | n | median / p90 % | in 90 % |\n| --- | --- | --- | --- | --- | --- |")
    for pair in arguments.pairs:
        target, donor = pair.split(":")
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder) / "systems"
            root.mkdir()
            tree_of(root, target, donor)
            for backend in ("sglang", "vllm", "trtllm"):
                for phase in ("context", "generation"):
                    rows = rows_of(target, backend, phase, arguments.rows)
                    if not rows:
                        continue
                    answered = ask(arguments.program, root, folder, target, backend, phase, rows)
                    if not answered:
                        sys.exit(f"error: none of {len(rows)} {backend} {phase} rows of {target} was answered from {donor}")
                    found.append(summary(target, donor, f"{backend} {phase}", answered))
                    print(line(found[-1]), flush=True)
                    beyond = [r for r in answered if int(r["new_tokens_or_seq"]) + int(r["prefix"]) > TOPK]
                    if phase == "context" and beyond:
                        found.append(summary(target, donor, f"{backend} {phase} beyond topk", beyond))
                        print(line(found[-1]), flush=True)
    if arguments.output:
        record.write(arguments.output, {
            "format": "dsaperf.benchmark.held_out_cards.1",
            "command": f"benchmarks/predict/held_out_cards.py DSAPERF {' '.join(arguments.pairs)} --rows {arguments.rows} -o {arguments.output}",
            "tables": "current versions of aiconfigurator-core 0.12.0"}, found)


if __name__ == "__main__":
    main()
