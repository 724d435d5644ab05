#!/usr/bin/env python3
"""docs/tables.md from the tables of `dsaperf collect`: what was measured, on what card in what state, how it spreads, where a
layer's time goes in each regime and what limits it, and how it compares with AIConfigurator's rows. Numbers are read, none is made up.

    tables_page.py FOLDER --card h200_sxm -o docs/tables.md [--diff tables_diff.json] [--images docs/images/tables]

FOLDER holds tables (dsaperf.collect.table.1, docs/formats/collect.md): NAME.parquet, or NAME/rows.parquet. $DSAPERF is the program,
which says what bounds a stage. --images also draws (needs vl-convert-python, PyPI).
"""
import argparse
import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys

import pyarrow.parquet

FORMAT = "dsaperf.collect.table.1"
STAGES = ["qkv_a_projection", "norm_rope", "q_b_projection", "absorb", "cache_write", "indexer_projection",
          "indexer_quantise", "index_cache_write", "indexer_scores", "topk", "attention", "v_up", "o_projection"]
TOPK = 2048
LARGE = "prefill, sparse, 8192 tokens and more"
REGIMES = ["prefill, dense", "prefill, sparse", LARGE, "decode, dense", "decode, sparse"]
# Where what limits a layer is shown: phase, batch, new, past.
SHAPES = [("context", 1, 2048, 0), ("context", 1, 8192, 0), ("context", 1, 32768, 0), ("generation", 1, 1, 8191),
          ("generation", 32, 1, 8191), ("generation", 128, 1, 8191)]
TOP_STAGES = 4
MOST_BEHIND = 30


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
        return LARGE
    return f"{kind}, sparse"


def percent(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, round(q * (len(values) - 1)))]


def table(header, rows):
    return "\n".join(["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"] +
                     ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def listed(name, rows):
    """One line of what was measured and how it spreads."""
    measured = [row for row in rows if not row["composed"]]
    width = [(row["warm_p90_us"] - row["warm_p10_us"]) / 2 / row["warm_median_us"] for row in measured]
    interval = [row["warm_ci95"] for row in measured]
    repeats = [abs(row["repeat_ratio"] - 1) for row in measured if row["repeat_ratio"] > 0]
    sums = [abs(row["composed_warm_us"] / row["warm_median_us"] - 1) for row in measured if row["composed_warm_us"] > 0]
    clocks = sorted(row["sm_mhz"] for row in measured)
    return [name, len(rows), len(rows) - len(measured),
            f"±{statistics.median(width):.2%}, p90 ±{percent(width, 0.9):.2%}" if width else "",
            f"{sum(x <= 0.01 for x in interval) / len(interval):.1%}" if interval else "",
            f"{statistics.median(repeats):.2%} of {len(repeats)}" if repeats else "",
            f"{statistics.median(sums):.2%}, worst {max(sums):.2%} of {len(sums)}" if sums else "",
            f"{clocks[0]}-{clocks[-1]}" if clocks else "", f"{max((row['temperature_c'] for row in measured), default=0)}",
            sum(row["disturbed"] for row in measured)]


def shares(rows):
    """Mean share of each stage in the stages' sum, of rows each counted once."""
    total = dict.fromkeys(STAGES, 0.0)
    counted = 0
    for row in rows:
        whole = sum(row[f"{stage}_us"] for stage in STAGES)
        if whole <= 0:
            continue
        counted += 1
        for stage in STAGES:
            total[stage] += row[f"{stage}_us"] / whole
    return {stage: value / counted for stage, value in total.items()} if counted else None


def where_time_goes(groups):
    lines = []
    for (model, which, heads, kv, gemm, role), rows in groups:
        share = shares(rows)
        if share is None:
            continue
        top = sorted(STAGES, key=share.get, reverse=True)[:TOP_STAGES]
        lines.append([model, which, heads, kv, gemm, role, len(rows)] + [f"{stage} {share[stage]:.0%}" for stage in top])
    return table(["model", "regime", "heads", "cache", "projections", "indexer", "rows"] + ["most time", "then", "", ""], lines)


def bounds(program, model, row):
    command = [program, "query", model, "--stages", "--json", "--heads", row["heads"], "--batch", row["batch"], "--new", row["new_tokens"],
               "--past", row["past_tokens"], "--phase", row["phase"], "--kv", row["kv"]]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(run.stderr.strip())
    return {stage["name"]: stage for stage in json.loads(run.stdout)["stages"]}


def what_limits(program, pieces):
    lines = []
    for _, about, rows in pieces:
        for row in rows:
            shape = (row["phase"], row["batch"], row["new_tokens"], row["past_tokens"])
            if (row["composed"] or row["launch"] != "graph" or row["kv"] != "fp8" or row["gemm"] != "fp8_block" or
                    row["indexer_role"] != "full" or row["scores"] != "model_like" or shape not in SHAPES):
                continue
            by_stage = bounds(program, about["model"], row)
            whole = sum(stage["bound_us"] for stage in by_stage.values())
            top = sorted(by_stage, key=lambda stage: row[f"{stage}_us"], reverse=True)[:TOP_STAGES]
            phase = "prefill" if row["phase"] == "context" else "decode"
            tokens = f"{row['batch']} x {row['new_tokens']} after {row['past_tokens']}"
            lines.append((about["model"], -row["heads"], SHAPES.index(shape), [about["model"], row["heads"], f"{phase} {tokens}",
                          f"{row['warm_median_us']:.1f}", f"{row['warm_median_us'] / whole:.1f}"] +
                          [f"{stage}: {row[f'{stage}_us']:.1f} us, {by_stage[stage]['binds']} {by_stage[stage]['bound_us']:.1f}" for stage in top]))
    return table(["model", "heads", "pass", "us", "x bound"] + ["most time", "then", "", ""], [line[-1] for line in sorted(lines)])


def ratio(summary):
    return [summary["rows"], f"{summary['geometric_mean']:.2f}", f"{summary['ahead_share']:.1%}", f"{summary['least']:.2f}"]


def comparison(diff):
    text = ["## Beside AIConfigurator's rows\n",
            f"`{diff['command']}` compares with AIConfigurator's rows of {diff['card']} at the same shapes ("
            + ", ".join(f"{name} {version}" for name, version in diff["theirs"].items()) +
            "): whole layer, no all-reduce; theirs over ours, ours graph replay. Theirs hold the host's launches where the framework launches "
            "eagerly. [All groups and rows](../benchmarks/results/" + diff["card"] + "/tables_diff.json).\n"]
    large = next((key for key in diff if key.startswith("sparse_prefill_from")), None)
    lines = [["all", *ratio(diff["all"])]] + [[which, *ratio(summary)] for which, summary in diff["by_regime"].items()]
    if large and diff[large]:
        lines.append(["prefill, sparse, 8192 tokens and more", *ratio(diff[large])])
    text.append(table(["rows of", "rows", "geometric mean", "ahead", "least"], lines))
    text.append(table(["backend", "model", "regime", "heads", "cache", "projections", "rows", "geometric mean", "ahead", "least", "eager"],
                      [[g["backend"], g["model"], g["regime"], g["heads"], g["kv"], g["gemm"] + (", shared" if g["shared"] else ""), *ratio(g),
                        f"{g['eager']['geometric_mean']:.2f}" if g["eager"] else ""] for g in diff["groups"]]))
    behind = diff["behind"]
    text.append(f"Ours is behind in {len(behind)} of {diff['all']['rows']} rows.\n")
    if behind:
        lost = collections.Counter((row["regime"], row["stage"]) for row in behind).most_common()
        text.append("By the stage that is farthest above its bound, rows:\n")
        text.append(table(["regime", "stage", "rows"], [[which, stage, count] for (which, stage), count in lost]))
        text.append(f"The {MOST_BEHIND} worst; all are in the file above.\n")
        text.append(table(["backend", "model", "regime", "heads", "cache", "projections", "batch x new + past", "ours us", "theirs us", "ratio", "stage"],
                          [[r["backend"], r["model"], r["regime"], r["heads"], r["kv"], r["gemm"],
                            f"{r['batch']}x{r['new_tokens']}+{r['past_tokens']}", r["ours_us"], r["theirs_us"], r["ratio"],
                            f"{r['stage']} {r['stage_us']} us of {r['stage_bound_us']}"] for r in behind[:MOST_BEHIND]]))
    return "\n".join(text)


def draw(folder, name, values, specification):
    import vl_convert

    specification = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "data": {"values": values}, **specification}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(json.dumps(specification)))


def pictures(folder, groups, diff):
    """Names and captions of the pictures drawn."""
    drawn = []
    values = []
    for (model, which, heads, kv, gemm, role), rows in groups:
        share = shares(rows)
        if share is None or (kv, gemm, role) != ("fp8", "fp8_block", "full"):
            continue
        values += [{"layer": f"{model.split('/')[-1]}, {heads} heads", "regime": which, "order": REGIMES.index(which), "stage": stage,
                    "share": round(share[stage], 4)} for stage in STAGES if share[stage] > 0.002]
    if values:
        draw(folder, "stages", values, {
            "mark": "bar", "width": 420, "encoding": {
                "row": {"field": "layer", "title": None, "header": {"labelAngle": 0, "labelAlign": "left"}},
                "y": {"field": "regime", "title": None, "sort": {"field": "order"}},
                "x": {"field": "share", "type": "quantitative", "stack": "normalize", "title": "mean share of the layer's time", "axis": {"format": "%"}},
                "color": {"field": "stage", "title": None, "sort": STAGES, "scale": {"scheme": "tableau20"}}}})
        drawn.append(("stages", "Where a layer's time goes: fp8 cache, fp8_block projections"))
    if diff:
        values = [{"backend": g["backend"], "group": g["regime"], "heads": g["heads"], "model": g["model"].split("/")[-1], "ratio": g["geometric_mean"]}
                  for g in diff["groups"] if not g["shared"]]
        draw(folder, "ratios", values, {
            "mark": {"type": "point", "filled": True}, "width": 420, "encoding": {
                "row": {"field": "backend", "title": None, "header": {"labelAngle": 0, "labelAlign": "left"}},
                "y": {"field": "group", "title": None},
                "x": {"field": "ratio", "type": "quantitative", "scale": {"type": "log"}, "title": "theirs / ours, geometric mean of a group"},
                "color": {"field": "model", "title": None}, "size": {"field": "heads", "title": "heads"}}})
        drawn.append(("ratios", "AIConfigurator's rows over ours: a point for each head count, cache and projections"))
    return drawn


def eager_beside_graph(pieces):
    """Of rows that were measured both ways, by model, heads, cache and regime: what launching kernel by kernel adds. None where there are none."""
    axes = ("phase", "requests", "heads", "kv", "gemm", "indexer_role", "scores")
    rows = {}
    for _, about, measured in pieces:
        for row in measured:
            key = (about["model"], *(row[axis] for axis in axes))
            if not row["composed"]:
                rows.setdefault(key, {})[row["launch"]] = row
    groups = {}
    for key, pair in rows.items():
        if len(pair) == 2 and regime(pair["graph"]):
            groups.setdefault((key[0], pair["graph"]["heads"], pair["graph"]["kv"], regime(pair["graph"])), []).append(pair)
    lines = []
    for (model, heads, kv, kind), pairs in sorted(groups.items()):
        added = [pair["eager"]["warm_median_us"] - pair["graph"]["warm_median_us"] for pair in pairs]
        ratio = [pair["eager"]["warm_median_us"] / pair["graph"]["warm_median_us"] for pair in pairs]
        lines.append([model, kind, heads, kv, len(pairs), f"{statistics.median(added):.0f} us", f"{statistics.median(ratio):.2f}", f"{max(ratio):.2f}"])
    header = ["model", "regime", "heads", "cache", "rows", "eager takes longer by, median", "eager over graph, median", "most"]
    return table(header, lines) if lines else None


def products(tables):
    """Of each table of matrix products and format: how many tokens it takes until arithmetic binds, and what of the card it then reaches."""
    lines = []
    for name, rows in tables:
        for dtype in sorted({row["gemm_dtype"] for row in rows}):
            own = [row for row in rows if row["gemm_dtype"] == dtype]
            rate = {True: [], False: []}  # many tokens: TFLOP/s; few: TB/s of weights
            for row in own:
                if row["m"] >= 4096:
                    rate[True].append(2e-9 * row["m"] * row["n"] * row["k"] / row["latency"])
                elif row["m"] <= 16:
                    rate[False].append(1e-9 * (2 if dtype == "bfloat16" else 1) * row["n"] * row["k"] / row["latency"])
            spread = [(row["warm_p90_us"] - row["warm_p10_us"]) / 2 / row["warm_median_us"] for row in own]
            lines.append([name, dtype, len({(row["n"], row["k"]) for row in own}), len(own), f"±{statistics.median(spread):.2%}",
                          *(f"{statistics.median(rate[many]):.{digits}f} ({max(rate[many]):.{digits}f})" if rate[many] else ""
                            for many, digits in ((False, 2), (True, 0)))])
    return table(["table", "format", "shapes", "rows", "half of p10 to p90, median", "up to 16 tokens: TB/s of weights, median (best)",
                  "4096 tokens and more: TFLOP/s, median (best)"], lines)


def page(card, pieces, gemms, program, diff, images, output, notes):
    about = pieces[0][1]
    text = [f"# The shipped tables: {card}\n",
            f"Measured by `scripts/tables {card}` ({about['framework']} {about['version']}, method {about['method']}, "
            f"{about['device']}, driver {about['driver']}), which also renews them; `scripts/tables_page.py` writes this page.\n",
            "* [collect.md](collect.md) says how a case is measured. Times are of graph replay, warm, unless a table says another.\n"
            "* A row that is a sum of stages measured alone carries `[composed]` in its kernel_source wherever it is read.\n"
            "* `dsaperf db lint` passes each table (exit code 0). It notes the step where selection begins, which is the indexer's share, and the\n"
            "  rows whose median is known to worse than 5 %, of sums 10 %.\n"
            "* A few rows of long prompts ran while the card held its power limit: clocks and intervals are in the table.\n"]
    if notes:
        text.append(notes)
    text.append(table(["table", "rows", "of them sums", "half of p10 to p90, median", "within ±1 %", "repeated: median deviation",
                       "sums against whole", "SM MHz", "hottest C", "disturbed, taken again"], [listed(name, rows) for name, _, rows in pieces]))
    text.append("Within ±1 %: measured rows whose median is known to that (95 % interval). Sums against whole: of the layers that a piece measured "
                "both ways.\n")
    by_group = {}
    for _, piece, rows in pieces:
        for row in rows:
            if regime(row) and row["launch"] == "graph" and row["scores"] == "model_like":
                by_group.setdefault((piece["model"], regime(row), row["heads"], row["kv"], row["gemm"], row["indexer_role"]), []).append(row)
    groups = sorted(by_group.items(), key=lambda item: (item[0][0], REGIMES.index(item[0][1]), -item[0][2], *item[0][3:]))
    drawn = pictures(images, groups, diff) if images else []
    for name, caption in drawn:
        text.append(f"![{caption}]({os.path.relpath(images, output.parent)}/{name}.svg)\n\n{caption}.\n")
    text.append("## What limits a layer\n")
    text.append("One rank's layer with fp8 cache and fp8_block projections, measured whole: its time, that time over the sum of its stages' bounds, and the\n"
                "stages that take most of it. Each stage has its time, what binds it (math or memory) and that bound in us. Bounds are of the checkpoint's own\n"
                "projections; GLM-5's are bf16, so up to twice those of fp8_block.\n")
    text.append(what_limits(program, pieces))
    if diff:
        text.append(comparison(diff))
    eager = eager_beside_graph(pieces)
    if eager:
        text.append("## Eager beside graph replay\n")
        text.append("The same layers, each kernel launched by the host instead of a recorded graph: short layers wait for launches, long ones hide them.\n")
        text.append(eager)
    if gemms:
        text.append("## Matrix products\n")
        text.append("What a rank of 1 to 16 has of router, shared experts, dense MLPs and logits ([collect.md](collect.md#matrix-products)); fp8_block counts quantising x. "
                    "Weights come from memory.\n")
        text.append(products(gemms))
    text.append("## Where the time goes, by regime\n")
    text.append(where_time_goes(groups))
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--card", required=True)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--diff", type=pathlib.Path, help="what tables_diff.py wrote")
    parser.add_argument("--images", type=pathlib.Path, help="folder for pictures")
    arguments = parser.parse_args()
    nested = sorted(arguments.folder.rglob("rows.parquet"))
    files = [(file.parent.name, file) for file in nested] or [(file.stem, file) for file in sorted(arguments.folder.glob("*.parquet"))]
    tables = sorted(arguments.folder.rglob("gemm_perf.parquet")) or sorted((arguments.folder / "gemm").glob("*_perf.parquet"))
    gemms = [(file.parent.name if nested else file.stem.removesuffix("_perf"), pyarrow.parquet.read_table(file).to_pylist()) for file in tables]
    if not files:
        sys.exit(f"error: {arguments.folder}: no tables in it")
    diff = json.loads(arguments.diff.read_text()) if arguments.diff and arguments.diff.exists() else None
    program = os.environ.get("DSAPERF") or str(pathlib.Path(__file__).resolve().parents[1] / "build/release/tools/dsaperf/dsaperf")
    pieces = [(name, *read(file)) for name, file in files]
    notes = arguments.folder / "notes.md"  # what the tables can't say of themselves
    text = page(arguments.card, pieces, gemms, program, diff, arguments.images, arguments.output, notes.read_text() if notes.exists() else "")
    arguments.output.write_text(text)


if __name__ == "__main__":
    main()
