"""Markdown as html2text writes it: without links, navigation and escapes, paragraphs on one line."""
import re

from corpora.text import unwrap

_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^()]*\)", re.DOTALL)
_BLOCK_START = re.compile(r"#{1,6} |[ ]*[*+-] |[ ]*\d+\. |\* \* \*|---")


def unlink(text: str) -> str:
    """Links become their text."""
    return _LINK.sub(r"\1", text)


def link_share(text: str) -> float:
    """The share of a text that is inside links: near 1 for contents and link pages."""
    return sum(len(m.group(0)) for m in _LINK.finditer(text)) / len(text) if text else 0.0


def plain(text: str) -> str:
    """Markdown without links and needless escapes; each paragraph, quotation paragraph and list item on one line."""
    text = re.sub(r"\\([.\-+_#()\[\]!*])", r"\1", unlink(text))
    text = re.sub(r"(?<=[*_]) (?=[,.;:)\]])", "", text).replace("[ **", "[**").replace("[ _", "[_")
    return "\n\n".join(filter(None, (_block(block) for block in re.split(r"\n[ >]*\n", text))))


def _block(block: str) -> str:
    lines = block.strip("\n").split("\n")
    if all(line.startswith(">") for line in lines):
        return "> " + unwrap("\n".join(line.lstrip("> ") for line in lines))
    items: list[list[str]] = []
    for line in lines:
        if not items or _BLOCK_START.match(line):
            items.append([])
        items[-1].append(line)
    joined = ("\n".join(item) for item in items)
    return "\n".join(" " * (len(item) - len(item.lstrip(" "))) + unwrap(item) for item in joined if item.strip("* -#\n"))


def sections(text: str) -> list[str]:
    """Cuts a page before each heading of the first two levels."""
    return [part.strip("\n") for part in re.split(r"^(?=##? \S)", text, flags=re.MULTILINE) if part.strip()]
