"""Chinese poems and sayings from fortune files."""
import re
from typing import Mapping

from corpora.formats import fortunes
from corpora.output import Output
from corpora.packages import Package
from corpora.source import Source
from corpora.text import chinese_share

_FOLDER = "usr/share/games/fortunes"
_EXCERPT = re.compile(r"\s*(\d+\.\d|Debian|--|图|表)|.*(Debian|GNU|http|软件包)", re.DOTALL)  # of the manuals, which another source has
_TRADITIONAL = re.compile(r"[詩經國風雲龍鳥魚馬東車門見說無為與於們個來時會長開關學氣書樂葉異萬歲親愛聽誰顧還這過飛鳳麗黃]")


def poems(file: str) -> list[tuple[str, str, str]]:
    return [poem for poem in map(fortunes.poem, fortunes.entries(file)) if poem]


def sayings(file: str) -> list[str]:
    """Proverbs and quotations in simplified Chinese, each with its origin where one is named."""
    result = []
    for entry in fortunes.entries(file):
        text, origin = fortunes.saying(entry)
        if not _EXCERPT.match(entry) and not _TRADITIONAL.search(entry) and chinese_share(text) >= 0.9:
            result.append(f"{text}\n——{origin}" if origin else text)
    return result


def _write(packages: Mapping[str, Package], output: Output) -> None:
    package = packages["fortunes-zh"]
    files = [package.path(f"{_FOLDER}/{name}").read_text(encoding="utf-8") for name in ("tang300", "song100")]
    output.documents("poems.jsonl", (f"《{title}》\n{author}\n\n{verses}" for file in files for title, author, verses in poems(file)))
    output.documents("sayings.jsonl", sayings(package.path(f"{_FOLDER}/chinese").read_text(encoding="utf-8")))


SOURCES = [Source(
    name="chinese_poems",
    summary="300 poems of the Tang and 100 of the Song dynasty; proverbs and quotations, in simplified Chinese",
    language="zh",
    packages={"fortunes-zh": "GPL-3+ (the poems: public domain)"},
    treatment="fortune files cut into entries without colour codes; excerpts of manuals and entries in traditional characters left out",
    write=_write,
)]
