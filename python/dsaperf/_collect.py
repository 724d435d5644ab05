"""Collection measures in processes of its own, so that a crash of a kernel is a failed case and not the end of Python."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from dsaperf._program import ask, listed
from dsaperf.results import Collection

__all__ = ["collect"]


def collect(
    config: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    grid: str | os.PathLike[str] = "standard",
    heads: Sequence[int] = (),
    kv: Sequence[str] = ("bf16",),
    gemm: Sequence[str] = ("fp8_block",),
    indexer: Sequence[str] = ("full",),
    scores: Sequence[str] = ("model_like",),
    launch: Sequence[str] = (),
    system: str = "h200_sxm",
    shard: str | None = None,
    devices: str = "0",
    timing: Literal["gpu", "cpu", "fake"] = "gpu",
    plan_only: bool = False,
    resume: bool = False,
    retry_failed: bool = False,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> Collection:
    """Measures a layer on a grid of shapes, resumably, into the folder ``output``.

    ``plan_only`` measures nothing and returns the cases, with the minutes and the memory they would take. ``timing`` ``"fake"``
    takes times from the bound, for trials without a GPU, ``"cpu"`` measures on this machine's cores. ``launch`` is graph where
    there is a GPU, else eager. ``progress`` is called from another thread with one mapping a
    case: ``event`` (found, measured, failed, repeated), ``id`` and perhaps ``error``. Where every case failed that is an
    :class:`Error`; where some did, a warning for each.
    """
    command = ["collect", os.fspath(config), "-o", os.fspath(output), "--json-progress"]
    command += ["--grid", os.fspath(grid), "--system", system, "--timing", timing, "--devices", devices]
    lists = {"--kv": kv, "--gemm": gemm, "--indexer": indexer, "--scores": scores}
    if heads:
        command += ["--heads", ",".join(map(str, heads))]
    for flag, values in lists.items():
        command += [flag, listed(values)]
    if launch:
        command += ["--launch", listed(launch)]
    if shard is not None:
        command += ["--shard", shard]
    flags = {"--plan-only": plan_only, "--resume": resume, "--retry-failed": retry_failed}
    command += [flag for flag, wanted in flags.items() if wanted]

    def each(line: str) -> None:
        if line.startswith("{") and progress is not None:
            progress(json.loads(line))

    collected, _ = ask(command, each)
    summary = f"{len(collected['cases'])} cases of {collected['model']} on {collected['system']}"
    if "report" in collected:
        report = collected["report"]
        summary += f": {report['measured']} measured, {report['found']} found, {report['failed']} failed; {collected.get('table', 'no table')}"
    result = Collection(collected, summary)
    result._warn()
    return result
