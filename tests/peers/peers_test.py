"""The race's own logic, without a GPU: what a row says of agreement, of variants, and of an earlier document.

torch is replaced by a stand-in where it is not installed; comparisons of tensors run on the CPU where it is."""

import json
import pathlib
import sys
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "peers"))

try:
    import torch
    HAS_TORCH = hasattr(torch, "randn")
except ImportError:
    HAS_TORCH = False
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(synchronize=lambda: None)
    sys.modules["torch"] = torch

import measure  # noqa: E402


def case(apart=0.0, allowed=0.0, **fields):
    return measure.Case("topk", "normal, 1 x 4096", lambda: None, lambda: None, lambda: apart, allowed, **fields)


class FakeContext:
    """Variants that exist, one of which cannot be run."""

    def __init__(self, names):
        self.names, self.used = names, []

    def variants(self, shape):
        return self.names

    def use_variant(self, name):
        self.used.append(name)
        if name == "broken":
            raise RuntimeError("no kernel\nand more")


class RaceTest(unittest.TestCase):
    def setUp(self):
        self.kept = (measure._cold_once, measure._graph, measure._warm_once, torch.cuda.synchronize)
        measure._cold_once = lambda call: 10.0
        measure._graph = lambda call, calls=10: call
        measure._warm_once = lambda graph, calls=10: 5.0
        torch.cuda.synchronize = lambda: None

    def tearDown(self):
        measure._cold_once, measure._graph, measure._warm_once, torch.cuda.synchronize = self.kept

    def test_agreement_is_the_measured_difference_against_what_is_allowed(self):
        self.assertEqual(measure.race(case(0, 0))["agree"], True)
        self.assertEqual(measure.race(case(1, 0))["agree"], False)
        self.assertEqual(measure.race(case(1e-5, 1e-4))["agree"], True)
        self.assertEqual(measure.race(case(float("inf"), 1e-4))["agree"], False)
        self.assertEqual(measure.race(case(float("nan"), 1e-4))["agree"], False)
        self.assertEqual(measure.race(case(1e-5, 1e-4))["difference"], 1e-5)

    def test_a_verdict_instead_of_a_distance_is_an_error(self):
        for verdict in (True, False, None, "same"):
            with self.assertRaises(TypeError):
                measure.race(case(verdict))

    def test_without_a_peer_there_is_no_agreement(self):
        alone = case()
        alone.peer = None
        self.assertIsNone(measure.race(alone)["agree"])

    def test_every_variant_is_checked_and_timed_and_none_stays_chosen(self):
        context = FakeContext(["split", "broken"])
        row = measure.race(case(0, 0, shape=("topk", 0, 0, 1, 1, 4096)), context=context)
        split, broken = row["variants"]
        self.assertEqual((split["agree"], split["cold_us"], split["warm_us"]), (True, 10.0, 5.0))
        self.assertEqual(broken["error"], "no kernel")
        self.assertEqual(context.used, ["split", "", "broken", ""])
        self.assertIn("ratio  1.000  1.000  same", "\n".join(measure.variant_lines(row)))

    def test_a_case_without_a_shape_has_no_variants(self):
        self.assertEqual(measure.race(case(), context=FakeContext(["split"]))["variants"], [])

    def test_a_row_can_be_written(self):
        json.dumps(measure.race(case(0, 0, shape=("topk", 0, 0, 1, 1, 4096)), context=FakeContext(["split"])))


class MergeTest(unittest.TestCase):
    @staticmethod
    def document(commit, names, difference=True):
        rows = [{"kernel": "topk", "case": name, "agree": True, **({"difference": 0} if difference else {})}
                for name in names]
        return {"commit": commit, "rows": rows, "rows_without_peer": [], "note": "old"}

    def test_fresh_rows_replace_and_others_stay_with_their_revision(self):
        whole = measure.merged(self.document("old", "ab"), self.document("new", "bc"))
        self.assertEqual([(row["case"], row["commit"]) for row in whole["rows"]],
                         [("b", "new"), ("c", "new"), ("a", "old")])
        self.assertNotIn("note", whole)

    def test_a_row_keeps_the_revision_of_its_first_run(self):
        first = measure.merged(self.document("one", "a"), self.document("two", "b"))
        self.assertEqual({row["case"]: row["commit"] for row in measure.merged(first, self.document("three", "c"))["rows"]},
                         {"a": "one", "b": "two", "c": "three"})

    def test_rows_whose_agreement_nobody_measured_are_counted(self):
        whole = measure.merged(self.document("old", "abc", difference=False), self.document("new", "c"))
        self.assertIn("2 rows", whole["note"])

    def test_the_committed_document_loses_its_note_once_all_its_rows_ran_again(self):
        for path in (ROOT / "benchmarks" / "results").glob("*/peers.json"):
            old = json.loads(path.read_text())
            new = json.loads(path.read_text())
            new["commit"] = "new"
            for row in new["rows"]:
                row["difference"] = 0
            whole = measure.merged(old, new)
            self.assertNotIn("note", whole)
            self.assertEqual(len(whole["rows"]), len(old["rows"]))


@unittest.skipUnless(HAS_TORCH, "torch is not installed here")
class ComparisonTest(unittest.TestCase):
    """The families' comparisons, on the CPU."""

    @classmethod
    def setUpClass(cls):
        measure.DEVICE = "cpu"
        import indexer_inputs
        indexer_inputs.DEVICE = "cpu"
        cls.inputs = indexer_inputs

    def test_topk_rows_that_are_not_the_best_are_counted(self):
        topk = self.inputs.TOPK
        scores = torch.randn(3, 3 * topk)
        lengths = torch.tensor([3 * topk, 3 * topk, topk // 2], dtype=torch.int32)
        indices = torch.full((3, topk), -1, dtype=torch.int32)
        for r in range(3):
            n = int(lengths[r])
            k = min(topk, n)
            indices[r, :k] = scores[r, :n].topk(k).indices.to(torch.int32)
        self.assertEqual(self.inputs.rows_not_best(indices, scores, lengths), 0)
        wrong = indices.clone()
        wrong[0, 0] = int(scores[0].argmin())
        wrong[2, 3] = wrong[2, 4]
        result = self.inputs.rows_not_best(wrong, scores, lengths)
        self.assertEqual(result, 2)
        self.assertNotIsInstance(result, bool)

    def test_scores_outside_a_rows_limit_do_not_count(self):
        ours = torch.randn(4, 32)
        peer = ours.clone()
        limits = torch.tensor([32, 16, 1, 0])
        peer[1, 20] = float("nan")
        self.assertEqual(self.inputs.scores_apart(ours, peer, limits), 0)
        peer[1, 3] += 1
        self.assertGreater(self.inputs.scores_apart(ours, peer, limits), 0.01)
        ours[0, 0] = float("nan")
        self.assertEqual(self.inputs.scores_apart(ours, peer, limits), float("inf"))


if __name__ == "__main__":
    unittest.main()
