"""``python -m dsaperf.aic install|check|remove``."""

from __future__ import annotations

import argparse
import sys

from dsaperf._error import Error
from dsaperf.aic._check import check
from dsaperf.aic._install import install, remove


_CHECKS = {"none": None, "operators": (), "estimate": ("estimate",), "all": ("estimate", "default")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dsaperf.aic",
        description="Our tables in an AIConfigurator installation, as a system of their own",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 AIConfigurator does not answer from the tables.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("install", "put tables in, and ask AIConfigurator for them"),
        ("check", "ask AIConfigurator for the tables that are in"),
        ("remove", "take them out again"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--systems", metavar="DIR", help="AIConfigurator's systems folder (default: this Python's)")
        command.add_argument("--system", default="h200_sxm", help="card that the tables are of (default: %(default)s)")
        if name == "install":
            command.add_argument("--tables", nargs="+", metavar="DIR", help="folders that `dsaperf collect` wrote (default: what is shipped)")
            command.add_argument("--backend", default="sglang", choices=("sglang", "vllm", "trtllm"), help="default: %(default)s")
            command.add_argument("--allow-fake", action="store_true", help="also times that were made up, for a trial")
        if name in ("install", "check"):
            command.add_argument("--python", default=sys.executable, help="Python that has AIConfigurator (default: this)")
            command.add_argument(
                "--check", choices=tuple(_CHECKS), default="operators" if name == "install" else "all",
                help="operators: rows one by one; all: also `cli estimate` and `cli default`, a minute (default: %(default)s)",
            )  # fmt: skip
        if name == "remove":
            command.add_argument("--force", action="store_true", help="also what was changed since")
    return parser


def run(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.command == "remove":
        files = remove(systems=options.systems, system=options.system, force=options.force)
        print(f"{options.system}_dsaperf: {len(files)} files and links removed")
        return 0
    if options.command == "install":
        done = install(
            options.tables, systems=options.systems, system=options.system, backend=options.backend, allow_fake=options.allow_fake
        )
        for warning in done.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(f"{done.system}: {done.rows} rows as {done.backend} {done.version} in {done.systems}")
    passed = True
    commands = _CHECKS[options.check]
    if commands is not None:
        for answer in check(systems=options.systems, system=options.system, python=options.python, commands=commands):
            print(f"{'yes' if answer.passed else 'no '} {answer.what}: {answer.detail}")
            passed = passed and answer.passed
    return 0 if passed else 3


def main() -> None:
    try:
        sys.exit(run())
    except (Error, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
