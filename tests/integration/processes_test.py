"""Whole runs on several processes: the same bits on any number of them, however the work is spread, and over changes of the number."""
import os
import signal
import subprocess
import unittest

from trainhost_run import BINARY, MINICPM, RunTest, newest_checkpoint, read_log, training_log

LONG = "TRAINHOST_LONG_TESTS" in os.environ  # set it to run what takes minutes

# 12 sequences of 64 tokens a step, one at a time through the model: 1, 2, 3 and 4 processes can share them.
STEP_TOKENS = 768
SHARED = {"batch = 512\nmicro_batch = 256": f"batch = {STEP_TOKENS}\nmicro_batch = 64"}
SHARDINGS = ("none", "optimizer", "gradients", "parameters")


class ProcessesTest(RunTest):
    def setUp(self):
        super().setUp()
        self.environment["OMP_NUM_THREADS"] = "1"

    def shared_recipe(self, directory, steps, reduction="fixed"):
        return self.recipe(directory, MINICPM, tokens=f'{STEP_TOKENS * steps}\nreduction = "{reduction}"', name=f"{directory}.toml", **SHARED)

    def weights(self, directory):
        """All weights as one file, whatever wrote them."""
        output = self.scratch / f"{directory}.safetensors"
        output.unlink(missing_ok=True)
        self.trainhost("checkpoints", "consolidate", self.scratch / directory, "--output", output)
        return output.read_bytes()

    def run_on(self, processes, recipe, *settings, **options):
        arguments = [word for setting in settings for word in ("--set", setting)]
        return self.trainhost("--recipe", recipe, "--processes", processes, *arguments, **options)

    def losses(self, directory):
        return [line["loss"] for line in read_log(self.scratch / directory / "log" / "metrics.jsonl") if line["kind"] == "step"]

    def assert_same_run(self, first, second):
        self.assertEqual(self.weights(first), self.weights(second), second)
        self.assertEqual(training_log(self.scratch / first), training_log(self.scratch / second), second)

    def test_every_sharding_on_every_number_of_processes_gives_the_same_bits(self):
        self.run_on(1, self.shared_recipe("alone", 30))
        ways = [(2, "none"), (4, "optimizer"), (2, "gradients"), (4, "parameters")]
        if LONG:
            ways = [(processes, sharding) for processes in (2, 3, 4) for sharding in SHARDINGS]
        for processes, sharding in ways:
            with self.subTest(processes=processes, sharding=sharding):
                name = f"{sharding}_{processes}"
                self.run_on(processes, self.shared_recipe(name, 30), f"parallel.sharding={sharding}", "training.recompute=2")
                self.assert_same_run("alone", name)

    def test_pipeline_stages_with_data_parallel_ranks_give_the_same_bits(self):
        self.run_on(1, self.shared_recipe("alone", 30))
        self.run_on(4, self.shared_recipe("pipeline", 30), "parallel.pipeline_stages=2", "parallel.sharding=optimizer")
        self.assert_same_run("alone", "pipeline")

    def test_the_fast_reduction_differs_by_rounding_only(self):
        self.run_on(1, self.shared_recipe("alone", 30, "fast"), "training.micro_batch=64")
        expected = self.losses("alone")
        for processes, sharding in [(2, "none"), (4, "optimizer"), (4, "gradients"), (2, "parameters")]:
            with self.subTest(processes=processes, sharding=sharding):
                name = f"{sharding}_{processes}"
                self.run_on(processes, self.shared_recipe(name, 30, "fast"), f"parallel.sharding={sharding}")
                for step, (found, wanted) in enumerate(zip(self.losses(name), expected, strict=True)):
                    self.assertLess(abs(found / wanted - 1), 1e-5, f"step {step + 1}")

    def stop_and_go_on(self, directory, legs, steps):
        """Trains on a number of processes with a sharding, is stopped by SIGTERM to one rank, goes on with the next leg, to the end."""
        recipe = self.shared_recipe(directory, steps)
        for i, (processes, sharding) in enumerate(legs[:-1]):
            wanted = steps * (i + 1) // len(legs)
            code, output = self.stop_after_step(recipe, directory, wanted, arguments=["--processes", str(processes), "--set", f"parallel.sharding={sharding}"])
            self.assertEqual(code, 75, output)
        processes, sharding = legs[-1]
        self.run_on(processes, recipe, f"parallel.sharding={sharding}")

    def test_a_run_goes_on_with_another_number_of_processes(self):
        steps = 60
        self.run_on(1, self.shared_recipe("alone", steps))
        self.stop_and_go_on("chain", [(1, "none"), (2, "optimizer"), (4, "parameters"), (3, "gradients"), (1, "none")], steps)
        self.assert_same_run("alone", "chain")

    @unittest.skipUnless(LONG, "the twelve transitions take a minute; set TRAINHOST_LONG_TESTS")
    def test_the_twelve_transitions(self):
        steps = 40
        self.run_on(1, self.shared_recipe("alone", steps))
        pairs = [(first, second) for first in (1, 2, 3, 4) for second in (1, 2, 3, 4) if first != second]
        for i, (first, second) in enumerate(pairs):
            with self.subTest(first=first, second=second):
                name = f"from_{first}_to_{second}"
                self.stop_and_go_on(name, [(first, SHARDINGS[i % 4]), (second, SHARDINGS[(i + i // 4 + 1) % 4])], steps)
                self.assert_same_run("alone", name)

    def start_ranks(self, recipe, environments, settings=()):
        arguments = [BINARY, "--recipe", recipe]
        ranks = []
        for i, environment in enumerate(environments):
            extra = [word for setting in (settings[i] if settings else ()) for word in ("--set", setting)]
            rank = subprocess.Popen([*map(str, arguments), *extra], env={**self.environment, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.addCleanup(rank.stdout.close)
            self.addCleanup(rank.wait)
            self.addCleanup(rank.kill)
            ranks.append(rank)
        return ranks

    def finish(self, ranks):
        return [(rank.communicate(timeout=120)[0], rank.returncode) for rank in ranks]

    def plain_environments(self, size, port, token="0123456789abcdef0123456789abcdef", **more):
        return [{"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TRAINHOST_TOKEN": token,
                 **more} for rank in range(size)]

    def test_slurm_and_plain_variables_start_the_same_run(self):
        self.run_on(1, self.shared_recipe("alone", 12))
        port = self.free_port()
        slurm = [{"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0",
                  "SLURM_NTASKS": "3", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0", "SLURM_NODELIST": "localhost", "SLURM_JOB_NODELIST": "localhost",
                  "MASTER_PORT": str(port), "TRAINHOST_TOKEN": "0123456789abcdef0123456789abcdef"} for rank in range(3)]
        for name, environments in (("plain", self.plain_environments(2, port)), ("slurm", slurm)):
            with self.subTest(launcher=name):
                for output, code in self.finish(self.start_ranks(self.shared_recipe(name, 12), environments)):
                    self.assertEqual(code, 0, output)
                self.assert_same_run("alone", name)

    def assert_all_refuse(self, ranks, code, *texts):
        for output, found in self.finish(ranks):
            self.assertEqual(found, code, output)
            for text in texts:
                self.assertIn(text, output)

    def test_ranks_that_differ_are_refused_on_every_rank(self):
        environments = self.plain_environments(2, self.free_port())
        recipe = self.shared_recipe("differ", 12)
        self.assert_all_refuse(self.start_ranks(recipe, environments, [[], ["run.seed=7"]]), 78, "rank 1 has another recipe than rank 0")
        environments = self.plain_environments(2, self.free_port())
        self.assert_all_refuse(self.start_ranks(recipe, environments, [[], ["parallel.sharding=optimizer"]]), 78,
                               "rank 1 has another way to share the work")

    def test_work_that_cannot_be_shared_is_refused_on_every_rank(self):
        recipe = self.shared_recipe("uneven", 12)
        done = self.run_on(5, recipe, expect=78)
        self.assertEqual(done.stderr.count("a step of 12 sequences of 64 tokens cannot be shared equally by 5 processes; the nearest batches that "
                                           "can: 640 and 960 tokens"), 5, done.stderr)
        done = self.run_on(3, recipe, "parallel.pipeline_stages=2", expect=78)
        self.assertEqual(done.stderr.count("3 processes cannot be cut into 2 pipeline stages of equal size"), 3, done.stderr)
        done = self.run_on(6, recipe, "parallel.pipeline_stages=6", expect=78)
        self.assertEqual(done.stderr.count("parallel.pipeline_stages is 6, but the model has only 4 units"), 6, done.stderr)

    def test_a_signal_to_one_rank_makes_all_save_the_same_step(self):
        recipe = self.shared_recipe("stopped", 400)
        for with_signal in (signal.SIGTERM, signal.SIGUSR1):
            ranks = self.start_ranks(recipe, self.plain_environments(2, self.free_port()))
            self.wait_for_step("stopped", 10 if with_signal == signal.SIGTERM else 40)
            ranks[1].send_signal(with_signal)
            for output, code in self.finish(ranks):
                self.assertEqual(code, 75, output)
        step = int(newest_checkpoint(self.scratch / "stopped").name.split("-")[1])
        self.assertGreaterEqual(step, 40)
        self.assertLess(step, 400)

    def test_a_second_run_on_the_directory_is_refused(self):
        recipe = self.shared_recipe("busy", 4000)
        first = self.start_ranks(recipe, self.plain_environments(2, self.free_port()))
        self.wait_for_step("busy", 2)
        done = self.run_on(2, recipe, expect=69)
        self.assertIn("is in use by", done.stderr)
        for rank in first:
            rank.send_signal(signal.SIGTERM)
        for output, code in self.finish(first):
            self.assertEqual(code, 75, output)


if __name__ == "__main__":
    unittest.main()
