"""Kernels on GPU tensors of torch, on a stream of the caller's, against the double reference on the host.

Needs a build with CUDA, a Hopper card and torch; without them it is skipped, or fails where DSAPERF_REQUIRE_GPU=1.
"""

import os
import unittest

import dsaperf
from dsaperf import _native
from dsaperf import kernels as k

try:
    import torch

    WHY = "" if torch.cuda.is_available() else "torch sees no GPU"
except ImportError as error:
    torch, WHY = None, str(error)
if not _native.with_cuda:
    WHY = "this build has no GPU part"
if WHY and os.environ.get("DSAPERF_REQUIRE_GPU") == "1":
    raise SystemExit(f"DSAPERF_REQUIRE_GPU=1, and {WHY}")

BF16 = 2.0**-8  # one rounding to bfloat16; kernel and reference each round once


@unittest.skipIf(WHY, WHY)
class GpuTest(unittest.TestCase):
    def setUp(self):
        self.generator = torch.Generator().manual_seed(1)

    def normal(self, *shape, scale=1.0):
        return (torch.randn(*shape, generator=self.generator) * scale).bfloat16()

    def close(self, on_gpu, reference, rounding=2 * BF16):
        a, b = on_gpu.cpu().double(), reference.double()
        self.assertLessEqual((a - b).abs().max().item(), rounding * b.abs().max().item())

    def test_attention_on_a_stream_of_the_callers(self):
        q, kv = self.normal(32, 16, 576, scale=0.2), self.normal(1024, 576, scale=0.2)
        indices = torch.randint(0, 1024, (32, 256), generator=self.generator, dtype=torch.int32)
        expected, expected_lse = k.sparse_mla(q, kv, indices, 0.1, reference=True)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            # Queued behind copies on the same stream: the kernel must wait for them.
            out, lse = k.sparse_mla(q.cuda(non_blocking=True), kv.cuda(non_blocking=True), indices.cuda(), 0.1)
            doubled = out * 2  # and torch's next work on this stream for the kernel
        stream.synchronize()
        self.close(out, expected)
        self.close(lse, expected_lse, 1e-4)
        torch.testing.assert_close(doubled, out * 2)

    def test_decode_takes_a_workspace_of_torchs(self):
        q, kv = self.normal(2, 16, 576, scale=0.2), self.normal(4096, 576, scale=0.2)
        indices = torch.randint(0, 4096, (2, 2048), generator=self.generator, dtype=torch.int32)
        expected, _ = k.sparse_mla(q, kv, indices, 0.1, reference=True)
        out, _ = k.sparse_mla(q.cuda(), kv.cuda(), indices.cuda(), 0.1, decode=True)
        self.close(out, expected)

    def test_the_indexer_finds_the_same_set(self):
        tokens, heads, keys = 64, 32, 2048
        q, _, weights = k.indexer_quantise(self.normal(tokens * heads, 128), torch.rand(tokens * heads, generator=self.generator))
        key, key_scale, _ = k.indexer_quantise(self.normal(keys, 128))
        q, weights = q.view(tokens, heads, 128), weights.view(tokens, heads)
        start, end = torch.zeros(tokens, dtype=torch.int32), torch.arange(keys - tokens + 1, keys + 1, dtype=torch.int32)
        expected = k.indexer_scores(q, weights, key, key_scale, start, end, reference=True)
        scores = k.indexer_scores(*(t.cuda() for t in (q, weights, key, key_scale, start, end)))
        finite = expected.isfinite()
        self.close(scores.cpu()[finite], expected[finite], 1e-5)
        found = k.topk(scores, 256, end=end.cuda())
        expected_set = torch.topk(scores, 256).indices.sort(1).values
        torch.testing.assert_close(found.sort(1).values.long(), expected_set)

    def test_rows_of_a_pass(self):
        x, weight = self.normal(64, 1536), torch.rand(1536, generator=self.generator)
        self.close(k.norm(x.cuda(), weight.cuda()), k.norm(x, weight, reference=True))
        values, scales = k.quantise_groups(x)
        on_gpu, gpu_scales = k.quantise_groups(x.cuda())
        torch.testing.assert_close(gpu_scales.cpu(), scales)
        torch.testing.assert_close(on_gpu.cpu().view(torch.uint8), values.view(torch.uint8))
        w = self.normal(512, 1536)
        self.close(k.gemm(x.cuda(), w.cuda()), k.gemm(x, w, reference=True))

    def test_a_captured_graph_replays(self):
        scores = torch.randn(8, 4096, generator=self.generator).cuda()
        out = torch.empty(8, 64, dtype=torch.int32, device="cuda")
        k.topk(scores, 64, out=out)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            k.topk(scores, 64, out=out)
        scores.copy_(torch.randn(8, 4096, generator=self.generator))
        graph.replay()
        torch.cuda.synchronize()
        expected = torch.topk(scores, 64).indices.sort(1).values
        torch.testing.assert_close(out.sort(1).values.long(), expected)

    def test_tensors_of_two_places_are_refused(self):
        with self.assertRaises(dsaperf.Error) as raised:
            k.topk(torch.zeros(2, 64, device="cuda"), 4, out=torch.zeros(2, 4, dtype=torch.int32))
        self.assertEqual(raised.exception.code, "invalid_argument")
        self.assertIn("out", str(raised.exception))

    def test_a_layer_is_the_references(self):
        outputs = []
        x = k.to_bf16(torch.randn(3, 7168, generator=self.generator).numpy())
        for device in ("gpu", "cpu"):
            layer = dsaperf.DsaLayer("deepseek-ai/DeepSeek-V3.2", heads=16, seed=3, device=device)
            cache = layer.cache(pages=8)
            request = cache.add_request()
            cache.fill(request, 70, seed=5)
            outputs.append(torch.from_numpy(k.from_bf16(layer.forward(cache, [request], [3], x))))
        self.close(outputs[0], outputs[1], 12 * BF16)  # a dozen stages, each rounds once


if __name__ == "__main__":
    unittest.main()
