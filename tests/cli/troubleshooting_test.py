"""Every message of ours in docs/troubleshooting.md is what the program prints, word for word. $DSAPERF is the program,
$DSAPERF_CUDA whether it has its GPU part (1 or 0).

In the page's examples documents_test.py compares; here, that they leave nothing out. A message in one of its tables is
provoked here, one by one. What takes a failing card, or the other kind of build, is held against the text in the sources.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/troubleshooting.md"
PROGRAM = os.environ["DSAPERF"]
HAS_GPU_PART = os.environ["DSAPERF_CUDA"] == "1"
HAS_GPU = pathlib.Path("/dev/nvidiactl").exists()
MODEL = "deepseek-ai/DeepSeek-V3.2"
OF_OTHERS = "## Messages of frameworks"


def printed(*arguments, program=PROGRAM, **environment):
    """The last line on stderr of a command that fails."""
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run([program, *arguments], capture_output=True, text=True, cwd=folder, timeout=60,
                                env={**os.environ, **environment})
    assert result.returncode == 1, result
    return result.stderr.splitlines()[-1]


def without_its_library():
    """A program that stands alone; it names its own place."""
    with tempfile.TemporaryDirectory() as folder:
        alone = shutil.copy(PROGRAM, folder)
        line = printed("profile", "--", "true", program=alone, DSAPERF_INJECT="")
        return line.replace(str(pathlib.Path(alone).resolve()), "/usr/bin/dsaperf")


def out_of_memory():
    """As cuda_error() words it."""
    words = re.search(r'fmt::format\("(.*)"', (ROOT / "src/dsaperf/gpu/cuda_error.cpp").read_text())[1]
    place = "src/dsaperf/gpu/device_array.hpp"
    line, call = next((number, re.search(r"TRY\((cudaMalloc.*)\);", text)[1])
                      for number, text in enumerate((ROOT / place).read_text().splitlines(), 1) if "TRY(cudaMalloc" in text)
    return "error: " + words.format("cudaErrorMemoryAllocation", "out of memory", place, line, call)


# By how a message begins: how it comes about, and on which machines.
ABSENT, PRESENT = not HAS_GPU_PART, HAS_GPU_PART and not HAS_GPU
PROVOKED = {
    "no GPU: this build of dsaperf": (ABSENT, lambda: printed("run", MODEL, "--device", "gpu")),
    "libdsaperf_inject.so is neither": (True, without_its_library),
    "no GPU: the driver shows none": (PRESENT, lambda: printed("run", MODEL, "--device", "gpu")),
    "--devices 0: no GPU is visible": (True, lambda: printed("collect", MODEL, "-o", "rows", CUDA_VISIBLE_DEVICES="")),
    "cudaErrorMemoryAllocation": (True, out_of_memory),
    "true: no process used CUDA": (HAS_GPU_PART, lambda: printed("profile", "--", "true")),
}


def sections():
    """(heading, text) of the page's sections about messages of our own."""
    page = PAGE.read_text()
    for section in re.split(r"(?m)^(?=## )", page)[1:]:
        if not section.startswith(OF_OTHERS):
            yield section


def quoted_in_tables():
    for section in sections():
        for row in re.findall(r"(?m)^\| (`.*?) \|", section):
            yield from re.findall(r"`([^`]+)`", row)


def templates():
    """Every string of the sources, pieces joined as the compiler does, with what it is filled with left open."""
    piece = r'"((?:[^"\\\n]|\\.)*)"'
    for pattern in ("src/**/*.cpp", "tools/**/*.cpp", "python/**/*.cpp", "python/**/*.py"):
        for file in ROOT.glob(pattern):
            if file.stem.endswith("_test"):
                continue
            for found in re.finditer(rf"{piece}(?:\s*{piece})*", file.read_text()):
                text = "".join(re.findall(piece, found[0])).replace('\\"', '"')
                if len(re.sub(r"\{[^}]*\}", "", text)) >= 10:  # shorter ones say nothing
                    yield re.compile("(.+)".join(re.escape(part) for part in re.split(r"\{[^}]*\}", text)))


class TroubleshootingTest(unittest.TestCase):
    def test_examples_show_the_whole_message(self):
        shown = 0
        for section in sections():
            for line in re.findall(r"(?m)^(?:error: |\S+: \d).*$", section):
                shown += 1
                self.assertNotIn("...", line)
        self.assertGreater(shown, 15)

    def test_messages_in_tables_are_those_of_the_program(self):
        provoked = set()
        sources = list(templates())
        for message in quoted_in_tables():
            with self.subTest(message=message):
                self.assertNotIn("...", message)
                begin = next((begin for begin in PROVOKED if message.startswith(begin)), None)
                if begin is not None:
                    provoked.add(begin)
                    here, provoke = PROVOKED[begin]
                    if here:
                        self.assertEqual(provoke(), f"error: {message}")
                        continue
                self.assertTrue(any(source.fullmatch(message) for source in sources), "not in the sources")
        self.assertEqual(provoked, set(PROVOKED), "no longer on the page")


if __name__ == "__main__":
    unittest.main()
