"""The functions of the package give the documents of the program, fail as it fails, and show themselves in notebooks."""

import html.parser
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile
import unittest
import warnings

import dsaperf

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ["DSAPERF"]
V32 = "deepseek-ai/DeepSeek-V3.2"
GLM = "zai-org/GLM-5-FP8"
MOCK, REFERENCE = (ROOT / "tests/golden/align/slower" / name for name in ("mock.csv", "reference.csv"))

try:
    import aiconfigurator_core

    SYSTEMS = os.path.join(os.path.dirname(aiconfigurator_core.__file__), "systems")
except ImportError:
    SYSTEMS = None


def shown(*arguments):
    """(document, text) of the program."""
    run = lambda *more: subprocess.run([PROGRAM, *map(str, arguments), *more], capture_output=True, text=True, timeout=120)
    document, text = run("--json"), run()
    if document.returncode not in (0, 3):
        raise AssertionError(document.stderr)
    return json.loads(document.stdout), text.stdout


class Balanced(html.parser.HTMLParser):
    """Fails on tags that do not match."""

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing")


class DocumentsTest(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        catcher = warnings.catch_warnings()
        catcher.__enter__()
        self.addCleanup(catcher.__exit__, None, None, None)
        warnings.simplefilter("ignore", dsaperf.AssumptionWarning)

    def check(self, result, *arguments):
        document, text = shown(*arguments)
        self.assertEqual(dict(result), document)
        self.assertEqual(str(result).strip(), text.strip())
        parser = Balanced()
        parser.feed(result._repr_html_())
        self.assertEqual(parser.open, [])
        self.assertIn("table", parser.tags)

    def test_analyze_is_the_programs(self):
        result = dsaperf.analyze(V32, tp=8)
        self.check(result, "analyze", V32, "--tp", 8)
        self.assertTrue(result.sparse)
        self.assertEqual(result.facts["index_topk"], 2048)

    def test_analyze_against_another_model_is_the_programs(self):
        self.check(dsaperf.analyze(GLM, against=V32), "analyze", GLM, "--against", V32)

    def test_stages_are_the_programs(self):
        result = dsaperf.stages(V32, heads=16, new_tokens=4096, kv="fp8")
        document, _ = shown("query", V32, "--stages", "--heads", 16, "--new", 4096)
        self.assertEqual(result["stages"], document["stages"])
        self.assertEqual(result.bound_us, document["bound_us"])
        self.assertEqual(result.stages[0].name, "qkv_a_projection")

    @unittest.skipIf(SYSTEMS is None, "aiconfigurator-core is not installed (scripts/setup installs it)")
    def test_query_is_the_programs(self):
        result = dsaperf.query(heads=16, new_tokens=4096, past_tokens=100, systems=SYSTEMS)
        self.check(result, "query", "--systems", SYSTEMS, "--heads", 16, "--new", 4096, "--past", 100)
        low, high = result.interval_ms
        self.assertLess(low, result.latency_ms)
        self.assertLess(result.latency_ms, high)

    @unittest.skipIf(SYSTEMS is None, "aiconfigurator-core is not installed (scripts/setup installs it)")
    def test_estimate_is_the_programs(self):
        result = dsaperf.estimate(GLM, tp=8, isl=4096, osl=256, concurrency=8)
        arguments = ("--systems", SYSTEMS, "--tp", 8, "--isl", 4096, "--osl", 256, "--concurrency", 8)
        self.check(result, "estimate", GLM, *arguments)
        self.assertTrue(result.fits)
        self.assertAlmostEqual(sum(o.share for o in result.operators("context")), 1)

    @unittest.skipIf(SYSTEMS is None, "aiconfigurator-core is not installed (scripts/setup installs it)")
    def test_an_estimate_of_disaggregated_workers_is_the_programs(self):
        workers = {"prefill": dsaperf.Workers(count=2), "decode": dsaperf.Workers(tp=2, dp=4)}
        result = dsaperf.estimate(GLM, mode="disagg", tp=8, isl=4096, osl=256, concurrency=16, **workers)
        arguments = "--mode disagg --tp 8 --prefill-workers 2 --decode-tp 2 --decode-dp 4 --isl 4096 --osl 256 --concurrency 16"
        document, _ = shown("estimate", GLM, "--systems", SYSTEMS, *arguments.split())
        self.assertEqual(dict(result), document)
        result._repr_html_()

    @unittest.skipIf(SYSTEMS is None, "aiconfigurator-core is not installed (scripts/setup installs it)")
    def test_an_estimate_that_does_not_fit_is_an_answer(self):
        result = dsaperf.estimate(V32, tp=1, isl=4096, osl=256)
        self.assertFalse(result.fits)
        self.assertIsNone(result.ttft_ms)
        self.assertIn("GiB", result.reason)
        result._repr_html_()

    @unittest.skipIf(SYSTEMS is None, "aiconfigurator-core is not installed (scripts/setup installs it)")
    def test_sweep_is_the_programs(self):
        result = dsaperf.sweep(GLM, isl=4096, osl=256, gpus=8, backend="sglang", ttft_ms=3000, tpot_ms=40)
        arguments = ("--systems", SYSTEMS, "--isl", 4096, "--osl", 256, "--backend", "sglang", "--ttft", 3000, "--tpot", 40)
        self.check(result, "sweep", GLM, *arguments)
        self.assertIn("sglang", result.best["launch"])

    def test_align_is_the_programs(self):
        result = dsaperf.align(MOCK, REFERENCE)
        self.check(result, "align", MOCK, REFERENCE)
        self.assertFalse(result.aligned)
        self.assertTrue(dsaperf.align(MOCK, REFERENCE, max_ratio=4).aligned)

    def test_trace_is_the_programs(self):
        self.check(dsaperf.trace(MOCK), "trace", "show", MOCK)

    def test_a_config_may_be_a_dictionary(self):
        with open(ROOT / "data/configs/deepseek-ai--DeepSeek-V3.2.json") as file:
            config = json.load(file)
        self.assertEqual(dsaperf.analyze(config).facts, dsaperf.analyze(V32).facts)

    def test_a_plan_is_the_programs(self):
        with tempfile.TemporaryDirectory() as folder:
            plan = dsaperf.collect(V32, folder, heads=[16], plan_only=True)
            document, _ = shown("collect", V32, "-o", folder, "--heads", 16, "--plan-only")
        self.assertEqual(plan["cases"], document["cases"])
        self.assertGreater(len(plan.cases), 100)
        self.assertIsNone(plan.table)

    def test_collect_measures_and_reports_each_case(self):
        events = []
        with tempfile.TemporaryDirectory() as folder:
            grid = pathlib.Path(folder, "grid.yaml")
            grid.write_text("context: [{batch: [1], new: [1, 512], past: [0]}]\ngeneration: [{batch: [1], past: [127]}]\n")
            rows = dsaperf.collect(V32, pathlib.Path(folder, "rows"), grid=grid, heads=[16], timing="fake", progress=events.append)
            self.assertTrue(pathlib.Path(rows.table).exists())
        self.assertEqual(rows["report"]["measured"], 3)
        self.assertEqual({e["id"] for e in events if e["event"] == "measured"}, {case["id"] for case in rows.cases})

    def test_a_layer_runs_and_is_checked(self):
        result = dsaperf.run(V32, heads=8, new_tokens=2, past_tokens=64, seconds=0, check=True)
        self.assertTrue(result.passed)
        self.assertGreater(result.time_us, 0)
        self.assertIn("attention", [stage["name"] for stage in result.stages])
        self.assertIn("check passed", str(result))
        result._repr_html_()
        self.assertIsNone(dsaperf.run(V32, heads=8, past_tokens=64, seconds=0).passed)

    def test_all_phases_give_a_report(self):
        with tempfile.TemporaryDirectory() as folder:
            lines = []
            result = dsaperf.integrate(V32, folder, skip=["run", "align", "predict", "collect", "export"], progress=lines.append)
            self.assertEqual(result.failures, [])
            self.assertTrue(pathlib.Path(result.page).exists())
            self.assertIn("Sparse attention in 61 of 61 layers", str(result))
            self.assertTrue(lines[0].startswith("analyze"))
            result._repr_html_()

    def test_what_was_assumed_is_warned_of(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = dsaperf.align(ROOT / "tests/golden/trace/unclassified/table.csv", REFERENCE)
        self.assertTrue(result.warnings)
        self.assertEqual([str(w.message) for w in caught if w.category is dsaperf.AssumptionWarning], list(result.warnings))
        self.assertEqual(caught[0].filename, __file__)


class ErrorTest(unittest.TestCase):
    def test_the_message_is_the_programs_and_the_code_says_the_kind(self):
        with self.assertRaises(dsaperf.Error) as raised:
            dsaperf.analyze("no/such-model")
        said = subprocess.run([PROGRAM, "analyze", "no/such-model"], capture_output=True, text=True).stderr
        self.assertEqual(f"error: {raised.exception}\n", said)
        self.assertEqual(raised.exception.code, "not_found")

    def test_foreign_bytes_are_a_parse_error(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder, "config.json")
            config.write_text("{")
            with self.assertRaises(dsaperf.Error) as raised:
                dsaperf.analyze(config)
        self.assertEqual(raised.exception.code, "parse")

    def test_a_phase_of_processes_fails_with_the_code_of_its_failure(self):
        for call, code in (
            (lambda: dsaperf.run("no/such-model"), "not_found"),
            (lambda: dsaperf.run(V32, heads=7, new_tokens=1), "invalid_argument"),
            (lambda: dsaperf.collect(V32, "/dev/null/rows", timing="fake"), "io"),
        ):
            with self.assertRaises(dsaperf.Error) as raised:
                call()
            self.assertEqual(raised.exception.code, code)

    def test_wrong_values_are_refused_by_name(self):
        for call in (
            lambda: dsaperf.align(MOCK, REFERENCE, phase="lunch"),
            lambda: dsaperf.align(MOCK, REFERENCE, max_ratio=0.5),
            lambda: dsaperf.analyze(V32, tp=0),
            lambda: dsaperf.estimate(V32, isl=1, osl=1, mode="lunch"),
            lambda: dsaperf.estimate(V32, isl=1, osl=1, rate=1, concurrency=1),
            lambda: dsaperf.estimate(V32, isl=float("nan"), osl=1),
            lambda: dsaperf.estimate(V32, isl=1, osl=1, moe_tp=-1),
            lambda: dsaperf.sweep(V32, isl=1, osl=1, gpus=0),
            lambda: dsaperf.sweep(V32, isl=float("nan"), osl=1),
            lambda: dsaperf.estimate(V32, isl=4096.5, osl=1),
            lambda: dsaperf.sweep(V32, isl=1, osl=1.5),
            lambda: dsaperf.query(heads=16, phase="lunch"),
        ):
            with self.assertRaises(dsaperf.Error) as raised:
                call()
            self.assertEqual(raised.exception.code, "invalid_argument")

    def test_a_name_alone_is_a_list_of_one(self):
        rules = str(pathlib.Path(REFERENCE).with_name("absent.yaml"))
        for call, name in (
            (lambda: dsaperf.trace(REFERENCE, rules=rules), rules),
            (lambda: dsaperf.integrate(V32, "/nowhere", systems="absent"), "absent"),
            (lambda: dsaperf.collect(V32, "/nowhere", plan_only=True, kv="fp5"), "fp5"),
        ):
            with self.assertRaisesRegex(dsaperf.Error, name):
                call()

    def test_a_range_that_a_recording_lacks_is_said_of_its_file(self):
        with self.assertRaisesRegex(dsaperf.Error, f"{re.escape(str(MOCK))}: no range named"):
            dsaperf.align(MOCK, REFERENCE, range="absent")

    def test_a_failed_collection_says_what_the_program_said(self):
        with self.assertRaises(dsaperf.Error) as raised:
            dsaperf.collect("no/such-model", "/nowhere", plan_only=True)
        self.assertIn("no/such-model", str(raised.exception))
        with self.assertRaises(dsaperf.Error) as raised:
            dsaperf.collect(V32, "/nowhere", plan_only=True, kv=["fp5"])
        self.assertIn("fp5", str(raised.exception))

    def test_errors_travel_between_processes(self):
        error = pickle.loads(pickle.dumps(dsaperf.Error("no", "parse")))
        self.assertEqual((str(error), error.code), ("no", "parse"))


class ImportTest(unittest.TestCase):
    def test_importing_the_package_loads_nothing_heavy(self):
        script = "import sys; before = set(sys.modules); import dsaperf; print(*sorted(set(sys.modules) - before))"
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(run.stdout.split(), ["dsaperf"])

    def test_every_public_name_is_there(self):
        for name in dsaperf.__all__:
            self.assertIsNotNone(getattr(dsaperf, name), name)
        with self.assertRaises(AttributeError):
            dsaperf.no_such_name  # noqa: B018

    def test_arrow_is_loaded_only_for_a_table(self):
        script = (
            "import dsaperf\n"
            "def mapped(): return 'libarrow.so' in open('/proc/self/maps').read()\n"
            f"dsaperf.analyze({V32!r}); print(mapped())"
        )
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(run.stdout.strip(), "False")


if __name__ == "__main__":
    unittest.main()
