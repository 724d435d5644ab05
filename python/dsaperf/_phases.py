"""What runs in a process of its own: a layer, whose kernels may take a process down with them, and all phases at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal

from dsaperf._program import ask, listed
from dsaperf.results import Integration, LayerRun

__all__ = ["integrate", "run"]


def run(
    config: str | os.PathLike[str],
    *,
    batch: int = 1,
    new_tokens: int = 1,
    past_tokens: int = 0,
    heads: int | None = None,
    layer: int | None = None,
    kv: Literal["bf16", "fp8"] = "bf16",
    gemm: Literal["bf16", "fp8_block"] = "bf16",
    device: Literal["cpu", "gpu"] = "cpu",
    seconds: float = 2,
    check: bool = False,
) -> LayerRun:
    """Runs one attention layer with random weights: each stage's time, bound and, with ``check``, error.

    ``heads`` are those of one rank (default: the model's), ``layer`` the first sparse one. ``seconds`` is the time for repetitions
    beyond the first pass. A check that fails is a result, ``passed`` False, not an error.
    """
    command = ["run", os.fspath(config), "--batch", str(batch), "--new", str(new_tokens), "--past", str(past_tokens)]
    command += ["--kv", kv, "--gemm", gemm, "--device", device, "--seconds", str(seconds)]
    if heads is not None:
        command += ["--heads", str(heads)]
    if layer is not None:
        command += ["--layer", str(layer)]
    if check:
        command.append("--check")
    document, _ = ask(command)
    result = LayerRun(document, "")
    result._warn()
    return result


def integrate(
    config: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    systems: Sequence[str] = ("h200_sxm",),
    gpus: int = 8,
    isl: int = 4096,
    osl: int = 1024,
    ttft_ms: float = 3000,
    tpot_ms: float = 40,
    reference: str | os.PathLike[str] | None = None,
    mock: str | os.PathLike[str] | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    collect: Literal["none", "standard"] = "none",
    skip: Sequence[str] = (),
    fresh: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Integration:
    """All phases for one model, and one report, in the folder ``output``.

    What is there and still holds is reused, unless ``fresh``. ``reference`` is a recording of the served model to align with,
    ``mock`` one of the layer alone. ``progress`` is called from another thread with a line for each command.
    """
    command = ["integrate", os.fspath(config), "-o", os.fspath(output), "--system", listed(systems)]
    command += ["--gpus", str(gpus), "--isl", str(isl), "--osl", str(osl), "--ttft", str(ttft_ms), "--tpot", str(tpot_ms)]
    command += ["--device", device, "--collect", collect]
    for flag, file in (("--reference", reference), ("--mock", mock)):
        if file is not None:
            command += [flag, os.fspath(file)]
    if skip:
        command += ["--skip", listed(skip)]
    if fresh:
        command.append("--fresh")
    document, _ = ask(command, progress)
    return Integration(document, "")
