"""WordNet's database files: glosses of the most frequent sense of common words."""
import re
from dataclasses import dataclass
from typing import Iterator

_PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}


@dataclass(frozen=True)
class Sense:
    word: str
    part: str                   # noun, verb, adjective, adverb
    synonyms: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]


def _word(lemma: str) -> str:
    return re.sub(r"\((a|p|ip)\)$", "", lemma).replace("_", " ")


def gloss(text: str) -> tuple[str, tuple[str, ...]]:
    """A gloss cut into its definition and its quoted examples."""
    text = text.strip()
    examples = tuple(e.strip(" ;") for e in re.findall(r'"([^"]+)"', text))
    definition = re.split(r';\s*"|^"', text)[0].strip(" ;:")
    return definition, examples


def senses(index: str, data: str) -> Iterator[Sense]:
    """The first sense of each word of an index file that its authors met in text; `data` is the data file of the same part of speech."""
    encoded = data.encode("latin-1")
    for line in index.split("\n"):
        if not line or line.startswith(" "):
            continue
        fields = line.split()
        pointers = int(fields[3])
        met_in_text, first = int(fields[5 + pointers]), int(fields[6 + pointers])
        if met_in_text > 0:
            yield _sense(_word(fields[0]), encoded[first:encoded.index(b"\n", first)].decode("latin-1"))


def _sense(lemma: str, line: str) -> Sense:
    head, _, text = line.partition("|")
    fields = head.split()
    words = [_word(w) for w in fields[4:4 + 2 * int(fields[3], 16):2]]
    word = next((w for w in words if w.lower() == lemma.lower()), lemma)
    definition, examples = gloss(text)
    return Sense(word, _PARTS[fields[2]], tuple(w for w in words if w != word), definition, examples)
