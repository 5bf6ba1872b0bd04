"""Every header of the SDK compiles alone, without a warning, in every mode that plugins are written in."""
import concurrent.futures
import os
import subprocess
import unittest

from altered_headers import COMPILERS, GateTest, abi

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def modes_of(header):
    return [("c", "c11"), ("c", "c17"), ("c++", "c++20")] if header.endswith(".h") else [("c++", "c++20")]


def complaint_about(include, header, language, standard, compiler):
    done = subprocess.run([compiler, f"-std={standard}", "-x", language, "-fsyntax-only", *WARNINGS, f"-I{include}", "-"],
                          input=f"#include <trainhost/{header}>\n", text=True, capture_output=True)
    return f"{header} with {compiler} -std={standard}:\n{done.stderr}" if done.returncode else None


def complaints(include=abi.INCLUDE, only=None):
    headers = sorted(path.relative_to(include / "trainhost").as_posix() for path in (include / "trainhost").rglob("*.h*"))
    work = [(include, header, language, standard, compiler) for header in headers if only in (None, header)
            for language, standard in modes_of(header) for compiler in COMPILERS[language]]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return len(work), [complaint for complaint in pool.map(complaint_about, *zip(*work)) if complaint]


class HeadersTest(GateTest):
    def test_each_compiles_alone_in_every_mode(self):
        tried, found = complaints()
        self.assertGreaterEqual(tried, 14 * 6 + 6 * 2)
        self.assertEqual(found, [])

    def assert_found(self, header, old, new, message):
        tried, found = complaints(self.headers_with(header, old, new), header)
        self.assertEqual(len(found), tried)
        for complaint in found:
            self.assertRegex(complaint, message)

    def test_a_missing_include_is_found(self):
        self.assert_found("tensor.h", '#include "status.h"\n', "", "unknown type name|does not name a type")
        self.assert_found("cpp/plugin.hpp", "#include <string>\n", "", "string")

    def test_what_a_mode_lacks_is_found(self):
        include = self.headers_with("ext/rng.h", "typedef struct th_rng {", "enum class th_place { kHere };\ntypedef struct th_rng {")
        tried, found = complaints(include, "ext/rng.h")
        self.assertEqual(tried, 2 * len(COMPILERS["c"]) + len(COMPILERS["c++"]))
        self.assertEqual(len(found), 2 * len(COMPILERS["c"]))

    def test_a_warning_is_found(self):
        self.assert_found("host.h", "/* Where a run stands", "static inline int32_t th_nothing(int32_t value) {}\n/* Where a run stands",
                          "return|unused parameter")


if __name__ == "__main__":
    unittest.main()
