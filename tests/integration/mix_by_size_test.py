"""A03: phases whose mix is a table by the model's size. check, plan, training, resumes and branches all have the mix that follows from it."""
import json
import math
import re
import unittest

from trainhost_run import BINARY, MINICPM, SMALL, RunTest, newest_checkpoint, read_log, tensors, training_log

NARROW, WIDE = MINICPM, MINICPM.replace("width = 32", "width = 64").replace("feed_forward = 64", "feed_forward = 128")
# Of two layers with a key-value head for two heads, and the norm before the head.
PARAMETERS = {NARROW: 2 * (64 * 32 + 32 * 32 + 3 * 64 * 32 + 2 * 32) + 32, WIDE: 2 * (128 * 64 + 64 * 64 + 3 * 128 * 64 + 2 * 64) + 64}
TABLE = 'mix = [{ parameters = "10k", shares = { english = 3, chinese = 1 } }, { parameters = 100000, shares = { english = 1, chinese = 3 } }]'
SOURCES = f"""
[[source]]
name = "english"
paths = ["{SMALL}/english.txt"]
held_out = 0.1
[[source]]
name = "chinese"
paths = ["{SMALL}/chinese.txt"]
held_out = 0.1
"""
RECIPE = """
[run]
directory = "{directory}"
tokens = 20480
{sources}
[tokenizer]
plugin = "byte"
[packing]
mode = "concatenate"
sequence_length = 64
[model]
{model}
[schedule]
peak_lr = 0.01
[[phase]]
name = "stable"
{mix}
{more}
[training]
batch = 512
micro_batch = 256
[checkpoint]
every = "20%"
[evaluation]
every = "50%"
tokens = 1024
"""


def english_share(model):
    """Three quarters at 10^4 parameters, one at 10^5, a line in the logarithm between."""
    return 0.75 - 0.5 * (math.log10(PARAMETERS[model]) - 4)


class MixBySizeTest(RunTest):
    def recipe(self, directory, model=NARROW, mix=TABLE, more=""):
        path = self.scratch / f"{directory}.toml"
        path.write_text(RECIPE.format(directory=self.scratch / directory, sources=SOURCES, model=model, mix=mix, more=more))
        return path

    def plan(self, recipe):
        return json.loads(self.trainhost("plan", "--schedule", "--json", "--recipe", recipe).stdout)

    def test_check_and_plan_show_the_mix_of_the_models_size(self):
        for model, parameters in PARAMETERS.items():
            recipe = self.recipe("run", model)
            done = self.trainhost("check", "--recipe", recipe)
            share = english_share(model)
            shares = re.search(r"^mix = \{ chinese = ([\d.]+), english = ([\d.]+) \}$", done.stdout, re.MULTILINE)
            self.assertAlmostEqual(float(shares[1]), 1 - share, places=8)
            self.assertAlmostEqual(float(shares[2]), share, places=8)
            self.assertIn(f'# phase "stable": mix for {parameters} parameters without embeddings, between the rows of 10000 and 100000: '
                          f"chinese {1 - share:.4f}, english {share:.4f}\n", done.stdout)
            self.assertEqual(done.stderr, "")
            again = self.scratch / "resolved.toml"
            again.write_text(done.stdout)
            self.assertIn(shares[0], self.trainhost("check", "--recipe", again).stdout)
            for planned in self.plan(recipe)["mix"]["english"]:
                self.assertAlmostEqual(planned, share, places=8)

    def test_a_head_of_its_own_is_no_parameter_of_the_size(self):
        outputs = [self.trainhost("check", "--recipe", self.recipe("run"), "--set", f"model.tied_embeddings={tied}").stdout for tied in ("true", "false")]
        self.assertEqual(outputs[0].replace("tied_embeddings = true", ""), outputs[1].replace("tied_embeddings = false", ""))

    def test_a_size_beyond_the_table_is_said(self):
        cases = (("100k", "1M", "english = 0.25", "below the first row's 100000"), ("1k", "10k", "english = 0.75", "above the last row's 10000"))
        for first, last, shares, text in cases:
            mix = (f'mix = [{{ parameters = "{first}", shares = {{ english = 1, chinese = 3 }} }}, '
                   f'{{ parameters = "{last}", shares = {{ english = 3, chinese = 1 }} }}]')
            done = self.trainhost("check", "--recipe", self.recipe("run", mix=mix))
            self.assertIn(shares, done.stdout)
            self.assertIn(f'warning: phase "stable": mix for {PARAMETERS[NARROW]} parameters without embeddings, which is {text}, whose mix it has', done.stderr)

    def drawn(self, directory):
        """The share of the windows, all of 64 tokens, that each source gave."""
        log = read_log(self.scratch / directory / "log" / "metrics.jsonl")
        read = {source: row["tokens_read"] for source, row in [line for line in log if line["kind"] == "epochs"][-1]["sources"].items()}
        return read["english"] / sum(read.values())

    def test_runs_draw_and_keep_the_mix(self):
        for name, model in (("narrow", NARROW), ("wide", WIDE)):
            recipe = self.recipe(name, model)
            done = self.trainhost("--recipe", recipe)
            share = english_share(model)
            self.assertIn(f'phase "stable": mix for {PARAMETERS[model]} parameters without embeddings', done.stderr)
            self.assertAlmostEqual(self.drawn(name), share, delta=2 / (20480 // 64))
            phase, = [line for line in training_log(self.scratch / name) if line["kind"] == "phase"]
            self.assertAlmostEqual(phase["mix"]["english"], share, places=8)
            self.assertIn(f'mix = {{ chinese = {phase["mix"]["chinese"]}, english = {phase["mix"]["english"]} }}\n',
                          (self.scratch / name / "recipe.toml").read_text())
            self.assertNotIn("without embeddings", self.trainhost("evaluate", "--run", self.scratch / name).stderr)
            # The same training as with the mix itself, and another one than with another.
            fixed = f'phase.stable.mix={{english={phase["mix"]["english"]},chinese={phase["mix"]["chinese"]}}}'
            self.assertIn("is finished already", self.trainhost("--recipe", recipe, "--set", fixed).stderr)
            self.assertIn("another recipe", self.trainhost("--recipe", recipe, "--set", "phase.stable.mix={english=1,chinese=1}", expect=78).stderr)

    def test_a_stopped_run_goes_on_with_the_bits_of_one_that_was_not(self):
        self.trainhost("--recipe", self.recipe("whole"))
        recipe = self.recipe("stopped")
        code, output = self.stop_after_step(recipe, "stopped", 10)
        self.assertEqual(code, 75, output)
        done = self.trainhost("--recipe", recipe, "--set", 'run.reduction="fast"')
        self.assertIn("resumed after step", done.stderr)
        expected, found = (tensors(newest_checkpoint(self.scratch / name)) for name in ("whole", "stopped"))
        for name, values in expected.items():
            self.assertEqual(values.tobytes(), found[name].tobytes(), name)
        self.assertEqual(training_log(self.scratch / "whole"), training_log(self.scratch / "stopped"))

    def test_two_processes_say_it_once(self):
        narrower = TABLE.replace("10k", "1k").replace("100000", "10000")
        done = self.trainhost("--recipe", self.recipe("run", mix=narrower), "--processes", 2)
        self.assertEqual((done.stdout + done.stderr).count("parameters without embeddings, which is above the last row's 10000"), 1)
        self.assertAlmostEqual(self.drawn("run"), 0.25, delta=2 / (20480 // 64))

    def test_phases_and_branches_inherit_it_and_mixes_move_to_it(self):
        more = 'until = "50%"\n[[phase]]\nname = "moving"\nmix_over = "20%"\n' + TABLE + '\n[[branch]]\nname = "more"\nfrom = "end of stable"\n' + TABLE.replace(
            "english = 3, chinese = 1", "english = 1")
        recipe = self.recipe("run", mix="mix = { english = 1 }", more=more)
        share = english_share(NARROW)
        english = dict(zip((plan := self.plan(recipe))["step"], plan["mix"]["english"]))
        self.assertEqual(english[0], 1)
        self.assertAlmostEqual(english[20], 1 + (share - 1) * 1.5 / 32, delta=0.02)  # in the first of 32 pieces, or the next
        self.assertAlmostEqual(english[24], (1 + share) / 2, delta=0.02)
        self.assertAlmostEqual(english[28], share, places=8)
        done = self.trainhost("--recipe", recipe)
        self.assertIn('branch "more": mix for', done.stderr)
        phase = [line for line in training_log(self.scratch / "run" / "branches" / "more") if line["kind"] == "phase"][-1]
        self.assertAlmostEqual(phase["mix"]["english"], 1 - 0.75 * (math.log10(PARAMETERS[NARROW]) - 4), places=8)
        inheriting = self.recipe("run", mix=TABLE, more='until = "50%"\n[[phase]]\nname = "next"')
        self.assertAlmostEqual(self.plan(inheriting)["mix"]["english"][-1], share, places=8)

    def test_sizes_are_compared_each_with_its_mix(self):
        recipe = self.recipe("run")
        arguments = ("compare", recipe, "--variant", "wide: model.width=64; model.feed_forward=128", "--seeds", 2, "--set", "run.tokens=2048",
                     "--output", self.scratch / "out")
        self.trainhost(*arguments)
        self.assertEqual(self.trainhost(*arguments).stderr.count("is finished already"), 4)
        for name, model in (("run", NARROW), ("wide", WIDE)):
            phase, = [line for line in read_log(self.scratch / "out" / name / "seed-1" / "log" / "metrics.jsonl") if line["kind"] == "phase"]
            self.assertAlmostEqual(phase["mix"]["english"], english_share(model), places=8)

    def test_what_keeps_the_size_from_being_known_is_said(self):
        refused = self.trainhost("check", "--recipe", self.recipe("run"), "--set", "model.heads=5", expect=78).stderr
        self.assertIn("width 32 is not a multiple of heads 5", refused)
        hanging = f'plugin = "{BINARY.parent.parent}/tests/plugins/misbehaving_model.so"\nin = "create"\nhow = "hang"'
        recipe = self.recipe("run", hanging, more="[parallel]\ntimeout = 1\nheartbeat = 0.5")
        self.assertIn("create: has not returned", self.trainhost("check", "--recipe", recipe, expect=70).stderr)


if __name__ == "__main__":
    unittest.main()
