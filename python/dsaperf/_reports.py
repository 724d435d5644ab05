"""The five phases as functions. Each takes what the command of its name takes, and returns its document."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from dsaperf import _arrow, _native
from dsaperf.results import Alignment, Analysis, Estimate, LayerTime, Stages, Sweep, Trace

__all__ = ["Config", "Workers", "align", "analyze", "bundled_models", "estimate", "query", "stages", "sweep", "trace"]

Config = Union[str, "os.PathLike[str]", Mapping[str, Any]]
"""A model: a path of a config.json, a folder that holds one, a bundled name, or the config as a dict (transformers'
``config.to_dict()``)."""


@dataclass(frozen=True)
class Workers:
    """Workers of one kind, where prefill and decode have their own (``mode="disagg"``). None: as without."""

    count: int = 1
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    moe_tp: int | None = None


def _workers(workers: Workers) -> _native.Workers:
    native = _native.Workers()
    native.count = workers.count
    native.tp, native.pp, native.dp = workers.tp or 0, workers.pp or 0, workers.dp or 0
    native.ep, native.moe_tp = workers.ep or 0, workers.moe_tp or 0
    return native


def _config(config: Config) -> str:
    return json.dumps(config) if isinstance(config, Mapping) else os.fspath(config)


def _paths(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """A path is one of them, not its letters."""
    return [os.fspath(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]


def _systems(given: str | os.PathLike[str] | None) -> str:
    """AIConfigurator's tables: the folder given, ``$DSAPERF_SYSTEMS``, those of this Python's aiconfigurator-core, else as
    the program finds them."""
    if given is not None:
        return os.fspath(given)
    if os.environ.get("DSAPERF_SYSTEMS"):
        return ""
    import importlib.util

    found = importlib.util.find_spec("aiconfigurator_core")
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    candidates = [os.path.join(folder, "systems") for folder in folders]
    return next((folder for folder in candidates if os.path.isdir(folder)), "")


def bundled_models() -> list[str]:
    """Names of the models whose configs are shipped."""
    return _native.bundled_models()


def analyze(
    config: Config,
    *,
    against: Config | None = None,
    tp: int = 1,
    dp: int = 1,
    ep: int = 1,
    chunk: int = 8192,
    context: int = 0,
    score_budget_gib: float = 1.0,
) -> Analysis:
    """What is sparse in a model, layer by layer, what it stores, and what an integration takes.

    ``against`` says what differs from that model (without it: from the nearest known one). ``tp``, ``dp`` and ``ep``
    share heads and experts; ``chunk`` and ``context`` (0: the model's longest) size the indexer's score buffer.
    """
    other = "" if against is None else _config(against)
    result = Analysis(*_native.analyze(_config(config), other, tp, dp, ep, chunk, context, score_budget_gib))
    result._warn()
    return result


def query(
    *,
    heads: int,
    phase: str = "context",
    batch: int = 1,
    new_tokens: int = 1,
    past_tokens: int = 0,
    architecture: str = "DeepseekV32ForCausalLM",
    system: str = "h200_sxm",
    backend: str | None = None,
    version: str | None = None,
    kv: str = "fp8",
    gemm: str = "fp8_block",
    fmha: str = "bfloat16",
    method: str = "stages",
    vary: str = "",
    full_fraction: float = 1.0,
    cp: int = 1,
    systems: str | os.PathLike[str] | None = None,
) -> LayerTime:
    """Latency of one attention layer on one rank with ``heads`` heads.

    ``phase`` is ``"context"`` or ``"generation"``; each of ``batch`` requests has ``new_tokens`` after ``past_tokens``
    cached ones. ``backend`` None is sglang, or our own tables where no others are. ``method`` is ``"stages"``, or
    ``"compatible"`` for AIConfigurator's own answers. ``vary`` asks what a change would cost, for example
    ``"topk=512..4096,heads=8|16"``.
    """
    question = _native.LayerQuestion()
    question.systems = _systems(systems)
    question.system, question.backend, question.version = system, backend or "", version or ""
    question.architecture, question.phase = architecture, phase
    question.kv, question.gemm, question.fmha = kv, gemm, fmha
    question.method, question.vary = method, vary
    question.heads, question.batch = heads, batch
    question.new_tokens, question.past_tokens = new_tokens, past_tokens
    question.full_layer_share, question.context_parallel = full_fraction, cp
    _arrow.load()
    result = LayerTime(*_native.query(question))
    result._warn()
    return result


def stages(
    config: Config,
    *,
    heads: int = 0,
    phase: str = "context",
    batch: int = 1,
    new_tokens: int = 1,
    past_tokens: int = 0,
    system: str = "h200_sxm",
    kv: str = "fp8",
) -> Stages:
    """What each stage of a layer must compute and move, and how long that takes at best. ``heads`` 0: the model's."""
    return Stages(*_native.stages(_config(config), system, phase, heads, batch, new_tokens, past_tokens, kv))


def estimate(
    config: Config,
    *,
    isl: float,
    osl: float,
    system: str = "h200_sxm",
    backend: str | None = None,
    version: str | None = None,
    mode: str = "agg",
    method: str = "model",
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    ep: int = 1,
    moe_tp: int = 0,
    cp: int = 1,
    prefix: float = 0,
    concurrency: float | None = None,
    rate: float | None = None,
    length_ratio: float | None = None,
    kv: str = "",
    gemm: str = "",
    mtp: int = 0,
    mtp_accepted: float = 0,
    memory_fraction: float | None = None,
    max_batch: float | None = None,
    chunk: float | None = None,
    prompts: int = 0,
    prefill: Workers = Workers(),
    decode: Workers = Workers(),
    host: str = "",
    quirks: str = "all",
    systems: str | os.PathLike[str] | None = None,
) -> Estimate:
    """TTFT, TPOT, throughput and memory of one deployment.

    ``isl`` and ``osl`` are tokens of a prompt and of its answer, ``prefix`` those of the prompt that are cached. Either
    ``concurrency`` requests are there at any time (default 1) or ``rate`` arrive a second. ``moe_tp`` 0 is
    tp * dp / ep. ``backend`` None is sglang, over our own tables where no others are. ``kv`` and ``gemm`` default to what
    the engine and the checkpoint use. Lengths are uniform from ``length_ratio`` (default 0.8) of isl and osl up to all of
    them; ``host`` replaces constants of the host that were measured, for example ``"launch_us=900,request_ms=60"``. With
    ``mode`` ``"disagg"``, ``prefill`` and ``decode`` are the two kinds of workers.
    """
    deployment = _native.Deployment()
    deployment.config = _config(config)
    deployment.systems = _systems(systems)
    deployment.system, deployment.backend, deployment.version = system, backend or "", version or ""
    deployment.mode, deployment.method = mode, method
    deployment.quirks, deployment.host = quirks, host
    deployment.kv, deployment.gemm = kv, gemm
    deployment.tp, deployment.pp, deployment.dp, deployment.ep = tp, pp, dp, ep
    deployment.moe_tp, deployment.cp = moe_tp, cp
    deployment.isl, deployment.osl, deployment.prefix = isl, osl, prefix
    deployment.length_ratio = length_ratio
    deployment.concurrency, deployment.rate = concurrency, rate
    deployment.memory_fraction, deployment.max_batch, deployment.chunk = memory_fraction, max_batch, chunk
    deployment.mtp, deployment.mtp_accepted, deployment.prompts = mtp, mtp_accepted, prompts
    deployment.prefill, deployment.decode = _workers(prefill), _workers(decode)
    _arrow.load()
    result = Estimate(*_native.estimate(deployment))
    result._warn()
    return result


def sweep(
    config: Config,
    *,
    isl: float,
    osl: float,
    gpus: int = 8,
    system: str = "h200_sxm",
    backend: str | None = None,
    version: str | None = None,
    ttft_ms: float | None = None,
    tpot_ms: float | None = None,
    prefix: float = 0,
    kv: str = "",
    gemm: str = "",
    method: str = "model",
    systems: str | os.PathLike[str] | None = None,
) -> Sweep:
    """Every layout of a model on ``gpus`` GPUs: the best ones, the Pareto front, and why not the others.

    ``backend`` None: all that have tables. ``ttft_ms`` and ``tpot_ms`` are limits.
    """
    _arrow.load()
    result = Sweep(
        *_native.sweep(
            _config(config),
            _systems(systems),
            system,
            backend or "",
            version or "",
            gpus,
            isl,
            osl,
            prefix,
            ttft_ms,
            tpot_ms,
            kv,
            gemm,
            method,
        )
    )
    result._warn()
    return result


def trace(file: str | os.PathLike[str], *, rules: Sequence[str | os.PathLike[str]] = (), range: str = "") -> Trace:
    """Kernels and stages of a trace of nsys, torch, ncu, rocprof or ``dsaperf profile``.

    ``rules`` are rule files asked before the shipped ones; ``range`` keeps what was launched inside ranges of that name.
    """
    result = Trace(*_native.trace(os.fspath(file), _paths(rules), range))
    result._warn()
    return result


def align(
    mock: str | os.PathLike[str],
    reference: str | os.PathLike[str],
    *,
    max_ratio: float = 2.0,
    phase: str = "auto",
    range: str = "",
    rules: Sequence[str | os.PathLike[str]] = (),
) -> Alignment:
    """Whether the layer recorded in ``mock`` runs what the model recorded in ``reference`` runs, as fast.

    ``phase`` is ``"auto"``, ``"all"``, ``"prefill"`` or ``"decode"``.
    """
    result = Alignment(
        *_native.align(os.fspath(mock), os.fspath(reference), max_ratio, phase, range, _paths(rules))
    )
    result._warn()
    return result
