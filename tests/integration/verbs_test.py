"""The verbs beside training: check, prepare, evaluate, generate, checkpoints, plugins; branches; another scheduler."""
import hashlib
import json
import unittest

from trainhost_run import BINARY, MINICPM, RunTest, newest_checkpoint, read_log, tensors, training_log


class VerbsTest(RunTest):
    def test_check_prints_a_recipe_that_reads_back(self):
        first = self.trainhost("check", "--recipe", self.recipe("run")).stdout
        resolved = self.scratch / "resolved.toml"
        resolved.write_text(first)
        second = self.trainhost("check", "--recipe", resolved).stdout
        without_comments = lambda text: [line.split("#")[0].rstrip() for line in text.splitlines() if line.split("#")[0].strip()]
        self.assertEqual(without_comments(first), without_comments(second))
        self.assertIn("# phase stable: steps 0 to 28, tokens 0 to 14336, 8 sequences of 64 tokens a step, 4 at a time", first)
        self.assertIn("beta1", first)
        self.assertFalse((self.scratch / "run").exists())

    def test_prepare_counts_the_data(self):
        out = self.trainhost("prepare", "--recipe", self.recipe("run")).stdout
        self.assertRegex(out, r"english +\d+ +\d+")
        self.assertRegex(out, r"questions +\d+ +\d+")

    def test_evaluate_agrees_with_the_last_evaluation_of_the_run(self):
        self.trainhost("--recipe", self.recipe("run", MINICPM))
        logged = [line for line in read_log(self.scratch / "run" / "log" / "metrics.jsonl") if line["kind"] == "evaluation"][-1]
        measured = json.loads(self.trainhost("evaluate", "--run", self.scratch / "run", "--json").stdout)
        self.assertEqual(measured["step"], 40)
        self.assertEqual(measured["sources"], logged["sources"])

    def test_the_cosines_in_the_log_are_those_of_evaluate_layers(self):  # A19
        one_batch = {"loss_on = \"answers\"\nheld_out = 0.1": "loss_on = \"answers\"\nheld_out = 0", "\ntokens = 2048\n": "\ntokens = 256\n"}
        self.trainhost("--recipe", self.recipe("run", MINICPM, **one_batch))
        log = read_log(self.scratch / "run" / "log" / "metrics.jsonl")
        logged = [line for line in log if line["kind"] == "layers"]
        self.assertEqual([line["step"] for line in logged], [line["step"] for line in log if line["kind"] == "evaluation"])
        self.assertEqual([line["step"] for line in log if line["kind"] == "telemetry"], [20, 40])
        measured = json.loads(self.trainhost("evaluate", "--run", self.scratch / "run", "--layers", "--json").stdout)["layers"]
        self.assertEqual(logged[-1]["cosine"], {block["name"]: block["cosine"] for block in measured["blocks"]})
        self.assertNotEqual(logged[-1]["cosine"], logged[0]["cosine"])
        self.trainhost("--recipe", self.recipe("silent", MINICPM, name="silent.toml", **one_batch), "--set", "metrics.telemetry=false")
        self.assertFalse([line for line in read_log(self.scratch / "silent" / "log" / "metrics.jsonl") if line["kind"] == "layers"])

    def test_generate_is_a_function_of_the_seed(self):
        self.trainhost("--recipe", self.recipe("run", MINICPM))
        arguments = ("generate", "--run", self.scratch / "run", "--prompt", "The", "--tokens", "20", "--temperature", "1.5")
        first = self.trainhost(*arguments, "--seed", "1").stdout
        self.assertEqual(first, self.trainhost(*arguments, "--seed", "1").stdout)
        self.assertNotEqual(first, self.trainhost(*arguments, "--seed", "2").stdout)
        self.assertTrue(first.startswith("The"))

    def test_checkpoints_lists_and_verifies(self):
        self.trainhost("--recipe", self.recipe("run"))
        out = self.trainhost("checkpoints", "--run", self.scratch / "run", "--verify").stdout
        self.assertIn("40", out)
        self.assertIn("end of annealing", out)

    def test_checkpoints_consolidate_writes_the_weights_for_other_programs(self):
        self.trainhost("--recipe", self.recipe("run"))
        output = self.scratch / "weights.safetensors"
        out = self.trainhost("checkpoints", "consolidate", self.scratch / "run", "--output", output).stdout
        self.assertIn("of step 40", out)
        saved, weights = tensors(newest_checkpoint(self.scratch / "run")), tensors(self.scratch)
        self.assertEqual({"model." + name for name in weights}, {name for name in saved if name.startswith("model.")})
        for name, values in weights.items():
            self.assertEqual(values.tobytes(), saved["model." + name].tobytes(), name)
        self.trainhost("checkpoints", "consolidate", self.scratch / "run", "--output", output, expect=64)
        self.trainhost("checkpoints", "consolidate", "--output", output, expect=64)

    def test_plugins_lists_all_that_is_shipped(self):
        out = self.trainhost("plugins").stdout
        for name in ("byte", "byte_bpe", "weighted", "adamw", "sgd", "wsd", "cosine", "constant", "minicpm", "bigram"):
            self.assertRegex(out, rf"\b{name}\b")
        self.assertIn("peak_lr", self.trainhost("plugins", "wsd").stdout)

    def test_another_scheduler_needs_no_rebuild(self):
        before = hashlib.sha256(BINARY.read_bytes()).hexdigest()
        recipe = self.recipe("run")
        text = recipe.read_text().replace("[schedule]\npeak_lr = 0.01", '[schedule]\nplugin = "cosine"\npeak_lr = 0.01\nwarmup = "0 steps"')
        recipe.write_text(text)
        self.trainhost("--recipe", recipe)
        rates = [line["learning_rate"] for line in training_log(self.scratch / "run") if line["kind"] == "step"]
        self.assertAlmostEqual(rates[20], 0.01 * 0.55, places=12)  # half way: 0.1 + 0.45 (1 + cos(pi / 2))
        self.assertEqual(hashlib.sha256(BINARY.read_bytes()).hexdigest(), before)

    def test_branches_leave_the_stable_checkpoint_alone(self):
        more = """
[[branch]]
name = "linear"
from = "end of stable"
schedule.shape = "linear"
"""
        self.trainhost("--recipe", self.recipe("run"))
        plain = tensors(newest_checkpoint(self.scratch / "run"))
        recipe = self.recipe("branched", more=more, name="branched.toml")
        done = self.trainhost("--recipe", recipe)
        branched = self.scratch / "branched"
        for name, values in tensors(newest_checkpoint(branched)).items():
            self.assertEqual(values.tobytes(), plain[name].tobytes(), name)
        branch = tensors(newest_checkpoint(branched / "branches" / "linear"))
        self.assertTrue(any(values.tobytes() != plain[name].tobytes() for name, values in branch.items()))
        steps = [line["step"] for line in training_log(branched / "branches" / "linear") if line["kind"] == "step"]
        self.assertEqual(steps, list(range(29, 41)))
        self.assertIn("linear", done.stdout)
        self.assertIn("trunk", done.stdout)

    def test_from_begins_a_run_with_another_runs_checkpoint(self):
        self.trainhost("--recipe", self.recipe("run", more=""), "--set", "checkpoint.always_keep=['end of stable']")
        stable = self.scratch / "run" / "checkpoints" / "step-000000028"
        recipe = self.recipe("again", name="again.toml")
        self.trainhost("--recipe", recipe, "--from", stable)
        same, other = tensors(newest_checkpoint(self.scratch / "run")), tensors(newest_checkpoint(self.scratch / "again"))
        for name, values in same.items():
            self.assertEqual(values.tobytes(), other[name].tobytes(), name)

    def test_loss_does_not_depend_on_the_micro_batch(self):
        losses = []
        for micro_batch in (64, 512):
            self.trainhost("--recipe", self.recipe(f"run{micro_batch}", MINICPM, name=f"{micro_batch}.toml"), "--set", f"training.micro_batch={micro_batch}")
            losses.append([line["loss"] for line in training_log(self.scratch / f"run{micro_batch}") if line["kind"] == "step"])
        for eight, one in zip(*losses):
            self.assertAlmostEqual(eight / one, 1, delta=1e-5)


if __name__ == "__main__":
    unittest.main()
