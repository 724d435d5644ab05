"""What the functions of this package return.

Each result is the document that ``dsaperf COMMAND --json`` prints, as a read-only mapping with stable keys and units in
the key names; its main figures are attributes as well. ``print(result)`` shows what the terminal shows, a notebook
shows tables.
"""

from __future__ import annotations

import json
import warnings as _python_warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dsaperf import _html
from dsaperf._error import AssumptionWarning

if TYPE_CHECKING:
    from dsaperf._native import ArrowTable

__all__ = [
    "Alignment",
    "Analysis",
    "Collection",
    "Estimate",
    "Integration",
    "LayerRun",
    "LayerTime",
    "Operator",
    "OperatorStage",
    "Report",
    "Stage",
    "Stages",
    "Sweep",
    "Table",
    "Trace",
]


class Report(Mapping[str, Any]):
    """A JSON document (``format`` says which) and its text for a terminal."""

    def __init__(self, document: str | Mapping[str, Any], text: str) -> None:
        self._document: Mapping[str, Any] = json.loads(document) if isinstance(document, str) else dict(document)
        self._text = text

    def __getitem__(self, key: str) -> Any:
        return self._document[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._document)

    def __len__(self) -> int:
        return len(self._document)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._summary()}>"

    def to_json(self, indent: int | None = None) -> str:
        """The document as text."""
        return json.dumps(self._document, indent=indent, ensure_ascii=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was assumed, substituted or extrapolated."""
        return tuple(self._document.get("warnings") or ())

    def _summary(self) -> str:
        return str(self._document.get("format", ""))

    def _tables(self) -> str:
        plain = {key: value for key, value in self._document.items() if not isinstance(value, (Mapping, list))}
        return _html.facts(plain, "")

    def _repr_html_(self) -> str:
        return f"<div>{self._tables()}{_html.warnings(self.warnings)}</div>"

    def _warn(self) -> None:
        for text in self.warnings:
            _python_warnings.warn(text, AssumptionWarning, stacklevel=3)


class Table:
    """Rows and columns that pandas, polars, pyarrow and DuckDB read in place, by Arrow's PyCapsule interface.

    >>> import polars
    >>> polars.DataFrame(sweep.table)          # doctest: +SKIP
    """

    def __init__(self, native: ArrowTable) -> None:
        self._native = native

    def __len__(self) -> int:
        return len(self._native)

    @property
    def column_names(self) -> list[str]:
        """In the order of the columns."""
        return self._native.column_names

    def __arrow_c_schema__(self) -> object:
        return self._native.schema()

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        return self._native.schema(), self._native.array()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._native.stream()

    def to_pandas(self) -> Any:
        """A pandas DataFrame over this memory (columns of ArrowDtype)."""
        import pandas
        import pyarrow

        return pyarrow.table(self).to_pandas(types_mapper=pandas.ArrowDtype)

    def to_polars(self) -> Any:
        """A polars DataFrame over this memory."""
        import polars

        return polars.DataFrame(self)

    def __repr__(self) -> str:
        return f"<Table: {len(self)} rows of {', '.join(self.column_names)}>"


class Analysis(Report):
    """What is sparse in a model, layer by layer, and what an integration takes (``dsaperf analyze``)."""

    @property
    def name(self) -> str:
        """Of the model, or the file that it was read from."""
        return str(self["name"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """The figures of the config that decide: ``index_topk``, ``sparse_layers``, ..."""
        facts: Mapping[str, Any] = self["facts"]
        return facts

    @property
    def sparse(self) -> bool:
        """Whether any layer attends to a part of the past that it chooses."""
        return bool(self.facts["sparse"])

    @property
    def layers(self) -> Sequence[Mapping[str, Any]]:
        """One plan per layer: attention, geometry, indexer, formats, stages."""
        layers: Sequence[Mapping[str, Any]] = self["layers"]
        return layers

    def _summary(self) -> str:
        kind = f"sparse, top {self.facts.get('index_topk')}" if self.sparse else "not sparse"
        return f"{self.name}, {self.facts.get('layers')} layers, {kind}"

    def _tables(self) -> str:
        runs = [
            (f"{run['first']}–{run['last']}", run["count"], run["attention"], run["mlp"]) for run in self.get("layer_runs", [])
        ]
        return _html.facts(self.facts, self.name) + _html.table(runs, ("layers", "count", "attention", "feed-forward"))


class OperatorStage(NamedTuple):
    """One stage of an operator of sparse attention, with the least time that the card allows it."""

    name: str
    time_ms: float
    share: float
    bound_ms: float | None
    binds: str | None


class Operator(NamedTuple):
    """One operator of a pass. ``bound_ms``: the least time that the card allows it, set by what ``binds`` names; None where
    no bound is known. ``stages`` are those of sparse attention."""

    name: str
    time_ms: float
    share: float
    source: str
    bound_ms: float | None = None
    binds: str | None = None
    stages: tuple[OperatorStage, ...] = ()


class Estimate(Report):
    """TTFT, TPOT, throughput and memory of one deployment (``dsaperf estimate``).

    Where the model does not fit, ``fits`` is false, ``reason`` says why and the times are None.
    """

    @property
    def fits(self) -> bool:
        """Whether weights, caches and buffers stay within the memory of a GPU."""
        return bool(self["fits"])

    @property
    def reason(self) -> str | None:
        """Why the model does not fit; None where it does."""
        reason: str | None = self["reason"]
        return reason

    @property
    def ttft_ms(self) -> float | None:
        """Mean time to the first token, ms; None where the model does not fit."""
        value: float | None = self["ttft_ms"]
        return value

    @property
    def tpot_ms(self) -> float | None:
        """Mean time of a token after the first, ms; None where the model does not fit."""
        value: float | None = self["tpot_ms"]
        return value

    @property
    def output_tok_s_per_gpu(self) -> float | None:
        """Output tokens a second of a GPU; None where the model does not fit."""
        value: float | None = self["output_tok_s_per_gpu"]
        return value

    @property
    def memory_gib(self) -> float:
        """Weights, caches and buffers of one GPU, GiB."""
        return float(self["memory_gib"])

    def operators(self, phase: str) -> list[Operator]:
        """Of a ``"context"`` (prefill) or ``"generation"`` (decode) pass."""
        found: Mapping[str, Any] = self.get(phase) or {}
        return [
            Operator(
                o["name"],
                o["time_ms"],
                o["share"],
                o["source"],
                o.get("bound_ms"),
                o.get("binds"),
                tuple(OperatorStage(*(s[key] for key in OperatorStage._fields)) for s in o.get("stages", [])),
            )
            for o in found.get("operators", [])
        ]

    def _summary(self) -> str:
        where = f"{self['model']} on {self['gpus']} x {self['system']}, {self['backend']} {self['version']}"
        if not self.fits:
            return f"{where}: does not fit"
        return f"{where}: TTFT {_html.number(self.ttft_ms)} ms, TPOT {_html.number(self.tpot_ms)} ms"

    def _tables(self) -> str:
        main = {
            "fits": self.fits,
            "reason": self.reason or "",
            "TTFT, ms": self.ttft_ms,
            "TPOT, ms": self.tpot_ms,
            "output tokens/s a GPU": self.output_tok_s_per_gpu,
            "memory of a GPU, GiB": self.memory_gib,
        }
        tables = _html.facts({key: value for key, value in main.items() if value != ""}, self._summary())
        for phase, title in (("context", "prefill pass"), ("generation", "decode pass")):
            rows = [
                (o.name, o.time_ms, o.bound_ms, o.binds or "", _html.Markup(_html.bar(o.share)), o.source)
                for o in self.operators(phase)
            ]
            if rows:
                tables += _html.table(rows, (title, "ms", "bound, ms", "binds", "share", "source"))
        return tables


class Sweep(Report):
    """Every layout of a model on N GPUs (``dsaperf sweep``).

    The sweep itself is an Arrow table of its candidates: ``polars.DataFrame(sweep)``, ``sweep.table.to_pandas()``.
    """

    def __init__(self, document: str, text: str, candidates: ArrowTable, pareto: ArrowTable) -> None:
        super().__init__(document, text)
        self._table = Table(candidates)
        self._pareto = Table(pareto)

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """The best operating point of each engine and layout, best first."""
        candidates: Sequence[Mapping[str, Any]] = self["candidates"]
        return candidates

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The first candidate, with ``launch``: the command line that starts it."""
        return self.candidates[0] if self.candidates else None

    @property
    def rejected(self) -> Sequence[Mapping[str, Any]]:
        """The other layouts, each with ``reason``."""
        rejected: Sequence[Mapping[str, Any]] = self["rejected"]
        return rejected

    @property
    def table(self) -> Table:
        """The candidates: a row each, as columns."""
        return self._table

    @property
    def pareto_table(self) -> Table:
        """Throughput a GPU against tokens a second a user, slowest user first."""
        return self._pareto

    def __arrow_c_schema__(self) -> object:
        return self._table.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    def _summary(self) -> str:
        return f"{self['model']} on {self['gpus']} x {self['system']}: {len(self.candidates)} layouts, {len(self.rejected)} rejected"

    def _tables(self) -> str:
        keys = ("backend", "layout", "concurrency", "ttft_ms", "tpot_ms", "output_tok_s_per_cluster_gpu", "memory_gib", "binds")
        titles = ("backend", "layout", "at a time", "TTFT ms", "TPOT ms", "tok/s a GPU", "GiB", "binds")
        rows = [[candidate.get(key, "") for key in keys] for candidate in self.candidates[:15]]
        return _html.table(rows, titles, self._summary())


class LayerTime(Report):
    """Latency of one attention layer on one rank (``dsaperf query``)."""

    @property
    def latency_ms(self) -> float:
        """Of one layer on one rank, ms."""
        return float(self["latency_ms"])

    @property
    def interval_ms(self) -> tuple[float, float] | None:
        """90 % interval, where the method states one."""
        low, high = self.get("low_ms"), self.get("high_ms")
        return None if low is None or high is None else (low, high)

    @property
    def source(self) -> str:
        """``measured``, ``interpolated``, ``extrapolated``, ``modelled`` or ``bound``."""
        return str(self["source"])

    def _summary(self) -> str:
        return f"{self['architecture']} {self['phase']}, {self['heads']} heads: {self.latency_ms:.4g} ms, {self.source}"

    def _tables(self) -> str:
        tables = super()._tables()
        explanation: Mapping[str, Any] = self.get("explanation") or {}
        rows = []
        for stage in explanation.get("stages", []):
            share = stage["time_ms"] / explanation["stage_model_ms"] if explanation["stage_model_ms"] else 0.0
            rows.append((stage["name"], stage["time_ms"], _html.Markup(_html.bar(share))))
        return tables + (_html.table(rows, ("stage", "ms", "share")) if rows else "")


class Stage(NamedTuple):
    """One stage of a layer: what it must compute and move, and the bound in time."""

    name: str
    flops: float
    bytes: float
    launches: int
    bound_us: float
    binds: str


class Stages(Report):
    """What each stage of a layer must compute and move (``dsaperf query CONFIG --stages``)."""

    @property
    def bound_us(self) -> float:
        """The least time that the card allows the layer, us: the sum over its stages."""
        return float(self["bound_us"])

    @property
    def stages(self) -> list[Stage]:
        """In the order in which they run."""
        keys = Stage._fields
        return [Stage(**{key: stage[key] for key in keys}) for stage in self["stages"]]

    def _summary(self) -> str:
        return f"{self['model']} on {self['system']}: at best {self.bound_us:.1f} us"

    def _tables(self) -> str:
        rows = [(s.name, s.flops / 1e9, s.bytes / 1e6, s.launches, s.bound_us, s.binds) for s in self.stages]
        return _html.table(rows, ("stage", "GFLOP", "MB", "launches", "bound us", "by"), self._summary())


class Trace(Report):
    """Kernels and stages of a recording (``dsaperf trace show``)."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Figures of the recording: ``kernels``, ``total_ns``, ..."""
        facts: Mapping[str, Any] = self["facts"]
        return facts

    @property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        """``name``, ``calls``, ``time_ns``, ``share`` of each stage, ..."""
        stages: Sequence[Mapping[str, Any]] = self["stages"]
        return stages

    def _tables(self) -> str:
        rows = [(s["name"], s["calls"], s["time_ns"] / 1e6, _html.Markup(_html.bar(s["share"]))) for s in self.stages]
        return _html.table(rows, ("stage", "calls", "ms", "share"))


class Alignment(Report):
    """Whether a stand-alone layer runs what a served model runs, as fast (``dsaperf align``)."""

    @property
    def aligned(self) -> bool:
        """Whether both run the same kernels, each stage within the ratio."""
        return bool(self["verdict"] == "aligned")

    @property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        """``name``, ``state``, ``times`` in ns and their ``ratio`` of each stage, ..."""
        stages: Sequence[Mapping[str, Any]] = self["stages"]
        return stages

    def _summary(self) -> str:
        return f"{self['verdict']}, {len(self.stages)} stages"

    def _tables(self) -> str:
        rows = []
        for stage in self.stages:
            times: Mapping[str, Any] = stage["times"]
            mock, reference = times.get("mock_ns"), times.get("reference_ns")
            in_us = [None if value is None else value / 1000 for value in (mock, reference)]
            rows.append((stage["name"], stage["state"], in_us[0], in_us[1], stage.get("ratio")))
        return _html.table(rows, ("stage", "state", "mock us", "reference us", "ratio"), self._summary())


class LayerRun(Report):
    """One layer run alone (``dsaperf run``)."""

    @property
    def time_us(self) -> float:
        """Of one pass, us: the sum of its stages."""
        return float(self["time_us"])

    @property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        """``name``, ``time_us``, ``bound_us``, ``error``, ..."""
        stages: Sequence[Mapping[str, Any]] = self["stages"]
        return stages

    @property
    def passed(self) -> bool | None:
        """Whether every stage is what double precision says; None where it was not checked."""
        check: Mapping[str, Any] | None = self.get("check")
        return None if check is None else bool(check["passed"])

    def __str__(self) -> str:
        return self._summary()

    def _summary(self) -> str:
        checked = {None: "not checked", True: "check passed", False: "check failed"}[self.passed]
        return f"{self['model']} on {self['device']}: {self.time_us:.1f} us, {checked}"

    def _tables(self) -> str:
        rows = [(s["name"], s["time_us"], s.get("bound_us"), s.get("error")) for s in self.stages]
        return _html.table(rows, ("stage", "us", "bound us", "error"), self._summary())


class Integration(Report):
    """All phases of one model (``dsaperf integrate``)."""

    @property
    def page(self) -> str:
        """Path of report.html."""
        return str(self["report"])

    @property
    def report(self) -> Mapping[str, Any]:
        """report.json: ``answers``, ``sections``, ``phases``, ``warnings``."""
        import os

        with open(os.path.join(os.path.dirname(self.page), "report.json"), encoding="utf-8") as file:
            report: Mapping[str, Any] = json.load(file)
        return report

    @property
    def failures(self) -> Sequence[str]:
        """Commands that failed, with their reasons; their parts of the report are left out."""
        return [str(failure) for failure in self["failures"]]

    def __str__(self) -> str:
        return "\n".join(f"{answer['question']:<21}{answer['answer']}" for answer in self.report["answers"])

    def _summary(self) -> str:
        return f"{self.page}, {self['commands_run']} commands run, {self['commands_reused']} reused"

    def _tables(self) -> str:
        rows = [(a["question"], a["answer"], a["detail"], a["source"]) for a in self.report["answers"]]
        return _html.table(rows, ("question", "answer", "in detail", "source"), self._summary())


class Collection(Report):
    """A plan of cases, and where their measurements are once taken (``dsaperf collect``)."""

    @property
    def cases(self) -> Sequence[Mapping[str, Any]]:
        """Those of this shard, each with ``id`` and its sizes."""
        cases: Sequence[Mapping[str, Any]] = self["cases"]
        return cases

    @property
    def estimated_minutes(self) -> float:
        """By plan, of what is measured."""
        return float(self["estimated_minutes"])

    @property
    def table(self) -> str | None:
        """Path of the Parquet file, once there are rows."""
        table: str | None = self.get("table")
        return table

    def _summary(self) -> str:
        return f"{self['model']} on {self['system']}: {len(self.cases)} cases, about {self.estimated_minutes:.1f} min"
