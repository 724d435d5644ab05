#!/usr/bin/env python3
"""Writes the record of left-out rows that docs/predict.md shows, and prints its table.

    benchmarks/predict/left_out.py build/release/tools/dsaperf/dsaperf -o benchmarks/results/host/left_out.json --csv points.csv
    build/venv/bin/python3 benchmarks/predict/loo_plots.py points.csv docs/images/predict
"""
import argparse
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import record  # noqa: E402

KEYS = ("table", "method", "left_out", "n", "median_pct", "p90_pct", "coverage90_pct")


def table(rows):
    """One line a table, both methods beside each other; points, then slices."""
    of = {(r["left_out"], r["table"], r["method"]): r for r in rows}
    lines = ["| left out | table | n | aiconfigurator | stages | in 90 % |", "| --- | --- | --- | --- | --- | --- |"]
    for left_out in ("point", "slice"):
        for r in rows:
            if r["left_out"] != left_out or r["method"] != "stages":
                continue
            peer = of[left_out, r["table"], "compatible"]
            lines.append(f"| {left_out} | {r['table']} | {r['n']} | {peer['median_pct']:.2f} / {peer['p90_pct']:.1f} | "
                         f"{r['median_pct']:.2f} / {r['p90_pct']:.1f} | {r['coverage90_pct']:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--csv", required=True, help="every row, for the pictures")
    parser.add_argument("--points", type=int, default=1500, help="rows drawn of each population")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing")
    arguments = parser.parse_args()
    command = ["db", "loo", "--points", str(arguments.points), "--seed", str(arguments.seed), "--csv", arguments.csv, "--json"]
    answer = subprocess.run([arguments.program, *command], check=True, capture_output=True, text=True)
    rows = json.loads(answer.stdout)["rows"]
    record.write(arguments.output, {
        "format": "dsaperf.benchmark.left_out.1",
        "command": "dsaperf " + " ".join(command),
        "tables": "h200_sxm of aiconfigurator-core 0.12.0",
        "peer": "method compatible: aiconfigurator 0.12's interpolation, equal to the package's engine (docs/predict.md)",
    }, [{k: round(r[k], 3) if isinstance(r[k], float) else r[k] for k in KEYS} for r in rows])
    print(table(rows))


if __name__ == "__main__":
    main()
