"""AsciiDoc as Git's documentation writes it: its text as Markdown-like paragraphs."""
import re

from corpora.text import indent, unescape_entities, unwrap

_UNDERLINE = re.compile(r"([=\-~^+])\1{2,}\s*")
_LEVELS = {"=": 1, "-": 2, "~": 3, "^": 4, "+": 5}
_FENCE = re.compile(r"(-{4,}|\.{4,}|={4,}|_{4,}|\*{4,}|/{4,}|\|={3,}|--)\s*")
_LEFT_OUT = re.compile(r"$|\[.*\]$|//|include::|ifdef::|ifndef::|endif::|:[\w!-]+:|\+$|\.[A-Z]")
_TERM = re.compile(r"(\S.*?)(::|;;|:::)(?:\s+(\S.*))?$")
_ITEM = re.compile(r"\s*(?:([-*])\1{0,3}|(\d+|[a-z])\.|\.{1,4})\s+(\S.*)")
_NAMES = {"litdd": "--", "plus": "+", "apostrophe": "'", "asterisk": "*", "tilde": "~", "caret": "^", "startsb": "[", "endsb": "]",
          "backslash": "\\", "backtick": "`", "nbsp": " ", "empty": "", "sp": " ", "brvbar": "|", "git": "git", "lt": "<", "gt": ">"}


def inline(text: str) -> str:
    text = re.sub(r"\{([a-z]+)\}", lambda m: _NAMES.get(m[1], m[0]), unescape_entities(text))
    text = re.sub(r"linkgit:([\w-]+)\[(\d)\]", r"\1(\2)", text)
    text = re.sub(r"(?:link:|xref:)?\b((?:https?|ftp|mailto|link):[^\s\[]+)\[([^\]]*)\]", lambda m: m[2] or m[1], text)
    text = re.sub(r"link:\S+?\[([^\]]*)\]", r"\1", text)
    text = re.sub(r"<<[^,>\s]+,\s*([^>]+)>>", r"\1", text)
    text = re.sub(r"<<([\w-]+)>>", lambda m: m[1].replace("_", " "), text)
    text = re.sub(r"footnote:\[[^\]]*\]|\[\[[\w.-]+\]\]|\(\(\(?[^)]*\)?\)\)", "", text)
    text = re.sub(r"(?<![\w`])(['_])([\w<][^'\n]*?)\1(?!\w)", lambda m: m[2] if m[1] == "'" else m[0], text)
    return re.sub(r"\\(?=[-*_`'{<\[])", "", re.sub(r"`\+(.+?)\+`", r"`\1`", text))


def paragraphs(document: str) -> list[str]:
    """Headings with "#", code and diagrams indented by four blanks, terms with their text indented; tables, attributes, comments and
    included files are left out."""
    lines = [line.rstrip() for line in document.replace("\r\n", "\n").expandtabs(8).split("\n")]
    result: list[str] = []
    position, margin = 0, 0  # margin: 4 below a term
    while position < len(lines):
        line = lines[position]
        following = lines[position + 1] if position + 1 < len(lines) else ""
        fence = _FENCE.fullmatch(line)
        if line in ("[verse]", "[synopsis]"):
            position = _verse(lines, position + 1, result)
        elif _LEFT_OUT.match(line):
            position += 1
        elif fence and fence[1] != "--":
            position = _delimited(lines, position, fence[1], margin, result)
        elif fence:
            position += 1
        elif _UNDERLINE.fullmatch(following) and abs(len(following) - len(line)) <= 2:
            result.append("#" * _LEVELS[following[0]] + " " + inline(line))
            position, margin = position + 2, 0
        elif heading := re.match(r"(={1,5}) (\S.*?)(?: =+)?$", line):
            result.append("#" * len(heading[1]) + " " + inline(heading[2]))
            position, margin = position + 1, 0
        elif not line.startswith(" ") and (term := _TERM.match(line)):
            result.append(inline(term[1]))
            position, margin = position + 1, 4
            if term[3]:
                lines.insert(position, term[3])
        elif item := _ITEM.match(line):
            text, position = _filled(lines, position + 1, [item[3]])
            _append_item(result, margin, (item[2] + ". " if item[2] else "- ") + inline(text))
        elif line.startswith(" ") and margin == 0:
            position = _literal(lines, position, result)
        else:
            text, position = _filled(lines, position + 1, [line])
            _append(result, margin, inline(text))
            if not line.startswith(" ") and position < len(lines) and not lines[position] and _ends_list(lines, position):
                margin = 0
    return result


def _ends_list(lines: list[str], position: int) -> bool:
    """A paragraph at the left margin after a blank line ends the list of terms, unless it is joined to it with "+"."""
    following = next((line for line in lines[position:] if line), "")
    return not following.startswith((" ", "+", "-", "*", ".")) and not _TERM.match(following)


def _filled(lines: list[str], position: int, text: list[str]) -> tuple[str, int]:
    """Goes on with a paragraph up to a blank line, a continuation mark, a fence, a term or an item."""
    while position < len(lines) and not _LEFT_OUT.match(lines[position]) and not _FENCE.fullmatch(lines[position]) \
            and not _ITEM.match(lines[position]) and not (_TERM.match(lines[position]) and lines[position].endswith("::")):
        text.append(lines[position].strip())
        position += 1
    return unwrap("\n".join(text)), position


def _append(result: list[str], margin: int, text: str) -> None:
    """Adds a paragraph; the first one below a term joins it."""
    if not text:
        return
    if margin and result and not result[-1].startswith((" ", "#")) and "\n" not in result[-1]:
        result[-1] += "\n" + indent(text, margin)
    else:
        result.append(indent(text, margin))


def _append_item(result: list[str], margin: int, text: str) -> None:
    """Items that follow each other are one block."""
    if result and result[-1].rsplit("\n", 1)[-1].startswith(" " * margin + text[:2]):
        result[-1] += "\n" + indent(text, margin)
    else:
        result.append(indent(text, margin))


def _delimited(lines: list[str], start: int, fence: str, margin: int, result: list[str]) -> int:
    end = next((i for i in range(start + 1, len(lines)) if lines[i] == fence), len(lines))
    body = lines[start + 1:end]
    if fence[0] in "-.":
        _append_code(result, body, margin)
    elif fence[0] in "=_*":
        result += [indent(p, margin) for p in paragraphs("\n".join(body))]
    return end + 1


def _literal(lines: list[str], start: int, result: list[str]) -> int:
    end = start
    while end < len(lines) and (lines[end].startswith(" ") or (not lines[end] and lines[end + 1:end + 2] and lines[end + 1].startswith("  "))):
        end += 1
    _append_code(result, lines[start:end], 0)
    return end


def _verse(lines: list[str], start: int, result: list[str]) -> int:
    """A paragraph that keeps its lines."""
    end = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
    result.append("\n".join(inline(line) for line in lines[start:end] if not _FENCE.fullmatch(line)))
    return end


def _append_code(result: list[str], body: list[str], margin: int) -> None:
    least = min((len(line) - len(line.lstrip()) for line in body if line), default=0)
    text = "\n".join(line[least:] for line in body).strip("\n")
    if text.strip():
        result.append(indent(text, margin + 4))
