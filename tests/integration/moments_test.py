"""Whole runs with moments of bfloat16: resumed, on several processes, and all that is done with their checkpoints."""
import json
import re
import unittest

import numpy

from trainhost_run import MINICPM, RunTest, newest_checkpoint, tensors, training_log

BFLOAT16 = '[optimizer]\nmoments = "bfloat16"'
SHARED = {"[run]": '[run]\nreduction = "fixed"', "batch = 512\nmicro_batch = 256": "batch = 512\nmicro_batch = 64"}


def whole_tensors(checkpoint):
    """By name, put together from the pieces NAME[BEGIN:END]; flat."""
    pieces = {}
    for name, values in tensors(checkpoint).items():
        found = re.fullmatch(r"(.*)\[(\d+):\d+\]", name)
        pieces.setdefault(found[1] if found else name, []).append((int(found[2]) if found else 0, values.ravel()))
    return {name: numpy.concatenate([values for _, values in sorted(parts, key=lambda part: part[0])]) for name, parts in pieces.items()}


class MomentsTest(RunTest):
    def train(self, directory, more=BFLOAT16, arguments=(), **options):
        recipe = self.recipe(directory, MINICPM, name=f"{directory}.toml", more=more, **options)
        self.trainhost("--recipe", recipe, *arguments)
        return self.scratch / directory

    def assert_same_run(self, first, second):
        expected, found = whole_tensors(newest_checkpoint(first)), whole_tensors(newest_checkpoint(second))
        self.assertEqual(sorted(expected), sorted(found))
        for name, values in expected.items():
            self.assertEqual(values.dtype, numpy.uint16 if name.startswith("optimizer.") else numpy.float32, name)
            self.assertTrue(numpy.any(values), name)
            self.assertEqual(values.tobytes(), found[name].tobytes(), name)
        self.assertEqual(training_log(first), training_log(second))

    def test_stopped_runs_end_with_the_same_bits(self):
        undisturbed = self.train("undisturbed", tokens=512 * 100)
        recipe = self.recipe("stopped", MINICPM, tokens=512 * 100, name="stopped.toml", more=BFLOAT16)
        for step in (20, 72):  # the border of the phases is at 70
            code, output = self.stop_after_step(recipe, "stopped", step)
            self.assertEqual(code, 75, output)
        self.trainhost("--recipe", recipe)
        self.assert_same_run(undisturbed, self.scratch / "stopped")

    def test_any_number_of_processes_and_changes_of_it_give_the_same_bits(self):
        self.environment["OMP_NUM_THREADS"] = "1"
        alone = self.train("alone", **SHARED)
        for sharding in ("none", "parameters"):
            self.assert_same_run(alone, self.train(f"two_{sharding}", arguments=["--processes", 2, "--set", f"parallel.sharding={sharding}"], **SHARED))
        # Some steps on two processes, some on one, the rest on two that are cut otherwise.
        directory = self.scratch / "changing"
        recipe = self.recipe("changing", MINICPM, name="changing.toml", more=BFLOAT16, **SHARED)
        for processes, step in ((2, 16), (1, 28)):
            code, output = self.stop_after_step(recipe, "changing", step, arguments=["--processes", str(processes), "--set", "parallel.sharding=optimizer"])
            self.assertIn(code, (0, 75), output)
        self.trainhost("--recipe", recipe, "--processes", 2, "--set", "parallel.sharding=gradients")
        self.assert_same_run(alone, directory)

    def test_checkpoints_of_another_storage_are_refused(self):
        for saved, wanted, words in (("float32", "bfloat16", "is F32, in this run it is BF16"), ("bfloat16", "float32", "is BF16, in this run it is F32")):
            run = self.train(saved, more=f'[optimizer]\nmoments = "{saved}"')
            recipe = self.recipe(saved, MINICPM, tokens=30720, name=f"{saved}.toml", more=f'[optimizer]\nmoments = "{wanted}"')
            done = self.trainhost("--recipe", recipe, expect=78)
            self.assertIn("was made with another recipe", done.stderr)
            done = self.trainhost("--recipe", recipe, "--accept-changes", expect=78)
            self.assertRegex(done.stderr, rf'\nerror: [^\n]*/step-000000040: tensor "optimizer\.[^"]*" {words}; use the optimizer settings of that run\n$')
            self.trainhost("--recipe", recipe, "--accept-changes", "--set", f"optimizer.moments={saved}")
            self.assertEqual(newest_checkpoint(run).name, "step-000000060")

    def test_mistakes_are_named_with_their_place(self):
        done = self.trainhost("check", "--recipe", self.recipe("run", more='[optimizer]\nmoments = "float16"'), expect=78)
        self.assertRegex(done.stderr, r'recipe\.toml:\d+:11: parameter `moments` of optimizer plugin "adamw" must be one of "float32", "bfloat16", found "float16"; did you mean "bfloat16"\?\n$')
        self.assertEqual(len(done.stderr.splitlines()), 1)
        recipe = self.recipe("run", more=BFLOAT16, **{"optimizer.beta2 = 0.99": 'optimizer.moments = "float32"'})
        done = self.trainhost("--recipe", recipe, expect=78)
        self.assertIn('phase "annealing": its optimizer parameters need other states than those of phase "stable"', done.stderr)

    def test_checkpoints_are_verified_averaged_deepened_and_consolidated(self):
        run = self.train("run", **{"keep = 2": "keep = 10"})
        self.assertIn("verified", self.trainhost("checkpoints", "--run", run, "--verify").stdout)
        last = tensors(newest_checkpoint(run))
        weights = self.scratch / "weights.safetensors"
        self.trainhost("checkpoints", "consolidate", run, "--output", weights)
        self.trainhost("checkpoints", "average", run, "--last", 3, "--output", self.scratch / "average")
        averaged = tensors(newest_checkpoint(self.scratch / "average"))
        for name, values in last.items():
            (self.assertEqual if name.startswith("optimizer.") else self.assertNotEqual)(values.tobytes(), averaged[name].tobytes(), name)
        deeper = self.scratch / "deeper"
        self.trainhost("checkpoints", "deepen", newest_checkpoint(run), "--layers", "0-2", "--set", "model.layers=4", "--set", "run.tokens=30720", "--output", deeper)
        deepened = tensors(newest_checkpoint(deeper))
        for name, values in last.items():
            self.assertEqual(values.dtype, deepened[name].dtype)
            copy = re.sub(r"block\.([01])\.", lambda found: f"block.{int(found[1]) + 2}.", name)
            self.assertEqual(values.tobytes(), deepened[copy].tobytes(), copy)
        for made in (self.scratch / "average", deeper):
            self.assertIn("verified", self.trainhost("checkpoints", "--run", made, "--verify").stdout)
        self.trainhost("--recipe", deeper / "recipe.toml")
        self.assertEqual(newest_checkpoint(deeper).name, "step-000000060")

    def test_the_plan_counts_half_of_the_bytes(self):
        for moments, bytes_of_one in (("float32", 4), ("bfloat16", 2)):
            recipe = self.recipe("run", MINICPM.replace("width = 32", "width = 512"), more=f'[optimizer]\nmoments = "{moments}"')
            plan = json.loads(self.trainhost("plan", "--memory", "--recipe", recipe, "--json").stdout)
            planned, expected = plan["stages"][0]["parts"]["optimizer"], 2 * bytes_of_one * plan["parameters"]
            self.assertGreaterEqual(planned, expected)
            self.assertLess(planned, expected + (2 << 20), "a huge page at most is not filled")


if __name__ == "__main__":
    unittest.main()
