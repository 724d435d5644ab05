"""Making arrays of the caller's library beside those that were passed, and finding its current stream."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from dsaperf._error import Error, NoTensorError

# What a kernel calls its elements -> numpy, CuPy; torch; JAX. numpy and CuPy have no bfloat16 and no float8: bits.
_PLAIN = {"bf16": "uint16", "e4m3": "uint8", "f32": "float32", "i32": "int32", "i64": "int64", "byte": "uint8"}
_NAMED = {"bf16": "bfloat16", "e4m3": "float8_e4m3fn", "f32": "float32", "i32": "int32", "i64": "int64", "byte": "uint8"}

Tensor = Any
"""A tensor of any library with ``__dlpack__``."""

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
_ABSENT = object()


def takes_tensors(function: Callable[_Arguments, _Answer]) -> Callable[_Arguments, _Answer]:
    """A function that refuses, by the argument's name, what is no tensor where ``Tensor`` is annotated. Of a keyword which it
    lacks it says what it has instead."""
    parameters = inspect.signature(function).parameters
    kinds = ("Tensor", "Tensor | None")
    tensors = [(i, p.name, p.annotation == kinds[1]) for i, p in enumerate(parameters.values()) if p.annotation in kinds]

    @functools.wraps(function)
    def checked(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Answer:
        for name in keywords:
            if name not in parameters:
                raise TypeError(f"{function.__name__}() has no {name!r}; it has {', '.join(parameters)}")
        for at, name, optional in tensors:
            given = arguments[at] if at < len(arguments) else keywords.get(name, _ABSENT)
            if hasattr(given, "__dlpack__") or given is _ABSENT or (optional and given is None):
                continue
            what = "None" if given is None else f"a {type(given).__name__}"
            raise NoTensorError(f"{name}: {what} is no tensor; pass a torch, CuPy, JAX or numpy array", "invalid_argument")
        return function(*arguments, **keywords)

    return checked


def library(array: Any) -> str:
    """``"torch"``, ``"cupy"``, ``"jax"`` or ``"numpy"``; anything else with DLPack is answered in numpy arrays."""
    name = type(array).__module__.partition(".")[0]
    if name == "jax":  # its arrays are jaxlib's
        import jax

        if isinstance(array, jax.core.Tracer):
            raise Error("inside jax.jit and other transformations an array has no memory yet: call the kernel outside", "unsupported")
    return {"torch": "torch", "cupy": "cupy", "jax": "jax", "jaxlib": "jax"}.get(name, "numpy")


def exportable(array: Any) -> Any:
    """The array in a type that its library exports by DLPack, without a copy: torch keeps float8 to itself, ml_dtypes both."""
    which, kind = library(array), str(getattr(array, "dtype", ""))
    if which == "torch":
        if kind == "torch.float8_e4m3fn":
            import torch

            return array.view(torch.uint8)
        return array.detach() if getattr(array, "requires_grad", False) else array
    if which == "jax":
        return array if on_gpu(array) else array.block_until_ready()
    if kind in ("bfloat16", "float8_e4m3fn"):
        return array.view("uint16" if kind == "bfloat16" else "uint8")
    return array


def writable(array: Any, name: str) -> Any:
    """The caller's array for a kernel to write into."""
    if library(array) == "jax":
        raise Error(f"{name}: JAX arrays are immutable; pass none and take the result", "invalid_argument")
    return exportable(array)


def own(array: Any) -> Any:
    """What a kernel may change in place of ``array``: the array itself, but a copy of an immutable one of JAX."""
    if library(array) != "jax":
        return array
    import jax

    return jax.numpy.array(array, copy=True)


def empty(like: Any, shape: Sequence[int], element: str, stream: Any = None) -> Any:
    """An array of the library and on the device of ``like``, for a kernel to fill on ``stream``. Libraries reuse memory in the
    order of the stream it was taken on: that of a given stream is its own."""
    which, given = library(like), stream is not None and on_gpu(like)
    if which == "torch":
        import torch

        # As bits where torch was given bits.
        name = _PLAIN[element] if str(like.dtype) in ("torch.uint16", "torch.uint8") and element in ("bf16", "e4m3") else _NAMED[element]
        with torch.cuda.stream(torch.cuda.ExternalStream(stream_number(stream), like.device)) if given else contextlib.nullcontext():
            return torch.empty(tuple(shape), dtype=getattr(torch, name), device=like.device)
    if which == "cupy":
        import cupy

        with cupy.cuda.Device(like.device.id), _cupy_stream(stream) if given else contextlib.nullcontext():
            return cupy.empty(tuple(shape), dtype=_PLAIN[element])
    if which == "jax":
        import jax

        # Nobody else has seen it, so to fill it does not change what is immutable.
        return jax.numpy.empty(tuple(shape), dtype=_NAMED[element], device=like.device)
    import numpy

    return numpy.empty(tuple(shape), dtype=_PLAIN[element])


class _Numbered:
    """A stream by its number, as libraries ask each other for it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._number


def _cupy_stream(stream: Any) -> Any:
    import cupy

    number = stream_number(stream)
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_Numbered(number))
    return cupy.cuda.ExternalStream(number)  # before CuPy 14


def on_gpu(array: Any) -> bool:
    device = getattr(array, "__dlpack_device__", None)
    return device is not None and int(device()[0]) in (2, 13)


def stream_number(stream: Any) -> int:
    """A CUDA stream of torch, CuPy or cuda.core, or its address, as a number: 0 for the default one, also by its other name, 1."""
    if isinstance(stream, int):
        return 0 if stream == 1 else stream
    for attribute in ("cuda_stream", "ptr"):
        if hasattr(stream, attribute):
            return int(getattr(stream, attribute))
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    raise Error(f"stream: a {type(stream).__name__} is no CUDA stream", "invalid_argument")


def stream_of(array: Any, stream: Any) -> int:
    """A CUDA stream as a number: the one given (a number, or a stream of torch, CuPy or cuda.core), else the current one
    of the array's library."""
    if stream is not None:
        return stream_number(stream)
    if not on_gpu(array):
        return 0
    if library(array) == "torch":
        import torch

        return int(torch.cuda.current_stream(array.device).cuda_stream)
    if library(array) == "cupy":
        import cupy

        return int(cupy.cuda.get_current_stream().ptr)
    return 0
