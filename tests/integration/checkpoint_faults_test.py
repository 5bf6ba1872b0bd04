"""Damaged checkpoints, a busy run directory, a full disk."""
import resource
import time
import unittest

from trainhost_run import RunTest, newest_checkpoint, tensors, training_log


class CheckpointFaultsTest(RunTest):
    def finished_run(self):
        self.trainhost("--recipe", self.recipe("run"))
        return self.scratch / "run"

    def assert_falls_back(self, run, bad):
        expected = tensors(bad)
        damaged = self.damage(bad)
        done = self.trainhost("--recipe", self.scratch / "recipe.toml")
        self.assertIn(str(damaged), done.stderr)
        self.assertIn("resumed after step 32 of 40", done.stderr)
        for name, values in tensors(newest_checkpoint(run)).items():
            self.assertEqual(values.tobytes(), expected[name].tobytes(), name)

    def test_truncated_checkpoint(self):
        run = self.finished_run()
        bad = newest_checkpoint(run)

        def truncate(checkpoint):
            file = next(checkpoint.glob("*.safetensors"))
            file.write_bytes(file.read_bytes()[:-5])
            return file
        self.damage = truncate
        self.assert_falls_back(run, bad)

    def test_altered_checkpoint(self):
        run = self.finished_run()
        bad = newest_checkpoint(run)

        def flip_a_bit(checkpoint):
            file = next(checkpoint.glob("*.safetensors"))
            contents = bytearray(file.read_bytes())
            contents[len(contents) // 2] ^= 4
            file.write_bytes(contents)
            return file
        self.damage = flip_a_bit
        self.assert_falls_back(run, bad)

    def test_no_good_checkpoint_never_starts_over(self):
        run = self.finished_run()
        for checkpoint in (run / "checkpoints").glob("step-*"):
            (checkpoint / "manifest.json").write_text("{")
        before = training_log(run)
        done = self.trainhost("--recipe", self.scratch / "recipe.toml", expect=65)
        self.assertIn("checkpoints", done.stderr)
        self.assertEqual(training_log(run), before)

    def test_changed_recipe_is_refused_unless_accepted(self):
        self.finished_run()
        recipe = self.recipe("run", tokens=30720)
        done = self.trainhost("--recipe", recipe, expect=78)
        self.assertIn("recipe", done.stderr)
        self.assertIn("--accept-changes", done.stderr)
        self.trainhost("--recipe", recipe, "--accept-changes")

    def test_run_directory_in_use(self):
        recipe = self.recipe("run", tokens=512 * 20000)
        process = self.start("--recipe", recipe)
        try:
            while not (self.scratch / "run" / "log" / "metrics.jsonl").exists():
                self.assertIsNone(process.poll())
                time.sleep(0.01)
            done = self.trainhost("--recipe", recipe, expect=69)
            self.assertIn(f"is in use by process {process.pid}", done.stderr)
        finally:
            process.kill()
            process.communicate()

    def test_full_disk_while_saving(self):
        """A limit on the size of files stands for a full disk: the write of the tensors fails, what was saved before stays."""
        self.trainhost("--recipe", self.recipe("run", tokens=10240))
        run = self.scratch / "run"
        good = tensors(newest_checkpoint(run))
        largest = max(file.stat().st_size for file in newest_checkpoint(run).iterdir())

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2))
        done = self.trainhost("--recipe", self.recipe("run", tokens=20480), "--accept-changes", expect=73, preexec_fn=limit)
        self.assertIn("cannot be written", done.stderr)
        self.assertEqual(newest_checkpoint(run).name, "step-000000020")
        for name, values in tensors(newest_checkpoint(run)).items():
            self.assertEqual(values.tobytes(), good[name].tobytes(), name)


if __name__ == "__main__":
    unittest.main()
