"""Questions and answers as conversations, English and Chinese, and definitions of English words."""
import re
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from corpora.formats import hypertext, pod, restructured_text, roff, wordnet
from corpora.formats.hypertext import Element
from corpora.output import Output
from corpora.packages import Package
from corpora.source import Source
from corpora.sources import manuals
from corpora.text import chinese_share, keep_chinese

_DEBIAN_FAQ = "usr/share/doc/debian/FAQ"
_LONGEST_ANSWER = 4000  # characters
_HAN = re.compile(r"[\u4e00-\u9fff]")


def _of_fair_length(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((question, answer) for question, answer in pairs if 20 <= len(answer) <= _LONGEST_ANSWER)


def sections(html: str) -> Iterator[tuple[str, str]]:
    """(heading, text below it) for each innermost section of a DocBook page whose heading is a question."""
    for section in hypertext.parse(html).elements():
        if "section" not in section.classes or any("section" in e.classes for c in section.children if isinstance(c, Element) for e in c.elements() if e.tag == "div"):
            continue
        title = section.find(lambda e: re.fullmatch(r"h[1-6]", e.tag) is not None)
        question = hypertext.heading(title) if title else ""
        if question.endswith(("?", "？", "?!", "？！")):
            yield question, "\n\n".join(hypertext.paragraphs(section, lambda e: "titlepage" in e.classes))


def _from_pages(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        yield from sections(path.read_text(encoding="utf-8"))


def _perl_questions(package: Package) -> Iterator[tuple[str, str]]:
    for path in package.glob("usr/share/perl/*/pod/perlfaq[1-9].pod"):
        yield from pod.questions(path.read_text(encoding="utf-8"))


def _python_questions(package: Package) -> Iterator[tuple[str, str]]:
    for path in package.glob("usr/share/doc/python3.11/html/_sources/faq/*.rst.txt"):
        yield from restructured_text.questions(path.read_text(encoding="utf-8"))


def _write_english(packages: Mapping[str, Package], output: Output) -> None:
    debian = packages["debian-faq"].glob(f"{_DEBIAN_FAQ}/*.en.html")
    output.conversations("perl.jsonl", _of_fair_length(_perl_questions(packages["perl-doc"])))
    output.conversations("python.jsonl", _of_fair_length(_python_questions(packages["python3.11-doc"])))
    output.conversations("debian.jsonl", _of_fair_length(_from_pages(debian)))


def chinese_question(heading: str) -> str:
    """The Chinese half of a heading in two languages ("What is Perl? 什么是 Perl"); "" where there is none."""
    parts = [part.strip() for part in re.split(r"(?<=[?？]) +", heading) if _HAN.search(part)]
    question = parts[-1].rstrip('"') if parts else ""
    return question if not question or question.endswith(("?", "？")) else question + "？"


def _chinese_perl_questions(package: Package) -> Iterator[tuple[str, str]]:
    for path in package.glob("usr/share/man/zh_CN/man7/perlfaq[1-9].7.gz"):
        question, answer = "", []
        for block in [*roff.paragraphs(manuals.read(path)), "## "]:
            if block.startswith("#"):
                yield question, keep_chinese("\n\n".join(answer))
                question, answer = chinese_question(block.lstrip("# ")) if block.startswith("### ") else "", []
            else:
                answer.append(block)


def _command_questions(package: Package) -> Iterator[tuple[str, str]]:
    """What a command, function or file is, from the first section of its manual page."""
    kinds = {"1": "命令", "8": "命令", "2": "系统调用", "3": "函数", "5": "文件"}
    for path in package.glob("usr/share/man/zh_CN/man[12358]/*.gz"):
        page = manuals.read(path)
        blocks = [] if roff.is_mdoc(page) else roff.paragraphs(page)
        summary = re.fullmatch(r"([\w.+-]+)(?:, [\w.+, -]+)? [-–—]+ (.+)", blocks[1]) if len(blocks) > 1 else None
        if summary and chinese_share(summary[2]) > 0.5 and len(summary[2]) >= 4:
            name, use, kind = summary[1], summary[2].rstrip("。. "), kinds[path.parent.name[3:]]
            yield f"{name} {kind}有什么用？" if kind != "文件" else f"{name} 是什么？", f"{name}：{use}。"


def _write_chinese(packages: Mapping[str, Package], output: Output) -> None:
    debian = packages["debian-faq-zh-cn"].glob(f"{_DEBIAN_FAQ}/zh-cn/*.zh-cn.html")
    faq = ((question, keep_chinese(answer)) for question, answer in _from_pages(debian) if _HAN.search(question))
    output.conversations("debian.jsonl", _of_fair_length(faq))
    output.conversations("perl.jsonl", _of_fair_length((q, a) for q, a in _chinese_perl_questions(packages["manpages-zh"]) if q))
    output.conversations("commands.jsonl", _command_questions(packages["manpages-zh"]))


_DEFINITION_QUESTIONS = ("What does the {part} “{word}” mean?", "What is the meaning of “{word}”?", "Define “{word}”.",
                         "What is meant by “{word}”?", "Explain the {part} “{word}”.")


def definition(sense: wordnet.Sense, number: int) -> tuple[str, str]:
    """A question about a word and its answer with synonyms and one example; the wording of the question goes round by `number`."""
    question = _DEFINITION_QUESTIONS[number % len(_DEFINITION_QUESTIONS)].format(word=sense.word, part=sense.part)
    article = "an" if sense.part[0] in "a" else "a"
    answer = f"“{sense.word}” is {article} {sense.part}. It means: {sense.definition}."
    if sense.synonyms:
        answer += f" {'Synonyms' if len(sense.synonyms) > 1 else 'A synonym'}: {', '.join(sense.synonyms[:4])}."
    example = sense.examples[0]
    return question, f"{answer} For example: {example[0].upper()}{example[1:]}{'' if example[-1] in '.?!' else '.'}"


def _write_definitions(packages: Mapping[str, Package], output: Output) -> None:
    folder = "usr/share/wordnet"
    package = packages["wordnet-base"]
    senses: list[wordnet.Sense] = []
    for part in ("noun", "verb", "adj", "adv"):
        index, data = (package.path(f"{folder}/{kind}.{part}").read_text(encoding="latin-1") for kind in ("index", "data"))
        senses += [s for s in wordnet.senses(index, data) if s.examples and s.definition]
    output.conversations("words.jsonl", (definition(sense, number) for number, sense in enumerate(senses)))


SOURCES = [
    Source(
        name="questions",
        summary="questions and answers about Perl, Python and Debian (chat JSONL)",
        language="en",
        packages={"perl-doc": "GPL-1+ or Artistic", "python3.11-doc": "PSF-2", "debian-faq": "the FAQ's own (free, copyleft)"},
        treatment="each section whose heading is a question became one conversation; answers over 4000 characters left out; "
                  "formatting, links and tables left out",
        write=_write_english,
    ),
    Source(
        name="chinese_questions",
        summary="questions and answers about Debian, Perl and commands in simplified Chinese (chat JSONL)",
        language="zh",
        packages={"debian-faq-zh-cn": "the FAQ's own (free, copyleft)", "manpages-zh": "GFDL-1.2+, GPL-2+ and public domain, per page"},
        treatment="each section whose heading is a question became one conversation, and so did the first line of each manual page; "
                  "answers over 4000 characters, formatting, links, tables and untranslated text left out",
        write=_write_chinese,
    ),
    Source(
        name="definitions",
        summary="definitions of common English words with synonyms and examples (chat JSONL)",
        language="en",
        packages={"wordnet-base": "WordNet-3.0"},
        treatment="the most frequent sense of each word that WordNet's authors met in text and that has an example sentence",
        write=_write_definitions,
    ),
]
