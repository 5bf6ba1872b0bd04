"""Manual pages, English and Chinese."""
import gzip
import re
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from corpora.formats import roff
from corpora.output import Output
from corpora.packages import Package
from corpora.source import Source
from corpora.text import Repetitions, keep_chinese, unescape_entities, without_empty_sections

_NO_PROSE = re.compile(
    r"SEE ALSO|AUTHORS?\b|COPYRIGHT|REPORTING BUGS|COLOPHON|KEYWORDS|参见|另见|又见|参考文献|作者|著作者|译者|报告错误|报告缺陷|版权|^## 跋|"
    r"维护人|最新更新|更新日期|翻译计划|翻译人|手册页", re.IGNORECASE)
_LEAST_CHARACTERS = 300


def page_name(path: Path) -> str:
    """ls(1) for .../man1/ls.1.gz"""
    name, _, section = path.name.removesuffix(".gz").rpartition(".")
    return f"{name}({section})"


def read(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")


def pages(paths: Iterable[Path]) -> Iterator[tuple[Path, list[str]]]:
    """The blocks of each page that is a page of its own (not a pointer to another) and written with the man macros."""
    repetitions = Repetitions(least_length=60)
    for path in paths:
        page = read(path)
        if roff.is_mdoc(page) or re.match(r"\.so\b", page):
            continue
        blocks = roff.without_sections(roff.paragraphs(page), _NO_PROSE)
        yield path, without_empty_sections(repetitions.drop(blocks))


def _document(path: Path, blocks: list[str]) -> str:
    return "\n\n".join([f"# {page_name(path)}", *blocks])


def _write_english(packages: Mapping[str, Package], output: Output) -> None:
    paths = [path for package in packages.values() for path in package.glob("usr/share/man/man*/*.gz")]
    texts = (_document(path, blocks) for path, blocks in pages(sorted(paths)))
    output.documents("pages.jsonl", (text for text in texts if len(text) >= _LEAST_CHARACTERS))


def _write_chinese(packages: Mapping[str, Package], output: Output) -> None:
    paths = (p for p in packages["manpages-zh"].glob("usr/share/man/zh_CN/man*/*.gz") if not p.name.startswith("perlfaq"))
    texts = (keep_chinese(unescape_entities(_document(path, blocks))) for path, blocks in pages(paths))
    output.documents("pages.jsonl", (text for text in texts if len(text) >= _LEAST_CHARACTERS // 2))


SOURCES = [
    Source(
        name="manual_pages",
        summary="manual pages of Linux and the C library",
        language="en",
        packages={"manpages": "GPL-2+ and other free licences, per page", "manpages-dev": "GPL-2+ and other free licences, per page"},
        treatment="roff turned into paragraphs; tables, formatting, sections on authors, copyright, bugs and other pages left out",
        write=_write_english,
    ),
    Source(
        name="chinese_manual_pages",
        summary="manual pages in simplified Chinese (Perl's FAQ is in chinese_questions)",
        language="zh",
        packages={"manpages-zh": "GFDL-1.2+, GPL-2+ and public domain, per page"},
        treatment="roff turned into paragraphs; only zh_CN (zh_TW is converted from it); untranslated pages and paragraphs, tables, "
                  "formatting, sections on authors, copyright, translators and other pages left out",
        write=_write_chinese,
    ),
]
