#!/usr/bin/env python3
"""scripts/tables tried without a GPU: every piece is planned, measured by the fake source, linted and on the page, and
nothing is shipped.

    tables_test.py PROGRAM SOURCE_DIR
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
SOURCE = os.path.abspath(sys.argv[2])
GRID = """
context: [{batch: [1], new: [1024, 8192]}]
generation: [{batch: [1, 8], past: [1023, 8191]}]
"""
GEMMS = ["v32-gemm", "glm5-gemm"]
PIECES = ["v32-whole", "glm5-whole", "v32-stages", "glm5-stages", *GEMMS, "v32-eager", "glm5-bf16", "glm52-shared", "v32-bf16",
          "glm52-shared-split", "v32-deep", "glm5-deep"]


class TablesTest(unittest.TestCase):
    def test_every_piece_is_measured_linted_and_on_the_page(self):
        with tempfile.TemporaryDirectory() as folder:
            grid = os.path.join(folder, "grid.yaml")
            with open(grid, "w") as file:
                file.write(GRID)
            environment = os.environ | {"DSAPERF": PROGRAM, "DSAPERF_TABLES_WORK": folder}
            command = [os.path.join(SOURCE, "scripts", "tables"), "h200_sxm", "--timing", "fake", "--grid", grid]
            result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
            self.assertEqual(result.returncode, 0, result.stderr)
            with open(os.path.join(folder, "h200_sxm", "tables.md")) as file:
                page = file.read()
            for piece in PIECES:
                self.assertIn(f"| {piece} |", page)
                table = "gemm_perf.parquet" if piece in GEMMS else "rows.parquet"
                self.assertTrue(os.path.exists(os.path.join(folder, "h200_sxm", piece, table)), piece)
            self.assertIn("prefill, sparse, 8192 tokens and more", page)
            for section in ("Eager beside graph replay", "Matrix products"):
                self.assertIn(f"\n## {section}\n", page)
            self.assertIn("fake", page)
            # Started again it measures nothing.
            again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertEqual(again.stdout.count(": 0 of "), len(PIECES), again.stdout)

    def test_the_plan_names_every_piece_and_says_that_all_take_less_than_an_hour(self):
        command = [os.path.join(SOURCE, "scripts", "tables"), "h200_sxm", "--plan-only"]
        result = subprocess.run(command, env=os.environ | {"DSAPERF": PROGRAM}, capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        *lines, last = result.stdout.splitlines()
        self.assertEqual([line.partition(":")[0] for line in lines], PIECES)
        minutes = [float(re.search(r"about ([0-9.]+) min", line)[1]) for line in lines]
        total = float(re.fullmatch(rf"all {len(PIECES)} pieces: about ([0-9]+) min", last)[1])
        self.assertAlmostEqual(total, sum(minutes), delta=0.5)
        self.assertLess(total, 60)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
