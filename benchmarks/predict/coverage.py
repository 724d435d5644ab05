#!/usr/bin/env python3
"""How many rows left out with their slice lie in their 90 % interval, by regime and axis, and how sure that share is.

    for card in h200_sxm h100_sxm b200_sxm gb200 b300_sxm gb300; do
      dsaperf db loo --system $card --table "sglang current generation" --points 4000 --csv $card.csv; done
    benchmarks/predict/coverage.py *.csv

Rows of one slice (a head count of one kind of layer on one card) are missed together, so that they say little more than one:
the standard error is that of a mean over slices (a ratio estimate, its variance from the slices' totals).
"""
import argparse
import collections
import csv
import math

KIND = ("system", "backend", "version", "phase", "population", "architecture", "kv_cache_dtype", "gemm_dtype")
AXIS = {"heads": "heads", "batch": "batch", "new": "new_tokens", "past": "past_tokens"}


def slices_of(paths):
    """(regime, axis) -> slice -> [rows, of them in their interval]."""
    groups = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    for path in paths:
        with open(path) as f:
            for row in csv.DictReader(f):
                if row["method"] != "stages" or row["left_out"] != "slice":
                    continue
                kind = tuple(row[k] for k in KIND)
                counts = groups[row["regime"], row["axis"]][kind + (row[AXIS[row["axis"]]],)]
                counts[0] += 1
                counts[1] += float(row["low_ms"]) <= float(row["measured_ms"]) <= float(row["high_ms"])
    return groups


def share(slices):
    """Rows, share in the interval and its standard error, in %."""
    rows = sum(n for n, _ in slices)
    covered = sum(inside for _, inside in slices) / rows
    error = math.sqrt(sum((inside - covered * n) ** 2 for n, inside in slices)) / rows
    return rows, 100 * covered, 100 * error


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("points", nargs="+", help="files of `dsaperf db loo --csv`")
    print("| regime | left out | slices | rows | in 90 % |\n| --- | --- | --- | --- | --- |")
    for (regime, axis), slices in sorted(slices_of(parser.parse_args().points).items()):
        rows, covered, error = share(list(slices.values()))
        print(f"| {regime} | {axis} | {len(slices)} | {rows} | {covered:.1f} +- {error:.1f} |")


if __name__ == "__main__":
    main()
