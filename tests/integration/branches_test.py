"""Branches of a stable checkpoint (A32): they leave it as it is, and cost their decays only."""
import hashlib
import unittest

from trainhost_run import RunTest, training_log

SHAPES = ("one_minus_sqrt", "linear", "cosine")
TOKENS, BATCH = 20480, 512


def hashes(folder):
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


class BranchesTest(RunTest):
    def test_three_shapes_cost_three_decays_and_leave_the_checkpoint(self):
        self.trainhost("--recipe", self.recipe("run", **{"keep = 2": 'keep = 2\nalways_keep = ["end of stable"]'}))
        run = self.scratch / "run"
        stable = run / "checkpoints" / "step-000000028"  # 70 % of 40 steps
        before = hashes(stable)
        self.assertTrue(before)
        more = "".join(f'\n[[branch]]\nname = "{shape}"\nfrom = "end of stable"\nschedule.decay = "30%"\nschedule.shape = "{shape}"\n' for shape in SHAPES)
        self.trainhost("--recipe", self.recipe("run", more=more, **{"keep = 2": 'keep = 2\nalways_keep = ["end of stable"]'}))
        self.assertEqual(hashes(stable), before)
        trained = 0
        for shape in SHAPES:
            steps = [line for line in training_log(run / "branches" / shape) if line["kind"] == "step"]
            self.assertEqual([line["step"] for line in steps], list(range(29, 41)))
            trained += BATCH * len(steps)
        self.assertEqual(trained, 3 * 0.3 * TOKENS, "three decays, not three runs")
        last = [[line["learning_rate"] for line in training_log(run / "branches" / shape) if line["kind"] == "step"][-1] for shape in SHAPES]
        self.assertEqual(len(set(last)), 3, "each has its own shape")


if __name__ == "__main__":
    unittest.main()
