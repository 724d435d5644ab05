"""Asking AIConfigurator whether it answers from our tables."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dsaperf._error import Error
from dsaperf.aic._install import installed, systems_folder

__all__ = ["Checked", "check"]

# Published checkpoint of an architecture, its layers with DSA and its heads.
_MODELS = {
    "DeepseekV32ForCausalLM": ("deepseek-ai/DeepSeek-V3.2", 61, 128),
    "GlmMoeDsaForCausalLM": ("zai-org/GLM-5-FP8", 78, 64),
}
_SAME = 1e-9  # one number read from a file
_PRINTED = 2e-3  # the command line prints three decimals of a sum of layers


class Checked(NamedTuple):
    """One question and AIConfigurator's answer."""

    what: str
    passed: bool
    detail: str


def _operators(python: str, root: pathlib.Path, system: str, backend: str, limit: int) -> tuple[Checked, list[Any]]:
    probe = pathlib.Path(__file__).with_name("_probe.py")
    run = subprocess.run([python, str(probe), str(root), system, backend, str(limit)], capture_output=True, text=True)
    if run.returncode != 0:
        lines = run.stderr.strip().splitlines()
        return Checked("operators", False, lines[-1] if lines else f"{python} ended with {run.returncode}"), []
    answers = json.loads(run.stdout)
    wrong = [a for a in answers if abs(a["answer_ms"] / a["row"]["latency"] - 1) > _SAME or a["source"] != "silicon"]
    if wrong:
        first = wrong[0]
        detail = f"{len(wrong)} of {len(answers)}; first: {first['answer_ms']} ms for a row of {first['row']['latency']} ms"
        return Checked("operators", False, detail), answers
    return Checked("operators", True, f"{len(answers)} rows, each answered with its own number"), answers


def _command(python: str, root: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "COLUMNS": "200"}
    command = [python, "-m", "aiconfigurator.main", "cli", *arguments, "--systems-paths", str(root)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def _question(answers: list[Any]) -> Mapping[str, Any] | None:
    """The longest prompt of one request that a tensor-parallel deployment of a published model would ask for."""
    best: Mapping[str, Any] | None = None
    for answer in answers:
        row = answer["row"]
        model = _MODELS.get(row["architecture"])
        if model is None or answer["phase"] != "context" or row["batch_size"] != 1 or row["step"] != 0:
            continue
        gemm = "bfloat16" if "Glm" in row["architecture"] else "fp8_block"
        if "skip_indexer" in row["op_name"] or row["gemm_type"] != gemm or model[2] % row["num_heads"] != 0:
            continue
        tp = model[2] // row["num_heads"]
        if tp in (1, 2, 4, 8) and (best is None or row["isl"] > best["isl"]):
            best = {**row, "tp": tp, "model": model[0], "layers": model[1]}
    return best


def _estimate(python: str, root: pathlib.Path, system: str, backend: str, asked: Mapping[str, Any]) -> Checked:
    tp = str(asked["tp"])
    run = _command(
        python, root, "estimate", "--model-path", asked["model"], "--system", system, "--backend", backend, "--tp", tp,
        "--etp", tp, "--ep", "1", "--isl", str(asked["isl"]), "--osl", "2", "--batch-size", "1", "--estimate-mode", "static",
        "--kvcache-quant-mode", asked["kv_cache_dtype"], "--detail", "time,source",
    )  # fmt: skip
    if run.returncode != 0:
        return Checked("cli estimate", False, (run.stdout + run.stderr).strip().splitlines()[-1])
    line = next((line for line in run.stdout.splitlines() if "context_attention" in line), "")
    numbers = [float(word.replace(",", "")) for word in re.findall(r"\d[\d,]*\.\d+", line)]
    expected = asked["layers"] * asked["latency"]
    if not numbers or abs(numbers[0] / expected - 1) > _PRINTED:
        return Checked("cli estimate", False, f"attention {numbers[:1]} ms, our rows say {expected:.3f} ms")
    return Checked("cli estimate", True, f"{asked['model']}, {asked['isl']} tokens: attention {numbers[0]} ms, as our rows say")


def _default(python: str, root: pathlib.Path, system: str, backend: str, asked: Mapping[str, Any]) -> Checked:
    run = _command(
        python, root, "default", "--model-path", asked["model"], "--system", system, "--backend", backend, "--total-gpus", "8",
        "--isl", "4096", "--osl", "512", "--ttft", "20000", "--tpot", "400",
    )  # fmt: skip
    text = run.stdout + run.stderr
    if run.returncode != 0:
        return Checked("cli default", False, text.strip().splitlines()[-1])
    ranked = "Best Throughput" in text or "tokens/s/gpu" in text
    return Checked("cli default", ranked, f"ranks deployments on {system}" if ranked else "no ranking in what it printed")


def check(
    *,
    systems: str | os.PathLike[str] | None = None,
    system: str = "h200_sxm",
    python: str = sys.executable,
    commands: Sequence[str] = (),
    limit: int = 200,
) -> list[Checked]:
    """Whether the AIConfigurator of ``python`` answers from the installed tables: single operators at up to ``limit`` rows
    of each phase, exactly; ``commands`` of ``"estimate"`` and ``"default"`` also by its command line (10 s and a minute)."""
    root = systems_folder(systems)
    record = installed(root, system)
    own, backend = f"{system}_dsaperf", str(record["backend"])
    first, answers = _operators(python, root, own, backend, limit)
    checked = [first]
    if not commands:
        return checked
    asked = _question(answers)
    if asked is None:
        raise Error(
            "the tables have no prompt of one request that DeepSeek-V3.2 (fp8_block) or GLM-5-FP8 (bfloat16) would ask for at "
            "tensor parallel 1, 2, 4 or 8: the commands cannot be checked",
            "not_found",
        )
    by_name = {"estimate": _estimate, "default": _default}
    for command in commands:
        checked.append(by_name[command](python, root, own, backend, asked))
    return checked
