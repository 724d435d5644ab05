"""Top-k of f32 rows against the best of torch.topk and vLLM's persistent, cooperative and per-row
kernels, for each case the fastest of them cold; and scores with top-k in one call against DeepGEMM's
scores and that best top-k, where both archives are there."""
import torch

from indexer_inputs import TOPK, WORKSPACE, Long, Paged, Prefill, call, deep_gemm, rows_not_best
from measure import DEVICE, Case, _cold_once

SHAPES = ((1, 4096), (32, 4096), (128, 4096), (4096, 4096), (1, 32768), (8, 32768), (32, 32768), (64, 32768),
          (128, 32768), (1024, 32768), (4096, 32768), (1, 131072), (8, 131072), (32, 131072), (128, 131072),
          (1024, 131072), (4096, 131072), (1, 1048576))


class Peers:
    """The public top-k kernels on rows of one shape, and buffers that outlive their calls."""

    def __init__(self, context, rows, columns, lengths, indices):
        self.rows, self.columns, self.lengths, self.indices = rows, columns, lengths, indices
        self.workspace = torch.zeros(1 << 20, dtype=torch.uint8, device=DEVICE)
        self.zero = torch.zeros(rows, dtype=torch.int32, device=DEVICE)
        self.names = ["torch"]
        try:
            torch.ops.load_library(context.peers + "/_C_stable_libtorch.abi3.so")
            self.names += ["persistent", "per_row_prefill", "per_row_decode"] + (["cooperative"] if rows <= 64 else [])
        except (OSError, TypeError) as error:
            print("vLLM's kernels cannot be loaded: %s" % str(error)[:200])

    def run(self, name, x):
        ops, n, k = torch.ops._C, self.columns, TOPK
        if name == "torch":
            return torch.topk(x, k, dim=1, sorted=False)
        if name in ("persistent", "cooperative"):
            kernel = ops.persistent_topk if name == "persistent" else ops.cooperative_topk
            return kernel(x, self.lengths, self.indices, self.workspace, k, n)
        if name == "per_row_prefill":
            return ops.top_k_per_row_prefill(x, self.zero, self.lengths, self.indices, self.rows, x.stride(0), x.stride(1), k)
        return ops.top_k_per_row_decode(x, 1, self.lengths, self.indices, self.rows, x.stride(0), x.stride(1), k)

    def fastest(self, x):
        times = {}
        for name in self.names:
            try:
                self.run(name, x)
                torch.cuda.synchronize()
                times[name] = min(_cold_once(lambda name=name: self.run(name, x)) for _ in range(3))
            except Exception as error:  # noqa: BLE001 - a peer may refuse a shape
                print("  %s refuses %s: %s" % (name, tuple(x.shape), str(error).splitlines()[0][:100]))
        return min(times, key=times.get)


def topk_case(context, distribution, rows, columns):
    x = torch.randn(rows, columns, device=DEVICE)
    if distribution == "relu_ties":
        x = torch.relu_(x - 1.5)
    lengths = torch.full((rows,), columns, dtype=torch.int32, device=DEVICE)
    out = torch.full((rows, TOPK), -7, dtype=torch.int32, device=DEVICE)
    peers = Peers(context, rows, columns, lengths, torch.full_like(out, -7))
    name = peers.fastest(x)
    return Case("topk", "%s, %d x %d" % (distribution, rows, columns),
                lambda: call(context, "dsaperf_peers_topk", (x, None, out), Long(rows), Long(columns), TOPK),
                lambda: peers.run(name, x), lambda: rows_not_best(out, x, lengths), 0, byte=4 * rows * columns,
                extra={"rows": rows, "columns": columns, "distribution": distribution, "peer": name},
                shape=("topk", 0, 0, 1, rows, columns))


def fused_case(context, name, scores, rows, columns, lengths, ours, shape=None):
    out = torch.full((rows, TOPK), -7, dtype=torch.int32, device=DEVICE)
    workspace = torch.empty(WORKSPACE, dtype=torch.uint8, device=DEVICE)
    peers = Peers(context, rows, columns, lengths, torch.full_like(out, -7))
    best = peers.fastest(scores()) if columns != 65536 else "persistent"

    def compare():
        # Rows whose selection is not the best of the peer's scores, but for rounding at the threshold.
        x, wrong = scores(), 0
        for r in range(0, rows, max(1, rows // 32)):
            n = int(lengths[r])
            best_of_row = x[r, :n].topk(min(TOPK, n)).values
            mine = x[r][out[r][out[r] >= 0].long()]
            slack = 1e-3 * float(best_of_row.abs().max())
            wrong += mine.numel() != best_of_row.numel() or float(mine.min()) < float(best_of_row.min()) - slack
        return wrong

    return Case("fused_select", name, lambda: ours(out, workspace), lambda: peers.run(best, scores()), compare, 0,
                extra={"peer": "deepgemm + " + best}, shape=shape)


def fused_prefill(context, module, tokens, keys):
    x = Prefill(64, tokens, keys, True)
    return fused_case(
        context, "prefill, %d x %d causal" % (tokens, keys),
        lambda: module.fp8_fp4_mqa_logits((x.q, None), (x.k, x.scales), x.weights, x.start, x.end, keys),
        tokens, keys, x.end,
        lambda out, workspace: call(context, "dsaperf_peers_select", (*x.tensors(), out, workspace), Long(tokens),
                                    Long(keys), 64, TOPK, Long(WORKSPACE)))


def fused_decode(context, module, batch, ctx):
    x = Paged(64, batch, 1, ctx)
    lengths = x.lengths[:, None].contiguous()
    meta = module.get_paged_mqa_logits_metadata(lengths, 64, torch.cuda.get_device_properties(0).multi_processor_count)
    return fused_case(
        context, "decode, b %d, ctx %d" % (batch, ctx),
        lambda: module.fp8_fp4_paged_mqa_logits((x.q, None), x.cache, x.weights, lengths, x.table, meta, ctx),
        batch, ctx, x.lengths,
        lambda out, workspace: call(context, "dsaperf_peers_paged_select", (*x.tensors(), out, workspace), Long(batch),
                                    1, 64, Long(ctx), TOPK, Long(WORKSPACE)),
        ("paged_select", 0, 64, 1, batch, ctx))


def cases(context):
    for distribution in ("normal", "relu_ties"):
        for rows, columns in SHAPES:
            if distribution == "normal" or rows in (1, 128, 4096):
                yield topk_case(context, distribution, rows, columns)
    module = deep_gemm()
    if module is None:
        return
    for batch in (1, 32, 128):
        for ctx in (32768, 131072):
            yield fused_decode(context, module, batch, ctx)
    for tokens, keys in ((4096, 32768), (8192, 65536)):
        yield fused_prefill(context, module, tokens, keys)
