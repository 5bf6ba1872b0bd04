"""Phases on the token axis: where batches grow and mixes move, the log says so, and a run keeps all its promises."""
import shutil
import unittest

from trainhost_run import RunTest, newest_checkpoint, tensors, training_log

RULES = {
    "ramp": '{ rule = "ramp", from = 512, to = 2048, until = "60%" }',
    "stall": '{ rule = "stall", from = 512, to = 2048, every = "4%", improvement = 0.2 }',
    "loss": '{ rule = "loss", from = 512, to = 2048, every = "2%", scale = 24000, exponent = 2 }',
    "seesaw": '{ rule = "seesaw", from = 512, to = 2048 }',
}
MIX = "mix = { english = 0.5, questions = 0.5 }"
TOKENS = 40960


class PhasesTest(RunTest):
    def growing(self, directory, rule):
        replacements = {"batch = 512\n": f"batch = {RULES[rule]}\n", "[schedule]\n": '[schedule]\nplugin = "cosine"\n',
                        MIX: MIX + '\nmix_over = "10%"', 'every = "20%"\nkeep = 2': 'every = "10%"\nkeep = 100'}
        return self.recipe(directory, tokens=TOKENS, name=f"{directory}.toml", **replacements)

    def steps(self, directory):
        return [line for line in training_log(self.scratch / directory) if line["kind"] == "step"]

    def go_on_from(self, checkpoint, directory, rule, *arguments):
        """Runs a copy of `whole` from which all later checkpoints were taken away."""
        shutil.copytree(self.scratch / "whole", self.scratch / directory)
        for later in (self.scratch / directory / "checkpoints").glob("step-*"):
            if later.name > checkpoint:
                shutil.rmtree(later)
        self.trainhost("--recipe", self.growing(directory, rule), "--set", 'run.reduction="fixed"', *arguments)

    def assert_same_run(self, first, second):
        expected, found = (tensors(newest_checkpoint(self.scratch / name)) for name in (first, second))
        for name, values in expected.items():
            self.assertEqual(values.tobytes(), found[name].tobytes(), name)
        self.assertEqual(training_log(self.scratch / first), training_log(self.scratch / second))

    # A26: batch schedules. Every resume point, and two processes.
    def check_rule(self, rule):
        self.trainhost("--recipe", self.growing("whole", rule), "--set", 'run.reduction="fixed"')
        batches = [step["batch"] for step in self.steps("whole")]
        self.assertEqual(sorted(set(batches)), [512, 1024, 1536, 2048] if rule == "ramp" else [512, 1024, 2048])
        self.assertEqual(batches, sorted(batches))
        tokens = 0
        for step in self.steps("whole"):
            tokens += step["batch"]
            self.assertEqual(step["tokens"], tokens, "borders are exact in tokens")
        checkpoints = sorted(path.name for path in (self.scratch / "whole" / "checkpoints").glob("step-*"))
        for i, checkpoint in enumerate(checkpoints[:-1]):
            self.go_on_from(checkpoint, f"from_{i}", rule)
            self.assert_same_run("whole", f"from_{i}")
        self.go_on_from(checkpoints[2], "two_processes", rule, "--processes", "2")
        self.assert_same_run("whole", "two_processes")

    def test_a_ramp(self):
        self.check_rule("ramp")

    def test_growth_when_the_loss_stalls(self):
        self.check_rule("stall")

    def test_growth_with_the_loss(self):
        self.check_rule("loss")

    def test_growth_where_the_learning_rate_halves(self):
        self.check_rule("seesaw")

    # A22, A23: overrides are in the log at the step from which they hold.
    def test_the_log_says_where_each_phase_begins(self):
        self.trainhost("--recipe", self.growing("whole", "ramp"))
        log = training_log(self.scratch / "whole")
        phases = [line for line in log if line["kind"] == "phase"]
        self.assertEqual([line["phase"] for line in phases], ["stable", "annealing"])
        self.assertEqual(phases[0]["mix"], {"english": 1.0})
        self.assertEqual(phases[1]["mix"], {"english": 0.5, "questions": 0.5})
        self.assertEqual(phases[1]["overrides"], {"optimizer.beta2": "0.99"})
        last_stable = [line for line in log if line["kind"] == "step" and line["phase"] == "stable"][-1]
        self.assertEqual((phases[1]["step"], phases[1]["tokens"]), (last_stable["step"], last_stable["tokens"]))
        self.assertGreaterEqual(last_stable["tokens"], 0.7 * TOKENS)
        self.assertLess(last_stable["tokens"] - last_stable["batch"], 0.7 * TOKENS)
        self.assertEqual(log.index(phases[1]) + 1, log.index([line for line in log if line.get("phase") == "annealing"][1]))

    # A branch begins with what the trunk's batch has grown to.
    def test_a_branch_goes_on_with_the_batch(self):
        recipe = self.growing("whole", "stall")
        recipe.write_text(recipe.read_text() + '\n[[branch]]\nname = "linear"\nfrom = "end of stable"\nschedule.floor = 0.0\n')
        self.trainhost("--recipe", recipe)
        branch = self.steps("whole/branches/linear")
        trunk = [step for step in self.steps("whole") if step["phase"] == "annealing"]
        self.assertEqual([(step["step"], step["batch"]) for step in branch], [(step["step"], step["batch"]) for step in trunk])
        self.assertEqual(branch[0]["batch"], 2048)
        self.assertNotEqual(branch[-1]["loss"], trunk[-1]["loss"])


if __name__ == "__main__":
    unittest.main()
