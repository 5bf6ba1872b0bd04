"""What a run says of its curriculum: what each phase did to the held-out losses, and how often it has read its text."""
import json
import random
import string
import unittest

from trainhost_run import BIGRAM, MINICPM, SMALL, RunTest, newest_checkpoint, read_log, training_log

CHINESE = '[[source]]\nname = "chinese"\npaths = ["{small}/chinese.txt"]\nheld_out = 0.1\n[tokenizer]'


def lines(run, kind):
    return [line for line in read_log(run / "log" / "metrics.jsonl") if line["kind"] == kind]


class CurriculaTest(RunTest):
    def panel_recipe(self, directory, annealing):
        return self.recipe(directory, MINICPM, 512 * 200, name=f"{directory}.toml",
                           **{"[tokenizer]": CHINESE.replace("{small}", str(SMALL)), "mix = { english = 0.5, questions = 0.5 }": annealing,
                              'paths = ["' + str(SMALL) + '/english.txt"]': 'paths = ["' + str(SMALL) + '/english.txt"]\ndomain = "out"'})

    def test_panel_shows_what_a_phase_teaches_and_what_it_spoils(self):  # A16, A17
        # A stable phase of English; then Chinese alone, which takes the place of English. Questions are in no mix.
        recipe = self.panel_recipe("run", "mix = { chinese = 1.0 }")
        done = self.trainhost("--recipe", recipe)
        (annealing,) = lines(self.scratch / "run", "panel")
        self.assertEqual((annealing["phase"], annealing["step"], annealing["since_tokens"]), ("annealing", 200, 140 * 512))
        added, lost = annealing["sources"]["chinese"], annealing["sources"]["english"]
        self.assertLess(added["difference"], -2 * added["sigma"], "what was added is learnt")
        self.assertFalse(added["worse"])
        self.assertGreater(lost["difference"], 2 * lost["sigma"], "what was taken away is forgotten")
        self.assertTrue(lost["worse"])
        self.assertRegex(done.stdout, r"(?m)^  english +out .*  worse$")
        self.assertIn("questions", annealing["sources"], "evaluated though it is in no mix")
        evaluations = {line["step"]: line["sources"] for line in lines(self.scratch / "run", "evaluation")}
        for name, source in annealing["sources"].items():
            for step, key in ((140, "before"), (200, "loss_per_byte")):
                self.assertAlmostEqual(source[key], evaluations[step][name]["loss_per_byte"], delta=1e-9)
        self.assertEqual((annealing["in_domain"]["sources"], annealing["out_of_domain"]["sources"]), (2, 1))
        self.assertEqual(annealing["out_of_domain"]["loss_per_byte"], lost["loss_per_byte"])
        self.assertEqual(lines(self.scratch / "run", "epochs")[-1]["sources"]["questions"]["epochs"], 0)

    def test_a_resumed_run_has_the_panel_and_the_epochs_of_an_undisturbed_one(self):
        mix = "mix = { english = 0.5, questions = 0.5 }"
        self.trainhost("--recipe", self.panel_recipe("undisturbed", mix))
        recipe = self.panel_recipe("stopped", mix)
        for step in (60, 150):
            code, output = self.stop_after_step(recipe, "stopped", step)
            self.assertEqual(code, 75, output)
        self.trainhost("--recipe", recipe)
        self.assertEqual(training_log(self.scratch / "stopped"), training_log(self.scratch / "undisturbed"))
        found, expected = (newest_checkpoint(self.scratch / name) for name in ("stopped", "undisturbed"))
        self.assertEqual(*(json.loads((path / "manifest.json").read_text())["trainer_state"] for path in (found, expected)))

    def scarce_recipe(self, directory, epochs):
        """Lines of random characters, in which there is nothing to learn but the lines themselves: 64 to train on, 8 steps an epoch."""
        characters = random.Random(1)
        text = self.scratch / "letters.jsonl"
        text.write_text("".join(json.dumps({"text": "".join(characters.choices(string.ascii_letters + string.digits, k=64))}) + "\n" for _ in range(128)))
        recipe = self.recipe(directory, BIGRAM, 512 * 8 * epochs, name=f"{directory}.toml", **{"peak_lr = 0.01": "peak_lr = 0.05"})
        head, tail = recipe.read_text().split("[[source]]", 1)
        source = f'[[source]]\nname = "letters"\npaths = ["{text}"]\nheld_out = 0.5\n'
        tail = tail[tail.index("[tokenizer]"):].replace('mix = { english = 1.0 }', "").replace("mix = { english = 0.5, questions = 0.5 }", "")
        recipe.write_text(head + source + tail)
        return recipe

    def test_overfitting_of_repeated_text_is_said(self):  # A15
        done = self.trainhost("--recipe", self.scarce_recipe("often", 40))
        self.assertIn('source "letters" will be read', done.stderr)
        self.assertIn('source "letters" has been read', done.stderr)
        self.assertEqual(done.stderr.count('source "letters" is being overfitted'), 1, done.stderr)
        done = self.trainhost("--recipe", self.scarce_recipe("twice", 2))
        self.assertNotIn("warning", done.stderr)

    def test_prepare_warns_of_what_would_be_read_too_often(self):  # A15
        recipe = self.scarce_recipe("often", 40)
        done = self.trainhost("prepare", "--recipe", recipe)
        self.assertRegex(done.stderr, r'source "letters" will be read [34]\d\.\d times by the end of the run \(its epochs_at_most is 4\)')
        done = self.trainhost("prepare", "--recipe", recipe, "--set", "source.letters.epochs_at_most=100")
        self.assertNotIn("warning", done.stderr)


if __name__ == "__main__":
    unittest.main()
