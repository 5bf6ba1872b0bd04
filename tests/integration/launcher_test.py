"""Several processes of the real program: restarts, signals, exit codes, what the ranks leave behind, and the other launchers."""
import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import unittest

from trainhost_run import BINARY, MINICPM, RunTest, newest_checkpoint, read_log, tensors, training_log


def children_of(process):
    """The processes that this one has started."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status["PPid"]) == process:
            found.append(int(folder.name))
    return found


class LauncherTest(RunTest):
    def wait_for_step(self, directory, step, process):
        log = self.scratch / directory / "log" / "metrics.jsonl"
        deadline = time.monotonic() + 60
        while not any(line["step"] >= step for line in read_log(log) if line["kind"] == "step"):
            self.assertIsNone(process.poll(), "ended too early")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.002)

    def launch(self, directory, *arguments, processes=1):
        """(the launcher at work, its last rank, the recipe), a few steps into a run of 400."""
        recipe = self.recipe(directory, MINICPM, tokens=204800, name=f"{directory}.toml")
        process = self.start("--recipe", recipe, "--processes", processes, *arguments)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_for_step(directory, 5, process)
        ranks = sorted(children_of(process.pid))
        self.assertEqual(len(ranks), processes)
        return process, ranks[-1], recipe

    def finish(self, process):
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def test_every_rank_refuses_a_bad_recipe_and_is_not_started_again(self):
        recipe = self.recipe("run", held_out="held_in")
        done = self.trainhost("--recipe", recipe, "--processes", 3, expect=78)
        for prefix in ("error: ", "[rank 1] error: ", "[rank 2] error: "):
            self.assertIn(f"{prefix}{recipe}", done.stderr)
        self.assertEqual(done.stderr.count("`source.held_in`: unknown key"), 6)  # two sources, three ranks: each started once
        self.assertRegex(done.stderr.splitlines()[-1], r"error: rank \d \(process \d+\) ended with exit code 78, which another start would not change")

    def test_when_a_rank_is_killed_all_start_again_and_end_as_an_undisturbed_run(self):
        process, rank, _ = self.launch("disturbed", processes=2)
        os.kill(rank, signal.SIGKILL)
        code, output = self.finish(process)
        self.assertEqual(code, 0, output)
        self.assertIn(f"warning: rank 1 (process {rank}) was killed by signal 9 (Killed)", output)
        self.assertIn("all ranks start again (restart 1 of 3)", output)
        self.trainhost("--recipe", self.recipe("undisturbed", MINICPM, tokens=204800, name="undisturbed.toml"), "--processes", 2)
        self.assertEqual(training_log(self.scratch / "disturbed"), training_log(self.scratch / "undisturbed"))
        expected = tensors(newest_checkpoint(self.scratch / "undisturbed"))
        for name, values in tensors(newest_checkpoint(self.scratch / "disturbed")).items():
            self.assertEqual(values.tobytes(), expected[name].tobytes(), name)

    def test_no_restart_where_none_is_wanted(self):
        process, rank, _ = self.launch("run", "--restarts", 0)
        os.kill(rank, signal.SIGKILL)
        code, output = self.finish(process)
        self.assertEqual(code, 69)
        self.assertIn("; the 0 restarts are used up", output)

    def test_stop_signals_save_and_end_with_75(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process, rank, _ = self.launch(f"run{number}", processes=2)
            process.send_signal(number)
            code, output = self.finish(process)
            self.assertEqual(code, 75, output)
            last = [line["step"] for line in read_log(self.scratch / f"run{number}" / "log" / "metrics.jsonl") if line["kind"] == "step"][-1]
            self.assertEqual(newest_checkpoint(self.scratch / f"run{number}").name, f"step-{last:09d}", "the last step was saved")
            self.assertNotIn("restart", output)

    def test_a_signal_to_one_rank_stops_all(self):
        process, rank, _ = self.launch("run", processes=2)
        os.kill(rank, signal.SIGTERM)
        code, output = self.finish(process)
        self.assertEqual(code, 75, output)
        self.assertNotIn("restart", output)

    def test_a_scheduler_that_signals_launcher_and_rank_at_once_has_the_run_saved(self):
        process, rank, _ = self.launch("run")
        process.send_signal(signal.SIGTERM)
        os.kill(rank, signal.SIGTERM)
        code, output = self.finish(process)
        self.assertEqual(code, 75, output)
        last = [line["step"] for line in read_log(self.scratch / "run" / "log" / "metrics.jsonl") if line["kind"] == "step"][-1]
        self.assertEqual(newest_checkpoint(self.scratch / "run").name, f"step-{last:09d}")

    def test_a_killed_launcher_leaves_no_rank_and_the_run_goes_on(self):
        process, rank, recipe = self.launch("run")
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while pathlib.Path(f"/proc/{rank}").exists() and "\nState:\tZ" not in pathlib.Path(f"/proc/{rank}/status").read_text():
            self.assertLess(time.monotonic(), deadline, "the rank still runs")
            time.sleep(0.01)
        self.trainhost("--recipe", recipe, "--processes", 1)
        self.assertEqual(newest_checkpoint(self.scratch / "run").name, "step-000000400")

    def test_an_ignored_hangup_stays_ignored(self):
        recipe = self.recipe("run", MINICPM, tokens=204800)
        process = self.start("--recipe", recipe, "--processes", 1, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.addCleanup(process.stdout.close)
        self.wait_for_step("run", 5, process)
        process.send_signal(signal.SIGHUP)
        for rank in children_of(process.pid):
            os.kill(rank, signal.SIGHUP)
        code, output = self.finish(process)
        self.assertEqual(code, 0, output)

    def run_by_hand(self, directory, *environments):
        """A process for each environment, all to their end."""
        recipe = self.recipe(directory, MINICPM, name=f"{directory}.toml")
        processes = [subprocess.Popen([BINARY, "--recipe", recipe], env=self.environment | environment, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True) for environment in environments]
        for process in processes:
            code, output = self.finish(process)
            self.assertEqual(code, 0, output)

    def assert_same_end(self, directory):
        """As two processes of our own launcher."""
        if not (self.scratch / "own").exists():
            self.trainhost("--recipe", self.recipe("own", MINICPM, name="own.toml"), "--processes", 2)
        expected = tensors(newest_checkpoint(self.scratch / "own"))
        found = tensors(newest_checkpoint(self.scratch / directory))
        self.assertEqual({name: values.tobytes() for name, values in found.items()},
                         {name: values.tobytes() for name, values in expected.items()})

    def test_plain_variables_and_slurm_train_the_same(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        both = {"TRAINHOST_TOKEN": "0123456789abcdef" * 4, "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        self.environment["OMP_NUM_THREADS"] = "1"
        self.run_by_hand("plain", *({**both, "MASTER_ADDR": "localhost", "WORLD_SIZE": "2", "RANK": str(rank)} for rank in range(2)))
        self.assert_same_end("plain")
        self.run_by_hand("slurm", *({**both, "SLURM_NTASKS": "2", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0",
                                     "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "81234", "SLURM_JOB_NAME": "pretrain",
                                     "SLURM_STEP_NODELIST": "gpu[07]", "SLURM_STEP_TASKS_PER_NODE": "2"} for rank in range(2)))
        self.assert_same_end("slurm")

    @unittest.skipUnless(importlib.util.find_spec("torch"), "PyTorch, whose torchrun this needs, is not installed")
    def test_torchrun_trains_the_same_and_learns_why_a_rank_failed(self):
        self.environment["OMP_NUM_THREADS"] = "1"
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", BINARY, "--recipe"]
        done = subprocess.run([*torchrun, self.recipe("torchrun", MINICPM, name="torchrun.toml")], env=self.environment, capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_same_end("torchrun")
        bad = self.recipe("bad", name="bad.toml", held_out="held_in")
        done = subprocess.run([*torchrun, bad], env=self.environment, capture_output=True, text=True)
        self.assertIn("Root Cause", done.stderr)
        self.assertIn(f"traceback : {bad}:8:1: `source.held_in`: unknown key", done.stderr)

    def test_bad_command_lines(self):
        recipe = self.recipe("run")
        cases = {
            ("--processes", 0): "--processes is 0, expected 1 or more",
            ("--restarts", 2): "--restarts and --rank-logs go with --processes",
            ("--rank-logs", "logs"): "--restarts and --rank-logs go with --processes",
            ("--processes", "two"): "the argument ('two') for option '--processes' is invalid",
        }
        for arguments, message in cases.items():
            self.assertIn(message, self.trainhost("--recipe", recipe, *arguments, expect=64).stderr)
        self.environment |= {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500", "TRAINHOST_TOKEN": "a" * 64}
        self.assertIn("--processes 2 in one of 2 processes that are there already (plain environment variables): leave one of the two out",
                      self.trainhost("--recipe", recipe, "--processes", 2, expect=64).stderr)
        self.environment["WORLD_SIZE"] = "many"
        self.assertIn('WORLD_SIZE is "many", expected a whole number from 1 to 65536', self.trainhost("--recipe", recipe, expect=64).stderr)

    def test_the_launcher_that_wants_to_know_why_is_told(self):
        self.environment["TORCHELASTIC_ERROR_FILE"] = str(self.scratch / "error.json")
        recipe = self.recipe("run", held_out="held_in")
        self.trainhost("--recipe", recipe, expect=78)
        message = json.loads((self.scratch / "error.json").read_text())["message"]
        self.assertIn("`source.held_in`: unknown key", message["message"])
        self.assertLess(abs(int(message["extraInfo"]["timestamp"]) - time.time()), 60)


if __name__ == "__main__":
    unittest.main()
