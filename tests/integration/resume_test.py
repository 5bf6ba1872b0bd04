"""A run that was stopped or killed ends with the bits of one that was not."""
import random
import signal
import time
import unittest

from trainhost_run import BIGRAM, MINICPM, RunTest, newest_checkpoint, read_log, tensors, training_log


class ResumeTest(RunTest):
    def assert_same_run(self, first, second):
        expected, found = tensors(newest_checkpoint(first)), tensors(newest_checkpoint(second))
        self.assertEqual(sorted(expected), sorted(found))
        self.assertTrue(any(name.startswith("optimizer.") for name in expected))
        for name, values in expected.items():
            self.assertEqual(values.tobytes(), found[name].tobytes(), name)
        self.assertEqual(training_log(first), training_log(second))

    def undisturbed(self, model, tokens):
        self.trainhost("--recipe", self.recipe("undisturbed", model, tokens))
        return self.scratch / "undisturbed"

    def check_chain(self, model, tokens, steps):
        """SIGTERM after each of the steps, a resume after each, then to the end."""
        undisturbed = self.undisturbed(model, tokens)
        recipe = self.recipe("stopped", model, tokens, name="stopped.toml")
        stopped_at = []
        for step in steps:
            code, output = self.stop_after_step(recipe, "stopped", step)
            self.assertEqual(code, 75, output)
            stopped_at.append(int(newest_checkpoint(self.scratch / "stopped").name.split("-")[1]))
        self.assertEqual(stopped_at, sorted(set(stopped_at)), "each resume went on")
        self.trainhost("--recipe", recipe)
        self.assert_same_run(undisturbed, self.scratch / "stopped")

    def test_a_process_that_was_suspended_goes_on(self):
        """As with a shell's Ctrl-Z, for longer than a plugin's call may take: no plugin is blamed."""
        recipe = self.recipe("run", MINICPM, 512 * 1000, more="[parallel]\ntimeout = 1\nheartbeat = 0.5")
        process = self.start("--recipe", recipe)
        for step in (5, 10, 15, 20):
            self.wait_for_step("run", step)
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            process.send_signal(signal.SIGCONT)
        self.wait_for_step("run", 25)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, output)

    def test_chain_of_five_resumes_of_a_bigram(self):
        # 1200 steps; the border of the phases is at 840
        self.check_chain(BIGRAM, 512 * 1200, [3, 200, 420, 700, 900])

    def test_chain_of_resumes_of_minicpm(self):
        # 100 steps; the border of the phases is at 70
        self.check_chain(MINICPM, 512 * 100, [2, 30, 60, 72, 85])

    def test_resume_at_the_border_of_phases(self):
        self.undisturbed(BIGRAM, 20480)
        recipe = self.recipe("border", tokens=20480, name="border.toml")
        # Only the checkpoint "end of stable" is left, as after a stop exactly there.
        self.trainhost("--recipe", recipe, "--set", "checkpoint.always_keep=['end of stable']")
        run = self.scratch / "border"
        border = run / "checkpoints" / "step-000000028"
        for checkpoint in (run / "checkpoints").glob("step-*"):
            if checkpoint != border:
                for file in checkpoint.iterdir():
                    file.unlink()
                checkpoint.rmdir()
        self.trainhost("--recipe", recipe)
        self.assert_same_run(self.scratch / "undisturbed", run)

    def test_kill_at_random_moments(self):
        undisturbed = self.undisturbed(BIGRAM, 512 * 1200)
        recipe = self.recipe("killed", BIGRAM, 512 * 1200, name="killed.toml")
        draw = random.Random(7)
        kills = 0
        for _ in range(6):
            code, _ = self.stop_after_step(recipe, "killed", draw.randrange(1, 1190), signal.SIGKILL)
            kills += code == -signal.SIGKILL
        self.assertGreaterEqual(kills, 3)
        self.trainhost("--recipe", recipe)
        self.assert_same_run(undisturbed, self.scratch / "killed")

    def test_finished_run_stays_as_it_is(self):
        run = self.undisturbed(BIGRAM, 20480)
        before = training_log(run)
        done = self.trainhost("--recipe", self.scratch / "recipe.toml")
        self.assertIn("is finished already", done.stderr)
        self.assertEqual(training_log(run), before)

    def test_every_step_is_logged_once(self):
        run = self.undisturbed(BIGRAM, 20480)
        steps = [line["step"] for line in read_log(run / "log" / "metrics.jsonl") if line["kind"] == "step"]
        self.assertEqual(steps, list(range(1, 41)))


if __name__ == "__main__":
    unittest.main()
