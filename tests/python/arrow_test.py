"""A sweep is an Arrow table that pyarrow, pandas and polars read in place."""

import gc
import math
import unittest
import warnings

import dsaperf

try:
    import aiconfigurator_core  # noqa: F401
    import pyarrow
except ImportError as error:
    pyarrow = None
    WHY = f"{error} (scripts/setup installs it)"

warnings.simplefilter("ignore", dsaperf.AssumptionWarning)


@unittest.skipIf(pyarrow is None, globals().get("WHY", ""))
class ArrowTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sweep = dsaperf.sweep("zai-org/GLM-5-FP8", isl=4096, osl=256, backend="sglang")

    def test_columns_are_the_candidates(self):
        table = pyarrow.table(self.sweep)
        self.assertEqual(table.num_rows, len(self.sweep.candidates))
        self.assertEqual(table.column_names, self.sweep.table.column_names)
        for name in ("backend", "layout", "tp", "gpus", "ttft_ms", "tpot_ms", "memory_gib", "output_tok_s_per_gpu"):
            expected = [candidate[name] for candidate in self.sweep.candidates]
            self.assertEqual(table.column(name).to_pylist(), expected, name)
        table.validate(full=True)

    def test_flags_are_bits(self):
        limited = dsaperf.sweep("zai-org/GLM-5-FP8", isl=4096, osl=256, backend="sglang", tpot_ms=40)
        flags = pyarrow.table(limited).column("meets_limits").to_pylist()
        self.assertEqual(len(flags), len(limited.candidates))
        for flag, candidate in zip(flags, limited.candidates):
            self.assertEqual(flag, candidate["tpot_ms"] <= 40)

    def test_the_front_is_a_table_too(self):
        front = pyarrow.table(self.sweep.pareto_table)
        self.assertEqual(front.num_rows, len(self.sweep["pareto"]))
        users = front.column("output_tok_s_per_user").to_pylist()
        self.assertEqual(users, sorted(users))

    def test_nothing_is_copied(self):
        native = self.sweep.table._native
        table = pyarrow.table(self.sweep)
        for name in ("ttft_ms", "tp"):
            column = native.column_names.index(name)
            (chunk,) = table.column(name).chunks
            self.assertEqual(chunk.buffers()[1].address, native.address(column))

    def test_the_memory_outlives_the_sweep(self):
        sweep = dsaperf.sweep("zai-org/GLM-5-FP8", isl=1024, osl=64, backend="sglang")
        expected = [candidate["ttft_ms"] for candidate in sweep.candidates]
        column = pyarrow.table(sweep).column("ttft_ms")
        del sweep
        gc.collect()
        self.assertEqual(column.to_pylist(), expected)

    def test_capsules_that_nobody_takes_are_freed(self):
        for _ in range(100):
            self.sweep.table.__arrow_c_stream__()
            self.sweep.table.__arrow_c_array__()
        batch = pyarrow.record_batch(self.sweep.table)
        self.assertEqual(batch.num_rows, len(self.sweep.table))

    def test_pandas_reads_it_in_place(self):
        try:
            frame = self.sweep.table.to_pandas()
        except ImportError as error:
            self.skipTest(str(error))
        self.assertTrue(math.isclose(frame["ttft_ms"].iloc[0], self.sweep.candidates[0]["ttft_ms"]))
        native = self.sweep.table._native
        chunk = frame["ttft_ms"].array._pa_array.chunks[0]
        self.assertEqual(chunk.buffers()[1].address, native.address(native.column_names.index("ttft_ms")))

    def test_polars_reads_it_in_place(self):
        try:
            frame = self.sweep.table.to_polars()
        except ImportError as error:
            self.skipTest(f"{error}; it is not installed by scripts/setup")
        self.assertEqual(frame["ttft_ms"].to_list(), [candidate["ttft_ms"] for candidate in self.sweep.candidates])
        native = self.sweep.table._native
        column = frame["ttft_ms"].to_arrow()
        self.assertEqual(column.buffers()[1].address, native.address(native.column_names.index("ttft_ms")))


if __name__ == "__main__":
    unittest.main()
