"""A29: an optimizer that evaluates and saves at another point than it trains at keeps the promises of a run."""
import json
import signal
import unittest

import numpy

from trainhost_run import MINICPM, RunTest, newest_checkpoint, read_log, tensors, training_log

STEPS, BORDER = 60, 42  # the latter of the phases
BETA = 0.9
SETTINGS = f'[optimizer]\nplugin = "schedule_free"\nbeta = {BETA}'


class EvaluationPointTest(RunTest):
    def schedule_free(self, directory, **replacements):
        return self.recipe(directory, MINICPM, 512 * STEPS, SETTINGS, f"{directory}.toml", **replacements)

    def trained(self, directory, *arguments, **replacements):
        self.trainhost("--recipe", self.schedule_free(directory, **replacements), *arguments)
        return tensors(newest_checkpoint(self.scratch / directory))

    def assert_same_weights(self, first, second):
        self.assertEqual(sorted(first), sorted(second))
        for name, values in first.items():
            self.assertEqual(values.tobytes(), second[name].tobytes(), name)

    def assert_same_run(self, first, second):
        self.assert_same_weights(*(tensors(newest_checkpoint(self.scratch / name)) for name in (first, second)))
        self.assertEqual(training_log(self.scratch / first), training_log(self.scratch / second))

    def weights(self, directory):
        """As one file, whatever wrote them."""
        output = self.scratch / f"{directory}.safetensors"
        self.trainhost("checkpoints", "consolidate", self.scratch / directory, "--output", output)
        return output.read_bytes()

    def test_every_checkpoint_holds_the_average(self):
        """Those too that are saved when nothing is evaluated."""
        self.trained("run", "--set", "checkpoint.keep=20")
        checkpoints = sorted((self.scratch / "run" / "checkpoints").glob("step-*"))
        evaluated = {line["step"] for line in read_log(self.scratch / "run" / "log" / "metrics.jsonl") if line["kind"] == "evaluation"}
        self.assertTrue({int(checkpoint.name[5:]) for checkpoint in checkpoints} - evaluated)
        for checkpoint in checkpoints:
            self.assert_holds_the_average(tensors(checkpoint), checkpoint.name)

    def test_going_back_after_a_fault_goes_back_to_the_average(self):
        # A learning rate that ruins the parameters: the next step finds it, and both are passed over.
        ruin = f'[[phase]]\nname = "ruin"\nuntil = "{BORDER + 6} steps"\nschedule.peak_lr = 1e30\n[[phase]]\nname = "annealing"\n'
        recipe = self.schedule_free("run", **{'[[phase]]\nname = "annealing"\n': ruin, "micro_batch = 256": 'micro_batch = 256\non_nan = "rollback"'})
        done = self.trainhost("--recipe", recipe, "--set", "checkpoint.every=2 steps", "--set", "checkpoint.keep=99")
        self.assertIn(f"back to the checkpoint of step {BORDER}, passing over steps {BORDER + 1} to {BORDER + 2}", done.stderr)
        before, after = (tensors(self.scratch / "run" / "checkpoints" / f"step-{step:09}") for step in (BORDER, BORDER + 2))
        self.assert_same_weights(before, after)

    def assert_holds_the_average(self, saved, checkpoint):
        for name, average in saved.items():
            if not name.startswith("model."):
                continue
            newest, trained = (saved[f"optimizer.{name.removeprefix('model.')}.{state}"] for state in ("base", "other_point"))
            self.assertGreater(numpy.abs(trained - average).max(), 1e-4, f"{checkpoint}: {name}")
            numpy.testing.assert_allclose(trained, (1 - BETA) * newest + BETA * average, rtol=0, atol=1e-6, err_msg=f"{checkpoint}: {name}")

    def test_training_reports_the_loss_of_what_it_saves(self):
        run = self.scratch / "run"
        self.trained("run", "--set", "checkpoint.keep=20")
        logged = {line["step"]: line["sources"] for line in read_log(run / "log" / "metrics.jsonl") if line["kind"] == "evaluation"}
        for step in (BORDER, STEPS):
            measured = json.loads(self.trainhost("evaluate", "--run", run, "--step", step, "--json").stdout)
            self.assertEqual(measured["sources"], logged[step], step)

    def test_stopped_and_killed_runs_end_with_the_same_bits(self):
        self.trained("undisturbed")
        recipe = self.schedule_free("disturbed")
        for step, how, expected in ((3, signal.SIGTERM, 75), (20, signal.SIGTERM, 75), (34, signal.SIGKILL, -signal.SIGKILL)):
            code, output = self.stop_after_step(recipe, "disturbed", step, how)
            self.assertEqual(code, expected, output)
        self.trainhost("--recipe", recipe)
        self.assert_same_run("undisturbed", "disturbed")

    def test_evaluations_samples_and_checkpoints_leave_no_trace_in_the_training(self):
        seldom = self.trained("seldom")
        often = self.trained("often", "--set", "evaluation.every=1 step", "--set", "checkpoint.every=3 steps", "--set", "sampling.every=2 steps")
        self.assert_same_weights(seldom, often)

    def test_two_processes_train_like_one(self):
        shared = {"micro_batch = 256": "micro_batch = 64",
                  f"tokens = {512 * STEPS}": f'tokens = {512 * STEPS}\nreduction = "fixed"'}
        self.environment["OMP_NUM_THREADS"] = "1"
        self.trained("alone", **shared)
        weights = self.weights("alone")
        for sharding in ("optimizer", "parameters"):
            with self.subTest(sharding):
                self.trained(sharding, "--processes", 2, "--set", f"parallel.sharding={sharding}", **shared)
                self.assertEqual(weights, self.weights(sharding))
                self.assertEqual(training_log(self.scratch / "alone"), training_log(self.scratch / sharding))


if __name__ == "__main__":
    unittest.main()
