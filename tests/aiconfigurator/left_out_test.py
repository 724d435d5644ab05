"""Fresh points: rows drawn anew at every run are predicted from the rest of their table as well as docs/predict.md says.

`dsaperf db loo` on the six tables of h200_sxm, both methods on the same rows. The seed is drawn and printed; $DSAPERF_SEED repeats a
run. Skips with a message where aiconfigurator_core (scripts/setup's environment) is absent. $DSAPERF is the program.
"""

import csv
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ["DSAPERF"]
SEED = int(os.environ.get("DSAPERF_SEED") or random.SystemRandom().randrange(1, 10**6))
POINTS = 400

try:
    import aiconfigurator_core
except ImportError as error:
    aiconfigurator_core = None
    WHY = f"aiconfigurator_core is not there ({error}); scripts/setup brings it"

# Absolute relative error, median and 90th percentile in %, that a table stays below: points, slices.
DUE = {
    "sglang 0.5.14 context": ((2.2, 8.4), (3.0, 15.0)),
    "sglang 0.5.14 generation": ((0.6, 2.0), (1.0, 5.0)),
    "vllm 0.24.0 context": ((0.8, 4.4), (1.8, 10.0)),
    "vllm 0.24.0 generation": ((0.4, 1.3), (0.9, 4.0)),
    "trtllm 1.3.0rc23 context": ((0.2, 0.7), (0.9, 7.0)),
    "trtllm 1.3.0rc23 generation": ((0.3, 1.2), (0.7, 6.0)),
}
COVERED = (0.85, 0.95)
DEVIATIONS = 3.5  # of a share of n rows: 36 shares are looked at, and one in 2,000 lies farther out


def share_range(low, high, n):
    """Where the share of n rows may lie whose true share lies between low and high."""
    return low - DEVIATIONS * math.sqrt(low * (1 - low) / n), high + DEVIATIONS * math.sqrt(high * (1 - high) / n)


def findings(summary, points):
    """What is wrong with a table's rows: a quantile is too high where too many errors lie above its limit."""
    found = []
    (table, left_out), n = summary, len(points)
    limits = DUE[table][left_out == "slice"]
    for limit, share in zip(limits, (0.5, 0.1)):
        above = sum(error > limit for error, _ in points) / n
        most = share_range(0, share, n)[1]
        if above > most:
            found.append(f"{table}, {left_out}: {100 * above:.1f} % of {n} rows are off by more than {limit} %, at most {100 * most:.1f} % may be")
    covered = sum(inside for _, inside in points) / n
    low, high = share_range(*COVERED, n)
    if not low <= covered <= high:
        found.append(f"{table}, {left_out}: {100 * covered:.1f} % of {n} rows in their 90 % interval, due {100 * low:.1f} to {100 * high:.1f}")
    return found


def is_behind(points, peer_p90):
    """Whether more errors lie above the peer's 90th percentile than can: a tenth would, were both methods alike. Both quantiles are
    of drawn rows, so the share has twice the variance."""
    above = sum(error > peer_p90 for error, _ in points) / len(points)
    return above > share_range(0, 0.1, len(points) / 2)[1]


def read(path):
    groups = {}
    with open(path) as f:
        for row in csv.DictReader(f):
            if row["method"] != "stages" or row["population"]:
                continue
            measured = float(row["measured_ms"])
            key = f"{row['backend']} {row['version']} {row['phase']}", row["left_out"]
            groups.setdefault(key, []).append((abs(float(row["predicted_ms"]) / measured - 1) * 100,
                                               float(row["low_ms"]) <= measured <= float(row["high_ms"])))
    return groups


class LeftOutTest(unittest.TestCase):
    def test_what_is_too_far_off_or_not_covered_is_found(self):
        good = [(0.1, i % 10 != 0) for i in range(POINTS)]
        key = ("vllm 0.24.0 generation", "point")
        self.assertEqual(findings(key, good), [])
        self.assertEqual(len(findings(key, [(0.1 if i % 3 else 0.5, inside) for i, (_, inside) in enumerate(good)])), 0)
        self.assertIn("more than 1.3 %", findings(key, [(0.1 if i % 4 else 2, inside) for i, (_, inside) in enumerate(good)])[0])
        self.assertIn("in their 90 % interval", findings(key, [(error, i % 4 != 0) for i, (error, _) in enumerate(good)])[0])
        self.assertIn("in their 90 % interval", findings(key, [(error, True) for error, _ in good])[0])
        errors = [(i / POINTS, True) for i in range(POINTS)]
        self.assertFalse(is_behind(errors, 0.9))
        self.assertFalse(is_behind(errors, 0.85))
        self.assertTrue(is_behind(errors, 0.8))

    @unittest.skipIf(aiconfigurator_core is None, aiconfigurator_core is None and WHY)
    def test_fresh_rows_of_the_six_tables(self):
        with tempfile.NamedTemporaryFile(suffix=".csv") as f:
            command = [PROGRAM, "db", "loo", "--points", str(POINTS), "--seed", str(SEED), "--csv", f.name, "--json",
                       "--systems", os.path.join(os.path.dirname(aiconfigurator_core.__file__), "systems")]
            rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"]
            groups = read(f.name)
        self.assertEqual(sorted(groups), sorted((table, left_out) for table in DUE for left_out in ("point", "slice")))
        found = [line for key, points in sorted(groups.items()) for line in findings(key, points)]
        self.assertEqual(found, [], f"seed {SEED}")
        p90 = {(r["table"], r["left_out"], r["method"]): r["p90_pct"] for r in rows}
        behind = [key for key, points in groups.items() if is_behind(points, p90[*key, "compatible"])]
        self.assertEqual(behind, [], f"seed {SEED}")


if __name__ == "__main__":
    print(f"seed {SEED}", file=sys.stderr)
    unittest.main(verbosity=2)
