"""`trainhost plan --memory` against the peak resident memory of real runs, and what "auto" makes of a budget."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

from trainhost_run import BINARY, MINICPM, SMALL, RunTest, newest_checkpoint, read_log, tensors

RECIPE = """
[run]
directory = "{directory}"
tokens = "100M tokens"
reduction = "{reduction}"
[[source]]
name = "english"
paths = ["{small}/english.txt"]
held_out = 0.1
[tokenizer]
plugin = "byte"
[packing]
sequence_length = {sequence}
[model]
plugin = "minicpm"
layers = {layers}
width = {width}
heads = {heads}
feed_forward = {feed_forward}
[schedule]
peak_lr = 0.001
[training]
batch = {batch}
micro_batch = {micro_batch}
recompute = "{recompute}"
[parallel]
sharding = "{sharding}"
pipeline_stages = {stages}
[metrics]
console = false
tensorboard = false
telemetry = {telemetry}
telemetry_every = "2 steps"
"""
NINE_MILLION = {"layers": 8, "width": 320, "heads": 5, "feed_forward": 800}  # of MiniCPM's ladder (arXiv 2404.06395, table 8)
MUCH_STATE = {"layers": 56, "width": 384, "heads": 6, "feed_forward": 960}   # 95M parameters, and few tokens
MANY_ACTIVATIONS = {"layers": 24, "width": 128, "heads": 2, "feed_forward": 320}
STEPS = 2  # the second finds buffers of all kinds in use


def children_of(process):
    children = pathlib.Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def peak_resident(process):
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{process}/status").read_text()).group(1))


class MemoryPlanTest(RunTest):
    def write_recipe(self, model, sequence=128, micro_batch=1024, processes=1, steps_batch=1, recompute="none", sharding="none",
                     reduction="fast", stages=1, telemetry=False):
        path = self.scratch / "recipe.toml"
        path.write_text(RECIPE.format(directory=self.scratch / "run", small=SMALL, sequence=sequence, micro_batch=micro_batch,
                                      batch=micro_batch * processes // stages * steps_batch, recompute=recompute, sharding=sharding, reduction=reduction, stages=stages, telemetry=str(telemetry).lower(),
                                      **model))
        return path

    def planned(self, recipe, processes=1, *more):
        done = self.trainhost("plan", "--memory", "--recipe", recipe, "--processes", processes, "--json", *more)
        return json.loads(done.stdout)

    def measured(self, recipe, processes=1):
        """The most that each process ever had resident, after some steps; the run is then killed."""
        more = ["--processes", str(processes), "--restarts", "0"] if processes > 1 else []
        run = subprocess.Popen([BINARY, "--recipe", recipe, *more], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, start_new_session=True)
        ranks = []
        try:
            deadline = time.monotonic() + 200
            while len([line for line in read_log(self.scratch / "run" / "log" / "metrics.jsonl") if line["kind"] == "step"]) < STEPS:
                self.assertIsNone(run.poll(), "the run ended: " + (run.stdout.read() if run.poll() is not None else ""))
                self.assertLess(time.monotonic(), deadline, "no steps")
                time.sleep(0.02)
            ranks = children_of(run.pid) if processes > 1 else [run.pid]
            self.assertEqual(len(ranks), processes)
            return [peak_resident(rank) for rank in ranks]
        finally:
            for process in [run.pid, *ranks]:
                if run.returncode is None:
                    os.kill(process, signal.SIGKILL)
            run.communicate()

    def check(self, model, processes=1, **settings):
        """Planned and measured bytes agree within a tenth; returns the most measured."""
        recipe = self.write_recipe(model, processes=processes, **settings)
        stages = self.planned(recipe, processes)["stages"]
        planned = [stages[rank * len(stages) // processes]["total"] for rank in range(processes)]
        measured = self.measured(recipe, processes)
        for rank in range(processes):
            print(f"{processes} processes, {settings}, rank {rank}: planned {planned[rank] / 1e6:.0f} MB, "
                  f"measured {measured[rank] / 1e6:.0f} MB, {100 * (planned[rank] / measured[rank] - 1):+.1f} %")
        for rank in range(processes):
            self.assertLess(abs(planned[rank] - measured[rank]), 0.1 * measured[rank])
        subprocess.run(["rm", "-rf", self.scratch / "run"], check=True)
        return max(measured)

    def test_one_process(self):
        self.check(NINE_MILLION, recompute="none")
        self.check(NINE_MILLION, recompute="all")

    def test_an_update_that_is_measured(self):
        self.check(NINE_MILLION, recompute="all", telemetry=True)

    def test_two_processes(self):
        for sharding in ("none", "optimizer", "gradients", "parameters"):
            self.check(NINE_MILLION, processes=2, sharding=sharding)

    def test_four_processes(self):
        for sharding in ("none", "optimizer", "gradients", "parameters"):
            self.check(NINE_MILLION, processes=4, micro_batch=256, sharding=sharding)

    def test_fixed_order_of_sums(self):
        self.check(NINE_MILLION, micro_batch=256, steps_batch=6, reduction="fixed")
        self.check(NINE_MILLION, processes=2, micro_batch=256, steps_batch=3, sharding="gradients", reduction="fixed")

    def test_pipeline_stages(self):
        self.check(NINE_MILLION, processes=4, micro_batch=512, steps_batch=3, stages=2)

    def test_sharded_state_is_small(self):
        one = self.check(MUCH_STATE, sequence=64, micro_batch=64)
        of_four = self.check(MUCH_STATE, sequence=64, micro_batch=64, processes=4, sharding="parameters")
        self.assertLess(of_four, 0.4 * one)

    def test_recomputed_activations_are_few(self):
        kept = self.check(MANY_ACTIVATIONS, micro_batch=4096)
        recomputed = self.check(MANY_ACTIVATIONS, micro_batch=4096, recompute="all")
        self.assertLess(recomputed, 0.5 * kept)


class MemoryChoiceTest(RunTest):
    """training.recompute and training.micro_batch = "auto"."""

    def automatic_recipe(self, directory, name="recipe.toml"):
        model = MINICPM.replace("layers = 2", "layers = 8").replace("width = 32", "width = 64").replace("feed_forward = 64",
                                                                                                        "feed_forward = 256")
        return self.recipe(directory, model, tokens=16384 * 6, name=name,
                           **{"batch = 512": "batch = 16384", "micro_batch = 256": 'micro_batch = "auto"', "sequence_length = 64":
                              "sequence_length = 256"})

    def plan(self, recipe, *settings):
        settings = [part for setting in settings for part in ("--set", setting)]
        return json.loads(self.trainhost("plan", "--memory", "--json", "--recipe", recipe, *settings).stdout)

    def tight_budget(self, recipe):
        """Less than keeping all activations needs, even of 1024 tokens at a time."""
        least = self.plan(recipe, "training.micro_batch=1024", "training.recompute=all")["stages"][0]["total"]
        most = self.plan(recipe, "training.micro_batch=1024", "training.recompute=none")["stages"][0]["total"]
        self.assertLess(least + 1_000_000, most)
        return f"{(least + most) // 2}B"

    def test_budget_decides_and_is_kept(self):
        recipe = self.automatic_recipe("run")
        plenty = self.plan(recipe)
        self.assertEqual((plenty["micro_batch"], plenty["recompute"]), (4096, 0))
        budget = self.tight_budget(recipe)
        tight = self.plan(recipe, f"training.memory={budget}")
        self.assertEqual(tight["micro_batch"], 1024)
        self.assertGreater(tight["recompute"], 0)
        self.assertLessEqual(tight["stages"][0]["total"], tight["budget"])
        done = self.trainhost("--recipe", recipe, "--set", f"training.memory={budget}")
        self.assertRegex(done.stderr, rf"memory: .* planned of .*; micro-batches of at most 1024 tokens, one unit of every {tight['recompute']} ")
        peak = max(line["peak_memory"] for line in read_log(self.scratch / "run" / "log" / "metrics.jsonl") if line["kind"] == "step")
        self.assertLess(peak, 1.1 * tight["budget"])

    def test_resumed_run_keeps_its_choice_and_its_bits(self):
        recipe = self.automatic_recipe("undisturbed")
        budget = self.tight_budget(recipe)
        self.trainhost("--recipe", recipe, "--set", f"training.memory={budget}")
        stopped = self.automatic_recipe("stopped", "stopped.toml")
        stopped.write_text(stopped.read_text().replace("[training]", f'[training]\nmemory = "{budget}"'))
        code, output = self.stop_after_step(stopped, "stopped", 2)
        self.assertEqual(code, 75, output)
        self.trainhost("--recipe", stopped, "--set", "training.memory=auto")  # now there is room for more, but the run has its bits
        expected, found = (tensors(newest_checkpoint(self.scratch / run)) for run in ("undisturbed", "stopped"))
        for name, values in expected.items():
            self.assertEqual(values.tobytes(), found[name].tobytes(), name)

    def test_budget_that_cannot_be_met(self):
        recipe = self.automatic_recipe("run")
        for more in ([], ["--processes", "2"]):
            done = self.trainhost("--recipe", recipe, "--set", "training.memory=50MB", *more, expect=78)
            self.assertRegex(done.stderr, r"`training.memory`: a process would need at least [0-9.]+ MB and may use 50.0 MB, which is [0-9.]+ MB too "
                                          r"little; the largest part is program and libraries with [0-9.]+ MB")
        self.assertFalse((self.scratch / "run").exists(), "nothing was started")

    def test_model_that_does_not_tell(self):
        model = f'plugin = "{BINARY.parent.parent}/tests/plugins/misbehaving_model.so"'
        recipe = self.recipe("run", model)
        recipe.write_text(recipe.read_text().replace("micro_batch = 256", ""))
        self.assertFalse(self.plan(recipe)["model_tells"])
        self.assertIn("without what the units of the model keep and take", self.trainhost("plan", "--memory", "--recipe", recipe).stdout)
        done = self.trainhost("--recipe", recipe, "--set", "training.memory=4GB", expect=78)
        self.assertRegex(done.stderr, r"`training.memory`: model .* does not tell .* set training.recompute and training.micro_batch")

    def test_plan_is_asked_for(self):
        self.assertIn("give --memory", self.trainhost("plan", "--recipe", self.recipe("run"), expect=64).stderr)


if __name__ == "__main__":
    unittest.main()
