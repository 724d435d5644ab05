#!/usr/bin/env python3
"""Our own tables where no other is found: query, estimate, sweep and db answer from DATA/tables, and say so.

    shipped_test.py PROGRAM SOURCE_DIR

The program runs from a folder of its own, with no environment of Python above it or on PATH; the rows are the fake timing source's.
"""
import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
SOURCE = pathlib.Path(sys.argv[2]).resolve()
MODEL = "deepseek-ai/DeepSeek-V3.2"
GRID = """
context: [{batch: [1, 2, 4], new: [512, 1024, 2048, 4096, 8192, 16384]}]
generation: [{batch: [1, 8, 64], past: [127, 1023, 2047, 4095, 16383, 65535]}]
"""


class ShippedTablesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.program = cls.folder / "bin/dsaperf"
        cls.program.parent.mkdir()
        shutil.copy(PROGRAM, cls.program)
        (cls.folder / "data").mkdir()
        for part in (SOURCE / "data").iterdir():
            if part.name != "tables":
                (cls.folder / "data" / part.name).symlink_to(part)
        (cls.folder / "grid.yaml").write_text(GRID)
        tables = cls.folder / "data/tables/h200_sxm"
        tables.mkdir(parents=True)
        for name, axes in (("whole", ["--heads", "16,128"]), ("stages", ["--heads", "64", "--by", "stage"])):
            done = cls.run_dsaperf("collect", MODEL, "-o", cls.folder / name, "--grid", cls.folder / "grid.yaml", "--kv", "bf16,fp8",
                                   "--timing", "fake", *axes)
            assert done.returncode == 0, done.stderr
            shutil.copy(cls.folder / name / "rows.parquet", tables / f"{name}.parquet")

    @classmethod
    def run_dsaperf(cls, *words, **more):
        environment = more | {"PATH": "/nowhere", "HOME": str(cls.folder), "DSAPERF_DATA": str(cls.folder / "data")}
        return subprocess.run([str(cls.program), *map(str, words)], env=environment, capture_output=True, text=True, timeout=120)

    def document(self, *words):
        done = self.run_dsaperf(*words, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_a_query_answers_with_our_row(self):
        with open(self.folder / "whole/rows.csv") as file:
            rows = [row for row in csv.DictReader(file) if (row["num_heads"], row["isl"], row["step"], row["dsa_dtype"]) == ("16", "4096", "0", "fp8")]
        (row,) = [row for row in rows if row["batch_size"] == "2" and row["op_name"] == "dsa_context"]
        answer = self.document("query", "--heads", 16, "--batch", 2, "--new", 4096)
        self.assertEqual((answer["backend"], answer["version"]), ("dsaperf", "shipped"))
        self.assertAlmostEqual(answer["latency_ms"], float(row["latency"]), places=6)
        self.assertEqual(answer["source"], "measured")
        text = self.run_dsaperf("query", "--heads", 64, "--new", 4096).stdout
        self.assertIn("dsaperf shipped", text)

    def test_what_names_a_framework_is_an_error(self):
        for words in (("query", "--heads", 16, "--new", 4096), ("db", "show"),
                      ("estimate", MODEL, "--tp", 8, "--isl", 4096, "--osl", 64)):
            done = self.run_dsaperf(*words, "--backend", "sglang")
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("sglang", done.stderr)

    def test_sums_of_stages_are_marked(self):
        with open(self.folder / "stages/rows.csv") as file:
            kernels = {row["kernel_source"] for row in csv.DictReader(file)}
        self.assertIn("fake [composed]", kernels)
        (table, _) = self.document("db", "ls")["tables"]
        self.assertIn("fake [composed]", table["kernel_sources"])
        self.assertEqual((table["system"], table["backend"], table["heads"]), ("h200_sxm", "dsaperf", [16, 64, 128]))

    def test_tables_are_shown_and_linted(self):
        self.assertIn("dsaperf shipped on h200_sxm", self.run_dsaperf("db", "show").stdout)
        whole = self.folder / "data/tables/h200_sxm/whole.parquet"
        self.assertIn("4096", self.run_dsaperf("db", "show", whole, "--rows", 100).stdout)
        for place in ((), (whole,), (self.folder / "data/tables",)):
            done = self.run_dsaperf("db", "lint", *place)
            self.assertIn(done.returncode, (0, 3), done.stderr)
            self.assertIn("whole.parquet: 72 rows", done.stdout)

    def test_what_ships_lints_clean_and_shows_its_notes(self):
        """Every table in data/tables, each by itself and a card's folder as a whole: exit code 0, wide intervals are said."""
        tables = sorted((SOURCE / "data/tables").glob("*/*.parquet"))
        self.assertTrue(tables)
        for place in (*tables, *{table.parent for table in tables}, SOURCE / "data/tables"):
            linted = self.document("db", "lint", place)
            self.assertTrue(linted["clean"], place)
            self.assertTrue(all(finding["note"] for finding in linted["row_findings"]), place)
        notes = {finding["rule"]: finding["rows"] for finding in linted["row_findings"]}
        text = self.run_dsaperf("db", "lint", SOURCE / "data/tables", "--rows", 1).stdout
        for rule, rows in notes.items():
            self.assertIn(f"{rule} (note): ", text)
            self.assertIn("\n  generation/" if rows[0].startswith("generation") else "\n  context/", text)

    def test_a_collection_with_a_wide_interval_is_clean_and_one_that_cannot_be_is_not(self):
        journal = (self.folder / "whole/rows.jsonl").read_text().splitlines()
        row = json.loads(journal[1])
        for change, code in (({"warm": {"ci95": 0.2}}, 0), ({"card": {"sm_mhz": 1200}}, 0), ({"card": {"sm_mhz": 0}}, 3)):
            for part, values in change.items():
                odd = json.loads(journal[1])
                odd["measurement"][part] |= values
            with tempfile.TemporaryDirectory() as folder:
                (pathlib.Path(folder) / "rows.jsonl").write_text("\n".join([journal[0], json.dumps(odd), *journal[2:]]) + "\n")
                done = self.run_dsaperf("db", "lint", folder, "--rows", 1)
                self.assertEqual(done.returncode, code, done.stdout)
                self.assertIn(row["id"], done.stdout)

    def test_measured_gemms_are_taken_and_the_others_modelled(self):
        estimate = ("estimate", MODEL, "--tp", 8, "--isl", 4096, "--osl", 64, "--concurrency", 4)

        def sources():
            document = self.document(*estimate)
            lines = document["context"]["operators"] + document["generation"]["operators"]
            return {line["name"]: line["source"] for line in lines if line["name"].endswith("_gemm")}

        self.assertEqual(set(sources().values()), {"modelled"})
        # A fifth of the plan holds every shape at five counts of tokens.
        done = self.run_dsaperf("collect", MODEL, "-o", self.folder / "gemm", "--what", "gemm", "--timing", "fake", "--shard", "2/5")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("rows-0002-of-0005_gemm_perf.parquet: 130 rows", done.stdout)
        lint = self.run_dsaperf("db", "lint", self.folder / "gemm")
        self.assertEqual(lint.returncode, 0, lint.stdout + lint.stderr)
        gemms = self.folder / "data/tables/h200_sxm/gemm"
        gemms.mkdir()
        self.addCleanup(shutil.rmtree, gemms)
        shutil.copy(self.folder / "gemm/rows-0002-of-0005_gemm_perf.parquet", gemms / "v32-gemm_perf.parquet")
        found = sources()
        for name in ("context_dense_gate_up_gemm", "context_shared_gate_up_gemm", "context_shared_ffn2_gemm", "context_router_gemm"):
            self.assertIn(found[name], ("measured", "interpolated"), found)
        said = self.run_dsaperf(*estimate).stderr
        self.assertIn("warning: attention and GEMMs are from our own tables of h200_sxm; experts and collectives", said)
        for place in ((), (gemms,), (gemms / "v32-gemm_perf.parquet",)):
            done = self.run_dsaperf("db", "lint", *place)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # A row that no card can reach is found in the journal and in the table.
        journal = self.folder / "gemm/rows-0002-of-0005.jsonl"
        *lines, last = journal.read_text().splitlines()
        row = json.loads(last)
        for quantile in ("median_us", "p10_us", "p90_us"):
            row["measurement"]["warm"][quantile] /= 2
        journal.write_text("\n".join([*lines, json.dumps(row)]) + "\n")
        found = self.run_dsaperf("db", "lint", self.folder / "gemm", "--rows", 1)
        self.assertEqual(found.returncode, 3, found.stdout)
        self.assertIn("below_bound: 1 rows", found.stdout)
        self.assertIn(row["id"], found.stdout)

    def test_products_have_no_heads_and_no_stages(self):
        for axis in (("--heads", 16), ("--by", "stage"), ("--grid", "deep")):
            done = self.run_dsaperf("collect", MODEL, "-o", self.folder / "no", "--what", "gemm", *axis, "--plan-only")
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("--what gemm", done.stderr)
        plan = self.document("collect", MODEL, "-o", self.folder / "no", "--what", "gemm", "--gemm", "bf16,fp8_block", "--plan-only")
        self.assertEqual(len(plan["cases"]), 25 * (20 + 25))
        self.assertIn({"m": 1, "n": 256, "k": 7168}, [{key: case[key] for key in "mnk"} for case in plan["cases"]])

    def test_deployments_are_estimated_with_the_rest_modelled(self):
        done = self.run_dsaperf("estimate", MODEL, "--tp", 8, "--isl", 4096, "--osl", 64, "--concurrency", 4, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: attention is from our own tables of h200_sxm", done.stderr)
        estimate = json.loads(done.stdout)
        self.assertGreater(estimate["ttft_ms"], 0)
        self.assertGreater(estimate["tpot_ms"], 1)
        sweep = self.document("sweep", MODEL, "--system", "h200_sxm", "--gpus", 8, "--isl", 4096, "--osl", 64)
        self.assertTrue(sweep["candidates"])

    def test_none_is_the_shipped_tables_whatever_is_installed(self):
        words = ("estimate", MODEL, "--tp", 8, "--isl", 4096, "--osl", 64)
        elsewhere = {"DSAPERF_SYSTEMS": "/nowhere"}
        self.assertEqual(self.run_dsaperf(*words, **elsewhere).returncode, 1)
        done = self.run_dsaperf(*words, "--systems", "none", **elsewhere)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("modelled", done.stdout)
        self.assertEqual(self.run_dsaperf(*words, DSAPERF_SYSTEMS="none").stdout, done.stdout)
        self.assertEqual(self.run_dsaperf("sweep", MODEL, "--gpus", 8, "--isl", 4096, "--osl", 64, "--systems", "none", **elsewhere).returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
