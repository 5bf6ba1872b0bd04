"""Fortune files: entries between lines of "%", coloured with terminal escape codes; the last line of many names the origin."""
import re

from corpora.text import strip_ansi


def entries(file: str) -> list[str]:
    """The entries without colours."""
    parts = re.split(r"^%\n?", strip_ansi(file), flags=re.MULTILINE)
    return [part.strip("\n") for part in parts if part.strip()]


def poem(entry: str) -> tuple[str, str, str] | None:
    """(title, author, verses) of an entry whose first lines name title and author; None for any other entry."""
    match = re.fullmatch(r"(?:题目[:：])?\s*《(?P<title>.+)》(?P<part>[^\n]*)\n\s*作者[:：](?P<author>[^\n(（]+)[^\n]*\n(?P<verses>.+)", entry, re.DOTALL)
    if not match:
        return None
    verses = "\n".join(line.strip() for line in match["verses"].split("\n"))
    return match["title"] + match["part"].strip(), match["author"].strip(), verses


def saying(entry: str) -> tuple[str, str]:
    """(text, origin) of an entry; origin is "" where none is named."""
    match = re.fullmatch(r"(?P<text>.+?)\n\s*--\s*(?P<origin>[^\n]+)", entry, re.DOTALL)
    text, origin = (match["text"], match["origin"].strip()) if match else (entry, "")
    return "\n".join(line.strip() for line in text.strip("\n").split("\n")), origin
