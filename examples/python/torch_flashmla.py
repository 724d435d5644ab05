"""dsaperf's kernels in place of FlashMLA's, DeepGEMM's and vLLM's calls of a DSA layer.

    python3 examples/python/torch_flashmla.py            # on the GPU where there is one, else on the host

The three functions below have the signatures of the libraries' own, so a model file needs another import and nothing else:

    from flash_mla import flash_mla_sparse_fwd           ->  from torch_flashmla import flash_mla_sparse_fwd
    deep_gemm.fp8_mqa_logits                             ->  fp8_mqa_logits
    torch.ops._C.top_k_per_row_prefill                   ->  top_k_per_row_prefill

Unlike FlashMLA, which wants heads in multiples of 64, 8, 16 and 32 heads (tensor parallel 16, 8, 4) need no padding.
"""

from __future__ import annotations

import torch
from dsaperf import kernels


def flash_mla_sparse_fwd(
    q: torch.Tensor,  # [tokens, heads, 576] bf16
    kv: torch.Tensor,  # [rows, 1, 576] bf16
    indices: torch.Tensor,  # [tokens, 1, topk] int32, -1 for none
    sm_scale: float,
    d_v: int = 512,
    topk_length: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """FlashMLA's: (out, max_logits, lse). Ours is a natural logarithm, -inf for an empty row; FlashMLA's base is 2 or e by
    version, and an empty row gives +inf there. Serving code of a whole selection reads neither; max_logits is not computed."""
    assert d_v == 512
    out, lse = kernels.sparse_mla(q, kv, indices.squeeze(1), sm_scale, topk_length=topk_length)
    return out, torch.full_like(lse, float("nan")), lse


def fp8_mqa_logits(
    q: torch.Tensor,  # [tokens, heads, 128] e4m3
    kv: tuple[torch.Tensor, torch.Tensor],  # [keys, 128] e4m3, [keys] f32
    weights: torch.Tensor,  # [tokens, heads] f32
    cu_seqlen_ks: torch.Tensor,  # [tokens] int32: first key
    cu_seqlen_ke: torch.Tensor,  # [tokens] int32: behind the last key
) -> torch.Tensor:
    """DeepGEMM's: scores [tokens, keys], -inf outside."""
    return kernels.indexer_scores(q, weights, kv[0], kv[1].reshape(-1), cu_seqlen_ks, cu_seqlen_ke)


def top_k_per_row_prefill(
    logits: torch.Tensor,  # [rows, columns] f32
    row_starts: torch.Tensor,
    row_ends: torch.Tensor,
    topk_indices: torch.Tensor,  # [rows, topk] int32, written
) -> None:
    """vLLM's: positions from each row's start."""
    kernels.topk(logits, topk_indices.shape[1], start=row_starts, end=row_ends, out=topk_indices)


def plain_attention(q: torch.Tensor, kv: torch.Tensor, indices: torch.Tensor, scale: float) -> torch.Tensor:
    """The same by torch alone, in double."""
    selected = kv.squeeze(1).double()[indices.squeeze(1).clamp(min=0).long()]  # [tokens, topk, 576]
    logits = torch.einsum("thd,tkd->thk", q.double(), selected) * scale
    logits.masked_fill_(indices < 0, float("-inf"))
    return torch.einsum("thk,tkd->thd", logits.softmax(-1), selected[..., :512])


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    tokens, keys, heads, topk = 64, 512, 16, 128
    positions = torch.arange(keys - tokens, keys, dtype=torch.int32, device=device)

    # The indexer: queries and keys in fp8, scores of what each token sees, the highest of them.
    index_q, q_scale, weights = kernels.indexer_quantise(
        torch.randn(tokens * 32, 128, device=device).bfloat16(), torch.rand(tokens * 32, device=device)
    )
    index_k, k_scale, _ = kernels.indexer_quantise(torch.randn(keys, 128, device=device).bfloat16())
    start, end = torch.zeros_like(positions), positions + 1
    scores = fp8_mqa_logits(index_q.view(tokens, 32, 128), (index_k, k_scale), weights.view(tokens, 32), start, end)
    indices = torch.empty(tokens, topk, dtype=torch.int32, device=device)
    top_k_per_row_prefill(scores, start, end, indices)

    # Attention over the selection.
    q = torch.randn(tokens, heads, 576, device=device).bfloat16() * 0.2
    kv = torch.randn(keys, 1, 576, device=device).bfloat16() * 0.2
    out, _, lse = flash_mla_sparse_fwd(q, kv, indices.unsqueeze(1), 576**-0.5)

    expected = plain_attention(q, kv, indices.unsqueeze(1), 576**-0.5)
    error = ((out.double() - expected).abs().max() / expected.abs().max()).item()
    chosen = torch.topk(scores, topk).indices.sort(1).values
    same = torch.equal(indices.sort(1).values.long(), chosen)
    print(f"{device}: {tokens} tokens, {heads} heads, {topk} of up to {keys} keys each")
    print(f"selection as torch.topk's: {'yes' if same else 'no'}; attention beside torch in double: {error:.1e} of the largest")
    assert same and error < 2 * 2.0**-8  # probabilities and result are rounded to bfloat16


if __name__ == "__main__":
    main()
