import json
import tempfile
import unittest
from pathlib import Path

from corpora import output, sources
from corpora.output import Output
from corpora.packages import Package
from corpora.source import Source
from corpora.sources import novels, poems, questions
from corpora.formats.wordnet import Sense


class Novels(unittest.TestCase):
    def test_chapters(self):
        lines = ["EMMA", "", "VOLUME I", "CHAPTER I", "", "one", "volume of the Spectator", "VOLUME II", "CHAPTER II", "two", "FINIS", "note"]
        self.assertEqual(novels.chapters(lines), ["\none\nvolume of the Spectator", "two"])


class Questions(unittest.TestCase):
    PAGE = ('<div class="chapter"><h1>1. Basics</h1><div class="section"><div class="titlepage"><h2>1.1. What is Debian?</h2></div><p>A system.</p></div>'
            '<div class="section"><div class="titlepage"><h2>1.2. History</h2></div><p>Old.</p></div></div>')

    def test_sections_that_ask(self):
        self.assertEqual(list(questions.sections(self.PAGE)), [("What is Debian?", "A system.")])

    def test_chinese_half_of_a_heading(self):
        self.assertEqual(questions.chinese_question("What is Ponie? 什么是 Ponie"), "什么是 Ponie？")
        self.assertEqual(questions.chinese_question("What is perl6?"), "")

    def test_definition(self):
        sense = Sense("foray", "noun", ("raid",), "a sudden attack", ("they made a foray",))
        self.assertEqual(questions.definition(sense, 1), (
            "What is the meaning of “foray”?",
            "“foray” is a noun. It means: a sudden attack. A synonym: raid. For example: They made a foray."))


class Poems(unittest.TestCase):
    def test_sayings_leave_out_traditional_characters_and_excerpts(self):
        file = "满招损，谦受益。\n    -- 《尚书》\n%\n《詩經》有其義而亡其辭\n%\n2.3.5. 全面的系统升级\n%\n"
        self.assertEqual(poems.sayings(file), ["满招损，谦受益。\n——《尚书》"])


class Writing(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)
        self.output = Output(self.folder)

    def test_documents_are_cleaned_and_never_repeated(self):
        self.output.documents("a.jsonl", ["one ", "", "one", "中\x00文"])
        lines = (self.folder / "a.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertEqual([json.loads(line) for line in lines], [{"text": "one"}, {"text": "中文"}])

    def test_conversations(self):
        self.output.conversations("a.jsonl", [("Q?", "A."), ("Q?", "")])
        self.assertEqual(json.loads((self.folder / "a.jsonl").read_text(encoding="utf-8")),
                         {"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]})

    def test_provenance_tells_what_is_there(self):
        package = Package("p", "1.0-1", "ab" * 32, self.folder)
        source = Source("s", 'a "summary"', "en", {"p": "GPL-2"}, "none", lambda packages, output: None)
        self.output.file("a.txt", "text")
        output.write_provenance(self.output, source, {"p": package}, "fingerprint")
        provenance = output.read_provenance(self.folder)
        self.assertEqual(provenance["summary"], 'a "summary"')
        self.assertEqual(provenance["package"][0]["version"], "1.0-1")
        self.assertEqual((provenance["documents"], provenance["bytes"]), (1, 5))
        self.assertTrue(output.is_complete(self.folder, provenance))
        (self.folder / "a.txt").write_text("tex")
        self.assertFalse(output.is_complete(self.folder, provenance))


class Registry(unittest.TestCase):
    def test_names_are_unique(self):
        names = [source.name for source in sources.ALL]
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main()
