"""The program, for what needs processes of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


def listed(values: Sequence[str]) -> str:
    """Several values in one word. A string is one of them, not its letters."""
    return values if isinstance(values, str) else ",".join(values)


def ask(arguments: Sequence[str], progress: Callable[[str], None] | None = None) -> tuple[Mapping[str, Any], list[str]]:
    """The JSON document of a command, and the lines that it wrote beside it, which ``progress`` gets as they come.

    A command that fails is an :class:`Error` with the program's words and code; a verdict of no (exit code 3) is a document.
    """
    import subprocess
    import threading

    messages: list[str] = []

    def watch(lines: Any) -> None:
        for line in lines:
            messages.append(line.strip())
            if progress is not None:
                progress(messages[-1])

    with subprocess.Popen([program(), *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        watcher = threading.Thread(target=watch, args=(child.stderr,), daemon=True)
        watcher.start()
        assert child.stdout is not None
        document = child.stdout.read()
        watcher.join()
    if child.returncode not in (0, 3):
        text = next((line for line in messages if line.startswith("error: ")), "\n".join(messages))
        code = "invalid_argument" if child.returncode == 2 else _code(document)
        raise Error(text.removeprefix("error: ") or f"the program ended with {child.returncode}", code)
    return json.loads(document), messages


def _code(document: str) -> str:
    """That of the document of a failure; a program that crashed left none."""
    try:
        return str(json.loads(document)["code"])
    except (ValueError, KeyError, TypeError):
        return "internal"


def main() -> None:
    """The console script: becomes the program."""
    try:
        path = program()
    except Error as error:
        sys.exit(f"error: {error}")
    os.execv(path, [path, *sys.argv[1:]])
