"""abidiff, another project's reader of debug information, sees no difference between the headers and the committed baseline."""
import subprocess
import unittest

from altered_headers import COMPILERS, GateTest, abi

BASELINE = abi.FOLDER / "witness.abi"


class AbidiffTest(GateTest):
    def compare(self, include=abi.INCLUDE, compiler="gcc"):
        library = self.scratch / "libwitness.so"
        abi.build_witness(abi.read_headers(include), library, include, compiler)
        return subprocess.run(["abidiff", "--no-architecture", "--no-corpus-path", BASELINE, library], text=True, capture_output=True)

    def test_the_headers_are_as_in_the_baseline(self):
        for compiler in COMPILERS["c"]:
            done = self.compare(compiler=compiler)
            self.assertEqual((done.returncode, done.stdout), (0, ""), f"{compiler}; run sdk/abi/update when the change is meant")

    def test_the_baseline_is_of_no_machine(self):
        text = BASELINE.read_text()
        for trace in ("/usr/", "/tmp/", str(abi.INCLUDE), "architecture=", "filepath=", "comp-dir-path="):
            self.assertNotIn(trace, text)

    # Any exit code but 0 is a difference: abidiff calls an appended, a moved and a deleted field alike.
    def assert_found(self, header, old, new, *words):
        done = self.compare(self.headers_with(header, old, new))
        self.assertNotEqual(done.returncode, 0)
        for word in words:
            self.assertIn(word, done.stdout)

    def test_changes_are_found(self):
        self.assert_found("tensor.h", "int32_t device_type, device_index;", "int32_t device_index, device_type;", "th_tensor",
                          "device_index")
        self.assert_found("kinds/lr_scheduler.h", "double momentum;", "uint64_t momentum;", "th_schedule_values", "momentum")
        self.assert_found("kinds/tokenizer.h", "size_t count, const th_sink *bytes", "uint32_t count, const th_sink *bytes",
                          "th_tokenizer_api", "decode")
        self.assert_found("ext/rng.h", "  void (*normal)(", "  void (*more)(void);\n  void (*normal)(", "th_rng", "more")
        self.assert_found("plugin.h", "(const th_host *host)", "(const th_host *host, int32_t flags)", "trainhost_plugin_entry")


if __name__ == "__main__":
    unittest.main()
