"""What `cmake --install` and the .deb put down works elsewhere: the program, its tables, and the library in small projects of
a user's. $DSAPERF_BUILD is the build folder. Nothing here may find the source or build folder, but for its compiler."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["DSAPERF_BUILD"])
VERSION = os.environ["DSAPERF_VERSION"]
OUTSIDE = pathlib.Path(__file__).resolve().parent / "outside"


def run(*command, **environment):
    """Output of a command that sees nothing of this shell's environment."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                            cwd="/", env={"PATH": "/usr/bin:/bin", **environment}, timeout=300)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def files_in(folder):
    """What lies in a folder, by its place there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_paths(file):
    dynamic = run("readelf", "-d", file)
    return [line.split("[", 1)[1] for line in dynamic.splitlines() if "(RPATH)" in line or "(RUNPATH)" in line]


class Installed:
    """What holds of an installed tree in `cls.prefix`."""

    def test_the_program_finds_its_data(self):
        self.assertEqual(run(self.prefix / "bin/dsaperf", "--version"), f"dsaperf {VERSION}\n")
        self.assertIn("yes: DSA", run(self.prefix / "bin/dsaperf", "analyze", "deepseek-ai/DeepSeek-V3.2"))

    def test_the_program_reads_tables_with_the_arrow_beside_it(self):
        systems = os.environ.get("DSAPERF_SYSTEMS") or next(
            iter(BUILD.parent.glob("venv/lib/*/site-packages/aiconfigurator_core/systems")), None)
        if systems is None:
            self.skipTest("no AIConfigurator tables: set DSAPERF_SYSTEMS, or run scripts/setup")
        listed = run(self.prefix / "bin/dsaperf", "db", "ls", "--systems", systems)
        self.assertRegex(listed, r"h200_sxm +sglang +context +81836")

    def test_arrow_comes_with_it(self):
        private = next(self.prefix.glob("lib/**/libdsaperf_parquet.so")).parent
        names = {file.name for file in private.iterdir()} - {"libdsaperf_inject.so"}  # of a build with CUDA
        self.assertEqual(len(names), 4, names)
        for library in ("libarrow.so", "libparquet.so", "libdsaperf_parquet.so", "libdsaperf_blas.so"):
            self.assertTrue(any(name.startswith(library) for name in names), names)

    def test_data_is_all_there(self):
        self.assertEqual(files_in(self.prefix / "share/dsaperf"), files_in(ROOT / "data"))

    def test_every_command_has_its_manual_page(self):
        with tempfile.TemporaryDirectory() as folder:
            run(self.prefix / "bin/dsaperf", "man", "-o", folder)
            pages = files_in(pathlib.Path(folder))
        self.assertGreater(len(pages), 20)
        self.assertEqual(files_in(self.prefix / "share/man/man1"), pages)

    def test_arrow_and_openblas_are_not_loaded_by_a_command_that_needs_neither(self):
        result = subprocess.run([self.prefix / "bin/dsaperf", "analyze", "deepseek-ai/DeepSeek-V3.2"], capture_output=True,
                                text=True, env={"LD_DEBUG": "files"})
        self.assertIn("libfmt", result.stderr)
        self.assertNotIn("libarrow", result.stderr)
        self.assertNotIn("openblas", result.stderr)

    def test_nothing_points_into_the_build(self):
        for file in self.prefix.glob("lib/**/*.so*"):
            self.assertEqual([path for path in run_paths(file) if str(ROOT) in path], [], file)
        self.assertNotIn(str(ROOT), "".join(run_paths(self.prefix / "bin/dsaperf")))
        for file in [*self.prefix.glob("lib/cmake/**/*"), *self.prefix.glob("lib/pkgconfig/*")]:
            if file.is_file():
                self.assertNotIn(str(ROOT), file.read_text(), file)

    def test_a_cmake_project_uses_the_library(self):
        with tempfile.TemporaryDirectory() as folder:
            configured = run("cmake", "-G", "Ninja", "-S", OUTSIDE, "-B", folder, f"-DCMAKE_PREFIX_PATH={self.prefix}")
            self.assertIn(f"program: {self.prefix}/bin/dsaperf", configured)
            run("cmake", "--build", folder)
            self.assertEqual(run(f"{folder}/layer_info"),
                             f"dsaperf {VERSION}: 7168 values a token, 2048 tokens selected\n")

    def test_a_c_program_uses_the_library_by_pkg_config(self):
        if shutil.which("pkg-config") is None:
            self.skipTest("no pkg-config")
        pkg_config = run("pkg-config", "--cflags", "--libs", "dsaperf", PKG_CONFIG_PATH=f"{self.prefix}/lib/pkgconfig")
        self.assertEqual(run("pkg-config", "--modversion", "dsaperf", PKG_CONFIG_PATH=f"{self.prefix}/lib/pkgconfig"),
                         f"{VERSION}\n")
        with tempfile.TemporaryDirectory() as folder:
            run("cc", "-std=c99", "-Wall", "-Wextra", "-Werror", ROOT / "examples/c/sparse_attention.c", "-o",
                f"{folder}/sparse_attention", *pkg_config.split(), "-lm")
            output = run(f"{folder}/sparse_attention", "deepseek-ai/DeepSeek-V3.2", LD_LIBRARY_PATH=f"{self.prefix}/lib")
            self.assertIn("2048 of 2101 tokens attended to", output)

    def test_shells_complete_it(self):
        completion = self.prefix / "share/bash-completion/completions/dsaperf"
        words = run("bash", "-c", f"source {completion}; COMP_WORDS=(dsaperf ana); COMP_CWORD=1; "
                    "$(complete -p dsaperf | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo ${COMPREPLY[@]}")
        self.assertEqual(words, "analyze\n")
        for file in ("zsh/site-functions/_dsaperf", "zsh/vendor-completions/_dsaperf", "fish/vendor_completions.d/dsaperf.fish"):
            self.assertIn("analyze", (self.prefix / "share" / file).read_text())

    def test_licences_of_what_is_bundled_come_with_it(self):
        documents = self.prefix / "share/doc/dsaperf"
        self.assertIn("Apache License", (documents / "copyright").read_text())
        self.assertIn("Apache Arrow", (documents / "arrow/NOTICE.txt").read_text())
        self.assertTrue((documents / "arrow/LICENSE.txt").is_file())


class InstallTest(Installed, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        installed = pathlib.Path(cls.folder.name, "installed")
        run("cmake", "--install", BUILD, "--prefix", installed, "--strip")
        cls.prefix = installed.rename(pathlib.Path(cls.folder.name, "moved"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()


class DebianPackageTest(Installed, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if shutil.which("dpkg-shlibdeps") is None:
            raise unittest.SkipTest("no dpkg-shlibdeps (package dpkg-dev)")
        cls.folder = tempfile.TemporaryDirectory()
        run("cpack", "--config", BUILD / "CPackConfig.cmake", "-G", "DEB", "-B", cls.folder.name)
        cls.package = next(pathlib.Path(cls.folder.name).glob("*.deb"))
        run("dpkg-deb", "-x", cls.package, f"{cls.folder.name}/root")
        cls.prefix = pathlib.Path(cls.folder.name, "root/usr")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_all_of_it_lies_under_usr(self):
        self.assertEqual([path.name for path in self.prefix.parent.iterdir()], ["usr"])
        self.assertEqual({path.name for path in self.prefix.iterdir()}, {"bin", "include", "lib", "share"})

    def test_it_says_what_it_needs(self):
        self.assertEqual(run("dpkg-deb", "-f", self.package, "Package", "Version"), f"Package: dsaperf\nVersion: {VERSION}\n")
        needs = run("dpkg-deb", "-f", self.package, "Depends")
        for library in ("libc6", "libfmt9", "libopenblas0", "libre2-9", "libsqlite3-0", "libyaml-cpp0.7"):
            self.assertIn(library, needs)
        self.assertNotIn("arrow", needs)


if __name__ == "__main__":
    unittest.main()
