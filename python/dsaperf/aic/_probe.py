"""Run by a Python that has AIConfigurator: prints what it answers at the rows of our tables, as JSON.

    python _probe.py SYSTEMS SYSTEM BACKEND LIMIT
"""

import glob
import json
import os
import sys
from typing import Any


def rows_of(systems: str, system: str, phase: str, limit: int) -> list[dict[str, Any]]:
    import pyarrow.parquet

    (path,) = glob.glob(os.path.join(systems, "data", system, "sparse_attention", "*", "*", f"dsa_{phase}_module_perf.parquet"))
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    step = max(1, len(rows) // limit)
    return rows[::step][:limit]


def main() -> None:
    systems, system, backend, limit = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    from aiconfigurator_core.sdk import common, perf_database
    from aiconfigurator_core.sdk.engine import EngineHandle, build_ops_json
    from aiconfigurator_core.sdk.operations.dsa import ContextDSAModule, GenerationDSAModule

    perf_database.set_systems_paths(systems)
    database = perf_database.get_database_view(system, backend, "current")
    if database is None:
        sys.exit(f"AIConfigurator knows no {system} with {backend} in {systems}")
    engine = EngineHandle.for_database(database, systems_path=database.systems_root)
    answers = []
    for phase in ("context", "generation"):
        for row in rows_of(systems, system, phase, limit):
            shared = "skip_indexer" in str(row["op_name"])
            extra = {"architecture": row["architecture"]}
            if shared:
                extra["dsa_full_layer_fraction"] = 0.0
            kv = getattr(common.KVCacheQuantMode, str(row["kv_cache_dtype"]))
            gemm = getattr(common.GEMMQuantMode, str(row["gemm_type"]))
            if phase == "context":
                fmha = common.FMHAQuantMode.bfloat16
                op = ContextDSAModule("op", 1.0, row["num_heads"], kv, fmha, gemm, **extra)
                answer = engine.evaluate_ops_json(
                    build_ops_json([op]), is_context=True, batch_size=row["batch_size"], s=row["isl"], prefix=row["step"]
                )
            else:
                op = GenerationDSAModule("op", 1.0, row["num_heads"], kv, gemm, **extra)
                answer = engine.evaluate_ops_json(
                    build_ops_json([op]), is_context=False, batch_size=row["batch_size"], s=row["isl"] + row["step"]
                )
            answers.append({"phase": phase, "row": row, "answer_ms": answer[0][1], "source": answer[0][3]})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
