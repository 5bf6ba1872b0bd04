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

    def test_a_branch_has_its_own_end_and_seed_and_is_trained_alone(self):
        keep = {"keep = 2": 'keep = 2\nalways_keep = ["end of stable"]'}
        branch = '\n[[branch]]\nname = "{}"\nfrom = "end of stable"\nuntil = "{}"\nseed = {}\nschedule.decay = "{}%"\n'
        more = branch.format("short", "80%", 42, 10) + branch.format("long", f"{13 * TOKENS // 10} tokens", 42, 40) + branch.format("other text", "80%", 7, 10)
        recipe = self.recipe("run", more=more, **keep)
        refused = self.trainhost("--recipe", recipe, "--branch", "short", expect=65)
        self.assertRegex(refused.stderr, 'run/checkpoints: no checkpoint "end of stable" for the branch "short"')
        refused = self.trainhost("--recipe", recipe, "--branch", "shrot", expect=64)
        self.assertRegex(refused.stderr, '--branch is "shrot", expected a \\[\\[branch\\]\\] of .*: short, long, other text')
        self.trainhost("--recipe", self.recipe("run", **keep))
        run = self.scratch / "run"
        stable = hashes(run / "checkpoints" / "step-000000028")
        recipe = self.recipe("run", more=more, **keep)
        steps = {}
        for name, end in (("long", 52), ("short", 32), ("other text", 32)):
            self.trainhost("--recipe", recipe, "--branch", name)
            steps[name] = [line for line in training_log(run / "branches" / name) if line["kind"] == "step"]
            self.assertEqual([line["step"] for line in steps[name]], list(range(29, end + 1)))
            peak, last = steps["long"][0]["learning_rate"], steps[name][-1]["learning_rate"]
            self.assertLess(last, 0.5 * peak, "the decay ends with the branch")
        self.assertEqual(hashes(run / "checkpoints" / "step-000000028"), stable)
        self.assertNotEqual([line["loss"] for line in steps["short"]], [line["loss"] for line in steps["other text"]])
        self.assertEqual([line["learning_rate"] for line in steps["short"]], [line["learning_rate"] for line in steps["other text"]])


if __name__ == "__main__":
    unittest.main()
