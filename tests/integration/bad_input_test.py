"""What a user gets to read after a mistake; exact messages and exit codes. Mistakes inside recipes: tests/recipe_errors."""
import unittest

from trainhost_run import RunTest


class BadInputTest(RunTest):
    def message(self, *arguments, expect):
        return self.trainhost(*arguments, expect=expect).stderr.replace(str(self.scratch), "SCRATCH").strip()

    def test_no_such_verb(self):
        self.assertEqual(self.message("trian", expect=64), 'error: there is no verb "trian"; see trainhost --help')

    def test_no_recipe(self):
        self.assertEqual(self.message("train", expect=64), "error: the option '--recipe' is required but missing; see trainhost [train] --help")

    def test_missing_recipe_file(self):
        self.assertIn("SCRATCH/none.toml", self.message("--recipe", self.scratch / "none.toml", expect=78))

    def test_all_mistakes_at_once_of_recipe_and_plugins(self):
        recipe = self.recipe("run")
        recipe.write_text(recipe.read_text().replace("peak_lr = 0.01", "peak_lrr = 0.01").replace("[packing]", "[packing]\nmod = 1"))
        first = self.message("--recipe", recipe, expect=78)
        self.assertIn("did you mean `mode`?", first)
        self.assertIn("did you mean `peak_lr`?", first)

    def test_missing_plugin(self):
        recipe = self.recipe("run", model='plugin = "bigran"')
        self.assertIn("bigram", self.message("--recipe", recipe, expect=78))

    def test_model_that_cannot_be(self):
        recipe = self.recipe("run", model='plugin = "minicpm"\nwidth = 100\nheads = 3')
        message = self.message("--recipe", recipe, expect=78)
        self.assertIn('model plugin "minicpm" 1.0.0', message)
        self.assertIn("100", message)

    def test_phase_that_needs_other_optimizer_states(self):
        recipe = self.recipe("run", more='[optimizer]\nplugin = "sgd"\nmomentum = 0.0')
        recipe.write_text(recipe.read_text().replace("optimizer.beta2 = 0.99", "optimizer.momentum = 0.9"))
        self.assertTrue(self.message("--recipe", recipe, expect=78).endswith(
            'error: phase "annealing": its optimizer parameters need other states than those of phase "stable"; '
            "give both phases parameters that keep the same states"))

    def test_data_smaller_than_one_batch(self):
        tiny = self.scratch / "tiny.txt"
        tiny.write_text("x")
        recipe = self.recipe("run")
        text = recipe.read_text()
        start = text.index('paths = ["') + len('paths = ["')
        recipe.write_text(text[:start] + str(tiny) + text[text.index('"', start):])
        message = self.message("--recipe", recipe, expect=65)
        self.assertIn('english', message)

    def test_empty_source(self):
        (self.scratch / "empty.txt").write_text("")
        recipe = self.recipe("run")
        text = recipe.read_text()
        start = text.index('paths = ["') + len('paths = ["')
        recipe.write_text(text[:start] + str(self.scratch / "empty.txt") + text[text.index('"', start):])
        self.assertIn("SCRATCH/empty.txt", self.message("--recipe", recipe, expect=65))

    def test_run_that_is_none(self):
        self.assertEqual(self.message("generate", "--run", self.scratch, expect=64), "error: SCRATCH: is no run directory: it has no recipe.toml")

    def test_checkpoint_that_is_none(self):
        self.trainhost("--recipe", self.recipe("run"))
        message = self.message("evaluate", "--run", self.scratch / "run", "--step", "3", expect=64)
        self.assertEqual(message, "error: SCRATCH/run/checkpoints: there is none of step 3; trainhost checkpoints --run SCRATCH/run lists them")


if __name__ == "__main__":
    unittest.main()
