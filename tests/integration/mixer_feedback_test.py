"""A mixer that moves the shares of the sources by their losses: they follow its closed form, and a run keeps all its promises."""
import math
import signal
import unittest

import numpy

from trainhost_run import BIGRAM, BINARY, MINICPM, RunTest, newest_checkpoint, read_log, tensors, training_log

LOSS_WEIGHTED = BINARY.parent.parent / "tests" / "plugins" / "loss_weighted.so"
SHARES = {"stable": {"english": 0.8, "questions": 0.2}, "annealing": {"english": 0.5, "questions": 0.5}}
STEP_SIZE = 0.5
EXACT = {"rel_tol": 1e-14}  # exp of two libraries


def rounds(run):
    return [line for line in read_log(run / "log" / "metrics.jsonl") if line["kind"] == "mix"]


def loss_of_steps(run):
    return {line["step"]: line["loss"] for line in read_log(run / "log" / "metrics.jsonl") if line["kind"] == "step"}


class MixerFeedbackTest(RunTest):
    def feedback_recipe(self, directory, model=BIGRAM, tokens=20480, more="", length="5 steps", **replacements):
        mixer = f'[mixer]\nplugin = "{LOSS_WEIGHTED}"\nround = "{length}"\nstep_size = {STEP_SIZE}\n{more}'
        return self.recipe(directory, model, tokens, mixer, f"{directory}.toml", **{"mix = { english = 1.0 }": "mix = { english = 0.8, questions = 0.2 }", **replacements})

    def assert_same_run(self, first, second):
        expected, found = (tensors(newest_checkpoint(self.scratch / name)) for name in (first, second))
        self.assertEqual(sorted(expected), sorted(found))
        for name, values in expected.items():
            self.assertEqual(values.tobytes(), found[name].tobytes(), name)
        self.assertEqual(training_log(self.scratch / first), training_log(self.scratch / second))

    def test_shares_follow_the_closed_form(self):
        # 40 steps, of which 28 are stable: rounds of 5 steps, the last of each phase shorter.
        self.trainhost("--recipe", self.feedback_recipe("run"))
        found = rounds(self.scratch / "run")
        self.assertEqual([line["step"] for line in found], [0, 5, 10, 15, 20, 25, 28, 33, 38])
        self.assertEqual([line["round"] for line in found], list(range(9)))
        sums = dict.fromkeys(SHARES["stable"], 0.0)
        for i, line in enumerate(found):
            for name, source in line["sources"].items():
                if i == 0:
                    self.assertEqual((source["loss_per_token"], source["tokens"]), (None, 0))
                else:
                    self.assertGreater(source["tokens"], 0)
                    sums[name] += source["loss_per_token"]
            shares = SHARES["stable" if line["step"] < 28 else "annealing"]
            expected = {name: share * math.exp(STEP_SIZE * sums[name] / max(i, 1)) for name, share in shares.items()}
            for name, source in line["sources"].items():
                self.assertTrue(math.isclose(source["weight"], expected[name] / sum(expected.values()), **EXACT), (line, expected))
        weights = {line["sources"]["questions"]["weight"] for line in found}
        self.assertEqual(len(weights), len(found), "the shares move")

    def test_losses_of_the_sources_are_the_loss_of_the_steps(self):
        self.trainhost("--recipe", self.feedback_recipe("run", length="1 steps"))
        losses = loss_of_steps(self.scratch / "run")
        for line in rounds(self.scratch / "run")[1:]:
            counted = [source for source in line["sources"].values() if source["tokens"] > 0]
            mean = sum(source["loss_per_token"] * source["tokens"] for source in counted) / sum(source["tokens"] for source in counted)
            self.assertAlmostEqual(mean, losses[line["step"]], delta=1e-6)

    def check_stops_and_kills(self, model, steps, stops, kills):
        self.trainhost("--recipe", self.feedback_recipe("undisturbed", model, 512 * steps, length="7 steps"))
        recipe = self.feedback_recipe("stopped", model, 512 * steps, length="7 steps")
        for step in stops:
            code, output = self.stop_after_step(recipe, "stopped", step)
            self.assertEqual(code, 75, output)
        self.trainhost("--recipe", recipe)
        self.assert_same_run("undisturbed", "stopped")
        recipe = self.feedback_recipe("killed", model, 512 * steps, length="7 steps")
        killed = 0
        for step in kills:
            code, _ = self.stop_after_step(recipe, "killed", step, signal.SIGKILL)
            killed += code == -signal.SIGKILL
        self.assertGreaterEqual(killed, (len(kills) + 1) // 2)
        self.trainhost("--recipe", recipe)
        self.assert_same_run("undisturbed", "killed")

    def test_stopped_and_killed_runs_of_a_bigram_end_as_the_undisturbed_one(self):
        # The border of the phases, with a checkpoint and a new round, is at 420.
        self.check_stops_and_kills(BIGRAM, 600, [3, 200, 421], [140, 333, 425, 540])

    def test_stopped_and_killed_runs_of_minicpm_end_as_the_undisturbed_one(self):
        self.check_stops_and_kills(MINICPM, 50, [2, 30], [38])

    def test_any_number_of_processes_and_stages_gives_the_same_run(self):
        self.environment["OMP_NUM_THREADS"] = "1"
        step = {"batch = 512\nmicro_batch = 256": "batch = 768\nmicro_batch = 64"}
        tokens = f'{768 * 24}\nreduction = "fixed"'
        for name, processes, *settings in (("alone", 1), ("two", 2, "parallel.sharding=gradients"), ("four", 4, "parallel.sharding=parameters"),
                                           ("stages", 4, "parallel.pipeline_stages=2")):
            recipe = self.feedback_recipe(name, MINICPM, tokens, **step)
            self.trainhost("--recipe", recipe, "--processes", processes, *(word for setting in settings for word in ("--set", setting)))
            output = self.scratch / f"{name}.safetensors"
            self.trainhost("checkpoints", "consolidate", self.scratch / name, "--output", output)
            self.assertEqual(output.read_bytes(), (self.scratch / "alone.safetensors").read_bytes(), name)
            self.assertEqual(training_log(self.scratch / name), training_log(self.scratch / "alone"), name)
        self.assertGreater(len({line["sources"]["english"]["weight"] for line in rounds(self.scratch / "alone")}), 4)

    def test_a_branch_goes_on_from_the_state_of_the_trunk(self):
        branches = '[[branch]]\nname = "same"\nfrom = "end of stable"\n[[branch]]\nname = "other"\nfrom = "end of stable"\n' \
                   "mix = { english = 0.3, questions = 0.7 }\n"
        self.trainhost("--recipe", self.feedback_recipe("run", more=branches))
        trunk = [line for line in rounds(self.scratch / "run") if line["step"] >= 28]
        self.assertEqual(rounds(self.scratch / "run" / "branches" / "same"), trunk)
        run, same = (tensors(newest_checkpoint(path)) for path in (self.scratch / "run", self.scratch / "run" / "branches" / "same"))
        for name, values in run.items():
            self.assertEqual(values.tobytes(), same[name].tobytes(), name)
        first = rounds(self.scratch / "run" / "branches" / "other")[0]
        self.assertEqual((first["step"], first["round"]), (28, 6))
        odds = [line["sources"]["questions"]["weight"] / line["sources"]["english"]["weight"] for line in (trunk[0], first)]
        self.assertTrue(math.isclose(odds[1] / odds[0], 7 / 3, **EXACT), "by the same losses, from other shares")

    def test_going_back_after_a_fault_takes_the_round_back(self):
        # Two steps with a learning rate that ruins the parameters: the second finds it, and both are passed over.
        phases = '[[phase]]\nname = "ruin"\nuntil = "75%"\nschedule.peak_lr = 1e30\n[[phase]]\nname = "annealing"\n'
        recipe = self.feedback_recipe("run", **{'[[phase]]\nname = "annealing"\n': phases, "micro_batch = 256": 'micro_batch = 256\non_nan = "rollback"'})
        done = self.trainhost("--recipe", recipe)
        self.assertEqual(done.stderr.count("back to the checkpoint of step 28, passing over steps 29 to 30"), 1, done.stderr)
        found = rounds(self.scratch / "run")
        self.assertEqual([line["step"] for line in found], [0, 5, 10, 15, 20, 25, 28, 28, 30, 35])
        self.assertEqual(found[6], found[7], "the round begins again as it began")
        self.assertEqual([line["round"] for line in found[6:]], [6, 6, 7, 8])
        for source in found[8]["sources"].values():
            self.assertEqual((source["tokens"], source["loss_per_token"]), (0, None), "what was passed over taught nothing")
        self.assertGreater(sum(source["tokens"] for source in found[9]["sources"].values()), 0)

    def test_the_shipped_mixer_gives_more_to_the_source_with_the_higher_loss_and_resumes(self):
        # Its shares against NumPy, computed from the losses that the log has; the masked answers are harder for a bigram.
        def online(directory, mixer='plugin = "feedback"\nround = "5 steps"'):
            return self.recipe(directory, BIGRAM, 512 * 200, f"[mixer]\n{mixer}", f"{directory}.toml",
                               **{"mix = { english = 1.0 }": "mix = { english = 0.9, questions = 0.1 }"})
        self.trainhost("--recipe", online("undisturbed"))
        found = rounds(self.scratch / "undisturbed")
        rewards, epsilons = numpy.zeros(2), [0.5]
        for t, line in enumerate(found, 1):
            losses, shares = (numpy.array([line["sources"][name][key] or 0 for name in SHARES["stable"]]) for key in ("loss_per_token", "weight"))
            if t > 1:
                rewards += losses / before
            epsilons.append(min(0.5, math.sqrt(math.log(2) / (2 * t))))
            growth = numpy.exp(epsilons[-2] * (rewards - rewards.max()))
            expected = (1 - 2 * epsilons[-1]) * growth / growth.sum() + epsilons[-1]
            numpy.testing.assert_allclose(shares, expected, rtol=1e-12, err_msg=f"round {t}")
            before = shares
        last = found[-1]["sources"]
        higher, lower = sorted(last, key=lambda name: -last[name]["loss_per_token"])
        self.assertGreater(last[higher]["weight"], last[lower]["weight"], last)
        recipe = online("stopped")
        for step in (33, 141):
            code, output = self.stop_after_step(recipe, "stopped", step)
            self.assertEqual(code, 75, output)
        self.trainhost("--recipe", recipe)
        self.assert_same_run("undisturbed", "stopped")


if __name__ == "__main__":
    unittest.main()
