"""trainhost doctor: what it finds, and what it takes for a reason not to train."""
import json
import os
import pathlib
import shutil
import subprocess
import unittest

from trainhost_run import BINARY, RunTest

SECRET = "0123456789abcdef" * 4


class DoctorTest(RunTest):
    def setUp(self):
        super().setUp()
        for name in list(self.environment):
            if name.startswith(("SLURM_", "TORCHELASTIC_", "TRAINHOST_RANK", "OMP_")) or name in ("RANK", "WORLD_SIZE"):
                del self.environment[name]

    def doctor(self, expect=0, **variables):
        self.environment |= variables
        done = self.trainhost("doctor", "--json", expect=expect)
        self.assertNotIn(SECRET, done.stdout + done.stderr)
        return json.loads(done.stdout), done.stderr

    def test_a_process_alone(self):
        found, _ = self.doctor()
        self.assertEqual(found["launch"]["started_by"], "no launcher")
        self.assertEqual(found["launch"]["world_size"], 1)
        cores = len(os.sched_getaffinity(0))
        self.assertEqual((found["machine"]["cores"], found["machine"]["threads"]), (cores, cores))
        flags = next(line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
        names = {"AVX2": "avx2", "FMA": "fma", "AVX-512": "avx512f", "AVX-512 BF16": "avx512_bf16"}
        self.assertEqual(found["machine"]["instruction_sets"], [name for name, flag in names.items() if flag in flags])
        memory = int(pathlib.Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) * 1024
        self.assertEqual(found["machine"]["memory_bytes"], memory)
        self.assertLess(found["machine"]["memory_available_bytes"], memory)
        self.assertIn("127.0.0.1", found["network"]["lo"])
        self.assertTrue(found["several_processes"]["possible"], found["several_processes"])
        self.assertIn("minicpm", found["plugins"]["model"])
        self.assertIn("adamw", found["plugins"]["optimizer"])
        self.assertFalse(any(problem["prevents_training"] for problem in found["problems"]), found["problems"])

    def test_cuda_is_found_where_nvidia_smi_finds_it(self):
        found, _ = self.doctor()
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True) if shutil.which("nvidia-smi") else None
        self.assertEqual(found["cuda"]["found"], listed is not None and listed.returncode == 0 and "GPU 0" in listed.stdout)
        if not found["cuda"]["found"]:
            self.assertTrue(found["cuda"]["reason"])

    def test_each_launcher(self):
        ranks = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "TRAINHOST_TOKEN": SECRET}
        plain, _ = self.doctor(**ranks)
        self.assertEqual(plain["launch"]["started_by"], "plain environment variables")
        self.assertEqual(plain["launch"]["master"], "127.0.0.1:29500")
        self.assertEqual(plain["launch"]["variables"]["TRAINHOST_TOKEN"], "(64 characters)")
        torchrun, _ = self.doctor(GROUP_RANK="0", LOCAL_RANK="1", LOCAL_WORLD_SIZE="2", TORCHELASTIC_USE_AGENT_STORE="True")
        self.assertEqual((torchrun["launch"]["started_by"], torchrun["launch"]["store"]), ("torchrun", "torchrun's"))
        for name in (*ranks, "GROUP_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            self.environment.pop(name)
        slurm, _ = self.doctor(SLURM_PROCID="1", SLURM_LOCALID="1", SLURM_NODEID="0", SLURM_NTASKS="2", SLURM_STEP_ID="0", SLURM_JOB_ID="12",
                               SLURM_JOB_NODELIST="node[7]", TRAINHOST_TOKEN=SECRET)
        self.assertEqual((slurm["launch"]["started_by"], slurm["launch"]["master"]), ("Slurm", "127.0.0.1:15012"))

    def test_a_launch_that_cannot_work_is_a_problem(self):
        found, errors = self.doctor(expect=64, RANK="0", WORLD_SIZE="two")
        self.assertEqual(found["problems"], [{"text": 'WORLD_SIZE is "two", expected a whole number from 1 to 65536', "prevents_training": True}])
        self.assertEqual(errors, 'error: training would fail here: WORLD_SIZE is "two", expected a whole number from 1 to 65536\n')
        self.assertEqual(found["launch"]["variables"], {"RANK": "0", "WORLD_SIZE": "two"})

    def test_too_many_threads_and_a_refused_plugin_are_pointed_out(self):
        (self.scratch / "plugins").mkdir()
        (self.scratch / "plugins" / "broken.so").write_text("not a library")
        cores = len(os.sched_getaffinity(0))
        found, _ = self.doctor(OMP_NUM_THREADS=str(3 * cores), TRAINHOST_PLUGIN_PATH=str(self.scratch / "plugins"))
        threads, plugin = found["problems"]
        self.assertEqual(threads["text"], f"{3 * cores} threads on {cores} cores are slower than one on each: export OMP_NUM_THREADS={cores}")
        self.assertTrue(plugin["text"].startswith(str(self.scratch / "plugins" / "broken.so")), plugin)
        self.assertFalse(threads["prevents_training"] or plugin["prevents_training"])
        self.assertIn(f"  {plugin['text']}\n", self.trainhost("doctor").stdout)

    def test_a_program_without_its_plugins_and_modules_cannot_train(self):
        (self.scratch / "bin").mkdir()
        (self.scratch / "lib").mkdir()
        shutil.copy(BINARY, self.scratch / "bin")
        for library in (BINARY.parent.parent / "lib").glob("libsimdjson*"):
            shutil.copy(library, self.scratch / "lib")
        run = lambda: subprocess.run([self.scratch / "bin" / "trainhost", "doctor", "--json"], env=self.environment, capture_output=True, text=True)
        done = run()
        self.assertEqual(done.returncode, 70, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(len(found["problems"]), 5)
        self.assertIn(f"there is no tokenizer plugin in {self.scratch}/plugins: copy it there, or name its folder in TRAINHOST_PLUGIN_PATH", done.stderr)
        self.assertFalse(found["several_processes"]["possible"])
        self.assertIn("libtrainhost_c10d.so", found["several_processes"]["reason"])
        self.environment |= {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500", "TRAINHOST_TOKEN": SECRET}
        self.assertIn("libtrainhost_c10d.so", run().stderr)


if __name__ == "__main__":
    unittest.main()
