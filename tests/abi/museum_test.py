"""The museum: plugins built with every released SDK still keep all rules and train; see museum/README.md."""
import os
import pathlib
import subprocess
import sys
import unittest

import altered_headers
from altered_headers import BINARY, SOURCE, abi

sys.path.insert(0, str(SOURCE / "tests" / "integration"))

import trainhost_run  # noqa: E402

MUSEUM = SOURCE / "tests" / "abi" / "museum"
HALLS = sorted(path for path in MUSEUM.iterdir() if path.is_dir())
TOOL = BINARY / "bin" / "trainhost-plugin"
TABLES = {"tokenizer": "tokenizer", "dataset_mixer": "mixer", "optimizer": "optimizer", "lr_scheduler": "schedule", "model": "model"}


def kind_of(plugin):
    return plugin.stem.rsplit("_", 1)[0]


def broken_rules(plugin):
    done = subprocess.run([TOOL, "validate", plugin, "--limit", "60"], capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line.startswith("FAILED")], done.returncode


class MuseumTest(trainhost_run.RunTest):
    def test_nothing_was_changed(self):
        self.assertGreater(len(HALLS), 0)
        for hall in HALLS:
            subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=hall, check=True)
            listed = {line.split()[1] for line in (hall / "SHA256SUMS").read_text().splitlines()}
            self.assertEqual(listed, {path.name for path in hall.iterdir()} - {"SHA256SUMS"})
            self.assertEqual({kind_of(pathlib.Path(name)) for name in listed}, set(TABLES))

    def test_every_released_version_has_its_hall(self):
        self.assertEqual([hall.name for hall in HALLS], sorted(path.stem for path in (SOURCE / "sdk/abi/released").glob("*.txt")))

    def test_all_keep_the_rules_of_today(self):
        for hall in HALLS:
            for plugin in sorted(hall.glob("*.so")):
                with self.subTest(plugin=plugin.relative_to(MUSEUM)):
                    self.assertEqual(broken_rules(plugin), ([], 0))

    def test_all_train(self):
        recipe = self.recipe("run", tokens=4096, **{"optimizer.beta2 = 0.99": ""})
        for hall in HALLS:
            for plugin in sorted(hall.glob("*.so")):
                with self.subTest(plugin=plugin.relative_to(MUSEUM)):
                    kind = kind_of(plugin)
                    table = f"{{plugin='{plugin}'{', peak_lr=0.01' if kind == 'lr_scheduler' else ''}}}"
                    run = self.scratch / plugin.stem
                    self.trainhost("--recipe", recipe, "--set", f"{TABLES[kind]}={table}", "--set", f"run.directory={run}")
                    losses = [line["loss"] for line in trainhost_run.training_log(run) if line["kind"] == "step"]
                    self.assertEqual(len(losses), 8)
                    self.assertLess(losses[-1], losses[0])


class MuseumFindsTest(altered_headers.GateTest):
    """A plugin of an SDK whose tables are others, as if this host had changed them since."""

    def validate_with(self, header, old, new):
        include = self.headers_with(header, old, new)
        project = self.scratch / "project"
        subprocess.run([TOOL, "new", "lr_scheduler", "other", "--language", "c"], cwd=self.scratch, check=True, capture_output=True)
        source = (self.scratch / "other" / "plugin.c").resolve()
        project.mkdir()
        manifest = (self.scratch / "other" / "plugin.toml").read_text() + '\n[sdk]\nabi = "1.0"\n'
        (project / "manifest").write_text(manifest)
        run = lambda *command: subprocess.run(command, cwd=project, check=True, capture_output=True)  # noqa: E731
        run("gcc", "-shared", "-fPIC", "-fvisibility=hidden", "-I", include, "-o", "bare.so", source, "-lm")
        run("objcopy", "--add-section", ".trainhost.manifest=manifest", "bare.so", "other.so")
        return broken_rules(project / "other.so")

    def test_the_same_tables_are_fine(self):
        self.assertEqual(self.validate_with("host.h", "int32_t (*cancelled)", "int32_t  (*cancelled)"), ([], 0))

    def test_two_slots_that_changed_places(self):
        values = "th_status (*values)(const th_lr_scheduler *, const th_progress *, th_schedule_values *out);"
        destroy = "void (*destroy)(th_lr_scheduler *); /* [init] */"
        text = (abi.INCLUDE / "trainhost" / "kinds" / "lr_scheduler.h").read_text()
        begin, end = text.index(destroy), text.index(values) + len(values)
        block = text[begin:end]
        swapped = block.replace(destroy, "\0").replace(values, destroy).replace("\0", values)
        broken, code = self.validate_with("kinds/lr_scheduler.h", block, swapped)
        self.assertEqual(code, 76)
        self.assertNotEqual(broken, [])

    def test_a_field_that_moved(self):
        broken, code = self.validate_with("host.h", "uint64_t tokens, total_tokens; ", "uint64_t total_tokens, tokens; ")
        self.assertEqual(code, 76)
        self.assertNotEqual(broken, [])


if __name__ == "__main__":
    unittest.main()
