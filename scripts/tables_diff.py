#!/usr/bin/env python3
"""The shipped tables beside AIConfigurator's rows of SGLang, vLLM and TensorRT-LLM at the same shapes: whole layers, no all-reduce.

    tables_diff.py --card h200_sxm            # renews benchmarks/results/h200_sxm/tables_diff.json

A ratio is theirs over ours: above 1 ours is ahead. Ours is the median of graph replay, warm; where the same shape was measured
eagerly that ratio stands beside it. Rows match in model, cache and projection formats, heads of the rank, batch, new and cached
tokens; decode tables count cached tokens from other ends, so there one token more or less is the same shape, if it is of the same
regime (AIConfigurator's vLLM and TensorRT-LLM count the new token as cached).
"""
import argparse
import collections
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import pyarrow.parquet

ROOT = pathlib.Path(__file__).resolve().parents[1]
FORMAT = "dsaperf.tables_diff.1"
BACKENDS = ("sglang", "vllm", "trtllm")
NEW_TOKEN_IS_CACHED = ("vllm", "trtllm")
TOPK = 2048
LARGE = 8192  # new tokens of a pass, from which the goal for sparse prefill counts
MODELS = {"DeepseekV32ForCausalLM": "deepseek-ai/DeepSeek-V3.2", "GlmMoeDsaForCausalLM": "zai-org/GLM-5"}
DTYPES = {"bf16": "bfloat16"}


def regime(phase, new, past):
    kind = "prefill" if phase == "context" else "decode"
    return f"{kind}, {'dense' if new + past <= TOPK else 'sparse'}"


def ours(folder):
    """{key: row} of graph replay and of eager launches; a measurement beats a sum of stages."""
    graph, eager, about = {}, {}, None
    for path in sorted(folder.glob("*.parquet")):
        table = pyarrow.parquet.read_table(path)
        said = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        about = about or said
        for row in table.to_pylist():
            if row["new_tokens"] < 1 or row["scores"] != "model_like":
                continue
            if row["phase"] == "generation" and row["new_tokens"] != 1:
                continue
            row["architecture"] = said["architecture"]
            row["piece"] = path.stem
            key = (row["phase"], said["architecture"], DTYPES.get(row["kv"], row["kv"]), DTYPES.get(row["gemm"], row["gemm"]),
                   row["indexer_role"] == "shared", row["heads"], row["batch"], row["new_tokens"], row["past_tokens"])
            rows = graph if row["launch"] == "graph" else eager
            if key not in rows or (rows[key]["composed"] and not row["composed"]):
                rows[key] = row
    return graph, eager, about


def theirs(program, backend, card, systems):
    """(version, rows that AIConfigurator answers with)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "db", "import", "--backend", backend, "--system", card, "-o", folder]
        command += ["--systems", systems] if systems else []
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(run.stderr.strip())
        rows = []
        for phase in ("context", "generation"):
            for path in pathlib.Path(folder).rglob(f"dsa_{phase}_module_perf.parquet"):
                rows += [dict(row, phase=phase) for row in pyarrow.parquet.read_table(path).to_pylist()]
        return rows[0]["version"], rows


def match(row, backend, graph):
    past = row["step"]
    if row["phase"] == "generation" and backend in NEW_TOKEN_IS_CACHED:
        past -= 1
    for near in (0, -1, 1) if row["phase"] == "generation" else (0,):
        key = (row["phase"], row["architecture"], row["kv_cache_dtype"], row["gemm_type"], "skip_indexer" in row["op_name"],
               row["num_heads"], row["batch_size"], row["isl"], past + near)
        if key in graph and regime(row["phase"], row["isl"], past) == regime(row["phase"], row["isl"], past + near):
            return key
    return None


def summary(ratios):
    logs = [math.log(ratio) for ratio in ratios]
    return {"rows": len(ratios), "geometric_mean": round(math.exp(sum(logs) / len(logs)), 3),
            "ahead_share": round(sum(ratio >= 1 for ratio in ratios) / len(ratios), 4), "least": round(min(ratios), 3)}


def losing_stage(program, row):
    """Of a row that is behind: the stage farthest above its bound, with its time and bound."""
    command = [program, "query", MODELS[row["architecture"]], "--stages", "--json", "--heads", row["heads"], "--batch", row["batch"],
               "--new", row["new_tokens"], "--past", row["past_tokens"], "--phase", row["phase"], "--kv", row["kv"]]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(run.stderr.strip())
    bounds = {stage["name"]: stage["bound_us"] for stage in json.loads(run.stdout)["stages"]}
    excess = {name: row.get(f"{name}_us", 0) - bound for name, bound in bounds.items()}
    name = max(excess, key=excess.get)
    return {"stage": name, "stage_us": round(row[f"{name}_us"], 2), "stage_bound_us": round(bounds[name], 2)}


def compare(program, card, folder, systems):
    graph, eager, about = ours(folder)
    groups, pairs, behind, versions = collections.defaultdict(list), [], [], {}
    for backend in BACKENDS:
        versions[backend], rows = theirs(program, backend, card, systems)
        seen = set()
        for row in rows:
            key = match(row, backend, graph)
            if key is None or (key, backend) in seen:
                continue
            seen.add((key, backend))
            own = graph[key]
            us = 1e3 * row["latency"]
            ratio = us / own["warm_median_us"]
            which = regime(own["phase"], own["new_tokens"], own["past_tokens"])
            large = own["phase"] == "context" and "sparse" in which and own["batch"] * own["new_tokens"] >= LARGE
            pairs.append((which, large, ratio))
            groups[backend, own["architecture"], which, own["heads"], own["kv"], own["gemm"], key[4]].append(
                (ratio, us / eager[key]["warm_median_us"] if key in eager else None))
            if ratio < 1:
                behind.append({"backend": backend, "model": MODELS[own["architecture"]], "phase": own["phase"], "regime": which,
                               "kv": own["kv"], "gemm": own["gemm"], "shared": key[4], "heads": own["heads"], "batch": own["batch"],
                               "new_tokens": own["new_tokens"], "past_tokens": own["past_tokens"], "ours_us": round(own["warm_median_us"], 2),
                               "theirs_us": round(us, 2), "ratio": round(ratio, 3), "composed": bool(own["composed"]),
                               **losing_stage(program, own)})
    if not pairs:
        raise SystemExit(f"error: {folder}: no row in common with AIConfigurator's")
    listed = []
    for (backend, architecture, which, heads, kv, gemm, shared), ratios in sorted(groups.items()):
        eagerly = [ratio for _, ratio in ratios if ratio is not None]
        listed.append({"backend": backend, "model": MODELS[architecture], "regime": which, "heads": heads, "kv": kv, "gemm": gemm,
                       "shared": shared, **summary([ratio for ratio, _ in ratios]), "eager": summary(eagerly) if eagerly else None})
    large = [ratio for _, is_large, ratio in pairs if is_large]
    by_regime = {which: summary([ratio for name, _, ratio in pairs if name == which]) for which in sorted({p[0] for p in pairs})}
    return {"format": FORMAT, "card": card, "command": f"scripts/tables_diff.py --card {card}",
            "ours": {key: about[key] for key in ("device", "driver", "version", "method")}, "theirs": versions,
            "all": summary([ratio for _, _, ratio in pairs]), "by_regime": by_regime,
            f"sparse_prefill_from_{LARGE}_tokens": summary(large) if large else None,
            "groups": listed, "behind": sorted(behind, key=lambda row: row["ratio"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--card", required=True)
    parser.add_argument("--tables", type=pathlib.Path, help="folder of our tables (default: data/tables/CARD)")
    parser.add_argument("--systems", help="AIConfigurator's systems folder (default: dsaperf finds it)")
    parser.add_argument("--program", default=os.environ.get("DSAPERF") or str(ROOT / "build/release/tools/dsaperf/dsaperf"))
    parser.add_argument("-o", "--output", type=pathlib.Path, help="default: benchmarks/results/CARD/tables_diff.json")
    arguments = parser.parse_args()
    folder = arguments.tables or ROOT / "data/tables" / arguments.card
    if not any(folder.glob("*.parquet")):
        sys.exit(f"error: {folder}: no tables in it")
    result = compare(arguments.program, arguments.card, folder, arguments.systems)
    output = arguments.output or ROOT / "benchmarks/results" / arguments.card / "tables_diff.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{output}: {result['all']['rows']} rows, geometric mean {result['all']['geometric_mean']}, "
          f"ahead in {result['all']['ahead_share']:.1%}, behind in {len(result['behind'])}")


if __name__ == "__main__":
    main()
