"""Plugins that crash, abort, exit, hang or throw: who is blamed, the exit code, and that the last checkpoint is good."""
import os
import pathlib
import re
import signal
import time
import unittest

from trainhost_run import BIGRAM, RunTest, newest_checkpoint

FIXTURES = pathlib.Path(os.environ["TRAINHOST_BINARY_DIR"]) / "tests" / "plugins"
# Of each kind: the recipe's table, what stands in it now, and a call.
KINDS = {"lr_scheduler": ("peak_lr = 0.01", "", "values"), "optimizer": ("[[phase]]\nname = \"stable\"", "[optimizer]\n", "update"),
         "tokenizer": ('plugin = "byte"', "", "encode"), "dataset_mixer": ("[[phase]]\nname = \"stable\"", "[mixer]\n", "plan"),
         "model": (BIGRAM, "", "forward")}
SAYS = {"crash": "SIGSEGV in {}: {}", "abort": "SIGABRT in {}: {}", "exit": "exit in {}: {}", "exception": "{}: {}.*: told to throw",
        "hang": "{}: {}.*: has not returned, and neither logged, shown progress nor asked whether to stop, for 1 s"}


class BadPluginTest(RunTest):
    def bad_recipe(self, kind, call, how, directory="run", **more):
        place, table, _ = KINDS[kind]
        keeps = place if table else ""
        chosen = f'{table}plugin = "{FIXTURES}/misbehaving_{kind}.so"\nin = "{call}"\nhow = "{how}"\n'
        chosen += "".join(f"{key} = {value}\n" for key, value in more.items())
        recipe = self.recipe(directory, more="[parallel]\ntimeout = 1\nheartbeat = 0.5", tokens=10240, **{place: chosen + keeps})
        recipe.write_text(recipe.read_text().replace("optimizer.beta2 = 0.99\n", ""))
        return recipe

    def test_each_fault_in_each_kind_is_blamed_on_its_plugin(self):
        for kind, (_, _, call) in KINDS.items():
            plugin = rf'{kind} plugin "misbehaving_{kind}" 0\.1\.0 \({re.escape(str(FIXTURES))}/misbehaving_{kind}\.so\)'
            for how, says in SAYS.items():
                with self.subTest(kind=kind, how=how):
                    done = self.trainhost("--recipe", self.bad_recipe(kind, call, how, directory=f"{kind}_{how}"), expect=70)
                    self.assertRegex(done.stderr, "error: " + says.format(plugin, call))
                    if kind == "model" and how != "exception":
                        self.assertRegex(done.stderr, "forward of unit 0, step 0")

    def test_the_last_checkpoint_is_good_and_the_run_goes_on(self):
        for how in ("crash", "abort", "exit", "hang", "exception"):
            with self.subTest(how):
                recipe = self.bad_recipe("lr_scheduler", "values", how, directory=how, at_step=10)
                done = self.trainhost("--recipe", recipe, expect=70)
                if how != "exception":
                    self.assertIn("values, step 10", done.stderr)
                self.trainhost("checkpoints", "--run", self.scratch / how, "--verify")
                self.assertEqual(newest_checkpoint(self.scratch / how).name, "step-000000008")
                self.trainhost("--recipe", recipe, "--set", 'schedule.how=""', "--accept-changes")

    def test_a_plugin_that_hangs_at_the_end_does_not_keep_the_process(self):
        recipe = self.bad_recipe("lr_scheduler", "destroy", "hang", at_step=1)
        started = time.monotonic()
        done = self.trainhost("--recipe", recipe, expect=70)
        self.assertIn("destroy", done.stderr)
        self.assertLess(time.monotonic() - started, 60)
        self.assertEqual(newest_checkpoint(self.scratch / "run").name, "step-000000020")

    def test_a_signal_from_outside_is_not_blamed_on_a_plugin(self):
        recipe = self.bad_recipe("lr_scheduler", "values", "hang", at_step=5)
        recipe.write_text(recipe.read_text().replace("timeout = 1\n", "timeout = 600\n"))
        code, output = self.stop_after_step(recipe, "run", 5, with_signal=signal.SIGSEGV)
        self.assertEqual(code, -signal.SIGSEGV)
        self.assertNotIn("SIGSEGV in", output)


if __name__ == "__main__":
    unittest.main()
