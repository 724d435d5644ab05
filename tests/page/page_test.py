"""dsaperf integrate from end to end, and its page in Chromium: every picture drawn, nothing on the console, dark, narrow,
printed. $DSAPERF is the program, $DSAPERF_OPTIMISED whether it was compiled to be fast (1 or 0). What needs Chromium (scripts/setup check) is skipped where there is none; with
DSAPERF_REQUIRE_CHROMIUM=1 that fails."""

import html.parser
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["DSAPERF"]
MODEL = "deepseek-ai/DeepSeek-V3.2"
ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = pathlib.Path(os.environ.get("DSAPERF_FIXTURES") or ROOT.parent / "shared" / "fixtures")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIMISED = os.environ.get("DSAPERF_OPTIMISED") == "1"
DARK = ["--blink-settings=preferredColorScheme=0"]


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def integrate(folder, *args, config=MODEL):
    before = processor_seconds()
    result = subprocess.run(
        [PROGRAM, "integrate", config, "-o", folder, *args], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )
    result.processor_seconds = processor_seconds() - before
    return result


class Chromium:
    """One page load: its document after scripts have run, what was written to the console, a screenshot."""

    def __init__(self, page, width=1100, height=1400, arguments=(), output=()):
        with tempfile.TemporaryDirectory() as profile:
            result = subprocess.run(
                [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
                 f"--window-size={width},{height}", "--virtual-time-budget=30000", "--enable-logging=stderr", "--v=0",
                 *arguments, *(output or ["--dump-dom"]), pathlib.Path(page).as_uri()],
                capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)  # fmt: skip
        self.dom = result.stdout
        self.console = [line for line in result.stderr.splitlines() if ":CONSOLE" in line]


class Figures(html.parser.HTMLParser):
    """Pictures of a page and the marks that were drawn in each."""

    def __init__(self, text):
        super().__init__()
        self.marks, self.labels, self.root = {}, {}, {}
        self.inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "html":
            self.root = attributes
        name = attributes.get("id") or ""
        if name.startswith("picture-"):
            self.inside = name
            self.marks[name] = 0
            self.labels[name] = attributes.get("aria-label") or ""
        elif self.inside and tag in ("path", "line", "text"):
            self.marks[self.inside] += 1
        elif tag == "details":
            self.inside = None


def contrast(one, other):
    """WCAG 2's ratio of two colours, #rrggbb."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


class IntegrateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name) / "report"
        cls.first = integrate(cls.out)
        cls.page = cls.out / "report.html"
        if cls.first.returncode == 0:
            cls.document = json.loads((cls.out / "report.json").read_text())

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        self.assertEqual(self.first.returncode, 0, self.first.stderr)

    def pictures(self, document=None):
        return [picture for section in (document or self.document)["sections"] for picture in section["pictures"]]

    def test_answers_everything(self):
        tones = {answer["name"]: answer["tone"] for answer in self.document["answers"]}
        self.assertEqual(tones, {"model": "plain", "right": "good", "align": "plain", "speed": "plain", "limits": "plain", "deploy": "plain"})
        self.assertEqual([phase["state"] for phase in self.document["phases"]], ["done"] * 6)

    def test_writes_its_files(self):
        for name in ("report.md", "aiconfigurator.md", "tables/accuracy.csv", "tables/pareto_h200_sxm.csv", "documents/run.json"):
            self.assertTrue((self.out / name).exists(), name)
        self.assertLess(self.page.stat().st_size, 3 << 20)

    def test_needs_nothing_from_elsewhere(self):
        text = re.sub(r"<script>.*?</script>", "", self.page.read_text(), flags=re.DOTALL)
        self.assertIn("default-src 'none'", text)
        self.assertIsNone(re.search(r"<(script|link|img)[^>]*(src|href)=\"(?!data:)", text))

    def test_text_and_marks_stand_out_from_light_and_dark_paper(self):
        text = self.page.read_text()
        themes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{(.*?)\}", text, re.DOTALL)]
        self.assertEqual(len(themes), 3)  # light, dark, printed
        for theme in themes:
            for colour in {"ink", "faint", "link", "good", "bad"} & set(theme):
                for ground in ("paper", "card"):
                    self.assertGreaterEqual(contrast(theme[colour], theme[ground]), 4.5, f"{colour} on {ground}")
        # Marks have names beside them, in legends and tables: 3 is enough (WCAG 1.4.11). The colours of the timeline are
        # those of stages everywhere in Vega, with a gap between neighbours.
        marks = set(re.findall(r"#[0-9a-f]{6}", re.search(r"range: \{category: \[(.*?)\]", text, re.DOTALL)[1]))
        marks |= set(re.findall(r'"(#[0-9a-f]{6})"', json.dumps([picture["spec"] for picture in self.pictures()])))
        # White stands inside bars, and is to stand out from those.
        inside = '"fill": "#ffffff"'
        marks.remove("#ffffff")
        for spec in (json.dumps(picture["spec"]) for picture in self.pictures()):
            for bar in re.findall(r"#[0-9a-f]{6}", re.search(r'"range": \[(.*?)\]', spec)[1]) if inside in spec else ():
                self.assertGreaterEqual(contrast("#ffffff", bar), 3, bar)
        self.assertGreater(len(marks), 10)
        for mark in marks:
            for theme in themes[:2]:
                self.assertGreaterEqual(contrast(mark, theme["paper"]), 3, mark)

    def test_a_screen_reader_finds_its_way(self):
        text = re.sub(r"<script.*?</script>", "", self.page.read_text(), flags=re.DOTALL)
        self.assertIn('<html lang="en">', text)
        levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
        self.assertEqual((levels[0], levels.count(1)), (1, 1))
        self.assertTrue(all(after <= before + 1 for before, after in zip(levels, levels[1:])), levels)
        self.assertEqual(text.count("<table>"), text.count("<caption"))
        self.assertEqual(text.count('class="scroll" tabindex="0" role="region"'), text.count("<table>"))
        self.assertNotIn("outline: none", text)
        for target in re.findall(r'href="#([^"]+)"', text):
            self.assertEqual(text.count(f'id="{target}"'), 1, target)

    def test_a_second_run_runs_nothing(self):
        before = self.page.read_bytes()
        again = integrate(self.out, "--json")
        self.assertEqual(json.loads(again.stdout)["commands_run"], 0)
        self.assertEqual(re.sub(rb"reused|done", b"", self.page.read_bytes()), re.sub(rb"reused|done", b"", before))
        self.assertEqual(again.stderr, "")
        if OPTIMISED:
            self.assertLess(again.processor_seconds, 2)

    # Of processor time, which other programs on the machine leave as it is.
    @unittest.skipUnless(OPTIMISED, "compiled to be debugged")
    def test_takes_seconds(self):
        self.assertLess(self.first.processor_seconds, 20)

    def test_a_phase_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            result = integrate(folder, "--only", "collect", "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            states = {phase["name"]: phase["state"] for phase in json.loads((pathlib.Path(folder) / "report.json").read_text())["phases"]}
            self.assertEqual([name for name, state in states.items() if state == "done"], ["analyze", "collect"])

    def test_aligns_two_recordings(self):
        traces = FIXTURES / "traces"
        if not traces.is_dir():
            self.skipTest(f"{traces} is not there: set DSAPERF_FIXTURES")
        reference = traces / "transformers-5.17-v32_decode-h200.json.gz"
        with tempfile.TemporaryDirectory() as folder:
            result = integrate(folder, "--only", "align", "--mock", reference, "--reference", reference)
            self.assertEqual(result.returncode, 0, result.stderr)
            document = json.loads((pathlib.Path(folder) / "report.json").read_text())
            align = next(section for section in document["sections"] if section["name"] == "align")
            self.assertEqual([picture["name"] for picture in align["pictures"]], ["align"])
            self.assertEqual(next(a for a in document["answers"] if a["name"] == "align")["answer"], "Yes, kernel by kernel")

    def test_wrong_use_is_one_line(self):
        for args, code in ((["--skip", "guess"], 2), (["--device", "tpu"], 2)):
            result = integrate("unused", *args)
            self.assertEqual(result.returncode, code)
            self.assertRegex(result.stderr, r"\Aerror: .*\n\Z")
        result = subprocess.run([PROGRAM, "integrate", "/no/such/model", "-o", self.folder.name + "/no"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr.splitlines()[-1], r"\Aerror: .*")

    def load(self, page=None, **how):
        if CHROMIUM is None:
            if os.environ.get("DSAPERF_REQUIRE_CHROMIUM"):
                self.fail("Chromium is missing: scripts/setup check installs it")
            self.skipTest("Chromium is missing: scripts/setup check installs it")
        return Chromium(page or self.page, **how)

    def assert_drawn(self, loaded, document=None):
        self.assertEqual(loaded.console, [])
        figures = Figures(loaded.dom)
        names = [picture["name"] for picture in self.pictures(document)]
        self.assertEqual(figures.root.get("data-drawn"), str(len(names)))
        self.assertEqual(figures.root.get("data-failed"), "0")
        for name in names:
            self.assertGreater(figures.marks.get("picture-" + name, 0), 10, name)
            self.assertNotEqual(figures.labels.get("picture-" + name, ""), "", f"{name} has no text for a screen reader")

    def test_every_picture_is_drawn(self):
        self.assertGreaterEqual(len(self.pictures()), 12)
        self.assert_drawn(self.load())

    def test_pages_of_what_no_table_has(self):
        """An architecture that is not known, all of whose times are modelled; a model without sparse layers; a card without tables."""
        sparse = json.loads((ROOT / "data/configs" / (MODEL.replace("/", "--") + ".json")).read_text())
        sparse |= {"architectures": ["NovaSparseForCausalLM"], "model_type": "nova_sparse", "num_hidden_layers": 48}
        for name, card, least in (
            ("unknown", "h200_sxm", 10), ("meta-llama/Meta-Llama-3.1-8B", "h200_sxm", 2), (MODEL, "a100_sxm", 8)):  # fmt: skip
            with self.subTest(name, card=card), tempfile.TemporaryDirectory() as folder:
                if name == "unknown":
                    name = pathlib.Path(folder, "config.json")
                    name.write_text(json.dumps(sparse))
                made = integrate(pathlib.Path(folder, "report"), "--system", card, config=name)
                self.assertEqual(made.returncode, 0, made.stderr)
                document = json.loads(pathlib.Path(folder, "report/report.json").read_text())
                self.assertGreaterEqual(len(self.pictures(document)), least)
                self.assert_drawn(self.load(pathlib.Path(folder, "report/report.html")), document)

    def test_dark_and_narrow(self):
        loaded = self.load(width=390, height=800, arguments=DARK)
        self.assert_drawn(loaded)
        wide = [int(width) for width in re.findall(r'<svg[^>]* width="(\d+)', loaded.dom)]
        # A window of headless Chromium is at least 500 wide.
        self.assertLessEqual(max(wide), 500, "a picture is wider than a narrow screen")

    def test_printed(self):
        with tempfile.TemporaryDirectory() as folder:
            pdf = pathlib.Path(folder) / "report.pdf"
            self.load(output=[f"--print-to-pdf={pdf}", "--no-pdf-header-footer"])
            self.assertTrue(pdf.read_bytes().startswith(b"%PDF"))
            pages = len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
            self.assertTrue(3 <= pages <= 14, f"{pages} pages")


if __name__ == "__main__":
    unittest.main()
