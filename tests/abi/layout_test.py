"""The layout lock: the committed list is what the headers say and what every compiler makes of them."""
import subprocess
import unittest

from altered_headers import COMPILERS, GateTest, abi

MODES = [("c", "c11"), ("c", "c17"), ("c++", "c++20")]


def compile_assertions(include=abi.INCLUDE, modes=MODES):
    """What the compilers say of the committed list, by compiler and mode; nothing when all of it holds."""
    complaints = {}
    for language, standard in modes:
        for compiler in COMPILERS[language]:
            command = [compiler, f"-std={standard}", "-x", language, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
            done = subprocess.run([*command, f"-I{include}", "-"], input=abi.assertions(abi.committed()), text=True, capture_output=True)
            if done.returncode:
                complaints[compiler, standard] = done.stderr
    return complaints


class LayoutTest(GateTest):
    def test_the_list_is_what_the_headers_say(self):
        self.assertEqual(abi.differences(abi.committed(), abi.read_headers()), [], "run sdk/abi/update when the change is meant")
        self.assertEqual((abi.FOLDER / "layout.txt").read_text(), abi.to_text(abi.read_headers()), "run sdk/abi/update")

    def test_every_compiler_and_mode_lays_it_out_so(self):
        self.assertEqual(compile_assertions(), {})

    # Each deliberate change is told by name: by the list, and by the assertions of each compiler and mode.
    def assert_found(self, header, old, new, difference, assertion):
        include = self.headers_with(header, old, new)
        self.assertIn(difference, abi.differences(abi.committed(), abi.read_headers(include)))
        complaints = compile_assertions(include)
        self.assertEqual(len(complaints), sum(len(COMPILERS[language]) for language, _ in MODES))
        for where, complaint in complaints.items():
            self.assertIn(assertion, complaint, where)

    def test_a_moved_field_is_found(self):
        self.assert_found("tensor.h", "int32_t device_type, device_index;", "int32_t device_index, device_type;",
                          "th_tensor.device_type: moved from offset 8 to 12", "the offset of th_tensor.device_type is locked to 8")

    def test_a_retyped_field_is_found(self):
        self.assert_found("kinds/lr_scheduler.h", "double momentum;", "uint64_t momentum;",
                          "th_schedule_values.momentum: retyped from `double` to `uint64_t`",
                          "the type of th_schedule_values.momentum is locked to double")

    def test_a_changed_argument_of_a_slot_is_found(self):
        self.assert_found("kinds/tokenizer.h", "const uint32_t *ids, size_t count,", "const uint32_t *ids, uint64_t *count,",
                          "th_tokenizer_api.decode: retyped from "
                          "`th_status (*)(const th_tokenizer *, const uint32_t *, size_t, const th_sink *)` "
                          "to `th_status (*)(const th_tokenizer *, const uint32_t *, uint64_t *, const th_sink *)`",
                          "the type of th_tokenizer_api.decode is locked to")

    def test_a_changed_constant_is_found(self):
        self.assert_found("status.h", "#define TH_CORRUPT 5", "#define TH_CORRUPT 8", "TH_CORRUPT: was 5, is 8",
                          "TH_CORRUPT is locked to 5")

    def test_a_longer_array_is_found(self):
        self.assert_found("kinds/tokenizer.h", "fingerprint[32]", "fingerprint[36]", "th_tokenizer_info: size was 48, is 52",
                          "the size of th_tokenizer_info is locked to 48")

    def test_a_changed_id_of_an_interface_is_found(self):
        include = self.headers_with("ext/rng.h", '"th.rng/1"', '"th.rng/2"')
        self.assertIn('TH_EXT_RNG: was "th.rng/1", is "th.rng/2"', abi.differences(abi.committed(), abi.read_headers(include)))
        for complaint in compile_assertions(include, [("c++", "c++20")]).values():
            self.assertIn("TH_EXT_RNG is locked to 'th.rng/1'", complaint)

    def test_a_packed_struct_is_found(self):
        self.assert_found("tensor.h", "} th_tensor;", "} __attribute__((packed, aligned(4))) th_tensor;",
                          "th_tensor: alignment was 8, is 4", "the alignment of th_tensor is locked to 8")

    # What must not be in the headers at all.
    def assert_refused(self, header, old, new, message):
        with self.assertRaisesRegex(abi.LayoutError, message):
            self.layout_with(header, old, new)

    def test_types_that_differ_between_compilers_are_refused(self):
        self.assert_refused("host.h", "uint32_t reserved;", "unsigned long reserved;", "th_host.reserved: `long unsigned int` differs")
        self.assert_refused("host.h", "uint32_t reserved;", "uint32_t reserved : 4;", "th_host.reserved: a bit-field")
        self.assert_refused("host.h", "uint32_t reserved;", "enum { A, B } reserved;", "th_host.reserved: `enumeration_type` differs")
        self.assert_refused("host.h", "(*cancelled)(const th_host *)", "(*cancelled)(const th_host *, _Bool)", "th_host.cancelled: `_Bool`")

        self.assert_refused("host.h", "typedef struct th_host th_host;", "typedef struct th_host th_host;\ntypedef enum { A } th_place;",
                            "th_place")
        self.assert_refused("host.h", "typedef struct th_host th_host;", "typedef struct th_host th_host;\nunion th_any { int32_t a; };\n"
                            "extern union th_any any;", "th_any: declare it as")

    def test_a_type_of_functions_is_listed(self):
        found = self.layout_with("host.h", "typedef struct th_host th_host;",
                                 "typedef struct th_host th_host;\ntypedef th_status (*th_body)(void *context, int64_t count);")
        self.assertEqual(found.types["th_body"], "th_status (*)(void *, int64_t)")


if __name__ == "__main__":
    unittest.main()
