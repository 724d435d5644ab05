"""Every kernel on GPU arrays of torch, CuPy and JAX, against the double reference on the host: its results, whose memory it
works in, the stream it goes on and that nobody waits for it, what it refuses; and a layer on the GPU.

Needs a build with CUDA, a Hopper card and at least one of the libraries. What is missing is skipped, or fails where
DSAPERF_REQUIRE_GPU=1.
"""

import os
import unittest

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # three libraries share the card

import dsaperf
import numpy as np
from dsaperf import _arrays, _native
from dsaperf import kernels as k

SECONDS = 0.15  # that the slow producers below take; a launch takes microseconds


class Given:
    """An input on the host: numpy has bits of bf16 and e4m3, so the element is named beside."""

    def __init__(self, host, element):
        self.host, self.element = np.ascontiguousarray(host), element

    def poison(self):
        """What the caller's stream has not replaced yet: NaN, or where that might lead astray, 0."""
        return np.zeros_like(self.host) if self.element in ("i32", "i64") else np.full_like(self.host.view(np.uint8), 0xFF).view(self.host.dtype)


class Torch:
    immutable = False

    def __init__(self):
        import torch

        self.torch = torch
        if not torch.cuda.is_available():
            raise RuntimeError("torch sees no GPU")

    def put(self, host, element):
        tensor = self.torch.from_numpy(host.copy()).cuda()
        named = {"bf16": "bfloat16", "e4m3": "float8_e4m3fn"}.get(element)
        return tensor.view(getattr(self.torch, named)) if named else tensor

    def get(self, tensor):
        bits = {self.torch.bfloat16: self.torch.uint16, self.torch.float8_e4m3fn: self.torch.uint8}.get(tensor.dtype)
        return (tensor if bits is None else tensor.view(bits)).cpu().numpy()

    def replace(self, tensor, by):
        tensor.copy_(by, non_blocking=True)

    def stream(self):
        return self.torch.cuda.Stream()

    def on(self, stream):
        return self.torch.cuda.stream(stream)

    def sleep(self):
        self.torch.cuda._sleep(int(SECONDS * 1.98e9))

    def done(self, stream):
        return stream.query()

    def address(self, tensor):
        return tensor.data_ptr()

    def taken(self):
        """Bytes asked of the allocator so far."""
        return self.torch.cuda.memory_stats()["requested_bytes.all.allocated"]


class CuPy:
    immutable = False

    def __init__(self):
        import cupy

        self.cupy = cupy
        cupy.cuda.runtime.getDeviceCount()
        self.spin = cupy.RawKernel(
            'extern "C" __global__ void spin(long long cycles) { const long long start = clock64(); while (clock64() - start < cycles) {} }',
            "spin",
        )
        self.spin((1,), (1,), (0,))  # compiled

    def put(self, host, element):
        return self.cupy.asarray(host)

    def get(self, array):
        return array.get()

    def replace(self, array, by):
        if array.flags.c_contiguous:
            array.data.copy_from_device_async(by.data, by.nbytes)
        else:
            array[...] = by

    def stream(self):
        return self.cupy.cuda.Stream(non_blocking=True)

    def on(self, stream):
        return stream

    def sleep(self):
        self.spin((1,), (1,), (int(SECONDS * 1.98e9),))

    def done(self, stream):
        return stream.done

    def address(self, array):
        return array.data.ptr


class Jax:
    immutable = True

    def __init__(self):
        import jax

        self.jax = jax
        jax.config.update("jax_enable_x64", True)  # slots are int64
        self.device = jax.devices("gpu")[0]

    def put(self, host, element):
        named = {"bf16": self.jax.numpy.bfloat16, "e4m3": self.jax.numpy.float8_e4m3fn}.get(element)
        return self.jax.device_put(host if named is None else host.view(named), self.device)

    def get(self, array):
        host = np.asarray(self.jax.numpy.array(array, copy=True))  # what is there now: an array keeps the host's copy of itself
        bits = {"bfloat16": np.uint16, "float8_e4m3fn": np.uint8}.get(str(host.dtype))
        return host if bits is None else host.view(bits)

    def address(self, array):
        return array.unsafe_buffer_pointer()


def library(kind):
    """The library, or why it is not there."""
    try:
        return kind(), ""
    except Exception as error:  # an import, or a driver that says no in its own way
        return None, f"{kind.__name__}: {error}"


FOUND = {kind: library(kind) if _native.with_cuda else (None, "this build has no GPU part") for kind in (Torch, CuPy, Jax)}
MISSING = [why for _, why in FOUND.values() if why]
if MISSING and os.environ.get("DSAPERF_REQUIRE_GPU") == "1":
    raise SystemExit(f"DSAPERF_REQUIRE_GPU=1, and {'; '.join(MISSING)}")


def e4m3(rng, *shape):
    codes = rng.integers(0, 256, shape, dtype=np.uint8)
    codes[(codes & 127) == 127] = 0  # no NaN
    return codes


def cases():
    """{kernel: [(arguments, options, tolerance of f32 results)]}. Tensors are Given."""
    rng = np.random.default_rng(1)
    bf16 = lambda *shape, scale=1.0: Given(k.to_bf16(rng.standard_normal(shape) * scale), "bf16")
    f32 = lambda *shape: Given(rng.random(shape, np.float32) + 0.5, "f32")
    i32 = lambda *values: Given(np.array(values, np.int32), "i32")
    codes = lambda *shape: Given(e4m3(rng, *shape), "e4m3")
    rows = lambda high, *shape: Given(rng.integers(-1, high, shape).astype(np.int32), "i32")
    slots = Given(np.array([64 + i for i in range(69)] + [-1], np.int64), "i64")  # the last one is left out
    cache = lambda shape, element: Given(np.full(shape, 0x3C3C if element == "bf16" else 0x3C, np.uint16 if element == "bf16" else np.uint8), element)
    angle = rng.random((200, 32)) * 6
    turns = Given(np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32), "f32")

    pages = np.zeros((5, 8448), np.uint8)
    k.index_key_cache_write(e4m3(rng, 256, 128), rng.random(256, np.float32), np.arange(64, 320), pages, reference=True)
    pages = Given(pages, "byte")
    packed = np.zeros((256, 656), np.uint8)
    latent, part = bf16(256, 512), bf16(256, 64)
    k.kv_cache_write(latent.host, part.host, np.arange(256), packed, kv="fp8", reference=True)

    return {
        # f32 sums of 192 products; each addition rounds by 2^-24 of what has been added, less than three times the largest sum
        "gemm": [
            ((bf16(9, 192), bf16(64, 192)), {}, None),
            ((bf16(9, 192), bf16(192, 64)), {"w_layout": "in_out", "out_dtype": "f32"}, 3 * 192 * 2.0**-24),
            ((bf16(3, 5, 64), bf16(3, 8, 64)), {}, None),
        ],
        "fp8_gemm": [((codes(5, 256), f32(5, 2), codes(192, 256), f32(2, 2)), {}, None)],
        "quantise_groups": [((bf16(6, 384),), {"scale_format": how}, tolerance) for how, tolerance in (("ue8m0", 0), ("f32", 2.0**-23))],
        "norm": [((bf16(6, 512), f32(512)), {}, None), ((bf16(6, 512), f32(512), f32(512)), {}, None)],
        "rope": [((bf16(4, 3, 64), turns, i32(0, 199, 7, 64)), {"pairs": how}, None) for how in ("interleaved", "half_split")],
        "indexer_quantise": [((bf16(10, 128), f32(10)), {"weight_factor": 0.125}, 2.0**-22), ((bf16(10, 128),), {}, 2.0**-22)],
        "kv_cache_write": [
            ((bf16(70, 512), bf16(70, 64), slots, cache((3, 64, 1, 576), "bf16")), {}, None),
            ((bf16(70, 512), bf16(70, 64), slots, cache((192, 656), "byte")), {"kv": "fp8"}, None),
        ],
        "index_key_cache_write": [((codes(70, 128), f32(70), slots, cache((3, 8448), "byte")), {}, None)],
        "gather_index_keys": [((pages, i32(3, 1)), {"tokens": 80}, 0)],
        # The tensor cores add e4m3 products with 13 bits behind the largest (src/dsaperf/op/gpu_backend.cpp derives it).
        "indexer_scores": [
            ((codes(4, 32, 128), f32(4, 32), codes(200, 128), f32(200), i32(0, 0, 3, 0), i32(0, 1, 150, 200)), {}, 50 * 2.0**-13)
        ],
        "paged_indexer_scores": [
            ((codes(2, 2, 32, 128), f32(2, 2, 32), pages, Given(np.array([[1, 2, 4], [3, 1, 2]], np.int32), "i32"), i32(150, 64)),
             {"max_context": 160}, 50 * 2.0**-13)
        ],  # fmt: skip
        "topk": [
            ((Given(rng.standard_normal((8, 4096)).astype(np.float32), "f32"),), {"k": 256}, None),
            ((Given(rng.standard_normal((3, 500)).astype(np.float32), "f32"),), {"k": 64, "start": i32(0, 4, 9), "end": i32(500, 30, 9)}, None),
        ],
        "selection_rows": [((rows(140, 70, 8), Given(np.zeros(70, np.int32), "i32"), Given(np.array([[1, 2, 0]], np.int32), "i32")), {}, None)],
        # Probabilities are rounded to bf16 and added in f32; lse differs by the roundings of scores of 576 products.
        "sparse_mla": [
            ((bf16(3, 16, 576), bf16(256, 576), rows(256, 3, 64)), {"scale": 0.07}, 1e-3),
            ((bf16(3, 64, 576), Given(packed, "byte"), rows(256, 3, 64)), {"scale": 0.07, "kv": "fp8", "topk_length": i32(64, 1, 30)}, 1e-3),
            ((bf16(2, 16, 576), bf16(4096, 576), rows(4096, 2, 2048)), {"scale": 0.07, "decode": True}, 1e-3),
        ],
    }  # fmt: skip


CASES = cases() if len(MISSING) < len(FOUND) else {}
MAGNITUDES = np.array([m * 2.0**-9 if e == 0 else (8 + m) * 2.0 ** (e - 10) for e in range(16) for m in range(8)])  # of e4m3 codes
ROUNDING = 2.0**-24  # of one f32 operation, relative
WRITTEN = {"rope": 0, "kv_cache_write": 3, "index_key_cache_write": 3}  # in place: which argument
EXPECTED = {}


def as_tuple(results):
    return results if isinstance(results, tuple) else (results,)


def before_rounding(name, number):
    """What a kernel rounds to e4m3, in double, and how far off f32 may have it: a scale, its inverse and a product round, and of
    indexer_quantise each of the 7 steps of a sum of 128 values."""
    x = k.from_bf16(CASES[name][number][0][0].host).astype(float)
    scales = expected(name, number)[1].astype(float)
    if name == "quantise_groups":
        values = x / np.repeat(scales, 128, axis=1)
        return values, 3 * ROUNDING * np.abs(values)
    signs = np.ones((1, 1))
    for _ in range(7):
        signs = np.block([[signs, signs], [signs, -signs]])
    values = x @ signs / np.sqrt(128) / scales[:, None]
    return values, 3 * ROUNDING * np.abs(values) + 7 * ROUNDING * (np.abs(x).sum(1) / np.sqrt(128) / scales)[:, None]


def expected(name, number):
    """Results of the reference, made once."""
    if (name, number) not in EXPECTED:
        arguments, options, _ = CASES[name][number]
        host = lambda value: value.host.copy() if isinstance(value, Given) else value
        results = getattr(k, name)(*map(host, arguments), **{key: host(value) for key, value in options.items()}, reference=True)
        EXPECTED[name, number] = as_tuple(results)
    return EXPECTED[name, number]


class EveryKernel:
    """What is asked of each library."""

    kind = None

    @classmethod
    def setUpClass(cls):
        cls.library, why = FOUND[cls.kind]
        if why:
            raise unittest.SkipTest(why)

    def refused(self, call, *words, code="invalid_argument"):
        with self.assertRaises(dsaperf.Error) as raised:
            call()
        self.assertEqual(raised.exception.code, code, str(raised.exception))
        for word in words:
            self.assertIn(word, str(raised.exception))

    def compare(self, name, number, results):
        tolerance = CASES[name][number][2]
        wanted = expected(name, number)
        self.assertEqual([r is None for r in results], [w is None for w in wanted])
        for result, want in zip(results, wanted):
            if want is None:
                continue
            got = self.library.get(result)
            self.assertEqual((got.shape, got.dtype), (want.shape, want.dtype))
            if name == "topk":
                np.testing.assert_array_equal(np.sort(got, 1), np.sort(want, 1))
            elif want.dtype == np.float32:
                finite = np.isfinite(want)
                np.testing.assert_array_equal(got[~finite], want[~finite])
                worst = np.abs(got[finite] - want[finite]).max(initial=0)
                self.assertLessEqual(worst, tolerance * np.abs(want[finite]).max(initial=0), f"{name} {number}")
            elif want.dtype == np.uint16 and name != "kv_cache_write":
                # Sums that are nearly the same, rounded to bf16: one unit of the largest value, or, after probabilities in bf16, two.
                got, want = k.from_bf16(got).astype(float), k.from_bf16(want).astype(float)
                units = 2 if name == "sparse_mla" else 1
                self.assertLessEqual(np.abs(got - want).max(), units * 2.0**-7 * np.abs(want).max(), f"{name} {number}")
            elif name in ("quantise_groups", "indexer_quantise") and CASES[name][number][1].get("scale_format") != "ue8m0":
                # A value on the border of two codes may fall to either side of it in f32 and in double; no other may differ.
                values, off = before_rounding(name, number)
                decoded = [np.where(codes & 128, -1, 1) * MAGNITUDES[codes & 127] for codes in (got, want)]
                border = np.abs(values - (decoded[0] + decoded[1]) / 2) <= off
                neighbours = np.abs((got & 127).astype(int) - (want & 127).astype(int)) <= 1
                self.assertTrue(np.all((got == want) | (border & neighbours)), f"{name} {number}")
            else:
                np.testing.assert_array_equal(got, want, f"{name} {number}")

    def on_gpu(self, name, number):
        """(arguments, options, function) with GPU arrays."""
        arguments, options, _ = CASES[name][number]
        put = lambda value: self.library.put(value.host, value.element) if isinstance(value, Given) else value
        return list(map(put, arguments)), {key: put(value) for key, value in options.items()}

    def for_each(self, check, leaving_out=()):
        for name in sorted(CASES.keys() - set(leaving_out)):
            for number in range(len(CASES[name])):
                with self.subTest(kernel=name, case=number):
                    check(name, number)

    def test_every_kernel_has_a_case(self):
        self.assertEqual(set(CASES), set(k.__all__) - {"to_bf16", "from_bf16"})

    def test_results_are_the_references_in_arrays_of_the_same_library(self):
        def check(name, number):
            arguments, options = self.on_gpu(name, number)
            results = as_tuple(getattr(k, name)(*arguments, **options))
            for result in results:
                self.assertTrue(result is None or isinstance(result, type(arguments[0])), type(result))
            self.compare(name, number, results)

        self.for_each(check)

    def test_arrays_are_worked_on_where_they_lie(self):
        for name, place in WRITTEN.items():
            arguments, options = self.on_gpu(name, 0)
            before = self.library.get(arguments[place]).copy()
            result = getattr(k, name)(*arguments, **options)
            if self.library.immutable:
                np.testing.assert_array_equal(self.library.get(arguments[place]), before, name)
                self.assertNotEqual(self.library.address(result), self.library.address(arguments[place]))
            else:
                self.assertIs(result, arguments[place], name)
            self.compare(name, 0, (result,))
        for element, host in (("bf16", np.zeros((4, 128), np.uint16)), ("e4m3", np.zeros((4, 128), np.uint8))):
            array = self.library.put(host, element)
            self.assertEqual(self.library.address(_arrays.exportable(array)), self.library.address(array), element)

    def test_wrong_tensors_are_named(self):
        put = self.library.put
        scores = put(np.zeros((4, 64), np.float32), "f32")
        self.refused(lambda: k.topk(scores, 4, out=np.zeros((4, 4), np.int32)), "out", "on the host", "cuda:0")
        self.refused(lambda: k.topk(put(np.zeros((4, 64)), "f64"), 4), "scores", "float64", "float32")
        self.refused(lambda: k.topk(scores, 4, end=put(np.zeros(3, np.int32), "i32")), "end", "not 4")
        self.refused(lambda: k.topk(scores, 4, reference=True), "reference", "host")
        self.refused(lambda: k.topk(scores, 4, stream="fast"), "stream", "str")
        q, kv, indices = (put(np.zeros(s, d), e) for s, d, e in (((1, 7, 576), np.uint16, "bf16"), ((64, 576), np.uint16, "bf16"), ((1, 4), np.int32, "i32")))
        self.refused(lambda: k.sparse_mla(q, kv, indices, 1.0), "heads")


class OnStreams(EveryKernel):
    """Of libraries whose streams are the caller's."""

    def warm(self, name, number):
        """Loads what a first call loads, and says what is right."""
        arguments, options = self.on_gpu(name, number)
        getattr(k, name)(*arguments, **options)
        expected(name, number)

    def test_work_goes_behind_what_the_callers_stream_holds_and_nobody_waits(self):
        stream = self.library.stream()

        def check(name, number):
            self.warm(name, number)
            real, real_options = self.on_gpu(name, number)
            given, given_options, _ = CASES[name][number]
            poisoned = lambda value, real: self.library.put(value.poison(), value.element) if isinstance(value, Given) else real
            arguments = list(map(poisoned, given, real))
            options = {key: poisoned(given_options[key], real_options[key]) for key in real_options}
            late = [(a, b) for a, b in [*zip(arguments, real), *zip(options.values(), real_options.values())] if a is not b]
            self.synchronize()
            with self.library.on(stream):
                self.library.sleep()
                for tensor, by in late:
                    self.library.replace(tensor, by)
                self.assertFalse(self.library.done(stream), "the producer is not slow enough")
                results = as_tuple(getattr(k, name)(*arguments, **options))
                self.assertFalse(self.library.done(stream), "the call has waited")
                # And the library's next work on this stream for the kernel.
                results = [result if result is None else self.copied(result) for result in results]
            stream.synchronize()
            self.compare(name, number, results)

        self.for_each(check)

    def test_another_stream_that_is_named_waits_for_the_producers(self):
        self.warm("norm", 0)
        (x, weight), _ = self.on_gpu("norm", 0)
        producer, named = self.library.stream(), self.library.stream()
        for stream in (named, _arrays.stream_number(named)):
            late = self.library.put(CASES["norm"][0][0][0].poison(), "bf16")
            self.synchronize()
            with self.library.on(producer):
                self.library.sleep()
                self.library.replace(late, x)
                result = k.norm(late, weight, stream=stream)
                self.assertFalse(self.library.done(named), "norm is not behind the producer's stream")
            named.synchronize()
            self.compare("norm", 0, (result,))

    def test_memory_for_a_named_stream_is_that_streams(self):
        # Freed, memory goes to the next taker on the same stream, who is in order; not to another's, who is not.
        side = self.library.stream()
        x = self.library.put(np.zeros(8, np.uint8), "byte")
        size = 3 * 2**20
        held = _arrays.empty(x, (size,), "byte", side)
        at = self.library.address(held)
        del held
        others = _arrays.empty(x, (size,), "byte")
        self.assertNotEqual(self.library.address(others), at)
        self.assertEqual(self.library.address(_arrays.empty(x, (size,), "byte", side)), at)

    def test_results_go_where_the_caller_says_and_nowhere_else(self):
        (x, weight), _ = self.on_gpu("norm", 0)
        guarded = self.library.put(np.full((8, 520), 0x7FC1, np.uint16), "bf16")
        out = guarded[1:7, 4:516]
        self.assertIs(k.norm(x, weight, out=out), out)
        self.compare("norm", 0, (out,))
        host = self.library.get(guarded)
        host[1:7, 4:516] = 0x7FC1
        self.assertTrue((host == 0x7FC1).all())
        (q, kv, indices), options = self.on_gpu("sparse_mla", 0)
        out, lse = self.library.put(np.zeros((3, 16, 512), np.uint16), "bf16"), self.library.put(np.zeros((3, 16), np.float32), "f32")
        result = k.sparse_mla(q, kv, indices, out=out, lse=lse, **options)
        self.assertTrue(result[0] is out and result[1] is lse)
        self.compare("sparse_mla", 0, result)

    def test_rows_may_be_apart(self):
        (x, weight), _ = self.on_gpu("norm", 0)
        wide = self.library.put(np.full((6, 1024), 0x7FC1, np.uint16), "bf16")
        self.library.replace(wide[:, 256:768], x)
        self.compare("norm", 0, (k.norm(wide[:, 256:768], weight),))
        self.refused(lambda: k.norm(wide[:, ::2], weight), "x", "contiguous")


@unittest.skipIf(FOUND[Torch][1], FOUND[Torch][1])
class TorchTest(OnStreams, unittest.TestCase):
    kind = Torch

    def synchronize(self):
        self.library.torch.cuda.synchronize()

    def copied(self, tensor):
        return tensor.clone()

    def test_nothing_but_results_is_allocated(self):
        def check(name, number):
            self.warm(name, number)
            arguments, options = self.on_gpu(name, number)
            before = self.library.taken()
            results = [r for r in as_tuple(getattr(k, name)(*arguments, **options)) if r is not None]
            made = 0 if name in WRITTEN else sum(r.numel() * r.element_size() for r in results)
            self.assertEqual(self.library.taken() - before, made)

        self.for_each(check, leaving_out=("gemm", "paged_indexer_scores", "sparse_mla", "topk"))  # these may ask for a workspace

    def test_a_stream_of_cupys_will_do(self):
        cupy, why = FOUND[CuPy]
        if why:
            self.skipTest(why)
        (x, weight), _ = self.on_gpu("norm", 0)
        stream = cupy.stream()
        result = k.norm(x, weight, stream=stream)
        stream.synchronize()
        self.compare("norm", 0, (result,))

    def test_a_captured_graph_replays(self):
        torch = self.library.torch
        scores = torch.randn(8, 4096, device="cuda")
        q, kv, indices = self.on_gpu("sparse_mla", 2)[0]
        k.topk(scores, 64)
        k.sparse_mla(q, kv, indices, 0.07, decode=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = k.topk(scores, 64)
            out, lse = k.sparse_mla(q, kv, indices, 0.07, decode=True)  # its workspace is of the graph's pool
        scores.copy_(torch.randn(8, 4096))
        graph.replay()
        torch.cuda.synchronize()
        torch.testing.assert_close(found.sort(1).values.long(), torch.topk(scores, 64).indices.sort(1).values)
        self.compare("sparse_mla", 2, (out, lse))

    def test_bits_give_bits(self):
        torch = self.library.torch
        (x, weight), _ = self.on_gpu("norm", 0)
        self.assertEqual(k.norm(x.view(torch.uint16), weight).dtype, torch.uint16)

    def test_a_tensor_with_a_gradient_is_read(self):
        (x, weight), _ = self.on_gpu("norm", 0)
        self.compare("norm", 0, (k.norm(x.requires_grad_(), weight.requires_grad_()),))


@unittest.skipIf(FOUND[CuPy][1], FOUND[CuPy][1])
class CuPyTest(OnStreams, unittest.TestCase):
    kind = CuPy

    def synchronize(self):
        self.library.cupy.cuda.Device().synchronize()

    def copied(self, array):
        return array.copy()


@unittest.skipIf(FOUND[Jax][1], FOUND[Jax][1])
class JaxTest(EveryKernel, unittest.TestCase):
    kind = Jax

    def slow(self, host):
        """A JAX array of bits on the GPU that takes its time to be made."""
        jax = self.library.jax
        dense = self.library.put(np.full((4096, 4096), 2.0**-12, np.float32), "f32")

        @jax.jit
        def made(bits, dense):
            product = jax.lax.fori_loop(0, 200, lambda _, product: product @ dense, dense)
            return jax.lax.bitcast_convert_type(bits + (product[0, 0] > 2).astype(np.uint16), jax.numpy.bfloat16)

        bits = self.library.put(host, "bits")
        made(bits, dense).block_until_ready()  # compiled
        return made(bits, dense)

    def test_an_array_that_is_not_made_yet_is_waited_for(self):
        (x, weight), _ = self.on_gpu("norm", 0)
        late = self.slow(CASES["norm"][0][0][0].host)
        self.assertFalse(late.is_ready(), "the producer is not slow enough")
        self.compare("norm", 0, (k.norm(late, weight),))

    def test_memory_of_arrays_that_are_dropped_is_not_reused_early(self):
        jax = self.library.jax
        given = CASES["norm"][0][0]
        for _ in range(50):
            x, weight = (self.library.put(value.host, value.element) for value in given)
            result = k.norm(x, weight)
            del x, weight
            trash = [jax.numpy.full((6, 512), np.nan, jax.numpy.bfloat16) + i for i in range(8)]
            self.compare("norm", 0, (result,))
            del trash

    def test_results_go_on_in_jax(self):
        jax = self.library.jax
        (x, weight), _ = self.on_gpu("norm", 0)
        doubled = jax.jit(lambda y: y * 2)(k.norm(x, weight))
        np.testing.assert_array_equal(np.asarray(doubled, np.float32), 2 * np.asarray(k.norm(x, weight), np.float32))

    def test_two_results_are_two_arrays(self):
        (x, weight), _ = self.on_gpu("norm", 0)
        first, second = k.norm(x, weight), k.norm(x, weight)
        self.assertNotEqual(self.library.address(first), self.library.address(second))

    def test_immutable_results_and_traced_arrays_are_refused(self):
        jax = self.library.jax
        (x, weight), _ = self.on_gpu("norm", 0)
        self.refused(lambda: k.norm(x, weight, out=x), "out", "immutable")
        self.refused(lambda: jax.jit(lambda x: k.norm(x, weight))(x), "jit", code="unsupported")

    def test_a_cache_of_cupys_is_written_in_place(self):
        cupy, why = FOUND[CuPy]
        if why:
            self.skipTest(why)
        arguments, options = self.on_gpu("kv_cache_write", 0)
        given = CASES["kv_cache_write"][0][0][3]
        cache = cupy.put(given.host, given.element)
        self.assertIs(k.kv_cache_write(*arguments[:3], cache, **options), cache)
        np.testing.assert_array_equal(cache.get(), expected("kv_cache_write", 0)[0])


@unittest.skipIf(len(MISSING) == len(FOUND), "; ".join(MISSING))
class LayerTest(unittest.TestCase):
    MODEL = "deepseek-ai/DeepSeek-V3.2"

    def outputs(self, device, past, kv="bf16", stream=None):
        x = k.to_bf16(np.random.default_rng(7).standard_normal((3, 7168)))
        layer = dsaperf.DsaLayer(self.MODEL, heads=16, seed=3, device=device, stream=stream)
        cache = layer.cache(pages=48, kv=kv)
        requests = [cache.add_request(), cache.add_request()]
        cache.fill(requests[0], past, seed=5)
        selection = np.full((3, layer.topk), -2, np.int32)
        y = layer.forward(cache, requests, [1, 2], x, selection_out=selection)
        self.assertEqual(cache.length(requests[0]), past + 1)
        return k.from_bf16(y).astype(float), selection

    def close(self, got, want):
        # A dozen stages, each rounds to bf16 once, 2^-8, added up.
        self.assertLessEqual(np.abs(got - want).max(), 12 * 2.0**-8 * np.abs(want).max())

    def test_a_layer_is_the_hosts(self):
        for kv in ("bf16", "fp8"):
            with self.subTest(kv=kv):
                self.close(self.outputs("gpu", 70, kv)[0], self.outputs("cpu", 70, kv)[0])

    def test_a_layer_selects_what_the_host_selects(self):
        _, got = self.outputs("gpu", 2900)
        _, want = self.outputs("cpu", 2900)
        self.assertEqual(len(set(got[0].tolist())), 2048)
        self.assertTrue(((got[0] >= 0) & (got[0] <= 2900)).all())
        # Scores of e4m3 products differ by 2^-13 of their sums: who is 2048th of 2901 may be another, few are.
        common = len(set(got[0].tolist()) & set(want[0].tolist()))
        self.assertGreater(common, 0.97 * 2048)

    def test_a_layer_works_on_a_stream_of_the_callers(self):
        torch, why = FOUND[Torch]
        if why:
            self.skipTest(why)
        self.close(self.outputs("gpu", 70, stream=torch.stream())[0], self.outputs("cpu", 70)[0])

    def test_device_tensors_are_refused(self):
        found = next(found for found, _ in FOUND.values() if found is not None)
        layer = dsaperf.DsaLayer(self.MODEL, heads=8, device="gpu")
        cache = layer.cache(pages=1)
        x = found.put(np.zeros((1, 7168), np.uint16), "bf16")
        with self.assertRaises(dsaperf.Error) as raised:
            layer.forward(cache, [cache.add_request()], [1], x)
        self.assertIn("host tensors", str(raised.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
