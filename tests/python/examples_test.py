"""The examples run and print what they promise."""

import importlib.util
import pathlib
import subprocess
import sys
import unittest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples/python"


def lacks(package):
    return importlib.util.find_spec(package) is None


class ExamplesTest(unittest.TestCase):
    def run_example(self, name):
        result = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.splitlines()

    @unittest.skipIf(lacks("torch"), "torch is not installed")
    def test_kernels_in_place_of_flash_mla(self):
        self.assertIn("selection as torch.topk's: yes", self.run_example("torch_flashmla.py")[-1])

    @unittest.skipIf(lacks("aiconfigurator_core"), "aiconfigurator-core is not installed (scripts/setup installs it)")
    def test_aiconfigurator_answers_from_our_tables(self):
        rows, shipped, ours = self.run_example("aiconfigurator_tables.py")
        self.assertIn("MADE UP", rows)  # no GPU has measured them
        self.assertIn("3.9686 ms (silicon)", shipped)
        self.assertTrue(ours.startswith("h200_sxm_dsaperf") and ours.endswith("(silicon)"), ours)
        self.assertNotEqual(ours.split()[-3], shipped.split()[-3])


if __name__ == "__main__":
    unittest.main()
