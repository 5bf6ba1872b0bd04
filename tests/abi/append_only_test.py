"""The append-only check: what is released stays where it is. It is tried with the present headers in the place of a released list."""
import pathlib
import re
import shutil
import subprocess
import unittest

from altered_headers import SOURCE, GateTest, abi

APPENDED_SLOT = ("host.h", "  const void *(*get_extension)(const th_host *, th_string id);\n",
                 "  const void *(*get_extension)(const th_host *, th_string id);\n  void (*flush)(const th_host *);\n")


def raise_number(include, header, constant):
    path = include / "trainhost" / header
    path.write_text(re.sub(rf"(?<=^#define {constant} )\d+", lambda number: str(int(number[0]) + 1), path.read_text(), flags=re.M))


class AppendOnlyTest(GateTest):
    def test_the_headers_keep_what_every_release_of_this_major_version_promised(self):
        headers = abi.read_headers()
        for release in abi.released():
            if release.constants["TRAINHOST_ABI_MAJOR"] == headers.constants["TRAINHOST_ABI_MAJOR"]:
                self.assertEqual(abi.breaks(release, headers), [], release.version)

    def assert_breaks(self, header, old, new, *messages):
        problems = abi.breaks(abi.read_headers(), self.layout_with(header, old, new))
        for message in messages:
            self.assertIn(message, problems)

    def test_a_field_inserted_in_the_middle_breaks(self):
        self.assert_breaks("kinds/optimizer.h", "  void (*destroy)(th_optimizer *);",
                           "  void (*flush)(th_optimizer *);\n  void (*destroy)(th_optimizer *);",
                           "th_optimizer_api.destroy: moved from offset 16 to 24",
                           "th_optimizer_api.flush: inserted at offset 16, within the 64 bytes that are released; "
                           "fields are appended at the end")

    def test_swapped_slots_break(self):
        self.assert_breaks("ext/rng.h", "(*uniform)", "(*normal_)", "th_rng.uniform: was deleted or renamed")
        self.assert_breaks("host.h", "abi_major, abi_minor;", "abi_minor, abi_major;", "th_host.abi_major: moved from offset 4 to 8",
                           "th_host.abi_minor: moved from offset 8 to 4")

    def test_a_retyped_renamed_or_deleted_field_breaks(self):
        self.assert_breaks("host.h", "int32_t (*cancelled)(const th_host *);", "int64_t (*cancelled)(const th_host *);",
                           "th_host.cancelled: retyped from `int32_t (*)(const th_host *)` to `int64_t (*)(const th_host *)`")
        self.assert_breaks("plugin.h", "struct_size, reserved;", "struct_size, flags;", "th_plugin.reserved: was deleted or renamed")
        self.assert_breaks("host.h", "  uint64_t tokens, total_tokens; ", "  uint64_t tokens; ",
                           "th_progress.total_tokens: was deleted or renamed",
                           "th_progress.phase_first_token: moved from offset 40 to 32")

    def test_a_field_in_the_padding_at_the_end_breaks_because_struct_size_cannot_tell_of_it(self):
        with_padding = self.layout_with("host.h", "phase_first_token, phase_end_token;", "phase_first_token; uint32_t phase_end_token;")
        filled = self.layout_with("host.h", "phase_first_token, phase_end_token;", "phase_first_token; uint32_t phase_end_token, more;")
        self.assertIn("th_progress.more: inserted at offset 52, within the 56 bytes that are released; fields are appended at the end",
                      abi.breaks(with_padding, filled))

    def test_what_lies_in_arrays_or_is_passed_by_value_may_not_grow(self):
        self.assert_breaks("kinds/optimizer.h", "  double initial;", "  uint64_t more;\n  double initial;",
                           "th_state_info.more: appended, but th_state_info may not grow: it is passed by value, embedded or in arrays")
        self.assert_breaks("status.h", "  size_t length;\n} th_string;", "  size_t length;\n  size_t capacity;\n} th_string;",
                           "th_string.capacity: appended, but th_string may not grow: it is passed by value, embedded or in arrays",
                           "th_parameter_info.shape: moved from offset 32 to 40")

    def test_a_changed_constant_type_or_entry_breaks(self):
        self.assert_breaks("status.h", "#define TH_INTERNAL 7 ", "#define TH_INTERNAL 9 ", "TH_INTERNAL: was 7, is 9")
        self.assert_breaks("status.h", "typedef int32_t th_status;", "typedef int64_t th_status;", "th_status: was int32_t, is int64_t")
        self.assert_breaks("plugin.h", "(const th_host *host)", "(const th_host *host, uint32_t flags)",
                           "trainhost_plugin_entry: was const th_plugin *(const th_host *), "
                           "is const th_plugin *(const th_host *, uint32_t)")

    def test_a_slot_appended_with_a_new_minor_version_is_allowed(self):
        old = abi.read_headers()
        self.assertEqual(abi.breaks(old, self.layout_with(*APPENDED_SLOT)),
                         [f"th_host.flush: is new; {old.version} is released, so raise TRAINHOST_ABI_MINOR"])
        include = self.headers_with(*APPENDED_SLOT)
        raise_number(include, "status.h", "TRAINHOST_ABI_MINOR")
        self.assertEqual(abi.breaks(old, abi.read_headers(include)), [])

    def test_update_refuses_what_breaks_a_release(self):
        version, sdk = abi.read_headers().version, self.scratch / "sdk"
        shutil.copytree(SOURCE / "sdk", sdk, ignore=shutil.ignore_patterns("released", "__pycache__"))
        update = lambda *arguments: subprocess.run([sdk / "abi/update", *arguments], text=True, capture_output=True)
        host = sdk / "include/trainhost" / APPENDED_SLOT[0]

        def alter(old, new):
            self.assertEqual(host.read_text().count(old), 1)
            host.write_text(host.read_text().replace(old, new))

        # Before the first release anything may change.
        alter("name, double *out_tokens);", "name, int64_t *out_tokens);")
        done = update()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(abi.differences(abi.committed(sdk / "abi"), abi.read_headers(sdk / "include")), [])
        self.assertEqual(update("--release").returncode, 0)
        self.assertEqual([release.version for release in abi.released(sdk / "abi")], [version])
        self.assertIn(f"{version}.txt is released already; raise TRAINHOST_ABI_MINOR", update("--release").stderr)

        alter("name, int64_t *out_tokens);", "name, double *out_tokens);")
        done = update()
        self.assertEqual(done.returncode, 1)
        self.assertIn("th_host.get_amount: retyped", done.stderr)
        alter("name, double *out_tokens);", "name, int64_t *out_tokens);")
        alter(*APPENDED_SLOT[1:])
        self.assertIn(f"th_host.flush: is new; {version} is released, so raise TRAINHOST_ABI_MINOR", update().stderr)
        raise_number(sdk / "include", "status.h", "TRAINHOST_ABI_MINOR")
        done = update()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(abi.committed(sdk / "abi").structs["th_host"].fields[-1].name, "flush")


if __name__ == "__main__":
    unittest.main()
