"""Sparse decode, fp8 rows of 656 bytes, against FlashMLA; bf16 rows have no peer. Few heads: the
peer's time is that of 64 heads, without the copy that pads Q."""
import torch

from family_prefill import TOPK, difference, ours_call
from measure import DEVICE, Case

SHAPES = ((1, 1, 32768), (2, 1, 32768), (4, 1, 32768), (8, 1, 32768), (16, 1, 32768), (32, 1, 32768), (64, 1, 32768),
          (128, 1, 32768), (128, 1, 4096), (128, 2, 32768), (256, 1, 8192))


def fp8_cache(pages):
    """[pages, 64, 1, 656] bytes: 512 e4m3, 4 f32 scales (powers of two), 64 bf16."""
    rows = pages * 64
    cache = torch.empty(rows, 656, dtype=torch.uint8, device=DEVICE)
    for first in range(0, rows, 1 << 20):
        last = min(first + (1 << 20), rows)
        n = last - first
        cache[first:last, :512] = torch.randn(n, 512, device=DEVICE).to(torch.float8_e4m3fn).view(torch.uint8)
        cache[first:last, 512:528] = torch.full((n, 4), 0.125, device=DEVICE).view(torch.uint8)
        cache[first:last, 528:] = (torch.randn(n, 64, device=DEVICE) / 8).to(torch.bfloat16).view(torch.uint8)
    return cache.view(pages, 64, 1, 656)


def case(context, heads, batch, q_len, ctx, cache):
    rows = batch * ctx
    q = (torch.randn(batch, q_len, heads, 576, device=DEVICE) / 8).to(torch.bfloat16)
    listed = torch.stack([torch.randperm(ctx, device=DEVICE)[:TOPK] + i * ctx for i in range(batch)]).to(torch.int32)
    listed = listed[:, None, :].expand(batch, q_len, TOPK).contiguous()
    out = torch.full((batch * q_len, heads, 512), float("nan"), dtype=torch.bfloat16, device=DEVICE)
    lse = torch.empty(batch * q_len, heads, dtype=torch.float32, device=DEVICE)
    peer, compare = None, None
    if context.flashmla is not None:
        op = context.flashmla.sparse_decode_fwd
        peer_q = q
        if heads < 64:
            peer_q = torch.zeros(batch, q_len, 64, 576, dtype=torch.bfloat16, device=DEVICE)
            peer_q[:, :, :heads] = q
        first = op(peer_q, cache, listed, None, None, None, None, None, None, None, 512, 576 ** -0.5, None, False)
        meta, splits = first[2], first[3]

        def peer():
            return op(peer_q, cache, listed, None, None, meta, splits, None, None, None, 512, 576 ** -0.5, None, False)

        def compare():
            return difference(out, peer()[0].view(batch * q_len, -1, 512)[:, :heads])
    ours = ours_call(context, q.view(-1, heads, 576), cache, rows, listed.view(-1, TOPK), None, out, lse, fp8=1, decode=1)
    return Case("sparse_decode_fp8", "h %d, b %d, q %d, ctx %d" % (heads, batch, q_len, ctx), ours, peer, compare,
                flop=2 * batch * q_len * heads * TOPK * 1088, byte=batch * q_len * TOPK * 656,
                extra={"heads": heads, "batch": batch, "q_len": q_len, "ctx": ctx},
                shape=("sparse_decode", 1, heads, 1, batch * q_len, TOPK))


def cases(context):
    # Few caches, shared by the head counts: making one costs more than timing on it.
    for batch, q_len, ctx in SHAPES:
        cache = fp8_cache(batch * ctx // 64)
        for heads in (64, 128, 16, 32, 8):
            yield case(context, heads, batch, q_len, ctx, cache)
        del cache
    for heads in (64, 128):
        for batch in (1, 32, 128):
            yield bf16_case(context, heads, batch, 8192)


def bf16_case(context, heads, batch, ctx):
    q = (torch.randn(batch, heads, 576, device=DEVICE) / 8).to(torch.bfloat16)
    kv = (torch.randn(batch * ctx, 576, device=DEVICE) / 8).to(torch.bfloat16)
    listed = torch.stack([torch.randperm(ctx, device=DEVICE)[:TOPK] + i * ctx for i in range(batch)]).to(torch.int32)
    out = torch.empty(batch, heads, 512, dtype=torch.bfloat16, device=DEVICE)
    return Case("sparse_decode_bf16", "h %d, b %d, q 1, ctx %d" % (heads, batch, ctx),
                ours_call(context, q, kv, batch * ctx, listed, None, out, None, decode=1),
                flop=2 * batch * heads * TOPK * 1088, byte=batch * TOPK * 1152,
                shape=("sparse_decode", 0, heads, 1, batch, TOPK))
