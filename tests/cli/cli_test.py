"""What holds for every command of dsaperf: help, exit codes, one error line. $DSAPERF is the program."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["DSAPERF"]
ROOT = pathlib.Path(__file__).parents[2]


def run(*args):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


def commands(*path):
    """Names of the commands below `path`, as the help lists them."""
    text = run(*path, "--help").stdout
    below = text.split("Subcommands:\n", 1)
    if len(below) != 2:
        return []
    return re.findall(r"^  ([a-z]\S*)", below[1].split("\n\n", 1)[0], re.MULTILINE)


def every_command():
    pending = [(name,) for name in commands()]
    while pending:
        path = pending.pop()
        below = commands(*path)
        if below:
            pending += [(*path, name) for name in below]
        else:
            yield path


class CommandLineTest(unittest.TestCase):
    def assert_usage_error(self, result, *words):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertRegex(result.stderr, r"\Aerror: .*\n\Z")
        for word in words:
            self.assertIn(word, result.stderr)

    def test_a_file_that_cannot_be_imported_is_told_before_a_model_is_asked_for(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "rows.csv"
            for content, expected in ((None, "No such file"), ("", "the file is empty")):
                if content is not None:
                    path.write_text(content)
                result = run("db", "import", path, "-o", f"{folder}/tables")
                self.assertEqual(result.returncode, 1)
                self.assertIn(expected, result.stderr)
                self.assertNotIn("--model", result.stderr)

    def test_there_are_commands(self):
        self.assertIn(("completion",), list(every_command()))

    def test_no_command_is_a_usage_error(self):
        self.assert_usage_error(run(), "which command? dsaperf --help lists them")
        self.assert_usage_error(run("db"), "which command? dsaperf db --help lists them")

    def test_an_unknown_command_is_named(self):
        self.assert_usage_error(run("nope"), "'nope'")

    def test_standard_input_is_refused_by_commands_of_several_processes(self):
        for command in (("collect", "-", "-o", "rows", "--timing", "fake"), ("integrate", "-", "-o", "report")):
            with self.subTest(command):  # collect waited for ever
                self.assert_usage_error(run(*command), "CONFIG: standard input cannot be read by several processes; give a file")

    def test_every_flag_says_what_it_is(self):
        # Texts begin in column 30, of a long flag in the next line.
        for path in every_command():
            lines = run(*path, "--help").stdout.splitlines()
            for line, following in zip(lines, lines[1:] + [""]):
                if line.startswith("  -"):
                    with self.subTest(path=path, line=line):
                        self.assertTrue(line[30:].strip() or following[:30].strip() == "" and following.strip())

    def test_a_card_of_which_there_are_figures_alone_is_not_called_a_misspelt_one(self):
        result = run("query", "deepseek-ai/DeepSeek-V3.2", "--heads", "16", "--stages", "--system", "h20", "--systems", "none")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"\Awarning: .* has no tables of h20: no measured rows\n\Z")

    def test_a_misspelt_command_is_corrected(self):
        self.assert_usage_error(run("completoin", "bash"), "'completoin'", "'completion'")

    def test_a_card_by_half_its_name_is_told_whole(self):
        for command in (("query", "--heads", "16", "--new", "64"), ("query", "deepseek-ai/DeepSeek-V3.2", "--heads", "16", "--stages")):
            with self.subTest(command):
                result = run(*command, "--system", "h200")
                self.assertEqual(result.returncode, 1)
                self.assertRegex(result.stderr, r"^error: .*'?h200'?.*h200_sxm.*; did you mean 'h200_sxm'\?\n$")

    def test_a_number_that_is_none_or_out_of_range_is_a_usage_error(self):
        estimate = ("estimate", "deepseek-ai/DeepSeek-V3.2", "--isl", "4096", "--osl", "16")
        self.assert_usage_error(run(*estimate, "--ep", "0"), "--ep: Value 0 not in range 1 to 1024")
        self.assert_usage_error(run(*estimate, "--prefix-hit", "nan"), "--prefix-hit: nan is no number")
        self.assert_usage_error(run("query", "--chunk", "0"), "--chunk: 0 is not above 0 ")
        self.assert_usage_error(run("query", "--cached", "-1"), "--cached: -1 is less than 0 ")
        self.assert_usage_error(run("db", "lint", "--rows", "-1"), "--rows: -1 is less than 0 ")
        self.assert_usage_error(run("db", "diff", "a", "b", "--tolerance", "nan"), "--tolerance: nan is no number ")

        self.assert_usage_error(run("query", "--heads", "0"), "--heads: Value 0 not in range 1 to 1073741824 ")
        self.assert_usage_error(run("query", "--heads", "8", "--past", "1073741825"), "--past: Value 1073741825 not in range 0 to")
        self.assert_usage_error(run("query", "--heads", "8", "--full-fraction", "2"), "--full-fraction: Value 2 not in range 0 to 1 ")
        self.assert_usage_error(run(*estimate, "--mem-fraction", "90"), "--mem-fraction: Value 90 not in range 0.01 to 1 ")
        self.assert_usage_error(run(*estimate, "--chunk", "10.5"), "--chunk: 10.5 is no integer from 1 ")
        self.assert_usage_error(run("integrate", "MODEL", "-o", "report", "--isl", "64.5"), "--isl: 64.5 is no integer from 1 ")
        self.assert_usage_error(run("sweep", "MODEL", "--isl", "0", "--osl", "16"), "--isl: 0 is no integer from 1 to 1073741824 ")
        # It started them, and did not end.
        self.assert_usage_error(run("run", "MODEL", "--threads", "100000"), "--threads: Value 100000 not in range 1 to 1024 ")

    def test_sizes_that_contradict_each_other_are_a_usage_error(self):
        estimate = ("estimate", "deepseek-ai/DeepSeek-V3.2", "--isl", "4096", "--osl", "16")
        self.assert_usage_error(run("query", "--heads", "8", "--new", "64", "--cached", "65"), "--cached 65 is more than --new 64 ")
        self.assert_usage_error(run(*estimate, "--prefix", "4096"), "--prefix 4096 is not less than --isl 4096 ")
        self.assert_usage_error(run(*estimate, "--mtp", "1", "--mtp-accepted", "1.5"), "--mtp-accepted 1.5 is more than --mtp 1 ")

    def test_a_value_that_cannot_be_read_is_a_usage_error_of_its_flag(self):
        for command, words in (
            (("query", "--heads", "8", "--requests", "3x"), "--requests: requests '3x': "),
            (("query", "--heads", "8", "--vary", "topk="), "--vary: 'topk=': "),
            (("estimate", "MODEL", "--isl", "64", "--osl", "8", "--host", "day=3"), "--host: host constant 'day' "),
            (("collect", "MODEL", "-o", "rows", "--shard", "4/4"), "--shard: shard '4/4' is not i/n "),
            (("trace", "show", "FILE", "--max-unclassified", "500%"), '--max-unclassified: "500%" is not a share'),
            (("align", "MOCK", "REFERENCE", "--max-ratio", "0.5"), "--max-ratio: 0.5: a ratio below 1 holds for nothing "),
        ):
            with self.subTest(" ".join(command)):
                self.assert_usage_error(run(*command), words)

    def test_every_number_of_every_command_refuses_what_is_none(self):
        seen = 0
        for path in every_command():
            numbers = re.findall(r"^  (?:-\w,)? *(--[\w-]+) (INT|UINT|FLOAT)", run(*path, "--help").stdout, re.MULTILINE)
            for flag, kind in numbers:
                seen += 1
                wrong = ["nan", "inf", "1e999", "2x", "many"]
                if kind != "FLOAT":
                    wrong += ["99999999999999999999", "-99999999999999999999", "1.5"]
                for value in wrong:
                    with self.subTest(path=path, flag=flag, value=value):
                        self.assert_usage_error(run(*path, f"{flag}={value}"), f"{flag}: {value} is ")
        self.assertGreater(seen, 80)
        self.assert_usage_error(run("run", "--seed", str(2**64)), f"--seed: {2**64} is more than {2**64 - 1} ")
        self.assert_usage_error(run("run", "--heads", str(2**31)), f"--heads: {2**31} is more than {2**31 - 1} ")

    def test_a_flag_that_would_change_nothing_is_a_usage_error(self):
        model = "deepseek-ai/DeepSeek-V3.2"
        self.assert_usage_error(run("query", model, "--stages", "--vary", "topk=1024"), "--stages has no use for --vary")
        self.assert_usage_error(
            run("query", "--from", "a.csv", "-o", "b.csv", "--heads", "8"), "--from has no use for --heads"
        )
        load = ("--tp", "8", "--isl", "4096", "--osl", "16")
        self.assert_usage_error(
            run("estimate", model, *load, "--decode-tp", "4"), "--mode agg has no use for --decode-tp"
        )
        self.assert_usage_error(run("estimate", "--from", "a.csv", "--isl", "64"), "--from has no use for --isl ")
        for command in (("estimate", model, *load), ("sweep", model, "--isl", "64", "--osl", "8")):
            self.assert_usage_error(run(*command, "--quirks", "none"), "--method model has no use for --quirks ")

    def test_a_word_of_a_list_that_is_not_a_choice_is_a_usage_error(self):
        collect = ("collect", "deepseek-ai/DeepSeek-V3.2", "-o", "rows")
        self.assert_usage_error(run(*collect, "--kv", "bf16,int3"), "--kv: int3 not in {bf16,fp8}")

    def test_what_a_config_says_and_nobody_reads_is_a_warning_of_every_number(self):
        config = json.loads((ROOT / "data/configs/deepseek-ai--DeepSeek-V3.2.json").read_text()) | {"index_new_field": 7}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "config.json")
            path.write_text(json.dumps(config))
            for command in (
                ("analyze",),
                ("query", "--heads", "16", "--new", "4096", "--systems", "none"),
                ("query", "--stages", "--heads", "16"),
                ("estimate", "--tp", "16", "--isl", "4096", "--osl", "16", "--systems", "none"),
                ("sweep", "--gpus", "16", "--isl", "4096", "--osl", "16", "--simulate", "0", "--systems", "none"),
                ("collect", "-o", folder, "--plan-only"),
            ):
                with self.subTest(command[0]):
                    result = run(command[0], str(path), *command[1:], "--json")
                    self.assertIn("warning: index_new_field = 7: looks like sparse attention", result.stderr)
                    self.assertIn("index_new_field", " ".join(json.loads(result.stdout)["warnings"]))

    def test_an_output_that_is_full_is_a_failure_of_every_command(self):
        for command in (("--help",), ("db", "ls", "--systems", "none"), ("analyze", "deepseek-ai/DeepSeek-V3.2")):
            with open("/dev/full", "w") as full:
                result = subprocess.run([PROGRAM, *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
            self.assertEqual((result.returncode, result.stderr), (1, "error: standard output: could not be written\n"))

    def test_a_size_or_a_word_that_no_pass_has_is_refused(self):
        query = ("query", "--systems", "none", "--backend", "dsaperf", "--heads", "128", "--new")
        sweep = ("sweep", "deepseek-ai/DeepSeek-V3.2", "--systems", "none", "--gpus", "8", "--isl", "1024", "--osl", "16", "--simulate", "0")
        for command, words in (
            ((*query, "1000000", "--chunk", "1"), "1000000 chunks, more than 65536"),
            ((*sweep, "--kv", "fp5"), "no dtype 'fp5'"),
            ((*sweep, "--gemm", "fp5"), "no dtype 'fp5'"),
        ):
            with self.subTest(" ".join(command)):
                result = run(*command)
                self.assertEqual((result.returncode, result.stdout), (1, ""))
                self.assertRegex(result.stderr, f"^error: .*{re.escape(words)}[^\n]*\n$")

    def test_a_sweep_whose_rows_are_not_shown_says_nothing_of_limits(self):
        sweep = ("sweep", "deepseek-ai/DeepSeek-V3.2", "--systems", "none", "--gpus", "8", "--isl", "1024", "--osl", "16", "--simulate", "0")
        self.assertNotIn("No layout", run(*sweep, "--top", "0").stdout)
        self.assertIn("No layout is left.", run(*sweep, "--tpot", "0.001").stdout)

    def test_names_of_files_that_are_no_utf8_are_in_documents_all_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            config, table, grid, rows = (os.path.join(os.fsencode(folder), name) for name in (b"m\xff.json", b"t\xff.parquet", b"g\xff.yaml", b"r\xff"))
            shutil.copy(ROOT / "data/configs/zai-org--GLM-5.json", config)
            shutil.copy(ROOT / "data/tables/h200_sxm/glm5-stages.parquet", table)
            pathlib.Path(os.fsdecode(grid)).write_text("generation: [{batch: [1, 2], past: [4095]}]")
            load = ("--isl", "1024", "--osl", "16", "--systems", "none")
            for command in (
                ("analyze", config), ("query", config, "--stages", "--past", "4096"), ("estimate", config, "--tp", "8", *load),
                ("sweep", config, "--gpus", "8", "--simulate", "0", *load), ("run", config, "--past", "64", "--heads", "8", "--seconds", "0"),
                ("collect", config, "-o", rows, "--grid", grid, "--heads", "8", "--timing", "fake"),
                ("collect", config, "-o", rows, "--grid", grid, "--heads", "8", "--timing", "fake", "--resume"),
                ("db", "show", table), ("db", "lint", table), ("db", "diff", table, table), ("db", "merge", rows, "-o", rows + b"2"),
            ):
                with self.subTest(command):
                    done = subprocess.run([PROGRAM, *command, "--json"], capture_output=True, timeout=60)
                    self.assertIn(done.returncode, (0, 3), done.stderr)
                    json.loads(done.stdout.decode())

    def test_what_a_recording_lacks_is_said_of_its_file(self):
        layer = str(ROOT / "tests/golden/align/slower/mock.csv")
        for command in (("trace", "show", layer), ("align", layer, layer)):
            result = run(*command, "--range", "decode")
            self.assertEqual(result.returncode, 1)
            self.assertIn(f'error: {layer}: no range named "decode"', result.stderr)

    def test_cases_that_failed_are_in_the_document_as_in_the_text(self):
        with tempfile.TemporaryDirectory() as folder:
            fake = ("--timing", "fake", "--heads", "128", "--fake-fails-on", "context/8x")
            result = run("collect", "deepseek-ai/DeepSeek-V3.2", "-o", folder, *fake, "--json")
            told = re.findall(r"^warning: (.*)$", result.stderr, re.MULTILINE)
            self.assertTrue(told)
            self.assertEqual(json.loads(result.stdout)["warnings"], told)

    def test_integrate_starts_nothing_for_a_card_or_a_recording_that_is_not_there(self):
        with tempfile.TemporaryDirectory() as folder:
            report = ("integrate", "deepseek-ai/DeepSeek-V3.2", "-o", str(pathlib.Path(folder, "report")))
            for flag, message in (("--system", "system absent: not among"), ("--reference", "absent: no such file")):
                result = run(*report, flag, "absent")
                self.assertEqual(result.returncode, 1)
                self.assertIn(f"error: {message}", result.stderr)
            self.assertEqual(os.listdir(folder), [])

    def test_bf16_is_bfloat16_in_every_command(self):
        load = ("deepseek-ai/DeepSeek-V3.2", "--systems", "none", "--isl", "4096", "--osl", "16", "--json")
        for command in (("sweep", "--gpus", "16", "--simulate", "0"), ("estimate", "--tp", "16")):
            for flag in ("--kv", "--gemm"):
                short, long = (run(*command, *load, flag, name) for name in ("bf16", "bfloat16"))
                self.assertEqual(short.returncode, 0, short.stderr)
                self.assertEqual(short.stdout, long.stdout)
        short, long = (run("db", "show", "--systems", "none", "--kv", name, "--json") for name in ("bf16", "bfloat16"))
        self.assertTrue(any(table["rows"] for table in json.loads(short.stdout)["tables"]))
        self.assertEqual(short.stdout, long.stdout)

    def test_version_is_one_line(self):
        self.assertRegex(run("--version").stdout, r"\Adsaperf \d+\.\d+\.\d+\n\Z")

    def test_every_command_has_help_with_an_example(self):
        for path in every_command():
            with self.subTest(command=path):
                result = run(*path, "--help")
                self.assertEqual(result.returncode, 0)
                self.assertRegex(result.stdout, r"Example", "a footer with an example")
                self.assertIn("dsaperf " + " ".join(path), result.stdout)
                self.assertEqual(result.stderr, "")

    def test_every_command_names_an_unknown_flag(self):
        for path in every_command():
            with self.subTest(command=path):
                result = run(*path, "--no-such-flag")
                self.assertEqual(result.returncode, 2)
                self.assertTrue(result.stderr.startswith("error: "), result.stderr)

    def test_what_a_profiled_command_prints_is_not_in_the_document(self):
        # What the injection library does in a process that uses CUDA.
        script = "echo hello; printf 'dsaperf.activity.1\\np 7 x\\nn 0 f\\nk 1 2 0 7 1 0 0\\nz 3\\n' > $DSAPERF_PROFILE_DIR/7.activity"
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([PROGRAM, "profile", "-o", f"{folder}/trace.json", "--json", "--", "sh", "-c", script],
                                  env={**os.environ, "DSAPERF_INJECT": PROGRAM}, capture_output=True, text=True, timeout=60)  # fmt: skip
        self.assertEqual(json.loads(done.stdout)["kernels"], 1, done.stderr)
        self.assertIn("hello", done.stderr)

    def test_a_layer_that_cannot_be_profiled_is_one_error(self):
        # It was started all the same: its own error, and that nothing in it had used CUDA.
        library = {"env": {**os.environ, "DSAPERF_INJECT": PROGRAM, "CUDA_VISIBLE_DEVICES": ""}}
        for word, error in (("/nowhere/tool", "neither a program that can be run nor a model: /nowhere/tool: "),
                            ("deepseek-ai/DeepSeek-V3.2", "no GPU: the driver shows none; a layer is profiled on one")):  # fmt: skip
            with self.subTest(word):
                done = subprocess.run([PROGRAM, "profile", "--", word], capture_output=True, text=True, timeout=60, **library)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, f"\\Aerror: {re.escape(error)}.*\n\\Z")

    def test_what_is_assumed_of_a_layer_or_a_load_is_a_warning(self):
        model = ("deepseek-ai/DeepSeek-V3.2", "--systems", "none", "--tp", "8", "--isl", "64", "--osl", "8", "--mtp", "3")
        for command, warning in (
            (("query", "--arch", "Foo", "--heads", "16", "--systems", "none"), "the sizes of a layer of Foo are not known: "),
            (("estimate", *model), "no draft token is kept (mtp_accepted 0): "),
        ):
            with self.subTest(command[0]):
                result = run(*command)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn("warning: " + warning, result.stderr)

    def test_a_program_that_asked_for_a_document_is_told_the_code_of_a_failure(self):
        for command, code in (
            (("analyze", "no/such-model"), "not_found"),
            (("run", "deepseek-ai/DeepSeek-V3.2", "--heads", "7"), "invalid_argument"),
            (("collect", "deepseek-ai/DeepSeek-V3.2", "-o", "/dev/null/rows", "--timing", "fake"), "io"),
        ):
            with self.subTest(command[0]):
                result = run(*command, "--json")
                document = json.loads(result.stdout)
                self.assertEqual((result.returncode, document["format"], document["code"]), (1, "dsaperf.error.1", code))
                self.assertEqual(result.stderr, f"error: {document['message']}\n")
                self.assertEqual(run(*command).stdout, "")

    def test_an_integration_that_is_stopped_leaves_nothing_in_the_folder_for_temporary_files(self):
        with tempfile.TemporaryDirectory() as folder:
            temporary = pathlib.Path(folder, "temporary")
            temporary.mkdir()
            command = [PROGRAM, "integrate", "deepseek-ai/DeepSeek-V3.2", "-o", f"{folder}/report", "--systems", "none", "--skip", "run"]
            with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temporary)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as program:
                for _ in range(2):  # the first command has run
                    program.stderr.readline()
                program.terminate()
            self.assertEqual(list(temporary.iterdir()), [])

    def test_output_that_cannot_be_written_is_an_error(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([PROGRAM, "completion", "bash"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\Aerror: standard output")


def zsh_offers(line):
    """What zsh offers for `dsaperf line`: its completion runs on a terminal alone, so on one of zsh's own."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "_dsaperf").write_text(run("completion", "zsh").stdout)
        script = f"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; fpath=({folder} $fpath); autoload -U compinit; compinit -u -D
zstyle ":completion:*" list-grouped false; bindkey "^I" list-choices; LISTMAX=0
echo READY'
zpty -r shell text '*READY*READY*'
zpty -w -n shell $'dsaperf {line}\t'
sleep 0.2; zpty -w -n shell $'\C-u'; zpty -w shell 'echo DO''NE'
zpty -r shell text '*DONE*'
print -r -- $text"""
        shown = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, timeout=30).stdout
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", shown).split()


class CompletionTest(unittest.TestCase):
    def words_after(self, line):
        """What bash offers for the last word of `line`."""
        script = (
            'compopt() { :; }; source <("$1" completion bash); COMP_WORDS=($2); [[ $2 == *" " ]] && COMP_WORDS+=("");'
            'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _dsaperf; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        result = subprocess.run(["bash", "-c", script, "bash", PROGRAM, line], capture_output=True, text=True)
        self.assertEqual(result.stderr, "")
        return result.stdout.split()

    def test_bash_completes_commands(self):
        self.assertEqual(self.words_after("dsaperf comp"), ["completion"])

    def test_bash_completes_flags(self):
        self.assertIn("--help", self.words_after("dsaperf completion --h"))

    def test_bash_completes_choices(self):
        self.assertEqual(self.words_after("dsaperf completion z"), ["zsh"])

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh_completes_commands_flags_and_choices(self):
        for line, expected in (("comp", "completion"), ("completion ", "zsh"), ("db l", "lint"), ("analyze --ag", "--against")):
            with self.subTest(line=line):
                self.assertIn(expected, zsh_offers(line))

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish_completes_commands_flags_and_choices(self):
        script = run("completion", "fish").stdout
        for line, expected in (("comp", "completion"), ("completion ", "zsh"), ("db l", "lint"), ("analyze --ag", "--against")):
            with self.subTest(line=line):
                asked = subprocess.run(["fish", "--no-config", "-c", f"{script}\ncomplete -C 'dsaperf {line}'"],
                                       capture_output=True, text=True)
                self.assertIn(expected, [offer.split("\t")[0] for offer in asked.stdout.splitlines()])

    def test_every_shell_has_a_script_with_every_command(self):
        for shell in ("bash", "zsh", "fish"):
            with self.subTest(shell=shell):
                script = run("completion", shell).stdout
                for name in commands():
                    self.assertIn(name, script)
                if shutil.which(shell):
                    check = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
                    self.assertEqual(check.returncode, 0, check.stderr)


if __name__ == "__main__":
    unittest.main()
