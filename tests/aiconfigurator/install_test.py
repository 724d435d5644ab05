"""Tables of ours in an AIConfigurator installation: it answers from them, h200_sxm does not change, nothing is left behind.

The installation is a copy of h200_sxm's part of the systems folder, its files by links. $DSAPERF is the program; the rows are
collected with the fake timing source.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

try:
    import aiconfigurator_core

    SHIPPED = pathlib.Path(aiconfigurator_core.__file__).parent / "systems"
except ImportError:
    SHIPPED = None

from dsaperf import Error, aic

DATA = pathlib.Path(__file__).resolve().parents[2] / "data"
GRID = """
context: [{batch: [1, 4], new: [1, 512, 2048, 4096], past: [0, 4096]}]
generation: [{batch: [1, 8, 64], past: [127, 2047, 4095, 32767]}]
"""


def collect(folder, model, heads, *axes):
    rows, grid = folder / "rows", folder / "grid.yaml"
    grid.write_text(GRID)
    command = [os.environ["DSAPERF"], "collect", model, "-o", rows, "--grid", grid, "--heads", heads, "--timing", "fake", *axes]
    subprocess.run(command, check=True, capture_output=True)
    return rows


def contents(root, below=""):
    """{name: hash or link} of every file and link."""
    found = {}
    for folder, folders, files in os.walk(root / below):
        for name in [*folders, *files]:
            path = pathlib.Path(folder, name)
            key = str(path.relative_to(root))
            if path.is_symlink():
                found[key] = os.readlink(path)
            elif path.is_file():
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[key] = "folder"
    return found


@unittest.skipIf(SHIPPED is None, "aiconfigurator-core is not installed (scripts/setup installs it)")
class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.rows = collect(pathlib.Path(folder.name), "deepseek-ai/DeepSeek-V3.2", "16,128", "--kv", "bf16,fp8")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name, "systems")
        (self.root / "data").mkdir(parents=True)
        shipped = pathlib.Path(os.path.realpath(SHIPPED))
        for source in (*shipped.glob("*.yaml"), shipped / "data/h200_sxm"):
            target = self.root / source.relative_to(shipped)
            subprocess.run(["cp", "-rs", source, target], check=True)

    def install(self, **more):
        return aic.install(self.rows, systems=self.root, allow_fake=True, **more)

    def test_every_row_is_answered_with_its_own_number(self):
        done = self.install()
        self.assertEqual((done.system, done.version, done.rows), ("h200_sxm_dsaperf", "0.5.14", 112))
        (answer,) = aic.check(systems=self.root)
        self.assertTrue(answer.passed, answer.detail)
        self.assertIn("112 rows", answer.detail)

    def test_a_table_that_does_not_answer_is_found_out(self):
        import pyarrow.parquet

        self.install()
        (path,) = self.root.glob("data/h200_sxm_dsaperf/sparse_attention/*/*/dsa_context_module_perf.parquet")
        probed = aic._check._operators(sys.executable, self.root, "h200_sxm_dsaperf", "sglang", 200)[1]
        self.assertTrue(probed)
        table = pyarrow.parquet.read_table(path)
        # The same key twice: AIConfigurator takes the last row without a word.
        twice = pyarrow.concat_tables([table, table.slice(0, 1).set_column(
            table.column_names.index("latency"), "latency", pyarrow.array([1.0])).cast(table.schema)])
        pyarrow.parquet.write_table(twice, path)
        (answer,) = aic.check(systems=self.root)
        self.assertFalse(answer.passed)

    def test_the_shipped_system_stays_as_it_is_and_removal_leaves_nothing(self):
        before = contents(self.root)
        self.install()
        during = contents(self.root)
        self.assertEqual({name: during.get(name) for name in before}, before)
        new = set(during) - set(before)
        self.assertTrue(all(name.startswith("data/h200_sxm_dsaperf") or name == "h200_sxm_dsaperf.yaml" for name in new), new)
        self.assertTrue(all(not os.path.isabs(during[name]) for name in new if during[name].startswith("..")))
        aic.remove(systems=self.root)
        self.assertEqual(contents(self.root), before)

    def test_installing_again_replaces(self):
        self.install()
        first = contents(self.root)
        self.install()
        self.assertEqual(contents(self.root), first)

    def test_what_is_not_ours_is_left_alone(self):
        (self.root / "data/h200_sxm_dsaperf").mkdir()
        before = contents(self.root)
        for call in (self.install, lambda: aic.remove(systems=self.root)):
            with self.assertRaises(Error):
                call()
            self.assertEqual(contents(self.root), before)

    def test_what_was_changed_since_is_not_removed_unasked(self):
        self.install()
        (self.root / "h200_sxm_dsaperf.yaml").write_text("mine: yes\n")
        (self.root / "data/h200_sxm_dsaperf/notes.txt").write_text("mine\n")
        before = contents(self.root)
        with self.assertRaises(Error) as raised:
            aic.remove(systems=self.root)
        self.assertIn("h200_sxm_dsaperf.yaml", str(raised.exception))
        self.assertIn("notes.txt", str(raised.exception))
        self.assertEqual(contents(self.root), before)
        aic.remove(systems=self.root, force=True)
        self.assertFalse((self.root / "data/h200_sxm_dsaperf").exists())

    def test_a_failed_installation_changes_nothing(self):
        before = contents(self.root)
        for arguments in ({"tables": self.rows}, {"tables": "/no/such", "allow_fake": True}, {"tables": self.rows, "system": "h9"}):
            with self.assertRaises(Error):
                aic.install(systems=self.root, **arguments)
            self.assertEqual(contents(self.root), before)
        with self.assertRaises(Error):
            aic.install(self.rows, systems=self.root / "data", allow_fake=True)

    def data_with(self, *tables):
        """A data folder with these tables of h200_sxm alone."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        data = pathlib.Path(folder.name)
        for part in ("configs", "systems"):
            (data / part).symlink_to(DATA / part)
        for number, table in enumerate(tables):
            (data / "tables/h200_sxm").mkdir(parents=True, exist_ok=True)
            (data / f"tables/h200_sxm/piece-{number}.parquet").write_bytes(table.read_bytes())
        return {"DSAPERF_DATA": str(data)}

    def test_without_tables_it_says_that_none_ship_and_how_to_measure_some(self):
        before = contents(self.root)
        with unittest.mock.patch.dict(os.environ, self.data_with()):
            with self.assertRaisesRegex(Error, "no tables are shipped; .*dsaperf collect"):
                aic.install(systems=self.root)
        self.assertEqual(contents(self.root), before)

    def test_shipped_tables_answer_as_the_rows_they_are_of(self):
        with unittest.mock.patch.dict(os.environ, self.data_with(self.rows / "rows.parquet")):
            done = aic.install(systems=self.root, allow_fake=True)
        self.assertEqual((done.system, done.version, done.rows), ("h200_sxm_dsaperf", "0.5.14", 112))
        (shipped,) = aic.check(systems=self.root)
        self.assertTrue(shipped.passed, shipped.detail)
        of_shipped = contents(self.root)
        self.install()
        self.assertEqual(set(contents(self.root)), set(of_shipped))

    def test_the_command_line_says_what_it_did(self):
        run = lambda *words: subprocess.run(
            [sys.executable, "-m", "dsaperf.aic", *map(str, words)], capture_output=True, text=True, timeout=120
        )
        installed = run("install", "--systems", self.root, "--tables", self.rows, "--allow-fake")
        self.assertEqual(installed.returncode, 0, installed.stderr)
        self.assertIn("112 rows as sglang 0.5.14", installed.stdout)
        self.assertIn("yes operators", installed.stdout)
        self.assertEqual(run("remove", "--systems", self.root).returncode, 0)
        again = run("remove", "--systems", self.root)
        self.assertEqual((again.returncode, again.stderr.count("\n")), (1, 1))
        self.assertTrue(again.stderr.startswith("error: "))
        self.assertEqual(run("install", "--tables").returncode, 2)

    @unittest.skipUnless(os.path.exists(os.path.join(os.path.dirname(sys.executable), "aiconfigurator")),
                         "the aiconfigurator program is not installed (scripts/setup check installs it)")
    def test_cli_estimate_sums_our_rows(self):
        self.install()
        answers = aic.check(systems=self.root, commands=["estimate"])
        self.assertEqual([(a.what, a.passed) for a in answers], [("operators", True), ("cli estimate", True)], answers)


if __name__ == "__main__":
    unittest.main()
