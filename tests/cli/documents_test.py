"""What README and docs show is what happens. $DSAPERF is the program.

Every fenced block says what it is:

    ```console   lines "$ command", each with the output that follows it. dsaperf, python3, cat and printf are run, in a folder
                 of the document's own, and what they print is compared with what is shown (a line "..." stands for any
                 lines, "..." within a line for anything there; no output shown: not compared). A comment behind two spaces may say
                 "exit 3". Of other programs only those of the project (scripts/demo) are looked up.
    ```sh        commands, one a line: dsaperf is run, output is not compared
    ```python    a doctest where it has >>>, else it must compile
    ```json, yaml   parsed
    ```text, cmake, c   not looked at
    ```             console where it has "$ ", sh where a line begins with dsaperf, else text

A comment before a block changes that:

    <!-- not run: REASON -->                    for a GPU, for minutes of work, for files that only a user has
    <!-- with NAME=PATH NAME=PATH -->           puts copies of files of the project (or of $DSAPERF_FIXTURES) into that folder
"""

import doctest
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ["DSAPERF"]
FIXTURES = pathlib.Path(os.environ.get("DSAPERF_FIXTURES") or ROOT.parent / "shared/fixtures")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
KINDS = {"console", "sh", "python", "json", "yaml", "text", "cmake", "c"}
RUN = {"dsaperf", "python3", "cat", "printf", "cp", "mkdir", "sed"}
BLOCK = re.compile(r"(?:^<!-- (?P<mark>not run: .+?|with .+?) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.M | re.S)

try:
    import dsaperf
except ImportError:
    dsaperf = None


def blocks(document):
    """(line number, kind, mark, text) of every fenced block."""
    text = document.read_text()
    for found in BLOCK.finditer(text):
        kind, body = found["kind"], found["body"]
        if not kind:
            kind = "console" if body.startswith("$ ") else "sh" if re.search(r"^dsaperf ", body, re.M) else "text"
        yield text[: found.start("body")].count("\n"), kind, found["mark"] or "", body


def commands(text):
    """(command, exit code, output lines) of a console block; a command goes on after a backslash."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        command = lines.pop(0)
        while command.endswith("\\"):
            command = command[:-1] + lines.pop(0).strip()
        command, _, comment = command.partition("  #")
        code = re.search(r"exit (\d)", comment)
        while lines and not lines[-1].strip():
            lines.pop()
        yield command.strip(), int(code[1]) if code else 0, lines


def pattern(lines):
    def within(line):
        return r"[^\n]*".join(re.escape(piece) for piece in line.rstrip().split("..."))

    pieces = [r"(?:[^\n]*\n)*?" if line.strip() == "..." else within(line) + r"\n" for line in lines]
    return re.compile("".join(pieces))


def missing_tables(message):
    return "no tables of AIConfigurator" in message


class DocumentsTest(unittest.TestCase):
    maxDiff = None

    def run_in(self, folder, command, code):
        """(stdout, stderr) of a command line, or None where it cannot be run here."""
        words = shlex.split(command, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words.pop(0)
        if not words:
            return None
        if words[0] not in RUN:
            place = words[words.index("time") + 1] if words[0] == "time" else words[0]
            if "/" in place:
                self.assertTrue((ROOT / place).exists(), place)
            return None
        if words[0] == "python3" and dsaperf is None:
            return None
        # The program and Python by the names that a reader types.
        shell = f'dsaperf() {{ "{PROGRAM}" "$@"; }}; python3() {{ "{sys.executable}" "$@"; }}; {command}'
        result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=folder, timeout=120)
        if result.returncode == 1 and missing_tables(result.stderr):
            return None
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout, result.stderr

    def check_command(self, folder, command, code, lines):
        printed = self.run_in(folder, command, code)
        if printed is None or not lines:
            return
        clean = ["".join(line.rstrip() + "\n" for line in text.replace(str(ROOT) + "/", "").splitlines()) for text in printed]
        if not any(pattern(lines).fullmatch(text) for text in (clean[0], clean[1] + clean[0], clean[1])):
            self.assertEqual("\n".join(lines) + "\n", clean[0] or clean[1])

    def prepare(self, folder, mark):
        """Files of a "with" mark; false where fixtures are needed that are not there."""
        for name, path in (pair.split("=") for pair in mark.removeprefix("with ").split()):
            source = next((place / path for place in (ROOT, FIXTURES) if (place / path).exists()), None)
            if source is None:
                return False
            shutil.copyfile(source, folder / name)
        return True

    def check_block(self, folder, kind, body):
        if kind == "console":
            for command, code, lines in commands(body):
                with self.subTest(command=command):
                    self.check_command(folder, command, code, lines)
        elif kind == "sh":
            for line in body.replace("\\\n", " ").splitlines():
                with self.subTest(command=line):
                    self.run_in(folder, line.partition("  #")[0].strip(), 0)
        elif kind == "json":
            json.loads(body)
        elif kind == "yaml":
            import yaml

            yaml.safe_load(body)

    def check_python(self, document, bodies):
        """All Python of a document in one go, since later blocks build on earlier ones."""
        parser, names = doctest.DocTestParser(), {}
        for line, body in bodies:
            if ">>>" not in body:
                compile(body, f"{document.name}:{line}", "exec")
            elif dsaperf is not None:
                test = parser.get_doctest(body, names, document.name, str(document), line)
                report = []
                runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
                runner.run(test, out=report.append, clear_globs=False)
                names = test.globs
                self.assertEqual(runner.failures, 0, "".join(report))

    def test_blocks_do_what_they_show(self):
        warnings.simplefilter("ignore")
        counted = 0
        for document in DOCUMENTS:
            name = document.relative_to(ROOT)
            python = []
            with tempfile.TemporaryDirectory() as temporary:
                folder = pathlib.Path(temporary)
                for line, kind, mark, body in blocks(document):
                    with self.subTest(place=f"{name}:{line}"):
                        self.assertIn(kind, KINDS, "the block does not say what it is")
                        counted += 1
                        if mark.startswith("not run: ") or (mark and not self.prepare(folder, mark)):
                            continue
                        if kind == "python":
                            python.append((line, body))
                        else:
                            self.check_block(folder, kind, body)
                with self.subTest(python=str(name)):
                    self.check_python(document, python)
        self.assertGreater(counted, 20)

    def test_linked_files_exist(self):
        for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
                self.assertTrue((document.parent / target).exists(), f"{document.relative_to(ROOT)}: {target}")

    def test_every_page_is_linked_from_another(self):
        linked = set()
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
                if (document.parent / target).resolve() != document:
                    linked.add((document.parent / target).resolve())
        for page in ROOT.glob("docs/**/*.md"):
            self.assertIn(page, linked, "no page leads there; docs/index.md is the place")


if __name__ == "__main__":
    unittest.main()
