"""A whole layer over paged caches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

from dsaperf import _arrays, _native
from dsaperf._arrays import Tensor, takes_tensors
from dsaperf._error import is_chosen

__all__ = ["DsaCache", "DsaLayer"]


class DsaLayer:
    """One sparse attention layer of a model: weights, and a forward pass over a cache.

    >>> layer = DsaLayer("deepseek-ai/DeepSeek-V3.2", heads=8)   # doctest: +SKIP
    >>> cache = layer.cache(pages=64)
    >>> request = cache.add_request()
    >>> cache.fill(request, 2100)
    >>> y = layer.forward(cache, [request], [1], x)             # x: [1, layer.hidden] bf16

    ``config`` is a path, a folder or a bundled name; ``weights`` a safetensors file or checkpoint folder (None: random
    ones from ``seed``); ``layer`` its index (None: the first sparse one with an indexer); ``heads`` those of this rank
    (0: all); ``device`` ``"cpu"``, ``"cpu_reference"`` or ``"gpu"``, where ``stream`` (a number, or a stream of
    torch, CuPy or cuda.core; None: one of its own) orders the work. Not thread-safe.
    """

    def __init__(
        self,
        config: str | os.PathLike[str],
        *,
        weights: str | os.PathLike[str] | None = None,
        seed: int = 0,
        layer: int | None = None,
        heads: int = 0,
        projections: Literal["bf16", "fp8_block"] = "bf16",
        device: Literal["cpu", "cpu_reference", "gpu"] = "cpu",
        threads: int = 0,
        stream: Any = None,
    ) -> None:
        self._stream = stream  # it must outlive the layer
        self._native = _native.Layer(
            os.fspath(config),
            None if weights is None else os.fspath(weights),
            seed,
            -1 if layer is None else layer,
            heads,
            is_chosen(projections, "fp8_block", "bf16", "projections"),
            device,
            threads,
            0 if stream is None else _arrays.stream_number(stream),
        )

    @property
    def layer(self) -> int:
        """Index in the model."""
        return self._native.layer

    @property
    def hidden(self) -> int:
        """Width of a token of ``x``."""
        return self._native.hidden

    @property
    def heads(self) -> int:
        """Attention heads of this rank."""
        return self._native.heads

    @property
    def index_heads(self) -> int:
        """Heads of the indexer; 0 without one."""
        return self._native.index_heads

    @property
    def topk(self) -> int:
        """Tokens that a token attends to at most."""
        return self._native.topk

    @property
    def has_indexer(self) -> bool:
        """False: the layer attends to a selection that it is given."""
        return self._native.has_indexer

    def cache(self, *, pages: int, kv: Literal["bf16", "fp8"] = "bf16") -> DsaCache:
        """A cache of ``pages`` pages of 64 tokens."""
        return DsaCache(self, pages, kv)

    @takes_tensors
    def forward(
        self,
        cache: DsaCache,
        requests: Sequence[int],
        new_tokens: Sequence[int],
        x: Tensor,
        *,
        selection: Tensor | None = None,
        selection_out: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """One pass over a ragged batch: ``x`` bf16 ``[tokens, hidden]``, request after request; returns the same shape.

        New tokens are appended to the cache, all or none. Tensors are on the host on every device. ``selection`` i32
        ``[tokens, topk]`` is for layers without an indexer; ``selection_out`` receives what was attended to.
        """
        result = _arrays.empty(x, x.shape, "bf16") if out is None else out
        e = _arrays.exportable
        written = e(result) if out is None else _arrays.writable(out, "out")
        selected = None if selection_out is None else _arrays.writable(selection_out, "selection_out")
        cache._native.forward(list(requests), list(new_tokens), e(x), e(selection), written, selected)
        return result

    def __repr__(self) -> str:
        return f"<DsaLayer {self.layer}: {self.heads} heads, top {self.topk}>"


class DsaCache:
    """Paged caches of latent rows and index keys, in the layouts that FlashMLA and DeepGEMM read."""

    def __init__(self, layer: DsaLayer, pages: int, kv: Literal["bf16", "fp8"] = "bf16") -> None:
        self._native = _native.Cache(layer._native, pages, is_chosen(kv, "fp8", "bf16", "kv"))

    def add_request(self) -> int:
        """A new, empty request; its number."""
        return self._native.add_request()

    def remove_request(self, request: int) -> None:
        """Gives its pages back; the number may be given to another request."""
        self._native.remove_request(request)

    def fork(self, parent: int, tokens: int) -> int:
        """A request that starts with the first ``tokens`` of ``parent`` without copying them."""
        return self._native.fork(parent, tokens)

    def fill(self, request: int, tokens: int, seed: int = 0) -> None:
        """Appends random past tokens that look like the layer's own."""
        self._native.fill(request, tokens, seed)

    def length(self, request: int) -> int:
        """Tokens that the request holds."""
        return self._native.length(request)

    def block_table(self, request: int) -> list[int]:
        """The request's pages, in order."""
        return self._native.block_table(request)

    @property
    def free_pages(self) -> int:
        """Pages of 64 tokens that no request holds."""
        return self._native.free_pages
