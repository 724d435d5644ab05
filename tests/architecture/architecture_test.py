"""Keeps the direction between modules: ARCHITECTURE.md's table is the rule, includes and CMake's USES follow it."""

import json
import pathlib
import re
import tomllib
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "dsaperf"
CODE = {".hpp", ".cpp", ".cuh", ".cu"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
LONGEST_FILE = 650
# Names that say nothing about the subject of a file.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "legacy"}
# A .cu or .cuh reaches none of these: fmt does not compile there, JSON has no business there.
NOT_IN_DEVICE_CODE = re.compile(r"^(fmt/|nlohmann/|simdjson|torch/|ATen/|c10/)")


def allowed_uses():
    """Module -> modules it may use, of the table under "## Modules"."""
    text = (ROOT / "ARCHITECTURE.md").read_text().split("## Modules", 1)[1].split("\n## ", 1)[0]
    table = {}
    for row in re.findall(r"^\|(.*)\|$", text, re.MULTILINE):
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) == 3 and re.fullmatch(r"[a-z]+", cells[0]) and cells[0] != "module":
            table[cells[0]] = set(cells[2].split())
    return table


def modules():
    return sorted(path for path in SOURCES.iterdir() if path.is_dir())


def code_files(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in CODE)


def includes(path):
    return INCLUDE.findall(path.read_text(errors="replace"))


def declared_uses(module):
    """USES and CUDA_USES of a module's dsaperf_module() call."""
    text = re.sub(r"#.*", "", (module / "CMakeLists.txt").read_text())
    call = re.search(r"dsaperf_module\(\s*" + module.name + r"\b(.*?)\)", text, re.DOTALL).group(1)
    found = set()
    keyword = None
    for word in call.split():
        if re.fullmatch(r"[A-Z_]+", word):
            keyword = word
        elif keyword in ("USES", "CUDA_USES"):
            found.add(word)
    return found


def used_modules(files):
    used = {}
    for path in files:
        for name in includes(path):
            match = re.match(r"dsaperf/([a-z]+)/", name)
            if match:
                used.setdefault(match.group(1), path.relative_to(ROOT))
    return used


class ArchitectureTest(unittest.TestCase):
    def test_the_table_names_every_module(self):
        self.assertLessEqual({module.name for module in modules()}, set(allowed_uses()))

    def test_the_table_has_no_cycle(self):
        table, done = allowed_uses(), set()
        while len(done) < len(table):
            ready = {name for name, uses in table.items() if name not in done and uses <= done}
            self.assertTrue(ready, f"cycle among {sorted(set(table) - done)}")
            done |= ready

    def test_includes_follow_the_table(self):
        table = allowed_uses()
        for module in modules():
            for name, path in used_modules(code_files(module)).items():
                self.assertIn(name, table.get(module.name, set()) | {module.name},
                              f"{path} includes a header of {name}: {module.name} may not use it")

    def test_cmake_declares_what_is_included(self):
        table = allowed_uses()
        for module in modules():
            declared, used = declared_uses(module), used_modules(code_files(module))
            self.assertLessEqual(declared, table.get(module.name, set()), f"USES of {module.name}")
            for name, path in used.items():
                self.assertIn(name, declared | {module.name}, f"{path} includes a header of {name}: missing in USES")
            self.assertEqual(declared - set(used), set(), f"USES of {module.name}: no file of it includes a header of these")

    def test_test_headers_are_included_by_tests_only(self):
        for path in code_files(SOURCES) + code_files(ROOT / "tools"):
            relative = path.relative_to(ROOT)
            if "testing" in relative.parts or re.search(r"_(test|bench)\.(cpp|cu)$", path.name):
                continue
            for name in includes(path):
                self.assertNotIn("/testing/", name, f"{relative} is no test")

    def test_device_code_reaches_no_fmt_and_no_json(self):
        def reach(path, trail, seen):
            for name in includes(path):
                self.assertIsNone(NOT_IN_DEVICE_CODE.match(name), " -> ".join(trail + [name]))
                header = ROOT / "src" / name
                if header.is_file() and header not in seen:
                    seen.add(header)
                    reach(header, trail + [name], seen)

        for path in code_files(SOURCES):
            if path.suffix in (".cu", ".cuh"):
                reach(path, [str(path.relative_to(ROOT))], {path})

    def test_host_headers_include_no_device_code(self):
        for path in code_files(SOURCES):
            if path.suffix in (".hpp", ".cpp"):
                for name in includes(path):
                    self.assertFalse(name.endswith(".cuh"), f"{path.relative_to(ROOT)} includes {name}")

    def test_cli11_is_behind_one_header(self):
        """Its headers take longer to compile than most files of the program."""
        users = {path.name for path in code_files(ROOT / "tools") if any(name.startswith("CLI/") for name in includes(path))}
        self.assertEqual(users, {"command.cpp", "help_format.cpp"})

    def test_a_wheel_is_compiled_as_the_optimised_presets_are(self):
        """Else its program and bindings are not found in the compiler cache that they filled."""
        presets = {each["name"]: each["cacheVariables"]
                   for each in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}
        wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]
        self.assertEqual(wheel["cmake"]["build-type"], presets["host"]["CMAKE_BUILD_TYPE"])
        flags = {name: value for name, value in presets["base"].items() if name.endswith("_RELWITHDEBINFO")}
        self.assertEqual(len(flags), 2)
        self.assertEqual({name: wheel["cmake"]["define"].get(name) for name in flags}, flags)

    def test_files_have_one_subject(self):
        for path in code_files(ROOT / "src") + code_files(ROOT / "tools"):
            relative = path.relative_to(ROOT)
            words = set(re.split(r"[/._]", str(relative)))
            self.assertFalse(words & EMPTY_NAMES, f"{relative}: the name says nothing")
            self.assertLessEqual(len(path.read_text().splitlines()), LONGEST_FILE, f"{relative} is long")


if __name__ == "__main__":
    unittest.main()
