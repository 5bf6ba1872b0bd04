"""Manual pages in roff with the man macros: their text as Markdown-like paragraphs. Pages in mdoc are not read."""
import re
from typing import Iterator

from corpora.text import indent, unwrap

_SPECIAL = {
    "aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "ga": "`", "ha": "^", "ti": "~", "rs": "\\", "bu": "•", "em": "—",
    "en": "–", "hy": "-", "mi": "-", "pl": "+", "eq": "=", "co": "©", "rg": "®", "tm": "™", "de": "°", "mu": "×", "di": "÷", "+-": "±",
    "<=": "≤", ">=": "≥", "!=": "≠", "->": "→", "<-": "←", "ua": "↑", "da": "↓", "sq": "□", "ci": "○", "sl": "/", "or": "|", "ba": "|",
    "at": "@", "sh": "#", "Do": "$", "eu": "€", "Eu": "€", "la": "⟨", "ra": "⟩", "Fo": "«", "Fc": "»", "fo": "‹", "fc": "›", "lB": "[",
    "rB": "]", "bv": "|", "br": "|", "nb": "", "hbar": "ħ", "fm": "′", "sd": "″", "mo": "∈", "lC": "{", "rC": "}", "sc": "§", "ps": "¶", "dg": "†", "ct": "¢", "Po": "£", "Ye": "¥", "14": "¼", "12": "½", "34": "¾",
    "mc": "µ", "*m": "µ", "*a": "α", "*b": "β", "*p": "π", "if": "∞", "sr": "√", "ss": "ß", "ul": "_", "ru": "_", "no": "¬",
    "'a": "´", "rn": "‾", "ho": "˛", "S1": "¹", "S2": "²", "S3": "³", "==": "≡", "~=": "≅", "~~": "≈", "ap": "∼", "product": "∏", "sum": "∑",
}
_ACCENT = {"'": "\u0301", "`": "\u0300", ":": "\u0308", "^": "\u0302", "~": "\u0303", ",": "\u0327", "o": "\u030a", "v": "\u030c",
           "/": "\u0338"}
_STRINGS = {"lq": "“", "rq": "”", "L\"": "“", "R\"": "”", "C`": "", "C'": "", "R": "®", "Tm": "™", "S": "", "--": "-", "PI": "π",
            "'": "", "`": "", ":": "", "^": "", ",": "", "~": "", "/": ""}
_ESCAPE = re.compile(
    r"""\\(?:
        (?P<comment>["#].*) | f(?:\[[^\]]*\]|\(..|.) | s(?:\[[^\]]*\]|'[^']*'|[-+]?\(\d\d|[-+]?\d\d?) | [hvwlLDbXRNoSHxA]'[^']*' | z |
        [mMFgkVY](?:\[[^\]]*\]|\(..|.) | n[-+]?(?:\[[^\]]*\]|\(..|.) |
        \*(?:\[(?P<string>[^\]]*)\]|\((?P<string2>..)|(?P<string1>.)) |
        \[(?P<special>[^\]]*)\] | \((?P<special2>..) | (?P<other>.)
    )""", re.VERBOSE)
_OTHER = {"-": "-", "e": "\\", "\\": "\\", " ": " ", "0": " ", "~": " ", "'": "'", "`": "`", ".": ".", "t": "\t", "_": "_", "E": "\\"}
_FONTS = {"B", "I", "R", "SM", "SB", "BI", "BR", "IB", "IR", "RB", "RI", "CW", "OP"}
_ALTERNATING = {"BI", "BR", "IB", "IR", "RB", "RI"}
_CODE_BEGIN, _CODE_END = {"nf", "EX", "Vb", "CS"}, {"fi", "EE", "Ve", "CE"}
_PARAGRAPH = {"PP", "LP", "P", "sp", "Sp", "br", "HP", "PD", "RS", "RE", "TP", "TQ", "IP", "SH", "SS", "Sh"}


def is_mdoc(page: str) -> bool:
    return re.search(r"^\.\s*(Dd|Dt)\b", page, re.MULTILINE) is not None


def _unescape(text: str, strings: dict[str, str]) -> str:
    def replace(match: re.Match) -> str:
        name = match["special"] if match["special"] is not None else match["special2"]
        if name is not None:
            return _special(name)
        name = next((match[g] for g in ("string", "string2", "string1") if match[g] is not None), None)
        if name is not None:
            return strings.get(name, "")
        return _OTHER.get(match["other"] or "", "")
    return _ESCAPE.sub(replace, text)


def _special(name: str) -> str:
    if name in _SPECIAL:
        return _SPECIAL[name]
    unicode_name = re.fullmatch(r"u([0-9A-F]{4,6})", name)
    if unicode_name:
        return chr(int(unicode_name[1], 16))
    if len(name) == 2 and name[0] in _ACCENT and name[1].isalpha():
        return name[1] + _ACCENT[name[0]]
    return ""


def _arguments(rest: str) -> list[str]:
    """A macro's arguments: separated by blanks, quoted with double quotes, which are doubled inside."""
    rest = re.sub(r'\\".*', "", rest).strip()
    found = re.findall(r'"((?:[^"]|"")*)"?|((?:\\.|[^\s"\\])(?:\\.|[^\s\\])*|\\)', rest)
    return [quoted.replace('""', '"') or bare for quoted, bare in found]


def _lines(page: str) -> Iterator[str]:
    """The lines that count: no comments, macro definitions, conditionals for typesetters, tables and equations."""
    page = re.sub(r"\\\n", "", page)
    skip_until, depth = "", 0
    for line in page.split("\n"):
        request = re.match(r"[.']\s*([A-Za-z]+)", line)
        name = request[1] if request else ""
        if skip_until:
            if (skip_until == ".." and re.match(r"[.']\s*\.", line)) or (skip_until != ".." and name == skip_until):
                skip_until = ""
        elif depth:
            depth += line.count("\\{") - line.count("\\}")
        elif name in ("de", "am", "ig", "de1"):
            skip_until = ".."
        elif name in ("TS", "EQ", "PS"):
            skip_until = name[0] + "E" if name != "EQ" else "EN"
        elif name in ("if", "ie", "el"):
            depth = max(0, line.count("\\{") - line.count("\\}"))
            for_terminals = re.match(r"[.']\s*(?:if|ie)\s+n\s+(?!\\\{)(.*)", line)
            if for_terminals:
                yield for_terminals[1]
        elif not re.match(r"[.']\s*\\[\"#]|[.']{1,2}\s*$|[.']\s*\\}", line) and not line.startswith("'\\\""):
            yield line


class _Page:
    """Collects blocks while the requests of a page are carried out."""

    def __init__(self) -> None:
        self.strings = dict(_STRINGS)
        self.blocks: list[str] = []
        self.words: list[str] = []  # lines of the paragraph that is being filled
        self.code: list[str] | None = None
        self.level, self.levels = 0, []  # indentation by RS and saved ones
        self.under_tag = False   # the paragraph belongs to a tag (TP, IP)
        self.tag_next = False    # the next line is a tag
        self.tag = ""            # a mark that stands before the next paragraph's text: "-", "1."
        self.after_tag = False   # the last block is a tag still without text
        self.continued = False   # the last line ended in \c

    def text(self, line: str) -> None:
        text = _unescape(line, self.strings)
        if self.code is not None:
            self.code.append(text)
        elif self.tag_next:
            self.add_tag(text)
        elif not text.strip():
            self.end_paragraph()
        elif self.continued and self.words:
            self.words[-1] += text
        else:
            self.words.append(text)
        self.continued = line.endswith("\\c")

    def add_tag(self, text: str) -> None:
        self.tag_next = False
        text = unwrap(text)
        if text in ("•", "*", "o", "-", "·", "+", "–", "—", "□", "○") or re.fullmatch(r"\(?\d+[.)]", text):
            self.tag = "-" if not text[-2:-1].isdigit() else text
        elif text:
            self.put(text)
            self.after_tag = True

    def put(self, block: str) -> None:
        self.after_tag = False
        self.blocks.append(indent(block, 4 * min(self.level, 2)))

    def put_under_tag(self, text: str) -> None:
        """A tag and its first paragraph are one block of two lines."""
        if self.after_tag:
            tag = self.blocks.pop()
            self.put(indent(text, 4))
            self.blocks[-1] = tag + "\n" + self.blocks[-1]
        else:
            self.put(indent(text, 4))

    def end_paragraph(self) -> None:
        text = unwrap("\n".join(self.words))
        self.words = []
        if text:
            if self.tag:
                self.put(f"{self.tag} {text}")
            elif self.under_tag:
                self.put_under_tag(text)
            else:
                self.put(text)
            self.tag = ""

    def end_code(self) -> None:
        code = "\n".join(self.code or []).strip("\n").expandtabs(8)
        self.code = None
        if code.strip():
            self.put(indent(code, 4))

    def request(self, name: str, rest: str) -> None:
        if name in _CODE_END:
            if self.code is not None:
                self.end_code()
        elif name in _FONTS:
            self.font(name, _arguments(rest))
        elif name in _CODE_BEGIN:
            self.end_paragraph()
            self.code = self.code or []
        elif name in _PARAGRAPH:
            self.paragraph(name, _arguments(rest))
        elif name == "ds":
            key, _, value = rest.strip().partition(" ")
            self.strings[key] = _unescape(value.lstrip().removeprefix('"'), self.strings)
        elif name in ("UR", "MT", "URL"):
            self.text(" ".join(_arguments(rest)[:1]))

    def font(self, name: str, arguments: list[str]) -> None:
        if name == "OP":
            self.text("[" + " ".join(arguments) + "]")
        elif arguments:
            self.text(("" if name in _ALTERNATING else " ").join(arguments))

    def paragraph(self, name: str, arguments: list[str]) -> None:
        if self.code is not None and name in ("PP", "LP", "P", "sp", "Sp", "br", "PD", "RS", "RE"):
            self.code += [""] if name in ("PP", "LP", "P", "sp", "Sp") else []
            if name in ("RS", "RE"):
                self.shift(name)
            return
        if self.code is not None:
            self.end_code()
        self.end_paragraph()
        if name in ("SH", "SS", "Sh"):  # Sh: a subsection in old pages made from pod
            self.level, self.levels, self.under_tag, self.tag = 0, [], False, ""
            title = unwrap(_unescape(" ".join(arguments), self.strings))
            if title:
                self.after_tag = False
                self.blocks.append(("## " if name == "SH" else "### ") + title)
        elif name in ("TP", "TQ"):
            self.under_tag, self.tag_next, self.tag = True, True, ""
        elif name == "IP":
            self.under_tag, self.tag = True, ""
            if arguments:
                self.add_tag(_unescape(arguments[0], self.strings))
        elif name in ("RS", "RE"):
            self.shift(name)
        elif name in ("PP", "LP", "P", "HP"):
            self.under_tag = False

    def shift(self, name: str) -> None:
        if name == "RS":
            self.levels.append((self.level, self.under_tag))
            self.level, self.under_tag = self.level + 1, False
        elif self.levels:
            self.level, self.under_tag = self.levels.pop()

    def finish(self) -> list[str]:
        if self.code is not None:
            self.end_code()
        self.end_paragraph()
        return self.blocks


def paragraphs(page: str) -> list[str]:
    """The blocks of a page: "## SECTION", "### subsection", paragraphs, tags with their text indented by four blanks, code likewise."""
    collector = _Page()
    for line in _lines(page):
        request = re.match(r"[.']\s*([A-Za-z]+)(.*)", line)
        if request:
            collector.request(request[1], request[2])
        elif not line.startswith("."):
            collector.text(line)
    return collector.finish()


def without_sections(blocks: list[str], titles: re.Pattern) -> list[str]:
    """Leaves out the sections in whose title the pattern is found."""
    kept, keep = [], True
    for block in blocks:
        if block.startswith("## "):
            keep = not titles.search(block)
        if keep:
            kept.append(block)
    return kept
