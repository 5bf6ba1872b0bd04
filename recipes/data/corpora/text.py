"""Plain text as every source leaves it: valid Unicode in NFC, no control characters, no trailing blanks, paragraphs on one line."""
import html
import re
import unicodedata
from typing import Iterable

CJK = r"\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LETTER = re.compile(r"[A-Za-z]")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffd\ue000-\uf8ff]")
_ODD_SPACE = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_BREAK_INSIDE_CJK = re.compile(rf"(?<=[{CJK}])[ \t]*\n[ \t]*(?=[{CJK}])")
_BLANK_INSIDE_CHINESE = re.compile(r"(?<=[\u4e00-\u9fff，。；：、]) (?=[\u4e00-\u9fff])")
_BREAK_AFTER_HYPHEN = re.compile(r"(?<=[A-Za-z]-)\n(?=[a-z])")
_STRUCTURE = re.compile(r"#|    |- |\d+\. ")
_ANSI_ESCAPE = re.compile(r"(?:\x1b|\^\[)\[[0-9;]*[A-Za-z]")


def clean(text: str) -> str:
    """Normalises characters and white space; keeps line structure. At most one blank line in a row, none at either end."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").expandtabs(8))
    text = _INVISIBLE.sub("", _ODD_SPACE.sub(" ", text))
    text = re.sub(r"[ \t]+\n", "\n", text + "\n")
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def unwrap(text: str) -> str:
    """Joins the lines of one paragraph; no blank is left between two Chinese characters nor after a hyphen that broke a word."""
    text = _BREAK_INSIDE_CJK.sub("", text.strip())
    text = re.sub(r"\s+", " ", _BREAK_AFTER_HYPHEN.sub("", text))
    return _BLANK_INSIDE_CHINESE.sub("", text)


def unwrap_paragraphs(text: str) -> str:
    """Unwraps each paragraph of a text; indented lines (verse, code) stay as they are."""
    paragraphs = re.split(r"\n[ \t]*\n", text.strip("\n"))
    return "\n\n".join(p if re.match(r"[ \t]", p) or re.search(r"\n[ \t]", p) else unwrap(p) for p in paragraphs)


def indent(text: str, width: int) -> str:
    return "\n".join(" " * width + line if line else "" for line in text.split("\n"))


def strip_ansi(text: str) -> str:
    """Removes terminal colour codes, also those whose escape character somebody wrote as "^["."""
    return _ANSI_ESCAPE.sub("", text)


def unescape_entities(text: str) -> str:
    """Replaces the HTML entities that writers leave in other formats; "&name;" of program code stays."""
    return re.sub(r"&(?:nbsp|amp|lt|gt|quot|#\d+);", lambda m: html.unescape(m[0]), text)


def is_drawing(paragraph: str) -> bool:
    """Indented text that is more lines and boxes than words: a diagram or a table."""
    marks = re.sub(r"\s", "", paragraph)
    return paragraph.startswith("    ") and len(re.findall(r"\w", marks)) < len(marks) / 2


def chinese_share(text: str) -> float:
    """Chinese characters as a share of Chinese characters and Latin letters; 0 for a text with neither."""
    han, latin = len(_HAN.findall(text)), len(_LETTER.findall(text))
    return han / (han + latin) if han + latin else 0.0


def is_untranslated(line: str) -> bool:
    """A sentence (or a heading) of another language in a Chinese document whose paragraphs are on one line each.

    Short indented lines are code, not language."""
    letters = len(_LETTER.findall(line))
    if letters < (20 if line.startswith("#") else 40) or chinese_share(line) >= 0.05:
        return False
    return not line.startswith("    ") or len(line) > 100


def keep_chinese(text: str, least_share: float = 0.3) -> str:
    """A Chinese document without its untranslated lines; "" where what is left is not mostly Chinese, or hardly anything but code."""
    kept = [line for line in text.split("\n") if not is_untranslated(line)]
    prose = "\n".join(line for line in kept if not line.startswith("    "))
    text = "\n".join(kept)
    return text if chinese_share(prose) >= least_share and chinese_share(text) >= least_share / 3 else ""


class Repetitions:
    """Leaves out paragraphs that were seen before, in this document or an earlier one: notices, warnings, shared passages."""

    def __init__(self, least_length: int) -> None:
        self.least_length, self.seen = least_length, set()

    def drop(self, paragraphs: Iterable[str]) -> list[str]:
        """Headings, code, list items and paragraphs shorter than least_length stay."""
        return [p for p in paragraphs if len(p) < self.least_length or _STRUCTURE.match(p) or "\n" in p or self._is_new(p)]

    def _is_new(self, paragraph: str) -> bool:
        new = paragraph not in self.seen
        self.seen.add(paragraph)
        return new


def without_empty_sections(paragraphs: list[str]) -> list[str]:
    """Leaves out headings that are followed by a heading of the same or a higher level, or by nothing."""
    kept: list[str] = []
    for paragraph in reversed(paragraphs):
        level = _level(paragraph)
        following = _level(kept[-1]) if kept else 1
        if not (level and following and following <= level):
            kept.append(paragraph)
    return kept[::-1]


def _level(paragraph: str) -> int:
    """1 to 6 for a heading, 0 for another paragraph."""
    match = re.match(r"(#{1,6}) ", paragraph)
    return len(match[1]) if match else 0
