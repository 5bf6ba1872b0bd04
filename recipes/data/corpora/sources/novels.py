"""Novels in English: the six of Jane Austen, one file per chapter."""
import re
from typing import Mapping

from corpora.formats import r_data
from corpora.output import Output
from corpora.packages import Package
from corpora.source import Source
from corpora.text import unwrap_paragraphs

_CHAPTER = re.compile(r"chapter ([ivxlc]+|\d+)", re.IGNORECASE)
_VOLUME = re.compile(r"volume [ivxlc]+", re.IGNORECASE)
_END = re.compile(r"(finis|the end)\.?|a note on the text", re.IGNORECASE)


def chapters(lines: list[str]) -> list[str]:
    """The chapters of a novel given as its lines; what stands before the first and after the end is left out."""
    result: list[list[str]] = []
    for line in lines:
        if _CHAPTER.fullmatch(line.strip()):
            result.append([])
        elif _END.fullmatch(line.strip().strip("()")) and result:
            break
        elif result and not _VOLUME.fullmatch(line.strip()):
            result[-1].append(line)
    return ["\n".join(chapter) for chapter in result]


def _write(packages: Mapping[str, Package], output: Output) -> None:
    database = packages["r-cran-janeaustenr"].path("usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
    for record in r_data.records(database.read_bytes()):
        lines = r_data.strings(record)
        title = next(line.strip() for line in lines if line.strip()).title().replace(" And ", " and ")
        for number, chapter in enumerate(chapters(lines), start=1):
            text = re.sub(r"\b_|_\b", "", unwrap_paragraphs(chapter))
            output.file(f"{title.lower().replace(' ', '_')}_{number:02d}.txt", f"{title}\n\nChapter {number}\n\n{text}")


SOURCES = [Source(
    name="novels",
    summary="The six novels of Jane Austen",
    language="en",
    packages={"r-cran-janeaustenr": "public domain (the package: MIT)"},
    treatment="read from R's data file without R; one file per chapter; title pages, notes and emphasis marks left out; "
              "lines of a paragraph joined",
    write=_write,
)]
