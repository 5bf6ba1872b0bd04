"""Handbooks in HTML, English and Chinese: one document per page."""
import re
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from corpora.formats import hypertext, restructured_text
from corpora.formats.hypertext import Element
from corpora.output import Output
from corpora.packages import Package
from corpora.source import Source
from corpora.sources import documentation
from corpora.text import Repetitions, clean, keep_chinese, without_empty_sections

_NO_PROSE = re.compile(r"^(index|ix\d+|bk\d+|toc)\b")
_KERNEL_NO_PROSE = re.compile(r".*(disclaimer|index\.rst)")
_LEAST_CHARACTERS = 300
_HANDBOOK = "usr/share/doc/debian-handbook/html"


def _is_furniture(element: Element) -> bool:
    """What the pages of these manuals have around their text."""
    return (element.attributes.get("id") in ("banner", "title", "DonationFrame", "SearchFrame", "DEBUG")
            or bool(element.classes & {"howtoget", "relatedtopics", "related", "MAC", "noteicon", "bug", "debug", "input"}))


def _content(html: str) -> Element:
    tree = hypertext.parse(html)
    return tree.find(lambda e: e.attributes.get("id") == "DisplayArea") or tree.find(lambda e: e.tag == "body") or tree


def pages(paths: Iterable[Path]) -> Iterator[str]:
    repetitions = Repetitions(least_length=30)
    for path in paths:
        if _NO_PROSE.match(path.name):
            continue
        blocks = hypertext.paragraphs(_content(path.read_text(encoding="utf-8").replace("↵", "")), _is_furniture)
        yield clean("\n\n".join(without_empty_sections(repetitions.drop(blocks))))


def _write_english(packages: Mapping[str, Package], output: Output) -> None:
    for name, paths in {
        "debian_handbook": packages["debian-handbook"].glob(f"{_HANDBOOK}/en-US/*.html"),
        "debian_reference": packages["debian-reference-en"].glob("usr/share/debian-reference/*.en.html"),
    }.items():
        output.documents(f"{name}.jsonl", (text for text in pages(paths) if len(text) >= _LEAST_CHARACTERS))


def _write_chinese(packages: Mapping[str, Package], output: Output) -> None:
    for name, paths in {
        "debian_handbook": packages["debian-handbook"].glob(f"{_HANDBOOK}/zh-CN/*.html"),
        "debian_reference": packages["debian-reference-zh-cn"].glob("usr/share/debian-reference/*.zh-cn.html"),
        "debmake_guide": packages["debmake-doc"].glob("usr/share/doc/debmake-doc/html/*.zh-cn.html"),
        "maintainers_guide": packages["maint-guide-zh-cn"].glob("usr/share/doc/maint-guide-zh-cn/html/*.zh-cn.html"),
        "libreoffice_help": packages["libreoffice-help-zh-cn"].glob("usr/share/libreoffice/help/zh-CN/text/**/*.html"),
    }.items():
        texts = (keep_chinese(text) for text in pages(paths))
        output.documents(f"{name}.jsonl", (text for text in texts if len(text) >= _LEAST_CHARACTERS // 3))
    _write_chinese_kernel(packages["linux-doc-6.1"], output)


def _write_chinese_kernel(package: Package, output: Output) -> None:
    root = "usr/share/doc/linux-doc-6.1/Documentation/translations/zh_CN"
    texts = documentation.pages(package.path(root), package.glob(f"{root}/**/*.rst.gz"), restructured_text.paragraphs, _KERNEL_NO_PROSE)
    output.documents("kernel_documentation.jsonl", map(keep_chinese, texts))


SOURCES = [
    Source(
        name="handbooks",
        summary="The Debian Administrator's Handbook and the Debian Reference",
        language="en",
        packages={"debian-handbook": "GPL-2+ or CC-BY-SA-3.0", "debian-reference-en": "GPL-2+"},
        treatment="HTML turned into paragraphs; navigation, tables, pictures, notices and repeated paragraphs left out",
        write=_write_english,
    ),
    Source(
        name="chinese_handbooks",
        summary="Debian's handbooks, the kernel's documentation and LibreOffice's help in simplified Chinese",
        language="zh",
        packages={"debian-handbook": "GPL-2+ or CC-BY-SA-3.0", "debian-reference-zh-cn": "GPL-2+", "debmake-doc": "Expat",
                  "maint-guide-zh-cn": "GPL-2+", "libreoffice-help-zh-cn": "MPL-2.0", "linux-doc-6.1": "GPL-2"},
        treatment="HTML and reStructuredText turned into paragraphs; navigation, tables, pictures, notices, repeated paragraphs and "
                  "untranslated text left out",
        write=_write_chinese,
    ),
]
