"""Which plugin a recipe gets: the folders that it names, files that it pins, and another one in a run that was begun."""
import hashlib
import json
import os
import pathlib
import shutil
import unittest

from trainhost_run import MINICPM, RunTest, newest_checkpoint, read_log, training_log

BINARY = pathlib.Path(os.environ["TRAINHOST_BINARY_DIR"])
SHIPPED = BINARY / "plugins"
FIXTURES = BINARY / "tests" / "plugins"


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


class PluginChoiceTest(RunTest):
    def learning_rates(self, directory):
        return [line["learning_rate"] for line in training_log(self.scratch / directory) if line["kind"] == "step"]

    def changes(self, directory):
        return [line for line in read_log(self.scratch / directory / "log" / "metrics.jsonl") if line["kind"] == "change"]

    def stopped(self, **recipe):
        """A run of 40 steps that was stopped after some."""
        recipe = self.recipe("run", **recipe)
        recipe.write_text(recipe.read_text().replace("[schedule]\npeak_lr", '[schedule]\nplugin = "constant"\nwarmup = "0%"\nlr'))
        code, output = self.stop_after_step(recipe, "run", 5)
        self.assertEqual(code, 75, output)
        return recipe, int(newest_checkpoint(self.scratch / "run").name.split("-")[1])

    def test_a_stopped_run_goes_on_with_another_schedule_and_says_so(self):
        recipe, step = self.stopped()
        done = self.trainhost("--recipe", recipe, "--set", "schedule.plugin=cosine", "--set", "schedule.peak_lr=0.02")
        self.assertIn("goes on with another lr_scheduler plugin: cosine 1.0.0 ", done.stderr)
        rates = self.learning_rates("run")
        self.assertEqual(len(rates), 40)
        self.assertEqual(rates[:step], [0.01] * step)
        self.assertEqual(rates[step:], sorted(rates[step:], reverse=True))
        self.assertLess(rates[-1], rates[step])
        plugin, schedule = self.changes("run")
        self.assertEqual((plugin["step"], plugin["what"]), (step, "lr_scheduler plugin"))
        self.assertEqual(plugin["before"], f"constant 1.0.0 {digest(SHIPPED / 'constant.so')}")
        self.assertEqual(plugin["after"], f"cosine 1.0.0 {digest(SHIPPED / 'cosine.so')}")
        self.assertEqual(schedule["what"], "schedule")
        self.assertIn('plugin = "cosine"', (self.scratch / "run" / "recipe.toml").read_text())
        self.assertIn("cosine 1.0.0", (newest_checkpoint(self.scratch / "run") / "manifest.json").read_text())

    def test_the_change_is_recorded_once_however_often_the_run_starts_with_it(self):
        recipe, step = self.stopped()
        changed = ("--recipe", recipe, "--set", "schedule.lr=0.02", "--set", 'checkpoint.every="100%"')
        self.trainhost(*changed, "--set", "training.memory=1MB", expect=78)  # refused before it goes on
        self.assertEqual(self.changes("run"), [])
        process = self.start(*changed)
        self.wait_for_step("run", step + 1)
        process.kill()
        process.communicate()
        self.trainhost(*changed)
        change, = self.changes("run")
        self.assertEqual((change["step"], change["what"]), (step, "schedule"))

    def test_another_model_or_tokenizer_is_refused_with_both(self):
        recipe, _ = self.stopped()
        with_rest = "use the {0} of that run"
        done = self.trainhost("--recipe", recipe, "--set", "model.plugin=minicpm", expect=78)
        self.assertRegex(done.stderr, "was made with another model plugin: it has bigram 1.0.0 [0-9a-f]{12}..., "
                                      "this run has minicpm 1.0.0 [0-9a-f]{12}...; " + with_rest.format("model plugin"))
        done = self.trainhost("--recipe", recipe, "--set", "tokenizer.plugin=byte_bpe", "--set", "tokenizer.vocabulary_size=300", expect=78)
        self.assertRegex(done.stderr, "was made with another tokenizer: it has [0-9a-f]{12}..., this run has [0-9a-f]{12}...; "
                                      "use the tokenizer of that run, or start in another run directory")
        # Not even on demand: the ids would mean other text, and the tensors have other shapes.
        done = self.trainhost("--recipe", recipe, "--set", "tokenizer.plugin=byte_bpe", "--set", "tokenizer.vocabulary_size=300",
                              "--accept-changes", expect=78)
        self.assertIn("was made with another tokenizer", done.stderr)
        self.trainhost("--recipe", recipe, "--set", "model.plugin=minicpm", "--accept-changes", expect=78)
        self.assertEqual(self.changes("run"), [])
        self.trainhost("--recipe", recipe)

    def test_a_model_that_learns_otherwise_is_refused(self):
        recipe = self.recipe("run", model=MINICPM, tokens=2048)
        self.trainhost("--recipe", recipe)
        done = self.trainhost("--recipe", recipe, "--set", "model.embeddings_as_matrices=true", expect=78)
        self.assertIn("was made with another recipe", done.stderr)
        self.assertIn("is finished already", self.trainhost("--recipe", recipe, "--set", "model.embeddings_as_matrices=false").stderr)

    def test_a_folder_of_the_recipe_comes_before_all_others(self):
        mine, other = self.scratch / "mine", self.scratch / "other"
        for folder in (mine, other):
            folder.mkdir()
            (folder / "cosine.so").write_bytes((SHIPPED / "cosine.so").read_bytes() + folder.name.encode())  # told apart by their hashes
        self.environment["TRAINHOST_PLUGIN_PATH"] = str(other)
        recipe = self.recipe("run", more='[plugins]\npath = ["mine"]', tokens=2048)

        def used(*settings):
            self.trainhost("--recipe", recipe, "--set", "schedule.plugin=cosine", *settings)
            manifest = json.loads((newest_checkpoint(self.scratch / "run") / "manifest.json").read_text())
            shutil.rmtree(self.scratch / "run")
            return manifest["fingerprints"]["plugins"]["lr_scheduler"].split()[-1]
        self.assertEqual(used(), digest(mine / "cosine.so"))
        self.assertEqual(used("--set", "plugins.path=[]"), digest(other / "cosine.so"))
        os.chmod(mine / "cosine.so", 0o646)
        self.assertEqual(used(), digest(other / "cosine.so"))
        done = self.trainhost("--recipe", recipe, "--set", f"schedule.plugin={mine}/cosine.so", expect=78)
        self.assertIn(f"{mine}/cosine.so: everybody may write to it, so it is not trusted", done.stderr)

    def test_pinned_plugins_train_to_the_same_bits(self):
        """minicpm finds LibTorch by its run path, which says nothing to a copy in memory."""
        plain = self.recipe("plain", model=MINICPM, tokens=2048)
        self.trainhost("--recipe", plain)
        pins = ", ".join(f'"org.trainhost.{name}" = "sha256:{digest(SHIPPED / (name + ".so"))}"' for name in ("minicpm", "adamw"))
        pinned = self.recipe("pinned", model=MINICPM, tokens=2048, more=f"[plugins]\npin = {{ {pins} }}", name="pinned.toml")
        self.trainhost("--recipe", pinned)
        self.assertEqual(training_log(self.scratch / "plain"), training_log(self.scratch / "pinned"))

    def test_another_file_than_the_pinned_one_is_refused(self):
        recipe = self.recipe("run", more='[plugins]\npin = { "org.trainhost.bigram" = "sha256:' + "0" * 64 + '" }')
        done = self.trainhost("--recipe", recipe, expect=78)
        self.assertIn(f'`plugins.pin`: the model plugin "bigram" 1.0.0 ({SHIPPED}/bigram.so) has SHA-256 {digest(SHIPPED / "bigram.so")}, and the '
                      f'recipe pins {"0" * 64}; put the pinned file there, or pin this one', done.stderr)
        recipe.write_text(recipe.read_text().replace("org.trainhost.bigram", "org.trainhost.bigramm"))
        done = self.trainhost("--recipe", recipe, expect=78)
        self.assertIn('this recipe uses no plugin with the id "org.trainhost.bigramm"; did you mean "org.trainhost.bigram"?', done.stderr)

    def test_a_plugin_is_the_same_wherever_it_lies(self):
        recipe, _ = self.stopped()
        (self.scratch / "moved").mkdir()
        shutil.copy(SHIPPED / "bigram.so", self.scratch / "moved")
        self.trainhost("--recipe", recipe, "--set", f"model.plugin={self.scratch}/moved/bigram.so")
        self.assertEqual(self.changes("run"), [])


if __name__ == "__main__":
    unittest.main()
