#!/usr/bin/env python3
"""What a collection survives, tried on the program itself with the fake timing source.

    faults_test.py PROGRAM

Kills at 200 random moments, a second collector on the same folder, a measuring process that dies, a case
that fails and is retried, and shards side by side. After each, every case of the plan is there
exactly once.
"""
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
MODEL = "deepseek-ai/DeepSeek-V3.2"
KILLS = 200
GRID = """
context: [{batch: [1, 2, 4], new: [1, 64, 512, 4096], past: [0, 2048]}]
generation: [{batch: [1, 8, 32, 128], past: [1023, 2047, 4095, 8191, 32767], q_len: [1, 2]}]
"""
CASES = 3 * 4 * 2 + 4 * 5 * 2


def rows_of(path):
    with open(path) as journal:
        lines = journal.read().split("\n")
    assert lines[-1] == "", "the last line is whole"
    return [json.loads(line) for line in lines[1:-1]]


class FaultsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "rows")
        self.grid = os.path.join(folder.name, "grid.yaml")
        with open(self.grid, "w") as grid:
            grid.write(GRID)

    def command(self, *more):
        return [PROGRAM, "collect", MODEL, "-o", self.folder, "--grid", self.grid, "--heads", "16",
                "--timing", "fake", *more]

    def run_to_end(self, *more):
        return subprocess.run(self.command(*more), capture_output=True, text=True, timeout=120)

    def check_complete(self, journal="rows.jsonl", cases=CASES):
        rows = rows_of(os.path.join(self.folder, journal))
        measured = [row["id"] for row in rows if "measurement" in row and "repeat_ratio" not in row]
        self.assertEqual(len(measured), cases)
        self.assertEqual(len(set(measured)), cases, "a case was measured twice")
        with open(os.path.join(self.folder, journal.replace(".jsonl", ".csv"))) as csv:
            self.assertGreater(len(csv.read().splitlines()), 1)

    def test_killed_at_random_moments_loses_nothing_and_does_nothing_twice(self):
        seed = int.from_bytes(os.urandom(4), "little")
        print(f"seed {seed}")
        chance = random.Random(seed)
        resume = []
        kept = 0
        for _ in range(KILLS):
            # Slow enough that the kills spread over the whole plan.
            process = subprocess.Popen(self.command("--fake-delay-ms", "40", *resume),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
            process.wait()
            journal = os.path.join(self.folder, "rows.jsonl")
            if os.path.exists(journal) and os.path.getsize(journal) > 0:
                resume = ["--resume"]
                with open(journal) as content:
                    now = content.read().count("\n")
                self.assertGreaterEqual(now, kept, "a whole row has gone")
                kept = now
        result = self.run_to_end(*resume)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.check_complete()

    def test_a_collection_by_stage_killed_at_random_moments_ends_complete(self):
        chance = random.Random(20)
        axes = ["--by", "stage", "--heads", "16,32", "--kv", "bf16,fp8"]
        resume = []
        for _ in range(10):
            process = subprocess.Popen(self.command("--fake-delay-ms", "2", *axes, *resume),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
            process.wait()
            journal = os.path.join(self.folder, "rows.jsonl")
            if os.path.exists(journal) and os.path.getsize(journal) > 0:
                resume = ["--resume"]
        result = self.run_to_end("--json", *axes, *resume)
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        last = {row["id"]: row for row in rows_of(os.path.join(self.folder, "rows.jsonl"))}
        for case in document["cases"]:
            self.assertIn("measurement", last[case["id"]])
        whole = [i for i in document["measured_whole"] if "composed" not in last[i]]
        self.assertEqual(len(whole), document["report"]["checked_whole"])
        self.assertGreaterEqual(len(whole), len(document["cases"]) / 20)
        self.assertLess(document["report"]["composed_error_worst"], 0.01)

    def test_a_run_that_is_stopped_says_how_to_go_on_and_records_no_failure(self):
        self.folder += " of today's card"  # what a shell would split
        # So slow that none of the runs can end before its signal comes, on a busy machine either.
        command = self.command("--fake-delay-ms", "250", "--devices", "all", "--fake-devices", "6")
        journal = pathlib.Path(self.folder, "rows.jsonl")
        for stop in signal.SIGINT, signal.SIGTERM, signal.SIGINT:
            kept = journal.read_text().count("\n") if journal.exists() else 0
            # A session of its own: the signal goes to the measuring processes too, as a terminal sends it.
            # Where these tests run in the background SIGINT is ignored, and would be by the program.
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                       start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            while not journal.exists() or journal.read_text().count("\n") < kept + 2:
                time.sleep(0.01)
            os.killpg(process.pid, stop)
            said = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, -stop, said)
            self.assertIn(f"stopped; {journal} has what was measured. To go on:\n", said)
            self.assertNotIn('"error"', journal.read_text())
            self.wait_until_none_is_left(process.pid)
            command = ["sh", "-c", "exec " + said.splitlines()[-1].strip()]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
        self.check_complete()

    def wait_until_none_is_left(self, group):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.01)
        self.fail("a measuring process outlived its collector")

    def test_a_shard_that_slurm_gave_is_spelt_out_for_who_goes_on(self):
        slurm = {**os.environ, "SLURM_PROCID": "1", "SLURM_NTASKS": "4"}
        process = subprocess.Popen(self.command("--fake-delay-ms", "100"), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, env=slurm)
        journal = pathlib.Path(self.folder, "rows-0001-of-0004.jsonl")
        while not journal.exists() or journal.read_text().count("\n") < 2:  # its header and a case
            time.sleep(0.01)
        process.terminate()
        said = process.communicate(timeout=60)[1]
        self.assertTrue(said.endswith(" --resume --shard 1/4\n"), said)

    def test_a_plan_says_what_is_wrong_with_the_devices(self):
        for asked, fake in ("0,x", "1"), ("0,0", "2"), ("0,3", "3"):
            with self.subTest(asked):
                refused = self.run_to_end("--plan-only", "--devices", asked, "--fake-devices", fake)
                self.assertEqual((refused.returncode, refused.stdout), (1, ""))
                self.assertRegex(refused.stderr, f"^error: --devices {asked}: ")
        # Which GPUs the machine has that the plan is for, this one can't know.
        on_a_gpu = subprocess.run([PROGRAM, "collect", MODEL, "-o", self.folder, "--grid", self.grid, "--heads", "16",
                                   "--plan-only", "--devices", "0,0"], capture_output=True, text=True, timeout=120)
        self.assertIn("error: --devices 0,0: '0' stands twice", on_a_gpu.stderr)

    def test_progress_for_programs_counts_to_the_end(self):
        result = self.run_to_end("--json-progress", "--fake-fails-on", "/1x512+2048/")
        events = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
        self.assertEqual(sum(event["event"] == "failed" for event in events), 1)
        self.assertEqual(max(event["done"] for event in events), CASES)
        self.assertTrue(all(event["total"] == CASES for event in events))

    def test_a_second_collector_is_refused(self):
        first = subprocess.Popen(self.command("--fake-delay-ms", "100"), stdout=subprocess.DEVNULL)
        journal = os.path.join(self.folder, "rows.jsonl")
        while not (os.path.exists(journal) and os.path.getsize(journal) > 0):
            time.sleep(0.01)
        second = self.run_to_end("--resume")
        first.kill()
        first.wait()
        self.assertEqual(second.returncode, 1)
        self.assertIn("another collector is writing it", second.stderr)

    def test_a_measuring_process_that_dies_costs_its_case_alone(self):
        result = self.run_to_end("--fake-dies-on", "/8x1+4095/")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("ended by signal 6", result.stderr)
        rows = rows_of(os.path.join(self.folder, "rows.jsonl"))
        self.assertEqual([row["id"].split("/")[1] for row in rows if "error" in row], ["8x1+4095"])
        self.assertEqual(self.run_to_end("--resume", "--retry-failed").returncode, 0)
        self.check_complete()

    def test_a_failed_case_stays_listed_until_it_passes(self):
        first = self.run_to_end("--fake-fails-on", "/1x512+2048/")
        self.assertEqual(first.returncode, 0, first.stderr)
        again = self.run_to_end("--resume")
        self.assertIn("fake failure", again.stderr)
        retried = self.run_to_end("--resume", "--retry-failed")
        self.assertNotIn("fake failure", retried.stderr)
        self.check_complete()

    def test_a_run_without_a_single_row_is_a_failure(self):
        for more in ((), ("--by", "stage")):
            with self.subTest(more=more):
                self.folder += "".join(more)
                journal = os.path.join(self.folder, "rows.jsonl")
                for resume in (), ("--resume",):
                    failed = self.run_to_end(*more, *resume, "--json", "--fake-fails-on", "/")
                    self.assertEqual(failed.returncode, 1, failed.stderr)
                    self.assertEqual(json.loads(failed.stdout)["report"]["rows"], 0)
                    self.assertRegex(failed.stderr.splitlines()[-1],
                                     f"^error: {journal}: all {CASES} cases failed, with the reason of each .*--retry-failed")
                self.assertEqual(self.run_to_end(*more, "--resume", "--retry-failed").returncode, 0)

    def test_a_plan_without_a_case_that_fits_the_card_is_a_failure(self):
        with open(self.grid, "w") as grid:
            grid.write("generation: [{batch: [4096], past: [1000000]}]")
        self.assertEqual(self.run_to_end("--plan-only").returncode, 0)
        failed = self.run_to_end()
        self.assertEqual(failed.returncode, 1, failed.stderr)
        self.assertRegex(failed.stderr, "^error: no case of the plan fits .*needs")
        self.assertFalse(os.path.exists(self.folder))

    def test_a_shard_for_which_no_case_is_left_is_done(self):
        with open(self.grid, "w") as grid:
            grid.write("generation: [{batch: [1], past: [1023]}]")
        shards = [self.run_to_end("--shard", f"{i}/2", "--json") for i in range(2)]
        self.assertEqual([shard.returncode for shard in shards], [0, 0])
        tables = [json.loads(shard.stdout).get("table") for shard in shards]
        self.assertEqual([table and os.path.exists(table) for table in tables], [True, None])

    def test_an_unfinished_folder_is_not_overwritten(self):
        self.assertEqual(self.run_to_end().returncode, 0)
        again = self.run_to_end()
        self.assertEqual(again.returncode, 1)
        self.assertIn("--resume", again.stderr)

    def test_shards_side_by_side_make_up_the_plan(self):
        shards = [subprocess.Popen(self.command("--shard", f"{i}/4", "--json"), stdout=subprocess.PIPE,
                                   text=True) for i in range(4)]
        documents = [json.loads(shard.communicate(timeout=120)[0]) for shard in shards]
        self.assertEqual([shard.returncode for shard in shards], [0] * 4)
        ids = [case["id"] for document in documents for case in document["cases"]]
        self.assertEqual(len(ids), CASES)
        self.assertEqual(len(set(ids)), CASES)
        for i in range(4):
            self.check_complete(f"rows-{i:04}-of-0004.jsonl", CASES // 4)

    def test_several_devices_share_one_journal(self):
        result = self.run_to_end("--devices", "all", "--fake-devices", "3")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.check_complete()
        refused = self.run_to_end("--resume", "--devices", "0,3", "--fake-devices", "3")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("'3' is none of the 3 visible GPUs", refused.stderr)

    def test_a_full_disk_ends_the_run_with_every_row_kept(self):
        # A file size limit gives write() the same short count and error as a disk that fills up.
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

        first = subprocess.run(self.command(), capture_output=True, text=True, timeout=120,
                               preexec_fn=limit)
        self.assertEqual(first.returncode, 1)
        self.assertIn("go on with --resume", first.stderr)
        kept = rows_of(os.path.join(self.folder, "rows.jsonl"))
        self.assertGreater(len(kept), 3)
        self.assertEqual(self.run_to_end("--resume").returncode, 0)
        self.check_complete()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
