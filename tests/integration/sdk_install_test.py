"""Installed and moved elsewhere: the SDK alone, as a plugin author has it, and the program with its plugins."""
import math
import multiprocessing.pool
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from trainhost_run import BINARY, MINICPM, SOURCE, RunTest, training_log

BUILD = BINARY.parent.parent
TABLES = {"tokenizer": "tokenizer", "dataset_mixer": "mixer", "optimizer": "optimizer", "lr_scheduler": "schedule", "model": "model"}  # of recipes
NOTHING_OF_OURS = {"PATH": "/usr/bin:/bin"}  # the environment of a stranger; HOME is added

README_TOML = """
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
README_CMAKE = """
cmake_minimum_required(VERSION 3.25)
project(halving LANGUAGES CXX)
find_package(TrainHostSDK 1 CONFIG REQUIRED)
trainhost_add_plugin(halving MANIFEST plugin.toml SOURCES halving.cpp)
"""


def run(*command, expect=0, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != expect:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}, expected {expect}\n{done.stdout}")
    return done.stdout


def install(prefix, *components):
    for component in components:  # stripped of debug information, which does name places of this machine
        run("cmake", "--install", BUILD, "--prefix", prefix, "--component", component, "--strip")


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file())


class SdkInstallTest(RunTest):
    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="trainhost_test_"))
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)
        install(cls.home / "first", "sdk")
        cls.prefix = cls.home / "moved elsewhere"
        (cls.home / "first").rename(cls.prefix)
        cls.stranger = {**NOTHING_OF_OURS, "HOME": str(cls.home)}

    def new(self, *arguments, expect=0, prefix=None):
        return run((prefix or self.prefix) / "bin" / "trainhost-plugin", "new", *arguments, cwd=self.scratch, env=self.stranger, expect=expect)

    def build(self, name, prefix=None):
        """Builds a project of the scratch folder, and gives what the compilers said."""
        options = ("-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_PREFIX_PATH={prefix or self.prefix}")
        run("cmake", "-G", "Ninja", "-B", f"{name}/build", "-S", name, *options, cwd=self.scratch, env=self.stranger)
        return run("cmake", "--build", f"{name}/build", cwd=self.scratch, env=self.stranger)

    def new_project_passes(self, kind, language):
        name = f"my_{kind}_{language}"
        self.new(kind, name, "--language", language)
        said = self.build(name)
        run("ctest", "--test-dir", f"{name}/build", "--output-on-failure", "--no-tests=error", cwd=self.scratch, env=self.stranger)
        return kind, name, said

    def test_new_projects_of_every_kind_and_language_build_cleanly_pass_and_train(self):
        wanted = [(kind, language) for kind in TABLES for language in ("c", "cpp")]
        with multiprocessing.pool.ThreadPool(2) as pool:
            built = pool.starmap(self.new_project_passes, wanted)
        self.assertEqual(len(built), 10)
        recipe = self.recipe("run", tokens=4096, **{"optimizer.beta2 = 0.99": ""})
        for kind, name, said in built:
            self.assertNotIn("warning:", said)
            self.assertNotIn("@", (self.scratch / name / "README.md").read_text(), "a placeholder is left")
            self.assertNotIn(str(SOURCE), (self.scratch / name / "build" / "build.ninja").read_text())
            exported = run("nm", "-D", "--defined-only", self.scratch / name / "build" / f"{name}.so").split()
            self.assertEqual(exported[2::3], ["trainhost_plugin_entry"])
            table = f"{{plugin='{self.scratch}/{name}/build/{name}.so'{', peak_lr=0.01' if kind == 'lr_scheduler' else ''}}}"
            self.trainhost("--recipe", recipe, "--set", f"{TABLES[kind]}={table}", "--set", f"run.directory={self.scratch}/{name}/run")
            losses = [line["loss"] for line in training_log(self.scratch / name / "run") if line["kind"] == "step"]
            self.assertEqual(len(losses), 8)
            self.assertLess(losses[-1], losses[0], name)

    def test_nothing_installed_names_a_place_of_the_machine_that_built_it(self):
        names = files_of(self.prefix)
        self.assertIn("lib/cmake/TrainHostSDK/TrainHostSDKConfig.cmake", names)
        for name in names:
            file = self.prefix / name
            if file.is_symlink():
                self.assertTrue(file.exists() and not os.readlink(file).startswith("/"), name)
            else:
                for place in (SOURCE, BUILD, self.home):
                    self.assertNotIn(str(place).encode(), file.read_bytes(), name)
        needed = re.findall(r"\[(.*?)\]", run("readelf", "-d", self.prefix / "bin" / "trainhost-plugin"))
        self.assertIn("libstdc++.so.6", needed)
        self.assertEqual([name for name in needed if re.search(r"torch|c10|simdjson|boost|/", name)], [])

    def test_pkg_config(self):
        environment = {**self.stranger, "PKG_CONFIG_PATH": str(self.prefix / "lib" / "pkgconfig")}

        def ask(question):
            return run("pkg-config", question, "trainhost-sdk", env=environment).strip()
        header = (SOURCE / "sdk/include/trainhost/status.h").read_text()
        abi = ".".join(re.search(rf"TRAINHOST_ABI_{part} (\d+)", header).group(1) for part in ("MAJOR", "MINOR"))
        self.assertEqual(ask("--variable=abiversion"), abi)
        self.assertEqual(ask("--modversion"), abi)
        plugins = pathlib.Path(ask("--variable=plugindir").replace("\\ ", " "))
        self.assertEqual(plugins.resolve(), self.prefix / "lib" / "trainhost" / "plugins")
        (self.scratch / "uses.c").write_text("#include <trainhost/plugin.h>\n")
        run("sh", "-c", f"gcc -c -o uses.o {ask('--cflags')} uses.c", cwd=self.scratch, env=self.stranger)

    def test_another_major_version_is_refused(self):
        for version in ("0.9", "1.2", "2"):
            (self.scratch / "CMakeLists.txt").write_text(
                f"cmake_minimum_required(VERSION 3.25)\nproject(other LANGUAGES C)\nfind_package(TrainHostSDK {version} CONFIG REQUIRED)\n")
            said = run("cmake", "-B", version, f"-DCMAKE_PREFIX_PATH={self.prefix}", cwd=self.scratch, env=self.stranger, expect=1)
            self.assertIn("TrainHostSDKConfig.cmake, version: 1.1", said)

    def test_the_test_host_is_a_clean_header_in_every_mode(self):
        for compiler, language, standard in (("gcc", "c", "c11"), ("gcc", "c", "c17"), ("g++", "c++", "c++20"), ("clang-14", "c", "c11"),
                                             ("clang++-14", "c++", "c++20")):
            run(compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I",
                self.prefix / "include", "-", input="#include <trainhost/testing/host.h>\n", env=self.stranger)

    def test_new_refuses_what_it_cannot_make(self):
        (self.scratch / "taken").mkdir()
        for arguments, reason in ((("scheduler", "mine"), 'there is no kind "scheduler"; did you mean "lr_scheduler"?'),
                                  (("loss", "mine"), "there are tokenizer, dataset_mixer, optimizer, lr_scheduler, model"),
                                  (("model", "Mine"), '"Mine" is no name for a plugin: expected lower-case letters, digits and _, a letter first'),
                                  (("model", "../mine"), '"../mine" is no name for a plugin'),
                                  (("model", "2nd"), '"2nd" is no name for a plugin'),
                                  (("model", "test"), '"test" is no name for a plugin'),
                                  (("model", "taken"), '"taken" is there already'),
                                  (("model", "mine", "--language", "c++"), 'there is no language "c++"'),
                                  (("model",), "name")):
            with self.subTest(arguments=arguments):
                self.assertIn(reason, self.new(*arguments, expect=64))
        self.assertEqual(files_of(self.scratch), [])

    def test_debian_package(self):
        run("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", self.scratch / "package")
        package, = (self.scratch / "package").glob("trainhost-sdk_1.1*.deb")
        run("dpkg-deb", "-x", package, self.scratch / "root")
        self.assertEqual(files_of(self.scratch / "root" / "usr"), files_of(self.prefix))
        self.new("lr_scheduler", "mine", prefix=self.scratch / "root" / "usr")
        self.build("mine", prefix=self.scratch / "root" / "usr")

    def test_plugin_of_the_readme(self):
        code = re.search(r"```cpp\n(.*?)```", (SOURCE / "README.md").read_text(), re.S).group(1)
        (self.scratch / "halving").mkdir()
        for name, text in (("halving.cpp", code), ("plugin.toml", README_TOML), ("CMakeLists.txt", README_CMAKE)):
            (self.scratch / "halving" / name).write_text(text)
        self.build("halving")
        recipe = self.recipe("run")
        recipe.write_text(recipe.read_text().replace("[schedule]", '[schedule]\nplugin = "./halving/build/halving.so"'))
        self.trainhost("--recipe", recipe)
        self.assertEqual(self.learning_rates("run"), [0.01] * 10 + [0.005] * 10 + [0.0025] * 10 + [0.00125] * 10)

    def test_a_new_scheduler_trains(self):
        self.new("lr_scheduler", "waves")
        self.build("waves")
        recipe = self.recipe("run")  # 40 steps of 512 tokens
        recipe.write_text(recipe.read_text().replace("[schedule]", '[schedule]\nplugin = "wsd"\nwarmup = "10%"\ndecay = "20%"'))
        done = self.trainhost("--recipe", recipe, "--set", f"schedule.plugin={self.scratch}/waves/build/waves.so")
        self.assertIn('[schedule]: plugin "waves" has no decay; what', done.stderr)  # the other parameters are the recipe's

        def expected(step):  # warm-up over 4 steps, waves of 10
            if step < 4:
                return 0.01 * step / 4
            wave, place = divmod(step - 4, 10)
            return 0.01 * 0.5**wave * (0.1 + 0.9 * (1 + math.cos(math.pi * place / 10)) / 2)
        rates = self.learning_rates("run")
        self.assertEqual(len(rates), 40)
        for step, rate in enumerate(rates):
            self.assertAlmostEqual(rate, expected(step), delta=1e-12)

    def learning_rates(self, directory):
        return [line["learning_rate"] for line in training_log(self.scratch / directory) if line["kind"] == "step"]


class RuntimeInstallTest(RunTest):
    """The program of a prefix that was moved, with a plugin beside the shipped ones."""

    def setUp(self):
        super().setUp()
        self.prefix = self.scratch / "moved"
        install(self.scratch / "first", "sdk", "runtime", "plugins", "docs")
        run("cmake", "--install", BUILD, "--prefix", self.scratch / "first", "--component", "libtorch",
            env={**os.environ, "CMAKE_INSTALL_MODE": "SYMLINK"})  # a gigabyte
        (self.scratch / "first").rename(self.prefix)
        self.environment = {**NOTHING_OF_OURS, "HOME": str(self.scratch), "TRAINHOST_CACHE": str(self.scratch / "cache"), "NO_COLOR": "1"}

    def installed(self, *arguments):
        return run(self.prefix / "bin" / "trainhost", *arguments, cwd=self.scratch, env=self.environment)

    def test_it_trains_alone_and_on_two_processes(self):
        recipe = self.recipe("run", model=MINICPM, tokens=4096)
        self.installed("--recipe", recipe)
        losses = [line["loss"] for line in training_log(self.scratch / "run") if line["kind"] == "step"]
        self.assertEqual(len(losses), 8)
        self.assertLess(losses[-1], losses[0])
        self.installed("--processes", "2", "--recipe", recipe, "--set", f"run.directory={self.scratch}/two")
        self.assertEqual(sum(line["kind"] == "step" for line in training_log(self.scratch / "two")), 8)

    def test_a_plugin_that_is_installed_is_found_by_its_name(self):
        run(self.prefix / "bin" / "trainhost-plugin", "new", "optimizer", "mine", cwd=self.scratch, env=self.environment)
        run("cmake", "-G", "Ninja", "-B", "build", "-S", "mine", f"-DCMAKE_PREFIX_PATH={self.prefix}", cwd=self.scratch, env=self.environment)
        run("cmake", "--build", "build", cwd=self.scratch, env=self.environment)
        run("cmake", "--install", "build", cwd=self.scratch, env=self.environment)
        self.assertIn(f"{self.prefix}/lib/trainhost/plugins/mine.so", self.installed("plugins", "mine"))
        self.installed("--recipe", self.recipe("run", tokens=4096, **{"optimizer.beta2 = 0.99": ""}), "--set", "optimizer.plugin=mine")


if __name__ == "__main__":
    unittest.main()
