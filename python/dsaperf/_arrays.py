"""Making arrays of the caller's library beside those that were passed, and finding its current stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dsaperf._error import Error

# What a kernel calls its elements -> numpy, CuPy; torch; JAX. numpy and CuPy have no bfloat16 and no float8: bits.
_PLAIN = {"bf16": "uint16", "e4m3": "uint8", "f32": "float32", "i32": "int32", "i64": "int64", "byte": "uint8"}
_NAMED = {"bf16": "bfloat16", "e4m3": "float8_e4m3fn", "f32": "float32", "i32": "int32", "i64": "int64", "byte": "uint8"}


def library(array: Any) -> str:
    """``"torch"``, ``"cupy"``, ``"jax"`` or ``"numpy"``; anything else with DLPack is answered in numpy arrays."""
    name = type(array).__module__.partition(".")[0]
    return {"torch": "torch", "cupy": "cupy", "jax": "jax", "jaxlib": "jax"}.get(name, "numpy")


def exportable(array: Any) -> Any:
    """The array in a type that its library exports by DLPack: torch and ml_dtypes keep float8 and bfloat16 to themselves."""
    kind = str(getattr(array, "dtype", ""))
    if library(array) == "torch" and kind == "torch.float8_e4m3fn":
        import torch

        return array.view(torch.uint8)
    if library(array) != "torch" and kind in ("bfloat16", "float8_e4m3fn"):
        return array.view("uint16" if kind == "bfloat16" else "uint8")
    if library(array) == "torch" and getattr(array, "requires_grad", False):
        return array.detach()
    return array


def empty(like: Any, shape: Sequence[int], element: str) -> Any:
    """An array of the library and on the device of ``like``, for a kernel to fill."""
    which = library(like)
    if which == "torch":
        import torch

        # As bits where torch was given bits.
        name = _PLAIN[element] if str(like.dtype) in ("torch.uint16", "torch.uint8") and element in ("bf16", "e4m3") else _NAMED[element]
        return torch.empty(tuple(shape), dtype=getattr(torch, name), device=like.device)
    if which == "cupy":
        import cupy

        with cupy.cuda.Device(like.device.id):
            return cupy.empty(tuple(shape), dtype=_PLAIN[element])
    if which == "jax" and on_gpu(like):
        raise Error("JAX arrays cannot be written in place on a GPU: pass out= a CuPy or torch tensor", "unsupported")
    import numpy

    return numpy.empty(tuple(shape), dtype=_PLAIN[element])


def finished(like: Any, array: Any, element: str) -> Any:
    """A result in the caller's library: for JAX, the numpy array that was filled becomes one of its own, uncopied."""
    if library(like) != "jax":
        return array
    import jax

    result = jax.dlpack.from_dlpack(array)
    return result.view(_NAMED[element]) if element in ("bf16", "e4m3") else result


def on_gpu(array: Any) -> bool:
    device = getattr(array, "__dlpack_device__", None)
    return device is not None and int(device()[0]) in (2, 13)


def stream_number(stream: Any) -> int:
    """A CUDA stream of torch, CuPy or cuda.core, or its address, as a number."""
    if isinstance(stream, int):
        return stream
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
