"""trainhost-plugin inspect: its facts are readelf's, and each rule has a plugin that breaks it and no other."""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["TRAINHOST_SOURCE_DIR"])
BINARY = pathlib.Path(os.environ["TRAINHOST_BINARY_DIR"])
SHIPPED = sorted((BINARY / "plugins").glob("*.so"))
FIXTURES = sorted((BINARY / "tests" / "plugins").glob("*.so"))

MANIFEST = """
id = "org.example.bare"
name = "bare"
kind = "lr_scheduler"
version = "0.1.0"
summary = "an entry and nothing behind it"
minimum_abi = "1.0"
"""
SDK = '[sdk]\nabi = "1.0"\n'
ENTRY = """
#include <trainhost/plugin.h>
const th_plugin *trainhost_plugin_entry(const th_host *host) { (void)host; return NULL; }
"""


def inspect(file, *options):
    return subprocess.run([BINARY / "bin" / "trainhost-plugin", "inspect", file, *options], text=True, capture_output=True)


def report(file):
    return json.loads(inspect(file, "--json").stdout)


def rules(file):
    return [(problem["rule"], problem["severity"]) for problem in report(file)["problems"]]


def readelf(*arguments):
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(["readelf", "--wide", *arguments], text=True, capture_output=True, check=True, env=environment).stdout


def symbols(file):
    """Exports; and imports with the library that their version is of and whether they are weak."""
    libraries, library = {}, None
    for line in readelf("--version-info", file).splitlines():
        if found := re.search(r"File: (\S+)", line):
            library = found[1]
        elif found := re.search(r"Name: (\S+) +Flags: .*Version: (\d+)", line):
            libraries[found[2]] = library
    exports, imports = [], []
    row = r"^ *[1-9]\d*: \w+ +\w+ +\w+ +(\w+) +\w+ +(\w+) ([^ @\n]+)(?:@\S+)?(?: \((\d+)\))?$"
    for binding, section, name, version in re.findall(row, readelf("--dyn-syms", file), re.M):
        if section == "UND":
            imports.append((name, libraries.get(version, ""), binding == "WEAK"))
        elif binding != "LOCAL":
            exports.append(name)
    return exports, imports


class FactsTest(unittest.TestCase):
    def test_they_are_those_of_readelf(self):
        self.assertGreater(len(SHIPPED), 9)
        self.assertGreater(len(FIXTURES), 20)
        for file in (*SHIPPED, *FIXTURES):
            with self.subTest(file.name):
                found = report(file)
                library = found["library"]
                self.assertEqual(found["sha256"], hashlib.sha256(file.read_bytes()).hexdigest())
                exports, imports = symbols(file)
                self.assertEqual(library["exports"], exports)
                self.assertEqual([(each["name"], each["library"], each["weak"]) for each in library["imports"]], imports)
                dynamic = readelf("--dynamic", file)
                self.assertEqual(library["needed"], re.findall(r"\(NEEDED\) +Shared library: \[(.*)\]", dynamic))
                self.assertEqual(library["run_path"], ":".join(re.findall(r"\(RUNPATH\) +Library runpath: \[(.*)\]", dynamic)).split(":"))
                size = re.search(r"\.init_array +INIT_ARRAY +\w+ \w+ (\w+)", readelf("--sections", file))[1]
                self.assertEqual(library["constructors"], int(size, 16) // 8)
                self.assertEqual(library["executable_stack"], re.search(r"GNU_STACK .* (R\S+) +0x", readelf("--segments", file))[1] != "RW")
                self.assertEqual(library["text_relocations"], "TEXTREL" in dynamic)

    def test_nothing_is_wrong_with_shipped_plugins(self):
        for file in SHIPPED:
            done = inspect(file)
            self.assertEqual((done.returncode, rules(file)), (0, []), file)
            self.assertIn("nothing is wrong with the file", done.stdout)

    def test_the_manifest_is_printed(self):
        file = BINARY / "plugins" / "wsd.so"
        manifest = report(file)["manifest"]
        self.assertEqual((manifest["name"], manifest["kind"], manifest["sdk_abi"]), ("wsd", "lr_scheduler", "1.1"))
        self.assertEqual(manifest["parameters"][0], {"name": "peak_lr", "type": "number", "required": True, "minimum": 0.0, "unit": "",
                                                     "doc": "learning rate of the stable stage"})
        self.assertIn("  parameter     warmup, amount, default \"2%\"\n", inspect(file).stdout)

    def test_fixtures_with_a_spoilt_file_are_found(self):
        found = {file.stem: rules(file) for file in FIXTURES}
        wrong = {name: problems for name, problems in found.items() if problems}
        self.assertEqual(wrong, {
            "no_plugin": [("TH-LIB-02", "error"), ("TH-LIB-05", "error"), ("TH-LIB-06", "error")],
            "table_no_entry": [("TH-LIB-05", "error")],
            "table_undefined_symbol": [("TH-LIB-10", "error")],
        })

    def test_nothing_of_the_plugin_runs(self):
        with tempfile.TemporaryDirectory() as scratch:
            sign = pathlib.Path(scratch, "sign")
            for options in ((), ("--json",)):
                subprocess.run([BINARY / "bin" / "trainhost-plugin", "inspect", BINARY / "tests" / "plugins" / "canary.so", *options],
                               check=True, capture_output=True, env={**os.environ, "TRAINHOST_TEST_CANARY": str(sign)})
            self.assertFalse(sign.exists())


class RulesTest(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.scratch.chmod(0o755)

    def build(self, source="", *flags, compiler="gcc", manifest=MANIFEST + SDK, hidden=True, entry=ENTRY, libraries=()):
        (self.scratch / "manifest.toml").write_text(manifest)
        suffix = "c" if compiler == "gcc" else "cpp"
        incbin = f'.incbin \\"{self.scratch}/manifest.toml\\"'
        section = f'__asm__(".section .trainhost.manifest, \\"aR\\", @progbits\\n{incbin}\\n.previous\\n");\n'
        code = self.scratch / f"bare.{suffix}"
        code.write_text((section if manifest else "") + entry + source)
        hide = ["-fvisibility=hidden", f"-Wl,--version-script={SOURCE}/sdk/cmake/plugin_symbols.map"] if hidden else []
        return self.link(code, "bare.so", *hide, *flags, compiler=compiler, libraries=libraries)

    def link(self, code, name, *flags, compiler="gcc", libraries=()):
        output = self.scratch / name
        subprocess.run([compiler, "-shared", "-fPIC", f"-I{SOURCE}/sdk/include", *flags, code, "-o", output, *libraries], check=True)
        return output

    def other_library(self, name, source):
        code = self.scratch / "other.cpp"
        code.write_text(source)
        return self.link(code, name, f"-Wl,-soname,{name}", compiler="g++")

    def assert_breaks(self, file, rule, words, severity="error", code=76):
        done = inspect(file)
        self.assertEqual(rules(file), [(rule, severity)], done.stdout)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stdout, rf"\n{severity} {rule}: .*{words}.*\n  fix: \S")

    def test_a_bare_plugin_breaks_none(self):
        self.assertEqual(rules(self.build()), [])

    def test_01_file(self):
        whole = self.build().read_bytes()
        file = self.scratch / "bare.so"
        for spoilt, words in ((b"", "is not an ELF shared library"), (b"text\n", "is not an ELF shared library"),
                              (whole[:-100], rf"is cut short: it has {len(whole) - 100} bytes"),
                              (whole[:18] + b"\xb7\0" + whole[20:], "is built for another machine than x86-64"),
                              (whole[:16] + b"\x02\0" + whole[18:], "is an ELF file, but not a shared library")):
            file.write_bytes(spoilt)
            self.assert_breaks(file, "TH-LIB-01", words)

    def test_02_manifest(self):
        self.assert_breaks(self.build(manifest=""), "TH-LIB-02", "has no section .trainhost.manifest")
        self.assert_breaks(self.build(manifest=MANIFEST), "TH-LIB-02", r"line 1: table \[sdk\] is missing")
        self.assert_breaks(self.build(manifest="x = "), "TH-LIB-02", "the manifest is malformed: line 1: ")

    def test_03_versions(self):
        for old, new, words in (('\nabi = "1.0"', '\nabi = "2.0"', "made for plugin ABI 2, this trainhost has 1"),
                                ('minimum_abi = "1.0"', 'minimum_abi = "1.99"', r"needs plugin ABI 1\.99")):
            self.assert_breaks(self.build(manifest=(MANIFEST + SDK).replace(old, new)), "TH-LIB-03", words)

    def test_04_who_may_write(self):
        file = self.build()
        file.chmod(0o777)
        self.assert_breaks(file, "TH-LIB-04", f"everybody may write to {file}")
        file.chmod(0o755)
        self.scratch.chmod(0o777)
        self.assert_breaks(file, "TH-LIB-04", f"everybody may write to {self.scratch},")

    def test_05_entry(self):
        self.assert_breaks(self.build(entry=""), "TH-LIB-05", "does not export trainhost_plugin_entry")
        variable = '__attribute__((visibility("default"))) int trainhost_plugin_entry = 1;\n'
        self.assert_breaks(self.build(entry=variable), "TH-LIB-05", "is a variable")

    def test_06_exports(self):
        self.assert_breaks(self.build("int helper(void) { return 1; }", hidden=False), "TH-LIB-06", "exports helper besides")
        many = "".join(f"int helper{i}(void) {{ return {i}; }}\n" for i in range(9))
        self.assert_breaks(self.build(many, hidden=False), "TH-LIB-06", "helper0, helper1, helper2, helper3, helper4 and 4 more")

    def test_07_unique_symbols(self):
        source = "inline int &count() { static int count; return count; }\nint use() { return ++count(); }\n"
        file = self.build(source, compiler="g++", hidden=False)
        self.assertEqual(rules(file), [("TH-LIB-06", "error"), ("TH-LIB-07", "error")])
        self.assertIn("error TH-LIB-07: _ZZ5countvE5count is GNU_UNIQUE", inspect(file).stdout)

    def test_08_libtorch_without_a_pin(self):
        torch = self.other_library("libtorch_cpu.so", "namespace at { void zeros() {} }")
        source = "namespace at { void zeros(); }\nvoid use() { at::zeros(); }\n"
        build = lambda manifest: self.build(source, compiler="g++", manifest=manifest, libraries=[torch])
        self.assert_breaks(build(MANIFEST + SDK), "TH-LIB-08", r"uses LibTorch \(_ZN2at5zerosEv\)")
        version = re.search(r"^torch==([\d.]+)", (SOURCE / "third_party/libtorch_wheels.txt").read_text(), re.M)[1]
        self.assertEqual(rules(build(MANIFEST + f'libtorch = "{version}"\n' + SDK)), [])
        self.assert_breaks(build(MANIFEST + 'libtorch = "1.0.0"\n' + SDK), "TH-LIB-03", "is pinned to LibTorch 1.0.0")
        self.assert_breaks(self.build("", "-Wl,--no-as-needed", libraries=[torch]), "TH-LIB-08", "uses LibTorch, whose C")

    def test_09_libtorch_inside(self):
        source = "namespace at { __attribute__((noinline)) int zeros() { return 1; } }\nint use() { return at::zeros(); }\n"
        self.assert_breaks(self.build(source, compiler="g++"), "TH-LIB-09", r"a copy of LibTorch inside \(_ZN2at5zerosEv\)")

    def test_10_undefined_symbols(self):
        file = self.build("int elsewhere(void);\nint use(void) { return elsewhere(); }\n")
        self.assert_breaks(file, "TH-LIB-10", "nothing that it needs gives it elsewhere")
        load = f"import ctypes, os; ctypes.CDLL({str(file)!r}, os.RTLD_NOW)"
        loaded = subprocess.run(["python3", "-c", load], text=True, capture_output=True)
        self.assertIn("undefined symbol: elsewhere", loaded.stderr)
        self.assertEqual(rules(self.build("int elsewhere(void) __attribute__((weak));\nint use(void) { return elsewhere ? 1 : 0; }\n")), [])

    def test_11_interfaces_of_other_libraries(self):
        other = self.other_library("libshapes.so", 'namespace shapes { void area() {} }\nextern "C" void shapes_area() {}')
        source = "namespace shapes { void area(); }\nvoid use() { shapes::area(); }\n"
        self.assert_breaks(self.build(source, compiler="g++", libraries=[other]), "TH-LIB-11",
                           r"\(_ZN6shapes4areaEv; needed: libshapes.so\)", "warning", 0)
        source = 'extern "C" void shapes_area();\nvoid use() { shapes_area(); }\n'
        self.assertEqual(rules(self.build(source, compiler="g++", libraries=[other])), [])
        source = "#include <string>\n#include <cmath>\nstd::string use(double x) { return std::to_string(std::sin(x)); }\n"
        self.assertEqual(rules(self.build(source, compiler="g++")), [])

    def test_12_executable_stack(self):
        self.assert_breaks(self.build("", "-Wl,-z,execstack"), "TH-LIB-12", "executable stack")

    def test_13_text_relocations(self):
        source = '__asm__(".text\\n.globl at_a_fixed_place\\nat_a_fixed_place: .quad at_a_fixed_place\\n");\n'
        self.assert_breaks(self.build(source, "-Wl,-z,notext"), "TH-LIB-13", "text relocations", "warning", 0)

    def test_14_relative_run_path(self):
        for path in ("lib", ".", "$ORIGIN:", ":/lib"):
            self.assertIn(("TH-LIB-14", "error"), rules(self.build("", f"-Wl,-rpath,{path}")), path)
        self.assert_breaks(self.build("", "-Wl,-rpath,lib:$ORIGIN/x"), "TH-LIB-14", 'its RUNPATH has "lib":')
        self.assertEqual(rules(self.build("", "-Wl,-rpath,$ORIGIN/../lib")), [])

    def test_15_absolute_paths(self):
        self.assert_breaks(self.build("", "-Wl,-rpath,/opt/lib"), "TH-LIB-15", r"by absolute path \(/opt/lib\)", "warning", 0)

    def test_what_cannot_be_read_is_no_problem_of_a_plugin(self):
        for path, words in ((self.scratch / "missing.so", "No such file"), (self.scratch, "is not a file")):
            done = inspect(path)
            self.assertEqual((done.returncode, done.stdout), (65, ""))
            self.assertIn(words, done.stderr)
        pipe = self.scratch / "pipe.so"
        os.mkfifo(pipe)
        self.assertEqual(inspect(pipe).returncode, 65)
        self.assertEqual(subprocess.run([BINARY / "bin" / "trainhost-plugin", "inspect"], capture_output=True).returncode, 64)

    def test_names_do_not_steer_the_terminal(self):
        manifest = MANIFEST.replace("an entry", "an \\u001b[31mentry") + SDK
        self.assertNotIn("\x1b", inspect(self.build(manifest=manifest)).stdout)

    def test_every_rule_is_in_the_documentation(self):
        tried = {f"TH-LIB-{number}" for number in re.findall(r"def test_(\d\d)_", pathlib.Path(__file__).read_text())}
        code = set(re.findall(r"TH-LIB-\d\d", (SOURCE / "sdk/validator/inspection.cpp").read_text()))
        documented = set(re.findall(r"^\| (TH-LIB-\d\d) \|", (SOURCE / "sdk/docs/rules.md").read_text(), re.M))
        self.assertEqual(code, tried)
        self.assertEqual(code, documented)


if __name__ == "__main__":
    unittest.main()
