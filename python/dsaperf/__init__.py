"""Analyse, run, profile, predict and measure DeepSeek Sparse Attention and the models that use it.

The five phases are functions that return documents: :func:`analyze`, :func:`query` and :func:`stages`, :func:`estimate`,
:func:`sweep`, :func:`run`, :func:`trace` and :func:`align`, :func:`collect`; :func:`integrate` goes through all of them. :class:`DsaLayer` is one layer to run, :mod:`dsaperf.kernels` has
its stages as functions on torch, CuPy, JAX and numpy tensors, :mod:`dsaperf.aic` puts tables into an AIConfigurator
installation. Failures are :class:`Error` with a ``code``; what was assumed is warned of as :class:`AssumptionWarning`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dsaperf import kernels as kernels
    from dsaperf._collect import collect as collect
    from dsaperf._error import AssumptionWarning as AssumptionWarning, Error as Error, NoTensorError as NoTensorError
    from dsaperf._layer import DsaCache as DsaCache, DsaLayer as DsaLayer
    from dsaperf._native import __version__ as __version__
    from dsaperf._phases import integrate as integrate, run as run
    from dsaperf._reports import (
        Workers as Workers,
        align as align,
        analyze as analyze,
        bundled_models as bundled_models,
        estimate as estimate,
        query as query,
        stages as stages,
        sweep as sweep,
        trace as trace,
    )
    from dsaperf.results import (
        Alignment as Alignment,
        Analysis as Analysis,
        Collection as Collection,
        Estimate as Estimate,
        Integration as Integration,
        LayerRun as LayerRun,
        LayerTime as LayerTime,
        Operator as Operator,
        OperatorStage as OperatorStage,
        Report as Report,
        Stage as Stage,
        Stages as Stages,
        Sweep as Sweep,
        Table as Table,
        Trace as Trace,
    )

# Importing the package loads nothing; what is used first is loaded then (a test holds that to 50 ms). Names that are not
# here are classes of dsaperf.results.
_PLACES = {
    "dsaperf._collect": ("collect",),
    "dsaperf._error": ("AssumptionWarning", "Error", "NoTensorError"),
    "dsaperf._layer": ("DsaCache", "DsaLayer"),
    "dsaperf._native": ("__version__",),
    "dsaperf._phases": ("integrate", "run"),
    "dsaperf._reports": ("Workers", "align", "analyze", "bundled_models", "estimate", "query", "stages", "sweep", "trace"),
}

__all__ = [
    "Alignment",
    "Analysis",
    "AssumptionWarning",
    "Collection",
    "DsaCache",
    "DsaLayer",
    "Error",
    "NoTensorError",
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
    "Workers",
    "__version__",
    "align",
    "analyze",
    "bundled_models",
    "collect",
    "estimate",
    "integrate",
    "kernels",
    "query",
    "run",
    "stages",
    "sweep",
    "trace",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "kernels":
        return import_module("dsaperf.kernels")
    if name not in __all__:
        raise AttributeError(f"module 'dsaperf' has no attribute {name!r}")
    place = next((place for place, names in _PLACES.items() if name in names), "dsaperf.results")
    value: object = getattr(import_module(place), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
