"""Runs in which one plugin is bad, for the tests of who is blamed for it."""
import os
import pathlib

from trainhost_run import BIGRAM, RunTest, newest_checkpoint

FIXTURES = pathlib.Path(os.environ["TRAINHOST_BINARY_DIR"]) / "tests" / "plugins"
KINDS = ("lr_scheduler", "optimizer", "tokenizer", "dataset_mixer", "model")
TABLES = {"lr_scheduler": "schedule", "optimizer": "optimizer", "tokenizer": "tokenizer", "dataset_mixer": "mixer", "model": "model"}
# Of each kind what stands in the recipe now.
STANDS = {"lr_scheduler": "peak_lr = 0.01", "tokenizer": 'plugin = "byte"', "model": BIGRAM}
HARMLESS_MODEL = f'plugin = "{FIXTURES}/misbehaving_model.so"'  # computes next to nothing, so that a run takes a tenth of a second


class BadPluginRun(RunTest):
    def bad_recipe(self, kind, plugin=None, directory="run", model=HARMLESS_MODEL, **parameters):
        """A recipe of 20 steps with a checkpoint every four, in which the kind is this plugin: the misbehaving one, unless another is given."""
        chosen = f'plugin = "{plugin or FIXTURES / f"misbehaving_{kind}.so"}"\n'
        chosen += "".join(f"{name} = {value!r}\n" for name, value in parameters.items())
        if kind == "model":
            model = chosen
        recipe = self.recipe(directory, model=model, more="[parallel]\ntimeout = 1\nheartbeat = 0.5", tokens=10240)
        text = recipe.read_text().replace("optimizer.beta2 = 0.99\n", "")
        if kind in ("lr_scheduler", "tokenizer"):
            text = text.replace(STANDS[kind], chosen)
        elif kind != "model":
            text = text.replace("[[phase]]", f"[{TABLES[kind]}]\n{chosen}[[phase]]", 1)
        recipe.write_text(text)
        return recipe

    def assert_says(self, recipe, message, code):
        """The run ends with this code, and this is all it says of errors."""
        done = self.trainhost("--recipe", recipe, expect=code)
        self.assertEqual([line for line in done.stderr.splitlines() if line.startswith("error: ")], ["error: " + message])
        return done

    def assert_goes_on(self, recipe, directory, setting):
        """The checkpoint that is there is whole, and with this setting the run goes on from it to its end."""
        saved = (self.scratch / directory / "checkpoints").iterdir()
        step = max(int(path.name[5:]) for path in saved if path.name[5:].isdigit())  # the others are unfinished
        self.trainhost("checkpoints", "--run", self.scratch / directory, "--verify")
        done = self.trainhost("--recipe", recipe, "--set", setting, "--accept-changes")
        self.assertIn(f"resumed after step {step} of 20", done.stderr)
        self.assertEqual(newest_checkpoint(self.scratch / directory).name, "step-000000020")


def name_of(kind, path=None):
    return f'{kind} plugin "misbehaving_{kind}" 0.1.0 ({path or FIXTURES / f"misbehaving_{kind}.so"})'
