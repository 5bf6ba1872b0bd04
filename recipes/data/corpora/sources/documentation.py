"""Technical documentation in English: of Python, Git and the Linux kernel, one document per page."""
import gzip
import re
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping

from corpora.formats import asciidoc, restructured_text
from corpora.output import Output
from corpora.packages import Package
from corpora.source import Source
from corpora.text import Repetitions, clean, is_drawing, without_empty_sections

_LEAST_CHARACTERS = 300
_PYTHON = "usr/share/doc/python3.11/html/_sources"
_KERNEL = "usr/share/doc/linux-doc-6.1/Documentation"
_PYTHON_NO_PROSE = re.compile(r"faq/|whatsnew/changelog|(about|bugs|contents|copyright|license)\.rst|includes/|.*/index\.rst")
_KERNEL_NO_PROSE = re.compile(r"translations/|.*(fdl-appendix|/index\.rst|\babi-|/devices\.rst|kernel-parameters)|doc-guide/")
_GIT_NO_PROSE = re.compile(r"(RelNotes|cmds-|config/|mergetools-|git-tools)|.*(-appendix|index|asciidoc-note)")
_NOTICE = re.compile(r"\*\*Source code:\*\*|(?:- )?(?:\(C\)|©|Copyright)[^\n]{,200}$|:?Authors?:", re.IGNORECASE)


def read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", errors="replace")


def pages(root: Path, paths: Iterable[Path], paragraphs: Callable[[str], list[str]], left_out: re.Pattern) -> Iterator[str]:
    repetitions = Repetitions(least_length=60)
    for path in paths:
        if not left_out.match(path.relative_to(root).as_posix()):
            blocks = (b for b in paragraphs(read(path)) if not _NOTICE.match(b) and not is_drawing(b))
            text = clean("\n\n".join(without_empty_sections(repetitions.drop(blocks))))
            if len(text) >= _LEAST_CHARACTERS:
                yield text


def _write_python(packages: Mapping[str, Package], output: Output) -> None:
    package = packages["python3.11-doc"]
    paths = package.glob(f"{_PYTHON}/**/*.rst.txt")
    output.documents("pages.jsonl", pages(package.path(_PYTHON), paths, restructured_text.paragraphs, _PYTHON_NO_PROSE))


def _write_git(packages: Mapping[str, Package], output: Output) -> None:
    root = "usr/share/doc/git-doc"
    package = packages["git-doc"]
    output.documents("pages.jsonl", pages(package.path(root), package.glob(f"{root}/**/*.txt"), asciidoc.paragraphs, _GIT_NO_PROSE))


def _write_kernel(packages: Mapping[str, Package], output: Output) -> None:
    package = packages["linux-doc-6.1"]
    paths = package.glob(f"{_KERNEL}/**/*.rst.gz")
    output.documents("pages.jsonl", pages(package.path(_KERNEL), paths, restructured_text.paragraphs, _KERNEL_NO_PROSE))


_TREATMENT = "tables, figures, directives for the index, change notes, comments and repeated paragraphs left out; lines of a paragraph joined"

SOURCES = [
    Source(
        name="python_documentation",
        summary="the documentation of Python 3.11 (its FAQ is in the source questions)",
        language="en",
        packages={"python3.11-doc": "PSF-2"},
        treatment=f"reStructuredText turned into paragraphs; {_TREATMENT}; the change log left out",
        write=_write_python,
    ),
    Source(
        name="git_documentation",
        summary="the documentation of Git",
        language="en",
        packages={"git-doc": "GPL-2"},
        treatment=f"AsciiDoc turned into paragraphs; {_TREATMENT}; release notes left out",
        write=_write_git,
    ),
    Source(
        name="kernel_documentation",
        summary="the documentation of the Linux kernel",
        language="en",
        packages={"linux-doc-6.1": "GPL-2"},
        treatment=f"reStructuredText turned into paragraphs; {_TREATMENT}; translations left out",
        write=_write_kernel,
    ),
]
