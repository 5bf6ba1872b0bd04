"""A plugin exports its entry and nothing else, and nothing that the loader shares between libraries (GNU_UNIQUE); read with readelf."""
import os
import re
import subprocess
import unittest

from altered_headers import BINARY, COMPILERS, SOURCE, GateTest, abi

ENTRY = ["trainhost_plugin_entry"]


def exports(library):
    """Names of the defined dynamic symbols, and those of them that are GNU_UNIQUE."""
    table = subprocess.run(["readelf", "--dyn-syms", "--wide", library], text=True, capture_output=True, check=True,
                           env={**os.environ, "LC_ALL": "C"}).stdout
    found = re.findall(r"^ *\d+: \w+ +\w+ +\w+ +(\w+) +\w+ +(?!UND)\w+ +([^ @\n]+)", table, re.M)
    return sorted(name for _, name in found), sorted(name for binding, name in found if binding == "UNIQUE")


class SymbolsTest(GateTest):
    def assert_exports_its_entry_alone(self, library):
        names, unique = exports(library)
        self.assertEqual(names, ENTRY, library)
        self.assertEqual(unique, [], library)

    def test_shipped_plugins(self):
        libraries = sorted((BINARY / "plugins").glob("*.so"))
        self.assertGreaterEqual(len(libraries), 9)
        for library in libraries:
            self.assert_exports_its_entry_alone(library)

    def test_a_plugin_with_everything_that_is_prone_to_be_exported(self):
        self.assert_exports_its_entry_alone(BINARY / "tests/abi/witness_plugin.so")

    def test_the_same_with_each_compiler_by_itself(self):
        for compiler in COMPILERS["c++"]:
            library = self.scratch / "witness.so"
            subprocess.run([compiler, "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden",
                            f"-Wl,--version-script={SOURCE}/sdk/cmake/plugin_symbols.map", f"-I{abi.INCLUDE}",
                            SOURCE / "tests/abi/witness_plugin.cpp", "-o", library], check=True)
            self.assert_exports_its_entry_alone(library)

    def test_what_is_exported_too_much_is_found(self):
        source = ("inline int &count() { static int count; return count; }\n"
                  'extern "C" int helper() { return ++count(); }\n'
                  'extern "C" int trainhost_plugin_entry() { return 0; }\n')
        library = self.scratch / "too_much.so"
        subprocess.run([COMPILERS["c++"][0], "-std=c++20", "-shared", "-fPIC", "-x", "c++", "-", "-o", library], input=source, text=True,
                       check=True)
        names, unique = exports(library)
        self.assertEqual(names, ["_Z5countv", "_ZZ5countvE5count", "helper", "trainhost_plugin_entry"])
        self.assertEqual(unique, ["_ZZ5countvE5count"])
        with self.assertRaises(AssertionError):
            self.assert_exports_its_entry_alone(library)


if __name__ == "__main__":
    unittest.main()
