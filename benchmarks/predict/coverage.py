#!/usr/bin/env python3
"""How many left-out rows lie in their 90 % interval, by table, regime and what was left out, and how sure that share is.

    benchmarks/predict/coverage.py build/release/tools/dsaperf/dsaperf -o benchmarks/results/host/coverage.json

`dsaperf db loo` on the current tables of six cards, all populations. A row is left out alone ("point") or with its slice: all rows that
share its value of an axis. Rows of one slice (a head count of one kind of layer on one card) are missed together, so that they say
little more than one: the standard error is that of a mean over slices (a ratio estimate, its variance from the slices' totals).

Widths come from the whole part, the rows asked for among them. "new_slices_pct" is what they would cover of slices they never saw: each slice's
intervals are scaled to what the other slices of its part and axis need (9 of 10 of their rows).
Prints what lies outside of 85 to 95 % by more than its standard error, and a table of the slices.
"""
import argparse
import collections
import concurrent.futures
import csv
import math
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import record  # noqa: E402

CARDS = ("h200_sxm", "h100_sxm", "b200_sxm", "gb200", "b300_sxm", "gb300")
TABLES = [f"{backend} current {phase}" for backend in ("sglang", "vllm", "trtllm") for phase in ("context", "generation")]
KIND = ("system", "backend", "version", "phase", "population", "architecture", "kv_cache_dtype", "gemm_dtype")
AXIS = {"heads": "heads", "batch": "batch", "new": "new_tokens", "past": "past_tokens"}
DUE = (85, 95)
ENOUGH = 10  # rows to measure a width


def read(path):
    with open(path) as f:
        return [row for row in csv.DictReader(f) if row["method"] == "stages"]


def left_out(program, card, points):
    with tempfile.NamedTemporaryFile(suffix=".csv") as f:
        command = [program, "db", "loo", "--system", card, "--points", str(points), "--csv", f.name]
        subprocess.run(command + [a for t in TABLES for a in ("--table", t)], check=True, stdout=subprocess.DEVNULL)
        return read(f.name)


def miss(row):
    """In half-widths of the interval."""
    measured, predicted, high = (float(row[k]) for k in ("measured_ms", "predicted_ms", "high_ms"))
    return abs(math.log(measured / predicted)) / math.log(high / predicted)


def groups_of(rows):
    """(table, regime, what was left out) -> slice (its part, then its value) -> misses of its rows. A point is a slice of its own."""
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for number, row in enumerate(rows):
        axis = row["axis"] or "point"
        value = row[AXIS[axis]] if row["axis"] else number
        groups[f"{row['backend']} {row['phase']}", row["regime"], axis][tuple(row[k] for k in KIND), value].append(miss(row))
    return groups


def share(slices):
    """Rows, share in the interval and its standard error, in %, of (rows, of them in the interval)."""
    rows = sum(n for n, _ in slices)
    covered = sum(inside for _, inside in slices) / rows
    error = math.sqrt(sum((inside - covered * n) ** 2 for n, inside in slices)) / rows
    return rows, 100 * covered, 100 * error


def within(misses, width):
    return len(misses), sum(m <= width for m in misses)


def by_other_slices(slices):
    """(rows, of them within the width that 9 of 10 rows of the other slices of their part need); slices without others left away."""
    parts = collections.defaultdict(list)
    for (part, _), misses in slices.items():
        parts[part].append(misses)
    found = []
    for of_part in parts.values():
        for i, misses in enumerate(of_part):
            others = sorted(m for j, other in enumerate(of_part) if j != i for m in other)
            if len(others) >= ENOUGH:
                found.append(within(misses, others[min(len(others), math.ceil(0.9 * (len(others) + 1))) - 1]))
    return found


def summary(cards, rows):
    out = []
    for (table, regime, axis), slices in sorted(groups_of(rows).items()):
        count, covered, error = share([within(misses, 1) for misses in slices.values()])
        row = {"cards": cards, "table": table, "regime": regime, "left_out": axis, "slices": len(slices), "n": count,
               "coverage90_pct": round(covered, 2), "standard_error_pct": round(error, 2)}
        if axis != "point" and (new := by_other_slices(slices)):
            row["new_slices_pct"] = round(share(new)[1], 2)
        out.append(row)
    return out


def slice_table(rows):
    """All cards, and h200_sxm beside them."""
    of = {(r["cards"], r["table"], r["regime"], r["left_out"]): r for r in rows if r["left_out"] != "point"}
    show = lambda r: f"{r['coverage90_pct']:.1f} +- {r['standard_error_pct']:.1f}"
    lines = ["| left out | slices | rows | in 90 % | of h200_sxm alone | of new slices |", "| --- | --- | --- | --- | --- | --- |"]
    for (cards, table, regime, axis), r in of.items():
        if cards == "all":
            name = f"{table}, {'up to' if regime == 'dense' else 'beyond'} topk: {axis}"
            alone = show(of["h200_sxm", table, regime, axis])
            lines.append(f"| {name} | {r['slices']} | {r['n']} | {show(r)} | {alone} | {r['new_slices_pct']:.1f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--points", type=int, default=2000, help="rows drawn of each population")
    arguments = parser.parse_args()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = dict(zip(CARDS, pool.map(lambda card: left_out(arguments.program, card, arguments.points), CARDS)))
    found = summary("all", [row for of_card in rows.values() for row in of_card])
    for card in CARDS:
        found += summary(card, rows[card])
    record.write(arguments.output, {
        "format": "dsaperf.benchmark.coverage.1",
        "command": f"benchmarks/predict/coverage.py DSAPERF -o {arguments.output} --points {arguments.points}",
        "tables": "current versions of aiconfigurator-core 0.12.0"}, found)
    for r in found:
        if r["coverage90_pct"] + r["standard_error_pct"] < DUE[0] or r["coverage90_pct"] - r["standard_error_pct"] > DUE[1]:
            print(f"outside: {r['cards']} {r['table']} {r['regime']}, {r['left_out']} left out: {r['coverage90_pct']:.1f} +- "
                  f"{r['standard_error_pct']:.1f} % of {r['n']} rows, {r['slices']} slices")
    print(slice_table(found))


if __name__ == "__main__":
    main()
