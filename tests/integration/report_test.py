"""trainhost report (A22, A23, A36): what training did in each phase, against NumPy's fits to the lines of the log."""
import json
import unittest

import numpy
from trainhost_run import RunTest, read_log

SETTINGS = ("--set", "schedule.warmup=4 steps", "--set", "schedule.decay=30%", "--set", "metrics.telemetry_every=5 steps")
BRANCH = '[[branch]]\nname = "linear"\nfrom = "end of stable"\nschedule.shape = "linear"\n'
STEPS, BORDER = 80, 56


class ReportTest(RunTest):
    def train(self, *settings, more=""):
        self.trainhost("--recipe", self.recipe("run", tokens=40960, more=more), *SETTINGS, *settings)
        return self.scratch / "run"

    def report(self, run):
        return json.loads(self.trainhost("report", "--run", run, "--json").stdout)

    def text(self, run):
        return self.trainhost("report", "--run", run).stdout

    def log_of(self, run):
        return run / "log" / "metrics.jsonl"

    def expect_fits(self, piece, lines):
        tokens, loss = (numpy.array([line[key] for line in lines]) for key in ("tokens", "loss"))
        (slope, _), covariance = numpy.polyfit(tokens / 1e6, loss, 1, cov=True)
        exponent = numpy.polyfit(numpy.log(tokens), numpy.log(loss), 1)[0]
        tenth = max(len(loss) // 10, 1)
        for key, expected in (("slope_per_million_tokens", slope), ("slope_sigma_per_million_tokens", covariance[0, 0] ** 0.5),
                              ("exponent", exponent), ("first_loss", loss[:tenth].mean()), ("last_loss", loss[-tenth:].mean())):
            self.assertAlmostEqual(piece[key] / expected, 1, places=8, msg=key)

    def test_says_what_training_did_in_each_phase(self):
        run = self.train()
        report, lines = self.report(run), read_log(self.log_of(run))
        steps = [line for line in lines if line["kind"] == "step"]
        self.assertEqual((report["step"], report["total_steps"], report["tokens"], report["total_tokens"]), (80, 80, 40960, 40960))
        pieces = report["pieces"]
        self.assertEqual([(piece["phase"], piece["stage"], piece["from_step"], piece["to_step"]) for piece in pieces],
                         [("stable", "warmup", 0, 4), ("stable", "stable", 4, BORDER), ("annealing", "decay", BORDER, STEPS)])
        for piece in pieces:
            inside = lambda kind: [line for line in lines if line["kind"] == kind and piece["from_step"] < line["step"] <= piece["to_step"]]
            own = inside("step")
            self.assertEqual((piece["from_tokens"], piece["to_tokens"]), (own[0]["tokens"] - 512, own[-1]["tokens"]))
            self.assertEqual((piece["first_learning_rate"], piece["last_learning_rate"]), (own[0]["learning_rate"], own[-1]["learning_rate"]))
            self.assertEqual((piece["first_batch"], piece["last_batch"]), (512, 512))
            self.expect_fits(piece, [line for line in own if not line["skipped"]])
            measured = inside("telemetry")
            for key in ("gradient_cosine", "d1", "d2", "curvature", "update_ratio", "largest_update_ratio") if measured else ():
                self.assertAlmostEqual(piece["telemetry"][key], numpy.mean([line[key] for line in measured if line[key] is not None]), places=12)
            if measured:
                self.assertEqual(piece["telemetry"]["noise_scale"], measured[-1]["noise_scale"])
        self.assertIsNotNone(pieces[1]["telemetry"])
        self.assertEqual(pieces[1]["slope_ratio"], pieces[1]["slope_per_million_tokens"] / pieces[0]["slope_per_million_tokens"])
        self.assertEqual([piece["same_mix"] for piece in pieces], [None, True, False])
        last = [line for line in lines if line["kind"] == "evaluation"][-1]
        self.assertEqual(pieces[2]["held_out"]["step"], STEPS)
        for source, row in pieces[2]["held_out"]["sources"].items():
            self.assertEqual(row["loss_per_byte"], last["sources"][source]["loss_per_byte"])
        self.assertEqual(len(report["loss_curve"]["exponents"]), len(report["loss_curve"]["knees"]) + 1)
        for knee in report["loss_curve"]["knees"]:
            self.assertAlmostEqual(knee["tokens"] - knee["distance"], knee["border"]["tokens"], places=6)
            self.assertIn(knee["border"]["tokens"], (pieces[1]["from_tokens"], pieces[2]["from_tokens"]))

    def test_the_text_has_the_same_facts(self):
        run = self.train()
        report, text = self.report(run), self.text(run)
        for piece in report["pieces"]:
            self.assertIn(f"steps {piece['from_step']} to {piece['to_step']}, tokens {piece['from_tokens']} to {piece['to_tokens']}", text)
            self.assertIn(f"exponent {piece['exponent']:.4g}", text)
        stable = sum(piece["behaviour"] == "stable" for piece in report["pieces"])
        self.assertEqual(text.count("stable: the slope changed by less than 10 %"), stable)
        self.assertEqual(text.count("  knee at"), len(report["loss_curve"]["knees"]))

    # A schedule and a loss that leave no doubt, in place of those that training found.
    def written(self, mix_after):
        run = self.train("--set", "metrics.telemetry=false")
        lines = [line for line in read_log(self.log_of(run)) if line["kind"] in ("begin", "phase", "step")]
        for line in lines:
            if line["kind"] == "phase" and line["step"] > 0:
                line["mix"] = mix_after
            if line["kind"] == "step":
                over = max(line["tokens"] - BORDER * 512, 0)
                line["loss"] = 4 - 1e-6 * line["tokens"] - 3e-6 * over
        self.log_of(run).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return run

    def test_a36_tells_the_learning_rate_from_the_data(self):
        sentence = "annealing by learning-rate drop"
        run = self.written({"english": 1.0})
        decay = self.report(run)["pieces"][2]
        self.assertEqual((decay["behaviour"], decay["same_mix"]), ("annealing", True))
        self.assertAlmostEqual(decay["slope_ratio"], 4, places=6)
        self.assertIsNone(decay["telemetry"])
        self.assertIsNone(decay["held_out"])
        self.assertIn(sentence, self.text(run))

    def test_does_not_say_so_when_the_mix_changed_too(self):
        run = self.written({"english": 0.5, "questions": 0.5})
        self.assertEqual(self.report(run)["pieces"][2]["behaviour"], "annealing")
        self.assertNotIn("annealing by learning-rate drop", self.text(run))
        self.assertIn("it may be due to either", self.text(run))

    def test_a_branch_is_told_from_its_trunk(self):
        run = self.train(more=BRANCH)
        trunk, branch = self.report(run)["pieces"], self.report(run / "branches" / "linear")["pieces"]
        self.assertEqual(branch[:2], trunk[:2])
        self.assertEqual((branch[2]["phase"], branch[2]["from_step"], branch[2]["to_step"]), ("annealing", BORDER, STEPS))
        self.assertNotEqual(branch[2]["slope_per_million_tokens"], trunk[2]["slope_per_million_tokens"])
        self.assertIsNotNone(branch[2]["slope_ratio"])

    def test_reads_logs_of_runs_that_go_on_and_of_runs_that_crashed(self):
        run = self.train()
        log = self.log_of(run)
        whole = log.read_text().splitlines(keepends=True)
        at = lambda step: next(i for i, text in enumerate(whole) if json.loads(text)["kind"] == "step" and json.loads(text)["step"] == step)
        undisturbed = self.report(run)
        # Written up to step 60, gone back to step 41, and on to the end.
        other = [text.replace('"loss":', '"loss":1e3,"was":') for text in whole[at(41):at(60)]]
        log.write_text("".join(whole[:at(41)] + other + whole[at(41):]))
        self.assertEqual(self.report(run), undisturbed)
        # The last line is being written.
        log.write_text("".join(whole[:at(30)]) + whole[at(30)][:40])
        report = self.report(run)
        self.assertEqual((report["step"], [piece["to_step"] for piece in report["pieces"]]), (29, [4, 29]))
        # No step is done; nothing at all is written.
        for text in (whole[0], ""):
            log.write_text(text)
            report = self.report(run)
            self.assertEqual((report["step"], report["pieces"], report["loss_curve"]), (0, [], {"exponents": [], "knees": []}))
            self.assertIn("0 steps", self.text(run))
        log.unlink()
        self.assertIn("metrics.jsonl", self.trainhost("report", "--run", run, expect=65).stderr)
        self.assertIn("is no run directory", self.trainhost("report", "--run", self.scratch / "elsewhere", expect=64).stderr)
        self.trainhost("report", expect=64)


if __name__ == "__main__":
    unittest.main()
