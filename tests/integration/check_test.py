"""`trainhost check`: what only the plugins know to be wrong, each with its place and all at once; and that all shipped recipes pass."""
import os
import re
import unittest

from trainhost_run import BINARY, SOURCE, RunTest

RECIPE = """[run]
tokens = 1000000
[[source]]
name = "english"
paths = ["none.txt"]
[[source]]
name = "chinese"
paths = ["none.txt"]
[packing]
sequence_length = 100
[training]
batch = 1000
{tables}
"""
FIXTURES = BINARY.parent.parent / "tests" / "plugins"


class CheckTest(RunTest):
    def refusals(self, tables, expect=78):
        """The lines of errors, without the recipe's path."""
        recipe = self.scratch / "recipe.toml"
        recipe.write_text(RECIPE.format(tables=tables))
        done = self.trainhost("check", "--recipe", recipe, expect=expect)
        return done.stderr.removeprefix("error: ").replace(f"{recipe}:", "").splitlines()

    def test_a_schedule_that_does_not_fit_is_refused_where_it_stands(self):
        cases = (
            ('[schedule]\npeak_lr = 0.1\nwarmup = "30%"\ndecay = "80%"',
             '15:10: lr_scheduler plugin "wsd": warmup is 300000 tokens and decay 800000 tokens; expected both to fit into the run\'s 1000000 tokens'),
            ('[schedule]\nplugin = "wcsd"\npeak_lr = 0.1\nwaves = 4\nperiod = "40%"',
             '13:1: lr_scheduler plugin "wcsd": warm-up, waves and rise take 1440000 tokens and the decay 100000 tokens; expected all of them to '
             "fit into the run's 1000000 tokens"),
            ('[schedule]\npeak_lr = -0.1', '14:11: parameter `peak_lr` of lr_scheduler plugin "wsd" must be at least 0, found -0.1'),
            ('[schedule]\nplugin = "expression"\npeak_lr = 0.1\nlr = "peak_lr * (1 - progres)"',
             '16:6: lr_scheduler plugin "expression": lr = "peak_lr * (1 - progres)" has something unexpected at character 16, "progres"; expected a '
             "formula of numbers, step, total_steps, tokens, total_tokens, progress, phase, phase_progress, warmup, peak_lr, pi, operators and "
             "functions (trainhost plugins expression lists them)"),
            ('[schedule]\nplugin = "wsd_s"\npeak_lr = 0.1\nbudgets = "50%"',
             '16:11: lr_scheduler plugin "wsd_s": budgets = "50%" end at 500000 tokens; expected the last one to be the run\'s end, 1000000 tokens'),
        )
        for tables, line in cases:
            with self.subTest(tables):
                self.assertEqual(self.refusals(tables), [line])

    def test_all_refusals_of_the_run_its_phases_and_branches_come_at_once(self):
        tables = """[optimizer]
plugin = "adamw"
[mixer]
block = 2
[schedule]
peak_lr = 0.1
floor = 0.1
[[phase]]
name = "a"
until = "50%"
schedule.warmup = "95%"
[[phase]]
name = "b"
schedule.shape = "half_life"
[[phase]]
name = "c"
[[branch]]
name = "steep"
from = "end of a"
schedule.shape = "exponential"
schedule.floor = 0.0""".replace('[[phase]]\nname = "c"\n', "")
        self.assertEqual(self.refusals(tables), [
            '23:19: phase "a": lr_scheduler plugin "wsd": warmup is 950000 tokens and decay 100000 tokens; expected both to fit into the run\'s 1000000 '
            "tokens",
            '26:18: phase "b": lr_scheduler plugin "wsd": shape = "half_life" with floor = 0.100000; it halves without a floor: expected floor = 0',
            '30:18: branch "steep": phase "b": lr_scheduler plugin "wsd": shape = "exponential" with floor = 0 stops learning at once; expected a floor '
            "above 0, as 0.01",
        ])

    def test_a_mixer_is_asked_without_data(self):
        more = "".join(f'[[source]]\nname = "s{i}"\npaths = ["none.txt"]\n' for i in range(3))
        self.assertEqual(self.refusals(more + "[mixer]\nblock = 4\n[schedule]\npeak_lr = 0.1"),
                         ['23:9: dataset_mixer plugin "weighted": block is 4 samples; expected at least one for each of 5 sources'])

    def test_learning_rates_are_asked_for_all_along_the_axis(self):
        """A rate that is only wrong in one phase; of a plugin that breaks its contract the file is named."""
        lines = self.refusals('[schedule]\nplugin = "expression"\npeak_lr = 0.1\nlr = "phase == 1 ? 0.5 - phase_progress : peak_lr"\n'
                              '[[phase]]\nname = "a"\nuntil = "50%"\n[[phase]]\nname = "b"')
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], r'^13:1: phase "b": lr_scheduler plugin "expression" .*: values, step 75\d: lr = "phase == 1 \? 0.5 - phase_progress '
                                   r': peak_lr" gives -0.00\d+ at step 75\d, after 75\d000 of 1000000 tokens; expected a finite number of at least 0$')
        plugin = f'[schedule]\nplugin = "{FIXTURES}/misbehaving_lr_scheduler.so"\nin = "values"\nhow = "negative"'
        lines = self.refusals(plugin, expect=76)
        self.assertIn("values, step 0: learning_rate is -0.5 at step 0, expected a finite number of at least 0", lines[0])

    def test_a_run_says_the_same_before_it_starts(self):
        recipe = self.recipe("run", **{"peak_lr = 0.01": 'peak_lr = 0.01\ndecay = "99%"'})
        done = self.trainhost("--recipe", recipe, expect=78)
        self.assertRegex(done.stderr, r'error: .*/recipe.toml:\d+:1: lr_scheduler plugin "wsd": warmup is 410 tokens and decay 20275 tokens; expected both')
        self.assertFalse((self.scratch / "run").exists())

    def test_a_plugin_that_hangs_is_named(self):
        plugin = f'[schedule]\nplugin = "{FIXTURES}/misbehaving_lr_scheduler.so"\nin = "create"\nhow = "hang"\n[parallel]\ntimeout = 1\nheartbeat = 0.5'
        self.assertIn("create: has not returned", self.refusals(plugin, expect=70)[0])

    def test_what_was_written_for_the_plugin_of_an_included_file_is_left_out(self):
        (self.scratch / "base.toml").write_text(RECIPE.format(tables='[schedule]\nplugin = "wsd"\npeak_lr = 0.1\ndecay = "20%"'))
        recipe = self.scratch / "recipe.toml"
        recipe.write_text('include = ["base.toml"]\n[schedule]\nplugin = "wsd_s"\ndecay_share = 0.2\n')
        done = self.trainhost("check", "--recipe", recipe)
        self.assertIn('[schedule]: plugin "wsd_s" has no decay; what ' + str(self.scratch / "base.toml") + " says of it is left out", done.stderr)
        self.assertIn("decay_share = 0.2", done.stdout)
        self.assertIn("peak_lr = 0.1", done.stdout)
        (self.scratch / "top.toml").write_text('include = ["recipe.toml"]\n[run]\ntokens = "1M tokens"\n')
        self.assertIn("decay_share = 0.2", self.trainhost("check", "--recipe", self.scratch / "top.toml").stdout)
        (self.scratch / "top.toml").write_text('include = ["recipe.toml"]\n[schedule]\ndecay = "20%"\n')
        self.assertIn("top.toml:3:9: unknown parameter `decay`", self.trainhost("check", "--recipe", self.scratch / "top.toml", expect=78).stderr)
        recipe.write_text('include = ["base.toml"]\n[schedule]\nplugin = "wsd_s"\ndecay = "20%"\n')
        self.assertIn("recipe.toml:4:9: unknown parameter `decay`", self.trainhost("check", "--recipe", recipe, expect=78).stderr)
        recipe.write_text('include = ["base.toml"]\n[schedule]\ndecay_share = 0.2\n')
        self.assertIn("recipe.toml:3:15: unknown parameter `decay_share`", self.trainhost("check", "--recipe", recipe, expect=78).stderr)

    def test_every_shipped_recipe_passes(self):
        recipes = sorted([*(SOURCE / "recipes").glob("*.toml"), *(SOURCE / "recipes" / "studies").glob("*.toml")])
        self.assertGreater(len(recipes), 18)
        for recipe in recipes:
            with self.subTest(recipe.name):
                for variable in re.findall(r"\$\{(\w+)\}", recipe.read_text()):
                    self.environment[variable] = os.devnull
                self.trainhost("check", "--recipe", recipe)


if __name__ == "__main__":
    unittest.main()
