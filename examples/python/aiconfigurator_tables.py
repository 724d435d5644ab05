"""AIConfigurator's Python API answering from our tables.

    python3 examples/python/aiconfigurator_tables.py ROWS     # a folder that `dsaperf collect` wrote
    python3 examples/python/aiconfigurator_tables.py          # times made up from the bound, to see how it goes

The tables go into a copy of the package's systems folder (its files by links), so the installed one stays as it is; to keep
them there, run `python -m dsaperf.aic install --tables ROWS`.
"""

from __future__ import annotations

import pathlib
import shutil
import sys
import tempfile

import dsaperf
from dsaperf import aic

GRID = """
context: [{batch: [1, 4], new: [1024, 4096, 8192], past: [0]}]
generation: [{batch: [1, 8, 32], past: [1023, 8191, 16383]}]
"""


def made_up(folder: pathlib.Path) -> pathlib.Path:
    grid = folder / "grid.yaml"
    grid.write_text(GRID)
    dsaperf.collect("deepseek-ai/DeepSeek-V3.2", folder / "rows", grid=grid, heads=[16], kv=["bf16", "fp8"], timing="fake")
    return folder / "rows"


def main() -> None:
    from aiconfigurator_core.sdk import common, perf_database
    from aiconfigurator_core.sdk.engine import EngineHandle, build_ops_json
    from aiconfigurator_core.sdk.operations.dsa import ContextDSAModule

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        fake = len(sys.argv) < 2
        rows = made_up(folder) if fake else pathlib.Path(sys.argv[1])
        root = folder / "systems"
        shutil.copytree(aic.systems_folder(), root, copy_function=lambda source, target: pathlib.Path(target).symlink_to(source))
        installed = aic.install(rows, systems=root, allow_fake=fake)
        print(f"{installed.rows} rows as {installed.system}{' (times MADE UP from the bound)' if fake else ''}")

        perf_database.set_systems_paths(str(root))
        operator = ContextDSAModule(
            "layer", 1.0, 16, common.KVCacheQuantMode.fp8, common.FMHAQuantMode.bfloat16, common.GEMMQuantMode.fp8_block,
            architecture="DeepseekV32ForCausalLM",
        )  # fmt: skip
        for system in ("h200_sxm", installed.system):
            database = perf_database.get_database_view(system, "sglang", "current")
            engine = EngineHandle.for_database(database, systems_path=database.systems_root)
            ((_, latency, _, source),) = engine.evaluate_ops_json(
                build_ops_json([operator]), is_context=True, batch_size=1, s=4096, prefix=0
            )
            print(f"{system:18} one layer, 16 heads, 4096 new tokens: {latency:.4f} ms ({source})")


if __name__ == "__main__":
    main()
