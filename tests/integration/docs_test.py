"""The documents: their links lead somewhere, the rules that they name are those of the validator, and their code works."""
import multiprocessing.pool
import os
import pathlib
import re
import shutil
import tempfile
import tomllib
import unittest

from sdk_install_test import BUILD, NOTHING_OF_OURS, TABLES, install, run
from trainhost_run import SMALL, SOURCE, training_log

FOR_AUTHORS = [SOURCE / "sdk/README.md", *sorted((SOURCE / "sdk/docs").rglob("*.md"))]  # README.md's plugin: sdk_install_test
PAGES = [SOURCE / "README.md", *FOR_AUTHORS, *sorted((SOURCE / "core/docs").rglob("*.md"))]
RULE = re.compile(r"\bTH-[A-Z]+-\d\d\b")
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
STANDARDS = {"c": ("gcc", "c", "c11"), "cpp": ("g++", "c++", "c++20")}
EXPORTS = re.compile(r"TRAINHOST_PLUGIN\(|trainhost_plugin_entry\(")
PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(documents LANGUAGES C CXX)
find_package(TrainHostSDK 1 CONFIG REQUIRED)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_EXTENSIONS OFF)
"""
RECIPE = f"""
[run]
directory = "run"
tokens = 8192
[[source]]
name = "english"
paths = ["{SMALL}/english.txt"]
[[source]]
name = "questions"
paths = ["{SMALL}/questions.jsonl"]
format = "chat"
[packing]
sequence_length = 64
[training]
batch = 512
micro_batch = 256
"""


def prose(page):
    """The text of a page without its code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.S)


def anchors(page):
    """The anchors that a page's headings get: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ +(.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page):
    """The fenced blocks of a page in their order: language, text, and the file whose name and a colon end the line before it, or None."""
    for before, language, text in re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)^```$", page.read_text(), re.M | re.S):
        named = re.search(r"`([^`]+)`:$", before)
        yield language, text, named and named.group(1)


def plugins(page):
    """The whole plugins of a page: language, source, and the manifest, which is the last before it."""
    manifest = None
    for language, text, _ in blocks(page):
        if language == "toml":
            manifest = text
        if language in STANDARDS and EXPORTS.search(text):
            yield language, text, manifest


def links(pages):
    """The relative links of pages: the page, the link, and whether it leads to a file and, where it names one, a heading."""
    for page in pages:
        for target in re.findall(r"\]\(([^()\s]+)\)", prose(page)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            yield page, target, file.exists() and (not anchor or anchor in anchors(file))


class DocsTest(unittest.TestCase):
    def test_every_relative_link_leads_to_a_file_and_a_heading(self):
        found = list(links(PAGES))
        self.assertEqual([f"{page.relative_to(SOURCE)}: {target}" for page, target, leads in found if not leads], [])
        self.assertGreater(len(found), 10)

    def test_every_rule_that_a_page_names_is_explained_and_checked(self):
        explained = set(re.findall(r"^\| (TH-[A-Z]+-\d\d) \|", (SOURCE / "sdk/docs/rules.md").read_text(), re.M))
        checked = {rule for suffix in ("cpp", "h") for file in (SOURCE / "sdk/validator").rglob(f"*.{suffix}")
                   for rule in RULE.findall(file.read_text())}
        self.assertEqual(explained, checked)
        named = {rule for page in PAGES for rule in RULE.findall(page.read_text())}
        self.assertEqual(named - explained, set())


class CodeTest(unittest.TestCase):
    """With nothing but what is installed."""

    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="trainhost_test_"))
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)
        cls.prefix = cls.home / "trainhost"
        install(cls.prefix, "sdk", "runtime", "plugins")
        run("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", "libtorch",
            env={**os.environ, "CMAKE_INSTALL_MODE": "SYMLINK"})  # a gigabyte
        cls.stranger = {**NOTHING_OF_OURS, "HOME": str(cls.home), "TRAINHOST_CACHE": str(cls.home / "cache"), "NO_COLOR": "1"}

    def folder(self, name):
        folder = self.home / name
        folder.mkdir()
        return folder

    def test_the_links_of_installed_pages_lead_somewhere(self):
        pages = self.prefix / "share" / "doc" / "trainhost-sdk"
        found = list(links(pages.rglob("*.md")))
        self.assertEqual([f"{page.relative_to(pages)}: {target}" for page, target, leads in found if not leads], [])
        self.assertGreater(len(found), 10)

    def test_every_plugin_builds_without_a_warning_keeps_the_rules_and_trains(self):
        folder, project, names = self.folder("plugins"), PROJECT, []
        for page in FOR_AUTHORS:
            for language, source, manifest in plugins(page):
                self.assertIsNotNone(manifest, f"{page.relative_to(SOURCE)}: a whole plugin without a manifest before it")
                names.append(name := f"{page.stem.lower()}_{language}_{len(names)}")
                (folder / f"{name}.{language}").write_text(source)
                (folder / f"{name}.toml").write_text(manifest)
                project += f"trainhost_add_plugin({name} MANIFEST {name}.toml SOURCES {name}.{language} LIBRARIES m)\n"
                project += f"target_compile_options({name} PRIVATE {' '.join(WARNINGS)})\n"
        self.assertGreaterEqual(len(names), 11)  # of each kind one in C and one in C++; the guide's
        (folder / "CMakeLists.txt").write_text(project)
        run("cmake", "-G", "Ninja", "-B", "build", f"-DCMAKE_PREFIX_PATH={self.prefix}", cwd=folder, env=self.stranger)
        run("cmake", "--build", "build", cwd=folder, env=self.stranger)
        with multiprocessing.pool.ThreadPool(2) as pool:
            pool.map(lambda name: self.validate(folder / "build" / f"{name}.so", folder / f"{name}.toml"), names, chunksize=1)
        self.train(self.folder("c"), [name for name in names if "_c_" in name])
        self.train(self.folder("cpp"), [name for name in names if "_cpp_" in name], "--processes", "2")

    def train(self, folder, names, *arguments):
        """One run with a plugin of each kind."""
        recipe = RECIPE
        for kind, table in TABLES.items():
            name, = [name for name in names if name.startswith(kind)]
            parameters = "peak_lr = 0.1" if kind == "lr_scheduler" else ""
            recipe += f'[{table}]\nplugin = "../plugins/build/{name}.so"\n{parameters}\n'
        (folder / "recipe.toml").write_text(recipe)
        run(self.prefix / "bin" / "trainhost", *arguments, "--recipe", "recipe.toml", cwd=folder, env=self.stranger)
        losses = [line["loss"] for line in training_log(folder / "run") if line["kind"] == "step"]
        self.assertEqual(len(losses), 16)
        self.assertLess(losses[-1], losses[0])

    def validate(self, plugin, manifest):
        parameters = tomllib.loads(manifest.read_text()).get("parameter", [])
        required = [word for one in parameters if one.get("required") for word in ("--set", f"{one['name']}=0.01")]
        run(self.prefix / "bin" / "trainhost-plugin", "validate", plugin, *required, env=self.stranger)

    def test_every_other_piece_of_code_compiles(self):
        seen = 0
        for page in FOR_AUTHORS:
            for language, text, _ in blocks(page):
                if language not in STANDARDS or EXPORTS.search(text):
                    continue
                compiler, called, standard = STANDARDS[language]
                with self.subTest(page=page.relative_to(SOURCE), begins=text[:60]):
                    options = ("-x", called, f"-std={standard}", *WARNINGS, "-fsyntax-only", "-I", self.prefix / "include")
                    run(compiler, *options, "-", input=text)
                seen += 1
        self.assertGreater(seen, 0)

    def test_the_guide_works_as_it_stands(self):
        folder = self.folder("guide")
        script = "set -e\n"
        for language, text, name in blocks(SOURCE / "sdk/docs/guide.md"):
            if language == "sh":
                script += text
            elif name:  # the reader writes the file where the page says so
                self.assertNotEqual(language, "console")
                script += f"cat > {name} <<'END_OF_FILE'\n{text}END_OF_FILE\n"
            else:
                self.assertEqual(language, "console", f"neither run nor written: {text}")
        run("sh", input=script, cwd=folder, env=self.stranger)
        for directory in ("run", "again"):
            steps = [line for line in training_log(folder / directory) if line["kind"] == "step"]
            self.assertEqual(len(steps), 40)
            for step, line in enumerate(steps):  # 10 steps of warm-up
                self.assertAlmostEqual(line["learning_rate"], 0.01 * min(step / 10, (10 / max(step, 1)) ** 0.5), delta=1e-12)


if __name__ == "__main__":
    unittest.main()
