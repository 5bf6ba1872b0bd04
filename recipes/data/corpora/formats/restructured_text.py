"""reStructuredText as Sphinx projects write it: its text as Markdown-like paragraphs."""
import re
from typing import Iterator

from corpora.text import indent, unwrap

_UNDERLINE = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}\s*")
_EXPLICIT = re.compile(r"\.\.(?:\s|$)")
_DIRECTIVE = re.compile(r"\.\.\s+(?:\|[^|]+\|\s+)?(?P<name>[\w:+.-]+?)\s?::(?:\s+(?P<argument>.*))?$")
_FOOTNOTE = re.compile(r"\.\.\s+\[([#*\w]+)\]\s+(.*)")
_BULLET = re.compile(r"[-*+•]\s+(?=\S)")
_NUMBERED = re.compile(r"\(?(\d+|#|[a-z])[.)]\s+(?=\S)")
_FIELD = re.compile(r":([^:\s`][^:`]*):(?:\s+(.*))?$")
_SIMPLE_TABLE = re.compile(r"=+(?:\s+=+)+\s*")
_LEFT_OUT = {
    "index", "toctree", "contents", "module", "moduleauthor", "sectionauthor", "image", "figure", "include", "literalinclude", "raw",
    "csv-table", "list-table", "flat-table", "table", "tabularcolumns", "highlight", "currentmodule", "default-role", "audit-event",
    "audit-event-table", "kernel-doc", "kernel-feat", "kernel-include", "kernel-figure", "kernel-render", "kernel-abi", "cssclass",
    "role", "meta", "replace", "unicode", "date", "availability", "impl-detail", "deprecated-removed", "maintainers-include", "py:module",
    "c:namespace-push", "c:namespace-pop", "c:namespace", "testsetup", "testcleanup", "testoutput", "graphviz", "digraph", "math",
    "versionadded", "versionchanged", "deprecated", "miscnews", "highlightlang", "sidebar", "rst-class", "tocdepth", "codeauthor",
}
_CODE = {"code-block", "code", "sourcecode", "doctest", "parsed-literal", "productionlist", "testcode", "grammar-snippet", "program-output"}
_ADMONITIONS = {"note": "Note", "warning": "Warning", "tip": "Tip", "important": "Important", "caution": "Caution", "hint": "Hint",
                "attention": "Attention", "danger": "Danger", "seealso": "See also", "admonition": "", "topic": "", "rubric": ""}
_TRANSPARENT = {"only", "class", "container", "compound", "highlights", "epigraph", "pull-quote", "centered", "hlist", "glossary", "ifconfig"}


def inline(text: str) -> str:
    """Text without roles, links and escapes; literals keep their back-quotes."""
    text = re.sub(r"``(.+?)``", lambda m: "\0" + m[1].replace("`", "\1").replace("*", "\2").replace("|", "\3").replace("_", "\4") + "\0", text)
    text = re.sub(r":(pep|rfc):`(\d+)`", lambda m: f"{m[1].upper()} {m[2]}", text)
    text = re.sub(r":[a-zA-Z][\w:+.-]*:`([^`]+)`", lambda m: _role(m[1]), text)
    text = re.sub(r"`([^`<]+?)\s*<[^`>]+>`__?", r"\1", text)
    text = re.sub(r"`([^`]+)`_{0,2}", r"\1", text)
    text = re.sub(r"\b(\w[\w.-]*\w)__?(?=[\s.,;:)]|$)", r"\1", text)
    text = re.sub(r"\s?\[(?:#\w*|\*|\d+)\]_", "", text)
    text = re.sub(r"\|([\w .-]+)\|_?", r"\1", text)
    text = re.sub(r"\\([^\w\s])", r"\1", text.replace("\\ ", ""))
    return text.replace("\0", "`").replace("\1", "`").replace("\2", "*").replace("\3", "|").replace("\4", "_")


def _role(content: str) -> str:
    title = re.fullmatch(r"(.*?)\s*<[^>]*>", content, re.DOTALL)
    if title and title[1]:
        return title[1]
    return content.removeprefix("!").rsplit(".", 1)[-1].removeprefix("~") if content.startswith("~") else content.removeprefix("!")


class _Reader:
    """Reads the blocks of one document; knows the order in which it uses its underlines."""

    def __init__(self) -> None:
        self.styles: list[str] = []

    def level(self, style: str) -> int:
        if style not in self.styles:
            self.styles.append(style)
        return min(self.styles.index(style) + 1, 6)

    def paragraphs(self, lines: list[str]) -> list[str]:
        result: list[str] = []
        position = 0
        while position < len(lines):
            if lines[position].strip():
                position = self.block(lines, position, result)
            else:
                position += 1
        return result

    def block(self, lines: list[str], start: int, result: list[str]) -> int:
        """Reads the block that begins at `start`; returns where the next one may begin."""
        line = lines[start]
        following = lines[start + 1] if start + 1 < len(lines) else ""
        if line.startswith((" ", "\t")):
            end = _end_of_indented(lines, start)
            result += self.paragraphs(_outdent(lines[start:end]))
            return end
        if _UNDERLINE.fullmatch(line) and start + 2 < len(lines) and following.strip() and lines[start + 2].strip()[:1] == line[0]:
            result.append(self.heading(following, line[0] * 2))
            return start + 3
        if _SIMPLE_TABLE.fullmatch(line) or line.startswith("+-"):
            return _end_of_table(lines, start)
        if _UNDERLINE.fullmatch(line):  # a transition
            return start + 1
        if _UNDERLINE.fullmatch(following) and len(following.strip()) >= 3 and not _EXPLICIT.match(line):
            result.append(self.heading(line, following[0]))
            return start + 2
        if _EXPLICIT.match(line) or line.startswith("__ "):
            end = _end_of_indented(lines, start + 1)
            result += self.explicit(line, lines[start + 1:end])
            return end
        for pattern in (_BULLET, _NUMBERED):
            mark = pattern.match(line)
            if mark:
                return self.items(lines, start, pattern, result)
        if _FIELD.match(line):
            return _end_of_indented(lines, start + 1)
        return self.paragraph(lines, start, result)

    def heading(self, title: str, style: str) -> str:
        return "#" * self.level(style) + " " + inline(unwrap(title))

    def items(self, lines: list[str], start: int, pattern: re.Pattern, result: list[str]) -> int:
        """A list. Its items are one block where each is one paragraph."""
        texts: list[str] = []
        position = start
        while position < len(lines) and (mark := pattern.match(lines[position])):
            end = _end_of_item(lines, position + 1, pattern)
            first = lines[position][mark.end():]
            body = self.paragraphs([first, *_outdent_continuation(lines[position + 1:end])])
            number = mark[1] if pattern is _NUMBERED else ""
            sign = f"{number if number != '#' else len(texts) + 1}. " if number else "- "
            texts.append(sign + indent("\n\n".join(body), len(sign)).lstrip(" "))
            position = end
            while position < len(lines) and not lines[position].strip():
                position += 1
        result += ["\n".join(texts)] if not any("\n\n" in t for t in texts) else texts
        return position

    def explicit(self, line: str, body: list[str]) -> list[str]:
        footnote = _FOOTNOTE.match(line)
        if footnote:
            return [f"[{footnote[1]}] " + inline(unwrap("\n".join([footnote[2], *(b.strip() for b in body)])))]
        directive = _DIRECTIVE.match(line)
        if not directive or re.match(r"\.\.\s+[_|]", line):
            return []  # a comment, a target, a substitution
        name, argument = directive["name"].lower(), (directive["argument"] or "").strip()
        return self.directive(name, argument, _outdent(body))

    def directive(self, name: str, argument: str, body: list[str]) -> list[str]:
        if name in _LEFT_OUT:
            return []
        if name in _CODE:
            return _code(_without_options(body))
        if name in _ADMONITIONS:
            title = _ADMONITIONS[name] or inline(argument)
            texts = self.paragraphs(_without_options(body) if _ADMONITIONS[name] == "" else [argument, *_without_options(body)])
            return [f"{title}: {texts[0]}", *texts[1:]] if texts and not texts[0].startswith((" ", "-")) else [title + ":", *texts]
        if name in _TRANSPARENT:
            return self.paragraphs(_without_options(body))
        signatures, rest = _signatures(argument, body)  # the description of a function, class, option ...
        texts = self.paragraphs(_without_options(rest))
        head = re.sub(r"\\\n", "", "\n".join(s.strip() for s in signatures))
        head = "\n".join(inline(line) for line in head.split("\n"))
        return [f"{head}\n{indent(texts[0], 4)}", *(indent(t, 4) for t in texts[1:])] if texts else [head]

    def paragraph(self, lines: list[str], start: int, result: list[str]) -> int:
        end = start + 1
        while end < len(lines) and lines[end].strip() and not lines[end].startswith((" ", "\t")):
            end += 1
        text = "\n".join(lines[start:end]).rstrip()
        if text.startswith(">>>"):
            while end < len(lines) and lines[end].strip():
                end += 1
            result += _code(lines[start:end])
            return end
        if text.startswith("| "):
            result.append("\n".join(inline(line[2:]) for line in lines[start:end]))
            return end
        literal = text.endswith("::")
        if end < len(lines) and lines[end].strip() and not literal:  # a term and its definition
            stop = _end_of_indented(lines, end)
            body = self.paragraphs(_outdent(lines[end:stop]))
            head = inline(unwrap(text))
            result += [f"{head}\n{indent(body[0], 4)}", *(indent(b, 4) for b in body[1:])] if body else [head]
            return stop
        text = re.sub(r"(^|\s)::$", "", text) if re.search(r"(^|\s)::$", text) else re.sub(r"::$", ":", text)
        if text.strip():
            result.append(inline(unwrap(text)))
        if literal:
            stop = _end_of_indented(lines, end)
            result += _code(lines[end:stop])
            return stop
        return end


def _end_of_indented(lines: list[str], start: int) -> int:
    """The line after the indented lines (and blank ones between them) from `start` on."""
    end = start
    for position in range(start, len(lines)):
        if lines[position].startswith((" ", "\t")) and lines[position].strip():
            end = position + 1
        elif lines[position].strip():
            break
    return end


def _end_of_item(lines: list[str], start: int, pattern: re.Pattern) -> int:
    """An item goes on over indented lines and, before a blank line, over lines that are not the next item."""
    end, blank = start, False
    for position in range(start, len(lines)):
        line = lines[position]
        if not line.strip():
            blank = True
        elif line.startswith((" ", "\t")) or (not blank and not pattern.match(line)):
            end = position + 1
        else:
            break
    return end


def _end_of_table(lines: list[str], start: int) -> int:
    if lines[start].startswith("+"):
        position = start
        while position < len(lines) and lines[position].startswith(("+", "|")):
            position += 1
        return position
    borders = 1
    for position in range(start + 1, len(lines)):
        borders += bool(_SIMPLE_TABLE.fullmatch(lines[position]))
        if borders >= 2 and _SIMPLE_TABLE.fullmatch(lines[position]) and not "".join(lines[position + 1:position + 2]).strip():
            return position + 1
    return start + 1


def _outdent(lines: list[str]) -> list[str]:
    lines = [line.expandtabs(8) for line in lines]
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]


def _outdent_continuation(lines: list[str]) -> list[str]:
    """Continuation lines of a list item; those before the first blank line may stand at the margin."""
    first = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    return [line.strip() if not line.startswith(" ") else line for line in _outdent(lines[:first])] + _outdent(lines[first:])


def _without_options(body: list[str]) -> list[str]:
    """Leaves out ":name: value" lines at the head of a directive's body."""
    start = 0
    while start < len(body) and (not body[start].strip() or re.match(r":[\w-]+:", body[start])):
        start += 1
    return body[start:]


def _signatures(argument: str, body: list[str]) -> tuple[list[str], list[str]]:
    """The signatures of a description: its argument and the lines right below it."""
    first = next((i for i, line in enumerate(body) if not line.strip()), len(body))
    more = [line for line in body[:first] if not re.match(r":[\w-]+:", line)]
    return [argument, *more], body[first:]


def _code(lines: list[str]) -> list[str]:
    text = "\n".join(_outdent(lines)).strip("\n")
    return [indent(text, 4)] if text.strip() else []


def paragraphs(document: str) -> list[str]:
    return _Reader().paragraphs(document.replace("\r\n", "\n").expandtabs(8).split("\n"))


def questions(document: str) -> Iterator[tuple[str, str]]:
    """(heading, text below it) for each heading that is a question."""
    heading, answer = "", []
    for paragraph in [*paragraphs(document), "# "]:
        if paragraph.startswith("#"):
            if heading.endswith("?") and answer:
                yield heading, "\n\n".join(answer)
            heading, answer = paragraph.lstrip("# "), []
        else:
            answer.append(paragraph)
