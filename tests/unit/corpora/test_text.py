import unittest

from corpora import text


class Clean(unittest.TestCase):
    def test_white_space_and_invisible_characters(self):
        self.assertEqual(text.clean("\ufeffa\u00a0b\u00ad \r\n\n\n\nc\x07\n\n"), "a b\n\nc")

    def test_composes_characters(self):
        self.assertEqual(text.clean("e\u0301"), "é")


class Unwrap(unittest.TestCase):
    def test_english_lines_are_joined_with_a_blank(self):
        self.assertEqual(text.unwrap("one\n  two"), "one two")

    def test_chinese_lines_are_joined_without(self):
        self.assertEqual(text.unwrap("目前包\n含了，\n软件"), "目前包含了，软件")

    def test_mixed_lines_keep_the_blank(self):
        self.assertEqual(text.unwrap("使用\nDebian\n系统"), "使用 Debian 系统")

    def test_a_word_broken_after_its_hyphen_is_whole_again(self):
        self.assertEqual(text.unwrap("co-\noperative"), "co-operative")

    def test_verse_keeps_its_lines(self):
        self.assertEqual(text.unwrap_paragraphs("a\nb\n\n  c\n  d"), "a b\n\n  c\n  d")


class Chinese(unittest.TestCase):
    def test_share(self):
        self.assertEqual(text.chinese_share("中文ab，12"), 0.5)

    def test_untranslated_lines_go_and_code_stays(self):
        english = "This whole sentence has never been translated by anybody."
        document = f"# 标题\n\n这一段已经翻译成中文了，所以应该保留下来。\n\n{english}\n\n    printf(\"hello world, this is code and not a sentence\");"
        self.assertEqual(text.keep_chinese(document), document.replace(english + "\n", ""))

    def test_a_document_in_another_language_is_dropped(self):
        self.assertEqual(text.keep_chinese("Short line.\n中"), "")


class Structure(unittest.TestCase):
    def test_repeated_paragraphs_are_dropped_but_list_items_stay(self):
        repetitions = text.Repetitions(least_length=5)
        notice, item = "The same notice.", "- the same item"
        self.assertEqual(repetitions.drop([notice, item]), [notice, item])
        self.assertEqual(repetitions.drop([notice, item, "New text."]), [item, "New text."])

    def test_headings_without_text_are_dropped(self):
        self.assertEqual(text.without_empty_sections(["# A", "## B", "## C", "c", "# D"]), ["# A", "## C", "c"])

    def test_drawings(self):
        self.assertTrue(text.is_drawing("    +---+\n    | a |\n    +---+"))
        self.assertFalse(text.is_drawing("    int main(void) { return 0; }"))
        self.assertFalse(text.is_drawing("+---+"))

    def test_entities_but_not_program_code(self):
        self.assertEqual(text.unescape_entities("a&nbsp;b &amp; &#177; &notify;"), "a\u00a0b & ± &notify;")


if __name__ == "__main__":
    unittest.main()
