"""trainhost compare: several ways to train, several seeds, and what of their difference is more than chance."""
import json
import signal
import statistics
import time
import unittest

from trainhost_run import BIGRAM, RunTest, read_log


class CompareTest(RunTest):
    COSINE = ("--variant", "cosine: schedule.plugin=cosine; schedule.peak_lr=0.01")

    def compare(self, *arguments, expect=0):
        return self.trainhost("compare", *arguments, "--output", self.scratch / "out", expect=expect)

    def logged(self, name, seed, branch=""):
        """The losses of a run's last evaluation, read apart from the verb."""
        run = self.scratch / "out" / name / f"seed-{seed}" / branch
        last = [line for line in read_log(run / "log" / "metrics.jsonl") if line["kind"] == "evaluation"][-1]
        self.assertEqual(last["step"], 40)
        return {source: row["loss_per_byte"] for source, row in last["sources"].items()}

    def test_variants_and_branches_over_seeds(self):
        branch = '[[branch]]\nname = "linear"\nfrom = "end of stable"\nschedule.shape = "linear"\n'
        recipe = self.recipe("run", BIGRAM, name="base.toml", more=branch)
        out = json.loads(self.compare(recipe, *self.COSINE, "--set", "schedule.warmup=0 steps", "--seeds", 2, "--json").stdout)
        self.assertEqual((out["tokens"], out["seeds"], out["measure"]), (20480, 2, "loss_per_byte"))
        self.assertEqual(set(out["sources"]), {"english", "questions"})
        places = {"base": ("base", ""), "base/linear": ("base", "branches/linear"),
                  "cosine": ("cosine", ""), "cosine/linear": ("cosine", "branches/linear")}
        for source, rows in out["sources"].items():
            self.assertEqual([row["name"] for row in rows], list(places))
            for row in rows:
                name, branch = places[row["name"]]
                losses = [self.logged(name, seed, branch)[source] for seed in (1, 2)]
                self.assertEqual(row["losses"], losses)
                self.assertNotEqual(*losses)  # the seeds differ
                self.assertAlmostEqual(row["mean"], statistics.mean(losses), places=14)
                self.assertAlmostEqual(row["deviation"], statistics.stdev(losses), places=14)
            self.assertNotIn("p", rows[0])
            for row in rows[1:]:
                error = ((rows[0]["deviation"] ** 2 + row["deviation"] ** 2) / 2) ** 0.5
                self.assertAlmostEqual(row["t"], (row["mean"] - rows[0]["mean"]) / error, places=8)
                self.assertEqual(row["significant"], row["p"] < 0.05)

        log = self.scratch / "out" / "base" / "seed-1" / "log" / "metrics.jsonl"
        before = log.read_bytes()
        table = self.compare(recipe, *self.COSINE, "--set", "schedule.warmup=0 steps", "--seeds", 2)
        self.assertEqual(table.stderr.count("is finished already"), 4)
        self.assertEqual(log.read_bytes(), before)
        self.assertIn("after 20480 tokens; 2 seeds each", table.stdout)
        self.assertRegex(table.stdout, r"of 6 differ from base \(Welch's t-test, two-sided")
        self.assertIn("holds a run of another recipe", self.compare(recipe, *self.COSINE, "--seeds", 2, expect=78).stderr)

    def test_what_was_stopped_goes_on(self):
        recipe = self.recipe("run", BIGRAM, tokens=2048000, name="base.toml")  # 4000 steps
        arguments = ("compare", recipe, *self.COSINE, "--set", "evaluation.every=50%", "--seeds", 2, "--output", self.scratch / "out")
        process = self.start(*map(str, arguments))
        self.wait_for_step("out/base/seed-1", 100)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, output)
        self.assertIn("the same command goes on", output)
        steps = lambda: [line["step"] for line in read_log(self.scratch / "out/base/seed-1/log/metrics.jsonl") if line["kind"] == "step"]
        self.assertLess(steps()[-1], 4000)
        first_log = self.scratch / "out" / "base" / "seed-1.log"
        size = first_log.stat().st_size
        process = self.start(*map(str, arguments))
        deadline = time.monotonic() + 60
        while "resumed after step" not in first_log.read_text()[size:]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        self.assertEqual(steps(), list(range(1, steps()[-1] + 1)))

    def test_recipes_that_cannot_be_compared_are_refused(self):
        one, other = self.recipe("run", name="one.toml"), self.recipe("run", name="other.toml", tokens=40960)
        refused = lambda *arguments, expect: self.compare(*arguments, expect=expect).stderr
        self.assertIn("one trains on 20480 tokens and other on 40960; only runs of equal tokens", refused(one, other, expect=78))
        self.assertIn("has nothing to be compared with", refused(one, expect=64))
        self.assertIn('"one" names two', refused(one, one, expect=64))
        self.assertIn("--seeds is 1", refused(one, *self.COSINE, "--seeds", 1, expect=64))
        self.assertIn("--variant changes one recipe, and 2 are given", refused(one, other, *self.COSINE, expect=64))
        self.assertIn("expected NAME: KEY=VALUE", refused(one, "--variant", "schedule.plugin=cosine", expect=64))
        self.assertIn('"a/b" names a folder', refused(one, "--variant", "a/b: run.tokens=1", expect=64))
        self.assertIn("cosin", refused(one, "--variant", "typo: schedule.plugin=cosin", expect=78))
        self.assertFalse((self.scratch / "out").exists())

    def test_a_run_that_fails_is_named_with_its_reason(self):
        recipe = self.recipe("run", name="base.toml")
        (self.scratch / "out" / "base").mkdir(parents=True)
        (self.scratch / "out" / "base" / "seed-1").write_text("in the way")
        message = self.compare(recipe, *self.COSINE, expect=73).stderr
        self.assertIn("base, seed 1: its process failed; the last line in ", message)
        self.assertIn("seed-1", message)


if __name__ == "__main__":
    unittest.main()
