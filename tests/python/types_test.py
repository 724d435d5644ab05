"""The package's types are true: the stub of the bindings has their functions and arguments; mypy --strict and stubtest
agree where mypy is installed (scripts/setup check)."""

import ast
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from dsaperf import _native

ROOT = pathlib.Path(__file__).resolve().parents[2]
STUB = ROOT / "python/dsaperf/_native.pyi"


def of_stub():
    """{function or Class.method: argument names} of the stub, self apart."""
    found = {}

    def add(prefix, node):
        names = [argument.arg for argument in node.args.posonlyargs + node.args.args if argument.arg != "self"]
        found[prefix + node.name] = (names, bool(node.args.posonlyargs))

    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            add("", node)
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.decorator_list and not inner.args.vararg:
                    add(node.name + ".", inner)
    return found


def of_bindings(name):
    """Argument names by nanobind: '' for those that have none."""
    function = _native
    for part in name.split("."):
        function = getattr(function, part)
    text = function.__nb_signature__[0][0]
    inside = text[text.index("(") + 1 : text.rindex(") ->")]
    names = re.findall(r"(?:^|, )(\w+)(?=: |=|,|$)", inside)
    return [argument for argument in names if argument != "self"]


class TypesTest(unittest.TestCase):
    def test_the_stub_has_the_bindings_functions_and_arguments(self):
        stub = of_stub()
        functions = {name for name in dir(_native) if type(getattr(_native, name)).__name__ == "nb_func"}
        self.assertEqual(functions, {name for name in stub if "." not in name})
        for name, (arguments, positional) in stub.items():
            bound = of_bindings(name)
            self.assertEqual(len(bound), len(arguments), name)
            if not positional and not name.endswith(("__len__", "__init__")) and arguments and not bound[0].startswith("arg"):
                self.assertEqual(bound, arguments, name)

    @unittest.skipIf(importlib.util.find_spec("mypy") is None, "mypy is not installed (scripts/setup check installs it)")
    def test_mypy_is_content(self):
        run = self.mypy("mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "dsaperf")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    @unittest.skipIf(importlib.util.find_spec("mypy") is None, "mypy is not installed (scripts/setup check installs it)")
    def test_stubtest_is_content(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as allowed:
            # nanobind's functions and classes are of types of their own, which stubtest does not look into; the test above does.
            names = {part for name in of_stub() for part in (name, name.partition(".")[0])}
            lines = ["dsaperf._native." + name for name in sorted(names)]
            lines += ["dsaperf.libdsaperf_blas", "dsaperf.libdsaperf_parquet"]  # in a wheel beside the modules, and none
            allowed.write("\n".join(lines).replace(".", r"\."))
            allowed.flush()
            arguments = ("--allowlist", allowed.name, "--ignore-unused-allowlist")
            run = self.mypy("mypy.stubtest", "dsaperf", "--mypy-config-file", str(ROOT / "pyproject.toml"), *arguments)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def mypy(self, module, *arguments):
        cache = {"MYPY_CACHE_DIR": os.path.join(tempfile.gettempdir(), f"dsaperf-mypy-{os.getuid()}")}
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True, text=True, cwd=ROOT, timeout=600, env={**os.environ, **cache, "MYPYPATH": str(ROOT / "python")},
        )


if __name__ == "__main__":
    unittest.main()
