#!/usr/bin/env python3
"""docs/tables.md from the tables of `dsaperf collect`: what was measured, on what card in what state, how it spreads,
where a layer's time goes in each regime, and which stage is farthest from the front. Numbers are read, none is made up.

    tables_page.py FOLDER --card h200_sxm -o docs/tables.md

FOLDER holds rows.parquet files, at any depth (dsaperf.collect.table.1, docs/formats/collect.md).
"""
import argparse
import pathlib
import statistics
import sys

import pyarrow.parquet

FORMAT = "dsaperf.collect.table.1"
STAGES = ["qkv_a_projection", "norm_rope", "q_b_projection", "absorb", "cache_write", "indexer_projection",
          "indexer_quantise", "index_cache_write", "indexer_scores", "topk", "attention", "v_up", "o_projection"]
TOPK = 2048
BAR = 24


def read(path):
    file = pyarrow.parquet.read_table(path)
    about = {key.decode(): value.decode() for key, value in (file.schema.metadata or {}).items()}
    if about.get("format") != FORMAT:
        raise SystemExit(f"error: {path}: format '{about.get('format')}' is not {FORMAT}")
    return about, file.to_pylist()


def regime(row):
    if row["new_tokens"] < 0:
        return None  # ragged: of several regimes
    kind = "prefill" if row["phase"] == "context" else "decode"
    if row["new_tokens"] + row["past_tokens"] <= TOPK:
        return f"{kind}, dense"
    if kind == "prefill" and row["batch"] * row["new_tokens"] >= 8192:
        return "prefill, sparse, 8192 tokens and more"
    return f"{kind}, sparse"


def percent(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, round(q * (len(values) - 1)))]


def spread(rows):
    """Of measured rows: how far p10 and p90 lie from the median, and how repeats came out."""
    measured = [row for row in rows if not row["composed"]]
    if not measured:
        return None
    width = [(row["warm_p90_us"] - row["warm_p10_us"]) / 2 / row["warm_median_us"] for row in measured]
    repeats = [abs(row["repeat_ratio"] - 1) for row in measured if row["repeat_ratio"] > 0]
    return statistics.median(width), percent(width, 0.9), repeats


def table(header, rows):
    return "\n".join(["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"] +
                     ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def bar(share):
    return "█" * round(share * BAR)


def shares(rows):
    """Mean share of each stage in the stages' sum, of rows each counted once."""
    total = dict.fromkeys(STAGES, 0.0)
    for row in rows:
        whole = sum(row[f"{stage}_us"] for stage in STAGES)
        for stage in STAGES:
            total[stage] += row[f"{stage}_us"] / whole / len(rows)
    return total


def page(card, pieces):
    about = pieces[0][1]
    text = [f"# The shipped tables: {card}\n",
            f"Measured by `scripts/tables {card}` ({about['framework']} {about['version']}, method {about['method']}, "
            f"{about['device']}, driver {about['driver']}). [collect.md](collect.md) says how; times are of graph "
            "replay, warm, unless a table says another.\n"]
    listed = []
    for name, _, rows in pieces:
        found = spread(rows)
        checks = [abs(row["composed_warm_us"] / row["warm_median_us"] - 1)
                  for row in rows if not row["composed"] and row["composed_warm_us"] > 0]
        measured = [row for row in rows if not row["composed"]]
        listed.append([
            name, str(len(rows)), str(sum(row["composed"] for row in rows)),
            f"±{found[0]:.2%}, p90 ±{found[1]:.2%}" if found else "",
            f"{statistics.median(found[2]):.2%} of {len(found[2])}" if found and found[2] else "",
            f"{statistics.median(checks):.2%}, worst {max(checks):.2%} of {len(checks)}" if checks else "",
            " / ".join(str(x) for x in sorted({row["sm_mhz"] for row in measured})[:3]),
            f"{max((row['temperature_c'] for row in measured), default=0)}",
            str(sum(row["disturbed"] for row in measured))])
    text.append(table(["table", "rows", "of them sums", "half of p10 to p90, median", "repeated: median deviation",
                       "sums against whole", "SM MHz", "hottest C", "disturbed, taken again"], listed))
    text.append("## Where a layer's time goes\n")
    for name, table_about, rows in pieces:
        by_regime = {}
        for row in rows:
            if regime(row) and row["launch"] == "graph":
                by_regime.setdefault((regime(row), row["heads"], row["kv"], row["gemm"]), []).append(row)
        for (which, heads, kv, gemm), members in sorted(by_regime.items()):
            if not sum(sum(row[f"{stage}_us"] for stage in STAGES) for row in members):
                continue
            text.append(f"### {table_about['model']}, {which}: {heads} heads, cache {kv}, projections {gemm} ({name})\n")
            share = shares(members)
            top = sorted((stage for stage in STAGES if share[stage] >= 0.005), key=share.get, reverse=True)
            text.append(table(["stage", "mean share", ""],
                              [[stage, f"{share[stage]:.1%}", bar(share[stage])] for stage in top]))
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--card", required=True)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    files = sorted(arguments.folder.rglob("rows.parquet"))
    if not files:
        sys.exit(f"error: {arguments.folder}: no rows.parquet in it")
    pieces = [(file.parent.name, *read(file)) for file in files]
    arguments.output.write_text(page(arguments.card, pieces))


if __name__ == "__main__":
    main()
