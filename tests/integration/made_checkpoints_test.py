"""Checkpoints made of others: averages (A32b) and deeper models (A19), and that all verbs take them."""
import json
import unittest

import numpy

from trainhost_run import BIGRAM, MINICPM, RunTest, newest_checkpoint, read_log, tensors


def parameters(checkpoint):
    return {name: values.astype(numpy.float64) for name, values in tensors(checkpoint).items() if name.startswith("model.")}


def manifest(checkpoint):
    return json.loads((checkpoint / "manifest.json").read_text())


class MadeCheckpointsTest(RunTest):
    def train(self, directory="run", model=MINICPM, **options):
        """A run that keeps its checkpoints: of the steps 8, 16, 24, 28, 32 and 40."""
        self.trainhost("--recipe", self.recipe(directory, model, name=f"{directory}.toml", **{"keep = 2": "keep = 10"}, **options))
        return self.scratch / directory

    def checkpoints(self, *arguments, expect=0):
        return self.trainhost("checkpoints", *arguments, expect=expect)

    def losses(self, run):
        return json.loads(self.trainhost("evaluate", "--run", run, "--json").stdout)


class AverageTest(MadeCheckpointsTest):
    def test_an_average_is_used_like_any_run(self):
        run, made = self.train(), self.scratch / "made"
        out = json.loads(self.checkpoints("average", run, "--method", "wsm", "--last", 3, "--output", made, "--json").stdout)
        self.assertEqual([part["step"] for part in out["parts"]], [28, 32, 40])
        checkpoint = newest_checkpoint(made)
        self.assertEqual(out["checkpoint"], str(checkpoint))
        weights = [part["weight"] for part in out["parts"]]
        numpy.testing.assert_allclose(weights, numpy.diff(numpy.sqrt(numpy.arange(4) / 3)), rtol=0, atol=1e-15)
        expected = [parameters(run / "checkpoints" / f"step-0000000{step}") for step in (28, 32, 40)]
        for name, values in parameters(checkpoint).items():
            numpy.testing.assert_allclose(values, sum(w * x[name] for w, x in zip(weights, expected)), rtol=0, atol=1e-7)
        for name, values in tensors(checkpoint).items():
            if name.startswith("optimizer."):
                self.assertEqual(values.tobytes(), tensors(newest_checkpoint(run))[name].tobytes(), name)

        measured = self.losses(made)
        self.assertEqual((measured["step"], measured["tokens"]), (40, 20480))
        self.assertNotEqual(measured["sources"], self.losses(run)["sources"])
        self.assertTrue(self.trainhost("generate", "--run", made, "--prompt", "The").stdout.startswith("The"))
        self.checkpoints("consolidate", made, "--output", self.scratch / "weights.safetensors")
        self.assertIn("verified", self.checkpoints("--run", made, "--verify").stdout)
        self.trainhost("--recipe", made / "recipe.toml")  # finished, as the run is

    def test_a_run_begins_with_an_average(self):
        run, made = self.train(), self.scratch / "made"
        self.checkpoints("average", run, "--steps", "16,24,28", "--output", made)
        self.trainhost("--recipe", self.recipe("annealed", MINICPM, name="annealed.toml"), "--from", newest_checkpoint(made))
        steps = [line["step"] for line in read_log(self.scratch / "annealed" / "log" / "metrics.jsonl") if line["kind"] == "step"]
        self.assertEqual(steps, list(range(29, 41)))
        self.trainhost("--recipe", made / "recipe.toml")  # goes on where the average stands, without --accept-changes
        self.assertEqual(manifest(newest_checkpoint(made))["step"], 40)
        for name, values in tensors(newest_checkpoint(made)).items():
            self.assertEqual(values.tobytes(), tensors(newest_checkpoint(self.scratch / "annealed"))[name].tobytes(), name)

    def test_cut_over_two_processes_or_whole_it_is_the_same_bits(self):
        averages = []
        self.environment["OMP_NUM_THREADS"] = "1"  # one process has as many threads as each of two
        for processes in (1, 2):
            run, made = f"run{processes}", self.scratch / f"made{processes}"
            recipe = self.recipe(run, MINICPM, name=f"{run}.toml", more='[parallel]\nsharding = "parameters"', **{"[run]": '[run]\nreduction = "fixed"', "keep = 2": "keep = 10"})
            self.trainhost("--recipe", recipe, "--processes", processes)
            self.checkpoints("average", self.scratch / run, "--method", "ema", "--alpha", 0.5, "--output", made)
            averages.append(newest_checkpoint(made) / "model.safetensors")
        self.assertEqual(len(list((newest_checkpoint(self.scratch / "run2")).glob("model-*-of-00002.safetensors"))), 2)
        self.assertEqual(averages[0].read_bytes(), averages[1].read_bytes())

    def test_decays_of_several_seeds_are_averaged(self):
        runs = [self.train(f"seed{seed}", **{"[run]": f"[run]\nseed = {seed}"}) for seed in (1, 2)]
        ends = [newest_checkpoint(run) for run in runs]
        self.checkpoints("average", *ends, "--output", self.scratch / "made")
        one, two, both = map(parameters, (*ends, newest_checkpoint(self.scratch / "made")))
        for name, values in both.items():
            numpy.testing.assert_allclose(values, (one[name] + two[name]) / 2, rtol=0, atol=1e-7)
        self.assertIn("are both of step 40", self.checkpoints("average", *ends, "--method", "wsm", "--output", self.scratch / "no", expect=64).stderr)

    def test_what_cannot_be_averaged_is_refused(self):
        run, made = self.train(model=BIGRAM), self.scratch / "made"
        refused = lambda *arguments, expect=64: self.checkpoints("average", *arguments, "--output", made, expect=expect).stderr
        self.assertIn("1 of its checkpoints is chosen", refused(run, "--last", 1))
        self.assertIn("has no checkpoint of step 17", refused(run, "--steps", "16,17"))
        self.assertIn('--steps is "16;24"', refused(run, "--steps", "16;24"))
        self.assertIn("give one of them", refused(run, "--last", 2, "--from", 16))
        self.assertIn("averages all checkpoints of the run", refused(run, "--method", "polyak", "--last", 2))
        self.assertIn("--method ema needs --alpha", refused(run, "--method", "ema"))
        self.assertIn("--alpha goes with --method ema", refused(run, "--alpha", 0.5))
        self.assertIn('--method is "median"', refused(run, "--method", "median"))
        self.assertIn('--shape is "sqrt"', refused(run, "--method", "wsm", "--shape", "sqrt"))
        shard = run / "checkpoints" / "step-000000024" / "model.safetensors"
        sound = shard.read_bytes()
        shard.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        self.assertIn("step-000000024/model.safetensors: the SHA-256 of tensor", refused(run, expect=65))
        shard.write_bytes(sound[:-1])
        self.assertIn("step-000000024/model.safetensors: has ", refused(run, expect=65))
        self.assertEqual([path.name for path in self.scratch.iterdir() if path.name.startswith("made")], [])
        self.checkpoints("average", run, "--steps", "28,32", "--output", made)
        self.assertIn("is there already", refused(run, "--steps", "28,32"))


class DeepenTest(MadeCheckpointsTest):
    ZERO_OUTPUT = ("--zero-output", "attention.out.weight,feed_forward.down.weight")

    def deepen(self, run, made, *arguments, expect=0):
        return self.checkpoints("deepen", newest_checkpoint(run), "--output", made, *arguments, expect=expect)

    def test_a_deeper_model_measures_what_the_other_did_and_trains(self):
        run, made = self.train(), self.scratch / "made"
        out = json.loads(self.deepen(run, made, "--layers", "0-1", *self.ZERO_OUTPUT, "--set", "model.layers=3", "--set",
                                     f"model.scale_depth={1.4 * (3 / 2) ** 0.5!r}", "--json").stdout)
        self.assertEqual((out["layers_before"], out["layers"]), (2, 3))
        self.assertEqual(self.losses(made), self.losses(run))
        self.assertEqual(self.trainhost("generate", "--run", made, "--prompt", "The").stdout,
                         self.trainhost("generate", "--run", run, "--prompt", "The").stdout)
        saved, deeper = tensors(newest_checkpoint(run)), tensors(newest_checkpoint(made))
        copied = [name for name in saved if ".block.0.attention.qkv.weight" in name]
        self.assertEqual(len(copied), 3)  # the parameter and AdamW's two states
        for name in copied:
            for new, old in enumerate((0, 0, 1)):
                other = lambda layer: name.replace(".block.0.", f".block.{layer}.")
                self.assertEqual(deeper[other(new)].tobytes(), saved[other(old)].tobytes(), other(new))

        recipe = self.recipe("deeper", MINICPM.replace("layers = 2", "layers = 3"), name="deeper.toml", tokens=24576)
        self.trainhost("--recipe", recipe, "--from", newest_checkpoint(made))
        trained = tensors(newest_checkpoint(self.scratch / "deeper"))
        self.assertEqual(trained.keys(), deeper.keys())
        self.assertTrue(trained["model.block.1.attention.out.weight"].any())  # the zeros learn

    def test_a_layer_that_adds_nothing_is_found_useless_and_others_not(self):  # A19, A20
        run, made = self.train(tokens=40960), self.scratch / "made"
        self.deepen(run, made, "--layers", "0-1", *self.ZERO_OUTPUT, "--set", "model.layers=3", "--set",
                    f"model.scale_depth={1.4 * (3 / 2) ** 0.5!r}")
        found = json.loads(self.trainhost("evaluate", "--run", made, "--layers", "--json").stdout)
        self.assertEqual(found["sources"], self.losses(run)["sources"])
        first, planted, last = found["layers"]["blocks"]
        self.assertEqual([block["name"] for block in (first, planted, last)], ["block.0", "block.1", "block.2"])
        self.assertAlmostEqual(planted["cosine"], 1, delta=1e-6)
        for text in (planted, *(planted[name] for name in ("easy", "middle", "hard"))):
            self.assertLessEqual(abs(text["change"]), text["sigma"])
        for useful in (first, last):
            self.assertLess(useful["cosine"], 0.999)
            self.assertGreater(useful["change"], 5 * useful["sigma"])
        self.assertLess(found["layers"]["rank_correlation"], 0)  # the planted one has the highest cosine and the least change

        shown = self.trainhost("evaluate", "--run", made, "--layers").stdout
        self.assertRegex(shown, r"block\.1 +1\.0000 +\+0\.0000 +0\.0000")
        self.assertIn("leaving out layers", shown)
        self.assertIn("a verdict", shown)

    def test_the_recipe_must_give_the_deeper_model(self):
        run, made = self.train(), self.scratch / "made"
        refused = lambda *arguments, expect: self.deepen(run, made, *arguments, expect=expect).stderr
        self.assertIn('the recipe\'s model has no "model.block.2.', refused("--layers", "0-1", expect=78))
        self.assertIn('the deeper checkpoint has no "model.block.3.', refused("--layers", "0-1", "--set", "model.layers=4", expect=78))
        self.assertIn('has shape [16] in the recipe', refused("--layers", "0-1", "--set", "model.layers=3", "--set", "model.width=16", expect=78))
        self.assertIn('--layers is "all"', refused("--layers", "all", expect=64))
        self.assertIn("--layers is 1-3, and the model has the layers 0-2", refused("--layers", "1-3", expect=64))
        self.assertIn("a layer's parameters are attention.norm.weight, ", refused("--layers", "0-1", "--zero-output", "out", expect=64))
        self.assertEqual([path.name for path in self.scratch.iterdir() if path.name.startswith("made")], [])

    def test_a_model_without_layers_is_refused(self):
        run = self.train(model=BIGRAM)
        self.assertIn("units can be left out", self.trainhost("evaluate", "--run", run, "--layers", expect=64).stderr)
        self.assertIn("its parameters are not numbered by layer", self.deepen(run, self.scratch / "made", "--layers", "0-1", expect=64).stderr)


if __name__ == "__main__":
    unittest.main()
