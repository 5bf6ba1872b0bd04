"""Perl's plain old documentation: its text as Markdown-like paragraphs."""
import re
from typing import Iterator

from corpora.text import unwrap

_ENTITIES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/", "amp": "&", "quot": '"', "nbsp": " "}
_WIDE = re.compile(r"([A-Z])<{2,}\s+(.*?)\s+>{2,}", re.DOTALL)  # C<< a -> b >>
_NARROW = re.compile(r"([A-Z])<([^<>]*)>")


def inline(text: str) -> str:
    """Text without formatting codes; links become their text."""
    text = _WIDE.sub(lambda m: _code(m[1], m[2]).replace("<", "\0").replace(">", "\1"), text)
    while (replaced := _NARROW.sub(lambda m: _code(m[1], m[2]).replace("<", "\0").replace(">", "\1"), text)) != text:
        text = replaced
    return text.replace("\0", "<").replace("\1", ">")


def _code(letter: str, text: str) -> str:
    if letter == "E":
        return _ENTITIES.get(text) or (chr(int(text)) if text.isdigit() else "")
    if letter in "XZ":
        return ""
    if letter == "L":
        label, bar, target = text.partition("|")
        return label if bar else _link_text(target or text)
    return text


def _link_text(target: str) -> str:
    if re.match(r"\w+:[^:\s]", target):  # an address
        return target
    page, slash, section = target.partition("/")
    section = section.strip('"')
    return f"{section} in {page}" if page and slash else section if slash else page


def _blocks(pod: str) -> Iterator[tuple[str, str]]:
    """(command or "", text) of each block; text in other formats (=begin ... =end) is left out."""
    inside = False
    for block in re.split(r"\n[ \t]*\n", pod.replace("\r\n", "\n")):
        block = block.strip("\n")
        command = re.match(r"=(\w+)\s*", block)
        if command and command[1] in ("begin", "end"):
            inside = command[1] == "begin"
        elif block.strip() and not inside and not (command and command[1] in ("for", "encoding", "cut", "pod")):
            yield (command[1], block[command.end():]) if command else ("", block)


def paragraphs(pod: str) -> list[str]:
    """Headings as "# ", list items as "- " (their text follows), code indented by four blanks."""
    result: list[str] = []
    sign = ""  # "=item *" and "=item 1" stand before the paragraph that is their text
    for command, text in _blocks(pod):
        if command.startswith("head"):
            result.append("#" * int(command[4:] or 1) + " " + unwrap(inline(text)))
        elif command == "item":
            mark = unwrap(inline(text))
            number = re.fullmatch(r"(\d+)[.)]?", mark)
            sign = f"{number[1]}. " if number else "- " if mark in ("*", "") else ""
            if not sign:
                result.append("- " + mark.removeprefix("* "))
        elif command == "" and text[0] in " \t":
            code = "\n".join("    " + line for line in _outdent(text.expandtabs(8)).split("\n"))
            if result and result[-1].startswith("    "):
                result[-1] += "\n\n" + code
            else:
                result.append(code)
        elif command == "":
            result.append(sign + unwrap(inline(text)))
            sign = ""
    return result


def _outdent(text: str) -> str:
    lines = text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)


def questions(pod: str) -> Iterator[tuple[str, str]]:
    """(heading, text below it) for each heading of the second level that is a question."""
    heading, answer = "", []
    for paragraph in [*paragraphs(pod), "# "]:
        if re.match(r"#{1,2} ", paragraph):
            if heading.endswith("?") and answer:
                yield heading, "\n\n".join(answer)
            heading, answer = (paragraph[3:] if paragraph.startswith("## ") else ""), []
        else:
            answer.append(paragraph)
