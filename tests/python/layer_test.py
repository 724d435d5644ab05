"""A layer by the Python package: what the double reference says, and what its cache keeps."""

import unittest

import dsaperf
import numpy as np
from dsaperf import kernels

V32 = "deepseek-ai/DeepSeek-V3.2"


class LayerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.layer = dsaperf.DsaLayer(V32, heads=8, seed=3)

    def tokens(self, count):
        return kernels.to_bf16(np.random.default_rng(count).standard_normal((count, self.layer.hidden)))

    def test_it_knows_its_model(self):
        self.assertEqual((self.layer.hidden, self.layer.heads, self.layer.topk), (7168, 8, 2048))
        self.assertTrue(self.layer.has_indexer)
        self.assertIn("8 heads", repr(self.layer))

    def test_forward_is_the_references(self):
        outputs = []
        for layer in (self.layer, dsaperf.DsaLayer(V32, heads=8, seed=3, device="cpu_reference")):
            cache = layer.cache(pages=4)
            requests = [cache.add_request(), cache.add_request()]
            cache.fill(requests[0], 70, seed=5)
            outputs.append(kernels.from_bf16(layer.forward(cache, requests, [1, 2], self.tokens(3))))
        scale = np.abs(outputs[1]).max()
        # Each of the dozen stages rounds to bfloat16 once; 2^-8 each, added up.
        np.testing.assert_allclose(outputs[0], outputs[1], atol=12 * 2.0**-8 * scale)

    def test_new_tokens_are_kept(self):
        cache = self.layer.cache(pages=40, kv="fp8")
        request = cache.add_request()
        cache.fill(request, 2100)
        selection = np.full((1, 2048), -2, np.int32)
        y = self.layer.forward(cache, [request], [1], self.tokens(1), selection_out=selection)
        self.assertEqual((y.shape, y.dtype), ((1, 7168), np.uint16))
        self.assertEqual(cache.length(request), 2101)
        self.assertEqual(len(cache.block_table(request)), 33)
        self.assertEqual(len(set(selection[0].tolist())), 2048)
        self.assertTrue(((selection >= 0) & (selection <= 2100)).all())

    def test_a_fork_shares_pages(self):
        cache = self.layer.cache(pages=8)
        parent = cache.add_request()
        cache.fill(parent, 128)
        free = cache.free_pages
        child = cache.fork(parent, 128)
        self.assertEqual(cache.free_pages, free)
        self.assertEqual(cache.block_table(child), cache.block_table(parent))
        cache.remove_request(parent)
        self.assertEqual(cache.length(child), 128)

    def test_a_cache_outlives_its_layer(self):
        layer = dsaperf.DsaLayer(V32, heads=8)
        cache = layer.cache(pages=2)
        del layer
        self.assertEqual(cache.length(cache.add_request()), 0)

    def refused(self, code, call):
        with self.assertRaises(dsaperf.Error) as raised:
            call()
        self.assertEqual(raised.exception.code, code)
        return str(raised.exception)

    def test_what_does_not_fit_is_refused_and_changes_nothing(self):
        cache = self.layer.cache(pages=1)
        request = cache.add_request()
        self.refused("out_of_memory", lambda: self.layer.forward(cache, [request], [65], self.tokens(65)))
        self.assertEqual(cache.length(request), 0)
        self.refused("invalid_argument", lambda: self.layer.forward(cache, [request], [2], self.tokens(1)))
        self.refused("invalid_argument", lambda: self.layer.forward(cache, [request], [], self.tokens(1)))
        for wrong in ({"x": [[1.0]]}, {"x": None}, {"x": self.tokens(1), "selection": [[0]]}):
            with self.assertRaisesRegex(TypeError, f"^{list(wrong)[-1]}: .* is no tensor"):
                self.layer.forward(cache, [request], [1], **wrong)

    def test_unknown_models_layers_and_devices_are_refused(self):
        self.assertIn("no/such", self.refused("not_found", lambda: dsaperf.DsaLayer("no/such")))
        self.refused("invalid_argument", lambda: dsaperf.DsaLayer(V32, layer=99))
        self.refused("invalid_argument", lambda: dsaperf.DsaLayer(V32, device="tpu"))
        self.refused("invalid_argument", lambda: dsaperf.DsaLayer(V32, projections="fp8"))
        self.refused("invalid_argument", lambda: self.layer.cache(pages=1, kv="FP8"))
        self.refused("invalid_argument", lambda: dsaperf.DsaLayer(V32, heads=7))

    def test_a_gpu_is_an_error_where_there_is_none(self):
        from dsaperf import _native

        if _native.with_cuda:
            self.skipTest("this build has a GPU part")
        self.assertIn("CUDA", self.refused("not_found", lambda: dsaperf.DsaLayer(V32, heads=8, device="gpu")))


if __name__ == "__main__":
    unittest.main()
