"""Golden cases of the command line: tests/golden/<command>/<case>/{cmd,expected[,input files]}.

cmd holds the arguments, split as a shell does; the case's folder is the working directory. expected holds the exit code, the standard
output and the standard error as they were when someone looked at them.

    golden_test.py             compares, and prints the difference
    golden_test.py --update    writes what is there now; read the diff before you commit it
"""

import difflib
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent
PROGRAM = os.path.abspath(os.environ["DSAPERF"])


def outcome(case):
    words = shlex.split((case / "cmd").read_text())
    result = subprocess.run([PROGRAM, *words], cwd=case, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    return f"exit {result.returncode}\n--- stdout\n{result.stdout}--- stderr\n{result.stderr}"


def main():
    update = sys.argv[1:] == ["--update"]
    cases = sorted(path.parent for path in ROOT.glob("*/*/cmd"))
    differing = 0
    for case in cases:
        found = outcome(case)
        file = case / "expected"
        expected = file.read_text() if file.exists() else ""
        if found == expected:
            continue
        differing += 1
        if update:
            file.write_text(found)
        else:
            name = str(case.relative_to(ROOT))
            sys.stdout.writelines(difflib.unified_diff(expected.splitlines(True), found.splitlines(True), f"{name}/expected", "now"))
    print(f"{len(cases)} cases, {differing} {'updated' if update else 'differ'}")
    return 0 if cases and (update or differing == 0) else 1


if __name__ == "__main__":
    sys.exit(main())
