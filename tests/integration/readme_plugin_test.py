"""The plugin of the README, built outside the tree against sdk/ alone, and used by a recipe."""
import re
import subprocess
import unittest

from trainhost_run import SOURCE, RunTest, training_log

PLUGIN_TOML = """
id = "org.example.halving"
name = "halving"
kind = "lr_scheduler"
version = "0.1.0"
summary = "halves the learning rate every so many tokens"
minimum_abi = "1.0"
[[parameter]]
name = "peak_lr"
type = "number"
required = true
doc = "learning rate at the start"
[[parameter]]
name = "every"
type = "amount"
default = "25%"
doc = "length after which it is halved"
"""

CMAKE_LISTS = f"""
cmake_minimum_required(VERSION 3.25)
project(halving LANGUAGES C CXX)
add_subdirectory({SOURCE}/sdk sdk)
trainhost_add_plugin(halving MANIFEST plugin.toml SOURCES halving.cpp)
"""


class ReadmePluginTest(RunTest):
    def test_it_builds_and_halves_the_learning_rate(self):
        code = re.search(r"```cpp\n(.*?)```", (SOURCE / "README.md").read_text(), re.S).group(1)
        for name, text in (("halving.cpp", code), ("plugin.toml", PLUGIN_TOML), ("CMakeLists.txt", CMAKE_LISTS)):
            (self.scratch / name).write_text(text)
        for command in (("cmake", "-G", "Ninja", "-B", "build", "."), ("cmake", "--build", "build")):
            done = subprocess.run(command, cwd=self.scratch, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        recipe = self.recipe("run")
        recipe.write_text(recipe.read_text().replace("[schedule]", '[schedule]\nplugin = "./build/halving.so"'))
        self.trainhost("--recipe", recipe)
        rates = [line["learning_rate"] for line in training_log(self.scratch / "run") if line["kind"] == "step"]
        self.assertEqual(rates, [0.01] * 10 + [0.005] * 10 + [0.0025] * 10 + [0.00125] * 10)


if __name__ == "__main__":
    unittest.main()
