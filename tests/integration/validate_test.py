"""trainhost-plugin validate: all shipped plugins keep every rule, and each rule finds the plugin that breaks it."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

import bad_plugin_files_test as bad_files

BUILD = pathlib.Path(os.environ["TRAINHOST_BINARY_DIR"])
SOURCE = pathlib.Path(os.environ["TRAINHOST_SOURCE_DIR"])
TOOL = BUILD / "bin" / "trainhost-plugin"
FIXTURES = BUILD / "tests" / "plugins"
KINDS = ("lr_scheduler", "dataset_mixer", "tokenizer", "optimizer", "model")


# What is wrong with a misbehaving plugin, the rule that finds it, and words of what it says: kind, call, how.
HOW = {
    "crash": "the process was ended by SIGSEGV", "crash in parallel": "the process was ended by SIGSEGV",
    "stack overflow": "the process was ended by SIGSEGV", "abort": "the process was ended by SIGABRT",
    "exit": "the plugin ended the process with exit status 0", "quick exit": "the plugin ended the process with exit status 0", "hang": "not done after 1 s",
    "exception": "told to throw",
    "no status": "returned 99, which is no th_status",
}
WORK = {"lr_scheduler": "values", "optimizer": "update", "tokenizer": "encode", "dataset_mixer": "plan", "model": "forward"}
RESULTS = (
    ("lr_scheduler", "values", "negative", "TH-ALL-02", "learning_rate is -0.5"),
    ("lr_scheduler", "values", "not a number", "TH-ALL-02", "learning_rate is nan"),
    ("lr_scheduler", "values", "endless decay", "TH-ALL-02", "weight_decay_multiplier is inf"),
    ("lr_scheduler", "values", "endless momentum", "TH-ALL-02", "momentum is inf"),
    ("optimizer", "granularity", "three", "TH-ALL-02", "granularity: gave 3"),
    ("optimizer", "describe_states", "no name", "TH-ALL-02", "a state has no name"),
    ("optimizer", "describe_states", "same name", "TH-ALL-02", 'state "average" is there twice'),
    ("optimizer", "describe_states", "too many", "TH-ALL-02", "102 states"),
    ("optimizer", "describe_states", "rank", "TH-ALL-02", "has rank 5"),
    ("optimizer", "describe_states", "empty", "TH-ALL-02", "has extent 0"),
    ("optimizer", "describe_states", "float16", "TH-ALL-02", "is neither float32 nor bfloat16"),
    ("optimizer", "describe_states", "not a number", "TH-ALL-02", "begins with nan"),
    ("optimizer", "update", "not a number", "TH-ALL-02", 'parameter "matrix" is not finite after an update'),
    ("optimizer", "update", "no number at all", "TH-ALL-02", 'parameter "matrix" is not finite after an update'),
    ("tokenizer", "describe", "no ids", "TH-ALL-02", "vocabulary_size is 0"),
    ("tokenizer", "describe", "end beyond", "TH-ALL-02", "end_id is 256"),
    ("tokenizer", "encode", "id beyond", "TH-ALL-02", "gave id 300"),
    ("tokenizer", "train", "exception", "TH-ALL-02", "told to throw"),
    ("dataset_mixer", "plan", "no such source", "TH-ALL-02", "comes from source 3"),
    ("dataset_mixer", "plan", "no share", "TH-MIX-03", "its share"),
    ("dataset_mixer", "plan", "no windows", "TH-MIX-03", "its share"),
    ("dataset_mixer", "counts", "one short", "TH-ALL-02", "add up to"),
    ("model", "parameter_info", "no name", "TH-ALL-02", "has no name"),
    ("model", "parameter_info", "same name", "TH-ALL-02", "is there twice"),
    ("model", "parameter_info", "empty", "TH-ALL-02", "has extent 0"),
    ("model", "parameter_info", "rank", "TH-ALL-02", "has rank 5"),
    ("model", "unit_count", "one", "TH-ALL-02", "gave 1"),
    ("model", "unit_info", "same name", "TH-ALL-02", "is there twice"),
    ("model", "unit_info", "no such parameter", "TH-ALL-02", "lists parameter 2"),
    ("model", "unit_info", "left out", "TH-ALL-02", "is in no unit"),
    ("model", "unit_info", "no width", "TH-ALL-02", "has output_width 0"),
    ("model", "forward", "not a number", "TH-ALL-02", "the loss is nan"),
    ("model", "forward", "keeps", "TH-MOD-05", "keeps something"),
    ("model", "backward", "not a number", "TH-ALL-02", 'nan is in the gradient of "first.weight"'),
    ("model", "loss_and_backward", "not a number", "TH-ALL-02", "the loss is nan"),
    ("model", "logits", "exception", "TH-MOD-11", "told to throw"),
    ("model", "measure", "negative", "TH-MOD-12", "operations per second"),
)
# Likewise of what it does before there is an instance (TRAINHOST_TEST_PLUGIN); N slots are required.
ENTRIES = {
    "crash in constructor": "SIGSEGV", "crash in entry": "SIGSEGV", "throw in entry": "SIGABRT", "hang in entry": "not done after 1 s",
    "refuses": "no AVX-1024", "refuses silently": "gives no reason", "short plugin": "its th_plugin has struct_size 8",
    "null get_kind": '"get_kind"', "crash in get_kind": "SIGSEGV", "null table": "gives no table", "short table": "has struct_size 16",
}
SLOTS = {"lr_scheduler": 3, "optimizer": 5, "tokenizer": 5, "dataset_mixer": 4, "model": 9}
# The rules that find what is wrong with a file.
FILES = {
    "empty": "TH-LIB-01", "not ELF": "TH-LIB-01", "a program": "TH-LIB-01", "another machine": "TH-LIB-01",
    "no manifest": "TH-LIB-02", "broken manifest": "TH-LIB-02", "no version": "TH-LIB-02", "unknown kind": "TH-LIB-02",
    "built by hand": "TH-LIB-02", "future minor": "TH-LIB-03", "other major": "TH-LIB-03", "SDK of another major": "TH-LIB-03",
    "LibTorch of another version": "TH-LIB-03", "no entry": "TH-LIB-05", "undefined symbol": "TH-ALL-01",  # of a library that is there; table_undefined_symbol: TH-LIB-10
}


def validate(plugin, *arguments, **environment):
    return subprocess.run([TOOL, "validate", plugin, *arguments], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "OMP_WAIT_POLICY": "passive", **environment})  # spinning threads would starve each other


def results(plugin, *arguments, **environment):
    """Result by rule id, and the exit code."""
    done = validate(plugin, "--json", *arguments, **environment)
    return {rule["id"]: rule for rule in json.loads(done.stdout)["rules"]}, done.returncode


class ValidateTest(unittest.TestCase):
    def test_shipped_plugins_keep_every_rule(self):
        plugins = sorted((BUILD / "plugins").glob("*.so"))
        self.assertGreater(len(plugins), 8)
        for plugin in plugins + [FIXTURES / f"{name}.so" for name in ("trust_ratio", "orthogonal", "gru", "loss_weighted")]:
            with self.subTest(plugin.name):
                done = validate(plugin)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_shipped_optimizers_keep_every_rule_with_moments_of_bfloat16(self):
        for name in ("adam", "adamw", "ademamix", "lamb", "lion", "muon", "sgd"):
            with self.subTest(name):
                momentum = ("--set", "momentum=0.9") if name == "sgd" else ()
                done = validate(BUILD / "plugins" / f"{name}.so", "--set", "moments=bfloat16", *momentum)
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

    def assert_found(self, kind, rule, words, *arguments, **environment):
        plugin = FIXTURES / f"misbehaving_{kind}.so"
        found, code = results(plugin, "--only", rule, "--limit", "1", *arguments, **environment)
        self.assertEqual((found[rule]["result"], code), ("failed", 76))
        self.assertIn(words, found[rule]["found"])

    def test_each_fault_of_a_call_is_found(self):
        for kind, call in WORK.items():
            for how, words in HOW.items():
                with self.subTest(how, kind=kind, call=call):
                    self.assert_found(kind, "TH-ALL-02", words, "--set", f"in={call}", "--set", f"how={how}")
        for kind, call, how, rule, words in RESULTS:
            with self.subTest(how, kind=kind, call=call):
                self.assert_found(kind, rule, words, "--set", f"in={call}", "--set", f"how={how}")

    def test_each_fault_of_an_entry_or_table_is_found(self):
        for kind, slots in SLOTS.items():
            for fault, words in ENTRIES.items():
                with self.subTest(fault, kind=kind):
                    self.assert_found(kind, "TH-ALL-01", words, TRAINHOST_TEST_PLUGIN=fault)
            for slot in range(slots):
                with self.subTest(f"null slot {slot}", kind=kind):
                    self.assert_found(kind, "TH-ALL-01", "null in the required slot", TRAINHOST_TEST_PLUGIN=f"null slot {slot}")

    def test_each_fault_of_a_file_is_found_and_nothing_of_it_is_run(self):
        scratch = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        spoilt, canary = scratch / "spoilt.so", scratch / "canary"
        spoils = {fault: row[0] for fault, row in {**bad_files.FILES, **bad_files.LOADING}.items()}
        self.assertEqual(spoils.keys(), FILES.keys())
        for kind in KINDS:
            whole = (FIXTURES / f"misbehaving_{kind}.so").read_bytes()
            for fault, rule in FILES.items():
                with self.subTest(fault, kind=kind):
                    spoilt.write_bytes(spoils[fault](whole))
                    done = validate(spoilt, TRAINHOST_TEST_CANARY=str(canary))
                    self.assertEqual(done.returncode, 76, done.stderr)
                    self.assertIn(f"FAILED  {rule} ", done.stdout)
            with self.subTest("everybody may write to it", kind=kind):
                spoilt.write_bytes(whole)
                spoilt.chmod(0o757)
                self.assertIn("FAILED  TH-LIB-04 ", validate(spoilt, TRAINHOST_TEST_CANARY=str(canary)).stdout)
                spoilt.chmod(0o755)
        self.assertFalse(canary.exists())

    def test_a_manifest_of_another_kind_is_found(self):
        for kind in KINDS:
            with self.subTest(kind), tempfile.TemporaryDirectory() as scratch:
                wrong = pathlib.Path(scratch, "wrong.so")
                spoil = bad_files.changed(f'kind = "{bad_files.other(kind)}"', f'kind = "{kind}"')
                wrong.write_bytes(spoil((FIXTURES / f"misbehaving_{bad_files.other(kind)}.so").read_bytes()))
                found, code = results(wrong, "--only", "TH-ALL-01")
                self.assertEqual((found["TH-ALL-01"]["result"], code), ("failed", 76))
                self.assertIn("get_kind gives no table", found["TH-ALL-01"]["found"])

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
