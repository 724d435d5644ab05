"""What a wheel holds. $DSAPERF_WHEEL is the file, as scripts/wheel makes it."""

import os
import pathlib
import re
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


class WheelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with zipfile.ZipFile(os.environ["DSAPERF_WHEEL"]) as wheel:
            cls.files = {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
        cls.info = next(name.split("/")[0] for name in cls.files if ".dist-info/" in name)
        cls.bundled = {name.split("/")[1] for name in cls.files if name.startswith("dsaperf.libs/")}

    def in_folder(self, folder):
        return {name.removeprefix(folder): content for name, content in self.files.items() if name.startswith(folder)}

    def test_package_and_types_are_there(self):
        here = ROOT / "python/dsaperf"
        sources = {str(path.relative_to(here)): path.read_bytes()
                   for path in here.rglob("*") if path.suffix in (".py", ".pyi") or path.name == "py.typed"}
        package = self.in_folder("dsaperf/")
        self.assertEqual({name: package.get(name) for name in sources}, sources)
        self.assertTrue(any(re.fullmatch(r"_native\..*\.so", name) for name in package), package.keys())
        self.assertIn("bin/dsaperf", package)

    def test_data_is_all_there(self):
        data = ROOT / "data"
        self.assertEqual(self.in_folder("dsaperf/data/"),
                         {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()})

    def test_completions_and_manual_pages_go_where_pip_installs_to(self):
        share = self.in_folder(f"{self.info.removesuffix('.dist-info')}.data/data/share/")
        for file in ("bash-completion/completions/dsaperf", "zsh/site-functions/_dsaperf", "fish/vendor_completions.d/dsaperf.fish"):
            self.assertIn(b"analyze", share[file], file)
        pages = {name.removeprefix("man/man1/") for name in share if name.startswith("man/man1/")}
        self.assertLess({"dsaperf.1", "dsaperf-query.1", "dsaperf-db-ls.1"}, pages)

    def test_arrow_is_pyarrows_and_pinned(self):
        self.assertFalse([name for name in self.files if re.search(r"lib(arrow|parquet)\.", name)])
        self.assertTrue(any(name.startswith("dsaperf/libdsaperf_parquet") for name in self.files))
        self.assertIn("Requires-Dist: pyarrow==25.0.*", self.files[f"{self.info}/METADATA"].decode())

    def test_openblas_comes_with_it(self):
        self.assertTrue(any(name.startswith("dsaperf/libdsaperf_blas") for name in self.files))
        self.assertTrue(any(name.startswith("libopenblas") for name in self.bundled), self.bundled)

    def test_licences_of_all_that_is_bundled_come_with_it(self):
        licences = self.in_folder(f"{self.info}/licenses/")
        self.assertIn(b"Apache License", licences["LICENSE"])
        self.assertTrue(self.bundled, "auditwheel bundled nothing")
        for library in self.bundled:
            stem = re.match(r"(lib[a-zA-Z0-9_+]+)", library)[1]
            notices = [name for name in licences if name.startswith(f"bundled/{stem}")]
            self.assertTrue(notices, f"{library}: none of {sorted(licences)}")
            self.assertTrue(all(len(licences[name]) > 200 for name in notices))


if __name__ == "__main__":
    unittest.main()
