"""trainhost compare: several ways to train, several seeds, and what of their difference is more than chance."""
import json
import signal
import statistics
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
        self.assertNotIn("recovery", out, "no branch has another batch")
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

    def taken(self, name, seed, loss):
        """Steps and tokens until the held-out loss, linear between evaluations, read apart from the verb."""
        log = read_log(self.scratch / "out" / name / f"seed-{seed}" / "log" / "metrics.jsonl")
        rows = [(line["sources"]["english"]["loss_per_byte"], line["step"], line["tokens"]) for line in log if line["kind"] == "evaluation"]
        after = next(i for i, row in enumerate(rows) if row[0] <= loss)
        (loss_0, *done_0), (loss_1, *done_1) = rows[after - 1], rows[after]
        return [a + (b - a) * (loss_0 - loss) / (loss_0 - loss_1) for a, b in zip(done_0, done_1)]

    def test_steps_and_tokens_to_a_loss_give_the_critical_batch(self):
        """A26: batches of a sweep, the learning rate with their root, follow (S / S_min - 1)(E / E_min - 1) = 1."""
        recipe = self.recipe("run", BIGRAM, name="base.toml", more="[metrics]\ntelemetry = false",
                             **{'every = "25%"\ntokens = 2048': 'every = "4%"\ntokens = 1024'})
        batches = {"base": 512, "tiny": 64, "small": 128, "large": 2048}
        variants = [argument for name, batch in batches.items() if name != "base" for argument in
                    ("--variant", f"{name}: training.batch={batch}; training.micro_batch=64; schedule.peak_lr={0.02 * (batch / 512) ** 0.5:.6f}")]
        arguments = (recipe, *variants, "--set", "schedule.warmup=0 steps", "--set", "schedule.peak_lr=0.02", "--seeds", 2)
        until = json.loads(self.compare(*arguments, "--until", "english=3.2", "--json").stdout)["until"]
        self.assertEqual((until["source"], until["loss"]), ("english", 3.2))
        self.assertEqual([row["name"] for row in until["rows"]], list(batches))
        for row in until["rows"]:
            taken = [self.taken(row["name"], seed, 3.2) for seed in (1, 2)]
            for found, expected in zip((row["steps"], row["tokens"]), map(statistics.mean, zip(*taken))):
                self.assertAlmostEqual(found / expected, 1, places=9)
            self.assertAlmostEqual(row["tokens"] / row["steps"], batches[row["name"]], delta=1e-6)
        critical = until["critical"]
        self.assertGreaterEqual(critical["r_squared"], 0.95)
        self.assertAlmostEqual(critical["batch"], critical["least_tokens"] / critical["least_steps"], places=6)
        for row in until["rows"]:
            self.assertLess(critical["least_steps"], row["steps"])
            self.assertLess(critical["least_tokens"], row["tokens"])

        self.assertRegex(self.compare(*arguments, "--until", "english=3.2").stdout, r"critical batch \d+ tokens: at least ")
        never = self.compare(*arguments, "--until", "english=0.1").stdout
        self.assertEqual(never.count("not reached with every seed"), 4)
        self.assertIn("no critical batch", never)

    def test_branches_may_have_other_batches(self):
        """A26: what a checkpoint makes of larger batches, at equal tokens."""
        branch = '[[branch]]\nname = "double"\nfrom = "end of stable"\nbatch = 1024\n'
        recipe = self.recipe("run", BIGRAM, name="base.toml", more=branch)
        rows = json.loads(self.compare(recipe, "--seeds", 2, "--json").stdout)["sources"]["english"]
        self.assertEqual([row["name"] for row in rows], ["base", "base/double"])
        log = read_log(self.scratch / "out" / "base" / "seed-1" / "branches" / "double" / "log" / "metrics.jsonl")
        last = [line for line in log if line["kind"] == "evaluation"][-1]
        self.assertEqual((last["step"], last["tokens"]), (34, 20480))
        self.assertEqual(rows[1]["losses"][0], last["sources"]["english"]["loss_per_byte"])

    def test_branches_with_other_batches_bound_the_critical_one(self):
        """A26: branch, try k times the batch, watch the loss come back to the run's within a tolerance."""
        branches = "".join(f'[[branch]]\nname = "{name}"\nfrom = "end of stable"\nbatch = {batch}\n' for name, batch in
                           (("eight", 4096), ("double", 1024), ("grows", '{ rule = "stall", from = 512, to = 1024 }')))
        recipe = self.recipe("run", BIGRAM, name="base.toml", more=branches)
        out = json.loads(self.compare(recipe, "--seeds", 2, "--json").stdout)
        found, = out["recovery"]
        self.assertEqual((found["name"], found["from"], found["batch"], found["tolerance"]), ("base", "end of stable", 512, 0.01))
        self.assertEqual(found["left_out"], [{"name": "base/grows", "why": "has batches of 512 to 1024 tokens"}])
        excess = {}
        for source, rows in out["sources"].items():
            mean = {row["name"]: statistics.mean(row["losses"]) for row in rows}
            excess[source] = [mean[name] - mean["base"] for name in ("base/double", "base/eight")]
            recovered = found["sources"][source]["rows"]
            self.assertEqual([(row["name"], row["batch"]) for row in recovered], [("base/double", 1024), ("base/eight", 4096)])
            for row, expected in zip(recovered, excess[source]):
                self.assertAlmostEqual(row["excess"], expected, places=12)
                self.assertEqual(row["recovers"], expected <= 0.01)
        double, eight = excess["english"]
        self.assertLess(double, eight)
        bounds = lambda tolerance: json.loads(self.compare(recipe, "--seeds", 2, "--json", "--tolerance", tolerance).stdout)["recovery"][0]["sources"]["english"]
        between = bounds(max((double + eight) / 2, 0))
        self.assertEqual((between["at_least"], between["below"]), (1024, 4096))
        self.assertEqual((bounds(eight + 1)["at_least"], bounds(eight + 1)["below"]), (4096, None))
        shown = self.compare(recipe, "--seeds", 2, "--tolerance", eight + 1).stdout
        self.assertIn('other batches from "end of stable" of base on\nthe run\'s has 512 tokens;', shown)
        self.assertIn("the critical batch there is at least 4096 tokens", shown)
        self.assertIn("base/grows is left out: it has batches of 512 to 1024 tokens", shown)

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
        self.wait_for_text(first_log, "resumed after step", size)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        self.assertEqual(steps(), list(range(1, steps()[-1] + 1)))

    def test_recipes_that_cannot_be_compared_are_refused(self):
        one, other = self.recipe("run", name="one.toml"), self.recipe("run", name="other.toml", tokens=40960)
        refused = lambda *arguments, expect: self.compare(*arguments, expect=expect).stderr
        self.assertIn("one trains on 20480 tokens and other on 40960; only runs of equal tokens", refused(one, other, expect=78))
        self.assertIn("has nothing to be compared with", refused(one, expect=64))
        self.assertIn('"one" names two', refused(one, one, expect=64))
        for wrong in ("-0.1", "nan", "inf"):
            self.assertIn(f"--tolerance is {wrong}, expected nats per byte", refused(one, *self.COSINE, f"--tolerance={wrong}", expect=64))
        self.assertIn("--seeds is 1", refused(one, *self.COSINE, "--seeds", 1, expect=64))
        self.assertIn("--variant changes one recipe, and 2 are given", refused(one, other, *self.COSINE, expect=64))
        self.assertIn("expected NAME: KEY=VALUE", refused(one, "--variant", "schedule.plugin=cosine", expect=64))
        self.assertIn('"a/b" names a folder', refused(one, "--variant", "a/b: run.tokens=1", expect=64))
        self.assertIn("expected SOURCE=LOSS", refused(one, *self.COSINE, "--until", "english", expect=64))
        self.assertIn("expected SOURCE=LOSS", refused(one, *self.COSINE, "--until", "english=low", expect=64))
        self.assertIn('"englsh", which one does not have', refused(one, *self.COSINE, "--until", "englsh=2", expect=64))
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
