"""The stages of a DeepSeek Sparse Attention layer as functions on tensors.

Any library that speaks DLPack will do: torch, CuPy, JAX, numpy. Nothing is copied. Tensors on a GPU are worked on in
order on ``stream`` (default: the library's current stream) and not waited for; tensors on the host are worked on before
the function returns, on ``threads`` cores (0: all), or with ``reference=True`` in double precision and plain loops.

Results are new tensors of the same library, or go into ``out`` where one is given. bfloat16 and float8_e4m3fn may also be
passed as their bits, uint16 and uint8; numpy and CuPy, which lack them, get bits back.

JAX arrays are immutable and its streams its own: results are new arrays, also of what is written in place in other libraries
(``rope``, the cache writes: keep a cache in torch or CuPy, which JAX arrays may be mixed with); a call on a GPU ends when its
work is done; inside ``jax.jit`` there is none. int64 slots need ``jax.enable_x64``.

Wrong shapes, types or values raise :class:`dsaperf.Error` with code ``invalid_argument``; what is no tensor at all raises a
:class:`dsaperf.NoTensorError`, which is a ``TypeError`` too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from dsaperf import _arrays, _native
from dsaperf._arrays import Tensor, takes_tensors
from dsaperf._error import is_chosen

__all__ = [
    "fp8_gemm",
    "from_bf16",
    "gather_index_keys",
    "gemm",
    "index_key_cache_write",
    "indexer_quantise",
    "indexer_scores",
    "kv_cache_write",
    "norm",
    "paged_indexer_scores",
    "quantise_groups",
    "rope",
    "selection_rows",
    "sparse_mla",
    "to_bf16",
    "topk",
]

_GROUP = 128


def _options(like: Tensor, stream: Any, reference: bool, threads: int) -> _native.Options:
    def workspace(size: int) -> Tensor:
        return _arrays.empty(like, (size,), "byte", stream)

    return _native.Options(_arrays.stream_of(like, stream), reference, threads, workspace)


_Shape = Callable[[], Sequence[int]]
"""Of a result: not asked for where the caller gave one, whose shape the kernel checks."""


def _result(
    out: Tensor | None, like: Tensor, stream: Any, shape: _Shape, element: str, fill: Callable[[Tensor], None]
) -> Tensor:
    """``out``, or a new tensor of the library of ``like``, once ``fill`` has filled it."""
    if out is not None:
        fill(_arrays.writable(out, "out"))
        return out
    made = _arrays.empty(like, shape(), element, stream)
    fill(_arrays.exportable(made))
    return made


def _f32_scales(scale_format: str) -> bool:
    return is_chosen(scale_format, "f32", "ue8m0", "scale_format")


def _groups(size: int) -> int:
    return -(-size // _GROUP)


def to_bf16(values: Tensor) -> Tensor:
    """float32 numpy values rounded to bfloat16 (to nearest, ties to even), as bits."""
    import numpy

    bits = numpy.ascontiguousarray(values, dtype=numpy.float32).view(numpy.uint32)
    rounded = ((bits.astype(numpy.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)
    return numpy.where(numpy.isnan(bits.view(numpy.float32)), numpy.uint16(0x7FC0), rounded)


def from_bf16(bits: Tensor) -> Tensor:
    """bfloat16 bits as float32 numpy values, exactly."""
    import numpy

    return (numpy.asarray(bits).astype(numpy.uint32) << 16).view(numpy.float32)


@takes_tensors
def gemm(
    x: Tensor,
    w: Tensor,
    *,
    w_layout: Literal["out_in", "in_out"] = "out_in",
    out_dtype: Literal["bf16", "f32"] = "bf16",
    out: Tensor | None = None,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """``x @ w.T`` of bf16 with f32 sums: x ``[m, k]``, w ``[n, k]`` (``in_out``: ``[k, n]``); both may have a batch in front."""
    e, options = _arrays.exportable, _options(x, stream, reference, threads)
    transposed = is_chosen(w_layout, "in_out", "out_in", "w_layout")
    is_f32 = is_chosen(out_dtype, "f32", "bf16", "out_dtype")

    def fill(y: Tensor) -> None:
        _native.gemm(e(x), e(w), y, transposed, is_f32, options)

    return _result(out, x, stream, lambda: (*x.shape[:-1], *(w.shape[-1:] if transposed else w.shape[-2:-1])), out_dtype, fill)


@takes_tensors
def fp8_gemm(
    x: Tensor,
    x_scales: Tensor,
    w: Tensor,
    w_scales: Tensor,
    *,
    out: Tensor | None = None,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """``x @ w.T`` of e4m3, bf16 result: x ``[m, k]`` with scales ``[m, k/128]``, w ``[n, k]`` with scales ``[n/128, k/128]``."""
    e, options = _arrays.exportable, _options(x_scales, stream, reference, threads)

    def fill(y: Tensor) -> None:
        _native.fp8_gemm(e(x), e(x_scales), e(w), e(w_scales), y, options)

    return _result(out, x_scales, stream, lambda: (*x.shape[:1], *w.shape[:1]), "bf16", fill)


@takes_tensors
def quantise_groups(
    x: Tensor,
    *,
    scale_format: Literal["ue8m0", "f32"] = "ue8m0",
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> tuple[Tensor, Tensor]:
    """bf16 rows ``[rows, dim]`` to e4m3 values and f32 scales ``[rows, dim/128]``."""
    values = _arrays.empty(x, x.shape, "e4m3", stream)
    scales = _arrays.empty(x, (*x.shape[:1], *map(_groups, x.shape[1:2])), "f32", stream)
    e = _arrays.exportable
    _native.quantise_groups(e(x), e(values), e(scales), _f32_scales(scale_format), _options(x, stream, reference, threads))
    return values, scales


@takes_tensors
def norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-6,
    out: Tensor | None = None,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """RMSNorm of bf16 rows ``[rows, dim]`` by f32 weights, or LayerNorm where ``bias`` is given."""
    e, options = _arrays.exportable, _options(x, stream, reference, threads)
    return _result(out, x, stream, lambda: x.shape, "bf16", lambda y: _native.norm(e(x), e(weight), e(bias), eps, y, options))


@takes_tensors
def rope(
    x: Tensor,
    cos_sin: Tensor,
    positions: Tensor,
    *,
    pairs: Literal["interleaved", "half_split"] = "interleaved",
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """Rotates ``x`` ``[tokens, heads, dim]`` in place. ``cos_sin`` ``[positions, dim]``: dim/2 cosines, dim/2 sines; i32 positions."""
    e, turned = _arrays.exportable, _arrays.own(x)
    half_split = is_chosen(pairs, "half_split", "interleaved", "pairs")
    _native.rope(e(turned), e(cos_sin), e(positions), half_split, _options(x, stream, reference, threads))
    return turned


@takes_tensors
def indexer_quantise(
    x: Tensor,
    weights: Tensor | None = None,
    *,
    weight_factor: float = 1.0,
    scale_format: Literal["ue8m0", "f32"] = "ue8m0",
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Hadamard rotation of bf16 rows ``[rows, 128]``, then e4m3 values and one f32 scale a row. With ``weights`` ``[rows]``
    also weights * scale * weight_factor, else None."""
    values = _arrays.empty(x, x.shape, "e4m3", stream)
    scales = _arrays.empty(x, x.shape[:1], "f32", stream)
    weights_out = None if weights is None else _arrays.empty(x, x.shape[:1], "f32", stream)
    e = _arrays.exportable
    options = _options(x, stream, reference, threads)
    _native.indexer_quantise(e(x), e(values), e(scales), e(weights), e(weights_out), weight_factor, _f32_scales(scale_format), options)
    return values, scales, weights_out


@takes_tensors
def kv_cache_write(
    latent: Tensor,
    rope: Tensor,
    slots: Tensor,
    cache: Tensor,
    *,
    kv: Literal["bf16", "fp8"] = "bf16",
    scale_format: Literal["ue8m0", "f32"] = "ue8m0",
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """New tokens (latent ``[tokens, 512]``, rope ``[tokens, 64]``) into their i64 slots of a cache: rows of 576 bf16 or of 656
    bytes, ``[rows, ...]`` or ``[pages, 64, 1, ...]``. Returns the cache."""
    e, written = _arrays.exportable, _arrays.own(cache)
    options = _options(latent, stream, reference, threads)
    fp8 = is_chosen(kv, "fp8", "bf16", "kv")
    _native.kv_cache_write(e(latent), e(rope), e(slots), e(written), fp8, _f32_scales(scale_format), options)
    return written


@takes_tensors
def index_key_cache_write(
    values: Tensor,
    scales: Tensor,
    slots: Tensor,
    pages: Tensor,
    *,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """New index keys (e4m3 ``[tokens, 128]``, f32 scales) into their i64 slots of pages of 8448 bytes. Returns the pages."""
    e, written = _arrays.exportable, _arrays.own(pages)
    _native.index_key_cache_write(e(values), e(scales), e(slots), e(written), _options(scales, stream, reference, threads))
    return written


@takes_tensors
def gather_index_keys(
    pages: Tensor,
    block_table: Tensor,
    tokens: int,
    *,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> tuple[Tensor, Tensor]:
    """Index keys of one request out of their pages: e4m3 values ``[tokens, 128]`` and f32 scales."""
    values = _arrays.empty(pages, (tokens, 128), "e4m3", stream)
    scales = _arrays.empty(pages, (tokens,), "f32", stream)
    e = _arrays.exportable
    options = _options(pages, stream, reference, threads)
    _native.gather_index_keys(e(pages), e(block_table), e(values), e(scales), options)
    return values, scales


@takes_tensors
def indexer_scores(
    q: Tensor,
    weights: Tensor,
    k: Tensor,
    k_scales: Tensor,
    start: Tensor,
    end: Tensor,
    *,
    outside: Literal["untouched", "minus_infinity"] = "minus_infinity",
    out: Tensor | None = None,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """``scores[t, p] = k_scales[p] * sum_h weights[t, h] * relu(q[t, h] . k[p])`` for start[t] <= p < end[t].

    q e4m3 ``[tokens, heads, 128]``, weights f32 ``[tokens, heads]``, k e4m3 ``[keys, 128]``; start and end i32.
    """
    e, options = _arrays.exportable, _options(weights, stream, reference, threads)
    fills = is_chosen(outside, "minus_infinity", "untouched", "outside")

    def fill(scores: Tensor) -> None:
        _native.indexer_scores(e(q), e(weights), e(k), e(k_scales), e(start), e(end), scores, fills, options)

    return _result(out, weights, stream, lambda: (*q.shape[:1], *k.shape[:1]), "f32", fill)


@takes_tensors
def paged_indexer_scores(
    q: Tensor,
    weights: Tensor,
    pages: Tensor,
    block_table: Tensor,
    context_length: Tensor,
    max_context: int,
    *,
    outside: Literal["untouched", "minus_infinity"] = "minus_infinity",
    out: Tensor | None = None,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """The same from pages, for decode: q e4m3 ``[batch, q_len, heads, 128]``, weights f32 ``[batch, q_len, heads]``, block_table
    i32 ``[batch, pages]``, context_length i32 ``[batch]`` with the new tokens; result ``[batch * q_len, max_context]``."""
    e, options = _arrays.exportable, _options(weights, stream, reference, threads)
    fills = is_chosen(outside, "minus_infinity", "untouched", "outside")

    def fill(scores: Tensor) -> None:
        _native.paged_indexer_scores(e(q), e(weights), e(pages), e(block_table), e(context_length), scores, fills, options)

    return _result(out, weights, stream, lambda: (math.prod(q.shape[:2]), max_context), "f32", fill)


@takes_tensors
def topk(
    scores: Tensor,
    k: int,
    *,
    start: Tensor | None = None,
    end: Tensor | None = None,
    out: Tensor | None = None,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """The ``k`` highest of columns [start, end) of each row of f32 ``scores``, as i32 positions from start, then -1.

    A set: the order is free, and so is the choice among equals. NaN sorts below every number.
    """
    e, options = _arrays.exportable, _options(scores, stream, reference, threads)

    def fill(selected: Tensor) -> None:
        _native.topk(e(scores), e(start), e(end), selected, options)

    return _result(out, scores, stream, lambda: (*scores.shape[:1], k), "i32", fill)


@takes_tensors
def selection_rows(
    positions: Tensor,
    request: Tensor,
    block_table: Tensor,
    *,
    out: Tensor | None = None,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> Tensor:
    """Positions in a request ``[tokens, topk]`` to rows of the paged cache; -1 where there is none. All i32."""
    e, options = _arrays.exportable, _options(positions, stream, reference, threads)

    def fill(rows: Tensor) -> None:
        _native.selection_rows(e(positions), e(request), e(block_table), rows, options)

    return _result(out, positions, stream, lambda: positions.shape, "i32", fill)


@takes_tensors
def sparse_mla(
    q: Tensor,
    cache: Tensor,
    indices: Tensor,
    scale: float,
    *,
    topk_length: Tensor | None = None,
    kv: Literal["bf16", "fp8"] = "bf16",
    decode: bool = False,
    out: Tensor | None = None,
    lse: Tensor | None = None,
    stream: Any = None,
    threads: int = 0,
    reference: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attention of each query ``[tokens, heads, 576]`` bf16 over the cache rows that ``indices`` i32 ``[tokens, topk]`` names.

    Heads are 8, 16, 32, 64 or 128. ``cache`` and its format ``kv`` are those of :func:`kv_cache_write`. Returns ``[tokens, heads, 512]`` bf16
    and the natural logarithm of the sum, f32 ``[tokens, heads]``. ``decode``: few tokens, lists may be split over SMs.
    """
    result = _arrays.empty(q, (*q.shape[:2], 512), "bf16", stream) if out is None else out
    sums = _arrays.empty(q, q.shape[:2], "f32", stream) if lse is None else lse
    e = _arrays.exportable
    _native.sparse_mla(
        e(q),
        e(cache),
        e(indices),
        scale,
        e(topk_length),
        e(result) if out is None else _arrays.writable(out, "out"),
        e(sums) if lse is None else _arrays.writable(lse, "lse"),
        is_chosen(kv, "fp8", "bf16", "kv"),
        decode,
        _options(q, stream, reference, threads),
    )
    return result, sums
