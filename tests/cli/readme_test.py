"""The README's commands do what it shows. $DSAPERF is the program.

A block ```console holds lines "$ command" with the output that follows each. Commands of dsaperf are run and what
they print is compared; a line "..." in the README stands for any lines. Other commands (scripts/demo) are only checked to exist.
"""

import os
import pathlib
import re
import shlex
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ["DSAPERF"]


def shown(document):
    """(command, output lines) of every console block."""
    for block in re.findall(r"^```console\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command.split("  #")[0].strip(), output.rstrip("\n").splitlines()


def pattern(lines):
    pieces = [r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()) + r"\n" for line in lines]
    return re.compile("".join(pieces))


class ReadmeTest(unittest.TestCase):
    maxDiff = None

    def test_commands_print_what_is_shown(self):
        commands = list(shown(ROOT / "README.md"))
        self.assertTrue(commands, "the README shows no command")
        for command, lines in commands:
            with self.subTest(command=command):
                words = shlex.split(command)
                if words[0] != "dsaperf":
                    self.assertTrue((ROOT / words[0]).exists(), words[0])
                    continue
                result = subprocess.run([PROGRAM, *words[1:]], capture_output=True, text=True, cwd=ROOT, timeout=60)
                self.assertEqual(result.returncode, 0, result.stderr)
                text = "".join(line.rstrip() + "\n" for line in result.stdout.splitlines())
                if lines and not pattern(lines).fullmatch(text):
                    self.assertEqual("\n".join(lines) + "\n", text)

    def test_linked_files_exist(self):
        for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
                self.assertTrue((document.parent / target).exists(), f"{document.relative_to(ROOT)}: {target}")


if __name__ == "__main__":
    unittest.main()
