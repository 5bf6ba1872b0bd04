"""trainhost-plugin validate: all shipped plugins keep every rule, and each rule finds the plugin that breaks it."""
import json
import os
import pathlib
import subprocess
import unittest
import xml.etree.ElementTree

BUILD = pathlib.Path(os.environ["TRAINHOST_BINARY_DIR"])
SOURCE = pathlib.Path(os.environ["TRAINHOST_SOURCE_DIR"])
TOOL = BUILD / "bin" / "trainhost-plugin"
FIXTURES = BUILD / "tests" / "plugins"
KINDS = ("lr_scheduler", "dataset_mixer", "tokenizer", "optimizer", "model")


def validate(plugin, *arguments):
    return subprocess.run([TOOL, "validate", plugin, *arguments], capture_output=True, text=True, timeout=300)


def results(plugin, *arguments):
    """Result by rule id, and the exit code."""
    done = validate(plugin, "--json", *arguments)
    return {rule["id"]: rule for rule in json.loads(done.stdout)["rules"]}, done.returncode


class ValidateTest(unittest.TestCase):
    def test_shipped_plugins_keep_every_rule(self):
        plugins = sorted((BUILD / "plugins").glob("*.so"))
        self.assertGreater(len(plugins), 8)
        for plugin in plugins + [FIXTURES / f"{name}.so" for name in ("trust_ratio", "orthogonal", "autograd")]:
            with self.subTest(plugin.name):
                done = validate(plugin)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_rule_finds_the_plugin_that_breaks_it(self):
        for kind in KINDS:
            plugin = FIXTURES / f"rule_breaking_{kind}.so"
            right, code = results(plugin)
            self.assertEqual((code, [rule for rule in right.values() if rule["result"] == "failed"]), (0, []))
            for rule in right:
                if rule == "TH-ALL-01":  # of loading; see below
                    continue
                with self.subTest(rule, kind=kind):
                    found, code = results(plugin, "--set", f"breaks={rule}")
                    self.assertEqual(found[rule]["result"], "failed", found[rule])
                    self.assertEqual(code, 76)

    def test_each_rule_is_explained(self):
        explained = (SOURCE / "sdk" / "docs" / "rules.md").read_text()
        for kind in KINDS:
            for rule, facts in results(FIXTURES / f"rule_breaking_{kind}.so")[0].items():
                self.assertIn(f"| {rule} | {facts['text']} |", explained)

    def test_a_table_with_a_null_slot_does_not_load(self):
        found, code = results(FIXTURES / "table_null_slot.so", "--only", "TH-ALL-01")
        self.assertEqual((found["TH-ALL-01"]["result"], code), ("failed", 76))
        self.assertIn("null in the required slot", found["TH-ALL-01"]["found"])

    def test_the_end_of_the_process_is_found_and_named(self):
        misbehaving = FIXTURES / "rule_breaking_lr_scheduler.so"
        found, _ = results(misbehaving, "--set", "breaks=TH-LR-03", "--only", "TH-LR-03")
        self.assertIn("SIGSEGV", found["TH-LR-03"]["found"])
        self.assertIn("values", found["TH-LR-03"]["found"])

    def test_reports(self):
        plugin = FIXTURES / "rule_breaking_optimizer.so"
        report = BUILD / "tests" / "validate_junit.xml"
        done = validate(plugin, "--set", "breaks=TH-OPT-05", "--skip", "TH-ALL-04", "--junit", report)
        self.assertEqual(done.returncode, 76)
        self.assertIn("FAILED  TH-OPT-05", done.stdout)
        self.assertNotIn("TH-ALL-04", done.stdout)
        suite = xml.etree.ElementTree.parse(report).getroot()
        failed = [case.get("name") for case in suite if case.find("failure") is not None]
        self.assertEqual(len(failed), int(suite.get("failures")))
        self.assertTrue(failed[0].startswith("TH-OPT-05: "))

    def test_bad_arguments(self):
        plugin = FIXTURES / "rule_breaking_optimizer.so"
        for arguments, code, text in ((("--only", "TH-OPT-5"), 64, "did you mean TH-OPT-05"), (("--set", "break=1"), 64, "breaks"),
                                      (("--set", "breaks"), 64, "NAME=VALUE"), (("--limit", "x"), 64, "limit")):
            done = validate(plugin, *arguments)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(text, done.stderr)
        done = validate(FIXTURES / "there_is_none.so")
        self.assertEqual(done.returncode, 65)
        self.assertIn("there_is_none.so", done.stderr)

    def test_nothing_of_a_wrong_file_is_run(self):
        done = validate(FIXTURES / "no_plugin.so")
        self.assertEqual(done.returncode, 76)
        self.assertIn("FAILED  TH-LIB-02", done.stdout)


if __name__ == "__main__":
    unittest.main()
