"""Each stage on numpy arrays against formulas in double precision; the same on torch and JAX where they are installed."""

import inspect
import unittest

import dsaperf
from dsaperf import kernels as k

try:
    import numpy as np
except ImportError as error:
    raise SystemExit(f"numpy is needed: {error}") from None

try:
    import torch
except ImportError:
    torch = None
try:
    import jax
except ImportError:
    jax = None

SEED = 1
BF16 = 2.0**-8  # one rounding to bfloat16, relative; results below are rounded once, sums are kept in f32
F32 = 2.0**-20  # sums of up to 576 products in f32, beside the same in double
E4M3_MAX = 448.0


def bf16(rng, *shape, scale=1.0):
    return k.to_bf16(rng.standard_normal(shape) * scale)


def as_double(bits):
    return k.from_bf16(bits).astype(np.float64)


def e4m3_table():
    """Value of each of the 256 bytes."""
    values = np.empty(256)
    for byte in range(256):
        sign, exponent, mantissa = -1.0 if byte & 128 else 1.0, (byte >> 3) & 15, byte & 7
        values[byte] = sign * (mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7))
        if byte & 127 == 127:
            values[byte] = np.nan
    return values


E4M3 = e4m3_table()


def e4m3(rng, *shape):
    bytes_ = rng.integers(0, 256, shape, dtype=np.uint8)
    bytes_[(bytes_ & 127) == 127] = 0  # no NaN
    return bytes_


def close(actual, expected, relative):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=relative * scale)


class KernelsTest(unittest.TestCase):
    def setUp(self):
        self.rng = np.random.default_rng(SEED)

    def both(self, run, relative=BF16):
        """`run(reference)` by the fast path and by the double reference agree; returns the fast one's result."""
        fast, reference = run(False), run(True)
        for a, b in zip(fast if isinstance(fast, tuple) else (fast,), reference if isinstance(reference, tuple) else (reference,)):
            if a.dtype == np.uint16:
                close(as_double(a), as_double(b), relative)
            elif a.dtype == np.float32:
                close(a, b, relative)
        return fast

    def test_gemm_is_a_matrix_product(self):
        x, w = bf16(self.rng, 5, 192), bf16(self.rng, 24, 192)
        y = self.both(lambda reference: k.gemm(x, w, reference=reference))
        close(as_double(y), as_double(x) @ as_double(w).T, BF16)
        y = k.gemm(x, np.ascontiguousarray(w.T), w_layout="in_out", out_dtype="f32")
        close(y, as_double(x) @ as_double(w).T, F32)

    def test_gemm_of_a_batch(self):
        x, w = bf16(self.rng, 3, 5, 64), bf16(self.rng, 3, 8, 64)
        y = k.gemm(x, w)
        self.assertEqual(y.shape, (3, 5, 8))
        close(as_double(y), np.einsum("bmk,bnk->bmn", as_double(x), as_double(w)), BF16)

    def test_gemm_writes_where_it_is_told_and_nowhere_else(self):
        x, w = bf16(self.rng, 4, 64), bf16(self.rng, 8, 64)
        guarded = np.full((6, 12), 0x7FC1, np.uint16)
        out = guarded[1:5, 2:10]
        self.assertIs(k.gemm(x, w, out=out), out)
        np.testing.assert_array_equal(out, k.gemm(x, w))
        out[:] = 0x7FC1
        self.assertTrue((guarded == 0x7FC1).all())

    def test_fp8_gemm_of_quantised_groups_is_a_matrix_product(self):
        x = bf16(self.rng, 7, 256)
        values, scales = k.quantise_groups(x)
        self.assertEqual(scales.shape, (7, 2))
        back = E4M3[values] * np.repeat(scales, 128, axis=1)
        # e4m3 keeps 3 bits of the mantissa: half of 2^-3, of the largest of a group.
        self.assertLessEqual(np.abs(back - as_double(x)).max(), 2.0**-4 * np.abs(as_double(x)).max())
        w, w_scales = e4m3(self.rng, 130, 256), self.rng.random((2, 2), np.float32) + 0.5
        y = self.both(lambda reference: k.fp8_gemm(values, scales, w, w_scales, reference=reference))
        weights = E4M3[w] * np.repeat(np.repeat(w_scales, 128, axis=0)[:130], 128, axis=1)
        close(as_double(y), back @ weights.T, BF16)

    def test_norm_is_rms_or_layer_norm(self):
        x, weight = bf16(self.rng, 3, 128), self.rng.random(128, np.float32)
        bias = self.rng.random(128, np.float32)
        v = as_double(x)
        rms = v / np.sqrt((v**2).mean(1, keepdims=True) + 1e-6) * weight
        close(as_double(self.both(lambda reference: k.norm(x, weight, reference=reference))), rms, BF16)
        layer = (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-6) * weight + bias
        close(as_double(k.norm(x, weight, bias)), layer, BF16)

    def test_rope_rotates_in_place(self):
        x = bf16(self.rng, 3, 2, 64)
        angle = self.rng.random((10, 32)) * 6
        table = np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        positions = np.array([0, 9, 4], np.int32)
        cos, sin = table[positions][:, None, :32].astype(float), table[positions][:, None, 32:].astype(float)
        for pairs, first, second in (("interleaved", np.s_[..., 0::2], np.s_[..., 1::2]), ("half_split", np.s_[..., :32], np.s_[..., 32:])):
            v = as_double(x)
            expected = np.empty_like(v)
            expected[first] = v[first] * cos - v[second] * sin
            expected[second] = v[second] * cos + v[first] * sin
            turned = x.copy()
            self.assertIs(k.rope(turned, table, positions, pairs=pairs), turned)
            close(as_double(turned), expected, BF16)

    def test_indexer_quantise_keeps_dot_products(self):
        q, key = bf16(self.rng, 6, 128), bf16(self.rng, 6, 128)
        weights = self.rng.random(6, np.float32)
        values, scales, weights_out = k.indexer_quantise(q, weights, weight_factor=2.0)
        key_values, key_scales, none = k.indexer_quantise(key)
        self.assertIsNone(none)
        close(weights_out, weights * scales * 2.0, F32)
        dot = (E4M3[values] * scales[:, None]) @ (E4M3[key_values] * key_scales[:, None]).T
        # The Hadamard rotation is orthogonal; what is left is the rounding of two e4m3 operands of 128 terms.
        exact = as_double(q) @ as_double(key).T
        lengths = np.linalg.norm(as_double(q), axis=1)[:, None] * np.linalg.norm(as_double(key), axis=1)[None, :]
        self.assertLess((np.abs(dot - exact) / lengths).max(), 2.0**-4)

    def test_caches_give_back_what_was_written(self):
        latent, rope = bf16(self.rng, 3, 512), bf16(self.rng, 3, 64)
        slots = np.array([5, 70, 1], np.int64)
        cache = np.zeros((2, 64, 1, 576), np.uint16)
        k.kv_cache_write(latent, rope, slots, cache)
        rows = cache.reshape(128, 576)
        np.testing.assert_array_equal(rows[slots], np.concatenate([latent, rope], axis=1))
        self.assertFalse(np.delete(rows, slots, axis=0).any())
        packed = np.zeros((128, 656), np.uint8)
        k.kv_cache_write(latent, rope, slots, packed, kv="fp8")
        np.testing.assert_array_equal(packed[slots, 528:].view(np.uint16), rope)
        scales = packed[slots, 512:528].view(np.float32)
        back = E4M3[packed[slots, :512]] * np.repeat(scales, 128, axis=1)
        self.assertLessEqual(np.abs(back - as_double(latent)).max(), 2.0**-4 * np.abs(as_double(latent)).max())

    def test_index_keys_come_back_out_of_their_pages(self):
        values, scales = e4m3(self.rng, 80, 128), self.rng.random(80, np.float32)
        pages = np.zeros((4, 8448), np.uint8)
        block_table = np.array([3, 1], np.int32)
        position = np.arange(80)
        slots = (block_table[position // 64] * 64 + position % 64).astype(np.int64)
        k.index_key_cache_write(values, scales, slots, pages)
        gathered, gathered_scales = k.gather_index_keys(pages, block_table, 80)
        np.testing.assert_array_equal(gathered, values)
        np.testing.assert_array_equal(gathered_scales, scales)

    def scores_of(self, q, weights, keys, key_scales):
        dots = np.einsum("thd,pd->thp", E4M3[q], E4M3[keys])
        return np.einsum("thp,th,p->tp", np.maximum(dots, 0), weights.astype(float), key_scales.astype(float))

    def test_indexer_scores_follow_the_formula(self):
        q, weights = e4m3(self.rng, 3, 8, 128), self.rng.random((3, 8), np.float32)
        keys, key_scales = e4m3(self.rng, 70, 128), self.rng.random(70, np.float32)
        start, end = np.array([0, 3, 70], np.int32), np.array([70, 40, 70], np.int32)
        scores = self.both(lambda reference: k.indexer_scores(q, weights, keys, key_scales, start, end, reference=reference)[:1], F32)
        scores = k.indexer_scores(q, weights, keys, key_scales, start, end)
        expected = self.scores_of(q, weights, keys, key_scales)
        close(scores[0], expected[0], F32)
        close(scores[1, 3:40], expected[1, 3:40], F32)
        self.assertTrue(np.isneginf(scores[1, 40:]).all() and np.isneginf(scores[2]).all())

    def test_paged_scores_are_those_of_gathered_keys(self):
        keys, key_scales = e4m3(self.rng, 100, 128), self.rng.random(100, np.float32)
        pages, block_table = np.zeros((4, 8448), np.uint8), np.array([[2, 0]], np.int32)
        position = np.arange(100)
        k.index_key_cache_write(keys, key_scales, (block_table[0][position // 64] * 64 + position % 64).astype(np.int64), pages)
        q, weights = e4m3(self.rng, 1, 2, 8, 128), self.rng.random((1, 2, 8), np.float32)
        scores = k.paged_indexer_scores(q, weights, pages, block_table, np.array([100], np.int32), 128)
        expected = self.scores_of(q[0], weights[0], keys, key_scales)
        close(scores[0, :99], expected[0, :99], F32)  # the first of two new tokens does not see the second
        close(scores[1, :100], expected[1], F32)
        self.assertTrue(np.isneginf(scores[0, 99:]).all())

    def test_topk_is_the_set_of_the_highest(self):
        scores = self.rng.standard_normal((5, 300)).astype(np.float32)
        start, end = np.array([0, 10, 20, 0, 5], np.int32), np.array([300, 290, 25, 0, 300], np.int32)
        found = k.topk(scores, 17, start=start, end=end)
        self.assertEqual(found.dtype, np.int32)
        for row in range(5):
            window = scores[row, start[row] : end[row]]
            expected = set(np.argsort(-window)[:17])
            self.assertEqual({i for i in found[row].tolist() if i >= 0}, expected)
            self.assertEqual((found[row] == -1).sum(), 17 - len(expected))

    def test_selection_rows_are_pages_and_offsets(self):
        positions = np.array([[0, 65, -1], [3, 64, 500]], np.int32)
        rows = k.selection_rows(positions, np.array([1, 0], np.int32), np.array([[7, 2], [4, 9]], np.int32))
        np.testing.assert_array_equal(rows, [[4 * 64, 9 * 64 + 1, -1], [7 * 64 + 3, 2 * 64, -1]])

    def attention(self, q, rows, indices, scale):
        out = np.zeros((*q.shape[:2], 512))
        lse = np.full(q.shape[:2], -np.inf)
        for token, selected in enumerate(indices):
            keys = rows[selected[selected >= 0]]
            if len(keys) == 0:
                continue
            logits = q[token] @ keys.T * scale
            top = logits.max(1, keepdims=True)
            weights = np.exp(logits - top)
            lse[token] = np.log(weights.sum(1)) + top[:, 0]
            out[token] = weights / weights.sum(1, keepdims=True) @ keys[:, :512]
        return out, lse

    def test_sparse_mla_is_attention_over_the_named_rows(self):
        q, cache = bf16(self.rng, 4, 16, 576, scale=0.2), bf16(self.rng, 2, 64, 1, 576, scale=0.2)
        indices = np.array([[0, 5, 127], [-1, 7, -1], [3, 3, 9], [-1, -1, -1]], np.int32)
        expected, expected_lse = self.attention(as_double(q), as_double(cache).reshape(128, 576), indices, 0.1)
        out, lse = k.sparse_mla(q, cache, indices, 0.1)
        # q and rows are exact here, probabilities are rounded to f32: one rounding of the result is what counts.
        close(as_double(out), expected, 2 * BF16)
        np.testing.assert_allclose(lse[:3], expected_lse[:3], atol=1e-5)
        self.assertTrue(np.isneginf(lse[3]).all() and not out[3].any())
        shorter, _ = k.sparse_mla(q, cache, indices, 0.1, topk_length=np.array([1, 2, 1, 0], np.int32))
        close(as_double(shorter)[0], np.broadcast_to(as_double(cache).reshape(128, 576)[0, :512], (16, 512)), BF16)

    def test_sparse_mla_reads_an_fp8_cache(self):
        latent, rope = bf16(self.rng, 64, 512, scale=0.2), bf16(self.rng, 64, 64, scale=0.2)
        plain, packed = np.zeros((64, 576), np.uint16), np.zeros((64, 656), np.uint8)
        slots = np.arange(64, dtype=np.int64)
        k.kv_cache_write(latent, rope, slots, plain)
        k.kv_cache_write(latent, rope, slots, packed, kv="fp8")
        q, indices = bf16(self.rng, 2, 8, 576, scale=0.2), self.rng.integers(0, 64, (2, 16)).astype(np.int32)
        exact, _ = k.sparse_mla(q, plain, indices, 0.1)
        rounded, _ = k.sparse_mla(q, packed, indices, 0.1, kv="fp8")
        close(as_double(rounded), as_double(exact), 2.0**-4)  # e4m3's rounding

    def test_rounding_to_bf16_is_to_nearest_even(self):
        values = np.array([1.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, -0.0, np.inf, np.nan, 3.4e38], np.float32)
        bits = k.to_bf16(values)
        self.assertEqual(bits[:5].tolist(), [0x3F80, 0x3F80, 0x3F82, 0x8000, 0x7F80])
        self.assertTrue(np.isnan(k.from_bf16(bits)[5]))
        self.assertTrue(np.isinf(k.from_bf16(bits)[6]))


class EmptyTest(unittest.TestCase):
    def test_a_batch_of_nothing_has_a_result_of_nothing(self):
        rng = np.random.default_rng(SEED)
        none = np.empty((0, 256), np.uint16)
        self.assertEqual(k.gemm(none, bf16(rng, 8, 256)).shape, (0, 8))
        self.assertEqual(k.norm(none, np.ones(256, np.float32)).shape, (0, 256))
        self.assertEqual(k.topk(np.empty((0, 4096), np.float32), 2048).shape, (0, 2048))
        self.assertEqual(k.quantise_groups(none)[1].shape, (0, 2))


class RefusalTest(unittest.TestCase):
    def test_a_word_that_is_no_choice_is_refused_with_those_that_are(self):
        rng = np.random.default_rng(SEED)
        x, w = bf16(rng, 2, 256), bf16(rng, 8, 256)
        q, kv, rows = bf16(rng, 1, 8, 576), bf16(rng, 64, 576), np.zeros((1, 2048), np.int32)
        self.refused(lambda: k.gemm(x, w, w_layout="in"), "w_layout 'in' is none of out_in, in_out")
        self.refused(lambda: k.gemm(x, w, out_dtype="fp32"), "out_dtype 'fp32' is none of bf16, f32")
        self.refused(lambda: k.quantise_groups(x, scale_format="e8m0"), "scale_format 'e8m0' is none of ue8m0, f32")
        self.refused(lambda: k.sparse_mla(q, kv, rows, 1.0, kv="FP8"), "kv 'FP8' is none of bf16, fp8")

    def test_a_keyword_that_a_kernel_lacks_is_refused_with_those_that_it_has(self):
        with self.assertRaisesRegex(TypeError, r"^sparse_mla\(\) has no 'kv_format'; it has .*, kv, "):
            k.sparse_mla(self.scores, self.scores, self.scores, 1.0, kv_format="fp8")
        self.refused(lambda: k.sparse_mla(self.scores, self.scores, self.scores, 1.0, kv=self.scores), "kv array", "is none of bf16, fp8")

    def setUp(self):
        self.scores = np.zeros((4, 16), np.float32)

    def refused(self, call, *words):
        with self.assertRaises(dsaperf.Error) as raised:
            call()
        self.assertEqual(raised.exception.code, "invalid_argument")
        for word in words:
            self.assertIn(word, str(raised.exception))

    def test_what_is_no_tensor_is_a_type_error_that_names_the_argument(self):
        for name in set(k.__all__) - {"to_bf16", "from_bf16"}:  # which take what numpy takes
            function = getattr(k, name)
            required = {p.name: p.annotation for p in inspect.signature(function).parameters.values() if p.default is p.empty}
            good = {each: self.scores if kind == "Tensor" else 1 for each, kind in required.items()}
            for each in (each for each, kind in required.items() if kind == "Tensor"):
                for wrong, word in (([[1.0]], "a list"), (None, "None"), (2.5, "a float")):
                    with self.subTest(name=name, argument=each), self.assertRaises(TypeError) as raised:
                        function(**good | {each: wrong})
                    self.assertEqual(str(raised.exception), f"{each}: {word} is no tensor; pass a torch, CuPy, JAX or numpy array")
                    self.assertIsInstance(raised.exception, dsaperf.Error)
        with self.assertRaisesRegex(TypeError, "^end: a list is no tensor"):
            k.topk(self.scores, 2, end=[4, 4])
        with self.assertRaisesRegex(TypeError, "^out: a list is no tensor"):
            k.topk(self.scores, 2, out=[])

    def test_too_few_dimensions_are_refused(self):
        flat, bits = np.zeros(128, np.float32), np.zeros(128, np.uint16)
        self.refused(lambda: k.topk(np.zeros((), np.float32), 2), "scores", "dimensions")
        self.refused(lambda: k.topk(flat, 2), "scores", "dimensions")
        self.refused(lambda: k.gemm(np.zeros((2, 128), np.uint16), bits), "w", "dimensions")
        self.refused(lambda: k.quantise_groups(bits), "x", "dimensions")
        self.refused(lambda: k.indexer_quantise(bits), "x", "dimensions")
        self.refused(lambda: k.norm(bits, flat), "x", "dimensions")
        self.refused(lambda: k.sparse_mla(bits, bits, flat, 1.0), "q", "dimensions")
        self.refused(lambda: k.selection_rows(flat.astype(np.int32), flat, flat), "positions", "dimensions")

    def test_wrong_tensors_are_named(self):
        self.refused(lambda: k.topk(self.scores.astype(np.float64), 2), "scores", "float64", "float32")
        self.refused(lambda: k.topk(self.scores[0], 2, out=np.zeros((1, 2), np.int32)), "scores", "dimensions")
        self.refused(lambda: k.topk(self.scores[:, ::2], 2), "scores", "contiguous")
        self.refused(lambda: k.topk(self.scores, 2, end=np.zeros(3, np.int32)), "end", "not 4")
        self.refused(lambda: k.topk([[1.0]], 2, out=np.zeros((1, 2), np.int32)), "scores", "list")

    def test_read_only_results_are_refused(self):
        out = np.zeros((4, 2), np.int32)
        out.flags.writeable = False
        self.refused(lambda: k.topk(self.scores, 2, out=out), "out", "written")

    def test_limits_are_the_librarys(self):
        q, kv = np.zeros((1, 7, 576), np.uint16), np.zeros((64, 576), np.uint16)
        self.refused(lambda: k.sparse_mla(q, kv, np.zeros((1, 4), np.int32), 1.0), "heads")
        self.refused(lambda: k.sparse_mla(np.zeros((1, 8, 576), np.uint16), kv[:, :512], np.zeros((1, 4), np.int32), 1.0), "cache")

    def test_a_stream_that_is_none_is_refused(self):
        self.refused(lambda: k.topk(self.scores, 2, stream="fast"), "stream", "str")


@unittest.skipIf(torch is None, "torch is not installed")
class TorchTest(unittest.TestCase):
    def test_results_are_torch_tensors_of_the_right_type(self):
        generator = torch.Generator().manual_seed(SEED)
        x = torch.randn(3, 64, generator=generator).to(torch.bfloat16)
        w = torch.randn(8, 64, generator=generator).to(torch.bfloat16)
        y = k.gemm(x, w)
        self.assertEqual((y.dtype, tuple(y.shape)), (torch.bfloat16, (3, 8)))
        torch.testing.assert_close(y.double(), x.double() @ w.double().T, rtol=BF16, atol=BF16 * 40)
        values, scales = k.quantise_groups(torch.randn(2, 128).to(torch.bfloat16))
        self.assertEqual((values.dtype, scales.dtype), (torch.float8_e4m3fn, torch.float32))
        w_values, w_scales = k.quantise_groups(torch.randn(128, 128).to(torch.bfloat16))
        product = k.fp8_gemm(values, scales, w_values, torch.ones(1, 1))
        torch.testing.assert_close(
            product.double(), (values.double() * scales.double()) @ w_values.double().T, rtol=2 * BF16, atol=8
        )

    def test_topk_is_torchs(self):
        scores = torch.randn(5, 1000)
        expected = torch.topk(scores, 64).indices.sort(1).values
        torch.testing.assert_close(k.topk(scores, 64).sort(1).values.long(), expected)

    def test_a_tensor_with_a_gradient_is_read(self):
        scores = torch.randn(2, 100, requires_grad=True)
        self.assertEqual(k.topk(scores, 4).shape, (2, 4))

    def test_in_place_means_in_place(self):
        x = torch.randn(2, 1, 64).to(torch.bfloat16)
        before = x.clone()
        table = torch.cat([torch.zeros(4, 32), torch.ones(4, 32)], 1)  # a quarter turn
        k.rope(x, table, torch.tensor([0, 1], dtype=torch.int32))
        torch.testing.assert_close(x[..., 0::2], -before[..., 1::2])


@unittest.skipIf(jax is None, "JAX is not installed")
class JaxTest(unittest.TestCase):
    def test_results_are_jax_arrays(self):
        import jax.numpy as jnp

        scores = jax.random.normal(jax.random.key(SEED), (4, 500))
        found = k.topk(scores, 8)
        self.assertIsInstance(found, jax.Array)
        np.testing.assert_array_equal(np.sort(found, 1), np.sort(jax.lax.top_k(scores, 8)[1], 1))
        x = jax.random.normal(jax.random.key(2), (3, 64)).astype(jnp.bfloat16)
        w = jax.random.normal(jax.random.key(3), (8, 64)).astype(jnp.bfloat16)
        y = k.gemm(x, w)
        self.assertEqual(y.dtype, jnp.bfloat16)
        close(np.asarray(y, np.float64), np.asarray(x, np.float64) @ np.asarray(w, np.float64).T, BF16)
        values, scales = k.quantise_groups(jax.random.normal(jax.random.key(4), (2, 128)).astype(jnp.bfloat16))
        self.assertEqual((values.dtype, scales.dtype), (jnp.float8_e4m3fn, jnp.float32))
        ones = jnp.ones((1, 1), jnp.float32)
        product = k.fp8_gemm(values, scales, values, ones)  # read without a copy, in its own type
        back = np.asarray(values, np.float64)
        close(np.asarray(product, np.float64), back * np.asarray(scales, np.float64) @ back.T, BF16)

    def test_what_is_written_in_place_is_a_changed_copy(self):
        import jax.numpy as jnp

        x = jax.random.normal(jax.random.key(SEED), (2, 1, 64)).astype(jnp.bfloat16)
        before = np.asarray(x, np.float32)
        table = jnp.concatenate([jnp.zeros((4, 32)), jnp.ones((4, 32))], 1)  # a quarter turn
        turned = np.asarray(k.rope(x, table, jnp.array([0, 1], jnp.int32)), np.float32)
        np.testing.assert_array_equal(turned[..., 0::2], -before[..., 1::2])
        np.testing.assert_array_equal(np.asarray(x, np.float32), before)
        with jax.enable_x64(True):
            slots = jnp.array([1], jnp.int64)
        cache = jnp.zeros((4, 576), jnp.bfloat16)
        latent, rope = jnp.ones((1, 512), jnp.bfloat16), jnp.ones((1, 64), jnp.bfloat16)
        written = k.kv_cache_write(latent, rope, slots, cache)
        np.testing.assert_array_equal(np.asarray(written, np.float32), np.repeat([[0.0], [1], [0], [0]], 576, axis=1))
        self.assertFalse(np.asarray(cache, np.float32).any())
        pages = jnp.zeros((2, 8448), jnp.uint8)
        written = k.index_key_cache_write(jnp.ones((1, 128), jnp.float8_e4m3fn), jnp.ones(1), slots, pages)
        self.assertEqual((np.asarray(written) != 0).sum(), 128 + 2)  # 1.0f has two bytes that are not 0
        self.assertFalse(np.asarray(pages).any())
        host = np.zeros((4, 576), np.uint16)
        self.assertIs(k.kv_cache_write(latent, rope, slots, host), host)
        self.assertTrue(host[1].all())

    def test_immutable_results_and_traced_arrays_are_refused(self):
        scores = jax.numpy.zeros((2, 8))
        for call, code, word in (
            (lambda: k.topk(scores, 2, out=jax.numpy.zeros((2, 2), jax.numpy.int32)), "invalid_argument", "immutable"),
            (lambda: jax.jit(lambda s: k.topk(s, 2))(scores), "unsupported", "jit"),
        ):
            with self.assertRaises(dsaperf.Error) as raised:
                call()
            self.assertEqual(raised.exception.code, code)
            self.assertIn(word, str(raised.exception))


if __name__ == "__main__":
    unittest.main()
