"""Block-scaled fp8 projections of DeepSeek-V3.2's layer against DeepGEMM, whose scales are brought to its layout
before the clock starts."""
import torch

from indexer_inputs import Long, call, deep_gemm
from measure import DEVICE, Case

# Name, n, k: of one rank with 128 heads, and what 16 heads change. qkv_a without the index key's rows: whole blocks.
PROJECTIONS = (("qkv_a", 2176, 7168), ("q_b", 24576, 1536), ("index_q", 8192, 1536), ("o", 7168, 16384),
               ("q_b of 16 heads", 3072, 1536), ("o of 16 heads", 7168, 2048))
TOKENS = (4096, 1024, 128, 32, 1)


def case(context, module, name, m, n, k):
    x = torch.randn(m, k, device=DEVICE).to(torch.float8_e4m3fn)
    w = torch.randn(n, k, device=DEVICE).to(torch.float8_e4m3fn)
    x_scales = torch.rand(m, k // 128, device=DEVICE) + 0.5
    w_scales = torch.rand(n // 128, k // 128, device=DEVICE) + 0.5
    out = torch.empty(m, n, dtype=torch.bfloat16, device=DEVICE)
    out_peer = torch.empty_like(out)
    if module:
        peer_scales = module.get_mn_major_tma_aligned_tensor(x_scales)

    def ours():
        call(context, "dsaperf_peers_fp8_gemm", (x, x_scales, w, w_scales, out), Long(m), Long(n), Long(k))

    def peer():
        module.fp8_gemm_nt((x, peer_scales), (w, w_scales), out_peer, disable_ue8m0_cast=True)

    def compare():
        peer()
        a, b = out.float(), out_peer.float()
        return ((a - b).norm() / b.norm()).item()

    return Case("fp8_gemm", "%s, %d x %d x %d" % (name, m, n, k), ours, peer if module else None,
                compare if module else None, flop=2 * m * n * k, byte=m * k + n * k + 2 * m * n,
                extra={"m": m, "n": n, "k": k})


def cases(context):
    module = deep_gemm()
    for m in TOKENS:
        for name, n, k in PROJECTIONS:
            yield case(context, module, name, m, n, k)
