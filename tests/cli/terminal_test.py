"""What a terminal sees: text within 80 columns, colour only there and not against NO_COLOR, manual pages. $DSAPERF is the program."""

import os
import pathlib
import pty
import re
import shlex
import shutil
import subprocess
import tempfile
import unicodedata
import unittest

PROGRAM = os.environ["DSAPERF"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
MOCK, REFERENCE = (str(ROOT / "tests/golden/align/slower" / name) for name in ("mock.csv", "reference.csv"))
V32, GLM = "deepseek-ai/DeepSeek-V3.2", "zai-org/GLM-5-FP8"

# Each command that prints text, quick ones. Those that need AIConfigurator's tables exit with 1 where there are none.
COMMANDS = [
    ["analyze", V32],
    ["analyze", GLM, "--against", V32],
    ["query", V32, "--stages", "--heads", "16", "--phase", "generation", "--past", "32768"],
    ["query", "--heads", "16", "--new", "4096", "--vary", "topk=512..2048"],
    ["query", "--heads", "16", "--new", "4096"],
    ["query", "--heads", "16", "--new", "4096", "--systems", "none"],
    ["query", "--heads", "16", "--requests", "3x512+4096,1x2048"],
    ["query", "--heads", "16", "--new", "16384", "--chunk", "4096"],
    ["estimate", GLM, "--tp", "8", "--isl", "4096", "--osl", "128", "--concurrency", "8"],
    ["estimate", V32, "--tp", "1", "--isl", "4096", "--osl", "16"],
    ["estimate", V32, "--mode", "disagg", "--isl", "4000", "--osl", "500", "--concurrency", "16"],
    ["sweep", GLM, "--isl", "4096", "--osl", "128", "--backend", "sglang"],
    ["sweep", GLM, "--isl", "4096", "--osl", "128", "--gpus", "16", "--mode", "disagg", "--backend", "trtllm"],
    ["run", V32, "--past", "64", "--heads", "8", "--seconds", "0"],
    ["trace", "show", MOCK],
    ["align", MOCK, REFERENCE],
    ["collect", V32, "-o", "/nowhere", "--heads", "16", "--plan-only"],
    ["db", "ls", "--system", "h200_sxm"],
    ["db", "ls", "--systems", "none"],
    ["db", "lint", "--systems", "none"],
    ["db", "show", "--systems", "none"],
    ["db", "modelled"],
]
ESCAPE = "\x1b["


def piped(command, **environment):
    return subprocess.run([PROGRAM, *command], capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def on_terminal(command, **environment):
    """What the command writes to a terminal of 80 columns."""
    main, other = pty.openpty()
    child = subprocess.Popen(
        ["sh", "-c", 'stty cols 80 rows 40; exec "$@"', "sh", PROGRAM, *command],
        stdin=other, stdout=other, stderr=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(other)
    written = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:  # the child has closed its side
            break
        if not piece:
            break
        written += piece
    os.close(main)
    child.wait(timeout=60)
    return written.decode()


def columns(line):
    """Of a terminal; words that cannot be broken (paths) do not count."""
    if max(map(len, line.split()), default=0) > 60:
        return 0
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line if not unicodedata.combining(c))


class TerminalTest(unittest.TestCase):
    def each(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                result = piped(command)
                if "no tables of AIConfigurator" in result.stderr:
                    continue
                self.assertIn(result.returncode, (0, 3), result.stderr)
                yield command, result

    def test_all_of_it_fits_80_columns(self):
        found = 0
        for _, result in self.each():
            for line in result.stdout.splitlines():
                found += 1
                self.assertLessEqual(columns(line), 80, line)
        self.assertGreater(found, 100)

    def test_a_command_to_start_can_be_pasted(self):
        for command, result in self.each():
            if command[0] != "sweep" or "Start the first:\n" not in result.stdout:
                continue
            start = result.stdout.split("Start the first:\n")[1].split("\n\n")[0]
            self.assertEqual(subprocess.run(["sh", "-n"], input=start, text=True).returncode, 0)
            commands = [line for line in start.replace("\\\n", "").splitlines() if not line.lstrip().startswith("#")]
            self.assertEqual(len(commands), 2 if "disagg" in command else 1, start)
            for line in commands:
                self.assertIn(shlex.split(line)[0], ("python3", "vllm", "trtllm-serve"))

    def test_every_help_fits_80_columns_and_has_an_example(self):
        pending, seen = [[]], 0
        while pending:
            words = pending.pop()
            result = piped([*words, "--help"])
            with self.subTest(command=words):
                seen += 1
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                for line in result.stdout.splitlines():
                    self.assertLessEqual(len(line), 80, line)
                self.assertRegex(result.stdout, r"(?m)^Examples?:\s.*dsaperf ")
            below = result.stdout.split("Subcommands:\n", 1)
            if len(below) == 2:
                pending += [[*words, name] for name in re.findall(r"^  ([a-z]\S*)", below[1].split("\n\n", 1)[0], re.MULTILINE)]
        self.assertGreater(seen, 20)

    def test_a_command_line_without_a_command_says_where_they_are_listed(self):
        result = piped([])
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stderr, "error: which command? dsaperf --help lists them\n")

    def test_there_is_no_colour_in_a_pipe(self):
        for _, result in self.each():
            self.assertNotIn(ESCAPE, result.stdout + result.stderr)

    def test_a_terminal_has_colour_unless_told_otherwise(self):
        for command in (["align", MOCK, REFERENCE], ["analyze", V32]):
            with self.subTest(command=command):
                self.assertIn(ESCAPE, on_terminal(command))
                for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
                    self.assertNotIn(ESCAPE, on_terminal(command, **environment))
                self.assertIn(ESCAPE, on_terminal(command, NO_COLOR=""))  # empty is not set: https://no-color.org

    def test_no_command_colours_against_no_color(self):
        for command, _ in self.each():
            self.assertNotIn(ESCAPE, on_terminal(command, NO_COLOR="1"))

    def test_shares_have_bars(self):
        result = piped(["query", "--heads", "16", "--new", "4096"])
        if result.returncode == 1:
            self.skipTest(result.stderr)
        self.assertRegex(result.stdout, r"attention .* % +█")


class ManualTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        result = piped(["man", "-o", folder.name])
        assert result.returncode == 0, result.stderr
        cls.pages = {path.name: path.read_text() for path in pathlib.Path(folder.name).iterdir()}

    def test_every_command_and_flag_of_the_help_has_its_place(self):
        pending, seen = [[]], 0
        while pending:
            words = pending.pop()
            text = piped([*words, "--help"]).stdout
            page = self.pages["-".join(["dsaperf", *words]) + ".1"]
            plain = page.replace("\\-", "-")
            for flag in re.findall(r"^  (?:-\w,)?(--[\w-]+)", text, re.MULTILINE):
                seen += 1
                self.assertIn(f"\\fB{flag}\\fR", plain, words)
            below = text.split("Subcommands:\n", 1)
            if len(below) == 2:
                listed = below[1].split("\n\n", 1)[0]  # examples may follow
                pending += [[*words, name] for name in re.findall(r"^  ([a-z]\S*)", listed, re.MULTILINE)]
            self.assertEqual(piped(["man", *words]).stdout, page)
        self.assertGreater(seen, 50)
        self.assertFalse([name for name in self.pages if "worker" in name])

    def test_an_unknown_command_has_none(self):
        result = piped(["man", "nope"])
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("nope", result.stderr)

    @unittest.skipIf(shutil.which("groff") is None, "groff is not installed")
    def test_groff_has_nothing_to_say(self):
        for name, page in self.pages.items():
            result = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True)
            self.assertEqual(result.stderr, "", name)


if __name__ == "__main__":
    unittest.main()
