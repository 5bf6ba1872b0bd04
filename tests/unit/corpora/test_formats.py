import struct
import unittest
import zlib

from corpora.formats import asciidoc, fortunes, hypertext, markdown, pod, r_data, restructured_text, roff, wordnet


def r_character_vector(strings):
    """Serialized as R 3.5 and later do it: XDR, version 3, with the name of the native encoding."""
    record = b"X\n" + struct.pack(">III", 3, 0x040201, 0x030500) + struct.pack(">I", 5) + b"UTF-8" + struct.pack(">II", 16, len(strings))
    for string in strings:
        data = b"" if string is None else string.encode()
        record += struct.pack(">II", 0x00040009, 0xFFFFFFFF if string is None else len(data)) + data
    return record


def r_database(*records):
    return b"".join(struct.pack(">I", len(record)) + zlib.compress(record) for record in records)


class RData(unittest.TestCase):
    def test_records_and_strings(self):
        database = r_database(r_character_vector(["EMMA", "", "café", None]), r_character_vector(["x"]))
        self.assertEqual([r_data.strings(record) for record in r_data.records(database)], [["EMMA", "", "café", ""], ["x"]])

    def test_cut_and_wrong_length_are_errors(self):
        database = r_database(r_character_vector(["x"]))
        for broken in (database[:-3], database + b"\0", struct.pack(">I", 1) + database[4:], struct.pack(">I", 4) + b"none"):
            with self.assertRaises(ValueError):
                list(r_data.records(broken))

    def test_other_objects_are_an_error(self):
        with self.assertRaisesRegex(ValueError, "type 14"):
            r_data.strings(b"X\n" + struct.pack(">IIIII", 2, 0, 0, 14, 0))


class Roff(unittest.TestCase):
    def test_sections_tags_fonts_and_escapes(self):
        page = ('.\\" a comment\n.TH LS 1\n.SH NAME\nls \\- list \\fIdirectory\\fP contents\n.SH OPTIONS\n.TP\n.BR \\-a ", " \\-\\-all\n'
                'do not ignore\nentries starting with\n.B .\n.PP\nA \\(lqquoted\\(rq word, see\n.BR stat (2).\n')
        self.assertEqual(roff.paragraphs(page), [
            "## NAME", "ls - list directory contents", "## OPTIONS", "-a, --all\n    do not ignore entries starting with .",
            "A “quoted” word, see stat(2)."])

    def test_code_keeps_its_lines(self):
        self.assertEqual(roff.paragraphs(".nf\nint main(void)\n{\n.fi\n"), ["    int main(void)\n    {"])

    def test_bullets_and_nesting(self):
        self.assertEqual(roff.paragraphs(".IP \\(bu 2\nfirst\n.IP \\(bu\nsecond\n.TP\ntag\n.RS\n.IP x\ninner\n.RE\n"),
                         ["- first", "- second", "tag", "    x\n        inner"])

    def test_definitions_conditionals_and_tables_are_left_out(self):
        page = ".de Sh\n.br\n\\fB\\\\$1\\fR\n..\n.if t .ds x y\n.ie \\nF \\{\\\n.tm no\n.\\}\n.el .nr F 0\n.TS\nl l.\na\tb\n.TE\ntext\n"
        self.assertEqual(roff.paragraphs(page), ["text"])

    def test_unwanted_sections(self):
        import re
        self.assertEqual(roff.without_sections(["## NAME", "a", "## SEE ALSO", "b", "## NOTES", "c"], re.compile("SEE ALSO")),
                         ["## NAME", "a", "## NOTES", "c"])

    def test_mdoc_is_told_apart(self):
        self.assertTrue(roff.is_mdoc(".Dd June 1\n.Dt SSH 1\n"))
        self.assertFalse(roff.is_mdoc(".TH LS 1\n.SH NAME\n"))


class Hypertext(unittest.TestCase):
    def text(self, html):
        return hypertext.paragraphs(hypertext.parse(html))

    def test_paragraphs_entities_and_headings(self):
        self.assertEqual(self.text("<h2>1.2. What&#8217;s new?</h2><p>a &amp; <em>b</em>\nc</p>"), ["## What’s new?", "a & b c"])

    def test_lists_and_code(self):
        self.assertEqual(self.text("<ul><li><p>one</p></li><li>two</li></ul><ol><li>x<pre>a\n b\n</pre></li></ol>"),
                         ["- one\n- two", "1. x\n\n       a\n        b"])

    def test_navigation_scripts_tables_and_pictures_are_left_out(self):
        html = ('<head><title>t</title></head><div class="navheader">Next</div><script>x()</script><table><tr><td>1</td></tr></table>'
                '<div class="toc"><p>Contents</p></div><p>text<img src="a" alt="b"></p>')
        self.assertEqual(self.text(html), ["text"])

    def test_paragraphs_without_end_tags(self):
        self.assertEqual(self.text("<p>one<p>two<br>three"), ["one", "two three"])

    def test_empty_elements_of_xhtml(self):
        self.assertEqual(self.text('<h1><a id="x"/>第 5 章 网络设置</h1>'), ["# 网络设置"])


class Pod(unittest.TestCase):
    FAQ = ("=head1 NAME\n\nperlfaq - x\n\n=head2 Why is C<int()> broken?\n\nYour C<< $a->{x} >> is B<fine>, see L<perlop/\"Math\"> and\n"
           "E<lt>hereE<gt>.\n\n    print int(0.6/0.2-2), \"\\n\";\n\n=over 4\n\n=item *\n\nfirst\n\n=item 2\n\nsecond\n\n=back\n\n"
           "=head2 Not one\n\ntext\n\n=begin html\n\n<b>no</b>\n\n=end html\n\n=head2 Really?\n\nYes.\n\n=cut\n")

    def test_questions(self):
        self.assertEqual(list(pod.questions(self.FAQ)), [
            ("Why is int() broken?", "Your $a->{x} is fine, see Math in perlop and <here>.\n\n    print int(0.6/0.2-2), \"\\n\";\n\n"
                                     "- first\n\n2. second"),
            ("Really?", "Yes.")])


class RestructuredText(unittest.TestCase):
    def test_headings_roles_and_code(self):
        document = ("=====\nTitle\n=====\n\n.. module:: x\n   :synopsis: y\n\nUse :func:`~os.path.join` or `the docs <http://x>`_,\n"
                    "``a*b`` and *this*::\n\n   code = 1\n\n     more\n\nSub\n---\n\ntext [1]_\n")
        self.assertEqual(restructured_text.paragraphs(document), [
            "# Title", "Use join or the docs, `a*b` and *this*:", "    code = 1\n\n      more", "## Sub", "text"])

    def test_descriptions_notes_and_lists(self):
        document = (".. function:: f(a)\n              f(a, b)\n\n   Does it.\n\n   .. versionadded:: 3.4\n\n.. note::\n\n   Mind *this*.\n\n"
                    "- one\n  more\n- two\n\n1) first\n2) second\n\nterm\n   meaning\n")
        self.assertEqual(restructured_text.paragraphs(document), [
            "f(a)\nf(a, b)\n    Does it.", "Note: Mind *this*.", "- one more\n- two", "1. first\n2. second", "term\n    meaning"])

    def test_tables_comments_and_targets_are_left_out(self):
        document = "+---+---+\n| a | b |\n+---+---+\n\n.. a comment\n   goes on\n\n.. _label:\n\n===  ===\nA    B\n===  ===\n1    2\n===  ===\n\nend\n"
        self.assertEqual(restructured_text.paragraphs(document), ["end"])

    def test_questions(self):
        document = "General\n=======\n\nWhat is it?\n-----------\n\nA thing.\n\nOther\n-----\n\nx\n"
        self.assertEqual(list(restructured_text.questions(document)), [("What is it?", "A thing.")])


class Asciidoc(unittest.TestCase):
    def test_page(self):
        document = ("git-x(1)\n========\n\nSYNOPSIS\n--------\n[verse]\n'git x' [-a]\n\t[<path>]\n\nOPTIONS\n-------\n-a::\n--all::\n\tShow "
                    "`all`, see linkgit:git-web{litdd}browse[1].\n+\nMore.\n\nExample:\n\n------------\n$ git x\n------------\n\ninclude::y.txt[]\n")
        self.assertEqual(asciidoc.paragraphs(document), [
            "# git-x(1)", "## SYNOPSIS", "git x [-a]\n        [<path>]", "## OPTIONS", "-a", "--all\n    Show `all`, see git-web--browse(1).",
            "    More.", "Example:", "    $ git x"])


class Markdown(unittest.TestCase):
    def test_links_escapes_and_line_breaks(self):
        page = '## 1\\. Why?\n\nSee [the\nFAQ](a.md "title") on co-\noperation in **Book** , p. 2.\n\n> _"one\n> two"_\n\n  * a\n  * b\n'
        self.assertEqual(markdown.plain(page), '## 1. Why?\n\nSee the FAQ on co-operation in **Book**, p. 2.\n\n> _"one two"_\n\n  * a\n  * b')

    def test_sections(self):
        self.assertEqual(markdown.sections("intro\n\n# A\n\na\n\n## B\nb\n\n### C\n"), ["intro", "# A\n\na", "## B\nb\n\n### C"])

    def test_link_share(self):
        self.assertEqual(markdown.link_share("[ab](cd)"), 1.0)
        self.assertEqual(markdown.link_share("text"), 0.0)


class Fortunes(unittest.TestCase):
    def test_poems_lose_their_colours(self):
        file = "\x1b[32m《鹿柴》\x1b[m\n\x1b[33m作者：王维\x1b[m\n空山不见人，但闻人语响。\n%\n^[[32m题目:《村行》^[[m\n作者:王禹偁（９５４－１００１）\n马穿山径\n%\nno poem\n%\n"
        entries = fortunes.entries(file)
        self.assertEqual([fortunes.poem(entry) for entry in entries], [
            ("鹿柴", "王维", "空山不见人，但闻人语响。"), ("村行", "王禹偁", "马穿山径"), None])

    def test_sayings(self):
        self.assertEqual(fortunes.saying("过犹不及。\n    -- 《论语》"), ("过犹不及。", "《论语》"))
        self.assertEqual(fortunes.saying("过犹不及。"), ("过犹不及。", ""))


class WordNet(unittest.TestCase):
    DATA = '  1 licence\n00000012 04 n 02 foray 0 sea_raid 0 001 @ 00975452 n 0000 | a sudden attack; "they made a foray"; "a raid"  \n'
    INDEX = "  1 licence\nforay n 1 1 @ 1 2 00000012  \nrare n 1 1 @ 1 0 00000012  \n"

    def test_words_met_in_text(self):
        (sense,) = wordnet.senses(self.INDEX, self.DATA)
        self.assertEqual(sense, wordnet.Sense("foray", "noun", ("sea raid",), "a sudden attack", ("they made a foray", "a raid")))

    def test_gloss_without_example(self):
        self.assertEqual(wordnet.gloss("expel air "), ("expel air", ()))


if __name__ == "__main__":
    unittest.main()
