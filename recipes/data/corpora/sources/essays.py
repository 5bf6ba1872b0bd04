"""Essays in English: An Anarchist FAQ, one file per question."""
import gzip
import re
from pathlib import Path
from typing import Mapping

from corpora.formats import markdown
from corpora.output import Output
from corpora.packages import Package
from corpora.source import Source

_NAVIGATION = re.compile(r"^\[‹.*\Z", re.MULTILINE | re.DOTALL)  # "[‹ previous](...) [up](...) [next ›](...)" ends every page
_NO_PROSE = {"alinks", "arlinks", "biblio", "contact", "links", "new", "pdf", "translations"}
_LEAST_CHARACTERS = 500


def _read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def _write(packages: Mapping[str, Package], output: Output) -> None:
    for path in packages["anarchism"].glob("usr/share/doc/anarchism/markdown/*.md*"):
        name = path.name.split(".")[0]
        if name in _NO_PROSE:
            continue
        page = _NAVIGATION.sub("", _read(path))
        kept = [markdown.plain(s) for s in markdown.sections(page) if markdown.link_share(s) < 0.4]
        for number, text in enumerate((t for t in kept if len(t) >= _LEAST_CHARACTERS), start=1):
            output.file(f"{name}_{number:02d}.md", text)


SOURCES = [Source(
    name="essays",
    summary="An Anarchist FAQ: essays on politics, economics and history",
    language="en",
    packages={"anarchism": "GPL-2"},
    treatment="Markdown pages cut into one file per question; contents pages, link lists, bibliography and navigation left out; "
              "links replaced by their text; lines of a paragraph joined",
    write=_write,
)]
