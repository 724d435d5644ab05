"""Indexer scores, prefill and paged, against DeepGEMM. Its paged kernel takes one or two new tokens
a request on Hopper; for three and four the peer is its time for 1 + 2 and 2 + 2."""
import torch

from indexer_inputs import SCORES_ALLOWED, Long, Paged, Prefill, call, deep_gemm, scores_apart
from measure import DEVICE, Case

PREFILL = ((4096, 32768), (4096, 4096), (1024, 8192), (2048, 2048), (8192, 65536), (2048, 131072), (64, 8192),
           (256, 8192), (1, 32768), (16, 32768))
DECODE = ((1, 4096), (1, 32768), (1, 131072), (8, 32768), (32, 32768), (64, 8192), (128, 4096), (128, 32768),
          (32, 131072))


def prefill_case(context, module, heads, tokens, keys, causal):
    x = Prefill(heads, tokens, keys, causal)
    out = torch.empty(tokens, keys, device=DEVICE)

    def ours():
        call(context, "dsaperf_peers_scores", (*x.tensors(), out), Long(tokens), Long(keys), heads)

    def peer():
        return module.fp8_fp4_mqa_logits((x.q, None), (x.k, x.scales), x.weights, x.start, x.end, keys)

    return Case("scores", "h %d, %d x %d %s" % (heads, tokens, keys, "causal" if causal else "full"), ours,
                peer if module else None, lambda: scores_apart(out, peer(), x.end), SCORES_ALLOWED,
                flop=256 * heads * x.pairs, byte=4 * x.pairs,
                extra={"heads": heads, "tokens": tokens, "keys": keys, "causal": causal},
                shape=("scores", 0, heads, 1, tokens, keys))


def paged_case(context, module, heads, batch, q_len, ctx):
    x = Paged(heads, batch, q_len, ctx)
    out = torch.empty(batch * q_len, ctx, device=DEVICE)
    parts = []  # of the new tokens, as many as the peer takes at once
    for first in range(0, q_len if module else 0, 2):
        n = min(2, q_len - first)
        lengths = x.row_lengths()[:, first:first + n].contiguous()
        sms = torch.cuda.get_device_properties(0).multi_processor_count
        weights = x.weights.view(batch, q_len, heads)[:, first:first + n].reshape(batch * n, heads).contiguous()
        parts.append((x.q[:, first:first + n].contiguous(), weights, lengths,
                      module.get_paged_mqa_logits_metadata(lengths, 64, sms)))

    def ours():
        call(context, "dsaperf_peers_paged_scores", (*x.tensors(), out), Long(batch), q_len, heads, Long(ctx))

    def peer():
        return [module.fp8_fp4_paged_mqa_logits((q, None), x.cache, weights, lengths, x.table, meta, ctx)
                for q, weights, lengths, meta in parts]

    def compare():
        whole = torch.cat([p.view(batch, -1, p.shape[-1])[:, :, :ctx] for p in peer()], dim=1)
        return scores_apart(out, whole.reshape(-1, ctx), x.row_lengths().reshape(-1))

    pairs = batch * q_len * ctx
    return Case("paged_scores", "h %d, b %d, q %d, ctx %d" % (heads, batch, q_len, ctx), ours,
                peer if module else None, compare, SCORES_ALLOWED, flop=256 * heads * pairs, byte=batch * ctx * 132 + 4 * pairs,
                extra={"heads": heads, "batch": batch, "q_len": q_len, "ctx": ctx},
                shape=("paged_scores", 0, heads, q_len, batch, ctx))


def cases(context):
    module = deep_gemm()
    for tokens, keys in PREFILL[:4]:
        for causal in (False, True):
            yield prefill_case(context, module, 64, tokens, keys, causal)
    for q_len in (1, 2):
        for batch, ctx in DECODE:
            yield paged_case(context, module, 64, batch, q_len, ctx)
    for tokens, keys in PREFILL[4:]:
        for causal in (False, True):
            yield prefill_case(context, module, 64, tokens, keys, causal)
    for tokens, keys in PREFILL:
        for causal in (False, True):
            yield prefill_case(context, module, 32, tokens, keys, causal)
    for q_len in (3, 4):
        for batch, ctx in DECODE:
            yield paged_case(context, module, 64, batch, q_len, ctx)
