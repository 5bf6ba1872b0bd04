"""Plugins that are bad before anything of them is called: their file, their manifest, what happens when they are loaded, and the table that they
hand over. What is said, the exit code, and that nothing of a refused plugin has run: a misbehaving plugin makes the file
TRAINHOST_TEST_CANARY as soon as it is loaded.

{plugin} stands for kind, name, version and path, {path} for the file alone."""
import shutil
import unittest

from bad_plugin_run import BIGRAM, FIXTURES, KINDS, TABLES, BadPluginRun, name_of
from trainhost_run import newest_checkpoint

SUMMARY = b"Does wrong what a test tells it to."


def changed(old, new):
    """The file with another text in its manifest, which keeps its length: the summary makes room."""
    def spoil(file):
        begin = file.index(b'id = "org.trainhost')
        end = file.index(b"\n", file.index(b"[sdk]\nabi = ", begin) + len(b"[sdk]\n")) + 1
        text = file[begin:end].replace(old.encode(), new.encode())
        assert text != file[begin:end], old
        longer = len(text) - (end - begin)
        text = text.replace(SUMMARY, SUMMARY[:len(SUMMARY) - longer]) if longer > 0 else text + b"\n" * -longer
        return file[:begin] + text + file[end:]
    return spoil


def other(kind):
    return KINDS[KINDS.index(kind) - 1]


def article(kind):
    return "an" if kind in ("optimizer", "lr_scheduler") else "a"


# A fault of the file or the manifest, how a good file gets it, and what is said of it. The recipe is refused, 78.
FILES = {
    "empty": (lambda file: b"", "{path}: is not an ELF shared library"),
    "not ELF": (lambda file: b"not a library\n", "{path}: is not an ELF shared library"),
    "a program": (lambda file: file[:16] + b"\2\0" + file[18:], "{path}: is an ELF file, but not a shared library"),
    "another machine": (lambda file: file[:18] + b"\xb7\0" + file[20:], "{path}: is built for another machine than x86-64"),
    "no manifest": (lambda file: file.replace(b".trainhost.manifest", b".trainhost.mAnifest"),
                    "{path}: is no trainhost plugin: it has no section .trainhost.manifest; build it with trainhost_add_plugin()"),
    "broken manifest": (changed('version = "0.1.0"', 'version = '),
                        "{path}: its manifest is malformed: line 4: Error while parsing key-value pair: expected value, saw '\\n'"),
    "no version": (changed('version = "0.1.0"\n', "#\n"), '{path}: its manifest is malformed: line 1: key "version" is missing'),
    "unknown kind": (changed('\nkind = "', '\nkind = "x'), '{path}: its manifest is malformed: line 3: unknown kind "x{kind}"; '
                     "known are tokenizer, dataset_mixer, optimizer, lr_scheduler, model"),
    "built by hand": (changed('[sdk]\nabi = "1.1"\n', ""), "{path}: its manifest is malformed: line 1: "
                      "table [sdk] is missing; build the plugin with trainhost_add_plugin()"),
    "future minor": (changed('minimum_abi = "1.0"', 'minimum_abi = "1.9"'), '{path}: plugin "misbehaving_{kind}" 0.1.0 needs plugin ABI 1.9, '
                     "this trainhost has 1.1; get a newer trainhost or an older version of the plugin"),
    "other major": (changed('minimum_abi = "1.0"', 'minimum_abi = "2.0"'), '{path}: plugin "misbehaving_{kind}" 0.1.0 is made for plugin ABI 2, '
                    "this trainhost has 1.1; get a build of the plugin for ABI 1"),
    "SDK of another major": (changed('\nabi = "1.1"', '\nabi = "2.0"'), '{path}: plugin "misbehaving_{kind}" 0.1.0 is made for plugin ABI 2, '
                             "this trainhost has 1.1; get a build of the plugin for ABI 1"),
    "LibTorch of another version": (changed('minimum_abi = "1.0"\n', 'minimum_abi = "1.0"\nlibtorch = "1.0.0"\n'),
                                    '{path}: plugin "misbehaving_{kind}" 0.1.0 is pinned to LibTorch 1.0.0, this trainhost has 2.11.0; '
                                    "get a build of the plugin for that version"),
}

# A fault that shows when the plugin is loaded, how a good file gets it, what is said of it, the exit code, and whether a constructor ran before.
LOADING = {
    "undefined symbol": (lambda file: file.replace(b"\0raise\0", b"\0raisE\0"),
                         "{plugin}: cannot be loaded: {path}: undefined symbol: raisE, version GLIBC_2.2.5", 70, False),
    "no entry": (lambda file: file.replace(b"trainhost_plugin_entry", b"trainhost_plugin_Entry"),
                 "{plugin}: does not export trainhost_plugin_entry; declare it with TRAINHOST_EXPORT or TRAINHOST_PLUGIN", 70, True),
}

# What the plugin does wrong when it is loaded and asked for its table (TRAINHOST_TEST_PLUGIN), what is said of it and the exit code.
ENTRIES = {
    "crash in constructor": ("SIGSEGV in {plugin}: loading it", 70),
    "crash in entry": ("SIGSEGV in {plugin}: trainhost_plugin_entry", 70),
    "throw in entry": ("an uncaught exception in {plugin}: trainhost_plugin_entry", 70),
    "hang in entry": ("{plugin}: trainhost_plugin_entry: has not returned, and neither logged, shown progress nor asked whether to stop, "
                      "for 1 s (parallel.timeout)", 70),
    "refuses": ("{plugin}: refuses to be used: this processor has no AVX-1024", 70),
    "refuses silently": ("{plugin}: refuses to be used: it gives no reason", 70),
    "short plugin": ("{plugin}: its th_plugin has struct_size 8, at least 16 is needed", 76),
    "null get_kind": ('{plugin}: its th_plugin has null in the required slot "get_kind"', 76),
    "crash in get_kind": ("SIGSEGV in {plugin}: get_kind", 70),
    "null table": ('{plugin}: get_kind gives no table for "th.kind.{kind}/1", though that is the kind in its manifest', 76),
    "short table": ('{plugin}: its table "th.kind.{kind}/1" has struct_size 16, at least {size} is needed', 76),
}

# The required slots of each kind's table in their order, and what they are called in when they throw. release is for what a unit saved: nothing.
SLOTS = {
    "lr_scheduler": {"create": "create", "destroy": "destroy", "values": "values, step 0"},
    "optimizer": {"create": "create", "destroy": "destroy", "granularity": "granularity", "describe_states": "describe_states",
                  "update": "update, step 0"},
    "tokenizer": {"create": "create", "destroy": "destroy", "describe": "describe", "encode": "encode", "decode": "decode"},
    "dataset_mixer": {"create": "create", "destroy": "destroy", "plan": "plan, step 0", "counts": "counts"},
    "model": {"create": "create", "destroy": "destroy", "parameter_count": "parameter_count", "parameter_info": "parameter_info",
              "unit_count": "unit_count", "unit_info": "unit_info of unit 0", "forward": "forward of unit 0, step 0",
              "backward": "backward of unit 0, step 0", "release": None},
}


class BadPluginFilesTest(BadPluginRun):
    def setUp(self):
        super().setUp()
        self.canary = self.scratch / "canary"
        self.environment["TRAINHOST_TEST_CANARY"] = str(self.canary)

    def bad_recipe(self, kind, plugin=None):
        return super().bad_recipe(kind, plugin, model=BIGRAM)  # the only plugin of the run that makes the canary is the bad one

    def spoilt(self, kind, spoil):
        path = self.scratch / "spoilt.so"
        path.write_bytes(spoil((FIXTURES / f"misbehaving_{kind}.so").read_bytes()))
        path.chmod(0o755)
        return path

    def assert_refused(self, kind, path, message):
        """As a mistake of the recipe, before anything of the plugin has run."""
        recipe = self.bad_recipe(kind, path)
        line = next(number for number, text in enumerate(recipe.read_text().splitlines(), 1) if text == f"[{TABLES[kind]}]")
        self.assert_says(recipe, f"{recipe}:{line}:1: {message}", 78)
        self.assertFalse(self.canary.exists(), "a constructor of the plugin ran")

    def test_files_that_are_no_usable_plugin_are_refused_before_their_code_runs(self):
        for kind in KINDS:
            for fault, (spoil, says) in FILES.items():
                with self.subTest(fault, kind=kind):
                    path = self.spoilt(kind, spoil)
                    self.assert_refused(kind, path, says.format(path=path, kind=kind))

    def test_a_file_cut_anywhere_is_refused(self):
        whole = (FIXTURES / "misbehaving_model.so").read_bytes()
        lengths = [0, 1, 4, 16, 52, 63, 64, 65, *range(100, len(whole), len(whole) // 40), len(whole) - 64, len(whole) - 1]
        for length in lengths:
            with self.subTest(length):
                path = self.spoilt("model", lambda file: file[:length])
                self.assert_refused("model", path, f"{path}: is not an ELF shared library" if length < 64 else
                                    f"{path}: is cut short: it has {length} bytes, fewer than its ELF header speaks of; copy it again")

    def test_a_file_or_folder_that_everybody_may_write_to_is_refused(self):
        for kind in KINDS:
            with self.subTest(kind):
                path = self.spoilt(kind, lambda file: file)
                path.chmod(0o757)
                says = '{0}: everybody may write to it, so it is not trusted; chmod o-w "{0}"'
                self.assert_refused(kind, path, says.format(path))
                path.chmod(0o755)
                self.scratch.chmod(0o707)
                self.assert_refused(kind, path, says.format(self.scratch))
                self.scratch.chmod(0o700)

    def test_a_plugin_of_another_kind_is_refused(self):
        for kind in KINDS:
            with self.subTest(kind):
                found = other(kind)
                path = FIXTURES / f"misbehaving_{found}.so"
                self.assert_refused(kind, path, f'"misbehaving_{found}" ({path}) is {article(found)} {found} plugin, '
                                    f"{article(kind)} {kind} is needed here")

    def test_a_plugin_that_is_of_another_kind_than_its_manifest_says(self):
        for kind in KINDS:
            with self.subTest(kind):
                found = other(kind)
                path = self.spoilt(found, changed(f'kind = "{found}"', f'kind = "{kind}"'))
                self.assert_says(self.bad_recipe(kind, path), f'{kind} plugin "misbehaving_{found}" 0.1.0 ({path}): get_kind gives no table '
                                 f'for "th.kind.{kind}/1", though that is the kind in its manifest', 76)

    def test_files_that_cannot_be_loaded(self):
        for kind in KINDS:
            for fault, (spoil, says, code, runs) in LOADING.items():
                with self.subTest(fault, kind=kind):
                    path = self.spoilt(kind, spoil)
                    self.assert_says(self.bad_recipe(kind, path), says.format(plugin=name_of(kind, path), path=path), code)
                    self.assertEqual(self.canary.exists(), runs)
                    self.canary.unlink(missing_ok=True)

    def test_entries_and_tables_that_break_the_contract(self):
        for kind in KINDS:
            size = 8 + 8 * len(SLOTS[kind])  # two numbers, then pointers
            for fault, (says, code) in ENTRIES.items():
                with self.subTest(fault, kind=kind):
                    self.assert_defect(kind, fault, says.format(plugin=name_of(kind), kind=kind, size=size), code)

    def test_each_required_slot_that_is_null_is_named(self):
        for kind, slots in SLOTS.items():
            for number, slot in enumerate(slots):
                with self.subTest(slot, kind=kind):
                    self.assert_defect(kind, f"null slot {number}",
                                       f'{name_of(kind)}: its table "th.kind.{kind}/1" has null in the required slot "{slot}"', 76)

    def test_exceptions_that_cross_the_boundary_are_blamed_on_the_call(self):
        for kind, slots in SLOTS.items():
            for number, (slot, place) in enumerate(slots.items()):
                if place is None:
                    continue
                with self.subTest(slot, kind=kind):
                    text = "" if slot == "encode" else " (told to throw)"  # the thread pool ends the process, and knows no more of it
                    self.assert_defect(kind, f"throw in slot {number}", f"an uncaught exception{text} in {name_of(kind)}: {place}", 70)
            with self.subTest("what the host itself may throw", kind=kind):
                self.assert_defect(kind, "bad_alloc in slot 0", f"an uncaught exception in {name_of(kind)}: create", 70)

    def assert_defect(self, kind, defect, message, code):
        self.environment["TRAINHOST_TEST_PLUGIN"] = defect
        self.assert_says(self.bad_recipe(kind), message, code)
        shutil.rmtree(self.scratch / "run", ignore_errors=True)

    def test_plugins_of_a_later_sdk_work(self):
        newer = changed('\nabi = "1.1"', '\nabi = "1.9"')
        for kind in KINDS:
            for defect in ("long table", "long plugin"):  # with slots and fields that this host does not know
                with self.subTest(defect, kind=kind):
                    self.environment["TRAINHOST_TEST_PLUGIN"] = defect
                    self.trainhost("--recipe", self.bad_recipe(kind, self.spoilt(kind, newer)))
                    self.assertEqual(newest_checkpoint(self.scratch / "run").name, "step-000000020")
                    shutil.rmtree(self.scratch / "run")


if __name__ == "__main__":
    unittest.main()
