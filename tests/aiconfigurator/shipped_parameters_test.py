"""The parameters that ship (data/predict/parameters.csv) are those of the tables that there are: aiconfigurator's and ours, each part known and no line
of a table that was replaced since.

Skips with a message where aiconfigurator_core (scripts/setup's environment) is absent. $DSAPERF is the program.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["DSAPERF"]
SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "data/predict/parameters.csv"

try:
    import aiconfigurator_core

    WHY = None
except ImportError as error:
    WHY = f"aiconfigurator_core is not there ({error}); scripts/setup brings it"


@unittest.skipIf(WHY, WHY)
class ShippedParametersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.written = pathlib.Path(self.folder.name) / "parameters.csv"

    def prepare(self, *flags):
        """`db prepare` with a cache of its own; its document."""
        command = [PROGRAM, "db", "prepare", "--json", "-o", self.written, *flags]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=500,
                              env={**os.environ, "XDG_CACHE_HOME": self.folder.name})
        return json.loads(done.stdout)

    def test_they_are_those_of_the_tables_that_there_are(self):
        for flags in ([], ["--shipped"]):
            document = self.prepare(*flags)
            self.assertEqual((document["fitted"], document["left_out"]), (0, 0), "dsaperf db prepare --shipped -o data/predict/parameters.csv")
            self.assertEqual(self.written.read_text(), SHIPPED.read_text())

    def test_what_is_of_no_table_is_left_out(self):
        cache = pathlib.Path(self.folder.name) / "dsaperf"
        cache.mkdir()
        header, line = SHIPPED.read_text().splitlines()[:2]
        stale = "0123456789abcdef" + line[line.index(","):]
        (cache / "parameters.csv").write_text(f"{header}\n{stale}\n")
        self.assertEqual(self.prepare("--shipped")["left_out"], 1)
        self.assertNotIn(stale, self.written.read_text())


if __name__ == "__main__":
    unittest.main()
