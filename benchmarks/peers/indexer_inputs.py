"""Inputs and calls that the families of the indexer share."""
import ctypes

import torch

from measure import DEVICE, pointer, stream

TOPK = 2048
WORKSPACE = 512 << 20


class Long(int):
    """A size that the C function takes as a long long."""


def call(context, name, tensors, *sizes):
    """Calls a C function of entry_indexer.cpp with pointers, then sizes, then the stream."""
    numbers = [ctypes.c_longlong(size) if isinstance(size, Long) else ctypes.c_int(size) for size in sizes]
    if getattr(context.ours, name)(*[pointer(t) for t in tensors], *numbers, stream()) != 0:
        error = context.ours.dsaperf_peers_indexer_error
        error.restype = ctypes.c_char_p
        raise RuntimeError("%s: %s" % (name, error().decode()))


class Prefill:
    """q, k, scales, weights and limits of one prefill."""

    def __init__(self, heads, tokens, keys, causal):
        self.q = torch.randn(tokens, heads, 128, device=DEVICE).to(torch.float8_e4m3fn)
        self.k = torch.randn(keys, 128, device=DEVICE).to(torch.float8_e4m3fn)
        self.scales = torch.rand(keys, device=DEVICE) + 0.5
        self.weights = torch.randn(tokens, heads, device=DEVICE)
        self.start = torch.zeros(tokens, dtype=torch.int32, device=DEVICE)
        self.end = torch.full((tokens,), keys, dtype=torch.int32, device=DEVICE)
        if causal:
            self.end = (torch.arange(tokens, device=DEVICE) + 1 + keys - tokens).to(torch.int32)
        self.pairs = int(self.end.long().sum())

    def tensors(self):
        return self.q, self.weights, self.k, self.scales, self.start, self.end


class Paged:
    """Pages of 64 keys and their scales, 8448 bytes, in order, and queries of one decode step."""

    def __init__(self, heads, batch, q_len, ctx):
        self.q_len = q_len
        pages = batch * ctx // 64
        self.cache = torch.empty(pages, 64, 1, 132, dtype=torch.uint8, device=DEVICE)
        flat = self.cache.view(pages, 64 * 132)
        for first in range(0, pages, 1 << 15):
            part = flat[first:first + (1 << 15)]
            part[:, :8192] = torch.randn(len(part), 8192, device=DEVICE).to(torch.float8_e4m3fn).view(torch.uint8)
            part[:, 8192:] = (torch.rand(len(part), 64, device=DEVICE) + 0.5).view(torch.uint8)
        self.q = torch.randn(batch, q_len, heads, 128, device=DEVICE).to(torch.float8_e4m3fn)
        self.weights = torch.randn(batch * q_len, heads, device=DEVICE)
        self.lengths = torch.full((batch,), ctx, dtype=torch.int32, device=DEVICE)
        self.table = torch.arange(pages, dtype=torch.int32, device=DEVICE).view(batch, ctx // 64)

    def tensors(self):
        return self.q, self.weights, self.cache, self.table, self.lengths

    def row_lengths(self):
        """[batch, q_len]: what each row sees."""
        return self.lengths[:, None] - self.q_len + 1 + torch.arange(self.q_len, device=DEVICE, dtype=torch.int32)


def deep_gemm():
    """The module, or None where it cannot be loaded."""
    try:
        import deep_gemm as module
        return module
    except Exception as error:  # noqa: BLE001 - whatever the reason, there is no peer then
        print("DeepGEMM cannot be loaded: %s" % str(error)[:200])
        return None


SCORES_ALLOWED = 1e-4  # both sum in f32 after the same products: differences stay near its rounding


def scores_apart(ours, peer, limits):
    """Largest relative difference of parts of 256 rows, in the 2-norm; inf where one is NaN. Row r sees
    limits[r] columns; the rest is undefined on both sides."""
    columns = torch.arange(ours.shape[1], device=DEVICE)
    worst = 0.0
    for first in range(0, ours.shape[0], 256):
        outside = columns[None] >= limits[first:first + 256, None]
        a = ours[first:first + 256].masked_fill(outside, 0)
        b = peer[first:first + 256, :ours.shape[1]].masked_fill(outside, 0)
        apart = (a - b).norm().item() / max(b.norm().item(), 1e-20)
        worst = max(worst, apart if apart == apart else float("inf"))
    return worst


def rows_not_best(indices, scores, lengths):
    """Of up to 64 rows, how many are not distinct valid positions whose scores, sorted, are the topk
    best: the same set up to ties."""
    return sum(not _is_best(indices, scores, lengths, r)
               for r in range(0, indices.shape[0], max(1, indices.shape[0] // 64)))


def _is_best(indices, scores, lengths, r):
    n = int(lengths[r])
    k = min(TOPK, n)
    row = indices[r][indices[r] >= 0].long()
    if len(row) != k or len(torch.unique(row)) != k or (k and int(row.max()) >= n):
        return False
    best = scores[r, :n].topk(k).values.sort().values
    return torch.equal(scores[r][row].sort().values, best)
