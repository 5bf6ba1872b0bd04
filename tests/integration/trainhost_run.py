"""Runs the built trainhost in a scratch folder, for the integration tests."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

BINARY = pathlib.Path(os.environ["TRAINHOST_BINARY_DIR"]) / "bin" / "trainhost"
SOURCE = pathlib.Path(os.environ["TRAINHOST_SOURCE_DIR"])
SMALL = SOURCE / "recipes" / "data" / "small"

BIGRAM = 'plugin = "bigram"'
MINICPM = 'plugin = "minicpm"\nlayers = 2\nwidth = 32\nheads = 2\nkv_heads = 1\nfeed_forward = 64'

RECIPE = """
[run]
directory = "{directory}"
tokens = {tokens}
[[source]]
name = "english"
paths = ["{small}/english.txt"]
held_out = 0.1
[[source]]
name = "questions"
paths = ["{small}/questions.jsonl"]
format = "chat"
loss_on = "answers"
held_out = 0.1
[tokenizer]
plugin = "byte"
[packing]
sequence_length = 64
[model]
{model}
[schedule]
peak_lr = 0.01
[[phase]]
name = "stable"
until = "70%"
mix = {{ english = 1.0 }}
[[phase]]
name = "annealing"
mix = {{ english = 0.5, questions = 0.5 }}
optimizer.beta2 = 0.99
[training]
batch = 512
micro_batch = 256
[checkpoint]
every = "20%"
keep = 2
[evaluation]
every = "25%"
tokens = 2048
[sampling]
prompts = ["The"]
tokens = 8
{more}
"""


class RunTest(unittest.TestCase):
    """A test with a scratch folder; self.recipe(...) writes one and returns its path."""

    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="trainhost_test_"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.environment = {**os.environ, "TRAINHOST_CACHE": str(self.scratch / "cache"), "NO_COLOR": "1",
                            "OMP_WAIT_POLICY": "passive"}  # threads that wait by spinning would starve each other on a busy machine

    def recipe(self, directory, model=BIGRAM, tokens=20480, more="", name="recipe.toml", **replacements):
        text = RECIPE.format(directory=self.scratch / directory, tokens=tokens, small=SMALL, model=model, more=more)
        for old, new in replacements.items():
            text = text.replace(old, new)
        path = self.scratch / name
        path.write_text(text)
        return path

    def trainhost(self, *arguments, expect=0, timeout=240, **options):
        done = subprocess.run([BINARY, *map(str, arguments)], env=self.environment, capture_output=True, text=True, timeout=timeout, **options)
        self.assertEqual(done.returncode, expect, f"trainhost {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *arguments, **options):
        return subprocess.Popen([BINARY, *map(str, arguments)], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                **options)

    def stop_after_step(self, recipe, directory, step, with_signal=signal.SIGTERM, arguments=()):
        """Runs until the log shows the step, sends the signal, returns (exit code, output)."""
        process = self.start("--recipe", recipe, *arguments)
        log = self.scratch / directory / "log" / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if any(line["step"] >= step for line in read_log(log) if line["kind"] == "step"):
                process.send_signal(with_signal)
                break
            time.sleep(0.002)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def wait_for_step(self, directory, step):
        log = self.scratch / directory / "log" / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not any(line["step"] >= step for line in read_log(log) if line["kind"] == "step"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.002)

    def wait_for_text(self, path, text, skip=0):
        """Until the file says it, after so many characters."""
        deadline = time.monotonic() + 60
        while text not in path.read_text()[skip:]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    @staticmethod
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]


def read_log(path):
    lines = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                pass  # the line that is being written
    return lines


def training_log(run_directory):
    """The log without what depends on the clock and the machine."""
    clock = ("seconds", "tokens_per_second", "utilisation", "peak_memory", "directory", "recipe")
    return [{key: value for key, value in line.items() if key not in clock} for line in read_log(run_directory / "log" / "metrics.jsonl")]


def newest_checkpoint(run_directory):
    return sorted((run_directory / "checkpoints").glob("step-*"))[-1]


def tensors(checkpoint):
    """All tensors by name; of bfloat16, which NumPy has not, the bits."""
    import numpy
    import safetensors
    types = {"F32": numpy.float32, "BF16": numpy.uint16}
    loaded = {}
    for file in sorted(checkpoint.glob("*.safetensors")):
        for name, tensor in safetensors.deserialize(file.read_bytes()):
            loaded[name] = numpy.frombuffer(bytes(tensor["data"]), types[tensor["dtype"]]).reshape(tensor["shape"])
    return loaded
