"""HTML and XHTML: a small tree, and its text as Markdown-like paragraphs without navigation, tables, pictures and links."""
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Callable, Iterator, Union

from corpora.text import indent, unwrap

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_NOT_TEXT = {"head", "script", "style", "noscript", "nav", "header", "footer", "aside", "button", "form", "table", "img", "svg", "hr",
             "iframe", "object"}
_NOT_TEXT_CLASSES = {"navheader", "navfooter", "docnav", "toc", "list-of-figures", "list-of-tables", "list-of-examples", "indexterm",
                     "figure", "table", "informaltable", "mediaobject", "url", "footnotes", "footnote", "authorgroup", "revhistory",
                     "legalnotice", "copyright", "edition", "pubdate"}
_BLOCK = {"address", "article", "blockquote", "body", "center", "dd", "div", "dl", "dt", "fieldset", "h1", "h2", "h3", "h4", "h5", "h6",
          "html", "li", "main", "ol", "p", "pre", "section", "ul"}
_HEADING = re.compile(r"h[1-6]")
_NUMBER = re.compile(r"^(?:\d+(?:\.\d+)+\.?|\d+\.|[A-Z]\.\d+(?:\.\d+)*\.|第 ?\d+ ?章|附录 ?[A-Z][.．]?|Chapter \d+\.|Appendix [A-Z]\.)\s*")


@dataclass
class Element:
    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Union["Element", str]] = field(default_factory=list)

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())

    def elements(self) -> Iterator["Element"]:
        """This element and all below it, in document order."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.elements()

    def find(self, condition: Callable[["Element"], bool]) -> Union["Element", None]:
        return next((e for e in self.elements() if condition(e)), None)

    def text(self) -> str:
        return "".join(c if isinstance(c, str) else "" if _is_left_out(c) else "\n" if c.tag == "br" else c.text() for c in self.children)


class _TreeBuilder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("document")]

    def handle_starttag(self, tag, attributes):
        if tag in ("p", "li") and self.open[-1].tag == tag:  # HTML lets these end without a tag
            self.open.pop()
        element = Element(tag, {name: value or "" for name, value in attributes})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag):
        depth = next((d for d in range(len(self.open) - 1, 0, -1) if self.open[d].tag == tag), None)
        if depth is not None:
            del self.open[depth:]

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse(html: str) -> Element:
    builder = _TreeBuilder()
    builder.feed(html)
    builder.close()
    return builder.open[0]


def _is_left_out(element: Element) -> bool:
    return element.tag in _NOT_TEXT or bool(element.classes & _NOT_TEXT_CLASSES)


def heading(element: Element) -> str:
    """A heading's text without its number."""
    return _NUMBER.sub("", unwrap(element.text()))


def paragraphs(element: Element, leave_out: Callable[[Element], bool] = lambda e: False) -> list[str]:
    """The text below an element: headings with "#", list items with "- " or "1. ", code indented by four blanks."""
    result: list[str] = []
    inline: list[str] = []

    def end_paragraph() -> None:
        text = unwrap("".join(inline))
        inline.clear()
        if text:
            result.append(text)

    for child in element.children:
        if isinstance(child, str):
            inline.append(child)
        elif _is_left_out(child) or leave_out(child):
            continue
        elif child.tag == "br":
            inline.append("\n")
        elif child.tag in _BLOCK or any(e.tag in _BLOCK for e in child.elements()):
            end_paragraph()
            result += _block(child, leave_out)
        else:
            inline.append(child.text())
    end_paragraph()
    return result


def _block(element: Element, leave_out) -> list[str]:
    if _HEADING.fullmatch(element.tag):
        text = heading(element)
        return ["#" * int(element.tag[1]) + " " + text] if text else []
    if element.tag == "pre":
        code = element.text().expandtabs(8).strip("\n")
        return [indent(code, 4)] if code.strip() else []
    if element.tag in ("ul", "ol"):
        items = (paragraphs(c, leave_out) for c in element.children if isinstance(c, Element) and c.tag == "li" and not leave_out(c))
        return _list([_item(f"{n}. " if element.tag == "ol" else "- ", item) for n, item in enumerate(filter(None, items), start=1)])
    if element.tag == "dt":
        return [unwrap(element.text())]
    if element.tag == "dd":
        return [indent(p, 4) for p in paragraphs(element, leave_out)]
    return paragraphs(element, leave_out)


def _item(mark: str, texts: list[str]) -> str:
    return mark + indent("\n\n".join(texts), len(mark)).lstrip(" ")


def _list(items: list[str]) -> list[str]:
    """One block where every item is one line, else a block per item."""
    return ["\n".join(items)] if items and not any("\n\n" in item for item in items) else items
