"""The program, for what needs processes of its own."""

from __future__ import annotations

import os
import sys

from dsaperf._error import Error


def program() -> str:
    """Path of the ``dsaperf`` program: the package's own, ``$DSAPERF``, or the one on PATH."""
    own = os.path.join(os.path.dirname(__file__), "bin", "dsaperf")
    if os.path.exists(own):
        return own
    import shutil

    named = os.environ.get("DSAPERF") or shutil.which("dsaperf")
    if named:
        return named
    raise Error(f"no dsaperf program: no {own}, not in $DSAPERF, not on PATH", "not_found")


def main() -> None:
    """The console script: becomes the program."""
    try:
        path = program()
    except Error as error:
        sys.exit(f"error: {error}")
    os.execv(path, [path, *sys.argv[1:]])
