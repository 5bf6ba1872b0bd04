"""trainhost-plugin doctor: each reason why a plugin is not found or not loaded, with its fix."""
import json
import os
import pathlib
import shutil
import subprocess
import unittest

from trainhost_run import BINARY, RunTest

TOOL = BINARY.parent / "trainhost-plugin"
SHIPPED = BINARY.parent.parent / "plugins"
FIXTURES = BINARY.parent.parent / "tests" / "plugins"


class PluginDoctorTest(RunTest):
    def doctor(self, *arguments, expect=0):
        done = subprocess.run([TOOL, "doctor", *map(str, arguments)], env=self.environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout

    def report(self, *arguments, expect=0):
        return json.loads(self.doctor(*arguments, "--json", expect=expect))

    def folder(self, *plugins):
        folder = self.scratch / "folder"
        folder.mkdir(exist_ok=True)
        for plugin in plugins:
            shutil.copy(plugin, folder)
        self.environment["TRAINHOST_PLUGIN_PATH"] = str(folder)
        return folder

    def finding(self, name):
        """Of a fixture that lies alone in a folder: problem and fix."""
        folder = self.folder(FIXTURES / f"{name}.so")
        found, = [plugin for plugin in self.report(expect=70)["plugins"] if plugin["subject"] == f"{folder}/{name}.so"]
        return found["problem"], found["fix"]

    def test_everything_shipped_is_found_and_loads(self):
        report = self.report()
        self.assertEqual([plugin["problem"] for plugin in report["plugins"]], [""] * len(list(SHIPPED.glob("*.so"))))
        self.assertEqual(report["folders"], [{"path": str(SHIPPED), "named_by": "beside this program",
                                              "state": f"{len(report['plugins'])} plugins"}])

    def test_the_plugins_of_a_recipe(self):
        mine = self.scratch / "mine"
        mine.mkdir()
        recipe = self.recipe("run", more='[plugins]\npath = ["mine", "nowhere"]')
        text = self.doctor(recipe)
        self.assertIn("plugin ABI 1.1\n", text)
        self.assertIn(f"  {mine} ([plugins] path of the recipe): 0 plugins\n  {self.scratch}/nowhere ([plugins] path of the recipe): is not there\n"
                      f"  {SHIPPED} (beside this program): ", text)
        self.assertIn(f'  ok      [model] bigram\n          is model plugin "bigram" 1.0.0 ({SHIPPED}/bigram.so)\n', text)
        self.assertFalse((self.scratch / "run").exists())

    def test_a_plugin_that_is_not_found(self):
        recipe = self.recipe("run")
        report = self.report(recipe, "--set", "schedule.plugin=wds", expect=70)
        schedule, = [plugin for plugin in report["plugins"] if plugin["problem"]]
        self.assertEqual(schedule["subject"], "[schedule] wds")
        self.assertEqual(schedule["problem"], 'no lr_scheduler plugin is called "wds"')
        self.assertEqual(schedule["fix"], f'did you mean "wsd"? (looked in {SHIPPED})')
        report = self.report(recipe, "--set", f"schedule.plugin={SHIPPED}/adamw.so", expect=70)
        self.assertIn(f'"adamw" ({SHIPPED}/adamw.so) is an optimizer plugin, an lr_scheduler is needed here', str(report["plugins"]))

    def test_a_tool_that_is_installed_without_the_program_says_so(self):
        alone = self.scratch / "bin"
        alone.mkdir()
        shutil.copy(TOOL, alone)
        report = json.loads(subprocess.run([alone / "trainhost-plugin", "doctor", self.recipe("run"), "--json"], env=self.environment,
                                           capture_output=True, text=True, timeout=120).stdout)
        self.assertEqual(report["mistakes"], ["no folder has a plugin: run the trainhost-plugin that is installed beside the program, or name the "
                                              "folder of its plugins in TRAINHOST_PLUGIN_PATH"])

    def test_mistakes_of_the_recipe_come_too(self):
        recipe = self.recipe("run")
        report = self.report(recipe, "--set", "optimizer.beta3=0.5", expect=78)
        self.assertEqual(report["mistakes"], ['--set optimizer.beta3=0.5: unknown parameter `beta3` of optimizer plugin "adamw"; did you mean `beta1`?'])
        self.doctor("--set", "run.seed=1", expect=64)
        self.assertIn("cannot be read", str(self.report(self.scratch / "absent.toml", expect=78)["mistakes"]))

    def test_a_symbol_that_nobody_defines(self):
        self.assertEqual(self.finding("table_undefined_symbol"),
                         ("it uses nowhere_to_be_found, which no library defines that it needs",
                          "link the library that defines it; trainhost_add_plugin() finds such symbols when it links"))

    def test_a_library_that_is_missing(self):
        folder = self.folder()
        (self.scratch / "gone.c").write_text("int gone(void) { return 1; }\n")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", "libgone.so", "gone.c"], cwd=self.scratch, check=True)
        subprocess.run(["objcopy", "-O", "binary", "--only-section=.trainhost.manifest", FIXTURES / "mirror.so", "manifest"], cwd=self.scratch,
                       check=True)
        (self.scratch / "needs.c").write_text(
            "int gone(void);\n__attribute__((visibility(\"default\"))) const void *trainhost_plugin_entry(const void *h) { return gone() ? 0 : h; }\n")
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", "bare.so", "needs.c", "-L.", "-lgone", "-Wl,-rpath,$ORIGIN/lib"], cwd=self.scratch,
                       check=True)
        subprocess.run(["objcopy", "--add-section", ".trainhost.manifest=manifest", "bare.so", folder / "needs.so"], cwd=self.scratch, check=True)
        os.remove(self.scratch / "libgone.so")
        found, = [plugin for plugin in self.report(expect=70)["plugins"] if plugin["subject"].endswith("needs.so")]
        self.assertEqual(found["problem"], "it needs libgone.so, which is not found; its run path is $ORIGIN/lib")
        self.assertEqual(found["fix"], "install libgone.so, put it into a folder of the run path, or link it statically")

    def test_what_the_plugin_says_and_does(self):
        self.assertEqual(self.finding("table_refuses"), ("refuses to be used: this processor has no AVX-1024", ""))
        self.assertEqual(self.finding("table_no_entry"), ("does not export trainhost_plugin_entry",
                                                          "declare it with TRAINHOST_EXPORT or TRAINHOST_PLUGIN"))

    def test_a_file_that_is_no_plugin_or_open_to_all(self):
        folder = self.folder(FIXTURES / "mirror.so")
        self.assertEqual(self.finding("no_plugin"), ("is no trainhost plugin: it has no section .trainhost.manifest",
                                                     "build it with trainhost_add_plugin()"))
        os.chmod(folder / "mirror.so", 0o646)
        found, = [plugin for plugin in self.report(expect=70)["plugins"] if plugin["subject"].endswith("mirror.so")]
        self.assertEqual((found["problem"], found["fix"]),
                         ("everybody may write to it, so it is not trusted", f'chmod o-w "{folder}/mirror.so"'))


if __name__ == "__main__":
    unittest.main()
