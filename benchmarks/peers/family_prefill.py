"""Sparse prefill, bf16 rows, against FlashMLA. Few heads: the peer's time is that of 64 heads, without
the copy that pads Q; its own few-head path took 2.5 to 13 times as long at 1 ... 64 tokens and more than
1.25 times above (H200, 2026-11-24)."""
import ctypes

import torch

from measure import DEVICE, Case, pointer, stream

TOPK = 2048
SHAPES = ((64, 8192), (1024, 8192), (4096, 4096), (4096, 32768), (4096, 131072), (8192, 65536),
          (1, 32768), (16, 32768), (256, 32768))


def random_indices(s_q, s_kv, causal=False):
    """[s_q, topk] int32, random distinct tokens; -1 past what a token of a causal prompt sees."""
    indices = torch.full((s_q, TOPK), -1, dtype=torch.int32, device=DEVICE)
    for first in range(0, s_q, 512):
        last = min(first + 512, s_q)
        draw = torch.rand(last - first, s_kv, device=DEVICE)
        if causal:
            position = torch.arange(first, last, device=DEVICE)[:, None]
            draw.masked_fill_(torch.arange(s_kv, device=DEVICE)[None, :] > position, -1.0)
        value, index = draw.topk(min(TOPK, s_kv), dim=1)
        index = index.to(torch.int32)
        index[value < 0] = -1
        indices[first:last, :index.shape[1]] = index
    return indices


def difference(ours, peer):
    """Largest relative difference over groups of 512 tokens, in the 2-norm; inf where ours is NaN."""
    worst = 0.0
    for a, b in zip(ours.split(512), peer.split(512)):
        relative = (a.float() - b.float()).norm().item() / max(b.float().norm().item(), 1e-20)
        worst = max(worst, relative if relative == relative else float("inf"))
    return worst


def ours_call(context, q, kv, rows, indices, lengths, out, lse, fp8=0, decode=0):
    tokens, heads = q.shape[0], q.shape[1]
    arguments = (pointer(q), pointer(kv), fp8, ctypes.c_longlong(rows), pointer(indices), pointer(lengths),
                 pointer(out), pointer(lse), ctypes.c_longlong(tokens), heads, indices.shape[1],
                 ctypes.c_float(576 ** -0.5), decode)
    # The default argument keeps the tensors alive: the library sees only their addresses.
    return lambda kept=(q, kv, indices, lengths, out, lse): context.call("dsaperf_peers_sparse_mla", *arguments, stream())


def case(context, kernel, heads, s_q, s_kv, causal):
    q = (torch.randn(s_q, heads, 576, device=DEVICE) / 8).to(torch.bfloat16)
    kv = (torch.randn(s_kv, 1, 576, device=DEVICE) / 8).to(torch.bfloat16)
    indices = random_indices(s_q, s_kv, causal)
    lengths, pairs = None, s_q * TOPK
    if causal:
        lengths = torch.clamp(torch.arange(1, s_q + 1, device=DEVICE), max=TOPK).to(torch.int32)
        pairs = int(lengths.sum())
    out = torch.full((s_q, heads, 512), float("nan"), dtype=torch.bfloat16, device=DEVICE)
    lse = torch.empty(s_q, heads, dtype=torch.float32, device=DEVICE)
    peer, compare = None, None
    if context.flashmla is not None:
        op = context.flashmla.sparse_prefill_fwd
        peer_q = q
        if heads < 64:
            peer_q = torch.zeros(s_q, 64, 576, dtype=torch.bfloat16, device=DEVICE)
            peer_q[:, :heads] = q
        listed = indices.view(s_q, 1, TOPK)

        def peer():
            return op(peer_q, kv, listed, 576 ** -0.5, 512, None, lengths, None)

        def compare():
            return difference(out, peer()[0].view(s_q, -1, 512)[:, :heads])
    name = "h %d, %d x %d" % (heads, s_q, s_kv) + (", topk_length" if causal else "")
    return Case(kernel, name, ours_call(context, q, kv, s_kv, indices, lengths, out, lse), peer, compare,
                flop=2 * heads * pairs * 1088, extra={"heads": heads, "s_q": s_q, "s_kv": s_kv},
                shape=("sparse_prefill", 0, heads, 1, s_q, TOPK))


def cases(context):
    for heads in (64, 128, 16, 32, 8):
        for s_q, s_kv in SHAPES:
            yield case(context, "sparse_prefill", heads, s_q, s_kv, False)
    for heads in (64, 128):
        yield case(context, "sparse_prefill_causal", heads, 4096, 4096, True)
    yield from fp8_cases(context)


def fp8_cases(context):
    """fp8 rows read directly: no peer."""
    from family_decode import fp8_cache
    for heads in (64, 128):
        for s_q, s_kv in ((4096, 32768), (4096, 131072)):
            q = (torch.randn(s_q, heads, 576, device=DEVICE) / 8).to(torch.bfloat16)
            kv = fp8_cache(s_kv // 64)
            indices = random_indices(s_q, s_kv)
            out = torch.empty(s_q, heads, 512, dtype=torch.bfloat16, device=DEVICE)
            yield Case("sparse_prefill_fp8", "h %d, %d x %d" % (heads, s_q, s_kv),
                       ours_call(context, q, kv, s_kv, indices, None, out, None, fp8=1),
                       flop=2 * heads * s_q * TOPK * 1088, shape=("sparse_prefill", 1, heads, 1, s_q, TOPK))


